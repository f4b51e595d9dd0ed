//! Objects in Kubernetes, with the rights of whoever asks: a kubeconfig's user, or a caller's bearer token.
//!
//! Nothing is decided here about who may do what: the API server's RBAC does. Each write is one request that carries the
//! expected version; a dry run is the API server's own (`dryRun=All`), so that its admission has a say.

mod happened;
mod made;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::client::check::{check, merged};
use crate::client::input::describe;
use crate::client::kube::refusal::{answer, refusal};
use crate::client::{
    ClientError, ClientResult, EventList, EventSeen, Expected, HappenedList, Happening, InputValues, Item,
    Objects, Run, Scope, SecretSeen, Told,
};
use crate::model::object::{Kind, ObjectKey, ROLE_LABEL};
use crate::model::plan::{InputKind, InputRef};
use crate::store::Severity;
use crate::store::kube::door::{Body, Door, Followed, Reply, core_path, encoded, objects_path, part};
use crate::store::kube::door::{open_metadata, open_secret, open_secrets};

/// Objects on one page of a list.
const PAGE: usize = 250;

/// Objects in Kubernetes. Cheap to clone.
#[derive(Clone)]
pub struct KubeObjects {
    door: Door,
    manager: Arc<str>,
    home: Option<Arc<str>>,
    place: Arc<str>,
}

/// A Kubernetes API server that callers reach with tokens of their own, over shared connections.
#[derive(Clone)]
pub struct KubeCallers(KubeObjects);

impl KubeCallers {
    /// The server of `config`. The credentials in `config` are not used, not even its client certificate.
    pub fn new(config: &::kube::Config) -> Result<Self, ::kube::Error> {
        let mut bare = config.clone();
        bare.auth_info = ::kube::config::AuthInfo::default();
        KubeObjects::new(&bare).map(Self)
    }

    /// Sets the name under which writes are listed as managed fields.
    #[must_use]
    pub fn managed_as(self, manager: &str) -> Self {
        Self(self.0.managed_as(manager))
    }

    /// Says which namespace is occm's own, so that the rules about it are checked before the API server is asked.
    #[must_use]
    pub fn at_home(self, namespace: &str) -> Self {
        Self(self.0.at_home(namespace))
    }

    /// What the owner of this token may do.
    pub fn with_token(&self, token: &pki::Secret) -> ClientResult<KubeObjects> {
        match self.0.door.with_bearer(token) {
            Some(door) => Ok(KubeObjects {
                door,
                ..self.0.clone()
            }),
            None => Err(ClientError::Unauthenticated(
                "the token has characters that no token has".to_owned(),
            )),
        }
    }
}

impl KubeObjects {
    /// Objects behind the API server that `config` names, with its credentials. Sends nothing yet; must be made and used
    /// within a tokio runtime.
    pub fn new(config: &::kube::Config) -> Result<Self, ::kube::Error> {
        let server = format!("cluster {}", config.cluster_url);
        Ok(Self {
            door: Door::new(config)?,
            manager: "occm-client".into(),
            home: None,
            place: server.trim_end_matches('/').into(),
        })
    }

    /// Sets the name under which writes are listed as managed fields. Default: `occm-client`.
    #[must_use]
    pub fn managed_as(mut self, manager: &str) -> Self {
        self.manager = manager.into();
        self
    }

    /// Says which namespace is occm's own, so that the rules about it are checked before the API server is asked.
    #[must_use]
    pub fn at_home(mut self, namespace: &str) -> Self {
        self.home = Some(namespace.into());
        self
    }

    /// Asks the API server a question: a review of a token, a user or a right.
    pub(crate) async fn review(&self, path: &str, question: Value) -> ClientResult<Value> {
        let what = "review";
        let reply = self
            .door
            .send(what, Method::POST, path, Body::Object(question))
            .await?;
        answer(what, &reply)
    }

    fn write_query(&self, run: Run) -> String {
        let dry = match run {
            Run::Real => "",
            Run::Dry => "&dryRun=All",
        };
        let manager = part(&self.manager);
        format!("?fieldManager={manager}&fieldValidation=Strict{dry}")
    }

    fn check(&self, object: &Value) -> ClientResult<(Kind, ObjectKey)> {
        check(object, self.home.as_deref())
    }

