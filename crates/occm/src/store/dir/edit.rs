//! Objects as persons read and write them, for [`crate::client::dir`]: in the files that people write, which keep their layout.
//!
//! Every change is made under a lock that all our processes take: read the file, compare the version, write a new file, rename it
//! into place. A file that holds other documents too keeps them byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::object::{API_VERSION, DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::dir::any::{AnyObject, ObjectId, version_of};
use crate::store::dir::files::read_text;
use crate::store::dir::fs::{Durability, Folder, PUBLIC_FILE, store_error};
use crate::store::dir::objects::{Objects, Thing, complete};
use crate::store::dir::persons::{input_document, new_input_file};
use crate::store::dir::rewrite::{document, rewritten, whole};
use crate::store::dir::state::AnySeen;
use crate::store::dir::yaml::{self, Piece};
use crate::store::{Broken, StoreError, StoreResult};

/// Longest name of a new file without its extension, in bytes.
const MAX_STEM: usize = 200;

/// An object as it is now.
pub(crate) struct Shown {
    pub(crate) key: ObjectKey,
    pub(crate) version: String,
    pub(crate) value: Value,
    pub(crate) broken: Option<std::sync::Arc<Broken>>,
}

/// What a person wants to have done.
pub(crate) enum Edit<'a> {
    /// A new object.
    Create(&'a Value),
    /// Another wish, other labels and annotations.
    Replace(&'a Value),
    /// Other annotations beside the file; an empty value removes one.
    Annotate(&'a BTreeMap<String, String>),
    /// No such object any more.
    Delete,
}

/// Whether an edit happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Try,
}

/// A document in its file.
struct Stand {
    file: String,
    text: zeroize::Zeroizing<String>,
    piece: Piece,
}

impl Stand {
    fn document(&self) -> &str {
        self.text.get(self.piece.range.clone()).unwrap_or_default()
    }

    /// The file with another document at this place, or none.
    fn with(&self, document: Option<&str>) -> String {
        let (start, new) = match document {
            Some(new) => (self.piece.range.start, new),
            None => (self.piece.marker, ""),
        };
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.text.get(self.piece.range.end..).unwrap_or_default();
        // What follows the marker on its line belongs to the document.
        let lead = if document.is_some() && before.ends_with("---") && !new.starts_with('\n') {
            "\n"
        } else {
            ""
        };
        format!("{before}{lead}{new}{after}")
    }
}

impl Objects {
    /// All objects of a kind.
    pub(super) fn shown_all(&self, kind: Kind) -> Vec<Shown> {
        let ids: Vec<ObjectId> = {
            let state = self.state();
            state
                .objects
                .keys()
                .filter(|(of, _)| *of == kind)
                .cloned()
                .collect()
        };
        ids.iter().filter_map(|id| self.shown_one(id)).collect()
    }

    /// One object.
    pub(super) fn shown_one(&self, id: &ObjectId) -> Option<Shown> {
        let seen = self.state().objects.get(id).map(|(_, seen)| seen.clone())?;
        match seen {
            AnySeen::Object(object) => shown_object(id, &object),
            AnySeen::Broken(broken) => {
                let stand = self.stand(id).ok().flatten();
                let text = stand.as_ref().map_or("", Stand::document);
                let version = version_of(format!("{text}\0{}", broken.errors).as_bytes());
                let mut value = yaml::value(text)
                    .filter(Value::is_object)
                    .unwrap_or_else(|| json!({ "apiVersion": API_VERSION, "kind": id.0.as_str() }));
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("metadata".to_owned(), metadata_of(id, fields, &version));
                }
                Some(Shown {
                    key: id.1.clone(),
                    version,
                    value,
                    broken: Some(broken),
                })
            }
        }
    }

    /// Where the document of an object stands.
    fn stand(&self, id: &ObjectId) -> StoreResult<Option<Stand>> {
        self.stand_of(&Thing::Object(id.0, id.1.clone()))
    }

    fn stand_of(&self, thing: &Thing) -> StoreResult<Option<Stand>> {
        let Some((file, index)) = self.defined.get(thing).and_then(|places| places.first()) else {
            return Ok(None);
        };
        let line = self.files.get(file).and_then(|file| file.documents.get(*index));
        let Some(line) = line.map(|document| document.line) else {
            return Ok(None);
        };
        let text = read_text(&self.layout.root()?, file)
            .map_err(|problem| StoreError::Malformed(self.shown(file), problem))?
            .unwrap_or_default();
        let piece = yaml::piece_at(&text, line).ok_or_else(|| StoreError::Conflict(self.shown(file)))?;
        // Somebody is writing it at this moment.
        if self.changed_files()?.contains(file) {
            return Err(StoreError::Conflict(self.shown(file)));
        }
        Ok(Some(Stand {
            file: file.clone(),
            text,
            piece,
        }))
    }

    /// Does an edit, if the object is in version `expected`. The answer is the object after it; a new object that exists is a
    /// conflict.
    pub(super) fn edit(
        &mut self,
        id: &ObjectId,
        edit: &Edit<'_>,
        expected: Option<&str>,
        mode: Mode,
    ) -> StoreResult<Option<Shown>> {
        let lock = match mode {
            Mode::Write => Some(self.layout.lock_requests()?),
            Mode::Try => None,
        };
        let what = format!("{} {}", id.0, id.1);
        let now = self.shown_one(id);
        match (&now, edit, expected) {
            (Some(_), Edit::Create(_), _) => return Err(StoreError::Conflict(what)),
            (None, Edit::Replace(_) | Edit::Annotate(_) | Edit::Delete, _) => {
                return Err(StoreError::NotFound(what));
            }
            (Some(now), _, Some(expected)) if now.version != expected => {
                return Err(StoreError::Conflict(what));
            }
            _ => {}
        }
        let done = match edit {
            Edit::Create(object) => self.create(id, object, mode),
            Edit::Replace(object) => self.replace(id, object, mode),
            Edit::Annotate(annotations) => self.lay_over(id, annotations, mode),
            Edit::Delete => self.remove(id, mode).map(|()| None),
        };
        drop(lock);
        done
    }

    fn create(&mut self, id: &ObjectId, object: &Value, mode: Mode) -> StoreResult<Option<Shown>> {
        let text = document(&clean(id, object, true)).ok_or_else(|| unwritable(id))?;
        let told = self.told_as(id, &text)?;
        if mode == Mode::Try {
            return Ok(told);
        }
        let root = self.layout.root()?;
        let failed = |error: std::io::Error| store_error(root.path().display().to_string(), &error);
        let file = free_name(&root, id).map_err(failed)?;
        root.create(&file, text.as_bytes(), PUBLIC_FILE).map_err(failed)?;
        self.refresh_files(&BTreeSet::from([file]));
        Ok(self.shown_one(id))
    }

    fn replace(&mut self, id: &ObjectId, object: &Value, mode: Mode) -> StoreResult<Option<Shown>> {
        let Some(stand) = self.stand(id)? else {
            let file = self.remembered.get(id).map(|known| self.shown(&known.file));
            let why = "its document is gone or cannot be told from others in its file".to_owned();
            return Err(StoreError::Forbidden(
                file.unwrap_or_else(|| id.1.to_string()),
                why,
            ));
        };
        let old = stand.document();
        let overlay = self.request(id);
        let named = yaml::value(old).is_some_and(|value| value.pointer("/metadata/namespace").is_some());
        let mut wanted = clean(id, object, named);
        let kept = take_overlay(&mut wanted, &overlay);
        let text = self.text_for(id, old, &wanted)?;
        if mode == Mode::Try {
            return self.told_with(id, &text, kept);
        }
        if kept != overlay {
            self.write_request(id, kept)?;
        }
        if text != old {
            self.write_file(&stand.file, Some(stand.with(Some(&text)).as_bytes()))?;
        }
        self.settle(id);
        Ok(self.shown_one(id))
    }

    /// The document's new text: changed in place where that can be done, else written anew.
    fn text_for(&self, id: &ObjectId, old: &str, wanted: &Value) -> StoreResult<String> {
        let target = document(wanted)
            .and_then(|text| yaml::object_in(&text, id))
            .ok_or_else(|| unwritable(id))?;
        if yaml::object_in(old, id).as_ref() == Some(&target) {
            return Ok(old.to_owned());
        }
        let fits = |text: &String| yaml::object_in(text, id).as_ref() == Some(&target);
        let before = yaml::value(old).unwrap_or_default();
        let wanted = without_defaults(id, &before, wanted, &target);
        if let Some(text) = rewritten(old, &before, &like(&before, &wanted)).filter(fits) {
            return Ok(text);
        }
        whole(old, &wanted).filter(fits).ok_or_else(|| unwritable(id))
    }

    fn lay_over(
        &mut self,
        id: &ObjectId,
        annotations: &BTreeMap<String, String>,
        mode: Mode,
    ) -> StoreResult<Option<Shown>> {
        let mut all = self.request(id);
        all.extend(
            annotations
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        if mode == Mode::Write {
            self.write_request(id, all)?;
            self.settle(id);
            return Ok(self.shown_one(id));
        }
        let mut shown = self.shown_one(id);
        let map = shown
            .as_mut()
            .and_then(|shown| shown.value.get_mut("metadata"))
            .and_then(Value::as_object_mut)
            .map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
        if let Some(map) = map.and_then(Value::as_object_mut) {
            map.extend(
                all.iter()
                    .map(|(name, value)| (name.clone(), value.as_str().into())),
            );
            map.retain(|_, value| value != "");
        }
        Ok(shown)
    }

    /// Takes the documents of an object out of their files; a file that holds nothing else goes away.
    fn remove(&mut self, id: &ObjectId, mode: Mode) -> StoreResult<()> {
        // A name may be defined more than once; the next definition would come to life.
        while let Some(stand) = self.stand(id)? {
            refuse_link(&self.layout.root()?, &stand.file)?;
            if mode == Mode::Try {
                return Ok(());
            }
            let rest = stand.with(None);
            let empty = yaml::documents(&rest).is_empty();
            self.write_file(&stand.file, (!empty).then_some(rest.as_bytes()))?;
        }
        Ok(())
    }

    /// Replaces or removes a file of objects.
    fn write_file(&mut self, file: &str, bytes: Option<&[u8]>) -> StoreResult<()> {
        let root = self.layout.root()?;
        refuse_link(&root, file)?;
        let failed = |error: std::io::Error| store_error(root.path_of(file), &error);
        let mode = root.entry(file).map_err(failed)?.map(|stamp| stamp.permissions());
        let written = match bytes {
            Some(bytes) => root.replace(file, bytes, mode.unwrap_or(PUBLIC_FILE), Durability::Synced),
            None => root.unlink(file),
        };
        written.and_then(|()| root.sync()).map_err(failed)?;
        self.refresh_files(&BTreeSet::from([file.to_owned()]));
        Ok(())
    }

    /// What would be told of a document with the annotations that lie over it now.
    fn told_as(&self, id: &ObjectId, text: &str) -> StoreResult<Option<Shown>> {
        self.told_with(id, text, self.request(id))
    }

    fn told_with(
        &self,
        id: &ObjectId,
        text: &str,
        overlay: BTreeMap<String, String>,
    ) -> StoreResult<Option<Shown>> {
        let mut object = yaml::object_in(text, id).ok_or_else(|| unwritable(id))?;
        let status = match self.state().objects.get(id) {
            Some((_, AnySeen::Object(known))) => known.status(),
            _ => None,
        };
        complete(&mut object, self.remembered.get(id), overlay, status);
        Ok(shown_object(id, &object))
    }
}

fn shown_object(id: &ObjectId, object: &AnyObject) -> Option<Shown> {
    let mut value = object.as_json()?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), id.1.namespace.as_str().into());
    }
    Some(Shown {
        key: id.1.clone(),
        version: object.metadata().resource_version.clone().unwrap_or_default(),
        value,
        broken: None,
    })
}

