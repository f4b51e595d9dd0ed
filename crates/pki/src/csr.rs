//! Certificate requests (PKCS#10, RFC 2986).
//!
//! ```text
//! CertificationRequest     ::= SEQUENCE { certificationRequestInfo, signatureAlgorithm, signature }
//! CertificationRequestInfo ::= SEQUENCE {
//!     version        INTEGER { v1(0) },
//!     subject        Name,
//!     subjectPKInfo  SubjectPublicKeyInfo,
//!     attributes     [0] Attributes }          -- RFC 2986, 4.1
//! ```
//!
//! The signature is the proof that the requester has the private key; it proves nothing about the names. CMP has a format
//! of its own (CRMF); PKCS#10 travels in `p10cr`, and is what people have in files.

use std::fmt;
use std::sync::Arc;

use const_oid::db::rfc5912;
use der::asn1::BitStringRef;
use der::{Reader, SliceReader, Tag};

use crate::asn1;
use crate::error::{Error, Input, check_size};
use crate::extensions::{BasicConstraints, Extensions};
use crate::key::{PrivateKey, PublicKey};
use crate::name::Name;
use crate::pem;
use crate::signature::SignatureAlgorithm;
use crate::template::{CertificateTemplate, ExtendedKeyUsage, KeyUsages, San};

/// Largest certificate request that is looked at.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// A certificate request: somebody's wish, signed with the key that is to be certified. Cloning is cheap.
///
/// ```
/// use pki::{CertificateRequest, CertificateTemplate, KeyAlgorithm, PrivateKey};
///
/// # fn main() -> pki::Result<()> {
/// let key = PrivateKey::generate(KeyAlgorithm::EcP384)?;
/// let template = CertificateTemplate::new("CN=a,O=Lab".parse()?);
/// let pem = CertificateRequest::create(&template, &key)?.to_pem();
/// let request = CertificateRequest::from_pem(pem.as_bytes())?;
/// request.verify()?;
/// assert_eq!(request.subject(), &template.subject);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CertificateRequest(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    /// The signed part, `CertificationRequestInfo`.
    info: std::ops::Range<usize>,
    subject: Name,
    public_key: PublicKey,
    extensions: Extensions,
    extensions_der: Option<Box<[u8]>>,
    signature_algorithm: Result<SignatureAlgorithm, Error>,
    signature: Box<[u8]>,
}

impl CertificateRequest {
    /// Makes a request for `template` and signs it with `key` in the key's default algorithm.
    ///
    /// The duration is left out: PKCS#10 cannot ask for one.
    ///
    /// # Errors
    ///
    /// Only if the cryptographic library fails, or the template is larger than any request may be.
    pub fn create(template: &CertificateTemplate, key: &PrivateKey) -> Result<Self, Error> {
        let attributes = match template.extensions_der() {
            // extensionRequest (RFC 2985, 5.4.2): SEQUENCE { type, SET { Extensions } }
            Some(extensions) => {
                let values = asn1::tlv(asn1::SET, &extensions);
                asn1::constructed(asn1::SEQUENCE, &[&asn1::oid(&rfc5912::ID_EXTENSION_REQ), &values])
            }
            None => Vec::new(),
        };
        let info = asn1::constructed(
            asn1::SEQUENCE,
            &[
                &asn1::tlv(asn1::INTEGER, &[0]),
                template.subject.der(),
                key.public_key().spki_der(),
                // The attributes are not optional, even if there are none (RFC 2986, 4.1).
                &asn1::tlv(asn1::context_constructed(0), &attributes),
            ],
        );
        let algorithm = key.default_signature();
        let signature = asn1::bit_string(&key.sign(algorithm, &info)?);
        Self::from_der(&asn1::constructed(
            asn1::SEQUENCE,
            &[&info, &algorithm.to_der(), &signature],
        ))
    }

