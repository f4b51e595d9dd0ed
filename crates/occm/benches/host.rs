//! What an enrolment costs, and what the whole path costs: one run that prints rates, CPU and ratios.
//!
//! `cargo xtask bench` calls it. The CA is a process of its own (`occm ca`) in every part. Nothing here judges: it prints, and
//! with `--json FILE` it writes a flat map.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cmp::http::{HttpConfig, HttpTransport};
use cmp::openssl::{OpenSsl, OpenSslConfig};
use cmp::{
    Context, Credentials, Engine, Enrolment, EnrolmentKind, Expectation, MacAlgorithm, Native, Outcome, Peer,
    Request, Step, Trust,
};
use jiff::Timestamp;
use pki::{
    Anchors, Certificate, CertificateTemplate, KeyAlgorithm, Name, PrivateKey, San, Secret,
    SignatureAlgorithm,
};
use support::{Ca, Host, certificate_yaml};

type Figures = BTreeMap<String, f64>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let json = args
        .iter()
        .position(|arg| arg == "--json")
        .and_then(|i| args.get(i + 1))
        .map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut figures = Figures::new();
    println!("host benchmark; the CA is a process of its own, everything shares this machine");
    let floor = crypto_floor(&mut figures);
    runtime.block_on(enrolments(&mut figures, floor));
    whole_path(&mut figures);
    if let Some(path) = json {
        std::fs::write(&path, serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
        println!("\nfigures written to {}", path.display());
    }
}

// --- the client's own cryptographic operations -------------------------------------------------------------------------

/// Microseconds of one enrolment's own operations: EC P-256, signature, explicit confirmation.
fn crypto_floor(figures: &mut Figures) -> f64 {
    let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
    let message = [7_u8; 700];
    let ecdsa = SignatureAlgorithm::EcdsaSha256;
    let signature = key.sign(ecdsa, &message).unwrap();
    let public = key.public_key();
    let keygen = micros(400, || drop(PrivateKey::generate(KeyAlgorithm::EcP256).unwrap()));
    let sign = micros(1000, || drop(key.sign(ecdsa, &message).unwrap()));
    let verify = micros(1000, || public.verify(ecdsa, &message, &signature).unwrap());
    // cr: proof of possession and protection; certConf: protection. cp and pkiConf: protection. Issued certificate: its
    // signature.
    let counts = [
        ("key generation", 1.0, keygen),
        ("sign", 3.0, sign),
        ("verify", 3.0, verify),
    ];
    println!("\ncryptographic operations of one enrolment (EC P-256, signature, explicit confirmation)");
    println!("  {:<16}{:>6}{:>12}{:>12}", "operation", "count", "us each", "us");
    let mut sum = 0.0;
    for (name, count, each) in counts {
        println!("  {name:<16}{count:>6}{each:>12.1}{:>12.1}", count * each);
        sum += count * each;
    }
    println!("  {:<16}{:>6}{:>12}{sum:>12.1}", "sum", "", "");
    println!(
        "  left out: the signatures of its issuer and of the path of the CA's signer, found right once for a process"
    );
    figures.insert("crypto_floor_us".to_owned(), sum);
    sum
}

fn micros(times: u32, mut work: impl FnMut()) -> f64 {
    (0..times / 10).for_each(|_| work());
    let started = Instant::now();
    (0..times).for_each(|_| work());
    started.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

// --- enrolments --------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Pbm,
    Signature,
}

#[derive(Clone, Copy)]
struct Scenario {
    protection: Protection,
    key: KeyAlgorithm,
    implicit: bool,
}

impl Scenario {
    fn name(self) -> String {
        let protection = if self.protection == Protection::Pbm {
            "PBM"
        } else {
            "signature"
        };
        let confirmation = if self.implicit { "implicit" } else { "explicit" };
        format!("{protection}, {}, {confirmation}", self.key.name())
    }
}

