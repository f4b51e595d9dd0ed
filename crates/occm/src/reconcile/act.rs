//! What the rules decide about outputs and records, done: repair, rebuild, adopt, tidy, finalize.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, PrivateKey};

use crate::model::object::{ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION};
use crate::model::plan::{CertificatePlan, OutputPlan};
use crate::model::reason::Reason;
use crate::reconcile::decide::{Decision, Finalize};
use crate::reconcile::manager::{Go, Manager, Work};
use crate::reconcile::outputs::{
    ANSWER_SECONDS, FIGHT_REPAIRS, FIGHT_SECONDS, OutputMemory, Restored, TRUCE_SECONDS, WriteKind,
    is_listed, mark, plan_written, release, render, revision_of,
};
use crate::record::{Issued, Phase, Record, StoredBytes, StoredKey, ToRevoke, WrittenOutput};
use crate::store::{
    Content, ContentHash, Presence, SecretFacts, SecretWrite, Severity, StoreError, Subject, tight,
};

/// How long an output that may not be written is left alone.
const REFUSED_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Most repairs in a row while an exchange waits for its answer.
const MEANWHILE: usize = 8;

impl Manager {
    /// Puts the good copy into an output.
    pub(super) async fn repair(
        &self,
        subject: &Subject,
        work: &mut Work,
        output: usize,
        kind: WriteKind,
        why: Reason,
    ) -> Result<Go, StoreError> {
        let (version, record) = self.load(subject, work).await?;
        let (version, copies) = (*version, [record.current.as_ref(), record.previous.as_ref()]);
        let Some((plan, revision)) = self.repair_from(subject, copies, output, kind, why).await? else {
            return Ok(Go::On);
        };
        let listed = copies
            .into_iter()
            .flatten()
            .filter(|issued| issued.revision == revision)
            .all(|issued| is_listed(issued, &plan));
        if !listed {
            let record = relisted(record, &plan, revision);
            self.save(subject, work, record, Some(version)).await?;
        }
        Ok(Go::On)
    }

    /// Puts outputs back while an exchange waits for its answer.
    pub(super) async fn repair_meanwhile(&self, subject: &Subject, copies: [Option<&Issued>; 2]) {
        for _ in 0..MEANWHILE {
            let Some(Decision::Repair { output, kind, why }) = self.decide(subject) else {
                return;
            };
            match self.repair_from(subject, copies, output, kind, why).await {
                Ok(None) => {}
                // The record is the exchange's: what it does not list yet is listed after it.
                Ok(Some((plan, _))) if copies.into_iter().flatten().any(|i| !is_listed(i, &plan)) => return,
                Ok(Some(_)) => {}
                Err(error) => {
                    tracing::debug!(%subject, %error, "the repair waits for the end of the exchange");
                    return;
                }
            }
        }
    }

    /// Writes an output from one of these copies. Returns what was written, as the wish has it, and in which revision.
    async fn repair_from(
        &self,
        subject: &Subject,
        copies: [Option<&Issued>; 2],
        output: usize,
        kind: WriteKind,
        why: Reason,
    ) -> Result<Option<(OutputPlan, u64)>, StoreError> {
        let Some((plan, facts, revision)) = self.output_now(subject, output) else {
            return Ok(None);
        };
        let mut copies = copies.into_iter().flatten();
        let Some(issued) = copies.find(|issued| issued.revision == revision) else {
            return Ok(None);
        };
        let write = match render(&plan, subject.key(), issued, facts.as_ref()) {
            Ok(write) => write,
            Err(error) => {
                tracing::warn!(%subject, secret = %plan.secret, %error, "output cannot be made from the record");
                let trouble = Some(error.to_string());
                self.block_output(subject, &plan.secret, Reason::RecordUnreadable, trouble);
                return Ok(None);
            }
        };
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        let before = self.state().deletions(&plan.secret);
        match self.write_output(&write, kind, facts.as_ref()).await {
            Ok(written) => {
                let hidden = self.state().wrote_secret(&plan.secret, written, before);
                if hidden {
                    self.refresh_secret(subject, &plan.secret).await?;
                }
                self.wake_others(subject, &plan.secret);
                self.note_write(subject, &plan.secret, why, facts.as_ref()).await;
                Ok(Some((plan, revision)))
            }
            Err(error @ StoreError::Forbidden(..)) => {
                tracing::warn!(%subject, secret = %plan.secret, %error, "output may not be written");
                let trouble = Some(error.to_string());
                self.block_output(subject, &plan.secret, Reason::NoAccess, trouble);
                Ok(None)
            }
            Err(StoreError::Terminating(_)) => {
                self.block_output(subject, &plan.secret, Reason::NamespaceTerminating, None);
                Ok(None)
            }
            Err(error @ StoreError::Refused(..)) => {
                tracing::warn!(%subject, secret = %plan.secret, %error, "output was refused");
                let trouble = Some(error.to_string());
                self.block_output(subject, &plan.secret, Reason::StoreFailed, trouble);
                Ok(None)
            }
            Err(error @ StoreError::Unavailable(..)) => {
                self.note_trouble(subject, &plan.secret, &error).await;
                Err(error)
            }
            Err(StoreError::Conflict(what)) => {
                self.refresh_secret(subject, &plan.secret).await?;
                Err(StoreError::Conflict(what))
            }
            Err(error) => Err(error),
        }
    }

