//! What persons see and do besides objects: Events, Secrets without their values, inputs on their way in.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use base64ct::{Base64, Encoding};
use serde_json::Value;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use crate::client::input::describe;
use crate::client::secret::SecretFrame;
use crate::client::{ClientResult, Expected};
use crate::model::object::{Kind, ObjectKey, ROLE_LABEL};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::edit::{Edit, Mode, Shown};
use crate::store::dir::events;
use crate::store::dir::fs::{
    Durability, Folder, PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, fresh_name, store_error,
};
use crate::store::dir::layout::{SECRETS, check_name, is_object_name};
use crate::store::dir::{DirStore, Inner, secrets};
use crate::store::{Event, StoreError, StoreResult};

/// A Secret, taken apart: what may be told, and values that are looked at and dropped.
pub(crate) type OpenSecret = (SecretFrame, BTreeMap<String, pki::Secret>);

impl DirStore {
    /// All objects of a kind, as persons see them.
    pub(crate) fn shown_all(&self, kind: Kind) -> Vec<Shown> {
        self.inner.objects().shown_all(kind)
    }

    /// One object, as persons see it.
    pub(crate) fn shown_one(&self, kind: Kind, key: &ObjectKey) -> Option<Shown> {
        self.inner.objects().shown_one(&(kind, key.clone()))
    }

    /// Does an edit, if the object is in version `expected`; a new object that exists is a conflict.
    pub(crate) fn edit(
        &self,
        kind: Kind,
        key: &ObjectKey,
        edit: &Edit<'_>,
        expected: Option<&str>,
        mode: Mode,
    ) -> StoreResult<Option<Shown>> {
        self.inner
            .objects()
            .edit(&(kind, key.clone()), edit, expected, mode)
    }

    /// All Events that are kept, oldest first.
    pub(crate) fn kept_events(&self) -> StoreResult<Vec<Event>> {
        events::read(&self.inner.layout)
    }

    /// Events that this process writes from now on.
    pub(crate) fn emitted(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.emitted.subscribe()
    }

    /// Names of the Secrets of a namespace that lie in folders; of all namespaces where none is given.
    pub(crate) fn secret_names(&self, namespace: Option<&str>) -> StoreResult<Vec<ObjectKey>> {
        self.inner.secret_names(namespace)
    }

    /// A Secret, wherever it lies.
    pub(crate) fn open_secret(&self, key: &ObjectKey) -> StoreResult<Option<OpenSecret>> {
        self.inner.open_secret(key)
    }

    /// Makes an input or changes these keys of it, if what is expected stands there. Tells its version.
    pub(crate) fn write_input(
        &self,
        input: &InputRef,
        values: &BTreeMap<String, pki::Secret>,
        expected: &Expected,
        mode: Mode,
    ) -> ClientResult<String> {
        self.inner.write_input(input, values, expected, mode)
    }

    /// Where the directory is.
    pub(crate) fn place(&self) -> String {
        self.inner.layout.path().display().to_string()
    }
}

impl Inner {
    fn secret_names(&self, namespace: Option<&str>) -> StoreResult<Vec<ObjectKey>> {
        let root = self.layout.root()?;
        let failed =
            |folder: &Folder, error: &std::io::Error| store_error(folder.path().display().to_string(), error);
        let Some(all) = root.find(SECRETS).map_err(|error| failed(&root, &error))? else {
            return Ok(Vec::new());
        };
        let namespaces = match namespace {
            Some(one) => vec![one.to_owned()],
            None => all.names().map_err(|error| failed(&all, &error))?,
        };
        let mut keys = Vec::new();
        for namespace in namespaces.iter().filter(|name| is_object_name(name)) {
            let Some(folder) = all.find(namespace).map_err(|error| failed(&all, &error))? else {
                continue;
            };
            let names = folder.names().map_err(|error| failed(&folder, &error))?;
            let named = names.iter().filter(|name| is_object_name(name));
            keys.extend(named.map(|name| ObjectKey::new(namespace, name)));
        }
        Ok(keys)
    }

    fn open_secret(&self, key: &ObjectKey) -> StoreResult<Option<OpenSecret>> {
        let input = InputRef {
            kind: InputKind::Secret,
            object: key.clone(),
        };
        let Some(folder) = secrets::open(&self.layout, key)? else {
            let values = self.objects().read_input(&input)?;
            return Ok(values.map(|values| {
                let frame = SecretFrame {
                    key: Some(key.clone()),
                    kind: "Opaque".to_owned(),
                    ..SecretFrame::default()
                };
                (frame, values)
            }));
        };
        let path = folder.path().display().to_string();
        let found = secrets::read(&folder).map_err(|error| store_error(path.clone(), &error))?;
        let facts = found.facts(crate::store::Version::default());
        let frame = SecretFrame {
            key: Some(key.clone()),
            version: facts.uid.to_string(),
            kind: found.meta.kind.clone(),
            immutable: facts.immutable,
            labels: found.meta.labels.clone(),
            annotations: found.meta.annotations.clone(),
            controller: facts.controller,
            writers: facts.last_writer.into_iter().collect(),
        };
        Ok(Some((frame, found.into_readable())))
    }

    /// Values of an input, wherever it lies.
    fn input_values(&self, input: &InputRef) -> StoreResult<Option<BTreeMap<String, pki::Secret>>> {
        match input.kind {
            InputKind::Secret => Ok(self.open_secret(&input.object)?.map(|(_, values)| values)),
            InputKind::ConfigMap => self.objects().read_input(input),
        }
    }

