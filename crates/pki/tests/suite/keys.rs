//! Private and public keys.

use pki::{Error, KeyAlgorithm, PrivateKey, PublicKey, SignatureAlgorithm};
use proptest::prelude::*;

use crate::support::{Files, key, openssl_ok};

const MESSAGE: &[u8] = b"the message";
const RSA_SIGNATURES: [SignatureAlgorithm; 6] = [
    SignatureAlgorithm::RsaPkcs1Sha256,
    SignatureAlgorithm::RsaPkcs1Sha384,
    SignatureAlgorithm::RsaPkcs1Sha512,
    SignatureAlgorithm::RsaPssSha256,
    SignatureAlgorithm::RsaPssSha384,
    SignatureAlgorithm::RsaPssSha512,
];

fn signatures_of(algorithm: KeyAlgorithm) -> Vec<SignatureAlgorithm> {
    if algorithm.is_rsa() {
        RSA_SIGNATURES.to_vec()
    } else {
        vec![algorithm.default_signature()]
    }
}

fn malformed(bytes: &[u8]) -> String {
    match PrivateKey::from_bytes(bytes) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_kind_of_key_signs_and_verifies() {
    for algorithm in KeyAlgorithm::ALL {
        let key = key(algorithm);
        assert_eq!(
            (key.algorithm(), key.public_key().algorithm()),
            (algorithm, Some(algorithm))
        );
        for signing in signatures_of(algorithm) {
            let signature = key.sign(signing, MESSAGE).unwrap();
            key.public_key().verify(signing, MESSAGE, &signature).unwrap();
        }
    }
}

#[test]
fn a_changed_message_signature_or_key_does_not_verify() {
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcP256,
        KeyAlgorithm::EcP521,
        KeyAlgorithm::Ed25519,
    ] {
        let (ours, signing) = (key(algorithm), algorithm.default_signature());
        let mut signature = ours.sign(signing, MESSAGE).unwrap();
        let bad = |result: Result<(), Error>| assert!(matches!(result, Err(Error::BadSignature { .. })));
        bad(ours.public_key().verify(signing, b"another message", &signature));
        bad(ours.public_key().verify(signing, MESSAGE, b""));
        let other = PrivateKey::generate(algorithm).unwrap();
        bad(other.public_key().verify(signing, MESSAGE, &signature));
        *signature.last_mut().unwrap() ^= 1;
        bad(ours.public_key().verify(signing, MESSAGE, &signature));
    }
}

#[test]
fn one_public_key_checks_signatures_of_several_algorithms_in_turn() {
    let key = key(KeyAlgorithm::Rsa2048);
    let signatures: Vec<_> = RSA_SIGNATURES
        .iter()
        .map(|a| (*a, key.sign(*a, MESSAGE).unwrap()))
        .collect();
    for (algorithm, signature) in signatures.iter().chain(signatures.iter().rev()) {
        key.public_key().verify(*algorithm, MESSAGE, signature).unwrap();
        for other in RSA_SIGNATURES.iter().filter(|other| *other != algorithm) {
            assert!(
                key.public_key().verify(*other, MESSAGE, signature).is_err(),
                "{algorithm} as {other}"
            );
        }
    }
}

#[test]
fn keys_make_and_check_only_signatures_of_their_own_kind() {
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcP256,
        KeyAlgorithm::EcP384,
        KeyAlgorithm::Ed25519,
    ] {
        let (key, own) = (key(algorithm), signatures_of(algorithm));
        for foreign in SignatureAlgorithm::ALL.into_iter().filter(|a| !own.contains(a)) {
            assert!(
                matches!(key.sign(foreign, MESSAGE), Err(Error::KeyMismatch { .. })),
                "{key:?} {foreign}"
            );
        }
        let wrong = if algorithm.is_rsa() {
            SignatureAlgorithm::EcdsaSha256
        } else {
            RSA_SIGNATURES[0]
        };
        let checked = key.public_key().verify(wrong, MESSAGE, b"x");
        assert!(matches!(checked, Err(Error::KeyMismatch { .. })), "{key:?}");
    }
}

