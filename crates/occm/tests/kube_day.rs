//! The day of an operator, once with each engine: nobody who uses what occm writes notices anything but a new serial number.

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
#[path = "support/tls.rs"]
mod tls;
#[path = "support/wishes.rs"]
mod wishes;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::chart::{Account, Container, Process, RELEASE, folder, model};
use crate::cluster::{Cluster, cluster};
use crate::support::{Ca, wait_for};
use crate::tls::Service;
use crate::wishes::{certificate_with, issuer_with, object, ready, renew, revision, served};

/// Life of a certificate that asks for none, which the server shows: long enough for the takeover, short enough to be
/// renewed in the test. The openssl command can ask for whole days only.
const POLICY: &str = r#"{"validitySeconds":90}"#;
/// What the others ask for.
const LONG: &str = "  duration: 90d\n";

/// A release, and the processes of its Pods.
struct Release {
    cluster: &'static Cluster,
    home: String,
    account: Account,
    dir: tempfile::TempDir,
    pods: Vec<Process>,
    started: usize,
}

impl Release {
    fn install(cluster: &'static Cluster, home: &str, others: &[&str], more: &[&str]) -> Self {
        static OWNED: Mutex<()> = Mutex::new(());
        let owned = OWNED.lock();
        helm(cluster, "install", home, others, more);
        served(cluster);
        drop(owned);
        Self {
            cluster,
            home: home.to_owned(),
            account: Account::of(cluster, home, RELEASE),
            dir: tempfile::tempdir().unwrap(),
            pods: Vec::new(),
            started: 0,
        }
    }

