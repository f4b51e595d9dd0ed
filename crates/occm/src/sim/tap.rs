//! The tap: what the rules decide, told to the story and counted.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::model::object::ObjectKey;
use crate::model::reason::Reason;
use crate::reconcile::decide::{Decided, Decision};
use crate::reconcile::manager::Observer;
use crate::sim::world::World;
use crate::store::{Event, Subject};

/// Listens to one process.
pub(crate) struct Tap {
    pub(crate) world: Arc<World>,
    pub(crate) process: usize,
}

impl Observer for Tap {
    fn event(&self, _: &Event) {}

    fn exchange(&self, _: &ObjectKey, _: Reason, _: SignedDuration) {}

    fn decided(&self, subject: &Subject, decided: &Decided) {
        let (at, name) = (self.world.now(), name(&decided.decision));
        let quiet = matches!(
            decided.decision,
            Decision::Nothing { .. } | Decision::Blocked { .. }
        );
        let mut history = self.world.history();
        if !quiet {
            let text = format!("process {} decides {name} ({})", self.process, decided.rule);
            history.tell(at, Some(subject.clone()), text);
        }
        *history.decided.entry((decided.rule, name)).or_default() += 1;
    }
}

/// A decision in short, without its times.
pub fn name(decision: &Decision) -> String {
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
