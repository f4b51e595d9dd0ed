//! What lists answer: one row for each object, made once when the object changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::certificate::{Certificate, OutputStatus, PrivateKeyAlgorithm, Purpose};
use crate::model::condition::{Condition, ConditionStatus};
use crate::model::issuer::{FailureStatus, Issuer};
use crate::model::object::{Metadata, ObjectKey};
use crate::model::plan::{InputKind, InputRef, IssuerPlan, is_namespace, is_object_name};
use crate::store::{Broken, Seen};

/// Schema of a time: RFC 3339, UTC.
pub(crate) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Name {
    /// Namespace.
    #[schemars(length(min = 1, max = 63))]
    #[serde(deserialize_with = "of_namespace")]
    pub(crate) namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    #[serde(deserialize_with = "of_object")]
    pub(crate) name: String,
}

fn of_namespace<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    let text = String::deserialize(reader)?;
    match is_namespace(&text) {
        true => Ok(text),
        false => Err(serde::de::Error::custom("cannot be a namespace")),
    }
}

fn of_object<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    let text = String::deserialize(reader)?;
    match is_object_name(&text) {
        true => Ok(text),
        false => Err(serde::de::Error::custom("cannot be the name of an object")),
    }
}

impl From<&ObjectKey> for Name {
    fn from(key: &ObjectKey) -> Self {
        Self {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

impl Name {
    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// How an object is doing: the first of the two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum State {
    /// In use and as it should be.
    Ready,
    /// A certificate is being made, or the CA wants time.
    Issuing,
    /// The last attempt failed, the object is wrong, or its certificate ended.
    Failed,
    /// Something stands against it, without a failed attempt.
    Blocked,
    /// It is being deleted.
    Deleting,
    /// Nothing was reported yet.
    Unknown,
}

/// How near the end of a certificate's life is: the second axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Band {
    /// It is over.
    #[serde(rename = "expired")]
    Expired,
    /// At most 7 days.
    #[serde(rename = "7")]
    Days7,
    /// At most 30 days.
    #[serde(rename = "30")]
    Days30,
    /// At most 90 days.
    #[serde(rename = "90")]
    Days90,
    /// At most 180 days.
    #[serde(rename = "180")]
    Days180,
    /// More than 180 days.
    #[serde(rename = "ok")]
    Ok,
    /// There is no certificate.
    #[serde(rename = "none")]
    None,
}

impl Band {
    pub(crate) fn of(not_after: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(not_after) = not_after else {
            return Self::None;
        };
        let left = not_after.duration_since(now);
        let days = |n: i64| SignedDuration::from_hours(24 * n);
        match left {
            left if left <= SignedDuration::ZERO => Self::Expired,
            left if left <= days(7) => Self::Days7,
            left if left <= days(30) => Self::Days30,
            left if left <= days(90) => Self::Days90,
            left if left <= days(180) => Self::Days180,
            _ => Self::Ok,
        }
    }
}

/// A Certificate in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CertificateRow {
    /// Namespace.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// Identity of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// Version of the object; in quotation marks it is the ETag.
    pub(crate) resource_version: String,
    /// How it is doing.
    pub(crate) state: State,
    /// Why, one word.
    pub(crate) reason: String,
    /// Why, a sentence.
    pub(crate) message: String,
    /// How near its end is.
    pub(crate) band: Band,
    /// The Issuer.
    pub(crate) issuer: Name,
    /// Common name, or the whole subject where it was written so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) common_name: Option<String>,
    /// DNS names.
    pub(crate) dns_names: Vec<String>,
    /// Algorithm of the key.
    pub(crate) algorithm: String,
    /// Size of the key in bits, where the algorithm has sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u32>,
    /// The first Secret that it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_name: Option<String>,
    /// Start of the current certificate's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) not_before: Option<Timestamp>,
    /// End of the current certificate's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) not_after: Option<Timestamp>,
    /// When it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) renewal_time: Option<Timestamp>,
    /// Serial number, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial_number: Option<String>,
    /// How many certificates were issued for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
    /// Whether an output differs from what was written.
    pub(crate) drift: bool,
    /// What it is for.
    pub(crate) purpose: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// When the object was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) created: Option<Timestamp>,
    /// When `state` last changed, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) since: Option<Timestamp>,
    /// The last failure, gone after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_failure: Option<FailureRow>,
}

/// A failure.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureRow {
    /// Class: `Retry`, `Rejected`, `Untrusted`, `Misconfigured`.
    pub(crate) class: String,
    /// Reason, one word.
    pub(crate) reason: String,
    /// What happened, a sentence.
    pub(crate) message: String,
    /// When.
    #[schemars(with = "Time")]
    pub(crate) time: Timestamp,
    /// Attempts since the last success.
    pub(crate) attempts: u32,
}

