//! Answers that ask for too much work or too much memory: refused before the work is done.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use cmp::asn1::der::Encode;
use cmp::asn1::der::asn1::{Any, Null, OctetString};
use cmp::asn1::{
    AlgorithmIdentifier, FailureInfo, FreeText, InfoTypeAndValue, ObjectIdentifier, Pbkdf2Params, Pbkdf2Salt,
    PbmParameter, Pbmac1Params, PkiBody, PkiMessage, PkiStatusInfo, decode, oid,
};
use cmp::{Class, CmpError, Credentials, EnrolmentKind, ErrorKind, General, Request, Transaction};
use support::*;

const KIND: EnrolmentKind = EnrolmentKind::Initialization;

fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifier {
    AlgorithmIdentifier {
        oid,
        parameters: Some(Any::from(Null)),
    }
}

fn identifier<T: Encode + der::Tagged + der::EncodeValue>(
    oid: ObjectIdentifier,
    value: &T,
) -> AlgorithmIdentifier {
    AlgorithmIdentifier {
        oid,
        parameters: Some(Any::encode_from(value).unwrap()),
    }
}

fn salt(length: usize) -> OctetString {
    octets(&vec![7; length])
}

fn pbm(iterations: i64, salt_len: usize) -> AlgorithmIdentifier {
    let parameters = PbmParameter {
        salt: salt(salt_len),
        owf: with_null(oid::SHA256),
        iteration_count: iterations,
        mac: with_null(oid::HMAC_SHA256),
    };
    identifier(oid::PASSWORD_BASED_MAC, &parameters)
}

fn pbmac1(iterations: i64, salt_len: usize, key_length: Option<i64>) -> AlgorithmIdentifier {
    let kdf = Pbkdf2Params {
        salt: Pbkdf2Salt::Specified(salt(salt_len)),
        iteration_count: iterations,
        key_length,
        prf: Some(with_null(oid::HMAC_SHA256)),
    };
    let parameters = Pbmac1Params {
        key_derivation_func: identifier(oid::PBKDF2, &kdf),
        message_auth_scheme: with_null(oid::HMAC_SHA256),
    };
    identifier(oid::PBMAC1, &parameters)
}

/// The right answer to a request with a MAC, with another protectionAlg. It is refused.
fn refuse_algorithm(algorithm: AlgorithmIdentifier) -> CmpError {
    let world = World::new();
    let credentials = world.mac();
    let mut transaction = Transaction::begin(&world.request(KIND), &world.context(&credentials)).unwrap();
    let der = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .der();
    let mut message: PkiMessage = decode("PKIMessage", &der).unwrap();
    message.header.protection_alg = Some(algorithm);
    let der = message.to_der().unwrap();
    transaction
        .receive(&der, &world.context(&credentials))
        .unwrap_err()
}

#[test]
fn costs_of_macs_are_bounded() {
    let cases = [
        ("iterations of the password-based MAC", pbm(100_001, 16), 100_000),
        ("iterations of the password-based MAC", pbm(i64::MAX, 16), 100_000),
        ("iterations of the password-based MAC", pbm(0, 16), 100_000),
        ("iterations of the password-based MAC", pbm(-1, 16), 100_000),
        ("salt of the MAC", pbm(100, 1025), 1024),
        ("iterations of PBKDF2", pbmac1(1_000_001, 16, Some(32)), 1_000_000),
        ("iterations of PBKDF2", pbmac1(0, 16, Some(32)), 1_000_000),
        ("salt of the MAC", pbmac1(100, 1025, Some(32)), 1024),
        ("keyLength of PBKDF2", pbmac1(100, 16, Some(65)), 64),
        ("keyLength of PBKDF2", pbmac1(100, 16, Some(1 << 40)), 64),
        ("keyLength of PBKDF2", pbmac1(100, 16, Some(0)), 64),
        ("keyLength of PBKDF2", pbmac1(100, 16, Some(-1)), 64),
    ];
    for (what, algorithm, limit) in cases {
        let error = refuse_algorithm(algorithm);
        assert_eq!(
            (error.class, error.kind),
            (Class::Untrusted, ErrorKind::Limit { what, limit })
        );
    }
}

