//! The container images: whole, and run as a container engine would: as nobody, on a root that cannot be written.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Ca, SECRET, certificate_yaml, http, issuer_yaml, openssl, wait_for};

const USER: u32 = 65_532;

/// Folder with the archives; `None` = skipped, which was said.
fn images() -> Option<PathBuf> {
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let skipped = |why: &str| {
        assert!(!ci, "{why}");
        println!("skipped: {why}");
    };
    let Some(folder) = std::env::var_os("OCCM_IMAGES") else {
        skipped("OCCM_IMAGES names no folder with images; run `cargo xtask test`");
        return None;
    };
    Some(folder.into())
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// An image, taken apart: every digest fits.
struct Image {
    config: Value,
    dir: tempfile::TempDir,
}

impl Image {
    fn open(name: &str) -> Option<Self> {
        let archive = images()?.join(format!("{name}.oci.tar"));
        let dir = tempfile::tempdir().unwrap();
        let path = |path: &str| dir.path().join(path).to_str().unwrap().to_owned();
        run("tar", &["-xf", archive.to_str().unwrap(), "-C", &path(".")]);
        let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
        let layout = json(&std::fs::read(path("oci-layout")).unwrap());
        assert_eq!(layout["imageLayoutVersion"], "1.0.0");
        let index = json(&std::fs::read(path("index.json")).unwrap());
        let blob = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"]
                .as_str()
                .unwrap()
                .strip_prefix("sha256:")
                .unwrap();
            let bytes = std::fs::read(path(&format!("blobs/sha256/{digest}"))).unwrap();
            assert_eq!(pki::digest::hex(&pki::digest::sha256(&bytes)), digest);
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let manifest = json(&blob(&index["manifests"][0]));
        let config = json(&blob(&manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        std::fs::write(path("layer.tar.gz"), blob(&layers[0])).unwrap();
        let layer = run("gzip", &["-dc", &path("layer.tar.gz")]);
        let content = format!("sha256:{}", pki::digest::hex(&pki::digest::sha256(&layer)));
        assert_eq!(config["rootfs"]["diff_ids"][0], content.as_str());
        std::fs::create_dir(path("root")).unwrap();
        run(
            "tar",
            &[
                "-xzf",
                &path("layer.tar.gz"),
                "-C",
                &path("root"),
                "--no-same-owner",
            ],
        );
        Some(Self { config, dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Starts the image's program as a container engine does: as the image's user, on a root that cannot be written, with
    /// `/dev/null`, shared memory and a volume at `/store`.
    fn start(&self, store: &Path, arguments: &[&str]) -> Container {
        let root = self.root();
        for point in ["store", "dev/shm"] {
            std::fs::create_dir_all(root.join(point)).unwrap();
        }
        std::fs::write(root.join("dev/null"), "").unwrap();
        let script =
            "set -e; mount --make-rprivate /; mount --bind \"$1\" \"$1\"; mount --bind \"$2\" \"$1/store\"
            mount --bind /dev/null \"$1/dev/null\"
            mount -t tmpfs -o size=16m,mode=1777 tmpfs \"$1/dev/shm\"; mount -o remount,bind,ro \"$1\"
            root=$1; shift 2; exec chroot --userspec=65532:65532 --groups= \"$root\" \"$@\"";
        let entry: Vec<&str> = texts(&self.config["config"]["Entrypoint"]);
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([root.as_path(), store])
            .args(entry)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(
                texts(&self.config["config"]["Env"])
                    .iter()
                    .filter_map(|one| one.split_once('=')),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Container {
            child,
            log: self.dir.path().join("log"),
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| one.as_str().unwrap()).collect()
}

struct Container {
    child: Child,
    log: PathBuf,
}

impl Container {
    /// Where its API is.
    fn address(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let (_, rest) = log.split_once("http://127.0.0.1:")?;
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("127.0.0.1:{port}"))
    }

    /// Lines of a file of `/proc` about it that begin so.
    fn proc(&self, file: &str, start: &str) -> Vec<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap();
        let lines = text.lines().filter(|line| line.contains(start));
        lines.map(ToOwned::to_owned).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- log\n{}",
                std::fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// The image enrols a certificate with this engine and puts it on its volume.
fn enrols(name: &str, engine: &str) {
    let Some(image) = Image::open(name) else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can change the root of a process");
        return;
    }
    assert_eq!(image.config["config"]["User"], "65532:65532");
    let ca = Ca::start("{}");
    let store = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = store.path().join(file);
        std::fs::write(&path, text).unwrap();
        chown(&path, Some(USER), Some(USER)).unwrap();
    };
    write(
        "issuer.yaml",
        &issuer_yaml(&ca, SECRET, &format!("  engine: {engine}\n")),
    );
    write("web.yaml", &certificate_yaml("web", ""));
    chown(store.path(), Some(USER), Some(USER)).unwrap();

    let container = image.start(
        store.path(),
        &["serve", "--store", "/store", "--listen", "127.0.0.1:0"],
    );
    let output = |key: &str| store.path().join("secrets/default/web-tls").join(key);
    wait_for("the output", || {
        std::fs::read(output("tls.crt"))
            .ok()
            .filter(|bytes| !bytes.is_empty())
    });

    let address = wait_for("the API", || container.address());
    let page = http(&address, "GET", "/certificates", "");
    assert!(
        page.contains("<div id=\"root\">"),
        "the console is in the image: {page}"
    );

    assert_eq!(
        container.proc("status", "Uid:"),
        ["Uid:\t65532\t65532\t65532\t65532"]
    );
    assert_eq!(container.proc("status", "CapEff:"), ["CapEff:\t0000000000000000"]);
    let root = container.proc("mountinfo", " / / ro,");
    assert_eq!(
        root.len() + container.proc("mountinfo", "/root / ro,").len(),
        1,
        "the root cannot be written"
    );
    assert_eq!(std::fs::metadata(output("tls.crt")).unwrap().uid(), USER);
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), ca.root_pem()).unwrap();
    let (root, leaf, key) = (
        root.path().to_str().unwrap(),
        output("tls.crt"),
        output("tls.key"),
    );
    let (leaf, key) = (leaf.to_str().unwrap(), key.to_str().unwrap());
    openssl(&["verify", "-CAfile", root, "-untrusted", leaf, leaf]);
    let of_leaf = openssl(&["x509", "-in", leaf, "-noout", "-pubkey"]);
    assert_eq!(openssl(&["pkey", "-in", key, "-pubout"]), of_leaf);
    drop(container);
    assert_eq!(ca.issued_for("web.example").len(), 1);
}

#[test]
fn the_image_is_one_static_program_on_nothing_and_enrols_with_the_native_engine() {
    let Some(image) = Image::open("occm") else { return };
    let files = run(
        "find",
        &[image.root().to_str().unwrap(), "-type", "f", "-printf", "%P\n"],
    );
    let mut files: Vec<String> = String::from_utf8(files)
        .unwrap()
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    files.sort();
    assert_eq!(files, ["etc/group", "etc/nsswitch.conf", "etc/passwd", "occm"]);
    assert!(!image.root().join("bin").exists(), "no shell");
    enrols("occm", "Native");
}

#[test]
fn the_image_with_openssl_has_a_current_one_and_enrols_with_that_engine() {
    let Some(image) = Image::open("occm-openssl") else {
        return;
    };
    if rustix::process::geteuid().is_root() {
        let root = image.root();
        let version = run(
            "chroot",
            &[
                "--userspec=65532:65532",
                root.to_str().unwrap(),
                "/usr/bin/openssl",
                "version",
            ],
        );
        let version = String::from_utf8(version).unwrap();
        let numbers: Vec<u32> = version
            .split([' ', '.'])
            .skip(1)
            .take(2)
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers >= vec![3, 5], "{version}");
    }
    enrols("occm-openssl", "OpenSSL");
}
