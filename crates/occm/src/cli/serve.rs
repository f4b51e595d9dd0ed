//! `occm serve`: the manager. The composition root.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;

use crate::cli::stop_signal;
use crate::clock::Clock;
use crate::engines;
use crate::model::object::DEFAULT_NAMESPACE;
use crate::reconcile::manager::{Manager, NoObserver, Observer, Parts, Settings};
use crate::store::Store;
use crate::store::dir::DirStore;

/// Settings of the manager.
#[derive(Args)]
pub(crate) struct Serve {
    /// Directory with objects (*.yaml), outputs and records
    #[arg(long, env = "OCCM_STORE", value_name = "DIR")]
    store: PathBuf,
    /// occm's own namespace: Certificates there may write outputs elsewhere
    #[arg(long, env = "OCCM_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// The openssl command, for Issuers with engine OpenSSL
    #[arg(long, env = "OCCM_OPENSSL", default_value = "openssl", value_name = "PROGRAM")]
    openssl: PathBuf,
}

impl Serve {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let store =
            DirStore::open(&self.store).with_context(|| format!("--store {}", self.store.display()))?;
        tracing::info!(store = %self.store.display(), "the manager starts");
        let manager = manager(
            Arc::new(store),
            &self.namespace,
            self.openssl,
            Arc::new(NoObserver),
        );
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(manager.run(stopped));
        stop_signal().await;
        tracing::info!("the manager stops");
        stop.send_replace(true);
        running.await?.context("a look ended unexpectedly")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A manager on a store that this process alone writes.
pub(crate) fn manager(
    store: Arc<dyn Store>,
    home: &str,
    openssl: PathBuf,
    observer: Arc<dyn Observer>,
) -> Arc<Manager> {
    let parts = Parts {
        store,
        make_engine: engines::make(openssl),
        clock: Clock::system(),
        fence: Arc::new(|| true),
        observer,
        random: Arc::new(random),
    };
    let holder = std::env::var("OCCM_HOLDER").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
    Arc::new(Manager::new(parts, Settings::new(home, &holder)))
}

/// A number from 0 to 1 by chance; a system without randomness gets no jitter.
fn random() -> f64 {
    pki::random::number().map_or(0.0, |n| f64::from(n) / f64::from(u32::MAX))
}
