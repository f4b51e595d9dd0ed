//! R3: what a CA issued is used, or counted; nothing is sent or confirmed that no record knows.

use std::collections::{BTreeMap, BTreeSet};

use devca::State as CaState;
use jiff::{SignedDuration, Timestamp};

use crate::sim::history::{By, Message, RecordFacts, RecordNote, Sent};
use crate::sim::judges::{Case, Promise, Verdict, is_certificate, opens};
use crate::store::Subject;

/// How long the same bytes are sent again, with the last try.
const RESEND: SignedDuration = SignedDuration::from_mins(6);

impl<'a> Case<'a> {
    // R3: what a CA issued is used, or counted; nothing is sent or confirmed that no record knows.
    pub(super) fn r3(&self, verdict: &mut Verdict) {
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
            .filter_map(|note| note.state.facts()?.current.as_deref())
            .any(|c| c.serial == entry.serial);
        if used {
            return;
        }
        verdict.stake(Promise::R3);
        let ends = ends_of(notes, &entry.transaction);
        let Some((_, given_up)) = ends.last() else { return };
        let fine = |(end, _): &(End, Timestamp)| matches!(end, End::Counted | End::Others | End::Still);
        if !ends.iter().any(fine) {
            let what = format!(
                "certificate {} was issued, is not used and not counted as an orphan",
                entry.serial
            );
            verdict.broken(Promise::R3, Some(subject), *given_up, what);
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

    fn request_is_recorded(&self, subject: &Subject, sent: &Sent, verdict: &mut Verdict) {
        let before = self.notes(subject).iter().filter(|note| note.at <= sent.at);
        let known = before.filter_map(|note| note.state.facts()?.open.as_ref());
        if !known.into_iter().any(|open| open.transaction == sent.transaction) {
            let what = "a request was sent before it was recorded".to_owned();
            verdict.broken(Promise::R3, Some(subject), sent.at, what);
        }
    }

    fn confirmation_follows_record(&self, subject: &Subject, sent: &Sent, verdict: &mut Verdict) {
        let entry = self.issued.get(&(sent.ca, sent.transaction.as_str()));
        let Some(entry) = entry.filter(|_| sent.served) else {
            return;
        };
        // A refusal needs no record before it.
        if !matches!(entry.state, CaState::Confirmed | CaState::Revoked { .. }) {
            return;
        }
        verdict.stake(Promise::R3);
        let before = self.notes(subject).iter().filter(|note| note.at <= sent.at);
        let mut known = before.filter_map(|note| note.state.facts()?.current.as_deref());
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
            if !ends.is_empty() && ends.iter().all(|(end, _)| *end == End::Silent) {
                let what = format!(
                    "a request of {} found no answer and is not counted as a possible orphan",
                    sent.at
                );
                verdict.broken(Promise::R3, Some(subject), sent.at, what);
            }
        }
    }

    /// The previous key of an identity stays while an open transaction was begun with it that is not at its end: a backup may
    /// bring one back that was confirmed long ago.
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

    fn was_confirmed(&self, transaction: &str) -> bool {
        let mut issued = self.issued.iter().filter(|((_, id), _)| *id == transaction);
        issued.any(|(_, entry)| matches!(entry.state, CaState::Confirmed | CaState::Revoked { .. }))
    }

    fn signs_for(&self, fingerprint: &str, identity: &Subject, at: Timestamp) -> Option<&'a Subject> {
        self.history
            .records
            .iter()
            .filter(|(subject, _)| *subject != identity)
            .find_map(|(subject, notes)| {
                let last = notes.iter().rev().find(|note| note.at < at)?.state.facts()?;
                let open = last.open.as_ref()?;
                let signs = open.signer.as_deref() == Some(fingerprint);
                (signs && !self.was_confirmed(&open.transaction)).then_some(subject)
            })
    }
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

/// How and when.
fn ends_of(notes: &[RecordNote], transaction: &str) -> Vec<(End, Timestamp)> {
    let mut ends = Vec::new();
    for (before, after) in notes.iter().zip(notes.iter().skip(1)) {
        if !opens(before, transaction) || opens(after, transaction) {
            continue;
        }
        let end = match (before.state.facts(), after.state.facts(), after.by) {
            (_, _, By::People) | (_, None, _) | (None, _, _) => End::Others,
            (Some(old), Some(new), By::Process(_)) => how_it_ended(old, new),
        };
        ends.push((end, after.at));
    }
    if let Some(last) = notes.last().filter(|note| opens(note, transaction)) {
        ends.push((End::Still, last.at));
    }
    ends
}

fn how_it_ended(old: &RecordFacts, new: &RecordFacts) -> End {
    if new.orphans > old.orphans || new.possible_orphans > old.possible_orphans {
        return End::Counted;
    }
    let serial = |facts: &RecordFacts| facts.current.as_deref().map(|copy| copy.serial.clone());
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
