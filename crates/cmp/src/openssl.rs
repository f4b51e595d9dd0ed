//! The engine that drives the `openssl cmp` command (OpenSSL 3.0 and later).
//!
//! ```text
//!   exchange ──► plan: arguments, files ──► private directory ──► openssl cmp .. ──► files, texts
//!                                                │                                        │
//!                removed whatever happens ◄──────┘         Answer | CmpError ◄────────────┘
//! ```
//!
//! One call of the command is one whole transaction: it makes its own transactionID, polls, and confirms before we see
//! the certificate. So it cannot be resumed, and [`crate::verify::issued`], which looks at its certificates as at those
//! of the native engine, comes too late to reject them: the caller revokes instead. What else is missing depends on the
//! version, see [`Version::missing`].
//!
//! Secrets and keys are never arguments or variables, which other users can see; they are files in a directory that only
//! we can enter, in memory where the system has a place for that, and so need no passphrase.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::BoxFuture;
use pki::{Certificate, parse_certificates};

use crate::engine::{Answer, Capabilities, Context, Engine, Outcome, Request, Step};
use crate::error::{CmpError, ErrorKind, Stage};
use crate::http::HttpConfig;
use crate::transaction::Transaction;
use crate::transport::Reached;

use arguments::Plan;
use outcome::Report;
use run::{End, Finished, run};
use scratch::Scratch;

pub use version::{Version, VersionError};

mod arguments;
mod outcome;
mod run;
mod scratch;
mod spawn;
mod version;

/// How long `openssl version` may take.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// How long the command may take beyond its own total time-out, which it does not keep in every phase.
const GRACE: Duration = Duration::from_secs(2);

/// How to run the command.
#[derive(Clone, Debug)]
pub struct OpenSslConfig {
    /// The program: an absolute path, or a name to look for in `PATH`. Default: `openssl`.
    pub command: PathBuf,
    /// Server, proxy, time-outs and TLS. `version` has no effect: the command speaks HTTP/1.0.
    pub http: HttpConfig,
    /// Default: [`Connections::PerMessage`].
    pub connections: Connections,
    /// Where the private directories are made. Default: `/dev/shm`, or the place for temporary files.
    pub scratch: Option<PathBuf>,
    /// A program with its first arguments that runs the command (which it gets as its further arguments) in its own place
    /// and such that it does not outlive us. Empty: the command is run directly, and goes on when we are killed.
    pub guard: Vec<OsString>,
}

impl OpenSslConfig {
    /// The system's command with all defaults.
    #[must_use]
    pub fn new(http: HttpConfig) -> Self {
        Self {
            command: PathBuf::from("openssl"),
            http,
            connections: Connections::default(),
            scratch: None,
            guard: Vec::new(),
        }
    }
}

