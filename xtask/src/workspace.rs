//! The cargo workspace as cargo describes it: where it is, its crates, their features and test targets.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Environment that `cargo run` sets for xtask itself; it must not reach a cargo that xtask starts, since build
/// scripts that look at it would run again.
const OF_CARGO_RUN: [&str; 3] = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_"];

/// What `cargo metadata --no-deps` tells.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// The folder of build results.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The workspace's crates in the order of its member list.
    pub(crate) packages: Vec<Package>,
}

/// One crate.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    features: std::collections::BTreeMap<String, Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let output = cargo(root_of_sources())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let mut workspace: Self =
            serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
        workspace.sort_by_members();
        Ok(workspace)
    }

    /// `cargo metadata` lists crates by path; the member list's order (each uses only what stands on its left)
    /// makes the first failure the most telling one.
    fn sort_by_members(&mut self) {
        let manifest = std::fs::read_to_string(self.root.join("Cargo.toml")).unwrap_or_default();
        self.packages.sort_by_key(|package| {
            ["/", "\""]
                .iter()
                .filter_map(|c| manifest.find(&format!("{c}{}\"", package.name)))
                .min()
        });
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The crate of that name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    /// Names of the integration tests (files or folders below `tests/`).
    pub(crate) fn tests(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| target.name.as_str())
    }

    fn has(&self, wanted: impl Fn(&Target) -> bool) -> bool {
        self.targets.iter().any(wanted)
    }

    /// Whether the crate has a library, and so perhaps doc tests.
    pub(crate) fn has_library(&self) -> bool {
        self.has(|target| target.kind.iter().any(|kind| kind == "lib"))
    }

    /// Whether the crate declares any feature.
    pub(crate) fn has_features(&self) -> bool {
        !self.features.is_empty()
    }

    /// Whether the crate has a binary.
    pub(crate) fn has_binary(&self) -> bool {
        self.has(|target| target.kind.iter().any(|kind| kind == "bin"))
    }
}

/// The tree that this xtask was compiled from.
pub(crate) fn root_of_sources() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_CARGO_RUN.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command
}
