//! The wish for a certificate: what a request asks for, before there is a key or a CA.
//!
//! Everything in a [`CertificateTemplate`] has been checked when it was made; nobody checks it again. It is stored with
//! an issuance and compared later, so its serialised form is stable: names and usages as text, in the order they were
//! given, nothing left to a library's taste.
//!
//! ```text
//!  cert-manager's words ──► Usages ───┐
//!  dnsNames, uris, ..   ──► San ──────┼──► CertificateTemplate ──► CSR (PKCS#10), CertTemplate (CRMF)
//!  subject              ──► Name ─────┘            │
//!                                                  └──► stored with the issuance, compared with the next wish
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::extensions;
use crate::name::Name;

pub(crate) use san::ForeignKind;
pub use san::{San, SanText};
pub use usages::{ExtendedKeyUsage, KeyUsage, KeyUsages, Usages};

mod san;
mod usages;

/// What is asked of the CA.
///
/// ```
/// use pki::{CertificateTemplate, San, Usages};
///
/// # fn main() -> pki::Result<()> {
/// let usages = Usages::from_words(["digital signature", "server auth"])?;
/// let template = CertificateTemplate {
///     sans: vec![San::dns("*.lab.example")?, San::ip("2001:db8::1")?],
///     key_usage: usages.key_usage,
///     extended_key_usages: usages.extended_key_usages,
///     ..CertificateTemplate::new("CN=a,O=Lab".parse()?)
/// };
/// assert!(template.extensions_der().is_some());
/// # Ok(())
/// # }
/// ```
///
/// A wish is not a promise: the CA may leave out, add and change. What came back is compared with the wish elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateTemplate {
    /// The subject; may be empty if there are alternative names (RFC 5280, 4.1.2.6).
    pub subject: Name,
    /// Subject alternative names, in the order in which they are encoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<San>,
    /// Key usage; if empty the extension is left out.
    #[serde(default, skip_serializing_if = "KeyUsages::is_empty")]
    pub key_usage: KeyUsages,
    /// Extended key usage; if empty the extension is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
    /// Is a CA certificate asked for? Then basic constraints are asked for, critical and without a path length.
    #[serde(default)]
    pub is_ca: bool,
    /// How long the certificate should be valid; if absent the CA decides.
    /// PKCS#10 cannot carry it; CRMF can (`OptionalValidity`, RFC 4211, 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

impl CertificateTemplate {
    /// A template with a subject and nothing else.
    pub fn new(subject: Name) -> Self {
        Self {
            subject,
            ..Self::default()
        }
    }

    /// DER of the `Extensions` that the template asks for (RFC 5280, 4.1.2.9), in this order: basic constraints, key
    /// usage, extended key usage, alternative names. `None` if it asks for none.
    ///
    /// Critical are basic constraints (4.2.1.9) and key usage (4.2.1.3), and the alternative names if the subject is
    /// empty (4.2.1.6).
    pub fn extensions_der(&self) -> Option<Vec<u8>> {
        let mut list = Vec::new();
        if self.is_ca {
            list.push(extensions::basic_constraints_ca());
        }
        if !self.key_usage.is_empty() {
            list.push(extensions::key_usage(self.key_usage));
        }
        if !self.extended_key_usages.is_empty() {
            list.push(extensions::extended_key_usage(&self.extended_key_usages));
        }
        if !self.sans.is_empty() {
            list.push(extensions::subject_alternative_names(
                &self.sans,
                self.subject.is_empty(),
            ));
        }
        (!list.is_empty()).then(|| crate::asn1::tlv(crate::asn1::SEQUENCE, &list.concat()))
    }
}