    /// The output, what is there, and the revision that it shall carry.
    fn output_now(&self, subject: &Subject, output: usize) -> Option<(OutputPlan, Option<SecretFacts>, u64)> {
        let (now, offset) = (self.clock.now(), self.store.clock_offset());
        self.state().with_world(subject, now, offset, |world| {
            let view = world.outputs.get(output)?;
            Some((
                view.plan.as_ref().clone(),
                view.facts.cloned(),
                world.good()?.revision,
            ))
        })
    }

    async fn write_output(
        &self,
        write: &SecretWrite,
        kind: WriteKind,
        facts: Option<&SecretFacts>,
    ) -> Result<SecretFacts, StoreError> {
        match (kind, facts) {
            (WriteKind::Update, Some(facts)) => self.store.update_secret(write, facts.version).await,
            (WriteKind::Replace, Some(facts)) => {
                self.store
                    .delete_secret(&write.key, &facts.uid, facts.version)
                    .await?;
                if !self.may_act() {
                    return Err(StoreError::LeaseLost);
                }
                self.store.create_secret(write).await
            }
            (WriteKind::Create | WriteKind::Update | WriteKind::Replace, _) => {
                self.store.create_secret(write).await
            }
        }
    }

    /// Reads what is there after a conflict: the watch may be behind.
    async fn refresh_secret(&self, subject: &Subject, key: &ObjectKey) -> Result<(), StoreError> {
        let content = self.store.read_secret(key).await?;
        self.state().set_secret(key, content.map(|content| content.facts));
        self.wake_others(subject, key);
        Ok(())
    }

    /// Wakes the other Certificates that name a Secret: the watch does not tell again what we took in ourselves.
    fn wake_others(&self, subject: &Subject, secret: &ObjectKey) {
        let others = self.state().subjects_beside(subject.key(), secret);
        if !others.is_empty() {
            self.wake_all(others, subject);
        }
    }

    fn block_output(&self, subject: &Subject, secret: &ObjectKey, reason: Reason, trouble: Option<String>) {
        let until = self.clock.now() + REFUSED_PAUSE;
        let mut state = self.state();
        let memory = state.output_memory(subject.key(), secret);
        memory.blocked = Some((reason, until));
        memory.trouble = trouble;
    }

    /// A full disk, a store that does not answer: told in the status where that can be written, once for each trouble.
    async fn note_trouble(&self, subject: &Subject, secret: &ObjectKey, error: &StoreError) {
        let trouble = Some(error.to_string());
        {
            let mut state = self.state();
            let memory = state.output_memory(subject.key(), secret);
            if memory.trouble == trouble {
                return;
            }
            memory.trouble = trouble;
        }
        // The log says it all the same.
        let _ = self.report(subject, Some(Reason::StoreFailed), None).await;
    }

