//! The folder outside the source tree in which fetched and built things are kept, and locks on parts of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::console::say;

/// `$XDG_CACHE_HOME/occm`, else `~/.cache/occm`; made if it does not exist.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = base(
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from),
        std::env::home_dir(),
    )
    .context("neither XDG_CACHE_HOME nor HOME names a folder to keep built tools in")?;
    let folder = base.join("occm");
    make(&folder)?;
    Ok(folder)
}

/// A relative `XDG_CACHE_HOME` is ignored, as the specification of base directories demands.
fn base(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    xdg.filter(|path| path.is_absolute()).or_else(|| {
        home.filter(|path| path.is_absolute())
            .map(|home| home.join(".cache"))
    })
}

/// Makes a folder and those above it.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Holds `NAME.lock` in the cache folder until dropped; waits while another process holds it.
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

impl Lock {
    /// Takes the lock.
    pub(crate) fn take(name: &str) -> Result<Self> {
        let path = folder()?.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            say(format!("waiting for another process that works on `{name}`"));
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_cache_home_is_ignored() {
        let home = Some(PathBuf::from("/home/me"));
        assert_eq!(base(Some("/tmp/c".into()), home.clone()), Some("/tmp/c".into()));
        assert_eq!(base(Some("c".into()), home), Some("/home/me/.cache".into()));
        assert_eq!(base(None, None), None);
    }
}
