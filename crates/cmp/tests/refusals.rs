//! Answers that are wrong in one thing: each is refused with the right reason and class, and changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

#[path = "support/refused.rs"]
mod refused;
mod support;

use cmp::asn1::der::Encode;
use cmp::asn1::{FailureInfo, FreeText, GeneralTime, PkiBody, PkiStatus, PkiStatusInfo, RevRepContent};
use cmp::engine::MessageTimeCheck;
use cmp::error::FieldFault;
use cmp::{
    Class, CmpError, Credentials, EnrolmentKind, ErrorKind, MacAlgorithm, Reached, Request, RevocationReason,
    Stage, Step, Transaction,
};
use jiff::SignedDuration;
use refused::*;
use support::*;

#[test]
fn header_fields_of_another_transaction_are_refused() {
    let cases: [(&str, Change, ErrorKind); 9] = [
        (
            "transactionID missing",
            |reply| reply.header.transaction_id = None,
            ErrorKind::TransactionId(FieldFault::Missing),
        ),
        (
            "another transactionID",
            |reply| reply.header.transaction_id = Some(random()),
            ErrorKind::TransactionId(FieldFault::Different),
        ),
        (
            "transactionID cut short",
            |reply| {
                let id = reply.header.transaction_id.take().unwrap();
                reply.header.transaction_id = Some(octets(&id.as_bytes()[..8]));
            },
            ErrorKind::TransactionId(FieldFault::Different),
        ),
        (
            "recipNonce missing",
            |reply| reply.header.recip_nonce = None,
            ErrorKind::RecipientNonce(FieldFault::Missing),
        ),
        (
            "another recipNonce",
            |reply| reply.header.recip_nonce = Some(random()),
            ErrorKind::RecipientNonce(FieldFault::Different),
        ),
        (
            "recipNonce cut short",
            |reply| {
                let nonce = reply.header.recip_nonce.take().unwrap();
                reply.header.recip_nonce = Some(octets(&nonce.as_bytes()[..15]));
            },
            ErrorKind::RecipientNonce(FieldFault::Short),
        ),
        (
            "senderNonce missing",
            |reply| reply.header.sender_nonce = None,
            ErrorKind::SenderNonce(FieldFault::Missing),
        ),
        (
            "senderNonce too short",
            |reply| reply.header.sender_nonce = Some(octets(&[7; 15])),
            ErrorKind::SenderNonce(FieldFault::Short),
        ),
        (
            "senderNonce empty",
            |reply| reply.header.sender_nonce = Some(octets(&[])),
            ErrorKind::SenderNonce(FieldFault::Short),
        ),
    ];
    let world = World::new();
    for credentials in [world.mac(), world.signature()] {
        for (what, change, kind) in &cases {
            assert_eq!(&untrusted(refuse(&world, &credentials, change)), kind, "{what}");
        }
    }
}

#[test]
fn answer_without_protection_is_refused() {
    let world = World::new();
    for credentials in [world.mac(), world.signature()] {
        let kind = untrusted(refuse(&world, &credentials, |reply| reply.protection = None));
        assert_eq!(kind, ErrorKind::Unprotected);
    }
}

/// protectionAlg without a value, and a value without protectionAlg (RFC 9810, 5.1.3: both or none).
#[test]
fn half_a_protection_is_none() {
    let world = World::new();
    for credentials in [world.mac(), world.signature()] {
        let mut transaction = begin(&world, &credentials);
        let whole = world
            .reply(
                transaction.outgoing().unwrap(),
                &credentials,
                world.granted(&KIND),
            )
            .der();
        let message: cmp::asn1::PkiMessage = cmp::asn1::decode("PKIMessage", &whole).unwrap();
        let mut no_value = message.clone();
        no_value.protection = None;
        let mut no_algorithm = message;
        no_algorithm.header.protection_alg = None;
        for half in [no_value, no_algorithm] {
            let error = transaction
                .receive(&half.to_der().unwrap(), &world.context(&credentials))
                .unwrap_err();
            assert_eq!(untrusted(error), ErrorKind::Unprotected);
        }
    }
}

#[test]
fn mac_by_another_secret_is_refused() {
    let world = World::new();
    let credentials = world.mac();
    for algorithm in [MacAlgorithm::PBM, MacAlgorithm::LEGACY_PBM, MacAlgorithm::PBMAC1] {
        let other = Credentials::mac(REFERENCE, pki::Secret::from("other".to_owned()), algorithm);
        let kind = untrusted(refuse(&world, &credentials, |reply| {
            reply.protection = Some(other)
        }));
        assert_eq!(kind, ErrorKind::BadMac);
    }
}

