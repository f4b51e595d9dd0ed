//! The last step: faults of the wire.

use std::time::Duration;

use crate::{CMP_MEDIA_TYPE, Delivery, FaultKind, Reply, faults::Struck};

const PAGE: &str = "<!DOCTYPE html><html><head><title>Service Unavailable</title></head>\
                    <body><h1>Service Unavailable</h1><p>Please try again later.</p></body></html>\n";
/// Longest answer that a fault can ask for.
const MAX_OVERSIZED: usize = 64 * 1024 * 1024;

/// The reply to a request that is not looked at.
pub(super) fn instead_of_work(struck: &Struck) -> Option<Reply> {
    let delivery = struck.iter().find_map(|fault| match fault {
        FaultKind::Down => Some(Delivery::Down),
        FaultKind::DropBefore => Some(Delivery::Dropped),
        FaultKind::HttpError { status } => Some(Delivery::Answer {
            status: *status,
            content_type: "text/html; charset=utf-8",
            body: PAGE.as_bytes().to_vec(),
        }),
        _ => None,
    })?;
    Some(reply(delivery, struck))
}

/// The reply with this message, or what the wire makes of it.
pub(super) fn deliver(message: Vec<u8>, struck: &Struck) -> Reply {
    let mut body = message;
    for fault in struck.iter() {
        match fault {
            FaultKind::DropAnswer => return reply(Delivery::Dropped, struck),
            FaultKind::Garbage => body = b"this is not the DER you are looking for".to_vec(),
            FaultKind::Truncate => body.truncate(body.len() / 2),
            FaultKind::Oversized { bytes } => body.resize(body.len().max((*bytes).min(MAX_OVERSIZED)), 0),
            _ => {}
        }
    }
    reply(
        Delivery::Answer {
            status: 200,
            content_type: CMP_MEDIA_TYPE,
            body,
        },
        struck,
    )
}

/// The reply to what is no message: there is no header to answer to.
pub(super) fn undecodable(reason: &str, struck: &Struck) -> Reply {
    if struck.has(&FaultKind::DropAnswer) {
        return reply(Delivery::Dropped, struck);
    }
    let body = format!("this is no PKIMessage: {reason}\n").into_bytes();
    reply(
        Delivery::Answer {
            status: 400,
            content_type: "text/plain; charset=utf-8",
            body,
        },
        struck,
    )
}

fn reply(delivery: Delivery, struck: &Struck) -> Reply {
    let mut reply = Reply {
        delivery,
        delay: Duration::ZERO,
        date_skew: 0,
    };
    for fault in struck.iter() {
        match fault {
            FaultKind::Delay { millis } => reply.delay += Duration::from_millis(*millis),
            FaultKind::DateSkew { seconds } | FaultKind::ClockSkew { seconds } => {
                reply.date_skew = reply.date_skew.saturating_add(*seconds)
            }
            _ => {}
        }
    }
    reply
}
