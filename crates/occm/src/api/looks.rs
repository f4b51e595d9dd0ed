//! Looks at everything at once: overview, calendar, CMP identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::activity::{self, ActivityRow};
use crate::api::caller::Caller;
use crate::api::dto::{Band, Name, State as Condition, Time};
use crate::api::list::wanted_namespaces;
use crate::api::problem::{Answer, Fault};
use crate::api::routes::{List, Params, Reply};
use crate::model::object::{Kind, ObjectKey};

/// Objects that need attention, at most.
const MAX_ATTENTION: usize = 50;
/// Renewals and activities that are told.
const NEXT: usize = 10;
/// Days of a calendar, at most.
const MAX_DAYS: i32 = 1100;

/// Everything at once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    /// How many Certificates are how.
    counts: Counts,
    /// Issuers.
    issuers: Vec<IssuerState>,
    /// What somebody should look at, worst first.
    attention: Vec<Attention>,
    /// The next renewals.
    renewals: Vec<Renewal>,
    /// What happened last.
    activity: Vec<ActivityRow>,
    /// Version of the program.
    version: String,
    /// Where objects are kept.
    store: String,
    /// Namespaces that the caller may see.
    namespaces: Vec<String>,
    /// Whether this replica manages.
    leader: bool,
    /// Name of this replica.
    holder: String,
}

/// Counts of Certificates.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    /// All.
    total: usize,
    /// In use and as they should be.
    ready: usize,
    /// Being made.
    issuing: usize,
    /// The last attempt failed, or the object is wrong.
    failed: usize,
    /// Something stands against them.
    blocked: usize,
    /// An output differs from what was written.
    drifted: usize,
    /// Past their end.
    expired: usize,
    /// By expiry band: `7`, `30`, `90`, `180` days, `ok`, `none`.
    bands: BTreeMap<String, usize>,
}

/// An Issuer, in short.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssuerState {
    namespace: String,
    name: String,
    ready: bool,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    last_contact: Option<Timestamp>,
}

/// Something that somebody should look at.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attention {
    /// `Issuer` or `Certificate`.
    kind: String,
    namespace: String,
    name: String,
    /// Why, one word.
    reason: String,
    /// Why, a sentence.
    message: String,
    /// Since when, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    since: Option<Timestamp>,
}

/// A renewal to come.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renewal {
    namespace: String,
    name: String,
    #[schemars(with = "Time")]
    renewal_time: Timestamp,
}

/// `GET /api/v1/overview`
pub(crate) async fn overview(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Reply<Overview>> {
    let of_certificates = api
        .namespaces_where(&caller, Verb::List, Resource::Certificates)
        .await?;
    let of_issuers = api
        .namespaces_where(&caller, Verb::List, Resource::Issuers)
        .await?;
    let of_events = api
        .namespaces_where(&caller, Verb::List, Resource::Events)
        .await?;
    let now = api.clock.now();
    let mut overview = Overview {
        counts: Counts::default(),
        issuers: Vec::new(),
        attention: Vec::new(),
        renewals: Vec::new(),
        activity: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: api.about.store.to_owned(),
        namespaces: of_certificates.clone(),
        leader: (api.about.leads)(),
        holder: api.about.holder.clone(),
    };
    for band in ["expired", "7", "30", "90", "180", "ok", "none"] {
        overview.counts.bands.insert(band.to_owned(), 0);
    }
    let mut urgent: Vec<(u8, Attention)> = Vec::new();
    {
        let inner = api.view.read();
        for (key, entry) in inner
            .issuers
            .iter()
            .filter(|(key, _)| of_issuers.iter().any(|name| *name == key.namespace))
        {
            let row = &entry.row;
            overview.issuers.push(IssuerState {
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
                ready: row.ready,
                reason: row.reason.clone(),
                last_contact: row.last_contact,
            });
            if matches!(row.state, Condition::Failed | Condition::Blocked) {
                let attention = attention(Kind::Issuer, key, &row.reason, &row.message, row.since);
                urgent.push((0, attention));
            }
        }
        let seen = inner
            .certificates
            .iter()
            .filter(|(key, _)| of_certificates.iter().any(|name| *name == key.namespace));
        for (key, entry) in seen {
            let row = &entry.row;
            let band = Band::of(row.not_after, now);
            count(&mut overview.counts, row.state, band, row.drift);
            let urgency = match (row.state, band) {
                (_, Band::Expired) => Some(1),
                (Condition::Failed, _) => Some(2),
                (Condition::Blocked, _) => Some(3),
                (_, _) if row.drift => Some(4),
                _ => None,
            };
            if let Some(urgency) = urgency {
                let attention = attention(Kind::Certificate, key, &row.reason, &row.message, row.since);
                urgent.push((urgency, attention));
            }
            if let Some(renewal_time) = row.renewal_time {
                overview.renewals.push(Renewal {
                    namespace: key.namespace.to_string(),
                    name: key.name.to_string(),
                    renewal_time,
                });
            }
        }
    }
    urgent.sort_by_key(|(urgency, _)| *urgency);
    overview.attention = urgent
        .into_iter()
        .take(MAX_ATTENTION)
        .map(|(_, one)| one)
        .collect();
    overview.renewals.sort_by_key(|renewal| renewal.renewal_time);
    overview.renewals.truncate(NEXT);
    overview.activity = activity::gather(&api, &caller, &of_events, None, NEXT)
        .await?
        .items;
    Ok(Reply::ok(overview))
}

fn count(counts: &mut Counts, state: Condition, band: Band, drift: bool) {
    counts.total += 1;
    let state = match (state, band) {
        (Condition::Ready, Band::Expired) => Condition::Failed,
        (state, _) => state,
    };
    match state {
        Condition::Ready => counts.ready += 1,
        Condition::Failed => counts.failed += 1,
        Condition::Blocked => counts.blocked += 1,
        Condition::Issuing | Condition::Unknown | Condition::Deleting => counts.issuing += 1,
    }
    counts.drifted += usize::from(drift);
    counts.expired += usize::from(band == Band::Expired);
    let word = match band {
        Band::Expired => "expired",
        Band::Days7 => "7",
        Band::Days30 => "30",
        Band::Days90 => "90",
        Band::Days180 => "180",
        Band::Ok => "ok",
        Band::None => "none",
    };
    *counts.bands.entry(word.to_owned()).or_default() += 1;
}

fn attention(
    kind: Kind,
    key: &ObjectKey,
    reason: &str,
    message: &str,
    since: Option<Timestamp>,
) -> Attention {
    Attention {
        kind: kind.as_str().to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        since,
    }
}

/// Parameters of the calendar.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CalendarQuery {
    /// First day, as 2026-11-25. Default: today.
    #[schemars(extend("format" = "date"))]
    from: Option<String>,
    /// Last day. Default: a year after the first one; at most three years.
    #[schemars(extend("format" = "date"))]
    to: Option<String>,
    /// Only this namespace, or several separated by commas.
    #[schemars(length(max = 1024))]
    namespace: Option<String>,
}

