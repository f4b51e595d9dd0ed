//! The rules, each with a world in which it speaks and one in which it is silent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::*;
use crate::model::certificate::{CertificateSpec, IssuerRef};
use crate::model::issuer::EngineKind;
use crate::model::object::ObjectKey;
use crate::model::plan::{CertificatePlan, OutputPlan};
use crate::reconcile::outputs::OutputView;
use crate::reconcile::world::{OpenFacts, ReadyIssuer, RecordFacts};
use crate::record::{Failure, FailureClass, Ledger};
use crate::store::{ContentHash, Version};

const DAY: i64 = 86_400;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + days * DAY).unwrap()
}

/// A world in which all is well, to be spoilt by each test.
struct Builder {
    now: Timestamp,
    subject: Subject,
    plan: CertificatePlan,
    invalid: bool,
    deletion: Option<OnDelete>,
    finalizer: bool,
    annotations: BTreeMap<String, String>,
    unusable: Option<Reason>,
    endpoint: String,
    closed_until: Option<Timestamp>,
    record: Option<RecordFacts>,
    output: OutputState,
    reported: Option<u64>,
    offset: Option<SignedDuration>,
    attempt: ContentHash,
    pause: Option<(Reason, Timestamp)>,
    spent: Vec<Timestamp>,
    signer: UpdateSigner,
}

impl Builder {
    /// A 90-day certificate on its tenth day, in sync.
    fn ready() -> Self {
        let key = ObjectKey::new("default", "web");
        let spec = CertificateSpec {
            issuer_ref: IssuerRef {
                name: "ca".to_owned(),
                ..IssuerRef::default()
            },
            common_name: Some("web.example".to_owned()),
            dns_names: vec!["web.example".to_owned()],
            duration: Some("90d".to_owned()),
            renew_before: Some("30d".to_owned()),
            secret_name: Some("web-tls".to_owned()),
            keep_copy: true,
            ..CertificateSpec::default()
        };
        let plan = CertificatePlan::check(key.clone(), &spec, "default").unwrap();
        let record = Some(record(&plan));
        Self {
            now: at(10),
            subject: Subject::Certificate(key),
            plan,
            invalid: false,
            deletion: None,
            finalizer: false,
            annotations: BTreeMap::new(),
            unusable: None,
            endpoint: "http://ca/".to_owned(),
            closed_until: None,
            record,
            output: OutputState::InSync,
            reported: Some(1),
            offset: None,
            attempt: ContentHash::of(b"now"),
            pause: None,
            spent: Vec::new(),
            signer: UpdateSigner::Certificate,
        }
    }

    fn without_record() -> Self {
        Self {
            record: None,
            output: OutputState::NothingToWrite,
            reported: None,
            ..Self::ready()
        }
    }

    fn record(&mut self) -> &mut RecordFacts {
        self.record.as_mut().unwrap()
    }

    fn current(&mut self) -> &mut IssuedFacts {
        self.record().current.as_mut().unwrap()
    }

    fn open(mut self, phase: Phase, started: Timestamp) -> Self {
        let wish = Some(self.plan.wish().hash());
        self.finalizer = phase == Phase::Polling;
        self.record().open = Some(Box::new(OpenFacts {
            phase,
            purpose: OpenPurpose::Enrol,
            started_at: started,
            not_before: None,
            issuer: ObjectKey::new("default", "ca"),
            endpoint: "http://ca/".to_owned(),
            recipient: None,
            signer: None,
            holder: "pid-1".to_owned(),
            wish,
        }));
        self
    }

    fn decide(&self) -> Decision {
        self.with(|world| decide(RULES, world).decision)
    }

