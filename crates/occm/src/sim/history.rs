//! What happened: every state of every record and output, every send, who held the lease, and what went wrong when.
//!
//! The judges read this and the CA's book, and nothing of the program under test.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::object::ObjectKey;
use crate::model::plan::{CertificatePlan, RenewRule};
use crate::record::{Issued, Phase};
use crate::sim::reader::KnownCopies;
use crate::store::{ContentHash, Hashes, Subject};

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A process of occm.
    Process(usize),
    /// Somebody else.
    People,
}

/// A state of a record.
#[derive(Clone, Debug)]
pub(crate) struct RecordNote {
    pub(crate) at: Timestamp,
    pub(crate) by: By,
    pub(crate) state: RecordNow,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(crate) enum RecordNow {
    Gone,
    Unreadable,
    Is(Box<RecordFacts>),
}

impl RecordNow {
    pub(crate) fn facts(&self) -> Option<&RecordFacts> {
        match self {
            Self::Is(facts) => Some(facts),
            Self::Gone | Self::Unreadable => None,
        }
    }
}

/// What a readable record says.
#[derive(Clone, Debug)]
pub(crate) struct RecordFacts {
    pub(crate) current: Option<Arc<Copy>>,
    pub(crate) previous: Option<Arc<Copy>>,
    pub(crate) open: Option<OpenNote>,
    pub(crate) possible_orphans: u64,
    pub(crate) orphans: u64,
    pub(crate) transactions: usize,
}

/// A certificate in a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) revision: u64,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) wish: Option<ContentHash>,
    pub(crate) issuer: ObjectKey,
    /// Outputs as written, with the hash of every value.
    pub(crate) outputs: BTreeMap<ObjectKey, Arc<Hashes>>,
}

/// An open transaction in a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenNote {
    pub(crate) transaction: String,
    pub(crate) phase: Phase,
    pub(crate) started_at: Timestamp,
    pub(crate) signer: Option<String>,
}

impl Copy {
    pub(crate) fn of(issued: &Issued) -> Self {
        Self {
            revision: issued.revision,
            serial: issued.certificate.serial().to_lowercase(),
            fingerprint: issued.certificate.fingerprint_sha256(),
            not_before: issued.certificate.not_before(),
            not_after: issued.certificate.not_after(),
            wish: issued
                .wish
                .as_ref()
                .map(crate::model::plan::certificate::NormalWish::hash),
            issuer: issued.issuer.clone(),
            outputs: issued
                .outputs
                .iter()
                .map(|o| (o.secret.clone(), o.data.clone()))
                .collect(),
        }
    }
}

/// A state of an output.
#[derive(Clone, Debug)]
pub(crate) struct OutputNote {
    pub(crate) at: Timestamp,
    pub(crate) by: By,
    /// Hash of every value; `None` = it does not exist.
    pub(crate) data: Option<Arc<Hashes>>,
    /// The revision that it says to carry.
    pub(crate) revision: Option<u64>,
}

/// A state of a wish.
#[derive(Clone, Debug)]
pub(crate) struct WishNote {
    pub(crate) at: Timestamp,
    pub(crate) wish: Option<WishFacts>,
}

/// What a wish that can be used says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WishFacts {
    pub(crate) hash: ContentHash,
    pub(crate) issuer: ObjectKey,
    pub(crate) renew: RenewRule,
    pub(crate) restores: bool,
    pub(crate) reissues: bool,
    pub(crate) keeps_copy: bool,
    pub(crate) outputs: Vec<ObjectKey>,
    /// Everything that asks for something.
    pub(crate) requests: BTreeMap<String, String>,
}

impl WishFacts {
    pub(crate) fn of(plan: &CertificatePlan, requests: &BTreeMap<String, String>) -> Self {
        use crate::model::certificate::OnDrift;
        Self {
            hash: plan.wish_hash,
            issuer: plan.issuer.clone(),
            renew: plan.renew,
            restores: plan.on_drift == OnDrift::Restore,
            reissues: plan.on_drift == OnDrift::Reissue,
            keeps_copy: plan.keep_copy,
            outputs: plan.outputs.iter().map(|output| output.secret.clone()).collect(),
            requests: requests.clone(),
        }
    }
}

/// A message that a process sent to a CA, as the CA's book has it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Timestamp,
    pub(crate) ca: usize,
    pub(crate) kind: Message,
    pub(crate) transaction: String,
    /// Whether the first byte left.
    pub(crate) left: bool,
    /// Whether the CA worked on it.
    pub(crate) served: bool,
}

/// Kinds of messages that the judges tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Message {
    Enrol,
    Revoke,
    Confirm,
    Poll,
    Other,
}

