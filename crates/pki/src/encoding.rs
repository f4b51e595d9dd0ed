//! Files with several certificates: reading what people have, writing what servers want.
//!
//! ```text
//!  PEM blocks, junk between ──┐
//!  DER, one or several ───────┼──► parse_certificates ──► order_bundle ──► to_pem_bundle, merged_bundle
//!  PKCS#7, PEM or DER ────────┘
//! ```
//!
//! Nothing in here trusts anything. A file becomes a set of anchors only when somebody says so, see
//! [`crate::Anchors`].

use der::{Reader, SliceReader, Tag};

use crate::asn1;
use crate::certificate::Certificate;
use crate::chain::build_chain;
use crate::error::{Error, Input, check_size};
use crate::pem;

/// Largest file of certificates that is looked at.
pub const MAX_BUNDLE_BYTES: usize = 1024 * 1024;
/// Most certificates in a file. The trust store of an operating system has some 150.
pub const MAX_BUNDLE_CERTIFICATES: usize = 1000;

/// `signedData` of CMS and PKCS#7 (RFC 5652, 5.1).
const SIGNED_DATA: const_oid::ObjectIdentifier =
    const_oid::ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// Reads all certificates of a file: PEM blocks with any text around them, one or several DER certificates, or the
///
/// ```
/// let error = pki::parse_certificates(b"hello").unwrap_err();
/// assert_eq!(error.to_string(), "certificate bundle is malformed: neither PEM nor complete DER certificates");
/// ```
///
/// certificates of a PKCS#7 file in PEM or DER. The order is kept; a certificate that is there twice is given once.
///
/// Blocks that are no certificates (keys, requests) are passed over, so that a combined file can be read.
///
/// # Errors
///
/// [`Error::TooLarge`] over 1 MiB or 1000 certificates; [`Error::Malformed`] if one certificate is damaged or there is
/// none: a half-read trust store would be worse than none.
pub fn parse_certificates(bytes: &[u8]) -> Result<Vec<Certificate>, Error> {
    check_size(Input::Bundle, bytes, MAX_BUNDLE_BYTES)?;
    let mut found = Found::default();
    if pem::is_pem(bytes) {
        for block in pem::blocks(Input::Bundle, bytes, 2 * MAX_BUNDLE_CERTIFICATES)? {
            found.add_block(&block)?;
        }
    } else {
        let mut rest = bytes;
        while let Some((value, after)) = asn1::first_value(rest) {
            if is_pkcs7(value) {
                found.add_pkcs7(value)?;
            } else {
                found.add(value)?;
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Error::malformed(
                Input::Bundle,
                "neither PEM nor complete DER certificates",
            ));
        }
    }
    if found.certificates.is_empty() {
        return Err(Error::malformed(Input::Bundle, "there is no certificate in it"));
    }
    Ok(found.certificates)
}

/// The certificates of one PEM block; none if it is a block of another type.
pub(crate) fn block_certificates(block: &pem::Block) -> Result<Vec<Certificate>, Error> {
    let mut found = Found::default();
    found.add_block(block)?;
    Ok(found.certificates)
}

/// Writes certificates as PEM, one after the other, in the given order.
///
/// The usual contents of `tls.crt`: the certificate first, then its chain (RFC 8446, 4.4.2).
/// Every block ends with a newline, so that bundles can be put one after the other.
pub fn to_pem_bundle<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    certificates.into_iter().map(Certificate::to_pem).collect()
}

/// Puts a bundle of any order into the order of a chain: the certificate that issued none of the others, then its
/// issuer, and so on. What does not belong to that chain is left out, as is everything that is there twice.
///
/// If several could be first, the first of them in the given order is taken. Nothing is trusted or verified for
/// validity. An empty bundle stays empty.
///
/// Many tools write chains upside down, and servers that send them so are refused by strict clients (RFC 5246, 7.4.2).
pub fn order_bundle(certificates: &[Certificate]) -> Vec<Certificate> {
    let issued_another = |candidate: &Certificate| {
        certificates
            .iter()
            .any(|other| other != candidate && other.issuer() == candidate.subject())
    };
    let first = certificates
        .iter()
        .find(|c| !issued_another(c))
        .or(certificates.first());
    first
        .map(|first| build_chain(first, certificates))
        .unwrap_or_default()
}

