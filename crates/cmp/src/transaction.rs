//! One CMP transaction (RFC 9810, 5.1.1) as a state machine without I/O.
//!
//! A [`Transaction`] holds everything that must outlive the process: the request, transactionID and nonces, the exact
//! bytes that are to be sent, the validated signer. It is serialisable at every moment, and another process that reads
//! it back sends the same bytes and goes on. Keys, secrets, anchors and limits are not in it; they come with each call
//! in a [`Context`].
//!
//! ```text
//!            begin                                   poll is due: prepare
//!              │                                   ┌─────────────────────────┐
//!              ▼         receive: waiting          ▼        pollRep          │
//!         ┌─────────┐ ───────────────────────► ┌─────────┐ ──────────► ┌─────────┐
//!    ┌──► │ Sending │                          │ Polling │             │ Waiting │
//!    │    └─────────┘ ◄──┐                     └─────────┘             └─────────┘
//!    │     │ ip cp kup    \ the answer that the poll was for, treated as below
//!    │     ▼               └──────────────────────┘
//!    │   ┌────────┐  implicitConfirm granted, accept or reject
//!    │   │ Issued │ ─────────────────────────────────────────────┐
//!    │   └────────┘                                              ▼
//!    │     │ accept or reject: certConf                       ┌──────┐
//!    └─────┘                  pkiConf, rp, genp, refusal ───► │ Over │
//!                                                             └──────┘
//! ```
//!
//! * *Sending*: a message is outgoing, the request or the certConf. It stays so until an answer stood up to all checks,
//!   so a forged or broken answer changes nothing, and sending again means the same bytes.
//! * *Polling*: the same with a pollReq; *Waiting*: nothing to send before a time (5.3.22). Every kind of message may
//!   be polled for, with its certReqId or with −1 after an error message with status waiting (RFC 9483, 4.4).
//! * *Issued*: the caller decides. *Over*: no more messages.
//! * *External*: the transaction belongs to a program that speaks CMP itself and cannot be resumed.

use std::fmt;

use jiff::Timestamp;
use pki::{Certificate, PublicKey};
use serde::{Deserialize, Serialize};

use crate::engine::{Answer, Context, Outcome, Peer, RefusalKnown, Request, Step};
use crate::error::{CmpError, ErrorKind, Stage};
use crate::verify::{self, Expectation, VerifiedCertificate};

use wire::{Bytes, Nonce, Version, Wire};

mod build;
mod check;
mod general;
mod receive;
mod signer;
mod wire;

/// A transaction: what was asked, how far it is, what is to be sent next.
#[derive(Clone, Serialize, Deserialize)]
pub struct Transaction {
    version: Version,
    /// 128 random bits, also for external programs, so that every transaction has a name in logs.
    id: Nonce,
    started: Timestamp,
    request: Request,
    /// SubjectPublicKeyInfo of the new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Bytes>,
    state: State,
    /// The peer's clock, from the answer of the last round.
    #[serde(skip)]
    peer_clock: Option<Timestamp>,
}

/// How far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    /// A message is outgoing.
    Sending { wire: Wire, what: Awaited },
    /// A pollReq is outgoing.
    Polling {
        wire: Wire,
        what: Awaited,
        cert_req_id: i64,
    },
    /// The next pollReq is due at this time.
    Waiting {
        wire: Wire,
        what: Awaited,
        cert_req_id: i64,
        until: Timestamp,
    },
    /// A certificate came and nobody has decided.
    Issued {
        wire: Wire,
        answer: Box<Answer>,
        confirm: Confirm,
    },
    /// Over.
    Over,
    /// In the hands of an external program.
    External(External),
}

/// What is waited for, at once or by polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Awaited {
    /// The answer to the request.
    Answer,
    /// pkiConf, after this decision.
    Confirmation(Verdict),
}

/// What the certConf said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Verdict {
    Accepted,
    Rejected,
}

/// How an issued certificate is to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Confirm {
    /// Not at all: the CA has granted implicitConfirm.
    Implicit,
    /// By certConf with this certReqId.
    Explicit { cert_req_id: i64 },
}

/// How far an external program is.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum External {
    /// Not started.
    Prepared,
    /// Started; it may have reached the CA.
    Started,
    /// It has brought a certificate, confirmed already.
    Answered(Box<Answer>),
}

impl Transaction {
    /// Makes a transaction with its first message, which [`Self::outgoing`] then gives.
    ///
    /// # Errors
    ///
    /// Class Misconfigured, nothing sent: a KUR with a MAC, an enrolment without a key, no anchors, values that cannot
    /// be encoded.
    pub fn begin(request: &Request, context: &Context<'_>) -> Result<Self, CmpError> {
        let prepare = |kind| CmpError::new(Stage::Preparing, kind);
        let id = Nonce::random().map_err(prepare)?;
        let wire = build::first_message(id, request, context).map_err(prepare)?;
        Ok(Self::new(
            id,
            request,
            context,
            State::Sending {
                wire,
                what: Awaited::Answer,
            },
        ))
    }

