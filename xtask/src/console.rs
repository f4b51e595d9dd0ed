//! What a person sees while a chore runs. All of it goes to standard error, so that standard output holds answers only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Prints one line about what is going on.
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// Prints why a chore failed: the error and what caused it.
pub(crate) fn error(error: &anyhow::Error) {
    say(format!("error: {error:#}"));
}

/// A duration for people: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=119 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// One piece of work that takes a while: says that it began, now and then that it still runs, and how it ended.
pub(crate) struct Progress {
    what: String,
    started: Instant,
    said: Instant,
    live: bool,
}

impl Progress {
    /// Announces the work. On a terminal the line is kept alive; elsewhere (CI) a line appears every half minute.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let (what, now, live) = (what.into(), Instant::now(), std::io::stderr().is_terminal());
        if live {
            let _ = write!(std::io::stderr(), "{what} ...");
        } else {
            say(format!("{what} ..."));
        }
        Self {
            what,
            started: now,
            said: now,
            live,
        }
    }

    /// To be called several times a second while the work runs.
    pub(crate) fn tick(&mut self) {
        let pause = if self.live {
            Duration::from_secs(1)
        } else {
            Duration::from_secs(30)
        };
        if self.said.elapsed() < pause {
            return;
        }
        self.said = Instant::now();
        let elapsed = seconds(self.started.elapsed());
        if self.live {
            let _ = write!(std::io::stderr(), "\r{} ... {elapsed}  ", self.what);
        } else {
            say(format!("{} ... {elapsed}", self.what));
        }
    }

    /// Says how the work ended (`done`, `failed`) and how long it took.
    pub(crate) fn end(self, how: &str) -> Duration {
        let elapsed = self.started.elapsed();
        let start = if self.live { "\r" } else { "" };
        say(format!("{start}{}: {how} after {}   ", self.what, seconds(elapsed)).trim_end());
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let text = |ms| seconds(Duration::from_millis(ms));
        assert_eq!(text(420), "0.4 s");
        assert_eq!(text(12_300), "12 s");
        assert_eq!(text(185_000), "3 min 05 s");
    }
}