#[test]
fn macs_at_the_limits_are_tried() {
    for algorithm in [
        pbm(1_000, 1024),
        pbm(1, 0),
        pbmac1(1_000, 1024, Some(64)),
        pbmac1(1, 0, None),
    ] {
        assert_eq!(refuse_algorithm(algorithm).kind, ErrorKind::BadMac);
    }
}

/// CVE-2026-63076: the parameters have the type that their algorithm calls for, or they are not decoded.
#[test]
fn parameters_of_another_type_than_the_algorithm_calls_for_are_refused() {
    let swapped = |oid, from: AlgorithmIdentifier| AlgorithmIdentifier {
        oid,
        parameters: from.parameters,
    };
    let any = |der: &[u8]| Some(decode::<Any>("Any", der).unwrap());
    let of = |oid, parameters| AlgorithmIdentifier { oid, parameters };
    let cases = [
        swapped(oid::PASSWORD_BASED_MAC, pbmac1(100, 16, None)),
        swapped(oid::PBMAC1, pbm(100, 16)),
        of(oid::PASSWORD_BASED_MAC, None),
        of(oid::PASSWORD_BASED_MAC, Some(Any::from(Null))),
        of(oid::PASSWORD_BASED_MAC, any(&[4, 1, 0])),
        of(oid::PASSWORD_BASED_MAC, any(&[0x30, 0])),
        of(oid::PBMAC1, None),
        of(oid::PBMAC1, any(&[2, 1, 1])),
    ];
    for algorithm in cases {
        let error = refuse_algorithm(algorithm.clone());
        assert!(
            matches!(error.kind, ErrorKind::Malformed { .. }),
            "{algorithm:?}: {error}"
        );
    }
}

#[test]
fn unknown_parts_of_macs_are_refused() {
    let unknown: ObjectIdentifier = "1.2.3.4".parse().unwrap();
    let parameters = |owf, mac| PbmParameter {
        salt: salt(16),
        owf,
        iteration_count: 100,
        mac,
    };
    let scheme = |kdf, mac| Pbmac1Params {
        key_derivation_func: kdf,
        message_auth_scheme: mac,
    };
    let good_kdf = || {
        let parameters = pbmac1(100, 16, None).parameters.unwrap();
        parameters
            .decode_as::<Pbmac1Params>()
            .unwrap()
            .key_derivation_func
    };
    let other_source = Pbkdf2Params {
        salt: Pbkdf2Salt::OtherSource(with_null(unknown)),
        iteration_count: 100,
        key_length: None,
        prf: None,
    };
    let cases = [
        identifier(
            oid::PASSWORD_BASED_MAC,
            &parameters(with_null(unknown), with_null(oid::HMAC_SHA256)),
        ),
        identifier(
            oid::PASSWORD_BASED_MAC,
            &parameters(with_null(oid::SHA256), with_null(unknown)),
        ),
        identifier(
            oid::PBMAC1,
            &scheme(with_null(unknown), with_null(oid::HMAC_SHA256)),
        ),
        identifier(oid::PBMAC1, &scheme(good_kdf(), with_null(unknown))),
        identifier(
            oid::PBMAC1,
            &scheme(
                identifier(oid::PBKDF2, &other_source),
                with_null(oid::HMAC_SHA256),
            ),
        ),
    ];
    for algorithm in cases {
        let error = refuse_algorithm(algorithm);
        assert!(matches!(error.kind, ErrorKind::Unsupported { .. }), "{error}");
    }
}

/// Receives an answer in a fresh transaction.
fn receive(world: &World, credentials: &Credentials, change: impl FnOnce(&mut Reply)) -> CmpError {
    let mut transaction = Transaction::begin(&world.request(KIND), &world.context(credentials)).unwrap();
    let reply = world
        .reply(transaction.outgoing().unwrap(), credentials, world.granted(&KIND))
        .with(change);
    transaction
        .receive(&reply.der(), &world.context(credentials))
        .unwrap_err()
}

fn is_limit(error: &CmpError, what: &str) {
    assert_eq!(error.class, Class::Untrusted, "{error}");
    assert!(
        matches!(&error.kind, ErrorKind::Limit { what: found, .. } if *found == what),
        "{error}"
    );
}

