//! The engine that speaks CMP itself: a [`Transaction`] and a [`Transport`], nothing more.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::engine::{Capabilities, Context, Engine, Request, Step};
use crate::error::{CmpError, ErrorKind};
use crate::transaction::Transaction;
use crate::transport::Transport;

/// The native engine. It keeps nothing between calls; everything is in the transaction.
#[derive(Clone)]
pub struct Native {
    transport: Arc<dyn Transport>,
}

impl Native {
    /// Talks through `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    async fn round(&self, transaction: &mut Transaction, context: &Context<'_>) -> Result<Step, CmpError> {
        if let Some(until) = transaction.prepare(context)? {
            return Ok(Step::Wait { until });
        }
        let stage = transaction.stage();
        let Some(outgoing) = transaction.outgoing() else {
            return match transaction.issued() {
                // Come and not decided upon: a process that was stopped in between asks again.
                Some(answer) => Ok(Step::Issued(Box::new(answer.clone()))),
                None => Err(CmpError::new(stage, ErrorKind::State("nothing is outgoing"))),
            };
        };
        let sent = self.transport.post(outgoing).await;
        transaction.note_peer_clock(None);
        let response = sent.map_err(|error| CmpError::transport(stage, error))?;
        transaction.note_peer_clock(response.date);
        let mut step = transaction.receive(&response.body, context)?;
        if let Step::Issued(answer) = &mut step {
            answer.warnings.extend(response.note);
        }
        Ok(step)
    }
}

impl Engine for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            resumes: true,
            confirms_on_accept: true,
            pbmac1: true,
            general: true,
            profiles: true,
        }
    }

    fn begin(&self, request: &Request, context: &Context<'_>) -> Result<Transaction, CmpError> {
        Transaction::begin(request, context)
    }

    fn exchange<'a>(
        &'a self,
        transaction: &'a mut Transaction,
        context: &'a Context<'a>,
    ) -> BoxFuture<'a, Result<Step, CmpError>> {
        Box::pin(self.round(transaction, context))
    }
}
