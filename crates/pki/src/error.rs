//! What can be wrong with an input.
//!
//! Variants say *what* failed and *which kind* of input it was. The input itself is never part of an error: it may
//! hold a secret, and it may come from a peer that would like to write into our log.
//!
//! There is one type for the crate, because callers do the same with all of them: show the text, and take the class from
//! where they were (a setting is misconfigured, a peer's bytes are untrusted). Path verification is different, there the
//! reason itself is acted upon, so it has a type of its own: [`crate::ChainError`].

use std::borrow::Cow;
use std::fmt;

/// The kind of input an [`Error`] is about.
///
/// The word that `Display` gives begins most messages, so that "private key is malformed" needs no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A private key in PEM or DER.
    PrivateKey,
    /// A `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    PublicKey,
    /// A distinguished name, as text or DER.
    Name,
    /// A subject alternative name.
    AlternativeName,
    /// A key usage or extended key usage.
    Usage,
    /// A certificate (RFC 5280).
    Certificate,
    /// A certificate request (PKCS#10, RFC 2986).
    Request,
    /// Several certificates in one file.
    Bundle,
    /// An `AlgorithmIdentifier` of a signature.
    SignatureAlgorithm,
    /// A key algorithm's name.
    KeyAlgorithm,
    /// The wish for a certificate.
    Template,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => "private key",
            Self::PublicKey => "public key",
            Self::Name => "distinguished name",
            Self::AlternativeName => "alternative name",
            Self::Usage => "usage",
            Self::Certificate => "certificate",
            Self::Request => "certificate request",
            Self::Bundle => "certificate bundle",
            Self::SignatureAlgorithm => "signature algorithm",
            Self::KeyAlgorithm => "key algorithm",
            Self::Template => "certificate template",
        })
    }
}

/// Everything that can go wrong in this crate, except path verification (see [`crate::ChainError`]).
///
/// Comparable, so that tests and callers can ask for a variant and its fields instead of searching in texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not follow its format.
    #[error("{input} is malformed: {reason}")]
    Malformed {
        /// What was read.
        input: Input,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },

    /// The input is larger than this crate is willing to look at.
    #[error("{input} is too large: at most {limit} {unit} are allowed")]
    TooLarge {
        /// What was read.
        input: Input,
        /// Largest allowed amount.
        limit: usize,
        /// Of what: bytes, certificates, names.
        unit: &'static str,
    },

    /// A value that is well formed but not one of the allowed ones.
    #[error("{input} {reason}; allowed: {allowed}")]
    NotAllowed {
        /// What was read.
        input: Input,
        /// What is wrong with it.
        reason: Cow<'static, str>,
        /// What would be right.
        allowed: &'static str,
    },

    /// A distinguished name that cannot be read.
    #[error("at character {position}: {reason}")]
    NameSyntax {
        /// Position in the text, counted in characters from 1.
        position: usize,
        /// What is wrong, and what is allowed there.
        reason: Cow<'static, str>,
    },

    /// An algorithm, curve or parameter that this program does not support.
    #[error("{input} uses {what}, which is not supported")]
    Unsupported {
        /// What was read.
        input: Input,
        /// The algorithm, by name or object identifier.
        what: String,
    },

    /// The key cannot make or check a signature of this kind.
    #[error("a key of type {key} cannot be used with {algorithm}")]
    KeyMismatch {
        /// The key's type.
        key: String,
        /// The signature algorithm.
        algorithm: &'static str,
    },

    /// A signature is wrong.
    #[error("signature of {input} does not verify")]
    BadSignature {
        /// What was signed.
        input: Input,
    },

    /// The cryptographic library failed without a reason, for example because no random numbers were to be had.
    #[error("cryptographic library failed: {step}")]
    Crypto {
        /// What was tried.
        step: &'static str,
    },
}

impl Error {
    /// A format error.
    pub(crate) fn malformed(input: Input, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed {
            input,
            reason: reason.into(),
        }
    }

    /// A value outside the allowed ones.
    pub(crate) fn not_allowed(
        input: Input,
        reason: impl Into<Cow<'static, str>>,
        allowed: &'static str,
    ) -> Self {
        Self::NotAllowed {
            input,
            reason: reason.into(),
            allowed,
        }
    }
}

/// Refuses `bytes` that are longer than `limit`, before anybody parses them.
///
/// Every decoder of this crate begins with it. The limits are far above anything real and far below anything that hurts.
pub(crate) fn check_size(input: Input, bytes: &[u8], limit: usize) -> Result<(), Error> {
    if bytes.len() > limit {
        return Err(Error::TooLarge {
            input,
            limit,
            unit: "bytes",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_start_in_lower_case_and_have_no_final_dot() {
        let errors = [
            Error::malformed(Input::Certificate, "trailing data"),
            Error::TooLarge {
                input: Input::Bundle,
                limit: 10,
                unit: "bytes",
            },
            Error::not_allowed(Input::AlternativeName, "has an empty label", "letters"),
            Error::NameSyntax {
                position: 3,
                reason: "expected '='".into(),
            },
            Error::Unsupported {
                input: Input::PublicKey,
                what: "1.2.3".into(),
            },
            Error::KeyMismatch {
                key: "Ed25519".into(),
                algorithm: "ECDSA with SHA-256",
            },
            Error::BadSignature {
                input: Input::Request,
            },
            Error::Crypto {
                step: "key generation",
            },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.ends_with('.'), "{text}");
            assert!(text.starts_with(|c: char| c.is_lowercase()), "{text}");
        }
    }

    #[test]
    fn too_many_bytes_are_refused_with_the_limit_named() {
        assert!(check_size(Input::Certificate, &[0; 4], 4).is_ok());
        let error = check_size(Input::Certificate, &[0; 5], 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "certificate is too large: at most 4 bytes are allowed"
        );
    }
}