fn metadata_of(id: &ObjectId, fields: &Map<String, Value>, version: &str) -> Value {
    let mut metadata = match fields.get("metadata") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    for (name, value) in [
        ("namespace", id.1.namespace.as_str()),
        ("name", id.1.name.as_str()),
        ("resourceVersion", version),
    ] {
        metadata.insert(name.to_owned(), value.into());
    }
    Value::Object(metadata)
}

/// An object as a file has it: nothing that a store adds.
fn clean(id: &ObjectId, object: &Value, with_namespace: bool) -> Value {
    let mut metadata = Map::new();
    if with_namespace || id.1.namespace != DEFAULT_NAMESPACE {
        metadata.insert("namespace".to_owned(), id.1.namespace.as_str().into());
    }
    metadata.insert("name".to_owned(), id.1.name.as_str().into());
    for field in ["labels", "annotations"] {
        let found = object
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_object);
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            metadata.insert(field.to_owned(), Value::Object(found.clone()));
        }
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": id.0.as_str(),
        "metadata": metadata,
        "spec": object.get("spec").cloned().unwrap_or_default(),
    })
}

/// Takes out of the annotations those that lie beside the file and stay there; returns them.
fn take_overlay(wanted: &mut Value, overlay: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) else {
        return BTreeMap::new();
    };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return BTreeMap::new();
    };
    let mut kept = BTreeMap::new();
    for (name, value) in overlay {
        if annotations.get(name).and_then(Value::as_str) == Some(value) {
            annotations.remove(name);
            kept.insert(name.clone(), value.clone());
        }
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    kept
}

