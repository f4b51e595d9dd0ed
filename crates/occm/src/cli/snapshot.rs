//! Everything that a store holds at one moment, for commands that look and go.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::target::advised;
use crate::client::{Item, Objects, Scope, Told};
use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::store::{Change, Seen};

/// How often a command that waits looks again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a store holds.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) issuers: BTreeMap<ObjectKey, Seen<Issuer>>,
    pub(crate) certificates: BTreeMap<ObjectKey, Seen<Certificate>>,
    /// What is wrong with files and does not show in an object.
    pub(crate) problems: Vec<String>,
}

impl Snapshot {
    /// Takes in a change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Issuer(key, seen) => replace(&mut self.issuers, key, seen),
            Change::Certificate(key, seen) => replace(&mut self.certificates, key, seen),
            Change::Secret(..) | Change::Input(..) | Change::Record(..) | Change::Synced => {}
        }
    }

    /// Takes in what a watch tells; whether that changed anything.
    pub(crate) fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Now(item) => self.put(&item),
            Told::Gone(Kind::Issuer, key) => return self.issuers.remove(&key).is_some(),
            Told::Gone(Kind::Certificate, key) => return self.certificates.remove(&key).is_some(),
            Told::Synced | Told::Failed(_) => return false,
        }
        true
    }

    fn put(&mut self, item: &Item) {
        match item.kind {
            Kind::Issuer => drop(self.issuers.insert(item.key.clone(), item.issuer())),
            Kind::Certificate => drop(self.certificates.insert(item.key.clone(), item.certificate())),
        }
    }

    /// What is there now.
    pub(crate) async fn of(objects: &dyn Objects, scope: &Scope) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        for kind in [Kind::Issuer, Kind::Certificate] {
            let items = objects.list(kind, scope).await.map_err(advised)?;
            items.iter().for_each(|item| snapshot.put(item));
        }
        snapshot.problems = objects.problems().await.map_err(advised)?;
        Ok(snapshot)
    }
}

fn replace<T>(map: &mut BTreeMap<ObjectKey, Seen<T>>, key: ObjectKey, seen: Option<Seen<T>>) {
    match seen {
        Some(seen) => {
            map.insert(key, seen);
        }
        None => {
            map.remove(&key);
        }
    }
}