#[test]
fn a_message_of_indefinite_length_is_refused_by_that_name() {
    let ber = [0x30, 0x80, 0x30, 0x03, 0x02, 0x01, 0x02, 0x00, 0x00];
    let error = cmp::Message::decode(&ber, &cmp::Limits::default()).unwrap_err();
    assert!(error.to_string().contains("indefinite length"), "{error}");
    assert_eq!(error.class(), Class::Misconfigured);
}

#[test]
fn oversized_messages_are_refused_unread() {
    let world = World::new();
    let credentials = world.mac();
    let mut transaction = Transaction::begin(&world.request(KIND), &world.context(&credentials)).unwrap();
    let error = transaction
        .receive(&vec![0x30; 1024 * 1024 + 1], &world.context(&credentials))
        .unwrap_err();
    is_limit(&error, "message size in bytes");
}

#[test]
fn truncated_and_prolonged_messages_are_malformed_wherever_they_are_cut() {
    let world = World::new();
    let credentials = world.signature();
    let mut transaction = Transaction::begin(&world.request(KIND), &world.context(&credentials)).unwrap();
    let der = world
        .reply(
            transaction.outgoing().unwrap(),
            &credentials,
            world.granted(&KIND),
        )
        .der();
    for length in 0..der.len() {
        let error = transaction
            .receive(&der[..length], &world.context(&credentials))
            .unwrap_err();
        assert_eq!(error.class, Class::Retry);
        assert!(
            matches!(error.kind, ErrorKind::Malformed { .. }),
            "{length}: {error}"
        );
    }
    let mut longer = der.clone();
    longer.push(0);
    let error = transaction
        .receive(&longer, &world.context(&credentials))
        .unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Malformed { .. }), "{error}");
    issued(transaction.receive(&der, &world.context(&credentials)).unwrap());
}

#[test]
fn too_many_certificates_are_refused() {
    let world = World::new();
    let many: Vec<_> = (0..33)
        .map(|i| world.root.issue(&Wish::new(&format!("CN=c{i}"), &world.own_key)))
        .collect();
    let list: Vec<_> = many.iter().map(encoded).collect();
    let credentials = world.mac();
    is_limit(
        &receive(&world, &credentials, |reply| reply.extra = many),
        "number of extraCerts",
    );
    let ca_pubs = list.clone();
    is_limit(
        &receive(&world, &credentials, |reply| {
            let PkiBody::Ip(rep) = &mut reply.body else {
                panic!()
            };
            rep.ca_pubs = Some(ca_pubs);
        }),
        "certificates in caPubs",
    );
    let mut transaction =
        Transaction::begin(&Request::General(General::CaCerts), &world.context(&credentials)).unwrap();
    let body = PkiBody::Genp(vec![InfoTypeAndValue::new(oid::IT_CA_CERTS, &list).unwrap()]);
    is_limit(
        &world.answer(&mut transaction, &credentials, body).unwrap_err(),
        "certificates in caCerts",
    );
}

#[test]
fn overlong_texts_are_refused() {
    let world = World::new();
    let credentials = world.mac();
    let long = || FreeText::new(&"x".repeat(4097));
    let what = "length of a text in bytes";
    is_limit(
        &receive(&world, &credentials, |reply| {
            reply.header.free_text = Some(long())
        }),
        what,
    );
    let mut status = PkiStatusInfo::rejection(FailureInfo::named("badRequest").unwrap(), "");
    status.status_string = Some(long());
    is_limit(
        &receive(&world, &credentials, |reply| reply.body = error(status)),
        what,
    );
    is_limit(
        &receive(&world, &credentials, |reply| {
            let mut body = rejected(0, "badRequest", "");
            body.status.status_string = Some(long());
            reply.body = rep_for(&KIND, body);
        }),
        what,
    );
    is_limit(
        &receive(&world, &credentials, |reply| {
            let PkiBody::PollRep(mut rep) = poll_rep(0, 1) else {
                panic!()
            };
            rep[0].reason = Some(long());
            reply.body = PkiBody::PollRep(rep);
        }),
        what,
    );
}

