//! Live changes as server-sent events: rows as they become so, Events and audit lines as they happen, for what the caller
//! may see.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::Instant;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::activity::ActivityRow;
use crate::api::audit::Kept;
use crate::api::caller::Caller;
use crate::api::objects::Door;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::Params;
use crate::api::view::{Entry, Moved};
use crate::client::{Happening, Scope};
use crate::model::object::Kind;

/// How often a line comes when nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long it is remembered that a caller may see a namespace.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long the first line waits for Events to be followed.
const BEGINNING: Duration = Duration::from_secs(2);

/// Parameters of the stream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ChangesQuery {
    /// Only this namespace.
    #[schemars(length(max = 63))]
    namespace: Option<String>,
    /// Ends the stream after what is known already: for tests and for looking once.
    once: bool,
}

/// One change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a, R> {
    #[serde(rename = "type")]
    kind: &'a str,
    row: R,
}

#[derive(Serialize)]
struct Gone<'a> {
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Synced {
    /// Whether all changes since `Last-Event-ID` were told; otherwise lists must be read again.
    complete: bool,
}

/// A stream for one reader.
struct Reader {
    api: Arc<Api>,
    caller: Caller,
    namespace: Option<String>,
    missed: std::vec::IntoIter<Arc<Moved>>,
    coming: Option<broadcast::Receiver<Arc<Moved>>>,
    written: broadcast::Receiver<Arc<Kept>>,
    happening: SelectAll<BoxStream<'static, Happening>>,
    /// How many of those have not begun.
    beginning: usize,
    began: Instant,
    synced: Option<(u64, bool)>,
    may: BTreeMap<(String, Resource), (bool, Instant)>,
    _place: OwnedSemaphorePermit,
}

/// `GET /api/v1/changes`
pub(crate) async fn stream(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<ChangesQuery>,
) -> Answer<Response> {
    let place = Arc::clone(&api.rates.streams).try_acquire_owned().map_err(|_| {
        let mut fault = Fault::new(Code::TooManyRequests, "too many streams of changes are open");
        fault.retry_after = Some(10);
        fault
    })?;
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.strip_prefix(&format!("{}-", api.view.name))?.parse().ok());
    let happening = match query.once {
        true => SelectAll::new(),
        false => happening(&api, &caller, query.namespace.as_deref()).await?,
    };
    let changes = api.view.changes_after(last);
    let complete = changes.missed.is_some();
    let reader = Reader {
        caller,
        namespace: query.namespace,
        missed: changes.missed.unwrap_or_default().into_iter(),
        coming: (!query.once).then_some(changes.coming),
        written: api.audit.written(),
        beginning: happening.len(),
        happening,
        began: Instant::now(),
        synced: Some((changes.newest, complete)),
        may: BTreeMap::new(),
        api,
        _place: place,
    };
    let events = futures::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok((StatusCode::OK, Sse::new(events).keep_alive(alive)).into_response())
}

