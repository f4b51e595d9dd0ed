//! Issuer: one CMP endpoint of one CA, how to authenticate to it and what to trust.
//!
//! These are the fields as people write them. [`crate::model::plan`] checks them and makes a plan of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::certificate::PrivateKeySpec;
use crate::model::condition::Condition;
use crate::model::object::Object;

/// An Issuer object.
pub type Issuer = Object<IssuerSpec, IssuerStatus>;

/// One CMP endpoint of one CA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerSpec {
    /// Address of the CMP endpoint, `http` or `https`, with its full path. Required.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Who speaks CMP: `Native` (occm itself, the default) or `OpenSSL` (the `openssl cmp` command).
    #[serde(default)]
    pub engine: EngineKind,
    /// Name of the CA or RA that messages are addressed to, as RFC 4514 (`CN=CA,O=Lab`) or `/O=Lab/CN=CA`.
    /// Default: empty (RFC 9483 section 3.1 allows it where the name is not known).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub recipient: Option<String>,
    /// Name that must have protected the answers. Default: any signer that chains to `trust.responses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub expected_sender: Option<String>,
    /// Which certificate protects a key update: the one to be updated (`Certificate`, RFC 9483 section 4.1.3, the
    /// default) or the Issuer's CMP identity (`Identity`).
    #[serde(default)]
    pub key_update_signer: UpdateSigner,
    /// Which certificate protects a revocation request: the one to be revoked (`Certificate`, the default) or the
    /// Issuer's CMP identity (`Identity`).
    #[serde(default)]
    pub revocation_signer: UpdateSigner,
    /// How occm shows the CA who it is.
    pub authentication: Authentication,
    /// What occm trusts, each for its own use.
    pub trust: TrustSpec,
    /// TLS settings; only with an `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// HTTP settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// How requests are made and how answers are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsSpec>,
    /// Namespaces besides its own whose Certificates may use this Issuer. Only an Issuer in occm's own namespace can
    /// be used from elsewhere. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub allowed_namespaces: Vec<String>,
}

/// Who speaks CMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EngineKind {
    /// occm's own CMP client.
    #[default]
    Native,
    /// The `openssl cmp` command line.
    OpenSSL,
}

/// Which certificate protects a message about a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpdateSigner {
    /// The certificate that the message is about.
    #[default]
    Certificate,
    /// The Issuer's CMP identity.
    Identity,
}

/// How occm shows the CA who it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// First contact: a shared secret or a certificate, exactly one of them.
    pub initial: InitialAuthentication,
    /// The CMP identity, made and renewed by occm, that signs every later enrolment. Without it every enrolment is
    /// protected by `initial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySpec>,
}

/// First contact: exactly one of `mac` and `certificate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialAuthentication {
    /// A secret shared with the CA (RFC 9483 section 4.1.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacSpec>,
    /// A certificate that the CA already trusts (RFC 9483 section 4.1.1), for example a vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateAuthSpec>,
}

/// A secret shared with the CA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MacSpec {
    /// Name under which the CA knows the secret (`senderKID`). Required, at most 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub reference_value: String,
    /// Where the secret lies.
    pub secret_ref: KeyRef,
    /// `PBM` (the default, known to every CA) or `PBMAC1` (RFC 9481 section 6.1.2; not with the engine `OpenSSL`).
    #[serde(default)]
    pub algorithm: MacAlgorithmSpec,
    /// Iterations of the key derivation, 100 to 100000. Default: 1024 for `PBM`, 10000 for `PBMAC1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 100_000))]
    pub iterations: Option<u32>,
    /// Hash of the HMAC. `SHA1` is for old CAs that know nothing else. Default: `SHA256`.
    #[serde(default)]
    pub hash: MacHash,
}

/// How a MAC key is derived from the shared secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MacAlgorithmSpec {
    /// Password-based MAC, RFC 9810 section 5.1.3.1.
    #[default]
    PBM,
    /// PBMAC1, RFC 9481 section 6.1.2.
    PBMAC1,
}

/// Hash of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MacHash {
    /// For old CAs only.
    SHA1,
    /// The default.
    #[default]
    SHA256,
    /// SHA-384.
    SHA384,
    /// SHA-512.
    SHA512,
}

/// A certificate and its key that the CA already trusts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateAuthSpec {
    /// Secret that holds certificate and key.
    pub secret_ref: SecretRef,
    /// Key of the certificate (and its chain). Default: `tls.crt`.
    #[serde(default = "tls_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: String,
    /// Key of the private key. Default: `tls.key`.
    #[serde(default = "tls_key")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: String,
}

fn tls_crt() -> String {
    "tls.crt".to_owned()
}

fn tls_key() -> String {
    "tls.key".to_owned()
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret or ConfigMap of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The CMP identity of an Issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentitySpec {
    /// Common name. Exactly one of `commonName` and `literalSubject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub common_name: Option<String>,
    /// The whole subject, as RFC 4514 or `/type=value/...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub literal_subject: Option<String>,
    /// DNS names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub dns_names: Vec<String>,
    /// Its private key. Default: ECDSA, 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKeySpec>,
    /// Requested life, for example `8760h` or `365d`. Default: the CA decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub duration: Option<String>,
}

/// What is trusted, each for its own use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustSpec {
    /// Anchors for the protection of CMP answers. Required unless every answer is protected by the shared secret.
    #[serde(default, skip_serializing_if = "TrustSource::is_unset")]
    pub responses: TrustSource,
    /// Anchors for issued certificates. Default: as `responses`.
    #[serde(default, skip_serializing_if = "TrustSource::is_unset")]
    pub certificates: TrustSource,
    /// Anchors for the TLS server. Required with an `https` address: verification is never off by omission.
    #[serde(default, skip_serializing_if = "TrustSource::is_unset")]
    pub tls: TrustSource,
}

