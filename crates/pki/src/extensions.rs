//! The X.509 extensions this program writes and understands (RFC 5280, 4.2).
//!
//! ```text
//! Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension
//! Extension  ::= SEQUENCE {
//!     extnID     OBJECT IDENTIFIER,
//!     critical   BOOLEAN DEFAULT FALSE,
//!     extnValue  OCTET STRING }            -- DER of the extension's own type; RFC 5280, 4.1
//! ```
//!
//! Certificates and requests share the format, so both read it here. An extension that we know must be readable: a
//! damaged key usage is not "no key usage". Extensions that we do not know are listed and passed over; whether they
//! forbid to use the certificate is decided where paths are verified.

use std::net::{Ipv4Addr, Ipv6Addr};

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;
use der::asn1::BitStringRef;
use der::{Reader, SliceReader, Tag};

use crate::asn1;
use crate::error::{Error, Input};
use crate::template::{ExtendedKeyUsage, ForeignKind, KeyUsage, KeyUsages, San};

/// Most extensions of a certificate, and most entries of one extension.
const MAX_ENTRIES: usize = 1000;

/// `BasicConstraints` (RFC 5280, 4.2.1.9).
///
/// ```text
/// BasicConstraints ::= SEQUENCE {
///     cA                 BOOLEAN DEFAULT FALSE,
///     pathLenConstraint  INTEGER (0..MAX) OPTIONAL }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicConstraints {
    /// May the key sign certificates?
    pub is_ca: bool,
    /// How many CA certificates may follow below this one; `None` is "any number".
    pub path_length: Option<u32>,
}

/// What a list of extensions says.
///
/// `None` is "the extension is not there", which for most of them means "no restriction".
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) sans: Vec<San>,
    /// Alternative names of kinds we do not use: directory names, other names, registered identifiers.
    pub(crate) other_sans: usize,
    pub(crate) key_usage: Option<KeyUsages>,
    pub(crate) extended_key_usages: Option<Vec<ExtendedKeyUsage>>,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    pub(crate) has_name_constraints: bool,
    /// All identifiers in order, with their criticality.
    pub(crate) present: Vec<(ObjectIdentifier, bool)>,
}

/// Extensions whose meaning is enforced by path verification; others must not be critical (RFC 5280, 4.2).
///
/// The same list as rustls-webpki's and the two key identifiers, which only help to find issuers. Policies are not in
/// it: a CA that marks them critical asks for a policy check that nobody here makes.
const UNDERSTOOD: [ObjectIdentifier; 8] = [
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_NAME_CONSTRAINTS,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
    rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
    rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS,
];

impl Extensions {
    /// Reads the contents of `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension`.
    ///
    /// # Errors
    ///
    /// An extension that is there twice (RFC 5280, 4.2), or one of those below that cannot be read; the error names it.
    pub(crate) fn read(input: Input, contents: &[u8]) -> Result<Self, Error> {
        let list = asn1::read_all(input, contents, |reader| {
            let mut list = Vec::new();
            while !reader.is_finished() && list.len() <= MAX_ENTRIES {
                list.push(read_extension(reader)?);
            }
            // Too many end up as left-over bytes; no certificate of this size has a thousand extensions.
            Ok(list)
        })?;
        let mut extensions = Self::default();
        for (oid, critical, value) in list {
            if extensions.present.iter().any(|(seen, _)| *seen == oid) {
                return Err(Error::malformed(input, format!("extension {oid} is there twice")));
            }
            extensions.present.push((oid, critical));
            extensions.take(input, oid, value)?;
        }
        Ok(extensions)
    }

    /// The first critical extension that nothing here understands.
    ///
    /// The order is the certificate's, so the same certificate always gives the same error.
    pub(crate) fn unknown_critical(&self) -> Option<ObjectIdentifier> {
        let unknown = |(oid, critical): &&(ObjectIdentifier, bool)| *critical && !UNDERSTOOD.contains(oid);
        self.present.iter().find(unknown).map(|(oid, _)| *oid)
    }

