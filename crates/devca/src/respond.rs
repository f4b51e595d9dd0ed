//! From a request to its answer (RFC 9810, 5.3; RFC 9483, 3.5 and 5.1).
//!
//! ```text
//!  bytes ─► decode ─► who is it? ─► header in order? ─► transaction ─► step ─► protect ─► remember ─► reply
//!             │             │                 │             │           │
//!             └─ HTTP 400   └── error ────────┴── error     ├ repeat    ├ waiting / pollRep
//!                                                           └ in use    ├ ip, cp, kup, rp, genp, pkiConf
//!                                                                       └ rejection
//! ```

use std::sync::{Arc, PoisonError};

use cmp::asn1::{
    ErrorMsg, InfoTypeAndValue, PkiBody, PkiHeader, PkiStatus, PkiStatusInfo, PollRepEntry, der::asn1::Int,
};
use jiff::{SignedDuration, Timestamp};
use pki::Certificate;

use crate::{
    DevCa, FaultKind, Policy, Reply, RequestKind,
    config::Repeat,
    faults::Struck,
    refusal::{Failure, Refusal},
    transactions::{self, Confirming, Phase, Taken, Transaction},
};

use client::Client;
use wire::Incoming;

mod client;
mod confirm;
mod delivery;
mod enrol;
mod general;
mod header;
mod revoke;
mod wire;

/// One request that is being worked on: it is well formed and we know who sent it.
pub(crate) struct Job<'a> {
    pub(crate) ca: &'a DevCa,
    pub(crate) policy: Arc<Policy>,
    pub(crate) kind: RequestKind,
    pub(crate) header: &'a PkiHeader,
    pub(crate) body: &'a PkiBody,
    pub(crate) transaction: &'a [u8],
    pub(crate) client: &'a Client,
    pub(crate) struck: &'a Struck,
    pub(crate) now: Timestamp,
}

/// What goes back, before it is protected.
pub(crate) struct Answer {
    body: PkiBody,
    /// generalInfo.
    info: Vec<InfoTypeAndValue>,
    /// Certificates besides those of the signer.
    extra: Vec<Certificate>,
    /// How the transaction goes on.
    phase: Phase,
}

impl DevCa {
    /// Answers one request at the time `now`. Never fails: whatever comes in, something goes out, unless a fault
    /// wants it otherwise.
    pub fn respond(&self, request: &[u8], now: Timestamp) -> Reply {
        self.ledger.expire(now);
        let decoded = Incoming::decode(request);
        let kind = decoded
            .as_ref()
            .map_or(RequestKind::Other, |incoming| kind(incoming.body()));
        self.ledger.count_request(kind);
        let struck = self.faults.strike(kind);
        if let Some(reply) = delivery::instead_of_work(&struck) {
            return reply;
        }
        match decoded {
            Ok(incoming) => delivery::deliver(self.answer(&incoming, kind, &struck, now), &struck),
            Err(reason) => delivery::undecodable(&reason, &struck),
        }
    }

    fn answer(&self, incoming: &Incoming<'_>, kind: RequestKind, struck: &Struck, now: Timestamp) -> Vec<u8> {
        let policy = self.policy();
        if let Some(failure) = forged_error(struck) {
            let refusal = Refusal {
                failure,
                text: "an error that nobody has signed".to_owned(),
            };
            return self.unprotected_error(incoming.header(), &refusal, now);
        }
        let client = match self.authenticate(incoming, now) {
            Ok(client) => client,
            Err(refusal) => {
                self.ledger.count_refusal();
                return self.error_to_stranger(incoming.header(), &refusal, &policy, struck, now);
            }
        };
        let job = Job {
            ca: self,
            policy,
            kind,
            header: incoming.header(),
            body: incoming.body(),
            transaction: incoming.transaction_id(),
            client: &client,
            struck,
            now,
        };
        if let Err(refusal) = header::check(job.header, &job.policy, now) {
            return self.refuse_outside(&job, &refusal);
        }
        self.in_transaction(&job, incoming)
    }

