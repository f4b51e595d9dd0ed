//! The end of a test run: one row for each step, what was skipped and why, and the closing line.

use std::time::Duration;

use crate::console::seconds;
use crate::libtest::{Skip, Tally};

/// What one step came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) step: String,
    pub(crate) time: Duration,
    pub(crate) outcome: Outcome,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A check without tests of its own, or something brought, in a few words.
    Done(String),
    Tests(Tally),
    /// Tests ran, and the step failed with this; often just that some of them failed.
    TestsFailed(Tally, String),
    Skipped(String),
    Failed(String),
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

/// Whether a skip counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    AreFine,
    AreFailures,
}

impl Report {
    /// Tests passed, failed and skipped. A failed or skipped step without a test to blame counts as one.
    fn totals(&self) -> (usize, usize, usize) {
        self.rows
            .iter()
            .map(|row| row.outcome.counts())
            .fold((0, 0, 0), |sum, next| {
                (sum.0 + next.0, sum.1 + next.1, sum.2 + next.2)
            })
    }

    /// Whether the run as a whole is good.
    pub(crate) fn is_good(&self, skips: Skips) -> bool {
        let (_, failed, skipped) = self.totals();
        failed == 0 && (skipped == 0 || skips == Skips::AreFine)
    }

    /// Reasons of failures and skips, the table, the closing line.
    pub(crate) fn text(&self, skips: Skips) -> String {
        let mut lines = Vec::new();
        for row in &self.rows {
            row.outcome.explain(&row.step, &mut lines);
        }
        let (passed, failed, skipped) = self.totals();
        if skipped > 0 && skips == Skips::AreFailures {
            lines.push("skips are failures here, since CI=true".to_owned());
        }
        lines.push(String::new());
        let width = self.rows.iter().map(|row| row.step.len()).max().unwrap_or(0);
        for row in &self.rows {
            let time = seconds(row.time);
            lines.push(format!(
                "{:<width$}  {time:>12}  {}",
                row.step,
                row.outcome.in_short()
            ));
        }
        let total: Duration = self.rows.iter().map(|row| row.time).sum();
        lines.push(format!("{:<width$}  {:>12}", "total", seconds(total)));
        lines.push(String::new());
        lines.push(format!("{passed} passed, {failed} failed, {skipped} skipped"));
        lines.join("\n")
    }
}

impl Outcome {
    fn counts(&self) -> (usize, usize, usize) {
        match self {
            Self::Done(_) => (0, 0, 0),
            Self::Tests(tally) => (tally.passed, tally.failed.len(), tally.skipped.len()),
            Self::TestsFailed(tally, _) => (tally.passed, tally.failed.len().max(1), tally.skipped.len()),
            Self::Skipped(_) => (0, 0, 1),
            Self::Failed(_) => (0, 1, 0),
        }
    }

    /// For the table.
    pub(crate) fn in_short(&self) -> String {
        let (passed, failed, skipped) = self.counts();
        match self {
            Self::Done(what) => what.clone(),
            Self::Skipped(_) => "SKIPPED".to_owned(),
            Self::Failed(_) => "FAILED".to_owned(),
            Self::Tests(tally) | Self::TestsFailed(tally, _) => {
                let mut text = format!("{passed} passed");
                if failed > 0 {
                    text.push_str(&format!(", {failed} FAILED"));
                }
                if skipped > 0 {
                    text.push_str(&format!(", {skipped} skipped"));
                }
                if tally.long > 0 {
                    text.push_str(&format!(", {} left out (--long)", tally.long));
                }
                text
            }
        }
    }

    fn explain(&self, step: &str, lines: &mut Vec<String>) {
        match self {
            Self::Done(_) => {}
            Self::Tests(tally) => explain_tests(step, tally, lines),
            Self::TestsFailed(tally, why) => {
                lines.push(format!("FAILED  {step}: {why}"));
                explain_tests(step, tally, lines);
            }
            Self::Skipped(why) => lines.push(format!("skipped {step}: {why}")),
            Self::Failed(why) => lines.push(format!("FAILED  {step}: {why}")),
        }
    }
}

fn explain_tests(step: &str, tally: &Tally, lines: &mut Vec<String>) {
    lines.extend(tally.failed.iter().map(|test| format!("FAILED  {step}: {test}")));
    lines.extend(
        tally
            .skipped
            .iter()
            .map(|Skip { test, why }| format!("skipped {step}: {test}: {why}")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: Vec<Outcome>) -> Report {
        let row = |outcome| Row {
            step: "step".into(),
            time: Duration::from_secs(3),
            outcome,
        };
        Report {
            rows: outcomes.into_iter().map(row).collect(),
        }
    }

    fn tally(passed: usize) -> Tally {
        Tally {
            passed,
            ..Tally::default()
        }
    }

    fn last_line(report: &Report) -> String {
        report.text(Skips::AreFine).lines().last().unwrap().to_owned()
    }

    #[test]
    fn the_closing_line_counts_tests_and_not_checks() {
        let report = report(vec![
            Outcome::Done("clean".into()),
            Outcome::Tests(tally(7)),
            Outcome::Tests(tally(2)),
        ]);
        assert_eq!(last_line(&report), "9 passed, 0 failed, 0 skipped");
        assert!(report.is_good(Skips::AreFailures));
    }

    #[test]
    fn a_failed_check_is_never_lost() {
        let report = report(vec![
            Outcome::Failed("not formatted".into()),
            Outcome::Tests(tally(7)),
        ]);
        assert_eq!(last_line(&report), "7 passed, 1 failed, 0 skipped");
        assert!(!report.is_good(Skips::AreFine));
    }

    #[test]
    fn a_test_program_that_crashed_is_a_failure_although_no_test_is_named() {
        let report = report(vec![Outcome::TestsFailed(tally(7), "signal 11".into())]);
        assert_eq!(last_line(&report), "7 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_skip_fails_the_run_only_where_skips_are_failures() {
        let report = report(vec![Outcome::Skipped("no Go".into()), Outcome::Tests(tally(1))]);
        assert!(report.is_good(Skips::AreFine));
        assert!(!report.is_good(Skips::AreFailures));
        assert!(report.text(Skips::AreFine).contains("skipped step: no Go"));
    }
}