    fn take(&mut self, input: Input, oid: ObjectIdentifier, value: &[u8]) -> Result<(), Error> {
        let malformed = |what: &str| Error::malformed(input, format!("extension {what} cannot be read"));
        if oid == rfc5280::ID_CE_BASIC_CONSTRAINTS {
            let constraints = asn1::read_all(input, value, read_basic_constraints);
            self.basic_constraints = Some(constraints.map_err(|_| malformed("basicConstraints"))?);
        } else if oid == rfc5280::ID_CE_KEY_USAGE {
            let bits = asn1::read_all(input, value, |r| r.decode::<BitStringRef<'_>>());
            let bits = bits.map_err(|_| malformed("keyUsage"))?;
            let set = KeyUsage::ALL
                .into_iter()
                .filter(|usage| bits.get(*usage as usize) == Some(true));
            self.key_usage = Some(set.collect());
        } else if oid == rfc5280::ID_CE_EXT_KEY_USAGE {
            let purposes = asn1::read_all(input, value, read_purposes);
            self.extended_key_usages = Some(purposes.map_err(|_| malformed("extKeyUsage"))?);
        } else if oid == rfc5280::ID_CE_SUBJECT_ALT_NAME {
            let names = asn1::read_all(input, value, read_general_names);
            (self.sans, self.other_sans) = names.map_err(|_| malformed("subjectAltName"))?;
        } else if oid == rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER {
            let id = asn1::read_all(input, value, |r| asn1::contents(r, Tag::OctetString));
            self.subject_key_id = Some(id.map_err(|_| malformed("subjectKeyIdentifier"))?.to_vec());
        } else if oid == rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER {
            let id = asn1::read_all(input, value, read_authority_key_id);
            self.authority_key_id = id.map_err(|_| malformed("authorityKeyIdentifier"))?;
        } else if oid == rfc5280::ID_CE_NAME_CONSTRAINTS {
            self.has_name_constraints = true;
        }
        Ok(())
    }
}

/// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
fn read_extension<'a>(reader: &mut SliceReader<'a>) -> der::Result<(ObjectIdentifier, bool, &'a [u8])> {
    reader.sequence(|r| {
        let oid = r.decode()?;
        let critical = read_optional_bool(r)?;
        let value = asn1::contents(r, Tag::OctetString)?;
        Ok((oid, critical, value))
    })
}

/// A BOOLEAN with default FALSE. An explicit FALSE is not DER, but common, and does no harm.
/// TRUE must be 0xff, as DER wants.
fn read_optional_bool(reader: &mut SliceReader<'_>) -> der::Result<bool> {
    if !reader.is_finished() && Tag::peek(reader)? == Tag::Boolean {
        return reader.decode();
    }
    Ok(false)
}

fn read_basic_constraints(reader: &mut SliceReader<'_>) -> der::Result<BasicConstraints> {
    reader.sequence(|r| {
        let is_ca = read_optional_bool(r)?;
        let path_length = if r.is_finished() { None } else { Some(r.decode()?) };
        Ok(BasicConstraints { is_ca, path_length })
    })
}

fn read_purposes(reader: &mut SliceReader<'_>) -> der::Result<Vec<ExtendedKeyUsage>> {
    reader.sequence(|r| {
        let mut purposes = Vec::new();
        while !r.is_finished() && purposes.len() < MAX_ENTRIES {
            purposes.push(ExtendedKeyUsage::from_oid(r.decode()?));
        }
        Ok(purposes)
    })
}

/// `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] IMPLICIT OCTET STRING OPTIONAL, .. }` (4.2.1.1)
fn read_authority_key_id(reader: &mut SliceReader<'_>) -> der::Result<Option<Vec<u8>>> {
    reader.sequence(|r| {
        let id = asn1::optional(r, asn1::context_tag(0, false))?.map(<[u8]>::to_vec);
        while !r.is_finished() {
            r.tlv_bytes()?;
        }
        Ok(id)
    })
}

