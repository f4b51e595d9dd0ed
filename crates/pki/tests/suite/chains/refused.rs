//! What is refused, and why.

use super::*;

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
