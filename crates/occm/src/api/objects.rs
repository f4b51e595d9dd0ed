//! Single objects: read, made, replaced, changed and deleted through the same door as every other client's.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::api::Api;
#[cfg(feature = "kube")]
use crate::api::access::Authority;
use crate::api::access::{Resource, Verb};
use crate::api::audit::Line;
use crate::api::caller::Caller;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::routes::{Body, IfMatch, Key, Params, Reply, WriteQuery, Written};
use crate::client::{ClientError, Item, Objects, Run, check};
use crate::model::object::{Kind, ObjectKey};

/// Where objects are read and written.
pub(crate) enum Door {
    /// For every caller the same: what they may do is decided here.
    Shared(Arc<dyn Objects>),
    /// For each caller with the caller's own rights, as the authority says.
    #[cfg(feature = "kube")]
    Cluster,
}

impl Api {
    /// The objects, as this caller may use them.
    pub(crate) fn objects(&self, caller: &Caller) -> Answer<Arc<dyn Objects>> {
        match (&self.authority, &self.door) {
            #[cfg(feature = "kube")]
            (Authority::Cluster(cluster), _) => cluster.objects(caller),
            #[cfg(feature = "kube")]
            (Authority::Local(_), Door::Cluster) => {
                Err(Fault::new(Code::Unavailable, "nobody may use the cluster here"))
            }
            (_, Door::Shared(objects)) => {
                let _ = caller;
                Ok(Arc::clone(objects))
            }
        }
    }

    /// Writes the audit line of a write.
    pub(crate) fn note<T>(
        &self,
        caller: &Caller,
        what: &str,
        run: Run,
        object: Option<(Kind, ObjectKey)>,
        result: &Answer<T>,
    ) {
        let what = match run {
            Run::Real => what.to_owned(),
            Run::Dry => format!("{what} (dry run)"),
        };
        let line = Line {
            object,
            result: match result {
                Ok(_) => "Ok".to_owned(),
                Err(fault) => fault.word(),
            },
            ..Line::session(&caller.user, &what, "")
        };
        self.audit.write(self, &line);
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NotFound(_) => Code::NotFound,
            ClientError::Exists(_) => Code::Conflict,
            ClientError::Conflict(_) => Code::PreconditionFailed,
            ClientError::Forbidden(..) => Code::Forbidden,
            ClientError::Unauthenticated(_) => Code::Unauthenticated,
            ClientError::Unavailable(..) => Code::Unavailable,
            ClientError::Invalid(what, errors) => {
                let mut fault = Self::from(errors.clone());
                fault.detail = format!("{what}: {}", fault.detail);
                return fault;
            }
        };
        Self::new(code, error.to_string())
    }
}

fn answer(status: StatusCode, item: Item) -> Reply<Value> {
    let version = item.version;
    Reply::with(status, item.value).version(&version)
}

/// `GET /api/v1/{kind}/{namespace}/{name}`
pub(crate) async fn get(api: Arc<Api>, caller: Caller, key: ObjectKey, kind: Kind) -> Answer<Reply<Value>> {
    api.allow(&caller, Verb::Get, Resource::of(kind), &key).await?;
    let item = api.objects(&caller)?.get(kind, &key).await?;
    Ok(answer(StatusCode::OK, item))
}

/// `POST /api/v1/{kind}`
pub(crate) async fn create(
    api: Arc<Api>,
    caller: Caller,
    mut object: Value,
    run: Run,
    kind: Kind,
) -> Answer<Reply<Value>> {
    complete(&mut object, kind, None)?;
    let (found, key) = check::identify(&object)?;
    same_kind(found, kind)?;
    let result = async {
        api.allow(&caller, Verb::Create, Resource::of(kind), &key).await?;
        check::check(&object, Some(&api.about.home))?;
        Ok(api.objects(&caller)?.create(&object, run).await?)
    }
    .await;
    api.note(&caller, "create", run, Some((kind, key)), &result);
    result.map(|item| answer(StatusCode::CREATED, item))
}

/// `PUT /api/v1/{kind}/{namespace}/{name}`
pub(crate) async fn replace(
    api: Arc<Api>,
    caller: Caller,
    key: ObjectKey,
    expected: Option<String>,
    mut object: Value,
    run: Run,
    kind: Kind,
) -> Answer<Reply<Value>> {
    complete(&mut object, kind, Some(&key))?;
    let (found, named) = check::identify(&object)?;
    same_kind(found, kind)?;
    if named != key {
        return Err(Fault::field(
            "metadata.name",
            format!("the object is {named}, the path says {key}"),
            "the namespace and the name of the path",
        ));
    }
    let result = async {
        api.allow(&caller, Verb::Update, Resource::of(kind), &key).await?;
        check::check(&object, Some(&api.about.home))?;
        let objects = api.objects(&caller)?;
        let expected = match expected {
            Some(expected) => expected,
            None => objects.get(kind, &key).await?.version,
        };
        Ok(objects.replace(kind, &key, &object, &expected, run).await?)
    }
    .await;
    api.note(&caller, "replace", run, Some((kind, key)), &result);
    result.map(|item| answer(StatusCode::OK, item))
}

