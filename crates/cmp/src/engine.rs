//! The seam between the protocol's users and those who speak it.
//!
//! ```text
//!   Engine::begin(request, context) ──► Transaction            nothing has left; store it
//!   loop {
//!     Engine::exchange(&mut transaction, context) ──► Step     one message there, one answer back; store the transaction
//!       Send            once more
//!       Wait{until}     come back then, in this process or another
//!       Issued(answer)  verify::issued(..), store the certificate, then transaction.accept(..) or .reject(..), once more
//!       Done(outcome)   over
//!   }
//! ```
//!
//! Two engines exist: [`crate::Native`] speaks CMP itself, [`crate::openssl`] drives the command line program. Both are
//! believed equally little: [`crate::verify::issued`] looks at what either of them brings.

use futures::future::BoxFuture;
use jiff::Timestamp;
use pki::{Certificate, PrivateKey};
use serde::{Deserialize, Serialize};

use crate::error::CmpError;
use crate::protection::Credentials;
use crate::transaction::Transaction;

pub use peer::{
    KeyIdCheck, KeyUsageCheck, Limits, MacResponse, MessageTimeCheck, NameChanges, Peer, Policy, SenderCheck,
    Trust,
};
pub use request::{
    CrlSource, Enrolment, EnrolmentKind, General, GeneralAnswer, Request, RequestTemplate, RevocationReason,
    RootUpdate,
};

mod peer;
mod request;

/// Speaks CMP with one CA. One object per Issuer; transactions of many requests may run through it at once.
pub trait Engine: Send + Sync {
    /// `native` or `openssl`.
    fn name(&self) -> &'static str;

    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes the transaction with its first message inside. Sends nothing. Requests that can never work (a KUR with a
    /// MAC, a profile that the engine cannot send) are refused here, class Misconfigured.
    fn begin(&self, request: &Request, context: &Context<'_>) -> Result<Transaction, CmpError>;

    /// One round: sends what is outgoing and takes the answer. A poll that is not due gives [`Step::Wait`] without
    /// sending anything.
    ///
    /// After an error with class Retry and the message still outgoing, calling it again sends the same bytes. Dropping
    /// the future leaves the transaction as it was before the call; the CA may have seen the message.
    fn exchange<'a>(
        &'a self,
        transaction: &'a mut Transaction,
        context: &'a Context<'a>,
    ) -> BoxFuture<'a, Result<Step, CmpError>>;
}

/// What an engine can do; the user asks before it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// A transaction can go on in another process.
    pub resumes: bool,
    /// The certificate is confirmed only when [`Transaction::accept`] is called. `false`: it is confirmed before we see
    /// it, and a certificate that fails our checks can only be revoked.
    pub confirms_on_accept: bool,
    /// PBMAC1 (RFC 9579) besides the password-based MAC.
    pub pbmac1: bool,
    /// General messages ([`Request::General`]).
    pub general: bool,
    /// certProfile (RFC 9810, 5.1.1.4).
    pub profiles: bool,
}

/// What a step of a transaction needs besides its own state. Nothing of it is stored in the transaction.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Protects our messages; a transaction must go on with the credentials it began with.
    pub credentials: &'a Credentials,
    /// The CA as configured.
    pub peer: &'a Peer,
    /// The new key, for enrolments.
    pub key: Option<&'a PrivateKey>,
    /// The time.
    pub now: Timestamp,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message is outgoing: store the transaction, then exchange again.
    Send,
    /// The CA has not decided. Exchange again then, not before.
    Wait {
        /// When the next poll is due.
        until: Timestamp,
    },
    /// A certificate came. Give it to [`crate::verify::issued`], then accept or reject it.
    Issued(Box<Answer>),
    /// The transaction is over.
    Done(Outcome),
}

/// An issued certificate as it came: authenticated as the CA's answer, not yet checked against the wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The certificate.
    pub certificate: Certificate,
    /// extraCerts: may hold its chain. Never anchors.
    pub extra: Vec<Certificate>,
    /// caPubs of the answer. Never anchors by themselves (RFC 9810, 8.9).
    pub ca_pubs: Vec<Certificate>,
    /// The status was grantedWithMods: the CA says that it changed the wish.
    pub granted_with_mods: bool,
    /// statusString, bounded and escaped.
    pub text: String,
    /// confirmWaitTime: after this the CA may revoke an unconfirmed certificate.
    pub confirm_by: Option<Timestamp>,
    /// Things that were odd and let pass by policy, for people.
    pub warnings: Vec<String>,
}

/// How a transaction ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate is confirmed (explicitly, or the CA wants no confirmation).
    Confirmed,
    /// The certificate was rejected by us, and the CA knows it (or wants no confirmation, then it must be revoked).
    Refused(RefusalKnown),
    /// The certificate is revoked.
    Revoked {
        /// statusString of the CA, bounded and escaped.
        text: String,
    },
    /// The answer to a general message.
    General(Box<GeneralAnswer>),
}

/// Does the CA know that we do not want its certificate?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKnown {
    /// It has answered our rejection.
    Yes,
    /// It had asked for no confirmation, so it counts the certificate as issued: an orphan, to be revoked.
    No,
}
