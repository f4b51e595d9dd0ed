//! HTTP to the API server: one request, one answer, and every failure in the words of the store.
//!
//! Not kube's own client: that one writes whole answers to the log when it cannot parse them, and ours hold private
//! keys. Its configuration, TLS and token handling are used.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::SignedDuration;
use kube::client::ConfigExt;
use serde::de::DeserializeOwned;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::model::condition::cut;
use crate::store::kube::wire::Status;
use crate::store::{StoreError, StoreResult};

/// Largest answer to one request, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Longest message of the API server that an error repeats, in bytes.
const MAX_MESSAGE: usize = 512;
/// How often a request that the server put off is sent again.
const MAX_PUT_OFF: usize = 3;
/// Longest wait that the server may ask for before a request is sent again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the credentials are read again after the server refused them. The token of a ServiceAccount expires, and
/// its file has the next one.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// Who asks, for the audit log.
const AGENT: &str = concat!("occm/", env!("CARGO_PKG_VERSION"));
/// Clock offset that is not known yet.
const UNKNOWN: i64 = i64::MIN;

type Service = BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// What the caller wants to have back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The object.
    Full,
    /// Its metadata only.
    Metadata,
    /// The metadata of a list's objects.
    MetadataList,
}

impl Answer {
    fn accept(self) -> &'static str {
        match self {
            Self::Full => "application/json",
            Self::Metadata => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            Self::MetadataList => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// Nothing.
    Empty,
    /// A whole object.
    Json(Bytes),
    /// RFC 7396.
    MergePatch(Bytes),
    /// RFC 6902.
    JsonPatch(Bytes),
}

impl Payload {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Empty | Self::Json(_) => "application/json",
            Self::MergePatch(_) => "application/merge-patch+json",
            Self::JsonPatch(_) => "application/json-patch+json",
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Json(bytes) | Self::MergePatch(bytes) | Self::JsonPatch(bytes) => bytes.clone(),
        }
    }
}

/// The API server.
pub(super) struct Api {
    config: kube::Config,
    service: Mutex<(Service, Instant)>,
    timeout: Duration,
    clock: Clock,
    offset_millis: AtomicI64,
    calls: AtomicU64,
    /// Header of a caller, instead of the credentials of the configuration.
    authorization: Option<HeaderValue>,
}

impl Api {
    /// The API server that `config` names. `timeout` is the longest that one call takes.
    pub(super) fn new(config: &kube::Config, timeout: Duration, clock: Clock) -> Result<Self, kube::Error> {
        let service = Mutex::new((connect(config)?, Instant::now()));
        Ok(Self {
            config: config.clone(),
            service,
            timeout,
            clock,
            offset_millis: AtomicI64::new(UNKNOWN),
            calls: AtomicU64::new(0),
            authorization: None,
        })
    }

    /// The same server over the same connections with another `Authorization`. The configuration must have no credentials.
    pub(super) fn with_authorization(&self, authorization: HeaderValue) -> Self {
        Self {
            config: self.config.clone(),
            service: Mutex::new((self.service(), Instant::now())),
            timeout: self.timeout,
            clock: self.clock.clone(),
            offset_millis: AtomicI64::new(UNKNOWN),
            calls: AtomicU64::new(0),
            authorization: Some(authorization),
        }
    }

    /// Requests sent so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How far the server's clock is ahead of ours.
    pub(super) fn clock_offset(&self) -> Option<SignedDuration> {
        match self.offset_millis.load(Ordering::Relaxed) {
            UNKNOWN => None,
            millis => Some(SignedDuration::from_millis(millis)),
        }
    }

