//! `cargo xtask bench`: what an enrolment costs, and what the whole manager costs, each measured in one run.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::console::say;
use crate::kube::build::{Assets, CONTROL_PLANE, Program};
use crate::workspace::Workspace;

/// Measure enrolments of both engines and of the plain `openssl cmp` command line, and the whole path on a directory.
///
/// One run, one machine, the CA in a process of its own; prints rates, CPU and ratios. Takes a few minutes after the
/// build. Needs the `openssl` command.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Also write the figures to this file, as a flat JSON map.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Measure the manager on a real Kubernetes control plane on this machine, which is built and brought up first.
    ///
    /// Prints issuances a second, requests and CPU for each, memory, times of start and repair, and what is written when
    /// nothing changes. Takes about ten minutes after the builds.
    Kube(KubeArgs),
}

#[derive(clap::Args)]
struct KubeArgs {
    /// How many certificates; without it first 1,000, then 10,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    certificates: Option<u32>,
    /// Also write the figures to this file, as a flat JSON map.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        None => host(args.json.as_ref()),
        Some(What::Kube(args)) => kube(args),
    }
}

fn host(json: Option<&PathBuf>) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut command = bench(&workspace, "host", &["--no-default-features"]);
    add_json(&mut command, json)?;
    finish(command)
}

/// The control plane is brought up and taken down by the benchmark itself, with this program.
fn kube(args: &KubeArgs) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut programs = CONTROL_PLANE.to_vec();
    programs.push(Program::Helm);
    let assets = Assets::bring(None, &programs)?;
    let mut command = bench(&workspace, "kube", &[]);
    if let Some(certificates) = args.certificates {
        command.arg("--certificates").arg(certificates.to_string());
    }
    add_json(&mut command, args.json.as_ref())?;
    command
        .env(
            "OCCM_XTASK",
            std::env::current_exe().context("cannot find this program")?,
        )
        .env("KUBEBUILDER_ASSETS", &assets.folder);
    finish(command)
}

fn bench(workspace: &Workspace, name: &str, features: &[&str]) -> Command {
    say("building the benchmark with optimisation; the first time this takes minutes");
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "occm"]).args(features);
    command.args(["--bench", name, "--"]);
    command
}

fn add_json(command: &mut Command, file: Option<&PathBuf>) -> Result<()> {
    if let Some(file) = file {
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    Ok(())
}

fn finish(mut command: Command) -> Result<ExitCode> {
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
