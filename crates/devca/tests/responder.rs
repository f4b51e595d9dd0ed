//! What the CA grants, what it refuses and with which failInfo, message by message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::collections::BTreeMap;

use cmp::{
    MacAlgorithm,
    asn1::{
        CertStatus, ErrorMsg, FailureInfo, OptionalValidity, PkiBody, PkiStatus, PkiStatusInfo,
        ProofOfPossession, Time,
        der::asn1::{Null, OctetString},
    },
};
use devca::{
    Config, Fault, FaultKind, Policy, RequestKind, State,
    config::{ErrorProtection, KeyUpdateSigner, MacAnswers, RaVerified, Repeat},
};
use pki::{Anchors, Secret};
use support::*;

// -- Who is it? -----------------------------------------------------------------------------------------------------

#[test]
fn a_wrong_secret_and_an_unknown_reference_look_the_same_and_are_answered_with_a_signature() {
    let ca = ca();
    for credentials in [mac("one", b"wrong"), mac("nobody", SECRET)] {
        let answer = Client::new(&ca, credentials).send(ir("CN=a"));
        assert!(answer.is_error());
        assert_eq!(answer.failure(), "badMessageCheck");
        assert_eq!(answer.extra[0], *ca.signer());
    }
    assert_eq!(ca.ledger().stats(start()).issued, 0);
}

#[test]
fn errors_are_not_protected_where_the_policy_says_so() {
    let ca = ca();
    ca.adjust(|policy| policy.errors = ErrorProtection::Unprotected);
    let answer = Client::new(&ca, mac("one", b"wrong")).send(ir("CN=a"));
    assert_eq!(
        (answer.failure(), answer.header.protection_alg),
        ("badMessageCheck", None)
    );
}

#[test]
fn pbmac1_is_understood_and_answered_with_the_same_parameters() {
    let ca = ca();
    let credentials = cmp::Credentials::mac("one", Secret::new(SECRET.to_vec()), MacAlgorithm::PBMAC1);
    let mut client = Client::new(&ca, credentials);
    let answer = client.send(ir("CN=a"));
    let sent = read(&client.sent);
    assert_eq!(answer.header.protection_alg, sent.header.protection_alg);
    answer.certificate();
}

#[test]
fn a_ca_that_always_signs_signs_answers_to_macs() {
    let ca = ca();
    ca.adjust(|policy| policy.mac_answers = MacAnswers::Signature);
    let answer = Client::mac(&ca).send(ir("CN=a"));
    assert_eq!(answer.extra[0], *ca.signer());
}

#[test]
fn a_stranger_with_a_certificate_needs_an_anchor_for_clients() {
    let other = ca();
    let stranger = Client::mac(&other).enrol("CN=device");
    let refusing = ca_with(Config {
        name: "first".to_owned(),
        ..config()
    });
    assert_eq!(
        Client::signed(&refusing, &stranger).send(ir("CN=a")).failure(),
        "signerNotTrusted"
    );

    let client_anchors = Anchors::new([other.root().clone()]).unwrap();
    let trusting = ca_with(Config {
        name: "second".to_owned(),
        client_anchors,
        ..config()
    });
    let made = Client::signed(&trusting, &stranger).enrol("CN=a");
    assert_eq!(
        trusting.ledger().find(&made.certificate.serial()).unwrap().client,
        "CN=device"
    );
}

#[test]
fn a_certificate_of_ours_signs_requests_until_it_is_revoked_or_expired() {
    let ca = ca();
    let identity = Client::mac(&ca).enrol("CN=device");
    let second = Client::signed(&ca, &identity).enrol("CN=second");
    assert_eq!(
        ca.ledger().find(&second.certificate.serial()).unwrap().client,
        "one"
    );
    let expired = Client::signed(&ca, &identity)
        .at(later(91 * 24 * 3600))
        .send(ir("CN=a"));
    assert_eq!(expired.failure(), "signerNotTrusted");
    assert!(
        !Client::signed(&ca, &identity)
            .send(rr(&identity.certificate))
            .is_error()
    );
    assert_eq!(
        Client::signed(&ca, &identity).send(ir("CN=a")).failure(),
        "certRevoked"
    );
}

// -- Is the header in order? ----------------------------------------------------------------------------------------

