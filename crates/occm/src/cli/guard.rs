//! A program that does not outlive the one that wants it: what stands between the manager and the `openssl` command.
//!
//! ```text
//! manager ── starts ──► occm exec-with-parent PID openssl cmp .. ── becomes ──► openssl cmp ..
//!                        "kill me when my parent dies", parent still PID?
//! ```
//!
//! The kernel keeps that wish over `exec`, so a manager that is killed takes the command with it, and no request leaves
//! after its end. Not a command for people: it is not in `--help`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

const WORD: &str = "exec-with-parent";

/// This process's own program, also if its file was replaced since it started.
const SELF: &str = "/proc/self/exe";

/// What to put before a program and its arguments: nothing where there is no `/proc`, as in a bare root folder.
pub(crate) fn before() -> Vec<OsString> {
    if !std::path::Path::new(SELF).exists() {
        tracing::warn!(
            "there is no /proc: an openssl command outlives a manager that is killed, until its timeout"
        );
        return Vec::new();
    }
    let pid = std::process::id().to_string();
    vec![SELF.into(), WORD.into(), pid.into()]
}

/// Does the work, if this process was started for it; only returns if it was not, or could not.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(WORD)) {
        return None;
    }
    let parent = arguments.next()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
    let program = arguments.next()?;
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("error: cannot be tied to the manager: {error}");
        return Some(ExitCode::FAILURE);
    }
    if getppid() != Some(parent) {
        eprintln!("error: the manager has ended");
        return Some(ExitCode::FAILURE);
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("error: cannot run {}: {error}", program.display());
    Some(ExitCode::FAILURE)
}
