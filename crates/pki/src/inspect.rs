//! Certificates, requests and keys as text for people, in the spirit of `openssl x509 -text`: public facts only.
//!
//! All text that comes from the inspected object is escaped, so it can go to a terminal.
//!
//! ```text
//! Certificate:
//!     Version: 3
//!     Serial number: 0a1b
//!     Signature: ECDSA with SHA-256
//!     Issuer: CN=Lab Issuing CA,O=Lab
//!     ...
//! ```
//!
//! The text is for people and may change; programs ask the objects, or take the same facts as data ([`facts`]). Of a
//! private key only what its public half says is shown, so the output can go into a ticket.

use crate::certificate::Certificate;
use crate::csr::CertificateRequest;
use crate::digest;
use crate::error::{Error, Input, check_size};
use crate::extensions::BasicConstraints;
use crate::key::{PrivateKey, PublicKey};
use crate::pem;
use crate::signature::SignatureAlgorithm;
use crate::signature::described;
use crate::template::{ExtendedKeyUsage, KeyUsages, San};
use crate::{MAX_PRIVATE_KEY_BYTES, encoding};

/// Text about everything in a file: certificates (PEM, DER, PKCS#7), certificate requests, private keys.
///
/// Blocks come out in the order of the file, one text after the other, an empty line between them.
///
/// # Errors
///
/// If nothing in it is understood, or something is damaged.
pub fn file(bytes: &[u8]) -> Result<String, Error> {
    let texts: Vec<String> = facts(bytes)?.iter().map(ToString::to_string).collect();
    Ok(texts.join("\n"))
}

/// The same as data: one description for each thing in the file, in its order.
///
/// # Errors
///
/// As for [`file()`].
pub fn facts(bytes: &[u8]) -> Result<Vec<Description>, Error> {
    check_size(Input::Bundle, bytes, encoding::MAX_BUNDLE_BYTES)?;
    if !pem::is_pem(bytes) {
        return der(bytes);
    }
    let mut out = Vec::new();
    for block in pem::blocks(Input::Bundle, bytes, encoding::MAX_BUNDLE_CERTIFICATES)? {
        let label = block.label.as_str();
        if label == "CERTIFICATE REQUEST" || label == "NEW CERTIFICATE REQUEST" {
            out.push(of_request(&CertificateRequest::from_der(&block.der)?));
        } else if label == "PUBLIC KEY" {
            out.push(of_public_key(&PublicKey::from_spki_der(&block.der)?));
        } else if label.ends_with("PRIVATE KEY") {
            out.push(of_private_key(&PrivateKey::from_block(&block)?));
        } else if label == "EC PARAMETERS" {
            // Stands before a key in files that OpenSSL wrote, and says nothing that the key does not say.
        } else {
            out.extend(encoding::block_certificates(&block)?.iter().map(of_certificate));
        }
    }
    if out.is_empty() {
        return Err(Error::malformed(
            Input::Bundle,
            "there is nothing in it that can be shown",
        ));
    }
    Ok(out)
}

/// DER does not say what it is; the first reading that fits is taken.
///
/// The readings exclude each other: each has its own shape from the second level on.
fn der(bytes: &[u8]) -> Result<Vec<Description>, Error> {
    if let Ok(found) = CertificateRequest::from_der(bytes) {
        return Ok(vec![of_request(&found)]);
    }
    if bytes.len() <= MAX_PRIVATE_KEY_BYTES
        && let Ok(found) = PrivateKey::from_bytes(bytes)
    {
        return Ok(vec![of_private_key(&found)]);
    }
    if let Ok(found) = PublicKey::from_spki_der(bytes) {
        return Ok(vec![of_public_key(&found)]);
    }
    let certificates = encoding::parse_certificates(bytes)?;
    Ok(certificates.iter().map(of_certificate).collect())
}

/// Text about a certificate.
///
/// Every extension is listed by name, also those whose contents are not shown.
pub fn certificate(certificate: &Certificate) -> String {
    of_certificate(certificate).to_string()
}

