//! What people are told: the status of an object, and an Event when its reason changes.
//!
//! A status is written only when it differs from the one that is there, so that nothing is written when nothing changes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::certificate::{CertificateStatus, HistoryEntry, OutputStatus};
use crate::model::condition::{Condition, ConditionStatus, is_ready, set_condition};
use crate::model::field::shown;
use crate::model::issuer::{FailureStatus, IdentityStatus, IssuerStatus};
use crate::model::plan::OutputPlan;
use crate::model::reason::Reason;
use crate::reconcile::health;
use crate::reconcile::marks::other_owner;
use crate::reconcile::outputs::{Clash, IN_SYNC, OutputMemory, OutputState, OutputView, Rival};
use crate::reconcile::state::State;
use crate::reconcile::world::{IssuedFacts, IssuerView, Wish, World, lives_too_short, renewal_time};
use crate::record::{Failure, Phase};
use crate::store::{Event, Seen, Severity, Status, Subject};

/// Certificates of the past that a status lists.
const HISTORY: usize = 10;

/// A status to write and what to tell with it.
pub(super) struct Report {
    /// The status.
    pub(super) status: Status,
    /// Events.
    pub(super) events: Vec<Event>,
}

/// The report on a subject; `None` if what is reported already is still true.
pub(super) fn report(
    state: &mut State,
    subject: &Subject,
    now: Timestamp,
    offset: Option<SignedDuration>,
    blocked: Option<Reason>,
    until: Option<Timestamp>,
) -> Option<Report> {
    match subject {
        Subject::Certificate(_) => certificate(state, subject, now, offset, blocked, until),
        Subject::Identity(_) => issuer(state, subject, now, offset, blocked),
    }
}

fn certificate(
    state: &mut State,
    subject: &Subject,
    now: Timestamp,
    offset: Option<SignedDuration>,
    blocked: Option<Reason>,
    until: Option<Timestamp>,
) -> Option<Report> {
    let entry = state.certificates.get(subject.key())?;
    let (before, generation, uid) = match &entry.seen {
        Seen::Object(object) => (object.status(), object.generation, state.uid(subject)),
        Seen::Broken(broken) => (CertificateStatus::default(), broken.generation, None),
    };
    let memories: Vec<OutputMemory> = state
        .plan(subject)
        .map(|plan| plan.outputs.iter().map(|o| o.secret.clone()).collect::<Vec<_>>())
        .unwrap_or_default()
        .iter()
        .map(|secret| state.output_memory(subject.key(), secret).clone())
        .collect();
    let status = state.with_world(subject, now, offset, |world| {
        certificate_status(world, &before, generation, &memories, blocked, until)
    });
    if status == before {
        return None;
    }
    let mut events = changes(
        subject,
        uid.as_deref(),
        &before.conditions,
        &status.conditions,
        now,
    );
    if let (Some(revision), Some(not_after)) = (status.revision, status.not_after)
        && before.revision.is_none_or(|known| known < revision)
    {
        let serial = status.serial_number.as_deref().unwrap_or_default();
        events.insert(0, issued_event(subject, uid, revision, serial, not_after, now));
    }
    Some(Report {
        status: Status::Certificate(Box::new(status)),
        events,
    })
}

fn certificate_status(
    world: &World<'_>,
    before: &CertificateStatus,
    generation: Option<i64>,
    memories: &[OutputMemory],
    blocked: Option<Reason>,
    until: Option<Timestamp>,
) -> CertificateStatus {
    let mut status = before.clone();
    let good = world
        .good()
        .or_else(|| world.record.and_then(|record| record.current.as_ref()));
    if let Some(issued) = good {
        facts(&mut status, world, issued);
    }
    if let Some(record) = world.record {
        status.last_failure = record.failure().map(failure_status);
        status.possible_orphans = record.ledger.possible_orphans;
        status.orphans = record.ledger.orphans;
    }
    status.outputs = world
        .outputs
        .iter()
        .zip(memories)
        .map(|(view, memory)| output_status(view, memory.rival.as_ref()))
        .collect();
    let quiet = blocked == Some(Reason::CircuitOpen) && is_ready(&before.conditions);
    status.next_attempt = match blocked {
        Some(_) if quiet => before.next_attempt,
        Some(_) => until,
        None => None,
    };
    let (ready, reason, message) = readiness(world, good, blocked);
    set_condition(
        &mut status.conditions,
        "Ready",
        ready,
        reason,
        message,
        generation,
        world.now,
    );
    issuing(
        &mut status.conditions,
        world,
        blocked.filter(|_| !quiet),
        generation,
    );
    in_sync(&mut status.conditions, world, memories, generation);
    status
}

