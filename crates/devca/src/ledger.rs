//! What the CA issued, to whom, and what became of it: the truth that tests compare a manager's belief with.
//!
//! ```text
//!            certConf accepted, or implicit
//!  Issued ────────────────────────────────► Confirmed ──┐ rr
//!    │ │ certConf rejected ► Rejected                   ├───► Revoked
//!    │ └ confirmWaitTime over ► Unconfirmed             │
//!    └──────────────────────────────────────────────────┘ rr
//! ```
//!
//! Rejected, Unconfirmed and Revoked certificates are on the CRL. With a directory each change is appended to a file
//! of JSON lines before the answer leaves, so a CA that is started again knows what it issued.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{config::RequestKind, error::Error};

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Number of the entry, counted from 1 without gaps over the life of the CA.
    pub number: u64,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// Subject, RFC 4514.
    pub subject: String,
    /// Subject alternative names, such as `DNS:a.example`.
    pub sans: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo in hex.
    pub spki_sha256: String,
    /// SHA-256 of the certificate in hex.
    pub certificate_sha256: String,
    /// transactionID of the request in hex.
    pub transaction: String,
    /// Who the CA thinks the client is: the reference of its secret, or the subject of its first own certificate.
    /// Certificates that were obtained with certificates of a client belong to the same client.
    pub client: String,
    /// The sender named in the request's header, RFC 4514.
    pub sender: String,
    /// Kind of the request.
    pub request: RequestKind,
    /// Serial number of the certificate that a key update replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// What became of it.
    pub state: State,
}

impl Entry {
    /// May it be used: not revoked, and not expired at `now`?
    pub fn is_good(&self, now: Timestamp) -> bool {
        now <= self.not_after && !self.state.is_revoked()
    }
}

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub enum State {
    /// Handed out, waiting for certConf.
    Issued {
        /// The deadline.
        until: Timestamp,
    },
    /// Confirmed by certConf or implicitly.
    Confirmed,
    /// Rejected in certConf, and so revoked.
    Rejected {
        /// When.
        at: Timestamp,
    },
    /// Not confirmed in time, and so revoked.
    Unconfirmed {
        /// When it was revoked.
        at: Timestamp,
    },
    /// Revoked by rr.
    Revoked {
        /// When.
        at: Timestamp,
        /// CRLReason (RFC 5280, 5.3.1).
        reason: u8,
    },
}

impl State {
    /// Since when it is on the CRL and why, if it is.
    pub fn revoked(self) -> Option<(Timestamp, u8)> {
        /// CRLReason cessationOfOperation.
        const CESSATION: u8 = 5;
        match self {
            Self::Issued { .. } | Self::Confirmed => None,
            Self::Rejected { at } | Self::Unconfirmed { at } => Some((at, CESSATION)),
            Self::Revoked { at, reason } => Some((at, reason)),
        }
    }

    /// Is it on the CRL?
    pub fn is_revoked(self) -> bool {
        self.revoked().is_some()
    }
}

/// Counters since the CA was made (certificates) or started (requests and answers).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Certificates issued.
    pub issued: u64,
    /// Certificates confirmed.
    pub confirmed: u64,
    /// Certificates rejected by their client.
    pub rejected: u64,
    /// Certificates not confirmed in time.
    pub unconfirmed: u64,
    /// Certificates revoked by rr.
    pub revoked: u64,
    /// Requests by kind.
    pub requests: BTreeMap<RequestKind, u64>,
    /// Requests that were answered with an error or a rejection.
    pub refused: u64,
    /// Repeated requests.
    pub repeated: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Issued(Box<Entry>),
    Changed { serial: String, state: State },
}

/// A revoked certificate, for the CRL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revoked {
    pub(crate) serial: [u8; 16],
    pub(crate) at: Timestamp,
    pub(crate) reason: u8,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u64, Entry>,
    by_serial: HashMap<String, u64>,
    by_certificate: HashMap<String, u64>,
    waiting: BTreeSet<(Timestamp, u64)>,
    revoked: Vec<Revoked>,
    listed: HashSet<[u8; 16]>,
    stats: Stats,
    file: Option<File>,
}

