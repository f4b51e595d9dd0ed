//! The life of a Certificate on the directory store, with the real binary and the development CA over HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Ca, Host, certificate_yaml, condition, issuer_yaml, judge, occm, reason, wait_for};

fn store(host: &Host) -> String {
    host.path().to_str().unwrap().to_owned()
}

#[test]
fn a_wish_becomes_a_key_and_a_certificate_that_openssl_accepts() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write(
        "web.yaml",
        &certificate_yaml(
            "web",
            "  duration: 90d\n  usages: [digital signature, server auth]\n",
        ),
    );
    host.start();
    let status = host.wait_ready("web");
    judge(&host, "web-tls", &ca);
    assert_eq!(status["revision"], 1);
    let entries = ca.issued_for("web.example");
    assert_eq!(entries.len(), 1);
    assert_eq!(
        entries[0]["serial"].as_str().unwrap(),
        status["serialNumber"].as_str().unwrap()
    );
    let text = support::openssl(&[
        "x509",
        "-in",
        host.output("web-tls", "tls.crt").to_str().unwrap(),
        "-noout",
        "-text",
    ]);
    assert!(
        text.contains("DNS:web.example") && text.contains("TLS Web Server Authentication"),
        "{text}"
    );
    for key in ["tls.key", "tls.crt", "ca.crt"] {
        let mode = std::fs::metadata(host.output("web-tls", key))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600, "{key}");
    }
    host.stop();
}

#[test]
fn an_output_is_repaired_with_the_same_bytes_also_while_the_ca_is_down_and_right_after_a_restart() {
    let mut ca = Ca::start("{}");
    let mut host = Host::with_web(&ca, "", "");
    let bytes: Vec<Vec<u8>> = ["tls.key", "tls.crt", "ca.crt"]
        .iter()
        .map(|k| host.wait_output("web-tls", k))
        .collect();
    let back = |host: &Host, what: &str| {
        wait_for(what, || {
            let now: Option<Vec<Vec<u8>>> = ["tls.key", "tls.crt", "ca.crt"]
                .iter()
                .map(|k| host.read("web-tls", k))
                .collect();
            now.filter(|now| *now == bytes)
        });
    };
    ca.stop();
    std::fs::write(host.output("web-tls", "tls.crt"), "spoilt").unwrap();
    back(&host, "a changed output");
    std::fs::remove_dir_all(host.path().join("secrets/default/web-tls")).unwrap();
    back(&host, "a deleted output");
    std::fs::remove_file(host.output("web-tls", "tls.key")).unwrap();
    back(&host, "a deleted key");
    host.kill();
    std::fs::remove_dir_all(host.path().join("secrets/default/web-tls")).unwrap();
    host.start();
    back(&host, "an output that was deleted while nobody looked");
}

#[test]
fn a_certificate_renews_before_its_end_and_by_request() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write(
        "web.yaml",
        &certificate_yaml("web", "  duration: 60s\n  renewBefore: 55s\n"),
    );
    host.write("long.yaml", &certificate_yaml("long", "  duration: 90d\n"));
    host.start();
    let first = host.wait_ready("web")["serialNumber"].clone();
    let second = host.wait_revision("web", 2);
    assert_ne!(first, second["serialNumber"]);
    judge(&host, "web-tls", &ca);
    host.wait_ready("long");
    let key_before = host.read("long-tls", "tls.key");
    let output = occm(&["renew", "long", "--wait", "30s", "--store", &store(&host)]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        host.wait_revision("long", 2)["history"].as_array().unwrap().len(),
        2
    );
    assert_ne!(
        key_before,
        host.read("long-tls", "tls.key"),
        "a renewal makes a new key"
    );
    judge(&host, "long-tls", &ca);
}

#[test]
fn a_restart_issues_nothing() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    for i in 0..5 {
        host.write(&format!("c{i}.yaml"), &certificate_yaml(&format!("c{i}"), ""));
    }
    host.start();
    (0..5).for_each(|i| drop(host.wait_ready(&format!("c{i}"))));
    let issued = ca.ledger().len();
    for _ in 0..3 {
        host.kill();
        host.start();
        (0..5).for_each(|i| drop(host.wait_ready(&format!("c{i}"))));
    }
    // A lost status is written again, and nothing is issued for it.
    host.stop();
    std::fs::remove_dir_all(host.path().join(".occm/status")).unwrap();
    host.start();
    (0..5).for_each(|i| drop(host.wait_ready(&format!("c{i}"))));
    assert_eq!(ca.ledger().len(), issued);
}

