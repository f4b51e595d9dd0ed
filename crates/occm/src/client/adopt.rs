//! Taking over Secrets that somebody else made: which could be, what stands against it, and the Certificate that would do it.
//!
//! Pure but for [`run`]. The wish is made from the certificate that is there, so that the next renewal asks for the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pki::{KeyAlgorithm, KeyUsages, San};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::check::check;
use crate::client::migrate::problem;
use crate::client::{ClientError, Item, Objects, Run, SecretSeen};
use crate::model::certificate::{Certificate, Format, Part};
use crate::model::object::{API_VERSION, ObjectKey, ROLE_LABEL};
use crate::model::plan::certificate::{OPAQUE_TYPE, TLS_TYPE};
use crate::model::plan::named_outputs;
use crate::store::Seen;

/// Most keys of an output.
const MAX_KEYS: usize = 16;
/// Longest common name, in characters.
const MAX_COMMON_NAME: usize = 64;
/// Annotation that cert-manager puts on the Secrets of its Certificates.
const CERT_MANAGER: &str = "cert-manager.io/certificate-name";

/// A Secret that could be taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Namespace.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Type of the Secret.
    #[serde(rename = "type")]
    pub kind: String,
    /// Key in the data that the certificate lies under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Subject of the certificate, RFC 4514.
    pub subject: String,
    /// Issuer of the certificate, RFC 4514.
    pub issuer: String,
    /// Alternative names: `DNS:a.example`, ...
    pub sans: Vec<String>,
    /// End of its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Algorithm of its key.
    pub algorithm: String,
    /// Who seems to look after it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Whether the private key is there and belongs to the certificate.
    pub key_fits: bool,
    /// What stands against it; empty = it can be adopted.
    pub problems: Vec<String>,
    /// What should be known before.
    pub notes: Vec<String>,
    /// The Certificate that would take it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested: Option<Value>,
}

/// How it went with one Secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Namespace.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// In one word.
    pub result: AdoptResult,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The Certificate, as it was made or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
}

/// How it went, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AdoptResult {
    /// A dry run found nothing wrong.
    WouldCreate,
    /// The Certificate was made; the manager takes the Secret over.
    Created,
    /// Nothing was made.
    Failed,
}

/// The Secrets that are worth a look, each with its facts. Outputs and records of occm are left out. `issuer` is the Issuer that
/// the suggested Certificates name.
pub fn candidates(
    secrets: &[SecretSeen],
    certificates: &[Item],
    issuer: Option<&ObjectKey>,
    now: Timestamp,
) -> Vec<Candidate> {
    let taken = outputs(certificates);
    let ours = |secret: &&SecretSeen| secret.labels.contains_key(ROLE_LABEL);
    secrets
        .iter()
        .filter(|secret| !ours(secret) && secret.certificate.is_some())
        .map(|secret| candidate(secret, certificates, &taken, issuer, now))
        .collect()
}

/// Which Certificate names which Secret as an output.
fn outputs(certificates: &[Item]) -> BTreeMap<ObjectKey, ObjectKey> {
    let mut taken = BTreeMap::new();
    for item in certificates {
        if let Seen::Object(certificate) = item.certificate() {
            let certificate: &Certificate = &certificate;
            for secret in named_outputs(&item.key, &certificate.spec) {
                taken.insert(secret, item.key.clone());
            }
        }
    }
    taken
}

