//! What the directory store knows: the last state of everything, its version, and who waits to be told.
//!
//! A reader of the watch has a queue of *names* that changed, not of changes: it is told what is so when it asks, a
//! name stands in the queue once, and the queue never holds more names than there are things.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::model::object::{Kind, ObjectKey, ROLE_LABEL};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::any::{AnyObject, ObjectId};
use crate::store::dir::fs::{Stamp, now_ns};
use crate::store::dir::secrets::{Found, Print};

use crate::store::{Broken, Change, ContentHash, InputFacts, SecretFacts, Seen, Subject, Version};

/// The name of something that the watch tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Object(Kind, ObjectKey),
    Input(InputRef),
    Secret(ObjectKey),
    Record(Subject),
    Synced,
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnySeen {
    Object(AnyObject),
    Broken(Arc<Broken>),
}

/// What is known of a Secret.
pub(super) struct SecretEntry {
    pub(super) facts: Arc<SecretFacts>,
    pub(super) input: InputFacts,
    /// What it looked like when it was read.
    looked: Looked,
    told: bool,
}

/// What is known of a record.
#[derive(Clone, Copy)]
pub(super) struct RecordEntry {
    pub(super) version: Version,
    hash: ContentHash,
    /// What its file looked like, if that was long enough ago that a later change shows.
    looked: Option<Stamp>,
}

/// A reader of the watch.
#[derive(Default)]
struct Feed {
    queue: VecDeque<Topic>,
    queued: BTreeSet<Topic>,
    bell: Arc<Notify>,
    /// Whether it is told statuses, too.
    statuses: bool,
}

impl Feed {
    fn push(&mut self, topic: Topic) {
        if self.queued.insert(topic.clone()) {
            self.queue.push_back(topic);
            self.bell.notify_one();
        }
    }
}

/// Everything that is known.
#[derive(Default)]
pub(super) struct State {
    counter: u64,
    pub(super) objects: BTreeMap<ObjectId, (Version, AnySeen)>,
    pub(super) secrets: BTreeMap<ObjectKey, SecretEntry>,
    pub(super) records: BTreeMap<Subject, RecordEntry>,
    /// Inputs that stand in YAML files.
    pub(super) yaml_inputs: BTreeMap<InputRef, InputFacts>,
    attended_inputs: BTreeSet<InputRef>,
    attended_outputs: BTreeSet<ObjectKey>,
    feeds: BTreeMap<u64, Feed>,
    next_feed: u64,
    /// Whether the first scan is over.
    pub(super) synced: bool,
    /// Whether the store is closed.
    pub(super) closed: bool,
}

/// What a reader found in its queue.
pub(super) enum Taken {
    /// Topics to be told.
    Topics(Vec<Topic>),
    /// Nothing yet; the bell rings when there is something.
    Wait(Arc<Notify>),
    /// The store is closed.
    End,
}

impl State {
    /// A version that was never used before.
    pub(super) fn next_version(&mut self) -> Version {
        self.counter += 1;
        Version(self.counter)
    }

    /// Begins a watch: everything there is, then the end of the list if it is complete.
    pub(super) fn open_feed(&mut self) -> u64 {
        self.open_feed_with(Feed::default())
    }

    /// As [`Self::open_feed`]; a status that was written is told as well. Reconciliation knows what it wrote, others do not.
    pub(super) fn open_feed_with_statuses(&mut self) -> u64 {
        self.open_feed_with(Feed {
            statuses: true,
            ..Feed::default()
        })
    }

    fn open_feed_with(&mut self, mut feed: Feed) -> u64 {
        let objects = self
            .objects
            .keys()
            .map(|(kind, key)| Topic::Object(*kind, key.clone()));
        let inputs = self.attended_inputs.iter().cloned().map(Topic::Input);
        let secrets = self
            .secrets
            .iter()
            .filter(|(key, entry)| self.is_told(key, entry));
        let mut secrets: BTreeSet<&ObjectKey> = secrets.map(|(key, _)| key).collect();
        secrets.extend(&self.attended_outputs);
        let secrets = secrets.into_iter().cloned().map(Topic::Secret);
        let records = self.records.keys().cloned().map(Topic::Record);
        for topic in objects.chain(inputs).chain(secrets).chain(records) {
            feed.push(topic);
        }
        if self.synced {
            feed.push(Topic::Synced);
        }
        let id = self.next_feed;
        self.next_feed += 1;
        self.feeds.insert(id, feed);
        id
    }

    pub(super) fn close_feed(&mut self, id: u64) {
        self.feeds.remove(&id);
    }

