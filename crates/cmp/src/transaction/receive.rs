//! Taking an answer: authenticate it, then act by what was waited for.

use std::time::Duration;

use jiff::Timestamp;
use pki::Certificate;

use super::check::{self, Authentic};
use super::wire::Wire;
use super::{Awaited, Confirm, State, Transaction, Verdict, build, general};
use crate::asn1::{
    CertOrEncCert, CertRepMessage, CertResponse, ErrorMsg, PkiBody, PkiStatus, PkiStatusInfo, PollRep,
    RevRepContent,
};
use crate::engine::{Answer, Context, EnrolmentKind, Outcome, RefusalKnown, Request, Step};
use crate::error::{CertificateFault, CmpError, ErrorKind, PeerStatus, Stage};
use crate::message::{Message, readable};

/// certReqId when the whole answer is polled for (RFC 9483, 4.4).
const WHOLE_ANSWER: i64 = -1;

/// What an authentic answer means.
enum Next {
    /// Poll with this certReqId; after this wait if the CA named one.
    Poll(i64, Option<i64>),
    Issued(Box<Answer>, Confirm),
    Done(Outcome),
    Refused(PeerStatus),
}

impl Transaction {
    pub(super) fn receive_at(
        &mut self,
        stage: Stage,
        bytes: &[u8],
        context: &Context<'_>,
    ) -> Result<Step, CmpError> {
        let fail = |kind| CmpError::new(stage, kind);
        let message = Message::decode(bytes, &context.peer.limits).map_err(fail)?;
        let (wire, what) = match &self.state {
            State::Sending { wire, what } | State::Polling { wire, what, .. } => (wire, *what),
            State::Waiting { .. } | State::Issued { .. } | State::Over | State::External(_) => {
                return Err(fail(ErrorKind::State("no answer is awaited")));
            }
        };
        let fresh = wire.polled_nonce.is_none();
        let authentic = match check::authenticate(self.id, wire, &message, context, self.started) {
            Ok(authentic) => authentic,
            Err(kind) => return Err(unauthenticated(stage, kind, &message)),
        };
        // A delayed answer may have been made long ago.
        if fresh && let Some(time) = &message.header.message_time {
            self.peer_clock = time.timestamp().or(self.peer_clock);
        }
        let polled = match &self.state {
            State::Polling { cert_req_id, .. } => Some(*cert_req_id),
            _ => None,
        };
        let extra = message.extra_certs();
        let next = self
            .interpret(&message, what, polled, extra, &authentic.warnings, context)
            .map_err(fail)?;
        self.advance(stage, next, what, authentic, context)
    }

    /// What does the answer mean? Changes nothing.
    fn interpret(
        &self,
        message: &Message<'_>,
        what: Awaited,
        polled: Option<i64>,
        extra: Vec<Certificate>,
        warnings: &[String],
        context: &Context<'_>,
    ) -> Result<Next, ErrorKind> {
        match (&message.body, polled, what) {
            (PkiBody::PollRep(rep), Some(cert_req_id), _) => poll_rep(rep, cert_req_id),
            (PkiBody::Error(error), ..) => Ok(error_message(error, what)),
            (PkiBody::PkiConf(_), _, Awaited::Confirmation(verdict)) => Ok(Next::Done(verdict.outcome())),
            (body, _, Awaited::Confirmation(_)) => Err(unexpected("pkiconf", body)),
            (body, _, Awaited::Answer) => self.interpret_answer(body, message, extra, warnings, context),
        }
    }

    fn interpret_answer(
        &self,
        body: &PkiBody,
        message: &Message<'_>,
        extra: Vec<Certificate>,
        warnings: &[String],
        context: &Context<'_>,
    ) -> Result<Next, ErrorKind> {
        let expected = expected_body(&self.request);
        match (&self.request, body) {
            (Request::Enrol(enrolment), PkiBody::Ip(rep) | PkiBody::Cp(rep) | PkiBody::Kup(rep))
                if body.name() == expected =>
            {
                let implicit = enrolment.implicit_confirm && message.header.implicit_confirm();
                let mut next = cert_rep(rep, &enrolment.kind, implicit)?;
                if let Next::Issued(answer, _) = &mut next {
                    answer.extra = extra;
                    answer.confirm_by = message.header.confirm_wait_time();
                    answer.warnings = warnings.to_vec();
                }
                Ok(next)
            }
            (Request::Revoke { .. }, PkiBody::Rp(rep)) => rev_rep(rep),
            (Request::General(question), PkiBody::Genp(content)) => {
                let answer = general::answer(question, content, context)?;
                Ok(Next::Done(Outcome::General(Box::new(answer))))
            }
            (_, other) => Err(unexpected(expected, other)),
        }
    }

