//! What every store must do: one list of cases, run unchanged against each of them.
//!
//! A case gets a fresh [`Bench`]: the store and a [`World`], which is a person who writes wishes and touches Secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};

use crate::model::certificate::{Certificate, CertificateSpec, CertificateStatus, IssuerRef};
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, Kind, Metadata, ObjectKey, ROLE_LABEL, ROLE_OUTPUT};
use crate::model::plan::{InputKind, InputRef};
use crate::store::{
    Change, ContentHash, MAX_VALUE_BYTES, Presence, SecretFacts, SecretWrite, Seen, Status, Store,
    StoreError, Subject, Version,
};

/// Longest wait for a change to be told.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a person does beside the store. Each call returns when it is done, not when the store has noticed.
pub(crate) trait World: Send + Sync {
    /// Creates an Issuer or changes it.
    fn put_issuer(&self, issuer: Issuer) -> BoxFuture<'_, ()>;
    /// Creates a Certificate or changes it.
    fn put_certificate(&self, certificate: Certificate) -> BoxFuture<'_, ()>;
    /// Deletes a Certificate.
    fn delete_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()>;
    /// Makes a Certificate unreadable.
    fn break_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()>;
    /// Creates a Secret without labels.
    fn create_secret<'a>(&'a self, key: &'a ObjectKey, data: Data<'a>) -> BoxFuture<'a, ()>;
    /// Sets one value of a Secret.
    fn set_value<'a>(&'a self, key: &'a ObjectKey, data_key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()>;
    /// Sets a label of a Secret.
    fn set_label<'a>(&'a self, key: &'a ObjectKey, label: &'a str, value: &'a str) -> BoxFuture<'a, ()>;
    /// Deletes a Secret.
    fn delete_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()>;
    /// Creates an input or changes it.
    fn put_input<'a>(&'a self, input: &'a InputRef, data: Data<'a>) -> BoxFuture<'a, ()>;
    /// Deletes an input.
    fn delete_input<'a>(&'a self, input: &'a InputRef) -> BoxFuture<'a, ()>;
    /// How the store names the person after a change of a value, where it can.
    fn writer_name(&self) -> Option<String>;
}

/// Keys and values.
pub(crate) type Data<'a> = &'a [(&'a str, &'a [u8])];

/// A store and its world.
pub(crate) struct Bench {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The person.
    pub(crate) world: Arc<dyn World>,
    /// What must live as long as they do.
    pub(crate) _keep: Box<dyn std::any::Any + Send + Sync>,
}

/// One case.
pub(crate) type Case = fn(Bench) -> BoxFuture<'static, ()>;

/// All cases with their names.
pub(crate) fn cases() -> Vec<(&'static str, Case)> {
    macro_rules! list {
        ($($name:ident),+ $(,)?) => { vec![$((stringify!($name), (|bench| $name(bench).boxed()) as Case)),+] };
    }
    list![
        a_watch_tells_everything_and_then_that_it_is_synced,
        a_second_watch_is_told_everything_too,
        changes_of_an_object_are_told,
        a_deleted_object_is_told_as_gone,
        a_broken_object_stops_only_itself_and_recovers,
        the_generation_counts_changes_of_the_wish,
        an_object_made_again_has_another_uid,
        creating_a_secret_that_exists_is_a_conflict,
        an_update_with_an_old_version_is_a_conflict,
        an_update_of_a_secret_that_is_gone_is_not_found,
        an_update_keeps_what_others_put_there,
        an_update_removes_what_the_same_writer_no_longer_wants,
        two_writers_share_a_secret,
        an_adoption_adds_labels_and_leaves_the_values,
        the_type_of_a_secret_is_not_changed_by_an_update,
        a_secret_is_deleted_only_in_the_expected_state,
        a_secret_made_again_has_another_uid,
        too_large_writes_are_refused,
        own_writes_are_told_with_the_version_that_they_returned,
        a_change_by_a_person_is_told_with_a_new_version_and_hash,
        a_deletion_by_a_person_is_told,
        the_last_writer_is_named,
        an_unlabelled_secret_is_told_only_when_it_is_attended,
        a_missing_output_that_is_attended_is_told_as_missing,
        inputs_are_told_when_they_are_attended,
        inputs_are_read_with_their_values,
        a_record_lives_by_compare_and_swap,
        records_of_an_identity_and_of_a_certificate_are_apart,
        a_record_is_told_with_its_bytes,
        the_finalizer_holds_a_deleted_certificate,
        annotations_are_set_and_removed_by_an_empty_value,
        a_status_shows_in_the_next_watch,
        whatever_is_done_to_a_gone_object_is_no_error,
    ]
}

