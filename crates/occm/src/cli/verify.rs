//! `occm verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::out;
use crate::model::field::FieldErrors;
use crate::model::object::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::model::plan::{CertificatePlan, IssuerPlan};
use crate::store::Seen;
use crate::store::dir::DirStore;

/// What to check.
///
/// Every field is checked by the rules that the manager uses; nothing is run and no CA is asked. The exit code is 1 when
/// something is wrong.
#[derive(Args)]
pub(crate) struct Verify {
    /// YAML files, or directories with such files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// occm's own namespace
    #[arg(long, short, env = "OCCM_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

impl Verify {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let (mut right, mut wrong) = (0_usize, 0_usize);
        for path in &self.paths {
            let (fine, problems) = self.check(&Source::open(path)?);
            right += fine;
            wrong += problems.len();
            problems.iter().for_each(|problem| out::line(problem));
        }
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
        Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
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
                let outcome = CertificatePlan::check(key.clone(), &object.spec, &self.namespace);
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
