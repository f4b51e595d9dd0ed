//! Planted bugs: what the judges must find. Each is a changed rule array, a wrapped store or a wrapped fence; production
//! code has no branch for any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::model::reason::Reason;
use crate::reconcile::decide::{Ask, Decision, How, RULES, Rule};
use crate::reconcile::manager::Fence;
use crate::reconcile::world::World as Facts;
use crate::record::{Phase, Record};
use crate::sim::world::World;
use crate::store::{
    Change, Content, Event, Presence, RecordSeen, SecretFacts, SecretRelease, SecretWrite, Status, Store,
    StoreResult, Subject, Version,
};

/// A bug that is planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None: the program as it is.
    #[default]
    None,
    /// A restart forgets the transactions of the last day.
    BudgetResetByRestart,
    /// A Certificate without status is issued anew.
    LostStatusReissues,
    /// The confirmation goes out before the record with the new certificate is written.
    ConfirmBeforeRecord,
    /// Repair waits for Issuer, back-off and budget.
    RepairBehindBackOff,
    /// A transaction from a backup is gone on with, however old it is.
    OldTransactionResumed,
    /// The previous key of an identity goes at once.
    IdentityKeyDropped,
    /// A process that lost the lease goes on writing and sending.
    LostLeaseActs,
}

impl Plant {
    /// All bugs.
    pub const BUGS: &[Self] = &[
        Self::BudgetResetByRestart,
        Self::LostStatusReissues,
        Self::ConfirmBeforeRecord,
        Self::RepairBehindBackOff,
        Self::OldTransactionResumed,
        Self::IdentityKeyDropped,
        Self::LostLeaseActs,
    ];

    /// The rules with the bug in them.
    pub(crate) fn rules(self) -> &'static [Rule] {
        match self {
            Self::LostStatusReissues => before("no good copy", lost_status_reissues),
            Self::RepairBehindBackOff => moved("repair", "no good copy"),
            Self::OldTransactionResumed => before("open transaction", resume_however_old),
            Self::None
            | Self::BudgetResetByRestart
            | Self::ConfirmBeforeRecord
            | Self::IdentityKeyDropped
            | Self::LostLeaseActs => RULES,
        }
    }

    /// The store with the bug in it.
    pub(crate) fn wrap_store(self, store: Arc<dyn Store>, world: &Arc<World>) -> Arc<dyn Store> {
        match self {
            Self::BudgetResetByRestart | Self::ConfirmBeforeRecord | Self::IdentityKeyDropped => {
                Arc::new(Bent {
                    store,
                    bug: self,
                    world: Arc::clone(world),
                    forgotten: Forgotten::default(),
                })
            }
            Self::None
            | Self::LostStatusReissues
            | Self::RepairBehindBackOff
            | Self::OldTransactionResumed
            | Self::LostLeaseActs => store,
        }
    }

    /// The fence with the bug in it.
    pub(crate) fn wrap_fence(self, fence: Fence) -> Fence {
        if self == Self::LostLeaseActs {
            Arc::new(|| true)
        } else {
            fence
        }
    }
}

fn leaked(rules: Vec<Rule>) -> &'static [Rule] {
    Box::leak(rules.into_boxed_slice())
}

fn place(rules: &[Rule], name: &str) -> usize {
    let place = rules.iter().position(|rule| rule.name == name);
    place.expect("a rule of this name exists")
}

fn before(name: &str, ask: Ask) -> &'static [Rule] {
    let mut rules = RULES.to_vec();
    let bug = Rule {
        name: "planted bug",
        ask,
    };
    rules.insert(place(&rules, name), bug);
    leaked(rules)
}

fn moved(name: &str, before: &str) -> &'static [Rule] {
    let mut rules = RULES.to_vec();
    let rule = rules.remove(place(&rules, name));
    rules.insert(place(&rules, before), rule);
    leaked(rules)
}

fn lost_status_reissues(facts: &Facts<'_>) -> Option<Decision> {
    let current = facts.record?.current.as_ref()?;
    let lost = facts.reported_revision.is_none() && matches!(facts.subject, Subject::Certificate(_));
    // Long enough after the issuance that the first report was written.
    let old = facts.now.duration_since(current.issued_at) > SignedDuration::from_mins(10);
    (lost && old).then_some(Decision::Issue {
        why: Reason::Missing,
        how: How::Enrol,
    })
}

fn resume_however_old(facts: &Facts<'_>) -> Option<Decision> {
    let open = facts.record?.open.as_ref()?;
    facts.ready_issuer()?;
    let rests = facts.pause.is_some_and(|(_, until)| until > facts.now);
    (open.phase == Phase::Sent && !rests).then_some(Decision::Resume)
}

