//! The life of a release with the real helm, API server and scheduler: what was issued outlives each step untouched.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kubelet.rs"]
mod kubelet;
#[path = "support/mod.rs"]
mod support;
#[path = "support/wishes.rs"]
mod wishes;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::chart::{Account, Container, Process, RELEASE, folder};
use crate::cluster::{Cluster, cluster_with};
use crate::kubelet::{run_test_pod, uids};
use crate::support::{Ca, wait_for};
use crate::wishes::{certificate_with, issuer, object, ready, revision, served};

/// The namespaces that the release manages.
const NAMESPACES: [&str; 2] = ["release", "tenant"];
const HOME: &str = NAMESPACES[0];

/// Everything that a step must leave as it is: output and record Secrets byte for byte, objects by what they are.
type Things = BTreeMap<String, Value>;

fn things(cluster: &Cluster) -> Things {
    let mut things = Things::new();
    for namespace in NAMESPACES {
        let text = cluster
            .kubectl(&[
                "get",
                "secrets,issuers.occm.dev,certificates.occm.dev",
                "--namespace",
                namespace,
                "--output=json",
            ])
            .unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        for mut thing in list["items"].as_array().unwrap().iter().cloned() {
            let name = format!("{} {namespace}/{}", thing["kind"], thing["metadata"]["name"]);
            if thing["type"] == "helm.sh/release.v1" {
                continue;
            }
            if thing["kind"] != "Secret" {
                // Defaults of a newer definition show in the spec; a contact with the CA may show in the status.
                let status = &thing["status"];
                thing = serde_json::json!({
                    "uid": thing["metadata"]["uid"], "revision": status["revision"], "serial": status["serialNumber"],
                    "notAfter": status["notAfter"], "identity": status["identity"]["serialNumber"],
                });
            }
            things.insert(name, thing);
        }
    }
    things
}

/// A release, and its manager as the process of a Pod.
struct Bed {
    cluster: &'static Cluster,
    dir: tempfile::TempDir,
    manager: Option<(Process, PathBuf)>,
}

impl Bed {
    fn new(cluster: &'static Cluster) -> Self {
        for namespace in NAMESPACES {
            cluster.kubectl(&["create", "namespace", namespace]).unwrap();
            // A Pod that asks for more than `restricted` allows is refused by the API server itself.
            let level = "pod-security.kubernetes.io/enforce=restricted";
            cluster
                .kubectl(&["label", "namespace", namespace, level])
                .unwrap();
        }
        Self {
            cluster,
            dir: tempfile::tempdir().unwrap(),
            manager: None,
        }
    }

    fn helm(&self, action: &str, chart: &Path, more: &[&str]) -> String {
        let chart = chart.to_string_lossy().into_owned();
        let mut arguments = vec![
            action,
            RELEASE,
            &chart,
            "--namespace",
            HOME,
            "--wait",
            "--timeout=60s",
        ];
        arguments.extend(["--set=model=shared", "--set=namespaces={tenant}"]);
        arguments.extend(more);
        self.cluster
            .helm(&arguments)
            .unwrap_or_else(|why| panic!("helm {action}: {why}"))
    }

    /// Starts what the kubelet would start for the first of `count` Pods, instead of what ran before.
    fn run(&mut self, count: usize) {
        self.stop();
        let uid = uids(self.cluster, HOME, count).remove(0);
        let account = Account::of(self.cluster, HOME, RELEASE);
        let container =
            Container::of_release(self.cluster, HOME, &uid).with("OCCM_LISTEN_HEALTH", "127.0.0.1:0");
        let log = self.dir.path().join(uid);
        self.manager = Some((container.start(&account, &log), log));
        wait_for("the manager is ready", || {
            let told = support::occm(&["probe", &format!("http://{}/readyz", self.health()?)]);
            (told.stdout == b"ok: manages\n").then_some(())
        });
    }

    fn stop(&mut self) {
        if let Some((process, _)) = self.manager.take() {
            process.stop();
        }
    }

