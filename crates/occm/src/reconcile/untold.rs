//! Before a certificate is issued it must be known what stands where it shall go: a Secret of somebody else may have to be adopted
//! or left alone instead. A new wish is seen a moment before its outputs are.

use jiff::SignedDuration;

use crate::model::object::ObjectKey;
use crate::reconcile::manager::{Go, Manager};
use crate::reconcile::state::State;
use crate::store::Subject;

/// How long the watch may take to tell; then the outputs are read.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2);

impl State {
    /// Outputs of which it is not known whether they exist.
    fn untold(&self, subject: &Subject) -> Vec<ObjectKey> {
        let plan = self.plan(subject);
        let outputs = plan
            .iter()
            .flat_map(|plan| &plan.outputs)
            .map(|output| &output.secret);
        let known = |secret: &ObjectKey| self.secrets.contains_key(secret) || self.absent.contains(secret);
        outputs.filter(|secret| !known(secret)).cloned().collect()
    }
}

impl Manager {
    /// Waits for what is not known of the outputs; `None` = everything is known.
    pub(super) async fn await_outputs(&self, subject: &Subject) -> Option<Go> {
        let now = self.clock.now();
        let (untold, until) = {
            let mut state = self.state();
            let untold = state.untold(subject);
            let memory = state.memory(subject);
            if untold.is_empty() {
                memory.untold_since = None;
                return None;
            }
            (untold, *memory.untold_since.get_or_insert(now) + PATIENCE)
        };
        if now < until {
            return Some(Go::Wait(Some(until)));
        }
        for secret in untold {
            let facts = match self.store.read_secret(&secret).await {
                Ok(content) => content.map(|content| content.facts),
                // Whoever may not read it will not write it either, and tells that.
                Err(error) => {
                    tracing::debug!(%subject, %secret, %error, "it is not known what stands there");
                    None
                }
            };
            self.state().set_secret(&secret, facts);
        }
        Some(Go::On)
    }
}
