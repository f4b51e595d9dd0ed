//! Whatever comes in, the CA answers and stays in one piece.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::sync::{Arc, OnceLock};

use cmp::{Limits, Message};
use devca::{Config, Delivery, DevCa};
use proptest::prelude::*;
use support::*;

/// A CA and one good message of every kind.
fn bed() -> &'static (Arc<DevCa>, Vec<Vec<u8>>) {
    static BED: OnceLock<(Arc<DevCa>, Vec<Vec<u8>>)> = OnceLock::new();
    BED.get_or_init(|| {
        let config = Config {
            ledger_limit: Some(100),
            transaction_limit: 100,
            ..config()
        };
        let ca = ca_with(config);
        let identity = Client::mac(&ca).enrol("CN=device");
        let mut messages = Vec::new();
        for body in [
            kur(&identity.certificate),
            ir("CN=a"),
            genm(),
            poll(0),
            confirm(&identity.certificate, None),
        ] {
            messages.push(Client::signed(&ca, &identity).encode(body));
        }
        messages.push(Client::mac(&ca).implicit().encode(ir("CN=a,O=b")));
        (ca, messages)
    })
}

/// The answer is a page that says what is wrong, or a message that can be read.
fn is_answered(ca: &DevCa, request: &[u8]) {
    match ca.respond(request, start()).delivery {
        Delivery::Answer {
            status: 200, body, ..
        } => drop(Message::decode(&body, &Limits::default()).unwrap()),
        Delivery::Answer {
            status: 400, body, ..
        } => assert!(!body.is_empty()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        is_answered(&bed().0, &bytes);
    }

    #[test]
    fn damaged_messages_are_answered(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let (ca, messages) = bed();
        let mut message = messages[which].clone();
        for (index, value) in changes {
            let at = index.index(message.len());
            message[at] = value;
        }
        if is_cut {
            message.truncate(cut.index(message.len()));
        }
        is_answered(ca, &message);
    }

    /// Damage below the protection: the message is signed after it was changed.
    #[test]
    fn strange_bodies_under_a_good_protection_are_answered(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        use cmp::asn1::{PkiBody, der::{Decode, Encode}};
        let (ca, messages) = bed();
        let body = Message::decode(&messages[which], &Limits::default()).unwrap().body;
        let mut bytes = body.to_der().unwrap();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let Ok(body) = PkiBody::from_der(&bytes) else { return Ok(()) };
        is_answered(ca, &Client::mac(ca).encode(body));
    }
}

#[test]
fn many_clients_at_once_get_one_certificate_each() {
    let ca = ca();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    Client::mac(&ca).enrol("CN=a");
                }
            });
        }
    });
    let stats = ca.ledger().stats(start());
    assert_eq!((stats.issued, stats.confirmed, stats.refused), (160, 160, 0));
}

#[test]
fn one_request_that_comes_many_times_at_once_is_served_once() {
    let ca = ca();
    let request = Client::mac(&ca).implicit().encode(ir("CN=a"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| is_answered(&ca, &request));
        }
    });
    assert_eq!(ca.ledger().stats(start()).issued, 1);
}
