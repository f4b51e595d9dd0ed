//! The one place where an issued certificate is looked at, whatever engine brought it.
//!
//! [`issued`] is the only maker of a [`VerifiedCertificate`], and [`crate::Transaction::accept`] asks for one: there is
//! no way to confirm or to store a certificate that was not checked (RFC 9810, 5.2.1; RFC 9483, 4.1.1).
//!
//! ```text
//!   key is ours ──► a CA or not ──► subject, alternative names ──► usages ──► valid now ──► path to Trust::certificates
//! ```
//!
//! Usages are looked at from one side: what was asked for must be there. What a CA adds is its own affair (profiles of
//! installed CAs do it all the time), but for `cert sign`, which only a CA may have.

use std::time::Duration;

use jiff::Timestamp;
use pki::{
    Certificate, ExtendedKeyUsage, KeyUsage, KeyUsages, Name, PrivateKey, PublicKey, Purpose, San,
    verify_chain,
};

use crate::engine::{Answer, Enrolment, NameChanges, Peer};
use crate::error::{CertificateFault, CmpError, ErrorKind, Stage, escape};

/// How far a CA's clock may be ahead: a certificate that begins this soon counts as valid.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Our key.
    pub public_key: PublicKey,
    /// The subject; may be empty.
    pub subject: Name,
    /// The alternative names, in any order.
    pub sans: Vec<San>,
    /// Was a CA certificate asked for?
    pub is_ca: bool,
    /// Key usages that were asked for.
    pub key_usage: KeyUsages,
    /// Extended key usages that were asked for.
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
}

impl Expectation {
    /// What an enrolment with this key asks for.
    pub fn new(enrolment: &Enrolment, key: &PrivateKey) -> Self {
        Self::with_public_key(enrolment, key.public_key().clone())
    }

    pub(crate) fn with_public_key(enrolment: &Enrolment, public_key: PublicKey) -> Self {
        let template = &enrolment.template;
        Self {
            public_key,
            subject: template.subject.clone(),
            sans: template.sans.clone(),
            is_ca: template.is_ca,
            key_usage: template.key_usage,
            extended_key_usages: template.extended_key_usages.clone(),
        }
    }
}

/// A certificate that was checked: ours by key and names, valid, with a path to the configured anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    certificate: Certificate,
    chain: Vec<Certificate>,
    root: Option<Certificate>,
}

impl VerifiedCertificate {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its issuers, nearest first; neither the certificate itself nor a self-issued root is in it.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The anchor at the end of the path, if it is self-issued: the root for `ca.crt`.
    pub fn root(&self) -> Option<&Certificate> {
        self.root.as_ref()
    }
}

/// Checks an issued certificate against what was asked for and whom we trust.
///
/// # Errors
///
/// Class Untrusted with the first thing that is wrong; class Misconfigured if there is no anchor to check against.
pub fn issued(
    expectation: &Expectation,
    answer: &Answer,
    peer: &Peer,
    now: Timestamp,
) -> Result<VerifiedCertificate, CmpError> {
    let fault = |fault| CmpError::new(Stage::Verifying, ErrorKind::Certificate(fault));
    if peer.trust.certificates.is_empty() {
        let text = "there are no anchors to verify issued certificates with".to_owned();
        return Err(CmpError::new(Stage::Verifying, ErrorKind::Settings(text)));
    }
    let certificate = &answer.certificate;
    if certificate.public_key().spki_der() != expectation.public_key.spki_der() {
        return Err(fault(CertificateFault::OtherKey));
    }
    check_authority(expectation, certificate).map_err(fault)?;
    check_names(expectation, answer, peer.policy.name_changes).map_err(fault)?;
    check_usages(expectation, answer, peer.policy.name_changes).map_err(fault)?;
    let moment = check_validity(certificate, now).map_err(fault)?;
    let path = find_path(answer, peer, moment).map_err(fault)?;
    Ok(split_path(certificate, path))
}

/// Basic constraints and `cert sign`, whatever status the CA gave (RFC 5280, 4.2.1.3 and 4.2.1.9).
fn check_authority(expected: &Expectation, certificate: &Certificate) -> Result<(), CertificateFault> {
    let signs = |usages: KeyUsages| usages.contains(KeyUsage::KeyCertSign);
    let unasked =
        certificate.is_ca() || certificate.key_usage().is_some_and(signs) && !signs(expected.key_usage);
    match (expected.is_ca, certificate.is_ca()) {
        (true, false) => Err(CertificateFault::NoAuthority),
        (false, _) if unasked => Err(CertificateFault::Authority),
        _ => Ok(()),
    }
}

