//! Private and public keys.
//!
//! A [`PrivateKey`] is held by the cryptographic library, which wipes its memory when it is freed; the encoded forms
//! that leave this module are [`Zeroizing`] buffers. Copies of a `PrivateKey` share one key object, so a key is parsed
//! and checked once and then only used.
//!
//! [`PrivateKey`] knows the keys we make. [`PublicKey`] meets the keys of strangers as well: it keeps any
//! `SubjectPublicKeyInfo` and says "unsupported" only when it is asked to check a signature.
//!
//! ```text
//!  generate ──┐                                   ┌──► PKCS#8 (PEM, DER)     wiped buffers
//!             ├──► PrivateKey (library's object) ─┼──► PKCS#1 or SEC 1       wiped buffers
//!  PEM, DER ──┘            │                      └──► signatures
//!                          └──► PublicKey ──► SubjectPublicKeyInfo, verification
//! ```
//!
//! Where key bytes can be seen: in the argument of [`PrivateKey::from_bytes`], which is the caller's; in the decoded PEM
//! block, which is wiped; inside the library; in the results of the `to_..` functions, which are wiped. Nowhere else.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5912, rfc8410};
use der::{Reader, SliceReader, Tag};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::asn1;
use crate::error::{Error, Input, check_size};
use crate::pem;
use crate::signature::{SignatureAlgorithm, algorithm_identifier};

pub(crate) use public::Curve;
pub use public::PublicKey;

mod public;

/// Largest private key file that is looked at. An RSA 4096 key in PEM has 3.3 KiB; the rest is room for other blocks.
pub const MAX_PRIVATE_KEY_BYTES: usize = 64 * 1024;

/// The kinds of key this program makes.
///
/// RSA from 2048 bits on (RFC 9481, 7.1, makes it mandatory), the three NIST curves and Ed25519. Serialised by name,
/// because the choice is stored with an issuance.
///
/// ```
/// use pki::KeyAlgorithm;
///
/// assert_eq!("EC-P256".parse(), Ok(KeyAlgorithm::EcP256));
/// assert!("RSA-1024".parse::<KeyAlgorithm>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of 2048 bits.
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    /// The curve P-256 (secp256r1).
    #[serde(rename = "EC-P256")]
    EcP256,
    /// The curve P-384 (secp384r1).
    #[serde(rename = "EC-P384")]
    EcP384,
    /// The curve P-521 (secp521r1).
    #[serde(rename = "EC-P521")]
    EcP521,
    /// Ed25519 (RFC 8032, RFC 8410).
    #[serde(rename = "Ed25519")]
    Ed25519,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::EcP256,
        Self::EcP384,
        Self::EcP521,
        Self::Ed25519,
    ];

    /// The words that [`FromStr`] understands, for error messages.
    pub const ALLOWED: &str = "RSA-2048, RSA-3072, RSA-4096, EC-P256, EC-P384, EC-P521, Ed25519";

    /// The name for people and files; read back by [`FromStr`].
    ///
    /// Words of the field: type, then size or curve.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcP256 => "EC-P256",
            Self::EcP384 => "EC-P384",
            Self::EcP521 => "EC-P521",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Is it RSA, of any size?
    ///
    /// RSA differs where it matters to others: key generation is slow, and key encipherment is a usual key usage.
    pub fn is_rsa(self) -> bool {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => true,
            Self::EcP256 | Self::EcP384 | Self::EcP521 | Self::Ed25519 => false,
        }
    }

    /// The signature a key of this kind makes unless told otherwise: PKCS#1 with SHA-256 for RSA (the mandatory
    /// algorithm of RFC 9481, 7.1), the hash of the curve's strength for ECDSA (RFC 5480, 4).
    pub fn default_signature(self) -> SignatureAlgorithm {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => SignatureAlgorithm::RsaPkcs1Sha256,
            Self::EcP256 => SignatureAlgorithm::EcdsaSha256,
            Self::EcP384 => SignatureAlgorithm::EcdsaSha384,
            Self::EcP521 => SignatureAlgorithm::EcdsaSha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::not_allowed(Input::KeyAlgorithm, "is unknown", Self::ALLOWED))
    }
}

