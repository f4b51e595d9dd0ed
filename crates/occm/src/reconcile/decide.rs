//! The heart: from the world to what is to be done, by an ordered list of small pure rules.
//!
//! First hit wins. All reasons to issue are here. The rules are passed in as an array, so that a test can plant a bug.

use jiff::{SignedDuration, Timestamp};

use crate::model::certificate::OnDelete;
use crate::model::issuer::UpdateSigner;
use crate::model::object::{
    OVER_BUDGET_ANNOTATION, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};
use crate::model::plan::RenewRule;
use crate::model::plan::certificate::NormalWish;
use crate::model::reason::Reason;
use crate::reconcile::outputs::{OutputState, WriteKind};
use crate::reconcile::world::{
    IssuedFacts, IssuerView, OpenFacts, RecordState, Wish, World, holds_back, renewal_time,
};
use crate::record::{LAST_DAY, OpenPurpose, Phase, in_last_day};
use crate::store::{Presence, Subject};

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it is called in logs and tests; unique among the rules.
    pub name: &'static str,
    /// What it says of a world; `None` = the next rule is asked.
    pub ask: Ask,
}

/// What a rule says of a world.
pub type Ask = for<'w> fn(&World<'w>) -> Option<Decision>;

const fn rule(name: &'static str, ask: Ask) -> Rule {
    Rule { name, ask }
}

/// The rules in their order.
pub const RULES: &[Rule] = &[
    rule("deleted", deleted),
    rule("repair", repair),
    rule("invalid wish", invalid_wish),
    rule("record not ours to write", record_not_ours_to_write),
    rule("hold", hold),
    rule("take over existing", take_over_existing),
    rule("Issuer not ready", issuer_not_ready),
    rule("open transaction", open_transaction),
    rule("held back", held_back),
    rule("no good copy", no_good_copy),
    rule("drift to reissue", drift_to_reissue),
    rule("wish changed", wish_changed),
    rule("Issuer changed", issuer_changed),
    rule("requested", requested),
    rule("renewal due", renewal_due),
    rule("revocation due", revocation_due),
    rule("tidy", tidy),
    rule("nothing until", nothing_until),
];

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write an output from the good copy.
    Repair {
        /// Index in the wish's outputs.
        output: usize,
        /// How.
        kind: WriteKind,
        /// Why.
        why: Reason,
    },
    /// Take what an output carries into the record.
    Rebuild {
        /// Index in the wish's outputs.
        output: usize,
    },
    /// Take over a foreign Secret as it is.
    Adopt {
        /// Index in the wish's outputs.
        output: usize,
    },
    /// Go on with the open transaction.
    Resume,
    /// Give the open transaction up.
    Abandon {
        /// Why.
        why: Reason,
        /// Whether the CA may have issued.
        possible_orphan: bool,
    },
    /// Get a certificate.
    Issue {
        /// Why.
        why: Reason,
        /// How.
        how: How,
    },
    /// Ask the CA to revoke the first certificate of the list.
    Revoke,
    /// Take out of the record what is no longer needed.
    Tidy,
    /// Put our finalizer on the object, or take it off.
    Hold(Presence),
    /// Wind up a deleted object.
    Finalize(Finalize),
    /// Something is needed and cannot be done now.
    Blocked {
        /// One word.
        reason: Reason,
        /// When it is looked at again, besides at a change.
        until: Option<Timestamp>,
    },
    /// All is well until then.
    Nothing {
        /// When something is due.
        until: Option<Timestamp>,
    },
}

/// How a certificate is got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A fresh enrolment.
    Enrol,
    /// An update of the current certificate (KUR).
    Update,
}

/// A step of winding up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalize {
    /// Put the current certificate on the list of those to be revoked.
    ScheduleRevocation,
    /// Delete the outputs.
    DeleteOutputs,
    /// Let the object go.
    Release,
}

/// What was decided, and by which rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Name of the rule.
    pub rule: &'static str,
    /// What is to be done.
    pub decision: Decision,
}

/// The answer of the first rule that has one.
pub fn decide(rules: &[Rule], world: &World<'_>) -> Decided {
    let first = rules.iter().find_map(|rule| {
        (rule.ask)(world).map(|decision| Decided {
            rule: rule.name,
            decision,
        })
    });
    first.unwrap_or(Decided {
        rule: "none",
        decision: Decision::Nothing { until: None },
    })
}

