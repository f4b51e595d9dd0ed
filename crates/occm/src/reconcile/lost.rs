//! Records that somebody took away. A namespace that is deleted and restored loses its records, and a restore may bring the
//! objects first: an object that comes back without its record waits a little for it before a certificate is issued.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::reconcile::manager::{Go, Manager};
use crate::store::Subject;

/// How long it is waited for the record of an object that came back.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Subjects that are remembered. Of more it is forgotten, and nothing waits.
const MAX_KNOWN: usize = 50_000;

/// Subjects whose record was taken away, and since when they wait for it.
#[derive(Default)]
pub(super) struct Lost(HashMap<Subject, Option<Timestamp>>);

impl Lost {
    /// Somebody else took the record away.
    pub(super) fn record_gone(&mut self, subject: &Subject) {
        if self.0.len() < MAX_KNOWN {
            self.0.insert(subject.clone(), None);
        }
    }

    /// The record is there again, or nobody waits for it.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }

    /// The object is gone, too: when it comes back, waiting begins anew.
    pub(super) fn object_gone(&mut self, subject: &Subject) {
        if let Some(since) = self.0.get_mut(subject) {
            *since = None;
        }
    }

    /// Until when it is waited; `None` = the record was not taken away.
    fn until(&mut self, subject: &Subject, now: Timestamp) -> Option<Timestamp> {
        let since = self.0.get_mut(subject)?;
        Some(*since.get_or_insert(now) + PATIENCE)
    }
}

impl Manager {
    /// Waits for a record that may be restored; `None` = there is nothing to wait for.
    pub(super) fn await_record(&self, subject: &Subject) -> Option<Go> {
        let now = self.clock.now();
        let until = self.state().lost.until(subject, now)?;
        if until <= now {
            return None;
        }
        tracing::debug!(%subject, %until, "its record was taken away and may be restored: nothing is issued yet");
        Some(Go::Wait(Some(until)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests only")]
mod tests {
    use super::*;
    use crate::model::object::ObjectKey;

    #[test]
    fn only_what_lost_its_record_waits_and_each_time_it_comes_back_anew() {
        let subject = Subject::Certificate(ObjectKey::new("default", "web"));
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut lost = Lost::default();
        assert_eq!(lost.until(&subject, at(0)), None);
        lost.record_gone(&subject);
        assert_eq!(lost.until(&subject, at(5)), Some(at(15)));
        assert_eq!(lost.until(&subject, at(9)), Some(at(15)));
        lost.object_gone(&subject);
        assert_eq!(lost.until(&subject, at(100)), Some(at(110)));
        lost.forget(&subject);
        assert_eq!(lost.until(&subject, at(101)), None);
    }
}
