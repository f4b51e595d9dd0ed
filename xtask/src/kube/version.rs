//! Which Kubernetes: versions as people write them, and the patch releases that the project is tested with.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// Patch releases used for `--version 1.N`. The default release is pinned in `xtask/kube/kubernetes/go.mod` alone.
const PATCHES: [Version; 3] = [
    Version { minor: 34, patch: 4 },
    Version { minor: 35, patch: 4 },
    Version { minor: 37, patch: 2 },
];

/// A release of Kubernetes 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    /// The version that our own module pins.
    pub(crate) fn pinned() -> Result<Self> {
        let module = include_str!("../../kube/kubernetes/go.mod");
        required(module, "k8s.io/kubernetes")
            .context("xtask/kube/kubernetes/go.mod pins no Kubernetes")?
            .parse()
    }

    /// Reads `1.36`, `1.36.3` or `v1.36.3`; a minor version alone means the patch release we test with.
    pub(crate) fn wish(text: &str) -> Result<Self> {
        let plain = text.strip_prefix('v').unwrap_or(text);
        if plain.matches('.').count() == 2 {
            return plain.parse();
        }
        let minor = plain
            .strip_prefix("1.")
            .and_then(|minor| minor.parse::<u32>().ok());
        let minor =
            minor.with_context(|| format!("`{text}` is no Kubernetes version: write 1.36 or 1.36.3"))?;
        let pinned = Self::pinned()?;
        let known = PATCHES.into_iter().chain([pinned]);
        known
            .into_iter()
            .find(|version| version.minor == minor)
            .with_context(|| {
                format!(
                    "no patch release of Kubernetes 1.{minor} is known here: name it in full, as 1.{minor}.0"
                )
            })
    }

    /// The version of the staging modules (`k8s.io/api` ...) of this release.
    pub(crate) fn staging(self) -> String {
        format!("v0.{}.{}", self.minor, self.patch)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
        if let ["1", minor, patch] = parts.as_slice()
            && let (Ok(minor), Ok(patch)) = (minor.parse(), patch.parse())
        {
            return Ok(Self { minor, patch });
        }
        bail!("`{text}` is no release of Kubernetes: write 1.36 or 1.36.3")
    }
}

/// The version that a `go.mod` requires of a module, as written (`v1.2.3`).
pub(crate) fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        let found = words.next() == Some(module);
        words.next().filter(|version| found && version.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_means_the_patch_release_we_test_with() {
        assert_eq!(Version::wish("1.34").unwrap().to_string(), "1.34.4");
        let pinned = Version::pinned().unwrap();
        assert_eq!(Version::wish(&format!("1.{}", pinned.minor)).unwrap(), pinned);
    }

    #[test]
    fn a_full_version_is_taken_as_it_is() {
        assert_eq!(Version::wish("v1.35.0").unwrap(), Version { minor: 35, patch: 0 });
        assert_eq!(Version::wish("1.35.0").unwrap().staging(), "v0.35.0");
    }

    #[test]
    fn what_is_no_version_is_refused_with_a_hint() {
        for wrong in ["", "1", "36", "2.0.1", "1.x", "latest", "1.36.3.1"] {
            let error = Version::wish(wrong).unwrap_err().to_string();
            assert!(error.contains("write 1.36"), "{wrong}: {error}");
        }
        assert!(
            Version::wish("1.12")
                .unwrap_err()
                .to_string()
                .contains("name it in full")
        );
    }

    #[test]
    fn a_requirement_is_found_in_a_block_and_alone_but_not_in_a_replacement() {
        let text =
            "replace a.b/c => a.b/c v0.0.9\nrequire a.b/c v1.0.0\nrequire (\n\td.e/f v2.0.0 // indirect\n)\n";
        assert_eq!(required(text, "a.b/c"), Some("v1.0.0"));
        assert_eq!(required(text, "d.e/f"), Some("v2.0.0"));
        assert_eq!(required(text, "d.e"), None);
    }
}
