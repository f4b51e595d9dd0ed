//! Every engine, every scenario, every fault: does it end as it should, and does the CA see it end that way?
//!
//! The native engine talks to the CA in memory, with a clock that is moved instead of waited for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use cmp::{
    Class, CmpError, Context, Credentials, Engine, Enrolment, EnrolmentKind, General, GeneralAnswer,
    MacAlgorithm, Native, Outcome, Peer, Request, RevocationReason, Step, Transaction, Trust,
    engine::{CrlSource, NameChanges, RefusalKnown},
    verify::VerifiedCertificate,
};
use devca::{
    Config, DevCa, Fault, FaultKind, InMemory, RequestKind, State,
    config::{MacAnswers, Repeat, RootUpdate, Signer},
    faults::ClaimedStatus,
};
use jiff::Timestamp;
use pki::{Anchors, Certificate, CertificateTemplate, KeyAlgorithm, PrivateKey, San, Secret};
use support::{Client, Identity, SECRET, ca_with, config, later, name, start, state};

/// How a request is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Pbm,
    LegacyPbm,
    Pbmac1,
    Signature,
}

/// One CA, one client, one clock.
struct Bed {
    ca: Arc<DevCa>,
    clock: Arc<AtomicI64>,
    engine: Box<dyn Engine>,
    identity: Identity,
    peer: Peer,
}

/// How a transaction ended.
#[derive(Debug)]
struct End {
    outcome: Outcome,
    verified: Option<VerifiedCertificate>,
    polls: u32,
}

