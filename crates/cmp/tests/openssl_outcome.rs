//! What the command says in each kind of failure, recorded from OpenSSL 3.0.19 and 3.5.9 against the mock server of
//! 3.5.9 and against small servers, and what we make of it.
//!
//! The recordings are in `openssl/outputs-*.txt`, each with the arguments of both sides. A command that plays them
//! stands in for the real one, so the whole way through the engine is tested.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]

use std::collections::BTreeMap;

use cmp::Class::{Misconfigured, Rejected, Retry, Untrusted};
use cmp::Reached::{Maybe, No};
use cmp::{Class, Reached, Stage};
use fake::{Fake, Setting, quoted};

#[path = "openssl/fake.rs"]
mod fake;

const OUTPUTS: [(&str, &str); 2] = [
    ("3.0.19", include_str!("openssl/outputs-3.0.19.txt")),
    ("3.5.9", include_str!("openssl/outputs-3.5.9.txt")),
];

/// Name of the recording, class, reached, step, and a part of the message.
const TABLE: [(&str, Class, Reached, Stage, &str); 33] = [
    (
        "refused connection",
        Retry,
        No,
        Stage::Requesting,
        "connection: Connection refused",
    ),
    ("unknown host", Retry, No, Stage::Requesting, "name resolution: "),
    (
        "silent server",
        Retry,
        Maybe,
        Stage::Requesting,
        "time-out: transfer timeout",
    ),
    (
        "server closes",
        Retry,
        Maybe,
        Stage::Requesting,
        "interrupted: failed reading data",
    ),
    ("html page", Retry, Maybe, Stage::Requesting, "not a CMP answer: "),
    (
        "busy with html",
        Retry,
        Maybe,
        Stage::Requesting,
        "HTTP status 503",
    ),
    (
        "truncated answer",
        Retry,
        Maybe,
        Stage::Requesting,
        "interrupted: inconsistent content length",
    ),
    (
        "answer is not der",
        Retry,
        Maybe,
        Stage::Requesting,
        "not a CMP answer: missing asn1 encoding",
    ),
    (
        "redirect",
        Misconfigured,
        Maybe,
        Stage::Requesting,
        "redirection not enabled",
    ),
    (
        "answer too large",
        Retry,
        Maybe,
        Stage::Requesting,
        "answer too large: max resp len exceeded",
    ),
    (
        "wrong path",
        Misconfigured,
        Maybe,
        Stage::Requesting,
        "HTTP status 404",
    ),
    (
        "tls wrong anchor",
        Untrusted,
        No,
        Stage::Requesting,
        "TLS trust: certificate verify failed",
    ),
    (
        "tls wrong name",
        Untrusted,
        No,
        Stage::Requesting,
        "TLS trust: certificate verify failed",
    ),
    (
        "tls client certificate required",
        Misconfigured,
        No,
        Stage::Requesting,
        "TLS settings: tlsv13 alert certificate required",
    ),
    (
        "tls to a plain server",
        Misconfigured,
        No,
        Stage::Requesting,
        "TLS settings: wrong version number",
    ),
    (
        "proxy refuses",
        Retry,
        Maybe,
        Stage::Requesting,
        "interrupted: error sending",
    ),
    (
        "wrong secret",
        Retry,
        Maybe,
        Stage::Requesting,
        "wrong shared secret?",
    ),
    (
        "unprotected error",
        Retry,
        Maybe,
        Stage::Requesting,
        "not protected",
    ),
    (
        "rejected",
        Rejected,
        Maybe,
        Stage::Requesting,
        "rejection, badRequest: \"bad %s thing\"",
    ),
    (
        "rejected template",
        Misconfigured,
        Maybe,
        Stage::Requesting,
        "rejection, badAlg badCertTemplate: \"key too short\"",
    ),
    (
        "rejected by error message",
        Rejected,
        Maybe,
        Stage::Requesting,
        "rejection, ",
    ),
    (
        "revocation rejected",
        Rejected,
        Maybe,
        Stage::Requesting,
        "rejection, certRevoked: \"gone\"",
    ),
    (
        "still waiting",
        Retry,
        Maybe,
        Stage::Polling,
        "did not decide within the total time",
    ),
    (
        "key mismatch",
        Untrusted,
        Maybe,
        Stage::Verifying,
        "public key is not ours",
    ),
    (
        "certificate without path",
        Untrusted,
        Maybe,
        Stage::Verifying,
        "self-signed certificate in certificate chain",
    ),
    (
        "signer without path",
        Untrusted,
        Maybe,
        Stage::Requesting,
        "self-signed certificate in certificate chain",
    ),
    (
        "unexpected sender",
        Untrusted,
        Maybe,
        Stage::Requesting,
        "\"/O=Spike/CN=CMP Server\", expected \"/CN=Other\"",
    ),
    (
        "mac unknown",
        Misconfigured,
        No,
        Stage::Preparing,
        "MAC algorithm name not recognized",
    ),
    (
        "option unknown",
        Misconfigured,
        No,
        Stage::Preparing,
        "openssl cmp did not take the settings",
    ),
    (
        "file missing",
        Misconfigured,
        No,
        Stage::Preparing,
        "cannot set up CMP context",
    ),
    // From here on 3.0 only.
    (
        "confirmation delayed",
        Misconfigured,
        Maybe,
        Stage::Confirming,
        "from 3.3 on",
    ),
    (
        "profile unknown",
        Misconfigured,
        No,
        Stage::Preparing,
        "openssl cmp did not take the settings",
    ),
    (
        "ed25519 signer",
        Misconfigured,
        No,
        Stage::Preparing,
        "unsupported key type",
    ),
];

