//! `occm migrate`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use crate::cli::table::table;
use crate::cli::target::{TargetArgs, advised};
use crate::cli::{Output, out};
use crate::client::migrate::{Destination, MoveResult, Outcome, Selection, plan, run};
use crate::client::{ClientError, Run};
use crate::model::object::Kind;

/// Which Certificates go where.
///
/// Each Certificate gets another issuerRef, if nobody changed it in the meantime, and is then enrolled at the new Issuer with a new
/// key; its current certificate stays in use until then. One failure stops none of the others; the exit code is 1 if there was one.
#[derive(Args)]
pub(crate) struct Migrate {
    /// The new Issuer: NAME, or NAMESPACE/NAME
    #[arg(long, value_name = "ISSUER")]
    to: String,
    /// Names of Certificates
    #[arg(required_unless_present_any = ["from", "selector", "all"])]
    names: Vec<String>,
    /// Only Certificates of this Issuer: NAME, or NAMESPACE/NAME
    #[arg(long, value_name = "ISSUER")]
    from: Option<String>,
    /// Only Certificates with these labels: KEY=VALUE, separated by commas
    #[arg(long, short = 'l', value_delimiter = ',', value_name = "LABELS", value_parser = label)]
    selector: Vec<(String, String)>,
    /// Every Certificate of the namespace
    #[arg(long, conflicts_with_all = ["names"])]
    all: bool,
    /// Look in all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Say what would happen and change nothing; on Kubernetes the API server judges each change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no '='; allowed: KEY=VALUE"))?;
    Ok((
        name.trim_end_matches('=').to_owned(),
        value.trim_start_matches('=').to_owned(),
    ))
}

impl Migrate {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let opened = self.target.open().await?;
        let to = opened.key(&self.to);
        let issuer = match opened.objects.get(Kind::Issuer, &to).await {
            Ok(issuer) => Some(issuer),
            Err(ClientError::NotFound(what)) if what == format!("Issuer {to}") => None,
            Err(error) => return Err(advised(error)),
        };
        let selection = Selection {
            from: self.from.as_deref().map(|name| opened.key(name)),
            names: self.names.iter().map(|name| opened.key(name)).collect(),
            labels: self.selector.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        let scope = opened.scope(self.all_namespaces);
        let certificates = opened
            .objects
            .list(Kind::Certificate, &scope)
            .await
            .map_err(advised)?;
        let destination = Destination {
            key: to,
            issuer: issuer.as_ref(),
        };
        let moves = plan(&certificates, &selection, &destination);
        let mode = if self.dry_run { Run::Dry } else { Run::Real };
        let outcomes = run(&*opened.objects, &moves, mode).await;
        out::print(&self.show(&outcomes)?);
        let failed = outcomes
            .iter()
            .any(|outcome| outcome.result == MoveResult::Failed);
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn show(&self, outcomes: &[Outcome]) -> anyhow::Result<String> {
        match self.output {
            Output::Json => return Ok(serde_json::to_string_pretty(outcomes)? + "\n"),
            Output::Yaml => return Ok(serde_saphyr::to_string(&outcomes)?),
            Output::Table => {}
        }
        let rows: Vec<Vec<String>> = outcomes
            .iter()
            .map(|outcome| {
                let told = outcome.problem.as_ref().or(outcome.effect.as_ref());
                vec![
                    outcome.namespace.clone(),
                    outcome.name.clone(),
                    outcome.from.clone().unwrap_or_else(|| "-".to_owned()),
                    format!("{:?}", outcome.result),
                    told.cloned().unwrap_or_default().replace('\n', "; "),
                ]
            })
            .collect();
        let count = |result| outcomes.iter().filter(|outcome| outcome.result == result).count();
        let (changed, verb) = match self.dry_run {
            true => (count(MoveResult::WouldChange), "would change"),
            false => (count(MoveResult::Changed), "changed"),
        };
        let header = ["NAMESPACE", "CERTIFICATE", "FROM", "RESULT", "DETAIL"];
        Ok(format!(
            "{}\n{changed} {verb}, {} unchanged, {} failed\n",
            table(&header, &rows),
            count(MoveResult::Unchanged),
            count(MoveResult::Failed)
        ))
    }
}
