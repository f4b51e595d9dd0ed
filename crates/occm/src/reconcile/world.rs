//! The world as one decision sees it: facts only, gathered before, no content of Secrets.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pki::{KeyAlgorithm, KeyUsage};

use crate::model::certificate::{OnDelete, OnDrift};
use crate::model::issuer::{EngineKind, UpdateSigner};
use crate::model::object::ObjectKey;
use crate::model::plan::{CertificatePlan, RenewRule};
use crate::model::reason::Reason;
use crate::reconcile::outputs::OutputView;
use crate::record::{Failure, Issued, Ledger, Open, OpenPurpose, Phase, Record, WrittenOutput};
use crate::store::{ContentHash, Subject, Version};

/// Everything that a decision about one Certificate or CMP identity depends on.
pub struct World<'a> {
    /// Our clock.
    pub now: Timestamp,
    /// Whose life this is.
    pub subject: &'a Subject,
    /// What is wished for.
    pub wish: Wish<'a>,
    /// Whether deletion was asked for, and what then.
    pub deletion: Option<OnDelete>,
    /// Whether our finalizer is on the object.
    pub finalizer: bool,
    /// Annotations of the object: requests.
    pub annotations: &'a BTreeMap<String, String>,
    /// The Issuer.
    pub issuer: IssuerView<'a>,
    /// The record.
    pub record: Option<&'a RecordFacts>,
    /// The outputs that the wish names.
    pub outputs: Vec<OutputView<'a>>,
    /// Revision in the object's status.
    pub reported_revision: Option<u64>,
    /// Difference of clocks that were compared lately.
    pub clock_offset: Option<SignedDuration>,
    /// Hash over wish, Issuer, inputs and requests: another one wakes a failure at once. Made only if there is a failure.
    pub attempt_hash: ContentHash,
    /// Whether another subject's open transaction names the previous key and chain of this one as its signer.
    pub previous_in_use: bool,
    /// Times of transactions that count though no record knows them.
    pub spent: &'a [Timestamp],
    /// The open transaction is left alone until then: its last message found no answer.
    pub pause: Option<(Reason, Timestamp)>,
}

/// What is wished for.
pub enum Wish<'a> {
    /// A checked wish.
    Plan(&'a CertificatePlan),
    /// The object is wrong; nothing but repair happens.
    Invalid(&'a str),
    /// The object is gone.
    Gone,
}

/// The Issuer, as the rules see it.
#[derive(Clone, Debug)]
pub enum IssuerView<'a> {
    /// It cannot be used, and why.
    Unusable {
        /// One word.
        reason: Reason,
        /// A sentence.
        message: &'a str,
    },
    /// It can be used.
    Ready(ReadyIssuer<'a>),
}

/// An Issuer that can be used.
#[derive(Clone, Debug)]
pub struct ReadyIssuer<'a> {
    /// Its name.
    pub key: &'a ObjectKey,
    /// Address that new transactions go to.
    pub endpoint: &'a str,
    /// Recipient that new transactions name.
    pub recipient: Option<&'a str>,
    /// Who speaks CMP.
    pub engine: EngineKind,
    /// What protects a key update.
    pub key_update_signer: UpdateSigner,
    /// How long the same bytes are sent again.
    pub resend_window: SignedDuration,
    /// When the circuit breaker lets the next try through, if it is open.
    pub closed_until: Option<Timestamp>,
    /// Hash over the initial credentials, for an identity.
    pub bootstrap: Option<ContentHash>,
}

/// What is remembered of a record.
#[derive(Clone, Debug)]
pub struct RecordFacts {
    /// Version in the store.
    pub version: Version,
    /// Whether this program may write it.
    pub state: RecordState,
    /// What is in use.
    pub current: Option<IssuedFacts>,
    /// What was in use before.
    pub previous: Option<Box<IssuedFacts>>,
    /// The transaction that is going on.
    pub open: Option<Box<OpenFacts>>,
    /// Budget, tokens, failures, orphans; certificates to revoke are counted only.
    pub ledger: Ledger,
    /// Certificates that are to be revoked.
    pub to_revoke: usize,
}

/// Whether a record can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// Read and understood.
    Usable,
    /// Of a later version: enough for a repair, nothing else.
    Later(u32),
    /// It cannot be read.
    Unreadable(String),
}

/// What is remembered of an issued certificate.
#[derive(Clone, Debug)]
pub struct IssuedFacts {
    /// Revision.
    pub revision: u64,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: ContentHash,
    /// Subject.
    pub subject: String,
    /// Start of life.
    pub not_before: Timestamp,
    /// End of life.
    pub not_after: Timestamp,
    /// Whether the record holds a key that fits the certificate.
    pub key_fits: bool,
    /// Whether the certificate may sign a key update.
    pub may_sign: bool,
    /// Algorithm of the key, where it is one of ours.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Subject alternative names in a fixed order.
    pub sans: Vec<String>,
    /// The Issuer.
    pub issuer: ObjectKey,
    /// Version and hash of the wish as issued.
    pub wish: Option<(u32, ContentHash)>,
    /// Outputs as written.
    pub outputs: Vec<WrittenOutput>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Why.
    pub why: Reason,
}

