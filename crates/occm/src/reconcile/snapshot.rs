//! What the manager knows at one moment, as plain facts: for metrics and readiness.

use jiff::{SignedDuration, Timestamp};

use crate::model::condition::is_ready;
use crate::model::object::ObjectKey;
use crate::model::reason::Reason;
use crate::reconcile::decide;
use crate::reconcile::manager::Manager;
use crate::reconcile::state::{CertificateEntry, IssuerEntry, State};
use crate::store::{Seen, Subject};

/// What the manager knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether everything that exists is known.
    pub synced: bool,
    /// Subjects that wait for a look, most of them for a time to come.
    pub queued: usize,
    /// Subjects whose look is due.
    pub due: usize,
    /// Looks that are going on.
    pub looks: usize,
    /// How far the store's clock is ahead of ours, if it tells.
    pub clock_offset: Option<SignedDuration>,
    /// All Issuers.
    pub issuers: Vec<IssuerFacts>,
    /// All Certificates.
    pub certificates: Vec<CertificateFacts>,
}

/// Facts of an Issuer.
#[derive(Clone, Debug)]
pub struct IssuerFacts {
    /// Its name.
    pub key: ObjectKey,
    /// Whether certificates can be had from it.
    pub ready: bool,
    /// Whether the CA answered last time.
    pub reachable: bool,
    /// When the CA last answered this process, or an earlier one for the first time.
    pub last_contact: Option<Timestamp>,
    /// End of life of its CMP identity.
    pub identity_not_after: Option<Timestamp>,
    /// When its CMP identity is renewed.
    pub identity_renewal: Option<Timestamp>,
    /// What the record of its CMP identity counts.
    pub counts: Counts,
}

/// Facts of a Certificate.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// Its name.
    pub key: ObjectKey,
    /// Its Issuer, if the wish can be read.
    pub issuer: Option<ObjectKey>,
    /// Whether all outputs carry a good certificate.
    pub ready: bool,
    /// Outputs that are not as occm wrote them and were not put back.
    pub outputs_out_of_sync: usize,
    /// Start of life of the certificate in use.
    pub not_before: Option<Timestamp>,
    /// End of life of the certificate in use.
    pub not_after: Option<Timestamp>,
    /// When it is renewed.
    pub renewal: Option<Timestamp>,
    /// Transactions a day that it may take.
    pub daily_budget: i64,
    /// What its record counts.
    pub counts: Counts,
}

/// What a record counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of the certificate in use.
    pub revision: u64,
    /// Certificates that were issued and could not be used.
    pub orphans: u64,
    /// Requests that may have been issued without our knowing.
    pub possible_orphans: u64,
    /// Transactions in the last day.
    pub transactions: usize,
    /// Why the last attempt failed; none after a success.
    pub failing: Option<Reason>,
}

impl Manager {
    /// What it knows now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let (queued, due, looks) = {
            let queue = self.queue();
            (queue.len(), queue.due_by(now), queue.running())
        };
        let state = self.state();
        let issuers = state.issuers.iter();
        let certificates = state.certificates.iter();
        Snapshot {
            synced: state.synced,
            queued,
            due,
            looks,
            clock_offset: self.store.clock_offset(),
            issuers: issuers
                .map(|(key, entry)| issuer(&state, key, entry, now))
                .collect(),
            certificates: certificates
                .map(|(key, entry)| certificate(&state, key, entry, now))
                .collect(),
        }
    }

    /// Whether everything that exists is known.
    pub fn is_synced(&self) -> bool {
        self.state().synced
    }
}

fn issuer(state: &State, key: &ObjectKey, entry: &IssuerEntry, now: Timestamp) -> IssuerFacts {
    let status = match &entry.seen {
        Seen::Object(object) => object.status.as_ref(),
        Seen::Broken(_) => None,
    };
    let identity = status.and_then(|status| status.identity.as_ref());
    IssuerFacts {
        key: key.clone(),
        ready: status.is_some_and(|status| is_ready(&status.conditions)),
        reachable: entry.pace.reachable(),
        last_contact: entry
            .last_contact
            .or(status.and_then(|status| status.last_contact)),
        identity_not_after: identity.map(|identity| identity.not_after),
        identity_renewal: identity.map(|identity| identity.renewal_time),
        counts: counts(state, &Subject::Identity(key.clone()), now),
    }
}

fn certificate(state: &State, key: &ObjectKey, entry: &CertificateEntry, now: Timestamp) -> CertificateFacts {
    let reported = match &entry.seen {
        Seen::Object(object) => object.reported(),
        Seen::Broken(_) => None,
    };
    let subject = Subject::Certificate(key.clone());
    let plan = entry.plan.as_deref().ok();
    let current = state
        .records
        .get(&subject)
        .and_then(|record| record.current.as_ref());
    CertificateFacts {
        key: key.clone(),
        issuer: plan.map(|plan| plan.issuer.clone()),
        ready: reported.is_some_and(|status| status.ready),
        outputs_out_of_sync: reported.map_or(0, |status| status.out_of_sync),
        not_before: reported.and_then(|status| status.not_before),
        not_after: reported.and_then(|status| status.not_after),
        renewal: reported.and_then(|status| status.renewal),
        daily_budget: decide::budget(&subject, current, plan.map(|plan| plan.renew)),
        counts: counts(state, &subject, now),
    }
}

fn counts(state: &State, subject: &Subject, now: Timestamp) -> Counts {
    let Some(record) = state.records.get(subject) else {
        return Counts::default();
    };
    Counts {
        revision: record.current.as_ref().map_or(0, |current| current.revision),
        orphans: record.ledger.orphans,
        possible_orphans: record.ledger.possible_orphans,
        transactions: record.ledger.transactions_in_last_day(now),
        failing: record.failure().map(|failure| failure.reason),
    }
}
