//! One watch of the store: what the followers of all lists tell, made into changes.
//!
//! ```text
//!   per namespace:  labelled Secrets ─┐ first
//!                   foreign names ────┤ first        ┌─ Synced, once everything was told and
//!                   Issuers ──────────┤ then         │  the attended inputs were told, too
//!                   Certificates ─────┴─> changes ───┴─> reader
//!   per input:      one Secret or ConfigMap ──> changes
//! ```
//!
//! Issuers and Certificates of a namespace are told after its Secrets: who cannot read the records of a namespace
//! must not act on its Certificates.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::kube::api::SharedApi;
use crate::store::kube::follow::{Query, follow};
use crate::store::kube::sinks::{ForeignSink, InputSink, ObjectSink, SecretSink};
use crate::store::kube::{KubeSettings, paths, read};
use crate::store::{Change, Subject, Version};

/// Changes that wait for the reader.
const QUEUE: usize = 1024;
/// Reads of foreign Secrets at one time.
const LOOKS: usize = 16;

/// What the reader attends to.
#[derive(Clone, Default)]
pub(super) struct Attended {
    generation: u64,
    inputs: Arc<BTreeSet<InputRef>>,
    outputs: Arc<BTreeSet<ObjectKey>>,
}

/// Everything that the feeds of one store share.
pub(super) struct Hub {
    attended: watch::Sender<Attended>,
    generation: AtomicU64,
    feeds: Mutex<Vec<std::sync::Weak<Known>>>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self {
            attended: watch::Sender::new(Attended::default()),
            generation: AtomicU64::new(0),
            feeds: Mutex::new(Vec::new()),
        }
    }

    /// Replaces what the feeds attend to.
    pub(super) fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let (inputs, outputs) = (Arc::new(inputs), Arc::new(outputs));
        self.attended.send_replace(Attended {
            generation,
            inputs,
            outputs,
        });
    }

    /// The attended inputs above a limit.
    pub(super) fn inputs_above(&self, limit: usize) -> Vec<InputRef> {
        above(&self.attended.borrow().inputs, limit)
    }

    /// Remembers a write of ours: what a watch tells of earlier states is old news.
    pub(super) fn wrote(&self, key: &ObjectKey, version: Version, record: Option<&Subject>) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        for known in feeds.iter().filter_map(std::sync::Weak::upgrade) {
            known.wrote(key, version, record);
        }
    }

    fn join(&self, known: &Arc<Known>) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|known| known.strong_count() > 0);
        feeds.push(Arc::downgrade(known));
    }
}

/// The Secrets of a namespace that are known, without their content.
#[derive(Default)]
pub(super) struct KnownSecrets {
    /// Those with our label, by name.
    pub(super) ours: HashMap<Box<str>, Ours>,
    /// Those without it.
    pub(super) foreign: Foreign,
    /// Names told since the list of ours began.
    pub(super) listed: Option<HashSet<Box<str>>>,
}

/// Secrets without our label: hashes of their names and versions, since there may be a hundred thousand of them. Two names
/// with one hash cost a needless read.
#[derive(Default)]
pub(super) struct Foreign {
    hasher: RandomState,
    versions: HashMap<u64, Version>,
    /// Names told since the list began, if something was known before.
    listed: Option<HashSet<u64>>,
}

impl Foreign {
    /// The list begins.
    pub(super) fn begin(&mut self) {
        self.listed = (!self.versions.is_empty()).then(HashSet::new);
    }

    /// One exists in this version.
    pub(super) fn insert(&mut self, name: &str, version: Version) {
        let hash = self.hasher.hash_one(name);
        self.versions.insert(hash, version);
        if let Some(listed) = &mut self.listed {
            listed.insert(hash);
        }
    }

    /// One exists no longer.
    pub(super) fn remove(&mut self, name: &str) {
        self.versions.remove(&self.hasher.hash_one(name));
    }

    /// The version of one.
    pub(super) fn version(&self, name: &str) -> Option<Version> {
        self.versions.get(&self.hasher.hash_one(name)).copied()
    }