fn of_certificate(certificate: &Certificate) -> Description {
    let mut text = Description::new("Certificate");
    text.line("Version", certificate.version());
    text.line("Serial number", certificate.serial());
    text.line("Signature", signature(certificate.signature_algorithm()));
    text.line("Issuer", certificate.issuer());
    text.line("Not before", certificate.not_before());
    text.line("Not after", certificate.not_after());
    text.line("Subject", certificate.subject());
    text.key(certificate.public_key());
    text.extensions(
        certificate.basic_constraints(),
        certificate.key_usage(),
        certificate.extended_key_usages(),
        certificate.sans(),
    );
    if certificate.other_sans() > 0 {
        text.line("Alternative names of other kinds", certificate.other_sans());
    }
    if let Some(id) = certificate.ski() {
        text.line("Subject key identifier", digest::hex(id));
    }
    if let Some(id) = certificate.aki() {
        text.line("Authority key identifier", digest::hex(id));
    }
    let present = certificate.extensions().iter().map(|(oid, critical)| {
        let critical = if *critical { ", critical" } else { "" };
        format!("{}{critical}", described(oid))
    });
    text.list("Extensions", present);
    text.line("SHA-256 fingerprint", certificate.fingerprint_sha256());
    text
}

/// Text about a certificate request. Whether its signature is right is part of it.
pub fn request(request: &CertificateRequest) -> String {
    of_request(request).to_string()
}

fn of_request(request: &CertificateRequest) -> Description {
    let mut text = Description::new("Certificate request");
    text.line("Subject", request.subject());
    text.key(request.public_key());
    text.extensions(
        request.basic_constraints(),
        request.key_usage(),
        request.extended_key_usages(),
        request.sans(),
    );
    text.line("Signature", signature(request.signature_algorithm()));
    match request.verify() {
        Ok(()) => text.line("Proof of possession", "signature verifies"),
        Err(error) => text.line("Proof of possession", error),
    }
    text
}

/// Text about a private key: its public half.
///
/// The hash of the public key is the same as in the text about its certificate, which is how one finds them together.
pub fn private_key(key: &PrivateKey) -> String {
    of_private_key(key).to_string()
}

fn of_private_key(key: &PrivateKey) -> Description {
    let mut text = Description::new("Private key");
    text.key(key.public_key());
    text
}

/// Text about a public key.
pub fn public_key(key: &PublicKey) -> String {
    of_public_key(key).to_string()
}

fn of_public_key(key: &PublicKey) -> Description {
    let mut text = Description::new("Public key");
    text.key(key);
    text
}

fn signature(algorithm: Result<SignatureAlgorithm, Error>) -> String {
    match algorithm {
        Ok(algorithm) => algorithm.to_string(),
        Err(error) => error.to_string(),
    }
}

/// One thing and what is to be said about it.
///
/// Every value comes through `Display` of a type that escapes: names, alternative names, identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it is: `Certificate`, `Certificate request`, `Private key`, `Public key`.
    pub title: &'static str,
    /// Names and values, in the order in which they are shown.
    pub facts: Vec<(&'static str, Fact)>,
}

/// A value of a [`Description`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// One line.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}:", self.title)?;
        for (name, fact) in &self.facts {
            match fact {
                Fact::One(value) => writeln!(f, "    {name}: {value}")?,
                Fact::Many(values) => {
                    writeln!(f, "    {name}:")?;
                    values
                        .iter()
                        .try_for_each(|value| writeln!(f, "        {value}"))?;
                }
            }
        }
        Ok(())
    }
}

impl Description {
    fn new(title: &'static str) -> Self {
        let facts = Vec::new();
        Self { title, facts }
    }

    fn line(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.facts.push((name, Fact::One(value.to_string())));
    }

    fn list<T: std::fmt::Display>(&mut self, name: &'static str, values: impl IntoIterator<Item = T>) {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if !values.is_empty() {
            self.facts.push((name, Fact::Many(values)));
        }
    }

    fn key(&mut self, key: &PublicKey) {
        self.line("Public key", key.description());
        self.line("Public key SHA-256", digest::hex(&digest::sha256(key.spki_der())));
    }

    fn extensions(
        &mut self,
        basic_constraints: Option<BasicConstraints>,
        key_usage: Option<KeyUsages>,
        extended: Option<&[ExtendedKeyUsage]>,
        sans: &[San],
    ) {
        match basic_constraints {
            Some(BasicConstraints {
                is_ca: true,
                path_length: Some(length),
            }) => {
                self.line("CA", format!("yes, path length {length}"));
            }
            Some(BasicConstraints {
                is_ca: true,
                path_length: None,
            }) => self.line("CA", "yes"),
            Some(BasicConstraints { is_ca: false, .. }) => self.line("CA", "no"),
            None => {}
        }
        if let Some(usages) = key_usage {
            self.line("Key usage", usages);
        }
        let words: Vec<String> = extended
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        if !words.is_empty() {
            self.line("Extended key usage", words.join(", "));
        }
        self.list("Alternative names", sans);
    }
}