    async fn list_all(&self, kind: Kind, scope: &Scope) -> ClientResult<Vec<Item>> {
        let namespace = namespace_of(scope);
        let path = objects_path(kind, namespace);
        let what = match namespace {
            Some(namespace) => format!("{kind}s in namespace {namespace}"),
            None => format!("{kind}s in all namespaces"),
        };
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let url = format!("{path}?limit={PAGE}&continue={}", part(&next));
            let page: ValuePage = answer(
                &what,
                &self.door.send(&what, Method::GET, &url, Body::Empty).await?,
            )?;
            items.extend(page.items.into_iter().map(|value| item(kind, value)));
            next = page.metadata.next.unwrap_or_default();
            if next.is_empty() {
                items.sort_by(|a, b| a.key.cmp(&b.key));
                return Ok(items);
            }
        }
    }

    async fn get_one(&self, kind: Kind, key: &ObjectKey) -> ClientResult<Item> {
        let what = format!("{kind} {key}");
        let reply = self
            .door
            .send(&what, Method::GET, &path(kind, key), Body::Empty)
            .await?;
        answer(&what, &reply).map(|value| item(kind, value))
    }

    async fn write(
        &self,
        kind: Kind,
        key: &ObjectKey,
        method: Method,
        url: &str,
        body: Body,
    ) -> ClientResult<Item> {
        let what = format!("{kind} {key}");
        let reply = self.door.send(&what, method, url, body).await?;
        answer(&what, &reply).map(|value| item(kind, value))
    }

    async fn create_one(&self, object: &Value, run: Run) -> ClientResult<Item> {
        let (kind, key) = self.check(object)?;
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), key.namespace.as_str().into());
            metadata.remove("resourceVersion");
            metadata.remove("uid");
        }
        let url = format!(
            "{}{}",
            objects_path(kind, Some(&key.namespace)),
            self.write_query(run)
        );
        self.write(kind, &key, Method::POST, &url, Body::Object(object))
            .await
    }

    async fn replace_one(
        &self,
        kind: Kind,
        key: &ObjectKey,
        object: &Value,
        expected: &str,
        run: Run,
    ) -> ClientResult<Item> {
        let named = self.check(object)?;
        refuse_another_name(kind, key, &named)?;
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), key.namespace.as_str().into());
            metadata.insert("resourceVersion".to_owned(), expected.into());
        }
        let url = format!("{}{}", path(kind, key), self.write_query(run));
        self.write(kind, key, Method::PUT, &url, Body::Object(object))
            .await
    }

    async fn patch_one(
        &self,
        kind: Kind,
        key: &ObjectKey,
        patch: &Value,
        expected: Option<&str>,
        run: Run,
    ) -> ClientResult<Item> {
        let what = format!("{kind} {key}");
        if !patch.is_object() {
            return Err(ClientError::field(
                what,
                "patch",
                "is no object",
                "a merge patch (RFC 7396)",
            ));
        }
        // Only the wish is judged by our rules; a broken object can be put right and annotated.
        if patch.get("spec").is_some() || patch.get("kind").is_some() || patch.get("apiVersion").is_some() {
            let now = self.get_one(kind, key).await?;
            let named = self.check(&merged(&now.value, patch))?;
            refuse_another_name(kind, key, &named)?;
        }
        let mut patch = patch.clone();
        if let (Some(expected), Some(fields)) = (expected, patch.as_object_mut()) {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".to_owned(), expected.into());
            }
        }
        let url = format!("{}{}", path(kind, key), self.write_query(run));
        self.write(kind, key, Method::PATCH, &url, Body::Patch(patch))
            .await
    }

    async fn delete_one(
        &self,
        kind: Kind,
        key: &ObjectKey,
        expected: Option<&str>,
        run: Run,
    ) -> ClientResult<()> {
        let what = format!("{kind} {key}");
        let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        if let (Some(expected), Some(fields)) = (expected, options.as_object_mut()) {
            fields.insert("preconditions".to_owned(), json!({ "resourceVersion": expected }));
        }
        if let (Run::Dry, Some(fields)) = (run, options.as_object_mut()) {
            fields.insert("dryRun".to_owned(), json!(["All"]));
        }
        let url = path(kind, key);
        let reply = self
            .door
            .send(&what, Method::DELETE, &url, Body::Object(options))
            .await?;
        answer::<Value>(&what, &reply).map(drop)
    }

    async fn events_of(&self, kind: Kind, key: &ObjectKey) -> ClientResult<EventList> {
        let what = format!("Events of {kind} {key}");
        let selector = format!("involvedObject.kind={kind},involvedObject.name={}", key.name);
        let path = core_path("events", Some(&key.namespace));
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let url = format!(
                "{path}?limit={PAGE}&fieldSelector={}&continue={}",
                part(&selector),
                part(&next)
            );
            let page: EventPage = answer(
                &what,
                &self.door.send(&what, Method::GET, &url, Body::Empty).await?,
            )?;
            items.extend(page.items.into_iter().filter_map(CoreEvent::told));
            next = page.metadata.next.unwrap_or_default();
            if next.is_empty() {
                break;
            }
        }
        items.sort_by_key(|event| std::cmp::Reverse(event.time));
        Ok(EventList {
            items,
            reaches_back_to: None,
            source: "Kubernetes".to_owned(),
        })
    }

    async fn secrets_of(&self, scope: &Scope) -> ClientResult<Vec<SecretSeen>> {
        let namespace = namespace_of(scope);
        let what = match namespace {
            Some(namespace) => format!("Secrets in namespace {namespace}"),
            None => "Secrets in all namespaces".to_owned(),
        };
        let path = core_path("secrets", namespace);
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let url = format!("{path}?limit={PAGE}&continue={}", part(&next));
            let reply = success(
                &what,
                self.door.send(&what, Method::GET, &url, Body::Empty).await?,
            )?;
            let (page, more) = open_secrets(&what, &reply.body)?;
            let looked = page
                .into_iter()
                .map(|(frame, values)| SecretSeen::look(frame, &values));
            seen.extend(looked.filter(SecretSeen::is_of_interest));
            if more.is_empty() {
                seen.sort_by(|a, b| a.key.cmp(&b.key));
                return Ok(seen);
            }
            next = more;
        }
    }

    async fn secret_of(&self, key: &ObjectKey) -> ClientResult<SecretSeen> {
        let what = format!("Secret {key}");
        let path = format!(
            "{}/{}",
            core_path("secrets", Some(&key.namespace)),
            part(&key.name)
        );
        let reply = success(
            &what,
            self.door.send(&what, Method::GET, &path, Body::Empty).await?,
        )?;
        let (frame, values) = open_secret(&what, &reply.body)?;
        Ok(SecretSeen::look(frame, &values))
    }

    async fn write_input_of(
        &self,
        input: &InputRef,
        values: &InputValues,
        expected: &Expected,
        run: Run,
    ) -> ClientResult<String> {
        values.check(input)?;
        let (what, key) = (describe(input), &input.object);
        let plural = match input.kind {
            InputKind::Secret => "secrets",
            InputKind::ConfigMap => "configmaps",
        };
        let all = core_path(plural, Some(&key.namespace));
        let version = |reply: Reply| Ok(open_metadata(&what, &reply.body)?.1);
        if *expected == Expected::Nothing {
            let body = input_body(input, values, None)?;
            let url = format!("{all}{}", self.write_query(run));
            let made = self.door.send(&what, Method::POST, &url, Body::Raw(body)).await?;
            return success(&what, made).and_then(version);
        }
        let one = format!("{all}/{}", part(&key.name));
        let reply = success(&what, self.door.metadata(&what, &one).await?)?;
        let (labels, found) = open_metadata(&what, &reply.body)?;
        expected.holds(&what, Some(&found))?;
        if let Some(role) = labels.get(ROLE_LABEL) {
            let why = format!("it is written by occm itself ({role})");
            return Err(ClientError::Forbidden(what, why));
        }
        let body = input_body(input, values, Some(&found))?;
        let url = format!("{one}{}", self.write_query(run));
        let changed = self
            .door
            .send(&what, Method::PATCH, &url, Body::RawPatch(body))
            .await?;
        success(&what, changed).and_then(version)
    }
}

