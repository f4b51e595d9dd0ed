//! A list of named steps that a person can read before it runs, and running it.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::console::{say, seconds};
use crate::report::{Outcome, Report, Row};

/// One step. `World` is what earlier steps leave for later ones.
pub(crate) struct Step<World> {
    pub(crate) name: String,
    /// What it checks or brings, for people.
    pub(crate) what: String,
    /// Names of earlier steps that must be in the plan if this one is.
    pub(crate) needs: Vec<String>,
    pub(crate) run: Action<World>,
}

/// What a step does.
pub(crate) type Action<World> = Box<dyn FnOnce(&mut World) -> Outcome>;

/// Keeps the steps whose name is, or begins with, one of those given, and what they need. Nothing given keeps all.
pub(crate) fn choose<World>(steps: Vec<Step<World>>, only: &[String]) -> Result<Vec<Step<World>>> {
    if only.is_empty() {
        return Ok(steps);
    }
    for name in only {
        if !steps.iter().any(|step| step.name.starts_with(name)) {
            let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            bail!("no step is named `{name}`; the steps are: {}", names.join(", "));
        }
    }
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for step in steps.iter().rev() {
        if wanted.contains(&step.name) || only.iter().any(|name| step.name.starts_with(name)) {
            wanted.insert(step.name.clone());
            wanted.extend(step.needs.iter().cloned());
        }
    }
    Ok(steps
        .into_iter()
        .filter(|step| wanted.contains(&step.name))
        .collect())
}

/// The plan as text.
pub(crate) fn describe<World>(steps: &[Step<World>]) -> String {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let line = |(number, step): (usize, &Step<World>)| {
        format!("{:>3}  {:<width$}  {}", number + 1, step.name, step.what)
    };
    steps.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs all steps; a failed one does not keep the others from running.
pub(crate) fn run<World>(steps: Vec<Step<World>>, world: &mut World) -> Report {
    let mut report = Report::default();
    let count = steps.len();
    for (number, step) in steps.into_iter().enumerate() {
        say(format!("\n[{}/{count}] {}: {}", number + 1, step.name, step.what));
        let started = Instant::now();
        let outcome = (step.run)(world);
        let time = started.elapsed();
        say(format!(
            "[{}/{count}] {}: {}, {}",
            number + 1,
            step.name,
            outcome.in_short(),
            seconds(time)
        ));
        report.rows.push(Row {
            step: step.name,
            time,
            outcome,
        });
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: &[&str]) -> Step<Vec<String>> {
        let (name, needs) = (
            name.to_owned(),
            needs.iter().map(|need| (*need).to_owned()).collect(),
        );
        let left = name.clone();
        Step {
            name,
            what: String::new(),
            needs,
            run: Box::new(move |world| {
                world.push(left.clone());
                if left == "bad" {
                    Outcome::Failed("bad".into())
                } else {
                    Outcome::Done("done".into())
                }
            }),
        }
    }

    fn names(only: &[&str]) -> Result<Vec<String>> {
        let steps = vec![
            step("tools", &[]),
            step("binary", &["tools"]),
            step("bad", &[]),
            step("test-cmp", &["binary"]),
        ];
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        Ok(choose(steps, &only)?.into_iter().map(|step| step.name).collect())
    }

    #[test]
    fn a_chosen_step_brings_what_it_needs_however_far_away() {
        assert_eq!(names(&["test"]).unwrap(), ["tools", "binary", "test-cmp"]);
        assert_eq!(names(&[]).unwrap().len(), 4);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = names(&["tets"]).unwrap_err().to_string();
        assert!(error.contains("test-cmp"), "{error}");
    }

    #[test]
    fn a_failed_step_does_not_keep_later_ones_from_running() {
        let mut world = Vec::new();
        let report = run(vec![step("a", &[]), step("bad", &[]), step("c", &[])], &mut world);
        assert_eq!(world, ["a", "bad", "c"]);
        assert_eq!(report.rows.len(), 3);
    }
}
