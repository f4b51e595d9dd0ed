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

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

use crate::cluster::chart::{Account, Container, Process, RELEASE, folder, model};
use crate::cluster::{Cluster, cluster};
use crate::support::Ca;
use crate::wishes::{certificate, issuer, ready, served};

/// One release alone can own the definitions; the other tests wait for it.
static OWNED: Mutex<()> = Mutex::new(());

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

/// An administrator who may not make Roles or definitions has somebody else apply what the notes print.
#[test]
fn without_rights_on_rbac_and_definitions_the_chart_says_what_an_administrator_applies() {
    let Some(cluster) = cluster() else { return };
    let ca = Ca::start("{}");
    namespaces(cluster, &["home-n", "pcf"]);
    // A person with the built-in role `admin` in one namespace, but for what concerns RBAC.
    cluster
        .kubectl(&["create", "serviceaccount", "tenant", "--namespace=home-n"])
        .unwrap();
    let role = ["create", "role", "tenant", "--namespace=home-n", "--verb=*"];
    let what = "--resource=deployments.apps,secrets,configmaps,services,serviceaccounts,pods,poddisruptionbudgets.policy";
    cluster.kubectl(&[&role[..], &[what]].concat()).unwrap();
    let binding = [
        "create",
        "rolebinding",
        "tenant",
        "--role=tenant",
        "--serviceaccount=home-n:tenant",
    ];
    cluster
        .kubectl(&[&binding[..], &["--namespace=home-n"]].concat())
        .unwrap();
    let tenant = Account::of(cluster, "home-n", "tenant");
    {
        // Those of another test's release, or those that the administrator applies.
        let _owned = OWNED.lock();
        if cluster.kubectl(&["get", "crd", "issuers.occm.dev"]).is_err() {
            let file = folder().join("files/crds.yaml");
            cluster.apply(&std::fs::read_to_string(file).unwrap());
        }
        served(cluster);
    }
    let chart = folder().to_string_lossy().into_owned();
    let mut arguments = vec!["install", RELEASE, &chart, "--namespace=home-n"];
    let model = model(&["pcf"]);
    arguments.extend(model.iter().map(String::as_str));
    let kubeconfig = tenant.kubeconfig().to_string_lossy().into_owned();
    let whole = cluster.helm_as(&kubeconfig, &arguments);
    assert!(
        whole.is_err_and(|why| why.contains("forbidden")),
        "this person may not make everything"
    );
    let _ = cluster.helm(&["uninstall", RELEASE, "--namespace=home-n"]);
    arguments.extend(["--set=rbac.create=false", "--set=crds.enabled=false"]);
    let notes = cluster
        .helm_as(&kubeconfig, &arguments)
        .expect("a namespace is enough");

    let account = Account::of(cluster, "home-n", RELEASE);
    refused(cluster, &account, &["get", "secrets", "--namespace=pcf"]);
    let (_, manifests) = notes
        .split_once("occm can do nothing:\n")
        .expect("the notes print the Roles");
    cluster.apply(manifests);
    let container =
        Container::of_release(cluster, "home-n", "pod-1").with("OCCM_LISTEN_HEALTH", "127.0.0.1:0");
    let log = tempfile::NamedTempFile::new().unwrap();
    let manager = container.start(&account, log.path());
    cluster.apply(&issuer(&ca, "home-n", &["pcf"]));
    cluster.apply(&certificate("pcf", "web", "home-n"));
    ready(cluster, "pcf", "web");
    manager.stop();

    // They are those that the chart would have made.
    let mut arguments = vec![
        "template",
        RELEASE,
        &chart,
        "--namespace=home-n",
        "--show-only=templates/rbac.yaml",
        "--show-only=templates/roles.yaml",
    ];
    arguments.extend(model.iter().map(String::as_str));
    let rendered = cluster.helm(&arguments).unwrap();
    // Helm puts them in an order of its own.
    let plain = |text: &str| -> BTreeSet<String> {
        let objects = text.split("---\n").map(|object| {
            let lines = object.lines().map(str::trim_end);
            let told = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            told.collect::<Vec<_>>().join("\n")
        });
        objects.filter(|object| !object.is_empty()).collect()
    };
    assert_eq!(plain(manifests), plain(&rendered));
}

