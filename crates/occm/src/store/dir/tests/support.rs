//! A directory, and a person who works in it with the tools of a host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt};

use crate::model::certificate::Certificate;
use crate::model::issuer::Issuer;
use crate::model::object::{Location, Object, ObjectKey};
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::DirStore;
use crate::store::suite::{Data, World};
use crate::store::{Change, Store};

/// A uid that is not ours, for tests that may change owners.
pub(super) const NOBODY: u32 = 65_534;
/// Longest wait for a change to be told.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of its own for a test.
pub(super) struct Host {
    temporary: tempfile::TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            temporary: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    pub(super) fn open(&self) -> DirStore {
        DirStore::open(self.path()).unwrap()
    }

    /// Path of a Secret's folder.
    pub(super) fn secret(&self, name: &str) -> PathBuf {
        self.path().join("secrets/default").join(name)
    }

    /// Path of what is kept.
    pub(super) fn private(&self, path: &str) -> PathBuf {
        self.path().join(".occm").join(path)
    }

    /// Writes a YAML file in the way of a careful editor.
    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        save(&self.path().join(name), text.as_ref());
    }
}

/// Writes beside the file and renames over it.
pub(super) fn save(path: &Path, bytes: &[u8]) {
    let mut beside = path.as_os_str().to_owned();
    beside.push("~");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Text of a Certificate's document.
pub(super) fn certificate_text(name: &str, common_name: &str) -> String {
    format!(
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata:\n  name: {name}\nspec:\n  \
         issuerRef: {{name: lab}}\n  commonName: {common_name}\n  secretName: {name}\n"
    )
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// A reader of the watch.
pub(super) struct Told(BoxStream<'static, Change>);

impl Told {
    pub(super) fn new(store: &dyn Store) -> Self {
        Self(store.watch())
    }

    pub(super) async fn next(&mut self) -> Change {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("a change is told in time")
            .expect("the watch goes on")
    }

    /// The first change that `pick` takes; others are skipped.
    pub(super) async fn until<T>(&mut self, mut pick: impl FnMut(&Change) -> Option<T>) -> T {
        loop {
            let change = self.next().await;
            if let Some(picked) = pick(&change) {
                return picked;
            }
        }
    }

    pub(super) async fn synced(&mut self) {
        self.until(|change| matches!(change, Change::Synced).then_some(()))
            .await;
    }
}

/// A person with an editor and a shell.
pub(super) struct Person {
    root: PathBuf,
}

impl Person {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            root: host.path().to_owned(),
        }
    }

    fn put_object<Spec: serde::Serialize, Status: serde::Serialize>(&self, object: &Object<Spec, Status>) {
        let text = serde_saphyr::to_string(object).unwrap();
        save(&self.file(&object.metadata.key()), text.as_bytes());
    }

    fn file(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(format!("{}-{}.yaml", key.namespace, key.name))
    }

    fn secret(&self, key: &ObjectKey) -> PathBuf {
        self.root.join("secrets").join(&key.namespace).join(&key.name)
    }

    fn input_text(input: &InputRef, data: Data<'_>) -> String {
        let Location { namespace, name } = &*input.object;
        let kind = match input.kind {
            InputKind::Secret => "Secret",
            InputKind::ConfigMap => "ConfigMap",
        };
        let field = if input.kind == InputKind::Secret {
            "data"
        } else {
            "binaryData"
        };
        let mut text = format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{field}:\n"
        );
        for (key, value) in data {
            text.push_str(&format!("  {key}: {}\n", Base64::encode_string(value)));
        }
        text
    }
}

/// What `act` did is done.
fn done(act: impl FnOnce()) -> BoxFuture<'static, ()> {
    act();
    ready(()).boxed()
}

impl World for Person {
    fn put_issuer(&self, issuer: Issuer) -> BoxFuture<'_, ()> {
        done(|| self.put_object(&issuer))
    }

    fn put_certificate(&self, certificate: Certificate) -> BoxFuture<'_, ()> {
        done(|| self.put_object(&certificate))
    }

    fn delete_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        done(|| fs::remove_file(self.file(key)).unwrap())
    }

    fn break_certificate<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        done(|| {
            save(
                &self.file(key),
                b"apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: [\n",
            )
        })
    }

    fn create_secret<'a>(&'a self, key: &'a ObjectKey, data: Data<'a>) -> BoxFuture<'a, ()> {
        let folder = self.secret(key);
        fs::create_dir_all(&folder).unwrap();
        done(|| {
            data.iter()
                .for_each(|(name, value)| save(&folder.join(name), value))
        })
    }

    fn set_value<'a>(&'a self, key: &'a ObjectKey, data_key: &'a str, value: &'a [u8]) -> BoxFuture<'a, ()> {
        let path = self.secret(key).join(data_key);
        save(&path, value);
        // With a wider mode it would not be the same value any more.
        set_mode(&path, 0o600);
        if is_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), None).unwrap();
        }
        done(|| ())
    }

    fn set_label<'a>(&'a self, key: &'a ObjectKey, label: &'a str, value: &'a str) -> BoxFuture<'a, ()> {
        let path = self.secret(key).join("..data/.occm.json");
        let mut meta: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        meta["labels"][label] = value.into();
        done(|| fs::write(&path, meta.to_string()).unwrap())
    }

    fn delete_secret<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, ()> {
        done(|| fs::remove_dir_all(self.secret(key)).unwrap())
    }

    fn put_input<'a>(&'a self, input: &'a InputRef, data: Data<'a>) -> BoxFuture<'a, ()> {
        done(|| {
            save(
                &self.file(&input.object),
                Self::input_text(input, data).as_bytes(),
            )
        })
    }

    fn delete_input<'a>(&'a self, input: &'a InputRef) -> BoxFuture<'a, ()> {
        done(|| fs::remove_file(self.file(&input.object)).unwrap())
    }

    fn writer_name(&self) -> Option<String> {
        is_root().then(|| format!("uid {NOBODY}"))
    }
}
