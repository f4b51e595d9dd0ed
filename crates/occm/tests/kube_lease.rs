//! The Lease on a real API server: taken, kept, taken over, given back.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use occm::model::object::ObjectKey;
use occm::store::kube::{Fence, Leadership, LeaseSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::chart::RELEASE;
use crate::cluster::{Cluster, PATIENCE, cluster, until};

/// A candidate and the way to stop it.
struct Candidate {
    leadership: Leadership,
    fence: Fence,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Each test has a namespace of its own.
fn settings(lease: &str, holder: &str) -> LeaseSettings {
    lasting(Duration::from_millis(1500), lease, holder)
}

/// The longer it lasts, the surer it is that nobody waited for its end.
fn lasting(duration: Duration, lease: &str, holder: &str) -> LeaseSettings {
    LeaseSettings {
        duration,
        renew_deadline: duration * 2 / 3,
        retry_period: Duration::from_millis(200),
        ..LeaseSettings::new(ObjectKey::new(lease, RELEASE), holder)
    }
}

async fn candidate(cluster: &Cluster, settings: LeaseSettings) -> Candidate {
    let store = cluster.store(&[settings.lease.namespace.as_str()]).await;
    let (lease, leadership) = store.lease(settings);
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        lease.run(stopped).await;
        drop(store);
    });
    Candidate {
        fence: leadership.fence(),
        leadership,
        stop,
        task,
    }
}

impl Candidate {
    async fn until_leads(&self, leads: bool) {
        let mut told = self.leadership.leads();
        let waited = tokio::time::timeout(PATIENCE, told.wait_for(|now| *now == leads));
        waited.await.expect("in time").expect("the lease runs");
    }

    fn may_act(&self) -> bool {
        (self.fence)()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_holds_the_lease_and_gives_it_back() {
    let Some(cluster) = cluster() else { return };
    let duration = Duration::from_secs(6);
    let one = candidate(cluster, lasting(duration, "graceful", "one")).await;
    one.until_leads(true).await;
    let two = candidate(cluster, lasting(duration, "graceful", "two")).await;
    // Longer than the lease lasts: it is renewed.
    let until = Instant::now() + duration + Duration::from_secs(1);
    while Instant::now() < until {
        assert!(one.may_act() && !two.may_act());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    one.stop().await;
    two.until_leads(true).await;
    assert!(two.may_act());
    assert!(
        began.elapsed() < duration * 2 / 3,
        "{:?}: no wait for the end of the lease",
        began.elapsed()
    );
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_killed_holder_is_taken_over_after_its_duration() {
    let Some(cluster) = cluster() else { return };
    let one = candidate(cluster, settings("killed", "one")).await;
    one.until_leads(true).await;
    let two = candidate(cluster, settings("killed", "two")).await;
    one.task.abort();
    let began = Instant::now();
    let fence = Arc::clone(&one.fence);
    // The fence of the dead one closes before the other may act.
    until("the other may act", async || {
        assert!(!(fence() && two.may_act()), "two at one time");
        two.may_act()
    })
    .await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1000) && took < Duration::from_secs(20),
        "{took:?}"
    );
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_started_again_in_its_pod_goes_on_at_once() {
    let Some(cluster) = cluster() else { return };
    let duration = Duration::from_secs(30);
    let one = candidate(cluster, lasting(duration, "restarted", "pod-uid")).await;
    one.until_leads(true).await;
    one.task.abort();
    let began = Instant::now();
    let again = candidate(cluster, lasting(duration, "restarted", "pod-uid")).await;
    again.until_leads(true).await;
    assert!(began.elapsed() < duration / 2, "{:?}", began.elapsed());
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_the_lease_that_is_years_off_is_of_no_matter() {
    let Some(cluster) = cluster() else { return };
    let one = candidate(cluster, settings("clock", "one")).await;
    one.until_leads(true).await;
    one.task.abort();
    let future = r#"{"spec":{"renewTime":"2099-01-01T00:00:00.000000Z"}}"#;
    cluster
        .kubectl(&[
            "patch",
            "lease",
            RELEASE,
            "--namespace=clock",
            "--type=merge",
            "-p",
            future,
        ])
        .unwrap();
    let two = candidate(cluster, settings("clock", "two")).await;
    let began = Instant::now();
    two.until_leads(true).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_lease_was_taken_by_hand_stops_at_its_next_renewal() {
    let Some(cluster) = cluster() else { return };
    let one = candidate(cluster, settings("robbed", "one")).await;
    one.until_leads(true).await;
    let robbed = r#"{"spec":{"holderIdentity":"robber"}}"#;
    cluster
        .kubectl(&[
            "patch",
            "lease",
            RELEASE,
            "--namespace=robbed",
            "--type=merge",
            "-p",
            robbed,
        ])
        .unwrap();
    one.until_leads(false).await;
    assert!(!one.may_act());
    one.stop().await;
}
