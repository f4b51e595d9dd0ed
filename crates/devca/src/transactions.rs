//! Transactions that are open or were lately: what was answered, what is waited for.
//!
//! ```text
//!              polls wanted                    last pollReq
//!  request ──┬─────────────► Waiting(request) ─────┬─► answer
//!            └─────────────────────────────────────┘     │
//!                             certificate issued, explicit confirmation: Confirming(certificates)
//!                             else: Closed                            │ certConf (may wait too)
//!                                                                     ▼
//!                                                                  Closed
//! ```
//!
//! A transaction is forgotten some time after its last message, and the oldest is when there are too many.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use pki::Certificate;

use crate::faults::Struck;

/// Answers that are remembered per transaction, newest last: a repeat comes soon or never.
const REMEMBERED_ANSWERS: usize = 4;

/// One transaction.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    /// Who started it. Later messages must come from the same client.
    pub(crate) client: String,
    /// The certificate that signed its messages: clients may leave it out after the first.
    pub(crate) signer: Option<Certificate>,
    pub(crate) phase: Phase,
    /// senderNonce of our last answer: the next request must bring it as recipNonce.
    pub(crate) nonce: Vec<u8>,
    /// Hash of a request and the answer to it.
    answers: VecDeque<([u8; 32], Vec<u8>)>,
    expires: Timestamp,
}

/// How far it is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// The client polls; the request is worked on when `left` polls are over.
    Waiting {
        /// The message that is waited for.
        request: Vec<u8>,
        /// certReqId that pollReq must name.
        request_id: i64,
        left: u32,
        /// The certificate that the request is about, if it is a certConf.
        confirming: Option<Confirming>,
        /// Faults that struck the request and show when it is worked on.
        struck: Struck,
    },
    /// A certificate was handed out and certConf is expected.
    Confirming(Confirming),
    /// Nothing more is expected.
    Closed,
}

/// A certificate that waits for certConf.
#[derive(Debug, Clone)]
pub(crate) struct Confirming {
    pub(crate) request_id: i64,
    pub(crate) certificate: Certificate,
    pub(crate) serial: String,
}

impl Transaction {
    /// The answer to these very bytes, if they were answered before.
    pub(crate) fn answer_to(&self, request: &[u8; 32]) -> Option<&[u8]> {
        self.answers
            .iter()
            .rev()
            .find(|(hash, _)| hash == request)
            .map(|(_, answer)| answer.as_slice())
    }
}

/// All transactions. Whoever works on one takes it out, so that two messages of one transaction cannot race; the lock
/// around this is held for map operations only.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    by_id: HashMap<Vec<u8>, Slot>,
    by_expiry: BTreeSet<(Timestamp, Vec<u8>)>,
}

#[derive(Debug)]
enum Slot {
    /// A message of it is being worked on.
    Taken,
    Here(Box<Transaction>),
}

/// What is known of a transactionID.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Nothing. The identifier is reserved now.
    New,
    /// This. It is reserved now.
    Known(Box<Transaction>),
    /// Another message of it is being worked on at this moment.
    Busy,
}

impl Transactions {
    /// Takes a transaction out. [`Self::put`] or [`Self::release`] must follow unless it was busy.
    pub(crate) fn take(&mut self, id: &[u8], now: Timestamp, limit: usize) -> Taken {
        self.sweep(now, limit);
        let Some(slot) = self.by_id.get_mut(id) else {
            self.by_id.insert(id.to_vec(), Slot::Taken);
            return Taken::New;
        };
        match std::mem::replace(slot, Slot::Taken) {
            Slot::Taken => Taken::Busy,
            Slot::Here(transaction) => {
                self.by_expiry.remove(&(transaction.expires, id.to_vec()));
                Taken::Known(transaction)
            }
        }
    }

    /// Puts a transaction back with one more answer.
    pub(crate) fn put(
        &mut self,
        id: Vec<u8>,
        mut transaction: Box<Transaction>,
        answered: Option<([u8; 32], Vec<u8>)>,
        expires: Timestamp,
    ) {
        if let Some(answered) = answered {
            if transaction.answers.len() >= REMEMBERED_ANSWERS {
                transaction.answers.pop_front();
            }
            transaction.answers.push_back(answered);
        }
        transaction.expires = expires;
        self.by_expiry.insert((expires, id.clone()));
        self.by_id.insert(id, Slot::Here(transaction));
    }

    /// The certificate that has signed the messages of this transaction so far.
    pub(crate) fn signer(&self, id: &[u8]) -> Option<Certificate> {
        match self.by_id.get(id) {
            Some(Slot::Here(transaction)) => transaction.signer.clone(),
            Some(Slot::Taken) | None => None,
        }
    }

    /// Gives back an identifier that was reserved and came to nothing.
    pub(crate) fn release(&mut self, id: &[u8]) {
        if matches!(self.by_id.get(id), Some(Slot::Taken)) {
            self.by_id.remove(id);
        }
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) {
        while let Some((expires, _)) = self.by_expiry.first()
            && (*expires < now || self.by_expiry.len() >= limit.max(1))
        {
            if let Some((_, id)) = self.by_expiry.pop_first() {
                self.by_id.remove(&id);
            }
        }
    }
}

/// A transaction that begins.
pub(crate) fn begin(client: String, signer: Option<Certificate>) -> Box<Transaction> {
    Box::new(Transaction {
        client,
        signer,
        phase: Phase::Closed,
        nonce: Vec::new(),
        answers: VecDeque::new(),
        expires: Timestamp::UNIX_EPOCH,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_transaction_is_known_until_it_expires_and_busy_while_it_is_worked_on() {
        let mut transactions = Transactions::default();
        assert!(matches!(transactions.take(b"a", at(0), 9), Taken::New));
        assert!(matches!(transactions.take(b"a", at(0), 9), Taken::Busy));
        transactions.put(
            b"a".to_vec(),
            begin("c".to_owned(), None),
            Some(([1; 32], vec![7])),
            at(10),
        );
        let Taken::Known(known) = transactions.take(b"a", at(10), 9) else {
            panic!("not known")
        };
        assert_eq!(known.answer_to(&[1; 32]), Some(&[7][..]));
        assert_eq!(known.answer_to(&[2; 32]), None);
        transactions.put(b"a".to_vec(), known, None, at(10));
        assert!(matches!(transactions.take(b"a", at(11), 9), Taken::New));
    }

    #[test]
    fn the_number_of_transactions_is_bounded_and_the_oldest_goes_first() {
        let mut transactions = Transactions::default();
        for id in 0..10_u8 {
            assert!(matches!(transactions.take(&[id], at(0), 3), Taken::New));
            transactions.put(
                vec![id],
                begin(String::new(), None),
                None,
                at(100 + i64::from(id)),
            );
        }
        assert_eq!(transactions.by_id.len(), 3);
        assert!(matches!(transactions.take(&[9], at(0), 4), Taken::Known(_)));
        assert!(matches!(transactions.take(&[0], at(0), 4), Taken::New));
    }
}
