//! The real binary judged by schemathesis, a foreign tool, from the committed OpenAPI document: no 5xx and no answer that the
//! document does not tell.

#![cfg(feature = "api")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "tests only")]

#[path = "../support/bad.rs"]
mod bad;
#[path = "../api/rest.rs"]
mod rest;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rest::Served;
use crate::support::{Ca, Host, certificate_yaml};

/// What is looked at. Left out: whether each good body is taken, since what fits a schema need not fit other objects.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance,ignored_auth";

/// The program that `cargo xtask test` brings; `None` = skipped, which was said.
fn schemathesis() -> Option<PathBuf> {
    match std::env::var_os("OCCM_SCHEMATHESIS") {
        Some(program) => Some(program.into()),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("OCCM_SCHEMATHESIS is not set"),
        None => {
            println!(
                "skipped: OCCM_SCHEMATHESIS does not name the program schemathesis; run `cargo xtask test`"
            );
            None
        }
    }
}

#[test]
fn every_answer_is_one_that_the_document_tells() {
    let Some(program) = schemathesis() else { return };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    host.write("web.yaml", &certificate_yaml("web", ""));
    let served = Served::start(
        host,
        &["OCCM_REQUESTS_PER_SECOND=100000", "OCCM_LOGINS_PER_MINUTE=100000"],
    );
    served.synced().host.wait_ready_file("Certificate", "web");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .arg("--config-file")
        .arg(here.join("tests/api_schema/schemathesis.toml"))
        .arg("run")
        .arg(here.join("../../docs/generated/openapi.json"))
        .args(["--url", &format!("http://{}/api/v1", served.address)])
        .args(["--header", &format!("Authorization: Bearer {}", served.token)])
        .args(["--checks", CHECKS])
        // A stream has no end.
        .args(["--exclude-path", "/changes"])
        .args([
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "12",
            "--no-shrink",
            "--warnings",
            "off",
        ])
        .args(["--request-timeout", "10"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It did look.
    let cases = text
        .split(" generated")
        .next()
        .and_then(|text| text.rsplit(' ').next()?.trim().parse::<u32>().ok());
    assert!(cases.is_some_and(|cases| cases > 2000), "{text}");
    assert_eq!(served.nobody().get("/health").is(200).json()["status"], "ok");
}
