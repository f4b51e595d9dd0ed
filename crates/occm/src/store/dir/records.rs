//! Records as files: `.occm/records/NS/NAME`, one for each subject, replaced as a whole.

use std::io;

use crate::model::object::ObjectKey;
use crate::store::dir::fs::{Folder, Links, PRIVATE_FOLDER, Stamp, Unread, store_error};
use crate::store::dir::layout::{Layout, RECORDS, check_name, is_object_name};
use crate::store::{MAX_VALUE_BYTES, StoreError, StoreResult, Subject};

/// Folder of the records of a namespace, made if it is missing.
pub(super) fn folder_or_new(layout: &Layout, subject: &Subject) -> StoreResult<Folder> {
    check_name(&subject.key().name)?;
    layout.private_or_new(RECORDS, &subject.key().namespace, PRIVATE_FOLDER)
}

/// Reads the bytes of a record.
pub(super) fn read(layout: &Layout, subject: &Subject) -> StoreResult<Option<pki::Secret>> {
    check_name(&subject.key().name)?;
    match layout.private(RECORDS, &subject.key().namespace)? {
        Some(folder) => read_in(&folder, subject),
        None => Ok(None),
    }
}

/// Reads the bytes of a record in an open folder.
pub(super) fn read_in(folder: &Folder, subject: &Subject) -> StoreResult<Option<pki::Secret>> {
    let name = subject.record_name();
    let malformed = |text: String| Err(StoreError::Malformed(folder.path_of(&name), text));
    match folder.read(&name, MAX_VALUE_BYTES, Links::Refuse) {
        Ok(bytes) => Ok(Some(pki::Secret::from(bytes))),
        Err(Unread::Absent) => Ok(None),
        Err(Unread::NotAFile(kind)) => malformed(format!("it is {kind}")),
        Err(Unread::TooLarge(size)) => malformed(format!("it has {size} bytes; allowed: {MAX_VALUE_BYTES}")),
        Err(Unread::Io(error)) => Err(store_error(folder.path_of(&name), &error)),
    }
}

/// Stamp of the file of a record.
pub(super) fn stamp(layout: &Layout, subject: &Subject) -> StoreResult<Option<Stamp>> {
    let Some(folder) = layout.private(RECORDS, &subject.key().namespace)? else {
        return Ok(None);
    };
    let name = subject.record_name();
    folder
        .entry(&name)
        .map_err(|error| store_error(folder.path_of(&name), &error))
}

/// Removes the file of a record.
pub(super) fn remove(folder: &Folder, subject: &Subject) -> io::Result<()> {
    folder.unlink(&subject.record_name())?;
    folder.sync()
}

/// Whose record a file is, going by its name. A name that was too long is kept shortened, which this cannot tell.
pub(super) fn subject_of(namespace: &str, file: &str) -> Option<Subject> {
    let identity = file.strip_prefix("occm-identity-").map(|name| (name, true));
    let (name, is_identity) =
        identity.or_else(|| file.strip_prefix("occm-record-").map(|name| (name, false)))?;
    if !is_object_name(name) || !is_object_name(namespace) {
        return None;
    }
    let key = ObjectKey::new(namespace, name);
    let subject = if is_identity {
        Subject::Identity(key)
    } else {
        Subject::Certificate(key)
    };
    // A hashed name looks like a name too; the way back tells.
    (subject.record_name() == file).then_some(subject)
}