    fn with<T>(&self, f: impl FnOnce(&World<'_>) -> T) -> T {
        let ca = ObjectKey::new("default", "ca");
        let output: &OutputPlan = self.plan.outputs.first().unwrap();
        let issuer = match self.unusable {
            Some(reason) => IssuerView::Unusable {
                reason,
                message: "not usable",
            },
            None => IssuerView::Ready(ReadyIssuer {
                key: &ca,
                endpoint: &self.endpoint,
                recipient: None,
                engine: EngineKind::Native,
                key_update_signer: self.signer,
                resend_window: SignedDuration::from_mins(5),
                closed_until: self.closed_until,
                bootstrap: None,
            }),
        };
        let world = World {
            now: self.now,
            subject: &self.subject,
            wish: if self.invalid {
                Wish::Invalid("spec.dnsNames[0]: no")
            } else {
                Wish::Plan(&self.plan)
            },
            deletion: self.deletion,
            finalizer: self.finalizer,
            annotations: &self.annotations,
            issuer,
            record: self.record.as_ref(),
            outputs: vec![OutputView {
                plan: Cow::Borrowed(output),
                facts: None,
                state: self.output.clone(),
                owner: self.subject.key(),
                trouble: None,
                rival: None,
            }],
            reported_revision: self.reported,
            clock_offset: self.offset,
            attempt_hash: self.attempt,
            previous_in_use: false,
            spent: &self.spent,
            pause: self.pause,
        };
        f(&world)
    }
}

fn record(plan: &CertificatePlan) -> RecordFacts {
    let wish = plan.wish();
    RecordFacts {
        version: Version(1),
        state: RecordState::Usable,
        current: Some(IssuedFacts {
            revision: 1,
            serial: "01".to_owned(),
            fingerprint: ContentHash::of(b"certificate"),
            subject: plan.template.subject.to_rfc4514(),
            not_before: at(0),
            not_after: at(90),
            key_fits: true,
            may_sign: true,
            key_algorithm: Some(plan.key_algorithm),
            sans: plan.template.sans.iter().map(ToString::to_string).collect(),
            issuer: plan.issuer.clone(),
            wish: Some((wish.version, wish.hash())),
            outputs: Vec::new(),
            issued_at: at(0),
            why: Reason::Missing,
        }),
        previous: None,
        open: None,
        ledger: Ledger {
            revision: 1,
            ..Ledger::default()
        },
        to_revoke: 0,
    }
}

fn failure(next: Timestamp, with: ContentHash) -> Option<Box<Failure>> {
    Some(Box::new(Failure {
        class: FailureClass::Rejected,
        reason: Reason::Rejected,
        message: "no".to_owned(),
        at: next - SignedDuration::from_hours(25),
        attempts: 1,
        next,
        with,
        enrol_afresh: false,
    }))
}

fn issue(why: Reason, how: How) -> Decision {
    Decision::Issue { why, how }
}

#[test]
fn all_well_means_nothing_until_the_renewal() {
    let world = Builder::ready();
    let Decision::Nothing { until: Some(until) } = world.decide() else {
        panic!("{:?}", world.decide())
    };
    assert!(until >= at(60) && until <= at(63), "{until}");
}

#[test]
fn a_wish_without_a_record_is_enrolled() {
    assert_eq!(
        Builder::without_record().decide(),
        issue(Reason::Missing, How::Enrol)
    );
}

#[test]
fn a_certificate_is_updated_at_its_renewal_time() {
    let mut world = Builder::ready();
    world.now = at(64);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn an_expired_certificate_is_enrolled_afresh() {
    let mut world = Builder::ready();
    world.now = at(91);
    assert_eq!(world.decide(), issue(Reason::Expired, How::Enrol));
}

#[test]
fn an_update_that_cannot_be_signed_or_was_refused_becomes_a_fresh_enrolment() {
    let mut world = Builder::ready();
    world.now = at(64);
    world.current().may_sign = false;
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Enrol));
    world.signer = UpdateSigner::Identity;
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
    let mut refused = Builder::ready();
    refused.now = at(64);
    let with = refused.attempt;
    refused.record().ledger.failure = failure(at(1), with);
    refused.record().ledger.failure.as_mut().unwrap().enrol_afresh = true;
    assert_eq!(refused.decide(), issue(Reason::RenewalDue, How::Enrol));
}

#[test]
fn repair_comes_before_everything_that_can_stand_in_its_way() {
    let write = OutputState::Write(WriteKind::Create, Reason::OutputDeleted);
    let repair = Decision::Repair {
        output: 0,
        kind: WriteKind::Create,
        why: Reason::OutputDeleted,
    };
    let spoil: [fn(&mut Builder); 7] = [
        |_| {},
        |world| world.invalid = true,
        |world| world.unusable = Some(Reason::InputMissing),
        |world| world.closed_until = Some(at(11)),
        |world| world.offset = Some(SignedDuration::from_hours(3)),
        |world| world.now = at(64),
        |world| {
            let attempt = world.attempt;
            world.record().ledger.failure = failure(at(20), attempt);
        },
    ];
    for (i, spoil) in spoil.iter().enumerate() {
        let mut world = Builder::ready();
        world.output = write.clone();
        spoil(&mut world);
        assert_eq!(world.decide(), repair, "case {i}");
    }
    let mut polling = Builder::ready().open(Phase::Polling, at(9));
    polling.output = write;
    assert_eq!(polling.decide(), repair);
}

