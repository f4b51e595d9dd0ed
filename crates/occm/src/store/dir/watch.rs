//! The watch: one thread that notices what people change.
//!
//! ```text
//!   inotify ──hints──> Secret, record, request: read at once     YAML file: read when it has been quiet for 100 ms
//!   every 30 s ─────> compare time stamps of everything, read what differs
//! ```
//!
//! A hint is never believed, only looked into, so a lost or doubled one does no harm. A file that is being saved is
//! away or half written for a moment; hence the wait for quiet. Where the kernel cannot watch, everything is compared
//! every second instead.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::model::object::{Kind, ObjectKey};
use crate::store::dir::eyes::{Eyes, Hint, Place};
use crate::store::dir::files::{file_stamp, is_yaml_file};
use crate::store::dir::fs::{Folder, OURS, store_error};
use crate::store::dir::layout::{PRIVATE, RECORDS, REQUESTS, SECRETS, STATUS, is_object_name};

use crate::store::dir::records;
use crate::store::dir::secrets;
use crate::store::dir::state::Topic;
use crate::store::dir::{Access, Inner};
use crate::store::{StoreResult, Subject};

/// How long a YAML file must be quiet before it is read.
const QUIET: Duration = Duration::from_millis(100);
/// How long a file that never gets quiet may wait.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How long after a hint a Secret is looked at once more.
const SECOND_LOOK: Duration = Duration::from_millis(150);
/// How long a Secret waits that is just being written by us.
const BUSY: Duration = Duration::from_millis(2);
/// How long hints are gathered, so that one deletion of many files is one change.
const GATHER: Duration = Duration::from_millis(1);
/// How often everything is compared where the kernel watches.
const RESCAN: Duration = Duration::from_secs(30);
/// How often everything is compared where the kernel does not.
const POLL: Duration = Duration::from_secs(1);

/// Shortest file name that may be a shortened one of a record.
const SHORTENED_BYTES: usize = 150;

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The kernel tells, where it can.
    Kernel,
    /// By comparing everything every second.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "what the kernel's failure leads to, for a test")
    )]
    Clock,
}

/// The running watch; dropping it ends the thread.
pub(super) struct Watch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread, which begins with the first scan.
    pub(super) fn start(inner: Arc<Inner>, sight: Sight) -> StoreResult<Self> {
        let path = inner.layout.path().display().to_string();
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(|error| store_error(&path, &error.into()))?);
        let mut scanner = Scanner::new(inner, stop.clone(), sight);
        let thread = std::thread::Builder::new()
            .name("occm-watch".to_owned())
            .spawn(move || scanner.run());
        let thread = thread.map_err(|error| store_error(&path, &error))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something to look at later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Files,
    Secret(ObjectKey),
    Record(Subject),
    Rescan,
}

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Read it.
    Read,
    /// Read it if it looks different.
    Compare,
}

struct Scanner {
    inner: Arc<Inner>,
    stop: Arc<OwnedFd>,
    /// `None` where the kernel cannot watch.
    eyes: Option<Eyes>,
    due: BTreeMap<Task, Instant>,
    /// YAML files that changed: since when.
    unquiet: BTreeMap<String, Instant>,
    /// What failed, so that it is logged once.
    failing: BTreeSet<String>,
}