/// One client: what it protects with, whom it trusts, and keys made before where making them would be measured instead.
struct Client {
    engine: Arc<dyn Engine>,
    pbm: Credentials,
    identity: Credentials,
    peer: Peer,
    rsa: PrivateKey,
}

impl Client {
    async fn enrol(&self, scenario: Scenario) -> Duration {
        let started = Instant::now();
        let key = match scenario.key {
            KeyAlgorithm::Rsa2048 => self.rsa.clone(),
            algorithm => PrivateKey::generate(algorithm).unwrap(),
        };
        let credentials = if scenario.protection == Protection::Pbm {
            &self.pbm
        } else {
            &self.identity
        };
        let kind = match scenario.protection {
            Protection::Pbm => EnrolmentKind::Initialization,
            Protection::Signature => EnrolmentKind::Certification,
        };
        enrol(
            self.engine.as_ref(),
            credentials,
            &self.peer,
            &key,
            kind,
            scenario.implicit,
        )
        .await;
        started.elapsed()
    }
}

async fn enrol(
    engine: &dyn Engine,
    credentials: &Credentials,
    peer: &Peer,
    key: &PrivateKey,
    kind: EnrolmentKind,
    implicit_confirm: bool,
) -> Certificate {
    let mut template = CertificateTemplate::new(Name::from_parts(&[("CN", "bench.example")]).unwrap());
    template.sans = vec![San::dns("bench.example").unwrap()];
    let enrolment = Enrolment {
        kind,
        template,
        implicit_confirm,
        profile: None,
    };
    let request = Request::enrol(enrolment.clone());
    let context = || Context {
        credentials,
        peer,
        key: Some(key),
        now: Timestamp::now(),
    };
    let mut transaction = engine.begin(&request, &context()).unwrap();
    let mut issued = None;
    loop {
        match engine.exchange(&mut transaction, &context()).await.unwrap() {
            Step::Send => {}
            Step::Wait { .. } => panic!("the CA lets us wait"),
            Step::Issued(answer) => {
                let expected = Expectation::new(&enrolment, key);
                let verified = cmp::verify::issued(&expected, &answer, peer, Timestamp::now()).unwrap();
                issued = Some(verified.certificate().clone());
                if let Step::Done(Outcome::Confirmed) = transaction.accept(&verified, &context()).unwrap() {
                    break;
                }
            }
            Step::Done(_) => break,
        }
    }
    issued.unwrap()
}

struct Measured {
    rate: f64,
    cpu_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
}

