//! Certification paths.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;
use pki::{
    Anchors, Certificate, ChainError, Error, KeyAlgorithm, PrivateKey, Purpose, SignatureAlgorithm,
    build_chain, verify_chain,
};
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, NameConstraints};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName};

use crate::support::{Draft, Files, Lab, Party, at, key, now, openssl, openssl_ok};

fn anchors<const N: usize>(parties: [&Party; N]) -> Anchors {
    Anchors::new(parties.map(|party| party.certificate.clone())).unwrap()
}

fn pool<const N: usize>(parties: [&Party; N]) -> Vec<Certificate> {
    parties.map(|party| party.certificate.clone()).to_vec()
}

/// Verifies for any purpose at the time of all tests.
fn verify(leaf: &Party, pool: &[Certificate], anchors: &Anchors) -> Result<Vec<Certificate>, ChainError> {
    verify_chain(&leaf.certificate, pool, anchors, now(), Purpose::AnyEku)
}

fn dns(names: &[&str]) -> SubjectAltName {
    let name = |text: &&str| GeneralName::DnsName(der::asn1::Ia5String::new(*text).unwrap());
    SubjectAltName(names.iter().map(name).collect())
}

fn permitted(domain: &str) -> NameConstraints {
    let base = GeneralName::DnsName(der::asn1::Ia5String::new(domain).unwrap());
    let subtree = GeneralSubtree {
        base,
        minimum: 0,
        maximum: None,
    };
    NameConstraints {
        permitted_subtrees: Some(vec![subtree]),
        excluded_subtrees: None,
    }
}

// What is accepted.

#[test]
fn a_leaf_is_verified_through_intermediates_in_any_order_and_with_strangers_among_them() {
    let lab = Lab::new();
    let stranger = Draft::ca("CN=Stranger").self_signed();
    let expected = pool([&lab.leaf, &lab.issuing, &lab.root]);
    let trusted = anchors([&stranger, &lab.root]);
    for pool in [
        pool([&lab.issuing]),
        pool([&stranger, &lab.issuing]),
        pool([&lab.root, &lab.issuing, &lab.leaf, &stranger]),
        pool([&lab.issuing, &lab.issuing]),
    ] {
        assert_eq!(verify(&lab.leaf, &pool, &trusted).unwrap(), expected);
    }
}

#[test]
fn a_leaf_directly_below_an_anchor_needs_no_intermediates() {
    let lab = Lab::new();
    let path = verify(&lab.leaf, &[], &anchors([&lab.issuing])).unwrap();
    assert_eq!(
        path,
        pool([&lab.leaf, &lab.issuing]),
        "an anchor need not be self-signed"
    );
}

#[test]
fn an_anchor_is_accepted_itself_whatever_it_is() {
    let lab = Lab::new();
    let self_signed = Draft::leaf("CN=self").self_signed();
    for party in [&lab.root, &lab.issuing, &lab.leaf, &self_signed] {
        assert_eq!(verify(party, &[], &anchors([party])).unwrap(), pool([party]));
    }
}

/// The signer of a CMP message may be the CA itself.
#[test]
fn a_ca_certificate_is_accepted_as_the_leaf() {
    let lab = Lab::new();
    let path = verify(&lab.issuing, &[], &anchors([&lab.root])).unwrap();
    assert_eq!(path, pool([&lab.issuing, &lab.root]));
    let below = Draft::ca("CN=Below").signed_by(&lab.issuing);
    let path = verify(&below, &pool([&lab.issuing]), &anchors([&lab.root])).unwrap();
    assert_eq!(path, pool([&below, &lab.issuing, &lab.root]));
}

#[test]
fn extended_key_usages_count_only_for_a_purpose() {
    let lab = Lab::new();
    let trusted = anchors([&lab.issuing]);
    let with = |purposes: &[ObjectIdentifier]| {
        Draft::leaf("CN=a")
            .with(false, &ExtendedKeyUsage(purposes.to_vec()))
            .signed_by(&lab.issuing)
            .certificate
    };
    let server = with(&[rfc5280::ID_KP_SERVER_AUTH]);
    let odd = with(&[ObjectIdentifier::new_unwrap("1.2.3.4")]);
    let any = with(&[rfc5280::ANY_EXTENDED_KEY_USAGE]);
    let verify = |leaf: &Certificate, purpose| verify_chain(leaf, &[], &trusted, now(), purpose);
    for leaf in [&server, &odd, &any, &lab.leaf.certificate] {
        verify(leaf, Purpose::AnyEku).unwrap();
    }
    for leaf in [&server, &any, &lab.leaf.certificate] {
        verify(leaf, Purpose::ServerAuth).unwrap();
    }
    let error = verify(&server, Purpose::ClientAuth).unwrap_err();
    assert_eq!(
        error.to_string(),
        "certificate of CN=a may not be used for client auth"
    );
    assert!(matches!(
        verify(&odd, Purpose::ServerAuth),
        Err(ChainError::WrongPurpose { .. })
    ));
}

