//! R6: in no second more messages than the Issuer allows, and nobody acts without the lease.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::sim::history::{Message, Sent};
use crate::sim::judges::{Case, Promise, Verdict};

/// What the rate is counted over, where the messages leave.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl<'a> Case<'a> {
    // R6: in no second more messages than the Issuer allows.
    pub(super) fn r6(&self, verdict: &mut Verdict) {
        let Some(rate) = self.evidence.rate.and_then(|rate| usize::try_from(rate).ok()) else {
            return;
        };
        let mut by_ca: BTreeMap<usize, Vec<&Sent>> = BTreeMap::new();
        for sent in self
            .history
            .sent
            .iter()
            .filter(|sent| sent.kind != Message::Other)
        {
            by_ca.entry(sent.ca).or_default().push(sent);
        }
        for sends in by_ca.values() {
            for (first, last) in sends.iter().zip(sends.iter().skip(rate)) {
                // A clock that is set forward makes the last second look long ago.
                let jumped = |at: &Timestamp| *at >= first.at && *at <= last.at;
                if last.at.duration_since(first.at) < SECOND && !self.history.jumps.iter().any(jumped) {
                    let what = format!("more than {rate} messages from {} to {}", first.at, last.at);
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
    pub(super) fn one_writer(&self, verdict: &mut Verdict) {
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
