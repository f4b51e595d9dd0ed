//! Why a client does not get what it wants: a bit of PKIFailureInfo and a sentence.

use cmp::asn1::{FailureInfo, PkiStatus, PkiStatusInfo};

use crate::error::Error;

/// Bits of PKIFailureInfo that this CA uses (RFC 9810, 5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "the names are those of the RFC")]
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
    WrongIntegrity = 12,
    BadRecipientNonce = 13,
    BadSenderNonce = 18,
    BadCertTemplate = 19,
    SignerNotTrusted = 20,
    TransactionIdInUse = 21,
    UnsupportedVersion = 22,
    NotAuthorized = 23,
    SystemUnavailable = 24,
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

    /// As it goes into an answer.
    pub(crate) fn status(&self) -> PkiStatusInfo {
        match FailureInfo::bit(self.failure.min(31)) {
            Ok(failure) => PkiStatusInfo::rejection(failure, &self.text),
            Err(_) => PkiStatusInfo::new(PkiStatus::Rejection),
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
