//! What is kept beside an object: its identity and finalizer, requests of commands, its status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::object::{Kind, ObjectKey};
use crate::store::dir::any::ObjectId;
use crate::store::dir::files::MAX_FILE_BYTES;
use crate::store::dir::fs::{Folder, Links, Unread, fresh_name, store_error};
use crate::store::dir::layout::{Layout, OBJECTS, REQUESTS, STATUS, object_file};
use crate::store::dir::secrets::random_uid;
use crate::store::{ContentHash, Status, StoreError, StoreResult};

/// Most annotations of an object that commands may set, in bytes.
pub(super) const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// What occm keeps of an object, in `.occm/objects/NS/KIND.NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remembered {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) spec: ContentHash,
    pub(super) created: Timestamp,
    /// The file that it was last seen in.
    pub(super) file: String,
    /// Whether our finalizer is on it.
    #[serde(default)]
    pub(super) finalizer: bool,
    /// When its document was found to be gone; only with the finalizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<Timestamp>,
    /// The object as last seen; only with the finalizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<serde_json::Value>,
}

/// What commands and REST set, in `.occm/requests/NS/KIND.NAME.json`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    /// Annotations over those of the file; an empty value removes one.
    pub(super) annotations: BTreeMap<String, String>,
}

/// What [`Remembered`] is on the disk: with the name, which a long file name does not hold.
#[derive(Serialize)]
pub(super) struct Kept<'a> {
    pub(super) name: &'a str,
    #[serde(flatten)]
    pub(super) remembered: &'a Remembered,
}

#[derive(Deserialize)]
struct KeptOwned {
    name: String,
    #[serde(flatten)]
    remembered: Remembered,
}

pub(super) fn first_seen(spec: ContentHash, file: &str) -> Remembered {
    Remembered {
        // Without randomness the name of the moment serves: it only tells one object from the next.
        uid: random_uid().unwrap_or_else(|_| fresh_name()),
        generation: 1,
        spec,
        created: Timestamp::now(),
        file: file.to_owned(),
        finalizer: false,
        deleted: None,
        object: None,
    }
}

pub(super) fn load_remembered(layout: &Layout) -> StoreResult<BTreeMap<ObjectId, Remembered>> {
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

pub(super) fn read_request(layout: &Layout, id: &ObjectId) -> StoreResult<Request> {
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

pub(super) fn read_status(layout: &Layout, id: &ObjectId) -> Option<Status> {
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

pub(super) fn status_text(status: &Status) -> StoreResult<String> {
    let text = match status {
        Status::Issuer(status) => serde_saphyr::to_string(status),
        Status::Certificate(status) => serde_saphyr::to_string(status),
    };
    text.map_err(|error| StoreError::Malformed("status".to_owned(), error.to_string()))
}
