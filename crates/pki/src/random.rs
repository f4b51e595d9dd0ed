//! Random values from the cryptographic library.

use aws_lc_rs::rand;

use crate::error::{Error, Input};

/// A number by chance.
pub fn number() -> Result<u32, Error> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// `length` letters and digits by chance, about 6 bits each.
pub fn text(length: usize) -> Result<String, Error> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    fill(&mut bytes)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(LETTERS.get(usize::from(byte & 63)).copied().unwrap_or(b'A')))
        .collect())
}

/// Fills `bytes` by chance.
fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    rand::fill(bytes).map_err(|_| Error::Malformed {
        input: Input::PrivateKey,
        reason: "the system has no random numbers".into(),
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
    }
}
