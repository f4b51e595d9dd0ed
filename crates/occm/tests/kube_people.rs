//! What people do on a real cluster with the manager running: kubectl, the examples, the commands, the plug-in.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/people.rs"]
mod people;
#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::people::People;
use crate::support::wait_for;

const READY: &str = "--for=condition=Ready";
const WAIT: &str = "--timeout=60s";

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_right_work_and_stay_as_they_were_applied() {
    let Some(people) = People::new("occm", &["nrf"], &[]).await else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let said = people.occm(&["verify", folder.to_str().unwrap()]);
    assert!(said.contains("0 problems found"), "{said}");
    people.inputs();
    people.foreign_tls("legacy-tls", "/CN=legacy.lab.example");
    let theirs = people.get("secret/legacy-tls")["data"].clone();
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    let files: Vec<String> = files.iter().map(|name| people.example(name)).collect();
    for file in &files {
        people.kubectl(&["apply", "--dry-run=server", "-f", file]);
        people.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", file]);
    }
    assert_eq!(
        people.kubectl(&["get", "occm", "-o", "name"]),
        "",
        "a dry run makes nothing"
    );
    for file in &files {
        people.kubectl(&["apply", "-f", file]);
    }
    for issuer in ["lab-ca", "lab-ca-openssl"] {
        people.kubectl(&["wait", READY, WAIT, &format!("issuers.occm.dev/{issuer}")]);
    }
    people.kubectl(&["wait", READY, WAIT, "certificates.occm.dev", "--all"]);
    people.kubectl(&["wait", READY, WAIT, "-n", "nrf", "certificates.occm.dev", "--all"]);
    // The status was written meanwhile; what was applied is what is there.
    for file in &files {
        assert_eq!(people.kubectl(&["diff", "-f", file]), "", "{file}");
        let generations = || people.kubectl(&["get", "-f", file, "-o", "jsonpath={..generation}"]);
        let before = generations();
        people.kubectl(&["apply", "-f", file]);
        assert_eq!(generations(), before, "{file}");
    }
    everything_is_shown(&people);
    each_output_is_as_it_was_asked_for(&people);
    assert_eq!(
        people.get("secret/legacy-tls")["data"],
        theirs,
        "adopted as it was"
    );
    assert!(people.ca.issued_for("legacy.lab.example").is_empty());
    people.kubectl(&[
        "delete",
        WAIT,
        "certificates.occm.dev/guest",
        "certificates.occm.dev/amf",
    ]);
    let revoked = |entry: &&Value| {
        entry["subject"]
            .as_str()
            .is_some_and(|name| name.contains("CN=guest."))
            && entry["state"]["is"] == "revoked"
    };
    assert_eq!(
        people.ca.ledger().iter().filter(revoked).count(),
        1,
        "{:?}",
        people.ca.issued_for("guest.lab.example")
    );
    for gone in ["guest-tls", "amf-files", "amf-haproxy"] {
        assert!(
            people
                .cluster
                .kubectl(&["-n", "occm", "get", "secret", gone])
                .is_err(),
            "{gone}"
        );
    }
}

fn everything_is_shown(people: &People) {
    let shown = people.kubectl(&["get", "occm"]);
    for name in ["lab-ca", "web", "amf", "by-openssl"] {
        assert!(shown.contains(name), "{shown}");
    }
    let story = people.kubectl(&["describe", "certificates.occm.dev/web"]);
    let (_, events) = story.split_once("Events:").unwrap();
    assert!(
        events.contains("Issued") && events.contains("revision 1"),
        "{story}"
    );
    let story = people.kubectl(&["describe", "certificates.occm.dev/legacy"]);
    assert!(
        story.split_once("Events:").unwrap().1.contains("Adopted"),
        "{story}"
    );
    let manual = people.kubectl(&["explain", "certificates.occm.dev.spec"]);
    for (field, text) in [
        ("secretName", "The short way"),
        ("existing", "Secret of an output's name exists"),
        ("renewBefore", "How long before its end"),
    ] {
        assert!(
            manual.contains(field) && manual.replace("\n    ", " ").contains(text),
            "{field}: {manual}"
        );
    }
    let enumerated = people.kubectl(&["explain", "certificates.occm.dev.spec.existing"]);
    assert!(
        enumerated.contains("Adopt") && enumerated.contains("taken over as it is"),
        "{enumerated}"
    );
}

