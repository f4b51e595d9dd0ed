//! Objects behind the REST API of a running occm: for commands with `--server` and a token.
//!
//! What may be done is decided there. Secrets are not told over this door; what needs them says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::adopt::Candidate;
use crate::client::check;
use crate::client::{
    ClientError, ClientResult, EventList, EventSeen, Expected, Happened, HappenedList, InputValues, Item,
    Objects, Run, Scope, SecretSeen, Told,
};
use crate::model::field::{FieldError, FieldErrors};
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::Severity;
use crate::web::{Web, encode};

/// Objects of one page.
const PAGE: usize = 500;
/// Requests at one time.
const AT_ONCE: usize = 8;
/// How often a request is sent again that came too soon.
const TIMES_AGAIN: u32 = 30;
/// How often a watch asks, and how long after a request that came too soon.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Objects behind a REST API. Cheap to clone.
#[derive(Clone)]
pub struct RemoteObjects {
    web: Web,
    base: Arc<str>,
    token: HeaderValue,
}

/// An answer of the API.
struct Answer {
    status: StatusCode,
    body: Value,
}

#[derive(Deserialize)]
struct Row {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Found {
    items: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Row>,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    items: Vec<EventRow>,
    #[serde(default)]
    reaches_back_to: Option<jiff::Timestamp>,
    source: String,
}

#[derive(Deserialize)]
struct EventRow {
    time: jiff::Timestamp,
    severity: Severity,
    reason: String,
    message: String,
    count: u64,
    source: String,
}

impl RemoteObjects {
    /// The API at `server`, for example `https://occm.lab.example`, with a bearer token. `anchors` is a file with the CA
    /// certificates of its server; none = those of the operating system.
    pub fn new(server: &str, token: &str, anchors: Option<&Path>) -> ClientResult<Self> {
        let wrong =
            |problem: String| ClientError::field("server", "--server", problem, "https://HOST[:PORT]");
        Web::check(server).map_err(|error| wrong(format!("{error:#}")))?;
        let web = Web::new(anchors).map_err(|error| wrong(format!("{error:#}")))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
            ClientError::Unauthenticated("the token has characters that no token has".to_owned())
        })?;
        value.set_sensitive(true);
        let base = server.trim_end_matches('/').trim_end_matches("/api/v1");
        Ok(Self {
            web,
            base: format!("{base}/api/v1").into(),
            token: value,
        })
    }

    async fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        expected: Option<&str>,
        body: Option<&Value>,
    ) -> ClientResult<Value> {
        let expected = match expected {
            Some(version) => Expected::Version(version.to_owned()),
            None => Expected::Something,
        };
        self.send_if(what, method, path, &expected, body).await
    }

    /// What `expected` says is asked of the server.
    async fn send_if(
        &self,
        what: &str,
        method: Method,
        path: &str,
        expected: &Expected,
        body: Option<&Value>,
    ) -> ClientResult<Value> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.token.clone());
        if method != Method::GET {
            let (name, tag) = match expected {
                Expected::Nothing => (header::IF_NONE_MATCH, "*".to_owned()),
                Expected::Something => (header::IF_MATCH, "*".to_owned()),
                Expected::Version(version) => (header::IF_MATCH, format!("\"{version}\"")),
            };
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                headers.insert(name, tag);
            }
        }
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let url = format!("{}{path}", self.base);
        let mut again = 0..TIMES_AGAIN;
        let (status, bytes) = loop {
            let sent = self
                .web
                .send(&url, method.clone(), headers.clone(), text.clone())
                .await;
            let (status, bytes) =
                sent.map_err(|error| ClientError::Unavailable(what.to_owned(), format!("{error:#}")))?;
            // Nothing was done: a large fleet is read more slowly.
            if status != StatusCode::TOO_MANY_REQUESTS || again.next().is_none() {
                break (status, bytes);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status, body };
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(answer.refusal(what))
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, what: &str, path: &str) -> ClientResult<T> {
        let body = self.send(what, Method::GET, path, None, None).await?;
        serde_json::from_value(body).map_err(|_| {
            ClientError::Unavailable(
                what.to_owned(),
                "its answer cannot be read; is it the API of occm?".to_owned(),
            )
        })
    }

    async fn list_all(&self, kind: Kind, scope: &Scope) -> ClientResult<Vec<Item>> {
        let what = format!("{kind}s");
        let namespace = match scope {
            Scope::All => String::new(),
            Scope::Namespace(namespace) => format!("&namespace={}", encode(namespace)),
        };
        let mut keys = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("/{}?sort=namespace&limit={PAGE}{namespace}{next}", plural(kind));
            let page: Page = self.read(&what, &path).await?;
            keys.extend(
                page.items
                    .into_iter()
                    .map(|row| ObjectKey::new(row.namespace, row.name)),
            );
            match page.next {
                Some(text) => next = format!("&continue={}", encode(&text)),
                None => break,
            }
        }
        let found: Vec<Option<Item>> = stream::iter(keys)
            .map(|key| async move {
                match self.get_one(kind, &key).await {
                    Ok(item) => Ok(Some(item)),
                    // Gone in the meantime.
                    Err(ClientError::NotFound(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut items: Vec<Item> = found.into_iter().flatten().collect();
        items.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(items)
    }

    async fn get_one(&self, kind: Kind, key: &ObjectKey) -> ClientResult<Item> {
        let what = format!("{kind} {key}");
        let value = self
            .send(&what, Method::GET, &path(kind, key), None, None)
            .await?;
        Ok(item(kind, key, value))
    }

    async fn write(
        &self,
        kind: Kind,
        key: &ObjectKey,
        method: Method,
        path: String,
        expected: Option<&str>,
        body: &Value,
    ) -> ClientResult<Item> {
        let what = format!("{kind} {key}");
        let value = self.send(&what, method, &path, expected, Some(body)).await?;
        Ok(item(kind, key, value))
    }
}

impl Answer {
    fn refusal(self, what: &str) -> ClientError {
        let text = |name: &str| self.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let detail = match text("detail") {
            "" => format!("HTTP status {}", self.status),
            detail => detail.to_owned(),
        };
        let what = what.to_owned();
        match text("code") {
            "NotFound" => ClientError::NotFound(what),
            "Conflict" => ClientError::Exists(what),
            "PreconditionFailed" => ClientError::Conflict(what),
            "Forbidden" => ClientError::Forbidden(what, detail),
            "Unauthenticated" => ClientError::Unauthenticated(detail),
            "InvalidField" => {
                let errors = self.body.get("errors").and_then(Value::as_array);
                let field = |error: &Value| {
                    let part = |name: &str| {
                        error
                            .get(name)
                            .and_then(Value::as_str)
                            .unwrap_or_default()
                            .to_owned()
                    };
                    FieldError::new(part("field"), part("problem"), part("allowed"))
                };
                let errors: Vec<FieldError> = errors.into_iter().flatten().map(field).collect();
                ClientError::Invalid(what, FieldErrors(errors))
            }
            _ => ClientError::Unavailable(what, detail),
        }
    }
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Issuer => "issuers",
        Kind::Certificate => "certificates",
    }
}

fn path(kind: Kind, key: &ObjectKey) -> String {
    format!(
        "/{}/{}/{}",
        plural(kind),
        encode(&key.namespace),
        encode(&key.name)
    )
}

fn dry(run: Run) -> &'static str {
    match run {
        Run::Real => "",
        Run::Dry => "?dryRun=true",
    }
}

fn item(kind: Kind, key: &ObjectKey, value: Value) -> Item {
    let version = value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    Item {
        kind,
        key: key.clone(),
        version: version.unwrap_or_default().to_owned(),
        value,
        broken: None,
        applier: None,
    }
}

fn not_over_this_door<T: Send + 'static>(what: &str) -> BoxFuture<'static, ClientResult<T>> {
    let error = ClientError::Forbidden(
        what.to_owned(),
        "the REST API tells no Secrets, only which could be adopted".to_owned(),
    );
    futures::future::ready(Err(error)).boxed()
}

impl Objects for RemoteObjects {
    fn list<'a>(&'a self, kind: Kind, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<Item>>> {
        self.list_all(kind, scope).boxed()
    }

    fn get<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<Item>> {
        self.get_one(kind, key).boxed()
    }

    fn create<'a>(&'a self, object: &'a Value, run: Run) -> BoxFuture<'a, ClientResult<Item>> {
        async move {
            let (kind, key) = check::check(object, None)?;
            let list = format!("/{}", plural(kind));
            self.write(kind, &key, Method::POST, list + dry(run), None, object)
                .await
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
        self.write(
            kind,
            key,
            Method::PUT,
            path(kind, key) + dry(run),
            Some(expected),
            object,
        )
        .boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        patch: &'a Value,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        self.write(
            kind,
            key,
            Method::PATCH,
            path(kind, key) + dry(run),
            expected,
            patch,
        )
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<()>> {
        async move {
            let what = format!("{kind} {key}");
            let path = format!("{}{}", path(kind, key), dry(run));
            self.send(&what, Method::DELETE, &path, expected, None)
                .await
                .map(drop)
        }
        .boxed()
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        async move {
            let values: serde_json::Map<String, Value> = annotations
                .iter()
                .map(|(name, value)| {
                    let value = if value.is_empty() {
                        Value::Null
                    } else {
                        json!(value)
                    };
                    (name.clone(), value)
                })
                .collect();
            let patch = json!({ "metadata": { "annotations": values } });
            self.write(
                kind,
                key,
                Method::PATCH,
                path(kind, key) + dry(run),
                expected,
                &patch,
            )
            .await
        }
        .boxed()
    }

    fn events<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<EventList>> {
        async move {
            let what = format!("Events of {kind} {key}");
            let told: Events = self.read(&what, &format!("{}/events", path(kind, key))).await?;
            let items = told.items.into_iter().map(|row| EventSeen {
                time: row.time,
                severity: row.severity,
                reason: row.reason,
                message: row.message,
                count: row.count,
                source: row.source,
            });
            Ok(EventList {
                items: items.collect(),
                reaches_back_to: told.reaches_back_to,
                source: told.source,
            })
        }
        .boxed()
    }

    fn happened<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<HappenedList>> {
        async move {
            let mut all = HappenedList::default();
            for kind in [Kind::Issuer, Kind::Certificate] {
                for item in self.list_all(kind, scope).await? {
                    let events = self.events(kind, &item.key).await?;
                    let happened = events.items.into_iter().map(|event| Happened {
                        kind,
                        key: item.key.clone(),
                        event,
                    });
                    all.items.extend(happened);
                    all.reaches_back_to = all.reaches_back_to.or(events.reaches_back_to);
                }
            }
            all.items
                .sort_by_key(|happened| std::cmp::Reverse(happened.event.time));
            Ok(all)
        }
        .boxed()
    }

    fn secrets<'a>(&'a self, _: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<SecretSeen>>> {
        not_over_this_door("Secrets")
    }

    fn candidates<'a>(
        &'a self,
        scope: &'a Scope,
        issuer: Option<&'a ObjectKey>,
    ) -> BoxFuture<'a, ClientResult<Vec<Candidate>>> {
        async move {
            let mut query = Vec::new();
            if let Scope::Namespace(namespace) = scope {
                query.push(format!("namespace={}", encode(namespace)));
            }
            if let Some(issuer) = issuer {
                query.push(format!("issuer={}", encode(&issuer.to_string())));
            }
            let path = format!("/adopt/candidates?{}", query.join("&"));
            let found: Found = self.read("Secrets", &path).await?;
            Ok(found.items)
        }
        .boxed()
    }

    fn secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<SecretSeen>> {
        not_over_this_door(&format!("Secret {key}"))
    }

    fn write_input<'a>(
        &'a self,
        input: &'a InputRef,
        values: &'a InputValues,
        expected: &'a Expected,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<String>> {
        async move {
            use base64ct::Encoding;
            values.check(input)?;
            let (kind, key) = (input.kind, &input.object);
            let kind = match kind {
                InputKind::Secret => "Secret",
                InputKind::ConfigMap => "ConfigMap",
            };
            let data: BTreeMap<&String, String> = values
                .0
                .iter()
                .map(|(name, value)| (name, base64ct::Base64::encode_string(value.expose())))
                .collect();
            let body = json!({ "kind": kind, "namespace": key.namespace, "name": key.name, "data": data });
            let what = format!("{kind} {key}");
            let path = format!("/inputs{}", dry(run));
            let sent = self
                .send_if(&what, Method::POST, &path, expected, Some(&body))
                .await;
            let told = sent.map_err(|error| match (error, expected) {
                (ClientError::Conflict(what), Expected::Nothing) => ClientError::Exists(what),
                (error, _) => error,
            })?;
            let version = told.get("resourceVersion").and_then(Value::as_str);
            Ok(version.unwrap_or_default().to_owned())
        }
        .boxed()
    }

    fn watch(&self, scope: &Scope) -> BoxStream<'static, Told> {
        let watch = Watch {
            objects: self.clone(),
            scope: scope.clone(),
            known: BTreeSet::new(),
            first: true,
        };
        stream::unfold(watch, |mut watch| async move {
            let told = watch.look().await;
            Some((stream::iter(told), watch))
        })
        .flatten()
        .boxed()
    }

    fn place(&self) -> String {
        format!("API {}", self.base.trim_end_matches("/api/v1"))
    }
}

/// A watch that asks again and again.
struct Watch {
    objects: RemoteObjects,
    scope: Scope,
    known: BTreeSet<(Kind, ObjectKey)>,
    first: bool,
}

impl Watch {
    async fn look(&mut self) -> Vec<Told> {
        if !self.first {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let mut told = Vec::new();
        let mut now = BTreeSet::new();
        for kind in [Kind::Issuer, Kind::Certificate] {
            match self.objects.list_all(kind, &self.scope).await {
                Ok(items) => {
                    now.extend(items.iter().map(|item| (kind, item.key.clone())));
                    told.extend(items.into_iter().map(Told::Now));
                }
                Err(error) => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    return vec![Told::Failed(error)];
                }
            }
        }
        let gone = self.known.difference(&now).cloned();
        told.extend(gone.map(|(kind, key)| Told::Gone(kind, key)));
        self.known = now;
        if std::mem::take(&mut self.first) {
            told.push(Told::Synced);
        }
        told
    }
}
