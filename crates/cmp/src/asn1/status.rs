//! PKIStatusInfo (RFC 9810, 5.2.3).

use std::fmt;

use der::asn1::BitString;
use der::{DecodeValue, EncodeValue, Enumerated, FixedTag, Header, Length, Reader, Sequence, Tag, Writer};

use super::FreeText;

/// ```text
/// PKIStatus ::= INTEGER {
///     accepted (0), grantedWithMods (1), rejection (2), waiting (3),
///     revocationWarning (4), revocationNotification (5), keyUpdateWarning (6) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enumerated)]
#[asn1(type = "INTEGER")]
#[repr(u8)]
pub enum PkiStatus {
    /// You got exactly what you asked for.
    Accepted = 0,
    /// You got something like what you asked for.
    GrantedWithMods = 1,
    /// You do not get it.
    Rejection = 2,
    /// The request has not been processed yet.
    Waiting = 3,
    /// A revocation is imminent.
    RevocationWarning = 4,
    /// A revocation has occurred.
    RevocationNotification = 5,
    /// The key was updated already.
    KeyUpdateWarning = 6,
}

impl fmt::Display for PkiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::GrantedWithMods => "grantedWithMods",
            Self::Rejection => "rejection",
            Self::Waiting => "waiting",
            Self::RevocationWarning => "revocationWarning",
            Self::RevocationNotification => "revocationNotification",
            Self::KeyUpdateWarning => "keyUpdateWarning",
        })
    }
}

/// ```text
/// PKIStatusInfo ::= SEQUENCE {
///     status        PKIStatus,
///     statusString  PKIFreeText     OPTIONAL,
///     failInfo      PKIFailureInfo  OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiStatusInfo {
    /// Yes, no, or wait.
    pub status: PkiStatus,
    /// Text for people.
    #[asn1(optional = "true")]
    pub status_string: Option<FreeText>,
    /// Why not.
    #[asn1(optional = "true")]
    pub fail_info: Option<FailureInfo>,
}

impl PkiStatusInfo {
    /// A status alone.
    pub fn new(status: PkiStatus) -> Self {
        Self {
            status,
            status_string: None,
            fail_info: None,
        }
    }

    /// A rejection for one reason.
    pub fn rejection(failure: FailureInfo, text: &str) -> Self {
        Self {
            status: PkiStatus::Rejection,
            status_string: Some(FreeText::new(text)),
            fail_info: Some(failure),
        }
    }
}

/// `PKIFailureInfo ::= BIT STRING { badAlg (0), .. duplicateCertReq (26) }`; unknown bits are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureInfo(BitString);

impl FailureInfo {
    /// The names of the bits, in order.
    pub const NAMES: [&str; 27] = [
        "badAlg",
        "badMessageCheck",
        "badRequest",
        "badTime",
        "badCertId",
        "badDataFormat",
        "wrongAuthority",
        "incorrectData",
        "missingTimeStamp",
        "badPOP",
        "certRevoked",
        "certConfirmed",
        "wrongIntegrity",
        "badRecipientNonce",
        "timeNotAvailable",
        "unacceptedPolicy",
        "unacceptedExtension",
        "addInfoNotAvailable",
        "badSenderNonce",
        "badCertTemplate",
        "signerNotTrusted",
        "transactionIdInUse",
        "unsupportedVersion",
        "notAuthorized",
        "systemUnavail",
        "systemFailure",
        "duplicateCertReq",
    ];

    /// One bit, by its number (below 32).
    pub fn bit(number: u8) -> der::Result<Self> {
        let mut bytes = vec![0; usize::from(number / 8).saturating_add(1)];
        if let Some(last) = bytes.last_mut() {
            *last = 0x80 >> (number % 8);
        }
        // DER: no zero bits at the end of a named bit list (X.690, 11.2.2).
        BitString::new(7 - number % 8, bytes).map(Self)
    }

    /// One bit, by its name; `None` for a name that is not in the RFC.
    pub fn named(name: &str) -> Option<Self> {
        let number = Self::NAMES.iter().position(|known| *known == name)?;
        Self::bit(u8::try_from(number).ok()?).ok()
    }

    /// The names of the bits that are set; bits without a name are left out.
    pub fn names(&self) -> Vec<&'static str> {
        Self::NAMES
            .iter()
            .zip(self.0.bits())
            .filter_map(|(name, set)| set.then_some(*name))
            .collect()
    }
}

impl<'a> DecodeValue<'a> for FailureInfo {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        BitString::decode_value(reader, header).map(Self)
    }
}

impl FixedTag for FailureInfo {
    const TAG: Tag = Tag::BitString;
}

impl EncodeValue for FailureInfo {
    fn value_len(&self) -> der::Result<Length> {
        self.0.value_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.0.encode_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode};

    use super::*;

    #[test]
    fn each_bit_has_its_name_and_survives_the_wire() {
        for name in FailureInfo::NAMES {
            let failure = FailureInfo::named(name).unwrap();
            let again = FailureInfo::from_der(&failure.to_der().unwrap()).unwrap();
            assert_eq!(again.names(), [name]);
        }
        assert_eq!(FailureInfo::named("badLuck"), None);
        assert_eq!(
            FailureInfo::named("badRequest").unwrap().to_der().unwrap(),
            [3, 2, 5, 0x20]
        );
        assert_eq!(FailureInfo::bit(31).unwrap().names(), [""; 0]);
    }

    #[test]
    fn unknown_status_is_malformed() {
        assert!(PkiStatus::from_der(&[2, 1, 7]).is_err());
        assert_eq!(PkiStatus::from_der(&[2, 1, 3]).unwrap(), PkiStatus::Waiting);
    }
}
