//! The manager is killed (SIGKILL) after each step of an issuance and of a renewal and while it waits for an answer,
//! against each way in which CAs answer a repeated request.
//!
//! A step is a rename (every durable write of the directory store ends with one), a connection, a request that left or
//! an answer that came. `strace` tells of each and holds the thread for a moment; in that moment the process is killed.
//!
//! ```text
//!   n = 1, 2, 3 ... until a run gets through
//!     a CA and a directory of their own ─► killed after step n ─► started again ─► good output, CA's ledger judged
//! ```

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use support::{BIN, Ca, Host, certificate_yaml, condition, judge, occm, wait_for};

/// More steps than any exchange has: the loop must end by itself.
const TOO_MANY: usize = 120;
/// Runs at one time within a test; most of their time they wait.
const RUNS: usize = 3;
/// How long `strace` holds a thread after a step.
const HOLD: &str = "60000";
const STEPS: &str = "?renameat,renameat2,connect,sendto,sendmsg,writev,recvfrom,recvmsg";

/// Says why nothing can be tested here; in CI that is a failure.
fn strace_is_missing() -> bool {
    let works = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        let why = "strace cannot be run: install the Debian package strace and allow ptrace (CAP_SYS_PTRACE in containers)";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
    }
    !works
}

/// Runs the manager until `stop` says so of a step, then kills it and gives the step. `None` if `done` came first.
fn run_until(
    host: &Host,
    mut stop: impl FnMut(&str) -> bool + Send,
    done: impl Fn() -> bool,
) -> Option<String> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&host.log)
        .unwrap();
    let mut strace = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-s", "8"])
        .args(["-o", "/dev/stdout", "-e", &format!("trace={STEPS}")])
        .args(["-e", &format!("inject={STEPS}:delay_exit={HOLD}"), BIN])
        .args(["--log-level", "trace", "serve", "--store"])
        .arg(host.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let lines = BufReader::new(strace.stdout.take().unwrap()).lines();
    let manager = AtomicUsize::new(0);
    let (killed, seen) = (Mutex::new(None), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for line in lines.map_while(Result::ok) {
                let Some((thread, step)) = line.split_once(' ') else {
                    continue;
                };
                let Ok(thread) = thread.parse::<usize>() else {
                    continue;
                };
                manager.store(thread, Ordering::SeqCst);
                if !is_step(step) {
                    continue;
                }
                seen.fetch_add(1, Ordering::SeqCst);
                let mut killed = killed.lock().unwrap();
                if killed.is_none() && stop(step) {
                    kill(thread);
                    *killed = Some(step.to_owned());
                }
            }
        });
        let deadline = Instant::now() + support::PATIENCE;
        let mut quiet = (0, Instant::now());
        while !reader.is_finished() {
            assert!(Instant::now() < deadline, "the run does not end");
            let now = seen.load(Ordering::SeqCst);
            if now != quiet.0 {
                quiet = (now, Instant::now());
            }
            // Through, and a while nothing more happens: the end of the loop.
            if done() && quiet.1.elapsed() > Duration::from_millis(500) {
                kill(manager.load(Ordering::SeqCst));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    strace.wait().unwrap();
    killed.into_inner().unwrap()
}

/// A finished system call that did something.
fn is_step(line: &str) -> bool {
    line.contains(" = ") && (!line.contains(" = -1 ") || line.contains("EINPROGRESS"))
}

/// SIGKILL to the process that a thread belongs to.
fn kill(thread: usize) {
    let pid = Pid::from_raw(i32::try_from(thread).unwrap()).expect("a process");
    let _ = kill_process(pid, Signal::KILL);
}

/// Goes through the steps, some at a time, until a run gets through. Gives the number of kills.
fn for_each_step(run: impl Fn(usize) -> Option<String> + Sync) -> usize {
    let (next, through) = (AtomicUsize::new(1), AtomicBool::new(false));
    let kills = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..RUNS)
            .map(|_| {
                scope.spawn(|| {
                    while !through.load(Ordering::SeqCst) {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        assert!(n < TOO_MANY, "the exchange has more than {TOO_MANY} steps");
                        match run(n) {
                            Some(step) => {
                                kills.fetch_add(1, Ordering::SeqCst);
                                println!("killed after step {n}: {step}");
                            }
                            None => through.store(true, Ordering::SeqCst),
                        }
                    }
                })
            })
            .collect();
        // A failure of one stops the others after their run.
        for worker in workers {
            if let Err(panic) = worker.join() {
                through.store(true, Ordering::SeqCst);
                std::panic::resume_unwind(panic);
            }
        }
    });
    kills.into_inner()
}