/// Least transactions in a day.
const BUDGET_FLOOR: i64 = 6;
/// How soon what no change tells of is tried again.
pub(super) const READ_AGAIN: SignedDuration = SignedDuration::from_secs(10);
/// Clocks that differ by more than this make a reason of time doubtful.
pub const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// How long `previous` and a finished transaction stay in the record.
pub const TIDY_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// An object that is being deleted: finish what is open, then do what `onDelete` says.
fn deleted(world: &World<'_>) -> Option<Decision> {
    let on_delete = world.deletion?;
    if !world.finalizer {
        return Some(Decision::Nothing { until: None });
    }
    let step = |step| Some(Decision::Finalize(step));
    let Some(record) = world.record else {
        return step(if on_delete == OnDelete::Keep {
            Finalize::Release
        } else {
            Finalize::DeleteOutputs
        });
    };
    if let Some(open) = &record.open
        && open.phase != Phase::Issued
    {
        let possible_orphan = open.phase != Phase::Polling;
        return Some(Decision::Abandon {
            why: Reason::Deleting,
            possible_orphan,
        });
    }
    match on_delete {
        OnDelete::Keep => step(Finalize::Release),
        OnDelete::Delete => step(Finalize::DeleteOutputs),
        OnDelete::Revoke if record.current.is_some() => step(Finalize::ScheduleRevocation),
        OnDelete::Revoke if record.to_revoke > 0 => match &world.issuer {
            IssuerView::Ready(_) => revocation_due(world).or(Some(Decision::Blocked {
                reason: Reason::BackingOff,
                until: record.ledger.next_revocation,
            })),
            IssuerView::Unusable { reason, .. } => Some(Decision::Blocked {
                reason: *reason,
                until: None,
            }),
        },
        OnDelete::Revoke => step(Finalize::DeleteOutputs),
    }
}

/// Outputs that differ from the good copy. Needs the record alone: neither the CA, nor the Issuer, nor a right wish. What an
/// output carries is taken into the record by a right wish only, which says where its parts stand.
fn repair(world: &World<'_>) -> Option<Decision> {
    if matches!(world.wish, Wish::Gone) {
        return None;
    }
    world
        .outputs
        .iter()
        .enumerate()
        .find_map(|(output, view)| match &view.state {
            OutputState::Write(kind, why) => Some(Decision::Repair {
                output,
                kind: *kind,
                why: *why,
            }),
            OutputState::Rebuild if world.plan().is_some() => Some(Decision::Rebuild { output }),
            OutputState::InSync
            | OutputState::Rebuild
            | OutputState::Reissue
            | OutputState::Reported
            | OutputState::Adopt
            | OutputState::ReplaceLater
            | OutputState::NothingToWrite
            | OutputState::Blocked(..) => None,
        })
}

fn invalid_wish(world: &World<'_>) -> Option<Decision> {
    match world.wish {
        Wish::Plan(_) => None,
        Wish::Invalid(_) => Some(Decision::Blocked {
            reason: Reason::InvalidSpec,
            until: None,
        }),
        Wish::Gone => Some(Decision::Nothing { until: None }),
    }
}

/// A record of a later version is not written, unless the end of the certificate is near.
fn record_not_ours_to_write(world: &World<'_>) -> Option<Decision> {
    let record = world.record?;
    match (&record.state, &record.current) {
        (RecordState::Later(_), Some(current)) if !near_expiry(current, world.now) => {
            Some(Decision::Blocked {
                reason: Reason::RecordUnreadable,
                until: Some(last_tenth(current)),
            })
        }
        (RecordState::Usable | RecordState::Later(_) | RecordState::Unreadable(_), _) => None,
    }
}

fn last_tenth(issued: &IssuedFacts) -> Timestamp {
    issued.not_after - issued.life() / 10
}

fn near_expiry(issued: &IssuedFacts, now: Timestamp) -> bool {
    now >= last_tenth(issued)
}

