//! PKIBody (RFC 9810, 5.1.2).

use der::asn1::{Any, Null};
use der::{Decode, Encode, EncodeValue, Header, Length, Reader, Tag, TagNumber, Tagged, Writer};

use super::{
    CertConfirm, CertRepMessage, CertReqMessages, Encoded, ErrorMsg, GenContent, PollRep, PollReq,
    RevRepContent, RevReqContent,
};

/// ```text
/// PKIBody ::= CHOICE {
///     ir [0] CertReqMessages,  ip [1] CertRepMessage,   cr [2] CertReqMessages,  cp [3] CertRepMessage,
///     p10cr [4] CertificationRequest,                   popdecc [5], popdecr [6],
///     kur [7] CertReqMessages, kup [8] CertRepMessage,  krr [9], krp [10],
///     rr [11] RevReqContent,   rp [12] RevRepContent,   ccr [13], ccp [14],
///     ckuann [15], cann [16], rann [17], crlann [18],   pkiconf [19] NULL,       nested [20] PKIMessages,
///     genm [21] GenMsgContent, genp [22] GenRepContent, error [23] ErrorMsgContent,
///     certConf [24] CertConfirmContent,                 pollReq [25] PollReqContent, pollRep [26] PollRepContent }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PkiBody {
    /// Initialization request.
    Ir(CertReqMessages),
    /// Its answer.
    Ip(CertRepMessage),
    /// Certification request.
    Cr(CertReqMessages),
    /// Its answer, also to p10cr.
    Cp(CertRepMessage),
    /// A PKCS#10 request.
    P10cr(Encoded),
    /// Key update request.
    Kur(CertReqMessages),
    /// Its answer.
    Kup(CertRepMessage),
    /// Revocation request.
    Rr(RevReqContent),
    /// Its answer.
    Rp(RevRepContent),
    /// Answer to certConf.
    PkiConf(Null),
    /// General message.
    Genm(GenContent),
    /// Its answer.
    Genp(GenContent),
    /// Error.
    Error(ErrorMsg),
    /// Certificate confirmation.
    CertConf(CertConfirm),
    /// Polling request.
    PollReq(PollReq),
    /// Its answer.
    PollRep(PollRep),
    /// Any other, by number; not supported, kept as it came.
    Other(u8, Any),
}

impl PkiBody {
    /// The number of the alternative.
    pub fn number(&self) -> u8 {
        match self {
            Self::Ir(_) => 0,
            Self::Ip(_) => 1,
            Self::Cr(_) => 2,
            Self::Cp(_) => 3,
            Self::P10cr(_) => 4,
            Self::Kur(_) => 7,
            Self::Kup(_) => 8,
            Self::Rr(_) => 11,
            Self::Rp(_) => 12,
            Self::PkiConf(_) => 19,
            Self::Genm(_) => 21,
            Self::Genp(_) => 22,
            Self::Error(_) => 23,
            Self::CertConf(_) => 24,
            Self::PollReq(_) => 25,
            Self::PollRep(_) => 26,
            Self::Other(number, _) => *number,
        }
    }

    /// The name of the alternative in the RFC.
    pub fn name(&self) -> &'static str {
        const NAMES: [&str; 27] = [
            "ir", "ip", "cr", "cp", "p10cr", "popdecc", "popdecr", "kur", "kup", "krr", "krp", "rr", "rp",
            "ccr", "ccp", "ckuann", "cann", "rann", "crlann", "pkiconf", "nested", "genm", "genp", "error",
            "certConf", "pollReq", "pollRep",
        ];
        NAMES
            .get(usize::from(self.number()))
            .copied()
            .unwrap_or("unknown body")
    }

    fn decode_content<'a, R: Reader<'a>>(number: u8, reader: &mut R) -> der::Result<Self> {
        Ok(match number {
            0 => Self::Ir(reader.decode()?),
            1 => Self::Ip(reader.decode()?),
            2 => Self::Cr(reader.decode()?),
            3 => Self::Cp(reader.decode()?),
            4 => Self::P10cr(reader.decode()?),
            7 => Self::Kur(reader.decode()?),
            8 => Self::Kup(reader.decode()?),
            11 => Self::Rr(reader.decode()?),
            12 => Self::Rp(reader.decode()?),
            19 => Self::PkiConf(reader.decode()?),
            21 => Self::Genm(reader.decode()?),
            22 => Self::Genp(reader.decode()?),
            23 => Self::Error(reader.decode()?),
            24 => Self::CertConf(reader.decode()?),
            25 => Self::PollReq(reader.decode()?),
            26 => Self::PollRep(reader.decode()?),
            other => Self::Other(other, reader.decode()?),
        })
    }
}

/// Runs `$action` on the content of a body, whatever its type.
macro_rules! on_content {
    ($body:expr, $content:ident => $action:expr) => {
        match $body {
            PkiBody::Ir($content) | PkiBody::Cr($content) | PkiBody::Kur($content) => $action,
            PkiBody::Ip($content) | PkiBody::Cp($content) | PkiBody::Kup($content) => $action,
            PkiBody::P10cr($content) => $action,
            PkiBody::Rr($content) => $action,
            PkiBody::Rp($content) => $action,
            PkiBody::PkiConf($content) => $action,
            PkiBody::Genm($content) | PkiBody::Genp($content) => $action,
            PkiBody::Error($content) => $action,
            PkiBody::CertConf($content) => $action,
            PkiBody::PollReq($content) => $action,
            PkiBody::PollRep($content) => $action,
            PkiBody::Other(_, $content) => $action,
        }
    };
}

impl<'a> Decode<'a> for PkiBody {
    type Error = der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let header = Header::decode(reader)?;
        let Tag::ContextSpecific {
            constructed: true,
            number,
        } = header.tag()
        else {
            return Err(reader.error(header.tag().unexpected_error(None)));
        };
        let number = u8::try_from(number.value()).map_err(|_| reader.error(header.tag().value_error()))?;
        reader.read_nested(header.length(), |inner| Self::decode_content(number, inner))
    }
}

impl Tagged for PkiBody {
    fn tag(&self) -> Tag {
        Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(u32::from(self.number())),
        }
    }
}

impl EncodeValue for PkiBody {
    fn value_len(&self) -> der::Result<Length> {
        on_content!(self, content => content.encoded_len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        on_content!(self, content => content.encode(writer))
    }
}
