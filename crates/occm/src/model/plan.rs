//! Plans: wishes that were checked once and are not checked again.
//!
//! A plan is made from a `spec` alone. Whether what it refers to exists and is usable is told at reconciliation.

pub mod certificate;
pub mod issuer;

use std::net::IpAddr;
use std::str::FromStr;

use pki::{KeyAlgorithm, Name, San};

use crate::model::certificate::{PrivateKeyAlgorithm, PrivateKeySpec};
use crate::model::field::{FieldErrors, problem_of, shown};
use crate::model::object::ObjectKey;

pub use certificate::{CertificatePlan, KeyRotation, OutputPlan, RenewRule, named_outputs};
pub use issuer::{InitialPlan, IssuerPlan, TlsPlan};

/// A Secret or a ConfigMap that a wish reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputRef {
    /// Which of the two.
    pub kind: InputKind,
    /// Where.
    pub object: ObjectKey,
}

/// The kinds of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// One key of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputKey {
    /// The object.
    pub input: InputRef,
    /// Key in its data.
    pub key: String,
}

impl InputKey {
    fn secret(namespace: &str, name: &str, key: &str) -> Self {
        let input = InputRef {
            kind: InputKind::Secret,
            object: ObjectKey::new(namespace, name),
        };
        Self {
            input,
            key: key.to_owned(),
        }
    }

    fn config_map(namespace: &str, name: &str, key: &str) -> Self {
        let input = InputRef {
            kind: InputKind::ConfigMap,
            object: ObjectKey::new(namespace, name),
        };
        Self {
            input,
            key: key.to_owned(),
        }
    }
}

const NAME_ALLOWED: &str = "an RFC 4514 name such as CN=nrf,O=Lab, or /O=Lab/CN=nrf";
const DNS_LABEL_ALLOWED: &str =
    "lower-case letters, digits and '-', at most 63 characters, starting and ending with a letter or digit";
const DNS_SUBDOMAIN_ALLOWED: &str = "lower-case letters, digits, '-' and '.', at most 253 characters, starting and ending with a letter or digit";

/// Largest sum of all subject alternative names.
const MAX_SANS: usize = 100;

fn name(path: &str, text: &str, errors: &mut FieldErrors) -> Option<Name> {
    match Name::from_str(text) {
        Ok(name) if !name.is_empty() => Some(name),
        Ok(_) => {
            errors.push(path, "is empty", NAME_ALLOWED);
            None
        }
        Err(error) => {
            errors.push(
                path,
                format!("{} is not a name: {}", shown(text), problem_of(&error)),
                NAME_ALLOWED,
            );
            None
        }
    }
}

fn key_algorithm(path: &str, spec: &PrivateKeySpec, errors: &mut FieldErrors) -> KeyAlgorithm {
    match (spec.algorithm, spec.size) {
        (PrivateKeyAlgorithm::RSA, None | Some(2048)) => KeyAlgorithm::Rsa2048,
        (PrivateKeyAlgorithm::RSA, Some(3072)) => KeyAlgorithm::Rsa3072,
        (PrivateKeyAlgorithm::RSA, Some(4096)) => KeyAlgorithm::Rsa4096,
        (PrivateKeyAlgorithm::ECDSA, None | Some(256)) => KeyAlgorithm::EcP256,
        (PrivateKeyAlgorithm::ECDSA, Some(384)) => KeyAlgorithm::EcP384,
        (PrivateKeyAlgorithm::ECDSA, Some(521)) => KeyAlgorithm::EcP521,
        (PrivateKeyAlgorithm::Ed25519, None) => KeyAlgorithm::Ed25519,
        (algorithm, Some(size)) => {
            let allowed = match algorithm {
                PrivateKeyAlgorithm::RSA => "2048, 3072 or 4096",
                PrivateKeyAlgorithm::ECDSA => "256, 384 or 521",
                PrivateKeyAlgorithm::Ed25519 => "no size",
            };
            errors.push(
                format!("{path}.size"),
                format!("{size} does not fit {algorithm:?}"),
                allowed,
            );
            KeyAlgorithm::EcP256
        }
    }
}

