//! Everything that a store holds at one moment, for commands that look and go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use crate::cli::StoreArgs;
use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::ObjectKey;
use crate::store::dir::{DirStore, FileProblem};
use crate::store::{Change, Seen};

/// How often a command that waits looks again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a store holds.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) issuers: BTreeMap<ObjectKey, Seen<Issuer>>,
    pub(crate) certificates: BTreeMap<ObjectKey, Seen<Certificate>>,
    /// What is wrong with files and does not show in an object.
    pub(crate) problems: Vec<FileProblem>,
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

    /// What the store holds now.
    pub(crate) fn of(store: &DirStore) -> Self {
        let listing = store.objects();
        Self {
            issuers: listing.issuers,
            certificates: listing.certificates,
            problems: listing.problems,
        }
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

/// The store that a client command looks at, as it is now.
pub(crate) fn open(args: &StoreArgs) -> anyhow::Result<DirStore> {
    let dir = args.store.as_ref().context(
        "--store is missing; allowed: the directory of a standalone manager, also by the environment variable OCCM_STORE",
    )?;
    DirStore::open_client(dir).with_context(|| format!("--store {}", dir.display()))
}
