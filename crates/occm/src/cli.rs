//! The command line. Each command is a module; this one says which there are.

mod ca;
mod completions;
mod crds;
mod dev;
#[cfg(feature = "api")]
mod door;
mod inspect;
#[cfg(feature = "api")]
mod openapi;
mod out;
#[cfg(feature = "api")]
mod password;
mod probe;
mod request;
mod serve;
mod snapshot;
mod status;
mod table;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

/// Certificates from a CMP CA into files and Kubernetes Secrets: enrolled, watched, repaired and renewed.
///
/// Try it first: `occm dev` starts a CA, a manager and a few certificates in one process.
#[derive(Parser)]
#[command(name = "occm", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged to standard error: error, warn, info, debug, trace, or a list such as info,occm=debug
    #[arg(
        long,
        global = true,
        env = "OCCM_LOG",
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: String,
    /// How log lines look
    #[arg(
        long,
        global = true,
        env = "OCCM_LOG_FORMAT",
        default_value = "text",
        value_enum,
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Try occm: a CA, the manager and a few certificates in one process, in a throw-away directory
    Dev(dev::Dev),
    /// Run the manager
    Serve(Box<serve::Serve>),
    /// Run the development CA alone. Not for production
    Ca(ca::CaArgs),
    /// Show Issuers and Certificates with their state
    Status(status::StatusArgs),
    /// Ask for a renewal now
    Renew(request::RequestArgs),
    /// Ask for a fresh enrolment with a new key now
    Recreate(request::RequestArgs),
    /// Ask for a new certificate and for revocation of the one in use
    Revoke(request::RequestArgs),
    /// Show what is in a file: certificate, chain, key, request, CRL or CMP message, PEM or DER
    Inspect(inspect::Inspect),
    /// Check objects without running anything
    Verify(verify::Verify),
    /// Ask a running manager whether it is ready
    Probe(probe::Probe),
    /// Print the CustomResourceDefinitions
    Crds(crds::Crds),
    /// Print the OpenAPI document of the REST API
    #[cfg(feature = "api")]
    Openapi(openapi::Openapi),
    /// Hash a password for a file of users (occm serve --users)
    #[cfg(feature = "api")]
    Password(password::Password),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Which store a client command looks at.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// Directory of a standalone manager
    #[arg(long, env = "OCCM_STORE", value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Namespace of the objects
    #[arg(long, short, env = "OCCM_NAMESPACE", default_value = crate::model::object::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
}

/// Form of what a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(self) -> anyhow::Result<ExitCode> {
        let quiet = matches!(self.command, Command::Dev(_)) && self.log_level == "info";
        telemetry::start(if quiet { "error" } else { &self.log_level }, self.log_format)?;
        match self.command {
            Command::Dev(dev) => block_on(dev.run()),
            Command::Serve(serve) => block_on(serve.run()),
            Command::Ca(ca) => block_on(ca.run()),
            Command::Status(status) => block_on(status.run()),
            Command::Renew(args) => block_on(args.run(request::Wanted::Renew)),
            Command::Recreate(args) => block_on(args.run(request::Wanted::Recreate)),
            Command::Revoke(args) => block_on(args.run(request::Wanted::Revoke)),
            Command::Inspect(inspect) => inspect.run(),
            Command::Verify(verify) => verify.run(),
            Command::Probe(probe) => block_on(probe.run()),
            Command::Crds(crds) => crds.run(),
            #[cfg(feature = "api")]
            Command::Openapi(openapi) => openapi.run(),
            #[cfg(feature = "api")]
            Command::Password(password) => password.run(),
            Command::Completions(completions) => completions.run(),
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Resolves when the process is asked to stop, by Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