#[test]
fn every_encoding_comes_back_as_the_same_key() {
    for algorithm in KeyAlgorithm::ALL {
        let key = key(algorithm);
        let mut forms = vec![
            key.to_pkcs8_der().unwrap().to_vec(),
            key.to_pkcs8_pem().unwrap().as_bytes().to_vec(),
        ];
        if algorithm != KeyAlgorithm::Ed25519 {
            forms.push(key.to_traditional_der().unwrap().to_vec());
            forms.push(key.to_traditional_pem().unwrap().as_bytes().to_vec());
        }
        for form in forms {
            let again = PrivateKey::from_bytes(&form).unwrap();
            assert_eq!(
                (again.algorithm(), again.public_key()),
                (algorithm, key.public_key())
            );
        }
    }
}

#[test]
fn ed25519_has_no_traditional_form() {
    let error = key(KeyAlgorithm::Ed25519)
        .to_traditional_pem()
        .unwrap_err()
        .to_string();
    assert!(error.contains("no traditional form"), "{error}");
}

#[test]
fn openssl_reads_every_form_we_write() {
    let files = Files::new();
    for algorithm in KeyAlgorithm::ALL {
        let key = key(algorithm);
        let mut forms = vec![
            ("PEM", key.to_pkcs8_pem().unwrap().as_bytes().to_vec()),
            ("DER", key.to_pkcs8_der().unwrap().to_vec()),
        ];
        if algorithm != KeyAlgorithm::Ed25519 {
            forms.push(("PEM", key.to_traditional_pem().unwrap().as_bytes().to_vec()));
            forms.push(("DER", key.to_traditional_der().unwrap().to_vec()));
        }
        for (form, bytes) in forms {
            let path = files.write("key", bytes);
            let public = files.path("public");
            let read = ["pkey", "-inform", form, "-in", &path];
            if openssl_ok(&[&read[..], &["-check", "-noout"]].concat()).is_none() {
                return;
            }
            openssl_ok(&[&read[..], &["-pubout", "-outform", "DER", "-out", &public]].concat());
            assert_eq!(
                files.read("public"),
                key.public_key().spki_der(),
                "{algorithm} {form}"
            );
        }
    }
}

#[test]
fn we_read_every_form_that_openssl_writes() {
    let files = Files::new();
    let kinds: [(&[&str], KeyAlgorithm); 5] = [
        (
            &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            KeyAlgorithm::Rsa2048,
        ),
        (
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            KeyAlgorithm::EcP256,
        ),
        (
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            KeyAlgorithm::EcP384,
        ),
        (
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            KeyAlgorithm::EcP521,
        ),
        (&["ED25519"], KeyAlgorithm::Ed25519),
    ];
    for (options, algorithm) in kinds {
        let first = files.path("key.pem");
        if openssl_ok(&[&["genpkey", "-out", &first, "-algorithm"], options].concat()).is_none() {
            return;
        }
        let expected = PrivateKey::from_bytes(&files.read("key.pem")).unwrap();
        assert_eq!(expected.algorithm(), algorithm);
        let forms = [
            &["-outform", "DER"][..],
            &["-traditional"],
            &["-traditional", "-outform", "DER"],
        ];
        // Ed25519 has only the first.
        let forms = if algorithm == KeyAlgorithm::Ed25519 {
            &forms[..1]
        } else {
            &forms[..]
        };
        for form in forms {
            let out = files.path("again");
            openssl_ok(&[&["pkey", "-in", &first, "-out", &out], *form].concat());
            let again = PrivateKey::from_bytes(&files.read("again")).unwrap();
            assert_eq!(again.public_key(), expected.public_key(), "{algorithm} {form:?}");
        }
    }
}

#[test]
fn a_key_after_its_parameters_is_read_as_openssl_ecparam_writes_it() {
    let files = Files::new();
    let out = files.path("key.pem");
    if openssl_ok(&["ecparam", "-name", "prime256v1", "-genkey", "-out", &out]).is_some() {
        assert_eq!(
            PrivateKey::from_bytes(&files.read("key.pem"))
                .unwrap()
                .algorithm(),
            KeyAlgorithm::EcP256
        );
    }
}

#[test]
fn openssl_and_we_verify_each_others_signatures() {
    let files = Files::new();
    let message = files.write("message", MESSAGE);
    for (algorithm, hash, ours) in [
        (
            KeyAlgorithm::Rsa2048,
            "-sha384",
            SignatureAlgorithm::RsaPkcs1Sha384,
        ),
        (KeyAlgorithm::EcP256, "-sha256", SignatureAlgorithm::EcdsaSha256),
        (KeyAlgorithm::EcP521, "-sha512", SignatureAlgorithm::EcdsaSha512),
    ] {
        let key = key(algorithm);
        let private = files.write("private", key.to_pkcs8_pem().unwrap().as_bytes());
        let signature = files.write("signature", key.sign(ours, MESSAGE).unwrap());
        let verify = [
            "dgst",
            hash,
            "-prverify",
            &private,
            "-signature",
            &signature,
            &message,
        ];
        if openssl_ok(&verify).is_none() {
            return;
        }
        openssl_ok(&["dgst", hash, "-sign", &private, "-out", &signature, &message]);
        key.public_key()
            .verify(ours, MESSAGE, &files.read("signature"))
            .unwrap();
    }
}

