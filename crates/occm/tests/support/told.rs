//! A reader of a store's watch.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};

use occm::model::object::{ObjectKey, ROLE_LABEL, ROLE_OUTPUT};
use occm::store::{Change, SecretFacts, SecretWrite, Store};

use crate::cluster::PATIENCE;

/// The watch, read one change at a time.
pub(crate) struct Told(BoxStream<'static, Change>);

impl Told {
    pub(crate) fn new(store: &dyn Store) -> Self {
        Self(store.watch())
    }

    pub(crate) async fn next(&mut self) -> Change {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("a change is told in time")
            .expect("the watch goes on")
    }

    /// Everything up to the end of the list.
    pub(crate) async fn list(&mut self) -> Vec<Change> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Change::Synced => return all,
                change => all.push(change),
            }
        }
    }

    /// What is told next of a Secret.
    pub(crate) async fn secret(&mut self, key: &ObjectKey) -> Option<Arc<SecretFacts>> {
        loop {
            if let Change::Secret(told, facts) = self.next().await
                && told == *key
            {
                return facts;
            }
        }
    }
}

/// An output as the Certificate `writer` of the same namespace writes it.
pub(crate) fn write(key: &ObjectKey, writer: &str, data: &[(&str, &str)]) -> SecretWrite {
    SecretWrite {
        key: key.clone(),
        writer: ObjectKey::new(key.namespace.clone(), writer),
        kind: "Opaque".to_owned(),
        data: data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), pki::Secret::from(value.as_bytes())))
            .collect(),
        labels: BTreeMap::from([(ROLE_LABEL.to_owned(), ROLE_OUTPUT.to_owned())]),
        annotations: BTreeMap::from([("occm.dev/revision".to_owned(), "1".to_owned())]),
    }
}