#[test]
fn what_an_output_carries_is_taken_into_the_record_by_a_right_wish_only() {
    let mut world = Builder::ready();
    world.output = OutputState::Rebuild;
    assert_eq!(world.decide(), Decision::Rebuild { output: 0 });
    world.invalid = true;
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::InvalidSpec,
            until: None
        }
    );
}

#[test]
fn an_invalid_wish_and_an_unusable_issuer_are_told() {
    let mut world = Builder::without_record();
    world.invalid = true;
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::InvalidSpec,
            until: None
        }
    );
    let mut world = Builder::without_record();
    world.unusable = Some(Reason::IssuerNotReady);
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::IssuerNotReady,
            until: None
        }
    );
}

#[test]
fn an_unusable_issuer_does_not_matter_while_nothing_is_due() {
    let mut world = Builder::ready();
    world.unusable = Some(Reason::IssuerNotFound);
    assert!(matches!(world.decide(), Decision::Nothing { until: Some(_) }));
}

#[test]
fn a_request_without_an_answer_is_sent_again_and_then_given_up() {
    let started = at(64);
    let mut world = Builder::ready().open(Phase::Sent, started);
    world.now = started + SignedDuration::from_secs(10);
    assert_eq!(world.decide(), Decision::Resume);
    world.now = started + SignedDuration::from_mins(6);
    assert_eq!(
        world.decide(),
        Decision::Abandon {
            why: Reason::PossibleOrphan,
            possible_orphan: true
        }
    );
}

#[test]
fn a_transaction_from_an_old_backup_is_given_up_without_sending() {
    let mut world = Builder::ready().open(Phase::Sent, at(3));
    world.now = at(10);
    assert_eq!(
        world.decide(),
        Decision::Abandon {
            why: Reason::PossibleOrphan,
            possible_orphan: true
        }
    );
}

#[test]
fn a_transaction_is_pinned_to_its_endpoint() {
    for phase in [Phase::Sent, Phase::Polling] {
        let mut world = Builder::ready().open(phase, at(10));
        world.endpoint = "http://other/".to_owned();
        assert_eq!(
            world.decide(),
            Decision::Abandon {
                why: Reason::IssuerChanged,
                possible_orphan: true
            }
        );
    }
}

#[test]
fn what_cannot_be_resumed_is_one_possible_orphan() {
    let world = Builder::ready().open(Phase::Started, at(10));
    assert_eq!(
        world.decide(),
        Decision::Abandon {
            why: Reason::PossibleOrphan,
            possible_orphan: true
        }
    );
}

#[test]
fn a_poll_waits_for_its_time() {
    let mut world = Builder::ready().open(Phase::Polling, at(9));
    let later = at(10) + SignedDuration::from_mins(3);
    world.record().open.as_mut().unwrap().not_before = Some(later);
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::Pending,
            until: Some(later)
        }
    );
    world.now = later;
    assert_eq!(world.decide(), Decision::Resume);
}

#[test]
fn an_unconfirmed_certificate_is_confirmed_before_it_is_used() {
    let mut world = Builder::ready().open(Phase::Issued, at(10));
    world.reported = None;
    assert_eq!(world.decide(), Decision::Resume);
    world.with(|world| assert!(world.good().is_none(), "nothing unconfirmed is put into outputs"));
    world.reported = Some(1);
    assert!(matches!(
        world.decide(),
        Decision::Nothing { .. } | Decision::Tidy
    ));
}

#[test]
fn a_failure_waits_for_its_time_or_for_a_change() {
    let soon = at(10) + SignedDuration::from_mins(20);
    let mut world = Builder::without_record();
    world.record = Some(RecordFacts {
        current: None,
        ..record(&world.plan)
    });
    world.record().ledger.failure = failure(soon, world.attempt);
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::BackingOff,
            until: Some(soon)
        }
    );
    world.now = at(10) - SignedDuration::from_hours(2);
    assert_eq!(
        world.decide(),
        issue(Reason::Missing, How::Enrol),
        "a stamp from the future holds nothing back"
    );
    world.now = at(10);
    world.attempt = ContentHash::of(b"changed");
    assert_eq!(world.decide(), issue(Reason::Missing, How::Enrol));
}

