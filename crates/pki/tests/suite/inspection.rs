//! Text for people.

use pki::{CertificateRequest, CertificateTemplate, KeyAlgorithm, inspect, to_pem_bundle};
use proptest::prelude::*;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use crate::support::{Draft, Lab, key};

#[test]
fn a_certificate_shows_its_facts() {
    let lab = Lab::new();
    let purposes = ExtendedKeyUsage(vec![const_oid::db::rfc5280::ID_KP_SERVER_AUTH]);
    let certificate = Draft::leaf("CN=a.example,O=Lab")
        .with(false, &purposes)
        .signed_by(&lab.issuing)
        .certificate;
    let text = inspect::certificate(&certificate);
    for line in [
        "Certificate:",
        "    Version: 3",
        "    Serial number: 0a1b",
        "    Signature: ECDSA with SHA-256",
        "    Issuer: CN=Lab Issuing CA,O=Lab",
        "    Not before: 2026-01-01T00:00:00Z",
        "    Not after: 2027-01-01T00:00:00Z",
        "    Subject: CN=a.example,O=Lab",
        "    Public key: EC-P256",
        "    Key usage: digital signature",
        "    Extended key usage: server auth",
        "        id-ce-keyUsage (2.5.29.15), critical",
        &format!("    SHA-256 fingerprint: {}", certificate.fingerprint_sha256()),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
    let ca = inspect::certificate(&Draft::ca("CN=b").path_length(1).self_signed().certificate);
    assert!(ca.contains("    CA: yes, path length 1\n"), "{ca}");
}

#[test]
fn a_request_shows_its_wishes_and_whether_its_proof_holds() {
    let template = CertificateTemplate {
        sans: vec!["DNS:a.example".parse().unwrap()],
        is_ca: true,
        ..CertificateTemplate::new("CN=a".parse().unwrap())
    };
    let request = CertificateRequest::create(&template, &key(KeyAlgorithm::Ed25519)).unwrap();
    let text = inspect::request(&request);
    for part in [
        "Subject: CN=a",
        "Public key: Ed25519",
        "CA: yes",
        "DNS:a.example",
        "signature verifies",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    let mut der = request.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let broken = inspect::request(&CertificateRequest::from_der(&der).unwrap());
    assert!(broken.contains("does not verify"), "{broken}");
}

#[test]
fn a_private_key_shows_its_public_half_only() {
    let key = key(KeyAlgorithm::EcP256);
    let text = inspect::private_key(&key);
    assert!(
        text.starts_with("Private key:\n    Public key: EC-P256\n"),
        "{text}"
    );
    let der = key.to_pkcs8_der().unwrap();
    // The 32 secret bytes stand behind version, algorithm and the wrapping of the inner structure.
    let secret = pki::digest::hex(&der[36..68]);
    assert!(!text.contains(&secret[..16]));
    assert!(text.contains(&pki::digest::hex(&pki::digest::sha256(
        key.public_key().spki_der()
    ))));
}

#[test]
fn a_file_shows_everything_in_it() {
    let lab = Lab::new();
    let key = key(KeyAlgorithm::EcP256);
    let template = CertificateTemplate::new("CN=a".parse().unwrap());
    let request = CertificateRequest::create(&template, &key).unwrap();
    let chain = to_pem_bundle([&lab.leaf.certificate, &lab.root.certificate]);
    let traditional = key.to_traditional_pem().unwrap();
    let file = format!("{chain}{}{}", request.to_pem(), *traditional);
    let text = inspect::file(file.as_bytes()).unwrap();
    assert_eq!(text.matches("Certificate:\n").count(), 2, "{text}");
    assert_eq!(text.matches("Certificate request:\n").count(), 1, "{text}");
    assert_eq!(text.matches("Private key:\n").count(), 1, "{text}");
}

#[test]
fn der_of_every_kind_is_recognised() {
    let key = key(KeyAlgorithm::EcP256);
    let template = CertificateTemplate::new("CN=a".parse().unwrap());
    let request = CertificateRequest::create(&template, &key).unwrap();
    let certificate = Lab::new().leaf.certificate;
    for (der, title) in [
        (certificate.der().to_vec(), "Certificate:"),
        (request.der().to_vec(), "Certificate request:"),
        (key.to_pkcs8_der().unwrap().to_vec(), "Private key:"),
        (key.public_key().spki_der().to_vec(), "Public key:"),
    ] {
        assert!(inspect::file(&der).unwrap().starts_with(title), "{title}");
    }
}

#[test]
fn files_with_nothing_to_show_are_refused() {
    assert!(inspect::file(b"hello").is_err());
    assert!(inspect::file(b"-----BEGIN X-----\n-----END X-----\n").is_err());
    assert!(inspect::file(&vec![0; 2 * 1024 * 1024]).is_err());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(
        inspect::file(encrypted.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("decrypt it first")
    );
}

#[test]
fn names_cannot_write_into_the_terminal() {
    let draft = Draft::leaf("CN=a\\0A\\1B[31mred");
    let text = inspect::certificate(&draft.self_signed().certificate);
    assert!(text.contains("Subject: CN=a\\0A\\1B[31mred\n"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
}

proptest! {
    #[test]
    fn random_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = inspect::file(&bytes);
    }
}
