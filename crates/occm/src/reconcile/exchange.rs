//! Exchanges with a CA: begun, gone on with, given up; each step recorded before the next byte leaves.
//!
//! ```text
//!   key ──> record{open: sent} ──> CA ──> every check ──> record{current: new, open: issued} ──> certConf
//!                                  │
//!                                  ├── waiting ──> record{open: polling} ──> later
//!                                  ├── no answer ──> the same bytes again, then a possible orphan
//!                                  └── refused, or a check failed ──> record{failure} ──> by the schedule
//! ```

mod credentials;
mod outcome;
mod revoke;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cmp::{
    Class, CmpError, Context, Credentials, Enrolment, EnrolmentKind, ErrorKind, Outcome, Request, Stage,
    Step, Transaction,
};
use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use pki::PrivateKey;
use tokio::sync::Notify;

use crate::model::issuer::{Confirmation, EnrolmentMessage};
use crate::model::object::ObjectKey;
use crate::model::plan::CertificatePlan;
use crate::model::plan::certificate::KeyRotation;
use crate::model::reason::Reason;
use crate::reconcile::decide::How;
use crate::reconcile::exchange::credentials::{open_signer, signer};
use crate::reconcile::issuer::ReadyToUse;
use crate::reconcile::manager::{Go, Manager, Work};
use crate::reconcile::pace::{Pace, Rank, Wait};
use crate::record::{FailureClass, Issued, Open, OpenPurpose, Phase, Record, StoredKey};
use crate::store::{Seen, Severity, StoreError, Subject, Version};

/// How long somebody stands in line for a turn before it looks by itself. Who is called comes at once; this is for a call
/// that got lost, and thousands may stand in line while a CA is down for a day.
const LOOK_FROM_THE_LINE: SignedDuration = SignedDuration::from_mins(20);

/// A turn at the CA with a slot for one message at a time; ends when dropped.
pub(super) struct Turn<'m> {
    manager: &'m Manager,
    issuer: ObjectKey,
    /// Slots that are held for messages that have not left yet: one or none.
    held: AtomicUsize,
}

impl Turn<'_> {
    fn pace<T>(&self, ask: impl FnOnce(&mut Pace, Timestamp) -> T) -> Option<T> {
        let now = self.manager.clock.now();
        let mut state = self.manager.state();
        let pace = &mut state.issuers.get_mut(&self.issuer)?.pace;
        Some(ask(pace, now))
    }

    /// Whether the next message may leave: a slot is held, or there is one.
    pub(super) fn has_slot(&self) -> bool {
        if self.held.load(Ordering::Relaxed) == 0 && self.pace(Pace::again) == Some(true) {
            self.held.store(1, Ordering::Relaxed);
        }
        self.held.load(Ordering::Relaxed) > 0
    }

    /// The message of the held slot leaves now.
    pub(super) fn sent(&self) {
        if self.held.swap(0, Ordering::Relaxed) > 0 {
            self.pace(Pace::sent);
            self.manager.call_next(&self.issuer);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let unused = self.held.load(Ordering::Relaxed);
        self.pace(|pace, _| pace.end(unused));
        self.manager.call_next(&self.issuer);
    }
}

/// Everything of an exchange that does not change while it goes on.
pub(super) struct Exchange<'m> {
    turn: Turn<'m>,
    plan: Arc<CertificatePlan>,
    ready: Arc<ReadyToUse>,
    credentials: Arc<Credentials>,
    key: Option<PrivateKey>,
    /// The request may have reached the CA before.
    repeats: bool,
}

impl Exchange<'_> {
    pub(super) fn context(&self, now: Timestamp) -> Context<'_> {
        Context {
            credentials: &self.credentials,
            peer: &self.ready.peer,
            key: self.key.as_ref(),
            now,
        }
    }
}

