//! Bad input gets a clear error, stops only its own object and loses nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::model::object::ObjectKey;
use crate::model::plan::{InputKind, InputRef};
use crate::store::dir::tests::support::{Host, NOBODY, Told, certificate_text, is_root, key};
use crate::store::dir::{DirStore, yaml};
use crate::store::suite::write;
use crate::store::{Broken, Change, Seen, Store, StoreError, Subject};

/// Opens a directory with a good Certificate `good` and the given file, and waits for the first scan.
async fn opened(name: &str, text: impl AsRef<[u8]>) -> (Host, DirStore) {
    let host = Host::new();
    host.write("good.yaml", certificate_text("good", "good.example"));
    host.write(name, text);
    let store = scanned(&host).await;
    (host, store)
}

async fn scanned(host: &Host) -> DirStore {
    let store = host.open();
    Told::new(&store).synced().await;
    assert!(
        matches!(store.objects().certificates[&key("good")], Seen::Object(_)),
        "the good one goes on"
    );
    store
}

fn broken(store: &DirStore, name: &str) -> std::sync::Arc<Broken> {
    match store.objects().certificates.get(&key(name)) {
        Some(Seen::Broken(broken)) => broken.clone(),
        other => panic!("told as {other:?}"),
    }
}

fn problems(store: &DirStore) -> String {
    store
        .problems()
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_field_is_named_with_what_is_allowed() {
    let text = certificate_text("web", "web.example") + "  dnsNaems: [a]\n";
    let (host, store) = opened("web.yaml", text).await;
    let broken = broken(&store, "web");
    assert_eq!(
        broken.origin,
        format!("{}:1", host.path().join("web.yaml").display())
    );
    let error = &broken.errors.0[0];
    assert_eq!(error.path, "spec.dnsNaems");
    assert!(
        error.problem.contains("unknown field") && error.problem.contains("line 9"),
        "{error}"
    );
    assert!(error.allowed.contains("dnsNames"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_field_at_the_top_is_named_too() {
    let (_host, store) = opened("web.yaml", certificate_text("web", "x") + "sepc: {}\n").await;
    assert_eq!(broken(&store, "web").errors.0[0].path, "sepc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_type_a_wrong_value_and_a_missing_field_are_named() {
    for (line, path, allowed) in [
        ("  dnsNames: one.example\n", "spec.dnsNames", "a list such as"),
        ("  onDrift: Whatever\n", "spec.onDrift", "Restore"),
        (
            "  renewBeforePercentage: many\n",
            "spec.renewBeforePercentage",
            "a whole number",
        ),
        (
            "  privateKey: {algorithm: DSA}\n",
            "spec.privateKey.algorithm",
            "RSA",
        ),
    ] {
        let (_host, store) = opened("web.yaml", certificate_text("web", "x") + line).await;
        let error = broken(&store, "web").errors.0[0].clone();
        assert_eq!(error.path, path, "{error}");
        assert!(error.allowed.contains(allowed), "{error}");
    }
    let text =
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {name: web}\nspec: {commonName: x}\n";
    let (_host, store) = opened("web.yaml", text).await;
    let error = broken(&store, "web").errors.0[0].clone();
    assert!(
        error.path == "spec.issuerRef" && error.problem.contains("missing"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_syntax_breaks_the_object_whose_lines_can_still_be_read() {
    for metadata in [
        "metadata:\n  namespace: default\n  name: web # mine\n",
        "metadata: {name: \"web\"}\n",
    ] {
        let text = format!("apiVersion: occm.dev/v1alpha1\nkind: Certificate\n{metadata}spec:\n  a: [\n");
        let (_host, store) = opened("web.yaml", text).await;
        assert!(broken(&store, "web").errors.to_string().contains("line "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_names_no_object_is_told_with_what_is_allowed() {
    let bomb = (1..9).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        let before = format!("*a{}", i - 1);
        format!("{text}a{i}: &a{i} [{}]\n", vec![before; 9].join(", "))
    });
    let deep = format!("a: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    for (text, wanted) in [
        ("only words", "allowed: fields, as in {name: value}"),
        (
            "kind: Certificate\n\tmetadata: {}\n",
            "allowed: blanks for indentation",
        ),
        (&deep, "it is nested too deep; allowed: "),
        (&bomb, "its aliases unfold to too much; allowed: at most "),
    ] {
        let (_host, store) = opened("odd.yaml", text).await;
        let told = problems(&store);
        assert!(told.contains("odd.yaml") && told.contains(wanted), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_documents_of_a_broken_file_go_on() {
    let text = format!(
        "{}---\nkind: [\n---\n# nothing\n---\n{}---\n",
        certificate_text("one", "one.example"),
        certificate_text("two", "two.example")
    );
    let (_host, store) = opened("many.yaml", text).await;
    let certificates = store.objects().certificates;
    assert!(matches!(certificates[&key("one")], Seen::Object(_)));
    assert!(matches!(certificates[&key("two")], Seen::Object(_)));
    assert!(problems(&store).contains("many.yaml:1"), "{}", problems(&store));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_document_became_unreadable_is_broken_and_not_gone() {
    let (host, store) = opened("web.yaml", certificate_text("web", "web.example")).await;
    let mut told = Told::new(&store);
    told.synced().await;
    host.write("web.yaml", "{{{{");
    told.until(|change| match change {
        Change::Certificate(name, Some(Seen::Broken(_))) if *name == key("web") => Some(()),
        Change::Certificate(name, None) if *name == key("web") => panic!("told as gone"),
        _ => None,
    })
    .await;
    drop((store, told));
    let store = scanned(&host).await;
    broken(&store, "web");
    drop(store);
    fs::remove_file(host.path().join("web.yaml")).unwrap();
    let store = scanned(&host).await;
    assert!(!store.objects().certificates.contains_key(&key("web")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_documents_of_one_name_the_first_is_used_and_both_are_named() {
    let (_host, store) = opened("zz.yaml", certificate_text("good", "other.example")).await;
    let Seen::Object(object) = &store.objects().certificates[&key("good")] else {
        panic!("not read")
    };
    assert_eq!(object.spec.common_name.as_deref(), Some("good.example"));
    let text = problems(&store);
    assert!(
        text.contains("zz.yaml:1") && text.contains("good.yaml:1"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_files_are_never_opened() {
    let host = Host::new();
    host.write("good.yaml", certificate_text("good", "good.example"));
    let path = |name: &str| host.path().join(name);
    let pipe = Command::new("mkfifo").arg(path("pipe.yaml")).status();
    symlink("loop.yaml", path("loop.yaml")).unwrap();
    symlink("/dev/zero", path("device.yaml")).unwrap();
    symlink("nowhere", path("nowhere.yaml")).unwrap();
    fs::create_dir(path("folder.yaml")).unwrap();
    fs::write(path("latin.yaml"), b"kind: Certificate\nname: \xe9\n").unwrap();
    fs::write(path("large.yaml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    let store = scanned(&host).await;
    let text = problems(&store);
    for (file, problem) in [
        ("pipe.yaml", "named pipe"),
        ("loop.yaml", "symbolic links"),
        ("device.yaml", "device"),
        ("nowhere.yaml", "leads nowhere"),
        ("folder.yaml", "directory"),
        ("latin.yaml", "not UTF-8 (line 2)"),
        ("large.yaml", "allowed: 1048576"),
    ] {
        if file == "pipe.yaml" && !pipe.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("skipped: mkfifo is missing");
            continue;
        }
        assert!(
            text.lines()
                .any(|line| line.contains(file) && line.contains(problem)),
            "{file}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_kinds_are_ignored_with_a_word() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\napiVersion: cert-manager.io/v1\n\
                kind: Certificate\nmetadata: {name: x}\nspec: {}\n";
    let (_host, store) = opened("other.yaml", text).await;
    let text = problems(&store);
    assert!(
        text.contains("Deployment") && text.contains("cert-manager.io/v1"),
        "{text}"
    );
    assert_eq!(store.objects().certificates.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_of_our_group_is_broken_and_says_which_is_known() {
    let text = certificate_text("web", "x").replace("v1alpha1", "v9");
    let (_host, store) = opened("web.yaml", text).await;
    assert_eq!(broken(&store, "web").errors.0[0].allowed, "occm.dev/v1alpha1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_paths_are_refused() {
    for name in ["../../etc/x", "..", "a/b", "UPPER", "\"\"", "a..b", "-a"] {
        let (host, store) = opened("web.yaml", certificate_text(name, "x")).await;
        assert_eq!(store.objects().certificates.len(), 1, "{name}");
        assert!(
            problems(&store).contains("metadata.name"),
            "{name}: {}",
            problems(&store)
        );
        assert!(!host.path().parent().unwrap().join("etc").exists());
    }
    let host = Host::new();
    let store = host.open();
    let mut bad = write("../x", "web", &[("k", b"v")]);
    assert!(matches!(
        store.create_secret(&bad).await,
        Err(StoreError::Refused(..))
    ));
    bad = write("x", "web", &[("../k", b"v")]);
    assert!(matches!(
        store.create_secret(&bad).await,
        Err(StoreError::Refused(..))
    ));
    let subject = Subject::Certificate(key("../x"));
    assert!(matches!(
        store.read_record(&subject).await,
        Err(StoreError::Refused(..))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_shows_the_value_of_a_secret() {
    for text in [
        "stringData: {secret: [hunter2]}\n",
        "data: {secret: hunter2-not-base64!}\n",
        "stringData: {hunter2/: x}\nstringData2: 1\ndata: hunter2\n",
    ] {
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: mac}}\n{text}");
        let (_host, store) = opened("mac.yaml", text).await;
        let input = InputRef {
            kind: InputKind::Secret,
            object: key("mac"),
        };
        let read = store.read_input(&input).await.unwrap_err();
        assert!(matches!(read, StoreError::Malformed(..)), "{read}");
        let text = problems(&store) + &read.to_string();
        assert!(
            text.contains("mac.yaml") && !text.contains("hunter2-") && !text.contains("[hunter2"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_of_aliases_is_refused() {
    let mut text =
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {name: web}\na0: &a0 [x, x]\n"
            .to_owned();
    for level in 1..30 {
        text.push_str(&format!(
            "a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n",
            level - 1
        ));
    }
    let (_host, store) = opened("web.yaml", text).await;
    broken(&store, "web");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let whole = format!(
        "%YAML 1.2\n---\n{}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\ndata: {{k: aGk=}}\n...\n--- # é\n{}",
        certificate_text("a", "a.example"),
        certificate_text("b", "b.example")
    );
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        yaml::documents(&whole[..end]);
        for odd in ["\t", "\u{0}", "{", "- ", "\u{feff}", "&a *a", "\r"] {
            yaml::documents(&format!("{}{odd}{}", &whole[..end], &whole[end..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_somebody_else_is_not_written() {
    if !is_root() {
        println!("skipped: only root can give a folder away");
        return;
    }
    let host = Host::new();
    let store = host.open();
    let facts = store
        .create_secret(&write("web", "web", &[("k", b"v")]))
        .await
        .unwrap();
    std::os::unix::fs::chown(host.secret("web"), Some(NOBODY), None).unwrap();
    let updated = store
        .update_secret(&write("web", "web", &[("k", b"2")]), facts.version)
        .await;
    let Err(StoreError::Forbidden(path, why)) = updated else {
        panic!("{updated:?}")
    };
    assert!(
        path.contains("secrets/default/web") && why.contains("uid 65534"),
        "{path}: {why}"
    );
    let deleted = store.delete_secret(&key("web"), &facts.uid, facts.version).await;
    assert!(matches!(deleted, Err(StoreError::Forbidden(..))), "{deleted:?}");
    assert_eq!(fs::read(host.secret("web").join("k")).unwrap(), b"v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn symlinks_in_the_place_of_folders_are_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let host = Host::new();
    fs::create_dir_all(host.path().join("secrets/default")).unwrap();
    symlink(elsewhere.path(), host.secret("web")).unwrap();
    symlink(elsewhere.path(), host.path().join("secrets/other")).unwrap();
    let store = host.open();
    Told::new(&store).synced().await;
    let created = store.create_secret(&write("web", "web", &[("k", b"v")])).await;
    assert!(created.is_err(), "{created:?}");
    let mut other = write("web", "web", &[("k", b"v")]);
    other.key = ObjectKey::new("other", other.key.name.clone());
    let created = store.create_secret(&other).await;
    assert!(matches!(created, Err(StoreError::Refused(..))), "{created:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_the_place_of_a_value_is_left_alone() {
    let host = Host::new();
    let store = host.open();
    store
        .create_secret(&write("web", "web", &[("k", b"v")]))
        .await
        .unwrap();
    fs::remove_file(host.secret("web").join("k")).unwrap();
    fs::create_dir(host.secret("web").join("k")).unwrap();
    fs::write(host.secret("web").join("k/theirs"), "x").unwrap();
    assert!(matches!(
        store.read_secret(&key("web")).await,
        Err(StoreError::Malformed(..))
    ));
    let version = store.inner.state().secrets[&key("web")].facts.version;
    let updated = store
        .update_secret(&write("web", "web", &[("k", b"v")]), version)
        .await;
    let Err(StoreError::Refused(path, _)) = updated else {
        panic!("{updated:?}")
    };
    assert!(path.ends_with("web/k"));
    assert!(host.secret("web").join("k/theirs").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_no_file_is_malformed() {
    let host = Host::new();
    let store = host.open();
    let subject = Subject::Certificate(key("web"));
    let folder = host.private("records/default");
    fs::create_dir_all(&folder).unwrap();
    symlink("/etc/passwd", folder.join(subject.record_name())).unwrap();
    let read = store.read_record(&subject).await;
    assert!(matches!(read, Err(StoreError::Malformed(..))), "{read:?}");
    let written = store
        .write_record(&subject, &pki::Secret::from(&b"x"[..]), None)
        .await;
    assert!(written.is_err(), "{written:?}");
}

/// A file system of a few pages, gone at the end of the test.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(path)
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(
            Command::new("mount")
                .args(["-o", &options])
                .arg(self.0)
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_says_so() {
    let host = Host::new();
    let Some(mounted) = Mounted::new(host.path()) else {
        println!("skipped: a file system cannot be mounted here");
        return;
    };
    let store = host.open();
    let subject = Subject::Certificate(key("web"));
    let old = pki::Secret::from(&b"old"[..]);
    let version = store.write_record(&subject, &old, None).await.unwrap();
    let facts = store
        .create_secret(&write("web", "web", &[("k", b"old")]))
        .await
        .unwrap();
    let large = vec![7_u8; 400 * 1024];
    let written = store
        .write_record(&subject, &pki::Secret::from(&large[..]), Some(version))
        .await;
    let Err(StoreError::Unavailable(path, why)) = written else {
        panic!("{written:?}")
    };
    assert!(
        path.contains("records/default") && why.contains("no space left"),
        "{path}: {why}"
    );
    let updated = store
        .update_secret(&write("web", "web", &[("k", &large)]), facts.version)
        .await;
    assert!(matches!(updated, Err(StoreError::Unavailable(..))), "{updated:?}");
    assert_eq!(*store.read_record(&subject).await.unwrap().unwrap().bytes, old);
    let content = store.read_secret(&key("web")).await.unwrap().unwrap();
    assert_eq!(
        (content.data["k"].expose(), content.facts.version),
        (&b"old"[..], facts.version)
    );
    // What the failed writes took is free again.
    store
        .write_record(&subject, &pki::Secret::from(&large[..100 * 1024]), Some(version))
        .await
        .unwrap();
    drop((store, mounted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_directory_can_be_looked_at() {
    let host = Host::new();
    let Some(mounted) = Mounted::new(host.path()) else {
        println!("skipped: a file system cannot be mounted here");
        return;
    };
    host.write("web.yaml", certificate_text("web", "web.example"));
    let store = host.open();
    Told::new(&store).synced().await;
    drop(store);
    mounted.remount("ro");
    let client = DirStore::open_client(host.path()).unwrap();
    assert_eq!(client.objects().certificates.len(), 1);
    let renew = std::collections::BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let annotated = client
        .annotate(crate::model::object::Kind::Certificate, &key("web"), &renew)
        .await;
    let Err(StoreError::Forbidden(_, why)) = annotated else {
        panic!("{annotated:?}")
    };
    assert!(why.contains("read-only"), "{why}");
    drop((client, mounted));
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let error = DirStore::open(Path::new("/nonexistent/occm"))
        .map(drop)
        .unwrap_err();
    assert_eq!(error, StoreError::NotFound("/nonexistent/occm".to_owned()));
}