#[test]
fn six_transactions_a_day_are_the_floor_of_the_budget() {
    let mut world = Builder::ready();
    world.now = at(64);
    let stamps = |n: i64| {
        (0..n)
            .map(|i| at(64) - SignedDuration::from_hours(i + 1))
            .collect::<Vec<_>>()
    };
    world.record().ledger.transactions = stamps(5);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
    world.record().ledger.transactions = stamps(6);
    let until = at(64) - SignedDuration::from_hours(6) + LAST_DAY;
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::BudgetExhausted,
            until: Some(until)
        }
    );
    world
        .annotations
        .insert(OVER_BUDGET_ANNOTATION.to_owned(), "1".to_owned());
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn a_lost_record_gives_no_budget_back() {
    let mut world = Builder::without_record();
    world.spent = (0..5)
        .map(|i| at(10) - SignedDuration::from_hours(i + 1))
        .collect();
    assert_eq!(world.decide(), issue(Reason::Missing, How::Enrol));
    world.spent.push(at(10) - SignedDuration::from_hours(20));
    let until = Some(at(10) - SignedDuration::from_hours(20) + LAST_DAY);
    let reason = Reason::BudgetExhausted;
    assert_eq!(world.decide(), Decision::Blocked { reason, until });
}

#[test]
fn stamps_from_the_future_and_of_yesterday_do_not_count() {
    let mut world = Builder::ready();
    world.now = at(64);
    world.record().ledger.transactions = vec![at(65); 10];
    world.record().ledger.transactions.extend(vec![at(62); 10]);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn short_lives_have_a_larger_budget() {
    let mut world = Builder::ready();
    world.current().not_after = at(0) + SignedDuration::from_mins(90);
    let budget = world.with(daily_budget);
    assert!(budget > 60, "{budget}");
}

#[test]
fn clocks_that_differ_stop_issuing_for_reasons_of_time_only() {
    let mut world = Builder::ready();
    world.now = at(64);
    world.offset = Some(SignedDuration::from_mins(6));
    assert!(matches!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::ClockSkew,
            ..
        }
    ));
    let mut world = Builder::without_record();
    world.offset = Some(SignedDuration::from_mins(6));
    assert_eq!(world.decide(), issue(Reason::Missing, How::Enrol));
}

#[test]
fn an_open_breaker_holds_back_issuing() {
    let mut world = Builder::without_record();
    world.closed_until = Some(at(11));
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::CircuitOpen,
            until: Some(at(11))
        }
    );
}

#[test]
fn a_changed_wish_is_enrolled_and_an_unknown_normalisation_is_not() {
    let mut world = Builder::ready();
    world.current().wish = Some((1, ContentHash::of(b"another")));
    assert_eq!(world.decide(), issue(Reason::WishChanged, How::Enrol));
    world.current().wish = Some((7, ContentHash::of(b"another")));
    assert!(matches!(world.decide(), Decision::Nothing { .. }));
    world.current().sans = vec!["DNS:other.example".to_owned()];
    assert_eq!(world.decide(), issue(Reason::WishChanged, How::Enrol));
}

#[test]
fn another_issuer_is_told_by_its_name() {
    let mut world = Builder::ready();
    world.endpoint = "http://moved/".to_owned();
    assert!(
        matches!(world.decide(), Decision::Nothing { .. }),
        "a changed address re-enrols nobody"
    );
    world.current().issuer = ObjectKey::new("default", "old-ca");
    assert_eq!(world.decide(), issue(Reason::IssuerChanged, How::Enrol));
}

#[test]
fn a_request_is_served_once() {
    let cases = [
        (RENEW_ANNOTATION, Reason::RenewRequested, How::Update),
        (RECREATE_ANNOTATION, Reason::RecreateRequested, How::Enrol),
        (REVOKE_ANNOTATION, Reason::RevokeRequested, How::Enrol),
    ];
    for (annotation, why, how) in cases {
        let mut world = Builder::ready();
        world.annotations.insert(annotation.to_owned(), "t1".to_owned());
        assert_eq!(world.decide(), issue(why, how));
        world
            .record()
            .ledger
            .served
            .insert(annotation.to_owned(), "t1".to_owned());
        assert!(matches!(world.decide(), Decision::Nothing { .. }));
        world.annotations.insert(annotation.to_owned(), "t2".to_owned());
        assert_eq!(world.decide(), issue(why, how));
    }
}

