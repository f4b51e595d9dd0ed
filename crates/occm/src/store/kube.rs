//! The store in Kubernetes: wishes are custom resources, outputs and records are Secrets.
//!
//! Reads come from watches of the managed namespaces: Issuers, Certificates, Secrets with our label (hashed as they
//! stream by, and dropped), the names of other Secrets (metadata only), and one watch for each input. Writes are
//! single requests with the expected state in them. No right outside the managed namespaces is used.

mod api;
pub(crate) mod door;
mod events;
mod feed;
mod follow;
mod lease;
mod paths;
mod read;
mod sinks;
mod wire;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use jiff::SignedDuration;

use crate::clock::Clock;
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::kube::api::SharedApi;
use crate::store::kube::events::Events;
use crate::store::kube::feed::Hub;
pub use crate::store::kube::follow::FirstLists;
pub use crate::store::kube::lease::{Fence, Leadership, Lease, LeaseSettings};
use crate::store::{
    Change, Content, Event, Presence, RecordSeen, SecretFacts, SecretRelease, SecretWrite, Status, Store,
    StoreResult, Subject, Version,
};

/// How a store in Kubernetes works.
#[derive(Clone, Debug)]
pub struct KubeSettings {
    /// The managed namespaces. Nothing outside of them is read or written.
    pub namespaces: Vec<String>,
    /// Names this process in Events: the Pod's name.
    pub instance: String,
    /// Most inputs that have a watch each; the others are polled.
    pub watched_inputs: usize,
    /// How often an input without a watch is read.
    pub poll_interval: Duration,
    /// Longest time for one call.
    pub call_timeout: Duration,
    /// How lists are read before they are watched.
    pub first_lists: FirstLists,
}

impl KubeSettings {
    /// The defaults for these namespaces.
    pub fn new(namespaces: impl IntoIterator<Item = impl Into<String>>, instance: &str) -> Self {
        let unique: BTreeSet<String> = namespaces.into_iter().map(Into::into).collect();
        Self {
            namespaces: unique.into_iter().collect(),
            instance: instance.to_owned(),
            watched_inputs: 200,
            poll_interval: Duration::from_secs(30),
            call_timeout: Duration::from_secs(10),
            first_lists: FirstLists::default(),
        }
    }
}

/// Wishes, outputs and records in Kubernetes. Must be made and used within a tokio runtime.
pub struct KubeStore {
    api: SharedApi,
    hub: Arc<Hub>,
    events: Events,
    settings: KubeSettings,
    clock: Clock,
}

impl KubeStore {
    /// The store behind the API server that `config` names. Sends nothing yet.
    pub fn new(config: &kube::Config, settings: KubeSettings, clock: Clock) -> Result<Self, kube::Error> {
        let api = Arc::new(api::Api::new(config, settings.call_timeout, clock.clone())?);
        let events = Events::start(&api, &settings.instance);
        Ok(Self {
            api,
            hub: Arc::new(Hub::new()),
            events,
            settings,
            clock,
        })
    }

    /// A Lease behind the same API server, and what the rest of the process knows of it.
    pub fn lease(&self, settings: LeaseSettings) -> (Lease, Leadership) {
        Lease::new(Arc::clone(&self.api), self.clock.clone(), settings)
    }

    /// Requests sent so far, watches included.
    pub fn calls(&self) -> u64 {
        self.api.calls()
    }

    /// Events dropped because too many waited for being sent.
    pub fn dropped_events(&self) -> u64 {
        self.events.dropped()
    }

    fn wrote(&self, key: &ObjectKey, written: StoreResult<SecretFacts>) -> StoreResult<SecretFacts> {
        if let Ok(facts) = &written {
            self.hub.wrote(key, facts.version, None);
        }
        written
    }
}

impl Store for KubeStore {
    fn watch(&self) -> BoxStream<'static, Change> {
        feed::feed(Arc::clone(&self.api), &self.hub, &self.settings)
    }

    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        self.hub.attend(inputs, outputs);
    }

    fn polled(&self) -> BTreeMap<InputRef, Duration> {
        let above = self.hub.inputs_above(self.settings.watched_inputs);
        let interval = self.settings.poll_interval;
        above.into_iter().map(|input| (input, interval)).collect()
    }

    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>> {
        read::secret(&self.api, key).boxed()
    }

    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>> {
        read::input(&self.api, input).boxed()
    }

    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async move { self.wrote(&write.key, write::create_secret(&self.api, write).await) }.boxed()
    }

    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async move { self.wrote(&write.key, write::update_secret(&self.api, write, expected).await) }.boxed()
    }

    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        async move {
            self.wrote(
                &release.key,
                write::release_secret(&self.api, release, expected).await,
            )
        }
        .boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        write::delete_secret(&self.api, key, Some(uid), expected).boxed()
    }

    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>> {
        read::record(&self.api, subject).boxed()
    }

    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        async move {
            let (key, version) = write::write_record(&self.api, subject, bytes, expected).await?;
            self.hub.wrote(&key, version, Some(subject));
            Ok(version)
        }
        .boxed()
    }

    fn delete_record<'a>(
        &'a self,
        subject: &'a Subject,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        write::delete_record(&self.api, subject, expected).boxed()
    }

    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>> {
        write::write_status(&self.api, object, status).boxed()
    }

    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>> {
        write::set_finalizer(&self.api, object, present).boxed()
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>> {
        write::annotate(&self.api, kind, object, annotations).boxed()
    }

    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()> {
        self.events.emit(event);
        futures::future::ready(()).boxed()
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        self.api.clock_offset()
    }
}
