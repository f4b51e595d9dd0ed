//! What the manager asked for in all Kubernetes tests, compared with the rights that the chart gives it.
//!
//! The API servers of those tests log every request. `cargo xtask test` runs this afterwards and says where the logs are.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One thing that somebody may do, or did: API group, resource with its part, verb.
type Right = (String, String, String);

/// Name of the chart's ServiceAccount in tests.
const ACCOUNT: &str = "occm";
/// The same where people come from an OpenID Connect provider.
const WITH_OIDC: &str = "occm-oidc";
/// The manager's requests begin so, those of a person with kubectl do not.
const AGENT: &str = "occm/";
/// Fewer requests mean that the tests did not run.
const FEW: usize = 1_000;

/// Rights of the manager itself, with these values.
fn rights_of_the_chart(assets: &Path, values: &[&str]) -> BTreeSet<Right> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart");
    let rendered = Command::new(assets.join("helm"))
        .args(["template", ACCOUNT])
        .arg(chart)
        .args([
            "--namespace=home",
            "--set=model=shared,namespaces={other}",
            "--show-only=templates/rbac.yaml",
        ])
        .args(values)
        .output()
        .expect("helm runs");
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let text = String::from_utf8(rendered.stdout).unwrap();
    let objects = text
        .split("\n---\n")
        .filter(|document| document.contains("\nkind: Role\n"));
    let mut rights = BTreeSet::new();
    for object in objects {
        let role: Value = serde_saphyr::from_str(object).expect("YAML");
        for rule in role["rules"].as_array().unwrap() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        rights.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    rights
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().expect("a list");
    all.iter()
        .map(|one| one.as_str().expect("a text").to_owned())
        .collect()
}

/// What an account asked for as the manager: the right, whether it was for one namespace, and whether it was granted.
fn requests(log: &Path, account: &str) -> impl Iterator<Item = (Right, bool, bool, String)> {
    let lines = BufReader::new(std::fs::File::open(log).unwrap()).lines();
    lines.filter_map(|line| {
        // A killed API server leaves half a line.
        let event: Value = serde_json::from_str(&line.ok()?).ok()?;
        let user = event["user"]["username"]
            .as_str()?
            .strip_prefix("system:serviceaccount:")?;
        let agent = event["userAgent"].as_str().unwrap_or_default();
        if user.split(':').nth(1) != Some(account) || !agent.starts_with(AGENT) {
            return None;
        }
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = match object["subresource"].as_str() {
            Some(part) => format!("{}/{part}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        let right = (text(&object["apiGroup"]), resource, text(&event["verb"]));
        let granted = event["annotations"]["authorization.k8s.io/decision"] == "allow";
        Some((
            right,
            object["namespace"].is_string(),
            granted,
            text(&event["requestURI"]),
        ))
    })
}

/// Compares what an account asked for with what it is given; what is in `elsewhere` may be unused here.
fn compare(logs: &[PathBuf], account: &str, given: &BTreeSet<Right>, elsewhere: &BTreeSet<Right>) -> usize {
    let (mut used, mut count) = (BTreeSet::new(), 0);
    let mut beyond = BTreeSet::new();
    for (right, in_namespace, granted, uri) in logs.iter().flat_map(|log| requests(log, account)) {
        count += 1;
        if !in_namespace || !given.contains(&right) {
            beyond.insert(format!("{right:?} {uri}"));
        }
        if granted {
            used.insert(right);
        }
    }
    println!(
        "{account}: {count} requests in {} logs, {} rights used",
        logs.len(),
        used.len()
    );
    assert!(
        beyond.is_empty(),
        "the chart does not give these rights to {account}: {beyond:#?}"
    );
    let unused: BTreeSet<_> = given
        .difference(&used)
        .filter(|right| !elsewhere.contains(*right))
        .collect();
    assert!(
        unused.is_empty(),
        "nothing ever asks for these rights of {account}, so they must go: {unused:#?}"
    );
    count
}

#[test]
fn the_chart_gives_every_right_that_is_asked_for_and_none_that_is_not() {
    let (Some(folder), Some(assets)) = (
        std::env::var_os("OCCM_AUDIT"),
        std::env::var_os("KUBEBUILDER_ASSETS"),
    ) else {
        println!("skipped: OCCM_AUDIT names no folder of audit logs; run `cargo xtask test`");
        return;
    };
    let assets = PathBuf::from(assets);
    // The API alone needs nothing more: people come with their own rights.
    let given = rights_of_the_chart(&assets, &["--set=api.enabled=true"]);
    assert_eq!(given, rights_of_the_chart(&assets, &[]));
    let with_oidc = rights_of_the_chart(
        &assets,
        &[
            "--set=api.enabled=true,api.externalUrl=https://x.example,api.oidc.issuer=https://y.example,api.oidc.clientId=occm",
        ],
    );
    let logs: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let count = compare(&logs, ACCOUNT, &given, &BTreeSet::new());
    assert!(
        count >= FEW,
        "{count} requests in {logs:?}: the tests did not run"
    );
    assert!(with_oidc.len() > given.len());
    compare(&logs, WITH_OIDC, &with_oidc, &given);
}
