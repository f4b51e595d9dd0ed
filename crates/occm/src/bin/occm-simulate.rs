//! Runs the simulation: `occm-simulate --seed N --certificates N --days N`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use occm::sim::faults::Fault;
use occm::sim::plant::Plant;
use occm::sim::{Options, Outcome, run, shrink};

/// Runs the real rules through virtual time, on a store and CAs that fail at random, and judges the promises.
#[derive(Debug, Parser)]
#[command(name = "occm-simulate", version)]
struct Args {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many Certificates.
    #[arg(long, default_value_t = 10)]
    certificates: usize,
    /// How many virtual days.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Certificates alike with this many requests in a second, and one outage of the CA for a day.
    #[arg(long, value_name = "RATE")]
    fleet: Option<u32>,
    /// Faults to switch off, by name, separated by commas; `all` for every one.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// A bug to plant, by name, to see it found.
    #[arg(long)]
    plant: Option<String>,
    /// Look for the fewest faults that still break the promise.
    #[arg(long)]
    shrink: bool,
    /// Most lines of a story.
    #[arg(long, default_value_t = 60)]
    lines: usize,
    /// Print how often each decision was taken.
    #[arg(long)]
    decisions: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let without = faults(&args.without)?;
    let plant = plant(args.plant.as_deref())?;
    let mut broken = 0_u64;
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let mut options = match args.fleet {
            Some(rate) => Options::fleet(seed, args.certificates, args.days, rate),
            None => Options::new(seed, args.certificates, args.days),
        };
        options.without.extend(without.iter().copied());
        options.plant = plant;
        let outcome = run(&options).context("the CAs of the simulation cannot be made")?;
        print!("{outcome}");
        speed(&outcome);
        if args.decisions {
            for (decision, count) in &outcome.decisions {
                println!("  {count:>9} {decision}");
            }
        }
        if !outcome.violations.is_empty() {
            broken += 1;
            tell(outcome, args.shrink, args.lines)?;
        }
    }
    if broken > 0 {
        println!("{broken} of {} seeds broke a promise", args.seeds);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn speed(outcome: &Outcome) {
    let seconds = outcome.took.as_secs_f64();
    println!(
        "  {:.1} virtual years and {:.0} decisions a second",
        outcome.virtual_years() / seconds,
        outcome.decided() as f64 / seconds
    );
}

fn tell(outcome: Outcome, shorten: bool, lines: usize) -> anyhow::Result<()> {
    let outcome = if shorten {
        shrink(outcome).context("the CAs of the simulation cannot be made")?
    } else {
        outcome
    };
    let mut told = BTreeSet::new();
    for violation in outcome
        .violations
        .iter()
        .filter(|violation| told.insert(violation.promise))
    {
        println!("story of {:?}: {}", violation.promise, violation.what);
        print!("{}", outcome.story(violation, lines));
    }
    println!("replay: {}", outcome.replay());
    Ok(())
}

fn faults(names: &[String]) -> anyhow::Result<BTreeSet<Fault>> {
    if names.iter().any(|name| name == "all") {
        return Ok(Fault::ALL.iter().copied().collect());
    }
    names
        .iter()
        .map(|name| {
            let known = Fault::ALL
                .iter()
                .copied()
                .find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name));
            known.with_context(|| format!("{name:?} is no fault; allowed: {:?}", Fault::ALL))
        })
        .collect()
}

fn plant(name: Option<&str>) -> anyhow::Result<Plant> {
    let Some(name) = name else { return Ok(Plant::None) };
    let known = Plant::BUGS
        .iter()
        .copied()
        .find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name));
    known.with_context(|| format!("{name:?} is no planted bug; allowed: {:?}", Plant::BUGS))
}
