//! Sealed texts: what a cookie says is for us alone, and nobody can change it (AES-256-GCM).
//!
//! The keys come from a file or from a Secret, so that every replica reads what another one sealed. The first key seals, all
//! of them open: a new key is put last, after a while in front, and the old one removed when the longest session is over.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most keys in a file.
const MAX_KEYS: usize = 8;
/// Longest sealed text that is opened.
const MAX_SEALED: usize = 8 * 1024;

/// Seals and opens texts.
pub(crate) struct Seal {
    file: Option<PathBuf>,
    keys: Mutex<Keys>,
    /// Told when something was not opened: the keys may be newer elsewhere.
    pub(crate) unopened: Notify,
}

struct Keys {
    modified: Option<SystemTime>,
    keys: Vec<RandomizedNonceKey>,
}

impl Seal {
    /// With a key of this process alone: sessions end with it.
    #[cfg(any(test, feature = "kube"))]
    pub(crate) fn ephemeral() -> anyhow::Result<Self> {
        let keys = vec![key(&*new_key()?)?];
        Ok(Self::of(None, Keys { modified: None, keys }))
    }

    /// With keys that come later by [`Self::take`]; until then nothing is sealed or opened.
    #[cfg(any(test, feature = "kube"))]
    pub(crate) fn waiting() -> Self {
        let keys = Vec::new();
        Self::of(None, Keys { modified: None, keys })
    }

    fn of(file: Option<PathBuf>, keys: Keys) -> Self {
        Self {
            file,
            keys: Mutex::new(keys),
            unopened: Notify::new(),
        }
    }

    /// Whether there are keys.
    pub(crate) fn is_ready(&self) -> bool {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        !held.keys.is_empty()
    }

    /// Takes these keys from now on; `origin` is for people.
    #[cfg(any(test, feature = "kube"))]
    pub(crate) fn take(&self, origin: &str, text: &str) -> anyhow::Result<()> {
        let keys = parse(origin, text)?;
        let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys = keys;
        Ok(())
    }

    /// With the keys in a file: one base64 text of 32 bytes a line. Read again when it changes.
    pub(crate) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let keys = Keys::read(path)?;
        Ok(Self::of(Some(path.to_owned()), keys))
    }

    /// As [`Self::from_file`]; a file that does not exist is made.
    pub(crate) fn from_own_file(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            crate::api::local::write_private(path, new_line()?.as_bytes())
                .with_context(|| path.display().to_string())?;
        }
        Self::from_file(path)
    }

    /// Seals a text for a purpose.
    pub(crate) fn seal(&self, purpose: &str, text: &[u8]) -> Option<String> {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = text.to_vec();
        let nonce = held
            .keys
            .first()?
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut bytes)
            .ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&bytes);
        Some(Base64UrlUnpadded::encode_string(&sealed))
    }

    /// Opens what was sealed for this purpose.
    pub(crate) fn open(&self, purpose: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() > MAX_SEALED {
            return None;
        }
        let sealed = Base64UrlUnpadded::decode_vec(sealed).ok()?;
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
        self.refresh();
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = held.keys.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut bytes = Zeroizing::new(bytes.to_vec());
            let text = key
                .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut bytes)
                .ok()?;
            Some(Zeroizing::new(text.to_vec()))
        });
        if opened.is_none() {
            self.unopened.notify_one();
        }
        opened
    }

    fn refresh(&self) {
        let Some(file) = &self.file else { return };
        let modified = modified(file);
        let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if modified.is_none() || modified == held.modified {
            return;
        }
        match Keys::read(file) {
            Ok(keys) => *held = keys,
            Err(error) => {
                held.modified = modified;
                tracing::warn!(%error, "cookie keys cannot be read again; the known ones stay in use");
            }
        }
    }
}

impl Keys {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let modified = modified(path);
        let text = Zeroizing::new(std::fs::read_to_string(path).with_context(|| path.display().to_string())?);
        let keys = parse(&path.display().to_string(), &text)?;
        Ok(Self { modified, keys })
    }
}

fn parse(origin: &str, text: &str) -> anyhow::Result<Vec<RandomizedNonceKey>> {
    let allowed = "1 to 8 lines, each the base64 text of 32 random bytes";
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let bytes = Zeroizing::new(Base64::decode_vec(line).unwrap_or_default());
        anyhow::ensure!(
            bytes.len() == KEY_BYTES && keys.len() < MAX_KEYS,
            "{origin}: line {} is no key; allowed: {allowed}",
            keys.len() + 1
        );
        keys.push(key(&bytes)?);
    }
    anyhow::ensure!(!keys.is_empty(), "{origin}: holds no key; allowed: {allowed}");
    Ok(keys)
}

/// A new key as a line of such a file.
pub(crate) fn new_line() -> anyhow::Result<Zeroizing<String>> {
    Ok(Zeroizing::new(Base64::encode_string(&*new_key()?) + "\n"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn new_key() -> anyhow::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    pki::random::fill(&mut *bytes)?;
    Ok(bytes)
}

fn key(bytes: &[u8]) -> anyhow::Result<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| anyhow::anyhow!("a cookie key cannot be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_for_its_purpose_only() {
        let seal = Seal::ephemeral().unwrap();
        let text = seal.seal("session", b"hello").unwrap();
        assert_eq!(&**seal.open("session", &text).unwrap(), b"hello");
        assert!(seal.open("other", &text).is_none());
        assert_ne!(text, seal.seal("session", b"hello").unwrap());
    }

    #[test]
    fn every_changed_character_is_found_out() {
        let seal = Seal::ephemeral().unwrap();
        let text = seal.seal("session", b"hello").unwrap();
        for i in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[i] = if other[i] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(seal.open("session", &other).is_none(), "{i}");
        }
        assert!(Seal::ephemeral().unwrap().open("session", &text).is_none());
        assert!(seal.open("session", "").is_none());
        assert!(seal.open("session", &"A".repeat(MAX_SEALED + 1)).is_none());
    }

    #[test]
    fn another_replica_with_the_same_file_opens_it_and_an_older_key_still_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let one = Seal::from_own_file(&file).unwrap();
        let text = one.seal("session", b"hello").unwrap();
        assert!(Seal::from_file(&file).unwrap().open("session", &text).is_some());
        let newer = Base64::encode_string(&*new_key().unwrap());
        let known = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{newer}\n{known}")).unwrap();
        let rotated = Seal::from_file(&file).unwrap();
        assert!(rotated.open("session", &text).is_some());
        let new = rotated.seal("session", b"new").unwrap();
        std::fs::write(&file, known).unwrap();
        assert!(Seal::from_file(&file).unwrap().open("session", &new).is_none());
    }

    #[test]
    fn keys_that_come_later_seal_from_then_on_and_wrong_ones_change_nothing() {
        let seal = Seal::waiting();
        assert!(!seal.is_ready() && seal.seal("session", b"hello").is_none());
        seal.take("Secret", &new_line().unwrap()).unwrap();
        let text = seal.seal("session", b"hello").unwrap();
        assert!(seal.take("Secret", "no key").is_err());
        assert!(seal.is_ready() && seal.open("session", &text).is_some());
        seal.take("Secret", &new_line().unwrap()).unwrap();
        assert!(seal.open("session", &text).is_none());
    }

    #[test]
    fn a_file_without_a_good_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        for text in ["", "short\n", "AAAA\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(Seal::from_file(&file).is_err(), "{text:?}");
        }
    }
}
