//! What a person may do with objects, in one place: commands, REST and console all go through here.
//!
//! ```text
//!   occm status, renew, migrate ...  ┐                 ┌ dir:  the files of a directory, beside its manager
//!   REST and console                 ┴──> Objects ─────┴ kube: the API server, with the caller's own rights
//! ```
//!
//! Not the seam of reconciliation (that is [`crate::store`]): a person writes wishes and annotations and never a status, and
//! sees of Secrets the certificates in them and never a key. What is written is checked by the rules of the plan first,
//! then by whoever keeps the objects.
//!
//! **Versions.** Each object comes with a version, which is also its `metadata.resourceVersion`. A write that names one is
//! refused with [`ClientError::Conflict`] when the object has another by then. On a directory the version is a hash of what
//! people wrote (spec, labels, annotations); in Kubernetes it also changes with the status.

pub mod adopt;
pub mod check;
pub mod dir;
pub mod input;
#[cfg(feature = "kube")]
pub mod kube;
pub mod migrate;
#[cfg(feature = "api")]
pub mod remote;
pub mod secret;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::model::certificate::Certificate;
use crate::model::field::{FieldError, FieldErrors};
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::{Broken, Seen, Severity, StoreError};

pub use crate::client::input::InputValues;
pub use crate::client::secret::{KeySeen, SecretSeen};

/// Why something cannot be done. The text is for people and holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no such object (or namespace, or kind of object).
    #[error("{0} does not exist")]
    NotFound(String),
    /// An object of that name exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// The object is no longer in the expected version.
    #[error("{0} was changed in the meantime")]
    Conflict(String),
    /// The caller may not do that.
    #[error("no access to {0}: {1}")]
    Forbidden(String, String),
    /// Nobody knows who the caller is.
    #[error("the credentials were not accepted: {0}")]
    Unauthenticated(String),
    /// Fields are wrong.
    #[error("{0} is not valid: {1}")]
    Invalid(String, FieldErrors),
    /// The store did not answer; whether a write happened is not known.
    #[error("{0} cannot be reached: {1}")]
    Unavailable(String, String),
}

impl ClientError {
    /// One wrong field of `what`.
    pub fn field(
        what: impl Into<String>,
        path: impl Into<String>,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        let errors = FieldErrors(vec![FieldError::new(path, problem, allowed)]);
        Self::Invalid(what.into(), errors)
    }
}

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Conflict(what) => Self::Conflict(what),
            StoreError::Forbidden(what, why) => Self::Forbidden(what, why),
            StoreError::Terminating(what) => {
                Self::Forbidden(what, "its namespace is being deleted".to_owned())
            }
            StoreError::Refused(what, why) => Self::field(what, "object", why, "what the store accepts"),
            StoreError::Unavailable(what, why) | StoreError::Malformed(what, why) => {
                Self::Unavailable(what, why)
            }
            StoreError::LeaseLost => Self::Unavailable("store".to_owned(), error.to_string()),
        }
    }
}

/// Result of what a person does.
pub type ClientResult<T> = Result<T, ClientError>;

/// Whether a write happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// It does.
    #[default]
    Real,
    /// It is checked and answered as if, and nothing changes.
    Dry,
}

/// What must stand where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing; else [`ClientError::Exists`].
    Nothing,
    /// Something, in any version; else [`ClientError::NotFound`].
    Something,
    /// Something in this version; else [`ClientError::Conflict`].
    Version(String),
}

impl Expected {
    /// Whether that stands there.
    pub fn holds(&self, what: &str, version: Option<&str>) -> ClientResult<()> {
        match (self, version) {
            (Self::Nothing, Some(_)) => Err(ClientError::Exists(what.to_owned())),
            (Self::Something | Self::Version(_), None) => Err(ClientError::NotFound(what.to_owned())),
            (Self::Version(expected), Some(version)) if expected != version => {
                Err(ClientError::Conflict(what.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace. In Kubernetes this needs a right for the whole cluster.
    All,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// Whether a namespace is in it.
    pub fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(one) => one == namespace,
        }
    }
}

/// An Issuer or a Certificate as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Which kind.
    pub kind: Kind,
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its version; the same as `metadata.resourceVersion`.
    pub version: String,
    /// The object as `kubectl get -o json` gives it, without managed fields. Of a broken file: what could be read of it.
    pub value: Value,
    /// Why it cannot be used, where it cannot.
    pub broken: Option<Arc<Broken>>,
    /// Field manager that applies its `issuerRef` server-side, where one does.
    pub applier: Option<String>,
}

impl Item {
    /// The object as an Issuer; broken also if it is none.
    pub fn issuer(&self) -> Seen<Issuer> {
        self.typed()
    }

    /// The object as a Certificate; broken also if it is none.
    pub fn certificate(&self) -> Seen<Certificate> {
        self.typed()
    }

    fn typed<T: serde::de::DeserializeOwned>(&self) -> Seen<T> {
        if let Some(broken) = &self.broken {
            return Seen::Broken(Arc::clone(broken));
        }
        match check::typed::<T>(&self.value) {
            Ok(object) => Seen::Object(Arc::new(object)),
            Err(errors) => Seen::Broken(Arc::new(Broken {
                origin: format!("{} {}", self.kind, self.key),
                errors,
                generation: self.value.pointer("/metadata/generation").and_then(Value::as_i64),
            })),
        }
    }
}

/// Something that happened to an object, as people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSeen {
    /// When it last happened.
    pub time: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// Why, one word.
    pub reason: String,
    /// What, a sentence.
    pub message: String,
    /// How often.
    pub count: u64,
    /// Who says so.
    pub source: String,
}

/// The Events of an object, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// Events.
    pub items: Vec<EventSeen>,
    /// Time of the oldest Event that the source still has of any object, where it can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches_back_to: Option<Timestamp>,
    /// Where they come from: `Kubernetes` (which keeps them for an hour by default) or `Directory`.
    pub source: String,
}

