//! The queue of subjects that want a look: merged by subject, delayed by time, one look at a subject at a time.
//!
//! It holds no timer and spawns nothing: the run loop asks what is due and when to come back, which lets the
//! simulation drive the same queue through years of virtual time.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::store::Subject;

/// Subjects that want a look.
#[derive(Debug, Default)]
pub struct Queue {
    /// Due times, earliest first; identities before certificates of the same time.
    order: BTreeSet<(Timestamp, Subject)>,
    due: HashMap<Subject, Timestamp>,
    running: HashSet<Subject>,
    latest: Timestamp,
}

/// A clock that goes back by more than this makes everything due: due times of a wrong clock mean nothing.
const CLOCK_WENT_BACK: SignedDuration = SignedDuration::from_mins(1);

impl Queue {
    /// Wants a look at `subject` at `when` or earlier.
    pub fn add(&mut self, subject: Subject, when: Timestamp) {
        if let Some(known) = self.due.get(&subject) {
            if *known <= when {
                return;
            }
            self.order.remove(&(*known, subject.clone()));
        }
        self.order.insert((when, subject.clone()));
        self.due.insert(subject, when);
    }

    /// Takes the first subject that is due and not being looked at.
    pub fn take(&mut self, now: Timestamp) -> Option<Subject> {
        if now.duration_since(self.latest) < -CLOCK_WENT_BACK {
            self.order = std::mem::take(&mut self.order)
                .into_iter()
                .map(|(_, subject)| (now, subject))
                .collect();
            self.due.values_mut().for_each(|due| *due = now);
        }
        self.latest = now;
        let next = self
            .order
            .iter()
            .take_while(|(when, _)| *when <= now)
            .find(|(_, s)| !self.running.contains(s));
        let (when, subject) = next?.clone();
        self.order.remove(&(when, subject.clone()));
        self.due.remove(&subject);
        self.running.insert(subject.clone());
        Some(subject)
    }

    /// The look at `subject` is over.
    pub fn done(&mut self, subject: &Subject) {
        self.running.remove(subject);
    }

    /// Whether `subject` waits for a look that is due.
    pub fn is_due(&self, subject: &Subject, now: Timestamp) -> bool {
        self.due.get(subject).is_some_and(|when| *when <= now)
    }

    /// Forgets `subject`.
    pub fn remove(&mut self, subject: &Subject) {
        if let Some(when) = self.due.remove(subject) {
            self.order.remove(&(when, subject.clone()));
        }
    }

    /// When the next subject is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.order
            .iter()
            .find(|(_, s)| !self.running.contains(s))
            .map(|(when, _)| *when)
    }

    /// Subjects whose time has come.
    pub fn due_by(&self, now: Timestamp) -> usize {
        self.order.iter().take_while(|(when, _)| *when <= now).count()
    }

    /// Subjects that wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Looks that are going on.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn certificate(name: &str) -> Subject {
        Subject::Certificate(ObjectKey::new("a", name))
    }

    #[test]
    fn a_subject_waits_once_and_at_its_earliest_time() {
        let mut queue = Queue::default();
        queue.add(certificate("x"), at(20));
        queue.add(certificate("x"), at(10));
        queue.add(certificate("x"), at(30));
        assert_eq!((queue.len(), queue.next_due()), (1, Some(at(10))));
        assert_eq!(queue.take(at(9)), None);
        assert_eq!(queue.take(at(10)), Some(certificate("x")));
    }

    #[test]
    fn a_subject_is_looked_at_once_at_a_time() {
        let mut queue = Queue::default();
        queue.add(certificate("x"), at(1));
        assert!(queue.take(at(1)).is_some());
        queue.add(certificate("x"), at(1));
        assert_eq!(queue.take(at(1)), None);
        queue.done(&certificate("x"));
        assert!(queue.take(at(1)).is_some());
    }

    #[test]
    fn a_clock_that_goes_back_makes_everything_due() {
        let mut queue = Queue::default();
        queue.add(certificate("x"), at(90_000));
        assert_eq!(queue.take(at(86_400)), None);
        assert_eq!(queue.take(at(100)), Some(certificate("x")));
    }

    #[test]
    fn identities_come_first() {
        let mut queue = Queue::default();
        let identity = Subject::Identity(ObjectKey::new("z", "ca"));
        queue.add(certificate("x"), at(1));
        queue.add(identity.clone(), at(1));
        assert_eq!(queue.take(at(1)), Some(identity));
    }
}
