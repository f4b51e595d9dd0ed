//! Attribute types: their names, and the string type that a value gets (RFC 5280, appendix A; RFC 4519).
//!
//! ```text
//! DirectoryString ::= CHOICE { teletexString, printableString, universalString, utf8String, bmpString }
//! ```
//!
//! New values are UTF8String (RFC 5280, 4.1.2.4), except where the attribute's own definition leaves no choice. What
//! CAs have issued in thirty years is read in every type.

use std::borrow::Cow;

use const_oid::ObjectIdentifier;
use der::{SliceReader, Tag};

use crate::asn1;
use crate::name::Attribute;

/// `id-at-commonName`.
pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");

/// The string type that RFC 5280 wants for an attribute.
///
/// OpenSSL picks the same ones, so a name typed there and a name typed here are equal byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringKind {
    /// `DirectoryString`, for which RFC 5280, 4.1.2.4, wants UTF8String.
    Utf8,
    /// `PrintableString`: country, serial number, qualifier.
    Printable,
    /// `IA5String`, which is ASCII: mail addresses and domain components.
    Ia5,
}

const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;

/// Identifier, name we write, other names we read, string type.
///
/// The first 20 or so are from RFC 5280, A.1, and RFC 4519; 2.5.4.97 is X.520's, used by eIDAS certificates; the three
/// at the end are of the extended validation rules of the CA/Browser Forum.
type Row = (&'static str, &'static str, &'static [&'static str], StringKind);

/// The names are OpenSSL's short names, so that either text form is understood by it.
const TABLE: &[Row] = &[
    ("2.5.4.3", "CN", &["commonName"], StringKind::Utf8),
    ("2.5.4.4", "SN", &["surname"], StringKind::Utf8),
    ("2.5.4.5", "serialNumber", &[], StringKind::Printable),
    ("2.5.4.6", "C", &["countryName"], StringKind::Printable),
    ("2.5.4.7", "L", &["localityName"], StringKind::Utf8),
    ("2.5.4.8", "ST", &["S", "stateOrProvinceName"], StringKind::Utf8),
    ("2.5.4.9", "street", &["streetAddress"], StringKind::Utf8),
    ("2.5.4.10", "O", &["organizationName"], StringKind::Utf8),
    ("2.5.4.11", "OU", &["organizationalUnitName"], StringKind::Utf8),
    ("2.5.4.12", "title", &["T"], StringKind::Utf8),
    ("2.5.4.13", "description", &[], StringKind::Utf8),
    ("2.5.4.15", "businessCategory", &[], StringKind::Utf8),
    ("2.5.4.17", "postalCode", &[], StringKind::Utf8),
    ("2.5.4.41", "name", &[], StringKind::Utf8),
    ("2.5.4.42", "GN", &["givenName", "G"], StringKind::Utf8),
    ("2.5.4.43", "initials", &[], StringKind::Utf8),
    ("2.5.4.44", "generationQualifier", &[], StringKind::Utf8),
    ("2.5.4.46", "dnQualifier", &["DNQ"], StringKind::Printable),
    ("2.5.4.65", "pseudonym", &[], StringKind::Utf8),
    ("2.5.4.97", "organizationIdentifier", &[], StringKind::Utf8),
    ("0.9.2342.19200300.100.1.1", "UID", &["userId"], StringKind::Utf8),
    (
        "0.9.2342.19200300.100.1.25",
        "DC",
        &["domainComponent"],
        StringKind::Ia5,
    ),
    (
        "1.2.840.113549.1.9.1",
        "emailAddress",
        &["E", "email"],
        StringKind::Ia5,
    ),
    ("1.2.840.113549.1.9.2", "unstructuredName", &[], StringKind::Utf8),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL", &[], StringKind::Utf8),
    (
        "1.3.6.1.4.1.311.60.2.1.2",
        "jurisdictionST",
        &[],
        StringKind::Utf8,
    ),
    (
        "1.3.6.1.4.1.311.60.2.1.3",
        "jurisdictionC",
        &[],
        StringKind::Printable,
    ),
];

/// A known attribute type, or an unknown one by its identifier.
///
/// Unknown types are fine: values are UTF8String then, unless they are given as DER.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttributeType {
    pub(super) oid: ObjectIdentifier,
    /// The short name, if we know one.
    pub(super) name: Option<&'static str>,
    kind: StringKind,
}

impl AttributeType {
    pub(super) fn from_oid(oid: ObjectIdentifier) -> Self {
        let known = TABLE.iter().find(|row| ObjectIdentifier::new(row.0) == Ok(oid));
        match known {
            Some((_, name, _, kind)) => Self {
                oid,
                name: Some(name),
                kind: *kind,
            },
            None => Self {
                oid,
                name: None,
                kind: StringKind::Utf8,
            },
        }
    }

