//! Writes: one request each, never blind.
//!
//! | Write | Request |
//! | --- | --- |
//! | create an output | POST |
//! | change or adopt an output, give up our keys of it | merge patch of our fields that carries the expected resourceVersion |
//! | delete | DELETE with uid and resourceVersion as preconditions |
//! | record | POST, then PUT with the expected resourceVersion |
//! | status | JSON patch that replaces the whole status |
//!
//! Not server-side apply: it makes a Secret that was deleted in the meantime again, whatever resourceVersion it carries, and
//! an apply without data takes away ours. The managed fields in the answer show what the writer owns and writes no longer;
//! after a change of the layout a second request removes that.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::model::object::{FINALIZER, Kind, ObjectKey, ROLE_LABEL, ROLE_RECORD};
use crate::store::kube::api::{Answer, Api, Payload, escape, parse};
use crate::store::kube::paths;
use crate::store::kube::wire::{
    EncodedData, EncodedValue, HashedSecret, MANAGER_PREFIX, Meta, MetaOnly, Nothing, RECORD_KEY,
    RECORD_TYPE, written_facts,
};
use crate::store::{
    ContentHash, Presence, SecretFacts, SecretRelease, SecretWrite, Status, StoreError, StoreResult, Subject,
    Version,
};

/// Annotation on a record: whose it is.
pub(super) const SUBJECT_ANNOTATION: &str = "occm.dev/subject";
/// Field manager of everything that belongs to no single Certificate.
const MANAGER: &str = "occm/manager";
/// Longest name of a field manager, by the API server's rules.
const MAX_MANAGER: usize = 128;
/// Attempts at a change of finalizers that somebody else changes at the same time.
const MAX_ATTEMPTS: usize = 5;

/// Name of the field manager of a Certificate.
fn manager(writer: &ObjectKey) -> String {
    let name = format!("{MANAGER_PREFIX}{}.{}", writer.namespace, writer.name);
    if name.len() <= MAX_MANAGER {
        return name;
    }
    let hash = ContentHash::of(name.as_bytes()).to_hex();
    format!("{MANAGER_PREFIX}{}", hash.get(..40).unwrap_or_default())
}

/// Whose record a Secret is, if it says so and has the name that follows from it.
pub(super) fn subject_of(meta: &Meta) -> Option<Subject> {
    let (kind, name) = meta.annotations.get(SUBJECT_ANNOTATION)?.split_once('/')?;
    let key = ObjectKey::new(&meta.namespace, name);
    let subject = match kind {
        "Issuer" => Subject::Identity(key),
        "Certificate" => Subject::Certificate(key),
        _ => return None,
    };
    (subject.record_name() == meta.name).then_some(subject)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: MetaBody<'a>,
    #[serde(rename = "type")]
    secret_type: &'a str,
    data: EncodedData<'a>,
}

#[derive(Serialize)]
struct MetaBody<'a> {
    name: &'a str,
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct SecretPatch<'a> {
    metadata: PatchMeta<'a>,
    #[serde(rename = "type")]
    secret_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<EncodedData<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatchMeta<'a> {
    resource_version: String,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
}

/// JSON that is wiped on drop.
fn to_bytes(value: &impl Serialize) -> StoreResult<Bytes> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
    serde_json::to_writer(&mut *bytes, value)
        .map_err(|error| StoreError::Refused("request".to_owned(), error.to_string()))?;
    Ok(Bytes::from_owner(bytes))
}

/// Creates an output.
pub(super) async fn create_secret(api: &Api, write: &SecretWrite) -> StoreResult<SecretFacts> {
    write.check_size()?;
    let what = write.key.to_string();
    let path = format!(
        "{}?fieldManager={}",
        paths::secrets(&write.key.namespace),
        escape(&manager(&write.writer))
    );
    let payload = Payload::Json(to_bytes(&SecretBody {
        api_version: "v1",
        kind: "Secret",
        metadata: MetaBody {
            name: &write.key.name,
            namespace: &write.key.namespace,
            labels: &write.labels,
            annotations: &write.annotations,
        },
        secret_type: &write.kind,
        data: EncodedData(&write.data),
    })?);
    let created: MetaOnly = api
        .call(&what, Method::POST, &path, payload, Answer::Metadata)
        .await?;
    Ok(written_facts(created.metadata, &write.kind, &write.data))
}