    /// Sends a request and parses the answer. `what` names the object in errors.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        payload: Payload,
        answer: Answer,
    ) -> StoreResult<T> {
        let bytes = self.call_bytes(what, method, path, payload, answer).await?;
        parse(what, &bytes)
    }

    /// Sends a request; the answer is wiped on drop.
    pub(super) async fn call_bytes(
        &self,
        what: &str,
        method: Method,
        path: &str,
        payload: Payload,
        answer: Answer,
    ) -> StoreResult<Zeroizing<Vec<u8>>> {
        let (status, body) = self.exchange(what, method, path, payload, answer).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(failure(what, status, &body))
    }

    /// Sends a request and gives the answer back, also a refusal; it is wiped on drop.
    pub(super) async fn exchange(
        &self,
        what: &str,
        method: Method,
        path: &str,
        payload: Payload,
        answer: Answer,
    ) -> StoreResult<(StatusCode, Zeroizing<Vec<u8>>)> {
        let call = self.call_until_taken(what, &method, path, &payload, answer);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable(
                what.to_owned(),
                format!("no answer within {:?}", self.timeout),
            )),
        }
    }

    /// A request that the server put off was not carried out, so it is safe to send it again.
    async fn call_until_taken(
        &self,
        what: &str,
        method: &Method,
        path: &str,
        payload: &Payload,
        answer: Answer,
    ) -> StoreResult<(StatusCode, Zeroizing<Vec<u8>>)> {
        let mut put_off = 0;
        loop {
            let request = request(what, method, path, payload, answer)?;
            let response = self.send(what, request).await?;
            let (status, wait) = (response.status(), retry_after(response.headers()));
            let body = collect(what, response).await?;
            if status == StatusCode::UNAUTHORIZED && self.renew_credentials() {
                continue;
            }
            match wait {
                Some(wait) if status == StatusCode::TOO_MANY_REQUESTS && put_off < MAX_PUT_OFF => {
                    put_off += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => return Ok((status, body)),
            }
        }
    }

    /// Opens a stream, for a watch.
    pub(super) async fn open(&self, what: &str, path: &str, answer: Answer) -> Result<Incoming, StreamError> {
        let request = request(what, &Method::GET, path, &Payload::Empty, answer)?;
        let opened = tokio::time::timeout(self.timeout, self.send(what, request)).await;
        let response = opened.map_err(|_| {
            StoreError::Unavailable(what.to_owned(), format!("no answer within {:?}", self.timeout))
        })??;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        if status == StatusCode::UNAUTHORIZED {
            self.renew_credentials();
        }
        let body = tokio::time::timeout(self.timeout, collect(what, response))
            .await
            .map_err(|_| StoreError::Unavailable(what.to_owned(), "answer was cut off".to_owned()))??;
        Err(match status {
            StatusCode::GONE => StreamError::Expired,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => StreamError::NotSupported,
            _ => StreamError::Store(failure(what, status, &body)),
        })
    }

    async fn send(&self, what: &str, mut request: Request<Full<Bytes>>) -> StoreResult<Response<Incoming>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = self
            .service()
            .oneshot(request)
            .await
            .map_err(|error| StoreError::Unavailable(what.to_owned(), chain(error.as_ref())))?;
        self.note_date(response.headers());
        Ok(response)
    }

    fn service(&self) -> Service {
        self.service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
    }

    /// Reads the credentials again, if that was not done just now. Whether the request is worth another attempt.
    fn renew_credentials(&self) -> bool {
        if self.authorization.is_some() {
            return false;
        }
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        if service.1.elapsed() < RENEW_INTERVAL {
            return false;
        }
        service.1 = Instant::now();
        match connect(&self.config) {
            Ok(renewed) => {
                service.0 = renewed;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "credentials for the API server cannot be read");
                false
            }
        }
    }

    fn note_date(&self, headers: &HeaderMap) {
        let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok()) else {
            return;
        };
        let Ok(date) = jiff::fmt::rfc2822::parse(date) else {
            return;
        };
        // The date has whole seconds and was cut, not rounded.
        let server = date.timestamp() + SignedDuration::from_millis(500);
        let offset = server.duration_since(self.clock.now());
        let millis = i64::try_from(offset.as_millis()).unwrap_or(UNKNOWN);
        self.offset_millis.store(millis, Ordering::Relaxed);
    }
}

