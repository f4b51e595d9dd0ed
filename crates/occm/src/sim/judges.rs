//! The judges of the promises. They read the history of the store and the CA's book and ledger, and nothing else: what
//! the program believes is no evidence.
//!
//! Each judge says what broke its promise and counts how often the promise was really at stake.

use std::collections::{BTreeMap, BTreeSet};

use devca::State as CaState;
use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::model::plan::RenewRule;
use crate::sim::history::{
    By, Copy, History, Message, OutputNote, RecordFacts, RecordNote, RecordNow, Sent, Trouble, Whose,
    WishFacts,
};
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
/// How late people's changes may be seen, and clocks may differ.
const SLACK: SignedDuration = SignedDuration::from_mins(6);
/// How long the same bytes are sent again, with the last try.
const RESEND: SignedDuration = SignedDuration::from_mins(6);
/// How soon a touched output is back when nothing but the CA is in the way.
const REPAIRED: SignedDuration = SignedDuration::from_mins(2);
/// What lies between the stamp of a transaction and its first byte.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);
/// A second, less what the record takes to be written between the turn and the send.
const SECOND: SignedDuration = SignedDuration::from_millis(900);
/// How long after a fight an output may be left alone.
const TRUCE: SignedDuration = SignedDuration::from_mins(30);

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
        Self {
            evidence,
            history,
            owners,
            begun,
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
            let Some(copy) = note.state.facts().and_then(|facts| facts.current.as_ref()) else {
                continue;
            };
            if used.last().is_none_or(|last| last.copy.serial != copy.serial) {
                used.push(Used { copy, from: note.at });
            }
        }
        used
    }

    /// Times in which nothing stood in the way of this subject.
    fn good_times(
        &self,
        subject: &Subject,
        ca: usize,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(Timestamp, Timestamp)> {
        let concerns = |trouble: &&Trouble| match &trouble.whose {
            Whose::Everybody => true,
            Whose::Ca(whose) => *whose == ca,
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

    fn begun_by<'s>(&'s self, subject: &'s Subject) -> impl Iterator<Item = &'a Sent> + 's {
        self.begun
            .iter()
            .copied()
            .filter(move |sent| self.owners.get(sent.transaction.as_str()) == Some(&subject))
    }

    // R1: no certificate ends if it could have been renewed.
    fn r1(&self, verdict: &mut Verdict) {
        for subject in self.history.records.keys() {
            let used = self.used(subject);
            let begun: Vec<Timestamp> = self.begun_by(subject).map(|sent| sent.at).collect();
            for (i, one) in used.iter().enumerate() {
                let end = one.copy.not_after;
                let due = latest_renewal(subject, one.copy, self.wish_at(subject, one.from)).max(one.from);
                let newer = used.iter().skip(i + 1).find(|next| next.copy.not_after > end);
                let ca = (self.evidence.ca_of)(&one.copy.issuer);
                let good = self.good_times(subject, ca, due, end.min(self.evidence.end));
                let troubled = good.first() != Some(&(due, end)) && due < self.evidence.end;
                if troubled && newer.is_some_and(|next| next.from > due) {
                    verdict.stake(Promise::R1);
                }
                let in_time = newer.is_some_and(|next| next.from < end);
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

    /// Whether nobody else touched the record or the wish in that time, and the CMP identity was usable.
    fn stayed_whole(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> bool {
        let by_people = |note: &RecordNote| note.by == By::People && note.at >= from && note.at < to;
        let record = !self.notes(subject).iter().any(by_people);
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
        last.and_then(|facts| facts.current.as_ref())
            .is_some_and(|copy| copy.not_after > at)
    }

    // R2: at most N transactions in any 24 hours.
    fn r2(&self, verdict: &mut Verdict) {
        for subject in self.history.records.keys() {
            let times: Vec<Timestamp> = self.begun_by(subject).map(|sent| sent.at).collect();
            let used = self.used(subject);
            for (i, first) in times.iter().enumerate() {
                let within = times
                    .iter()
                    .skip(i)
                    .take_while(|at| at.duration_since(*first) < DAY - MARGIN);
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

    /// Whether somebody else wrote or deleted the record, which is where the budget is kept, or the clock was wrong.
    fn budget_was_taken_away(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> bool {
        let within = |at: Timestamp| at >= from && at <= to;
        let record = self
            .notes(subject)
            .iter()
            .any(|note| note.by == By::People && within(note.at));
        let clock = self
            .history
            .troubles
            .iter()
            .any(|t| t.what == "clock jumped" && t.to >= from && t.from <= to);
        record || clock
    }

    // R3: what a CA issued is used, or counted; nothing is sent or confirmed that no record knows.
    fn r3(&self, verdict: &mut Verdict) {
        for ledger in &self.evidence.ledgers {
            for entry in ledger {
                self.issued_is_used_or_counted(entry, verdict);
            }
        }
        self.sends_are_recorded(verdict);
        self.nothing_is_given_up_silently(verdict);
        self.identity_keys_stay(verdict);
    }

    fn issued_is_used_or_counted(&self, entry: &devca::Entry, verdict: &mut Verdict) {
        let Some(subject) = self.owners.get(entry.transaction.as_str()) else {
            let what = format!(
                "certificate {} was issued for a transaction that no record knew",
                entry.serial
            );
            verdict.broken(Promise::R3, None, entry.issued_at, what);
            return;
        };
        let notes = self.notes(subject);
        let used = notes
            .iter()
            .filter_map(|note| note.state.facts()?.current.as_ref())
            .any(|c| c.serial == entry.serial);
        if used {
            return;
        }
        verdict.stake(Promise::R3);
        let ends: Vec<End> = ends_of(notes, &entry.transaction);
        let fine = ends.is_empty()
            || ends
                .iter()
                .any(|end| matches!(end, End::Counted | End::Others | End::Still));
        if !fine {
            let what = format!(
                "certificate {} was issued, is not used and not counted as an orphan",
                entry.serial
            );
            verdict.broken(Promise::R3, Some(subject), entry.issued_at, what);
        }
    }

    fn sends_are_recorded(&self, verdict: &mut Verdict) {
        let mut first: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for sent in &self.history.sent {
            let Some(subject) = self.owners.get(sent.transaction.as_str()).copied() else {
                if sent.kind == Message::Enrol {
                    let what = "a request was sent that no record knew".to_owned();
                    verdict.broken(Promise::R3, None, sent.at, what);
                }
                continue;
            };
            match sent.kind {
                Message::Enrol => {
                    self.request_is_recorded(subject, sent, verdict);
                    let since = *first.entry(sent.transaction.as_str()).or_insert(sent.at);
                    if sent.at.duration_since(since) > RESEND && !self.clock_was_wrong(since, sent.at) {
                        let what = format!("a request of {since} was sent again at {}", sent.at);
                        verdict.broken(Promise::R3, Some(subject), sent.at, what);
                    }
                }
                Message::Confirm => self.confirmation_follows_record(subject, sent, verdict),
                Message::Revoke | Message::Poll | Message::Other => {}
            }
        }
    }

    fn clock_was_wrong(&self, from: Timestamp, to: Timestamp) -> bool {
        self.history
            .troubles
            .iter()
            .any(|t| t.what == "clock jumped" && t.to >= from && t.from <= to)
    }

    fn request_is_recorded(&self, subject: &Subject, sent: &Sent, verdict: &mut Verdict) {
        let before = self.notes(subject).iter().filter(|note| note.at <= sent.at);
        let known = before.filter_map(|note| note.state.facts()?.open.as_ref());
        if !known.into_iter().any(|open| open.transaction == sent.transaction) {
            let what = "a request was sent before it was recorded".to_owned();
            verdict.broken(Promise::R3, Some(subject), sent.at, what);
        }
    }

    fn confirmation_follows_record(&self, subject: &Subject, sent: &Sent, verdict: &mut Verdict) {
        let ledgers = self.evidence.ledgers.get(sent.ca);
        let entry = ledgers.and_then(|all| all.iter().find(|entry| entry.transaction == sent.transaction));
        let Some(entry) = entry.filter(|_| sent.served) else {
            return;
        };
        // A refusal needs no record before it.
        if !matches!(entry.state, CaState::Confirmed | CaState::Revoked { .. }) {
            return;
        }
        verdict.stake(Promise::R3);
        let before = self.notes(subject).iter().filter(|note| note.at <= sent.at);
        let mut known = before.filter_map(|note| note.state.facts()?.current.as_ref());
        if !known.any(|copy| copy.serial == entry.serial) {
            let what = format!(
                "certificate {} was confirmed before it was recorded",
                entry.serial
            );
            verdict.broken(Promise::R3, Some(subject), sent.at, what);
        }
    }

    /// A transaction whose request may have reached the CA does not go from a record without a trace.
    fn nothing_is_given_up_silently(&self, verdict: &mut Verdict) {
        let answered: BTreeSet<&str> = self
            .history
            .sent
            .iter()
            .filter(|s| s.left && s.served)
            .map(|s| s.transaction.as_str())
            .collect();
        for sent in &self.begun {
            if answered.contains(sent.transaction.as_str()) {
                continue;
            }
            // It left and the CA never saw it; nobody can know that.
            let Some(subject) = self.owners.get(sent.transaction.as_str()) else {
                continue;
            };
            verdict.stake(Promise::R3);
            let ends = ends_of(self.notes(subject), &sent.transaction);
            if !ends.is_empty() && ends.iter().all(|end| *end == End::Silent) {
                let what = format!(
                    "a request of {} found no answer and is not counted as a possible orphan",
                    sent.at
                );
                verdict.broken(Promise::R3, Some(subject), sent.at, what);
            }
        }
    }

    /// The previous key of an identity stays while an open transaction was begun with it.
    fn identity_keys_stay(&self, verdict: &mut Verdict) {
        for (identity, notes) in self
            .history
            .records
            .iter()
            .filter(|(subject, _)| !is_certificate(subject))
        {
            for (before, after) in notes
                .iter()
                .zip(notes.iter().skip(1))
                .filter(|(_, after)| after.by != By::People)
            {
                let (Some(old), Some(new)) = (before.state.facts(), after.state.facts()) else {
                    continue;
                };
                if new.orphans > old.orphans {
                    // The CA does not take it: nobody can sign with it.
                    continue;
                }
                let kept = fingerprints(new);
                for gone in fingerprints(old).difference(&kept) {
                    if let Some(user) = self.signs_for(gone, identity, after.at) {
                        let what =
                            format!("the key of the identity that {user} began a transaction with is gone");
                        verdict.broken(Promise::R3, Some(identity), after.at, what);
                    }
                }
                if old.previous.is_some() {
                    verdict.stake(Promise::R3);
                }
            }
        }
    }

    fn signs_for(&self, fingerprint: &str, identity: &Subject, at: Timestamp) -> Option<&'a Subject> {
        self.history
            .records
            .iter()
            .filter(|(subject, _)| *subject != identity)
            .find_map(|(subject, notes)| {
                let last = notes.iter().rev().find(|note| note.at < at)?.state.facts()?;
                let open = last.open.as_ref()?;
                (open.signer.as_deref() == Some(fingerprint)).then_some(subject)
            })
    }

    // R4: a touched output comes back, whatever the CA does.
    fn r4(&self, verdict: &mut Verdict) {
        for (key, notes) in &self.history.outputs {
            for (i, note) in notes.iter().enumerate().filter(|(_, note)| note.by == By::People) {
                let Some(subject) = self.owner_of(key, note.at) else {
                    continue;
                };
                if !self.must_be_repaired(subject, key, note, notes.get(..i).unwrap_or_default()) {
                    continue;
                }
                let until = note.at + REPAIRED;
                let after = notes.get(i + 1..).unwrap_or_default();
                if until > self.evidence.end || self.disturbed(subject, key, note.at, until, after) {
                    continue;
                }
                verdict.stake(Promise::R4);
                let back = after
                    .iter()
                    .any(|next| next.at <= until && matches!(next.by, By::Process(_)));
                if !back {
                    let what = format!("Secret {key} was touched and was not put back");
                    verdict.broken(Promise::R4, Some(subject), note.at, what);
                }
            }
        }
    }

    fn owner_of(&self, output: &ObjectKey, at: Timestamp) -> Option<&'a Subject> {
        self.history.wishes.keys().find(|subject| {
            self.wish_at(subject, at)
                .is_some_and(|wish| wish.outputs.contains(output))
        })
    }

    /// Whether the record holds a good copy and the output now differs from it.
    fn must_be_repaired(
        &self,
        subject: &Subject,
        key: &ObjectKey,
        note: &OutputNote,
        before: &[OutputNote],
    ) -> bool {
        let Some(wish) = self.wish_at(subject, note.at) else {
            return false;
        };
        if !wish.restores || !wish.keeps_copy {
            return false;
        }
        let last = self
            .notes(subject)
            .iter()
            .rev()
            .find(|record| record.at <= note.at);
        let Some(facts) = last.and_then(|record| record.state.facts()) else {
            return false;
        };
        let settled = facts
            .open
            .as_ref()
            .is_none_or(|open| open.phase != crate::record::Phase::Issued);
        let Some(copy) = facts.current.as_ref().filter(|_| settled) else {
            return false;
        };
        let Some(written) = copy.outputs.get(key) else {
            return false;
        };
        let was_ours = before.iter().any(|earlier| matches!(earlier.by, By::Process(_)));
        let differs = match &note.data {
            None => true,
            Some(data) => written.iter().any(|(name, hash)| data.get(name) != Some(hash)),
        };
        // Something that carries a higher revision is taken in instead.
        let newer = note.revision.is_some_and(|revision| revision > copy.revision);
        differs && was_ours && !newer
    }

    fn disturbed(
        &self,
        subject: &Subject,
        key: &ObjectKey,
        from: Timestamp,
        to: Timestamp,
        after: &[OutputNote],
    ) -> bool {
        let again = after.iter().any(|next| next.at <= to && next.by == By::People);
        let nobodys_ca = usize::MAX;
        let calm = self.good_times(subject, nobodys_ca, from, to).first() == Some(&(from, to));
        let record = self
            .notes(subject)
            .iter()
            .any(|note| note.by == By::People && note.at >= from - TRUCE && note.at <= to);
        let wishes = self.wishes_between(subject, from, to).len() > 1;
        // Ten repairs in ten minutes end in a truce.
        let notes = self.history.outputs.get(key).map_or(&[][..], Vec::as_slice);
        let touched = notes
            .iter()
            .filter(|n| n.by == By::People && n.at >= from - TRUCE && n.at <= to)
            .count();
        again || !calm || record || wishes || touched > 4
    }

    // R5: no issuance without a reason, whatever was restarted or restored.
    fn r5(&self, verdict: &mut Verdict) {
        for _ in self.history.kills.iter().chain(&self.history.restores) {
            verdict.stake(Promise::R5);
        }
        for sent in &self.begun {
            let Some(subject) = self.owners.get(sent.transaction.as_str()).copied() else {
                continue;
            };
            let notes = self.notes(subject);
            let at = notes.iter().position(|note| opens(note, &sent.transaction));
            let Some(at) = at else { continue };
            let before = at.checked_sub(1).and_then(|before| notes.get(before));
            if let Err(what) = self.has_reason(subject, before, sent.at) {
                verdict.broken(Promise::R5, Some(subject), sent.at, what);
            }
        }
    }

    fn has_reason(
        &self,
        subject: &Subject,
        before: Option<&RecordNote>,
        at: Timestamp,
    ) -> Result<(), String> {
        let wish = self.wish_at(subject, at);
        let state = before.map_or(&RecordNow::Gone, |note| &note.state);
        let recorded = state.facts().and_then(|facts| facts.current.as_ref());
        let Some(best) = recorded.or_else(|| self.carried(subject, wish, at)) else {
            return Ok(());
        };
        let since = before.map_or(at, |note| note.at);
        if best.not_after <= at || self.clock_was_wrong(at - HOUR, at) {
            return Ok(());
        }
        if earliest_renewal(subject, best, wish) <= at + SLACK {
            return Ok(());
        }
        if !is_certificate(subject) {
            return Err(format!(
                "the identity was enrolled while {} was valid until {}",
                best.serial, best.not_after
            ));
        }
        let wishes = self.wishes_between(subject, (at - SLACK).min(since), at);
        let asked = wishes.iter().flatten().any(|wish| {
            let changed = best.wish.as_ref().is_some_and(|issued| *issued != wish.hash);
            changed || wish.issuer != best.issuer || self.request_is_new(subject, wish, best)
        });
        let reissued = wish.is_some_and(|wish| wish.reissues && self.touched(&wish.outputs, best, at));
        let copyless = wish.is_some_and(|wish| !wish.keeps_copy);
        if asked || reissued || copyless {
            return Ok(());
        }
        Err(format!(
            "a certificate was asked for while {} is valid until {} and not due",
            best.serial, best.not_after
        ))
    }

    /// Whether a request is newer than the certificate.
    fn request_is_new(&self, subject: &Subject, wish: &WishFacts, best: &Copy) -> bool {
        let Some(notes) = self.history.wishes.get(subject) else {
            return false;
        };
        wish.requests.iter().any(|(name, token)| {
            let has = |note: &&crate::sim::history::WishNote| {
                note.wish
                    .as_ref()
                    .is_some_and(|wish| wish.requests.get(name) == Some(token))
            };
            let Some(first) = notes.iter().find(has) else {
                return false;
            };
            // A record that somebody put back does not know what was served since.
            let put_back = self
                .notes(subject)
                .iter()
                .any(|note| note.by == By::People && note.at >= first.at);
            first.at + SLACK * 2 >= best.not_before || put_back
        })
    }

    /// Whether somebody touched an output after it carried this certificate.
    fn touched(&self, outputs: &[ObjectKey], best: &Copy, at: Timestamp) -> bool {
        outputs
            .iter()
            .filter_map(|key| self.history.outputs.get(key))
            .any(|notes| {
                notes
                    .iter()
                    .any(|note| note.by == By::People && note.at >= best.not_before && note.at <= at)
            })
    }

    /// The certificate that an output carries, where the record is lost: what a rebuild finds.
    fn carried(&self, subject: &Subject, wish: Option<&WishFacts>, at: Timestamp) -> Option<&'a Copy> {
        let wish = wish.filter(|wish| wish.keeps_copy)?;
        wish.outputs.iter().find_map(|key| {
            let now = self
                .history
                .outputs
                .get(key)?
                .iter()
                .rev()
                .find(|note| note.at <= at)?;
            let (data, _) = (now.data.as_ref()?, now.revision?);
            let copies = self
                .notes(subject)
                .iter()
                .filter_map(|note| note.state.facts()?.current.as_ref());
            let whole = |copy: &&Copy| {
                copy.outputs.get(key).is_some_and(|written| {
                    written.contains_key("tls.key")
                        && written.iter().all(|(name, hash)| data.get(name) == Some(hash))
                })
            };
            copies.into_iter().find(whole)
        })
    }

    // R6: in no second more requests than the Issuer allows.
    fn r6(&self, verdict: &mut Verdict) {
        let Some(rate) = self.evidence.rate.and_then(|rate| usize::try_from(rate).ok()) else {
            return;
        };
        let mut by_ca: BTreeMap<usize, Vec<&Sent>> = BTreeMap::new();
        for sent in self
            .history
            .sent
            .iter()
            .filter(|s| matches!(s.kind, Message::Enrol | Message::Revoke))
        {
            by_ca.entry(sent.ca).or_default().push(sent);
        }
        for sends in by_ca.values() {
            for (first, last) in sends.iter().zip(sends.iter().skip(rate)) {
                if last.at.duration_since(first.at) < SECOND {
                    let what = format!("more than {rate} requests from {} to {}", first.at, last.at);
                    verdict.broken(Promise::R6, None, last.at, what);
                    break;
                }
            }
            for (first, last) in sends.iter().zip(sends.iter().skip(rate.saturating_sub(1))) {
                if last.at.duration_since(first.at) < SECOND {
                    verdict.stake(Promise::R6);
                }
            }
        }
    }

    // Who does not hold the lease writes and sends nothing.
    fn one_writer(&self, verdict: &mut Verdict) {
        let tenures = &self.history.tenures;
        for act in &self.history.acts {
            let held = tenures
                .iter()
                .any(|t| t.process == act.process && t.from <= act.at && t.to.is_none_or(|to| act.at < to));
            if !held {
                let what = format!("process {} did \"{}\" without the lease", act.process, act.what);
                verdict.broken(Promise::OneWriter, None, act.at, what);
                break;
            }
        }
        for _ in tenures.iter().filter(|tenure| tenure.to.is_some()) {
            verdict.stake(Promise::OneWriter);
        }
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

fn fingerprints(facts: &RecordFacts) -> BTreeSet<String> {
    facts
        .current
        .iter()
        .chain(&facts.previous)
        .map(|copy| copy.fingerprint.clone())
        .collect()
}

/// How a transaction left a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With its certificate.
    Used,
    /// Counted as an orphan or a possible one.
    Counted,
    /// Somebody else wrote or deleted the record.
    Others,
    /// It is there to the end.
    Still,
    /// Without a trace.
    Silent,
}

fn ends_of(notes: &[RecordNote], transaction: &str) -> Vec<End> {
    let mut ends: Vec<End> = Vec::new();
    for (before, after) in notes.iter().zip(notes.iter().skip(1)) {
        if !opens(before, transaction) || opens(after, transaction) {
            continue;
        }
        let end = match (before.state.facts(), after.state.facts(), after.by) {
            (_, _, By::People) | (_, None, _) | (None, _, _) => End::Others,
            (Some(old), Some(new), By::Process(_)) => how_it_ended(old, new),
        };
        ends.push(end);
    }
    if notes.last().is_some_and(|note| opens(note, transaction)) {
        ends.push(End::Still);
    }
    ends
}

fn how_it_ended(old: &RecordFacts, new: &RecordFacts) -> End {
    if new.orphans > old.orphans || new.possible_orphans > old.possible_orphans {
        return End::Counted;
    }
    let serial = |facts: &RecordFacts| facts.current.as_ref().map(|copy| copy.serial.clone());
    let held = old
        .open
        .as_ref()
        .is_some_and(|open| open.phase == crate::record::Phase::Issued);
    if serial(new) != serial(old) || held {
        End::Used
    } else {
        End::Silent
    }
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
    for (from, to) in held {
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

fn budget_left(begun: &[Timestamp], copy: &Copy, from: Timestamp, to: Timestamp) -> bool {
    let interval = (life(copy) / 3 * 2).as_secs().max(1);
    let allowed = usize::try_from((86_400 / interval * 3).max(6)).unwrap_or(6);
    let used = begun.iter().filter(|at| **at > from - DAY && **at < to).count();
    used < allowed
}
