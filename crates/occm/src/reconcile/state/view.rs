//! The world as a subject sees it now: made from the state for one decision, and dropped after it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::model::certificate::{Existing, OnDelete, OnDrift};
use crate::model::issuer::UpdateSigner;
use crate::model::object::ObjectKey;
use crate::model::plan::{CertificatePlan, OutputPlan};
use crate::model::reason::Reason;
use crate::reconcile::issuer::ReadyToUse;
use crate::reconcile::outputs::{IN_SYNC, Judge, OutputMemory, OutputState, OutputView, plan_of};
use crate::reconcile::schedule::LONGEST_WAIT;
use crate::reconcile::state::{IssuerEntry, State};
use crate::reconcile::world::{
    IssuerView, OpenFacts, ReadyIssuer, RecordFacts, Wish, World, good_copy, is_confirmed,
};
use crate::store::{ContentHash, Seen, Subject};

/// How long a difference of the clocks stands against issuing after it was told: then one more try asks the CA again, since
/// nothing else does.
const OFFSET_HOLDS: SignedDuration = SignedDuration::from_mins(10);

impl State {
    /// Calls `with` on the world as `subject` sees it now.
    pub fn with_world<T>(
        &mut self,
        subject: &Subject,
        now: Timestamp,
        store_offset: Option<SignedDuration>,
        with: impl FnOnce(&World<'_>) -> T,
    ) -> T {
        let memories = self.take_memories(subject);
        let world = self.world(subject, now, store_offset, &memories);
        with(&world)
    }

    /// Copies of the memories of a subject's outputs, brought up to date with what is there.
    fn take_memories(&mut self, subject: &Subject) -> Vec<OutputMemory> {
        let plan = self.plan(subject);
        let record = self.records.get(subject).cloned();
        let secrets: Vec<ObjectKey> = self
            .output_plans(subject, plan.as_deref(), record.as_deref())
            .iter()
            .map(|output| output.secret.clone())
            .collect();
        let mut memories = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let there = self.secrets.contains_key(&secret);
            // The status is looked into once.
            let known = self.output_memory(subject.key(), &secret).known_ours;
            let ours = known || self.reported_in_sync(subject, &secret);
            let memory = self.output_memory(subject.key(), &secret);
            memory.seen |= there;
            memory.known_ours = ours;
            memories.push(memory.clone());
        }
        memories
    }

    /// Whether the status tells that an output carried the current certificate: then we wrote it, which the record may
    /// not tell before it is tidied.
    pub(super) fn reported_in_sync(&self, subject: &Subject, secret: &ObjectKey) -> bool {
        let Subject::Certificate(key) = subject else {
            return false;
        };
        let Some(Seen::Object(object)) = self.certificates.get(key).map(|entry| &entry.seen) else {
            return false;
        };
        let name = secret.to_string();
        let outputs = object.status().outputs;
        outputs
            .iter()
            .filter(|output| output.state == IN_SYNC)
            .any(|output| output.name == name)
    }

