//! Revocation request and response (RFC 9810, 5.3.9 and 5.3.10).

use der::Sequence;

use super::{CertId, CertTemplate, Encoded, Extensions, PkiStatusInfo};

/// `RevReqContent ::= SEQUENCE OF RevDetails`
pub type RevReqContent = Vec<RevDetails>;

/// ```text
/// RevDetails ::= SEQUENCE { certDetails CertTemplate, crlEntryDetails Extensions OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RevDetails {
    /// Issuer and serial number.
    pub cert_details: CertTemplate,
    /// The reason code.
    #[asn1(optional = "true")]
    pub crl_entry_details: Option<Extensions>,
}

/// ```text
/// RevRepContent ::= SEQUENCE {
///     status       SEQUENCE SIZE (1..MAX) OF PKIStatusInfo,
///     revCerts [0] SEQUENCE SIZE (1..MAX) OF CertId OPTIONAL,
///     crls     [1] SEQUENCE SIZE (1..MAX) OF CertificateList OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RevRepContent {
    /// In the order of the request.
    pub status: Vec<PkiStatusInfo>,
    /// What was revoked.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub rev_certs: Option<Vec<CertId>>,
    /// The CRLs that say so.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub crls: Option<Vec<Encoded>>,
}
