//! Requests of persons to the API server, for [`crate::client::kube`]: plain HTTP with the caller's rights, and a watch.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::client::secret::SecretFrame;
use crate::clock::Clock;
use crate::model::object::{Kind, ObjectKey};
use crate::store::kube::api::{Answer, Api, Payload, SharedApi, escape};
use crate::store::kube::follow::{FirstLists, Query, Sink, Told, Watched, follow};
use crate::store::kube::wire::{EncodedData, FullSecret, Meta, MetaOnly, Page};
use crate::store::{StoreError, StoreResult};

/// Longest time for one request of a person.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Changes that wait for a slow reader of a watch.
const WAITING: usize = 64;

/// What a request carries.
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// An object.
    Object(Value),
    /// A merge patch.
    Patch(Value),
    /// A Secret or ConfigMap, already written and wiped on drop.
    Raw(Zeroizing<Vec<u8>>),
    /// The same as a merge patch.
    RawPatch(Zeroizing<Vec<u8>>),
}

/// An answer of the API server, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// The API server as one caller may use it. Cheap to clone; clones and callers share connections.
#[derive(Clone)]
pub(crate) struct Door {
    api: SharedApi,
}

impl Door {
    /// With the credentials of `config`.
    pub(crate) fn new(config: &kube::Config) -> Result<Self, kube::Error> {
        let api = Arc::new(Api::new(config, TIMEOUT, Clock::system())?);
        Ok(Self { api })
    }

    /// The same server with a bearer token and nothing else. `None` = the token cannot be sent in a header.
    pub(crate) fn with_bearer(&self, token: &pki::Secret) -> Option<Self> {
        let mut text = Zeroizing::new(b"Bearer ".to_vec());
        text.extend_from_slice(token.expose());
        let mut header = HeaderValue::from_bytes(&text).ok()?;
        header.set_sensitive(true);
        let api = Arc::new(self.api.with_authorization(header));
        Some(Self { api })
    }

    /// One request.
    pub(crate) async fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> StoreResult<Reply> {
        let (payload, answer) = match body {
            Body::Empty => (Payload::Empty, Answer::Full),
            Body::Object(value) => (Payload::Json(bytes(&value)?), Answer::Full),
            Body::Patch(value) => (Payload::MergePatch(bytes(&value)?), Answer::Full),
            // Values that were written do not come back.
            Body::Raw(text) => (Payload::Json(Bytes::from_owner(text)), Answer::Metadata),
            Body::RawPatch(text) => (Payload::MergePatch(Bytes::from_owner(text)), Answer::Metadata),
        };
        let (status, body) = self.api.exchange(what, method, path, payload, answer).await?;
        Ok(Reply { status, body })
    }

    /// Metadata of one object, without its content.
    pub(crate) async fn metadata(&self, what: &str, path: &str) -> StoreResult<Reply> {
        let call = self
            .api
            .exchange(what, Method::GET, path, Payload::Empty, Answer::Metadata);
        let (status, body) = call.await?;
        Ok(Reply { status, body })
    }

    /// Follows the objects at a path for ever, until the receiver is dropped.
    pub(crate) fn follow(&self, kind: Kind, path: String) -> mpsc::Receiver<Followed> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let query = Query {
            path,
            labels: String::new(),
            fields: String::new(),
            first: FirstLists::Streamed,
        };
        let sink = ValueSink {
            kind,
            sender: sender.clone(),
        };
        self.drive(query, sink, sender);
        receiver
    }

    /// Tells objects at a path that come or change from now on, until the receiver is dropped.
    pub(crate) fn follow_new(&self, path: String, fields: String) -> mpsc::Receiver<FollowedNew> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let query = Query {
            path,
            labels: String::new(),
            fields,
            first: FirstLists::Unread,
        };
        let sink = NewSink {
            began: false,
            sender: sender.clone(),
        };
        self.drive(query, sink, sender);
        receiver
    }

    fn drive<T: Send + 'static>(
        &self,
        query: Query,
        sink: impl Sink<AnyValue> + 'static,
        sender: mpsc::Sender<T>,
    ) {
        let api = Arc::clone(&self.api);
        tokio::spawn(async move {
            tokio::select! {
                () = follow::<AnyValue>(api, query, sink) => {}
                () = sender.closed() => {}
            }
        });
    }
}