fn nth(n: usize) -> impl FnMut(&str) -> bool + Send {
    let mut count = 0;
    move |_| {
        count += 1;
        count == n
    }
}

fn policy(repeat: &str) -> String {
    json!({ "repeat": repeat }).to_string()
}

fn host_with_wish(ca: &Ca) -> Host {
    let host = Host::with_issuer(ca, "");
    host.write("web.yaml", &certificate_yaml("web", ""));
    host
}

/// A directory with a certificate in use and a request for its renewal; nothing runs.
fn host_before_renewal(ca: &Ca) -> Host {
    let mut host = host_with_wish(ca);
    host.start();
    host.wait_ready_file("Certificate", "web");
    host.kill();
    ask_for_renewal(&host);
    host
}

fn ask_for_renewal(host: &Host) {
    let asked = occm(&["renew", "web", "--store", host.path().to_str().unwrap()]);
    assert!(
        asked.status.success(),
        "{}",
        String::from_utf8_lossy(&asked.stderr)
    );
}

/// In use with at least this revision.
fn in_use(host: &Host, revision: u64) -> bool {
    let status = host.status_file("Certificate", "web");
    status.contains("- type: Ready\n  status: \"True\"")
        && status
            .lines()
            .filter_map(|line| line.strip_prefix("revision: "))
            .any(|found| found.parse::<u64>().is_ok_and(|found| found >= revision))
}

/// Starts the manager again and waits for the end: a good output in use, and the CA's ledger in order.
fn recovers(host: &mut Host, ca: &Ca, revision: u64, what: &str, most_unused: usize) {
    host.start();
    wait_for(&format!("a good output after {what}"), || {
        in_use(host, revision).then_some(())
    });
    judge(host, "web-tls", ca);
    ledger_is_in_order(host, &ca.ledger(), what, most_unused);
    host.kill();
}

/// At most one certificate of a subject is unused, and it is counted.
fn ledger_is_in_order(host: &Host, ledger: &[Value], what: &str, most_unused: usize) {
    let output = occm(&["status", "-o", "json", "--store", host.path().to_str().unwrap()]);
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let web = &listing["certificates"][0]["status"];
    let ca = &listing["issuers"][0]["status"];
    assert_eq!(condition(web, "Ready"), "True", "{what}: {web}");
    let history = web["history"].as_array().unwrap().iter();
    let serials: Vec<&str> = history
        .filter_map(|entry| entry["serialNumber"].as_str())
        .collect();
    let identity = ca["identity"]["serialNumber"].as_str().into_iter().collect();
    for (name, used, status) in [("CN=web.example", serials, web), ("CN=occm.test", identity, ca)] {
        let count = |field: &str| usize::try_from(status[field].as_u64().unwrap_or(0)).unwrap();
        let counted = count("possibleOrphans") + count("orphans");
        let (used, unused): (Vec<&Value>, Vec<&Value>) = ledger
            .iter()
            .filter(|entry| entry["subject"] == name)
            .partition(|entry| used.contains(&entry["serial"].as_str().unwrap()));
        let told = format!("{what}, {name}: used {used:?}, unused {unused:?}, status {status}");
        let confirmed = used.iter().all(|entry| entry["state"]["is"] == "confirmed");
        assert!(confirmed && !used.is_empty(), "not confirmed: {told}");
        assert!(unused.len() <= most_unused, "too many: {told}");
        assert!(unused.len() <= counted, "not counted: {told}");
        assert!(counted <= most_unused, "counted twice: {told}");
    }
}

/// A CA that answers a repeat with the same bytes leaves nothing unused.
fn most_unused(repeat: &str) -> usize {
    usize::from(repeat != "same-answer")
}

fn issuance_survives(policy: &str, repeat: &str) {
    if strace_is_missing() {
        return;
    }
    let kills = for_each_step(|n| {
        let ca = Ca::start(policy);
        let mut host = host_with_wish(&ca);
        let step = run_until(&host, nth(n), || in_use(&host, 1))?;
        recovers(
            &mut host,
            &ca,
            1,
            &format!("step {n}, {step}"),
            most_unused(repeat),
        );
        Some(step)
    });
    assert!(kills >= 15, "an issuance has more than {kills} steps");
}

fn renewal_survives(policy: &str, repeat: &str) {
    if strace_is_missing() {
        return;
    }
    let kills = for_each_step(|n| {
        let ca = Ca::start(policy);
        let mut host = host_before_renewal(&ca);
        let reader = Reader::start(&host);
        let step = run_until(&host, nth(n), || in_use(&host, 2));
        if let Some(step) = &step {
            recovers(
                &mut host,
                &ca,
                2,
                &format!("step {n}, {step}"),
                most_unused(repeat),
            );
        }
        reader.stop();
        step
    });
    assert!(kills >= 9, "a renewal has more than {kills} steps");
}

