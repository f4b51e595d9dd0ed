//! Exchanges that go well: every kind of request, every kind of protection, polling, restarts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use cmp::asn1::oid;
use cmp::asn1::{Dn, PkiBody, PkiStatus, ProofOfPossession};
use cmp::engine::{MacResponse, RefusalKnown};
use cmp::{
    Credentials, Engine, EnrolmentKind, ErrorKind, InMemory, MacAlgorithm, Message, Native, Outcome, Request,
    Step, Transaction,
};
use pki::digest::HashAlgorithm;
use pki::{KeyAlgorithm, PrivateKey};
use support::*;

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

fn mac_algorithms() -> Vec<MacAlgorithm> {
    let hashes = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ];
    let pbm = |owf, mac| MacAlgorithm::Pbm {
        owf,
        mac,
        iterations: 100,
        salt_len: 16,
    };
    let mut all = vec![
        MacAlgorithm::PBM,
        MacAlgorithm::LEGACY_PBM,
        pbm(HashAlgorithm::Sha512, HashAlgorithm::Sha1),
    ];
    all.extend(hashes.map(|hash| pbm(hash, hash)));
    all.extend(hashes.map(|hash| MacAlgorithm::Pbmac1 {
        prf: hash,
        mac: hash,
        iterations: 10,
        salt_len: 8,
    }));
    all.push(MacAlgorithm::Pbmac1 {
        prf: HashAlgorithm::Sha1,
        mac: HashAlgorithm::Sha512,
        iterations: 10,
        salt_len: 16,
    });
    all
}

/// Enrols to the end, with a restart after every step.
fn enrol(world: &World, credentials: &Credentials, kind: &EnrolmentKind) {
    let context = world.context(credentials);
    let transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    let mut transaction = restart(&transaction);
    let step = world
        .answer(&mut transaction, credentials, world.granted(kind))
        .unwrap();
    let answer = issued(step);
    let mut transaction = restart(&transaction);
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    assert_eq!(verified.root(), Some(&world.root.certificate));
    assert_eq!(transaction.accept(&verified, &context).unwrap(), Step::Send);
    let mut transaction = restart(&transaction);
    let step = world.answer(&mut transaction, credentials, pki_conf()).unwrap();
    assert_eq!(step, Step::Done(Outcome::Confirmed));
    assert!(restart(&transaction).is_over());
}

#[test]
fn every_kind_of_enrolment_ends_confirmed_with_a_signature() {
    let world = World::new();
    for kind in kinds(&world) {
        enrol(&world, &world.signature(), &kind);
    }
}

#[test]
fn every_mac_algorithm_ends_confirmed() {
    let world = World::new();
    for algorithm in mac_algorithms() {
        enrol(&world, &world.mac_with(algorithm), &EnrolmentKind::Initialization);
    }
    enrol(&world, &world.mac(), &EnrolmentKind::Certification);
    enrol(&world, &world.mac(), &EnrolmentKind::Pkcs10);
}

#[test]
fn every_signature_algorithm_protects_a_request_and_its_answer() {
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcP256,
        KeyAlgorithm::EcP384,
        KeyAlgorithm::EcP521,
        KeyAlgorithm::Ed25519,
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let mut world = World::new();
        world.own = world.root.issue(&Wish::new("CN=device,O=Lab", &key));
        world.signer = world.root.issue(&Wish::new(CA_NAME, &key));
        (world.own_key, world.signer_key, world.new_key) = (key.clone(), key.clone(), key.clone());
        for signature in signatures_of(algorithm) {
            let credentials = |certificate: &pki::Certificate| Credentials::Signature {
                key: key.clone(),
                algorithm: signature,
                certificate: certificate.clone(),
                chain: Vec::new(),
            };
            let (own, ca) = (credentials(&world.own), credentials(&world.signer));
            let request = world.request(EnrolmentKind::Initialization);
            let mut transaction = Transaction::begin(&request, &world.context(&own)).unwrap();
            let outgoing = transaction.outgoing().unwrap();
            let limits = cmp::Limits::default();
            let message = Message::decode(outgoing, &limits).unwrap();
            cmp::protection::verify_signature(&message, &world.own).unwrap();
            let reply = Reply::new(outgoing, ca, world.granted(&EnrolmentKind::Initialization));
            issued(transaction.receive(&reply.der(), &world.context(&own)).unwrap());
        }
    }
}

