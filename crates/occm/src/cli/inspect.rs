//! `occm inspect`.

mod message;
mod object;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::out;
use crate::cli::target::TargetArgs;

/// Largest file that is looked at, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// What to look at.
///
/// Private keys are never printed: of a key only its algorithm and the fingerprint of its public half are shown, of one in a
/// Secret only its algorithm and whether it belongs to the certificate.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A file with a certificate, chain, key, request or CMP message, PEM or DER; - for standard input; or secret/NAME,
    /// certificate/NAME or issuer/NAME
    what: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
}

impl Inspect {
    pub(crate) async fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some((thing, name)) = object::named(&self.what) {
            let opened = self.target.open().await?;
            out::print(&object::describe(&opened, thing, name).await?);
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.what.display();
        let bytes = self.read().with_context(|| format!("{name}"))?;
        match describe(&bytes) {
            Ok(text) => out::print(&text),
            Err(error) => anyhow::bail!(
                "{name}: {error}; allowed: a certificate, a chain, a private key, a PKCS#10 request or a CMP message, \
                 PEM or DER; or secret/NAME, certificate/NAME or issuer/NAME"
            ),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = MAX_BYTES + 1;
        if self.what.as_os_str() == "-" {
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        } else {
            std::fs::File::open(&self.what)?
                .take(limit)
                .read_to_end(&mut bytes)?;
        }
        anyhow::ensure!(bytes.len() as u64 <= MAX_BYTES, "is larger than 1 MiB");
        Ok(bytes)
    }
}

/// Text for people about a file's content. A CMP message is tried first: nothing else begins like one.
fn describe(bytes: &[u8]) -> Result<String, pki::Error> {
    match message::describe(bytes) {
        Some(text) => Ok(text),
        None => pki::inspect::file(bytes),
    }
}
