//! The generated definitions: as committed, structural, bounded, and small enough for `kubectl apply`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::path::PathBuf;

use serde_json::Value;

/// Largest annotation that client-side apply can keep the object in.
const APPLY_LIMIT: usize = 250 * 1024;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/crds")
}

fn versions(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, visit);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&format!("{path}.{inner}"), &schema[inner], visit);
        }
    }
}

#[test]
fn the_committed_files_are_up_to_date() {
    for crd in occm::crd::crds() {
        let file = folder().join(format!("{}.yaml", crd["metadata"]["name"].as_str().unwrap()));
        let text = format!(
            "# Generated from the Rust types; UPDATE=1 cargo test -p occm --test crds\n{}",
            occm::crd::document(&crd)
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{} is stale: UPDATE=1 cargo test -p occm --test crds",
            file.display()
        );
    }
}

#[test]
fn the_charts_file_is_what_occm_crds_prints() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart/files/crds.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, occm::crd::yaml()).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == occm::crd::yaml(),
        "{} is stale: UPDATE=1 cargo test -p occm --test crds",
        file.display()
    );
}

#[test]
fn every_field_has_a_type_a_description_and_a_bound() {
    let mut wrong = Vec::new();
    for crd in occm::crd::crds() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        for part in ["spec", "status"] {
            let schema = &versions(&crd)["properties"][part];
            walk(&format!("{kind}.{part}"), schema, &mut |path, schema| {
                let mut need = |keyword: &str| {
                    if schema.get(keyword).is_none() {
                        wrong.push(format!("{path} lacks {keyword}"));
                    }
                };
                need("type");
                if !path.ends_with(".items") && !path.ends_with(".additionalProperties") {
                    need("description");
                }
                match schema["type"].as_str() {
                    Some("string") if schema.get("enum").is_none() && schema["format"] != "date-time" => {
                        need("maxLength")
                    }
                    Some("array") => need("maxItems"),
                    Some("object") if schema.get("additionalProperties").is_some() => need("maxProperties"),
                    _ => {}
                }
            });
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_schema_is_structural() {
    const KNOWN: &[&str] = &[
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    ];
    for crd in occm::crd::crds() {
        walk("", versions(&crd), &mut |path, schema| {
            for keyword in schema.as_object().unwrap().keys() {
                assert!(KNOWN.contains(&keyword.as_str()), "{path} has {keyword}");
            }
            assert!(schema["type"].is_string(), "{path} has type {}", schema["type"]);
        });
    }
}

#[test]
fn the_definitions_fit_into_the_annotation_of_kubectl_apply() {
    for crd in occm::crd::crds() {
        let bytes = crd.to_string().len();
        assert!(bytes < APPLY_LIMIT, "{bytes} bytes");
    }
}

#[test]
fn the_printed_yaml_reads_back_as_the_definitions() {
    let text = occm::crd::yaml();
    let read: Vec<Value> = text
        .split("---\n")
        .filter(|document| !document.is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect();
    assert_eq!(read, occm::crd::crds());
}
