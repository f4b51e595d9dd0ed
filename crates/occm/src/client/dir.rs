//! Objects in the directory of a standalone manager.
//!
//! Objects are written into the files that people write: a new one gets a file of its name, a changed one is changed where it
//! stands. Annotations go beside the files, where renewals and other requests are kept. Beside a running manager this is safe:
//! it sees a finished file and nothing else. Who may do what is a matter of the files' owners and modes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use crate::client::check::{check, merged};
use crate::client::{
    ClientError, ClientResult, EventList, EventSeen, Expected, Happened, HappenedList, Happening,
    InputValues, Item, Objects, Run, Scope, SecretSeen, Told,
};
use crate::model::object::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::model::plan::InputRef;
use crate::store::dir::DirStore;
use crate::store::dir::edit::{Edit, Mode, Shown};
use crate::store::{Change, Event, StoreError};

/// Objects in a directory. Cheap to clone.
#[derive(Clone)]
pub struct DirObjects {
    source: Source,
    home: Arc<str>,
}

#[derive(Clone)]
enum Source {
    /// The store of the manager in this process.
    Shared(Arc<DirStore>),
    /// A directory that is read anew each time.
    Path(Arc<PathBuf>),
}

impl DirObjects {
    /// The directory that the manager of this process manages.
    pub fn beside(store: Arc<DirStore>) -> Self {
        Self {
            source: Source::Shared(store),
            home: DEFAULT_NAMESPACE.into(),
        }
    }

    /// A directory that another process may manage. Fails if it cannot be read.
    pub fn open(path: &Path) -> ClientResult<Self> {
        DirStore::open_client(path)?;
        Ok(Self {
            source: Source::Path(Arc::new(path.to_owned())),
            home: DEFAULT_NAMESPACE.into(),
        })
    }

    /// Says which namespace is occm's own. Default: `default`.
    #[must_use]
    pub fn at_home(mut self, namespace: &str) -> Self {
        self.home = namespace.into();
        self
    }