    /// Which of these names were known and are not on the list; they are forgotten.
    pub(super) fn end<'a>(&mut self, names: impl Iterator<Item = &'a ObjectKey>) -> Vec<ObjectKey> {
        let Some(listed) = self.listed.take() else {
            return Vec::new();
        };
        let lost = |key: &&ObjectKey| {
            let hash = self.hasher.hash_one(key.name.as_str());
            self.versions.contains_key(&hash) && !listed.contains(&hash)
        };
        let lost = names.filter(lost).cloned().collect();
        self.versions.retain(|hash, _| listed.contains(hash));
        lost
    }
}

/// A Secret with our label.
pub(super) struct Ours {
    /// Newest version that was told or written.
    pub(super) version: Version,
    /// Whose record it is, if it is one.
    pub(super) record: Option<Subject>,
}

/// What one feed knows of Secrets.
pub(super) struct Known {
    namespaces: HashMap<String, Mutex<KnownSecrets>>,
}

impl Known {
    fn new(namespaces: &[String]) -> Self {
        Self {
            namespaces: namespaces
                .iter()
                .map(|name| (name.clone(), Mutex::default()))
                .collect(),
        }
    }

    /// The Secrets of a managed namespace.
    pub(super) fn secrets(&self, namespace: &str) -> Option<MutexGuard<'_, KnownSecrets>> {
        Some(
            self.namespaces
                .get(namespace)?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn wrote(&self, key: &ObjectKey, version: Version, record: Option<&Subject>) {
        let Some(mut secrets) = self.secrets(&key.namespace) else {
            return;
        };
        if let Some(listed) = &mut secrets.listed {
            listed.insert(key.name.as_str().into());
        }
        match secrets.ours.get_mut(key.name.as_str()) {
            Some(known) => known.version = known.version.max(version),
            None => {
                secrets.ours.insert(
                    key.name.as_str().into(),
                    Ours {
                        version,
                        record: record.cloned(),
                    },
                );
            }
        }
    }

    fn standing(&self, key: &ObjectKey) -> Standing {
        let Some(secrets) = self.secrets(&key.namespace) else {
            return Standing::Unknown;
        };
        if secrets.foreign.version(&key.name).is_some() {
            Standing::Foreign
        } else if secrets.ours.contains_key(key.name.as_str()) {
            Standing::Ours
        } else {
            Standing::Missing
        }
    }
}

/// What is known of a Secret.
enum Standing {
    /// It has our label and is told by the watch.
    Ours,
    /// It exists without our label.
    Foreign,
    /// It does not exist.
    Missing,
    /// Its namespace is not managed.
    Unknown,
}

/// What the parts of a feed tell its driver.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Report {
    /// A namespace was read, or cannot be.
    Namespace(String),
    /// An input was told, or cannot be.
    Input(InputRef),
    /// A foreign Secret was told.
    Output(ObjectKey),
    /// A foreign Secret changed and wants to be read.
    Look(ObjectKey),
}

/// What the parts of a feed share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) api: SharedApi,
    pub(super) known: Arc<Known>,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) reports: mpsc::Sender<Report>,
    attended: watch::Receiver<Attended>,
}

impl Shared {
    /// Tells the reader; a reader that is gone ends the feed anyway.
    pub(super) async fn tell(&self, change: Change) {
        let _ = self.changes.send(change).await;
    }

    pub(super) async fn report(&self, report: Report) {
        let _ = self.reports.send(report).await;
    }

    /// The outputs of a namespace that the reader attends to.
    pub(super) fn attended_outputs(&self) -> Arc<BTreeSet<ObjectKey>> {
        Arc::clone(&self.attended.borrow().outputs)
    }

    /// Whether the reader attends to this Secret as an output.
    pub(super) fn attends(&self, key: &ObjectKey) -> bool {
        self.attended.borrow().outputs.contains(key)
    }
}

/// How far the first reading is.
#[derive(Clone, Copy, Default, PartialEq)]
struct Progress {
    /// All namespaces were read.
    namespaces: bool,
    /// Everything that this generation attends to was told.
    settled: u64,
}

