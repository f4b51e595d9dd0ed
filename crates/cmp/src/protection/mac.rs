//! Keys from shared secrets: the password-based MAC (RFC 4211, 4.4) and PBMAC1 (RFC 8018, 7.1; RFC 9481, 6.1).

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use der::Encode;
use der::asn1::{Any, Null, OctetString};
use pki::digest::HashAlgorithm;
use pki::{Secret, constant_time_eq};
use zeroize::Zeroizing;

use super::{MacAlgorithm, encoding};
use crate::asn1::{
    AlgorithmIdentifier, ObjectIdentifier, Pbkdf2Params, Pbkdf2Salt, PbmParameter, Pbmac1Params, oid,
};
use crate::engine::Limits;
use crate::error::ErrorKind;

/// A MAC algorithm with its salt: everything but the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacParameters {
    salt: Vec<u8>,
    iterations: u32,
    derivation: Derivation,
    mac: HashAlgorithm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Derivation {
    /// K = OWF(..OWF(secret ‖ salt)..).
    OneWay(HashAlgorithm),
    /// PBKDF2 with this PRF and a key of this many bytes.
    Pbkdf2(HashAlgorithm, usize),
}

/// Fewest iterations and shortest salt that RFC 4211, 4.4, allows to send.
const MIN_PBM: (u32, usize) = (100, 8);

