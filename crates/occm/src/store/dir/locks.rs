//! One writer or reader at a time for each Secret and each record of this process.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::dir::state::Topic;

/// Locks by name.
#[derive(Default)]
pub(super) struct Locks {
    held: Mutex<BTreeSet<Topic>>,
    freed: Condvar,
}

/// A lock that is held.
pub(super) struct Held<'a> {
    locks: &'a Locks,
    topic: Topic,
}

impl Locks {
    /// Waits for a lock. Holders never wait for another one, so the wait ends.
    pub(super) fn lock(&self, topic: Topic) -> Held<'_> {
        let mut held = self.held();
        while held.contains(&topic) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.insert(topic.clone());
        Held { locks: self, topic }
    }

    /// Takes a lock if it is free.
    pub(super) fn try_lock(&self, topic: Topic) -> Option<Held<'_>> {
        let fresh = self.held().insert(topic.clone());
        fresh.then(|| Held { locks: self, topic })
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<Topic>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.topic);
        self.locks.freed.notify_all();
    }
}
