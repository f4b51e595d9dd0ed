//! What stands before every operation: a name for the request, its bounds, and the headers that keep browsers safe.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::assets;
use crate::api::audit::Line;
use crate::api::problem::{Code, Fault};

/// Callers whose rates are remembered; more are measured together.
const MAX_KNOWN: usize = 10_000;
/// Longest request id that is taken over from a proxy.
const MAX_REQUEST_ID: usize = 64;

tokio::task_local! {
    static REQUEST: RequestFacts;
}

/// What is known of the request that is being served.
#[derive(Clone)]
struct RequestFacts {
    id: Arc<str>,
    from: IpAddr,
    /// Whether there is an audit line for it.
    audited: Arc<AtomicBool>,
}

/// Names the request that is being served; empty outside of one.
pub(crate) fn request_id() -> String {
    REQUEST
        .try_with(|request| request.id.to_string())
        .unwrap_or_default()
}

/// Address that the request came from.
pub(crate) fn from_address() -> Option<IpAddr> {
    REQUEST.try_with(|request| request.from).ok()
}

/// Says that there is an audit line for the request that is being served.
pub(crate) fn set_audited() {
    let _ = REQUEST.try_with(|request| request.audited.store(true, Ordering::Relaxed));
}

/// Whether there is one.
pub(crate) fn is_audited() -> bool {
    REQUEST
        .try_with(|request| request.audited.load(Ordering::Relaxed))
        .unwrap_or_default()
}

/// Whether a method is for writing.
pub(crate) fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The outermost layer.
pub(crate) async fn guard(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let id: Arc<str> = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| usable(id))
        .map_or_else(new_id, str::to_owned)
        .into();
    let facts = RequestFacts {
        id: id.clone(),
        from: peer.ip(),
        audited: Arc::default(),
    };
    let is_api = request.uri().path().starts_with("/api/");
    let answer = REQUEST.scope(facts.clone(), async {
        if is_api && let Err(refusal) = api.rates.take_request(&peer.ip().to_string(), &api) {
            if refusal.first && writes(request.method()) {
                let asked = format!("{} {}", request.method(), request.uri().path());
                let line = Line::session("nobody", &asked, &refusal.fault.word());
                api.audit.write(&api, &line);
            }
            return refusal.fault.into_response();
        }
        let limit = api.limits.request;
        let answer = async {
            if is_api && writes(request.method()) {
                to_its_end(&api, facts, request, next).await
            } else {
                next.run(request).await
            }
        };
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {limit:?}; what was begun may still be done");
            Fault::new(Code::Unavailable, detail).into_response()
        })
    });
    let mut response = answer.await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert_with(|| HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, assets::SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    );
    if is_api {
        set(header::CACHE_CONTROL, "no-store");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    response
}

/// Does a write to its end and with its audit line, also when its caller waits no longer.
async fn to_its_end(api: &Api, facts: RequestFacts, request: Request, next: Next) -> Response {
    let place = Arc::clone(&api.rates.writes).acquire_owned().await;
    let task = tokio::spawn(REQUEST.scope(facts, async move {
        let _place = place;
        next.run(request).await
    }));
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write failed inside");
        Fault::new(Code::Unavailable, "the write failed inside; the log says more").into_response()
    })
}

fn usable(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_REQUEST_ID
        && id
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn new_id() -> String {
    pki::random::text(16).unwrap_or_default()
}

/// How often callers may come: a bucket for each, filled steadily.
pub(crate) struct Rates {
    buckets: Mutex<HashMap<String, Bucket>>,
    /// Places for live streams.
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
    /// Places for writes.
    writes: Arc<tokio::sync::Semaphore>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
    /// Whether the last one was refused.
    refuses: bool,
}

/// A request that comes too early.
#[derive(Debug)]
pub(crate) struct Refusal {
    fault: Fault,
    /// Whether the one before it was not refused: a flood is told once.
    first: bool,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.fault
    }
}

/// Writes at the same time.
const MAX_WRITES: u32 = 256;

impl Rates {
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            buckets: Mutex::new(HashMap::new()),
            streams: Arc::new(tokio::sync::Semaphore::new(streams)),
            writes: Arc::new(tokio::sync::Semaphore::new(MAX_WRITES as usize)),
        }
    }

    /// Waits until all writes that were begun are done.
    pub(crate) async fn writes_done(&self) {
        let _all = self.writes.acquire_many(MAX_WRITES).await;
    }

    /// Takes one request of a caller.
    pub(crate) fn take_request(&self, who: &str, api: &Api) -> Result<(), Refusal> {
        let rate = f64::from(api.limits.requests_per_second);
        self.take(&format!("request {who}"), rate, rate * 4.0)
    }

    /// Takes one login from an address.
    pub(crate) fn take_login(&self, from: &str, api: &Api) -> Result<(), Refusal> {
        let burst = f64::from(api.limits.logins_per_minute);
        self.take(&format!("login {from}"), burst / 60.0, burst)
    }

    fn take(&self, who: &str, rate: f64, burst: f64) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KNOWN {
            buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs() < 60);
        }
        let who = if buckets.len() >= MAX_KNOWN { "others" } else { who };
        let bucket = buckets.entry(who.to_owned()).or_insert(Bucket {
            tokens: burst,
            at: now,
            refuses: false,
        });
        bucket.tokens = (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * rate).min(burst);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            bucket.refuses = false;
            return Ok(());
        }
        let first = !std::mem::replace(&mut bucket.refuses, true);
        let wait = ((1.0 - bucket.tokens) / rate).ceil().clamp(1.0, 3600.0);
        let mut fault = Fault::new(
            Code::TooManyRequests,
            format!("too many requests from here; try again in {wait} s"),
        );
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 3600"
        )]
        let seconds = wait as u64;
        fault.retry_after = Some(seconds);
        Err(Refusal { fault, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_comes_too_often_is_told_when_to_come_again() {
        let rates = Rates::new(1);
        for _ in 0..10 {
            rates.take("a", 1.0, 10.0).unwrap();
        }
        let refusal = rates.take("a", 1.0, 10.0).unwrap_err();
        let fault = &refusal.fault;
        assert_eq!((fault.code, fault.retry_after), (Code::TooManyRequests, Some(1)));
        assert!(refusal.first && !rates.take("a", 1.0, 10.0).unwrap_err().first);
        rates.take("b", 1.0, 10.0).unwrap();
    }

    #[test]
    fn many_callers_do_not_fill_the_memory() {
        let rates = Rates::new(1);
        for i in 0..3 * MAX_KNOWN {
            let _ = rates.take(&i.to_string(), 1.0, 10.0);
        }
        assert!(rates.buckets.lock().unwrap().len() <= MAX_KNOWN + 1);
    }

    #[test]
    fn request_ids_of_proxies_are_taken_over_only_in_a_harmless_form() {
        assert!(usable("a-B_3.x"));
        assert!(!usable("") && !usable("a b") && !usable("a\n") && !usable(&"a".repeat(65)));
    }
}