fn connect(config: &kube::Config) -> Result<Service, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // A server whose machine is gone sends no FIN.
    tcp.set_keepalive(Some(Duration::from_secs(15)));
    tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
    tcp.set_keepalive_retries(Some(3));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxCloneSyncService::new(service))
}

/// Why a watch could not be opened or went on no longer.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The version to go on from is too old.
    Expired,
    /// The server does not know this kind of watch.
    NotSupported,
    /// Anything else.
    Store(StoreError),
}

impl From<StoreError> for StreamError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn request(
    what: &str,
    method: &Method,
    path: &str,
    payload: &Payload,
    answer: Answer,
) -> StoreResult<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, answer.accept())
        .header(CONTENT_TYPE, payload.content_type())
        .body(Full::new(payload.bytes()))
        .map_err(|error| StoreError::Refused(what.to_owned(), error.to_string()))
}

async fn collect(what: &str, response: Response<Incoming>) -> StoreResult<Zeroizing<Vec<u8>>> {
    let length = response.headers().get(http::header::CONTENT_LENGTH);
    let length = length
        .and_then(|l| l.to_str().ok()?.parse().ok())
        .unwrap_or(4096_usize)
        .min(MAX_ANSWER);
    let mut body = Limited::new(response.into_body(), MAX_ANSWER);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| StoreError::Unavailable(what.to_owned(), chain(error.as_ref())))?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// Parses an answer; the error never repeats it.
pub(super) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> StoreResult<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!(
            "answer of the API server, line {} column {}",
            error.line(),
            error.column()
        );
        StoreError::Malformed(what.to_owned(), place)
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A refusal in the words of the store.
pub(super) fn failure(what: &str, code: StatusCode, body: &[u8]) -> StoreError {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let what = what.to_owned();
    let message = if status.message.is_empty() {
        code.to_string()
    } else {
        cut(status.message.clone(), MAX_MESSAGE)
    };
    match code {
        StatusCode::NOT_FOUND => StoreError::NotFound(what),
        StatusCode::CONFLICT => StoreError::Conflict(what),
        StatusCode::FORBIDDEN if status.has_cause("NamespaceTerminating") => StoreError::Terminating(what),
        StatusCode::FORBIDDEN => StoreError::Forbidden(what, message),
        StatusCode::BAD_REQUEST
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::METHOD_NOT_ALLOWED => StoreError::Refused(what, message),
        _ => StoreError::Unavailable(what, message),
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    cut(text, MAX_MESSAGE)
}

/// A shared API server.
pub(super) type SharedApi = Arc<Api>;

/// One part of a path or of a query, escaped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, body: &str) -> StoreError {
        failure("a/b", StatusCode::from_u16(code).unwrap(), body.as_bytes())
    }

    #[test]
    fn refusals_are_told_apart() {
        let terminating = r#"{"message":"m","details":{"causes":[{"reason":"NamespaceTerminating"}]}}"#;
        assert_eq!(of(403, terminating), StoreError::Terminating("a/b".into()));
        assert_eq!(
            of(403, r#"{"message":"no"}"#),
            StoreError::Forbidden("a/b".into(), "no".into())
        );
        assert_eq!(of(404, ""), StoreError::NotFound("a/b".into()));
        assert_eq!(of(409, ""), StoreError::Conflict("a/b".into()));
        assert_eq!(
            of(422, r#"{"message":"bad"}"#),
            StoreError::Refused("a/b".into(), "bad".into())
        );
        for code in [401, 429, 500, 502, 503, 504] {
            assert!(matches!(of(code, ""), StoreError::Unavailable(..)), "{code}");
        }
    }

    #[test]
    fn an_unreadable_answer_is_not_repeated() {
        let error = parse::<u32>("a/b", b"\"planted-secret\"").unwrap_err();
        assert!(!error.to_string().contains("planted"), "{error}");
    }

    #[test]
    fn a_long_message_is_cut() {
        let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
        assert!(of(422, &body).to_string().len() < 700);
    }
}
