//! Reasons: one CamelCase word that says why something happened.
//!
//! The same word stands in conditions, Events, metrics, logs and the API, so it is spelled once, here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// No good copy of the certificate exists.
    Missing,
    /// The wish differs from the wish of the current certificate.
    WishChanged,
    /// The wish names another Issuer than the current certificate came from.
    IssuerChanged,
    /// The renewal time has come.
    RenewalDue,
    /// The certificate is past its end.
    Expired,
    /// Somebody asked for a renewal.
    RenewRequested,
    /// Somebody asked for a fresh enrolment.
    RecreateRequested,
    /// Somebody asked for revocation.
    RevokeRequested,
    /// An output was changed and the wish says `onDrift: Reissue`.
    Reissue,
    /// A certificate was issued and written.
    Issued,
    /// A certificate was renewed and written.
    Renewed,
    /// The CA revoked a certificate at our request.
    Revoked,
    /// The outputs carry the current certificate.
    UpToDate,
    /// An output was deleted.
    OutputDeleted,
    /// An output was changed.
    OutputChanged,
    /// An output was never written.
    OutputMissing,
    /// An output carries an earlier revision.
    OutputOutdated,
    /// An output was put back with the same bytes.
    Restored,
    /// A Secret of that name exists and occm did not write it.
    ForeignSecret,
    /// Another controller owns the Secret.
    OwnedByAnother,
    /// The Secret has another type than the wish asks for.
    WrongSecretType,
    /// Another writer keeps changing an output.
    Fighting,
    /// An output was changed and the wish says `onDrift: Alert`.
    DriftReported,
    /// The store refused access.
    NoAccess,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// An existing Secret was taken over without changing its data.
    Adopted,
    /// An existing Secret cannot be taken over.
    AdoptRefused,
    /// A field of the object is wrong.
    InvalidSpec,
    /// The Issuer does not exist.
    IssuerNotFound,
    /// The Issuer does not allow this namespace.
    IssuerNotAllowed,
    /// The Issuer has a wrong field or input.
    IssuerInvalid,
    /// The Issuer has no CMP identity yet.
    IssuerNotReady,
    /// A Secret or ConfigMap that is read does not exist or lacks the key.
    InputMissing,
    /// A Secret or ConfigMap that is read has unusable content.
    InputInvalid,
    /// The daily number of transactions of this Certificate is used up.
    BudgetExhausted,
    /// The last attempt failed and the next one is due later.
    BackingOff,
    /// The CA did not answer others, one request at a time tries it.
    CircuitOpen,
    /// Our clock and that of the CA or the API server differ by more than five minutes.
    ClockSkew,
    /// The CA wants more time.
    Pending,
    /// An exchange with the CA is going on.
    Issuing,
    /// The CA issued a certificate that lives shorter than `renewBefore`.
    ShortLived,
    /// The record cannot be read or is of a later version.
    RecordUnreadable,
    /// The CA could not be reached or did not answer.
    Unreachable,
    /// The CA answered that it is not available now.
    Unavailable,
    /// The CA refused the request.
    Rejected,
    /// A check of the CA's answer failed.
    Untrusted,
    /// The exchange cannot work with these settings.
    Misconfigured,
    /// A request may have reached the CA and its answer is lost.
    PossibleOrphan,
    /// A certificate was issued and cannot be used.
    Orphaned,
    /// The store could not be read or written.
    StoreFailed,
    /// The engine cannot run here.
    EngineUnavailable,
    /// Ready for use.
    Ready,
    /// The CMP identity is being enrolled.
    IdentityPending,
    /// The CMP identity is in use.
    IdentityReady,
    /// The CMP identity is past two thirds of its life and was not renewed.
    IdentityLate,
    /// The Issuer signs with its initial credentials.
    NoIdentity,
    /// The object is being deleted.
    Deleting,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::WishChanged,
        Self::IssuerChanged,
        Self::RenewalDue,
        Self::Expired,
        Self::RenewRequested,
        Self::RecreateRequested,
        Self::RevokeRequested,
        Self::Reissue,
        Self::Issued,
        Self::Renewed,
        Self::Revoked,
        Self::UpToDate,
        Self::OutputDeleted,
        Self::OutputChanged,
        Self::OutputMissing,
        Self::OutputOutdated,
        Self::Restored,
        Self::ForeignSecret,
        Self::OwnedByAnother,
        Self::WrongSecretType,
        Self::Fighting,
        Self::DriftReported,
        Self::NoAccess,
        Self::NamespaceTerminating,
        Self::Adopted,
        Self::AdoptRefused,
        Self::InvalidSpec,
        Self::IssuerNotFound,
        Self::IssuerNotAllowed,
        Self::IssuerInvalid,
        Self::IssuerNotReady,
        Self::InputMissing,
        Self::InputInvalid,
        Self::BudgetExhausted,
        Self::BackingOff,
        Self::CircuitOpen,
        Self::ClockSkew,
        Self::Pending,
        Self::Issuing,
        Self::ShortLived,
        Self::RecordUnreadable,
        Self::Unreachable,
        Self::Unavailable,
        Self::Rejected,
        Self::Untrusted,
        Self::Misconfigured,
        Self::PossibleOrphan,
        Self::Orphaned,
        Self::StoreFailed,
        Self::EngineUnavailable,
        Self::Ready,
        Self::IdentityPending,
        Self::IdentityReady,
        Self::IdentityLate,
        Self::NoIdentity,
        Self::Deleting,
    ];

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::WishChanged => "WishChanged",
            Self::IssuerChanged => "IssuerChanged",
            Self::RenewalDue => "RenewalDue",
            Self::Expired => "Expired",
            Self::RenewRequested => "RenewRequested",
            Self::RecreateRequested => "RecreateRequested",
            Self::RevokeRequested => "RevokeRequested",
            Self::Reissue => "Reissue",
            Self::Issued => "Issued",
            Self::Renewed => "Renewed",
            Self::Revoked => "Revoked",
            Self::UpToDate => "UpToDate",
            Self::OutputDeleted => "OutputDeleted",
            Self::OutputChanged => "OutputChanged",
            Self::OutputMissing => "OutputMissing",
            Self::OutputOutdated => "OutputOutdated",
            Self::Restored => "Restored",
            Self::ForeignSecret => "ForeignSecret",
            Self::OwnedByAnother => "OwnedByAnother",
            Self::WrongSecretType => "WrongSecretType",
            Self::Fighting => "Fighting",
            Self::DriftReported => "DriftReported",
            Self::NoAccess => "NoAccess",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::Adopted => "Adopted",
            Self::AdoptRefused => "AdoptRefused",
            Self::InvalidSpec => "InvalidSpec",
            Self::IssuerNotFound => "IssuerNotFound",
            Self::IssuerNotAllowed => "IssuerNotAllowed",
            Self::IssuerInvalid => "IssuerInvalid",
            Self::IssuerNotReady => "IssuerNotReady",
            Self::InputMissing => "InputMissing",
            Self::InputInvalid => "InputInvalid",
            Self::BudgetExhausted => "BudgetExhausted",
            Self::BackingOff => "BackingOff",
            Self::CircuitOpen => "CircuitOpen",
            Self::ClockSkew => "ClockSkew",
            Self::Pending => "Pending",
            Self::Issuing => "Issuing",
            Self::ShortLived => "ShortLived",
            Self::RecordUnreadable => "RecordUnreadable",
            Self::Unreachable => "Unreachable",
            Self::Unavailable => "Unavailable",
            Self::Rejected => "Rejected",
            Self::Untrusted => "Untrusted",
            Self::Misconfigured => "Misconfigured",
            Self::PossibleOrphan => "PossibleOrphan",
            Self::Orphaned => "Orphaned",
            Self::StoreFailed => "StoreFailed",
            Self::EngineUnavailable => "EngineUnavailable",
            Self::Ready => "Ready",
            Self::IdentityPending => "IdentityPending",
            Self::IdentityReady => "IdentityReady",
            Self::IdentityLate => "IdentityLate",
            Self::NoIdentity => "NoIdentity",
            Self::Deleting => "Deleting",
        }
    }

    /// One sentence that says what the word means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Missing => "no good copy of the certificate exists",
            Self::WishChanged => "the wish differs from the wish of the current certificate",
            Self::IssuerChanged => "the wish names another Issuer than the current certificate came from",
            Self::RenewalDue => "the renewal time has come",
            Self::Expired => "the certificate is past its end",
            Self::RenewRequested => "somebody asked for a renewal",
            Self::RecreateRequested => "somebody asked for a fresh enrolment",
            Self::RevokeRequested => "somebody asked for revocation",
            Self::Reissue => "an output was changed and the wish says `onDrift: Reissue`",
            Self::Issued => "a certificate was issued and written",
            Self::Renewed => "a certificate was renewed and written",
            Self::Revoked => "the CA revoked a certificate at our request",
            Self::UpToDate => "the outputs carry the current certificate",
            Self::OutputDeleted => "an output was deleted",
            Self::OutputChanged => "an output was changed",
            Self::OutputMissing => "an output was never written",
            Self::OutputOutdated => "an output carries an earlier revision",
            Self::Restored => "an output was put back with the same bytes",
            Self::ForeignSecret => "a Secret of that name exists and occm did not write it",
            Self::OwnedByAnother => "another controller owns the Secret",
            Self::WrongSecretType => "the Secret has another type than the wish asks for",
            Self::Fighting => "another writer keeps changing an output",
            Self::DriftReported => "an output was changed and the wish says `onDrift: Alert`",
            Self::NoAccess => "the store refused access",
            Self::NamespaceTerminating => "the namespace is being deleted",
            Self::Adopted => "an existing Secret was taken over without changing its data",
            Self::AdoptRefused => "an existing Secret cannot be taken over",
            Self::InvalidSpec => "a field of the object is wrong",
            Self::IssuerNotFound => "the Issuer does not exist",
            Self::IssuerNotAllowed => "the Issuer does not allow this namespace",
            Self::IssuerInvalid => "the Issuer has a wrong field or input",
            Self::IssuerNotReady => "the Issuer has no CMP identity yet",
            Self::InputMissing => "a Secret or ConfigMap that is read does not exist or lacks the key",
            Self::InputInvalid => "a Secret or ConfigMap that is read has unusable content",
            Self::BudgetExhausted => "the daily number of transactions of this Certificate is used up",
            Self::BackingOff => "the last attempt failed and the next one is due later",
            Self::CircuitOpen => "the CA did not answer others, one request at a time tries it",
            Self::ClockSkew => {
                "our clock and that of the CA or the API server differ by more than five minutes"
            }
            Self::Pending => "the CA wants more time",
            Self::Issuing => "an exchange with the CA is going on",
            Self::ShortLived => "the CA issued a certificate that lives shorter than `renewBefore`",
            Self::RecordUnreadable => "the record cannot be read or is of a later version",
            Self::Unreachable => "the CA could not be reached or did not answer",
            Self::Unavailable => "the CA answered that it is not available now",
            Self::Rejected => "the CA refused the request",
            Self::Untrusted => "a check of the CA's answer failed",
            Self::Misconfigured => "the exchange cannot work with these settings",
            Self::PossibleOrphan => "a request may have reached the CA and its answer is lost",
            Self::Orphaned => "a certificate was issued and cannot be used",
            Self::StoreFailed => "the store could not be read or written",
            Self::EngineUnavailable => "the engine cannot run here",
            Self::Ready => "ready for use",
            Self::IdentityPending => "the CMP identity is being enrolled",
            Self::IdentityReady => "the CMP identity is in use",
            Self::IdentityLate => "the CMP identity is past two thirds of its life and was not renewed",
            Self::NoIdentity => "the Issuer signs with its initial credentials",
            Self::Deleting => "the object is being deleted",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_spelling_everywhere() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(format!("{reason:?}"), reason.as_str());
            assert!(!reason.meaning().is_empty());
        }
    }
}
