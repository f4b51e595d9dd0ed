//! R4: a touched output comes back, whatever the CA does.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::sim::history::{By, OutputNote};
use crate::sim::judges::{Case, Promise, Verdict};
use crate::store::Subject;

/// How soon a touched output is back when nothing but the CA is in the way.
const REPAIRED: SignedDuration = SignedDuration::from_mins(2);
/// How long after a fight an output may be left alone.
const TRUCE: SignedDuration = SignedDuration::from_mins(30);

impl<'a> Case<'a> {
    // R4: a touched output comes back, whatever the CA does.
    pub(super) fn r4(&self, verdict: &mut Verdict) {
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
        let Some(copy) = facts.current.as_deref().filter(|_| settled) else {
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
        let calm = self.good_times(subject, &BTreeSet::new(), from, to).first() == Some(&(from, to));
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
}