    fn advance(
        &mut self,
        stage: Stage,
        next: Next,
        what: Awaited,
        authentic: Authentic,
        context: &Context<'_>,
    ) -> Result<Step, CmpError> {
        let before = std::mem::replace(&mut self.state, State::Over);
        let (State::Sending { mut wire, .. } | State::Polling { mut wire, .. }) = before else {
            return Err(CmpError::new(stage, ErrorKind::State("no answer is awaited")));
        };
        wire.peer_nonce = Some(authentic.peer_nonce);
        wire.signer = authentic.signer.or(wire.signer);
        match next {
            Next::Done(outcome) => Ok(Step::Done(outcome)),
            Next::Refused(peer) => Err(CmpError::refused(stage, peer)),
            Next::Issued(answer, confirm) => {
                wire.polled_nonce = None;
                self.state = State::Issued {
                    wire,
                    answer: answer.clone(),
                    confirm,
                };
                Ok(Step::Issued(answer))
            }
            Next::Poll(cert_req_id, check_after) => self
                .wait(wire, what, cert_req_id, check_after, context)
                .map_err(|kind| CmpError::new(stage, kind)),
        }
    }

    /// The first poll is made at once: only its answer says how long to wait (5.3.22). After that a wait is never
    /// shorter than the limits allow, whatever the CA says.
    fn wait(
        &mut self,
        mut wire: Wire,
        what: Awaited,
        cert_req_id: i64,
        check_after: Option<i64>,
        context: &Context<'_>,
    ) -> Result<Step, ErrorKind> {
        let first = wire.polled_nonce.is_none();
        wire.polled_nonce.get_or_insert(wire.nonce);
        let until = match check_after {
            None if first => context.now,
            other => later(context.now, clamp(other.unwrap_or_default(), context)),
        };
        self.state = State::Waiting {
            wire,
            what,
            cert_req_id,
            until,
        };
        if until > context.now {
            return Ok(Step::Wait { until });
        }
        self.poll_now(context)?;
        Ok(Step::Send)
    }

    /// Makes the pollReq, unless the CA has used up its polls or its time.
    pub(super) fn poll_now(&mut self, context: &Context<'_>) -> Result<(), ErrorKind> {
        let State::Waiting {
            wire,
            what,
            cert_req_id,
            ..
        } = &mut self.state
        else {
            return Err(ErrorKind::State("no poll is due"));
        };
        let (what, cert_req_id) = (*what, *cert_req_id);
        let limits = &context.peer.limits;
        let age = context.now.as_second().saturating_sub(self.started.as_second());
        let total = i64::try_from(limits.total_time.as_secs()).unwrap_or(i64::MAX);
        if wire.polls >= limits.polls || age > total {
            let polls = wire.polls;
            self.state = State::Over;
            return Err(ErrorKind::WaitedTooLong { polls, seconds: age });
        }
        build::poll_req(self.id, wire, cert_req_id, context)?;
        wire.polls = wire.polls.saturating_add(1);
        let wire = wire.clone();
        self.state = State::Polling {
            wire,
            what,
            cert_req_id,
        };
        Ok(())
    }
}

impl Verdict {
    fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Confirmed,
            Self::Rejected => Outcome::Refused(RefusalKnown::Yes),
        }
    }
}

/// An answer that nobody vouches for. If it says no, the text may help a person; but it never counts as the CA's
/// decision (RFC 9810, 5.3.21), so the class is Retry.
fn unauthenticated(stage: Stage, kind: ErrorKind, message: &Message<'_>) -> CmpError {
    let Some(mut status) = refusal(&message.body) else {
        return CmpError::new(stage, kind);
    };
    status.authentic = false;
    if kind == ErrorKind::Unprotected {
        return CmpError::refused(stage, status);
    }
    CmpError::new(stage, kind)
        .with_class(crate::error::Class::Retry)
        .with_peer(status)
}

/// What a message says if it says no (or "wait", in an error message).
fn refusal(body: &PkiBody) -> Option<PeerStatus> {
    let rejection = |status: &PkiStatusInfo| status.status == PkiStatus::Rejection;
    match body {
        PkiBody::Error(error) => Some(PeerStatus::new(&error.status, error.error_details.as_ref())),
        PkiBody::Ip(rep) | PkiBody::Cp(rep) | PkiBody::Kup(rep) => {
            let status = rep
                .response
                .iter()
                .map(|response| &response.status)
                .find(|status| rejection(status))?;
            Some(PeerStatus::new(status, None))
        }
        PkiBody::Rp(rep) => rep
            .status
            .iter()
            .find(|s| rejection(s))
            .map(|s| PeerStatus::new(s, None)),
        _ => None,
    }
}

fn expected_body(request: &Request) -> &'static str {
    match request {
        Request::Enrol(enrolment) => match enrolment.kind {
            EnrolmentKind::Initialization => "ip",
            EnrolmentKind::Certification | EnrolmentKind::Pkcs10 => "cp",
            EnrolmentKind::KeyUpdate { .. } => "kup",
        },
        Request::Revoke { .. } => "rp",
        Request::General(_) => "genp",
    }
}

fn unexpected(expected: &'static str, body: &PkiBody) -> ErrorKind {
    ErrorKind::UnexpectedBody {
        expected,
        found: body.name(),
    }
}