impl Manager {
    /// Gets a certificate: makes a key, records, sends.
    pub(super) async fn issue(
        &self,
        subject: &Subject,
        work: &mut Work,
        why: Reason,
        how: How,
    ) -> Result<Go, StoreError> {
        let Some((plan, ready)) = self.parts(subject) else {
            return Ok(Go::Wait(None));
        };
        let turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(wait) => return Ok(self.wait_for(wait)),
        };
        let (expected, record) = self.record_to_extend(subject, work).await?;
        if record
            .open
            .as_ref()
            .is_some_and(|open| open.phase != Phase::Issued)
        {
            // The decision was taken on an older record; a transaction is never written over.
            return Ok(Go::On);
        }
        let key = match self.key_for(&plan, &record, how, why).await {
            Ok(key) => key,
            Err(error) => return self.fail_to_begin(subject, work, record, expected, &error).await,
        };
        let begun = self
            .begin(subject, (turn, &plan, &ready), &record, key, how)
            .await?;
        let (exchange, transaction) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.fail_to_begin(subject, work, record, expected, &error).await,
        };
        let stored = match exchange.key.as_ref().map(StoredKey::of).transpose() {
            Ok(stored) => stored,
            Err(error) => {
                let error = CmpError::new(Stage::Preparing, ErrorKind::Pki(error));
                return self.fail_to_begin(subject, work, record, expected, &error).await;
            }
        };
        let now = self.clock.now();
        let resumes = ready.engine.capabilities().resumes;
        let mut record = record;
        record.ledger.prune(now);
        record.ledger.transactions.push(now);
        record.open = Some(Open {
            phase: if resumes { Phase::Sent } else { Phase::Started },
            transaction,
            purpose: OpenPurpose::Enrol,
            key: stored,
            wish: Some(plan.wish()),
            why,
            started_at: now,
            not_before: None,
            confirm_by: None,
            issuer: plan.issuer.clone(),
            endpoint: ready.plan.url.clone(),
            recipient: self.recipient(&plan.issuer),
            signer: signer(&exchange.credentials),
            holder: self.settings.holder.clone(),
        });
        self.save(subject, work, record, expected).await?;
        self.drive(subject, work, &exchange).await
    }

    /// Goes on with the open transaction.
    pub(super) async fn resume(&self, subject: &Subject, work: &mut Work) -> Result<Go, StoreError> {
        let Some((plan, ready)) = self.parts(subject) else {
            return Ok(Go::Wait(None));
        };
        let turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(wait) => return Ok(self.wait_for(wait)),
        };
        let (version, record) = self.load(subject, work).await?;
        let (version, mut record) = (*version, record.clone());
        let Some(open) = &mut record.open else {
            return Ok(Go::On);
        };
        let key = open.key.as_ref().and_then(|stored| stored.key().ok());
        let repeats = open.phase == Phase::Sent;
        let credentials = self
            .credentials_named(subject, &ready, &record, open_signer(&record))
            .await?;
        let Some(credentials) = credentials else {
            return self.abandon(subject, work, Reason::PossibleOrphan, true).await;
        };
        let exchange = Exchange {
            turn,
            plan,
            ready,
            credentials,
            key,
            repeats,
        };
        if let Some(open) = &mut record.open
            && open.holder != self.settings.holder
        {
            open.holder.clone_from(&self.settings.holder);
            self.save(subject, work, record, Some(version)).await?;
        }
        self.drive(subject, work, &exchange).await
    }

    /// Gives the open transaction up.
    pub(super) async fn abandon(
        &self,
        subject: &Subject,
        work: &mut Work,
        why: Reason,
        possible_orphan: bool,
    ) -> Result<Go, StoreError> {
        let (version, record) = self.load(subject, work).await?;
        let (version, mut record) = (*version, record.clone());
        let Some(open) = record.open.take() else {
            return Ok(Go::On);
        };
        if possible_orphan {
            record.ledger.possible_orphans += 1;
        }
        self.save(subject, work, record, Some(version)).await?;
        if possible_orphan {
            let message = format!(
                "a request begun at {:.0} was given up ({why}); {} may have issued a certificate that nobody uses",
                open.started_at, open.endpoint
            );
            self.tell(subject, Severity::Warning, Reason::PossibleOrphan, message)
                .await;
        }
        Ok(Go::On)
    }

    /// The checked wish and the Issuer with its inputs.
    fn parts(&self, subject: &Subject) -> Option<(Arc<CertificatePlan>, Arc<ReadyToUse>)> {
        let mut state = self.state();
        let plan = state.plan(subject)?;
        let ready = state.issuers.get(&plan.issuer)?.ready.as_ref()?.as_ref().ok()?;
        let ready = Arc::clone(ready);
        // A failure is one of what was tried, not of what may be so by then.
        let attempt = state.attempt_hash_now(subject);
        state.memory(subject).attempt = Some(attempt);
        Some((plan, ready))
    }

    fn recipient(&self, issuer: &ObjectKey) -> Option<String> {
        match &self.state().issuers.get(issuer)?.seen {
            Seen::Object(object) => object.spec.recipient.clone(),
            Seen::Broken(_) => None,
        }
    }

    fn turn(&self, subject: &Subject, issuer: &ObjectKey) -> Result<Turn<'_>, Wait> {
        let now = self.clock.now();
        let mut state = self.state();
        let record = state.records.get(subject);
        let rank = match (subject, record.and_then(|record| record.current.as_ref())) {
            (Subject::Identity(_), _) => Rank(i64::MIN),
            // What is begun is brought to its end first: a confirmation has a time limit.
            _ if record.is_some_and(|record| record.open.is_some()) => Rank(i64::MIN + 1),
            (Subject::Certificate(_), None) => Rank(i64::MIN / 2),
            (Subject::Certificate(_), Some(current)) => Rank(current.not_after.as_second()),
        };
        let not_after = record.and_then(|record| record.not_after());
        let Some(entry) = state.issuers.get_mut(issuer) else {
            return Err(Wait::Turn);
        };
        let begun = entry.pace.begin(subject, rank, not_after, now);
        drop(state);
        if let Err(wait) = begun {
            self.call_next(issuer);
            return Err(wait);
        }
        Ok(Turn {
            manager: self,
            issuer: issuer.clone(),
            held: AtomicUsize::new(1),
        })
    }

    /// Whoever has no turn stands in line and is called; it looks by itself once in a while all the same.
    fn wait_for(&self, wait: Wait) -> Go {
        let until = match wait {
            Wait::Turn => self.clock.now() + LOOK_FROM_THE_LINE,
            Wait::Until(until) => until,
        };
        Go::Wait(Some(until))
    }

    /// Calls those whose turn it is at a CA.
    pub(super) fn call_next(&self, issuer: &ObjectKey) {
        let now = self.clock.now();
        let called = {
            let mut state = self.state();
            let Some(entry) = state.issuers.get_mut(issuer) else {
                return;
            };
            let called = entry.pace.call(now);
            for (subject, _) in &called {
                state.called.insert(subject.clone(), issuer.clone());
            }
            called
        };
        for (subject, at) in called {
            self.wake_at(subject, at);
        }
    }

    /// A look is over: if the subject was called and took no turn, the next one is called.
    pub(super) fn pass_turn(&self, subject: &Subject) {
        let issuer = {
            let mut state = self.state();
            let Some(issuer) = state.called.remove(subject) else {
                return;
            };
            if let Some(entry) = state.issuers.get_mut(&issuer) {
                entry.pace.passed(subject);
            }
            issuer
        };
        self.call_next(&issuer);
    }

    /// The record to add a transaction to: the one there is, or a first one.
    async fn record_to_extend(
        &self,
        subject: &Subject,
        work: &mut Work,
    ) -> Result<(Option<Version>, Record), StoreError> {
        let known = self.state().records.get(subject).map(|facts| facts.version);
        let Some(known) = known else {
            return Ok((None, self.fresh_record(subject)));
        };
        match self.load(subject, work).await {
            Ok((version, record)) => Ok((Some(*version), record.clone())),
            Err(StoreError::NotFound(_)) => Ok((None, self.fresh_record(subject))),
            // Nobody can read it, and no good copy exists: a new one takes its place.
            Err(StoreError::Malformed(..)) => Ok((Some(known), self.fresh_record(subject))),
            Err(error) => Err(error),
        }
    }

    async fn key_for(
        &self,
        plan: &CertificatePlan,
        record: &Record,
        how: How,
        why: Reason,
    ) -> Result<PrivateKey, CmpError> {
        let keep = plan.rotation == KeyRotation::Never
            && !matches!(why, Reason::RecreateRequested | Reason::RevokeRequested);
        let kept = record
            .current
            .as_ref()
            .filter(|_| keep)
            .and_then(|issued| issued.key.as_ref());
        if let Some(key) = kept.and_then(|stored| stored.key().ok())
            && key.algorithm() == plan.key_algorithm
            && matches!(how, How::Enrol | How::Update)
        {
            return Ok(key);
        }
        let algorithm = plan.key_algorithm;
        let made = if algorithm.is_rsa() {
            tokio::task::spawn_blocking(move || PrivateKey::generate(algorithm))
                .await
                .map_err(|_| CmpError::settings("key generation was stopped"))?
        } else {
            PrivateKey::generate(algorithm)
        };
        made.map_err(|error| CmpError::new(Stage::Preparing, ErrorKind::Pki(error)))
    }

    /// Makes the transaction; nothing is sent.
    async fn begin<'m>(
        &'m self,
        subject: &Subject,
        (turn, plan, ready): (Turn<'m>, &Arc<CertificatePlan>, &Arc<ReadyToUse>),
        record: &Record,
        key: PrivateKey,
        how: How,
    ) -> Result<Result<(Exchange<'m>, Transaction), CmpError>, StoreError> {
        let (kind, credentials) = match how {
            How::Update => self.update_parts(subject, ready, record).await?,
            How::Enrol => {
                let kind = match (subject, ready.plan.enrolment) {
                    (Subject::Identity(_), _) | (_, EnrolmentMessage::IR) => EnrolmentKind::Initialization,
                    (_, EnrolmentMessage::CR) => EnrolmentKind::Certification,
                    (_, EnrolmentMessage::P10CR) => EnrolmentKind::Pkcs10,
                };
                (Some(kind), self.fresh_credentials(subject, ready, record).await?)
            }
        };
        let (Some(kind), Some(credentials)) = (kind, credentials) else {
            return Ok(Err(CmpError::settings(
                "there is nothing to sign the request with",
            )));
        };
        let enrolment = Enrolment {
            kind,
            template: plan.template.clone(),
            implicit_confirm: ready.plan.confirmation == Confirmation::Implicit,
            profile: ready.plan.profile.clone(),
        };
        let exchange = Exchange {
            turn,
            plan: Arc::clone(plan),
            ready: Arc::clone(ready),
            credentials,
            key: Some(key),
            repeats: false,
        };
        let begun = ready
            .engine
            .begin(&Request::enrol(enrolment), &exchange.context(self.clock.now()));
        Ok(begun.map(|transaction| (exchange, transaction)))
    }

    /// Sends and takes answers until the exchange ends, waits or fails.
    async fn drive(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange<'_>,
    ) -> Result<Go, StoreError> {
        let started = self.clock.now();
        loop {
            if !exchange.turn.has_slot() {
                // The record says how to go on, in a turn of its own.
                return Ok(Go::On);
            }
            let Some((version, mut record)) = work.loaded.take() else {
                return Ok(Go::On);
            };
            let Some(open) = &mut record.open else {
                return Ok(Go::On);
            };
            if !self.may_act() {
                return Err(StoreError::LeaseLost);
            }
            let now = self.clock.now();
            let due = open.transaction.wait_until().is_some_and(|until| until <= now);
            let result = match due.then(|| open.transaction.prepare(&exchange.context(now))) {
                // A poll is recorded before it leaves, as any message: the CA takes the same one again, and no other.
                Some(Ok(_)) => {
                    self.save(subject, work, record, Some(version)).await?;
                    continue;
                }
                Some(Err(error)) => Err(error),
                None => {
                    let copies = [record.current.as_ref(), record.previous.as_ref()];
                    self.send(subject, exchange, &mut open.transaction, copies).await
                }
            };
            let clock = open.transaction.peer_clock();
            self.note_contact(&exchange.plan.issuer, result.as_ref().err(), clock);
            let confirming = open.phase == Phase::Issued;
            match result {
                Ok(Step::Send) => {
                    self.save(subject, work, record, Some(version)).await?;
                }
                Ok(Step::Wait { until }) => {
                    open.not_before = Some(until);
                    if !confirming {
                        open.phase = Phase::Polling;
                    }
                    self.save(subject, work, record, Some(version)).await?;
                    return Ok(Go::On);
                }
                Ok(Step::Issued(answer)) => {
                    let go = self
                        .take_answer(subject, work, exchange, record, version, *answer)
                        .await?;
                    if let Some(go) = go {
                        return Ok(go);
                    }
                }
                Ok(Step::Done(Outcome::Confirmed)) => return self.confirmed(subject, work, record, version),
                Ok(Step::Done(_)) => return Ok(Go::On),
                Err(error) if confirming => {
                    return self
                        .confirmation_failed(subject, work, record, version, error)
                        .await;
                }
                Err(error) => {
                    let took = self.clock.now().duration_since(started);
                    self.observer
                        .exchange(&exchange.plan.issuer, reason_of(&error), took);
                    return self
                        .exchange_failed(subject, work, exchange, record, version, error)
                        .await;
                }
            }
        }
    }

    /// One round. A CA that takes its time holds back no repair.
    async fn send(
        &self,
        subject: &Subject,
        exchange: &Exchange<'_>,
        transaction: &mut Transaction,
        copies: [Option<&Issued>; 2],
    ) -> Result<Step, CmpError> {
        let changed = Arc::new(Notify::new());
        self.state().memory(subject).changed = Some(Arc::clone(&changed));
        // What was told while the request was made ready woke nobody.
        if self.was_told(subject) {
            changed.notify_one();
        }
        let context = exchange.context(self.clock.now());
        exchange.turn.sent();
        let mut answer = exchange.ready.engine.exchange(transaction, &context);
        let step = loop {
            match select(answer, pin!(changed.notified())).await {
                Either::Left((step, _)) => break step,
                Either::Right(((), waiting)) => answer = waiting,
            }
            self.repair_meanwhile(subject, copies).await;
        };
        self.state().memory(subject).changed = None;
        step
    }

    /// Tells the breaker and remembers the CA's clock: what a refused messageTime says, or what the answer itself told.
    fn note_contact(&self, issuer: &ObjectKey, error: Option<&CmpError>, clock: Option<Timestamp>) {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(entry) = state.issuers.get_mut(issuer) else {
            return;
        };
        match error.map(|error| &error.kind) {
            Some(ErrorKind::Transport { .. }) => entry.pace.missed(now),
            Some(ErrorKind::MessageTime { seconds }) => {
                entry.clock_offset = Some((SignedDuration::from_secs(*seconds), now));
                entry.pace.reached();
            }
            Some(_) | None => {
                entry.pace.reached();
                entry.last_contact = Some(now);
                match clock {
                    Some(clock) => entry.clock_offset = Some((clock.duration_since(now), now)),
                    None if error.is_none() => entry.clock_offset = None,
                    None => {}
                }
            }
        }
    }
}

pub(super) fn failure_class(class: Class) -> FailureClass {
    match class {
        Class::Retry | Class::Pending => FailureClass::Retry,
        Class::Rejected => FailureClass::Rejected,
        Class::Untrusted => FailureClass::Untrusted,
        Class::Misconfigured => FailureClass::Misconfigured,
    }
}

/// The word for an error.
pub(super) fn reason_of(error: &CmpError) -> Reason {
    match error.class {
        Class::Pending => Reason::Pending,
        Class::Untrusted => Reason::Untrusted,
        Class::Rejected => Reason::Rejected,
        Class::Misconfigured if error.peer.is_some() => Reason::Rejected,
        Class::Misconfigured => Reason::Misconfigured,
        Class::Retry if matches!(error.kind, ErrorKind::Transport { .. }) => Reason::Unreachable,
        Class::Retry => Reason::Unavailable,
    }
}
