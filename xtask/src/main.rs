//! Build and test chores of the project: `cargo xtask --help`.
//!
//! Knows no crate of the product. What it needs of them (names, test targets, features) it asks cargo.

mod bench;
mod cache;
mod console;
mod debian;
mod demo;
mod deny;
mod image;
mod kube;
mod libtest;
mod peers;
mod plan;
mod process;
mod python;
mod report;
mod simulate;
mod stop;
mod stream;
mod test;
mod unpack;
mod web;
mod workspace;

use clap::{Parser, Subcommand};

/// Build and test chores of occm.
///
/// Everything that the chores fetch or build is kept outside the source tree, in `$XDG_CACHE_HOME/occm`
/// (`~/.cache/occm`); delete that folder at any time to start from nothing.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Test(test::Args),
    Peers(peers::Args),
    Kube(kube::Args),
    Image(image::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Simulate(simulate::Args),
}

fn main() -> std::process::ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Kube(args) => kube::run(args),
        Command::Image(args) => image::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            console::error(&error);
            std::process::ExitCode::FAILURE
        }
    }
}
