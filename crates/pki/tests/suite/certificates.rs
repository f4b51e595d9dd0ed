//! Certificates: the facts in them.

use const_oid::db::rfc5280;
use der::Encode;
use jiff::Timestamp;
use pki::{Certificate, Error, ExtendedKeyUsage, KeyAlgorithm, KeyUsage, PublicKey, SignatureAlgorithm};
use proptest::prelude::*;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage as ForeignPurposes, SubjectAltName};
use x509_cert::name::Name as ForeignName;

use crate::support::{Draft, Files, Lab, at, key, openssl_ok};

fn refusal(draft: Draft) -> String {
    let (name, key) = (draft.subject.clone(), draft.key.clone());
    Certificate::from_der(&draft.der(&name, &key))
        .unwrap_err()
        .to_string()
}

#[test]
fn all_facts_are_there() {
    let lab = Lab::new();
    let certificate = &lab.leaf.certificate;
    assert_eq!(certificate.version(), 3);
    assert_eq!(certificate.subject().to_string(), "CN=a.example,O=Lab");
    assert_eq!(certificate.issuer(), lab.issuing.certificate.subject());
    assert_eq!(
        (certificate.serial().as_str(), certificate.serial_bytes()),
        ("0a1b", &[0x0a, 0x1b][..])
    );
    assert_eq!(certificate.not_before(), at("2026-01-01T00:00:00Z"));
    assert_eq!(certificate.not_after(), at("2027-01-01T00:00:00Z"));
    assert_eq!(certificate.public_key(), lab.leaf.key.public_key());
    assert!(certificate.matches_key(&lab.leaf.key) && !certificate.matches_key(&lab.root.key));
    assert_eq!(
        certificate.signature_algorithm(),
        Ok(SignatureAlgorithm::EcdsaSha256)
    );
    assert_eq!(
        certificate.ski(),
        Some(&lab.leaf.key.public_key().key_id_sha1()[..])
    );
    assert_eq!(certificate.aki(), lab.issuing.certificate.ski());
    assert!(certificate.permits(KeyUsage::DigitalSignature) && !certificate.permits(KeyUsage::KeyCertSign));
    assert_eq!(
        (certificate.extended_key_usages(), certificate.basic_constraints()),
        (None, None)
    );
    assert!(!certificate.is_ca() && !certificate.is_self_issued());
    assert!(lab.root.certificate.is_ca() && lab.root.certificate.is_self_issued());
    assert_eq!(
        format!("{certificate:?}"),
        "Certificate(CN=a.example,O=Lab, serial 0a1b)"
    );
    certificate
        .verify_signed_by(lab.issuing.key.public_key())
        .unwrap();
    let wrong = certificate.verify_signed_by(lab.root.key.public_key());
    assert_eq!(
        wrong,
        Err(Error::BadSignature {
            input: pki::Input::Certificate
        })
    );
}

#[test]
fn a_certificate_that_is_read_again_is_the_same_object() {
    let lab = Lab::new();
    let der = lab.leaf.certificate.der().to_vec();
    let (first, again) = (
        Certificate::from_der(&der).unwrap(),
        Certificate::from_der(&der).unwrap(),
    );
    assert_eq!(first.der().as_ptr(), again.der().as_ptr());
    let mut other = der.clone();
    *other.last_mut().unwrap() ^= 1;
    let changed = Certificate::from_der(&other).unwrap();
    assert_eq!(changed.der(), other);
    assert_ne!(changed, first);
}

#[test]
fn names_and_purposes_of_strangers_are_read_and_odd_ones_counted() {
    let ia5 = |text: &str| der::asn1::Ia5String::new(text).unwrap();
    let names = SubjectAltName(vec![
        GeneralName::DnsName(ia5("_sip.A.example")),
        GeneralName::IpAddress(der::asn1::OctetString::new([192, 0, 2, 1]).unwrap()),
        GeneralName::IpAddress(der::asn1::OctetString::new([192, 0, 2]).unwrap()),
        GeneralName::RegisteredId(const_oid::ObjectIdentifier::new_unwrap("1.2.3")),
        GeneralName::DnsName(ia5("line\nbreak")),
        GeneralName::UniformResourceIdentifier(ia5("urn:x")),
        GeneralName::Rfc822Name(ia5("a@b")),
    ]);
    let purposes = ForeignPurposes(vec![rfc5280::ID_KP_CLIENT_AUTH, rfc5280::ANY_EXTENDED_KEY_USAGE]);
    let certificate = Draft::leaf("CN=a")
        .with(true, &names)
        .with(false, &purposes)
        .self_signed()
        .certificate;
    let shown: Vec<String> = certificate.sans().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["DNS:_sip.a.example", "IP:192.0.2.1", "URI:urn:x", "email:a@b"]
    );
    assert_eq!(certificate.other_sans(), 3);
    let wanted = [ExtendedKeyUsage::ClientAuth, ExtendedKeyUsage::Any];
    assert_eq!(certificate.extended_key_usages(), Some(&wanted[..]));
}