    /// Reads a type: a name in any letter case (RFC 4514, 2.3), or a dotted identifier with or without `OID.`.
    pub(super) fn from_text(text: &str) -> Result<Self, Cow<'static, str>> {
        let known = TABLE.iter().find(|(_, name, others, _)| {
            name.eq_ignore_ascii_case(text) || others.iter().any(|other| other.eq_ignore_ascii_case(text))
        });
        let dotted = match known {
            Some((oid, ..)) => oid,
            None => text
                .strip_prefix("OID.")
                .or(text.strip_prefix("oid."))
                .unwrap_or(text),
        };
        let oid = Some(dotted)
            .filter(|d| d.contains('.'))
            .and_then(|d| ObjectIdentifier::new(d).ok());
        oid.map(Self::from_oid).ok_or_else(|| {
            let names: Vec<&str> = TABLE.iter().map(|row| row.1).collect();
            let names = names.join(", ");
            if text.is_empty() {
                format!("attribute type is missing; allowed: {names} or a dotted identifier").into()
            } else {
                format!("unknown attribute type; allowed: {names} or a dotted identifier").into()
            }
        })
    }

    /// An attribute of this type with a text as its value, in the string type that RFC 5280 wants.
    ///
    /// Checked here: no empty values (`SIZE (1..ub)`), the two letters of a country, the characters of the string type.
    /// Upper bounds are not, since RFC 5280 calls them a rule for CAs, and real names exceed them.
    pub(super) fn attribute(self, text: &str) -> Result<Attribute, Cow<'static, str>> {
        if text.is_empty() {
            return Err("value is empty; at least one character is needed".into());
        }
        if self.oid == COUNTRY && !(text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())) {
            return Err("country must be two letters (ISO 3166)".into());
        }
        let tag = match self.kind {
            StringKind::Utf8 => UTF8_STRING,
            StringKind::Printable if text.chars().all(is_printable) => PRINTABLE_STRING,
            StringKind::Printable => {
                return Err("value may have letters, digits, blanks and '()+,-./:=? only".into());
            }
            StringKind::Ia5 if text.is_ascii() => IA5_STRING,
            StringKind::Ia5 => return Err("value may have ASCII characters only".into()),
        };
        Ok(Attribute {
            oid: self.oid,
            value: asn1::tlv(tag, text.as_bytes()),
        })
    }

    /// An attribute of this type with any DER value (RFC 4514, 2.4: `#` and hexadecimal digits).
    pub(super) fn attribute_der(self, der: Vec<u8>) -> Result<Attribute, Cow<'static, str>> {
        match asn1::first_value(&der) {
            Some((_, [])) => Ok(Attribute {
                oid: self.oid,
                value: der,
            }),
            _ => Err("'#' must be followed by the hexadecimal digits of one DER value".into()),
        }
    }
}

/// `PrintableString` (X.680, 41.4).
///
/// Neither `@` nor `_` nor `*` is in it, which surprises people; hence the list in the error.
fn is_printable(c: char) -> bool {
    c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c)
}

/// The text of a string value. TeletexString is read as Latin-1, which is what those who wrote it meant.
///
/// UniversalString is left out: the reader does not know the type, and nobody has been seen to use it.
pub(super) fn decode_text(value: &[u8]) -> Option<String> {
    let mut reader = SliceReader::new(value).ok()?;
    let (tag, contents) = asn1::any(&mut reader).ok()?;
    let ascii = || {
        contents
            .is_ascii()
            .then(|| contents.iter().map(|b| char::from(*b)).collect())
    };
    match tag_octet(tag)? {
        UTF8_STRING => String::from_utf8(contents.to_vec()).ok(),
        NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => ascii(),
        TELETEX_STRING => Some(contents.iter().map(|b| char::from(*b)).collect()),
        BMP_STRING => {
            let (units, rest) = contents.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        UNIVERSAL_STRING => {
            let (units, rest) = contents.as_chunks::<4>();
            let chars = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| chars.collect()).flatten()
        }
        _ => None,
    }
}

fn tag_octet(tag: Tag) -> Option<u8> {
    match tag {
        Tag::Utf8String => Some(UTF8_STRING),
        Tag::NumericString => Some(NUMERIC_STRING),
        Tag::PrintableString => Some(PRINTABLE_STRING),
        Tag::TeletexString => Some(TELETEX_STRING),
        Tag::Ia5String => Some(IA5_STRING),
        Tag::VisibleString => Some(VISIBLE_STRING),
        Tag::BmpString => Some(BMP_STRING),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_name_twice() {
        let mut names: Vec<String> = TABLE
            .iter()
            .flat_map(|(_, name, others, _)| [*name].into_iter().chain(others.iter().copied()))
            .map(str::to_lowercase)
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn types_are_known_by_name_alias_and_identifier() {
        for text in ["CN", "cn", "commonName", "2.5.4.3", "OID.2.5.4.3", "oid.2.5.4.3"] {
            assert_eq!(AttributeType::from_text(text).unwrap().oid, COMMON_NAME, "{text}");
        }
        assert_eq!(AttributeType::from_text("1.2.3.4").unwrap().name, None);
        for wrong in ["", "CNN", "1", "9.9.9", "2.5.4.", "OID.CN"] {
            assert!(AttributeType::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_string_type_of_rfc_5280_is_read() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (&[0x0c, 2, 0xc3, 0xa9], Some("é")),
            (&[0x13, 2, b'a', b'b'], Some("ab")),
            (&[0x16, 1, b'@'], Some("@")),
            (&[0x14, 1, 0xe9], Some("é")),
            (&[0x1e, 2, 0x20, 0xac], Some("€")),
            (&[0x1e, 1, 0x20], None),
            (&[0x13, 1, 0xe9], None),
            (&[0x0c, 1, 0xff], None),
            (&[0x02, 1, 1], None),
        ];
        for (der, text) in cases {
            assert_eq!(decode_text(der).as_deref(), text, "{der:?}");
        }
    }
}