#[test]
fn every_curve_is_verified_with_every_hash() {
    let files = Files::new();
    let message = files.write("message", MESSAGE);
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::EcP521] {
        let key = key(algorithm);
        let private = files.write("private", key.to_pkcs8_pem().unwrap().as_bytes());
        for (hash, ours) in [
            ("-sha256", SignatureAlgorithm::EcdsaSha256),
            ("-sha384", SignatureAlgorithm::EcdsaSha384),
            ("-sha512", SignatureAlgorithm::EcdsaSha512),
        ] {
            let out = files.path("signature");
            if openssl_ok(&["dgst", hash, "-sign", &private, "-out", &out, &message]).is_none() {
                return;
            }
            key.public_key()
                .verify(ours, MESSAGE, &files.read("signature"))
                .unwrap();
        }
    }
}

#[test]
fn openssl_verifies_our_pss_signatures_with_the_salt_that_we_announce() {
    let files = Files::new();
    let message = files.write("message", MESSAGE);
    let key = key(KeyAlgorithm::Rsa2048);
    let private = files.write("private", key.to_pkcs8_pem().unwrap().as_bytes());
    for (hash, salt, ours) in [
        ("-sha256", "rsa_pss_saltlen:32", SignatureAlgorithm::RsaPssSha256),
        ("-sha512", "rsa_pss_saltlen:64", SignatureAlgorithm::RsaPssSha512),
    ] {
        let signature = files.write("signature", key.sign(ours, MESSAGE).unwrap());
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", salt];
        let verify = ["dgst", hash, "-prverify", &private, "-signature", &signature];
        if openssl_ok(&[&verify[..], &pss, &[&message]].concat()).is_none() {
            return;
        }
    }
}

#[test]
fn encrypted_keys_are_refused_with_advice() {
    let files = Files::new();
    let private = files.write(
        "private",
        key(KeyAlgorithm::EcP256).to_pkcs8_pem().unwrap().as_bytes(),
    );
    let out = files.path("encrypted");
    let command = ["-in", &private, "-aes128", "-passout", "pass:x", "-out", &out];
    if openssl_ok(&[&["pkey"], &command[..]].concat()).is_none() {
        return;
    }
    assert!(malformed(&files.read("encrypted")).contains("decrypt it first"));
    openssl_ok(&[&["ec"], &command[..]].concat());
    assert!(malformed(&files.read("encrypted")).contains("encrypted in the old OpenSSL way"));
}

#[test]
fn keys_of_other_kinds_and_sizes_are_refused_by_name() {
    let files = Files::new();
    let cases: [(&[&str], &str); 5] = [
        (&["RSA", "-pkeyopt", "rsa_keygen_bits:2560"], "RSA with 2560 bits"),
        (&["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "1.3.132.0.10"),
        (&["ED448"], "1.3.101.113"),
        (&["X25519"], "1.3.101.110"),
        (
            &[
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-pkeyopt",
                "ec_param_enc:explicit",
            ],
            "not named",
        ),
    ];
    for (options, reason) in cases {
        let out = files.path("key");
        if openssl_ok(&[&["genpkey", "-out", &out, "-algorithm"], options].concat()).is_none() {
            return;
        }
        let error = malformed(&files.read("key"));
        assert!(
            error.contains(reason) && error.contains("not supported"),
            "{options:?}: {error}"
        );
    }
}

#[test]
fn files_that_are_no_private_key_are_refused() {
    let key = key(KeyAlgorithm::EcP256);
    let pem = key.to_pkcs8_pem().unwrap();
    let der = key.to_pkcs8_der().unwrap();
    assert!(malformed(b"").contains("neither PEM nor DER"));
    assert!(malformed(b"password").contains("neither PEM nor DER"));
    assert!(malformed(key.public_key().spki_der()).contains("neither PEM nor DER"));
    assert!(malformed(&der[..der.len() - 1]).contains("neither PEM nor DER"));
    assert!(malformed(&[&der[..], &[0]].concat()).contains("neither PEM nor DER"));
    assert!(malformed(pem.repeat(2).as_bytes()).contains("more than one"));
    assert!(
        malformed(b"-----BEGIN X-----\nAAAA\n-----END X-----\n").contains("no PEM block of type PRIVATE KEY")
    );
    assert!(malformed(&vec![b' '; pki::MAX_PRIVATE_KEY_BYTES + 1]).contains("too large"));
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    let der = key(KeyAlgorithm::EcP256).to_pkcs8_der().unwrap();
    let mut mixed = der.to_vec();
    let end = mixed.len();
    let other = key(KeyAlgorithm::EcP256);
    mixed[end - 65..].copy_from_slice(other.public_key().key_bytes());
    assert!(PrivateKey::from_bytes(&mixed).is_err());
}

#[test]
fn debug_shows_the_algorithm_only() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP256, KeyAlgorithm::Ed25519] {
        let key = key(algorithm);
        assert_eq!(
            format!("{key:?} {key:#?}"),
            format!("PrivateKey({algorithm}) PrivateKey({algorithm})")
        );
    }
}

