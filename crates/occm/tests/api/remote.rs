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
    let (good, text) = occm(&served, Some(&token), &["adopt", "list"]);
    assert!(!good || text.contains("Secrets"), "{text}");
}