/// `InSync` is written once an output was touched or could not be written: what was done to it, and by whom. It stays as the
/// story of the last time.
fn in_sync(
    conditions: &mut Vec<Condition>,
    world: &World<'_>,
    memories: &[OutputMemory],
    generation: Option<i64>,
) {
    let issued = world.record.is_some_and(|record| record.current.is_some());
    let touched = world.outputs.iter().zip(memories).find_map(|(view, memory)| {
        let why = match &view.state {
            OutputState::Blocked(Reason::Fighting, _) => Reason::Fighting,
            OutputState::Reported => Reason::DriftReported,
            OutputState::Reissue => Reason::Reissue,
            OutputState::Write(..) if view.trouble.is_none() => return None,
            OutputState::Blocked(..) | OutputState::Write(..) if issued => {
                let (why, message) = output_problem(view);
                return Some((ConditionStatus::False, why, message));
            }
            _ => return None,
        };
        let writer = view.facts.and_then(|facts| facts.last_writer.as_ref());
        let who = memory.rival.as_ref().or(writer).map_or("unknown", String::as_str);
        let message = format!(
            "Secret {} was changed by {who}; {}",
            view.plan.secret,
            why.meaning()
        );
        Some((ConditionStatus::False, why, message))
    });
    let restored = || {
        if !all_in_sync(world) {
            return None;
        }
        let last = memories.iter().filter_map(|memory| memory.restored.as_ref());
        let last = last.max_by_key(|restored| restored.at)?;
        let message = format!("{} since {:.0}", last.message, last.at);
        Some((ConditionStatus::True, Reason::Restored, message))
    };
    let over = || {
        let known = conditions.iter().find(|one| one.kind == "InSync")?;
        let message = "the outputs carry the current certificate".to_owned();
        (known.status != ConditionStatus::True && all_in_sync(world)).then_some((
            ConditionStatus::True,
            Reason::UpToDate,
            message,
        ))
    };
    if let Some((status, reason, message)) = touched.or_else(restored).or_else(over) {
        set_condition(
            conditions, "InSync", status, reason, message, generation, world.now,
        );
    }
}

fn all_in_sync(world: &World<'_>) -> bool {
    world.outputs.iter().all(|view| view.state == OutputState::InSync)
}

fn facts(status: &mut CertificateStatus, world: &World<'_>, issued: &IssuedFacts) {
    status.not_before = Some(issued.not_before);
    status.not_after = Some(issued.not_after);
    status.serial_number = Some(issued.serial.clone());
    status.fingerprint = Some(issued.fingerprint.to_hex());
    status.renewal_time = world
        .plan()
        .map(|plan| renewal_time(world.subject, issued, plan.renew));
    status.revision = Some(issued.revision);
    if status
        .history
        .first()
        .is_none_or(|newest| newest.revision != issued.revision)
    {
        status.history.retain(|entry| entry.revision < issued.revision);
        status.history.insert(
            0,
            HistoryEntry {
                revision: issued.revision,
                serial_number: issued.serial.clone(),
                not_after: issued.not_after,
                issued_at: issued.issued_at,
                reason: issued.why.as_str().to_owned(),
            },
        );
        status.history.truncate(HISTORY);
    }
}

fn readiness(
    world: &World<'_>,
    good: Option<&IssuedFacts>,
    blocked: Option<Reason>,
) -> (ConditionStatus, Reason, String) {
    let no = |reason: Reason, message: String| (ConditionStatus::False, reason, message);
    if let Wish::Invalid(problem) = world.wish {
        return no(Reason::InvalidSpec, problem.to_owned());
    }
    let Some(issued) = good else {
        let reason = blocked.unwrap_or(Reason::Issuing);
        return no(reason, explain(world, reason));
    };
    if issued.expired(world.now) {
        return no(
            Reason::Expired,
            format!("the certificate ended at {:.0}", issued.not_after),
        );
    }
    if let Some(view) = world
        .outputs
        .iter()
        .find(|view| view.state != OutputState::InSync)
    {
        let (reason, message) = output_problem(view);
        return no(reason, message);
    }
    if let Some(plan) = world.plan()
        && lives_too_short(issued, plan.renew)
    {
        let message = format!(
            "the certificate is in use until {:.0}; it lives shorter than spec.renewBefore and is renewed at two thirds of \
             its life",
            issued.not_after
        );
        return (ConditionStatus::True, Reason::ShortLived, message);
    }
    let message = format!("the certificate is in use until {:.0}", issued.not_after);
    (ConditionStatus::True, Reason::UpToDate, message)
}

