//! Sessions of browsers: everything about one stands in its cookie, sealed. Kept here is only which ones were logged out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::{Authority, Role};
use crate::api::audit::Line;
use crate::api::caller::{LoginKind, MaybeCaller};
use crate::api::dto::Time;
use crate::api::guard;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::{Body, Reply};

/// Longest cookie that browsers keep, with some room for its attributes.
const MAX_COOKIE: usize = 3900;
/// What sealed session cookies are for.
const PURPOSE: &str = "occm session";

/// A session as it stands in its cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) kind: LoginKind,
    /// What a browser's writes must show.
    pub(crate) csrf: String,
    /// When it began.
    pub(crate) began: Timestamp,
    /// When it was last used, to a few minutes.
    pub(crate) used: Timestamp,
    /// Groups that an OpenID Connect provider told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
    /// The user's token of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
}

/// A token within a sealed session; never shown.
#[derive(Clone, Debug)]
pub(crate) struct Token(pub(crate) Arc<pki::Secret>);

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.0.expose()))
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Arc::new(pki::Secret::new(text.into_bytes()))))
    }
}

impl Session {
    pub(crate) fn new(user: String, kind: LoginKind, now: Timestamp) -> Answer<Self> {
        let csrf = pki::random::text(32)
            .map_err(|_| Fault::new(Code::Unavailable, "there are no random numbers"))?;
        Ok(Self {
            user,
            kind,
            csrf,
            began: now,
            used: now,
            groups: Vec::new(),
            token: None,
        })
    }

    /// Whether its last use should be written down.
    pub(crate) fn is_stale(&self, now: Timestamp, idle: Duration) -> bool {
        now.duration_since(self.used) > signed(idle) / 20
    }

    /// The same, used now.
    pub(crate) fn used(&self, now: Timestamp) -> Self {
        Self {
            used: now,
            ..self.clone()
        }
    }

    /// When it ends however much it is used.
    fn latest_end(&self, api: &Api) -> Timestamp {
        self.began
            .checked_add(signed(api.limits.session))
            .unwrap_or(self.began)
    }

    /// Whether it goes on at this time.
    pub(crate) fn goes_on(&self, api: &Api, now: Timestamp) -> bool {
        self.began <= now && now < self.ends(api) && !api.ended.has(self)
    }

    fn ends(&self, api: &Api) -> Timestamp {
        let by_idling = self.used.checked_add(signed(api.limits.idle));
        by_idling.unwrap_or(self.used).min(self.latest_end(api))
    }
}

/// Sessions that were logged out at this replica, each until its cookie would not be taken any more.
#[derive(Default)]
pub(crate) struct Ended(Mutex<BTreeMap<String, Timestamp>>);

/// Logged-out sessions that are remembered; of more only the cookie is taken away.
const MAX_ENDED: usize = 10_000;

impl Ended {
    fn add(&self, session: &Session, until: Timestamp, now: Timestamp) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| now < *until);
        if ended.len() < MAX_ENDED {
            ended.insert(session.csrf.clone(), until);
        }
    }

    fn has(&self, session: &Session) -> bool {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.contains_key(&session.csrf)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Name of the cookie. With https a browser takes it from this host alone.
fn cookie_name(api: &Api) -> &'static str {
    if api.about.https { "__Host-occm" } else { "occm" }
}

/// The session that a request's cookie tells, if it is ours and not over.
pub(crate) fn read(api: &Api, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
    let sealed = cookie(headers, cookie_name(api))?;
    let text = api.seal.open(PURPOSE, sealed)?;
    let session: Session = serde_json::from_slice(&text).ok()?;
    session.goes_on(api, now).then_some(session)
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Writes a session's cookie; `false` if it is too long for browsers.
pub(crate) fn set(api: &Api, session: &Session, headers: &mut HeaderMap) -> bool {
    let text = serde_json::to_vec(session).map(zeroize::Zeroizing::new);
    let sealed = text.ok().and_then(|text| api.seal.seal(PURPOSE, &text));
    let Some(sealed) = sealed.filter(|sealed| sealed.len() <= MAX_COOKIE) else {
        return false;
    };
    let left = session.ends(api).duration_since(session.used).as_secs();
    write_cookie(api, &sealed, left, headers);
    true
}

fn write_cookie(api: &Api, value: &str, seconds: i64, headers: &mut HeaderMap) {
    let secure = if api.about.https { "; Secure" } else { "" };
    let name = cookie_name(api);
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Who is logged in, and how one may.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionAnswer {
    /// Name of the user; empty when nobody is logged in.
    user: String,
    /// How the user logged in.
    kind: LoginKind,
    /// Role in each namespace. What may be done is decided by each action.
    roles: BTreeMap<String, Role>,
    /// Namespaces that the user may see.
    namespaces: Vec<String>,
    /// When the session ends if it is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    expires: Option<Timestamp>,
    /// A session ends after so many seconds without a request.
    idle_timeout_seconds: u64,
    /// What writes must carry in the header `X-CSRF-Token`; only with a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    /// Text to show before a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    banner: Option<String>,
    /// Ways to log in.
    login: Ways,
}

/// Ways to log in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ways {
    /// With name and password.
    local: bool,
    /// With a token.
    token: bool,
    /// With OpenID Connect.
    oidc: bool,
    /// Name of the OpenID Connect provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc_name: Option<String>,
}

/// `GET /api/v1/session`
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    MaybeCaller(caller): MaybeCaller,
) -> Answer<Reply<SessionAnswer>> {
    let roles = match &caller {
        Some(caller) => api.roles(caller).await?,
        None => BTreeMap::new(),
    };
    let session = caller.as_ref().and_then(|caller| caller.session.clone());
    let local = match &api.authority {
        Authority::Local(local) => local.has_passwords(),
        #[cfg(feature = "kube")]
        Authority::Cluster(_) => false,
    };
    Ok(Reply::ok(SessionAnswer {
        user: caller
            .as_ref()
            .map(|caller| caller.user.clone())
            .unwrap_or_default(),
        kind: caller.as_ref().map_or(LoginKind::None, |caller| caller.kind),
        namespaces: roles.keys().cloned().collect(),
        roles,
        expires: session.as_ref().map(|session| session.ends(&api)),
        idle_timeout_seconds: api.limits.idle.as_secs(),
        csrf_token: session.as_ref().map(|session| session.csrf.clone()),
        banner: api.about.banner.clone(),
        login: Ways {
            local,
            token: true,
            oidc: api.oidc.is_some(),
            oidc_name: api.oidc.as_ref().map(|oidc| oidc.name().to_owned()),
        },
    }))
}

