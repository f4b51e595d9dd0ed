//! What a manager lives through: its API server and etcd go away and come back, watches expire, a backup is restored. Each test
//! breaks the one control plane of this program, so they run one after the other.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/life.rs"]
mod life;
#[path = "support/reader.rs"]
mod reader;
#[path = "support/mod.rs"]
mod support;
#[path = "support/way.rs"]
mod way;

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cluster::until;
use crate::life::Bed;
use crate::reader::Reader;
use crate::support::{Ca, certificate_yaml};
use crate::way::{Way, compact};

/// Only one test at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// The administrator's view works again.
async fn serves(bed: &Bed) {
    until("the API server answers", async || {
        bed.secrets().get_opt("mac").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_and_an_etcd_that_die_cost_nothing() {
    let _one = ONE.lock().await;
    let Some(mut bed) = Bed::new("dies").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let reader = Reader::start(bed.secrets(), "web-tls");
    for component in ["apiserver", "etcd"] {
        bed.cluster.component("restart", component, &["--kill"]);
        serves(&bed).await;
        bed.delete_secret("web-tls").await;
        bed.back("web-tls", &before).await;
    }
    // Away for longer than the Lease lasts, and the output goes in the moment in which all come back.
    bed.cluster.component("stop", "apiserver", &["--kill"]);
    let lost = "the Lease is lost; this process waits";
    until("the Lease is lost", async || bed.log_text().contains(lost)).await;
    bed.cluster.component("start", "apiserver", &[]);
    serves(&bed).await;
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    bed.ready("web").await;
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    assert_eq!(bed.issued_in_all(), 3);
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_a_watch_expired_is_found() {
    let _one = ONE.lock().await;
    let Some(mut bed) = Bed::new("expires").await else {
        return;
    };
    let way = Way::to(bed.cluster.instance["server"].as_str().unwrap()).await;
    bed.write_kubeconfig(&way.url);
    for name in ["gone", "changed"] {
        bed.apply(&certificate_yaml(name, "")).await;
    }
    bed.start();
    bed.ready("gone").await;
    bed.ready("changed").await;
    let (gone, changed) = (bed.secret("gone-tls").await, bed.secret("changed-tls").await);
    way.open.send_replace(false);
    bed.delete_secret("gone-tls").await;
    let last = bed
        .meddle("changed-tls", "vandal", json!({"data": {"tls.crt": "eA=="}}))
        .await;
    compact(bed.cluster.etcd(), &last.metadata.resource_version.unwrap());
    // The cache of the API server would still know the old versions.
    bed.cluster.component("restart", "apiserver", &["--kill"]);
    way.open.send_replace(true);
    serves(&bed).await;
    bed.back("gone-tls", &gone).await;
    bed.back("changed-tls", &changed).await;
    assert_eq!(bed.issued_in_all(), 3);
}

/// Everything that people back up: Secrets first, so that records are there before their Certificates.
async fn dump(bed: &Bed, namespace: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    for kind in ["Secret", "ConfigMap", "Issuer", "Certificate"] {
        let listed = bed
            .api(namespace, kind)
            .list(&ListParams::default())
            .await
            .unwrap();
        for object in listed.items {
            let name = object.metadata.name.clone().unwrap();
            if name == "kube-root-ca.crt" {
                continue;
            }
            let mut object = serde_json::to_value(object).unwrap();
            object["kind"] = kind.into();
            object["apiVersion"] = match kind {
                "Issuer" | "Certificate" => "occm.dev/v1alpha1".into(),
                _ => "v1".into(),
            };
            let meta = object["metadata"].as_object_mut().unwrap();
            for field in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
                "generation",
            ] {
                meta.remove(field);
            }
            object.as_object_mut().unwrap().remove("status");
            objects.push(object);
        }
    }
    objects
}

/// No Certificate of any namespace, also of earlier tests, waits for a manager before it goes.
async fn free_all(bed: &Bed) {
    let everywhere: Api<DynamicObject> = Api::all_with(bed.client.clone(), &life::resource("Certificate"));
    for held in everywhere.list(&ListParams::default()).await.unwrap() {
        if held.metadata.finalizers.unwrap_or_default().is_empty() {
            continue;
        }
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        bed.api(&held.metadata.namespace.unwrap(), "Certificate")
            .patch(&held.metadata.name.unwrap(), &PatchParams::default(), &free)
            .await
            .unwrap();
    }
}

/// Namespace and definitions are deleted and made again; nothing is in them. A running manager must have no finalizer to act on.
async fn lose(bed: &Bed, namespace: &str) {
    free_all(bed).await;
    bed.cluster.delete_namespace(namespace).await;
    let spaces: Api<Namespace> = Api::all(bed.client.clone());
    until("the namespace is gone", async || {
        spaces.get_opt(namespace).await.unwrap().is_none()
    })
    .await;
    let crds = ["issuers.occm.dev", "certificates.occm.dev"];
    let delete = [&["delete", "crd", "--timeout=60s"][..], &crds].concat();
    bed.cluster.kubectl(&delete).unwrap();
    bed.cluster.install(occm::crd::crds()).await;
    bed.cluster.namespace(namespace).await;
    bed.grant(namespace).await;
}

fn restore(bed: &Bed, namespace: &str, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    bed.cluster
        .kubectl(&["-n", namespace, "apply", "-f", path])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_and_definitions_that_are_restored_cost_no_certificate() {
    let _one = ONE.lock().await;
    let Some(mut bed) = Bed::new("restores").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "  onDelete: Revoke\n")).await;
    bed.apply(&certificate_yaml("other", "")).await;
    bed.start();
    bed.ready("web").await;
    bed.ready("other").await;
    let uid = bed.get("Certificate", "web").await.unwrap()["metadata"]["uid"].clone();
    let older = dump(&bed, "restores").await;
    let first = bed.secret("web-tls").await;
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    let (second, now) = (bed.secret("web-tls").await, dump(&bed, "restores").await);
    let reader = Reader::start(bed.secrets(), "web-tls");
    for (objects, expected) in [(&now, &second), (&older, &first)] {
        // Nobody revokes what is only lost: the manager is away when the Certificate goes.
        bed.kill();
        lose(&bed, "restores").await;
        let token = bed.token(3600).await;
        bed.write_token(&token);
        restore(&bed, "restores", objects);
        bed.start();
        bed.ready("web").await;
        bed.ready("other").await;
        assert_ne!(
            bed.get("Certificate", "web").await.unwrap()["metadata"]["uid"],
            uid
        );
        bed.back("web-tls", expected).await;
        bed.delete_secret("web-tls").await;
        bed.back("web-tls", expected).await;
        assert_eq!((bed.issued("web"), bed.issued_in_all()), (2, 4));
    }
    reader.end().await;
    // And it goes on from there.
    bed.annotate("web", "occm.dev/renew", "2").await;
    bed.revision("web", 2).await;
    assert_eq!(bed.issued("web"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_watches_a_restore_issues_nothing_either() {
    let _one = ONE.lock().await;
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with("watches", &["restored"], ca, "").await else {
        return;
    };
    // Issuer and Certificates live in the namespace that is lost.
    let objects = support::issuer_yaml(&bed.ca, support::SECRET, "");
    bed.apply_in("restored", &objects).await;
    bed.apply_in("restored", &certificate_yaml("web", "")).await;
    bed.start();
    let ready = |found: &Value| support::condition(&found["status"], "Ready") == "True";
    bed.wait_in("restored", "web is ready", "Certificate", "web", ready)
        .await;
    let identity = |found: &Value| found["status"]["identity"]["revision"].as_u64() == Some(1);
    bed.wait("has its identity", "Issuer", "ca", identity).await;
    let before = bed.secrets_of("restored").get("web-tls").await.unwrap();
    let (issued, backup) = (bed.issued_in_all(), dump(&bed, "restored").await);
    let home = dump(&bed, "watches").await;
    let backwards = |objects: &[Value]| objects.iter().rev().cloned().collect::<Vec<_>>();
    // The objects before their records, and then Secrets first.
    for (backup, home) in [(backwards(&backup), backwards(&home)), (backup, home)] {
        lose(&bed, "restored").await;
        // One by one: the manager sees each before the next comes, and makes none of them itself.
        for object in &backup {
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            let api = bed.api("restored", kind.as_str().unwrap());
            let found = api.get_opt(name.as_str().unwrap()).await.unwrap();
            assert!(found.is_none(), "{kind} {name} is there before it is restored");
            restore(&bed, "restored", std::slice::from_ref(object));
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        restore(&bed, "watches", &home);
        bed.wait_in("restored", "web is ready", "Certificate", "web", ready)
            .await;
        let now = bed.secrets_of("restored").get("web-tls").await.unwrap();
        assert!(life::same_content(&now, &before));
        bed.wait_in("watches", "the Issuer is ready", "Issuer", "ca", ready)
            .await;
        assert_eq!(bed.issued_in_all(), issued);
    }
}
