//! The store in memory: for tests of the rules and for the simulation. No threads, no clock, nothing at random.
//!
//! [`MemoryStore`] is what the program under test holds; [`World`] is what a person does beside it: write wishes,
//! edit and delete Secrets, change inputs. Both see the same state. Every call takes effect at once, so a test decides
//! the order of everything; a simulation wraps the store to add delays and faults.

mod world;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;

use crate::model::certificate::Certificate;

use crate::model::issuer::Issuer;
use crate::model::object::{FINALIZER, Kind, Metadata, Object, ObjectKey, ROLE_LABEL};
use crate::model::plan::{InputKind, InputRef};
use crate::store::ownership::SecretMeta;
use crate::store::{
    Change, Content, ContentHash, Event, Hashes, InputFacts, MAX_VALUE_BYTES, Presence, RecordSeen,
    SecretFacts, SecretRelease, SecretWrite, Seen, Status, Store, StoreError, StoreResult, Subject, Version,
    texts,
};

pub use crate::store::memory::world::{EditedSecret, World};

/// A write that the program under test asked for, in the order in which it took effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A Secret was created.
    CreateSecret(ObjectKey),
    /// A Secret was changed.
    UpdateSecret(ObjectKey),
    /// A Secret was deleted.
    DeleteSecret(ObjectKey),
    /// A record was written.
    WriteRecord(Subject),
    /// A record was deleted.
    DeleteRecord(Subject),
    /// A status was changed. One that is as before is no write.
    WriteStatus(ObjectKey, Status),
    /// The finalizer was set or removed.
    SetFinalizer(ObjectKey, Presence),
    /// Annotations were set.
    Annotate(Kind, ObjectKey),
    /// An Event was reported.
    Emit(Event),
}

/// A store in memory. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<State>>,
}

/// A Secret.
#[derive(Clone, Debug)]
struct StoredSecret {
    version: Version,
    meta: SecretMeta,
    data: BTreeMap<String, pki::Secret>,
    /// Hash of every value.
    hashes: Hashes,
    immutable: bool,
    controller: Option<String>,
    last_writer: Option<String>,
    terminating: bool,
}

impl StoredSecret {
    fn facts(&self) -> SecretFacts {
        SecretFacts {
            version: self.version,
            uid: self.meta.uid.as_str().into(),
            kind: self.meta.kind.as_str().into(),
            immutable: self.immutable,
            data: Arc::new(self.hashes.clone()),
            labels: texts(&self.meta.labels),
            annotations: texts(&self.meta.annotations),
            controller: self.controller.clone(),
            last_writer: self.last_writer.clone(),
            terminating: self.terminating,
        }
    }

    /// With the hashes of its values.
    fn hashed(mut self) -> Self {
        self.hashes = hashes(&self.data);
        self
    }

    fn input_facts(&self) -> InputFacts {
        InputFacts::of(self.hashes.iter().map(|(key, hash)| (key.as_str(), *hash)))
    }

    fn content(&self) -> Content {
        Content {
            facts: self.facts(),
            data: self.data.clone(),
        }
    }
}

fn hashes(data: &BTreeMap<String, pki::Secret>) -> Hashes {
    data.iter()
        .map(|(key, value)| (key.into(), ContentHash::of(value.expose())))
        .collect()
}

fn input_facts(data: &BTreeMap<String, pki::Secret>) -> InputFacts {
    InputFacts::of(
        data.iter()
            .map(|(key, value)| (key.as_str(), ContentHash::of(value.expose()))),
    )
}

#[derive(Debug, Default)]
struct State {
    counter: u64,
    /// What the world's clock says; stamps of objects are taken from it.
    now: Timestamp,
    issuers: BTreeMap<ObjectKey, Seen<Issuer>>,
    certificates: BTreeMap<ObjectKey, Seen<Certificate>>,
    secrets: BTreeMap<ObjectKey, StoredSecret>,
    config_maps: BTreeMap<ObjectKey, BTreeMap<String, pki::Secret>>,
    records: BTreeMap<Subject, RecordSeen>,
    attended_inputs: BTreeSet<InputRef>,
    attended_outputs: BTreeSet<ObjectKey>,
    watchers: Vec<UnboundedSender<Change>>,
    journal: Vec<Entry>,
}

