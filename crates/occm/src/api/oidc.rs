//! Login of people with OpenID Connect: the authorization code flow with PKCE (RFC 7636), state and nonce.
//!
//! ```text
//!   browser ── /oidc/login ──> us ── redirect, sealed cookie {state, nonce, verifier} ──> provider
//!   browser <────────────────────────── redirect with code and state ─────────────────── provider
//!   browser ── /oidc/callback ──> us ── code, verifier ──> provider ── ID token ──> checked ──> session
//! ```
//!
//! The provider says who somebody is. What they may do is decided by the cluster.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Api;
use crate::api::audit::Line;
use crate::api::caller::LoginKind;
use crate::api::guard;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::Params;
use crate::api::session::{self, Session};
use crate::web::{Web, encode};

/// What the cookie of a login that is going on is sealed for.
const PURPOSE: &str = "occm oidc login";
/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long what the provider says of itself is believed.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// The provider's keys are not asked for more often.
const KEYS_AGAIN: Duration = Duration::from_secs(10);
/// Signatures that an ID token may have.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Seconds that the provider's clock may differ from ours.
const LEEWAY: u64 = 60;
/// Most groups of a user that are looked at.
const MAX_GROUPS: usize = 200;

/// How people log in with a provider.
#[derive(Clone, Debug)]
pub(crate) struct OidcSettings {
    /// The provider: its issuer identifier.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// File with the client's secret; none for a public client.
    pub(crate) client_secret: Option<PathBuf>,
    /// Name on the button.
    pub(crate) name: String,
    /// Anchors of the provider's TLS certificate; none = the operating system's.
    pub(crate) anchors: Option<PathBuf>,
    pub(crate) scopes: Vec<String>,
    pub(crate) user_claim: String,
    pub(crate) user_prefix: String,
    pub(crate) groups_claim: String,
    pub(crate) groups_prefix: String,
    /// Address under which browsers reach us.
    pub(crate) external_url: String,
}

/// The provider.
pub(crate) struct Oidc {
    settings: OidcSettings,
    web: Web,
    known: Mutex<Option<(Provider, Instant)>>,
    keys: Mutex<Option<(Arc<JwkSet>, Instant)>>,
}

/// What the provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug, Deserialize)]
struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// A login that is going on.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    back: String,
    began: Timestamp,
}

/// What an ID token says (OpenID Connect Core 1.0, 2).
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    aud: Value,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// Somebody whom the provider knows.
struct Person {
    user: String,
    groups: Vec<String>,
}

