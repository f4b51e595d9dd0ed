//! Certificate requests.

use pki::{CertificateRequest, CertificateTemplate, Error, KeyAlgorithm, KeyUsage, Name, San, Usages};
use proptest::prelude::*;

use crate::support::{Files, key, openssl_ok};

fn template() -> CertificateTemplate {
    let usages = Usages::from_words(["digital signature", "key agreement", "server auth"]).unwrap();
    CertificateTemplate {
        sans: [
            "DNS:a.example",
            "DNS:*.b.example",
            "IP:192.0.2.1",
            "IP:2001:db8::1",
            "URI:urn:x",
            "email:a@b.example",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec(),
        key_usage: usages.key_usage,
        extended_key_usages: usages.extended_key_usages,
        ..CertificateTemplate::new("CN=Jürgen,O=Lab,C=DE".parse().unwrap())
    }
}

fn request() -> CertificateRequest {
    CertificateRequest::create(&template(), &key(KeyAlgorithm::EcP256)).unwrap()
}

#[test]
fn a_request_says_what_the_template_says() {
    let key = key(KeyAlgorithm::EcP256);
    let request = CertificateRequest::create(&template(), &key).unwrap();
    request.verify().unwrap();
    assert_eq!(request.subject(), &template().subject);
    assert_eq!(request.sans(), template().sans);
    assert_eq!(request.key_usage(), Some(template().key_usage));
    assert_eq!(
        request.extended_key_usages(),
        Some(&template().extended_key_usages[..])
    );
    assert_eq!(request.basic_constraints(), None);
    assert_eq!(request.extensions_der(), template().extensions_der().as_deref());
    assert_eq!(request.public_key(), key.public_key());
    assert_eq!(
        CertificateRequest::from_pem(request.to_pem().as_bytes()).unwrap(),
        request
    );
    assert_eq!(format!("{request:?}"), "CertificateRequest(CN=Jürgen,O=Lab,C=DE)");
}

#[test]
fn openssl_verifies_requests_of_every_kind_of_key() {
    let files = Files::new();
    for algorithm in KeyAlgorithm::ALL {
        let request = CertificateRequest::create(&template(), &key(algorithm)).unwrap();
        for (form, bytes) in [
            ("PEM", request.to_pem().into_bytes()),
            ("DER", request.der().to_vec()),
        ] {
            let path = files.write("request", bytes);
            let command = ["req", "-in", &path, "-inform", form, "-verify", "-noout", "-text"];
            let Some(text) = openssl_ok(&command) else { return };
            for part in [
                "DNS:a.example, DNS:*.b.example, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1",
                "URI:urn:x, email:a@b.example",
                "Digital Signature, Key Agreement",
                "TLS Web Server Authentication",
            ] {
                assert!(text.contains(part), "{algorithm}: {part} not in {text}");
            }
        }
    }
}

#[test]
fn a_request_without_extensions_is_one_that_openssl_reads() {
    let files = Files::new();
    let bare = CertificateTemplate::new("CN=a".parse().unwrap());
    let request = CertificateRequest::create(&bare, &key(KeyAlgorithm::Ed25519)).unwrap();
    assert_eq!(
        (request.extensions_der(), request.key_usage(), request.sans()),
        (None, None, &[][..])
    );
    let path = files.write("request", request.to_pem());
    openssl_ok(&["req", "-in", &path, "-verify", "-noout"]);
}

#[test]
fn a_request_without_a_subject_is_possible() {
    let nameless = CertificateTemplate {
        subject: Name::empty(),
        ..template()
    };
    let request = CertificateRequest::create(&nameless, &key(KeyAlgorithm::EcP256)).unwrap();
    assert!(request.subject().is_empty());
    request.verify().unwrap();
}

#[test]
fn requests_that_openssl_makes_are_read() {
    let files = Files::new();
    let private = files.write(
        "key",
        key(KeyAlgorithm::EcP384).to_pkcs8_pem().unwrap().as_bytes(),
    );
    let out = files.path("request");
    let command = [
        "req",
        "-new",
        "-key",
        &private,
        "-subj",
        "/O=Lab/CN=a",
        "-out",
        &out,
    ];
    let extensions = [
        "-addext",
        "subjectAltName=DNS:a.example",
        "-addext",
        "keyUsage=critical,keyCertSign",
    ];
    let ca = ["-addext", "basicConstraints=critical,CA:TRUE,pathlen:1"];
    if openssl_ok(&[&command[..], &extensions, &ca].concat()).is_none() {
        return;
    }
    let request = CertificateRequest::from_pem(&files.read("request")).unwrap();
    request.verify().unwrap();
    assert_eq!(request.sans(), [San::dns("a.example").unwrap()]);
    assert!(request.key_usage().unwrap().contains(KeyUsage::KeyCertSign));
    assert_eq!(request.basic_constraints().unwrap().path_length, Some(1));
}

#[test]
fn a_changed_request_does_not_verify() {
    let request = request();
    let position = request
        .der()
        .windows(3)
        .position(|w| w == "Lab".as_bytes())
        .unwrap();
    let mut der = request.der().to_vec();
    der[position] ^= 1;
    let changed = CertificateRequest::from_der(&der).unwrap();
    assert_eq!(
        changed.verify(),
        Err(Error::BadSignature {
            input: pki::Input::Request
        })
    );
}

#[test]
fn damaged_requests_are_refused() {
    let der = request().der().to_vec();
    assert!(CertificateRequest::from_der(&der[..der.len() - 1]).is_err());
    assert!(CertificateRequest::from_der(&[&der[..], &[0]].concat()).is_err());
    assert!(CertificateRequest::from_der(b"").is_err());
    let large = vec![0x30; pki::MAX_REQUEST_BYTES + 1];
    assert!(matches!(
        CertificateRequest::from_der(&large),
        Err(Error::TooLarge { .. })
    ));
    let wrong = request().to_pem().replace("CERTIFICATE REQUEST", "CERTIFICATE");
    assert!(CertificateRequest::from_pem(wrong.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn damaged_requests_never_panic(at in 0usize..400, value in any::<u8>()) {
        let mut der = request().der().to_vec();
        let index = at % der.len();
        der[index] = value;
        if let Ok(request) = CertificateRequest::from_der(&der) {
            let _ = (request.verify(), pki::inspect::request(&request));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(CertificateRequest::from_der(&bytes).is_err());
        let _ = CertificateRequest::from_pem(&bytes);
    }
}