    /// Runs file access on a thread that may block.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DirStore) -> ClientResult<T> + Send + 'static,
    ) -> BoxFuture<'static, ClientResult<T>> {
        let source = self.source.clone();
        async move {
            let done = tokio::task::spawn_blocking(move || match source {
                Source::Shared(store) => work(&store),
                Source::Path(path) => work(&DirStore::open_client(&path)?),
            });
            done.await.unwrap_or_else(|error| {
                Err(ClientError::Unavailable(
                    "directory".to_owned(),
                    error.to_string(),
                ))
            })
        }
        .boxed()
    }

    fn edit(
        &self,
        kind: Kind,
        key: &ObjectKey,
        edit: OwnedEdit,
        expected: Option<&str>,
        run: Run,
    ) -> BoxFuture<'static, ClientResult<Option<Item>>> {
        let (key, expected) = (key.clone(), expected.map(str::to_owned));
        self.run(move |store| {
            let creates = matches!(edit, OwnedEdit::Create(_));
            let done = store.edit(kind, &key, &edit.borrowed(), expected.as_deref(), mode(run));
            match done {
                Ok(shown) => Ok(shown.map(|shown| item(kind, shown))),
                Err(StoreError::Conflict(what)) if creates => Err(ClientError::Exists(what)),
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn replaced(
        &self,
        kind: Kind,
        key: &ObjectKey,
        object: &Value,
        expected: Option<&str>,
        run: Run,
    ) -> ClientResult<Item> {
        let named = check(object, Some(&self.home))?;
        if named.0 != kind || named.1 != *key {
            let problem = format!("is {} {}", named.0, named.1);
            return Err(ClientError::field(
                format!("{kind} {key}"),
                "metadata",
                problem,
                "kind, namespace and name of the object that is written",
            ));
        }
        let done = self.edit(kind, key, OwnedEdit::Replace(object.clone()), expected, run);
        there(kind, key, done.await?)
    }

    async fn patched(
        &self,
        kind: Kind,
        key: &ObjectKey,
        patch: &Value,
        expected: Option<&str>,
        run: Run,
    ) -> ClientResult<Item> {
        if !patch.is_object() {
            let what = format!("{kind} {key}");
            return Err(ClientError::field(
                what,
                "patch",
                "is no object",
                "a merge patch (RFC 7396)",
            ));
        }
        let now = self.get(kind, key).await?;
        if expected.is_some_and(|expected| expected != now.version) {
            return Err(ClientError::Conflict(format!("{kind} {key}")));
        }
        let wanted = merged(&now.value, patch);
        // The version that was patched, also where the caller does not care which.
        self.replaced(kind, key, &wanted, Some(&now.version), run).await
    }
}

/// An edit that can go to another thread.
enum OwnedEdit {
    Create(Value),
    Replace(Value),
    Annotate(BTreeMap<String, String>),
    Delete,
}

impl OwnedEdit {
    fn borrowed(&self) -> Edit<'_> {
        match self {
            Self::Create(object) => Edit::Create(object),
            Self::Replace(object) => Edit::Replace(object),
            Self::Annotate(annotations) => Edit::Annotate(annotations),
            Self::Delete => Edit::Delete,
        }
    }
}

impl Objects for DirObjects {
    fn list<'a>(&'a self, kind: Kind, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<Item>>> {
        let scope = scope.clone();
        self.run(move |store| {
            let all = store.shown_all(kind).into_iter();
            let here = all.filter(|shown| scope.has(&shown.key.namespace));
            Ok(here.map(|shown| item(kind, shown)).collect())
        })
    }

    fn get<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<Item>> {
        let key = key.clone();
        self.run(move |store| {
            there(
                kind,
                &key,
                store.shown_one(kind, &key).map(|shown| item(kind, shown)),
            )
        })
    }

    fn create<'a>(&'a self, object: &'a Value, run: Run) -> BoxFuture<'a, ClientResult<Item>> {
        async move {
            let (kind, key) = check(object, Some(&self.home))?;
            let done = self.edit(kind, &key, OwnedEdit::Create(object.clone()), None, run);
            there(kind, &key, done.await?)
        }
        .boxed()
    }

    fn replace<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        object: &'a Value,
        expected: &'a str,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        self.replaced(kind, key, object, Some(expected), run).boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        patch: &'a Value,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        self.patched(kind, key, patch, expected, run).boxed()
    }

    fn delete<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<()>> {
        let done = self.edit(kind, key, OwnedEdit::Delete, expected, run);
        async move { done.await.map(drop) }.boxed()
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        let done = self.edit(kind, key, OwnedEdit::Annotate(annotations.clone()), expected, run);
        async move { there(kind, key, done.await?) }.boxed()
    }

    fn events<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<EventList>> {
        let key = key.clone();
        self.run(move |store| Ok(gathered(kind, &key, store.kept_events()?)))
    }

    fn happened<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<HappenedList>> {
        let scope = scope.clone();
        self.run(move |store| Ok(happened(&scope, store.kept_events()?)))
    }

    fn happening(&self, scope: &Scope) -> BoxStream<'static, Happening> {
        let Source::Shared(store) = &self.source else {
            return futures::stream::empty().boxed();
        };
        let scope = scope.clone();
        let emitted = futures::stream::unfold(store.emitted(), move |mut emitted| {
            let scope = scope.clone();
            async move {
                loop {
                    match emitted.recv().await {
                        Ok(event) if scope.has(&event.object.namespace) => {
                            let now = Happening::Now(once(event.as_ref().clone()));
                            return Some((now, emitted));
                        }
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => return Some((Happening::Missed, emitted)),
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        });
        futures::stream::iter([Happening::Began]).chain(emitted).boxed()
    }

    fn secrets<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<SecretSeen>>> {
        let scope = scope.clone();
        self.run(move |store| {
            let namespace = match &scope {
                Scope::All => None,
                Scope::Namespace(namespace) => Some(namespace.as_str()),
            };
            let mut seen = Vec::new();
            for key in store.secret_names(namespace)? {
                if let Some((frame, values)) = store.open_secret(&key)? {
                    seen.push(SecretSeen::look(frame, &values));
                }
            }
            seen.retain(SecretSeen::is_of_interest);
            Ok(seen)
        })
    }

    fn secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<SecretSeen>> {
        let key = key.clone();
        self.run(move |store| match store.open_secret(&key)? {
            Some((frame, values)) => Ok(SecretSeen::look(frame, &values)),
            None => Err(ClientError::NotFound(format!("Secret {key}"))),
        })
    }

    fn write_input<'a>(
        &'a self,
        input: &'a InputRef,
        values: &'a InputValues,
        expected: &'a Expected,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<String>> {
        if let Err(error) = values.check(input) {
            return futures::future::ready(Err(error)).boxed();
        }
        let (input, values, expected) = (input.clone(), values.0.clone(), expected.clone());
        self.run(move |store| store.write_input(&input, &values, &expected, mode(run)))
    }

    fn watch(&self, scope: &Scope) -> BoxStream<'static, Told> {
        let store = match &self.source {
            Source::Shared(store) => Arc::clone(store),
            Source::Path(path) => match DirStore::open_client(path) {
                Ok(store) => Arc::new(store),
                Err(error) => return futures::stream::iter([Told::Failed(error.into())]).boxed(),
            },
        };
        let (changes, scope) = (store.watch_with_statuses(), scope.clone());
        changes
            .filter_map(move |change| futures::future::ready(told(&store, &scope, &change)))
            .boxed()
    }

    fn problems(&self) -> BoxFuture<'_, ClientResult<Vec<String>>> {
        self.run(|store| Ok(store.problems().iter().map(ToString::to_string).collect()))
    }

    fn place(&self) -> String {
        match &self.source {
            Source::Shared(store) => format!("directory {}", store.place()),
            Source::Path(path) => format!("directory {}", path.display()),
        }
    }
}