fn output_problem(view: &OutputView<'_>) -> (Reason, String) {
    let secret = &view.plan.secret;
    match &view.state {
        OutputState::InSync => (Reason::UpToDate, String::new()),
        OutputState::Write(_, reason) => match &view.trouble {
            Some(trouble) => (
                Reason::StoreFailed,
                format!("Secret {secret} cannot be written: {trouble}"),
            ),
            None => (*reason, format!("Secret {secret} is being written")),
        },
        OutputState::Reissue => (
            Reason::Reissue,
            format!(
                "Secret {secret} was changed by {}; a new certificate is due",
                writer(view)
            ),
        ),
        OutputState::Reported => (
            Reason::DriftReported,
            format!(
                "Secret {secret} was changed by {}; onDrift is Alert",
                writer(view)
            ),
        ),
        OutputState::Rebuild => (
            Reason::OutputChanged,
            format!("Secret {secret} carries a newer certificate"),
        ),
        OutputState::Adopt => (Reason::Issuing, format!("Secret {secret} is being taken over")),
        OutputState::ReplaceLater => (
            Reason::Issuing,
            format!("Secret {secret} is replaced once there is a certificate"),
        ),
        OutputState::NothingToWrite => (
            Reason::Missing,
            format!("there is nothing to write to Secret {secret}"),
        ),
        OutputState::Blocked(reason, _) => (*reason, blocked_output(view, *reason)),
    }
}

/// What stands in the way of an output, and what would let it be written.
fn blocked_output(view: &OutputView<'_>, reason: Reason) -> String {
    let secret = &view.plan.secret;
    let facts = view.facts;
    if let Some(rival) = &view.rival {
        return format!(
            "Secret {secret} cannot be written: {}",
            blocked_by(rival, &view.plan)
        );
    }
    let owner =
        facts.and_then(|facts| other_owner(view.owner, &facts.annotations).or(facts.controller.as_deref()));
    let why = match (reason, &view.trouble, owner, facts) {
        (Reason::OwnedByAnother, _, Some(owner), _) => format!(
            "it belongs to {}; allowed: a Secret of this Certificate alone, so another spec.secretName, or the other lets it go",
            shown(owner)
        ),
        (Reason::ForeignSecret, ..) => format!(
            "{}; allowed: another spec.secretName, the Secret removed, or spec.existing Adopt or Replace",
            reason.meaning()
        ),
        (Reason::AdoptRefused, ..) => format!(
            "{}; allowed: a key and a certificate that fit each other and the wish, or spec.existing Replace",
            reason.meaning()
        ),
        (Reason::WrongSecretType, _, Some(owner), Some(facts)) => format!(
            "it has type {} for {}, and this output has type {}; allowed: the same type, or a Secret of its own",
            shown(&facts.kind),
            shown(owner),
            shown(&view.plan.kind)
        ),
        (Reason::NoAccess, Some(trouble), ..) => format!(
            "{trouble}; allowed: a place that occm may read and write, see the documentation of the store"
        ),
        (_, Some(trouble), ..) => trouble.clone(),
        _ => reason.meaning().to_owned(),
    };
    format!("Secret {secret} cannot be written: {why}")
}

/// Another Certificate wants the same of the Secret.
fn blocked_by(rival: &Rival, plan: &OutputPlan) -> String {
    let other = &rival.certificate;
    match &rival.clash {
        Clash::Key(key) => format!(
            "its key {} belongs to Certificate {other}; allowed: other keys, or another Secret",
            shown(key)
        ),
        Clash::Kind(kind) => format!(
            "Certificate {other} wants it with type {}, and this output has type {}; allowed: the same type, or another Secret",
            shown(kind),
            shown(&plan.kind)
        ),
        Clash::Label(key) => format!(
            "Certificate {other} gives its label {} another value; allowed: the same spec.secretTemplate, or another Secret",
            shown(key)
        ),
        Clash::Annotation(key) => format!(
            "Certificate {other} gives its annotation {} another value; allowed: the same spec.secretTemplate, or another \
             Secret",
            shown(key)
        ),
    }
}