/// What is remembered of an open transaction.
#[derive(Clone, Debug)]
pub struct OpenFacts {
    /// How far it is.
    pub phase: Phase,
    /// What it is for.
    pub purpose: OpenPurpose,
    /// When it was begun.
    pub started_at: Timestamp,
    /// Not before this time is the CA asked again.
    pub not_before: Option<Timestamp>,
    /// The Issuer.
    pub issuer: ObjectKey,
    /// Address that it is pinned to.
    pub endpoint: String,
    /// Recipient that it is pinned to.
    pub recipient: Option<String>,
    /// Fingerprint of its signer.
    pub signer: Option<String>,
    /// The process that holds it.
    pub holder: String,
    /// Hash of the wish that it serves.
    pub wish: Option<ContentHash>,
}

impl RecordFacts {
    /// The facts of a record's bytes.
    pub fn read(bytes: &[u8], version: Version) -> Self {
        match Record::from_bytes(bytes) {
            Ok(record) => Self::of(&record, version),
            Err(crate::record::RecordError::Version(later)) => {
                let current = Record::minimal_from_bytes(bytes).map(|issued| IssuedFacts::of(&issued));
                Self {
                    current,
                    ..Self::empty(version, RecordState::Later(later))
                }
            }
            Err(error) => Self::empty(version, RecordState::Unreadable(error.to_string())),
        }
    }

    /// What is in use, and what was before.
    pub fn copies(&self) -> impl Iterator<Item = &IssuedFacts> {
        self.current.iter().chain(self.previous.as_deref())
    }

    /// The end of the certificate in use.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|current| current.not_after)
    }

    /// The facts of a record.
    pub fn of(record: &Record, version: Version) -> Self {
        let mut ledger = record.ledger.clone();
        let to_revoke = std::mem::take(&mut ledger.to_revoke).len();
        Self {
            version,
            state: RecordState::Usable,
            current: record.current.as_ref().map(IssuedFacts::of),
            previous: record.previous.as_ref().map(IssuedFacts::of).map(Box::new),
            open: record.open.as_ref().map(OpenFacts::of).map(Box::new),
            ledger,
            to_revoke,
        }
    }

    fn empty(version: Version, state: RecordState) -> Self {
        let ledger = Ledger::default();
        Self {
            version,
            state,
            current: None,
            previous: None,
            open: None,
            ledger,
            to_revoke: 0,
        }
    }

    /// The failure that stands.
    pub fn failure(&self) -> Option<&Failure> {
        self.ledger.failure.as_deref()
    }
}

impl IssuedFacts {
    fn of(issued: &Issued) -> Self {
        let certificate = &issued.certificate;
        let key_fits = issued
            .key
            .as_ref()
            .and_then(|stored| stored.key().ok())
            .is_some_and(|key| certificate.matches_key(&key));
        let mut sans: Vec<String> = certificate.sans().iter().map(ToString::to_string).collect();
        sans.sort();
        Self {
            revision: issued.revision,
            serial: certificate.serial(),
            fingerprint: ContentHash::of(certificate.der()),
            subject: certificate.subject().to_rfc4514(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            key_fits,
            may_sign: certificate.permits(KeyUsage::DigitalSignature),
            key_algorithm: certificate.public_key().algorithm(),
            sans,
            issuer: issued.issuer.clone(),
            wish: issued.wish.as_ref().map(|wish| (wish.version, wish.hash())),
            outputs: issued.outputs.iter().map(WrittenOutput::without_bytes).collect(),
            issued_at: issued.issued_at,
            why: issued.why,
        }
    }

    /// Length of its life.
    pub fn life(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }

    /// Whether it is past its end.
    pub fn expired(&self, now: Timestamp) -> bool {
        now >= self.not_after
    }
}

impl OpenFacts {
    fn of(open: &Open) -> Self {
        Self {
            phase: open.phase,
            purpose: open.purpose,
            started_at: open.started_at,
            not_before: open.not_before,
            issuer: open.issuer.clone(),
            endpoint: open.endpoint.clone(),
            recipient: open.recipient.clone(),
            signer: open.signer.clone(),
            holder: open.holder.clone(),
            wish: open
                .wish
                .as_ref()
                .map(crate::model::plan::certificate::NormalWish::hash),
        }
    }
}

impl<'a> World<'a> {
    /// The checked wish, if there is one.
    pub fn plan(&self) -> Option<&'a CertificatePlan> {
        match self.wish {
            Wish::Plan(plan) => Some(plan),
            Wish::Invalid(_) | Wish::Gone => None,
        }
    }