impl MacParameters {
    /// With a fresh random salt.
    ///
    /// # Errors
    ///
    /// Iterations or salt outside what RFC 4211 and our own limits allow.
    pub fn generate(algorithm: MacAlgorithm) -> Result<Self, ErrorKind> {
        let (MacAlgorithm::Pbm { salt_len, .. } | MacAlgorithm::Pbmac1 { salt_len, .. }) = algorithm;
        let limits = Limits::default();
        if !(MIN_PBM.1..=limits.salt_bytes).contains(&salt_len) {
            return Err(settings("salt of the MAC must have 8 to 1024 bytes"));
        }
        let mut salt = vec![0; salt_len];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| pki::Error::Crypto { step: "random salt" })?;
        Self::with_salt(algorithm, &salt)
    }

    /// With a known salt: later messages of a transaction.
    pub fn with_salt(algorithm: MacAlgorithm, salt: &[u8]) -> Result<Self, ErrorKind> {
        let limits = Limits::default();
        let (iterations, derivation, mac) = match algorithm {
            MacAlgorithm::Pbm {
                owf, mac, iterations, ..
            } => {
                if !(MIN_PBM.0..=limits.pbm_iterations).contains(&iterations) {
                    return Err(settings(
                        "iterations of the password-based MAC must be 100 to 100000",
                    ));
                }
                if owf.len() < mac.len() {
                    return Err(settings(
                        "hash of the MAC must not be longer than the one-way function's",
                    ));
                }
                (iterations, Derivation::OneWay(owf), mac)
            }
            MacAlgorithm::Pbmac1 {
                prf, mac, iterations, ..
            } => {
                if !(1..=limits.pbkdf2_iterations).contains(&iterations) {
                    return Err(settings("iterations of PBMAC1 must be 1 to 1000000"));
                }
                (iterations, Derivation::Pbkdf2(prf, mac.len()), mac)
            }
        };
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            derivation,
            mac,
        })
    }

    /// The salt, to be kept for the transaction. It is no secret.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Reads a peer's parameters. Which type they have is told by the algorithm; the limits are checked here, before
    /// anybody derives a key.
    pub fn from_identifier(algorithm: &AlgorithmIdentifier, limits: &Limits) -> Result<Self, ErrorKind> {
        match algorithm.oid {
            oid::PASSWORD_BASED_MAC => Self::from_pbm(&parameters("PBMParameter", algorithm)?, limits),
            oid::PBMAC1 => Self::from_pbmac1(&parameters("PBMAC1-params", algorithm)?, limits),
            other => Err(ErrorKind::Unsupported {
                what: format!("MAC algorithm {other}"),
            }),
        }
    }

    fn from_pbm(pbm: &PbmParameter, limits: &Limits) -> Result<Self, ErrorKind> {
        let iterations = bounded(
            "iterations of the password-based MAC",
            pbm.iteration_count,
            limits.pbm_iterations,
        )?;
        let salt = bounded_salt(pbm.salt.as_bytes(), limits)?;
        let owf = hash_of(&pbm.owf)?;
        let mac = hmac_hash(&pbm.mac)?;
        Ok(Self {
            salt,
            iterations,
            derivation: Derivation::OneWay(owf),
            mac,
        })
    }

    fn from_pbmac1(pbmac1: &Pbmac1Params, limits: &Limits) -> Result<Self, ErrorKind> {
        if pbmac1.key_derivation_func.oid != oid::PBKDF2 {
            let what = format!("key derivation function {}", pbmac1.key_derivation_func.oid);
            return Err(ErrorKind::Unsupported { what });
        }
        let kdf: Pbkdf2Params = parameters("PBKDF2-params", &pbmac1.key_derivation_func)?;
        let iterations = bounded(
            "iterations of PBKDF2",
            kdf.iteration_count,
            limits.pbkdf2_iterations,
        )?;
        let Pbkdf2Salt::Specified(salt) = &kdf.salt else {
            return Err(ErrorKind::Unsupported {
                what: "salt of PBKDF2 from another source".to_owned(),
            });
        };
        let salt = bounded_salt(salt.as_bytes(), limits)?;
        let mac = hmac_hash(&pbmac1.message_auth_scheme)?;
        let prf = match &kdf.prf {
            Some(prf) => hmac_hash(prf)?,
            None => HashAlgorithm::Sha1,
        };
        let limit = u32::try_from(limits.mac_key_bytes).unwrap_or(u32::MAX);
        let key_len = match kdf.key_length {
            Some(length) => bounded("keyLength of PBKDF2", length, limit)?,
            None => u32::try_from(mac.len()).unwrap_or(limit),
        };
        let key_len = usize::try_from(key_len).unwrap_or(limits.mac_key_bytes);
        Ok(Self {
            salt,
            iterations,
            derivation: Derivation::Pbkdf2(prf, key_len),
            mac,
        })
    }

    /// The AlgorithmIdentifier for protectionAlg.
    pub fn to_identifier(&self) -> Result<AlgorithmIdentifier, ErrorKind> {
        let salt = OctetString::new(self.salt.as_slice()).map_err(encoding)?;
        let iteration_count = i64::from(self.iterations);
        match self.derivation {
            Derivation::OneWay(owf) => {
                let owf = with_null(hash_oid(owf));
                let mac = with_null(hmac_oid(self.mac));
                identifier(
                    oid::PASSWORD_BASED_MAC,
                    &PbmParameter {
                        salt,
                        owf,
                        iteration_count,
                        mac,
                    },
                )
            }
            Derivation::Pbkdf2(prf, length) => {
                let kdf = Pbkdf2Params {
                    salt: Pbkdf2Salt::Specified(salt),
                    iteration_count,
                    key_length: i64::try_from(length).ok(),
                    // A DEFAULT value must not be encoded (X.690, 11.5).
                    prf: (prf != HashAlgorithm::Sha1).then(|| with_null(hmac_oid(prf))),
                };
                let key_derivation_func = identifier(oid::PBKDF2, &kdf)?;
                let message_auth_scheme = with_null(hmac_oid(self.mac));
                identifier(
                    oid::PBMAC1,
                    &Pbmac1Params {
                        key_derivation_func,
                        message_auth_scheme,
                    },
                )
            }
        }
    }

    /// Makes the key for a MAC of ours: the expensive step.
    pub(crate) fn derive(&self, secret: &Secret) -> Result<MacKey, ErrorKind> {
        Ok(self.key(&self.derive_bytes(secret)?))
    }

    /// Is `mac` the MAC of `bytes`? Compared in constant time.
    ///
    /// RFC 4211, 4.4, makes a key longer where the MAC wants more than the one-way function gives: OWF("1" ‖ BASEKEY) and
    /// so on. HMAC takes keys of any length, and OpenSSL and others use BASEKEY as it is (seen with HMAC-SHA-512 over
    /// SHA-256), so in that one case both readings are tried. Requests of ours avoid it.
    pub(crate) fn verify(&self, secret: &Secret, bytes: &[u8], mac: &[u8]) -> Result<bool, ErrorKind> {
        let base = self.derive_bytes(secret)?;
        if self.key(&base).verify(bytes, mac) {
            return Ok(true);
        }
        Ok(match self.derivation {
            Derivation::OneWay(owf) if owf.len() < self.mac.len() => {
                self.key(&prolong(owf, &base, self.mac.len())).verify(bytes, mac)
            }
            Derivation::OneWay(_) | Derivation::Pbkdf2(..) => false,
        })
    }

    fn key(&self, bytes: &[u8]) -> MacKey {
        MacKey(hmac::Key::new(hmac_algorithm(self.mac), bytes))
    }

    fn derive_bytes(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, ErrorKind> {
        match self.derivation {
            Derivation::OneWay(owf) => Ok(self.one_way(owf, secret)),
            Derivation::Pbkdf2(prf, length) => {
                let iterations = NonZeroU32::new(self.iterations).ok_or_else(|| settings("no iterations"))?;
                let mut key = Zeroizing::new(vec![0; length]);
                pbkdf2::derive(
                    pbkdf2_algorithm(prf),
                    iterations,
                    &self.salt,
                    secret.expose(),
                    &mut key,
                );
                Ok(key)
            }
        }
    }

    /// BASEKEY = OWF(..OWF(secret ‖ salt)..) (RFC 4211, 4.4).
    fn one_way(&self, owf: HashAlgorithm, secret: &Secret) -> Zeroizing<Vec<u8>> {
        let algorithm = digest_algorithm(owf);
        let mut context = digest::Context::new(algorithm);
        context.update(secret.expose());
        context.update(&self.salt);
        let mut hash = context.finish();
        for _ in 1..self.iterations {
            hash = digest::digest(algorithm, hash.as_ref());
        }
        Zeroizing::new(hash.as_ref().to_vec())
    }
}

