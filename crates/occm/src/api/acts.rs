//! Requests to a Certificate: renew, recreate, revoke. Each is an annotation with a token that reconciliation serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::problem::Answer;
use crate::api::routes::{Body, IfMatch, Key, Params, Reply, WriteQuery};
use crate::client::Run;
use crate::model::object::{
    Kind, OVER_BUDGET_ANNOTATION, ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};

/// How a request is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Asked {
    /// Whether it is served also when the daily budget of the Certificate is used up.
    over_budget: bool,
}

/// A request that was written down.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Accepted {
    /// Names the request: the value of the annotation.
    token: String,
}

async fn ask(
    api: Arc<Api>,
    caller: Caller,
    key: ObjectKey,
    expected: Option<String>,
    run: Run,
    asked: Asked,
    (what, annotation): (&str, &str),
) -> Answer<Reply<Accepted>> {
    let token = api.clock.now().to_string();
    let mut annotations = BTreeMap::from([(annotation.to_owned(), token.clone())]);
    if asked.over_budget {
        annotations.insert(OVER_BUDGET_ANNOTATION.to_owned(), token.clone());
    }
    let result = async {
        api.allow(&caller, Verb::Patch, Resource::Certificates, &key)
            .await?;
        let objects = api.objects(&caller)?;
        Ok(objects
            .annotate(Kind::Certificate, &key, &annotations, expected.as_deref(), run)
            .await?)
    }
    .await;
    api.note(&caller, what, run, Some((Kind::Certificate, key)), &result);
    result.map(|item| Reply::with(StatusCode::ACCEPTED, Accepted { token }).version(&item.version))
}

macro_rules! act {
    ($name:ident, $what:literal, $annotation:expr) => {
        #[doc = concat!("`POST /api/v1/certificates/{namespace}/{name}/", $what, "`")]
        pub(crate) async fn $name(
            State(api): State<Arc<Api>>,
            caller: Caller,
            Key(key): Key,
            IfMatch(expected): IfMatch,
            Params(query): Params<WriteQuery>,
            Body(asked): Body<Option<Asked>>,
        ) -> Answer<Reply<Accepted>> {
            let asked = asked.unwrap_or_default();
            ask(
                api,
                caller,
                key,
                expected,
                query.run(),
                asked,
                ($what, $annotation),
            )
            .await
        }
    };
}

act!(renew, "renew", RENEW_ANNOTATION);
act!(recreate, "recreate", RECREATE_ANNOTATION);
act!(revoke, "revoke", REVOKE_ANNOTATION);
