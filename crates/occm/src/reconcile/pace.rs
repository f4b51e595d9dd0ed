//! Pace: how often and how many at a time one CA is asked, and when it is left alone.
//!
//! One per Issuer, in memory. It never issues and never writes; it says yes, or calls whoever waits when the turn comes.
//!
//! ```text
//!   begin ──> a turn with a slot held ──> sent: the slot is stamped ──> again: a slot for the next message ──> end
//!     └── no turn: waits in line; call() names who comes next, and when ──> begin, or passed: the next one is called
//! ```
//!
//! **The rate holds where the messages leave.** A slot that is held and not stamped yet counts as if it were sent at every
//! moment, so that a record that takes long to be written lets no messages bunch: whoever got the last slot of any
//! second found all others of that second counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::reconcile::schedule::shortened;
use crate::store::Subject;

/// Failures to reach the CA, one after the other, that open the circuit breaker.
const FAILURES_TO_OPEN: u32 = 5;
/// First time that an open breaker keeps closed, in seconds; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: i64 = 15;
/// Longest time between two tries of an open breaker, in seconds.
const LONGEST_PAUSE: i64 = 300;
/// What the rate is counted over.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Who was called and has not come for so long is no longer waited for.
const NO_SHOW: SignedDuration = SignedDuration::from_mins(1);

/// Who is served first when many wait: lower is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub i64);

/// The pace of one Issuer.
#[derive(Debug)]
pub struct Pace {
    concurrency: usize,
    rate: Option<usize>,
    /// Turns that are taken.
    running: usize,
    /// Slots of turns whose message has not left yet.
    held: usize,
    /// When messages of the last second left, in order.
    stamps: VecDeque<Timestamp>,
    line: BTreeSet<(Rank, Subject)>,
    ranks: BTreeMap<Subject, Rank>,
    /// Who was told to come, and when.
    called: BTreeMap<Subject, Timestamp>,
    failures: u32,
    /// Since when an open breaker keeps closed, and until when.
    closed: Option<(Timestamp, Timestamp)>,
    /// Whether anybody was ever let through.
    begun: bool,
}

/// Why an exchange may not begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Others are at it; the subject stands in line and is called.
    Turn,
    /// Not before then.
    Until(Timestamp),
}

impl Pace {
    /// A pace with these limits.
    pub fn new(concurrency: usize, rate: Option<u32>) -> Self {
        let mut pace = Self {
            concurrency,
            rate: None,
            running: 0,
            held: 0,
            stamps: VecDeque::new(),
            line: BTreeSet::new(),
            ranks: BTreeMap::new(),
            called: BTreeMap::new(),
            failures: 0,
            closed: None,
            begun: false,
        };
        pace.limit(concurrency, rate);
        pace
    }

    /// Changes the limits.
    pub fn limit(&mut self, concurrency: usize, rate: Option<u32>) {
        self.concurrency = concurrency;
        self.rate = rate.and_then(|rate| usize::try_from(rate).ok());
    }

