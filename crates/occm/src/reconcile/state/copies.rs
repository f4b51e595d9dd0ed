//! One copy of what many places know: names, layouts and hashes stand in wish, record and Secret alike, times ten thousand.

use std::sync::Arc;

use crate::model::object::ObjectKey;
use crate::model::plan::CertificatePlan;
use crate::reconcile::state::State;
use crate::reconcile::world::RecordFacts;
use crate::store::{SecretFacts, Subject};

impl State {
    /// The name of a Certificate as its record has it, if there is one.
    pub(super) fn known_name(&self, key: ObjectKey) -> ObjectKey {
        let subject = Subject::Certificate(key);
        let known = self.records.get_key_value(&subject);
        known.map_or(&subject, |(known, _)| known).key().clone()
    }

    /// Names in a wish as they are known already.
    pub(super) fn share_names(&self, plan: &mut CertificatePlan) {
        let issuer = self.by_issuer.get_key_value(&plan.issuer).map(|(known, _)| known);
        if let Some(known) =
            issuer.or_else(|| self.issuers.get_key_value(&plan.issuer).map(|(known, _)| known))
        {
            plan.issuer.clone_from(known);
        }
        for output in &mut plan.outputs {
            let present = self.secrets.get_key_value(&output.secret).map(|(known, _)| known);
            if let Some(known) = present.or_else(|| self.absent.get(&output.secret)) {
                output.secret.clone_from(known);
            }
        }
    }

    /// What a record has in common with the wish and with the Secrets.
    pub(super) fn share_record(&self, subject: &Subject, facts: &mut RecordFacts) {
        let plan = self.plan(subject);
        let issued = facts.current.iter_mut().chain(facts.previous.as_deref_mut());
        for issued in issued {
            if let Some(plan) = &plan {
                share(&mut issued.issuer, &plan.issuer);
            }
            for written in &mut issued.outputs {
                let mut wanted = plan.iter().flat_map(|plan| &plan.outputs);
                if let Some(wanted) = wanted.find(|wanted| wanted.secret == written.secret) {
                    written.secret.clone_from(&wanted.secret);
                    share(&mut written.keys, &wanted.keys);
                }
                if let Some(secret) = self.secrets.get(&written.secret) {
                    share(&mut written.data, &secret.data);
                }
            }
        }
    }

    /// The same for a record that is known already.
    pub(super) fn share_known_record(&mut self, subject: &Subject) {
        let Some(mut record) = self.records.remove(subject) else {
            return;
        };
        if let Some(facts) = Arc::get_mut(&mut record) {
            self.share_record(subject, facts);
        }
        self.records.insert(subject.clone(), record);
    }

    /// What a Secret has in common with the records of those who write it.
    pub(super) fn share_secret(&self, key: &ObjectKey, facts: &mut SecretFacts) {
        let writers = self.by_output.get(key).into_iter().flatten();
        for writer in writers {
            let record = self.records.get(&Subject::Certificate(writer.clone()));
            let issued = record.and_then(|record| record.current.as_ref());
            let mut outputs = issued.into_iter().flat_map(|issued| &issued.outputs);
            if let Some(written) = outputs.find(|written| written.secret == *key) {
                share(&mut facts.data, &written.data);
            }
        }
    }
}

/// Keeps one copy of what both say; `T` is a pointer.
fn share<T: PartialEq + Clone>(mine: &mut T, other: &T) {
    if mine == other {
        mine.clone_from(other);
    }
}
