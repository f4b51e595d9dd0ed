//! TLS: the first start without a certificate, and a certificate that changes.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::rest::Served;
use crate::support::{Ca, Host, certificate_yaml, wait_for};

/// The certificate that the server shows, and what it answers.
fn shown(address: &str) -> Option<pki::Certificate> {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            address,
            "-servername",
            "localhost",
            "-showcerts",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let begin = text.find("-----BEGIN CERTIFICATE-----")?;
    let end = text.find("-----END CERTIFICATE-----")?;
    pki::Certificate::from_pem(format!("{}-----END CERTIFICATE-----\n", &text[begin..end]).as_bytes()).ok()
}

fn options(certificate: &Path, key: &Path) -> [String; 2] {
    [
        format!("OCCM_TLS_CERT={}", certificate.display()),
        format!("OCCM_TLS_KEY={}", key.display()),
    ]
}

#[test]
fn the_certificate_that_occm_manages_replaces_the_first_one_without_a_restart() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    let folder = host.path().join("secrets/default/serving-tls");
    let options = options(&folder.join("tls.crt"), &folder.join("tls.key"));
    let served = Served::start(host, &[&options[0], &options[1]]);
    let first = wait_for("a certificate", || shown(&served.address));
    assert!(first.is_self_issued());
    assert!(served.host.log_text().contains("no serving certificate yet"));
    served
        .host
        .write("serving.yaml", &certificate_yaml("serving", ""));
    served.host.wait_ready_file("Certificate", "serving");
    let second = wait_for("the certificate of the CA", || {
        shown(&served.address).filter(|one| one.subject().to_rfc4514().contains("serving.example"))
    });
    // And the next one after a renewal.
    let renewed = crate::support::occm(&[
        "renew",
        "serving",
        "--wait",
        "--store",
        served.host.path().to_str().unwrap(),
    ]);
    assert!(renewed.status.success(), "{renewed:?}");
    wait_for("the renewed certificate", || {
        shown(&served.address).filter(|one| one.serial() != second.serial())
    });
}

#[test]
fn a_cookie_of_an_encrypted_connection_is_for_those_alone() {
    let host = Host::new();
    let missing = host.path().join("missing");
    let options = options(&missing, &missing);
    let served = Served::start(host, &[&options[0], &options[1]]);
    let request = format!(
        "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n{}",
        served.token.len() + 12,
        format_args!("{{\"token\":\"{}\"}}", served.token)
    );
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &served.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), request.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    let line = answer
        .lines()
        .find(|line| line.starts_with("set-cookie"))
        .unwrap_or_else(|| panic!("{answer}"));
    assert!(line.contains("__Host-occm=") && line.contains("Secure"), "{line}");
}

#[test]
fn nothing_is_served_in_the_clear_where_others_can_reach_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = crate::support::occm(&[
        "serve",
        "--store",
        dir.path().to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
    ]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("--tls-cert") && told.contains("0.0.0.0:0"),
        "{told}"
    );
}
