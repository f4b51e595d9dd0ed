//! The command line. Each command is a module; this one says which there are.

mod adopt;
mod ca;
mod completions;
mod crds;
mod dev;
#[cfg(feature = "api")]
mod door;
pub(crate) mod guard;
mod inspect;
mod migrate;
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
mod target;
mod verify;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

/// Name of the program as a plug-in of kubectl.
const PLUGIN: &str = "kubectl-occm";

/// Certificates from a CMP CA into files and Kubernetes Secrets: enrolled, watched, repaired and renewed.
///
/// Try it first: `occm dev` starts a CA, a manager and a few certificates in one process.
#[derive(Parser)]
#[command(name = "occm", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged to standard error: error, warn, info, debug, trace, or a list such as info,occm=debug. Default: info for
    /// serve and ca, error for commands that print what there is to say
    #[arg(long, global = true, env = "OCCM_LOG", value_name = "LEVEL")]
    log_level: Option<String>,
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
    /// Move Certificates to another Issuer
    Migrate(migrate::Migrate),
    /// Take over Secrets that somebody else made
    Adopt(adopt::Adopt),
    /// Show what is in a file, a Secret or the outputs of a Certificate: never a private key
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
    if let Some(code) = guard::run_if_asked() {
        return code;
    }
    let matches = command(std::env::args_os().next().as_deref()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line of the program of this name: named `kubectl-occm` it is a plug-in of kubectl, says so, and is about a cluster
/// whatever the environment says of a directory.
fn command(program: Option<&OsStr>) -> clap::Command {
    let command = Cli::command();
    if program.and_then(|program| Path::new(program).file_name()) != Some(OsStr::new(PLUGIN)) {
        return command;
    }
    let ours: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    let plugin = command.bin_name("kubectl occm");
    ours.into_iter().fold(plugin, |plugin, name| {
        plugin.mut_subcommand(name, |one| {
            let about_objects = one
                .get_arguments()
                .any(|argument| argument.get_id() == "kubeconfig");
            if !about_objects {
                return one;
            }
            one.mut_arg("store", |store| store.env(Resettable::Reset).hide(true))
        })
    })
}

impl Cli {
    fn run(self) -> anyhow::Result<ExitCode> {
        let usual = match self.command {
            Command::Serve(_) | Command::Ca(_) => "info",
            _ => "error",
        };
        telemetry::start(self.log_level.as_deref().unwrap_or(usual), self.log_format)?;
        match self.command {
            Command::Dev(dev) => block_on(dev.run()),
            Command::Serve(serve) => block_on(serve.run()),
            Command::Ca(ca) => block_on(ca.run()),
            Command::Status(status) => block_on(status.run()),
            Command::Renew(args) => block_on(args.run(request::Wanted::Renew)),
            Command::Recreate(args) => block_on(args.run(request::Wanted::Recreate)),
            Command::Revoke(args) => block_on(args.run(request::Wanted::Revoke)),
            Command::Migrate(migrate) => block_on(migrate.run()),
            Command::Adopt(adopt) => block_on(adopt.run()),
            Command::Inspect(inspect) => block_on(inspect.run()),
            Command::Verify(verify) => block_on(verify.run()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_under_both_names() {
        for name in ["occm", "/usr/local/bin/kubectl-occm"] {
            command(Some(OsStr::new(name))).debug_assert();
        }
    }

    #[test]
    fn the_plug_in_says_how_it_is_called() {
        let mut plugin = command(Some(OsStr::new("/usr/local/bin/kubectl-occm")));
        plugin.build();
        let status = plugin
            .find_subcommand_mut("status")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(status.contains("Usage: kubectl occm status"), "{status}");
        assert!(!status.contains("OCCM_STORE"), "{status}");
        let mut plain = command(Some(OsStr::new("occm")));
        plain.build();
        let status = plain
            .find_subcommand_mut("status")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(
            status.contains("Usage: occm status") && status.contains("OCCM_STORE"),
            "{status}"
        );
    }
}
