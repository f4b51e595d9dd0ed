//! The custom resource definitions, made from the Rust types: their fields, docs, bounds and defaults.
//!
//! [`schema`](self) turns JSON Schema into the structural schema that the API server takes; `rules` adds what a single
//! field's schema cannot say, in CEL. What neither can say is told by a condition of the object. `occm crds` prints the
//! result.

mod rules;
mod schema;

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::model::certificate::{CertificateSpec, CertificateStatus};
use crate::model::issuer::{IssuerSpec, IssuerStatus};
use crate::model::object::GROUP;

/// What `kubectl explain issuer.occm.dev` begins with.
const ISSUER_DOC: &str =
    "One CMP endpoint of one CA: where it is, how occm shows it who it is, and what occm trusts.";
/// What `kubectl explain certificate.occm.dev` begins with.
const CERTIFICATE_DOC: &str = "The wish for a private key and a certificate, and where they go. occm makes the key, gets the \
     certificate from the Issuer over CMP, keeps both in Secrets, puts those right when somebody changes them, and renews in \
     time.";

/// Both definitions, ready for `kubectl apply`.
pub fn crds() -> Vec<Value> {
    vec![issuers(), certificates()]
}

/// Both definitions as YAML documents.
pub fn yaml() -> String {
    crds()
        .iter()
        .map(|crd| format!("---\n{}", document(crd)))
        .collect()
}

/// One definition as a YAML document.
pub fn document(crd: &Value) -> String {
    // Serialisation of plain values to text does not fail.
    serde_saphyr::to_string(crd).unwrap_or_default()
}

fn issuers() -> Value {
    let mut schema = object_schema::<IssuerSpec, IssuerStatus>(ISSUER_DOC);
    rules::issuer(&mut schema);
    definition(
        Names {
            kind: "Issuer",
            singular: "issuer",
            plural: "issuers",
            short: "oissuer",
        },
        &json!([
            column("Ready", READY, "Whether certificates can be had from it."),
            column_wide("URL", ".spec.url", "Address of the CMP endpoint."),
            column_wide("Engine", ".spec.engine", "Who speaks CMP."),
            column(
                "Expires",
                ".status.identity.notAfter",
                "End of the CMP identity's life."
            ),
            column(
                "Renews",
                ".status.identity.renewalTime",
                "When the CMP identity is renewed."
            ),
            column("Reason", REASON, "Why it is ready or not."),
            age(),
        ]),
        &schema,
    )
}

fn certificates() -> Value {
    let mut schema = object_schema::<CertificateSpec, CertificateStatus>(CERTIFICATE_DOC);
    rules::certificate(&mut schema);
    definition(
        Names {
            kind: "Certificate",
            singular: "certificate",
            plural: "certificates",
            short: "ocert",
        },
        &json!([
            column("Ready", READY, "Whether all outputs carry a valid certificate."),
            column("Secret", ".spec.secretName", "Secret of the short way."),
            column(
                "Issuer",
                ".spec.issuerRef.name",
                "Issuer that the certificate comes from."
            ),
            column("Expires", ".status.notAfter", "End of the certificate's life."),
            column(
                "Renews",
                ".status.renewalTime",
                "When the certificate is renewed."
            ),
            column("Reason", REASON, "Why it is ready or not."),
            age(),
        ]),
        &schema,
    )
}

const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";
const REASON: &str = ".status.conditions[?(@.type==\"Ready\")].reason";

fn column(name: &str, path: &str, description: &str) -> Value {
    json!({ "name": name, "type": "string", "jsonPath": path, "description": description })
}

fn column_wide(name: &str, path: &str, description: &str) -> Value {
    json!({ "name": name, "type": "string", "jsonPath": path, "description": description, "priority": 1 })
}

fn age() -> Value {
    json!({
        "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since its creation.",
    })
}

/// Names of a resource. The short names of cert-manager's resources are left to them.
struct Names {
    kind: &'static str,
    singular: &'static str,
    plural: &'static str,
    short: &'static str,
}

fn definition(names: Names, columns: &Value, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{GROUP}", names.plural) },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.kind,
                "listKind": format!("{}List", names.kind),
                "plural": names.plural,
                "singular": names.singular,
                "shortNames": [names.short],
                "categories": ["occm"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": columns,
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    })
}

fn object_schema<Spec: JsonSchema, Status: JsonSchema>(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string", "description": "Version of the schema: `occm.dev/v1alpha1`." },
            "kind": { "type": "string", "description": "Kind of the object." },
            "metadata": { "type": "object" },
            "spec": schema::structural::<Spec>(),
            "status": schema::structural_status::<Status>(),
        },
    })
}
