//! Exchanges with a CA: begun, gone on with, given up; each step recorded before the next byte leaves.
//!
//! ```text
//!   key ──> record{open: sent} ──> CA ──> every check ──> record{current: new, open: issued} ──> certConf
//!                                  │
//!                                  ├── waiting ──> record{open: polling} ──> later
//!                                  ├── no answer ──> the same bytes again, then a possible orphan
//!                                  └── refused, or a check failed ──> record{failure} ──> by the schedule
//! ```

use std::sync::Arc;

use cmp::engine::RefusalKnown;
use cmp::verify::{Expectation, VerifiedCertificate, issued};
use cmp::{
    Answer, Class, CmpError, Context, Credentials, Enrolment, EnrolmentKind, Outcome, Reached, Request,
    RevocationReason, Stage, Step,
};
use jiff::{SignedDuration, Timestamp};
use pki::PrivateKey;

use crate::model::issuer::{Confirmation, EnrolmentMessage, UpdateSigner};
use crate::model::object::{
    OVER_BUDGET_ANNOTATION, ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};
use crate::model::plan::CertificatePlan;
use crate::model::plan::certificate::KeyRotation;
use crate::model::reason::Reason;
use crate::reconcile::decide::How;
use crate::reconcile::issuer::ReadyToUse;
use crate::reconcile::manager::{Go, Manager, Work};
use crate::reconcile::outputs::plan_written;
use crate::reconcile::pace::{Rank, Wait};
use crate::reconcile::schedule::{LONGEST_WAIT, next_attempt};
use crate::record::{Failure, FailureClass, Issued, Open, OpenPurpose, Phase, Record, StoredKey, ToRevoke};
use crate::store::{Severity, StoreError, Subject, Version};

/// Shortest wait before the same bytes are sent again.
const RESEND_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// How long a confirmation is tried when the CA names no time.
const CONFIRM_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// A turn at the CA; ends when dropped.
struct Turn<'m> {
    manager: &'m Manager,
    issuer: ObjectKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let woken = self
            .manager
            .state()
            .issuers
            .get_mut(&self.issuer)
            .and_then(|entry| entry.pace.end());
        if let Some(subject) = woken {
            self.manager.wake(subject);
        }
    }
}

/// Everything of an exchange that does not change while it goes on.
struct Exchange {
    plan: Arc<CertificatePlan>,
    ready: Arc<ReadyToUse>,
    credentials: Arc<Credentials>,
    key: Option<PrivateKey>,
}