    /// Reads one request in DER, at most [`MAX_REQUEST_BYTES`]. The signature is not checked; see [`Self::verify`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        check_size(Input::Request, der, MAX_REQUEST_BYTES)?;
        let outer = asn1::read_all(Input::Request, der, read_outer)?;
        let info = asn1::read_all(Input::Request, outer.info, read_info)?;
        let signature = outer
            .signature
            .as_bytes()
            .ok_or_else(|| Error::malformed(Input::Request, "signature has odd bits"))?;
        let extensions = match info.extensions {
            Some(list) => {
                let contents = asn1::read_all(Input::Request, list, |r| asn1::contents(r, Tag::Sequence))?;
                Extensions::read(Input::Request, contents)?
            }
            None => Extensions::default(),
        };
        let start = der.len().saturating_sub(outer.contents_len);
        Ok(Self(Arc::new(Inner {
            info: start..start.saturating_add(outer.info.len()),
            subject: Name::from_der(info.subject)?,
            public_key: PublicKey::from_spki_der(info.spki)?,
            extensions,
            extensions_der: info.extensions.map(Into::into),
            signature_algorithm: SignatureAlgorithm::from_der(outer.algorithm),
            signature: signature.into(),
            der: der.into(),
        })))
    }

    /// Reads one request in PEM.
    ///
    /// Both labels are read: `CERTIFICATE REQUEST` (RFC 7468, 7) and the older `NEW CERTIFICATE REQUEST`.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        check_size(Input::Request, pem, 2 * MAX_REQUEST_BYTES)?;
        let labels = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
        Self::from_der(&pem::single(Input::Request, pem, &labels)?.der)
    }

    /// Checks that the request was signed with the key it names: proof that the requester has it.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`]; [`Error::Unsupported`] for algorithms that are not checked, which proves nothing either.
    pub fn verify(&self) -> Result<(), Error> {
        let info = self.der().get(self.0.info.clone()).unwrap_or_default();
        let algorithm = self.signature_algorithm()?;
        self.public_key()
            .verify(algorithm, info, &self.0.signature)
            .map_err(|error| match error {
                Error::BadSignature { .. } => Error::BadSignature {
                    input: Input::Request,
                },
                other => other,
            })
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// PEM with lines of 64 characters.
    pub fn to_pem(&self) -> String {
        std::mem::take(&mut *pem::encode("CERTIFICATE REQUEST", self.der()))
    }

    /// The wished subject.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The key to be certified.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The wished alternative names of the kinds that this program uses.
    pub fn sans(&self) -> &[San] {
        &self.0.extensions.sans
    }

    /// The wished key usages, if any.
    pub fn key_usage(&self) -> Option<KeyUsages> {
        self.0.extensions.key_usage
    }

    /// The wished extended key usages, if any.
    pub fn extended_key_usages(&self) -> Option<&[ExtendedKeyUsage]> {
        self.0.extensions.extended_key_usages.as_deref()
    }

    /// The wished basic constraints, if any.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.extensions.basic_constraints
    }

    /// DER of the wished `Extensions`, if any.
    ///
    /// As received, for a CA that copies them; what it may copy is its own decision.
    pub fn extensions_der(&self) -> Option<&[u8]> {
        self.0.extensions_der.as_deref()
    }

    /// The algorithm it is signed with; an error if it is none of ours.
    pub fn signature_algorithm(&self) -> Result<SignatureAlgorithm, Error> {
        self.0.signature_algorithm.clone()
    }
}

impl PartialEq for CertificateRequest {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for CertificateRequest {}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateRequest({})", self.subject())
    }
}

/// `CertificationRequest ::= SEQUENCE { certificationRequestInfo, signatureAlgorithm, signature BIT STRING }`
struct Outer<'a> {
    contents_len: usize,
    info: &'a [u8],
    algorithm: &'a [u8],
    signature: BitStringRef<'a>,
}

fn read_outer<'a>(reader: &mut SliceReader<'a>) -> der::Result<Outer<'a>> {
    let contents = asn1::contents(reader, Tag::Sequence)?;
    let mut r = SliceReader::new(contents)?;
    let info = r.tlv_bytes()?;
    let algorithm = r.tlv_bytes()?;
    let signature = r.decode()?;
    r.finish()?;
    Ok(Outer {
        contents_len: contents.len(),
        info,
        algorithm,
        signature,
    })
}

/// `CertificationRequestInfo ::= SEQUENCE { version, subject, subjectPKInfo, attributes [0] }`
struct Info<'a> {
    subject: &'a [u8],
    spki: &'a [u8],
    /// The `Extensions` of the extensionRequest attribute.
    extensions: Option<&'a [u8]>,
}

fn read_info<'a>(reader: &mut SliceReader<'a>) -> der::Result<Info<'a>> {
    reader.sequence(|r| {
        asn1::contents(r, Tag::Integer)?;
        let subject = r.tlv_bytes()?;
        let spki = r.tlv_bytes()?;
        // Some requesters leave the attributes out if there are none.
        let attributes = asn1::optional(r, asn1::context_tag(0, true))?.unwrap_or_default();
        let extensions = read_attributes(&mut SliceReader::new(attributes)?)?;
        Ok(Info {
            subject,
            spki,
            extensions,
        })
    })
}

/// The first extensionRequest; other attributes (challenge password and the like) are passed over.
///
/// `Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }`, and for this type one value, the
/// `Extensions` (RFC 2985, 5.4.2).
fn read_attributes<'a>(reader: &mut SliceReader<'a>) -> der::Result<Option<&'a [u8]>> {
    let mut extensions = None;
    while !reader.is_finished() {
        reader.sequence(|r| {
            let oid: const_oid::ObjectIdentifier = r.decode()?;
            let values = asn1::contents(r, Tag::Set)?;
            if oid == rfc5912::ID_EXTENSION_REQ && extensions.is_none() {
                extensions = Some(SliceReader::new(values)?.tlv_bytes()?);
            }
            Ok::<_, der::Error>(())
        })?;
    }
    Ok(extensions)
}
