//! Signature algorithms and their `AlgorithmIdentifier`s (RFC 4055, 5480, 5758, 8410; the CMP profile is RFC 9481).
//!
//! An `AlgorithmIdentifier` looks like one value but is two, and attacks live in the second: parameters that are absent,
//! NULL, or describe another hash. So identifiers are read into a closed set at the edge, and written from it with the
//! one encoding that the standards ask for.
//!
//! SHA-1 and MD5 have no member here. A certificate that uses them can be looked at, but its signature cannot be
//! checked, and so it is never trusted.

use std::fmt;

use aws_lc_rs::signature as lc;
use const_oid::ObjectIdentifier;
use der::{Reader, SliceReader, Tag};

use crate::asn1;
use crate::digest::HashAlgorithm;
use crate::error::{Error, Input};
use crate::key::Curve;

/// A signature algorithm with its hash function: the set of RFC 9481, section 3, without the deprecated ones.
///
/// ```
/// use pki::SignatureAlgorithm;
///
/// let ecdsa = SignatureAlgorithm::EcdsaSha256;
/// assert_eq!(SignatureAlgorithm::from_der(&ecdsa.to_der()), Ok(ecdsa));
/// assert_eq!(ecdsa.to_string(), "ECDSA with SHA-256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same hash, salt of 32 bytes.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with the same hash, salt of 48 bytes.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with the same hash, salt of 64 bytes.
    RsaPssSha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519, which hashes by itself (RFC 8032).
    Ed25519,
}

const RSASSA_PSS: ObjectIdentifier = const_oid::db::rfc5912::ID_RSASSA_PSS;
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// The DER of NULL, which RSA identifiers carry as parameters.
const NULL: [u8; 2] = [5, 0];

