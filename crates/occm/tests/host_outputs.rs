//! Outputs on the directory store: their layout, and several Certificates in one Secret.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use support::{Ca, Host, certificate_yaml, condition, occm, reason, wait_for};

#[test]
fn a_changed_layout_and_an_added_output_are_written_once_and_cost_no_certificate() {
    let ca = Ca::start("{}");
    let host = Host::with_web(&ca, "", "");
    let more = "  outputs:\n  - secret: {name: parts}\n    keys: {all.pem: {part: Bundle}}\n";
    host.write("web.yaml", &certificate_yaml("web", more));
    host.wait_output("parts", "all.pem");
    ready_with(&host, 2);
    let other = "  outputs:\n  - secret: {name: parts}\n    keys: {new.pem: {part: Bundle}}\n";
    host.write("web.yaml", &certificate_yaml("web", other));
    host.wait_output("parts", "new.pem");
    wait_for("the old key is gone", || {
        host.read("parts", "all.pem").is_none().then_some(())
    });
    ready_with(&host, 2);
    let folder = || std::fs::read_link(host.path().join("secrets/default/parts/..data")).unwrap();
    let before = folder();
    host.write("last.yaml", &certificate_yaml("last", ""));
    host.wait_ready("last");
    assert_eq!(folder(), before, "it is written again and again");
    assert_eq!(ca.issued_for("web.example").len(), 1);
}

fn sharing(name: &str, keys: &str, more: &str) -> String {
    let output = format!("{more}  outputs:\n  - secret: {{name: pair}}\n    keys: {{{keys}}}\n");
    certificate_yaml(name, &output).replace(&format!("  secretName: {name}-tls\n"), "")
}

const RSA: &str = "rsa.key: {part: Key}, rsa.crt: {part: CertificateAndChain}";
const EC: &str = "ec.key: {part: Key}, ec.crt: {part: CertificateAndChain}";

fn values(host: &Host, keys: [&str; 2]) -> Option<[Vec<u8>; 2]> {
    Some([host.read("pair", keys[0])?, host.read("pair", keys[1])?])
}

#[test]
fn two_certificates_share_a_secret_and_the_last_one_that_goes_takes_it() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    // Replace lets nobody take what another Certificate wrote.
    let more = "  onDelete: Delete\n  existing: Replace\n";
    host.write("rsa.yaml", &sharing("rsa", RSA, more));
    host.start();
    host.wait_ready("rsa");
    host.write("ec.yaml", &sharing("ec", EC, more));
    host.wait_ready("ec");
    host.wait_ready("rsa");
    let rsa = values(&host, ["rsa.key", "rsa.crt"]).unwrap();
    let ec = values(&host, ["ec.key", "ec.crt"]).unwrap();
    let log = host.log_text();
    assert!(!log.contains("Restored"), "nobody changed anything: {log}");
    // Each repairs its own.
    std::fs::write(host.output("pair", "rsa.crt"), "x").unwrap();
    std::fs::write(host.output("pair", "ec.crt"), "x").unwrap();
    wait_for("both are back", || {
        let back = values(&host, ["rsa.key", "rsa.crt"]).as_ref() == Some(&rsa)
            && values(&host, ["ec.key", "ec.crt"]).as_ref() == Some(&ec);
        back.then_some(())
    });
    delete_pair(&host);
    wait_for("both are back after a deletion", || {
        let back = values(&host, ["rsa.key", "rsa.crt"]).as_ref() == Some(&rsa)
            && values(&host, ["ec.key", "ec.crt"]).as_ref() == Some(&ec);
        back.then_some(())
    });
    // Each renews its own.
    let renewed = occm(&["renew", "rsa", "--store", host.path().to_str().unwrap()]);
    assert!(renewed.status.success(), "{renewed:?}");
    host.wait_revision("rsa", 2);
    assert_eq!(values(&host, ["ec.key", "ec.crt"]).as_ref(), Some(&ec));
    let rsa = values(&host, ["rsa.key", "rsa.crt"]).unwrap();
    // One goes with its keys alone, also after a restart.
    host.stop();
    host.start();
    std::fs::remove_file(host.path().join("ec.yaml")).unwrap();
    wait_for("the second one's keys are gone", || {
        let gone = host.read("pair", "ec.key").is_none() && host.read("pair", "ec.crt").is_none();
        gone.then_some(())
    });
    assert_eq!(values(&host, ["rsa.key", "rsa.crt"]).as_ref(), Some(&rsa));
    host.wait_ready("rsa");
    std::fs::remove_file(host.path().join("rsa.yaml")).unwrap();
    wait_for("the Secret goes with the last one", || {
        (!host.path().join("secrets/default/pair").exists()).then_some(())
    });
    assert_eq!(
        (
            ca.issued_for("rsa.example").len(),
            ca.issued_for("ec.example").len()
        ),
        (2, 1)
    );
}

