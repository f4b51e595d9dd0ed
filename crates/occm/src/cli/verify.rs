//! `occm verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::out;
use crate::model::field::FieldErrors;
use crate::model::object::DEFAULT_NAMESPACE;
use crate::model::plan::{CertificatePlan, IssuerPlan};
use crate::store::Seen;
use crate::store::dir::{DirStore, Listing};

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
            let (fine, problems) = self.check(&read(path)?);
            right += fine;
            wrong += problems.len();
            problems.iter().for_each(|problem| out::line(problem));
        }
        out::line(&format!("{right} objects are right, {wrong} problems found"));
        Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Right objects, and the problems of the others.
    fn check(&self, listing: &Listing) -> (usize, Vec<String>) {
        let mut right = 0;
        let mut problems: Vec<String> = listing.problems.iter().map(ToString::to_string).collect();
        let mut note = |what: String, outcome: Result<(), FieldErrors>| match outcome {
            Ok(()) => right += 1,
            Err(errors) => {
                for error in errors.0 {
                    let error = error.to_string();
                    // What cannot be read is a problem of the file already.
                    let told = |known: &String| known.starts_with(&what) && known.ends_with(&error);
                    if !problems.iter().any(told) {
                        problems.push(format!("{what}: {error}"));
                    }
                }
            }
        };
        for (key, seen) in &listing.issuers {
            match seen {
                Seen::Object(object) => {
                    note(
                        format!("Issuer {key}"),
                        IssuerPlan::check(key.clone(), &object.spec).map(drop),
                    );
                }
                Seen::Broken(broken) => note(broken.origin.clone(), Err(broken.errors.clone())),
            }
        }
        for (key, seen) in &listing.certificates {
            match seen {
                Seen::Object(object) => {
                    let outcome = CertificatePlan::check(key.clone(), &object.spec, &self.namespace);
                    note(format!("Certificate {key}"), outcome.map(drop));
                }
                Seen::Broken(broken) => note(broken.origin.clone(), Err(broken.errors.clone())),
            }
        }
        (right, problems)
    }
}

fn read(path: &Path) -> anyhow::Result<Listing> {
    let shown = path.display();
    let kind = std::fs::metadata(path).with_context(|| format!("{shown}"))?;
    if kind.is_dir() {
        return Ok(DirStore::open_client(path)
            .with_context(|| format!("{shown}"))?
            .objects());
    }
    let name = path.file_name().with_context(|| format!("{shown}"))?;
    let alone = tempfile::tempdir()?;
    std::fs::copy(path, alone.path().join(name)).with_context(|| format!("{shown}"))?;
    Ok(DirStore::open_client(alone.path())
        .with_context(|| format!("{shown}"))?
        .objects())
}