impl SignatureAlgorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
    ];

    /// The hash function of the algorithm; for Ed25519 SHA-512.
    ///
    /// This is the one that certConf's `certHash` uses for a certificate signed with this algorithm (RFC 9810, 5.3.18;
    /// for Ed25519 RFC 9481, 3.3).
    pub fn digest(self) -> HashAlgorithm {
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaSha256 => HashAlgorithm::Sha256,
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaSha384 => HashAlgorithm::Sha384,
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::EcdsaSha512 | Self::Ed25519 => {
                HashAlgorithm::Sha512
            }
        }
    }

    /// The name for people.
    ///
    /// Not a name that can be read back: settings choose key algorithms, and the signature follows from the key.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha256 => "RSA with SHA-256",
            Self::RsaPkcs1Sha384 => "RSA with SHA-384",
            Self::RsaPkcs1Sha512 => "RSA with SHA-512",
            Self::RsaPssSha256 => "RSA-PSS with SHA-256",
            Self::RsaPssSha384 => "RSA-PSS with SHA-384",
            Self::RsaPssSha512 => "RSA-PSS with SHA-512",
            Self::EcdsaSha256 => "ECDSA with SHA-256",
            Self::EcdsaSha384 => "ECDSA with SHA-384",
            Self::EcdsaSha512 => "ECDSA with SHA-512",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The object identifier.
    ///
    /// The three PSS algorithms share one; their parameters make the difference.
    pub fn oid(self) -> ObjectIdentifier {
        use const_oid::db::{rfc5912, rfc8410};
        match self {
            Self::RsaPkcs1Sha256 => rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1Sha384 => rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1Sha512 => rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
            Self::RsaPssSha256 | Self::RsaPssSha384 | Self::RsaPssSha512 => RSASSA_PSS,
            Self::EcdsaSha256 => rfc5912::ECDSA_WITH_SHA_256,
            Self::EcdsaSha384 => rfc5912::ECDSA_WITH_SHA_384,
            Self::EcdsaSha512 => rfc5912::ECDSA_WITH_SHA_512,
            Self::Ed25519 => rfc8410::ID_ED_25519,
        }
    }

    /// The DER of the `AlgorithmIdentifier`.
    ///
    /// Parameters are NULL for PKCS#1 (RFC 4055, 5), the full `RSASSA-PSS-params` for PSS (RFC 4055, 3.1), absent for
    /// ECDSA (RFC 5758, 3.2) and Ed25519 (RFC 8410, 3).
    pub fn to_der(self) -> Vec<u8> {
        let oid = asn1::oid(&self.oid());
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512 => {
                asn1::constructed(asn1::SEQUENCE, &[&oid, &NULL])
            }
            Self::RsaPssSha256 | Self::RsaPssSha384 | Self::RsaPssSha512 => {
                asn1::constructed(asn1::SEQUENCE, &[&oid, &pss_parameters(self.digest())])
            }
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::Ed25519 => {
                asn1::constructed(asn1::SEQUENCE, &[&oid])
            }
        }
    }

    /// Reads the DER of an `AlgorithmIdentifier`.
    ///
    /// Accepts the absent parameters that RFC 4055, 5, asks to accept beside NULL, and NULL for ECDSA, which some old
    /// CAs write. Anything else is refused: an identifier must not mean two things.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is no identifier at all, [`Error::Unsupported`] with the identifier's name if it is one
    /// of an algorithm, hash, mask or salt length that is not in the set.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        const INPUT: Input = Input::SignatureAlgorithm;
        let (oid, parameters) = asn1::read_all(INPUT, der, algorithm_identifier)?;
        let candidates = Self::ALL.into_iter().filter(|algorithm| algorithm.oid() == oid);
        let found = match parameters {
            None => candidates
                .into_iter()
                .find(|algorithm| *algorithm == Self::Ed25519 || oid != RSASSA_PSS),
            Some(parameters) if oid == RSASSA_PSS => {
                let hash = asn1::read_all(INPUT, parameters, read_pss_parameters)?;
                candidates
                    .into_iter()
                    .find(|algorithm| Some(algorithm.digest()) == hash)
            }
            Some(parameters) if parameters == NULL => candidates
                .into_iter()
                .find(|algorithm| *algorithm != Self::Ed25519),
            Some(_) => None,
        };
        found.ok_or_else(|| Error::Unsupported {
            input: INPUT,
            what: described(&oid),
        })
    }

    /// The verification of RSA signatures, by the library's name.
    ///
    /// Keys of 2048 to 8192 bits; the names say so.
    pub(crate) fn rsa_verification(self) -> Option<&'static lc::RsaParameters> {
        Some(match self {
            Self::RsaPkcs1Sha256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1Sha512 => &lc::RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPssSha256 => &lc::RSA_PSS_2048_8192_SHA256,
            Self::RsaPssSha384 => &lc::RSA_PSS_2048_8192_SHA384,
            Self::RsaPssSha512 => &lc::RSA_PSS_2048_8192_SHA512,
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::Ed25519 => return None,
        })
    }

    /// The padding and hash to sign with an RSA key.
    ///
    /// The salt of PSS is as long as the hash, which is what the identifier says (RFC 4055, 3.1).
    pub(crate) fn rsa_signing(self) -> Option<&'static dyn lc::RsaEncoding> {
        Some(match self {
            Self::RsaPkcs1Sha256 => &lc::RSA_PKCS1_SHA256,
            Self::RsaPkcs1Sha384 => &lc::RSA_PKCS1_SHA384,
            Self::RsaPkcs1Sha512 => &lc::RSA_PKCS1_SHA512,
            Self::RsaPssSha256 => &lc::RSA_PSS_SHA256,
            Self::RsaPssSha384 => &lc::RSA_PSS_SHA384,
            Self::RsaPssSha512 => &lc::RSA_PSS_SHA512,
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::Ed25519 => return None,
        })
    }

    /// The verification of ECDSA signatures. Every curve goes with every hash: a P-256 CA may sign with SHA-384.
    pub(crate) fn ecdsa_verification(self, curve: Curve) -> Option<&'static lc::EcdsaVerificationAlgorithm> {
        Some(match (curve, self) {
            (Curve::P256, Self::EcdsaSha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (Curve::P256, Self::EcdsaSha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (Curve::P256, Self::EcdsaSha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (Curve::P384, Self::EcdsaSha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (Curve::P384, Self::EcdsaSha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (Curve::P384, Self::EcdsaSha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (Curve::P521, Self::EcdsaSha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (Curve::P521, Self::EcdsaSha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (Curve::P521, Self::EcdsaSha512) => &lc::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        })
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }` (RFC 5280, 4.1.1.2);
/// gives the parameters with their tag.
pub(crate) fn algorithm_identifier<'a>(
    reader: &mut SliceReader<'a>,
) -> der::Result<(ObjectIdentifier, Option<&'a [u8]>)> {
    reader.sequence(|r| {
        let oid = r.decode()?;
        let parameters = if r.is_finished() {
            None
        } else {
            Some(r.tlv_bytes()?)
        };
        Ok((oid, parameters))
    })
}

/// An object identifier with its name, if it has one we know.
///
/// For messages about algorithms that are not supported: the number alone sends people to a search engine.
pub(crate) fn described(oid: &ObjectIdentifier) -> String {
    match const_oid::db::DB.by_oid(oid) {
        Some(name) => format!("{name} ({oid})"),
        None => oid.to_string(),
    }
}

/// ```text
/// RSASSA-PSS-params ::= SEQUENCE {
///     hashAlgorithm     [0] HashAlgorithm DEFAULT sha1Identifier,
///     maskGenAlgorithm  [1] MaskGenAlgorithm DEFAULT mgf1SHA1Identifier,
///     saltLength        [2] INTEGER DEFAULT 20,
///     trailerField      [3] INTEGER DEFAULT 1 }          -- RFC 4055, 3.1
/// ```
fn pss_parameters(hash: HashAlgorithm) -> Vec<u8> {
    let oid = match hash {
        HashAlgorithm::Sha512 => SHA_512,
        HashAlgorithm::Sha384 => SHA_384,
        HashAlgorithm::Sha256 | HashAlgorithm::Sha1 => SHA_256,
    };
    let hash_id = asn1::constructed(asn1::SEQUENCE, &[&asn1::oid(&oid), &NULL]);
    let mask_id = asn1::constructed(asn1::SEQUENCE, &[&asn1::oid(&MGF1), &hash_id]);
    let salt = asn1::tlv(asn1::INTEGER, &[u8::try_from(hash.len()).unwrap_or_default()]);
    asn1::constructed(
        asn1::SEQUENCE,
        &[
            &asn1::tlv(asn1::context_constructed(0), &hash_id),
            &asn1::tlv(asn1::context_constructed(1), &mask_id),
            &asn1::tlv(asn1::context_constructed(2), &salt),
        ],
    )
}

/// The hash of PSS parameters whose three parts agree; `None` for the SHA-1 default, foreign masks and other salts.
pub(crate) fn read_pss_parameters(reader: &mut SliceReader<'_>) -> der::Result<Option<HashAlgorithm>> {
    reader.sequence(|r| {
        let hash = asn1::optional(r, asn1::context_tag(0, true))?;
        let mask = asn1::optional(r, asn1::context_tag(1, true))?;
        let salt = asn1::optional(r, asn1::context_tag(2, true))?;
        let trailer = asn1::optional(r, asn1::context_tag(3, true))?;
        let (Some(hash), Some(mask), Some(salt)) = (hash, mask, salt) else {
            return Ok(None);
        };
        let Some(hash) = hash_identifier(hash)? else {
            return Ok(None);
        };
        let (generator, mask_hash) = algorithm_identifier(&mut SliceReader::new(mask)?)?;
        let mask_hash = mask_hash.map(hash_identifier).transpose()?.flatten();
        let salt = asn1::contents(&mut SliceReader::new(salt)?, Tag::Integer)?;
        let agree = generator == MGF1
            && mask_hash == Some(hash)
            && matches!(salt, [length] if usize::from(*length) == hash.len())
            && trailer.is_none_or(|t| t == [asn1::INTEGER, 1, 1]);
        Ok(agree.then_some(hash))
    })
}

fn hash_identifier(der: &[u8]) -> der::Result<Option<HashAlgorithm>> {
    let (oid, parameters) = algorithm_identifier(&mut SliceReader::new(der)?)?;
    if parameters.is_some_and(|p| p != NULL) {
        return Ok(None);
    }
    Ok([
        (SHA_256, HashAlgorithm::Sha256),
        (SHA_384, HashAlgorithm::Sha384),
        (SHA_512, HashAlgorithm::Sha512),
    ]
    .into_iter()
    .find_map(|(known, hash)| (known == oid).then_some(hash)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::from_hex;

    #[test]
    fn every_algorithm_reads_its_own_identifier() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_der(&algorithm.to_der()), Ok(algorithm));
        }
    }

    /// The encodings of RFC 4055 and RFC 8410 as other programs write them; webpki compares byte by byte.
    #[test]
    fn identifiers_are_the_published_bytes() {
        use rustls_pki_types::alg_id;
        let published = [
            (SignatureAlgorithm::RsaPkcs1Sha256, alg_id::RSA_PKCS1_SHA256),
            (SignatureAlgorithm::RsaPkcs1Sha384, alg_id::RSA_PKCS1_SHA384),
            (SignatureAlgorithm::RsaPkcs1Sha512, alg_id::RSA_PKCS1_SHA512),
            (SignatureAlgorithm::RsaPssSha256, alg_id::RSA_PSS_SHA256),
            (SignatureAlgorithm::RsaPssSha384, alg_id::RSA_PSS_SHA384),
            (SignatureAlgorithm::RsaPssSha512, alg_id::RSA_PSS_SHA512),
            (SignatureAlgorithm::EcdsaSha256, alg_id::ECDSA_SHA256),
            (SignatureAlgorithm::EcdsaSha384, alg_id::ECDSA_SHA384),
            (SignatureAlgorithm::EcdsaSha512, alg_id::ECDSA_SHA512),
            (SignatureAlgorithm::Ed25519, alg_id::ED25519),
        ];
        for (algorithm, contents) in published {
            assert_eq!(
                algorithm.to_der(),
                asn1::tlv(asn1::SEQUENCE, contents.as_ref()),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn lax_parameters_that_others_write_are_accepted() {
        let cases = [
            ("300b06092a864886f70d01010b", SignatureAlgorithm::RsaPkcs1Sha256),
            ("300c06082a8648ce3d0403020500", SignatureAlgorithm::EcdsaSha256),
        ];
        for (hex, algorithm) in cases {
            assert_eq!(
                SignatureAlgorithm::from_der(&from_hex(hex).unwrap()),
                Ok(algorithm)
            );
        }
    }

    #[test]
    fn weak_unknown_and_ambiguous_identifiers_are_refused() {
        let pss = SignatureAlgorithm::RsaPssSha256.to_der();
        let mut short_salt = pss.clone();
        *short_salt.last_mut().unwrap() = 20;
        let cases = [
            (
                "SHA-1 with RSA",
                from_hex("300d06092a864886f70d0101050500").unwrap(),
            ),
            (
                "MD5 with RSA",
                from_hex("300d06092a864886f70d0101040500").unwrap(),
            ),
            (
                "PSS with SHA-1 by default",
                from_hex("300d06092a864886f70d01010a3000").unwrap(),
            ),
            (
                "PSS without parameters",
                from_hex("300b06092a864886f70d01010a").unwrap(),
            ),
            ("PSS with another salt", short_salt),
            ("Ed25519 with NULL", from_hex("300706032b65700500").unwrap()),
            (
                "RSA with odd parameters",
                from_hex("300e06092a864886f70d01010b020101").unwrap(),
            ),
        ];
        for (what, der) in cases {
            let error = SignatureAlgorithm::from_der(&der).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{what}: {error}");
        }
        assert!(matches!(
            SignatureAlgorithm::from_der(&[0x30, 0]),
            Err(Error::Malformed { .. })
        ));
    }

    #[test]
    fn pss_hash_and_mask_must_agree() {
        let mut mixed = SignatureAlgorithm::RsaPssSha256.to_der();
        let at = mixed
            .windows(11)
            .rposition(|w| w.starts_with(&[6, 9, 0x60]))
            .unwrap();
        mixed[at + 10] = 2;
        assert!(matches!(
            SignatureAlgorithm::from_der(&mixed),
            Err(Error::Unsupported { .. })
        ));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = SignatureAlgorithm::from_der(&bytes);
            let _ = SignatureAlgorithm::from_der(&asn1::tlv(asn1::SEQUENCE, &bytes));
        }
    }
}
