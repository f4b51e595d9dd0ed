//! The store as one process sees it: the store in memory, with time and faults in between.
//!
//! It obeys the contract of the seam: a write happens or not, a conflict changes nothing, an unavailable store leaves it
//! open, and a watch tells everything in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::sim::faults::Fault;
use crate::sim::history::{ActNote, By, OutputNote};
use crate::sim::world::{Dice, World};
use crate::store::{
    Change, Content, Event, Presence, RecordSeen, SecretFacts, SecretRelease, SecretWrite, Status, Store,
    StoreError, StoreResult, Subject, Version,
};

/// The store as a process sees it.
pub(crate) struct SimStore {
    pub(crate) world: Arc<World>,
    pub(crate) process: usize,
}

/// How long a reader may see the state before the last one.
const STALE: SignedDuration = SignedDuration::from_secs(10);

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(what.to_owned(), "no answer".to_owned())
}

impl SimStore {
    /// A read: takes time; the store may be down.
    fn read<T: Send + 'static>(
        &self,
        step: &'static str,
        place: String,
        read: impl FnOnce(&Arc<World>, &mut Dice) -> StoreResult<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        self.world
            .call(self.process, step, self.world.dice(place), move |world, dice| {
                let back = dice.latency();
                if is_down(world) {
                    return (Err(unavailable(step)), SignedDuration::from_secs(2));
                }
                (read(world, dice), back)
            })
            .boxed()
    }

    /// A write: noted as an act of the process, and it may fail in every way that the contract allows.
    fn write<T: Send + 'static>(
        &self,
        step: &'static str,
        place: String,
        conflicts: Conflicts,
        write: impl FnOnce(&Arc<World>, &mut Dice) -> StoreResult<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        self.write_and(step, place, conflicts, |_, _| None, write)
    }

    /// A write; `then` may say when its answer comes.
    fn write_and<T: Send + 'static>(
        &self,
        step: &'static str,
        place: String,
        conflicts: Conflicts,
        then: impl FnOnce(&Arc<World>, &mut Dice) -> Option<SignedDuration> + Send + 'static,
        write: impl FnOnce(&Arc<World>, &mut Dice) -> StoreResult<T> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let (process, at) = (self.process, self.world.now());
        self.world.history().acts.push(ActNote {
            at,
            process,
            what: step,
        });
        self.world
            .call(process, step, self.world.dice(place), move |world, dice| {
                let back = dice.latency();
                if is_down(world) || world.strikes(dice, Fault::WriteLost, 0.004) {
                    return (Err(unavailable(step)), SignedDuration::from_secs(2));
                }
                if conflicts == Conflicts::AtTimes && world.strikes(dice, Fault::StoreConflict, 0.005) {
                    return (Err(StoreError::Conflict(step.to_owned())), back);
                }
                let written = write(world, dice);
                world.history().writes += 1;
                if written.is_ok() && world.strikes(dice, Fault::WriteUnanswered, 0.004) {
                    return (Err(unavailable(step)), SignedDuration::from_secs(2));
                }
                let late = written.is_ok().then(|| then(world, dice)).flatten();
                (written, late.unwrap_or(back))
            })
            .boxed()
    }

    fn write_secret(
        &self,
        step: &'static str,
        key: ObjectKey,
        write: impl FnOnce(&Arc<World>) -> StoreResult<SecretFacts> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<SecretFacts>> {
        let (process, written_to) = (self.process, key.clone());
        let then = move |world: &Arc<World>, dice: &mut Dice| overtaken(world, dice, &written_to);
        self.write_and(
            step,
            secret_place(&key),
            Conflicts::AtTimes,
            then,
            move |world, _| {
                let written = write(world)?;
                note_output(world, By::Process(process), &key);
                answer_in_a_fight(world, &key);
                Ok(written)
            },
        )
    }
}

/// Whether a write may be told to be in conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflicts {
    AtTimes,
    Never,
}

fn secret_place(key: &ObjectKey) -> String {
    format!("Secret {key}")
}

fn record_place(subject: &Subject) -> String {
    format!("record of {subject}")
}

fn object_place(key: &ObjectKey) -> String {
    format!("status of {key}")
}

fn is_down(world: &World) -> bool {
    let now = world.now();
    world.moving().store_down_until.is_some_and(|until| until > now)
}

