//! Outputs that are put back with the same bytes.

use serde_json::json;

use crate::life::Bed;
use crate::reader::Reader;
use crate::support::certificate_yaml;

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_put_back_with_the_ca_down_and_right_after_a_restart() {
    let Some(mut bed) = Bed::new("repairs").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let issued = bed.issued_in_all();
    let mut reader = Reader::start(bed.secrets(), "web-tls");
    // It keeps its port and answers nothing: whoever asks it hangs.
    bed.ca.pause();
    let spoilt = bed
        .meddle("web-tls", "vandal", json!({"data": {"tls.key": "c3BvaWx0"}}))
        .await;
    reader.meddled(&spoilt);
    bed.back("web-tls", &before).await;
    let spoilt = bed
        .meddle("web-tls", "vandal", json!({"data": {"ca.crt": null}}))
        .await;
    reader.meddled(&spoilt);
    bed.back("web-tls", &before).await;
    bed.delete_secret("web-tls").await;
    let again = bed.back("web-tls", &before).await;
    assert_ne!(again.metadata.uid, before.metadata.uid);
    bed.kill();
    bed.start();
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &before).await;
    bed.kill();
    bed.delete_secret("web-tls").await;
    bed.start();
    bed.back("web-tls", &before).await;
    bed.kill();
    let spoilt = bed
        .meddle("web-tls", "vandal", json!({"data": {"tls.crt": "c3BvaWx0"}}))
        .await;
    reader.meddled(&spoilt);
    bed.start();
    bed.back("web-tls", &before).await;
    bed.ca.resume();
    bed.ready("web").await;
    assert_eq!(bed.issued_in_all(), issued);
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_put_back_while_its_own_renewal_waits_for_the_ca() {
    let Some(mut bed) = Bed::new("hangs").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    bed.ca.pause();
    bed.annotate("web", "occm.dev/renew", "1").await;
    for _ in 0..3 {
        bed.delete_secret("web-tls").await;
        bed.back("web-tls", &before).await;
    }
    bed.ca.resume();
    bed.revision("web", 2).await;
    assert_eq!(bed.issued("web"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_a_type_and_immutability_are_put_back_and_what_others_added_stays() {
    let Some(mut bed) = Bed::new("marks").await else {
        return;
    };
    let template = "  secretTemplate: {labels: {team: a}, annotations: {note: b}}\n";
    bed.apply(&certificate_yaml("web", template)).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let ours = |found: &serde_json::Value| {
        let labels = &found["metadata"]["labels"];
        labels["occm.dev/role"] == "output"
            && labels["team"] == "a"
            && found["metadata"]["annotations"]["note"] == "b"
    };
    // Without our label it leaves the watch of ours; it is still listed in the record.
    let bare = json!({"metadata": {"labels": {"occm.dev/role": null, "team": "z", "other": "x"}, "annotations": {"note": null}}});
    bed.meddle("web-tls", "vandal", bare).await;
    let found = bed.wait("has its marks again", "Secret", "web-tls", ours).await;
    assert_eq!(found["metadata"]["labels"]["other"], "x", "not ours");
    bed.meddle("web-tls", "helper", json!({"data": {"extra": "eA=="}}))
        .await;
    bed.meddle("web-tls", "vandal", json!({"immutable": true})).await;
    let free =
        |found: &serde_json::Value| ours(found) && found["immutable"] != true && found["data"].is_object();
    bed.wait("is not immutable", "Secret", "web-tls", free).await;
    bed.back("web-tls", &before).await;
    // Another type: deleted, and made again by somebody else.
    bed.kill();
    bed.delete_secret("web-tls").await;
    let other = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "web-tls"}, "data": {"tls.crt": "eA=="}});
    bed.put("marks", &other).await;
    bed.start();
    bed.back("web-tls", &before).await;
    assert_eq!(bed.issued("web"), 1);
}
