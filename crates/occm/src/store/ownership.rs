//! Who wrote what in a Secret: the part of Kubernetes' field managers that stores without one need.
//!
//! Each writer owns the keys, labels and annotations that it wrote last. Its next write replaces what it owns and
//! leaves everything else alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::store::{SecretRelease, SecretWrite};

/// What a Secret has besides its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SecretMeta {
    /// Identity.
    pub(crate) uid: String,
    /// Type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// What each writer owns, by `namespace/name` of the Certificate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) writers: BTreeMap<String, Owned>,
}

/// What one writer owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Owned {
    /// Keys of the data.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) keys: BTreeSet<String>,
    /// Keys of labels.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) labels: BTreeSet<String>,
    /// Keys of annotations.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) annotations: BTreeSet<String>,
}

impl SecretMeta {
    /// A Secret that `write` creates.
    pub(crate) fn created(write: &SecretWrite, uid: String) -> Self {
        let mut meta = Self {
            uid,
            kind: write.kind.clone(),
            ..Self::default()
        };
        meta.apply(write);
        meta
    }

    /// Takes over labels, annotations and ownership of a write. Returns the keys of the data that go away.
    ///
    /// A write without values leaves the data as it is.
    pub(crate) fn apply(&mut self, write: &SecretWrite) -> BTreeSet<String> {
        let writer = write.writer.to_string();
        let mut owned = self.writers.remove(&writer).unwrap_or_default();
        replace_owned(&mut self.labels, &mut owned.labels, &write.labels);
        replace_owned(&mut self.annotations, &mut owned.annotations, &write.annotations);
        let mut gone = BTreeSet::new();
        if !write.data.is_empty() {
            let keys: BTreeSet<String> = write.data.keys().cloned().collect();
            for other in self.writers.values_mut() {
                other.keys.retain(|key| !keys.contains(key));
            }
            gone = owned.keys.difference(&keys).cloned().collect();
            owned.keys = keys;
        }
        self.writers.insert(writer, owned);
        gone
    }

    /// Forgets a writer, and takes out the labels and annotations that it gives up. Says which keys of the data go away: not
    /// those that another writer has taken over.
    pub(crate) fn release(&mut self, release: &SecretRelease) -> BTreeSet<String> {
        self.writers.remove(&release.writer.to_string());
        self.labels.retain(|key, _| !release.labels.contains(key));
        self.annotations
            .retain(|key, _| !release.annotations.contains(key));
        let gone = release.data.iter().filter(|key| !self.owns_key(key));
        gone.cloned().collect()
    }

    /// Whether a key was written by one of us.
    pub(crate) fn owns_key(&self, key: &str) -> bool {
        self.writers.values().any(|owned| owned.keys.contains(key))
    }
}

fn replace_owned(
    all: &mut BTreeMap<String, String>,
    owned: &mut BTreeSet<String>,
    wanted: &BTreeMap<String, String>,
) {
    for key in owned.iter().filter(|key| !wanted.contains_key(*key)) {
        all.remove(key);
    }
    all.extend(wanted.iter().map(|(key, value)| (key.clone(), value.clone())));
    *owned = wanted.keys().cloned().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKey;

    fn write(writer: &str, keys: &[&str], labels: &[&str]) -> SecretWrite {
        SecretWrite {
            key: ObjectKey::new("default", "out"),
            writer: ObjectKey::new("default", writer),
            kind: "Opaque".to_owned(),
            data: keys
                .iter()
                .map(|key| ((*key).to_owned(), pki::Secret::from(&b"x"[..])))
                .collect(),
            labels: labels
                .iter()
                .map(|key| ((*key).to_owned(), String::new()))
                .collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_writer_removes_only_what_it_wrote_before() {
        let mut meta = SecretMeta::created(&write("a", &["a1", "a2"], &["la"]), "u".to_owned());
        assert!(meta.apply(&write("b", &["b1"], &["lb"])).is_empty());
        let gone = meta.apply(&write("a", &["a1"], &[]));
        assert_eq!(gone, BTreeSet::from(["a2".to_owned()]));
        assert_eq!(meta.labels.keys().collect::<Vec<_>>(), ["lb"]);
        assert!(meta.owns_key("b1") && !meta.owns_key("a2"));
    }

    #[test]
    fn a_key_that_another_took_over_is_not_removed_by_its_first_writer() {
        let mut meta = SecretMeta::created(&write("a", &["k", "a1"], &[]), "u".to_owned());
        meta.apply(&write("b", &["k"], &[]));
        assert!(meta.apply(&write("a", &["a1"], &[])).is_empty());
    }

    #[test]
    fn a_write_without_values_leaves_the_data_alone() {
        let mut meta = SecretMeta::created(&write("a", &["k"], &[]), "u".to_owned());
        assert!(meta.apply(&write("a", &[], &["l"])).is_empty());
        assert!(meta.owns_key("k") && meta.labels.contains_key("l"));
    }
}
