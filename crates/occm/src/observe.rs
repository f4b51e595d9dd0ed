//! What others see of a running manager: whether it lives, whether it is ready, and its metrics.
//!
//! ```text
//!   GET /livez     the process answers
//!   GET /readyz    it knows everything that exists, or waits for the Lease and is in touch with the API server
//!   GET /metrics   Prometheus text; per-object series are made from what is there now, so they vanish with their object
//! ```
//!
//! The port tells names of objects and no secret, changes nothing, and is off unless asked for.

mod counters;
mod families;
mod process;
mod server;
mod text;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::SignedDuration;

use crate::model::object::{Kind, ObjectKey};
use crate::model::reason::Reason;
use crate::observe::counters::Counters;
pub use crate::observe::server::serve;
use crate::reconcile::manager::{Manager, Observer};
use crate::store::Event;

/// Whether this process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Leads,
    /// It waits for its turn; `in_touch`: it hears of the Lease.
    Waits {
        /// Whether the API server answered lately.
        in_touch: bool,
    },
}

/// What a store in Kubernetes sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Requests.
    pub sent: u64,
    /// Events that were dropped because too many waited.
    pub dropped_events: u64,
}

/// What is known of a running manager.
pub struct Observe {
    standing: Box<dyn Fn() -> Standing + Send + Sync>,
    calls: Option<Box<dyn Fn() -> Calls + Send + Sync>>,
    manager: Mutex<Weak<Manager>>,
    counters: Mutex<Counters>,
}

/// Why a process is not ready.
pub type NotReady = &'static str;

impl Observe {
    /// Of a process that says so whether it writes.
    pub fn new(standing: impl Fn() -> Standing + Send + Sync + 'static) -> Self {
        Self {
            standing: Box::new(standing),
            calls: None,
            manager: Mutex::default(),
            counters: Mutex::default(),
        }
    }

    /// And says what its store sent.
    pub fn with_calls(mut self, calls: impl Fn() -> Calls + Send + Sync + 'static) -> Self {
        self.calls = Some(Box::new(calls));
        self
    }

    /// This manager is at work from now on.
    pub fn at_work(&self, manager: &Arc<Manager>) {
        *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(manager);
        self.counters().terms += 1;
    }

    /// Whether the process is ready, and in which part; or what is missing.
    pub fn readiness(&self) -> Result<&'static str, NotReady> {
        match (self.standing)() {
            Standing::Waits { in_touch: true } => Ok("waits for the Lease"),
            Standing::Waits { in_touch: false } => Err("the API server does not answer"),
            Standing::Leads => match self.manager() {
                Some(manager) if manager.is_synced() => Ok("manages"),
                _ => Err("not everything that exists is known yet"),
            },
        }
    }

    /// All metrics as Prometheus text.
    pub fn metrics(&self) -> String {
        let leads = (self.standing)() == Standing::Leads;
        // Who waits knows nothing: the metrics of objects are told by who works.
        let snapshot = self.manager().filter(|_| leads).map(|manager| manager.snapshot());
        let calls = self.calls.as_ref().map(|calls| calls());
        let mut counters = self.counters();
        if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.synced) {
            counters.keep(
                &names(snapshot.issuers.iter().map(|issuer| &issuer.key)),
                &names(snapshot.certificates.iter().map(|certificate| &certificate.key)),
            );
        }
        families::render(leads, snapshot.as_ref(), calls, &counters)
    }

    fn manager(&self) -> Option<Arc<Manager>> {
        self.manager
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a ObjectKey>) -> BTreeSet<&'a ObjectKey> {
    keys.collect()
}

impl Observer for Observe {
    fn event(&self, event: &Event) {
        let mut counters = self.counters();
        *counters.events.entry(event.reason).or_default() += 1;
        if event.kind == Kind::Certificate && event.reason == Reason::Restored {
            *counters.repairs.entry(event.object.clone()).or_default() += 1;
        }
    }

    fn exchange(&self, issuer: &ObjectKey, outcome: Reason, took: SignedDuration) {
        self.counters().exchange(issuer, outcome, took);
    }
}

#[cfg(test)]
mod tests;
