//! Certificates and CRLs: encoding and signing. Whether somebody may have a certificate is decided elsewhere.

use const_oid::ObjectIdentifier;
use der::{
    Any, Decode, Encode, Sequence,
    asn1::{BitString, GeneralizedTime, OctetString, UintRef, UtcTime},
};
use jiff::Timestamp;
use pki::{PrivateKey, PublicKey, SignatureAlgorithm};
use x509_cert::{
    ext::{
        Extension, Extensions,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
    time::Time,
};

use crate::{error::Error, ledger::Revoked};

pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
pub(crate) const KEY_USAGE: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_KEY_USAGE;
pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_EXT_KEY_USAGE;
pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_BASIC_CONSTRAINTS;
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER;
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;
const CRL_NUMBER: ObjectIdentifier = const_oid::db::rfc5280::ID_CE_CRL_NUMBER;
const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const SERVER_AUTH: ObjectIdentifier = const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
const CLIENT_AUTH: ObjectIdentifier = const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
const CODE_SIGNING: ObjectIdentifier = const_oid::db::rfc5280::ID_KP_CODE_SIGNING;
/// id-kp-cmcCA: signs CMP for the CA (RFC 9810, 4.5).
const CMC_CA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27");

/// ```text
/// TBSCertificate ::= SEQUENCE { version [0] EXPLICIT INTEGER, serialNumber INTEGER, signature AlgorithmIdentifier,
///     issuer Name, validity Validity, subject Name, subjectPublicKeyInfo SubjectPublicKeyInfo,
///     extensions [3] EXPLICIT Extensions }                                                   RFC 5280, 4.1
/// ```
///
/// A type of our own: names and keys go in as the bytes they came in, and `x509-cert` keeps its fields to itself.
#[derive(Sequence)]
struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial_number: UintRef<'a>,
    signature: Any,
    issuer: Any,
    validity: Validity,
    subject: Any,
    subject_public_key_info: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

#[derive(Sequence)]
struct Validity {
    not_before: Time,
    not_after: Time,
}

/// `SEQUENCE { toBeSigned, AlgorithmIdentifier, BIT STRING }`: a certificate or a CRL.
#[derive(Sequence)]
struct Signed {
    to_be_signed: Any,
    algorithm: Any,
    signature: BitString,
}

/// `TBSCertList` (RFC 5280, 5.1).
#[derive(Sequence)]
struct TbsCertList<'a> {
    version: u8,
    signature: Any,
    issuer: Any,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<RevokedCertificate<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

#[derive(Sequence)]
struct RevokedCertificate<'a> {
    serial_number: UintRef<'a>,
    at: Time,
    #[asn1(optional = "true")]
    extensions: Option<Extensions>,
}

/// Who signs: a name, a key, and what both look like in a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    name: Any,
    key: PrivateKey,
    algorithm: SignatureAlgorithm,
    algorithm_der: Any,
    authority_key_id: Extension,
}

impl Issuer {
    /// An issuer named by the DER of a name.
    pub(crate) fn new(name: &[u8], key: PrivateKey) -> Result<Self, Error> {
        let algorithm = key.default_signature();
        let authority_key_id = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(key.public_key().key_id_sha1())?),
            ..AuthorityKeyIdentifier::default()
        };
        Ok(Self {
            name: Any::from_der(name)?,
            algorithm,
            algorithm_der: Any::from_der(&algorithm.to_der())?,
            authority_key_id: extension(AUTHORITY_KEY_IDENTIFIER, Criticality::No, &authority_key_id)?,
            key,
        })
    }

    fn sign(&self, to_be_signed: &impl Encode) -> Result<Vec<u8>, Error> {
        let to_be_signed = to_be_signed.to_der()?;
        let signature = self.key.sign(self.algorithm, &to_be_signed)?;
        let signed = Signed {
            to_be_signed: Any::from_der(&to_be_signed)?,
            algorithm: self.algorithm_der.clone(),
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(signed.to_der()?)
    }
}

/// What goes into a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) serial: [u8; 16],
    /// DER of the subject.
    pub(crate) subject: Vec<u8>,
    pub(crate) public_key: PublicKey,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// Without the key identifiers, which are added here.
    pub(crate) extensions: Extensions,
}

/// Signs a certificate and returns its DER.
pub(crate) fn certificate(issuer: &Issuer, contents: Contents) -> Result<Vec<u8>, Error> {
    let key_id = SubjectKeyIdentifier(OctetString::new(contents.public_key.key_id_sha1())?);
    let mut extensions = contents.extensions;
    extensions.push(extension(SUBJECT_KEY_IDENTIFIER, Criticality::No, &key_id)?);
    extensions.push(issuer.authority_key_id.clone());
    issuer.sign(&TbsCertificate {
        version: 2,
        serial_number: UintRef::new(&contents.serial)?,
        signature: issuer.algorithm_der.clone(),
        issuer: issuer.name.clone(),
        validity: Validity {
            not_before: time(contents.not_before)?,
            not_after: time(contents.not_after)?,
        },
        subject: Any::from_der(&contents.subject)?,
        subject_public_key_info: Any::from_der(contents.public_key.spki_der())?,
        extensions,
    })
}