impl Objects for KubeObjects {
    fn list<'a>(&'a self, kind: Kind, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<Item>>> {
        self.list_all(kind, scope).boxed()
    }

    fn get<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<Item>> {
        self.get_one(kind, key).boxed()
    }

    fn create<'a>(&'a self, object: &'a Value, run: Run) -> BoxFuture<'a, ClientResult<Item>> {
        self.create_one(object, run).boxed()
    }

    fn replace<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        object: &'a Value,
        expected: &'a str,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        self.replace_one(kind, key, object, expected, run).boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        patch: &'a Value,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        self.patch_one(kind, key, patch, expected, run).boxed()
    }

    fn delete<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<()>> {
        self.delete_one(kind, key, expected, run).boxed()
    }

    fn annotate<'a>(
        &'a self,
        kind: Kind,
        key: &'a ObjectKey,
        annotations: &'a BTreeMap<String, String>,
        expected: Option<&'a str>,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<Item>> {
        let values: Value = annotations
            .iter()
            .map(|(name, value)| {
                let value = if value.is_empty() {
                    Value::Null
                } else {
                    value.as_str().into()
                };
                (name.clone(), value)
            })
            .collect();
        let patch = json!({ "metadata": { "annotations": values } });
        async move { self.patch_one(kind, key, &patch, expected, run).await }.boxed()
    }

    fn events<'a>(&'a self, kind: Kind, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<EventList>> {
        self.events_of(kind, key).boxed()
    }

    fn happened<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<HappenedList>> {
        self.all_events(scope).boxed()
    }

    fn happening(&self, scope: &Scope) -> BoxStream<'static, Happening> {
        self.new_events(scope)
    }

    fn secrets<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, ClientResult<Vec<SecretSeen>>> {
        self.secrets_of(scope).boxed()
    }

    fn secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ClientResult<SecretSeen>> {
        self.secret_of(key).boxed()
    }

    fn write_input<'a>(
        &'a self,
        input: &'a InputRef,
        values: &'a InputValues,
        expected: &'a Expected,
        run: Run,
    ) -> BoxFuture<'a, ClientResult<String>> {
        self.write_input_of(input, values, expected, run).boxed()
    }

    fn watch(&self, scope: &Scope) -> BoxStream<'static, Told> {
        let namespace = namespace_of(scope);
        let follow = |kind| self.door.follow(kind, objects_path(kind, namespace));
        let streams = [Kind::Issuer, Kind::Certificate].map(|kind| {
            futures::stream::unfold(follow(kind), |mut receiver| async move {
                let followed = receiver.recv().await?;
                Some((followed, receiver))
            })
            .boxed()
        });
        let mut told = Listing::default();
        futures::stream::select_all(streams)
            .flat_map(move |followed| futures::stream::iter(told.take(followed)))
            .boxed()
    }

    fn place(&self) -> String {
        self.place.to_string()
    }
}

