//! Where things lie in the directory, which names are allowed there, and who holds it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::model::object::{Kind, ObjectKey};
use crate::store::dir::fs::{
    Durability, Folder, OURS, PRIVATE_FOLDER, PUBLIC_FILE, PUBLIC_FOLDER, Steps, store_error,
};
use crate::store::{StoreError, StoreResult};

/// Folder of the output Secrets.
pub(super) const SECRETS: &str = "secrets";
/// Folder of everything that occm keeps for itself.
pub(super) const PRIVATE: &str = ".occm";
/// Folder of the records.
pub(super) const RECORDS: &str = "records";
/// Folder of the statuses.
pub(super) const STATUS: &str = "status";
/// Folder of the annotations set by commands and REST.
pub(super) const REQUESTS: &str = "requests";
/// Folder of what is remembered of each object.
pub(super) const OBJECTS: &str = "objects";
/// The lock of the manager.
const LOCK: &str = "lock";
/// The lock of one who changes a request.
const REQUESTS_LOCK: &str = "requests.lock";

/// Longest file name.
const NAME_BYTES: usize = 255;

/// The directory, opened.
pub(super) struct Layout {
    path: PathBuf,
    steps: Steps,
}

impl Layout {
    /// A directory that exists.
    pub(super) fn open(path: &Path, steps: Steps) -> StoreResult<Self> {
        let path =
            std::path::absolute(path).map_err(|error| store_error(path.display().to_string(), &error))?;
        let layout = Self { path, steps };
        layout.root()?;
        Ok(layout)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> StoreResult<Folder> {
        Folder::open(&self.path, self.steps.clone())
            .map_err(|error| store_error(self.path.display().to_string(), &error))
    }

    /// Folder `.occm/AREA/NAMESPACE`, made if it is missing.
    pub(super) fn private_or_new(&self, area: &str, namespace: &str, mode: u32) -> StoreResult<Folder> {
        check_name(namespace)?;
        let mut folder = self.root()?;
        for (name, mode) in [(PRIVATE, PUBLIC_FOLDER), (area, mode), (namespace, mode)] {
            folder = enter(&folder, name, mode)?;
        }
        Ok(folder)
    }

    /// Folder `.occm/AREA/NAMESPACE`, `None` if it is missing.
    pub(super) fn private(&self, area: &str, namespace: &str) -> StoreResult<Option<Folder>> {
        check_name(namespace)?;
        let Some(area) = self.area(area)? else {
            return Ok(None);
        };
        find(&area, namespace)
    }

    /// Folder `.occm/AREA`, `None` if it is missing.
    pub(super) fn area(&self, area: &str) -> StoreResult<Option<Folder>> {
        let Some(private) = find(&self.root()?, PRIVATE)? else {
            return Ok(None);
        };
        find(&private, area)
    }

    /// Folder `.occm`, made if it is missing.
    pub(super) fn private_root(&self) -> StoreResult<Folder> {
        enter(&self.root()?, PRIVATE, PUBLIC_FOLDER)
    }

    /// Folder `secrets/NAMESPACE`, made if it is missing.
    pub(super) fn namespace_or_new(&self, namespace: &str) -> StoreResult<Folder> {
        check_name(namespace)?;
        let secrets = enter(&self.root()?, SECRETS, PRIVATE_FOLDER)?;
        enter(&secrets, namespace, PRIVATE_FOLDER)
    }

    /// Folder `secrets/NAMESPACE`, `None` if it is missing.
    pub(super) fn namespace(&self, namespace: &str) -> StoreResult<Option<Folder>> {
        check_name(namespace)?;
        let Some(secrets) = find(&self.root()?, SECRETS)? else {
            return Ok(None);
        };
        find(&secrets, namespace)
    }

    /// Makes the folders and sweeps what a killed process left behind.
    pub(super) fn prepare(&self) -> StoreResult<()> {
        let root = self.root()?;
        enter(&root, SECRETS, PRIVATE_FOLDER)?;
        let private = enter(&root, PRIVATE, PUBLIC_FOLDER)?;
        for (area, mode) in [
            (RECORDS, PRIVATE_FOLDER),
            (STATUS, PUBLIC_FOLDER),
            (REQUESTS, PUBLIC_FOLDER),
            (OBJECTS, PUBLIC_FOLDER),
        ] {
            sweep_namespaces(&enter(&private, area, mode)?);
        }
        sweep_namespaces(&enter(&root, SECRETS, PRIVATE_FOLDER)?);
        Ok(())
    }

    /// Takes the manager's lock; the error names the process that holds it.
    pub(super) fn lock(&self) -> StoreResult<File> {
        let folder = self.private_root()?;
        let path = folder.path_of(LOCK);
        let error = |error: &std::io::Error| store_error(path.clone(), error);
        let mut file = folder.lock_file(LOCK, PUBLIC_FILE).map_err(|e| error(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&file).take(64).read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() {
                    "unknown pid"
                } else {
                    holder.trim()
                };
                let text = format!("another occm ({holder}) manages this directory");
                return Err(StoreError::Forbidden(self.path.display().to_string(), text));
            }
            Err(TryLockError::Error(e)) => return Err(error(&e)),
        }
        file.set_len(0).map_err(|e| error(&e))?;
        file.rewind().map_err(|e| error(&e))?;
        writeln!(file, "pid {}", std::process::id()).map_err(|e| error(&e))?;
        Ok(file)
    }

