//! The rules, watched: the same decisions, counted and told to the story.
//!
//! The manager takes its rules as an array; here it is an array of one rule that asks the real ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::reconcile::decide::{Decision, RULES as REAL, Rule, decide};
use crate::reconcile::world::World as Facts;
use crate::sim::world::World;
use crate::store::Subject;

/// The watched rules.
pub(crate) const RULES: &[Rule] = &[watch];

thread_local! {
    static ASKED: Cell<&'static [Rule]> = const { Cell::new(REAL) };
    static DECIDED: RefCell<Vec<(Subject, Decision)>> = const { RefCell::new(Vec::new()) };
    static COUNTS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Which rules are asked from now on, on this thread; counts begin anew.
pub(crate) fn begin(rules: &'static [Rule]) {
    ASKED.set(rules);
    DECIDED.take();
    COUNTS.take();
}

/// How often each decision was taken.
pub(crate) fn counts() -> BTreeMap<String, u64> {
    COUNTS.with_borrow(Clone::clone)
}

fn watch(facts: &Facts<'_>) -> Option<Decision> {
    let decision = decide(ASKED.get(), facts);
    DECIDED.with_borrow_mut(|decided| decided.push((facts.subject.clone(), decision.clone())));
    Some(decision)
}

fn name(decision: &Decision) -> String {
    match decision {
        Decision::Repair { why, .. } => format!("Repair({why})"),
        Decision::Rebuild { .. } => "Rebuild".to_owned(),
        Decision::Adopt { .. } => "Adopt".to_owned(),
        Decision::Resume => "Resume".to_owned(),
        Decision::Abandon { why, .. } => format!("Abandon({why})"),
        Decision::Issue { why, how } => format!("Issue({why}, {how:?})"),
        Decision::Revoke => "Revoke".to_owned(),
        Decision::Tidy => "Tidy".to_owned(),
        Decision::Hold(presence) => format!("Hold({presence:?})"),
        Decision::Finalize(step) => format!("Finalize({step:?})"),
        Decision::Blocked { reason, .. } => format!("Blocked({reason})"),
        Decision::Nothing { .. } => "Nothing".to_owned(),
    }
}

/// Where decisions are collected to.
pub(crate) struct Now<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) process: usize,
}

impl Now<'_> {
    /// Counts what was decided since the last call and tells it.
    pub(crate) fn collect(&self) {
        let decided = DECIDED.take();
        if decided.is_empty() {
            return;
        }
        let mut history = self.world.history();
        let at = self.world.now();
        COUNTS.with_borrow_mut(|counts| {
            for (subject, decision) in decided {
                *counts.entry(name(&decision)).or_default() += 1;
                if !matches!(decision, Decision::Nothing { .. } | Decision::Blocked { .. }) {
                    let text = format!("process {} decides {}", self.process, name(&decision));
                    history.tell(at, Some(subject), text);
                }
            }
        });
    }
}
