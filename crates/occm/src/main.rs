//! The `occm` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    occm::cli::run()
}