    fn log(&self) -> String {
        let file = self.manager.as_ref().map(|(_, log)| log);
        file.and_then(|file| std::fs::read_to_string(file).ok())
            .unwrap_or_default()
    }

    /// Where the manager listens.
    fn health(&self) -> Option<String> {
        let log = self.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut told = lines.filter(|line| line["message"] == "health and metrics are served");
        Some(told.next_back()?["address"].as_str()?.to_owned())
    }

    /// Runs `helm test` against what listens at `health`.
    fn helm_test(&self, health: &str) -> Result<String, String> {
        std::thread::scope(|scope| {
            scope.spawn(|| run_test_pod(self.cluster, HOME, health));
            self.cluster
                .helm(&["test", RELEASE, "--namespace", HOME, "--timeout=60s"])
        })
    }

    /// Nothing changed and nothing was issued, though the manager has looked at everything.
    fn untouched(&self, what: &str, before: &Things, ca: &Ca, issued: usize) {
        let now = things(self.cluster);
        for (name, thing) in before {
            let there = now
                .get(name)
                .unwrap_or_else(|| panic!("after {what} {name} is gone"));
            assert_eq!(there, thing, "after {what} {name} differs");
        }
        assert_eq!(now.len(), before.len(), "after {what}: {:?}", now.keys());
        assert_eq!(ca.ledger().len(), issued, "after {what} something was issued");
    }

