//! Several Certificates that name one Secret: who may write what.
//!
//! Different keys of one Secret may belong to different Certificates. Where two want the same key, or differ in what the
//! Secret as a whole is, the one that was there first goes on and the other one waits, whatever its `existing` says. First
//! is who has written it; among those who have not, who was created first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::object::ObjectKey;
use crate::model::plan::OutputPlan;
use crate::reconcile::marks::Mark;
use crate::reconcile::outputs::{Clash, Rival};
use crate::reconcile::state::State;
use crate::store::{Seen, Subject};

impl State {
    /// Other Certificates that name this Secret.
    pub(super) fn others_at<'a>(
        &'a self,
        secret: &ObjectKey,
        owner: &'a ObjectKey,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        let all = self.by_output.get(secret).into_iter().flatten();
        all.filter(move |other| *other != owner)
    }

    /// The same as subjects.
    pub fn subjects_beside(&self, owner: &ObjectKey, secret: &ObjectKey) -> BTreeSet<Subject> {
        let others = self.others_at(secret, owner);
        others.cloned().map(Subject::Certificate).collect()
    }

    /// What the other Certificates that name this Secret want there.
    pub fn plans_beside(&self, owner: &ObjectKey, secret: &ObjectKey) -> Vec<OutputPlan> {
        let others = self.others_at(secret, owner);
        others.filter_map(|other| self.plan_at(other, secret)).collect()
    }

    /// What a Certificate wants at a Secret; while its wish cannot be read, what it wrote there.
    fn plan_at(&self, key: &ObjectKey, secret: &ObjectKey) -> Option<OutputPlan> {
        let subject = Subject::Certificate(key.clone());
        let wish = self.plan(&subject);
        let record = self.records.get(&subject);
        let plans = self.output_plans(&subject, wish.as_deref(), record.map(AsRef::as_ref));
        let plan = plans.into_iter().find(|output| output.secret == *secret);
        plan.map(Cow::into_owned)
    }

    /// The Certificate that stands before `owner` at an output, and over what.
    pub(super) fn rival(&self, owner: &ObjectKey, plan: &OutputPlan) -> Option<Rival> {
        self.others_at(&plan.secret, owner).find_map(|other| {
            let clash = Clash::between(plan, &self.plan_at(other, &plan.secret)?)?;
            let first = self.claim(other, plan, &clash) < self.claim(owner, plan, &clash);
            first.then(|| Rival {
                certificate: other.clone(),
                clash,
            })
        })
    }

    /// Orders those who want the same: the smallest is first.
    fn claim<'a>(&self, key: &'a ObjectKey, plan: &OutputPlan, clash: &Clash) -> Claim<'a> {
        let created = match self.certificates.get(key).map(|entry| &entry.seen) {
            Some(Seen::Object(object)) => object.created,
            _ => None,
        };
        (self.standing(key, &plan.secret, clash), created, key)
    }

    /// How far a Certificate has come with what is wanted by two.
    fn standing(&self, key: &ObjectKey, secret: &ObjectKey, clash: &Clash) -> Standing {
        let subject = Subject::Certificate(key.clone());
        let record = self.records.get(&subject);
        let copies = record.into_iter().flat_map(|record| record.copies());
        let mut listed = copies
            .flat_map(|issued| &issued.outputs)
            .filter(|written| written.secret == *secret)
            .filter(|written| match clash {
                Clash::Key(name) => written.keys.contains_key(name.as_str()),
                Clash::Kind(_) | Clash::Label(_) | Clash::Annotation(_) => true,
            })
            .peekable();
        if listed.peek().is_none() {
            return Standing::Wished;
        }
        let wrote = match self.secrets.get(secret) {
            Some(facts) => Mark::of(key, &facts.annotations).is_some(),
            // The record does not tell before it is tidied, and the Secret is gone.
            None => {
                let memory = self.outputs.get(&(key.clone(), secret.clone()));
                listed.any(|written| written.proven)
                    || memory.is_some_and(|memory| memory.known_ours)
                    || self.reported_in_sync(&subject, secret)
            }
        };
        if wrote { Standing::Wrote } else { Standing::Issued }
    }
}

/// How far a Certificate has come with an output, the furthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It has written it.
    Wrote,
    /// It has a certificate that was to go there.
    Issued,
    /// It has none yet.
    Wished,
}

