//! Who has signed an answer?
//!
//! A signer must be bound to the claimed sender (its subject is the sender's name, its key identifier the senderKID), the
//! sender must be the one that is configured, the signature must verify, and the signer must have a path to the anchors
//! for answers. Certificates in extraCerts are candidates, nothing more.
//!
//! A signer that has passed is kept for the transaction: later answers may come without extraCerts and senderKID (Nokia
//! NCM sends such pkiConf), and the path is not searched again.

use pki::{Certificate, KeyUsage, Name, Purpose, verify_chain};

use super::unique;
use super::wire::Signer;
use crate::asn1::PkiHeader;
use crate::engine::{Context, KeyIdCheck, KeyUsageCheck, SenderCheck};
use crate::error::{ErrorKind, escape};
use crate::message::Message;
use crate::protection::verify_signature;

/// Most candidates whose key is tried. More than a handful of certificates with one name and one key identifier is an
/// attempt to keep us busy.
const MAX_CANDIDATES: usize = 4;

/// Finds the signer and checks it. `kept` is the one of earlier answers.
pub(super) fn verify(
    kept: Option<&Signer>,
    message: &Message<'_>,
    context: &Context<'_>,
) -> Result<(Signer, Vec<String>), ErrorKind> {
    let peer = context.peer;
    let expected = peer
        .expected_sender
        .as_ref()
        .or(peer.recipient.as_ref())
        .filter(|name| !name.is_empty());
    check_expected(message, expected)?;
    let sender = sender_of(&message.header)?;
    if let Some(kept) =
        kept.filter(|kept| fits(&kept.certificate, sender, &message.header, context) == Fit::Yes)
        && verify_signature(message, &kept.certificate).is_ok()
    {
        let warnings = check_usage(&kept.certificate, context)?;
        return Ok((recheck(kept, context)?, warnings));
    }
    let extra = message.extra_certs();
    let signer = find(sender, message, &extra, context)?;
    let warnings = check_usage(&signer, context)?;
    let path = path_of(
        &signer,
        extra
            .into_iter()
            .chain(peer.trust.untrusted.iter().cloned())
            .collect(),
        context,
    )?;
    Ok((
        Signer {
            certificate: signer,
            path,
            checked: true,
        },
        warnings,
    ))
}

/// Is the sender the one in the settings? Names from settings are compared by their RDNs, whatever order a tool printed
/// them in.
pub(super) fn check_expected(message: &Message<'_>, expected: Option<&Name>) -> Result<(), ErrorKind> {
    let Some(expected) = expected else { return Ok(()) };
    let found = message.header.sender.name();
    if found.is_some_and(|found| found.same_rdns(expected)) {
        return Ok(());
    }
    let found = found.map_or_else(|| "not a directory name".to_owned(), Name::to_rfc4514);
    Err(ErrorKind::WrongSender {
        expected: expected.to_rfc4514(),
        found: escape(found.as_bytes()),
    })
}

fn sender_of(header: &PkiHeader) -> Result<&Name, ErrorKind> {
    header.sender.name().ok_or(ErrorKind::NoSigner {
        reason: "sender is not a directory name",
    })
}

/// Could this certificate be the signer's?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    OtherName,
    OtherKeyId,
}

fn fits(candidate: &Certificate, sender: &Name, header: &PkiHeader, context: &Context<'_>) -> Fit {
    let policy = &context.peer.policy;
    let same_name = match policy.sender {
        SenderCheck::Exact => candidate.subject() == sender,
        SenderCheck::AnyOrder => candidate.subject().same_rdns(sender),
    };
    if !same_name {
        return Fit::OtherName;
    }
    let Some(kid) = header
        .sender_kid
        .as_ref()
        .filter(|_| policy.key_id == KeyIdCheck::Strict)
    else {
        return Fit::Yes;
    };
    let same_key = match candidate.ski() {
        Some(ski) => ski == kid.as_bytes(),
        // No extension to compare with: the usual identifier (RFC 5280, 4.2.1.2).
        None => candidate.public_key().key_id_sha1() == kid.as_bytes(),
    };
    if same_key { Fit::Yes } else { Fit::OtherKeyId }
}

/// The first candidate whose key verifies the signature.
fn find(
    sender: &Name,
    message: &Message<'_>,
    extra: &[Certificate],
    context: &Context<'_>,
) -> Result<Certificate, ErrorKind> {
    let trust = &context.peer.trust;
    let all = extra
        .iter()
        .chain(&trust.untrusted)
        .chain(trust.responses.certificates());
    let mut tried: Vec<&Certificate> = Vec::new();
    let mut failure = ErrorKind::NoSigner {
        reason: "no certificate has the sender's name",
    };
    for candidate in all {
        match fits(candidate, sender, &message.header, context) {
            Fit::Yes if tried.contains(&candidate) => {}
            Fit::Yes if tried.len() >= MAX_CANDIDATES => break,
            Fit::Yes => match verify_signature(message, candidate) {
                Ok(()) => return Ok(candidate.clone()),
                Err(error) => {
                    failure = error;
                    tried.push(candidate);
                }
            },
            Fit::OtherKeyId if tried.is_empty() => failure = ErrorKind::WrongSenderKeyId,
            Fit::OtherKeyId | Fit::OtherName => {}
        }
    }
    Err(failure)
}

/// digitalSignature is not insisted upon by default: many CAs sign with the key that signs certificates.
fn check_usage(signer: &Certificate, context: &Context<'_>) -> Result<Vec<String>, ErrorKind> {
    const REASON: &str = "its key usage lacks digitalSignature";
    match context.peer.policy.key_usage {
        _ if signer.permits(KeyUsage::DigitalSignature) => Ok(Vec::new()),
        KeyUsageCheck::Warn => Ok(vec![format!("signer of the answer: {REASON}")]),
        KeyUsageCheck::Strict => Err(ErrorKind::SignerUsage { reason: REASON }),
    }
}

/// No extended key usage is insisted upon (RFC 9810, 4.5).
fn path_of(
    signer: &Certificate,
    pool: Vec<Certificate>,
    context: &Context<'_>,
) -> Result<Vec<Certificate>, ErrorKind> {
    let anchors = &context.peer.trust.responses;
    verify_chain(signer, &unique(pool), anchors, context.now, Purpose::AnyEku)
        .map_err(ErrorKind::SignerUntrusted)
}

/// A signer whose path this process has checked is good for the transaction, as long as nobody in it has expired. One
/// that was read from a store is checked anew, with today's anchors.
fn recheck(kept: &Signer, context: &Context<'_>) -> Result<Signer, ErrorKind> {
    let valid = |c: &Certificate| (c.not_before()..=c.not_after()).contains(&context.now);
    if kept.checked && kept.path.iter().all(valid) {
        return Ok(kept.clone());
    }
    let path = path_of(&kept.certificate, kept.path.clone(), context)?;
    Ok(Signer {
        certificate: kept.certificate.clone(),
        path,
        checked: true,
    })
}
