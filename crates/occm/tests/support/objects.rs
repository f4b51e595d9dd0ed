//! What holds wherever objects are kept: one suite for the directory and for Kubernetes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use occm::client::{ClientError, Expected, InputValues, Objects, Run, Scope, Told};
use occm::model::object::{Kind, ObjectKey};
use occm::model::plan::{InputKind, InputRef};
use occm::store::Seen;
use serde_json::{Value, json};

use crate::bad;

pub(crate) fn certificate(namespace: &str, name: &str) -> Value {
    let mut object = bad::good("Certificate", name);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

pub(crate) fn scope(namespace: &str) -> Scope {
    Scope::Namespace(namespace.to_owned())
}

pub(crate) fn input(kind: InputKind, namespace: &str, name: &str) -> InputRef {
    InputRef {
        kind,
        object: ObjectKey::new(namespace, name),
    }
}

pub(crate) fn values(of: &[(&str, &[u8])]) -> InputValues {
    InputValues(
        of.iter()
            .map(|(key, value)| ((*key).to_owned(), pki::Secret::from(*value)))
            .collect(),
    )
}

/// Everything that holds wherever objects are kept.
pub(crate) async fn suite(objects: &dyn Objects, namespace: &str) {
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
            Told::Now(item) => names.push(item.key.name.clone()),
            Told::Synced => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(names.iter().any(|name| name == "dry"), "{names:?}");
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
        .write_input(
            &mac,
            &values(&[("secret", b"planted")]),
            &Expected::Nothing,
            Run::Dry,
        )
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
            &Expected::Nothing,
            Run::Real,
        )
        .await
        .unwrap();
    objects
        .write_input(
            &mac,
            &values(&[("secret", b"replaced")]),
            &Expected::Something,
            Run::Real,
        )
        .await
        .unwrap();
    let seen = objects.secret(&mac.object).await.unwrap();
    assert_eq!(seen.keys, ["other", "secret"]);
    assert!(!format!("{seen:?}").contains("planted") && !format!("{seen:?}").contains("replaced"));
    only_what_is_expected(objects, &mac, "planted").await;
    let trust = input(InputKind::ConfigMap, namespace, "roots");
    objects
        .write_input(
            &trust,
            &values(&[("ca.pem", b"text"), ("ca.der", &[0x30, 0x80, 0xff])]),
            &Expected::Nothing,
            Run::Real,
        )
        .await
        .unwrap();
    objects
        .write_input(
            &trust,
            &values(&[("ca.pem", b"other")]),
            &Expected::Something,
            Run::Real,
        )
        .await
        .unwrap();
    for wrong in [
        values(&[]),
        values(&[("../x", b"planted")]),
        values(&[("a", &vec![b'x'; 2 << 20])]),
    ] {
        let refused = objects
            .write_input(&mac, &wrong, &Expected::Something, Run::Real)
            .await
            .unwrap_err();
        assert!(matches!(refused, ClientError::Invalid(..)), "{refused}");
        assert!(!refused.to_string().contains("planted"));
    }
    let key = pki::PrivateKey::generate(pki::KeyAlgorithm::EcP256).unwrap();
    let pair = input(InputKind::Secret, namespace, "keyed");
    let pem = key.to_pkcs8_pem().unwrap();
    objects
        .write_input(
            &pair,
            &values(&[("tls.key", pem.as_bytes())]),
            &Expected::Nothing,
            Run::Real,
        )
        .await
        .unwrap();
    let listed = objects.secrets(&scope(namespace)).await.unwrap();
    assert_eq!(listed.len(), 1, "only what concerns certificates");
    assert_eq!(
        listed[0].private_key.as_ref().unwrap().algorithm,
        pki::KeyAlgorithm::EcP256
    );
}

/// A write happens where what it expects stands, and tells a version that says nothing of the values.
async fn only_what_is_expected(objects: &dyn Objects, stands: &InputRef, planted: &str) {
    let namespace = &stands.object.namespace;
    let other = input(stands.kind, namespace, "expected");
    let set = values(&[("k", planted.as_bytes())]);
    let write =
        async |input, expected: Expected| objects.write_input(input, &set, &expected, Run::Real).await;
    let refused = write(stands, Expected::Nothing).await.unwrap_err();
    assert!(matches!(refused, ClientError::Exists(_)), "{refused}");
    for expected in [Expected::Something, Expected::Version("1".to_owned())] {
        let refused = write(&other, expected).await.unwrap_err();
        assert!(matches!(refused, ClientError::NotFound(_)), "{refused}");
    }
    assert!(objects.secret(&other.object).await.is_err());
    let first = write(&other, Expected::Nothing).await.unwrap();
    assert!(!first.is_empty() && !first.contains(planted));
    let refused = write(&other, Expected::Version(format!("{first}0")))
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Conflict(_)), "{refused}");
    let changed = values(&[("k", b"changed")]);
    let expected = Expected::Version(first.clone());
    let second = objects
        .write_input(&other, &changed, &expected, Run::Real)
        .await
        .unwrap();
    assert_ne!(first, second);
    let refused = write(&other, expected).await.unwrap_err();
    assert!(matches!(refused, ClientError::Conflict(_)), "{refused}");
    write(&other, Expected::Version(second)).await.unwrap();
    write(&other, Expected::Something).await.unwrap();
}
