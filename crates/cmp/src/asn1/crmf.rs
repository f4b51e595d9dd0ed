//! Certificate Request Message Format (RFC 4211): IMPLICIT tags, except where the value is a CHOICE.

use der::asn1::{Any, BitString, Int, Null};
use der::{Choice, Sequence};

use super::{AlgorithmIdentifier, Dn, Encoded, Extensions, GeneralName, ObjectIdentifier, Time, oid};

/// `CertReqMessages ::= SEQUENCE SIZE (1..MAX) OF CertReqMsg` (3)
pub type CertReqMessages = Vec<CertReqMsg>;

/// `Controls ::= SEQUENCE SIZE (1..MAX) OF SingleAttribute` (6)
pub type Controls = Vec<AttributeTypeAndValue>;

/// ```text
/// CertReqMsg ::= SEQUENCE {                                                          -- 3
///     certReq   CertRequest,
///     popo      ProofOfPossession OPTIONAL,
///     regInfo   SEQUENCE SIZE (1..MAX) OF AttributeTypeAndValue OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertReqMsg {
    /// The request.
    pub cert_req: CertRequest,
    /// Shows that the requester has the key.
    #[asn1(optional = "true")]
    pub popo: Option<ProofOfPossession>,
    /// More for the RA.
    #[asn1(optional = "true")]
    pub reg_info: Option<Vec<AttributeTypeAndValue>>,
}

/// ```text
/// CertRequest ::= SEQUENCE { certReqId INTEGER, certTemplate CertTemplate, controls Controls OPTIONAL }   -- 5
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertRequest {
    /// Number of the request within the message; 0 in the Lightweight Profile.
    pub cert_req_id: i64,
    /// What is wanted.
    pub cert_template: CertTemplate,
    /// How it is to be treated.
    #[asn1(optional = "true")]
    pub controls: Option<Controls>,
}

impl CertRequest {
    /// The oldCertID control (6.5).
    pub fn old_cert_id(&self) -> Option<CertId> {
        let control = self
            .controls
            .iter()
            .flatten()
            .find(|c| c.kind == oid::REG_CTRL_OLD_CERT_ID)?;
        control.value.decode_as().ok()
    }
}

/// ```text
/// CertTemplate ::= SEQUENCE {                                                        -- 5
///     version      [0] Version               OPTIONAL,
///     serialNumber [1] INTEGER               OPTIONAL,
///     signingAlg   [2] AlgorithmIdentifier   OPTIONAL,
///     issuer       [3] Name                  OPTIONAL,       -- a CHOICE, hence explicit
///     validity     [4] OptionalValidity      OPTIONAL,
///     subject      [5] Name                  OPTIONAL,       -- a CHOICE, hence explicit
///     publicKey    [6] SubjectPublicKeyInfo  OPTIONAL,
///     issuerUID    [7] UniqueIdentifier      OPTIONAL,
///     subjectUID   [8] UniqueIdentifier      OPTIONAL,
///     extensions   [9] Extensions            OPTIONAL }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Sequence)]
pub struct CertTemplate {
    /// Only 2 (v3) makes sense; better left out.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub version: Option<i64>,
    /// Only in revocations.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub serial_number: Option<Int>,
    /// Never sent.
    #[asn1(
        context_specific = "2",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub signing_alg: Option<AlgorithmIdentifier>,
    /// The CA wanted, or the issuer of a certificate to be revoked.
    #[asn1(
        context_specific = "3",
        tag_mode = "EXPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub issuer: Option<Dn>,
    /// The validity wanted.
    #[asn1(
        context_specific = "4",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub validity: Option<OptionalValidity>,
    /// The subject wanted.
    #[asn1(
        context_specific = "5",
        tag_mode = "EXPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub subject: Option<Dn>,
    /// The key; without one the CA would make it.
    #[asn1(
        context_specific = "6",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub public_key: Option<Encoded>,
    /// Obsolete.
    #[asn1(context_specific = "7", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_uid: Option<BitString>,
    /// Obsolete.
    #[asn1(context_specific = "8", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_uid: Option<BitString>,
    /// Names, usages and more.
    #[asn1(
        context_specific = "9",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub extensions: Option<Extensions>,
}

/// ```text
/// OptionalValidity ::= SEQUENCE { notBefore [0] Time OPTIONAL, notAfter [1] Time OPTIONAL }   -- Time is a CHOICE
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Sequence)]
pub struct OptionalValidity {
    /// First moment.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub not_before: Option<Time>,
    /// Last moment.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub not_after: Option<Time>,
}

/// ```text
/// AttributeTypeAndValue ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY DEFINED BY type }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct AttributeTypeAndValue {
    /// Which.
    pub kind: ObjectIdentifier,
    /// Its value.
    pub value: Any,
}

/// ```text
/// CertId ::= SEQUENCE { issuer GeneralName, serialNumber INTEGER }                 -- 6.5
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertId {
    /// Issuer of the certificate.
    pub issuer: GeneralName,
    /// Its serial number.
    pub serial_number: Int,
}

/// ```text
/// ProofOfPossession ::= CHOICE {                                                   -- 4
///     raVerified      [0] NULL,
///     signature       [1] POPOSigningKey,
///     keyEncipherment [2] POPOPrivKey,          -- a CHOICE, hence explicit
///     keyAgreement    [3] POPOPrivKey }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum ProofOfPossession {
    /// An RA says that it has seen the proof.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    RaVerified(Null),
    /// A signature by the new key.
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Signature(PopoSigningKey),
    /// For keys that encrypt only; not supported, kept as it came.
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", constructed = "true")]
    KeyEncipherment(Any),
    /// For keys that agree only; not supported, kept as it came.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", constructed = "true")]
    KeyAgreement(Any),
}

/// ```text
/// POPOSigningKey ::= SEQUENCE {                                                    -- 4.1
///     poposkInput     [0] POPOSigningKeyInput OPTIONAL,
///     algorithmIdentifier AlgorithmIdentifier,
///     signature           BIT STRING }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PopoSigningKey {
    /// What is signed if the template has no subject or no key; else the CertRequest is.
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub poposk_input: Option<PopoSigningKeyInput>,
    /// How.
    pub algorithm: AlgorithmIdentifier,
    /// The signature.
    pub signature: BitString,
}

/// ```text
/// POPOSigningKeyInput ::= SEQUENCE {                                               -- 4.1
///     authInfo CHOICE { sender [0] GeneralName, publicKeyMAC PKMACValue },
///     publicKey SubjectPublicKeyInfo }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PopoSigningKeyInput {
    /// Either form, as it came.
    pub auth_info: Any,
    /// The key.
    pub public_key: Encoded,
}
