//! The manager on Kubernetes: it runs while this process holds the Lease, and starts afresh each time that it gets it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::cli::serve::{Serve, manager};
use crate::cli::stop_signal;
use crate::clock::Clock;
use crate::model::object::ObjectKey;
use crate::observe::{Calls, Observe, Standing};
use crate::store::kube::{KubeSettings, KubeStore, Leadership, LeaseSettings};

impl Serve {
    pub(super) async fn cluster(&self) -> anyhow::Result<ExitCode> {
        let config = kube::Config::infer().await.context(
            "no cluster is configured; allowed: a Pod with a ServiceAccount, a kubeconfig (KUBECONFIG), or --store DIR",
        )?;
        let managed = std::iter::once(&self.namespace).chain(&self.namespaces).cloned();
        let mut settings = KubeSettings::new(managed, &self.holder());
        settings.watched_inputs = self.watched_inputs;
        tracing::info!(namespaces = settings.namespaces.join(","), "the manager starts");
        let store =
            Arc::new(KubeStore::new(&config, settings, Clock::system()).context("Kubernetes client")?);
        let lease = LeaseSettings::new(ObjectKey::new(&self.namespace, &self.lease), &self.holder());
        let (lease, leadership) = store.lease(lease);
        let observe = Arc::new(observe(&store, &leadership));
        self.tell(&observe).await?;
        let (give_back, given_back) = watch::channel(false);
        let holding = tokio::spawn(lease.run(given_back));
        #[cfg(feature = "api")]
        let (stop, stopped) = watch::channel(false);
        #[cfg(feature = "api")]
        let served = self
            .serve_api(&config, store.clone(), &leadership, stopped)
            .await?;
        let led = tokio::select! {
            led = self.lead(store, leadership, &observe) => led,
            () = stop_signal() => Ok(()),
        };
        tracing::info!("the manager stops");
        #[cfg(feature = "api")]
        stop.send_replace(true);
        // The fence closes with it; what is still in flight is guarded by its compare-and-swap.
        give_back.send_replace(true);
        holding.await?;
        #[cfg(feature = "api")]
        if let Some(served) = served {
            served.ended().await;
        }
        led.map(|()| ExitCode::SUCCESS)
    }

    /// Every replica serves the API, whether it holds the Lease or not.
    #[cfg(feature = "api")]
    async fn serve_api(
        &self,
        config: &kube::Config,
        store: Arc<KubeStore>,
        leadership: &Leadership,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<crate::cli::door::Served>> {
        let leads = leadership.leads();
        let managed = std::iter::once(&self.namespace).chain(&self.namespaces);
        let managed: std::collections::BTreeSet<String> = managed.cloned().collect();
        let place = crate::cli::door::Place {
            namespaces: managed.into_iter().collect(),
            leads: Box::new(move || *leads.borrow()),
            ..self.place("Kubernetes")
        };
        self.door.serve_cluster(config, store, place, stop).await
    }

    /// Runs a manager whenever the Lease is ours. What it knows is learnt anew each time.
    async fn lead(
        &self,
        store: Arc<KubeStore>,
        leadership: Leadership,
        observe: &Arc<Observe>,
    ) -> anyhow::Result<()> {
        let mut leads = leadership.leads();
        loop {
            leads
                .wait_for(|leads| *leads)
                .await
                .context("the Lease is no longer looked after")?;
            tracing::info!(holder = self.holder(), "this process holds the Lease and manages");
            let manager = manager(
                store.clone(),
                &self.namespace,
                &self.holder(),
                leadership.fence(),
                self.openssl.clone(),
                observe.clone(),
            );
            observe.at_work(&manager);
            let (stop, stopped) = watch::channel(false);
            let running = tokio::spawn(manager.run(stopped));
            let halted = Halt(stop);
            tokio::select! {
                lost = leads.wait_for(|leads| !*leads) => drop(lost.context("the Lease is no longer looked after")?),
                ended = running => anyhow::bail!("the manager ended unexpectedly: {ended:?}"),
            }
            drop(halted);
            tracing::warn!("the Lease is lost; this process waits");
        }
    }
}

/// What is told of this process: it leads while its fence is open, and is in touch while it hears of the Lease.
fn observe(store: &Arc<KubeStore>, leadership: &Leadership) -> Observe {
    let (fence, leadership, store) = (leadership.fence(), leadership.clone(), Arc::clone(store));
    let standing = move || match fence() {
        true => Standing::Leads,
        false => Standing::Waits {
            in_touch: leadership.in_touch(),
        },
    };
    Observe::new(standing).with_calls(move || Calls {
        sent: store.calls(),
        dropped_events: store.dropped_events(),
    })
}

/// Stops a manager when dropped.
struct Halt(watch::Sender<bool>);

impl Drop for Halt {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