type Claim<'a> = (Standing, Option<Timestamp>, &'a ObjectKey);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::certificate::{Certificate, CertificateSpec, IssuerRef};
    use crate::model::object::{API_VERSION, Metadata};
    use crate::model::reason::Reason;
    use crate::reconcile::world::{IssuedFacts, RecordFacts, RecordState};
    use crate::record::{Ledger, WrittenOutput};
    use crate::store::{Change, ContentHash, SecretFacts, Version};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    /// A manager that was told of these Certificates in the same second; all want the keys of the Secret `pair`.
    fn told(names: &[&str]) -> State {
        let mut state = State::new("default");
        for name in names {
            let spec = CertificateSpec {
                issuer_ref: IssuerRef {
                    name: "ca".to_owned(),
                    ..IssuerRef::default()
                },
                common_name: Some("web.example".to_owned()),
                secret_name: Some("pair".to_owned()),
                ..CertificateSpec::default()
            };
            let object = Certificate {
                api_version: API_VERSION.to_owned(),
                kind: "Certificate".to_owned(),
                metadata: Metadata {
                    namespace: "default".to_owned(),
                    name: (*name).to_owned(),
                    ..Metadata::default()
                },
                spec,
                status: None,
            };
            state.apply(Change::Certificate(
                key(name),
                Some(Seen::Object(Arc::new(object))),
            ));
        }
        state
    }

    fn plan(state: &State, name: &str) -> OutputPlan {
        state.plan_at(&key(name), &key("pair")).unwrap()
    }

    fn rival(state: &State, name: &str) -> Option<ObjectKey> {
        state
            .rival(&key(name), &plan(state, name))
            .map(|rival| rival.certificate)
    }

    /// Its record lists the output, which is not proven yet.
    fn issue(state: &mut State, name: &str) {
        let wanted = plan(state, name);
        let output = WrittenOutput {
            secret: wanted.secret,
            kind: wanted.kind,
            // A copy of its own, as it is read from a record.
            keys: Arc::new(wanted.keys.as_ref().clone()),
            data: Default::default(),
            proven: false,
            bytes: Default::default(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let current = IssuedFacts {
            revision: 1,
            serial: String::new(),
            fingerprint: ContentHash::of(b"a certificate"),
            subject: String::new(),
            not_before: now,
            not_after: now,
            key_fits: true,
            may_sign: true,
            key_algorithm: None,
            sans: Vec::new(),
            issuer: key("ca"),
            wish: None,
            outputs: vec![output],
            issued_at: now,
            why: Reason::Missing,
        };
        let record = RecordFacts {
            version: Version(1),
            state: RecordState::Usable,
            current: Some(current),
            previous: None,
            open: None,
            ledger: Ledger::default(),
            to_revoke: 0,
        };
        state.set_record(&Subject::Certificate(key(name)), Some(record));
    }

    #[test]
    fn whoever_has_a_certificate_for_a_secret_that_was_just_deleted_is_before_a_newcomer() {
        let mut state = told(&["a-newcomer", "first"]);
        assert_eq!(rival(&state, "first"), Some(key("a-newcomer")), "by name alone");
        issue(&mut state, "first");
        assert_eq!(rival(&state, "first"), None);
        assert_eq!(rival(&state, "a-newcomer"), Some(key("first")));
    }

    #[test]
    fn whoever_wrote_a_secret_that_was_just_deleted_is_before_one_that_only_has_a_certificate() {
        let mut state = told(&["a-late", "first"]);
        issue(&mut state, "a-late");
        issue(&mut state, "first");
        state.output_memory(&key("first"), &key("pair")).known_ours = true;
        assert_eq!(rival(&state, "first"), None);
        assert_eq!(rival(&state, "a-late"), Some(key("first")));
    }
    #[test]
    fn what_record_and_secret_say_as_the_wish_does_is_kept_once() {
        let mut state = told(&["first"]);
        issue(&mut state, "first");
        let wanted = plan(&state, "first");
        let record = Arc::clone(&state.records[&Subject::Certificate(key("first"))]);
        let written = &record.current.as_ref().unwrap().outputs[0];
        assert!(Arc::ptr_eq(&written.keys, &wanted.keys));
        let facts = SecretFacts {
            version: Version(1),
            uid: "one".into(),
            kind: wanted.kind,
            immutable: false,
            data: Default::default(),
            labels: Default::default(),
            annotations: Default::default(),
            controller: None,
            last_writer: None,
            terminating: false,
        };
        state.apply(Change::Secret(key("pair"), Some(Arc::new(facts))));
        assert!(Arc::ptr_eq(&state.secrets[&key("pair")].data, &written.data));
    }
}