/// Who last wrote a Secret, where the store tells.
fn writer<'v>(view: &'v OutputView<'_>) -> &'v str {
    let facts = view.facts.and_then(|facts| facts.last_writer.as_deref());
    facts.unwrap_or("unknown")
}

/// A sentence for a reason that stands against issuing.
fn explain(world: &World<'_>, reason: Reason) -> String {
    if let Some(plan) = world.plan() {
        let (issuer, namespace) = (&plan.issuer, &plan.key.namespace);
        match reason {
            Reason::IssuerNotFound => {
                return format!(
                    "spec.issuerRef: there is no Issuer {issuer}; allowed: the name of an Issuer"
                );
            }
            Reason::IssuerNotAllowed => {
                return format!(
                    "spec.issuerRef: Issuer {issuer} does not allow namespace {namespace}; allowed: the namespaces in its \
                     spec.allowedNamespaces"
                );
            }
            _ => {}
        }
    }
    if let (Reason::ClockSkew, Some(offset)) = (reason, world.clock_offset) {
        return clock_skew(offset);
    }
    if let IssuerView::Unusable { reason: why, message } = &world.issuer
        && *why == reason
    {
        return (*message).to_owned();
    }
    if let Some(failure) = world.record.and_then(|record| record.failure())
        && matches!(reason, Reason::BackingOff)
    {
        return failure.message.clone();
    }
    if let Some(view) = world
        .outputs
        .iter()
        .find(|view| matches!(&view.state, OutputState::Blocked(why, _) if *why == reason))
    {
        return output_problem(view).1;
    }
    reason.meaning().to_owned()
}

/// In whole minutes, so that a clock that drifts does not write a status every minute.
fn clock_skew(offset: SignedDuration) -> String {
    let minutes = ((offset.as_secs().abs() + 30) / 60).max(1);
    let way = if offset.is_negative() {
        "ahead of"
    } else {
        "behind"
    };
    format!(
        "our clock is {minutes} minutes {way} that of the CA or the API server; allowed: 5 minutes. Nothing is renewed \
         until one of them is set right"
    )
}

/// `Issuing` is written only for what takes longer: a CA that lets us wait, a failure, a block.
fn issuing(
    conditions: &mut Vec<Condition>,
    world: &World<'_>,
    blocked: Option<Reason>,
    generation: Option<i64>,
) {
    let open = world
        .record
        .and_then(|record| record.open.as_ref())
        .filter(|open| open.phase != Phase::Issued);
    let wanted = crate::reconcile::decide::wanted(world).map(|(why, _)| why);
    let (status, reason, message) = match (open, blocked, wanted) {
        (Some(open), _, _) if open.phase == Phase::Polling => (
            ConditionStatus::True,
            Reason::Pending,
            "the CA wants more time".to_owned(),
        ),
        (_, Some(reason), Some(_)) | (Some(_), Some(reason), None) => {
            let reason = match (reason, world.record.and_then(|record| record.failure())) {
                (Reason::BackingOff, Some(failure)) => failure.reason,
                (reason, _) => reason,
            };
            let message = explain(world, blocked.unwrap_or(reason));
            (ConditionStatus::False, reason, message)
        }
        _ if conditions.iter().any(|c| c.kind == "Issuing") => (
            ConditionStatus::False,
            Reason::UpToDate,
            "nothing is being issued".to_owned(),
        ),
        _ => return,
    };
    set_condition(
        conditions, "Issuing", status, reason, message, generation, world.now,
    );
}

fn output_status(view: &OutputView<'_>, rival: Option<&String>) -> OutputStatus {
    let state = match &view.state {
        OutputState::InSync => IN_SYNC.to_owned(),
        OutputState::NothingToWrite | OutputState::ReplaceLater | OutputState::Adopt => "Pending".to_owned(),
        _ => output_problem(view).0.as_str().to_owned(),
    };
    let changed_by = match &view.state {
        OutputState::Blocked(Reason::Fighting, _) => rival.cloned(),
        OutputState::Reported | OutputState::Reissue => {
            view.facts.and_then(|facts| facts.last_writer.clone())
        }
        _ => None,
    };
    OutputStatus {
        name: view.plan.secret.to_string(),
        state,
        changed_by,
    }
}