#[test]
fn mac_where_a_signature_is_required_is_refused_even_if_the_secret_is_right() {
    let world = World::new();
    let (signature, mac) = (world.signature(), world.mac());
    let kind = untrusted(refuse(&world, &signature, |reply| reply.protection = Some(mac)));
    assert_eq!(
        kind,
        ErrorKind::WrongProtection {
            expected: "signature",
            found: "MAC"
        }
    );
}

#[test]
fn signature_where_a_mac_is_required_is_refused() {
    let mut world = World::new();
    world.peer.policy.mac_response = cmp::engine::MacResponse::MacOnly;
    let (mac, signature) = (world.mac(), world.ca_credentials());
    let kind = untrusted(refuse(&world, &mac, |reply| reply.protection = Some(signature)));
    assert_eq!(
        kind,
        ErrorKind::WrongProtection {
            expected: "MAC",
            found: "signature"
        }
    );
}

#[test]
fn every_changed_byte_of_a_protected_answer_is_noticed() {
    let world = World::new();
    for credentials in [world.mac(), world.signature()] {
        let mut transaction = begin(&world, &credentials);
        let context = world.context(&credentials);
        let right = world
            .reply(
                transaction.outgoing().unwrap(),
                &credentials,
                world.granted(&KIND),
            )
            .der();
        let limits = cmp::Limits::default();
        let protected = cmp::Message::decode(&right, &limits)
            .unwrap()
            .protected_part()
            .len();
        for at in (0..protected).step_by(3) {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(transaction.receive(&wrong, &context).is_err(), "byte {at}");
        }
        issued(transaction.receive(&right, &context).unwrap());
    }
}

#[test]
fn message_time_outside_the_window_is_refused_as_a_matter_of_clocks() {
    let mut world = World::new();
    for (seconds, taken) in [
        (0, true),
        (299, true),
        (-299, true),
        (301, false),
        (-301, false),
        (-86_400, false),
    ] {
        let time = now() + SignedDuration::from_secs(seconds);
        let credentials = world.mac();
        let mut transaction = begin(&world, &credentials);
        let reply = world
            .reply(
                transaction.outgoing().unwrap(),
                &credentials,
                world.granted(&KIND),
            )
            .with(|reply| reply.header.message_time = Some(GeneralTime::from_timestamp(time)));
        match transaction.receive(&reply.der(), &world.context(&credentials)) {
            Ok(step) => {
                issued(step);
                assert!(taken, "{seconds} s");
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::MessageTime { seconds });
                assert_eq!((error.class, taken), (Class::Misconfigured, false), "{seconds} s");
            }
        }
    }
    world.peer.policy.message_time = MessageTimeCheck::Off;
    let credentials = world.mac();
    let mut transaction = begin(&world, &credentials);
    let old = GeneralTime::from_timestamp("2020-01-01T00:00:00Z".parse().unwrap());
    let reply = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .with(|reply| reply.header.message_time = Some(old));
    issued(
        transaction
            .receive(&reply.der(), &world.context(&credentials))
            .unwrap(),
    );
}

