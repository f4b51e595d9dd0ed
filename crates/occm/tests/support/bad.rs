//! The table of bad objects, read.

#![allow(dead_code, reason = "each test program uses a part of it")]

use serde_json::{Value, json};

use occm::model::certificate::CertificateSpec;
use occm::model::issuer::IssuerSpec;
use occm::model::object::ObjectKey;
use occm::model::plan::{CertificatePlan, IssuerPlan};

/// A row.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) change: Value,
    pub(crate) server: String,
    pub(crate) path: String,
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    serde_saphyr::from_str(include_str!("../bad_objects.yaml")).expect("the table can be read")
}

/// The good object of a kind.
pub(crate) fn good(kind: &str, name: &str) -> Value {
    let spec = match kind {
        "Issuer" => json!({
            "url": "http://ca.example/cmp",
            "authentication": {"initial": {"mac": {"referenceValue": "1", "secretRef": {"name": "mac", "key": "k"}}}},
            "trust": {"responses": {"secretRef": {"name": "trust", "key": "ca.pem"}}},
        }),
        _ => json!({"issuerRef": {"name": "lab"}, "commonName": "web.example", "secretName": "web"}),
    };
    json!({"apiVersion": "occm.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Row {
    /// The bad object.
    pub(crate) fn object(&self, name: &str) -> Value {
        let mut object = good(&self.kind, name);
        merge(&mut object["spec"], &self.change);
        object
    }
}

/// RFC 7396.
fn merge(target: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// What occm says to a spec; empty = nothing is wrong.
pub(crate) fn verdict(object: &Value, namespace: &str, home: &str) -> String {
    let key = ObjectKey::new(namespace, "x");
    let errors = match object["kind"].as_str() {
        Some("Issuer") => match serde_json::from_value::<IssuerSpec>(object["spec"].clone()) {
            Ok(spec) => IssuerPlan::check(key, &spec).err(),
            Err(_) => return "unreadable".to_owned(),
        },
        _ => match serde_json::from_value::<CertificateSpec>(object["spec"].clone()) {
            Ok(spec) => CertificatePlan::check(key, &spec, home).err(),
            Err(_) => return "unreadable".to_owned(),
        },
    };
    errors.map(|errors| errors.to_string()).unwrap_or_default()
}
