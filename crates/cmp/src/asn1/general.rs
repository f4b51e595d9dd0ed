//! General messages (RFC 9810, 5.3.19 and 5.3.20; RFC 9483, 4.3).

use der::{Choice, Sequence};

use super::{CertTemplate, Controls, Encoded, GeneralName, InfoTypeAndValue, Time};

/// `GenMsgContent ::= SEQUENCE OF InfoTypeAndValue`, and GenRepContent the same.
pub type GenContent = Vec<InfoTypeAndValue>;

/// ```text
/// RootCaKeyUpdateContent ::= SEQUENCE {                                   -- 5.3.19.15
///     newWithNew       CMPCertificate,
///     newWithOld   [0] CMPCertificate OPTIONAL,
///     oldWithNew   [1] CMPCertificate OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RootCaKeyUpdate {
    /// The new root.
    pub new_with_new: Encoded,
    /// The new key, signed by the old root.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub new_with_old: Option<Encoded>,
    /// The old key, signed by the new root.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub old_with_new: Option<Encoded>,
}

/// ```text
/// CertReqTemplateContent ::= SEQUENCE { certTemplate CertTemplate, keySpec Controls OPTIONAL }   -- 5.3.19.16
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertReqTemplateContent {
    /// Values to use as they are, and fields to fill in.
    pub cert_template: CertTemplate,
    /// Keys that are allowed.
    #[asn1(optional = "true")]
    pub key_spec: Option<Controls>,
}

/// ```text
/// CRLStatus ::= SEQUENCE { source CRLSource, thisUpdate Time OPTIONAL }   -- 5.3.19.17
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CrlStatus {
    /// Which CRL.
    pub source: CrlSourceChoice,
    /// The one that the client has.
    #[asn1(optional = "true")]
    pub this_update: Option<Time>,
}

/// ```text
/// CRLSource ::= CHOICE { dpn [0] DistributionPointName, issuer [1] GeneralNames }
/// DistributionPointName ::= CHOICE { fullName [0] GeneralNames, nameRelativeToCRLIssuer [1] .. }   -- IMPLICIT tags
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum CrlSourceChoice {
    /// By distribution point.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    DistributionPoint(DistributionPointName),
    /// By issuer.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    Issuer(Vec<GeneralName>),
}

/// The fullName of a distribution point (RFC 5280, 4.2.1.13).
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum DistributionPointName {
    /// fullName.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    FullName(Vec<GeneralName>),
}