    /// Makes a transaction for an engine that drives an external program: there is never an outgoing message.
    ///
    /// # Errors
    ///
    /// Only if the system has no random numbers.
    pub fn external(request: &Request, context: &Context<'_>) -> Result<Self, CmpError> {
        let id = Nonce::random().map_err(|kind| CmpError::new(Stage::Preparing, kind))?;
        Ok(Self::new(
            id,
            request,
            context,
            State::External(External::Prepared),
        ))
    }

    fn new(id: Nonce, request: &Request, context: &Context<'_>, state: State) -> Self {
        let public_key = context.key.map(|key| Bytes(key.public_key().spki_der().to_vec()));
        let request = request.clone();
        Self {
            version: Version,
            id,
            started: context.now,
            request,
            public_key,
            state,
            peer_clock: None,
        }
    }

    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The transactionID in hexadecimal digits, for logs.
    pub fn id(&self) -> String {
        self.id.to_hex()
    }

    /// When it was begun.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The message that is to be sent, again and again with the same bytes, until an answer was received.
    pub fn outgoing(&self) -> Option<&[u8]> {
        match &self.state {
            State::Sending { wire, .. } | State::Polling { wire, .. } => Some(wire.outgoing()),
            State::Waiting { .. } | State::Issued { .. } | State::Over | State::External(_) => None,
        }
    }

    /// messageTime of the outgoing message: CAs refuse one that is too old.
    pub fn outgoing_since(&self) -> Option<Timestamp> {
        match &self.state {
            State::Sending { wire, .. } | State::Polling { wire, .. } => Some(wire.outgoing_since()),
            State::Waiting { .. } | State::Issued { .. } | State::Over | State::External(_) => None,
        }
    }

