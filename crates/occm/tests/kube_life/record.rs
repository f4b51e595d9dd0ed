//! Records and statuses that are lost or come back from a backup.

use serde_json::{Value, json};

use kube::api::{DeleteParams, Patch, PatchParams};

use crate::life::Bed;
use crate::reader::Reader;
use crate::support::certificate_yaml;

fn without_server_fields(mut object: Value) -> Value {
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object.as_object_mut().unwrap().remove("status");
    object
}

async fn lose_status(bed: &Bed, kind: &str, name: &str) {
    let lost = json!({"status": null});
    let parameters = PatchParams::default();
    bed.api(&bed.home, kind)
        .patch_status(name, &parameters, &Patch::Merge(lost))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_record_is_made_again_from_the_output_also_without_a_status() {
    let Some(mut bed) = Bed::new("records").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let there = |found: &Value| found["data"].is_object();
    bed.delete_secret("occm-record-web").await;
    bed.wait("is made again", "Secret", "occm-record-web", there)
        .await;
    bed.kill();
    bed.delete_secret("occm-record-web").await;
    lose_status(&bed, "Certificate", "web").await;
    lose_status(&bed, "Issuer", "ca").await;
    bed.start();
    bed.wait("is made again", "Secret", "occm-record-web", there)
        .await;
    assert_eq!(bed.ready("web").await["revision"], 1);
    // The new record is as good as the old one.
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    assert_eq!((bed.issued("web"), bed.issued_in_all()), (1, 2));
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    assert_eq!(bed.issued("web"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_status_is_written_again_and_nothing_is_issued() {
    let Some(mut bed) = Bed::new("statuses").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    let before = bed.ready("web").await;
    lose_status(&bed, "Certificate", "web").await;
    let after = bed.ready("web").await;
    assert_eq!(before["fingerprint"], after["fingerprint"]);
    bed.kill();
    lose_status(&bed, "Certificate", "web").await;
    lose_status(&bed, "Issuer", "ca").await;
    bed.start();
    let after = bed.ready("web").await;
    assert_eq!(before["fingerprint"], after["fingerprint"]);
    let ready = |found: &Value| crate::support::condition(&found["status"], "Ready") == "True";
    bed.wait("is ready", "Issuer", "ca", ready).await;
    assert_eq!(bed.issued_in_all(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_before_the_last_renewal_learns_from_the_output() {
    let Some(mut bed) = Bed::new("older").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let old_record = bed.get("Secret", "occm-record-web").await.unwrap();
    let old_output = bed.get("Secret", "web-tls").await.unwrap();
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    let newest = bed.secret("web-tls").await;
    let reader = Reader::start(bed.secrets(), "web-tls");
    bed.kill();
    bed.delete_secret("occm-record-web").await;
    bed.put("older", &without_server_fields(old_record)).await;
    let restored = bed.get("Secret", "occm-record-web").await.unwrap();
    bed.start();
    let learnt =
        |found: &Value| found["metadata"]["resourceVersion"] != restored["metadata"]["resourceVersion"];
    bed.wait("has learnt", "Secret", "occm-record-web", learnt).await;
    bed.back("web-tls", &newest).await;
    // And the other way round: an output from before the renewal is brought up to date.
    reader.end().await;
    bed.kill();
    bed.secrets()
        .delete("web-tls", &DeleteParams::default())
        .await
        .unwrap();
    bed.put("older", &without_server_fields(old_output)).await;
    bed.start();
    bed.back("web-tls", &newest).await;
    bed.ready("web").await;
    assert_eq!((bed.issued("web"), bed.issued_in_all()), (2, 3));
}