/// An object whose deletion needs work carries our finalizer, and no other: `onDelete` other than Keep, or a CA that lets
/// us wait. A short exchange that meets a deletion ends without it.
fn hold(world: &World<'_>) -> Option<Decision> {
    let Subject::Certificate(_) = world.subject else {
        return None;
    };
    let open = world.record.and_then(|record| record.open.as_ref());
    let waits = open.is_some_and(|open| open.phase == Phase::Polling);
    let wanted = waits || world.plan()?.on_delete != OnDelete::Keep;
    match (wanted, world.finalizer) {
        (true, false) => Some(Decision::Hold(Presence::Present)),
        (false, true) if open.is_none_or(|open| open.phase == Phase::Issued) => {
            Some(Decision::Hold(Presence::Absent))
        }
        (true, true) | (false, _) => None,
    }
}

/// Foreign Secrets that the wish says to take over as they are.
fn take_over_existing(world: &World<'_>) -> Option<Decision> {
    let output = world
        .outputs
        .iter()
        .position(|view| view.state == OutputState::Adopt)?;
    Some(Decision::Adopt { output })
}

fn issuer_not_ready(world: &World<'_>) -> Option<Decision> {
    match &world.issuer {
        IssuerView::Ready(_) => None,
        IssuerView::Unusable { reason, .. } if needs_issuer(world) => Some(Decision::Blocked {
            reason: *reason,
            until: read_again(*reason, world.now),
        }),
        IssuerView::Unusable { .. } => None,
    }
}

/// Inputs that could not be read are read again soon, and a program that is missing is looked for again: no change will
/// tell.
fn read_again(reason: Reason, now: Timestamp) -> Option<Timestamp> {
    matches!(reason, Reason::StoreFailed | Reason::EngineUnavailable).then(|| now + READ_AGAIN)
}

/// Whether anything is due that takes the CA.
fn needs_issuer(world: &World<'_>) -> bool {
    let open = world.record.and_then(|record| record.open.as_ref());
    open.is_some_and(|open| open.phase != Phase::Issued || !world.confirmed())
        || wanted(world).is_some()
        || world.record.is_some_and(|record| record.to_revoke > 0)
}

/// A transaction that was begun goes on, or is given up when it can no longer end well.
fn open_transaction(world: &World<'_>) -> Option<Decision> {
    let open = world.record?.open.as_ref()?;
    let issuer = world.ready_issuer()?;
    if open.phase == Phase::Issued && world.confirmed() {
        return None;
    }
    if let Some((reason, until)) = world.pause
        && open.phase != Phase::Started
        && !gives_up_before(world, open, until)
    {
        return Some(Decision::Blocked {
            reason,
            until: Some(until),
        });
    }
    match open.phase {
        Phase::Issued => Some(due(open, world.now).unwrap_or(Decision::Resume)),
        Phase::Started => Some(Decision::Abandon {
            why: Reason::PossibleOrphan,
            possible_orphan: true,
        }),
        Phase::Sent => Some(sent(
            world,
            issuer.endpoint,
            issuer.recipient,
            issuer.resend_window,
            open,
        )),
        Phase::Polling if moved(open, issuer.endpoint, issuer.recipient) => Some(Decision::Abandon {
            why: Reason::IssuerChanged,
            possible_orphan: true,
        }),
        Phase::Polling if wish_moved(world, open) => Some(Decision::Abandon {
            why: Reason::WishChanged,
            possible_orphan: true,
        }),
        Phase::Polling => Some(due(open, world.now).unwrap_or(Decision::Resume)),
    }
}

/// Whether a request that found no answer is given up before it would be sent again.
fn gives_up_before(world: &World<'_>, open: &OpenFacts, until: Timestamp) -> bool {
    let window = world
        .ready_issuer()
        .map_or(SignedDuration::ZERO, |issuer| issuer.resend_window);
    open.phase == Phase::Sent && until.min(world.now).duration_since(open.started_at) >= window
}

fn due(open: &OpenFacts, now: Timestamp) -> Option<Decision> {
    let next = open.not_before.filter(|next| *next > now)?;
    Some(Decision::Blocked {
        reason: Reason::Pending,
        until: Some(next),
    })
}

