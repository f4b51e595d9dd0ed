//! Other programs: found, run to the end with a log and a limit, or known by pid and ended by pid.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::console::{Progress, say, seconds};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The program's path, if it stands in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

/// Whether the file exists and may be executed.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command that prints little and gives its standard output; its standard error is the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, tail(&said, 20));
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed something that is not text"))
}

/// Runs a long command: everything it prints goes to `log`, a person sees `what` and the time it takes.
pub(crate) fn run_with_progress(
    command: &mut Command,
    what: &str,
    log: &Path,
    limit: Duration,
) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let line = describe(command);
    let mut progress = Progress::begin(what);
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot share the log file")?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start `{line}`"));
    let status = child.and_then(|mut child| wait(&mut child, limit, || progress.tick()));
    match status {
        Ok(status) if status.success() => {
            progress.end("done");
            Ok(())
        }
        Ok(status) => {
            progress.end("failed");
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!(
                "`{line}` failed ({status}); the end of {}:\n{}",
                log.display(),
                tail(&said, 30)
            )
        }
        Err(error) => {
            progress.end("failed");
            Err(error)
        }
    }
}

/// Waits for a child; past the limit the child and all its descendants are killed.
pub(crate) fn wait(child: &mut Child, limit: Duration, mut tick: impl FnMut()) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child process")? {
            return Ok(status);
        }
        if started.elapsed() > limit {
            kill_tree(child.id());
            let _ = child.wait();
            bail!("still running after {}, killed", seconds(limit));
        }
        if crate::stop::wanted() {
            kill_tree(child.id());
            let _ = child.wait();
            bail!("stopped");
        }
        tick();
        sleep(LOOK);
    }
}

/// Calls `look` until it gives something or the limit has passed.
pub(crate) fn until<T>(limit: Duration, pause: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() > limit {
            return None;
        }
        sleep(pause);
    }
}

/// A process that is not (or no longer) our child, told from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks from the machine's start to the process's.
    pub(crate) started: u64,
}

impl Identity {
    /// Of a running process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        stat(pid).filter(|stat| stat.lives).map(|stat| Self {
            pid,
            started: stat.started,
        })
    }

    /// Whether the process still runs; a zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends the signal if the process still runs.
    pub(crate) fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .filter(|_| self.is_alive())
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends the signal and waits until the process is gone; after the limit it is killed.
    pub(crate) fn end(self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal);
        let gone = |limit| until(limit, LOOK, || (!self.is_alive()).then_some(())).is_some();
        if gone(limit) {
            return Ok(());
        }
        say(format!(
            "process {} did not end within {}, killing it",
            self.pid,
            seconds(limit)
        ));
        self.signal(Signal::KILL);
        if gone(Duration::from_secs(10)) {
            return Ok(());
        }
        bail!("process {} cannot be killed", self.pid)
    }
}

/// Kills a process and everything below it, children first found before any is killed.
fn kill_tree(root: u32) {
    let mut family = vec![root];
    let parents: Vec<(u32, u32)> = pids()
        .filter_map(|pid| stat(pid).map(|stat| (pid, stat.parent)))
        .collect();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    for identity in family.into_iter().filter_map(Identity::of) {
        identity.signal(Signal::KILL);
    }
}

fn pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

struct Stat {
    lives: bool,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state ppid ... num_threads ... starttime ...`, proc(5); the name may hold spaces and brackets.
/// A killed process whose first thread is a zombie already still holds its ports while other threads end.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        lives: !matches!(*fields.first()?, "Z" | "X") || fields.get(17)?.parse::<u32>().ok()? > 1,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The command as a person would type it, for messages; the program without its folder.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args().map(|argument| argument.to_string_lossy()) {
        text.push(' ');
        if argument.contains([' ', '\'', '"', '$']) {
            text.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        } else {
            text.push_str(&argument);
        }
    }
    text
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let from = all.len().saturating_sub(lines);
    all.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_confuse_the_reader() {
        let stat = parse_stat("7 (a) b (c)) S 3 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9").unwrap();
        assert!(stat.lives);
        assert_eq!((stat.parent, stat.started), (3, 4711));
    }

    #[test]
    fn a_process_lives_until_its_last_thread_has_ended() {
        let ending = |threads: u32| {
            parse_stat(&format!(
                "7 (a) Z 3 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 {threads} 0 4711 9 9"
            ))
            .unwrap()
            .lives
        };
        assert!(ending(5));
        assert!(!ending(1));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        let identity = until(Duration::from_secs(5), LOOK, || match Identity::of(child.id()) {
            None => Some(()),
            Some(_) => None,
        });
        assert!(identity.is_some(), "not reaped yet, but ended");
        child.wait().unwrap();
    }

    #[test]
    fn a_command_past_its_limit_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let grandchild = until(Duration::from_secs(10), LOOK, || {
            std::fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .and_then(Identity::of)
        })
        .unwrap();
        wait(&mut child, Duration::ZERO, || ()).unwrap_err();
        assert!(
            until(Duration::from_secs(10), LOOK, || (!grandchild.is_alive())
                .then_some(()))
            .is_some()
        );
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_taken_for_the_old_one() {
        let now = Identity::of(std::process::id()).unwrap();
        assert!(now.is_alive());
        assert!(
            !Identity {
                started: now.started + 1,
                ..now
            }
            .is_alive()
        );
    }

    #[test]
    fn arguments_with_spaces_are_quoted_in_messages() {
        assert_eq!(
            describe(Command::new("go").args(["build", "-ldflags=-s -w"])),
            "go build '-ldflags=-s -w'"
        );
    }

    #[test]
    fn the_tail_is_the_end_of_the_text() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 9), "a");
    }
}