/// Everything that is stored, for comparing two moments.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Issuers.
    pub issuers: BTreeMap<ObjectKey, Seen<Issuer>>,
    /// Certificates.
    pub certificates: BTreeMap<ObjectKey, Seen<Certificate>>,
    /// Secrets with their values.
    pub secrets: BTreeMap<ObjectKey, (SecretFacts, BTreeMap<String, pki::Secret>)>,
    /// Records.
    pub records: BTreeMap<Subject, RecordSeen>,
}

impl State {
    fn next(&mut self) -> Version {
        self.counter += 1;
        Version(self.counter)
    }

    fn uid(&mut self) -> String {
        format!("uid-{}", self.next().0)
    }

    fn tell(&mut self, change: &Change) {
        self.watchers
            .retain(|watcher| watcher.unbounded_send(change.clone()).is_ok());
    }

    fn is_told(&self, key: &ObjectKey, secret: &StoredSecret) -> bool {
        secret.meta.labels.contains_key(ROLE_LABEL) || self.attended_outputs.contains(key)
    }

    fn secret_change(&self, key: &ObjectKey) -> Change {
        Change::Secret(
            key.clone(),
            self.secrets.get(key).map(|secret| Arc::new(secret.facts())),
        )
    }

    fn input_change(&self, input: &InputRef) -> Change {
        Change::Input(input.clone(), self.input_facts(input))
    }

    fn input_facts(&self, input: &InputRef) -> Option<InputFacts> {
        match input.kind {
            InputKind::Secret => self.secrets.get(&input.object).map(StoredSecret::input_facts),
            InputKind::ConfigMap => self.config_maps.get(&input.object).map(input_facts),
        }
    }

    fn input(&self, input: &InputRef) -> Option<&BTreeMap<String, pki::Secret>> {
        match input.kind {
            InputKind::Secret => self.secrets.get(&input.object).map(|secret| &secret.data),
            InputKind::ConfigMap => self.config_maps.get(&input.object),
        }
    }

    /// Puts a Secret in place and tells it, as output and as input.
    fn set_secret(&mut self, key: &ObjectKey, secret: Option<StoredSecret>) {
        let input = InputRef {
            kind: InputKind::Secret,
            object: key.clone(),
        };
        let is_input = self.attended_inputs.contains(&input);
        let input_before = self.input_facts(&input).filter(|_| is_input);
        let before = match secret {
            Some(secret) => self.secrets.insert(key.clone(), secret),
            None => self.secrets.remove(key),
        };
        let told = [before.as_ref(), self.secrets.get(key)]
            .into_iter()
            .flatten()
            .any(|s| self.is_told(key, s));
        if told {
            self.tell(&self.secret_change(key));
        }
        if is_input && self.input_facts(&input) != input_before {
            self.tell(&self.input_change(&input));
        }
    }

    fn everything(&self) -> Vec<Change> {
        let issuers = self
            .issuers
            .iter()
            .map(|(key, seen)| Change::Issuer(key.clone(), Some(seen.clone())));
        let certificates = self
            .certificates
            .iter()
            .map(|(key, seen)| Change::Certificate(key.clone(), Some(seen.clone())));
        let inputs = self.attended_inputs.iter().map(|input| self.input_change(input));
        let labelled = self
            .secrets
            .iter()
            .filter(|(key, secret)| self.is_told(key, secret))
            .map(|(key, _)| key);
        let secrets: BTreeSet<&ObjectKey> = labelled.chain(&self.attended_outputs).collect();
        let secrets = secrets.into_iter().map(|key| self.secret_change(key));
        let records = self
            .records
            .iter()
            .map(|(subject, seen)| Change::Record(subject.clone(), Some(seen.clone())));
        issuers
            .chain(certificates)
            .chain(inputs)
            .chain(secrets)
            .chain(records)
            .chain([Change::Synced])
            .collect()
    }

