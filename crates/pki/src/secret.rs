//! Bytes that must not be seen: MAC secrets, private keys in transport form, passwords.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Secret bytes: wiped when dropped, compared in constant time, never printed and never serialised.
/// The wiping is done by `zeroize`, whose writes the compiler may not leave out. Cloning copies nothing: the bytes are in
/// memory once, and are wiped when the last clone is dropped.
///
/// There is no `Display`, no `Serialize` and no `AsRef`: whoever needs the bytes must write [`Secret::expose`], which
/// is easy to search for in a review.
///
/// ```
/// let secret = pki::Secret::from("correct horse".to_owned());
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(secret.expose(), b"correct horse");
/// ```
///
/// What it does not do: memory is not locked, so the kernel may swap it out, and a core dump may hold it. That is for
/// the settings of the machine.
#[derive(Clone, Default)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes over `bytes`. The vector is not copied, so no unwiped copy stays behind.
    ///
    /// Growing the vector *before* it comes here may have left copies behind; make it with its final capacity.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes, for the one who really needs them.
    ///
    /// Copies that are made of them are not wiped, so borrow them as short as possible.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.expose(), other.expose())
    }
}

impl Eq for Secret {}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(mut text: Zeroizing<String>) -> Self {
        Self::new(std::mem::take(&mut *text).into_bytes())
    }
}

/// Compares two byte strings in a time that depends on their lengths only.
///
/// For MACs, nonces and secrets (RFC 9810, 5.1.3.1): the time of a comparison must not tell how many bytes were right.
/// Different lengths are told at once: the length of a MAC or nonce is no secret.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let secret = Secret::from("planted-secret".to_owned());
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret)),
            "Secret(..) Some(\n    Secret(..),\n)"
        );
    }

    #[test]
    fn secrets_are_equal_if_their_bytes_are() {
        assert_eq!(Secret::from(&b"a"[..]), Secret::new(b"a".to_vec()));
        assert_ne!(Secret::from(&b"a"[..]), Secret::from(&b"b"[..]));
        assert_ne!(Secret::from(&b"a"[..]), Secret::from(&b"aa"[..]));
        assert!(Secret::default().is_empty());
        assert_eq!(Secret::from(Zeroizing::new("abc".to_owned())).len(), 3);
        assert_eq!(Secret::from(Zeroizing::new(vec![1, 2])).expose(), [1, 2]);
    }

    #[test]
    fn a_clone_shares_the_bytes() {
        let secret = Secret::new(b"once".to_vec());
        assert_eq!(secret.clone().expose().as_ptr(), secret.expose().as_ptr());
    }

    #[test]
    fn constant_time_comparison_is_a_comparison() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"samf"));
        assert!(!constant_time_eq(b"same", b"sam"));
    }
}