/// ```text
/// GeneralName ::= CHOICE {
///     rfc822Name                 [1]  IA5String,
///     dNSName                    [2]  IA5String,
///     uniformResourceIdentifier  [6]  IA5String,
///     iPAddress                  [7]  OCTET STRING,
///     ... }                                             -- RFC 5280, 4.2.1.6
/// ```
///
/// Gives the names we use and the number of the others.
/// Others are counted rather than dropped in silence, so that "no alternative names" is never said of a certificate
/// that has some.
fn read_general_names(reader: &mut SliceReader<'_>) -> der::Result<(Vec<San>, usize)> {
    reader.sequence(|r| {
        let mut names = Vec::new();
        let mut others = 0usize;
        while !r.is_finished() && names.len().saturating_add(others) < MAX_ENTRIES {
            let (tag, contents) = asn1::any(r)?;
            let name = match tag {
                Tag::ContextSpecific {
                    constructed: false,
                    number,
                } => match number.value() {
                    1 => San::foreign(ForeignKind::Email, contents),
                    2 => San::foreign(ForeignKind::Dns, contents),
                    6 => San::foreign(ForeignKind::Uri, contents),
                    7 => ip_from_octets(contents),
                    _ => None,
                },
                _ => None,
            };
            match name {
                Some(name) => names.push(name),
                None => others = others.saturating_add(1),
            }
        }
        Ok((names, others))
    })
}

fn ip_from_octets(octets: &[u8]) -> Option<San> {
    let four = <[u8; 4]>::try_from(octets).map(|o| San::Ip(Ipv4Addr::from(o).into()));
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(|o| San::Ip(Ipv6Addr::from(o).into())))
        .ok()
}

/// An `Extension` around a DER value.
///
/// FALSE is the default and so is left out (X.690, 11.5).
fn extension(oid: &ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        asn1::tlv(asn1::BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    asn1::constructed(
        asn1::SEQUENCE,
        &[&asn1::oid(oid), &flag, &asn1::tlv(asn1::OCTET_STRING, value)],
    )
}

/// Basic constraints of a CA, without a path length.
///
/// The path length is the CA's business; a wish for one would be ignored by most.
pub(crate) fn basic_constraints_ca() -> Vec<u8> {
    let value = asn1::constructed(asn1::SEQUENCE, &[&asn1::tlv(asn1::BOOLEAN, &[0xff])]);
    extension(&rfc5280::ID_CE_BASIC_CONSTRAINTS, true, &value)
}

/// Key usage: a named bit list, so zero bits at the end are cut off (X.690, 11.2.2).
pub(crate) fn key_usage(usages: KeyUsages) -> Vec<u8> {
    let mut bits = [0u8; 2];
    let mut last = 0u8;
    for usage in usages.iter() {
        let number = usage as u8;
        if let Some(byte) = bits.get_mut(usize::from(number / 8)) {
            *byte |= 0x80 >> (number % 8);
        }
        last = number;
    }
    let used = if last >= 8 { 2 } else { 1 };
    let unused = 7 - last % 8;
    let contents = [&[unused], bits.get(..used).unwrap_or_default()].concat();
    extension(
        &rfc5280::ID_CE_KEY_USAGE,
        true,
        &asn1::tlv(asn1::BIT_STRING, &contents),
    )
}

/// Extended key usage, not critical, as web and telecom profiles have it.
pub(crate) fn extended_key_usage(purposes: &[ExtendedKeyUsage]) -> Vec<u8> {
    let list: Vec<u8> = purposes
        .iter()
        .flat_map(|purpose| asn1::oid(&purpose.oid()))
        .collect();
    extension(
        &rfc5280::ID_CE_EXT_KEY_USAGE,
        false,
        &asn1::tlv(asn1::SEQUENCE, &list),
    )
}

/// Alternative names.
///
/// In the order of the template: servers and people expect the first name first.
pub(crate) fn subject_alternative_names(sans: &[San], critical: bool) -> Vec<u8> {
    let name = |san: &San| match san {
        San::Email(text) => asn1::tlv(asn1::context(1), text.as_str().as_bytes()),
        San::Dns(text) => asn1::tlv(asn1::context(2), text.as_str().as_bytes()),
        San::Uri(text) => asn1::tlv(asn1::context(6), text.as_str().as_bytes()),
        San::Ip(std::net::IpAddr::V4(address)) => asn1::tlv(asn1::context(7), &address.octets()),
        San::Ip(std::net::IpAddr::V6(address)) => asn1::tlv(asn1::context(7), &address.octets()),
    };
    let list: Vec<u8> = sans.iter().flat_map(name).collect();
    extension(
        &rfc5280::ID_CE_SUBJECT_ALT_NAME,
        critical,
        &asn1::tlv(asn1::SEQUENCE, &list),
    )
}
