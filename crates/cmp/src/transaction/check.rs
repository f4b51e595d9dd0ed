//! Is this answer for us, and who vouches for it? (RFC 9483, 3.5; RFC 9810, 5.1.1 and 5.1.3)
//!
//! ```text
//!   transactionID ──► recipNonce, senderNonce ──► kind of protection ──► MAC or signature and signer ──► messageTime, pvno
//! ```
//!
//! The cheap checks come first. A MAC never replaces a required signature: which kinds are allowed follows from our own
//! credentials and the policy, never from the message.

use std::time::Duration;

use pki::constant_time_eq;

use super::signer;
use super::wire::{Bytes, Nonce, Wire};
use crate::asn1::PkiBody;
use crate::engine::{Context, MacResponse, MessageTimeCheck};
use crate::error::{ErrorKind, FieldFault};
use crate::message::{Message, NONCE_BYTES};
use crate::protection::{Credentials, ProtectionKind, verify_mac};

/// What an authenticated answer leaves behind.
pub(super) struct Authentic {
    /// The nonce for our next message.
    pub(super) peer_nonce: Bytes,
    /// The signer, if it was signed.
    pub(super) signer: Option<super::wire::Signer>,
    /// Oddities that policy let pass.
    pub(super) warnings: Vec<String>,
}

/// Checks everything about a message but its contents.
pub(super) fn authenticate(
    id: Nonce,
    wire: &Wire,
    message: &Message<'_>,
    context: &Context<'_>,
    started: jiff::Timestamp,
) -> Result<Authentic, ErrorKind> {
    check_transaction(id, message)?;
    check_recipient_nonce(wire, message)?;
    let peer_nonce = sender_nonce(message)?;
    let (signer, warnings) = check_protection(wire, message, context)?;
    check_time(message, context, wire, started)?;
    check_version(message)?;
    Ok(Authentic {
        peer_nonce,
        signer,
        warnings,
    })
}

fn check_transaction(id: Nonce, message: &Message<'_>) -> Result<(), ErrorKind> {
    match message.transaction_id() {
        None => Err(ErrorKind::TransactionId(FieldFault::Missing)),
        Some(found) if constant_time_eq(found, &id.0) => Ok(()),
        Some(_) => Err(ErrorKind::TransactionId(FieldFault::Different)),
    }
}

/// recipNonce is the senderNonce of the message that is answered. A delayed answer may be to the message that was
/// polled for (RFC 9483, 4.4); both are fresh random values of this transaction.
fn check_recipient_nonce(wire: &Wire, message: &Message<'_>) -> Result<(), ErrorKind> {
    let Some(found) = &message.header.recip_nonce else {
        return Err(ErrorKind::RecipientNonce(FieldFault::Missing));
    };
    let is = |nonce: &Nonce| constant_time_eq(found.as_bytes(), &nonce.0);
    if is(&wire.nonce) || wire.polled_nonce.as_ref().is_some_and(is) {
        return Ok(());
    }
    let short = found.as_bytes().len() < NONCE_BYTES;
    Err(ErrorKind::RecipientNonce(if short {
        FieldFault::Short
    } else {
        FieldFault::Different
    }))
}

fn sender_nonce(message: &Message<'_>) -> Result<Bytes, ErrorKind> {
    match &message.header.sender_nonce {
        None => Err(ErrorKind::SenderNonce(FieldFault::Missing)),
        Some(nonce) if nonce.as_bytes().len() < NONCE_BYTES => Err(ErrorKind::SenderNonce(FieldFault::Short)),
        Some(nonce) => Ok(Bytes(nonce.as_bytes().to_vec())),
    }
}

type Checked = (Option<super::wire::Signer>, Vec<String>);

fn check_protection(wire: &Wire, message: &Message<'_>, context: &Context<'_>) -> Result<Checked, ErrorKind> {
    let found = ProtectionKind::of(&message.header);
    let wrong = |expected| ErrorKind::WrongProtection {
        expected,
        found: found.name(),
    };
    if !message.has_protection() {
        return Err(ErrorKind::Unprotected);
    }
    match (context.credentials, found, context.peer.policy.mac_response) {
        (_, ProtectionKind::None, _) => Err(ErrorKind::Unprotected),
        (Credentials::Signature { .. }, ProtectionKind::Mac, _) => Err(wrong("signature")),
        (Credentials::Mac { .. }, ProtectionKind::Signature, MacResponse::MacOnly) => Err(wrong("MAC")),
        (Credentials::Mac { secret, .. }, ProtectionKind::Mac, _) => {
            signer::check_expected(message, context.peer.expected_sender.as_ref())?;
            verify_mac(message, secret, &context.peer.limits)?;
            Ok((None, Vec::new()))
        }
        (_, ProtectionKind::Signature, _) => {
            let (signer, warnings) = signer::verify(wire.signer.as_ref(), message, context)?;
            Ok((Some(signer), warnings))
        }
    }
}

/// messageTime (RFC 9483, 3.5). A delayed answer may have been made at any time since the transaction began.
fn check_time(
    message: &Message<'_>,
    context: &Context<'_>,
    wire: &Wire,
    started: jiff::Timestamp,
) -> Result<(), ErrorKind> {
    let (MessageTimeCheck::Within(window), Some(field)) =
        (context.peer.policy.message_time, &message.header.message_time)
    else {
        return Ok(());
    };
    let Some(time) = field.timestamp() else {
        let reason = "not a UTC time".to_owned();
        return Err(ErrorKind::Malformed {
            what: "messageTime",
            reason,
        });
    };
    let window = i64::try_from(window.min(Duration::from_secs(1 << 40)).as_secs()).unwrap_or(i64::MAX);
    let earliest = if wire.polled_nonce.is_some() {
        started
    } else {
        context.now
    };
    let ahead = time.as_second().saturating_sub(context.now.as_second());
    let behind = earliest.as_second().saturating_sub(time.as_second());
    if ahead > window || behind > window {
        return Err(ErrorKind::MessageTime { seconds: ahead });
    }
    Ok(())
}

/// Version 1 is understood in error messages only: some servers answer so when they do not like a request (RFC 9810,
/// 7.1.1).
fn check_version(message: &Message<'_>) -> Result<(), ErrorKind> {
    match (message.header.pvno, &message.body) {
        (2 | 3, _) | (1, PkiBody::Error(_)) => Ok(()),
        (found, _) => Err(ErrorKind::Version { found }),
    }
}