#[test]
fn a_key_that_another_certificate_has_is_refused_and_the_other_is_not_harmed() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    let more = "  onDelete: Delete\n  existing: Replace\n";
    host.write("first.yaml", &sharing("first", RSA, ""));
    host.start();
    host.wait_ready("first");
    let before = values(&host, ["rsa.key", "rsa.crt"]).unwrap();
    host.write(
        "another.yaml",
        &sharing(
            "another",
            "rsa.key: {part: Key}, own.crt: {part: Certificate}",
            more,
        ),
    );
    let message = wait_for("the second is refused", || {
        let status = host.status("another")?;
        (reason(&status, "Ready") == "OwnedByAnother").then(|| status["conditions"].to_string())
    });
    assert!(
        message.contains("rsa.key") && message.contains("default/first"),
        "{message}"
    );
    assert_eq!(
        ca.issued_for("another.example").len(),
        0,
        "nothing is asked for that could not be written"
    );
    // A wish that grows into the other's key takes nothing either.
    host.write("third.yaml", &sharing("third", EC, more));
    host.wait_ready("third");
    host.write(
        "third.yaml",
        &sharing("third", &format!("{EC}, rsa.key: {{part: Key}}"), more),
    );
    wait_for("the third is refused", || {
        let status = host.status("third")?;
        (reason(&status, "Ready") == "OwnedByAnother").then_some(())
    });
    // Also not while the Secret is not there.
    delete_pair(&host);
    wait_for("the first is back", || {
        (values(&host, ["rsa.key", "rsa.crt"]).as_ref() == Some(&before)).then_some(())
    });
    for name in ["another", "third"] {
        std::fs::remove_file(host.path().join(format!("{name}.yaml"))).unwrap();
        wait_for("it is gone", || host.status(name).is_none().then_some(()));
    }
    assert_eq!(values(&host, ["rsa.key", "rsa.crt"]).as_ref(), Some(&before));
    // A refusal ends when the other lets go.
    host.write(
        "another.yaml",
        &sharing(
            "another",
            "rsa.key: {part: Key}, own.crt: {part: Certificate}",
            more,
        ),
    );
    wait_for("the second is refused again", || {
        let status = host.status("another")?;
        (reason(&status, "Ready") == "OwnedByAnother").then_some(())
    });
    host.write("first.yaml", &sharing("first", "left.key: {part: Key}", ""));
    host.wait_ready("another");
    host.wait_ready("first");
    assert_eq!(ca.issued_for("first.example").len(), 1);
}

#[test]
fn two_new_certificates_that_want_the_same_key_end_with_one_that_has_it() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write("a.yaml", &sharing("a", RSA, ""));
    host.write("b.yaml", &sharing("b", RSA, "  existing: Replace\n"));
    host.start();
    host.wait_ready("a");
    wait_for("the other is refused", || {
        let status = host.status("b")?;
        (reason(&status, "Ready") == "OwnedByAnother").then_some(())
    });
    assert_eq!(
        (ca.issued_for("a.example").len(), ca.issued_for("b.example").len()),
        (1, 0)
    );
}

/// Deletes the Secret in one moment: a repair that comes between would keep its folder.
fn delete_pair(host: &Host) {
    let away = tempfile::tempdir_in(host.path().parent().unwrap()).unwrap();
    std::fs::rename(host.path().join("secrets/default/pair"), away.path().join("pair")).unwrap();
}

/// Waits until `web` is ready and so many outputs are in sync.
fn ready_with(host: &Host, outputs: usize) {
    wait_for("all outputs are in sync", || {
        let status = host.status("web")?;
        let told = status["outputs"].as_array()?;
        let in_sync = told.iter().filter(|output| output["state"] == "InSync").count();
        (condition(&status, "Ready") == "True" && in_sync == outputs).then_some(())
    });
}

#[test]
fn an_adopted_secret_gets_a_revision_above_all_that_were_told() {
    let ca = Ca::start("{}");
    let mut host = Host::with_web(&ca, "", "  existing: Adopt\n");
    let wish = certificate_yaml("web", "  existing: Adopt\n  ipAddresses: [192.0.2.9]\n");
    host.write("web.yaml", &wish);
    host.wait_revision("web", 2);
    host.kill();
    // The record is lost, and the wish names a Secret of somebody else.
    std::fs::remove_file(host.path().join(".occm/records/default/occm-record-web")).unwrap();
    std::fs::remove_dir_all(host.path().join("secrets/default/web-tls")).unwrap();
    host.foreign_tls("legacy");
    let foreign = host.read("legacy", "tls.crt");
    host.write(
        "web.yaml",
        &wish.replace("secretName: web-tls", "secretName: legacy"),
    );
    host.start();
    host.wait_revision("web", 3);
    assert_eq!(host.read("legacy", "tls.crt"), foreign);
}
