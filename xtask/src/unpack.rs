//! Debian packages unpacked into the cache: programs that tests use and that need not be installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{cache, debian, process};

const LIMIT: Duration = Duration::from_secs(600);

/// A file of a package, and the variable that tells tests where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacked {
    pub(crate) package: &'static str,
    /// End of its path in the package.
    pub(crate) file: &'static str,
    pub(crate) variable: &'static str,
}

/// What tests use.
pub(crate) const UNPACKED: [Unpacked; 2] = [
    Unpacked {
        package: "prometheus",
        file: "bin/promtool",
        variable: "OCCM_PROMTOOL",
    },
    Unpacked {
        package: "libfaketime",
        file: "faketime/libfaketime.so.1",
        variable: "OCCM_FAKETIME",
    },
];

impl Unpacked {
    /// Where the file is; the package is fetched if need be.
    pub(crate) fn bring(self) -> Result<PathBuf> {
        let folder = cache::folder()?.join("unpacked").join(self.package);
        let _lock = cache::Lock::take("unpacked")?;
        if let Some(file) = find(&folder, self.file) {
            return Ok(file);
        }
        for program in ["apt-get", "dpkg"] {
            if process::find(program).is_none() {
                bail!(
                    "`{program}` is not here: {} comes from the Debian package {}",
                    self.file,
                    self.package
                );
            }
        }
        let _ = fs::remove_dir_all(&folder);
        cache::make(&folder)?;
        let log = debian::log(&format!("unpack-{}", self.package))?;
        let what = format!("fetching the Debian package {}", self.package);
        let download = || {
            let mut command = Command::new("apt-get");
            command.args(["-o", "APT::Sandbox::User=root", "download", self.package]);
            command.current_dir(&folder);
            process::run_with_progress(&mut command, &what, &log, LIMIT)
        };
        if download().is_err() {
            let update = &mut Command::new("apt-get");
            process::run_with_progress(update.arg("update"), "apt-get update", &log, LIMIT)?;
            download()?;
        }
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries.flatten() {
            process::output(
                Command::new("dpkg")
                    .arg("-x")
                    .arg(entry.path())
                    .arg(folder.join("root")),
            )?;
            let _ = fs::remove_file(entry.path());
        }
        find(&folder, self.file).with_context(|| format!("{} has no {}", self.package, self.file))
    }
}

fn find(folder: &std::path::Path, end: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let (path, kind) = (entry.path(), entry.file_type().ok()?);
            if kind.is_dir() {
                folders.push(path);
            } else if path.ends_with(end) {
                return Some(path);
            }
        }
    }
    None
}