impl From<FailureStatus> for FailureRow {
    fn from(failure: FailureStatus) -> Self {
        Self {
            class: failure.class,
            reason: failure.reason,
            message: failure.message,
            time: failure.time,
            attempts: failure.attempts,
        }
    }
}

/// An Issuer in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssuerRow {
    /// Namespace.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// Identity of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// Version of the object; in quotation marks it is the ETag.
    pub(crate) resource_version: String,
    /// Whether certificates can be had from it.
    pub(crate) ready: bool,
    /// How it is doing.
    pub(crate) state: State,
    /// Why, one word.
    pub(crate) reason: String,
    /// Why, a sentence.
    pub(crate) message: String,
    /// Address of the CMP endpoint.
    pub(crate) url: String,
    /// Who speaks CMP.
    pub(crate) engine: String,
    /// Initial authentication.
    pub(crate) auth: Auth,
    /// The CMP identity, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<IdentityRow>,
    /// How many Certificates that the caller may see refer to it.
    pub(crate) certificates: usize,
    /// Last answer of the CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) last_contact: Option<Timestamp>,
    /// Last failure of the CMP identity's life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<FailureRow>,
    /// When the object was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) created: Option<Timestamp>,
    /// When `state` last changed, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub(crate) since: Option<Timestamp>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
}

/// How an Issuer authenticates at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum Auth {
    /// With a shared secret.
    Mac,
    /// With a certificate.
    Certificate,
    /// The object is broken.
    Unknown,
}

/// The CMP identity of an Issuer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityRow {
    /// Subject, RFC 4514.
    pub(crate) subject: String,
    /// Start of its life.
    #[schemars(with = "Time")]
    pub(crate) not_before: Timestamp,
    /// End of its life.
    #[schemars(with = "Time")]
    pub(crate) not_after: Timestamp,
    /// When it is renewed.
    #[schemars(with = "Time")]
    pub(crate) renewal_time: Timestamp,
    /// Serial number, hexadecimal.
    pub(crate) serial_number: String,
    /// How many certificates it had.
    pub(crate) revision: u64,
    /// How near its end is.
    pub(crate) band: Band,
}

/// What is remembered of a Certificate.
#[derive(Debug)]
pub(crate) struct CertificateEntry {
    pub(crate) row: CertificateRow,
    /// Secrets that it writes, with the keys of each.
    pub(crate) outputs: Vec<(ObjectKey, Vec<String>)>,
    /// Their state as reported.
    pub(crate) states: Vec<OutputStatus>,
    /// What happens when they are changed: the word of `onDrift`.
    pub(crate) on_drift: &'static str,
}

/// What is remembered of an Issuer.
#[derive(Debug)]
pub(crate) struct IssuerEntry {
    pub(crate) row: IssuerRow,
    /// Secrets and ConfigMaps that it reads, with what for and which keys.
    pub(crate) inputs: Vec<InputUse>,
    /// Whether a CMP identity is wished for.
    pub(crate) wants_identity: bool,
}

/// What an Issuer reads.
#[derive(Clone, Debug)]
pub(crate) struct InputUse {
    pub(crate) input: InputRef,
    pub(crate) key: String,
    pub(crate) path: &'static str,
}

/// State, reason, message and since when, by the conditions.
struct Told {
    state: State,
    reason: String,
    message: String,
    since: Option<Timestamp>,
}

fn told(conditions: &[Condition], failed: bool, metadata: &Metadata) -> Told {
    let find = |kind: &str| conditions.iter().find(|c| c.kind == kind);
    let ready = find("Ready");
    let issuing = find("Issuing").filter(|c| c.reason != "UpToDate");
    let is_ready = ready.is_some_and(|c| c.status == ConditionStatus::True);
    let is_issuing = issuing.is_some_and(|c| c.status == ConditionStatus::True)
        || (!is_ready
            && ready.is_some_and(|c| matches!(c.reason.as_str(), "Issuing" | "Pending" | "IdentityPending")));
    let wrong = ready.is_some_and(|c| matches!(c.reason.as_str(), "InvalidSpec" | "Expired"));
    let said = issuing.or(ready);
    let state = if metadata.deletion_timestamp.is_some() {
        State::Deleting
    } else if wrong {
        State::Failed
    } else if is_ready {
        State::Ready
    } else if failed {
        State::Failed
    } else if is_issuing {
        State::Issuing
    } else if ready.is_some() {
        State::Blocked
    } else {
        State::Unknown
    };
    Told {
        state,
        reason: said.map_or_else(String::new, |c| c.reason.clone()),
        message: said.map_or_else(String::new, |c| c.message.clone()),
        since: ready.map(|c| c.last_transition_time),
    }
}

