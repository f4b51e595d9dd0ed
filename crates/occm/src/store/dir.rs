//! The store of a host without Kubernetes: one directory.
//!
//! ```text
//!   DIR/*.yaml, *.yml           Issuers and Certificates; Secrets and ConfigMaps that they read as inputs
//!   DIR/secrets/NS/NAME/KEY     outputs, as a mounted Secret looks; also inputs that somebody puts there as files
//!   DIR/.occm/records/NS/NAME   records, mode 0600
//!   DIR/.occm/status/NS/KIND.NAME.yaml     status, written when it changes
//!   DIR/.occm/requests/NS/KIND.NAME.json   annotations set by commands and REST, over those of the file
//!   DIR/.occm/objects/NS/KIND.NAME.json    uid, generation, finalizer; the last state of what is being deleted
//!   DIR/.occm/events.jsonl      Events, at most two files of 1 MiB
//!   DIR/.occm/lock              held by the manager
//! ```
//!
//! A Secret that stands in a YAML file is an input; a folder of the same name is then an output only.
//!
//! **What survives a kill or a power cut.** Every write is a new file or folder that is renamed into place. Records,
//! outputs and finalizers are on the disk when the call returns; status, annotations and Events may take the
//! kernel's time. Versions count within one process.
//!
//! **Threads.** File access runs on tokio's blocking threads, the watch on one thread of its own. A future that is
//! dropped does not stop its write.

mod any;
pub(crate) mod edit;
mod events;
mod eyes;
mod files;
mod fs;
mod kept;
mod layout;
mod locks;
mod objects;
mod persons;
mod records;
mod rewrite;
mod secrets;
mod state;
mod watch;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::broadcast;

use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::any::AnyObject;
use crate::store::dir::fs::{Durability, PRIVATE_FILE, Steps, store_error};
use crate::store::dir::layout::Layout;
use crate::store::dir::locks::Locks;
use crate::store::dir::objects::{Keeping, Objects};
use crate::store::dir::secrets::Found;
use crate::store::dir::state::{AnySeen, State, Taken, Topic};
use crate::store::dir::watch::{Sight, Watch};
use crate::store::{
    Change, Content, ContentHash, Event, MAX_VALUE_BYTES, Presence, RecordSeen, SecretFacts, SecretRelease,
    SecretWrite, Seen, Status, Store, StoreError, StoreResult, Subject, Version,
};

pub use crate::store::dir::files::{ObjectFile, read_objects};
pub use crate::store::dir::objects::FileProblem;

/// Most changes that a reader of the watch takes at once.
const BATCH: usize = 64;

/// What a process wants with the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::dir) enum Access {
    /// Manage it: takes the lock, watches, writes.
    Manager,
    /// Look at it, and set annotations.
    Client,
}

/// The store of one directory.
pub struct DirStore {
    inner: Arc<Inner>,
    watch: Mutex<Option<Watch>>,
}

/// Everything that stands in the directory, for commands.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Issuers with their status.
    pub issuers: BTreeMap<ObjectKey, Seen<crate::model::issuer::Issuer>>,
    /// Certificates with their status.
    pub certificates: BTreeMap<ObjectKey, Seen<crate::model::certificate::Certificate>>,
    /// What is wrong with the files.
    pub problems: Vec<FileProblem>,
}

pub(in crate::store::dir) struct Inner {
    layout: Arc<Layout>,
    access: Access,
    state: Arc<Mutex<State>>,
    objects: Mutex<Objects>,
    locks: Locks,
    events: Mutex<()>,
    /// Events as they are written.
    emitted: broadcast::Sender<Arc<Event>>,
    _lock: Option<File>,
}

impl DirStore {
    /// Opens a directory, which must exist, to manage it. Blocks for the moment of a few file operations.
    ///
    /// Refused while another process manages the directory.
    pub fn open(path: &Path) -> StoreResult<Self> {
        Self::open_with(path, Access::Manager, Steps::default())
    }