/// Runs all cases, each on a fresh bench, and names those that fail.
pub(crate) async fn run<F: Future<Output = Bench>>(fresh: impl Fn() -> F) {
    let mut failed = Vec::new();
    for (name, case) in cases() {
        let bench = fresh().await;
        let outcome = tokio::spawn(case(bench)).await;
        println!("{name}: {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        if outcome.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "cases that failed: {failed:#?}");
}

/// A reader of the watch.
struct Told {
    changes: BoxStream<'static, Change>,
}

impl Told {
    fn new(bench: &Bench) -> Self {
        Self {
            changes: bench.store.watch(),
        }
    }

    async fn next(&mut self) -> Change {
        let next = tokio::time::timeout(PATIENCE, self.changes.next()).await;
        next.expect("a change is told in time")
            .expect("the watch goes on")
    }

    /// The first change that `pick` takes; others are skipped.
    async fn until<T>(&mut self, mut pick: impl FnMut(&Change) -> Option<T>) -> T {
        loop {
            let change = self.next().await;
            if let Some(picked) = pick(&change) {
                return picked;
            }
        }
    }

    /// Everything up to the end of the list.
    async fn list(&mut self) -> Vec<Change> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Change::Synced => return all,
                change => all.push(change),
            }
        }
    }

    async fn secret(&mut self, key: &ObjectKey) -> Option<Arc<SecretFacts>> {
        self.until(|change| match change {
            Change::Secret(told, facts) if told == key => Some(facts.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until a Secret is told as `accept` wants it.
    async fn secret_that(
        &mut self,
        key: &ObjectKey,
        accept: impl Fn(&SecretFacts) -> bool,
    ) -> Arc<SecretFacts> {
        loop {
            if let Some(facts) = self.secret(key).await.filter(|facts| accept(facts)) {
                return facts;
            }
        }
    }

    async fn certificate(&mut self, key: &ObjectKey) -> Option<Seen<Certificate>> {
        self.until(|change| match change {
            Change::Certificate(told, seen) if told == key => Some(seen.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until a Certificate is told as `accept` wants it.
    async fn certificate_that(
        &mut self,
        key: &ObjectKey,
        accept: impl Fn(&Certificate) -> bool,
    ) -> Arc<Certificate> {
        loop {
            if let Some(Seen::Object(object)) = self.certificate(key).await {
                if accept(&object) {
                    return object;
                }
            }
        }
    }

    async fn certificate_gone(&mut self, key: &ObjectKey) {
        while self.certificate(key).await.is_some() {}
    }

    async fn input(&mut self, input: &InputRef) -> Option<ContentHash> {
        self.until(|change| match change {
            Change::Input(told, facts) if told == input => Some(facts.map(|facts| facts.hash)),
            _ => None,
        })
        .await
    }

    /// All changes until one that is caused now has been told: nothing older can follow.
    async fn so_far(&mut self, bench: &Bench) -> Vec<Change> {
        let subject = Subject::Certificate(ObjectKey::new("default", "barrier"));
        let known = bench
            .store
            .read_record(&subject)
            .await
            .unwrap()
            .map(|seen| seen.version);
        let version = bench
            .store
            .write_record(&subject, &secret(b"barrier"), known)
            .await
            .unwrap();
        bench.store.delete_record(&subject, version).await.unwrap();
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Change::Record(told, None) if told == subject => return all,
                change => all.push(change),
            }
        }
    }
}

fn secret(bytes: &[u8]) -> pki::Secret {
    pki::Secret::from(bytes)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn metadata(name: &str) -> Metadata {
    Metadata {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        ..Metadata::default()
    }
}

/// A wish for a certificate.
pub(crate) fn certificate(name: &str, common_name: &str) -> Certificate {
    let spec = CertificateSpec {
        issuer_ref: IssuerRef {
            name: "lab".to_owned(),
            ..IssuerRef::default()
        },
        common_name: Some(common_name.to_owned()),
        secret_name: Some(name.to_owned()),
        keep_copy: true,
        ..CertificateSpec::default()
    };
    Certificate {
        api_version: API_VERSION.to_owned(),
        kind: Kind::Certificate.to_string(),
        metadata: metadata(name),
        spec,
        status: None,
    }
}

/// An Issuer.
pub(crate) fn issuer(name: &str, url: &str) -> Issuer {
    let value = serde_json::json!({
        "apiVersion": API_VERSION,
        "kind": "Issuer",
        "metadata": metadata(name),
        "spec": {
            "url": url,
            "authentication": {"initial": {"mac": {"referenceValue": "1", "secretRef": {"name": "mac", "key": "k"}}}},
            "trust": {"responses": {"secretRef": {"name": "trust", "key": "ca.pem"}}},
        },
    });
    serde_json::from_value(value).expect("a valid Issuer")
}

/// An output as a Certificate of the name `writer` writes it.
pub(crate) fn write(name: &str, writer: &str, data: Data<'_>) -> SecretWrite {
    SecretWrite {
        key: key(name),
        writer: key(writer),
        kind: "Opaque".to_owned(),
        data: data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), secret(value)))
            .collect(),
        labels: BTreeMap::from([(ROLE_LABEL.to_owned(), ROLE_OUTPUT.to_owned())]),
        annotations: BTreeMap::from([("occm.dev/revision".to_owned(), "1".to_owned())]),
    }
}

async fn values(bench: &Bench, name: &str) -> BTreeMap<String, Vec<u8>> {
    let content = bench
        .store
        .read_secret(&key(name))
        .await
        .unwrap()
        .expect("the Secret is there");
    content
        .data
        .into_iter()
        .map(|(key, value)| (key, value.expose().to_vec()))
        .collect()
}

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict(_)))
}

// Objects.

async fn a_watch_tells_everything_and_then_that_it_is_synced(bench: Bench) {
    let mut before = Told::new(&bench);
    before.list().await;
    bench
        .world
        .put_issuer(issuer("lab", "http://ca.example/cmp"))
        .await;
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    before.certificate(&key("web")).await;
    bench
        .store
        .create_secret(&write("web", "web", &[("tls.key", b"k")]))
        .await
        .unwrap();
    let subject = Subject::Certificate(key("web"));
    bench
        .store
        .write_record(&subject, &secret(b"record"), None)
        .await
        .unwrap();
    let mut told = (false, false, false, false);
    for change in Told::new(&bench).list().await {
        match change {
            Change::Issuer(name, Some(Seen::Object(_))) => told.0 |= name == key("lab"),
            Change::Certificate(name, Some(Seen::Object(_))) => told.1 |= name == key("web"),
            Change::Secret(name, Some(_)) => told.2 |= name == key("web"),
            Change::Record(of, Some(_)) => told.3 |= of == subject,
            _ => {}
        }
    }
    assert_eq!(told, (true, true, true, true));
}

async fn a_second_watch_is_told_everything_too(bench: Bench) {
    let (mut first, mut second) = (Told::new(&bench), Told::new(&bench));
    first.list().await;
    second.list().await;
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"v")]))
        .await
        .unwrap();
    assert_eq!(first.secret(&key("web")).await.unwrap().version, facts.version);
    assert_eq!(second.secret(&key("web")).await.unwrap().version, facts.version);
}

