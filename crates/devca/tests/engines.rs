//! Every engine, every scenario, every fault: does it end as it should, and does the CA see it end that way?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::{collections::BTreeMap, sync::atomic::Ordering};

use cmp::{
    Class, Credentials, Enrolment, EnrolmentKind, General, GeneralAnswer, MacAlgorithm, Outcome, Reached,
    Request, RevocationReason, Step,
    engine::{CrlSource, NameChanges, RefusalKnown},
};
use devca::{
    Config, Fault, FaultKind, RequestKind, State,
    config::{MacAnswers, Repeat, RootUpdate, Signer},
    faults::ClaimedStatus,
};
use pki::{KeyAlgorithm, PrivateKey, Secret};
use support::{
    bed::{Bed, By, Which, engines, faults},
    config, key, later, start, state,
};

// -- Scenarios ------------------------------------------------------------------------------------------------------

#[test]
fn every_enrolment_works_with_every_protection_confirmation_and_wait() {
    let setups: [fn(&mut Config); 4] = [
        |_| {},
        |config| config.policy.mac_answers = MacAnswers::Signature,
        |config| config.signer = Signer::IssuingCa,
        |config| {
            config.policy.sparse_extra_certs = true;
            config.policy.pkcs10_request_id = 0;
            config.policy.send_ca_pubs = true;
        },
    ];
    for which in engines() {
        for setup in setups {
            let mut config = config();
            setup(&mut config);
            let bed = Bed::with(&which, config);
            for by in [By::Pbm, By::LegacyPbm, By::Pbmac1, By::Signature] {
                for (kind, request) in bed.kinds() {
                    if bed.can(by, request) {
                        enrols_in_every_way(&bed, by, &kind, request);
                    }
                }
            }
            assert_eq!(bed.ca.ledger().stats(bed.now()).refused, 0);
        }
    }
}

fn enrols_in_every_way(bed: &Bed, by: By, kind: &EnrolmentKind, request: RequestKind) {
    for (implicit_confirm, polls) in [(false, 0), (true, 0), (false, 2)] {
        // OpenSSL before 3.3 does not poll for pkiConf.
        let confirmation_polls = if bed.which == Which::Native { polls } else { 0 };
        let waits = [(request, polls), (RequestKind::CertConf, confirmation_polls)];
        bed.ca.adjust(|policy| policy.polls = BTreeMap::from(waits));
        let enrolment = Enrolment {
            implicit_confirm,
            ..bed.enrolment(kind.clone())
        };
        let key = key();
        let what = format!("{:?} {request} {by:?} {implicit_confirm} {polls}", bed.which);
        let end = bed
            .run(&Request::enrol(enrolment), by, &key, 1)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(end.outcome, Outcome::Confirmed, "{what}");
        assert_eq!(end.polls > 0, confirmation_polls > 0, "{what}");
        let verified = end.verified.unwrap();
        assert!(verified.certificate().matches_key(&key), "{what}");
        assert_eq!(verified.chain(), [bed.ca.issuing().clone()], "{what}");
        assert_eq!(verified.root(), Some(bed.ca.root()), "{what}");
        assert_eq!(state(&bed.ca, verified.certificate()), State::Confirmed, "{what}");
    }
}

#[test]
fn every_kind_of_key_is_served_by_every_kind_of_ca() {
    let all = [
        KeyAlgorithm::EcP256,
        KeyAlgorithm::EcP384,
        KeyAlgorithm::EcP521,
        KeyAlgorithm::Ed25519,
    ];
    for key_algorithm in all.into_iter().chain([KeyAlgorithm::Rsa2048]) {
        let bed = Bed::with(
            &Which::Native,
            Config {
                key_algorithm,
                ..config()
            },
        );
        for algorithm in all {
            let key = PrivateKey::generate(algorithm).unwrap();
            let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
            let end = bed.run(&request, By::Signature, &key, 1);
            assert_eq!(
                end.unwrap().outcome,
                Outcome::Confirmed,
                "{algorithm} from {key_algorithm}"
            );
        }
    }
}