#[test]
fn overlong_lists_and_identifiers_are_refused() {
    let world = World::new();
    let credentials = world.mac();
    let info = InfoTypeAndValue::bare("1.2.3".parse().unwrap());
    is_limit(
        &receive(&world, &credentials, |reply| {
            reply.header.general_info = Some(vec![info.clone(); 65])
        }),
        "entries of generalInfo",
    );
    is_limit(
        &receive(&world, &credentials, |reply| {
            reply.header.sender_kid = Some(salt(4097))
        }),
        "length of an identifier in bytes",
    );
    is_limit(
        &receive(&world, &credentials, |reply| {
            reply.body = PkiBody::Genp(vec![info; 65])
        }),
        "general messages",
    );
    is_limit(
        &receive(&world, &credentials, |reply| {
            reply.body = PkiBody::PollRep(vec![
                cmp::asn1::PollRepEntry {
                    cert_req_id: 0,
                    check_after: 1,
                    reason: None
                };
                65
            ]);
        }),
        "polls",
    );
}

/// A certificate with an RSA key of more than 8192 bits cannot even be read: it is no signer and is never issued to us.
#[test]
fn rsa_keys_over_8192_bits_are_refused() {
    let world = World::new();
    let certificate = world.issue();
    let credentials = world.mac();
    for (bits, readable) in [(8192usize, true), (8200, false)] {
        let spki = rsa_spki(bits);
        assert_eq!(pki::PublicKey::from_spki_der(&spki).is_ok(), readable, "{bits}");
    }
    let huge = cmp::asn1::Encoded::new(&with_key(&certificate, &rsa_spki(16_384))).unwrap();
    let error = receive(&world, &credentials, |reply| {
        let PkiBody::Ip(rep) = &mut reply.body else {
            panic!()
        };
        let pair = rep.response[0].certified_key_pair.as_mut().unwrap();
        pair.cert_or_enc_cert = cmp::asn1::CertOrEncCert::Certificate(huge);
    });
    assert!(matches!(error.kind, ErrorKind::Certificate(_)), "{error}");
}

/// SubjectPublicKeyInfo of an RSA key with an odd modulus of this many bits.
fn rsa_spki(bits: usize) -> Vec<u8> {
    #[derive(der::Sequence)]
    struct Key {
        modulus: der::asn1::Uint,
        exponent: u32,
    }
    #[derive(der::Sequence)]
    struct Spki {
        algorithm: AlgorithmIdentifier,
        key: der::asn1::BitString,
    }
    let modulus = der::asn1::Uint::new(&vec![0xff; bits / 8]).unwrap();
    let key = Key {
        modulus,
        exponent: 65537,
    }
    .to_der()
    .unwrap();
    let algorithm = with_null("1.2.840.113549.1.1.1".parse().unwrap());
    Spki {
        algorithm,
        key: der::asn1::BitString::from_bytes(&key).unwrap(),
    }
    .to_der()
    .unwrap()
}

/// The certificate with another key; its signature is wrong then.
fn with_key(certificate: &pki::Certificate, spki: &[u8]) -> Vec<u8> {
    use der::{Decode, Reader, SliceReader};
    let mut reader = SliceReader::new(certificate.der()).unwrap();
    let (tbs, rest) = reader
        .sequence(|r| -> der::Result<_> {
            let tbs = r.tlv_bytes()?;
            Ok((tbs, [r.tlv_bytes()?, r.tlv_bytes()?].concat()))
        })
        .unwrap();
    let mut reader = SliceReader::new(tbs).unwrap();
    let fields = reader
        .sequence(|r| -> der::Result<_> {
            let mut fields = Vec::new();
            while !r.is_finished() {
                fields.push(r.tlv_bytes()?);
            }
            Ok(fields)
        })
        .unwrap();
    let wrap = |contents: Vec<u8>| Any::new(der::Tag::Sequence, contents).unwrap().to_der().unwrap();
    let fields: Vec<&[u8]> = fields
        .into_iter()
        .enumerate()
        .map(|(i, field)| if i == 6 { spki } else { field })
        .collect();
    let der = wrap([wrap(fields.concat()), rest].concat());
    Any::from_der(&der).unwrap();
    der
}
