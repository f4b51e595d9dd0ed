//! Keys, names, certificate templates, certificates and chains: the one place that handles private keys.
//!
//! This crate does no I/O, logs nothing and never reads a clock: data and `now` come in as arguments, values and
//! [`Error`]s go out. All cryptography is done by `aws-lc-rs`; this crate adds formats and rules.
//!
//! ```text
//!  text, YAML, PEM, DER ──► Name, San, CertificateTemplate ──► CertificateRequest
//!                           PrivateKey ───────────────────────┘ (signs)
//!  a CA's answer ─────────► Certificate ──► verify_chain(.., Anchors, now) ──► path to an anchor
//! ```
//!
//! Rules that hold everywhere:
//!
//! * Outside data is measured before it is parsed (see the `MAX_..` constants); no input makes a function panic.
//! * Private keys and secrets live in buffers that are wiped when dropped; `Debug` shows the algorithm only.
//! * An [`Error`] says what was wrong with which kind of input; it never holds the input itself or a secret.
//!
//! # Example
//!
//! From a wish to a certificate request and back, and what a certificate must pass before it is used:
//!
//! ```
//! use pki::{CertificateRequest, CertificateTemplate, KeyAlgorithm, PrivateKey, San};
//!
//! # fn main() -> pki::Result<()> {
//! let key = PrivateKey::generate(KeyAlgorithm::EcP256)?;
//! let template = CertificateTemplate {
//!     sans: vec![San::dns("amf.lab.example")?],
//!     ..CertificateTemplate::new("CN=amf,O=Lab".parse()?)
//! };
//! let request = CertificateRequest::create(&template, &key)?;
//! request.verify()?;
//! assert_eq!(request.public_key(), key.public_key());
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | Module | Subject | Standards |
//! | --- | --- | --- |
//! | `key` | private and public keys, their files | RFC 5958, 8017, 5915, 8410 |
//! | `signature` | algorithm identifiers | RFC 4055, 5758, 8410, 9481 |
//! | `name` | distinguished names as text and DER | RFC 4514, 5280 |
//! | `template` | the wish: names, usages, duration | RFC 5280, 4.2.1 |
//! | `csr`, `certificate`, `extensions` | what is signed | RFC 2986, 5280 |
//! | [`chain`] | paths to anchors | RFC 5280, 6.1; RFC 4158 |
//! | [`encoding`], [`inspect`] | files, text for people | RFC 7468, 5652 |
//!
//! Post-quantum keys are kept, compared and shown, but neither made nor used for verification of our own yet.

mod asn1;
mod certificate;
mod csr;
mod error;
mod extensions;
mod key;
mod name;
mod pem;
mod recent;
mod secret;
mod signature;
mod template;

pub mod chain;
pub mod digest;
pub mod encoding;
pub mod inspect;
pub mod random;

pub use certificate::{Certificate, MAX_CERTIFICATE_BYTES};
pub use chain::{Anchors, ChainError, Purpose, build_chain, verify_chain};
pub use csr::{CertificateRequest, MAX_REQUEST_BYTES};
pub use encoding::{order_bundle, parse_certificates, to_pem_bundle};
pub use error::{Error, Input};
pub use extensions::BasicConstraints;
pub use key::{KeyAlgorithm, MAX_PRIVATE_KEY_BYTES, PrivateKey, PublicKey};
pub use name::{Attribute, Name};
pub use secret::{Secret, constant_time_eq};
pub use signature::SignatureAlgorithm;
pub use template::{CertificateTemplate, ExtendedKeyUsage, KeyUsage, KeyUsages, San, SanText, Usages};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
