//! Is the header in order (RFC 9483, 3.5)?

use cmp::asn1::{PkiHeader, der::asn1::OctetString};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Policy,
    refusal::{Failure, Refusal},
};

/// Shortest transactionID and senderNonce (RFC 9810, 5.1.1: 128 bits).
const MIN_RANDOM_BYTES: usize = 16;
/// Longest of both: more makes no sense and would cost memory.
const MAX_RANDOM_BYTES: usize = 64;

pub(super) fn check(header: &PkiHeader, policy: &Policy, now: Timestamp) -> Result<(), Refusal> {
    if !matches!(header.pvno, 2 | 3) {
        return Err(Refusal::new(
            Failure::UnsupportedVersion,
            "versions 2 and 3 are spoken",
        ));
    }
    let sane = |value: &Option<OctetString>| {
        value
            .as_ref()
            .is_some_and(|bytes| (MIN_RANDOM_BYTES..=MAX_RANDOM_BYTES).contains(&bytes.as_bytes().len()))
    };
    if !sane(&header.transaction_id) {
        return Err(Refusal::new(
            Failure::BadDataFormat,
            "transactionID must have 16 to 64 bytes",
        ));
    }
    if !sane(&header.sender_nonce) {
        return Err(Refusal::new(
            Failure::BadSenderNonce,
            "senderNonce must have 16 to 64 bytes",
        ));
    }
    check_time(header, policy, now)
}

fn check_time(header: &PkiHeader, policy: &Policy, now: Timestamp) -> Result<(), Refusal> {
    let Some(time) = &header.message_time else {
        return Ok(());
    };
    let window = SignedDuration::from_secs(i64::try_from(policy.time_window_seconds).unwrap_or(i64::MAX));
    match time.timestamp() {
        Some(time) if now.duration_since(time).abs() <= window => Ok(()),
        Some(_) => Err(Refusal::new(
            Failure::BadTime,
            "messageTime is too far from the time of this CA",
        )),
        None => Err(Refusal::new(Failure::BadDataFormat, "messageTime is no time")),
    }
}
