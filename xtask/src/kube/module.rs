//! Small Go modules that pin what is built: ours for the default versions, made ones for other Kubernetes releases.
//!
//! `k8s.io/kubernetes` cannot be installed by name: its `go.mod` replaces the staging modules (`k8s.io/api` ...) by
//! folders of its own repository. A module of ours replaces them by their published versions instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::console::say;
use crate::kube::version::Version;
use crate::{cache, debian, process, workspace};

/// The commands of Kubernetes that a made module can build.
const COMMANDS: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

/// The folder of a committed module: `kubernetes`, `etcd`, `helm`, `kwok`.
pub(crate) fn committed(name: &str) -> PathBuf {
    workspace::root_of_sources().join("xtask").join("kube").join(name)
}

/// The folder of the module that builds this Kubernetes: the committed one, or one made in the cache.
pub(crate) fn of_kubernetes(version: Version) -> Result<PathBuf> {
    if version == Version::pinned()? {
        return Ok(committed("kubernetes"));
    }
    let folder = cache::folder()?
        .join("modules")
        .join(format!("kubernetes-{version}"));
    if folder.join("go.sum").exists() {
        return Ok(folder);
    }
    make(version, &folder).with_context(|| format!("cannot make a Go module for Kubernetes {version}"))?;
    Ok(folder)
}

/// Rewrites the committed module for another release.
pub(crate) fn pin(version: Version) -> Result<()> {
    let folder = committed("kubernetes");
    make(version, &folder)?;
    say(format!(
        "{} now pins Kubernetes {version}; commit go.mod and go.sum",
        folder.display()
    ));
    Ok(())
}

/// A Go command that sees the module in `folder` and no other.
pub(crate) fn go(folder: &Path) -> Command {
    // Builds of minutes should not get in the way of the person at the machine.
    let mut command = if process::find("nice").is_some() {
        let mut nice = Command::new("nice");
        nice.args(["-n", "10", "go"]);
        nice
    } else {
        Command::new("go")
    };
    command
        .current_dir(folder)
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0");
    command
}

fn make(version: Version, folder: &Path) -> Result<()> {
    cache::make(folder)?;
    let start = folder.join("go.mod");
    write(&start, &text(version, "1.24", &[]))?;
    let upstream = download(folder, version)?;
    let text = text(version, &upstream.go, &upstream.staging_modules());
    write(&start, &text)?;
    let tools = COMMANDS.map(|name| format!("k8s.io/kubernetes/cmd/{name}@v{version}"));
    let mut get = go(folder);
    get.args(["get", "-tool"]).args(&tools);
    let what = format!("resolving the modules of Kubernetes {version}");
    process::run_with_progress(&mut get, &what, &debian::log("go-get")?, Duration::from_secs(900))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A `go.mod` without requirements; `go get -tool` adds them.
fn text(version: Version, go: &str, staging: &[&str]) -> String {
    let replacements: String = staging
        .iter()
        .map(|module| format!("\t{module} => {module} {}\n", version.staging()))
        .collect();
    format!(
        "// Pins the Kubernetes control plane that the tests run; made by `cargo xtask kube pin`.\n\
         module occm.internal/kubernetes\n\ngo {go}\n\nreplace (\n{replacements})\n"
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    go_mod: PathBuf,
}

/// The interesting part of Kubernetes' own `go.mod`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upstream {
    go: String,
    replace: Vec<Replace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replace {
    old: ModulePath,
    new: ModulePath,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModulePath {
    path: String,
}

impl Upstream {
    fn staging_modules(&self) -> Vec<&str> {
        let staged = |replace: &&Replace| replace.new.path.starts_with("./staging/");
        self.replace
            .iter()
            .filter(staged)
            .map(|replace| replace.old.path.as_str())
            .collect()
    }
}

fn download(folder: &Path, version: Version) -> Result<Upstream> {
    let module = format!("k8s.io/kubernetes@v{version}");
    let answer = process::output(go(folder).args(["mod", "download", "-json", &module]))?;
    let downloaded: Downloaded = serde_json::from_str(&answer).context("cannot read go's answer")?;
    let text = process::output(go(folder).args(["mod", "edit", "-json"]).arg(&downloaded.go_mod))?;
    let upstream: Upstream = serde_json::from_str(&text).context("cannot read the go.mod of Kubernetes")?;
    ensure!(
        !upstream.staging_modules().is_empty(),
        "the go.mod of {module} has no staging modules"
    );
    Ok(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_staged_in_the_repository_are_replaced() {
        let upstream: Upstream = serde_json::from_str(
            r#"{"Go": "1.26.0", "Replace": [
                {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
                {"Old": {"Path": "other.org/x"}, "New": {"Path": "fork.org/x", "Version": "v1.0.0"}}]}"#,
        )
        .unwrap();
        let version = "1.35.4".parse().unwrap();
        let text = text(version, &upstream.go, &upstream.staging_modules());
        assert!(text.contains("\tk8s.io/api => k8s.io/api v0.35.4\n"), "{text}");
        assert!(
            text.contains("\ngo 1.26.0\n") && !text.contains("other.org"),
            "{text}"
        );
    }

    #[test]
    fn every_committed_module_has_its_checksums() {
        for name in ["kubernetes", "etcd", "helm", "kwok"] {
            assert!(committed(name).join("go.sum").exists(), "{name}");
        }
    }
}
