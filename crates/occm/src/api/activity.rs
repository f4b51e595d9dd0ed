//! What happened: Events of objects, and the audit lines of this replica.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::audit::Kept;
use crate::api::caller::Caller;
use crate::api::dto::Time;
use crate::api::list::wanted_namespaces;
use crate::api::problem::{Answer, Fault};
use crate::api::routes::{Key, Params, Reply};
use crate::client::{ClientError, EventSeen, Happened, Scope};
use crate::model::object::{Kind, ObjectKey};
use crate::store::Severity;

/// Items when none are asked for.
const DEFAULT: usize = 100;

/// Events of one Certificate.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventsAnswer {
    /// Events, newest first.
    items: Vec<EventRow>,
    /// Time of the oldest Event that is still kept of any object, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    reaches_back_to: Option<Timestamp>,
    /// Where they come from: `Kubernetes`, which keeps Events for an hour by default, or `Directory`.
    source: String,
}

/// An Event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventRow {
    /// When it last happened.
    #[schemars(with = "Time")]
    time: Timestamp,
    /// How bad it is: `Normal` or `Warning`.
    severity: String,
    /// Why, one word.
    reason: String,
    /// What, a sentence.
    message: String,
    /// How often.
    count: u64,
    /// Who says so.
    source: String,
}

impl From<EventSeen> for EventRow {
    fn from(event: EventSeen) -> Self {
        Self {
            time: event.time,
            severity: severity(event.severity).to_owned(),
            reason: event.reason,
            message: event.message,
            count: event.count,
            source: event.source,
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    }
}

async fn events(api: Arc<Api>, caller: Caller, key: ObjectKey, kind: Kind) -> Answer<Reply<EventsAnswer>> {
    api.allow(&caller, Verb::Get, Resource::of(kind), &key).await?;
    api.allow(&caller, Verb::List, Resource::Events, &key).await?;
    let objects = api.objects(&caller)?;
    let found = objects.events(kind, &key).await?;
    if found.items.is_empty() {
        // Nothing happened, or there is no such object.
        objects.get(kind, &key).await?;
    }
    Ok(Reply::ok(EventsAnswer {
        items: found.items.into_iter().map(Into::into).collect(),
        reaches_back_to: found.reaches_back_to,
        source: found.source,
    }))
}

/// `GET /api/v1/certificates/{namespace}/{name}/events`
pub(crate) async fn certificate_events(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Key(key): Key,
) -> Answer<Reply<EventsAnswer>> {
    events(api, caller, key, Kind::Certificate).await
}

/// `GET /api/v1/issuers/{namespace}/{name}/events`
pub(crate) async fn issuer_events(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Key(key): Key,
) -> Answer<Reply<EventsAnswer>> {
    events(api, caller, key, Kind::Issuer).await
}

/// Parameters of the activity.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ActivityQuery {
    /// Only this namespace, or several separated by commas.
    #[schemars(length(max = 1024))]
    namespace: Option<String>,
    /// Only this object: kind/namespace/name, for example Certificate/default/web.
    #[schemars(length(max = 400))]
    object: Option<String>,
    /// Most items, 1 to 500. Default: 100.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
}

/// What happened, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Activity {
    /// Events and audit lines.
    pub(crate) items: Vec<ActivityRow>,
    /// How far back the Events reach, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    events_reach_back_to: Option<Timestamp>,
    /// From when on all audit lines of this replica are kept.
    #[schemars(with = "Time")]
    audit_reaches_back_to: Timestamp,
    /// The replica whose audit lines these are.
    replica: String,
    /// What is here and what is not, in a sentence.
    note: String,
}

/// Something that happened.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityRow {
    /// When.
    #[schemars(with = "Time")]
    pub(crate) time: Timestamp,
    /// An Event, or an audit line.
    kind: ActivityKind,
    /// Who did it; of an audit line.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// From which address; of an audit line.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// What was done: of an Event its reason.
    what: String,
    /// To which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectName>,
    /// How bad it is: `Normal` or `Warning`.
    severity: String,
    /// Why, one word.
    reason: String,
    /// A sentence.
    message: String,
    /// How it ended: `Ok` or the code of the failure; of an audit line.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

impl ActivityRow {
    /// The row of an Event.
    pub(crate) fn of(happened: Happened) -> Self {
        let event = happened.event;
        Self {
            time: event.time,
            kind: ActivityKind::Event,
            who: None,
            from: None,
            what: event.reason.clone(),
            object: Some(ObjectName::of(happened.kind, &happened.key)),
            severity: severity(event.severity).to_owned(),
            reason: event.reason,
            message: event.message,
            result: None,
        }
    }
}

