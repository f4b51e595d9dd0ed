//! The secrets monitor: every Secret that occm writes or reads, and how it is. And the door for inputs, which are
//! written and never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::activity::ObjectName;
use crate::api::audit::Line;
use crate::api::caller::Caller;
use crate::api::dto::Time;
use crate::api::list::wanted_namespaces;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::{Body, Condition, List, Params, Reply, WriteQuery};
use crate::client::{ClientError, Expected, InputValues, Run};
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKind, InputRef, is_namespace, is_object_name};

/// Inputs whose presence is looked up for one answer.
const MAX_LOOKS: usize = 200;

/// Parameters of the monitor.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SecretsQuery {
    /// Only this namespace, or several separated by commas.
    #[schemars(length(max = 1024))]
    namespace: Option<String>,
}

/// A Secret or ConfigMap that occm writes or reads.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Watched {
    /// `Secret` or `ConfigMap`.
    kind: String,
    namespace: String,
    name: String,
    /// What it is to occm.
    role: SecretRole,
    /// The object that writes or reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<ObjectName>,
    /// How it is.
    state: SecretState,
    /// Since when, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    since: Option<Timestamp>,
    /// Who last changed it against the owner's will, where the store tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_writer: Option<String>,
    /// Why it is so, one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Keys that are written or read; never values.
    keys: Vec<String>,
    /// What happens when it is changed.
    action: DriftAction,
}

/// What a Secret is to occm.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum SecretRole {
    /// occm writes it.
    Output,
    /// occm reads it.
    Input,
    /// It stands where an output shall go, and occm did not write it.
    Foreign,
}

/// How a Secret is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum SecretState {
    /// As it was written; an input: it is there.
    InSync,
    /// Not written yet.
    Pending,
    /// It differs from what was written.
    Drifted,
    /// It is not there.
    Missing,
    /// Somebody else's.
    Foreign,
    /// It cannot be read or written.
    Unreadable,
}

/// What happens when an output is changed.
#[derive(Clone, Copy, Serialize, JsonSchema)]
pub(crate) enum DriftAction {
    /// The same bytes are put back.
    Restore,
    /// A new certificate is enrolled.
    Reissue,
    /// It is only reported.
    Alert,
    /// Nothing: occm only reads it.
    None,
}

/// `GET /api/v1/secrets`
pub(crate) async fn monitor(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<SecretsQuery>,
) -> Answer<Reply<List<Watched>>> {
    let asked = query.namespace.as_deref();
    let of_certificates = wanted_namespaces(&api, &caller, Resource::Certificates, asked).await?;
    let of_issuers = match asked {
        // Who may see Certificates there but no Issuers sees the outputs.
        Some(_) => {
            let all = api
                .namespaces_where(&caller, Verb::List, Resource::Issuers)
                .await?;
            of_certificates
                .iter()
                .filter(|one| all.contains(one))
                .cloned()
                .collect()
        }
        None => wanted_namespaces(&api, &caller, Resource::Issuers, None).await?,
    };
    let mut items = outputs(&api, &of_certificates);
    let inputs = inputs(&api, &of_issuers);
    items.extend(looked_up(&api, inputs).await);
    items.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Ok(Reply::ok(List::whole(items)))
}

fn outputs(api: &Api, namespaces: &BTreeSet<String>) -> Vec<Watched> {
    let inner = api.view.read();
    let mut items = Vec::new();
    for (key, entry) in inner
        .certificates
        .iter()
        .filter(|(key, _)| namespaces.contains(key.namespace.as_str()))
    {
        for (secret, keys) in &entry.outputs {
            let name = secret.to_string();
            let status = entry.states.iter().find(|status| status.name == name);
            let word = status.map_or("Pending", |status| status.state.as_str());
            let state = match word {
                "InSync" => SecretState::InSync,
                "Pending" => SecretState::Pending,
                "OutputDeleted" | "OutputMissing" => SecretState::Missing,
                "ForeignSecret" | "OwnedByAnother" => SecretState::Foreign,
                "NoAccess" | "StoreFailed" | "WrongSecretType" | "NamespaceTerminating" => {
                    SecretState::Unreadable
                }
                _ => SecretState::Drifted,
            };
            items.push(Watched {
                kind: "Secret".to_owned(),
                namespace: secret.namespace.to_string(),
                name: secret.name.to_string(),
                role: match state {
                    SecretState::Foreign => SecretRole::Foreign,
                    _ => SecretRole::Output,
                },
                owner: Some(ObjectName::of(Kind::Certificate, key)),
                state,
                since: entry.row.since,
                last_writer: status.and_then(|status| status.changed_by.clone()),
                reason: (!matches!(word, "InSync" | "Pending")).then(|| word.to_owned()),
                keys: keys.clone(),
                action: match entry.on_drift {
                    "Reissue" => DriftAction::Reissue,
                    "Alert" => DriftAction::Alert,
                    _ => DriftAction::Restore,
                },
            });
        }
    }
    items
}

/// Inputs with the Issuer that reads each, and the keys.
fn inputs(api: &Api, namespaces: &BTreeSet<String>) -> BTreeMap<InputRef, (ObjectKey, BTreeSet<String>)> {
    let inner = api.view.read();
    let mut inputs: BTreeMap<InputRef, (ObjectKey, BTreeSet<String>)> = BTreeMap::new();
    for (key, entry) in inner
        .issuers
        .iter()
        .filter(|(key, _)| namespaces.contains(key.namespace.as_str()))
    {
        for used in &entry.inputs {
            let known = inputs
                .entry(used.input.clone())
                .or_insert_with(|| (key.clone(), BTreeSet::new()));
            known.1.insert(used.key.clone());
        }
    }
    inputs
}

