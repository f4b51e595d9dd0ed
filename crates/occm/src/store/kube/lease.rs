//! One writer: the Lease that says which process reconciles.
//!
//! ```text
//!   follower ──(free, ours, or unchanged for its whole duration)──> PUT ──> leader ──> PUT every retry period
//!      ^                                                                      │
//!      └──────────── no successful PUT within the renew deadline ─────────────┘
//! ```
//!
//! The algorithm is client-go's. Each PUT carries the resourceVersion that was seen. Whether another holder is still alive is
//! told by our monotonic clock since the Lease last *changed*, never by comparing the time in it with ours. The fence closes
//! at the renew deadline after the *start* of the last successful PUT, well before anybody else may take over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::model::object::ObjectKey;
use crate::store::kube::api::{Answer, Payload, SharedApi};
use crate::store::kube::follow::jitter;
use crate::store::kube::paths;
use crate::store::{StoreError, StoreResult};

/// How often a Lease that cannot be renewed is told of.
const REPEAT: Duration = Duration::from_secs(60);

/// How a Lease is held.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// The Lease.
    pub lease: ObjectKey,
    /// Who we are: the Pod's uid, so that a container that is started again in its Pod goes on at once.
    pub holder: String,
    /// How long a Lease that does not change belongs to its holder.
    pub duration: Duration,
    /// How long we act on our last successful renewal. Shorter than `duration`.
    pub renew_deadline: Duration,
    /// How often the Lease is renewed or asked for.
    pub retry_period: Duration,
}