/// The same bytes are sent again while the CA may still take them; then the transaction is given up and counted.
fn sent(
    world: &World<'_>,
    endpoint: &str,
    recipient: Option<&str>,
    window: SignedDuration,
    open: &OpenFacts,
) -> Decision {
    if moved(open, endpoint, recipient) {
        return Decision::Abandon {
            why: Reason::IssuerChanged,
            possible_orphan: true,
        };
    }
    let age = world.now.duration_since(open.started_at);
    if age >= window || age < -MAX_CLOCK_SKEW {
        return Decision::Abandon {
            why: Reason::PossibleOrphan,
            possible_orphan: true,
        };
    }
    match open.not_before.filter(|next| *next > world.now) {
        Some(next) => Decision::Blocked {
            reason: Reason::BackingOff,
            until: Some(next),
        },
        None => Decision::Resume,
    }
}

/// A transaction is pinned to its endpoint and recipient.
fn moved(open: &OpenFacts, endpoint: &str, recipient: Option<&str>) -> bool {
    open.endpoint != endpoint || open.recipient.as_deref() != recipient
}

fn wish_moved(world: &World<'_>, open: &OpenFacts) -> bool {
    let wanted = world.plan().map(|plan| &plan.wish_hash);
    open.purpose == OpenPurpose::Enrol
        && open.wish.is_some()
        && wanted.is_some()
        && open.wish.as_ref() != wanted
}

/// Something is to be issued, and budget, back-off, circuit breaker or clock stand against it.
fn held_back(world: &World<'_>) -> Option<Decision> {
    let (why, _) = wanted(world)?;
    let blocked = |reason, until| Some(Decision::Blocked { reason, until });
    if is_reason_of_time(why)
        && world
            .clock_offset
            .is_some_and(|offset| offset.abs() > MAX_CLOCK_SKEW)
    {
        return blocked(Reason::ClockSkew, Some(world.now + SignedDuration::from_mins(1)));
    }
    if let Some(failure) = world.record.and_then(|record| record.failure())
        && holds_back(failure, world.attempt_hash, world.now)
    {
        return blocked(Reason::BackingOff, Some(failure.next));
    }
    if !over_budget_allowed(world) && budget_left(world) <= 0 {
        return blocked(Reason::BudgetExhausted, budget_until(world));
    }
    let closed = world.ready_issuer().and_then(|issuer| issuer.closed_until);
    match closed.filter(|until| *until > world.now) {
        Some(until) => blocked(Reason::CircuitOpen, Some(until)),
        None => None,
    }
}

fn is_reason_of_time(why: Reason) -> bool {
    matches!(why, Reason::RenewalDue | Reason::Expired)
}

fn over_budget_allowed(world: &World<'_>) -> bool {
    token(world, OVER_BUDGET_ANNOTATION).is_some()
}

/// Transactions a day: six, or three times the renewals that are due in a day.
pub fn daily_budget(world: &World<'_>) -> i64 {
    let current = world.record.and_then(|record| record.current.as_ref());
    budget(world.subject, current, world.plan().map(|plan| plan.renew))
}

/// The same for a certificate and its renewal rule.
pub fn budget(subject: &Subject, current: Option<&IssuedFacts>, renew: Option<RenewRule>) -> i64 {
    let (Some(current), Some(renew)) = (current, renew) else {
        return BUDGET_FLOOR;
    };
    let interval = renewal_time(subject, current, renew).duration_since(current.not_before);
    let renewals = 86_400 / interval.as_secs().max(1);
    BUDGET_FLOOR.max(renewals.saturating_mul(3))
}

fn budget_left(world: &World<'_>) -> i64 {
    let used = in_last_day(transactions(world), world.now).count();
    daily_budget(world) - i64::try_from(used).unwrap_or(i64::MAX)
}

/// What the record knows, or what is remembered while there is none.
fn transactions<'w>(world: &World<'w>) -> &'w [Timestamp] {
    let recorded = world.record.map(|record| record.ledger.transactions.as_slice());
    recorded.unwrap_or(world.spent)
}

fn budget_until(world: &World<'_>) -> Option<Timestamp> {
    let oldest = in_last_day(transactions(world), world.now).min()?;
    Some(oldest + LAST_DAY)
}

/// What would be issued now if nothing held it back.
pub fn wanted(world: &World<'_>) -> Option<(Reason, How)> {
    const REASONS: &[Ask] = &[
        no_good_copy,
        drift_to_reissue,
        wish_changed,
        issuer_changed,
        requested,
        renewal_due,
    ];
    match REASONS.iter().find_map(|ask| ask(world))? {
        Decision::Issue { why, how } => Some((why, how)),
        _ => None,
    }
}