    /// When the next poll is due, if the CA has asked to wait.
    pub fn wait_until(&self) -> Option<Timestamp> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// The certificate that waits for a decision: after a restart between its coming and [`Self::accept`].
    pub fn issued(&self) -> Option<&Answer> {
        match &self.state {
            State::Issued { answer, .. } | State::External(External::Answered(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Until when the CA waits for the confirmation, if it said so.
    pub fn confirm_by(&self) -> Option<Timestamp> {
        self.issued().and_then(|answer| answer.confirm_by)
    }

    /// Is there nothing more to do?
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The peer's clock by the answer of the last round: messageTime, if the answer has one and was authentic, else what
    /// the transport told (HTTP `Date`), which nobody vouches for. `None` if there was no answer or no time in it.
    pub fn peer_clock(&self) -> Option<Timestamp> {
        self.peer_clock
    }

    pub(crate) fn note_peer_clock(&mut self, clock: Option<Timestamp>) {
        self.peer_clock = clock;
    }

    /// How far it is, for errors.
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Sending {
                what: Awaited::Answer,
                ..
            }
            | State::External(_) => Stage::Requesting,
            State::Sending {
                what: Awaited::Confirmation(_),
                ..
            } => Stage::Confirming,
            State::Polling { .. } | State::Waiting { .. } => Stage::Polling,
            State::Issued { .. } => Stage::Verifying,
            State::Over => Stage::Preparing,
        }
    }

    /// Makes the pollReq if it is due, so that it is outgoing. Gives the time to wait for if it is not; `None` if there
    /// is nothing to wait for. Calling it again changes nothing, so the caller can store the transaction in between.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WaitedTooLong`] if the CA has let us poll for too long; the transaction is over then.
    pub fn prepare(&mut self, context: &Context<'_>) -> Result<Option<Timestamp>, CmpError> {
        match &self.state {
            State::Waiting { until, .. } if *until > context.now => Ok(Some(*until)),
            State::Waiting { .. } => {
                let stage = self.stage();
                self.poll_now(context)
                    .map_err(|kind| CmpError::new(stage, kind))?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Takes the answer to the outgoing message: authenticates it, checks that it fits, goes on.
    ///
    /// An answer that does not stand up to the checks changes nothing: the message is still outgoing and can be sent
    /// again. An authentic refusal ends the transaction.
    pub fn receive(&mut self, answer: &[u8], context: &Context<'_>) -> Result<Step, CmpError> {
        let stage = self.stage();
        self.receive_at(stage, answer, context)
    }

    /// Checks the certificate that came, see [`verify::issued`].
    pub fn verify(
        &self,
        answer: &Answer,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<VerifiedCertificate, CmpError> {
        let expectation = self
            .expectation()
            .map_err(|kind| CmpError::new(Stage::Verifying, kind))?;
        verify::issued(&expectation, answer, peer, now)
    }

    /// What the certificate must be like.
    pub fn expectation(&self) -> Result<Expectation, ErrorKind> {
        let (Some(enrolment), Some(Bytes(spki))) = (self.request.enrolment(), &self.public_key) else {
            return Err(ErrorKind::State("it is no enrolment"));
        };
        Ok(Expectation::with_public_key(
            enrolment,
            PublicKey::from_spki_der(spki)?,
        ))
    }

    /// Accepts the certificate. [`Step::Send`]: the certConf is outgoing. [`Step::Done`]: the CA wants none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::State`] if no certificate waits for a decision, or another one was verified.
    pub fn accept(
        &mut self,
        verified: &VerifiedCertificate,
        context: &Context<'_>,
    ) -> Result<Step, CmpError> {
        if self
            .issued()
            .is_some_and(|answer| &answer.certificate != verified.certificate())
        {
            return Err(CmpError::new(
                Stage::Confirming,
                ErrorKind::State("another certificate was verified"),
            ));
        }
        self.decide(Verdict::Accepted, "", context)
    }

    /// Rejects the certificate for `reason`, the error of [`Self::verify`]. [`Step::Send`]: the certConf that says so is
    /// outgoing, and the transaction is to be completed. [`Step::Done`]: the CA wants none, the certificate must be
    /// revoked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::State`] if no certificate waits for a decision.
    pub fn reject(&mut self, reason: &CmpError, context: &Context<'_>) -> Result<Step, CmpError> {
        self.decide(Verdict::Rejected, &reason.kind.to_string(), context)
    }

    fn decide(&mut self, verdict: Verdict, reason: &str, context: &Context<'_>) -> Result<Step, CmpError> {
        let fail = |kind| CmpError::new(Stage::Confirming, kind);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Issued {
                confirm: Confirm::Implicit,
                ..
            }
            | State::External(External::Answered(_)) => Ok(Step::Done(match verdict {
                Verdict::Accepted => Outcome::Confirmed,
                Verdict::Rejected => Outcome::Refused(RefusalKnown::No),
            })),
            State::Issued {
                mut wire,
                answer,
                confirm: Confirm::Explicit { cert_req_id },
            } => {
                let reason = (verdict == Verdict::Rejected).then_some(reason);
                match build::cert_conf(
                    self.id,
                    &mut wire,
                    &answer.certificate,
                    cert_req_id,
                    reason,
                    context,
                ) {
                    Ok(()) => {
                        self.state = State::Sending {
                            wire,
                            what: Awaited::Confirmation(verdict),
                        };
                        Ok(Step::Send)
                    }
                    Err(kind) => {
                        self.state = State::Issued {
                            wire,
                            answer,
                            confirm: Confirm::Explicit { cert_req_id },
                        };
                        Err(fail(kind))
                    }
                }
            }
            other => {
                self.state = other;
                Err(fail(ErrorKind::State("no certificate waits for a decision")))
            }
        }
    }

    /// An external program is about to be started; from now on the CA may have seen the request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::State`] if it was started before: it cannot be resumed.
    pub fn start_external(&mut self) -> Result<(), CmpError> {
        match &self.state {
            State::External(External::Prepared) => {
                self.state = State::External(External::Started);
                Ok(())
            }
            _ => Err(CmpError::new(
                Stage::Requesting,
                ErrorKind::State("the program was started before"),
            )),
        }
    }

    /// The external program has brought a certificate.
    pub fn answer_external(&mut self, answer: Answer) -> Result<Step, CmpError> {
        self.leave_external()?;
        let answer = Box::new(answer);
        self.state = State::External(External::Answered(answer.clone()));
        Ok(Step::Issued(answer))
    }

    /// The external program is done and there is no certificate.
    pub fn finish_external(&mut self, outcome: Outcome) -> Result<Step, CmpError> {
        self.leave_external()?;
        Ok(Step::Done(outcome))
    }

    fn leave_external(&mut self) -> Result<(), CmpError> {
        match &self.state {
            State::External(External::Started) => {
                self.state = State::Over;
                Ok(())
            }
            _ => Err(CmpError::new(
                Stage::Requesting,
                ErrorKind::State("no program is running"),
            )),
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sending { .. } => "Sending",
            State::Polling { .. } => "Polling",
            State::Waiting { .. } => "Waiting",
            State::Issued { .. } => "Issued",
            State::Over => "Over",
            State::External(_) => "External",
        };
        f.debug_struct("Transaction")
            .field("id", &self.id())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Certificates of the peer, without repetitions.
fn unique(certificates: Vec<Certificate>) -> Vec<Certificate> {
    let mut out: Vec<Certificate> = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        if !out.contains(&certificate) {
            out.push(certificate);
        }
    }
    out
}
