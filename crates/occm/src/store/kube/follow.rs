//! Follows one list of objects for ever: reads it, watches it from there, reads it again when the watch is lost.
//!
//! ```text
//!   Begin, Now, Now, Listed ─> Now, Gone, Now ... ─(version too old)─> Begin, Now, Listed ─> ...
//! ```
//!
//! The first list is streamed as a watch where the server can do that (one object in memory at a time), else paged.
//! Not kube-runtime's watcher: it stands on a client that may log whole answers, keeps whole pages, and does not tell
//! the state of its list.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt;
use hyper::body::{Buf, Incoming};
use serde::de::DeserializeOwned;

use crate::store::kube::api::{Answer, Payload, SharedApi, StreamError, escape, parse};
use crate::store::kube::wire::{
    ConfigMap, FullSecret, HashedSecret, INITIAL_END, Line, Meta, MetaOnly, Page,
};
use crate::store::{StoreError, StoreResult};

/// Objects on one page of a list.
const PAGE: usize = 100;
/// Longest line of a watch, in bytes: one object and its frame.
const MAX_LINE: usize = 8 * 1024 * 1024;
/// How long a watch may be silent. The server sends a bookmark each minute.
const SILENCE: Duration = Duration::from_secs(90);
/// A watch that lasts so long is no failure.
const LASTING: Duration = Duration::from_secs(1);
/// Failures in a row after which the list is read again.
const MAX_FAILURES: u32 = 8;
/// First and longest wait before another attempt.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Something with metadata.
pub(super) trait Watched: DeserializeOwned + Send {
    /// What is asked of the server.
    const ANSWER: Answer;

    /// Its metadata.
    fn meta(&self) -> &Meta;
}

