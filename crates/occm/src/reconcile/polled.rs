//! Inputs that have no watch of their own, because there are too many: people are told in the status of each Issuer that reads one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::plan::{InputKind, InputRef, IssuerPlan};
use crate::reconcile::state::State;
use crate::store::Subject;

impl State {
    /// Takes over which inputs are polled and says whose status that changes.
    pub fn set_polled(&mut self, polled: BTreeMap<InputRef, Duration>) -> BTreeSet<Subject> {
        let before = std::mem::replace(&mut self.polled, polled);
        if before == self.polled {
            return BTreeSet::new();
        }
        let differs = |input: &InputRef| before.get(input) != self.polled.get(input);
        let concerned = self.issuers.iter().filter(|(_, entry)| {
            let plan = entry.plan.as_ref();
            plan.is_ok_and(|plan| plan.inputs().iter().any(differs))
        });
        concerned.map(|(key, _)| Subject::Identity(key.clone())).collect()
    }
}

/// The polled ones of an Issuer's inputs, as its status tells them.
pub(super) fn told(polled: &BTreeMap<InputRef, Duration>, plan: &IssuerPlan) -> BTreeMap<String, String> {
    let inputs = plan.inputs();
    let mine = inputs
        .iter()
        .filter_map(|input| Some((input, polled.get(input)?)));
    mine.map(|(input, interval)| {
        let kind = match input.kind {
            InputKind::Secret => "Secret",
            InputKind::ConfigMap => "ConfigMap",
        };
        let how = format!(
            "read every {}s, for more than the limit are watched",
            interval.as_secs()
        );
        (format!("{kind} {}", input.object), how)
    })
    .collect()
}
