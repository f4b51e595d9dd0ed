//! What the followers of a feed do with what they are told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::Value;

use crate::model::certificate::Certificate;
use crate::model::field::FieldErrors;
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, Kind, Object, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::kube::api::Answer;
use crate::store::kube::feed::{Foreign, Gate, Ours, Report, Shared, last};
use crate::store::kube::follow::{Sink, Told, Watched};
use crate::store::kube::wire::{ConfigMap, FullSecret, HashedSecret, Meta, MetaOnly};
use crate::store::kube::write::subject_of;
use crate::store::{Broken, Change, ContentHash, InputFacts, RecordSeen, Seen, StoreError, Subject};

/// Refusals in a row after which a list counts as one that we may not read.
const MAX_REFUSALS: u32 = 4;

/// Secrets with our label.
pub(super) struct SecretSink {
    shared: Shared,
    namespace: String,
    gate: Option<Gate>,
    refusals: u32,
}

impl SecretSink {
    pub(super) fn new(shared: Shared, namespace: &str, gate: Gate) -> Self {
        Self {
            shared,
            namespace: namespace.to_owned(),
            gate: Some(gate),
            refusals: 0,
        }
    }

    fn begin(&self) {
        if let Some(mut secrets) = self.shared.known.secrets(&self.namespace) {
            secrets.listed = Some(HashSet::new());
        }
    }

    fn now(&self, secret: HashedSecret) -> Option<Change> {
        let key = secret.metadata.key();
        let version = secret.metadata.version();
        let subject = secret.is_record().then(|| subject_of(&secret.metadata));
        let mut secrets = self.shared.known.secrets(&self.namespace)?;
        if let Some(listed) = &mut secrets.listed {
            listed.insert(key.name.as_str().into());
        }
        let newer = secrets
            .ours
            .get(key.name.as_str())
            .is_some_and(|known| known.version > version);
        if newer {
            return None;
        }
        let record = subject.clone().flatten();
        secrets
            .ours
            .insert(key.name.as_str().into(), Ours { version, record });
        drop(secrets);
        match subject {
            Some(Some(subject)) => {
                let bytes = Arc::new(
                    secret
                        .into_record()
                        .unwrap_or_else(|| pki::Secret::new(Vec::new())),
                );
                Some(Change::Record(subject, Some(RecordSeen { version, bytes })))
            }
            Some(None) => {
                tracing::warn!(%key, "Secret has the label of a record and does not say whose it is");
                None
            }
            None => Some(Change::Secret(key, Some(Arc::new(secret.into_facts())))),
        }
    }

    /// A Secret is gone or has lost our label.
    fn gone(&self, meta: &Meta) -> Option<Change> {
        let key = meta.key();
        let version = meta.version();
        let mut secrets = self.shared.known.secrets(&self.namespace)?;
        if secrets
            .ours
            .get(key.name.as_str())
            .is_some_and(|known| known.version > version)
        {
            return None;
        }
        let known = secrets.ours.remove(key.name.as_str());
        let stays = secrets
            .foreign
            .version(&key.name)
            .is_some_and(|foreign| foreign >= version);
        drop(secrets);
        absent(key, known.and_then(|known| known.record), stays)
    }

    /// What was there and is not on the list is gone.
    fn listed(&self) -> Vec<Change> {
        let Some(mut secrets) = self.shared.known.secrets(&self.namespace) else {
            return Vec::new();
        };
        let Some(listed) = secrets.listed.take() else {
            return Vec::new();
        };
        let lost: Vec<Box<str>> = secrets
            .ours
            .keys()
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect();
        let gone = lost.into_iter().filter_map(|name| {
            let known = secrets.ours.remove(&name)?;
            let stays = secrets.foreign.version(&name).is_some();
            absent(ObjectKey::new(&self.namespace, &*name), known.record, stays)
        });
        gone.collect()
    }
}

fn absent(key: ObjectKey, record: Option<Subject>, stays: bool) -> Option<Change> {
    match record {
        Some(subject) => Some(Change::Record(subject, None)),
        None if stays => None,
        None => Some(Change::Secret(key, None)),
    }
}

impl Sink<HashedSecret> for SecretSink {
    async fn take(&mut self, told: Told<HashedSecret>) {
        match told {
            Told::Begin => self.begin(),
            Told::Now(secret) => {
                if let Some(change) = self.now(secret) {
                    self.shared.tell(change).await;
                }
            }
            Told::Gone(secret) => {
                if let Some(change) = self.gone(&secret.metadata) {
                    self.shared.tell(change).await;
                }
            }
            Told::Listed => {
                for change in self.listed() {
                    self.shared.tell(change).await;
                }
                if let Some(gate) = self.gate.take() {
                    gate.open().await;
                }
            }
            Told::Failed(error) => {
                failed(
                    &self.shared,
                    &self.namespace,
                    "Secrets",
                    &error,
                    &mut self.refusals,
                )
                .await;
            }
        }
    }
}

