//! Protection of messages (RFC 9810, 5.1.3): password-based MAC, PBMAC1, signatures. Used by both sides.
//!
//! ```text
//!   protection = MAC or signature over DER(ProtectedPart ::= SEQUENCE { header, body })
//! ```
//!
//! A received protection is checked over the bytes that came, never over an encoding made from decoded fields. Costs
//! are bounded before any work: a parameter is decoded only after its algorithm said which type it has, and iterations
//! and lengths are compared with [`Limits`] before the first hash (CVE-2026-63076, CVE-2026-59647).

use der::Encode;
use der::asn1::BitString;
use pki::digest::HashAlgorithm;
use pki::{Certificate, Name, PrivateKey, Secret, SignatureAlgorithm};

use crate::asn1::{AlgorithmIdentifier, Encoded, GeneralName, PkiHeader, PkiMessage, ProtectedPart, oid};
use crate::engine::Limits;
use crate::error::ErrorKind;
use crate::message::Message;

pub use mac::MacParameters;
pub(crate) use mac::hash_oid;

mod mac;

/// How to make a MAC from a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// PasswordBasedMac (RFC 4211, 4.4): what every CA knows.
    Pbm {
        /// One-way function that makes the key. Its hash must not be shorter than that of `mac`: programs disagree
        /// about what happens then.
        owf: HashAlgorithm,
        /// Hash of the HMAC over the message.
        mac: HashAlgorithm,
        /// How often the one-way function runs; at least 100 (RFC 4211).
        iterations: u32,
        /// Bytes of salt; at least 8 (RFC 4211).
        salt_len: usize,
    },
    /// PBMAC1 (RFC 8018, RFC 9579): PBKDF2 and HMAC, mandatory in RFC 9481, 7.1, and rare in the field.
    Pbmac1 {
        /// Hash of the HMAC in PBKDF2.
        prf: HashAlgorithm,
        /// Hash of the HMAC over the message.
        mac: HashAlgorithm,
        /// Iterations of PBKDF2.
        iterations: u32,
        /// Bytes of salt.
        salt_len: usize,
    },
}

impl MacAlgorithm {
    /// PasswordBasedMac with SHA-256, HMAC-SHA-256, 1024 iterations: CAs exist that refuse more than 2047.
    pub const PBM: Self = Self::Pbm {
        owf: HashAlgorithm::Sha256,
        mac: HashAlgorithm::Sha256,
        iterations: 1024,
        salt_len: 16,
    };

    /// PasswordBasedMac with HMAC-SHA-1, for CAs that know nothing else.
    pub const LEGACY_PBM: Self = Self::Pbm {
        owf: HashAlgorithm::Sha256,
        mac: HashAlgorithm::Sha1,
        iterations: 1024,
        salt_len: 16,
    };

    /// PBMAC1 with HMAC-SHA-256 and 10,000 iterations.
    pub const PBMAC1: Self = Self::Pbmac1 {
        prf: HashAlgorithm::Sha256,
        mac: HashAlgorithm::Sha256,
        iterations: 10_000,
        salt_len: 16,
    };
}

impl Default for MacAlgorithm {
    fn default() -> Self {
        Self::PBM
    }
}

/// What protects our messages. `Debug` shows no secret and no key.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A secret shared with the CA.
    Mac {
        /// Tells the CA which secret: senderKID, and as text the common name of the sender (RFC 9483, 3.1).
        reference: Vec<u8>,
        /// The secret.
        secret: Secret,
        /// How the MAC is made.
        algorithm: MacAlgorithm,
    },
    /// A key with its certificate.
    Signature {
        /// The key.
        key: PrivateKey,
        /// How it signs.
        algorithm: SignatureAlgorithm,
        /// The certificate; sent first in extraCerts.
        certificate: Certificate,
        /// Its issuers, without the root; sent after it.
        chain: Vec<Certificate>,
    },
}

impl Credentials {
    /// A shared secret.
    pub fn mac(reference: impl Into<Vec<u8>>, secret: Secret, algorithm: MacAlgorithm) -> Self {
        Self::Mac {
            reference: reference.into(),
            secret,
            algorithm,
        }
    }

