//! Text about a CMP message: its header, its body's kind, what the peer said.

use cmp::asn1::{GeneralName, PkiBody, PkiStatusInfo};
use cmp::{Limits, Message, PeerStatus};
use pki::Certificate;
use pki::digest::hex;

/// Names and values, in the order in which they are shown.
pub(super) type Facts = Vec<(&'static str, String)>;

/// What is to be said about a CMP message, and the certificates beside it; `None` if the bytes are no message.
pub(super) fn facts(bytes: &[u8]) -> Option<(Facts, Vec<Certificate>)> {
    let message = Message::decode(bytes, &Limits::default()).ok()?;
    let header = &message.header;
    let mut facts = vec![
        ("pvno", header.pvno.to_string()),
        ("body", message.body.name().to_owned()),
        ("sender", name(&header.sender)),
        ("recipient", name(&header.recipient)),
    ];
    let time = header.message_time.as_ref().map(|time| match time.timestamp() {
        Some(time) => time.to_string(),
        None => "not a UTC time".to_owned(),
    });
    let protection = if message.has_protection() {
        "yes, not verified here"
    } else {
        "none"
    };
    let hex_of = |bytes: Option<&[u8]>| bytes.map(hex);
    let optional = [
        ("messageTime", time),
        ("protection", Some(protection.to_owned())),
        (
            "senderKID",
            header
                .sender_kid
                .as_ref()
                .map(|kid| cmp::error::escape(kid.as_bytes())),
        ),
        ("transactionID", hex_of(message.transaction_id())),
        (
            "senderNonce",
            hex_of(header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes())),
        ),
        (
            "recipNonce",
            hex_of(header.recip_nonce.as_ref().map(|nonce| nonce.as_bytes())),
        ),
        ("extraCerts", Some(message.extra_certs_der().len().to_string())),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    for status in statuses(&message.body) {
        facts.push(("status", PeerStatus::new(status, None).to_string()));
    }
    Some((facts, message.extra_certs()))
}

/// Text for people about a CMP message; `None` if the bytes are none.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let (facts, certificates) = facts(bytes)?;
    let lines: String = facts
        .iter()
        .map(|(name, value)| format!("  {name:<16}{value}\n"))
        .collect();
    let certificates: Vec<String> = certificates.iter().map(pki::inspect::certificate).collect();
    Some(format!(
        "CMP message (RFC 9810)\n{lines}{}",
        certificates.join("\n")
    ))
}

fn name(name: &GeneralName) -> String {
    match name {
        GeneralName::Directory(name) => cmp::error::escape(name.0.to_rfc4514().as_bytes()),
        GeneralName::Uri(uri) => cmp::error::escape(uri),
        GeneralName::Other(..) => "(not a directory name)".to_owned(),
    }
}

fn statuses(body: &PkiBody) -> Vec<&PkiStatusInfo> {
    match body {
        PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content) => {
            content.response.iter().map(|response| &response.status).collect()
        }
        PkiBody::Rp(content) => content.status.iter().collect(),
        PkiBody::Error(content) => vec![&content.status],
        _ => Vec::new(),
    }
}
