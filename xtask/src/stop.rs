//! Ctrl-C and SIGTERM, for chores that have something to put away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on these signals end nothing by themselves: [`wanted`] tells of them. A second one ends the process at once.
pub(crate) fn listen() -> Result<()> {
    let flag = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("cannot listen for signals")?;
    }
    Ok(())
}

/// Whether the chore shall end.
pub(crate) fn wanted() -> bool {
    STOP.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
