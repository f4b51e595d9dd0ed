//! What the manager knows: wishes, facts and hashes, as the watch and our own writes told them.
//!
//! No bytes of Secrets are kept. Everything here can be lost: the next start learns it again.

mod copies;
pub mod remembered;
mod sharing;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cmp::Credentials;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::model::certificate::{Certificate, Existing, OnDelete, OnDrift, Purpose};
use crate::model::issuer::Issuer;
use crate::model::object::ObjectKey;
use crate::model::plan::certificate::NormalWish;
use crate::model::plan::issuer::IdentityPlan;
use crate::model::plan::{CertificatePlan, InputRef, IssuerPlan, RenewRule, named_outputs};
use crate::model::reason::Reason;
use crate::reconcile::issuer::{Problem, ReadyToUse};
use crate::reconcile::lost::Lost;
use crate::reconcile::outputs::OutputMemory;
use crate::reconcile::pace::Pace;
use crate::reconcile::spent::Spent;
use crate::reconcile::state::remembered::Remembered;
use crate::reconcile::world::RecordFacts;
use crate::store::{
    Change, ContentHash, InputFacts, Presence, RecordSeen, SecretFacts, Seen, Status, Subject, Version,
};

/// Everything the manager knows.
#[derive(Default)]
pub struct State {
    /// Whether the watch has told everything that existed.
    pub synced: bool,
    /// Issuers.
    pub issuers: HashMap<ObjectKey, IssuerEntry>,
    /// Certificates.
    pub certificates: HashMap<ObjectKey, CertificateEntry>,
    /// Secrets that are or shall be outputs.
    pub secrets: HashMap<ObjectKey, Arc<SecretFacts>>,
    /// Inputs.
    pub inputs: HashMap<InputRef, InputFacts>,
    /// Records.
    pub records: HashMap<Subject, Arc<RecordFacts>>,
    /// What is remembered of subjects.
    pub memory: HashMap<Subject, Box<SubjectMemory>>,
    /// Secrets that are known not to exist. Of one that is neither here nor in `secrets` nothing is known.
    pub absent: HashSet<ObjectKey>,
    /// How often outputs were seen to go away.
    deletions: HashMap<ObjectKey, u64>,
    /// Inputs that are polled, and how often.
    pub polled: BTreeMap<InputRef, std::time::Duration>,
    /// What subjects have spent of their budgets.
    pub spent: Spent,
    /// Subjects whose record somebody else took away.
    pub(super) lost: Lost,
    /// Who was called to take a turn at which Issuer's CA.
    pub called: HashMap<Subject, ObjectKey>,
    outputs: HashMap<(ObjectKey, ObjectKey), Box<OutputMemory>>,
    by_output: HashMap<ObjectKey, Vec<ObjectKey>>,
    by_input: HashMap<InputRef, BTreeSet<ObjectKey>>,
    by_issuer: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    links: u64,
    attended_links: Option<(usize, usize, u64)>,
    home: String,
}

/// An Issuer and what was made of it.
pub struct IssuerEntry {
    /// As it was read.
    pub seen: Seen<Issuer>,
    /// As it was checked.
    pub plan: Result<Arc<IssuerPlan>, Arc<str>>,
    /// Hash of that.
    pub plan_hash: ContentHash,
    /// The wish for its identity.
    pub identity: Option<Arc<CertificatePlan>>,
    /// With its inputs, once they were read since the last change.
    pub ready: Option<Result<Arc<ReadyToUse>, Problem>>,
    /// When that was found out.
    pub prepared: Option<Timestamp>,
    /// How often its inputs have changed: what is read while they change is not used.
    pub input_changes: u64,
    /// Credentials of its identity, the current ones first, and the version of the record that they came from.
    pub credentials: Option<(Version, Vec<Arc<Credentials>>)>,
    /// How fast it is asked.
    pub pace: Pace,
    /// Difference between the CA's clock and ours, as last told by it, and when that was.
    pub clock_offset: Option<(SignedDuration, Timestamp)>,
    /// When the CA last answered.
    pub last_contact: Option<Timestamp>,
}