    /// Remembers a write, tells of a repair, and stops a fight.
    async fn note_write(
        &self,
        subject: &Subject,
        secret: &ObjectKey,
        why: Reason,
        before: Option<&SecretFacts>,
    ) {
        let now = self.clock.now();
        let repaired = matches!(why, Reason::OutputChanged | Reason::OutputDeleted);
        let rival = match before {
            Some(facts) => facts.last_writer.clone().unwrap_or_else(|| "unknown".to_owned()),
            None => "unknown".to_owned(),
        };
        let what = if why == Reason::OutputDeleted {
            "deleted"
        } else {
            "changed"
        };
        let message = format!("Secret {secret} was {what} by {rival}; the same bytes are back");
        let fight = {
            let mut state = self.state();
            let memory = state.output_memory(subject.key(), secret);
            memory.known_ours = true;
            memory.seen = true;
            memory.trouble = None;
            let fight = repaired && count_repair(memory, now);
            memory.last_write = Some(now);
            if fight {
                memory.blocked = Some((Reason::Fighting, now + SignedDuration::from_secs(TRUCE_SECONDS)));
                memory.rival = Some(rival.clone());
                memory.trouble = Some(format!(
                    "it is changed again and again by {rival}; allowed: one writer"
                ));
            }
            if repaired {
                let message = message.clone();
                memory.restored = Some(Box::new(Restored { at: now, message }));
            }
            fight
        };
        if repaired {
            self.tell(subject, Severity::Normal, Reason::Restored, message)
                .await;
        }
        if fight {
            let message = format!(
                "Secret {secret} was put back {FIGHT_REPAIRS} times within {} minutes; {rival} keeps changing it. \
                 Trying again in {} minutes",
                FIGHT_SECONDS / 60,
                TRUCE_SECONDS / 60
            );
            self.tell(subject, Severity::Warning, Reason::Fighting, message)
                .await;
        }
    }

    /// Takes what an output carries into the record: the record is lost or older than the output.
    pub(super) async fn rebuild(&self, subject: &Subject, output: usize) -> Result<Go, StoreError> {
        let Some(plan) = self.certificate_plan(subject) else {
            return Ok(Go::On);
        };
        let Some(target) = plan.outputs.get(output) else {
            return Ok(Go::On);
        };
        let Some(content) = self.store.read_secret(&target.secret).await? else {
            self.state().set_secret(&target.secret, None);
            return Ok(Go::On);
        };
        let revision = revision_of(&content.facts, subject.key());
        let wanted = self.reported_fingerprint(subject);
        let taken = take(target, &content, self.clock.now()).and_then(|mut issued| {
            issued.revision = revision.ok_or("carries no revision")?;
            check_fits(&plan, &issued, wanted.as_deref())?;
            Ok(issued)
        });
        match taken {
            Ok(mut issued) => {
                issued.wish = Some(plan.wish());
                issued.issuer = plan.issuer.clone();
                let others = plan
                    .outputs
                    .iter()
                    .filter(|output| output.secret != target.secret);
                let others: Vec<WrittenOutput> = others
                    .filter_map(|output| plan_written(output, &issued, true).ok())
                    .collect();
                issued.outputs.extend(others);
                self.take_into_record(subject, issued).await?;
                self.tell(
                    subject,
                    Severity::Normal,
                    Reason::UpToDate,
                    format!("the record was made again from Secret {}", target.secret),
                )
                .await;
            }
            Err(problem) => {
                tracing::warn!(%subject, secret = %target.secret, problem, "output cannot be taken into the record");
                self.refuse_content(subject, &content);
            }
        }
        Ok(Go::On)
    }

