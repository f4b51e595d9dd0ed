//! Faults on demand: what a broken network, a broken CA or an attacker would do, as often as a test wants it.
//!
//! A fault is armed with [`Faults::arm`] or `POST /-/faults`, applies to the next requests that match, and is used up
//! after `times` of them. Each fault counts how often it struck.
//!
//! ```text
//!  request ─► Down, DropBefore, HttpError ─► (work, issuing) ─► content faults ─► protection ─► remembered
//!          ─► wire faults: DropAnswer, Garbage, Truncate, Oversized, Delay, DateSkew ─► client
//! ```
//!
//! A repeated request is answered with the remembered bytes, so a wire fault hits one delivery only.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};

use crate::config::RequestKind;

/// Most faults that can be armed at the same time.
pub const MAX_FAULTS: usize = 1000;

/// One fault, which requests it hits, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// The kind of request that is hit. None: every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKind>,
    /// How many requests are hit. None: all, until the fault is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many matching requests pass before the first is hit.
    #[serde(default)]
    pub skip: u32,
}

impl Fault {
    /// Hits every request until it is cleared.
    pub fn always(kind: FaultKind) -> Self {
        Self {
            kind,
            request: None,
            times: None,
            skip: 0,
        }
    }

    /// Hits the next request.
    pub fn once(kind: FaultKind) -> Self {
        Self {
            times: Some(1),
            ..Self::always(kind)
        }
    }

    /// Hits requests of this kind only.
    #[must_use]
    pub fn on(self, request: RequestKind) -> Self {
        Self {
            request: Some(request),
            ..self
        }
    }
}

/// What happens to a request that is hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// The CA is down: the connection is closed and nothing is looked at. In memory: the CA was not reached.
    Down,
    /// The connection is closed before anything is done.
    DropBefore,
    /// The request is served (a certificate may be issued), then the connection is closed without an answer.
    DropAnswer,
    /// The answer is late.
    Delay {
        /// By how much, in milliseconds.
        millis: u64,
    },
    /// The answer is a page of HTML with an HTTP status such as 503; nothing is done.
    HttpError {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is bytes that are no DER.
    Garbage,
    /// The answer stops in the middle, with a matching Content-Length.
    Truncate,
    /// The answer is followed by so many bytes that it exceeds any limit of a client.
    Oversized {
        /// Length of the answer in bytes.
        bytes: usize,
    },
    /// The HTTP header `Date` is wrong.
    DateSkew {
        /// By how many seconds; negative is the past.
        seconds: i64,
    },
    /// The CA's clock is wrong: messageTime and the HTTP header `Date`.
    ClockSkew {
        /// By how many seconds; negative is the past.
        seconds: i64,
    },
    /// recipNonce is not the request's senderNonce.
    WrongNonce,
    /// transactionID is another.
    WrongTransactionId,
    /// The answer has no protection.
    NoProtection,
    /// The protection does not fit the answer.
    WrongProtection,
    /// The answer is signed by a certificate of the same name under another root.
    ForeignSigner,
    /// The PBM parameters demand some billions of iterations.
    HugeIterations,
    /// The certificate holds another public key than the request.
    OtherKey,
    /// The certificate has another subject than the request.
    OtherSubject {
        /// The status that the CA claims.
        #[serde(default)]
        status: ClaimedStatus,
    },
    /// The certificate has other names than the request.
    OtherSan {
        /// The status that the CA claims.
        #[serde(default)]
        status: ClaimedStatus,
    },
    /// The certificate expired yesterday.
    PastValidity,
    /// The certificate is valid from tomorrow on.
    FutureValidity,
    /// The certificate has the usages of another purpose (code signing) instead of those requested.
    OtherUsage,
    /// The certificate is a CA certificate.
    Authority,
    /// The certificate is issued by a CA that nobody trusts.
    ForeignIssuer,
    /// The answer is `waiting`, whatever the client does.
    EndlessWaiting,
    /// The request is rejected; a pollReq before the last one is refused with an error message.
    Reject {
        /// Bit of PKIFailureInfo (RFC 9810, 5.2.3), such as 2 for badRequest.
        failure: u8,
        /// statusString.
        #[serde(default)]
        text: String,
    },
    /// The request is answered with an error message without protection.
    ErrorUnprotected {
        /// Bit of PKIFailureInfo.
        failure: u8,
    },
}