impl CertificateEntry {
    /// What is remembered of a Certificate as it is now.
    pub(crate) fn of(key: &ObjectKey, version: &str, seen: &Seen<Certificate>, home: &str) -> Self {
        match seen {
            Seen::Object(object) => Self::of_object(key, version, object, home),
            Seen::Broken(broken) => Self::of_broken(key, version, broken),
        }
    }

    fn of_object(key: &ObjectKey, version: &str, object: &Certificate, home: &str) -> Self {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let status = object.status.clone().unwrap_or_default();
        let told = told(&status.conditions, status.last_failure.is_some(), metadata);
        let private_key = spec.private_key.clone().unwrap_or_default();
        let (algorithm, size) = algorithm(private_key.algorithm, private_key.size);
        let outputs = outputs(key, object, home);
        let issuer_namespace = spec
            .issuer_ref
            .namespace
            .as_deref()
            .unwrap_or(key.namespace.as_str());
        let row = CertificateRow {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: metadata.uid.clone(),
            resource_version: version.to_owned(),
            state: told.state,
            reason: told.reason,
            message: told.message,
            band: Band::None,
            issuer: Name {
                namespace: issuer_namespace.to_owned(),
                name: spec.issuer_ref.name.clone(),
            },
            common_name: spec.common_name.clone().or_else(|| spec.literal_subject.clone()),
            dns_names: spec.dns_names.clone(),
            algorithm,
            size,
            secret_name: outputs.first().map(|(secret, _)| secret.name.to_string()),
            not_before: status.not_before,
            not_after: status.not_after,
            renewal_time: status.renewal_time,
            serial_number: status.serial_number,
            revision: status.revision,
            drift: status
                .outputs
                .iter()
                .any(|output| !matches!(output.state.as_str(), "InSync" | "Pending")),
            purpose: match spec.purpose {
                Purpose::EndEntity => "EndEntity".to_owned(),
                Purpose::HealthCheck => "HealthCheck".to_owned(),
            },
            labels: metadata.labels.clone(),
            created: metadata.creation_timestamp,
            since: told.since,
            last_failure: status.last_failure.map(Into::into),
        };
        Self {
            row,
            outputs,
            states: status.outputs,
            on_drift: match spec.on_drift {
                crate::model::certificate::OnDrift::Restore => "Restore",
                crate::model::certificate::OnDrift::Reissue => "Reissue",
                crate::model::certificate::OnDrift::Alert => "Alert",
            },
        }
    }

    fn of_broken(key: &ObjectKey, version: &str, broken: &Arc<Broken>) -> Self {
        let row = CertificateRow {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: None,
            resource_version: version.to_owned(),
            state: State::Failed,
            reason: "InvalidSpec".to_owned(),
            message: broken_text(broken),
            band: Band::None,
            issuer: Name {
                namespace: key.namespace.to_string(),
                name: String::new(),
            },
            common_name: None,
            dns_names: Vec::new(),
            algorithm: String::new(),
            size: None,
            secret_name: None,
            not_before: None,
            not_after: None,
            renewal_time: None,
            serial_number: None,
            revision: None,
            drift: false,
            purpose: String::new(),
            labels: BTreeMap::new(),
            created: None,
            since: None,
            last_failure: None,
        };
        Self {
            row,
            outputs: Vec::new(),
            states: Vec::new(),
            on_drift: "Restore",
        }
    }

    /// The row as it is at this moment.
    pub(crate) fn row(&self, now: Timestamp) -> CertificateRow {
        let mut row = self.row.clone();
        row.band = Band::of(row.not_after, now);
        if row.band == Band::Expired && row.state == State::Ready {
            row.state = State::Failed;
        }
        row
    }
}

/// Where the object lies and what is wrong, without the excerpt.
fn broken_text(broken: &Broken) -> String {
    crate::model::condition::cut(
        format!("{}: {}", broken.origin, broken.errors),
        crate::model::condition::MESSAGE_BYTES,
    )
}

fn algorithm(algorithm: PrivateKeyAlgorithm, size: Option<u32>) -> (String, Option<u32>) {
    match algorithm {
        PrivateKeyAlgorithm::RSA => ("RSA".to_owned(), Some(size.unwrap_or(2048))),
        PrivateKeyAlgorithm::ECDSA => ("ECDSA".to_owned(), Some(size.unwrap_or(256))),
        PrivateKeyAlgorithm::Ed25519 => ("Ed25519".to_owned(), None),
    }
}

/// The Secrets that a Certificate writes, by its wish.
fn outputs(key: &ObjectKey, object: &Certificate, home: &str) -> Vec<(ObjectKey, Vec<String>)> {
    let plan = crate::model::plan::CertificatePlan::check(key.clone(), &object.spec, home);
    let Ok(plan) = plan else {
        return Vec::new();
    };
    plan.outputs
        .iter()
        .map(|output| {
            (
                output.secret.clone(),
                output.keys.keys().map(ToString::to_string).collect(),
            )
        })
        .collect()
}

