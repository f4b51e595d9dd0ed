//! What can be asked of a CA.

use jiff::Timestamp;
use pki::{Certificate, CertificateTemplate, Name};
use serde::{Deserialize, Serialize};

/// One request; it makes one transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// A certificate (ir, cr, kur, p10cr).
    Enrol(Box<Enrolment>),
    /// A revocation (rr, RFC 9483, 4.2).
    Revoke {
        /// The certificate to revoke.
        certificate: Certificate,
        /// Why.
        reason: RevocationReason,
    },
    /// A question (genm, RFC 9483, 4.3).
    General(General),
}

impl Request {
    /// An enrolment.
    pub fn enrol(enrolment: Enrolment) -> Self {
        Self::Enrol(Box::new(enrolment))
    }

    /// The enrolment, if it is one.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        match self {
            Self::Enrol(enrolment) => Some(enrolment),
            Self::Revoke { .. } | Self::General(_) => None,
        }
    }
}

/// A request for a certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// Which kind of request.
    pub kind: EnrolmentKind,
    /// Names, usages and validity asked for.
    pub template: CertificateTemplate,
    /// Ask the CA to do without certConf (RFC 9810, 5.1.1.1). It may insist.
    pub implicit_confirm: bool,
    /// certProfile (RFC 9810, 5.1.1.4), at most 128 characters.
    pub profile: Option<String>,
}

/// The four ways to ask for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolmentKind {
    /// ir: the first certificate from this PKI (RFC 9483, 4.1.1).
    Initialization,
    /// cr: one more (4.1.2).
    Certification,
    /// kur: a new key for a valid certificate (4.1.3). Always signed, never with a MAC.
    KeyUpdate {
        /// The certificate that is replaced; sent as oldCertID.
        old: Box<Certificate>,
    },
    /// p10cr: with a PKCS#10 request inside (4.1.4).
    Pkcs10,
}

/// CRLReason (RFC 5280, 5.3.1), without removeFromCRL, which is not a reason to revoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RevocationReason {
    /// No reason given.
    #[default]
    Unspecified,
    /// The key is known to others.
    KeyCompromise,
    /// The CA's key is known to others.
    CaCompromise,
    /// The subject's name has changed.
    AffiliationChanged,
    /// There is a newer certificate.
    Superseded,
    /// The certificate is no longer needed.
    CessationOfOperation,
    /// For a while only.
    CertificateHold,
    /// The subject may no longer do what the certificate says.
    PrivilegeWithdrawn,
    /// An attribute authority's key is known to others.
    AaCompromise,
}

impl RevocationReason {
    /// The value of the ENUMERATED.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// From the value of the ENUMERATED.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Unspecified,
            1 => Self::KeyCompromise,
            2 => Self::CaCompromise,
            3 => Self::AffiliationChanged,
            4 => Self::Superseded,
            5 => Self::CessationOfOperation,
            6 => Self::CertificateHold,
            9 => Self::PrivilegeWithdrawn,
            10 => Self::AaCompromise,
            _ => return None,
        })
    }
}

/// A question that changes nothing at the CA.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum General {
    /// The CA's certificates (id-it-caCerts, RFC 9483, 4.3.1).
    CaCerts,
    /// Is there a successor of this root? (id-it-rootCaCert, 4.3.2)
    RootUpdate {
        /// The root we trust today.
        current: Box<Certificate>,
    },
    /// What must a request look like? (id-it-certReqTemplate, 4.3.3)
    RequestTemplate {
        /// certProfile.
        profile: Option<String>,
    },
    /// Is there a newer CRL? (id-it-crlStatusList, 4.3.4)
    CrlUpdate {
        /// Which one.
        source: CrlSource,
        /// thisUpdate of the one we have.
        this_update: Option<Timestamp>,
    },
}

/// Names a CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrlSource {
    /// By its issuer.
    Issuer(Name),
    /// By the URI of a distribution point.
    DistributionPoint(String),
}

/// The answer to a [`General`] message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeneralAnswer {
    /// The CA's certificates; not anchors by themselves.
    CaCerts(Vec<Certificate>),
    /// The successor of the root, if there is one. `new_with_old` was verified under the root we trust today.
    RootUpdate(Option<Box<RootUpdate>>),
    /// What a request must look like, if the CA has an opinion.
    RequestTemplate(Option<Box<RequestTemplate>>),
    /// DER of the CRLs; empty if there is none newer. Not verified.
    Crls(Vec<Vec<u8>>),
}

/// RootCaKeyUpdateContent (RFC 9810, 5.3.19.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootUpdate {
    /// The new root, self-signed.
    pub new_with_new: Certificate,
    /// The new key, signed by the root we trust today.
    pub new_with_old: Certificate,
    /// The old key, signed by the new root.
    pub old_with_new: Option<Certificate>,
}

/// CertReqTemplateContent (RFC 9810, 5.3.19.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    /// Subject with the attributes to fill in.
    pub subject: Option<Name>,
    /// DER of the whole CertTemplate.
    pub template: Vec<u8>,
    /// Object identifiers of the algorithms allowed for the key (id-regCtrl-algId).
    pub key_algorithms: Vec<String>,
    /// Lengths allowed for an RSA key, in bits (id-regCtrl-rsaKeyLen).
    pub rsa_key_bits: Vec<u32>,
}
