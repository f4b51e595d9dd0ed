//! Private directories for the files of one run: keys, secrets, certificates, answers.
//!
//! Each has mode 0700, lies in memory where the system has a place for that, and is removed when its owner is dropped,
//! also by a panic or by a future that nobody waits for any more. What a killed process leaves behind is found by its
//! lock, which the system gives free: [`sweep`] removes a directory whose lock nobody holds.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// What the names of our directories begin with.
const PREFIX: &str = "occm-cmp-";
/// The file that is locked as long as the owner lives.
const LOCK: &str = "lock";
/// A directory without a lock file is being made; after this time its maker is dead.
const MAKING: Duration = Duration::from_secs(60);
/// Largest file that is read back.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A private directory.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Held, not used.
    _lock: File,
}

/// Where directories go if nothing else is said: shared memory where there is some, else the place for temporary files.
pub(super) fn default_base() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

impl Scratch {
    /// Makes a directory in `base`.
    pub(super) fn new(base: &Path) -> io::Result<Self> {
        let random = pki::random::text(22).map_err(|error| io::Error::other(error.to_string()))?;
        let path = base.join(format!("{PREFIX}{random}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        match lock(&path) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only we can read.
    pub(super) fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        file.write_all(contents)
    }

    /// Reads a file that the program may have written; empty if it has not.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.path.join(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(found) if found.len() > MAX_FILE_BYTES => Err(io::Error::other("the file is too large")),
            Ok(_) => fs::read(&path),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell; what cannot be removed now is swept at the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path.join(LOCK))?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(file)
}

/// Removes the directories of dead processes in `base`; gives their number. Never follows a link, never touches
/// what belongs to another user.
pub(super) fn sweep(base: &Path) -> io::Result<usize> {
    // Whom we are, without asking the C library: the owner of what we make.
    let own = Scratch::new(base)?;
    let uid = fs::symlink_metadata(own.path())?.uid();
    let mut removed = 0;
    for entry in fs::read_dir(base)? {
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        if ours && found.is_dir() && found.uid() == uid && path != own.path() && is_stale(&path, &found) {
            removed += usize::from(fs::remove_dir_all(&path).is_ok());
        }
    }
    Ok(removed)
}

fn is_stale(path: &Path, found: &fs::Metadata) -> bool {
    match OpenOptions::new().write(true).open(path.join(LOCK)) {
        Ok(file) => !matches!(
            file.try_lock(),
            Err(TryLockError::WouldBlock | TryLockError::Error(_))
        ),
        Err(_) => {
            let age = found.modified().ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > MAKING)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directory_and_files_are_private_and_go_with_their_owner() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(base.path()).unwrap();
        scratch.write("secret", b"planted").unwrap();
        let path = scratch.path().to_owned();
        assert_eq!((mode(&path), mode(&path.join("secret"))), (0o700, 0o600));
        assert_eq!(scratch.read("secret").unwrap(), b"planted");
        assert_eq!(scratch.read("never-written").unwrap(), b"");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_panic_removes_the_directory() {
        let base = tempfile::tempdir().unwrap();
        let result = std::panic::catch_unwind(|| {
            let _scratch = Scratch::new(base.path()).unwrap();
            std::panic::resume_unwind(Box::new("planted"));
        });
        assert!(result.is_err());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_never_written_over() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(base.path()).unwrap();
        scratch.write("key", b"one").unwrap();
        assert!(scratch.write("key", b"two").is_err());
    }

    #[test]
    fn a_file_without_measure_is_not_read() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(base.path()).unwrap();
        let file = File::create(scratch.path().join("large")).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(scratch.read("large").is_err());
    }

    #[test]
    fn the_sweep_removes_what_the_dead_left_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let alive = Scratch::new(base.path()).unwrap();
        // As a killed process leaves it: directory and lock file are there, the lock is not.
        let dead = base.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        fs::write(dead.join("secret"), b"planted").unwrap();
        // Just being made by another process.
        let young = base.path().join(format!("{PREFIX}young"));
        fs::create_dir(&young).unwrap();
        // Not ours: another name, and a link with our name to it.
        let other = base.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), b"").unwrap();
        std::os::unix::fs::symlink(&other, base.path().join(format!("{PREFIX}link"))).unwrap();

        assert_eq!(sweep(base.path()).unwrap(), 1);
        assert!(!dead.exists());
        assert!(alive.path().exists() && young.exists() && other.join(LOCK).exists());
        assert_eq!(sweep(base.path()).unwrap(), 0);
    }
}
