//! Files with several certificates.

use pki::encoding::{MAX_BUNDLE_BYTES, MAX_BUNDLE_CERTIFICATES, merged_bundle};
use pki::{Certificate, Error, KeyAlgorithm, order_bundle, parse_certificates, to_pem_bundle};
use proptest::prelude::*;

use crate::support::{Draft, Files, Lab, key, openssl_ok};

fn chain() -> Vec<Certificate> {
    let lab = Lab::new();
    vec![
        lab.leaf.certificate,
        lab.issuing.certificate,
        lab.root.certificate,
    ]
}

#[test]
fn pem_bundles_are_read_in_their_order_with_text_between() {
    let chain = chain();
    let pem: String = chain
        .iter()
        .rev()
        .map(|c| format!("# subject: {}\r\n{}\n\n", c.subject(), c.to_pem()))
        .collect();
    let expected: Vec<_> = chain.iter().rev().cloned().collect();
    assert_eq!(parse_certificates(pem.as_bytes()).unwrap(), expected);
}

#[test]
fn keys_and_requests_in_a_combined_file_are_passed_over() {
    let chain = chain();
    let key = key(KeyAlgorithm::EcP256).to_pkcs8_pem().unwrap();
    let file = format!("{}{}{}", *key, chain[0].to_pem(), chain[1].to_pem());
    assert_eq!(parse_certificates(file.as_bytes()).unwrap(), chain[..2]);
}

#[test]
fn der_is_read_alone_and_one_after_the_other() {
    let chain = chain();
    assert_eq!(parse_certificates(chain[0].der()).unwrap(), chain[..1]);
    let all: Vec<u8> = chain.iter().flat_map(|c| c.der().to_vec()).collect();
    assert_eq!(parse_certificates(&all).unwrap(), chain);
}

#[test]
fn pkcs7_files_of_openssl_are_read() {
    let (files, chain) = (Files::new(), chain());
    let pem = files.write("chain.pem", to_pem_bundle(&chain));
    let out = files.path("chain.p7");
    for form in ["PEM", "DER"] {
        let command = [
            "crl2pkcs7",
            "-nocrl",
            "-certfile",
            &pem,
            "-outform",
            form,
            "-out",
            &out,
        ];
        if openssl_ok(&command).is_none() {
            return;
        }
        let mut found = parse_certificates(&files.read("chain.p7")).unwrap();
        found.sort_by_key(|c| chain.iter().position(|other| other == c));
        assert_eq!(found, chain, "{form}");
    }
}

#[test]
fn trusted_certificates_of_openssl_are_read_without_their_settings() {
    let (files, chain) = (Files::new(), chain());
    let (pem, out) = (files.write("a.pem", chain[2].to_pem()), files.path("trusted.pem"));
    let command = [
        "x509",
        "-in",
        &pem,
        "-trustout",
        "-addtrust",
        "serverAuth",
        "-out",
        &out,
    ];
    if openssl_ok(&command).is_some() {
        assert_eq!(
            parse_certificates(&files.read("trusted.pem")).unwrap(),
            chain[2..]
        );
    }
}

#[test]
fn a_certificate_that_is_there_twice_is_given_once() {
    let chain = chain();
    let twice = to_pem_bundle(chain.iter().chain(&chain));
    assert_eq!(parse_certificates(twice.as_bytes()).unwrap(), chain);
}

#[test]
fn files_without_or_with_damaged_certificates_are_refused() {
    let chain = chain();
    let refused = |bytes: &[u8], part: &str| {
        let error = parse_certificates(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(b"", "no certificate");
    refused(b"hello", "neither PEM nor complete DER");
    refused(&chain[0].der()[..100], "neither PEM nor complete DER");
    refused(&[chain[0].der(), b"x"].concat(), "neither PEM nor complete DER");
    refused(
        key(KeyAlgorithm::EcP256).to_pkcs8_pem().unwrap().as_bytes(),
        "no certificate",
    );
    let damaged = to_pem_bundle(&chain) + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    refused(damaged.as_bytes(), "certificate is malformed");
}

#[test]
fn large_files_are_refused_before_they_are_parsed() {
    assert!(matches!(
        parse_certificates(&vec![b'-'; MAX_BUNDLE_BYTES + 1]),
        Err(Error::TooLarge { unit: "bytes", .. })
    ));
    let certificate = Draft::leaf("CN=a").self_signed().certificate;
    let many = certificate.der().repeat(MAX_BUNDLE_CERTIFICATES);
    assert!(parse_certificates(&many).is_ok(), "the same one often is one");
    let blocks = "-----BEGIN A-----\n-----END A-----\n".repeat(2 * MAX_BUNDLE_CERTIFICATES + 1);
    let error = parse_certificates(blocks.as_bytes()).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLarge {
            unit: "PEM blocks",
            ..
        }
    ));
}

