//! Text about a CMP message: its header, its body's kind, what the peer said.

use std::fmt::Write;

use cmp::asn1::{GeneralName, PkiBody, PkiStatusInfo};
use cmp::{Limits, Message, PeerStatus};
use pki::digest::hex;

/// Text for people about a CMP message; `None` if the bytes are none.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let message = Message::decode(bytes, &Limits::default()).ok()?;
    let header = &message.header;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<16}{value}");
    };
    line("pvno", header.pvno.to_string());
    line("body", message.body.name().to_owned());
    line("sender", name(&header.sender));
    line("recipient", name(&header.recipient));
    if let Some(time) = &header.message_time {
        line("messageTime", format!("{time:?}"));
    }
    line(
        "protection",
        if message.has_protection() {
            "yes, not verified here"
        } else {
            "none"
        }
        .to_owned(),
    );
    if let Some(kid) = &header.sender_kid {
        line("senderKID", cmp::error::escape(kid.as_bytes()));
    }
    if let Some(id) = message.transaction_id() {
        line("transactionID", hex(id));
    }
    if let Some(nonce) = &header.sender_nonce {
        line("senderNonce", hex(nonce.as_bytes()));
    }
    if let Some(nonce) = &header.recip_nonce {
        line("recipNonce", hex(nonce.as_bytes()));
    }
    line("extraCerts", message.extra_certs_der().len().to_string());
    for status in statuses(&message.body) {
        line("status", PeerStatus::new(status, None).to_string());
    }
    let certificates: String = message
        .extra_certs()
        .iter()
        .map(pki::inspect::certificate)
        .collect::<Vec<_>>()
        .join("\n");
    Some(format!("CMP message (RFC 9810)\n{text}{certificates}"))
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