#[test]
fn serial_numbers_are_shown_without_the_sign_byte() {
    let serial = |bytes: &[u8]| {
        let mut draft = Draft::leaf("CN=a");
        draft.serial = bytes.to_vec();
        draft.self_signed().certificate.serial()
    };
    assert_eq!(serial(&[0, 0xff, 1]), "ff01");
    assert_eq!(serial(&[0]), "00");
    assert_eq!(serial(&[0xff]), "ff", "negative numbers of old CAs are kept");
    assert_eq!(serial(&[1; 40]), "01".repeat(40), "so are over-long ones");
}

#[test]
fn dates_of_every_encoding_are_read() {
    let dates = |from: &str, to: &str| {
        let certificate = Draft::leaf("CN=a").dates(from, to).self_signed().certificate;
        (certificate.not_before(), certificate.not_after())
    };
    let (from, to) = ("1999-12-31T23:59:59Z", "2049-12-31T23:59:59Z");
    assert_eq!(dates(from, to), (at(from), at(to)));
    let (from, to) = ("2050-01-01T00:00:00Z", "9998-12-31T23:59:59Z");
    assert_eq!(dates(from, to), (at(from), at(to)));
    let mut endless = Draft::leaf("CN=a");
    endless.not_after = Timestamp::MAX;
    assert_eq!(endless.self_signed().certificate.not_after(), Timestamp::MAX);
}

#[test]
fn keys_and_signatures_of_unknown_kind_are_errors_only_when_used() {
    let mut spki = key(KeyAlgorithm::Ed25519).public_key().spki_der().to_vec();
    // Ed25519 is 1.3.101.112; make it Ed448.
    spki[8] = 113;
    let mut draft = Draft::leaf("CN=a");
    draft.spki = Some(spki.clone());
    let certificate = draft.self_signed().certificate;
    assert_eq!(certificate.public_key().spki_der(), spki);
    assert_eq!(certificate.public_key().algorithm(), None);
    let error = certificate
        .verify_signed_by(&PublicKey::from_spki_der(&spki).unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("1.3.101.113"), "{error}");
}

#[test]
fn certificates_signed_with_weak_hashes_can_be_looked_at() {
    let files = Files::new();
    let private = files.write(
        "key",
        key(KeyAlgorithm::Rsa2048).to_pkcs8_pem().unwrap().as_bytes(),
    );
    let command = [
        "req", "-new", "-x509", "-sha1", "-key", &private, "-subj", "/CN=old",
    ];
    let out = files.path("certificate");
    if openssl_ok(&[&command[..], &["-outform", "DER", "-out", &out]].concat()).is_none() {
        return;
    }
    let certificate = Certificate::from_der(&files.read("certificate")).unwrap();
    let error = certificate.signature_algorithm().unwrap_err().to_string();
    assert!(error.contains("sha1WithRSAEncryption"), "{error}");
}

#[test]
fn openssl_agrees_on_the_facts() {
    let files = Files::new();
    let certificate = Lab::new().leaf.certificate;
    let path = files.write("certificate", certificate.to_pem());
    let wanted = [
        "-serial",
        "-fingerprint",
        "-sha256",
        "-subject",
        "-enddate",
        "-nameopt",
        "RFC2253",
    ];
    let Some(text) = openssl_ok(&[&["x509", "-in", &path, "-noout"], &wanted[..]].concat()) else {
        return;
    };
    let fingerprint = text
        .lines()
        .find_map(|line| line.split_once("Fingerprint="))
        .unwrap()
        .1;
    assert_eq!(
        fingerprint.replace(':', "").to_lowercase(),
        certificate.fingerprint_sha256()
    );
    assert!(text.contains("serial=0A1B"), "{text}");
    assert!(text.contains("subject=CN=a.example,O=Lab"), "{text}");
    assert!(text.contains("notAfter=Jan  1 00:00:00 2027 GMT"), "{text}");
}

