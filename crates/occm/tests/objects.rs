//! What a person may do with objects: the same on a directory and on a real API server, and each one's own.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/bad.rs"]
mod bad;
#[cfg(feature = "kube")]
#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use occm::client::dir::DirObjects;
use occm::client::{ClientError, InputValues, Objects, Run, Scope, Told};
use occm::model::object::{Kind, ObjectKey};
use occm::model::plan::{InputKind, InputRef};
use occm::store::Seen;
use serde_json::{Value, json};

fn certificate(namespace: &str, name: &str) -> Value {
    let mut object = bad::good("Certificate", name);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn scope(namespace: &str) -> Scope {
    Scope::Namespace(namespace.to_owned())
}

fn input(kind: InputKind, namespace: &str, name: &str) -> InputRef {
    InputRef {
        kind,
        object: ObjectKey::new(namespace, name),
    }
}

fn values(of: &[(&str, &[u8])]) -> InputValues {
    InputValues(
        of.iter()
            .map(|(key, value)| ((*key).to_owned(), pki::Secret::from(*value)))
            .collect(),
    )
}

/// Everything that holds wherever objects are kept.
async fn suite(objects: &dyn Objects, namespace: &str) {
    objects_come_change_and_go(objects, namespace).await;
    dry_runs_change_nothing(objects, namespace).await;
    wrong_objects_are_refused(objects, namespace).await;
    requests_are_annotations(objects, namespace).await;
    a_watch_tells_what_is_and_what_changes(objects, namespace).await;
    inputs_go_in_and_do_not_come_out(objects, namespace).await;
}

async fn objects_come_change_and_go(objects: &dyn Objects, namespace: &str) {
    let (kind, key) = (Kind::Certificate, ObjectKey::new(namespace, "come"));
    let made = objects
        .create(&certificate(namespace, "come"), Run::Real)
        .await
        .unwrap();
    assert_eq!(made.value["metadata"]["resourceVersion"], made.version.as_str());
    let again = objects
        .create(&certificate(namespace, "come"), Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(again, ClientError::Exists(_)), "{again}");
    let listed = objects.list(kind, &scope(namespace)).await.unwrap();
    assert_eq!(listed.iter().filter(|item| item.key == key).count(), 1);
    let Seen::Object(typed) = listed[0].certificate() else {
        panic!()
    };
    assert_eq!(
        typed.metadata.resource_version.as_deref(),
        Some(listed[0].version.as_str())
    );

    let mut wish = objects.get(kind, &key).await.unwrap().value;
    wish["spec"]["commonName"] = json!("other.example");
    wish["metadata"]["labels"] = json!({"team": "core"});
    let replaced = objects
        .replace(kind, &key, &wish, &made.version, Run::Real)
        .await
        .unwrap();
    assert_eq!(replaced.value["spec"]["commonName"], "other.example");
    assert_ne!(replaced.version, made.version);
    let stale = objects
        .replace(kind, &key, &wish, &made.version, Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(stale, ClientError::Conflict(_)), "{stale}");

    let patch = json!({"spec": {"commonName": "third.example"}, "metadata": {"labels": {"team": null}}});
    let stale = objects
        .patch(kind, &key, &patch, Some(&made.version), Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(stale, ClientError::Conflict(_)), "{stale}");
    let patched = objects
        .patch(kind, &key, &patch, Some(&replaced.version), Run::Real)
        .await
        .unwrap();
    assert_eq!(patched.value["spec"]["commonName"], "third.example");
    assert!(patched.value.pointer("/metadata/labels/team").is_none());
    objects.patch(kind, &key, &patch, None, Run::Real).await.unwrap();

    let stale = objects
        .delete(kind, &key, Some(&made.version), Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(stale, ClientError::Conflict(_)), "{stale}");
    let now = objects.get(kind, &key).await.unwrap();
    objects
        .delete(kind, &key, Some(&now.version), Run::Real)
        .await
        .unwrap();
    for gone in [
        objects.get(kind, &key).await.map(drop),
        objects.delete(kind, &key, None, Run::Real).await,
        objects.patch(kind, &key, &patch, None, Run::Real).await.map(drop),
        objects.replace(kind, &key, &wish, "1", Run::Real).await.map(drop),
    ] {
        assert!(matches!(gone, Err(ClientError::NotFound(_))), "{gone:?}");
    }
}

async fn dry_runs_change_nothing(objects: &dyn Objects, namespace: &str) {
    let (kind, key) = (Kind::Certificate, ObjectKey::new(namespace, "dry"));
    let told = objects
        .create(&certificate(namespace, "dry"), Run::Dry)
        .await
        .unwrap();
    assert_eq!(told.key, key);
    assert!(objects.get(kind, &key).await.is_err());
    objects
        .create(&certificate(namespace, "dry"), Run::Real)
        .await
        .unwrap();
    let made = objects.get(kind, &key).await.unwrap();
    let patch = json!({"spec": {"commonName": "new.example"}});
    let told = objects
        .patch(kind, &key, &patch, Some(&made.version), Run::Dry)
        .await
        .unwrap();
    assert_eq!(told.value["spec"]["commonName"], "new.example");
    let token = BTreeMap::from([("occm.dev/renew".to_owned(), "1".to_owned())]);
    let told = objects
        .annotate(kind, &key, &token, Some(&made.version), Run::Dry)
        .await
        .unwrap();
    assert_eq!(told.value["metadata"]["annotations"]["occm.dev/renew"], "1");
    objects
        .delete(kind, &key, Some(&made.version), Run::Dry)
        .await
        .unwrap();
    let after = objects.get(kind, &key).await.unwrap();
    assert_eq!(after.version, made.version);
    assert_eq!(after.value["spec"], made.value["spec"]);
    assert_eq!(
        after.value.pointer("/metadata/annotations"),
        made.value.pointer("/metadata/annotations")
    );
    let exists = objects
        .create(&certificate(namespace, "dry"), Run::Dry)
        .await
        .unwrap_err();
    assert!(matches!(exists, ClientError::Exists(_)), "{exists}");
}

async fn wrong_objects_are_refused(objects: &dyn Objects, namespace: &str) {
    for row in bad::rows() {
        let mut object = row.object("bad");
        object["metadata"]["namespace"] = json!(namespace);
        let refused = objects.create(&object, Run::Real).await;
        assert!(
            matches!(refused, Err(ClientError::Invalid(..))),
            "{}: {refused:?}",
            row.name
        );
    }
    let key = ObjectKey::new(namespace, "dry");
    let patch = json!({"spec": {"duration": "soon"}});
    let refused = objects
        .patch(Kind::Certificate, &key, &patch, None, Run::Real)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("spec.duration"), "{refused}");
    let other = certificate(namespace, "another");
    let version = objects.get(Kind::Certificate, &key).await.unwrap().version;
    let refused = objects
        .replace(Kind::Certificate, &key, &other, &version, Run::Real)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("metadata: is Certificate"),
        "{refused}"
    );
}

