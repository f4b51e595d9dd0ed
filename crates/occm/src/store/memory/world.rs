//! What a person does beside the program under test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::certificate::Certificate;
use crate::model::field::FieldErrors;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::store::memory::{Entry, Snapshot, State, StoredSecret, known_of};
use crate::store::ownership::SecretMeta;
use crate::store::{Broken, Change, Content, Hashes, RecordSeen, Seen, Subject, Version};

/// What a person does beside the program under test. Clones share the state.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) shared: Arc<Mutex<State>>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock that stamps of objects are taken from.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Creates an Issuer or changes its wish. What only a store may say is not taken over.
    pub fn put_issuer(&self, issuer: Issuer) {
        let mut state = self.state();
        let key = issuer.metadata.key();
        let known = known_of(state.issuers.get(&key)).cloned();
        let same = known.as_ref().is_some_and(|known| known.spec == issuer.spec);
        let metadata = state.completed(
            issuer.metadata,
            known.as_ref().map(|known| known.metadata.clone()),
            same,
        );
        let status = known.and_then(|known| known.status);
        let object = Issuer {
            metadata,
            status,
            ..issuer
        };
        state.issuers.insert(key.clone(), Seen::Object(Arc::new(object)));
        state.tell_issuer(&key);
    }

    /// Creates a Certificate or changes its wish. What only a store may say is not taken over.
    pub fn put_certificate(&self, certificate: Certificate) {
        let mut state = self.state();
        let key = certificate.metadata.key();
        let known = known_of(state.certificates.get(&key)).cloned();
        let same = known.as_ref().is_some_and(|known| known.spec == certificate.spec);
        let known_metadata = known.as_ref().map(|known| known.metadata.clone());
        let metadata = state.completed(certificate.metadata, known_metadata, same);
        let status = known.and_then(|known| known.status);
        let object = Certificate {
            metadata,
            status,
            ..certificate
        };
        state
            .certificates
            .insert(key.clone(), Seen::Object(Arc::new(object)));
        state.tell_certificate(&key);
    }

    /// Whether a Certificate is being deleted and still there.
    pub fn is_going(&self, key: &ObjectKey) -> bool {
        match self.state().certificates.get(key) {
            Some(Seen::Object(object)) => object.metadata.deletion_timestamp.is_some(),
            Some(Seen::Broken(_)) | None => false,
        }
    }

    /// Makes an object unreadable.
    pub fn break_object(&self, kind: Kind, key: &ObjectKey, errors: FieldErrors) {
        let mut state = self.state();
        let broken = Arc::new(Broken {
            origin: format!("{kind} {key}"),
            errors,
            generation: None,
        });
        match kind {
            Kind::Issuer => {
                state.issuers.insert(key.clone(), Seen::Broken(broken));
                state.tell_issuer(key);
            }
            Kind::Certificate => {
                state.certificates.insert(key.clone(), Seen::Broken(broken));
                state.tell_certificate(key);
            }
        }
    }

    /// Deletes an Issuer.
    pub fn delete_issuer(&self, key: &ObjectKey) {
        let mut state = self.state();
        if state.issuers.remove(key).is_some() {
            state.tell_issuer(key);
        }
    }

    /// Asks for the deletion of a Certificate: at once, or when the finalizers are gone.
    pub fn delete_certificate(&self, key: &ObjectKey) {
        let mut state = self.state();
        let (now, version) = (state.now, state.next());
        match state.certificates.get_mut(key) {
            Some(Seen::Object(object)) if !object.metadata.finalizers.is_empty() => {
                let metadata = &mut Arc::make_mut(object).metadata;
                metadata.deletion_timestamp = metadata.deletion_timestamp.or(Some(now));
                metadata.resource_version = Some(version.0.to_string());
            }
            Some(_) => drop(state.certificates.remove(key)),
            None => return,
        }
        state.tell_certificate(key);
    }

    /// Creates a Secret or changes all its values as `writer`, which the store will name. Labels and annotations of a
    /// Secret that exists stay.
    pub fn put_secret<K: Into<String>, V: Into<pki::Secret>>(
        &self,
        key: &ObjectKey,
        kind: &str,
        data: impl IntoIterator<Item = (K, V)>,
        writer: &str,
    ) {
        let data: BTreeMap<_, _> = data
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let mut state = self.state();
        let mut secret = state.secrets.get(key).cloned().unwrap_or_else(|| StoredSecret {
            version: Version(0),
            meta: SecretMeta {
                kind: kind.to_owned(),
                ..SecretMeta::default()
            },
            data: BTreeMap::new(),
            hashes: Hashes::new(),
            immutable: false,
            controller: None,
            last_writer: None,
            terminating: false,
        });
        if secret.meta.uid.is_empty() {
            secret.meta.uid = state.uid();
        }
        secret.data = data;
        secret.last_writer = Some(writer.to_owned());
        secret.version = state.next();
        state.set_secret(key, Some(secret.hashed()));
    }

    /// Changes anything else of a Secret as `writer`: values by key, labels, annotations.
    pub fn edit_secret(&self, key: &ObjectKey, writer: &str, edit: impl FnOnce(&mut EditedSecret)) {
        let mut state = self.state();
        let Some(mut secret) = state.secrets.get(key).cloned() else {
            return;
        };
        let mut edited = EditedSecret {
            data: secret.data,
            labels: secret.meta.labels,
            annotations: secret.meta.annotations,
            immutable: secret.immutable,
            controller: secret.controller,
            terminating: secret.terminating,
        };
        edit(&mut edited);
        secret.data = edited.data;
        secret.meta.labels = edited.labels;
        secret.meta.annotations = edited.annotations;
        secret.immutable = edited.immutable;
        secret.controller = edited.controller;
        secret.terminating = edited.terminating;
        secret.last_writer = Some(writer.to_owned());
        secret.version = state.next();
        state.set_secret(key, Some(secret.hashed()));
    }

    /// Deletes a Secret. Nobody is told who did it.
    pub fn delete_secret(&self, key: &ObjectKey) {
        let mut state = self.state();
        if state.secrets.contains_key(key) {
            state.set_secret(key, None);
        }
    }

    /// Creates or changes a ConfigMap.
    pub fn put_config_map<K: Into<String>, V: Into<pki::Secret>>(
        &self,
        key: &ObjectKey,
        data: impl IntoIterator<Item = (K, V)>,
    ) {
        let data = data
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let mut state = self.state();
        state.config_maps.insert(key.clone(), data);
        state.tell_config_map(key);
    }

    /// Deletes a ConfigMap.
    pub fn delete_config_map(&self, key: &ObjectKey) {
        let mut state = self.state();
        state.config_maps.remove(key);
        state.tell_config_map(key);
    }

    /// Writes a record behind the back of the program.
    pub fn put_record(&self, subject: &Subject, bytes: impl Into<pki::Secret>) {
        let mut state = self.state();
        let seen = RecordSeen {
            version: state.next(),
            bytes: Arc::new(bytes.into()),
        };
        state.records.insert(subject.clone(), seen.clone());
        state.tell(&Change::Record(subject.clone(), Some(seen)));
    }

    /// Deletes a record behind the back of the program.
    pub fn delete_record(&self, subject: &Subject) {
        let mut state = self.state();
        if state.records.remove(subject).is_some() {
            state.tell(&Change::Record(subject.clone(), None));
        }
    }

    /// Content of a Secret; `None` = it does not exist.
    pub fn secret(&self, key: &ObjectKey) -> Option<Content> {
        self.state().secrets.get(key).map(StoredSecret::content)
    }

    /// Bytes of a record; `None` = there is none.
    pub fn record(&self, subject: &Subject) -> Option<Arc<pki::Secret>> {
        self.state().records.get(subject).map(|seen| seen.bytes.clone())
    }

    /// A Certificate, if it is there and can be read.
    pub fn certificate(&self, key: &ObjectKey) -> Option<Arc<Certificate>> {
        match self.state().certificates.get(key) {
            Some(Seen::Object(object)) => Some(object.clone()),
            _ => None,
        }
    }

    /// An Issuer, if it is there and can be read.
    pub fn issuer(&self, key: &ObjectKey) -> Option<Arc<Issuer>> {
        match self.state().issuers.get(key) {
            Some(Seen::Object(object)) => Some(object.clone()),
            _ => None,
        }
    }

    /// All writes of the program under test since the last call.
    pub fn take_journal(&self) -> Vec<Entry> {
        std::mem::take(&mut self.state().journal)
    }

    /// Everything that is stored.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let secrets = state
            .secrets
            .iter()
            .map(|(key, secret)| (key.clone(), (secret.facts(), secret.data.clone())));
        Snapshot {
            issuers: state.issuers.clone(),
            certificates: state.certificates.clone(),
            secrets: secrets.collect(),
            records: state.records.clone(),
        }
    }

    /// Ends all watches, as a broken connection does.
    pub fn end_watches(&self) {
        self.state().watchers.clear();
    }
}

/// What a person may change of a Secret.
#[derive(Debug)]
pub struct EditedSecret {
    /// Values by key.
    pub data: BTreeMap<String, pki::Secret>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is marked immutable.
    pub immutable: bool,
    /// The controller that owns it.
    pub controller: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
}