    /// A deleted output comes back with the same bytes: the manager works, and needs no CA for it.
    fn repairs(&self, namespace: &str, secret: &str) {
        let before = object(self.cluster, "secret", namespace, secret).unwrap();
        self.cluster
            .kubectl(&["delete", "secret", secret, "--namespace", namespace])
            .unwrap();
        let after = wait_for("the output is back", || {
            object(self.cluster, "secret", namespace, secret)
        });
        assert_eq!(after["data"], before["data"]);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- log of the manager\n{}",
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/v0")
}

/// The CA of the frozen state, at another place: tests must not change it.
fn frozen_ca(dir: &Path) -> Ca {
    for entry in std::fs::read_dir(frozen().join("ca")).unwrap() {
        let entry = entry.unwrap();
        let file = dir.join(entry.file_name());
        std::fs::copy(entry.path(), &file).unwrap();
        // A checkout does not keep it from others, and the CA insists on that.
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    Ca::start_at("127.0.0.1:0", "{}", Some(dir))
}

#[test]
fn certificates_and_records_outlive_every_step_of_a_release() {
    let Some(cluster) = cluster_with(&["--with", "scheduler,kwok"]) else {
        return;
    };
    let mut bed = Bed::new(cluster);
    from_install_to_reinstall(&mut bed);
    from_and_to_the_frozen_state(&mut bed);
}

fn from_install_to_reinstall(bed: &mut Bed) {
    let cluster = bed.cluster;
    let ca = Ca::start("{}");
    bed.helm("install", &folder(), &[]);
    served(cluster);
    bed.run(1);
    cluster.apply(&issuer(&ca, HOME, &["tenant"]));
    for namespace in NAMESPACES {
        cluster.apply(&certificate_with(namespace, "web", HOME, "  duration: 90d\n"));
    }
    for namespace in NAMESPACES {
        ready(cluster, namespace, "web");
    }
    let (before, issued) = (things(cluster), ca.ledger().len());

    let health = bed.health().unwrap();
    bed.helm_test(&health).expect("helm test succeeds");
    bed.untouched("helm test", &before, &ca, issued);

    bed.helm(
        "upgrade",
        &folder(),
        &["--set=replicas=2", "--set=log.level=debug"],
    );
    bed.run(2);
    bed.untouched("upgrade", &before, &ca, issued);
    let budget = object(cluster, "poddisruptionbudget", HOME, RELEASE);
    assert!(budget.is_some(), "two replicas have a budget");

    cluster
        .helm(&[
            "rollback",
            RELEASE,
            "1",
            "--namespace",
            HOME,
            "--wait",
            "--timeout=60s",
        ])
        .unwrap();
    bed.run(1);
    bed.untouched("rollback", &before, &ca, issued);

    cluster
        .helm(&["uninstall", RELEASE, "--namespace", HOME, "--wait"])
        .unwrap();
    bed.stop();
    served(cluster);
    bed.untouched("uninstall", &before, &ca, issued);
    let left = [
        "get",
        "deployments,pods,services,serviceaccounts,roles,rolebindings",
        "--all-namespaces",
    ];
    let left = cluster.kubectl(
        &[
            &left[..],
            &["--selector=app.kubernetes.io/name=occm", "--output=name"],
        ]
        .concat(),
    );
    assert_eq!(left.unwrap(), "", "everything else is gone");

    bed.helm("install", &folder(), &[]);
    bed.run(1);
    bed.untouched("reinstall", &before, &ca, issued);
    bed.repairs("tenant", "web-tls");
    assert_eq!(ca.ledger().len(), issued);

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    assert!(
        bed.helm_test(&nobody).is_err(),
        "helm test fails where nobody answers"
    );

    cluster
        .helm(&["uninstall", RELEASE, "--namespace", HOME, "--wait"])
        .unwrap();
    bed.stop();
    let kinds = "certificates.occm.dev,issuers.occm.dev,secrets,configmaps";
    for namespace in NAMESPACES {
        cluster
            .kubectl(&["delete", kinds, "--all", "--namespace", namespace])
            .unwrap();
    }
}

/// An earlier release with its definitions, objects and records, as they were then.
fn from_and_to_the_frozen_state(bed: &mut Bed) {
    let cluster = bed.cluster;
    let dir = tempfile::tempdir().unwrap();
    let ca = frozen_ca(dir.path());
    let issued = ca.ledger().len();
    cluster
        .kubectl(&["delete", "crd", "issuers.occm.dev", "certificates.occm.dev"])
        .unwrap();
    let chart = frozen().join("occm-0.0.9.tgz");
    bed.helm("install", &chart, &["--set=image.tag=0.1.0"]);
    served(cluster);
    let objects = std::fs::read_to_string(frozen().join("objects.yaml")).unwrap();
    cluster.apply(&objects.replace("ca.frozen.test:80", &ca.address));
    let status = frozen().join("status.yaml");
    let status = status.to_str().unwrap();
    let part = [
        "apply",
        "--server-side",
        "--subresource=status",
        "--field-manager=occm",
        "-f",
        status,
    ];
    cluster.kubectl(&part).unwrap();
    let spec = |name: &str| object(cluster, "certificates.occm.dev", HOME, name).unwrap()["spec"].take();
    assert!(spec("web")["purpose"].is_null(), "a default that has come since");
    bed.run(1);
    ready(cluster, HOME, "web");
    let before = things(cluster);
    bed.untouched("start on the frozen state", &before, &ca, issued);

    bed.helm("upgrade", &folder(), &[]);
    bed.run(1);
    wait_for("the new default shows", || {
        (!spec("web")["purpose"].is_null()).then_some(())
    });
    bed.untouched("upgrade of the frozen state", &before, &ca, issued);
    bed.repairs(HOME, "web-tls");
    assert_eq!(ca.ledger().len(), issued);

    // A renewal by the new release, and back.
    wishes::renew(cluster, HOME, "web", "1");
    revision(cluster, HOME, "web", 2);
    let (before, issued) = (things(cluster), issued + 1);
    assert_eq!(ca.ledger().len(), issued);
    cluster
        .helm(&[
            "rollback",
            RELEASE,
            "1",
            "--namespace",
            HOME,
            "--wait",
            "--timeout=60s",
        ])
        .unwrap();
    bed.run(1);
    bed.untouched("rollback to the frozen chart", &before, &ca, issued);
    bed.helm("upgrade", &folder(), &[]);
    bed.run(1);
    bed.untouched("upgrade once more", &before, &ca, issued);
    bed.stop();
}