/// What was asked for must be allowed; a certificate without the extension restricts nothing.
fn check_usages(
    expected: &Expectation,
    answer: &Answer,
    policy: NameChanges,
) -> Result<(), CertificateFault> {
    if policy == NameChanges::AllIfSaid && answer.granted_with_mods {
        return Ok(());
    }
    let certificate = &answer.certificate;
    let mut missing: Vec<String> = expected
        .key_usage
        .iter()
        .filter(|usage| !certificate.permits(*usage) && !is_dispensable(*usage, expected.key_usage))
        .map(|usage| usage.word().to_owned())
        .collect();
    if let Some(found) = certificate.extended_key_usages() {
        let wanted = expected.extended_key_usages.iter();
        missing.extend(
            wanted
                .filter(|purpose| !found.contains(purpose))
                .map(ToString::to_string),
        );
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CertificateFault::Usages {
        missing: missing.join(", "),
    })
}

/// `key encipherment` beside `digital signature` is asked for by habit, and only TLS up to 1.2 with RSA key exchange ever
/// used it: many CAs no longer give it.
fn is_dispensable(usage: KeyUsage, wanted: KeyUsages) -> bool {
    usage == KeyUsage::KeyEncipherment && wanted.contains(KeyUsage::DigitalSignature)
}

fn check_names(expected: &Expectation, answer: &Answer, policy: NameChanges) -> Result<(), CertificateFault> {
    let said = answer.granted_with_mods;
    let (subject_free, sans_free) = match policy {
        NameChanges::Refuse => (false, false),
        NameChanges::SubjectIfSaid => (said, false),
        NameChanges::AllIfSaid => (said, said),
    };
    let certificate = &answer.certificate;
    if !subject_free && !certificate.subject().same_rdns(&expected.subject) {
        return Err(CertificateFault::Subject {
            expected: expected.subject.to_rfc4514(),
            found: escape(certificate.subject().to_rfc4514().as_bytes()),
        });
    }
    let found = certificate.sans();
    let missing = expected.sans.iter().filter(|san| !found.contains(san)).count();
    let added = found.iter().filter(|san| !expected.sans.contains(san)).count();
    // Names of kinds that we never ask for.
    let added = added.saturating_add(certificate.other_sans());
    if !sans_free && (missing, added) != (0, 0) {
        return Err(CertificateFault::AlternativeNames { missing, added });
    }
    Ok(())
}

/// Gives the moment at which the path is to be checked: now, or the beginning of the certificate if that is near.
fn check_validity(certificate: &Certificate, now: Timestamp) -> Result<Timestamp, CertificateFault> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    let soon = now.saturating_add(CLOCK_SKEW).unwrap_or(now);
    if not_before > soon || not_after < now || not_after < not_before {
        return Err(CertificateFault::Validity {
            not_before,
            not_after,
        });
    }
    Ok(now.max(not_before))
}

fn find_path(answer: &Answer, peer: &Peer, moment: Timestamp) -> Result<Vec<Certificate>, CertificateFault> {
    let mut pool: Vec<Certificate> = Vec::new();
    // caPubs may hold intermediate certificates as well; being in the pool gives no trust.
    for candidate in answer
        .extra
        .iter()
        .chain(&answer.ca_pubs)
        .chain(&peer.trust.untrusted)
    {
        if !pool.contains(candidate) {
            pool.push(candidate.clone());
        }
    }
    verify_chain(
        &answer.certificate,
        &pool,
        &peer.trust.certificates,
        moment,
        Purpose::AnyEku,
    )
    .map_err(CertificateFault::Chain)
}

fn split_path(certificate: &Certificate, path: Vec<Certificate>) -> VerifiedCertificate {
    let mut chain: Vec<Certificate> = path.into_iter().skip(1).collect();
    let root = chain.pop_if(|last| last.is_self_issued());
    VerifiedCertificate {
        certificate: certificate.clone(),
        chain,
        root,
    }
}