/// Name and password, or a token: exactly one of them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Login {
    /// Name of the user; with `password`.
    #[schemars(length(max = 256))]
    user: Option<String>,
    /// Password; with `user`.
    #[schemars(length(max = 1024))]
    password: Option<String>,
    /// A token: the printed login, an API token, or a token of the cluster. Excludes `user` and `password`.
    #[schemars(length(max = 8192))]
    token: Option<String>,
}

/// `POST /api/v1/session`
pub(crate) async fn log_in(State(api): State<Arc<Api>>, Body(login): Body<Login>) -> Answer<Response> {
    let from = guard::from_address()
        .map(|from| from.to_string())
        .unwrap_or_default();
    api.rates.take_login(&from, &api)?;
    api.sealed_sessions()?;
    let tried = login.user.clone().unwrap_or_else(|| "token".to_owned());
    match check(&api, login).await {
        Ok(session) => {
            api.audit
                .write(&api, &Line::session(&session.user, "log in", "Ok"));
            let mut response = StatusCode::NO_CONTENT.into_response();
            if !set(&api, &session, response.headers_mut()) {
                return Err(Fault::field(
                    "token",
                    "is too long for a cookie",
                    "a token of at most 2500 bytes",
                ));
            }
            Ok(response)
        }
        Err(fault) => {
            api.audit
                .write(&api, &Line::session(&tried, "log in", &fault.word()));
            Err(fault)
        }
    }
}

async fn check(api: &Api, login: Login) -> Answer<Session> {
    let now = api.clock.now();
    let unknown = |detail: &str| Fault::new(Code::Unauthenticated, detail);
    match (&api.authority, login.user, login.password, login.token) {
        (Authority::Local(local), Some(user), Some(password), None) => {
            match local.password(&user, &password).await {
                Some(user) => Session::new(user, LoginKind::Local, now),
                None => Err(unknown("the name or the password is wrong")),
            }
        }
        (Authority::Local(local), None, None, Some(token)) => {
            match local.login_once(&token).or_else(|| local.token(&token)) {
                Some(user) => Session::new(user, LoginKind::Local, now),
                None => Err(unknown("the token is not known; a printed login is good once")),
            }
        }
        #[cfg(feature = "kube")]
        (Authority::Cluster(_), Some(_), Some(_), None) => Err(unknown(
            "there are no passwords here; allowed: a token of the cluster",
        )),
        #[cfg(feature = "kube")]
        (Authority::Cluster(cluster), None, None, Some(token)) => {
            let token = Arc::new(pki::Secret::new(token.into_bytes()));
            let Some(user) = cluster.owner(&token).await? else {
                return Err(unknown("the cluster does not know the token"));
            };
            let mut session = Session::new(user, LoginKind::Bearer, now)?;
            session.token = Some(Token(token));
            Ok(session)
        }
        _ => Err(Fault::field(
            "token",
            "there must be one way to log in",
            "token alone, or user and password",
        )),
    }
}

impl Api {
    /// Refuses a login while the keys of session cookies are not known.
    pub(crate) fn sealed_sessions(&self) -> Answer<()> {
        if self.seal.is_ready() {
            return Ok(());
        }
        let detail =
            "the keys of session cookies are not known yet; try again in some seconds, or use a bearer token";
        let mut fault = Fault::new(Code::Unavailable, detail);
        fault.retry_after = Some(5);
        Err(fault)
    }
}

/// `DELETE /api/v1/session`
pub(crate) async fn log_out(State(api): State<Arc<Api>>, MaybeCaller(caller): MaybeCaller) -> Response {
    if let Some(caller) = caller {
        api.audit
            .write(&api, &Line::session(&caller.user, "log out", "Ok"));
        if let Some(session) = &caller.session {
            api.ended.add(session, session.latest_end(&api), api.clock.now());
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    write_cookie(&api, "", 0, response.headers_mut());
    response
}