async fn changes_of_an_object_are_told(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "one.example"))
        .await;
    told.certificate_that(&key("web"), |object| {
        object.spec.common_name.as_deref() == Some("one.example")
    })
    .await;
    bench
        .world
        .put_certificate(certificate("web", "two.example"))
        .await;
    told.certificate_that(&key("web"), |object| {
        object.spec.common_name.as_deref() == Some("two.example")
    })
    .await;
}

async fn a_deleted_object_is_told_as_gone(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    told.certificate_that(&key("web"), |_| true).await;
    bench.world.delete_certificate(&key("web")).await;
    told.certificate_gone(&key("web")).await;
}

async fn a_broken_object_stops_only_itself_and_recovers(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("good", "good.example"))
        .await;
    bench
        .world
        .put_certificate(certificate("bad", "bad.example"))
        .await;
    told.certificate_that(&key("bad"), |_| true).await;
    bench.world.break_certificate(&key("bad")).await;
    loop {
        match told.certificate(&key("bad")).await.expect("broken is not gone") {
            Seen::Broken(broken) => {
                assert!(!broken.errors.0.is_empty() && !broken.origin.is_empty());
                break;
            }
            Seen::Object(_) => {}
        }
    }
    bench
        .world
        .put_certificate(certificate("good", "better.example"))
        .await;
    told.certificate_that(&key("good"), |object| {
        object.spec.common_name.as_deref() == Some("better.example")
    })
    .await;
    bench
        .world
        .put_certificate(certificate("bad", "bad.example"))
        .await;
    told.certificate_that(&key("bad"), |_| true).await;
}

