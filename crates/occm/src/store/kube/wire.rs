//! Objects as the API server writes them, cut down to what the store reads.
//!
//! Values of Secrets are hashed while they are parsed and never kept, but for records and for reads that ask for
//! the content. Managed fields shrink to the name of the last foreign writer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::client::secret::SecretFrame;
use crate::model::object::{Metadata, ObjectKey, ROLE_LABEL, ROLE_RECORD};
use crate::store::{ContentHash, Hashes, SecretFacts, Version, texts, tight};

/// Key of a record Secret's only value.
pub(super) const RECORD_KEY: &str = "record";
/// Type of a record Secret.
pub(super) const RECORD_TYPE: &str = "occm.dev/record";
/// Start of the name of each of our field managers.
pub(super) const MANAGER_PREFIX: &str = "occm/";
/// Annotation that `kubectl apply` keeps a copy of the object in.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) message: String,
    pub(super) code: u16,
    details: Option<StatusDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusDetails {
    causes: Vec<StatusCause>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusCause {
    reason: String,
}

impl Status {
    /// Whether one of the causes is this one.
    pub(super) fn has_cause(&self, reason: &str) -> bool {
        self.details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == reason)
    }
}

/// Metadata of any object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    generation: Option<i64>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    pub(super) finalizers: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "last_foreign_writer")]
    managed_fields: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnerReference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Deserialize)]
struct Writer<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(default)]
    time: Option<Timestamp>,
}

/// The manager of the newest managed fields, if it is not one of ours. Of two within the same second the foreign one
/// counts: it is the one that people want to know about.
fn last_foreign_writer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Writers;
    impl<'de> Visitor<'de> for Writers {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("managed fields")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut last: Option<(Option<Timestamp>, bool, String)> = None;
            while let Some(writer) = seq.next_element::<Writer<'de>>()? {
                let entry = (writer.time, !writer.manager.starts_with(MANAGER_PREFIX));
                if last
                    .as_ref()
                    .is_none_or(|(time, foreign, _)| entry >= (*time, *foreign))
                {
                    last = Some((entry.0, entry.1, writer.manager.into_owned()));
                }
            }
            Ok(last.and_then(|(_, foreign, manager)| foreign.then_some(manager)))
        }
    }
    deserializer.deserialize_any(Writers)
}

impl Meta {
    /// Namespace and name.
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }

    /// Version; the number that etcd counts changes with.
    pub(super) fn version(&self) -> Version {
        Version(self.resource_version.parse().unwrap_or_default())
    }

    /// Generation, of objects that have one.
    pub(super) fn generation(&self) -> Option<i64> {
        self.generation
    }

    fn controller(&self) -> Option<String> {
        let owner = self
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))?;
        Some(format!("{}/{}", owner.kind, owner.name))
    }

    /// Metadata as the model has it.
    pub(super) fn into_model(mut self) -> Metadata {
        self.annotations.remove(LAST_APPLIED);
        Metadata {
            namespace: self.namespace,
            name: self.name,
            uid: Some(self.uid),
            resource_version: Some(self.resource_version),
            generation: self.generation,
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            finalizers: self.finalizers,
            labels: self.labels,
            annotations: self.annotations,
        }
    }
}

/// An object of which only the metadata was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct MetaOnly {
    pub(super) metadata: Meta,
}

/// A Secret whose values were hashed and dropped.
#[derive(Debug, Deserialize)]
pub(super) struct HashedSecret {
    pub(super) metadata: Meta,
    #[serde(default)]
    data: Option<HashedData>,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    immutable: Option<bool>,
}

impl HashedSecret {
    /// Whether our label says that it keeps a record.
    pub(super) fn is_record(&self) -> bool {
        self.metadata
            .labels
            .get(ROLE_LABEL)
            .is_some_and(|role| role == ROLE_RECORD)
    }

    /// The value under the record's key, as bytes.
    pub(super) fn into_record(self) -> Option<pki::Secret> {
        self.data?.record
    }