    fn write_input(
        &self,
        input: &InputRef,
        values: &BTreeMap<String, pki::Secret>,
        expected: &Expected,
        mode: Mode,
    ) -> ClientResult<String> {
        check_name(&input.object.name)?;
        check_name(&input.object.namespace)?;
        let folder = match input.kind {
            InputKind::Secret => secrets::open(&self.layout, &input.object)?,
            InputKind::ConfigMap => None,
        };
        if let Some(folder) = &folder {
            refuse_ours(folder)?;
        }
        let lock = match mode {
            Mode::Write => Some(self.layout.lock_requests()?),
            Mode::Try => None,
        };
        let mut stands = self.input_values(input)?;
        let found = stands.as_ref().map(version_of);
        expected.holds(&describe(input), found.as_deref())?;
        let known = self.objects().input_stands(input);
        match (known, folder, input.kind) {
            (true, _, _) => self.objects().rewrite_input(input, values, mode),
            (false, _, _) if mode == Mode::Try => Ok(()),
            (false, Some(folder), _) => write_values(&folder, values),
            (false, None, InputKind::Secret) => self.new_folder(&input.object, values),
            (false, None, InputKind::ConfigMap) => self.objects().new_input(input, values),
        }?;
        drop(lock);
        let stands = stands.get_or_insert_default();
        if mode == Mode::Write {
            stands.extend(values.clone());
        }
        Ok(version_of(stands))
    }

    fn new_folder(&self, key: &ObjectKey, values: &BTreeMap<String, pki::Secret>) -> StoreResult<()> {
        let namespace = self.layout.namespace_or_new(&key.namespace)?;
        let staged = fresh_name();
        let failed = |error: std::io::Error| {
            // What stays behind has a name of ours and is swept at the next start.
            let _ = namespace.remove_tree(&staged);
            store_error(namespace.path_of(&key.name), &error)
        };
        namespace.make_folder(&staged, PRIVATE_FOLDER).map_err(failed)?;
        write_values(&namespace.folder(&staged).map_err(failed)?, values)?;
        namespace
            .rename_to_free(&staged, &key.name)
            .and_then(|()| namespace.sync())
            .map_err(failed)
    }
}

fn write_values(folder: &Folder, values: &BTreeMap<String, pki::Secret>) -> StoreResult<()> {
    let failed = |error: std::io::Error| store_error(folder.path().display().to_string(), &error);
    for (name, value) in values {
        folder
            .replace(name, value.expose(), PRIVATE_FILE, Durability::Synced)
            .map_err(failed)?;
    }
    folder.sync().map_err(failed)
}

/// Names these values without telling anything of them: another process names the same ones otherwise.
fn version_of(values: &BTreeMap<String, pki::Secret>) -> String {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut hasher = KEYS.build_hasher();
    for (name, value) in values {
        name.hash(&mut hasher);
        value.expose().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn refuse_ours(folder: &Folder) -> StoreResult<()> {
    let path = folder.path().display().to_string();
    let found = secrets::read(folder).map_err(|error| store_error(path.clone(), &error))?;
    match found.meta.labels.get(ROLE_LABEL) {
        Some(role) => Err(StoreError::Forbidden(
            path,
            format!("it is written by occm itself ({role})"),
        )),
        None => Ok(()),
    }
}

/// The document of an input. `frame` is what else the old one said.
pub(super) fn input_document(
    input: &InputRef,
    frame: &serde_json::Map<String, Value>,
    values: &BTreeMap<String, pki::Secret>,
) -> Zeroizing<String> {
    let kind = match input.kind {
        InputKind::Secret => "Secret",
        InputKind::ConfigMap => "ConfigMap",
    };
    let mut text = Zeroizing::new(format!("apiVersion: v1\nkind: {kind}\n"));
    for (name, value) in frame {
        // JSON is YAML.
        text.push_str(&format!("{name}: {value}\n"));
    }
    let plain = |value: &pki::Secret| {
        input.kind == InputKind::ConfigMap && std::str::from_utf8(value.expose()).is_ok()
    };
    for (field, is_plain) in [("data", true), ("binaryData", false)] {
        let field = match input.kind {
            InputKind::Secret => "data",
            InputKind::ConfigMap => field,
        };
        let here: Vec<_> = values
            .iter()
            .filter(|(_, value)| plain(value) == is_plain)
            .collect();
        if here.is_empty() {
            continue;
        }
        text.push_str(&format!("{field}:\n"));
        for (name, value) in here {
            let shown = match std::str::from_utf8(value.expose()) {
                Ok(text) if is_plain => Zeroizing::new(Value::from(text).to_string()),
                _ => Zeroizing::new(Base64::encode_string(value.expose())),
            };
            text.push_str(&format!("  {name}: "));
            text.push_str(&shown);
            text.push('\n');
        }
    }
    text
}

/// Writes a new file of one input.
pub(super) fn new_input_file(root: &Folder, input: &InputRef, text: &str) -> StoreResult<String> {
    let failed = |error: std::io::Error| store_error(root.path().display().to_string(), &error);
    let name = &input.object.name;
    let stem = match root.entry(&format!("{name}.yaml")).map_err(failed)? {
        None if name.len() <= 200 => name.to_string(),
        _ => {
            let hash = crate::store::ContentHash::of(input.object.to_string().as_bytes()).to_hex();
            format!("configmap-{}", hash.get(..16).unwrap_or_default())
        }
    };
    let file = format!("{stem}.yaml");
    root.create(&file, text.as_bytes(), PUBLIC_FILE).map_err(failed)?;
    Ok(file)
}