#[test]
fn a_certificate_is_revoked_once() {
    for which in engines() {
        let bed = Bed::new(&which);
        let certificate = bed.identity.certificate.clone();
        let request = Request::Revoke {
            certificate,
            reason: RevocationReason::Superseded,
        };
        let end = bed.run(&request, By::Signature, &key(), 1).unwrap();
        assert!(matches!(end.outcome, Outcome::Revoked { .. }), "{which:?}");
        assert!(
            matches!(
                state(&bed.ca, &bed.identity.certificate),
                State::Revoked { reason: 4, .. }
            ),
            "{which:?}"
        );
        let again = bed.run(&request, By::Signature, &key(), 1).unwrap_err();
        assert_eq!(again.class, Class::Rejected, "{which:?}");
        assert!(again.peer.unwrap().has("certRevoked"), "{which:?}");
    }
}

#[test]
fn general_questions_are_answered_with_mac_and_signature() {
    for by in [By::Pbm, By::Signature] {
        let bed = Bed::native();
        let ask = |question: General| match bed
            .run(&Request::General(question), by, &key(), 1)
            .unwrap()
            .outcome
        {
            Outcome::General(answer) => *answer,
            other => panic!("{other:?}"),
        };
        let current = || Box::new(bed.ca.root().clone());
        assert_eq!(
            ask(General::CaCerts),
            GeneralAnswer::CaCerts(vec![bed.ca.issuing().clone(), bed.ca.root().clone()])
        );
        assert_eq!(
            ask(General::RootUpdate { current: current() }),
            GeneralAnswer::RootUpdate(None)
        );
        bed.ca.adjust(|policy| policy.root_update = RootUpdate::Offered);
        let GeneralAnswer::RootUpdate(Some(update)) = ask(General::RootUpdate { current: current() }) else {
            panic!("no update");
        };
        update
            .new_with_old
            .verify_signed_by(bed.ca.root().public_key())
            .unwrap();
        let GeneralAnswer::RequestTemplate(Some(template)) = ask(General::RequestTemplate { profile: None })
        else {
            panic!("no template");
        };
        assert_eq!(template.rsa_key_bits, [2048]);
        let source = || CrlSource::Issuer(bed.ca.issuing().subject().clone());
        let GeneralAnswer::Crls(crls) = ask(General::CrlUpdate {
            source: source(),
            this_update: None,
        }) else {
            panic!("no CRL");
        };
        assert_eq!(crls, [bed.ca.crl(start()).unwrap().to_vec()]);
        let newest = General::CrlUpdate {
            source: source(),
            this_update: Some(later(60)),
        };
        assert_eq!(ask(newest), GeneralAnswer::Crls(Vec::new()));
    }
}

#[test]
fn a_transaction_goes_on_in_another_process_after_every_step() {
    let bed = Bed::native();
    bed.ca
        .adjust(|policy| policy.polls = BTreeMap::from([(RequestKind::Ir, 2), (RequestKind::CertConf, 1)]));
    let (key, credentials) = (key(), bed.credentials(By::Pbm));
    let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
    let mut transaction = bed
        .engine
        .begin(&request, &bed.context(&credentials, Some(&key)))
        .unwrap();
    for _ in 0..30 {
        let stored = serde_json::to_vec(&transaction).unwrap();
        transaction = serde_json::from_slice(&stored).unwrap();
        let context = bed.context(&credentials, Some(&key));
        let mut step = bed.exchange(&mut transaction, &context).unwrap();
        if let Step::Issued(answer) = &step {
            let verified = transaction.verify(answer, &bed.peer, bed.now()).unwrap();
            step = transaction.accept(&verified, &context).unwrap();
        }
        match step {
            Step::Wait { until } => bed.clock.store(until.as_second(), Ordering::SeqCst),
            Step::Done(outcome) => {
                assert_eq!((outcome, bed.issued()), (Outcome::Confirmed, 1));
                return;
            }
            Step::Send | Step::Issued(_) => {}
        }
    }
    panic!("no end");
}

// -- Lost answers ---------------------------------------------------------------------------------------------------

