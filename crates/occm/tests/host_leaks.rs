//! No key, shared secret or password in anything that occm says: logs at trace level, Events, status, and what its
//! commands print, in every failing scenario. Searched for as they are, as hex and as base64 at each alignment.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64ct::{Base64, Encoding};
use pki::{KeyAlgorithm, PrivateKey};

use support::{Ca, Host, SECRET, certificate_yaml, issuer_yaml, occm, wait_for};

const WRONG_SECRET: &str = "planted-wrong-secret-93c7b1";
const PASSWORD: &str = "planted-pass-word-c40e8d22";

// -- What is searched for -----------------------------------------------------------------------------------------

/// A secret, and how pieces of it would look in a text.
struct Planted {
    name: String,
    needles: Vec<String>,
}

impl Planted {
    fn text(name: &str, text: &str) -> Self {
        let mut planted = Self::bytes(name, text.as_bytes());
        planted.needles.push(text.to_owned());
        // A piece of it is a leak too.
        planted.needles.push(text.chars().skip(8).collect());
        planted
    }

    fn bytes(name: &str, bytes: &[u8]) -> Self {
        let needles = bytes.chunks(12).filter(|piece| piece.len() >= 8).flat_map(forms);
        Self {
            name: name.to_owned(),
            needles: needles.collect(),
        }
    }

    fn key(name: &str, key: &PrivateKey) -> Self {
        Self::bytes(name, &scalar(&key.to_pkcs8_der().unwrap()))
    }
}

/// The secret number of a P-256 key: version 1, then an OCTET STRING of 32 bytes (RFC 5915).
fn scalar(pkcs8: &[u8]) -> Vec<u8> {
    let head = [2, 1, 1, 4, 32];
    let at = pkcs8.windows(5).position(|window| window == head).unwrap();
    pkcs8[at + 5..at + 37].to_vec()
}

fn forms(piece: &[u8]) -> Vec<String> {
    let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
    let colons: Vec<String> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = piece.iter().map(ToString::to_string).collect();
    let mut forms = vec![
        hex.to_uppercase(),
        colons.join(":").to_uppercase(),
        colons.join(":"),
        numbers.join(", "),
        numbers.join(","),
        hex,
    ];
    for before in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(0, before)
            .chain(piece.iter().copied())
            .collect();
        let text = Base64::encode_string(&padded);
        // Characters that hold bits of the neighbours are left out.
        let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        let inner = &text[first..last];
        forms.push(inner.replace('+', "-").replace('/', "_"));
        forms.push(inner.to_owned());
    }
    forms
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    let planted = Planted::text("secret", PASSWORD);
    let found = |text: &str| planted.needles.iter().any(|needle| text.contains(needle));
    for before in ["", "a", "ab"] {
        let text = Base64::encode_string(format!("{before}{PASSWORD}cd").as_bytes());
        assert!(found(&text), "{text}");
    }
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02X}")).collect();
    assert!(found(&format!("x{hex}x")) && found(&format!("{:?}", PASSWORD.as_bytes())));
    assert!(!found("planted nothing"));
}

// -- Where it is searched for -------------------------------------------------------------------------------------

/// Everything that occm has said about a directory, by source.
fn said(host: &Host) -> Vec<(String, String)> {
    let mut said = vec![("log".to_owned(), host.log_text())];
    let private = host.path().join(".occm");
    for part in ["events.jsonl", "events.jsonl.1", "status", "requests", "objects"] {
        gather(&private.join(part), &mut said);
    }
    let store = host.path().to_str().unwrap();
    let mut commands: Vec<Vec<&str>> = ["table", "json", "yaml"]
        .iter()
        .map(|form| vec!["--log-level", "trace", "status", "-o", form, "--store", store])
        .collect();
    commands.push(vec!["--log-level", "trace", "verify", store]);
    let mut files = Vec::new();
    gather(host.path(), &mut files);
    commands.extend(files.iter().map(|(path, _)| vec!["inspect", path.as_str()]));
    for command in commands {
        let output = occm(&command);
        let text = [output.stdout, output.stderr].concat();
        said.push((command.join(" "), String::from_utf8_lossy(&text).into_owned()));
    }
    said
}

