//! Another client's watch, read as cheaply as can be: lines are searched, not parsed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::life::Bed;

/// Names, and when each was last seen in the wanted state.
pub(crate) struct Seen {
    shared: Arc<Shared>,
    reading: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<String, Instant>>,
    changed: Notify,
}

impl Seen {
    /// Certificates that are ready.
    pub(crate) async fn certificates(bed: &Bed) -> Self {
        let path = format!("/apis/occm.dev/v1alpha1/namespaces/{}/certificates", bed.home);
        let ready = |line: &str| line.contains(r#""status":"True","type":"Ready""#);
        Self::start(bed, &path, "", "application/json", ready).await
    }

    /// Outputs that are created.
    pub(crate) async fn outputs(bed: &Bed) -> Self {
        let path = format!("/api/v1/namespaces/{}/secrets", bed.home);
        let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let created = |line: &str| line.starts_with(r#"{"type":"ADDED""#);
        Self::start(
            bed,
            &path,
            "&labelSelector=occm.dev%2Frole%3Doutput",
            metadata,
            created,
        )
        .await
    }

    /// From now on: what exists already is not told. A watch that the server ends goes on where it ended.
    async fn start(
        bed: &Bed,
        path: &str,
        more: &str,
        accept: &'static str,
        wanted: fn(&str) -> bool,
    ) -> Self {
        let list = http::Request::get(format!("{path}?limit=1"))
            .body(Vec::new())
            .unwrap();
        let listed: serde_json::Value = bed.client.request(list).await.unwrap();
        let mut version = listed["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let (client, path) = (bed.client.clone(), format!("{path}?watch=1{more}"));
        let open = async move |version: &str| {
            let watch = http::Request::get(format!("{path}&resourceVersion={version}"))
                .header("accept", accept)
                .body(Vec::new())
                .unwrap();
            Box::pin(client.request_stream(watch).await.unwrap()).lines()
        };
        let mut lines = open(&version).await;
        let shared = Arc::new(Shared::default());
        let noted = Arc::clone(&shared);
        let reading = tokio::spawn(async move {
            loop {
                let Some(Ok(line)) = lines.next().await else {
                    lines = open(&version).await;
                    continue;
                };
                assert!(!line.starts_with(r#"{"type":"ERROR""#), "{line}");
                if let Some(newer) = value_of(&line, r#""resourceVersion":""#) {
                    newer.clone_into(&mut version);
                }
                if wanted(&line)
                    && let Some(name) = value_of(&line, r#""name":"bench-"#)
                {
                    let mut names = noted.names.lock().unwrap();
                    names.insert(format!("bench-{name}"), Instant::now());
                    drop(names);
                    noted.changed.notify_waiters();
                }
            }
        });
        Self { shared, reading }
    }

    /// Waits until so many names were seen.
    pub(crate) async fn count(&self, number: usize, limit: Duration) {
        self.until(limit, |names| (names.len() >= number).then_some(()))
            .await;
    }

    /// Waits until this one is seen; says when it was.
    pub(crate) async fn back(&self, name: &str) -> Instant {
        self.until(Duration::from_secs(30), |names| names.get(name).copied())
            .await
    }

    async fn until<T>(&self, limit: Duration, found: impl Fn(&HashMap<String, Instant>) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = found(&self.shared.names.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, waiting).await.expect("seen in time")
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What stands after the first `key` of a line, up to the next quotation mark.
fn value_of<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_once(key)?.1.split('"').next()
}