    /// Takes over a foreign Secret: the record learns its content, the Secret gets our marks and keeps its data.
    pub(super) async fn adopt(&self, subject: &Subject, output: usize) -> Result<Go, StoreError> {
        let Some(plan) = self.certificate_plan(subject) else {
            return Ok(Go::On);
        };
        let Some(target) = plan.outputs.get(output) else {
            return Ok(Go::On);
        };
        let Some(content) = self.store.read_secret(&target.secret).await? else {
            self.state().set_secret(&target.secret, None);
            return Ok(Go::On);
        };
        let mut issued = match take(target, &content, self.clock.now()) {
            Ok(issued) => issued,
            Err(problem) => {
                self.refuse_content(subject, &content);
                let message = format!("Secret {} cannot be adopted: {problem}", target.secret);
                self.tell(subject, Severity::Warning, Reason::AdoptRefused, message)
                    .await;
                return Ok(Go::On);
            }
        };
        issued.issuer = plan.issuer.clone();
        issued.why = Reason::Adopted;
        let revision = self.next_revision(subject);
        issued.revision = revision;
        self.take_into_record(subject, issued).await?;
        let write = mark(target, subject.key(), &content.facts, revision);
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        let written = self.store.update_secret(&write, content.facts.version).await;
        if let Err(StoreError::Conflict(_)) = &written {
            self.refresh_secret(subject, &target.secret).await?;
        }
        let written = written?;
        {
            let mut state = self.state();
            state.set_secret(&target.secret, Some(written));
            let memory = state.output_memory(subject.key(), &target.secret);
            memory.known_ours = true;
        }
        let message = format!("Secret {} was taken over as it is", target.secret);
        self.tell(subject, Severity::Normal, Reason::Adopted, message)
            .await;
        Ok(Go::On)
    }

    fn refuse_content(&self, subject: &Subject, content: &Content) {
        let mut state = self.state();
        let key = state
            .secrets
            .iter()
            .find(|(_, facts)| facts.uid == content.facts.uid)
            .map(|(key, _)| key.clone());
        let Some(key) = key else { return };
        let version = state.secrets.get(&key).map(|facts| facts.version);
        state.output_memory(subject.key(), &key).rebuild_refused = version;
    }

    fn reported_fingerprint(&self, subject: &Subject) -> Option<String> {
        let Subject::Certificate(key) = subject else {
            return None;
        };
        match &self.state().certificates.get(key)?.seen {
            crate::store::Seen::Object(object) => object.status().fingerprint,
            crate::store::Seen::Broken(_) => None,
        }
    }

    async fn take_into_record(&self, subject: &Subject, issued: Issued) -> Result<(), StoreError> {
        let mut work = Work::default();
        let known = self.state().records.contains_key(subject);
        let (expected, mut record) = if known {
            match self.load(subject, &mut work).await {
                Ok((version, record)) => (Some(*version), record.clone()),
                // Unreadable: what the output carries is better than nothing.
                Err(StoreError::Malformed(..)) => {
                    let version = self.state().records.get(subject).map(|r| r.version);
                    (version, self.fresh_record(subject))
                }
                Err(error) => return Err(error),
            }
        } else {
            (None, self.fresh_record(subject))
        };
        record.ledger.revision = record.ledger.revision.max(issued.revision);
        if let Some(open) = record.open.take()
            && open.phase != Phase::Issued
        {
            record.ledger.possible_orphans += 1;
        }
        if issued.why != Reason::Adopted {
            self.take_requests_as_served(subject, &mut record);
        }
        record.previous = record.current.take();
        record.current = Some(issued);
        self.save(subject, &mut work, record, expected).await?;
        Ok(())
    }

    /// What was asked for before the record was lost may have been served: nothing is issued for doubt.
    fn take_requests_as_served(&self, subject: &Subject, record: &mut Record) {
        let requests = self
            .state()
            .with_world(subject, self.clock.now(), None, |world| world.annotations.clone());
        for annotation in [RENEW_ANNOTATION, RECREATE_ANNOTATION, REVOKE_ANNOTATION] {
            if let Some(token) = requests.get(annotation) {
                record.ledger.served.insert(annotation.to_owned(), token.clone());
            }
        }
    }

    /// Takes out of the record what is no longer needed: the previous key, the finished transaction.
    pub(super) async fn tidy(&self, subject: &Subject, work: &mut Work) -> Result<Go, StoreError> {
        let keep_previous = {
            let (now, offset) = (self.clock.now(), self.store.clock_offset());
            self.state()
                .with_world(subject, now, offset, |world| world.previous_in_use)
        };
        let (version, record) = self.load(subject, work).await?;
        let (version, mut record) = (*version, record.clone());
        if !keep_previous {
            record.previous = None;
        }
        record.open = None;
        record.ledger.prune(self.clock.now());
        if let Some(current) = &mut record.current {
            current.outputs.iter_mut().for_each(|output| output.proven = true);
        }
        self.save(subject, work, record, Some(version)).await?;
        Ok(Go::On)
    }

