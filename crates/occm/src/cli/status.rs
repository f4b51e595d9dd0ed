//! `occm status`.

use std::process::ExitCode;

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::snapshot::Snapshot;
use crate::cli::table::{distance, table};
use crate::cli::target::{Opened, TargetArgs};
use crate::cli::{Output, out, stop_signal};
use crate::client::Told;
use crate::model::certificate::Certificate;
use crate::model::condition::{Condition, ConditionStatus};
use crate::model::issuer::Issuer;
use crate::model::object::ObjectKey;
use crate::store::{Broken, Seen};

/// Changes that come so soon after each other are shown together.
const TOGETHER: std::time::Duration = std::time::Duration::from_millis(100);

/// What to show.
///
/// Columns: READY is True, False or Unknown; REASON is one word, the same as in logs, events and metrics; EXPIRES and RENEWS
/// say how long from now.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Names of Certificates or Issuers; none = all
    names: Vec<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// All namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Go on and show every change
    #[arg(long, short)]
    watch: bool,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Serialize)]
struct Listing {
    issuers: Vec<Issuer>,
    certificates: Vec<Certificate>,
    broken: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    name: String,
    origin: String,
    problem: String,
}

impl StatusArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let opened = self.target.open().await?;
        let snapshot = Snapshot::of(&*opened.objects, &opened.scope(self.all_namespaces)).await?;
        out::print(&self.show(&snapshot)?);
        for problem in &snapshot.problems {
            eprintln!("warning: {problem}");
        }
        if !self.watch {
            return self.found(&snapshot, &opened.namespace);
        }
        tokio::select! {
            done = self.follow(&opened, snapshot) => done?,
            () = stop_signal() => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows every change, those of one moment together.
    async fn follow(&self, opened: &Opened, mut snapshot: Snapshot) -> anyhow::Result<()> {
        let mut shown = serde_json::to_value(self.listing(&snapshot))?;
        let mut told = opened.objects.watch(&opened.scope(self.all_namespaces));
        // What is gone since the first look is not told: the list of the watch replaces it.
        let mut first = Some(Snapshot::default());
        while let Some(change) = told.next().await {
            hear(change, &mut snapshot, &mut first);
            while let Ok(Some(change)) = tokio::time::timeout(TOGETHER, told.next()).await {
                hear(change, &mut snapshot, &mut first);
            }
            let now = serde_json::to_value(self.listing(&snapshot))?;
            if first.is_none() && now != shown {
                out::line(&format!("\n{}", self.show(&snapshot)?));
                shown = now;
            }
        }
        Ok(())
    }

    fn wants(&self, key: &ObjectKey) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| *name == key.name)
    }

    /// A name that was asked for and does not exist is an error.
    fn found(&self, snapshot: &Snapshot, namespace: &str) -> anyhow::Result<ExitCode> {
        for name in &self.names {
            let there = snapshot.issuers.keys().chain(snapshot.certificates.keys());
            if !there.into_iter().any(|key| key.name == *name) {
                anyhow::bail!("there is no Issuer or Certificate {name:?} in namespace {namespace}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, snapshot: &Snapshot) -> anyhow::Result<String> {
        let now = Timestamp::now();
        Ok(match self.output {
            Output::Table => self.tables(snapshot, now),
            Output::Json => serde_json::to_string_pretty(&self.listing(snapshot))? + "\n",
            Output::Yaml => serde_saphyr::to_string(&self.listing(snapshot))?,
        })
    }

    fn listing(&self, snapshot: &Snapshot) -> Listing {
        let mut listing = Listing {
            issuers: Vec::new(),
            certificates: Vec::new(),
            broken: Vec::new(),
        };
        for (key, seen) in snapshot.issuers.iter().filter(|(key, _)| self.wants(key)) {
            match seen {
                Seen::Object(object) => listing.issuers.push(object.as_ref().clone()),
                Seen::Broken(broken) => listing.broken.push(wrong(key, broken)),
            }
        }
        for (key, seen) in snapshot.certificates.iter().filter(|(key, _)| self.wants(key)) {
            match seen {
                Seen::Object(object) => listing.certificates.push(object.as_ref().clone()),
                Seen::Broken(broken) => listing.broken.push(wrong(key, broken)),
            }
        }
        listing
    }

    fn tables(&self, snapshot: &Snapshot, now: Timestamp) -> String {
        let issuers: Vec<Vec<String>> = snapshot
            .issuers
            .iter()
            .filter(|(key, _)| self.wants(key))
            .map(|(key, seen)| issuer_row(key, seen, now))
            .collect();
        let certificates: Vec<Vec<String>> = snapshot
            .certificates
            .iter()
            .filter(|(key, _)| self.wants(key))
            .map(|(key, seen)| certificate_row(key, seen, now))
            .collect();
        certificate_and_issuer_tables(&issuers, &certificates)
    }
}

fn hear(change: Told, snapshot: &mut Snapshot, first: &mut Option<Snapshot>) {
    match (change, first.as_mut()) {
        (Told::Failed(error), _) => eprintln!("warning: {error}; trying again"),
        (Told::Synced, _) => *snapshot = first.take().unwrap_or_default(),
        (change, Some(listed)) => drop(listed.hear(change)),
        (change, None) => drop(snapshot.hear(change)),
    }
}

/// Both tables under each other.
pub(crate) fn certificate_and_issuer_tables(issuers: &[Vec<String>], certificates: &[Vec<String>]) -> String {
    let issuers = table(
        &[
            "NAMESPACE",
            "ISSUER",
            "READY",
            "REASON",
            "IDENTITY EXPIRES",
            "MESSAGE",
        ],
        issuers,
    );
    let certificates = table(
        &[
            "NAMESPACE",
            "CERTIFICATE",
            "READY",
            "REASON",
            "REVISION",
            "EXPIRES",
            "RENEWS",
            "MESSAGE",
        ],
        certificates,
    );
    format!("{issuers}\n{certificates}")
}

fn wrong(key: &ObjectKey, broken: &Broken) -> Wrong {
    Wrong {
        name: key.to_string(),
        origin: broken.origin.clone(),
        problem: broken.errors.to_string(),
    }
}

/// The condition that says most: why nothing is issued, or else whether it is ready.
fn told(conditions: &[Condition]) -> (String, String, String) {
    let ready = conditions.iter().find(|c| c.kind == "Ready");
    let issuing = conditions
        .iter()
        .find(|c| c.kind == "Issuing" && c.reason != "UpToDate");
    let word = match ready.map(|c| c.status) {
        Some(ConditionStatus::True) => "True",
        Some(ConditionStatus::False) => "False",
        Some(ConditionStatus::Unknown) | None => "Unknown",
    };
    let said = issuing.or(ready);
    let reason = said.map_or("-", |c| c.reason.as_str());
    let message = said.map_or("", |c| c.message.as_str());
    (word.to_owned(), reason.to_owned(), one_line(message))
}

fn one_line(text: &str) -> String {
    crate::model::condition::cut(text.replace('\n', "; "), 120)
}

fn until(now: Timestamp, then: Option<Timestamp>) -> String {
    then.map_or_else(|| "-".to_owned(), |then| distance(now, then))
}

/// Cells of an Issuer.
pub(crate) fn issuer_row(key: &ObjectKey, seen: &Seen<Issuer>, now: Timestamp) -> Vec<String> {
    let (namespace, name) = (key.namespace.to_string(), key.name.to_string());
    match seen {
        Seen::Object(object) => {
            let status = object.status.clone().unwrap_or_default();
            let (ready, reason, message) = told(&status.conditions);
            vec![
                namespace,
                name,
                ready,
                reason,
                until(now, status.identity.map(|i| i.not_after)),
                message,
            ]
        }
        Seen::Broken(broken) => {
            let message = one_line(&format!("{}: {}", broken.origin, broken.errors));
            vec![
                namespace,
                name,
                "False".to_owned(),
                "InvalidSpec".to_owned(),
                "-".to_owned(),
                message,
            ]
        }
    }
}

/// Cells of a Certificate.
pub(crate) fn certificate_row(key: &ObjectKey, seen: &Seen<Certificate>, now: Timestamp) -> Vec<String> {
    let (namespace, name) = (key.namespace.to_string(), key.name.to_string());
    match seen {
        Seen::Object(object) => {
            let status = object.status.clone().unwrap_or_default();
            let (ready, reason, message) = told(&status.conditions);
            let revision = status
                .revision
                .map_or_else(|| "-".to_owned(), |revision| revision.to_string());
            let (expires, renews) = (until(now, status.not_after), until(now, status.renewal_time));
            vec![namespace, name, ready, reason, revision, expires, renews, message]
        }
        Seen::Broken(broken) => {
            let message = one_line(&format!("{}: {}", broken.origin, broken.errors));
            let dash = "-".to_owned();
            vec![
                namespace,
                name,
                "False".to_owned(),
                "InvalidSpec".to_owned(),
                dash.clone(),
                dash.clone(),
                dash,
                message,
            ]
        }
    }
}
