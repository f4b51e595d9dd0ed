//! The kernel's file watching: folders are watched one by one, events become hints.
//!
//! Folders are watched and not files, since files are replaced. Reading is never an event here, so looking into a hint
//! raises no new one.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::model::object::ObjectKey;
use crate::store::dir::fs::OURS;

/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// A watched folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The directory.
    Root,
    /// `secrets`.
    Secrets,
    /// `secrets/NS`.
    Namespace(String),
    /// `secrets/NS/NAME`.
    Secret(ObjectKey),
    /// The folder behind `secrets/NS/NAME/..data`.
    Data(ObjectKey),
    /// `.occm/records`.
    Records,
    /// `.occm/records/NS`.
    RecordsOf(String),
    /// `.occm/AREA`, for requests and statuses.
    Kept(&'static str),
    /// `.occm/AREA/NS`.
    KeptOf(&'static str, String),
}

/// Something that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hint {
    /// A file of the directory.
    File(String),
    /// A namespace of the Secrets.
    Namespace(String),
    /// A Secret.
    Secret(ObjectKey),
    /// The records of a namespace.
    Records(String),
    /// A record: namespace and file.
    Record(String, String),
    /// A request or a status: namespace and file; without a namespace, the namespace itself.
    Kept(String, String),
    /// Events were lost.
    Everything,
}

/// An inotify instance and what it watches.
pub(super) struct Eyes {
    handle: OwnedFd,
    places: BTreeMap<i32, Place>,
    watches: BTreeMap<Place, i32>,
    /// Whether the limit of watches was never reached.
    sees_all: bool,
}

impl Eyes {
    pub(super) fn open() -> std::io::Result<Self> {
        let handle = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            handle,
            places: BTreeMap::new(),
            watches: BTreeMap::new(),
            sees_all: true,
        })
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Whether everything that should be watched is watched.
    pub(super) fn sees_all(&self) -> bool {
        self.sees_all
    }

    /// Watches a folder; one that is watched already costs nothing but the call. A missing one is left out.
    pub(super) fn watch(&mut self, place: Place, path: &Path) {
        let mut flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        if place != Place::Root {
            flags |= WatchFlags::DONT_FOLLOW;
        }
        match inotify::add_watch(&self.handle, path, flags) {
            Ok(watch) => self.remember(place, watch),
            Err(Errno::NOSPC | Errno::NOMEM) => self.limit_reached(),
            // The look that follows tells what is wrong with it.
            Err(_) => {}
        }
    }

    fn remember(&mut self, place: Place, watch: i32) {
        if let Some(before) = self
            .watches
            .insert(place.clone(), watch)
            .filter(|before| *before != watch)
        {
            // The folder was replaced by another one. Its watch may be in use for another place by now.
            if self.places.get(&before) == Some(&place) {
                self.places.remove(&before);
                let _ = inotify::remove_watch(&self.handle, before);
            }
        }
        self.places.insert(watch, place);
    }

    fn limit_reached(&mut self) {
        if self.sees_all {
            self.sees_all = false;
            tracing::warn!(
                watches = self.places.len(),
                "kernel's limit of file watches is reached (fs.inotify.max_user_watches); \
                 the directory is compared every second instead"
            );
        }
    }

    /// All hints there are, without waiting.
    pub(super) fn hints(&mut self) -> BTreeSet<Hint> {
        let mut hints = BTreeSet::new();
        let mut gone = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.handle, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                hints.insert(Hint::Everything);
                continue;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
                continue;
            }
            let name = event
                .file_name()
                .and_then(|name| name.to_str().ok())
                .unwrap_or_default();
            if let Some(place) = self.places.get(&event.wd()) {
                hints.extend(hint(place, name));
            }
        }
        for watch in gone {
            if let Some(place) = self.places.remove(&watch)
                && self.watches.get(&place) == Some(&watch)
            {
                self.watches.remove(&place);
            }
        }
        hints
    }
}

/// What an event on `name` in a folder hints at. Our unfinished files hint at nothing.
fn hint(place: &Place, name: &str) -> Option<Hint> {
    if name.starts_with(OURS) {
        return None;
    }
    Some(match place {
        Place::Root => Hint::File(name.to_owned()),
        Place::Secrets if name.is_empty() => return None,
        Place::Secrets => Hint::Namespace(name.to_owned()),
        Place::Namespace(_) if name.is_empty() => return None,
        Place::Namespace(namespace) => Hint::Secret(ObjectKey::new(namespace, name)),
        Place::Secret(key) | Place::Data(key) => Hint::Secret(key.clone()),
        Place::Records if name.is_empty() => return None,
        Place::Records => Hint::Records(name.to_owned()),
        Place::RecordsOf(_) if name.is_empty() => return None,
        Place::RecordsOf(namespace) => Hint::Record(namespace.clone(), name.to_owned()),
        Place::Kept(_) if name.is_empty() => return None,
        Place::Kept(_) => Hint::Kept(String::new(), name.to_owned()),
        Place::KeptOf(..) if name.is_empty() => return None,
        Place::KeptOf(_, namespace) => Hint::Kept(namespace.clone(), name.to_owned()),
    })
}
