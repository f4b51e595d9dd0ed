//! The ASN.1 of CMP (RFC 9810), CRMF (RFC 4211) and the MAC parameters (RFC 9481), as Rust types.
//!
//! These are syntax only: nothing here checks a protection, a nonce or a limit. Both sides use them, client and CA.
//! CMP's module has EXPLICIT tags, CRMF's IMPLICIT ones; each type carries its ASN.1 text and section.
//!
//! Whatever somebody may have signed is kept as the bytes that came: certificates, public keys and CRLs as [`Encoded`],
//! names as [`Dn`], values of open types as [`der::Any`]. Everything else is decoded and encodes to the same bytes again if
//! they were DER (`tests/vectors.rs` shows it on messages of other programs).

use std::fmt;

use der::{Decode, Encode};

pub use const_oid::ObjectIdentifier;
pub use der;
pub use spki::AlgorithmIdentifierOwned as AlgorithmIdentifier;
pub use x509_cert::ext::{Extension, Extensions};
pub use x509_cert::time::Time;

pub use basic::{Dn, Encoded, FreeText, GeneralName, GeneralTime};
pub use body::PkiBody;
pub use certify::{CertOrEncCert, CertRepMessage, CertResponse, CertifiedKeyPair};
pub use confirm::{CertConfirm, CertStatus, PollRep, PollRepEntry, PollReq, PollReqEntry};
pub use crmf::{
    AttributeTypeAndValue, CertId, CertReqMessages, CertReqMsg, CertRequest, CertTemplate, Controls,
    OptionalValidity, PopoSigningKey, PopoSigningKeyInput, ProofOfPossession,
};
pub use error_message::ErrorMsg;
pub use general::{
    CertReqTemplateContent, CrlSourceChoice, CrlStatus, DistributionPointName, GenContent, RootCaKeyUpdate,
};
pub use header::{InfoTypeAndValue, PkiHeader, PkiMessage, ProtectedPart};
pub use mac::{Pbkdf2Params, Pbkdf2Salt, PbmParameter, Pbmac1Params};
pub use revoke::{RevDetails, RevRepContent, RevReqContent};
pub use status::{FailureInfo, PkiStatus, PkiStatusInfo};

mod basic;
mod body;
mod certify;
mod confirm;
mod crmf;
mod error_message;
mod general;
mod header;
mod mac;
pub mod oid;
mod revoke;
mod status;

/// A decoding error: which type, and the reader's reason (tags and positions, no contents).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asn1Error {
    /// The name of the type in the RFC.
    pub what: &'static str,
    /// The reader's reason.
    pub reason: String,
}

impl fmt::Display for Asn1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is malformed: {}", self.what, self.reason)
    }
}

impl std::error::Error for Asn1Error {}

/// Decodes one value; left-over bytes are an error.
pub fn decode<'a, T>(what: &'static str, bytes: &'a [u8]) -> Result<T, Asn1Error>
where
    T: Decode<'a>,
    T::Error: fmt::Display,
{
    T::from_der(bytes).map_err(|error| Asn1Error {
        what,
        reason: error.to_string(),
    })
}

/// Encodes one value. Fails only for values beyond the 256 MiB that the encoder allows.
pub fn encode<T: Encode>(what: &'static str, value: &T) -> Result<Vec<u8>, Asn1Error> {
    value.to_der().map_err(|error| Asn1Error {
        what,
        reason: error.to_string(),
    })
}
