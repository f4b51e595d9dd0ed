//! Commands against the API of a running manager: `--server` and a token.

use std::process::Command;

use crate::rest::Served;
use crate::support::{BIN, Ca, Host, certificate_yaml};

fn occm(served: &Served, token: Option<&str>, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(BIN);
    command
        .args(args)
        .args(["--server", &format!("http://{}", served.address)]);
    command.env_remove("OCCM_TOKEN").env("NO_COLOR", "1");
    if let Some(token) = token {
        command.env("OCCM_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[test]
fn status_and_requests_work_through_the_api_with_a_token() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    host.write("web.yaml", &certificate_yaml("web", ""));
    let served = Served::start(host, &["OCCM_REQUESTS_PER_SECOND=1000"]);
    served.host.wait_ready_file("Certificate", "web");
    let token = served.token.clone();
    let (good, text) = occm(&served, Some(&token), &["status"]);
    assert!(good && text.contains("web") && text.contains("True"), "{text}");
    let (good, text) = occm(&served, Some(&token), &["renew", "web", "--wait"]);
    assert!(good, "{text}");
    served.host.wait_revision("web", 2);
    let (good, text) = occm(&served, Some(&token), &["recreate", "web", "--wait"]);
    assert!(good, "{text}");
    served.host.wait_revision("web", 3);
    let (good, text) = occm(&served, Some(&token), &["revoke", "web", "--wait"]);
    assert!(good, "{text}");
    let (good, text) = occm(&served, Some(&token), &["status", "no-such"]);
    assert!(!good && text.contains("no-such"), "{text}");
    for token in [None, Some("wrong")] {
        let (good, text) = occm(&served, token, &["status"]);
        assert!(!good && text.contains("token"), "{text}");
    }
}

#[test]
fn secrets_of_others_are_found_and_adopted_through_the_api() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    for name in ["legacy", "other"] {
        host.foreign_tls(name);
    }
    let users = crate::roles::users(&host, &[("owner", "'*': Admin"), ("editor", "'*': Edit")]);
    let served = Served::start(host, &[&users]);
    served.synced().host.wait_ready_file("Issuer", "ca");
    let before = std::fs::read(served.host.path().join("secrets/default/legacy/tls.key")).unwrap();
    let owner = Some("token-of-owner");
    let (good, text) = occm(&served, owner, &["adopt"]);
    assert!(
        good && text.contains("legacy.example") && text.contains("other"),
        "{text}"
    );
    let (good, text) = occm(
        &served,
        owner,
        &["adopt", "legacy", "--issuer", "ca", "--dry-run"],
    );
    assert!(good && text.contains("existing: Adopt"), "{text}");
    assert_eq!(
        served.bearer("token-of-owner").get("/certificates").json()["total"],
        0
    );
    // Who may not read Secrets finds none.
    let (good, text) = occm(&served, Some("token-of-editor"), &["adopt"]);
    assert!(!good && text.contains("may not list secrets"), "{text}");
    let (good, text) = occm(&served, owner, &["adopt", "legacy", "--issuer", "no-such"]);
    assert!(!good && text.contains("no-such"), "{text}");
    let (good, text) = occm(&served, owner, &["adopt", "legacy", "--issuer", "ca"]);
    assert!(
        good && text.contains("takes over Secret default/legacy"),
        "{text}"
    );
    served.host.wait_ready_file("Certificate", "legacy");
    let after = std::fs::read(served.host.path().join("secrets/default/legacy/tls.key")).unwrap();
    assert_eq!(before, after, "the key stays until a renewal");
    let (good, text) = occm(&served, owner, &["adopt"]);
    assert!(good && !text.contains("legacy.example"), "{text}");
}

#[test]
fn certificates_move_to_another_issuer_through_the_api() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    host.write(
        "other.yaml",
        &crate::support::issuer_yaml(&ca, crate::support::SECRET, "")
            .split("---\n")
            .last()
            .unwrap()
            .replace("name: ca}", "name: new-ca}"),
    );
    for name in ["one", "two"] {
        host.write(&format!("{name}.yaml"), &certificate_yaml(name, ""));
    }
    let served = Served::start(host, &[]);
    for name in ["one", "two"] {
        served.synced().host.wait_ready_file("Certificate", name);
    }
    let token = Some(served.token.as_str());
    let (good, text) = occm(
        &served,
        token,
        &["migrate", "--from", "ca", "--to", "new-ca", "--dry-run"],
    );
    assert!(good && text.contains("one") && text.contains("two"), "{text}");
    assert_eq!(
        served.admin().get("/certificates?issuer=default/new-ca").json()["total"],
        0
    );
    let (good, text) = occm(&served, token, &["migrate", "--from", "ca", "--to", "new-ca"]);
    assert!(good, "{text}");
    let moved = crate::support::wait_for("both moved", || {
        let list = served
            .admin()
            .get("/certificates?issuer=default/new-ca&state=Ready")
            .json();
        (list["total"] == 2).then_some(list)
    });
    assert_eq!(moved["items"][0]["issuer"]["name"], "new-ca");
    let (good, text) = occm(
        &served,
        token,
        &["migrate", "--from", "new-ca", "--to", "no-such"],
    );
    assert!(!good && text.contains("no-such"), "{text}");
}

/// The API takes so many requests a second; a command that needs more takes longer.
#[test]
fn a_command_that_comes_too_often_goes_on_more_slowly() {
    let host = Host::new();
    for i in 0..30 {
        host.write(&format!("c{i}.yaml"), &certificate_yaml(&format!("c{i}"), ""));
    }
    let served = Served::start(host, &["OCCM_REQUESTS_PER_SECOND=5"]);
    served.synced();
    let (good, text) = occm(&served, Some(&served.token), &["status"]);
    assert!(good && text.contains("c29"), "{text}");
}
