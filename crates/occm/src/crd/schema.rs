//! From JSON Schema, as schemars makes it, to a structural schema of the API server.
//!
//! No references, no keywords besides `type`, no nulls, enums as plain lists with their docs in the description, and
//! an upper bound for everything, without which the server cannot tell what a CEL rule costs.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Bound of a text of a status that has none of its own: more than any that occm writes.
const STATUS_TEXT: u64 = 4096;
/// Bound of a list or map of a status that has none of its own.
const STATUS_ITEMS: u64 = 256;
/// Fields that hold a time.
const TIMES: &[&str] = &[
    "issuedAt",
    "lastContact",
    "lastTransitionTime",
    "nextAttempt",
    "notAfter",
    "notBefore",
    "renewalTime",
    "time",
];

/// Structural schema of a part that people write. Bounds come from the type alone.
pub(super) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    schema
}

/// Structural schema of a part that occm writes; what has no bound gets a wide one. It has one writer and is owned as a
/// whole: nothing but length comes of an owner for each of its fields.
pub(super) fn structural_status<T: JsonSchema>() -> Value {
    let mut schema = structural::<T>();
    bound(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    schema
}

fn simplify(schema: &mut Value) {
    flatten_alternatives(schema);
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for keyword in ["$schema", "$defs", "title"] {
        fields.remove(keyword);
    }
    without_null(fields);
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    if fields
        .get("default")
        .is_some_and(|default| default.is_null() || default.is_array() || default.is_object())
    {
        fields.remove("default");
    }
    if let Some(description) = fields.get_mut("description") {
        tidy(description);
    }
    match fields.get("type").and_then(Value::as_str) {
        Some("integer") => {
            fields.insert("format".to_owned(), json!("int64"));
        }
        _ => {
            fields.remove("format");
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties.iter_mut() {
            simplify(property);
            if TIMES.contains(&name.as_str()) && property.get("type") == Some(&json!("string")) {
                set(property, "format", json!("date-time"));
            }
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(keyword) {
            simplify(inner);
        }
    }
}

/// `T | null` becomes `T`; a list of constants becomes an enum.
fn flatten_alternatives(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let Some(Value::Array(alternatives)) = fields.remove(keyword) else {
            continue;
        };
        let mut alternatives: Vec<Value> = alternatives
            .into_iter()
            .filter(|one| one.get("type") != Some(&json!("null")))
            .collect();
        if alternatives.len() == 1 {
            if let Some(mut only) = alternatives.pop() {
                flatten_alternatives(&mut only);
                merge(fields, only);
            }
        } else if alternatives.iter().all(|one| one.get("const").is_some()) {
            enumerate(fields, &alternatives);
        }
    }
}

/// Adds what is not there; the outer description is about the field and comes first.
fn merge(fields: &mut Map<String, Value>, inner: Value) {
    let Value::Object(inner) = inner else { return };
    for (name, value) in inner {
        match (name.as_str(), fields.get_mut(&name)) {
            ("description", Some(Value::String(outer))) => {
                if let Some(list) = value.as_str().and_then(|text| text.split_once("Values: ")) {
                    outer.push_str(&format!(" Values: {}", list.1));
                }
            }
            (_, Some(_)) => {}
            (_, None) => {
                fields.insert(name, value);
            }
        }
    }
}

fn enumerate(fields: &mut Map<String, Value>, alternatives: &[Value]) {
    let values: Vec<Value> = alternatives
        .iter()
        .filter_map(|one| one.get("const").cloned())
        .collect();
    let docs: Vec<String> = alternatives
        .iter()
        .filter_map(|one| {
            let (value, doc) = (one.get("const")?.as_str()?, one.get("description")?.as_str()?);
            Some(format!("`{value}`: {}", doc.trim_end_matches('.')))
        })
        .collect();
    let own = fields
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = format!("{own} Values: {}.", docs.join("; "));
    fields.insert("type".to_owned(), json!("string"));
    fields.insert("enum".to_owned(), Value::Array(values));
    fields.insert("description".to_owned(), json!(description.trim()));
}

/// An optional field may be left out; null means the same and is dropped by the server.
fn without_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get("type") {
        let kept = types.iter().find(|one| **one != json!("null")).cloned();
        if let Some(kept) = kept {
            fields.insert("type".to_owned(), kept);
        }
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// Line breaks of the source are no line breaks of the text.
fn tidy(description: &mut Value) {
    if let Some(text) = description.as_str() {
        let words: Vec<&str> = text.split_whitespace().collect();
        *description = json!(words.join(" "));
    }
}

fn bound(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    match fields.get("type").and_then(Value::as_str) {
        Some("string") if !fields.contains_key("enum") && !fields.contains_key("format") => {
            fields.entry("maxLength").or_insert(json!(STATUS_TEXT));
        }
        Some("array") => {
            fields.entry("maxItems").or_insert(json!(STATUS_ITEMS));
        }
        Some("object") if fields.contains_key("additionalProperties") => {
            fields.entry("maxProperties").or_insert(json!(STATUS_ITEMS));
        }
        _ => {}
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(bound);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(keyword) {
            bound(inner);
        }
    }
}

/// Sets a keyword of a schema.
pub(super) fn set(schema: &mut Value, keyword: &str, value: Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(keyword.to_owned(), value);
    }
}
