//! Reads records for the history: what the judges need, and a certificate that was read before not again.
//!
//! Most writes change the ledger or the open transaction alone. So the record is cut into its members, and the long ones
//! are compared with those of the last records of the same subject.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::record::{Phase, VERSION};
use crate::sim::history::{Copy, OpenNote, RecordFacts};

/// Copies that are kept of each subject: the current and the previous one, with and without a written output.
const KEPT: usize = 4;

/// The copies of the last records of a subject, with the bytes that they were read from.
#[derive(Debug, Default)]
pub(crate) struct KnownCopies(VecDeque<(Vec<u8>, Arc<Copy>)>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    phase: Phase,
    transaction: Transaction,
    started_at: Timestamp,
    signer: Option<String>,
}

#[derive(Deserialize)]
struct Transaction {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ledger {
    transactions: Vec<IgnoredAny>,
    possible_orphans: u64,
    orphans: u64,
}

impl KnownCopies {
    /// What a record says; `None` = it cannot be read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<RecordFacts> {
        let (mut version, mut ledger, mut open) = (None, Ledger::default(), None);
        let (mut current, mut previous) = (None, None);
        for (name, value) in members(bytes)? {
            match name {
                b"version" => version = Some(serde_json::from_slice::<u32>(value).ok()?),
                b"current" => current = Some(self.copy(value)?),
                b"previous" => previous = Some(self.copy(value)?),
                b"open" => open = Some(serde_json::from_slice::<Open>(value).ok()?),
                b"ledger" => ledger = serde_json::from_slice(value).ok()?,
                _ => {}
            }
        }
        version.filter(|version| *version <= VERSION)?;
        Some(RecordFacts {
            current,
            previous,
            open: open.map(|open| OpenNote {
                transaction: open.transaction.id,
                phase: open.phase,
                started_at: open.started_at,
                signer: open.signer,
            }),
            possible_orphans: ledger.possible_orphans,
            orphans: ledger.orphans,
            transactions: ledger.transactions.len(),
        })
    }

    fn copy(&mut self, bytes: &[u8]) -> Option<Arc<Copy>> {
        if let Some((_, known)) = self.0.iter().find(|(kept, _)| kept == bytes) {
            return Some(Arc::clone(known));
        }
        let copy = Arc::new(Copy::of(&serde_json::from_slice(bytes).ok()?));
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((bytes.to_vec(), Arc::clone(&copy)));
        Some(copy)
    }
}

/// Cuts a JSON object into names and values, as our program writes it: no blanks around names, no escapes in them.
fn members(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rest = bytes.strip_prefix(b"{")?;
    let mut members = Vec::with_capacity(8);
    if rest == b"}" {
        return Some(members);
    }
    loop {
        rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (name, after) = rest.split_at_checked(end)?;
        let after = after.strip_prefix(b"\":")?;
        let end = value_end(after)?;
        let (value, after) = after.split_at_checked(end)?;
        members.push((name, value));
        match after.split_first()? {
            (b',', more) => rest = more,
            (b'}', []) => return Some(members),
            _ => return None,
        }
    }
}

/// Where a value ends: at a comma or a closing brace of the object that it stands in.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn a_record_is_cut_into_its_members() {
        let text = br#"{"a":1,"b":{"c":[1,{"d":"}\"]"}]},"e":"x,y"}"#;
        let cut: Vec<(&[u8], &[u8])> = vec![
            (b"a", b"1"),
            (b"b", br#"{"c":[1,{"d":"}\"]"}]}"#),
            (b"e", br#""x,y""#),
        ];
        assert_eq!(members(text), Some(cut));
        for wrong in [&b"{\"version\": \"nonsense\""[..], b"", b"{", b"[1]", b"{\"a\":1"] {
            assert_eq!(members(wrong), None);
        }
    }

    #[test]
    fn what_the_program_writes_is_read_and_what_it_cannot_read_is_not() {
        let mut record = Record::default();
        record.ledger.orphans = 3;
        let facts = KnownCopies::default().read(record.to_bytes().expose()).unwrap();
        assert_eq!(
            (facts.orphans, facts.possible_orphans, facts.transactions),
            (3, 0, 0)
        );
        record.version = VERSION + 1;
        assert!(KnownCopies::default().read(record.to_bytes().expose()).is_none());
    }
}
