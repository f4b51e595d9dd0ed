//! The simulation: the real rules, record, outputs and schedule, through years of virtual time, on a store and CAs that
//! fail at random. One thread, one seed, no sleeping; the same seed gives the same run.
//!
//! ```text
//!   driver ── polls ──> Manager (the real one) ──> SimStore ──> store in memory      judges read
//!     │                     └──> native engine ──> SimTransport ──> devca              history and ledger
//!     └── strikes: weather at the CAs, people, foreign writers, kills, pauses, clocks, restores
//! ```
//!
//! Not for production: behind the feature `sim`, used by tests and by `occm-simulate`. The page for people is
//! `docs/simulation.md`.

pub mod faults;
pub mod judges;
pub mod plant;
pub mod scenario;

mod ca;
mod clockwork;
mod driver;
mod history;
mod random;
mod reader;
mod scene;
mod shrink;
mod store;
mod strike;
mod tally;
mod tap;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use driver::Driver;
use faults::{Coming, Fault, Switchboard};
use judges::{Evidence, Promise, Violation};
use plant::Plant;
use scene::{Kind, Scene};
use world::World;

pub use shrink::shrink;
pub use tally::Tally;
pub use tap::name as name_of_decision;
pub use world::STEPS;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything that chance decides follows from this number.
    pub seed: u64,
    /// How many Certificates.
    pub certificates: usize,
    /// How many virtual days.
    pub days: u32,
    /// Faults that are switched off.
    pub without: BTreeSet<Fault>,
    /// The only faults that come; `None` = all that are not switched off.
    pub only: Option<BTreeSet<Coming>>,
    /// Numbers of the only Certificates that are there; `None` = all.
    pub keep: Option<BTreeSet<usize>>,
    /// The bug that is planted.
    pub plant: Plant,
    /// Certificates alike with this many requests in a second, and one outage of a day, instead of everything mixed.
    pub fleet: Option<u32>,
}

impl Options {
    /// A mixed run with all faults and no bug.
    pub fn new(seed: u64, certificates: usize, days: u32) -> Self {
        Self {
            seed,
            certificates,
            days,
            without: BTreeSet::new(),
            only: None,
            keep: None,
            plant: Plant::None,
            fleet: None,
        }
    }

    /// Many Certificates alike, a rate limit, and an outage of the CA for a day when they are due.
    pub fn fleet(seed: u64, certificates: usize, days: u32, rate: u32) -> Self {
        let without = Fault::ALL.iter().copied().collect();
        Self {
            fleet: Some(rate),
            without,
            ..Self::new(seed, certificates, days)
        }
    }
}

/// What a run shows.
#[derive(Debug)]
pub struct Outcome {
    /// What was simulated.
    pub options: Options,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// How often each promise was at stake.
    pub stakes: BTreeMap<Promise, u64>,
    /// The faults that came, in the order of time.
    pub came: Vec<(Timestamp, Coming)>,
    /// At which steps the process was killed, and how often.
    pub kills: BTreeMap<&'static str, u64>,
    /// How often each decision was taken, by which rule.
    pub decisions: BTreeMap<(&'static str, String), u64>,
    /// Certificates that the CAs issued.
    pub issued: usize,
    /// Calls to the store and the CAs.
    pub calls: u64,
    /// Writes to the store that were carried out.
    pub writes: u64,
    /// How long it took the processor.
    pub took: Duration,
    story: Vec<history::Line>,
}

/// Runs a simulation.
///
/// # Errors
///
/// Only if the CAs of the simulation cannot be made.
pub fn run(options: &Options) -> Result<Outcome, devca::Error> {
    let began = processor_time();
    let start = scene::start();
    let end = start + SignedDuration::from_hours(24 * i64::from(options.days));
    let switches = Switchboard::new(options.without.clone(), options.only.clone());
    let world = World::new(options.seed, start, scene::cas(start)?, 2, switches);
    let kind = options.fleet.map_or(Kind::Mixed, |rate| Kind::Fleet { rate });
    let scene = Scene::set(&world, kind, options.certificates, options.keep.as_ref());
    let rate = scene.rate;
    let mut driver = Driver::new(Arc::clone(&world), scene, options.plant, 2);
    if options.fleet.is_some() {
        outage_of_a_day(&world);
    }
    driver.run(end);
    drop(driver);
    let ledgers: Vec<Vec<devca::Entry>> = world
        .cas
        .iter()
        .map(|sim| sim.ca.ledger().entries(0, end))
        .collect();
    let issued = ledgers.iter().map(Vec::len).sum();
    let history = std::mem::take(&mut *world.history());
    let verdict = judges::judge(&Evidence {
        history: &history,
        ledgers,
        rate,
        end,
        ca_of: scene::ca_of,
    });
    let (came, kills) = world.moving().switches.take();
    let calls = world.moving().calls;
    Ok(Outcome {
        options: options.clone(),
        violations: verdict.violations,
        stakes: verdict.stakes,
        came,
        kills,
        decisions: history.decided,
        issued,
        calls,
        writes: history.writes,
        took: processor_time().saturating_sub(began),
        story: history.story,
    })
}

/// The fleet lives ten days and is due after a little less than seven: the first CA is gone for the day after that.
fn outage_of_a_day(world: &Arc<World>) {
    let (later, from) = (Arc::clone(world), SignedDuration::from_hours(158));
    let long = SignedDuration::from_hours(24);
    world.clockwork.run_after(from, move || {
        let Some(sim) = later.cas.first() else { return };
        sim.set_weather(ca::Weather::Down);
        later
            .history()
            .trouble(later.now(), later.now() + long, history::Whose::Ca(0), "CA down");
        let coming = Coming {
            fault: Fault::CaDown,
            place: String::new(),
            number: 1,
        };
        later.moving().switches.note(later.now(), coming);
        let then = Arc::clone(&later);
        later.clockwork.run_after(long, move || {
            if let Some(sim) = then.cas.first() {
                sim.set_weather(ca::Weather::Fine);
            }
        });
    });
}

/// Time that this thread spent on a processor: the machine may have other work.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

impl Outcome {
    /// The end of the story of a violation, at most so many lines: what happened to its subject, and to everybody, before it.
    pub fn story(&self, violation: &Violation, most_lines: usize) -> String {
        let concerns = |line: &&history::Line| {
            let whose = match (&violation.subject, &line.subject) {
                // What happened to others that the violation names belongs to its story.
                (Some(subject), Some(whose)) => {
                    subject == whose || violation.what.contains(&whose.key().to_string())
                }
                (None, _) | (_, None) => true,
            };
            let named = violation.subject.as_ref().is_none_or(|subject| {
                !line.text.starts_with("Secret ") || line.text.contains(subject.key().name.as_str())
            });
            whose && named && line.at <= violation.at + SignedDuration::from_secs(5)
        };
        let lines: Vec<&history::Line> = self.story.iter().filter(concerns).collect();
        let skip = lines.len().saturating_sub(most_lines);
        let mut text = String::new();
        for line in lines.into_iter().skip(skip) {
            let whose = line
                .subject
                .as_ref()
                .map_or_else(String::new, |subject| format!("[{subject}] "));
            text.push_str(&format!("  {} {whose}{}\n", line.at, line.text));
        }
        text
    }