#[test]
fn a_foreign_secret_stops_the_first_issuance_but_not_a_renewal() {
    let mut world = Builder::without_record();
    world.output = OutputState::Blocked(Reason::ForeignSecret, None);
    assert_eq!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::ForeignSecret,
            until: None
        }
    );
    let mut world = Builder::ready();
    world.output = OutputState::Blocked(Reason::ForeignSecret, None);
    world.now = at(64);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn a_record_of_a_later_version_is_not_written_until_the_end_is_near() {
    let mut world = Builder::ready();
    world.record().state = RecordState::Later(9);
    world.now = at(64);
    assert!(matches!(
        world.decide(),
        Decision::Blocked {
            reason: Reason::RecordUnreadable,
            ..
        }
    ));
    world.now = at(85);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn without_a_copy_of_the_key_a_lost_output_is_enrolled_anew() {
    let mut world = Builder::ready();
    world.plan.keep_copy = false;
    world.current().key_fits = false;
    assert_eq!(world.decide(), issue(Reason::Missing, How::Enrol));
}

#[test]
fn deletion_without_our_finalizer_needs_nothing() {
    let mut world = Builder::ready();
    world.deletion = Some(OnDelete::Keep);
    assert_eq!(world.decide(), Decision::Nothing { until: None });
}

#[test]
fn deletion_is_wound_up_step_by_step() {
    let mut world = Builder::ready();
    world.deletion = Some(OnDelete::Revoke);
    world.finalizer = true;
    assert_eq!(world.decide(), Decision::Finalize(Finalize::ScheduleRevocation));
    world.record().current = None;
    world.record().to_revoke = 1;
    assert_eq!(world.decide(), Decision::Revoke);
    world.record().to_revoke = 0;
    assert_eq!(world.decide(), Decision::Finalize(Finalize::DeleteOutputs));
    let mut open = Builder::ready().open(Phase::Polling, at(9));
    open.deletion = Some(OnDelete::Delete);
    open.finalizer = true;
    assert_eq!(
        open.decide(),
        Decision::Abandon {
            why: Reason::Deleting,
            possible_orphan: false
        }
    );
}

#[test]
fn an_object_whose_deletion_needs_work_carries_our_finalizer_and_no_other() {
    let mut world = Builder::ready();
    world.plan.on_delete = OnDelete::Delete;
    assert_eq!(world.decide(), Decision::Hold(Presence::Present));
    world.finalizer = true;
    assert!(matches!(world.decide(), Decision::Nothing { .. }));
    world.plan.on_delete = OnDelete::Keep;
    assert_eq!(world.decide(), Decision::Hold(Presence::Absent));
    let mut polling = Builder::ready().open(Phase::Polling, at(9));
    polling.finalizer = false;
    assert_eq!(polling.decide(), Decision::Hold(Presence::Present));
}

#[test]
fn the_previous_key_leaves_the_record_after_a_while() {
    let mut world = Builder::ready();
    world.record().previous = world.record().current.clone().map(Box::new);
    assert_eq!(world.decide(), Decision::Tidy);
    world.now = at(0) + SignedDuration::from_mins(5);
    assert_eq!(
        world.decide(),
        Decision::Nothing {
            until: Some(at(0) + TIDY_AFTER)
        }
    );
}

#[test]
fn an_identity_is_renewed_at_half_its_life_and_bootstrapped_again_only_when_its_input_changes() {
    let mut world = Builder::ready();
    world.subject = Subject::Identity(ObjectKey::new("default", "ca"));
    world.output = OutputState::InSync;
    world.now = at(44);
    assert!(matches!(world.decide(), Decision::Nothing { .. }));
    world.now = at(50);
    assert_eq!(world.decide(), issue(Reason::RenewalDue, How::Update));
}

#[test]
fn a_new_certificate_gets_a_revision_above_all_that_were_told() {
    let mut world = Builder::ready();
    world.record().ledger.revision = 4;
    world.current().revision = 4;
    for (reported, next) in [(None, 5), (Some(4), 5), (Some(12), 13), (Some(u64::MAX), 5)] {
        world.reported = reported;
        assert_eq!(world.with(|world| world.next_revision()), next, "{reported:?}");
    }
}