async fn the_generation_counts_changes_of_the_wish(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "one.example"))
        .await;
    let first = told.certificate_that(&key("web"), |_| true).await;
    let mut labelled = certificate("web", "one.example");
    labelled.metadata.labels.insert("a".to_owned(), "b".to_owned());
    bench.world.put_certificate(labelled).await;
    let second = told
        .certificate_that(&key("web"), |object| !object.metadata.labels.is_empty())
        .await;
    assert_eq!(second.metadata.generation, first.metadata.generation);
    assert_ne!(second.metadata.resource_version, first.metadata.resource_version);
    bench
        .world
        .put_certificate(certificate("web", "two.example"))
        .await;
    let third = told
        .certificate_that(&key("web"), |object| {
            object.spec.common_name.as_deref() == Some("two.example")
        })
        .await;
    assert_eq!(
        third.metadata.generation,
        first.metadata.generation.map(|generation| generation + 1)
    );
    assert_eq!(third.metadata.uid, first.metadata.uid);
}

async fn an_object_made_again_has_another_uid(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    let first = told.certificate_that(&key("web"), |_| true).await;
    bench.world.delete_certificate(&key("web")).await;
    told.certificate_gone(&key("web")).await;
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    let second = told.certificate_that(&key("web"), |_| true).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert!(second.metadata.uid.is_some());
}

// Secrets.

async fn creating_a_secret_that_exists_is_a_conflict(bench: Bench) {
    bench.world.create_secret(&key("web"), &[("theirs", b"1")]).await;
    let created = bench
        .store
        .create_secret(&write("web", "web", &[("ours", b"2")]))
        .await;
    assert!(is_conflict(&created), "{created:?}");
    assert_eq!(values(&bench, "web").await.keys().collect::<Vec<_>>(), ["theirs"]);
}

async fn an_update_with_an_old_version_is_a_conflict(bench: Bench) {
    let old = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.set_value(&key("web"), "k", b"theirs").await;
    let updated = bench
        .store
        .update_secret(&write("web", "web", &[("k", b"2")]), old.version)
        .await;
    assert!(is_conflict(&updated), "{updated:?}");
    assert_eq!(values(&bench, "web").await["k"], b"theirs");
}

async fn an_update_of_a_secret_that_is_gone_is_not_found(bench: Bench) {
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.delete_secret(&key("web")).await;
    let updated = bench
        .store
        .update_secret(&write("web", "web", &[("k", b"2")]), facts.version)
        .await;
    assert!(matches!(updated, Err(StoreError::NotFound(_))), "{updated:?}");
}

