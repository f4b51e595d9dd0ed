//! `occm adopt`.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use crate::cli::table::{distance, table};
use crate::cli::target::{Opened, TargetArgs, advised};
use crate::cli::{Output, out};
use crate::client::Run;
use crate::client::adopt::{AdoptResult, Candidate, Outcome, run};
use crate::model::object::Kind;

/// Which Secrets.
///
/// Without names: the Secrets that hold a certificate and that occm did not write, with what is known of them and what stands
/// against taking them over. With names: makes a Certificate for each (existing: Adopt), whose wish comes from the certificate that
/// is there. The Secret keeps its content until the certificate is due for renewal.
#[derive(Args)]
pub(crate) struct Adopt {
    /// Names of Secrets
    #[arg(requires = "issuer")]
    secrets: Vec<String>,
    /// The Issuer that renews them: NAME, or NAMESPACE/NAME
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Print the Certificates and make nothing; on Kubernetes the API server judges each
    #[arg(long, requires = "secrets")]
    dry_run: bool,
    /// List candidates of all namespaces
    #[arg(long, short = 'A', conflicts_with = "secrets")]
    all_namespaces: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

impl Adopt {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let opened = self.target.open().await?;
        let found = self.candidates(&opened).await?;
        if self.secrets.is_empty() {
            out::print(&self.list(&found)?);
            return Ok(ExitCode::SUCCESS);
        }
        let mut chosen = Vec::new();
        for name in &self.secrets {
            let candidate = found.iter().find(|candidate| candidate.secret == *name);
            chosen.push(candidate.cloned().ok_or_else(|| {
                anyhow::anyhow!(
                    "there is no Secret {name:?} in namespace {} that holds a certificate and that occm did not write",
                    opened.namespace
                )
            })?);
        }
        let mode = if self.dry_run { Run::Dry } else { Run::Real };
        let outcomes = run(&*opened.objects, &chosen, mode).await;
        out::print(&self.show(&outcomes)?);
        let failed = outcomes
            .iter()
            .any(|outcome| outcome.result == AdoptResult::Failed);
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    async fn candidates(&self, opened: &Opened) -> anyhow::Result<Vec<Candidate>> {
        let scope = opened.scope(self.all_namespaces);
        let issuer = self.issuer.as_deref().map(|name| opened.key(name));
        if let Some(issuer) = &issuer {
            opened.objects.get(Kind::Issuer, issuer).await.map_err(advised)?;
        }
        let found = opened.objects.candidates(&scope, issuer.as_ref()).await;
        found.map_err(advised)
    }

    fn list(&self, found: &[Candidate]) -> anyhow::Result<String> {
        match self.output {
            Output::Json => return Ok(serde_json::to_string_pretty(found)? + "\n"),
            Output::Yaml => return Ok(serde_saphyr::to_string(&found)?),
            Output::Table => {}
        }
        let now = Timestamp::now();
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|candidate| {
                let end = candidate.not_after.map(|end| distance(now, end));
                vec![
                    candidate.namespace.clone(),
                    candidate.secret.clone(),
                    candidate.kind.clone(),
                    or_dash(&candidate.subject),
                    or_dash(&candidate.sans.join(",")),
                    or_dash(&candidate.issuer),
                    end.unwrap_or_else(|| "-".to_owned()),
                    candidate.algorithm.clone(),
                    candidate.managed_by.clone().unwrap_or_else(|| "-".to_owned()),
                    if candidate.key_fits { "yes" } else { "no" }.to_owned(),
                    verdict(candidate),
                ]
            })
            .collect();
        let header = [
            "NAMESPACE",
            "SECRET",
            "TYPE",
            "SUBJECT",
            "NAMES",
            "ISSUED BY",
            "EXPIRES",
            "KEY",
            "MANAGED BY",
            "KEY FITS",
            "ADOPTABLE",
        ];
        Ok(table(&header, &rows))
    }

    fn show(&self, outcomes: &[Outcome]) -> anyhow::Result<String> {
        match self.output {
            Output::Json => return Ok(serde_json::to_string_pretty(outcomes)? + "\n"),
            Output::Yaml => return Ok(serde_saphyr::to_string(&outcomes)?),
            Output::Table => {}
        }
        let mut text = String::new();
        for outcome in outcomes {
            let secret = format!("Secret {}/{}", outcome.namespace, outcome.secret);
            match (&outcome.result, &outcome.object) {
                (AdoptResult::WouldCreate, Some(object)) => {
                    text.push_str(&format!(
                        "---\n# takes over {secret}\n{}",
                        serde_saphyr::to_string(object)?
                    ));
                }
                (AdoptResult::Failed, _) => {
                    let why = outcome.problem.as_deref().unwrap_or_default().replace('\n', "; ");
                    eprintln!("{secret}: not adopted: {why}");
                }
                (_, object) => {
                    let name = object
                        .as_ref()
                        .and_then(|object| object.pointer("/metadata/name")?.as_str());
                    let name = name.unwrap_or(&outcome.secret);
                    text.push_str(&format!(
                        "Certificate {}/{name} takes over {secret}\n",
                        outcome.namespace
                    ));
                }
            }
        }
        Ok(text)
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

fn verdict(candidate: &Candidate) -> String {
    let said = |word: &str, texts: &[String]| match texts {
        [] => word.to_owned(),
        some => format!("{word}: {}", some.join("; ")),
    };
    if candidate.problems.is_empty() {
        said("yes", &candidate.notes)
    } else {
        said("no", &candidate.problems)
    }
}
