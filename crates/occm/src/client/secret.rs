//! What a person is told of a Secret: its certificate, and whether the key beside it fits. Never a value.

use std::collections::{BTreeMap, BTreeSet};

use pki::{Certificate, PrivateKey};

use crate::model::certificate::{Format, Part};
use crate::model::object::{OWNER_ANNOTATION, ObjectKey, ROLE_LABEL, ROLE_OUTPUT};

/// Largest value that is tried as a private key, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// A Secret without its values.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretSeen {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its version.
    pub version: String,
    /// Type.
    pub kind: String,
    /// Whether it is marked immutable.
    pub immutable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the copy that `kubectl apply` keeps.
    pub annotations: BTreeMap<String, String>,
    /// The controller that owns it: `Kind/name`.
    pub controller: Option<String>,
    /// Who wrote fields of it, where the store tells.
    pub writers: BTreeSet<String>,
    /// Keys of its data.
    pub keys: Vec<String>,
    /// What lies under which key, of those that could be read as key or certificates.
    pub parts: BTreeMap<String, (Part, Format)>,
    /// The certificate: the one that fits the key, else the first that is no CA's.
    pub certificate: Option<Certificate>,
    /// The other certificates, in the order of a chain.
    pub others: Vec<Certificate>,
    /// The private key, which was dropped.
    pub private_key: Option<KeySeen>,
}

/// What is told of a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySeen {
    /// Key in the data that it lies under.
    pub name: String,
    /// Algorithm, for example `EC-P256`.
    pub algorithm: pki::KeyAlgorithm,
    /// Whether it belongs to the certificate.
    pub fits: bool,
}

/// What a store tells of a Secret besides its values.
#[derive(Default)]
pub(crate) struct SecretFrame {
    pub(crate) key: Option<ObjectKey>,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) immutable: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) controller: Option<String>,
    pub(crate) writers: BTreeSet<String>,
}

/// A value, read.
struct Reading {
    key: Option<(PrivateKey, Format)>,
    certificates: Vec<Certificate>,
    pem: bool,
}

