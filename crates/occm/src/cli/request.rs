//! `occm renew`, `occm recreate`, `occm revoke`: a request token in the object, served by reconciliation.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use crate::cli::out;
use crate::cli::snapshot::LOOK_AGAIN;
use crate::cli::target::{Opened, TargetArgs, advised};
use crate::client::{ClientError, Item, Run};
use crate::model::object::{
    Kind, OVER_BUDGET_ANNOTATION, ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};
use crate::store::Seen;

/// Which Certificates.
#[derive(Args)]
pub(crate) struct RequestArgs {
    /// Names of Certificates
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Every Certificate of the namespace
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Serve the request also when the daily budget of the Certificate is used up
    #[arg(long)]
    over_budget: bool,
    /// Wait until a new certificate is in use, at most so long, for example 30s
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s")]
    wait: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Renew,
    Recreate,
    Revoke,
}

impl Wanted {
    fn annotation(self) -> &'static str {
        match self {
            Self::Renew => RENEW_ANNOTATION,
            Self::Recreate => RECREATE_ANNOTATION,
            Self::Revoke => REVOKE_ANNOTATION,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Renew => "renewal",
            Self::Recreate => "fresh enrolment",
            Self::Revoke => "revocation and a new certificate",
        }
    }
}

impl RequestArgs {
    pub(crate) async fn run(self, wanted: Wanted) -> anyhow::Result<ExitCode> {
        let patience = self
            .wait
            .as_deref()
            .map(crate::model::duration::parse)
            .transpose();
        let patience = patience.map_err(|problem| {
            anyhow::anyhow!("--wait {problem}; allowed: {}", crate::model::duration::ALLOWED)
        })?;
        let opened = self.target.open().await?;
        let targets = self.targets(&opened).await?;
        let token = Timestamp::now().to_string();
        let mut annotations = BTreeMap::from([(wanted.annotation().to_owned(), token.clone())]);
        if self.over_budget {
            annotations.insert(OVER_BUDGET_ANNOTATION.to_owned(), token);
        }
        for (key, _) in &targets {
            let asked = opened
                .objects
                .annotate(Kind::Certificate, key, &annotations, None, Run::Real)
                .await;
            asked
                .map_err(advised)
                .with_context(|| format!("Certificate {key}"))?;
            out::line(&format!("{key}: {} asked for", wanted.noun()));
        }
        match patience {
            Some(patience) => wait(&opened, &targets, patience).await,
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// The Certificates with the revision that is in use now.
    async fn targets(&self, opened: &Opened) -> anyhow::Result<Vec<(ObjectKey, u64)>> {
        if self.all {
            let scope = opened.scope(false);
            let all = opened
                .objects
                .list(Kind::Certificate, &scope)
                .await
                .map_err(advised)?;
            return Ok(all
                .iter()
                .map(|item| (item.key.clone(), revision(item)))
                .collect());
        }
        let mut targets = Vec::new();
        for name in &self.names {
            let key = ObjectKey::new(&opened.namespace, name);
            match opened.objects.get(Kind::Certificate, &key).await {
                Ok(item) => targets.push((key, revision(&item))),
                Err(ClientError::NotFound(what)) if what == format!("Certificate {key}") => {
                    anyhow::bail!(
                        "there is no Certificate {name:?} in namespace {}",
                        opened.namespace
                    )
                }
                Err(error) => return Err(advised(error)),
            }
        }
        Ok(targets)
    }
}

fn revision(item: &Item) -> u64 {
    match item.certificate() {
        Seen::Object(object) => object
            .status
            .as_ref()
            .and_then(|status| status.revision)
            .unwrap_or(0),
        Seen::Broken(_) => 0,
    }
}

async fn wait(opened: &Opened, targets: &[(ObjectKey, u64)], patience: Duration) -> anyhow::Result<ExitCode> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut late: Vec<&(ObjectKey, u64)> = targets.iter().collect();
    loop {
        let mut still = Vec::new();
        for target in late {
            let (key, before) = target;
            match opened.objects.get(Kind::Certificate, key).await {
                Ok(item) if revision(&item) > *before => {
                    out::line(&format!("{key}: revision {}", revision(&item)));
                }
                // A store that is away for a moment is asked again.
                Ok(_) | Err(ClientError::Unavailable(..)) => still.push(target),
                Err(error) => return Err(advised(error)),
            }
        }
        late = still;
        if late.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if tokio::time::Instant::now() >= deadline {
            let late: Vec<String> = late.iter().map(|(key, _)| key.to_string()).collect();
            anyhow::bail!(
                "not done after {}s: {}; see occm status",
                patience.as_secs(),
                late.join(", ")
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