fn mode(run: Run) -> Mode {
    match run {
        Run::Real => Mode::Write,
        Run::Dry => Mode::Try,
    }
}

fn there(kind: Kind, key: &ObjectKey, item: Option<Item>) -> ClientResult<Item> {
    item.ok_or_else(|| ClientError::NotFound(format!("{kind} {key}")))
}

fn item(kind: Kind, shown: Shown) -> Item {
    Item {
        kind,
        key: shown.key,
        version: shown.version,
        value: shown.value,
        broken: shown.broken,
        applier: None,
    }
}

fn told(store: &DirStore, scope: &Scope, change: &Change) -> Option<Told> {
    let (kind, key, there) = match change {
        Change::Issuer(key, seen) => (Kind::Issuer, key, seen.is_some()),
        Change::Certificate(key, seen) => (Kind::Certificate, key, seen.is_some()),
        Change::Synced => return Some(Told::Synced),
        Change::Secret(..) | Change::Input(..) | Change::Record(..) => return None,
    };
    if !scope.has(&key.namespace) {
        return None;
    }
    let shown = there.then(|| store.shown_one(kind, key)).flatten();
    Some(shown.map_or_else(
        || Told::Gone(kind, key.clone()),
        |shown| Told::Now(item(kind, shown)),
    ))
}

/// The Events of an object, newest first; the same one again counts.
fn gathered(kind: Kind, key: &ObjectKey, all: Vec<Event>) -> EventList {
    let reaches_back_to = all.first().map(|event| event.time);
    let mut at: HashMap<(String, String), usize> = HashMap::new();
    let mut items: Vec<EventSeen> = Vec::new();
    for event in all
        .into_iter()
        .filter(|event| event.kind == kind && event.object == *key)
    {
        let name = (event.reason.to_string(), event.message.clone());
        let known = at.get(&name).and_then(|at| items.get_mut(*at));
        if let Some(known) = known {
            (known.time, known.count) = (event.time, known.count + 1);
            continue;
        }
        at.insert(name, items.len());
        items.push(EventSeen {
            time: event.time,
            severity: event.severity,
            reason: event.reason.to_string(),
            message: event.message,
            count: 1,
            source: "occm".to_owned(),
        });
    }
    items.sort_by_key(|event| std::cmp::Reverse(event.time));
    EventList {
        items,
        reaches_back_to,
        source: "Directory".to_owned(),
    }
}

/// An Event as it happened one time.
fn once(event: Event) -> Happened {
    Happened {
        kind: event.kind,
        key: event.object,
        event: EventSeen {
            time: event.time,
            severity: event.severity,
            reason: event.reason.to_string(),
            message: event.message,
            count: 1,
            source: "occm".to_owned(),
        },
    }
}

/// The Events of all objects in a scope, newest first.
fn happened(scope: &Scope, all: Vec<Event>) -> HappenedList {
    let reaches_back_to = all.first().map(|event| event.time);
    let seen = all.into_iter().filter(|event| scope.has(&event.object.namespace));
    let mut items: Vec<Happened> = seen.map(once).collect();
    items.sort_by_key(|happened| std::cmp::Reverse(happened.event.time));
    HappenedList {
        items,
        reaches_back_to,
    }
}
