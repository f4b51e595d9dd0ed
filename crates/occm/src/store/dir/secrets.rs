//! A Secret as files, in the way that a mounted Secret volume looks.
//!
//! ```text
//!   secrets/NS/NAME/..occm-1a2b/tls.key     the values, mode 0600, and `.occm.json`: uid, type, labels, who wrote what
//!   secrets/NS/NAME/..data -> ..occm-1a2b   swapped by one rename
//!   secrets/NS/NAME/tls.key -> ..data/tls.key
//! ```
//!
//! A reader that opens `..data/tls.key` and `..data/tls.crt` below one open folder `..data` never sees a mixed pair.
//! Files that people put beside them are values too: foreign keys, which every write leaves alone. A symlink that
//! leads anywhere else is never followed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::model::object::ObjectKey;
use crate::store::dir::fs::{
    Durability, Folder, Links, OURS, PRIVATE_FILE, PRIVATE_FOLDER, Stamp, Unread, fresh_name, store_error,
    type_name,
};
use crate::store::dir::layout::{Layout, check_name, is_data_key};
use crate::store::ownership::SecretMeta;
use crate::store::{
    ContentHash, InputFacts, MAX_VALUE_BYTES, SecretFacts, SecretRelease, SecretWrite, StoreError,
    StoreResult, Version, texts,
};

/// The symlink to the folder of the values.
const DATA: &str = "..data";
/// The hidden file beside the values.
const META: &str = ".occm.json";
/// Largest hidden file, in bytes.
const META_BYTES: usize = 1024 * 1024;
/// Most values in one Secret that are looked at.
const MAX_KEYS: usize = 1024;
/// Bits of a mode that a private file must not have.
const WIDER: u32 = 0o177;
/// Type of a Secret that names none.
const OPAQUE: &str = "Opaque";
const TLS: &str = "kubernetes.io/tls";

/// Where a Secret's folders lie and when they last changed, so that an unchanged one is not read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Print {
    entries: Vec<(String, Stamp)>,
}

impl Print {
    /// Newest change in it, in nanoseconds since 1970.
    pub(super) fn changed_ns(&self) -> i128 {
        self.entries
            .iter()
            .map(|(_, stamp)| stamp.changed_ns())
            .max()
            .unwrap_or(0)
    }

    /// A number that changes with it, to be kept instead of it.
    pub(super) fn digest(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.entries.hash(&mut hasher);
        hasher.finish()
    }
}

/// A value as it was found.
#[derive(Debug)]
pub(super) enum Value {
    /// Bytes; whether they lie behind a symlink into `..data`; the mode.
    Bytes {
        bytes: pki::Secret,
        place: Place,
        mode: u32,
    },
    /// Something that is not read: why.
    Odd(String),
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the folder behind `..data`.
    Linked,
    /// In the Secret's own folder, put there by somebody.
    Plain,
}

/// A Secret as it was found on the disk.
pub(super) struct Found {
    /// What the hidden file says, or what is made up for a folder without one.
    pub(super) meta: SecretMeta,
    /// Whether there was a hidden file.
    has_meta: bool,
    /// The values.
    pub(super) values: BTreeMap<String, Value>,
    /// What it can be recognised by.
    pub(super) print: Print,
    /// Somebody else who owns one of the files.
    writer: Option<u32>,
    /// The folder behind `..data`.
    pub(super) data_folder: Option<String>,
    /// Symlinks into `..data` that lead nowhere.
    dangling: BTreeSet<String>,
}

impl Found {
    /// The facts that drift is told by.
    pub(super) fn facts(&self, version: Version) -> SecretFacts {
        let data = self
            .values
            .iter()
            .map(|(key, value)| (key.into(), self.hash(key, value)))
            .collect();
        SecretFacts {
            version,
            uid: self.meta.uid.as_str().into(),
            kind: self.meta.kind.as_str().into(),
            immutable: false,
            data: Arc::new(data),
            labels: texts(&self.meta.labels),
            annotations: texts(&self.meta.annotations),
            controller: None,
            last_writer: self.writer.map(|uid| format!("uid {uid}")),
            terminating: false,
        }
    }