#[test]
fn a_lost_record_is_made_again_from_the_output() {
    let ca = Ca::start("{}");
    let mut host = Host::with_web(&ca, "", "");
    let issued = ca.ledger().len();
    let key = host.wait_output("web-tls", "tls.key");
    let record = host.path().join(".occm/records/default/occm-record-web");
    assert!(record.exists());
    host.kill();
    std::fs::remove_file(&record).unwrap();
    host.start();
    wait_for("the record", || record.exists().then_some(()));
    std::fs::remove_dir_all(host.path().join("secrets/default/web-tls")).unwrap();
    wait_for("the same key", || {
        host.read("web-tls", "tls.key").filter(|now| *now == key)
    });
    assert_eq!(ca.ledger().len(), issued);
}

#[test]
fn a_record_that_comes_back_after_the_inputs_is_waited_for_however_long_they_were_away() {
    let ca = Ca::start("{}");
    let host = Host::with_web(&ca, "", "");
    let (issued, key) = (ca.ledger().len(), host.wait_output("web-tls", "tls.key"));
    let record = host.path().join(".occm/records/default/occm-record-web");
    let kept = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    std::fs::remove_dir_all(host.path().join("secrets/default/web-tls")).unwrap();
    wait_for("the record is waited for", || {
        host.log_text().contains("it is waited for").then_some(())
    });
    let issuer = std::fs::read_to_string(host.path().join("issuer.yaml")).unwrap();
    let (_, without_inputs) = issuer.rsplit_once("---\n").unwrap();
    host.write("issuer.yaml", without_inputs);
    wait_for("the Issuer misses its inputs", || {
        (reason(&host.status("web")?, "Ready") == "InputMissing").then_some(())
    });
    // Longer than a record is waited for.
    std::thread::sleep(std::time::Duration::from_secs(11));
    host.write("issuer.yaml", &issuer);
    wait_for("the Issuer has its inputs", || {
        let told = host.status_file("Issuer", "ca");
        told.contains("- type: Ready\n  status: \"True\"").then_some(())
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    std::fs::write(&record, kept).unwrap();
    wait_for("the same key", || {
        host.read("web-tls", "tls.key").filter(|now| *now == key)
    });
    assert_eq!(ca.ledger().len(), issued);
}

#[test]
fn a_changed_wish_is_enrolled_and_an_unchanged_one_is_not() {
    let ca = Ca::start("{}");
    let host = Host::with_web(&ca, "", "");
    host.write(
        "web.yaml",
        &format!("# a comment\n{}", certificate_yaml("web", "  renewBefore: 1h\n")),
    );
    host.write(
        "web.yaml",
        &certificate_yaml("web", "  ipAddresses: [192.0.2.9]\n"),
    );
    host.wait_revision("web", 2);
    let text = support::openssl(&[
        "x509",
        "-in",
        host.output("web-tls", "tls.crt").to_str().unwrap(),
        "-noout",
        "-text",
    ]);
    assert!(text.contains("IP Address:192.0.2.9"), "{text}");
    assert_eq!(ca.issued_for("web.example").len(), 2);
}

#[test]
fn a_wrong_secret_is_told_and_a_right_one_wakes_it_at_once() {
    let ca = Ca::start("{}");
    let mut host = Host::new();
    host.write("issuer.yaml", &issuer_yaml(&ca, "wrong", ""));
    host.write("web.yaml", &certificate_yaml("web", ""));
    host.start();
    let status = wait_for("the reason", || {
        host.status("web")
            .filter(|s| reason(s, "Ready") == "IssuerNotReady")
    });
    assert_eq!(condition(&status, "Ready"), "False");
    host.write("issuer.yaml", &issuer_yaml(&ca, support::SECRET, ""));
    host.wait_ready("web");
}

#[test]
fn a_broken_file_stops_only_itself() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write("a.yaml", &certificate_yaml("a", "  dnsNames: [\"not a name\"]\n"));
    host.write(
        "b.yaml",
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {name: b}\nspec: [\n",
    );
    host.write(
        "c.yaml",
        &certificate_yaml("c", "  privateKey: {algorithm: RSA, size: 1024}\n"),
    );
    host.write("good.yaml", &certificate_yaml("good", ""));
    host.start();
    host.wait_ready("good");
    let told = wait_for("the reason", || {
        host.status("c").filter(|s| reason(s, "Ready") == "InvalidSpec")
    });
    assert!(
        told.to_string()
            .contains("spec.privateKey.size: 1024 does not fit RSA; allowed: 2048, 3072 or 4096"),
        "{told}"
    );
    let verify = occm(&["verify", &store(&host)]);
    let text = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(!verify.status.success());
    assert!(
        text.contains("spec.privateKey.size") && text.contains("b.yaml"),
        "{text}"
    );
}

#[test]
fn a_refused_request_is_not_sent_again_for_inputs_that_did_not_change_also_after_a_restart() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    let wrong = issuer_yaml(&ca, "not the secret", "");
    let wrong = wrong.replace("{name: mac}", "{name: wrong}");
    let wrong = wrong
        .replace("{name: ca}", "{name: wrong}")
        .replace("{name: mac,", "{name: wrong,");
    host.write("wrong.yaml", &wrong);
    let refused = |host: &Host| host.log_text().matches("refused by the CA").count();
    host.start();
    wait_for("the refusal", || (refused(&host) > 0).then_some(()));
    host.write("one.yaml", &certificate_yaml("one", ""));
    host.wait_ready("one");
    host.kill();
    host.start();
    host.write("two.yaml", &certificate_yaml("two", ""));
    host.wait_ready("two");
    assert_eq!(refused(&host), 1, "one request for one reason");
}

#[test]
fn a_second_manager_is_refused() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.start();
    wait_for("the lock", || {
        host.path().join(".occm/lock").exists().then_some(())
    });
    let second = wait_for("a refusal", || {
        let output = occm(&["serve", "--store", &store(&host)]);
        (!output.status.success()).then_some(output)
    });
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("error:") && text.contains("--store"), "{text}");
}

