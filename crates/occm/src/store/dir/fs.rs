//! Files and folders by handle: every path below the store's directory is walked name by name, never through a symlink.
//!
//! All changes of the disk go through [`Folder`], so that a test can stop the program before each of them. Nothing
//! here knows what the files mean.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::store::StoreError;

/// Mode of a file that holds a secret.
pub(super) const PRIVATE_FILE: u32 = 0o600;
/// Mode of a folder that holds secrets.
pub(super) const PRIVATE_FOLDER: u32 = 0o700;
/// Mode of a file that anybody on the host may read.
pub(super) const PUBLIC_FILE: u32 = 0o644;
/// Mode of a folder that anybody on the host may read.
pub(super) const PUBLIC_FOLDER: u32 = 0o755;

/// Deepest nesting that is removed; deeper ones are somebody's own.
const REMOVE_DEPTH: usize = 16;

/// Called before each change of the disk; a test that returns an error has "killed" the program there.
#[derive(Clone, Default)]
pub(super) struct Steps(Option<Arc<StepHook>>);

/// What a test plants: is told the step's name.
type StepHook = dyn Fn(&str) -> io::Result<()> + Send + Sync;

impl Steps {
    #[cfg(test)]
    pub(super) fn hooked(hook: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    fn take(&self, name: &str) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(name))
    }

    fn torn_writes(&self) -> bool {
        self.0.is_some()
    }
}

/// Whether bytes must be on the disk before the call returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// They must survive a power cut.
    Synced,
    /// The kernel may take its time.
    Lazy,
}

/// What a file's name, place, content and mode can be told apart by, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed_ns: i128,
    mode: u32,
    owner: u32,
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
            mode: stat.st_mode,
            owner: stat.st_uid,
        }
    }

    /// When it was last changed in any way, in nanoseconds since 1970.
    pub(super) fn changed_ns(&self) -> i128 {
        self.changed_ns
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn owner(&self) -> u32 {
        self.owner
    }

    /// Permission bits.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is none.
    Absent,
    /// It is not a regular file; says what it is.
    NotAFile(&'static str),
    /// It is larger than allowed.
    TooLarge(u64),
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Absent
        } else {
            Self::Io(error)
        }
    }
}

impl From<Errno> for Unread {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// Whether the last name of a path may be a symlink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// It may: for files that people put into the directory themselves.
    Follow,
    /// It may not.
    Refuse,
}

/// An open folder.
pub(super) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
    steps: Steps,
}