#[test]
fn an_issuance_survives_a_kill_at_each_step_where_the_ca_repeats_its_answer() {
    issuance_survives(&policy("same-answer"), "same-answer");
}

#[test]
fn an_issuance_survives_a_kill_at_each_step_where_the_ca_says_that_the_transaction_is_in_use() {
    issuance_survives(&policy("transaction-id-in-use"), "transaction-id-in-use");
}

#[test]
fn an_issuance_survives_a_kill_at_each_step_where_the_ca_calls_a_repeat_a_bad_request() {
    issuance_survives(&policy("bad-request"), "bad-request");
}

#[test]
fn a_renewal_survives_a_kill_at_each_step_where_the_ca_repeats_its_answer() {
    renewal_survives(&policy("same-answer"), "same-answer");
}

#[test]
fn a_renewal_survives_a_kill_at_each_step_where_the_ca_says_that_the_transaction_is_in_use() {
    renewal_survives(&policy("transaction-id-in-use"), "transaction-id-in-use");
}

#[test]
fn a_renewal_survives_a_kill_at_each_step_where_the_ca_calls_a_repeat_a_bad_request() {
    renewal_survives(&policy("bad-request"), "bad-request");
}

#[test]
fn a_polled_renewal_survives_a_kill_at_each_step() {
    let policy = json!({ "repeat": "bad-request", "polls": { "kur": 2 }, "checkAfterSeconds": 1 });
    renewal_survives(&policy.to_string(), "bad-request");
}

#[test]
fn a_renewal_whose_confirmation_is_polled_survives_a_kill_at_each_step() {
    let policy = json!({ "repeat": "same-answer", "polls": { "certconf": 1 }, "checkAfterSeconds": 1 });
    renewal_survives(&policy.to_string(), "same-answer");
}

// -- Inside the wait for an answer --------------------------------------------------------------------------------

/// Killed while the CA holds back the answer: it has issued, or has not read the request.
fn wait_survives(repeat: &str) {
    if strace_is_missing() {
        return;
    }
    std::thread::scope(|scope| {
        for revision in [1, 2] {
            for issued in [true, false] {
                scope.spawn(move || killed_in_the_wait(repeat, revision, issued));
            }
        }
    });
}

