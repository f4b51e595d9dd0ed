//! The building blocks: values kept as they came, names, times, texts.

use std::fmt;

use der::{
    Decode, DecodeValue, Encode, EncodeValue, FixedTag, Header, Length, Reader, Tag, TagNumber, Tagged,
    Writer,
};
use jiff::Timestamp;
use pki::Name;

/// A SEQUENCE that is kept as the DER that came: certificate, public key, CRL.
///
/// It is cut out by its length only; whoever needs its contents parses them, so one that cannot be parsed does not
/// spoil the message around it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoded(Box<[u8]>);

impl Encoded {
    /// Takes the DER of one SEQUENCE.
    pub fn new(der: &[u8]) -> der::Result<Self> {
        Self::from_der(der)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    fn contents(&self) -> &[u8] {
        contents(&self.0)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

impl<'a> DecodeValue<'a> for Encoded {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let contents = reader.read_slice(header.length())?;
        // Under an IMPLICIT tag the SEQUENCE tag was not there; outside it always is.
        with_header(Tag::Sequence, contents).map(|bytes| Self(bytes.into_boxed_slice()))
    }
}

impl FixedTag for Encoded {
    const TAG: Tag = Tag::Sequence;
}

impl EncodeValue for Encoded {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.contents().len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.contents())
    }
}

/// A distinguished name (RFC 5280, 4.1.2.4), the DER that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dn(pub Name);

impl<'a> Decode<'a> for Dn {
    type Error = der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let bytes = reader.tlv_bytes()?;
        Name::from_der(bytes)
            .map(Self)
            .map_err(|_| reader.error(Tag::Sequence.value_error()))
    }
}

impl FixedTag for Dn {
    const TAG: Tag = Tag::Sequence;
}

impl EncodeValue for Dn {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(contents(self.0.der()).len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(contents(self.0.der()))
    }
}

/// ```text
/// GeneralName ::= CHOICE {                        -- RFC 5280, 4.2.1.6
///     otherName [0] OtherName, rfc822Name [1] IA5String, dNSName [2] IA5String, x400Address [3] ORAddress,
///     directoryName [4] Name, ediPartyName [5] EDIPartyName, uniformResourceIdentifier [6] IA5String,
///     iPAddress [7] OCTET STRING, registeredID [8] OBJECT IDENTIFIER }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneralName {
    /// directoryName, the only form that the Lightweight Profile uses (RFC 9483, 3.1).
    Directory(Dn),
    /// uniformResourceIdentifier, as distribution points name themselves.
    Uri(Vec<u8>),
    /// Any other form: tag number and contents.
    Other(Tag, Vec<u8>),
}

impl GeneralName {
    const DIRECTORY: Tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(4),
    };
    const URI: Tag = Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(6),
    };

    /// A directoryName.
    pub fn directory(name: Name) -> Self {
        Self::Directory(Dn(name))
    }

    /// The name, if it is a directoryName.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Directory(Dn(name)) => Some(name),
            Self::Uri(_) | Self::Other(..) => None,
        }
    }
}

impl<'a> Decode<'a> for GeneralName {
    type Error = der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        let header = Header::decode(reader)?;
        match header.tag() {
            Self::DIRECTORY => reader
                .read_nested(header.length(), Dn::decode)
                .map(Self::Directory),
            Self::URI => reader.read_vec(header.length()).map(Self::Uri),
            tag @ Tag::ContextSpecific { .. } => reader
                .read_vec(header.length())
                .map(|contents| Self::Other(tag, contents)),
            other => Err(reader.error(other.unexpected_error(None))),
        }
    }
}

impl Tagged for GeneralName {
    fn tag(&self) -> Tag {
        match self {
            Self::Directory(_) => Self::DIRECTORY,
            Self::Uri(_) => Self::URI,
            Self::Other(tag, _) => *tag,
        }
    }
}

impl EncodeValue for GeneralName {
    fn value_len(&self) -> der::Result<Length> {
        match self {
            Self::Directory(name) => name.encoded_len(),
            Self::Uri(contents) | Self::Other(_, contents) => Length::try_from(contents.len()),
        }
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        match self {
            Self::Directory(name) => name.encode(writer),
            Self::Uri(contents) | Self::Other(_, contents) => writer.write(contents),
        }
    }
}

/// GeneralizedTime, kept as its text: peers write fractions of seconds, which RFC 9483, 3.1, does not want and DER
/// (X.690, 11.7) allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralTime(String);

impl GeneralTime {
    /// The form of RFC 9483, 3.1: UTC, full seconds. Only years 0 to 9999 exist in it.
    pub fn from_timestamp(time: Timestamp) -> Self {
        Self(time.strftime("%Y%m%d%H%M%SZ").to_string())
    }

