//! Cases of outputs.

use super::*;

pub(super) async fn creating_a_secret_that_exists_is_a_conflict(bench: Bench) {
    bench.world.create_secret(&key("web"), &[("theirs", b"1")]).await;
    let created = bench
        .store
        .create_secret(&write("web", "web", &[("ours", b"2")]))
        .await;
    assert!(is_conflict(&created), "{created:?}");
    assert_eq!(values(&bench, "web").await.keys().collect::<Vec<_>>(), ["theirs"]);
}

pub(super) async fn an_update_with_an_old_version_is_a_conflict(bench: Bench) {
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

pub(super) async fn an_update_of_a_secret_that_is_gone_is_not_found(bench: Bench) {
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

pub(super) async fn an_update_keeps_what_others_put_there(bench: Bench) {
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
    assert_eq!(facts.labels.get("team").map(smol_str::SmolStr::as_str), Some("x"));
    let values = values(&bench, "web").await;
    assert_eq!(
        (values["k"].as_slice(), values["theirs"].as_slice()),
        (&b"2"[..], &b"t"[..])
    );
    assert_eq!(facts.data.get("k"), Some(&ContentHash::of(b"2")));
}

pub(super) async fn an_update_removes_what_the_same_writer_no_longer_wants(bench: Bench) {
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

pub(super) async fn two_writers_share_a_secret(bench: Bench) {
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

pub(super) async fn a_writer_that_leaves_a_shared_secret_takes_only_its_own(bench: Bench) {
    let mut rsa = write("web", "rsa", &[("rsa.key", b"r"), ("rsa.crt", b"c")]);
    rsa.annotations.insert("by-rsa".to_owned(), "1".to_owned());
    rsa.labels.insert("by-rsa".to_owned(), "1".to_owned());
    let first = bench.store.create_secret(&rsa).await.unwrap();
    let ec = write("web", "ec", &[("ec.key", b"e")]);
    let both = bench.store.update_secret(&ec, first.version).await.unwrap();
    let release = SecretRelease {
        key: key("web"),
        writer: key("rsa"),
        data: BTreeSet::from(["rsa.key".to_owned(), "rsa.crt".to_owned(), "never".to_owned()]),
        labels: BTreeSet::from(["by-rsa".to_owned()]),
        annotations: BTreeSet::from(["by-rsa".to_owned()]),
    };
    let early = bench.store.release_secret(&release, first.version).await;
    assert!(is_conflict(&early), "{early:?}");
    assert_eq!(
        values(&bench, "web").await.len(),
        3,
        "a refused release takes nothing"
    );
    let left = bench.store.release_secret(&release, both.version).await.unwrap();
    assert_eq!(left.uid, first.uid);
    assert_eq!(left.data.keys().collect::<Vec<_>>(), ["ec.key"]);
    assert!(!left.annotations.contains_key("by-rsa") && !left.labels.contains_key("by-rsa"));
    assert!(left.labels.contains_key(ROLE_LABEL));
    let values = values(&bench, "web").await;
    assert_eq!(values.keys().collect::<Vec<_>>(), ["ec.key"]);
    assert_eq!(values["ec.key"], b"e");
    // What is left lives on.
    let ec = write("web", "ec", &[("ec.key", b"e2")]);
    let next = bench.store.update_secret(&ec, left.version).await.unwrap();
    assert_eq!(next.data.get("ec.key"), Some(&ContentHash::of(b"e2")));
    bench.world.delete_secret(&key("web")).await;
    let gone = bench.store.release_secret(&release, next.version).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}

pub(super) async fn an_adoption_adds_labels_and_leaves_the_values(bench: Bench) {
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

pub(super) async fn the_type_of_a_secret_is_not_changed_by_an_update(bench: Bench) {
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

pub(super) async fn a_secret_is_deleted_only_in_the_expected_state(bench: Bench) {
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

pub(super) async fn a_secret_made_again_has_another_uid(bench: Bench) {
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

pub(super) async fn too_large_writes_are_refused(bench: Bench) {
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

pub(super) async fn own_writes_are_told_with_the_version_that_they_returned(bench: Bench) {
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

pub(super) async fn a_change_by_a_person_is_told_with_a_new_version_and_hash(bench: Bench) {
    let mut told = Told::new(&bench);
    let facts = bench
        .store
        .create_secret(&write("web", "web", &[("k", b"1")]))
        .await
        .unwrap();
    bench.world.set_value(&key("web"), "k", b"theirs").await;
    let changed = told
        .secret_that(&key("web"), |facts| {
            facts.data.get("k") == Some(&ContentHash::of(b"theirs"))
        })
        .await;
    assert!(changed.version > facts.version);
    assert_eq!(changed.uid, facts.uid);
}

pub(super) async fn a_deletion_by_a_person_is_told(bench: Bench) {
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

pub(super) async fn the_last_writer_is_named(bench: Bench) {
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

pub(super) async fn an_unlabelled_secret_is_told_only_when_it_is_attended(bench: Bench) {
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
    told.secret_that(&key("web"), |facts| {
        facts.data.get("k") == Some(&ContentHash::of(b"2"))
    })
    .await;
}

pub(super) async fn a_missing_output_that_is_attended_is_told_as_missing(bench: Bench) {
    let mut told = Told::new(&bench);
    told.list().await;
    bench.store.attend(BTreeSet::new(), BTreeSet::from([key("web")]));
    assert!(told.secret(&key("web")).await.is_none());
    bench.world.create_secret(&key("web"), &[("k", b"1")]).await;
    told.secret_that(&key("web"), |facts| facts.data.contains_key("k"))
        .await;
}
