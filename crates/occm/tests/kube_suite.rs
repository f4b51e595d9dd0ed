//! The store suite, unchanged, on a real API server.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![cfg(feature = "kube")]

// The suite is written from within the crate.
use occm::{model, store};

#[path = "support/cluster.rs"]
mod cluster;
#[path = "../src/store/suite.rs"]
mod suite;

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, cluster, until};
use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::ObjectKey;
use crate::model::plan::{InputKind, InputRef};
use crate::suite::{Bench, Data, World};

const PERSON: &str = "person";

/// A person with kubectl.
struct Person {
    client: kube::Client,
}

impl Person {
    fn objects(&self, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "occm.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "occm.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Api::default_namespaced_with(self.client.clone(), &resource)
    }

    fn certificates(&self) -> Api<DynamicObject> {
        self.objects("Certificate", "certificates")
    }

    fn secrets(&self) -> Api<Secret> {
        Api::default_namespaced(self.client.clone())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client.clone())
    }

    async fn put(&self, api: Api<DynamicObject>, name: &str, object: Value) {
        let mut wanted: DynamicObject = serde_json::from_value(object).expect("an object");
        wanted.metadata.namespace = None;
        let Some(now) = api.get_opt(name).await.expect("an answer") else {
            api.create(&PostParams::default(), &wanted)
                .await
                .expect("it is made");
            return;
        };
        let (labels, annotations) = (wanted.metadata.labels.take(), wanted.metadata.annotations.take());
        wanted.metadata = now.metadata;
        wanted.metadata.labels = labels;
        wanted.metadata.annotations = annotations;
        api.replace(name, &PostParams::default(), &wanted)
            .await
            .expect("it is changed");
    }

    /// Leaves nothing behind.
    async fn clean(&self) {
        let everything = ListParams::default();
        for api in [self.certificates(), self.objects("Issuer", "issuers")] {
            for object in api.list(&everything).await.expect("a list") {
                let name = object.metadata.name.expect("a name");
                let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ = api.patch(&name, &parameters(), &free).await;
                let _ = api.delete(&name, &DeleteParams::default()).await;
            }
        }
        self.secrets()
            .delete_collection(&DeleteParams::default(), &everything)
            .await
            .expect("deleted");
        self.config_maps()
            .delete_collection(&DeleteParams::default(), &everything)
            .await
            .expect("deleted");
        until("nothing is left", async || {
            self.secrets()
                .list(&everything)
                .await
                .expect("a list")
                .items
                .is_empty()
                && self
                    .certificates()
                    .list(&everything)
                    .await
                    .expect("a list")
                    .items
                    .is_empty()
        })
        .await;
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(PERSON.to_owned()),
        ..PatchParams::default()
    }
}

fn encoded(data: Data<'_>) -> Value {
    data.iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(Base64::encode_string(value))))
        .collect()
}

impl World for Person {
    fn put_issuer(&self, issuer: Issuer) -> BoxFuture<'_, ()> {
        async move {
            let name = issuer.metadata.name.clone();
            let object = serde_json::to_value(issuer).expect("JSON");
            self.put(self.objects("Issuer", "issuers"), &name, object).await;
        }
        .boxed()
    }

    fn put_certificate(&self, certificate: Certificate) -> BoxFuture<'_, ()> {
        async move {
            let name = certificate.metadata.name.clone();
            let object = serde_json::to_value(certificate).expect("JSON");
            self.put(self.certificates(), &name, object).await;
        }
        .boxed()
    }

    fn delete_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        async move {
            self.certificates()
                .delete(&key.name, &DeleteParams::default())
                .await
                .expect("deleted");
        }
        .boxed()
    }

    fn break_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        async move {
            let patch = Patch::Merge(json!({"spec": {"renewBeforePercentage": "soon"}}));
            self.certificates()
                .patch(&key.name, &parameters(), &patch)
                .await
                .expect("patched");
        }
        .boxed()
    }

    fn create_secret<'a>(&'a self, key: &'a ObjectKey, data: Data<'a>) -> BoxFuture<'a, ()> {
        async move {
            let secret = json!({"metadata": {"name": key.name}, "data": encoded(data)});
            let secret = serde_json::from_value(secret).expect("a Secret");
            self.secrets()
                .create(&PostParams::default(), &secret)
                .await
                .expect("it is made");
        }
        .boxed()
    }

    fn set_value<'a>(&'a self, key: &'a ObjectKey, data_key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
        async move {
            let patch = Patch::Merge(json!({"data": encoded(&[(data_key, value)])}));
            self.secrets()
                .patch(&key.name, &parameters(), &patch)
                .await
                .expect("patched");
        }
        .boxed()
    }

    fn set_label<'a>(&'a self, key: &'a ObjectKey, label: &'a str, value: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let patch = Patch::Merge(json!({"metadata": {"labels": {label: value}}}));
            self.secrets()
                .patch(&key.name, &parameters(), &patch)
                .await
                .expect("patched");
        }
        .boxed()
    }

    fn delete_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        async move {
            self.secrets()
                .delete(&key.name, &DeleteParams::default())
                .await
                .expect("deleted");
        }
        .boxed()
    }

    fn put_input<'a>(&'a self, input: &'a InputRef, data: Data<'a>) -> BoxFuture<'a, ()> {
        async move {
            let name = &input.object.name;
            let apply = PatchParams::apply(PERSON).force();
            match input.kind {
                InputKind::Secret => {
                    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded(data)});
                    self.secrets().patch(name, &apply, &Patch::Apply(body)).await.expect("applied");
                }
                InputKind::ConfigMap => {
                    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": encoded(data)});
                    self.config_maps().patch(name, &apply, &Patch::Apply(body)).await.expect("applied");
                }
            }
        }
        .boxed()
    }

    fn delete_input<'a>(&'a self, input: &'a InputRef) -> BoxFuture<'a, ()> {
        async move {
            let (name, parameters) = (&input.object.name, DeleteParams::default());
            match input.kind {
                InputKind::Secret => {
                    self.secrets().delete(name, &parameters).await.expect("deleted");
                }
                InputKind::ConfigMap => {
                    self.config_maps()
                        .delete(name, &parameters)
                        .await
                        .expect("deleted");
                }
            }
        }
        .boxed()
    }

    fn writer_name(&self) -> Option<String> {
        Some(PERSON.to_owned())
    }
}

/// The definitions without what keeps a person from writing nonsense, as if they were of another version.
fn loose() -> Vec<Value> {
    let mut crds = occm::crd::crds();
    for crd in &mut crds {
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    crds
}

async fn bench(cluster: &Cluster) -> Bench {
    let person = Person {
        client: cluster.client().await,
    };
    person.clean().await;
    let store = cluster.store(&["default"]).await;
    Bench {
        store: Arc::new(store),
        world: Arc::new(person),
        _keep: Box::new(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_store_passes_the_store_suite() {
    let Some(cluster) = cluster() else { return };
    cluster.install(loose()).await;
    suite::run(|| bench(cluster)).await;
}