#[test]
fn requests_follow_the_lightweight_profile() {
    let world = World::new();
    for (credentials, sender, kid) in [
        (
            world.signature(),
            "CN=device,O=Lab",
            world.own.ski().unwrap().to_vec(),
        ),
        (world.mac(), "CN=ref-4711", REFERENCE.as_bytes().to_vec()),
    ] {
        let mut enrolment = world.enrolment(EnrolmentKind::Initialization);
        (enrolment.implicit_confirm, enrolment.profile) = (true, Some("tls".to_owned()));
        let context = world.context(&credentials);
        let transaction = Transaction::begin(&Request::enrol(enrolment), &context).unwrap();
        let limits = cmp::Limits::default();
        let message = Message::decode(transaction.outgoing().unwrap(), &limits).unwrap();
        let header = &message.header;
        assert_eq!(header.pvno, 2);
        assert_eq!(header.sender.name().unwrap(), &name(sender));
        assert_eq!(header.recipient.name().unwrap(), &name(CA_NAME));
        assert_eq!(header.sender_kid.as_ref().unwrap().as_bytes(), kid);
        assert_eq!(header.message_time.as_ref().unwrap().timestamp(), Some(now()));
        assert_eq!(header.transaction_id.as_ref().unwrap().as_bytes().len(), 16);
        assert_eq!(header.sender_nonce.as_ref().unwrap().as_bytes().len(), 16);
        assert_eq!(header.recip_nonce, None);
        assert!(header.implicit_confirm());
        assert_eq!(header.cert_profiles(), ["tls"]);
        let PkiBody::Ir(requests) = &message.body else {
            panic!("{}", message.body.name())
        };
        let [request] = requests.as_slice() else {
            panic!("one request")
        };
        assert_eq!(request.cert_req.cert_req_id, 0);
        assert_eq!(request.cert_req.cert_template.subject, Some(Dn(name(SUBJECT))));
        let Some(ProofOfPossession::Signature(popo)) = &request.popo else {
            panic!("no proof")
        };
        assert_eq!(popo.poposk_input, None);
        let signed = cmp::asn1::encode("CertRequest", &request.cert_req).unwrap();
        let algorithm = world.new_key.default_signature();
        world
            .new_key
            .public_key()
            .verify(algorithm, &signed, popo.signature.as_bytes().unwrap())
            .unwrap();
    }
}

#[test]
fn own_certificate_comes_first_in_extra_certs_and_its_chain_after_it() {
    let world = World::new();
    let intermediate = Ca::root("CN=Intermediate");
    let credentials = Credentials::signature(
        world.own_key.clone(),
        world.own.clone(),
        vec![intermediate.certificate.clone(), world.own.clone()],
    )
    .unwrap();
    let request = world.request(EnrolmentKind::Initialization);
    let transaction = Transaction::begin(&request, &world.context(&credentials)).unwrap();
    let limits = cmp::Limits::default();
    let message = Message::decode(transaction.outgoing().unwrap(), &limits).unwrap();
    assert_eq!(
        message.extra_certs(),
        [world.own.clone(), intermediate.certificate.clone()]
    );
}

#[test]
fn key_update_names_the_old_certificate() {
    let world = World::new();
    let credentials = world.signature();
    let kind = EnrolmentKind::KeyUpdate {
        old: Box::new(world.own.clone()),
    };
    let transaction = Transaction::begin(&world.request(kind), &world.context(&credentials)).unwrap();
    let PkiBody::Kur(requests) = sent(&transaction) else {
        panic!("no kur")
    };
    let id = requests[0].cert_req.old_cert_id().unwrap();
    assert_eq!(id.issuer.name().unwrap(), world.own.issuer());
    assert_eq!(id.serial_number.as_bytes(), world.own.serial_bytes());
}