/// Events of each namespace whose Events the caller may list; on a directory of each one, also if it is new. Who may not watch
/// them is told none.
async fn happening(
    api: &Api,
    caller: &Caller,
    namespace: Option<&str>,
) -> Answer<SelectAll<BoxStream<'static, Happening>>> {
    let objects = api.objects(caller)?;
    if matches!(api.door, Door::Shared(_)) {
        return Ok(select_all([objects.happening(&Scope::All)]));
    }
    let mut namespaces = api.namespaces_where(caller, Verb::List, Resource::Events).await?;
    namespaces.retain(|one| namespace.is_none_or(|wanted| wanted == one));
    let streams = namespaces
        .into_iter()
        .map(|namespace| objects.happening(&Scope::Namespace(namespace)));
    Ok(select_all(streams))
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        while let Some(moved) = self.missed.next() {
            if let Some(event) = self.event(&moved).await {
                return Some(event);
            }
        }
        while self.beginning > 0
            && let Ok(Some(happening)) =
                tokio::time::timeout_at(self.began + BEGINNING, self.happening.next()).await
        {
            if let Some(event) = self.happened(happening).await {
                return Some(event);
            }
        }
        if let Some((newest, complete)) = self.synced.take() {
            return self.told("synced", newest, &Synced { complete });
        }
        loop {
            if !self.still_in() {
                return None;
            }
            let coming = self.coming.as_mut()?;
            let moved = tokio::select! {
                moved = coming.recv() => moved,
                Some(happening) = self.happening.next() => {
                    if let Some(event) = self.happened(happening).await {
                        return Some(event);
                    }
                    continue;
                }
                written = self.written.recv() => match written {
                    Ok(kept) => match self.audited(&kept).await {
                        Some(event) => return Some(event),
                        None => continue,
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => return self.missed_some(),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(LOOK_AGAIN) => continue,
            };
            match moved {
                Ok(moved) => {
                    if let Some(event) = self.event(&moved).await {
                        return Some(event);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => return self.missed_some(),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Too slow: the reader is told to read its lists again.
    fn missed_some(&self) -> Option<Event> {
        self.told("synced", None, &Synced { complete: false })
    }

    async fn happened(&mut self, happening: Happening) -> Option<Event> {
        let happened = match happening {
            Happening::Began => {
                self.beginning -= 1;
                return None;
            }
            Happening::Now(happened) => happened,
            Happening::Missed => return self.missed_some(),
        };
        if !self.may_see(&happened.key.namespace, Resource::Events).await {
            return None;
        }
        self.told("event", None, &ActivityRow::of(happened))
    }

    /// An audit line, for those whom the activity shows it.
    async fn audited(&mut self, kept: &Kept) -> Option<Event> {
        let sees = match &kept.line.object {
            Some((_, key)) => self.may_see(&key.namespace, Resource::Events).await,
            None => {
                let (api, home) = (&self.api, &self.api.about.home);
                let may = api.may(&self.caller, Verb::Update, Resource::Issuers, home);
                may.await.unwrap_or(false)
            }
        };
        sees.then(|| self.told("event", None, &ActivityRow::from(kept)))?
    }

    /// A stream ends when its session was logged out, or was not used for its idle time by what this stream was opened with.
    /// Whoever used it since has a newer cookie and opens another stream.
    fn still_in(&self) -> bool {
        let now = self.api.clock.now();
        let session = self.caller.session.as_ref();
        session.is_none_or(|session| session.goes_on(&self.api, now))
    }

    async fn event(&mut self, moved: &Moved) -> Option<Event> {
        if !self.may_see(&moved.key.namespace, Resource::of(moved.kind)).await {
            return None;
        }
        let now = self.api.clock.now();
        match &moved.entry {
            Entry::Certificate(entry) => {
                let row = entry.row(now);
                self.told("certificate", moved.sequence, &Told { kind: "Applied", row })
            }
            Entry::Issuer(entry) => {
                let namespaces = self
                    .api
                    .namespaces_where(&self.caller, Verb::List, Resource::Certificates)
                    .await
                    .unwrap_or_default();
                let certificates = self.api.view.read().certificates_of(&moved.key, &namespaces);
                let row = entry.row(now, certificates);
                self.told("issuer", moved.sequence, &Told { kind: "Applied", row })
            }
            Entry::Gone => {
                let row = Gone {
                    namespace: &moved.key.namespace,
                    name: &moved.key.name,
                };
                let word = match moved.kind {
                    Kind::Certificate => "certificate",
                    Kind::Issuer => "issuer",
                };
                self.told(word, moved.sequence, &Told { kind: "Deleted", row })
            }
        }
    }

    /// An event; what has no number is not gone on from.
    fn told(&self, word: &str, sequence: impl Into<Option<u64>>, data: &impl Serialize) -> Option<Event> {
        let event = Event::default().event(word);
        let event = match sequence.into() {
            None => event,
            Some(sequence) => event.id(format!("{}-{sequence}", self.api.view.name)),
        };
        event.json_data(data).ok()
    }

    async fn may_see(&mut self, namespace: &str, resource: Resource) -> bool {
        if self.namespace.as_ref().is_some_and(|wanted| wanted != namespace) {
            return false;
        }
        let place = (namespace.to_owned(), resource);
        if let Some((may, at)) = self.may.get(&place)
            && at.elapsed() < LOOK_AGAIN
        {
            return *may;
        }
        let may = self
            .api
            .may(&self.caller, Verb::List, resource, namespace)
            .await
            .unwrap_or(false);
        self.may.insert(place, (may, Instant::now()));
        may
    }
}