    /// The first scan is over.
    pub(super) fn sync(&mut self) {
        if !self.synced {
            self.synced = true;
            self.tell(&Topic::Synced);
        }
    }

    /// Ends all watches.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for feed in self.feeds.values() {
            feed.bell.notify_one();
        }
    }

    /// Takes at most `most` topics out of a reader's queue.
    pub(super) fn take(&mut self, id: u64, most: usize) -> Taken {
        let closed = self.closed;
        let Some(feed) = self.feeds.get_mut(&id) else {
            return Taken::End;
        };
        if closed {
            return Taken::End;
        }
        let count = most.min(feed.queue.len());
        let topics: Vec<Topic> = feed.queue.drain(..count).collect();
        for topic in &topics {
            feed.queued.remove(topic);
        }
        if topics.is_empty() {
            Taken::Wait(feed.bell.clone())
        } else {
            Taken::Topics(topics)
        }
    }

    fn tell(&mut self, topic: &Topic) {
        for feed in self.feeds.values_mut() {
            feed.push(topic.clone());
        }
    }

    /// Takes over a status that was written.
    pub(super) fn see_status(&mut self, id: ObjectId, seen: (Version, AnySeen)) {
        let topic = Topic::Object(id.0, id.1.clone());
        self.objects.insert(id, seen);
        for feed in self.feeds.values_mut().filter(|feed| feed.statuses) {
            feed.push(topic.clone());
        }
    }

    /// What is so with a topic; `None` for a record, whose bytes are not kept here.
    pub(super) fn change(&self, topic: &Topic) -> Option<Change> {
        Some(match topic {
            Topic::Object(kind, key) => {
                let seen = self.objects.get(&(*kind, key.clone())).map(|(_, seen)| seen);
                object_change(*kind, key.clone(), seen)
            }
            Topic::Input(input) => Change::Input(input.clone(), self.input(input)),
            Topic::Secret(key) => Change::Secret(
                key.clone(),
                self.secrets.get(key).map(|entry| entry.facts.clone()),
            ),
            Topic::Record(subject) => {
                if self.records.contains_key(subject) {
                    return None;
                }
                Change::Record(subject.clone(), None)
            }
            Topic::Synced => Change::Synced,
        })
    }

    /// Takes over which inputs and outputs are told; those that are new are told at once, also when they are missing.
    pub(super) fn attend(&mut self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        let new_inputs: Vec<_> = inputs
            .difference(&self.attended_inputs)
            .cloned()
            .map(Topic::Input)
            .collect();
        let new_outputs: Vec<_> = outputs
            .difference(&self.attended_outputs)
            .cloned()
            .map(Topic::Secret)
            .collect();
        self.attended_inputs = inputs;
        self.attended_outputs = outputs;
        for topic in new_inputs.into_iter().chain(new_outputs) {
            self.tell(&topic);
        }
    }

    fn is_told(&self, key: &ObjectKey, entry: &SecretEntry) -> bool {
        entry.told || entry.facts.labels.contains_key(ROLE_LABEL) || self.attended_outputs.contains(key)
    }

    /// What an input is: the document of that name, else the Secret's folder.
    fn input(&self, input: &InputRef) -> Option<InputFacts> {
        self.yaml_inputs.get(input).copied().or_else(|| match input.kind {
            InputKind::Secret => self.secrets.get(&input.object).map(|entry| entry.input),
            InputKind::ConfigMap => None,
        })
    }

    /// Takes over what stands in the YAML files under the name of an input.
    pub(super) fn see_yaml_input(&mut self, input: &InputRef, facts: Option<InputFacts>) {
        let before = self.input(input);
        match facts {
            Some(facts) => drop(self.yaml_inputs.insert(input.clone(), facts)),
            None => drop(self.yaml_inputs.remove(input)),
        }
        self.tell_input(input, before);
    }

    fn tell_input(&mut self, input: &InputRef, before: Option<InputFacts>) {
        if self.attended_inputs.contains(input) && self.input(input) != before {
            self.tell(&Topic::Input(input.clone()));
        }
    }

    /// Takes over an object as it is now. The same as before is not told again.
    pub(super) fn see_object(&mut self, id: &ObjectId, seen: Option<(Version, AnySeen)>) {
        match seen {
            Some(seen) => drop(self.objects.insert(id.clone(), seen)),
            None if self.objects.remove(id).is_none() => return,
            None => {}
        }
        self.tell(&Topic::Object(id.0, id.1.clone()));
    }

    /// Takes over a Secret as it was found; a new version only if it differs from what was known.
    pub(super) fn see_secret(&mut self, key: &ObjectKey, found: Option<&Found>) -> Option<Arc<SecretFacts>> {
        let input = InputRef {
            kind: InputKind::Secret,
            object: key.clone(),
        };
        let before = self.input(&input);
        let Some(found) = found else {
            let gone = self.secrets.remove(key)?;
            if self.is_told(key, &gone) {
                self.tell(&Topic::Secret(key.clone()));
            }
            self.tell_input(&input, before);
            return None;
        };
        let known = self.secrets.get(key);
        let mut facts = found.facts(known.map_or(Version(0), |entry| entry.facts.version));
        let looked = Looked::now(&found.print);
        if let Some(entry) = self.secrets.get_mut(key).filter(|entry| *entry.facts == facts) {
            entry.looked = looked;
            return Some(entry.facts.clone());
        }
        facts.version = self.next_version();
        let facts = Arc::new(facts);
        let told_before = self
            .secrets
            .get(key)
            .is_some_and(|entry| self.is_told(key, entry));
        let mut entry = SecretEntry {
            facts: facts.clone(),
            input: found.input(),
            looked,
            told: told_before,
        };
        entry.told = self.is_told(key, &entry);
        let told = entry.told;
        self.secrets.insert(key.clone(), entry);
        if told {
            self.tell(&Topic::Secret(key.clone()));
        }
        self.tell_input(&input, before);
        Some(facts)
    }

    /// Whether a Secret looks as it did when it was last read, long enough ago that nothing can hide.
    pub(super) fn is_as_read(&self, key: &ObjectKey, print: &Print) -> bool {
        let looked = Looked::now(print);
        self.secrets
            .get(key)
            .is_some_and(|entry| entry.looked.settled && entry.looked.digest == looked.digest)
    }

    /// Takes over a record as it is now; a new version only if its bytes differ.
    pub(super) fn see_record(&mut self, subject: &Subject, hash: Option<ContentHash>) -> Option<Version> {
        let Some(hash) = hash else {
            if self.records.remove(subject).is_some() {
                self.tell(&Topic::Record(subject.clone()));
            }
            return None;
        };
        if let Some(known) = self.records.get(subject).filter(|known| known.hash == hash) {
            return Some(known.version);
        }
        let version = self.next_version();
        self.records.insert(
            subject.clone(),
            RecordEntry {
                version,
                hash,
                looked: None,
            },
        );
        self.tell(&Topic::Record(subject.clone()));
        Some(version)
    }

    /// Whether the file of a record looks as it did when it was last read.
    pub(super) fn is_record_as_read(&self, subject: &Subject, stamp: Option<&Stamp>) -> bool {
        let known = self.records.get(subject).and_then(|entry| entry.looked.as_ref());
        known.is_some() && known == stamp
    }

    /// Remembers what the file of a record looked like before it was read.
    pub(super) fn looked_at_record(&mut self, subject: &Subject, stamp: Option<Stamp>) {
        if let Some(entry) = self.records.get_mut(subject) {
            entry.looked = stamp.filter(|stamp| is_settled(stamp.changed_ns()));
        }
    }
}

