//! What every store must do: one list of cases, run unchanged against each of them.
//!
//! Test crates of stores that need a server include this file by path and lend it `crate::model` and `crate::store`.
//!
//! A case gets a fresh [`Bench`]: the store and a [`World`], which is a person who writes wishes and touches Secrets.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "suite/objects.rs"]
mod objects;
#[path = "suite/records.rs"]
mod records;
#[path = "suite/secrets.rs"]
mod secrets;

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
    Change, ContentHash, MAX_VALUE_BYTES, Presence, SecretFacts, SecretRelease, SecretWrite, Seen, Status,
    Store, StoreError, Subject, Version,
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
        ($($part:ident::$name:ident),+ $(,)?) => {
            vec![$((stringify!($name), (|bench| $part::$name(bench).boxed()) as Case)),+]
        };
    }
    list![
        objects::a_watch_tells_everything_and_then_that_it_is_synced,
        objects::a_second_watch_is_told_everything_too,
        objects::changes_of_an_object_are_told,
        objects::a_deleted_object_is_told_as_gone,
        objects::a_broken_object_stops_only_itself_and_recovers,
        objects::the_generation_counts_changes_of_the_wish,
        objects::an_object_made_again_has_another_uid,
        objects::the_finalizer_holds_a_deleted_certificate,
        objects::annotations_are_set_and_removed_by_an_empty_value,
        objects::a_status_shows_in_the_next_watch,
        objects::whatever_is_done_to_a_gone_object_is_no_error,
        secrets::creating_a_secret_that_exists_is_a_conflict,
        secrets::an_update_with_an_old_version_is_a_conflict,
        secrets::an_update_of_a_secret_that_is_gone_is_not_found,
        secrets::an_update_keeps_what_others_put_there,
        secrets::an_update_removes_what_the_same_writer_no_longer_wants,
        secrets::two_writers_share_a_secret,
        secrets::a_writer_that_leaves_a_shared_secret_takes_only_its_own,
        secrets::an_adoption_adds_labels_and_leaves_the_values,
        secrets::the_type_of_a_secret_is_not_changed_by_an_update,
        secrets::a_secret_is_deleted_only_in_the_expected_state,
        secrets::a_secret_made_again_has_another_uid,
        secrets::too_large_writes_are_refused,
        secrets::own_writes_are_told_with_the_version_that_they_returned,
        secrets::a_change_by_a_person_is_told_with_a_new_version_and_hash,
        secrets::a_deletion_by_a_person_is_told,
        secrets::the_last_writer_is_named,
        secrets::an_unlabelled_secret_is_told_only_when_it_is_attended,
        secrets::a_missing_output_that_is_attended_is_told_as_missing,
        records::inputs_are_told_when_they_are_attended,
        records::inputs_are_read_with_their_values,
        records::a_record_lives_by_compare_and_swap,
        records::records_of_an_identity_and_of_a_certificate_are_apart,
        records::a_record_is_told_with_its_bytes,
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
            if let Some(Seen::Object(object)) = self.certificate(key).await
                && accept(&object)
            {
                return object;
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