/// Notes how an output is now.
pub(crate) fn note_output(world: &World, by: By, key: &ObjectKey) {
    let (at, state) = (world.now(), world.output_data(key));
    let (data, revision) = state.map_or((None, None), |(data, revision)| (Some(data), revision));
    let mut history = world.history();
    let text = match (&data, revision) {
        (None, _) => format!("Secret {key} by {by:?}: gone"),
        (Some(_), Some(revision)) => format!("Secret {key} by {by:?}: revision {revision}"),
        (Some(_), None) => format!("Secret {key} by {by:?}: without revision"),
    };
    history.tell(at, None, text);
    history.outputs.entry(key.clone()).or_default().push(OutputNote {
        at,
        by,
        data,
        revision,
    });
}

/// Some backups are made in the middle of an exchange.
fn keep_as_backup(world: &World, dice: &mut Dice, subject: &Subject, bytes: &pki::Secret) {
    const MOST: usize = 4;
    let history = world.history();
    let last = history.records.get(subject).and_then(|notes| notes.last());
    let open = last
        .and_then(|note| note.state.facts())
        .is_some_and(|facts| facts.open.is_some());
    drop(history);
    if !open || !dice.random().chance(0.2) {
        return;
    }
    let now = world.now();
    let mut moving = world.moving();
    let backups = moving.open_backups.entry(subject.clone()).or_default();
    if backups.len() >= MOST {
        backups.pop_front();
    }
    backups.push_back((now, Arc::new(bytes.clone())));
}

/// Somebody changes what was written, and its writer is told so before its answer comes: when that is.
fn overtaken(world: &Arc<World>, dice: &mut Dice, key: &ObjectKey) -> Option<SignedDuration> {
    if !world.strikes(dice, Fault::AnswerOvertaken, 0.004) {
        return None;
    }
    let soon = SignedDuration::from_millis(dice.random().between(50, 500));
    spoil_later(world, soon, key, "kubectl-edit");
    Some(soon + SignedDuration::from_millis(dice.random().between(100, 20_000)))
}

/// Somebody spoils a value of a Secret after this time.
fn spoil_later(world: &Arc<World>, after: SignedDuration, key: &ObjectKey, who: &'static str) {
    let (later, key) = (Arc::clone(world), key.clone());
    world.clockwork.run_after(after, move || {
        later.people.edit_secret(&key, who, |secret| {
            let first = secret.data.keys().next().cloned();
            if let Some(first) = first {
                secret.data.insert(first, pki::Secret::new(b"mine".to_vec()));
            }
        });
        note_output(&later, By::People, &key);
    });
}

/// A writer that fights with us answers our write.
fn answer_in_a_fight(world: &Arc<World>, key: &ObjectKey) {
    let now = world.now();
    let fight = world
        .moving()
        .fights
        .get(key)
        .filter(|fight| fight.until > now)
        .cloned();
    let Some(fight) = fight else { return };
    spoil_later(world, fight.answer_after, key, "sidecar-operator");
}

/// The store's own answer, which in memory is there at once.
fn at_once<T>(answer: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    answer
        .now_or_never()
        .unwrap_or_else(|| Err(unavailable("the store")))
}

