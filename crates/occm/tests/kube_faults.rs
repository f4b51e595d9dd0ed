//! What goes wrong around the Kubernetes store, done for real: servers that stop, watches that expire, rights and tokens
//! that vanish, namespaces that end.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/told.rs"]
mod told;
#[path = "support/way.rs"]
mod way;

use std::sync::Arc;
use std::time::{Duration, Instant};

use occm::clock::Clock;
use occm::model::object::ObjectKey;
use occm::store::kube::{KubeSettings, KubeStore};
use occm::store::{Change, Store, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::cluster::{Cluster, cluster, until};
use crate::told::{Told, write};
use crate::way::{Way, compact};

/// The cluster with the definitions and a namespace; only one test at a time breaks it.
async fn ready(namespace: &str) -> Option<(&'static Cluster, MutexGuard<'static, bool>)> {
    static ONE: Mutex<bool> = Mutex::const_new(false);
    let cluster = cluster()?;
    let mut installed = ONE.lock().await;
    if !*installed {
        cluster.install(occm::crd::crds()).await;
        *installed = true;
    }
    cluster.namespace(namespace).await;
    Some((cluster, installed))
}

fn settings(namespace: &str) -> KubeSettings {
    KubeSettings {
        call_timeout: Duration::from_secs(2),
        ..KubeSettings::new([namespace], "test")
    }
}

async fn store(cluster: &Cluster, namespace: &str) -> KubeStore {
    KubeStore::new(
        &cluster.manager_config(&[namespace]).await,
        settings(namespace),
        Clock::system(),
    )
    .unwrap()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_version_is_too_old_tells_what_it_missed() {
    let Some((cluster, _one)) = ready("expired").await else {
        return;
    };
    let way = Way::to(cluster.instance["server"].as_str().unwrap()).await;
    let mut config = cluster.manager_config(&["expired"]).await;
    config.cluster_url = way.url.parse().unwrap();
    let cut_off = KubeStore::new(&config, settings("expired"), Clock::system()).unwrap();
    let direct = store(cluster, "expired").await;
    let key = |name: &str| ObjectKey::new("expired", name);
    for name in ["stays", "goes"] {
        direct
            .create_secret(&write(&key(name), "web", &[("a", "1")]))
            .await
            .unwrap();
    }
    let mut told = Told::new(&cut_off);
    told.list().await;
    way.open.send_replace(false);
    cluster
        .kubectl(&["-n", "expired", "delete", "secret", "goes"])
        .unwrap();
    let made = direct
        .create_secret(&write(&key("comes"), "web", &[("a", "1")]))
        .await
        .unwrap();
    compact(cluster.etcd(), &made.version.0.to_string());
    // The cache of the API server would still know the old versions.
    cluster.component("restart", "apiserver", &["--kill"]);
    way.open.send_replace(true);
    let (mut gone, mut come) = (false, false);
    while !(gone && come) {
        match told.next().await {
            Change::Secret(told, None) if told == key("goes") => gone = true,
            Change::Secret(told, Some(_)) if told == key("comes") => come = true,
            Change::Secret(told, None) => panic!("{told} is told as gone"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_killed_and_comes_back_is_used_again() {
    let Some((cluster, _one)) = ready("killed").await else {
        return;
    };
    let store = store(cluster, "killed").await;
    let key = |name: &str| ObjectKey::new("killed", name);
    let mut told = Told::new(&store);
    told.list().await;
    cluster.component("stop", "apiserver", &["--kill"]);
    let refused = store.create_secret(&write(&key("a"), "web", &[("a", "1")])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(..))), "{refused:?}");
    cluster.component("start", "apiserver", &[]);
    until("writes work again", async || {
        store
            .create_secret(&write(&key("a"), "web", &[("a", "1")]))
            .await
            .is_ok()
    })
    .await;
    assert!(told.secret(&key("a")).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_hangs_costs_one_time_out_a_call() {
    let Some((cluster, _one)) = ready("hangs").await else {
        return;
    };
    let store = store(cluster, "hangs").await;
    let key = ObjectKey::new("hangs", "a");
    let mut told = Told::new(&store);
    told.list().await;
    let pid = cluster.pid("apiserver");
    signal(pid, rustix::process::Signal::STOP);
    let began = Instant::now();
    let refused = store.create_secret(&write(&key, "web", &[("a", "1")])).await;
    let took = began.elapsed();
    signal(pid, rustix::process::Signal::CONT);
    assert!(matches!(refused, Err(StoreError::Unavailable(..))), "{refused:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    until("writes work again", async || {
        // The write that hung may have happened.
        matches!(
            store.create_secret(&write(&key, "web", &[("a", "1")])).await,
            Ok(_) | Err(StoreError::Conflict(_))
        )
    })
    .await;
    assert!(told.secret(&key).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_killed_and_comes_back_loses_nothing() {
    let Some((cluster, _one)) = ready("etcd").await else {
        return;
    };
    let store = store(cluster, "etcd").await;
    let key = |name: &str| ObjectKey::new("etcd", name);
    let mut told = Told::new(&store);
    told.list().await;
    store
        .create_secret(&write(&key("a"), "web", &[("a", "1")]))
        .await
        .unwrap();
    assert!(told.secret(&key("a")).await.is_some());
    cluster.component("stop", "etcd", &["--kill"]);
    let refused = store.create_secret(&write(&key("b"), "web", &[("a", "1")])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(..))), "{refused:?}");
    cluster.component("start", "etcd", &[]);
    until("writes work again", async || {
        matches!(
            store.create_secret(&write(&key("b"), "web", &[("a", "1")])).await,
            Ok(_) | Err(StoreError::Conflict(_))
        )
    })
    .await;
    loop {
        match told.next().await {
            Change::Secret(told, None) => panic!("{told} is told as gone"),
            Change::Secret(told, Some(_)) if told == key("b") => break,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_is_said_so() {
    let Some((cluster, _one)) = ready("ends").await else {
        return;
    };
    // Of somebody whose rights outlive the namespace: the chart's Role may go first, and then it is NoAccess.
    let store = KubeStore::new(&cluster.config().await, settings("ends"), Clock::system()).unwrap();
    cluster
        .kubectl(&["-n", "ends", "create", "configmap", "holds"])
        .unwrap();
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    cluster
        .kubectl(&["-n", "ends", "patch", "configmap", "holds", "-p", hold])
        .unwrap();
    cluster.delete_namespace("ends").await;
    let key = ObjectKey::new("ends", "out");
    until("the write is refused", async || {
        let refused = store.create_secret(&write(&key, "web", &[("a", "1")])).await;
        matches!(refused, Err(StoreError::Terminating(_)))
    })
    .await;
    let free = r#"{"metadata":{"finalizers":null}}"#;
    cluster
        .kubectl(&["-n", "ends", "patch", "configmap", "holds", "-p", free])
        .unwrap();
    until("the namespace is gone", async || {
        let refused = store.create_secret(&write(&key, "web", &[("a", "1")])).await;
        matches!(refused, Err(StoreError::NotFound(_)))
    })
    .await;
}

/// A ServiceAccount that may read in its namespace and write nothing.
fn reader(cluster: &Cluster, namespace: &str) -> String {
    let kubectl = |arguments: &[&str]| {
        cluster
            .kubectl(&[&["-n", namespace], arguments].concat())
            .unwrap()
    };
    kubectl(&["create", "serviceaccount", "reader"]);
    kubectl(&[
        "create",
        "role",
        "reader",
        "--verb=get,list,watch",
        "--resource=secrets,issuers.occm.dev,certificates.occm.dev",
    ]);
    kubectl(&[
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        &format!("--serviceaccount={namespace}:reader"),
    ]);
    kubectl(&["create", "token", "reader"])
}

async fn with_token(cluster: &Cluster, token: kube::config::AuthInfo, namespaces: &[&str]) -> KubeStore {
    let mut config = cluster.config().await;
    config.auth_info = token;
    let settings = KubeSettings::new(namespaces.iter().copied(), "test");
    KubeStore::new(&config, settings, Clock::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_said_so_and_stops_only_its_namespace() {
    let Some((cluster, _one)) = ready("rights").await else {
        return;
    };
    let token = reader(cluster, "rights");
    let auth = kube::config::AuthInfo {
        token: Some(token.trim().to_owned().into()),
        ..Default::default()
    };
    let store = with_token(cluster, auth, &["rights", "kube-public"]).await;
    let key = ObjectKey::new("rights", "out");
    let admin = self::store(cluster, "rights").await;
    admin
        .create_secret(&write(&key, "web", &[("a", "1")]))
        .await
        .unwrap();
    until("the rights are known", async || {
        store.read_secret(&key).await.is_ok()
    })
    .await;
    let refused = store
        .create_secret(&write(&ObjectKey::new("rights", "other"), "web", &[("a", "1")]))
        .await;
    assert!(matches!(refused, Err(StoreError::Forbidden(..))), "{refused:?}");
    let told = Told::new(&store).list().await;
    assert!(
        told.iter()
            .any(|change| matches!(change, Change::Secret(told, Some(_)) if *told == key))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expired_is_read_again_from_its_file() {
    let Some((cluster, _one)) = ready("tokens").await else {
        return;
    };
    let token = reader(cluster, "tokens");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "expired").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let auth = kube::config::AuthInfo {
        token_file: Some(path),
        ..Default::default()
    };
    let store = Arc::new(with_token(cluster, auth, &["tokens"]).await);
    let key = ObjectKey::new("tokens", "out");
    let refused = store.read_secret(&key).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(..))),
        "{}",
        refused.is_ok()
    );
    std::fs::write(file.path(), token).unwrap();
    let began = Instant::now();
    until("the new token is used", async || {
        store.read_secret(&key).await.is_ok()
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
