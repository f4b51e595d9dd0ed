//! Audit lines: who did what, when, from where, and how it ended. Each write is one line in the log, and the last ones
//! are kept in memory for `GET /api/v1/activity`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::api::Api;
use crate::api::guard;
use crate::model::object::{Kind, ObjectKey};

/// The lines of this process.
pub(crate) struct Audit {
    lines: Mutex<VecDeque<Arc<Kept>>>,
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
    pub(crate) fn new() -> Self {
        Self {
            lines: Mutex::new(VecDeque::new()),
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
        let kept = Kept {
            line: line.clone(),
            time: api.clock.now(),
            from,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(Arc::new(kept));
        while lines.len() > api.limits.activity {
            lines.pop_front();
        }
    }

    /// The lines that are kept, oldest first.
    pub(crate) fn lines(&self) -> Vec<Arc<Kept>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}
