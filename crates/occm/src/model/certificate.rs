//! Certificate: the wish for a key and a certificate, and where they go.
//!
//! Where a field means what cert-manager's `Certificate` means by it, it has the same name and the same values.
//! These are the fields as people write them; [`crate::model::plan`] checks them and makes a plan of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::condition::Condition;
use crate::model::issuer::FailureStatus;
use crate::model::object::Object;

/// A Certificate object.
pub type Certificate = Object<CertificateSpec, CertificateStatus>;

/// The wish for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSpec {
    /// The Issuer that the certificate comes from. Required.
    pub issuer_ref: IssuerRef,
    /// Common name, at most 64 characters. At least one of `commonName`, `literalSubject`, `subject` and a subject alternative
    /// name is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub common_name: Option<String>,
    /// The whole subject, as RFC 4514 (`CN=nrf,O=Lab`) or `/O=Lab/CN=nrf`. Excludes `commonName` and `subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub literal_subject: Option<String>,
    /// Parts of the subject besides the common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectSpec>,
    /// DNS names; a leading `*.` is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub dns_names: Vec<String>,
    /// IPv4 and IPv6 addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 2, max = 45)))]
    pub ip_addresses: Vec<String>,
    /// URIs, for example `urn:uuid:...` of a network function instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 2048)))]
    pub uris: Vec<String>,
    /// E-mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 3, max = 254)))]
    pub email_addresses: Vec<String>,
    /// Key usages and extended key usages by their names, for example `digital signature`, `key encipherment`,
    /// `server auth`, `client auth`. Default: `digital signature` and `key encipherment` for RSA, `digital signature` for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub usages: Vec<String>,
    /// Whether a CA certificate is asked for. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "isCA")]
    pub is_ca: bool,
    /// The private key. Default: ECDSA, 256, PKCS8, a new key at each renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKeySpec>,
    /// Requested life, at least `60s`, for example `2160h` or `90d`. Default: the CA decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub duration: Option<String>,
    /// How long before its end a certificate is renewed, at least `10s`. Excludes `renewBeforePercentage`. Default: a third of the actual
    /// life. Renewal never waits longer than two thirds of the actual life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub renew_before: Option<String>,
    /// The part of the actual life, in percent from its end, at which a certificate is renewed, 1 to 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub renew_before_percentage: Option<u32>,
    /// The short way: one Secret of type `kubernetes.io/tls` with `tls.key`, `tls.crt` (with its chain) and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// Labels and annotations for every output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// Any other outputs. At least one of `secretName` and `outputs` is required, except for the purpose `HealthCheck`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub outputs: Vec<OutputSpec>,
    /// What happens when somebody changes an output. Default: `Restore`.
    #[serde(default)]
    pub on_drift: OnDrift,
    /// What happens to outputs and certificate when this object is deleted. Default: `Keep`.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// What happens when a Secret of an output's name exists that occm did not write. Default: `Refuse`.
    #[serde(default)]
    pub existing: Existing,
    /// What the certificate is for. Default: `EndEntity`.
    #[serde(default)]
    pub purpose: Purpose,
    /// Whether occm keeps a copy of the private key to put back. Without it a lost output is enrolled anew. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub keep_copy: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// Which Issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Name of the Issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Issuer: the Certificate's own or occm's. Default: the Certificate's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Kind; only `Issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// Group; only `occm.dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
}

/// Parts of a subject, each at most 64 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SubjectSpec {
    /// Organizations (`O`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub organizations: Vec<String>,
    /// Organizational units (`OU`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub organizational_units: Vec<String>,
    /// Countries (`C`), two letters each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 2)))]
    pub countries: Vec<String>,
    /// Localities (`L`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub localities: Vec<String>,
    /// States or provinces (`ST`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub provinces: Vec<String>,
    /// Serial number of the subject (`serialNumber`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub serial_number: Option<String>,
}

/// The private key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrivateKeySpec {
    /// `RSA`, `ECDSA` or `Ed25519`. Default: `ECDSA`.
    #[serde(default)]
    pub algorithm: PrivateKeyAlgorithm,
    /// RSA: 2048 (default), 3072, 4096. ECDSA: 256 (default), 384, 521. Ed25519: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 4096))]
    pub size: Option<u32>,
    /// Form of the key in `secretName`: `PKCS8` (default) or `PKCS1` (also stands for SEC1 with ECDSA).
    #[serde(default)]
    pub encoding: PrivateKeyEncoding,
    /// `Always` (default): a new key at each renewal. `Never`: the same key until the wish or the owner asks for a new one.
    #[serde(default)]
    pub rotation_policy: RotationPolicy,
}