/// The status that the CA claims for a certificate with other contents than asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedStatus {
    /// accepted: a lie.
    #[default]
    Accepted,
    /// grantedWithMods: allowed, and the client has to judge.
    GrantedWithMods,
}

/// An armed fault and how often it struck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Armed {
    /// The fault; `times` is what is left of it.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it has hit.
    pub hits: u64,
}

/// The faults of one CA.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Vec<Armed>>,
    /// Number of armed faults, so that a CA without faults takes no lock.
    live: AtomicUsize,
}

impl Faults {
    /// Arms one more fault. Beyond [`MAX_FAULTS`] the oldest goes.
    pub fn arm(&self, fault: Fault) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.len() >= MAX_FAULTS {
            armed.remove(0);
        }
        armed.push(Armed { fault, hits: 0 });
        self.live.store(armed.len(), Ordering::Release);
    }

    /// Disarms all faults and forgets their counts.
    pub fn clear(&self) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.clear();
        self.live.store(0, Ordering::Release);
    }

    /// The faults with their counts, also those that are used up.
    pub fn list(&self) -> Vec<Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were hit since the last [`Self::clear`].
    pub fn hits(&self) -> u64 {
        self.list().iter().map(|armed| armed.hits).sum()
    }

    /// The faults that strike this request. Each of them is used up by one.
    pub(crate) fn strike(&self, request: RequestKind) -> Struck {
        if self.live.load(Ordering::Acquire) == 0 {
            return Struck(Vec::new());
        }
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut struck = Vec::new();
        for entry in armed.iter_mut() {
            let matches = entry.fault.request.is_none_or(|wanted| wanted == request);
            if !matches || entry.fault.times == Some(0) {
                continue;
            }
            if entry.fault.skip > 0 {
                entry.fault.skip -= 1;
                continue;
            }
            if let Some(times) = entry.fault.times.as_mut() {
                *times -= 1;
            }
            entry.hits += 1;
            struck.push(entry.fault.kind.clone());
        }
        Struck(struck)
    }
}

/// The faults that strike one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Struck(Vec<FaultKind>);

impl Struck {
    pub(crate) fn has(&self, kind: &FaultKind) -> bool {
        self.0.contains(kind)
    }

    /// Those that struck the request, except that it had to wait, and those that strike the poll for its answer.
    pub(crate) fn and(&self, later: &Self) -> Self {
        let waited = self.0.iter().filter(|kind| **kind != FaultKind::EndlessWaiting);
        Self(waited.chain(&later.0).cloned().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FaultKind> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_armed_for_and_only_its_kind_of_request() {
        let faults = Faults::default();
        faults.arm(Fault {
            times: Some(2),
            skip: 1,
            ..Fault::always(FaultKind::Garbage).on(RequestKind::Ir)
        });
        let struck: Vec<bool> = [
            RequestKind::Ir,
            RequestKind::Cr,
            RequestKind::Ir,
            RequestKind::Ir,
            RequestKind::Ir,
        ]
        .into_iter()
        .map(|kind| faults.strike(kind).has(&FaultKind::Garbage))
        .collect();
        assert_eq!(struck, [false, false, true, true, false]);
        assert_eq!(faults.hits(), 2);
        faults.clear();
        assert_eq!(faults.list(), []);
    }

    #[test]
    fn a_fault_is_written_as_flat_json() {
        let fault: Fault =
            serde_json::from_str(r#"{"fault":"reject","failure":2,"text":"no","request":"kur","times":3}"#)
                .unwrap();
        assert_eq!(
            fault.kind,
            FaultKind::Reject {
                failure: 2,
                text: "no".to_owned()
            }
        );
        assert_eq!(
            (fault.request, fault.times, fault.skip),
            (Some(RequestKind::Kur), Some(3), 0)
        );
        let again: Fault = serde_json::from_str(&serde_json::to_string(&fault).unwrap()).unwrap();
        assert_eq!(again, fault);
    }
}
