//! Who may answer for the CA: signers that are not who they should be are refused.

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
use cmp::asn1::{AlgorithmIdentifier, GeneralName, PkiBody};
use cmp::engine::{KeyIdCheck, KeyUsageCheck, SenderCheck};
use cmp::{Class, Credentials, ErrorKind};
use refused::*;
use support::*;

#[test]
fn signer_without_a_path_to_the_anchors_is_refused_even_if_its_root_comes_along() {
    let world = World::new();
    for credentials in [world.signature(), world.mac()] {
        let (_, wrong) = stranger();
        let kind = untrusted(refuse(&world, &credentials, |reply| {
            reply.protection = Some(wrong)
        }));
        assert!(matches!(kind, ErrorKind::SignerUntrusted(_)), "{kind}");
    }
}

/// RFC 9810, 8.9: certificates in caPubs and extraCerts are no anchors.
#[test]
fn ca_pubs_never_make_a_signer_trusted() {
    let world = World::new();
    let (root, wrong) = stranger();
    let kind = untrusted(refuse(&world, &world.signature(), |reply| {
        let PkiBody::Ip(rep) = &mut reply.body else {
            panic!()
        };
        rep.ca_pubs = Some(vec![encoded(&root.certificate)]);
        reply.protection = Some(wrong);
    }));
    assert!(matches!(kind, ErrorKind::SignerUntrusted(_)), "{kind}");
}

#[test]
fn expired_signer_is_refused() {
    let world = World::new();
    let wish = Wish::new(CA_NAME, &world.signer_key).valid("2026-01-01T00:00:00Z", "2026-11-24T11:59:00Z");
    let expired =
        Credentials::signature(world.signer_key.clone(), world.root.issue(&wish), Vec::new()).unwrap();
    let kind = untrusted(refuse(&world, &world.signature(), |reply| {
        reply.protection = Some(expired)
    }));
    assert!(matches!(kind, ErrorKind::SignerUntrusted(_)), "{kind}");
}

/// A Go library accepted any certificate under the anchor: the device next door could answer for the CA.
#[test]
fn another_certificate_under_the_same_anchor_cannot_answer_for_the_ca() {
    let world = World::new();
    let neighbour = key();
    let certificate = world.root.issue(&Wish::new("CN=neighbour,O=Lab", &neighbour));
    let credentials = Credentials::signature(neighbour, certificate, Vec::new()).unwrap();
    // In its own name: not the one in the settings.
    let wrong = credentials.clone();
    let kind = untrusted(refuse(&world, &world.signature(), |reply| {
        reply.header.sender = GeneralName::directory(name("CN=neighbour,O=Lab"));
        reply.protection = Some(wrong);
    }));
    assert!(
        matches!(&kind, ErrorKind::WrongSender { found, .. } if found == "CN=neighbour,O=Lab"),
        "{kind}"
    );
    // In the CA's name: not its own.
    let kind = untrusted(refuse(&world, &world.signature(), |reply| {
        reply.protection = Some(credentials)
    }));
    assert!(matches!(kind, ErrorKind::NoSigner { .. }), "{kind}");
}

#[test]
fn expected_sender_goes_before_recipient_and_binds_macs_as_well() {
    let mut world = World::new();
    world.peer.expected_sender = Some(name("O=Lab,CN=RA"));
    for credentials in [world.signature(), world.mac()] {
        let mut transaction = begin(&world, &credentials);
        let error = world
            .answer(&mut transaction, &credentials, world.granted(&KIND))
            .unwrap_err();
        assert!(matches!(untrusted(error), ErrorKind::WrongSender { .. }));
    }
    // Names from settings are compared without regard to their order.
    world.peer.expected_sender = Some(name("O=Lab,CN=CMP Responder"));
    for credentials in [world.signature(), world.mac()] {
        issued(
            world
                .answer(
                    &mut begin(&world, &credentials),
                    &credentials,
                    world.granted(&KIND),
                )
                .unwrap(),
        );
    }
}

#[test]
fn sender_that_is_no_directory_name_is_refused() {
    let mut world = World::new();
    world.peer.recipient = None;
    let dns: GeneralName = cmp::asn1::decode("GeneralName", &[0x82, 1, b'a']).unwrap();
    let credentials = world.signature();
    let kind = untrusted(refuse(&world, &credentials, |reply| reply.header.sender = dns));
    assert!(matches!(kind, ErrorKind::NoSigner { .. }), "{kind}");
}

#[test]
fn sender_with_its_rdns_in_another_order_passes_only_if_the_policy_says_so() {
    let mut world = World::new();
    let reversed: Change =
        |reply| reply.header.sender = GeneralName::directory(name("O=Lab,CN=CMP Responder"));
    let credentials = world.signature();
    let kind = untrusted(refuse(&world, &credentials, reversed));
    assert!(matches!(kind, ErrorKind::NoSigner { .. }), "{kind}");
    world.peer.policy.sender = SenderCheck::AnyOrder;
    let mut transaction = begin(&world, &credentials);
    let reply = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .with(reversed);
    issued(
        transaction
            .receive(&reply.der(), &world.context(&credentials))
            .unwrap(),
    );
}