/// A Certificate and what was made of it.
pub struct CertificateEntry {
    /// What is remembered of it as it was read.
    pub seen: Seen<Remembered>,
    /// As it was checked.
    pub plan: Result<Arc<CertificatePlan>, Arc<str>>,
    /// The Secrets that it names as outputs; while it cannot be read, those that it named before.
    pub named: Box<[ObjectKey]>,
}

/// What is remembered of a subject, in memory.
#[derive(Clone, Debug, Default)]
pub struct SubjectMemory {
    /// Revision whose confirmation the CA took, as this process saw.
    pub confirmed: Option<u64>,
    /// Failed confirmations of the current revision.
    pub confirm_attempts: u32,
    /// Failures of the store, one after the other.
    pub store_failures: u32,
    /// Since when it is waited for being told which outputs exist.
    pub untold_since: Option<Timestamp>,
    /// When an orphaned record was first seen.
    pub orphaned_since: Option<Timestamp>,
    /// The last failure that stands only in memory, with its next attempt.
    pub pause: Option<(Reason, Timestamp)>,
    /// Hash over wish, Issuer, inputs and requests of the attempt that is going on.
    pub attempt: Option<ContentHash>,
    /// Told of changes while an exchange waits for its answer.
    pub changed: Option<Arc<Notify>>,
}

impl State {
    /// An empty state for a manager whose own namespace is `home`.
    pub fn new(home: &str) -> Self {
        Self {
            home: home.to_owned(),
            ..Self::default()
        }
    }

    /// Takes in a change and says who wants a look.
    pub fn apply(&mut self, change: Change) -> BTreeSet<Subject> {
        match change {
            Change::Issuer(key, seen) => self.apply_issuer(key, seen),
            Change::Certificate(key, seen) => self.apply_certificate(key, seen),
            Change::Secret(key, facts) => self.apply_secret(key, facts),
            Change::Input(input, facts) => self.apply_input(input, facts),
            Change::Record(subject, seen) => self.apply_record(subject, seen),
            Change::Synced => {
                self.synced = true;
                self.everyone()
            }
        }
    }

    fn everyone(&self) -> BTreeSet<Subject> {
        let issuers = self.issuers.keys().cloned().map(Subject::Identity);
        let certificates = self.certificates.keys().cloned().map(Subject::Certificate);
        issuers
            .chain(certificates)
            .chain(self.records.keys().cloned())
            .collect()
    }

    fn apply_issuer(&mut self, key: ObjectKey, seen: Option<Seen<Issuer>>) -> BTreeSet<Subject> {
        let mut woken = BTreeSet::from([Subject::Identity(key.clone())]);
        let Some(seen) = seen else {
            if let Some(entry) = self.issuers.remove(&key) {
                self.unlink_issuer(&key, &entry);
            }
            self.lost.object_gone(&Subject::Identity(key.clone()));
            woken.extend(self.certificates_of(&key));
            return woken;
        };
        let plan = match &seen {
            Seen::Object(object) => {
                IssuerPlan::check(key.clone(), &object.spec).map_err(|e| e.to_string().into())
            }
            Seen::Broken(broken) => Err(broken.errors.to_string().into()),
        };
        if let Some(entry) = self.issuers.get_mut(&key) {
            let same = match (&plan, &entry.plan) {
                (Ok(new), Ok(old)) => *new == **old,
                (Err(new), Err(old)) => *new == *old,
                _ => false,
            };
            let annotations_same = annotations(&seen) == annotations(&entry.seen);
            entry.seen = seen;
            if same {
                return if annotations_same { BTreeSet::new() } else { woken };
            }
        } else {
            let (identity, ready, credentials) = (None, None, None);
            let (pace, clock_offset, last_contact) = (Pace::new(8, None), None, None);
            let plan = Err(Arc::from("not checked"));
            let entry = IssuerEntry {
                seen,
                plan,
                plan_hash: ContentHash([0; 32]),
                identity,
                ready,
                prepared: None,
                input_changes: 0,
                credentials,
                pace,
                clock_offset,
                last_contact,
            };
            self.issuers.insert(key.clone(), entry);
        }
        self.replan_issuer(&key, plan.map(Arc::new));
        woken.extend(self.certificates_of(&key));
        woken
    }

