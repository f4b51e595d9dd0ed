//! Issuers and Certificates: what stands in the YAML files, and what occm remembers of it.
//!
//! ```text
//!   *.yaml ──parse──> documents ──first of its name──> object + remembered (uid, generation, finalizer)
//!                                                             + requests (annotations) + status ──> told
//! ```
//!
//! A document that cannot be read makes its object *broken*, never *gone*: gone is only what no file names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::field::{FieldError, FieldErrors};
use crate::model::object::{FINALIZER, Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::dir::any::{AnyObject, ObjectId};
use crate::store::dir::files::{file_stamp, read_text, yaml_files};
use crate::store::dir::fs::{Durability, PUBLIC_FILE, PUBLIC_FOLDER, Stamp, store_error};
use crate::store::dir::kept::{
    Kept, MAX_ANNOTATION_BYTES, Remembered, Request, first_seen, load_remembered, read_request, read_status,
    status_text,
};
use crate::store::dir::layout::{Layout, OBJECTS, REQUESTS, STATUS, object_file, replace_public};
use crate::store::dir::state::{AnySeen, State};
use crate::store::dir::yaml::{self, Body, Document, InputData};
use crate::store::{Broken, ContentHash, InputFacts, Presence, Status, StoreError, StoreResult};

/// Something that is wrong with a file and does not belong to an object that could be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.problem),
            line => write!(f, "{}:{line}: {}", self.file, self.problem),
        }
    }
}

/// A file as it was read.
pub(super) struct FileState {
    stamp: Option<Stamp>,
    pub(super) documents: Vec<Document>,
    /// Why it could not be read at all.
    problem: Option<String>,
}

impl FileState {
    /// Something in it that may have been any object.
    fn lost(&self) -> Option<(usize, &str)> {
        let lost = self.documents.iter().find_map(|document| match &document.body {
            Body::Lost(line, problem) => Some((*line, problem.as_str())),
            _ => None,
        });
        lost.or_else(|| self.problem.as_deref().map(|problem| (0, problem)))
    }
}

/// What a document defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Object(Kind, ObjectKey),
    Input(InputRef),
}

impl Thing {
    fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Object((kind, key), _) | Body::Told((kind, key)) => Some(Self::Object(*kind, key.clone())),
            Body::Input(input, _) => Some(Self::Input(input.clone())),
            Body::Lost(..) | Body::Foreign(_) => None,
        }
    }
}

/// File and place in it of a document.
type Place = (String, usize);

/// Whether what is remembered may be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// This process is the manager.
    Manager,
    /// This process only looks.
    Reader,
}

/// All objects of the directory.
pub(super) struct Objects {
    pub(super) layout: Arc<Layout>,
    state: Arc<Mutex<State>>,
    keeping: Keeping,
    pub(super) files: BTreeMap<String, FileState>,
    pub(super) defined: BTreeMap<Thing, BTreeSet<Place>>,
    pub(super) remembered: BTreeMap<ObjectId, Remembered>,
}

