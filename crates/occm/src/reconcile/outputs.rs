//! Outputs: what goes into a Secret, and whether a Secret still is what we wrote.
//!
//! Drift is told by hashes: the record says what was written, the watch says what is there. Our data keys, the type,
//! our labels and our annotations are ours; everything else in the Secret is not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, Secret};

use crate::model::certificate::{Existing, Format, OnDrift, OutputKey, Part};
use crate::model::object::{ObjectKey, ROLE_LABEL, ROLE_OUTPUT};
use crate::model::plan::OutputPlan;
use crate::model::reason::Reason;
use crate::reconcile::marks::{Mark, other_owner};
use crate::reconcile::world::IssuedFacts;
use crate::record::{Issued, WrittenOutput};
use crate::store::{ContentHash, SecretFacts, SecretRelease, SecretWrite, Texts, tight};

/// One output as a decision sees it.
pub struct OutputView<'a> {
    /// What is wished for.
    pub plan: Cow<'a, OutputPlan>,
    /// What is there.
    pub facts: Option<&'a SecretFacts>,
    /// What follows from that.
    pub state: OutputState,
    /// The Certificate whose output it is.
    pub owner: &'a ObjectKey,
    /// What the store said when it was last to be written and could not be: names the place and what is wrong with it.
    pub trouble: Option<String>,
    /// Another Certificate that wants the same of the Secret and was there first.
    pub rival: Option<Rival>,
}

/// Another Certificate that wants the same of a Secret and was there first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The Certificate.
    pub certificate: ObjectKey,
    /// What both want.
    pub clash: Clash,
}

/// What two Certificates that name one Secret cannot both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The same key of the data.
    Key(String),
    /// The Secret with another type, which is this one.
    Kind(String),
    /// The same label with another value.
    Label(String),
    /// The same annotation with another value.
    Annotation(String),
}

impl Clash {
    /// What `ours` cannot have beside `theirs`.
    pub fn between(ours: &OutputPlan, theirs: &OutputPlan) -> Option<Self> {
        let differs = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
            let other = |(key, value): &(&String, &String)| b.get(*key).is_some_and(|there| there != *value);
            a.iter().find(other).map(|(key, _)| key.clone())
        };
        if let Some(key) = ours.keys.keys().find(|key| theirs.keys.contains_key(*key)) {
            return Some(Self::Key(key.to_string()));
        }
        if ours.kind != theirs.kind {
            return Some(Self::Kind(theirs.kind.to_string()));
        }
        differs(&ours.labels, &theirs.labels)
            .map(Self::Label)
            .or_else(|| differs(&ours.annotations, &theirs.annotations).map(Self::Annotation))
    }

    /// Why an output is blocked by it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Key(_) | Self::Label(_) | Self::Annotation(_) => Reason::OwnedByAnother,
            Self::Kind(_) => Reason::WrongSecretType,
        }
    }
}

/// What is so with one output, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// It carries the good copy.
    InSync,
    /// It is to be written from the good copy.
    Write(WriteKind, Reason),
    /// It was changed, and the wish says to issue anew.
    Reissue,
    /// It was changed, and the wish says only to report.
    Reported,
    /// It carries something newer of ours, or we have no record of it: take it into the record.
    Rebuild,
    /// It exists, is not ours, and is taken over as it is.
    Adopt,
    /// It exists, is not ours, and is replaced once there is a certificate.
    ReplaceLater,
    /// There is no good copy to write.
    NothingToWrite,
    /// It cannot be written, and why; the next try is due then.
    Blocked(Reason, Option<Timestamp>),
}

/// How an output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// It must not exist.
    Create,
    /// It is in the state that we saw.
    Update,
    /// Its type or its `immutable` cannot be changed in place: it is deleted and then created.
    Replace,
}

