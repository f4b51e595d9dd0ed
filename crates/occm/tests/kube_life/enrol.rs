//! Certificates that are got and renewed, and inputs that change.

use std::collections::BTreeMap;

use serde_json::json;

use crate::life::{Bed, fault};
use crate::reader::Reader;
use crate::support::{Ca, SECRET, certificate_yaml, issuer_yaml, reason};

/// How many requests of each kind the CA has answered with a certificate.
fn kinds(bed: &Bed) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in bed.ca.ledger() {
        *kinds
            .entry(entry["request"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_secret_gives_an_identity_and_its_signature_gives_a_certificate() {
    let Some(mut bed) = Bed::new("enrols").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    let status = bed.ready("web").await;
    let secret = bed.secret("web-tls").await;
    assert_eq!(fault(&secret), None);
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let ledger = bed.ca.ledger();
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    let (identity, web) = (&ledger[0], &ledger[1]);
    assert!(
        identity["subject"].as_str().unwrap().contains("CN=occm.test"),
        "{identity}"
    );
    assert!(
        web["sender"].as_str().unwrap().contains("CN=occm.test"),
        "signed by the identity: {web}"
    );
    assert_eq!(web["serial"], status["serialNumber"]);
    assert_eq!(web["state"]["is"], "confirmed", "{web}");
    bed.event("web", "Issued", "revision 1").await;
    bed.event("ca", "Issued", "CMP identity").await;
    let waited = bed.cluster.kubectl(&[
        "-n",
        "enrols",
        "wait",
        "--for=condition=Ready",
        "--timeout=10s",
        "certificates.occm.dev/web",
        "issuers.occm.dev/ca",
    ]);
    assert!(waited.is_ok(), "{waited:?}");
    bed.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_comes_when_it_is_due_and_once_for_each_request() {
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with("renews", &[], ca, "").await else {
        return;
    };
    bed.apply(&certificate_yaml("due", "  duration: 60s\n  renewBefore: 57s\n"))
        .await;
    bed.apply(&certificate_yaml("asked", "")).await;
    bed.start();
    bed.ready("asked").await;
    let reader = Reader::start(bed.secrets(), "due-tls");
    bed.annotate("asked", "occm.dev/renew", "first").await;
    bed.revision("asked", 2).await;
    bed.annotate("asked", "occm.dev/recreate", "second").await;
    bed.revision("asked", 3).await;
    let wanted = |found: &serde_json::Value| found["status"]["revision"].as_u64() >= Some(2);
    bed.wait("is renewed by itself", "Certificate", "due", wanted)
        .await;
    bed.kill();
    bed.start();
    // A marker that is served after the start: by then the served requests were looked at again.
    bed.annotate("asked", "occm.dev/renew", "third").await;
    bed.revision("asked", 4).await;
    assert_eq!(bed.issued("asked"), 4);
    let kinds = kinds(&bed);
    assert!(kinds["kur"] >= 3, "{kinds:?}");
    let history = bed.revision("asked", 4).await["history"].clone();
    let reasons: Vec<&str> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        ["RenewRequested", "RecreateRequested", "RenewRequested", "Missing"]
    );
    bed.event("asked", "Renewed", "revision 2").await;
    let read = reader.end().await;
    assert!(read.reads > 0 && read.versions.len() >= 2, "{} reads", read.reads);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_secret_that_is_mended_is_used_at_once() {
    let Some(mut bed) = Bed::new("mends").await else {
        return;
    };
    bed.apply(&issuer_yaml(&bed.ca, "not-the-secret", "")).await;
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    let refused = |found: &serde_json::Value| reason(&found["status"], "Ready") == "Rejected";
    bed.wait("is refused", "Issuer", "ca", refused).await;
    assert_eq!(bed.issued_in_all(), 0);
    bed.meddle("mac", "kubectl-edit", json!({"stringData": {"secret": SECRET}}))
        .await;
    bed.ready("web").await;
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_shared_secret_makes_a_new_identity_and_nothing_else() {
    let Some(mut bed) = Bed::new("rekeys").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    // The same secret in another form: the line break does not count, but the bytes did change.
    bed.meddle(
        "mac",
        "kubectl-edit",
        json!({"stringData": {"secret": format!("{SECRET}\n")}}),
    )
    .await;
    let renewed = |found: &serde_json::Value| found["status"]["identity"]["revision"].as_u64() == Some(2);
    bed.wait("has a new identity", "Issuer", "ca", renewed).await;
    // Deleted after the first contact it is no fault.
    bed.delete_secret("mac").await;
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    assert_eq!(bed.issued_in_all(), 4, "two identities and two of web");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_trust_store_counts_at_once_and_re_enrols_nobody() {
    let Some(mut bed) = Bed::new("trusts").await else {
        return;
    };
    let other = Ca::start("{}");
    let good = bed.ca.root_pem();
    let trust = |pem: &str| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "trust"}, "data": {"ca.pem": pem}});
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    bed.put("trusts", &trust(&other.root_pem())).await;
    // A certificate of the meantime is not believed; the one in use stays.
    bed.apply(&certificate_yaml("later", "")).await;
    bed.told("later", "Issuing", "Untrusted").await;
    bed.ready("web").await;
    bed.put("trusts", &trust("no certificate")).await;
    let invalid = |found: &serde_json::Value| reason(&found["status"], "Ready") == "InputInvalid";
    bed.wait("has an invalid input", "Issuer", "ca", invalid).await;
    bed.put("trusts", &trust(&good)).await;
    bed.ready("later").await;
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_openssl_enrols_renews_recreates_and_repairs_with_the_ca_down() {
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with("external", &[], ca, "  engine: OpenSSL\n").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let mut reader = Reader::start(bed.secrets(), "web-tls");
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    bed.annotate("web", "occm.dev/recreate", "1").await;
    bed.revision("web", 3).await;
    let before = bed.secret("web-tls").await;
    assert_eq!(fault(&before), None);
    assert_eq!((bed.issued("web"), bed.issued_in_all()), (3, 4));
    bed.ca.stop();
    let spoilt = bed
        .meddle("web-tls", "vandal", json!({"data": {"tls.crt": "c3BvaWx0"}}))
        .await;
    reader.meddled(&spoilt);
    bed.back("web-tls", &before).await;
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_initial_certificate_makes_a_new_identity_at_once() {
    let Some(mut bed) = Bed::new("vendors").await else {
        return;
    };
    bed.apply(&certificate_yaml("boot", "")).await;
    let second = format!(
        "apiVersion: occm.dev/v1alpha1\nkind: Issuer\nmetadata: {{name: second}}\nspec:\n  url: http://{}/cmp\n\
         \x20 authentication:\n    initial: {{certificate: {{secretRef: {{name: boot-tls}}}}}}\n    identity: {{commonName: occm.second}}\n\
         \x20 trust: {{responses: {{configMapRef: {{name: trust, key: ca.pem}}}}}}\n",
        bed.ca.address
    );
    bed.apply(&second).await;
    bed.start();
    let identity = |revision: u64| {
        move |found: &serde_json::Value| found["status"]["identity"]["revision"].as_u64() == Some(revision)
    };
    bed.wait("has an identity", "Issuer", "second", identity(1)).await;
    bed.annotate("boot", "occm.dev/renew", "1").await;
    bed.wait("has a new identity", "Issuer", "second", identity(2))
        .await;
    assert_eq!(bed.ca.issued_for("occm.second").len(), 2);
    assert_eq!(bed.issued("boot"), 2);
}