#[test]
fn a_header_that_is_not_in_order_is_refused_with_its_reason() {
    let ca = ca();
    let with = |change: fn(&mut Client)| {
        let mut client = Client::mac(&ca);
        change(&mut client);
        client.sent = client.encode(ir("CN=a"));
        client.again().failure()
    };
    assert_eq!(with(|client| client.message_time = Some(later(301))), "badTime");
    assert_eq!(with(|client| client.message_time = Some(later(-301))), "badTime");
    assert_eq!(with(|client| client.transaction = vec![1; 8]), "badDataFormat");
    assert_eq!(with(|client| client.nonce = vec![1; 15]), "badSenderNonce");
    assert_eq!(with(|client| client.pvno = 1), "unsupportedVersion");
    assert_eq!(ca.ledger().stats(start()).issued, 0);
}

#[test]
fn later_messages_must_bring_the_nonce_of_the_answer_and_come_from_the_same_client() {
    let ca = ca();
    let mut client = Client::mac(&ca);
    let certificate = client.send(ir("CN=a")).certificate();
    let right = client.recip_nonce.replace(random());
    assert_eq!(
        client.send(confirm(&certificate, None)).failure(),
        "badRecipientNonce"
    );
    client.recip_nonce = right;
    let mut thief = Client::new(&ca, mac("two", OTHER_SECRET));
    thief.transaction.clone_from(&client.transaction);
    thief.recip_nonce.clone_from(&client.recip_nonce);
    assert_eq!(thief.send(confirm(&certificate, None)).failure(), "notAuthorized");
    assert!(client.send(confirm(&certificate, None)).is_confirmation());
}

// -- Enrolment ------------------------------------------------------------------------------------------------------

#[test]
fn proof_of_possession_is_checked() {
    let ca = ca();
    let (ours, theirs) = (key(), key());
    let stolen = request(&template("CN=a", &theirs), None, &ours);
    assert_eq!(
        Client::mac(&ca).send(PkiBody::Ir(vec![stolen])).failure(),
        "badPOP"
    );
    let mut none = request(&template("CN=a", &ours), None, &ours);
    none.popo = None;
    assert_eq!(
        Client::mac(&ca).send(PkiBody::Cr(vec![none.clone()])).failure(),
        "badPOP"
    );
    none.popo = Some(ProofOfPossession::RaVerified(Null));
    assert_eq!(
        Client::mac(&ca).send(PkiBody::Ir(vec![none.clone()])).failure(),
        "badPOP"
    );
    ca.adjust(|policy| policy.ra_verified = RaVerified::Accepted);
    Client::mac(&ca).send(PkiBody::Ir(vec![none])).certificate();
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    let ca = ca();
    let key = key();
    let send = |template: &cmp::asn1::CertTemplate| {
        Client::mac(&ca)
            .send(PkiBody::Ir(vec![request(template, None, &key)]))
            .failure()
    };
    let plain = template("CN=a", &key);
    let mut no_name = plain.clone();
    no_name.subject = None;
    assert_eq!(send(&no_name), "badCertTemplate");
    let mut no_key = plain.clone();
    no_key.public_key = None;
    assert_eq!(send(&no_key), "badCertTemplate");
    let mut other_issuer = plain.clone();
    other_issuer.issuer = Some(cmp::asn1::Dn(name("CN=other CA")));
    assert_eq!(send(&other_issuer), "badCertTemplate");
    let mut ca_wanted = plain.clone();
    let is_ca = cmp::asn1::Extension {
        extn_id: "2.5.29.19".parse().unwrap(),
        critical: true,
        extn_value: octets(&[0x30, 3, 1, 1, 0xff]),
    };
    ca_wanted.extensions = Some(vec![is_ca]);
    assert_eq!(send(&ca_wanted), "badCertTemplate");
    let two = vec![request(&plain, None, &key), request(&plain, None, &key)];
    assert_eq!(Client::mac(&ca).send(PkiBody::Ir(two)).failure(), "badRequest");
    assert_eq!(ca.ledger().stats(start()).issued, 0);
}