/// What the manager remembers of an output, in memory.
#[derive(Clone, Debug, Default)]
pub struct OutputMemory {
    /// Times of the latest repairs that came within a minute of our own write.
    pub repairs: Vec<Timestamp>,
    /// When we last wrote it.
    pub last_write: Option<Timestamp>,
    /// It cannot be written until then, and why.
    pub blocked: Option<(Reason, Timestamp)>,
    /// What the store said when it last could not be written.
    pub trouble: Option<String>,
    /// Version whose content could not be taken into the record.
    pub rebuild_refused: Option<crate::store::Version>,
    /// We wrote or saw it as ours since this process started.
    pub known_ours: bool,
    /// It was there at some time since this process started.
    pub seen: bool,
    /// The writer that fights with us, once that is told.
    pub rival: Option<String>,
    /// The last repair, as it is told.
    pub restored: Option<Box<Restored>>,
}

/// A repair that is told.
#[derive(Clone, Debug)]
pub struct Restored {
    /// When.
    pub at: Timestamp,
    /// What was done to which Secret, and by whom.
    pub message: String,
}

/// State of an output in a status when it carries the current certificate.
pub const IN_SYNC: &str = "InSync";
/// Repairs within [`FIGHT_SECONDS`] that make a fight.
pub const FIGHT_REPAIRS: usize = 10;
/// The time in which repairs make a fight, in seconds.
pub const FIGHT_SECONDS: i64 = 600;
/// A change within so many seconds of our write counts as an answer to it.
pub const ANSWER_SECONDS: i64 = 60;
/// How long a fight is left alone before the next try, in seconds.
pub const TRUCE_SECONDS: i64 = 600;

/// What is needed to judge an output, besides the Secret itself.
pub struct Judge<'a> {
    /// The good copy, if there is one.
    pub good: Option<&'a IssuedFacts>,
    /// All copies in the record.
    pub known: Vec<&'a IssuedFacts>,
    /// What the wish says on drift.
    pub on_drift: OnDrift,
    /// What the wish says on foreign Secrets.
    pub existing: Existing,
    /// The Certificate.
    pub owner: &'a ObjectKey,
    /// Our clock.
    pub now: Timestamp,
}

impl OutputView<'_> {
    /// The revision that the Secret carries as ours.
    pub fn carried_revision(&self) -> Option<u64> {
        revision_of(self.facts?, self.owner)
    }
}

/// The revision that a Secret carries of this Certificate.
pub fn revision_of(facts: &SecretFacts, owner: &ObjectKey) -> Option<u64> {
    Mark::of(owner, &facts.annotations)?.revision_in(&facts.annotations)
}

fn names_owner(facts: &SecretFacts, owner: &ObjectKey) -> bool {
    Mark::of(owner, &facts.annotations).is_some()
}