impl Objects {
    pub(super) fn new(layout: Arc<Layout>, state: Arc<Mutex<State>>, keeping: Keeping) -> Self {
        Self {
            layout,
            state,
            keeping,
            files: BTreeMap::new(),
            defined: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads everything for the first time.
    pub(super) fn load(&mut self) -> StoreResult<()> {
        self.remembered = load_remembered(&self.layout)?;
        for file in yaml_files(&self.layout.root()?)? {
            self.read_file(&file);
        }
        let mut ids: BTreeSet<ObjectId> = self.remembered.keys().cloned().collect();
        let mut inputs = BTreeSet::new();
        for thing in self.defined.keys() {
            match thing {
                Thing::Object(kind, key) => drop(ids.insert((*kind, key.clone()))),
                Thing::Input(input) => drop(inputs.insert(input.clone())),
            }
        }
        ids.iter().for_each(|id| self.settle(id));
        inputs.iter().for_each(|input| self.settle_input(input));
        Ok(())
    }

    /// Files that look different from when they were read.
    pub(super) fn changed_files(&self) -> StoreResult<BTreeSet<String>> {
        let root = self.layout.root()?;
        let mut names: BTreeSet<String> = yaml_files(&root)?.into_iter().collect();
        names.extend(self.files.keys().cloned());
        names.retain(|name| {
            let known = self.files.get(name).and_then(|file| file.stamp);
            file_stamp(&root, name) != known
        });
        Ok(names)
    }

    /// Reads files again and tells what changed by it. Together, so that an object that moved from one to the other
    /// never seems to be gone.
    pub(super) fn refresh_files(&mut self, names: &BTreeSet<String>) {
        let mut things = BTreeSet::new();
        for name in names {
            things.extend(self.things_of(name));
            self.read_file(name);
            things.extend(self.things_of(name));
        }
        // What was only remembered may have been in these files too.
        for ((kind, key), remembered) in &self.remembered {
            if names.contains(&remembered.file) {
                things.insert(Thing::Object(*kind, key.clone()));
            }
        }
        for thing in things {
            match thing {
                Thing::Object(kind, key) => self.settle(&(kind, key)),
                Thing::Input(input) => self.settle_input(&input),
            }
        }
    }

    fn things_of(&self, name: &str) -> BTreeSet<Thing> {
        let documents = self
            .files
            .get(name)
            .map(|file| file.documents.as_slice())
            .unwrap_or_default();
        documents
            .iter()
            .filter_map(|document| Thing::of(&document.body))
            .collect()
    }

    fn read_file(&mut self, name: &str) {
        for thing in self.things_of(name) {
            if let Some(places) = self.defined.get_mut(&thing) {
                places.retain(|(file, _)| file != name);
                if places.is_empty() {
                    self.defined.remove(&thing);
                }
            }
        }
        let Some(file) = self.parsed(name) else {
            self.files.remove(name);
            return;
        };
        for (index, document) in file.documents.iter().enumerate() {
            if let Some(thing) = Thing::of(&document.body) {
                self.defined
                    .entry(thing)
                    .or_default()
                    .insert((name.to_owned(), index));
            }
        }
        self.files.insert(name.to_owned(), file);
        for problem in self.problems_of(name) {
            tracing::warn!(file = problem.file, line = problem.line, "{}", problem.problem);
        }
    }

    /// A file as it is now; `None` if it is gone.
    fn parsed(&self, name: &str) -> Option<FileState> {
        let root = match self.layout.root() {
            Ok(root) => root,
            Err(error) => {
                return Some(FileState {
                    stamp: None,
                    documents: Vec::new(),
                    problem: Some(error.to_string()),
                });
            }
        };
        let stamp = file_stamp(&root, name);
        let (documents, problem) = match read_text(&root, name) {
            Ok(Some(text)) => (yaml::documents(&text), None),
            Ok(None) => return None,
            Err(problem) => (Vec::new(), Some(problem)),
        };
        Some(FileState {
            stamp,
            documents,
            problem,
        })
    }

    /// Settles every object that is known.
    pub(super) fn settle_all(&mut self) {
        let ids: Vec<ObjectId> = self.state().objects.keys().cloned().collect();
        ids.iter().for_each(|id| self.settle(id));
    }

    /// Settles every object of a namespace that is known.
    pub(super) fn settle_namespace(&mut self, namespace: &str) {
        let ids: Vec<ObjectId> = self
            .state()
            .objects
            .keys()
            .filter(|(_, key)| key.namespace == namespace)
            .cloned()
            .collect();
        ids.iter().for_each(|id| self.settle(id));
    }

    /// Settles an object, if there is one of that name.
    pub(super) fn settle_known(&mut self, id: &ObjectId) {
        let known = self.state().objects.contains_key(id);
        if known {
            self.settle(id);
        }
    }

    /// Finds out what an object is now and tells it, if that is new.
    pub(super) fn settle(&mut self, id: &ObjectId) {
        let place = self
            .defined
            .get(&Thing::Object(id.0, id.1.clone()))
            .and_then(|places| places.first());
        let Some((file, index)) = place.cloned() else {
            return self.settle_undefined(id);
        };
        let Some(document) = self
            .files
            .get_mut(&file)
            .and_then(|file| file.documents.get_mut(index))
        else {
            return;
        };
        let line = document.line;
        match &document.body {
            Body::Object(_, Ok(_)) => {
                let told = Body::Told(id.clone());
                if let Body::Object(_, Ok(object)) = std::mem::replace(&mut document.body, told) {
                    self.remember(id, &object, &file);
                    self.tell_object(id, object);
                }
            }
            Body::Told(_) => self.settle_again(id, &file, line),
            Body::Object(_, Err(errors)) => {
                let errors = errors.clone();
                self.tell_broken(id, format!("{}:{line}", self.shown(&file)), errors);
            }
            Body::Input(..) | Body::Lost(..) | Body::Foreign(_) => {}
        }
    }

    /// What stands beside an object changed, not its document. A document that did change is told when its file is quiet.
    fn settle_again(&mut self, id: &ObjectId, file: &str, line: usize) {
        let text = self
            .layout
            .root()
            .ok()
            .and_then(|root| read_text(&root, file).ok().flatten());
        if let Some(object) = text.and_then(|text| yaml::object_at(&text, line, id)) {
            self.remember(id, &object, file);
            self.tell_object(id, object);
        }
    }

    /// No file names it: it is broken if it may be what cannot be read in its file, else it is gone.
    fn settle_undefined(&mut self, id: &ObjectId) {
        let Some(remembered) = self.remembered.get(id) else {
            self.state().see_object(id, None);
            return;
        };
        if let Some((line, problem)) = self.files.get(&remembered.file).and_then(FileState::lost) {
            let problem = format!("may be in what cannot be read of its file: {problem} (line {line})");
            let errors = FieldErrors(vec![FieldError::new(
                "document",
                problem,
                "a document that can be read",
            )]);
            return self.tell_broken(id, self.shown(&remembered.file), errors);
        }
        let tombstone = remembered.finalizer.then(|| remembered.object.clone()).flatten();
        match tombstone.and_then(|object| AnyObject::from_json(id.0, object)) {
            Some(object) => {
                self.change_remembered(id, Durability::Synced, |remembered| {
                    remembered.deleted = remembered.deleted.or_else(|| Some(Timestamp::now()));
                });
                self.tell_object(id, object);
            }
            None => self.forget(id),
        }
    }

    fn settle_input(&mut self, input: &InputRef) {
        let place = self
            .defined
            .get(&Thing::Input(input.clone()))
            .and_then(|places| places.first());
        let document = place.and_then(|(file, index)| self.files.get(file)?.documents.get(*index));
        let facts = document.and_then(|document| match &document.body {
            Body::Input(_, Ok(facts)) => Some(*facts),
            // A broken input exists; whoever reads it is told what is wrong.
            Body::Input(_, Err(errors)) => Some(InputFacts {
                hash: ContentHash::of(errors.to_string().as_bytes()),
            }),
            _ => None,
        });
        self.state().see_yaml_input(input, facts);
    }

    /// Reads the values of an input that stands in a file; `None` if none does.
    pub(super) fn read_input(&self, input: &InputRef) -> StoreResult<Option<InputData>> {
        let place = self
            .defined
            .get(&Thing::Input(input.clone()))
            .and_then(|places| places.first());
        let Some((file, _)) = place else { return Ok(None) };
        let path = self.shown(file);
        let text = read_text(&self.layout.root()?, file)
            .map_err(|problem| StoreError::Malformed(path.clone(), problem))?
            .unwrap_or_default();
        yaml::input(&text, input)
            .transpose()
            .map_err(|errors| StoreError::Malformed(path, errors.to_string()))
    }

    pub(super) fn shown(&self, file: &str) -> String {
        self.layout.path().join(file).display().to_string()
    }

    fn tell_broken(&self, id: &ObjectId, origin: String, errors: FieldErrors) {
        let generation = self.remembered.get(id).map(|remembered| remembered.generation);
        let seen = AnySeen::Broken(Arc::new(Broken {
            origin,
            errors,
            generation,
        }));
        let mut state = self.state();
        if state.objects.get(id).is_some_and(|(_, known)| *known == seen) {
            return;
        }
        let version = state.next_version();
        state.see_object(id, Some((version, seen)));
    }

    fn tell_object(&self, id: &ObjectId, mut object: AnyObject) {
        let request = self.request(id);
        let status = self.known_status(id);
        complete(&mut object, self.remembered.get(id), request, status);
        let mut state = self.state();
        let known = state.objects.get(id);
        if matches!(known, Some((_, AnySeen::Object(known))) if *known == object) {
            return;
        }
        let version = state.next_version();
        state.see_object(id, Some((version, AnySeen::Object(object))));
    }

    /// The status as this process wrote it, else as it lies in its file.
    fn known_status(&self, id: &ObjectId) -> Option<Status> {
        let state = self.state();
        match state.objects.get(id) {
            Some((_, AnySeen::Object(object))) if self.keeping == Keeping::Manager => object.status(),
            _ => {
                drop(state);
                read_status(&self.layout, id)
            }
        }
    }

    pub(super) fn request(&self, id: &ObjectId) -> BTreeMap<String, String> {
        match read_request(&self.layout, id) {
            Ok(request) => request.annotations,
            Err(error) => {
                tracing::warn!(object = %id.1, %error, "request is ignored");
                BTreeMap::new()
            }
        }
    }

    /// Counts generations and keeps what is needed after the document is gone.
    fn remember(&mut self, id: &ObjectId, object: &AnyObject, file: &str) {
        let spec = object.spec_hash();
        let (remembered, durability) = match self.remembered.get(id) {
            Some(known) => {
                let mut changed = known.clone();
                changed.generation += i64::from(known.spec != spec);
                changed.spec = spec;
                file.clone_into(&mut changed.file);
                changed.deleted = None;
                changed.object = if known.finalizer { object.as_json() } else { None };
                if changed == *known {
                    return;
                }
                let durability = if known.finalizer {
                    Durability::Synced
                } else {
                    Durability::Lazy
                };
                (changed, durability)
            }
            None => (first_seen(spec, file), Durability::Lazy),
        };
        self.remembered.insert(id.clone(), remembered);
        self.keep(id, durability);
    }

    fn change_remembered(
        &mut self,
        id: &ObjectId,
        durability: Durability,
        change: impl FnOnce(&mut Remembered),
    ) {
        let Some(remembered) = self.remembered.get_mut(id) else {
            return;
        };
        let before = remembered.clone();
        change(remembered);
        if *remembered != before {
            self.keep(id, durability);
        }
    }

    /// Writes what is remembered. A failure is not the end: it is tried again with the next change.
    fn keep(&self, id: &ObjectId, durability: Durability) {
        if let Err(error) = self.try_keep(id, durability) {
            tracing::warn!(object = %id.1, %error, "state of the object is not saved");
        }
    }

    fn try_keep(&self, id: &ObjectId, durability: Durability) -> StoreResult<()> {
        let Some(remembered) = self
            .remembered
            .get(id)
            .filter(|_| self.keeping == Keeping::Manager)
        else {
            return Ok(());
        };
        let folder = self
            .layout
            .private_or_new(OBJECTS, &id.1.namespace, PUBLIC_FOLDER)?;
        let name = object_file(id.0, &id.1, "json")?;
        let failed = |error: std::io::Error| store_error(folder.path_of(&name), &error);
        let bytes = serde_json::to_vec_pretty(&Kept {
            name: &id.1.name,
            remembered,
        })
        .map_err(|error| failed(std::io::Error::other(error)))?;
        folder
            .replace(&name, &bytes, PUBLIC_FILE, durability)
            .map_err(failed)?;
        match durability {
            Durability::Synced => folder.sync().map_err(failed),
            Durability::Lazy => Ok(()),
        }
    }

    /// The object is gone for good: so is all that was kept of it.
    fn forget(&mut self, id: &ObjectId) {
        self.remembered.remove(id);
        if self.keeping == Keeping::Manager {
            for (area, extension) in [(OBJECTS, "json"), (REQUESTS, "json"), (STATUS, "yaml")] {
                if let Err(error) = self.remove_kept(id, area, extension) {
                    tracing::warn!(object = %id.1, %error, "state of the deleted object is not removed");
                }
            }
        }
        self.state().see_object(id, None);
    }

    fn remove_kept(&self, id: &ObjectId, area: &str, extension: &str) -> StoreResult<()> {
        let Some(folder) = self.layout.private(area, &id.1.namespace)? else {
            return Ok(());
        };
        let name = object_file(id.0, &id.1, extension)?;
        if folder
            .entry(&name)
            .map_err(|error| store_error(folder.path_of(&name), &error))?
            .is_none()
        {
            return Ok(());
        }
        folder
            .unlink(&name)
            .map_err(|error| store_error(folder.path_of(&name), &error))
    }

    /// Adds or removes our finalizer; a removed one lets a deleted object go.
    pub(super) fn set_finalizer(&mut self, key: &ObjectKey, presence: Presence) -> StoreResult<()> {
        let id = (Kind::Certificate, key.clone());
        let object = match self.state().objects.get(&id) {
            Some((_, AnySeen::Object(object))) => object.as_json(),
            _ => None,
        };
        let Some(remembered) = self.remembered.get_mut(&id) else {
            return Ok(());
        };
        let before = remembered.clone();
        remembered.finalizer = presence == Presence::Present;
        match (remembered.finalizer, object) {
            (true, Some(object)) => remembered.object = Some(object),
            (true, None) => {}
            (false, _) => remembered.object = None,
        }
        if *remembered != before
            && let Err(error) = self.try_keep(&id, Durability::Synced)
        {
            self.remembered.insert(id, before);
            return Err(error);
        }
        self.settle(&id);
        Ok(())
    }

    /// Sets annotations over those of the file.
    pub(super) fn annotate(
        &mut self,
        id: &ObjectId,
        annotations: &BTreeMap<String, String>,
    ) -> StoreResult<()> {
        if !self.state().objects.contains_key(id) {
            return Err(StoreError::NotFound(format!("{} {}", id.0, id.1)));
        }
        let lock = self.layout.lock_requests()?;
        let mut all = read_request(&self.layout, id)?.annotations;
        all.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        self.write_request(id, all)?;
        drop(lock);
        self.settle(id);
        Ok(())
    }

    /// Writes the annotations that lie over those of the file; the lock of the requests is held.
    pub(super) fn write_request(
        &self,
        id: &ObjectId,
        annotations: BTreeMap<String, String>,
    ) -> StoreResult<()> {
        let request = Request { annotations };
        let bytes = serde_json::to_vec_pretty(&request).unwrap_or_default();
        if bytes.len() > MAX_ANNOTATION_BYTES {
            let text = format!(
                "{} bytes of annotations; allowed: {MAX_ANNOTATION_BYTES}",
                bytes.len()
            );
            return Err(StoreError::Refused(id.1.to_string(), text));
        }
        let folder = self
            .layout
            .private_or_new(REQUESTS, &id.1.namespace, PUBLIC_FOLDER)?;
        replace_public(&folder, &object_file(id.0, &id.1, "json")?, &bytes)
    }

    /// Writes a status, if it differs from the last one.
    pub(super) fn write_status(&mut self, key: &ObjectKey, status: &Status) -> StoreResult<()> {
        let id = match status {
            Status::Issuer(_) => (Kind::Issuer, key.clone()),
            Status::Certificate(_) => (Kind::Certificate, key.clone()),
        };
        let seen = self.state().objects.get(&id).cloned();
        let Some((version, seen)) = seen else {
            return Ok(());
        };
        let known = match &seen {
            AnySeen::Object(object) => object.status(),
            AnySeen::Broken(_) => read_status(&self.layout, &id),
        };
        if known.as_ref() == Some(status) {
            return Ok(());
        }
        let folder = self
            .layout
            .private_or_new(STATUS, &key.namespace, PUBLIC_FOLDER)?;
        replace_public(
            &folder,
            &object_file(id.0, key, "yaml")?,
            status_text(status)?.as_bytes(),
        )?;
        if let AnySeen::Object(mut object) = seen {
            object.set_status(Some(status.clone()));
            self.state().see_status(id, (version, AnySeen::Object(object)));
        }
        Ok(())
    }

    /// Everything that is wrong with the files.
    pub(super) fn problems(&self) -> Vec<FileProblem> {
        self.files
            .keys()
            .flat_map(|name| self.problems_of(name))
            .collect()
    }

    /// File and line of a field of an object; see [`yaml::line_of`].
    pub(super) fn place_of(&self, id: &ObjectId, path: &str) -> Option<(String, usize)> {
        let places = self.defined.get(&Thing::Object(id.0, id.1.clone()))?;
        let (file, index) = places.first()?;
        let start = self.files.get(file)?.documents.get(*index)?.line;
        let text = read_text(&self.layout.root().ok()?, file).ok().flatten();
        let line = text.and_then(|text| yaml::line_of(&text, start, path));
        Some((self.shown(file), line.unwrap_or(start)))
    }

    fn problems_of(&self, name: &str) -> Vec<FileProblem> {
        let Some(file) = self.files.get(name) else {
            return Vec::new();
        };
        let problem = |line, problem| FileProblem {
            file: self.shown(name),
            line,
            problem,
        };
        let mut all: Vec<FileProblem> = file.problem.iter().map(|text| problem(0, text.clone())).collect();
        for (index, document) in file.documents.iter().enumerate() {
            let line = document.line;
            match &document.body {
                Body::Lost(line, text) => all.push(problem(*line, text.clone())),
                Body::Foreign(text) => all.push(problem(line, text.clone())),
                Body::Object((kind, key), Err(errors)) => {
                    all.push(problem(line, format!("{kind} {key}: {errors}")));
                }
                Body::Input(input, Err(errors)) => {
                    all.push(problem(
                        line,
                        format!("{:?} {}: {errors}", input.kind, input.object),
                    ));
                }
                Body::Object(_, Ok(_)) | Body::Told(_) | Body::Input(_, Ok(_)) => {}
            }
            if let Some(text) = self.duplicate(name, index, &document.body) {
                all.push(problem(line, text));
            }
        }
        all
    }

    /// A document that is not used because another one has its name.
    fn duplicate(&self, name: &str, index: usize, body: &Body) -> Option<String> {
        let thing = Thing::of(body)?;
        let (file, first) = self.defined.get(&thing)?.first()?;
        if (file.as_str(), *first) == (name, index) {
            return None;
        }
        let line = self.files.get(file)?.documents.get(*first)?.line;
        let what = match thing {
            Thing::Object(kind, key) => format!("{kind} {key}"),
            Thing::Input(input) => format!("{:?} {}", input.kind, input.object),
        };
        Some(format!(
            "{what} is already defined in {}:{line}, which is used",
            self.shown(file)
        ))
    }
}

/// Adds to what a person wrote what the store knows.
pub(super) fn complete(
    object: &mut AnyObject,
    remembered: Option<&Remembered>,
    request: BTreeMap<String, String>,
    status: Option<Status>,
) {
    object.set_status(status);
    let metadata = object.metadata_mut();
    metadata.annotations.extend(request);
    metadata.annotations.retain(|_, value| !value.is_empty());
    if let Some(remembered) = remembered {
        metadata.uid = Some(remembered.uid.clone());
        metadata.generation = Some(remembered.generation);
        metadata.creation_timestamp = Some(remembered.created);
        metadata.deletion_timestamp = remembered.deleted;
        metadata.finalizers = if remembered.finalizer {
            vec![FINALIZER.to_owned()]
        } else {
            Vec::new()
        };
    }
    object.set_version();
}