    /// The outputs that the wish names; while it cannot be read, those of the record that it still names.
    pub(super) fn output_plans<'a>(
        &self,
        subject: &Subject,
        plan: Option<&'a CertificatePlan>,
        record: Option<&RecordFacts>,
    ) -> Vec<Cow<'a, OutputPlan>> {
        if let Some(plan) = plan {
            return plan.outputs.iter().map(Cow::Borrowed).collect();
        }
        let (Subject::Certificate(key), Some(current)) = (subject, record.and_then(|r| r.current.as_ref()))
        else {
            return Vec::new();
        };
        let Some(entry) = self.certificates.get(key) else {
            return Vec::new();
        };
        let named = current
            .outputs
            .iter()
            .filter(|written| entry.named.contains(&written.secret));
        named.map(|written| Cow::Owned(plan_of(written))).collect()
    }

    fn world<'a>(
        &'a self,
        subject: &'a Subject,
        now: Timestamp,
        store_offset: Option<SignedDuration>,
        memories: &[OutputMemory],
    ) -> World<'a> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let (wish, deletion, finalizer, notes, reported) = match subject {
            Subject::Certificate(key) => self.certificate_wish(key),
            Subject::Identity(key) => self.identity_wish(key),
        };
        let record = self.records.get(subject).map(Arc::as_ref);
        let confirmed = self.memory.get(subject).and_then(|memory| memory.confirmed);
        let reported_revision = reported.max(confirmed);
        let plan = match wish {
            Wish::Plan(plan) => Some(plan),
            Wish::Invalid(_) | Wish::Gone => None,
        };
        let outputs = self.views(subject, plan, record, reported_revision, now, memories);
        let issuer = self.issuer_view(subject, plan);
        let ca_offset = plan
            .and_then(|plan| self.issuers.get(&plan.issuer))
            .and_then(|entry| entry.clock_offset)
            .filter(|(_, told)| *told <= now && now.duration_since(*told) < OFFSET_HOLDS)
            .map(|(offset, _)| offset);
        let attempt_hash = match record.and_then(RecordFacts::failure) {
            Some(_) => self.attempt_hash(subject, plan, notes.unwrap_or(&NONE)),
            None => ContentHash([0; 32]),
        };
        World {
            now,
            subject,
            wish,
            deletion,
            finalizer,
            annotations: notes.unwrap_or(&NONE),
            issuer,
            record,
            outputs,
            reported_revision,
            clock_offset: larger(store_offset, ca_offset),
            attempt_hash,
            previous_in_use: self.previous_in_use(subject, record),
            spent: self.spent.of(subject),
            pause: self
                .memory
                .get(subject)
                .and_then(|memory| memory.pause)
                .filter(|(_, until)| *until > now && *until <= now + LONGEST_WAIT),
        }
    }

    fn certificate_wish<'a>(&'a self, key: &ObjectKey) -> Told<'a> {
        let Some(entry) = self.certificates.get(key) else {
            return (Wish::Gone, None, false, None, None);
        };
        let wish = match &entry.plan {
            Ok(plan) => Wish::Plan(plan),
            Err(problem) => Wish::Invalid(problem),
        };
        let Seen::Object(object) = &entry.seen else {
            return (wish, None, false, None, None);
        };
        let reported = object.reported().and_then(|status| status.revision);
        (
            wish,
            object.deletion,
            object.finalizer,
            Some(&object.annotations),
            reported,
        )
    }

    fn identity_wish<'a>(&'a self, key: &ObjectKey) -> Told<'a> {
        let Some(entry) = self.issuers.get(key) else {
            return (Wish::Gone, None, false, None, None);
        };
        let wish = match (&entry.plan, &entry.identity) {
            (Ok(_), Some(plan)) => Wish::Plan(plan),
            (Ok(_), None) => Wish::Gone,
            (Err(problem), _) => Wish::Invalid(problem),
        };
        let Seen::Object(object) = &entry.seen else {
            return (wish, None, false, None, None);
        };
        let reported = object
            .status
            .as_ref()
            .and_then(|status| status.identity.as_ref())
            .map(|i| i.revision);
        (wish, None, false, Some(&object.metadata.annotations), reported)
    }

    fn views<'a>(
        &'a self,
        subject: &'a Subject,
        plan: Option<&'a CertificatePlan>,
        record: Option<&'a RecordFacts>,
        reported: Option<u64>,
        now: Timestamp,
        memories: &[OutputMemory],
    ) -> Vec<OutputView<'a>> {
        let owner = subject.key();
        let mut views: Vec<OutputView<'a>> = self
            .output_plans(subject, plan, record)
            .into_iter()
            .map(|plan| OutputView {
                facts: self.secrets.get(&plan.secret).map(Arc::as_ref),
                plan,
                state: OutputState::NothingToWrite,
                owner,
                trouble: None,
                rival: None,
            })
            .collect();
        let carried: Vec<u64> = views.iter().filter_map(OutputView::carried_revision).collect();
        let confirmed = record.is_none_or(|record| is_confirmed(record, reported, &carried));
        let judge = Judge {
            good: record.and_then(|record| good_copy(record, confirmed)),
            known: record.into_iter().flat_map(RecordFacts::copies).collect(),
            on_drift: plan.map_or(OnDrift::Restore, |plan| plan.on_drift),
            existing: plan.map_or(Existing::Refuse, |plan| plan.existing),
            owner,
            now,
        };
        let forgotten = OutputMemory::default();
        for (i, view) in views.iter_mut().enumerate() {
            let memory = memories.get(i).unwrap_or(&forgotten);
            view.rival = self.rival(owner, &view.plan);
            view.state = judge.state(&view.plan, view.facts, memory, view.rival.as_ref());
            view.trouble.clone_from(&memory.trouble);
        }
        views
    }

    fn issuer_view<'a>(&'a self, subject: &Subject, plan: Option<&'a CertificatePlan>) -> IssuerView<'a> {
        let unusable = |reason, message| IssuerView::Unusable { reason, message };
        let Some(plan) = plan else {
            return unusable(Reason::InvalidSpec, "the wish is not usable");
        };
        let Some(entry) = self.issuers.get(&plan.issuer) else {
            return unusable(Reason::IssuerNotFound, "the Issuer does not exist");
        };
        let issuer = match &entry.plan {
            Ok(issuer) => issuer,
            Err(problem) => return unusable(Reason::IssuerInvalid, problem),
        };
        if !issuer.allows(&plan.key.namespace) {
            return unusable(
                Reason::IssuerNotAllowed,
                "the Issuer does not allow this namespace",
            );
        }
        let ready = match &entry.ready {
            Some(Ok(ready)) => ready,
            Some(Err(problem)) => return unusable(problem.reason, &problem.message),
            None => return unusable(Reason::StoreFailed, "the inputs of the Issuer were not read yet"),
        };
        if let Some(problem) = self.lacks_credentials(subject, entry, ready) {
            return unusable(problem.0, problem.1);
        }
        IssuerView::Ready(ReadyIssuer {
            key: &issuer.key,
            endpoint: &issuer.url,
            recipient: entry.recipient(),
            engine: issuer.engine,
            key_update_signer: match subject {
                Subject::Identity(_) => UpdateSigner::Certificate,
                Subject::Certificate(_) => issuer.key_update_signer,
            },
            resend_window: SignedDuration::try_from(issuer.resend_window).unwrap_or(SignedDuration::ZERO),
            closed_until: entry
                .pace
                .closed_until(self.records.get(subject).and_then(|record| record.not_after())),
            bootstrap: ready.bootstrap,
        })
    }

    /// Why there is nothing to sign an enrolment with.
    fn lacks_credentials<'a>(
        &'a self,
        subject: &Subject,
        entry: &'a IssuerEntry,
        ready: &'a ReadyToUse,
    ) -> Option<(Reason, &'a str)> {
        let identity = entry
            .identity
            .as_ref()
            .map(|plan| Subject::Identity(plan.key.clone()));
        let has_identity = identity
            .as_ref()
            .and_then(|subject| self.records.get(subject))
            .and_then(|record| record.current.as_ref())
            .is_some_and(|current| current.key_fits);
        match (subject, &identity) {
            (Subject::Certificate(_), Some(_)) if !has_identity => Some((
                Reason::IssuerNotReady,
                "the CMP identity of the Issuer is not there yet",
            )),
            (Subject::Certificate(_), Some(_)) => None,
            (Subject::Identity(_), _) if has_identity => None,
            (Subject::Certificate(_) | Subject::Identity(_), _) => ready
                .initial
                .as_ref()
                .err()
                .map(|problem| (problem.reason, problem.message.as_str())),
        }
    }

    /// What a failure of now is remembered with.
    pub fn attempt_hash_now(&self, subject: &Subject) -> ContentHash {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let (wish, _, _, notes, _) = match subject {
            Subject::Certificate(key) => self.certificate_wish(key),
            Subject::Identity(key) => self.identity_wish(key),
        };
        let plan = match wish {
            Wish::Plan(plan) => Some(plan),
            Wish::Invalid(_) | Wish::Gone => None,
        };
        self.attempt_hash(subject, plan, notes.unwrap_or(&NONE))
    }

    /// A failure is tried again at once when wish, Issuer, inputs or requests changed since.
    fn attempt_hash(
        &self,
        subject: &Subject,
        plan: Option<&CertificatePlan>,
        notes: &BTreeMap<String, String>,
    ) -> ContentHash {
        let mut text = format!("{subject:?}");
        if let Some(plan) = plan {
            text.push_str(&plan.wish_hash.to_hex());
            if let Some(entry) = self.issuers.get(&plan.issuer) {
                text.push_str(&entry.plan_hash.to_hex());
                if let Ok(issuer) = &entry.plan {
                    for input in issuer.inputs() {
                        text.push_str(&format!("{:?}", self.inputs.get(&input).map(|facts| facts.hash)));
                    }
                }
            }
        }
        for (key, value) in notes.iter().filter(|(key, _)| key.starts_with("occm.dev/")) {
            text.push_str(key);
            text.push_str(value);
        }
        ContentHash::of(text.as_bytes())
    }

    /// The previous key of an identity is kept until no open transaction names it. A record whose Certificate is deleted
    /// counts too: the object may come back and go on.
    fn previous_in_use(&self, subject: &Subject, record: Option<&RecordFacts>) -> bool {
        let (Subject::Identity(issuer), Some(previous)) = (subject, record.and_then(|r| r.previous.as_ref()))
        else {
            return false;
        };
        let signer = previous.fingerprint.to_hex();
        self.records.iter().any(|(other, record)| {
            let names = |open: &OpenFacts| open.issuer == *issuer && open.signer.as_ref() == Some(&signer);
            other != subject && record.open.as_deref().is_some_and(names)
        })
    }
}

