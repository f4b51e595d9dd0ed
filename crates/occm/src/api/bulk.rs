//! Many at once: Certificates moved to another Issuer, Secrets of others taken over. Both can be tried first.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::dto::{Name, Time};
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::{Body, List, Params, Reply, WriteQuery};
use crate::client::adopt::{self, AdoptResult, Candidate};
use crate::client::migrate::{self, Destination, MoveResult, Selection};
use crate::client::{ClientError, Item, Objects, Run, Scope};
use crate::model::object::{Kind, ObjectKey};

/// Most objects of one request.
const MAX_ITEMS: usize = 10_000;

/// Which Certificates go where.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Migration {
    /// All Certificates of this Issuer that the caller may change.
    from: Option<Name>,
    /// Only these Certificates; with `from` those of them that are of that Issuer.
    #[serde(default)]
    #[schemars(length(max = 10000))]
    certificates: Vec<Name>,
    /// The new Issuer.
    to: Name,
    /// Whether it is only tried.
    #[serde(default)]
    dry_run: bool,
}

/// How it went with one Certificate.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    namespace: String,
    name: String,
    /// Its Issuer before: `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// In one word.
    result: MovedResult,
    /// What will happen, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// How it went, in one word.
#[derive(Clone, Copy, Serialize, JsonSchema)]
pub(crate) enum MovedResult {
    /// A try found nothing wrong.
    WouldChange,
    /// The reference was changed.
    Changed,
    /// It was not changed.
    Failed,
    /// It names the new Issuer already.
    Unchanged,
}

/// `POST /api/v1/migrate`
pub(crate) async fn migrate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<WriteQuery>,
    Body(wanted): Body<Migration>,
) -> Answer<Reply<List<Moved>>> {
    let run = query.run_or(wanted.dry_run);
    let to = wanted.to.key();
    let result = move_all(&api, &caller, wanted, run).await;
    api.note(&caller, "migrate to", run, Some((Kind::Issuer, to)), &result);
    result.map(|items| Reply::ok(List::whole(items)))
}

async fn move_all(api: &Api, caller: &Caller, wanted: Migration, run: Run) -> Answer<Vec<Moved>> {
    if wanted.from.is_none() && wanted.certificates.is_empty() {
        return Err(Fault::field(
            "certificates",
            "nothing is selected",
            "`from`, or at least one Certificate",
        ));
    }
    if wanted.certificates.len() > MAX_ITEMS {
        return Err(Fault::field(
            "certificates",
            "are too many",
            format!("at most {MAX_ITEMS}"),
        ));
    }
    let to = wanted.to.key();
    api.allow(caller, Verb::Get, Resource::Issuers, &to).await?;
    let objects = api.objects(caller)?;
    let issuer = there(objects.get(Kind::Issuer, &to).await)?;
    let allowed = api
        .namespaces_where(caller, Verb::Patch, Resource::Certificates)
        .await?;
    if allowed.is_empty() {
        return Err(Fault::forbidden("change Certificates"));
    }
    let names: Vec<ObjectKey> = wanted.certificates.iter().map(Name::key).collect();
    let (names, others): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|key| allowed.iter().any(|name| *name == key.namespace));
    let nothing_left = names.is_empty() && !others.is_empty();
    let selection = Selection {
        from: wanted.from.as_ref().map(Name::key),
        names,
        ..Selection::default()
    };
    let mut moves = Vec::new();
    if !nothing_left {
        let found = list(objects.as_ref(), Kind::Certificate, &allowed).await?;
        let destination = Destination {
            key: to,
            issuer: issuer.as_ref(),
        };
        moves = migrate::plan(&found, &selection, &destination);
    }
    let outcomes = migrate::run(objects.as_ref(), &moves, run).await;
    let mut items: Vec<Moved> = outcomes
        .into_iter()
        .map(|one| Moved {
            namespace: one.namespace,
            name: one.name,
            from: one.from,
            result: match one.result {
                MoveResult::WouldChange => MovedResult::WouldChange,
                MoveResult::Changed => MovedResult::Changed,
                MoveResult::Failed => MovedResult::Failed,
                MoveResult::Unchanged => MovedResult::Unchanged,
            },
            effect: one.effect,
            problem: one.problem,
        })
        .collect();
    items.extend(others.into_iter().map(|key| Moved {
        problem: Some(format!(
            "you may not patch certificates in namespace {}",
            key.namespace
        )),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        from: None,
        result: MovedResult::Failed,
        effect: None,
    }));
    Ok(items)
}