/// BASEKEY ‖ OWF("1" ‖ BASEKEY) ‖ OWF("2" ‖ BASEKEY) .., cut to the length wanted (RFC 4211, 4.4).
fn prolong(owf: HashAlgorithm, base: &[u8], wanted: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(wanted.saturating_add(base.len())));
    key.extend_from_slice(base);
    for counter in b'1'..=b'9' {
        if key.len() >= wanted {
            break;
        }
        let mut context = digest::Context::new(digest_algorithm(owf));
        context.update(&[counter]);
        context.update(base);
        key.extend_from_slice(context.finish().as_ref());
    }
    key.truncate(wanted);
    key
}

/// A derived key.
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, bytes).as_ref().to_vec()
    }

    /// In constant time.
    pub(crate) fn verify(&self, bytes: &[u8], mac: &[u8]) -> bool {
        constant_time_eq(hmac::sign(&self.0, bytes).as_ref(), mac)
    }
}

/// Decodes the parameters of an algorithm as the type that its identifier calls for.
fn parameters<'a, T>(what: &'static str, algorithm: &'a AlgorithmIdentifier) -> Result<T, ErrorKind>
where
    T: der::Decode<'a, Error = der::Error> + der::DecodeValue<'a, Error = der::Error> + der::FixedTag,
{
    let malformed = |reason: String| ErrorKind::Malformed { what, reason };
    let value = algorithm
        .parameters
        .as_ref()
        .ok_or_else(|| malformed("missing".to_owned()))?;
    value
        .decode_as()
        .map_err(|error: der::Error| malformed(error.to_string()))
}

fn bounded(what: &'static str, value: i64, limit: u32) -> Result<u32, ErrorKind> {
    match u32::try_from(value) {
        Ok(value) if (1..=limit).contains(&value) => Ok(value),
        _ => Err(ErrorKind::Limit {
            what,
            limit: u64::from(limit),
        }),
    }
}

