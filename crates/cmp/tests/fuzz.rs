//! Whatever bytes come: no panic, no change of the transaction, no certificate out of nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use std::sync::LazyLock;

use cmp::asn1::{PkiBody, PkiMessage, decode, encode};
use cmp::protection::{MacParameters, verify_mac, verify_signature};
use cmp::{Credentials, EnrolmentKind, Limits, Message, Transaction};
use proptest::prelude::*;
use support::*;

const KIND: EnrolmentKind = EnrolmentKind::Initialization;

struct Sample {
    world: World,
    credentials: Vec<Credentials>,
    /// A transaction that waits for its answer, and answers to it, right and wrong.
    transactions: Vec<(Transaction, Vec<Vec<u8>>)>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let world = World::new();
    let credentials = vec![world.mac(), world.signature()];
    let transactions = credentials
        .iter()
        .map(|credentials| {
            let transaction = Transaction::begin(&world.request(KIND), &world.context(credentials)).unwrap();
            let outgoing = transaction.outgoing().unwrap();
            let bodies = [
                world.granted(&KIND),
                error_waiting(),
                rep_for(&KIND, rejected(0, "badRequest", "no")),
                rep_for(&KIND, waiting(0)),
                poll_rep(0, 5),
                pki_conf(),
            ];
            let mut answers: Vec<Vec<u8>> = bodies
                .into_iter()
                .map(|body| world.reply(outgoing, credentials, body).der())
                .collect();
            answers.push(outgoing.to_vec());
            (transaction, answers)
        })
        .collect();
    Sample {
        world,
        credentials,
        transactions,
    }
});

/// Every door that bytes from outside go through.
fn try_everything(bytes: &[u8]) {
    let sample = &*SAMPLE;
    let limits = Limits::default();
    if let Ok(message) = Message::decode(bytes, &limits) {
        let _ = verify_mac(&message, &pki::Secret::from(SECRET.to_owned()), &limits);
        let _ = verify_signature(&message, &sample.world.signer);
        let _ = message.extra_certs();
        let _ = message.header.confirm_wait_time();
        let _ = message.header.cert_profiles();
        if let Some(algorithm) = &message.header.protection_alg {
            let _ = MacParameters::from_identifier(algorithm, &limits);
        }
    }
    for ((transaction, _), credentials) in sample.transactions.iter().zip(&sample.credentials) {
        let mut transaction = transaction.clone();
        let before = transaction.outgoing().map(<[u8]>::to_vec);
        let result = transaction.receive(bytes, &sample.world.context(credentials));
        if result.is_err() && !transaction.is_over() {
            assert_eq!(transaction.outgoing().map(<[u8]>::to_vec), before);
        }
    }
}

/// Is it one of the answers, byte by byte? Only such are ever taken.
fn is_genuine(bytes: &[u8]) -> bool {
    SAMPLE
        .transactions
        .iter()
        .any(|(_, answers)| answers.iter().any(|answer| answer == bytes))
}

fn sample_message() -> impl Strategy<Value = Vec<u8>> {
    (0..2usize, 0..7usize)
        .prop_map(|(credentials, answer)| SAMPLE.transactions[credentials].1[answer].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        try_everything(&bytes);
        // With a plausible beginning, so that the inner decoders are reached.
        let mut framed = vec![0x30, 0x82];
        framed.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend(&bytes);
        try_everything(&framed);
    }

    #[test]
    fn mutated_messages_never_panic_and_are_never_taken(
        mut message in sample_message(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (at, value) in changes {
            let at = at.index(message.len());
            message[at] = value;
        }
        try_everything(&message);
        if !is_genuine(&message) {
            let world = &SAMPLE.world;
            for ((transaction, _), credentials) in SAMPLE.transactions.iter().zip(&SAMPLE.credentials) {
                let mut transaction = transaction.clone();
                let result = transaction.receive(&message, &world.context(credentials));
                // extraCerts and the padding of the answer are not protected; everything that is taken must still be
                // one of the CA's decisions.
                if let Ok(step) = result {
                    let protected = Message::decode(&message, &Limits::default()).unwrap().protected_part();
                    let known = SAMPLE.transactions.iter().flat_map(|(_, answers)| answers).any(|answer| {
                        Message::decode(answer, &Limits::default()).unwrap().protected_part() == protected
                    });
                    prop_assert!(known, "{step:?}");
                }
            }
        }
    }

    #[test]
    fn cut_and_glued_messages_never_panic(
        one in sample_message(),
        two in sample_message(),
        at in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
    ) {
        let at = at.index(one.len());
        let mut message = one[..at].to_vec();
        message.extend(&two[length.index(two.len())..]);
        try_everything(&message);
    }

    #[test]
    fn stored_transactions_with_changed_bytes_never_panic(
        at in any::<prop::sample::Index>(),
        value in 0x20u8..0x7f,
        which in 0..2usize,
    ) {
        let (transaction, answers) = &SAMPLE.transactions[which];
        let mut json = serde_json::to_vec(transaction).unwrap();
        let at = at.index(json.len());
        json[at] = value;
        if let Ok(mut transaction) = serde_json::from_slice::<Transaction>(&json) {
            let context = SAMPLE.world.context(&SAMPLE.credentials[which]);
            for answer in answers {
                let _ = transaction.receive(answer, &context);
                let _ = transaction.prepare(&context);
                let _ = transaction.expectation();
            }
        }
    }
}

#[test]
fn our_own_messages_decode_and_encode_to_the_same_bytes() {
    for (_, answers) in &SAMPLE.transactions {
        for der in answers {
            let message: PkiMessage = decode("PKIMessage", der).unwrap();
            assert_eq!(&encode("PKIMessage", &message).unwrap(), der);
        }
    }
}

/// Deep nesting is the classical way to use up a parser's stack.
#[test]
fn deep_nesting_is_refused_without_overflow() {
    let mut bytes = vec![0x30, 0];
    for _ in 0..20_000 {
        let mut outer = vec![0x30, 0x83];
        outer.extend(&u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..]);
        outer.append(&mut bytes);
        bytes = outer;
        if bytes.len() > 100_000 {
            break;
        }
    }
    try_everything(&bytes);
    let body = PkiBody::Other(20, der::Any::new(der::Tag::Sequence, bytes).unwrap());
    let sample = &*SAMPLE;
    let outgoing = sample.transactions[0].0.outgoing().unwrap();
    try_everything(&sample.world.reply(outgoing, &sample.credentials[0], body).der());
}