fn sans(kind: SanKind, path: &str, texts: &[String], into: &mut Vec<San>, errors: &mut FieldErrors) {
    for (i, text) in texts.iter().enumerate() {
        let parsed = match kind {
            SanKind::Dns => San::dns(text),
            SanKind::Uri => San::uri(text),
            SanKind::Email => San::email(text),
            SanKind::Ip => match IpAddr::from_str(text) {
                Ok(address) => Ok(San::Ip(address)),
                Err(_) => {
                    let problem = format!("{} is not an IP address", shown(text));
                    errors.push(format!("{path}[{i}]"), problem, kind.allowed());
                    continue;
                }
            },
        };
        match parsed {
            Ok(san) if into.contains(&san) => {
                errors.push(
                    format!("{path}[{i}]"),
                    format!("{} is there twice", shown(text)),
                    "each name once",
                );
            }
            Ok(san) => into.push(san),
            Err(error) => {
                let problem = format!("{} cannot be used: {}", shown(text), problem_of(&error));
                errors.push(format!("{path}[{i}]"), problem, kind.allowed());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum SanKind {
    Dns,
    Ip,
    Uri,
    Email,
}

impl SanKind {
    fn allowed(self) -> &'static str {
        match self {
            Self::Dns => "a DNS name such as nrf.example or *.nrf.example",
            Self::Ip => "an IPv4 or IPv6 address such as 192.0.2.7 or 2001:db8::7",
            Self::Uri => "a URI with a scheme, such as urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            Self::Email => "an e-mail address such as ops@lab.example",
        }
    }
}

fn duration(
    path: &str,
    text: Option<&str>,
    at_least: std::time::Duration,
    errors: &mut FieldErrors,
) -> Option<std::time::Duration> {
    let text = text?;
    match crate::model::duration::parse(text) {
        Ok(value) if value < at_least => {
            let allowed = format!("at least {}", crate::model::duration::format(at_least));
            errors.push(path, format!("{} is too short", shown(text)), allowed);
            None
        }
        Ok(value) => Some(value),
        Err(problem) => {
            errors.push(
                path,
                format!("{} {problem}", shown(text)),
                crate::model::duration::ALLOWED,
            );
            None
        }
    }
}

/// Whether a text can be the name of a Secret or ConfigMap (RFC 1123 subdomain).
pub(crate) fn is_object_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.split('.').all(|label| is_dns_label_of(label, 253))
}

pub(crate) fn is_namespace(text: &str) -> bool {
    is_dns_label_of(text, 63)
}

fn is_dns_label_of(text: &str, longest: usize) -> bool {
    let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= longest
        && bytes.iter().all(|c| ok(*c))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// Whether a text can be a key in the data of a Secret.
pub(crate) fn is_data_key(text: &str) -> bool {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 253 && !text.starts_with("..") && text != "." && text.bytes().all(ok)
}

fn check_object_name(path: &str, text: &str, errors: &mut FieldErrors) {
    if !is_object_name(text) {
        errors.push(
            path,
            format!("{} cannot be a name", shown(text)),
            DNS_SUBDOMAIN_ALLOWED,
        );
    }
}

fn check_namespace(path: &str, text: &str, errors: &mut FieldErrors) {
    if !is_namespace(text) {
        errors.push(
            path,
            format!("{} cannot be a namespace", shown(text)),
            DNS_LABEL_ALLOWED,
        );
    }
}

fn check_data_key(path: &str, text: &str, errors: &mut FieldErrors) {
    if !is_data_key(text) {
        let allowed = "letters, digits, '-', '_' and '.', at most 253 characters, not starting with '..'";
        errors.push(path, format!("{} cannot be a key", shown(text)), allowed);
    }
}
