//! A kill before any change of the disk leaves the old or the new state, never something in between.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::object::Kind;
use crate::store::dir::fs::{OURS, Steps};
use crate::store::dir::tests::support::{Host, Told, certificate_text, key};
use crate::store::dir::{Access, DirStore};
use crate::store::suite::write;
use crate::store::{Change, Presence, SecretWrite, Seen, Store, StoreResult, Subject};

/// Opens a store that dies for good after a number of steps, which the returned counter holds.
fn mortal(host: &Host) -> (DirStore, Arc<AtomicI64>) {
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let counter = left.clone();
    let steps = Steps::hooked(move |step| {
        if counter.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        counter.store(0, Ordering::SeqCst);
        Err(io::Error::other(format!("killed before: {step}")))
    });
    let store = DirStore::open_with(host.path(), Access::Manager, steps).unwrap();
    (store, left)
}

/// Does `act` again and again, killed one step later each time, until it gets through. After each kill a new process
/// opens the directory and `check` looks at it.
async fn killed_at_every_step<A, C>(prepare: impl AsyncFn(&DirStore), act: A, check: C)
where
    A: AsyncFn(&DirStore) -> StoreResult<()>,
    C: AsyncFn(&Host, &DirStore, usize),
{
    for step in 0..200 {
        let host = Host::new();
        host.write("web.yaml", certificate_text("web", "web.example"));
        let store = host.open();
        Told::new(&store).synced().await;
        prepare(&store).await;
        drop(store);
        let (store, left) = mortal(&host);
        Told::new(&store).synced().await;
        left.store(i64::try_from(step).unwrap(), Ordering::SeqCst);
        let done = act(&store).await;
        let survived = left.load(Ordering::SeqCst) > 0;
        drop(store);
        let reopened = host.open();
        Told::new(&reopened).synced().await;
        check(&host, &reopened, step).await;
        if survived {
            done.unwrap();
            assert!(step > 1, "nothing was killed");
            return;
        }
    }
    panic!("it never gets through");
}

fn pair(revision: &str, keys: &[&str]) -> SecretWrite {
    let mut write = write("web", "web", &[]);
    write.data = keys
        .iter()
        .map(|key| {
            (
                (*key).to_owned(),
                pki::Secret::from(format!("{key} of {revision}")),
            )
        })
        .collect();
    write
        .annotations
        .insert("occm.dev/revision".to_owned(), revision.to_owned());
    write
}

async fn text_of(store: &DirStore) -> Option<(String, BTreeMap<String, String>)> {
    let content = store.read_secret(&key("web")).await.unwrap()?;
    let revision = content
        .facts
        .annotations
        .get("occm.dev/revision")
        .cloned()
        .unwrap_or_default();
    let text = |value: &pki::Secret| String::from_utf8(value.expose().to_vec()).unwrap();
    Some((
        revision.to_string(),
        content
            .data
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
    ))
}