/// An Event and the object that it happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// Kind of the object.
    pub kind: Kind,
    /// The object.
    pub key: ObjectKey,
    /// What happened.
    pub event: EventSeen,
}

/// What happened to all objects in a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HappenedList {
    /// Events, newest first.
    pub items: Vec<Happened>,
    /// Time of the oldest Event that the source still has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches_back_to: Option<Timestamp>,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// An object is so now.
    Now(Item),
    /// An object is gone.
    Gone(Kind, ObjectKey),
    /// Everything that existed when the watch began was told.
    Synced,
    /// The store cannot be asked at the moment; the watch goes on trying.
    Failed(ClientError),
}

/// What a stream of what happens tells.
#[derive(Clone, Debug)]
pub enum Happening {
    /// From here on everything is told; comes once.
    Began,
    /// It happened now.
    Now(Happened),
    /// Something may have happened that is not told.
    Missed,
}

/// What a person may do with objects. Whether they may is decided by whoever keeps the objects.
pub trait Objects: Send + Sync {
    /// All objects of a kind, sorted by namespace and name, broken ones too.
    fn list<'a>(&'a self, kind: Kind, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<Item>>>;

    /// One object.
    fn get<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<Item>>;

    /// Makes an object. Kind, namespace and name are taken from it.
    fn create<'a>(&'a self, object: &'a Value, run: Run) -> BoxFuture<'a, ClientResult<Item>>;

    /// Replaces spec, labels and annotations of an object in version `expected`.
    fn replace<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        object: &'a Value,
        expected: &'a str,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>>;

    /// Changes an object by a merge patch (RFC 7396), if it is in version `expected`.
    fn patch<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        patch: &'a Value,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>>;

    /// Deletes an object, if it is in version `expected`.
    fn delete<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<()>>;

    /// Sets annotations of an object, if it is in version `expected`; an empty value removes one.
    fn annotate<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>>;

    /// What happened to an object, newest first.
    fn events<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<EventList>>;

    /// What happened to all objects in a scope, newest first; at most a few thousand Events.
    fn happened<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<HappenedList>>;

    /// Tells what happens to objects in a scope from now on. Ends where the caller may not follow that, or where nothing is
    /// told live: a directory tells what the manager of this process does.
    fn happening(&self, scope: &Scope) -> BoxStream<'static, Happening> {
        let _ = scope;
        Box::pin(futures::stream::empty())
    }

    /// The Secrets of a namespace that hold a certificate or a private key, with the facts of the certificate. A private key
    /// is compared with the certificate beside it and dropped.
    fn secrets<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<SecretSeen>>>;

    /// The Secrets of others that could be taken over, and for each the Certificate that would do it; `issuer` is the Issuer that
    /// those name.
    fn candidates<'a>(
        &'a self,
        scope: &'a Scope,
        issuer: Option<&'a ObjectKey>,
    ) -> BoxFuture<'a, ClientResult<Vec<adopt::Candidate>>> {
        Box::pin(async move {
            let secrets = self.secrets(scope).await?;
            let mut certificates = self.list(Kind::Certificate, scope).await?;
            // Certificates elsewhere may name Secrets here; who may not see them learns it from the manager.
            if *scope != Scope::All
                && let Ok(all) = self.list(Kind::Certificate, &Scope::All).await
            {
                certificates = all;
            }
            Ok(adopt::candidates(
                &secrets,
                &certificates,
                issuer,
                Timestamp::now(),
            ))
        })
    }

    /// One Secret, whatever it holds.
    fn secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<SecretSeen>>;

    /// Writes values of a Secret or ConfigMap that Issuers read: makes it or changes these keys. Values are never given back,
    /// only the version, which on a directory holds while the process runs. A Secret that occm writes itself is refused.
    fn write_input<'a>(
        &'a self,
        input: &'a InputRef,
        values: &'a InputValues,
        expected: &'a Expected,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<String>>;

    /// Tells all objects of both kinds, and then each change.
    fn watch(&self, scope: &Scope) -> BoxStream<'static, Told>;

    /// What is wrong with the store and belongs to no object, for people: files that cannot be read. Kubernetes has none.
    fn problems(&self) -> BoxFuture<'_, ClientResult<Vec<String>>> {
        Box::pin(futures::future::ready(Ok(Vec::new())))
    }

    /// Where the objects are kept, for people: `directory /srv/occm`, `cluster https://...`.
    fn place(&self) -> String;
}