#[test]
fn transaction_ids_and_nonces_are_never_the_same() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let request = world.request(EnrolmentKind::Initialization);
    let one = Transaction::begin(&request, &context).unwrap();
    let two = Transaction::begin(&request, &context).unwrap();
    assert_ne!(one.id(), two.id());
    let nonce = |transaction: &Transaction| {
        let limits = cmp::Limits::default();
        Message::decode(transaction.outgoing().unwrap(), &limits)
            .unwrap()
            .header
            .sender_nonce
    };
    assert_ne!(nonce(&one), nonce(&two));
}

#[test]
fn later_messages_carry_the_peers_nonce_and_a_fresh_one_of_ours() {
    let world = World::new();
    let credentials = world.mac();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    let first = transaction.outgoing().unwrap().to_vec();
    let reply = world.reply(&first, &credentials, world.granted(&kind));
    let answer = issued(transaction.receive(&reply.der(), &context).unwrap());
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction.accept(&verified, &context).unwrap();
    let limits = cmp::Limits::default();
    let second = Message::decode(transaction.outgoing().unwrap(), &limits).unwrap();
    let first = Message::decode(&first, &limits).unwrap();
    assert_eq!(second.header.recip_nonce, reply.header.sender_nonce);
    assert_ne!(second.header.sender_nonce, first.header.sender_nonce);
    assert_eq!(second.header.transaction_id, first.header.transaction_id);
    // The parameters of the MAC stay the same for the transaction (RFC 9810, 5.1.3.1).
    assert_eq!(second.header.protection_alg, first.header.protection_alg);
}

#[test]
fn implicit_confirmation_ends_the_transaction_if_asked_for_and_granted() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    for (asked, granted, over) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut enrolment = world.enrolment(kind.clone());
        enrolment.implicit_confirm = asked;
        let mut transaction = Transaction::begin(&Request::enrol(enrolment), &context).unwrap();
        let mut reply = world.reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&kind),
        );
        if granted {
            reply = reply.implicit_confirm();
        }
        let answer = issued(transaction.receive(&reply.der(), &context).unwrap());
        let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
        let step = transaction.accept(&verified, &context).unwrap();
        assert_eq!(
            step == Step::Done(Outcome::Confirmed),
            over,
            "asked {asked}, granted {granted}"
        );
        assert_eq!(transaction.is_over(), over);
    }
}

#[test]
fn cert_conf_hashes_with_the_hash_of_the_certificates_signature() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    let answer = issued(
        world
            .answer(&mut transaction, &credentials, world.granted(&kind))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction.accept(&verified, &context).unwrap();
    let PkiBody::CertConf(confirm) = sent(&transaction) else {
        panic!("no certConf")
    };
    assert_eq!(
        confirm[0].cert_hash.as_bytes(),
        pki::digest::sha256(answer.certificate.der())
    );
    assert_eq!((&confirm[0].status_info, &confirm[0].hash_alg), (&None, &None));
}

/// RFC 9810, 5.3.18: where the certificate's signature names no hash (ML-DSA), certConf does, and has version 3.
#[test]
fn cert_conf_names_the_hash_where_the_certificates_signature_does_not() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    // ecdsa-with-SHA256, with another last arc.
    let known = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let mut der = world.issue().der().to_vec();
    for at in 0..der.len() - known.len() {
        if der[at..].starts_with(&known) {
            der[at + 7] = 0x7f;
        }
    }
    let certificate = pki::Certificate::from_der(&der).unwrap();
    let body = rep_for(&kind, accepted(0, &certificate));
    let answer = issued(world.answer(&mut transaction, &credentials, body).unwrap());
    let error = transaction.verify(&answer, &world.peer, now()).unwrap_err();
    transaction.reject(&error, &context).unwrap();
    let limits = cmp::Limits::default();
    let message = Message::decode(transaction.outgoing().unwrap(), &limits).unwrap();
    let PkiBody::CertConf(confirm) = &message.body else {
        panic!("no certConf")
    };
    assert_eq!(
        (message.header.pvno, confirm[0].hash_alg.as_ref().unwrap().oid),
        (3, oid::SHA512)
    );
    assert_eq!(confirm[0].cert_hash.as_bytes(), pki::digest::sha512(&der));
}

