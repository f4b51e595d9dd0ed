//! The web console: its packages, its build by npm, a browser for its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::debian::{self, Tool};
use crate::{process, stream};

/// The oldest Node.js that the build tools run on.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Packages come over the network.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const BUILD_LIMIT: Duration = Duration::from_secs(300);

/// What the build reads, below the console's folder.
const SOURCES: [&str; 5] = [
    "src",
    "public",
    "index.html",
    "vite.config.ts",
    "package-lock.json",
];

/// Browsers that the tests run in; the first one that is there.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

const CHROMIUM: Tool = Tool {
    program: "chromium",
    package: "chromium",
    purpose: "the console's tests in a browser",
};

/// The console's folder and the npm that works in it.
pub(crate) struct Web {
    npm: PathBuf,
    folder: PathBuf,
}

impl Web {
    /// Finds Node.js; what is missing is said with the way to get it.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let wanted = format!(
            "Node.js {}.{} or newer with npm, from nodejs.org or your distribution",
            OLDEST_NODE.0, OLDEST_NODE.1
        );
        let (Some(node), Some(npm)) = (process::find("node"), process::find("npm")) else {
            bail!("missing: `node` and `npm` (building the console); get {wanted}");
        };
        let version = process::output(Command::new(node).arg("--version"))?;
        ensure!(
            parse(&version).is_some_and(|found| found >= OLDEST_NODE),
            "Node.js {} is too old for building the console; get {wanted}",
            version.trim()
        );
        Ok(Self {
            npm,
            folder: root.join("console"),
        })
    }

    /// Brings the packages of the lock file, unless they are there.
    pub(crate) fn install(&self) -> Result<()> {
        let lock = modified(&self.folder.join("package-lock.json"));
        let installed = modified(&self.folder.join("node_modules/.package-lock.json"));
        if installed.is_some() && installed >= lock {
            return Ok(());
        }
        let mut command = self.npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        process::run_with_progress(&mut command, "npm ci", &debian::log("npm")?, INSTALL_LIMIT)
            .context("the console's packages could not be brought")
    }

    /// A command of npm in the console's folder.
    pub(crate) fn npm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.npm);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("NO_COLOR", "1")
            .env("npm_config_update_notifier", "false");
        command
    }

    /// Builds the pages, unless they are newer than their sources.
    pub(crate) fn build(&self) -> Result<()> {
        self.install()?;
        let sources = SOURCES
            .iter()
            .filter_map(|name| newest(&self.folder.join(name)))
            .max();
        let built = modified(&self.folder.join("dist/index.html"));
        if built.is_some() && built >= sources {
            return Ok(());
        }
        let mut command = self.npm(&["run", "build"]);
        process::run_with_progress(&mut command, "npm run build", &debian::log("npm")?, BUILD_LIMIT)
            .context("the console could not be built")
    }

    /// Forgets the built pages.
    pub(crate) fn discard(&self) -> Result<()> {
        let built = self.folder.join("dist");
        fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))
    }

    /// Checks types; the log has all of the output.
    pub(crate) fn check(&self, log: &Path) -> Result<()> {
        let mut command = self.npm(&["run", "--silent", "check"]);
        stream::must(&mut command, log, BUILD_LIMIT, |_| crate::libtest::Show::Yes)
    }
}

/// A browser for tests: the one of `OCCM_CHROMIUM`, one that is there, or Debian's.
pub(crate) fn browser() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("OCCM_CHROMIUM") {
        return Ok(named.into());
    }
    if let Some(found) = BROWSERS.iter().find_map(|name| process::find(name)) {
        return Ok(found);
    }
    debian::bring(&[CHROMIUM])?;
    process::find(CHROMIUM.program).context("Debian's package chromium has no program `chromium`")
}

/// `v20.20.2` as (20, 20).
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// The latest change of a file, or of anything in a folder.
fn newest(path: &Path) -> Option<SystemTime> {
    let here = modified(path);
    let Ok(entries) = fs::read_dir(path) else {
        return here;
    };
    let below = entries.flatten().filter_map(|entry| newest(&entry.path())).max();
    here.max(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_compared_as_numbers() {
        assert_eq!(parse("v20.19.0\n"), Some((20, 19)));
        assert!(parse("v8.17.0") < Some(OLDEST_NODE));
        assert!(parse("v24.1.0") > Some(OLDEST_NODE));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn the_newest_file_of_a_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "").unwrap();
        fs::write(&new, "").unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        fs::File::options()
            .write(true)
            .open(&new)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(newest(folder.path()) >= modified(&new));
        assert_eq!(newest(&folder.path().join("none")), None);
    }
}
