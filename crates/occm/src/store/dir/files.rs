//! Reading files of objects without a store: for commands that check what people wrote.

use std::path::{Path, PathBuf};

use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::store::dir::fs::{Folder, Steps, store_error};
use crate::store::dir::objects::{read_text, yaml_files};
use crate::store::dir::yaml::{self, AnyObject, Body};
use crate::store::{Broken, Seen, StoreResult};

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
            Body::Input(_, Ok(_)) => {}
            Body::Lost(line, problem) => self.problems.push(format!("line {line}: {problem}")),
            Body::Foreign(problem) => self.problems.push(format!("line {line}: {problem}")),
        }
    }
}