async fn enrolments(figures: &mut Figures, floor: f64) {
    let ca = Ca::start(r#"{"maxValiditySeconds": 31536000}"#);
    let work = tempfile::tempdir().unwrap();
    let native: Arc<dyn Engine> = Arc::new(Native::new(Arc::new(HttpTransport::new(http(&ca)).unwrap())));
    let openssl: Arc<dyn Engine> = Arc::new(OpenSsl::start(OpenSslConfig::new(http(&ca))).await.unwrap());
    let client = Arc::new(client(&ca, native, work.path()).await);
    let scenarios = scenarios();
    println!("\nenrolments, native engine: an EC key is made for each, the RSA key once before");
    header();
    let mut native_rates = BTreeMap::new();
    for scenario in &scenarios {
        for at_once in [1, 2] {
            let measured = measure(&client, *scenario, at_once, 400).await;
            row(&scenario.name(), at_once, &measured);
            if at_once == 1 {
                native_rates.insert(scenario.name(), measured.rate);
            }
            if is_reference(*scenario) && at_once == 1 {
                figures.insert("native_ec_signature_rate_per_s".to_owned(), measured.rate);
                figures.insert("native_ec_signature_p50_ms".to_owned(), measured.p50_ms);
                figures.insert("native_ec_signature_p99_ms".to_owned(), measured.p99_ms);
                figures.insert("native_ec_signature_cpu_ms".to_owned(), measured.cpu_ms);
                figures.insert(
                    "native_cpu_vs_crypto_floor".to_owned(),
                    measured.cpu_ms * 1000.0 / floor,
                );
            }
        }
    }
    let external = Arc::new(Client {
        engine: openssl,
        pbm: client.pbm.clone(),
        identity: client.identity.clone(),
        peer: client.peer.clone(),
        rsa: client.rsa.clone(),
    });
    println!("\nenrolments, engine openssl ({})", command_version());
    header();
    for scenario in &scenarios {
        for at_once in [1, 2] {
            let measured = measure(&external, *scenario, at_once, 40).await;
            row(&scenario.name(), at_once, &measured);
            if is_reference(*scenario) && at_once == 1 {
                figures.insert("openssl_engine_rate_per_s".to_owned(), measured.rate);
                figures.insert(
                    "native_vs_openssl_engine_ratio".to_owned(),
                    native_rates[&scenario.name()] / measured.rate,
                );
            }
        }
    }
    command_line(figures, &ca, work.path(), &scenarios, &native_rates);
    let ratio = figures["native_cpu_vs_crypto_floor"];
    println!("\nnative CPU per enrolment / its cryptographic operations: {ratio:.2}");
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for protection in [Protection::Signature, Protection::Pbm] {
        for key in [KeyAlgorithm::EcP256, KeyAlgorithm::Rsa2048] {
            for implicit in [false, true] {
                all.push(Scenario {
                    protection,
                    key,
                    implicit,
                });
            }
        }
    }
    all
}

fn is_reference(scenario: Scenario) -> bool {
    scenario.protection == Protection::Signature && scenario.key == KeyAlgorithm::EcP256 && !scenario.implicit
}

fn http(ca: &Ca) -> HttpConfig {
    HttpConfig::new(format!("http://{}/cmp", ca.address).parse().unwrap())
}

async fn client(ca: &Ca, engine: Arc<dyn Engine>, work: &Path) -> Client {
    let root = ca.root_pem();
    let anchors = Anchors::new(pki::parse_certificates(root.as_bytes()).unwrap()).unwrap();
    let trust = Trust {
        responses: anchors.clone(),
        certificates: anchors,
        untrusted: Vec::new(),
    };
    let peer = Peer {
        trust,
        ..Peer::default()
    };
    let pbm = Credentials::mac(
        "demo",
        Secret::new(support::SECRET.as_bytes().to_vec()),
        MacAlgorithm::PBM,
    );
    let key = PrivateKey::generate(KeyAlgorithm::EcP256).unwrap();
    let certificate = enrol(
        engine.as_ref(),
        &pbm,
        &peer,
        &key,
        EnrolmentKind::Initialization,
        false,
    )
    .await;
    // For the command line: the same identity as files.
    std::fs::write(work.join("id.key"), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    std::fs::write(work.join("id.crt"), certificate.to_pem()).unwrap();
    std::fs::write(work.join("root.crt"), root).unwrap();
    let chain = support::http(&ca.address, "GET", "/-/chain.pem", "");
    std::fs::write(work.join("chain.crt"), &chain).unwrap();
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::Rsa2048] {
        let new = PrivateKey::generate(algorithm).unwrap();
        let file = work.join(format!("{}.key", algorithm.name()));
        std::fs::write(file, new.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    }
    std::fs::write(work.join("secret"), support::SECRET).unwrap();
    let issuers: Vec<Certificate> = pki::parse_certificates(chain.as_bytes())
        .unwrap()
        .into_iter()
        .filter(|c| !c.is_self_issued() && *c != certificate)
        .collect();
    let identity = Credentials::signature(key, certificate, issuers).unwrap();
    let rsa = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    Client {
        engine,
        pbm,
        identity,
        peer,
        rsa,
    }
}

async fn measure(client: &Arc<Client>, scenario: Scenario, at_once: usize, times: usize) -> Measured {
    for _ in 0..(times / 20).max(1) {
        client.enrol(scenario).await;
    }
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for _ in 0..times / at_once {
                    took.push(client.enrol(scenario).await);
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    summary(took, wall, cpu)
}

fn summary(mut took: Vec<Duration>, wall: f64, cpu: f64) -> Measured {
    took.sort();
    let at = |part: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let i = ((took.len() - 1) as f64 * part) as usize;
        took[i].as_secs_f64() * 1000.0
    };
    #[allow(clippy::cast_precision_loss)]
    let times = took.len() as f64;
    Measured {
        rate: times / wall,
        cpu_ms: cpu * 1000.0 / times,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    }
}

/// CPU of this process and of its ended children, in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    cpu_of(&text, 4)
}

/// Ticks of fields 14 to 17 of a stat line; `fields` = 2 leaves the children out.
fn cpu_of(stat: &str, fields: usize) -> f64 {
    let rest = stat.rsplit_once(')').unwrap().1;
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(fields)
        .map(|n| n.parse::<f64>().unwrap())
        .sum();
    // The kernel counts in hundredths of a second on every Linux that we know.
    ticks / 100.0
}

fn header() {
    println!(
        "  {:<34}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "", "at once", "per s", "CPU ms", "p50 ms", "p99 ms"
    );
}

fn row(name: &str, at_once: usize, m: &Measured) {
    println!(
        "  {name:<34}{at_once:>8}{:>10.1}{:>10.3}{:>10.2}{:>10.2}",
        m.rate, m.cpu_ms, m.p50_ms, m.p99_ms
    );
}

fn command_version() -> String {
    support::openssl(&["version"]).trim().to_owned()
}

/// The plain command line: the same requests, keys made before. Its faster way of keeping connections is found first.
fn command_line(
    figures: &mut Figures,
    ca: &Ca,
    work: &Path,
    scenarios: &[Scenario],
    native_rates: &BTreeMap<String, f64>,
) {
    let reference = scenarios.iter().copied().find(|one| is_reference(*one)).unwrap();
    println!(
        "\nenrolments, plain openssl cmp command line ({}), keys made before;",
        command_version()
    );
    println!("first {} with each way of keeping connections", reference.name());
    header();
    let mut best = ("0", 0.0);
    for keep_alive in ["1", "0"] {
        let measured = command_line_runs(ca, work, reference, keep_alive, 1);
        row(&format!("-keep_alive {keep_alive}"), 1, &measured);
        if measured.rate > best.1 {
            best = (keep_alive, measured.rate);
        }
    }
    let (keep_alive, mut rate) = best;
    println!("  with -keep_alive {keep_alive}, the faster one:");
    let mut ratios = Vec::new();
    for scenario in scenarios {
        for at_once in [1, 2] {
            let measured = command_line_runs(ca, work, *scenario, keep_alive, at_once);
            row(&scenario.name(), at_once, &measured);
            if at_once == 1 {
                let its = if is_reference(*scenario) {
                    rate = measured.rate.max(rate);
                    rate
                } else {
                    measured.rate
                };
                ratios.push((scenario.name(), native_rates[&scenario.name()] / its));
            }
        }
    }
    println!("\nnative engine / command line, rate by rate, one at once:");
    for (name, ratio) in &ratios {
        println!("  {name:<34}{ratio:>8.1}");
    }
    figures.insert("cli_rate_per_s".to_owned(), rate);
    figures.insert(
        "native_vs_cli_ratio".to_owned(),
        native_rates[&reference.name()] / rate,
    );
}

/// Runs of the command line for one figure.
const RUNS: usize = 40;

fn command_line_runs(ca: &Ca, work: &Path, scenario: Scenario, keep_alive: &str, at_once: usize) -> Measured {
    let run = |lane: usize| {
        let started = Instant::now();
        let mut command = command_line_of(ca, work, scenario, keep_alive, lane);
        let status = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the command line could not enrol: {command:?}");
        started.elapsed()
    };
    run(0);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let took: Vec<Duration> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..at_once)
            .map(|lane| scope.spawn(move || (0..RUNS / at_once).map(|_| run(lane)).collect::<Vec<_>>()))
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    summary(took, started.elapsed().as_secs_f64(), cpu_seconds() - cpu)
}

