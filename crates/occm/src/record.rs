//! The record: one per Certificate and per CMP identity, kept for its whole life.
//!
//! It is what lets occm go on after a kill, put the same bytes back with the CA down, and never issue twice.
//!
//! ```text
//!   current    the key, the chain and the outputs as written        repair reads this
//!   previous   the same of the last revision                        until every output shows the new one
//!   open       the transaction, in addition to current              never overwrites current before the chain is complete
//!   ledger     budget, served tokens, failures, orphans             status only mirrors it
//! ```
//!
//! **It carries no authority.** Tenants can write it: it is parsed as untrusted input with bounds, and nothing (no
//! namespace, address, anchor or list of outputs) is obeyed because it stands here. A Secret is ours when the record
//! lists it *and* the wish still names it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64ct::{Base64, Encoding};
use cmp::Transaction;
use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, PrivateKey, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;
use zeroize::Zeroizing;

use crate::model::object::ObjectKey;
use crate::model::plan::certificate::{Layout, NormalWish};
use crate::model::reason::Reason;
use crate::store::{ContentHash, Hashes};

/// Format version that this program writes.
pub const VERSION: u32 = 1;
/// Largest record that is read, in bytes.
pub const MAX_BYTES: usize = 512 * 1024;
/// Most outputs, served tokens and stamps that a record may list.
const MAX_ENTRIES: usize = 4096;
/// Most certificates in a chain.
const MAX_CHAIN: usize = 16;

/// A private key at rest in a record, as PKCS#8. Never printed, wiped on drop.
#[derive(Clone, Debug)]
pub struct StoredKey {
    bytes: StoredBytes,
    /// The key, once it was asked for: it is read and checked once for all copies of the record.
    key: Arc<OnceLock<PrivateKey>>,
}

impl StoredKey {
    /// Takes a copy of a key.
    pub fn of(key: &PrivateKey) -> Result<Self, pki::Error> {
        Ok(Self {
            bytes: StoredBytes(Arc::new(key.to_pkcs8_der()?)),
            key: Arc::new(OnceLock::from(key.clone())),
        })
    }

    /// The key, ready for use.
    pub fn key(&self) -> Result<PrivateKey, pki::Error> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        let key = PrivateKey::from_bytes(self.bytes.expose())?;
        Ok(self.key.get_or_init(|| key).clone())
    }
}

impl Serialize for StoredKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = StoredBytes::deserialize(deserializer)?;
        Ok(Self {
            bytes,
            key: Arc::default(),
        })
    }
}

/// A record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Format version.
    pub version: u32,
    /// What is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Issued>,
    /// What was in use before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Issued>,
    /// The transaction that is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// What must not be forgotten.
    #[serde(default)]
    pub ledger: Ledger,
}

/// A key, its certificate and where they went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// Counts the certificates of this wish, from 1.
    pub revision: u64,
    /// The key; absent with `keepCopy: false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<StoredKey>,
    /// The certificate.
    pub certificate: Certificate,
    /// Its intermediate CA certificates, issuer of the certificate first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Certificate>,
    /// The root that it was verified to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Certificate>,
    /// The Issuer that it came from, by name only.
    pub issuer: ObjectKey,
    /// The wish as issued; absent for an adopted Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<NormalWish>,
    /// The outputs as written.
    #[serde(default)]
    pub outputs: Vec<WrittenOutput>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Why.
    pub why: Reason,
}

/// An output as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenOutput {
    /// The Secret.
    pub secret: ObjectKey,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: SmolStr,
    /// What went under which key: a changed layout is not drift, and a repair needs no more than this.
    pub keys: Arc<Layout>,
    /// Hash of each of our values.
    pub data: Arc<Hashes>,
    /// Whether the Secret is known to be ours: we wrote it and saw it. Until then a Secret of that name without our mark is
    /// somebody else's.
    #[serde(default)]
    pub proven: bool,
    /// The values themselves, for an adopted Secret: our own form of them might differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bytes: BTreeMap<String, StoredBytes>,
}

impl WrittenOutput {
    /// The facts without the values.
    pub fn without_bytes(&self) -> Self {
        Self {
            secret: self.secret.clone(),
            kind: self.kind.clone(),
            keys: self.keys.clone(),
            data: self.data.clone(),
            proven: self.proven,
            bytes: BTreeMap::new(),
        }
    }
}

/// Bytes at rest in a record, base64 in its JSON. May hold a key: never printed, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBytes(Arc<Zeroizing<Vec<u8>>>);

impl StoredBytes {
    /// Takes a copy of a value.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.to_vec())))
    }

    /// The value.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for StoredBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredBytes(..)")
    }
}

impl Serialize for StoredBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(Base64::encode_string(&self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for StoredBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = Base64::decode_vec(&text).map_err(|_| serde::de::Error::custom("not base64"))?;
        Ok(Self(Arc::new(Zeroizing::new(bytes))))
    }
}

/// A transaction that is going on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// How far it is.
    pub phase: Phase,
    /// The transaction: id, nonces, the exact bytes last sent.
    pub transaction: Transaction,
    /// What it is for.
    pub purpose: OpenPurpose,
    /// The new key, for an enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<StoredKey>,
    /// The wish that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<NormalWish>,
    /// Why it was begun.
    pub why: Reason,
    /// When it was begun; requests are sent again only within a window after this.
    pub started_at: Timestamp,
    /// Not before this time is the CA asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Until when the CA waits for the confirmation, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Timestamp>,
    /// The Issuer.
    pub issuer: ObjectKey,
    /// Address that the transaction is pinned to.
    pub endpoint: String,
    /// Recipient that the transaction is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Fingerprint of the certificate that protects it; absent with a MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The process that holds it.
    pub holder: String,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenPurpose {
    /// A certificate for the wish.
    Enrol,
    /// Revocation of a certificate.
    Revoke,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Recorded; the first byte may have left.
    Sent,
    /// The external command was started; it cannot be resumed.
    Started,
    /// The CA wants time; it is asked again.
    Polling,
    /// The certificate is here and is `current`; the CA may not know yet that we have it.
    Issued,
}

