//! What the manager costs on a real API server: one run that prints rates, requests, CPU, memory and times.
//!
//! `cargo xtask bench kube` calls it. Everything shares this machine: etcd, API server, controller manager, the CA (`occm ca`),
//! the manager (`occm serve` with the rights of the chart and its defaults), and this program, which creates, watches and
//! deletes. Nothing here judges: it prints, and with `--json FILE` it writes a flat map.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

#[path = "../tests/support/cluster.rs"]
mod cluster;
#[path = "../tests/support/life.rs"]
mod life;
#[path = "../tests/support/mod.rs"]
mod support;

#[path = "kube/floor.rs"]
mod floor;
#[path = "kube/measure.rs"]
mod measure;
#[path = "kube/seen.rs"]
mod seen;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::floor::Floor;
use crate::life::Bed;
use crate::measure::{Requests, Usage, percentile, rss_mib};
use crate::seen::Seen;
use crate::support::{Ca, certificate_yaml};

type Figures = BTreeMap<String, f64>;

/// Requests of this program at one time.
const AT_ONE_TIME: usize = 32;
/// Secrets that are deleted one by one.
const SINGLE: usize = 200;
/// Secrets that are deleted at once.
const MASS: usize = 1000;
/// Secrets that are not occm's, and their size in bytes.
const FOREIGN: (usize, usize) = (20_000, 2048);
/// How long is watched whether anything is written.
const IDLE: Duration = Duration::from_secs(60);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let counts: Vec<usize> = match option("--certificates") {
        Some(count) => vec![count.parse().expect("--certificates: a number")],
        None => vec![1_000, 10_000],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut figures = Figures::new();
    println!(
        "Kubernetes benchmark; everything shares this machine of {} cores",
        cores()
    );
    for count in counts {
        let measured = runtime.block_on(run(count));
        for (name, figure) in measured {
            figures.insert(format!("{name}_{count}"), figure);
            figures.insert(name, figure);
        }
    }
    if let Some(path) = option("--json").map(PathBuf::from) {
        std::fs::write(&path, serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
        println!("\nfigures written to {}", path.display());
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One run with so many certificates.
async fn run(count: usize) -> Figures {
    let namespace = format!("bench-{count}");
    println!("\n{count} certificates (EC P-256, signature, explicit confirmation, Events)");
    let mut bed = Bed::with(&namespace, &[], Ca::start("{}"), "")
        .await
        .expect("a control plane");
    bed.quiet = true;
    let mut figures = Figures::new();
    issuances(&mut bed, count, &mut figures).await;
    floor(&bed, &mut figures).await;
    idle(&bed, &mut figures).await;
    restart(&mut bed, count, &mut figures).await;
    single_repairs(&bed, count, &mut figures).await;
    mass_repair(&mut bed, count, &mut figures).await;
    foreign(&mut bed, &mut figures).await;
    figures
}

fn name(n: usize) -> String {
    format!("bench-{n:05}")
}

fn certificate(n: usize) -> DynamicObject {
    let yaml = certificate_yaml(&name(n), "");
    let value: Value = serde_saphyr::from_str(&yaml).unwrap();
    serde_json::from_value(value).unwrap()
}

/// Does something for each number, some at one time.
async fn each(count: usize, work: impl AsyncFn(usize)) {
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

fn say(what: &str, figure: f64, unit: &str) {
    println!("  {what:<52}{figure:>10.2} {unit}");
}

/// From the first create to the last Ready.
async fn issuances(bed: &mut Bed, count: usize, figures: &mut Figures) {
    bed.start();
    let ready = |found: &Value| support::condition(&found["status"], "Ready") == "True";
    bed.wait("is ready", "Issuer", "ca", ready).await;
    let seen = Seen::certificates(bed).await;
    let objects: Vec<DynamicObject> = (0..count).map(certificate).collect();
    let (usage, requests) = (Usage::of(bed), Requests::read(bed).await);
    let began = Instant::now();
    let api = bed.api(&bed.home, "Certificate");
    each(count, async |n| {
        api.create(&PostParams::default(), &objects[n]).await.unwrap();
    })
    .await;
    say("all are created after", began.elapsed().as_secs_f64(), "s");
    seen.count(count, Duration::from_secs(600)).await;
    let took = began.elapsed().as_secs_f64();
    // Events are sent in the background; their requests belong to the issuances.
    let mut made = Requests::read(bed).await.since(&requests);
    while made.of("POST events") < count as f64 && began.elapsed() < Duration::from_secs(900) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        made = Requests::read(bed).await.since(&requests);
    }
    let used = Usage::of(bed).since(&usage);
    let each_one = |figure: f64| figure / count as f64;
    say("issuances a second", count as f64 / took, "/s");
    figures.insert("kube_issuances_per_s".to_owned(), count as f64 / took);
    println!("  requests an issuance");
    for (what, number) in made.of_the_manager() {
        say(&format!("  {what}"), each_one(number), "");
    }
    let all: f64 = made.of_the_manager().map(|(_, number)| number).sum();
    say("  together", each_one(all), "");
    figures.insert("kube_requests_per_issuance".to_owned(), each_one(all));
    println!("  CPU an issuance");
    for (what, seconds) in [
        ("manager", used.manager),
        ("apiserver", used.apiserver),
        ("etcd", used.etcd),
        ("ca", used.ca),
    ] {
        say(&format!("  {what}"), each_one(seconds) * 1000.0, "ms");
        figures.insert(
            format!("kube_{what}_cpu_ms_per_issuance"),
            each_one(seconds) * 1000.0,
        );
    }
    let rss = rss_mib(bed.pid().unwrap());
    say("RSS of the manager", rss, "MiB");
    figures.insert("kube_rss_mib".to_owned(), rss);
    assert_eq!(bed.issued_in_all(), count + 1, "no certificate was issued twice");
}

/// The same writes without anybody who issues.
async fn floor(bed: &Bed, figures: &mut Figures) {
    let floor = Floor::of(bed, &name(0)).await;
    let times = |key: &str, floor: f64| figures.get(key).copied().unwrap_or_default() / floor;
    let rate = times("kube_issuances_per_s", floor.per_second);
    let cpu = times("kube_apiserver_cpu_ms_per_issuance", floor.apiserver_ms);
    say("five such writes and nothing else", floor.per_second, "/s");
    say("  issuances to them", rate, "");
    say("  CPU of the API server for them", floor.apiserver_ms, "ms");
    say("  its CPU for an issuance to that", cpu, "");
    figures.insert("kube_floor_per_s".to_owned(), floor.per_second);
    figures.insert("kube_floor_apiserver_cpu_ms".to_owned(), floor.apiserver_ms);
}

/// What is written in a minute in which nothing happens.
async fn idle(bed: &Bed, figures: &mut Figures) {
    let before = Requests::read(bed).await;
    let usage = Usage::of(bed);
    tokio::time::sleep(IDLE).await;
    let writes = Requests::read(bed).await.since(&before);
    let used = Usage::of(bed).since(&usage);
    let number = writes.written();
    say("writes in an idle minute, without the Lease", number, "");
    say("CPU of the manager in it", used.manager * 1000.0, "ms");
    figures.insert("kube_idle_writes".to_owned(), number);
    figures.insert("kube_idle_cpu_ms".to_owned(), used.manager * 1000.0);
}

/// From the start of a process to everything evaluated.
async fn restart(bed: &mut Bed, count: usize, figures: &mut Figures) {
    bed.kill();
    let before = Requests::read(bed).await;
    let began = Instant::now();
    bed.start();
    evaluated(bed).await;
    let took = began.elapsed().as_secs_f64();
    let writes = Requests::read(bed).await.since(&before);
    let number = writes.written();
    say("start to everything evaluated", took, "s");
    say("writes in it, without the Lease", number, "");
    let rss = rss_mib(bed.pid().unwrap());
    say("RSS after the start", rss, "MiB");
    figures.insert("kube_start_s".to_owned(), took);
    figures.insert("kube_start_rss_mib".to_owned(), rss);
    figures.insert("kube_start_writes".to_owned(), number);
    assert_eq!(bed.issued_in_all(), count + 1);
}

/// Waits until the manager has said that everything was looked at.
async fn evaluated(bed: &Bed) {
    cluster::until("everything is evaluated", async || {
        bed.logged("everything was looked at")
    })
    .await;
}

/// Single deletions: from the answer to DELETE until a watch sees the Secret back.
async fn single_repairs(bed: &Bed, count: usize, figures: &mut Figures) {
    let seen = Seen::outputs(bed).await;
    let secrets = bed.secrets();
    let mut took = Vec::new();
    let step = (count / SINGLE).max(1);
    for n in (0..count).step_by(step).take(SINGLE) {
        let name = format!("{}-tls", name(n));
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        let answered = Instant::now();
        let back = seen.back(&name).await;
        took.push(back.saturating_duration_since(answered).as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    for (part, key) in [(0.5, "kube_repair_p50_ms"), (0.99, "kube_repair_p99_ms")] {
        let figure = percentile(&took, part);
        say(
            &format!("repair of a deleted Secret, p{:.0}", part * 100.0),
            figure,
            "ms",
        );
        figures.insert(key.to_owned(), figure);
    }
}

/// A thousand at once, with the CA away. Deleting takes the API server longer than putting back, so the manager is stopped
/// meanwhile, and the time is taken from when it goes on and sees all of them gone.
async fn mass_repair(bed: &mut Bed, count: usize, figures: &mut Figures) {
    let number = MASS.min(count);
    bed.ca.pause();
    bed.signal("-STOP");
    let secrets = bed.secrets();
    let began = Instant::now();
    each(number, async |n| {
        let name = format!("{}-tls", name(n));
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
    })
    .await;
    say(
        &format!("{number} deleted in"),
        began.elapsed().as_secs_f64(),
        "s",
    );
    let seen = Seen::outputs(bed).await;
    let usage = Usage::of(bed);
    let began = Instant::now();
    bed.signal("-CONT");
    seen.count(number, Duration::from_secs(120)).await;
    let took = began.elapsed().as_secs_f64();
    bed.ca.resume();
    let used = Usage::of(bed).since(&usage);
    say("  all back after", took, "s");
    say("  CPU of the manager", used.manager, "s");
    say("  CPU of the API server", used.apiserver, "s");
    figures.insert("kube_mass_repair_s".to_owned(), took);
    assert_eq!(bed.issued_in_all(), count + 1);
}

/// Beside Secrets that are nobody's business.
async fn foreign(bed: &mut Bed, figures: &mut Figures) {
    let secrets = bed.secrets();
    let value = "x".repeat(FOREIGN.1);
    let objects: Vec<_> = (0..FOREIGN.0)
        .map(|n| {
            let object =
                json!({"metadata": {"name": format!("foreign-{n:05}")}, "stringData": {"value": value}});
            serde_json::from_value::<k8s_openapi::api::core::v1::Secret>(object).unwrap()
        })
        .collect();
    let objects = Arc::new(objects);
    each(FOREIGN.0, async |n| {
        secrets.create(&PostParams::default(), &objects[n]).await.unwrap();
    })
    .await;
    bed.kill();
    let began = Instant::now();
    bed.start();
    evaluated(bed).await;
    say(
        &format!("start beside {} foreign Secrets", FOREIGN.0),
        began.elapsed().as_secs_f64(),
        "s",
    );
    let rss = rss_mib(bed.pid().unwrap());
    say("RSS beside them", rss, "MiB");
    figures.insert("kube_foreign_start_s".to_owned(), began.elapsed().as_secs_f64());
    figures.insert("kube_foreign_rss_mib".to_owned(), rss);
}