/// Changes an output that is in state `expected`.
pub(super) async fn update_secret(
    api: &Api,
    write: &SecretWrite,
    expected: Version,
) -> StoreResult<SecretFacts> {
    write.check_size()?;
    let what = write.key.to_string();
    let manager = manager(&write.writer);
    let path = format!("{}?fieldManager={}", paths::secret(&write.key), escape(&manager));
    let payload = Payload::MergePatch(to_bytes(&SecretPatch {
        metadata: PatchMeta {
            resource_version: expected.0.to_string(),
            labels: &write.labels,
            annotations: &write.annotations,
        },
        secret_type: &write.kind,
        data: (!write.data.is_empty()).then_some(EncodedData(&write.data)),
    })?);
    let answer = api
        .call_bytes(&what, Method::PATCH, &path, payload, Answer::Full)
        .await?;
    let leftovers = parse::<Ownership>(&what, &answer)?.leftovers(&manager, write);
    let facts = parse::<HashedSecret>(&what, &answer)?.into_facts();
    if leftovers.is_empty() {
        return Ok(facts);
    }
    let payload = Payload::MergePatch(to_bytes(&leftovers.removal(facts.version))?);
    let cleaned: HashedSecret = api
        .call(&what, Method::PATCH, &path, payload, Answer::Full)
        .await?;
    Ok(cleaned.into_facts())
}

/// Who owns which fields of a Secret.
#[derive(Deserialize)]
struct Ownership {
    metadata: OwnershipMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnershipMeta {
    #[serde(default)]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedFields {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    fields_v1: Value,
}

/// What a manager owns and writes no longer.
#[derive(Default)]
struct Leftovers {
    data: BTreeSet<String>,
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Ownership {
    fn leftovers(&self, manager: &str, write: &SecretWrite) -> Leftovers {
        let mut left = Leftovers::default();
        for entry in self
            .metadata
            .managed_fields
            .iter()
            .filter(|entry| entry.manager == manager)
        {
            let fields = &entry.fields_v1;
            let metadata = fields.get("f:metadata").unwrap_or(&Value::Null);
            // A write without data leaves the data as it is.
            if !write.data.is_empty() {
                left.data
                    .extend(owned(fields.get("f:data")).filter(|key| !write.data.contains_key(key)));
            }
            left.labels
                .extend(owned(metadata.get("f:labels")).filter(|key| !write.labels.contains_key(key)));
            left.annotations.extend(
                owned(metadata.get("f:annotations")).filter(|key| !write.annotations.contains_key(key)),
            );
        }
        left
    }
}

fn owned(fields: Option<&Value>) -> impl Iterator<Item = String> {
    let keys = fields
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|fields| fields.keys());
    keys.filter_map(|key| key.strip_prefix("f:").map(str::to_owned))
}

impl Leftovers {
    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.labels.is_empty() && self.annotations.is_empty()
    }

    fn removal(&self, expected: Version) -> Value {
        let none = |keys: &BTreeSet<String>| {
            keys.iter()
                .map(|key| (key.clone(), Value::Null))
                .collect::<Value>()
        };
        json!({
            "metadata": {
                "resourceVersion": expected.0.to_string(),
                "labels": none(&self.labels),
                "annotations": none(&self.annotations),
            },
            "data": none(&self.data),
        })
    }
}

/// Takes out of a Secret in state `expected` what a writer gives up.
pub(super) async fn release_secret(
    api: &Api,
    release: &SecretRelease,
    expected: Version,
) -> StoreResult<SecretFacts> {
    let what = release.key.to_string();
    let path = format!(
        "{}?fieldManager={}",
        paths::secret(&release.key),
        escape(&manager(&release.writer))
    );
    let going = Leftovers {
        data: release.data.clone(),
        labels: release.labels.clone(),
        annotations: release.annotations.clone(),
    };
    let payload = Payload::MergePatch(to_bytes(&going.removal(expected))?);
    let left: HashedSecret = api
        .call(&what, Method::PATCH, &path, payload, Answer::Full)
        .await?;
    Ok(left.into_facts())
}

