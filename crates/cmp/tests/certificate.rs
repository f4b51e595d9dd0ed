//! `verify::issued`: certificates that must not be accepted, whatever engine brought them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use cmp::engine::NameChanges;
use cmp::error::CertificateFault;
use cmp::{Answer, Class, EnrolmentKind, ErrorKind, Expectation, Stage, verify};
use pki::{Anchors, Certificate, ExtendedKeyUsage, Usages};
use support::*;

fn answer(certificate: Certificate) -> Answer {
    Answer {
        certificate,
        extra: Vec::new(),
        ca_pubs: Vec::new(),
        granted_with_mods: false,
        text: String::new(),
        confirm_by: None,
        warnings: Vec::new(),
    }
}

fn expectation(world: &World) -> Expectation {
    Expectation::new(&world.enrolment(EnrolmentKind::Initialization), &world.new_key)
}

fn wish(world: &World) -> Wish {
    Wish::new(SUBJECT, &world.new_key).sans(&SANS)
}

fn fault(world: &World, answer: &Answer) -> CertificateFault {
    let error = verify::issued(&expectation(world), answer, &world.peer, now()).unwrap_err();
    assert_eq!(
        (error.class, error.step),
        (Class::Untrusted, Stage::Verifying),
        "{error}"
    );
    match error.kind {
        ErrorKind::Certificate(fault) => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn right_certificate_is_accepted_with_its_chain_in_order() {
    let world = World::new();
    let (first, second) = (key(), key());
    let outer = world
        .root
        .issue(&Wish::new("CN=Outer", &first).ca().usage(&["cert sign"]));
    let inner = issue(
        outer.subject(),
        &first,
        &Wish::new("CN=Inner", &second).ca().usage(&["cert sign"]),
    );
    let leaf = issue(inner.subject(), &second, &wish(&world));
    let mut answer = answer(leaf.clone());
    answer.extra = vec![
        outer.clone(),
        world.signer.clone(),
        world.root.certificate.clone(),
    ];
    answer.ca_pubs = vec![inner.clone()];
    let verified = verify::issued(&expectation(&world), &answer, &world.peer, now()).unwrap();
    assert_eq!(verified.certificate(), &leaf);
    assert_eq!(verified.chain(), [inner, outer]);
    assert_eq!(verified.root(), Some(&world.root.certificate));
}

#[test]
fn anchor_that_is_no_root_ends_the_path_and_stays_in_the_chain() {
    let mut world = World::new();
    let first = key();
    let sub = world
        .root
        .issue(&Wish::new("CN=Sub", &first).ca().usage(&["cert sign"]));
    world.peer.trust.certificates = Anchors::new([sub.clone()]).unwrap();
    let answer = answer(issue(sub.subject(), &first, &wish(&world)));
    let verified = verify::issued(&expectation(&world), &answer, &world.peer, now()).unwrap();
    assert_eq!((verified.chain(), verified.root()), (&[sub][..], None));
}

#[test]
fn another_public_key_is_refused() {
    let world = World::new();
    let certificate = world.root.issue(&Wish::new(SUBJECT, &key()).sans(&SANS));
    assert_eq!(fault(&world, &answer(certificate)), CertificateFault::OtherKey);
}

#[test]
fn changed_subject_is_refused_whatever_the_status_says() {
    let world = World::new();
    for subject in [
        "CN=b.example,O=Lab",
        "CN=a.example",
        "CN=a.example,O=Lab,C=DE",
        "OU=x+CN=a.example,O=Lab",
    ] {
        let mut changed = answer(world.root.issue(&Wish::new(subject, &world.new_key).sans(&SANS)));
        for said in [false, true] {
            changed.granted_with_mods = said;
            assert!(
                matches!(fault(&world, &changed), CertificateFault::Subject { .. }),
                "{subject}"
            );
        }
    }
}

#[test]
fn changed_alternative_names_are_refused_whatever_the_status_says() {
    let world = World::new();
    let cases: [(&[&str], usize, usize); 5] = [
        (&[], 2, 0),
        (&["DNS:a.example"], 1, 0),
        (&["DNS:a.example", "IP:192.0.2.7", "DNS:b.example"], 0, 1),
        (&["DNS:a.example", "IP:192.0.2.8"], 1, 1),
        (&["DNS:*.example", "IP:192.0.2.7"], 1, 1),
    ];
    for (sans, missing, added) in cases {
        let mut changed = answer(world.root.issue(&Wish::new(SUBJECT, &world.new_key).sans(sans)));
        for said in [false, true] {
            changed.granted_with_mods = said;
            assert_eq!(
                fault(&world, &changed),
                CertificateFault::AlternativeNames { missing, added },
                "{sans:?}"
            );
        }
    }
    let reordered = ["IP:192.0.2.7", "DNS:a.example"];
    let same = answer(
        world
            .root
            .issue(&Wish::new(SUBJECT, &world.new_key).sans(&reordered)),
    );
    verify::issued(&expectation(&world), &same, &world.peer, now()).unwrap();
}

#[test]
fn changed_names_pass_only_if_policy_and_status_both_say_so() {
    let mut world = World::new();
    let subject = world
        .root
        .issue(&Wish::new("CN=changed", &world.new_key).sans(&SANS));
    let sans = world
        .root
        .issue(&Wish::new(SUBJECT, &world.new_key).sans(&["DNS:c.example"]));
    let cases = [
        (NameChanges::SubjectIfSaid, true, true, false),
        (NameChanges::SubjectIfSaid, false, false, false),
        (NameChanges::AllIfSaid, true, true, true),
        (NameChanges::AllIfSaid, false, false, false),
        (NameChanges::Refuse, true, false, false),
    ];
    for (policy, said, subject_passes, sans_pass) in cases {
        world.peer.policy.name_changes = policy;
        for (certificate, passes) in [(&subject, subject_passes), (&sans, sans_pass)] {
            let mut answer = answer(certificate.clone());
            answer.granted_with_mods = said;
            let result = verify::issued(&expectation(&world), &answer, &world.peer, now());
            assert_eq!(result.is_ok(), passes, "{policy:?} {said}: {result:?}");
        }
    }
}

#[test]
fn certificate_outside_its_validity_is_refused() {
    let world = World::new();
    let cases = [
        ("expired", "2026-01-01T00:00:00Z", "2026-11-24T11:59:59Z", false),
        (
            "not yet valid",
            "2026-11-24T12:05:01Z",
            "2027-01-01T00:00:00Z",
            false,
        ),
        (
            "ends before it begins",
            "2026-11-24T11:00:00Z",
            "2026-11-24T10:00:00Z",
            false,
        ),
        (
            "a little early",
            "2026-11-24T12:04:59Z",
            "2027-01-01T00:00:00Z",
            true,
        ),
        (
            "last second",
            "2026-01-01T00:00:00Z",
            "2026-11-24T12:00:00Z",
            true,
        ),
    ];
    for (what, from, to, good) in cases {
        let answer = answer(world.root.issue(&wish(&world).valid(from, to)));
        if good {
            verify::issued(&expectation(&world), &answer, &world.peer, now()).expect(what);
        } else {
            assert!(
                matches!(fault(&world, &answer), CertificateFault::Validity { .. }),
                "{what}"
            );
        }
    }
}

/// The anchors for answers and those for certificates are two different things.
#[test]
fn certificate_without_a_path_to_the_anchors_for_certificates_is_refused() {
    let mut world = World::new();
    let stranger = Ca::root("CN=Root,O=Lab");
    let mut foreign = answer(stranger.issue(&wish(&world)));
    foreign.extra = vec![stranger.certificate.clone()];
    foreign.ca_pubs = vec![stranger.certificate.clone()];
    assert!(matches!(fault(&world, &foreign), CertificateFault::Chain(_)));
    world.peer.trust.responses = stranger.anchors();
    world.peer.trust.untrusted = vec![stranger.certificate.clone()];
    assert!(matches!(fault(&world, &foreign), CertificateFault::Chain(_)));
}

#[test]
fn issuer_that_is_no_ca_is_refused() {
    let world = World::new();
    let mut answer = answer(issue(world.own.subject(), &world.own_key, &wish(&world)));
    answer.extra = vec![world.own.clone()];
    assert!(matches!(fault(&world, &answer), CertificateFault::Chain(_)));
}

#[test]
fn ca_certificate_that_nobody_asked_for_is_refused() {
    let world = World::new();
    assert_eq!(
        fault(&world, &answer(world.root.issue(&wish(&world).ca()))),
        CertificateFault::Authority
    );
}

/// Asked for: `wanted`; issued: `given`, where "-" stands for no extension at all.
fn with_usages(
    wanted: &[&str],
    given: &[&str],
    policy: NameChanges,
    said: bool,
) -> Result<(), CertificateFault> {
    let mut world = World::new();
    world.peer.policy.name_changes = policy;
    let words =
        |words: &[&str]| Usages::from_words(words.iter().copied().filter(|word| *word != "-")).unwrap();
    let (wanted, given) = (words(wanted), words(given));
    let mut issue = wish(&world);
    issue.template.key_usage = given.key_usage;
    issue.template.extended_key_usages = given.extended_key_usages;
    let mut expected = expectation(&world);
    expected.key_usage = wanted.key_usage;
    expected.extended_key_usages = wanted.extended_key_usages;
    let mut answer = answer(world.root.issue(&issue));
    answer.granted_with_mods = said;
    match verify::issued(&expected, &answer, &world.peer, now()) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind {
            ErrorKind::Certificate(fault) => Err(fault),
            other => panic!("{other}"),
        },
    }
}

#[test]
fn a_usage_that_was_asked_for_and_is_missing_is_refused_by_its_name() {
    let cases: [(&[&str], &[&str], &str); 5] = [
        (
            &["digital signature", "server auth"],
            &["digital signature", "client auth"],
            "server auth",
        ),
        (
            &["digital signature", "server auth", "client auth"],
            &["digital signature", "server auth"],
            "client auth",
        ),
        (&["digital signature"], &["key agreement"], "digital signature"),
        (
            &["digital signature", "1.3.6.1.5.5.7.3.17"],
            &["content commitment", "any"],
            "digital signature, 1.3.6.1.5.5.7.3.17",
        ),
        (&["key encipherment"], &["digital signature"], "key encipherment"),
    ];
    for (wanted, given, missing) in cases {
        for said in [false, true] {
            let fault = with_usages(wanted, given, NameChanges::Refuse, said).unwrap_err();
            let expected = missing.to_owned();
            assert_eq!(
                fault,
                CertificateFault::Usages { missing: expected },
                "{wanted:?} {given:?}"
            );
        }
        with_usages(wanted, given, NameChanges::AllIfSaid, false).unwrap_err();
        with_usages(wanted, given, NameChanges::AllIfSaid, true).unwrap();
    }
}

#[test]
fn usages_that_the_ca_adds_or_does_not_restrict_pass() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["digital signature", "server auth"], &["-"]),
        (&["digital signature", "server auth"], &["digital signature"]),
        (
            &["digital signature", "server auth"],
            &[
                "digital signature",
                "key encipherment",
                "client auth",
                "server auth",
            ],
        ),
        (&["-"], &["key agreement", "code signing"]),
        (&["digital signature", "key encipherment"], &["digital signature"]),
    ];
    for (wanted, given) in cases {
        assert_eq!(
            with_usages(wanted, given, NameChanges::Refuse, false),
            Ok(()),
            "{wanted:?} {given:?}"
        );
    }
}

