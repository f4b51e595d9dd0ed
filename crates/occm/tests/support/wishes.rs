//! Issuers and Certificates on a cluster, and how they fare.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{Ca, SECRET, condition, wait_for};

/// An Issuer `ca` with its Secret and its trusted root, which `allowed` other namespaces may use.
pub fn issuer(ca: &Ca, namespace: &str, allowed: &[&str]) -> String {
    issuer_with(ca, namespace, allowed, "")
}

/// The same with more fields of its spec.
pub fn issuer_with(ca: &Ca, namespace: &str, allowed: &[&str], more: &str) -> String {
    let root: String = ca
        .root_pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mac, namespace: {namespace}}}\n\
         stringData: {{secret: \"{SECRET}\"}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: trust, namespace: {namespace}}}\ndata:\n  ca.pem: |\n{root}---\n\
         apiVersion: occm.dev/v1alpha1\nkind: Issuer\nmetadata: {{name: ca, namespace: {namespace}}}\nspec:\n\
         \x20 url: http://{}/cmp\n  allowedNamespaces: [{}]\n\
         \x20 authentication:\n    initial:\n      mac: {{referenceValue: demo, secretRef: {{name: mac, key: secret}}}}\n\
         \x20   identity: {{commonName: occm.test}}\n\
         \x20 trust:\n    responses: {{configMapRef: {{name: trust, key: ca.pem}}}}\n{more}",
        ca.address,
        allowed.join(", "),
    )
}

/// A Certificate from the Issuer `ca` of a namespace, into the Secret `NAME-tls`.
pub fn certificate(namespace: &str, name: &str, issuer: &str) -> String {
    certificate_with(namespace, name, issuer, "")
}

/// The same with more fields of its spec.
pub fn certificate_with(namespace: &str, name: &str, issuer: &str, more: &str) -> String {
    format!(
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n\
         \x20 issuerRef: {{name: ca, namespace: {issuer}}}\n  commonName: {name}.example\n\
         \x20 dnsNames: [{name}.example]\n  secretName: {name}-tls\n{more}"
    )
}

/// An object as the API server has it.
pub fn object(cluster: &Cluster, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let text = cluster
        .kubectl(&[
            "get",
            kind,
            name,
            "--namespace",
            namespace,
            "--output=json",
            "--ignore-not-found",
        ])
        .unwrap();
    (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

/// Waits until a Certificate is ready; gives its status.
pub fn ready(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    wait_for(&format!("{namespace}/{name} ready"), || {
        let status = object(cluster, "certificates.occm.dev", namespace, name)?["status"].take();
        (condition(&status, "Ready") == "True").then_some(status)
    })
}

/// Waits until a Certificate has this revision and is ready; gives its status.
pub fn revision(cluster: &Cluster, namespace: &str, name: &str, revision: u64) -> Value {
    wait_for(&format!("{namespace}/{name} at revision {revision}"), || {
        let status = object(cluster, "certificates.occm.dev", namespace, name)?["status"].take();
        (condition(&status, "Ready") == "True" && status["revision"] == revision).then_some(status)
    })
}

/// Asks for a renewal of a Certificate.
pub fn renew(cluster: &Cluster, namespace: &str, name: &str, token: &str) {
    let annotation = format!("occm.dev/renew={token}");
    cluster
        .kubectl(&[
            "annotate",
            "certificates.occm.dev",
            name,
            &annotation,
            "--overwrite",
            "--namespace",
            namespace,
        ])
        .unwrap();
}

/// Waits until the definitions are served.
pub fn served(cluster: &Cluster) {
    wait_for("the definitions are served", || {
        let kinds = ["issuers", "certificates"];
        let served = |kind: &&str| {
            cluster
                .kubectl(&["get", "--raw", &format!("/apis/occm.dev/v1alpha1/{kind}")])
                .is_ok()
        };
        kinds.iter().all(served).then_some(())
    });
}