fn bounded_salt(salt: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorKind> {
    if salt.len() > limits.salt_bytes {
        let limit = u64::try_from(limits.salt_bytes).unwrap_or(u64::MAX);
        return Err(ErrorKind::Limit {
            what: "salt of the MAC",
            limit,
        });
    }
    Ok(salt.to_vec())
}

fn settings(text: &str) -> ErrorKind {
    ErrorKind::Settings(text.to_owned())
}

fn identifier<T: Encode + der::Tagged + der::EncodeValue>(
    oid: ObjectIdentifier,
    parameters: &T,
) -> Result<AlgorithmIdentifier, ErrorKind> {
    Any::encode_from(parameters)
        .map(|parameters| AlgorithmIdentifier {
            oid,
            parameters: Some(parameters),
        })
        .map_err(encoding)
}

/// Hash and HMAC identifiers are sent with NULL parameters, as RFC 4211 and RFC 8018 write them; both forms are read.
fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifier {
    AlgorithmIdentifier {
        oid,
        parameters: Some(Any::from(Null)),
    }
}

fn hash_of(algorithm: &AlgorithmIdentifier) -> Result<HashAlgorithm, ErrorKind> {
    match algorithm.oid {
        oid::SHA1 => Ok(HashAlgorithm::Sha1),
        oid::SHA256 => Ok(HashAlgorithm::Sha256),
        oid::SHA384 => Ok(HashAlgorithm::Sha384),
        oid::SHA512 => Ok(HashAlgorithm::Sha512),
        other => Err(ErrorKind::Unsupported {
            what: format!("one-way function {other}"),
        }),
    }
}

fn hmac_hash(algorithm: &AlgorithmIdentifier) -> Result<HashAlgorithm, ErrorKind> {
    match algorithm.oid {
        oid::HMAC_SHA1 | oid::HMAC_SHA1_OLD => Ok(HashAlgorithm::Sha1),
        oid::HMAC_SHA256 => Ok(HashAlgorithm::Sha256),
        oid::HMAC_SHA384 => Ok(HashAlgorithm::Sha384),
        oid::HMAC_SHA512 => Ok(HashAlgorithm::Sha512),
        other => Err(ErrorKind::Unsupported {
            what: format!("MAC {other}"),
        }),
    }
}

/// The identifier of a hash function.
pub(crate) fn hash_oid(hash: HashAlgorithm) -> ObjectIdentifier {
    match hash {
        HashAlgorithm::Sha1 => oid::SHA1,
        HashAlgorithm::Sha256 => oid::SHA256,
        HashAlgorithm::Sha384 => oid::SHA384,
        HashAlgorithm::Sha512 => oid::SHA512,
    }
}

fn hmac_oid(hash: HashAlgorithm) -> ObjectIdentifier {
    match hash {
        HashAlgorithm::Sha1 => oid::HMAC_SHA1,
        HashAlgorithm::Sha256 => oid::HMAC_SHA256,
        HashAlgorithm::Sha384 => oid::HMAC_SHA384,
        HashAlgorithm::Sha512 => oid::HMAC_SHA512,
    }
}

fn digest_algorithm(hash: HashAlgorithm) -> &'static digest::Algorithm {
    match hash {
        HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => &digest::SHA256,
        HashAlgorithm::Sha384 => &digest::SHA384,
        HashAlgorithm::Sha512 => &digest::SHA512,
    }
}

fn hmac_algorithm(hash: HashAlgorithm) -> hmac::Algorithm {
    match hash {
        HashAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
    }
}

