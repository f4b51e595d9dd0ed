//! Parameters of queries, judged by what the OpenAPI document tells of them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::extract::Query;
use axum::http::Uri;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::api::problem::Fault;
use crate::model::field::shown;

/// What a parameter may be.
struct Shape {
    kind: Kind,
    /// Longest text, in characters.
    longest: Option<usize>,
}

enum Kind {
    Number { low: i64, high: i64 },
    Flag,
    Text,
}

/// The parameters of a query, by their names.
type Shapes = BTreeMap<String, Shape>;

impl Shape {
    fn of(property: &Value) -> Self {
        let is = |kind: &str| match property.get("type") {
            Some(Value::String(only)) => only == kind,
            Some(Value::Array(several)) => several.iter().any(|one| one == kind),
            _ => false,
        };
        let number = |name: &str| property.get(name).and_then(Value::as_i64);
        Self {
            kind: if is("integer") {
                Kind::Number {
                    low: number("minimum").unwrap_or(0),
                    high: number("maximum").unwrap_or(i64::MAX),
                }
            } else if is("boolean") {
                Kind::Flag
            } else {
                Kind::Text
            },
            longest: number("maxLength").and_then(|most| usize::try_from(most).ok()),
        }
    }

    /// What is wrong with a value, and what is allowed.
    fn fault(&self, value: &str) -> Option<(String, String)> {
        let length = value.chars().count();
        match (&self.kind, self.longest) {
            (Kind::Number { low, high }, _) => {
                let allowed = match *high {
                    i64::MAX => format!("a whole number, {low} or more"),
                    high => format!("a whole number, {low} to {high}"),
                };
                let number = value.parse::<i64>().ok();
                let good = number.is_some_and(|number| (*low..=*high).contains(&number));
                (!good).then(|| (format!("{} is not possible", shown(value)), allowed))
            }
            (Kind::Flag, _) => {
                let good = matches!(value, "true" | "false");
                (!good).then(|| {
                    (
                        format!("{} is not possible", shown(value)),
                        "true or false".to_owned(),
                    )
                })
            }
            (Kind::Text, Some(most)) if length > most => Some((
                format!("has {length} characters"),
                format!("at most {most} characters"),
            )),
            (Kind::Text, _) => None,
        }
    }
}

/// What is wrong with the parameters in this address.
pub(crate) fn broken<T: JsonSchema>(uri: &Uri) -> Option<Fault> {
    let shapes = shapes::<T>();
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let mut seen = Vec::new();
    for (name, value) in &pairs {
        let Some(shape) = shapes.get(name) else {
            let known: Vec<&str> = shapes.keys().map(String::as_str).collect();
            return Some(unknown(name, known.join(", ")));
        };
        if seen.contains(&name) {
            return Some(Fault::field(
                name.clone(),
                "is there twice",
                "each parameter once",
            ));
        }
        seen.push(name);
        if let Some((problem, allowed)) = shape.fault(value) {
            return Some(Fault::field(name.clone(), problem, allowed));
        }
    }
    None
}

/// A parameter that is misspelt or stands at the wrong place would do nothing.
pub(crate) fn unknown(name: &str, allowed: impl Into<String>) -> Fault {
    let name: String = name.chars().take(64).collect();
    Fault::field(name, "is no parameter here", allowed.into())
}

fn shapes<T: JsonSchema>() -> Arc<Shapes> {
    static KNOWN: LazyLock<Mutex<BTreeMap<String, Arc<Shapes>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = known.entry(T::schema_id().into_owned());
    Arc::clone(entry.or_insert_with(|| {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let properties = schema.get("properties").and_then(Value::as_object);
        let shapes = properties.into_iter().flatten();
        Arc::new(
            shapes
                .map(|(name, property)| (name.clone(), Shape::of(property)))
                .collect(),
        )
    }))
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
mod tests {
    use super::*;
    use crate::api::activity::ActivityQuery;
    use crate::api::changes::ChangesQuery;

    #[test]
    fn a_parameter_is_as_long_as_the_document_says() {
        let broken = |text: String| broken::<ChangesQuery>(&format!("/x?namespace={text}").parse().unwrap());
        assert!(broken("a".repeat(63)).is_none());
        assert!(broken("a".repeat(64)).unwrap().detail.contains("at most 63"));
        assert!(broken("%C3%A4".repeat(63)).is_none());
    }

    #[test]
    fn a_fault_names_its_parameter_and_what_is_allowed() {
        let told = |query: &str| broken::<ActivityQuery>(&format!("/x?{query}").parse().unwrap());
        assert!(told("limit=500&namespace=default").is_none() && told("").is_none());
        for (query, field, allowed) in [
            ("limit=0", "limit", "a whole number, 1 to 500"),
            ("limit=-1", "limit", "a whole number, 1 to 500"),
            ("limit=501", "limit", "a whole number, 1 to 500"),
            ("limit=99999999999999999999", "limit", "a whole number, 1 to 500"),
            ("limit=ten", "limit", "a whole number, 1 to 500"),
            ("limit=1&limit=1", "limit", "each parameter once"),
            ("Limit=1", "Limit", "limit, namespace, object"),
        ] {
            let fault = told(query).unwrap_or_else(|| panic!("{query} is taken"));
            let error = &fault.errors[0];
            assert_eq!(
                (error.field.as_str(), error.allowed.as_str()),
                (field, allowed),
                "{query}"
            );
        }
        let flag = broken::<ChangesQuery>(&"/x?once=yes".parse().unwrap()).unwrap();
        assert_eq!(flag.errors[0].allowed, "true or false");
    }
}
