//! `occm ca`: the development CA alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use devca::http::Exposure;
use devca::{Config, DevCa, Policy};
use jiff::Timestamp;
use pki::KeyAlgorithm;

use crate::cli::{out, stop_signal};

/// Settings of the CA.
///
/// It signs what it is asked to sign. It is for development and tests only, NOT FOR PRODUCTION.
///
/// Besides CMP (POST, any path) it serves /-/ca.pem, /-/chain.pem, /-/crl, /-/ledger, /-/stats, and takes faults at
/// /-/faults and other ways to answer at /-/policy.
#[derive(Args)]
pub(crate) struct CaArgs {
    /// Address to listen on; loopback only
    #[arg(
        long,
        default_value = "127.0.0.1:8829",
        env = "OCCM_CA_LISTEN",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Where keys, certificates and ledger are kept; without it everything is made anew at each start
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A client's shared secret, read from a file: REFERENCE=FILE. May be given more than once
    #[arg(long = "secret-file", value_name = "REFERENCE=FILE")]
    secret_files: Vec<String>,
    /// Kind of the CA's own keys: RSA-2048, RSA-3072, RSA-4096, EC-P256, EC-P384, EC-P521, Ed25519
    #[arg(long, default_value = "EC-P256", value_name = "ALGORITHM")]
    key: KeyAlgorithm,
    /// Settings that can also be changed at /-/policy, as JSON
    #[arg(long, value_name = "JSON")]
    policy: Option<String>,
    /// Keep at most so many entries in the ledger; older ones are only counted
    #[arg(long, value_name = "N")]
    ledger_limit: Option<usize>,
}

impl CaArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = Config {
            key_algorithm: self.key,
            directory: self.dir.clone(),
            ledger_limit: self.ledger_limit,
            ..Config::default()
        };
        if let Some(policy) = &self.policy {
            config.policy = serde_json::from_str::<Policy>(policy).context("--policy")?;
        }
        for entry in &self.secret_files {
            let (reference, secret) = secret(entry)?;
            config = config.with_secret(reference, secret);
        }
        let ca = Arc::new(DevCa::new(config, Timestamp::now()).context("the CA cannot be made")?);
        let listener = devca::http::bind(self.listen, Exposure::Loopback)
            .await
            .with_context(|| format!("--listen {}", self.listen))?;
        let address = listener.local_addr()?;
        out::line("development CA, NOT FOR PRODUCTION");
        out::line(&format!("  CMP     http://{address}/cmp"));
        out::line(&format!("  root    curl -s http://{address}/-/ca.pem"));
        out::line(&format!("  ledger  curl -s http://{address}/-/ledger"));
        out::line("  stop    Ctrl-C");
        devca::http::serve(ca, listener, stop_signal()).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn secret(entry: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let (reference, file) = entry
        .split_once('=')
        .with_context(|| format!("--secret-file {entry:?} has no '='; allowed: REFERENCE=FILE"))?;
    let bytes = std::fs::read(file).with_context(|| format!("--secret-file: {file}"))?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec();
    anyhow::ensure!(
        !bytes.is_empty(),
        "--secret-file: {file} is empty; allowed: a shared secret"
    );
    Ok((reference.to_owned(), bytes))
}