    fn in_transaction(&self, job: &Job<'_>, incoming: &Incoming<'_>) -> Vec<u8> {
        let hash = pki::digest::sha256(incoming.bytes());
        let taken = lock(&self.transactions).take(job.transaction, job.now, self.config.transaction_limit);
        let mut transaction = match taken {
            Taken::Busy => {
                let refusal = Refusal::new(
                    Failure::SystemUnavailable,
                    "the last message is still being worked on",
                );
                return self.refuse_outside(job, &refusal);
            }
            Taken::New if begins_transaction(job.kind) => {
                transactions::begin(job.client.name.clone(), job.client.signer().cloned())
            }
            Taken::New => {
                lock(&self.transactions).release(job.transaction);
                return self.stray(job);
            }
            Taken::Known(known) => match self.not_the_next_message(job, &known, &hash) {
                Some(bytes) => {
                    self.put(job, known, None);
                    return bytes;
                }
                None => known,
            },
        };
        let outcome = step(job, incoming, &mut transaction);
        let answer = outcome.unwrap_or_else(|(id, refusal)| {
            self.ledger.count_refusal();
            refusal_answer(job.kind, id, &refusal)
        });
        transaction.phase = answer.phase.clone();
        let (bytes, nonce) = self.finish(job, answer);
        transaction.nonce = nonce;
        self.put(job, transaction, Some((hash, bytes.clone())));
        bytes
    }