impl Scanner {
    fn new(inner: Arc<Inner>, stop: Arc<OwnedFd>, sight: Sight) -> Self {
        let eyes = match (sight, Eyes::open()) {
            (Sight::Clock, _) => None,
            (Sight::Kernel, Ok(eyes)) => Some(eyes),
            (Sight::Kernel, Err(error)) => {
                tracing::warn!(%error, "directory cannot be watched and is read every second instead");
                None
            }
        };
        Self {
            inner,
            stop,
            eyes,
            due: BTreeMap::new(),
            unquiet: BTreeMap::new(),
            failing: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
        self.watch_places();
        if self.manages() {
            let loaded = self.inner.objects().load();
            self.report("objects", loaded);
        } else {
            // A client has loaded them; what changed since then shows.
            self.look_at_files(Instant::now());
            self.inner.objects().settle_all();
        }
        self.scan(Look::Read);
        self.inner.state().sync();
        loop {
            let Some(hints) = self.wait() else { return };
            self.take_hints(hints);
            for task in self.overdue() {
                self.perform(task);
            }
        }
    }

    /// Waits for hints or for the next task; `None` = stop.
    fn wait(&mut self) -> Option<BTreeSet<Hint>> {
        let next = self.due.values().min().copied();
        let timeout = next.map_or(RESCAN, |next| next.saturating_duration_since(Instant::now()));
        let mut hints = self.poll(timeout)?;
        if !hints.is_empty() {
            hints.extend(self.poll_for(GATHER)?);
        }
        Some(hints)
    }

    /// Gathers hints for a time that does not begin anew with each.
    fn poll_for(&mut self, time: Duration) -> Option<BTreeSet<Hint>> {
        let end = Instant::now() + time;
        let mut hints = BTreeSet::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(hints);
            }
            hints.extend(self.poll(left)?);
        }
    }

    fn poll(&mut self, timeout: Duration) -> Option<BTreeSet<Hint>> {
        let timeout = Timespec::try_from(timeout).ok();
        let mut fds = vec![PollFd::new(&*self.stop, PollFlags::IN)];
        if let Some(eyes) = &self.eyes {
            fds.push(PollFd::from_borrowed_fd(eyes.handle(), PollFlags::IN));
        }
        // An interrupted wait is as good as one that was over.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        if fds.first().is_some_and(|stop| !stop.revents().is_empty()) {
            return None;
        }
        Some(self.eyes.as_mut().map(Eyes::hints).unwrap_or_default())
    }

    fn take_hints(&mut self, hints: BTreeSet<Hint>) {
        let now = Instant::now();
        for hint in hints {
            match hint {
                Hint::File(name) if is_yaml_file(&name) => self.unquiet_file(name, now),
                // A directory that is itself mounted in the way of Kubernetes changes by its own `..data`.
                Hint::File(name) if name.starts_with("..") => self.look_at_files(now),
                Hint::File(name) if name == SECRETS => self.later(Task::Rescan, now),
                Hint::File(_) => {}
                Hint::Namespace(namespace) => self.scan_namespace(&namespace, Look::Compare),
                Hint::Secret(key) => self.secret_hint(key, now),
                Hint::Record(namespace, file) => {
                    if let Some(subject) = self.subject(&namespace, &file) {
                        self.look_at_record(&subject);
                    }
                }
                Hint::Records(namespace) => self.scan_records_of(&namespace),
                Hint::Kept(namespace, file) => self.look_at_kept(&namespace, &file),
                Hint::Everything => self.later(Task::Rescan, now),
            }
        }
    }

    fn secret_hint(&mut self, key: ObjectKey, now: Instant) {
        self.look_at_secret(&key, Look::Read);
        // A change within the same tick of the clock would hide from a comparison of time stamps.
        self.due.entry(Task::Secret(key)).or_insert(now + SECOND_LOOK);
    }

    fn later(&mut self, task: Task, at: Instant) {
        let due = self.due.entry(task).or_insert(at);
        *due = at.min(*due);
    }

    fn overdue(&mut self) -> Vec<Task> {
        let now = Instant::now();
        let tasks: Vec<Task> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(task, _)| task.clone())
            .collect();
        for task in &tasks {
            self.due.remove(task);
        }
        tasks
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Files => self.read_quiet_files(),
            Task::Secret(key) => self.look_at_secret(&key, Look::Compare),
            Task::Record(subject) => self.look_at_record(&subject),
            Task::Rescan => {
                self.watch_places();
                self.look_at_files(Instant::now());
                self.scan(Look::Compare);
            }
        }
    }

    /// Compares or reads all Secrets and records, and plans the next time.
    fn scan(&mut self, look: Look) {
        if self.manages() {
            for namespace in self.namespaces() {
                self.scan_namespace(&namespace, look);
            }
            for namespace in self.record_namespaces() {
                self.scan_records_of(&namespace);
            }
        }
        let next = if self.eyes.as_ref().is_some_and(Eyes::sees_all) {
            RESCAN
        } else {
            POLL
        };
        self.later(Task::Rescan, Instant::now() + next);
    }

    fn manages(&self) -> bool {
        self.inner.access == Access::Manager
    }

    fn watch_places(&mut self) {
        let root = self.inner.layout.path().to_owned();
        let private = root.join(PRIVATE);
        self.watch_place(Place::Root, &root);
        // The manager writes the status and knows it; a client reads what the manager wrote.
        let kept = if self.manages() {
            self.watch_place(Place::Secrets, &root.join(SECRETS));
            self.watch_place(Place::Records, &private.join(RECORDS));
            [REQUESTS].as_slice()
        } else {
            &[REQUESTS, STATUS]
        };
        for area in kept {
            self.watch_place(Place::Kept(area), &private.join(area));
            for namespace in self.area_namespaces(area) {
                let path = private.join(area).join(&namespace);
                self.watch_place(Place::KeptOf(area, namespace), &path);
            }
        }
    }

    fn watch_place(&mut self, place: Place, path: &std::path::Path) {
        if let Some(eyes) = &mut self.eyes {
            eyes.watch(place, path);
        }
    }

    /// Logs a failure when it begins.
    fn report<T>(&mut self, what: &str, result: StoreResult<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.failing.remove(what);
                Some(value)
            }
            Err(error) => {
                if self.failing.insert(what.to_owned()) {
                    tracing::warn!(%error, "{what} cannot be read");
                }
                None
            }
        }
    }
}