#[test]
fn p10cr_answers_with_request_id_0_or_minus_1_are_taken_and_the_id_is_repeated() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    for id in [0, -1] {
        let mut transaction = Transaction::begin(&world.request(EnrolmentKind::Pkcs10), &context).unwrap();
        assert!(matches!(sent(&transaction), PkiBody::P10cr(_)));
        let body = rep_for(&EnrolmentKind::Pkcs10, accepted(id, &world.issue()));
        let answer = issued(world.answer(&mut transaction, &credentials, body).unwrap());
        let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
        transaction.accept(&verified, &context).unwrap();
        let PkiBody::CertConf(confirm) = sent(&transaction) else {
            panic!("no certConf")
        };
        assert_eq!(confirm[0].cert_req_id, id);
    }
}

#[test]
fn rejected_certificate_is_told_to_the_ca_and_the_transaction_completes() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    let other = world.root.issue(&Wish::new(SUBJECT, &key()).sans(&SANS));
    let body = rep_for(&kind, accepted(0, &other));
    let answer = issued(world.answer(&mut transaction, &credentials, body).unwrap());
    let error = transaction.verify(&answer, &world.peer, now()).unwrap_err();
    assert_eq!(error.class, cmp::Class::Untrusted);
    assert_eq!(transaction.reject(&error, &context).unwrap(), Step::Send);
    let mut transaction = restart(&transaction);
    let PkiBody::CertConf(confirm) = sent(&transaction) else {
        panic!("no certConf")
    };
    let status = confirm[0].status_info.as_ref().unwrap();
    assert_eq!(status.status, PkiStatus::Rejection);
    let step = world.answer(&mut transaction, &credentials, pki_conf()).unwrap();
    assert_eq!(step, Step::Done(Outcome::Refused(RefusalKnown::Yes)));
}

#[test]
fn rejection_after_implicit_confirmation_leaves_an_orphan_and_says_so() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut enrolment = world.enrolment(kind.clone());
    enrolment.implicit_confirm = true;
    let mut transaction = Transaction::begin(&Request::enrol(enrolment), &context).unwrap();
    let other = world.root.issue(&Wish::new(SUBJECT, &key()).sans(&SANS));
    let body = rep_for(&kind, accepted(0, &other));
    let reply = world
        .reply(transaction.outgoing().unwrap(), &credentials, body)
        .implicit_confirm();
    let answer = issued(transaction.receive(&reply.der(), &context).unwrap());
    let error = transaction.verify(&answer, &world.peer, now()).unwrap_err();
    let step = transaction.reject(&error, &context).unwrap();
    assert_eq!(step, Step::Done(Outcome::Refused(RefusalKnown::No)));
}

/// EJBCA signs its answers to requests with a MAC; allowed by default, if the signer has a path to the anchors.
#[test]
fn signed_answer_to_a_mac_request_is_taken_unless_the_policy_forbids_it() {
    let mut world = World::new();
    let credentials = world.mac();
    let kind = EnrolmentKind::Initialization;
    for (policy, taken) in [(MacResponse::AllowSignature, true), (MacResponse::MacOnly, false)] {
        world.peer.policy.mac_response = policy;
        let context = world.context(&credentials);
        let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
        let reply = Reply::new(
            transaction.outgoing().unwrap(),
            world.ca_credentials(),
            world.granted(&kind),
        );
        let result = transaction.receive(&reply.der(), &context);
        assert_eq!(result.is_ok(), taken, "{result:?}");
        if let Err(error) = result {
            assert!(matches!(
                error.kind,
                ErrorKind::WrongProtection { expected: "MAC", .. }
            ));
        }
    }
}

