//! Cases of inputs and records.

use super::*;

pub(super) async fn inputs_are_told_when_they_are_attended(bench: Bench) {
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

pub(super) async fn inputs_are_read_with_their_values(bench: Bench) {
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

pub(super) async fn a_record_lives_by_compare_and_swap(bench: Bench) {
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

pub(super) async fn records_of_an_identity_and_of_a_certificate_are_apart(bench: Bench) {
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

pub(super) async fn a_record_is_told_with_its_bytes(bench: Bench) {
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
