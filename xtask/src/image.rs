//! `cargo xtask image`: the container images as OCI archives, without a daemon, the same bytes each time.
//!
//! ```text
//! build     the console's pages, a static binary (musl)  image.rs
//! root      the files of each image                      image.rs tar.rs
//! archive   layer, configuration, manifest, index        oci.rs
//! ```

mod oci;
mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::console::say;
use crate::debian::Tool;
use crate::image::oci::Image;
use crate::image::tar::Tree;
use crate::web::Web;
use crate::workspace::Workspace;
use crate::{cache, debian, peers, process};

/// Write the container images `occm` and `occm-openssl` as OCI archives.
///
/// Needs no daemon and no root. `occm` is a static binary on nothing; `occm-openssl` is the same with a current
/// `openssl` command and its libraries, from Debian's packages. The same sources give the same bytes; `--check` builds
/// everything a second time, elsewhere, and compares.
///
///   cargo xtask image
///   skopeo copy oci-archive:target/image/occm.oci.tar docker://REGISTRY/occm:VERSION
///
/// Needs `rustup target add x86_64-unknown-linux-musl` and the Debian package musl-tools; both are brought where that
/// is allowed. The console, which is in both, needs Node.js with npm.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Folder for the archives.
    #[arg(long, value_name = "DIR", default_value = "target/image")]
    out: PathBuf,
    /// Without optimisation: quick to build, for tests.
    #[arg(long)]
    quick: bool,
    /// Build everything twice and compare.
    #[arg(long)]
    check: bool,
}

const TARGET: &str = "x86_64-unknown-linux-musl";

const TOOLS: [Tool; 2] = [
    Tool {
        program: "musl-gcc",
        package: "musl-tools",
        purpose: "compiling the cryptography library for a static binary",
    },
    Tool {
        program: "strip",
        package: "binutils",
        purpose: "leaving names out of the binary",
    },
];

/// Libraries of the `openssl` command, all that it and they name.
const LIBRARIES: [&str; 5] = [
    "libssl.so.3",
    "libcrypto.so.3",
    "libc.so.6",
    "libz.so.1",
    "libzstd.so.1",
];

/// An archive that was written.
pub(crate) struct Written {
    pub(crate) file: PathBuf,
    digest: String,
    size: usize,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let written = write(&args.out, args.quick)?;
    for image in &written {
        println!(
            "{}  {} bytes, sha256 {}",
            image.file.display(),
            image.size,
            image.digest
        );
    }
    if args.check {
        check(args, &written)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds and writes both images.
pub(crate) fn write(out: &Path, quick: bool) -> Result<Vec<Written>> {
    let workspace = Workspace::load()?;
    let target = workspace.target.clone();
    write_from(&workspace, &target, out, quick)
}

fn write_from(workspace: &Workspace, target: &Path, out: &Path, quick: bool) -> Result<Vec<Written>> {
    Web::find(&workspace.root)?.build()?;
    let binary = build(workspace, target, quick)?;
    cache::make(out)?;
    let version = workspace.package("occm").map(|package| package.version.clone());
    let version = version.context("the workspace has no package occm")?;
    let (plain, openssl) = (root(&binary), with_openssl(&binary)?);
    let no_shared_memory: &[&str] = &[];
    let images = [
        ("occm", no_shared_memory, &plain),
        ("occm-openssl", &["OCCM_OPENSSL=/usr/bin/openssl"], &openssl),
    ];
    let mut written = Vec::new();
    for (name, environment, root) in images {
        let image = Image {
            name,
            version: &version,
            environment,
            root,
        };
        let archive = image.to_archive()?;
        let file = out.join(format!("{name}.oci.tar"));
        fs::write(&file, &archive).with_context(|| format!("cannot write {}", file.display()))?;
        written.push(Written {
            digest: oci::sha256(&archive),
            size: archive.len(),
            file,
        });
    }
    Ok(written)
}

/// The same in another folder, from nothing.
fn check(args: &Args, first: &[Written]) -> Result<()> {
    let workspace = Workspace::load()?;
    let again = workspace.target.join("image-check");
    let _ = fs::remove_dir_all(&again);
    say("building everything a second time, elsewhere");
    Web::find(&workspace.root)?.discard()?;
    let second = write_from(&workspace, &again, &again.join("image"), args.quick)?;
    for (first, second) in first.iter().zip(&second) {
        ensure!(
            first.digest == second.digest,
            "{} and {} differ",
            first.file.display(),
            second.file.display()
        );
    }
    let _ = fs::remove_dir_all(&again);
    say("the second build gave the same bytes");
    Ok(())
}

/// The static binary, without names.
fn build(workspace: &Workspace, target: &Path, quick: bool) -> Result<Vec<u8>> {
    bring_target()?;
    debian::bring(&TOOLS)?;
    let profile = if quick { "dev" } else { "release" };
    let mut command = workspace.cargo();
    command
        .args(["build", "--package", "occm", "--bin", "occm", "--target", TARGET])
        .args(["--profile", profile, "--features", "console", "--locked"])
        // With them the console's pages would be read from this machine's folders.
        .env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false")
        .env("CARGO_TARGET_DIR", target)
        .env("CC_x86_64_unknown_linux_musl", "musl-gcc")
        .env("SOURCE_DATE_EPOCH", "0");
    reproducible(&mut command, workspace, target);
    say("building the static binary; with optimisation and from nothing this takes minutes");
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the static binary was not built");
    let folder = if quick { "debug" } else { "release" };
    let built = target.join(TARGET).join(folder).join("occm");
    let stripped = built.with_extension("stripped");
    process::output(
        Command::new("strip")
            .arg("--strip-all")
            .arg("-o")
            .arg(&stripped)
            .arg(&built),
    )?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}

/// No path of this machine gets into the binary.
fn reproducible(command: &mut Command, workspace: &Workspace, target: &Path) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut names = vec![(target.to_owned(), "/target"), (workspace.root.clone(), "/src")];
    names.extend(home.map(|home| (home, "/cargo")));
    let rust: Vec<String> = names
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .collect();
    let c: Vec<String> = names
        .iter()
        .map(|(path, name)| format!("-ffile-prefix-map={}={name}", path.display()))
        .collect();
    command
        .env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}"))
        .env("CFLAGS_x86_64_unknown_linux_musl", c.join(" "));
}

