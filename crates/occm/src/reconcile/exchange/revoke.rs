//! Revocation: the next attempt is recorded before the request leaves, so that a store that takes no answer makes no flood.

use std::sync::Arc;

use cmp::{CmpError, Context, Credentials, ErrorKind, Request, RevocationReason, Stage, Step};
use jiff::SignedDuration;

use crate::model::issuer::UpdateSigner;
use crate::model::reason::Reason;
use crate::reconcile::exchange::{Turn, failure_class, reason_of};
use crate::reconcile::issuer::ReadyToUse;
use crate::reconcile::manager::{Go, Manager, Work};
use crate::reconcile::schedule::next_attempt;
use crate::record::{Record, ToRevoke};
use crate::store::{Severity, StoreError, Subject, Version};

/// When a revocation is asked for again if nothing could be recorded of its answer.
const UNTIL_ANSWERED: SignedDuration = SignedDuration::from_mins(10);

impl Manager {
    /// Asks the CA to revoke the first certificate of the list.
    pub(in crate::reconcile) async fn revoke(
        &self,
        subject: &Subject,
        work: &mut Work,
    ) -> Result<Go, StoreError> {
        let Some((plan, ready)) = self.parts(subject) else {
            return Ok(Go::Wait(None));
        };
        let turn = match self.turn(subject, &plan.issuer) {
            Ok(turn) => turn,
            Err(wait) => return Ok(self.wait_for(wait)),
        };
        let (version, record) = self.load(subject, work).await?;
        let (version, mut record) = (*version, record.clone());
        let Some(target) = record.ledger.to_revoke.first().cloned() else {
            return Ok(Go::On);
        };
        record.ledger.next_revocation = Some(self.clock.now() + UNTIL_ANSWERED);
        let version = self.save(subject, work, record.clone(), Some(version)).await?;
        let outcome = self
            .ask_to_revoke(subject, (&turn, &ready), &record, &target)
            .await?;
        self.after_revocation(subject, work, record, version, outcome)
            .await
    }

    pub(super) async fn ask_to_revoke(
        &self,
        subject: &Subject,
        (turn, ready): (&Turn<'_>, &Arc<ReadyToUse>),
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
            if !turn.has_slot() {
                return Ok(Err(CmpError::new(Stage::Polling, ErrorKind::NotYet)));
            }
            turn.sent();
            match ready.engine.exchange(&mut transaction, &context(now())).await {
                Ok(Step::Done(_)) => return Ok(Ok(())),
                Ok(Step::Send) => {}
                Ok(Step::Wait { .. } | Step::Issued(_)) => {
                    return Ok(Err(CmpError::new(Stage::Polling, ErrorKind::NotYet)));
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
        Ok(Err(CmpError::new(Stage::Polling, ErrorKind::NotYet)))
    }

    pub(super) async fn after_revocation(
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
}