impl Exchange {
    fn context(&self, now: Timestamp) -> Context<'_> {
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
        let _turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(Wait::Turn) => return Ok(Go::Wait(None)),
            Err(Wait::Until(until)) => return Ok(Go::Wait(Some(until))),
        };
        let (expected, record) = self.record_to_extend(subject, work).await?;
        let key = match self.key_for(&plan, &record, how, why).await {
            Ok(key) => key,
            Err(error) => return self.fail_to_begin(subject, work, record, expected, &error).await,
        };
        let begun = self.begin(subject, &plan, &ready, &record, key, how).await?;
        let (exchange, transaction) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.fail_to_begin(subject, work, record, expected, &error).await,
        };
        let stored = match exchange.key.as_ref().map(StoredKey::of).transpose() {
            Ok(stored) => stored,
            Err(error) => {
                let error = CmpError::new(Stage::Preparing, cmp::ErrorKind::Pki(error));
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
        let _turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(Wait::Turn) => return Ok(Go::Wait(None)),
            Err(Wait::Until(until)) => return Ok(Go::Wait(Some(until))),
        };
        let (version, record) = self.load(subject, work).await?;
        let (version, mut record) = (*version, record.clone());
        let Some(open) = &mut record.open else {
            return Ok(Go::On);
        };
        let key = open.key.as_ref().and_then(|stored| stored.key().ok());
        let credentials = self
            .credentials_named(subject, &ready, &record, open_signer(&record))
            .await?;
        let Some(credentials) = credentials else {
            return self.abandon(subject, work, Reason::PossibleOrphan, true).await;
        };
        let exchange = Exchange {
            plan,
            ready,
            credentials,
            key,
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

    /// Asks the CA to revoke the first certificate of the list.
    pub(super) async fn revoke(&self, subject: &Subject, work: &mut Work) -> Result<Go, StoreError> {
        let Some((plan, ready)) = self.parts(subject) else {
            return Ok(Go::Wait(None));
        };
        let _turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(Wait::Turn) => return Ok(Go::Wait(None)),
            Err(Wait::Until(until)) => return Ok(Go::Wait(Some(until))),
        };
        let (version, record) = self.load(subject, work).await?;
        let (version, record) = (*version, record.clone());
        let Some(target) = record.ledger.to_revoke.first().cloned() else {
            return Ok(Go::On);
        };
        let outcome = self.ask_to_revoke(subject, &ready, &record, &target).await?;
        self.after_revocation(subject, work, record, version, outcome)
            .await
    }

    async fn ask_to_revoke(
        &self,
        subject: &Subject,
        ready: &Arc<ReadyToUse>,
        record: &Record,
        target: &ToRevoke,
    ) -> Result<Result<(), CmpError>, StoreError> {
        let own = target
            .key
            .as_ref()
            .and_then(|stored| stored.key().ok())
            .and_then(|key| {
                Credentials::signature(key, target.certificate.clone(), Vec::new())
                    .ok()
                    .map(Arc::new)
            });
        let by_itself = ready.plan.revocation_signer == UpdateSigner::Certificate;
        let credentials = match own.filter(|_| by_itself) {
            Some(own) => own,
            None => match self.enrolment_credentials(subject, ready, record).await? {
                Some(credentials) => credentials,
                None => {
                    return Ok(Err(CmpError::settings(
                        "there is nothing to sign the request with",
                    )));
                }
            },
        };
        let reason = if target.superseded {
            RevocationReason::Superseded
        } else {
            RevocationReason::CessationOfOperation
        };
        let request = Request::Revoke {
            certificate: target.certificate.clone(),
            reason,
        };
        let now = || self.clock.now();
        let context = |now| Context {
            credentials: &credentials,
            peer: &ready.peer,
            key: None,
            now,
        };
        let mut transaction = match ready.engine.begin(&request, &context(now())) {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Err(error)),
        };
        // A revocation needs no record: asked for twice, the CA says certRevoked, and that is what was wanted.
        for _ in 0..8 {
            if !self.may_act() {
                return Err(StoreError::LeaseLost);
            }
            match ready.engine.exchange(&mut transaction, &context(now())).await {
                Ok(Step::Done(_)) => return Ok(Ok(())),
                Ok(Step::Send) => {}
                Ok(Step::Wait { .. } | Step::Issued(_)) => {
                    return Ok(Err(CmpError::new(Stage::Polling, cmp::ErrorKind::NotYet)));
                }
                Err(error)
                    if error
                        .peer
                        .as_ref()
                        .is_some_and(|p| p.authentic && p.has("certRevoked")) =>
                {
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err(CmpError::new(Stage::Polling, cmp::ErrorKind::NotYet)))
    }

    async fn after_revocation(
        &self,
        subject: &Subject,
        work: &mut Work,
        mut record: Record,
        version: Version,
        outcome: Result<(), CmpError>,
    ) -> Result<Go, StoreError> {
        let target = record.ledger.to_revoke.remove(0);
        let serial = target.certificate.serial();
        match outcome {
            Ok(()) => {
                record.ledger.next_revocation = None;
                self.save(subject, work, record, Some(version)).await?;
                let message = format!("certificate {serial} is revoked");
                self.tell(subject, Severity::Normal, Reason::Revoked, message)
                    .await;
                Ok(Go::On)
            }
            Err(error) => {
                let attempts = target.attempts.saturating_add(1);
                let class = failure_class(error.class);
                let next = next_attempt(class, attempts, self.clock.now(), None, (self.random)());
                record.ledger.to_revoke.push(ToRevoke { attempts, ..target });
                record.ledger.next_revocation = Some(next);
                self.save(subject, work, record, Some(version)).await?;
                let message =
                    format!("certificate {serial} could not be revoked, trying again at {next:.0}: {error}");
                self.tell(subject, Severity::Warning, reason_of(&error), message)
                    .await;
                Ok(Go::On)
            }
        }
    }

    /// The checked wish and the Issuer with its inputs.
    fn parts(&self, subject: &Subject) -> Option<(Arc<CertificatePlan>, Arc<ReadyToUse>)> {
        let state = self.state();
        let plan = state.plan(subject)?;
        let ready = state.issuers.get(&plan.issuer)?.ready.as_ref()?.as_ref().ok()?;
        Some((plan, Arc::clone(ready)))
    }

    fn recipient(&self, issuer: &ObjectKey) -> Option<String> {
        match &self.state().issuers.get(issuer)?.seen {
            crate::store::Seen::Object(object) => object.spec.recipient.clone(),
            crate::store::Seen::Broken(_) => None,
        }
    }

    fn turn(&self, subject: &Subject, issuer: &ObjectKey) -> Result<Turn<'_>, Wait> {
        let now = self.clock.now();
        let mut state = self.state();
        let not_after = state
            .records
            .get(subject)
            .and_then(|record| record.current.as_ref())
            .map_or(i64::MIN / 2, |current| current.not_after.as_second());
        let rank = match subject {
            Subject::Identity(_) => Rank(i64::MIN),
            Subject::Certificate(_) => Rank(not_after),
        };
        let Some(entry) = state.issuers.get_mut(issuer) else {
            return Err(Wait::Turn);
        };
        entry.pace.begin(subject, rank, now)?;
        Ok(Turn {
            manager: self,
            issuer: issuer.clone(),
        })
    }

    /// The record to add a transaction to: the one there is, or a first one.
    async fn record_to_extend(
        &self,
        subject: &Subject,
        work: &mut Work,
    ) -> Result<(Option<Version>, Record), StoreError> {
        let known = self.state().records.get(subject).map(|facts| facts.version);
        let Some(known) = known else {
            return Ok((None, Record::default()));
        };
        match self.load(subject, work).await {
            Ok((version, record)) => Ok((Some(*version), record.clone())),
            Err(StoreError::NotFound(_)) => Ok((None, Record::default())),
            // Nobody can read it, and no good copy exists: a new one takes its place.
            Err(StoreError::Malformed(..)) => Ok((Some(known), Record::default())),
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
        made.map_err(|error| CmpError::new(Stage::Preparing, cmp::ErrorKind::Pki(error)))
    }

    /// Makes the transaction; nothing is sent.
    async fn begin(
        &self,
        subject: &Subject,
        plan: &Arc<CertificatePlan>,
        ready: &Arc<ReadyToUse>,
        record: &Record,
        key: PrivateKey,
        how: How,
    ) -> Result<Result<(Exchange, cmp::Transaction), CmpError>, StoreError> {
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
            plan: Arc::clone(plan),
            ready: Arc::clone(ready),
            credentials,
            key: Some(key),
        };
        let begun = ready
            .engine
            .begin(&Request::enrol(enrolment), &exchange.context(self.clock.now()));
        Ok(begun.map(|transaction| (exchange, transaction)))
    }

    /// A key update is signed by the certificate that is updated, or by the identity where the Issuer says so.
    async fn update_parts(
        &self,
        subject: &Subject,
        ready: &Arc<ReadyToUse>,
        record: &Record,
    ) -> Result<(Option<EnrolmentKind>, Option<Arc<Credentials>>), StoreError> {
        let Some(current) = &record.current else {
            return Ok((None, None));
        };
        let kind = EnrolmentKind::KeyUpdate {
            old: Box::new(current.certificate.clone()),
        };
        let by_identity = ready.plan.key_update_signer == UpdateSigner::Identity
            && matches!(subject, Subject::Certificate(_));
        let credentials = if by_identity {
            self.enrolment_credentials(subject, ready, record).await?
        } else {
            own_credentials(current)
        };
        Ok((Some(kind), credentials))
    }

    /// What signs a fresh enrolment: for an identity always the initial credentials.
    async fn fresh_credentials(
        &self,
        subject: &Subject,
        ready: &Arc<ReadyToUse>,
        record: &Record,
    ) -> Result<Option<Arc<Credentials>>, StoreError> {
        match subject {
            Subject::Identity(_) => Ok(ready.initial.as_ref().ok().cloned()),
            Subject::Certificate(_) => self.enrolment_credentials(subject, ready, record).await,
        }
    }

    /// The Issuer's identity, or its initial credentials where it has no identity.
    async fn enrolment_credentials(
        &self,
        subject: &Subject,
        ready: &Arc<ReadyToUse>,
        record: &Record,
    ) -> Result<Option<Arc<Credentials>>, StoreError> {
        if ready.plan.identity.is_none() {
            return Ok(ready.initial.as_ref().ok().cloned());
        }
        if matches!(subject, Subject::Identity(_)) {
            return Ok(record.current.as_ref().and_then(own_credentials));
        }
        let identity = Subject::Identity(ready.plan.key.clone());
        Ok(self.identity_credentials(&identity).await?.into_iter().next())
    }

    /// Credentials of an identity, the current ones first. Read once for each version of its record.
    async fn identity_credentials(&self, identity: &Subject) -> Result<Vec<Arc<Credentials>>, StoreError> {
        let version = {
            let state = self.state();
            let version = state.records.get(identity).map(|record| record.version);
            if let Some((known, credentials)) = state
                .issuers
                .get(identity.key())
                .and_then(|e| e.credentials.as_ref())
                && Some(*known) == version
            {
                return Ok(credentials.clone());
            }
            version
        };
        if version.is_none() {
            return Ok(Vec::new());
        }
        let mut work = Work::default();
        let (version, record) = self.load(identity, &mut work).await?;
        let unconfirmed = record
            .open
            .as_ref()
            .is_some_and(|open| open.phase == Phase::Issued);
        let reported = self
            .state()
            .with_world(identity, self.clock.now(), None, |world| world.confirmed());
        let copies = if unconfirmed && !reported {
            [&record.previous, &record.current]
        } else {
            [&record.current, &record.previous]
        };
        let credentials: Vec<Arc<Credentials>> =
            copies.into_iter().flatten().filter_map(own_credentials).collect();
        if let Some(entry) = self.state().issuers.get_mut(identity.key()) {
            entry.credentials = Some((*version, credentials.clone()));
        }
        Ok(credentials)
    }

    /// The credentials that an open transaction began with.
    async fn credentials_named(
        &self,
        subject: &Subject,
        ready: &Arc<ReadyToUse>,
        record: &Record,
        fingerprint: Option<String>,
    ) -> Result<Option<Arc<Credentials>>, StoreError> {
        let Some(fingerprint) = fingerprint else {
            return Ok(ready
                .initial
                .as_ref()
                .ok()
                .filter(|c| matches!(***c, Credentials::Mac { .. }))
                .cloned());
        };
        let mut candidates: Vec<Arc<Credentials>> = record
            .current
            .iter()
            .chain(&record.previous)
            .filter_map(own_credentials)
            .collect();
        if ready.plan.identity.is_some() && matches!(subject, Subject::Certificate(_)) {
            candidates.extend(
                self.identity_credentials(&Subject::Identity(ready.plan.key.clone()))
                    .await?,
            );
        }
        candidates.extend(ready.initial.as_ref().ok().cloned());
        Ok(candidates
            .into_iter()
            .find(|c| signer(c).as_ref() == Some(&fingerprint)))
    }

    /// Sends and takes answers until the exchange ends, waits or fails.
    async fn drive(&self, subject: &Subject, work: &mut Work, exchange: &Exchange) -> Result<Go, StoreError> {
        let started = self.clock.now();
        loop {
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
            let result = exchange
                .ready
                .engine
                .exchange(&mut open.transaction, &exchange.context(now))
                .await;
            self.note_contact(&exchange.plan.issuer, result.as_ref().err());
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
                    self.observer.exchange(
                        &exchange.plan.issuer,
                        Reason::Issued,
                        self.clock.now().duration_since(started),
                    );
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

    /// Tells the breaker and remembers the CA's clock.
    fn note_contact(&self, issuer: &ObjectKey, error: Option<&CmpError>) {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(entry) = state.issuers.get_mut(issuer) else {
            return;
        };
        match error.map(|error| &error.kind) {
            Some(cmp::ErrorKind::Transport { .. }) => entry.pace.missed(now),
            Some(cmp::ErrorKind::MessageTime { seconds }) => {
                entry.clock_offset = Some(SignedDuration::from_secs(*seconds));
                entry.pace.reached();
            }
            Some(_) | None => {
                entry.pace.reached();
                entry.last_contact = Some(now);
                if error.is_none() {
                    entry.clock_offset = None;
                }
            }
        }
    }

    /// Judges a certificate. `None` = the exchange goes on with the confirmation.
    async fn take_answer(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange,
        record: Record,
        version: Version,
        answer: Answer,
    ) -> Result<Option<Go>, StoreError> {
        let now = self.clock.now();
        let wanted = self.state().plan(subject).is_some();
        let enrolment = record
            .open
            .as_ref()
            .and_then(|open| open.transaction.request().enrolment());
        let (Some(enrolment), Some(key)) = (enrolment, &exchange.key) else {
            return Ok(Some(Go::On));
        };
        let verdict = issued(
            &Expectation::new(enrolment, key),
            &answer,
            &exchange.ready.peer,
            now,
        );
        match verdict {
            Ok(verified) if wanted => {
                self.keep(
                    subject,
                    work,
                    exchange,
                    record,
                    version,
                    &verified,
                    answer.confirm_by,
                )
                .await?;
                let confirmed = work
                    .loaded
                    .as_ref()
                    .is_none_or(|(_, record)| record.open.is_none());
                if confirmed {
                    let revision = work
                        .loaded
                        .as_ref()
                        .and_then(|(_, r)| r.current.as_ref())
                        .map(|c| c.revision);
                    self.state().memory(subject).confirmed = revision;
                }
                Ok(confirmed.then_some(Go::On))
            }
            Ok(_) => {
                let error = CmpError::settings("the object was deleted while the certificate was issued");
                self.refuse(subject, work, exchange, record, version, &answer, error)
                    .await
                    .map(Some)
            }
            Err(error) => self
                .refuse(subject, work, exchange, record, version, &answer, error)
                .await
                .map(Some),
        }
    }

    /// Records the new certificate as the current one, before it is confirmed.
    async fn keep(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange,
        mut record: Record,
        version: Version,
        verified: &VerifiedCertificate,
        confirm_by: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(mut open) = record.open.take() else {
            return Ok(());
        };
        let key = open.key.take();
        let revision = record
            .ledger
            .revision
            .max(record.current.as_ref().map_or(0, |c| c.revision))
            + 1;
        let mut issued = Issued {
            revision,
            key,
            certificate: verified.certificate().clone(),
            chain: verified.chain().to_vec(),
            root: verified.root().cloned(),
            issuer: exchange.plan.issuer.clone(),
            wish: open.wish.clone(),
            outputs: Vec::new(),
            issued_at: now,
            why: open.why,
        };
        let proven: Vec<ObjectKey> = record
            .current
            .iter()
            .flat_map(|current| {
                current
                    .outputs
                    .iter()
                    .filter(|o| o.proven)
                    .map(|o| o.secret.clone())
            })
            .collect();
        issued.outputs = exchange
            .plan
            .outputs
            .iter()
            .filter_map(|plan| plan_written(plan, &issued, proven.contains(&plan.secret)).ok())
            .collect();
        let why = open.why;
        let replaced = record.current.replace(issued);
        self.settle_ledger(subject, &mut record, exchange, why, replaced.as_ref());
        record.previous = replaced;
        open.transaction
            .accept(verified, &exchange.context(now))
            .map_err(|error| StoreError::Refused(format!("record of {subject}"), error.to_string()))?;
        if open.transaction.outgoing().is_some() {
            open.phase = Phase::Issued;
            open.not_before = None;
            open.confirm_by = confirm_by;
            record.open = Some(open);
        }
        self.save(subject, work, record, Some(version)).await?;
        Ok(())
    }

    /// After a success: requests are served, the failure is over, what is replaced may be revoked.
    fn settle_ledger(
        &self,
        subject: &Subject,
        record: &mut Record,
        exchange: &Exchange,
        why: Reason,
        replaced: Option<&Issued>,
    ) {
        record.ledger.revision = record.current.as_ref().map_or(0, |current| current.revision);
        record.ledger.failure = None;
        if let Subject::Identity(_) = subject {
            record.ledger.bootstrap = exchange.ready.bootstrap.or(record.ledger.bootstrap);
        }
        let requests = self
            .state()
            .with_world(subject, self.clock.now(), None, |world| world.annotations.clone());
        for annotation in [
            RENEW_ANNOTATION,
            RECREATE_ANNOTATION,
            REVOKE_ANNOTATION,
            OVER_BUDGET_ANNOTATION,
        ] {
            if let Some(token) = requests.get(annotation) {
                record.ledger.served.insert(annotation.to_owned(), token.clone());
            }
        }
        if why == Reason::RevokeRequested
            && let Some(old) = replaced
        {
            let (certificate, key) = (old.certificate.clone(), old.key.clone());
            record.ledger.to_revoke.push(ToRevoke {
                certificate,
                key,
                attempts: 0,
                superseded: true,
            });
        }
    }

    fn confirmed(
        &self,
        subject: &Subject,
        work: &mut Work,
        record: Record,
        version: Version,
    ) -> Result<Go, StoreError> {
        let mut state = self.state();
        let memory = state.memory(subject);
        memory.confirmed = record.current.as_ref().map(|current| current.revision);
        memory.confirm_attempts = 0;
        drop(state);
        work.loaded = Some((version, record));
        Ok(Go::On)
    }

    /// The confirmation did not get through: again, or the certificate is given up and the old one stays.
    async fn confirmation_failed(
        &self,
        subject: &Subject,
        work: &mut Work,
        record: Record,
        version: Version,
        error: CmpError,
    ) -> Result<Go, StoreError> {
        let now = self.clock.now();
        if error
            .peer
            .as_ref()
            .is_some_and(|peer| peer.authentic && peer.has("certConfirmed"))
        {
            return self.confirmed(subject, work, record, version);
        }
        let issued_at = record.current.as_ref().map_or(now, |current| current.issued_at);
        let deadline = record
            .open
            .as_ref()
            .and_then(|open| open.confirm_by)
            .unwrap_or(issued_at + CONFIRM_WINDOW);
        if error.class == Class::Retry && now < deadline {
            let attempts = {
                let mut state = self.state();
                let memory = state.memory(subject);
                memory.confirm_attempts = memory.confirm_attempts.saturating_add(1);
                memory.confirm_attempts
            };
            let next = next_attempt(
                FailureClass::Retry,
                attempts,
                now,
                Some(deadline),
                (self.random)(),
            );
            self.state().memory(subject).pause = Some((Reason::Unreachable, next));
            return Ok(Go::On);
        }
        self.give_up_unconfirmed(subject, work, record, version, &error)
            .await
    }

    async fn give_up_unconfirmed(
        &self,
        subject: &Subject,
        work: &mut Work,
        mut record: Record,
        version: Version,
        error: &CmpError,
    ) -> Result<Go, StoreError> {
        record.open = None;
        let unusable = record.current.take();
        record.current = record.previous.take();
        record.ledger.orphans += 1;
        let mut serial = String::new();
        if let Some(unusable) = unusable {
            serial = unusable.certificate.serial();
            let (certificate, key) = (unusable.certificate, unusable.key);
            record.ledger.to_revoke.push(ToRevoke {
                certificate,
                key,
                attempts: 0,
                superseded: false,
            });
        }
        self.set_failure(subject, &mut record, error);
        self.save(subject, work, record, Some(version)).await?;
        let message = format!("certificate {serial} could not be confirmed and is given up: {error}");
        self.tell(subject, Severity::Warning, Reason::Orphaned, message)
            .await;
        Ok(Go::On)
    }

    /// A certificate that fails a check is refused to the CA's face; the new key is dropped, the old one stays.
    #[allow(clippy::too_many_arguments)]
    async fn refuse(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange,
        mut record: Record,
        version: Version,
        answer: &Answer,
        error: CmpError,
    ) -> Result<Go, StoreError> {
        let mut known = exchange.ready.engine.capabilities().confirms_on_accept;
        if let Some(open) = &mut record.open {
            let context = exchange.context(self.clock.now());
            if open.transaction.reject(&error, &context).is_ok() && open.transaction.outgoing().is_some() {
                let told = exchange
                    .ready
                    .engine
                    .exchange(&mut open.transaction, &context)
                    .await;
                known &= matches!(told, Ok(Step::Done(Outcome::Refused(RefusalKnown::Yes))));
            } else {
                known = false;
            }
        }
        record.open = None;
        record.ledger.orphans += 1;
        if !known {
            record.ledger.to_revoke.push(ToRevoke {
                certificate: answer.certificate.clone(),
                key: None,
                attempts: 0,
                superseded: false,
            });
        }
        self.set_failure(subject, &mut record, &error);
        let gone = self.state().plan(subject).is_none();
        self.save(subject, work, record, Some(version)).await?;
        let message = format!("certificate {} was refused: {error}", answer.certificate.serial());
        self.tell(subject, Severity::Warning, reason_of(&error), message)
            .await;
        Ok(if gone { Go::Wait(None) } else { Go::On })
    }

    async fn exchange_failed(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange,
        mut record: Record,
        version: Version,
        error: CmpError,
    ) -> Result<Go, StoreError> {
        let now = self.clock.now();
        let lost = error.class == Class::Retry
            && error.reached == Reached::Maybe
            && matches!(
                error.kind,
                cmp::ErrorKind::Transport { .. } | cmp::ErrorKind::Malformed { .. }
            );
        let polling = record
            .open
            .as_ref()
            .is_some_and(|open| open.phase == Phase::Polling);
        let transport = matches!(error.kind, cmp::ErrorKind::Transport { .. });
        if exchange.ready.engine.capabilities().resumes && (lost || (polling && transport)) {
            // The same bytes again later; nothing to write, the record says all.
            let attempts = {
                let mut state = self.state();
                let memory = state.memory(subject);
                memory.confirm_attempts = memory.confirm_attempts.saturating_add(1);
                memory.confirm_attempts
            };
            let next = next_attempt(FailureClass::Retry, attempts, now, None, (self.random)());
            self.state().memory(subject).pause =
                Some((Reason::Unreachable, next.max(now + RESEND_PAUSE / 2)));
            tracing::warn!(%subject, %error, %next, "no answer; the same request is sent again");
            return Ok(Go::On);
        }
        if lost {
            record.ledger.possible_orphans += 1;
        }
        if error.reached == Reached::No && !polling {
            record.ledger.transactions.pop();
        }
        record.open = None;
        self.set_failure(subject, &mut record, &error);
        let next = record.ledger.failure.as_ref().map(|failure| failure.next);
        self.save(subject, work, record, Some(version)).await?;
        let when = next.map_or_else(String::new, |next| format!("; next attempt at {next:.0}"));
        self.tell(
            subject,
            Severity::Warning,
            reason_of(&error),
            format!("{error}{when}"),
        )
        .await;
        if lost {
            let message = "the request may have reached the CA and its answer is lost".to_owned();
            self.tell(subject, Severity::Warning, Reason::PossibleOrphan, message)
                .await;
        }
        Ok(Go::On)
    }

    /// A request that cannot even be made.
    async fn fail_to_begin(
        &self,
        subject: &Subject,
        work: &mut Work,
        mut record: Record,
        expected: Option<Version>,
        error: &CmpError,
    ) -> Result<Go, StoreError> {
        self.set_failure(subject, &mut record, error);
        self.save(subject, work, record, expected).await?;
        self.tell(subject, Severity::Warning, reason_of(error), error.to_string())
            .await;
        Ok(Go::On)
    }

    /// Writes the failure into the ledger; the class decides when the next attempt is due.
    fn set_failure(&self, subject: &Subject, record: &mut Record, error: &CmpError) {
        let now = self.clock.now();
        let before = record.ledger.failure.as_ref();
        let attempts = before.map_or(0, |failure| failure.attempts).saturating_add(1);
        let class = failure_class(error.class);
        let not_after = record
            .current
            .as_ref()
            .map(|current| current.certificate.not_after());
        let refused_update = update_refused(error) && !before.is_some_and(|failure| failure.enrol_afresh);
        let next = if refused_update {
            now
        } else {
            next_attempt(class, attempts, now, not_after, (self.random)()).min(now + LONGEST_WAIT)
        };
        let with = self
            .state()
            .with_world(subject, now, None, |world| world.attempt_hash);
        record.ledger.failure = Some(Failure {
            class,
            reason: reason_of(error),
            message: crate::model::condition::cut(error.to_string(), 512),
            at: now,
            attempts,
            next,
            with,
            enrol_afresh: refused_update || before.is_some_and(|failure| failure.enrol_afresh),
        });
    }
}

/// A CA that refuses a key update may still take a fresh enrolment.
fn update_refused(error: &CmpError) -> bool {
    const BITS: [&str; 4] = ["certRevoked", "badCertId", "notAuthorized", "signerNotTrusted"];
    error
        .peer
        .as_ref()
        .is_some_and(|peer| peer.authentic && BITS.iter().any(|bit| peer.has(bit)))
}

fn own_credentials(issued: &Issued) -> Option<Arc<Credentials>> {
    let key = issued.key.as_ref()?.key().ok()?;
    Credentials::signature(key, issued.certificate.clone(), issued.chain.clone())
        .ok()
        .map(Arc::new)
}

fn signer(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Mac { .. } => None,
        Credentials::Signature { certificate, .. } => Some(certificate.fingerprint_sha256()),
    }
}

fn open_signer(record: &Record) -> Option<String> {
    record.open.as_ref().and_then(|open| open.signer.clone())
}

fn failure_class(class: Class) -> FailureClass {
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
        Class::Retry if matches!(error.kind, cmp::ErrorKind::Transport { .. }) => Reason::Unreachable,
        Class::Retry => Reason::Unavailable,
    }
}
