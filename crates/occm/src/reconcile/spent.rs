//! What subjects have spent of their budgets, in memory beside their records: somebody who deletes a record, spoils it or
//! puts an old one back does not give a budget back.
//!
//! A record that is lost together with the memory, by a restart in between, is another matter: nothing else knows the
//! times. Each such loss gives at most one more day's budget.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::store::Subject;

/// Most stamps that are remembered of a subject.
const MOST: usize = 1024;

/// Times of transactions, by subject.
#[derive(Debug, Default)]
pub struct Spent(HashMap<Subject, Box<[Timestamp]>>);

impl Spent {
    /// A record was read: it learns what is remembered, and what it knows is remembered.
    pub fn merge(&mut self, subject: &Subject, transactions: &mut Vec<Timestamp>) {
        let known = self.0.get(subject).map_or(&[][..], AsRef::as_ref);
        if known == transactions.as_slice() {
            return;
        }
        let all: BTreeSet<Timestamp> = known.iter().chain(transactions.iter()).copied().collect();
        *transactions = all.into_iter().rev().take(MOST).rev().collect();
        self.wrote(subject, transactions);
    }

    /// We wrote a record: it is right.
    pub fn wrote(&mut self, subject: &Subject, transactions: &[Timestamp]) {
        if transactions.is_empty() {
            self.0.remove(subject);
        } else {
            self.0.insert(subject.clone(), transactions.into());
        }
    }

    /// What is remembered.
    pub fn of(&self, subject: &Subject) -> &[Timestamp] {
        self.0.get(subject).map_or(&[], AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_older_record_learns_what_was_spent_since() {
        let (mut spent, subject) = (Spent::default(), Subject::Certificate(ObjectKey::new("a", "x")));
        spent.wrote(&subject, &[at(1), at(2), at(3)]);
        let mut older = vec![at(1)];
        spent.merge(&subject, &mut older);
        assert_eq!(older, [at(1), at(2), at(3)]);
        let mut none = Vec::new();
        spent.merge(&subject, &mut none);
        assert_eq!(none, [at(1), at(2), at(3)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut spent, subject) = (Spent::default(), Subject::Certificate(ObjectKey::new("a", "x")));
        for round in 0..5 {
            let mut told = (0..1000).map(|i| at(round * 1000 + i)).collect();
            spent.merge(&subject, &mut told);
        }
        assert_eq!(spent.of(&subject).len(), MOST);
        assert_eq!(spent.of(&subject).last(), Some(&at(4999)));
    }
}