fn candidate(
    secret: &SecretSeen,
    certificates: &[Item],
    taken: &BTreeMap<ObjectKey, ObjectKey>,
    issuer: Option<&ObjectKey>,
    now: Timestamp,
) -> Candidate {
    let found = secret.certificate.as_ref();
    let key_fits = secret.private_key.as_ref().is_some_and(|key| key.fits);
    let mut candidate = Candidate {
        namespace: secret.key.namespace.to_string(),
        secret: secret.key.name.to_string(),
        kind: secret.kind.clone(),
        key: key_of_certificate(secret),
        subject: found
            .map(|found| found.subject().to_rfc4514())
            .unwrap_or_default(),
        issuer: found.map(|found| found.issuer().to_rfc4514()).unwrap_or_default(),
        sans: found
            .map(|found| found.sans().iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        not_after: found.map(pki::Certificate::not_after),
        algorithm: found
            .map(|found| found.public_key().description())
            .unwrap_or_default(),
        managed_by: managed_by(secret),
        key_fits,
        problems: problems(secret, taken, now),
        notes: notes(secret),
        suggested: None,
    };
    if candidate.problems.is_empty() {
        let name = free_name(&secret.key, certificates);
        let object = suggested(secret, &name, issuer);
        // Without an Issuer the suggestion still has a hole; the rest is checked.
        let hole = ObjectKey::new(secret.key.namespace.clone(), "issuer");
        match check(&suggested(secret, &name, Some(issuer.unwrap_or(&hole))), None) {
            Ok(_) => candidate.suggested = Some(object),
            Err(ClientError::Invalid(_, errors)) => {
                let told = errors
                    .0
                    .iter()
                    .map(|error| format!("no wish can be made of it: {error}"));
                candidate.problems.extend(told);
            }
            Err(error) => candidate.problems.push(error.to_string()),
        }
    }
    candidate
}

fn key_of_certificate(secret: &SecretSeen) -> Option<String> {
    let holds = |part: &Part| matches!(part, Part::Certificate | Part::CertificateAndChain | Part::Bundle);
    let mut found = secret.parts.iter().filter(|(_, (part, _))| holds(part));
    found.next().map(|(name, _)| name.clone())
}

/// Who seems to look after a Secret, by the marks that the usual tools leave.
fn managed_by(secret: &SecretSeen) -> Option<String> {
    if let Some(name) = secret.annotations.get(CERT_MANAGER) {
        return Some(format!("cert-manager (Certificate {name})"));
    }
    if let Some(controller) = &secret.controller {
        return Some(controller.clone());
    }
    if let Some(tool) = secret.labels.get("app.kubernetes.io/managed-by") {
        let release = secret.annotations.get("meta.helm.sh/release-name");
        return Some(release.map_or_else(|| tool.clone(), |release| format!("{tool} (release {release})")));
    }
    let last = secret.writers.iter().next()?;
    Some(format!("last written by {last}"))
}

fn problems(secret: &SecretSeen, taken: &BTreeMap<ObjectKey, ObjectKey>, now: Timestamp) -> Vec<String> {
    let mut problems = Vec::new();
    match &secret.private_key {
        None => problems.push("there is no private key that can be read".to_owned()),
        Some(key) if !key.fits => problems.push(format!(
            "the key under {} does not belong to the certificate",
            key.name
        )),
        Some(_) => {}
    }
    if let Some(certificate) = &secret.certificate
        && certificate.not_after() <= now
    {
        problems.push(format!("the certificate ended {}", certificate.not_after()));
    }
    if let Some(owner) = taken.get(&secret.key) {
        problems.push(format!("Certificate {owner} names it as an output"));
    }
    if let Some(controller) = &secret.controller {
        problems.push(format!(
            "the controller {controller} owns it and would write it again"
        ));
    }
    if ![TLS_TYPE, OPAQUE_TYPE].contains(&secret.kind.as_str()) {
        problems.push(format!("its type {} is not supported", secret.kind));
    }
    if secret.parts.len() > MAX_KEYS {
        problems.push(format!(
            "{} keys hold certificates or keys; allowed: {MAX_KEYS}",
            secret.parts.len()
        ));
    }
    problems
}

fn notes(secret: &SecretSeen) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(name) = secret.annotations.get(CERT_MANAGER) {
        notes.push(format!(
            "cert-manager writes it while its Certificate {name} exists; delete that first (cert-manager leaves the Secret)"
        ));
    }
    if secret.immutable {
        notes.push("it is immutable; the first renewal deletes and creates it".to_owned());
    }
    let others = secret
        .certificate
        .as_ref()
        .map_or(0, pki::Certificate::other_sans);
    if others > 0 {
        notes.push(format!(
            "{others} alternative names of other kinds are not asked for again"
        ));
    }
    notes
}

/// The Secret's name, unless a Certificate has it already.
fn free_name(secret: &ObjectKey, certificates: &[Item]) -> String {
    let free = |name: &str| {
        !certificates
            .iter()
            .any(|item| item.key.namespace == secret.namespace && item.key.name == name)
    };
    let names =
        std::iter::once(secret.name.to_string()).chain((1..100).map(|n| format!("{}-{n}", secret.name)));
    names
        .into_iter()
        .find(|name| free(name))
        .unwrap_or_else(|| secret.name.to_string())
}

fn suggested(secret: &SecretSeen, name: &str, issuer: Option<&ObjectKey>) -> Value {
    let elsewhere = issuer.filter(|issuer| issuer.namespace != secret.key.namespace);
    let mut reference = fields([("name", json!(issuer.map_or("", |issuer| issuer.name.as_str())))]);
    reference.extend(elsewhere.map(|issuer| ("namespace".to_owned(), json!(issuer.namespace))));
    let mut spec = fields([("issuerRef", reference.into()), ("existing", json!("Adopt"))]);
    spec.extend(wish(secret));
    json!({
        "apiVersion": API_VERSION,
        "kind": "Certificate",
        "metadata": { "namespace": secret.key.namespace, "name": name },
        "spec": spec,
    })
}

