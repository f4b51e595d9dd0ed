//! About this process: health, version, limits, log level.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::dto::Time;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::{Body, IfMatch, Params, Reply, WriteQuery};
use crate::client::Run;
use crate::model::object::{API_VERSION, ObjectKey};
use crate::store::ContentHash;
use crate::telemetry::{self, LevelError};

/// Longest time that a changed log level lasts, in minutes: a day.
const MAX_MINUTES: u32 = 24 * 60;

/// Longest log level, in characters.
const MAX_LEVEL: usize = 256;

/// How this process is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// `ok`, or `degraded` when changes are not told at the moment.
    status: Word,
    /// Whether this process holds the lease and manages.
    leader: bool,
    /// Name of this process.
    holder: String,
    /// Whether everything that exists was read.
    synced: bool,
    /// Where objects are kept: `Kubernetes` or `Directory`.
    store: String,
    /// When this process started.
    #[schemars(with = "Time")]
    since: Timestamp,
}

/// A word for health.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    /// All is well.
    Ok,
    /// Something is not as it should be.
    Degraded,
}

/// `GET /api/v1/health`
pub(crate) async fn health(State(api): State<Arc<Api>>) -> Reply<Health> {
    let synced = api.view.synced();
    Reply::ok(Health {
        status: if synced && !api.view.failing() {
            Word::Ok
        } else {
            Word::Degraded
        },
        leader: (api.about.leads)(),
        holder: api.about.holder.clone(),
        synced,
        store: api.about.store.to_owned(),
        since: api.about.since,
    })
}

/// What this program is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    /// Version of the program.
    version: String,
    /// Parts that it was built with.
    features: Vec<String>,
    /// Version of the objects.
    api_version: String,
}

/// `GET /api/v1/version`
pub(crate) async fn version() -> Reply<Version> {
    let features = [
        ("api", true),
        ("console", cfg!(feature = "console")),
        ("kube", cfg!(feature = "kube")),
    ];
    Reply::ok(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        features: features
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| name.to_owned())
            .collect(),
        api_version: API_VERSION.to_owned(),
    })
}

/// Bounds of this API.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitsAnswer {
    /// Largest request body, in bytes.
    max_body_bytes: usize,
    /// Most items of one page.
    max_page_size: usize,
    /// Items of a page when none are asked for.
    default_page_size: usize,
    /// Requests from one address in a second, over longer times; for a moment four times as many.
    requests_per_second: u32,
    /// Logins from one address in a minute.
    logins_per_minute: u32,
    /// Open connections.
    max_connections: usize,
    /// Live change streams.
    max_streams: usize,
    /// Certificates of the past that a status lists.
    max_history: usize,
    /// Events and audit lines that are kept in memory.
    max_activity: usize,
    /// A session ends after so many seconds without a request.
    idle_timeout_seconds: u64,
    /// A session ends after so many seconds whatever happens.
    session_seconds: u64,
    /// Longest time for one request, in seconds.
    request_seconds: u64,
}

/// `GET /api/v1/limits`
pub(crate) async fn limits(State(api): State<Arc<Api>>, _: Caller) -> Reply<LimitsAnswer> {
    let limits = api.limits;
    Reply::ok(LimitsAnswer {
        max_body_bytes: limits.body_bytes,
        max_page_size: limits.page,
        default_page_size: limits.default_page,
        requests_per_second: limits.requests_per_second,
        logins_per_minute: limits.logins_per_minute,
        max_connections: limits.connections,
        max_streams: limits.streams,
        max_history: 10,
        max_activity: limits.activity,
        idle_timeout_seconds: limits.idle.as_secs(),
        session_seconds: limits.session.as_secs(),
        request_seconds: limits.request.as_secs(),
    })
}

/// What is logged.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogLevel {
    /// A level, or a list such as `info,occm=debug`.
    level: String,
    /// The replica that it holds for: this one alone.
    replica: String,
    /// When it goes back to what the process was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    until: Option<Timestamp>,
}

/// Another log level.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WantedLevel {
    /// error, warn, info, debug, trace, or a list such as `info,occm=debug`.
    #[schemars(length(min = 1, max = 256))]
    level: String,
    /// After so many minutes it goes back by itself, 1 to 1440. Default: 60.
    #[schemars(range(min = 1, max = 1440))]
    minutes: Option<u32>,
}

fn told(api: &Api) -> Reply<LogLevel> {
    let now = telemetry::level();
    let version = version_of(&now);
    let (level, until) = now;
    let replica = api.about.holder.clone();
    Reply::ok(LogLevel {
        level,
        replica,
        until,
    })
    .version(&version)
}

/// Names a level and its end.
fn version_of(now: &telemetry::Now) -> String {
    ContentHash::of(format!("{now:?}").as_bytes()).to_hex()
}

/// `GET /api/v1/log-level`
pub(crate) async fn log_level(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Reply<LogLevel>> {
    let home = ObjectKey::new(&api.about.home, "");
    api.allow(&caller, Verb::Get, Resource::LogLevels, &home).await?;
    Ok(told(&api))
}

/// `PUT /api/v1/log-level`
pub(crate) async fn set_log_level(
    State(api): State<Arc<Api>>,
    caller: Caller,
    IfMatch(expected): IfMatch,
    Params(query): Params<WriteQuery>,
    Body(wanted): Body<WantedLevel>,
) -> Answer<Reply<LogLevel>> {
    let result = change_level(&api, &caller, &wanted, expected.as_deref(), query.run()).await;
    let what = format!("set log level {}", crate::model::field::shown(&wanted.level));
    api.note(&caller, &what, query.run(), None, &result);
    result.map(|()| told(&api))
}

async fn change_level(
    api: &Arc<Api>,
    caller: &Caller,
    wanted: &WantedLevel,
    expected: Option<&str>,
    run: Run,
) -> Answer<()> {
    let home = ObjectKey::new(&api.about.home, "");
    api.allow(caller, Verb::Update, Resource::LogLevels, &home)
        .await?;
    let minutes = wanted.minutes.unwrap_or(60);
    if wanted.level.is_empty() || wanted.level.chars().count() > MAX_LEVEL {
        return Err(Fault::field(
            "level",
            "is empty or too long",
            format!("1 to {MAX_LEVEL} characters"),
        ));
    }
    if !(1..=MAX_MINUTES).contains(&minutes) {
        return Err(Fault::field(
            "minutes",
            format!("{minutes} is not possible"),
            "1 to 1440",
        ));
    }
    let until = api.clock.now() + jiff::SignedDuration::from_mins(i64::from(minutes));
    let is_expected = |now: &telemetry::Now| expected.is_none_or(|expected| expected == version_of(now));
    let changed = telemetry::change((wanted.level.clone(), Some(until)), is_expected, run == Run::Dry);
    changed.map_err(|error| match error {
        LevelError::Moved => Fault::new(
            Code::PreconditionFailed,
            "the log level was changed in the meantime",
        ),
        LevelError::Wrong(problem) => Fault::field(
            "level",
            problem,
            "error, warn, info, debug, trace, or a list such as info,occm=debug",
        ),
    })
}
