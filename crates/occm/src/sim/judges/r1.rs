//! R1: no certificate ends if it could have been renewed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::sim::history::{By, Copy, RecordFacts, RecordNote};
use crate::sim::judges::{Case, DAY, HOUR, Promise, Verdict, is_certificate, latest_renewal, life};
use crate::store::Subject;

impl<'a> Case<'a> {
    // R1: no certificate ends if it could have been renewed.
    pub(super) fn r1(&self, verdict: &mut Verdict) {
        for subject in self.history.records.keys() {
            let used = self.used(subject);
            let begun = self.begun_or_recorded(subject);
            for (i, one) in used.iter().enumerate() {
                let end = one.copy.not_after;
                let due = latest_renewal(subject, one.copy, self.wish_at(subject, one.from)).max(one.from);
                let newer = used.iter().skip(i + 1).find(|next| next.copy.not_after > end);
                let cas = self.cas(subject, one.copy, due, end);
                let good = self.good_times(subject, &cas, due, end.min(self.evidence.end));
                let troubled = good.first() != Some(&(due, end)) && due < self.evidence.end;
                if troubled && newer.is_some_and(|next| next.from > due) {
                    verdict.stake(Promise::R1);
                }
                // Who was replaced by one that ends sooner is no longer waited for: that one is judged by itself.
                let replaced = used.get(i + 1).is_some_and(|next| next.from < end);
                let in_time = replaced || newer.is_some_and(|next| next.from < end);
                if in_time
                    || end > self.evidence.end
                    || self.wish_at(subject, end).is_none() && is_certificate(subject)
                {
                    continue;
                }
                verdict.stake(Promise::R1);
                let chance = good.iter().find(|(from, to)| {
                    let needed = HOUR.min(end.duration_since(*from) / 3);
                    let long = to.duration_since(*from) >= needed;
                    long && self.stayed_whole(subject, *from, *to)
                        && budget_left(&begun, one.copy, *from, *to)
                });
                if let Some((from, to)) = chance {
                    let what = format!(
                        "certificate {} ended at {end}, was due at {due} and could have been renewed from {from} to {to}",
                        one.copy.serial
                    );
                    verdict.broken(Promise::R1, Some(subject), end, what);
                }
            }
        }
    }

    /// When transactions were begun: as the CA's side shows, and those that a record holds and whose bytes never left. Whoever
    /// was killed between the two cannot know. A transaction that the record gave back does not count.
    fn begun_or_recorded(&self, subject: &Subject) -> Vec<Timestamp> {
        let sent: BTreeMap<&str, Timestamp> = self
            .begun_by(subject)
            .map(|sent| (sent.transaction.as_str(), sent.at))
            .collect();
        let mut kept: BTreeMap<&str, Timestamp> = BTreeMap::new();
        let mut before: Option<&RecordFacts> = None;
        for facts in self.notes(subject).iter().filter_map(|note| note.state.facts()) {
            if let Some(before) = before.filter(|before| facts.transactions < before.transactions)
                && let (Some(opened), None) = (&before.open, &facts.open)
            {
                kept.remove(opened.transaction.as_str());
            }
            if let Some(open) = &facts.open {
                kept.insert(&open.transaction, open.started_at);
            }
            before = Some(facts);
        }
        kept.extend(sent);
        kept.into_values().collect()
    }

    /// The CA that a certificate came from, and those that its wish asked for since.
    fn cas(&self, subject: &Subject, copy: &Copy, from: Timestamp, to: Timestamp) -> BTreeSet<usize> {
        let wishes = self.wishes_between(subject, from, to);
        let issuers = wishes.into_iter().flatten().map(|wish| &wish.issuer);
        let all = issuers.chain([&copy.issuer]);
        all.map(|issuer| (self.evidence.ca_of)(issuer)).collect()
    }

    /// Whether nobody else touched the record or the wish in that time, nor had left a record that cannot be read (what stands
    /// at the output then may be somebody else's), and the CMP identity was usable.
    fn stayed_whole(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> bool {
        let by_people = |note: &RecordNote| note.by == By::People && note.at >= from && note.at < to;
        let spoilt = |note: &RecordNote| note.by == By::People && note.state.facts().is_none();
        let mut before = self.notes(subject).iter().rev();
        let record = !self.notes(subject).iter().any(by_people)
            && !before.find(|note| note.at < from).is_some_and(spoilt);
        let wishes = self.wishes_between(subject, from, to);
        let wish = wishes.iter().all(Option::is_some) && wishes.len() <= 1 || !is_certificate(subject);
        record && wish && !self.was_let_wait(subject, from, to) && self.identity_ok(subject, from)
    }

    /// Whether the CA let us poll in that time.
    fn was_let_wait(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> bool {
        let notes = self.notes(subject);
        let before = notes.iter().rev().find(|note| note.at <= from);
        let during = notes.iter().filter(|note| note.at > from && note.at < to);
        let mut open = before
            .into_iter()
            .chain(during)
            .filter_map(|note| note.state.facts()?.open.as_ref());
        open.any(|open| open.phase == crate::record::Phase::Polling)
    }

    fn identity_ok(&self, subject: &Subject, at: Timestamp) -> bool {
        let Some(wish) = self.wish_at(subject, at) else {
            return true;
        };
        let identity = Subject::Identity(wish.issuer.clone());
        let Some(notes) = self.history.records.get(&identity) else {
            return true;
        };
        let last = notes
            .iter()
            .rev()
            .find(|note| note.at <= at)
            .and_then(|note| note.state.facts());
        last.and_then(|facts| facts.current.as_deref())
            .is_some_and(|copy| copy.not_after > at)
    }
}

fn budget_left(begun: &[Timestamp], copy: &Copy, from: Timestamp, to: Timestamp) -> bool {
    let interval = (life(copy) / 3 * 2).as_secs().max(1);
    let allowed = usize::try_from((86_400 / interval * 3).max(6)).unwrap_or(6);
    // A transaction counts a little longer than a day: its request may be sent again.
    let used = begun
        .iter()
        .filter(|at| **at > from - DAY - HOUR && **at < to)
        .count();
    used < allowed
}