    /// What is remembered of it.
    pub(super) fn into_facts(self) -> SecretFacts {
        let data = self.data.map(|data| data.hashes).unwrap_or_default();
        facts(self.metadata, &self.kind, self.immutable, data)
    }
}

fn facts(meta: Meta, kind: &str, immutable: Option<bool>, data: Hashes) -> SecretFacts {
    let (version, controller) = (meta.version(), meta.controller());
    let mut annotations = meta.annotations;
    annotations.remove(LAST_APPLIED);
    SecretFacts {
        version,
        uid: meta.uid.into(),
        kind: kind.into(),
        immutable: immutable.unwrap_or_default(),
        data: Arc::new(tight(data)),
        labels: texts(&meta.labels),
        annotations: texts(&annotations),
        controller,
        last_writer: meta.managed_fields,
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// Facts of a Secret that was just written with these values, from the metadata in the answer.
pub(super) fn written_facts(meta: Meta, kind: &str, data: &BTreeMap<String, pki::Secret>) -> SecretFacts {
    let hashes = data
        .iter()
        .map(|(key, value)| (key.into(), ContentHash::of(value.expose())))
        .collect();
    facts(meta, kind, None, hashes)
}

/// Hashes of values; the bytes of a record are kept.
#[derive(Debug, Default)]
struct HashedData {
    hashes: Hashes,
    record: Option<pki::Secret>,
}

impl<'de> Deserialize<'de> for HashedData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = HashedData;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the data of a Secret")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut data = HashedData::default();
                while let Some(key) = map.next_key::<String>()? {
                    let bytes = map.next_value_seed(DecodedValue)?;
                    if key == RECORD_KEY {
                        data.record = Some(pki::Secret::from(bytes.as_slice()));
                    }
                    data.hashes.insert(key.into(), ContentHash::of(&bytes));
                }
                Ok(data)
            }
        }
        deserializer.deserialize_map(Values)
    }
}

/// One value, decoded. The error does not repeat it.
struct DecodedValue;

impl<'de> DeserializeSeed<'de> for DecodedValue {
    type Value = Zeroizing<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DecodedValue {
    type Value = Zeroizing<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Zeroizing::new(Vec::new()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Base64::decode_vec(text)
            .map(Zeroizing::new)
            .map_err(|_| E::custom("not base64"))
    }
}

/// A Secret with its content.
#[derive(Deserialize)]
pub(super) struct FullSecret {
    pub(super) metadata: Meta,
    #[serde(default)]
    data: Option<BTreeMap<String, SecretValue>>,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    immutable: Option<bool>,
}

struct SecretValue(pki::Secret);

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DecodedValue
            .deserialize(deserializer)
            .map(|mut bytes| Self(pki::Secret::new(std::mem::take(&mut *bytes))))
    }
}

impl FullSecret {
    /// Its values.
    pub(super) fn into_values(self) -> BTreeMap<String, pki::Secret> {
        self.data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect()
    }

    /// What may be told of it, and its values.
    pub(super) fn into_open(self) -> (SecretFrame, BTreeMap<String, pki::Secret>) {
        let mut annotations = self.metadata.annotations.clone();
        annotations.remove(LAST_APPLIED);
        let frame = SecretFrame {
            key: Some(self.metadata.key()),
            version: self.metadata.resource_version.clone(),
            kind: self.kind.clone(),
            immutable: self.immutable.unwrap_or_default(),
            labels: self.metadata.labels.clone(),
            annotations,
            controller: self.metadata.controller(),
            writers: self.metadata.managed_fields.iter().cloned().collect(),
        };
        (frame, self.into_values())
    }

    /// Facts and values.
    pub(super) fn into_content(self) -> crate::store::Content {
        let data: BTreeMap<String, pki::Secret> = self
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect();
        let hashes = data
            .iter()
            .map(|(key, value)| (key.into(), ContentHash::of(value.expose())))
            .collect();
        let facts = facts(self.metadata, &self.kind, self.immutable, hashes);
        crate::store::Content { facts, data }
    }
}

