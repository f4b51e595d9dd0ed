//! The promises R1 to R6 under a hundred seeds of faults, planted bugs that must be found, and a fleet with an outage.
//!
//! The short set runs everywhere: few seeds, few Certificates. The long set takes minutes with optimisation:
//! `cargo test --profile simulation -p occm --features sim --test simulation -- --include-ignored`. The number of its seeds can
//! be changed with `OCCM_SIMULATION_SEEDS`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use occm::sim::faults::Fault;
use occm::sim::judges::Promise;
use occm::sim::plant::Plant;
use occm::sim::{Options, Outcome, run, shrink};

const PROMISES: [Promise; 7] = [
    Promise::R1,
    Promise::R2,
    Promise::R3,
    Promise::R4,
    Promise::R5,
    Promise::R6,
    Promise::OneWriter,
];

fn seeds() -> u64 {
    std::env::var("OCCM_SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

fn options(seed: u64) -> Options {
    Options::new(seed, 10, 30)
}

fn told(outcome: Outcome) -> String {
    let outcome = shrink(outcome).unwrap();
    let mut text = outcome.to_string();
    if let Some(first) = outcome.violations.first() {
        let _ = write!(
            text,
            "story:\n{}replay: {}",
            outcome.story(first, 60),
            outcome.replay()
        );
    }
    text
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_hundred_seeds_break_no_promise_and_put_each_at_stake() {
    let (mut stakes, mut faults): (BTreeMap<Promise, u64>, BTreeMap<Fault, u64>) = Default::default();
    for seed in 1..=seeds() {
        let outcome = run(&options(seed)).unwrap();
        assert!(outcome.violations.is_empty(), "{}", told(outcome));
        for promise in PROMISES {
            let count = outcome.stakes.get(&promise).copied().unwrap_or_default();
            assert!(
                count > 0,
                "seed {seed}: {promise:?} was never at stake\n{outcome}"
            );
            *stakes.entry(promise).or_default() += count;
        }
        outcome
            .faults
            .iter()
            .for_each(|(fault, count)| *faults.entry(*fault).or_default() += count);
    }
    println!("at stake: {stakes:?}\nfaults: {faults:?}");
    if seeds() >= 20 {
        for fault in Fault::ALL {
            assert!(faults.contains_key(fault), "{fault:?} never came");
        }
    }
}

fn finds(bug: Plant, promise: Promise) {
    for seed in 1..=seeds() {
        let outcome = run(&Options {
            plant: bug,
            ..options(seed)
        })
        .unwrap();
        if outcome
            .violations
            .iter()
            .any(|violation| violation.promise == promise)
        {
            println!("{bug:?} is found by seed {seed}");
            return;
        }
    }
    panic!("{bug:?} was not found by {} seeds", seeds());
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_budget_that_a_restart_resets_is_found() {
    finds(Plant::BudgetResetByRestart, Promise::R2);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn an_issuance_for_a_lost_status_is_found() {
    finds(Plant::LostStatusReissues, Promise::R5);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_confirmation_before_the_record_is_found() {
    finds(Plant::ConfirmBeforeRecord, Promise::R3);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_repair_that_waits_for_the_back_off_is_found() {
    finds(Plant::RepairBehindBackOff, Promise::R4);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_transaction_resumed_from_an_old_backup_is_found() {
    finds(Plant::OldTransactionResumed, Promise::R3);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn an_identity_key_that_is_dropped_too_early_is_found() {
    finds(Plant::IdentityKeyDropped, Promise::R3);
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn a_process_that_acts_without_the_lease_is_found() {
    finds(Plant::LostLeaseActs, Promise::OneWriter);
}

#[test]
fn a_few_seeds_break_no_promise() {
    for seed in 1..=3 {
        let outcome = run(&Options::new(seed, 4, 6)).unwrap();
        assert!(outcome.violations.is_empty(), "{}", told(outcome));
        assert!(!outcome.decisions.is_empty() && outcome.issued > 0, "{outcome}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let look = |outcome: Outcome| {
        (
            outcome.decisions,
            outcome.faults,
            outcome.kills,
            outcome.calls,
            outcome.issued,
        )
    };
    let options = Options::new(7, 4, 4);
    assert_eq!(look(run(&options).unwrap()), look(run(&options).unwrap()));
}

#[test]
#[ignore = "long: minutes with optimisation"]
fn an_outage_of_a_day_with_ten_thousand_certificates_ends_without_a_storm() {
    let outcome = run(&Options::fleet(1, 10_000, 9, 50)).unwrap();
    println!("{outcome}");
    assert!(outcome.violations.is_empty(), "{outcome}");
    assert_eq!(outcome.issued, 2 * 10_000 + 1, "{outcome}");
    for promise in [Promise::R1, Promise::R6] {
        assert!(
            outcome.stakes.contains_key(&promise),
            "{promise:?} was never at stake\n{outcome}"
        );
    }
}