/// The ledger. Its lock is held for map operations and one short write only.
pub struct Ledger {
    inner: Mutex<Inner>,
    limit: Option<usize>,
    path: Option<PathBuf>,
}

impl Ledger {
    /// A ledger in memory that keeps the newest `limit` entries.
    pub(crate) fn in_memory(limit: Option<usize>) -> Self {
        Self {
            inner: Mutex::default(),
            limit,
            path: None,
        }
    }

    /// A ledger that reads `path`, if it exists, and appends to it. `file` is open for appending.
    pub(crate) fn open(path: &Path, mut file: File, limit: Option<usize>) -> Result<Self, Error> {
        let ledger = Self {
            inner: Mutex::default(),
            limit,
            path: Some(path.to_owned()),
        };
        {
            let mut inner = ledger.lock();
            let reader = File::open(path).map_err(|source| Error::File {
                doing: "cannot read",
                path: path.to_owned(),
                source,
            })?;
            for line in BufReader::new(reader).lines() {
                let line = line.map_err(|source| Error::File {
                    doing: "cannot read",
                    path: path.to_owned(),
                    source,
                })?;
                // The last line is cut off if the machine stopped in the middle of a write.
                match serde_json::from_str(&line) {
                    Ok(Line::Issued(entry)) => inner.insert(*entry, limit),
                    Ok(Line::Changed { serial, state }) => {
                        if !inner.change(&serial, state)
                            && let Some((at, reason)) = state.revoked()
                        {
                            inner.list(&serial, at, reason);
                        }
                    }
                    Err(_) => continue,
                }
            }
            // Closes a line that was cut off. Empty lines are skipped above.
            let _ = file.write_all(b"\n");
            inner.file = Some(file);
        }
        Ok(ledger)
    }

