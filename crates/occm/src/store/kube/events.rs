//! Events for people: sent in the background, counted where they repeat, dropped where too many wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::condition::cut;
use crate::model::object::API_VERSION;
use crate::store::kube::api::{Answer, Payload, SharedApi};
use crate::store::kube::paths;
use crate::store::kube::wire::Nothing;
use crate::store::{ContentHash, Event, Severity, StoreError, StoreResult};

/// Events that wait for being sent.
const QUEUE: usize = 4096;
/// Senders.
const SENDERS: usize = 4;
/// For how long a repeated Event counts as the same.
const SERIES: Duration = Duration::from_secs(360);
/// Most Events that are remembered as possible series, for each sender.
const MAX_SERIES: usize = 1024;
/// Longest note, in bytes, by the API server's rules.
const MAX_NOTE: usize = 1024;

/// Sends Events until it is dropped.
pub(super) struct Events {
    queue: Vec<mpsc::Sender<Event>>,
    dropped: Arc<AtomicU64>,
    _senders: JoinSet<()>,
}

impl Events {
    /// Starts the senders; `instance` names this process in the Events.
    pub(super) fn start(api: &SharedApi, instance: &str) -> Self {
        let mut senders = JoinSet::new();
        let mut queue = Vec::new();
        for _ in 0..SENDERS {
            let (sender, receiver) = mpsc::channel(QUEUE / SENDERS);
            queue.push(sender);
            senders.spawn(send_all(Arc::clone(api), instance.to_owned(), receiver));
        }
        Self {
            queue,
            dropped: Arc::new(AtomicU64::new(0)),
            _senders: senders,
        }
    }

    /// Queues an Event. Those of one object keep their order.
    pub(super) fn emit(&self, event: &Event) {
        let hash = ContentHash::of(event.object.to_string().as_bytes());
        let at = hash
            .0
            .first()
            .map_or(0, |byte| usize::from(*byte) % self.queue.len().max(1));
        let sent = self
            .queue
            .get(at)
            .is_some_and(|queue| queue.try_send(event.clone()).is_ok());
        if !sent {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(dropped, "too many Events wait; one is dropped");
        }
    }

    /// Events dropped because too many waited.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// An Event that may repeat.
struct Series {
    name: String,
    count: u64,
    last: Instant,
}

async fn send_all(api: SharedApi, instance: String, mut receiver: mpsc::Receiver<Event>) {
    let mut known: HashMap<[u8; 32], Series> = HashMap::new();
    while let Some(event) = receiver.recv().await {
        let identity = identity(&event);
        let now = Instant::now();
        if known.len() >= MAX_SERIES {
            known.retain(|_, series| now.duration_since(series.last) < SERIES);
        }
        if known.len() >= MAX_SERIES {
            known.clear();
        }
        let repeated = known
            .get_mut(&identity)
            .filter(|series| now.duration_since(series.last) < SERIES);
        let result = match repeated {
            Some(series) => {
                series.count += 1;
                series.last = now;
                repeat(&api, &event, series).await
            }
            None => create(&api, &event, &instance).await.map(|name| {
                known.insert(
                    identity,
                    Series {
                        name,
                        count: 1,
                        last: now,
                    },
                );
            }),
        };
        match result {
            Err(StoreError::NotFound(_)) => {
                known.remove(&identity);
            }
            Err(error) => tracing::debug!(object = %event.object, %error, "Event could not be sent"),
            Ok(()) => {}
        }
    }
}

fn identity(event: &Event) -> [u8; 32] {
    let text = format!(
        "{}\0{}\0{:?}\0{:?}\0{}\0{}",
        event.kind, event.object, event.uid, event.severity, event.reason, event.message
    );
    ContentHash::of(text.as_bytes()).0
}

async fn create(api: &SharedApi, event: &Event, instance: &str) -> StoreResult<String> {
    let name = name(event);
    let kind = match event.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": event.object.namespace },
        "eventTime": micros(event.time),
        "reportingController": "occm.dev/occm",
        "reportingInstance": cut(instance.to_owned(), 128),
        "action": "Reconcile",
        "reason": event.reason.as_str(),
        "regarding": {
            "apiVersion": API_VERSION, "kind": event.kind.as_str(), "namespace": event.object.namespace,
            "name": event.object.name, "uid": event.uid,
        },
        "note": cut(event.message.clone(), MAX_NOTE),
        "type": kind,
    });
    let path = paths::events(&event.object.namespace);
    let payload = Payload::Json(Bytes::from(body.to_string()));
    api.call::<Nothing>(
        &event.object.to_string(),
        Method::POST,
        &path,
        payload,
        Answer::Metadata,
    )
    .await?;
    Ok(name)
}

async fn repeat(api: &SharedApi, event: &Event, series: &Series) -> StoreResult<()> {
    let body = json!({ "series": { "count": series.count, "lastObservedTime": micros(event.time) } });
    let path = format!("{}/{}", paths::events(&event.object.namespace), series.name);
    let payload = Payload::MergePatch(Bytes::from(body.to_string()));
    api.call::<Nothing>(
        &event.object.to_string(),
        Method::PATCH,
        &path,
        payload,
        Answer::Metadata,
    )
    .await
    .map(|_| ())
}

/// A name that no other Event has.
fn name(event: &Event) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let start: String = event.object.name.chars().take(200).collect();
    let nanos = event.time.as_nanosecond() & 0xffff_ffff_ffff_ffff;
    format!("{}.{nanos:x}.{count:x}", start.trim_end_matches(['-', '.']))
}

fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}
