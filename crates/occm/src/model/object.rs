//! What every object has: a name, a namespace, and what the store knows about it.
//!
//! The shape is that of Kubernetes object metadata, cut down to what occm reads, so that one file serves as an
//! input of the directory store and of `kubectl apply`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// API group of occm's resources.
pub const GROUP: &str = "occm.dev";
/// API version of occm's resources, as written in `apiVersion`.
pub const API_VERSION: &str = "occm.dev/v1alpha1";
/// Namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Annotation that asks for a renewal: any value that was not served yet.
pub const RENEW_ANNOTATION: &str = "occm.dev/renew";
/// Annotation that asks for a fresh enrolment with a new key: any value that was not served yet.
pub const RECREATE_ANNOTATION: &str = "occm.dev/recreate";
/// Annotation that asks for revocation of the current certificate: any value that was not served yet.
pub const REVOKE_ANNOTATION: &str = "occm.dev/revoke";
/// Annotation that lets one request go over the issuance budget: any value that was not served yet.
pub const OVER_BUDGET_ANNOTATION: &str = "occm.dev/over-budget";
/// Annotation on an output: the revision of the record that it was written from.
pub const REVISION_ANNOTATION: &str = "occm.dev/revision";
/// Annotation on an output: `namespace/name` of the Certificate that writes it.
pub const OWNER_ANNOTATION: &str = "occm.dev/certificate";
/// Label on every Secret that occm writes; its value says what the Secret is.
pub const ROLE_LABEL: &str = "occm.dev/role";
/// Value of [`ROLE_LABEL`] on an output.
pub const ROLE_OUTPUT: &str = "output";
/// Value of [`ROLE_LABEL`] on a record.
pub const ROLE_RECORD: &str = "record";
/// Finalizer of a Certificate whose deletion needs work.
pub const FINALIZER: &str = "occm.dev/certificate";

/// Namespace and name of an object: a pointer, since a manager of ten thousand Certificates has many copies of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Location", into = "Location")]
pub struct ObjectKey(Arc<Location>);

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Namespace, never empty.
    pub namespace: SmolStr,
    /// Name within the namespace.
    pub name: SmolStr,
}

impl ObjectKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Self {
        Self::from(Location {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

impl Deref for ObjectKey {
    type Target = Location;

    fn deref(&self) -> &Location {
        &self.0
    }
}

impl From<Location> for ObjectKey {
    fn from(location: Location) -> Self {
        Self(Arc::new(location))
    }
}

impl From<ObjectKey> for Location {
    fn from(key: ObjectKey) -> Self {
        Arc::unwrap_or_clone(key.0)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The kinds that people write and occm reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// One CMP endpoint of one CA.
    Issuer,
    /// A wish for a certificate.
    Certificate,
}

impl Kind {
    /// The word in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::Certificate => "Certificate",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Metadata of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Namespace; empty in a file means [`DEFAULT_NAMESPACE`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity that the store gave the object; changes when it is deleted and made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Version that the store gave this state of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Counts changes of `spec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the object was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// When deletion was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
    /// What must be removed before the object goes away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        let namespace = if self.namespace.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            &self.namespace
        };
        ObjectKey::new(namespace, &self.name)
    }
}

/// An object as people write it and occm reports on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<Spec, Status> {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// `Issuer` or `Certificate`.
    pub kind: String,
    /// Metadata.
    pub metadata: Metadata,
    /// What is wished for.
    pub spec: Spec,
    /// What is so; written by reconciliation alone.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}
