//! Paths of the API.

use crate::model::object::{API_VERSION, Kind, ObjectKey};
use crate::store::kube::api::escape;

/// The Secrets of a namespace.
pub(super) fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/secrets", escape(namespace))
}

/// One Secret.
pub(super) fn secret(key: &ObjectKey) -> String {
    format!("{}/{}", secrets(&key.namespace), escape(&key.name))
}

/// The ConfigMaps of a namespace.
pub(super) fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/configmaps", escape(namespace))
}

/// One ConfigMap.
pub(super) fn config_map(key: &ObjectKey) -> String {
    format!("{}/{}", config_maps(&key.namespace), escape(&key.name))
}

/// The Issuers or Certificates of a namespace.
pub(super) fn objects(kind: Kind, namespace: &str) -> String {
    let plural = plural(kind);
    format!("/apis/{API_VERSION}/namespaces/{}/{plural}", escape(namespace))
}

/// The Issuers or Certificates of all namespaces.
pub(super) fn all_objects(kind: Kind) -> String {
    format!("/apis/{API_VERSION}/{}", plural(kind))
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Issuer => "issuers",
        Kind::Certificate => "certificates",
    }
}

/// One Issuer or Certificate.
pub(super) fn object(kind: Kind, key: &ObjectKey) -> String {
    format!("{}/{}", objects(kind, &key.namespace), escape(&key.name))
}

/// The Events of a namespace.
pub(super) fn events(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{}/events", escape(namespace))
}

/// The Leases of a namespace.
pub(super) fn leases(namespace: &str) -> String {
    format!(
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
        escape(namespace)
    )
}
