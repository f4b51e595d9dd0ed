//! `occm renew`, `occm recreate`, `occm revoke`: a request token in the object, served by reconciliation.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use crate::cli::snapshot::{LOOK_AGAIN, Snapshot, open};
use crate::cli::{StoreArgs, out};
use crate::model::object::{
    Kind, OVER_BUDGET_ANNOTATION, ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION,
};
use crate::store::{Seen, Store};

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
    store: StoreArgs,
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
        let store = open(&self.store)?;
        let snapshot = Snapshot::of(&store);
        let targets = self.targets(&snapshot)?;
        let token = Timestamp::now().to_string();
        let mut annotations = BTreeMap::from([(wanted.annotation().to_owned(), token.clone())]);
        if self.over_budget {
            annotations.insert(OVER_BUDGET_ANNOTATION.to_owned(), token);
        }
        for (key, _) in &targets {
            store
                .annotate(Kind::Certificate, key, &annotations)
                .await
                .with_context(|| format!("Certificate {key}"))?;
            out::line(&format!("{key}: {} asked for", wanted.noun()));
        }
        match patience {
            Some(patience) => wait(&self.store, &targets, patience).await,
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// The Certificates with the revision that is in use now.
    fn targets(&self, snapshot: &Snapshot) -> anyhow::Result<Vec<(ObjectKey, u64)>> {
        let namespace = &self.store.namespace;
        if self.all {
            let all = snapshot
                .certificates
                .keys()
                .filter(|key| key.namespace == *namespace);
            return Ok(all.map(|key| (key.clone(), revision(snapshot, key))).collect());
        }
        self.names
            .iter()
            .map(|name| {
                let key = ObjectKey::new(namespace, name);
                anyhow::ensure!(
                    snapshot.certificates.contains_key(&key),
                    "there is no Certificate {name:?} in namespace {namespace}"
                );
                Ok((key.clone(), revision(snapshot, &key)))
            })
            .collect()
    }
}

fn revision(snapshot: &Snapshot, key: &ObjectKey) -> u64 {
    match snapshot.certificates.get(key) {
        Some(Seen::Object(object)) => object
            .status
            .as_ref()
            .and_then(|status| status.revision)
            .unwrap_or(0),
        Some(Seen::Broken(_)) | None => 0,
    }
}

async fn wait(
    store: &StoreArgs,
    targets: &[(ObjectKey, u64)],
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let snapshot = Snapshot::of(&open(store)?);
        let late: Vec<&ObjectKey> = targets
            .iter()
            .filter(|(key, before)| revision(&snapshot, key) <= *before)
            .map(|(key, _)| key)
            .collect();
        if late.is_empty() {
            targets
                .iter()
                .for_each(|(key, _)| out::line(&format!("{key}: revision {}", revision(&snapshot, key))));
            return Ok(ExitCode::SUCCESS);
        }
        if tokio::time::Instant::now() >= deadline {
            let late: Vec<String> = late.iter().map(ToString::to_string).collect();
            anyhow::bail!(
                "not done after {}s: {}; see occm status",
                patience.as_secs(),
                late.join(", ")
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
