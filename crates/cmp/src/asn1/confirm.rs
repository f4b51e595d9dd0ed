//! certConf (RFC 9810, 5.3.18), pollReq and pollRep (5.3.22).

use der::Sequence;
use der::asn1::OctetString;

use super::{AlgorithmIdentifier, FreeText, PkiStatusInfo};

/// `CertConfirmContent ::= SEQUENCE OF CertStatus`
pub type CertConfirm = Vec<CertStatus>;

/// `PollReqContent ::= SEQUENCE OF SEQUENCE { certReqId INTEGER }`
pub type PollReq = Vec<PollReqEntry>;

/// `PollRepContent ::= SEQUENCE OF SEQUENCE { certReqId INTEGER, checkAfter INTEGER, reason PKIFreeText OPTIONAL }`
pub type PollRep = Vec<PollRepEntry>;

/// ```text
/// CertStatus ::= SEQUENCE {
///     certHash    OCTET STRING,
///     certReqId   INTEGER,
///     statusInfo  PKIStatusInfo OPTIONAL,
///     hashAlg [0] AlgorithmIdentifier{DIGEST-ALGORITHM, {...}} OPTIONAL }    -- pvno 3
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertStatus {
    /// Hash of the certificate, by the hash of its signature or by `hash_alg`.
    pub cert_hash: OctetString,
    /// certReqId of the answer.
    pub cert_req_id: i64,
    /// Absent means accepted.
    #[asn1(optional = "true")]
    pub status_info: Option<PkiStatusInfo>,
    /// Where the certificate's signature names no hash.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub hash_alg: Option<AlgorithmIdentifier>,
}

/// One entry of pollReq.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PollReqEntry {
    /// certReqId; −1 if the whole answer is waited for.
    pub cert_req_id: i64,
}

/// One entry of pollRep.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PollRepEntry {
    /// certReqId of the poll.
    pub cert_req_id: i64,
    /// Seconds to wait.
    pub check_after: i64,
    /// Why.
    #[asn1(optional = "true")]
    pub reason: Option<FreeText>,
}
