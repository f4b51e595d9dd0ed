//! What people do with files is noticed: edits, deletions, editors' ways of saving, other processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use crate::model::certificate::CertificateStatus;
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::DirStore;
use crate::store::dir::tests::support::{Host, Told, certificate_text, key, mode_of, save, set_mode};
use crate::store::suite::{certificate, write};
use crate::store::{
    Change, ContentHash, Presence, SecretFacts, SecretWrite, Seen, Status, Store, StoreError, Subject,
};

fn output() -> SecretWrite {
    write("web", "web", &[("tls.key", b"key"), ("tls.crt", b"crt")])
}

async fn common_name(told: &mut Told, wanted: &str) {
    told.until(|change| match change {
        Change::Certificate(_, Some(Seen::Object(object)))
            if object.spec.common_name.as_deref() == Some(wanted) =>
        {
            Some(())
        }
        Change::Certificate(key, other) if *key == self::key("web") => match other {
            Some(Seen::Object(_)) => None,
            other => panic!("told as {other:?}"),
        },
        _ => None,
    })
    .await;
}

/// A directory with one good Certificate that a reader has been told of.
async fn with_certificate() -> (Host, DirStore, Told) {
    let host = Host::new();
    host.write("web.yaml", certificate_text("web", "one.example"));
    let store = host.open();
    let mut told = Told::new(&store);
    common_name(&mut told, "one.example").await;
    (host, store, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_that_renames_the_old_file_away_deletes_nothing() {
    let (host, _store, mut told) = with_certificate().await;
    let path = host.path().join("web.yaml");
    fs::rename(&path, host.path().join("web.yaml~")).unwrap();
    fs::write(&path, certificate_text("web", "two.example")).unwrap();
    fs::remove_file(host.path().join("web.yaml~")).unwrap();
    common_name(&mut told, "two.example").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_that_truncates_and_writes_in_pieces_breaks_nothing() {
    use std::io::Write;
    let (host, _store, mut told) = with_certificate().await;
    let text = certificate_text("web", "two.example");
    let mut file = fs::File::create(host.path().join("web.yaml")).unwrap();
    for piece in text.as_bytes().chunks(7) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
    }
    drop(file);
    common_name(&mut told, "two.example").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_moves_to_another_file_is_never_gone() {
    let (host, _store, mut told) = with_certificate().await;
    host.write("other.yaml", certificate_text("web", "two.example"));
    fs::remove_file(host.path().join("web.yaml")).unwrap();
    common_name(&mut told, "two.example").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_behind_a_symlink_is_read() {
    let host = Host::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(
        elsewhere.path().join("real"),
        certificate_text("web", "one.example"),
    )
    .unwrap();
    symlink(elsewhere.path().join("real"), host.path().join("web.yaml")).unwrap();
    let store = host.open();
    common_name(&mut Told::new(&store), "one.example").await;
}

/// Lets a person do something with an output and waits until it is told as `accept` wants it.
async fn touched(
    touch: impl FnOnce(&Path),
    accept: impl Fn(Option<&SecretFacts>) -> bool,
) -> (Host, DirStore) {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    let before = store.create_secret(&output()).await.unwrap();
    touch(&host.secret("web"));
    told.until(|change| match change {
        Change::Secret(_, Some(facts)) if accept(Some(facts)) => {
            assert!(facts.version > before.version);
            Some(())
        }
        Change::Secret(_, None) if accept(None) => Some(()),
        _ => None,
    })
    .await;
    (host, store)
}

/// Puts the output back and looks at every file of it.
async fn repaired(host: &Host, store: &DirStore) {
    match store.read_secret(&key("web")).await {
        Ok(None) => drop(store.create_secret(&output()).await.unwrap()),
        _ => {
            let version = version(store);
            store.update_secret(&output(), version).await.unwrap();
        }
    }
    let folder = host.secret("web");
    for (name, value) in [("tls.key", "key"), ("tls.crt", "crt")] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), value);
        assert_eq!(
            fs::read_link(folder.join(name)).unwrap(),
            Path::new("..data").join(name)
        );
        assert_eq!(mode_of(&folder.join("..data").join(name)), 0o600);
    }
}

fn version(store: &DirStore) -> crate::store::Version {
    store.inner.state().secrets[&key("web")].facts.version
}

fn differs(facts: Option<&SecretFacts>) -> bool {
    facts.is_some_and(|facts| facts.data.get("tls.key") != Some(&ContentHash::of(b"key")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_edited_in_place_is_told_and_repaired() {
    let (host, store) = touched(
        |folder| fs::write(folder.join("tls.key"), "theirs").unwrap(),
        differs,
    )
    .await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_renamed_over_its_symlink_is_told_and_repaired() {
    let (host, store) = touched(|folder| save(&folder.join("tls.key"), b"theirs"), differs).await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_key_is_told_and_repaired() {
    let (host, store) = touched(|folder| fs::remove_file(folder.join("tls.key")).unwrap(), differs).await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_value_behind_the_symlink_is_told_and_repaired() {
    let (host, store) = touched(
        |folder| fs::remove_file(folder.join("..data/tls.key")).unwrap(),
        differs,
    )
    .await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_data_link_is_told_and_repaired() {
    let (host, store) = touched(|folder| fs::remove_file(folder.join("..data")).unwrap(), differs).await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_folder_is_told_and_repaired() {
    let (host, store) = touched(
        |folder| fs::remove_dir_all(folder).unwrap(),
        |facts| facts.is_none(),
    )
    .await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_is_told_and_repaired() {
    let delete = |folder: &Path| fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    let (host, store) = touched(delete, |facts| facts.is_none()).await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_lets_others_read_is_told_and_repaired() {
    let (host, store) = touched(|folder| set_mode(&folder.join("..data/tls.key"), 0o644), differs).await;
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symlink_that_leads_away_is_told_and_never_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("theirs");
    fs::write(&target, "theirs").unwrap();
    let relink = |folder: &Path| {
        fs::remove_file(folder.join("tls.key")).unwrap();
        symlink(&target, folder.join("tls.key")).unwrap();
    };
    let (host, store) = touched(relink, differs).await;
    let read = store.read_secret(&key("web")).await;
    assert!(matches!(read, Err(StoreError::Malformed(..))), "{read:?}");
    repaired(&host, &store).await;
    assert_eq!(fs::read_to_string(target).unwrap(), "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_hidden_file_takes_the_labels_away_and_not_the_values() {
    let delete = |folder: &Path| fs::remove_file(folder.join("..data/.occm.json")).unwrap();
    let (host, store) = touched(delete, |facts| facts.is_some_and(|facts| facts.labels.is_empty())).await;
    assert_eq!(
        store.read_secret(&key("web")).await.unwrap().unwrap().data["tls.key"].expose(),
        b"key"
    );
    repaired(&host, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_made_by_hand_is_a_secret_with_an_identity_of_its_own() {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    store.attend(BTreeSet::new(), BTreeSet::from([key("web")]));
    let by_hand = || {
        fs::create_dir_all(host.secret("web")).unwrap();
        fs::write(host.secret("web").join("tls.key"), "k").unwrap();
        fs::write(host.secret("web").join("tls.crt"), "c").unwrap();
    };
    by_hand();
    let both = async |told: &mut Told| {
        told.until(|change| match change {
            Change::Secret(_, Some(facts)) if facts.data.len() == 2 => Some(facts.clone()),
            _ => None,
        })
        .await
    };
    let first = both(&mut told).await;
    assert_eq!(first.kind, "kubernetes.io/tls");
    fs::write(host.secret("web").join("more"), "m").unwrap();
    let more = told
        .until(|change| match change {
            Change::Secret(_, Some(facts)) if facts.data.contains_key("more") => Some(facts.clone()),
            _ => None,
        })
        .await;
    assert_eq!(more.uid, first.uid);
    // A second one beside the first has another identity, whatever the file system does with its numbers.
    fs::rename(host.secret("web"), host.secret("before")).unwrap();
    by_hand();
    let second = told
        .until(|change| match change {
            Change::Secret(told, Some(facts)) if *told == key("web") && facts.data.len() == 2 => {
                Some(facts.clone())
            }
            _ => None,
        })
        .await;
    assert_ne!(second.uid, first.uid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_files_of_others_stay_where_they_are() {
    let host = Host::new();
    let store = host.open();
    let facts = store.create_secret(&output()).await.unwrap();
    fs::write(host.secret("web").join("README"), "theirs").unwrap();
    assert!(matches!(
        store.update_secret(&output(), facts.version).await,
        Err(StoreError::Conflict(_))
    ));
    let version = store
        .read_secret(&key("web"))
        .await
        .unwrap()
        .unwrap()
        .facts
        .version;
    store.update_secret(&output(), version).await.unwrap();
    assert!(
        !fs::symlink_metadata(host.secret("web").join("README"))
            .unwrap()
            .is_symlink()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_touched_by_a_person_is_told() {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    let subject = Subject::Certificate(key("web"));
    let version = store
        .write_record(&subject, &pki::Secret::from(&b"ours"[..]), None)
        .await
        .unwrap();
    let path = host.private("records/default").join(subject.record_name());
    assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o600, 0o700));
    fs::write(&path, "theirs").unwrap();
    let seen = told
        .until(|change| match change {
            Change::Record(_, Some(seen)) if seen.bytes.expose() == b"theirs" => Some(seen.clone()),
            _ => None,
        })
        .await;
    assert!(seen.version > version);
    let stale = store
        .write_record(&subject, &pki::Secret::from(&b"x"[..]), Some(version))
        .await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "{stale:?}");
    fs::remove_file(&path).unwrap();
    told.until(|change| matches!(change, Change::Record(_, None)).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_long_names_are_found_again() {
    let name = format!("{}.x", "a".repeat(250));
    let host = Host::new();
    host.write("long.yaml", certificate_text(&name, "long.example"));
    let subject = Subject::Certificate(key(&name));
    let store = host.open();
    Told::new(&store).synced().await;
    store
        .write_record(&subject, &pki::Secret::from(&b"r"[..]), None)
        .await
        .unwrap();
    drop(store);
    let store = host.open();
    let mut told = Told::new(&store);
    told.until(|change| matches!(change, Change::Record(of, Some(_)) if *of == subject).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_the_input_and_a_folder_of_the_same_name_the_output() {
    let host = Host::new();
    let input = InputRef {
        kind: InputKind::Secret,
        object: key("mac"),
    };
    fs::create_dir_all(host.secret("mac")).unwrap();
    fs::write(host.secret("mac").join("secret"), "of the folder").unwrap();
    let store = host.open();
    Told::new(&store).synced().await;
    let read = async || {
        store.read_input(&input).await.unwrap().unwrap()["secret"]
            .expose()
            .to_vec()
    };
    assert_eq!(read().await, b"of the folder");
    store.attend(BTreeSet::from([input.clone()]), BTreeSet::new());
    let mut told = Told::new(&store);
    told.synced().await;
    host.write(
        "mac.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: mac}\nstringData: {secret: of the file}\n",
    );
    told.until(|change| matches!(change, Change::Input(of, Some(_)) if *of == input).then_some(()))
        .await;
    assert_eq!(read().await, b"of the file");
    assert_eq!(
        store.read_secret(&key("mac")).await.unwrap().unwrap().data["secret"].expose(),
        b"of the folder"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_manager_is_refused_and_told_who_holds_the_directory() {
    let host = Host::new();
    let store = host.open();
    let refused = DirStore::open(host.path()).map(drop).unwrap_err().to_string();
    assert!(
        refused.contains(&format!("pid {}", std::process::id())),
        "{refused}"
    );
    drop(store);
    host.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_works_beside_the_manager() {
    let (host, store, mut told) = with_certificate().await;
    let client = DirStore::open_client(host.path()).unwrap();
    let mut client_told = Told::new(&client);
    client_told.synced().await;
    let renew = BTreeMap::from([("occm.dev/renew".to_owned(), "now".to_owned())]);
    client
        .annotate(Kind::Certificate, &key("web"), &renew)
        .await
        .unwrap();
    told.until(|change| match change {
        Change::Certificate(_, Some(Seen::Object(object))) => (object
            .metadata
            .annotations
            .get("occm.dev/renew")
            .map(String::as_str)
            == Some("now"))
        .then_some(()),
        _ => None,
    })
    .await;
    let status = CertificateStatus {
        revision: Some(7),
        ..CertificateStatus::default()
    };
    store
        .write_status(&key("web"), &Status::Certificate(Box::new(status)))
        .await
        .unwrap();
    client_told
        .until(|change| match change {
            Change::Certificate(_, Some(Seen::Object(object))) => {
                (object.status.as_ref().and_then(|status| status.revision) == Some(7)).then_some(())
            }
            _ => None,
        })
        .await;
    let refused = client.create_secret(&output()).await;
    assert!(matches!(refused, Err(StoreError::Forbidden(..))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_generation_and_status_survive_a_restart() {
    let (host, store, mut told) = with_certificate().await;
    host.write("web.yaml", certificate_text("web", "two.example"));
    common_name(&mut told, "two.example").await;
    let status = CertificateStatus {
        revision: Some(7),
        ..CertificateStatus::default()
    };
    store
        .write_status(&key("web"), &Status::Certificate(Box::new(status)))
        .await
        .unwrap();
    let before = store.objects().certificates.remove(&key("web"));
    drop((store, told));
    let store = host.open();
    Told::new(&store).synced().await;
    let after = store.objects().certificates.remove(&key("web"));
    let (Some(Seen::Object(before)), Some(Seen::Object(after))) = (before, after) else {
        panic!("not read")
    };
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(
        (after.metadata.generation, before.metadata.generation),
        (Some(2), Some(2))
    );
    assert_eq!(after.status.as_ref().and_then(|status| status.revision), Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_changes_writes_nothing() {
    let (host, store, told) = with_certificate().await;
    store.create_secret(&output()).await.unwrap();
    drop((store, told));
    let state = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(host.path().join(path)).unwrap();
        (meta.ino(), meta.ctime_nsec(), meta.ctime())
    };
    let files = [
        ".occm/objects/default/Certificate.web.json",
        ".occm/objects/default",
        "secrets/default/web",
    ];
    let before = files.map(state);
    let store = host.open();
    Told::new(&store).synced().await;
    assert_eq!(files.map(state), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_while_nobody_runs_waits_for_the_finalizer() {
    let (host, store, told) = with_certificate().await;
    store.set_finalizer(&key("web"), Presence::Present).await.unwrap();
    drop((store, told));
    fs::remove_file(host.path().join("web.yaml")).unwrap();
    for _ in 0..2 {
        let store = host.open();
        Told::new(&store).synced().await;
        let Some(Seen::Object(dying)) = store.objects().certificates.remove(&key("web")) else {
            panic!("it is gone")
        };
        assert!(dying.metadata.deletion_timestamp.is_some());
        assert_eq!(dying.spec.common_name.as_deref(), Some("one.example"));
    }
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    store.set_finalizer(&key("web"), Presence::Absent).await.unwrap();
    told.until(|change| matches!(change, Change::Certificate(_, None)).then_some(()))
        .await;
    assert!(!host.private("objects/default/Certificate.web.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_below_new_folders_is_seen() {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    store.attend(BTreeSet::new(), BTreeSet::from([ObjectKey::new("other", "web")]));
    let folder = host.path().join("secrets/other/web");
    fs::create_dir_all(&folder).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join("k"))
        .unwrap();
    told.until(|change| match change {
        Change::Secret(_, Some(facts)) => facts.data.contains_key("k").then_some(()),
        _ => None,
    })
    .await;
    fs::write(folder.join("k"), "later").unwrap();
    told.until(|change| match change {
        Change::Secret(_, Some(facts)) => {
            (facts.data.get("k") == Some(&ContentHash::of(b"later"))).then_some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_kernels_help_changes_are_noticed_by_comparing() {
    let host = Host::new();
    host.write("web.yaml", certificate_text("web", "one.example"));
    let store = DirStore::open_blind(host.path()).unwrap();
    let mut told = Told::new(&store);
    told.synced().await;
    store.create_secret(&output()).await.unwrap();
    host.write("web.yaml", certificate_text("web", "two.example"));
    common_name(&mut told, "two.example").await;
    fs::remove_dir_all(host.secret("web")).unwrap();
    told.until(|change| matches!(change, Change::Secret(_, None)).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_lines_and_bounded() {
    let host = Host::new();
    let store = host.open();
    let event = crate::store::Event {
        kind: Kind::Certificate,
        object: key("web"),
        uid: None,
        severity: crate::store::Severity::Normal,
        reason: crate::model::reason::Reason::Issued,
        message: "x".repeat(300_000),
        time: jiff::Timestamp::UNIX_EPOCH,
    };
    for _ in 0..8 {
        store.emit(&event).await;
    }
    let size = |name: &str| fs::metadata(host.private(name)).unwrap().len();
    assert!(size("events.jsonl") <= 1024 * 1024 && size("events.jsonl.1") <= 1024 * 1024);
    let text = fs::read_to_string(host.private("events.jsonl")).unwrap();
    let read: crate::store::Event = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(read, event);
}

#[test]
fn an_exported_object_is_taken_without_what_only_a_store_may_say() {
    let mut object = certificate("web", "web.example");
    object.metadata.uid = Some("theirs".to_owned());
    object.metadata.finalizers = vec!["theirs".to_owned()];
    object.status = Some(CertificateStatus {
        revision: Some(9),
        ..CertificateStatus::default()
    });
    let text = serde_saphyr::to_string(&object).unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(file.path(), text).unwrap();
    let read = crate::store::dir::read_objects(file.path()).unwrap();
    let Seen::Object(object) = &read[0].certificates[0].1 else {
        panic!("{read:?}")
    };
    assert_eq!((&object.metadata.uid, &object.status), (&None, &None));
    assert!(object.metadata.finalizers.is_empty());
}
