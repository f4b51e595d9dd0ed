//! `occm openapi`: the description of the REST API.

use std::process::ExitCode;

use clap::Args;

use crate::cli::out;

/// What is printed.
#[derive(Args)]
pub(crate) struct Openapi {}

impl Openapi {
    #[allow(clippy::unnecessary_wraps, reason = "as every command")]
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        out::print(&crate::api::openapi::text());
        Ok(ExitCode::SUCCESS)
    }
}