    /// A key with its certificate, signing by the key's default algorithm.
    ///
    /// # Errors
    ///
    /// The certificate must hold the key.
    pub fn signature(
        key: PrivateKey,
        certificate: Certificate,
        chain: Vec<Certificate>,
    ) -> Result<Self, ErrorKind> {
        if !certificate.matches_key(&key) {
            return Err(ErrorKind::Settings(
                "the certificate does not fit the private key".to_owned(),
            ));
        }
        let algorithm = key.default_signature();
        Ok(Self::Signature {
            key,
            algorithm,
            certificate,
            chain,
        })
    }

    /// `MAC` or `signature`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mac { .. } => "MAC",
            Self::Signature { .. } => "signature",
        }
    }

    /// The `sender` that goes with it (RFC 9483, 3.1): the certificate's subject, or the reference as common name, or
    /// the NULL-DN for a reference that is not text.
    pub fn sender(&self) -> Name {
        match self {
            Self::Signature { certificate, .. } => certificate.subject().clone(),
            Self::Mac { reference, .. } => std::str::from_utf8(reference)
                .ok()
                .and_then(|text| Name::from_parts(&[("CN", text)]).ok())
                .unwrap_or_else(Name::empty),
        }
    }

    /// The `senderKID` that goes with it: the certificate's subject key identifier, or the reference.
    pub fn sender_kid(&self) -> Option<&[u8]> {
        match self {
            Self::Signature { certificate, .. } => certificate.ski(),
            Self::Mac { reference, .. } => Some(reference),
        }
    }

    /// The certificates for extraCerts: our own first, then its chain (RFC 9483, 3.3). None with a MAC.
    fn extra_certs(&self) -> impl Iterator<Item = &Certificate> {
        let (own, chain): (Option<&Certificate>, &[Certificate]) = match self {
            Self::Signature {
                certificate, chain, ..
            } => (Some(certificate), chain),
            Self::Mac { .. } => (None, &[]),
        };
        own.into_iter().chain(chain)
    }
}

/// Protects a message: fills in protectionAlg and, where the header has none yet, senderKID; signs or MACs; puts our
/// certificates before `extra`. Gives the DER of the PKIMessage.
///
/// `mac` holds the salt: RFC 9810, 5.1.3.1, recommends to keep the parameters for a whole transaction. Unused with a
/// signature; without one, fresh parameters are made.
pub fn protect(
    part: ProtectedPart,
    credentials: &Credentials,
    mac: Option<&MacParameters>,
    extra: &[Certificate],
) -> Result<Vec<u8>, ErrorKind> {
    let ProtectedPart { mut header, body } = part;
    let fresh;
    let key = match credentials {
        Credentials::Signature { algorithm, .. } => {
            header.protection_alg = Some(signature_identifier(*algorithm)?);
            None
        }
        Credentials::Mac {
            secret, algorithm, ..
        } => {
            let parameters = match mac {
                Some(parameters) => parameters,
                None => {
                    fresh = MacParameters::generate(*algorithm)?;
                    &fresh
                }
            };
            header.protection_alg = Some(parameters.to_identifier()?);
            Some(parameters.derive(secret)?)
        }
    };
    if header.sender_kid.is_none() {
        header.sender_kid = credentials.sender_kid().map(octets).transpose()?;
    }
    let part = ProtectedPart { header, body };
    let bytes = part.to_der().map_err(encoding)?;
    let value = match (credentials, key) {
        (Credentials::Signature { key, algorithm, .. }, _) => key.sign(*algorithm, &bytes)?,
        (Credentials::Mac { .. }, Some(key)) => key.sign(&bytes),
        (Credentials::Mac { .. }, None) => return Err(ErrorKind::State("no MAC key")),
    };
    assemble(part, Some(&value), credentials.extra_certs().chain(extra))
}

/// A message without protection, as only errors may be.
pub fn unprotected(part: ProtectedPart, extra: &[Certificate]) -> Result<Vec<u8>, ErrorKind> {
    assemble(part, None, extra.iter())
}

