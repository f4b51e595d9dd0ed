//! `occm crds`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::out;

/// Nothing to choose.
#[derive(Args)]
pub(crate) struct Crds {}

impl Crds {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        out::print(&crate::crd::yaml());
        Ok(ExitCode::SUCCESS)
    }
}