#[test]
fn the_same_bytes_again_after_a_lost_answer_end_well_or_with_one_orphan() {
    for (repeat, ends_well) in [
        (Repeat::SameAnswer, true),
        (Repeat::TransactionIdInUse, false),
        (Repeat::BadRequest, false),
    ] {
        for by in [By::Pbm, By::Signature] {
            let bed = Bed::native();
            bed.ca.adjust(|policy| policy.repeat = repeat);
            bed.ca
                .faults()
                .arm(Fault::once(FaultKind::DropAnswer).on(RequestKind::Ir));
            let end = bed.run(
                &Request::enrol(bed.enrolment(EnrolmentKind::Initialization)),
                by,
                &key(),
                2,
            );
            assert_eq!(end.is_ok(), ends_well, "{repeat:?} {by:?} {end:?}");
            assert_eq!(bed.issued(), 1);
            assert_eq!(matches!(bed.newest(), Some(State::Confirmed)), ends_well);
        }
    }
}

#[test]
fn a_lost_confirmation_is_sent_again_and_ends_well_whatever_the_ca_says_to_repeats() {
    for repeat in [Repeat::SameAnswer, Repeat::TransactionIdInUse, Repeat::BadRequest] {
        for fault in [
            FaultKind::DropAnswer,
            FaultKind::DropBefore,
            FaultKind::Down,
            FaultKind::Garbage,
        ] {
            let bed = Bed::native();
            bed.ca.adjust(|policy| policy.repeat = repeat);
            bed.ca
                .faults()
                .arm(Fault::once(fault.clone()).on(RequestKind::CertConf));
            let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
            let end = bed.run(&request, By::Signature, &key(), 2);
            assert_eq!(end.unwrap().outcome, Outcome::Confirmed, "{repeat:?} {fault:?}");
            assert_eq!((bed.issued(), bed.newest()), (1, Some(State::Confirmed)));
        }
    }
}

// -- Faults ---------------------------------------------------------------------------------------------------------