    /// The Issuer, if it can be used.
    pub fn ready_issuer(&self) -> Option<&ReadyIssuer<'a>> {
        match &self.issuer {
            IssuerView::Ready(issuer) => Some(issuer),
            IssuerView::Unusable { .. } => None,
        }
    }

    /// What outputs shall carry now: the current certificate, or the previous one while the CA's word on the current
    /// one is still out.
    pub fn good(&self) -> Option<&'a IssuedFacts> {
        let record = self.record?;
        good_copy(record, self.confirmed())
    }

    /// Whether the CA is known to have taken our confirmation of the current certificate: an output or the status
    /// carries its revision, or no confirmation is open.
    pub fn confirmed(&self) -> bool {
        self.record
            .is_none_or(|record| is_confirmed(record, self.reported_revision, &self.output_revisions()))
    }

    fn output_revisions(&self) -> Vec<u64> {
        self.outputs
            .iter()
            .filter_map(|output| output.carried_revision())
            .collect()
    }

    /// The revision of the next certificate: above all that were ever told. A record that somebody put back knows of fewer
    /// than status and outputs do, and one of theirs given again would pass for confirmed.
    pub fn next_revision(&self) -> u64 {
        let recorded = self.record.map_or(0, |record| {
            let current = record.current.as_ref().map_or(0, |current| current.revision);
            record.ledger.revision.max(current)
        });
        let carried = self.output_revisions().into_iter().max().unwrap_or(0);
        let told = carried.max(self.reported_revision.unwrap_or(0));
        // What others can write must not use up the numbers.
        let told = if told > u64::from(u32::MAX) { 0 } else { told };
        recorded.max(told).saturating_add(1)
    }

    /// What the drift policy says.
    pub fn on_drift(&self) -> OnDrift {
        self.plan().map_or(OnDrift::Restore, |plan| plan.on_drift)
    }
}

/// Whether the confirmation of the current certificate is known to have been taken.
pub fn is_confirmed(record: &RecordFacts, reported: Option<u64>, carried: &[u64]) -> bool {
    let Some(current) = &record.current else {
        return true;
    };
    let waiting = record
        .open
        .as_ref()
        .is_some_and(|open| open.phase == Phase::Issued);
    !waiting
        || reported.is_some_and(|r| r >= current.revision)
        || carried.iter().any(|r| *r >= current.revision)
}

/// What outputs shall carry.
pub fn good_copy(record: &RecordFacts, confirmed: bool) -> Option<&IssuedFacts> {
    let newest = if confirmed {
        record.current.as_ref()
    } else {
        record.previous.as_deref()
    };
    newest.filter(|issued| issued.key_fits)
}

/// When a certificate is due: by the rule, at the latest at two thirds of its actual life, and a little later by a
/// jitter that depends on the subject and the revision alone, so that it does not move.
pub fn renewal_time(subject: &Subject, issued: &IssuedFacts, rule: RenewRule) -> Timestamp {
    let life = issued.life();
    let latest = match subject {
        Subject::Identity(_) => life / 2,
        Subject::Certificate(_) => life / 3 * 2,
    };
    let wanted = match rule {
        RenewRule::Default => latest,
        RenewRule::Before(before) => life - SignedDuration::try_from(before).unwrap_or(SignedDuration::ZERO),
        RenewRule::Percentage(percent) => life / 100 * (100 - i32::try_from(percent).unwrap_or(33)),
    };
    let age = if wanted > SignedDuration::ZERO {
        wanted.min(latest)
    } else {
        latest
    };
    let spread = (life - age) / 10;
    let jitter = spread
        .as_millis()
        .saturating_mul(i128::from(jitter_of(subject, issued.revision)))
        / 1000;
    let jitter = SignedDuration::from_millis(i64::try_from(jitter).unwrap_or(0));
    whole_seconds(issued.not_before + age + jitter)
}

/// Without its fraction of a second: nobody reads that in a status.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A number from 0 to 999 that depends on the subject and the revision alone.
fn jitter_of(subject: &Subject, revision: u64) -> u16 {
    let hash = ContentHash::of(format!("{subject:?}/{revision}").as_bytes());
    let [a, b, ..] = hash.0;
    u16::from_be_bytes([a, b]) % 1000
}

/// Whether `renewBefore` is longer than the certificate lives.
pub fn lives_too_short(issued: &IssuedFacts, rule: RenewRule) -> bool {
    match rule {
        RenewRule::Before(before) => {
            SignedDuration::try_from(before).is_ok_and(|before| before >= issued.life())
        }
        RenewRule::Default | RenewRule::Percentage(_) => false,
    }
}

/// Whether a failure still holds back attempts. One from the future, of a wrong clock, holds nothing back.
pub fn holds_back(failure: &Failure, attempt: ContentHash, now: Timestamp) -> bool {
    let longest = now + crate::reconcile::schedule::LONGEST_WAIT;
    failure.with == attempt && failure.next > now && failure.next <= longest
}
