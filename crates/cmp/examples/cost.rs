//! What an enrolment costs us: the time of our own steps, beside that of the cryptography in them.
//!
//! `cargo run --release -p cmp --example cost`. The CA's part runs in between and is not counted. The budget: at most
//! three times the cryptography.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measuring program"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cmp::{Credentials, EnrolmentKind, Request, Transaction};
use pki::{KeyAlgorithm, PrivateKey};
use support::*;

const ROUNDS: u32 = 2_000;

fn main() {
    let world = World::new();
    println!(
        "{:<34} {:>9} {:>9} {:>6}",
        "enrolment with a P-256 key", "ours", "crypto", "ratio"
    );
    for (what, credentials) in [
        ("signature", world.signature()),
        ("MAC, 1024 iterations", world.mac_with(cmp::MacAlgorithm::PBM)),
    ] {
        for implicit in [true, false] {
            let ours = enrolments(&world, &credentials, implicit);
            let crypto = cryptography(&world, &credentials, implicit);
            let ratio = ours.as_secs_f64() / crypto.as_secs_f64();
            let confirm = if implicit { "implicit" } else { "explicit" };
            println!(
                "{:<34} {:>7.0?} {:>7.0?} {ratio:>6.2}",
                format!("{what}, {confirm} confirmation"),
                ours,
                crypto
            );
        }
    }
}

/// Mean time of our steps in one enrolment, key generation included.
fn enrolments(world: &World, credentials: &Credentials, implicit: bool) -> Duration {
    let kind = EnrolmentKind::Initialization;
    let mut spent = Duration::ZERO;
    for _ in 0..ROUNDS {
        let mut watch = Watch(&mut spent);
        let key = watch.time(|| PrivateKey::generate(KeyAlgorithm::EcP256).unwrap());
        let context = cmp::Context {
            key: Some(&key),
            ..world.context(credentials)
        };
        let mut enrolment = world.enrolment(kind.clone());
        enrolment.implicit_confirm = implicit;
        let request = Request::enrol(enrolment);
        let mut transaction = watch.time(|| Transaction::begin(&request, &context).unwrap());
        let certificate = world.root.issue(&Wish::new(SUBJECT, &key).sans(&SANS));
        let body = rep_for(&kind, accepted(0, &certificate));
        let mut reply = world.reply(transaction.outgoing().unwrap(), credentials, body);
        if implicit {
            reply = reply.implicit_confirm();
        }
        let reply = reply.der();
        watch.time(|| {
            let answer = issued(transaction.receive(&reply, &context).unwrap());
            let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
            transaction.accept(&verified, &context).unwrap();
        });
        if !implicit {
            let reply = world
                .reply(transaction.outgoing().unwrap(), credentials, pki_conf())
                .der();
            watch.time(|| transaction.receive(&reply, &context).unwrap());
        }
    }
    spent / ROUNDS
}

struct Watch<'a>(&'a mut Duration);

impl Watch<'_> {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let out = work();
        *self.0 += started.elapsed();
        out
    }
}

/// Mean time of the operations that no client can do without: one key; signatures for the proof of possession and, or
/// MACs for, each message; verification of each answer, of the signer and of the certificate.
fn cryptography(world: &World, credentials: &Credentials, implicit: bool) -> Duration {
    let messages = if implicit { 1 } else { 2 };
    let (key, certificate, message) = (key(), world.issue(), [7; 600]);
    let algorithm = key.default_signature();
    let signature = world.signer_key.sign(algorithm, &message).unwrap();
    let sign = mean(|| drop(key.sign(algorithm, &message).unwrap()));
    let verify = mean(|| {
        world
            .signer
            .public_key()
            .verify(algorithm, &message, &signature)
            .unwrap()
    });
    let path = mean(|| {
        certificate
            .verify_signed_by(world.root.certificate.public_key())
            .unwrap()
    });
    let generate = mean(|| drop(PrivateKey::generate(KeyAlgorithm::EcP256).unwrap()));
    let common = generate + sign + path;
    match credentials {
        Credentials::Signature { .. } => common + path + (sign + verify) * messages,
        Credentials::Mac { .. } => {
            let hash = mean(|| {
                let mut hash = pki::digest::sha256(&message);
                for _ in 1..1024 {
                    hash = pki::digest::sha256(&hash);
                }
                assert_ne!(hash, [0; 32]);
            });
            common + hash * 2 * messages
        }
    }
}

fn mean(mut work: impl FnMut()) -> Duration {
    let started = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    started.elapsed() / ROUNDS
}