/// Reads files below a path.
fn gather(path: &Path, into: &mut Vec<(String, String)>) {
    if path.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else {
            return;
        };
        entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."))
            .for_each(|entry| gather(&entry.path(), into));
    } else if let Ok(bytes) = std::fs::read(path) {
        into.push((
            path.display().to_string(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
}

/// Panics where a secret is found, and names source and secret.
fn search(scenario: &str, host: &Host, planted: &[Planted]) {
    let said = said(host);
    let log = said.iter().find(|(source, _)| source == "log");
    assert!(
        log.is_some_and(|(_, text)| text.contains("DEBUG")),
        "{scenario}: there is no log at a low level"
    );
    let mut leaks = Vec::new();
    for (source, text) in &said {
        let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        for secret in planted {
            let found = |needle: &&String| text.contains(needle.as_str()) || joined.contains(needle.as_str());
            if let Some(needle) = secret.needles.iter().find(found) {
                let line = text.lines().find(|line| line.contains(needle.as_str()));
                leaks.push(format!(
                    "{} in {source}: {}",
                    secret.name,
                    line.unwrap_or("(wrapped)")
                ));
            }
        }
    }
    assert!(leaks.is_empty(), "{scenario} leaks:\n{}", leaks.join("\n"));
}

fn texts() -> Vec<Planted> {
    vec![
        Planted::text("MAC secret", SECRET),
        Planted::text("wrong MAC secret", WRONG_SECRET),
        Planted::text("password", PASSWORD),
    ]
}

/// Keys that occm made: in outputs and in records.
fn made_keys(host: &Host) -> Vec<Planted> {
    let mut files = Vec::new();
    gather(&host.path().join("secrets"), &mut files);
    gather(&host.path().join(".occm/records"), &mut files);
    let mut keys = Vec::new();
    for (path, text) in files {
        if path.ends_with("tls.key")
            && let Ok(key) = PrivateKey::from_bytes(text.as_bytes())
        {
            keys.push(Planted::key(&path, &key));
        } else if let Ok(record) = serde_json::from_str::<serde_json::Value>(&text) {
            for part in ["current", "previous", "open"] {
                if let Some(key) = record[part]["key"].as_str() {
                    let key = PrivateKey::from_bytes(&Base64::decode_vec(key).unwrap()).unwrap();
                    keys.push(Planted::key(&format!("{path} {part}"), &key));
                }
            }
        }
    }
    keys
}

// -- Scenarios ----------------------------------------------------------------------------------------------------

/// Runs some at a time: most of their time they wait.
fn at_once<T: Sync>(scenarios: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(scenario)));
                    if let Err(panic) = outcome {
                        let text = panic.downcast_ref::<String>().cloned();
                        failures
                            .lock()
                            .unwrap()
                            .push(text.unwrap_or_else(|| "a scenario failed".to_owned()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn wait_for_trouble(scenario: &str, host: &Host) {
    wait_for(&format!("{scenario}: something to tell"), || {
        let told = host.log_text().contains("WARN")
            || host
                .status_file("Certificate", "web")
                .contains("- type: Ready\n  status: \"True\"");
        told.then_some(())
    });
}

#[test]
fn a_life_without_trouble_tells_no_secret() {
    let ca = Ca::start("{}");
    let host = Host::with_web(&ca, "", "");
    let store = host.path().to_str().unwrap().to_owned();
    let mut planted = texts();
    planted.extend(made_keys(&host));
    assert!(
        occm(&["renew", "web", "--wait", "30s", "--store", &store])
            .status
            .success()
    );
    host.wait_revision("web", 2);
    planted.extend(made_keys(&host));
    assert!(
        planted.len() >= 3 + 3 + 4,
        "keys of identity and certificate, old and new"
    );
    std::fs::write(host.output("web-tls", "tls.crt"), PASSWORD).unwrap();
    wait_for("the repair", || {
        host.log_text().contains("the same bytes are back").then_some(())
    });
    search("a life without trouble", &host, &planted);
}

#[test]
fn a_ca_that_fails_in_any_way_makes_nobody_tell_a_secret() {
    const FAULTS: &[&str] = &[
        r#""fault":"down""#,
        r#""fault":"drop-before""#,
        r#""fault":"drop-answer""#,
        r#""fault":"http-error","status":503"#,
        r#""fault":"garbage""#,
        r#""fault":"truncate""#,
        r#""fault":"oversized","bytes":3000000"#,
        r#""fault":"date-skew","seconds":7200"#,
        r#""fault":"wrong-nonce""#,
        r#""fault":"wrong-transaction-id""#,
        r#""fault":"no-protection""#,
        r#""fault":"wrong-protection""#,
        r#""fault":"foreign-signer""#,
        r#""fault":"huge-iterations""#,
        r#""fault":"other-key""#,
        r#""fault":"other-subject""#,
        r#""fault":"other-san""#,
        r#""fault":"past-validity""#,
        r#""fault":"future-validity""#,
        r#""fault":"foreign-issuer""#,
        r#""fault":"endless-waiting""#,
        r#""fault":"reject","failure":2,"text":"no""#,
        r#""fault":"error-unprotected","failure":2"#,
    ];
    let scenarios: Vec<(&str, &str)> = FAULTS
        .iter()
        .flat_map(|fault| [(*fault, "ir"), (*fault, "cr")])
        .collect();
    at_once(&scenarios, |(fault, request)| {
        let scenario = format!("{fault} on {request}");
        let ca = Ca::start("{}");
        ca.arm(&format!(r#"{{{fault},"request":"{request}"}}"#));
        let mut host = Host::with_issuer(&ca, "");
        host.write("web.yaml", &certificate_yaml("web", ""));
        host.start();
        wait_for(&format!("{scenario}: something to tell"), || {
            let told = host.log_text().contains("WARN")
                || ["Issuer.ca", "Certificate.web"].iter().any(|object| {
                    let (kind, name) = object.split_once('.').unwrap();
                    let status = host.status_file(kind, name);
                    status.contains("status: \"True\"") && kind == "Certificate" || status.contains("Pending")
                });
            told.then_some(())
        });
        let mut planted = texts();
        planted.extend(made_keys(&host));
        host.kill();
        search(&scenario, &host, &planted);
    });
}

/// The beginning of an issuer's file up to its Secret, and the rest with trust and Issuer.
fn issuer_with(ca: &Ca, secret_document: &str) -> String {
    let all = issuer_yaml(ca, SECRET, "");
    let (_, rest) = all.split_once("---\n").unwrap();
    format!("{secret_document}\n---\n{rest}")
}

#[test]
fn a_file_with_a_mistake_makes_nobody_tell_the_secret_in_it() {
    let ca = Ca::start("{}");
    let secret = |body: &str| {
        issuer_with(
            &ca,
            &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: mac}}\n{body}"),
        )
    };
    let good = issuer_yaml(&ca, SECRET, "");
    let mac = "mac: {referenceValue: demo, secretRef: {name: mac, key: secret}}";
    let instead = |text: &str| {
        assert!(good.contains(mac));
        good.replace(mac, text)
    };
    let scenarios = vec![
        ("a wrong secret", issuer_yaml(&ca, WRONG_SECRET, "")),
        (
            "an open quote",
            secret(&format!("stringData: {{secret: \"{PASSWORD}")),
        ),
        (
            "an open brace",
            secret(&format!("stringData: {{secret: {PASSWORD}")),
        ),
        ("a tab", secret(&format!("stringData:\n\tsecret: {PASSWORD}"))),
        (
            "a bad indent",
            secret(&format!("stringData:\n  secret: {PASSWORD}\n more: {PASSWORD}")),
        ),
        ("a text for a map", secret(&format!("stringData: {PASSWORD}"))),
        (
            "a list for a text",
            secret(&format!("stringData: {{secret: [{PASSWORD}]}}")),
        ),
        (
            "a map for a text",
            secret(&format!("stringData: {{secret: {{{PASSWORD}: x}}}}")),
        ),
        (
            "twice the same key",
            secret(&format!(
                "stringData:\n  secret: {PASSWORD}\n  secret: {PASSWORD}"
            )),
        ),
        (
            "not base64",
            secret(&format!("data: {{secret: \"{PASSWORD}!\"}}")),
        ),
        (
            "base64 in stringData",
            secret(&format!(
                "stringData: {{secret: \"{}\"}}",
                Base64::encode_string(PASSWORD.as_bytes())
            )),
        ),
        (
            "an unknown field",
            secret(&format!("stringDatum: {{secret: {PASSWORD}}}")),
        ),
        (
            "an alias to nothing",
            secret(&format!("stringData: {{secret: *{PASSWORD}}}")),
        ),
        ("a tag", secret(&format!("stringData: {{secret: !{PASSWORD} x}}"))),
        (
            "a secret where its reference belongs",
            instead(&format!("mac: {{referenceValue: demo, secretRef: {PASSWORD}}}")),
        ),
        (
            "a secret beside its reference",
            instead(&format!(
                "mac: {{referenceValue: demo, secret: {PASSWORD}, secretRef: {{name: mac, key: secret}}}}"
            )),
        ),
        (
            "a secret for the whole part",
            instead(&format!("mac: {PASSWORD}")),
        ),
        (
            "a secret in the reference",
            instead(&format!(
                "mac: {{referenceValue: demo, secretRef: {{name: mac, key: secret, value: {PASSWORD}}}}}"
            )),
        ),
        (
            "a secret as trust",
            good.replace("ca.pem: |\n", &format!("ca.pem: |\n    {PASSWORD}\n")),
        ),
        (
            "trust that is only a secret",
            good.replace("BEGIN CERTIFICATE", PASSWORD),
        ),
        (
            "a kind with a mistake",
            secret(&format!("stringData: {{secret: {PASSWORD}}}")).replace("kind: Secret", "kind: Secrett"),
        ),
    ];
    at_once(&scenarios, |(scenario, text)| {
        let mut host = Host::new();
        host.write("issuer.yaml", text);
        host.write("web.yaml", &certificate_yaml("web", ""));
        host.start();
        wait_for(&format!("{scenario}: a status"), || {
            host.status_file("Certificate", "web")
                .contains("- type: Ready")
                .then_some(())
        });
        wait_for_issuer(scenario, &host);
        host.kill();
        let mut planted = texts();
        planted.extend(made_keys(&host));
        search(scenario, &host, &planted);
    });
}

/// Until the CA was asked, or something else than the CMP identity is missing.
fn wait_for_issuer(scenario: &str, host: &Host) {
    wait_for(&format!("{scenario}: the end of it"), || {
        let web = host.status_file("Certificate", "web");
        let told = host.log_text().contains("WARN") || !web.contains("reason: IssuerNotReady");
        told.then_some(())
    });
}

#[test]
fn a_planted_key_is_told_by_nobody_whatever_is_wrong_with_it() {
    let ca = Ca::start("{}");
    let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
    let pem = key.to_pkcs8_pem().unwrap();
    let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    let root: String = ca
        .root_pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let issuer = issuer_yaml(&ca, SECRET, "").replace(
        "mac: {referenceValue: demo, secretRef: {name: mac, key: secret}}",
        "certificate: {secretRef: {name: pair}}",
    );
    let with =
        |data: String| format!("{issuer}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: pair}}\n{data}");
    let broken = indented.replacen("    M", "    !", 1);
    let scenarios = vec![
        (
            "another certificate",
            with(format!(
                "stringData:\n  tls.crt: |\n{root}  tls.key: |\n{indented}"
            )),
        ),
        (
            "no certificate",
            with(format!("stringData:\n  tls.key: |\n{indented}")),
        ),
        (
            "the key as the certificate",
            with(format!(
                "stringData:\n  tls.crt: |\n{indented}  tls.key: |\n{indented}"
            )),
        ),
        (
            "a broken key",
            with(format!("stringData:\n  tls.crt: |\n{root}  tls.key: |\n{broken}")),
        ),
        (
            "the key as base64",
            with(format!(
                "data:\n  tls.crt: {0}\n  tls.key: {0}\n",
                Base64::encode_string(pem.as_bytes())
            )),
        ),
        (
            "a bad indent",
            with(format!("stringData:\n  tls.key: |\n{indented} tls.crt: x\n")),
        ),
        (
            "the key as trust",
            issuer_yaml(&ca, SECRET, "").replace(&root, &indented),
        ),
    ];
    at_once(&scenarios, |(scenario, text)| {
        let mut host = Host::new();
        host.write("issuer.yaml", text);
        host.write("web.yaml", &certificate_yaml("web", ""));
        host.start();
        wait_for(&format!("{scenario}: a status"), || {
            host.status_file("Certificate", "web")
                .contains("- type: Ready")
                .then_some(())
        });
        wait_for_issuer(scenario, &host);
        host.kill();
        let mut planted = texts();
        planted.push(Planted::key("planted key", &key));
        search(scenario, &host, &planted);
    });
}

#[test]
fn secrets_in_files_and_spoilt_records_and_outputs_are_told_by_nobody() {
    let ca = Ca::start("{}");
    let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
    let pem = key.to_pkcs8_pem().unwrap();
    // The secret in a file of its own.
    let mut host = Host::new();
    let issuer = issuer_with(&ca, "").replacen("\n---\n", "", 1);
    host.write("issuer.yaml", &issuer);
    host.write("web.yaml", &certificate_yaml("web", ""));
    let folder = host.path().join("secrets/default/mac");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secret"), WRONG_SECRET).unwrap();
    host.start();
    wait_for_trouble("a wrong secret in a file", &host);
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    host.wait_ready("web");
    let mut planted = texts();
    planted.push(Planted::key("planted key", &key));
    planted.extend(made_keys(&host));
    // Somebody writes keys and secrets over outputs and records.
    for (file, text) in [
        ("tls.crt", pem.as_str()),
        ("tls.key", pem.as_str()),
        ("ca.crt", PASSWORD),
    ] {
        let before = host.read("web-tls", file).unwrap();
        std::fs::write(host.output("web-tls", file), text).unwrap();
        wait_for("the repair", || {
            host.read("web-tls", file).filter(|now| *now == before)
        });
    }
    let record = host.path().join(".occm/records/default/occm-record-web");
    let good = std::fs::read(&record).unwrap();
    for spoilt in [pem.as_bytes(), PASSWORD.as_bytes(), &good[..good.len() / 2]] {
        host.kill();
        std::fs::write(&record, spoilt).unwrap();
        std::fs::remove_file(host.path().join(".occm/status/default/Certificate.web.yaml")).unwrap();
        host.start();
        wait_for("a status", || {
            host.status_file("Certificate", "web")
                .contains("- type: Ready")
                .then_some(())
        });
    }
    host.kill();
    planted.extend(made_keys(&host));
    search("spoilt records and outputs", &host, &planted);
}