/// A ConfigMap with its content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigMap {
    pub(super) metadata: Meta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, SecretValue>>,
}

impl ConfigMap {
    /// Its values; text and binary ones have keys of one set.
    pub(super) fn into_values(self) -> BTreeMap<String, pki::Secret> {
        let text = self.data.unwrap_or_default().into_iter();
        let binary = self.binary_data.unwrap_or_default().into_iter();
        text.map(|(key, value)| (key, pki::Secret::new(value.into_bytes())))
            .chain(binary.map(|(key, value)| (key, value.0)))
            .collect()
    }
}

/// One page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: PageMeta,
    #[serde(default = "Vec::new")]
    pub(super) items: Vec<T>,
}

/// Metadata of a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PageMeta {
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) next: String,
}

/// One line of a watch.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never kept")]
pub(super) enum Line<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(MetaOnly),
    Error(Status),
}

/// Annotation of the bookmark that ends the initial events of a streamed list.
pub(super) const INITIAL_END: &str = "k8s.io/initial-events-end";

/// Anything of which only the existence matters.
#[derive(Deserialize)]
pub(super) struct Nothing(#[allow(dead_code, reason = "parsed and dropped")] IgnoredAny);

/// Values as a Secret carries them.
pub(super) struct EncodedData<'a>(pub(super) &'a BTreeMap<String, pki::Secret>);

impl Serialize for EncodedData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(key, value)| (key, EncodedValue(value.expose()))),
        )
    }
}

/// One value as a Secret carries it; the text is wiped.
pub(super) struct EncodedValue<'a>(pub(super) &'a [u8]);

impl Serialize for EncodedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(Base64::encode_string(self.0));
        serializer.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hashed_and_the_last_foreign_writer_is_named() {
        let text = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"n","uid":"u","resourceVersion":"7",
            "managedFields":[
              {"manager":"kubectl-edit","operation":"Update","time":"2026-01-01T00:00:05Z","fieldsV1":{"f:data":{}}},
              {"manager":"occm/n.c","operation":"Apply","time":"2026-01-01T00:00:05Z","fieldsV1":{}},
              {"manager":"helm","operation":"Update","time":"2026-01-01T00:00:04Z"}]},
            "data":{"a":"YWJj","b":null},"type":"Opaque","immutable":true}"#;
        let secret: HashedSecret = serde_json::from_str(text).unwrap();
        let facts = secret.into_facts();
        assert_eq!(facts.version, Version(7));
        assert_eq!(facts.last_writer.as_deref(), Some("kubectl-edit"));
        assert_eq!(facts.data.get("a"), Some(&ContentHash::of(b"abc")));
        assert_eq!(facts.data.get("b"), Some(&ContentHash::of(b"")));
        assert!(facts.immutable);
    }

    #[test]
    fn our_own_last_write_names_nobody() {
        let text = r#"{"metadata":{"managedFields":[
              {"manager":"helm","time":"2026-01-01T00:00:04Z"},
              {"manager":"occm/n.c","time":"2026-01-01T00:00:05Z"}]}}"#;
        let secret: HashedSecret = serde_json::from_str(text).unwrap();
        assert_eq!(secret.into_facts().last_writer, None);
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        let error = serde_json::from_str::<HashedSecret>(r#"{"metadata":{},"data":{"a":"planted!"}}"#)
            .err()
            .unwrap();
        assert!(!error.to_string().contains("planted"), "{error}");
    }

    #[test]
    fn a_line_is_read_whatever_its_kind() {
        let line: Line<MetaOnly> =
            serde_json::from_str(r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#).unwrap();
        assert!(matches!(line, Line::Added(object) if object.metadata.name == "a"));
        let line: Line<MetaOnly> = serde_json::from_str(r#"{"type":"ERROR","object":{"code":410}}"#).unwrap();
        assert!(matches!(line, Line::Error(status) if status.code == 410));
    }
}