    /// Waits for the lock of the requests, which is held for the moment of one change.
    pub(super) fn lock_requests(&self) -> StoreResult<File> {
        let folder = self.private_root()?;
        let path = folder.path_of(REQUESTS_LOCK);
        let file = folder
            .lock_file(REQUESTS_LOCK, PUBLIC_FILE)
            .map_err(|e| store_error(path.clone(), &e))?;
        file.lock().map_err(|e| store_error(path, &e))?;
        Ok(file)
    }
}

/// Removes what an earlier process of ours left unfinished in `FOLDER/*`; what cannot be removed stays.
fn sweep_namespaces(folder: &Folder) {
    for namespace in folder.names().unwrap_or_default() {
        if let Ok(namespace) = folder.folder(&namespace) {
            sweep(&namespace);
        }
    }
}

fn sweep(folder: &Folder) {
    for name in folder.names().unwrap_or_default() {
        if name.starts_with(OURS) {
            let swept = folder.unlink(&name).or_else(|_| folder.remove_tree(&name));
            if let Err(error) = swept {
                tracing::warn!(file = folder.path_of(&name), %error, "unfinished file cannot be removed");
            }
        }
    }
}

fn enter(folder: &Folder, name: &str, mode: u32) -> StoreResult<Folder> {
    folder
        .folder_or_new(name, mode)
        .map_err(|error| store_error(folder.path_of(name), &error))
}

fn find(folder: &Folder, name: &str) -> StoreResult<Option<Folder>> {
    folder
        .find(name)
        .map_err(|error| store_error(folder.path_of(name), &error))
}

/// Name of the file of an object in the areas of `.occm`.
pub(super) fn object_file(kind: Kind, key: &ObjectKey, extension: &str) -> StoreResult<String> {
    check_name(&key.name)?;
    // Names may have 253 characters; with kind and extension that is more than a file name holds.
    let whole = format!("{kind}.{}.{extension}", key.name);
    if whole.len() <= NAME_BYTES {
        return Ok(whole);
    }
    let hash = crate::store::ContentHash::of(key.name.as_bytes()).to_hex();
    Ok(format!("{kind}..{hash}.{extension}"))
}

/// Whether a text can be a namespace or name of an object: what Kubernetes allows, so never a path.
pub(super) fn is_object_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.bytes().all(plain)
        && text.split('.').all(|label| {
            label.bytes().next().is_some_and(alphanumeric) && label.bytes().last().is_some_and(alphanumeric)
        })
}

/// Whether a text can be a key in a Secret: what Kubernetes allows, so never a path.
pub(super) fn is_data_key(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 253 && !text.starts_with("..") && text != "." && text.bytes().all(plain)
}

/// What [`is_object_name`] allows, for messages.
pub(super) const NAME_ALLOWED: &str = "lower-case letters, digits, '-' and '.', at most 253 characters, starting and ending with a letter or digit";

/// Refuses what cannot be the name of an object.
pub(super) fn check_name(name: &str) -> StoreResult<()> {
    if is_object_name(name) {
        return Ok(());
    }
    let shown = crate::model::field::shown(name);
    Err(StoreError::Refused(
        shown,
        format!("not a name; allowed: {NAME_ALLOWED}"),
    ))
}

/// Writes a file of `.occm` that anybody may read and that need not survive a power cut.
pub(super) fn replace_public(folder: &Folder, name: &str, bytes: &[u8]) -> StoreResult<()> {
    folder
        .replace(name, bytes, PUBLIC_FILE, Durability::Lazy)
        .map_err(|error| store_error(folder.path_of(name), &error))
}
