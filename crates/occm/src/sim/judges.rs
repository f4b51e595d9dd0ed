//! The judges of the promises. They read the history of the store and the CA's book and ledger, and nothing else: what
//! the program believes is no evidence.
//!
//! Each judge says what broke its promise and counts how often the promise was really at stake.

mod r1;
mod r2;
mod r3;
mod r4;
mod r5;
mod r6;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::model::plan::RenewRule;
use crate::sim::history::{Copy, History, Message, RecordNote, Sent, Trouble, Whose, WishFacts};
use crate::store::Subject;

/// A promise of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// No certificate ends while it could have been renewed.
    R1,
    /// At most N transactions in a day.
    R2,
    /// The same transaction goes on, or what is left unused is counted.
    R3,
    /// A touched output comes back, also while the CA is down.
    R4,
    /// No issuance without a reason.
    R5,
    /// The rate is never exceeded.
    R6,
    /// Only the holder of the lease acts.
    OneWriter,
}

impl Promise {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::OneWriter,
    ];
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// Whose.
    pub subject: Option<Subject>,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
}

/// What the judges say.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Broken promises, in the order of time.
    pub violations: Vec<Violation>,
    /// How often each promise was at stake.
    pub stakes: BTreeMap<Promise, u64>,
}

/// What the judges are shown.
pub(crate) struct Evidence<'a> {
    pub(crate) history: &'a History,
    /// What each CA issued.
    pub(crate) ledgers: Vec<Vec<devca::Entry>>,
    /// Requests in a second that each Issuer allows.
    pub(crate) rate: Option<u32>,
    /// End of the run.
    pub(crate) end: Timestamp,
    /// The CA of an Issuer.
    pub(crate) ca_of: fn(&ObjectKey) -> usize,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Hears all judges.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let case = Case::new(evidence);
    case.r1(&mut verdict);
    case.r2(&mut verdict);
    case.r3(&mut verdict);
    case.r4(&mut verdict);
    case.r5(&mut verdict);
    case.r6(&mut verdict);
    case.one_writer(&mut verdict);
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

impl Verdict {
    fn stake(&mut self, promise: Promise) {
        *self.stakes.entry(promise).or_default() += 1;
    }

    fn broken(&mut self, promise: Promise, subject: Option<&Subject>, at: Timestamp, what: String) {
        self.violations.push(Violation {
            promise,
            subject: subject.cloned(),
            at,
            what,
        });
    }
}

/// The evidence, put in order once for all judges.
struct Case<'a> {
    evidence: &'a Evidence<'a>,
    history: &'a History,
    /// Whose transaction each is.
    owners: BTreeMap<&'a str, &'a Subject>,
    /// First send of each transaction whose first byte left.
    begun: Vec<&'a Sent>,
    /// The same by subject.
    begun_by: BTreeMap<&'a Subject, Vec<&'a Sent>>,
    /// What the CAs issued, by CA and transaction.
    issued: BTreeMap<(usize, &'a str), &'a devca::Entry>,
    /// Times without anybody who leads.
    vacant: Vec<Trouble>,
}

/// A certificate in use, from when on.
struct Used<'a> {
    copy: &'a Copy,
    from: Timestamp,
}

impl<'a> Case<'a> {
    fn new(evidence: &'a Evidence<'a>) -> Self {
        let history = evidence.history;
        let mut owners = BTreeMap::new();
        for (subject, notes) in &history.records {
            for open in notes.iter().filter_map(|note| note.state.facts()?.open.as_ref()) {
                owners.insert(open.transaction.as_str(), subject);
            }
        }
        let mut known = BTreeSet::new();
        let mut begun: Vec<&Sent> = Vec::new();
        for sent in history
            .sent
            .iter()
            .filter(|sent| sent.kind == Message::Enrol && sent.left)
        {
            if known.insert(sent.transaction.as_str()) {
                begun.push(sent);
            }
        }
        let mut begun_by: BTreeMap<&Subject, Vec<&Sent>> = BTreeMap::new();
        for sent in &begun {
            if let Some(owner) = owners.get(sent.transaction.as_str()) {
                begun_by.entry(owner).or_default().push(sent);
            }
        }
        let ledgers = evidence.ledgers.iter().enumerate();
        let issued = ledgers.flat_map(|(ca, entries)| {
            let named = entries.iter();
            named.map(move |entry| ((ca, entry.transaction.as_str()), entry))
        });
        Self {
            evidence,
            history,
            issued: issued.collect(),
            owners,
            begun,
            begun_by,
            vacant: vacant(history, evidence.end),
        }
    }

