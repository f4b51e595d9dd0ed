//! `occm inspect`.

mod message;
mod object;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::target::TargetArgs;
use crate::cli::{Output, out};

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
    /// How it is shown; json and yaml for files
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    target: TargetArgs,
}

impl Inspect {
    pub(crate) async fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some((thing, name)) = object::named(&self.what) {
            anyhow::ensure!(
                self.output == Output::Table,
                "--output: objects are shown as text here; allowed: table, or `occm status {name} -o json`"
            );
            let opened = self.target.open().await?;
            out::print(&object::describe(&opened, thing, name).await?);
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.what.display();
        let bytes = self.read().with_context(|| format!("{name}"))?;
        anyhow::ensure!(!bytes.is_empty(), "{name}: is empty");
        match self.shown(&bytes) {
            Ok(text) => out::print(&text?),
            Err(_) if is_pkcs12(&bytes) => anyhow::bail!(
                "{name}: is a PKCS#12 file, which is not read; its certificates: openssl pkcs12 -nokeys -in {} | occm inspect -",
                out::word(&self.what)
            ),
            Err(_) if is_crl(&bytes) => anyhow::bail!(
                "{name}: is a revocation list (CRL), which is not shown; see openssl crl -noout -text -in {}",
                out::word(&self.what)
            ),
            Err(error) => anyhow::bail!(
                "{name}: {error}; allowed: a certificate, a chain, a private key, a PKCS#10 request or a CMP message, \
                 PEM or DER; or secret/NAME, certificate/NAME or issuer/NAME"
            ),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The text, or why it cannot be made; an error if nothing in the bytes is understood.
    fn shown(&self, bytes: &[u8]) -> Result<anyhow::Result<String>, pki::Error> {
        Ok(match self.output {
            Output::Table => Ok(describe(bytes)?),
            Output::Json => {
                let data = data(bytes)?;
                serde_json::to_string_pretty(&data)
                    .map(|text| text + "\n")
                    .map_err(Into::into)
            }
            Output::Yaml => serde_saphyr::to_string(&data(bytes)?).map_err(Into::into),
        })
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

/// A SEQUENCE that begins with version 3 and has content of type data (RFC 7292, section 4).
fn is_pkcs12(bytes: &[u8]) -> bool {
    const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let head = bytes.get(..40.min(bytes.len())).unwrap_or_default();
    let has = |wanted: &[u8]| head.windows(wanted.len()).any(|part| part == wanted);
    head.starts_with(&[0x30]) && has(&[0x02, 0x01, 0x03, 0x30]) && has(DATA)
}

fn is_crl(bytes: &[u8]) -> bool {
    const LABEL: &[u8] = b"-----BEGIN X509 CRL-----";
    bytes.windows(LABEL.len()).any(|part| part == LABEL)
}

/// The same facts as data: a list with one object for each thing in the file. Names are the text's, in camelCase.
fn data(bytes: &[u8]) -> Result<serde_json::Value, pki::Error> {
    let mut all = Vec::new();
    let certificates = match message::facts(bytes) {
        None => pki::inspect::facts(bytes)?,
        Some((facts, certificates)) => {
            let mut object = serde_json::Map::from_iter([("kind".to_owned(), "CMP message".into())]);
            for (name, value) in facts {
                match object.get_mut(name) {
                    // Several statuses: all of them.
                    Some(serde_json::Value::String(known)) => *known = format!("{known}; {value}"),
                    _ => drop(object.insert(name.to_owned(), value.into())),
                }
            }
            all.push(object.into());
            let texts = certificates
                .iter()
                .map(|certificate| pki::inspect::facts(certificate.der()));
            texts.collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    all.extend(certificates.iter().map(|thing| {
        let mut object = serde_json::Map::from_iter([("kind".to_owned(), thing.title.into())]);
        for (name, fact) in &thing.facts {
            let value = match fact {
                pki::inspect::Fact::One(text) => text.clone().into(),
                pki::inspect::Fact::Many(texts) => texts.clone().into(),
            };
            object.insert(camel_case(name), value);
        }
        serde_json::Value::from(object)
    }));
    Ok(all.into())
}

/// `SHA-256 fingerprint` → `sha256Fingerprint`.
fn camel_case(name: &str) -> String {
    let words = name.split(' ').map(|word| word.replace('-', ""));
    let mut text = String::new();
    for word in words {
        let lower = word.to_lowercase();
        let mut letters = lower.chars();
        match letters.next() {
            Some(first) if !text.is_empty() => text.extend(first.to_uppercase().chain(letters)),
            Some(first) => text.extend(std::iter::once(first).chain(letters)),
            None => {}
        }
    }
    text
}

/// Text for people about a file's content. A CMP message is tried first: nothing else begins like one.
fn describe(bytes: &[u8]) -> Result<String, pki::Error> {
    match message::describe(bytes) {
        Some(text) => Ok(text),
        None => pki::inspect::file(bytes),
    }
}
