//! Lengths of parameters, as the OpenAPI document tells them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::extract::Query;
use axum::http::Uri;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::api::problem::Fault;

/// Longest value of each parameter, by the type of the query.
type Known = BTreeMap<String, Arc<BTreeMap<String, usize>>>;

/// What is wrong with the length of a parameter in this address.
pub(crate) fn broken<T: JsonSchema>(uri: &Uri) -> Option<Fault> {
    let longest = longest::<T>();
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.iter().find_map(|(name, value)| {
        let most = *longest.get(name)?;
        let length = value.chars().count();
        (length > most).then(|| {
            Fault::field(
                name.clone(),
                format!("has {length} characters"),
                format!("at most {most} characters"),
            )
        })
    })
}

fn longest<T: JsonSchema>() -> Arc<BTreeMap<String, usize>> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = known.entry(T::schema_id().into_owned());
    Arc::clone(entry.or_insert_with(|| {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let properties = schema.get("properties").and_then(Value::as_object);
        let bounded = properties.into_iter().flatten().filter_map(|(name, property)| {
            let most = property.get("maxLength")?.as_u64()?;
            Some((name.clone(), usize::try_from(most).ok()?))
        });
        Arc::new(bounded.collect())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::changes::ChangesQuery;

    #[test]
    fn a_parameter_is_as_long_as_the_document_says() {
        let broken = |text: String| broken::<ChangesQuery>(&format!("/x?namespace={text}").parse().unwrap());
        assert!(broken("a".repeat(63)).is_none());
        assert!(broken("a".repeat(64)).unwrap().detail.contains("at most 63"));
        assert!(broken("%C3%A4".repeat(63)).is_none());
        assert!(broken("x&other=1".to_owned()).is_none());
    }
}
