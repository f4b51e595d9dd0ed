//! Why a client does not get what it wants: a bit of PKIFailureInfo and a sentence.

use crate::error::Error;

/// Bits of PKIFailureInfo that this CA uses (RFC 9810, 5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Failure {
    BadAlg = 0,
    BadMessageCheck = 1,
    BadRequest = 2,
    BadTime = 3,
    BadCertId = 4,
    BadDataFormat = 5,
    BadPop = 9,
    CertRevoked = 10,
    CertConfirmed = 11,
    BadRecipientNonce = 13,
    BadSenderNonce = 18,
    BadCertTemplate = 19,
    SignerNotTrusted = 20,
    TransactionIdInUse = 21,
    UnsupportedVersion = 22,
    NotAuthorized = 23,
    SystemFailure = 25,
}

/// A refusal. Its text goes to the client, so it holds nothing but what the client knows already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Bit of PKIFailureInfo.
    pub(crate) failure: u8,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(failure: Failure, text: impl Into<String>) -> Self {
        Self {
            failure: failure as u8,
            text: text.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(Failure::SystemFailure, error.to_string())
    }
}

impl From<der::Error> for Refusal {
    fn from(_: der::Error) -> Self {
        Self::new(Failure::SystemFailure, "cannot encode")
    }
}