fn command_line_of(ca: &Ca, work: &Path, scenario: Scenario, keep_alive: &str, lane: usize) -> Command {
    let path = |name: &str| work.join(name).to_str().unwrap().to_owned();
    let mut command = Command::new("openssl");
    command.args(["cmp", "-config", "", "-server", &ca.address, "-path", "cmp"]);
    command.args(["-keep_alive", keep_alive]);
    match scenario.protection {
        Protection::Pbm => {
            let secret = format!("file:{}", path("secret"));
            command.args(["-cmd", "ir", "-ref", "demo", "-secret", &secret]);
        }
        Protection::Signature => {
            command.args(["-cmd", "cr", "-cert", &path("id.crt"), "-key", &path("id.key")]);
            command.args(["-extracerts", &path("chain.crt"), "-trusted", &path("root.crt")]);
        }
    }
    let key = path(&format!("{}.key", scenario.key.name()));
    command.args(["-untrusted", &path("chain.crt"), "-newkey", &key]);
    command.args(["-subject", "/CN=bench.example", "-sans", "bench.example"]);
    command.args(["-certout", &path(&format!("out{lane}.crt"))]);
    if scenario.implicit {
        command.arg("-implicit_confirm");
    }
    command
}

// --- the whole path on the directory store -----------------------------------------------------------------------------

