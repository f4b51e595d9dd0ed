//! Two replicas of the chart's Deployment as processes: one works, the other goes on when it cannot. The Lease lasts 15
//! seconds, as shipped.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/audit.rs"]
mod audit;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/mod.rs"]
mod support;
#[path = "support/void.rs"]
mod void;
#[path = "support/wishes.rs"]
mod wishes;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::audit::written_by;
use crate::cluster::chart::{Account, Container, Process, RELEASE, folder};
use crate::cluster::{Cluster, cluster_with};
use crate::support::{Ca, occm, wait_for};
use crate::void::Way;
use crate::wishes::{certificate_with, issuer, object, ready, renew, revision, served};

/// The Lease's duration, its renewal, and what a busy machine adds.
const TAKEOVER: Duration = Duration::from_secs(15 + 2 * 2 + 6);

/// A release with two replicas that both run, and a certificate; the first leads.
struct Bed {
    cluster: &'static Cluster,
    namespace: &'static str,
    ca: Ca,
    _dir: tempfile::TempDir,
    /// To the API server, for the first.
    way: Way,
    first: Pod,
    second: Pod,
}

struct Pod {
    uid: &'static str,
    account: Account,
    container: Container,
    log: PathBuf,
    process: Option<Process>,
}

impl Pod {
    fn start(&mut self) {
        self.process = Some(self.container.start(&self.account, &self.log));
    }

    fn signal(&self, name: &str) {
        self.process.as_ref().unwrap().signal(name);
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// What its port says at `/readyz`.
    fn readiness(&self) -> String {
        let address = wait_for("the address of the port", || {
            let log = std::fs::read_to_string(&self.log).ok()?;
            let lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut told = lines.filter(|line| line["message"] == "health and metrics are served");
            Some(told.next_back()?["address"].as_str()?.to_owned())
        });
        let told = occm(&["probe", &format!("http://{address}/readyz")]);
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }
}

impl Bed {
    /// `more`: environment of the first replica.
    fn new(namespace: &'static str, wish: &str, more: &[(&str, &str)]) -> Option<Self> {
        let arguments = audit::arguments("kube_replicas");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cluster = cluster_with(&arguments)?;
        install(cluster, namespace);
        let way = Way::to(cluster.text("server"));
        let dir = tempfile::tempdir().unwrap();
        let pod = |uid: &'static str, account| Pod {
            uid,
            account,
            container: Container::of_release(cluster, namespace, uid)
                .with("OCCM_LISTEN_HEALTH", "127.0.0.1:0"),
            log: dir.path().join(uid),
            process: None,
        };
        let mut first = pod(
            "uid-1",
            Account::of(cluster, namespace, RELEASE).through(cluster, &way.url),
        );
        let second = pod("uid-2", Account::of(cluster, namespace, RELEASE));
        for (name, value) in more {
            first.container = first.container.with(name, value);
        }
        let ca = Ca::start("{}");
        cluster.apply(&issuer(&ca, namespace, &[]));
        cluster.apply(&certificate_with(namespace, "web", namespace, wish));
        let mut bed = Self {
            cluster,
            namespace,
            ca,
            _dir: dir,
            way,
            first,
            second,
        };
        bed.first.start();
        ready(cluster, namespace, "web");
        assert_eq!(bed.holder(), "uid-1");
        bed.second.start();
        wait_for("the second waits and is ready", || {
            (bed.second.readiness() == "ok: waits for the Lease").then_some(())
        });
        assert_eq!(bed.first.readiness(), "ok: manages");
        Some(bed)
    }