impl Oidc {
    pub(crate) fn new(settings: OidcSettings) -> anyhow::Result<Self> {
        Web::check(&settings.issuer).context("--oidc-issuer")?;
        Web::check(&settings.external_url).context("--external-url")?;
        ensure!(!settings.client_id.is_empty(), "--oidc-client-id: is empty");
        let web = Web::new(settings.anchors.as_deref()).context("--oidc-ca")?;
        Ok(Self {
            settings,
            web,
            known: Mutex::new(None),
            keys: Mutex::new(None),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    fn redirect_uri(&self) -> String {
        let base = self.settings.external_url.trim_end_matches('/');
        format!("{base}/api/v1/oidc/callback")
    }

    async fn provider(&self) -> anyhow::Result<Provider> {
        if let Some((provider, at)) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < FRESH
        {
            return Ok(provider.clone());
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let (status, body) = self
            .web
            .get(&format!("{issuer}/.well-known/openid-configuration"))
            .await?;
        ensure!(
            status.is_success(),
            "the provider's configuration: HTTP status {status}"
        );
        let provider: Provider =
            serde_json::from_slice(&body).context("the provider's configuration cannot be read")?;
        // Mix-up of providers: the one that answers must be the one that was asked (Discovery 1.0, 4.3).
        ensure!(
            provider.issuer.trim_end_matches('/') == issuer,
            "the provider calls itself {:?}, expected {:?}",
            provider.issuer,
            self.settings.issuer
        );
        for url in [
            &provider.authorization_endpoint,
            &provider.token_endpoint,
            &provider.jwks_uri,
        ] {
            Web::check(url)?;
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((provider.clone(), Instant::now()));
        Ok(provider)
    }

    /// The key of this name; the set is read again when it has none.
    async fn key(&self, provider: &Provider, name: Option<&str>) -> anyhow::Result<Jwk> {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((keys, at)) = &held {
            if let Some(key) = find(keys, name)
                && at.elapsed() < FRESH
            {
                return Ok(key);
            }
            ensure!(
                at.elapsed() >= KEYS_AGAIN,
                "the ID token is signed with an unknown key"
            );
        }
        let (status, body) = self.web.get(&provider.jwks_uri).await?;
        ensure!(status.is_success(), "the provider's keys: HTTP status {status}");
        let keys: JwkSet = serde_json::from_slice(&body).context("the provider's keys cannot be read")?;
        let key = find(&keys, name).context("the ID token is signed with an unknown key");
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(keys), Instant::now()));
        key
    }

    /// Exchanges a code for an ID token, and checks that.
    async fn person(&self, code: &str, pending: &Pending) -> anyhow::Result<Person> {
        let provider = self.provider().await?;
        let redirect = self.redirect_uri();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", pending.verifier.as_str()),
        ];
        let secret = match &self.settings.client_secret {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                Some(zeroize::Zeroizing::new(text.trim_end().to_owned()))
            }
            None => None,
        };
        let methods = &provider.token_endpoint_auth_methods_supported;
        let basic = methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic");
        let mut authorization = None;
        match &secret {
            Some(secret) if basic => {
                let pair = format!("{}:{}", encode(&self.settings.client_id), encode(secret));
                let value = format!("Basic {}", Base64::encode_string(pair.as_bytes()));
                let mut value = HeaderValue::from_str(&value)?;
                value.set_sensitive(true);
                authorization = Some(value);
            }
            Some(secret) => {
                form.push(("client_id", &self.settings.client_id));
                form.push(("client_secret", secret));
            }
            None => form.push(("client_id", &self.settings.client_id)),
        }
        let (status, body) = self
            .web
            .form(&provider.token_endpoint, authorization, &form)
            .await?;
        ensure!(
            status.is_success(),
            "the provider refused the code: HTTP status {status}"
        );
        #[derive(Deserialize)]
        struct Tokens {
            id_token: String,
        }
        // The parser's message may repeat a token.
        let tokens: Tokens = serde_json::from_slice(&body)
            .map_err(|_| anyhow::anyhow!("the provider's answer holds no ID token"))?;
        self.check(&provider, &tokens.id_token, &pending.nonce).await
    }

    /// OpenID Connect Core 1.0, 3.1.3.7.
    async fn check(&self, provider: &Provider, token: &str, nonce: &str) -> anyhow::Result<Person> {
        let head = jsonwebtoken::decode_header(token).context("the ID token cannot be read")?;
        ensure!(
            ALGORITHMS.contains(&head.alg),
            "the ID token is signed with {:?}, which is not taken",
            head.alg
        );
        let key = self.key(provider, head.kid.as_deref()).await?;
        let key = DecodingKey::from_jwk(&key).context("the provider's key cannot be used")?;
        let mut rules = Validation::new(head.alg);
        rules.set_audience(&[&self.settings.client_id]);
        rules.set_issuer(&[&provider.issuer]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &rules)
            .context("the ID token does not hold")?
            .claims;
        let told = claims.nonce.as_deref().unwrap_or_default();
        ensure!(
            pki::constant_time_eq(told.as_bytes(), nonce.as_bytes()),
            "the ID token is for another login"
        );
        let several = claims.aud.as_array().is_some_and(|all| all.len() > 1);
        if several || claims.azp.is_some() {
            ensure!(
                claims.azp.as_deref() == Some(&self.settings.client_id),
                "the ID token is for another client"
            );
        }
        self.named(&claims.others)
    }

    /// Names of the cluster itself cannot come from a provider.
    fn named(&self, claims: &serde_json::Map<String, Value>) -> anyhow::Result<Person> {
        let settings = &self.settings;
        let name = claims.get(&settings.user_claim).and_then(Value::as_str);
        let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= 256) else {
            bail!("the ID token has no claim {:?}", settings.user_claim);
        };
        if settings.user_claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
            bail!("the e-mail address in the ID token is not verified");
        }
        let user = format!("{}{name}", settings.user_prefix);
        ensure!(
            !user.starts_with("system:"),
            "names that begin with system: are the cluster's own"
        );
        let groups = match claims.get(&settings.groups_claim) {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        let groups = groups
            .into_iter()
            .map(|group| format!("{}{group}", settings.groups_prefix))
            .filter(|group| !group.starts_with("system:"))
            .take(MAX_GROUPS)
            .collect();
        Ok(Person { user, groups })
    }
}