    /// Opens a directory, which must exist, to look at its objects and to set annotations: for commands. Takes no lock
    /// and works beside a manager. Its watch tells no Secrets and no records.
    pub fn open_client(path: &Path) -> StoreResult<Self> {
        Self::open_with(path, Access::Client, Steps::default())
    }

    fn open_with(path: &Path, access: Access, steps: Steps) -> StoreResult<Self> {
        Self::open_seeing(path, access, steps, Sight::Kernel)
    }

    #[cfg(test)]
    fn open_blind(path: &Path) -> StoreResult<Self> {
        Self::open_seeing(path, Access::Manager, Steps::default(), Sight::Clock)
    }

    fn open_seeing(path: &Path, access: Access, steps: Steps, sight: Sight) -> StoreResult<Self> {
        let layout = Arc::new(Layout::open(path, steps)?);
        let (lock, keeping) = match access {
            Access::Manager => {
                let lock = layout.lock()?;
                layout.prepare()?;
                (Some(lock), Keeping::Manager)
            }
            Access::Client => (None, Keeping::Reader),
        };
        let state = Arc::new(Mutex::new(State::default()));
        let objects = Mutex::new(Objects::new(layout.clone(), state.clone(), keeping));
        let inner = Arc::new(Inner {
            layout,
            access,
            state,
            objects,
            locks: Locks::default(),
            events: Mutex::new(()),
            emitted: broadcast::Sender::new(events::WAITING),
            _lock: lock,
        });
        let watch = match access {
            Access::Manager => Some(Watch::start(inner.clone(), sight)?),
            Access::Client => {
                inner.objects().load()?;
                inner.state().sync();
                None
            }
        };
        Ok(Self {
            inner,
            watch: Mutex::new(watch),
        })
    }

    /// A client watches only when somebody wants to know.
    fn watch_from_now_on(&self) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_none() {
            match Watch::start(self.inner.clone(), Sight::Kernel) {
                Ok(started) => *watch = Some(started),
                Err(error) => tracing::warn!(%error, "directory is not watched"),
            }
        }
    }

    /// The watch as [`Store::watch`] tells it, and statuses that were written through this store: for persons who look on.
    pub fn watch_with_statuses(&self) -> BoxStream<'static, Change> {
        let id = self.inner.state().open_feed_with_statuses();
        self.read_feed(id)
    }

    fn read_feed(&self, id: u64) -> BoxStream<'static, Change> {
        self.watch_from_now_on();
        let reader = Reader {
            inner: self.inner.clone(),
            id,
            ready: VecDeque::new(),
        };
        futures::stream::unfold(reader, |mut reader| async move {
            let change = reader.next().await?;
            Some((change, reader))
        })
        .boxed()
    }

    /// What is wrong with the files and does not show in an object's state.
    pub fn problems(&self) -> Vec<FileProblem> {
        self.inner.objects().problems()
    }

    /// All objects with their status. A client without a watch sees the directory as it was when it was opened.
    pub fn objects(&self) -> Listing {
        let problems = self.problems();
        let mut listing = Listing {
            problems,
            ..Listing::default()
        };
        for ((kind, key), (_, seen)) in &self.inner.state().objects {
            match (kind, seen) {
                (_, AnySeen::Object(AnyObject::Issuer(object))) => {
                    listing.issuers.insert(key.clone(), Seen::Object(object.clone()));
                }
                (_, AnySeen::Object(AnyObject::Certificate(object))) => {
                    listing
                        .certificates
                        .insert(key.clone(), Seen::Object(object.clone()));
                }
                (Kind::Issuer, AnySeen::Broken(broken)) => {
                    listing.issuers.insert(key.clone(), Seen::Broken(broken.clone()));
                }
                (Kind::Certificate, AnySeen::Broken(broken)) => {
                    listing
                        .certificates
                        .insert(key.clone(), Seen::Broken(broken.clone()));
                }
            }
        }
        listing
    }

    /// File and line where a field of an object is written, for messages to people.
    pub fn place_of(&self, kind: Kind, key: &ObjectKey, path: &str) -> Option<(String, usize)> {
        self.inner.objects().place_of(&(kind, key.clone()), path)
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> StoreResult<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let inner = self.inner.clone();
        async move {
            match tokio::task::spawn_blocking(move || work(&inner)).await {
                Ok(result) => result,
                Err(error) => Err(StoreError::Unavailable("directory".to_owned(), error.to_string())),
            }
        }
        .boxed()
    }
}

