//! What a person may do with objects in a directory.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/bad.rs"]
mod bad;
#[path = "support/objects.rs"]
mod suite;

use std::collections::BTreeMap;
use std::path::Path;

use occm::client::dir::DirObjects;
use occm::client::{ClientError, Expected, Objects, Run, Scope};
use occm::model::object::{Kind, ObjectKey};
use occm::model::plan::InputKind;
use occm::store::Seen;
use serde_json::json;

use crate::suite::{input, suite, values};

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
        .write_input(
            &ours,
            &values(&[("k", b"planted")]),
            &Expected::Something,
            Run::Real,
        )
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Forbidden(..)), "{refused}");
}
