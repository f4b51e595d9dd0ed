//! The port for those who look on, at the real binary on a directory.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{BIN, Ca, Host, certificate_yaml, http, issuer_yaml, occm, wait_for};

/// Starts the manager with the port, and says where it listens.
fn start(host: &mut Host) -> String {
    let mut command = Command::new(BIN);
    command
        .env("OCCM_LISTEN_HEALTH", "127.0.0.1:0")
        .env("OCCM_LOG_FORMAT", "json");
    host.start_with(&mut command);
    wait_for("the address of the port", || {
        let log = host.log_text();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut told = lines.filter(|line| line["message"] == "health and metrics are served");
        Some(told.next()?["address"].as_str()?.to_owned())
    })
}

/// Value of a sample, given its name and labels as they are printed.
fn sample(address: &str, series: &str) -> Option<f64> {
    let page = http(address, "GET", "/metrics", "");
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn with_certificate(ca: &Ca, name: &str) -> Host {
    let host = Host::with_issuer(ca, "");
    host.write("web.yaml", &certificate_yaml(name, "  duration: 90d\n"));
    host
}

const WEB: &str = "{namespace=\"default\",name=\"web\"}";
const ISSUER: &str = "{namespace=\"default\",name=\"ca\"}";

#[test]
fn metrics_tell_what_is_so_and_vanish_with_their_object() {
    let ca = Ca::start("{}");
    let mut host = with_certificate(&ca, "web");
    let address = start(&mut host);
    let status = host.wait_ready("web");
    let of_web = "occm_certificate_ready{namespace=\"default\",name=\"web\",issuer_namespace=\"default\",issuer=\"ca\"}";
    wait_for("the metric says ready", || {
        sample(&address, of_web).filter(|ready| *ready == 1.0)
    });
    let expiry: jiff::Timestamp = status["notAfter"].as_str().unwrap().parse().unwrap();
    let told = sample(
        &address,
        &format!("occm_certificate_expiry_timestamp_seconds{WEB}"),
    );
    assert_eq!(
        told.map(|seconds| seconds.to_string()),
        Some(expiry.as_second().to_string())
    );
    // The identity and the certificate.
    assert_eq!(
        sample(&address, &format!("occm_issuer_issuances_total{ISSUER}")),
        Some(2.0)
    );
    let count = format!("occm_issuer_exchange_duration_seconds_count{ISSUER}");
    assert_eq!(sample(&address, &count), Some(2.0));

    std::fs::write(host.output("web-tls", "tls.crt"), "spoiled").unwrap();
    let repairs = format!("occm_certificate_repairs_total{WEB}");
    wait_for("the repair is counted", || {
        sample(&address, &repairs).filter(|count| *count == 1.0)
    });

    std::fs::remove_file(host.path().join("web.yaml")).unwrap();
    wait_for("the series are gone", || {
        let page = http(&address, "GET", "/metrics", "");
        (!page.contains("name=\"web\"")).then_some(())
    });
    std::fs::remove_file(host.path().join("issuer.yaml")).unwrap();
    wait_for("no object is named", || {
        let page = http(&address, "GET", "/metrics", "");
        (!page.contains("namespace=")).then_some(())
    });
    host.stop();
}

#[test]
fn failures_are_counted_by_reason_and_shown_while_they_last() {
    let ca = Ca::start("{}");
    let mut host = Host::new();
    host.write("issuer.yaml", &issuer_yaml(&ca, "not-the-secret", ""));
    host.write("web.yaml", &certificate_yaml("web", ""));
    let address = start(&mut host);
    wait_for("the failure is counted", || {
        let page = http(&address, "GET", "/metrics", "");
        let failed = |line: &&str| {
            line.starts_with("occm_issuer_failures_total{namespace=\"default\",name=\"ca\",reason=\"")
        };
        page.lines().find(failed).map(|_| ())
    });
    assert_eq!(sample(&address, &format!("occm_issuer_ready{ISSUER}")), Some(0.0));
    host.stop();
}

#[test]
fn probes_say_whether_the_manager_lives_and_is_ready() {
    let ca = Ca::start("{}");
    let mut host = with_certificate(&ca, "web");
    let address = start(&mut host);
    assert_eq!(http(&address, "GET", "/livez", ""), "ok\n");
    host.wait_ready("web");
    assert_eq!(http(&address, "GET", "/readyz", ""), "ok: manages\n");
    let asked = occm(&["probe", &format!("http://{address}/readyz")]);
    assert!(asked.status.success());
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "ok: manages\n");
    host.stop();
    let asked = occm(&["probe", &format!("http://{address}/readyz")]);
    assert!(!asked.status.success(), "nobody is there");
    for line in host.log_text().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn the_port_is_off_unless_it_is_asked_for() {
    let ca = Ca::start("{}");
    let mut host = with_certificate(&ca, "web");
    host.start();
    host.wait_ready("web");
    assert!(!host.log_text().contains("health and metrics are served"));
    let pid = host.pid().unwrap();
    let listening = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A")
            && fields
                .get(9)
                .is_some_and(|inode| own.iter().any(|own| own == inode))
    };
    assert!(!listening.lines().any(listens), "{listening}");
    host.stop();
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let Some(promtool) = std::env::var_os("OCCM_PROMTOOL") else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "OCCM_PROMTOOL does not name promtool"
        );
        println!("skipped: OCCM_PROMTOOL does not name promtool; run `cargo xtask test`");
        return;
    };
    let ca = Ca::start("{}");
    let mut host = with_certificate(&ca, "web");
    host.write("wrong.yaml", "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {name: wrong}\nspec: {issuerRef: {name: ca}}\n");
    let address = start(&mut host);
    host.wait_ready("web");
    let page = http(&address, "GET", "/metrics", "");
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let told = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && said.trim().is_empty(), "{said}\n{page}");
    host.stop();
}