/// A day on which something ends or is renewed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Day {
    /// The day, UTC.
    #[schemars(extend("format" = "date"))]
    day: String,
    /// Certificates that end on it.
    expiring: usize,
    /// Certificates that are renewed on it.
    renewing: usize,
}

/// `GET /api/v1/calendar`
pub(crate) async fn calendar(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<CalendarQuery>,
) -> Answer<Reply<List<Day>>> {
    let namespaces =
        wanted_namespaces(&api, &caller, Resource::Certificates, query.namespace.as_deref()).await?;
    let today = day_of(api.clock.now());
    let from = query.from.as_deref().map(|text| date("from", text)).transpose()?;
    let from = from.unwrap_or(today);
    let to = query.to.as_deref().map(|text| date("to", text)).transpose()?;
    let to = to.unwrap_or_else(|| from.saturating_add(365.days()));
    if to < from || from.until(to).is_ok_and(|span| span.get_days() > MAX_DAYS) {
        return Err(Fault::field(
            "to",
            format!("{to} does not fit {from}"),
            "from to three years after it",
        ));
    }
    let mut days: BTreeMap<Date, (usize, usize)> = BTreeMap::new();
    let inner = api.view.read();
    let seen = inner
        .certificates
        .iter()
        .filter(|(key, _)| namespaces.contains(key.namespace.as_str()));
    for (_, entry) in seen {
        let row = &entry.row;
        if let Some(day) = row.not_after.map(day_of).filter(|day| (from..=to).contains(day)) {
            days.entry(day).or_default().0 += 1;
        }
        if let Some(day) = row
            .renewal_time
            .map(day_of)
            .filter(|day| (from..=to).contains(day))
        {
            days.entry(day).or_default().1 += 1;
        }
    }
    let days = days.into_iter().map(|(day, (expiring, renewing))| Day {
        day: day.to_string(),
        expiring,
        renewing,
    });
    Ok(Reply::ok(List::whole(days.collect())))
}

fn day_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

fn date(field: &str, text: &str) -> Answer<Date> {
    text.parse().map_err(|_| {
        let problem = format!("{} is no day", crate::model::field::shown(text));
        Fault::field(field, problem, "a day such as 2026-11-25")
    })
}

/// A CMP identity.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// The Issuer that it belongs to.
    issuer: Name,
    /// Subject, RFC 4514.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Start of its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    not_before: Option<Timestamp>,
    /// End of its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    not_after: Option<Timestamp>,
    /// When it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    renewal_time: Option<Timestamp>,
    /// Serial number, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    /// How many certificates it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// How it is doing.
    state: Condition,
    /// How near its end is.
    band: Band,
    /// Why, one word.
    reason: String,
    /// Why, a sentence.
    message: String,
}

/// `GET /api/v1/identities`
pub(crate) async fn identities(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Reply<List<Identity>>> {
    let namespaces = api
        .namespaces_where(&caller, Verb::List, Resource::Issuers)
        .await?;
    let now = api.clock.now();
    let inner = api.view.read();
    let wanted = inner
        .issuers
        .iter()
        .filter(|(key, entry)| namespaces.iter().any(|name| *name == key.namespace) && entry.wants_identity);
    let identities = wanted.map(|(key, entry)| {
        let row = entry.row(now, 0);
        let identity = row.identity;
        Identity {
            issuer: key.into(),
            subject: identity.as_ref().map(|identity| identity.subject.clone()),
            not_before: identity.as_ref().map(|identity| identity.not_before),
            not_after: identity.as_ref().map(|identity| identity.not_after),
            renewal_time: identity.as_ref().map(|identity| identity.renewal_time),
            serial_number: identity.as_ref().map(|identity| identity.serial_number.clone()),
            revision: identity.as_ref().map(|identity| identity.revision),
            state: row.state,
            band: identity.as_ref().map_or(Band::None, |identity| identity.band),
            reason: row.reason,
            message: row.message,
        }
    });
    Ok(Reply::ok(List::whole(identities.collect())))
}
