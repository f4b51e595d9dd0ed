//! The CA's own keys and certificates: a root, an issuing CA under it, and a certificate that signs CMP answers.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, Name, PrivateKey};

use crate::{
    config::{Config, Signer},
    error::Error,
    issue::{self, Contents, Issuer},
};

/// Life of the root, the issuing CA and the signer.
const LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// The CA's own certificates are valid a while before they are made, so that clients with another clock work.
const BACKDATE: SignedDuration = SignedDuration::from_hours(24);

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct KeyPair {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

/// The CA's own keys and certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) root: KeyPair,
    pub(crate) issuing: KeyPair,
    /// The same as `issuing` if the CA signs its answers itself.
    pub(crate) signer: KeyPair,
    /// Signs end-entity certificates and CRLs.
    pub(crate) issuer: Issuer,
}

/// A root that takes over from the present one (RFC 9810, 4.4).
#[derive(Debug)]
pub(crate) struct NextRoot {
    pub(crate) new_with_new: Certificate,
    pub(crate) new_with_old: Certificate,
    pub(crate) old_with_new: Certificate,
}

impl Authority {
    /// Makes new ones.
    pub(crate) fn create(config: &Config, now: Timestamp) -> Result<Self, Error> {
        let root = new_root(&config.name, config, now)?;
        let issuing = new_pair(
            &format!("{} issuing", config.name),
            Some(&root),
            Kind::Ca(0),
            config,
            now,
        )?;
        Self::assemble(root, issuing, None, config, now)
    }

    /// Reads them from the directory, or makes and writes those that are not there.
    ///
    /// A root without its issuing CA, or a key that does not fit, is an error: a test CA that silently starts anew
    /// would look like a CA that lost its memory.
    pub(crate) fn open(directory: &Path, config: &Config, now: Timestamp) -> Result<Self, Error> {
        let Some(root) = read_pair(directory, "root")? else {
            let made = Self::create(config, now)?;
            made.write(directory)?;
            return Ok(made);
        };
        let Some(issuing) = read_pair(directory, "issuing")? else {
            return Err(contents(
                &directory.join("issuing.pem"),
                "it is missing beside root.pem",
            ));
        };
        let signer = read_pair(directory, "signer")?;
        let known_signer = signer.is_some();
        let opened = Self::assemble(root, issuing, signer, config, now)?;
        if !known_signer {
            write_pair(directory, "signer", &opened.signer)?;
        }
        Ok(opened)
    }

    fn assemble(
        root: KeyPair,
        issuing: KeyPair,
        signer: Option<KeyPair>,
        config: &Config,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let signer = match (config.signer, signer) {
            (Signer::IssuingCa, _) => issuing.clone(),
            (Signer::Separate, Some(signer)) if signer.certificate.is_ca() => new_pair(
                &format!("{} CMP", config.name),
                Some(&issuing),
                Kind::Signer,
                config,
                now,
            )?,
            (Signer::Separate, Some(signer)) => signer,
            (Signer::Separate, None) => new_pair(
                &format!("{} CMP", config.name),
                Some(&issuing),
                Kind::Signer,
                config,
                now,
            )?,
        };
        let issuer = Issuer::new(issuing.certificate.subject().der(), issuing.key.clone())?;
        Ok(Self {
            root,
            issuing,
            signer,
            issuer,
        })
    }

    fn write(&self, directory: &Path) -> Result<(), Error> {
        write_pair(directory, "root", &self.root)?;
        write_pair(directory, "issuing", &self.issuing)?;
        write_pair(directory, "signer", &self.signer)
    }

    /// A new root, and both cross certificates.
    pub(crate) fn next_root(&self, config: &Config, now: Timestamp) -> Result<NextRoot, Error> {
        let next = new_root(&format!("{} 2", config.name), config, now)?;
        let old_issuer = Issuer::new(self.root.certificate.subject().der(), self.root.key.clone())?;
        let new_issuer = Issuer::new(next.certificate.subject().der(), next.key.clone())?;
        Ok(NextRoot {
            new_with_old: cross(&old_issuer, &next, now)?,
            old_with_new: cross(&new_issuer, &self.root, now)?,
            new_with_new: next.certificate,
        })
    }

