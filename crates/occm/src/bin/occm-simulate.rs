//! Runs the simulation: `occm-simulate --seed N --certificates N --days N`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use occm::sim::faults::{Coming, Fault};
use occm::sim::plant::Plant;
use occm::sim::{Options, Outcome, Tally, run, shrink};

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
    /// The only faults that come, as a replay names them, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Option<Vec<Coming>>,
    /// Numbers of the only Certificates that are there, separated by commas; the others are left out.
    #[arg(long, value_delimiter = ',')]
    keep: Option<Vec<usize>>,
    /// A bug to plant, by name, to see it found.
    #[arg(long)]
    plant: Option<String>,
    /// Tell the story of a violation as it came, without looking for a shorter one.
    #[arg(long)]
    as_it_came: bool,
    /// Most lines of a story.
    #[arg(long, default_value_t = 80)]
    lines: usize,
    /// Print how often each decision was taken.
    #[arg(long)]
    decisions: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let (mut broken, mut tally) = (0_u64, Tally::default());
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let outcome = run(&options(&args, seed)?).context("the CAs of the simulation cannot be made")?;
        print!("{outcome}");
        tally.add(&outcome);
        if !outcome.violations.is_empty() {
            broken += 1;
            tell(outcome, &args)?;
        }
    }
    print!("{tally}");
    if args.decisions {
        for (decision, count) in &tally.decisions {
            println!("  {count:>9} {decision}");
        }
        println!("  rules that never decided: {:?}", tally.silent_rules());
    }
    Ok(verdict(
        broken,
        &tally.missing(&options(&args, args.seed)?),
        args.seeds,
    ))
}

/// A broken promise fails, and so does anything that never came: such a run proves nothing.
fn verdict(broken: u64, missing: &[String], seeds: u64) -> ExitCode {
    if broken > 0 {
        println!("{broken} of {seeds} seeds broke a promise");
    }
    if !missing.is_empty() {
        println!(
            "never came: {}; more --days or more --seeds show more",
            missing.join(", ")
        );
    }
    if broken > 0 || !missing.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn options(args: &Args, seed: u64) -> anyhow::Result<Options> {
    let mut options = match args.fleet {
        Some(rate) => Options::fleet(seed, args.certificates, args.days, rate),
        None => Options::new(seed, args.certificates, args.days),
    };
    options.without.extend(faults(&args.without)?);
    options.only = args.only.as_ref().map(|only| only.iter().cloned().collect());
    options.keep = args.keep.as_ref().map(|keep| keep.iter().copied().collect());
    options.plant = plant(args.plant.as_deref())?;
    Ok(options)
}

/// The shortest story of the first violation, and how to see it again.
fn tell(outcome: Outcome, args: &Args) -> anyhow::Result<()> {
    let outcome = if args.as_it_came {
        outcome
    } else {
        shrink(outcome).context("the CAs of the simulation cannot be made")?
    };
    print!("{}", outcome.told(args.lines));
    Ok(())
}

fn faults(names: &[String]) -> anyhow::Result<BTreeSet<Fault>> {
    if names.iter().any(|name| name == "all") {
        return Ok(Fault::ALL.iter().copied().collect());
    }
    names
        .iter()
        .map(|name| {
            Fault::named(name).with_context(|| format!("{name:?} is no fault; allowed: {:?}", Fault::ALL))
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
