//! Revocations and general messages, polled for like everything else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use cmp::asn1::{
    CertReqTemplateContent, CertTemplate, Dn, Encoded, InfoTypeAndValue, PkiBody, PkiStatus, PkiStatusInfo,
    RevRepContent, RootCaKeyUpdate, decode, oid,
};
use cmp::engine::CrlSource;
use cmp::{General, GeneralAnswer, Outcome, Request, RevocationReason, Step, Transaction};
use support::*;

#[test]
fn revocation_names_the_certificate_and_the_reason() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let request = Request::Revoke {
        certificate: world.own.clone(),
        reason: RevocationReason::Superseded,
    };
    for status in [PkiStatus::Accepted, PkiStatus::RevocationWarning] {
        let transaction = Transaction::begin(&request, &context).unwrap();
        let mut transaction = restart(&transaction);
        let PkiBody::Rr(details) = sent(&transaction) else {
            panic!("no rr")
        };
        assert_eq!(
            details[0].cert_details.serial_number.as_ref().unwrap().as_bytes(),
            world.own.serial_bytes()
        );
        assert_eq!(
            details[0].cert_details.issuer,
            Some(Dn(world.own.issuer().clone()))
        );
        let reason = &details[0].crl_entry_details.as_ref().unwrap()[0];
        assert_eq!(
            (reason.extn_id, reason.extn_value.as_bytes()),
            (oid::CE_CRL_REASON, &[0x0a, 1, 4][..])
        );
        let body = PkiBody::Rp(RevRepContent {
            status: vec![PkiStatusInfo::new(status)],
            rev_certs: None,
            crls: None,
        });
        poll(&world, &credentials, &mut transaction, error_waiting(), -1);
        let step = world.answer(&mut transaction, &credentials, body).unwrap();
        assert!(matches!(step, Step::Done(Outcome::Revoked { .. })), "{step:?}");
    }
}

fn ask(world: &World, question: General, value: InfoTypeAndValue) -> Result<GeneralAnswer, cmp::CmpError> {
    let credentials = world.signature();
    let mut transaction =
        Transaction::begin(&Request::General(question), &world.context(&credentials)).unwrap();
    assert!(matches!(sent(&transaction), PkiBody::Genm(_)));
    poll(world, &credentials, &mut transaction, error_waiting(), -1);
    match world.answer(&mut transaction, &credentials, PkiBody::Genp(vec![value]))? {
        Step::Done(Outcome::General(answer)) => Ok(*answer),
        other => panic!("expected an answer, got {other:?}"),
    }
}

#[test]
fn ca_certificates_are_given_as_they_came_and_unreadable_ones_left_out() {
    let world = World::new();
    let list = vec![
        encoded(&world.root.certificate),
        Encoded::new(&[0x30, 0]).unwrap(),
        encoded(&world.signer),
    ];
    let value = InfoTypeAndValue::new(oid::IT_CA_CERTS, &list).unwrap();
    let answer = ask(&world, General::CaCerts, value).unwrap();
    assert_eq!(
        answer,
        GeneralAnswer::CaCerts(vec![world.root.certificate.clone(), world.signer.clone()])
    );
    let none = ask(&world, General::CaCerts, InfoTypeAndValue::bare(oid::IT_CA_CERTS)).unwrap();
    assert_eq!(none, GeneralAnswer::CaCerts(Vec::new()));
}

#[test]
fn request_template_names_subject_and_keys() {
    let world = World::new();
    let template = CertTemplate {
        subject: Some(Dn(name("O=Lab"))),
        ..CertTemplate::default()
    };
    let control = |kind, value: der::Any| cmp::asn1::AttributeTypeAndValue { kind, value };
    let algorithm = decode("Any", &world.new_key.default_signature().to_der()).unwrap();
    let bits = decode("Any", &[2, 2, 8, 0]).unwrap();
    let controls = vec![
        control(oid::REG_CTRL_ALG_ID, algorithm),
        control(oid::REG_CTRL_RSA_KEY_LEN, bits),
    ];
    let content = CertReqTemplateContent {
        cert_template: template,
        key_spec: Some(controls),
    };
    let value = InfoTypeAndValue::new(oid::IT_CERT_REQ_TEMPLATE, &content).unwrap();
    let question = General::RequestTemplate {
        profile: Some("tls".to_owned()),
    };
    let GeneralAnswer::RequestTemplate(Some(answer)) = ask(&world, question, value).unwrap() else {
        panic!("none")
    };
    assert_eq!(answer.subject, Some(name("O=Lab")));
    assert_eq!(answer.rsa_key_bits, [2048]);
    assert_eq!(answer.key_algorithms, ["1.2.840.10045.4.3.2"]);
}