#[test]
fn certificates_survive_pem_and_serialisation() {
    let certificate = Lab::new().leaf.certificate;
    assert_eq!(
        Certificate::from_pem(certificate.to_pem().as_bytes()).unwrap(),
        certificate
    );
    let json = serde_json::to_string(&certificate).unwrap();
    assert!(json.starts_with("\"MII"), "{json}");
    assert_eq!(serde_json::from_str::<Certificate>(&json).unwrap(), certificate);
    for wrong in ["\"\"", "\"AAAA\"", "\"*\"", "1"] {
        assert!(serde_json::from_str::<Certificate>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn two_algorithms_in_one_certificate_are_refused() {
    let mut draft = Draft::leaf("CN=a");
    draft.inner_algorithm = Some(SignatureAlgorithm::EcdsaSha384);
    assert!(refusal(draft).contains("inner and outer signature algorithm differ"));
}

#[test]
fn damaged_extensions_are_refused_by_name() {
    for (oid, name) in [
        (rfc5280::ID_CE_BASIC_CONSTRAINTS, "basicConstraints"),
        (rfc5280::ID_CE_KEY_USAGE, "keyUsage"),
        (rfc5280::ID_CE_EXT_KEY_USAGE, "extKeyUsage"),
        (rfc5280::ID_CE_SUBJECT_ALT_NAME, "subjectAltName"),
        (rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier"),
        (rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, "authorityKeyIdentifier"),
    ] {
        for value in [&[][..], &[0x05, 0], &[0x30, 5], &[0x30, 0, 0]] {
            let mut draft = Draft::leaf("CN=a").with_raw(oid, false, value);
            draft.identifiers = false;
            let error = refusal(draft);
            assert!(error.contains(name), "{value:?}: {error}");
        }
    }
}

#[test]
fn an_extension_that_is_there_twice_is_refused() {
    let mut draft = Draft::leaf("CN=a");
    let first = draft.extensions[0].clone();
    draft.extensions.push(first);
    assert!(refusal(draft).contains("twice"));
}

#[test]
fn unreasonable_versions_serials_and_names_are_refused() {
    let mut draft = Draft::leaf("CN=a");
    draft.version = Some(3);
    assert!(refusal(draft).contains("malformed"));
    let mut draft = Draft::leaf("CN=a");
    let long = format!("CN={}", "a".repeat(9000));
    draft.subject = long.parse::<ForeignName>().unwrap();
    assert!(refusal(draft).contains("distinguished name is too large"));
}

#[test]
fn old_versions_are_read() {
    let mut draft = Draft::leaf("CN=a");
    (draft.version, draft.extensions, draft.identifiers) = (None, Vec::new(), false);
    assert_eq!(draft.self_signed().certificate.version(), 1);
}

#[test]
fn damaged_and_large_certificates_are_refused() {
    let der = Lab::new().leaf.certificate.der().to_vec();
    assert!(Certificate::from_der(&der[..der.len() - 1]).is_err());
    assert!(Certificate::from_der(&[&der[..], &[0]].concat()).is_err());
    assert!(Certificate::from_der(b"").is_err());
    let large = vec![0x30; pki::MAX_CERTIFICATE_BYTES + 1];
    assert!(matches!(
        Certificate::from_der(&large),
        Err(Error::TooLarge { .. })
    ));
    assert!(Certificate::from_pem(b"no certificate").is_err());
    assert!(Certificate::from_pem(&vec![b'a'; 5 * pki::MAX_CERTIFICATE_BYTES]).is_err());
}

#[test]
fn our_facts_are_those_of_another_implementation() {
    use der::Decode;
    let ours = Lab::new().issuing.certificate;
    let theirs = x509_cert::Certificate::from_der(ours.der()).unwrap();
    let tbs = theirs.tbs_certificate();
    assert_eq!(tbs.subject().to_der().unwrap(), ours.subject().der());
    assert_eq!(tbs.issuer().to_der().unwrap(), ours.issuer().der());
    assert_eq!(tbs.serial_number().as_bytes(), ours.serial_bytes());
    assert_eq!(
        tbs.subject_public_key_info().to_der().unwrap(),
        ours.public_key().spki_der()
    );
    let seconds = i64::try_from(tbs.validity().not_after.to_unix_duration().as_secs()).unwrap();
    assert_eq!(seconds, ours.not_after().as_second());
    assert_eq!(tbs.extensions().unwrap().len(), ours.extensions().len());
}

proptest! {
    #[test]
    fn damaged_certificates_never_panic(at in 0usize..600, value in any::<u8>()) {
        let lab = Lab::new();
        let mut der = lab.issuing.certificate.der().to_vec();
        let index = at % der.len();
        der[index] = value;
        if let Ok(certificate) = Certificate::from_der(&der) {
            let _ = certificate.verify_signed_by(lab.root.key.public_key());
            let _ = pki::inspect::certificate(&certificate);
            let _ = serde_json::to_string(&certificate).unwrap();
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Certificate::from_der(&bytes).is_err());
        let _ = Certificate::from_pem(&bytes);
    }

    #[test]
    fn random_extensions_never_panic(
        kind in 0usize..7, critical: bool, value in proptest::collection::vec(any::<u8>(), 0..40)
    ) {
        let oid = [
            rfc5280::ID_CE_BASIC_CONSTRAINTS, rfc5280::ID_CE_KEY_USAGE, rfc5280::ID_CE_EXT_KEY_USAGE,
            rfc5280::ID_CE_SUBJECT_ALT_NAME, rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
            rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, rfc5280::ID_CE_NAME_CONSTRAINTS,
        ][kind];
        let mut draft = Draft::leaf("CN=a").with_raw(oid, critical, &value);
        draft.identifiers = false;
        let (name, key) = (draft.subject.clone(), draft.key.clone());
        let _ = Certificate::from_der(&draft.der(&name, &key));
    }
}
