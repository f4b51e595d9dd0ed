//! R2: at most N transactions in any 24 hours.

use jiff::Timestamp;

use crate::sim::history::By;
use crate::sim::judges::{Case, DAY, Promise, Used, Verdict, age_at_renewal};
use crate::store::Subject;

impl<'a> Case<'a> {
    // R2: at most N transactions in any 24 hours.
    pub(super) fn r2(&self, verdict: &mut Verdict) {
        for subject in self.history.records.keys() {
            let times: Vec<Timestamp> = self.begun_by(subject).map(|sent| sent.at).collect();
            let used = self.used(subject);
            for (i, first) in times.iter().enumerate() {
                let within = times
                    .iter()
                    .skip(i)
                    .take_while(|at| at.duration_since(*first) < DAY);
                let Some(last) = within.clone().last().copied() else {
                    continue;
                };
                let count = within.count();
                let allowed = self.allowed(subject, &used, *first, last);
                if count >= allowed {
                    verdict.stake(Promise::R2);
                }
                if count > allowed && !self.budget_was_taken_away(subject, *first, last) {
                    let what = format!("{count} transactions from {first} to {last}; allowed: {allowed}");
                    verdict.broken(Promise::R2, Some(subject), last, what);
                    break;
                }
            }
        }
    }

    /// Transactions that a day allows: by the shortest interval between renewals around that time.
    fn allowed(&self, subject: &Subject, used: &[Used<'_>], from: Timestamp, to: Timestamp) -> usize {
        let known: Vec<&Used<'_>> = used.iter().filter(|one| one.from <= to).collect();
        let alive = known.iter().filter(|one| one.copy.not_after >= from);
        let interval = alive
            .chain(known.last())
            .map(|one| age_at_renewal(subject, one.copy, self.wish_at(subject, to)))
            .min();
        let renewals = interval.map_or(0, |interval| 86_400 / interval.as_secs().max(1));
        usize::try_from(renewals.saturating_mul(3)).unwrap_or(6).max(6)
    }

    /// Whether somebody else wrote or deleted the record and a process started with that one, or the clock was wrong.
    fn budget_was_taken_away(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> bool {
        let touched = self
            .notes(subject)
            .iter()
            .find(|note| note.by == By::People && note.at >= from && note.at <= to);
        let mut tenures = self.history.tenures.iter();
        let record = touched.is_some_and(|note| tenures.any(|t| t.from >= note.at && t.from <= to));
        let clock = self
            .history
            .troubles
            .iter()
            .any(|t| t.what == "clock jumped" && t.to >= from && t.from <= to);
        record || clock
    }
}