/// What must not be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ledger {
    /// Request tokens that were served, by annotation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub served: BTreeMap<String, String>,
    /// Times of the transactions of the last day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transactions: Vec<Timestamp>,
    /// Requests that may have reached the CA and whose answer is lost, all time.
    pub possible_orphans: u64,
    /// Certificates that were issued and could not be used, all time.
    pub orphans: u64,
    /// Certificates that are still to be revoked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_revoke: Vec<ToRevoke>,
    /// When the next request for revocation is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_revocation: Option<Timestamp>,
    /// The failure that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Failure>>,
    /// Highest revision ever given.
    pub revision: u64,
    /// Hash of the initial credentials that an identity was last enrolled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<ContentHash>,
}

/// A certificate that is still to be revoked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToRevoke {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key, for a request that it protects itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<StoredKey>,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Whether a newer certificate replaced it.
    #[serde(default)]
    pub superseded: bool,
}

impl PartialEq for ToRevoke {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.attempts == other.attempts
    }
}

/// A failure that stands until the next success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Class.
    pub class: FailureClass,
    /// Reason.
    pub reason: Reason,
    /// What happened, bounded and without secrets.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Attempts since the last success.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next: Timestamp,
    /// Hash over wish and inputs that it failed with: another one wakes it at once.
    pub with: ContentHash,
    /// Whether a renewal was refused so that the next attempt is a fresh enrolment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enrol_afresh: bool,
}

/// Class of a failure; decides the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// Transport, 5xx, systemUnavail.
    Retry,
    /// The CA's decision.
    Rejected,
    /// A check failed.
    Untrusted,
    /// The settings cannot work.
    Misconfigured,
}

impl FailureClass {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Rejected => "Rejected",
            Self::Untrusted => "Untrusted",
            Self::Misconfigured => "Misconfigured",
        }
    }
}

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not a record.
    #[error("record cannot be read: {0}")]
    Malformed(String),
    /// It is larger than any record.
    #[error("record has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// A later program wrote it.
    #[error("record is of version {0}, this program knows {VERSION}")]
    Version(u32),
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: VERSION,
            current: None,
            previous: None,
            open: None,
            ledger: Ledger::default(),
        }
    }
}

impl Record {
    /// Reads a record, as untrusted input.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let record: Self = match serde_json::from_slice(bytes) {
            Ok(record) => record,
            Err(error) => return Err(Self::unreadable(bytes, &error)),
        };
        if record.version > VERSION {
            return Err(RecordError::Version(record.version));
        }
        record.check_bounds()?;
        Ok(record)
    }

    /// What a later program's record must still have: the frozen part that a repair needs.
    pub fn minimal_from_bytes(bytes: &[u8]) -> Option<Issued> {
        #[derive(Deserialize)]
        struct Minimal {
            current: Option<Issued>,
        }
        if bytes.len() > MAX_BYTES {
            return None;
        }
        serde_json::from_slice::<Minimal>(bytes).ok()?.current
    }

    fn unreadable(bytes: &[u8], error: &serde_json::Error) -> RecordError {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_slice::<Versioned>(bytes) {
            Ok(Versioned { version }) if version > VERSION => RecordError::Version(version),
            // serde_json repeats values of the wrong kind in its message; the position is enough.
            _ => RecordError::Malformed(format!("line {} column {}", error.line(), error.column())),
        }
    }

    fn check_bounds(&self) -> Result<(), RecordError> {
        let too_many = |what: &str| Err(RecordError::Malformed(format!("too many {what}")));
        if self.ledger.transactions.len() > MAX_ENTRIES || self.ledger.to_revoke.len() > MAX_ENTRIES {
            return too_many("entries in the ledger");
        }
        for issued in self.current.iter().chain(&self.previous) {
            if issued.chain.len() > MAX_CHAIN {
                return too_many("certificates in a chain");
            }
            if issued.outputs.len() > MAX_ENTRIES {
                return too_many("outputs");
            }
        }
        Ok(())
    }

    /// The bytes to store; wiped on drop, since they hold private keys.
    pub fn to_bytes(&self) -> Secret {
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
        // Serialisation of our own types to memory does not fail.
        let _ = serde_json::to_writer(&mut *bytes, self);
        Secret::new(std::mem::take(&mut *bytes))
    }
}

impl Ledger {
    /// Forgets what is older than a day or lies in the future.
    pub fn prune(&mut self, now: Timestamp) {
        self.transactions = in_last_day(&self.transactions, now).collect();
    }

    /// Transactions within the last day; stamps from the future are ignored.
    pub fn transactions_in_last_day(&self, now: Timestamp) -> usize {
        in_last_day(&self.transactions, now).count()
    }
}

/// How long a transaction counts: a day from its last byte on. Its stamp is older than that by up to the longest time in
/// which a request is sent again (`resendWindow`), and by what the last try takes.
pub const LAST_DAY: SignedDuration = SignedDuration::from_mins(24 * 60 + 31);

/// Those of some times that still count; what lies in the future does not.
pub fn in_last_day(times: &[Timestamp], now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let day_ago = now - LAST_DAY;
    times
        .iter()
        .copied()
        .filter(move |at| *at > day_ago && *at <= now)
}
