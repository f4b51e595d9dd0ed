//! ErrorMsgContent (RFC 9810, 5.3.21).

use der::Sequence;
use der::asn1::Int;

use super::{FreeText, PkiStatusInfo};

/// ```text
/// ErrorMsgContent ::= SEQUENCE {
///     pKIStatusInfo  PKIStatusInfo,
///     errorCode      INTEGER     OPTIONAL,        -- implementation-specific
///     errorDetails   PKIFreeText OPTIONAL }
/// ```
///
/// Status `waiting` means delayed delivery (5.3.22); all others end the transaction.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct ErrorMsg {
    /// Status, text, reason.
    pub status: PkiStatusInfo,
    /// A number of the peer's own; any INTEGER.
    #[asn1(optional = "true")]
    pub error_code: Option<Int>,
    /// More text.
    #[asn1(optional = "true")]
    pub error_details: Option<FreeText>,
}
