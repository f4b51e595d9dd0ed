//! What a person may do with objects in Kubernetes, and what the API server forbids.

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
#[path = "support/objects.rs"]
mod suite;

use occm::client::kube::{KubeCallers, KubeObjects};
use occm::client::{ClientError, Expected, Objects, Run, Scope};
use occm::model::object::{Kind, ObjectKey};
use occm::model::plan::InputKind;

use crate::cluster::{Cluster, cluster};
use crate::suite::{certificate, input, scope, suite, values};

async fn installed() -> Option<&'static Cluster> {
    static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let cluster = cluster()?;
    INSTALLED.get_or_init(|| cluster.install(occm::crd::crds())).await;
    Some(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_kubernetes() {
    let Some(cluster) = installed().await else { return };
    cluster.namespace("suite").await;
    let objects = KubeObjects::new(&cluster.config().await).unwrap().at_home("occm");
    suite(&objects, "suite").await;
    let text = cluster
        .kubectl(&[
            "get",
            "-n",
            "suite",
            "cm",
            "roots",
            "-o",
            "jsonpath={.data}{.binaryData}",
        ])
        .unwrap();
    assert_eq!(text, r#"{"ca.pem":"other"}{"ca.der":"MID/"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_decides_who_may_do_what() {
    let Some(cluster) = installed().await else { return };
    for namespace in ["mine", "theirs"] {
        cluster.namespace(namespace).await;
    }
    cluster
        .kubectl(&["create", "serviceaccount", "-n", "mine", "reader"])
        .unwrap();
    cluster
        .kubectl(&[
            "create",
            "role",
            "-n",
            "mine",
            "reader",
            "--verb=get,list,watch",
            "--resource=certificates.occm.dev",
        ])
        .unwrap();
    cluster
        .kubectl(&[
            "create",
            "rolebinding",
            "-n",
            "mine",
            "reader",
            "--role=reader",
            "--serviceaccount=mine:reader",
        ])
        .unwrap();
    let token = cluster
        .kubectl(&["create", "token", "-n", "mine", "reader"])
        .unwrap();
    let callers = KubeCallers::new(&cluster.config().await).unwrap();
    let reader = callers
        .with_token(&pki::Secret::from(token.trim().as_bytes()))
        .unwrap();
    let kind = Kind::Certificate;
    reader.list(kind, &scope("mine")).await.unwrap();
    let key = ObjectKey::new("mine", "a");
    for refused in [
        reader.list(kind, &scope("theirs")).await.map(drop),
        reader.list(kind, &Scope::All).await.map(drop),
        reader.list(Kind::Issuer, &scope("mine")).await.map(drop),
        reader
            .create(&certificate("mine", "a"), Run::Real)
            .await
            .map(drop),
        reader.create(&certificate("mine", "a"), Run::Dry).await.map(drop),
        reader.delete(kind, &key, None, Run::Real).await,
        reader.secrets(&scope("mine")).await.map(drop),
        reader
            .write_input(
                &input(InputKind::Secret, "mine", "mac"),
                &values(&[("a", b"b")]),
                &Expected::Nothing,
                Run::Real,
            )
            .await
            .map(drop),
    ] {
        assert!(matches!(refused, Err(ClientError::Forbidden(..))), "{refused:?}");
    }
    for nobody in ["planted", "a.b.c", ""] {
        let nobody = callers.with_token(&pki::Secret::from(nobody.as_bytes())).unwrap();
        let refused = nobody.list(kind, &scope("mine")).await.unwrap_err();
        assert!(
            matches!(
                refused,
                ClientError::Unauthenticated(_) | ClientError::Forbidden(..)
            ),
            "{refused:?}"
        );
        assert!(!refused.to_string().contains("planted"));
    }
    assert!(callers.with_token(&pki::Secret::from(&b"a\nb"[..])).is_err());
}
