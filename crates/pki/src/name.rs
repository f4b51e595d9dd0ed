//! Distinguished names (RFC 5280, 4.1.2.4), as text and as DER.
//!
//! A [`Name`] *is* its DER: equality, hashing and what goes into messages are exact. Two texts are understood:
//!
//! * RFC 4514, last RDN first: `CN=Lab Issuing CA,O=Lab`
//! * OpenSSL's, first RDN first: `/O=Lab/CN=Lab Issuing CA`
//!
//! Text that begins with `/` is the second, everything else the first.
//!
//! ```text
//! Name                      ::= SEQUENCE OF RelativeDistinguishedName
//! RelativeDistinguishedName ::= SET SIZE (1..MAX) OF AttributeTypeAndValue
//! AttributeTypeAndValue     ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY }     -- RFC 5280, 4.1.2.4
//! ```
//!
//! Names look simple and are not: one text can be many names (string types), one name can be written in many ways
//! (order, escapes), and a name in a message comes from a peer. So there are three comparisons, and each has its place:
//!
//! | Comparison | Use |
//! | --- | --- |
//! | `==` | binding a signer to a sender, an issuer to a subject: exact bytes |
//! | [`Name::same_rdns`] | settings: what a person typed against what a certificate has |
//! | serialised text | none; it is for reading back |

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use const_oid::ObjectIdentifier;
use der::{Reader, SliceReader, Tag};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::asn1;
use crate::digest::hex;
use crate::error::{Error, Input, check_size};

mod attributes;
mod text;

use attributes::AttributeType;

/// Largest DER of a name.
const MAX_NAME_BYTES: usize = 8 * 1024;
/// Largest text of a name, in bytes.
const MAX_NAME_TEXT_BYTES: usize = 16 * 1024;
/// Most attributes in a name.
const MAX_ATTRIBUTES: usize = 128;

/// A distinguished name. Cloning is cheap.
///
/// Serialised as text from which exactly the same DER can be made again: RFC 4514, where values in an unusual string
/// type are written as `#hex`.
///
/// ```
/// use pki::Name;
///
/// # fn main() -> pki::Result<()> {
/// let name: Name = "CN=Lab Issuing CA,O=Lab".parse()?;
/// assert_eq!(name, "/O=Lab/CN=Lab Issuing CA".parse()?);
/// assert_eq!(name.to_slash(), "/O=Lab/CN=Lab Issuing CA");
/// assert_eq!(name.common_name().as_deref(), Some("Lab Issuing CA"));
///
/// let error = "CN=a;b".parse::<Name>().unwrap_err();
/// assert_eq!(error.to_string(), "at character 5: this character must be escaped with '\\'");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<[u8]>);

/// One attribute of a name: type and value.
///
/// The value is kept as DER, because its string type is part of the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    oid: ObjectIdentifier,
    /// The value with its tag, in DER.
    value: Vec<u8>,
}

/// Attributes that stand side by side, usually one.
type Rdn = Vec<Attribute>;

impl Name {
    /// The empty name, the "NULL-DN" of RFC 9810, 5.1.1.
    ///
    /// The sender of a client that has no name yet, and the subject of a certificate that has alternative names only.
    pub fn empty() -> Self {
        Self(Arc::from(&[asn1::SEQUENCE, 0][..]))
    }

    /// A name with one attribute per RDN, in DER order (country first), for example
    /// `[("C", "DE"), ("O", "Lab"), ("CN", "a")]`. Values are taken as they are, without escapes.
    ///
    /// # Errors
    ///
    /// [`Error::NameSyntax`] with the number of the attribute (from 1) as its position.
    pub fn from_parts(parts: &[(&str, &str)]) -> Result<Self, Error> {
        let mut rdns = Vec::with_capacity(parts.len());
        for (i, (kind, value)) in parts.iter().enumerate() {
            let syntax = |reason| Error::NameSyntax {
                position: i.saturating_add(1),
                reason,
            };
            let kind = AttributeType::from_text(kind).map_err(syntax)?;
            rdns.push(vec![kind.attribute(value).map_err(syntax)?]);
        }
        Self::from_rdns(rdns)
    }

    /// Reads a DER `Name`, at most 8 KiB. The bytes are kept as they are.
    ///
    /// Sets that are not sorted are accepted: their signer has signed them so, and sorting would break the signature.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        check_size(Input::Name, der, MAX_NAME_BYTES)?;
        let name = Self(Arc::from(der));
        let count = name.read()?.iter().map(Vec::len).sum::<usize>();
        if count > MAX_ATTRIBUTES {
            return Err(too_many());
        }
        Ok(name)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Is it the empty name?
    pub fn is_empty(&self) -> bool {
        self.0.get(1) == Some(&0)
    }

    /// The RDNs in DER order, each with its attributes.
    pub fn rdns(&self) -> Vec<Vec<Attribute>> {
        // Every constructor has read the DER once, so this cannot fail.
        self.read().unwrap_or_default()
    }

    /// The last (most specific) common name, if there is one that is text.
    ///
    /// For messages and lists. Nothing is decided by a common name: hosts are checked against alternative names (RFC 9525).
    pub fn common_name(&self) -> Option<String> {
        let attributes = self.rdns().into_iter().flatten();
        attributes
            .rev()
            .filter(|a| a.oid == attributes::COMMON_NAME)
            .find_map(|a| a.text())
    }

    /// Do both names consist of the same RDNs, whatever their order and string types?
    ///
    /// For names from settings: tools print the order both ways (CMP research: "DN order"). Letter case and runs of
    /// blanks do not count (RFC 5280, 7.1). Never use it to bind a signer to a sender; there `==` is right.
    pub fn same_rdns(&self, other: &Self) -> bool {
        self == other || self.folded() == other.folded()
    }