/// Makes of lists that are read again what changed by them.
#[derive(Default)]
struct Listing {
    known: BTreeSet<(Kind, ObjectKey)>,
    fresh: BTreeMap<Kind, BTreeSet<ObjectKey>>,
    listed: BTreeSet<Kind>,
    synced: bool,
}

impl Listing {
    fn take(&mut self, followed: Followed) -> Vec<Told> {
        match followed {
            Followed::Begin(kind) => {
                self.fresh.insert(kind, BTreeSet::new());
                Vec::new()
            }
            Followed::Now(kind, value) => {
                let item = item(kind, value);
                self.known.insert((kind, item.key.clone()));
                if let Some(fresh) = self.fresh.get_mut(&kind) {
                    fresh.insert(item.key.clone());
                }
                vec![Told::Now(item)]
            }
            Followed::Gone(kind, key) => {
                self.known.remove(&(kind, key.clone()));
                vec![Told::Gone(kind, key)]
            }
            Followed::Listed(kind) => self.ended(kind),
            Followed::Failed(error) => vec![Told::Failed(error.into())],
        }
    }

    fn ended(&mut self, kind: Kind) -> Vec<Told> {
        let fresh = self.fresh.remove(&kind).unwrap_or_default();
        let lost: Vec<_> = self
            .known
            .iter()
            .filter(|(of, key)| *of == kind && !fresh.contains(key))
            .cloned()
            .collect();
        let mut told: Vec<Told> = Vec::new();
        for (kind, key) in lost {
            self.known.remove(&(kind, key.clone()));
            told.push(Told::Gone(kind, key));
        }
        self.listed.insert(kind);
        if self.listed.len() == 2 && !self.synced {
            self.synced = true;
            told.push(Told::Synced);
        }
        told
    }
}

fn namespace_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::All => None,
        Scope::Namespace(namespace) => Some(namespace),
    }
}

fn path(kind: Kind, key: &ObjectKey) -> String {
    format!("{}/{}", objects_path(kind, Some(&key.namespace)), part(&key.name))
}

fn success(what: &str, reply: Reply) -> ClientResult<Reply> {
    if reply.status.is_success() {
        return Ok(reply);
    }
    Err(refusal(what, &reply))
}

fn refuse_another_name(kind: Kind, key: &ObjectKey, named: &(Kind, ObjectKey)) -> ClientResult<()> {
    if named.0 != kind || named.1 != *key {
        let problem = format!("is {} {}", named.0, named.1);
        return Err(ClientError::field(
            format!("{kind} {key}"),
            "metadata",
            problem,
            "kind, namespace and name of the object that is written",
        ));
    }
    Ok(())
}