fn killed_in_the_wait(repeat: &str, revision: u64, issued: bool) {
    let ca = Ca::start(&policy(repeat));
    let mut host = if revision == 1 {
        let mut host = Host::with_issuer(&ca, "");
        host.start();
        host.wait_ready_file("Issuer", "ca");
        host.kill();
        host.write("web.yaml", &certificate_yaml("web", ""));
        host
    } else {
        host_before_renewal(&ca)
    };
    let known = ca.issued_for("web.example").len();
    let what = format!("a kill in the wait of revision {revision}, issued: {issued}");
    if issued {
        ca.arm(r#"{"fault":"delay","millis":20000}"#);
        host.start();
        wait_for("the certificate in the CA's ledger", || {
            (ca.issued_for("web.example").len() > known).then_some(())
        });
        host.kill();
        ca.clear_faults();
    } else {
        ca.pause();
        let sent = run_until(
            &host,
            |step| step.contains("writev(") || step.contains("sendto("),
            || false,
        );
        assert!(sent.is_some(), "{what}: nothing was sent");
        ca.resume();
    }
    assert!(!in_use(&host, revision), "{what}: came too late");
    recovers(&mut host, &ca, revision, &what, most_unused(repeat));
}

#[test]
fn a_kill_in_the_wait_is_survived_where_the_ca_repeats_its_answer() {
    wait_survives("same-answer");
}

#[test]
fn a_kill_in_the_wait_is_survived_where_the_ca_says_that_the_transaction_is_in_use() {
    wait_survives("transaction-id-in-use");
}

#[test]
fn a_kill_in_the_wait_is_survived_where_the_ca_calls_a_repeat_a_bad_request() {
    wait_survives("bad-request");
}

#[test]
fn a_request_that_may_have_arrived_is_kept_while_the_ca_is_down() {
    let mut ca = Ca::start("{}");
    let mut host = host_before_renewal(&ca);
    ca.arm(r#"{"fault":"delay","millis":20000,"request":"kur"}"#);
    host.start();
    wait_for("the certificate in the CA's ledger", || {
        (ca.issued_for("web.example").len() == 2).then_some(())
    });
    host.kill();
    let record = host.path().join(".occm/records/default/occm-record-web");
    let open = |record: &Path| -> Value {
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        record["open"]["transaction"]["id"].clone()
    };
    let before = open(&record);
    assert!(!before.is_null());
    ca.stop();
    host.start();
    wait_for("an attempt", || {
        host.status_file("Certificate", "web")
            .contains("reason: Unreachable")
            .then_some(())
    });
    assert_eq!(open(&record), before, "the transaction is still open");
}

// -- The old certificate ------------------------------------------------------------------------------------------

#[test]
fn after_a_kill_at_each_step_of_a_renewal_the_output_is_put_back_without_the_ca() {
    if strace_is_missing() {
        return;
    }
    for_each_step(|n| {
        let mut ca = Ca::start("{}");
        let mut host = host_before_renewal(&ca);
        let folder = host.path().join("secrets/default/web-tls");
        let old = pair(&folder).expect("a pair");
        let step = run_until(&host, nth(n), || in_use(&host, 2))?;
        let killed_with = pair(&folder).expect("a pair");
        ca.stop();
        std::fs::remove_dir_all(&folder).unwrap();
        host.start();
        let back = wait_for(&format!("an output after step {n}, {step}"), || pair(&folder));
        belongs_together(&back);
        // Without the output nothing proves that the CA took the confirmation, so the old one is as good.
        assert!(
            back == killed_with || back == old,
            "other bytes after step {n}, {step}"
        );
        host.kill();
        Some(step)
    });
}

#[test]
fn an_output_that_is_deleted_in_the_middle_of_a_renewal_comes_back_as_it_was() {
    let ca = Ca::start("{}");
    let mut host = host_before_renewal(&ca);
    let folder = host.path().join("secrets/default/web-tls");
    let before = pair(&folder).unwrap();
    ca.arm(r#"{"fault":"delay","millis":4000,"request":"kur","times":1}"#);
    host.start();
    wait_for("the certificate in the CA's ledger", || {
        (ca.issued_for("web.example").len() == 2).then_some(())
    });
    // As a whole: file by file, the first would be back before the last is gone.
    std::fs::rename(&folder, host.path().join(".gone")).unwrap();
    wait_for("the old bytes", || (pair(&folder)? == before).then_some(()));
    std::fs::write(folder.join("..data/tls.crt"), "spoilt").unwrap();
    wait_for("the old bytes", || (pair(&folder)? == before).then_some(()));
    assert!(!in_use(&host, 2), "the renewal came before the repairs");
    wait_for("the renewal", || in_use(&host, 2).then_some(()));
    assert_ne!(pair(&folder).unwrap(), before);
    judge(&host, "web-tls", &ca);
}

/// Key and certificate as somebody reads them who reads both from one folder.
type Pair = (Vec<u8>, Vec<u8>);

fn pair(folder: &Path) -> Option<Pair> {
    let data = folder.join(std::fs::read_link(folder.join("..data")).ok()?);
    Some((
        std::fs::read(data.join("tls.key")).ok()?,
        std::fs::read(data.join("tls.crt")).ok()?,
    ))
}

fn belongs_together((key, certificate): &Pair) {
    assert!(!key.is_empty() && !certificate.is_empty(), "an empty file");
    let key = pki::PrivateKey::from_bytes(key).expect("a whole key");
    let chain = pki::parse_certificates(certificate).expect("a whole certificate");
    assert!(
        chain[0].matches_key(&key),
        "key and certificate do not belong together"
    );
}

/// Reads the output a hundred times in a second, as a server does that reloads its certificate.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Reader {
    fn start(host: &Host) -> Self {
        let folder = host.path().join("secrets/default/web-tls");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || read_on(&folder, &stopped));
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        let pairs = self.thread.join().expect("every read gave a pair");
        assert!(pairs >= 2, "the reader has seen the old and the new pair");
    }
}

fn read_on(folder: &Path, stopped: &AtomicBool) -> usize {
    let mut known = HashSet::new();
    while !stopped.load(Ordering::SeqCst) {
        let link = std::fs::read_link(folder.join("..data")).expect("..data is always there");
        match pair(folder) {
            Some(pair) if known.contains(&pair) => {}
            Some(pair) => {
                belongs_together(&pair);
                known.insert(pair);
            }
            // The folder was replaced between the link and the files.
            None => assert_ne!(
                std::fs::read_link(folder.join("..data")).ok(),
                Some(link),
                "a file is missing"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    known.len()
}