impl IssuerEntry {
    /// What is remembered of an Issuer as it is now.
    pub(crate) fn of(key: &ObjectKey, version: &str, seen: &Seen<Issuer>) -> Self {
        match seen {
            Seen::Object(object) => Self::of_object(key, version, object),
            Seen::Broken(broken) => Self::of_broken(key, version, broken),
        }
    }

    fn of_object(key: &ObjectKey, version: &str, object: &Issuer) -> Self {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let status = object.status.clone().unwrap_or_default();
        let told = told(&status.conditions, status.last_failure.is_some(), metadata);
        let row = IssuerRow {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: metadata.uid.clone(),
            resource_version: version.to_owned(),
            ready: told.state == State::Ready,
            state: told.state,
            reason: told.reason,
            message: told.message,
            url: spec.url.clone(),
            engine: format!("{:?}", spec.engine),
            auth: match &spec.authentication.initial.mac {
                Some(_) => Auth::Mac,
                None => Auth::Certificate,
            },
            identity: status.identity.map(|identity| IdentityRow {
                subject: identity.subject,
                not_before: identity.not_before,
                not_after: identity.not_after,
                renewal_time: identity.renewal_time,
                serial_number: identity.serial_number,
                revision: identity.revision,
                band: Band::None,
            }),
            certificates: 0,
            last_contact: status.last_contact,
            last_error: status.last_failure.map(Into::into),
            created: metadata.creation_timestamp,
            since: told.since,
            labels: metadata.labels.clone(),
        };
        let inputs = IssuerPlan::check(key.clone(), spec).map_or_else(|_| Vec::new(), |plan| uses(&plan));
        Self {
            row,
            inputs,
            wants_identity: spec.authentication.identity.is_some(),
        }
    }

    fn of_broken(key: &ObjectKey, version: &str, broken: &Arc<Broken>) -> Self {
        let row = IssuerRow {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: None,
            resource_version: version.to_owned(),
            ready: false,
            state: State::Failed,
            reason: "InvalidSpec".to_owned(),
            message: broken_text(broken),
            url: String::new(),
            engine: String::new(),
            auth: Auth::Unknown,
            identity: None,
            certificates: 0,
            last_contact: None,
            last_error: None,
            created: None,
            since: None,
            labels: BTreeMap::new(),
        };
        Self {
            row,
            inputs: Vec::new(),
            wants_identity: false,
        }
    }

    /// The row as it is at this moment.
    pub(crate) fn row(&self, now: Timestamp, certificates: usize) -> IssuerRow {
        let mut row = self.row.clone();
        row.certificates = certificates;
        if let Some(identity) = &mut row.identity {
            identity.band = Band::of(Some(identity.not_after), now);
        }
        row
    }
}

fn uses(plan: &IssuerPlan) -> Vec<InputUse> {
    use crate::model::plan::InitialPlan;
    let mut uses = Vec::new();
    let mut add = |path: &'static str, key: &crate::model::plan::InputKey| {
        uses.push(InputUse {
            input: key.input.clone(),
            key: key.key.clone(),
            path,
        });
    };
    match &plan.initial {
        InitialPlan::Mac { secret, .. } => add("mac", secret),
        InitialPlan::Certificate(pair) => {
            add("certificate", &pair.certificate);
            add("certificate", &pair.private_key);
        }
    }
    if let Some(key) = &plan.trust_responses {
        add("responses", key);
    }
    if let Some(key) = &plan.trust_certificates {
        add("certificates", key);
    }
    if let Some(tls) = &plan.tls {
        add("tls", &tls.anchors);
        if let Some(pair) = &tls.client {
            add("tlsClient", &pair.certificate);
            add("tlsClient", &pair.private_key);
        }
    }
    uses
}

/// The word of an input's kind.
pub(crate) fn input_word(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Secret => "Secret",
        InputKind::ConfigMap => "ConfigMap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_end_at_their_days() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let after = |days: i64, seconds: i64| {
            Some(now + SignedDuration::from_hours(24 * days) + SignedDuration::from_secs(seconds))
        };
        for (not_after, band) in [
            (None, Band::None),
            (after(0, 0), Band::Expired),
            (after(0, 1), Band::Days7),
            (after(7, 0), Band::Days7),
            (after(7, 1), Band::Days30),
            (after(30, 1), Band::Days90),
            (after(90, 1), Band::Days180),
            (after(180, 1), Band::Ok),
        ] {
            assert_eq!(Band::of(not_after, now), band, "{not_after:?}");
        }
    }
}