/// Deletes a Secret that has this uid, if one is given, and is in state `expected`.
pub(super) async fn delete_secret(
    api: &Api,
    key: &ObjectKey,
    uid: Option<&str>,
    expected: Version,
) -> StoreResult<()> {
    let mut preconditions = json!({ "resourceVersion": expected.0.to_string() });
    if let (Some(uid), Some(fields)) = (uid, preconditions.as_object_mut()) {
        fields.insert("uid".to_owned(), uid.into());
    }
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions });
    let payload = Payload::Json(to_bytes(&options)?);
    let path = paths::secret(key);
    gone_is_fine(
        api.call::<Nothing>(&key.to_string(), Method::DELETE, &path, payload, Answer::Metadata)
            .await,
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    #[serde(rename = "type")]
    secret_type: &'static str,
    data: BTreeMap<&'static str, EncodedValue<'a>>,
}

/// Writes a record.
pub(super) async fn write_record(
    api: &Api,
    subject: &Subject,
    bytes: &pki::Secret,
    expected: Option<Version>,
) -> StoreResult<(ObjectKey, Version)> {
    let key = ObjectKey::new(subject.key().namespace.clone(), subject.record_name());
    let what = format!("record of {subject}");
    if bytes.len() > crate::store::MAX_VALUE_BYTES {
        return Err(StoreError::Refused(what, format!("{} bytes", bytes.len())));
    }
    let mut metadata = json!({
        "name": key.name,
        "namespace": key.namespace,
        "labels": { ROLE_LABEL: ROLE_RECORD },
        "annotations": { SUBJECT_ANNOTATION: format!("{}/{}", subject.kind(), subject.key().name) },
    });
    if let (Some(version), Some(fields)) = (expected, metadata.as_object_mut()) {
        fields.insert("resourceVersion".to_owned(), version.0.to_string().into());
    }
    let data = BTreeMap::from([(RECORD_KEY, EncodedValue(bytes.expose()))]);
    let record = RecordBody {
        api_version: "v1",
        kind: "Secret",
        metadata,
        secret_type: RECORD_TYPE,
        data,
    };
    let payload = Payload::Json(to_bytes(&record)?);
    let (method, path) = match expected {
        None => (Method::POST, paths::secrets(&key.namespace)),
        Some(_) => (Method::PUT, paths::secret(&key)),
    };
    let path = format!("{path}?fieldManager={}", escape(MANAGER));
    let written: StoreResult<MetaOnly> = api.call(&what, method, &path, payload, Answer::Metadata).await;
    match written {
        Ok(written) => Ok((key, written.metadata.version())),
        // Gone since it was read: no longer in the expected state.
        Err(StoreError::NotFound(what)) if expected.is_some() => Err(StoreError::Conflict(what)),
        Err(error) => Err(error),
    }
}

/// Deletes a record in state `expected`.
pub(super) async fn delete_record(api: &Api, subject: &Subject, expected: Version) -> StoreResult<()> {
    let key = ObjectKey::new(subject.key().namespace.clone(), subject.record_name());
    delete_secret(api, &key, None, expected).await
}

/// Replaces the status of an object.
pub(super) async fn write_status(api: &Api, object: &ObjectKey, status: &Status) -> StoreResult<()> {
    #[derive(Serialize)]
    struct Operation<'a, T> {
        op: &'static str,
        path: &'static str,
        value: &'a T,
    }
    let (op, status_path) = ("add", "/status");
    let (kind, payload) = match status {
        Status::Issuer(value) => (
            Kind::Issuer,
            to_bytes(&[Operation {
                op,
                path: status_path,
                value: value.as_ref(),
            }])?,
        ),
        Status::Certificate(value) => (
            Kind::Certificate,
            to_bytes(&[Operation {
                op,
                path: status_path,
                value: value.as_ref(),
            }])?,
        ),
    };
    let path = format!(
        "{}/status?fieldManager={}",
        paths::object(kind, object),
        escape(MANAGER)
    );
    let what = object.to_string();
    let call = api.call::<Nothing>(
        &what,
        Method::PATCH,
        &path,
        Payload::JsonPatch(payload),
        Answer::Metadata,
    );
    gone_is_fine(call.await)
}

