//! People and programs without Kubernetes: users in a file, or a login that is printed once.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::api::access::Role;
use crate::store::ContentHash;

/// Largest file of users, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Longest password.
const MAX_PASSWORD: usize = 1024;
/// Passwords that are checked at one time: each takes 19 MiB.
const CHECKS: usize = 2;
/// The name that a printed login stands for.
pub(crate) const OWNER: &str = "admin";

/// Who may log in.
pub(crate) struct Local {
    file: Option<PathBuf>,
    users: Mutex<(Option<SystemTime>, Arc<Vec<User>>)>,
    checks: Semaphore,
    one_time: Option<OneTime>,
}

/// A login that is good once; after it there is a new one.
struct OneTime {
    /// Hash of the login token.
    login: Mutex<ContentHash>,
    /// Hash of the token for programs; good as long as this process runs.
    token: ContentHash,
    /// Told each new login token.
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    users: Vec<User>,
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct User {
    name: String,
    /// Hash of the password, as `occm password` prints it.
    #[serde(default)]
    password: Option<String>,
    /// SHA-256 of an API token, hexadecimal.
    #[serde(default)]
    token_sha256: Option<ContentHash>,
    /// Role by namespace; `*` = every other namespace.
    roles: BTreeMap<String, Role>,
}

impl Local {
    /// Users from a file.
    pub(crate) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let users = read_users(path)?;
        Ok(Self {
            file: Some(path.to_owned()),
            users: Mutex::new((modified(path), Arc::new(users))),
            checks: Semaphore::new(CHECKS),
            one_time: None,
        })
    }

    /// One administrator with a login that is good once and is told to `tell`, and a token for programs.
    pub(crate) fn one_time(token: &str, tell: Box<dyn Fn(&str) + Send + Sync>) -> anyhow::Result<Self> {
        let first = pki::random::text(32)?;
        tell(&first);
        Ok(Self {
            file: None,
            users: Mutex::new((None, Arc::new(Vec::new()))),
            checks: Semaphore::new(CHECKS),
            one_time: Some(OneTime {
                login: Mutex::new(ContentHash::of(first.as_bytes())),
                token: ContentHash::of(token.as_bytes()),
                tell,
            }),
        })
    }

    /// Whether people may log in with name and password.
    pub(crate) fn has_passwords(&self) -> bool {
        self.file.is_some()
    }

    /// Name of the user with this password.
    pub(crate) async fn password(&self, name: &str, password: &str) -> Option<String> {
        if password.len() > MAX_PASSWORD || self.file.is_none() {
            return None;
        }
        let users = self.users();
        let user = users
            .iter()
            .find(|user| user.name == name && user.password.is_some());
        // A name that does not exist takes the same time.
        let hash = user
            .and_then(|user| user.password.clone())
            .unwrap_or_else(|| DUMMY.to_owned());
        let _turn = self.checks.acquire().await.ok()?;
        let password = zeroize::Zeroizing::new(password.to_owned());
        let fits = tokio::task::spawn_blocking(move || verify(&hash, &password))
            .await
            .ok()?;
        user.filter(|_| fits).map(|user| user.name.clone())
    }

    /// Name of the user with this token for programs.
    pub(crate) fn token(&self, token: &str) -> Option<String> {
        let hash = ContentHash::of(token.as_bytes());
        if let Some(one_time) = &self.one_time
            && equal(hash, one_time.token)
        {
            return Some(OWNER.to_owned());
        }
        let users = self.users();
        let user = users
            .iter()
            .find(|user| user.token_sha256.is_some_and(|known| equal(known, hash)))?;
        Some(user.name.clone())
    }

    /// Uses up the printed login.
    pub(crate) fn login_once(&self, token: &str) -> Option<String> {
        let one_time = self.one_time.as_ref()?;
        let hash = ContentHash::of(token.as_bytes());
        let mut login = one_time.login.lock().unwrap_or_else(PoisonError::into_inner);
        if !equal(hash, *login) {
            return None;
        }
        let next = pki::random::text(32).ok()?;
        *login = ContentHash::of(next.as_bytes());
        drop(login);
        (one_time.tell)(&next);
        Some(OWNER.to_owned())
    }

    /// Role of a user in a namespace; none for a user that is gone.
    pub(crate) fn role(&self, name: &str, namespace: &str) -> Option<Role> {
        if self.one_time.is_some() && name == OWNER {
            return Some(Role::Admin);
        }
        let users = self.users();
        let user = users.iter().find(|user| user.name == name)?;
        user.roles.get(namespace).or_else(|| user.roles.get("*")).copied()
    }

