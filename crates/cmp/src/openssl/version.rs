//! Which OpenSSL is there, and what it cannot do.

use std::fmt;

use crate::error::escape;

/// The version of an `openssl` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

/// The command is not one that we can drive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// `openssl version` printed something else.
    #[error("\"{0}\" is not the version of an OpenSSL")]
    Unknown(String),
    /// There is no `openssl cmp` before 3.0.
    #[error("OpenSSL {found} has no cmp command; at least {} is needed", Version::MINIMUM)]
    TooOld {
        /// What is there.
        found: Version,
    },
}

impl Version {
    /// The first version with `openssl cmp`.
    pub const MINIMUM: Self = Self::new(3, 0, 0);

    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads what `openssl version` prints: `OpenSSL 3.0.19 27 Jan 2026 (Library: ...)`.
    ///
    /// # Errors
    ///
    /// Another program (LibreSSL among them), or a version before 3.0.
    pub fn parse(output: &[u8]) -> Result<Self, VersionError> {
        let text = String::from_utf8_lossy(output);
        let line = text.lines().next().unwrap_or_default();
        let unknown = || VersionError::Unknown(escape(line.as_bytes()));
        let mut words = line.split_whitespace();
        if words.next() != Some("OpenSSL") {
            return Err(unknown());
        }
        let number = words.next().unwrap_or_default();
        // 1.1.1w, 3.6.0-dev, 4.0.0-beta1
        let mut parts = number
            .split(['.', '-'])
            .map(|part| part.trim_end_matches(char::is_alphabetic).parse());
        let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(unknown());
        };
        let found = Self::new(major, minor, patch);
        if found < Self::MINIMUM {
            Err(VersionError::TooOld { found })
        } else {
            Ok(found)
        }
    }

    /// Does it send certProfile (`-profile`)?
    #[must_use]
    pub fn knows_profiles(self) -> bool {
        self >= Self::new(3, 3, 0)
    }

    /// Does it sign messages with Ed25519?
    #[must_use]
    pub fn signs_with_ed25519(self) -> bool {
        self >= Self::new(3, 2, 0)
    }

    /// What this version cannot do although CMP and the native engine can: one sentence each, for people.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let mut list = vec![
            "a transaction is not resumed after a restart, neither while polling nor before",
            "a certificate is confirmed before occm sees it",
            "general messages are not sent",
            "PBMAC1 is not spoken",
            "the iterations (500) and the salt (16 bytes) of the password-based MAC cannot be set",
            "RSA-PSS does not sign messages",
            "HTTP/1.0 only, without chunked answers and without answers above 100 KiB; a proxy gets no credentials",
        ];
        if !self.knows_profiles() {
            list.push("certProfile is not sent (from 3.3)");
            list.push(
                "a CA may let wait only for certificates, not for confirmations or revocations (from 3.3)",
            );
        }
        if !self.signs_with_ed25519() {
            list.push("Ed25519 does not sign messages (from 3.2)");
        }
        list
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_command_prints() {
        let table = [
            (
                "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)\n",
                Version::new(3, 0, 19),
            ),
            (
                "OpenSSL 3.5.9 29 Sep 2026 (Library: OpenSSL 3.5.9 29 Sep 2026)",
                Version::new(3, 5, 9),
            ),
            ("OpenSSL 4.0.0-beta1 1 Apr 2026", Version::new(4, 0, 0)),
        ];
        for (text, version) in table {
            assert_eq!(Version::parse(text.as_bytes()), Ok(version), "{text}");
        }
    }

    #[test]
    fn other_programs_and_old_versions_are_refused_by_name() {
        let old = Version::parse(b"OpenSSL 1.1.1w  11 Sep 2023").unwrap_err();
        assert_eq!(
            old,
            VersionError::TooOld {
                found: Version::new(1, 1, 1)
            }
        );
        assert_eq!(
            old.to_string(),
            "OpenSSL 1.1.1 has no cmp command; at least 3.0.0 is needed"
        );
        for text in [
            "LibreSSL 3.3.6",
            "",
            "OpenSSL",
            "OpenSSL x.y.z",
            "OpenSSL 3",
            "\u{1b}[31m",
        ] {
            assert!(
                matches!(Version::parse(text.as_bytes()), Err(VersionError::Unknown(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_newer_version_can_do_more() {
        let (old, new) = (Version::new(3, 0, 19), Version::new(3, 5, 9));
        assert!(!old.knows_profiles() && new.knows_profiles());
        assert!(old.missing().len() > new.missing().len());
        assert!(new.missing().iter().any(|line| line.contains("PBMAC1")));
    }
}