fn failure_status(failure: &Failure) -> FailureStatus {
    FailureStatus {
        class: failure.class.as_str().to_owned(),
        reason: failure.reason.as_str().to_owned(),
        message: failure.message.clone(),
        time: failure.at,
        attempts: failure.attempts,
    }
}

fn issuer(
    state: &mut State,
    subject: &Subject,
    now: Timestamp,
    offset: Option<SignedDuration>,
    blocked: Option<Reason>,
) -> Option<Report> {
    let entry = state.issuers.get(subject.key())?;
    let (before, generation, uid) = match &entry.seen {
        Seen::Object(object) => (
            object.status.clone().unwrap_or_default(),
            object.metadata.generation,
            object.metadata.uid.clone(),
        ),
        Seen::Broken(broken) => (IssuerStatus::default(), broken.generation, None),
    };
    let usable = match (&entry.plan, &entry.ready) {
        (Err(problem), _) => Err((Reason::IssuerInvalid, problem.to_string())),
        (Ok(_), Some(Err(problem))) => Err((problem.reason, problem.message.clone())),
        (Ok(_), None) => Err((Reason::StoreFailed, "the inputs could not be read yet".to_owned())),
        (Ok(_), Some(Ok(ready))) => Ok((ready.plan.identity.is_some(), ready.initial.clone().map(drop))),
    };
    let reachable = entry.pace.reachable();
    let polled = match &entry.plan {
        Ok(plan) => crate::reconcile::polled::told(&state.polled, plan),
        Err(_) => BTreeMap::new(),
    };
    let first_contact = before
        .last_contact
        .is_none()
        .then_some(entry.last_contact)
        .flatten();
    let health = health::verdict(state, subject.key());
    let status = state.with_world(subject, now, offset, |world| {
        let mut status = before.clone();
        status.last_contact = status.last_contact.or(first_contact);
        status.polled_inputs = polled;
        match &health {
            None => status.conditions.retain(|c| c.kind != health::CONDITION),
            Some(health) => {
                status.last_contact = status.last_contact.max(health.issued_at);
                set_condition(
                    &mut status.conditions,
                    health::CONDITION,
                    health.status,
                    health.reason,
                    health.message.clone(),
                    generation,
                    now,
                );
            }
        }
        if !reachable {
            let message = "the CA could not be reached or did not answer".to_owned();
            set_condition(
                &mut status.conditions,
                "Reachable",
                ConditionStatus::False,
                Reason::Unreachable,
                message,
                generation,
                now,
            );
        } else if status.conditions.iter().any(|c| c.kind == "Reachable") {
            let message = "the CA answers".to_owned();
            set_condition(
                &mut status.conditions,
                "Reachable",
                ConditionStatus::True,
                Reason::Ready,
                message,
                generation,
                now,
            );
        }
        issuer_status(&mut status, world, &usable, generation, blocked);
        status
    });
    if status == before {
        return None;
    }
    let mut events = changes(
        subject,
        uid.as_deref(),
        &before.conditions,
        &status.conditions,
        now,
    );
    if let Some(identity) = &status.identity
        && before
            .identity
            .as_ref()
            .is_none_or(|known| known.revision < identity.revision)
    {
        let (revision, not_after) = (identity.revision, identity.not_after);
        events.insert(
            0,
            issued_event(subject, uid, revision, &identity.serial_number, not_after, now),
        );
    }
    Some(Report {
        status: Status::Issuer(Box::new(status)),
        events,
    })
}

type Usable = Result<(bool, Result<(), crate::reconcile::issuer::Problem>), (Reason, String)>;

