//! X.509 certificates (RFC 5280): the bytes, and the facts in them.
//!
//! A [`Certificate`] has been read completely but is *not* trusted: that is [`crate::verify_chain`]'s business. The
//! bytes are kept as received, because signatures and hashes are made over them.
//!
//! ```text
//!  DER ──► size ──► outer SEQUENCE ──► tbsCertificate (raw, signed) ──► facts, names, key, extensions
//!                        └──► signatureAlgorithm, signature (raw)
//! ```
//!
//! Everything is read once, when the certificate is made: about 15 microseconds in a debug build, after which every
//! accessor is a field. Copies share the bytes and the facts, and so do those that are read again soon ([`Recent`]): the
//! certificates of a CA come with every answer and stand in every record.
//!
//! Lax where CAs have been: serial numbers of any length and sign, version 1, unknown keys and algorithms. Strict where
//! a difference could be used: DER without anything after it, one algorithm in both places, no extension twice, known
//! extensions readable.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use base64ct::{Base64, Encoding};
use const_oid::ObjectIdentifier;
use der::asn1::{BitStringRef, GeneralizedTime, UtcTime};
use der::{Reader, SliceReader, Tag};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::asn1;
use crate::digest;
use crate::error::{Error, Input, check_size};
use crate::extensions::{BasicConstraints, Extensions};
use crate::key::{PrivateKey, PublicKey};
use crate::name::Name;
use crate::pem;
use crate::recent::Recent;
use crate::signature::SignatureAlgorithm;
use crate::template::{ExtendedKeyUsage, KeyUsage, KeyUsages, San};

/// Largest certificate that is looked at.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// Those that were read last.
static RECENT: LazyLock<Recent> = LazyLock::new(Recent::default);

/// A certificate. Cloning is cheap; two certificates are equal if their DER is.
///
/// ```
/// # fn facts(pem: &[u8]) -> pki::Result<()> {
/// let certificate = pki::Certificate::from_pem(pem)?;
/// println!("{} until {}", certificate.subject(), certificate.not_after());
/// for name in certificate.sans() {
///     println!("  {name}");
/// }
/// # Ok(())
/// # }
/// assert!(facts(b"no certificate").is_err());
/// ```
///
/// Serialised as Base64 of the DER.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    /// Where the signed part begins and ends in `der`.
    tbs: std::ops::Range<usize>,
    version: u8,
    serial: Box<[u8]>,
    issuer: Name,
    subject: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    public_key: PublicKey,
    extensions: Extensions,
    signature_algorithm: Result<SignatureAlgorithm, Error>,
    signature: Box<[u8]>,
}