async fn looked_up(api: &Api, inputs: BTreeMap<InputRef, (ObjectKey, BTreeSet<String>)>) -> Vec<Watched> {
    let mut items = Vec::new();
    for (i, (input, (issuer, keys))) in inputs.into_iter().enumerate() {
        let (state, reason) = if i >= MAX_LOOKS {
            (SecretState::Pending, Some("NotLookedUp".to_owned()))
        } else {
            match api.store.read_input(&input).await {
                Ok(Some(data)) => match keys.iter().find(|key| !data.contains_key(*key)) {
                    Some(_) => (SecretState::Missing, Some("InputMissing".to_owned())),
                    None => (SecretState::InSync, None),
                },
                Ok(None) => (SecretState::Missing, Some("InputMissing".to_owned())),
                Err(_) => (SecretState::Unreadable, Some("NoAccess".to_owned())),
            }
        };
        items.push(Watched {
            kind: crate::api::dto::input_word(input.kind).to_owned(),
            namespace: input.object.namespace.to_string(),
            name: input.object.name.to_string(),
            role: SecretRole::Input,
            owner: Some(ObjectName::of(Kind::Issuer, &issuer)),
            state,
            since: None,
            last_writer: None,
            reason,
            keys: keys.into_iter().collect(),
            action: DriftAction::None,
        });
    }
    items
}

/// A shared secret, a trust store or an initial certificate to be written.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Input {
    /// Where it goes.
    kind: InputWord,
    /// Namespace.
    #[schemars(length(min = 1, max = 63))]
    namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    name: String,
    /// Values by key, base64. They are never given back.
    #[schemars(extend("minProperties" = 1))]
    data: BTreeMap<String, SecretText>,
}

/// Kinds of inputs.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum InputWord {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// A base64 text that is wiped on drop.
pub(crate) struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "contentEncoding": "base64"})
    }
}

/// What was written: names only.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InputWritten {
    /// `Secret` or `ConfigMap`.
    kind: String,
    namespace: String,
    name: String,
    /// Keys that were written.
    keys: Vec<String>,
    /// Version, also in the ETag: for the next write. On a directory it holds while the process runs.
    #[serde(rename = "resourceVersion")]
    version: String,
}

/// `POST /api/v1/inputs`
pub(crate) async fn write_input(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Condition(expected): Condition,
    Params(query): Params<WriteQuery>,
    Body(input): Body<Input>,
) -> Answer<Reply<InputWritten>> {
    let run = query.run();
    let (kind, resource) = match input.kind {
        InputWord::Secret => (InputKind::Secret, Resource::Secrets),
        InputWord::ConfigMap => (InputKind::ConfigMap, Resource::ConfigMaps),
    };
    let key = ObjectKey::new(&input.namespace, &input.name);
    let word = crate::api::dto::input_word(kind);
    let input_ref = InputRef {
        kind,
        object: key.clone(),
    };
    let result = write(&api, &caller, (&input_ref, resource), input.data, &expected, run).await;
    let what = match run {
        Run::Real => format!("write {word} {key}"),
        Run::Dry => format!("write {word} {key} (dry run)"),
    };
    let line = Line::session(
        &caller.user,
        &what,
        &result.as_ref().map_or_else(Fault::word, |_| "Ok".to_owned()),
    );
    api.audit.write(&api, &line);
    result.map(|(keys, version)| {
        let written = InputWritten {
            kind: word.to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            keys,
            version: version.clone(),
        };
        Reply::ok(written).version(&version)
    })
}

async fn write(
    api: &Api,
    caller: &Caller,
    (input, resource): (&InputRef, Resource),
    data: BTreeMap<String, SecretText>,
    expected: &Expected,
    run: Run,
) -> Answer<(Vec<String>, String)> {
    let key = &input.object;
    if !is_namespace(&key.namespace) {
        return Err(Fault::field(
            "namespace",
            "cannot be a namespace",
            "lower-case letters, digits and '-'",
        ));
    }
    if !is_object_name(&key.name) {
        return Err(Fault::field(
            "name",
            "cannot be a name",
            "lower-case letters, digits, '-' and '.'",
        ));
    }
    api.allow(caller, Verb::Create, resource, key).await?;
    api.allow(caller, Verb::Patch, resource, key).await?;
    let mut values = BTreeMap::new();
    for (name, text) in data {
        let bytes = Base64::decode_vec(&text.0).map_err(|_| {
            let field = format!("data[{}]", crate::model::field::shown(&name));
            Fault::field(field, "is not base64", "standard base64 with padding")
        })?;
        values.insert(name, pki::Secret::new(bytes));
    }
    let keys = values.keys().cloned().collect();
    let values = InputValues(values);
    let written = api
        .objects(caller)?
        .write_input(input, &values, expected, run)
        .await;
    let version = written.map_err(|error| match error {
        // What the header asked for is not so.
        ClientError::Exists(_) | ClientError::NotFound(_) => {
            Fault::new(Code::PreconditionFailed, error.to_string())
        }
        other => other.into(),
    })?;
    Ok((keys, version))
}
