//! R5: no issuance without a reason, whatever was restarted or restored.

use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::sim::history::{By, Copy, RecordNote, RecordNow, WishFacts};
use crate::sim::judges::{Case, HOUR, Promise, Verdict, earliest_renewal, is_certificate, opens};
use crate::store::Subject;

/// How late people's changes may be seen, and clocks may differ.
const SLACK: SignedDuration = SignedDuration::from_mins(6);

impl<'a> Case<'a> {
    // R5: no issuance without a reason, whatever was restarted or restored.
    pub(super) fn r5(&self, verdict: &mut Verdict) {
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
        let recorded = state.facts().and_then(|facts| facts.current.as_deref());
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
                .filter_map(|note| note.state.facts()?.current.as_deref());
            let whole = |copy: &&Copy| {
                copy.outputs.get(key).is_some_and(|written| {
                    written.contains_key("tls.key")
                        && written.iter().all(|(name, hash)| data.get(name) == Some(hash))
                })
            };
            copies.into_iter().find(whole)
        })
    }
}