/// Nokia NCM: pkiConf comes without extraCerts and senderKID.
#[test]
fn signer_of_the_first_answer_is_remembered_also_over_a_restart() {
    let world = World::new();
    let credentials = world.signature();
    let context = world.context(&credentials);
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &context).unwrap();
    let answer = issued(
        world
            .answer(&mut transaction, &credentials, world.granted(&kind))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction.accept(&verified, &context).unwrap();
    let bare = bare_pki_conf(&world, &transaction);
    let mut restarted = restart(&transaction);
    for transaction in [&mut transaction, &mut restarted] {
        assert_eq!(
            transaction.receive(&bare, &context).unwrap(),
            Step::Done(Outcome::Confirmed)
        );
    }
}

/// A pkiConf by the signer, without senderKID and extraCerts.
fn bare_pki_conf(world: &World, transaction: &Transaction) -> Vec<u8> {
    use cmp::asn1::der::asn1::BitString;
    use cmp::asn1::{PkiMessage, ProtectedPart, encode};
    let mut reply = Reply::new(
        transaction.outgoing().unwrap(),
        world.ca_credentials(),
        pki_conf(),
    );
    let algorithm = world.signer_key.default_signature();
    reply.header.protection_alg = Some(cmp::protection::signature_identifier(algorithm).unwrap());
    let part = ProtectedPart {
        header: reply.header.clone(),
        body: reply.body.clone(),
    };
    let signature = world
        .signer_key
        .sign(algorithm, &encode("ProtectedPart", &part).unwrap())
        .unwrap();
    let protection = Some(BitString::from_bytes(&signature).unwrap());
    let message = PkiMessage {
        header: part.header,
        body: part.body,
        protection,
        extra_certs: None,
    };
    encode("PKIMessage", &message).unwrap()
}