impl Store for SimStore {
    fn watch(&self) -> BoxStream<'static, Change> {
        let inner = Some(self.world.store.watch());
        let (world, process) = (Arc::clone(&self.world), self.process);
        Watch {
            world,
            process,
            inner,
            coming: VecDeque::new(),
            told: BTreeSet::new(),
            alarm: None,
        }
        .boxed()
    }

    fn attend(&self, inputs: BTreeSet<InputRef>, outputs: BTreeSet<ObjectKey>) {
        self.world.store.attend(inputs, outputs);
    }

    fn read_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, StoreResult<Option<Content>>> {
        let (place, key) = (secret_place(key), key.clone());
        self.read("read Secret", place, move |world, _| {
            at_once(world.store.read_secret(&key))
        })
    }

    fn read_input<'a>(
        &'a self,
        input: &'a InputRef,
    ) -> BoxFuture<'a, StoreResult<Option<BTreeMap<String, pki::Secret>>>> {
        let (place, input) = (format!("input {}", input.object), input.clone());
        self.read("read input", place, move |world, _| {
            at_once(world.store.read_input(&input))
        })
    }

    fn create_secret<'a>(&'a self, write: &'a SecretWrite) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let write = write.clone();
        self.write_secret("create Secret", write.key.clone(), move |world| {
            at_once(world.store.create_secret(&write))
        })
    }

    fn update_secret<'a>(
        &'a self,
        write: &'a SecretWrite,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let write = write.clone();
        self.write_secret("update Secret", write.key.clone(), move |world| {
            at_once(world.store.update_secret(&write, expected))
        })
    }

    fn release_secret<'a>(
        &'a self,
        release: &'a SecretRelease,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<SecretFacts>> {
        let release = release.clone();
        self.write_secret("release Secret", release.key.clone(), move |world| {
            at_once(world.store.release_secret(&release, expected))
        })
    }

    fn delete_secret<'a>(
        &'a self,
        key: &'a ObjectKey,
        uid: &'a str,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (key, uid, process) = (key.clone(), uid.to_owned(), self.process);
        self.write(
            "delete Secret",
            secret_place(&key.clone()),
            Conflicts::AtTimes,
            move |world, _| {
                at_once(world.store.delete_secret(&key, &uid, expected))?;
                note_output(world, By::Process(process), &key);
                Ok(())
            },
        )
    }

    fn read_record<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, StoreResult<Option<RecordSeen>>> {
        let (place, subject) = (record_place(subject), subject.clone());
        self.read("read record", place, move |world, dice| {
            let now = at_once(world.store.read_record(&subject))?;
            let since = world.now() - STALE;
            let before = world
                .moving()
                .before_last
                .get(&subject)
                .filter(|(at, _)| *at > since)
                .cloned();
            match before {
                Some((_, before)) if world.strikes(dice, Fault::StaleRead, 0.1) => Ok(Some(before)),
                _ => Ok(now),
            }
        })
    }

    fn write_record<'a>(
        &'a self,
        subject: &'a Subject,
        bytes: &'a pki::Secret,
        expected: Option<Version>,
    ) -> BoxFuture<'a, StoreResult<Version>> {
        let (subject, bytes, process) = (subject.clone(), bytes.clone(), self.process);
        let place = record_place(&subject);
        self.write("write record", place, Conflicts::AtTimes, move |world, dice| {
            let before = at_once(world.store.read_record(&subject))?;
            let version = at_once(world.store.write_record(&subject, &bytes, expected))?;
            if let Some(before) = before {
                let now = world.now();
                world.moving().before_last.insert(subject.clone(), (now, before));
            }
            world
                .history()
                .record(world.now(), By::Process(process), &subject, Some(bytes.expose()));
            keep_as_backup(world, dice, &subject, &bytes);
            Ok(version)
        })
    }

    fn delete_record<'a>(
        &'a self,
        subject: &'a Subject,
        expected: Version,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (subject, process) = (subject.clone(), self.process);
        let place = record_place(&subject);
        self.write("delete record", place, Conflicts::AtTimes, move |world, _| {
            at_once(world.store.delete_record(&subject, expected))?;
            world.moving().before_last.remove(&subject);
            world
                .history()
                .record(world.now(), By::Process(process), &subject, None);
            Ok(())
        })
    }

    fn write_status<'a>(
        &'a self,
        object: &'a ObjectKey,
        status: &'a Status,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (object, status) = (object.clone(), status.clone());
        self.write(
            "write status",
            object_place(&object.clone()),
            Conflicts::Never,
            move |world, _| at_once(world.store.write_status(&object, &status)),
        )
    }

    fn set_finalizer<'a>(
        &'a self,
        object: &'a ObjectKey,
        present: Presence,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let object = object.clone();
        self.write(
            "set finalizer",
            object_place(&object.clone()),
            Conflicts::Never,
            move |world, _| at_once(world.store.set_finalizer(&object, present)),
        )
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        object: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, StoreResult<()>> {
        let (object, annotations) = (object.clone(), annotations.clone());
        self.write(
            "annotate",
            object_place(&object.clone()),
            Conflicts::Never,
            move |world, _| at_once(world.store.annotate(kind, &object, &annotations)),
        )
    }

    fn emit<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, ()> {
        let subject = match event.kind {
            Kind::Issuer => Subject::Identity(event.object.clone()),
            Kind::Certificate => Subject::Certificate(event.object.clone()),
        };
        let (text, process) = (format!("Event {}: {}", event.reason, event.message), self.process);
        let place = format!("Events of {subject}");
        self.world
            .call(process, "emit Event", self.world.dice(place), move |world, _| {
                world.history().tell(world.now(), Some(subject), text);
                ((), SignedDuration::ZERO)
            })
            .boxed()
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        let moving = self.world.moving();
        moving
            .standings
            .get(self.process)
            .map(|standing| -standing.offset)
    }
}

/// A watch that is late, and lost at times.
struct Watch {
    world: Arc<World>,
    process: usize,
    inner: Option<BoxStream<'static, Change>>,
    coming: VecDeque<(Timestamp, Change)>,
    told: BTreeSet<Told>,
    alarm: Option<(Timestamp, Waker)>,
}

