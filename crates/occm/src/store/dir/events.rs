//! Events as lines of JSON, for people; the file is bounded and the one before it is kept.

use crate::store::dir::fs::{PUBLIC_FILE, store_error};
use crate::store::dir::layout::Layout;
use crate::store::{Event, StoreError, StoreResult};

const FILE: &str = "events.jsonl";
const BEFORE: &str = "events.jsonl.1";
/// Size at which a new file is begun, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

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
