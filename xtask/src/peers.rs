//! `cargo xtask peers`: an OpenSSL newer than the system's, unpacked beside it, as a foreign CMP peer.
//!
//! The packages of Debian 13 are fetched with apt's own tools and an apt state of our own, so that neither the
//! system's package lists nor its libraries change. Signatures are checked by apt as always. The mirror is the one
//! that the machine already uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::console::say;
use crate::{cache, debian, process};

/// Fetch OpenSSL 3.5, the foreign CMP peer of the tests, and print the path of its command.
///
/// Debian 13's packages are unpacked into the cache folder, with the C library they need; the system stays as it is.
/// A system whose own `openssl` is 3.5 or newer is used as it is. Tests find it through OCCM_OPENSSL35:
///
///   export OCCM_OPENSSL35=$(cargo xtask peers)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fetch again, even if it is there.
    #[arg(long)]
    refresh: bool,
}

const SUITE: &str = "trixie";
/// What is unpacked.
pub(crate) const PACKAGES: [&str; 5] = ["openssl", "libssl3t64", "libc6", "libzstd1", "zlib1g"];
const MINIMUM: (u32, u32) = (3, 5);
/// Release names by which a line of the machine's apt configuration is known as Debian's main archive.
const RELEASES: [&str; 8] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.refresh {
        let _ = fs::remove_dir_all(folder()?);
    }
    let wrapper = openssl()?;
    say(version_of(&wrapper)?);
    println!("{}", wrapper.display());
    Ok(ExitCode::SUCCESS)
}

/// The path of an `openssl` of at least 3.5; fetched if need be.
pub(crate) fn openssl() -> Result<PathBuf> {
    let folder = folder()?;
    let wrapper = folder.join("openssl");
    if is_new_enough(&wrapper) {
        return Ok(wrapper);
    }
    if let Some(system) = process::find("openssl").filter(|program| is_new_enough(program)) {
        return Ok(system);
    }
    unpack(&folder, &wrapper)?;
    Ok(wrapper)
}

/// The folder with the unpacked packages, for an image: whatever this system has.
pub(crate) fn unpacked() -> Result<PathBuf> {
    let folder = folder()?;
    unpack(&folder, &folder.join("openssl"))?;
    Ok(folder.join("root"))
}

fn unpack(folder: &Path, wrapper: &Path) -> Result<()> {
    let _lock = cache::Lock::take("peers")?;
    if is_new_enough(wrapper) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(folder);
    cache::make(folder)?;
    fetch(folder).context("cannot fetch OpenSSL 3.5")?;
    write_wrapper(folder, wrapper)?;
    ensure!(
        is_new_enough(wrapper),
        "the unpacked openssl says: {}",
        version_of(wrapper)?
    );
    Ok(())
}

fn folder() -> Result<PathBuf> {
    Ok(cache::folder()?.join(format!("openssl-{SUITE}")))
}

fn version_of(openssl: &Path) -> Result<String> {
    Ok(process::output(Command::new(openssl).arg("version"))?
        .trim()
        .to_owned())
}

fn is_new_enough(openssl: &Path) -> bool {
    process::is_executable(openssl)
        && version_of(openssl)
            .ok()
            .as_deref()
            .and_then(parse_version)
            .is_some_and(|found| found >= MINIMUM)
}

/// `OpenSSL 3.5.9 14 Jul 2026 (Library: ...)`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("OpenSSL ")?.split(['.', ' ', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn fetch(folder: &Path) -> Result<()> {
    for program in ["apt-get", "dpkg"] {
        if process::find(program).is_none() {
            bail!(
                "`{program}` is not here: this needs a Debian system; elsewhere install OpenSSL 3.5 and put it \
                 first in PATH"
            );
        }
    }
    let apt = Apt {
        folder,
        mirror: mirror()?,
    };
    for part in ["lists/partial", "cache/archives/partial", "packages", "root"] {
        cache::make(&folder.join(part))?;
    }
    fs::write(apt.source_list(), apt.source_line()).context("cannot write the package source")?;
    let limit = Duration::from_secs(600);
    let log = debian::log("peers")?;
    let what = format!("fetching the package list of Debian {SUITE}");
    process::run_with_progress(apt.command().arg("update"), &what, &log, limit)?;
    let packages = folder.join("packages");
    let mut download = apt.command();
    download.arg("download").args(PACKAGES).current_dir(&packages);
    process::run_with_progress(
        &mut download,
        &format!("fetching {}", PACKAGES.join(", ")),
        &log,
        limit,
    )?;
    for entry in fs::read_dir(&packages).context("cannot list the fetched packages")? {
        let file = entry.context("cannot list the fetched packages")?.path();
        process::output(Command::new("dpkg").arg("-x").arg(&file).arg(folder.join("root")))?;
    }
    // The lists are twice the size of the packages and of no further use.
    for part in ["lists", "cache", "packages"] {
        let _ = fs::remove_dir_all(folder.join(part));
    }
    Ok(())
}