async fn an_update_keeps_what_others_put_there(bench: Bench) {
    bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.set_value(&key("web"), "theirs", b"t").await;
    bench.world.set_label(&key("web"), "team", "x").await;
    let seen = bench.store.read_secret(&key("web")).await.unwrap().unwrap().facts;
    let facts = bench
        .store
        .update_secret(&write("web", "web", &[("k", b"2")]), seen.version)
        .await
        .unwrap();
    assert!(facts.version > seen.version);
    assert_eq!(facts.uid, seen.uid);
    assert_eq!(facts.labels.get("team").map(String::as_str), Some("x"));
    let values = values(&bench, "web").await;
    assert_eq!(
        (values["k"].as_slice(), values["theirs"].as_slice()),
        (&b"2"[..], &b"t"[..])
    );
    assert_eq!(facts.data["k"], ContentHash::of(b"2"));
}

async fn an_update_removes_what_the_same_writer_no_longer_wants(bench: Bench) {
    let mut first = write("web", "web", &[("a", b"1"), ("b", b"2")]);
    first.labels.insert("old".to_owned(), "1".to_owned());
    first.annotations.insert("old".to_owned(), "1".to_owned());
    let facts = bench.store.create_secret(&first).await.unwrap();
    let facts = bench
        .store
        .update_secret(&write("web", "web", &[("a", b"3")]), facts.version)
        .await
        .unwrap();
    assert_eq!(facts.data.keys().collect::<Vec<_>>(), ["a"]);
    assert!(!facts.labels.contains_key("old") && !facts.annotations.contains_key("old"));
    assert!(facts.labels.contains_key(ROLE_LABEL));
}

async fn two_writers_share_a_secret(bench: Bench) {
    let facts = bench
        .store
        .create_secret(&write("web", "rsa", &[("rsa.key", b"r")]))
        .await
        .unwrap();
    let facts = bench
        .store
        .update_secret(&write("web", "ec", &[("ec.key", b"e")]), facts.version)
        .await
        .unwrap();
    let facts = bench
        .store
        .update_secret(&write("web", "rsa", &[("rsa.key", b"r2")]), facts.version)
        .await
        .unwrap();
    assert_eq!(facts.data.keys().collect::<Vec<_>>(), ["ec.key", "rsa.key"]);
    let values = values(&bench, "web").await;
    assert_eq!(
        (values["ec.key"].as_slice(), values["rsa.key"].as_slice()),
        (&b"e"[..], &b"r2"[..])
    );
}

async fn an_adoption_adds_labels_and_leaves_the_values(bench: Bench) {
    bench.world.create_secret(&key("web"), &[("k", b"theirs")]).await;
    let seen = bench.store.read_secret(&key("web")).await.unwrap().unwrap().facts;
    assert!(seen.labels.is_empty());
    let facts = bench
        .store
        .update_secret(&write("web", "web", &[]), seen.version)
        .await
        .unwrap();
    assert_eq!((&facts.uid, &facts.data), (&seen.uid, &seen.data));
    assert!(facts.labels.contains_key(ROLE_LABEL));
    assert_eq!(values(&bench, "web").await["k"], b"theirs");
}

async fn the_type_of_a_secret_is_not_changed_by_an_update(bench: Bench) {
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    assert_eq!(facts.kind, "Opaque");
    let mut other = write("web", "web", &[("tls.key", b"1"), ("tls.crt", b"2")]);
    other.kind = "kubernetes.io/tls".to_owned();
    let updated = bench.store.update_secret(&other, facts.version).await;
    assert!(matches!(updated, Err(StoreError::Refused(..))), "{updated:?}");
}