    /// Asks for a turn with a slot for its first message. A granted turn ends with [`Pace::end`]. `not_after` is the end of the
    /// certificate that is to be replaced.
    pub fn begin(
        &mut self,
        subject: &Subject,
        rank: Rank,
        not_after: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Wait> {
        self.called.remove(subject);
        if let Err(wait) = self.may_begin(not_after, now) {
            self.stand_in_line(subject, rank);
            return Err(wait);
        }
        self.leave_line(subject);
        self.running += 1;
        self.held += 1;
        Ok(())
    }

    fn may_begin(&mut self, not_after: Option<Timestamp>, now: Timestamp) -> Result<(), Wait> {
        if let Some(until) = self.closed_until(not_after) {
            // A pause that a wrong clock has put far away is over.
            if until > now && until <= now + SignedDuration::from_secs(LONGEST_PAUSE) {
                return Err(Wait::Until(until));
            }
            if self.running > 0 {
                return Err(Wait::Turn);
            }
        }
        if self.running >= self.concurrency {
            return Err(Wait::Turn);
        }
        if self.has_slot(now) {
            Ok(())
        } else {
            Err(Wait::Turn)
        }
    }

    fn has_slot(&mut self, now: Timestamp) -> bool {
        let Some(rate) = self.rate else { return true };
        if !self.begun {
            // A process that was here a moment ago may have used up this second.
            self.begun = true;
            self.stamps.extend(std::iter::repeat_n(now, rate));
        }
        self.forget(now);
        self.stamps.len() + self.held < rate
    }

    /// Forgets what left more than a second ago. A clock that went back makes what is to come now.
    fn forget(&mut self, now: Timestamp) {
        while self.stamps.front().is_some_and(|stamp| *stamp <= now - SECOND) {
            self.stamps.pop_front();
        }
        if self.stamps.back().is_some_and(|stamp| *stamp > now) {
            self.stamps
                .iter_mut()
                .for_each(|stamp| *stamp = (*stamp).min(now));
        }
    }

    /// The message of a held slot leaves now.
    pub fn sent(&mut self, now: Timestamp) {
        self.held = self.held.saturating_sub(1);
        if self.rate.is_some() {
            self.forget(now);
            self.stamps.push_back(now);
        }
    }

    /// Asks for a slot for the next message of a turn; without one the turn is to end, and another one to be asked for.
    pub fn again(&mut self, now: Timestamp) -> bool {
        let free = self.has_slot(now);
        self.held += usize::from(free);
        free
    }

    /// A turn ended, with or without a slot that it did not use.
    pub fn end(&mut self, unused: usize) {
        self.running = self.running.saturating_sub(1);
        self.held = self.held.saturating_sub(unused);
    }

    /// A subject that was called came and wanted no turn.
    pub fn passed(&mut self, subject: &Subject) {
        self.called.remove(subject);
    }

    fn stand_in_line(&mut self, subject: &Subject, rank: Rank) {
        self.leave_line(subject);
        self.line.insert((rank, subject.clone()));
        self.ranks.insert(subject.clone(), rank);
    }

    fn leave_line(&mut self, subject: &Subject) {
        if let Some(rank) = self.ranks.remove(subject) {
            self.line.remove(&(rank, subject.clone()));
        }
    }

    /// Who is to come next, and when: as many as there are turns to give. Asked after every change.
    pub fn call(&mut self, now: Timestamp) -> Vec<(Subject, Timestamp)> {
        self.called.retain(|_, at| *at + NO_SHOW > now);
        let mut called = Vec::new();
        while let Some(at) = self.next_turn(now) {
            let Some((_, subject)) = self.line.pop_first() else {
                break;
            };
            self.ranks.remove(&subject);
            self.called.insert(subject.clone(), at);
            called.push((subject, at));
        }
        called
    }

    /// When the next turn can be given to somebody who is not called yet.
    fn next_turn(&mut self, now: Timestamp) -> Option<Timestamp> {
        let expected = self.running + self.called.len();
        if let Some((_, until)) = self.closed {
            return (expected == 0).then(|| until.max(now));
        }
        if expected >= self.concurrency {
            return None;
        }
        let Some(rate) = self.rate else { return Some(now) };
        self.forget(now);
        let taken = self.stamps.len() + self.held + self.called.len();
        let Some(over) = taken.checked_sub(rate) else {
            return Some(now);
        };
        self.stamps.get(over).map(|stamp| *stamp + SECOND)
    }

    /// The CA answered.
    pub fn reached(&mut self) {
        self.failures = 0;
        self.closed = None;
    }

    /// The CA could not be reached or did not answer.
    pub fn missed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN {
            let doublings = (self.failures - FAILURES_TO_OPEN).min(10);
            let pause = (FIRST_PAUSE << doublings).min(LONGEST_PAUSE);
            self.closed = Some((now, now + SignedDuration::from_secs(pause)));
        }
    }

