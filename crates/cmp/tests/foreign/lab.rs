//! A folder with a foreign CA's certificates, and OpenSSL's CMP mock server on top of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pki::{
    Anchors, Certificate, CertificateRequest, CertificateTemplate, KeyAlgorithm, Name, PrivateKey, San,
};
use tempfile::TempDir;

pub(crate) const REFERENCE: &str = "user1";
pub(crate) const SECRET: &str = "mock-secret";

/// The command for the mock server: 3.5 or newer, since older ones crash when signers take turns.
pub(crate) fn newer_openssl() -> Option<PathBuf> {
    let named = std::env::var_os("OCCM_OPENSSL35").map(PathBuf::from);
    let candidates = named.into_iter().chain([PathBuf::from("openssl")]);
    candidates.into_iter().find(|command| {
        let version = cmp::openssl::Version::parse(version(command).unwrap_or_default().as_bytes());
        version.is_ok_and(|version| version >= cmp::openssl::Version::new(3, 5, 0))
    })
}

/// What `openssl version` prints, if there is such a command.
pub(crate) fn version(command: &Path) -> Option<String> {
    let output = Command::new(command).arg("version").output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Certificates and keys of a CA that is not ours, in PEM files that are called after them.
pub(crate) struct Lab {
    folder: TempDir,
    openssl: PathBuf,
    pub(crate) root: Certificate,
    pub(crate) key: PrivateKey,
    pub(crate) template: CertificateTemplate,
}

impl Lab {
    pub(crate) fn new(openssl: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
        let mut template = CertificateTemplate::new("CN=ee.example,O=Lab".parse().unwrap());
        template.sans = vec![San::dns("ee.example").unwrap(), San::ip("192.0.2.7").unwrap()];
        // Replaced below, as soon as it is there.
        let root = make_root(openssl, folder.path());
        let lab = Self {
            folder,
            openssl: openssl.to_owned(),
            root,
            key,
            template,
        };
        lab.issue("server", "CN=CMP Server,O=Lab", KeyAlgorithm::EcP256);
        lab.issue("client", "CN=client,O=Lab", KeyAlgorithm::EcP256);
        lab.issue("client-rsa", "CN=client-rsa,O=Lab", KeyAlgorithm::Rsa2048);
        lab.issue("client-ed", "CN=client-ed,O=Lab", KeyAlgorithm::Ed25519);
        lab.sign("issued", &lab.template, &lab.key);
        lab
    }

    /// A new key and a certificate for it.
    fn issue(&self, file: &str, subject: &str, algorithm: KeyAlgorithm) {
        let key = PrivateKey::generate(algorithm).unwrap();
        self.sign(file, &CertificateTemplate::new(subject.parse().unwrap()), &key);
    }

    fn sign(&self, file: &str, template: &CertificateTemplate, key: &PrivateKey) {
        let request = CertificateRequest::create(template, key).unwrap();
        fs::write(self.path(&format!("{file}.csr")), request.to_pem()).unwrap();
        fs::write(
            self.path(&format!("{file}.key")),
            key.to_pkcs8_pem().unwrap().as_bytes(),
        )
        .unwrap();
        fs::write(
            self.path("extensions"),
            "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
        )
        .unwrap();
        let (csr, out) = (format!("{file}.csr"), format!("{file}.pem"));
        self.succeeds(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-days",
            "30",
            "-copy_extensions",
            "copyall",
            "-extfile",
            "extensions",
            "-out",
            &out,
        ]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_pem(&fs::read(self.path(&format!("{name}.pem"))).unwrap()).unwrap()
    }

    pub(crate) fn private_key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_bytes(&fs::read(self.path(&format!("{name}.key"))).unwrap()).unwrap()
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::new([self.root.clone()]).unwrap()
    }

    pub(crate) fn server_name(&self) -> Name {
        self.certificate("server").subject().clone()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        succeeds(&self.openssl, self.folder.path(), arguments)
    }

    /// Lets OpenSSL judge a certificate: it can be read, is valid, has a path to the root, and is for this key.
    pub(crate) fn judge(&self, certificate: &Certificate, key: &PrivateKey) {
        fs::write(self.path("judged.pem"), certificate.to_pem()).unwrap();
        fs::write(self.path("judged.key"), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        self.succeeds(&["x509", "-in", "judged.pem", "-noout", "-checkend", "0"]);
        self.succeeds(&["verify", "-x509_strict", "-CAfile", "root.pem", "judged.pem"]);
        let of_certificate = self.succeeds(&["x509", "-in", "judged.pem", "-noout", "-pubkey"]);
        let of_key = self.succeeds(&["pkey", "-in", "judged.key", "-pubout"]);
        assert_eq!(of_certificate, of_key);
    }

    /// Starts the mock server with these arguments besides the usual ones.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        let secret = format!("pass:{SECRET}");
        let mut child = Command::new(&self.openssl)
            .args([
                "cmp",
                "-config",
                "",
                "-port",
                "0",
                "-srv_ref",
                REFERENCE,
                "-srv_secret",
                &secret,
            ])
            .args([
                "-srv_cert",
                "server.pem",
                "-srv_key",
                "server.key",
                "-srv_trusted",
                "root.pem",
            ])
            .args([
                "-rsp_cert",
                "issued.pem",
                "-rsp_extracerts",
                "root.pem",
                "-rsp_capubs",
                "root.pem",
            ])
            .args(more)
            .env("OPENSSL_CONF", "/dev/null")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // `ACCEPT 0.0.0.0:39609 PID=9672`
        let accept = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("ACCEPT ")));
        let accept = accept
            .unwrap_or_else(|| panic!("the mock server did not start: {more:?}"))
            .unwrap();
        let port = accept
            .split(':')
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        // What else it prints must not fill the pipe; this ends with the server.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, port }
    }
}

fn make_root(openssl: &Path, folder: &Path) -> Certificate {
    succeeds(
        openssl,
        folder,
        &[
            "req",
            "-x509",
            "-config",
            "/dev/null",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-subj",
            "/O=Lab/CN=Root",
            "-days",
            "365",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-addext",
            "subjectKeyIdentifier=hash",
        ],
    );
    Certificate::from_pem(&fs::read(folder.join("root.pem")).unwrap()).unwrap()
}

fn succeeds(openssl: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(openssl)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A running mock server; ends with its owner.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/pkix/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