/// A private key. Cloning is cheap and makes no copy of the key.
///
/// `Debug` shows the algorithm only. There is no `PartialEq`: compare public keys.
///
/// ```
/// use pki::{KeyAlgorithm, PrivateKey};
///
/// # fn main() -> pki::Result<()> {
/// let key = PrivateKey::generate(KeyAlgorithm::Ed25519)?;
/// let signature = key.sign(key.default_signature(), b"message")?;
/// key.public_key().verify(key.default_signature(), b"message", &signature)?;
///
/// let pem = key.to_pkcs8_pem()?;
/// let again = PrivateKey::from_bytes(pem.as_bytes())?;
/// assert_eq!(again.public_key(), key.public_key());
/// assert_eq!(format!("{key:?}"), "PrivateKey(Ed25519)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    algorithm: KeyAlgorithm,
    pair: KeyPair,
    public: PublicKey,
}

/// The library's key objects. They are safe for use by several threads and wipe themselves (`OPENSSL_free` of AWS-LC
/// clears memory before giving it back).
enum KeyPair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Makes a new key. RSA takes between some 20 ms and several seconds of computing: not for an async thread.
    ///
    /// The library checks a new RSA key for consistency before it gives it out; the public exponent is 65537.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let failed = |_| Error::Crypto {
            step: "key generation",
        };
        let rsa = |size| RsaKeyPair::generate(size).map(KeyPair::Rsa).map_err(failed);
        let ec = |curve: Curve| {
            EcdsaKeyPair::generate(curve.signing())
                .map(KeyPair::Ec)
                .map_err(failed)
        };
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcP256 => ec(Curve::P256),
            KeyAlgorithm::EcP384 => ec(Curve::P384),
            KeyAlgorithm::EcP521 => ec(Curve::P521),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(KeyPair::Ed25519).map_err(failed),
        }?;
        Self::new(algorithm, pair)
    }

    /// Reads an unencrypted private key, at most [`MAX_PRIVATE_KEY_BYTES`]: PEM or DER, PKCS#8 (RFC 5958), PKCS#1
    /// (RFC 8017, A.1.2) or SEC 1 (RFC 5915).
    ///
    /// The library checks the parts of the key against each other, so a damaged or mixed-up file is found here and not by
    /// the first peer that cannot verify a signature.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for encrypted files, other kinds and sizes of keys, and curves by explicit parameters;
    /// [`Error::Malformed`] for everything that is no private key, or more than one. No error holds bytes of the input.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        check_size(Input::PrivateKey, bytes, MAX_PRIVATE_KEY_BYTES)?;
        if !pem::is_pem(bytes) {
            return Self::from_der(bytes);
        }
        let labels = [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
        ];
        Self::from_block(&pem::single(Input::PrivateKey, bytes, &labels)?)
    }

    /// Reads the contents of a PEM block that ends in `PRIVATE KEY`.
    pub(crate) fn from_block(block: &pem::Block) -> Result<Self, Error> {
        if block.label == "ENCRYPTED PRIVATE KEY" {
            let what = "password encryption (decrypt it first)".to_owned();
            return Err(Error::Unsupported {
                input: Input::PrivateKey,
                what,
            });
        }
        Self::from_der(&block.der)
    }

    fn from_der(der: &[u8]) -> Result<Self, Error> {
        let layout = asn1::read_all(Input::PrivateKey, der, layout)
            .map_err(|_| malformed("neither PEM nor DER of PKCS#8, PKCS#1 or SEC 1"))?;
        match layout {
            Layout::Pkcs8 {
                algorithm,
                parameters,
            } => Self::from_pkcs8(der, algorithm, parameters),
            Layout::Pkcs1 => RsaKeyPair::from_der(der)
                .map_err(rejected)
                .and_then(Self::from_rsa),
            Layout::Sec1 { curve } => Self::from_sec1(der, curve),
        }
    }

    fn from_pkcs8(der: &[u8], oid: ObjectIdentifier, parameters: Option<&[u8]>) -> Result<Self, Error> {
        if oid == rfc5912::RSA_ENCRYPTION {
            RsaKeyPair::from_pkcs8(der)
                .map_err(rejected)
                .and_then(Self::from_rsa)
        } else if oid == rfc5912::ID_EC_PUBLIC_KEY {
            let curve = Curve::from_parameters(Input::PrivateKey, parameters)?;
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), der).map_err(rejected)?;
            Self::new(curve.key_algorithm(), KeyPair::Ec(pair))
        } else if oid == rfc8410::ID_ED_25519 {
            let pair = Ed25519KeyPair::from_pkcs8(der).map_err(rejected)?;
            Self::new(KeyAlgorithm::Ed25519, KeyPair::Ed25519(pair))
        } else {
            let what = crate::signature::described(&oid);
            Err(Error::Unsupported {
                input: Input::PrivateKey,
                what,
            })
        }
    }

    fn from_rsa(pair: RsaKeyPair) -> Result<Self, Error> {
        let algorithm = match pair.public_modulus_len() {
            256 => KeyAlgorithm::Rsa2048,
            384 => KeyAlgorithm::Rsa3072,
            512 => KeyAlgorithm::Rsa4096,
            other => {
                let what = format!(
                    "RSA with {} bits (2048, 3072 and 4096 are)",
                    other.saturating_mul(8)
                );
                return Err(Error::Unsupported {
                    input: Input::PrivateKey,
                    what,
                });
            }
        };
        Self::new(algorithm, KeyPair::Rsa(pair))
    }

    /// A SEC 1 file without curve parameters leaves us the length of the key, which is different for each curve.
    /// Parameters that name a curve we do not know are not replaced by a guess.
    fn from_sec1(der: &[u8], curve: Option<Curve>) -> Result<Self, Error> {
        let curve = curve.ok_or_else(|| malformed("SEC 1 key names no known curve"))?;
        let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der).map_err(rejected)?;
        Self::new(curve.key_algorithm(), KeyPair::Ec(pair))
    }

    fn new(algorithm: KeyAlgorithm, pair: KeyPair) -> Result<Self, Error> {
        let failed = |_| Error::Crypto {
            step: "encoding of the public key",
        };
        let spki: PublicKeyX509Der<'_> = match &pair {
            KeyPair::Rsa(pair) => pair.public_key().as_der().map_err(failed)?,
            KeyPair::Ec(pair) => pair.public_key().as_der().map_err(failed)?,
            KeyPair::Ed25519(pair) => pair.public_key().as_der().map_err(failed)?,
        };
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        Ok(Self(Arc::new(Inner {
            algorithm,
            pair,
            public,
        })))
    }

    /// Which kind of key it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.algorithm
    }

    /// The public half.
    ///
    /// It is parsed once, when the key is made or read.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// See [`KeyAlgorithm::default_signature`].
    pub fn default_signature(&self) -> SignatureAlgorithm {
        self.0.algorithm.default_signature()
    }

    /// Signs `message` (the message, not its hash).
    ///
    /// An RSA key makes all six RSA signatures. An EC key makes ECDSA with the hash of its curve's strength only (the
    /// default): RFC 5480, 4, advises against the others, and verification, where we have no choice, accepts them.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mismatch = || Error::KeyMismatch {
            key: self.algorithm().to_string(),
            algorithm: algorithm.name(),
        };
        let failed = |_| Error::Crypto { step: "signing" };
        match &self.0.pair {
            KeyPair::Rsa(pair) => {
                let encoding = algorithm.rsa_signing().ok_or_else(mismatch)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            KeyPair::Ec(pair) => {
                if algorithm != self.default_signature() {
                    return Err(mismatch());
                }
                Ok(pair
                    .sign(&SystemRandom::new(), message)
                    .map_err(failed)?
                    .as_ref()
                    .to_vec())
            }
            KeyPair::Ed25519(pair) => {
                if algorithm != SignatureAlgorithm::Ed25519 {
                    return Err(mismatch());
                }
                Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec())
            }
        }
    }

    /// PKCS#8 version 1 (RFC 5208), which every program reads, also for Ed25519 (RFC 8410, 7).
    ///
    /// Version 2 (RFC 5958) would hold the public key as well, and is not read by the OpenSSL command line.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |_| Error::Crypto {
            step: "encoding of the private key",
        };
        Ok(Zeroizing::new(match &self.0.pair {
            KeyPair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
            KeyPair::Ec(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            KeyPair::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
        }))
    }

    /// PKCS#8 in PEM, `BEGIN PRIVATE KEY`.
    ///
    /// The form for Secrets and files unless somebody asks for another.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, Error> {
        Ok(pem::encode("PRIVATE KEY", &self.to_pkcs8_der()?))
    }

    /// The form from before PKCS#8: PKCS#1 for RSA, SEC 1 for EC. Ed25519 has none and is refused.
    ///
    /// Some servers of the telecom world read nothing else. SEC 1 carries the curve's name and the public point (RFC 5915,
    /// 3), so it can stand alone.
    pub fn to_traditional_der(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match &self.0.pair {
            KeyPair::Rsa(_) => {
                let pkcs8 = self.to_pkcs8_der()?;
                let inner = asn1::read_all(Input::PrivateKey, &pkcs8, pkcs8_contents)?;
                Ok(Zeroizing::new(inner.to_vec()))
            }
            KeyPair::Ec(pair) => {
                let der: EcPrivateKeyRfc5915Der<'_> =
                    pair.private_key().as_der().map_err(|_| Error::Crypto {
                        step: "encoding of the private key",
                    })?;
                Ok(Zeroizing::new(der.as_ref().to_vec()))
            }
            KeyPair::Ed25519(_) => Err(Error::not_allowed(
                Input::PrivateKey,
                "of type Ed25519 has no traditional form",
                "PKCS#8 for Ed25519",
            )),
        }
    }

    /// The traditional form in PEM, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`.
    pub fn to_traditional_pem(&self) -> Result<Zeroizing<String>, Error> {
        let label = if self.algorithm().is_rsa() {
            "RSA PRIVATE KEY"
        } else {
            "EC PRIVATE KEY"
        };
        Ok(pem::encode(label, &self.to_traditional_der()?))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm())
    }
}

