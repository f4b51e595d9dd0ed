//! The chart, installed by the real helm into a real API server, in both models: what its manager can do, and what not.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/mod.rs"]
mod support;
#[path = "support/wishes.rs"]
mod wishes;

use std::sync::Mutex;

use serde_json::Value;

use crate::cluster::chart::{Account, Container, Process, RELEASE, folder, model};
use crate::cluster::{Cluster, cluster};
use crate::support::Ca;
use crate::wishes::{certificate, issuer, ready, served};

/// Installs a release and starts its manager as its Deployment says.
fn install(cluster: &Cluster, home: &str, others: &[&str]) -> (Account, Process) {
    let chart = folder().to_string_lossy().into_owned();
    let mut arguments = vec![
        "install",
        RELEASE,
        &chart,
        "--namespace",
        home,
        "--create-namespace",
    ];
    let model = model(others);
    arguments.extend(model.iter().map(String::as_str));
    // One release alone can own the definitions; the other tests wait for it.
    static OWNED: Mutex<()> = Mutex::new(());
    let owned = OWNED.lock();
    let there = cluster.kubectl(&["get", "crd", "issuers.occm.dev"]).is_ok();
    arguments.extend(there.then_some("--set=crds.enabled=false"));
    cluster.helm(&arguments).expect("helm installs");
    served(cluster);
    drop(owned);
    let account = Account::of(cluster, home, RELEASE);
    let container = Container::of_release(cluster, home, "pod-1").with("OCCM_LISTEN_HEALTH", "127.0.0.1:0");
    let log = std::env::temp_dir().join(format!("occm-{home}-{}.log", std::process::id()));
    let process = container.start(&account, &log);
    (account, process)
}

fn namespaces(cluster: &Cluster, names: &[&str]) {
    for name in names {
        cluster.kubectl(&["create", "namespace", name]).unwrap();
    }
}

/// Whether the account may do this, as the API server says.
fn may(cluster: &Cluster, account: &Account, verb: &str, what: &str, scope: &[&str]) -> bool {
    let user = account.user();
    let mut arguments = vec!["auth", "can-i", verb, what, "--as", &user, "--quiet"];
    arguments.extend(scope);
    cluster.kubectl(&arguments).is_ok()
}

fn refused(cluster: &Cluster, account: &Account, arguments: &[&str]) {
    let answer = account.kubectl(cluster, arguments);
    assert!(
        answer.as_ref().is_err_and(|why| why.contains("Forbidden")),
        "{arguments:?}: {answer:?}"
    );
}

fn no_right_beyond(cluster: &Cluster, account: &Account, foreign: &str) {
    cluster
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "private",
            "--namespace",
            foreign,
            "--from-literal=a=b",
        ])
        .unwrap();
    refused(
        cluster,
        account,
        &["get", "secret", "private", "--namespace", foreign],
    );
    refused(cluster, account, &["get", "secrets", "--namespace", foreign]);
    refused(cluster, account, &["get", "secrets", "--all-namespaces"]);
    refused(
        cluster,
        account,
        &["get", "certificates.occm.dev", "--all-namespaces"],
    );
    refused(
        cluster,
        account,
        &["delete", "secret", "private", "--namespace", foreign],
    );
    refused(
        cluster,
        account,
        &["get", "secrets", "--namespace", "kube-system"],
    );
    refused(cluster, account, &["get", "nodes"]);
    refused(cluster, account, &["get", "namespaces"]);
    for (verb, what) in [
        ("create", "pods"),
        ("get", "pods"),
        ("create", "serviceaccounts/token"),
        ("create", "rolebindings"),
        ("update", "roles"),
        ("impersonate", "users"),
        ("get", "customresourcedefinitions"),
        ("patch", "issuers.occm.dev"),
        ("create", "certificates.occm.dev"),
        ("delete", "certificates.occm.dev"),
        ("update", "configmaps"),
    ] {
        let home = ["--namespace", account.namespace.as_str()];
        assert!(!may(cluster, account, verb, what, &home), "{verb} {what}");
        assert!(
            !may(cluster, account, verb, what, &["--all-namespaces"]),
            "{verb} {what} everywhere"
        );
    }
    let roles = [
        "get",
        "clusterroles,clusterrolebindings",
        "--selector=app.kubernetes.io/name=occm",
        "--output=name",
    ];
    assert_eq!(
        cluster.kubectl(&roles).unwrap(),
        "",
        "no right on the whole cluster"
    );
}

#[test]
fn the_dedicated_model_serves_its_own_namespace_and_can_do_nothing_elsewhere() {
    let Some(cluster) = cluster() else { return };
    let ca = Ca::start("{}");
    namespaces(cluster, &["foreign-d"]);
    let (account, manager) = install(cluster, "home-d", &[]);
    cluster.apply(&issuer(&ca, "home-d", &[]));
    cluster.apply(&certificate("home-d", "web", "home-d"));
    ready(cluster, "home-d", "web");
    cluster.apply(&issuer(&ca, "foreign-d", &[]));
    cluster.apply(&certificate("foreign-d", "web", "foreign-d"));
    no_right_beyond(cluster, &account, "foreign-d");
    manager.stop();
    assert_eq!(
        ca.issued_for("web").len(),
        1,
        "nothing is issued for a namespace that is not managed"
    );
    let untouched = cluster
        .kubectl(&[
            "get",
            "certificates.occm.dev",
            "web",
            "--namespace",
            "foreign-d",
            "--output=json",
        ])
        .unwrap();
    let untouched: Value = serde_json::from_str(&untouched).unwrap();
    assert!(untouched["status"].is_null(), "{untouched}");
}

#[test]
fn the_shared_model_serves_the_listed_namespaces_and_can_do_nothing_elsewhere() {
    let Some(cluster) = cluster() else { return };
    let ca = Ca::start("{}");
    namespaces(cluster, &["nrf", "smf", "foreign-s"]);
    let (account, manager) = install(cluster, "home-s", &["nrf", "smf"]);
    cluster.apply(&issuer(&ca, "home-s", &["nrf", "smf"]));
    for namespace in ["home-s", "nrf", "smf"] {
        cluster.apply(&certificate(namespace, "web", "home-s"));
    }
    for namespace in ["home-s", "nrf", "smf"] {
        ready(cluster, namespace, "web");
    }
    no_right_beyond(cluster, &account, "foreign-s");
    manager.stop();
    assert_eq!(ca.issued_for("web").len(), 3);
}