impl Folder {
    /// Opens the folder that everything else lies in; a symlink to it is followed.
    pub(super) fn open(path: &Path, steps: Steps) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            handle,
            path: path.to_owned(),
            steps,
        })
    }

    /// Where it lies, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of an entry, for messages.
    pub(super) fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Opens a folder in it; a symlink is refused.
    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
        Ok(Self {
            handle,
            path: self.path.join(name),
            steps: self.steps.clone(),
        })
    }

    /// As [`Self::folder`], `None` if there is no such folder.
    pub(super) fn find(&self, name: &str) -> io::Result<Option<Self>> {
        match self.folder(name) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a folder in it and makes it before, if it is missing.
    pub(super) fn folder_or_new(&self, name: &str, mode: u32) -> io::Result<Self> {
        match self.folder(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        match self.make_folder(name, mode) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.folder(name)
    }

    pub(super) fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        self.steps.take("mkdir")?;
        Ok(rustix::fs::mkdirat(
            &self.handle,
            name,
            Mode::from_raw_mode(mode),
        )?)
    }

    /// Names of all entries, sorted. Names that are not UTF-8 cannot be ours or an object's and are left out.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The folder's own stamp.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&rustix::fs::fstat(&self.handle)?))
    }

    /// When the folder was made, where the file system tells.
    pub(super) fn born_ns(&self) -> Option<u128> {
        let file = File::from(self.handle.try_clone().ok()?);
        let born = file.metadata().ok()?.created().ok()?;
        Some(born.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos())
    }

    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.handle)?.st_ino)
    }

    /// Stamp of an entry; `None` if there is none. A symlink is not followed.
    pub(super) fn entry(&self, name: &str) -> io::Result<Option<Stamp>> {
        self.stat(name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Stamp of what an entry leads to; `None` if it leads nowhere.
    pub(super) fn target(&self, name: &str) -> io::Result<Option<Stamp>> {
        self.stat(name, AtFlags::empty())
    }

    fn stat(&self, name: &str, flags: AtFlags) -> io::Result<Option<Stamp>> {
        match rustix::fs::statat(&self.handle, name, flags) {
            Ok(stat) => Ok(Some(Stamp::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Text of a symlink; `None` if the entry is missing or no symlink.
    pub(super) fn link(&self, name: &str) -> io::Result<Option<String>> {
        match rustix::fs::readlinkat(&self.handle, name, Vec::new()) {
            Ok(target) => Ok(Some(lossy(&target))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a regular file of at most `limit` bytes. Pipes, devices and sockets are never opened.
    pub(super) fn read(&self, name: &str, limit: usize, links: Links) -> Result<Zeroizing<Vec<u8>>, Unread> {
        let (flags, follow) = match links {
            Links::Follow => (AtFlags::empty(), OFlags::empty()),
            Links::Refuse => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
        };
        let before = self.stat(name, flags)?.ok_or(Unread::Absent)?;
        expect_file(&before)?;
        let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | follow;
        let handle = rustix::fs::openat(&self.handle, name, open, Mode::empty())?;
        let stamp = Stamp::of(&rustix::fs::fstat(&handle)?);
        expect_file(&stamp)?;
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if stamp.size > most {
            return Err(Unread::TooLarge(stamp.size));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0) + 1));
        File::from(handle).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(Unread::TooLarge(most + 1));
        }
        Ok(bytes)
    }

    /// Writes a file that must not exist yet.
    pub(super) fn write_new(&self, name: &str, bytes: &[u8], mode: u32, sync: Durability) -> io::Result<()> {
        self.steps.take("create")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::from_raw_mode(mode))?;
        let mut file = File::from(handle);
        if self.steps.torn_writes() {
            let (half, _) = bytes.split_at(bytes.len() / 2);
            self.steps.take("write half")?;
            file.write_all(half)?;
            self.steps.take("write rest")?;
            file.write_all(bytes.get(half.len()..).unwrap_or_default())?;
        } else {
            file.write_all(bytes)?;
        }
        if sync == Durability::Synced {
            self.steps.take("sync file")?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Adds a line to a file, which is made if it is missing.
    pub(super) fn append(&self, name: &str, line: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.steps.take("append")?;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::from_raw_mode(mode))?;
        File::from(handle).write_all(line)
    }

    /// Opens a lock file, which is made if it is missing.
    pub(super) fn lock_file(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(
            &self.handle,
            name,
            flags,
            Mode::from_raw_mode(mode),
        )?))
    }

    /// Renames an entry; what had the new name is replaced in the same moment.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.steps.take("rename")?;
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    /// Makes a file under a name that is free; `AlreadyExists` otherwise, and nothing is left behind.
    pub(super) fn create(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let staged = self.stage(bytes, mode, Durability::Synced)?;
        let made = self.rename_to_free(&staged, name).and_then(|()| self.sync());
        self.or_unlink(&staged, made)
    }

    /// Renames an entry to a name that is free; `AlreadyExists` otherwise.
    pub(super) fn rename_to_free(&self, from: &str, to: &str) -> io::Result<()> {
        self.steps.take("rename")?;
        match rustix::fs::renameat_with(&self.handle, from, &self.handle, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename_if_free(from, to),
            done => Ok(done?),
        }
    }

    /// For file systems that cannot refuse to replace: look first. A folder with content is never replaced by a rename.
    fn rename_if_free(&self, from: &str, to: &str) -> io::Result<()> {
        if self.entry(to)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    pub(super) fn symlink(&self, target: &str, name: &str) -> io::Result<()> {
        self.steps.take("symlink")?;
        Ok(rustix::fs::symlinkat(target, &self.handle, name)?)
    }

    /// Removes a file or symlink; gone is fine.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        self.steps.take("unlink")?;
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a folder with all that is in it; gone is fine. Symlinks are removed, never followed.
    pub(super) fn remove_tree(&self, name: &str) -> io::Result<()> {
        self.remove_below(name, REMOVE_DEPTH)
    }

    fn remove_below(&self, name: &str, depth: usize) -> io::Result<()> {
        let Some(folder) = self.find(name)? else {
            return Ok(());
        };
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("folders are nested too deeply"))?;
        for entry in folder.names()? {
            match folder.entry(&entry)? {
                Some(stamp) if stamp.file_type() == FileType::Directory => {
                    folder.remove_below(&entry, depth)?
                }
                Some(_) => folder.unlink(&entry)?,
                None => {}
            }
        }
        self.remove_empty(name)
    }

    /// Removes an empty folder; gone is fine.
    pub(super) fn remove_empty(&self, name: &str) -> io::Result<()> {
        self.steps.take("rmdir")?;
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the names in this folder are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.steps.take("sync folder")?;
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Replaces a file as a whole: a reader sees the old or the new bytes, also after a kill.
    pub(super) fn replace(&self, name: &str, bytes: &[u8], mode: u32, sync: Durability) -> io::Result<()> {
        let staged = self.stage(bytes, mode, sync)?;
        self.commit(&staged, name)
    }

    /// Writes bytes under a name of our own, for [`Self::commit`].
    pub(super) fn stage(&self, bytes: &[u8], mode: u32, sync: Durability) -> io::Result<String> {
        let staged = fresh_name();
        let written = self.write_new(&staged, bytes, mode, sync);
        self.or_unlink(&staged, written).map(|()| staged)
    }

    /// Gives staged bytes their name.
    pub(super) fn commit(&self, staged: &str, name: &str) -> io::Result<()> {
        let renamed = self.rename(staged, name);
        self.or_unlink(staged, renamed)
    }

    fn or_unlink(&self, staged: &str, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            // The first error is the one to tell; what stays behind is swept at the next start.
            let _ = self.unlink(staged);
        }
        result
    }
}

fn expect_file(stamp: &Stamp) -> Result<(), Unread> {
    match stamp.file_type() {
        FileType::RegularFile => Ok(()),
        other => Err(Unread::NotAFile(type_name(other))),
    }
}

/// What a file that is no regular file is, for messages.
pub(super) fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown type",
    }
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Start of the names of everything unfinished that we make: swept at start.
pub(super) const OURS: &str = "..occm-";

/// A name that was never used before.
pub(super) fn fresh_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{OURS}{:x}-{:x}-{count:x}", now.as_nanos(), std::process::id())
}

/// The system's clock, in the unit of [`Stamp::changed_ns`].
pub(super) fn now_ns() -> i128 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}

const NOT_A_FOLDER: &str = "a symlink or a file stands where a directory is expected";

/// A store error of a failed system call on `path`.
pub(super) fn store_error(path: impl Into<String>, error: &io::Error) -> StoreError {
    use io::ErrorKind as Kind;
    let path = path.into();
    match error.kind() {
        Kind::NotFound => StoreError::NotFound(path),
        Kind::PermissionDenied => StoreError::Forbidden(path, "permission denied".to_owned()),
        Kind::ReadOnlyFilesystem => StoreError::Forbidden(path, "the file system is read-only".to_owned()),
        Kind::StorageFull => StoreError::Unavailable(path, "no space left on the disk".to_owned()),
        Kind::QuotaExceeded => StoreError::Unavailable(path, "the disk quota is used up".to_owned()),
        Kind::NotADirectory => StoreError::Refused(path, NOT_A_FOLDER.to_owned()),
        _ if Errno::from_io_error(error) == Some(Errno::LOOP) => {
            StoreError::Refused(path, NOT_A_FOLDER.to_owned())
        }
        Kind::AlreadyExists => StoreError::Conflict(path),
        _ => StoreError::Unavailable(path, error.to_string()),
    }
}
