//! `cargo xtask demo --kube`: it starts, a Secret is issued, and it stops with everything that it started.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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

#[test]
fn the_demo_on_kubernetes_issues_a_secret_and_leaves_nothing_behind() {
    let Some(xtask) = std::env::var_os("OCCM_XTASK") else {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "OCCM_XTASK is not set"
        );
        println!("skipped: OCCM_XTASK does not name the xtask program; run `cargo xtask test`");
        return;
    };
    let name = format!("demo-{}", std::process::id());
    let mut demo = Command::new(xtask)
        .args([
            "demo",
            "--kube",
            "--name",
            &name,
            "--binary",
            env!("CARGO_BIN_EXE_occm"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap())
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
    let ask = |arguments: &[&str]| {
        let output = Command::new(&kubectl)
            .args(["--kubeconfig", &kubeconfig, "--namespace", "occm-demo"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let before = ask(&["get", "secret", "web-tls", "-o", "jsonpath={.data}"]);
    assert!(
        before.contains("tls.crt") && before.contains("tls.key"),
        "{before}"
    );
    ask(&["delete", "secret", "web-tls"]);
    ask(&["wait", "--for=create", "--timeout=20s", "secret/web-tls"]);
    assert_eq!(
        ask(&["get", "secret", "web-tls", "-o", "jsonpath={.data}"]),
        before
    );
    let folder = std::path::Path::new(&kubeconfig).parent().unwrap().to_path_buf();
    assert!(
        processes(&name).len() >= 3,
        "etcd, API server and the manager at least"
    );
    let told = Command::new("kill")
        .args(["-TERM", &demo.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    let ended = demo.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(processes(&name), Vec::<String>::new());
    assert!(!folder.exists(), "{}", folder.display());
}