/// A namespace that we may not read stops only itself.
async fn failed(shared: &Shared, namespace: &str, what: &str, error: &StoreError, refusals: &mut u32) {
    if !matches!(error, StoreError::Forbidden(..) | StoreError::NotFound(_)) {
        *refusals = 0;
        return;
    }
    *refusals += 1;
    if *refusals == MAX_REFUSALS {
        tracing::error!(namespace, what, %error, "namespace cannot be read; it is left alone");
        shared.report(Report::Namespace(namespace.to_owned())).await;
    }
}

/// Names of Secrets without our label, of which only the metadata is read.
pub(super) struct ForeignSink {
    shared: Shared,
    namespace: String,
    gate: Option<Gate>,
    refusals: u32,
}

impl ForeignSink {
    pub(super) fn new(shared: Shared, namespace: &str, gate: Gate) -> Self {
        Self {
            shared,
            namespace: namespace.to_owned(),
            gate: Some(gate),
            refusals: 0,
        }
    }

    async fn look(&self, name: &str) {
        let key = ObjectKey::new(&self.namespace, name);
        if self.shared.attends(&key) {
            self.shared.report(Report::Look(key)).await;
        }
    }

    fn known<T>(&self, with: impl FnOnce(&mut Foreign) -> T) -> Option<T> {
        self.shared
            .known
            .secrets(&self.namespace)
            .map(|mut secrets| with(&mut secrets.foreign))
    }

    /// Attended outputs that were foreign and are not on the list.
    fn lost(&self) -> Vec<ObjectKey> {
        let attended = self.shared.attended_outputs();
        let here = attended.iter().filter(|key| key.namespace == self.namespace);
        self.known(|foreign| foreign.end(here)).unwrap_or_default()
    }
}

impl Sink<MetaOnly> for ForeignSink {
    async fn take(&mut self, told: Told<MetaOnly>) {
        match told {
            Told::Begin => {
                self.known(Foreign::begin);
            }
            Told::Now(object) => {
                self.known(|foreign| foreign.insert(&object.metadata.name, object.metadata.version()));
                self.look(&object.metadata.name).await;
            }
            // It may have been deleted or have got our label; the look tells which.
            Told::Gone(object) => {
                self.known(|foreign| foreign.remove(&object.metadata.name));
                self.look(&object.metadata.name).await;
            }
            Told::Listed => {
                for key in self.lost() {
                    self.shared.report(Report::Look(key)).await;
                }
                if let Some(gate) = self.gate.take() {
                    gate.open().await;
                }
            }
            Told::Failed(error) => {
                failed(
                    &self.shared,
                    &self.namespace,
                    "names of Secrets",
                    &error,
                    &mut self.refusals,
                )
                .await;
            }
        }
    }
}

/// Issuers or Certificates of a namespace.
pub(super) struct ObjectSink {
    shared: Shared,
    kind: Kind,
    namespace: String,
    names: HashSet<Box<str>>,
    listed: Option<HashSet<Box<str>>>,
    parts: Option<Arc<Mutex<u8>>>,
    refusals: u32,
}

impl ObjectSink {
    pub(super) fn new(shared: Shared, kind: Kind, namespace: &str, parts: Arc<Mutex<u8>>) -> Self {
        let namespace = namespace.to_owned();
        Self {
            shared,
            kind,
            namespace,
            names: HashSet::new(),
            listed: None,
            parts: Some(parts),
            refusals: 0,
        }
    }

    fn gone(&self, name: &str) -> Change {
        let key = ObjectKey::new(&self.namespace, name);
        match self.kind {
            Kind::Issuer => Change::Issuer(key, None),
            Kind::Certificate => Change::Certificate(key, None),
        }
    }
}

