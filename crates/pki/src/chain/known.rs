//! Signatures of certificates that were found right, so that the same one is not checked again and again: every answer of
//! a CA brings its signer and its chain, and those are the same for years.
//!
//! What is kept is the SHA-256 over algorithm, key, message and signature, which stands for exactly this check; that a
//! signature is right does not change with time. Dates, names and usages are looked at each time. Nothing is kept of a
//! signature that is wrong.

use std::sync::{Mutex, PoisonError};

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::digest::sha256;

/// Places in the table; a newcomer takes the place of whoever stands there.
const PLACES: usize = 1024;

static KNOWN: Mutex<Vec<Option<[u8; 32]>>> = Mutex::new(Vec::new());

/// `algorithm`, remembering what it found right.
pub(super) fn remembering(
    algorithm: &'static dyn SignatureVerificationAlgorithm,
) -> &'static dyn SignatureVerificationAlgorithm {
    Box::leak(Box::new(Remembering(algorithm)))
}

#[derive(Debug)]
struct Remembering(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let check = named(&[
            self.0.public_key_alg_id().as_ref(),
            self.0.signature_alg_id().as_ref(),
            key,
            message,
            signature,
        ]);
        if is_known(&check) {
            return Ok(());
        }
        self.0.verify_signature(key, message, signature)?;
        keep(check);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// A name for a check; each part with its length, so that no two checks share one.
fn named(parts: &[&[u8]]) -> [u8; 32] {
    let mut text = Vec::with_capacity(2048);
    for part in parts {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part);
    }
    sha256(&text)
}

fn place(check: &[u8; 32]) -> usize {
    let [a, b, ..] = check;
    usize::from(u16::from_be_bytes([*a, *b])) % PLACES
}

fn is_known(check: &[u8; 32]) -> bool {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .get(place(check))
        .is_some_and(|kept| kept.as_ref() == Some(check))
}

fn keep(check: [u8; 32]) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_empty() {
        known.resize(PLACES, None);
    }
    if let Some(kept) = known.get_mut(place(&check)) {
        *kept = Some(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the signature "right" and counts how often it is asked.
    #[derive(Debug)]
    struct Counting(Mutex<u32>);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(&self, _: &[u8], _: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
            *self.0.lock().unwrap() += 1;
            if signature == b"right" {
                Ok(())
            } else {
                Err(InvalidSignature)
            }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            AlgorithmIdentifier::from_slice(b"a key of this test")
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            AlgorithmIdentifier::from_slice(b"a signature of this test")
        }
    }

    #[test]
    fn a_right_signature_is_checked_once_and_a_wrong_one_each_time() {
        let counting: &'static Counting = Box::leak(Box::new(Counting(Mutex::new(0))));
        let algorithm = remembering(counting);
        for _ in 0..3 {
            assert!(algorithm.verify_signature(b"key", b"message", b"right").is_ok());
        }
        assert_eq!(*counting.0.lock().unwrap(), 1);
        for _ in 0..3 {
            assert!(algorithm.verify_signature(b"key", b"message", b"wrong").is_err());
        }
        assert_eq!(*counting.0.lock().unwrap(), 4);
    }

    #[test]
    fn a_right_signature_says_nothing_of_another_key_message_or_cut() {
        let of = |key: &[u8], message: &[u8], signature: &[u8]| named(&[key, message, signature]);
        let all = [
            of(b"key", b"message", b"right"),
            of(b"yek", b"message", b"right"),
            of(b"key", b"egassem", b"right"),
            of(b"keym", b"essage", b"right"),
            of(b"key", b"messag", b"eright"),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