/// An object, or that there is none.
fn there(found: Result<Item, ClientError>) -> Answer<Option<Item>> {
    match found {
        Ok(item) => Ok(Some(item)),
        Err(ClientError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn list(objects: &dyn Objects, kind: Kind, namespaces: &[String]) -> Answer<Vec<Item>> {
    let mut all = Vec::new();
    for namespace in namespaces {
        all.extend(objects.list(kind, &Scope::Namespace(namespace.clone())).await?);
    }
    Ok(all)
}

/// Parameters of the candidates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CandidatesQuery {
    /// Only this namespace. Default: all in which the caller may read Secrets.
    #[schemars(length(max = 63))]
    namespace: Option<String>,
    /// Issuer that the suggested Certificates name: its name, or namespace/name.
    #[schemars(length(max = 320))]
    issuer: Option<String>,
}

/// A Secret that could be taken over.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CandidateRow {
    namespace: String,
    /// Name of the Secret.
    secret: String,
    /// Type of the Secret.
    #[serde(rename = "type")]
    kind: String,
    /// Key in the data that the certificate lies under.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Subject of the certificate, RFC 4514.
    subject: String,
    /// Issuer of the certificate, RFC 4514.
    issuer: String,
    /// Alternative names: `DNS:a.example`, ...
    sans: Vec<String>,
    /// End of its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    not_after: Option<Timestamp>,
    /// Algorithm of its key.
    algorithm: String,
    /// Who seems to look after it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_by: Option<String>,
    /// Whether the private key is there and belongs to the certificate.
    key_fits: bool,
    /// What stands against it; empty = it can be adopted.
    problems: Vec<String>,
    /// What should be known before.
    notes: Vec<String>,
    /// The Certificate that would take it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    suggested: Option<Value>,
}

impl From<Candidate> for CandidateRow {
    fn from(one: Candidate) -> Self {
        Self {
            namespace: one.namespace,
            secret: one.secret,
            kind: one.kind,
            key: one.key,
            subject: one.subject,
            issuer: one.issuer,
            sans: one.sans,
            not_after: one.not_after,
            algorithm: one.algorithm,
            managed_by: one.managed_by,
            key_fits: one.key_fits,
            problems: one.problems,
            notes: one.notes,
            suggested: one.suggested,
        }
    }
}

/// `GET /api/v1/adopt/candidates`
pub(crate) async fn candidates(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<CandidatesQuery>,
) -> Answer<Reply<List<CandidateRow>>> {
    let namespaces = match query.namespace {
        Some(namespace) => {
            api.allow(
                &caller,
                Verb::List,
                Resource::Secrets,
                &ObjectKey::new(&namespace, ""),
            )
            .await?;
            vec![namespace]
        }
        None => {
            api.namespaces_where(&caller, Verb::List, Resource::Secrets)
                .await?
        }
    };
    let mut rows = Vec::new();
    for namespace in namespaces {
        let issuer = query.issuer.as_deref().map(|text| match text.split_once('/') {
            Some((namespace, name)) => ObjectKey::new(namespace, name),
            None => ObjectKey::new(&namespace, text),
        });
        let found = look(&api, &caller, &namespace, issuer.as_ref()).await?;
        rows.extend(found.into_iter().map(Into::into));
    }
    Ok(Reply::ok(List::whole(rows)))
}

/// The candidates of a namespace, read with the caller's rights.
async fn look(
    api: &Api,
    caller: &Caller,
    namespace: &str,
    issuer: Option<&ObjectKey>,
) -> Answer<Vec<Candidate>> {
    let objects = api.objects(caller)?;
    let scope = Scope::Namespace(namespace.to_owned());
    let secrets = objects.secrets(&scope).await?;
    let certificates = objects.list(Kind::Certificate, &scope).await?;
    Ok(adopt::candidates(
        &secrets,
        &certificates,
        issuer,
        api.clock.now(),
    ))
}

/// Which Secrets are taken over.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Adoption {
    /// The Secrets.
    #[schemars(length(min = 1, max = 10000))]
    secrets: Vec<Name>,
    /// Issuer that renews them later.
    issuer_ref: AdoptIssuer,
    /// Whether it is only tried.
    #[serde(default)]
    dry_run: bool,
}