async fn a_secret_is_deleted_only_in_the_expected_state(bench: Bench) {
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    let other_uid = bench
        .store
        .delete_secret(&key("web"), "another", facts.version)
        .await;
    assert!(is_conflict(&other_uid), "{other_uid:?}");
    let other_version = bench
        .store
        .delete_secret(&key("web"), &facts.uid, Version(u64::MAX - 1))
        .await;
    assert!(is_conflict(&other_version), "{other_version:?}");
    bench
        .store
        .delete_secret(&key("web"), &facts.uid, facts.version)
        .await
        .unwrap();
    assert!(bench.store.read_secret(&key("web")).await.unwrap().is_none());
    bench
        .store
        .delete_secret(&key("web"), &facts.uid, facts.version)
        .await
        .unwrap();
}

async fn a_secret_made_again_has_another_uid(bench: Bench) {
    let first = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.delete_secret(&key("web")).await;
    let second = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    assert_ne!(first.uid, second.uid);
    assert!(second.version > first.version);
}

async fn too_large_writes_are_refused(bench: Bench) {
    let large = vec![0_u8; MAX_VALUE_BYTES + 1];
    let created = bench
        .store
        .create_secret(&write("web", "web", &[("k", &large)]))
        .await;
    assert!(matches!(created, Err(StoreError::Refused(..))), "{created:?}");
    let written = bench
        .store
        .write_record(&Subject::Certificate(key("web")), &secret(&large), None)
        .await;
    assert!(matches!(written, Err(StoreError::Refused(..))), "{written:?}");
    assert!(
        bench
            .store
            .read_record(&Subject::Certificate(key("web")))
            .await
            .unwrap()
            .is_none()
    );
}

async fn own_writes_are_told_with_the_version_that_they_returned(bench: Bench) {
    let mut told = Told::new(&bench);
    told.list().await;
    let created = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    assert_eq!(*told.secret(&key("web")).await.unwrap(), created);
    let updated = bench
        .store
        .update_secret(&write("web", "web", &[("k", b"2")]), created.version)
        .await
        .unwrap();
    assert_eq!(*told.secret(&key("web")).await.unwrap(), updated);
    let again = told.so_far(&bench).await;
    let others: Vec<_> = again
        .iter()
        .filter(|change| matches!(change, Change::Secret(..)))
        .collect();
    assert!(others.is_empty(), "told again: {others:?}");
}

async fn a_change_by_a_person_is_told_with_a_new_version_and_hash(bench: Bench) {
    let mut told = Told::new(&bench);
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.set_value(&key("web"), "k", b"theirs").await;
    let changed = told
        .secret_that(&key("web"), |facts| facts.data["k"] == ContentHash::of(b"theirs"))
        .await;
    assert!(changed.version > facts.version);
    assert_eq!(changed.uid, facts.uid);
}

async fn a_deletion_by_a_person_is_told(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    assert!(told.secret(&key("web")).await.is_some());
    bench.world.delete_secret(&key("web")).await;
    while told.secret(&key("web")).await.is_some() {}
}

async fn the_last_writer_is_named(bench: Bench) {
    let Some(name) = bench.world.writer_name() else {
        println!("skipped: this store cannot tell who wrote");
        return;
    };
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    assert_eq!(facts.last_writer, None);
    bench.world.set_value(&key("web"), "k", b"2").await;
    let seen = bench.store.read_secret(&key("web")).await.unwrap().unwrap().facts;
    assert_eq!(seen.last_writer, Some(name));
    let facts = bench
        .store
        .update_secret(&write("web", "web", &[("k", b"1")]), seen.version)
        .await
        .unwrap();
    assert_eq!(facts.last_writer, None);
}

async fn an_unlabelled_secret_is_told_only_when_it_is_attended(bench: Bench) {
    let mut told = Told::new(&bench);
    told.list().await;
    bench.world.create_secret(&key("web"), &[("k", b"1")]).await;
    assert!(bench.store.read_secret(&key("web")).await.unwrap().is_some());
    let before = told.so_far(&bench).await;
    assert!(
        !before.iter().any(|change| matches!(change, Change::Secret(..))),
        "{before:?}"
    );
    bench.store.attend(BTreeSet::new(), BTreeSet::from([key("web")]));
    assert!(told.secret(&key("web")).await.is_some());
    bench.world.set_value(&key("web"), "k", b"2").await;
    told.secret_that(&key("web"), |facts| facts.data["k"] == ContentHash::of(b"2"))
        .await;
}

