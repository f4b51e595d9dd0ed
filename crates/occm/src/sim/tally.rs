//! What several runs showed together, and what they never showed: a promise that was never at stake, or a fault that never
//! came, proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::reconcile::decide::RULES;
use crate::sim::faults::Fault;
use crate::sim::judges::Promise;
use crate::sim::plant::Plant;
use crate::sim::{Options, Outcome, STEPS};

/// Sums over runs.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// How often each promise was at stake.
    pub stakes: BTreeMap<Promise, u64>,
    /// How often each fault came.
    pub faults: BTreeMap<Fault, u64>,
    /// How often a process was killed at each step.
    pub kills: BTreeMap<&'static str, u64>,
    /// How often each rule decided.
    pub rules: BTreeMap<&'static str, u64>,
    /// How often each decision was taken.
    pub decisions: BTreeMap<String, u64>,
    /// Virtual years.
    pub years: f64,
    /// Processor time.
    pub took: Duration,
}

fn add<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sums.entry(key.clone()).or_default() += count;
    }
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        add(&mut self.stakes, &outcome.stakes);
        add(&mut self.faults, &outcome.faults());
        add(&mut self.kills, &outcome.kills);
        add(&mut self.rules, &outcome.rules());
        for ((_, decision), count) in &outcome.decisions {
            *self.decisions.entry(decision.clone()).or_default() += count;
        }
        self.years += outcome.virtual_years();
        self.took += outcome.took;
    }

    /// Adds what another tally has.
    pub fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        add(&mut self.stakes, &other.stakes);
        add(&mut self.faults, &other.faults);
        add(&mut self.kills, &other.kills);
        add(&mut self.rules, &other.rules);
        add(&mut self.decisions, &other.decisions);
        self.years += other.years;
        self.took += other.took;
    }

    /// What should have come in runs with these options and never did.
    ///
    /// A replay shows what it was made for; a fleet is about R1 and R6 alone.
    pub fn missing(&self, options: &Options) -> Vec<String> {
        if options.only.is_some() || options.keep.is_some() || options.plant != Plant::None {
            return Vec::new();
        }
        if options.fleet.is_some() {
            return self.promises_missing(&[Promise::R1, Promise::R6]);
        }
        let mut missing = if options.without.is_empty() {
            self.promises_missing(Promise::ALL)
        } else {
            Vec::new()
        };
        let wanted = Fault::ALL.iter().filter(|fault| !options.without.contains(fault));
        let faults = wanted.filter(|fault| !self.faults.contains_key(fault));
        missing.extend(faults.map(|fault| format!("fault {fault:?}")));
        if !options.without.contains(&Fault::Kill) {
            let steps = STEPS.iter().filter(|step| !self.kills.contains_key(*step));
            missing.extend(steps.map(|step| format!("kill at step \"{step}\"")));
        }
        missing
    }

    fn promises_missing(&self, wanted: &[Promise]) -> Vec<String> {
        let never = wanted.iter().filter(|promise| !self.stakes.contains_key(promise));
        never.map(|promise| format!("stake of {promise:?}")).collect()
    }

    /// Rules that never decided.
    pub fn silent_rules(&self) -> Vec<&'static str> {
        let names = RULES.iter().map(|rule| rule.name);
        names.filter(|name| !self.rules.contains_key(name)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(f64::MIN_POSITIVE);
        let decided: u64 = self.rules.values().sum();
        writeln!(
            f,
            "{} runs, {:.2} virtual years, {decided} decisions in {seconds:.1} s of one core: {:.2} years and {:.0} decisions a second",
            self.runs,
            self.years,
            self.years / seconds,
            decided as f64 / seconds
        )?;
        writeln!(f, "  at stake: {:?}", self.stakes)?;
        writeln!(f, "  faults: {:?}", self.faults)?;
        writeln!(f, "  kills at: {:?}", self.kills)?;
        writeln!(f, "  decided by: {:?}", self.rules)
    }
}