    fn replan_issuer(&mut self, key: &ObjectKey, plan: Result<Arc<IssuerPlan>, Arc<str>>) {
        let Some(mut entry) = self.issuers.remove(key) else {
            return;
        };
        self.unlink_issuer(key, &entry);
        if let Ok(plan) = &plan {
            for input in plan.inputs() {
                self.by_input.entry(input).or_default().insert(key.clone());
                self.links += 1;
            }
            entry.pace.limit(plan.concurrency, plan.rate_per_second);
            entry.identity = plan
                .identity
                .as_ref()
                .map(|wish| Arc::new(identity_plan(key, wish)));
        }
        entry.plan_hash = ContentHash::of(format!("{plan:?}").as_bytes());
        entry.plan = plan;
        entry.ready = None;
        self.issuers.insert(key.clone(), entry);
    }

    fn unlink_issuer(&mut self, key: &ObjectKey, entry: &IssuerEntry) {
        let Ok(plan) = &entry.plan else { return };
        for input in plan.inputs() {
            if let Some(readers) = self.by_input.get_mut(&input) {
                readers.remove(key);
                if readers.is_empty() {
                    self.by_input.remove(&input);
                    self.inputs.remove(&input);
                }
            }
        }
    }

    /// The Certificates that name this Issuer.
    pub(super) fn entries_of<'a>(
        &'a self,
        issuer: &ObjectKey,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a CertificateEntry)> + use<'a> {
        let names = self.by_issuer.get(issuer).into_iter().flatten();
        names.filter_map(|key| self.certificates.get_key_value(key))
    }

    fn certificates_of(&self, issuer: &ObjectKey) -> impl Iterator<Item = Subject> + use<> {
        let names = self.by_issuer.get(issuer).cloned().unwrap_or_default();
        names.into_iter().map(Subject::Certificate)
    }

    fn apply_certificate(&mut self, key: ObjectKey, seen: Option<Seen<Certificate>>) -> BTreeSet<Subject> {
        let mut woken = BTreeSet::from([Subject::Certificate(key.clone())]);
        let Some(seen) = seen else {
            if let Some(entry) = self.certificates.remove(&key) {
                self.unlink_certificate(&key, &entry);
                woken.extend(checked_issuer(&entry));
                for secret in &entry.named {
                    self.outputs.remove(&(key.clone(), secret.clone()));
                    woken.extend(self.others_at(secret, &key).cloned().map(Subject::Certificate));
                }
            }
            self.lost.object_gone(&Subject::Certificate(key));
            return woken;
        };
        let read = seen;
        let seen = match &read {
            Seen::Object(object) => Seen::Object(Arc::new(Remembered::of(object))),
            Seen::Broken(broken) => Seen::Broken(Arc::clone(broken)),
        };
        if let Some(entry) = self.certificates.get_mut(&key)
            && same_wish(&entry.seen, &seen)
        {
            entry.seen = seen;
            return BTreeSet::new();
        }
        let before = self.certificates.remove(&key);
        if let Some(entry) = &before {
            for secret in &entry.named {
                woken.extend(self.others_at(secret, &key).cloned().map(Subject::Certificate));
            }
            self.unlink_certificate(&key, entry);
            woken.extend(checked_issuer(entry));
        }
        let key = self.known_name(key);
        let plan = match &read {
            Seen::Object(object) => CertificatePlan::check(key.clone(), &object.spec, &self.home)
                .map(|mut plan| {
                    self.share_names(&mut plan);
                    Arc::new(plan)
                })
                .map_err(|errors| errors.to_string().into()),
            Seen::Broken(broken) => Err(broken.errors.to_string().into()),
        };
        let named = match (&read, &plan) {
            (Seen::Object(_), Ok(plan)) => plan.outputs.iter().map(|output| output.secret.clone()).collect(),
            (Seen::Object(object), Err(_)) => named_outputs(&key, &object.spec),
            (Seen::Broken(_), _) => before.map(|entry| entry.named).unwrap_or_default(),
        };
        for secret in &named {
            let writers = self.by_output.entry(secret.clone()).or_default();
            if let Err(place) = writers.binary_search(&key) {
                // Most Secrets have one writer.
                writers.reserve_exact(1);
                writers.insert(place, key.clone());
            }
            self.links += 1;
            woken.extend(self.others_at(secret, &key).cloned().map(Subject::Certificate));
        }
        let entry = CertificateEntry { seen, plan, named };
        if let Ok(plan) = &entry.plan {
            self.by_issuer
                .entry(plan.issuer.clone())
                .or_default()
                .insert(key.clone());
        }
        self.certificates.insert(key.clone(), entry);
        self.share_known_record(&Subject::Certificate(key));
        woken
    }

    fn unlink_certificate(&mut self, key: &ObjectKey, entry: &CertificateEntry) {
        for secret in &entry.named {
            if let Some(writers) = self.by_output.get_mut(secret) {
                writers.retain(|writer| writer != key);
                if writers.is_empty() {
                    self.by_output.remove(secret);
                }
            }
        }
        if let Ok(plan) = &entry.plan
            && let Some(members) = self.by_issuer.get_mut(&plan.issuer)
        {
            members.remove(key);
            if members.is_empty() {
                self.by_issuer.remove(&plan.issuer);
            }
        }
    }

    fn apply_secret(&mut self, key: ObjectKey, facts: Option<Arc<SecretFacts>>) -> BTreeSet<Subject> {
        if let (Some(new), Some(known)) = (&facts, self.secrets.get(&key))
            && new.uid == known.uid
            && new.version <= known.version
        {
            return BTreeSet::new();
        }
        match facts {
            Some(mut facts) => {
                if let Some(facts) = Arc::get_mut(&mut facts) {
                    self.share_secret(&key, facts);
                }
                self.is_there(&key);
                self.secrets.insert(key.clone(), facts);
            }
            None => {
                let was_there = self.secrets.remove(&key).is_some();
                if self.by_output.contains_key(&key) {
                    *self.deletions.entry(key.clone()).or_default() += 1;
                }
                // What was known to be missing is no news.
                if !self.absent.insert(key.clone()) && !was_there {
                    return BTreeSet::new();
                }
            }
        }
        let owners = self.by_output.get(&key).cloned().unwrap_or_default();
        owners.into_iter().map(Subject::Certificate).collect()
    }

    fn apply_input(&mut self, input: InputRef, facts: Option<InputFacts>) -> BTreeSet<Subject> {
        let known = match facts {
            Some(facts) => self.inputs.insert(input.clone(), facts),
            None => self.inputs.remove(&input),
        };
        if known == facts {
            return BTreeSet::new();
        }
        let mut woken = BTreeSet::new();
        for issuer in self.by_input.get(&input).cloned().unwrap_or_default() {
            if let Some(entry) = self.issuers.get_mut(&issuer) {
                entry.ready = None;
                entry.input_changes += 1;
            }
            woken.insert(Subject::Identity(issuer.clone()));
            woken.extend(self.certificates_of(&issuer));
        }
        woken
    }

    fn apply_record(&mut self, subject: Subject, seen: Option<RecordSeen>) -> BTreeSet<Subject> {
        let known = self.records.get(&subject).map(|known| known.version);
        match seen {
            Some(seen) if known.is_some_and(|known| seen.version <= known) => BTreeSet::new(),
            Some(seen) => {
                let facts = self.read_record(&subject, &seen);
                self.set_record(&subject, Some(facts))
            }
            None if known.is_none() => BTreeSet::new(),
            None => self.lost_record(&subject),
        }
    }

    /// The facts of a record that was read, which somebody may have changed: what was spent stays spent.
    pub fn read_record(&mut self, subject: &Subject, seen: &RecordSeen) -> RecordFacts {
        let mut facts = RecordFacts::read(seen.bytes.expose(), seen.version);
        self.spent.merge(subject, &mut facts.ledger.transactions);
        facts
    }

    /// Takes in that somebody else took a record away.
    pub fn lost_record(&mut self, subject: &Subject) -> BTreeSet<Subject> {
        let there = match subject {
            Subject::Certificate(key) => self.certificates.contains_key(key),
            Subject::Identity(key) => self.issuers.contains_key(key),
        };
        self.lost.record_gone(subject, !there);
        self.set_record(subject, None)
    }

    /// Takes in that we deleted a record ourselves: nobody waits for it.
    pub fn deleted_record(&mut self, subject: &Subject) {
        self.set_record(subject, None);
        self.lost.forget(subject);
    }

    /// Takes in what we wrote ourselves, or what the watch told of a record; says who wants a look. What the watch told of a
    /// later change meanwhile is not forgotten.
    pub fn set_record(&mut self, subject: &Subject, facts: Option<RecordFacts>) -> BTreeSet<Subject> {
        let mut woken = BTreeSet::from([subject.clone()]);
        if let (Some(known), Some(facts)) = (self.records.get(subject), &facts)
            && known.version > facts.version
        {
            return woken;
        }
        let before = self
            .records
            .get(subject)
            .and_then(|r| r.current.as_ref())
            .map(|c| c.fingerprint);
        let after = facts
            .as_ref()
            .and_then(|r| r.current.as_ref())
            .map(|c| c.fingerprint);
        match facts {
            Some(mut facts) => {
                self.lost.forget(subject);
                self.share_record(subject, &mut facts);
                self.spent.wrote(subject, &facts.ledger.transactions);
                self.records.insert(subject.clone(), Arc::new(facts));
            }
            None => {
                self.records.remove(subject);
            }
        }
        if let (Subject::Identity(issuer), true) = (subject, before != after) {
            woken.extend(self.certificates_of(issuer));
        }
        woken
    }

    /// How often a Secret was seen to go away.
    pub fn deletions(&self, key: &ObjectKey) -> u64 {
        self.deletions.get(key).copied().unwrap_or(0)
    }

    /// Takes in a Secret that we wrote ourselves, begun when it had gone away `before` times. Whether a deletion may hide
    /// behind it: one that was told meanwhile may be older or newer than our write, so somebody must look.
    pub fn wrote_secret(&mut self, key: &ObjectKey, facts: SecretFacts, before: u64) -> bool {
        self.set_secret(key, Some(facts));
        self.deletions(key) != before
    }

    /// Takes in a Secret as it was just read or written. What the watch told of a later change meanwhile is not forgotten:
    /// it tells it once.
    pub fn set_secret(&mut self, key: &ObjectKey, facts: Option<SecretFacts>) {
        match facts {
            Some(facts) if self.knows_later(key, &facts) => {}
            Some(mut facts) => {
                self.share_secret(key, &mut facts);
                self.is_there(key);
                self.secrets.insert(key.clone(), Arc::new(facts));
            }
            None => {
                self.absent.insert(key.clone());
                self.secrets.remove(key);
            }
        }
    }

    fn is_there(&mut self, key: &ObjectKey) {
        self.absent.remove(key);
        // At a first start all are absent, and soon none.
        if self.absent.len() < self.absent.capacity() / 4 {
            self.absent.shrink_to_fit();
        }
    }

    fn knows_later(&self, key: &ObjectKey, facts: &SecretFacts) -> bool {
        let known = self.secrets.get(key);
        known.is_some_and(|known| known.uid == facts.uid && known.version > facts.version)
    }

    /// Takes in inputs that were read before the watch told of them. When it does, they are no news, and a failure of
    /// before still is one of the same inputs.
    pub fn know_inputs(&mut self, read: BTreeMap<InputRef, InputFacts>) {
        for (input, facts) in read {
            self.inputs.entry(input).or_insert(facts);
        }
    }

    /// Takes in a status that we wrote ourselves.
    pub fn set_status(&mut self, subject: &Subject, status: Status) {
        match (subject, status) {
            (Subject::Certificate(key), Status::Certificate(status)) => {
                if let Some(Seen::Object(object)) =
                    self.certificates.get_mut(key).map(|entry| &mut entry.seen)
                {
                    Arc::make_mut(object).set_status(&status);
                }
            }
            (Subject::Identity(key), Status::Issuer(status)) => {
                if let Some(Seen::Object(object)) = self.issuers.get_mut(key).map(|entry| &mut entry.seen) {
                    Arc::make_mut(object).status = Some(*status);
                }
            }
            (Subject::Certificate(_), Status::Issuer(_)) | (Subject::Identity(_), Status::Certificate(_)) => {
            }
        }
    }

    /// Takes in that we put our finalizer on a Certificate, or took it off.
    pub fn set_finalizer(&mut self, subject: &Subject, presence: Presence) {
        let entry = self.certificates.get_mut(subject.key());
        let Some(Seen::Object(object)) = entry.map(|entry| &mut entry.seen) else {
            return;
        };
        Arc::make_mut(object).set_finalizer(presence);
    }

    /// The uid of the object that a subject is reported on.
    pub fn uid(&self, subject: &Subject) -> Option<String> {
        match subject {
            Subject::Certificate(key) => match &self.certificates.get(key)?.seen {
                Seen::Object(object) => object.uid.as_ref().map(ToString::to_string),
                Seen::Broken(_) => None,
            },
            Subject::Identity(key) => match &self.issuers.get(key)?.seen {
                Seen::Object(object) => object.metadata.uid.clone(),
                Seen::Broken(_) => None,
            },
        }
    }

    /// What is remembered of an output.
    pub fn output_memory(&mut self, owner: &ObjectKey, secret: &ObjectKey) -> &mut OutputMemory {
        self.outputs.entry((owner.clone(), secret.clone())).or_default()
    }

    /// What is remembered of a subject.
    pub fn memory(&mut self, subject: &Subject) -> &mut SubjectMemory {
        self.memory.entry(subject.clone()).or_default()
    }

    /// Tells an exchange that waits for its answer that something has changed.
    pub fn tell_exchange(&self, subject: &Subject) {
        let memory = self.memory.get(subject);
        if let Some(changed) = memory.and_then(|memory| memory.changed.as_ref()) {
            changed.notify_one();
        }
    }

    /// Everything that the watch shall attend to, if that changed since it was last asked for.
    pub fn attended_if_changed(&mut self) -> Option<(BTreeSet<InputRef>, BTreeSet<ObjectKey>)> {
        let now = (self.by_input.len(), self.by_output.len(), self.links);
        if self.attended_links == Some(now) {
            return None;
        }
        self.attended_links = Some(now);
        Some(self.attended())
    }

    fn attended(&self) -> (BTreeSet<InputRef>, BTreeSet<ObjectKey>) {
        (
            self.by_input.keys().cloned().collect(),
            self.by_output.keys().cloned().collect(),
        )
    }

    /// The wish of a subject, if it was checked.
    pub fn plan(&self, subject: &Subject) -> Option<Arc<CertificatePlan>> {
        match subject {
            Subject::Certificate(key) => self.certificates.get(key)?.plan.as_ref().ok().cloned(),
            Subject::Identity(key) => self.issuers.get(key)?.identity.clone(),
        }
    }

    /// The Issuer that a subject's certificate comes from.
    pub fn issuer_of(&self, subject: &Subject) -> Option<ObjectKey> {
        match subject {
            Subject::Certificate(key) => Some(self.certificates.get(key)?.plan.as_ref().ok()?.issuer.clone()),
            Subject::Identity(key) => Some(key.clone()),
        }
    }
}

