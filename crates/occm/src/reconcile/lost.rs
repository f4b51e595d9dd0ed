//! Records that somebody took away. A namespace that is deleted and restored loses its records, and a restore may bring the
//! objects first: an object that comes back without its record waits a little for it before a certificate is issued, or a
//! record made from an output that came back sooner. The wait counts only while that could be done: inputs and namespaces
//! that are away come back with the records.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::reconcile::decide::Decision;
use crate::reconcile::manager::{Go, Manager};
use crate::store::Subject;

/// How long it is waited for the record of an object that came back.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Subjects that are remembered. Of more it is forgotten, and nothing waits.
const MAX_KNOWN: usize = 50_000;

/// Subjects whose record was taken away.
#[derive(Default)]
pub(super) struct Lost(HashMap<Subject, Absence>);

/// The absence of a record.
#[derive(Clone, Copy)]
struct Absence {
    /// Whether the object was away, too: then somebody deleted and restores both.
    with_object: bool,
    /// Since when the record is waited for.
    since: Option<Timestamp>,
}

/// What is done in the place of a lost record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    /// A certificate is issued.
    Issue,
    /// A record is made again from an output. It is not waited for a record that was taken away alone: until it is made
    /// again, the output is the only copy.
    Rebuild,
}

impl Lost {
    /// Somebody else took the record away; whether there is no object either.
    pub(super) fn record_gone(&mut self, subject: &Subject, with_object: bool) {
        if self.0.len() < MAX_KNOWN {
            let since = None;
            self.0.insert(subject.clone(), Absence { with_object, since });
        }
    }

    /// The record is there again, or nobody waits for it.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }

    /// The object is gone, too.
    pub(super) fn object_gone(&mut self, subject: &Subject) {
        if let Some(absence) = self.0.get_mut(subject) {
            let (with_object, since) = (true, None);
            *absence = Absence { with_object, since };
        }
    }

    /// Nothing can be done for it now: when that ends, waiting begins anew.
    pub(super) fn hindered(&mut self, subject: &Subject) {
        if let Some(absence) = self.0.get_mut(subject) {
            absence.since = None;
        }
    }

    /// Until when it is waited; `None` = there is nothing to wait for.
    fn until(&mut self, subject: &Subject, instead: Instead, now: Timestamp) -> Option<Timestamp> {
        let absence = self.0.get_mut(subject)?;
        if instead == Instead::Rebuild && !absence.with_object {
            return None;
        }
        Some(*absence.since.get_or_insert(now) + PATIENCE)
    }
}

impl Manager {
    /// Waits for a record that may be restored before something is done in its place; `None` = there is nothing to wait for.
    pub(super) fn await_record(&self, subject: &Subject, decision: &Decision) -> Option<Go> {
        let instead = match decision {
            Decision::Issue { .. } => Instead::Issue,
            Decision::Rebuild { .. } | Decision::Adopt { .. } => Instead::Rebuild,
            _ => {
                self.state().lost.hindered(subject);
                return None;
            }
        };
        let now = self.clock.now();
        let until = self.state().lost.until(subject, instead, now)?;
        if until <= now {
            return None;
        }
        tracing::debug!(%subject, %until, "its record was taken away and may be restored: it is waited for");
        Some(Go::Wait(Some(until)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests only")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::field::FieldErrors;
    use crate::model::object::ObjectKey;
    use crate::reconcile::state::State;
    use crate::store::{Broken, Change, Seen};

    #[test]
    fn only_what_lost_its_record_waits_and_each_time_it_comes_back_anew() {
        let subject = Subject::Certificate(ObjectKey::new("default", "web"));
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut lost = Lost::default();
        let until = |lost: &mut Lost, now| lost.until(&subject, Instead::Issue, at(now));
        assert_eq!(until(&mut lost, 0), None);
        lost.record_gone(&subject, false);
        assert_eq!(until(&mut lost, 5), Some(at(15)));
        assert_eq!(until(&mut lost, 9), Some(at(15)));
        lost.object_gone(&subject);
        assert_eq!(until(&mut lost, 100), Some(at(110)));
        lost.hindered(&subject);
        assert_eq!(until(&mut lost, 200), Some(at(210)));
        lost.forget(&subject);
        assert_eq!(until(&mut lost, 201), None);
    }

    #[test]
    fn a_record_is_made_again_at_once_unless_the_object_was_away_as_well() {
        let subject = Subject::Certificate(ObjectKey::new("default", "web"));
        let now = Timestamp::UNIX_EPOCH;
        let mut lost = Lost::default();
        lost.record_gone(&subject, false);
        assert_eq!(lost.until(&subject, Instead::Rebuild, now), None);
        lost.object_gone(&subject);
        assert_eq!(lost.until(&subject, Instead::Rebuild, now), Some(now + PATIENCE));
        lost.record_gone(&subject, true);
        assert_eq!(lost.until(&subject, Instead::Rebuild, now), Some(now + PATIENCE));
    }
    #[test]
    fn whether_the_object_was_away_is_told_by_what_is_known_of_it_when_its_record_goes() {
        let key = ObjectKey::new("default", "web");
        let subject = Subject::Certificate(key.clone());
        let now = Timestamp::UNIX_EPOCH;
        let mut state = State::new("default");
        state.lost_record(&subject);
        assert_eq!(
            state.lost.until(&subject, Instead::Rebuild, now),
            Some(now + PATIENCE)
        );
        let (origin, errors, generation) = (String::new(), FieldErrors::default(), None);
        let seen = Seen::Broken(Arc::new(Broken {
            origin,
            errors,
            generation,
        }));
        state.apply(Change::Certificate(key, Some(seen)));
        state.lost_record(&subject);
        assert_eq!(state.lost.until(&subject, Instead::Rebuild, now), None);
    }
}