    /// A file of ours that others may read is not what we wrote, though its bytes are.
    fn hash(&self, key: &str, value: &Value) -> ContentHash {
        match value {
            Value::Bytes { bytes, mode, .. } => {
                let hash = ContentHash::of(bytes.expose());
                if mode & WIDER == 0 || !self.meta.owns_key(key) {
                    return hash;
                }
                ContentHash::of(format!("mode {mode:o} {}", hash.to_hex()).as_bytes())
            }
            Value::Odd(why) => ContentHash::of(format!("not read: {why}").as_bytes()),
        }
    }

    /// Hash over all keys and values.
    pub(super) fn input(&self) -> InputFacts {
        let hashes = self.values.iter().map(|(key, value)| match value {
            Value::Bytes { bytes, .. } => (key.as_str(), ContentHash::of(bytes.expose())),
            Value::Odd(why) => (
                key.as_str(),
                ContentHash::of(format!("not read: {why}").as_bytes()),
            ),
        });
        InputFacts::of(hashes)
    }

    /// The values, if all can be read.
    pub(super) fn into_data(self, path: &str) -> StoreResult<BTreeMap<String, pki::Secret>> {
        let read = |(key, value)| match value {
            Value::Bytes { bytes, .. } => Ok((key, bytes)),
            Value::Odd(why) => Err(StoreError::Malformed(format!("{path}/{key}"), why)),
        };
        self.values.into_iter().map(read).collect()
    }
}

impl Found {
    /// The values that can be read.
    pub(super) fn into_readable(self) -> BTreeMap<String, pki::Secret> {
        let read = |(key, value)| match value {
            Value::Bytes { bytes, .. } => Some((key, bytes)),
            Value::Odd(_) => None,
        };
        self.values.into_iter().filter_map(read).collect()
    }
}

/// Opens the folder of a Secret; `None` if there is none.
pub(super) fn open(layout: &Layout, key: &ObjectKey) -> StoreResult<Option<Folder>> {
    check_name(&key.name)?;
    let Some(namespace) = layout.namespace(&key.namespace)? else {
        return Ok(None);
    };
    match namespace.find(&key.name) {
        Ok(found) => Ok(found),
        Err(error) => Err(store_error(namespace.path_of(&key.name), &error)),
    }
}

/// What a Secret can be recognised by, without reading it.
pub(super) fn print(folder: &Folder) -> io::Result<Print> {
    let mut entries = vec![(String::new(), folder.stamp()?)];
    for name in folder.names()?.into_iter().take(MAX_KEYS) {
        if (name == DATA || is_data_key(&name))
            && let Some(stamp) = folder.entry(&name)?
        {
            entries.push((name, stamp));
        }
    }
    if let Some((name, data)) = data_folder(folder)? {
        for file in data.names()?.into_iter().take(MAX_KEYS) {
            if let Some(stamp) = data.entry(&file)? {
                entries.push((format!("{name}/{file}"), stamp));
            }
        }
    }
    Ok(Print { entries })
}

