//! Transactions in the hands of an external program: one start, one answer, no resumption.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use cmp::engine::RefusalKnown;
use cmp::{Answer, CmpError, EnrolmentKind, ErrorKind, Outcome, Step, Transaction};
use support::*;

fn answer(world: &World) -> Answer {
    Answer {
        certificate: world.issue(),
        extra: Vec::new(),
        ca_pubs: Vec::new(),
        granted_with_mods: false,
        text: String::new(),
        confirm_by: None,
        warnings: Vec::new(),
    }
}

fn begin(world: &World) -> Transaction {
    let credentials = world.signature();
    let request = world.request(EnrolmentKind::Initialization);
    Transaction::external(&request, &world.context(&credentials)).unwrap()
}

fn is_state_error<T: std::fmt::Debug>(result: Result<T, CmpError>) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::State(_)), "{error}");
}

#[test]
fn program_is_started_once_also_over_a_restart() {
    let world = World::new();
    let mut transaction = begin(&world);
    assert_eq!(transaction.outgoing(), None);
    transaction.start_external().unwrap();
    let mut transaction = restart(&transaction);
    is_state_error(transaction.start_external());
}

#[test]
fn answer_of_a_program_is_checked_and_decided_upon_like_any_other() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    for accept in [true, false] {
        let mut transaction = begin(&world);
        is_state_error(transaction.answer_external(answer(&world)));
        transaction.start_external().unwrap();
        let brought = issued(transaction.answer_external(answer(&world)).unwrap());
        let mut transaction = restart(&transaction);
        assert_eq!(transaction.issued(), Some(&brought));
        let step = if accept {
            let verified = transaction.verify(&brought, &world.peer, now()).unwrap();
            transaction.accept(&verified, &context).unwrap()
        } else {
            transaction
                .reject(&CmpError::settings("not wanted"), &context)
                .unwrap()
        };
        // The program has confirmed before we saw the certificate: a refusal is never known to the CA.
        let wanted = if accept {
            Outcome::Confirmed
        } else {
            Outcome::Refused(RefusalKnown::No)
        };
        assert_eq!(step, Step::Done(wanted));
        assert!(transaction.is_over());
    }
}

#[test]
fn bytes_from_the_network_are_not_for_a_program() {
    let world = World::new();
    let credentials = world.signature();
    let mut transaction = begin(&world);
    let mut native = Transaction::begin(transaction.request(), &world.context(&credentials)).unwrap();
    let reply = world
        .reply(
            native.outgoing().unwrap(),
            &credentials,
            world.granted(&EnrolmentKind::Initialization),
        )
        .der();
    is_state_error(transaction.receive(&reply, &world.context(&credentials)));
    is_state_error(native.start_external());
}