#[test]
fn more_certificates_than_allowed_are_refused() {
    let draft = Draft::leaf("CN=a");
    let name = draft.subject.clone();
    let mut bundle = Vec::new();
    for serial in 0..=MAX_BUNDLE_CERTIFICATES {
        let mut draft = draft.clone();
        draft.serial = vec![1, (serial >> 8) as u8, serial as u8];
        draft.extensions.clear();
        draft.identifiers = false;
        bundle.extend(draft.clone().der(&name, &draft.key));
    }
    assert!(matches!(
        parse_certificates(&bundle),
        Err(Error::TooLarge {
            unit: "certificates",
            ..
        })
    ));
}

#[test]
fn a_bundle_of_any_order_is_put_into_the_order_of_the_chain() {
    let chain = chain();
    let stranger = Draft::ca("CN=Stranger").self_signed().certificate;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut bundle: Vec<_> = order.iter().map(|i| chain[*i].clone()).collect();
        assert_eq!(order_bundle(&bundle), chain, "{order:?}");
        bundle.push(stranger.clone());
        bundle.push(chain[1].clone());
        assert_eq!(order_bundle(&bundle), chain, "{order:?} with a stranger");
    }
    assert_eq!(order_bundle(&[]), []);
    assert_eq!(order_bundle(&chain[2..]), chain[2..], "a root alone");
}

#[test]
fn a_merged_bundle_is_leaf_and_chain_without_the_root() {
    let chain = chain();
    let pool: Vec<_> = chain.iter().rev().cloned().collect();
    let merged = merged_bundle(&chain[0], &pool);
    assert_eq!(parse_certificates(merged.as_bytes()).unwrap(), chain[..2]);
    assert_eq!(
        merged_bundle(&chain[2], &pool),
        chain[2].to_pem(),
        "a root stays alone"
    );
}

#[test]
fn openssl_reads_our_bundle() {
    let (files, chain) = (Files::new(), chain());
    let path = files.write("chain.pem", to_pem_bundle(&chain));
    let out = files.path("all.p7");
    if openssl_ok(&["crl2pkcs7", "-nocrl", "-certfile", &path, "-out", &out]).is_some() {
        let listed = openssl_ok(&["pkcs7", "-in", &out, "-print_certs", "-noout"]).unwrap();
        assert_eq!(listed.matches("subject=").count(), 3, "{listed}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_certificates(&bytes);
        let framed = [&b"-----BEGIN PKCS7-----\n"[..], &bytes, b"\n-----END PKCS7-----\n"].concat();
        let _ = parse_certificates(&framed);
    }

    #[test]
    fn damaged_pkcs7_never_panics(at in 0usize..100, value in any::<u8>()) {
        use der::Encode;
        // ContentInfo { signedData, [0] { 1, {}, { data }, [0] certificate } }
        let tlv = |tag: u8, parts: &[&[u8]]| {
            let body = parts.concat();
            let mut out = vec![tag];
            der::Length::try_from(body.len()).unwrap().encode_to_vec(&mut out).unwrap();
            out.extend(body);
            out
        };
        let oid = |last: u8| vec![6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last];
        let certificate = Draft::leaf("CN=a").self_signed().certificate;
        let signed = tlv(0x30, &[&[2, 1, 1], &[0x31, 0], &tlv(0x30, &[&oid(1)]), &tlv(0xa0, &[certificate.der()]), &[0x31, 0]]);
        let mut der = tlv(0x30, &[&oid(2), &tlv(0xa0, &[&signed])]);
        prop_assert_eq!(parse_certificates(&der).unwrap(), [certificate]);
        der[at] = value;
        let _ = parse_certificates(&der);
    }
}