fn find(keys: &JwkSet, name: Option<&str>) -> Option<Jwk> {
    match name {
        Some(name) => keys.find(name).cloned(),
        None => match keys.keys.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
    }
}

/// Parameters of a login.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoginQuery {
    /// Page of the console to come back to.
    #[serde(rename = "return")]
    #[schemars(length(max = 1024))]
    back: Option<String>,
}

/// Parameters of the way back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CallbackQuery {
    /// What the provider gave for the login.
    #[schemars(length(max = 4096))]
    code: Option<String>,
    /// Which login it belongs to.
    #[schemars(length(max = 256))]
    state: Option<String>,
    /// Why the provider let nobody in.
    #[schemars(length(max = 256))]
    error: Option<String>,
    /// Which provider it comes from (RFC 9207).
    #[schemars(length(max = 1024))]
    iss: Option<String>,
}

fn configured(api: &Api) -> Answer<&Oidc> {
    api.oidc
        .as_ref()
        .ok_or_else(|| Fault::new(Code::NotFound, "there is no login with OpenID Connect here"))
}

/// `GET /api/v1/oidc/login`
pub(crate) async fn login(
    State(api): State<Arc<Api>>,
    Params(query): Params<LoginQuery>,
) -> Answer<Response> {
    let oidc = configured(&api)?;
    api.sealed_sessions()?;
    let provider = oidc.provider().await.map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "OpenID Connect provider");
        Fault::new(
            Code::Unavailable,
            "the OpenID Connect provider cannot be asked now",
        )
    })?;
    let random =
        || pki::random::text(43).map_err(|_| Fault::new(Code::Unavailable, "there are no random numbers"));
    let pending = Pending {
        state: random()?,
        nonce: random()?,
        verifier: random()?,
        back: own_page(query.back.as_deref()),
        began: api.clock.now(),
    };
    let challenge = Base64UrlUnpadded::encode_string(&pki::digest::sha256(pending.verifier.as_bytes()));
    let start = if provider.authorization_endpoint.contains('?') {
        '&'
    } else {
        '?'
    };
    let url = format!(
        "{}{start}response_type=code&client_id={}&redirect_uri={}&scope={}&state={}&nonce={}&code_challenge={challenge}&\
         code_challenge_method=S256",
        provider.authorization_endpoint,
        encode(&oidc.settings.client_id),
        encode(&oidc.redirect_uri()),
        encode(&oidc.settings.scopes.join(" ")),
        encode(&pending.state),
        encode(&pending.nonce),
    );
    let text = serde_json::to_vec(&pending).unwrap_or_default();
    let sealed = api
        .seal
        .seal(PURPOSE, &text)
        .ok_or_else(|| Fault::new(Code::Unavailable, "the login cannot be written down"))?;
    let mut response = redirect(&url)?;
    set_pending(&api, &sealed, PATIENCE.as_secs(), response.headers_mut());
    Ok(response)
}

/// A page of our own; anything else is the front page.
fn own_page(back: Option<&str>) -> String {
    let good = |page: &&str| {
        page.starts_with('/')
            && !page.starts_with("//")
            && !page.contains('\\')
            && !page.chars().any(char::is_control)
            && page.len() <= 1024
    };
    back.filter(good).unwrap_or("/").to_owned()
}