#[test]
fn a_deleted_wish_takes_its_outputs_and_its_certificate_along_where_it_says_so() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write("gone.yaml", &certificate_yaml("gone", "  onDelete: Revoke\n"));
    host.write("kept.yaml", &certificate_yaml("kept", ""));
    host.start();
    host.wait_ready("gone");
    host.wait_ready("kept");
    std::fs::remove_file(host.path().join("gone.yaml")).unwrap();
    std::fs::remove_file(host.path().join("kept.yaml")).unwrap();
    let gone = host.path().join("secrets/default/gone-tls");
    wait_for("the output to go", || (!gone.exists()).then_some(()));
    wait_for("the revocation", || {
        let entries = ca.issued_for("gone.example");
        entries
            .iter()
            .all(|entry| entry["state"].to_string().contains("evoked"))
            .then_some(())
    });
    assert!(
        host.read("kept-tls", "tls.crt").is_some(),
        "Keep leaves the outputs as they are"
    );
    let issued = ca.ledger().len();
    host.write("kept.yaml", &certificate_yaml("kept", ""));
    host.wait_ready("kept");
    assert_eq!(
        ca.ledger().len(),
        issued,
        "a wish made again binds its outputs without an issuance"
    );
}

#[test]
fn a_health_check_says_on_its_issuer_whether_the_whole_way_works() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    let check =
        certificate_yaml("check", "  purpose: HealthCheck\n").replace("  secretName: check-tls\n", "");
    host.write("check.yaml", &check);
    host.start();
    let healthy = |status: &str, text: &str| {
        wait_for(&format!("Healthy {status} with {text}"), || {
            let file = host.status_file("Issuer", "ca");
            let start = file.find(&format!("- type: Healthy\n  status: \"{status}\""))?;
            let part = file[start..].split("\n- type").next()?.to_owned();
            part.contains(text).then_some(file)
        })
    };
    let first = healthy("True", "health check default/check got a certificate at ");
    assert!(first.contains("lastContact: "), "{first}");
    assert!(!host.path().join("secrets/default/check-tls").exists());
    ca.arm(r#"{"fault":"reject","failure":2,"text":"not today","request":"kur"}"#);
    let renew = || occm(&["renew", "check", "--store", host.path().to_str().unwrap()]);
    assert!(renew().status.success());
    healthy("False", "not today");
    let issued = ca.issued_for("check").len();
    ca.clear_faults();
    assert!(renew().status.success());
    healthy("True", "got a certificate");
    // It costs the CA what a Certificate costs it.
    assert!(ca.issued_for("check").len() <= issued + 1);
    host.write("check.yaml", "# no more\n");
    wait_for("the end of the condition", || {
        (!host.status_file("Issuer", "ca").contains("Healthy")).then_some(())
    });
}