fn leftovers(host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![host.path().to_owned()];
    while let Some(folder) = folders.pop() {
        let used = fs::read_link(folder.join("..data")).ok();
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with(OURS) && used.as_deref() != Some(name.as_ref()) {
                found.push(entry.path().display().to_string());
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_creation_leaves_nothing_or_all() {
    let first = pair("1", &["tls.key", "tls.crt"]);
    killed_at_every_step(
        async |_| {},
        async |store| store.create_secret(&first).await.map(drop),
        async |host, store, step| {
            if let Some((revision, values)) = text_of(store).await {
                assert_eq!(
                    (revision.as_str(), values.len()),
                    ("1", 2),
                    "killed at step {step}"
                );
                assert_eq!(values["tls.key"], "tls.key of 1");
            } else {
                store.create_secret(&first).await.unwrap();
            }
            assert!(
                leftovers(host).is_empty(),
                "killed at step {step}: {:?}",
                leftovers(host)
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_update_leaves_the_old_or_the_new_pair() {
    let first = pair("1", &["tls.key", "tls.crt", "old"]);
    let second = pair("2", &["tls.key", "tls.crt", "new"]);
    killed_at_every_step(
        async |store| drop(store.create_secret(&first).await.unwrap()),
        async |store| {
            let version = store.read_secret(&first.key).await?.unwrap().facts.version;
            store.update_secret(&second, version).await.map(drop)
        },
        async |host, store, step| {
            let (revision, values) = text_of(store).await.expect("the Secret never disappears");
            assert!(
                revision == "1" || revision == "2",
                "killed at step {step}: revision {revision:?}"
            );
            for key in ["tls.key", "tls.crt"] {
                assert_eq!(
                    values[key],
                    format!("{key} of {revision}"),
                    "killed at step {step}"
                );
            }
            let version = store
                .read_secret(&first.key)
                .await
                .unwrap()
                .unwrap()
                .facts
                .version;
            store.update_secret(&second, version).await.unwrap();
            let (revision, values) = text_of(store).await.unwrap();
            assert_eq!(revision, "2");
            assert_eq!(
                values.keys().collect::<Vec<_>>(),
                ["new", "tls.crt", "tls.key"],
                "killed at step {step}"
            );
            assert!(
                leftovers(host).is_empty(),
                "killed at step {step}: {:?}",
                leftovers(host)
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_repair_of_replaced_files_can_be_repeated() {
    let first = pair("1", &["tls.key", "tls.crt"]);
    killed_at_every_step(
        async |store| drop(store.create_secret(&first).await.unwrap()),
        async |store| {
            let folder = store.inner.layout.path().join("secrets/default/web");
            fs::remove_file(folder.join("tls.key")).unwrap();
            fs::write(folder.join("tls.key"), "somebody's").unwrap();
            let version = store.read_secret(&first.key).await?.unwrap().facts.version;
            store.update_secret(&first, version).await.map(drop)
        },
        async |_, store, step| {
            let version = store
                .read_secret(&first.key)
                .await
                .unwrap()
                .unwrap()
                .facts
                .version;
            store.update_secret(&first, version).await.unwrap();
            let (_, values) = text_of(store).await.unwrap();
            assert_eq!(values["tls.key"], "tls.key of 1", "killed at step {step}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_deletion_leaves_all_or_nothing() {
    let first = pair("1", &["tls.key", "tls.crt"]);
    killed_at_every_step(
        async |store| drop(store.create_secret(&first).await.unwrap()),
        async |store| {
            let facts = store.read_secret(&first.key).await?.unwrap().facts;
            store.delete_secret(&first.key, &facts.uid, facts.version).await
        },
        async |host, store, step| {
            if let Some((_, values)) = text_of(store).await {
                assert_eq!(values.len(), 2, "killed at step {step}");
            }
            assert!(
                leftovers(host).is_empty(),
                "killed at step {step}: {:?}",
                leftovers(host)
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_write_of_a_record_leaves_the_old_or_the_new_one() {
    let subject = Subject::Certificate(key("web"));
    let (old, new) = (
        pki::Secret::from(&b"old record"[..]),
        pki::Secret::from(&b"new record, longer"[..]),
    );
    killed_at_every_step(
        async |store| {
            store.write_record(&subject, &old, None).await.unwrap();
        },
        async |store| {
            let version = store.read_record(&subject).await?.unwrap().version;
            store.write_record(&subject, &new, Some(version)).await.map(drop)
        },
        async |host, store, step| {
            let seen = store
                .read_record(&subject)
                .await
                .unwrap()
                .expect("the record never disappears");
            assert!(*seen.bytes == old || *seen.bytes == new, "killed at step {step}");
            assert!(
                leftovers(host).is_empty(),
                "killed at step {step}: {:?}",
                leftovers(host)
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_change_of_what_is_kept_leaves_it_readable() {
    killed_at_every_step(
        async |store| store.set_finalizer(&key("web"), Presence::Present).await.unwrap(),
        async |store| {
            let renew = BTreeMap::from([("occm.dev/renew".to_owned(), "1".to_owned())]);
            store.annotate(Kind::Certificate, &key("web"), &renew).await?;
            store.set_finalizer(&key("web"), Presence::Absent).await
        },
        async |_, store, step| {
            let seen = store.objects().certificates.remove(&key("web"));
            let Some(Seen::Object(object)) = seen else {
                panic!("killed at step {step}: {seen:?}")
            };
            assert!(object.metadata.uid.is_some());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_data_folder_never_sees_a_mixed_pair() {
    let host = Host::new();
    let store = Arc::new(host.open());
    let first = pair("0", &["tls.key", "tls.crt"]);
    let mut version = store.create_secret(&first).await.unwrap().version;
    let done = Arc::new(AtomicI64::new(0));
    let (stop, data) = (done.clone(), host.secret("web").join("..data"));
    let reader = std::thread::spawn(move || {
        let mut pairs = 0;
        while stop.load(Ordering::SeqCst) == 0 {
            // An open folder stays the same folder, also when `..data` is swapped.
            let Ok(folder) = fs::canonicalize(&data) else {
                continue;
            };
            let (Ok(key), Ok(certificate)) = (
                fs::read_to_string(folder.join("tls.key")),
                fs::read_to_string(folder.join("tls.crt")),
            ) else {
                continue;
            };
            let revision = key.strip_prefix("tls.key of ").unwrap();
            assert_eq!(certificate, format!("tls.crt of {revision}"));
            pairs += 1;
        }
        pairs
    });
    for revision in 1..=100 {
        let write = pair(&revision.to_string(), &["tls.key", "tls.crt"]);
        version = store.update_secret(&write, version).await.unwrap().version;
    }
    done.store(1, Ordering::SeqCst);
    assert!(reader.join().unwrap() > 0, "the reader read nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_of_one_record_never_both_win() {
    let host = Host::new();
    let store = Arc::new(host.open());
    let subject = Subject::Certificate(key("web"));
    let version = store
        .write_record(&subject, &pki::Secret::from(&b"0"[..]), None)
        .await
        .unwrap();
    let tasks = (0..16).map(|writer| {
        let (store, subject) = (store.clone(), subject.clone());
        tokio::spawn(async move {
            store
                .write_record(
                    &subject,
                    &pki::Secret::from(format!("writer {writer}")),
                    Some(version),
                )
                .await
        })
    });
    let results = futures::future::join_all(tasks.collect::<Vec<_>>()).await;
    assert_eq!(
        results
            .iter()
            .filter(|result| result.as_ref().unwrap().is_ok())
            .count(),
        1
    );
    assert!(leftovers(&host).is_empty());
}

/// A future of the store may be dropped: the write happens or not, as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_write_happens_as_a_whole() {
    let host = Host::new();
    let store = host.open();
    let mut told = Told::new(&store);
    told.synced().await;
    let first = pair("1", &["tls.key", "tls.crt"]);
    {
        let writing = store.create_secret(&first);
        let polled = futures::future::select(writing, std::future::ready(()));
        drop(polled.await);
    }
    let facts = told
        .until(|change| match change {
            Change::Secret(_, Some(facts)) => Some(facts.clone()),
            _ => None,
        })
        .await;
    assert_eq!(facts.data.len(), 2);
}
