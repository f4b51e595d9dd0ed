//! `occm password`: the hash of a password, for a file of users.

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use zeroize::Zeroizing;

use crate::cli::out;

/// Longest input, in bytes.
const MAX_INPUT: u64 = 4096;

/// The password is read from standard input; a final line break does not belong to it.
#[derive(Args)]
pub(crate) struct Password {}

impl Password {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .context("standard input")?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        out::line(&crate::api::hash_password(password.as_bytes())?);
        Ok(ExitCode::SUCCESS)
    }
}
