//! The manager: takes in changes, looks at subjects that want it, and does what the rules say.
//!
//! ```text
//!   watch ──> state ──> queue ──> look: observe, decide, act ... until nothing is left ──> report
//! ```
//!
//! One look at a subject runs at a time. A look may be dropped at any await; the next one goes on from the record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::model::certificate::Purpose;
use crate::model::object::ObjectKey;
use crate::model::plan::IssuerPlan;
use crate::model::reason::Reason;
use crate::reconcile::decide::{Decided, Decision, READ_AGAIN, RULES, Rule, decide};
use crate::reconcile::issuer::{MakeEngine, PrepareError, Problem, ReadyToUse, prepare};
use crate::reconcile::queue::Queue;
use crate::reconcile::report;
use crate::reconcile::state::State;
use crate::reconcile::world::{RecordFacts, Wish};
use crate::record::Record;
use crate::store::{Change, Event, Severity, Store, StoreError, Subject, Version};

/// Most steps of one look; a look that needs more goes on in the next one.
const MAX_STEPS: usize = 32;
/// How long after a repair its status is written.
const REPORT_AFTER_REPAIR: SignedDuration = SignedDuration::from_millis(500);
/// Least time between two times at which the store is told what to attend to.
const ATTEND_PAUSE: Duration = Duration::from_millis(50);
/// How often inputs that change while they are read are read in one look.
const MAX_READS: usize = 3;
/// How long a record stays without its Certificate.
const SWEEP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// How a manager works.
#[derive(Clone)]
pub struct Settings {
    /// occm's own namespace.
    pub home: String,
    /// Looks at one time.
    pub workers: usize,
    /// Names this process in transactions that it holds.
    pub holder: String,
    /// The rules.
    pub rules: &'static [Rule],
}

impl Settings {
    /// The defaults for a manager whose own namespace is `home`.
    pub fn new(home: &str, holder: &str) -> Self {
        Self {
            home: home.to_owned(),
            workers: 64,
            holder: holder.to_owned(),
            rules: RULES,
        }
    }
}

/// Whether this process may write and send.
pub type Fence = Arc<dyn Fn() -> bool + Send + Sync>;

/// Told of everything that happens, for metrics.
pub trait Observer: Send + Sync {
    /// Something happened to an object.
    fn event(&self, event: &Event);
    /// An exchange with a CA ended after so long.
    fn exchange(&self, issuer: &ObjectKey, outcome: Reason, took: SignedDuration);
    /// A rule decided something.
    fn decided(&self, _subject: &Subject, _decided: &Decided) {}
}

/// An observer that looks away.
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: &Event) {}
    fn exchange(&self, _: &ObjectKey, _: Reason, _: SignedDuration) {}
}

/// The manager.
pub struct Manager {
    pub(super) store: Arc<dyn Store>,
    pub(super) make_engine: MakeEngine,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) fence: Fence,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) random: Arc<dyn Fn() -> f64 + Send + Sync>,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    wake: Notify,
}

/// What a look carries from step to step.
#[derive(Default)]
pub(super) struct Work {
    /// The record as last read or written.
    pub(super) loaded: Option<(Version, Record)>,
    /// Whether an output was put back.
    pub(super) restored: bool,
}

/// What follows a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// Decide again.
    On,
    /// Nothing more now; look again then, besides at a change.
    Wait(Option<Timestamp>),
}

