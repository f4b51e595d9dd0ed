//! A workload: reads a Secret a hundred times a second and judges each state of it.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests only")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::life::fault;

/// How often the Secret is read.
const INTERVAL: Duration = Duration::from_millis(10);

/// A reader that runs.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Read>,
    meddled: BTreeSet<String>,
}

/// What was read.
#[derive(Default)]
pub(crate) struct Read {
    /// Successful reads.
    pub(crate) reads: usize,
    /// Reads that found no Secret.
    pub(crate) absent: usize,
    /// What was wrong, by resourceVersion.
    faults: BTreeMap<String, String>,
    /// All versions that were read.
    pub(crate) versions: BTreeSet<String>,
}

impl Reader {
    /// Begins to read.
    pub(crate) fn start(secrets: Api<Secret>, name: &str) -> Self {
        let (stop, name) = (Arc::new(AtomicBool::new(false)), name.to_owned());
        let stopped = Arc::clone(&stop);
        let running = tokio::spawn(async move {
            let mut read = Read::default();
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                match secrets.get_opt(&name).await {
                    Ok(Some(secret)) => read.note(&secret),
                    Ok(None) => read.absent += 1,
                    // The API server is away; a workload keeps what it has.
                    Err(_) => {}
                }
            }
            read
        });
        let meddled = BTreeSet::new();
        Self {
            stop,
            running,
            meddled,
        }
    }

    /// A state that a meddler of the test made.
    pub(crate) fn meddled(&mut self, secret: &Secret) {
        self.meddled.extend(secret.metadata.resource_version.clone());
    }

    /// Ends the reading; no state but a meddler's may have been wrong.
    pub(crate) async fn end(self) -> Read {
        self.stop.store(true, Ordering::Relaxed);
        let read = self.running.await.unwrap();
        for (version, fault) in &read.faults {
            assert!(
                self.meddled.contains(version),
                "version {version} was wrong: {fault}"
            );
        }
        read
    }
}

impl Read {
    fn note(&mut self, secret: &Secret) {
        self.reads += 1;
        let version = secret.metadata.resource_version.clone().unwrap();
        if self.versions.insert(version.clone())
            && let Some(fault) = fault(secret)
        {
            self.faults.insert(version, fault);
        }
    }
}