/// Starts a feed. It ends when the stream is dropped.
pub(super) fn feed(api: SharedApi, hub: &Arc<Hub>, settings: &KubeSettings) -> BoxStream<'static, Change> {
    let known = Arc::new(Known::new(&settings.namespaces));
    hub.join(&known);
    let (changes, received) = mpsc::channel(QUEUE);
    let (reports, reported) = mpsc::channel(QUEUE);
    let (progress, seen_progress) = watch::channel(Progress::default());
    let shared = Shared {
        api,
        known,
        changes,
        reports,
        attended: hub.attended.subscribe(),
    };
    let driver = Driver {
        inputs: HashMap::new(),
        polled: None,
        polled_inputs: Vec::new(),
        attended: Attended::default(),
        awaited: settings
            .namespaces
            .iter()
            .cloned()
            .map(Report::Namespace)
            .collect(),
        read: HashSet::new(),
        looks: Arc::new(Semaphore::new(LOOKS)),
        tasks: JoinSet::new(),
        settings: settings.clone(),
        progress,
        shared,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run(reported));
    let reader = Reader {
        received,
        progress: seen_progress,
        hub: Arc::clone(hub),
        synced: false,
        _tasks: tasks,
    };
    futures::stream::unfold(reader, |mut reader| async move {
        Some((reader.next().await?, reader))
    })
    .boxed()
}

/// The reader's end of a feed.
struct Reader {
    received: mpsc::Receiver<Change>,
    progress: watch::Receiver<Progress>,
    hub: Arc<Hub>,
    synced: bool,
    _tasks: JoinSet<()>,
}

impl Reader {
    async fn next(&mut self) -> Option<Change> {
        let mut yielded = false;
        loop {
            if self.synced {
                return self.received.recv().await;
            }
            tokio::select! {
                biased;
                change = self.received.recv() => return change,
                () = settled(&mut self.progress, &self.hub) => {}
            }
            if yielded {
                self.synced = true;
                return Some(Change::Synced);
            }
            // The reader takes in what it was given before it asks again, and may then attend to more.
            yielded = true;
            tokio::task::yield_now().await;
        }
    }
}

/// Inputs that get no watch, where only `limit` get one.
fn above(inputs: &BTreeSet<InputRef>, limit: usize) -> Vec<InputRef> {
    inputs.iter().skip(limit).cloned().collect()
}

