//! The OpenAPI 3.1 document, made from the table of operations and the types that they read and answer.

use std::collections::BTreeMap;

use axum::http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::problem::Problem;
use crate::api::routes::{Content, Operation, Precondition, Reply};
use crate::api::table;
use crate::crd;

/// Failures of every operation.
const ALWAYS: &[&str] = &["400", "401", "403", "422", "429", "503"];

/// `GET /api/v1/openapi.json`
pub(crate) async fn show() -> Reply<Value> {
    Reply::ok(document())
}

/// The document as text, as it is committed.
pub(crate) fn text() -> String {
    // Serialisation of plain values to text does not fail.
    serde_json::to_string_pretty(&document()).unwrap_or_default() + "\n"
}

/// The document.
fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in table::routes() {
        let operation = &route.operation;
        let told = describe(operation, &mut schemas);
        paths
            .entry(operation.path)
            .or_default()
            .insert(operation.method.as_str().to_lowercase(), told);
    }
    let problem = schemas.subschema_for::<Problem>();
    let mut known = schemas.take_definitions(true);
    for crd in crd::crds() {
        let name = crd.pointer("/spec/names/kind").and_then(Value::as_str);
        if let Some(name) = name {
            known.insert(name.to_owned(), object(&crd));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "occm",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Issuers, Certificates and what happens to them. The objects are the same that kubectl and files \
                write, with the same checks. Writes of one object need `If-Match` with its ETag; `dryRun=true` checks and \
                answers as if. Failures are problem documents (RFC 9457). No answer holds a private key or a shared secret.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": table::BASE }],
        "security": [{ "bearer": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": known,
            "responses": { "Problem": {
                "description": "A failure",
                "content": { "application/problem+json": { "schema": problem } },
            } },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token: of the cluster, or an API token." },
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "occm",
                    "description": "A session of a browser (`__Host-occm` with https). Writes also need the header \
                        `X-CSRF-Token` with the value that `GET /session` tells.",
                },
            },
        },
    })
}

fn describe(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let mut told = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters(operation, schemas),
        "responses": responses(operation, schemas),
    });
    let Some(fields) = told.as_object_mut() else {
        return told;
    };
    if let Some(description) = operation.description {
        fields.insert("description".to_owned(), json!(description));
    }
    if operation.public {
        fields.insert(
            "security".to_owned(),
            json!([{}, { "bearer": [] }, { "cookie": [] }]),
        );
    }
    if let Some((content, required)) = &operation.body {
        let media = match operation.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        fields.insert(
            "requestBody".to_owned(),
            json!({ "required": required, "content": { media: { "schema": schema(content, schemas) } } }),
        );
    }
    told
}

fn parameters(operation: &Operation, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["namespace", "name"] {
        if operation.path.contains(&format!("{{{name}}}")) {
            let longest = if name == "name" { 253 } else { 63 };
            all.push(json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1, "maxLength": longest },
            }));
        }
    }
    if operation.precondition == Precondition::IfMatch {
        all.push(json!({
            "name": "If-Match", "in": "header", "required": true,
            "description": "ETag that the object was read with, or `*`.",
            "schema": { "type": "string", "pattern": "^(\\*|\"[!#-~]+\")$" },
        }));
    }
    if operation.precondition == Precondition::Either {
        all.push(json!({
            "name": "If-None-Match", "in": "header", "required": false,
            "description": "`*`: nothing may stand there yet. This or `If-Match` must be sent.",
            "schema": { "type": "string", "const": "*" },
        }));
        all.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "ETag of the last write, or `*`: it must be there.",
            "schema": { "type": "string", "pattern": "^(\\*|\"[!#-~]+\")$" },
        }));
    }
    if let Some(query) = operation.query {
        let schema = query(schemas).to_value();
        let required = schema.get("required").cloned().unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let mut property = property.clone();
            let description = property.get("description").cloned();
            if let Some(fields) = property.as_object_mut() {
                fields.remove("description");
                fields.remove("default");
                without_null(fields);
            }
            let needed = required.as_array().is_some_and(|all| all.contains(&json!(name)));
            all.push(json!({
                "name": name, "in": "query", "required": needed, "description": description, "schema": property,
            }));
        }
    }
    all
}

/// A parameter is there or not; it is never null.
fn without_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get("type") {
        let kept = types.iter().find(|one| **one != json!("null")).cloned();
        if let Some(kept) = kept {
            fields.insert("type".to_owned(), kept);
        }
    }
}

fn responses(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let (status, content) = &operation.answer;
    let mut answer = json!({ "description": "Done" });
    if let Some(fields) = answer.as_object_mut() {
        let media = match content {
            Content::Events => Some("text/event-stream"),
            Content::Empty => None,
            Content::Json(_) | Content::Object(_) | Content::Any => Some("application/json"),
        };
        if let Some(media) = media {
            let schema = schema(content, schemas);
            fields.insert("content".to_owned(), json!({ media: { "schema": schema } }));
        }
        if operation.etag {
            let etag =
                json!({ "ETag": { "description": "Version of the object", "schema": { "type": "string" } } });
            fields.insert("headers".to_owned(), etag);
        }
    }
    let mut all = Map::new();
    all.insert(status.to_string(), answer);
    let mut failures: Vec<&str> = ALWAYS.to_vec();
    if operation.path.contains('{') || operation.body.is_some() || *status == 303 {
        failures.push("404");
    }
    if operation.body.is_some() {
        failures.extend(["413", "415"]);
    }
    if operation.method != Method::GET {
        failures.extend(["409", "412"]);
    }
    if operation.precondition != Precondition::None {
        failures.push("428");
    }
    for code in failures {
        all.insert(
            code.to_owned(),
            json!({ "$ref": "#/components/responses/Problem" }),
        );
    }
    Value::Object(all)
}

fn schema(content: &Content, schemas: &mut SchemaGenerator) -> Value {
    match content {
        Content::Json(make) => make(schemas).to_value(),
        Content::Object(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
        Content::Any => json!({ "type": "object" }),
        Content::Events => json!({ "type": "string" }),
        Content::Empty => Value::Null,
    }
}

/// Schema of an Issuer or a Certificate: that of the CustomResourceDefinition.
fn object(crd: &Value) -> Value {
    let mut schema = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_default();
    plain(&mut schema);
    if let Some(metadata) = schema.pointer_mut("/properties/metadata") {
        *metadata = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "namespace": { "type": "string", "minLength": 1, "maxLength": 63 },
                "name": { "type": "string", "minLength": 1, "maxLength": 253 },
                "uid": { "type": "string" },
                "resourceVersion": { "type": "string" },
                "generation": { "type": "integer" },
                "creationTimestamp": { "type": "string", "format": "date-time" },
                "deletionTimestamp": { "type": "string", "format": "date-time" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "annotations": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        });
    }
    if let Some(required) = schema.pointer_mut("/required") {
        *required = json!(["metadata", "spec"]);
    }
    schema
}

/// What only the API server knows goes away.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.starts_with("x-kubernetes-"));
            fields.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}
