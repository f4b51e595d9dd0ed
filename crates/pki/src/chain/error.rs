//! Why a certificate is not trusted.
//!
//! The reasons are told apart because people act on them differently: a missing issuer is added to the trust settings, an
//! expired certificate is renewed, a wrong signature is looked into. Each names the certificate by its subject.

use const_oid::ObjectIdentifier;
use jiff::Timestamp;

use crate::error::Error;
use crate::name::Name;

/// Most characters of a name in an error. Names in certificates come from others and may be long.
const MAX_SHOWN: usize = 160;

/// The reason why no path was accepted. Subjects and issuers are RFC 4514, bounded in length, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// After its last moment.
    #[error("certificate of {subject} expired at {not_after}")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its last moment.
        not_after: Timestamp,
    },
    /// Before its first moment.
    #[error("certificate of {subject} is not valid before {not_before}")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its first moment.
        not_before: Timestamp,
    },
    /// There is neither an anchor nor an intermediate certificate with the issuer's name.
    #[error("issuer {issuer} of the certificate of {subject} is not known")]
    UnknownIssuer {
        /// Whose certificate.
        subject: String,
        /// The issuer that is missing.
        issuer: String,
    },
    /// The certificate with the issuer's name did not sign it.
    #[error("certificate of {subject} is not signed with the key of {issuer}")]
    BadSignature {
        /// Whose certificate.
        subject: String,
        /// Who should have signed it.
        issuer: String,
    },
    /// The signature cannot be checked.
    #[error("signature of the certificate of {subject} cannot be checked: {reason}")]
    UnsupportedSignature {
        /// Whose certificate.
        subject: String,
        /// What is not supported.
        reason: Error,
    },
    /// An issuer's certificate does not say that it is a CA (RFC 5280, 4.2.1.9).
    #[error("certificate of {subject} is not a CA certificate")]
    NotACa {
        /// Whose certificate.
        subject: String,
    },
    /// An issuer's key usage forbids signing certificates (RFC 5280, 4.2.1.3).
    #[error("key usage of the certificate of {subject} does not allow it to sign certificates")]
    MayNotSign {
        /// Whose certificate.
        subject: String,
    },
    /// More CA certificates below an issuer than its basic constraints allow.
    #[error("path length {allowed} of the certificate of {subject} is exceeded")]
    PathTooLong {
        /// Whose certificate.
        subject: String,
        /// How many were allowed.
        allowed: u32,
    },
    /// A name is outside the name constraints of an issuer (RFC 5280, 4.2.1.10), or they cannot be judged.
    #[error("certificate of {subject} violates the name constraints of an issuer")]
    NameConstraint {
        /// Whose certificate.
        subject: String,
    },
    /// Name constraints above a CA's certificate. Nothing here can judge them, so they are taken as violated.
    #[error("name constraints of {issuer} above a CA certificate are not supported")]
    NameConstraintsOnCa {
        /// Whose constraints.
        issuer: String,
    },
    /// A critical extension that this program does not understand (RFC 5280, 4.2).
    #[error("certificate of {subject} has the critical extension {oid}, which is not supported")]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
        /// Which extension.
        oid: ObjectIdentifier,
    },
    /// Extended key usages of the leaf do not include the purpose.
    #[error("certificate of {subject} may not be used for {wanted}")]
    WrongPurpose {
        /// Whose certificate.
        subject: String,
        /// The purpose, in cert-manager's word.
        wanted: String,
    },
    /// More certificates or signatures to try than is reasonable.
    #[error("too many certificates lead from the certificate towards an anchor")]
    TooComplex,
    /// Anything else that rustls-webpki does not like.
    #[error("certificate of {subject} is not acceptable: {reason}")]
    NotAcceptable {
        /// Whose certificate.
        subject: String,
        /// rustls-webpki's word for it.
        reason: String,
    },
}

/// A name for an error message: escaped by RFC 4514, and cut.
///
/// Most names are shorter than the limit; one that is cut ends in three dots.
pub(crate) fn shown(name: &Name) -> String {
    let text = name.to_rfc4514();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None if text.is_empty() => "(no name)".to_owned(),
        None => text,
    }
}