    /// A signer and an issuer of the same names under a root of their own: what an attacker can make.
    pub(crate) fn impostor(&self, config: &Config, now: Timestamp) -> Result<Self, Error> {
        Self::create(config, now)
    }
}

/// What a certificate of the CA's own is for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A CA with this path length.
    Ca(u8),
    /// Signs CMP answers.
    Signer,
}

fn new_root(name: &str, config: &Config, now: Timestamp) -> Result<KeyPair, Error> {
    let key = PrivateKey::generate(config.key_algorithm)?;
    let subject = own_name(name)?;
    let issuer = Issuer::new(subject.der(), key.clone())?;
    let der = issue::certificate(
        &issuer,
        own_contents(&subject, &key, issue::ca_extensions(None)?, now)?,
    )?;
    Ok(KeyPair {
        certificate: Certificate::from_der(&der)?,
        key,
    })
}

fn new_pair(
    name: &str,
    parent: Option<&KeyPair>,
    kind: Kind,
    config: &Config,
    now: Timestamp,
) -> Result<KeyPair, Error> {
    let key = PrivateKey::generate(config.key_algorithm)?;
    let subject = own_name(name)?;
    let issuer = match parent {
        Some(parent) => Issuer::new(parent.certificate.subject().der(), parent.key.clone())?,
        None => Issuer::new(subject.der(), key.clone())?,
    };
    let extensions = match kind {
        Kind::Ca(path_length) => issue::ca_extensions(Some(path_length))?,
        Kind::Signer => issue::signer_extensions()?,
    };
    let der = issue::certificate(&issuer, own_contents(&subject, &key, extensions, now)?)?;
    Ok(KeyPair {
        certificate: Certificate::from_der(&der)?,
        key,
    })
}

fn cross(issuer: &Issuer, subject: &KeyPair, now: Timestamp) -> Result<Certificate, Error> {
    let name = subject.certificate.subject();
    let der = issue::certificate(
        issuer,
        own_contents(name, &subject.key, issue::ca_extensions(None)?, now)?,
    )?;
    Ok(Certificate::from_der(&der)?)
}

fn own_contents(
    subject: &Name,
    key: &PrivateKey,
    extensions: x509_cert::ext::Extensions,
    now: Timestamp,
) -> Result<Contents, Error> {
    Ok(Contents {
        serial: issue::random_serial()?,
        subject: subject.der().to_vec(),
        public_key: key.public_key().clone(),
        not_before: now.saturating_sub(BACKDATE).unwrap_or(now),
        not_after: now.saturating_add(LIFE).unwrap_or(Timestamp::MAX),
        extensions,
    })
}

/// Every name of ours says what it is.
fn own_name(common_name: &str) -> Result<Name, Error> {
    Ok(Name::from_parts(&[
        ("O", "occm"),
        ("OU", "not for production"),
        ("CN", common_name),
    ])?)
}

fn contents(path: &Path, reason: impl Into<String>) -> Error {
    Error::Contents {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Makes the directory for nobody but us.
pub(crate) fn make_directory(directory: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| Error::File {
            doing: "cannot make the directory",
            path: directory.to_owned(),
            source,
        })
}

fn read_pair(directory: &Path, name: &str) -> Result<Option<KeyPair>, Error> {
    let certificate_path = directory.join(format!("{name}.pem"));
    let Some(pem) = read(&certificate_path)? else {
        return Ok(None);
    };
    let certificate =
        Certificate::from_pem(&pem).map_err(|error| contents(&certificate_path, error.to_string()))?;
    let key_path = directory.join(format!("{name}.key"));
    let Some(pem) = read(&key_path)? else {
        return Err(contents(&key_path, "it is missing"));
    };
    let key = PrivateKey::from_bytes(&pem).map_err(|error| contents(&key_path, error.to_string()))?;
    if key.public_key() != certificate.public_key() {
        return Err(contents(&key_path, format!("it does not fit {name}.pem")));
    }
    let mode = fs::metadata(&key_path)
        .map(|metadata| metadata.permissions().mode())
        .unwrap_or(0);
    if mode & 0o077 != 0 {
        return Err(contents(&key_path, "others can read it; it must have mode 0600"));
    }
    Ok(Some(KeyPair { certificate, key }))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            doing: "cannot read",
            path: path.to_owned(),
            source,
        }),
    }
}