/// An object of the API server as an item.
fn item(kind: Kind, mut value: Value) -> Item {
    if let Some(fields) = value.as_object_mut() {
        // Items of a list do not say what they are.
        fields
            .entry("apiVersion")
            .or_insert_with(|| crate::model::object::API_VERSION.into());
        fields.entry("kind").or_insert_with(|| kind.as_str().into());
    }
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    let managed = metadata.and_then(|metadata| metadata.remove("managedFields"));
    let applier = managed.as_ref().and_then(applier_of_issuer);
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Item {
        kind,
        key: ObjectKey::new(text("/metadata/namespace"), text("/metadata/name")),
        version: text("/metadata/resourceVersion"),
        value,
        broken: None,
        applier,
    }
}

/// The field manager that applies `spec.issuerRef` server-side, of the managed fields of an object.
fn applier_of_issuer(managed: &Value) -> Option<String> {
    let entries = managed.as_array()?;
    let applies = |entry: &&Value| {
        let operation = entry.get("operation").and_then(Value::as_str);
        operation == Some("Apply") && entry.pointer("/fieldsV1/f:spec/f:issuerRef").is_some()
    };
    let manager = entries.iter().find(applies)?.get("manager")?;
    manager.as_str().map(str::to_owned)
}

#[derive(Deserialize)]
struct ValuePage {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct EventPage {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<CoreEvent>,
}

/// An Event as the core API gives it, whichever API it was written by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct CoreEvent {
    reason: String,
    message: String,
    #[serde(rename = "type")]
    severity: String,
    count: Option<u64>,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<EventSeries>,
    reporting_component: String,
    source: Option<EventSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventSeries {
    #[serde(default)]
    count: u64,
    #[serde(default)]
    last_observed_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct EventSource {
    #[serde(default)]
    component: String,
}

impl CoreEvent {
    fn told(self) -> Option<EventSeen> {
        let again = self.series.as_ref().and_then(|series| series.last_observed_time);
        let time = again
            .or(self.last_timestamp)
            .or(self.event_time)
            .or(self.first_timestamp)?;
        let count = self.series.map(|series| series.count).or(self.count).unwrap_or(1);
        let source = match self.source {
            Some(source) if self.reporting_component.is_empty() => source.component,
            _ => self.reporting_component,
        };
        Some(EventSeen {
            time,
            severity: if self.severity == "Warning" {
                Severity::Warning
            } else {
                Severity::Normal
            },
            reason: self.reason,
            message: self.message,
            count: count.max(1),
            source,
        })
    }
}

/// A Secret or ConfigMap to be made, or the patch of one in version `expected`; wiped on drop.
fn input_body(
    input: &InputRef,
    values: &InputValues,
    expected: Option<&str>,
) -> ClientResult<Zeroizing<Vec<u8>>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct InputObject<'a, D: Serialize> {
        api_version: &'static str,
        kind: &'static str,
        metadata: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<D>,
        #[serde(skip_serializing_if = "Option::is_none")]
        binary_data: Option<D>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[serde(rename = "data")]
        text: Option<BTreeMap<&'a str, &'a str>>,
    }
    let mut metadata = json!({ "namespace": input.object.namespace, "name": input.object.name });
    if let (Some(version), Some(fields)) = (expected, metadata.as_object_mut()) {
        fields.insert("resourceVersion".to_owned(), version.into());
    }
    let (text, bytes): (Vec<_>, Vec<_>) = match input.kind {
        InputKind::Secret => (Vec::new(), values.0.iter().collect()),
        InputKind::ConfigMap => values
            .0
            .iter()
            .partition(|(_, value)| std::str::from_utf8(value.expose()).is_ok()),
    };
    let binary: BTreeMap<String, pki::Secret> = bytes
        .into_iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let text: BTreeMap<&str, &str> = text
        .into_iter()
        .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.expose()).ok()?)))
        .collect();
    let secret = input.kind == InputKind::Secret;
    let object = InputObject {
        api_version: "v1",
        kind: if secret { "Secret" } else { "ConfigMap" },
        metadata,
        data: secret.then(|| encoded(&binary)),
        binary_data: (!secret && !binary.is_empty()).then(|| encoded(&binary)),
        text: (!text.is_empty()).then_some(text),
    };
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    serde_json::to_writer(&mut *body, &object)
        .map_err(|error| ClientError::Unavailable(describe(input), error.to_string()))?;
    Ok(body)
}
