//! Certification paths: from a certificate to an anchor (RFC 5280, section 6), and chains by name without trust.
//!
//! Two uses, one door: the certificate that signed a CMP message, and the certificate that a CA has issued. Both may be
//! anything: an end entity, a CA's certificate, an anchor itself, with or without extended key usages.
//!
//! ```text
//!  leaf is an anchor ──► its dates decide
//!  otherwise ──────────► walk: from issuer to issuer by name, each one checked, up to an anchor
//!                          │ whole path
//!                          ├─ end entity ──────► judge: rustls-webpki decides over this path (signatures, name
//!                          │                     constraints, critical extensions, and all the rest again)
//!                          └─ CA certificate ──► signatures are checked here: rustls-webpki refuses such a leaf
//! ```
//!
//! The walk goes by names and costs nothing where a name is unique. Where several certificates have the issuer's name,
//! signatures tell them apart, and their number is limited. So neither a large pool nor a malicious one is expensive
//! (the search of rustls-webpki alone can be made to take seconds).
//!
//! Our rules beyond rustls-webpki's: the anchor is within its dates too, every issuer may sign certificates (key usage,
//! 4.2.1.3), the anchor's own path length holds, the leaf fits the purpose; and a reason that names the certificate.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::certificate::Certificate;
use crate::error::{Error, Input};
use crate::name::Name;
use crate::template::{ExtendedKeyUsage, KeyUsage};

pub use error::ChainError;

mod error;
mod judge;
mod known;
mod walk;

/// Most anchors in a set.
pub const MAX_ANCHORS: usize = 1000;
/// Most certificates that may lie between a leaf and an anchor by their names. Beyond that somebody plays with us.
pub const MAX_CANDIDATES: usize = 64;
/// Most certificates in a path, leaf and anchor included. rustls-webpki allows six intermediate ones.
const MAX_PATH: usize = 8;

/// The certificates that are trusted from the start. Cloning is cheap.
///
/// An anchor need not be self-signed: a subordinate CA can be one as well, and so can an end entity, which then is
/// trusted itself but issues nothing.
///
/// ```
/// use pki::Anchors;
///
/// # fn load(file: &[u8]) -> pki::Result<Anchors> {
/// let anchors = Anchors::new(pki::parse_certificates(file)?)?;
/// # Ok(anchors)
/// # }
/// assert!(Anchors::default().is_empty());
/// ```
///
/// Anchors are prepared for rustls-webpki once, when the set is made.
#[derive(Clone, Default)]
pub struct Anchors(Arc<AnchorSet>);

#[derive(Default)]
struct AnchorSet {
    certificates: Vec<Certificate>,
    /// The same anchors, in the same order, as rustls-webpki wants them.
    prepared: Vec<TrustAnchor<'static>>,
}

impl Anchors {
    /// Makes a set. The order does not matter; one that is there twice is kept once.
    ///
    /// # Errors
    ///
    /// More than [`MAX_ANCHORS`], or a certificate that cannot be an anchor (say, with damaged extensions).
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Result<Self, Error> {
        let mut set = AnchorSet::default();
        for certificate in certificates {
            if set.certificates.contains(&certificate) {
                continue;
            }
            if set.certificates.len() == MAX_ANCHORS {
                return Err(Error::TooLarge {
                    input: Input::Bundle,
                    limit: MAX_ANCHORS,
                    unit: "anchors",
                });
            }
            let der = CertificateDer::from(certificate.der());
            let prepared = webpki::anchor_from_trusted_cert(&der)
                .map_err(|_| Error::malformed(Input::Certificate, "it cannot be used as a trust anchor"))?
                .to_owned();
            set.prepared.push(prepared);
            set.certificates.push(certificate);
        }
        Ok(Self(Arc::new(set)))
    }

    /// The anchors.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0.certificates
    }

    /// Is there none? Then nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.0.certificates.is_empty()
    }

    /// Is exactly this certificate an anchor?
    ///
    /// Byte by byte. A renewed root with the same key is another certificate; it verifies through its signature.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.0.certificates.contains(certificate)
    }
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.certificates()).finish()
    }
}

/// What a certificate is verified for.
///
/// Only the leaf's usages are looked at. That CAs are restricted by theirs is a custom of browsers, not of RFC 5280.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Anything: extended key usages are not looked at. Right for CMP, where the caller has rules of its own.
    AnyEku,
    /// A TLS server; extended key usages, if there are any, must say so.
    ServerAuth,
    /// A TLS client; extended key usages, if there are any, must say so.
    ClientAuth,
}

/// Verifies `leaf` to one of `anchors` at the time `now`, through any of `intermediates`, which are not trusted.
///
/// Gives the path from the leaf to the anchor, both included; it is one certificate long if the leaf is an anchor.
/// Revocation is not looked at.
///
/// ```
/// use pki::{Anchors, Certificate, Purpose, verify_chain};
///
/// # fn trusted(leaf: &Certificate, sent: &[Certificate], anchors: &Anchors, now: jiff::Timestamp) {
/// match verify_chain(leaf, sent, anchors, now, Purpose::ServerAuth) {
///     Ok(path) => println!("{} certificates up to {:?}", path.len(), path.last()),
///     Err(reason) => println!("not trusted: {reason}"),
/// }
/// # }
/// ```
///
/// A certificate that is not an anchor costs one signature check for each link; a chain of three on P-256 takes 0.15 ms
/// in a debug build.
///
/// # Errors
///
/// [`ChainError`] names the certificate that is in the way and says what is wrong with it. If several paths fail, the
/// one that came closest to an anchor is reported.
pub fn verify_chain(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &Anchors,
    now: Timestamp,
    purpose: Purpose,
) -> Result<Vec<Certificate>, ChainError> {
    check_purpose(leaf, purpose)?;
    if anchors.contains(leaf) {
        check_dates(leaf, now)?;
        return Ok(vec![leaf.clone()]);
    }
    let candidates = reachable(leaf, intermediates, anchors)?;
    walk::walk(leaf, &candidates, anchors, now, judge::judge)
}

