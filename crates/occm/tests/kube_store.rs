//! What the Kubernetes store does beyond the suite: one request for each write, foreign Secrets, field managers, Events.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/bad.rs"]
mod bad;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/told.rs"]
mod told;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use occm::clock::Clock;
use occm::model::certificate::CertificateStatus;
use occm::model::object::{Kind, ObjectKey};
use occm::model::reason::Reason;
use occm::store::kube::{FirstLists, KubeSettings, KubeStore};
use occm::store::{Event, Presence, Severity, Status, Store, StoreError, Subject};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, cluster, until};
use crate::told::{Told, write};

/// The cluster with the definitions and a namespace of this name.
async fn ready(namespace: &str) -> Option<&'static Cluster> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = cluster()?;
    INSTALLED.get_or_init(|| cluster.install(occm::crd::crds())).await;
    cluster.namespace(namespace).await;
    Some(cluster)
}

fn apply(cluster: &Cluster, namespace: &str, object: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    cluster
        .kubectl(&["-n", namespace, "apply", "-f", file.path().to_str().unwrap()])
        .unwrap();
}

fn secret_json(cluster: &Cluster, key: &ObjectKey) -> Value {
    let text = cluster
        .kubectl(&[
            "-n",
            &key.namespace,
            "get",
            "secret",
            &key.name,
            "-o",
            "json",
            "--show-managed-fields",
        ])
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_is_one_request() {
    let Some(cluster) = ready("counted").await else {
        return;
    };
    apply(cluster, "counted", &bad::good("Certificate", "web"));
    let store = cluster.store(&["counted"]).await;
    let (key, wish) = (
        ObjectKey::new("counted", "web-out"),
        ObjectKey::new("counted", "web"),
    );
    let subject = Subject::Certificate(wish.clone());
    let bytes = pki::Secret::from(&b"record"[..]);

    let first = store.write_record(&subject, &bytes, None).await.unwrap();
    let second = store.write_record(&subject, &bytes, Some(first)).await.unwrap();
    let created = store
        .create_secret(&write(&key, "web", &[("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    let updated = store
        .update_secret(&write(&key, "web", &[("a", "3"), ("b", "4")]), created.version)
        .await
        .unwrap();
    store
        .write_status(&wish, &Status::Certificate(Box::default()))
        .await
        .unwrap();
    let annotations = BTreeMap::from([("occm.dev/renew".to_owned(), "1".to_owned())]);
    store
        .annotate(Kind::Certificate, &wish, &annotations)
        .await
        .unwrap();
    store
        .delete_secret(&key, &updated.uid, updated.version)
        .await
        .unwrap();
    store.delete_record(&subject, second).await.unwrap();
    assert_eq!(store.calls(), 8);
    // A finalizer is read before it is written.
    store.set_finalizer(&wish, Presence::Present).await.unwrap();
    assert_eq!(store.calls(), 10);
    store.set_finalizer(&wish, Presence::Absent).await.unwrap();
    assert!(store.clock_offset().unwrap().abs() < jiff::SignedDuration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_replaced_as_a_whole_and_leaves_the_rest_alone() {
    let Some(cluster) = ready("status").await else {
        return;
    };
    apply(cluster, "status", &bad::good("Certificate", "web"));
    let store = cluster.store(&["status"]).await;
    let wish = ObjectKey::new("status", "web");
    let mut status = CertificateStatus {
        serial_number: Some("01".to_owned()),
        revision: Some(1),
        ..Default::default()
    };
    store
        .write_status(&wish, &Status::Certificate(Box::new(status.clone())))
        .await
        .unwrap();
    status.serial_number = None;
    store
        .write_status(&wish, &Status::Certificate(Box::new(status)))
        .await
        .unwrap();
    let text = cluster
        .kubectl(&["-n", "status", "get", "ocert", "web", "-o", "json"])
        .unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["status"].get("serialNumber"), None);
    assert_eq!(object["status"]["revision"], 1);
    assert_eq!(object["spec"]["commonName"], "web.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_certificate_has_a_field_manager_of_its_own() {
    let Some(cluster) = ready("managers").await else {
        return;
    };
    let store = cluster.store(&["managers"]).await;
    let key = ObjectKey::new("managers", "shared");
    let made = store
        .create_secret(&write(&key, "rsa", &[("rsa.key", "1")]))
        .await
        .unwrap();
    store
        .update_secret(&write(&key, "ec", &[("ec.key", "2")]), made.version)
        .await
        .unwrap();
    let secret = secret_json(cluster, &key);
    let managers: BTreeSet<&str> = secret["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(
        managers,
        BTreeSet::from(["occm/managers.ec", "occm/managers.rsa"])
    );
    assert_eq!(secret["data"].as_object().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_after_our_own_write_takes_no_data_away() {
    let Some(cluster) = ready("adopted").await else {
        return;
    };
    let store = cluster.store(&["adopted"]).await;
    let key = ObjectKey::new("adopted", "out");
    let made = store
        .create_secret(&write(&key, "web", &[("a", "1")]))
        .await
        .unwrap();
    let changed = store
        .update_secret(&write(&key, "web", &[("a", "2")]), made.version)
        .await
        .unwrap();
    let adopted = store
        .update_secret(&write(&key, "web", &[]), changed.version)
        .await
        .unwrap();
    assert_eq!(adopted.data, changed.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_is_not_made_again_by_an_update() {
    let Some(cluster) = ready("gone").await else {
        return;
    };
    let store = cluster.store(&["gone"]).await;
    let key = ObjectKey::new("gone", "out");
    let made = store
        .create_secret(&write(&key, "web", &[("a", "1")]))
        .await
        .unwrap();
    cluster
        .kubectl(&["-n", "gone", "delete", "secret", "out"])
        .unwrap();
    let late = store
        .update_secret(&write(&key, "web", &[("a", "2")]), made.version)
        .await;
    assert!(matches!(late, Err(StoreError::NotFound(_))), "{late:?}");
    assert!(store.read_secret(&key).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_loses_our_label_is_told_as_it_is() {
    let Some(cluster) = ready("unlabelled").await else {
        return;
    };
    let store = cluster.store(&["unlabelled"]).await;
    let key = ObjectKey::new("unlabelled", "out");
    let mut told = Told::new(&store);
    told.list().await;
    store.attend(BTreeSet::new(), BTreeSet::from([key.clone()]));
    assert!(told.secret(&key).await.is_none());
    let made = store
        .create_secret(&write(&key, "web", &[("a", "1")]))
        .await
        .unwrap();
    assert_eq!(told.secret(&key).await.unwrap().version, made.version);
    cluster
        .kubectl(&["-n", "unlabelled", "label", "secret", "out", "occm.dev/role-"])
        .unwrap();
    loop {
        // It may be told as missing for a moment: the two watches have no common order.
        if let Some(facts) = told.secret(&key).await {
            assert_eq!((&facts.uid, facts.labels.is_empty()), (&made.uid, true));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_output_is_known_before_the_watch_is_synced() {
    let Some(cluster) = ready("foreign").await else {
        return;
    };
    cluster
        .kubectl(&[
            "-n",
            "foreign",
            "create",
            "secret",
            "generic",
            "web",
            "--from-literal=a=1",
        ])
        .unwrap();
    let store = cluster.store(&["foreign"]).await;
    let key = ObjectKey::new("foreign", "web");
    store.attend(BTreeSet::new(), BTreeSet::from([key.clone()]));
    let told = Told::new(&store).list().await;
    let found = told.iter().any(|change| {
        matches!(change, occm::store::Change::Secret(told, Some(facts)) if *told == key && facts.data.contains_key("a"))
    });
    assert!(found, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_secret_refuses_an_update_and_is_told_as_immutable() {
    let Some(cluster) = ready("immutable").await else {
        return;
    };
    let store = cluster.store(&["immutable"]).await;
    let key = ObjectKey::new("immutable", "out");
    store
        .create_secret(&write(&key, "web", &[("a", "1")]))
        .await
        .unwrap();
    cluster
        .kubectl(&[
            "-n",
            "immutable",
            "patch",
            "secret",
            "out",
            "-p",
            r#"{"immutable":true}"#,
        ])
        .unwrap();
    let facts = store.read_secret(&key).await.unwrap().unwrap().facts;
    assert!(facts.immutable);
    let refused = store
        .update_secret(&write(&key, "web", &[("a", "2")]), facts.version)
        .await;
    assert!(matches!(refused, Err(StoreError::Refused(..))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_above_the_limit_is_polled_and_told_all_the_same() {
    let Some(cluster) = ready("polled").await else {
        return;
    };
    let mut settings = KubeSettings::new(["polled"], "test");
    settings.watched_inputs = 1;
    settings.poll_interval = std::time::Duration::from_millis(100);
    let store = KubeStore::new(
        &cluster.manager_config(&["polled"]).await,
        settings,
        Clock::system(),
    )
    .unwrap();
    let input = |name: &str| occm::model::plan::InputRef {
        kind: occm::model::plan::InputKind::Secret,
        object: ObjectKey::new("polled", name),
    };
    store.attend(BTreeSet::from([input("a"), input("b")]), BTreeSet::new());
    let mut told = Told::new(&store);
    told.list().await;
    cluster
        .kubectl(&[
            "-n",
            "polled",
            "create",
            "secret",
            "generic",
            "b",
            "--from-literal=k=1",
        ])
        .unwrap();
    loop {
        if let occm::store::Change::Input(which, Some(_)) = told.next().await {
            assert_eq!(which, input("b"));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_show_in_kubectl_and_repeats_are_counted() {
    let Some(cluster) = ready("events").await else {
        return;
    };
    let store = cluster.store(&["events"]).await;
    let event = Event {
        kind: Kind::Certificate,
        object: ObjectKey::new("events", "web"),
        uid: None,
        severity: Severity::Warning,
        reason: Reason::Unreachable,
        message: "the CA did not answer".to_owned(),
        time: Timestamp::now(),
    };
    for _ in 0..3 {
        store.emit(&event).await;
    }
    let list = || {
        cluster
            .kubectl(&["-n", "events", "get", "events", "-o", "json"])
            .unwrap()
    };
    until("the Event is there and counted", async || {
        let events: Value = serde_json::from_str(&list()).unwrap();
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["series"]["count"] == 3)
    })
    .await;
    let events: Value = serde_json::from_str(&list()).unwrap();
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(
        (&events["items"][0]["reason"], &events["items"][0]["type"]),
        (&"Unreachable".into(), &"Warning".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_pages_tell_the_same_as_streamed_ones() {
    let Some(cluster) = ready("paged").await else {
        return;
    };
    let store = cluster.store(&["paged"]).await;
    for n in 0..120 {
        let key = ObjectKey::new("paged", format!("out{n}"));
        store
            .create_secret(&write(&key, "web", &[("a", "1")]))
            .await
            .unwrap();
    }
    apply(cluster, "paged", &bad::good("Certificate", "web"));
    let foreign = ObjectKey::new("paged", "foreign");
    cluster
        .kubectl(&[
            "-n",
            "paged",
            "create",
            "secret",
            "generic",
            "foreign",
            "--from-literal=a=1",
        ])
        .unwrap();
    cluster
        .kubectl(&["-n", "paged", "create", "configmap", "trust"])
        .unwrap();
    let trust = occm::model::plan::InputRef {
        kind: occm::model::plan::InputKind::ConfigMap,
        object: ObjectKey::new("paged", "trust"),
    };
    let mut all = Vec::new();
    for first_lists in [FirstLists::Streamed, FirstLists::Paged] {
        let settings = KubeSettings {
            first_lists,
            ..KubeSettings::new(["paged"], "test")
        };
        let store = KubeStore::new(
            &cluster.manager_config(&["paged"]).await,
            settings,
            Clock::system(),
        )
        .unwrap();
        store.attend(BTreeSet::from([trust.clone()]), BTreeSet::from([foreign.clone()]));
        let mut told = Told::new(&store);
        let list: BTreeSet<String> = told
            .list()
            .await
            .iter()
            .map(|change| format!("{change:?}"))
            .collect();
        assert_eq!(list.len(), 123);
        all.push(list);
        let key = ObjectKey::new("paged", format!("{first_lists:?}").to_lowercase());
        store
            .create_secret(&write(&key, "web", &[("a", "1")]))
            .await
            .unwrap();
        assert!(
            told.secret(&key).await.is_some(),
            "the watch goes on where the list ended"
        );
        cluster
            .kubectl(&["-n", "paged", "delete", "secret", &key.name])
            .unwrap();
        assert!(told.secret(&key).await.is_none());
    }
    assert_eq!(all.first(), all.last());
}