impl Drop for DirStore {
    fn drop(&mut self) {
        self.inner.state().close();
        drop(self.watch.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manage(&self, what: impl std::fmt::Display) -> StoreResult<()> {
        match self.access {
            Access::Manager => Ok(()),
            Access::Client => Err(StoreError::Forbidden(
                what.to_string(),
                "the directory is open for reading only".to_owned(),
            )),
        }
    }

    /// Reads a Secret whose lock is held, and takes over what was found.
    fn see_secret(&self, key: &ObjectKey) -> StoreResult<Option<(Arc<SecretFacts>, Found, fs::Folder)>> {
        let Some(folder) = secrets::open(&self.layout, key)? else {
            self.state().see_secret(key, None);
            return Ok(None);
        };
        let found = secrets::read(&folder)
            .map_err(|error| store_error(folder.path().display().to_string(), &error))?;
        let facts = self.state().see_secret(key, Some(&found));
        Ok(facts.map(|facts| (facts, found, folder)))
    }

    /// What is there after our own write.
    fn written(&self, key: &ObjectKey) -> StoreResult<SecretFacts> {
        match self.see_secret(key)? {
            Some((facts, _, _)) => Ok((*facts).clone()),
            None => Err(StoreError::Conflict(key.to_string())),
        }
    }

    fn read_secret(&self, key: &ObjectKey) -> StoreResult<Option<Content>> {
        let _held = self.locks.lock(Topic::Secret(key.clone()));
        let Some((facts, found, folder)) = self.see_secret(key)? else {
            return Ok(None);
        };
        let data = found.into_data(&folder.path().display().to_string())?;
        Ok(Some(Content {
            facts: (*facts).clone(),
            data,
        }))
    }

    fn read_input(&self, input: &InputRef) -> StoreResult<Option<BTreeMap<String, pki::Secret>>> {
        if let Some(data) = self.objects().read_input(input)? {
            return Ok(Some(data));
        }
        match input.kind {
            InputKind::Secret => Ok(self.read_secret(&input.object)?.map(|content| content.data)),
            InputKind::ConfigMap => Ok(None),
        }
    }

    fn create_secret(&self, write: &SecretWrite) -> StoreResult<SecretFacts> {
        self.manage(&write.key)?;
        let _held = self.locks.lock(Topic::Secret(write.key.clone()));
        secrets::create(&self.layout, write)?;
        self.written(&write.key)
    }

    fn update_secret(&self, write: &SecretWrite, expected: Version) -> StoreResult<SecretFacts> {
        self.manage(&write.key)?;
        let _held = self.locks.lock(Topic::Secret(write.key.clone()));
        let Some((facts, found, folder)) = self.see_secret(&write.key)? else {
            return Err(StoreError::NotFound(format!("Secret {}", write.key)));
        };
        if facts.version != expected {
            return Err(StoreError::Conflict(format!("Secret {}", write.key)));
        }
        let updated = secrets::update(&folder, found, write);
        // Also after a failure: some of it may have happened.
        let written = self.written(&write.key);
        updated.and(written)
    }

    fn release_secret(&self, release: &SecretRelease, expected: Version) -> StoreResult<SecretFacts> {
        self.manage(&release.key)?;
        let _held = self.locks.lock(Topic::Secret(release.key.clone()));
        let Some((facts, found, folder)) = self.see_secret(&release.key)? else {
            return Err(StoreError::NotFound(format!("Secret {}", release.key)));
        };
        if facts.version != expected {
            return Err(StoreError::Conflict(format!("Secret {}", release.key)));
        }
        let released = secrets::release(&folder, found, release);
        let written = self.written(&release.key);
        released.and(written)
    }

    fn delete_secret(&self, key: &ObjectKey, uid: &str, expected: Version) -> StoreResult<()> {
        self.manage(key)?;
        let _held = self.locks.lock(Topic::Secret(key.clone()));
        let Some((facts, _, _)) = self.see_secret(key)? else {
            return Ok(());
        };
        if facts.version != expected || facts.uid != uid {
            return Err(StoreError::Conflict(format!("Secret {key}")));
        }
        let deleted = secrets::delete(&self.layout, key);
        self.see_secret(key)?;
        deleted
    }

    /// Reads a record whose lock is held, and takes over what was found.
    fn see_record(&self, subject: &Subject) -> StoreResult<Option<RecordSeen>> {
        let bytes = records::read(&self.layout, subject)?;
        let hash = bytes.as_ref().map(|bytes| ContentHash::of(bytes.expose()));
        let version = self.state().see_record(subject, hash);
        Ok(version.zip(bytes).map(|(version, bytes)| RecordSeen {
            version,
            bytes: Arc::new(bytes),
        }))
    }

    fn read_record(&self, subject: &Subject) -> StoreResult<Option<RecordSeen>> {
        let _held = self.locks.lock(Topic::Record(subject.clone()));
        self.see_record(subject)
    }

    fn write_record(
        &self,
        subject: &Subject,
        bytes: &pki::Secret,
        expected: Option<Version>,
    ) -> StoreResult<Version> {
        let what = || format!("record of {subject}");
        self.manage(what())?;
        if bytes.len() > MAX_VALUE_BYTES {
            let text = format!("{} bytes; allowed: {MAX_VALUE_BYTES}", bytes.len());
            return Err(StoreError::Refused(what(), text));
        }
        let folder = records::folder_or_new(&self.layout, subject)?;
        let name = subject.record_name();
        let failed = |error: std::io::Error| store_error(folder.path_of(&name), &error);
        // The slow part, waiting for the disk, is done before the lock is taken.
        let staged = folder
            .stage(bytes.expose(), PRIVATE_FILE, Durability::Synced)
            .map_err(failed)?;
        let held = self.locks.lock(Topic::Record(subject.clone()));
        let known = self.see_record(subject);
        let committed = match known {
            Ok(known) if known.as_ref().map(|known| known.version) == expected => {
                folder.commit(&staged, &name).map_err(failed)
            }
            Ok(_) => Err(StoreError::Conflict(what())),
            Err(error) => Err(error),
        };
        if let Err(error) = committed {
            // Best effort: what stays behind is swept at the next start.
            let _ = folder.unlink(&staged);
            return Err(error);
        }
        let version = self
            .state()
            .see_record(subject, Some(ContentHash::of(bytes.expose())));
        drop(held);
        folder.sync().map_err(failed)?;
        version.ok_or_else(|| StoreError::Conflict(what()))
    }

    fn delete_record(&self, subject: &Subject, expected: Version) -> StoreResult<()> {
        self.manage(format!("record of {subject}"))?;
        let _held = self.locks.lock(Topic::Record(subject.clone()));
        let Some(known) = self.see_record(subject)? else {
            return Ok(());
        };
        if known.version != expected {
            return Err(StoreError::Conflict(format!("record of {subject}")));
        }
        let folder = records::folder_or_new(&self.layout, subject)?;
        let removed = records::remove(&folder, subject)
            .map_err(|error| store_error(folder.path_of(&subject.record_name()), &error));
        self.see_record(subject)?;
        removed
    }

    /// What is so with topics that a reader took from its queue.
    fn resolve(&self, topics: Vec<Topic>) -> VecDeque<Change> {
        topics
            .into_iter()
            .filter_map(|topic| self.resolve_one(&topic))
            .collect()
    }

    fn resolve_one(&self, topic: &Topic) -> Option<Change> {
        if let Some(change) = self.state().change(topic) {
            return Some(change);
        }
        let Topic::Record(subject) = topic else {
            return None;
        };
        match self.read_record(subject) {
            Ok(seen) => Some(Change::Record(subject.clone(), seen)),
            Err(error) => {
                tracing::warn!(%subject, %error, "record cannot be read");
                None
            }
        }
    }
}

/// A reader of the watch.
struct Reader {
    inner: Arc<Inner>,
    id: u64,
    ready: VecDeque<Change>,
}

impl Reader {
    async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            let taken = self.inner.state().take(self.id, BATCH);
            match taken {
                Taken::End => return None,
                Taken::Wait(bell) => bell.notified().await,
                Taken::Topics(topics) => self.ready = self.resolve(topics).await?,
            }
        }
    }