    /// When the breaker lets a try through, if it is open: sooner for a certificate whose end is near.
    pub fn closed_until(&self, not_after: Option<Timestamp>) -> Option<Timestamp> {
        let (since, until) = self.closed?;
        Some(since + shortened(until.duration_since(since), since, not_after))
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

    fn named(number: i64) -> Subject {
        subject(&format!("c{number:05}"))
    }

    #[test]
    fn the_rate_is_never_exceeded_in_any_second() {
        let mut pace = Pace::new(100, Some(3));
        let mut begun: Vec<i64> = Vec::new();
        for milli in (0..5_000).step_by(7) {
            if pace.begin(&subject("x"), Rank(0), None, at(milli)).is_ok() {
                begun.push(milli);
                pace.sent(at(milli));
                pace.end(0);
            }
        }
        for window in begun.windows(4) {
            assert!(window[3] - window[0] >= 1_000, "{window:?}");
        }
        assert!(begun.len() >= 11, "{begun:?}");
    }

    #[test]
    fn messages_that_leave_long_after_their_turn_do_not_bunch() {
        let mut pace = Pace::new(100, Some(3));
        let _ = pace.begin(&subject("first"), Rank(0), None, at(-2_000));
        let (mut coming, mut sent) = (Vec::new(), Vec::new());
        for milli in 0..20_000_i64 {
            if milli % 5 == 0 && pace.begin(&named(milli), Rank(0), None, at(milli)).is_ok() {
                // The record takes up to a second and a half to be written.
                coming.push(milli + (milli * 7_919) % 1_500);
            }
            for _ in coming.extract_if(.., |due| *due == milli) {
                pace.sent(at(milli));
                pace.end(0);
                sent.push(milli);
            }
        }
        for window in sent.windows(4) {
            assert!(window[3] - window[0] >= 1_000, "{window:?}");
        }
        assert!(sent.len() > 20, "{sent:?}");
    }

    #[test]
    fn a_process_that_starts_leaves_the_second_to_the_one_before_it() {
        let mut pace = Pace::new(8, Some(2));
        assert_eq!(pace.begin(&subject("a"), Rank(0), None, at(0)), Err(Wait::Turn));
        assert_eq!(pace.call(at(0)), [(subject("a"), at(1_000))]);
        assert_eq!(pace.begin(&subject("a"), Rank(0), None, at(1_000)), Ok(()));
    }

    #[test]
    fn who_waits_is_called_in_order_of_rank() {
        let mut pace = Pace::new(1, None);
        assert_eq!(pace.begin(&subject("a"), Rank(5), None, at(0)), Ok(()));
        assert_eq!(
            pace.begin(&subject("late"), Rank(9), None, at(0)),
            Err(Wait::Turn)
        );
        assert_eq!(
            pace.begin(&subject("soon"), Rank(1), None, at(0)),
            Err(Wait::Turn)
        );
        assert_eq!(pace.call(at(0)), []);
        pace.end(1);
        assert_eq!(pace.call(at(3)), [(subject("soon"), at(3))]);
        assert_eq!(pace.call(at(3)), []);
    }

    #[test]
    fn who_was_called_and_wants_no_turn_leaves_it_to_the_next() {
        let mut pace = Pace::new(1, None);
        pace.begin(&subject("a"), Rank(0), None, at(0)).unwrap();
        for name in ["b", "c"] {
            pace.begin(&subject(name), Rank(1), None, at(0)).unwrap_err();
        }
        pace.end(1);
        assert_eq!(pace.call(at(0)), [(subject("b"), at(0))]);
        pace.passed(&subject("b"));
        assert_eq!(pace.call(at(0)), [(subject("c"), at(0))]);
        // It never comes.
        pace.begin(&subject("d"), Rank(2), None, at(0)).unwrap();
        pace.end(1);
        pace.begin(&subject("e"), Rank(2), None, at(0)).unwrap();
        pace.begin(&subject("f"), Rank(2), None, at(0)).unwrap_err();
        pace.end(1);
        assert_eq!(pace.call(at(1_000)), []);
        assert_eq!(pace.call(at(61_000)), [(subject("f"), at(61_000))]);
    }

    #[test]
    fn a_crowd_is_called_one_by_one_at_the_rate() {
        let mut pace = Pace::new(8, Some(2));
        let _ = pace.begin(&subject("first"), Rank(0), None, at(-2_000));
        pace.call(at(-1_000));
        pace.passed(&subject("first"));
        let mut due = BTreeMap::new();
        for number in 0..100 {
            if pace.begin(&named(number), Rank(number), None, at(0)).is_err() {
                continue;
            }
            pace.sent(at(0));
            pace.end(0);
        }
        due.extend(pace.call(at(0)));
        let (mut looks, mut begun) = (0, 2);
        for milli in 0..60_000 {
            let coming: Vec<Subject> = due
                .extract_if(.., |_, when| *when <= at(milli))
                .map(|(subject, _)| subject)
                .collect();
            for subject in coming {
                looks += 1;
                if pace.begin(&subject, Rank(0), None, at(milli)).is_ok() {
                    begun += 1;
                    pace.sent(at(milli));
                    pace.end(0);
                }
                due.extend(pace.call(at(milli)));
            }
        }
        assert_eq!((looks, begun), (98, 100));
    }

    #[test]
    fn the_next_message_of_a_turn_waits_for_its_slot() {
        let mut pace = Pace::new(8, Some(1));
        let _ = pace.begin(&subject("a"), Rank(0), None, at(-2_000));
        pace.begin(&subject("a"), Rank(0), None, at(0)).unwrap();
        pace.sent(at(0));
        assert!(!pace.again(at(5)));
        assert!(pace.again(at(1_000)));
        pace.end(1);
    }

    #[test]
    fn a_breaker_opens_lets_one_try_through_and_closes_with_an_answer() {
        let mut pace = Pace::new(8, None);
        for _ in 0..5 {
            pace.begin(&subject("a"), Rank(0), None, at(0)).unwrap();
            pace.end(1);
            pace.missed(at(0));
        }
        for name in ["a", "b"] {
            assert_eq!(
                pace.begin(&subject(name), Rank(0), None, at(1)),
                Err(Wait::Until(at(15_000)))
            );
        }
        assert_eq!(pace.call(at(1)), [(subject("a"), at(15_000))]);
        assert_eq!(pace.begin(&subject("a"), Rank(0), None, at(15_000)), Ok(()));
        assert_eq!(
            pace.begin(&subject("b"), Rank(0), None, at(15_000)),
            Err(Wait::Turn)
        );
        pace.reached();
        pace.end(0);
        assert_eq!(pace.call(at(15_001)), [(subject("b"), at(15_001))]);
        assert_eq!(pace.begin(&subject("b"), Rank(0), None, at(15_001)), Ok(()));
    }

    #[test]
    fn no_pause_is_longer_than_five_minutes() {
        let mut pace = Pace::new(1, None);
        for _ in 0..100 {
            pace.missed(at(0));
        }
        assert_eq!(pace.closed_until(None), Some(at(300_000)));
    }

    #[test]
    fn an_open_breaker_lets_those_through_whose_end_is_near() {
        let mut pace = Pace::new(8, None);
        for _ in 0..100 {
            pace.missed(at(0));
        }
        let (soon, now) = (Some(at(200_000)), at(20_000));
        let of = |pace: &mut Pace, not_after, now| pace.begin(&subject("a"), Rank(0), not_after, now);
        assert_eq!(of(&mut pace, None, now), Err(Wait::Until(at(300_000))));
        assert_eq!(
            of(&mut pace, Some(at(2_000_000)), now),
            Err(Wait::Until(at(200_000)))
        );
        assert_eq!(of(&mut pace, soon, at(19_999)), Err(Wait::Until(at(20_000))));
        assert_eq!(of(&mut pace, soon, now), Ok(()));
        assert_eq!(
            pace.begin(&subject("b"), Rank(0), soon, now),
            Err(Wait::Turn),
            "one at a time"
        );
        // What has ended is in no more hurry than others.
        pace.end(1);
        assert_eq!(of(&mut pace, Some(at(-1)), now), Err(Wait::Until(at(300_000))));
    }
}