fn each_output_is_as_it_was_asked_for(people: &People) {
    let keys = |namespace: &str, secret: &str| {
        let all = people.kubectl(&["get", "-n", namespace, "secret", secret, "-o", "json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let keys: Vec<String> = all["data"].as_object().unwrap().keys().cloned().collect();
        (all["type"].as_str().unwrap().to_owned(), keys.join(" "))
    };
    let told = |kind: &str, keys: &str| (kind.to_owned(), keys.to_owned());
    assert_eq!(
        keys("occm", "web-tls"),
        told("kubernetes.io/tls", "ca.crt tls.crt tls.key")
    );
    assert_eq!(
        keys("occm", "amf-files"),
        told("Opaque", "amf.cer amf.key chain.pem root.pem")
    );
    assert_eq!(keys("occm", "amf-haproxy"), told("Opaque", "amf.pem"));
    assert_eq!(
        keys("nrf", "nrf-tls"),
        told("kubernetes.io/tls", "tls.crt tls.key")
    );
    assert_eq!(
        keys("nrf", "nrf-own-tls"),
        told("kubernetes.io/tls", "ca.crt tls.crt tls.key")
    );
    assert_eq!(people.get("secret/web-tls")["metadata"]["labels"]["app"], "web");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_by_kubeconfig_and_as_a_plug_in() {
    let Some(people) = People::new("commands", &[], &[]).await else {
        return;
    };
    let (fine, said) = people.try_occm(&["status", "nobody"]);
    assert!(
        !fine && said.contains("there is no Issuer or Certificate \"nobody\" in namespace commands"),
        "{said}"
    );
    people.inputs();
    for file in ["issuer.yaml", "certificate.yaml"] {
        people.kubectl(&["apply", "-f", &people.example(file)]);
    }
    people.revision("web", 1);
    let said = people.occm(&["status"]);
    assert!(
        said.contains("lab-ca") && said.contains("web") && said.contains("UpToDate"),
        "{said}"
    );
    let said = people.plugin(&["status", "-n", "commands", "web"]);
    assert!(said.contains("UpToDate"), "{said}");
    assert!(
        people
            .plugin(&["renew", "--help"])
            .contains("Usage: kubectl occm renew")
    );
    let listed: Value = serde_json::from_str(&people.occm(&["status", "-o", "json", "-A"])).unwrap();
    let here = |one: &Value| one["metadata"]["namespace"] == "commands" && one["metadata"]["name"] == "web";
    assert!(listed["certificates"].as_array().unwrap().iter().any(here));
    assert!(
        people
            .occm(&["verify"])
            .contains("2 objects are right, 0 problems found")
    );

    let mut watching = people.occm_running(&["status", "--watch", "web"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut until = |text: &str| while !lines.next().unwrap().unwrap().contains(text) {};
    until("UpToDate");
    let said = people.occm(&["renew", "web", "--wait", "60s"]);
    assert!(
        said.contains("commands/web: renewal asked for") && said.contains("commands/web: revision 2"),
        "{said}"
    );
    until("  2  ");
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(
        people
            .occm(&["recreate", "web", "--wait", "60s"])
            .contains("revision 3")
    );
    assert!(
        people
            .occm(&["revoke", "--all", "--wait", "60s"])
            .contains("revision 4")
    );
    let (fine, said) = people.try_occm(&["renew", "nobody"]);
    assert!(
        !fine && said.contains("there is no Certificate \"nobody\""),
        "{said}"
    );
    what_is_in_a_secret_is_shown_without_its_key(&people);
}

fn what_is_in_a_secret_is_shown_without_its_key(people: &People) {
    let secret = people.get("secret/web-tls");
    let key = secret["data"]["tls.key"].as_str().unwrap();
    for what in ["secret/web-tls", "certificate/web", "issuer/lab-ca"] {
        let said = people.plugin(&["inspect", what, "-n", "commands"]);
        assert!(
            !said.contains("PRIVATE KEY") && !said.contains(&key[40..80]),
            "{said}"
        );
        match what {
            "issuer/lab-ca" => assert!(
                said.contains("IdentityReady") && said.contains("CMP identity until"),
                "{said}"
            ),
            _ => assert!(
                said.contains("tls.key: private key, EC-P256, PKCS#8 PEM, belongs to the certificate")
                    && said.contains("CN=web.lab.example")
                    && said.contains("written by Certificate commands/web"),
                "{said}"
            ),
        }
    }
    let story = people.occm(&["inspect", "certificate/web"]);
    assert!(
        story.contains("Events, newest first:") && story.contains("Renewed"),
        "{story}"
    );
    let (fine, said) = people.try_occm(&["inspect", "secret/nobody"]);
    assert!(
        !fine && said.contains("Secret commands/nobody does not exist"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_move_to_another_issuer_in_bulk() {
    let Some(people) = People::new("moving", &[], &[]).await else {
        return;
    };
    people.inputs();
    people.kubectl(&["apply", "-f", &people.example("issuer.yaml")]);
    let text = std::fs::read_to_string(people.example("certificate.yaml")).unwrap();
    for name in ["web", "one", "two"] {
        let text = text.replace("web", name);
        people.kubectl(&[
            "apply",
            "-f",
            &people.file("one.yaml", &text).display().to_string(),
        ]);
    }
    people.kubectl(&["label", "certificates.occm.dev/web", "app=web"]);
    let before: Vec<Value> = ["web", "one", "two"]
        .iter()
        .map(|name| people.revision(name, 1))
        .collect();
    let (fine, said) = people.try_occm(&["migrate", "--all", "--to", "new-ca"]);
    assert!(
        !fine && said.contains("Issuer moving/new-ca does not exist") && said.contains("3 failed"),
        "{said}"
    );
    let issuer = std::fs::read_to_string(people.example("issuer.yaml")).unwrap();
    let new = people.file(
        "new.yaml",
        &issuer
            .replace("lab-ca}", "new-ca}")
            .replace("name: lab-ca\n", "name: new-ca\n"),
    );
    people.kubectl(&["apply", "-f", new.to_str().unwrap()]);
    people.told("issuers.occm.dev/new-ca", "Ready", "IdentityReady");
    let two = people.file("two.yaml", &text.replace("web", "two"));
    let file = two.to_str().unwrap();
    let by = "--field-manager=flux-controller";
    people.kubectl(&["apply", "--server-side", "--force-conflicts", by, "-f", file]);
    let said = people.occm(&["migrate", "--from", "lab-ca", "--to", "new-ca", "--dry-run"]);
    assert!(said.contains("3 would change, 0 unchanged, 0 failed"), "{said}");
    for hint in [
        "it was written by kubectl apply: change issuerRef in its source",
        "flux-controller applies issuerRef server-side",
    ] {
        assert!(said.contains(hint), "{hint}: {said}");
    }
    assert!(
        said.contains("a new key and certificate are enrolled at once; revision 1 stays in use until then"),
        "{said}"
    );
    for (name, before) in ["web", "one", "two"].iter().zip(&before) {
        let now = people.get(&format!("certificates.occm.dev/{name}"));
        assert_eq!(
            (&now["spec"]["issuerRef"]["name"], &now["status"]["revision"]),
            (&"lab-ca".into(), &before["revision"])
        );
    }
    let (fine, said) = people.try_occm(&["migrate", "one", "nobody", "--to", "new-ca"]);
    assert!(
        !fine
            && said.contains("1 changed, 0 unchanged, 1 failed")
            && said.contains("there is no such Certificate"),
        "{said}"
    );
    people.revision("one", 2);
    let said = people.occm(&["migrate", "-l", "app=web", "--to", "new-ca"]);
    assert!(said.contains("1 changed, 0 unchanged"), "{said}");
    let said = people.plugin(&["migrate", "-n", "moving", "--all", "--to", "new-ca", "-o", "json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    let results: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["result"].as_str().unwrap())
        .collect();
    assert_eq!(results, ["Unchanged", "Changed", "Unchanged"]);
    for name in ["web", "two"] {
        people.revision(name, 2);
    }
    assert_eq!(
        people.ca.issued_for("web.lab.example").len(),
        2,
        "one enrolment for each move"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_others_are_listed_and_adopted_as_they_are() {
    let Some(people) = People::new("adopting", &[], &[]).await else {
        return;
    };
    people.inputs();
    people.kubectl(&["apply", "-f", &people.example("issuer.yaml")]);
    people.foreign_tls("old-web", "/O=Lab/CN=old-web.lab.example");
    people.foreign_tls("mixed", "/CN=mixed.lab.example");
    people.kubectl(&[
        "annotate",
        "secret",
        "old-web",
        "cert-manager.io/certificate-name=old-web",
    ]);
    // The key of one with the certificate of the other.
    let other = people.get("secret/old-web")["data"]["tls.key"].clone();
    let patch = serde_json::json!({"data": {"tls.key": other}}).to_string();
    people.kubectl(&["patch", "secret", "mixed", "--type=merge", "-p", &patch]);
    let listed: Value = serde_json::from_str(&people.occm(&["adopt", "-o", "json"])).unwrap();
    let of = |name: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["secret"] == name)
            .unwrap()
            .clone()
    };
    let old = of("old-web");
    assert_eq!(old["managedBy"], "cert-manager (Certificate old-web)");
    assert_eq!(
        (&old["keyFits"], &old["algorithm"]),
        (&true.into(), &"EC-P256".into())
    );
    assert_eq!(old["sans"], serde_json::json!(["DNS:old-web.lab.example"]));
    assert_eq!(
        of("mixed")["problems"],
        serde_json::json!(["the key under tls.key does not belong to the certificate"])
    );
    let table = people.plugin(&["adopt", "-n", "adopting"]);
    assert!(
        table.contains("CN=old-web.lab.example") && table.contains("no: the key under tls.key"),
        "{table}"
    );
    let (fine, said) = people.try_occm(&["adopt", "mixed", "--issuer", "lab-ca"]);
    assert!(
        !fine && said.contains("Secret adopting/mixed: not adopted"),
        "{said}"
    );
    let (fine, said) = people.try_occm(&["adopt", "old-web", "--issuer", "nobody"]);
    assert!(
        !fine && said.contains("Issuer adopting/nobody does not exist"),
        "{said}"
    );
    let planned = people.occm(&["adopt", "old-web", "--issuer", "lab-ca", "--dry-run"]);
    assert_eq!(
        people.kubectl(&["get", "certificates.occm.dev", "-o", "name"]),
        ""
    );
    for text in [
        "existing: Adopt",
        "literalSubject: \"CN=old-web.lab.example,O=Lab\"",
        "secretName: old-web",
        "- server auth",
    ] {
        assert!(
            planned.replace("'", "\"").contains(text) || planned.contains(&text.replace('"', "")),
            "{text}: {planned}"
        );
    }
    // What the dry run prints can be applied.
    people.kubectl(&[
        "apply",
        "--dry-run=server",
        "-f",
        people.file("planned.yaml", &planned).to_str().unwrap(),
    ]);
    let theirs = people.get("secret/old-web");
    let said = people.occm(&["adopt", "old-web", "--issuer", "lab-ca"]);
    assert!(
        said.contains("Certificate adopting/old-web takes over Secret adopting/old-web"),
        "{said}"
    );
    people.revision("old-web", 1);
    people.kubectl(&[
        "wait",
        r"--for=jsonpath={.metadata.labels.occm\.dev/role}=output",
        "--timeout=60s",
        "secret/old-web",
    ]);
    let ours = people.get("secret/old-web");
    assert_eq!(ours["data"], theirs["data"]);
    assert!(
        people.ca.issued_for("old-web").is_empty(),
        "nothing is issued for it"
    );
    // It is watched, put back, and renewed by the wish that was made of it.
    people.kubectl(&["delete", "secret", "old-web"]);
    wait_for("the adopted Secret is back", || {
        let now = people
            .cluster
            .kubectl(&["-n", "adopting", "get", "secret", "old-web", "-o", "json"])
            .ok()?;
        let now: Value = serde_json::from_str(&now).unwrap();
        (now["data"] == theirs["data"]).then_some(())
    });
    people.occm(&["renew", "old-web", "--wait", "60s"]);
    assert_eq!(people.ca.issued_for("old-web.lab.example").len(), 1);
    assert_ne!(
        people.get("secret/old-web")["data"]["tls.crt"],
        theirs["data"]["tls.crt"]
    );
    let listed = people.occm(&["adopt"]);
    assert!(
        !listed.contains("old-web.lab"),
        "what is ours is no candidate: {listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_above_the_limit_are_told_in_the_status_of_their_issuers() {
    let Some(people) = People::new("polling", &[], &["--watched-inputs", "1"]).await else {
        return;
    };
    people.inputs();
    people.kubectl(&["apply", "-f", &people.example("issuer.yaml")]);
    people.told("issuers.occm.dev/lab-ca", "Ready", "IdentityReady");
    let polled = wait_for("the status tells it", || {
        let polled = people.get("issuers.occm.dev/lab-ca")["status"]["polledInputs"].clone();
        polled.is_object().then_some(polled)
    });
    let polled = polled.as_object().unwrap();
    assert_eq!(polled.len(), 1, "{polled:?}");
    assert!(
        polled
            .iter()
            .all(|(name, how)| name == "ConfigMap polling/lab-ca-roots"
                && how.as_str().unwrap().contains("every 30s")),
        "{polled:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_about_kubectl_do_what_it_says() {
    let Some(people) = People::new("documented", &[], &[]).await else {
        return;
    };
    people.foreign_tls("legacy-tls", "/CN=legacy.lab.example");
    people.file("roots.pem", &people.ca.root_pem());
    let lines = commands("kubectl.md");
    assert!(lines.len() >= 12, "{lines:?}");
    lines.iter().for_each(|line| people.shell(line));
    let left = people.kubectl(&["get", "certificates.occm.dev", "-o", "name"]);
    assert_eq!(
        left,
        "certificate.occm.dev/by-openssl\ncertificate.occm.dev/legacy-tls\n"
    );
    people.kubectl(&["get", "secret", "web-tls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_about_kubernetes_do_what_it_says() {
    let Some(people) = People::new("looked-at", &[], &[]).await else {
        return;
    };
    people.inputs();
    people.kubectl(&["apply", "-f", &people.example("issuer.yaml")]);
    let wish = people.example("certificate.yaml");
    let text = std::fs::read_to_string(&wish).unwrap();
    let wish = people.file("nrf.yaml", &text.replace("name: web}", "name: nrf-tls}"));
    people.kubectl(&["apply", "-f", wish.to_str().unwrap()]);
    // The manager runs already, as in a Pod.
    let manager = "occm serve --namespace occm --namespaces nrf,smf";
    let (serves, lines): (Vec<String>, Vec<String>) = commands("kubernetes.md")
        .into_iter()
        .partition(|line| line == manager);
    assert_eq!((serves.len(), lines.len()), (1, 5), "{lines:?}");
    lines.iter().for_each(|line| people.shell(line));
    wait_for("the renewal", || {
        let status = people.get("certificates.occm.dev/nrf-tls")["status"].take();
        (status["revision"] == 2).then_some(())
    });
}

/// The commands of a page, in their order.
fn commands(page: &str) -> Vec<String> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/user");
    let page = std::fs::read_to_string(pages.join(page)).unwrap();
    let blocks = page.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("\n```").unwrap().0);
    blocks.flat_map(str::lines).map(ToOwned::to_owned).collect()
}
