//! How fast the Kubernetes store writes what issuances need, and what that costs. Prints; asserts little.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/bad.rs"]
mod bad;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/told.rs"]
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use occm::model::certificate::CertificateStatus;
use occm::model::object::{Kind, ObjectKey};
use occm::model::reason::Reason;
use occm::store::kube::KubeStore;
use occm::store::{Change, Event, Severity, Status, Store, Subject};

use crate::cluster::{Cluster, cluster, until};
use crate::told::{Told, write};

const NAMESPACE: &str = "speed";
const AT_ONE_TIME: usize = 64;

/// Processor time that a process has used, in milliseconds.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn each(count: usize, work: impl AsyncFn(usize) + Send + Sync) {
    let next = AtomicUsize::new(0);
    let worker = async || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return;
            }
            work(n).await;
        }
    };
    futures::future::join_all((0..AT_ONE_TIME).map(|_| worker())).await;
}

/// The writes of one issuance, in their order.
async fn issue(store: &KubeStore, n: usize) {
    let wish = ObjectKey::new(NAMESPACE, format!("c{n}"));
    let subject = Subject::Certificate(wish.clone());
    let (record, part) = (pki::Secret::new(vec![b'r'; 6000]), "p".repeat(1500));
    let first = store.write_record(&subject, &record, None).await.unwrap();
    store.write_record(&subject, &record, Some(first)).await.unwrap();
    let data = [
        ("tls.key", part.as_str()),
        ("tls.crt", part.as_str()),
        ("ca.crt", part.as_str()),
    ];
    let output = ObjectKey::new(NAMESPACE, format!("out{n}"));
    store
        .create_secret(&write(&output, &wish.name, &data))
        .await
        .unwrap();
    let status = CertificateStatus {
        revision: Some(1),
        serial_number: Some("ab".repeat(16)),
        ..Default::default()
    };
    store
        .write_status(&wish, &Status::Certificate(Box::new(status)))
        .await
        .unwrap();
    let (kind, severity, reason) = (Kind::Certificate, Severity::Normal, Reason::Issued);
    let message = format!("certificate {n} was issued");
    store
        .emit(&Event {
            kind,
            object: wish,
            uid: None,
            severity,
            reason,
            message,
            time: Timestamp::now(),
        })
        .await;
}

async fn wishes(cluster: &Cluster, count: usize) {
    let resource = kube::api::ApiResource {
        group: "occm.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "occm.dev/v1alpha1".to_owned(),
        kind: "Certificate".to_owned(),
        plural: "certificates".to_owned(),
    };
    let api: kube::Api<kube::api::DynamicObject> =
        kube::Api::namespaced_with(cluster.client().await, NAMESPACE, &resource);
    each(count, async |n| {
        let object = serde_json::from_value(bad::good("Certificate", &format!("c{n}"))).unwrap();
        api.create(&Default::default(), &object).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: thousands of writes"]
async fn issuances_a_second_and_what_they_cost() {
    let Some(cluster) = cluster() else { return };
    cluster.install(occm::crd::crds()).await;
    cluster.namespace(NAMESPACE).await;
    let count = std::env::var("OCCM_COUNT").map_or(2000, |count| count.parse().unwrap());
    wishes(cluster, count).await;
    let store = Arc::new(cluster.store(&[NAMESPACE]).await);
    let mut told = Told::new(store.as_ref());
    told.list().await;
    let reading = tokio::spawn(async move {
        let mut records = 0;
        while records < 2 * count {
            if let Change::Record(_, Some(_)) = told.next().await {
                records += 1;
            }
        }
    });
    let (server, us) = (cluster.pid("apiserver"), std::process::id());
    let (before, calls, began) = (
        (cpu(server), cpu(us), cpu(cluster.pid("etcd"))),
        store.calls(),
        Instant::now(),
    );
    each(count, async |n| issue(&store, n).await).await;
    // Events are sent in the background.
    until("all Events are sent", async || {
        store.calls() - calls >= 5 * count as u64
    })
    .await;
    let took = began.elapsed();
    let per = |now: u64, before: u64| (now - before) as f64 / count as f64;
    println!(
        "{count} issuances in {took:.2?}: {:.0}/s; requests {:.2}, CPU ms each: API server {:.2}, etcd {:.2}, store {:.2}; dropped Events {}",
        count as f64 / took.as_secs_f64(),
        (store.calls() - calls) as f64 / count as f64,
        per(cpu(server), before.0),
        per(cpu(cluster.pid("etcd")), before.2),
        per(cpu(us), before.1),
        store.dropped_events(),
    );
    reading.abort();

    let resident = resident_mib(us);
    let began = Instant::now();
    let again = cluster.store(&[NAMESPACE]).await;
    let told = Told::new(&again).list().await;
    println!(
        "started with {count}: {:.2?}, {} changes, {resident} MiB before",
        began.elapsed(),
        told.len()
    );
}
