//! Lists of Issuers and Certificates: filtered, sorted and cut into pages.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::dto::{Band, CertificateRow, IssuerRow, State as Condition};
use crate::api::problem::{Answer, Fault};
use crate::api::routes::{List, Params, Reply};
use crate::model::object::ObjectKey;

/// Longest text that is searched for.
const MAX_QUERY: usize = 256;

/// Parameters of the list of Certificates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CertificatesQuery {
    /// Only this namespace, or several separated by commas.
    #[schemars(length(max = 1024))]
    namespace: Option<String>,
    /// Text in the name, common name, DNS names, serial number or Secret; upper and lower case are the same.
    #[schemars(length(max = 256))]
    q: Option<String>,
    /// Only those of this Issuer: its name, or namespace/name.
    #[schemars(length(max = 320))]
    issuer: Option<String>,
    /// Only these states, separated by commas: Ready, Issuing, Failed, Blocked, Deleting, Unknown.
    #[schemars(length(max = 128))]
    state: Option<String>,
    /// Only these expiry bands, separated by commas: expired, 7, 30, 90, 180, ok, none.
    #[schemars(length(max = 64))]
    band: Option<String>,
    /// Only keys of this algorithm: RSA, ECDSA or Ed25519.
    #[schemars(length(max = 16))]
    algorithm: Option<String>,
    /// Only those whose outputs differ from what was written (true), or do not (false).
    drift: Option<bool>,
    /// Only those with these labels: key=value, several separated by commas.
    #[schemars(length(max = 1024))]
    label: Option<String>,
    /// name (default), namespace, expiry, renewal, state, age; with a - in front the other way round.
    #[schemars(length(max = 16))]
    sort: Option<String>,
    /// Most items of the page, 1 to 500. Default: 100.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    /// Where the page begins: `continue` of the page before.
    #[serde(rename = "continue")]
    #[schemars(length(max = 1024))]
    next: Option<String>,
}

/// Parameters of the list of Issuers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct IssuersQuery {
    /// Only this namespace, or several separated by commas.
    #[schemars(length(max = 1024))]
    namespace: Option<String>,
    /// Text in the name or the address; upper and lower case are the same.
    #[schemars(length(max = 256))]
    q: Option<String>,
    /// Only these states, separated by commas: Ready, Issuing, Failed, Blocked, Deleting, Unknown.
    #[schemars(length(max = 128))]
    state: Option<String>,
    /// Only those with these labels: key=value, several separated by commas.
    #[schemars(length(max = 1024))]
    label: Option<String>,
    /// name (default), namespace, expiry, renewal, state, age; with a - in front the other way round.
    #[schemars(length(max = 16))]
    sort: Option<String>,
    /// Most items of the page, 1 to 500. Default: 100.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    /// Where the page begins: `continue` of the page before.
    #[serde(rename = "continue")]
    #[schemars(length(max = 1024))]
    next: Option<String>,
}

