//! Reads with content, for those who need it now.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use crate::model::object::ObjectKey;
use crate::model::plan::{InputKind, InputRef};
use crate::store::kube::api::{Answer, Api, Payload};
use crate::store::kube::paths;
use crate::store::kube::sinks::input_facts;
use crate::store::kube::wire::{ConfigMap, FullSecret};
use crate::store::{Content, InputFacts, RecordSeen, StoreError, StoreResult, Subject};

/// A Secret with its content.
pub(super) async fn secret(api: &Api, key: &ObjectKey) -> StoreResult<Option<Content>> {
    Ok(found(get::<FullSecret>(api, key, &paths::secret(key)).await)?.map(FullSecret::into_content))
}

/// An input with its content.
pub(super) async fn input(api: &Api, input: &InputRef) -> StoreResult<Option<BTreeMap<String, pki::Secret>>> {
    let key = &input.object;
    match input.kind {
        InputKind::Secret => {
            Ok(found(get::<FullSecret>(api, key, &paths::secret(key)).await)?.map(FullSecret::into_values))
        }
        InputKind::ConfigMap => {
            Ok(found(get::<ConfigMap>(api, key, &paths::config_map(key)).await)?.map(ConfigMap::into_values))
        }
    }
}

/// Facts of an input.
pub(super) async fn input_facts_of(api: &Api, reference: &InputRef) -> StoreResult<Option<InputFacts>> {
    Ok(input(api, reference).await?.map(|values| input_facts(&values)))
}

/// The record of a subject.
pub(super) async fn record(api: &Api, subject: &Subject) -> StoreResult<Option<RecordSeen>> {
    let key = ObjectKey::new(subject.key().namespace.clone(), subject.record_name());
    let Some(secret) = found(get::<FullSecret>(api, &key, &paths::secret(&key)).await)? else {
        return Ok(None);
    };
    let version = secret.metadata.version();
    let bytes = secret.into_values().remove(crate::store::kube::wire::RECORD_KEY);
    let bytes = Arc::new(bytes.unwrap_or_else(|| pki::Secret::new(Vec::new())));
    Ok(Some(RecordSeen { version, bytes }))
}

async fn get<T: serde::de::DeserializeOwned>(api: &Api, key: &ObjectKey, path: &str) -> StoreResult<T> {
    api.call(&key.to_string(), Method::GET, path, Payload::Empty, Answer::Full)
        .await
}

fn found<T>(result: StoreResult<T>) -> StoreResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
