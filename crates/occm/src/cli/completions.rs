//! `occm completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Which shell.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        clap_complete::generate(
            self.shell,
            &mut super::Cli::command(),
            "occm",
            &mut std::io::stdout(),
        );
        Ok(ExitCode::SUCCESS)
    }
}
