//! `cargo xtask demo`: builds the program and becomes `occm dev`, or shows the main job on a control plane.

mod kube;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::console::say;
use crate::web::Web;
use crate::workspace::Workspace;

/// The demo's program: as little as `occm dev` needs, so that the first build is short.
pub(crate) const PROGRAM: &[&str] = &[
    "--package",
    "occm",
    "--bin",
    "occm",
    "--no-default-features",
    "--features=api",
];

/// The web console, where it could be built; without it the program says so.
const WITH_CONSOLE: &[&str] = &["--features=console"];
const WITHOUT_CONSOLE: &[&str] = &[];

/// Build occm and start `occm dev`: a CA, a manager and a few certificates in one process, on loopback, with throw-away state.
///
/// With --kube the same on a real Kubernetes control plane on this machine: certificates become Secrets, and the kubectl
/// lines to look at them are printed. The first time the control plane is built, which takes about five minutes.
///
/// Arguments after `--` are passed on: `cargo xtask demo -- --help`. Ctrl-C ends it and leaves nothing behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// On a real Kubernetes control plane, with real Secrets.
    #[arg(long)]
    kube: bool,
    /// Use this occm instead of building it.
    #[arg(long, requires = "kube", value_name = "PROGRAM")]
    binary: Option<PathBuf>,
    /// Name of the control plane.
    #[arg(long, requires = "kube", default_value = "demo")]
    name: String,
    /// Arguments for `occm dev`.
    #[arg(last = true, conflicts_with = "kube")]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    if args.kube {
        return kube::run(&workspace, &args.name, args.binary.clone());
    }
    let features = match Web::find(&workspace.root).and_then(|web| web.build()) {
        Ok(()) => WITH_CONSOLE,
        Err(error) => {
            say(format!("the demo comes without the web console: {error:#}"));
            WITHOUT_CONSOLE
        }
    };
    say("building occm; the first time this takes minutes, later seconds");
    let status = workspace
        .cargo()
        .arg("build")
        .args(PROGRAM)
        .args(features)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");
    Err(become_demo(&workspace, &args.arguments))
}

/// Replaces this process by the demo, so that terminal, signals and exit code are the demo's own and nothing is left
/// to clean up.
fn become_demo(workspace: &Workspace, arguments: &[String]) -> anyhow::Error {
    let binary = workspace.target.join("debug").join("occm");
    let error = Command::new(&binary).arg("dev").args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot start {}", binary.display()))
}
