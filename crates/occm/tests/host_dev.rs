//! `occm dev`, as a person meets it: what it prints can be pasted, what it shows is so, what it leaves is nothing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use support::{BIN, http, openssl, wait_for};

/// A running try, and everything it has printed so far.
struct Try {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Try {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            let mut reader = BufReader::new(out);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Self { child, lines }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    fn wait_text(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line with {parts:?}"), || {
            let lines = self.lines.lock().unwrap();
            lines
                .iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        })
    }

    /// The lines between two of its lines that are meant to be pasted.
    fn to_paste(&self, from: &str, to: &str) -> Vec<String> {
        let text = self.text();
        let (_, rest) = text.split_once(from).expect(from);
        let (part, _) = rest.split_once(to).expect(to);
        part.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    }

    fn end(&mut self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{signal}: {status}");
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- it printed\n{}", self.text());
        }
    }
}

fn children_of(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Runs a line as a person's shell would.
fn paste(line: &str) -> String {
    if let Some(url) = line.strip_prefix("curl -s http://") {
        // Not every machine has the program; the address is what matters.
        let (address, path) = url.split_once('/').unwrap();
        return http(address, "GET", &format!("/{path}"), "");
    }
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_it_prints_can_be_pasted_what_it_shows_is_so_and_nothing_stays_behind() {
    let mut run = Try::start(Command::new(BIN).arg("dev"));
    let outputs = run.wait_text(&["outputs"]);
    let outputs = PathBuf::from(outputs.split_whitespace().nth(1).unwrap());
    let dir = outputs.ancestors().nth(2).unwrap().to_owned();
    run.wait_text(&["Ctrl-C stops everything"]);
    for name in ["web-tls", "fast", "drifting", "parts"] {
        run.wait_text(&["ok", name, "Issued", "revision 1"]);
    }
    run.wait_text(&["WARN", "wrong-secret", "Rejected", "spec.authentication.initial"]);
    let certificate = outputs.join("web-tls/tls.crt");
    wait_for("the output", || certificate.exists().then_some(()));

    let looks = run.to_paste("in another terminal:", "Then try:");
    assert_eq!(looks.len(), 4, "{looks:?}");
    let shown = looks
        .iter()
        .map(|line| paste(line))
        .collect::<Vec<_>>()
        .join("\n");
    for part in [
        "Subject: CN = web",
        "Certificate:",
        "web-tls",
        "wrong-secret",
        "Rejected",
        "serial",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let before = std::fs::read(&certificate).unwrap();
    let tries = run.to_paste("Then try:", "Ctrl-C stops");
    let [remove, renew, status] = tries.as_slice() else {
        panic!("{tries:?}")
    };
    paste(remove);
    wait_for("the same bytes", || {
        std::fs::read(&certificate).ok().filter(|bytes| *bytes == before)
    });
    paste(renew);
    assert_ne!(std::fs::read(&certificate).unwrap(), before);
    assert!(paste(status).contains("IssuerNotReady"));

    // One that somebody spoils is put back before one's eyes.
    run.wait_text(&["ok", "drifting", "Restored", "the same bytes are back"]);
    openssl(&[
        "x509",
        "-in",
        outputs.join("drifting-tls/tls.crt").to_str().unwrap(),
        "-noout",
    ]);

    assert!(dir.exists());
    assert_eq!(children_of(run.child.id()), Vec::<String>::new());
    run.end("-TERM");
    assert!(!dir.exists(), "{} is left", dir.display());
}

#[test]
fn ctrl_c_ends_it_and_a_named_directory_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("kept here");
    let mut run = Try::start(Command::new(BIN).arg("dev").arg("--dir").arg(&dir));
    run.wait_text(&["ok", "web-tls", "Issued"]);
    let text = run.text();
    assert!(text.contains("the directory stays") && !text.contains("deletes the directory"));
    for line in run.to_paste("in another terminal:", "Then try:") {
        paste(&line);
    }
    run.end("-INT");
    assert!(dir.join("demo.yaml").exists());
    assert!(
        !dir.join("secrets/default/web-tls/tls.key")
            .metadata()
            .unwrap()
            .permissions()
            .readonly()
    );
}

#[test]
fn it_listens_on_loopback_only_and_does_not_run_in_a_cluster() {
    let refused = |command: &mut Command, text: &str| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(text), "{said}");
    };
    for address in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let text = "not a loopback address; allowed: 127.0.0.1:PORT or [::1]:PORT";
        refused(Command::new(BIN).args(["dev", "--listen", address]), text);
    }
    let mut inside = Command::new(BIN);
    inside.arg("dev").env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
    refused(&mut inside, "does not run inside a cluster");
}

/// What a terminal of so many columns and rows has got, without the welcome.
fn on_a_terminal(columns: usize, rows: usize) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let line = format!("stty cols {columns} rows {rows}; exec {BIN} dev");
    let mut run = Try::start(Command::new("script").args(["-qefc", &line]).arg(log.path()));
    let text = wait_for("the table", || {
        let text = std::fs::read(log.path()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let drawn = text.matches("\x1b[J").count() >= 3 && text.contains("UpToDate");
        drawn.then_some(text)
    });
    let pid = children_of(run.child.id()).remove(0);
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let _ = run.child.wait();
    let (_, table) = text.split_once("deletes the directory.").unwrap();
    table.to_owned()
}

#[test]
fn a_terminal_gets_a_table_that_fits_and_is_drawn_over_itself() {
    if !Path::new("/usr/bin/script").exists() {
        println!("skipped: the command `script` is missing (package bsdutils)");
        return;
    }
    for (columns, rows) in [(100, 40), (60, 12)] {
        let text = on_a_terminal(columns, rows);
        let last = text.rsplit("\x1b[J").nth(1).unwrap();
        let lines: Vec<&str> = last
            .split_terminator("\r\n")
            .map(|line| line.split('\x1b').next().unwrap())
            .collect();
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert!(lines.len() < rows, "{} lines: {last}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= columns), "{last}");
        if rows > 30 {
            for part in ["NAME", "web-tls", "wrong-secret", "latest events"] {
                assert!(last.contains(part), "{part}: {last}");
            }
        }
        // It goes up by as many lines as it drew before, so nothing is left of the table before.
        let ups: Vec<usize> = text
            .split("\x1b[")
            .skip(1)
            .filter_map(|part| part.split_once('A')?.0.parse().ok())
            .collect();
        assert!(ups.iter().all(|up| *up < rows), "{ups:?}");
    }
}
