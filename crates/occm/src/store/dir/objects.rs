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
use serde::{Deserialize, Serialize};

use crate::model::field::{FieldError, FieldErrors};
use crate::model::object::{FINALIZER, Kind, Metadata, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::dir::fs::{
    Durability, Folder, Links, PUBLIC_FILE, PUBLIC_FOLDER, Stamp, Unread, store_error,
};
use crate::store::dir::layout::{Layout, OBJECTS, REQUESTS, STATUS, object_file, replace_public};
use crate::store::dir::secrets::random_uid;
use crate::store::dir::state::{AnySeen, State};
use crate::store::dir::yaml::{self, AnyObject, Body, Document, InputData, ObjectId};
use crate::store::{Broken, ContentHash, Presence, Status, StoreError, StoreResult};

/// Largest YAML file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Most annotations of an object that commands may set, in bytes.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

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

/// What occm keeps of an object, in `.occm/objects/NS/KIND.NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    uid: String,
    generation: i64,
    spec: ContentHash,
    created: Timestamp,
    /// The file that it was last seen in.
    file: String,
    /// Whether our finalizer is on it.
    #[serde(default)]
    finalizer: bool,
    /// When its document was found to be gone; only with the finalizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<Timestamp>,
    /// The object as last seen; only with the finalizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<serde_json::Value>,
}

/// What commands and REST set, in `.occm/requests/NS/KIND.NAME.json`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Request {
    /// Annotations over those of the file; an empty value removes one.
    annotations: BTreeMap<String, String>,
}

/// A file as it was read.
struct FileState {
    stamp: Option<Stamp>,
    documents: Vec<Document>,
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
enum Thing {
    Object(Kind, ObjectKey),
    Input(InputRef),
}

impl Thing {
    fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Object((kind, key), _) => Some(Self::Object(*kind, key.clone())),
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
    layout: Arc<Layout>,
    state: Arc<Mutex<State>>,
    keeping: Keeping,
    files: BTreeMap<String, FileState>,
    defined: BTreeMap<Thing, BTreeSet<Place>>,
    remembered: BTreeMap<ObjectId, Remembered>,
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