    /// Puts our finalizer on the object, or takes it off.
    pub(super) async fn hold(&self, subject: &Subject, presence: Presence) -> Result<Go, StoreError> {
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        self.store.set_finalizer(subject.key(), presence).await?;
        self.state().set_finalizer(subject, presence);
        Ok(Go::On)
    }

    /// Winds up a deleted object, one step at a time.
    pub(super) async fn finalize(
        &self,
        subject: &Subject,
        work: &mut Work,
        step: Finalize,
    ) -> Result<Go, StoreError> {
        match step {
            Finalize::ScheduleRevocation => {
                let (version, record) = self.load(subject, work).await?;
                let (version, mut record) = (*version, record.clone());
                if let Some(current) = record.current.take() {
                    let (certificate, key) = (current.certificate, current.key);
                    record.ledger.to_revoke.push(ToRevoke {
                        certificate,
                        key,
                        attempts: 0,
                        superseded: false,
                    });
                }
                record.previous = None;
                record.open = None;
                self.save(subject, work, record, Some(version)).await?;
            }
            Finalize::DeleteOutputs => {
                self.delete_outputs(subject).await?;
                self.delete_record(subject).await?;
                return self.let_go(subject).await;
            }
            Finalize::Release => {
                return self.let_go(subject).await;
            }
        }
        Ok(Go::On)
    }

    async fn let_go(&self, subject: &Subject) -> Result<Go, StoreError> {
        if !self.may_act() {
            return Err(StoreError::LeaseLost);
        }
        self.store.set_finalizer(subject.key(), Presence::Absent).await?;
        Ok(Go::Wait(None))
    }

    /// Takes our bytes away: the Secret as a whole, or, where other Certificates write to it too, our part of it.
    async fn delete_outputs(&self, subject: &Subject) -> Result<(), StoreError> {
        let (now, offset) = (self.clock.now(), self.store.clock_offset());
        let ours: Vec<(OutputPlan, SecretFacts)> = self.state().with_world(subject, now, offset, |world| {
            let carries = world
                .outputs
                .iter()
                .filter(|view| view.carried_revision().is_some());
            carries
                .filter_map(|view| Some((view.plan.as_ref().clone(), view.facts?.clone())))
                .collect()
        });
        for (plan, facts) in ours {
            if !self.may_act() {
                return Err(StoreError::LeaseLost);
            }
            match self.delete_output(subject, &plan, &facts).await {
                Ok(left) => self.state().set_secret(&plan.secret, left),
                Err(StoreError::NotFound(_)) => self.state().set_secret(&plan.secret, None),
                Err(StoreError::Conflict(what)) => {
                    self.refresh_secret(subject, &plan.secret).await?;
                    return Err(StoreError::Conflict(what));
                }
                Err(error) => return Err(error),
            }
            self.wake_others(subject, &plan.secret);
        }
        Ok(())
    }

    /// Returns what is left of the Secret.
    async fn delete_output(
        &self,
        subject: &Subject,
        plan: &OutputPlan,
        facts: &SecretFacts,
    ) -> Result<Option<SecretFacts>, StoreError> {
        let others = self.state().plans_beside(subject.key(), &plan.secret);
        if let Some(release) = release(plan, subject.key(), facts, &others) {
            return self.store.release_secret(&release, facts.version).await.map(Some);
        }
        self.store
            .delete_secret(&plan.secret, &facts.uid, facts.version)
            .await
            .map(|()| None)
    }

    async fn delete_record(&self, subject: &Subject) -> Result<(), StoreError> {
        let version = self.state().records.get(subject).map(|record| record.version);
        if let Some(version) = version {
            if !self.may_act() {
                return Err(StoreError::LeaseLost);
            }
            self.store.delete_record(subject, version).await?;
            self.state().deleted_record(subject);
        }
        Ok(())
    }

    /// The checked wish of a Certificate.
    pub(super) fn certificate_plan(&self, subject: &Subject) -> Option<Arc<CertificatePlan>> {
        self.state().plan(subject)
    }
}

