//! Who is calling: told once for each request, by a bearer token or by a session cookie.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::access::Authority;
use crate::api::audit::Line;
use crate::api::guard::{self, writes};
use crate::api::problem::{Answer, Code, Fault};
use crate::api::session::{self, Session};
use crate::api::{Api, table};

/// Header that a browser's write carries.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
/// Header of what a page reads by itself, with nobody at the keyboard.
const BACKGROUND_HEADER: &str = "x-occm-background";
/// Longest bearer token.
const MAX_TOKEN: usize = 8 * 1024;

/// How somebody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum LoginKind {
    /// With a token.
    Bearer,
    /// With OpenID Connect.
    Oidc,
    /// With a name and a password, or with the printed login.
    Local,
    /// Not at all.
    None,
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: String,
    pub(crate) kind: LoginKind,
    /// Groups that an OpenID Connect provider told.
    #[cfg_attr(
        not(feature = "kube"),
        expect(dead_code, reason = "a cluster's rights are for groups too")
    )]
    pub(crate) groups: Vec<String>,
    /// The caller's token of the cluster.
    #[cfg_attr(
        not(feature = "kube"),
        expect(dead_code, reason = "a cluster is asked with it")
    )]
    pub(crate) token: Option<Arc<pki::Secret>>,
    /// The session, if the request came with a cookie.
    pub(crate) session: Option<Arc<Session>>,
}

impl Caller {
    fn of(session: Session) -> Self {
        Self {
            user: session.user.clone(),
            kind: session.kind,
            groups: session.groups.clone(),
            token: session.token.clone().map(|token| token.0),
            session: Some(Arc::new(session)),
        }
    }
}

/// What the request said about its caller.
#[derive(Clone)]
struct Identified(Result<Option<Arc<Caller>>, Fault>);

/// Finds out who is calling, and keeps a session alive that is used.
pub(crate) async fn identify(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let now = api.clock.now();
    let found = identity(&api, request.headers(), now).await;
    let who = match &found {
        Ok(Some(caller)) => caller.user.clone(),
        _ => "nobody".to_owned(),
    };
    let asked = writes(request.method()).then(|| format!("{} {}", request.method(), request.uri().path()));
    let found = found.and_then(|caller| match caller {
        Some(caller) if !csrf_holds(&caller, request.method(), request.headers()) => Err(Fault::new(
            Code::Forbidden,
            format!(
                "the header {CSRF_HEADER} is missing or wrong; allowed: csrfToken of GET /api/v1/session"
            ),
        )),
        other => Ok(other.map(Arc::new)),
    });
    let caller = found.as_ref().ok().cloned().flatten();
    let uses = is_use(&request);
    request.extensions_mut().insert(Identified(found));
    let mut response = next.run(request).await;
    if let Some(asked) = asked
        && !guard::is_audited()
    {
        // It came to nothing before it was known what it is.
        let word = match response.extensions().get::<Code>() {
            Some(code) => format!("{code:?}"),
            None => response.status().as_u16().to_string(),
        };
        api.audit.write(&api, &Line::session(&who, &asked, &word));
    }
    let session = caller.and_then(|caller| caller.session.clone());
    if uses
        && let Some(session) = session
        && !response.headers().contains_key(header::SET_COOKIE)
        && session.is_stale(now, api.limits.idle)
    {
        session::set(&api, &session.used(now), response.headers_mut());
    }
    response
}

/// Whether a request shows that somebody is there: what a page reads by itself does not.
fn is_use(request: &Request) -> bool {
    let by_itself = request.headers().contains_key(BACKGROUND_HEADER);
    // Browsers open the stream of changes again by themselves.
    let is_stream = request.uri().path().strip_prefix(table::BASE) == Some("/changes");
    !by_itself && !is_stream
}

async fn identity(api: &Api, headers: &HeaderMap, now: Timestamp) -> Answer<Option<Caller>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer);
        let token = token.filter(|token| token.len() <= MAX_TOKEN).ok_or_else(|| {
            Fault::new(
                Code::Unauthenticated,
                "the Authorization header cannot be used; allowed: Bearer and a token",
            )
        })?;
        return by_token(api, token).await.map(Some);
    }
    let Some(session) = session::read(api, headers, now) else {
        return Ok(None);
    };
    match &api.authority {
        Authority::Local(local) if !local.knows(&session.user) => Ok(None),
        Authority::Local(_) => Ok(Some(Caller::of(session))),
        #[cfg(feature = "kube")]
        Authority::Cluster(cluster) => {
            let caller = Caller::of(session);
            // A token that the cluster knows no longer is the end of its session.
            if let Some(token) = &caller.token
                && cluster.owner(token).await?.as_ref() != Some(&caller.user)
            {
                return Ok(None);
            }
            let whole = caller.token.is_some() || caller.kind == LoginKind::Oidc;
            Ok(whole.then_some(caller))
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn by_token(api: &Api, token: &str) -> Answer<Caller> {
    let unknown = || Fault::new(Code::Unauthenticated, "the token is not known");
    match &api.authority {
        Authority::Local(local) => Ok(Caller {
            user: local.token(token).ok_or_else(unknown)?,
            kind: LoginKind::Bearer,
            groups: Vec::new(),
            token: None,
            session: None,
        }),
        #[cfg(feature = "kube")]
        Authority::Cluster(cluster) => {
            let token = Arc::new(pki::Secret::new(token.as_bytes().to_vec()));
            Ok(Caller {
                user: cluster.owner(&token).await?.ok_or_else(unknown)?,
                kind: LoginKind::Bearer,
                groups: Vec::new(),
                token: Some(token),
                session: None,
            })
        }
    }
}

/// A browser sends cookies also for pages of others; those do not know the session's token.
fn csrf_holds(caller: &Caller, method: &Method, headers: &HeaderMap) -> bool {
    let Some(session) = &caller.session else {
        return true;
    };
    if !writes(method) {
        return true;
    }
    let told = headers
        .get(CSRF_HEADER)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    pki::constant_time_eq(told, session.csrf.as_bytes())
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Response> {
        let found = parts.extensions.get::<Identified>().cloned();
        match found.map(|found| found.0) {
            Some(Ok(Some(caller))) => Ok((*caller).clone()),
            Some(Err(fault)) => Err(fault.into_response()),
            Some(Ok(None)) | None => {
                Err(Fault::new(Code::Unauthenticated, "log in first, or send a bearer token").into_response())
            }
        }
    }
}

/// A caller, or nobody: for what everybody may see.
#[derive(Clone, Debug)]
pub(crate) struct MaybeCaller(pub(crate) Option<Caller>);

impl FromRequestParts<Arc<Api>> for MaybeCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Response> {
        let found = parts.extensions.get::<Identified>().cloned();
        match found.map(|found| found.0) {
            Some(Ok(caller)) => Ok(Self(caller.map(|caller| (*caller).clone()))),
            Some(Err(fault)) => Err(fault.into_response()),
            None => Ok(Self(None)),
        }
    }
}