/// What the DER of a private key looks like from outside.
///
/// DER files carry no label, so the layout must tell; for PEM the label is not believed either.
enum Layout<'a> {
    Pkcs8 {
        algorithm: ObjectIdentifier,
        parameters: Option<&'a [u8]>,
    },
    Pkcs1,
    Sec1 {
        curve: Option<Curve>,
    },
}

/// All three start with a version; what follows tells them apart:
///
/// ```text
/// PrivateKeyInfo ::= SEQUENCE { version, privateKeyAlgorithm SEQUENCE, privateKey OCTET STRING, .. }     RFC 5958
/// RSAPrivateKey  ::= SEQUENCE { version, modulus INTEGER, .. }                                        RFC 8017
/// ECPrivateKey   ::= SEQUENCE { version, privateKey OCTET STRING, [0] parameters, [1] publicKey }     RFC 5915
/// ```
fn layout<'a>(reader: &mut SliceReader<'a>) -> der::Result<Layout<'a>> {
    reader.sequence(|r| {
        asn1::contents(r, Tag::Integer)?;
        let layout = match Tag::peek(r)? {
            Tag::Sequence => {
                let (algorithm, parameters) = algorithm_identifier(r)?;
                Layout::Pkcs8 {
                    algorithm,
                    parameters,
                }
            }
            Tag::Integer => Layout::Pkcs1,
            _ => {
                let key = asn1::contents(r, Tag::OctetString)?;
                let named = asn1::optional(r, asn1::context_tag(0, true))?;
                let curve = match named {
                    Some(parameters) => Curve::from_parameters(Input::PrivateKey, Some(parameters)).ok(),
                    None => Curve::from_private_length(key.len()),
                };
                Layout::Sec1 { curve }
            }
        };
        while !r.is_finished() {
            r.tlv_bytes()?;
        }
        Ok(layout)
    })
}

/// The key inside PKCS#8, which for RSA is PKCS#1.
///
/// `RSAPrivateKey ::= SEQUENCE { version, modulus, publicExponent, privateExponent, prime1, prime2, exponent1,
/// exponent2, coefficient }` (RFC 8017, A.1.2). The slice borrows from the caller's wiped buffer.
fn pkcs8_contents<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    reader.sequence(|r| {
        asn1::contents(r, Tag::Integer)?;
        algorithm_identifier(r)?;
        let inner = asn1::contents(r, Tag::OctetString)?;
        while !r.is_finished() {
            r.tlv_bytes()?;
        }
        Ok(inner)
    })
}

fn malformed(reason: &'static str) -> Error {
    Error::malformed(Input::PrivateKey, reason)
}

/// The library's reason is one word about the key's consistency and holds nothing of the key.
fn rejected(reason: aws_lc_rs::error::KeyRejected) -> Error {
    Error::malformed(Input::PrivateKey, reason.to_string())
}