    async fn resolve(&self, topics: Vec<Topic>) -> Option<VecDeque<Change>> {
        // Only records need a file to be read.
        if !topics.iter().any(|topic| matches!(topic, Topic::Record(_))) {
            return Some(self.inner.resolve(topics));
        }
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || inner.resolve(topics))
            .await
            .ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.inner.state().close_feed(self.id);
    }
}

impl Store for DirStore {
    fn watch(&self) -> BoxStream<'static, Change> {
        let id = self.inner.state().open_feed();
        self.read_feed(id)
    }

    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        self.inner.state().attend(inputs, outputs);
    }

    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>> {
        let key = key.clone();
        self.run(move |inner| inner.read_secret(&key))
    }

    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>> {
        let input = input.clone();
        self.run(move |inner| inner.read_input(&input))
    }

    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let write = write.clone();
        self.run(move |inner| inner.create_secret(&write))
    }

    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let write = write.clone();
        self.run(move |inner| inner.update_secret(&write, expected))
    }

    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let release = release.clone();
        self.run(move |inner| inner.release_secret(&release, expected))
    }

    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (key, uid) = (key.clone(), uid.to_owned());
        self.run(move |inner| inner.delete_secret(&key, &uid, expected))
    }

    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>> {
        let subject = subject.clone();
        self.run(move |inner| inner.read_record(&subject))
    }

    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        let (subject, bytes) = (subject.clone(), bytes.clone());
        self.run(move |inner| inner.write_record(&subject, &bytes, expected))
    }

    fn delete_record<'a>(
        &'a self,
        subject: &'a Subject,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let subject = subject.clone();
        self.run(move |inner| inner.delete_record(&subject, expected))
    }

    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (object, status) = (object.clone(), status.clone());
        self.run(move |inner| {
            inner.manage(&object)?;
            inner.objects().write_status(&object, &status)
        })
    }

    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let object = object.clone();
        self.run(move |inner| {
            inner.manage(&object)?;
            inner.objects().set_finalizer(&object, present)
        })
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (id, annotations) = ((kind, object.clone()), annotations.clone());
        self.run(move |inner| inner.objects().annotate(&id, &annotations))
    }

    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()> {
        let event = event.clone();
        let written = self.run(move |inner| {
            inner.manage(&event.object)?;
            let _one = inner.events.lock().unwrap_or_else(PoisonError::into_inner);
            events::append(&inner.layout, &event)?;
            // Nobody listening is no error.
            let _ = inner.emitted.send(Arc::new(event));
            Ok(())
        });
        async move {
            if let Err(error) = written.await {
                tracing::warn!(%error, "event is lost");
            }
        }
        .boxed()
    }

    fn clock_offset(&self) -> Option<jiff::SignedDuration> {
        None
    }
}
