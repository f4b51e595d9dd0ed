//! `occm verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::out;
use crate::cli::target::{TargetArgs, advised};
use crate::client::{ClientError, check};
use crate::model::field::FieldErrors;
use crate::model::object::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::model::plan::{CertificatePlan, IssuerPlan};
use crate::store::Seen;
use crate::store::dir::DirStore;

/// What to check.
///
/// Every field is checked by the rules that the manager uses; nothing is run and no CA is asked. Without files the objects of a
/// directory (--store) or of a cluster are checked. The exit code is 1 when something is wrong.
#[derive(Args)]
pub(crate) struct Verify {
    /// YAML files, or directories with such files
    paths: Vec<PathBuf>,
    /// Check the objects of all namespaces
    #[arg(long, short = 'A', conflicts_with = "paths")]
    all_namespaces: bool,
    /// occm's own namespace, where a Certificate may name outputs elsewhere. Default: --namespace
    #[arg(long, value_name = "NAME")]
    home: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Verify {
    pub(crate) async fn run(&self) -> anyhow::Result<ExitCode> {
        if self.paths.is_empty() {
            return self.objects().await;
        }
        let (mut right, mut wrong) = (0_usize, 0_usize);
        for path in &self.paths {
            let (fine, problems) = self.check(&Source::open(path)?);
            right += fine;
            wrong += problems.len();
            problems.iter().for_each(|problem| out::line(problem));
        }
        Ok(told(right, wrong))
    }

    /// Checks what is kept now.
    async fn objects(&self) -> anyhow::Result<ExitCode> {
        let opened = self.target.open().await?;
        let scope = opened.scope(self.all_namespaces);
        let problems = opened.objects.problems().await.map_err(advised)?;
        problems.iter().for_each(|problem| out::line(problem));
        let (mut right, mut wrong) = (0_usize, problems.len());
        for kind in [Kind::Issuer, Kind::Certificate] {
            for item in opened.objects.list(kind, &scope).await.map_err(advised)? {
                let checked = match &item.broken {
                    Some(broken) => Err(broken.errors.clone()),
                    None => match check::check(&item.value, self.home.as_deref()) {
                        Err(ClientError::Invalid(_, errors)) => Err(errors),
                        Err(error) => return Err(advised(error)),
                        Ok(_) => Ok(()),
                    },
                };
                match checked {
                    Ok(()) => right += 1,
                    // What cannot be read is a problem of its file.
                    Err(_) if item.broken.is_some() && !problems.is_empty() => {}
                    Err(errors) => {
                        wrong += errors.0.len();
                        let lines = errors
                            .0
                            .iter()
                            .map(|error| format!("{kind} {}: {error}", item.key));
                        lines.for_each(|line| out::line(&line));
                    }
                }
            }
        }
        Ok(told(right, wrong))
    }

    fn home(&self) -> &str {
        let home = self.home.as_deref().or(self.target.namespace());
        home.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Right objects, and the problems of the others.
    fn check(&self, source: &Source) -> (usize, Vec<String>) {
        let listing = source.store.objects();
        let mut right = 0;
        // What cannot be read is a problem of its file.
        let mut problems: Vec<String> = listing.problems.iter().map(ToString::to_string).collect();
        let mut note = |kind: Kind, key: &ObjectKey, outcome: Result<(), FieldErrors>| match outcome {
            Ok(()) => right += 1,
            Err(errors) => {
                let place = |path: &str| source.store.place_of(kind, key, path);
                problems.extend(errors.0.iter().map(|error| match place(&error.path) {
                    Some((file, line)) => format!("{file}:{line}: {kind} {key}: {error}"),
                    None => format!("{kind} {key}: {error}"),
                }));
            }
        };
        for (key, seen) in &listing.issuers {
            if let Seen::Object(object) = seen {
                let outcome = IssuerPlan::check(key.clone(), &object.spec);
                note(Kind::Issuer, key, outcome.map(drop));
            }
        }
        for (key, seen) in &listing.certificates {
            if let Seen::Object(object) = seen {
                let outcome = CertificatePlan::check(key.clone(), &object.spec, self.home());
                note(Kind::Certificate, key, outcome.map(drop));
            }
        }
        let shown = problems.into_iter().map(|problem| source.named(problem));
        (right, shown.collect())
    }
}

/// A directory, or one file, which is looked at in a directory of its own.
struct Source {
    store: DirStore,
    /// The file's directory, and where it is looked at.
    alone: Option<(PathBuf, tempfile::TempDir)>,
}

impl Source {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let kind = std::fs::metadata(path).with_context(|| format!("{shown}"))?;
        let open = |folder: &Path| DirStore::open_client(folder).with_context(|| format!("{shown}"));
        if kind.is_dir() {
            let (store, alone) = (open(path)?, None);
            return Ok(Self { store, alone });
        }
        let name = path.file_name().with_context(|| format!("{shown}"))?;
        let alone = tempfile::tempdir()?;
        std::fs::copy(path, alone.path().join(name)).with_context(|| format!("{shown}"))?;
        let store = open(alone.path())?;
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let alone = Some((parent, alone));
        Ok(Self { store, alone })
    }

    /// A problem with the file named as it was given.
    fn named(&self, problem: String) -> String {
        let Some((parent, alone)) = &self.alone else {
            return problem;
        };
        let there = parent.join("").display().to_string();
        problem.replace(&alone.path().join("").display().to_string(), &there)
    }
}

/// Says how many objects are right and how many problems were found.
fn told(right: usize, wrong: usize) -> ExitCode {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let verb = if right == 1 { "is" } else { "are" };
    out::line(&format!(
        "{} {verb} right, {} found",
        count(right, "object"),
        count(wrong, "problem")
    ));
    if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
