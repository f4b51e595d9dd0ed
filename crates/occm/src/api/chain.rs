//! Chains: the certificates of one Certificate with a verdict, and every CA certificate that is known.
//!
//! Only certificates are read here. A private key in the same Secret is dropped unread.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use pki::{Anchors, Certificate, Purpose};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::dto::{Band, Time};
use crate::api::problem::{Answer, Fault};
use crate::api::routes::{Key, List, Reply};
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKey, InputKind, InputRef};
use crate::record::Record;
use crate::store::Subject;

/// Certificates of a chain that are told, at most.
const MAX_TOLD: usize = 32;
/// Issuers whose anchors are read for one list.
const MAX_ISSUERS: usize = 200;

/// The chain of a Certificate.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chain {
    /// Whether it leads to the Issuer's anchors now.
    verdict: Verdict,
    /// Why, a sentence.
    why: String,
    /// Where it was read from: `Output`, `Record`, or `Nowhere`.
    read_from: String,
    /// The certificates, leaf first.
    certificates: Vec<Link>,
}

/// Whether a chain is good.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum Verdict {
    /// It leads to an anchor.
    Valid,
    /// It does not.
    Invalid,
    /// It cannot be told.
    Unknown,
}

/// A certificate of a chain.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    /// Subject, RFC 4514.
    subject: String,
    /// Issuer, RFC 4514.
    issuer: String,
    /// Serial number, hexadecimal.
    serial_number: String,
    /// Start of its life.
    #[schemars(with = "Time")]
    not_before: Timestamp,
    /// End of its life.
    #[schemars(with = "Time")]
    not_after: Timestamp,
    /// SHA-256, hexadecimal.
    fingerprint_sha256: String,
    /// Whether it is a CA's.
    is_ca: bool,
    /// Whether it names itself as its issuer.
    self_signed: bool,
    /// What is in it, for people.
    text: String,
    /// PEM.
    pem: String,
    /// What is wrong with it.
    problems: Vec<String>,
}