fn fields<const N: usize>(of: [(&str, Value); N]) -> Map<String, Value> {
    of.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn wish(secret: &SecretSeen) -> Map<String, Value> {
    let mut spec = Map::new();
    let Some(certificate) = &secret.certificate else {
        return spec;
    };
    let subject = certificate.subject();
    match subject.common_name() {
        Some(name) if subject.rdns().len() == 1 && name.chars().count() <= MAX_COMMON_NAME => {
            spec.insert("commonName".to_owned(), name.into());
        }
        _ if subject.is_empty() => {}
        _ => drop(spec.insert("literalSubject".to_owned(), subject.to_rfc4514().into())),
    }
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for san in certificate.sans() {
        let (field, text) = match san {
            San::Dns(text) => ("dnsNames", text.as_str().to_owned()),
            San::Ip(address) => ("ipAddresses", address.to_string()),
            San::Uri(text) => ("uris", text.as_str().to_owned()),
            San::Email(text) => ("emailAddresses", text.as_str().to_owned()),
        };
        names.entry(field).or_default().push(text);
    }
    let simple = certificate.key_usage().map(KeyUsages::iter).into_iter().flatten();
    let extended = certificate.extended_key_usages().unwrap_or_default();
    let usages: Vec<String> = simple
        .map(|usage| usage.word().to_owned())
        .chain(extended.iter().map(ToString::to_string))
        .collect();
    if !usages.is_empty() {
        names.insert("usages", usages);
    }
    spec.extend(
        names
            .into_iter()
            .map(|(name, texts)| (name.to_owned(), texts.into())),
    );
    if certificate.is_ca() {
        spec.insert("isCA".to_owned(), true.into());
    }
    if let Some(key) = &secret.private_key {
        spec.insert("privateKey".to_owned(), private_key(secret, key.algorithm).into());
    }
    let (name, value) = place(secret);
    spec.insert(name.to_owned(), value);
    spec
}

fn private_key(secret: &SecretSeen, algorithm: KeyAlgorithm) -> Map<String, Value> {
    let (word, size) = match algorithm {
        KeyAlgorithm::Rsa2048 => ("RSA", Some(2048)),
        KeyAlgorithm::Rsa3072 => ("RSA", Some(3072)),
        KeyAlgorithm::Rsa4096 => ("RSA", Some(4096)),
        KeyAlgorithm::EcP256 => ("ECDSA", Some(256)),
        KeyAlgorithm::EcP384 => ("ECDSA", Some(384)),
        KeyAlgorithm::EcP521 => ("ECDSA", Some(521)),
        KeyAlgorithm::Ed25519 => ("Ed25519", None),
    };
    let mut key = fields([("algorithm", word.into())]);
    key.extend(size.map(|size| ("size".to_owned(), size.into())));
    if is_short(secret) && secret.parts.get("tls.key") == Some(&(Part::Key, Format::PKCS1PEM)) {
        key.insert("encoding".to_owned(), "PKCS1".into());
    }
    key
}

/// Whether it is a Secret as `secretName` makes it.
fn is_short(secret: &SecretSeen) -> bool {
    let part = |name: &str| secret.parts.get(name).map(|(part, _)| *part);
    let usual = ["tls.key", "tls.crt", "ca.crt"];
    secret.kind == TLS_TYPE
        && part("tls.key") == Some(Part::Key)
        && matches!(
            part("tls.crt"),
            Some(Part::Certificate | Part::CertificateAndChain)
        )
        && secret.parts.keys().all(|name| usual.contains(&name.as_str()))
}

/// The short way where the Secret looks like that, else each key with what lies there now.
fn place(secret: &SecretSeen) -> (&'static str, Value) {
    let name = &secret.key.name;
    if is_short(secret) {
        return ("secretName", name.as_str().into());
    }
    let keys: Map<String, Value> = secret
        .parts
        .iter()
        .map(|(name, (part, format))| (name.clone(), json!({ "part": part, "format": format })))
        .collect();
    let output = json!({ "secret": { "name": name, "type": secret.kind }, "keys": keys });
    ("outputs", vec![output].into())
}

/// Makes the Certificates of these candidates. One failure stops none of the others.
pub async fn run(objects: &dyn Objects, chosen: &[Candidate], run: Run) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for candidate in chosen {
        let outcome = |result, problem, object| Outcome {
            namespace: candidate.namespace.clone(),
            secret: candidate.secret.clone(),
            result,
            problem,
            object,
        };
        let Some(object) = &candidate.suggested else {
            let why = candidate.problems.join("; ");
            outcomes.push(outcome(AdoptResult::Failed, Some(why), None));
            continue;
        };
        outcomes.push(match (objects.create(object, run).await, run) {
            (Ok(_), Run::Dry) => outcome(AdoptResult::WouldCreate, None, Some(object.clone())),
            (Ok(made), Run::Real) => outcome(AdoptResult::Created, None, Some(made.value)),
            (Err(error), _) => outcome(AdoptResult::Failed, Some(problem(&error)), Some(object.clone())),
        });
    }
    outcomes
}