/// What a watch has told the existence of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Issuer(ObjectKey),
    Certificate(ObjectKey),
    Secret(ObjectKey),
    Input(InputRef),
    Record(Subject),
}

impl Told {
    fn of(change: &Change) -> Option<(Self, bool)> {
        Some(match change {
            Change::Issuer(key, now) => (Self::Issuer(key.clone()), now.is_some()),
            Change::Certificate(key, now) => (Self::Certificate(key.clone()), now.is_some()),
            Change::Secret(key, now) => (Self::Secret(key.clone()), now.is_some()),
            Change::Input(input, now) => (Self::Input(input.clone()), now.is_some()),
            Change::Record(subject, now) => (Self::Record(subject.clone()), now.is_some()),
            Change::Synced => return None,
        })
    }

    fn gone(self) -> Change {
        match self {
            Self::Issuer(key) => Change::Issuer(key, None),
            Self::Certificate(key) => Change::Certificate(key, None),
            Self::Secret(key) => Change::Secret(key, None),
            Self::Input(input) => Change::Input(input, None),
            Self::Record(subject) => Change::Record(subject, None),
        }
    }
}

impl Watch {
    fn lag(&self, change: &Change) -> SignedDuration {
        let now = self.world.now();
        let moving = self.world.moving();
        let late = moving
            .standings
            .get(self.process)
            .and_then(|s| s.watch_late)
            .filter(|(until, _)| *until > now);
        match late {
            Some((_, by)) => by,
            None => {
                let of = Told::of(change);
                let purpose = format!("watch {} {of:?} {}", self.process, now.as_nanosecond());
                SignedDuration::from_micros(self.world.stream(&purpose).between(300, 40_000))
            }
        }
    }

    /// Takes what the store has told into the line of what is coming.
    fn take_in(&mut self, context: &mut Context<'_>) {
        while let Some(inner) = &mut self.inner {
            match inner.poll_next_unpin(context) {
                Poll::Ready(Some(change)) => self.put(change),
                Poll::Ready(None) => self.inner = None,
                Poll::Pending => break,
            }
        }
    }

    fn put(&mut self, change: Change) {
        let at = self.world.now() + self.lag(&change);
        let at = self.coming.back().map_or(at, |(last, _)| at.max(*last));
        self.coming.push_back((at, change));
    }

    /// Lists everything again, and tells what has gone in the meantime.
    fn list_again(&mut self) {
        let mut inner = self.world.store.watch();
        let mut listed = Vec::new();
        while let Some(Some(change)) = inner.next().now_or_never() {
            let last = matches!(change, Change::Synced);
            listed.push(change);
            if last {
                break;
            }
        }
        let there: BTreeSet<Told> = listed
            .iter()
            .filter_map(Told::of)
            .filter(|t| t.1)
            .map(|t| t.0)
            .collect();
        let gone: Vec<Told> = self.told.difference(&there).cloned().collect();
        for told in gone {
            self.put(told.gone());
        }
        for change in listed {
            self.put(change);
        }
        self.inner = Some(inner);
    }

    fn lost(&mut self) -> Option<Timestamp> {
        self.world
            .moving()
            .standings
            .get(self.process)
            .and_then(|s| s.watch_lost)
    }

    fn wake_at(&mut self, at: Timestamp, context: &Context<'_>) {
        let set = self.alarm.as_ref();
        if set.is_some_and(|(time, waker)| *time == at && waker.will_wake(context.waker())) {
            return;
        }
        let waker = context.waker().clone();
        self.alarm = Some((at, waker.clone()));
        let wait = at.duration_since(self.world.now());
        self.world.clockwork.run_after(wait, move || waker.wake());
    }
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        let now = self.world.now();
        if let Some(until) = self.lost() {
            if until > now {
                self.inner = None;
                self.coming.clear();
                self.wake_at(until, context);
                return Poll::Pending;
            }
            if self.inner.is_none() {
                self.list_again();
            }
            if let Some(standing) = self.world.moving().standings.get_mut(self.process) {
                standing.watch_lost = None;
            }
        }
        self.take_in(context);
        match self.coming.front().map(|(at, _)| *at) {
            Some(at) if at <= now => {
                let Some((_, change)) = self.coming.pop_front() else {
                    return Poll::Pending;
                };
                if let Some((told, there)) = Told::of(&change) {
                    if there {
                        self.told.insert(told);
                    } else {
                        self.told.remove(&told);
                    }
                }
                Poll::Ready(Some(change))
            }
            Some(at) => {
                self.wake_at(at, context);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
