//! Where wishes, outputs and records are kept: the seam between the rules and the world.
//!
//! Three stores implement it: Kubernetes, a directory, and one in memory for the simulation and tests. All pass the
//! same suite. A store knows nothing of CMP, of records' contents or of why something is written.
//!
//! ```text
//!   watch() ──> Change, Change, ... Synced, Change ...      what is so; bytes of Secrets are hashed and dropped
//!   read_*  ──> bytes, when somebody needs them             a repair, an exchange, an input
//!   create / update / delete (expected version) ──> Written compare-and-swap, never blind
//! ```
//!
//! **Versions.** A store gives every state of an object a [`Version`] that grows with each change of that object. A
//! write names the version that it expects and fails with [`StoreError::Conflict`] if the world has moved on.

pub mod dir;
#[cfg(feature = "kube")]
pub mod kube;
pub mod memory;
mod ownership;
#[cfg(test)]
pub(crate) mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::field::FieldErrors;
use crate::model::issuer::{Issuer, IssuerStatus};
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::model::reason::Reason;

/// Largest value under one key of a Secret, a ConfigMap or a record that is read, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// State of an object as the store counts it; grows with each change of that object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u64);

/// SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(pki::digest::sha256(bytes))
    }

    /// Hexadecimal form.
    pub fn to_hex(self) -> String {
        pki::digest::hex(&self.0)
    }

    /// Reads the hexadecimal form.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|i| {
                text.get(i..i + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        bytes?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
    }
}

/// Whose record: that of a Certificate, or that of the CMP identity of an Issuer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The CMP identity of the Issuer of this name. First in order, so it is first in every queue.
    Identity(ObjectKey),
    /// The Certificate of this name.
    Certificate(ObjectKey),
}

impl Subject {
    /// Namespace and name of the Issuer or Certificate.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Identity(key) | Self::Certificate(key) => key,
        }
    }

    /// The kind of object that the subject is reported on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Identity(_) => Kind::Issuer,
            Self::Certificate(_) => Kind::Certificate,
        }
    }

    /// Name of the Secret that keeps the record: at most 253 characters, hashed where the object's name is too long.
    pub fn record_name(&self) -> String {
        let (prefix, name) = match self {
            Self::Identity(key) => ("occm-identity-", &key.name),
            Self::Certificate(key) => ("occm-record-", &key.name),
        };
        if prefix.len() + name.len() <= 253 {
            return format!("{prefix}{name}");
        }
        let hash = ContentHash::of(name.as_bytes()).to_hex();
        let start: String = name.chars().take(150).collect();
        format!(
            "{prefix}{}-{}",
            start.trim_end_matches(['-', '.']),
            hash.get(..32).unwrap_or_default()
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(key) => write!(f, "identity of {key}"),
            Self::Certificate(key) => write!(f, "{key}"),
        }
    }
}

/// Something that a watch saw. After the first [`Change::Synced`] the reader knows everything there is.
#[derive(Clone, Debug)]
pub enum Change {
    /// An Issuer is so now; `None` = it is gone.
    Issuer(ObjectKey, Option<Seen<Issuer>>),
    /// A Certificate is so now; `None` = it is gone.
    Certificate(ObjectKey, Option<Seen<Certificate>>),
    /// A Secret with our label, or one that outputs are planned for, is so now; `None` = it is gone.
    Secret(ObjectKey, Option<Arc<SecretFacts>>),
    /// An input is so now; `None` = it is gone.
    Input(InputRef, Option<InputFacts>),
    /// A record is so now; `None` = it is gone.
    Record(Subject, Option<RecordSeen>),
    /// Everything that existed when the watch began has been told.
    Synced,
}

/// An object as it was read: usable, or broken in a way that stops only itself.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    /// It could be read.
    Object(Arc<T>),
    /// It could not be read: where it lies and which fields are wrong.
    Broken(Arc<Broken>),
}