impl Certificate {
    /// Reads one certificate in DER, at most [`MAX_CERTIFICATE_BYTES`], with nothing after it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Malformed`], and [`Error::Unsupported`] for RSA keys of unreasonable size. An unknown
    /// algorithm is no error here.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        check_size(Input::Certificate, der, MAX_CERTIFICATE_BYTES)?;
        RECENT.get_or_read(der, Self::read)
    }

    fn read(der: &[u8]) -> Result<Self, Error> {
        let outer = asn1::read_all(Input::Certificate, der, Outer::read)?;
        let tbs = asn1::read_all(Input::Certificate, outer.tbs, Tbs::read)?;
        // RFC 5280, 4.1.1.2: both must be the same, or a signature could be reinterpreted.
        if tbs.algorithm != outer.algorithm {
            return Err(malformed("inner and outer signature algorithm differ"));
        }
        let signature = outer
            .signature
            .as_bytes()
            .ok_or_else(|| malformed("signature has odd bits"))?;
        let start = der.len().saturating_sub(outer.contents_len);
        Ok(Self(Arc::new(Inner {
            tbs: start..start.saturating_add(outer.tbs.len()),
            version: tbs.version,
            serial: tbs.serial.into(),
            issuer: Name::from_der(tbs.issuer)?,
            subject: Name::from_der(tbs.subject)?,
            not_before: tbs.not_before,
            not_after: tbs.not_after,
            public_key: PublicKey::from_spki_der(tbs.spki)?,
            extensions: Extensions::read(Input::Certificate, tbs.extensions)?,
            signature_algorithm: SignatureAlgorithm::from_der(outer.algorithm),
            signature: signature.into(),
            der: der.into(),
        })))
    }

    /// Reads one certificate in PEM. For several, see [`crate::parse_certificates`].
    ///
    /// Other blocks beside it, a key for example, are passed over; a second certificate is an error.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        check_size(Input::Certificate, pem, 4 * MAX_CERTIFICATE_BYTES)?;
        Self::from_der(&pem::single(Input::Certificate, pem, &["CERTIFICATE", "X509 CERTIFICATE"])?.der)
    }

    /// The DER, as received.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// PEM with lines of 64 characters.
    pub fn to_pem(&self) -> String {
        std::mem::take(&mut *pem::encode("CERTIFICATE", self.der()))
    }

    /// The version as people count it: 1, 2 or 3.
    ///
    /// `Version ::= INTEGER { v1(0), v2(1), v3(2) }`. Only version 3 has extensions, and only it is accepted for end
    /// entities.
    pub fn version(&self) -> u8 {
        self.0.version
    }

    /// Who the certificate is for.
    ///
    /// May be empty if there are alternative names.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// Who signed it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The serial number in lower-case hexadecimal digits, two a byte, without the zero byte that only keeps DER
    /// integers positive.
    pub fn serial(&self) -> String {
        digest::hex(match self.serial_bytes() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        })
    }

    /// The contents of the serial number's INTEGER, as messages repeat it (`CertId` of RFC 4211).
    ///
    /// RFC 5280, 4.1.2.2, wants 1 to 20 bytes and a positive number; what old CAs have issued is kept as it is.
    pub fn serial_bytes(&self) -> &[u8] {
        &self.0.serial
    }

    /// First moment of validity.
    ///
    /// Seconds; certificates know nothing smaller.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Last moment of validity. "No well-defined expiration" (99991231235959Z; RFC 5280, 4.1.2.5) is
    /// [`Timestamp::MAX`].
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// The certified key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// Alternative names of the kinds that this program uses.
    ///
    /// Host names in lower case. The order is the certificate's.
    pub fn sans(&self) -> &[San] {
        &self.0.extensions.sans
    }

    /// Number of alternative names of other kinds, or with text that must not be shown.
    pub fn other_sans(&self) -> usize {
        self.0.extensions.other_sans
    }

    /// Key usages; `None` if the certificate does not restrict them.
    pub fn key_usage(&self) -> Option<KeyUsages> {
        self.0.extensions.key_usage
    }

    /// May the key be used for this? A certificate without the extension does not restrict it (RFC 5280, 4.2.1.3).
    pub fn permits(&self, usage: KeyUsage) -> bool {
        self.key_usage().is_none_or(|usages| usages.contains(usage))
    }

    /// Extended key usages; `None` if the certificate does not restrict them.
    pub fn extended_key_usages(&self) -> Option<&[ExtendedKeyUsage]> {
        self.0.extensions.extended_key_usages.as_deref()
    }

    /// Basic constraints, if the extension is there.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.extensions.basic_constraints
    }

    /// Is it a CA's certificate, by its basic constraints?
    ///
    /// Version 1 certificates are not, whatever they sign.
    pub fn is_ca(&self) -> bool {
        self.basic_constraints()
            .is_some_and(|constraints| constraints.is_ca)
    }

    /// Does it restrict the names below it (RFC 5280, 4.2.1.10)?
    pub fn has_name_constraints(&self) -> bool {
        self.0.extensions.has_name_constraints
    }

    /// Subject key identifier.
    ///
    /// Any bytes that the CA has chosen; often, but not always, SHA-1 of the key. CMP names signers by it (`senderKID`).
    pub fn ski(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// Key identifier of the issuer.
    ///
    /// `None` too if the extension names the issuer in another way (RFC 5280, 4.2.1.1).
    pub fn aki(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_id.as_deref()
    }

    /// The extensions in order, with their criticality.
    pub fn extensions(&self) -> &[(ObjectIdentifier, bool)] {
        &self.0.extensions.present
    }

    /// The first critical extension that this program does not understand.
    pub fn unknown_critical_extension(&self) -> Option<ObjectIdentifier> {
        self.0.extensions.unknown_critical()
    }

    /// The algorithm it is signed with; an error if it is none of ours.
    ///
    /// Read with the certificate and kept, so that a certificate with an unknown one can still be shown.
    pub fn signature_algorithm(&self) -> Result<SignatureAlgorithm, Error> {
        self.0.signature_algorithm.clone()
    }

    /// SHA-256 of the DER in lower-case hexadecimal digits.
    ///
    /// The same digits as `openssl x509 -fingerprint -sha256` prints between colons.
    pub fn fingerprint_sha256(&self) -> String {
        digest::hex(&digest::sha256(self.der()))
    }

    /// Is this the certificate of that key?
    ///
    /// The check that must come before a key and a certificate are stored side by side.
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        self.public_key() == key.public_key()
    }

    /// Are subject and issuer the same? Then it is a root or a rollover certificate; nothing is verified.
    pub fn is_self_issued(&self) -> bool {
        self.subject() == self.issuer()
    }

    /// Checks the signature against an issuer's key, and nothing else.
    ///
    /// Not a verification: dates, CA flags and names are not looked at. See [`crate::verify_chain`].
    pub fn verify_signed_by(&self, issuer_key: &PublicKey) -> Result<(), Error> {
        let tbs = self.der().get(self.0.tbs.clone()).unwrap_or_default();
        issuer_key
            .verify(self.signature_algorithm()?, tbs, &self.0.signature)
            .map_err(|error| match error {
                Error::BadSignature { .. } => Error::BadSignature {
                    input: Input::Certificate,
                },
                other => other,
            })
    }
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }`, in raw pieces.
struct Outer<'a> {
    contents_len: usize,
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: BitStringRef<'a>,
}

impl<'a> Outer<'a> {
    fn read(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        let contents = asn1::contents(reader, Tag::Sequence)?;
        let mut r = SliceReader::new(contents)?;
        let tbs = r.tlv_bytes()?;
        let algorithm = r.tlv_bytes()?;
        let signature = r.decode()?;
        r.finish()?;
        Ok(Self {
            contents_len: contents.len(),
            tbs,
            algorithm,
            signature,
        })
    }
}

/// ```text
/// TBSCertificate ::= SEQUENCE {
///     version         [0]  EXPLICIT Version DEFAULT v1,
///     serialNumber         INTEGER,
///     signature            AlgorithmIdentifier,
///     issuer               Name,
///     validity             SEQUENCE { notBefore Time, notAfter Time },
///     subject              Name,
///     subjectPublicKeyInfo SubjectPublicKeyInfo,
///     issuerUniqueID  [1]  IMPLICIT BIT STRING OPTIONAL,
///     subjectUniqueID [2]  IMPLICIT BIT STRING OPTIONAL,
///     extensions      [3]  EXPLICIT Extensions OPTIONAL }           -- RFC 5280, 4.1
/// ```
struct Tbs<'a> {
    version: u8,
    serial: &'a [u8],
    algorithm: &'a [u8],
    issuer: &'a [u8],
    not_before: Timestamp,
    not_after: Timestamp,
    subject: &'a [u8],
    spki: &'a [u8],
    /// Contents of the list; empty if there is none.
    extensions: &'a [u8],
}

