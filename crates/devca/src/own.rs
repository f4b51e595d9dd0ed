//! A certificate that its own key signs, for a server that has no better one yet.

use der::Decode;
use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, CertificateTemplate, KeyAlgorithm, PrivateKey};
use x509_cert::ext::Extensions;

use crate::error::Error;
use crate::issue::{self, Contents, Issuer};

/// It is valid a little before it is made, for clients with another clock.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Makes a key and a certificate for it that nobody vouches for. The template's names and usages go into it.
pub fn self_signed(
    template: &CertificateTemplate,
    life: SignedDuration,
    now: Timestamp,
) -> Result<(Certificate, PrivateKey), Error> {
    let key = PrivateKey::generate(KeyAlgorithm::EcP256)?;
    let issuer = Issuer::new(template.subject.der(), key.clone())?;
    let extensions = match template.extensions_der() {
        Some(der) => Extensions::from_der(&der)?,
        None => Extensions::new(),
    };
    let contents = Contents {
        serial: issue::random_serial()?,
        subject: template.subject.der().to_vec(),
        public_key: key.public_key().clone(),
        not_before: now.saturating_sub(BACKDATE).unwrap_or(now),
        not_after: now.saturating_add(life).unwrap_or(Timestamp::MAX),
        extensions,
    };
    let certificate = Certificate::from_der(&issue::certificate(&issuer, contents)?)?;
    Ok((certificate, key))
}