    /// The time; fractions are dropped. `None` for local times and other forms that DER forbids.
    pub fn timestamp(&self) -> Option<Timestamp> {
        let text = self.0.strip_suffix('Z')?;
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if seconds.len() != 14 || !digits(seconds) || !digits(fraction) {
            return None;
        }
        let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", seconds).ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    }
}

impl<'a> DecodeValue<'a> for GeneralTime {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let bytes = reader.read_vec(header.length())?;
        match String::from_utf8(bytes) {
            Ok(text) if text.len() <= 32 && text.is_ascii() => Ok(Self(text)),
            _ => Err(reader.error(Self::TAG.value_error())),
        }
    }
}

impl FixedTag for GeneralTime {
    const TAG: Tag = Tag::GeneralizedTime;
}

impl EncodeValue for GeneralTime {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.0.len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.0.as_bytes())
    }
}

/// `PKIFreeText ::= SEQUENCE SIZE (1..MAX) OF UTF8String` (RFC 9810, 5.1.1). Kept as bytes: text that is not UTF-8 must
/// not hide the error message around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeText(Vec<Utf8Bytes>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Utf8Bytes(Vec<u8>);

impl FreeText {
    /// One text.
    pub fn new(text: &str) -> Self {
        Self(vec![Utf8Bytes(text.as_bytes().to_vec())])
    }

    /// The texts, as they came. Escape them before showing them: [`crate::error::escape`].
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|text| text.0.as_slice())
    }

    /// Sum of the lengths, in bytes.
    pub fn total_bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

impl<'a> DecodeValue<'a> for FreeText {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        Vec::decode_value(reader, header).map(Self)
    }
}

impl FixedTag for FreeText {
    const TAG: Tag = Tag::Sequence;
}

impl EncodeValue for FreeText {
    fn value_len(&self) -> der::Result<Length> {
        self.0.value_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.0.encode_value(writer)
    }
}

impl<'a> DecodeValue<'a> for Utf8Bytes {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        reader.read_vec(header.length()).map(Self)
    }
}

impl FixedTag for Utf8Bytes {
    const TAG: Tag = Tag::Utf8String;
}

impl EncodeValue for Utf8Bytes {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.0.len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(&self.0)
    }
}

/// The contents of one complete DER value.
fn contents(der: &[u8]) -> &[u8] {
    // Every constructor has read the header once.
    let header_len = Header::from_der_prefix(der).unwrap_or(der.len());
    der.get(header_len..).unwrap_or_default()
}

trait HeaderLength {
    fn from_der_prefix(der: &[u8]) -> Option<usize>;
}

impl HeaderLength for Header {
    /// Length of tag and length octets.
    fn from_der_prefix(der: &[u8]) -> Option<usize> {
        let mut reader = der::SliceReader::new(der).ok()?;
        let header = Self::decode(&mut reader).ok()?;
        usize::try_from(header.encoded_len().ok()?).ok()
    }
}

fn with_header(tag: Tag, contents: &[u8]) -> der::Result<Vec<u8>> {
    let header = Header::new(tag, Length::try_from(contents.len())?);
    let mut bytes = Vec::with_capacity(contents.len().saturating_add(6));
    header.encode_to_vec(&mut bytes)?;
    bytes.extend_from_slice(contents);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_fractions_are_read_and_kept() {
        let time: Timestamp = "2026-11-24T12:34:56Z".parse().unwrap();
        assert_eq!(
            GeneralTime::from_timestamp(time),
            GeneralTime("20261124123456Z".to_owned())
        );
        for text in ["20261124123456Z", "20261124123456.789Z"] {
            let value = GeneralTime(text.to_owned());
            assert_eq!(value.timestamp(), Some(time));
            assert_eq!(GeneralTime::from_der(&value.to_der().unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn times_that_der_forbids_are_no_times() {
        for text in [
            "20261124123456",
            "20261124123456+0100",
            "202611241234Z",
            "20261324123456Z",
            "2026112412345xZ",
        ] {
            assert_eq!(GeneralTime(text.to_owned()).timestamp(), None, "{text}");
        }
    }

    #[test]
    fn encoded_values_keep_their_bytes_with_any_length() {
        for length in [0usize, 1, 0x7f, 0x80, 0x1234] {
            let der = with_header(Tag::Sequence, &vec![5; length]).unwrap();
            let value = Encoded::new(&der).unwrap();
            assert_eq!(value.der(), der);
            assert_eq!(value.to_der().unwrap(), der);
        }
        assert!(Encoded::new(&[0x31, 0]).is_err());
    }

    #[test]
    fn every_form_of_general_name_comes_back_as_it_was() {
        let forms: [&[u8]; 4] = [
            &[0xa4, 2, 0x30, 0],
            &[0x82, 1, b'a'],
            &[0x86, 1, b'u'],
            &[0xa0, 4, 6, 0, 0xa0, 0],
        ];
        for der in forms {
            assert_eq!(GeneralName::from_der(der).unwrap().to_der().unwrap(), der);
        }
        assert!(GeneralName::from_der(&[0x30, 0]).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_kept() {
        let der = [0x30, 3, 0x0c, 1, 0xff];
        let text = FreeText::from_der(&der).unwrap();
        assert_eq!(
            (text.total_bytes(), text.to_der().unwrap().as_slice()),
            (1, &der[..])
        );
    }
}