/// Waits until all namespaces were read and everything attended to was told.
async fn settled(progress: &mut watch::Receiver<Progress>, hub: &Hub) {
    loop {
        let now = *progress.borrow_and_update();
        if now.namespaces && now.settled >= hub.generation.load(Ordering::SeqCst) {
            return;
        }
        if progress.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Starts and stops followers.
struct Driver {
    shared: Shared,
    settings: KubeSettings,
    attended: Attended,
    inputs: HashMap<InputRef, AbortHandle>,
    polled: Option<AbortHandle>,
    polled_inputs: Vec<InputRef>,
    /// Namespaces whose Secrets were read.
    read: HashSet<String>,
    awaited: HashSet<Report>,
    looks: Arc<Semaphore>,
    tasks: JoinSet<()>,
    progress: watch::Sender<Progress>,
}

impl Driver {
    async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        let (ready, readied) = mpsc::channel(self.settings.namespaces.len().max(1));
        for namespace in self.settings.namespaces.clone() {
            self.follow_namespace(&namespace, ready.clone());
        }
        drop(ready);
        let mut attended = self.shared.attended.clone();
        let mut readied = Some(readied);
        // What was attended to before this feed began.
        let now = attended.borrow_and_update().clone();
        self.attend(now).await;
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(Report::Look(key)) => self.look(key),
                    Some(report) => self.settle(&report),
                    None => return,
                },
                changed = attended.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = attended.borrow_and_update().clone();
                    self.attend(now).await;
                }
                namespace = next_ready(&mut readied) => self.open_namespace(&namespace).await,
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// The Secrets of a namespace; `ready` is told when they were read.
    fn follow_namespace(&mut self, namespace: &str, ready: mpsc::Sender<String>) {
        let parts = Arc::new(Mutex::new(2_u8));
        let ours = Query {
            path: paths::secrets(namespace),
            labels: crate::model::object::ROLE_LABEL.to_owned(),
            fields: String::new(),
            first: self.settings.first_lists,
        };
        let foreign = Query {
            labels: format!("!{}", crate::model::object::ROLE_LABEL),
            ..ours.clone()
        };
        let gate = Gate {
            namespace: namespace.to_owned(),
            ready,
            parts,
        };
        let (api, shared) = (&self.shared.api, &self.shared);
        let sink = SecretSink::new(shared.clone(), namespace, gate.clone());
        self.tasks.spawn(follow(Arc::clone(api), ours, sink));
        let sink = ForeignSink::new(shared.clone(), namespace, gate);
        self.tasks.spawn(follow(Arc::clone(api), foreign, sink));
    }

    /// The Secrets of a namespace were read: what is attended to is known now, and its objects may be told.
    async fn open_namespace(&mut self, namespace: &str) {
        self.read.insert(namespace.to_owned());
        let outputs = Arc::clone(&self.attended.outputs);
        for key in outputs.iter().filter(|key| key.namespace == namespace) {
            self.tell_standing(key).await;
        }
        self.follow_objects(namespace);
    }

    /// The Issuers and Certificates of a namespace whose Secrets were read.
    fn follow_objects(&mut self, namespace: &str) {
        let parts = Arc::new(Mutex::new(2_u8));
        for kind in [Kind::Issuer, Kind::Certificate] {
            let path = paths::objects(kind, namespace);
            let query = Query {
                path,
                labels: String::new(),
                fields: String::new(),
                first: self.settings.first_lists,
            };
            let sink = ObjectSink::new(self.shared.clone(), kind, namespace, Arc::clone(&parts));
            self.tasks
                .spawn(follow(Arc::clone(&self.shared.api), query, sink));
        }
    }

    /// Tells of an output that is attended to from now on, unless its namespace was not read yet.
    async fn tell_standing(&mut self, key: &ObjectKey) {
        if !self.read.contains(key.namespace.as_str()) {
            return;
        }
        match self.shared.known.standing(key) {
            Standing::Foreign => {
                self.awaited.insert(Report::Output(key.clone()));
                self.look(key.clone());
            }
            Standing::Missing => self.shared.tell(Change::Secret(key.clone(), None)).await,
            Standing::Ours | Standing::Unknown => {}
        }
    }

    async fn attend(&mut self, now: Attended) {
        if now.generation == self.attended.generation {
            return;
        }
        let before = std::mem::replace(&mut self.attended, now.clone());
        for key in now.outputs.difference(&before.outputs) {
            self.tell_standing(key).await;
        }
        let watched: BTreeSet<InputRef> = now
            .inputs
            .iter()
            .take(self.settings.watched_inputs)
            .cloned()
            .collect();
        self.inputs.retain(|input, task| {
            let keep = watched.contains(input);
            if !keep {
                task.abort();
            }
            keep
        });
        for input in &watched {
            if !self.inputs.contains_key(input) {
                self.awaited.insert(Report::Input(input.clone()));
                let task = self.follow_input(input);
                self.inputs.insert(input.clone(), task);
            }
        }
        self.poll(above(&now.inputs, self.settings.watched_inputs));
        self.awaited.retain(|report| match report {
            Report::Input(input) => now.inputs.contains(input),
            Report::Output(key) => now.outputs.contains(key),
            Report::Namespace(_) | Report::Look(_) => true,
        });
        self.publish();
    }

    fn follow_input(&mut self, input: &InputRef) -> AbortHandle {
        let path = match input.kind {
            InputKind::Secret => paths::secrets(&input.object.namespace),
            InputKind::ConfigMap => paths::config_maps(&input.object.namespace),
        };
        let fields = format!("metadata.name={}", input.object.name);
        let query = Query {
            path,
            labels: String::new(),
            fields,
            first: self.settings.first_lists,
        };
        let (api, sink) = (
            Arc::clone(&self.shared.api),
            InputSink::new(self.shared.clone(), input.clone()),
        );
        match input.kind {
            InputKind::Secret => self
                .tasks
                .spawn(follow::<crate::store::kube::wire::FullSecret>(api, query, sink)),
            InputKind::ConfigMap => self
                .tasks
                .spawn(follow::<crate::store::kube::wire::ConfigMap>(api, query, sink)),
        }
    }

    /// Inputs above the limit are read from time to time.
    fn poll(&mut self, inputs: Vec<InputRef>) {
        if inputs == self.polled_inputs {
            return;
        }
        self.polled_inputs.clone_from(&inputs);
        if let Some(task) = self.polled.take() {
            task.abort();
        }
        if inputs.is_empty() {
            return;
        }
        self.awaited.extend(inputs.iter().cloned().map(Report::Input));
        let (shared, interval) = (self.shared.clone(), self.settings.poll_interval);
        self.polled = Some(self.tasks.spawn(poll(shared, inputs, interval)));
    }

    /// Reads a foreign Secret and tells it.
    fn look(&mut self, key: ObjectKey) {
        let (shared, looks) = (self.shared.clone(), Arc::clone(&self.looks));
        self.tasks.spawn(async move {
            let _one = looks.acquire_owned().await;
            let mut wait = Duration::from_millis(100);
            loop {
                match read::secret(&shared.api, &key).await {
                    Ok(content) => {
                        let facts = content.map(|content| Arc::new(content.facts));
                        shared.tell(Change::Secret(key.clone(), facts)).await;
                        break;
                    }
                    Err(crate::store::StoreError::Forbidden(..)) => break,
                    Err(error) => tracing::debug!(%key, %error, "foreign Secret could not be read"),
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            shared.report(Report::Output(key)).await;
        });
    }

    fn settle(&mut self, report: &Report) {
        self.awaited.remove(report);
        self.publish();
    }

    fn publish(&self) {
        let namespaces = !self
            .awaited
            .iter()
            .any(|report| matches!(report, Report::Namespace(_)));
        let settled = self.awaited.is_empty();
        let generation = self.attended.generation;
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            progress.namespaces |= namespaces;
            if settled {
                progress.settled = generation;
            }
            *progress != before
        });
    }
}