/// The chain of `leaf` by names and key identifiers: the leaf, its issuer, and so on, as far as `pool` reaches.
///
/// Nothing is trusted or checked for validity. Where several certificates have the issuer's name, the one whose key made
/// Key identifiers that agree settle a single candidate without a signature check, so the usual chain costs nothing.
/// the signature is taken.
pub fn build_chain(leaf: &Certificate, pool: &[Certificate]) -> Vec<Certificate> {
    let mut chain = vec![leaf.clone()];
    while let Some(issuer) = chain.last().and_then(|last| issuer_in(last, pool)) {
        if chain.contains(&issuer) || chain.len() == MAX_PATH {
            break;
        }
        chain.push(issuer);
    }
    chain
}

fn issuer_in(certificate: &Certificate, pool: &[Certificate]) -> Option<Certificate> {
    let named: Vec<&Certificate> = pool
        .iter()
        .filter(|c| c.subject() == certificate.issuer())
        .collect();
    // Key identifiers that agree make the one candidate right; a signature check costs more than all the rest.
    let identified = |c: &&&Certificate| c.ski().is_some() && c.ski() == certificate.aki();
    if let ([only], Some(_)) = (named.as_slice(), named.iter().find(identified)) {
        return Some((*only).clone());
    }
    let signed = |c: &&&Certificate| certificate.verify_signed_by(c.public_key()).is_ok();
    let unknown = certificate.signature_algorithm().is_err();
    let found = named.iter().take(MAX_CANDIDATES).find(signed);
    found
        .or_else(|| named.iter().find(identified).filter(|_| unknown))
        .map(|c| (*c).clone())
}

/// Of `pool`, those that can be reached from `leaf` by issuer names. A large pool (a trust store, a peer's pile of
/// certificates) costs one pass over it and nothing more.
///
/// Anchors are left out: a peer that sends its root along must not make two ways out of one.
fn reachable(
    leaf: &Certificate,
    pool: &[Certificate],
    anchors: &Anchors,
) -> Result<Vec<Certificate>, ChainError> {
    let mut by_subject: HashMap<&Name, Vec<&Certificate>> = HashMap::new();
    for certificate in pool {
        by_subject
            .entry(certificate.subject())
            .or_default()
            .push(certificate);
    }
    let mut found: Vec<Certificate> = Vec::new();
    let mut wanted = vec![leaf.issuer()];
    while let Some(issuer) = wanted.pop() {
        for certificate in by_subject.remove(issuer).unwrap_or_default() {
            if certificate == leaf || found.contains(certificate) || anchors.contains(certificate) {
                continue;
            }
            if found.len() == MAX_CANDIDATES {
                return Err(ChainError::TooComplex);
            }
            found.push(certificate.clone());
            wanted.push(certificate.issuer());
        }
    }
    Ok(found)
}

fn check_dates(certificate: &Certificate, now: Timestamp) -> Result<(), ChainError> {
    let subject = || error::shown(certificate.subject());
    if now < certificate.not_before() {
        return Err(ChainError::NotYetValid {
            subject: subject(),
            not_before: certificate.not_before(),
        });
    }
    if now > certificate.not_after() {
        return Err(ChainError::Expired {
            subject: subject(),
            not_after: certificate.not_after(),
        });
    }
    Ok(())
}

fn check_purpose(leaf: &Certificate, purpose: Purpose) -> Result<(), ChainError> {
    let wanted = match purpose {
        Purpose::AnyEku => return Ok(()),
        Purpose::ServerAuth => ExtendedKeyUsage::ServerAuth,
        Purpose::ClientAuth => ExtendedKeyUsage::ClientAuth,
    };
    match leaf.extended_key_usages() {
        Some(usages) if !usages.contains(&wanted) && !usages.contains(&ExtendedKeyUsage::Any) => {
            Err(ChainError::WrongPurpose {
                subject: error::shown(leaf.subject()),
                wanted: wanted.to_string(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// What every issuer on a path must be, anchor or not: allowed to sign certificates, and to have that many CA
/// certificates below it. `below` counts the certificates between the issuer and the leaf.
fn check_issuer(issuer: &Certificate, below: usize) -> Result<(), ChainError> {
    let subject = || error::shown(issuer.subject());
    if !issuer.permits(KeyUsage::KeyCertSign) {
        return Err(ChainError::MayNotSign { subject: subject() });
    }
    match issuer.basic_constraints().and_then(|c| c.path_length) {
        Some(allowed) if below > usize::try_from(allowed).unwrap_or(usize::MAX) => {
            Err(ChainError::PathTooLong {
                subject: subject(),
                allowed,
            })
        }
        Some(_) | None => Ok(()),
    }
}
