//! The shortest story of a violation: fewer days, fewer Certificates, fewer faults, as long as the same promise breaks.
//!
//! Chance of everything depends on its own place alone (`random.rs`, `world.rs`), so that what is left out moves nothing
//! of the rest; where it does, the try breaks nothing and is thrown away.

use std::collections::BTreeSet;

use crate::sim::faults::Coming;
use crate::sim::judges::Violation;
use crate::sim::{Options, Outcome, run, scene};
use crate::store::Subject;

/// Most runs that a shortest story is looked for in.
const MOST_RUNS: usize = 400;

/// Looks for the shortest run that still breaks the same promise.
///
/// # Errors
///
/// Only if the CAs of the simulation cannot be made.
pub fn shrink(outcome: Outcome) -> Result<Outcome, devca::Error> {
    let mut search = Search {
        best: outcome,
        runs: 0,
    };
    search.fewer_days()?;
    search.fewer_certificates()?;
    search.fewer_faults()?;
    search.fewer_days()?;
    search.fewer_faults()?;
    Ok(search.best)
}

struct Search {
    best: Outcome,
    runs: usize,
}

impl Search {
    fn first(&self) -> Option<&Violation> {
        self.best.violations.first()
    }

    /// Runs again; kept if the same promise breaks.
    fn try_with(&mut self, change: impl FnOnce(&mut Options)) -> Result<bool, devca::Error> {
        let Some(promise) = self.first().map(|violation| violation.promise) else {
            return Ok(false);
        };
        if self.runs >= MOST_RUNS {
            return Ok(false);
        }
        self.runs += 1;
        let mut options = self.best.options.clone();
        change(&mut options);
        let tried = run(&options)?;
        let same = tried.violations.first().is_some_and(|v| v.promise == promise);
        if same {
            self.best = tried;
        }
        Ok(same)
    }

    fn fewer_days(&mut self) -> Result<(), devca::Error> {
        let Some(at) = self.first().map(|violation| violation.at) else {
            return Ok(());
        };
        let needed = at.duration_since(scene::start()).as_hours() / 24 + 1;
        let needed = u32::try_from(needed).unwrap_or(self.best.options.days);
        if needed < self.best.options.days {
            self.try_with(|options| options.days = needed)?;
        }
        Ok(())
    }

    fn fewer_certificates(&mut self) -> Result<(), devca::Error> {
        let named = self.first().and_then(|violation| violation.subject.clone());
        let all = self.best.options.certificates;
        let alone = (0..all).filter(|number| match &named {
            Some(Subject::Certificate(key)) => scene::certificate(*number) == *key,
            Some(Subject::Identity(_)) | None => false,
        });
        let alone: BTreeSet<usize> = alone.collect();
        if self.try_with(|options| options.keep = Some(alone))? {
            return Ok(());
        }
        for number in 0..all {
            let mut keep = self
                .best
                .options
                .keep
                .clone()
                .unwrap_or_else(|| (0..all).collect());
            if keep.remove(&number) {
                self.try_with(|options| options.keep = Some(keep))?;
            }
        }
        Ok(())
    }

    /// Leaves out halves, quarters ... of what came before the violation.
    fn fewer_faults(&mut self) -> Result<(), devca::Error> {
        let mut size = self.needed().len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            loop {
                let all: Vec<Coming> = self.needed().into_iter().collect();
                if at >= all.len() {
                    break;
                }
                let only = all
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| *i < at || *i >= at + size)
                    .map(|(_, coming)| coming.clone())
                    .collect();
                if !self.try_with(|options| options.only = Some(only))? {
                    at += size;
                }
            }
            if size == 1 {
                return Ok(());
            }
            size = size.div_ceil(2);
        }
    }

    /// What came before the violation.
    fn needed(&self) -> BTreeSet<Coming> {
        let until = self.first().map(|violation| violation.at);
        let came = self.best.came.iter();
        came.filter(|(at, _)| until.is_none_or(|until| *at <= until))
            .map(|(_, coming)| coming.clone())
            .collect()
    }
}
