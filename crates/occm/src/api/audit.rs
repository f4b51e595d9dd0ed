//! Audit lines: who did what, when, from where, and how it ended. Each write is one line in the log, and the last ones
//! are kept in memory for `GET /api/v1/activity`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::api::Api;
use crate::api::guard;
use crate::model::object::{Kind, ObjectKey};

/// Lines that a slow reader of the stream may be behind.
const BEHIND: usize = 256;

/// The lines of this process.
pub(crate) struct Audit {
    lines: Mutex<Lines>,
    written: broadcast::Sender<Arc<Kept>>,
}

struct Lines {
    /// Oldest first.
    kept: VecDeque<Arc<Kept>>,
    /// From when on all are kept.
    since: Timestamp,
}

/// What was done.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) object: Option<(Kind, ObjectKey)>,
    /// `Ok`, or the code of the failure.
    pub(crate) result: String,
}

/// A line with its time and place.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) line: Line,
    pub(crate) time: Timestamp,
    pub(crate) from: String,
}

impl Line {
    /// Of a session.
    pub(crate) fn session(who: &str, what: &str, result: &str) -> Self {
        Self {
            who: shown(who),
            what: what.to_owned(),
            object: None,
            result: result.to_owned(),
        }
    }
}

/// A name as a line shows it: whatever somebody sent, in one line and not long.
fn shown(who: &str) -> String {
    who.chars().filter(|c| !c.is_control()).take(256).collect()
}

impl Audit {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self {
            lines: Mutex::new(Lines {
                kept: VecDeque::new(),
                since,
            }),
            written: broadcast::Sender::new(BEHIND),
        }
    }

    /// Writes a line.
    pub(crate) fn write(&self, api: &Api, line: &Line) {
        guard::set_audited();
        let from = guard::from_address()
            .map(|from| from.to_string())
            .unwrap_or_default();
        let object = line
            .object
            .as_ref()
            .map(|(kind, key)| format!("{kind} {key}"))
            .unwrap_or_default();
        tracing::info!(
            target: "occm::audit",
            audit = true,
            who = line.who,
            what = line.what,
            object,
            from,
            result = line.result,
            request = guard::request_id(),
            "audit"
        );
        let kept = Arc::new(Kept {
            line: line.clone(),
            time: api.clock.now(),
            from,
        });
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.push_back(Arc::clone(&kept));
        if lines.kept.len() > api.limits.activity {
            lines.kept.pop_front();
            lines.since = lines.kept.front().map_or(kept.time, |oldest| oldest.time);
        }
        drop(lines);
        let _ = self.written.send(kept);
    }

    /// The lines that are kept, oldest first, and from when on there are all.
    pub(crate) fn lines(&self) -> (Vec<Arc<Kept>>, Timestamp) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.kept.iter().cloned().collect(), lines.since)
    }

    /// Lines as they are written from now on.
    pub(crate) fn written(&self) -> broadcast::Receiver<Arc<Kept>> {
        self.written.subscribe()
    }
}