/// The certificate and its chain as one PEM file. The root is left out: whoever verifies has it or must not trust it.
///
/// The pool may have any order, and may hold certificates that have nothing to do with it.
pub fn merged_bundle(certificate: &Certificate, pool: &[Certificate]) -> String {
    let chain = build_chain(certificate, pool);
    let sent = chain
        .iter()
        .enumerate()
        .filter(|(i, c)| *i == 0 || !c.is_self_issued());
    to_pem_bundle(sent.map(|(_, c)| c))
}

#[derive(Default)]
struct Found {
    certificates: Vec<Certificate>,
    seen: std::collections::HashSet<Certificate>,
}

impl Found {
    fn add(&mut self, der: &[u8]) -> Result<(), Error> {
        if self.certificates.len() == MAX_BUNDLE_CERTIFICATES {
            return Err(Error::TooLarge {
                input: Input::Bundle,
                limit: MAX_BUNDLE_CERTIFICATES,
                unit: "certificates",
            });
        }
        let certificate = Certificate::from_der(der)?;
        if self.seen.insert(certificate.clone()) {
            self.certificates.push(certificate);
        }
        Ok(())
    }

    fn add_block(&mut self, block: &pem::Block) -> Result<(), Error> {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => self.add(&block.der),
            // OpenSSL's form with trust settings after the certificate, which we do not honour.
            "TRUSTED CERTIFICATE" => self.add(asn1::first_value(&block.der).unwrap_or_default().0),
            "PKCS7" | "CMS" => self.add_pkcs7(&block.der),
            _ => Ok(()),
        }
    }

    fn add_pkcs7(&mut self, der: &[u8]) -> Result<(), Error> {
        for value in asn1::read_all(Input::Bundle, der, pkcs7_certificates)? {
            self.add(value)?;
        }
        Ok(())
    }
}

/// A `ContentInfo` starts with an identifier, a certificate with a sequence.
///
/// Both are sequences, so one must look inside; neither can be taken for the other.
fn is_pkcs7(der: &[u8]) -> bool {
    let starts_with_oid = |r: &mut SliceReader<'_>| {
        let contents = asn1::contents(r, Tag::Sequence)?;
        Tag::peek(&SliceReader::new(contents)?).map(|tag| tag == Tag::ObjectIdentifier)
    };
    asn1::read_all(Input::Bundle, der, starts_with_oid).unwrap_or(false)
}

/// ```text
/// ContentInfo ::= SEQUENCE { contentType, content [0] EXPLICIT SignedData }
/// SignedData  ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo SEQUENCE,
///                            certificates [0] IMPLICIT SET OF CertificateChoices OPTIONAL, .. }   -- RFC 5652, 5.1
/// ```
///
/// Only certificates are read; signatures are neither checked nor needed, because nothing here is trusted.
fn pkcs7_certificates<'a>(reader: &mut SliceReader<'a>) -> der::Result<Vec<&'a [u8]>> {
    reader.sequence(|r| {
        let content_type: const_oid::ObjectIdentifier = r.decode()?;
        let content = asn1::contents(r, asn1::context_tag(0, true))?;
        if content_type != SIGNED_DATA {
            return Err(Tag::ObjectIdentifier.value_error().into());
        }
        SliceReader::new(content)?.sequence(|data| {
            asn1::contents(data, Tag::Integer)?;
            asn1::contents(data, Tag::Set)?;
            asn1::contents(data, Tag::Sequence)?;
            let set = asn1::optional(data, asn1::context_tag(0, true))?.unwrap_or_default();
            while !data.is_finished() {
                data.tlv_bytes()?;
            }
            let mut certificates = Vec::new();
            let mut set = SliceReader::new(set)?;
            while !set.is_finished() {
                certificates.push(set.tlv_bytes()?);
            }
            Ok(certificates)
        })
    })
}