fn pbkdf2_algorithm(hash: HashAlgorithm) -> pbkdf2::Algorithm {
    match hash {
        HashAlgorithm::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        HashAlgorithm::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        HashAlgorithm::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        HashAlgorithm::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pbm(owf: HashAlgorithm, mac: HashAlgorithm) -> MacParameters {
        MacParameters {
            salt: vec![1; 16],
            iterations: 100,
            derivation: Derivation::OneWay(owf),
            mac,
        }
    }

    /// PBKDF2 vector of RFC 7914, 11 (HMAC-SHA-256, one iteration, 64 bytes).
    #[test]
    fn pbkdf2_agrees_with_the_published_value() {
        let parameters = MacParameters {
            salt: b"salt".to_vec(),
            iterations: 1,
            derivation: Derivation::Pbkdf2(HashAlgorithm::Sha256, 64),
            mac: HashAlgorithm::Sha256,
        };
        let key = parameters.derive_bytes(&Secret::from(&b"passwd"[..])).unwrap();
        assert!(
            pki::digest::hex(&key)
                .starts_with("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")
        );
    }

    /// The chain of hashes, spelled out.
    #[test]
    fn base_key_is_the_hash_of_the_hash() {
        let mut parameters = pbm(HashAlgorithm::Sha256, HashAlgorithm::Sha256);
        parameters.iterations = 3;
        let first = pki::digest::sha256(&[&b"secret"[..], &[1; 16]].concat());
        let third = pki::digest::sha256(&pki::digest::sha256(&first));
        assert_eq!(
            *parameters.derive_bytes(&Secret::from(&b"secret"[..])).unwrap(),
            third
        );
    }

    /// RFC 4211, 4.4: both readings of a key that is shorter than the MAC's hash are understood, a wrong MAC is not.
    #[test]
    fn mac_longer_than_the_one_way_function_is_verified_with_and_without_prolonged_key() {
        let parameters = pbm(HashAlgorithm::Sha1, HashAlgorithm::Sha512);
        let secret = Secret::from(&b"secret"[..]);
        let base = parameters.derive_bytes(&secret).unwrap();
        let one = pki::digest::sha1(&[&b"1"[..], &base].concat());
        let two = pki::digest::sha1(&[&b"2"[..], &base].concat());
        let three = pki::digest::sha1(&[&b"3"[..], &base].concat());
        let long = [&base[..], &one, &two, &three].concat();
        for key in [&base[..], &long[..64]] {
            let mac = parameters.key(key).sign(b"message");
            assert_eq!(parameters.verify(&secret, b"message", &mac), Ok(true));
            assert_eq!(parameters.verify(&secret, b"another", &mac), Ok(false));
            assert_eq!(parameters.verify(&secret, b"message", &mac[..63]), Ok(false));
        }
        let mac = parameters.key(&long).sign(b"message");
        assert_eq!(parameters.verify(&secret, b"message", &mac), Ok(false));
    }

    #[test]
    fn costs_that_we_would_refuse_ourselves_cannot_be_set() {
        use HashAlgorithm::{Sha256, Sha512};
        let pbm = |owf, mac, iterations, salt_len| MacAlgorithm::Pbm {
            owf,
            mac,
            iterations,
            salt_len,
        };
        let pbmac1 = |iterations, salt_len| MacAlgorithm::Pbmac1 {
            prf: Sha256,
            mac: Sha256,
            iterations,
            salt_len,
        };
        let wrong = [
            pbm(Sha256, Sha512, 1024, 16),
            pbm(Sha256, Sha256, 99, 16),
            pbm(Sha256, Sha256, 100_001, 16),
            pbm(Sha256, Sha256, 1024, 7),
            pbm(Sha256, Sha256, 1024, 1025),
            pbmac1(0, 16),
            pbmac1(1_000_001, 16),
        ];
        for algorithm in wrong {
            assert!(
                matches!(MacParameters::generate(algorithm), Err(ErrorKind::Settings(_))),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn parameters_survive_the_wire() {
        for algorithm in [MacAlgorithm::PBM, MacAlgorithm::LEGACY_PBM, MacAlgorithm::PBMAC1] {
            let parameters = MacParameters::generate(algorithm).unwrap();
            let identifier = parameters.to_identifier().unwrap();
            assert_eq!(
                MacParameters::from_identifier(&identifier, &Limits::default()),
                Ok(parameters)
            );
        }
    }
}