/// An object that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// File or object path.
    pub origin: String,
    /// What is wrong.
    pub errors: FieldErrors,
    /// Generation, where the store counts them.
    pub generation: Option<i64>,
}

/// What is remembered of a Secret: everything that drift is told by, and no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFacts {
    /// Version of this state.
    pub version: Version,
    /// Identity of the object.
    pub uid: SmolStr,
    /// Type.
    pub kind: SmolStr,
    /// Whether it is marked immutable.
    pub immutable: bool,
    /// Hash of each value. One copy of what the record says, too, where it says the same.
    pub data: Arc<Hashes>,
    /// Labels.
    pub labels: Texts,
    /// Annotations.
    pub annotations: Texts,
    /// The controller that owns it, if any: `Kind/name`.
    pub controller: Option<String>,
    /// Who last wrote, where the store tells and it was not us.
    pub last_writer: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// Hashes of values by their keys, as they are remembered: compact, since there are many.
pub type Hashes = LiteMap<SmolStr, ContentHash>;

/// Labels or annotations as they are remembered.
pub type Texts = LiteMap<SmolStr, SmolStr>;

/// What is remembered of labels or annotations.
pub fn texts(read: &BTreeMap<String, String>) -> Texts {
    let small = |(key, value): (&String, &String)| (SmolStr::from(key), SmolStr::from(value));
    tight(read.iter().map(small).collect())
}

/// The same in no more room than it needs.
pub fn tight<V>(map: LiteMap<SmolStr, V>) -> LiteMap<SmolStr, V> {
    let mut pairs = map.into_tuple_vec();
    pairs.shrink_to_fit();
    LiteMap::from_sorted_store_unchecked(pairs)
}

/// What is remembered of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputFacts {
    /// Hash over all its keys and values.
    pub hash: ContentHash,
}

impl InputFacts {
    /// Facts of an input with these keys and hashes of values, in the order of the keys.
    pub fn of<'a>(data: impl IntoIterator<Item = (&'a str, ContentHash)>) -> Self {
        let mut all = Vec::new();
        for (key, hash) in data {
            all.extend_from_slice(key.as_bytes());
            all.push(0);
            all.extend_from_slice(&hash.0);
        }
        Self {
            hash: ContentHash::of(&all),
        }
    }
}

/// A record as the watch saw it. The bytes are parsed at once and dropped; they hold private keys.
#[derive(Clone)]
pub struct RecordSeen {
    /// Version of this state.
    pub version: Version,
    /// The record's bytes.
    pub bytes: Arc<pki::Secret>,
}

impl fmt::Debug for RecordSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordSeen")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A Secret or ConfigMap with its content.
#[derive(Debug)]
pub struct Content {
    /// Facts as the watch would tell them.
    pub facts: SecretFacts,
    /// Values by key.
    pub data: BTreeMap<String, pki::Secret>,
}

/// An output as it is to be written: our keys only.
#[derive(Clone, Debug)]
pub struct SecretWrite {
    /// The Secret.
    pub key: ObjectKey,
    /// The Certificate that writes it; each has a field manager of its own.
    pub writer: ObjectKey,
    /// Type; cannot be changed by an update.
    pub kind: String,
    /// Values of our keys. Empty for an adoption, which adds labels and annotations only.
    pub data: BTreeMap<String, pki::Secret>,
    /// Labels, ours and the template's.
    pub labels: BTreeMap<String, String>,
    /// Annotations, ours and the template's.
    pub annotations: BTreeMap<String, String>,
}

impl SecretWrite {
    /// Refuses more than [`MAX_VALUE_BYTES`] of values together, which no store would take.
    pub fn check_size(&self) -> StoreResult<()> {
        let bytes: usize = self.data.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes <= MAX_VALUE_BYTES {
            return Ok(());
        }
        Err(StoreError::Refused(
            self.key.to_string(),
            format!("{bytes} bytes; allowed: {MAX_VALUE_BYTES}"),
        ))
    }
}