/// How old a change must be that a later one cannot have the same time stamp.
const TIME_STAMP_NS: i128 = 100_000_000;

fn is_settled(changed_ns: i128) -> bool {
    now_ns() - changed_ns > TIME_STAMP_NS
}

/// What a Secret's files looked like when they were read.
#[derive(Clone, Copy)]
struct Looked {
    digest: u64,
    /// Whether the newest change was old enough that a later one shows.
    settled: bool,
}

impl Looked {
    fn now(print: &Print) -> Self {
        Self {
            digest: print.digest(),
            settled: now_ns() - print.changed_ns() > TIME_STAMP_NS,
        }
    }
}

/// A change as the watch tells it.
fn object_change(kind: Kind, key: ObjectKey, seen: Option<&AnySeen>) -> Change {
    match (kind, seen) {
        (Kind::Issuer, None) => Change::Issuer(key, None),
        (Kind::Certificate, None) => Change::Certificate(key, None),
        (Kind::Issuer, Some(AnySeen::Broken(broken))) => {
            Change::Issuer(key, Some(Seen::Broken(broken.clone())))
        }
        (Kind::Certificate, Some(AnySeen::Broken(broken))) => {
            Change::Certificate(key, Some(Seen::Broken(broken.clone())))
        }
        (_, Some(AnySeen::Object(AnyObject::Issuer(object)))) => {
            Change::Issuer(key, Some(Seen::Object(object.clone())))
        }
        (_, Some(AnySeen::Object(AnyObject::Certificate(object)))) => {
            Change::Certificate(key, Some(Seen::Object(object.clone())))
        }
    }
}