/// What an object tells: the wish, its deletion, whether our finalizer is there, its annotations, the revision that was
/// reported.
type Told<'a> = (
    Wish<'a>,
    Option<OnDelete>,
    bool,
    Option<&'a BTreeMap<String, String>>,
    Option<u64>,
);
impl IssuerEntry {
    fn recipient(&self) -> Option<&str> {
        match &self.seen {
            Seen::Object(object) => object.spec.recipient.as_deref(),
            Seen::Broken(_) => None,
        }
    }
}
fn larger(a: Option<SignedDuration>, b: Option<SignedDuration>) -> Option<SignedDuration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.abs() > b.abs() { a } else { b }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::world::{IssuedFacts, RecordState};
    use crate::record::{Ledger, OpenPurpose, Phase};
    use crate::store::Version;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("occm", name)
    }

    fn record(previous: Option<&str>, open: Option<(&str, &str)>) -> RecordFacts {
        RecordFacts {
            version: Version(1),
            state: RecordState::Usable,
            current: None,
            previous: previous.map(|fingerprint| {
                Box::new(IssuedFacts {
                    revision: 1,
                    serial: "01".to_owned(),
                    fingerprint: ContentHash::of(fingerprint.as_bytes()),
                    subject: "CN=occm".to_owned(),
                    not_before: at(0),
                    not_after: at(86_400),
                    key_fits: true,
                    may_sign: true,
                    key_algorithm: None,
                    sans: Vec::new(),
                    issuer: key("ca"),
                    wish: None,
                    outputs: Vec::new(),
                    issued_at: at(0),
                    why: Reason::Missing,
                })
            }),
            open: open.map(|(issuer, signer)| {
                Box::new(OpenFacts {
                    phase: Phase::Issued,
                    purpose: OpenPurpose::Enrol,
                    started_at: at(0),
                    not_before: None,
                    issuer: key(issuer),
                    endpoint: "http://ca/".to_owned(),
                    recipient: None,
                    signer: Some(ContentHash::of(signer.as_bytes()).to_hex()),
                    holder: "pid-1".to_owned(),
                    wish: None,
                })
            }),
            ledger: Ledger::default(),
            to_revoke: 0,
        }
    }

    #[test]
    fn the_previous_key_of_an_identity_is_in_use_also_by_the_record_of_a_deleted_certificate() {
        let identity = Subject::Identity(key("ca"));
        let in_use = |open: (&str, &str)| {
            let mut state = State::new("occm");
            state.set_record(&identity, Some(record(Some("old"), None)));
            // No Certificate of this name exists any more.
            state.set_record(
                &Subject::Certificate(key("deleted")),
                Some(record(None, Some(open))),
            );
            state.with_world(&identity, at(1_000), None, |world| world.previous_in_use)
        };
        assert!(in_use(("ca", "old")));
        assert!(!in_use(("ca", "new")));
        assert!(!in_use(("another", "old")));
    }
}