    /// Whether a user exists still.
    pub(crate) fn knows(&self, name: &str) -> bool {
        (self.one_time.is_some() && name == OWNER) || self.users().iter().any(|user| user.name == name)
    }

    /// The users; the file is read again when it changed.
    fn users(&self) -> Arc<Vec<User>> {
        let mut held = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            let now = modified(file);
            if now.is_some() && now != held.0 {
                match read_users(file) {
                    Ok(users) => *held = (now, Arc::new(users)),
                    Err(error) => {
                        held.0 = now;
                        tracing::warn!(%error, "users cannot be read again; the known ones stay");
                    }
                }
            }
        }
        held.1.clone()
    }
}

/// Hash of an empty password that nobody has.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn equal(one: ContentHash, other: ContentHash) -> bool {
    pki::constant_time_eq(&one.0, &other.0)
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Hash of a password for a file of users.
pub(crate) fn hash_password(password: &[u8]) -> anyhow::Result<String> {
    anyhow::ensure!(
        (8..=MAX_PASSWORD).contains(&password.len()),
        "the password has {} bytes; allowed: 8 to {MAX_PASSWORD}",
        password.len()
    );
    let mut salt = [0; 16];
    pki::random::fill(&mut salt)?;
    let hash = Argon2::default()
        .hash_password_with_salt(password, &salt)
        .map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn read_users(path: &Path) -> anyhow::Result<Vec<User>> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| shown.to_string())?.len();
    anyhow::ensure!(size <= MAX_FILE, "{shown}: has {size} bytes; allowed: {MAX_FILE}");
    let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
    let file: UsersFile = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{shown}: {}", first_line(&error.to_string())))?;
    for (i, user) in file.users.iter().enumerate() {
        let place = format!("{shown}: users[{i}]");
        anyhow::ensure!(
            !user.name.is_empty() && user.name.len() <= 256,
            "{place}.name: allowed: 1 to 256 characters"
        );
        anyhow::ensure!(
            file.users.iter().filter(|other| other.name == user.name).count() == 1,
            "{place}.name: {:?} is there twice; allowed: each name once",
            user.name
        );
        anyhow::ensure!(
            user.password.is_some() || user.token_sha256.is_some(),
            "{place}: has neither password nor tokenSha256; allowed: one of them or both"
        );
        if let Some(hash) = &user.password {
            anyhow::ensure!(
                PasswordHash::new(hash).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id"),
                "{place}.password: is no hash; allowed: what `occm password` prints"
            );
        }
    }
    Ok(file.users)
}

/// The message without the excerpt of the file, which may hold hashes.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Writes a file that only this user may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700).create(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.yaml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn the_right_password_is_let_in_and_no_other() {
        let hash = hash_password(b"correct horse").unwrap();
        let (_dir, path) = file(&format!(
            "users:\n- {{name: anna, password: '{hash}', roles: {{nrf: View}}}}\n"
        ));
        let local = Local::from_file(&path).unwrap();
        assert_eq!(
            local.password("anna", "correct horse").await.as_deref(),
            Some("anna")
        );
        assert_eq!(local.password("anna", "correct horsE").await, None);
        assert_eq!(local.password("bert", "correct horse").await, None);
        assert_eq!(local.password("bert", "").await, None);
        assert_eq!(local.role("anna", "nrf"), Some(Role::View));
        assert_eq!(local.role("anna", "smf"), None);
    }

    #[test]
    fn a_printed_login_is_good_once_and_the_next_one_is_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let local = Local::one_time(
            "api-token",
            Box::new(move |token| heard.lock().unwrap().push(token.to_owned())),
        )
        .unwrap();
        let first = told.lock().unwrap()[0].clone();
        assert_eq!(local.login_once("wrong"), None);
        assert_eq!(local.login_once(&first).as_deref(), Some(OWNER));
        assert_eq!(local.login_once(&first), None);
        let second = told.lock().unwrap()[1].clone();
        assert_eq!(local.login_once(&second).as_deref(), Some(OWNER));
        assert_eq!(local.token("api-token").as_deref(), Some(OWNER));
        assert_eq!(local.token(&first), None);
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_place() {
        for (text, place) in [
            ("users:\n- {name: a, roles: {}}\n", "users[0]"),
            ("users:\n- {name: a, password: plain, roles: {}}\n", "password"),
            ("users:\n- {name: a, tokenSha256: xx, roles: {}}\n", "hexadecimal"),
            ("users:\n- {name: a, rolls: {}}\n", "rolls"),
        ] {
            let (_dir, path) = file(text);
            let error = Local::from_file(&path).err().unwrap().to_string();
            assert!(error.contains(place), "{error}");
        }
    }
}