async fn a_missing_output_that_is_attended_is_told_as_missing(bench: Bench) {
    let mut told = Told::new(&bench);
    told.list().await;
    bench.store.attend(BTreeSet::new(), BTreeSet::from([key("web")]));
    assert!(told.secret(&key("web")).await.is_none());
    bench.world.create_secret(&key("web"), &[("k", b"1")]).await;
    told.secret_that(&key("web"), |facts| facts.data.contains_key("k"))
        .await;
}

async fn inputs_are_told_when_they_are_attended(bench: Bench) {
    for kind in [InputKind::Secret, InputKind::ConfigMap] {
        let input = InputRef {
            kind,
            object: key("trust"),
        };
        let mut told = Told::new(&bench);
        told.list().await;
        bench
            .store
            .attend(BTreeSet::from([input.clone()]), BTreeSet::new());
        assert_eq!(told.input(&input).await, None);
        bench.world.put_input(&input, &[("ca.pem", b"one")]).await;
        let first = told.input(&input).await.expect("it is there");
        bench.world.put_input(&input, &[("ca.pem", b"two")]).await;
        let second = told.input(&input).await.expect("it is there");
        assert_ne!(first, second);
        bench.world.delete_input(&input).await;
        assert_eq!(told.input(&input).await, None);
        bench.store.attend(BTreeSet::new(), BTreeSet::new());
    }
}

async fn inputs_are_read_with_their_values(bench: Bench) {
    for kind in [InputKind::Secret, InputKind::ConfigMap] {
        let input = InputRef {
            kind,
            object: key("trust"),
        };
        bench
            .store
            .attend(BTreeSet::from([input.clone()]), BTreeSet::new());
        let mut told = Told::new(&bench);
        told.list().await;
        assert!(bench.store.read_input(&input).await.unwrap().is_none());
        bench
            .world
            .put_input(&input, &[("ca.pem", b"one"), ("b", &[0, 255])])
            .await;
        while told.input(&input).await.is_none() {}
        let data = bench
            .store
            .read_input(&input)
            .await
            .unwrap()
            .expect("it is there");
        assert_eq!(data["ca.pem"].expose(), b"one");
        if kind == InputKind::Secret {
            assert_eq!(data["b"].expose(), [0, 255]);
        }
        bench.world.delete_input(&input).await;
        while told.input(&input).await.is_some() {}
    }
}

// Records.

async fn a_record_lives_by_compare_and_swap(bench: Bench) {
    let subject = Subject::Certificate(key("web"));
    let first = bench
        .store
        .write_record(&subject, &secret(b"1"), None)
        .await
        .unwrap();
    assert!(is_conflict(
        &bench.store.write_record(&subject, &secret(b"x"), None).await
    ));
    let second = bench
        .store
        .write_record(&subject, &secret(b"2"), Some(first))
        .await
        .unwrap();
    assert!(second > first);
    assert!(is_conflict(
        &bench
            .store
            .write_record(&subject, &secret(b"x"), Some(first))
            .await
    ));
    let read = bench.store.read_record(&subject).await.unwrap().unwrap();
    assert_eq!((read.version, read.bytes.expose()), (second, &b"2"[..]));
    assert!(is_conflict(&bench.store.delete_record(&subject, first).await));
    bench.store.delete_record(&subject, second).await.unwrap();
    assert!(bench.store.read_record(&subject).await.unwrap().is_none());
    bench.store.delete_record(&subject, second).await.unwrap();
    assert!(is_conflict(
        &bench
            .store
            .write_record(&subject, &secret(b"x"), Some(second))
            .await
    ));
}

async fn records_of_an_identity_and_of_a_certificate_are_apart(bench: Bench) {
    let (identity, certificate) = (Subject::Identity(key("x")), Subject::Certificate(key("x")));
    bench
        .store
        .write_record(&identity, &secret(b"identity"), None)
        .await
        .unwrap();
    bench
        .store
        .write_record(&certificate, &secret(b"certificate"), None)
        .await
        .unwrap();
    let read = bench.store.read_record(&identity).await.unwrap().unwrap();
    assert_eq!(read.bytes.expose(), b"identity");
}

