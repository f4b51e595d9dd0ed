//! Virtual time: one ordered queue of what is going to happen, and calls that take time.
//!
//! ```text
//!   call ──── there ────> apply ──── back ────> the caller is woken
//!     └─ dropped on the way there: applied all the same, or never arrived, by chance
//! ```
//!
//! Nothing sleeps. The driver takes the next happening, moves the time to it, and polls whoever it woke.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};

/// Something that happens at a time.
pub(crate) enum Happening {
    /// A step within the world.
    Run(Box<dyn FnOnce() + Send>),
    /// Something that only the driver can do.
    Drive(Drive),
}

/// What only the driver can do, since it holds the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Kill this life of a process.
    Kill {
        /// Which process.
        process: usize,
        /// Which of its lives.
        life: u64,
        /// In which call.
        step: &'static str,
    },
    /// Start a process, if it does not run.
    Start {
        /// Which process.
        process: usize,
    },
    /// A paused process goes on.
    GoOn {
        /// Which process.
        process: usize,
        /// Which of its lives.
        life: u64,
    },
    /// A process notices that the lease is lost and stops its looks.
    NoticeLoss {
        /// Which process.
        process: usize,
        /// Which of its lives.
        life: u64,
    },
    /// A process without the lease tries to take it.
    TakeOver {
        /// Which process.
        process: usize,
    },
    /// Somebody makes a backup.
    BackUp,
    /// A fault that comes by itself strikes.
    Strike {
        /// Which.
        fault: crate::sim::faults::Fault,
        /// The so-many-th of its kind.
        number: u64,
        /// How often it found nothing to strike.
        attempt: u32,
    },
}

struct Inner {
    now: Timestamp,
    sequence: u64,
    queue: BTreeMap<(Timestamp, u64), Happening>,
}

/// The time and what is going to happen.
pub(crate) struct Clockwork {
    inner: Mutex<Inner>,
    /// Told of everything new.
    new: Condvar,
}

impl Clockwork {
    pub(crate) fn new(now: Timestamp) -> Self {
        let inner = Mutex::new(Inner {
            now,
            sequence: 0,
            queue: BTreeMap::new(),
        });
        Self {
            inner,
            new: Condvar::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner().now
    }

    /// Lets `happening` happen after `delay`.
    pub(crate) fn after(&self, delay: SignedDuration, happening: Happening) {
        let mut inner = self.inner();
        let at = inner.now + delay.max(SignedDuration::ZERO);
        let sequence = inner.sequence;
        inner.sequence += 1;
        inner.queue.insert((at, sequence), happening);
        self.new.notify_all();
    }

    /// Runs a step after `delay`.
    pub(crate) fn run_after(&self, delay: SignedDuration, step: impl FnOnce() + Send + 'static) {
        self.after(delay, Happening::Run(Box::new(step)));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.inner().queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the time, never backwards.
    pub(crate) fn advance(&self, to: Timestamp) {
        let mut inner = self.inner();
        inner.now = inner.now.max(to);
    }

    /// Waits until something is going to happen.
    #[cfg(test)]
    pub(crate) fn wait(&self) -> Timestamp {
        let waited = self.new.wait_while(self.inner(), |inner| inner.queue.is_empty());
        let inner = waited.unwrap_or_else(PoisonError::into_inner);
        inner
            .queue
            .first_key_value()
            .map_or(inner.now, |((at, _), _)| *at)
    }

    /// The next thing that is due now.
    pub(crate) fn pop_due(&self) -> Option<Happening> {
        let mut inner = self.inner();
        let (at, _) = *inner.queue.first_key_value()?.0;
        if at > inner.now {
            return None;
        }
        inner.queue.pop_first().map(|(_, happening)| happening)
    }
}

struct Cell<T> {
    answer: Option<T>,
    waker: Option<Waker>,
    gone: Option<bool>,
}

/// A call that is on its way. Dropped before it arrives, it arrives all the same or never does.
pub(crate) struct Call<T> {
    cell: Arc<Mutex<Cell<T>>>,
    /// Whether a call whose caller goes away arrives all the same; decided by chance when the call is made.
    survives: bool,
}

/// Makes a call: `apply` runs after `there` and gives the answer and how long it takes on its way back.
pub(crate) fn call<T: Send + 'static>(
    clockwork: &Arc<Clockwork>,
    there: SignedDuration,
    survives: bool,
    apply: impl FnOnce() -> (T, SignedDuration) + Send + 'static,
) -> Call<T> {
    let cell = Arc::new(Mutex::new(Cell {
        answer: None,
        waker: None,
        gone: None,
    }));
    let (on_arrival, then) = (Arc::clone(&cell), Arc::clone(clockwork));
    clockwork.run_after(there, move || {
        if lock(&on_arrival).gone == Some(false) {
            return;
        }
        let (answer, back) = apply();
        then.run_after(back, move || {
            let mut cell = lock(&on_arrival);
            cell.answer = Some(answer);
            if let Some(waker) = cell.waker.take() {
                waker.wake();
            }
        });
    });
    Call { cell, survives }
}

fn lock<T>(cell: &Mutex<Cell<T>>) -> MutexGuard<'_, Cell<T>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Future for Call<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut cell = lock(&self.cell);
        match cell.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                cell.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        lock(&self.cell).gone = Some(self.survives);
    }
}
