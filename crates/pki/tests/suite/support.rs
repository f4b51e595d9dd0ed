//! Certificates to order, and the `openssl` command as a judge.
//!
//! Certificates are encoded by `x509-cert`, not by the crate under test, so that both must agree on the format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr;
use std::sync::{LazyLock, Mutex};

use der::asn1::{BitString, GeneralizedTime, Int, OctetString, UtcTime};
use der::{Any, DateTime, Decode, Encode, Sequence};
use jiff::Timestamp;
use pki::{Certificate, KeyAlgorithm, PrivateKey, SignatureAlgorithm};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name as ForeignName;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

/// The time of all tests.
pub(crate) fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("time in a test")
}

/// A key of this kind. RSA keys are made once per run, because that takes long.
pub(crate) fn key(algorithm: KeyAlgorithm) -> PrivateKey {
    static RSA: LazyLock<Mutex<HashMap<KeyAlgorithm, PrivateKey>>> = LazyLock::new(Mutex::default);
    let generate = || PrivateKey::generate(algorithm).expect("key generation");
    if !algorithm.is_rsa() {
        return generate();
    }
    RSA.lock()
        .expect("keys")
        .entry(algorithm)
        .or_insert_with(generate)
        .clone()
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

/// A certificate to be made. Every part can be made wrong.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: ForeignName,
    pub(crate) issuer: Option<ForeignName>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) key: PrivateKey,
    /// The `SubjectPublicKeyInfo`, if it is not the key's.
    pub(crate) spki: Option<Vec<u8>>,
    pub(crate) algorithm: Option<SignatureAlgorithm>,
    /// The algorithm inside the signed part, if it differs from the one outside.
    pub(crate) inner_algorithm: Option<SignatureAlgorithm>,
    pub(crate) identifiers: bool,
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    serial: Int,
    signature: AlgorithmIdentifierOwned,
    issuer: ForeignName,
    validity: Validity,
    subject: ForeignName,
    spki: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Validity {
    not_before: Time,
    not_after: Time,
}