const CERTIFICATES: usize = 1000;

fn whole_path(figures: &mut Figures) {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    let all: Vec<String> = (0..CERTIFICATES)
        .map(|i| certificate_yaml(&format!("c{i}"), ""))
        .collect();
    host.write("all.yaml", &all.join("---\n"));
    println!(
        "\nwhole path, directory store, {CERTIFICATES} certificates (EC-P256, signature, explicit confirmation)"
    );
    let mut command = Command::new(support::BIN);
    command.env("OCCM_LOG", "warn");
    let started = Instant::now();
    host.start_quietly(&mut command);
    // Looking costs CPU on the same cores: seldom, and into the files only once all are there.
    while ready(&host) < CERTIFICATES {
        assert!(
            started.elapsed() < support::PATIENCE,
            "waited in vain for all certificates"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let wall = started.elapsed().as_secs_f64();
    let pid = host.pid().expect("the manager runs");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    #[allow(clippy::cast_precision_loss)]
    let count = CERTIFICATES as f64;
    let cpu_ms = cpu_of(&stat, 2) * 1000.0 / count;
    println!("  from start to the last status   {wall:>8.2} s");
    println!("  certificates per second         {:>8.1}", count / wall);
    println!("  CPU of the manager              {cpu_ms:>8.2} ms each");
    println!(
        "  RSS of the manager              {:>8.1} MiB (peak {:.1})",
        field("VmRSS:"),
        field("VmHWM:")
    );
    figures.insert("dir_certificates_per_s".to_owned(), count / wall);
    figures.insert("dir_cpu_ms_per_certificate".to_owned(), cpu_ms);
    figures.insert("dir_rss_mib".to_owned(), field("VmRSS:"));
    host.stop();
}

/// Certificates with a status that has a serial number.
fn ready(host: &Host) -> usize {
    let folder = host.path().join(".occm/status/default");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let entries: Vec<std::fs::DirEntry> = entries.filter_map(Result::ok).collect();
    if entries.len() < CERTIFICATES {
        return 0;
    }
    entries.iter().filter(|entry| is_issued(entry)).count()
}

fn is_issued(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("Certificate.")
        && std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("serialNumber"))
}