fn issuer_status(
    status: &mut IssuerStatus,
    world: &World<'_>,
    usable: &Usable,
    generation: Option<i64>,
    blocked: Option<Reason>,
) {
    let now = world.now;
    let current = world.good();
    if let Some(record) = world.record {
        status.last_failure = record.failure().map(failure_status);
        status.possible_orphans = record.ledger.possible_orphans;
        status.orphans = record.ledger.orphans;
    }
    if let (Some(issued), Some(plan)) = (current, world.plan()) {
        status.identity = Some(IdentityStatus {
            not_before: issued.not_before,
            not_after: issued.not_after,
            renewal_time: renewal_time(world.subject, issued, plan.renew),
            serial_number: issued.serial.clone(),
            subject: issued.subject.clone(),
            revision: issued.revision,
        });
    }
    let (ready, reason, message) = match usable {
        Err((reason, message)) => (ConditionStatus::False, *reason, message.clone()),
        Ok((false, Ok(()))) => (
            ConditionStatus::True,
            Reason::NoIdentity,
            "signs with its initial credentials".to_owned(),
        ),
        Ok((false, Err(problem))) => (ConditionStatus::False, problem.reason, problem.message.clone()),
        Ok((true, _)) => identity_readiness(world, current, blocked),
    };
    set_condition(
        &mut status.conditions,
        "Ready",
        ready,
        reason,
        message,
        generation,
        now,
    );
}

fn identity_readiness(
    world: &World<'_>,
    current: Option<&IssuedFacts>,
    blocked: Option<Reason>,
) -> (ConditionStatus, Reason, String) {
    let failure = world.record.and_then(|record| record.failure());
    let Some(issued) = current else {
        let reason = match (blocked, failure) {
            (Some(Reason::BackingOff), Some(failure)) => failure.reason,
            (Some(reason), _) => reason,
            (None, _) => Reason::IdentityPending,
        };
        return (
            ConditionStatus::False,
            reason,
            explain(world, blocked.unwrap_or(reason)),
        );
    };
    if issued.expired(world.now) {
        let message = format!("the CMP identity ended at {:.0}", issued.not_after);
        return (ConditionStatus::False, Reason::Expired, message);
    }
    if world.now > issued.not_before + issued.life() / 3 * 2 {
        let message = format!(
            "the CMP identity ends at {:.0} and was not renewed in time",
            issued.not_after
        );
        return (ConditionStatus::True, Reason::IdentityLate, message);
    }
    let message = format!(
        "the CMP identity {} is in use until {:.0}",
        issued.subject, issued.not_after
    );
    (ConditionStatus::True, Reason::IdentityReady, message)
}

/// Events for conditions whose status or reason is new. What was told when it happened (a failure, an issuance) and what
/// two conditions say alike is told once.
fn changes(
    subject: &Subject,
    uid: Option<&str>,
    before: &[Condition],
    after: &[Condition],
    now: Timestamp,
) -> Vec<Event> {
    let mut told: Vec<Reason> = Vec::new();
    let mut events = Vec::new();
    for new in after {
        let known = before.iter().find(|old| old.kind == new.kind);
        let same = known.is_some_and(|old| old.status == new.status && old.reason == new.reason);
        let reason = Reason::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == new.reason);
        let Some(reason) =
            reason.filter(|reason| !same && !told_elsewhere(*reason) && !told.contains(reason))
        else {
            continue;
        };
        told.push(reason);
        let fine = matches!(
            reason,
            Reason::Pending | Reason::Issuing | Reason::IssuerNotReady | Reason::NoIdentity | Reason::Ready
        );
        events.push(Event {
            kind: subject.kind(),
            object: subject.key().clone(),
            uid: uid.map(ToOwned::to_owned),
            severity: if fine { Severity::Normal } else { Severity::Warning },
            reason,
            message: new.message.clone(),
            time: now,
        });
    }
    events
}

/// Reasons that are told with what happened, and those that say that all is well.
fn told_elsewhere(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UpToDate
            | Reason::IdentityReady
            | Reason::IdentityPending
            | Reason::Rejected
            | Reason::Untrusted
            | Reason::Misconfigured
            | Reason::Unavailable
            | Reason::Fighting
            | Reason::Restored
            | Reason::BackingOff
    )
}

fn issued_event(
    subject: &Subject,
    uid: Option<String>,
    revision: u64,
    serial: &str,
    not_after: Timestamp,
    now: Timestamp,
) -> Event {
    let reason = if revision == 1 {
        Reason::Issued
    } else {
        Reason::Renewed
    };
    let what = match subject {
        Subject::Certificate(_) => "certificate",
        Subject::Identity(_) => "CMP identity",
    };
    let message = format!("{what} {serial}, revision {revision}, is in use until {not_after:.0}");
    let (kind, object) = (subject.kind(), subject.key().clone());
    Event {
        kind,
        object,
        uid,
        severity: Severity::Normal,
        reason,
        message,
        time: now,
    }
}