/// The old root, the new one, and the new key signed by the old root.
fn rollover(world: &World) -> (Ca, RootCaKeyUpdate) {
    let new = Ca::root("CN=Root 2,O=Lab");
    let new_with_old = world
        .root
        .issue(&Wish::new("CN=Root 2,O=Lab", &new.key).ca().usage(&["cert sign"]));
    let old_with_new = new.issue(
        &Wish::new("CN=Root,O=Lab", &world.root.key)
            .ca()
            .usage(&["cert sign"]),
    );
    let update = RootCaKeyUpdate {
        new_with_new: encoded(&new.certificate),
        new_with_old: Some(encoded(&new_with_old)),
        old_with_new: Some(encoded(&old_with_new)),
    };
    (new, update)
}

fn root_update(world: &World, update: &RootCaKeyUpdate) -> Result<GeneralAnswer, cmp::CmpError> {
    let value = InfoTypeAndValue::new(oid::IT_ROOT_CA_KEY_UPDATE, update).unwrap();
    ask(
        world,
        General::RootUpdate {
            current: Box::new(world.root.certificate.clone()),
        },
        value,
    )
}

#[test]
fn new_root_is_given_out_if_the_current_one_has_signed_it() {
    let world = World::new();
    let (new, update) = rollover(&world);
    let GeneralAnswer::RootUpdate(Some(answer)) = root_update(&world, &update).unwrap() else {
        panic!("none")
    };
    assert_eq!(answer.new_with_new, new.certificate);
    let none = InfoTypeAndValue::bare(oid::IT_ROOT_CA_KEY_UPDATE);
    let question = General::RootUpdate {
        current: Box::new(world.root.certificate.clone()),
    };
    assert_eq!(
        ask(&world, question, none).unwrap(),
        GeneralAnswer::RootUpdate(None)
    );
}

/// CVE-2026-42769: an RA must not be able to replace the root.
#[test]
fn new_root_that_the_current_one_has_not_signed_is_refused() {
    let world = World::new();
    let (_, good) = rollover(&world);
    let stranger = Ca::root("CN=Root,O=Lab");
    let mallory = Ca::root("CN=Root 2,O=Lab");
    let by_stranger = stranger.issue(&Wish::new("CN=Root 2,O=Lab", &mallory.key).ca());
    let end_entity = world.root.issue(&Wish::new("CN=Root 2,O=Lab", &key()));
    let cases: [(&str, RootCaKeyUpdate); 5] = [
        (
            "newWithOld missing",
            RootCaKeyUpdate {
                new_with_old: None,
                ..good.clone()
            },
        ),
        (
            "newWithOld by a namesake",
            RootCaKeyUpdate {
                new_with_old: Some(encoded(&by_stranger)),
                ..good.clone()
            },
        ),
        (
            "newWithNew with another key",
            RootCaKeyUpdate {
                new_with_new: encoded(&mallory.certificate),
                ..good.clone()
            },
        ),
        (
            "newWithNew not a root",
            RootCaKeyUpdate {
                new_with_new: encoded(&end_entity),
                new_with_old: Some(encoded(&end_entity)),
                old_with_new: None,
            },
        ),
        (
            "oldWithNew by a stranger",
            RootCaKeyUpdate {
                old_with_new: Some(encoded(
                    &mallory.issue(&Wish::new("CN=Root,O=Lab", &world.root.key).ca()),
                )),
                ..good.clone()
            },
        ),
    ];
    for (what, update) in cases {
        let error = root_update(&world, &update).unwrap_err();
        assert_eq!(error.class, cmp::Class::Untrusted, "{what}: {error}");
    }
}

#[test]
fn crls_are_asked_for_by_issuer_or_distribution_point() {
    let world = World::new();
    let crl = Encoded::new(&[0x30, 3, 2, 1, 1]).unwrap();
    for source in [
        CrlSource::Issuer(name("CN=Root,O=Lab")),
        CrlSource::DistributionPoint("http://ca.example/crl".to_owned()),
    ] {
        let value = InfoTypeAndValue::new(oid::IT_CRLS, &vec![crl.clone()]).unwrap();
        let question = General::CrlUpdate {
            source,
            this_update: Some(now()),
        };
        assert_eq!(
            ask(&world, question, value).unwrap(),
            GeneralAnswer::Crls(vec![crl.der().to_vec()])
        );
    }
}