fn redirect(url: &str) -> Answer<Response> {
    let location = HeaderValue::from_str(url)
        .map_err(|_| Fault::new(Code::InvalidRequest, "the address to go to cannot be used"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}

fn cookie_name(api: &Api) -> &'static str {
    if api.about.https {
        "__Secure-occm-login"
    } else {
        "occm-login"
    }
}

/// Lax: the way back comes from another site.
fn set_pending(api: &Api, value: &str, seconds: u64, headers: &mut HeaderMap) {
    let secure = if api.about.https { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/api/v1/oidc; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}",
        cookie_name(api)
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// `GET /api/v1/oidc/callback`
pub(crate) async fn callback(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<CallbackQuery>,
) -> Answer<Response> {
    let oidc = configured(&api)?;
    let ended = finish(&api, oidc, &headers, query).await;
    let who = match &ended {
        Ok((session, _)) => session.user.clone(),
        Err(_) => "oidc".to_owned(),
    };
    let word = ended
        .as_ref()
        .map_or_else(|fault| fault.word(), |_| "Ok".to_owned());
    api.audit.write(&api, &Line::session(&who, "log in", &word));
    let mut response = match ended {
        Ok((session, back)) => {
            let mut response = redirect(&back)?;
            if session::set(&api, &session, response.headers_mut()) {
                response
            } else {
                return Err(Fault::new(
                    Code::Forbidden,
                    "the provider tells more groups than a cookie holds; ask for fewer, by a claim of its own",
                ));
            }
        }
        // A person sees the login page with the reason, a program the problem.
        Err(fault) if wants_page(&headers) => redirect(&format!("/login#error={}", encode(&fault.detail)))?,
        Err(fault) => fault.into_response(),
    };
    set_pending(&api, "", 0, response.headers_mut());
    Ok(response)
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

async fn finish(
    api: &Api,
    oidc: &Oidc,
    headers: &HeaderMap,
    query: CallbackQuery,
) -> Answer<(Session, String)> {
    let no = |detail: &str| Fault::new(Code::Unauthenticated, detail);
    let from = guard::from_address()
        .map(|from| from.to_string())
        .unwrap_or_default();
    api.rates.take_login(&from, api)?;
    let pending = session::cookie(headers, cookie_name(api))
        .and_then(|sealed| api.seal.open(PURPOSE, sealed))
        .and_then(|text| serde_json::from_slice::<Pending>(&text).ok())
        .ok_or_else(|| no("no login is going on in this browser; log in again"))?;
    let now = api.clock.now();
    let patience = jiff::SignedDuration::try_from(PATIENCE).unwrap_or(jiff::SignedDuration::ZERO);
    if now.duration_since(pending.began) > patience {
        return Err(no("the login took too long; log in again"));
    }
    let state = query.state.unwrap_or_default();
    if !pki::constant_time_eq(state.as_bytes(), pending.state.as_bytes()) {
        return Err(no("this is the end of another login; log in again"));
    }
    if query
        .iss
        .is_some_and(|told| told.trim_end_matches('/') != oidc.settings.issuer.trim_end_matches('/'))
    {
        return Err(no("this is the answer of another provider; log in again"));
    }
    if let Some(error) = query.error {
        let shown = crate::model::field::shown(&error);
        return Err(no(&format!("the provider let nobody in: {shown}")));
    }
    let code = query.code.ok_or_else(|| no("the provider gave no code"))?;
    let person = oidc.person(&code, &pending).await.map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "login with OpenID Connect failed");
        no(&format!("the login failed: {error}"))
    })?;
    let mut session = Session::new(person.user, LoginKind::Oidc, now)?;
    session.groups = person.groups;
    Ok((session, pending.back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_only_pages_of_ours_are_shown() {
        for (asked, shown) in [
            (Some("/certificates?q=1"), "/certificates?q=1"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a\nb"), "/"),
            (None, "/"),
        ] {
            assert_eq!(own_page(asked), shown);
        }
    }
}
