//! The definitions on a real API server: accepted, explained, printed, and strict.

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

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, cluster};

/// The cluster with the definitions.
async fn installed() -> Option<&'static Cluster> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = cluster()?;
    INSTALLED.get_or_init(|| cluster.install(occm::crd::crds())).await;
    Some(cluster)
}

async fn api(cluster: &Cluster, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "occm.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "occm.dev/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::default_namespaced_with(cluster.client().await, &resource)
}

fn strict() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::apply("test").validation_strict()
    }
}

/// What the API server says to an object, without keeping it.
async fn dry(cluster: &Cluster, object: &Value) -> Result<DynamicObject, kube::Error> {
    let api = api(cluster, object["kind"].as_str().unwrap()).await;
    api.patch(
        object["metadata"]["name"].as_str().unwrap(),
        &strict(),
        &Patch::Apply(object),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_the_bad_objects_that_the_table_says() {
    let Some(cluster) = installed().await else { return };
    for kind in ["Issuer", "Certificate"] {
        dry(cluster, &bad::good(kind, "good")).await.unwrap();
    }
    let mut wrong = Vec::new();
    for row in bad::rows() {
        let told = match dry(cluster, &row.object("bad")).await {
            Ok(_) => "accepted".to_owned(),
            Err(kube::Error::Api(status)) => format!("refused: {}", status.message),
            Err(error) => panic!("{}: {error}", row.name),
        };
        if !told.starts_with(&row.server) {
            wrong.push(format!("{}: expected {}, told {told}", row.name, row.server));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_an_output_cannot_be_changed() {
    let Some(cluster) = installed().await else { return };
    let api = api(cluster, "Certificate").await;
    let mut object = bad::good("Certificate", "typed");
    object["spec"]["outputs"] = json!([{"secret": {"name": "parts"}, "keys": {"tls.key": {"part": "Key"}, "tls.crt": {"part": "Certificate"}}}]);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let mut object = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(
        object.data["spec"]["outputs"][0]["secret"]["type"], "Opaque",
        "the default is shown"
    );
    object.data["spec"]["outputs"][0]["secret"]["type"] = "kubernetes.io/tls".into();
    let refused = api
        .replace("typed", &PostParams::default(), &object)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("cannot be changed"), "{refused}");
    object.data["spec"]["outputs"][0]["secret"]["name"] = "others".into();
    api.replace("typed", &PostParams::default(), &object)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn short_names_and_the_category_live_beside_those_of_cert_manager() {
    let Some(cluster) = installed().await else { return };
    let mut theirs = Vec::new();
    for (kind, plural, short) in [
        ("Certificate", "certificates", json!(["cert", "certs"])),
        ("Issuer", "issuers", json!([])),
    ] {
        theirs.push(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.cert-manager.io"), "annotations": {"api-approved.kubernetes.io": "unapproved, test"}},
            "spec": {
                "group": "cert-manager.io", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "shortNames": short, "categories": ["cert-manager"]},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        }));
    }
    cluster.install(theirs).await;
    let ours = cluster
        .kubectl(&["api-resources", "--api-group=occm.dev", "--no-headers"])
        .unwrap();
    assert!(ours.contains("ocert") && ours.contains("oissuer"), "{ours}");
    api(cluster, "Issuer")
        .await
        .create(
            &PostParams::default(),
            &serde_json::from_value(bad::good("Issuer", "beside")).unwrap(),
        )
        .await
        .unwrap();
    for name in ["oissuer", "occm", "issuers.occm.dev"] {
        let got = cluster.kubectl(&["get", name]).unwrap();
        assert!(got.contains("beside"), "{name}: {got}");
    }
    assert!(
        !cluster
            .kubectl(&["get", "cert"])
            .unwrap_or_default()
            .contains("beside")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_the_columns_and_explains_the_fields() {
    let Some(cluster) = installed().await else { return };
    api(cluster, "Certificate")
        .await
        .create(
            &PostParams::default(),
            &serde_json::from_value(bad::good("Certificate", "printed")).unwrap(),
        )
        .await
        .unwrap();
    let got = cluster.kubectl(&["get", "ocert", "printed"]).unwrap();
    let head = got.lines().next().unwrap();
    let columns: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "NAME", "READY", "SECRET", "ISSUER", "EXPIRES", "RENEWS", "REASON", "AGE"
        ]
    );
    let explained = cluster
        .kubectl(&["explain", "certificates.occm.dev.spec.onDrift"])
        .unwrap();
    assert!(explained.contains("The same bytes are put back"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_apply_of_the_same_file_and_a_diff_are_clean() {
    let Some(cluster) = installed().await else { return };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/crds");
    let folder = folder.to_str().unwrap();
    cluster
        .kubectl(&["apply", "--server-side", "--force-conflicts", "-f", folder])
        .unwrap();
    let again = cluster.kubectl(&["diff", "--server-side", "--force-conflicts", "-f", folder]);
    assert_eq!(again.as_deref(), Ok(""));
}
