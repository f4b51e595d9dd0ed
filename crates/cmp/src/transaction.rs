//! One CMP transaction as a state machine without I/O.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Answer, Context, Outcome, Request, Step};
use crate::error::{CmpError, ErrorKind, Stage};

/// A transaction: what was asked, how far it is, what is to be sent next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    version: u32,
    request: Request,
    started: Timestamp,
}

impl Transaction {
    /// Makes the first message of a transaction.
    pub fn begin(request: &Request, context: &Context<'_>) -> Result<Self, CmpError> {
        Ok(Self {
            version: 1,
            request: request.clone(),
            started: context.now,
        })
    }
    /// External.
    pub fn external(request: &Request, context: &Context<'_>) -> Result<Self, CmpError> {
        Self::begin(request, context)
    }
    /// Request.
    pub fn request(&self) -> &Request {
        &self.request
    }
    /// Outgoing.
    pub fn outgoing(&self) -> Option<&[u8]> {
        None
    }
    /// Poll.
    pub fn prepare(&mut self, _context: &Context<'_>) -> Result<Option<Timestamp>, CmpError> {
        Ok(None)
    }
    /// Receive.
    pub fn receive(&mut self, _answer: &[u8], _context: &Context<'_>) -> Result<Step, CmpError> {
        Err(CmpError::new(Stage::Preparing, ErrorKind::State("stub")))
    }
    /// Accept.
    pub fn accept(&mut self, _context: &Context<'_>) -> Result<Step, CmpError> {
        Err(CmpError::new(Stage::Preparing, ErrorKind::State("stub")))
    }
    /// Reject.
    pub fn reject(&mut self, _reason: &str, _context: &Context<'_>) -> Result<Step, CmpError> {
        Err(CmpError::new(Stage::Preparing, ErrorKind::State("stub")))
    }
    /// External.
    pub fn start_external(&mut self) -> Result<(), CmpError> {
        Ok(())
    }
    /// External.
    pub fn answer_external(&mut self, answer: Answer) -> Result<Step, CmpError> {
        Ok(Step::Issued(Box::new(answer)))
    }
    /// External.
    pub fn finish_external(&mut self, outcome: Outcome) -> Result<Step, CmpError> {
        Ok(Step::Done(outcome))
    }
}
