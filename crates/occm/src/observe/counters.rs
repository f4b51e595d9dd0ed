//! What is counted as it happens. Everything else is read off the state when somebody asks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::model::object::ObjectKey;
use crate::model::reason::Reason;

/// Upper bounds of the histogram of exchanges, in seconds: from an answer at once to a CA that wants a day.
pub(super) const BOUNDS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 3_600.0, 86_400.0,
];

/// Counters since the process began.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// How often this process began to manage.
    pub(super) terms: u64,
    /// Events by their reason.
    pub(super) events: BTreeMap<Reason, u64>,
    /// Outputs put back, by Certificate.
    pub(super) repairs: BTreeMap<ObjectKey, u64>,
    /// Exchanges by Issuer.
    pub(super) exchanges: BTreeMap<ObjectKey, Exchanges>,
}

/// Exchanges with one CA.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// That ended with a certificate.
    pub(super) issued: u64,
    /// That did not, by reason.
    pub(super) failed: BTreeMap<Reason, u64>,
    /// How long they took.
    pub(super) took: Histogram,
}

/// How often a value fell below each bound.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Values up to each of [`BOUNDS`], and above the one before.
    pub(super) buckets: [u64; BOUNDS.len()],
    /// All values.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: f64,
}

impl Histogram {
    fn observe(&mut self, value: f64) {
        let bucket = BOUNDS.iter().position(|bound| value <= *bound);
        if let Some(count) = bucket.and_then(|at| self.buckets.get_mut(at)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

impl Counters {
    /// An exchange ended.
    pub(super) fn exchange(&mut self, issuer: &ObjectKey, outcome: Reason, took: SignedDuration) {
        let of_issuer = self.exchanges.entry(issuer.clone()).or_default();
        match outcome {
            Reason::Issued => of_issuer.issued += 1,
            other => *of_issuer.failed.entry(other).or_default() += 1,
        }
        // A clock that went back makes no negative time.
        of_issuer.took.observe(took.as_secs_f64().max(0.0));
    }

    /// Forgets what belongs to objects that are gone.
    pub(super) fn keep(&mut self, issuers: &BTreeSet<&ObjectKey>, certificates: &BTreeSet<&ObjectKey>) {
        self.exchanges.retain(|key, _| issuers.contains(key));
        self.repairs.retain(|key, _| certificates.contains(key));
    }
}
