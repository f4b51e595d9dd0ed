//! Certification paths.

mod refused;

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
