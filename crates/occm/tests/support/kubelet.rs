//! What no kubelet is there to do: runs the container of a Pod that the API server has as a process of this machine, and
//! says how it ended.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::cluster::chart::{Container, RELEASE};
use crate::support::{BIN, wait_for};

/// The running Pods of the release's Deployment, as the scheduler and the fake nodes made them.
pub fn pods(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let selector = format!("--selector=app.kubernetes.io/name=occm,app.kubernetes.io/instance={RELEASE}");
    let text = cluster
        .kubectl(&[
            "get",
            "pods",
            &selector,
            "--namespace",
            namespace,
            "--output=json",
        ])
        .unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    let lives =
        |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running";
    pods.filter(lives).cloned().collect()
}

/// Waits for this number of Pods; gives their uids.
pub fn uids(cluster: &Cluster, namespace: &str, count: usize) -> Vec<String> {
    wait_for(&format!("{count} Pods run"), || {
        let pods = pods(cluster, namespace);
        let uids = pods
            .iter()
            .map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned());
        (pods.len() == count).then(|| uids.collect())
    })
}

/// Runs the Pod of `helm test` once it is there. The name of the Service is resolved to `health`, where the manager
/// listens.
pub fn run_test_pod(cluster: &Cluster, namespace: &str, health: &str) {
    let name = format!("{RELEASE}-test");
    let pod = wait_for("the Pod of helm test", || {
        let text = cluster
            .kubectl(&[
                "get",
                "pod",
                &name,
                "--namespace",
                namespace,
                "--output=json",
                "--ignore-not-found",
            ])
            .unwrap();
        let pod: Value = serde_json::from_str(&text).ok()?;
        (pod["status"]["phase"] == "Running").then_some(pod)
    });
    let container = Container::of(&pod["spec"]["containers"][0], namespace, "");
    let service = format!("{RELEASE}.{namespace}.svc:8081");
    let arguments: Vec<String> = container
        .arguments
        .iter()
        .map(|text| text.replace(&service, health))
        .collect();
    assert_ne!(arguments, container.arguments, "it asks the Service");
    let ended = Command::new(BIN).args(&arguments).env_clear().output().unwrap();
    let phase = if ended.status.success() {
        "Succeeded"
    } else {
        "Failed"
    };
    let patch = json!({"status": {"phase": phase}}).to_string();
    cluster
        .kubectl(&[
            "patch",
            "pod",
            &name,
            "--namespace",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .unwrap();
}
