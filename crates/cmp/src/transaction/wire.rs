//! What a native transaction carries from message to message.

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use pki::Certificate;
use pki::digest::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ErrorKind;
use crate::message::NONCE_BYTES;

/// The version of the serialised form. Another one is refused when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version;

const VERSION: u32 = 1;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            other => Err(serde::de::Error::custom(format!(
                "unknown version {other} of a transaction"
            ))),
        }
    }
}

/// Bytes that are serialised as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Longest byte string that is read back: the base64 of the largest message that is ever kept.
const MAX_BASE64: usize = 2 * 1024 * 1024;

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > MAX_BASE64 {
            return Err(serde::de::Error::custom("byte string is too long"));
        }
        Base64::decode_vec(&text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("byte string is not base64"))
    }
}

/// 128 random bits: a nonce or a transactionID (RFC 9810, 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce(pub(super) [u8; NONCE_BYTES]);

impl Nonce {
    pub(super) fn random() -> Result<Self, ErrorKind> {
        let mut bytes = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| pki::Error::Crypto { step: "random nonce" })?;
        Ok(Self(bytes))
    }

    pub(super) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        pki::digest::from_hex(&text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("nonce is not 32 hexadecimal digits"))
    }
}

/// Nonces, the outgoing bytes, the signer: what the next message needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    /// senderNonce of the last message we made.
    pub(super) nonce: Nonce,
    /// senderNonce of the message whose answer is polled for: a delayed answer may carry it (RFC 9483, 4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) polled_nonce: Option<Nonce>,
    /// The peer's last senderNonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer_nonce: Option<Bytes>,
    /// Salt of our MAC; its parameters stay the same for the transaction (RFC 9810, 5.1.3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mac_salt: Option<Bytes>,
    /// Who has signed the answers so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signer: Option<Signer>,
    /// Number of polls so far.
    pub(super) polls: u32,
    /// The bytes to send.
    outgoing: Bytes,
    /// Their messageTime.
    outgoing_since: Timestamp,
}

/// A signer with a path to the anchors: later answers may come without extraCerts and senderKID.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Signer {
    pub(super) certificate: Certificate,
    /// The path that was found, as a pool for finding it again.
    pub(super) path: Vec<Certificate>,
    /// Was the path checked by this process? One that was read from a file or a Secret was not.
    #[serde(skip)]
    pub(super) checked: bool,
}

impl Wire {
    pub(super) fn new(nonce: Nonce, mac_salt: Option<Vec<u8>>, outgoing: Vec<u8>, now: Timestamp) -> Self {
        Self {
            nonce,
            polled_nonce: None,
            peer_nonce: None,
            mac_salt: mac_salt.map(Bytes),
            signer: None,
            polls: 0,
            outgoing: Bytes(outgoing),
            outgoing_since: now,
        }
    }

    pub(super) fn outgoing(&self) -> &[u8] {
        &self.outgoing.0
    }

    pub(super) fn outgoing_since(&self) -> Timestamp {
        self.outgoing_since
    }

    /// The next message.
    pub(super) fn replace_outgoing(&mut self, nonce: Nonce, bytes: Vec<u8>, now: Timestamp) {
        self.nonce = nonce;
        self.outgoing = Bytes(bytes);
        self.outgoing_since = now;
    }
}