#[test]
fn the_right_to_sign_certificates_is_refused_unless_it_was_asked_for() {
    let sign = ["digital signature", "cert sign"];
    let fault = with_usages(&["digital signature"], &sign, NameChanges::AllIfSaid, true).unwrap_err();
    assert_eq!(fault, CertificateFault::Authority);
    assert_eq!(with_usages(&sign, &sign, NameChanges::Refuse, false), Ok(()));
}

#[test]
fn a_certificate_that_is_no_ca_is_refused_where_one_was_asked_for() {
    let world = World::new();
    let mut expected = expectation(&world);
    expected.is_ca = true;
    let refused = |issued: &Wish| {
        let answer = answer(world.root.issue(issued));
        verify::issued(&expected, &answer, &world.peer, now()).map_err(|error| error.kind)
    };
    assert_eq!(
        refused(&wish(&world)).unwrap_err(),
        ErrorKind::Certificate(CertificateFault::NoAuthority)
    );
    refused(&wish(&world).ca().usage(&["cert sign"])).unwrap();
}

#[test]
fn an_expectation_has_the_usages_of_its_request() {
    let world = World::new();
    let mut enrolment = world.enrolment(EnrolmentKind::Initialization);
    enrolment.template.extended_key_usages = vec![ExtendedKeyUsage::ClientAuth];
    enrolment.template.key_usage = usages(&["digital signature"]);
    let expected = Expectation::new(&enrolment, &world.new_key);
    assert_eq!(expected.extended_key_usages, [ExtendedKeyUsage::ClientAuth]);
    assert_eq!(expected.key_usage, usages(&["digital signature"]));
}

#[test]
fn without_anchors_nothing_is_accepted_and_the_settings_are_to_blame() {
    let mut world = World::new();
    world.peer.trust.certificates = Anchors::default();
    let error = verify::issued(&expectation(&world), &answer(world.issue()), &world.peer, now()).unwrap_err();
    assert_eq!(error.class, Class::Misconfigured);
}

#[test]
fn peer_names_in_errors_are_escaped() {
    let world = World::new();
    let subject = pki::Name::from_parts(&[("CN", "a\u{202e}\u{1b}[2J")]).unwrap();
    let mut bad = wish(&world);
    bad.template.subject = subject;
    let error = verify::issued(
        &expectation(&world),
        &answer(world.root.issue(&bad)),
        &world.peer,
        now(),
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
}
