//! A thousand outputs at once.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::ByteString;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use serde_json::Value;

use crate::cluster::until;
use crate::life::Bed;
use crate::support::{certificate_yaml, condition};

/// Certificates, and outputs of each: issuing costs most of the time in builds without optimisation.
const CERTIFICATES: usize = 125;
const OUTPUTS_OF_EACH: usize = 8;
const COUNT: usize = CERTIFICATES * OUTPUTS_OF_EACH;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_outputs_deleted_at_once_are_all_back_with_the_ca_down_and_after_a_restart() {
    let Some(mut bed) = Bed::new("thousand").await else {
        return;
    };
    bed.start();
    let outputs_of = |n: usize| -> String {
        let one = |m| format!("  - secret: {{name: c{n}-{m}}}\n    keys: {{all.pem: {{part: Bundle}}}}\n");
        (1..OUTPUTS_OF_EACH).map(one).collect()
    };
    let yaml: Vec<Value> = (0..CERTIFICATES)
        .map(|n| certificate_yaml(&format!("c{n}"), &format!("  outputs:\n{}", outputs_of(n))))
        .map(|text| serde_saphyr::from_str(&text).unwrap())
        .collect();
    for some in yaml.chunks(64) {
        futures::future::join_all(some.iter().map(|one| bed.put("thousand", one))).await;
    }
    until("all are issued", async || outputs(&bed).await.len() == COUNT).await;
    until("all are ready", async || count_ready(&bed).await == CERTIFICATES).await;
    let before = outputs(&bed).await;
    assert_eq!(bed.issued_in_all(), CERTIFICATES + 1);
    bed.ca.pause();
    bed.kill();
    bed.start();
    let role = ListParams::default().labels(OUTPUTS);
    bed.secrets()
        .delete_collection(&DeleteParams::default(), &role)
        .await
        .unwrap();
    let deleted = Instant::now();
    until("all are back with the same bytes", async || {
        outputs(&bed).await == before
    })
    .await;
    println!("{COUNT} outputs are back after {:.1?}", deleted.elapsed());
    bed.ca.resume();
    assert_eq!(bed.issued_in_all(), CERTIFICATES + 1);
}

const OUTPUTS: &str = "occm.dev/role=output";

type Data = Option<BTreeMap<String, ByteString>>;

/// All outputs with their data, by name.
async fn outputs(bed: &Bed) -> BTreeMap<Option<String>, Data> {
    let listed = bed
        .secrets()
        .list(&ListParams::default().labels(OUTPUTS))
        .await
        .unwrap();
    let secrets = listed.items.into_iter();
    secrets.map(|one| (one.metadata.name, one.data)).collect()
}

async fn count_ready(bed: &Bed) -> usize {
    let certificates = bed.api("thousand", "Certificate");
    let listed = certificates.list(&ListParams::default()).await.unwrap();
    let ready = |one: &&DynamicObject| condition(&one.data["status"], "Ready") == "True";
    listed.items.iter().filter(ready).count()
}