    /// RFC 4514: last RDN first, `CN=a,O=Lab`. Control characters are escaped, so the text is safe in a log line.
    ///
    /// String types are not shown; two different names can have one text.
    pub fn to_rfc4514(&self) -> String {
        text::rfc4514(&self.rdns(), text::Values::Readable)
    }

    /// OpenSSL's form: `/O=Lab/CN=a`, as its options `-subj` and `-subject` read it. The empty name is `/`.
    ///
    /// Written for a command line, not for a log: control characters are not escaped, since OpenSSL knows no escape for
    /// them.
    pub fn to_slash(&self) -> String {
        text::slash(&self.rdns())
    }

    /// Text from which [`FromStr`] makes exactly this DER again.
    ///
    /// For names that a person could have typed it is the usual text, so stored records stay readable.
    fn to_exact_text(&self) -> String {
        let text = text::rfc4514(&self.rdns(), text::Values::Exact);
        match Self::from_str(&text) {
            Ok(again) if again == *self => text,
            // A foreign name whose sets are not sorted.
            _ => format!("#{}", hex(self.der())),
        }
    }

    /// `Name ::= SEQUENCE OF RelativeDistinguishedName`, each a `SET SIZE (1..MAX) OF` type and value.
    fn read(&self) -> Result<Vec<Rdn>, Error> {
        asn1::read_all(Input::Name, &self.0, |reader| {
            reader.sequence(|names| {
                let mut rdns = Vec::new();
                while !names.is_finished() {
                    let mut set = SliceReader::new(asn1::contents(names, Tag::Set)?)?;
                    let mut rdn = vec![Attribute::read(&mut set)?];
                    while !set.is_finished() {
                        rdn.push(Attribute::read(&mut set)?);
                    }
                    rdns.push(rdn);
                }
                Ok(rdns)
            })
        })
    }

    /// Makes the DER; the attributes of a set are sorted by their encoding (X.690, 11.6).
    /// An attribute that stands in a set twice is one attribute.
    fn from_rdns(rdns: Vec<Rdn>) -> Result<Self, Error> {
        if rdns.iter().map(Vec::len).sum::<usize>() > MAX_ATTRIBUTES {
            return Err(too_many());
        }
        let mut contents = Vec::new();
        for rdn in rdns {
            let mut encoded: Vec<Vec<u8>> = rdn.iter().map(Attribute::to_der).collect();
            encoded.sort();
            encoded.dedup();
            contents.extend(asn1::tlv(asn1::SET, &encoded.concat()));
        }
        let der = asn1::tlv(asn1::SEQUENCE, &contents);
        check_size(Input::Name, &der, MAX_NAME_BYTES)?;
        Ok(Self(Arc::from(der)))
    }

    fn folded(&self) -> Vec<Vec<(ObjectIdentifier, String)>> {
        let fold = |a: &Attribute| match a.text() {
            Some(text) => (
                a.oid,
                text.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase(),
            ),
            None => (a.oid, format!("#{}", hex(&a.value))),
        };
        let mut rdns: Vec<Vec<_>> = self
            .rdns()
            .iter()
            .map(|rdn| {
                let mut rdn: Vec<_> = rdn.iter().map(fold).collect();
                rdn.sort();
                rdn
            })
            .collect();
        rdns.sort();
        rdns
    }
}

impl Attribute {
    fn read(reader: &mut SliceReader<'_>) -> der::Result<Self> {
        reader.sequence(|r| {
            let oid = r.decode()?;
            let value = r.tlv_bytes()?.to_vec();
            Ok(Self { oid, value })
        })
    }

    fn to_der(&self) -> Vec<u8> {
        asn1::constructed(asn1::SEQUENCE, &[&asn1::oid(&self.oid), &self.value])
    }

    /// The type.
    pub fn oid(&self) -> ObjectIdentifier {
        self.oid
    }

    /// The type's short name, such as `CN`, or its dotted identifier.
    pub fn type_name(&self) -> Cow<'static, str> {
        match AttributeType::from_oid(self.oid).name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.oid.to_string()),
        }
    }

    /// The value as text; `None` if it is not one of the string types of RFC 5280 or not valid in its type.
    ///
    /// The text is as the certificate has it. Escape it before it is shown; [`Name::to_rfc4514`] does.
    pub fn text(&self) -> Option<String> {
        attributes::decode_text(&self.value)
    }

    /// The value with its tag, in DER.
    pub fn value_der(&self) -> &[u8] {
        &self.value
    }
}

impl FromStr for Name {
    type Err = Error;

    /// Reads either text form; see the module's documentation. `#` and the hexadecimal DER of a whole name is read
    /// too. The error names the position and what is allowed there.
    fn from_str(text: &str) -> Result<Self, Error> {
        check_size(Input::Name, text.as_bytes(), MAX_NAME_TEXT_BYTES)?;
        if let Some(digits) = text.strip_prefix('#') {
            let der = crate::digest::from_hex(digits).ok_or(Error::NameSyntax {
                position: 1,
                reason: "'#' must be followed by the name's DER in hexadecimal digits".into(),
            })?;
            return Self::from_der(&der);
        }
        let rdns = if text.starts_with('/') {
            text::parse_slash(text)?
        } else {
            text::parse_rfc4514(text)?
        };
        Self::from_rdns(rdns)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc4514())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::empty()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_exact_text())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn too_many() -> Error {
    Error::TooLarge {
        input: Input::Name,
        limit: MAX_ATTRIBUTES,
        unit: "attributes",
    }
}
