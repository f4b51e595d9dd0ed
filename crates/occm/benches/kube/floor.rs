//! What the API server itself costs: the writes of an issuance and nothing else.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::life::Bed;
use crate::measure::Usage;

/// Namespace that no manager looks at.
const NAMESPACE: &str = "bench-floor";
/// How many times the writes are done.
const COUNT: usize = 1000;

/// The rate of the writes, and what each five of them cost the API server.
pub(crate) struct Floor {
    pub(crate) per_second: f64,
    pub(crate) apiserver_ms: f64,
}

/// The objects of one issuance, as the manager wrote them.
struct Written {
    certificate: Value,
    record: Value,
    output: Value,
    event: Value,
}

impl Written {
    async fn of(bed: &Bed, name: &str) -> Self {
        let get = async |kind: &str, name: String| bed.get(kind, &name).await.unwrap();
        Self {
            certificate: get("Certificate", name.to_owned()).await,
            record: get("Secret", format!("occm-record-{name}")).await,
            output: get("Secret", format!("{name}-tls")).await,
            event: bed.events(name).await.remove(0),
        }
    }
}

/// As it is created: under another name, without what the server adds, without a role that a manager looks for.
fn fresh(object: &Value, name: &str) -> DynamicObject {
    let mut object = object.clone();
    object["metadata"] = json!({
        "name": name,
        "namespace": NAMESPACE,
        "labels": object["metadata"]["labels"],
        "annotations": object["metadata"]["annotations"],
    });
    if object.get("regarding").is_some() {
        object["regarding"]["namespace"] = NAMESPACE.into();
    }
    serde_json::from_value(object).unwrap()
}

impl Floor {
    /// Does the writes of the issuance of `name` again and again: the record twice, the output, the status, the Event.
    pub(crate) async fn of(bed: &Bed, name: &str) -> Self {
        let written = Written::of(bed, name).await;
        bed.cluster.namespace(NAMESPACE).await;
        let certificates = bed.api(NAMESPACE, "Certificate");
        let secrets = bed.api(NAMESPACE, "Secret");
        let events = bed.api(NAMESPACE, "Event");
        let post = PostParams::default();
        crate::each(COUNT, async |n| {
            let wish = fresh(&written.certificate, &format!("floor-{n}"));
            certificates.create(&post, &wish).await.unwrap();
        })
        .await;
        let status: Patch<Value> = Patch::Merge(json!({ "status": written.certificate["status"] }));
        let (usage, began) = (Usage::of(bed), Instant::now());
        crate::each(COUNT, async |n| {
            let record = format!("record-{n}");
            let mut stored = secrets
                .create(&post, &fresh(&written.record, &record))
                .await
                .unwrap();
            stored
                .labels_mut()
                .insert("written".to_owned(), "twice".to_owned());
            secrets.replace(&record, &post, &stored).await.unwrap();
            let output = fresh(&written.output, &format!("floor-{n}-tls"));
            secrets.create(&post, &output).await.unwrap();
            let name = format!("floor-{n}");
            certificates
                .patch_status(&name, &PatchParams::default(), &status)
                .await
                .unwrap();
            events.create(&post, &fresh(&written.event, &name)).await.unwrap();
        })
        .await;
        let took = began.elapsed();
        let used = Usage::of(bed).since(&usage);
        Self {
            per_second: COUNT as f64 / took.max(Duration::from_millis(1)).as_secs_f64(),
            apiserver_ms: used.apiserver / COUNT as f64 * 1000.0,
        }
    }
}
