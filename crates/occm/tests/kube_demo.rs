//! `cargo xtask demo --kube`: it starts, a Secret is issued, and it stops with everything that it started.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Processes whose command line or environment has this text.
fn processes(text: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let read = |pid: &str, file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    pids.filter(|pid| *pid != own)
        .filter(|pid| read(pid, "cmdline").contains(text) || read(pid, "environ").contains(text))
        .map(|pid| read(&pid, "cmdline"))
        .collect()
}

/// A demo that runs.
struct Demo {
    name: String,
    process: Child,
    kubeconfig: String,
    kubectl: String,
}

impl Demo {
    /// Starts one and waits until it says what to try; `None` without the xtask program.
    fn start(purpose: &str) -> Option<Self> {
        let Some(xtask) = std::env::var_os("OCCM_XTASK") else {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "OCCM_XTASK is not set"
            );
            println!("skipped: OCCM_XTASK does not name the xtask program; run `cargo xtask test`");
            return None;
        };
        let name = format!("demo-{purpose}-{}", std::process::id());
        let mut process = Command::new(xtask)
            .args(["demo", "--kube", "--name", &name, "--binary"])
            .arg(env!("CARGO_BIN_EXE_occm"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let kubeconfig = lines
            .by_ref()
            .find_map(|line| line.trim().strip_prefix("export KUBECONFIG=").map(str::to_owned))
            .expect("it says how to use it");
        let kubectl = lines
            .by_ref()
            .find_map(|line| {
                let rest = line.trim().strip_prefix("alias kubectl='")?.to_owned();
                Some(rest.split(' ').next().unwrap().to_owned())
            })
            .expect("it says which kubectl");
        assert_eq!(
            lines.find(|line| line.starts_with("Ctrl-C")).as_deref(),
            Some("Ctrl-C stops everything and deletes the control plane.")
        );
        // Whoever writes to a pipe that nobody reads ends.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            name,
            process,
            kubeconfig,
            kubectl,
        })
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.kubectl)
            .args(["--kubeconfig", &self.kubeconfig, "--namespace", "occm-demo"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn folder(&self) -> PathBuf {
        Path::new(&self.kubeconfig).parent().unwrap().to_path_buf()
    }

    fn signal(&self, name: &str) {
        let told = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status();
        assert!(told.unwrap().success());
    }
}

#[test]
fn the_demo_on_kubernetes_issues_a_secret_and_leaves_nothing_behind() {
    let Some(mut demo) = Demo::start("usual") else {
        return;
    };
    let before = demo.ask(&["get", "secret", "web-tls", "-o", "jsonpath={.data}"]);
    assert!(
        before.contains("tls.crt") && before.contains("tls.key"),
        "{before}"
    );
    demo.ask(&["delete", "secret", "web-tls"]);
    demo.ask(&["wait", "--for=create", "--timeout=20s", "secret/web-tls"]);
    assert_eq!(
        demo.ask(&["get", "secret", "web-tls", "-o", "jsonpath={.data}"]),
        before
    );
    assert_eq!(
        demo.ask(&[
            "get",
            "secret",
            "web-tls",
            "-o",
            "jsonpath={.metadata.managedFields[*].manager}"
        ]),
        "occm/occm-demo.web-tls"
    );
    let manager = "--as=system:serviceaccount:occm-demo:occm";
    let may = demo.ask(&["auth", "can-i", "--list", "--no-headers", manager]);
    assert!(may.contains("secrets ") && !may.contains("*.*"), "{may}");
    let folder = demo.folder();
    assert!(
        processes(&demo.name).len() >= 3,
        "etcd, API server and the manager at least"
    );
    demo.signal("-TERM");
    let ended = demo.process.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(processes(&demo.name), Vec::<String>::new());
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_either() {
    let Some(mut demo) = Demo::start("killed") else {
        return;
    };
    demo.signal("-KILL");
    demo.process.wait().unwrap();
    let began = Instant::now();
    while !processes(&demo.name).is_empty() || demo.folder().exists() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            processes(&demo.name)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