impl Sink<RawObject> for ObjectSink {
    async fn take(&mut self, told: Told<RawObject>) {
        match told {
            Told::Begin => self.listed = Some(HashSet::new()),
            Told::Now(object) => {
                let name: Box<str> = object.metadata.name.as_str().into();
                if let Some(listed) = &mut self.listed {
                    listed.insert(name.clone());
                }
                self.names.insert(name);
                self.shared.tell(object.into_change(self.kind)).await;
            }
            Told::Gone(object) => {
                self.names.remove(object.metadata.name.as_str());
                self.shared.tell(self.gone(&object.metadata.name)).await;
            }
            Told::Listed => {
                let listed = self.listed.take().unwrap_or_default();
                let lost: Vec<Box<str>> = self.names.difference(&listed).cloned().collect();
                for name in lost {
                    self.names.remove(&name);
                    self.shared.tell(self.gone(&name)).await;
                }
                if self.parts.take().is_some_and(|parts| last(&parts)) {
                    self.shared
                        .report(Report::Namespace(self.namespace.clone()))
                        .await;
                }
            }
            Told::Failed(error) => {
                failed(
                    &self.shared,
                    &self.namespace,
                    self.kind.as_str(),
                    &error,
                    &mut self.refusals,
                )
                .await;
            }
        }
    }
}

/// An Issuer or a Certificate before its fields are looked at.
#[derive(Deserialize)]
pub(super) struct RawObject {
    metadata: Meta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Watched for RawObject {
    const ANSWER: Answer = Answer::Full;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl RawObject {
    fn into_change(self, kind: Kind) -> Change {
        let key = self.metadata.key();
        match kind {
            Kind::Issuer => Change::Issuer(key, Some(self.into_seen::<Issuer, _, _>(kind))),
            Kind::Certificate => Change::Certificate(key, Some(self.into_seen::<Certificate, _, _>(kind))),
        }
    }

    fn into_seen<T, Spec, State>(self, kind: Kind) -> Seen<T>
    where
        T: From<Object<Spec, State>>,
        Spec: for<'de> Deserialize<'de>,
        State: for<'de> Deserialize<'de>,
    {
        let (key, generation) = (self.metadata.key(), self.metadata.generation());
        match serde_path_to_error::deserialize(self.spec) {
            Ok(spec) => {
                let object: Object<Spec, State> = Object {
                    api_version: API_VERSION.to_owned(),
                    kind: kind.as_str().to_owned(),
                    metadata: self.metadata.into_model(),
                    spec,
                    // A status that cannot be read is written anew; nothing is decided by it alone.
                    status: serde_json::from_value(self.status).ok(),
                };
                Seen::Object(Arc::new(object.into()))
            }
            Err(error) => {
                let mut errors = FieldErrors::default();
                let path = match error.path().to_string() {
                    path if path == "." => "spec".to_owned(),
                    path => format!("spec.{path}"),
                };
                errors.push(path, error.inner().to_string(), "see `kubectl explain`");
                Seen::Broken(Arc::new(Broken {
                    origin: format!("{kind} {key}"),
                    errors,
                    generation,
                }))
            }
        }
    }
}

/// A Secret or a ConfigMap that is read.
pub(super) struct InputSink {
    shared: Shared,
    input: InputRef,
    seen: bool,
    told: Option<Option<InputFacts>>,
    reported: bool,
}

impl InputSink {
    pub(super) fn new(shared: Shared, input: InputRef) -> Self {
        Self {
            shared,
            input,
            seen: false,
            told: None,
            reported: false,
        }
    }

    async fn tell(&mut self, facts: Option<InputFacts>) {
        if self.told != Some(facts) {
            self.told = Some(facts);
            self.shared.tell(Change::Input(self.input.clone(), facts)).await;
        }
    }

    async fn reported(&mut self) {
        if !self.reported {
            self.reported = true;
            self.shared.report(Report::Input(self.input.clone())).await;
        }
    }
}

/// Something that is an input.
pub(super) trait InputObject: Watched {
    /// Its facts.
    fn into_facts(self) -> InputFacts;
}

impl InputObject for FullSecret {
    fn into_facts(self) -> InputFacts {
        input_facts(&self.into_values())
    }
}

impl InputObject for ConfigMap {
    fn into_facts(self) -> InputFacts {
        input_facts(&self.into_values())
    }
}

/// Facts of an input with these values.
pub(super) fn input_facts(values: &std::collections::BTreeMap<String, pki::Secret>) -> InputFacts {
    InputFacts::of(
        values
            .iter()
            .map(|(key, value)| (key.as_str(), ContentHash::of(value.expose()))),
    )
}

impl<T: InputObject> Sink<T> for InputSink {
    async fn take(&mut self, told: Told<T>) {
        match told {
            Told::Begin => self.seen = false,
            Told::Now(object) => {
                self.seen = true;
                self.tell(Some(object.into_facts())).await;
            }
            Told::Gone(_) => {
                self.seen = false;
                self.tell(None).await;
            }
            Told::Listed => {
                if !self.seen {
                    self.tell(None).await;
                }
                self.reported().await;
            }
            Told::Failed(StoreError::Forbidden(..)) => self.reported().await,
            Told::Failed(_) => {}
        }
    }
}