/// Algorithm of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrivateKeyAlgorithm {
    /// RSA.
    RSA,
    /// Elliptic curve.
    #[default]
    ECDSA,
    /// Edwards curve 25519.
    Ed25519,
}

/// Form of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrivateKeyEncoding {
    /// PKCS#8.
    #[default]
    PKCS8,
    /// PKCS#1 for RSA, SEC1 for ECDSA.
    PKCS1,
}

/// Whether a renewal makes a new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RotationPolicy {
    /// Each renewal makes a new key.
    #[default]
    Always,
    /// A renewal keeps the key.
    Never,
}

/// Labels and annotations for every output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecretTemplate {
    /// Labels; keys of `occm.dev/` are not allowed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations; keys of `occm.dev/` are not allowed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// One output: a Secret and what goes into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputSpec {
    /// The Secret.
    pub secret: OutputSecret,
    /// What goes under which key, 1 to 16 keys.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub keys: BTreeMap<String, OutputKey>,
}

/// The Secret of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputSecret {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace. Default: the Certificate's own. Another one only from a Certificate in occm's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Type: `kubernetes.io/tls` or `Opaque` (default). It cannot be changed later.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
}

/// What goes under one key of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputKey {
    /// Which part.
    pub part: Part,
    /// In which form. Default: `PEM` (for a key: PKCS#8 PEM).
    #[serde(default)]
    pub format: Format,
}

/// A part of what was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Part {
    /// The private key.
    Key,
    /// The certificate alone.
    Certificate,
    /// The intermediate CA certificates.
    Chain,
    /// The certificate and then the intermediate CA certificates.
    CertificateAndChain,
    /// The root certificate that the chain ends in.
    CA,
    /// Key, certificate and chain in one text.
    Bundle,
}

/// The form of a part.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Format {
    /// PEM; for a key the same as `PKCS8PEM`.
    #[default]
    PEM,
    /// DER; for a key the same as `PKCS8DER`; for several certificates one after the other.
    DER,
    /// PKCS#8 as PEM.
    PKCS8PEM,
    /// PKCS#8 as DER.
    PKCS8DER,
    /// PKCS#1 (RSA) or SEC1 (ECDSA) as PEM.
    PKCS1PEM,
    /// PKCS#1 (RSA) or SEC1 (ECDSA) as DER.
    PKCS1DER,
}

/// What happens when an output is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDrift {
    /// The same bytes are put back.
    #[default]
    Restore,
    /// A new certificate is enrolled.
    Reissue,
    /// A deleted output is put back; a changed one is only reported.
    Alert,
}

/// What happens when the Certificate object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// The outputs stay as they are.
    #[default]
    Keep,
    /// The outputs are deleted.
    Delete,
    /// The certificate is revoked and the outputs are deleted.
    Revoke,
}

/// What happens with a Secret that occm did not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Existing {
    /// It is left alone and reported.
    #[default]
    Refuse,
    /// It is taken over as it is and renewed later by the wish.
    Adopt,
    /// It is replaced by a new certificate.
    Replace,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Purpose {
    /// A workload.
    #[default]
    EndEntity,
    /// Seeing whether the Issuer works.
    HealthCheck,
}

/// What is so with a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Facts: `Ready`; `Issuing` and `InSync` once there is something to tell.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Start of the current certificate's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub not_before: Option<Timestamp>,
    /// End of the current certificate's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub not_after: Option<Timestamp>,
    /// When the current certificate is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub renewal_time: Option<Timestamp>,
    /// Serial number, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// SHA-256 of the certificate, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How many certificates were issued for this wish; the outputs carry it as annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The last ten certificates, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// State of each output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputStatus>,
    /// The last failure, gone after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureStatus>,
    /// When the next attempt is due, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_attempt: Option<Timestamp>,
    /// Requests that may have been issued without our knowing, all time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub possible_orphans: u64,
    /// Certificates that were issued and could not be used, all time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub orphans: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One certificate of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Revision.
    pub revision: u64,
    /// Serial number, hexadecimal.
    pub serial_number: String,
    /// End of its life.
    #[schemars(with = "String")]
    pub not_after: Timestamp,
    /// When it was issued.
    #[schemars(with = "String")]
    pub issued_at: Timestamp,
    /// Why it was issued.
    pub reason: String,
}

/// State of one output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatus {
    /// `namespace/name` of the Secret.
    pub name: String,
    /// `InSync`, `Pending` or a reason why it is not in sync.
    pub state: String,
    /// Who last changed it against our will, where the store tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}
