//! What protects a request: the initial credentials, the Issuer's identity, or the certificate itself.

use std::sync::Arc;

use cmp::{Credentials, EnrolmentKind};

use crate::model::issuer::UpdateSigner;
use crate::reconcile::issuer::ReadyToUse;
use crate::reconcile::manager::{Manager, Work};
use crate::record::{Issued, Phase, Record};
use crate::store::{StoreError, Subject};

impl Manager {
    /// A key update is signed by the certificate that is updated, or by the identity where the Issuer says so.
    pub(super) async fn update_parts(
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
    pub(super) async fn fresh_credentials(
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
    pub(super) async fn enrolment_credentials(
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
    pub(super) async fn identity_credentials(
        &self,
        identity: &Subject,
    ) -> Result<Vec<Arc<Credentials>>, StoreError> {
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
    pub(super) async fn credentials_named(
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
}

fn own_credentials(issued: &Issued) -> Option<Arc<Credentials>> {
    let key = issued.key.as_ref()?.key().ok()?;
    Credentials::signature(key, issued.certificate.clone(), issued.chain.clone())
        .ok()
        .map(Arc::new)
}

/// Fingerprint of the certificate that protects; none with a shared secret.
pub(super) fn signer(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Mac { .. } => None,
        Credentials::Signature { certificate, .. } => Some(certificate.fingerprint_sha256()),
    }
}

/// Fingerprint of the certificate that the open transaction began with.
pub(super) fn open_signer(record: &Record) -> Option<String> {
    record.open.as_ref().and_then(|open| open.signer.clone())
}