/// An Issuer.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdoptIssuer {
    /// Namespace. Default: that of each Secret.
    namespace: Option<String>,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    name: String,
}

/// How it went with one Secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Adopted {
    namespace: String,
    /// Name of the Secret.
    secret: String,
    /// In one word.
    result: AdoptedResult,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The Certificate, as it was made or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    object: Option<Value>,
}

/// How it went, in one word.
#[derive(Clone, Copy, Serialize, JsonSchema)]
pub(crate) enum AdoptedResult {
    /// A try found nothing wrong.
    WouldCreate,
    /// The Certificate was made; the manager takes the Secret over.
    Created,
    /// Nothing was made.
    Failed,
}

/// `POST /api/v1/adopt`
pub(crate) async fn adopt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<WriteQuery>,
    Body(wanted): Body<Adoption>,
) -> Answer<Reply<List<Adopted>>> {
    let run = query.run_or(wanted.dry_run);
    let count = wanted.secrets.len();
    let result = adopt_all(&api, &caller, wanted, run).await;
    api.note(&caller, &format!("adopt {count} Secrets"), run, None, &result);
    result.map(|items| Reply::ok(List::whole(items)))
}

async fn adopt_all(api: &Api, caller: &Caller, wanted: Adoption, run: Run) -> Answer<Vec<Adopted>> {
    if wanted.secrets.is_empty() || wanted.secrets.len() > MAX_ITEMS {
        return Err(Fault::field(
            "secrets",
            "none or too many are named",
            format!("1 to {MAX_ITEMS}"),
        ));
    }
    let readable = api
        .namespaces_where(caller, Verb::List, Resource::Secrets)
        .await?;
    let writable = api
        .namespaces_where(caller, Verb::Create, Resource::Certificates)
        .await?;
    let may = |namespace: &String| readable.contains(namespace) && writable.contains(namespace);
    if !wanted.secrets.iter().any(|one| may(&one.namespace)) {
        return Err(Fault::new(
            Code::Forbidden,
            "you may not read Secrets and create Certificates in any of these namespaces",
        ));
    }
    let mut namespaces: Vec<&String> = wanted.secrets.iter().map(|one| &one.namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    let mut items = Vec::new();
    for namespace in namespaces {
        let names: Vec<&str> = wanted
            .secrets
            .iter()
            .filter(|one| one.namespace == *namespace)
            .map(|one| one.name.as_str())
            .collect();
        let failed = |name: &str, problem: String| Adopted {
            namespace: namespace.clone(),
            secret: name.to_owned(),
            result: AdoptedResult::Failed,
            problem: Some(problem),
            object: None,
        };
        if !may(namespace) {
            let problem =
                format!("you may not read Secrets and create Certificates in namespace {namespace}");
            items.extend(names.iter().map(|name| failed(name, problem.clone())));
            continue;
        }
        let issuer_namespace = wanted.issuer_ref.namespace.as_ref().unwrap_or(namespace);
        let issuer = ObjectKey::new(issuer_namespace, &wanted.issuer_ref.name);
        let found = look(api, caller, namespace, Some(&issuer)).await?;
        for name in &names {
            if !found.iter().any(|one| one.secret == *name) {
                items.push(failed(
                    name,
                    "there is no such Secret with a certificate".to_owned(),
                ));
            }
        }
        let chosen: Vec<Candidate> = found
            .into_iter()
            .filter(|one| names.contains(&one.secret.as_str()))
            .collect();
        let objects = api.objects(caller)?;
        let outcomes = adopt::run(objects.as_ref(), &chosen, run).await;
        items.extend(outcomes.into_iter().map(|one| Adopted {
            namespace: one.namespace,
            secret: one.secret,
            result: match one.result {
                AdoptResult::WouldCreate => AdoptedResult::WouldCreate,
                AdoptResult::Created => AdoptedResult::Created,
                AdoptResult::Failed => AdoptedResult::Failed,
            },
            problem: one.problem,
            object: one.object,
        }));
    }
    Ok(items)
}