/// Adds or removes our finalizer.
pub(super) async fn set_finalizer(api: &Api, object: &ObjectKey, presence: Presence) -> StoreResult<()> {
    let (what, path) = (object.to_string(), paths::object(Kind::Certificate, object));
    let mut last = StoreError::Conflict(what.clone());
    for _ in 0..MAX_ATTEMPTS {
        let now: StoreResult<MetaOnly> = api
            .call(&what, Method::GET, &path, Payload::Empty, Answer::Metadata)
            .await;
        let meta = match now {
            Ok(now) => now.metadata,
            Err(error) => return gone_is_fine(Err(error)),
        };
        let there = meta.finalizers.iter().any(|name| name == FINALIZER);
        if there == (presence == Presence::Present) {
            return Ok(());
        }
        let mut finalizers = meta.finalizers;
        match presence {
            Presence::Present => finalizers.push(FINALIZER.to_owned()),
            Presence::Absent => finalizers.retain(|name| name != FINALIZER),
        }
        let patch =
            json!({ "metadata": { "resourceVersion": meta.resource_version, "finalizers": finalizers } });
        let payload = Payload::MergePatch(to_bytes(&patch)?);
        let path = format!("{path}?fieldManager={}", escape(MANAGER));
        match gone_is_fine(
            api.call::<Nothing>(&what, Method::PATCH, &path, payload, Answer::Metadata)
                .await,
        ) {
            Err(error @ StoreError::Conflict(_)) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Sets annotations; an empty value removes one.
pub(super) async fn annotate(
    api: &Api,
    kind: Kind,
    object: &ObjectKey,
    annotations: &BTreeMap<String, String>,
) -> StoreResult<()> {
    let values: Value = annotations
        .iter()
        .map(|(key, value)| {
            (
                key.clone(),
                if value.is_empty() {
                    Value::Null
                } else {
                    value.as_str().into()
                },
            )
        })
        .collect();
    let payload = Payload::MergePatch(to_bytes(&json!({ "metadata": { "annotations": values } }))?);
    let path = format!("{}?fieldManager={}", paths::object(kind, object), escape(MANAGER));
    api.call::<Nothing>(
        &object.to_string(),
        Method::PATCH,
        &path,
        payload,
        Answer::Metadata,
    )
    .await
    .map(|_| ())
}

fn gone_is_fine(result: StoreResult<Nothing>) -> StoreResult<()> {
    match result {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(keys: &[&str]) -> SecretWrite {
        SecretWrite {
            key: ObjectKey::new("n", "out"),
            writer: ObjectKey::new("n", "c"),
            kind: "Opaque".to_owned(),
            data: keys
                .iter()
                .map(|key| ((*key).to_owned(), pki::Secret::from(&b"x"[..])))
                .collect(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn what_a_manager_created_and_writes_no_longer_is_left_over() {
        let ownership: Ownership = serde_json::from_value(json!({"metadata": {"managedFields": [
            {"manager": "occm/n.c", "operation": "Update", "fieldsV1": {"f:data": {".": {}, "f:old": {}, "f:tls.key": {}}}},
            {"manager": "helm", "operation": "Update", "fieldsV1": {"f:data": {"f:theirs": {}}}},
        ]}}))
        .unwrap();
        let left = ownership.leftovers("occm/n.c", &write(&["tls.key"]));
        assert_eq!(left.data, BTreeSet::from(["old".to_owned()]));
        assert!(
            ownership.leftovers("occm/n.c", &write(&[])).is_empty(),
            "an adoption drops no data"
        );
    }

    #[test]
    fn a_field_manager_has_at_most_128_bytes() {
        let long = manager(&ObjectKey::new("n".repeat(63), "c".repeat(253)));
        assert!(long.len() <= MAX_MANAGER && long.starts_with(MANAGER_PREFIX));
        assert_eq!(manager(&ObjectKey::new("n", "c")), "occm/n.c");
    }

    #[test]
    fn a_record_belongs_to_whom_its_name_says() {
        let meta = |name: &str, subject: &str| -> Meta {
            serde_json::from_value(
                json!({"name": name, "namespace": "n", "annotations": {"occm.dev/subject": subject}}),
            )
            .unwrap()
        };
        let subject = Subject::Certificate(ObjectKey::new("n", "c"));
        assert_eq!(subject_of(&meta("occm-record-c", "Certificate/c")), Some(subject));
        assert_eq!(subject_of(&meta("occm-record-other", "Certificate/c")), None);
        assert_eq!(subject_of(&meta("occm-record-c", "Pod/c")), None);
    }
}