    fn expect_secret(&self, key: &ObjectKey, expected: Version) -> StoreResult<&StoredSecret> {
        let what = || format!("Secret {key}");
        let secret = self
            .secrets
            .get(key)
            .ok_or_else(|| StoreError::NotFound(what()))?;
        if secret.version == expected {
            Ok(secret)
        } else {
            Err(StoreError::Conflict(what()))
        }
    }

    fn tell_certificate(&mut self, key: &ObjectKey) {
        let seen = self.certificates.get(key).cloned();
        self.tell(&Change::Certificate(key.clone(), seen));
    }

    fn tell_issuer(&mut self, key: &ObjectKey) {
        let seen = self.issuers.get(key).cloned();
        self.tell(&Change::Issuer(key.clone(), seen));
    }

    /// Metadata of an object that a person writes, as the store completes it.
    fn completed(&mut self, wanted: Metadata, known: Option<Metadata>, same_spec: bool) -> Metadata {
        let version = self.next();
        let known = known.unwrap_or_default();
        let uid = known.uid.clone().unwrap_or_else(|| format!("uid-{}", version.0));
        Metadata {
            namespace: wanted.key().namespace.to_string(),
            name: wanted.name,
            uid: Some(uid),
            resource_version: Some(version.0.to_string()),
            generation: Some(
                known
                    .generation
                    .map_or(1, |generation| generation + i64::from(!same_spec)),
            ),
            creation_timestamp: known.creation_timestamp.or(Some(self.now)),
            deletion_timestamp: known.deletion_timestamp,
            finalizers: known.finalizers,
            labels: wanted.labels,
            annotations: wanted.annotations,
        }
    }
}