/// What a writer gives up of a Secret that others write to as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRelease {
    /// The Secret.
    pub key: ObjectKey,
    /// The Certificate that gives up.
    pub writer: ObjectKey,
    /// Keys of the data that go away.
    pub data: BTreeSet<String>,
    /// Labels that go away.
    pub labels: BTreeSet<String>,
    /// Annotations that go away.
    pub annotations: BTreeSet<String>,
}

/// An Event: something that happened to an object, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Kind of the object.
    pub kind: Kind,
    /// The object.
    pub object: ObjectKey,
    /// Its uid, where known.
    pub uid: Option<String>,
    /// Whether it is a warning.
    pub severity: Severity,
    /// Why, one word.
    pub reason: Reason,
    /// What, a sentence.
    pub message: String,
    /// When.
    pub time: Timestamp,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Of an Issuer.
    Issuer(Box<IssuerStatus>),
    /// Of a Certificate.
    Certificate(Box<CertificateStatus>),
}

/// Why a store call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The object exists already, or is no longer in the expected state.
    #[error("{0} was changed in the meantime")]
    Conflict(String),
    /// We may not do that.
    #[error("no access to {0}: {1}")]
    Forbidden(String, String),
    /// The namespace is going away.
    #[error("namespace of {0} is being deleted")]
    Terminating(String),
    /// The store refuses the content.
    #[error("{0} was refused: {1}")]
    Refused(String, String),
    /// The store did not answer, or not in time; whether the write happened is not known.
    #[error("store is not available for {0}: {1}")]
    Unavailable(String, String),
    /// What is stored cannot be read.
    #[error("{0} cannot be read: {1}")]
    Malformed(String, String),
    /// This process no longer holds the lease.
    #[error("lease is lost")]
    LeaseLost,
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// Where wishes, outputs and records are kept.
///
/// Every future may be dropped at any point; a write that was cut off so may have happened or not.
pub trait Store: Send + Sync + 'static {
    /// Everything that is so, then every change. The stream ends only when the store is closed.
    fn watch(&self) -> BoxStream<'static, Change>;

    /// Says which Secrets and ConfigMaps the wishes read, and which foreign Secrets stand where outputs shall go; their
    /// changes are told by the watch.
    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>);

    /// Which of the attended inputs have no watch of their own and are read again and again, each with how often. Default: none.
    fn polled(&self) -> BTreeMap<InputRef, std::time::Duration> {
        BTreeMap::new()
    }

    /// Reads a Secret with its content; `None` = it does not exist.
    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>>;

    /// Reads an input with its content; `None` = it does not exist.
    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>>;

    /// Creates an output; [`StoreError::Conflict`] if a Secret of that name exists.
    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>>;

    /// Changes our keys, labels and annotations of an output that is in state `expected`; the rest stays.
    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>>;

    /// Takes out of a Secret in state `expected` what a writer gives up; all the rest stays.
    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>>;

    /// Deletes a Secret that has this uid and is in state `expected`. Already gone is no error.
    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>>;

    /// Reads a record; `None` = there is none.
    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>>;

    /// Writes a record: creates it when `expected` is `None`, else replaces the state `expected`.
    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>>;

    /// Deletes a record in state `expected`. Already gone is no error.
    fn delete_record<'a>(&'a self, subject: &'a Subject, expected: Version)
    -> BoxFuture<'a, StoreResult<()>>;

    /// Writes the status of an object. Gone is no error.
    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>>;

    /// Adds or removes our finalizer on a Certificate. Gone is no error.
    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>>;

    /// Sets annotations of an object; an empty value removes one.
    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>>;

    /// Reports an Event. Events are for people: a lost one is no error.
    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()>;

    /// Difference between the store's clock and ours, where the store has a clock of its own; positive = the store is ahead.
    fn clock_offset(&self) -> Option<jiff::SignedDuration>;
}

/// Whether something shall be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It shall.
    Present,
    /// It shall not.
    Absent,
}