impl LeaseSettings {
    /// The defaults: 15 s, 10 s and 2 s.
    pub fn new(lease: ObjectKey, holder: &str) -> Self {
        Self {
            lease,
            holder: holder.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Whether this process may write and send; asked before each time.
pub type Fence = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the rest of the process knows of the Lease.
#[derive(Clone)]
pub struct Leadership {
    deadline: Arc<Mutex<Option<Instant>>>,
    leads: watch::Receiver<bool>,
    heard: Arc<Mutex<Option<Instant>>>,
    duration: Duration,
}

impl Leadership {
    /// Whether the API server told of the Lease within its duration.
    pub fn in_touch(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < self.duration)
    }

    /// The check before each write and each send.
    pub fn fence(&self) -> Fence {
        let deadline = Arc::clone(&self.deadline);
        Arc::new(move || {
            let deadline = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_some_and(|deadline| Instant::now() < deadline)
        })
    }

    /// Turns true when the Lease is ours, and false when it is lost or given back.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }
}

/// Holds a Lease, or waits for it.
pub struct Lease {
    api: SharedApi,
    clock: Clock,
    settings: LeaseSettings,
    seen: Option<Seen>,
    deadline: Arc<Mutex<Option<Instant>>>,
    leads: watch::Sender<bool>,
    /// When the API server last told of it.
    heard: Arc<Mutex<Option<Instant>>>,
    /// A failure was told; the next one is told then.
    quiet_until: Option<Instant>,
}

/// The Lease as it was last seen.
struct Seen {
    object: Value,
    /// When it was first seen so.
    since: Instant,
}

impl Seen {
    fn version(&self) -> Option<&str> {
        self.object.pointer("/metadata/resourceVersion")?.as_str()
    }

    fn holder(&self) -> &str {
        self.object
            .pointer("/spec/holderIdentity")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Lease {
    pub(super) fn new(api: SharedApi, clock: Clock, settings: LeaseSettings) -> (Self, Leadership) {
        let deadline = Arc::new(Mutex::new(None));
        let (leads, seen_leads) = watch::channel(false);
        let leadership = Leadership {
            deadline: Arc::clone(&deadline),
            leads: seen_leads,
            heard: Arc::default(),
            duration: settings.duration,
        };
        let heard = Arc::clone(&leadership.heard);
        (
            Self {
                api,
                clock,
                settings,
                seen: None,
                deadline,
                leads,
                heard,
                quiet_until: None,
            },
            leadership,
        )
    }

    /// Gets and keeps the Lease until `stop` turns true, then gives it back. A Lease that was lost is asked for again.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.attempt().await;
            let wait = if self.leads() {
                self.settings.retry_period
            } else {
                jitter(self.settings.retry_period)
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.passed() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.release().await;
    }

    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Ends when the fence closes, if it is open.
    async fn passed(&self) {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        match deadline {
            Some(deadline) if self.leads() => tokio::time::sleep_until(deadline).await,
            _ => std::future::pending().await,
        }
    }

    async fn attempt(&mut self) {
        let began = Instant::now();
        let limit = self.settings.renew_deadline / 2;
        let outcome = tokio::time::timeout(limit, self.acquire_or_renew()).await;
        if let Ok(Ok(_)) = outcome {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.quiet_until = None;
        }
        match outcome {
            Ok(Ok(true)) => {
                self.set_deadline(Some(began + self.settings.renew_deadline));
                if !self.leads() {
                    tracing::info!(lease = %self.settings.lease, holder = %self.settings.holder, "lease is ours");
                    self.leads.send_replace(true);
                }
            }
            Ok(Ok(false)) => self.lost("somebody else holds it"),
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer in time"),
        }
    }

    /// A failed renewal is no loss before the deadline.
    fn failed(&mut self, why: &str) {
        // Who cannot reach the API server learns why, and is not told it every two seconds.
        let now = Instant::now();
        if self.quiet_until.is_none_or(|until| now >= until) {
            tracing::warn!(lease = %self.settings.lease, why, "lease was not renewed");
            self.quiet_until = Some(now + REPEAT);
        }
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            self.lost(why);
        }
    }

    fn lost(&self, why: &str) {
        self.set_deadline(None);
        if self.leads() {
            tracing::error!(lease = %self.settings.lease, why, "lease is lost");
            self.leads.send_replace(false);
        }
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Whether the Lease is ours now.
    async fn acquire_or_renew(&mut self) -> StoreResult<bool> {
        // As leader, the state that we wrote last is most likely the present one.
        if self.leads()
            && self
                .seen
                .as_ref()
                .is_some_and(|seen| seen.holder() == self.settings.holder)
        {
            match self.put(&self.settings.holder.clone()).await {
                Ok(()) => return Ok(true),
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match self.get().await {
            Ok(()) => {}
            Err(StoreError::NotFound(_)) => return won(self.create().await),
            Err(error) => return Err(error),
        }
        let Some(seen) = &self.seen else { return Ok(false) };
        let free = seen.holder().is_empty() || seen.holder() == self.settings.holder;
        if !free && seen.since.elapsed() < self.settings.duration {
            return Ok(false);
        }
        won(self.put(&self.settings.holder.clone()).await)
    }

    async fn get(&mut self) -> StoreResult<()> {
        let path = self.path();
        let object = self.call(Method::GET, &path, Payload::Empty).await?;
        self.see(object);
        Ok(())
    }

    async fn create(&mut self) -> StoreResult<()> {
        let key = &self.settings.lease;
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": key.name, "namespace": key.namespace },
            "spec": {
                "holderIdentity": self.settings.holder, "leaseDurationSeconds": self.settings.duration.as_secs().max(1),
                "acquireTime": self.now(), "renewTime": self.now(), "leaseTransitions": 0,
            },
        });
        let path = paths::leases(&key.namespace);
        let object = self
            .call(Method::POST, &path, Payload::Json(Bytes::from(body.to_string())))
            .await?;
        self.see(object);
        Ok(())
    }

    /// Writes the Lease as it was last seen, with this holder.
    async fn put(&mut self, holder: &str) -> StoreResult<()> {
        let Some(seen) = &self.seen else {
            return Err(StoreError::NotFound(self.settings.lease.to_string()));
        };
        let mut object = seen.object.clone();
        let changes = seen.holder() != holder;
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let transitions = spec
                .get("leaseTransitions")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            if changes && !holder.is_empty() {
                spec.insert("acquireTime".to_owned(), self.now().into());
                spec.insert("leaseTransitions".to_owned(), (transitions + 1).into());
            }
            let seconds = if holder.is_empty() {
                1
            } else {
                self.settings.duration.as_secs().max(1)
            };
            spec.insert("holderIdentity".to_owned(), holder.into());
            spec.insert("leaseDurationSeconds".to_owned(), seconds.into());
            spec.insert("renewTime".to_owned(), self.now().into());
        }
        let path = self.path();
        let object = self
            .call(Method::PUT, &path, Payload::Json(Bytes::from(object.to_string())))
            .await?;
        self.see(object);
        Ok(())
    }

    fn see(&mut self, object: Value) {
        let now = Seen {
            object,
            since: Instant::now(),
        };
        if self
            .seen
            .as_ref()
            .is_none_or(|before| before.version() != now.version())
        {
            self.seen = Some(now);
        }
    }

    /// Gives the Lease back, so that another takes over at once.
    async fn release(&mut self) {
        if !self.leads() {
            return;
        }
        self.set_deadline(None);
        self.leads.send_replace(false);
        let released = tokio::time::timeout(self.settings.retry_period, self.put("")).await;
        match released {
            Ok(Ok(())) => tracing::info!(lease = %self.settings.lease, "lease is given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = %self.settings.lease, %error, "lease was not given back")
            }
            Err(_) => tracing::warn!(lease = %self.settings.lease, "lease was not given back in time"),
        }
    }

    async fn call(&self, method: Method, path: &str, payload: Payload) -> StoreResult<Value> {
        self.api
            .call(
                &self.settings.lease.to_string(),
                method,
                path,
                payload,
                Answer::Full,
            )
            .await
    }

    fn path(&self) -> String {
        format!(
            "{}/{}",
            paths::leases(&self.settings.lease.namespace),
            self.settings.lease.name
        )
    }

    fn now(&self) -> String {
        format!("{:.6}", self.clock.now())
    }
}

/// Somebody who was quicker is no failure.
fn won(result: StoreResult<()>) -> StoreResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