/// Whether a connection is kept for the next message of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connections {
    /// A new one for each message (`-keep_alive 0`). The faster way: on a kept one, each second message waits 40 ms for
    /// an acknowledgement, since the command writes head and body apart.
    #[default]
    PerMessage,
    /// One for all, if the server agrees (`-keep_alive 1`), for servers that tie a transaction to its connection.
    Kept,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum OpenSslError {
    /// The program cannot be started.
    #[error("cannot run {}: {source}", command.display())]
    Command {
        /// The program.
        command: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not an OpenSSL that we can drive.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// No private directory can be made.
    #[error("cannot use {} for private files: {source}", path.display())]
    Scratch {
        /// The place.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The engine `openssl`.
#[derive(Debug)]
pub struct OpenSsl {
    config: OpenSslConfig,
    scratch: PathBuf,
    version: Version,
}

impl OpenSsl {
    /// Finds the command, checks its version, and removes what killed processes have left in the private place.
    ///
    /// # Errors
    ///
    /// No command, a version before 3.0, or no place for private files.
    pub async fn start(config: OpenSslConfig) -> Result<Self, OpenSslError> {
        let command = find(&config.command);
        let scratch = config.scratch.clone().unwrap_or_else(scratch::default_base);
        let finished = run(
            &command,
            &["version"],
            &[("LC_ALL", "C")],
            Path::new("/"),
            PROBE_TIME,
        )
        .await;
        let finished = finished.map_err(|source| OpenSslError::Command {
            command: command.clone(),
            source,
        })?;
        let version = Version::parse(&finished.output)?;
        scratch::sweep(&scratch).map_err(|source| OpenSslError::Scratch {
            path: scratch.clone(),
            source,
        })?;
        Ok(Self {
            config: OpenSslConfig { command, ..config },
            scratch,
            version,
        })
    }

    /// The version of the command that was found.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    async fn transact(&self, transaction: &mut Transaction, context: &Context<'_>) -> Result<Step, CmpError> {
        if let Some(answer) = transaction.issued() {
            return Ok(Step::Issued(Box::new(answer.clone())));
        }
        let request = transaction.request().clone();
        let plan = arguments::plan(&self.config, self.version, &request, context)?;
        let scratch = self.prepare(&plan).map_err(|error| local(&error))?;
        transaction.start_external()?;
        let finished = self.run(&plan, &scratch).await?;
        if finished.end != End::Success {
            return Err(outcome::failure(&finished, self.limit()));
        }
        let text = String::from_utf8_lossy(&finished.output);
        let report = Report::new(&text);
        match request {
            Request::Revoke { .. } => transaction.finish_external(Outcome::Revoked {
                text: report.status_text(),
            }),
            Request::Enrol(_) => transaction.answer_external(self.answer(&scratch, &report)?),
            Request::General(_) => Err(CmpError::settings("a general message by the engine openssl")),
        }
    }

    /// Makes the private directory and its files.
    fn prepare(&self, plan: &Plan) -> io::Result<Scratch> {
        let scratch = Scratch::new(&self.scratch)?;
        for (name, contents) in &plan.files {
            scratch.write(name, contents)?;
        }
        Ok(scratch)
    }

    async fn run(&self, plan: &Plan, scratch: &Scratch) -> Result<Finished, CmpError> {
        // The library reads the configuration that this names, and not the system's.
        let variables = [("OPENSSL_CONF", arguments::CONFIGURATION), ("LC_ALL", "C")];
        let command = &self.config.command;
        let guarded: Vec<OsString> = match self.config.guard.as_slice() {
            [] => Vec::new(),
            guard => guard.iter().cloned().chain([command.clone().into()]).collect(),
        };
        let (limit, directory) = (self.limit(), scratch.path());
        let finished = match guarded.split_first() {
            None => run(command, &plan.arguments, &variables, directory, limit).await,
            Some((guard, before)) => {
                let arguments = before.iter().map(OsString::as_os_str);
                let arguments: Vec<&OsStr> = arguments
                    .chain(plan.arguments.iter().map(AsRef::as_ref))
                    .collect();
                run(Path::new(guard), &arguments, &variables, directory, limit).await
            }
        };
        finished.map_err(|error| local(&error))
    }

    fn limit(&self) -> Duration {
        self.config.http.total_timeout + GRACE
    }

    /// Reads what the command has written. Nothing of it is believed here.
    fn answer(&self, scratch: &Scratch, report: &Report<'_>) -> Result<Answer, CmpError> {
        let read = |name: &'static str| -> Result<Vec<Certificate>, CmpError> {
            let malformed =
                |reason: String| CmpError::new(Stage::Verifying, ErrorKind::Malformed { what: name, reason });
            let bytes = scratch.read(name).map_err(|error| malformed(error.to_string()))?;
            if bytes.trim_ascii().is_empty() {
                return Ok(Vec::new());
            }
            parse_certificates(&bytes).map_err(|error| malformed(error.to_string()))
        };
        let certificate = read(arguments::CERTIFICATE)?.into_iter().next().ok_or_else(|| {
            let text = "openssl cmp reported success and wrote no certificate";
            CmpError::new(Stage::Verifying, ErrorKind::Program(text.to_owned()))
        })?;
        let mut extra: Vec<Certificate> = Vec::new();
        for found in read(arguments::CHAIN)?.into_iter().chain(read(arguments::EXTRA)?) {
            if found != certificate && !extra.contains(&found) {
                extra.push(found);
            }
        }
        Ok(Answer {
            certificate,
            extra,
            ca_pubs: read(arguments::CA_PUBS)?,
            granted_with_mods: report.granted_with_mods(),
            text: report.status_text(),
            confirm_by: None,
            warnings: Vec::new(),
        })
    }
}

/// A failure on this side, before the command could do anything.
fn local(error: &io::Error) -> CmpError {
    CmpError::new(
        Stage::Preparing,
        ErrorKind::Program(format!("cannot run openssl cmp: {error}")),
    )
    .with_reached(Reached::No)
}

/// Looks a plain name up in `PATH`: the command runs without it.
fn find(command: &Path) -> PathBuf {
    let plain = command.components().count() == 1 && !command.is_absolute();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(command))
        .find(|file| plain && file.is_file());
    found.unwrap_or_else(|| command.to_owned())
}

impl Engine for OpenSsl {
    fn name(&self) -> &'static str {
        "openssl"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            resumes: false,
            confirms_on_accept: false,
            pbmac1: false,
            general: false,
            profiles: self.version.knows_profiles(),
        }
    }

    fn begin(&self, request: &Request, context: &Context<'_>) -> Result<Transaction, CmpError> {
        // Made for its refusals: what the command cannot do is said before anything is recorded.
        arguments::plan(&self.config, self.version, request, context)?;
        Transaction::external(request, context)
    }

    fn exchange<'a>(
        &'a self,
        transaction: &'a mut Transaction,
        context: &'a Context<'a>,
    ) -> BoxFuture<'a, Result<Step, CmpError>> {
        Box::pin(self.transact(transaction, context))
    }
}