fn error_message(error: &ErrorMsg, what: Awaited) -> Next {
    let status = PeerStatus::new(&error.status, error.error_details.as_ref());
    match (error.status.status, what) {
        (PkiStatus::Waiting, _) => Next::Poll(WHOLE_ANSWER, None),
        // Our certConf was repeated, and the first one had come through.
        (_, Awaited::Confirmation(verdict)) if status.has("certConfirmed") => Next::Done(verdict.outcome()),
        _ => Next::Refused(status),
    }
}

fn poll_rep(rep: &PollRep, cert_req_id: i64) -> Result<Next, ErrorKind> {
    let [entry] = rep.as_slice() else {
        return Err(ErrorKind::WrongAnswer {
            reason: "pollRep has not one entry",
        });
    };
    if entry.cert_req_id != cert_req_id {
        return Err(ErrorKind::WrongAnswer {
            reason: "certReqId of pollRep is not that of the poll",
        });
    }
    Ok(Next::Poll(cert_req_id, Some(entry.check_after)))
}

/// ip, cp, kup (5.3.4): exactly one response, for our request.
fn cert_rep(rep: &CertRepMessage, kind: &EnrolmentKind, implicit: bool) -> Result<Next, ErrorKind> {
    let [response] = rep.response.as_slice() else {
        return Err(ErrorKind::WrongAnswer {
            reason: "it has not one response",
        });
    };
    let id = response.cert_req_id;
    // p10cr has no certReqId: RFC 9483, 4.1.4, says −1, servers in the field say 0. What came is repeated.
    let fits = match kind {
        EnrolmentKind::Pkcs10 => id == build::CERT_REQ_ID || id == WHOLE_ANSWER,
        EnrolmentKind::Initialization | EnrolmentKind::Certification | EnrolmentKind::KeyUpdate { .. } => {
            id == build::CERT_REQ_ID
        }
    };
    if !fits {
        return Err(ErrorKind::WrongAnswer {
            reason: "certReqId is not that of the request",
        });
    }
    match response.status.status {
        PkiStatus::Waiting => Ok(Next::Poll(id, None)),
        PkiStatus::Accepted | PkiStatus::GrantedWithMods => {
            let confirm = if implicit {
                Confirm::Implicit
            } else {
                Confirm::Explicit { cert_req_id: id }
            };
            Ok(Next::Issued(Box::new(certificate(rep, response)?), confirm))
        }
        PkiStatus::Rejection
        | PkiStatus::RevocationWarning
        | PkiStatus::RevocationNotification
        | PkiStatus::KeyUpdateWarning => Ok(Next::Refused(PeerStatus::new(&response.status, None))),
    }
}

fn certificate(rep: &CertRepMessage, response: &CertResponse) -> Result<Answer, ErrorKind> {
    let Some(pair) = &response.certified_key_pair else {
        return Err(ErrorKind::WrongAnswer {
            reason: "status is accepted and there is no certificate",
        });
    };
    if pair.private_key.is_some() {
        return Err(ErrorKind::WrongAnswer {
            reason: "it brings a private key that nobody asked for",
        });
    }
    let CertOrEncCert::Certificate(encoded) = &pair.cert_or_enc_cert else {
        return Err(ErrorKind::Unsupported {
            what: "an encrypted certificate".to_owned(),
        });
    };
    let certificate = Certificate::from_der(encoded.der())
        .map_err(|error| ErrorKind::Certificate(CertificateFault::Malformed(error.to_string())))?;
    Ok(Answer {
        certificate,
        extra: Vec::new(),
        ca_pubs: rep.ca_pubs.as_deref().map(readable).unwrap_or_default(),
        granted_with_mods: response.status.status == PkiStatus::GrantedWithMods,
        text: PeerStatus::new(&response.status, None).text,
        confirm_by: None,
        warnings: Vec::new(),
    })
}

/// rp (5.3.10): one status, for our one request.
fn rev_rep(rep: &RevRepContent) -> Result<Next, ErrorKind> {
    let [status] = rep.status.as_slice() else {
        return Err(ErrorKind::WrongAnswer {
            reason: "it has not one status",
        });
    };
    let peer = PeerStatus::new(status, None);
    Ok(match status.status {
        PkiStatus::Waiting => Next::Poll(WHOLE_ANSWER, None),
        PkiStatus::Accepted
        | PkiStatus::GrantedWithMods
        | PkiStatus::RevocationWarning
        | PkiStatus::RevocationNotification => Next::Done(Outcome::Revoked { text: peer.text }),
        PkiStatus::Rejection | PkiStatus::KeyUpdateWarning => Next::Refused(peer),
    })
}

/// checkAfter, within the limits.
fn clamp(check_after: i64, context: &Context<'_>) -> Duration {
    let limits = &context.peer.limits;
    let wished = Duration::from_secs(u64::try_from(check_after).unwrap_or_default());
    wished.min(limits.check_after_max).max(limits.check_after_min)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