// YAML files and requests.
impl Scanner {
    fn unquiet_file(&mut self, name: String, now: Instant) {
        self.unquiet.entry(name).or_insert(now);
        self.due.insert(Task::Files, now + QUIET);
    }

    /// Finds files that look different from when they were read.
    fn look_at_files(&mut self, now: Instant) {
        let changed = self.inner.objects().changed_files();
        for name in self.report("directory", changed).unwrap_or_default() {
            self.unquiet_file(name, now);
        }
    }

    fn read_quiet_files(&mut self) {
        let Ok(root) = self.inner.layout.root() else {
            return;
        };
        let now = Instant::now();
        let now_ns = crate::store::dir::fs::now_ns();
        let quiet_ns = i128::try_from(QUIET.as_nanos()).unwrap_or_default();
        let mut ready = BTreeSet::new();
        for (name, since) in &self.unquiet {
            let age = file_stamp(&root, name).map(|stamp| now_ns - stamp.changed_ns());
            // A time stamp of the future tells nothing.
            let quiet = age.is_none_or(|age| age >= quiet_ns || age < 0);
            if quiet || now.duration_since(*since) >= IMPATIENT {
                ready.insert(name.clone());
            }
        }
        self.unquiet.retain(|name, _| !ready.contains(name));
        if !self.unquiet.is_empty() {
            self.due.insert(Task::Files, now + QUIET);
        }
        self.inner.objects().refresh_files(&ready);
    }

    /// What is kept beside an object changed: without a namespace, a folder of a namespace appeared.
    fn look_at_kept(&mut self, namespace: &str, file: &str) {
        if namespace.is_empty() {
            self.watch_places();
            return self.inner.objects().settle_namespace(file);
        }
        let kind = [Kind::Issuer, Kind::Certificate]
            .into_iter()
            .find_map(|kind| Some((kind, file.strip_prefix(kind.as_str())?.strip_prefix('.')?)));
        let name = kind.and_then(|(kind, rest)| Some((kind, rest.rsplit_once('.')?.0)));
        match name {
            Some((kind, name)) if is_object_name(name) => {
                self.inner
                    .objects()
                    .settle_known(&(kind, ObjectKey::new(namespace, name)));
            }
            _ => self.inner.objects().settle_namespace(namespace),
        }
    }
}

// Secrets.
impl Scanner {
    fn namespaces(&mut self) -> BTreeSet<String> {
        let mut all = self.inner.layout.root().and_then(|root| folders(&root, SECRETS));
        if let Ok(all) = &mut all {
            all.extend(
                self.inner
                    .state()
                    .secrets
                    .keys()
                    .map(|key| key.namespace.to_string()),
            );
        }
        self.report("secrets", all).unwrap_or_default()
    }

    fn scan_namespace(&mut self, namespace: &str, look: Look) {
        let path = self.inner.layout.path().join(SECRETS).join(namespace);
        self.watch_place(Place::Namespace(namespace.to_owned()), &path);
        let listed = self
            .inner
            .layout
            .namespace(namespace)
            .and_then(|folder| folder.as_ref().map_or(Ok(vec![]), names));
        let Some(listed) = self.report(&format!("secrets/{namespace}"), listed) else {
            return;
        };
        let mut keys: BTreeSet<ObjectKey> = listed
            .into_iter()
            .filter(|name| is_object_name(name))
            .map(|name| ObjectKey::new(namespace, name))
            .collect();
        keys.extend(
            self.inner
                .state()
                .secrets
                .keys()
                .filter(|key| key.namespace == namespace)
                .cloned(),
        );
        for key in keys {
            self.look_at_secret(&key, look);
        }
    }

    fn look_at_secret(&mut self, key: &ObjectKey, look: Look) {
        let inner = self.inner.clone();
        let Some(_held) = inner.locks.try_lock(Topic::Secret(key.clone())) else {
            // It is just being written; the writer takes over what it wrote.
            return self.later(Task::Secret(key.clone()), Instant::now() + BUSY);
        };
        let looked = self.look_while_held(key, look);
        self.report(&format!("secrets/{key}"), looked);
    }