/// The Issuer that reports what this Certificate comes to, if it is a health check.
fn checked_issuer(entry: &CertificateEntry) -> Option<Subject> {
    let plan = entry.plan.as_ref().ok()?;
    (plan.purpose == Purpose::HealthCheck).then(|| Subject::Identity(plan.issuer.clone()))
}

fn annotations(seen: &Seen<Issuer>) -> Option<&BTreeMap<String, String>> {
    match seen {
        Seen::Object(object) => Some(&object.metadata.annotations),
        Seen::Broken(_) => None,
    }
}

/// Whether two states of a Certificate differ in nothing but their status.
fn same_wish(known: &Seen<Remembered>, later: &Seen<Remembered>) -> bool {
    match (known, later) {
        (Seen::Object(known), Seen::Object(later)) => known.same_wish(later),
        (Seen::Broken(known), Seen::Broken(later)) => known == later,
        _ => false,
    }
}

fn identity_plan(issuer: &ObjectKey, wish: &IdentityPlan) -> CertificatePlan {
    CertificatePlan {
        key: issuer.clone(),
        issuer: issuer.clone(),
        template: wish.template.clone(),
        key_algorithm: wish.key_algorithm,
        rotation: crate::model::certificate::RotationPolicy::Always,
        renew: RenewRule::Default,
        outputs: Vec::new(),
        on_drift: OnDrift::Restore,
        on_delete: OnDelete::Keep,
        existing: Existing::Refuse,
        purpose: Purpose::EndEntity,
        keep_copy: true,
        wish_hash: NormalWish::hash_of(&wish.template, wish.key_algorithm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::world::RecordState;
    use crate::record::Ledger;

    fn secret(uid: &str, version: u64) -> SecretFacts {
        SecretFacts {
            version: Version(version),
            uid: uid.into(),
            kind: "kubernetes.io/tls".into(),
            immutable: false,
            data: Default::default(),
            labels: Default::default(),
            annotations: Default::default(),
            controller: None,
            last_writer: None,
            terminating: false,
        }
    }

    fn record(version: u64) -> RecordFacts {
        RecordFacts {
            version: Version(version),
            state: RecordState::Usable,
            current: None,
            previous: None,
            open: None,
            ledger: Ledger::default(),
            to_revoke: 0,
        }
    }

    #[test]
    fn a_change_that_is_told_before_the_answer_to_our_own_write_is_not_forgotten() {
        let (mut state, key) = (State::new("a"), ObjectKey::new("a", "web-tls"));
        let known = |state: &State| state.secrets.get(&key).unwrap().version;
        state.apply(Change::Secret(key.clone(), Some(Arc::new(secret("one", 8)))));
        assert!(!state.wrote_secret(&key, secret("one", 7), 0));
        assert_eq!(known(&state), Version(8));
        state.wrote_secret(&key, secret("one", 9), 0);
        assert_eq!(known(&state), Version(9));
        // Another Secret of that name has a count of its own.
        state.wrote_secret(&key, secret("two", 3), 0);
        assert_eq!(known(&state), Version(3));
    }

    #[test]
    fn the_same_holds_for_a_record() {
        let (mut state, subject) = (State::new("a"), Subject::Certificate(ObjectKey::new("a", "web")));
        state.set_record(&subject, Some(record(8)));
        state.set_record(&subject, Some(record(7)));
        assert_eq!(state.records.get(&subject).unwrap().version, Version(8));
        state.set_record(&subject, None);
        state.set_record(&subject, Some(record(7)));
        assert_eq!(state.records.get(&subject).unwrap().version, Version(7));
    }
}