    fn state(&self) -> MutexGuard<'_, State> {
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
        let Some(document) = self.files.get(&file).and_then(|file| file.documents.get(index)) else {
            return;
        };
        let line = document.line;
        match &document.body {
            Body::Object(_, Ok(object)) => {
                let object = object.clone();
                self.remember(id, &object, &file);
                self.tell_object(id, object);
            }
            Body::Object(_, Err(errors)) => {
                let errors = errors.clone();
                self.tell_broken(id, format!("{}:{line}", self.shown(&file)), errors);
            }
            Body::Input(..) | Body::Lost(..) | Body::Foreign(_) => {}
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
        match tombstone.and_then(|object| object_of(id.0, object)) {
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
            Body::Input(_, Err(errors)) => Some(crate::store::InputFacts {
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

    fn shown(&self, file: &str) -> String {
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
        let mut state = self.state();
        let known = state.objects.get(id);
        complete(&mut object, self.remembered.get(id), request, status);
        if let Some((version, AnySeen::Object(known))) = known {
            set_version(&mut object, version.0);
            if *known == object {
                return;
            }
        }
        let version = state.next_version();
        set_version(&mut object, version.0);
        state.see_object(id, Some((version, AnySeen::Object(object))));
    }

    /// The status as this process wrote it, else as it lies in its file.
    fn known_status(&self, id: &ObjectId) -> Option<Status> {
        let state = self.state();
        match state.objects.get(id) {
            Some((_, AnySeen::Object(object))) if self.keeping == Keeping::Manager => status_of(object),
            _ => {
                drop(state);
                read_status(&self.layout, id)
            }
        }
    }

    fn request(&self, id: &ObjectId) -> BTreeMap<String, String> {
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
        let spec = spec_hash(object);
        let (remembered, durability) = match self.remembered.get(id) {
            Some(known) => {
                let mut changed = known.clone();
                changed.generation += i64::from(known.spec != spec);
                changed.spec = spec;
                file.clone_into(&mut changed.file);
                changed.deleted = None;
                changed.object = if known.finalizer { as_json(object) } else { None };
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
            Some((_, AnySeen::Object(object))) => as_json(object),
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
        let mut request = read_request(&self.layout, id)?;
        request.annotations.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
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
        replace_public(&folder, &object_file(id.0, &id.1, "json")?, &bytes)?;
        drop(lock);
        self.settle(id);
        Ok(())
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
            AnySeen::Object(object) => status_of(object),
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
            set_status(&mut object, Some(status.clone()));
            self.state()
                .objects
                .insert(id, (version, AnySeen::Object(object)));
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
                Body::Object(_, Ok(_)) | Body::Input(_, Ok(_)) => {}
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

/// What [`Remembered`] is on the disk: with the name, which a long file name does not hold.
#[derive(Serialize)]
struct Kept<'a> {
    name: &'a str,
    #[serde(flatten)]
    remembered: &'a Remembered,
}

#[derive(Deserialize)]
struct KeptOwned {
    name: String,
    #[serde(flatten)]
    remembered: Remembered,
}

fn first_seen(spec: ContentHash, file: &str) -> Remembered {
    Remembered {
        // Without randomness the name of the moment serves: it only tells one object from the next.
        uid: random_uid().unwrap_or_else(|_| crate::store::dir::fs::fresh_name()),
        generation: 1,
        spec,
        created: Timestamp::now(),
        file: file.to_owned(),
        finalizer: false,
        deleted: None,
        object: None,
    }
}

fn load_remembered(layout: &Layout) -> StoreResult<BTreeMap<ObjectId, Remembered>> {
    let mut all = BTreeMap::new();
    let Some(area) = layout.area(OBJECTS)? else {
        return Ok(all);
    };
    let names = |folder: &Folder| {
        folder
            .names()
            .map_err(|e| store_error(folder.path().display().to_string(), &e))
    };
    for namespace in names(&area)? {
        let Ok(folder) = area.folder(&namespace) else {
            continue;
        };
        for name in names(&folder)? {
            let kind = [Kind::Issuer, Kind::Certificate].into_iter().find(|kind| {
                name.strip_prefix(kind.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            let Some(kind) = kind else { continue };
            // A file that was torn by a power cut is as good as none: the object is seen as new.
            let kept = folder.read(&name, 2 * MAX_FILE_BYTES, Links::Refuse).ok();
            let kept = kept.and_then(|bytes| serde_json::from_slice::<KeptOwned>(&bytes).ok());
            if let Some(kept) = kept {
                all.insert((kind, ObjectKey::new(&namespace, kept.name)), kept.remembered);
            }
        }
    }
    Ok(all)
}

/// Names of the files that people write objects into.
pub(super) fn yaml_files(root: &Folder) -> StoreResult<Vec<String>> {
    let names = root
        .names()
        .map_err(|error| store_error(root.path().display().to_string(), &error))?;
    Ok(names.into_iter().filter(|name| is_yaml_file(name)).collect())
}

/// Whether a name is that of a file that people write objects into. Hidden files are editors' own.
pub(super) fn is_yaml_file(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"))
}

/// Stamp of a file, also of one behind a symlink; of the symlink itself where it leads nowhere.
pub(super) fn file_stamp(root: &Folder, name: &str) -> Option<Stamp> {
    root.target(name)
        .ok()
        .flatten()
        .or_else(|| root.entry(name).ok().flatten())
}

/// Text of a file; `None` if it is gone.
pub(super) fn read_text(root: &Folder, name: &str) -> Result<Option<zeroize::Zeroizing<String>>, String> {
    let bytes = match root.read(name, MAX_FILE_BYTES, Links::Follow) {
        Ok(bytes) => bytes,
        Err(Unread::Absent) if root.entry(name).ok().flatten().is_some() => {
            return Err("it is a symlink that leads nowhere".to_owned());
        }
        Err(Unread::Absent) => return Ok(None),
        Err(Unread::NotAFile(kind)) => return Err(format!("it is {kind}; allowed: a regular file")),
        Err(Unread::TooLarge(size)) => {
            return Err(format!("it has {size} bytes; allowed: {MAX_FILE_BYTES}"));
        }
        Err(Unread::Io(error)) => return Err(error.to_string()),
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some(zeroize::Zeroizing::new(text.to_owned()))),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(format!("it is not UTF-8 (line {line}); allowed: YAML in UTF-8"))
        }
    }
}

fn read_request(layout: &Layout, id: &ObjectId) -> StoreResult<Request> {
    let Some(folder) = layout.private(REQUESTS, &id.1.namespace)? else {
        return Ok(Request::default());
    };
    let name = object_file(id.0, &id.1, "json")?;
    match folder.read(&name, MAX_ANNOTATION_BYTES, Links::Refuse) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Malformed(folder.path_of(&name), error.to_string())),
        Err(Unread::Absent) => Ok(Request::default()),
        Err(Unread::NotAFile(kind)) => Err(StoreError::Malformed(
            folder.path_of(&name),
            format!("it is {kind}"),
        )),
        Err(Unread::TooLarge(size)) => Err(StoreError::Malformed(
            folder.path_of(&name),
            format!("it has {size} bytes"),
        )),
        Err(Unread::Io(error)) => Err(store_error(folder.path_of(&name), &error)),
    }
}

fn read_status(layout: &Layout, id: &ObjectId) -> Option<Status> {
    let folder = layout.private(STATUS, &id.1.namespace).ok()??;
    let bytes = folder
        .read(
            &object_file(id.0, &id.1, "yaml").ok()?,
            MAX_FILE_BYTES,
            Links::Refuse,
        )
        .ok()?;
    // A status only mirrors; one that cannot be read is written anew.
    match id.0 {
        Kind::Issuer => serde_saphyr::from_slice(&bytes)
            .ok()
            .map(|status| Status::Issuer(Box::new(status))),
        Kind::Certificate => serde_saphyr::from_slice(&bytes)
            .ok()
            .map(|status| Status::Certificate(Box::new(status))),
    }
}

fn status_text(status: &Status) -> StoreResult<String> {
    let text = match status {
        Status::Issuer(status) => serde_saphyr::to_string(status),
        Status::Certificate(status) => serde_saphyr::to_string(status),
    };
    text.map_err(|error| StoreError::Malformed("status".to_owned(), error.to_string()))
}

fn object_of(kind: Kind, value: serde_json::Value) -> Option<AnyObject> {
    match kind {
        Kind::Issuer => serde_json::from_value(value)
            .ok()
            .map(|object| AnyObject::Issuer(Arc::new(object))),
        Kind::Certificate => serde_json::from_value(value)
            .ok()
            .map(|object| AnyObject::Certificate(Arc::new(object))),
    }
}

fn as_json(object: &AnyObject) -> Option<serde_json::Value> {
    match object {
        AnyObject::Issuer(object) => serde_json::to_value(&**object).ok(),
        AnyObject::Certificate(object) => serde_json::to_value(&**object).ok(),
    }
}

fn spec_hash(object: &AnyObject) -> ContentHash {
    let bytes = match object {
        AnyObject::Issuer(object) => serde_json::to_vec(&object.spec),
        AnyObject::Certificate(object) => serde_json::to_vec(&object.spec),
    };
    ContentHash::of(&bytes.unwrap_or_default())
}

fn metadata_mut(object: &mut AnyObject) -> &mut Metadata {
    match object {
        AnyObject::Issuer(object) => &mut Arc::make_mut(object).metadata,
        AnyObject::Certificate(object) => &mut Arc::make_mut(object).metadata,
    }
}

fn status_of(object: &AnyObject) -> Option<Status> {
    match object {
        AnyObject::Issuer(object) => object
            .status
            .clone()
            .map(|status| Status::Issuer(Box::new(status))),
        AnyObject::Certificate(object) => object
            .status
            .clone()
            .map(|status| Status::Certificate(Box::new(status))),
    }
}

fn set_status(object: &mut AnyObject, status: Option<Status>) {
    match (object, status) {
        (AnyObject::Issuer(object), Some(Status::Issuer(status))) => {
            Arc::make_mut(object).status = Some(*status)
        }
        (AnyObject::Certificate(object), Some(Status::Certificate(status))) => {
            Arc::make_mut(object).status = Some(*status);
        }
        (AnyObject::Issuer(object), _) => Arc::make_mut(object).status = None,
        (AnyObject::Certificate(object), _) => Arc::make_mut(object).status = None,
    }
}

fn set_version(object: &mut AnyObject, version: u64) {
    metadata_mut(object).resource_version = Some(version.to_string());
}

/// Adds to what a person wrote what the store knows.
fn complete(
    object: &mut AnyObject,
    remembered: Option<&Remembered>,
    request: BTreeMap<String, String>,
    status: Option<Status>,
) {
    set_status(object, status);
    let metadata = metadata_mut(object);
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
}