    /// All kept entries with a number above `since`, oldest first. Deadlines that are over at `now` are applied first.
    pub fn entries(&self, since: u64, now: Timestamp) -> Vec<Entry> {
        self.expire(now);
        let inner = self.lock();
        inner
            .entries
            .range(since.saturating_add(1)..)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// The entry with this serial number (lower-case hex).
    pub fn find(&self, serial: &str) -> Option<Entry> {
        let inner = self.lock();
        inner
            .by_serial
            .get(serial)
            .and_then(|number| inner.entries.get(number))
            .cloned()
    }

    /// The counters. Deadlines that are over at `now` are applied first.
    pub fn stats(&self, now: Timestamp) -> Stats {
        self.expire(now);
        self.lock().stats.clone()
    }

    /// Revokes what was not confirmed in time. Returns how many that were.
    pub fn expire(&self, now: Timestamp) -> usize {
        let mut inner = self.lock();
        let mut count = 0;
        while let Some(&(until, number)) = inner.waiting.first()
            && until < now
        {
            inner.waiting.pop_first();
            let Some(serial) = inner.entries.get(&number).map(|entry| entry.serial.clone()) else {
                continue;
            };
            self.apply(&mut inner, &serial, State::Unconfirmed { at: until });
            count += 1;
        }
        count
    }

    /// Where the ledger is kept.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Adds an entry and gives it its number.
    pub(crate) fn record(&self, mut entry: Entry) {
        let mut inner = self.lock();
        entry.number = inner.stats.issued + 1;
        inner.append(&Line::Issued(Box::new(entry.clone())));
        inner.insert(entry, self.limit);
    }

    /// Changes the state of a certificate. Unknown serials are left alone.
    pub(crate) fn set_state(&self, serial: &str, state: State) {
        let mut inner = self.lock();
        self.apply(&mut inner, serial, state);
    }

    /// Revokes a certificate that is not revoked yet.
    ///
    /// One look and one change under the same lock, so that of two requests one finds it revoked. A certificate
    /// without an entry (dropped because of the limit) is revoked all the same.
    pub(crate) fn revoke(&self, serial: &str, at: Timestamp, reason: u8) -> Revocation {
        let mut inner = self.lock();
        if inner.lists(serial) {
            return Revocation::AlreadyRevoked;
        }
        let state = State::Revoked { at, reason };
        if inner.by_serial.contains_key(serial) {
            self.apply(&mut inner, serial, state);
        } else {
            inner.append(&Line::Changed {
                serial: serial.to_owned(),
                state,
            });
            inner.stats.revoked += 1;
            inner.list(serial, at, reason);
        }
        Revocation::Done
    }

    /// Is the certificate on the CRL?
    pub(crate) fn is_revoked(&self, serial: &str) -> bool {
        self.lock().lists(serial)
    }

    /// The entry of this very certificate (SHA-256 in hex).
    pub(crate) fn find_certificate(&self, sha256: &str) -> Option<Entry> {
        let inner = self.lock();
        inner
            .by_certificate
            .get(sha256)
            .and_then(|number| inner.entries.get(number))
            .cloned()
    }

    /// What belongs on the CRL.
    pub(crate) fn revoked(&self) -> Vec<Revoked> {
        self.lock().revoked.clone()
    }

    /// How many certificates are on the CRL.
    pub(crate) fn revoked_count(&self) -> usize {
        self.lock().revoked.len()
    }

    /// Counts one request.
    pub(crate) fn count_request(&self, kind: RequestKind) {
        *self.lock().stats.requests.entry(kind).or_default() += 1;
    }

    /// Counts one refusal.
    pub(crate) fn count_refusal(&self) {
        self.lock().stats.refused += 1;
    }

    /// Counts one repeated request.
    pub(crate) fn count_repeat(&self) {
        self.lock().stats.repeated += 1;
    }

    fn apply(&self, inner: &mut Inner, serial: &str, state: State) {
        if inner.change(serial, state) {
            inner.append(&Line::Changed {
                serial: serial.to_owned(),
                state,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a wish to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revocation {
    Done,
    AlreadyRevoked,
}

impl Inner {
    fn insert(&mut self, entry: Entry, limit: Option<usize>) {
        let number = entry.number;
        self.stats.issued = self.stats.issued.max(number);
        match entry.state {
            State::Issued { until } => drop(self.waiting.insert((until, number))),
            State::Confirmed => self.stats.confirmed += 1,
            State::Rejected { .. } | State::Unconfirmed { .. } | State::Revoked { .. } => {}
        }
        self.by_serial.insert(entry.serial.clone(), number);
        self.by_certificate
            .insert(entry.certificate_sha256.clone(), number);
        self.entries.insert(number, entry);
        while limit.is_some_and(|limit| self.entries.len() > limit) {
            let Some((_, oldest)) = self.entries.pop_first() else {
                break;
            };
            self.by_serial.remove(&oldest.serial);
            self.by_certificate.remove(&oldest.certificate_sha256);
        }
    }

    /// Returns whether anything changed.
    fn change(&mut self, serial: &str, state: State) -> bool {
        let Some(&number) = self.by_serial.get(serial) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(&number) else {
            return false;
        };
        if entry.state == state || entry.state.is_revoked() {
            return false;
        }
        if let State::Issued { until } = entry.state {
            self.waiting.remove(&(until, number));
        }
        entry.state = state;
        let stats = &mut self.stats;
        match state {
            State::Issued { until } => drop(self.waiting.insert((until, number))),
            State::Confirmed => stats.confirmed += 1,
            State::Rejected { .. } => stats.rejected += 1,
            State::Unconfirmed { .. } => stats.unconfirmed += 1,
            State::Revoked { .. } => stats.revoked += 1,
        }
        if let Some((at, reason)) = state.revoked() {
            self.list(serial, at, reason);
        }
        true
    }

    /// Puts a serial on the CRL, once.
    fn list(&mut self, serial: &str, at: Timestamp, reason: u8) {
        if let Some(serial) = serial_bytes(serial)
            && self.listed.insert(serial)
        {
            self.revoked.push(Revoked { serial, at, reason });
        }
    }

    fn lists(&self, serial: &str) -> bool {
        serial_bytes(serial).is_some_and(|serial| self.listed.contains(&serial))
    }

    /// A full disk must not stop a test CA: the entry stays in memory.
    fn append(&mut self, line: &Line) {
        let Some(file) = self.file.as_mut() else { return };
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            let _ = file.write_all(&text);
        }
    }
}

fn serial_bytes(hex: &str) -> Option<[u8; 16]> {
    pki::digest::from_hex(hex)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn entry(serial: u8, state: State) -> Entry {
        Entry {
            number: 0,
            serial: format!("{serial:032x}"),
            subject: "CN=a".to_owned(),
            sans: Vec::new(),
            spki_sha256: String::new(),
            certificate_sha256: format!("{serial:064x}"),
            transaction: "00".to_owned(),
            client: "one".to_owned(),
            sender: String::new(),
            request: RequestKind::Ir,
            replaces: None,
            issued_at: at(0),
            not_after: at(1000),
            state,
        }
    }

    #[test]
    fn an_unconfirmed_certificate_is_revoked_when_its_deadline_is_over() {
        let ledger = Ledger::in_memory(None);
        ledger.record(entry(1, State::Issued { until: at(10) }));
        ledger.record(entry(2, State::Issued { until: at(20) }));
        assert_eq!(ledger.expire(at(10)), 0);
        assert_eq!(ledger.expire(at(11)), 1);
        assert_eq!(
            ledger.entries(0, at(11))[0].state,
            State::Unconfirmed { at: at(10) }
        );
        assert_eq!(
            ledger.entries(1, at(11))[0].state,
            State::Issued { until: at(20) }
        );
        assert_eq!(ledger.revoked_count(), 1);
    }

    #[test]
    fn a_confirmed_certificate_can_be_revoked_once() {
        let ledger = Ledger::in_memory(None);
        let one = entry(1, State::Issued { until: at(10) });
        ledger.record(one.clone());
        ledger.set_state(&one.serial, State::Confirmed);
        assert_eq!(ledger.expire(at(99)), 0);
        assert_eq!(ledger.revoke(&one.serial, at(50), 4), Revocation::Done);
        assert_eq!(ledger.revoke(&one.serial, at(51), 1), Revocation::AlreadyRevoked);
        let stats = ledger.stats(at(99));
        assert_eq!((stats.issued, stats.confirmed, stats.revoked), (1, 1, 1));
    }

    #[test]
    fn a_limited_ledger_forgets_entries_but_not_counts_and_revocations() {
        let ledger = Ledger::in_memory(Some(2));
        for serial in 1..=5 {
            ledger.record(entry(serial, State::Confirmed));
        }
        let first = entry(1, State::Confirmed).serial;
        assert_eq!(ledger.entries(0, at(0)).len(), 2);
        assert_eq!(ledger.stats(at(0)).issued, 5);
        assert!(ledger.find(&first).is_none());
        assert_eq!(ledger.revoke(&first, at(1), 0), Revocation::Done);
        assert!(ledger.is_revoked(&first));
    }

    #[test]
    fn a_ledger_in_a_file_is_the_same_after_a_restart_even_with_a_torn_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let append = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap()
        };
        let ledger = Ledger::open(&path, append(), None).unwrap();
        ledger.record(entry(1, State::Issued { until: at(10) }));
        ledger.record(entry(2, State::Issued { until: at(10) }));
        ledger.set_state(&entry(1, State::Confirmed).serial, State::Confirmed);
        ledger.expire(at(20));
        let before = ledger.entries(0, at(20));
        append().write_all(b"{\"issued\":{\"num").unwrap();
        let again = Ledger::open(&path, append(), None).unwrap();
        assert_eq!(again.entries(0, at(20)), before);
        assert_eq!(again.stats(at(20)).unconfirmed, 1);
    }
}