#[test]
fn every_kind_of_key_and_signature_makes_a_chain() {
    let signatures = [
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha256),
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha384),
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha512),
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPssSha256),
        (KeyAlgorithm::Rsa2048, SignatureAlgorithm::RsaPssSha384),
        (KeyAlgorithm::Rsa3072, SignatureAlgorithm::RsaPssSha512),
        (KeyAlgorithm::EcP256, SignatureAlgorithm::EcdsaSha256),
        (KeyAlgorithm::EcP384, SignatureAlgorithm::EcdsaSha384),
        (KeyAlgorithm::EcP521, SignatureAlgorithm::EcdsaSha512),
        (KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
    ];
    for (algorithm, signature) in signatures {
        let ca = |subject: &str| Draft::ca(subject).key(&key(algorithm)).algorithm(signature);
        let root = ca("CN=Root").self_signed();
        let issuing = ca("CN=Issuing").signed_by(&root);
        let leaf = Draft::leaf("CN=a").algorithm(signature).signed_by(&issuing);
        verify(&leaf, &pool([&issuing]), &anchors([&root])).unwrap_or_else(|e| panic!("{signature}: {e}"));
        verify(&issuing, &[], &anchors([&root])).unwrap_or_else(|e| panic!("{signature}: {e}"));
    }
}

/// Keys marked for PSS (RFC 4055, 1.2), free and restricted to one hash; only OpenSSL makes them.
#[test]
fn chains_of_pss_keys_are_verified() {
    let files = Files::new();
    for restriction in [
        &[][..],
        &[
            "-pkeyopt",
            "rsa_pss_keygen_md:sha256",
            "-pkeyopt",
            "rsa_pss_keygen_mgf1_md:sha256",
            "-pkeyopt",
            "rsa_pss_keygen_saltlen:32",
        ],
    ] {
        let (private, ca) = (files.path("key"), files.path("ca"));
        let bits = [
            "genpkey",
            "-algorithm",
            "RSA-PSS",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            &private,
        ];
        if openssl_ok(&[&bits[..], restriction].concat()).is_none() {
            return;
        }
        let salt = ["-sha256", "-sigopt", "rsa_pss_saltlen:32", "-days", "30"];
        let root = [
            "req", "-new", "-x509", "-key", &private, "-subj", "/CN=PSS", "-out", &ca,
        ];
        openssl_ok(&[&root[..], &salt, &["-addext", "keyUsage=keyCertSign"]].concat());
        let request = files.path("request");
        let leaf_key = files.write(
            "leaf-key",
            key(KeyAlgorithm::EcP256).to_pkcs8_pem().unwrap().as_bytes(),
        );
        openssl_ok(&[
            "req", "-new", "-key", &leaf_key, "-subj", "/CN=leaf", "-out", &request,
        ]);
        let (leaf, extensions) = (
            files.path("leaf"),
            files.write("ext", "keyUsage=digitalSignature\n"),
        );
        let issue = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &private,
            "-set_serial",
            "1",
        ];
        openssl_ok(&[&issue[..], &["-extfile", &extensions, "-out", &leaf], &salt].concat());
        let (root, leaf) = (files.read("ca"), files.read("leaf"));
        let (root, leaf) = (
            Certificate::from_pem(&root).unwrap(),
            Certificate::from_pem(&leaf).unwrap(),
        );
        assert_eq!(root.public_key().description(), "RSA-PSS-2048");
        let now = leaf.not_before();
        let trusted = Anchors::new([root.clone()]).unwrap();
        verify_chain(&leaf, &[], &trusted, now, Purpose::AnyEku).unwrap();
        root.verify_signed_by(root.public_key()).unwrap();
    }
}

