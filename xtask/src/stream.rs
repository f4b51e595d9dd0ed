//! Runs a program whose lines are looked at one by one as they come, kept in a log, and shown if worth it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::{say, seconds};
use crate::libtest::Show;
use crate::process;

/// A program that says nothing worth showing is mentioned this often.
const QUIET: Duration = Duration::from_secs(30);
/// Output of stray descendants is read for so long after the program itself has ended.
const AFTERGLOW: Duration = Duration::from_secs(2);

/// Runs the command with a limit; `judge` decides about each line of its output.
pub(crate) fn run(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut judge: impl FnMut(&str) -> Show,
) -> Result<ExitStatus> {
    let mut log_file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let line = process::describe(command);
    say(format!("  $ {line}"));
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    // Both ends of the child's output go through one pipe, so that their order is kept.
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot share a pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    // The command holds our copies of the writing end; the pipe only ends when they are gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let lines = lines_of(reader);
    let (started, mut shown) = (Instant::now(), Instant::now());
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(text) => {
                let _ = writeln!(log_file, "{text}");
                if judge(&text) == Show::Yes {
                    say(format!("  {text}"));
                    shown = Instant::now();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return finish(&mut child, limit.saturating_sub(started.elapsed()));
            }
        }
        if shown.elapsed() > QUIET {
            say(format!("  ... {}", seconds(started.elapsed())));
            shown = Instant::now();
        }
        if started.elapsed() > limit {
            return finish(&mut child, Duration::ZERO);
        }
        if let Some(status) = ended(&mut child)? {
            drain(&lines, &mut log_file, &mut judge);
            return Ok(status);
        }
    }
}

fn ended(child: &mut Child) -> Result<Option<ExitStatus>> {
    child.try_wait().context("cannot wait for a child process")
}

fn finish(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    process::wait(child, limit, || ())
}

/// Reads what is left in the pipe; somebody may still hold its other end, so not for ever.
fn drain(lines: &Receiver<String>, log: &mut File, judge: &mut impl FnMut(&str) -> Show) {
    let end = Instant::now() + AFTERGLOW;
    while let Ok(text) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        let _ = writeln!(log, "{text}");
        if judge(&text) == Show::Yes {
            say(format!("  {text}"));
        }
    }
}

/// The thread ends with the pipe.
fn lines_of(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1024);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    receiver
}

/// As `run`; a failure status is an error.
pub(crate) fn must(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    judge: impl FnMut(&str) -> Show,
) -> Result<()> {
    let status = run(command, log, limit, judge)?;
    if !status.success() {
        bail!("`{}` failed ({status})", process::describe(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> (Result<ExitStatus>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let status = run(&mut command, &folder.path().join("log"), limit, |line| {
            seen.push(line.to_owned());
            Show::No
        });
        (status, seen)
    }

    #[test]
    fn lines_of_both_outputs_keep_their_order() {
        let (status, seen) = sh("echo a; echo b >&2; echo c; exit 3", Duration::from_secs(60));
        assert_eq!(status.unwrap().code(), Some(3));
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn a_program_past_its_limit_is_ended() {
        let (status, _) = sh("sleep 600", Duration::from_millis(300));
        assert!(status.unwrap_err().to_string().contains("killed"));
    }

    #[test]
    fn a_stray_descendant_that_holds_the_output_does_not_hold_us() {
        let (status, seen) = sh("sleep 20 & echo done", Duration::from_secs(15));
        assert!(status.unwrap().success());
        assert_eq!(seen, ["done"]);
    }
}