#[test]
fn a_validity_beyond_the_policy_is_shortened_and_the_client_is_told() {
    let ca = ca();
    ca.adjust(|policy| policy.max_validity_seconds = 60);
    let key = key();
    let mut template = template("CN=a", &key);
    let seconds = u64::try_from(later(3600).as_second()).unwrap();
    let until = Time::try_from(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    template.validity = Some(OptionalValidity {
        not_before: None,
        not_after: Some(until),
    });
    let answer = Client::mac(&ca).send(PkiBody::Ir(vec![request(&template, None, &key)]));
    assert_eq!(answer.status().status, PkiStatus::GrantedWithMods);
    assert_eq!(answer.certificate().not_after(), later(60));
}

#[test]
fn serial_numbers_are_positive_random_and_of_128_bits() {
    let ca = ca();
    let serial = || {
        Client::mac(&ca)
            .implicit()
            .enrol("CN=a")
            .certificate
            .serial_bytes()
            .to_vec()
    };
    let serials: std::collections::BTreeSet<_> = (0..20).map(|_| serial()).collect();
    assert_eq!(serials.len(), 20);
    assert!(
        serials
            .iter()
            .all(|serial| serial.len() == 16 && (0x40..0x80).contains(&serial[0]))
    );
}

// -- Update and revocation ------------------------------------------------------------------------------------------

#[test]
fn an_update_is_signed_by_the_certificate_to_be_updated() {
    let ca = ca();
    let identity = Client::mac(&ca).enrol("CN=device");
    let second = Client::signed(&ca, &identity).enrol("CN=second");
    Client::signed(&ca, &second)
        .send(kur(&second.certificate))
        .certificate();
    assert_eq!(
        Client::mac(&ca).send(kur(&second.certificate)).failure(),
        "wrongIntegrity"
    );
    assert_eq!(
        Client::signed(&ca, &identity)
            .send(kur(&second.certificate))
            .failure(),
        "notAuthorized"
    );
    assert_eq!(
        Client::signed(&ca, &second).send(kur(ca.signer())).failure(),
        "badCertId"
    );
    let expired = Client::signed(&ca, &second)
        .at(later(91 * 24 * 3600))
        .send(kur(&second.certificate));
    assert_eq!(expired.failure(), "badCertId");
    Client::signed(&ca, &second).send(rr(&second.certificate));
    assert_eq!(
        Client::signed(&ca, &second)
            .send(kur(&second.certificate))
            .failure(),
        "certRevoked"
    );
}

#[test]
fn another_certificate_of_the_same_client_may_update_and_revoke_if_the_policy_says_so() {
    let ca = ca();
    ca.adjust(|policy| policy.key_update_signer = KeyUpdateSigner::SameClient);
    let identity = Client::mac(&ca).enrol("CN=device");
    let second = Client::signed(&ca, &identity).enrol("CN=second");
    let stranger = Client::new(&ca, mac("two", OTHER_SECRET)).enrol("CN=stranger");
    assert_eq!(
        Client::signed(&ca, &stranger)
            .send(kur(&second.certificate))
            .failure(),
        "notAuthorized"
    );
    assert_eq!(
        Client::signed(&ca, &stranger)
            .send(rr(&second.certificate))
            .failure(),
        "notAuthorized"
    );
    Client::signed(&ca, &identity)
        .send(kur(&second.certificate))
        .certificate();
    Client::signed(&ca, &identity).send(rr(&second.certificate));
    assert!(state(&ca, &second.certificate).is_revoked());
}

#[test]
fn a_registration_authority_revokes_for_everybody_and_nothing_is_revoked_twice() {
    let ca = ca_with(Config {
        registration_authorities: vec![name("CN=ra")],
        ..config()
    });
    let ra = Client::mac(&ca).enrol("CN=ra");
    let victim = Client::new(&ca, mac("two", OTHER_SECRET)).enrol("CN=victim");
    assert_eq!(
        Client::mac(&ca).send(rr(&victim.certificate)).failure(),
        "wrongIntegrity"
    );
    let done = Client::signed(&ca, &ra).send(rr(&victim.certificate));
    assert_eq!(done.status().status, PkiStatus::Accepted);
    assert_eq!(
        state(&ca, &victim.certificate),
        State::Revoked {
            at: start(),
            reason: 0
        }
    );
    assert_eq!(
        Client::signed(&ca, &ra).send(rr(&victim.certificate)).failure(),
        "certRevoked"
    );
    assert_eq!(
        Client::signed(&ca, &victim)
            .send(rr(&victim.certificate))
            .failure(),
        "certRevoked"
    );
    assert_eq!(
        Client::signed(&ca, &ra).send(rr(ca.signer())).failure(),
        "badCertId"
    );
}

// -- Confirmation ---------------------------------------------------------------------------------------------------

#[test]
fn what_is_not_confirmed_in_time_is_revoked() {
    let ca = ca();
    let mut client = Client::mac(&ca);
    let answer = client.send(ir("CN=a"));
    assert_eq!(answer.header.confirm_wait_time(), Some(later(300)));
    let certificate = answer.certificate();
    client.now = later(301);
    assert_eq!(client.send(confirm(&certificate, None)).failure(), "certRevoked");
    assert_eq!(state(&ca, &certificate), State::Unconfirmed { at: later(300) });
    assert_eq!(ca.ledger().stats(later(301)).unconfirmed, 1);
}

#[test]
fn a_client_can_reject_its_certificate_in_four_ways() {
    let ca = ca();
    let wrong_hash = |_: &pki::Certificate| {
        PkiBody::CertConf(vec![CertStatus {
            cert_hash: OctetString::new([0; 32]).unwrap(),
            cert_req_id: 0,
            status_info: None,
            hash_alg: None,
        }])
    };
    let error = |_: &pki::Certificate| {
        let status = PkiStatusInfo::rejection(FailureInfo::bit(2).unwrap(), "no");
        PkiBody::Error(ErrorMsg {
            status,
            error_code: None,
            error_details: None,
        })
    };
    type Way<'a> = &'a dyn Fn(&pki::Certificate) -> PkiBody;
    let ways: [(Way<'_>, bool); 4] = [
        (
            &|certificate| confirm(certificate, Some(PkiStatus::Rejection)),
            true,
        ),
        (&|_| PkiBody::CertConf(Vec::new()), true),
        (&wrong_hash, false),
        (&error, true),
    ];
    for (way, is_confirmed) in ways {
        let mut client = Client::mac(&ca);
        let certificate = client.send(ir("CN=a")).certificate();
        assert_eq!(client.send(way(&certificate)).is_confirmation(), is_confirmed);
        assert_eq!(state(&ca, &certificate), State::Rejected { at: start() });
    }
}

#[test]
fn a_confirmation_that_was_not_asked_for_or_comes_twice_is_certconfirmed() {
    let ca = ca();
    let mut implicit = Client::mac(&ca).implicit();
    let certificate = implicit.send(ir("CN=a")).certificate();
    assert_eq!(state(&ca, &certificate), State::Confirmed);
    assert_eq!(
        implicit.send(confirm(&certificate, None)).failure(),
        "certConfirmed"
    );

    let mut explicit = Client::mac(&ca);
    let certificate = explicit.send(ir("CN=a")).certificate();
    assert!(explicit.send(confirm(&certificate, None)).is_confirmation());
    assert_eq!(
        explicit.send(confirm(&certificate, None)).failure(),
        "certConfirmed"
    );
    assert_eq!(state(&ca, &certificate), State::Confirmed);
}

#[test]
fn messages_without_a_transaction_are_refused() {
    let ca = ca();
    let identity = Client::mac(&ca).enrol("CN=a");
    assert_eq!(
        Client::mac(&ca)
            .send(confirm(&identity.certificate, None))
            .failure(),
        "badRequest"
    );
    assert_eq!(Client::mac(&ca).send(poll(0)).failure(), "badRequest");
    let ir_answer = PkiBody::PkiConf(null());
    assert_eq!(Client::mac(&ca).send(ir_answer).failure(), "badRequest");
}

// -- Repeats --------------------------------------------------------------------------------------------------------

#[test]
fn a_repeated_request_is_answered_in_the_way_that_is_set_and_never_issues_twice() {
    for (repeat, expected) in [
        (Repeat::SameAnswer, None),
        (Repeat::TransactionIdInUse, Some("transactionIdInUse")),
        (Repeat::BadRequest, Some("badRequest")),
    ] {
        let ca = ca();
        ca.adjust(|policy| policy.repeat = repeat);
        let mut client = Client::mac(&ca);
        let first = client.send(ir("CN=a"));
        let second = client.again();
        match expected {
            None => assert_eq!(first.bytes, second.bytes),
            Some(failure) => assert_eq!(second.failure(), failure),
        }
        assert_eq!(ca.ledger().stats(start()).issued, 1);
        assert_eq!(ca.ledger().stats(start()).repeated, 1);
        assert!(client.send(confirm(&first.certificate(), None)).is_confirmation());
        match expected {
            None => assert!(client.again().is_confirmation()),
            Some(_) => assert_eq!(client.again().failure(), "certConfirmed"),
        }
    }
}

#[test]
fn a_repeated_confirmation_that_still_waits_is_not_said_to_be_confirmed() {
    for repeat in [Repeat::SameAnswer, Repeat::TransactionIdInUse, Repeat::BadRequest] {
        let ca = ca();
        ca.adjust(|policy| {
            policy.repeat = repeat;
            policy.polls = BTreeMap::from([(RequestKind::CertConf, 1)]);
        });
        let mut client = Client::mac(&ca);
        let certificate = client.send(ir("CN=a")).certificate();
        let first = client.send(confirm(&certificate, None));
        assert!(first.is_waiting(), "{first:?}");
        let again = client.again();
        assert!(again.is_waiting(), "{repeat:?}: {again:?}");
        let issued = ca.ledger().entries(0, start()).remove(0);
        assert!(matches!(issued.state, State::Issued { .. }), "{issued:?}");
        assert!(client.send(poll(-1)).is_confirmation());
    }
}

#[test]
fn another_request_under_the_same_identifier_is_refused_and_harms_nothing() {
    let ca = ca();
    let mut client = Client::mac(&ca);
    let certificate = client.send(ir("CN=a")).certificate();
    let nonce = client.recip_nonce.clone();
    assert_eq!(client.send(ir("CN=b")).failure(), "transactionIdInUse");
    client.recip_nonce = nonce;
    assert!(client.send(confirm(&certificate, None)).is_confirmation());
}

#[test]
fn a_lost_answer_can_be_fetched_again() {
    let ca = ca();
    ca.faults().arm(Fault::once(FaultKind::DropAnswer));
    let client = Client::mac(&ca);
    let bytes = client.encode(ir("CN=a"));
    assert_eq!(ca.respond(&bytes, start()).delivery, devca::Delivery::Dropped);
    read(&answered(ca.respond(&bytes, start()))).certificate();
    assert_eq!(ca.ledger().stats(start()).issued, 1);
}

#[test]
fn a_transaction_is_forgotten_after_its_time() {
    let ca = ca();
    let mut client = Client::mac(&ca).implicit();
    client.send(ir("CN=a")).certificate();
    client.now = later(3601);
    client.send(ir("CN=a")).certificate();
    assert_eq!(ca.ledger().stats(start()).issued, 2);
}

// -- Polling --------------------------------------------------------------------------------------------------------

#[test]
fn every_kind_of_request_can_be_made_to_wait_and_works_in_the_end() {
    let ca = ca();
    let identity = Client::mac(&ca).enrol("CN=device");
    let kinds = [
        RequestKind::Ir,
        RequestKind::Kur,
        RequestKind::Rr,
        RequestKind::Genm,
        RequestKind::CertConf,
    ];
    ca.adjust(|policy| {
        policy.polls = kinds
            .map(|kind| (kind, 2))
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    });

    let wait = |client: &mut Client, body: PkiBody, id: i64| {
        let first = client.send(body);
        assert!(first.is_waiting(), "{first:?}");
        assert_eq!(first.is_error(), id == -1);
        let second = client.send(poll(id));
        let PkiBody::PollRep(entries) = &second.body else {
            panic!("{second:?}")
        };
        assert_eq!((entries[0].cert_req_id, entries[0].check_after), (id, 1));
        client.send(poll(id))
    };
    let mut client = Client::mac(&ca);
    let before = ca.ledger().stats(start()).issued;
    let certificate = wait(&mut client, ir("CN=a"), 0).certificate();
    assert_eq!(ca.ledger().stats(start()).issued, before + 1);
    assert!(wait(&mut client, confirm(&certificate, None), -1).is_confirmation());
    assert_eq!(state(&ca, &certificate), State::Confirmed);
    wait(&mut Client::signed(&ca, &identity), kur(&identity.certificate), 0).certificate();
    assert!(matches!(
        wait(&mut Client::mac(&ca), genm(), -1).body,
        PkiBody::Genp(_)
    ));
    let revoked = wait(&mut Client::signed(&ca, &identity), rr(&identity.certificate), -1);
    assert_eq!(revoked.status().status, PkiStatus::Accepted);
}

#[test]
fn nothing_is_issued_before_the_last_poll_and_endless_waiting_never_ends() {
    let ca = ca();
    ca.faults().arm(Fault::always(FaultKind::EndlessWaiting));
    let mut client = Client::mac(&ca);
    assert!(client.send(ir("CN=a")).is_waiting());
    for _ in 0..20 {
        assert!(matches!(client.send(poll(0)).body, PkiBody::PollRep(_)));
    }
    assert_eq!(ca.ledger().stats(start()).issued, 0);
    assert_eq!(client.send(poll(7)).failure(), "badRequest");
}

#[test]
fn a_refusal_can_be_waited_for() {
    let ca = ca();
    ca.adjust(|policy| policy.polls = BTreeMap::from([(RequestKind::Ir, 1)]));
    let mut client = Client::mac(&ca);
    assert!(client.send(ir("")).is_waiting());
    assert_eq!(client.send(poll(0)).failure(), "badCertTemplate");
}

// -- Memory ---------------------------------------------------------------------------------------------------------

#[test]
fn a_ca_in_a_directory_knows_its_certificates_after_a_restart_and_is_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config {
        directory: Some(folder.path().to_owned()),
        ..config()
    };
    let ca = ca_with(config());
    let identity = Client::mac(&ca).enrol("CN=device");
    let error = devca::DevCa::new(config(), start()).err().unwrap().to_string();
    assert!(error.contains("in use"), "{error}");
    let root = ca.root().clone();
    drop(ca);
    let ca = ca_with(config());
    assert_eq!(*ca.root(), root);
    Client::signed(&ca, &identity)
        .send(kur(&identity.certificate))
        .certificate();
    assert_eq!(ca.ledger().stats(start()).issued, 2);
}

#[test]
fn a_ca_with_a_limited_ledger_still_believes_its_own_signature() {
    let ca = ca_with(Config {
        ledger_limit: Some(1),
        ..config()
    });
    let identity = Client::mac(&ca).enrol("CN=device");
    Client::mac(&ca).enrol("CN=other");
    assert!(ca.ledger().find(&identity.certificate.serial()).is_none());
    Client::signed(&ca, &identity)
        .send(kur(&identity.certificate))
        .certificate();
    let done = Client::signed(&ca, &identity).send(rr(&identity.certificate));
    assert_eq!(done.status().status, PkiStatus::Accepted);
    assert_eq!(
        Client::signed(&ca, &identity).send(ir("CN=a")).failure(),
        "certRevoked"
    );
}

// -- Manners of real CAs --------------------------------------------------------------------------------------------

#[test]
fn extra_certs_and_sender_kid_can_be_left_out_of_a_confirmation() {
    let ca = ca();
    ca.adjust(|policy| {
        *policy = Policy {
            sparse_extra_certs: true,
            ..Policy::default()
        }
    });
    let identity = Client::mac(&ca).enrol("CN=device");
    let mut client = Client::signed(&ca, &identity);
    let answer = client.send(ir("CN=a"));
    assert_eq!(answer.extra[0], *ca.signer());
    let confirmed = client.send(confirm(&answer.certificate(), None));
    assert!(confirmed.is_confirmation());
    assert_eq!((confirmed.extra, confirmed.header.sender_kid), (Vec::new(), None));
}

#[test]
fn a_client_may_leave_out_its_certificate_after_the_first_message() {
    let ca = ca();
    let identity = Client::mac(&ca).enrol("CN=device");
    let mut client = Client::signed(&ca, &identity);
    let certificate = client.send(ir("CN=a")).certificate();
    client.nonce = random();
    let full = client.encode(confirm(&certificate, None));
    client.sent = without_extra_certs(&full);
    assert!(client.again().is_confirmation());
}

fn without_extra_certs(message: &[u8]) -> Vec<u8> {
    use cmp::asn1::{
        PkiMessage,
        der::{Decode, Encode},
    };
    let mut message = PkiMessage::from_der(message).unwrap();
    message.extra_certs = None;
    message.to_der().unwrap()
}