#[test]
fn errors_about_keys_hold_nothing_of_the_key() {
    let secret = "cGxhbnRlZC1zZWNyZXQ=";
    for text in [
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n*{secret}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END EC PRIVATE KEY-----\n"),
        secret.to_owned(),
    ] {
        let error = PrivateKey::from_bytes(text.as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(secret) && !shown.contains("planted"), "{shown}");
    }
}

#[test]
fn keys_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let key = key(KeyAlgorithm::EcP256);
    shared(&key);
    shared(key.public_key());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let key = key.clone();
            std::thread::spawn(move || {
                let algorithm = key.default_signature();
                let signature = key.sign(algorithm, MESSAGE).unwrap();
                key.public_key().verify(algorithm, MESSAGE, &signature).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn algorithms_read_their_own_names_and_refuse_others() {
    for algorithm in KeyAlgorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        assert_eq!(algorithm.to_string().to_lowercase().parse(), Ok(algorithm));
        let json = serde_json::to_string(&algorithm).unwrap();
        assert_eq!(json, format!("\"{algorithm}\""));
        assert_eq!(serde_json::from_str::<KeyAlgorithm>(&json).unwrap(), algorithm);
        assert!(KeyAlgorithm::ALLOWED.contains(algorithm.name()));
    }
    let error = "RSA-1024".parse::<KeyAlgorithm>().unwrap_err().to_string();
    assert!(error.contains("allowed: RSA-2048, RSA-3072"), "{error}");
}

fn spki_of(genpkey: &[&str]) -> Option<Vec<u8>> {
    let files = Files::new();
    let (private, public) = (files.path("private"), files.path("public"));
    openssl_ok(&[&["genpkey", "-out", &private, "-algorithm"], genpkey].concat())?;
    openssl_ok(&[
        "pkey", "-in", &private, "-pubout", "-outform", "DER", "-out", &public,
    ])?;
    Some(files.read("public"))
}

#[test]
fn public_keys_of_unknown_kind_are_kept_but_not_used() {
    for (options, shown) in [
        (&["ED448"][..], "1.3.101.113"),
        (&["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "the curve"),
        (
            &[
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-pkeyopt",
                "ec_param_enc:explicit",
            ],
            "not named",
        ),
    ] {
        let Some(spki) = spki_of(options) else { return };
        let key = PublicKey::from_spki_der(&spki).unwrap();
        assert_eq!((key.algorithm(), key.spki_der()), (None, &spki[..]));
        assert!(key.description().contains(shown), "{}", key.description());
        let error = key
            .verify(SignatureAlgorithm::EcdsaSha256, MESSAGE, b"x")
            .unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}

#[test]
fn short_rsa_keys_are_shown_but_verify_nothing() {
    let Some(spki) = spki_of(&["RSA", "-pkeyopt", "rsa_keygen_bits:1024"]) else {
        return;
    };
    let key = PublicKey::from_spki_der(&spki).unwrap();
    assert_eq!(key.description(), "RSA-1024");
    let error = key
        .verify(SignatureAlgorithm::RsaPkcs1Sha256, MESSAGE, &[0; 128])
        .unwrap_err();
    assert!(error.to_string().contains("at least 2048"), "{error}");
}

/// An RSA key with a modulus of this many bytes, all ones.
fn rsa_spki(bytes: usize) -> Vec<u8> {
    use der::Encode;
    use der::asn1::{BitString, UintRef};
    use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
    let modulus = UintRef::new(&vec![0xff; bytes]).unwrap().to_der().unwrap();
    let exponent = UintRef::new(&[1, 0, 1]).unwrap().to_der().unwrap();
    let parts = [modulus, exponent].concat();
    let key = der::Any::new(der::Tag::Sequence, parts)
        .unwrap()
        .to_der()
        .unwrap();
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::RSA_ENCRYPTION,
        parameters: Some(der::Any::null()),
    };
    let subject_public_key = BitString::from_bytes(&key).unwrap();
    SubjectPublicKeyInfoOwned {
        algorithm,
        subject_public_key,
    }
    .to_der()
    .unwrap()
}

#[test]
fn rsa_keys_of_unreasonable_size_are_refused_at_once() {
    for bytes in [64, 127, 1025, 2048] {
        let error = PublicKey::from_spki_der(&rsa_spki(bytes)).unwrap_err();
        assert!(error.to_string().contains("1024 to 8192"), "{error}");
    }
    for bytes in [128, 1024] {
        assert!(PublicKey::from_spki_der(&rsa_spki(bytes)).is_ok());
    }
    assert!(matches!(
        PublicKey::from_spki_der(&rsa_spki(10_000)),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn a_point_that_is_not_on_its_curve_verifies_nothing() {
    let key = key(KeyAlgorithm::EcP256);
    let mut spki = key.public_key().spki_der().to_vec();
    *spki.last_mut().unwrap() ^= 1;
    let broken = PublicKey::from_spki_der(&spki).unwrap();
    let signature = key.sign(key.default_signature(), MESSAGE).unwrap();
    let error = broken
        .verify(key.default_signature(), MESSAGE, &signature)
        .unwrap_err();
    assert!(
        error.to_string().contains("not valid for its algorithm"),
        "{error}"
    );
}

#[test]
fn a_point_in_the_hybrid_form_is_kept_but_not_used() {
    let key = key(KeyAlgorithm::EcP256);
    let mut spki = key.public_key().spki_der().to_vec();
    let start = spki.len() - 65;
    // X9.62: 6 or 7 instead of 4, by the parity of y.
    spki[start] = 6 | (spki[spki.len() - 1] & 1);
    let hybrid = PublicKey::from_spki_der(&spki).unwrap();
    let error = hybrid
        .verify(key.default_signature(), MESSAGE, b"x")
        .unwrap_err()
        .to_string();
    assert!(error.contains("unusual form"), "{error}");
}

#[test]
fn the_key_identifier_is_the_one_that_openssl_computes() {
    let files = Files::new();
    let key = key(KeyAlgorithm::EcP256);
    let private = files.write("key", key.to_pkcs8_pem().unwrap().as_bytes());
    let command = [
        "req", "-new", "-x509", "-key", &private, "-subj", "/CN=a", "-outform", "DER",
    ];
    let out = files.path("certificate");
    if openssl_ok(&[&command[..], &["-out", &out]].concat()).is_some() {
        let certificate = pki::Certificate::from_der(&files.read("certificate")).unwrap();
        assert_eq!(certificate.ski(), Some(&key.public_key().key_id_sha1()[..]));
        assert!(certificate.matches_key(&key));
    }
}

proptest! {
    #[test]
    fn random_bytes_are_never_a_key_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(PrivateKey::from_bytes(&bytes).is_err());
        let _ = PublicKey::from_spki_der(&bytes);
    }

    #[test]
    fn damaged_keys_never_panic(at in 0usize..200, value in any::<u8>()) {
        let key = key(KeyAlgorithm::EcP256);
        for form in [key.to_pkcs8_der().unwrap(), key.to_traditional_der().unwrap()] {
            let mut bytes = form.to_vec();
            let index = at % bytes.len();
            bytes[index] = value;
            let _ = PrivateKey::from_bytes(&bytes);
        }
        let mut bytes = key.public_key().spki_der().to_vec();
        let index = at % bytes.len();
        bytes[index] = value;
        if let Ok(key) = PublicKey::from_spki_der(&bytes) {
            let _ = key.verify(SignatureAlgorithm::EcdsaSha256, MESSAGE, &bytes);
        }
    }
}