impl<'a> Tbs<'a> {
    fn read(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        reader.sequence(|r| {
            let version = match asn1::optional(r, asn1::context_tag(0, true))? {
                None => 1,
                Some([asn1::INTEGER, 1, number @ 0..=2]) => number.saturating_add(1),
                Some(_) => return Err(Tag::Integer.value_error().into()),
            };
            let serial = asn1::contents(r, Tag::Integer)?;
            if serial.is_empty() {
                return Err(Tag::Integer.length_error().into());
            }
            let algorithm = r.tlv_bytes()?;
            let issuer = r.tlv_bytes()?;
            let (not_before, not_after) = r.sequence(|v| Ok::<_, der::Error>((time(v)?, time(v)?)))?;
            let subject = r.tlv_bytes()?;
            let spki = r.tlv_bytes()?;
            for number in [1, 2] {
                asn1::optional(r, asn1::context_tag(number, false))?;
            }
            let extensions = match asn1::optional(r, asn1::context_tag(3, true))? {
                None => &[][..],
                Some(wrapped) => {
                    let mut inner = SliceReader::new(wrapped)?;
                    let list = asn1::contents(&mut inner, Tag::Sequence)?;
                    inner.finish()?;
                    list
                }
            };
            Ok(Self {
                version,
                serial,
                algorithm,
                issuer,
                not_before,
                not_after,
                subject,
                spki,
                extensions,
            })
        })
    }
}

/// `Time ::= CHOICE { utcTime UTCTime, generalTime GeneralizedTime }`
///
/// UTCTime has two digits of the year, 50 to 99 of the twentieth century (RFC 5280, 4.1.2.5.1).
///
/// The last second of the year 9999 is a little more than a [`Timestamp`] can hold; it becomes the largest one.
fn time(reader: &mut SliceReader<'_>) -> der::Result<Timestamp> {
    let since_epoch = match Tag::peek(reader)? {
        Tag::UtcTime => reader.decode::<UtcTime>()?.to_unix_duration(),
        _ => reader.decode::<GeneralizedTime>()?.to_unix_duration(),
    };
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

fn malformed(reason: &'static str) -> Error {
    Error::malformed(Input::Certificate, reason)
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.der().hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial {})", self.subject(), self.serial())
    }
}

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(self.der()))
    }
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let der =
            Base64::decode_vec(&text).map_err(|_| serde::de::Error::custom("certificate is not Base64"))?;
        Self::from_der(&der).map_err(serde::de::Error::custom)
    }
}
