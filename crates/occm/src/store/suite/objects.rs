//! Cases of Issuers and Certificates.

use super::*;

pub(super) async fn a_watch_tells_everything_and_then_that_it_is_synced(bench: Bench) {
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

pub(super) async fn a_second_watch_is_told_everything_too(bench: Bench) {
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

pub(super) async fn changes_of_an_object_are_told(bench: Bench) {
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

pub(super) async fn a_deleted_object_is_told_as_gone(bench: Bench) {
    let mut told = Told::new(&bench);
    bench
        .world
        .put_certificate(certificate("web", "web.example"))
        .await;
    told.certificate_that(&key("web"), |_| true).await;
    bench.world.delete_certificate(&key("web")).await;
    told.certificate_gone(&key("web")).await;
}

pub(super) async fn a_broken_object_stops_only_itself_and_recovers(bench: Bench) {
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

pub(super) async fn the_generation_counts_changes_of_the_wish(bench: Bench) {
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

pub(super) async fn an_object_made_again_has_another_uid(bench: Bench) {
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

pub(super) async fn the_finalizer_holds_a_deleted_certificate(bench: Bench) {
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

pub(super) async fn annotations_are_set_and_removed_by_an_empty_value(bench: Bench) {
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

pub(super) async fn a_status_shows_in_the_next_watch(bench: Bench) {
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

pub(super) async fn whatever_is_done_to_a_gone_object_is_no_error(bench: Bench) {
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