fn write_pair(directory: &Path, name: &str, pair: &KeyPair) -> Result<(), Error> {
    write(
        &directory.join(format!("{name}.key")),
        pair.key.to_pkcs8_pem()?.as_bytes(),
    )?;
    write(
        &directory.join(format!("{name}.pem")),
        pair.certificate.to_pem().as_bytes(),
    )
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let error = |source| Error::File {
        doing: "cannot write",
        path: path.to_owned(),
        source,
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)
}

#[cfg(test)]
mod tests {
    use pki::{Anchors, KeyAlgorithm, Purpose, verify_chain};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn config(key_algorithm: KeyAlgorithm) -> Config {
        Config {
            key_algorithm,
            ..Config::default()
        }
    }

    #[test]
    fn signer_and_issuing_ca_have_a_path_to_the_root_with_every_kind_of_key() {
        for algorithm in [
            KeyAlgorithm::EcP256,
            KeyAlgorithm::EcP384,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::Rsa2048,
        ] {
            let made = Authority::create(&config(algorithm), now()).unwrap();
            let anchors = Anchors::new([made.root.certificate.clone()]).unwrap();
            let pool = [made.issuing.certificate.clone()];
            let path =
                verify_chain(&made.signer.certificate, &pool, &anchors, now(), Purpose::AnyEku).unwrap();
            assert_eq!(path.len(), 3, "{algorithm}");
        }
    }

    #[test]
    fn the_old_root_vouches_for_the_next_one_and_the_other_way_round() {
        let config = config(KeyAlgorithm::EcP256);
        let made = Authority::create(&config, now()).unwrap();
        let next = made.next_root(&config, now()).unwrap();
        next.new_with_old
            .verify_signed_by(made.root.key.public_key())
            .unwrap();
        next.old_with_new
            .verify_signed_by(next.new_with_new.public_key())
            .unwrap();
        assert_eq!(next.new_with_old.public_key(), next.new_with_new.public_key());
        assert_eq!(next.old_with_new.public_key(), made.root.key.public_key());
    }

    #[test]
    fn a_ca_in_a_directory_is_the_same_after_a_restart_and_its_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(KeyAlgorithm::EcP256);
        let first = Authority::open(folder.path(), &config, now()).unwrap();
        let again = Authority::open(folder.path(), &config, now()).unwrap();
        assert_eq!(first.root.certificate, again.root.certificate);
        assert_eq!(first.signer.certificate, again.signer.certificate);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                entry.path()
            );
        }
    }

    #[test]
    fn a_directory_with_a_missing_foreign_or_readable_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(KeyAlgorithm::EcP256);
        drop(Authority::open(folder.path(), &config, now()).unwrap());
        let key = folder.path().join("issuing.key");
        let bytes = fs::read(&key).unwrap();
        let refused = || {
            Authority::open(folder.path(), &config, now())
                .unwrap_err()
                .to_string()
        };

        fs::write(&key, fs::read(folder.path().join("root.key")).unwrap()).unwrap();
        assert!(refused().contains("does not fit"));
        fs::remove_file(&key).unwrap();
        assert!(refused().contains("is missing"));
        fs::write(&key, bytes).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refused().contains("mode 0600"));
    }
}
