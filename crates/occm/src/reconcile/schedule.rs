//! From the class of a failure to the time of the next attempt. The only place that does so.

use jiff::{SignedDuration, Timestamp};

use crate::record::FailureClass;

/// Longest wait between two attempts.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(30);
/// Shortest wait between two attempts.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// The next attempt after `attempts` failures of this class, the last one at `now`.
///
/// `random` from 0 to 1 spreads attempts by a quarter. The wait shrinks as the end of the certificate nears, but a check
/// that failed is never tried again fast.
pub fn next_attempt(
    class: FailureClass,
    attempts: u32,
    now: Timestamp,
    not_after: Option<Timestamp>,
    random: f64,
) -> Timestamp {
    let (first, factor) = match class {
        FailureClass::Retry => (SignedDuration::from_secs(5), 2),
        FailureClass::Rejected => (SignedDuration::from_mins(1), 3),
        FailureClass::Untrusted | FailureClass::Misconfigured => (LONGEST_WAIT, 1),
    };
    let mut wait = first;
    for _ in 1..attempts.min(12) {
        wait = (wait * factor).min(LONGEST_WAIT);
    }
    if class != FailureClass::Untrusted {
        wait = shortened(wait, now, not_after);
    }
    let quarter = wait.as_secs_f64() / 4.0 * random.clamp(0.0, 1.0);
    now + (wait - SignedDuration::try_from_secs_f64(quarter).unwrap_or(SignedDuration::ZERO))
}

/// A wait that begins now, for a certificate that is to be replaced before its end: at most a tenth of what is left.
pub fn shortened(wait: SignedDuration, now: Timestamp, not_after: Option<Timestamp>) -> SignedDuration {
    match not_after.map(|end| end.duration_since(now)) {
        Some(left) if left > SignedDuration::ZERO => wait.min((left / 10).max(SHORTEST_WAIT)),
        _ => wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(class: FailureClass, attempts: u32, left: Option<i64>) -> i64 {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let end = left.map(|seconds| now + SignedDuration::from_secs(seconds));
        next_attempt(class, attempts, now, end, 0.0)
            .duration_since(now)
            .as_secs()
    }

    #[test]
    fn waits_grow_and_stay_below_half_an_hour() {
        let retry: Vec<i64> = (1..=6).map(|n| wait(FailureClass::Retry, n, None)).collect();
        assert_eq!(retry, [5, 10, 20, 40, 80, 160]);
        let rejected: Vec<i64> = (1..=5).map(|n| wait(FailureClass::Rejected, n, None)).collect();
        assert_eq!(rejected, [60, 180, 540, 1620, 1800]);
        assert_eq!(wait(FailureClass::Retry, u32::MAX, None), 1800);
    }

    #[test]
    fn the_wait_shrinks_as_the_end_nears() {
        assert_eq!(wait(FailureClass::Rejected, 5, Some(3_000)), 300);
        assert_eq!(wait(FailureClass::Rejected, 5, Some(10)), 5);
    }

    #[test]
    fn a_failed_check_is_never_tried_again_fast() {
        assert_eq!(wait(FailureClass::Untrusted, 1, Some(60)), 1800);
    }

    #[test]
    fn chance_shortens_by_a_quarter_at_most() {
        let now = Timestamp::from_second(0).unwrap();
        let next = next_attempt(FailureClass::Untrusted, 1, now, None, 1.0);
        assert_eq!(next.duration_since(now).as_secs(), 1350);
    }
}
