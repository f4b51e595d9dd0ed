//! Public keys, ours and those of strangers.
//!
//! ```text
//! SubjectPublicKeyInfo ::= SEQUENCE {
//!     algorithm         AlgorithmIdentifier,
//!     subjectPublicKey  BIT STRING }                 -- RFC 5280, 4.1
//! ```
//!
//! | Algorithm | Parameters | Contents of the BIT STRING |
//! | --- | --- | --- |
//! | rsaEncryption | NULL | `RSAPublicKey` (RFC 8017, A.1.1) |
//! | id-RSASSA-PSS | absent, or the hash it is bound to (RFC 4055, 1.2) | `RSAPublicKey` |
//! | id-ecPublicKey | name of the curve (RFC 5480, 2.1.1) | curve point |
//! | id-Ed25519 | absent (RFC 8410, 3) | 32 bytes |
//!
//! Reading is lax and using is strict: a certificate of an unknown CA with an unknown curve in a peer's pile must not
//! spoil the rest of it, but no signature is ever accepted from such a key.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{self as lc, ParsedPublicKey};
use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5912, rfc8410};
use der::Reader;

use crate::asn1;
use crate::digest;
use crate::error::{Error, Input, check_size};
use crate::key::KeyAlgorithm;
use crate::signature::{SignatureAlgorithm, algorithm_identifier, described, read_pss_parameters};

/// Largest `SubjectPublicKeyInfo`: RSA with 8192 bits has 1.1 KiB; post-quantum keys, which we keep but cannot use
/// yet, stay below 8 KiB.
const MAX_SPKI_BYTES: usize = 8 * 1024;
/// Modulus bits of an RSA key. Beyond 8192 one verification costs an attacker nothing and us much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// The curves that can be used.
///
/// Those of RFC 9481, 3.2, that the library has. secp256k1, which it has too, is no curve of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => rfc5912::SECP_256_R_1,
            Self::P384 => rfc5912::SECP_384_R_1,
            Self::P521 => rfc5912::SECP_521_R_1,
        }
    }

    pub(crate) fn key_algorithm(self) -> KeyAlgorithm {
        match self {
            Self::P256 => KeyAlgorithm::EcP256,
            Self::P384 => KeyAlgorithm::EcP384,
            Self::P521 => KeyAlgorithm::EcP521,
        }
    }

    pub(crate) fn signing(self) -> &'static lc::EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// `ECParameters`: only named curves (RFC 5480, 2.1.1); explicit ones let an attacker choose the mathematics
    /// (CVE-2020-0601).
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] in all cases, so that a public key can be kept and a private key be refused.
    pub(crate) fn from_parameters(input: Input, parameters: Option<&[u8]>) -> Result<Self, Error> {
        let unsupported = |what: String| Error::Unsupported { input, what };
        let Some(parameters) = parameters else {
            return Err(unsupported("an elliptic curve without a name".to_owned()));
        };
        let oid: ObjectIdentifier = asn1::read_all(input, parameters, |r| r.decode())
            .map_err(|_| unsupported("an elliptic curve that is not named by an identifier".to_owned()))?;
        Self::ALL
            .into_iter()
            .find(|curve| curve.oid() == oid)
            .ok_or_else(|| unsupported(format!("the curve {}", described(&oid))))
    }

    pub(crate) fn from_private_length(bytes: usize) -> Option<Self> {
        match bytes {
            32 => Some(Self::P256),
            48 => Some(Self::P384),
            66 => Some(Self::P521),
            _ => None,
        }
    }
}

/// A public key: the `SubjectPublicKeyInfo` as it was received (RFC 5280, 4.1.2.7). Cloning is cheap.
///
/// Two keys are equal if their DER is.
/// That is stricter than "the same point", and just right: a CA that gives back another encoding of our key has changed
/// something.
#[derive(Clone)]
pub struct PublicKey(Arc<PublicInner>);