/// `GET /api/v1/certificates`
pub(crate) async fn certificates(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<CertificatesQuery>,
) -> Answer<Reply<List<CertificateRow>>> {
    let namespaces =
        wanted_namespaces(&api, &caller, Resource::Certificates, query.namespace.as_deref()).await?;
    let states = states(query.state.as_deref())?;
    let bands = words(query.band.as_deref(), "band", BANDS)?;
    let labels = labels(query.label.as_deref())?;
    let text = text(query.q.as_deref())?;
    let issuer = query
        .issuer
        .as_deref()
        .map(|issuer| issuer.split_once('/').ok_or(issuer));
    let sort = Sort::of(query.sort.as_deref())?;
    let now = api.clock.now();
    let mut found = Vec::new();
    {
        let inner = api.view.read();
        for (key, entry) in &inner.certificates {
            let row = &entry.row;
            let band = Band::of(row.not_after, now);
            let state = match (row.state, band) {
                (Condition::Ready, Band::Expired) => Condition::Failed,
                (state, _) => state,
            };
            let fits = namespaces.contains(key.namespace.as_str())
                && (states.is_empty() || states.contains(&state))
                && (bands.is_empty() || bands.contains(&band))
                && query.drift.is_none_or(|drift| drift == row.drift)
                && query
                    .algorithm
                    .as_deref()
                    .is_none_or(|algorithm| row.algorithm.eq_ignore_ascii_case(algorithm))
                && match issuer {
                    None => true,
                    Some(Ok((namespace, name))) => {
                        row.issuer.namespace == namespace && row.issuer.name == name
                    }
                    Some(Err(name)) => row.issuer.name == name,
                }
                && labels
                    .iter()
                    .all(|(key, value)| row.labels.get(key) == Some(value))
                && text.as_deref().is_none_or(|text| certificate_has(row, text));
            if fits {
                let place = Place {
                    key: key.clone(),
                    expiry: row.not_after,
                    renewal: row.renewal_time,
                    state,
                    created: row.created,
                };
                found.push((place, Arc::clone(entry)));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| sort.compare(one, other));
    page(&api, found, query.limit, query.next.as_deref(), |entry| {
        entry.row(now)
    })
    .map(Reply::ok)
}

/// `GET /api/v1/issuers`
pub(crate) async fn issuers(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<IssuersQuery>,
) -> Answer<Reply<List<IssuerRow>>> {
    let namespaces = wanted_namespaces(&api, &caller, Resource::Issuers, query.namespace.as_deref()).await?;
    let counted = api
        .namespaces_where(&caller, Verb::List, Resource::Certificates)
        .await?;
    let states = states(query.state.as_deref())?;
    let labels = labels(query.label.as_deref())?;
    let text = text(query.q.as_deref())?;
    let sort = Sort::of(query.sort.as_deref())?;
    let now = api.clock.now();
    let mut found = Vec::new();
    {
        let inner = api.view.read();
        for (key, entry) in &inner.issuers {
            let row = &entry.row;
            let fits = namespaces.contains(key.namespace.as_str())
                && (states.is_empty() || states.contains(&row.state))
                && labels
                    .iter()
                    .all(|(key, value)| row.labels.get(key) == Some(value))
                && text
                    .as_deref()
                    .is_none_or(|text| has(&row.name, text) || has(&row.url, text));
            if fits {
                let place = Place {
                    key: key.clone(),
                    expiry: row.identity.as_ref().map(|identity| identity.not_after),
                    renewal: row.identity.as_ref().map(|identity| identity.renewal_time),
                    state: row.state,
                    created: row.created,
                };
                found.push((place, (Arc::clone(entry), inner.certificates_of(key, &counted))));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| sort.compare(one, other));
    page(
        &api,
        found,
        query.limit,
        query.next.as_deref(),
        |(entry, certificates)| entry.row(now, certificates),
    )
    .map(Reply::ok)
}

/// The namespaces that are asked for, of those that the caller may see.
pub(crate) async fn wanted_namespaces(
    api: &Api,
    caller: &Caller,
    resource: Resource,
    asked: Option<&str>,
) -> Answer<BTreeSet<String>> {
    let Some(asked) = asked else {
        let all = api.namespaces_where(caller, Verb::List, resource).await?;
        return Ok(all.into_iter().collect());
    };
    let mut wanted = BTreeSet::new();
    for namespace in asked
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .take(64)
    {
        api.allow(caller, Verb::List, resource, &ObjectKey::new(namespace, ""))
            .await?;
        wanted.insert(namespace.to_owned());
    }
    Ok(wanted)
}

fn certificate_has(row: &CertificateRow, text: &str) -> bool {
    has(&row.name, text)
        || row.common_name.as_deref().is_some_and(|name| has(name, text))
        || row.dns_names.iter().any(|name| has(name, text))
        || row
            .serial_number
            .as_deref()
            .is_some_and(|serial| has(serial, text))
        || row.secret_name.as_deref().is_some_and(|name| has(name, text))
}

fn has(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(part)
}

fn text(text: Option<&str>) -> Answer<Option<String>> {
    match text {
        Some(text) if text.len() > MAX_QUERY => Err(Fault::field(
            "q",
            format!("has {} bytes", text.len()),
            format!("at most {MAX_QUERY}"),
        )),
        other => Ok(other.map(str::to_lowercase).filter(|text| !text.is_empty())),
    }
}

const BANDS: &[(&str, Band)] = &[
    ("expired", Band::Expired),
    ("7", Band::Days7),
    ("30", Band::Days30),
    ("90", Band::Days90),
    ("180", Band::Days180),
    ("ok", Band::Ok),
    ("none", Band::None),
];

const STATES: &[(&str, Condition)] = &[
    ("Ready", Condition::Ready),
    ("Issuing", Condition::Issuing),
    ("Failed", Condition::Failed),
    ("Blocked", Condition::Blocked),
    ("Deleting", Condition::Deleting),
    ("Unknown", Condition::Unknown),
];

fn states(text: Option<&str>) -> Answer<Vec<Condition>> {
    words(text, "state", STATES)
}

fn words<T: Copy>(text: Option<&str>, field: &str, known: &[(&str, T)]) -> Answer<Vec<T>> {
    let allowed = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| {
            let found = known.iter().find(|(known, _)| *known == word);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let shown = crate::model::field::shown(word);
                Fault::field(field, format!("{shown} is not known"), allowed())
            })
        })
        .collect()
}

fn labels(text: Option<&str>) -> Answer<Vec<(String, String)>> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Fault::field(
                "label",
                format!("{} is no label", crate::model::field::shown(pair)),
                "key=value, several separated by commas",
            )),
        })
        .collect()
}

