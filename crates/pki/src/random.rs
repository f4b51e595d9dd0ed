//! Random values from the cryptographic library: nonces, identifiers, serial numbers, passwords.
//!
//! AWS-LC seeds its generator from the operating system and again after a fork. An error here means that there is no
//! entropy to be had at all; nothing should go on without.

use aws_lc_rs::rand;

use crate::error::Error;

/// A random number, all values equally likely.
///
/// For jitter and identifiers. Not for keys: see [`crate::PrivateKey::generate`].
pub fn number() -> Result<u32, Error> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// `length` random characters of `A-Z a-z 0-9 - _`, which is six bits of randomness each.
pub fn text(length: usize) -> Result<String, Error> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    fill(&mut bytes)?;
    // Six bits are always an index of the 64 letters, and each letter has the same share of the 256 bytes.
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 63)).copied().map(char::from);
    Ok(bytes.iter().filter_map(letter).collect())
}

/// Fills `bytes` with random ones.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    rand::fill(bytes).map_err(|_| Error::Crypto {
        step: "random numbers",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_length_and_differ() {
        let (a, b) = (text(24).unwrap(), text(24).unwrap());
        assert_eq!((a.len(), b.len()), (24, 24));
        assert_ne!(a, b);
        assert_eq!(text(0).unwrap(), "");
    }

    #[test]
    fn every_letter_comes_up() {
        let letters: std::collections::BTreeSet<char> = text(10_000).unwrap().chars().collect();
        assert_eq!(letters.len(), 64);
    }

    #[test]
    fn buffers_and_numbers_differ_each_time() {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        fill(&mut a).unwrap();
        fill(&mut b).unwrap();
        assert_ne!(a, b);
        let numbers: std::collections::BTreeSet<u32> = (0..20).map(|_| number().unwrap()).collect();
        assert!(numbers.len() > 15);
    }
}