impl Judge<'_> {
    /// What is so with an output, and what follows from it.
    pub fn state(
        &self,
        plan: &OutputPlan,
        facts: Option<&SecretFacts>,
        memory: &OutputMemory,
        rival: Option<&Rival>,
    ) -> OutputState {
        if let Some(rival) = rival {
            return OutputState::Blocked(rival.clash.reason(), None);
        }
        let wanted = self.judge(plan, facts, memory);
        match (&wanted, &memory.blocked) {
            (OutputState::Write(..) | OutputState::Adopt | OutputState::Rebuild, Some((reason, until)))
                if *until > self.now && *until <= self.now + SignedDuration::from_secs(TRUCE_SECONDS) =>
            {
                OutputState::Blocked(*reason, Some(*until))
            }
            _ => wanted,
        }
    }

    fn judge(&self, plan: &OutputPlan, facts: Option<&SecretFacts>, memory: &OutputMemory) -> OutputState {
        let Some(facts) = facts else {
            return self.absent(plan, memory);
        };
        if facts.terminating {
            return OutputState::Blocked(Reason::NamespaceTerminating, None);
        }
        if let Some(foreign) = self.foreign(plan, facts, memory) {
            return foreign;
        }
        if self.carries_something_newer(facts) && memory.rebuild_refused != Some(facts.version) {
            return OutputState::Rebuild;
        }
        let Some(good) = self.good else {
            return OutputState::NothingToWrite;
        };
        let Some(written) = written(good, plan) else {
            return OutputState::Write(self.write_kind(plan, facts), Reason::OutputMissing);
        };
        if is_in_sync(plan, written, facts, self.owner, good.revision) {
            return OutputState::InSync;
        }
        // Nobody changed what we never wrote.
        if !written.proven && !memory.known_ours && !names_owner(facts, self.owner) {
            return OutputState::Write(self.write_kind(plan, facts), Reason::OutputMissing);
        }
        self.differs(plan, written, facts, good)
    }

    fn absent(&self, plan: &OutputPlan, memory: &OutputMemory) -> OutputState {
        let Some(good) = self.good else {
            return OutputState::NothingToWrite;
        };
        let was_there = memory.seen || written(good, plan).is_some_and(|w| w.proven);
        let reason = if was_there {
            Reason::OutputDeleted
        } else {
            Reason::OutputMissing
        };
        OutputState::Write(WriteKind::Create, reason)
    }

    /// What follows for a Secret that is not ours; `None` if it is.
    fn foreign(&self, plan: &OutputPlan, facts: &SecretFacts, memory: &OutputMemory) -> Option<OutputState> {
        if facts.controller.is_some() {
            return Some(OutputState::Blocked(Reason::OwnedByAnother, None));
        }
        let listed = self
            .known
            .iter()
            .filter_map(|issued| written(issued, plan))
            .any(|w| w.proven);
        if listed || memory.known_ours || names_owner(facts, self.owner) {
            return None;
        }
        if other_owner(self.owner, &facts.annotations).is_some() {
            return self.joins(plan, facts);
        }
        Some(match self.existing {
            Existing::Refuse => OutputState::Blocked(Reason::ForeignSecret, None),
            Existing::Adopt if self.good.is_none() && memory.rebuild_refused == Some(facts.version) => {
                OutputState::Blocked(Reason::AdoptRefused, None)
            }
            Existing::Adopt if self.good.is_none() => OutputState::Adopt,
            Existing::Adopt | Existing::Replace if self.good.is_some() => {
                OutputState::Write(self.write_kind(plan, facts), Reason::OutputOutdated)
            }
            Existing::Adopt | Existing::Replace => OutputState::ReplaceLater,
        })
    }

    /// A Secret of another Certificate: keys that nobody has are added to it, and nothing else is touched.
    fn joins(&self, plan: &OutputPlan, facts: &SecretFacts) -> Option<OutputState> {
        if plan.keys.keys().any(|key| facts.data.contains_key(key)) {
            return Some(OutputState::Blocked(Reason::OwnedByAnother, None));
        }
        // To give it our type would take the other's keys away.
        (facts.kind != plan.kind).then_some(OutputState::Blocked(Reason::WrongSecretType, None))
    }

    /// Newer wins: an older certificate never goes over a newer one of ours.
    fn carries_something_newer(&self, facts: &SecretFacts) -> bool {
        if !names_owner(facts, self.owner) {
            return false;
        }
        let highest = self.known.iter().map(|issued| issued.revision).max();
        match (revision_of(facts, self.owner), highest) {
            (Some(carried), Some(highest)) => carried > highest,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn differs(
        &self,
        plan: &OutputPlan,
        written: &WrittenOutput,
        facts: &SecretFacts,
        good: &IssuedFacts,
    ) -> OutputState {
        let kind = self.write_kind(plan, facts);
        // A new certificate goes over whatever stands there; a change was answered by it.
        let carried = revision_of(facts, self.owner);
        let answered = carried.is_none() && good.why == Reason::Reissue && self.on_drift == OnDrift::Reissue;
        let outdated = carried.is_some_and(|carried| carried < good.revision) || answered;
        if outdated || !same_layout(written, plan) {
            return OutputState::Write(kind, Reason::OutputOutdated);
        }
        let data_changed = !same_data(written, facts) || facts.kind != written.kind;
        match self.on_drift {
            OnDrift::Restore => OutputState::Write(kind, Reason::OutputChanged),
            OnDrift::Alert => OutputState::Reported,
            OnDrift::Reissue if data_changed => OutputState::Reissue,
            OnDrift::Reissue => OutputState::Write(kind, Reason::OutputChanged),
        }
    }

    fn write_kind(&self, plan: &OutputPlan, facts: &SecretFacts) -> WriteKind {
        if facts.immutable || facts.kind != plan.kind {
            WriteKind::Replace
        } else {
            WriteKind::Update
        }
    }
}

fn written<'a>(issued: &'a IssuedFacts, plan: &OutputPlan) -> Option<&'a WrittenOutput> {
    issued.outputs.iter().find(|output| output.secret == plan.secret)
}