#[test]
fn message_time_in_a_form_that_der_forbids_is_malformed() {
    let world = World::new();
    let local: GeneralTime = cmp::asn1::decode("time", b"\x18\x0e20261124120000").unwrap();
    let error = refuse(&world, &world.mac(), |reply| {
        reply.header.message_time = Some(local)
    });
    assert!(
        matches!(
            error.kind,
            ErrorKind::Malformed {
                what: "messageTime",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn other_versions_are_refused_but_errors_of_version_1_are_read() {
    let world = World::new();
    for version in [0, 1, 4, -1, 1000] {
        let error = refuse(&world, &world.mac(), |reply| reply.header.pvno = version);
        assert_eq!(error.kind, ErrorKind::Version { found: version });
    }
    let credentials = world.mac();
    let mut transaction = begin(&world, &credentials);
    let status = PkiStatusInfo::rejection(FailureInfo::named("unsupportedVersion").unwrap(), "only cmp1999");
    let reply = world
        .reply(transaction.outgoing().unwrap(), &credentials, error(status))
        .with(|reply| reply.header.pvno = 1);
    let error = transaction
        .receive(&reply.der(), &world.context(&credentials))
        .unwrap_err();
    assert_eq!(error.class, Class::Misconfigured);
    assert_eq!(error.peer.unwrap().text, "only cmp1999");
}

#[test]
fn bodies_that_do_not_answer_the_request_are_refused() {
    let world = World::new();
    let kup = EnrolmentKind::KeyUpdate {
        old: Box::new(world.own.clone()),
    };
    let bodies = [
        world.granted(&EnrolmentKind::Certification),
        world.granted(&kup),
        pki_conf(),
        poll_rep(0, 1),
        PkiBody::Genp(Vec::new()),
        PkiBody::Rp(RevRepContent {
            status: Vec::new(),
            rev_certs: None,
            crls: None,
        }),
        PkiBody::Other(20, der::Any::null()),
    ];
    for body in bodies {
        let name = body.name();
        let kind = untrusted(refuse(&world, &world.mac(), |reply| reply.body = body));
        assert_eq!(
            kind,
            ErrorKind::UnexpectedBody {
                expected: "ip",
                found: name
            }
        );
    }
}

#[test]
fn responses_that_do_not_fit_the_request_are_refused() {
    let world = World::new();
    let certificate = world.issue();
    let good = accepted(0, &certificate);
    let pair = |change: fn(&mut cmp::asn1::CertifiedKeyPair)| {
        let mut response = good.clone();
        change(response.certified_key_pair.as_mut().unwrap());
        response
    };
    let mut no_certificate = good.clone();
    no_certificate.certified_key_pair = None;
    let cases = [
        ("no response", vec![]),
        ("two responses", vec![good.clone(), good.clone()]),
        ("another request", vec![accepted(1, &certificate)]),
        ("request -1 for an ir", vec![accepted(-1, &certificate)]),
        ("accepted without a certificate", vec![no_certificate]),
        (
            "a private key",
            vec![pair(|pair| pair.private_key = Some(der::Any::null()))],
        ),
        (
            "an encrypted certificate",
            vec![pair(|pair| {
                pair.cert_or_enc_cert = cmp::asn1::CertOrEncCert::EncryptedCert(der::Any::null());
            })],
        ),
        (
            "an unreadable certificate",
            vec![pair(|pair| {
                let junk = cmp::asn1::Encoded::new(&[0x30, 2, 5, 0]).unwrap();
                pair.cert_or_enc_cert = cmp::asn1::CertOrEncCert::Certificate(junk);
            })],
        ),
    ];
    for (what, response) in cases {
        let error = refuse(&world, &world.mac(), |reply| {
            reply.body = PkiBody::Ip(cmp::asn1::CertRepMessage {
                ca_pubs: None,
                response,
            });
        });
        let fits = matches!(
            error.kind,
            ErrorKind::WrongAnswer { .. } | ErrorKind::Unsupported { .. } | ErrorKind::Certificate(_)
        );
        assert!(fits, "{what}: {error}");
    }
}

#[test]
fn authentic_refusal_ends_the_transaction_and_names_the_reason() {
    let world = World::new();
    let credentials = world.signature();
    let failure = |name| FailureInfo::named(name).unwrap();
    let bodies = [
        rep_for(&KIND, rejected(0, "badCertTemplate", "no\nwildcards")),
        error(PkiStatusInfo::rejection(
            failure("badCertTemplate"),
            "no\nwildcards",
        )),
    ];
    for body in bodies {
        let mut transaction = begin(&world, &credentials);
        let error = world.answer(&mut transaction, &credentials, body).unwrap_err();
        assert_eq!(
            (error.class, &error.kind),
            (Class::Misconfigured, &ErrorKind::Refused)
        );
        let peer = error.peer.as_ref().unwrap();
        assert_eq!(
            (peer.status, peer.failure.as_slice()),
            (PkiStatus::Rejection, &["badCertTemplate"][..])
        );
        assert_eq!((peer.text.as_str(), peer.authentic), ("no\\u{a}wildcards", true));
        assert!(transaction.is_over());
    }
}

#[test]
fn refusal_that_nobody_vouches_for_is_a_hint_and_changes_nothing() {
    let world = World::new();
    let failure = || FailureInfo::named("certRevoked").unwrap();
    for credentials in [world.mac(), world.signature()] {
        for body in [
            error(PkiStatusInfo::rejection(failure(), "gone")),
            error_waiting(),
            rep_for(&KIND, rejected(0, "certRevoked", "gone")),
        ] {
            let wrong_mac = Credentials::mac("x", pki::Secret::from("other".to_owned()), MacAlgorithm::PBM);
            let (_, stranger) = stranger();
            for protection in [None, Some(wrong_mac), Some(stranger)] {
                let unprotected = protection.is_none();
                let (body, protection) = (body.clone(), protection);
                let error = refuse(&world, &credentials, |reply| {
                    (reply.body, reply.protection) = (body, protection);
                });
                assert_eq!(error.class, Class::Retry, "{error}");
                assert!(!error.peer.as_ref().unwrap().authentic);
                assert_eq!(error.kind == ErrorKind::Hint, unprotected);
                assert!(error.to_string().contains("a hint only"), "{error}");
            }
        }
    }
}

#[test]
fn replayed_error_of_another_transaction_is_a_hint() {
    let world = World::new();
    let credentials = world.mac();
    let status = PkiStatusInfo::rejection(FailureInfo::named("certRevoked").unwrap(), "gone");
    let other = begin(&world, &credentials);
    let replayed = world
        .reply(other.outgoing().unwrap(), &credentials, error(status))
        .der();
    let mut transaction = begin(&world, &credentials);
    let error = transaction
        .receive(&replayed, &world.context(&credentials))
        .unwrap_err();
    assert_eq!(error.class, Class::Retry);
    assert!(!error.peer.unwrap().authentic);
    assert!(!transaction.is_over());
}

#[test]
fn refused_confirmation_is_an_error_unless_it_says_that_it_was_confirmed_before() {
    let world = World::new();
    let credentials = world.signature();
    for (name, confirmed) in [("certConfirmed", true), ("badRequest", false)] {
        let mut transaction = confirming(&world, &credentials);
        let status = PkiStatusInfo::rejection(FailureInfo::named(name).unwrap(), "");
        let result = world.answer(&mut transaction, &credentials, error(status));
        assert_eq!(result.is_ok(), confirmed, "{result:?}");
        if let Err(error) = result {
            assert_eq!((error.class, error.step), (Class::Rejected, Stage::Confirming));
        }
    }
}

/// A transaction whose certConf is outgoing.
fn confirming(world: &World, credentials: &Credentials) -> Transaction {
    let mut transaction = begin(world, credentials);
    let answer = issued(
        world
            .answer(&mut transaction, credentials, world.granted(&KIND))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction
        .accept(&verified, &world.context(credentials))
        .unwrap();
    transaction
}

#[test]
fn confirmation_is_checked_like_every_answer() {
    let world = World::new();
    for credentials in [world.mac(), world.signature()] {
        let cases: [(&str, Change); 4] = [
            ("unprotected", |reply| reply.protection = None),
            ("another nonce", |reply| reply.header.recip_nonce = Some(random())),
            ("another transaction", |reply| {
                reply.header.transaction_id = Some(random())
            }),
            ("another body", |reply| reply.body = PkiBody::Genp(Vec::new())),
        ];
        for (what, change) in cases {
            let mut transaction = confirming(&world, &credentials);
            let reply = world
                .reply(transaction.outgoing().unwrap(), &credentials, pki_conf())
                .with(change);
            let error = transaction
                .receive(&reply.der(), &world.context(&credentials))
                .unwrap_err();
            assert_eq!(
                (error.class, error.step),
                (Class::Untrusted, Stage::Confirming),
                "{what}: {error}"
            );
            assert_eq!(
                world.answer(&mut transaction, &credentials, pki_conf()).unwrap(),
                Step::Done(cmp::Outcome::Confirmed)
            );
        }
    }
}

/// A MAC never replaces a signature: after a signed first answer to a MAC request both are still allowed, but a request
/// with a signature stays with signatures to its end.
#[test]
fn confirmation_by_mac_in_a_signed_transaction_is_refused() {
    let world = World::new();
    let (credentials, mac) = (world.signature(), world.mac());
    let mut transaction = confirming(&world, &credentials);
    let reply = Reply::new(transaction.outgoing().unwrap(), mac, pki_conf());
    let error = transaction
        .receive(&reply.der(), &world.context(&credentials))
        .unwrap_err();
    assert!(matches!(untrusted(error), ErrorKind::WrongProtection { .. }));
}

#[test]
fn refused_revocation_says_why() {
    let world = World::new();
    let credentials = world.signature();
    let request = Request::Revoke {
        certificate: world.own.clone(),
        reason: RevocationReason::KeyCompromise,
    };
    let mut transaction = Transaction::begin(&request, &world.context(&credentials)).unwrap();
    let status = PkiStatusInfo::rejection(FailureInfo::named("certRevoked").unwrap(), "already");
    let body = PkiBody::Rp(RevRepContent {
        status: vec![status],
        rev_certs: None,
        crls: None,
    });
    let error = world.answer(&mut transaction, &credentials, body).unwrap_err();
    assert_eq!(error.class, Class::Rejected);
    assert!(error.peer.unwrap().has("certRevoked"));
}

#[test]
fn requests_that_can_never_work_are_refused_before_anything_is_sent() {
    let world = World::new();
    let (mac, signature) = (world.mac(), world.signature());
    let update = EnrolmentKind::KeyUpdate {
        old: Box::new(world.own.clone()),
    };
    let refused = |request: &Request, context: &cmp::Context<'_>, part: &str| {
        let error = Transaction::begin(request, context).unwrap_err();
        assert_eq!(
            (error.class, error.step, error.reached),
            (Class::Misconfigured, Stage::Preparing, Reached::No)
        );
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(
        &world.request(update),
        &world.context(&mac),
        "must be signed, not protected by a MAC",
    );
    let no_key = cmp::Context {
        key: None,
        ..world.context(&mac)
    };
    refused(&world.request(KIND), &no_key, "needs a new key");
    let mut peer = world.peer.clone();
    peer.trust.certificates = pki::Anchors::default();
    refused(
        &world.request(KIND),
        &cmp::Context {
            peer: &peer,
            ..world.context(&mac)
        },
        "verify issued certificates",
    );
    let mut peer = world.peer.clone();
    peer.trust.responses = pki::Anchors::default();
    refused(
        &world.request(KIND),
        &cmp::Context {
            peer: &peer,
            ..world.context(&signature)
        },
        "verify answers",
    );
    let mut nameless = world.enrolment(KIND);
    nameless.template = pki::CertificateTemplate::default();
    refused(
        &Request::enrol(nameless),
        &world.context(&mac),
        "subject or an alternative name",
    );
    let mut profile = world.enrolment(KIND);
    profile.profile = Some("x".repeat(129));
    refused(&Request::enrol(profile), &world.context(&mac), "profile");
    let weak = world.mac_with(MacAlgorithm::Pbm {
        owf: pki::digest::HashAlgorithm::Sha256,
        mac: pki::digest::HashAlgorithm::Sha256,
        iterations: 99,
        salt_len: 16,
    });
    refused(&world.request(KIND), &world.context(&weak), "iterations");
}

#[test]
fn identity_whose_certificate_does_not_fit_its_key_is_refused() {
    let world = World::new();
    let error = Credentials::signature(key(), world.own.clone(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
}

#[test]
fn calls_out_of_turn_are_refused() {
    let world = World::new();
    let credentials = world.mac();
    let context = world.context(&credentials);
    let mut transaction = begin(&world, &credentials);
    let refusal = CmpError::settings("any");
    assert!(matches!(
        transaction.reject(&refusal, &context).unwrap_err().kind,
        ErrorKind::State(_)
    ));
    let answer = issued(
        world
            .answer(&mut transaction, &credentials, world.granted(&KIND))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    // A certificate that came in another transaction.
    let mut other = begin(&world, &credentials);
    world
        .answer(&mut other, &credentials, world.granted(&KIND))
        .unwrap();
    assert!(matches!(
        other.accept(&verified, &context).unwrap_err().kind,
        ErrorKind::State(_)
    ));
    transaction.accept(&verified, &context).unwrap();
    let conf = world
        .reply(transaction.outgoing().unwrap(), &credentials, pki_conf())
        .der();
    transaction.receive(&conf, &context).unwrap();
    assert!(matches!(
        transaction.receive(&conf, &context).unwrap_err().kind,
        ErrorKind::State(_)
    ));
    assert!(matches!(
        transaction.accept(&verified, &context).unwrap_err().kind,
        ErrorKind::State(_)
    ));
}

#[test]
fn peer_text_in_errors_is_short_and_escaped() {
    let world = World::new();
    let credentials = world.mac();
    let mut transaction = begin(&world, &credentials);
    let mut status = PkiStatusInfo::rejection(FailureInfo::named("badRequest").unwrap(), "");
    status.status_string = Some(FreeText::new(&format!("%s%n\r\n\u{1b}[2J{}", "x".repeat(3000))));
    let error = world
        .answer(&mut transaction, &credentials, error(status))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.chars().count() < 700 && !text.chars().any(char::is_control),
        "{text}"
    );
    assert!(text.contains("%s%n\\u{d}\\u{a}\\u{1b}[2J"), "{text}");
}
