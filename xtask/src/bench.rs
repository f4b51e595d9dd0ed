//! `cargo xtask bench`: what an enrolment costs, measured in one run.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::console::say;
use crate::workspace::Workspace;

/// Measure enrolments of both engines and of the plain `openssl cmp` command line, and the whole path on a directory.
///
/// One run, one machine, the CA in a process of its own; prints rates, CPU and ratios. Takes a few minutes after the
/// build. Needs the `openssl` command.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also write the figures to this file, as a flat JSON map.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    say("building the benchmark with optimisation; the first time this takes minutes");
    let mut command = workspace.cargo();
    command.args([
        "bench",
        "--package",
        "occm",
        "--no-default-features",
        "--bench",
        "host",
        "--",
    ]);
    if let Some(file) = &args.json {
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
