//! PKIMessage and PKIHeader (RFC 9810, 5.1).

use der::asn1::{Any, BitString, Null, OctetString};
use der::{Decode, Sequence};

use super::{
    AlgorithmIdentifier, Encoded, FreeText, GeneralName, GeneralTime, ObjectIdentifier, PkiBody, oid,
};

/// ```text
/// PKIMessage ::= SEQUENCE {
///     header           PKIHeader,
///     body             PKIBody,
///     protection   [0] PKIProtection OPTIONAL,                              -- BIT STRING
///     extraCerts   [1] SEQUENCE SIZE (1..MAX) OF CMPCertificate OPTIONAL }
/// ```
///
/// For writing. What was received is read with [`crate::Message`], which keeps the protected bytes.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiMessage {
    /// Who, to whom, which transaction.
    pub header: PkiHeader,
    /// What.
    pub body: PkiBody,
    /// MAC or signature over header and body.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub protection: Option<BitString>,
    /// Certificates that may help.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub extra_certs: Option<Vec<Encoded>>,
}

/// ```text
/// ProtectedPart ::= SEQUENCE { header PKIHeader, body PKIBody }      -- 5.1.3
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct ProtectedPart {
    /// The header.
    pub header: PkiHeader,
    /// The body.
    pub body: PkiBody,
}

/// ```text
/// PKIHeader ::= SEQUENCE {
///     pvno                INTEGER { cmp1999(1), cmp2000(2), cmp2021(3) },
///     sender              GeneralName,
///     recipient           GeneralName,
///     messageTime     [0] GeneralizedTime         OPTIONAL,
///     protectionAlg   [1] AlgorithmIdentifier     OPTIONAL,
///     senderKID       [2] KeyIdentifier           OPTIONAL,         -- OCTET STRING
///     recipKID        [3] KeyIdentifier           OPTIONAL,
///     transactionID   [4] OCTET STRING            OPTIONAL,
///     senderNonce     [5] OCTET STRING            OPTIONAL,
///     recipNonce      [6] OCTET STRING            OPTIONAL,
///     freeText        [7] PKIFreeText             OPTIONAL,
///     generalInfo     [8] SEQUENCE SIZE (1..MAX) OF InfoTypeAndValue OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiHeader {
    /// Protocol version.
    pub pvno: i64,
    /// Who sends.
    pub sender: GeneralName,
    /// For whom.
    pub recipient: GeneralName,
    /// When.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub message_time: Option<GeneralTime>,
    /// How it is protected.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub protection_alg: Option<AlgorithmIdentifier>,
    /// Which key of the sender: key identifier or MAC reference.
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub sender_kid: Option<OctetString>,
    /// Which key of the recipient.
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub recip_kid: Option<OctetString>,
    /// The transaction, chosen by the client.
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    pub transaction_id: Option<OctetString>,
    /// Fresh for each message.
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub sender_nonce: Option<OctetString>,
    /// The other side's last senderNonce.
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    pub recip_nonce: Option<OctetString>,
    /// Text for people.
    #[asn1(context_specific = "7", tag_mode = "EXPLICIT", optional = "true")]
    pub free_text: Option<FreeText>,
    /// Options.
    #[asn1(context_specific = "8", tag_mode = "EXPLICIT", optional = "true")]
    pub general_info: Option<Vec<InfoTypeAndValue>>,
}

impl PkiHeader {
    /// A header with the three mandatory fields.
    pub fn new(pvno: i64, sender: GeneralName, recipient: GeneralName) -> Self {
        Self {
            pvno,
            sender,
            recipient,
            message_time: None,
            protection_alg: None,
            sender_kid: None,
            recip_kid: None,
            transaction_id: None,
            sender_nonce: None,
            recip_nonce: None,
            free_text: None,
            general_info: None,
        }
    }

    /// The first entry of this type in generalInfo.
    pub fn info(&self, info_type: ObjectIdentifier) -> Option<&InfoTypeAndValue> {
        self.general_info
            .iter()
            .flatten()
            .find(|info| info.info_type == info_type)
    }

    /// Is implicitConfirm there (5.1.1.1)?
    pub fn implicit_confirm(&self) -> bool {
        self.info(oid::IT_IMPLICIT_CONFIRM).is_some()
    }

    /// confirmWaitTime (5.1.1.2).
    pub fn confirm_wait_time(&self) -> Option<jiff::Timestamp> {
        let value = self.info(oid::IT_CONFIRM_WAIT_TIME)?.info_value.as_ref()?;
        value.decode_as::<GeneralTime>().ok()?.timestamp()
    }

    /// The profile names (5.1.1.4).
    pub fn cert_profiles(&self) -> Vec<String> {
        let value = self
            .info(oid::IT_CERT_PROFILE)
            .and_then(|info| info.info_value.as_ref());
        value
            .and_then(|value| value.decode_as::<Vec<String>>().ok())
            .unwrap_or_default()
    }
}

/// ```text
/// InfoTypeAndValue ::= SEQUENCE { infoType OBJECT IDENTIFIER, infoValue ANY DEFINED BY infoType OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct InfoTypeAndValue {
    /// Which.
    pub info_type: ObjectIdentifier,
    /// Its value.
    #[asn1(optional = "true")]
    pub info_value: Option<Any>,
}

impl InfoTypeAndValue {
    /// Without a value.
    pub fn bare(info_type: ObjectIdentifier) -> Self {
        Self {
            info_type,
            info_value: None,
        }
    }

    /// With a value.
    pub fn new<T: der::Tagged + der::EncodeValue>(
        info_type: ObjectIdentifier,
        value: &T,
    ) -> der::Result<Self> {
        Any::encode_from(value).map(|value| Self {
            info_type,
            info_value: Some(value),
        })
    }

    /// implicitConfirm: NULL (5.1.1.1).
    pub fn implicit_confirm() -> der::Result<Self> {
        Self::new(oid::IT_IMPLICIT_CONFIRM, &Null)
    }

    /// The value as a type; `None` if there is none, or it is of another type.
    pub fn value<'a, T: der::DecodeValue<'a> + der::FixedTag + Decode<'a>>(&'a self) -> Option<T> {
        self.info_value.as_ref()?.decode_as().ok()
    }
}