#[derive(Sequence)]
struct Signed {
    tbs: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl Draft {
    /// An end entity that may sign.
    pub(crate) fn leaf(subject: &str) -> Self {
        Self {
            version: Some(2),
            serial: vec![0x0a, 0x1b],
            subject: match subject {
                "" => ForeignName::default(),
                text => ForeignName::from_str(text).expect("name in a test"),
            },
            issuer: None,
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2027-01-01T00:00:00Z"),
            extensions: vec![extension(true, &KeyUsage(KeyUsages::DigitalSignature.into()))],
            key: key(KeyAlgorithm::EcP256),
            spki: None,
            algorithm: None,
            inner_algorithm: None,
            identifiers: true,
        }
    }

    /// A CA.
    pub(crate) fn ca(subject: &str) -> Self {
        let usages = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
        let mut draft = Self::leaf(subject);
        draft.extensions = vec![
            extension(
                true,
                &BasicConstraints {
                    ca: true,
                    path_len_constraint: None,
                },
            ),
            extension(true, &KeyUsage(usages)),
        ];
        draft
    }

    pub(crate) fn path_length(self, length: u8) -> Self {
        self.with(
            true,
            &BasicConstraints {
                ca: true,
                path_len_constraint: Some(length),
            },
        )
    }

    /// Adds an extension, or replaces the one of the same kind.
    pub(crate) fn with<E: Encode + const_oid::AssociatedOid>(self, critical: bool, value: &E) -> Self {
        self.with_raw(E::OID, critical, &value.to_der().expect("extension"))
    }

    pub(crate) fn with_raw(mut self, oid: const_oid::ObjectIdentifier, critical: bool, der: &[u8]) -> Self {
        self = self.without(oid);
        let extn_value = OctetString::new(der).expect("extension");
        self.extensions.push(Extension {
            extn_id: oid,
            critical,
            extn_value,
        });
        self
    }

    pub(crate) fn without(mut self, oid: const_oid::ObjectIdentifier) -> Self {
        self.extensions.retain(|e| e.extn_id != oid);
        self
    }

    pub(crate) fn dates(mut self, not_before: &str, not_after: &str) -> Self {
        (self.not_before, self.not_after) = (at(not_before), at(not_after));
        self
    }

    pub(crate) fn key(mut self, key: &PrivateKey) -> Self {
        self.key = key.clone();
        self
    }

    pub(crate) fn algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    pub(crate) fn self_signed(self) -> Party {
        let (subject, key) = (self.subject.clone(), self.key.clone());
        self.build(&subject, &key)
    }

    pub(crate) fn signed_by(self, issuer: &Party) -> Party {
        let name = ForeignName::from_der(issuer.certificate.subject().der()).expect("name");
        self.build(&name, &issuer.key)
    }

    fn build(self, issuer: &ForeignName, issuer_key: &PrivateKey) -> Party {
        let key = self.key.clone();
        let der = self.der(issuer, issuer_key);
        Party {
            certificate: Certificate::from_der(&der).expect("certificate"),
            key,
        }
    }

    /// The certificate's DER, whether or not it can be read.
    pub(crate) fn der(mut self, issuer: &ForeignName, issuer_key: &PrivateKey) -> Vec<u8> {
        if self.identifiers {
            let id = |key: &PrivateKey| OctetString::new(key.public_key().key_id_sha1()).expect("id");
            let ski = SubjectKeyIdentifier(id(&self.key));
            let aki = AuthorityKeyIdentifier {
                key_identifier: Some(id(issuer_key)),
                authority_cert_issuer: None,
                authority_cert_serial_number: None,
            };
            self = self.with(false, &ski).with(false, &aki);
        }
        let algorithm = self.algorithm.unwrap_or(issuer_key.default_signature());
        let identifier =
            |a: SignatureAlgorithm| AlgorithmIdentifierOwned::from_der(&a.to_der()).expect("algorithm");
        let spki = self.spki.unwrap_or(self.key.public_key().spki_der().to_vec());
        let tbs = Tbs {
            version: self.version,
            serial: Int::new(&self.serial).expect("serial"),
            signature: identifier(self.inner_algorithm.unwrap_or(algorithm)),
            issuer: self.issuer.unwrap_or(issuer.clone()),
            validity: Validity {
                not_before: time(self.not_before),
                not_after: time(self.not_after),
            },
            subject: self.subject,
            spki: SubjectPublicKeyInfoOwned::from_der(&spki).expect("key"),
            extensions: Some(self.extensions).filter(|list| !list.is_empty()),
        };
        let tbs = tbs.to_der().expect("certificate");
        let signature = issuer_key.sign(algorithm, &tbs).expect("signature");
        Signed {
            tbs: Any::from_der(&tbs).expect("certificate"),
            algorithm: identifier(algorithm),
            signature: BitString::from_bytes(&signature).expect("signature"),
        }
        .to_der()
        .expect("certificate")
    }
}

pub(crate) fn extension<E: Encode + const_oid::AssociatedOid>(critical: bool, value: &E) -> Extension {
    let extn_value = OctetString::new(value.to_der().expect("extension")).expect("extension");
    Extension {
        extn_id: E::OID,
        critical,
        extn_value,
    }
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). `Timestamp::MAX` is the end of the year 9999.
fn time(time: Timestamp) -> Time {
    if time == Timestamp::MAX {
        return Time::GeneralTime(GeneralizedTime::from_date_time(DateTime::INFINITY));
    }
    let seconds = u64::try_from(time.as_second()).expect("time in a test");
    let date = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).expect("time in a test");
    match UtcTime::from_date_time(date) {
        Ok(short) => Time::UtcTime(short),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_date_time(date)),
    }
}

/// A root, an issuing CA below it, and a leaf below that.
pub(crate) struct Lab {
    pub(crate) root: Party,
    pub(crate) issuing: Party,
    pub(crate) leaf: Party,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let root = Draft::ca("CN=Lab Root,O=Lab").self_signed();
        let issuing = Draft::ca("CN=Lab Issuing CA,O=Lab").signed_by(&root);
        let leaf = Draft::leaf("CN=a.example,O=Lab").signed_by(&issuing);
        Self { root, issuing, leaf }
    }
}

/// Runs `openssl`. `None` if it is not there, which is an error under CI and a note elsewhere.
pub(crate) fn openssl(arguments: &[&str]) -> Option<Output> {
    match Command::new("openssl").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_some() => panic!("the openssl command is needed: {error}"),
        Err(error) => {
            println!("skipped: the openssl command cannot be run: {error}");
            None
        }
    }
}

/// Runs `openssl` and gives what it printed; it must succeed.
pub(crate) fn openssl_ok(arguments: &[&str]) -> Option<String> {
    let output = openssl(arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A directory of files for a command.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.join(name).to_str().expect("path").to_owned()
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        std::fs::write(self.join(name), contents).expect("file");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.join(name)).expect("file")
    }

    fn join(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}