    fn look_while_held(&mut self, key: &ObjectKey, look: Look) -> StoreResult<()> {
        let Some(folder) = secrets::open(&self.inner.layout, key)? else {
            self.inner.state().see_secret(key, None);
            return Ok(());
        };
        let failed = |error: std::io::Error| store_error(folder.path().display().to_string(), &error);
        // First the watch, then the look: what changes in between is seen by one of them.
        self.watch_place(Place::Secret(key.clone()), folder.path());
        if let Some((_, data)) = secrets::data_folder(&folder).map_err(failed)? {
            self.watch_place(Place::Data(key.clone()), data.path());
        }
        if look == Look::Compare {
            let print = secrets::print(&folder).map_err(failed)?;
            if self.inner.state().is_as_read(key, &print) {
                return Ok(());
            }
        }
        let found = secrets::read(&folder).map_err(failed)?;
        self.inner.state().see_secret(key, Some(&found));
        Ok(())
    }
}

// Records.
impl Scanner {
    fn record_namespaces(&mut self) -> BTreeSet<String> {
        let mut all = self.area_namespaces(RECORDS);
        all.extend(
            self.inner
                .state()
                .records
                .keys()
                .map(|subject| subject.key().namespace.to_string()),
        );
        all
    }

    fn area_namespaces(&mut self, area: &str) -> BTreeSet<String> {
        let listed = self
            .inner
            .layout
            .area(area)
            .and_then(|area| area.as_ref().map_or(Ok(vec![]), names));
        let listed = self.report(area, listed).unwrap_or_default();
        listed.into_iter().filter(|name| is_object_name(name)).collect()
    }

    fn scan_records_of(&mut self, namespace: &str) {
        let layout = self.inner.layout.clone();
        let path = layout.path().join(PRIVATE).join(RECORDS).join(namespace);
        self.watch_place(Place::RecordsOf(namespace.to_owned()), &path);
        let listed = layout
            .private(RECORDS, namespace)
            .and_then(|folder| folder.as_ref().map_or(Ok(vec![]), names));
        let Some(listed) = self.report(&format!("records of {namespace}"), listed) else {
            return;
        };
        let mut subjects: BTreeSet<Subject> = listed
            .iter()
            .filter_map(|file| self.subject(namespace, file))
            .collect();
        let known = self.inner.state();
        subjects.extend(
            known
                .records
                .keys()
                .filter(|subject| subject.key().namespace == namespace)
                .cloned(),
        );
        drop(known);
        for subject in subjects {
            self.look_at_record(&subject);
        }
    }

    /// Whose record a file is. A name that was too long to be kept whole is that of an object that is known.
    fn subject(&self, namespace: &str, file: &str) -> Option<Subject> {
        if file.starts_with(OURS) {
            return None;
        }
        let shortened = || {
            self.known_subjects(namespace)
                .into_iter()
                .find(|subject| subject.record_name() == file)
        };
        // A shortened name looks like a name too, so the known ones come first.
        let found = (file.len() >= SHORTENED_BYTES).then(shortened).flatten();
        found.or_else(|| records::subject_of(namespace, file))
    }

    fn known_subjects(&self, namespace: &str) -> Vec<Subject> {
        let state = self.inner.state();
        let known = state.objects.keys().filter(|(_, key)| key.namespace == namespace);
        let subject = |(kind, key): &(Kind, ObjectKey)| match kind {
            Kind::Issuer => Subject::Identity(key.clone()),
            Kind::Certificate => Subject::Certificate(key.clone()),
        };
        known.map(subject).collect()
    }

    fn look_at_record(&mut self, subject: &Subject) {
        let inner = self.inner.clone();
        let Some(_held) = inner.locks.try_lock(Topic::Record(subject.clone())) else {
            return self.later(Task::Record(subject.clone()), Instant::now() + BUSY);
        };
        let looked = look_at_held_record(&inner, subject);
        self.report(&format!("record of {subject}"), looked);
    }
}

fn look_at_held_record(inner: &Inner, subject: &Subject) -> StoreResult<()> {
    let stamp = records::stamp(&inner.layout, subject)?;
    if inner.state().is_record_as_read(subject, stamp.as_ref()) {
        return Ok(());
    }
    inner.see_record(subject)?;
    inner.state().looked_at_record(subject, stamp);
    Ok(())
}

fn names(folder: &Folder) -> StoreResult<Vec<String>> {
    folder
        .names()
        .map_err(|error| store_error(folder.path().display().to_string(), &error))
}

fn folders(root: &Folder, name: &str) -> StoreResult<BTreeSet<String>> {
    let folder = root
        .find(name)
        .map_err(|error| store_error(root.path_of(name), &error))?;
    let all = folder.as_ref().map_or(Ok(vec![]), names)?;
    Ok(all.into_iter().filter(|name| is_object_name(name)).collect())
}