/// The wanted object with what the document says besides: a status or other metadata of an exported object stay.
fn like(before: &Value, wanted: &Value) -> Value {
    let mut like = wanted.clone();
    let (Some(before), Some(fields)) = (before.as_object(), like.as_object_mut()) else {
        return like;
    };
    for (name, value) in before {
        if !fields.contains_key(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
    let old = before.get("metadata").and_then(Value::as_object);
    let new = fields.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(old), Some(new)) = (old, new) {
        for (name, value) in old {
            if !["labels", "annotations"].contains(&name.as_str()) && !new.contains_key(name) {
                new.insert(name.clone(), value.clone());
            }
        }
    }
    like
}

/// The wanted object without fields that nobody wrote and that say what is so anyway.
fn without_defaults(id: &ObjectId, before: &Value, wanted: &Value, target: &AnyObject) -> Value {
    let mut added = Vec::new();
    additions(
        "/spec".to_owned(),
        before.get("spec"),
        wanted.get("spec"),
        &mut added,
    );
    let mut lean = wanted.clone();
    for (parent, name) in added {
        let mut leaner = lean.clone();
        if let Some(fields) = leaner.pointer_mut(&parent).and_then(Value::as_object_mut) {
            fields.remove(&name);
        }
        let told = document(&leaner).and_then(|text| yaml::object_in(&text, id));
        if told.as_ref() == Some(target) {
            lean = leaner;
        }
    }
    lean
}

/// Fields that are new, each with the pointer to where it is.
fn additions(at: String, before: Option<&Value>, after: Option<&Value>, into: &mut Vec<(String, String)>) {
    let Some(Value::Object(after)) = after else { return };
    for (name, value) in after {
        let known = before.and_then(|before| before.get(name));
        if known.is_none() {
            into.push((at.clone(), name.clone()));
        }
        let escaped = name.replace('~', "~0").replace('/', "~1");
        additions(format!("{at}/{escaped}"), known, Some(value), into);
    }
}

fn unwritable(id: &ObjectId) -> StoreError {
    let what = format!("{} {}", id.0, id.1);
    StoreError::Refused(what, "it cannot be written as a document of a file".to_owned())
}

/// A file behind a symlink is somebody's arrangement; it is not replaced by a copy.
fn refuse_link(root: &Folder, file: &str) -> StoreResult<()> {
    match root.link(file) {
        Ok(None) => Ok(()),
        Ok(Some(target)) => Err(StoreError::Forbidden(
            root.path_of(file),
            format!("it is a symlink to {target}; change the file that it leads to"),
        )),
        Err(error) => Err(store_error(root.path_of(file), &error)),
    }
}

/// A name for the file of a new object that no file has.
fn free_name(root: &Folder, id: &ObjectId) -> std::io::Result<String> {
    let kind = id.0.as_str().to_lowercase();
    let name = &id.1.name;
    let stems = [
        name.to_string(),
        format!("{name}.{kind}"),
        format!("{}.{name}.{kind}", id.1.namespace),
        format!("{kind}-{}", version_of(id.1.to_string().as_bytes())),
    ];
    for stem in stems.iter().filter(|stem| stem.len() <= MAX_STEM) {
        let file = format!("{stem}.yaml");
        if root.entry(&file)?.is_none() {
            return Ok(file);
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

impl Objects {
    /// Whether an input stands in a file.
    pub(super) fn input_stands(&self, input: &InputRef) -> bool {
        self.defined.contains_key(&Thing::Input(input.clone()))
    }

    /// Changes keys of an input that stands in a file; the lock of the requests is held.
    pub(super) fn rewrite_input(
        &mut self,
        input: &InputRef,
        values: &BTreeMap<String, pki::Secret>,
        mode: Mode,
    ) -> StoreResult<()> {
        let gone = || StoreError::NotFound(format!("{:?} {}", input.kind, input.object));
        let stand = self.stand_of(&Thing::Input(input.clone()))?.ok_or_else(gone)?;
        refuse_link(&self.layout.root()?, &stand.file)?;
        let old = stand.document();
        let mut all = yaml::input(old, input)
            .transpose()
            .map_err(|errors| StoreError::Malformed(self.shown(&stand.file), errors.to_string()))?
            .ok_or_else(gone)?;
        all.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
        let frame = yaml::frame(old);
        if mode == Mode::Try {
            return Ok(());
        }
        let text = input_document(input, &frame, &all);
        let file = zeroize::Zeroizing::new(stand.with(Some(&text)));
        self.write_file(&stand.file, Some(file.as_bytes()))
    }

    /// Makes an input in a file of its own; the lock of the requests is held.
    pub(super) fn new_input(
        &mut self,
        input: &InputRef,
        values: &BTreeMap<String, pki::Secret>,
    ) -> StoreResult<()> {
        let metadata = json!({ "name": input.object.name, "namespace": input.object.namespace });
        let frame = Map::from_iter([("metadata".to_owned(), metadata)]);
        let text = input_document(input, &frame, values);
        let file = new_input_file(&self.layout.root()?, input, &text)?;
        self.refresh_files(&BTreeSet::from([file]));
        Ok(())
    }
}