fn known_of<Spec, Status>(seen: Option<&Seen<Object<Spec, Status>>>) -> Option<&Object<Spec, Status>> {
    match seen {
        Some(Seen::Object(object)) => Some(object),
        _ => None,
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle of a person.
    pub fn world(&self) -> World {
        World {
            shared: self.shared.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, write: &SecretWrite) -> StoreResult<SecretFacts> {
        write.check_size()?;
        let mut state = self.state();
        if state.secrets.contains_key(&write.key) {
            return Err(StoreError::Conflict(format!("Secret {}", write.key)));
        }
        let uid = state.uid();
        let secret = StoredSecret {
            version: state.next(),
            meta: SecretMeta::created(write, uid),
            data: write.data.clone(),
            hashes: Hashes::new(),
            immutable: false,
            controller: None,
            last_writer: None,
            terminating: false,
        }
        .hashed();
        let facts = secret.facts();
        state.journal.push(Entry::CreateSecret(write.key.clone()));
        state.set_secret(&write.key, Some(secret));
        Ok(facts)
    }

    fn update(&self, write: &SecretWrite, expected: Version) -> StoreResult<SecretFacts> {
        write.check_size()?;
        let mut state = self.state();
        let mut secret = state.expect_secret(&write.key, expected)?.clone();
        let refused = |text: String| Err(StoreError::Refused(format!("Secret {}", write.key), text));
        if secret.meta.kind != write.kind {
            return refused(format!(
                "its type is {}, which cannot be changed to {}",
                secret.meta.kind, write.kind
            ));
        }
        if secret.immutable && !write.data.is_empty() {
            return refused("it is immutable".to_owned());
        }
        for key in secret.meta.apply(write) {
            secret.data.remove(&key);
        }
        secret.data.extend(write.data.clone());
        secret.last_writer = None;
        secret.version = state.next();
        let secret = secret.hashed();
        let facts = secret.facts();
        state.journal.push(Entry::UpdateSecret(write.key.clone()));
        state.set_secret(&write.key, Some(secret));
        Ok(facts)
    }

    fn release(&self, release: &SecretRelease, expected: Version) -> StoreResult<SecretFacts> {
        let mut state = self.state();
        let mut secret = state.expect_secret(&release.key, expected)?.clone();
        if secret.immutable {
            let what = format!("Secret {}", release.key);
            return Err(StoreError::Refused(what, "it is immutable".to_owned()));
        }
        for key in secret.meta.release(release) {
            secret.data.remove(&key);
        }
        secret.last_writer = None;
        secret.version = state.next();
        let secret = secret.hashed();
        let facts = secret.facts();
        state.journal.push(Entry::UpdateSecret(release.key.clone()));
        state.set_secret(&release.key, Some(secret));
        Ok(facts)
    }

    fn delete(&self, key: &ObjectKey, uid: &str, expected: Version) -> StoreResult<()> {
        let mut state = self.state();
        if !state.secrets.contains_key(key) {
            return Ok(());
        }
        if state.expect_secret(key, expected)?.meta.uid != uid {
            return Err(StoreError::Conflict(format!("Secret {key}")));
        }
        state.journal.push(Entry::DeleteSecret(key.clone()));
        state.set_secret(key, None);
        Ok(())
    }

    fn put_record(
        &self,
        subject: &Subject,
        bytes: &pki::Secret,
        expected: Option<Version>,
    ) -> StoreResult<Version> {
        let what = || format!("record of {subject}");
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(StoreError::Refused(
                what(),
                format!("{} bytes; allowed: {MAX_VALUE_BYTES}", bytes.len()),
            ));
        }
        let mut state = self.state();
        if state.records.get(subject).map(|seen| seen.version) != expected {
            return Err(StoreError::Conflict(what()));
        }
        let version = state.next();
        let seen = RecordSeen {
            version,
            bytes: Arc::new(bytes.clone()),
        };
        state.records.insert(subject.clone(), seen.clone());
        state.journal.push(Entry::WriteRecord(subject.clone()));
        state.tell(&Change::Record(subject.clone(), Some(seen)));
        Ok(version)
    }

    fn remove_record(&self, subject: &Subject, expected: Version) -> StoreResult<()> {
        let mut state = self.state();
        match state.records.get(subject) {
            None => return Ok(()),
            Some(seen) if seen.version != expected => {
                return Err(StoreError::Conflict(format!("record of {subject}")));
            }
            Some(_) => {}
        }
        state.records.remove(subject);
        state.journal.push(Entry::DeleteRecord(subject.clone()));
        state.tell(&Change::Record(subject.clone(), None));
        Ok(())
    }

    fn set_status(&self, key: &ObjectKey, status: &Status) {
        let mut state = self.state();
        match status {
            Status::Issuer(status) => {
                let Some(Seen::Object(object)) = state.issuers.get_mut(key) else {
                    return;
                };
                if object.status.as_ref() == Some(&**status) {
                    return;
                }
                Arc::make_mut(object).status = Some((**status).clone());
            }
            Status::Certificate(status) => {
                let Some(Seen::Object(object)) = state.certificates.get_mut(key) else {
                    return;
                };
                if object.status.as_ref() == Some(&**status) {
                    return;
                }
                Arc::make_mut(object).status = Some((**status).clone());
            }
        }
        state
            .journal
            .push(Entry::WriteStatus(key.clone(), status.clone()));
    }

    fn finalizer(&self, key: &ObjectKey, presence: Presence) {
        let mut state = self.state();
        let version = state.next();
        let Some(Seen::Object(object)) = state.certificates.get_mut(key) else {
            return;
        };
        let metadata = &mut Arc::make_mut(object).metadata;
        let before = metadata.finalizers.clone();
        metadata.finalizers.retain(|name| name != FINALIZER);
        if presence == Presence::Present {
            metadata.finalizers.push(FINALIZER.to_owned());
        }
        if metadata.finalizers == before {
            return;
        }
        metadata.resource_version = Some(version.0.to_string());
        let gone = metadata.deletion_timestamp.is_some() && metadata.finalizers.is_empty();
        state.journal.push(Entry::SetFinalizer(key.clone(), presence));
        if gone {
            state.certificates.remove(key);
        }
        state.tell_certificate(key);
    }

    fn set_annotations(
        &self,
        kind: Kind,
        key: &ObjectKey,
        annotations: &BTreeMap<String, String>,
    ) -> StoreResult<()> {
        let mut state = self.state();
        let version = state.next();
        let metadata = match kind {
            Kind::Issuer => match state.issuers.get_mut(key) {
                Some(Seen::Object(object)) => Some(&mut Arc::make_mut(object).metadata),
                _ => None,
            },
            Kind::Certificate => match state.certificates.get_mut(key) {
                Some(Seen::Object(object)) => Some(&mut Arc::make_mut(object).metadata),
                _ => None,
            },
        };
        let Some(metadata) = metadata else {
            return Err(StoreError::NotFound(format!("{kind} {key}")));
        };
        metadata.annotations.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        metadata.annotations.retain(|_, value| !value.is_empty());
        metadata.resource_version = Some(version.0.to_string());
        state.journal.push(Entry::Annotate(kind, key.clone()));
        match kind {
            Kind::Issuer => state.tell_issuer(key),
            Kind::Certificate => state.tell_certificate(key),
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn watch(&self) -> BoxStream<'static, Change> {
        let (sender, receiver): (UnboundedSender<Change>, UnboundedReceiver<Change>) = unbounded();
        let mut state = self.state();
        for change in state.everything() {
            // The receiver is in our hands; it takes everything.
            let _ = sender.unbounded_send(change);
        }
        state.watchers.push(sender);
        receiver.boxed()
    }

    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        let mut state = self.state();
        let new_inputs: Vec<_> = inputs.difference(&state.attended_inputs).cloned().collect();
        let new_outputs: Vec<_> = outputs.difference(&state.attended_outputs).cloned().collect();
        state.attended_inputs = inputs;
        state.attended_outputs = outputs;
        for input in new_inputs {
            let change = state.input_change(&input);
            state.tell(&change);
        }
        for output in new_outputs {
            let change = state.secret_change(&output);
            state.tell(&change);
        }
    }

    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>> {
        ready(Ok(self.state().secrets.get(key).map(StoredSecret::content))).boxed()
    }

    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>> {
        ready(Ok(self.state().input(input).cloned())).boxed()
    }

    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async { self.create(write) }.boxed()
    }

    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async move { self.update(write, expected) }.boxed()
    }

    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async move { self.release(release, expected) }.boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        async move { self.delete(key, uid, expected) }.boxed()
    }

    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>> {
        ready(Ok(self.state().records.get(subject).cloned())).boxed()
    }

    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        async move { self.put_record(subject, bytes, expected) }.boxed()
    }

    fn delete_record<'a>(
        &'a self,
        subject: &'a Subject,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        async move { self.remove_record(subject, expected) }.boxed()
    }

    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>> {
        async move {
            self.set_status(object, status);
            Ok(())
        }
        .boxed()
    }

    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>> {
        async move {
            self.finalizer(object, present);
            Ok(())
        }
        .boxed()
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>> {
        async move { self.set_annotations(kind, object, annotations) }.boxed()
    }

    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()> {
        async move { self.state().journal.push(Entry::Emit(event.clone())) }.boxed()
    }

    fn clock_offset(&self) -> Option<jiff::SignedDuration> {
        None
    }
}

impl State {
    fn tell_config_map(&mut self, key: &ObjectKey) {
        let input = InputRef {
            kind: InputKind::ConfigMap,
            object: key.clone(),
        };
        if self.attended_inputs.contains(&input) {
            let change = self.input_change(&input);
            self.tell(&change);
        }
    }
}
