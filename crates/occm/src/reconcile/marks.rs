//! Marks: which Certificates write to a Secret, and which revision of each it carries.
//!
//! | Annotations | Whose |
//! | --- | --- |
//! | `occm.dev/certificate`, `occm.dev/revision` | of the Certificate that was first |
//! | `occm.dev/certificate.H`, `occm.dev/revision.H` | of each other one, H = start of the hash of its name |
//!
//! A mark says who is there, not who may be: that is told by records and wishes ([`crate::reconcile::state`]).

use std::collections::BTreeMap;

use crate::model::object::{OWNER_ANNOTATION, ObjectKey, REVISION_ANNOTATION};
use crate::store::{ContentHash, Texts};

/// Characters of the hash in the mark of a Certificate that was not the first.
const HASH_LENGTH: usize = 16;

/// The annotations in which a Certificate says that a Secret carries its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Annotation with `namespace/name` of the Certificate.
    pub owner: String,
    /// Annotation with the revision.
    pub revision: String,
}

impl Mark {
    fn first() -> Self {
        Self {
            owner: OWNER_ANNOTATION.to_owned(),
            revision: REVISION_ANNOTATION.to_owned(),
        }
    }

    fn another(owner: &ObjectKey) -> Self {
        let hash = ContentHash::of(owner.to_string().as_bytes()).to_hex();
        let hash = hash.get(..HASH_LENGTH).unwrap_or_default();
        Self {
            owner: format!("{OWNER_ANNOTATION}.{hash}"),
            revision: format!("{REVISION_ANNOTATION}.{hash}"),
        }
    }

    /// The mark that `owner` has among these annotations.
    pub fn of(owner: &ObjectKey, annotations: &Texts) -> Option<Self> {
        let names = |mark: &Self| {
            annotations
                .get(mark.owner.as_str())
                .is_some_and(|text| is(text, owner))
        };
        let first = Self::first();
        if names(&first) {
            return Some(first);
        }
        // Most Secrets have one mark: the hash is made for the others alone.
        let shared = owners(annotations).nth(1).is_some() || !annotations.contains_key(OWNER_ANNOTATION);
        if !shared {
            return None;
        }
        Some(Self::another(owner)).filter(names)
    }

    /// The mark that `owner` has, or would set beside these annotations.
    pub fn wanted(owner: &ObjectKey, annotations: Option<&Texts>) -> Self {
        let Some(annotations) = annotations else {
            return Self::first();
        };
        if let Some(mark) = Self::of(owner, annotations) {
            return mark;
        }
        if annotations.contains_key(OWNER_ANNOTATION) {
            Self::another(owner)
        } else {
            Self::first()
        }
    }

    /// The revision that it tells.
    pub fn revision_in(&self, annotations: &Texts) -> Option<u64> {
        annotations.get(self.revision.as_str())?.parse().ok()
    }

    /// The annotations as they are to be written.
    pub fn set(self, owner: &ObjectKey, revision: u64, annotations: &mut BTreeMap<String, String>) {
        annotations.insert(self.owner, owner.to_string());
        annotations.insert(self.revision, revision.to_string());
    }
}

/// Whether `text` is `namespace/name` of this object.
fn is(text: &str, key: &ObjectKey) -> bool {
    text.split_once('/') == Some((&key.namespace, &key.name))
}

/// Everybody who says to write here, `namespace/name` each, the first one first.
pub fn owners(annotations: &Texts) -> impl Iterator<Item = &str> {
    let ours = |key: &str| {
        key.strip_prefix(OWNER_ANNOTATION)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    annotations
        .iter()
        .filter(move |(key, _)| ours(key))
        .map(|(_, value)| value.as_str())
}

/// Another Certificate that says to write here.
pub fn other_owner<'a>(owner: &ObjectKey, annotations: &'a Texts) -> Option<&'a str> {
    owners(annotations).find(|text| !is(text, owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::texts;

    fn marked(marks: &[(&str, u64)]) -> Texts {
        let mut annotations = BTreeMap::from([("occm.dev/certificates".to_owned(), "no mark".to_owned())]);
        for (name, revision) in marks {
            let owner = ObjectKey::new("default", *name);
            Mark::wanted(&owner, Some(&texts(&annotations))).set(&owner, *revision, &mut annotations);
        }
        texts(&annotations)
    }

    #[test]
    fn each_certificate_finds_its_own_revision() {
        let annotations = marked(&[("rsa", 3), ("ec", 5), ("ed", 7)]);
        for (name, revision) in [("rsa", 3), ("ec", 5), ("ed", 7)] {
            let mark = Mark::of(&ObjectKey::new("default", name), &annotations).unwrap();
            assert_eq!(mark.revision_in(&annotations), Some(revision), "{name}");
        }
        assert_eq!(Mark::of(&ObjectKey::new("default", "none"), &annotations), None);
        assert_eq!(owners(&annotations).next(), Some("default/rsa"));
        assert_eq!(owners(&annotations).count(), 3);
    }

    #[test]
    fn a_mark_stays_when_the_first_one_goes() {
        let ec = ObjectKey::new("default", "ec");
        let mut annotations = marked(&[("rsa", 3), ("ec", 5)]);
        let before = Mark::of(&ec, &annotations).unwrap();
        annotations.remove(OWNER_ANNOTATION);
        annotations.remove(REVISION_ANNOTATION);
        assert_eq!(Mark::wanted(&ec, Some(&annotations)), before);
        assert_eq!(other_owner(&ec, &annotations), None);
    }

    #[test]
    fn a_secret_of_one_certificate_carries_the_plain_mark() {
        let annotations = marked(&[("web", 1)]);
        assert_eq!(annotations.get(OWNER_ANNOTATION).unwrap(), "default/web");
        assert_eq!(annotations.get(REVISION_ANNOTATION).unwrap(), "1");
        assert_eq!(annotations.len(), 3);
    }
}
