//! How an exchange ends: kept, refused, failed, confirmed or given up; each end is recorded before anything else.

use cmp::engine::RefusalKnown;
use cmp::verify::{Expectation, VerifiedCertificate, issued};
use cmp::{Answer, Class, CmpError, ErrorKind, Outcome, Reached, Stage, Step};
use jiff::{SignedDuration, Timestamp};

use crate::model::object::{
    OVER_BUDGET_ANNOTATION, ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};
use crate::model::reason::Reason;
use crate::reconcile::advice::told;
use crate::reconcile::exchange::{Exchange, failure_class, reason_of};
use crate::reconcile::manager::{Go, Manager, Work};
use crate::reconcile::outputs::plan_written;
use crate::reconcile::schedule::{LONGEST_WAIT, next_attempt};
use crate::record::{Failure, FailureClass, Issued, Phase, Record, ToRevoke};
use crate::store::{Severity, StoreError, Subject, Version};

/// Shortest wait before the same bytes are sent again.
const RESEND_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// How long a confirmation is tried when the CA names no time.
const CONFIRM_WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Manager {
    /// Judges a certificate. `None` = the exchange goes on with the confirmation.
    pub(super) async fn take_answer(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange<'_>,
        mut record: Record,
        version: Version,
        answer: Answer,
    ) -> Result<Option<Go>, StoreError> {
        let now = self.clock.now();
        let began = record.open.as_ref().map_or(now, |open| open.started_at);
        let ended = |reason| {
            self.observer
                .exchange(&exchange.plan.issuer, reason, now.duration_since(began));
        };
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
                if let Some(open) = &mut record.open {
                    open.confirm_by = answer.confirm_by;
                }
                self.keep(subject, work, exchange, record, version, &verified)
                    .await?;
                ended(Reason::Issued);
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
                ended(Reason::Orphaned);
                self.refuse(subject, work, exchange, record, version, &answer, error)
                    .await
                    .map(Some)
            }
            Err(error) => {
                ended(reason_of(&error));
                self.refuse(subject, work, exchange, record, version, &answer, error)
                    .await
                    .map(Some)
            }
        }
    }

    /// Records the new certificate as the current one, before it is confirmed.
    pub(super) async fn keep(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange<'_>,
        mut record: Record,
        version: Version,
        verified: &VerifiedCertificate,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(mut open) = record.open.take() else {
            return Ok(());
        };
        let key = open.key.take();
        let mut issued = Issued {
            revision: self.next_revision(subject),
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
            record.open = Some(open);
        }
        self.save(subject, work, record, Some(version)).await?;
        Ok(())
    }

    /// After a success: requests are served, the failure is over, what is replaced may be revoked.
    pub(super) fn settle_ledger(
        &self,
        subject: &Subject,
        record: &mut Record,
        exchange: &Exchange<'_>,
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

    pub(super) fn confirmed(
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
    pub(super) async fn confirmation_failed(
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

    pub(super) async fn give_up_unconfirmed(
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
    pub(super) async fn refuse(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange<'_>,
        mut record: Record,
        version: Version,
        answer: &Answer,
        error: CmpError,
    ) -> Result<Go, StoreError> {
        let mut known = exchange.ready.engine.capabilities().confirms_on_accept;
        if let Some(open) = &mut record.open {
            if !self.may_act() {
                return Err(StoreError::LeaseLost);
            }
            let context = exchange.context(self.clock.now());
            // Without a slot the CA hears of it by a revocation, later.
            let slot = exchange.turn.has_slot();
            if slot
                && open.transaction.reject(&error, &context).is_ok()
                && open.transaction.outgoing().is_some()
            {
                exchange.turn.sent();
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
        let message = format!(
            "certificate {} was refused: {}",
            answer.certificate.serial(),
            told(&error)
        );
        self.tell(subject, Severity::Warning, reason_of(&error), message)
            .await;
        Ok(if gone { Go::Wait(None) } else { Go::On })
    }

    pub(super) async fn exchange_failed(
        &self,
        subject: &Subject,
        work: &mut Work,
        exchange: &Exchange<'_>,
        mut record: Record,
        version: Version,
        error: CmpError,
    ) -> Result<Go, StoreError> {
        let now = self.clock.now();
        let lost = error.class == Class::Retry
            && error.reached == Reached::Maybe
            && matches!(
                error.kind,
                ErrorKind::Transport { .. } | ErrorKind::Malformed { .. }
            );
        let polling = error.step == Stage::Polling;
        let transport = matches!(error.kind, ErrorKind::Transport { .. });
        if exchange.repeats && repeat_refused(&error) {
            tracing::warn!(%subject, %error, "the CA does not answer a repeated request; a new one is made");
            work.loaded = Some((version, record));
            return self.abandon(subject, work, Reason::PossibleOrphan, true).await;
        }
        let goes_on = polling || exchange.repeats;
        if exchange.ready.engine.capabilities().resumes && (lost || (goes_on && transport)) {
            // The same bytes again later; nothing to write, the record says all.
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
                in_use_until(&record),
                (self.random)(),
            );
            self.state().memory(subject).pause =
                Some((Reason::Unreachable, next.max(now + RESEND_PAUSE / 2)));
            tracing::warn!(%subject, %error, %next, "no answer; the same request is sent again");
            return Ok(Go::On);
        }
        // What cannot be believed is no answer: the CA may have issued all the same.
        let authentic = error.peer.as_ref().is_some_and(|peer| peer.authentic);
        let orphaned = lost
            || (error.reached == Reached::Maybe && !authentic && !transport)
            || (polling && message_refused(&error));
        if orphaned {
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
            format!("{}{when}", told(&error)),
        )
        .await;
        if orphaned {
            let message = "the request may have reached the CA and its answer is lost".to_owned();
            self.tell(subject, Severity::Warning, Reason::PossibleOrphan, message)
                .await;
        }
        Ok(Go::On)
    }

    /// A request that cannot even be made.
    pub(super) async fn fail_to_begin(
        &self,
        subject: &Subject,
        work: &mut Work,
        mut record: Record,
        expected: Option<Version>,
        error: &CmpError,
    ) -> Result<Go, StoreError> {
        self.set_failure(subject, &mut record, error);
        self.save(subject, work, record, expected).await?;
        self.tell(subject, Severity::Warning, reason_of(error), told(error))
            .await;
        Ok(Go::On)
    }

    /// Writes the failure into the ledger; the class decides when the next attempt is due.
    pub(super) fn set_failure(&self, subject: &Subject, record: &mut Record, error: &CmpError) {
        let now = self.clock.now();
        let before = record.ledger.failure.as_ref();
        let attempts = before.map_or(0, |failure| failure.attempts).saturating_add(1);
        let class = failure_class(error.class);
        let not_after = in_use_until(record);
        let refused_update = update_refused(error) && !before.is_some_and(|failure| failure.enrol_afresh);
        let next = if refused_update {
            now
        } else {
            next_attempt(class, attempts, now, not_after, (self.random)()).min(now + LONGEST_WAIT)
        };
        let with = {
            let mut state = self.state();
            let tried = state.memory(subject).attempt.take();
            tried.unwrap_or_else(|| state.attempt_hash_now(subject))
        };
        record.ledger.failure = Some(Box::new(Failure {
            class,
            reason: reason_of(error),
            message: crate::model::condition::cut(told(error), 640),
            at: now,
            attempts,
            next,
            with,
            enrol_afresh: refused_update || before.is_some_and(|failure| failure.enrol_afresh),
        }));
    }
}

/// The end of the certificate that is to be replaced.
fn in_use_until(record: &Record) -> Option<Timestamp> {
    let current = record.current.as_ref();
    current.map(|current| current.certificate.not_after())
}

/// The CA did not like the message that asked for the answer (RFC 9810, 5.2.3): what became of the request is not known.
fn message_refused(error: &CmpError) -> bool {
    const BITS: [&str; 13] = [
        "badAlg",
        "badMessageCheck",
        "badRequest",
        "badTime",
        "badDataFormat",
        "wrongIntegrity",
        "badRecipientNonce",
        "badSenderNonce",
        "signerNotTrusted",
        "transactionIdInUse",
        "unsupportedVersion",
        "systemUnavail",
        "systemFailure",
    ];
    says_one_of(error, &BITS)
}

/// A CA that refuses to answer a request again has seen it before, and may have issued.
fn repeat_refused(error: &CmpError) -> bool {
    says_one_of(error, &["transactionIdInUse", "badRequest", "duplicateCertReq"])
}

fn says_one_of(error: &CmpError, bits: &[&str]) -> bool {
    let peer = error.peer.as_ref();
    peer.is_some_and(|peer| bits.iter().any(|bit| peer.has(bit)))
}

/// A CA that refuses a key update may still take a fresh enrolment.
fn update_refused(error: &CmpError) -> bool {
    const BITS: [&str; 4] = ["certRevoked", "badCertId", "notAuthorized", "signerNotTrusted"];
    error
        .peer
        .as_ref()
        .is_some_and(|peer| peer.authentic && BITS.iter().any(|bit| peer.has(bit)))
}
