//! An Issuer or a Certificate, where both are treated alike.

use std::sync::Arc;

use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, Metadata, ObjectKey};
use crate::store::{ContentHash, Status};

/// An Issuer or a Certificate by kind, namespace and name.
pub(super) type ObjectId = (Kind, ObjectKey);

/// An Issuer or a Certificate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnyObject {
    Issuer(Arc<Issuer>),
    Certificate(Arc<Certificate>),
}

impl AnyObject {
    /// Reads an object of a kind.
    pub(super) fn from_json(kind: Kind, value: serde_json::Value) -> Option<Self> {
        match kind {
            Kind::Issuer => serde_json::from_value(value)
                .ok()
                .map(|object| Self::Issuer(Arc::new(object))),
            Kind::Certificate => serde_json::from_value(value)
                .ok()
                .map(|object| Self::Certificate(Arc::new(object))),
        }
    }

    /// The object as JSON.
    pub(super) fn as_json(&self) -> Option<serde_json::Value> {
        match self {
            Self::Issuer(object) => serde_json::to_value(&**object).ok(),
            Self::Certificate(object) => serde_json::to_value(&**object).ok(),
        }
    }

    /// Hash of the wish.
    pub(super) fn spec_hash(&self) -> ContentHash {
        let bytes = match self {
            Self::Issuer(object) => serde_json::to_vec(&object.spec),
            Self::Certificate(object) => serde_json::to_vec(&object.spec),
        };
        ContentHash::of(&bytes.unwrap_or_default())
    }

    pub(super) fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Issuer(object) => &mut Arc::make_mut(object).metadata,
            Self::Certificate(object) => &mut Arc::make_mut(object).metadata,
        }
    }

    pub(super) fn status(&self) -> Option<Status> {
        match self {
            Self::Issuer(object) => object
                .status
                .clone()
                .map(|status| Status::Issuer(Box::new(status))),
            Self::Certificate(object) => object
                .status
                .clone()
                .map(|status| Status::Certificate(Box::new(status))),
        }
    }

    pub(super) fn set_status(&mut self, status: Option<Status>) {
        match (self, status) {
            (Self::Issuer(object), Some(Status::Issuer(status))) => {
                Arc::make_mut(object).status = Some(*status)
            }
            (Self::Certificate(object), Some(Status::Certificate(status))) => {
                Arc::make_mut(object).status = Some(*status);
            }
            (Self::Issuer(object), _) => Arc::make_mut(object).status = None,
            (Self::Certificate(object), _) => Arc::make_mut(object).status = None,
        }
    }

    pub(super) fn metadata(&self) -> &Metadata {
        match self {
            Self::Issuer(object) => &object.metadata,
            Self::Certificate(object) => &object.metadata,
        }
    }

    /// Sets the version that people see. It follows from what they wrote, so that it is the same in every process.
    pub(super) fn set_version(&mut self) {
        let metadata = self.metadata();
        let labels = serde_json::to_vec(&metadata.labels).unwrap_or_default();
        let annotations = serde_json::to_vec(&metadata.annotations).unwrap_or_default();
        let deleted = metadata.deletion_timestamp.map(|time| time.to_string());
        let parts = [
            self.spec_hash().to_hex().into_bytes(),
            labels,
            annotations,
            deleted.unwrap_or_default().into_bytes(),
        ];
        self.metadata_mut().resource_version = Some(version_of(&parts.join(&0)));
    }
}

/// A version that follows from some content.
pub(super) fn version_of(content: &[u8]) -> String {
    let mut hex = ContentHash::of(content).to_hex();
    hex.truncate(16);
    hex
}