async fn next_ready(readied: &mut Option<mpsc::Receiver<String>>) -> String {
    loop {
        match readied {
            Some(receiver) => match receiver.recv().await {
                Some(namespace) => return namespace,
                None => *readied = None,
            },
            None => return std::future::pending().await,
        }
    }
}

/// Opens a namespace's Issuers and Certificates once both of its lists of Secrets were read.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) namespace: String,
    ready: mpsc::Sender<String>,
    parts: Arc<Mutex<u8>>,
}

impl Gate {
    /// One of the two lists was read for the first time.
    pub(super) async fn open(self) {
        if last(&self.parts) {
            let _ = self.ready.send(self.namespace).await;
        }
    }
}

/// Counts down; whether this was the last one.
pub(super) fn last(parts: &Mutex<u8>) -> bool {
    let mut left = parts.lock().unwrap_or_else(PoisonError::into_inner);
    *left = left.saturating_sub(1);
    *left == 0
}

async fn poll(shared: Shared, inputs: Vec<InputRef>, interval: Duration) {
    let mut told: HashMap<InputRef, Option<crate::store::InputFacts>> = HashMap::new();
    loop {
        for input in &inputs {
            if let Ok(facts) = read::input_facts_of(&shared.api, input).await
                && told.get(input) != Some(&facts)
            {
                told.insert(input.clone(), facts);
                shared.tell(Change::Input(input.clone(), facts)).await;
            }
            shared.report(Report::Input(input.clone())).await;
        }
        tokio::time::sleep(interval).await;
    }
}
