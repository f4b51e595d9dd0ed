//! Reading files of objects without a store: for commands that check what people wrote.

use std::path::{Path, PathBuf};

use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::store::dir::any::AnyObject;
use crate::store::dir::fs::{Folder, Links, Stamp, Steps, Unread, store_error};
use crate::store::dir::yaml::{self, Body};
use crate::store::{Broken, Seen, StoreResult};

/// Largest YAML file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// A YAML file and what stands in it.
#[derive(Clone, Debug, Default)]
pub struct ObjectFile {
    /// The file.
    pub path: PathBuf,
    /// Issuers, in the order of the file.
    pub issuers: Vec<(ObjectKey, Seen<Issuer>)>,
    /// Certificates, in the order of the file.
    pub certificates: Vec<(ObjectKey, Seen<Certificate>)>,
    /// What is wrong with the file itself or with documents that are neither.
    pub problems: Vec<String>,
}

/// Reads a YAML file, or all YAML files of a directory.
pub fn read_objects(path: &Path) -> StoreResult<Vec<ObjectFile>> {
    if path.is_dir() {
        let folder = open(path)?;
        return Ok(yaml_files(&folder)?
            .iter()
            .map(|name| read(&folder, name))
            .collect());
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = read(&open(parent)?, name);
    path.clone_into(&mut file.path);
    Ok(vec![file])
}

fn open(path: &Path) -> StoreResult<Folder> {
    Folder::open(path, Steps::default()).map_err(|error| store_error(path.display().to_string(), &error))
}

fn read(folder: &Folder, name: &str) -> ObjectFile {
    let mut file = ObjectFile {
        path: folder.path().join(name),
        ..ObjectFile::default()
    };
    let text = match read_text(folder, name) {
        Ok(Some(text)) => text,
        Ok(None) => {
            file.problems.push("it does not exist".to_owned());
            return file;
        }
        Err(problem) => {
            file.problems.push(problem);
            return file;
        }
    };
    for document in yaml::documents(&text) {
        file.take(document.line, document.body);
    }
    file
}

impl ObjectFile {
    fn take(&mut self, line: usize, body: Body) {
        let origin = format!("{}:{line}", self.path.display());
        let broken = |errors| {
            std::sync::Arc::new(Broken {
                origin,
                errors,
                generation: None,
            })
        };
        match body {
            Body::Object((_, key), Ok(AnyObject::Issuer(object))) => {
                self.issuers.push((key, Seen::Object(object)))
            }
            Body::Object((_, key), Ok(AnyObject::Certificate(object))) => {
                self.certificates.push((key, Seen::Object(object)));
            }
            Body::Object((Kind::Issuer, key), Err(errors)) => {
                self.issuers.push((key, Seen::Broken(broken(errors))))
            }
            Body::Object((Kind::Certificate, key), Err(errors)) => {
                self.certificates.push((key, Seen::Broken(broken(errors))));
            }
            Body::Input(input, Err(errors)) => {
                self.problems.push(format!(
                    "line {line}: {:?} {}: {errors}",
                    input.kind, input.object
                ));
            }
            Body::Input(_, Ok(_)) | Body::Told(_) => {}
            Body::Lost(line, problem) => self.problems.push(format!("line {line}: {problem}")),
            Body::Foreign(problem) => self.problems.push(format!("line {line}: {problem}")),
        }
    }
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