fn assemble<'a>(
    part: ProtectedPart,
    protection: Option<&[u8]>,
    certificates: impl Iterator<Item = &'a Certificate>,
) -> Result<Vec<u8>, ErrorKind> {
    let mut extra: Vec<Encoded> = Vec::new();
    for certificate in certificates {
        let encoded = Encoded::new(certificate.der()).map_err(encoding)?;
        if !extra.contains(&encoded) {
            extra.push(encoded);
        }
    }
    let message = PkiMessage {
        header: part.header,
        body: part.body,
        protection: protection
            .map(BitString::from_bytes)
            .transpose()
            .map_err(encoding)?,
        extra_certs: (!extra.is_empty()).then_some(extra),
    };
    message.to_der().map_err(encoding)
}

/// What kind of protection a message has, told by its algorithm alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionKind {
    /// None.
    None,
    /// PasswordBasedMac or PBMAC1.
    Mac,
    /// Anything else.
    Signature,
}

impl ProtectionKind {
    /// Of a header. The algorithm without the value, or the reverse, counts as what is there and fails later.
    pub fn of(header: &PkiHeader) -> Self {
        match &header.protection_alg {
            None => Self::None,
            Some(algorithm) if [oid::PASSWORD_BASED_MAC, oid::PBMAC1].contains(&algorithm.oid) => Self::Mac,
            Some(_) => Self::Signature,
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Mac => "MAC",
            Self::Signature => "signature",
        }
    }
}

/// Checks the MAC of a received message. The comparison takes the same time wherever the MACs differ.
pub fn verify_mac(message: &Message<'_>, secret: &Secret, limits: &Limits) -> Result<(), ErrorKind> {
    let (Some(algorithm), Some(value)) = (&message.header.protection_alg, message.protection()) else {
        return Err(ErrorKind::Unprotected);
    };
    let parameters = MacParameters::from_identifier(algorithm, limits)?;
    if parameters.verify(secret, &message.protected_part(), value)? {
        Ok(())
    } else {
        Err(ErrorKind::BadMac)
    }
}

/// Checks the signature of a received message with the key of `signer`. Whether the signer is trusted is another
/// question.
pub fn verify_signature(message: &Message<'_>, signer: &Certificate) -> Result<(), ErrorKind> {
    let (Some(algorithm), Some(value)) = (&message.header.protection_alg, message.protection()) else {
        return Err(ErrorKind::Unprotected);
    };
    let der = algorithm.to_der().map_err(encoding)?;
    let algorithm = SignatureAlgorithm::from_der(&der).map_err(|_| unsupported(algorithm))?;
    signer
        .public_key()
        .verify(algorithm, &message.protected_part(), value)
        .map_err(|error| match error {
            pki::Error::Unsupported { what, .. } => ErrorKind::Unsupported { what },
            _ => ErrorKind::BadSignature,
        })
}

/// The AlgorithmIdentifier of a signature algorithm.
pub fn signature_identifier(algorithm: SignatureAlgorithm) -> Result<AlgorithmIdentifier, ErrorKind> {
    crate::asn1::decode("AlgorithmIdentifier", &algorithm.to_der()).map_err(ErrorKind::from)
}

/// A directoryName for `sender` or `recipient`; NULL-DN for none.
pub fn general_name(name: Option<&Name>) -> GeneralName {
    GeneralName::directory(name.cloned().unwrap_or_else(Name::empty))
}

pub(crate) fn octets(bytes: &[u8]) -> Result<der::asn1::OctetString, ErrorKind> {
    der::asn1::OctetString::new(bytes).map_err(encoding)
}

/// An encoding can fail only for sizes beyond those that are allowed in.
pub(crate) fn encoding(error: der::Error) -> ErrorKind {
    ErrorKind::Malformed {
        what: "message to send",
        reason: error.to_string(),
    }
}

fn unsupported(algorithm: &AlgorithmIdentifier) -> ErrorKind {
    ErrorKind::Unsupported {
        what: format!("protection algorithm {}", algorithm.oid),
    }
}

impl From<crate::asn1::Asn1Error> for ErrorKind {
    fn from(error: crate::asn1::Asn1Error) -> Self {
        Self::Malformed {
            what: error.what,
            reason: error.reason,
        }
    }
}
