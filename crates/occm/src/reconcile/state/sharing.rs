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
        (!self.holds(key, &plan.secret, clash), created, key)
    }

    /// Whether a Certificate has written what is wanted by two.
    fn holds(&self, key: &ObjectKey, secret: &ObjectKey, clash: &Clash) -> bool {
        let Some(record) = self.records.get(&Subject::Certificate(key.clone())) else {
            return false;
        };
        let marked = self
            .secrets
            .get(secret)
            .map(|facts| Mark::of(key, &facts.annotations).is_some());
        record
            .copies()
            .flat_map(|issued| &issued.outputs)
            .filter(|written| written.secret == *secret)
            .any(|written| match clash {
                Clash::Key(name) if !written.keys.contains_key(name.as_str()) => false,
                Clash::Key(_) | Clash::Kind(_) | Clash::Label(_) | Clash::Annotation(_) => {
                    marked.unwrap_or(written.proven)
                }
            })
    }
}

type Claim<'a> = (bool, Option<Timestamp>, &'a ObjectKey);
