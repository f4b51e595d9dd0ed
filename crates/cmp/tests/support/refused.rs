//! A right answer that is spoiled in one thing, and what must follow from it.
#![allow(unreachable_pub, reason = "shared by test files")]

use cmp::{Class, CmpError, Credentials, EnrolmentKind, ErrorKind, Reached, Stage, Transaction};

use crate::support::*;

/// Spoils an answer.
pub type Change = fn(&mut Reply);

pub const KIND: EnrolmentKind = EnrolmentKind::Initialization;

pub fn begin(world: &World, credentials: &Credentials) -> Transaction {
    Transaction::begin(&world.request(KIND), &world.context(credentials)).unwrap()
}

/// Sends the right answer, spoiled by `change`.
pub fn refuse(world: &World, credentials: &Credentials, change: impl FnOnce(&mut Reply)) -> CmpError {
    let mut transaction = begin(world, credentials);
    let before = serde_json::to_string(&transaction).unwrap();
    let reply = world
        .reply(transaction.outgoing().unwrap(), credentials, world.granted(&KIND))
        .with(change);
    let error = transaction
        .receive(&reply.der(), &world.context(credentials))
        .unwrap_err();
    assert_eq!(
        serde_json::to_string(&transaction).unwrap(),
        before,
        "the answer changed the transaction: {error}"
    );
    assert_eq!((error.step, error.reached), (Stage::Requesting, Reached::Maybe));
    // The right answer is still taken.
    issued(
        world
            .answer(&mut transaction, credentials, world.granted(&KIND))
            .unwrap(),
    );
    error
}

pub fn untrusted(error: CmpError) -> ErrorKind {
    assert_eq!(error.class, Class::Untrusted, "{error}");
    error.kind
}

/// A signer under its own root, with the right names.
pub fn stranger() -> (Ca, Credentials) {
    let root = Ca::root("CN=Root,O=Lab");
    let own = key();
    let certificate = root.issue(&Wish::new(CA_NAME, &own));
    let chain = vec![root.certificate.clone()];
    let credentials = Credentials::signature(own, certificate, chain).unwrap();
    (root, credentials)
}