/// `PATCH /api/v1/{kind}/{namespace}/{name}`
pub(crate) async fn patch(
    api: Arc<Api>,
    caller: Caller,
    key: ObjectKey,
    expected: Option<String>,
    change: Value,
    run: Run,
    kind: Kind,
) -> Answer<Reply<Value>> {
    let result = async {
        api.allow(&caller, Verb::Patch, Resource::of(kind), &key).await?;
        if !change.is_object() {
            return Err(Fault::field("body", "is no object", "a merge patch (RFC 7396)"));
        }
        if change.get("status").is_some() {
            return Err(Fault::field(
                "status",
                "is written by occm alone",
                "spec, metadata.labels, metadata.annotations",
            ));
        }
        let objects = api.objects(&caller)?;
        Ok(objects
            .patch(kind, &key, &change, expected.as_deref(), run)
            .await?)
    }
    .await;
    api.note(&caller, "patch", run, Some((kind, key)), &result);
    result.map(|item| answer(StatusCode::OK, item))
}

/// `DELETE /api/v1/{kind}/{namespace}/{name}`
pub(crate) async fn delete(
    api: Arc<Api>,
    caller: Caller,
    key: ObjectKey,
    expected: Option<String>,
    run: Run,
    kind: Kind,
) -> Answer<Response> {
    let result = async {
        api.allow(&caller, Verb::Delete, Resource::of(kind), &key).await?;
        Ok(api
            .objects(&caller)?
            .delete(kind, &key, expected.as_deref(), run)
            .await?)
    }
    .await;
    api.note(&caller, "delete", run, Some((kind, key)), &result);
    result.map(|()| StatusCode::NO_CONTENT.into_response())
}

/// Fills in what the path says already.
fn complete(object: &mut Value, kind: Kind, key: Option<&ObjectKey>) -> Answer<()> {
    let Some(fields) = object.as_object_mut() else {
        return Err(Fault::field(
            "body",
            "is no object",
            "an object with metadata and spec",
        ));
    };
    // What was read may be sent back as it is; the status is not taken.
    fields.remove("status");
    fields
        .entry("apiVersion")
        .or_insert_with(|| crate::model::object::API_VERSION.into());
    fields.entry("kind").or_insert_with(|| kind.as_str().into());
    if let (Some(key), Some(metadata)) = (key, fields.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata
            .entry("namespace")
            .or_insert_with(|| key.namespace.as_str().into());
        metadata.entry("name").or_insert_with(|| key.name.as_str().into());
    }
    Ok(())
}

fn same_kind(found: Kind, kind: Kind) -> Answer<()> {
    if found == kind {
        return Ok(());
    }
    Err(Fault::field("kind", format!("is {found}"), kind.as_str()))
}

// -- As handlers --------------------------------------------------------------------------------------------------

macro_rules! handlers {
    ($module:ident, $kind:expr) => {
        /// The operations on one kind.
        pub(crate) mod $module {
            use super::*;

            pub(crate) async fn get(
                State(api): State<Arc<Api>>,
                caller: Caller,
                Key(key): Key,
            ) -> Answer<Reply<Value>> {
                super::get(api, caller, key, $kind).await
            }

            pub(crate) async fn create(
                State(api): State<Arc<Api>>,
                caller: Caller,
                Params(query): Params<WriteQuery>,
                Body(Written(object)): Body<Written>,
            ) -> Answer<Reply<Value>> {
                super::create(api, caller, object, query.run(), $kind).await
            }

            pub(crate) async fn replace(
                State(api): State<Arc<Api>>,
                caller: Caller,
                Key(key): Key,
                IfMatch(expected): IfMatch,
                Params(query): Params<WriteQuery>,
                Body(Written(object)): Body<Written>,
            ) -> Answer<Reply<Value>> {
                super::replace(api, caller, key, expected, object, query.run(), $kind).await
            }

            pub(crate) async fn patch(
                State(api): State<Arc<Api>>,
                caller: Caller,
                Key(key): Key,
                IfMatch(expected): IfMatch,
                Params(query): Params<WriteQuery>,
                Body(Written(change)): Body<Written>,
            ) -> Answer<Reply<Value>> {
                super::patch(api, caller, key, expected, change, query.run(), $kind).await
            }

            pub(crate) async fn delete(
                State(api): State<Arc<Api>>,
                caller: Caller,
                Key(key): Key,
                IfMatch(expected): IfMatch,
                Params(query): Params<WriteQuery>,
            ) -> Answer<Response> {
                super::delete(api, caller, key, expected, query.run(), $kind).await
            }
        }
    };
}

handlers!(issuers, Kind::Issuer);
handlers!(certificates, Kind::Certificate);