    /// Starts what the Deployment says now, as another Pod.
    fn start(&mut self) {
        self.started += 1;
        let uid = format!("{}-{}", self.home, self.started);
        let container = Container::of_release(self.cluster, &self.home, &uid)
            .with("OCCM_LISTEN_HEALTH", "127.0.0.1:0")
            .with("PATH", &std::env::var("PATH").unwrap());
        self.pods.push(container.start(&self.account, &self.log()));
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn holder(&self) -> String {
        let lease = object(self.cluster, "lease", &self.home, RELEASE);
        lease.map_or(String::new(), |lease| {
            lease["spec"]["holderIdentity"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    }

    fn held_by(&self, number: usize) {
        let uid = format!("{}-{number}", self.home);
        wait_for(&format!("{uid} holds the Lease"), || {
            (self.holder() == uid).then_some(())
        });
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- {}\n{}",
                self.home,
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

fn helm(cluster: &Cluster, action: &str, home: &str, others: &[&str], more: &[&str]) {
    let chart = folder().to_string_lossy().into_owned();
    let mut arguments = vec![action, RELEASE, &chart, "--namespace", home, "--set=replicas=2"];
    arguments.extend((action == "install").then_some("--create-namespace"));
    let model = model(others);
    arguments.extend(model.iter().map(String::as_str));
    arguments.extend(more);
    // One release alone can own the definitions; in these tests it is the first.
    let owned = cluster
        .kubectl(&[
            "get",
            "crd",
            "issuers.occm.dev",
            "--ignore-not-found",
            "--output=json",
        ])
        .unwrap();
    let owner: Value = serde_json::from_str(&owned).unwrap_or_default();
    let owner = owner["metadata"]["annotations"]["meta.helm.sh/release-namespace"].as_str();
    if owner.is_some_and(|owner| owner != home) {
        arguments.push("--set=crds.enabled=false");
    }
    cluster
        .helm(&arguments)
        .unwrap_or_else(|why| panic!("helm {action}: {why}"));
}

/// Ten Certificates in three namespaces, those of a shared release and that of a dedicated one.
fn day(cluster: &'static Cluster, engine: &str, more: &[&str]) {
    let lower = engine.to_lowercase();
    let [home, tenant, apart] = ["home", "tenant", "apart"].map(|name| format!("{lower}-{name}"));
    cluster.kubectl(&["create", "namespace", &tenant]).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut ca = Ca::start_at("127.0.0.1:0", POLICY, Some(state.path()));
    let spec = format!("  engine: {engine}\n");
    let mut shared = Release::install(cluster, &home, &[&tenant], more);
    let mut dedicated = Release::install(cluster, &apart, &[], more);
    let identity = |yaml: String| {
        yaml.replace(
            "{commonName: occm.test}",
            "{commonName: occm.test, duration: 90d}",
        )
    };
    cluster.apply(&identity(issuer_with(&ca, &home, &[&tenant], &spec)));
    cluster.apply(&identity(issuer_with(&ca, &apart, &[], &spec)));
    let wishes: Vec<(&str, &str, String)> = [(&home, &home, 3), (&tenant, &home, 4), (&apart, &apart, 3)]
        .iter()
        .flat_map(|(namespace, issuer, count)| {
            (0..*count).map(move |n| (namespace.as_str(), issuer.as_str(), format!("c{n}")))
        })
        .collect();
    assert_eq!(wishes.len(), 10);
    for (namespace, issuer, name) in &wishes {
        let is_shown = (*namespace, name.as_str()) == (tenant.as_str(), "c0");
        let life = if is_shown { "" } else { LONG };
        cluster.apply(&certificate_with(namespace, name, issuer, life));
    }
    shared.start();
    dedicated.start();
    for (namespace, _, name) in &wishes {
        ready(cluster, namespace, name);
    }
    let issued_first = Instant::now();
    shared.start();
    let serial = |status: &Value| status["serialNumber"].as_str().unwrap().to_owned();
    let service = Service::start(cluster, &tenant, "c0-tls", &ca.root_pem(), "c0.example");
    let first = serial(&ready(cluster, &tenant, "c0"));
    service.shows(&first);

    // Renewed on demand.
    renew(cluster, &tenant, "c0", "morning");
    let second = serial(&revision(cluster, &tenant, "c0", 2));
    service.shows(&second);

    // Deleted, then edited; each has the time between two reads to be put right.
    service.just_read();
    cluster
        .kubectl(&["delete", "secret", "c0-tls", "--namespace", &tenant])
        .unwrap();
    wait_for("the Secret is back", || {
        object(cluster, "secret", &tenant, "c0-tls")
    });
    service.just_read();
    let good = object(cluster, "secret", &tenant, "c0-tls").unwrap()["data"].take();
    let spoil = r#"{"data":{"tls.crt":"c3BvaWxlZA=="}}"#;
    cluster
        .kubectl(&["patch", "secret", "c0-tls", "--namespace", &tenant, "-p", spoil])
        .unwrap();
    wait_for("the Secret is right", || {
        let now = object(cluster, "secret", &tenant, "c0-tls")?;
        (now["data"] == good).then_some(())
    });
    assert_eq!(
        ca.issued_for("c0").len(),
        4,
        "the three first ones and one renewal: nothing for a repair"
    );

    // The CA goes away, a renewal is wanted, the CA comes back.
    let address = ca.address.clone();
    ca.stop();
    renew(cluster, &tenant, "c0", "noon");
    renew(cluster, &apart, "c1", "noon");
    wait_for("the renewal fails", || {
        let status = object(cluster, "certificates.occm.dev", &tenant, "c0")?["status"].take();
        (!status["lastFailure"].is_null() || support::condition(&status, "Issuing") == "False").then_some(())
    });
    let ca = Ca::start_at(&address, POLICY, Some(state.path()));
    let third = serial(&revision(cluster, &tenant, "c0", 3));
    service.shows(&third);
    revision(cluster, &apart, "c1", 2);

    // An upgrade: new Pods, then the old ones end, who leads last.
    helm(
        cluster,
        "upgrade",
        &home,
        &[&tenant],
        &[more, &["--set=log.level=debug"]].concat(),
    );
    shared.start();
    shared.start();
    for old in shared.pods.drain(..2).rev() {
        old.stop();
    }
    wait_for("a new Pod holds the Lease", || {
        [3, 4]
            .map(|n| format!("{home}-{n}"))
            .contains(&shared.holder())
            .then_some(())
    });

    // The leader is killed; what is due meanwhile is done by the other.
    let leads_first = shared.holder().ends_with("-3");
    let (leader, other) = if leads_first { (0, 4) } else { (1, 3) };
    shared.pods.remove(leader).kill();
    renew(cluster, &tenant, "c1", "evening");
    shared.held_by(other);
    revision(cluster, &tenant, "c1", 2);

    // The certificate is renewed in time by itself.
    let deadline = issued_first + Duration::from_secs(180);
    let by_itself = loop {
        let status = object(cluster, "certificates.occm.dev", &tenant, "c0").unwrap()["status"].take();
        if status["revision"].as_u64().is_some_and(|revision| revision > 3) {
            break serial(&status);
        }
        assert!(Instant::now() < deadline, "renewed in time: {status}");
    };
    service.shows(&by_itself);

    let serials = service.end();
    assert_eq!(
        serials[..4],
        [first, second, third, by_itself],
        "one new serial number at every renewal"
    );
    for (namespace, _, name) in &wishes {
        ready(cluster, namespace, name);
    }
    drop(ca);
}

#[test]
fn nobody_notices_anything_through_the_day_of_an_operator() {
    let Some(cluster) = cluster() else { return };
    let native = std::thread::Builder::new().name("Native".to_owned());
    let native = native.spawn(move || day(cluster, "Native", &[])).unwrap();
    let openssl = std::thread::Builder::new().name("OpenSSL".to_owned());
    let openssl = openssl
        .spawn(move || day(cluster, "OpenSSL", &["--set=openssl.enabled=true"]))
        .unwrap();
    let (native, openssl) = (native.join(), openssl.join());
    assert!(native.is_ok(), "with the engine Native");
    assert!(openssl.is_ok(), "with the engine OpenSSL");
}