fn same_data(written: &WrittenOutput, facts: &SecretFacts) -> bool {
    written
        .data
        .iter()
        .all(|(key, hash)| facts.data.get(key) == Some(hash))
}

fn is_in_sync(
    plan: &OutputPlan,
    written: &WrittenOutput,
    facts: &SecretFacts,
    owner: &ObjectKey,
    revision: u64,
) -> bool {
    let ours = |wanted: &BTreeMap<String, String>, there: &Texts| {
        wanted
            .iter()
            .all(|(key, value)| there.get(key.as_str()).is_some_and(|there| there == value))
    };
    !facts.immutable
        && facts.kind == plan.kind
        && same_layout(written, plan)
        && same_data(written, facts)
        && ours(&labels(plan), &facts.labels)
        && ours(
            &annotations(plan, owner, revision, Some(facts)),
            &facts.annotations,
        )
}

/// Whether the record lists an output as the wish has it.
pub fn is_listed(issued: &Issued, plan: &OutputPlan) -> bool {
    let listed = issued.outputs.iter().find(|output| output.secret == plan.secret);
    listed.is_some_and(|written| same_layout(written, plan))
}

fn same_layout(written: &WrittenOutput, plan: &OutputPlan) -> bool {
    written.kind == plan.kind && written.keys == plan.keys
}