    /// The story of the first violation, at most so many lines, and how to see it again.
    pub fn told(&self, most_lines: usize) -> String {
        let Some(first) = self.violations.first() else {
            return String::new();
        };
        let whose = first
            .subject
            .as_ref()
            .map_or_else(String::new, |subject| format!(" of {subject}"));
        format!(
            "story of {:?}{whose}: {}\n{}replay: {}\n",
            first.promise,
            first.what,
            self.story(first, most_lines),
            self.replay()
        )
    }

    /// How to see this run again.
    pub fn replay(&self) -> String {
        let options = &self.options;
        let mut text = format!(
            "cargo xtask simulate --seed {} --certificates {} --days {}",
            options.seed, options.certificates, options.days
        );
        if let Some(rate) = options.fleet {
            text.push_str(&format!(" --fleet {rate}"));
        } else if !options.without.is_empty() {
            text.push_str(&format!(
                " --without {}",
                listed(&options.without, |fault| format!("{fault:?}"))
            ));
        }
        if let Some(keep) = &options.keep {
            text.push_str(&format!(" --keep {}", listed(keep, usize::to_string)));
        }
        if let Some(only) = &options.only {
            text.push_str(&format!(" --only '{}'", listed(only, Coming::to_string)));
        }
        if options.plant != Plant::None {
            text.push_str(&format!(" --plant {:?}", options.plant));
        }
        text
    }

    /// How often each fault came.
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        let mut counts = BTreeMap::new();
        for (_, coming) in &self.came {
            *counts.entry(coming.fault).or_default() += 1;
        }
        counts
    }

    /// How often each rule decided.
    pub fn rules(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for ((rule, _), count) in &self.decisions {
            *counts.entry(*rule).or_default() += count;
        }
        counts
    }

    /// Decisions that were taken.
    pub fn decided(&self) -> u64 {
        self.decisions.values().sum()
    }

    /// Virtual time that went by.
    pub fn virtual_years(&self) -> f64 {
        f64::from(self.options.days) / 365.25
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        writeln!(
            f,
            "seed {}: {} certificates, {} days; {} issued, {} decisions, {} calls, {:.2?}",
            options.seed,
            options.certificates,
            options.days,
            self.issued,
            self.decided(),
            self.calls,
            self.took
        )?;
        let counted = |what: String, count: &u64| format!("{what} {count}");
        let stakes = self
            .stakes
            .iter()
            .map(|(promise, count)| counted(format!("{promise:?}"), count));
        writeln!(f, "  at stake: {}", stakes.collect::<Vec<_>>().join(", "))?;
        let faults = self.faults();
        let faults = faults
            .iter()
            .map(|(fault, count)| counted(format!("{fault:?}"), count));
        writeln!(f, "  faults: {}", faults.collect::<Vec<_>>().join(", "))?;
        let kills = self
            .kills
            .iter()
            .map(|(step, count)| counted((*step).to_owned(), count));
        writeln!(f, "  kills at: {}", kills.collect::<Vec<_>>().join(", "))?;
        let rules = self.rules();
        let rules = rules
            .iter()
            .map(|(rule, count)| counted((*rule).to_owned(), count));
        writeln!(f, "  decided by: {}", rules.collect::<Vec<_>>().join(", "))?;
        for violation in &self.violations {
            let whose = violation
                .subject
                .as_ref()
                .map_or_else(String::new, |subject| format!(" of {subject}"));
            writeln!(
                f,
                "  BROKEN {:?}{whose} at {}: {}",
                violation.promise, violation.at, violation.what
            )?;
        }
        Ok(())
    }
}

fn listed<T>(all: &BTreeSet<T>, name: impl Fn(&T) -> String) -> String {
    all.iter().map(name).collect::<Vec<_>>().join(",")
}

/// Where a run starts in virtual time.
pub fn start() -> Timestamp {
    scene::start()
}