impl Bed {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let ca = ca_with(config);
        let identity = Client::mac(&ca).enrol("CN=identity");
        let clock = Arc::new(AtomicI64::new(start().as_second()));
        let engine = Native::new(Arc::new(InMemory::new(Arc::clone(&ca), {
            let clock = Arc::clone(&clock);
            move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap()
        })));
        let anchors = Anchors::new([ca.root().clone()]).unwrap();
        let trust = Trust {
            responses: anchors.clone(),
            certificates: anchors,
            untrusted: Vec::new(),
        };
        let peer = Peer {
            expected_sender: Some(ca.signer().subject().clone()),
            trust,
            ..Peer::default()
        };
        Self {
            ca,
            clock,
            engine: Box::new(engine),
            identity,
            peer,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock.load(Ordering::SeqCst)).unwrap()
    }

    fn credentials(&self, by: By) -> Credentials {
        let mac = |algorithm| Credentials::mac("one", Secret::new(SECRET.to_vec()), algorithm);
        match by {
            By::Pbm => mac(MacAlgorithm::PBM),
            By::LegacyPbm => mac(MacAlgorithm::LEGACY_PBM),
            By::Pbmac1 => mac(MacAlgorithm::PBMAC1),
            By::Signature => self.identity.credentials(),
        }
    }

    fn context<'a>(&'a self, credentials: &'a Credentials, key: Option<&'a PrivateKey>) -> Context<'a> {
        Context {
            credentials,
            peer: &self.peer,
            key,
            now: self.now(),
        }
    }

    /// Runs a request to its end. Errors of class Retry are tried `tries` times with the same bytes.
    fn run(&self, request: &Request, by: By, key: &PrivateKey, tries: u32) -> Result<End, CmpError> {
        let credentials = self.credentials(by);
        let mut transaction = self
            .engine
            .begin(request, &self.context(&credentials, Some(key)))?;
        self.go_on(&mut transaction, &credentials, key, tries)
    }

    fn go_on(
        &self,
        transaction: &mut Transaction,
        credentials: &Credentials,
        key: &PrivateKey,
        mut tries: u32,
    ) -> Result<End, CmpError> {
        let mut verified = None;
        let mut polls = 0;
        let mut failure = None;
        loop {
            let context = self.context(credentials, Some(key));
            let mut step = match futures::executor::block_on(self.engine.exchange(transaction, &context)) {
                Ok(step) => step,
                Err(error)
                    if error.class == Class::Retry && tries > 1 && transaction.outgoing().is_some() =>
                {
                    tries -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Step::Issued(answer) = &step {
                step = match transaction.verify(answer, &self.peer, context.now) {
                    Ok(checked) => {
                        let next = transaction.accept(&checked, &context)?;
                        verified = Some(checked);
                        next
                    }
                    Err(error) => {
                        let next = transaction.reject(&error, &context)?;
                        failure = Some(error);
                        next
                    }
                };
            }
            match step {
                Step::Send => {}
                Step::Wait { until } => {
                    polls += 1;
                    self.clock
                        .store(until.as_second().max(self.now().as_second()), Ordering::SeqCst);
                }
                Step::Issued(_) => panic!("decided already"),
                Step::Done(outcome) => {
                    return match failure {
                        Some(error) => Err(error),
                        None => Ok(End {
                            outcome,
                            verified,
                            polls,
                        }),
                    };
                }
            }
        }
    }

    fn enrolment(&self, kind: EnrolmentKind) -> Enrolment {
        let template = CertificateTemplate {
            sans: vec![San::dns("host.example").unwrap()],
            ..CertificateTemplate::new(name("CN=host,O=Example"))
        };
        Enrolment {
            kind,
            template,
            implicit_confirm: false,
            profile: None,
        }
    }

    fn key_update(&self) -> EnrolmentKind {
        EnrolmentKind::KeyUpdate {
            old: Box::new(self.identity.certificate.clone()),
        }
    }

    /// The newest certificate of the ledger that is not the identity.
    fn newest(&self) -> Option<State> {
        self.ca
            .ledger()
            .entries(1, start())
            .last()
            .map(|entry| entry.state)
    }

    fn issued(&self) -> u64 {
        // Without the identity.
        self.ca.ledger().stats(start()).issued - 1
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcP256).unwrap()
}

fn kinds(bed: &Bed) -> [(EnrolmentKind, RequestKind); 4] {
    [
        (EnrolmentKind::Initialization, RequestKind::Ir),
        (EnrolmentKind::Certification, RequestKind::Cr),
        (EnrolmentKind::Pkcs10, RequestKind::P10cr),
        (bed.key_update(), RequestKind::Kur),
    ]
}

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
    for setup in setups {
        let mut config = config();
        setup(&mut config);
        let bed = Bed::with(config);
        for by in [By::Pbm, By::LegacyPbm, By::Pbmac1, By::Signature] {
            for (kind, request) in kinds(&bed) {
                if request == RequestKind::Kur && by != By::Signature {
                    continue;
                }
                for (implicit_confirm, polls) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
                    let waits = [(request, polls), (RequestKind::CertConf, polls)];
                    bed.ca.adjust(|policy| policy.polls = BTreeMap::from(waits));
                    let enrolment = Enrolment {
                        implicit_confirm,
                        ..bed.enrolment(kind.clone())
                    };
                    let key = key();
                    let end = bed
                        .run(&Request::enrol(enrolment), by, &key, 1)
                        .unwrap_or_else(|error| {
                            panic!("{request} {by:?} {implicit_confirm} {polls}: {error}")
                        });
                    assert_eq!(end.outcome, Outcome::Confirmed);
                    assert_eq!(end.polls > 0, polls > 0, "{request}");
                    let verified = end.verified.unwrap();
                    assert!(verified.certificate().matches_key(&key));
                    assert_eq!(verified.chain(), [bed.ca.issuing().clone()]);
                    assert_eq!(verified.root(), Some(bed.ca.root()));
                    assert_eq!(state(&bed.ca, verified.certificate()), State::Confirmed);
                }
            }
        }
        assert_eq!(bed.ca.ledger().stats(start()).refused, 0);
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
        let bed = Bed::with(Config {
            key_algorithm,
            ..config()
        });
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
    let bed = Bed::new();
    let request = Request::Revoke {
        certificate: bed.identity.certificate.clone(),
        reason: RevocationReason::Superseded,
    };
    let end = bed.run(&request, By::Signature, &key(), 1).unwrap();
    assert!(matches!(end.outcome, Outcome::Revoked { .. }));
    assert_eq!(
        state(&bed.ca, &bed.identity.certificate),
        State::Revoked {
            at: start(),
            reason: 4
        }
    );
    let again = bed.run(&request, By::Signature, &key(), 1).unwrap_err();
    assert_eq!(again.class, Class::Rejected);
    assert!(again.peer.unwrap().has("certRevoked"));
}

