//! The promises R1 to R6 under a hundred seeds of faults, planted bugs that must be found, and a fleet with an outage.
//!
//! With optimisation: `cargo test --profile simulation -p occm --no-default-features --features sim --test simulation`, which is what
//! `cargo xtask test` does. `OCCM_SIMULATION_SEEDS` changes the number of seeds.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use occm::sim::judges::Promise;
use occm::sim::plant::Plant;
use occm::sim::{Options, Outcome, Tally, run, shrink};

fn seeds() -> u64 {
    std::env::var("OCCM_SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

fn options(seed: u64) -> Options {
    Options::new(seed, 10, 30)
}

/// The run and the shortest story of its first violation.
fn told(outcome: Outcome) -> String {
    let short = shrink(outcome).unwrap();
    format!("{short}{}", short.told(80))
}

/// Runs the seeds on all cores until `judge` says that it has seen enough.
fn with_seeds(bug: Plant, judge: impl Fn(Outcome) -> bool + Sync) {
    let (next, enough) = (AtomicU64::new(1), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds() || enough.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                    let options = Options {
                        plant: bug,
                        ..options(seed)
                    };
                    if judge(run(&options).unwrap()) {
                        enough.store(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[test]
fn a_hundred_seeds_break_no_promise_and_put_each_at_stake() {
    let (tally, stories) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    with_seeds(Plant::None, |outcome| {
        tally.lock().unwrap().add(&outcome);
        let never: Vec<&Promise> = Promise::ALL
            .iter()
            .filter(|promise| !outcome.stakes.contains_key(promise))
            .collect();
        let mut stories = stories.lock().unwrap_or_else(PoisonError::into_inner);
        if !never.is_empty() {
            stories.push(format!("{never:?} was never at stake\n{outcome}"));
        }
        if !outcome.violations.is_empty() {
            stories.push(told(outcome));
        }
        stories.len() > 2
    });
    let (tally, stories) = (tally.into_inner().unwrap(), stories.into_inner().unwrap());
    println!("{tally}");
    assert!(stories.is_empty(), "{}", stories.join("\n"));
    if seeds() >= 100 {
        assert_eq!(tally.missing(&options(1)), Vec::<String>::new());
        // A record of a later program, after a rollback, is not simulated.
        assert_eq!(tally.silent_rules(), ["record not ours to write"]);
    }
}

#[test]
fn years_that_once_broke_a_promise_break_none() {
    // Each is told in the commit that mended it.
    let seeds = [2, 4, 5, 9, 10, 11, 13, 15];
    let stories = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let outcome = run(&Options::new(*seed, 10, 365)).unwrap();
                    if !outcome.violations.is_empty() {
                        stories.lock().unwrap().push(told(outcome));
                    }
                }
            });
        }
    });
    let stories = stories.into_inner().unwrap();
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}

/// The bug is found by the judge of this promise.
fn finds(bug: Plant, promise: Promise) {
    let found = Mutex::new(None);
    with_seeds(bug, |outcome| {
        let seen = outcome
            .violations
            .iter()
            .any(|violation| violation.promise == promise);
        if seen {
            *found.lock().unwrap() = Some(outcome.options.seed);
        }
        seen
    });
    let seed = found.into_inner().unwrap();
    println!("{bug:?} is found by seed {seed:?}");
    assert!(seed.is_some(), "{bug:?} was not found by {} seeds", seeds());
}

#[test]
fn a_budget_that_a_restart_resets_is_found() {
    finds(Plant::BudgetResetByRestart, Promise::R2);
}

#[test]
fn an_issuance_for_a_lost_status_is_found() {
    finds(Plant::LostStatusReissues, Promise::R5);
}

#[test]
fn a_confirmation_before_the_record_is_found() {
    finds(Plant::ConfirmBeforeRecord, Promise::R3);
}

#[test]
fn a_repair_that_waits_for_the_back_off_is_found() {
    finds(Plant::RepairBehindBackOff, Promise::R4);
}

#[test]
fn a_transaction_resumed_from_an_old_backup_is_found() {
    finds(Plant::OldTransactionResumed, Promise::R3);
}

#[test]
fn an_identity_key_that_is_dropped_too_early_is_found() {
    finds(Plant::IdentityKeyDropped, Promise::R3);
}

#[test]
fn a_process_that_acts_without_the_lease_is_found() {
    finds(Plant::LostLeaseActs, Promise::OneWriter);
}

#[test]
fn the_shortest_story_of_a_violation_replays() {
    let bug = |seed| Options {
        plant: Plant::LostStatusReissues,
        ..options(seed)
    };
    let long = (1..=seeds())
        .map(|seed| run(&bug(seed)).unwrap())
        .find(|outcome| !outcome.violations.is_empty())
        .unwrap();
    let (promise, faults) = (long.violations[0].promise, long.came.len());
    let short = shrink(long).unwrap();
    println!("{}", short.told(80));
    assert_eq!(short.violations[0].promise, promise);
    assert!(
        short.came.len() * 10 < faults,
        "{} of {faults} faults are left",
        short.came.len()
    );
    assert_eq!(short.options.keep.as_ref().map(|keep| keep.len()), Some(1));
    let again = run(&short.options).unwrap();
    assert_eq!(again.violations[0].at, short.violations[0].at);
    assert_eq!(again.came, short.came);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let look = |outcome: Outcome| {
        (
            outcome.decisions,
            outcome.came,
            outcome.kills,
            outcome.calls,
            outcome.issued,
        )
    };
    let options = Options::new(7, 4, 4);
    assert_eq!(look(run(&options).unwrap()), look(run(&options).unwrap()));
}

#[test]
fn an_outage_of_a_day_with_ten_thousand_certificates_ends_without_a_storm() {
    let outcome = run(&Options::fleet(1, 10_000, 9, 50)).unwrap();
    println!("{outcome}");
    assert!(outcome.violations.is_empty(), "{outcome}");
    assert_eq!(outcome.issued, 2 * 10_000 + 1, "{outcome}");
    let mut tally = Tally::default();
    tally.add(&outcome);
    assert_eq!(tally.missing(&outcome.options), Vec::<String>::new(), "{outcome}");
}