#[test]
fn of_several_issuers_with_one_name_the_one_that_signed_is_found() {
    let lab = Lab::new();
    let renewed = Draft::ca("CN=Lab Issuing CA,O=Lab").signed_by(&lab.root);
    let expired = Draft::ca("CN=Lab Issuing CA,O=Lab")
        .key(&lab.issuing.key)
        .dates("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
        .signed_by(&lab.root);
    let pool = pool([&renewed, &expired, &lab.issuing]);
    let path = verify(&lab.leaf, &pool, &anchors([&lab.root])).unwrap();
    assert_eq!(path[1], lab.issuing.certificate);
    let other_root = Draft::ca("CN=Lab Root,O=Lab").self_signed();
    let path = verify(&lab.leaf, &pool, &anchors([&other_root, &lab.root])).unwrap();
    assert_eq!(path[2], lab.root.certificate);
}

/// Cross certificates between two CAs: ways lead in circles, but one leads out.
#[test]
fn circles_are_left_behind() {
    let (a, b) = (Draft::ca("CN=A"), Draft::ca("CN=B"));
    let (a_root, b_root) = (a.clone().self_signed(), b.clone().self_signed());
    let (a_by_b, b_by_a) = (a.signed_by(&b_root), b.signed_by(&a_root));
    let leaf = Draft::leaf("CN=leaf").signed_by(&a_root);
    let pool = pool([&a_by_b, &b_by_a]);
    assert_eq!(verify(&leaf, &pool, &anchors([&b_root])).unwrap().len(), 3);
    assert_eq!(verify(&leaf, &pool, &anchors([&a_root])).unwrap().len(), 2);
    let stranger = Draft::ca("CN=C").self_signed();
    assert!(matches!(
        verify(&leaf, &pool, &anchors([&stranger])),
        Err(ChainError::UnknownIssuer { .. })
    ));
}

#[test]
fn names_inside_the_constraints_are_accepted() {
    let lab = Lab::new();
    let bound = Draft::ca("CN=Bound")
        .with(true, &permitted("lab.example"))
        .signed_by(&lab.root);
    let leaf = Draft::leaf("CN=a")
        .with(false, &dns(&["a.lab.example"]))
        .signed_by(&bound);
    verify(&leaf, &pool([&bound]), &anchors([&lab.root])).unwrap();
}

#[test]
fn a_path_as_long_as_allowed_is_accepted() {
    let root = Draft::ca("CN=Root").path_length(1).self_signed();
    let first = Draft::ca("CN=1").path_length(0).signed_by(&root);
    let leaf = Draft::leaf("CN=leaf").signed_by(&first);
    verify(&leaf, &pool([&first]), &anchors([&root])).unwrap();
}

// What is refused, and why.

#[test]
fn a_certificate_outside_its_dates_is_refused_wherever_it_stands() {
    let old = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let future = ("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
    for ((from, to), expired) in [(old, true), (future, false)] {
        for position in 0..3 {
            let dated = |draft: Draft, at: usize| {
                if at == position {
                    draft.dates(from, to)
                } else {
                    draft
                }
            };
            let root = dated(Draft::ca("CN=0"), 0).self_signed();
            let issuing = dated(Draft::ca("CN=1"), 1).signed_by(&root);
            let leaf = dated(Draft::leaf("CN=2"), 2).signed_by(&issuing);
            let (error, who) = (
                verify(&leaf, &pool([&issuing]), &anchors([&root])).unwrap_err(),
                format!("CN={position}"),
            );
            let expected = if expired {
                ChainError::Expired {
                    subject: who,
                    not_after: at(to),
                }
            } else {
                ChainError::NotYetValid {
                    subject: who,
                    not_before: at(from),
                }
            };
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn dates_are_inclusive() {
    let lab = Lab::new();
    let trusted = anchors([&lab.root]);
    let verify = |now: &str| {
        verify_chain(
            &lab.leaf.certificate,
            &pool([&lab.issuing]),
            &trusted,
            at(now),
            Purpose::AnyEku,
        )
    };
    verify("2026-01-01T00:00:00Z").unwrap();
    verify("2027-01-01T00:00:00Z").unwrap();
    assert!(matches!(
        verify("2025-12-31T23:59:59Z"),
        Err(ChainError::NotYetValid { .. })
    ));
    assert!(matches!(
        verify("2027-01-01T00:00:01Z"),
        Err(ChainError::Expired { .. })
    ));
    assert!(matches!(
        verify("1960-01-01T00:00:00Z"),
        Err(ChainError::NotYetValid { .. })
    ));
}

#[test]
fn an_anchor_outside_its_dates_is_not_accepted_itself() {
    let old = Draft::leaf("CN=a")
        .dates("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
        .self_signed();
    assert!(matches!(
        verify(&old, &[], &anchors([&old])),
        Err(ChainError::Expired { .. })
    ));
}

#[test]
fn a_missing_issuer_is_named() {
    let lab = Lab::new();
    let stranger = Draft::ca("CN=Stranger").self_signed();
    let unknown = |subject: &str, issuer: &str| ChainError::UnknownIssuer {
        subject: format!("{subject},O=Lab"),
        issuer: format!("{issuer},O=Lab"),
    };
    let first = unknown("CN=a.example", "CN=Lab Issuing CA");
    assert_eq!(verify(&lab.leaf, &[], &anchors([&lab.root])), Err(first.clone()));
    assert_eq!(verify(&lab.leaf, &[], &Anchors::default()), Err(first));
    let second = unknown("CN=Lab Issuing CA", "CN=Lab Root");
    assert_eq!(
        verify(&lab.leaf, &pool([&lab.issuing]), &anchors([&stranger])),
        Err(second.clone())
    );
    // A root that only came along with the message is not trusted.
    let sent = pool([&lab.issuing, &lab.root]);
    let third = unknown("CN=Lab Root", "CN=Lab Root");
    assert_eq!(verify(&lab.leaf, &sent, &anchors([&stranger])), Err(third));
    let lonely = Draft::leaf("CN=self").self_signed();
    assert!(matches!(
        verify(&lonely, &[], &anchors([&lab.root])),
        Err(ChainError::UnknownIssuer { .. })
    ));
}

#[test]
fn a_certificate_that_its_namesake_issuer_did_not_sign_is_refused() {
    let lab = Lab::new();
    let impostor = Draft::ca("CN=Lab Root,O=Lab").self_signed();
    let bad = |subject: &str| {
        Err(ChainError::BadSignature {
            subject: subject.to_owned(),
            issuer: "CN=Lab Root,O=Lab".to_owned(),
        })
    };
    let trusted = anchors([&impostor]);
    assert_eq!(
        verify(&lab.leaf, &pool([&lab.issuing]), &trusted),
        bad("CN=Lab Issuing CA,O=Lab")
    );
    assert_eq!(
        verify(&lab.issuing, &[], &trusted),
        bad("CN=Lab Issuing CA,O=Lab")
    );
    assert_eq!(verify(&lab.root, &[], &trusted), bad("CN=Lab Root,O=Lab"));
    // Among several of the name none fits.
    let second = Draft::ca("CN=Lab Root,O=Lab").self_signed();
    assert_eq!(
        verify(&lab.issuing, &[], &anchors([&impostor, &second])),
        bad("CN=Lab Issuing CA,O=Lab")
    );
    // A namesake with a key of another kind did not sign either.
    let other_kind = Draft::ca("CN=Lab Root,O=Lab")
        .key(&key(KeyAlgorithm::Ed25519))
        .self_signed();
    assert_eq!(
        verify(&lab.issuing, &[], &anchors([&other_kind])),
        bad("CN=Lab Issuing CA,O=Lab")
    );
    assert!(verify(&lab.leaf, &pool([&lab.issuing]), &anchors([&other_kind])).is_err());
}

#[test]
fn a_changed_leaf_is_refused() {
    let lab = Lab::new();
    let mut der = lab.leaf.certificate.der().to_vec();
    let position = der.windows(9).position(|w| w == b"a.example").unwrap();
    der[position] = b'b';
    let changed = Certificate::from_der(&der).unwrap();
    let result = verify_chain(&changed, &[], &anchors([&lab.issuing]), now(), Purpose::AnyEku);
    assert!(
        matches!(result, Err(ChainError::BadSignature { .. })),
        "{result:?}"
    );
}

#[test]
fn an_end_entity_cannot_issue() {
    let lab = Lab::new();
    let below = Draft::leaf("CN=below").signed_by(&lab.leaf);
    let pool = pool([&lab.leaf, &lab.issuing]);
    let expected = ChainError::NotACa {
        subject: "CN=a.example,O=Lab".to_owned(),
    };
    assert_eq!(verify(&below, &pool, &anchors([&lab.root])), Err(expected));
    let no_basic = Draft::ca("CN=old")
        .without(rfc5280::ID_CE_BASIC_CONSTRAINTS)
        .signed_by(&lab.root);
    let below = Draft::leaf("CN=below").signed_by(&no_basic);
    let result = verify(&below, &[no_basic.certificate], &anchors([&lab.root]));
    assert!(matches!(result, Err(ChainError::NotACa { .. })));
}

#[test]
fn an_issuer_whose_key_usage_lacks_cert_sign_is_refused_anchor_or_not() {
    let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::CRLSign);
    let root = Draft::ca("CN=Root").self_signed();
    let wrong = Draft::ca("CN=Wrong").with(true, &usage).signed_by(&root);
    let leaf = Draft::leaf("CN=a").signed_by(&wrong);
    let below = Draft::ca("CN=b").signed_by(&wrong);
    let expected = Err(ChainError::MayNotSign {
        subject: "CN=Wrong".to_owned(),
    });
    for leaf in [&leaf, &below] {
        assert_eq!(verify(leaf, &pool([&wrong]), &anchors([&root])), expected);
        assert_eq!(verify(leaf, &[], &anchors([&wrong])), expected);
    }
    // As the leaf it may be anything.
    verify(&wrong, &[], &anchors([&root])).unwrap();
}

#[test]
fn an_exceeded_path_length_is_refused_anchor_or_not() {
    let root = Draft::ca("CN=Root").path_length(0).self_signed();
    let first = Draft::ca("CN=1").path_length(0).signed_by(&root);
    let second = Draft::ca("CN=2").signed_by(&first);
    let leaf = Draft::leaf("CN=leaf").signed_by(&second);
    let below_root = Draft::leaf("CN=a").signed_by(&first);
    let exceeded = |subject: &str| {
        Err(ChainError::PathTooLong {
            subject: subject.to_owned(),
            allowed: 0,
        })
    };
    assert_eq!(
        verify(&leaf, &pool([&first, &second]), &anchors([&root])),
        exceeded("CN=1")
    );
    assert_eq!(
        verify(&below_root, &pool([&first]), &anchors([&root])),
        exceeded("CN=Root")
    );
    // RFC 5280, 4.2.1.9: the last certificate is not counted, even if it is a CA's.
    verify(&first, &[], &anchors([&root])).unwrap();
    assert_eq!(
        verify(&second, &pool([&first]), &anchors([&root])),
        exceeded("CN=Root")
    );
}

#[test]
fn names_outside_the_constraints_are_refused() {
    let lab = Lab::new();
    let bound = Draft::ca("CN=Bound")
        .with(true, &permitted("lab.example"))
        .signed_by(&lab.root);
    let leaf = Draft::leaf("CN=a")
        .with(false, &dns(&["a.lab.example", "b.example"]))
        .signed_by(&bound);
    let expected = ChainError::NameConstraint {
        subject: "CN=a".to_owned(),
    };
    assert_eq!(
        verify(&leaf, &pool([&bound]), &anchors([&lab.root])),
        Err(expected.clone())
    );
    assert_eq!(
        verify(&leaf, &[], &anchors([&bound])),
        Err(expected),
        "an anchor's constraints count"
    );
    let below = Draft::ca("CN=below").signed_by(&bound);
    let refused = verify(&below, &pool([&bound]), &anchors([&lab.root]));
    assert_eq!(
        refused,
        Err(ChainError::NameConstraintsOnCa {
            issuer: "CN=Bound".to_owned()
        })
    );
}

/// The first path found breaks a constraint, the second does not.
#[test]
fn a_refused_path_does_not_hide_a_good_one() {
    let lab = Lab::new();
    let draft = Draft::ca("CN=Twice");
    let bound = draft
        .clone()
        .with(true, &permitted("lab.example"))
        .signed_by(&lab.root);
    let free = draft.signed_by(&lab.root);
    let leaf = Draft::leaf("CN=a")
        .with(false, &dns(&["b.example"]))
        .signed_by(&free);
    for pool in [pool([&bound, &free]), pool([&free, &bound])] {
        assert_eq!(
            verify(&leaf, &pool, &anchors([&lab.root])).unwrap()[1],
            free.certificate
        );
    }
}

#[test]
fn an_unknown_critical_extension_is_refused_unless_it_is_an_anchors() {
    let oid = ObjectIdentifier::new_unwrap("1.2.3.4");
    let root = Draft::ca("CN=Root").with_raw(oid, true, &[5, 0]).self_signed();
    let odd_ca = Draft::ca("CN=Odd").with_raw(oid, true, &[5, 0]).signed_by(&root);
    let odd_leaf = Draft::leaf("CN=odd")
        .with_raw(oid, true, &[5, 0])
        .signed_by(&root);
    let leaf = Draft::leaf("CN=a").signed_by(&odd_ca);
    let refused = |subject: &str| {
        Err(ChainError::CriticalExtension {
            subject: subject.to_owned(),
            oid,
        })
    };
    assert_eq!(
        verify(&leaf, &pool([&odd_ca]), &anchors([&root])),
        refused("CN=Odd")
    );
    assert_eq!(verify(&odd_leaf, &[], &anchors([&root])), refused("CN=odd"));
    assert_eq!(verify(&odd_ca, &[], &anchors([&root])), refused("CN=Odd"));
    verify(&leaf, &[], &anchors([&odd_ca])).unwrap();
    let harmless = Draft::leaf("CN=a").with_raw(oid, false, &[5, 0]).signed_by(&root);
    verify(&harmless, &[], &anchors([&root])).unwrap();
}

#[test]
fn weak_signatures_are_refused_by_name() {
    let files = Files::new();
    let rsa = key(KeyAlgorithm::Rsa2048);
    let private = files.write("key", rsa.to_pkcs8_pem().unwrap().as_bytes());
    let dates = ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    let root = Draft::ca("CN=Root")
        .key(&rsa)
        .dates(dates.0, dates.1)
        .self_signed();
    let ca = files.write("ca", root.certificate.to_pem());
    let (request, leaf) = (files.path("request"), files.path("leaf"));
    if openssl_ok(&[
        "req", "-new", "-key", &private, "-subj", "/CN=old", "-out", &request,
    ])
    .is_none()
    {
        return;
    }
    let extensions = files.write("ext", "keyUsage=digitalSignature\n");
    let issue = [
        "x509",
        "-req",
        "-sha1",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &private,
        "-set_serial",
        "1",
    ];
    openssl_ok(&[&issue[..], &["-extfile", &extensions, "-out", &leaf]].concat());
    let leaf = Certificate::from_pem(&files.read("leaf")).unwrap();
    let trusted = anchors([&root]);
    let error = verify_chain(&leaf, &[], &trusted, leaf.not_before(), Purpose::AnyEku).unwrap_err();
    assert!(
        matches!(&error, ChainError::UnsupportedSignature { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("sha1"), "{error}");
}

#[test]
fn a_leaf_of_an_old_version_is_refused() {
    let lab = Lab::new();
    let mut draft = Draft::leaf("CN=a");
    (draft.version, draft.extensions, draft.identifiers) = (None, Vec::new(), false);
    let leaf = draft.signed_by(&lab.root);
    let error = verify(&leaf, &[], &anchors([&lab.root])).unwrap_err().to_string();
    assert!(error.contains("not an X.509 version 3 certificate"), "{error}");
}

// Bounds.

#[test]
fn a_large_pool_of_strangers_does_no_harm() {
    let lab = Lab::new();
    let mut pool: Vec<Certificate> = (0..300)
        .map(|i| Draft::ca(&format!("CN={i}")).self_signed().certificate)
        .collect();
    pool.push(lab.issuing.certificate.clone());
    assert_eq!(verify(&lab.leaf, &pool, &anchors([&lab.root])).unwrap().len(), 3);
}

#[test]
fn too_many_candidates_are_refused() {
    let lab = Lab::new();
    let draft = Draft::ca("CN=Lab Issuing CA,O=Lab");
    let pool: Vec<Certificate> = (0..65u8)
        .map(|i| {
            let mut draft = draft.clone();
            draft.serial = vec![1, i];
            draft.signed_by(&lab.root).certificate
        })
        .collect();
    assert_eq!(
        verify(&lab.leaf, &pool, &anchors([&lab.root])),
        Err(ChainError::TooComplex)
    );
}

/// Eight keys under one name that all certify each other: 64 certificates, tens of thousands of ways, none of which
/// leads to an anchor. The number of signatures that are checked is limited.
#[test]
fn a_mesh_of_namesakes_ends_soon() {
    let keys: Vec<PrivateKey> = (0..8).map(|_| key(KeyAlgorithm::EcP256)).collect();
    let party = |key: &PrivateKey| Draft::ca("CN=Mesh").key(key).self_signed();
    let parties: Vec<Party> = keys.iter().map(party).collect();
    let mesh: Vec<Certificate> = parties
        .iter()
        .flat_map(|issuer| {
            keys.iter()
                .map(|key| Draft::ca("CN=Mesh").key(key).signed_by(issuer).certificate)
        })
        .collect();
    let leaf = Draft::leaf("CN=leaf").signed_by(&parties[0]);
    let stranger = Draft::ca("CN=Mesh").self_signed();
    let error = verify(&leaf, &mesh[..64], &anchors([&stranger])).unwrap_err();
    assert!(
        matches!(error, ChainError::TooComplex | ChainError::BadSignature { .. }),
        "{error}"
    );
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let root = Draft::ca("CN=Root").self_signed();
    let mut parties = vec![root.clone()];
    for i in 0..8 {
        let next = Draft::ca(&format!("CN={i}")).signed_by(parties.last().unwrap());
        parties.push(next);
    }
    let leaf = |depth: usize| Draft::leaf("CN=leaf").signed_by(&parties[depth]);
    let pool: Vec<Certificate> = parties.iter().skip(1).map(|p| p.certificate.clone()).collect();
    verify(&leaf(6), &pool, &anchors([&root])).unwrap();
    assert_eq!(
        verify(&leaf(7), &pool, &anchors([&root])),
        Err(ChainError::TooComplex)
    );
}

#[test]
fn a_set_of_anchors_keeps_each_once_and_is_bounded() {
    let lab = Lab::new();
    let twice = anchors([&lab.root, &lab.issuing, &lab.root]);
    assert_eq!(twice.certificates(), pool([&lab.root, &lab.issuing]));
    assert!(twice.contains(&lab.root.certificate) && !twice.contains(&lab.leaf.certificate));
    assert!(Anchors::default().is_empty() && !twice.is_empty());
    assert!(format!("{twice:?}").contains("Lab Root"));
    let draft = Draft::leaf("CN=a");
    let many = (0..=pki::chain::MAX_ANCHORS).map(|i| {
        let mut draft = draft.clone();
        draft.serial = vec![1, (i >> 8) as u8, i as u8];
        draft.self_signed().certificate
    });
    assert!(matches!(
        Anchors::new(many),
        Err(Error::TooLarge { unit: "anchors", .. })
    ));
}

#[test]
fn names_in_errors_are_short_and_without_control_characters() {
    let long = Draft::leaf(&format!("CN=a\\0A\\1B[31m{}", "x".repeat(3000))).self_signed();
    let error = verify(&long, &[], &Anchors::default()).unwrap_err().to_string();
    assert!(
        error.len() < 500 && error.chars().all(|c| !c.is_control()),
        "{error}"
    );
    let nameless = Draft::leaf("").self_signed();
    let error = verify(&nameless, &[], &Anchors::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("(no name)"), "{error}");
}

// Chains by name.

#[test]
fn a_chain_is_built_by_name_without_trust() {
    let lab = Lab::new();
    let all = pool([&lab.root, &lab.leaf, &lab.issuing]);
    let leaf = &lab.leaf.certificate;
    assert_eq!(
        build_chain(leaf, &all),
        pool([&lab.leaf, &lab.issuing, &lab.root])
    );
    assert_eq!(build_chain(leaf, &pool([&lab.root])), pool([&lab.leaf]));
    assert_eq!(build_chain(&lab.root.certificate, &all), pool([&lab.root]));
}

#[test]
fn of_several_namesakes_the_chain_takes_the_one_that_signed() {
    let lab = Lab::new();
    let renewed = Draft::ca("CN=Lab Issuing CA,O=Lab").signed_by(&lab.root);
    let chain = build_chain(&lab.leaf.certificate, &pool([&renewed, &lab.issuing]));
    assert_eq!(chain[1], lab.issuing.certificate);
    let wrong = build_chain(&lab.leaf.certificate, &pool([&renewed]));
    assert_eq!(
        wrong,
        pool([&lab.leaf]),
        "a namesake that did not sign is no issuer"
    );
    let mut unmarked = Draft::leaf("CN=a");
    unmarked.identifiers = false;
    let unmarked = unmarked.signed_by(&lab.issuing);
    let chain = build_chain(&unmarked.certificate, &pool([&renewed, &lab.issuing]));
    assert_eq!(
        chain.get(1),
        Some(&lab.issuing.certificate),
        "without key identifiers the signature tells"
    );
}

#[test]
fn a_circle_by_name_ends() {
    let (a, b) = (Draft::ca("CN=A"), Draft::ca("CN=B"));
    let (a_root, b_root) = (a.clone().self_signed(), b.clone().self_signed());
    let (a_by_b, b_by_a) = (a.signed_by(&b_root), b.signed_by(&a_root));
    let chain = build_chain(&a_by_b.certificate, &pool([&a_by_b, &b_by_a]));
    assert_eq!(chain, pool([&a_by_b, &b_by_a]));
}

// The foreign judge.

/// `openssl verify` on the same certificates at the same time: both accept, or both refuse.
#[test]
fn openssl_agrees_on_what_is_accepted_and_what_is_not() {
    let lab = Lab::new();
    let impostor = Draft::ca("CN=Lab Root,O=Lab").self_signed();
    let old = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let old_leaf = Draft::leaf("CN=old").dates(old.0, old.1).signed_by(&lab.issuing);
    let old_ca = Draft::ca("CN=Old CA").dates(old.0, old.1).signed_by(&lab.root);
    let by_old_ca = Draft::leaf("CN=a").signed_by(&old_ca);
    let by_leaf = Draft::leaf("CN=a").signed_by(&lab.leaf);
    let short = Draft::ca("CN=Short").path_length(0).signed_by(&lab.root);
    let below_short = Draft::ca("CN=Below").signed_by(&short);
    let by_below = Draft::leaf("CN=a").signed_by(&below_short);
    let mute = Draft::ca("CN=Mute")
        .with(true, &KeyUsage(KeyUsages::CRLSign.into()))
        .signed_by(&lab.root);
    let by_mute = Draft::leaf("CN=a").signed_by(&mute);
    let bound = Draft::ca("CN=Bound")
        .with(true, &permitted("lab.example"))
        .signed_by(&lab.root);
    let inside = Draft::leaf("CN=a")
        .with(false, &dns(&["a.lab.example"]))
        .signed_by(&bound);
    let outside = Draft::leaf("CN=a")
        .with(false, &dns(&["a.example"]))
        .signed_by(&bound);
    let unknown = ObjectIdentifier::new_unwrap("1.2.3.4");
    let critical = Draft::leaf("CN=a")
        .with_raw(unknown, true, &[5, 0])
        .signed_by(&lab.issuing);
    let endless = Draft {
        not_after: jiff::Timestamp::MAX,
        ..Draft::leaf("CN=a")
    }
    .signed_by(&lab.issuing);
    let cases: [(&str, &Party, Vec<Certificate>, &Party, bool); 15] = [
        (
            "leaf, issuing, root",
            &lab.leaf,
            pool([&lab.issuing]),
            &lab.root,
            true,
        ),
        ("CA as leaf", &lab.issuing, vec![], &lab.root, true),
        ("root itself", &lab.root, vec![], &lab.root, true),
        ("endless leaf", &endless, pool([&lab.issuing]), &lab.root, true),
        ("inside constraints", &inside, pool([&bound]), &lab.root, true),
        ("issuer missing", &lab.leaf, vec![], &lab.root, false),
        ("namesake root", &lab.leaf, pool([&lab.issuing]), &impostor, false),
        ("expired leaf", &old_leaf, pool([&lab.issuing]), &lab.root, false),
        ("expired CA", &by_old_ca, pool([&old_ca]), &lab.root, false),
        (
            "issued by a leaf",
            &by_leaf,
            pool([&lab.leaf, &lab.issuing]),
            &lab.root,
            false,
        ),
        (
            "path too long",
            &by_below,
            pool([&short, &below_short]),
            &lab.root,
            false,
        ),
        ("may not sign", &by_mute, pool([&mute]), &lab.root, false),
        ("outside constraints", &outside, pool([&bound]), &lab.root, false),
        (
            "unknown critical extension",
            &critical,
            pool([&lab.issuing]),
            &lab.root,
            false,
        ),
        (
            "root only sent along",
            &lab.leaf,
            pool([&lab.issuing, &lab.root]),
            &impostor,
            false,
        ),
    ];
    let files = Files::new();
    let time = now().as_second().to_string();
    for (what, leaf, pool, root, accepted) in cases {
        assert_eq!(verify(leaf, &pool, &anchors([root])).is_ok(), accepted, "{what}");
        let root = files.write("root", root.certificate.to_pem());
        let untrusted = files.write("pool", pki::to_pem_bundle(&pool));
        let leaf = files.write("leaf", leaf.certificate.to_pem());
        let mut command = vec![
            "verify",
            "-x509_strict",
            "-no-CApath",
            "-no-CAstore",
            "-attime",
            &time,
            "-CAfile",
            &root,
        ];
        if !pool.is_empty() {
            command.extend(["-untrusted", &untrusted]);
        }
        command.push(&leaf);
        let Some(output) = openssl(&command) else { return };
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), accepted, "{what}: {text}");
    }
}
