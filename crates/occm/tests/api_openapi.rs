//! The OpenAPI document that is committed is the one that the program prints.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests only"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn printed() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_occm"))
        .arg("openapi")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_committed_document_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == printed(),
        "{} is old; run: occm openapi > docs/generated/openapi.json",
        path.display()
    );
}

#[test]
fn every_operation_tells_its_failures_and_who_may_use_it() {
    let document: Value = serde_json::from_str(&printed()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let answers = operation["responses"].as_object().unwrap();
            for code in ["400", "401", "403", "422", "429", "503"] {
                assert!(answers.contains_key(code), "{method} {path}: {code}");
            }
            let one = path.contains("{name}") && matches!(method.as_str(), "put" | "patch" | "delete");
            if one {
                assert!(answers.contains_key("428"), "{method} {path}");
                let parameters = operation["parameters"].to_string();
                assert!(
                    parameters.contains("If-Match") && parameters.contains("dryRun"),
                    "{method} {path}"
                );
            }
        }
    }
    assert!(ids.len() > 30, "{ids:?}");
}