/// Whoever can write the stored form cannot make a signer trusted.
#[test]
fn signer_in_a_stored_transaction_is_checked_again_with_todays_anchors() {
    let mut world = World::new();
    let credentials = world.signature();
    let kind = EnrolmentKind::Initialization;
    let mut transaction =
        Transaction::begin(&world.request(kind.clone()), &world.context(&credentials)).unwrap();
    let answer = issued(
        world
            .answer(&mut transaction, &credentials, world.granted(&kind))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction
        .accept(&verified, &world.context(&credentials))
        .unwrap();
    let bare = bare_pki_conf(&world, &transaction);
    let mut transaction = restart(&transaction);
    world.peer.trust.responses = Ca::root("CN=Other Root").anchors();
    let error = transaction
        .receive(&bare, &world.context(&credentials))
        .unwrap_err();
    assert!(matches!(error.kind, ErrorKind::SignerUntrusted(_)), "{error}");
}

#[test]
fn stored_form_holds_no_secret_and_no_key() {
    let world = World::new();
    let pkcs8 = world.new_key.to_pkcs8_der().unwrap();
    // The scalar of a P-256 key in PKCS#8: 32 bytes after an OCTET STRING header.
    let at = pkcs8.windows(2).position(|w| w == [0x04, 0x20]).unwrap() + 2;
    let scalar = &pkcs8[at..at + 32];
    for credentials in [world.mac(), world.signature()] {
        let kind = EnrolmentKind::Initialization;
        let mut transaction =
            Transaction::begin(&world.request(kind.clone()), &world.context(&credentials)).unwrap();
        let mut forms = vec![serde_json::to_string(&transaction).unwrap()];
        world
            .answer(&mut transaction, &credentials, error_waiting())
            .unwrap();
        forms.push(serde_json::to_string(&transaction).unwrap());
        world
            .answer(&mut transaction, &credentials, world.granted(&kind))
            .unwrap();
        forms.push(serde_json::to_string(&transaction).unwrap());
        forms.push(format!("{transaction:?} {credentials:?}"));
        for form in forms {
            for secret in [SECRET.as_bytes(), scalar] {
                assert!(!holds(&form, secret), "{form}");
            }
        }
    }
}

/// Does a text hold these bytes: plain, as base64 at any offset, as hexadecimal digits?
fn holds(text: &str, secret: &[u8]) -> bool {
    use base64ct::{Base64Unpadded, Encoding};
    let mut forms = vec![pki::digest::hex(secret)];
    forms.extend(std::str::from_utf8(secret).map(str::to_owned));
    for shift in 0..3usize {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(secret);
        let encoded = Base64Unpadded::encode_string(&shifted);
        // Without the digits at both ends, which depend on the neighbours.
        forms.push(encoded[shift * 2..encoded.len() - 2].to_owned());
    }
    forms.iter().any(|form| text.contains(form.as_str()))
}

#[test]
fn unknown_version_of_the_stored_form_is_refused() {
    let world = World::new();
    let credentials = world.signature();
    let request = world.request(EnrolmentKind::Initialization);
    let transaction = Transaction::begin(&request, &world.context(&credentials)).unwrap();
    let json = serde_json::to_string(&transaction)
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    let error = serde_json::from_str::<Transaction>(&json).unwrap_err();
    assert!(error.to_string().contains("unknown version 2"), "{error}");
}

#[test]
fn other_credentials_in_mid_transaction_are_refused() {
    let world = World::new();
    let (mac, signature) = (world.mac(), world.signature());
    let kind = EnrolmentKind::Initialization;
    let mut transaction = Transaction::begin(&world.request(kind.clone()), &world.context(&mac)).unwrap();
    let answer = issued(
        world
            .answer(&mut transaction, &mac, world.granted(&kind))
            .unwrap(),
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    let error = transaction
        .accept(&verified, &world.context(&signature))
        .unwrap_err();
    assert!(matches!(error.kind, ErrorKind::State(_)), "{error}");
    assert_eq!(
        transaction.accept(&verified, &world.context(&mac)).unwrap(),
        Step::Send
    );
}

/// The engine over a transport that loses every first answer: the same bytes go out again.
#[tokio::test]
async fn native_engine_repeats_the_same_bytes_after_a_lost_answer() {
    use cmp::{Reached, TransportError, TransportErrorKind};
    use std::sync::{Arc, Mutex};

    let world = Arc::new(World::new());
    let credentials = world.mac();
    let kind = EnrolmentKind::Initialization;
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let transport = {
        let (world, seen, credentials, kind) =
            (world.clone(), seen.clone(), credentials.clone(), kind.clone());
        InMemory::new(move |body: &[u8]| {
            let mut seen = seen.lock().unwrap();
            seen.push(body.to_vec());
            if seen.len() % 2 == 1 {
                return Err(TransportError::new(
                    Reached::Maybe,
                    TransportErrorKind::Timeout,
                    "no answer",
                ));
            }
            let limits = cmp::Limits::default();
            let body_of = match Message::decode(body, &limits).unwrap().body {
                PkiBody::Ir(_) => world.granted(&kind),
                _ => pki_conf(),
            };
            Ok(world.reply(body, &credentials, body_of).der())
        })
    };
    let native = Native::new(Arc::new(transport));
    let context = world.context(&credentials);
    let mut transaction = native.begin(&world.request(kind), &context).unwrap();
    let error = native.exchange(&mut transaction, &context).await.unwrap_err();
    assert_eq!((error.class, error.reached), (cmp::Class::Retry, Reached::Maybe));
    let mut transaction = restart(&transaction);
    let answer = issued(native.exchange(&mut transaction, &context).await.unwrap());
    // Stopped before the decision: the answer is still there.
    let mut transaction = restart(&transaction);
    assert_eq!(
        issued(native.exchange(&mut transaction, &context).await.unwrap()),
        answer
    );
    let verified = transaction.verify(&answer, &world.peer, now()).unwrap();
    transaction.accept(&verified, &context).unwrap();
    native.exchange(&mut transaction, &context).await.unwrap_err();
    let mut transaction = restart(&transaction);
    assert_eq!(
        native.exchange(&mut transaction, &context).await.unwrap(),
        Step::Done(Outcome::Confirmed)
    );
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), &seen[0], &seen[2]), (4, &seen[1], &seen[3]));
}