/// The recordings of one version by name, without their notes.
fn recordings(text: &str) -> BTreeMap<&str, String> {
    let parts = text.split("##### ").skip(1);
    let named = parts.map(|part| {
        let (name, rest) = part.split_once('\n').unwrap();
        let lines = rest.lines().skip_while(|line| line.starts_with("# "));
        (name, lines.map(|line| format!("{line}\n")).collect())
    });
    named.collect()
}

#[tokio::test]
async fn each_known_failure_has_its_class_its_step_and_its_words_in_both_versions() {
    let mut wrong = Vec::new();
    for (version, text) in OUTPUTS {
        let fake = Fake::new(version, "/bin/cat \"$HOME/output\"; exit 1");
        let engine = fake.engine().await;
        for (name, output) in recordings(text) {
            let Some((_, class, reached, step, part)) = TABLE.into_iter().find(|row| row.0 == name) else {
                panic!("no row for {name}");
            };
            std::fs::write(fake.home.path().join("output"), output).unwrap();
            let error = Setting::new().run(&engine).await.unwrap_err();
            let found = (error.class, error.reached, error.step);
            if found != (class, reached, step) || !error.to_string().contains(part) {
                wrong.push(format!("{version} {name}: {found:?} {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_versions_have_the_recordings_of_the_table() {
    let [old, new] = OUTPUTS.map(|(_, text)| recordings(text));
    for (index, (name, ..)) in TABLE.iter().enumerate() {
        assert!(old.contains_key(name), "{name}");
        assert_eq!(new.contains_key(name), index < 30, "{name}");
    }
}

#[tokio::test]
async fn an_error_holds_no_dump_of_certificates_and_stays_short() {
    for (version, text) in OUTPUTS {
        let fake = Fake::new(version, "/bin/cat \"$HOME/output\"; exit 1");
        let engine = fake.engine().await;
        for (name, output) in recordings(text) {
            std::fs::write(fake.home.path().join("output"), output).unwrap();
            let text = Setting::new().run(&engine).await.unwrap_err().to_string();
            assert!(
                text.len() < 400 && !text.contains('\n'),
                "{version} {name}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_a_crash_is_an_error_to_retry() {
    let fake = Fake::new("3.5.9", "/usr/bin/head -c 5000000 /dev/zero; kill -11 $$");
    let error = Setting::new().run(&fake.engine().await).await.unwrap_err();
    assert_eq!((error.class, error.reached), (Retry, Maybe));
    assert!(error.to_string().contains("signal 11"), "{error}");
}

#[tokio::test]
async fn success_without_a_certificate_is_an_error() {
    let fake = Fake::new("3.5.9", "exit 0");
    let error = Setting::new().run(&fake.engine().await).await.unwrap_err();
    assert_eq!((error.reached, error.step), (Maybe, Stage::Verifying));
    let rubbish = Fake::new(
        "3.5.9",
        &format!("echo rubbish > certificate.pem; : {}", quoted(&fake.command)),
    );
    let error = Setting::new().run(&rubbish.engine().await).await.unwrap_err();
    assert_eq!((error.reached, error.step), (Maybe, Stage::Verifying));
}