impl SecretSeen {
    /// Looks at values and keeps what is public.
    pub(crate) fn look(frame: SecretFrame, values: &BTreeMap<String, pki::Secret>) -> Self {
        let readings: BTreeMap<&String, Reading> = values
            .iter()
            .map(|(name, value)| (name, read(value.expose())))
            .collect();
        let key = preferred(&readings, "tls.key", |reading| {
            reading.key.as_ref().map(|(key, _)| key.clone())
        });
        let mut all: Vec<Certificate> = Vec::new();
        let first = readings.iter().filter(|(name, _)| name.as_str() == "tls.crt");
        let rest = readings.iter().filter(|(name, _)| name.as_str() != "tls.crt");
        for certificate in first.chain(rest).flat_map(|(_, reading)| &reading.certificates) {
            if !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
        let certificate = leaf(&all, key.as_ref().map(|(_, key)| key)).cloned();
        let others = others(&all, certificate.as_ref());
        let private_key = key.map(|(name, key)| KeySeen {
            name,
            algorithm: key.algorithm(),
            fits: certificate.as_ref().is_some_and(|found| found.matches_key(&key)),
        });
        let parts = readings
            .iter()
            .filter_map(|(name, reading)| Some(((*name).clone(), reading.part(certificate.as_ref())?)))
            .collect();
        Self {
            key: frame.key.unwrap_or_else(|| ObjectKey::new("", "")),
            version: frame.version,
            kind: frame.kind,
            immutable: frame.immutable,
            labels: frame.labels,
            annotations: frame.annotations,
            controller: frame.controller,
            writers: frame.writers,
            keys: values.keys().cloned().collect(),
            parts,
            certificate,
            others,
            private_key,
        }
    }

    /// The Certificate that writes it, if it is an output of occm.
    pub fn owner(&self) -> Option<ObjectKey> {
        if self.labels.get(ROLE_LABEL).is_none_or(|role| role != ROLE_OUTPUT) {
            return None;
        }
        let (namespace, name) = self.annotations.get(OWNER_ANNOTATION)?.split_once('/')?;
        Some(ObjectKey::new(namespace, name))
    }

    /// Whether there is anything about it that concerns certificates.
    pub fn is_of_interest(&self) -> bool {
        self.certificate.is_some() || self.private_key.is_some()
    }
}

impl Reading {
    fn part(&self, leaf: Option<&Certificate>) -> Option<(Part, Format)> {
        let form = if self.pem { Format::PEM } else { Format::DER };
        match (&self.key, self.certificates.as_slice()) {
            (None, []) => None,
            (Some((_, format)), []) => Some((Part::Key, *format)),
            (Some(_), _) => Some((Part::Bundle, Format::PEM)),
            (None, [only]) if Some(only) == leaf => Some((Part::Certificate, form)),
            (None, several) if leaf.is_some_and(|leaf| several.contains(leaf)) => {
                Some((Part::CertificateAndChain, form))
            }
            (None, several) if several.iter().all(Certificate::is_self_issued) => Some((Part::CA, form)),
            (None, _) => Some((Part::Chain, form)),
        }
    }
}

fn read(bytes: &[u8]) -> Reading {
    let pem = contains(bytes, b"-----BEGIN ");
    let key = (bytes.len() <= MAX_KEY_BYTES)
        .then(|| PrivateKey::from_bytes(bytes).ok())
        .flatten();
    Reading {
        key: key.map(|key| {
            let format = key_format(bytes, pem, &key);
            (key, format)
        }),
        certificates: pki::encoding::parse_certificates(bytes).unwrap_or_default(),
        pem,
    }
}

fn key_format(bytes: &[u8], pem: bool, key: &PrivateKey) -> Format {
    let traditional = if pem {
        contains(bytes, b"BEGIN RSA PRIVATE KEY") || contains(bytes, b"BEGIN EC PRIVATE KEY")
    } else {
        key.to_traditional_der().is_ok_and(|der| der.as_slice() == bytes)
    };
    match (traditional, pem) {
        (true, true) => Format::PKCS1PEM,
        (true, false) => Format::PKCS1DER,
        (false, true) => Format::PEM,
        (false, false) => Format::DER,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What is found under the usual name, else under the first name that has it.
fn preferred<T>(
    readings: &BTreeMap<&String, Reading>,
    usual: &str,
    find: impl Fn(&Reading) -> Option<T>,
) -> Option<(String, T)> {
    let usual = readings.iter().filter(|(name, _)| name.as_str() == usual);
    usual
        .chain(readings.iter())
        .find_map(|(name, reading)| Some(((*name).clone(), find(reading)?)))
}

fn leaf<'a>(all: &'a [Certificate], key: Option<&PrivateKey>) -> Option<&'a Certificate> {
    let fits = |certificate: &&Certificate| key.is_some_and(|key| certificate.matches_key(key));
    all.iter()
        .find(fits)
        .or_else(|| all.iter().find(|certificate| !certificate.is_ca()))
        .or(all.first())
}

fn others(all: &[Certificate], leaf: Option<&Certificate>) -> Vec<Certificate> {
    let Some(leaf) = leaf else { return Vec::new() };
    let mut ordered: Vec<Certificate> = pki::build_chain(leaf, all);
    let outside: Vec<Certificate> = all.iter().filter(|one| !ordered.contains(one)).cloned().collect();
    ordered.retain(|one| one != leaf);
    ordered.extend(outside);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[(&str, Vec<u8>)]) -> BTreeMap<String, pki::Secret> {
        of.iter()
            .map(|(name, bytes)| ((*name).to_owned(), pki::Secret::new(bytes.clone())))
            .collect()
    }

    fn pem(key: &PrivateKey) -> Vec<u8> {
        key.to_pkcs8_pem().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn a_secret_without_certificates_is_of_no_interest_and_shows_no_value() {
        let seen = SecretSeen::look(
            SecretFrame::default(),
            &values(&[("password", b"planted".to_vec())]),
        );
        assert!(!seen.is_of_interest());
        assert_eq!(seen.keys, ["password"]);
        assert!(!format!("{seen:?}").contains("planted"));
    }

    #[test]
    fn a_key_is_named_by_its_algorithm_and_form_only() {
        let key = PrivateKey::generate(pki::KeyAlgorithm::EcP256).unwrap();
        for (bytes, format) in [
            (pem(&key), Format::PEM),
            (key.to_pkcs8_der().unwrap().to_vec(), Format::DER),
            (key.to_traditional_der().unwrap().to_vec(), Format::PKCS1DER),
            (
                key.to_traditional_pem().unwrap().as_bytes().to_vec(),
                Format::PKCS1PEM,
            ),
        ] {
            let seen = SecretSeen::look(SecretFrame::default(), &values(&[("k", bytes)]));
            let told = seen.private_key.unwrap();
            assert_eq!((told.algorithm, told.fits), (pki::KeyAlgorithm::EcP256, false));
            assert_eq!(seen.parts.get("k"), Some(&(Part::Key, format)));
        }
    }
}
