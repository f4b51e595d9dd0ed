//! TLS of the chart: the first start without a Secret, and then with one that occm itself manages.

use std::path::Path;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::Value;

use crate::bed::Bed;
use crate::support::{Ca, wait_for};
use crate::wishes::{certificate_with, issuer, ready};

/// The certificate that the server shows.
fn shown(address: &str) -> Option<pki::Certificate> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-showcerts"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let begin = text.find("-----BEGIN CERTIFICATE-----")?;
    let end = text.find("-----END CERTIFICATE-----")?;
    pki::Certificate::from_pem(format!("{}-----END CERTIFICATE-----\n", &text[begin..end]).as_bytes()).ok()
}

/// What a kubelet does with an optional Secret volume.
fn mounted(bed: &Bed, secret: &str, folder: &Path) {
    let text = bed
        .kubectl(&[
            "get",
            "secret",
            secret,
            "--namespace",
            &bed.home,
            "--ignore-not-found",
            "--output=json",
        ])
        .unwrap();
    let Ok(secret) = serde_json::from_str::<Value>(&text) else {
        return;
    };
    for (name, value) in secret["data"].as_object().unwrap() {
        std::fs::write(
            folder.join(name),
            Base64::decode_vec(value.as_str().unwrap()).unwrap(),
        )
        .unwrap();
    }
}

#[test]
fn the_first_start_is_served_and_then_by_a_certificate_that_occm_manages() {
    let Some(bed) = Bed::new(
        "tls-home",
        &[],
        &["--set=api.externalUrl=https://certs.lab.example"],
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    mounted(&bed, "occm-api-tls", folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let replica = bed.replica(
        "uid-1",
        &[
            ("OCCM_TLS_CERT", &file("tls.crt")),
            ("OCCM_TLS_KEY", &file("tls.key")),
        ],
    );
    let first = wait_for("a certificate", || shown(&replica.address));
    assert!(first.is_self_issued());
    let names: Vec<String> = first.sans().iter().map(ToString::to_string).collect();
    for name in ["occm-api.tls-home.svc", "certs.lab.example"] {
        assert!(names.iter().any(|one| one.contains(name)), "{names:?}");
    }
    assert!(replica.log_text().contains("no serving certificate yet"));

    let ca = Ca::start("{}");
    bed.cluster.apply(&issuer(&ca, "tls-home", &[]));
    let wish = certificate_with("tls-home", "serving", "tls-home", "").replace("serving-tls", "occm-api-tls");
    bed.cluster.apply(&wish);
    ready(bed.cluster, "tls-home", "serving");
    mounted(&bed, "occm-api-tls", folder.path());
    wait_for("the certificate of the CA", || {
        let subject = shown(&replica.address)?.subject().to_rfc4514();
        subject.contains("serving.example").then_some(())
    });
    replica.process.stop();
}