    fn holder(&self) -> String {
        let lease = object(self.cluster, "lease", self.namespace, RELEASE);
        lease.map_or(String::new(), |lease| {
            lease["spec"]["holderIdentity"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    }

    /// Waits until the second holds the Lease, which must not take longer than it lasts.
    fn taken_over(&self, since: Instant) -> jiff::Timestamp {
        while self.holder() != self.second.uid {
            assert!(
                since.elapsed() < TAKEOVER,
                "the other goes on within the lease time"
            );
        }
        println!("{}: taken over after {:?}", self.namespace, since.elapsed());
        jiff::Timestamp::now()
    }

    /// The certificate is renewed once on demand, and by nobody twice.
    fn renewed(&self, to: u64) {
        revision(self.cluster, self.namespace, "web", to);
        let issued = self.ca.issued_for("web");
        assert_eq!(u64::try_from(issued.len()).unwrap(), to, "{issued:#?}");
    }

    /// Since then the first wrote nothing.
    fn first_wrote_nothing_since(&self, since: jiff::Timestamp) {
        let all = written_by(self.cluster, &self.first.account);
        assert!(
            all.iter().any(|one| one.resource == "secrets"),
            "the log tells of its work before"
        );
        let late: Vec<_> = all.iter().filter(|one| one.at > since).collect();
        assert!(late.is_empty(), "{late:#?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pod in [&self.first, &self.second] {
                let log = std::fs::read_to_string(&pod.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "--- {}\n{}",
                    pod.uid,
                    lines[lines.len().saturating_sub(25)..].join("\n")
                );
            }
        }
    }
}

fn install(cluster: &Cluster, namespace: &str) {
    static OWNED: Mutex<()> = Mutex::new(());
    let _owned = OWNED.lock();
    let chart = folder().to_string_lossy().into_owned();
    let mut arguments = vec![
        "install",
        RELEASE,
        &chart,
        "--namespace",
        namespace,
        "--create-namespace",
    ];
    arguments.push("--set=replicas=2");
    let there = cluster.kubectl(&["get", "crd", "issuers.occm.dev"]).is_ok();
    arguments.extend(there.then_some("--set=crds.enabled=false"));
    cluster.helm(&arguments).expect("helm installs");
    served(cluster);
}

/// All at one time: each mostly waits for a Lease to run out.
#[test]
fn whatever_befalls_the_leader_the_other_goes_on_and_nothing_is_issued_twice() {
    let scenes: [(&str, fn()); 6] = [
        (
            "a killed leader is followed within the lease time and nothing is issued twice",
            a_killed_leader_is_followed_within_the_lease_time_and_nothing_is_issued_twice,
        ),
        (
            "a leader killed amid an exchange leaves it to the other and the ledger shows one issuance",
            a_leader_killed_amid_an_exchange_leaves_it_to_the_other_and_the_ledger_shows_one_issuance,
        ),
        (
            "a leader that stood still writes nothing when it goes on",
            a_leader_that_stood_still_writes_nothing_when_it_goes_on,
        ),
        (
            "a leader that is cut off from the api server asks the ca for nothing and writes nothing",
            a_leader_that_is_cut_off_from_the_api_server_asks_the_ca_for_nothing_and_writes_nothing,
        ),
        (
            "a container killed and started again in its pod goes on at once",
            a_container_killed_and_started_again_in_its_pod_goes_on_at_once,
        ),
        (
            "a leader whose clock jumps issues nothing for it and the lease does not care",
            a_leader_whose_clock_jumps_issues_nothing_for_it_and_the_lease_does_not_care,
        ),
    ];
    let running = scenes.map(|(name, scene)| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(scene).unwrap()
    });
    let failed: Vec<&str> = running
        .into_iter()
        .zip(scenes)
        .filter_map(|(thread, (name, _))| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

const LONG: &str = "  duration: 90d\n";

fn a_killed_leader_is_followed_within_the_lease_time_and_nothing_is_issued_twice() {
    let Some(mut bed) = Bed::new("killed", LONG, &[]) else {
        return;
    };
    bed.first.kill();
    let killed = Instant::now();
    renew(bed.cluster, bed.namespace, "web", "1");
    bed.taken_over(killed);
    bed.renewed(2);
    // Started again, it waits for its turn.
    bed.first.start();
    renew(bed.cluster, bed.namespace, "web", "2");
    bed.renewed(3);
    assert_eq!(bed.holder(), bed.second.uid);
}

fn a_leader_killed_amid_an_exchange_leaves_it_to_the_other_and_the_ledger_shows_one_issuance() {
    let Some(mut bed) = Bed::new("amid", LONG, &[]) else {
        return;
    };
    // Issued, and the answer is on its way for longer than the takeover takes.
    bed.ca
        .arm(r#"{"fault":"delay","millis":60000,"request":"kur","times":1}"#);
    renew(bed.cluster, bed.namespace, "web", "1");
    wait_for("the certificate in the CA's ledger", || {
        (bed.ca.issued_for("web").len() == 2).then_some(())
    });
    bed.first.kill();
    bed.taken_over(Instant::now());
    bed.renewed(2);
}

fn a_leader_that_stood_still_writes_nothing_when_it_goes_on() {
    let Some(bed) = Bed::new("stopped", LONG, &[]) else {
        return;
    };
    bed.first.signal("-STOP");
    let stopped = Instant::now();
    renew(bed.cluster, bed.namespace, "web", "1");
    let taken = bed.taken_over(stopped);
    bed.renewed(2);
    bed.first.signal("-CONT");
    wait_for("the first knows that it waits", || {
        (bed.first.readiness() == "ok: waits for the Lease").then_some(())
    });
    renew(bed.cluster, bed.namespace, "web", "2");
    bed.renewed(3);
    bed.first_wrote_nothing_since(taken);
}

fn a_leader_that_is_cut_off_from_the_api_server_asks_the_ca_for_nothing_and_writes_nothing() {
    let Some(bed) = Bed::new("cut", LONG, &[]) else {
        return;
    };
    bed.way.cut();
    let cut = Instant::now();
    renew(bed.cluster, bed.namespace, "web", "1");
    let taken = bed.taken_over(cut);
    bed.renewed(2);
    bed.way.mend();
    wait_for("the first is in touch and waits", || {
        let log = std::fs::read_to_string(&bed.first.log).ok()?;
        let waits = log.contains("the Lease is lost; this process waits");
        (waits && bed.first.readiness() == "ok: waits for the Lease").then_some(())
    });
    renew(bed.cluster, bed.namespace, "web", "2");
    bed.renewed(3);
    bed.first_wrote_nothing_since(taken);
}

fn a_container_killed_and_started_again_in_its_pod_goes_on_at_once() {
    let Some(mut bed) = Bed::new("again", LONG, &[]) else {
        return;
    };
    bed.first.kill();
    let killed = Instant::now();
    renew(bed.cluster, bed.namespace, "web", "1");
    bed.first.start();
    bed.renewed(2);
    println!("goes on after {:?}", killed.elapsed());
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}: no wait for the end of the lease",
        killed.elapsed()
    );
    assert_eq!(bed.holder(), bed.first.uid);
}

/// A clock that is set while the process runs. Its monotonic clock goes on as a real one does.
fn set_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{offset}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn a_leader_whose_clock_jumps_issues_nothing_for_it_and_the_lease_does_not_care() {
    let Some(library) = std::env::var("OCCM_FAKETIME").ok() else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "OCCM_FAKETIME does not name libfaketime"
        );
        println!("skipped: OCCM_FAKETIME does not name libfaketime; run `cargo xtask test`");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    set_clock(&clock, "+0");
    let file = clock.to_str().unwrap();
    let fake = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    // Six hours later the certificate would be long over; six hours before it would not yet hold.
    let Some(mut bed) = Bed::new("jumps", "  duration: 4h\n", &fake) else {
        return;
    };
    for offset in ["+21600", "-21600"] {
        set_clock(&clock, offset);
        // Two terms of the Lease: the other sees it change all the time.
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            assert_ne!(bed.holder(), "", "the Lease is held");
        }
        let issued = bed.ca.issued_for("web");
        assert_eq!(
            issued.len(),
            1,
            "nothing is issued because a clock jumped: {issued:#?}"
        );
    }
    bed.first.kill();
    renew(bed.cluster, bed.namespace, "web", "1");
    if bed.holder() != bed.second.uid {
        bed.taken_over(Instant::now());
    }
    bed.renewed(2);
}
