//! The engine `openssl` as a part of the manager's life: it comes when the program comes, and goes with the manager.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{BIN, Ca, Host, certificate_yaml, judge, wait_for};

/// The process that runs `openssl cmp` for this manager.
fn command_of(manager: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{manager}/task")).ok()?;
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let all: Vec<String> = children.collect();
    all.iter()
        .flat_map(|line| line.split_whitespace())
        .find_map(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&str> = line.split('\0').collect();
            let is_it =
                words.first().is_some_and(|word| word.ends_with("openssl")) && words.get(1) == Some(&"cmp");
            is_it.then(|| pid.parse().ok())?
        })
}

/// Gone, or dead and not yet waited for by its new parent.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_command_does_not_outlive_a_manager_that_is_killed() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "  engine: OpenSSL\n");
    host.write("web.yaml", &certificate_yaml("web", ""));
    ca.pause();
    host.start();
    let manager = host.pid().unwrap();
    let command = wait_for("the command", || command_of(manager));
    assert!(!has_ended(command));
    host.kill();
    wait_for("the end of the command", || has_ended(command).then_some(()));
    ca.resume();
    // The next start counts what it cannot know, and gets its certificate.
    host.start();
    host.wait_ready_file("Certificate", "web");
    let identity = host.status_file("Issuer", "ca");
    assert!(identity.contains("possibleOrphans: 1"), "{identity}");
    judge(&host, "web-tls", &ca);
}

#[test]
fn a_program_that_is_installed_later_is_found_without_a_change_of_the_objects() {
    let ca = Ca::start("{}");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("openssl");
    let mut host = Host::with_issuer(&ca, "  engine: OpenSSL\n");
    host.write("web.yaml", &certificate_yaml("web", ""));
    host.start_with(Command::new(BIN).env("OCCM_OPENSSL", &program));
    wait_for("the trouble", || {
        host.status_file("Issuer", "ca")
            .contains("EngineUnavailable")
            .then_some(())
    });
    let real = ["/usr/bin/openssl", "/usr/local/bin/openssl"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    std::os::unix::fs::symlink(real.expect("the openssl command is there"), &program).unwrap();
    host.wait_ready_file("Certificate", "web");
    judge(&host, "web-tls", &ca);
}