impl From<&Kept> for ActivityRow {
    fn from(kept: &Kept) -> Self {
        let line = &kept.line;
        let object = line.object.as_ref().map(|(kind, key)| ObjectName::of(*kind, key));
        let ok = line.result == "Ok";
        let to = object
            .as_ref()
            .map(|object| format!(" {} {}/{}", object.kind, object.namespace, object.name))
            .unwrap_or_default();
        Self {
            time: kept.time,
            kind: ActivityKind::Audit,
            who: Some(line.who.clone()),
            from: Some(kept.from.clone()),
            what: line.what.clone(),
            severity: if ok { "Normal" } else { "Warning" }.to_owned(),
            reason: line.result.clone(),
            message: format!("{}: {}{to}: {}", line.who, line.what, line.result),
            result: Some(line.result.clone()),
            object,
        }
    }
}

/// Kinds of what happened.
#[derive(Clone, Copy, Serialize, JsonSchema)]
pub(crate) enum ActivityKind {
    /// Something happened to an object.
    Event,
    /// Somebody did something.
    Audit,
}

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ObjectName {
    /// `Issuer` or `Certificate`.
    kind: String,
    /// Namespace.
    namespace: String,
    /// Name.
    name: String,
}

impl ObjectName {
    pub(crate) fn of(kind: Kind, key: &ObjectKey) -> Self {
        Self {
            kind: kind.as_str().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

/// `GET /api/v1/activity`
pub(crate) async fn activity(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<ActivityQuery>,
) -> Answer<Reply<Activity>> {
    let limit = query.limit.unwrap_or(DEFAULT);
    let object = query.object.as_deref().map(object).transpose()?;
    let namespaces = wanted_namespaces(&api, &caller, Resource::Events, query.namespace.as_deref()).await?;
    let namespaces: Vec<String> = namespaces.into_iter().collect();
    gather(&api, &caller, &namespaces, object.as_ref(), limit)
        .await
        .map(Reply::ok)
}

fn object(text: &str) -> Answer<(Kind, ObjectKey)> {
    let mut parts = text.splitn(3, '/');
    let kind = match parts.next() {
        Some("Issuer") => Some(Kind::Issuer),
        Some("Certificate") => Some(Kind::Certificate),
        _ => None,
    };
    match (kind, parts.next(), parts.next()) {
        (Some(kind), Some(namespace), Some(name)) => Ok((kind, ObjectKey::new(namespace, name))),
        _ => Err(Fault::field(
            "object",
            format!("{} is no object", crate::model::field::shown(text)),
            "kind/namespace/name, for example Certificate/default/web",
        )),
    }
}

/// What happened in these namespaces, newest first.
pub(crate) async fn gather(
    api: &Api,
    caller: &Caller,
    namespaces: &[String],
    object: Option<&(Kind, ObjectKey)>,
    limit: usize,
) -> Answer<Activity> {
    let objects = api.objects(caller)?;
    let mut rows = Vec::new();
    let mut events_reach_back_to = None;
    for namespace in namespaces {
        let found = match objects.happened(&Scope::Namespace(namespace.clone())).await {
            Ok(found) => found,
            // What somebody may not see of Events is not there for them.
            Err(ClientError::Forbidden(..) | ClientError::NotFound(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        rows.extend(found.items.into_iter().map(ActivityRow::of));
        events_reach_back_to = match (events_reach_back_to, found.reaches_back_to) {
            (Some(one), Some(other)) => Some(std::cmp::max::<Timestamp>(one, other)),
            (one, other) => one.or(other),
        };
    }
    let admin_of = api
        .namespaces_where(caller, Verb::Update, Resource::Issuers)
        .await?;
    let (lines, audit_reaches_back_to) = api.audit.lines();
    for kept in lines {
        let seen = match &kept.line.object {
            Some((_, key)) => namespaces.iter().any(|name| *name == key.namespace),
            // Logins and the like concern the process: for its administrators.
            None => admin_of.contains(&api.about.home),
        };
        if seen {
            rows.push(ActivityRow::from(kept.as_ref()));
        }
    }
    if let Some((kind, key)) = object {
        rows.retain(|row| {
            row.object.as_ref().is_some_and(|object| {
                object.kind == kind.as_str() && object.namespace == key.namespace && object.name == key.name
            })
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    rows.truncate(limit);
    Ok(Activity {
        items: rows,
        events_reach_back_to,
        audit_reaches_back_to,
        replica: api.about.holder.clone(),
        note: format!(
            "Events as the store keeps them ({}); audit lines of replica {} alone, at most {}. The log has them all.",
            if api.about.store == "Kubernetes" {
                "an hour by default"
            } else {
                "the last 1 to 2 MiB"
            },
            api.about.holder,
            api.limits.activity,
        ),
    })
}