struct PublicInner {
    spki: Box<[u8]>,
    kind: Kind,
    /// Contents of the BIT STRING: an RSA key, a curve point, 32 bytes.
    key: Box<[u8]>,
    /// The key as the library wants it, for the algorithm it was used with first. A CA signs with one algorithm all
    /// its life, so this saves the check of the curve point for each signature but the first.
    parsed: OnceLock<Option<(SignatureAlgorithm, ParsedPublicKey)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Rsa {
        bits: usize,
    },
    /// `id-RSASSA-PSS`: an RSA key for PSS only, for the named hash if there is one (RFC 4055, 1.2).
    RsaPss {
        bits: usize,
        hash: Option<digest::HashAlgorithm>,
    },
    Ec(Curve),
    Ed25519,
    /// Kept, compared and shown, but not used.
    Other(String),
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`. Unknown algorithms are kept; RSA keys outside 1024 to 8192 bits are refused.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] over 8 KiB, [`Error::Malformed`], and [`Error::Unsupported`] for the RSA sizes: a verification
    /// takes time with the square of the length, and a certificate is a stranger's word.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        check_size(Input::PublicKey, der, MAX_SPKI_BYTES)?;
        let (oid, parameters, key) = asn1::read_all(Input::PublicKey, der, |reader| {
            reader.sequence(|r| {
                let (oid, parameters) = algorithm_identifier(r)?;
                let key: der::asn1::BitStringRef<'_> = r.decode()?;
                Ok((oid, parameters, key))
            })
        })?;
        let key = key
            .as_bytes()
            .ok_or_else(|| Error::malformed(Input::PublicKey, "key is not a whole number of bytes"))?;
        let kind = Kind::read(oid, parameters, key)?;
        let parsed = OnceLock::new();
        Ok(Self(Arc::new(PublicInner {
            spki: der.into(),
            kind,
            key: key.into(),
            parsed,
        })))
    }

    /// The DER of the `SubjectPublicKeyInfo`, as received.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// Contents of the `subjectPublicKey` BIT STRING.
    ///
    /// What key identifiers are made of.
    pub fn key_bytes(&self) -> &[u8] {
        &self.0.key
    }

    /// The key algorithm, if it is one that we make ourselves.
    ///
    /// An RSA key of 2560 bits, say, verifies well but has no member in [`KeyAlgorithm`].
    pub fn algorithm(&self) -> Option<KeyAlgorithm> {
        match &self.0.kind {
            Kind::Rsa { bits: 2048 } => Some(KeyAlgorithm::Rsa2048),
            Kind::Rsa { bits: 3072 } => Some(KeyAlgorithm::Rsa3072),
            Kind::Rsa { bits: 4096 } => Some(KeyAlgorithm::Rsa4096),
            Kind::Ec(curve) => Some(curve.key_algorithm()),
            Kind::Ed25519 => Some(KeyAlgorithm::Ed25519),
            Kind::Rsa { .. } | Kind::RsaPss { .. } | Kind::Other(_) => None,
        }
    }

    /// Type and size for people, such as `RSA-2048`, or the identifier of an algorithm we do not support.
    pub fn description(&self) -> String {
        match &self.0.kind {
            Kind::Rsa { bits } => format!("RSA-{bits}"),
            Kind::RsaPss { bits, .. } => format!("RSA-PSS-{bits}"),
            Kind::Ec(curve) => curve.key_algorithm().to_string(),
            Kind::Ed25519 => KeyAlgorithm::Ed25519.to_string(),
            Kind::Other(what) => what.clone(),
        }
    }

    /// SHA-1 of the key bits: the usual subject key identifier (RFC 5280, 4.2.1.2, method 1).
    /// SHA-1 is no weakness here: an identifier finds a key, the signature decides.
    pub fn key_id_sha1(&self) -> [u8; 20] {
        digest::sha1(&self.0.key)
    }

    /// Checks a signature over `message` (the message, not its hash).
    ///
    /// # Errors
    ///
    /// [`Error::KeyMismatch`] if key and algorithm do not go together, [`Error::Unsupported`] for keys of unknown kind
    /// and RSA below 2048 bits, [`Error::BadSignature`] if the signature is wrong.
    /// [`Error::Malformed`] is a key that is not valid for its algorithm, such as a point that is not on its curve.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let bad = Error::BadSignature {
            input: Input::PublicKey,
        };
        let verification = self.verification(algorithm)?;
        let cached = self.0.parsed.get_or_init(|| {
            ParsedPublicKey::new(verification, &self.0.key)
                .ok()
                .map(|key| (algorithm, key))
        });
        match cached {
            Some((first, key)) if *first == algorithm => key.verify_sig(message, signature),
            Some(_) => lc::UnparsedPublicKey::new(verification, &self.0.key).verify(message, signature),
            None => {
                return Err(Error::malformed(
                    Input::PublicKey,
                    "key is not valid for its algorithm",
                ));
            }
        }
        .map_err(|_| bad)
    }

    fn verification(
        &self,
        algorithm: SignatureAlgorithm,
    ) -> Result<&'static dyn lc::VerificationAlgorithm, Error> {
        let mismatch = || Error::KeyMismatch {
            key: self.description(),
            algorithm: algorithm.name(),
        };
        let short = |bits: usize| Error::Unsupported {
            input: Input::PublicKey,
            what: format!("RSA with {bits} bits (at least 2048 are)"),
        };
        match &self.0.kind {
            Kind::Rsa { bits } | Kind::RsaPss { bits, .. } if *bits < 2048 => Err(short(*bits)),
            Kind::Rsa { .. } => Ok(algorithm.rsa_verification().ok_or_else(mismatch)?),
            Kind::RsaPss { hash, .. } => {
                let fits = algorithm.oid() == rfc5912::ID_RSASSA_PSS
                    && hash.is_none_or(|hash| hash == algorithm.digest());
                Ok(algorithm
                    .rsa_verification()
                    .filter(|_| fits)
                    .ok_or_else(mismatch)?)
            }
            Kind::Ec(curve) => Ok(algorithm.ecdsa_verification(*curve).ok_or_else(mismatch)?),
            Kind::Ed25519 if algorithm == SignatureAlgorithm::Ed25519 => Ok(&lc::ED25519),
            Kind::Ed25519 => Err(mismatch()),
            Kind::Other(what) => Err(Error::Unsupported {
                input: Input::PublicKey,
                what: what.clone(),
            }),
        }
    }
}

impl Kind {
    fn read(oid: ObjectIdentifier, parameters: Option<&[u8]>, key: &[u8]) -> Result<Self, Error> {
        if oid == rfc5912::RSA_ENCRYPTION {
            return Ok(Self::Rsa {
                bits: modulus_bits(key)?,
            });
        }
        if oid == rfc5912::ID_RSASSA_PSS {
            let bits = modulus_bits(key)?;
            let Some(parameters) = parameters else {
                return Ok(Self::RsaPss { bits, hash: None });
            };
            let hash = asn1::read_all(Input::PublicKey, parameters, read_pss_parameters)?;
            return Ok(match hash {
                Some(hash) => Self::RsaPss {
                    bits,
                    hash: Some(hash),
                },
                None => Self::Other("RSA-PSS with foreign parameters".to_owned()),
            });
        }
        if oid == rfc5912::ID_EC_PUBLIC_KEY {
            // RFC 5480, 2.2: uncompressed or compressed; the library would take the hybrid form of X9.62 as well.
            let usual = matches!(key.first(), Some(2..=4));
            return Ok(match Curve::from_parameters(Input::PublicKey, parameters) {
                Ok(curve) if usual => Self::Ec(curve),
                Ok(_) => Self::Other("a curve point in an unusual form".to_owned()),
                Err(Error::Unsupported { what, .. }) => Self::Other(what),
                Err(other) => return Err(other),
            });
        }
        if oid == rfc8410::ID_ED_25519 && parameters.is_none() {
            return Ok(Self::Ed25519);
        }
        Ok(Self::Other(described(&oid)))
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017, A.1.1).
///
/// Gives the number of bits of the modulus. The library checks the rest when the key is used.
fn modulus_bits(key: &[u8]) -> Result<usize, Error> {
    let modulus = asn1::read_all(Input::PublicKey, key, |reader| {
        reader.sequence(|r| {
            let modulus: der::asn1::UintRef<'_> = r.decode()?;
            let _exponent: der::asn1::UintRef<'_> = r.decode()?;
            Ok(modulus)
        })
    })?;
    let bytes = modulus.as_bytes();
    let leading = bytes.first().map_or(0, |byte| byte.leading_zeros());
    let bits = bytes
        .len()
        .saturating_mul(8)
        .saturating_sub(usize::try_from(leading).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        let what = format!("RSA with {bits} bits (1024 to 8192 are)");
        return Err(Error::Unsupported {
            input: Input::PublicKey,
            what,
        });
    }
    Ok(bits)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki_der() == other.spki_der()
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spki_der().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, {})",
            self.description(),
            digest::hex(&self.key_id_sha1())
        )
    }
}