    fn notes(&self, subject: &Subject) -> &'a [RecordNote] {
        self.history.records.get(subject).map_or(&[], Vec::as_slice)
    }

    fn wish_at(&self, subject: &Subject, at: Timestamp) -> Option<&'a WishFacts> {
        let notes = self.history.wishes.get(subject)?;
        notes.iter().rev().find(|note| note.at <= at)?.wish.as_ref()
    }

    /// All wishes that were there between two times, and whether there was none at some time.
    fn wishes_between(
        &self,
        subject: &Subject,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Option<&'a WishFacts>> {
        let Some(notes) = self.history.wishes.get(subject) else {
            return Vec::new();
        };
        let before = notes.iter().rev().find(|note| note.at <= from);
        let during = notes.iter().filter(|note| note.at > from && note.at <= to);
        before
            .into_iter()
            .chain(during)
            .map(|note| note.wish.as_ref())
            .collect()
    }

    /// The certificates that a record held as current, one after the other.
    fn used(&self, subject: &Subject) -> Vec<Used<'a>> {
        let mut used: Vec<Used<'a>> = Vec::new();
        for note in self.notes(subject) {
            let Some(copy) = note.state.facts().and_then(|facts| facts.current.as_deref()) else {
                continue;
            };
            if used.last().is_none_or(|last| last.copy.serial != copy.serial) {
                used.push(Used { copy, from: note.at });
            }
        }
        used
    }

    /// Times in which nothing stood in the way of this subject, nor of any of these CAs.
    fn good_times(
        &self,
        subject: &Subject,
        cas: &BTreeSet<usize>,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(Timestamp, Timestamp)> {
        let concerns = |trouble: &&Trouble| match &trouble.whose {
            Whose::Everybody => true,
            Whose::Ca(whose) => cas.contains(whose),
            Whose::Subject(whose) => whose == subject,
        };
        let mut bad: Vec<(Timestamp, Timestamp)> = self
            .history
            .troubles
            .iter()
            .chain(&self.vacant)
            .filter(concerns)
            .filter(|trouble| trouble.to > from && trouble.from < to)
            .map(|trouble| (trouble.from, trouble.to))
            .collect();
        bad.sort();
        let (mut good, mut at) = (Vec::new(), from);
        for (start, end) in bad {
            if start > at {
                good.push((at, start));
            }
            at = at.max(end);
        }
        if at < to {
            good.push((at, to));
        }
        good
    }

    fn begun_by(&self, subject: &Subject) -> impl Iterator<Item = &'a Sent> + use<'a, '_> {
        self.begun_by.get(subject).into_iter().flatten().copied()
    }

    fn clock_was_wrong(&self, from: Timestamp, to: Timestamp) -> bool {
        self.history
            .troubles
            .iter()
            .any(|t| t.what == "clock jumped" && t.to >= from && t.from <= to)
    }
}

fn is_certificate(subject: &Subject) -> bool {
    matches!(subject, Subject::Certificate(_))
}

fn opens(note: &RecordNote, transaction: &str) -> bool {
    note.state
        .facts()
        .and_then(|facts| facts.open.as_ref())
        .is_some_and(|open| open.transaction == transaction)
}

fn vacant(history: &History, end: Timestamp) -> Vec<Trouble> {
    let mut held: Vec<(Timestamp, Timestamp)> = history
        .tenures
        .iter()
        .map(|tenure| (tenure.from, tenure.to.unwrap_or(end)))
        .collect();
    held.sort();
    let mut vacant = Vec::new();
    let mut at: Option<Timestamp> = None;
    for (from, to) in held.into_iter().chain([(end, end)]) {
        if let Some(at) = at.filter(|at| from > *at) {
            vacant.push(Trouble {
                from: at,
                to: from,
                whose: Whose::Everybody,
                what: "nobody leads",
            });
        }
        at = Some(at.map_or(to, |at| at.max(to)));
    }
    vacant
}

fn life(copy: &Copy) -> SignedDuration {
    copy.not_after.duration_since(copy.not_before)
}

fn age_at_renewal(subject: &Subject, copy: &Copy, wish: Option<&WishFacts>) -> SignedDuration {
    let life = life(copy);
    let latest = if is_certificate(subject) {
        life / 3 * 2
    } else {
        life / 2
    };
    let wanted = match wish.map_or(RenewRule::Default, |wish| wish.renew) {
        RenewRule::Default => latest,
        RenewRule::Before(before) => life - SignedDuration::try_from(before).unwrap_or(SignedDuration::ZERO),
        RenewRule::Percentage(percent) => life / 100 * (100 - i32::try_from(percent).unwrap_or(33)),
    };
    if wanted > SignedDuration::ZERO {
        wanted.min(latest)
    } else {
        latest
    }
}

fn earliest_renewal(subject: &Subject, copy: &Copy, wish: Option<&WishFacts>) -> Timestamp {
    copy.not_before + age_at_renewal(subject, copy, wish)
}

fn latest_renewal(subject: &Subject, copy: &Copy, wish: Option<&WishFacts>) -> Timestamp {
    let age = age_at_renewal(subject, copy, wish);
    copy.not_before + age + (life(copy) - age) / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::Tenure;

    #[test]
    fn nobody_leads_between_two_and_after_the_last_one() {
        let at = |seconds| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let tenure = |from, to: Option<i64>| Tenure {
            process: 0,
            from: at(from),
            to: to.map(at),
        };
        let of = |tenures: Vec<Tenure>| {
            let mut history = History::default();
            history.tenures = tenures;
            let vacant = vacant(&history, at(100));
            vacant.iter().map(|time| (time.from, time.to)).collect::<Vec<_>>()
        };
        assert_eq!(
            of(vec![tenure(0, Some(10)), tenure(20, Some(30))]),
            [(at(10), at(20)), (at(30), at(100))]
        );
        assert_eq!(of(vec![tenure(0, Some(10)), tenure(5, None)]), []);
    }
}
