//! A way to the API server that can be cut, and etcd made to forget.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests only")]

use std::io::{Read, Write};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to the API server that can be cut.
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) open: watch::Sender<bool>,
}

impl Way {
    pub(crate) async fn to(server: &str) -> Self {
        let target = server
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (open, opened) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut opened) = (target.clone(), opened.clone());
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(&target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = opened.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { url, open }
    }
}

/// Compacts etcd up to a revision, which is what a resourceVersion is.
pub(crate) fn compact(etcd: &str, revision: &str) {
    let address = etcd.trim_start_matches("http://");
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v3/kv/compaction HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