async fn a_record_is_told_with_its_bytes(bench: Bench) {
    let mut told = Told::new(&bench);
    told.list().await;
    let subject = Subject::Identity(key("lab"));
    let version = bench
        .store
        .write_record(&subject, &secret(b"bytes"), None)
        .await
        .unwrap();
    let seen = told
        .until(|change| match change {
            Change::Record(of, seen) if *of == subject => Some(seen.clone()),
            _ => None,
        })
        .await
        .expect("it is there");
    assert_eq!((seen.version, seen.bytes.expose()), (version, &b"bytes"[..]));
    bench.store.delete_record(&subject, version).await.unwrap();
    told.until(|change| matches!(change, Change::Record(of, None) if *of == subject).then_some(()))
        .await;
}

// What is said about objects.

async fn the_finalizer_holds_a_deleted_certificate(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    told.certificate_that(&key("web"), |_| true).await;
    bench
        .store
        .set_finalizer(&key("web"), Presence::Present)
        .await
        .unwrap();
    told.certificate_that(&key("web"), |object| !object.metadata.finalizers.is_empty())
        .await;
    bench.world.delete_certificate(&key("web")).await;
    let dying = told
        .certificate_that(&key("web"), |object| object.metadata.deletion_timestamp.is_some())
        .await;
    assert_eq!(dying.spec.common_name.as_deref(), Some("web.example"));
    bench
        .store
        .set_finalizer(&key("web"), Presence::Absent)
        .await
        .unwrap();
    told.certificate_gone(&key("web")).await;
}

async fn annotations_are_set_and_removed_by_an_empty_value(bench: Bench) {
    let mut told = Told::new(&bench);
    let mut wish = certificate("web", "web.example");
    wish.metadata
        .annotations
        .insert("theirs".to_owned(), "1".to_owned());
    bench.world.put_certificate(wish).await;
    told.certificate_that(&key("web"), |_| true).await;
    let annotate = async |name: &str, value: &str| {
        let annotations = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        bench
            .store
            .annotate(Kind::Certificate, &key("web"), &annotations)
            .await
    };
    annotate("occm.dev/renew", "now").await.unwrap();
    let seen = told
        .certificate_that(&key("web"), |object| {
            object.metadata.annotations.contains_key("occm.dev/renew")
        })
        .await;
    assert_eq!(seen.metadata.annotations.len(), 2);
    annotate("occm.dev/renew", "").await.unwrap();
    annotate("theirs", "").await.unwrap();
    told.certificate_that(&key("web"), |object| object.metadata.annotations.is_empty())
        .await;
}

async fn a_status_shows_in_the_next_watch(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    told.certificate_that(&key("web"), |_| true).await;
    let status = CertificateStatus {
        revision: Some(3),
        ..CertificateStatus::default()
    };
    let status = Status::Certificate(Box::new(status));
    bench.store.write_status(&key("web"), &status).await.unwrap();
    bench.store.write_status(&key("web"), &status).await.unwrap();
    let mut later = Told::new(&bench);
    let seen = later
        .certificate_that(&key("web"), |object| object.status.is_some())
        .await;
    assert_eq!(seen.status.as_ref().and_then(|status| status.revision), Some(3));
}

async fn whatever_is_done_to_a_gone_object_is_no_error(bench: Bench) {
    let status = Status::Certificate(Box::default());
    bench.store.write_status(&key("gone"), &status).await.unwrap();
    bench
        .store
        .set_finalizer(&key("gone"), Presence::Present)
        .await
        .unwrap();
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let annotated = bench
        .store
        .annotate(Kind::Certificate, &key("gone"), &annotations)
        .await;
    assert!(matches!(annotated, Err(StoreError::NotFound(_))), "{annotated:?}");
    assert!(bench.store.read_secret(&key("gone")).await.unwrap().is_none());
}