#[test]
fn general_questions_are_answered_with_mac_and_signature() {
    for by in [By::Pbm, By::Signature] {
        let bed = Bed::new();
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
    let bed = Bed::new();
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
        let mut step = futures::executor::block_on(bed.engine.exchange(&mut transaction, &context)).unwrap();
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
            let bed = Bed::new();
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
            let bed = Bed::new();
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

/// What a fault must lead to.
struct Case {
    fault: FaultKind,
    /// Class of the error when it strikes the request.
    class: Class,
    /// Has the CA issued?
    issues: bool,
    /// Does the client reject the certificate in certConf?
    rejects: bool,
}

fn faults() -> Vec<Case> {
    let case = |fault, class, issues, rejects| Case {
        fault,
        class,
        issues,
        rejects,
    };
    let message = |fault| case(fault, Class::Untrusted, true, false);
    let content = |fault| case(fault, Class::Untrusted, true, true);
    let reject = |failure, class| {
        case(
            FaultKind::Reject {
                failure,
                text: "no\u{1b}[0m".to_owned(),
            },
            class,
            false,
            false,
        )
    };
    vec![
        case(FaultKind::Down, Class::Retry, false, false),
        case(FaultKind::DropBefore, Class::Retry, false, false),
        case(FaultKind::DropAnswer, Class::Retry, true, false),
        case(FaultKind::HttpError { status: 503 }, Class::Retry, false, false),
        case(
            FaultKind::HttpError { status: 404 },
            Class::Misconfigured,
            false,
            false,
        ),
        case(FaultKind::Garbage, Class::Retry, true, false),
        case(FaultKind::Truncate, Class::Retry, true, false),
        case(
            FaultKind::ErrorUnprotected { failure: 2 },
            Class::Retry,
            false,
            false,
        ),
        message(FaultKind::Oversized {
            bytes: 2 * 1024 * 1024,
        }),
        message(FaultKind::WrongNonce),
        message(FaultKind::WrongTransactionId),
        message(FaultKind::NoProtection),
        message(FaultKind::WrongProtection),
        message(FaultKind::ForeignSigner),
        message(FaultKind::HugeIterations),
        content(FaultKind::OtherKey),
        content(FaultKind::OtherSubject {
            status: ClaimedStatus::Accepted,
        }),
        content(FaultKind::OtherSubject {
            status: ClaimedStatus::GrantedWithMods,
        }),
        content(FaultKind::OtherSan {
            status: ClaimedStatus::Accepted,
        }),
        content(FaultKind::OtherSan {
            status: ClaimedStatus::GrantedWithMods,
        }),
        content(FaultKind::PastValidity),
        content(FaultKind::FutureValidity),
        content(FaultKind::ForeignIssuer),
        reject(19, Class::Misconfigured),
        reject(24, Class::Retry),
        reject(10, Class::Rejected),
    ]
}

#[test]
fn every_fault_of_a_request_for_a_certificate_is_met_with_the_right_class() {
    for by in [By::Pbm, By::Pbmac1, By::Signature] {
        for case in faults() {
            for index in 0..4 {
                let bed = Bed::new();
                let (kind, request) = kinds(&bed)[index].clone();
                if request == RequestKind::Kur && by != By::Signature {
                    continue;
                }
                let what = format!("{request} by {by:?} with {:?}", case.fault);
                bed.ca.faults().arm(Fault::once(case.fault.clone()).on(request));
                let error = match bed.run(&Request::enrol(bed.enrolment(kind)), by, &key(), 1) {
                    Err(error) => error,
                    Ok(end) => panic!("{what}: ended well: {end:?}"),
                };
                assert_eq!(error.class, case.class, "{what}: {error:?}");
                assert!(!error.to_string().contains('\u{1b}'), "{what}");
                assert_eq!(bed.issued(), u64::from(case.issues), "{what}");
                assert_eq!(
                    matches!(bed.newest(), Some(State::Rejected { .. })),
                    case.rejects,
                    "{what}"
                );
                assert_eq!(bed.ca.faults().hits(), 1, "{what}");
                let reached = if case.fault == FaultKind::Down {
                    cmp::Reached::No
                } else {
                    cmp::Reached::Maybe
                };
                assert_eq!(error.reached, reached, "{what}");
            }
        }
    }
}

#[test]
fn every_fault_of_a_confirmation_revocation_or_question_is_met_with_the_right_class() {
    let of_contents = |fault: &FaultKind| {
        matches!(
            fault,
            FaultKind::OtherKey
                | FaultKind::OtherSubject { .. }
                | FaultKind::OtherSan { .. }
                | FaultKind::PastValidity
                | FaultKind::FutureValidity
                | FaultKind::ForeignIssuer
        )
    };
    for case in faults().into_iter().filter(|case| !of_contents(&case.fault)) {
        for kind in [
            RequestKind::CertConf,
            RequestKind::Rr,
            RequestKind::Genm,
            RequestKind::PollReq,
        ] {
            let bed = Bed::new();
            bed.ca
                .adjust(|policy| policy.polls = BTreeMap::from([(RequestKind::Cr, 1)]));
            bed.ca.faults().arm(Fault::once(case.fault.clone()).on(kind));
            let certificate: Certificate = bed.identity.certificate.clone();
            let request = match kind {
                RequestKind::Rr => Request::Revoke {
                    certificate,
                    reason: RevocationReason::KeyCompromise,
                },
                RequestKind::Genm => Request::General(General::CaCerts),
                _ => Request::enrol(bed.enrolment(EnrolmentKind::Certification)),
            };
            let what = format!("{kind} with {:?}", case.fault);
            match bed.run(&request, By::Signature, &key(), 1) {
                Ok(end) => panic!("{what}: {end:?}"),
                Err(error) => assert_eq!(error.class, case.class, "{what}: {error:?}"),
            }
        }
    }
}

#[test]
fn a_ca_that_lets_wait_forever_is_given_up() {
    let mut bed = Bed::new();
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
            let mut bed = Bed::new();
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
        let bed = Bed::new();
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
    let bed = Bed::new();
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
    let step = futures::executor::block_on(bed.engine.exchange(&mut transaction, &context)).unwrap();
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
    let bed = Bed::new();
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