impl Link {
    fn of(certificate: &Certificate, now: Timestamp) -> Self {
        Self {
            subject: certificate.subject().to_rfc4514(),
            issuer: certificate.issuer().to_rfc4514(),
            serial_number: certificate.serial(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            fingerprint_sha256: certificate.fingerprint_sha256(),
            is_ca: certificate.is_ca(),
            self_signed: certificate.is_self_issued(),
            text: pki::inspect::certificate(certificate),
            pem: certificate.to_pem(),
            problems: problems(certificate, now),
        }
    }
}

fn problems(certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut problems = Vec::new();
    if certificate.not_after() <= now {
        problems.push(format!("its life ended at {:.0}", certificate.not_after()));
    }
    if certificate.not_before() > now {
        problems.push(format!("its life begins only at {:.0}", certificate.not_before()));
    }
    if certificate.signature_algorithm().is_err() {
        problems.push("it is signed with an old or unknown algorithm".to_owned());
    }
    problems
}

/// `GET /api/v1/certificates/{namespace}/{name}/chain`
pub(crate) async fn chain(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Key(key): Key,
) -> Answer<Reply<Chain>> {
    api.allow(&caller, Verb::Get, Resource::Certificates, &key)
        .await?;
    let entry = api.view.read().certificates.get(&key).cloned();
    let entry = entry.ok_or_else(|| Fault::not_found(format_args!("Certificate {key}")))?;
    let now = api.clock.now();
    let mut read_from = "Output";
    let mut found = Vec::new();
    for (secret, _) in &entry.outputs {
        if let Ok(Some(content)) = api.store.read_secret(secret).await {
            for value in content.data.values() {
                add(
                    &mut found,
                    pki::encoding::parse_certificates(value.expose()).unwrap_or_default(),
                );
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        read_from = "Record";
        found = recorded(&api, &Subject::Certificate(key.clone())).await;
    }
    let serial = entry.row.serial_number.as_deref();
    let leaf = found
        .iter()
        .find(|one| Some(one.serial().as_str()) == serial)
        .or_else(|| found.iter().find(|one| !one.is_ca()))
        .or(found.first())
        .cloned();
    let Some(leaf) = leaf else {
        return Ok(Reply::ok(Chain {
            verdict: Verdict::Unknown,
            why: "there is no certificate yet".to_owned(),
            read_from: "Nowhere".to_owned(),
            certificates: Vec::new(),
        }));
    };
    let issuer = entry.row.issuer.key();
    let anchors = anchors(&api, &issuer).await;
    let (verdict, why, path) = judge(&leaf, &found, anchors, now);
    let mut told = path.unwrap_or_else(|| pki::build_chain(&leaf, &found));
    for one in &found {
        if !told.contains(one) {
            told.push(one.clone());
        }
    }
    Ok(Reply::ok(Chain {
        verdict,
        why,
        read_from: read_from.to_owned(),
        certificates: told.iter().take(MAX_TOLD).map(|one| Link::of(one, now)).collect(),
    }))
}

fn judge(
    leaf: &Certificate,
    pool: &[Certificate],
    anchors: Result<Anchors, String>,
    now: Timestamp,
) -> (Verdict, String, Option<Vec<Certificate>>) {
    let anchors = match anchors {
        Ok(anchors) => anchors,
        Err(why) => return (Verdict::Unknown, why, None),
    };
    match pki::verify_chain(leaf, pool, &anchors, now, Purpose::AnyEku) {
        Ok(path) => {
            let root = path
                .last()
                .map(|root| root.subject().to_rfc4514())
                .unwrap_or_default();
            let why = format!("it leads to {root}, which the Issuer trusts; revocation was not looked at");
            (Verdict::Valid, why, Some(path))
        }
        Err(error) => (Verdict::Invalid, error.to_string(), None),
    }
}

fn add(found: &mut Vec<Certificate>, more: Vec<Certificate>) {
    for one in more {
        if !found.contains(&one) {
            found.push(one);
        }
    }
}

/// The certificates in a record.
async fn recorded(api: &Api, subject: &Subject) -> Vec<Certificate> {
    let Ok(Some(seen)) = api.store.read_record(subject).await else {
        return Vec::new();
    };
    let current = Record::from_bytes(seen.bytes.expose())
        .ok()
        .and_then(|record| record.current)
        .or_else(|| Record::minimal_from_bytes(seen.bytes.expose()));
    let Some(current) = current else {
        return Vec::new();
    };
    let mut found = vec![current.certificate.clone()];
    add(&mut found, current.chain.clone());
    add(&mut found, current.root.clone().into_iter().collect());
    found
}

/// What an Issuer trusts for issued certificates.
async fn anchors(api: &Api, issuer: &ObjectKey) -> Result<Anchors, String> {
    let used = {
        let inner = api.view.read();
        let entry = inner.issuers.get(issuer);
        let uses = entry.map(|entry| entry.inputs.clone()).unwrap_or_default();
        let of = |path: &str| uses.iter().find(|used| used.path == path).cloned();
        of("certificates").or_else(|| of("responses"))
    };
    let Some(used) = used else {
        return Err(format!(
            "Issuer {issuer} is not there, or its trust cannot be told"
        ));
    };
    let key = InputKey {
        input: used.input,
        key: used.key,
    };
    let certificates = certificates_of(api, &key).await?;
    Anchors::new(certificates).map_err(|error| error.to_string())
}

async fn certificates_of(api: &Api, key: &InputKey) -> Result<Vec<Certificate>, String> {
    let name = input_name(&key.input);
    let data = api
        .store
        .read_input(&key.input)
        .await
        .map_err(|error| error.to_string())?;
    let value = data
        .as_ref()
        .and_then(|data| data.get(&key.key))
        .ok_or_else(|| format!("{name} with the key {:?} is not there", key.key))?;
    pki::encoding::parse_certificates(value.expose()).map_err(|error| format!("{name}: {error}"))
}

fn input_name(input: &InputRef) -> String {
    let kind = match input.kind {
        InputKind::Secret => "Secret",
        InputKind::ConfigMap => "ConfigMap",
    };
    format!("{kind} {}", input.object)
}

/// A CA certificate that is known.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CaCertificate {
    /// Subject, RFC 4514.
    subject: String,
    /// Issuer, RFC 4514.
    issuer: String,
    /// Serial number, hexadecimal.
    serial_number: String,
    /// SHA-256, hexadecimal.
    fingerprint_sha256: String,
    /// Start of its life.
    #[schemars(with = "Time")]
    not_before: Timestamp,
    /// End of its life.
    #[schemars(with = "Time")]
    not_after: Timestamp,
    /// How near its end is.
    band: Band,
    /// Whether it names itself as its issuer.
    self_signed: bool,
    /// PEM.
    pem: String,
    /// Where it is used.
    used_by: Vec<UsedBy>,
}

/// Where a CA certificate is used.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsedBy {
    /// `Issuer`.
    kind: String,
    namespace: String,
    name: String,
    /// What for: `responses`, `certificates`, `tls` (as an anchor), `chain` (of the CMP identity).
    r#use: String,
}

/// `GET /api/v1/chains`
pub(crate) async fn chains(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Answer<Reply<List<CaCertificate>>> {
    let namespaces = api
        .namespaces_where(&caller, Verb::List, Resource::Issuers)
        .await?;
    let issuers: Vec<_> = {
        let inner = api.view.read();
        inner
            .issuers
            .iter()
            .filter(|(key, _)| namespaces.iter().any(|name| *name == key.namespace))
            .take(MAX_ISSUERS)
            .map(|(key, entry)| (key.clone(), Arc::clone(entry)))
            .collect()
    };
    let mut known: BTreeMap<String, (Certificate, Vec<UsedBy>)> = BTreeMap::new();
    for (key, entry) in issuers {
        for used in &entry.inputs {
            if !matches!(used.path, "responses" | "certificates" | "tls") {
                continue;
            }
            let input = InputKey {
                input: used.input.clone(),
                key: used.key.clone(),
            };
            for certificate in certificates_of(&api, &input).await.unwrap_or_default() {
                note(&mut known, certificate, &key, used.path);
            }
        }
        for certificate in recorded(&api, &Subject::Identity(key.clone())).await {
            if certificate.is_ca() {
                note(&mut known, certificate, &key, "chain");
            }
        }
    }
    let now = api.clock.now();
    let items = known
        .into_iter()
        .map(|(fingerprint_sha256, (certificate, used_by))| CaCertificate {
            subject: certificate.subject().to_rfc4514(),
            issuer: certificate.issuer().to_rfc4514(),
            serial_number: certificate.serial(),
            fingerprint_sha256,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            band: Band::of(Some(certificate.not_after()), now),
            self_signed: certificate.is_self_issued(),
            pem: certificate.to_pem(),
            used_by,
        });
    Ok(Reply::ok(List::whole(items.collect())))
}

fn note(
    known: &mut BTreeMap<String, (Certificate, Vec<UsedBy>)>,
    certificate: Certificate,
    issuer: &ObjectKey,
    what_for: &str,
) {
    let used = UsedBy {
        kind: Kind::Issuer.as_str().to_owned(),
        namespace: issuer.namespace.to_string(),
        name: issuer.name.to_string(),
        r#use: what_for.to_owned(),
    };
    let entry = known
        .entry(certificate.fingerprint_sha256())
        .or_insert_with(|| (certificate, Vec::new()));
    if !entry.1.contains(&used) {
        entry.1.push(used);
    }
}
