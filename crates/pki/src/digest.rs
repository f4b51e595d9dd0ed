//! Hash functions, one shot, and the hexadecimal form of their results.
//!
//! SHA-1 is here for key identifiers (RFC 5280, 4.2.1.2, method 1) and old MAC settings of installed CAs; nothing is
//! ever signed with it.
//!
//! Small inputs only: everything here is in memory already. Files that are hashed as they stream by are not the
//! business of this crate, which does no I/O.

use aws_lc_rs::digest;

/// A hash function of the SHA family.
///
/// The three of SHA-2 are what RFC 9481, 2.1, lists for signatures and MACs of CMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes. Only for identifiers and legacy MACs.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// Hashes `bytes`; the result has [`Self::len`] bytes.
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.implementation(), bytes).as_ref().to_vec()
    }

    /// Length of the hash in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no hash is empty")]
    pub fn len(self) -> usize {
        self.implementation().output_len()
    }

    fn implementation(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// SHA-1 of `bytes`.
///
/// For key identifiers only, where nothing depends on collisions being hard to find.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    fixed(HashAlgorithm::Sha1, bytes)
}

/// SHA-256 of `bytes`.
///
/// For fingerprints, content hashes and everything else that has no reason to be different.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(HashAlgorithm::Sha256, bytes)
}

/// SHA-384 of `bytes`.
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    fixed(HashAlgorithm::Sha384, bytes)
}

/// SHA-512 of `bytes`.
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    fixed(HashAlgorithm::Sha512, bytes)
}

/// Lower-case hexadecimal form, two digits a byte, no separators.
///
/// ```
/// assert_eq!(pki::digest::hex(&[0x0a, 0xff]), "0aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

/// Reads hexadecimal digits of either case; `None` if there is anything else or half a byte.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect()
}

fn fixed<const N: usize>(algorithm: HashAlgorithm, bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let hash = digest::digest(algorithm.implementation(), bytes);
    // `zip` cannot go out of bounds; the lengths agree, as the tests of each function show.
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 test message "abc".
    #[test]
    fn hashes_agree_with_published_values() {
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hex(&sha384(b"abc")).starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(hex(&sha384(b"abc")).ends_with("58baeca134c825a7"));
        assert!(hex(&sha512(b"abc")).starts_with("ddaf35a193617abacc417349ae204131"));
        assert!(hex(&sha512(b"abc")).ends_with("2a9ac94fa54ca49f"));
    }

    #[test]
    fn the_algorithm_enum_gives_the_same_hashes_as_the_functions() {
        assert_eq!(HashAlgorithm::Sha1.hash(b"x"), sha1(b"x"));
        assert_eq!(HashAlgorithm::Sha256.hash(b"x"), sha256(b"x"));
        assert_eq!(HashAlgorithm::Sha384.hash(b"x"), sha384(b"x"));
        assert_eq!(HashAlgorithm::Sha512.hash(b"x"), sha512(b"x"));
        assert_eq!(HashAlgorithm::Sha384.len(), 48);
    }

    #[test]
    fn hexadecimal_reads_what_it_writes_and_nothing_else() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&hex(&all)), Some(all));
        assert_eq!(from_hex("0F"), Some(vec![15]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for wrong in ["0", "0g", "+1", "é0", "00 "] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
