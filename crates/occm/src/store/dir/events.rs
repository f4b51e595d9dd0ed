//! Events as lines of JSON, for people; the file is bounded and the one before it is kept.

use crate::store::dir::fs::{Links, PUBLIC_FILE, Unread, store_error};
use crate::store::dir::layout::{Layout, PRIVATE};
use crate::store::{Event, StoreError, StoreResult};

const FILE: &str = "events.jsonl";
const BEFORE: &str = "events.jsonl.1";
/// Size at which a new file is begun, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Events that a slow reader may be behind.
pub(super) const WAITING: usize = 1024;

/// Largest file that is read, in bytes.
const MAX_READ: usize = 2 * 1024 * 1024;

/// All Events that are kept, oldest first. A line that was cut off by a kill is left out.
pub(super) fn read(layout: &Layout) -> StoreResult<Vec<Event>> {
    let Some(folder) = layout
        .root()?
        .find(PRIVATE)
        .map_err(|error| store_error(PRIVATE, &error))?
    else {
        return Ok(Vec::new());
    };
    let mut events = Vec::new();
    for name in [BEFORE, FILE] {
        let bytes = match folder.read(name, MAX_READ, Links::Refuse) {
            Ok(bytes) => bytes,
            Err(Unread::Absent) => continue,
            Err(Unread::NotAFile(kind)) => {
                return Err(StoreError::Malformed(
                    folder.path_of(name),
                    format!("it is {kind}"),
                ));
            }
            Err(Unread::TooLarge(size)) => {
                return Err(StoreError::Malformed(
                    folder.path_of(name),
                    format!("it has {size} bytes"),
                ));
            }
            Err(Unread::Io(error)) => return Err(store_error(folder.path_of(name), &error)),
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        events.extend(lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()));
    }
    Ok(events)
}

/// Adds an Event.
pub(super) fn append(layout: &Layout, event: &Event) -> StoreResult<()> {
    let folder = layout.private_root()?;
    let failed = |error: std::io::Error| store_error(folder.path_of(FILE), &error);
    let mut line = serde_json::to_vec(event)
        .map_err(|error| StoreError::Malformed(folder.path_of(FILE), error.to_string()))?;
    line.push(b'\n');
    let size = folder
        .entry(FILE)
        .map_err(failed)?
        .map_or(0, |stamp| stamp.size());
    if size > 0 && size + u64::try_from(line.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        folder.rename(FILE, BEFORE).map_err(failed)?;
    }
    folder.append(FILE, &line, PUBLIC_FILE).map_err(failed)
}
