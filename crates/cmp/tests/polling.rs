//! Waiting for the CA: polls for everything, across restarts, and not for ever.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use std::time::Duration;

use cmp::asn1::{GeneralTime, PkiBody};
use cmp::{Class, Credentials, EnrolmentKind, ErrorKind, Stage, Step, Transaction};
use jiff::SignedDuration;
use support::*;

const KIND: EnrolmentKind = EnrolmentKind::Initialization;

fn begin(world: &World, credentials: &Credentials) -> Transaction {
    Transaction::begin(&world.request(KIND), &world.context(credentials)).unwrap()
}
fn kinds(world: &World) -> Vec<EnrolmentKind> {
    vec![
        EnrolmentKind::Initialization,
        EnrolmentKind::Certification,
        EnrolmentKind::KeyUpdate {
            old: Box::new(world.own.clone()),
        },
        EnrolmentKind::Pkcs10,
    ]
}
/// Waiting in every place where it may happen: the answer, by its certReqId or as a whole; the confirmation.
#[test]
fn polling_works_for_answers_and_confirmations_across_restarts() {
    let world = World::new();
    let credentials = world.signature();
    for kind in kinds(&world) {
        for (first, id) in [(rep_for(&kind, waiting(0)), 0), (error_waiting(), -1)] {
            let mut transaction =
                Transaction::begin(&world.request(kind.clone()), &world.context(&credentials)).unwrap();
            poll(&world, &credentials, &mut transaction, first, id);
            let step = world
                .answer(&mut transaction, &credentials, world.granted(&kind))
                .unwrap();
            let answer = issued(step);
            let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
            transaction
                .accept(&verified, &world.context(&credentials))
                .unwrap();
            poll(&world, &credentials, &mut transaction, error_waiting(), -1);
            let step = world.answer(&mut transaction, &credentials, pki_conf()).unwrap();
            assert_eq!(step, Step::Done(cmp::Outcome::Confirmed));
        }
    }
}

/// A delayed answer may answer the poll, or the message that was polled for (RFC 9483, 4.4).
#[test]
fn delayed_answer_may_carry_the_nonce_of_the_first_request_and_an_old_time() {
    let world = World::new();
    let credentials = world.signature();
    let kind = EnrolmentKind::Initialization;
    let mut transaction =
        Transaction::begin(&world.request(kind.clone()), &world.context(&credentials)).unwrap();
    let delayed = world.reply(
        transaction.outgoing().unwrap(),
        &credentials,
        world.granted(&kind),
    );
    world
        .answer(&mut transaction, &credentials, error_waiting())
        .unwrap();
    let later = world.context_at(&credentials, now() + SignedDuration::from_hours(2));
    issued(transaction.receive(&delayed.der(), &later).unwrap());
}

#[test]
fn poll_answers_for_something_else_are_refused() {
    let world = World::new();
    let credentials = world.mac();
    let entry = |id| cmp::asn1::PollRepEntry {
        cert_req_id: id,
        check_after: 1,
        reason: None,
    };
    for entries in [vec![], vec![entry(7)], vec![entry(0), entry(0)]] {
        let mut transaction = begin(&world, &credentials);
        world
            .answer(&mut transaction, &credentials, rep_for(&KIND, waiting(0)))
            .unwrap();
        let error = world
            .answer(&mut transaction, &credentials, PkiBody::PollRep(entries))
            .unwrap_err();
        assert!(matches!(error.kind, ErrorKind::WrongAnswer { .. }));
        assert_eq!(transaction.stage(), Stage::Polling);
    }
}

#[test]
fn waits_are_clamped_whatever_the_ca_says() {
    let world = World::new();
    let credentials = world.mac();
    for (said, seconds) in [
        (60, 60),
        (0, 1),
        (-5, 1),
        (3600, 3600),
        (3601, 3600),
        (i64::MAX, 3600),
        (i64::MIN, 1),
    ] {
        let mut transaction = begin(&world, &credentials);
        world
            .answer(&mut transaction, &credentials, rep_for(&KIND, waiting(0)))
            .unwrap();
        let step = world
            .answer(&mut transaction, &credentials, poll_rep(0, said))
            .unwrap();
        assert_eq!(
            step,
            Step::Wait {
                until: now() + SignedDuration::from_secs(seconds)
            },
            "{said}"
        );
    }
}

#[test]
fn polling_ends_after_the_number_of_polls() {
    let mut world = World::new();
    world.peer.limits.polls = 5;
    let credentials = world.mac();
    let mut transaction = begin(&world, &credentials);
    world
        .answer(&mut transaction, &credentials, error_waiting())
        .unwrap();
    let mut at = now();
    for _ in 0..100 {
        let context = world.context_at(&credentials, at);
        let reply = world
            .reply(transaction.outgoing().unwrap(), &credentials, error_waiting())
            .with(|reply| reply.header.message_time = Some(GeneralTime::from_timestamp(at)));
        // Error messages with waiting in answer to polls: no checkAfter, so the shortest wait.
        let Step::Wait { until } = transaction.receive(&reply.der(), &context).unwrap() else {
            panic!()
        };
        assert_eq!(until, at + SignedDuration::from_secs(1));
        at = until;
        transaction = restart(&transaction);
        if let Err(error) = transaction.prepare(&world.context_at(&credentials, at)) {
            assert_eq!(error.kind, ErrorKind::WaitedTooLong { polls: 5, seconds: 5 });
            assert_eq!(error.class, Class::Retry);
            assert!(transaction.is_over());
            return;
        }
    }
    panic!("polling never ended");
}

#[test]
fn polling_ends_after_the_total_time() {
    let mut world = World::new();
    world.peer.limits.total_time = Duration::from_secs(3600);
    let credentials = world.mac();
    let mut transaction = begin(&world, &credentials);
    world
        .answer(&mut transaction, &credentials, rep_for(&KIND, waiting(0)))
        .unwrap();
    world
        .answer(&mut transaction, &credentials, poll_rep(0, 60))
        .unwrap();
    let late = now() + SignedDuration::from_secs(3601);
    let error = transaction
        .prepare(&world.context_at(&credentials, late))
        .unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::WaitedTooLong { polls: 1, .. }),
        "{error}"
    );
}
