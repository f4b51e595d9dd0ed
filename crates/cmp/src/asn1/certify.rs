//! CertRepMessage (RFC 9810, 5.3.4): the answer to ir, cr, kur and p10cr.

use der::asn1::{Any, OctetString};
use der::{Choice, Sequence};

use super::{Encoded, PkiStatusInfo};

/// ```text
/// CertRepMessage ::= SEQUENCE {
///     caPubs   [1] SEQUENCE SIZE (1..MAX) OF CMPCertificate OPTIONAL,
///     response     SEQUENCE OF CertResponse }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertRepMessage {
    /// Certificates that a client without anchors may want. Ours never makes anchors of them.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub ca_pubs: Option<Vec<Encoded>>,
    /// One for each request.
    pub response: Vec<CertResponse>,
}

/// ```text
/// CertResponse ::= SEQUENCE {
///     certReqId         INTEGER,
///     status            PKIStatusInfo,
///     certifiedKeyPair  CertifiedKeyPair OPTIONAL,
///     rspInfo           OCTET STRING     OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertResponse {
    /// To which request; −1 for p10cr by RFC 9483, 0 by many servers.
    pub cert_req_id: i64,
    /// Yes, no, or wait.
    pub status: PkiStatusInfo,
    /// The certificate.
    #[asn1(optional = "true")]
    pub certified_key_pair: Option<CertifiedKeyPair>,
    /// More, by private agreement.
    #[asn1(optional = "true")]
    pub rsp_info: Option<OctetString>,
}

/// ```text
/// CertifiedKeyPair ::= SEQUENCE {
///     certOrEncCert       CertOrEncCert,
///     privateKey      [0] EncryptedKey       OPTIONAL,
///     publicationInfo [1] PKIPublicationInfo OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertifiedKeyPair {
    /// The certificate.
    pub cert_or_enc_cert: CertOrEncCert,
    /// From central key generation, which we do not use.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub private_key: Option<Any>,
    /// Where the CA has published it.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub publication_info: Option<Any>,
}

/// ```text
/// CertOrEncCert ::= CHOICE { certificate [0] CMPCertificate, encryptedCert [1] EncryptedKey }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum CertOrEncCert {
    /// In the clear.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    Certificate(Encoded),
    /// Encrypted, for keys that cannot sign; not supported, kept as it came.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    EncryptedCert(Any),
}
