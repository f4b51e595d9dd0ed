//! `occm serve`: the manager. The composition root.

#[cfg(feature = "kube")]
mod cluster;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::{guard, stop_signal};
use crate::clock::Clock;
use crate::engines;
use crate::model::object::DEFAULT_NAMESPACE;
use crate::observe::{self, Observe, Standing};
use crate::reconcile::manager::{Fence, Manager, Observer, Parts, Settings};
use crate::store::Store;
use crate::store::dir::DirStore;

/// Settings of the manager.
///
/// With --store it manages a directory on this host. Without it, it manages Kubernetes objects: in a Pod with the Pod's
/// ServiceAccount, elsewhere with the current kubeconfig.
#[derive(Args)]
pub(crate) struct Serve {
    /// Directory with objects (*.yaml), outputs and records
    #[arg(long, env = "OCCM_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// occm's own namespace: Certificates there may write outputs elsewhere
    #[arg(long, env = "OCCM_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Kubernetes: other managed namespaces, separated by commas; nothing outside of them is read or written
    #[arg(long, env = "OCCM_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    namespaces: Vec<String>,
    /// Kubernetes: name of the Lease in occm's own namespace; one process at a time holds it and writes
    #[arg(long, env = "OCCM_LEASE", default_value = "occm", value_name = "NAME")]
    lease: String,
    /// Kubernetes: most inputs of Issuers that are watched one by one; those above are read every 30 seconds
    #[arg(
        long,
        env = "OCCM_WATCHED_INPUTS",
        default_value_t = 200,
        value_name = "NUMBER"
    )]
    watched_inputs: usize,
    /// Names this process in the Lease and in transactions: the Pod's uid, so that a restarted container goes on at once
    #[arg(long, env = "OCCM_HOLDER", value_name = "NAME")]
    holder: Option<String>,
    /// The openssl command, for Issuers with engine OpenSSL
    #[arg(long, env = "OCCM_OPENSSL", default_value = "openssl", value_name = "PROGRAM")]
    openssl: PathBuf,
    /// Address of /livez, /readyz and /metrics, which tell names of objects; off unless given. Port 0 = any free one
    #[arg(long, env = "OCCM_LISTEN_HEALTH", value_name = "ADDRESS")]
    listen_health: Option<SocketAddr>,
    #[cfg(feature = "api")]
    #[command(flatten)]
    door: crate::cli::door::DoorArgs,
}

impl Serve {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match &self.store {
            Some(dir) => self.host(dir).await,
            None => self.cluster().await,
        }
    }

    async fn host(&self, dir: &Path) -> anyhow::Result<ExitCode> {
        let store = DirStore::open(dir).with_context(|| format!("--store {}", dir.display()))?;
        let store = Arc::new(store);
        tracing::info!(store = %dir.display(), "the manager starts");
        let observe = Arc::new(Observe::new(|| Standing::Leads));
        self.tell(&observe).await?;
        let manager = manager(
            store.clone(),
            &self.namespace,
            &self.holder(),
            Arc::new(|| true),
            self.openssl.clone(),
            observe.clone(),
        );
        observe.at_work(&manager);
        let (stop, stopped) = watch::channel(false);
        #[cfg(feature = "api")]
        let served = self
            .door
            .serve_directory(dir, store, self.place("Directory"), tell_login, stopped.clone())
            .await?;
        let running = tokio::spawn(manager.run(stopped));
        stop_signal().await;
        tracing::info!("the manager stops");
        stop.send_replace(true);
        #[cfg(feature = "api")]
        if let Some(served) = served {
            served.ended().await;
        }
        running.await?.context("a look ended unexpectedly")?;
        Ok(ExitCode::SUCCESS)
    }

    /// What the API is told of this process. On a host it always leads.
    #[cfg(feature = "api")]
    fn place(&self, store: &'static str) -> crate::cli::door::Place {
        crate::cli::door::Place {
            store,
            home: self.namespace.clone(),
            namespaces: Vec::new(),
            holder: self.holder(),
            leads: Box::new(|| true),
            openssl: self.openssl.clone(),
        }
    }

    #[cfg(not(feature = "kube"))]
    async fn cluster(&self) -> anyhow::Result<ExitCode> {
        anyhow::bail!(
            "--store is missing, and this program was built without Kubernetes; allowed: --store DIR"
        )
    }

    /// Opens the port for those who look on, if it is asked for.
    async fn tell(&self, observe: &Arc<Observe>) -> anyhow::Result<()> {
        let Some(address) = self.listen_health else {
            return Ok(());
        };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("--listen-health {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
        tokio::spawn(observe::serve(listener, Arc::clone(observe)));
        Ok(())
    }

    fn holder(&self) -> String {
        self.holder
            .clone()
            .unwrap_or_else(|| format!("pid-{}", std::process::id()))
    }
}

/// The login of a first look: good once.
#[cfg(feature = "api")]
fn tell_login(link: &str) {
    crate::cli::out::line(&format!("login, good once: {link}"));
}

/// A manager that acts while `fence` says so.
pub(crate) fn manager(
    store: Arc<dyn Store>,
    home: &str,
    holder: &str,
    fence: Fence,
    openssl: PathBuf,
    observer: Arc<dyn Observer>,
) -> Arc<Manager> {
    let parts = Parts {
        store,
        make_engine: engines::make(openssl, guard::before()),
        clock: Clock::system(),
        fence,
        observer,
        random: Arc::new(random),
    };
    Arc::new(Manager::new(parts, Settings::new(home, holder)))
}

/// A number from 0 to 1 by chance; a system without randomness gets no jitter.
fn random() -> f64 {
    pki::random::number().map_or(0.0, |n| f64::from(n) / f64::from(u32::MAX))
}
