//! What this replica knows of all objects, from a watch of its own: rows for lists, and the changes as they come.
//!
//! Every replica has one, leader or not. It is read on behalf of callers only through what they may see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures::StreamExt;
use tokio::sync::broadcast;

use crate::api::dto::{CertificateEntry, IssuerEntry};
use crate::client::{Objects, Scope, Told};
use crate::model::object::{Kind, ObjectKey};

/// Changes that a slow reader of a stream may be behind.
const WAITING: usize = 4096;
/// Changes that are kept for a reader that comes again.
const KEPT: usize = 4096;

/// What this replica knows.
pub(crate) struct View {
    home: String,
    inner: RwLock<Inner>,
    changes: broadcast::Sender<Arc<Moved>>,
    /// Names this view, so that a reader of another one is told so.
    pub(crate) name: String,
}

/// The objects.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) certificates: BTreeMap<ObjectKey, Arc<CertificateEntry>>,
    pub(crate) issuers: BTreeMap<ObjectKey, Arc<IssuerEntry>>,
    kept: VecDeque<Arc<Moved>>,
    sequence: u64,
    /// Watches that told everything.
    synced: BTreeSet<String>,
    /// Watches that cannot be told anything at the moment, and why.
    failed: BTreeMap<String, String>,
    expected: usize,
}

/// A change.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) key: ObjectKey,
    pub(crate) entry: Entry,
}

/// What a reader of changes gets.
pub(crate) struct Changes {
    /// The changes since its last one, if they are all still known.
    pub(crate) missed: Option<Vec<Arc<Moved>>>,
    /// Number of the newest change.
    pub(crate) newest: u64,
    /// The changes to come.
    pub(crate) coming: broadcast::Receiver<Arc<Moved>>,
}

/// What an object is now.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Certificate(Arc<CertificateEntry>),
    Issuer(Arc<IssuerEntry>),
    Gone,
}

impl View {
    pub(crate) fn new(home: &str) -> Self {
        Self {
            home: home.to_owned(),
            inner: RwLock::default(),
            changes: broadcast::Sender::new(WAITING),
            name: pki::random::text(8).unwrap_or_default(),
        }
    }

    /// Follows objects for ever; ends only when the store is closed.
    pub(crate) fn follow(self: &Arc<Self>, objects: &dyn Objects, scopes: Vec<Scope>) {
        self.write().expected = scopes.len();
        for scope in scopes {
            let mut told = objects.watch(&scope);
            let view = Arc::clone(self);
            let name = match scope {
                Scope::All => String::new(),
                Scope::Namespace(namespace) => namespace,
            };
            tokio::spawn(async move {
                while let Some(told) = told.next().await {
                    view.take(&name, told);
                }
                tracing::warn!(namespace = name, "the API is told nothing more");
            });
        }
    }

    fn take(&self, watch: &str, told: Told) {
        match told {
            Told::Now(item) => {
                let entry = match item.kind {
                    Kind::Certificate => Entry::Certificate(Arc::new(CertificateEntry::of(
                        &item.key,
                        &item.version,
                        &item.certificate(),
                        &self.home,
                    ))),
                    Kind::Issuer => Entry::Issuer(Arc::new(IssuerEntry::of(
                        &item.key,
                        &item.version,
                        &item.issuer(),
                    ))),
                };
                self.put(watch, item.kind, item.key, entry);
            }
            Told::Gone(kind, key) => self.put(watch, kind, key, Entry::Gone),
            Told::Synced => {
                let mut inner = self.write();
                inner.synced.insert(watch.to_owned());
                inner.failed.remove(watch);
            }
            Told::Failed(error) => {
                let mut inner = self.write();
                if inner.failed.insert(watch.to_owned(), error.to_string()).is_none() {
                    tracing::warn!(namespace = watch, %error, "the API is not told changes at the moment");
                }
            }
        }
    }

    fn put(&self, watch: &str, kind: Kind, key: ObjectKey, entry: Entry) {
        let mut inner = self.write();
        inner.failed.remove(watch);
        match &entry {
            Entry::Certificate(entry) => {
                inner.certificates.insert(key.clone(), Arc::clone(entry));
            }
            Entry::Issuer(entry) => {
                inner.issuers.insert(key.clone(), Arc::clone(entry));
            }
            Entry::Gone => {
                match kind {
                    Kind::Certificate => inner.certificates.remove(&key).is_some(),
                    Kind::Issuer => inner.issuers.remove(&key).is_some(),
                };
            }
        }
        inner.sequence += 1;
        let moved = Arc::new(Moved {
            sequence: inner.sequence,
            kind,
            key,
            entry,
        });
        inner.kept.push_back(Arc::clone(&moved));
        while inner.kept.len() > KEPT {
            inner.kept.pop_front();
        }
        // Nobody listening is no error. Sent under the lock, so that a reader gets changes in order and none twice.
        let _ = self.changes.send(moved);
    }

    /// The objects now. The lock is held only by the caller's own look.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Namespaces that hold objects, and occm's own.
    pub(crate) fn namespaces(&self, home: &str) -> Vec<String> {
        let inner = self.read();
        let mut all: BTreeSet<&str> = BTreeSet::from([home]);
        all.extend(inner.certificates.keys().map(|key| key.namespace.as_str()));
        all.extend(inner.issuers.keys().map(|key| key.namespace.as_str()));
        all.into_iter().map(str::to_owned).collect()
    }

    /// Whether everything that exists was told.
    pub(crate) fn synced(&self) -> bool {
        let inner = self.read();
        inner.expected > 0 && inner.synced.len() == inner.expected
    }

    /// Whether changes are told at the moment.
    pub(crate) fn failing(&self) -> bool {
        !self.read().failed.is_empty()
    }

    /// The changes after `last`, if they are all still known, the number of the newest change, and those to come.
    pub(crate) fn changes_after(&self, last: Option<u64>) -> Changes {
        let inner = self.read();
        let coming = self.changes.subscribe();
        let oldest = inner
            .kept
            .front()
            .map_or(inner.sequence + 1, |moved| moved.sequence);
        let missed = last
            .filter(|last| *last <= inner.sequence && *last + 1 >= oldest)
            .map(|last| {
                inner
                    .kept
                    .iter()
                    .filter(|moved| moved.sequence > last)
                    .cloned()
                    .collect()
            });
        Changes {
            missed,
            newest: inner.sequence,
            coming,
        }
    }
}

impl Inner {
    /// How many Certificates of these namespaces refer to an Issuer.
    pub(crate) fn certificates_of(&self, issuer: &ObjectKey, namespaces: &[String]) -> usize {
        self.certificates
            .iter()
            .filter(|(key, entry)| {
                namespaces.iter().any(|name| *name == key.namespace)
                    && entry.row.issuer.name == issuer.name
                    && entry.row.issuer.namespace == issuer.namespace
            })
            .count()
    }
}