fn issue(why: Reason, how: How) -> Option<Decision> {
    Some(Decision::Issue { why, how })
}

fn no_good_copy(world: &World<'_>) -> Option<Decision> {
    let plan = world.plan()?;
    if world.outputs.iter().any(blocks_first_issuance) && !world.outputs.is_empty() && world.good().is_none()
    {
        return world.outputs.iter().find_map(|view| match &view.state {
            OutputState::Blocked(reason, until) => Some(Decision::Blocked {
                reason: *reason,
                until: *until,
            }),
            _ => None,
        });
    }
    let current = world.record.and_then(|record| record.current.as_ref());
    match current {
        None => issue(Reason::Missing, How::Enrol),
        Some(current) if current.expired(world.now) => issue(Reason::Expired, How::Enrol),
        Some(current) if !current.key_fits && plan.keep_copy => issue(Reason::Missing, How::Enrol),
        Some(current) if !current.key_fits && outputs_lost(world, current) => {
            issue(Reason::Missing, How::Enrol)
        }
        Some(_) => None,
    }
}

/// A first certificate is not asked for while its output cannot be written: it would be of no use.
fn blocks_first_issuance(view: &crate::reconcile::outputs::OutputView<'_>) -> bool {
    matches!(view.state, OutputState::Blocked(..))
}

/// Without a copy of the key a lost or changed output cannot be put back.
fn outputs_lost(world: &World<'_>, current: &IssuedFacts) -> bool {
    world.outputs.iter().any(|view| {
        let written = current.outputs.iter().find(|w| w.secret == view.plan.secret);
        match (written, view.facts) {
            (Some(written), Some(facts)) => written
                .data
                .iter()
                .any(|(key, hash)| facts.data.get(key) != Some(hash)),
            (_, None) | (None, Some(_)) => true,
        }
    })
}

fn drift_to_reissue(world: &World<'_>) -> Option<Decision> {
    world
        .outputs
        .iter()
        .any(|view| view.state == OutputState::Reissue)
        .then_some(())?;
    issue(Reason::Reissue, How::Enrol)
}

/// The wish as issued is compared with the wish of now, never with the certificate: CAs change validity, names, usages.
fn wish_changed(world: &World<'_>) -> Option<Decision> {
    let plan = world.plan()?;
    let current = world.record?.current.as_ref()?;
    let same = match &current.wish {
        Some((version, hash)) if *version == NormalWish::VERSION => *hash == plan.wish_hash,
        Some(_) => same_names_and_key(plan, current),
        // An adopted Secret is kept as it is until its renewal.
        None => true,
    };
    if same {
        None
    } else {
        issue(Reason::WishChanged, How::Enrol)
    }
}

/// What is compared where the normalisation is not known: never issue for doubt.
fn same_names_and_key(plan: &crate::model::plan::CertificatePlan, current: &IssuedFacts) -> bool {
    let mut sans: Vec<String> = plan.template.sans.iter().map(ToString::to_string).collect();
    sans.sort();
    sans == current.sans
        && current
            .key_algorithm
            .is_none_or(|algorithm| algorithm == plan.key_algorithm)
}

/// By name only: a changed address or trust store of the same Issuer does not re-enrol the fleet.
fn issuer_changed(world: &World<'_>) -> Option<Decision> {
    let plan = world.plan()?;
    let current = world.record?.current.as_ref()?;
    if current.issuer == plan.issuer || current.wish.is_none() {
        return None;
    }
    issue(Reason::IssuerChanged, How::Enrol)
}

/// A request token that was not served yet.
fn token<'w>(world: &World<'w>, annotation: &str) -> Option<&'w str> {
    let value = world
        .annotations
        .get(annotation)
        .filter(|value| !value.is_empty())?;
    let served = world
        .record
        .and_then(|record| record.ledger.served.get(annotation));
    (served != Some(value)).then_some(value)
}

