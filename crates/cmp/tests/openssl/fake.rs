//! A command that stands in for `openssl`: it says which version it is, and plays what it was told to play.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests may fail the test; each test file uses its part"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cmp::http::HttpConfig;
use cmp::openssl::{OpenSsl, OpenSslConfig};
use cmp::{
    CmpError, Context, Credentials, Engine, Enrolment, EnrolmentKind, MacAlgorithm, Peer, Request, Step,
    Transaction,
};
use pki::{Anchors, Certificate, CertificateTemplate, KeyAlgorithm, Name, PrivateKey, San, Secret};
use tempfile::TempDir;

/// What must never be seen outside the private directory.
pub(crate) const SECRET: &str = "planted-secret-4711";

/// A folder with the command in it, and a place for private directories.
pub(crate) struct Fake {
    pub(crate) home: TempDir,
    pub(crate) command: PathBuf,
}

impl Fake {
    /// A command of this version that runs `script` (for `/bin/sh`, in the private directory).
    pub(crate) fn new(version: &str, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("private")).unwrap();
        let command = home.path().join("openssl");
        let text = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\nHOME={}\nif [ \"$1\" = version ]; then echo 'OpenSSL {version} 1 Jan 2026'; exit 0; fi\n{script}\n",
            home.path().display()
        );
        fs::write(&command, text).unwrap();
        fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, command }
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.home.path().join("private")
    }

    /// Number of private directories that are there now.
    pub(crate) fn private_count(&self) -> usize {
        fs::read_dir(self.private()).unwrap().count()
    }

    /// What the script has written into its home.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    pub(crate) fn config(&self) -> OpenSslConfig {
        let mut config = OpenSslConfig::new(HttpConfig::new("http://127.0.0.1:9/pkix/".parse().unwrap()));
        config.command.clone_from(&self.command);
        config.scratch = Some(self.private());
        config
    }

    pub(crate) async fn engine(&self) -> OpenSsl {
        OpenSsl::start(self.config()).await.unwrap()
    }
}

/// Everything that an exchange needs besides the engine.
pub(crate) struct Setting {
    pub(crate) credentials: Credentials,
    pub(crate) peer: Peer,
    pub(crate) key: PrivateKey,
    pub(crate) request: Request,
}

impl Setting {
    /// An ir with a MAC.
    pub(crate) fn new() -> Self {
        let mut template = CertificateTemplate::new("CN=ee.example,O=Lab".parse().unwrap());
        template.sans = vec![San::dns("ee.example").unwrap()];
        let mut peer = Peer {
            recipient: Some("CN=CMP Server,O=Lab".parse::<Name>().unwrap()),
            ..Peer::default()
        };
        peer.trust.certificates = anchors(&self_signed("issuer.example").0);
        Self {
            credentials: Credentials::mac(
                "user1",
                Secret::new(SECRET.as_bytes().to_vec()),
                MacAlgorithm::PBM,
            ),
            peer,
            key: PrivateKey::generate(KeyAlgorithm::EcP256).unwrap(),
            request: Request::enrol(Enrolment {
                kind: EnrolmentKind::Initialization,
                template,
                implicit_confirm: false,
                profile: None,
            }),
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            credentials: &self.credentials,
            peer: &self.peer,
            key: Some(&self.key),
            now: jiff::Timestamp::now(),
        }
    }

    pub(crate) fn begin(&self, engine: &OpenSsl) -> Result<Transaction, CmpError> {
        engine.begin(&self.request, &self.context())
    }

    pub(crate) async fn run(&self, engine: &OpenSsl) -> Result<Step, CmpError> {
        let context = self.context();
        let mut transaction = engine.begin(&self.request, &context)?;
        engine.exchange(&mut transaction, &context).await
    }
}

/// A set with this certificate.
pub(crate) fn anchors(certificate: &Certificate) -> Anchors {
    Anchors::new([certificate.clone()]).unwrap()
}

/// A self-signed certificate with its key.
pub(crate) fn self_signed(name: &str) -> (Certificate, PrivateKey) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (
        Certificate::from_der(certificate.der()).unwrap(),
        PrivateKey::from_bytes(&key.serialize_der()).unwrap(),
    )
}

/// Quotes a path for the shell.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
