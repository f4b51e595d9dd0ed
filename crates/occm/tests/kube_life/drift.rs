//! Who changed an output, what `onDrift` says about it, and a writer that does not give up.

use serde_json::json;

use crate::life::{Bed, fault, same_content};
use crate::support::certificate_yaml;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_its_writer_in_an_event_and_in_a_condition() {
    let Some(mut bed) = Bed::new("names").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    bed.meddle(
        "web-tls",
        "careless-script",
        json!({"data": {"tls.crt": "c3BvaWx0"}}),
    )
    .await;
    bed.back("web-tls", &before).await;
    bed.event("web", "Restored", "changed by careless-script").await;
    let message = bed.told("web", "InSync", "Restored").await;
    assert!(
        message.contains("names/web-tls") && message.contains("careless-script"),
        "{message}"
    );
    // Of a delete the API does not tell.
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    bed.event("web", "Restored", "deleted by unknown").await;
    bed.wait("tells of the deletion", "Certificate", "web", |found| {
        found["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| {
                one["type"] == "InSync" && one["message"].as_str().unwrap().contains("deleted by unknown")
            })
    })
    .await;
    bed.ready("web").await;
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_alert_a_change_is_only_told_and_a_deletion_is_put_back() {
    let Some(mut bed) = Bed::new("alerts").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "  onDrift: Alert\n")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let changed = bed
        .meddle("web-tls", "somebody", json!({"data": {"tls.crt": "c3BvaWx0"}}))
        .await;
    bed.told("web", "Ready", "DriftReported").await;
    let message = bed.told("web", "InSync", "DriftReported").await;
    assert!(message.contains("somebody"), "{message}");
    bed.event("web", "DriftReported", "web-tls").await;
    let status = bed.get("Certificate", "web").await.unwrap()["status"].clone();
    assert_eq!(status["outputs"][0]["changedBy"], "somebody", "{status}");
    let now = bed.secret("web-tls").await;
    assert_eq!(now.metadata.resource_version, changed.metadata.resource_version);
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    bed.ready("web").await;
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_reissue_a_change_is_answered_by_a_new_certificate() {
    let Some(mut bed) = Bed::new("reissues").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "  onDrift: Reissue\n")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    bed.meddle("web-tls", "somebody", json!({"data": {"tls.key": "c3BvaWx0"}}))
        .await;
    let status = bed.revision("web", 2).await;
    assert_eq!(status["history"][0]["reason"], "Reissue", "{status}");
    let after = bed.secret("web-tls").await;
    assert!(fault(&after).is_none() && !same_content(&before, &after));
    assert_eq!(bed.issued("web"), 2);
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &after).await;
    assert_eq!(bed.issued("web"), 2, "a deletion is put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_does_not_give_up_is_named_and_left_alone() {
    let Some(mut bed) = Bed::new("fights").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.apply(&certificate_yaml("other", "")).await;
    bed.start();
    bed.ready("web").await;
    bed.ready("other").await;
    let before = bed.secret("web-tls").await;
    let spoil = json!({"data": {"tls.crt": "c3BvaWx0"}});
    let mut rounds = 0;
    loop {
        bed.meddle("web-tls", "stubborn-operator", spoil.clone()).await;
        rounds += 1;
        let mut over = false;
        crate::cluster::until("it is put back, or the fight is over", async || {
            let status = bed.get("Certificate", "web").await.unwrap()["status"].clone();
            over = crate::support::reason(&status, "Ready") == "Fighting";
            over || same_content(&bed.secret("web-tls").await, &before)
        })
        .await;
        if over {
            break;
        }
        assert!(rounds < 15, "it is fought on");
    }
    assert!(rounds >= 10, "given up after {rounds} rounds");
    let note = bed.event("web", "Fighting", "stubborn-operator").await;
    assert!(note.contains("web-tls"), "{note}");
    let message = bed.told("web", "InSync", "Fighting").await;
    assert!(message.contains("stubborn-operator"), "{message}");
    let status = bed.get("Certificate", "web").await.unwrap()["status"].clone();
    assert_eq!(status["outputs"][0]["changedBy"], "stubborn-operator", "{status}");
    // Another repair after that shows that the manager has seen the last change and let it be.
    let last = bed.meddle("web-tls", "stubborn-operator", spoil).await;
    let other = bed.secret("other-tls").await;
    bed.delete_secret("other-tls").await;
    bed.back("other-tls", &other).await;
    let now = bed.secret("web-tls").await;
    assert_eq!(now.metadata.resource_version, last.metadata.resource_version);
    assert_eq!(bed.issued_in_all(), 3);
}