#[test]
fn every_fault_of_a_request_for_a_certificate_is_met_with_the_right_class() {
    let mut wrong = Vec::new();
    for which in engines() {
        for case in faults() {
            for by in [By::Pbm, By::Pbmac1, By::Signature] {
                for index in 0..4 {
                    let bed = Bed::new(&which);
                    let (kind, request) = bed.kinds()[index].clone();
                    if !bed.can(by, request) {
                        continue;
                    }
                    let what = format!("{which:?} {request} by {by:?} with {:?}", case.fault);
                    bed.ca.faults().arm(Fault::once(case.fault.clone()).on(request));
                    let error = match bed.run(&Request::enrol(bed.enrolment(kind)), by, &key(), 1) {
                        Err(error) => error,
                        Ok(end) => panic!("{what}: ended well: {end:?}"),
                    };
                    if error.class != case.class {
                        wrong.push(format!("{what}: {error:?}"));
                    }
                    assert!(!error.to_string().contains('\u{1b}'), "{what}");
                    assert_eq!(bed.issued(), u64::from(case.issues), "{what}");
                    assert_eq!(bed.ca.faults().hits(), 1, "{what}");
                    if which == Which::Native {
                        assert_eq!(
                            matches!(bed.newest(), Some(State::Rejected { .. })),
                            case.rejects,
                            "{what}"
                        );
                        let reached = if case.fault == FaultKind::Down {
                            Reached::No
                        } else {
                            Reached::Maybe
                        };
                        assert_eq!(error.reached, reached, "{what}");
                    }
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_fault_of_a_confirmation_revocation_or_question_is_met_with_the_right_class() {
    let mut wrong = Vec::new();
    for which in engines() {
        for case in faults().into_iter().filter(|case| !case.is_of_contents()) {
            for kind in [
                RequestKind::CertConf,
                RequestKind::Rr,
                RequestKind::Genm,
                RequestKind::PollReq,
            ] {
                let bed = Bed::new(&which);
                if !bed.can(By::Signature, kind) {
                    continue;
                }
                bed.ca
                    .adjust(|policy| policy.polls = BTreeMap::from([(RequestKind::Cr, 1)]));
                bed.ca.faults().arm(Fault::once(case.fault.clone()).on(kind));
                let certificate = bed.identity.certificate.clone();
                let request = match kind {
                    RequestKind::Rr => Request::Revoke {
                        certificate,
                        reason: RevocationReason::KeyCompromise,
                    },
                    RequestKind::Genm => Request::General(General::CaCerts),
                    _ => Request::enrol(bed.enrolment(EnrolmentKind::Certification)),
                };
                let what = format!("{which:?} {kind} with {:?}", case.fault);
                match bed.run(&request, By::Signature, &key(), 1) {
                    Ok(end) => panic!("{what}: {end:?}"),
                    Err(error) if error.class == case.class => {}
                    Err(error) => wrong.push(format!("{what}: {error:?}")),
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_ca_that_lets_wait_forever_is_given_up() {
    let mut bed = Bed::native();
    bed.peer.limits.polls = 5;
    bed.ca.faults().arm(Fault::always(FaultKind::EndlessWaiting));
    let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
    let error = bed.run(&request, By::Pbm, &key(), 1).unwrap_err();
    assert_eq!(error.class, Class::Retry, "{error:?}");
    assert_eq!(bed.issued(), 0);
    assert!(bed.ca.faults().hits() <= 7);
}

#[test]
fn changes_that_the_ca_admits_are_accepted_where_the_settings_allow_it() {
    for (status, is_accepted) in [
        (ClaimedStatus::GrantedWithMods, true),
        (ClaimedStatus::Accepted, false),
    ] {
        for fault in [FaultKind::OtherSubject { status }, FaultKind::OtherSan { status }] {
            let mut bed = Bed::native();
            bed.peer.policy.name_changes = NameChanges::AllIfSaid;
            bed.ca.faults().arm(Fault::once(fault.clone()));
            let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
            let end = bed.run(&request, By::Pbm, &key(), 1);
            assert_eq!(end.is_ok(), is_accepted, "{fault:?}");
            assert_eq!(matches!(bed.newest(), Some(State::Confirmed)), is_accepted);
        }
    }
}

#[test]
fn faults_that_do_no_harm_do_none() {
    for fault in [
        FaultKind::Delay { millis: 3_600_000 },
        FaultKind::DateSkew { seconds: 7200 },
    ] {
        let bed = Bed::native();
        bed.ca.faults().arm(Fault::always(fault));
        let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
        assert_eq!(
            bed.run(&request, By::Pbm, &key(), 1).unwrap().outcome,
            Outcome::Confirmed
        );
    }
}

#[test]
fn a_certificate_that_nobody_may_refuse_any_more_is_known_to_be_an_orphan() {
    let bed = Bed::native();
    bed.ca.faults().arm(Fault::once(FaultKind::OtherSubject {
        status: ClaimedStatus::Accepted,
    }));
    let enrolment = Enrolment {
        implicit_confirm: true,
        ..bed.enrolment(EnrolmentKind::Initialization)
    };
    let (key, credentials) = (key(), bed.credentials(By::Pbm));
    let context = bed.context(&credentials, Some(&key));
    let mut transaction = bed.engine.begin(&Request::enrol(enrolment), &context).unwrap();
    let step = bed.exchange(&mut transaction, &context).unwrap();
    let Step::Issued(answer) = step else {
        panic!("{step:?}")
    };
    let error = transaction.verify(&answer, &bed.peer, bed.now()).unwrap_err();
    let end = transaction.reject(&error, &context).unwrap();
    assert_eq!(end, Step::Done(Outcome::Refused(RefusalKnown::No)));
    assert_eq!(bed.newest(), Some(State::Confirmed));
}

#[test]
fn a_wrong_secret_and_a_wrong_clock_are_matters_of_settings() {
    let bed = Bed::native();
    let key = key();
    let request = Request::enrol(bed.enrolment(EnrolmentKind::Initialization));
    let wrong = Credentials::mac("one", Secret::new(b"wrong".to_vec()), MacAlgorithm::PBM);
    let mut transaction = bed
        .engine
        .begin(&request, &bed.context(&wrong, Some(&key)))
        .unwrap();
    let error = bed.go_on(&mut transaction, &wrong, &key, 1).unwrap_err();
    assert_eq!(
        (error.class, error.peer.unwrap().has("badMessageCheck")),
        (Class::Misconfigured, true)
    );

    let right = bed.credentials(By::Pbm);
    let mut context = bed.context(&right, Some(&key));
    context.now = later(1000);
    let mut transaction = bed.engine.begin(&request, &context).unwrap();
    let error = bed.go_on(&mut transaction, &right, &key, 1).unwrap_err();
    assert_eq!(
        (error.class, error.peer.unwrap().has("badTime")),
        (Class::Misconfigured, true)
    );
    assert_eq!(bed.issued(), 0);
}