fn bytes(value: &Value) -> StoreResult<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| StoreError::Refused("request".to_owned(), error.to_string()))
}

/// What a watch saw.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The list begins, again: what does not follow before `Listed` is gone.
    Begin(Kind),
    /// An object is so.
    Now(Kind, Value),
    /// An object is gone.
    Gone(Kind, ObjectKey),
    /// The list is complete.
    Listed(Kind),
    /// The server could not be asked; another attempt follows.
    Failed(StoreError),
}

/// Any object, as it came.
struct AnyValue {
    metadata: Meta,
    value: Value,
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        let metadata = Meta::deserialize(metadata).map_err(serde::de::Error::custom)?;
        Ok(Self { metadata, value })
    }
}

impl Watched for AnyValue {
    const ANSWER: Answer = Answer::Full;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

struct ValueSink {
    kind: Kind,
    sender: mpsc::Sender<Followed>,
}

impl Sink<AnyValue> for ValueSink {
    async fn take(&mut self, told: Told<AnyValue>) {
        let followed = match told {
            Told::Begin => Followed::Begin(self.kind),
            Told::Now(object) => Followed::Now(self.kind, object.value),
            Told::Gone(object) => Followed::Gone(self.kind, object.metadata.key()),
            Told::Listed => Followed::Listed(self.kind),
            Told::Failed(error) => Followed::Failed(error),
        };
        // A reader that is gone ends the task that drives this.
        let _ = self.sender.send(followed).await;
    }
}

/// What a watch of what is new saw.
#[derive(Debug)]
pub(crate) enum FollowedNew {
    /// From here on everything is told; comes once.
    Began,
    /// An object came or changed.
    Now(Value),
    /// The watch was lost for a while: objects may have come that are not told.
    Missed,
    /// The server could not be asked; another attempt follows.
    Failed(StoreError),
}

struct NewSink {
    began: bool,
    sender: mpsc::Sender<FollowedNew>,
}

impl Sink<AnyValue> for NewSink {
    async fn take(&mut self, told: Told<AnyValue>) {
        let followed = match told {
            Told::Begin if !std::mem::replace(&mut self.began, true) => FollowedNew::Began,
            Told::Begin => FollowedNew::Missed,
            Told::Now(object) => FollowedNew::Now(object.value),
            Told::Gone(_) | Told::Listed => return,
            Told::Failed(error) => FollowedNew::Failed(error),
        };
        // A reader that is gone ends the task that drives this.
        let _ = self.sender.send(followed).await;
    }
}

/// A Secret of a list, taken apart: what may be told, and values that are looked at and dropped.
pub(crate) type OpenSecret = (SecretFrame, std::collections::BTreeMap<String, pki::Secret>);

/// Reads one Secret.
pub(crate) fn open_secret(what: &str, body: &[u8]) -> StoreResult<OpenSecret> {
    super::api::parse::<FullSecret>(what, body).map(FullSecret::into_open)
}

/// Reads a page of Secrets; the second part is where the next page begins.
pub(crate) fn open_secrets(what: &str, body: &[u8]) -> StoreResult<(Vec<OpenSecret>, String)> {
    let page: Page<FullSecret> = super::api::parse(what, body)?;
    let items = page.items.into_iter().map(FullSecret::into_open).collect();
    Ok((items, page.metadata.next))
}

/// Reads labels and version of an object of which only the metadata was asked for.
pub(crate) fn open_metadata(
    what: &str,
    body: &[u8],
) -> StoreResult<(std::collections::BTreeMap<String, String>, String)> {
    let object: MetaOnly = super::api::parse(what, body)?;
    Ok((object.metadata.labels, object.metadata.resource_version))
}

/// Values as the `data` of a Secret or the `binaryData` of a ConfigMap.
pub(crate) fn encoded(
    values: &std::collections::BTreeMap<String, pki::Secret>,
) -> impl serde::Serialize + '_ {
    EncodedData(values)
}

/// Path of one or all objects of a kind: in a namespace, or in all.
pub(crate) fn objects_path(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => super::paths::objects(kind, namespace),
        None => super::paths::all_objects(kind),
    }
}

/// Path of a core resource in a namespace, or in all.
pub(crate) fn core_path(plural: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{}/{plural}", escape(namespace)),
        None => format!("/api/v1/{plural}"),
    }
}

/// One part of a path or a query.
pub(crate) fn part(text: &str) -> String {
    escape(text)
}