fn requested(world: &World<'_>) -> Option<Decision> {
    world.record?.current.as_ref()?;
    if token(world, REVOKE_ANNOTATION).is_some() {
        return issue(Reason::RevokeRequested, How::Enrol);
    }
    if token(world, RECREATE_ANNOTATION).is_some() {
        return issue(Reason::RecreateRequested, How::Enrol);
    }
    token(world, RENEW_ANNOTATION)?;
    issue(Reason::RenewRequested, how_to_renew(world)?)
}

fn renewal_due(world: &World<'_>) -> Option<Decision> {
    let plan = world.plan()?;
    let current = world.record?.current.as_ref()?;
    if new_credentials(world) {
        return issue(Reason::WishChanged, How::Enrol);
    }
    if renewal_time(world.subject, current, plan.renew) > world.now {
        return None;
    }
    issue(Reason::RenewalDue, how_to_renew(world)?)
}

/// An identity is bootstrapped again when its initial credentials change.
fn new_credentials(world: &World<'_>) -> bool {
    let Subject::Identity(_) = world.subject else {
        return false;
    };
    let known = world.record.and_then(|record| record.ledger.bootstrap);
    let now = world.ready_issuer().and_then(|issuer| issuer.bootstrap);
    known.is_some() && now.is_some() && known != now
}

/// An update where the old key can sign it and the CA has not refused one; else a fresh enrolment.
fn how_to_renew(world: &World<'_>) -> Option<How> {
    let record = world.record?;
    let current = record.current.as_ref()?;
    let by_identity = world
        .ready_issuer()
        .is_some_and(|issuer| issuer.key_update_signer == UpdateSigner::Identity)
        && matches!(world.subject, Subject::Certificate(_));
    let can_sign = by_identity || (current.key_fits && current.may_sign);
    let refused = record.failure().is_some_and(|failure| failure.enrol_afresh);
    let same_issuer = world.plan().is_some_and(|plan| plan.issuer == current.issuer);
    let same_subject = world
        .plan()
        .is_some_and(|plan| current.wish.is_some() || plan.template.subject.to_rfc4514() == current.subject);
    let update = can_sign && !refused && !current.expired(world.now) && same_issuer && same_subject;
    Some(if update { How::Update } else { How::Enrol })
}

fn revocation_due(world: &World<'_>) -> Option<Decision> {
    let record = world.record?;
    if record.to_revoke == 0 || world.ready_issuer().is_none() {
        return None;
    }
    let due = record.ledger.next_revocation.is_none_or(|next| next <= world.now);
    let old_is_replaced =
        world.deletion.is_some() || world.outputs.iter().all(|v| v.state == OutputState::InSync);
    (due && old_is_replaced).then_some(Decision::Revoke)
}

/// After a while the previous key and the finished transaction leave the record.
fn tidy(world: &World<'_>) -> Option<Decision> {
    let due = tidy_time(world)?;
    (due <= world.now).then_some(Decision::Tidy)
}

fn tidy_time(world: &World<'_>) -> Option<Timestamp> {
    let record = world.record?;
    let current = record.current.as_ref()?;
    let in_sync = world.outputs.iter().all(|view| view.state == OutputState::InSync);
    let unproven = current.outputs.iter().any(|output| !output.proven);
    let finished = record
        .open
        .as_ref()
        .is_some_and(|open| open.phase == Phase::Issued)
        && world.confirmed();
    let old = record.previous.is_some() && !world.previous_in_use;
    if record.state != RecordState::Usable || !in_sync || !(unproven || finished || old) {
        return None;
    }
    Some(current.issued_at + TIDY_AFTER)
}

/// Nothing is due: when is something?
fn nothing_until(world: &World<'_>) -> Option<Decision> {
    let plan = world.plan()?;
    let current = world.record.and_then(|record| record.current.as_ref());
    let renewal = current.map(|current| renewal_time(world.subject, current, plan.renew));
    let revocation = world
        .record
        .filter(|r| r.to_revoke > 0)
        .and_then(|r| r.ledger.next_revocation);
    let blocked = world.outputs.iter().filter_map(|view| match view.state {
        OutputState::Blocked(_, until) => until,
        _ => None,
    });
    let until = [renewal, revocation, tidy_time(world)]
        .into_iter()
        .flatten()
        .chain(blocked)
        // What is past waits for a change, not for time: coming back at once would never end.
        .filter(|until| *until > world.now)
        .min();
    Some(Decision::Nothing { until })
}

#[cfg(test)]
mod tests;