async fn requests_are_annotations(objects: &dyn Objects, namespace: &str) {
    let (kind, key) = (Kind::Certificate, ObjectKey::new(namespace, "dry"));
    let token = BTreeMap::from([("occm.dev/renew".to_owned(), "now".to_owned())]);
    let before = objects.get(kind, &key).await.unwrap();
    let asked = objects
        .annotate(kind, &key, &token, Some(&before.version), Run::Real)
        .await
        .unwrap();
    assert_eq!(asked.value["metadata"]["annotations"]["occm.dev/renew"], "now");
    let stale = objects
        .annotate(kind, &key, &token, Some(&before.version), Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(stale, ClientError::Conflict(_)), "{stale}");
    let gone = BTreeMap::from([("occm.dev/renew".to_owned(), String::new())]);
    let now = objects
        .annotate(kind, &key, &gone, None, Run::Real)
        .await
        .unwrap();
    assert!(
        now.value
            .pointer("/metadata/annotations/occm.dev~1renew")
            .is_none()
    );
}

async fn a_watch_tells_what_is_and_what_changes(objects: &dyn Objects, namespace: &str) {
    let mut told = objects.watch(&scope(namespace));
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(30), told.next())
            .await
            .expect("in time")
            .expect("the watch goes on")
    };
    let mut names = Vec::new();
    loop {
        match next().await {
            Told::Now(item) => names.push(item.key.name),
            Told::Synced => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(names.contains(&"dry".to_owned()), "{names:?}");
    let key = ObjectKey::new(namespace, "watched");
    let made = objects
        .create(&certificate(namespace, "watched"), Run::Real)
        .await
        .unwrap();
    loop {
        if let Told::Now(item) = next().await
            && item.key == key
        {
            assert_eq!(item.version, made.version);
            break;
        }
    }
    objects
        .delete(Kind::Certificate, &key, None, Run::Real)
        .await
        .unwrap();
    while !matches!(next().await, Told::Gone(Kind::Certificate, gone) if gone == key) {}
}

async fn inputs_go_in_and_do_not_come_out(objects: &dyn Objects, namespace: &str) {
    let mac = input(InputKind::Secret, namespace, "mac");
    objects
        .write_input(&mac, &values(&[("secret", b"planted")]), Run::Dry)
        .await
        .unwrap();
    assert!(
        objects.secret(&mac.object).await.is_err(),
        "a dry run writes nothing"
    );
    objects
        .write_input(
            &mac,
            &values(&[("secret", b"planted"), ("other", b"x")]),
            Run::Real,
        )
        .await
        .unwrap();
    objects
        .write_input(&mac, &values(&[("secret", b"replaced")]), Run::Real)
        .await
        .unwrap();
    let seen = objects.secret(&mac.object).await.unwrap();
    assert_eq!(seen.keys, ["other", "secret"]);
    assert!(!format!("{seen:?}").contains("planted") && !format!("{seen:?}").contains("replaced"));
    let trust = input(InputKind::ConfigMap, namespace, "roots");
    objects
        .write_input(
            &trust,
            &values(&[("ca.pem", b"text"), ("ca.der", &[0x30, 0x80, 0xff])]),
            Run::Real,
        )
        .await
        .unwrap();
    objects
        .write_input(&trust, &values(&[("ca.pem", b"other")]), Run::Real)
        .await
        .unwrap();
    for wrong in [
        values(&[]),
        values(&[("../x", b"planted")]),
        values(&[("a", &vec![b'x'; 2 << 20])]),
    ] {
        let refused = objects.write_input(&mac, &wrong, Run::Real).await.unwrap_err();
        assert!(matches!(refused, ClientError::Invalid(..)), "{refused}");
        assert!(!refused.to_string().contains("planted"));
    }
    let key = pki::PrivateKey::generate(pki::KeyAlgorithm::EcP256).unwrap();
    let pair = input(InputKind::Secret, namespace, "keyed");
    let pem = key.to_pkcs8_pem().unwrap();
    objects
        .write_input(&pair, &values(&[("tls.key", pem.as_bytes())]), Run::Real)
        .await
        .unwrap();
    let listed = objects.secrets(&scope(namespace)).await.unwrap();
    assert_eq!(listed.len(), 1, "only what concerns certificates");
    assert_eq!(
        listed[0].private_key.as_ref().unwrap().algorithm,
        pki::KeyAlgorithm::EcP256
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    suite(&DirObjects::open(dir.path()).unwrap().at_home("occm"), "default").await;
    let text = std::fs::read_to_string(dir.path().join("roots.yaml")).unwrap();
    assert!(
        text.contains("ca.pem: \"other\"") && text.contains("binaryData:\n  ca.der: MID/"),
        "{text}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(dir.path().join("secrets/default/mac/secret"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_a_directory_beside_its_manager() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(occm::store::dir::DirStore::open(dir.path()).unwrap());
    suite(&DirObjects::beside(store).at_home("occm"), "nrf").await;
}

const TWO: &str = "\
# both of the lab
apiVersion: occm.dev/v1alpha1
kind: Certificate
metadata: {name: one}
spec:
  issuerRef: {name: lab}
  commonName: one.example   # the first
  secretName: one
---
# the second, odd layout kept
{apiVersion: occm.dev/v1alpha1, kind: Certificate, metadata: {name: two},
 spec: {issuerRef: {name: lab}, commonName: two.example, secretName: two}}
";

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_its_layout_and_its_other_documents() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("both.yaml"), TWO).unwrap();
    let objects = DirObjects::open(dir.path()).unwrap();
    let one = ObjectKey::new("default", "one");
    let patch = json!({"spec": {"issuerRef": {"name": "new-lab"}}});
    objects
        .patch(Kind::Certificate, &one, &patch, None, Run::Real)
        .await
        .unwrap();
    assert_eq!(
        read(dir.path(), "both.yaml"),
        TWO.replacen("{name: lab}\n  common", "{name: new-lab}\n  common", 1)
    );
    let patch = json!({"spec": {"dnsNames": ["one.example"]}});
    objects
        .patch(Kind::Certificate, &one, &patch, None, Run::Real)
        .await
        .unwrap();
    let text = read(dir.path(), "both.yaml");
    assert!(text.contains("commonName: one.example   # the first"), "{text}");
    assert!(text.ends_with(TWO.split_once("---").unwrap().1), "{text}");
    objects
        .delete(Kind::Certificate, &one, None, Run::Real)
        .await
        .unwrap();
    assert_eq!(
        read(dir.path(), "both.yaml"),
        format!("---{}", TWO.split_once("---").unwrap().1)
    );
    let two = ObjectKey::new("default", "two");
    objects
        .delete(Kind::Certificate, &two, None, Run::Real)
        .await
        .unwrap();
    assert!(
        !dir.path().join("both.yaml").exists(),
        "a file without objects goes away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_files_define_is_deleted_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let (_, second) = TWO.split_once("---\n").unwrap();
    for file in ["a.yaml", "b.yaml"] {
        std::fs::write(dir.path().join(file), second).unwrap();
    }
    let objects = DirObjects::open(dir.path()).unwrap();
    let two = ObjectKey::new("default", "two");
    objects
        .delete(Kind::Certificate, &two, None, Run::Real)
        .await
        .unwrap();
    assert!(objects.get(Kind::Certificate, &two).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_object_is_shown_and_can_be_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let text = TWO.replace("commonName: one.example", "commomName: one.example");
    std::fs::write(dir.path().join("both.yaml"), &text).unwrap();
    let objects = DirObjects::open(dir.path()).unwrap();
    let listed = objects.list(Kind::Certificate, &Scope::All).await.unwrap();
    let (one, two) = (&listed[0], &listed[1]);
    assert!(matches!(one.certificate(), Seen::Broken(_)) && matches!(two.certificate(), Seen::Object(_)));
    assert_eq!(
        one.value["spec"]["commomName"], "one.example",
        "what could be read is shown"
    );
    let patch = json!({"spec": {"commomName": null, "commonName": "one.example"}});
    let now = objects
        .patch(Kind::Certificate, &one.key, &patch, Some(&one.version), Run::Real)
        .await
        .unwrap();
    assert!(matches!(now.certificate(), Seen::Object(_)));
    assert!(read(dir.path(), "both.yaml").contains("commonName: one.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_behind_a_symlink_and_a_secret_of_ours_are_left_alone() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(elsewhere.path().join("both.yaml"), TWO).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("both.yaml"), dir.path().join("both.yaml")).unwrap();
    let objects = DirObjects::open(dir.path()).unwrap();
    let one = ObjectKey::new("default", "one");
    let patch = json!({"spec": {"commonName": "x.example"}});
    let refused = objects
        .patch(Kind::Certificate, &one, &patch, None, Run::Real)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("symlink"), "{refused}");
    let refused = objects
        .delete(Kind::Certificate, &one, None, Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Forbidden(..)), "{refused}");
    assert_eq!(read(elsewhere.path(), "both.yaml"), TWO);

    let store = occm::store::dir::DirStore::open(dir.path()).unwrap();
    let write = occm::store::SecretWrite {
        key: ObjectKey::new("default", "ours"),
        writer: one,
        kind: "Opaque".to_owned(),
        data: BTreeMap::from([("k".to_owned(), pki::Secret::from(&b"v"[..]))]),
        labels: BTreeMap::from([("occm.dev/role".to_owned(), "output".to_owned())]),
        annotations: BTreeMap::new(),
    };
    occm::store::Store::create_secret(&store, &write).await.unwrap();
    let ours = input(InputKind::Secret, "default", "ours");
    let refused = objects
        .write_input(&ours, &values(&[("k", b"planted")]), Run::Real)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Forbidden(..)), "{refused}");
}

#[cfg(feature = "kube")]
mod on_kubernetes {
    use occm::client::kube::{KubeCallers, KubeObjects};

    use super::*;
    use crate::cluster::{Cluster, cluster};

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
                    Run::Real,
                )
                .await,
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
}