/// Name and handle of the folder behind `..data`.
pub(super) fn data_folder(folder: &Folder) -> io::Result<Option<(String, Folder)>> {
    let Some(target) = folder.link(DATA)? else {
        return Ok(None);
    };
    if target.contains('/') || !target.starts_with("..") || target == ".." {
        return Ok(None);
    }
    match folder.folder(&target) {
        Ok(data) => Ok(Some((target, data))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads a Secret.
pub(super) fn read(folder: &Folder) -> io::Result<Found> {
    let print = print(folder)?;
    let data = data_folder(folder)?;
    let (meta, has_meta) = match data.as_ref().and_then(|(_, data)| read_meta(data)) {
        Some(meta) => (meta, true),
        None => (
            SecretMeta {
                uid: derived_uid(folder)?,
                ..SecretMeta::default()
            },
            false,
        ),
    };
    let mut found = Found {
        meta,
        has_meta,
        values: BTreeMap::new(),
        print,
        writer: None,
        data_folder: data.as_ref().map(|(name, _)| name.clone()),
        dangling: BTreeSet::new(),
    };
    let us = rustix::process::geteuid().as_raw();
    let names: Vec<String> = folder
        .names()?
        .into_iter()
        .filter(|name| is_data_key(name))
        .collect();
    for name in names.into_iter().take(MAX_KEYS) {
        let Some(stamp) = folder.entry(&name)? else {
            continue;
        };
        let value = match stamp.file_type() {
            FileType::Symlink => read_link(folder, data.as_ref().map(|(_, data)| data), &name)?,
            _ => read_value(folder, &name, Place::Plain)?,
        };
        match value {
            Some((value, owner)) => {
                found.writer = found.writer.or(owner.filter(|owner| *owner != us));
                found.values.insert(name, value);
            }
            None => {
                found.dangling.insert(name);
            }
        }
    }
    if !found.has_meta {
        let has = |key| found.values.contains_key(key);
        found.meta.kind = if has("tls.key") && has("tls.crt") {
            TLS
        } else {
            OPAQUE
        }
        .to_owned();
    }
    Ok(found)
}

/// The hidden file; a missing or broken one is the same as none, since people may delete it.
fn read_meta(data: &Folder) -> Option<SecretMeta> {
    let bytes = data.read(META, META_BYTES, Links::Refuse).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Identity of a folder without a hidden file: another folder of the same name has another one.
fn derived_uid(folder: &Folder) -> io::Result<String> {
    let inode = folder.inode()?;
    Ok(folder.born_ns().map_or_else(
        || format!("inode-{inode}"),
        |born| format!("inode-{inode}-{born}"),
    ))
}

type Read = Option<(Value, Option<u32>)>;

fn read_link(folder: &Folder, data: Option<&Folder>, name: &str) -> io::Result<Read> {
    let target = folder.link(name)?.unwrap_or_default();
    if target != format!("{DATA}/{name}") {
        return Ok(Some((
            Value::Odd("it is a symlink that leads out of the Secret".to_owned()),
            None,
        )));
    }
    match data {
        Some(data) => read_value(data, name, Place::Linked),
        None => Ok(None),
    }
}

fn read_value(folder: &Folder, name: &str, place: Place) -> io::Result<Read> {
    let Some(stamp) = folder.entry(name)? else {
        return Ok(None);
    };
    let owner = Some(stamp.owner());
    let odd = |why: String| Ok(Some((Value::Odd(why), owner)));
    match folder.read(name, MAX_VALUE_BYTES, Links::Refuse) {
        Ok(bytes) => {
            let value = Value::Bytes {
                bytes: pki::Secret::from(bytes),
                place,
                mode: stamp.permissions(),
            };
            Ok(Some((value, owner)))
        }
        Err(Unread::Absent) => Ok(None),
        Err(Unread::NotAFile(kind)) => odd(format!("it is {kind}")),
        Err(Unread::TooLarge(size)) => odd(format!("it has {size} bytes; allowed: {MAX_VALUE_BYTES}")),
        Err(Unread::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            odd("permission denied".to_owned())
        }
        Err(Unread::Io(error)) => Err(error),
    }
}

/// Creates a Secret; it appears as a whole or not at all.
pub(super) fn create(layout: &Layout, write: &SecretWrite) -> StoreResult<()> {
    check(write)?;
    let namespace = layout.namespace_or_new(&write.key.namespace)?;
    let path = namespace.path_of(&write.key.name);
    let failed = |error: io::Error| store_error(path.clone(), &error);
    if namespace.entry(&write.key.name).map_err(failed)?.is_some() {
        return Err(StoreError::Conflict(path));
    }
    let staged = fresh_name();
    let built = build(&namespace, &staged, write)
        .and_then(|()| namespace.rename_to_free(&staged, &write.key.name))
        .and_then(|()| namespace.sync());
    built.map_err(|error| {
        let _ = namespace.remove_tree(&staged);
        failed(error)
    })
}

fn build(namespace: &Folder, staged: &str, write: &SecretWrite) -> io::Result<()> {
    namespace.make_folder(staged, PRIVATE_FOLDER)?;
    let folder = namespace.folder(staged)?;
    let meta = SecretMeta::created(write, random_uid()?);
    let values = write.data.iter().map(|(key, value)| (key.as_str(), value));
    let stamp = write_values(&folder, &meta, values)?;
    folder.symlink(&stamp, DATA)?;
    for key in write.data.keys() {
        folder.symlink(&format!("{DATA}/{key}"), key)?;
    }
    folder.sync()
}

/// Writes a folder of values and returns its name.
fn write_values<'a>(
    folder: &Folder,
    meta: &SecretMeta,
    values: impl Iterator<Item = (&'a str, &'a pki::Secret)>,
) -> io::Result<String> {
    let stamp = fresh_name();
    folder.make_folder(&stamp, PRIVATE_FOLDER)?;
    let data = folder.folder(&stamp)?;
    for (key, value) in values {
        data.write_new(key, value.expose(), PRIVATE_FILE, Durability::Synced)?;
    }
    let meta = serde_json::to_vec_pretty(meta).map_err(io::Error::other)?;
    data.write_new(META, &meta, PRIVATE_FILE, Durability::Synced)?;
    Ok(stamp)
}

/// Changes our keys, labels and annotations of a Secret that was just read as `found`.
pub(super) fn update(folder: &Folder, found: Found, write: &SecretWrite) -> StoreResult<()> {
    check(write)?;
    refuse_foreign_owner(folder)?;
    let path = folder.path().display().to_string();
    if found.has_meta && found.meta.kind != write.kind {
        let text = format!(
            "its type is {}, which cannot be changed to {}",
            found.meta.kind, write.kind
        );
        return Err(StoreError::Refused(path, text));
    }
    refuse_obstacles(folder, write)?;
    let mut meta = found.meta.clone();
    meta.kind.clone_from(&write.kind);
    let gone = meta.apply(write);
    swap(folder, found, &meta, &write.data, &gone).map_err(|error| swap_error(path, &error))
}

/// Takes out of a Secret that was just read as `found` what a writer gives up.
pub(super) fn release(folder: &Folder, found: Found, release: &SecretRelease) -> StoreResult<()> {
    refuse_foreign_owner(folder)?;
    let path = folder.path().display().to_string();
    let mut meta = found.meta.clone();
    let gone = meta.release(release);
    swap(folder, found, &meta, &BTreeMap::new(), &gone).map_err(|error| swap_error(path, &error))
}

fn swap_error(path: String, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Conflict(path),
        _ => store_error(path, error),
    }
}

/// Puts a new folder of values in the place of the one that was found: with `data` in it, without those that are `gone`.
fn swap(
    folder: &Folder,
    found: Found,
    meta: &SecretMeta,
    data: &BTreeMap<String, pki::Secret>,
    gone: &BTreeSet<String>,
) -> io::Result<()> {
    // Linked values of others move along into the new folder; plain files stay where they are.
    let kept = found.values.iter().filter_map(|(key, value)| match value {
        Value::Bytes {
            bytes,
            place: Place::Linked,
            ..
        } => Some((key, bytes)),
        _ => None,
    });
    let kept = kept.filter(|(key, _)| !data.contains_key(*key) && !gone.contains(*key));
    let linked: BTreeMap<&str, &pki::Secret> = kept
        .chain(data)
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let stamp = write_values(folder, meta, linked.iter().map(|(key, value)| (*key, *value)))
        .inspect_err(|_| sweep(folder, found.data_folder.as_deref()))?;
    let link = fresh_name();
    let swapped = folder
        .symlink(&stamp, &link)
        .and_then(|()| folder.rename(&link, DATA));
    if let Err(error) = swapped {
        sweep(folder, found.data_folder.as_deref());
        return Err(error);
    }
    for key in linked.keys() {
        link_key(folder, key)?;
    }
    for key in gone.iter().chain(&found.dangling) {
        if !linked.contains_key(key.as_str()) {
            folder.unlink(key)?;
        }
    }
    folder.sync()?;
    sweep(folder, Some(&stamp));
    Ok(())
}

/// Makes `KEY -> ..data/KEY`; what stood there before is replaced in the same moment.
fn link_key(folder: &Folder, key: &str) -> io::Result<()> {
    let target = format!("{DATA}/{key}");
    if folder.link(key)?.is_some_and(|is| is == target) {
        return Ok(());
    }
    let staged = fresh_name();
    folder.symlink(&target, &staged)?;
    folder.commit(&staged, key)
}

/// Removes folders and links of ours that are not in use.
pub(super) fn sweep(folder: &Folder, used: Option<&str>) {
    for name in folder.names().unwrap_or_default() {
        if name.starts_with(OURS) && Some(name.as_str()) != used {
            // What cannot be removed now is tried again with the next write.
            let _ = folder.unlink(&name).or_else(|_| folder.remove_tree(&name));
        }
    }
}

/// Deletes the folder of a Secret; it disappears as a whole.
pub(super) fn delete(layout: &Layout, key: &ObjectKey) -> StoreResult<()> {
    let Some(folder) = open(layout, key)? else {
        return Ok(());
    };
    refuse_foreign_owner(&folder)?;
    let Some(namespace) = layout.namespace(&key.namespace)? else {
        return Ok(());
    };
    let doomed = fresh_name();
    let deleted = namespace
        .rename(&key.name, &doomed)
        .and_then(|()| namespace.sync());
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(store_error(namespace.path_of(&key.name), &error));
        }
        _ => {}
    }
    // The rest is swept at the next start, if it cannot be removed now.
    let _ = namespace.remove_tree(&doomed);
    Ok(())
}