/// apt with a state of its own below `folder` and one package source.
struct Apt<'a> {
    folder: &'a Path,
    mirror: String,
}

impl Apt<'_> {
    fn source_list(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    fn source_line(&self) -> String {
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let signed = if Path::new(keyring).exists() {
            format!("[signed-by={keyring}] ")
        } else {
            String::new()
        };
        format!("deb {signed}{} {SUITE} main\n", self.mirror)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut option = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        option("Dir::Etc::SourceList", &self.source_list());
        option("Dir::Etc::SourceParts", Path::new("/dev/null"));
        option("Dir::State::Lists", &self.folder.join("lists"));
        option("Dir::Cache", &self.folder.join("cache"));
        // The folder is ours alone; apt's download user could not write to it.
        if rustix::process::geteuid().is_root() {
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        command.args(["-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3"]);
        command
    }
}

/// The Debian mirror that this machine uses, from its own apt configuration.
fn mirror() -> Result<String> {
    let targets = process::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    main_archive(&targets).map(str::to_owned).context(
        "this machine's apt configuration names no mirror of Debian's main archive; add one, or install OpenSSL 3.5 \
         and put it first in PATH",
    )
}

fn main_archive(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (site, release, component) = (words.next()?, words.next()?, words.next()?);
        (component == "main" && RELEASES.contains(&release)).then_some(site)
    })
}

/// A script that starts the unpacked program with the unpacked C library, whatever the system's is.
fn write_wrapper(folder: &Path, wrapper: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let root = folder.join("root");
    let loader = glob_one(&root, &["usr/lib64", "usr/lib"], |name| {
        name.starts_with("ld-linux")
    })
    .context("the unpacked C library has no dynamic loader")?;
    let libraries = glob_one(&root, &["usr/lib"], |name| name.ends_with("-linux-gnu"))
        .context("the unpacked packages have no library folder")?;
    let script = format!(
        "#!/bin/sh\n# Made by `cargo xtask peers`.\nexport OPENSSL_MODULES='{libraries}/ossl-modules' OPENSSL_CONF=\"${{OPENSSL_CONF-{root}/etc/ssl/openssl.cnf}}\"\n\
         exec '{loader}' --library-path '{libraries}' '{root}/usr/bin/openssl' \"$@\"\n",
        loader = loader.display(),
        libraries = libraries.display(),
        root = root.display(),
    );
    fs::write(wrapper, script).with_context(|| format!("cannot write {}", wrapper.display()))?;
    fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755))
        .context("cannot make the wrapper executable")
}

fn glob_one(root: &Path, folders: &[&str], wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    folders.iter().find_map(|folder| {
        let entries = fs::read_dir(root.join(folder)).ok()?;
        entries
            .flatten()
            .find(|entry| entry.file_name().to_str().is_some_and(&wanted))
            .map(|entry| entry.path())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_openssl_prints() {
        assert_eq!(
            parse_version("OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19)"),
            Some((3, 0))
        );
        assert_eq!(parse_version("OpenSSL 4.0.0-beta1 1 Jan 2027"), Some((4, 0)));
        assert_eq!(parse_version("LibreSSL 3.8.2"), None);
    }

    #[test]
    fn the_mirror_is_debians_main_archive_and_no_other_source() {
        let targets = "http://one.example/tools any main\n\
                       http://two.example/debian-security bookworm-security main\n\
                       http://two.example/debian bookworm contrib\n\
                       http://two.example/debian bookworm main\n";
        assert_eq!(main_archive(targets), Some("http://two.example/debian"));
        assert_eq!(main_archive("http://archive.example/ubuntu noble main\n"), None);
    }
}
