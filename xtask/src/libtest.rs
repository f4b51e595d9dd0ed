//! Reads what `cargo test -- --show-output` prints: counts, failures, and the tests that say `skipped: why`.

/// What a run of tests came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that ran and found nothing wrong; those that skipped themselves are not among them.
    pub(crate) passed: usize,
    /// Names of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// Tests that could not do their work, and why.
    pub(crate) skipped: Vec<Skip>,
    /// Tests that were left out because they take long and nobody asked for them.
    pub(crate) long: usize,
    /// One row for each test program: its name, its tests, its seconds as printed.
    pub(crate) programs: Vec<Program>,
}

/// A test that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) why: String,
}

/// One test program of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) tests: usize,
    pub(crate) time: String,
}

/// Whether a line should reach the person who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Yes,
    No,
}

/// Fed with one line after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tally: Tally,
    section: Section,
    program: String,
    /// The test whose output is being read.
    speaker: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// cargo's own lines.
    #[default]
    Cargo,
    Running,
    Successes,
    Failures,
}

/// A test ignored with a reason that begins so is left out, not skipped.
const LONG: &str = "long";

impl Reader {
    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &str) -> Show {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.result(counts);
            self.section = Section::Cargo;
            return Show::No;
        }
        if let Some(program) = program_name(line) {
            self.program = program;
            self.section = Section::Cargo;
            return Show::No;
        }
        match line {
            "successes:" => self.section = Section::Successes,
            "failures:" => self.section = Section::Failures,
            _ if self.section == Section::Cargo && line.starts_with("running ") => {
                self.section = Section::Running
            }
            _ => return self.content(line),
        }
        Show::No
    }

    fn content(&mut self, line: &str) -> Show {
        if let Some(test) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.speaker = test.to_owned();
        }
        match self.section {
            Section::Cargo => show_of_cargo(line),
            Section::Failures => Show::Yes,
            Section::Successes => {
                self.skipped_itself(line);
                Show::No
            }
            Section::Running => self.verdict(line),
        }
    }

    /// `test NAME ... ok`, `... FAILED`, `... ignored, why`; a line without it is output that escaped its test.
    fn verdict(&mut self, line: &str) -> Show {
        let Some((test, verdict)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return Show::No;
        };
        let test = test.to_owned();
        if verdict.starts_with("FAILED") {
            self.tally.failed.push(self.full(&test));
            return Show::Yes;
        }
        if let Some(why) = verdict.strip_prefix("ignored") {
            let why = why.trim_start_matches([',', ' ']);
            if why.starts_with(LONG) {
                self.tally.long += 1;
            } else {
                let why = if why.is_empty() {
                    "ignored without a reason"
                } else {
                    why
                };
                self.tally.skipped.push(Skip {
                    test: self.full(&test),
                    why: why.to_owned(),
                });
            }
        }
        Show::No
    }

    fn skipped_itself(&mut self, line: &str) {
        let Some(why) = line.strip_prefix("skipped: ") else {
            return;
        };
        let test = self.full(&self.speaker);
        if self.tally.skipped.iter().all(|skip| skip.test != test) {
            self.tally.skipped.push(Skip {
                test,
                why: why.trim().to_owned(),
            });
            // It is among the passed ones of the result line, which comes later.
            self.tally.passed = self.tally.passed.wrapping_sub(1);
        }
    }

    fn full(&self, test: &str) -> String {
        format!("{}: {test}", self.program)
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`
    fn result(&mut self, counts: &str) {
        let before = |word: &str| {
            let text = counts
                .split_once(word)
                .map_or("", |(before, _)| before.trim_end());
            text.rsplit(|c: char| !c.is_ascii_digit())
                .next()
                .and_then(|n| n.parse::<usize>().ok())
                .unwrap_or(0)
        };
        let (passed, failed) = (before(" passed"), before(" failed"));
        self.tally.passed = self.tally.passed.wrapping_add(passed);
        let time = counts.rsplit_once("finished in ").map_or("", |(_, time)| time);
        if passed + failed > 0 {
            self.tally.programs.push(Program {
                name: self.program.clone(),
                tests: passed + failed,
                time: time.to_owned(),
            });
        }
    }

    /// What was counted.
    pub(crate) fn finish(self) -> Tally {
        self.tally
    }
}

/// `Running tests/foreign.rs (target/debug/deps/foreign-0a1b)`, `Running unittests src/lib.rs (...)`, `Doc-tests pki`.
fn program_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{library} (documentation)"));
    }
    let (what, file) = line.strip_prefix("Running ")?.split_once(" (")?;
    if let Some(source) = what.strip_prefix("unittests ") {
        let program = file.rsplit('/').next()?.rsplit_once('-')?.0;
        return Some(format!("{program} ({source})"));
    }
    Some(what.to_owned())
}

/// Of what cargo says, its progress is left out.
pub(crate) fn show_of_cargo(line: &str) -> Show {
    const PROGRESS: [&str; 15] = [
        "Compiling ",
        "Checking ",
        "Finished ",
        "Fresh ",
        "Downloading ",
        "Downloaded ",
        "Blocking ",
        "Updating ",
        "Locking ",
        "Adding ",
        "Executable ",
        "Documenting ",
        "Generated ",
        "Dirty ",
        "Scraping ",
    ];
    let text = line.trim_start();
    if text.is_empty() || PROGRESS.iter().any(|word| text.starts_with(word)) {
        Show::No
    } else {
        Show::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Tally, Vec<&str>) {
        let mut reader = Reader::default();
        let shown = text
            .lines()
            .filter(|line| reader.line(line) == Show::Yes)
            .collect();
        (reader.finish(), shown)
    }

    const RUN: &str = "   Compiling pki v0.1.0
warning: unused import
     Running unittests src/lib.rs (target/debug/deps/pki-1f2e)

running 3 tests
test name::tests::empty_name ... ok
test key::tests::p384 ... ignored, long: a minute of key generation
test key::tests::hardware ... ignored

successes:

successes:
    name::tests::empty_name

test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.02s

     Running tests/foreign.rs (target/debug/deps/foreign-77aa)

running 3 tests
test openssl_reads_our_message ... ok
test mock_server ... ok
test wrong_nonce ... FAILED

successes:

---- mock_server stdout ----
starting
skipped: no OpenSSL 3.5
skipped: twice

successes:
    mock_server

failures:

---- wrong_nonce stdout ----
thread panicked

failures:
    wrong_nonce

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.34s

error: 1 target failed
";

    #[test]
    fn counts_are_taken_over_all_programs() {
        let (tally, _) = read(RUN);
        assert_eq!(tally.passed, 2, "one of three skipped itself");
        assert_eq!(tally.failed, ["tests/foreign.rs: wrong_nonce"]);
        assert_eq!(tally.long, 1);
        let names: Vec<&str> = tally
            .programs
            .iter()
            .map(|program| program.name.as_str())
            .collect();
        assert_eq!(names, ["pki (src/lib.rs)", "tests/foreign.rs"]);
        assert_eq!(tally.programs[1].time, "12.34s");
    }

    #[test]
    fn a_test_that_skips_itself_is_counted_once_with_its_reason() {
        let (tally, _) = read(RUN);
        let skips: Vec<(&str, &str)> = tally
            .skipped
            .iter()
            .map(|skip| (skip.test.as_str(), skip.why.as_str()))
            .collect();
        assert_eq!(
            skips,
            [
                (
                    "pki (src/lib.rs): key::tests::hardware",
                    "ignored without a reason"
                ),
                ("tests/foreign.rs: mock_server", "no OpenSSL 3.5"),
            ]
        );
    }

    #[test]
    fn failures_and_cargos_messages_are_shown_and_successes_are_not() {
        let (_, shown) = read(RUN);
        for wanted in [
            "warning: unused import",
            "thread panicked",
            "error: 1 target failed",
        ] {
            assert!(shown.contains(&wanted), "{wanted} in {shown:?}");
        }
        assert!(
            !shown
                .iter()
                .any(|line| line.contains("Compiling") || line.contains("starting")),
            "{shown:?}"
        );
    }

    #[test]
    fn doc_tests_have_their_librarys_name() {
        assert_eq!(
            program_name("   Doc-tests cmp").as_deref(),
            Some("cmp (documentation)")
        );
        assert_eq!(program_name("Running late"), None);
    }
}