/// Signs a CRL and returns its DER.
pub(crate) fn crl(
    issuer: &Issuer,
    number: u64,
    revoked: &[Revoked],
    this_update: Timestamp,
    next_update: Timestamp,
) -> Result<Vec<u8>, Error> {
    let entries = revoked
        .iter()
        .map(|revoked| {
            Ok(RevokedCertificate {
                serial_number: UintRef::new(&revoked.serial)?,
                at: time(revoked.at)?,
                extensions: reason_extension(revoked.reason)?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    issuer.sign(&TbsCertList {
        version: 1,
        signature: issuer.algorithm_der.clone(),
        issuer: issuer.name.clone(),
        this_update: time(this_update)?,
        next_update: time(next_update)?,
        revoked: (!entries.is_empty()).then_some(entries),
        extensions: vec![
            issuer.authority_key_id.clone(),
            extension(CRL_NUMBER, Criticality::No, &number)?,
        ],
    })
}

/// `CRLReason ::= ENUMERATED`; unspecified (0) is left out (RFC 5280, 5.3.1).
fn reason_extension(reason: u8) -> Result<Option<Extensions>, Error> {
    if reason == 0 {
        return Ok(None);
    }
    let value = OctetString::new([0x0a, 0x01, reason])?;
    Ok(Some(vec![Extension {
        extn_id: REASON_CODE,
        critical: false,
        extn_value: value,
    }]))
}

/// Is an extension critical?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Criticality {
    Yes,
    No,
}

/// An extension with this value.
pub(crate) fn extension(
    id: ObjectIdentifier,
    criticality: Criticality,
    value: &impl Encode,
) -> Result<Extension, Error> {
    Ok(Extension {
        extn_id: id,
        critical: criticality == Criticality::Yes,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// Usages of a CA certificate.
pub(crate) fn ca_extensions(path_length: Option<u8>) -> Result<Extensions, Error> {
    let constraints = BasicConstraints {
        ca: true,
        path_len_constraint: path_length,
    };
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    Ok(vec![
        extension(BASIC_CONSTRAINTS, Criticality::Yes, &constraints)?,
        extension(KEY_USAGE, Criticality::Yes, &usage)?,
    ])
}

/// Usages of the certificate that signs CMP answers.
pub(crate) fn signer_extensions() -> Result<Extensions, Error> {
    Ok(vec![
        extension(
            KEY_USAGE,
            Criticality::Yes,
            &KeyUsage(KeyUsages::DigitalSignature.into()),
        )?,
        extension(
            EXTENDED_KEY_USAGE,
            Criticality::No,
            &ExtendedKeyUsage(vec![CMC_CA]),
        )?,
    ])
}

/// The key usage of a certificate whose request names none.
pub(crate) fn default_key_usage(key: &PublicKey) -> Result<Extension, Error> {
    let is_rsa = key.algorithm().is_some_and(pki::KeyAlgorithm::is_rsa);
    let usage = if is_rsa {
        KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment)
    } else {
        KeyUsage(KeyUsages::DigitalSignature.into())
    };
    extension(KEY_USAGE, Criticality::Yes, &usage)
}

/// The extended key usage of a certificate whose request names none: both ends of TLS.
pub(crate) fn default_extended_key_usage() -> Result<Extension, Error> {
    extension(
        EXTENDED_KEY_USAGE,
        Criticality::No,
        &ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH]),
    )
}

/// A positive random number of 128 bits with a first byte between 0x40 and 0x7f: always 16 bytes in DER.
pub(crate) fn random_serial() -> Result<[u8; 16], Error> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| Error::Random)?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(serial)
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). Fractions of a second are cut off.
pub(crate) fn time(at: Timestamp) -> Result<Time, Error> {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let since_epoch = std::time::Duration::from_secs(seconds);
    match UtcTime::from_unix_duration(since_epoch) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => Ok(Time::GeneralTime(GeneralizedTime::from_unix_duration(
            since_epoch,
        )?)),
    }
}

/// Does the CA make this extension itself, whatever the request says?
pub(crate) fn is_key_identifier(id: ObjectIdentifier) -> bool {
    id == SUBJECT_KEY_IDENTIFIER || id == AUTHORITY_KEY_IDENTIFIER
}

/// Alternative names that nobody asked for.
pub(crate) fn other_names() -> Result<Extension, Error> {
    let name = der::asn1::Ia5String::new("somebody-else.invalid")?;
    extension(
        SUBJECT_ALT_NAME,
        Criticality::No,
        &SubjectAltName(vec![GeneralName::DnsName(name)]),
    )
}

/// A right that nobody asked for.
pub(crate) fn authority() -> Result<Extension, Error> {
    let constraints = BasicConstraints {
        ca: true,
        path_len_constraint: None,
    };
    extension(BASIC_CONSTRAINTS, Criticality::Yes, &constraints)
}

/// A usage that nobody asked for.
pub(crate) fn other_usage() -> Result<Extension, Error> {
    extension(
        EXTENDED_KEY_USAGE,
        Criticality::No,
        &ExtendedKeyUsage(vec![CODE_SIGNING]),
    )
}