/// A store with a bug.
struct Bent {
    store: Arc<dyn Store>,
    bug: Plant,
    world: Arc<World>,
    forgotten: Forgotten,
}

/// The stamps that a restart makes forget, by subject.
type Forgotten = Arc<Mutex<BTreeMap<Subject, BTreeSet<Timestamp>>>>;

impl Bent {
    fn change(bytes: &pki::Secret, change: impl FnOnce(&mut Record)) -> pki::Secret {
        match Record::from_bytes(bytes.expose()) {
            Ok(mut record) => {
                change(&mut record);
                record.to_bytes()
            }
            Err(_) => bytes.clone(),
        }
    }

    /// The record as a process sees it that forgot, when it started, what it had sent before.
    fn without_budget(
        forgotten: &Forgotten,
        subject: &Subject,
        seen: &RecordSeen,
        first: First,
    ) -> RecordSeen {
        let mut forgotten = forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = forgotten.entry(subject.clone()).or_default();
        let bytes = Self::change(&seen.bytes, |record| {
            if first == First::Yes {
                stamps.extend(record.ledger.transactions.iter().copied());
            }
            record.ledger.transactions.retain(|at| !stamps.contains(at));
        });
        RecordSeen {
            version: seen.version,
            bytes: Arc::new(bytes),
        }
    }
}

/// Whether a record is told by the first list of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Yes,
    No,
}

fn is_new_certificate(bytes: &pki::Secret) -> bool {
    Record::from_bytes(bytes.expose())
        .ok()
        .and_then(|record| record.open)
        .is_some_and(|open| open.phase == Phase::Issued)
}

impl Store for Bent {
    fn watch(&self) -> BoxStream<'static, Change> {
        let watch = self.store.watch();
        if self.bug != Plant::BudgetResetByRestart {
            return watch;
        }
        let (forgotten, mut first) = (Arc::clone(&self.forgotten), First::Yes);
        watch
            .map(move |change| match change {
                Change::Record(subject, Some(seen)) => {
                    let seen = Self::without_budget(&forgotten, &subject, &seen, first);
                    Change::Record(subject, Some(seen))
                }
                Change::Synced => {
                    first = First::No;
                    Change::Synced
                }
                other => other,
            })
            .boxed()
    }

    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        self.store.attend(inputs, outputs);
    }

    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>> {
        self.store.read_secret(key)
    }

    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>> {
        self.store.read_input(input)
    }

    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        self.store.create_secret(write)
    }

    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        self.store.update_secret(write, expected)
    }

    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        self.store.release_secret(release, expected)
    }

    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.store.delete_secret(key, uid, expected)
    }

    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>> {
        let read = self.store.read_record(subject);
        if self.bug != Plant::BudgetResetByRestart {
            return read;
        }
        let forgotten = &self.forgotten;
        async move {
            Ok(read
                .await?
                .map(|seen| Self::without_budget(forgotten, subject, &seen, First::No)))
        }
        .boxed()
    }

    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        if self.bug == Plant::IdentityKeyDropped && matches!(subject, Subject::Identity(_)) {
            let bytes = Self::change(bytes, |record| {
                let confirmed = record.open.is_none();
                record.previous = record.previous.take().filter(|_| !confirmed);
            });
            return async move { self.store.write_record(subject, &bytes, expected).await }.boxed();
        }
        if self.bug == Plant::ConfirmBeforeRecord && is_new_certificate(bytes) {
            return self.write_behind(subject, bytes, expected);
        }
        self.store.write_record(subject, bytes, expected)
    }

    fn delete_record<'a>(
        &'a self,
        subject: &'a Subject,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.store.delete_record(subject, expected)
    }

    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.store.write_status(object, status)
    }

    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.store.set_finalizer(object, present)
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.store.annotate(kind, object, annotations)
    }

    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()> {
        self.store.emit(event)
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        self.store.clock_offset()
    }
}

impl Bent {
    /// Says that the record is written, and writes it a little later.
    fn write_behind<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        let (store, subject, bytes) = (Arc::clone(&self.store), subject.clone(), bytes.clone());
        let (world, claimed) = (Arc::clone(&self.world), expected.unwrap_or_default());
        self.world
            .clockwork
            .run_after(SignedDuration::from_millis(200), move || {
                let write = async move { store.write_record(&subject, &bytes, expected).await.map(drop) };
                let mut write = Box::pin(write);
                // Begun is enough: the call is on its way. It is kept until the world ends.
                let waker = std::task::Waker::noop();
                let _ = write.as_mut().poll(&mut std::task::Context::from_waker(waker));
                world
                    .clockwork
                    .run_after(SignedDuration::from_secs(30), move || drop(write));
            });
        std::future::ready(Ok(Version(claimed.0 + 1))).boxed()
    }
}
