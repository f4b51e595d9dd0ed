//! A CA and a manager as processes of the real binary, on a directory of the test's own.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BIN: &str = env!("CARGO_BIN_EXE_occm");
pub const SECRET: &str = "planted-mac-secret-5f1c";

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `check` gives something; the text says for what.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `occm ca` as a process.
pub struct Ca {
    child: Child,
    pub address: String,
    _secret: tempfile::NamedTempFile,
}

impl Ca {
    pub fn start(policy: &str) -> Self {
        Self::start_at("127.0.0.1:0", policy, None)
    }

    pub fn start_at(listen: &str, policy: &str, dir: Option<&Path>) -> Self {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        writeln!(secret, "{SECRET}").unwrap();
        let mut command = Command::new(BIN);
        command.args(["ca", "--listen", listen, "--policy", policy, "--secret-file"]);
        command.arg(format!("demo={}", secret.path().display()));
        if let Some(dir) = dir {
            command.arg("--dir").arg(dir);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.unwrap();
                let rest = line.split("http://").nth(1)?;
                Some(rest.split('/').next().unwrap().to_owned())
            })
            .expect("the CA says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            _secret: secret,
        }
    }

    /// Entries of the ledger.
    pub fn ledger(&self) -> Vec<Value> {
        let body = http(&self.address, "GET", "/-/ledger", "");
        match serde_json::from_str(&body).unwrap() {
            Value::Array(entries) => entries,
            Value::Object(mut object) => match object.remove("entries") {
                Some(Value::Array(entries)) => entries,
                other => panic!("no entries: {other:?}"),
            },
            other => panic!("no ledger: {other}"),
        }
    }

    /// Entries whose subject has this common name.
    pub fn issued_for(&self, name: &str) -> Vec<Value> {
        let wanted = format!("CN={name}");
        self.ledger()
            .into_iter()
            .filter(|e| e["subject"].as_str().unwrap_or_default().contains(&wanted))
            .collect()
    }

    pub fn arm(&self, fault: &str) {
        http(&self.address, "POST", "/-/faults", fault);
    }

    pub fn clear_faults(&self) {
        http(&self.address, "DELETE", "/-/faults", "");
    }

    pub fn root_pem(&self) -> String {
        http(&self.address, "GET", "/-/ca.pem", "")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It keeps its port and reads nothing.
    pub fn pause(&self) {
        signal(&self.child, "-STOP");
    }

    pub fn resume(&self) {
        signal(&self.child, "-CONT");
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let told = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(told.success(), "kill {name} {pid}");
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One request over a connection of its own.
pub fn http(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.split(' ').nth(1).is_some_and(|code| code.starts_with('2')),
        "{method} {path}: {answer}"
    );
    body.to_owned()
}

/// A directory with objects, and the manager on it when it runs.
pub struct Host {
    pub dir: tempfile::TempDir,
    child: Option<Child>,
    pub log: PathBuf,
}

impl Host {
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    pub fn on(dir: tempfile::TempDir) -> Self {
        let log = dir.path().with_extension("log");
        Self {
            dir,
            child: None,
            log,
        }
    }

    /// With an Issuer `ca` that knows the CA, its secret and its root.
    pub fn with_issuer(ca: &Ca, more: &str) -> Self {
        let host = Self::new();
        host.write("issuer.yaml", &issuer_yaml(ca, SECRET, more));
        host
    }

    /// The same with a Certificate `web`, served and ready.
    pub fn with_web(ca: &Ca, issuer: &str, certificate: &str) -> Self {
        let mut host = Self::with_issuer(ca, issuer);
        host.write("web.yaml", &certificate_yaml("web", certificate));
        host.start();
        host.wait_ready("web");
        host
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A Secret of type TLS that somebody else made, for `NAME.example`.
    pub fn foreign_tls(&self, name: &str) {
        let folder = self.path().join("secrets/default").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let full = format!("{name}.example");
        self_signed(
            &format!("/CN={full}"),
            &full,
            &folder.join("tls.key"),
            &folder.join("tls.crt"),
        );
    }

    pub fn write(&self, name: &str, text: &str) {
        // As an editor does it: a new file renamed over the old one.
        let temporary = self.path().join(format!(".{name}.new"));
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.path().join(name)).unwrap();
    }

    pub fn start(&mut self) {
        self.start_with(&mut Command::new(BIN));
    }

    /// Starts the manager through `command`, which gets the arguments of `occm serve`.
    pub fn start_with(&mut self, command: &mut Command) {
        assert!(self.child.is_none());
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        command
            .args(["--log-level", "trace", "serve", "--store"])
            .arg(self.path());
        self.child = Some(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
    }

    /// Starts the manager with the log level that the environment of `command` says.
    pub fn start_quietly(&mut self, command: &mut Command) {
        command.args(["serve", "--store"]).arg(self.path());
        self.child = Some(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The status of an object as it lies in the store: cheaper than a command.
    pub fn status_file(&self, kind: &str, name: &str) -> String {
        let path = format!(".occm/status/default/{kind}.{name}.yaml");
        std::fs::read_to_string(self.path().join(path)).unwrap_or_default()
    }

    /// Waits for `Ready` without starting processes.
    pub fn wait_ready_file(&self, kind: &str, name: &str) {
        let wanted = "- type: Ready\n  status: \"True\"";
        wait_for(&format!("{kind} {name} ready"), || {
            self.status_file(kind, name).contains(wanted).then_some(())
        });
    }

    /// Whether the process has ended by itself; says how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = child.wait().unwrap();
        assert!(status.success(), "the manager ended with {status}");
    }

    pub fn output(&self, secret: &str, key: &str) -> PathBuf {
        self.path().join("secrets/default").join(secret).join(key)
    }

    pub fn read(&self, secret: &str, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.output(secret, key)).ok()
    }

    /// Waits for an output; gives its bytes.
    pub fn wait_output(&self, secret: &str, key: &str) -> Vec<u8> {
        wait_for(&format!("{secret}/{key}"), || {
            self.read(secret, key).filter(|bytes| !bytes.is_empty())
        })
    }

    /// The status of a Certificate.
    pub fn status(&self, name: &str) -> Option<Value> {
        let output = occm(&[
            "status",
            name,
            "-o",
            "json",
            "--store",
            self.path().to_str().unwrap(),
        ]);
        let listing: Value = serde_json::from_slice(&output.stdout).ok()?;
        let object = listing["certificates"].as_array()?.first()?;
        object.get("status").cloned()
    }

    pub fn wait_ready(&self, name: &str) -> Value {
        wait_for(&format!("{name} ready"), || {
            self.status(name)
                .filter(|status| condition(status, "Ready") == "True")
        })
    }

    pub fn wait_revision(&self, name: &str, revision: u64) -> Value {
        wait_for(&format!("{name} at revision {revision}"), || {
            self.status(name).filter(|status| {
                status["revision"].as_u64() == Some(revision) && condition(status, "Ready") == "True"
            })
        })
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log_text();
            let lines: Vec<&str> = log.lines().filter(|l| !l.contains("TRACE")).collect();
            eprintln!(
                "--- log of the manager\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

pub fn condition(status: &Value, kind: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|c| c["type"] == kind);
    found
        .and_then(|c| c["status"].as_str())
        .unwrap_or("Unknown")
        .to_owned()
}

pub fn reason(status: &Value, kind: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|c| c["type"] == kind);
    found.and_then(|c| c["reason"].as_str()).unwrap_or("").to_owned()
}

pub fn occm(args: &[&str]) -> Output {
    Command::new(BIN)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .expect("the openssl command is there");
    assert!(
        output.status.success(),
        "openssl {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A key and a certificate for the DNS name `name` that somebody else made.
pub fn self_signed(subject: &str, name: &str, key: &Path, certificate: &Path) {
    let names = format!("subjectAltName=DNS:{name}");
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60".split(' ');
    let mut arguments: Vec<&str> = request.collect();
    let extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=digitalSignature",
        "extendedKeyUsage=serverAuth",
        &names,
    ];
    arguments.extend(extensions.iter().flat_map(|extension| ["-addext", *extension]));
    arguments.extend(["-subj", subject]);
    arguments.extend(["-keyout", key.to_str().unwrap()]);
    arguments.extend(["-out", certificate.to_str().unwrap()]);
    openssl(&arguments);
}

/// Judges a `kubernetes.io/tls` output: key fits certificate, certificate verifies to the root.
pub fn judge(host: &Host, secret: &str, ca: &Ca) {
    judge_files(host.output(secret, "tls.key").parent().unwrap(), ca);
}

/// The same for the folder of an output.
pub fn judge_files(folder: &Path, ca: &Ca) {
    let path = |key: &str| folder.join(key).to_str().unwrap().to_owned();
    let from_key = openssl(&["pkey", "-in", &path("tls.key"), "-pubout"]);
    let from_certificate = openssl(&["x509", "-in", &path("tls.crt"), "-noout", "-pubkey"]);
    assert_eq!(from_key, from_certificate, "key and certificate belong together");
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), ca.root_pem()).unwrap();
    let root = root.path().to_str().unwrap();
    openssl(&[
        "verify",
        "-CAfile",
        root,
        "-untrusted",
        &path("tls.crt"),
        &path("tls.crt"),
    ]);
}

pub fn issuer_yaml(ca: &Ca, secret: &str, more: &str) -> String {
    let root: String = ca
        .root_pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mac}}\nstringData: {{secret: \"{secret}\"}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: trust}}\ndata:\n  ca.pem: |\n{root}---\n\
         apiVersion: occm.dev/v1alpha1\nkind: Issuer\nmetadata: {{name: ca}}\nspec:\n  url: http://{}/cmp\n\
         \x20 authentication:\n    initial:\n      mac: {{referenceValue: demo, secretRef: {{name: mac, key: secret}}}}\n\
         \x20   identity: {{commonName: occm.test}}\n\
         \x20 trust:\n    responses: {{configMapRef: {{name: trust, key: ca.pem}}}}\n{more}",
        ca.address
    )
}

pub fn certificate_yaml(name: &str, more: &str) -> String {
    format!(
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {{name: {name}}}\nspec:\n\
         \x20 issuerRef: {{name: ca}}\n  commonName: {name}.example\n  dnsNames: [{name}.example]\n\
         \x20 secretName: {name}-tls\n{more}"
    )
}