#[test]
fn sender_kid_of_another_key_is_refused_unless_the_policy_ignores_it() {
    let mut world = World::new();
    let reflected: Change = |reply| reply.header.sender_kid = Some(octets(&[1; 20]));
    let credentials = world.signature();
    assert_eq!(
        untrusted(refuse(&world, &credentials, reflected)),
        ErrorKind::WrongSenderKeyId
    );
    world.peer.policy.key_id = KeyIdCheck::Ignore;
    let mut transaction = begin(&world, &credentials);
    let reply = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .with(reflected);
    issued(
        transaction
            .receive(&reply.der(), &world.context(&credentials))
            .unwrap(),
    );
}

#[test]
fn signer_without_key_identifier_is_bound_by_the_hash_of_its_key() {
    let mut world = World::new();
    world.signer = world
        .root
        .issue(&Wish::new(CA_NAME, &world.signer_key).without_ski());
    let credentials = world.signature();
    let right = world.signer_key.public_key().key_id_sha1().to_vec();
    let kind = untrusted(refuse(&world, &credentials, |reply| {
        reply.header.sender_kid = Some(octets(&[9; 20]))
    }));
    assert_eq!(kind, ErrorKind::WrongSenderKeyId);
    let mut transaction = begin(&world, &credentials);
    let reply = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .with(|reply| reply.header.sender_kid = Some(octets(&right)));
    issued(
        transaction
            .receive(&reply.der(), &world.context(&credentials))
            .unwrap(),
    );
}

#[test]
fn signer_that_may_only_sign_certificates_is_a_warning_or_by_policy_refused() {
    let mut world = World::new();
    let wish = Wish::new(CA_NAME, &world.signer_key)
        .ca()
        .usage(&["cert sign", "crl sign"]);
    world.signer = world.root.issue(&wish);
    let credentials = world.signature();
    let answer = issued(
        world
            .answer(
                &mut begin(&world, &credentials),
                &credentials,
                world.granted(&KIND),
            )
            .unwrap(),
    );
    assert!(
        answer.warnings[0].contains("digitalSignature"),
        "{:?}",
        answer.warnings
    );
    world.peer.policy.key_usage = KeyUsageCheck::Strict;
    let mut transaction = begin(&world, &credentials);
    let error = world
        .answer(&mut transaction, &credentials, world.granted(&KIND))
        .unwrap_err();
    assert!(matches!(untrusted(error), ErrorKind::SignerUsage { .. }));
}

#[test]
fn signer_may_be_the_anchor_itself_and_need_not_be_in_extra_certs() {
    let mut world = World::new();
    let root_name = world.root.certificate.subject().clone();
    world.peer.recipient = Some(root_name);
    let credentials = world.signature();
    let ca =
        Credentials::signature(world.root.key.clone(), world.root.certificate.clone(), Vec::new()).unwrap();
    let mut transaction = begin(&world, &credentials);
    let whole = Reply::new(transaction.outgoing().unwrap(), ca, world.granted(&KIND)).der();
    let mut message: cmp::asn1::PkiMessage = cmp::asn1::decode("PKIMessage", &whole).unwrap();
    message.extra_certs = None;
    let bare = message.to_der().unwrap();
    issued(transaction.receive(&bare, &world.context(&credentials)).unwrap());
}

/// A flood of certificates with the right name and key identifier costs a few verifications, not many.
#[test]
fn namesakes_of_the_signer_do_not_keep_us_busy() {
    let world = World::new();
    let credentials = world.signature();
    let mut transaction = begin(&world, &credentials);
    let outgoing = transaction.outgoing().unwrap().to_vec();
    let (_, wrong) = stranger();
    let mut reply = Reply::new(&outgoing, wrong, world.granted(&KIND));
    reply.header.sender_kid = None;
    let mut message: cmp::asn1::PkiMessage = cmp::asn1::decode("PKIMessage", &reply.der()).unwrap();
    let namesakes = (0..30).map(|_| encoded(&world.root.issue(&Wish::new(CA_NAME, &key()).without_ski())));
    message.extra_certs = Some(namesakes.collect());
    message.header.sender_kid = None;
    let error = transaction
        .receive(&message.to_der().unwrap(), &world.context(&credentials))
        .unwrap_err();
    assert_eq!(untrusted(error), ErrorKind::BadSignature);
}

#[test]
fn protection_algorithms_that_are_not_known_or_weak_are_refused() {
    let world = World::new();
    let credentials = world.signature();
    let mut transaction = begin(&world, &credentials);
    let whole = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .der();
    let message: cmp::asn1::PkiMessage = cmp::asn1::decode("PKIMessage", &whole).unwrap();
    // SHA-1 with RSA, DH-based MAC, an unknown one.
    for oid in ["1.2.840.113549.1.1.5", "1.2.840.113533.7.66.30", "1.2.3.4"] {
        let mut wrong = message.clone();
        wrong.header.protection_alg = Some(AlgorithmIdentifier {
            oid: oid.parse().unwrap(),
            parameters: None,
        });
        let error = transaction
            .receive(&wrong.to_der().unwrap(), &world.context(&credentials))
            .unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Unsupported { .. }),
            "{oid}: {error}"
        );
        assert_eq!(error.class, Class::Misconfigured);
    }
}