/// The standard library for static binaries.
fn bring_target() -> Result<()> {
    let rustc = || process::output(Command::new("rustc").args(["--print", "sysroot"]));
    let library = |sysroot: &str| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
    };
    if library(&rustc()?).is_dir() {
        return Ok(());
    }
    let add = format!("rustup target add {TARGET}");
    if process::find("rustup").is_some() {
        process::output(Command::new("rustup").args(["target", "add", TARGET]))
            .with_context(|| format!("the standard library for {TARGET} is missing, and `{add}` failed"))?;
    }
    if !library(&rustc()?).is_dir() {
        bail!(
            "the standard library for {TARGET} is missing: get it with `{add}`, or from the Rust distribution"
        );
    }
    Ok(())
}

/// The binary on nothing.
fn root(binary: &[u8]) -> Tree {
    let mut root = Tree::default();
    root.add_file("occm", 0o755, binary);
    root.add_file("etc/passwd", 0o644, "occm:x:65532:65532:occm:/:/sbin/nologin\n");
    root.add_file("etc/group", 0o644, "occm:x:65532:\n");
    // Without a name service switch the C library would not look into /etc/hosts first.
    root.add_file("etc/nsswitch.conf", 0o644, "hosts: files dns\n");
    root.add_folder("tmp", 0o1777);
    root
}

/// The same with the `openssl` command of Debian's packages.
fn with_openssl(binary: &[u8]) -> Result<Tree> {
    let mut image = root(binary);
    let unpacked = peers::unpacked()?;
    let read = |path: &str| {
        let path = unpacked.join(path);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let folder = "usr/lib/x86_64-linux-gnu";
    image.add_file("usr/bin/openssl", 0o755, read("usr/bin/openssl")?);
    for library in LIBRARIES {
        // A link to a version is read as the file itself.
        let path = format!("{folder}/{library}");
        image.add_file(&path, 0o644, read(&path)?);
    }
    let loader = "ld-linux-x86-64.so.2";
    image.add_file(
        &format!("{folder}/{loader}"),
        0o755,
        read(&format!("{folder}/{loader}"))?,
    );
    image.add_link("lib", "usr/lib");
    image.add_link(
        &format!("usr/lib64/{loader}"),
        &format!("../lib/x86_64-linux-gnu/{loader}"),
    );
    image.add_link("lib64", "usr/lib64");
    image.add_file("etc/ssl/openssl.cnf", 0o644, read("etc/ssl/openssl.cnf")?);
    image.add_link("usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf");
    for package in peers::PACKAGES {
        let path = format!("usr/share/doc/{package}/copyright");
        image.add_file(&path, 0o644, read(&path)?);
    }
    Ok(image)
}
