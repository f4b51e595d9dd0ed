//! Conditions of an object's status, in the form that Kubernetes tools know.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::reason::Reason;

/// Longest condition message, in bytes; longer texts are cut.
pub const MESSAGE_BYTES: usize = 1024;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

/// One fact about an object with the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which fact: `Ready`, `Issuing`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When `status` last changed.
    #[schemars(with = "String")]
    pub last_transition_time: Timestamp,
    /// Generation of the object that the fact was told about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether the condition `Ready` is there and true.
pub fn is_ready(conditions: &[Condition]) -> bool {
    let ready = conditions.iter().find(|condition| condition.kind == "Ready");
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}

/// Sets a condition; the transition time moves only when the status changes.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: ConditionStatus,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let message = cut(message.into(), MESSAGE_BYTES);
    if let Some(known) = conditions.iter_mut().find(|c| c.kind == kind) {
        if known.status != status {
            known.last_transition_time = now;
        }
        known.status = status;
        known.reason = reason.as_str().to_owned();
        known.message = message;
        known.observed_generation = generation;
        return;
    }
    conditions.push(Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.as_str().to_owned(),
        message,
        last_transition_time: now,
        observed_generation: generation,
    });
}

/// Cuts a text to at most `limit` bytes at a character boundary.
pub fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit - 3)
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = Timestamp::from_second(100).unwrap();
        let later = Timestamp::from_second(200).unwrap();
        let mut all = Vec::new();
        set_condition(
            &mut all,
            "Ready",
            ConditionStatus::False,
            Reason::Issuing,
            "a",
            None,
            first,
        );
        set_condition(
            &mut all,
            "Ready",
            ConditionStatus::False,
            Reason::Pending,
            "b",
            None,
            later,
        );
        assert_eq!(all[0].last_transition_time, first);
        set_condition(
            &mut all,
            "Ready",
            ConditionStatus::True,
            Reason::Issued,
            "c",
            Some(2),
            later,
        );
        assert_eq!((all.len(), all[0].last_transition_time), (1, later));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = cut("é".repeat(MESSAGE_BYTES), MESSAGE_BYTES);
        assert!(text.len() <= MESSAGE_BYTES && text.ends_with('…'));
    }
}