impl Watched for HashedSecret {
    const ANSWER: Answer = Answer::Full;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for FullSecret {
    const ANSWER: Answer = Answer::Full;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for ConfigMap {
    const ANSWER: Answer = Answer::Full;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for MetaOnly {
    const ANSWER: Answer = Answer::Metadata;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// How lists are read before they are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstLists {
    /// As a stream, one object at a time; in pages where the server does not know that.
    #[default]
    Streamed,
    /// In pages.
    Paged,
    /// Not at all: what is there already is of no interest.
    Unread,
}

/// Which objects.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Path of the collection.
    pub(super) path: String,
    /// Label selector; empty = all.
    pub(super) labels: String,
    /// Field selector; empty = all.
    pub(super) fields: String,
    /// How the first list is read.
    pub(super) first: FirstLists,
}

impl Query {
    fn url(&self, more: &str) -> String {
        let mut url = format!("{}?{more}", self.path);
        if !self.labels.is_empty() {
            url = format!("{url}&labelSelector={}", escape(&self.labels));
        }
        if !self.fields.is_empty() {
            url = format!("{url}&fieldSelector={}", escape(&self.fields));
        }
        url
    }
}

/// What is told of the objects.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// The list begins, again: what is not told before `Listed` is gone.
    Begin,
    /// An object is so now.
    Now(T),
    /// An object is gone; this is its last state, with the version of the deletion.
    Gone(T),
    /// The list is complete.
    Listed,
    /// The server could not be asked. Another attempt follows.
    Failed(StoreError),
}

/// Who is told.
pub(super) trait Sink<T>: Send {
    /// Takes in what is told.
    fn take(&mut self, told: Told<T>) -> impl Future<Output = ()> + Send;
}

/// Follows the objects of `query`. Never returns; may be dropped at any time.
pub(super) async fn follow<T: Watched>(api: SharedApi, query: Query, mut sink: impl Sink<T>) {
    let streamed = query.first == FirstLists::Streamed;
    let mut follower = Follower {
        api,
        query,
        version: None,
        streamed,
    };
    let (mut wait, mut failures) = (RETRY.0, 0);
    loop {
        let (before, began) = (follower.version.clone(), Instant::now());
        let ended = follower.run(&mut sink).await;
        if follower.version != before || began.elapsed() > LASTING {
            (wait, failures) = (RETRY.0, 0);
        }
        match ended {
            Ok(()) if began.elapsed() > LASTING => continue,
            Ok(()) => {}
            Err(StreamError::Expired) => follower.version = None,
            Err(StreamError::NotSupported) => {
                follower.streamed = false;
                follower.version = None;
            }
            Err(StreamError::Store(error)) => {
                tracing::debug!(path = %follower.query.path, %error, "watch was interrupted");
                failures += 1;
                // A server that was set back to an older state does not know our version and never will.
                if failures % MAX_FAILURES == 0 {
                    follower.version = None;
                }
                sink.take(Told::Failed(error)).await;
            }
        }
        tokio::time::sleep(jitter(wait)).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Between half of a time and all of it.
pub(super) fn jitter(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 512;
    time / 2 + time.mul_f64(random as f64 / 1024.0)
}

struct Follower {
    api: SharedApi,
    query: Query,
    /// Where the watch goes on; `None` = the list must be read.
    version: Option<String>,
    streamed: bool,
}

impl Follower {
    async fn run<T: Watched>(&mut self, sink: &mut impl Sink<T>) -> Result<(), StreamError> {
        match (&self.version, self.streamed) {
            (Some(version), _) => {
                let url = self.query.url(&format!(
                    "{}&resourceVersion={}",
                    watch_parameters(),
                    escape(version)
                ));
                self.watch(&url, Stage::Listed, sink).await
            }
            (None, _) if self.query.first == FirstLists::Unread => {
                self.begin_with_new(sink).await.map_err(StreamError::from)
            }
            (None, true) => {
                let parameters = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
                let url = self.query.url(&format!("{}&{parameters}", watch_parameters()));
                self.watch(&url, Stage::Opening, sink).await
            }
            (None, false) => self.list(sink).await.map_err(StreamError::from),
        }
    }

    /// Asks only where the watch begins.
    async fn begin_with_new<T: Watched>(&mut self, sink: &mut impl Sink<T>) -> StoreResult<()> {
        let (path, url) = (self.query.path.clone(), self.query.url("limit=1"));
        let page: Page<MetaOnly> = self
            .api
            .call(&path, Method::GET, &url, Payload::Empty, Answer::MetadataList)
            .await?;
        sink.take(Told::Begin).await;
        self.version = Some(page.metadata.resource_version);
        sink.take(Told::Listed).await;
        Ok(())
    }

    async fn list<T: Watched>(&mut self, sink: &mut impl Sink<T>) -> StoreResult<()> {
        let answer = match T::ANSWER {
            Answer::Full => Answer::Full,
            Answer::Metadata | Answer::MetadataList => Answer::MetadataList,
        };
        sink.take(Told::Begin).await;
        let mut next = String::new();
        loop {
            let url = self
                .query
                .url(&format!("limit={PAGE}&continue={}", escape(&next)));
            let page: Page<T> = self
                .api
                .call(&self.query.path, Method::GET, &url, Payload::Empty, answer)
                .await?;
            for object in page.items {
                sink.take(Told::Now(object)).await;
            }
            if page.metadata.next.is_empty() {
                self.version = Some(page.metadata.resource_version);
                sink.take(Told::Listed).await;
                return Ok(());
            }
            next = page.metadata.next;
        }
    }

    async fn watch<T: Watched>(
        &mut self,
        url: &str,
        mut stage: Stage,
        sink: &mut impl Sink<T>,
    ) -> Result<(), StreamError> {
        let mut lines = Lines::new(self.api.open(&self.query.path, url, T::ANSWER).await?);
        if stage == Stage::Opening {
            stage = Stage::Listing;
            sink.take(Told::Begin).await;
        }
        while let Some(line) = lines.next(&self.query.path).await? {
            let line: Line<T> = match parse(&self.query.path, line) {
                Ok(line) => line,
                Err(error) => {
                    tracing::warn!(%error, "a line of a watch is left out");
                    continue;
                }
            };
            let (version, told) = match line {
                Line::Added(object) | Line::Modified(object) => {
                    (object.meta().resource_version.clone(), Told::Now(object))
                }
                Line::Deleted(object) => (object.meta().resource_version.clone(), Told::Gone(object)),
                Line::Bookmark(mark) if stage == Stage::Listing => {
                    if mark.metadata.annotations.contains_key(INITIAL_END) {
                        stage = Stage::Listed;
                        self.version = Some(mark.metadata.resource_version);
                        sink.take(Told::Listed).await;
                    }
                    continue;
                }
                Line::Bookmark(mark) => {
                    self.version = Some(mark.metadata.resource_version);
                    continue;
                }
                Line::Error(status) if status.code == 410 => return Err(StreamError::Expired),
                Line::Error(status) => return Err(interrupted(&self.query.path, status.message)),
            };
            sink.take(told).await;
            if stage == Stage::Listed {
                self.version = Some(version);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Listing,
    Listed,
}

fn interrupted(path: &str, message: String) -> StreamError {
    StreamError::Store(StoreError::Unavailable(path.to_owned(), message))
}

/// The server ends each watch after four to five minutes, not all at one time.
fn watch_parameters() -> String {
    let seconds = 240 + RandomState::new().hash_one(()) % 60;
    format!("watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}")
}

/// Lines of a body.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// How much of the buffer was handed out.
    taken: usize,
    /// How much of the buffer has no line end.
    searched: usize,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
        }
    }

    /// The next line; `None` = the server ended the stream.
    async fn next(&mut self, what: &str) -> Result<Option<&[u8]>, StreamError> {
        loop {
            let found = self
                .buffer
                .get(self.searched..)
                .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
            if let Some(end) = found.map(|found| self.searched + found) {
                let line = self.taken..end;
                (self.taken, self.searched) = (end + 1, end + 1);
                return Ok(self.buffer.get(line));
            }
            self.compact();
            if self.buffer.len() > MAX_LINE {
                return Err(interrupted(
                    what,
                    format!("a line of a watch has more than {MAX_LINE} bytes"),
                ));
            }
            if !self.fill(what).await? {
                return Ok(None);
            }
        }
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.searched = self.buffer.len();
        if self.buffer.is_empty() && self.buffer.capacity() > 256 * 1024 {
            self.buffer = Vec::new();
        }
    }

    async fn fill(&mut self, what: &str) -> Result<bool, StreamError> {
        let frame = match tokio::time::timeout(SILENCE, self.body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(interrupted(what, error.to_string())),
            Ok(None) => return Ok(false),
            Err(_) => return Err(interrupted(what, format!("the watch was silent for {SILENCE:?}"))),
        };
        if let Some(data) = frame.data_ref() {
            self.buffer.extend_from_slice(data.chunk());
        }
        Ok(true)
    }
}
