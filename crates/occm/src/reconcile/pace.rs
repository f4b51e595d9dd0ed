//! Pace: how often and how many at a time one CA is asked, and when it is left alone.
//!
//! One per Issuer, in memory. It never issues and never writes; it says yes, or when to come back.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::store::Subject;

/// Failures to reach the CA, one after the other, that open the circuit breaker.
const FAILURES_TO_OPEN: u32 = 5;
/// First time that an open breaker keeps closed, in seconds; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: i64 = 15;
/// Longest time between two tries of an open breaker, in seconds.
const LONGEST_PAUSE: i64 = 300;

/// Who is served first when many wait: lower is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub i64);

/// The pace of one Issuer.
#[derive(Debug)]
pub struct Pace {
    concurrency: usize,
    rate: Option<u32>,
    running: usize,
    starts: VecDeque<Timestamp>,
    waiting: BTreeSet<(Rank, Subject)>,
    failures: u32,
    closed_until: Option<Timestamp>,
}

/// Why an exchange may not begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Others are at it; the subject is woken when one ends.
    Turn,
    /// Not before then.
    Until(Timestamp),
}

impl Pace {
    /// A pace with these limits.
    pub fn new(concurrency: usize, rate: Option<u32>) -> Self {
        let (starts, waiting) = (VecDeque::new(), BTreeSet::new());
        Self {
            concurrency,
            rate,
            running: 0,
            starts,
            waiting,
            failures: 0,
            closed_until: None,
        }
    }

    /// Changes the limits.
    pub fn limit(&mut self, concurrency: usize, rate: Option<u32>) {
        self.concurrency = concurrency;
        self.rate = rate;
    }

    /// Asks for a turn. A granted turn ends with [`Pace::end`].
    pub fn begin(&mut self, subject: &Subject, rank: Rank, now: Timestamp) -> Result<(), Wait> {
        if let Some(until) = self.closed_until {
            // A pause that a wrong clock has put far away is over.
            if until > now && until <= now + SignedDuration::from_secs(LONGEST_PAUSE) {
                return Err(Wait::Until(until));
            }
            if self.running > 0 {
                self.waiting.insert((rank, subject.clone()));
                return Err(Wait::Turn);
            }
        }
        if self.running >= self.concurrency {
            self.waiting.insert((rank, subject.clone()));
            return Err(Wait::Turn);
        }
        self.take_rate(now)?;
        self.waiting.retain(|(_, waiting)| waiting != subject);
        self.running += 1;
        Ok(())
    }

    /// In any second no more than `rate` begin.
    fn take_rate(&mut self, now: Timestamp) -> Result<(), Wait> {
        let Some(rate) = self.rate.and_then(|rate| usize::try_from(rate).ok()) else {
            return Ok(());
        };
        let second_ago = now - SignedDuration::from_secs(1);
        while self
            .starts
            .front()
            .is_some_and(|start| *start <= second_ago || *start > now)
        {
            self.starts.pop_front();
        }
        if self.starts.len() >= rate
            && let Some(first) = self.starts.front()
        {
            return Err(Wait::Until(*first + SignedDuration::from_secs(1)));
        }
        self.starts.push_back(now);
        Ok(())
    }

    /// A turn ended; says who is to be woken.
    pub fn end(&mut self) -> Option<Subject> {
        self.running = self.running.saturating_sub(1);
        self.waiting.pop_first().map(|(_, subject)| subject)
    }

    /// The CA answered.
    pub fn reached(&mut self) {
        self.failures = 0;
        self.closed_until = None;
    }

    /// The CA could not be reached or did not answer.
    pub fn missed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN {
            let doublings = (self.failures - FAILURES_TO_OPEN).min(10);
            let pause = (FIRST_PAUSE << doublings).min(LONGEST_PAUSE);
            self.closed_until = Some(now + SignedDuration::from_secs(pause));
        }
    }

    /// When the breaker lets the next try through, if it is open.
    pub fn closed_until(&self) -> Option<Timestamp> {
        self.closed_until
    }

    /// Whether the CA is taken to answer.
    pub fn reachable(&self) -> bool {
        self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKey;

    fn at(milli: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + milli).unwrap()
    }

    fn subject(name: &str) -> Subject {
        Subject::Certificate(ObjectKey::new("a", name))
    }

    #[test]
    fn the_rate_is_never_exceeded_in_any_second() {
        let mut pace = Pace::new(100, Some(3));
        let mut begun: Vec<i64> = Vec::new();
        for milli in (0..5_000).step_by(7) {
            if pace.begin(&subject("x"), Rank(0), at(milli)).is_ok() {
                begun.push(milli);
                pace.end();
            }
        }
        for window in begun.windows(4) {
            assert!(window[3] - window[0] >= 1_000, "{window:?}");
        }
        assert!(begun.len() >= 14);
    }

    #[test]
    fn who_waits_is_woken_in_order_of_rank() {
        let mut pace = Pace::new(1, None);
        assert_eq!(pace.begin(&subject("a"), Rank(5), at(0)), Ok(()));
        assert_eq!(pace.begin(&subject("late"), Rank(9), at(0)), Err(Wait::Turn));
        assert_eq!(pace.begin(&subject("soon"), Rank(1), at(0)), Err(Wait::Turn));
        assert_eq!(pace.end(), Some(subject("soon")));
    }

    #[test]
    fn a_breaker_opens_lets_one_try_through_and_closes_with_an_answer() {
        let mut pace = Pace::new(8, None);
        for _ in 0..5 {
            pace.begin(&subject("a"), Rank(0), at(0)).unwrap();
            pace.end();
            pace.missed(at(0));
        }
        assert_eq!(
            pace.begin(&subject("a"), Rank(0), at(1)),
            Err(Wait::Until(at(15_000)))
        );
        assert_eq!(pace.begin(&subject("a"), Rank(0), at(15_000)), Ok(()));
        assert_eq!(pace.begin(&subject("b"), Rank(0), at(15_000)), Err(Wait::Turn));
        pace.reached();
        pace.end();
        assert_eq!(pace.begin(&subject("b"), Rank(0), at(15_001)), Ok(()));
    }

    #[test]
    fn no_pause_is_longer_than_five_minutes() {
        let mut pace = Pace::new(1, None);
        for _ in 0..100 {
            pace.missed(at(0));
        }
        assert_eq!(pace.closed_until(), Some(at(300_000)));
    }
}
