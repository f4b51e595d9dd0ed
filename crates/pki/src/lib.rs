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

mod asn1;
mod certificate;
mod csr;
mod error;
mod extensions;
mod key;
mod name;
mod pem;
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