/// The plan of an output as it was written, for a repair while the wish cannot be read.
pub fn plan_of(written: &WrittenOutput) -> OutputPlan {
    OutputPlan {
        secret: written.secret.clone(),
        kind: written.kind.clone(),
        keys: written.keys.clone(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

fn labels(plan: &OutputPlan) -> BTreeMap<String, String> {
    let mut labels = plan.labels.clone();
    labels.insert(ROLE_LABEL.to_owned(), ROLE_OUTPUT.to_owned());
    labels
}

fn annotations(
    plan: &OutputPlan,
    owner: &ObjectKey,
    revision: u64,
    there: Option<&SecretFacts>,
) -> BTreeMap<String, String> {
    let mut annotations = plan.annotations.clone();
    let mark = Mark::wanted(owner, there.map(|facts| &facts.annotations));
    mark.set(owner, revision, &mut annotations);
    annotations
}

/// The write that puts `issued` into an output, beside what others have `there`.
pub fn render(
    plan: &OutputPlan,
    owner: &ObjectKey,
    issued: &Issued,
    there: Option<&SecretFacts>,
) -> Result<SecretWrite, pki::Error> {
    let kept = issued
        .outputs
        .iter()
        .find(|output| output.secret == plan.secret && !output.bytes.is_empty());
    let data = match kept {
        Some(output) if same_layout(output, plan) => output
            .bytes
            .iter()
            .map(|(key, bytes)| (key.clone(), Secret::new(bytes.expose().to_vec())))
            .collect(),
        _ => values(plan, issued)?,
    };
    Ok(SecretWrite {
        key: plan.secret.clone(),
        writer: owner.clone(),
        kind: plan.kind.to_string(),
        data,
        labels: labels(plan),
        annotations: annotations(plan, owner, issued.revision, there),
    })
}

/// The write that marks an adopted Secret as ours without touching its data.
pub fn mark(plan: &OutputPlan, owner: &ObjectKey, there: &SecretFacts, revision: u64) -> SecretWrite {
    SecretWrite {
        key: plan.secret.clone(),
        writer: owner.clone(),
        kind: there.kind.to_string(),
        data: BTreeMap::new(),
        labels: labels(plan),
        annotations: annotations(plan, owner, revision, Some(there)),
    }
}

/// What a Certificate gives up of a Secret that others write to as well; `None` = nobody else does, and the Secret may go as
/// a whole. What the wishes of `others` name stays.
pub fn release(
    plan: &OutputPlan,
    owner: &ObjectKey,
    there: &SecretFacts,
    others: &[OutputPlan],
) -> Option<SecretRelease> {
    other_owner(owner, &there.annotations)?;
    let mark = Mark::of(owner, &there.annotations)?;
    let alone = |ours: &BTreeMap<String, String>, theirs: fn(&OutputPlan) -> &BTreeMap<String, String>| {
        let wanted = |key: &&String| others.iter().any(|other| theirs(other).contains_key(*key));
        ours.keys()
            .filter(|key| !wanted(key))
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let mut annotations = alone(&plan.annotations, |other| &other.annotations);
    annotations.extend([mark.owner, mark.revision]);
    Some(SecretRelease {
        key: plan.secret.clone(),
        writer: owner.clone(),
        data: plan.keys.keys().map(ToString::to_string).collect(),
        labels: alone(&plan.labels, |other| &other.labels),
        annotations,
    })
}

/// What the record remembers of an output that `issued` goes into.
pub fn plan_written(plan: &OutputPlan, issued: &Issued, proven: bool) -> Result<WrittenOutput, pki::Error> {
    let data = values(plan, issued)?
        .iter()
        .map(|(key, value)| (key.into(), ContentHash::of(value.expose())))
        .collect();
    Ok(WrittenOutput {
        secret: plan.secret.clone(),
        kind: plan.kind.clone(),
        keys: plan.keys.clone(),
        data: Arc::new(tight(data)),
        proven,
        bytes: BTreeMap::new(),
    })
}

fn values(plan: &OutputPlan, issued: &Issued) -> Result<BTreeMap<String, Secret>, pki::Error> {
    plan.keys
        .iter()
        .map(|(key, wanted)| Ok((key.to_string(), value(*wanted, issued)?)))
        .collect()
}

fn value(wanted: OutputKey, issued: &Issued) -> Result<Secret, pki::Error> {
    let leaf = std::slice::from_ref(&issued.certificate);
    let root: Vec<Certificate> = issued.root.iter().cloned().collect();
    let with_chain: Vec<Certificate> = leaf.iter().chain(&issued.chain).cloned().collect();
    let bytes = match wanted.part {
        Part::Key => return key_bytes(wanted.format, issued),
        Part::Certificate => certificates(wanted.format, leaf),
        Part::Chain => certificates(wanted.format, &issued.chain),
        Part::CertificateAndChain => certificates(wanted.format, &with_chain),
        Part::CA => certificates(wanted.format, &root),
        Part::Bundle => {
            let key = key_bytes(Format::PKCS8PEM, issued)?;
            let mut bytes = key.expose().to_vec();
            bytes.extend_from_slice(&certificates(Format::PEM, &with_chain));
            bytes
        }
    };
    Ok(Secret::new(bytes))
}

fn certificates(format: Format, certificates: &[Certificate]) -> Vec<u8> {
    match format {
        Format::DER => certificates.iter().flat_map(|c| c.der().to_vec()).collect(),
        Format::PEM | Format::PKCS8PEM | Format::PKCS8DER | Format::PKCS1PEM | Format::PKCS1DER => {
            pki::encoding::to_pem_bundle(certificates).into_bytes()
        }
    }
}

fn key_bytes(format: Format, issued: &Issued) -> Result<Secret, pki::Error> {
    let Some(stored) = &issued.key else {
        return Err(pki::Error::Malformed {
            input: pki::Input::PrivateKey,
            reason: "it is not in the record".into(),
        });
    };
    let key = stored.key()?;
    Ok(match format {
        Format::PEM | Format::PKCS8PEM => Secret::new(key.to_pkcs8_pem()?.as_bytes().to_vec()),
        Format::DER | Format::PKCS8DER => Secret::new(key.to_pkcs8_der()?.to_vec()),
        Format::PKCS1PEM => Secret::new(key.to_traditional_pem()?.as_bytes().to_vec()),
        Format::PKCS1DER => Secret::new(key.to_traditional_der()?.to_vec()),
    })
}
