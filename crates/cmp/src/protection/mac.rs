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
    /// K = OWF(..OWF(secret ‖ salt)..), made longer where the MAC's key is longer than the hash.
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

    /// Makes the key: the expensive step.
    pub(crate) fn derive(&self, secret: &Secret) -> Result<MacKey, ErrorKind> {
        let algorithm = hmac_algorithm(self.mac);
        let key = match self.derivation {
            Derivation::OneWay(owf) => self.one_way(owf, secret),
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
                key
            }
        };
        Ok(MacKey(hmac::Key::new(algorithm, &key)))
    }

    /// RFC 4211, 4.4: BASEKEY by iteration; K = BASEKEY, cut, or prolonged by OWF("1" ‖ BASEKEY), OWF("2" ‖ BASEKEY)...
    /// where the key of the MAC is longer than the hash.
    fn one_way(&self, owf: HashAlgorithm, secret: &Secret) -> Zeroizing<Vec<u8>> {
        let algorithm = digest_algorithm(owf);
        let mut context = digest::Context::new(algorithm);
        context.update(secret.expose());
        context.update(&self.salt);
        let mut hash = context.finish();
        for _ in 1..self.iterations {
            hash = digest::digest(algorithm, hash.as_ref());
        }
        let base = Zeroizing::new(hash.as_ref().to_vec());
        let wanted = self.mac.len();
        let mut key = Zeroizing::new(Vec::with_capacity(wanted.saturating_add(base.len())));
        key.extend_from_slice(&base);
        for counter in b'1'..=b'9' {
            if key.len() >= wanted {
                break;
            }
            let mut context = digest::Context::new(algorithm);
            context.update(&[counter]);
            context.update(&base);
            key.extend_from_slice(context.finish().as_ref());
        }
        key.truncate(wanted);
        key
    }
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