    fn put(&self, job: &Job<'_>, transaction: Box<Transaction>, answered: Option<([u8; 32], Vec<u8>)>) {
        let seconds = i64::try_from(job.policy.transaction_seconds).unwrap_or(i64::from(u32::MAX));
        let expires = job
            .now
            .saturating_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX);
        lock(&self.transactions).put(job.transaction.to_vec(), transaction, answered, expires);
    }

    /// The answer to a message that is not the next one of its transaction: a repeat, a new request under an old
    /// identifier, somebody else's.
    fn not_the_next_message(&self, job: &Job<'_>, known: &Transaction, hash: &[u8; 32]) -> Option<Vec<u8>> {
        if known.client != job.client.name {
            let refusal = Refusal::new(
                Failure::NotAuthorized,
                "the transaction belongs to another client",
            );
            return Some(self.refuse_outside(job, &refusal));
        }
        if let Some(before) = known.answer_to(hash) {
            self.ledger.count_repeat();
            return Some(self.repeated(job, before, &known.phase));
        }
        if begins_transaction(job.kind) {
            let refusal = Refusal::new(
                Failure::TransactionIdInUse,
                "the transaction identifier is in use",
            );
            return Some(self.refuse_outside(job, &refusal));
        }
        let nonce = job
            .header
            .recip_nonce
            .as_ref()
            .map(|nonce| nonce.as_bytes())
            .unwrap_or_default();
        if nonce != known.nonce.as_slice() {
            let refusal = Refusal::new(
                Failure::BadRecipientNonce,
                "recipNonce is not that of the last answer",
            );
            return Some(self.refuse_outside(job, &refusal));
        }
        None
    }

    fn repeated(&self, job: &Job<'_>, before: &[u8], phase: &Phase) -> Vec<u8> {
        // A confirmation that still waits has confirmed nothing: to say so would be a lie that costs the certificate.
        let undecided = job.kind == RequestKind::CertConf && matches!(phase, Phase::Waiting { .. });
        let refusal = match job.policy.repeat {
            _ if undecided => return before.to_vec(),
            Repeat::SameAnswer => return before.to_vec(),
            // Polls change nothing; every CA answers them again.
            Repeat::TransactionIdInUse | Repeat::BadRequest if job.kind == RequestKind::PollReq => {
                return before.to_vec();
            }
            Repeat::TransactionIdInUse | Repeat::BadRequest if job.kind == RequestKind::CertConf => {
                Refusal::new(Failure::CertConfirmed, "the certificate was confirmed before")
            }
            Repeat::TransactionIdInUse => Refusal::new(
                Failure::TransactionIdInUse,
                "the transaction identifier is in use",
            ),
            Repeat::BadRequest => Refusal::new(Failure::BadRequest, "this request was served before"),
        };
        self.refuse_outside(job, &refusal)
    }

    /// A message that should belong to a transaction, but there is none.
    fn stray(&self, job: &Job<'_>) -> Vec<u8> {
        if job.kind == RequestKind::Error {
            return self.finish(job, confirm::confirmed()).0;
        }
        self.refuse_outside(
            job,
            &Refusal::new(Failure::BadRequest, "there is no such transaction"),
        )
    }

    /// An error message that leaves the transaction as it is.
    fn refuse_outside(&self, job: &Job<'_>, refusal: &Refusal) -> Vec<u8> {
        self.ledger.count_refusal();
        self.finish(job, error_answer(refusal)).0
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// -- One step of a transaction ------------------------------------------------------------------------------------

type Refused = (i64, Refusal);

fn step(job: &Job<'_>, incoming: &Incoming<'_>, transaction: &mut Transaction) -> Result<Answer, Refused> {
    let id = enrol::request_id(job.body, job.policy.pkcs10_request_id);
    match job.kind {
        RequestKind::PollReq => poll(job, transaction),
        RequestKind::Error => {
            if let Phase::Confirming(confirming) = &transaction.phase {
                confirm::give_up(job, confirming);
            }
            Ok(confirm::confirmed())
        }
        _ => {
            let confirming = match &transaction.phase {
                Phase::Confirming(confirming) => Some(confirming.clone()),
                Phase::Waiting { .. } | Phase::Closed => None,
            };
            match polls_wanted(job) {
                0 => work(job, confirming.as_ref()).map_err(|refusal| (id, refusal)),
                left => Ok(wait(job, incoming, id, left, confirming)),
            }
        }
    }
}

fn polls_wanted(job: &Job<'_>) -> u32 {
    if job.struck.has(&FaultKind::EndlessWaiting) {
        return u32::MAX;
    }
    job.policy.polls.get(&job.kind).copied().unwrap_or(0)
}

/// What the request is about, now.
fn work(job: &Job<'_>, confirming: Option<&Confirming>) -> Result<Answer, Refusal> {
    if let Some(refusal) = rejection_on_demand(job.struck) {
        if let Some(confirming) = confirming {
            confirm::give_up(job, confirming);
        }
        return Err(refusal);
    }
    match job.kind {
        RequestKind::Ir | RequestKind::Cr | RequestKind::Kur | RequestKind::P10cr => enrol::answer(job),
        RequestKind::Rr => revoke::answer(job),
        RequestKind::Genm => general::answer(job),
        RequestKind::CertConf => match confirming {
            Some(confirming) => confirm::answer(job, confirming),
            None => Err(Refusal::new(
                Failure::CertConfirmed,
                "nothing is to be confirmed in this transaction",
            )),
        },
        RequestKind::PollReq | RequestKind::Error | RequestKind::Other => Err(Refusal::new(
            Failure::BadRequest,
            "this kind of message is not served",
        )),
    }
}

fn wait(
    job: &Job<'_>,
    incoming: &Incoming<'_>,
    id: i64,
    left: u32,
    confirming: Option<Confirming>,
) -> Answer {
    if let Some(confirming) = &confirming {
        keep_alive(job, confirming);
    }
    let (body, request_id) = if job.kind.is_enrolment() {
        (enrol::waiting(job.kind, id), id)
    } else {
        let status = PkiStatusInfo::new(PkiStatus::Waiting);
        (
            PkiBody::Error(ErrorMsg {
                status,
                error_code: None,
                error_details: None,
            }),
            -1,
        )
    };
    let request = incoming.bytes().to_vec();
    let phase = Phase::Waiting {
        request,
        request_id,
        left,
        confirming,
        struck: job.struck.clone(),
    };
    Answer {
        body,
        info: Vec::new(),
        extra: Vec::new(),
        phase,
    }
}

/// A client that has sent certConf has confirmed in time, however long the CA lets it poll.
fn keep_alive(job: &Job<'_>, confirming: &Confirming) {
    let until = job
        .now
        .saturating_add(SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MAX);
    if job
        .ca
        .ledger
        .find(&confirming.serial)
        .is_some_and(|entry| !entry.state.is_revoked())
    {
        job.ca
            .ledger
            .set_state(&confirming.serial, crate::State::Issued { until });
    }
}

fn poll(job: &Job<'_>, transaction: &mut Transaction) -> Result<Answer, Refused> {
    let Phase::Waiting {
        request,
        request_id,
        left,
        confirming,
        struck,
    } = &transaction.phase
    else {
        return Err((
            -1,
            Refusal::new(
                Failure::BadRequest,
                "there is nothing to poll for in this transaction",
            ),
        ));
    };
    let PkiBody::PollReq(entries) = job.body else {
        return Err((-1, Refusal::new(Failure::BadRequest, "this is no pollReq")));
    };
    let fits = |id: i64| id == *request_id || (matches!(id, -1 | 0) && matches!(request_id, -1 | 0));
    if !matches!(entries.as_slice(), [entry] if fits(entry.cert_req_id)) {
        return Err((
            -1,
            Refusal::new(Failure::BadRequest, "certReqId is not that of the answer"),
        ));
    }
    if *left > 1 || job.struck.has(&FaultKind::EndlessWaiting) {
        if let Some(refusal) = rejection_on_demand(job.struck) {
            return Err((-1, refusal));
        }
        let mut phase = transaction.phase.clone();
        if let Phase::Waiting { left, .. } = &mut phase
            && *left != u32::MAX
        {
            *left = left.saturating_sub(1).max(1);
        }
        let entry = PollRepEntry {
            cert_req_id: *request_id,
            check_after: i64::from(job.policy.check_after_seconds),
            reason: None,
        };
        return Ok(Answer {
            body: PkiBody::PollRep(vec![entry]),
            info: Vec::new(),
            extra: Vec::new(),
            phase,
        });
    }
    let waited = Incoming::decode(request).map_err(|_| {
        (
            *request_id,
            Refusal::new(Failure::SystemFailure, "the request is lost"),
        )
    })?;
    let kind = kind(waited.body());
    let struck = struck.and(job.struck);
    let job = Job {
        ca: job.ca,
        policy: Arc::clone(&job.policy),
        kind,
        header: waited.header(),
        body: waited.body(),
        transaction: job.transaction,
        client: job.client,
        struck: &struck,
        now: job.now,
    };
    work(&job, confirming.as_ref()).or_else(|refusal| {
        job.ca.ledger.count_refusal();
        Ok(refusal_answer(kind, *request_id, &refusal))
    })
}

// -- Refusals -----------------------------------------------------------------------------------------------------

/// A rejection in the form that the kind of request asks for.
fn refusal_answer(kind: RequestKind, request_id: i64, refusal: &Refusal) -> Answer {
    let body = match kind {
        RequestKind::Ir | RequestKind::Cr | RequestKind::Kur | RequestKind::P10cr => {
            enrol::refused(kind, request_id, refusal)
        }
        RequestKind::Rr => revoke::refused(refusal),
        RequestKind::Genm
        | RequestKind::CertConf
        | RequestKind::PollReq
        | RequestKind::Error
        | RequestKind::Other => return error_answer(refusal),
    };
    Answer {
        body,
        info: Vec::new(),
        extra: Vec::new(),
        phase: Phase::Closed,
    }
}

fn error_answer(refusal: &Refusal) -> Answer {
    Answer {
        body: error_body(refusal),
        info: Vec::new(),
        extra: Vec::new(),
        phase: Phase::Closed,
    }
}

fn error_body(refusal: &Refusal) -> PkiBody {
    PkiBody::Error(ErrorMsg {
        status: refusal.status(),
        error_code: None,
        error_details: None,
    })
}

fn rejection_on_demand(struck: &Struck) -> Option<Refusal> {
    struck.iter().find_map(|fault| match fault {
        FaultKind::Reject { failure, text } => Some(Refusal {
            failure: *failure,
            text: text.clone(),
        }),
        _ => None,
    })
}

fn forged_error(struck: &Struck) -> Option<u8> {
    struck.iter().find_map(|fault| match fault {
        FaultKind::ErrorUnprotected { failure } => Some(*failure),
        _ => None,
    })
}

// -- Kinds --------------------------------------------------------------------------------------------------------

fn kind(body: &PkiBody) -> RequestKind {
    match body {
        PkiBody::Ir(_) => RequestKind::Ir,
        PkiBody::Cr(_) => RequestKind::Cr,
        PkiBody::Kur(_) => RequestKind::Kur,
        PkiBody::P10cr(_) => RequestKind::P10cr,
        PkiBody::Rr(_) => RequestKind::Rr,
        PkiBody::Genm(_) => RequestKind::Genm,
        PkiBody::CertConf(_) => RequestKind::CertConf,
        PkiBody::PollReq(_) => RequestKind::PollReq,
        PkiBody::Error(_) => RequestKind::Error,
        _ => RequestKind::Other,
    }
}

fn begins_transaction(kind: RequestKind) -> bool {
    kind.is_enrolment() || matches!(kind, RequestKind::Rr | RequestKind::Genm)
}

/// A serial number as the ledger writes it.
pub(crate) fn serial(number: &Int) -> String {
    match number.as_bytes() {
        [0, rest @ ..] if !rest.is_empty() => pki::digest::hex(rest),
        all => pki::digest::hex(all),
    }
}
