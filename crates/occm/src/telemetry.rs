//! Logs: plain lines for people, JSON lines for machines, always to standard error. What is logged can be changed while
//! the process runs, for a time.

use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;
use jiff::Timestamp;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged in this process.
struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
    /// What the process was started with.
    first: String,
    now: Mutex<Now>,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Starts logging. `filter` is a level (`info`) or a list such as `info,occm=debug`.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log-level: {error}; allowed: error, warn, info, debug, trace"))?;
    let (layer, handle) = reload::Layer::new(parsed);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(layer);
    let started = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    let _ = LEVEL.set(Level {
        handle,
        first: filter.to_owned(),
        now: Mutex::new((filter.to_owned(), None)),
    });
    Ok(())
}

/// A filter, and until when it holds if that ends.
pub type Now = (String, Option<Timestamp>);

/// Why the level was not changed.
#[derive(Debug)]
pub enum LevelError {
    /// It is not what was expected.
    Moved,
    /// The filter cannot be used.
    Wrong(String),
}

/// What is logged now.
pub fn level() -> Now {
    match LEVEL.get() {
        Some(level) => level.now.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        None => ("off".to_owned(), None),
    }
}

/// Logs by this until then, and after that as the process was started, if what is logged now is as expected. Nothing changes
/// in a dry run.
pub fn change(wanted: Now, is_expected: impl FnOnce(&Now) -> bool, dry_run: bool) -> Result<(), LevelError> {
    let wrong = |error: &dyn std::fmt::Display| LevelError::Wrong(error.to_string());
    let level = LEVEL.get().ok_or_else(|| wrong(&"nothing is logged"))?;
    let parsed = EnvFilter::try_new(&wanted.0).map_err(|error| wrong(&error))?;
    let mut now = level.now.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_expected(&now) {
        return Err(LevelError::Moved);
    }
    if !dry_run {
        level.handle.reload(parsed).map_err(|error| wrong(&error))?;
        *now = wanted;
    }
    Ok(())
}

/// Goes back to what the process was started with, if a change has ended. Called now and then.
pub fn settle(time: Timestamp) {
    let Some(level) = LEVEL.get() else { return };
    let mut now = level.now.lock().unwrap_or_else(PoisonError::into_inner);
    if now.1.is_some_and(|until| until <= time)
        && let Ok(first) = EnvFilter::try_new(&level.first)
        && level.handle.reload(first).is_ok()
    {
        *now = (level.first.clone(), None);
    }
}