/// Wrong values and the path that the refusal names.
const WRONG: [(&str, &str); 41] = [
    ("--set=model=everywhere", "/model"),
    ("--set=model=shared", "/namespaces"),
    ("--set=namespaces={nrf}", "/namespaces"),
    ("--set=model=shared,namespaces={nrf,Not_A_Name}", "/namespaces/1"),
    ("--set=model=shared,namespaces={nrf,nrf}", "/namespaces"),
    ("--set=replicas=-1", "/replicas"),
    ("--set=replicas=9", "/replicas"),
    ("--set=replicas=two", "/replicas"),
    ("--set=image.tag=latest", "/image/tag"),
    ("--set=image.digest=sha256:short", "/image/digest"),
    ("--set=image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("--set=image.repositry=typo", "/image"),
    ("--set=nonsense=1", "nonsense"),
    ("--set=openssl.enabled=perhaps", "/openssl/enabled"),
    ("--set=openssl.memory=lots", "/openssl/memory"),
    ("--set=crds.enabled=perhaps", "/crds/enabled"),
    ("--set=crds.keep=7", "/crds/keep"),
    ("--set=rbac.create=yes", "/rbac/create"),
    ("--set=serviceAccount.name=No_Name", "/serviceAccount/name"),
    ("--set=lease.name=No_Name", "/lease/name"),
    ("--set=log.format=xml", "/log/format"),
    ("--set=log.level=very loud", "/log/level"),
    ("--set=health.port=80", "/health/port"),
    ("--set=health.address=localhost", "/health/address"),
    ("--set=metrics.service.enabled=on", "/metrics/service/enabled"),
    ("--set=resources.limits.memory=much", "/resources/limits/memory"),
    ("--set=resources.limits.gpu=1", "/resources/limits"),
    (
        "--set=terminationGracePeriodSeconds=0",
        "/terminationGracePeriodSeconds",
    ),
    ("--set=extraEnv[0].value=x", "/extraEnv/0"),
    ("--set=api.enabled=perhaps", "/api/enabled"),
    ("--set=api.port=443", "/api/port"),
    ("--set=api.address=everywhere", "/api/address"),
    ("--set=api.service.type=ExternalName", "/api/service/type"),
    ("--set=api.tls.secretName=No_Name", "/api/tls/secretName"),
    ("--set=api.idleTimeout=soon", "/api/idleTimeout"),
    ("--set=api.requestsPerSecond=0", "/api/requestsPerSecond"),
    (
        "--set=api.oidc.issuer=https://idp.example,api.externalUrl=https://occm.example",
        "/api/oidc/clientId",
    ),
    (
        "--set=api.oidc.issuer=https://idp.example,api.oidc.clientId=occm",
        "/api/externalUrl",
    ),
    (
        "--set=roles.view[0].kind=Robot,roles.view[0].name=x",
        "/roles/view/0/kind",
    ),
    (
        "--set=roles.edit[0].kind=ServiceAccount,roles.edit[0].name=x",
        "/roles/edit/0",
    ),
    (
        "--set=roles.create=false,roles.admin[0].kind=User,roles.admin[0].name=x",
        "/roles/admin",
    ),
];

#[test]
fn wrong_values_are_refused_with_their_path() {
    let Some(cluster) = cluster() else { return };
    let chart = folder().to_string_lossy().into_owned();
    for (wrong, path) in WRONG {
        let answer = cluster.helm(&["template", RELEASE, &chart, wrong]);
        let why = answer.expect_err(wrong);
        let path = if path.starts_with('/') {
            format!("at '{path}'")
        } else {
            path.to_owned()
        };
        assert!(why.contains(&path), "{wrong}: {why}");
    }
}

#[test]
fn every_object_of_a_release_is_taken_by_the_api_server_whatever_is_chosen() {
    let Some(cluster) = cluster() else { return };
    let chart = folder().to_string_lossy().into_owned();
    namespaces(cluster, &["dry", "nrf-dry"]);
    let cases: [&[&str]; 6] = [
        &[],
        &["--set=model=shared,namespaces={nrf-dry},replicas=2"],
        &[
            "--set=openssl.enabled=true,image.registry=registry.example/telco,image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123",
        ],
        &[
            "--set=serviceAccount.create=false,serviceAccount.name=mine,rbac.create=false,crds.enabled=false",
            "--set=commonLabels.team=core,podAnnotations.a=b,podLabels.c=d,nodeSelector.e=f,priorityClassName=high",
            "--set=extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy.example:3128,health.address=[::]",
        ],
        &[
            "--set=api.enabled=true,api.service.type=NodePort,api.tls.enabled=false,api.banner=for you only,openssl.enabled=true",
            "--set=roles.view[0].kind=ServiceAccount,roles.view[0].name=x,roles.view[0].namespace=y",
        ],
        &[
            "--set=api.enabled=true,api.externalUrl=https://occm.example:8443,api.oidc.issuer=https://idp.example,api.oidc.clientId=occm",
            "--set=api.oidc.clientSecretName=oidc-client,api.oidc.caConfigMapName=roots,api.oidc.scopes={openid,groups}",
            "--set=model=shared,namespaces={nrf-dry},roles.admin[0].kind=Group,roles.admin[0].name=oidc:admins",
        ],
    ];
    for case in cases {
        let rendered = cluster
            .helm(&[&["template", RELEASE, &chart, "--namespace=dry"], case].concat())
            .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rendered).unwrap();
        let path = file.path().to_str().unwrap();
        let check = [
            "apply",
            "--dry-run=server",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "-f",
            path,
        ];
        cluster
            .kubectl(&check)
            .unwrap_or_else(|why| panic!("{case:?}: {why}"));
    }
    let image = |values: &str| {
        let rendered = cluster.helm(&["template", RELEASE, &chart, values]).unwrap();
        let line = rendered
            .lines()
            .find_map(|line| line.trim().strip_prefix("image: "))
            .unwrap();
        line.to_owned()
    };
    assert_eq!(
        image("--set=image.registry=r.example/x"),
        "r.example/x/occm:0.1.0"
    );
    assert_eq!(
        image("--set=openssl.enabled=true,image.tag=1.2"),
        "occm-openssl:1.2"
    );
}
