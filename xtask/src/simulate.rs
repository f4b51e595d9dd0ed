//! `cargo xtask simulate`: the real rules through years of virtual time.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::console::say;
use crate::workspace::Workspace;

/// Run the real rules through virtual time, on a store and CAs that fail at random, and judge the promises.
///
/// Arguments are those of the simulation, for example `--seed 7 --certificates 20 --days 365`; `-- --help` lists them. A
/// violation prints its shortest story and the command that replays it; it fails, and so does a run in which a fault never
/// came or a promise was never at stake.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for the simulation.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    say("building the simulation with optimisation; the first time this takes minutes");
    let status = workspace
        .cargo()
        .args([
            "run",
            "--quiet",
            "--profile",
            "simulation",
            "--package",
            "occm",
            "--no-default-features",
            "--features",
            "sim",
        ])
        .args(["--bin", "occm-simulate", "--"])
        .args(&args.arguments)
        .status()
        .context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