/// The record with an output listed as the wish has it now: a changed layout, or an output that was added, has just been written.
fn relisted(record: &Record, plan: &OutputPlan, revision: u64) -> Record {
    let mut record = record.clone();
    let copies = [record.current.as_mut(), record.previous.as_mut()];
    for issued in copies.into_iter().flatten().filter(|i| i.revision == revision) {
        if let Ok(written) = plan_written(plan, issued, true) {
            issued.outputs.retain(|output| output.secret != plan.secret);
            issued.outputs.push(written);
        }
    }
    record
}

/// Counts a repair that answers a change soon after our own write; says whether that is a fight.
fn count_repair(memory: &mut OutputMemory, now: Timestamp) -> bool {
    let answer = memory
        .last_write
        .is_some_and(|write| now.duration_since(write) <= SignedDuration::from_secs(ANSWER_SECONDS));
    if !answer {
        memory.repairs.clear();
        memory.rival = None;
        return false;
    }
    let since = now - SignedDuration::from_secs(FIGHT_SECONDS);
    memory.repairs.retain(|at| *at > since);
    memory.repairs.push(now);
    if memory.repairs.len() < FIGHT_REPAIRS {
        return false;
    }
    memory.repairs.clear();
    true
}

/// Reads key and certificate out of a Secret, by the wish's own layout.
fn take(plan: &OutputPlan, content: &Content, now: Timestamp) -> Result<Issued, &'static str> {
    let mut key = None;
    let mut certificates: Vec<Certificate> = Vec::new();
    for name in plan.keys.keys() {
        let Some(value) = content.data.get(name.as_str()) else {
            continue;
        };
        if let Ok(found) = PrivateKey::from_bytes(value.expose()) {
            key = Some(found);
        }
        if let Ok(found) = pki::encoding::parse_certificates(value.expose()) {
            for certificate in found {
                if !certificates.contains(&certificate) {
                    certificates.push(certificate);
                }
            }
        }
    }
    let key = key.ok_or("no private key is there")?;
    let leaf = certificates
        .iter()
        .position(|c| c.matches_key(&key))
        .ok_or("key and certificate do not fit")?;
    let certificate = certificates.swap_remove(leaf);
    if certificate.not_after() <= now {
        return Err("the certificate is past its end");
    }
    let path = pki::build_chain(&certificate, &certificates);
    let (root, chain): (Vec<Certificate>, Vec<Certificate>) = path
        .into_iter()
        .filter(|c| *c != certificate)
        .partition(|c| c.subject() == c.issuer());
    let written = written_as_found(plan, content);
    Ok(Issued {
        revision: 1,
        key: Some(StoredKey::of(&key).map_err(|_| "the key cannot be stored")?),
        certificate,
        chain,
        root: root.into_iter().next(),
        issuer: ObjectKey::new("", ""),
        wish: None,
        outputs: vec![written],
        issued_at: now,
        why: Reason::UpToDate,
    })
}

fn written_as_found(plan: &OutputPlan, content: &Content) -> WrittenOutput {
    let ours = || {
        plan.keys
            .keys()
            .filter_map(|name| content.data.get(name.as_str()).map(|value| (name, value)))
    };
    let data = ours()
        .map(|(name, value)| (name.clone(), ContentHash::of(value.expose())))
        .collect();
    let bytes = ours()
        .map(|(name, value)| (name.to_string(), StoredBytes::of(value.expose())))
        .collect();
    let (secret, kind, keys) = (plan.secret.clone(), content.facts.kind.clone(), plan.keys.clone());
    WrittenOutput {
        secret,
        kind,
        keys,
        data: Arc::new(tight(data)),
        proven: true,
        bytes,
    }
}

/// Whether what an output carries fits the wish: the status' fingerprint, or else the names.
fn check_fits(
    plan: &CertificatePlan,
    issued: &Issued,
    fingerprint: Option<&str>,
) -> Result<(), &'static str> {
    if fingerprint.is_some_and(|known| known == issued.certificate.fingerprint_sha256()) {
        return Ok(());
    }
    let wanted = &plan.template.sans;
    let fits = wanted.iter().all(|san| issued.certificate.sans().contains(san));
    if fits {
        Ok(())
    } else {
        Err("its names are not those of the wish")
    }
}