fn refuse_foreign_owner(folder: &Folder) -> StoreResult<()> {
    let path = || folder.path().display().to_string();
    let owner = folder
        .stamp()
        .map_err(|error| store_error(path(), &error))?
        .owner();
    let us = rustix::process::geteuid().as_raw();
    if owner == us {
        return Ok(());
    }
    Err(StoreError::Forbidden(
        path(),
        format!("the directory belongs to uid {owner}; occm runs as uid {us}"),
    ))
}

/// A folder that stands where a value shall go is somebody's; it is not removed.
fn refuse_obstacles(folder: &Folder, write: &SecretWrite) -> StoreResult<()> {
    for name in write.data.keys().map(String::as_str).chain([DATA]) {
        let stamp = folder
            .entry(name)
            .map_err(|error| store_error(folder.path_of(name), &error))?;
        if let Some(kind @ FileType::Directory) = stamp.map(|stamp| stamp.file_type()) {
            let text = format!("it is {}; a value shall be written there", type_name(kind));
            return Err(StoreError::Refused(folder.path_of(name), text));
        }
    }
    Ok(())
}

fn check(write: &SecretWrite) -> StoreResult<()> {
    check_name(&write.key.name)?;
    check_name(&write.key.namespace)?;
    write.check_size()?;
    match write.data.keys().find(|key| !is_data_key(key)) {
        Some(key) => {
            let text = format!("{} cannot be a key", crate::model::field::shown(key));
            Err(StoreError::Refused(write.key.to_string(), text))
        }
        None => Ok(()),
    }
}

/// A random identity.
pub(super) fn random_uid() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let hex = pki::digest::hex(&bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}