/// What rows are sorted by.
struct Place {
    key: ObjectKey,
    expiry: Option<Timestamp>,
    renewal: Option<Timestamp>,
    state: Condition,
    created: Option<Timestamp>,
}

#[derive(Clone, Copy)]
enum By {
    Name,
    Namespace,
    Expiry,
    Renewal,
    State,
    Age,
}

struct Sort {
    by: By,
    reverse: bool,
}

impl Sort {
    fn of(text: Option<&str>) -> Answer<Self> {
        let text = text.unwrap_or("name");
        let (word, reverse) = match text.strip_prefix('-') {
            Some(word) => (word, true),
            None => (text, false),
        };
        let by = match word {
            "name" => By::Name,
            "namespace" => By::Namespace,
            "expiry" => By::Expiry,
            "renewal" => By::Renewal,
            "state" => By::State,
            "age" => By::Age,
            other => {
                return Err(Fault::field(
                    "sort",
                    format!("{} is not known", crate::model::field::shown(other)),
                    "name, namespace, expiry, renewal, state or age, with - in front for the other way round",
                ));
            }
        };
        Ok(Self { by, reverse })
    }

    fn compare(&self, one: &Place, other: &Place) -> Ordering {
        let name = |place: &Place| (place.key.name.clone(), place.key.namespace.clone());
        let by = match self.by {
            By::Name => name(one).cmp(&name(other)),
            By::Namespace => one.key.cmp(&other.key),
            By::Expiry => earlier(one.expiry, other.expiry),
            By::Renewal => earlier(one.renewal, other.renewal),
            By::State => urgency(one.state).cmp(&urgency(other.state)),
            By::Age => earlier(other.created, one.created),
        };
        let by = if self.reverse { by.reverse() } else { by };
        by.then_with(|| one.key.cmp(&other.key))
    }
}

/// What has no time comes last.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn urgency(state: Condition) -> u8 {
    match state {
        Condition::Failed => 0,
        Condition::Blocked => 1,
        Condition::Issuing => 2,
        Condition::Unknown => 3,
        Condition::Deleting => 4,
        Condition::Ready => 5,
    }
}

/// The page after the object that `next` names.
fn page<E, R>(
    api: &Api,
    found: Vec<(Place, E)>,
    limit: Option<usize>,
    next: Option<&str>,
    row: impl Fn(E) -> R,
) -> Answer<List<R>> {
    let limit = limit.unwrap_or(api.limits.default_page);
    let total = found.len();
    let start = match next {
        None => 0,
        Some(text) => {
            let (offset, key) = read_next(text).ok_or_else(|| {
                Fault::field("continue", "is none of ours", "`continue` of the page before")
            })?;
            // The last object may be gone or elsewhere by now; then the page begins where it was.
            found
                .iter()
                .position(|(place, _)| place.key == key)
                .map_or(offset.min(total), |position| position + 1)
        }
    };
    let last = found
        .get(start..)
        .and_then(|rest| rest.get(limit.checked_sub(1)?));
    let next = last
        .filter(|_| start + limit < total)
        .map(|(place, _)| write_next(start + limit, &place.key));
    let items = found
        .into_iter()
        .skip(start)
        .take(limit)
        .map(|(_, entry)| row(entry))
        .collect();
    Ok(List { items, total, next })
}

fn write_next(offset: usize, key: &ObjectKey) -> String {
    Base64UrlUnpadded::encode_string(format!("{offset} {key}").as_bytes())
}

fn read_next(text: &str) -> Option<(usize, ObjectKey)> {
    let bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (offset, key) = text.split_once(' ')?;
    let (namespace, name) = key.split_once('/')?;
    Some((offset.parse().ok()?, ObjectKey::new(namespace, name)))
}
