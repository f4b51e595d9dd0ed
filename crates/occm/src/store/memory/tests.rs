use crate::model::field::FieldErrors;
use crate::store::memory::*;
use crate::store::suite::{self, Bench, Data};

pub(crate) struct Person(pub(crate) World);

fn owned(data: Data<'_>) -> Vec<(String, pki::Secret)> {
    data.iter()
        .map(|(key, value)| ((*key).to_owned(), pki::Secret::from(*value)))
        .collect()
}

/// What `act` did is done.
fn done(act: impl FnOnce()) -> BoxFuture<'static, ()> {
    act();
    ready(()).boxed()
}

impl suite::World for Person {
    fn put_issuer(&self, issuer: Issuer) -> BoxFuture<'_, ()> {
        done(|| self.0.put_issuer(issuer))
    }

    fn put_certificate(&self, certificate: Certificate) -> BoxFuture<'_, ()> {
        done(|| self.0.put_certificate(certificate))
    }

    fn delete_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        done(|| self.0.delete_certificate(key))
    }

    fn break_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        let mut errors = FieldErrors::default();
        errors.push("spec", "is broken", "anything else");
        done(|| self.0.break_object(Kind::Certificate, key, errors))
    }

    fn create_secret<'a>(&'a self, key: &'a ObjectKey, data: Data<'a>) -> BoxFuture<'a, ()> {
        done(|| self.0.put_secret(key, "Opaque", owned(data), "person"))
    }

    fn set_value<'a>(&'a self, key: &'a ObjectKey, data_key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
        done(|| {
            self.0.edit_secret(key, "person", |secret| {
                secret.data.insert(data_key.to_owned(), pki::Secret::from(value));
            })
        })
    }

    fn set_label<'a>(&'a self, key: &'a ObjectKey, label: &'a str, value: &'a str) -> BoxFuture<'a, ()> {
        done(|| {
            self.0.edit_secret(key, "person", |secret| {
                secret.labels.insert(label.to_owned(), value.to_owned());
            })
        })
    }

    fn delete_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        done(|| self.0.delete_secret(key))
    }

    fn put_input<'a>(&'a self, input: &'a InputRef, data: Data<'a>) -> BoxFuture<'a, ()> {
        done(|| match input.kind {
            InputKind::Secret => self.0.put_secret(&input.object, "Opaque", owned(data), "person"),
            InputKind::ConfigMap => self.0.put_config_map(&input.object, owned(data)),
        })
    }

    fn delete_input<'a>(&'a self, input: &'a InputRef) -> BoxFuture<'a, ()> {
        done(|| match input.kind {
            InputKind::Secret => self.0.delete_secret(&input.object),
            InputKind::ConfigMap => self.0.delete_config_map(&input.object),
        })
    }

    fn writer_name(&self) -> Option<String> {
        Some("person".to_owned())
    }
}

#[tokio::test]
async fn the_store_in_memory_passes_the_suite() {
    suite::run(|| async {
        let store = MemoryStore::new();
        let world = Arc::new(Person(store.world()));
        Bench {
            store: Arc::new(store),
            world,
            _keep: Box::new(()),
        }
    })
    .await;
}

#[tokio::test]
async fn the_journal_lists_writes_in_order_and_is_taken_once() {
    let store = MemoryStore::new();
    let world = store.world();
    world.put_certificate(suite::certificate("web", "web.example"));
    let write = suite::write("web", "web", &[("k", b"v")]);
    let facts = store.create_secret(&write).await.unwrap();
    store
        .delete_secret(&write.key, &facts.uid, facts.version)
        .await
        .unwrap();
    let expected = [
        Entry::CreateSecret(write.key.clone()),
        Entry::DeleteSecret(write.key.clone()),
    ];
    assert_eq!(world.take_journal(), expected);
    assert!(world.take_journal().is_empty());
}

#[tokio::test]
async fn an_unchanged_status_is_no_write() {
    let store = MemoryStore::new();
    let world = store.world();
    world.put_certificate(suite::certificate("web", "web.example"));
    let key = ObjectKey::new("default", "web");
    let status = Status::Certificate(Box::default());
    store.write_status(&key, &status).await.unwrap();
    store.write_status(&key, &status).await.unwrap();
    assert_eq!(world.take_journal().len(), 1);
}

#[tokio::test]
async fn an_immutable_secret_is_not_updated() {
    let store = MemoryStore::new();
    let write = suite::write("web", "web", &[("k", b"v")]);
    store.create_secret(&write).await.unwrap();
    store
        .world()
        .edit_secret(&write.key, "person", |secret| secret.immutable = true);
    let version = store
        .read_secret(&write.key)
        .await
        .unwrap()
        .unwrap()
        .facts
        .version;
    assert!(matches!(
        store.update_secret(&write, version).await,
        Err(StoreError::Refused(..))
    ));
}
