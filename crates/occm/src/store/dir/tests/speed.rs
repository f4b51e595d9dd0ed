//! How fast it is: prints numbers, asserts nothing. `cargo test --release -p occm --lib speed -- --ignored --nocapture`

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::dir::DirStore;
use crate::store::dir::tests::support::{Host, Told, certificate_text, key};
use crate::store::suite::write;
use crate::store::{Change, Store, Subject};

/// Size of a usual record and of the parts of a usual output, in bytes.
const RECORD: [u8; 6000] = [b'r'; 6000];
const PART: [u8; 1500] = [b'p'; 1500];

/// Does `count` things, at most `at_once` at a time, and prints the rate.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    count: usize,
    at_once: usize,
    thing: impl Fn(usize) -> F,
) {
    let begun = Instant::now();
    let limit = Arc::new(tokio::sync::Semaphore::new(at_once));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let permit = limit.clone().acquire_owned().await.unwrap();
        let doing = thing(number);
        tasks.spawn(async move {
            doing.await;
            drop(permit);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}, {at_once} at once: {:.0}/s", count as f64 / seconds);
}

async fn issue(store: Arc<DirStore>, number: usize) {
    let name = format!("c{number}");
    let subject = Subject::Certificate(key(&name));
    let record = pki::Secret::from(&RECORD[..]);
    let version = store.write_record(&subject, &record, None).await.unwrap();
    let issued = pki::Secret::from(&RECORD[1..]);
    store
        .write_record(&subject, &issued, Some(version))
        .await
        .unwrap();
    let output = write(
        &name,
        &name,
        &[("tls.key", &PART), ("tls.crt", &PART), ("ca.crt", &PART)],
    );
    store.create_secret(&output).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: prints figures, judges nothing"]
async fn writes_of_an_issuance() {
    for at_once in [1, 16, 64] {
        let host = Host::new();
        let store = Arc::new(host.open());
        let mut told = Told::new(&*store);
        told.synced().await;
        rate(
            "issuances (2 records, 1 output)",
            200 * at_once.min(10),
            at_once,
            |number| issue(store.clone(), number),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: prints figures, judges nothing"]
async fn start_and_comparison_with_ten_thousand() {
    let host = Host::new();
    let store = Arc::new(host.open());
    rate("issuances", 10_000, 64, |number| issue(store.clone(), number)).await;
    drop(store);
    for number in 0..10_000 {
        let name = format!("c{number}");
        fs::write(
            host.path().join(format!("{name}.yaml")),
            certificate_text(&name, "x.example"),
        )
        .unwrap();
    }
    for what in ["first start, 10,000 new objects", "start, 10,000 known objects"] {
        let begun = Instant::now();
        let store = host.open();
        let mut told = Told::new(&store);
        told.synced().await;
        println!("{what}: {:?}; resident {} KiB", begun.elapsed(), resident());
    }
    let store = DirStore::open_blind(host.path()).unwrap();
    Told::new(&store).synced().await;
    let (before, begun) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!(
        "comparing 10,000 of everything: {:?} CPU in {:?}",
        cpu() - before,
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: prints figures, judges nothing"]
async fn noticing_a_deletion_and_putting_back() {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    let output = write(
        "web",
        "web",
        &[("tls.key", &PART), ("tls.crt", &PART), ("ca.crt", &PART)],
    );
    let (mut noticed, mut repaired) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        store.create_secret(&output).await.unwrap();
        told.until(|change| matches!(change, Change::Secret(_, Some(_))).then_some(()))
            .await;
        let begun = Instant::now();
        fs::remove_dir_all(host.secret("web")).unwrap();
        told.until(|change| matches!(change, Change::Secret(_, None)).then_some(()))
            .await;
        noticed.push(begun.elapsed());
        store.create_secret(&output).await.unwrap();
        repaired.push(begun.elapsed());
        let facts = store.read_secret(&key("web")).await.unwrap().unwrap().facts;
        store
            .delete_secret(&key("web"), &facts.uid, facts.version)
            .await
            .unwrap();
        told.until(|change| matches!(change, Change::Secret(_, None)).then_some(()))
            .await;
    }
    for (what, mut times) in [("noticed", noticed), ("put back", repaired)] {
        times.sort_unstable();
        println!(
            "{what}: p50 {:?}, p99 {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Processor time of this process.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = text
        .split_whitespace()
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: prints figures, judges nothing"]
async fn memory_of_ten_thousand_objects() {
    let host = Host::new();
    for number in 0..10_000 {
        let name = format!("c{number}");
        fs::write(
            host.path().join(format!("{name}.yaml")),
            certificate_text(&name, "x.example"),
        )
        .unwrap();
    }
    let before = resident();
    let (store, begun) = (host.open(), Instant::now());
    let mut told = Told::new(&store);
    told.synced().await;
    println!(
        "10,000 objects: {:?}, {} KiB more",
        begun.elapsed(),
        resident() - before
    );
}
