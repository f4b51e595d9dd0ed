//! What the health checks of an Issuer say: its Certificates with the purpose `HealthCheck`.
//!
//! A health check lives the life of any Certificate: enrolled once, renewed when that is due or asked for, held back by the
//! same budget, pace and schedule. So it costs the CA no more than a Certificate does, and shows that the whole way works.
//! Here its newest result becomes a condition of the Issuer; nothing is asked of the CA for that.

use jiff::Timestamp;

use crate::model::certificate::{CertificateStatus, Purpose};
use crate::model::condition::{ConditionStatus, cut};
use crate::model::object::ObjectKey;
use crate::model::reason::Reason;
use crate::reconcile::state::State;
use crate::reconcile::state::remembered::Reported;
use crate::store::Seen;

/// The condition's type.
pub(super) const CONDITION: &str = "Healthy";
/// Longest message of a check that is repeated.
const MESSAGE_BYTES: usize = 512;

/// What all health checks of an Issuer say together: the first failure by name, if there is one.
pub(super) struct Verdict {
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// When the CA last issued for one of them.
    pub(super) issued_at: Option<Timestamp>,
}

/// The verdict on an Issuer; `None` if it has no health check.
pub(super) fn verdict(state: &State, issuer: &ObjectKey) -> Option<Verdict> {
    let mut checks: Vec<(&ObjectKey, Option<CertificateStatus>)> = state
        .entries_of(issuer)
        .filter(|(_, entry)| {
            entry
                .plan
                .as_ref()
                .is_ok_and(|plan| plan.purpose == Purpose::HealthCheck)
        })
        .filter_map(|(key, entry)| match &entry.seen {
            Seen::Object(object) => Some((key, object.reported().map(Reported::status))),
            Seen::Broken(_) => None,
        })
        .collect();
    checks.sort_by_key(|(key, _)| *key);
    let issued_at = checks
        .iter()
        .filter_map(|(_, status)| status.as_ref()?.history.first())
        .map(|newest| newest.issued_at)
        .max();
    let results = checks.iter().map(|(key, status)| result(key, status.as_ref()));
    // False before unknown before true; of equals the first by name.
    let (status, reason, message) = results.min_by_key(|(status, ..)| match status {
        ConditionStatus::False => 0,
        ConditionStatus::Unknown => 1,
        ConditionStatus::True => 2,
    })?;
    Some(Verdict {
        status,
        reason,
        message,
        issued_at,
    })
}

fn result(key: &ObjectKey, status: Option<&CertificateStatus>) -> (ConditionStatus, Reason, String) {
    let ready = status.and_then(|status| status.conditions.iter().find(|c| c.kind == "Ready"));
    let (Some(status), Some(ready)) = (status, ready) else {
        let message = format!("health check {key} has not run yet");
        return (ConditionStatus::Unknown, Reason::Pending, message);
    };
    let told = |reason: &str, text: &str| {
        let reason = Reason::ALL.iter().copied().find(|known| known.as_str() == reason);
        let message = format!("health check {key}: {}", cut(text.to_owned(), MESSAGE_BYTES));
        (
            ConditionStatus::False,
            reason.unwrap_or(Reason::Unavailable),
            message,
        )
    };
    if let Some(failure) = &status.last_failure {
        return told(&failure.reason, &failure.message);
    }
    if ready.status != ConditionStatus::True {
        return told(&ready.reason, &ready.message);
    }
    let when = status
        .history
        .first()
        .map(|newest| format!(" at {:.0}", newest.issued_at));
    let message = format!("health check {key} got a certificate{}", when.unwrap_or_default());
    (ConditionStatus::True, Reason::Ready, message)
}