/// A time in which a process may write and send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenure {
    pub(crate) process: usize,
    pub(crate) from: Timestamp,
    /// `None` = still.
    pub(crate) to: Option<Timestamp>,
}

/// An act of a process: a write to the store or a send to a CA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActNote {
    pub(crate) at: Timestamp,
    pub(crate) process: usize,
    pub(crate) what: &'static str,
}

/// Something that stands in the way of good work.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) whose: Whose,
    pub(crate) what: &'static str,
}

/// Whom trouble concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Everybody,
    Ca(usize),
    Subject(Subject),
}

/// A line of the story.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) subject: Option<Subject>,
    pub(crate) text: String,
}

/// Most lines that are kept.
const MOST_LINES: usize = 400_000;

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) records: BTreeMap<Subject, Vec<RecordNote>>,
    pub(crate) outputs: BTreeMap<ObjectKey, Vec<OutputNote>>,
    pub(crate) wishes: BTreeMap<Subject, Vec<WishNote>>,
    /// Whose transaction each is, as the records say.
    pub(crate) owners: HashMap<String, Subject>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) tenures: Vec<Tenure>,
    pub(crate) acts: Vec<ActNote>,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) restores: Vec<Timestamp>,
    pub(crate) kills: Vec<Timestamp>,
    /// When a clock was set.
    pub(crate) jumps: Vec<Timestamp>,
    pub(crate) story: Vec<Line>,
    pub(crate) writes: u64,
    known: BTreeMap<Subject, KnownCopies>,
    /// How often each decision was taken, by which rule.
    pub(crate) decided: BTreeMap<(&'static str, String), u64>,
}

impl History {
    pub(crate) fn tell(&mut self, at: Timestamp, subject: Option<Subject>, text: impl Into<String>) {
        if self.story.len() < MOST_LINES {
            self.story.push(Line {
                at,
                subject,
                text: text.into(),
            });
        }
    }

    pub(crate) fn record(&mut self, at: Timestamp, by: By, subject: &Subject, bytes: Option<&[u8]>) {
        let known = self.known.entry(subject.clone()).or_default();
        let state = match bytes.map(|bytes| known.read(bytes)) {
            None => RecordNow::Gone,
            Some(Some(facts)) => RecordNow::Is(Box::new(facts)),
            Some(None) => RecordNow::Unreadable,
        };
        if let Some(open) = state.facts().and_then(|facts| facts.open.as_ref()) {
            self.owners.insert(open.transaction.clone(), subject.clone());
        }
        self.tell(
            at,
            Some(subject.clone()),
            format!("record by {by:?}: {}", shown(&state)),
        );
        self.records
            .entry(subject.clone())
            .or_default()
            .push(RecordNote { at, by, state });
    }

    pub(crate) fn trouble(&mut self, from: Timestamp, to: Timestamp, whose: Whose, what: &'static str) {
        let subject = match &whose {
            Whose::Subject(subject) => Some(subject.clone()),
            Whose::Everybody | Whose::Ca(_) => None,
        };
        let where_ = match &whose {
            Whose::Ca(ca) => format!(" at CA {ca}"),
            Whose::Everybody | Whose::Subject(_) => String::new(),
        };
        self.tell(from, subject, format!("trouble: {what}{where_} until {to}"));
        self.troubles.push(Trouble {
            from,
            to,
            whose,
            what,
        });
    }

    /// The lease of `process` ends then.
    pub(crate) fn end_tenure(&mut self, process: usize, at: Timestamp) {
        let open = self
            .tenures
            .iter_mut()
            .rev()
            .find(|t| t.process == process && t.to.is_none_or(|to| to > at));
        if let Some(tenure) = open {
            tenure.to = Some(at);
        }
    }
}

fn shown(state: &RecordNow) -> String {
    let facts = match state {
        RecordNow::Gone => return "gone".to_owned(),
        RecordNow::Unreadable => return "cannot be read".to_owned(),
        RecordNow::Is(facts) => facts,
    };
    let mut text = String::new();
    if let Some(current) = &facts.current {
        let short = current.serial.get(..8).unwrap_or(&current.serial);
        text.push_str(&format!(
            "revision {} serial {short} until {}",
            current.revision, current.not_after
        ));
    }
    if let Some(previous) = &facts.previous {
        text.push_str(&format!(", previous revision {}", previous.revision));
    }
    if let Some(open) = &facts.open {
        let short = open.transaction.get(..8).unwrap_or(&open.transaction);
        text.push_str(&format!(
            ", open {short} {:?} since {}",
            open.phase, open.started_at
        ));
    }
    text.push_str(&format!(
        ", {} transactions, {} orphans, {} possible",
        facts.transactions, facts.orphans, facts.possible_orphans
    ));
    text
}