/// The manager's parts.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Makes engines.
    pub make_engine: MakeEngine,
    /// Our clock.
    pub clock: Clock,
    /// Whether this process may write and send.
    pub fence: Fence,
    /// Told of everything that happens.
    pub observer: Arc<dyn Observer>,
    /// Numbers from 0 to 1 by chance.
    pub random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Manager {
    /// A manager that has seen nothing yet.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let Parts {
            store,
            make_engine,
            clock,
            fence,
            observer,
            random,
        } = parts;
        let state = Mutex::new(State::new(&settings.home));
        let (queue, wake) = (Mutex::new(Queue::default()), Notify::new());
        Self {
            store,
            make_engine,
            clock,
            settings,
            fence,
            observer,
            random,
            state,
            queue,
            wake,
        }
    }

    /// Runs until `stop` turns true; looks that are going on are dropped then.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) -> Result<(), tokio::task::JoinError> {
        let mut changes = self.store.watch().ready_chunks(256);
        let mut looks = JoinSet::new();
        let (mut attended_at, mut behind, mut evaluated) = (Instant::now(), false, false);
        loop {
            // What exists is not all told before it is attended to; later a moment's delay saves a lot of copies.
            if behind && (!self.state().synced || attended_at.elapsed() >= ATTEND_PAUSE) {
                self.attend();
                (attended_at, behind) = (Instant::now(), false);
            }
            while looks.len() < self.settings.workers {
                let Some(subject) = self.take_due() else { break };
                let manager = Arc::clone(&self);
                looks.spawn(async move { manager.look(&subject).await });
            }
            if !evaluated && looks.is_empty() && self.is_idle() {
                evaluated = true;
                let state = self.state();
                let (issuers, certificates) = (state.issuers.len(), state.certificates.len());
                tracing::info!(issuers, certificates, "everything was looked at");
            }
            let mut sleep = self.until_next_due(looks.len());
            if behind {
                sleep = sleep.min(ATTEND_PAUSE);
            }
            tokio::select! {
                some = changes.next() => match some {
                    Some(some) => {
                        some.into_iter().for_each(|change| self.take_in(change));
                        behind = true;
                    }
                    None => return Ok(()),
                },
                Some(ended) = looks.join_next() => ended?,
                () = tokio::time::sleep(sleep) => {}
                () = self.wake.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Takes in a change.
    pub fn take_in(&self, change: Change) {
        let woken = self.state().apply(change);
        let now = self.clock.now();
        {
            let mut queue = self.queue();
            woken.iter().for_each(|subject| queue.add(subject.clone(), now));
        }
        // After the queue: an exchange that begins to listen looks there first.
        let state = self.state();
        woken.iter().for_each(|subject| state.tell_exchange(subject));
    }

    /// Tells the store what the wishes read and where outputs shall go, if that changed.
    pub fn attend(&self) {
        let attended = self.state().attended_if_changed();
        if let Some((inputs, outputs)) = attended {
            self.store.attend(inputs, outputs);
            let woken = self.state().set_polled(self.store.polled());
            let now = self.clock.now();
            let mut queue = self.queue();
            woken.into_iter().for_each(|subject| queue.add(subject, now));
        }
    }

    /// The next subject that is due, once everything that exists is known.
    pub fn take_due(&self) -> Option<Subject> {
        if !self.state().synced {
            return None;
        }
        self.queue().take(self.clock.now())
    }

    /// When the next subject is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue().next_due()
    }

    fn until_next_due(&self, running: usize) -> Duration {
        let longest = Duration::from_secs(3600);
        if running >= self.settings.workers || !self.state().synced {
            return longest;
        }
        let Some(next) = self.next_due() else {
            return longest;
        };
        let wait = next.duration_since(self.clock.now());
        Duration::try_from(wait).unwrap_or(Duration::ZERO).min(longest)
    }

    /// Whether everything that exists was looked at and nothing is due now.
    pub fn is_idle(&self) -> bool {
        let synced = self.state().synced;
        let queue = self.queue();
        synced && queue.running() == 0 && queue.next_due().is_none_or(|due| due > self.clock.now())
    }

    /// Looks at a subject until nothing is left to be done now.
    pub async fn look(&self, subject: &Subject) {
        let next = self.steps(subject).await;
        self.pass_turn(subject);
        let mut queue = self.queue();
        queue.done(subject);
        if let Some(next) = next {
            queue.add(subject.clone(), next);
        }
        drop(queue);
        self.wake.notify_one();
    }

    async fn steps(&self, subject: &Subject) -> Option<Timestamp> {
        let mut work = Work::default();
        for _ in 0..MAX_STEPS {
            match self.step(subject, &mut work).await {
                Ok(Go::On) => {}
                Ok(Go::Wait(until)) => {
                    if let Some(memory) = self.state().memory.get_mut(subject) {
                        memory.store_failures = 0;
                    }
                    // A time that is past must not make a busy loop.
                    let now = self.clock.now();
                    return until.map(|until| {
                        if until > now {
                            until
                        } else {
                            now + SignedDuration::from_secs(1)
                        }
                    });
                }
                Err(error) => return Some(self.store_failed(subject, &error)),
            }
        }
        Some(self.clock.now() + SignedDuration::from_secs(1))
    }

    async fn step(&self, subject: &Subject, work: &mut Work) -> Result<Go, StoreError> {
        self.prepare_issuer(subject).await;
        let Some(decision) = self.decide(subject) else {
            return self.gone(subject).await;
        };
        if matches!(decision, Decision::Issue { .. })
            && let Some(go) = self.await_outputs(subject).await
        {
            return Ok(go);
        }
        if let Some(go) = self.await_record(subject, &decision) {
            return Ok(go);
        }
        match decision {
            Decision::Repair { output, kind, why } => {
                work.restored |= matches!(why, Reason::OutputChanged | Reason::OutputDeleted);
                self.repair(subject, work, output, kind, why).await
            }
            // Thousands may want to be put back: that comes before telling of it.
            Decision::Blocked { .. } | Decision::Nothing { .. } if work.restored => {
                Ok(Go::Wait(Some(self.clock.now() + REPORT_AFTER_REPAIR)))
            }
            Decision::Rebuild { output } => self.rebuild(subject, output).await,
            Decision::Adopt { output } => self.adopt(subject, output).await,
            Decision::Resume => self.resume(subject, work).await,
            Decision::Abandon { why, possible_orphan } => {
                self.abandon(subject, work, why, possible_orphan).await
            }
            Decision::Issue { why, how } => self.issue(subject, work, why, how).await,
            Decision::Revoke => self.revoke(subject, work).await,
            Decision::Tidy => self.tidy(subject, work).await,
            Decision::Hold(presence) => self.hold(subject, presence).await,
            Decision::Finalize(step) => self.finalize(subject, work, step).await,
            Decision::Blocked { reason, until } => {
                self.report(subject, Some(reason), until).await?;
                Ok(Go::Wait(until))
            }
            Decision::Nothing { until } => {
                self.report(subject, None, None).await?;
                Ok(Go::Wait(until))
            }
        }
    }

    /// What is to be done now; `None` = nothing is left but a record.
    pub(super) fn decide(&self, subject: &Subject) -> Option<Decision> {
        let (now, offset) = (self.clock.now(), self.store.clock_offset());
        let decided = self
            .state()
            .with_world(subject, now, offset, |world| match world.wish {
                Wish::Gone if world.record.is_some() => None,
                _ => Some(decide(self.settings.rules, world)),
            })?;
        tracing::debug!(%subject, rule = decided.rule, decision = ?decided.decision, "decided");
        self.observer.decided(subject, &decided);
        Some(decided.decision)
    }

    /// A record without its object is swept after a day, not at once: a restore may bring the object back.
    async fn gone(&self, subject: &Subject) -> Result<Go, StoreError> {
        let now = self.clock.now();
        let (since, version) = {
            let mut state = self.state();
            let since = *state.memory(subject).orphaned_since.get_or_insert(now);
            (since, state.records.get(subject).map(|record| record.version))
        };
        let due = since + SWEEP_AFTER;
        if due > now {
            return Ok(Go::Wait(Some(due)));
        }
        if let Some(version) = version
            && self.may_act()
        {
            self.store.delete_record(subject, version).await?;
            self.state().deleted_record(subject);
        }
        Ok(Go::Wait(None))
    }

    /// Reads the inputs of the subject's Issuer, if they changed since they were read.
    async fn prepare_issuer(&self, subject: &Subject) {
        for _ in 0..MAX_READS {
            let Some((plan, changes)) = self.to_prepare(subject) else {
                return;
            };
            let prepared = prepare(self.store.as_ref(), Arc::clone(&plan), &self.make_engine).await;
            let ready = match prepared {
                Ok(ready) => Ok(Arc::new(ready)),
                Err(PrepareError::Problem(problem)) => Err(problem),
                Err(PrepareError::Store(error)) => {
                    tracing::warn!(issuer = %plan.key, %error, "inputs of the Issuer could not be read");
                    return;
                }
            };
            self.prepared(&plan, changes, ready);
        }
    }

    /// The plan of the subject's Issuer, if its inputs are to be read, and how often they have changed.
    fn to_prepare(&self, subject: &Subject) -> Option<(Arc<IssuerPlan>, u64)> {
        let state = self.state();
        let key = state.issuer_of(subject)?;
        let entry = state.issuers.get(&key)?;
        match (&entry.plan, &entry.ready) {
            (Ok(plan), None) => Some((Arc::clone(plan), entry.input_changes)),
            // Nobody tells when a program is installed.
            (Ok(plan), Some(Err(problem)))
                if problem.reason == Reason::EngineUnavailable
                    && entry
                        .prepared
                        .is_none_or(|at| at + READ_AGAIN <= self.clock.now()) =>
            {
                Some((Arc::clone(plan), entry.input_changes))
            }
            _ => None,
        }
    }

    /// Takes in what was made of a plan, unless the plan or its inputs changed meanwhile.
    fn prepared(&self, plan: &Arc<IssuerPlan>, changes: u64, ready: Result<Arc<ReadyToUse>, Problem>) {
        let mut state = self.state();
        if let Some(entry) = state.issuers.get_mut(&plan.key)
            && entry.plan.as_ref().is_ok_and(|now| Arc::ptr_eq(now, plan))
            && !matches!(entry.ready, Some(Ok(_)))
            && entry.input_changes == changes
        {
            let read = ready.as_ref().ok().map(|ready| ready.inputs.clone());
            entry.ready = Some(ready);
            entry.prepared = Some(self.clock.now());
            state.know_inputs(read.unwrap_or_default());
        }
    }

    fn store_failed(&self, subject: &Subject, error: &StoreError) -> Timestamp {
        let mut state = self.state();
        state.lost.hindered(subject);
        let memory = state.memory(subject);
        memory.store_failures = memory.store_failures.saturating_add(1);
        let failures = memory.store_failures;
        drop(state);
        let wait = match error {
            StoreError::Conflict(_) | StoreError::NotFound(_) if failures < 5 => {
                SignedDuration::from_millis(20)
            }
            StoreError::Forbidden(..) | StoreError::Terminating(_) | StoreError::Refused(..) => {
                SignedDuration::from_secs(30)
            }
            StoreError::Conflict(_)
            | StoreError::NotFound(_)
            | StoreError::Unavailable(..)
            | StoreError::Malformed(..)
            | StoreError::LeaseLost => SignedDuration::from_millis(200 << failures.min(5)),
        };
        if !matches!(error, StoreError::Conflict(_)) || failures > 5 {
            tracing::warn!(%subject, %error, reason = %Reason::StoreFailed, "store call failed");
        }
        let spread = wait.as_secs_f64() / 4.0 * (self.random)();
        self.clock.now() + wait + SignedDuration::try_from_secs_f64(spread).unwrap_or(SignedDuration::ZERO)
    }

    /// Loads the record, unless this look has it already. One that is not the one that was decided on is a conflict.
    pub(super) async fn load<'w>(
        &self,
        subject: &Subject,
        work: &'w mut Work,
    ) -> Result<&'w mut (Version, Record), StoreError> {
        let known = self.state().records.get(subject).map(|facts| facts.version);
        let fresh = work
            .loaded
            .as_ref()
            .is_some_and(|(version, _)| Some(*version) == known);
        if !fresh {
            let seen = self.store.read_record(subject).await?;
            let Some(seen) = seen else {
                self.state().lost_record(subject);
                return Err(StoreError::NotFound(format!("record of {subject}")));
            };
            let mut record = Record::from_bytes(seen.bytes.expose())
                .map_err(|error| StoreError::Malformed(format!("record of {subject}"), error.to_string()))?;
            if known.is_some_and(|known| seen.version < known) {
                // Older than what we wrote or saw: nothing is decided on it.
                return Err(StoreError::Conflict(format!("record of {subject}")));
            }
            self.state().spent.merge(subject, &mut record.ledger.transactions);
            if Some(seen.version) != known {
                // Newer than what the decision was taken on, which is taken anew.
                self.state()
                    .set_record(subject, Some(RecordFacts::of(&record, seen.version)));
                return Err(StoreError::Conflict(format!("record of {subject}")));
            }
            work.loaded = Some((seen.version, record));
        }
        work.loaded
            .as_mut()
            .ok_or_else(|| StoreError::NotFound(format!("record of {subject}")))
    }

    /// A first record, or one in the place of one that is lost: what was spent stays spent.
    pub(super) fn fresh_record(&self, subject: &Subject) -> Record {
        let mut record = Record::default();
        self.state().spent.merge(subject, &mut record.ledger.transactions);
        record
    }

    /// Writes the record by compare-and-swap.
    pub(super) async fn save(
        &self,
        subject: &Subject,
        work: &mut Work,
        record: Record,
        expected: Option<Version>,
    ) -> Result<Version, StoreError> {
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        let written = self
            .store
            .write_record(subject, &record.to_bytes(), expected)
            .await;
        match written {
            Ok(version) => {
                self.wake_all(
                    self.state()
                        .set_record(subject, Some(RecordFacts::of(&record, version))),
                    subject,
                );
                work.loaded = Some((version, record));
                Ok(version)
            }
            Err(error) => {
                work.loaded = None;
                if matches!(error, StoreError::Conflict(_) | StoreError::NotFound(_))
                    && let Ok(seen) = self.store.read_record(subject).await
                {
                    let mut state = self.state();
                    let facts = seen.map(|seen| state.read_record(subject, &seen));
                    state.set_record(subject, facts);
                }
                Err(error)
            }
        }
    }

    pub(super) fn next_revision(&self, subject: &Subject) -> u64 {
        let now = self.clock.now();
        self.state()
            .with_world(subject, now, None, |world| world.next_revision())
    }

    pub(super) fn wake_all(&self, woken: std::collections::BTreeSet<Subject>, except: &Subject) {
        let now = self.clock.now();
        let mut queue = self.queue();
        for subject in woken.into_iter().filter(|subject| subject != except) {
            queue.add(subject, now);
        }
    }

    /// Wants a look at a subject then.
    pub(super) fn wake_at(&self, subject: Subject, when: Timestamp) {
        self.queue().add(subject, when);
        self.wake.notify_one();
    }

    /// Whether something was told of a subject since its look began.
    pub(super) fn was_told(&self, subject: &Subject) -> bool {
        self.queue().is_due(subject, self.clock.now())
    }

    /// Whether this process still holds the lease.
    pub(super) fn may_act(&self) -> bool {
        (self.fence)()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the status of the subject's object, if it changed, and tells of a new reason.
    pub(super) async fn report(
        &self,
        subject: &Subject,
        blocked: Option<Reason>,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let offset = self.store.clock_offset();
        let Some(report) = report::report(&mut self.state(), subject, now, offset, blocked, until) else {
            return Ok(());
        };
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        self.store.write_status(subject.key(), &report.status).await?;
        self.state().set_status(subject, report.status);
        self.wake_checked(subject);
        for event in report.events {
            self.emit(event).await;
        }
        Ok(())
    }

    /// An Issuer says what its health check came to.
    fn wake_checked(&self, subject: &Subject) {
        let issuer = self
            .state()
            .plan(subject)
            .filter(|plan| plan.purpose == Purpose::HealthCheck)
            .map(|plan| plan.issuer.clone());
        if let (Subject::Certificate(_), Some(issuer)) = (subject, issuer) {
            let now = self.clock.now();
            self.queue().add(Subject::Identity(issuer), now);
            self.wake.notify_one();
        }
    }

    /// Tells people of something that happened.
    pub(super) async fn tell(&self, subject: &Subject, severity: Severity, reason: Reason, message: String) {
        let uid = self.state().uid(subject);
        let (kind, object) = (subject.kind(), subject.key().clone());
        let message = crate::model::condition::cut(message, crate::model::condition::MESSAGE_BYTES);
        self.emit(Event {
            kind,
            object,
            uid,
            severity,
            reason,
            message,
            time: self.clock.now(),
        })
        .await;
    }

    async fn emit(&self, event: Event) {
        match event.severity {
            Severity::Normal => {
                tracing::info!(kind = %event.kind, object = %event.object, reason = %event.reason, "{}", event.message);
            }
            Severity::Warning => {
                tracing::warn!(kind = %event.kind, object = %event.object, reason = %event.reason, "{}", event.message);
            }
        }
        self.observer.event(&event);
        self.store.emit(&event).await;
    }
}