/// Where trust anchors lie: at most one of `secretRef` and `configMapRef`; PEM or DER, any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustSource {
    /// In a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
    /// In a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
}

impl TrustSource {
    /// Whether neither reference is set.
    pub fn is_unset(&self) -> bool {
        self.secret_ref.is_none() && self.config_map_ref.is_none()
    }
}

/// TLS settings of an Issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Lowest version. Default: `1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Key exchange groups in order of preference, for example `X25519`, `secp256r1`. Default: the library's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub groups: Vec<String>,
    /// Cipher suites in order of preference, by their IANA names. Default: the library's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub cipher_suites: Vec<String>,
    /// Client certificate for the TLS connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CertificateAuthSpec>,
    /// Name that the server's certificate must carry. Default: the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub server_name: Option<String>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// HTTP settings of an Issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSpec {
    /// HTTP version. Default: `1.1`. `1.0` is for very old servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<HttpVersion>,
    /// Proxy, for example `http://proxy.lab.example:3128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub no_proxy: Vec<String>,
    /// Longest wait for a connection, `1s` to `60s`. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub connect_timeout: Option<String>,
    /// Longest wait for one answer, `1s` to `10m`. Default: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub request_timeout: Option<String>,
}

/// An HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    V1_0,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    V1_1,
}

/// How requests are made and how answers are judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestsSpec {
    /// Whether the CA is asked to do without a confirmation. Default: `Explicit`, so that a certificate that fails
    /// our checks is refused to the CA's face.
    #[serde(default)]
    pub confirmation: Confirmation,
    /// How a certificate is first asked for: `CR` (a known entity, the default), `IR` or `P10CR` (PKCS#10). The CMP identity is
    /// always enrolled by `IR`.
    #[serde(default)]
    pub enrolment: EnrolmentMessage,
    /// Name of a certificate profile (RFC 9810 section 5.1.1.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub certificate_profile: Option<String>,
    /// What to do with a certificate whose subject or names differ from the request, or that lacks a usage. Usages that
    /// the CA adds are taken. Default: `Reject`.
    #[serde(default)]
    pub modifications: Modifications,
    /// Requests to this endpoint in a second, all Certificates together, 1 to 1000. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub rate_per_second: Option<u32>,
    /// Exchanges at one time, 1 to 64. Default: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<u32>,
    /// Whether the signer of an answer may lack the key usage `digital signature`. Default: `Ignore`, since many CAs
    /// sign answers with their CA key.
    #[serde(default)]
    pub signer_key_usage: SignerKeyUsage,
    /// How long the same bytes are sent again when an answer is lost, `0s` to `30m`. Default: `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub resend_window: Option<String>,
}

/// Whether a new certificate is confirmed to the CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Confirmation {
    /// certConf is sent (RFC 9810 section 5.3.18).
    #[default]
    Explicit,
    /// implicitConfirm is asked for (RFC 9810 section 5.1.1.1).
    Implicit,
}

/// Which message asks for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnrolmentMessage {
    /// Initialization request, RFC 9483 section 4.1.1.
    IR,
    /// Certification request, RFC 9483 section 4.1.2.
    #[default]
    CR,
    /// PKCS#10 request, RFC 9483 section 4.1.4.
    P10CR,
}

/// What to do with a certificate that differs from the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Modifications {
    /// Refuse it.
    #[default]
    Reject,
    /// Take it when the CA says so (`grantedWithMods`).
    AcceptGranted,
}

/// Whether the key usage of a signer is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SignerKeyUsage {
    /// Not looked at.
    #[default]
    Ignore,
    /// `digital signature` is required where the extension is present.
    Require,
}

/// What is so with an Issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Facts: `Ready`, `Reachable`, and `Healthy` where a Certificate with the purpose `HealthCheck` names the Issuer.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The CMP identity, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,
    /// Last answer of the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_contact: Option<Timestamp>,
    /// Last failure of the CMP identity's life cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureStatus>,
    /// Requests to the CA that may have been issued without our knowing, all time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub possible_orphans: u64,
    /// Certificates that were issued and could not be used, all time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub orphans: u64,
    /// Inputs that are read by polling, because more than the limit are watched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub polled_inputs: BTreeMap<String, String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The CMP identity in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Start of its life.
    #[schemars(with = "String")]
    pub not_before: Timestamp,
    /// End of its life.
    #[schemars(with = "String")]
    pub not_after: Timestamp,
    /// When it is renewed.
    #[schemars(with = "String")]
    pub renewal_time: Timestamp,
    /// Serial number, hexadecimal.
    pub serial_number: String,
    /// Subject, RFC 4514.
    pub subject: String,
    /// Revision of the record.
    pub revision: u64,
}

/// A failure and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// Class: `Retry`, `Rejected`, `Untrusted`, `Misconfigured`.
    pub class: String,
    /// Reason, one word.
    pub reason: String,
    /// What happened, in a sentence.
    pub message: String,
    /// When.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Attempts since the last success.
    pub attempts: u32,
}
