//! The CA behind a port: what clients of any age and tests with any wish get to see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use devca::{DevCa, Entry, FaultKind, Policy, Stats, faults::Armed, http};
use jiff::Timestamp;
use support::*;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle};

struct Server {
    ca: Arc<DevCa>,
    port: u16,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    fn start() -> Self {
        let ca = Arc::new(DevCa::new(config(), Timestamp::now()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = runtime.spawn(http::serve(Arc::clone(&ca), listener, shutdown));
        Self {
            ca,
            port,
            runtime,
            stop: Some(stop),
            task: Some(task),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// One request on a connection of its own; all bytes of the answer.
    fn raw(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        let head = format!(
            "{head}\r\nHost: ca\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server may close before it has read all of a body that is too long.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn ask(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        parse(&self.raw(head, body))
    }

    fn json(&self, head: &str, body: &str) -> (u16, String, Vec<u8>) {
        self.ask(
            &format!("{head}\r\nContent-Type: application/json"),
            body.as_bytes(),
        )
    }

    fn request(&self) -> Vec<u8> {
        let mut client = Client::mac(&self.ca).at(Timestamp::now()).implicit();
        client.nonce = random();
        client.encode(ir("CN=a"))
    }
}

fn parse(answer: &[u8]) -> (u16, String, Vec<u8>) {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("no end of the head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

#[test]
fn cmp_is_served_on_every_path_and_with_every_content_type() {
    let server = Server::start();
    for path in [
        "/",
        "/pkix/",
        "/.well-known/cmp",
        "/.well-known/cmp/p/profile",
        "/ejbca/publicweb/cmp/alias",
    ] {
        for content_type in [
            "application/pkixcmp",
            "Application/PKIXCMP; x=y",
            "application/octet-stream",
        ] {
            let head = format!("POST {path} HTTP/1.1\r\nContent-Type: {content_type}");
            let (status, head, body) = server.ask(&head, &server.request());
            assert_eq!(status, 200, "{path}");
            assert!(
                head.contains("content-type: application/pkixcmp") && head.contains("not for production")
            );
            read(&body).certificate();
        }
    }
}

#[test]
fn clients_of_http_1_0_are_served() {
    let server = Server::start();
    let (status, _, body) = server.ask("POST / HTTP/1.0", &server.request());
    assert_eq!(status, 200);
    read(&body).certificate();
}

#[test]
fn a_connection_can_be_used_again() {
    let server = Server::start();
    let mut stream = server.connect();
    for _ in 0..3 {
        let body = server.request();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: ca\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        let length = loop {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            answer.extend_from_slice(&buffer[..count]);
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .unwrap()
                    .split("\r\n")
                    .next()
                    .unwrap();
                break end + 4 + length.parse::<usize>().unwrap();
            }
        };
        while answer.len() < length {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            answer.extend_from_slice(&buffer[..count]);
        }
        read(&parse(&answer).2).certificate();
    }
    assert_eq!(server.ca.ledger().stats(Timestamp::now()).issued, 3);
}

#[test]
fn what_is_no_cmp_request_gets_a_page() {
    let server = Server::start();
    assert_eq!(server.ask("GET / HTTP/1.1", b"").0, 405);
    assert_eq!(server.ask("POST / HTTP/1.1", b"hello").0, 400);
    let large = vec![0; http::MAX_REQUEST_BYTES + 1];
    let answer = server.raw("POST / HTTP/1.1", &large);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 413"));
    assert_eq!(server.ca.ledger().stats(Timestamp::now()).issued, 0);
}

#[test]
fn faults_are_armed_listed_and_cleared_over_http() {
    let server = Server::start();
    let faults = r#"[{"fault":"http-error","status":503,"times":1},{"fault":"garbage","request":"kur"}]"#;
    assert_eq!(server.json("POST /-/faults HTTP/1.1", faults).0, 204);
    let (status, _, page) = server.ask("POST / HTTP/1.1", &server.request());
    assert_eq!(status, 503);
    assert!(String::from_utf8(page).unwrap().contains("<html>"));
    assert_eq!(server.ask("POST / HTTP/1.1", &server.request()).0, 200);
    let listed: Vec<Armed> = serde_json::from_slice(&server.ask("GET /-/faults HTTP/1.1", b"").2).unwrap();
    assert_eq!((listed.len(), listed[0].hits, listed[1].hits), (2, 1, 0));
    assert_eq!(listed[1].fault.kind, FaultKind::Garbage);
    assert_eq!(
        server
            .json("POST /-/faults HTTP/1.1", r#"{"fault":"nonsense"}"#)
            .0,
        422
    );
    assert_eq!(server.ask("DELETE /-/faults HTTP/1.1", b"").0, 204);
    assert_eq!(server.ca.faults().list(), []);
}

#[test]
fn a_dropped_answer_is_a_closed_connection_and_the_certificate_is_issued() {
    let server = Server::start();
    for (fault, issued) in [("drop-before", 0), ("down", 0), ("drop-answer", 1)] {
        let armed = format!(r#"{{"fault":"{fault}","times":1}}"#);
        assert_eq!(server.json("POST /-/faults HTTP/1.1", &armed).0, 204);
        assert_eq!(server.raw("POST / HTTP/1.1", &server.request()), b"", "{fault}");
        assert_eq!(
            server.ca.ledger().stats(Timestamp::now()).issued,
            issued,
            "{fault}"
        );
    }
}

#[test]
fn the_date_can_be_wrong_and_the_answer_too_long() {
    let server = Server::start();
    let faults = r#"[{"fault":"date-skew","seconds":-31536000},{"fault":"oversized","bytes":2000000}]"#;
    assert_eq!(server.json("POST /-/faults HTTP/1.1", faults).0, 204);
    let (_, head, body) = server.ask("POST / HTTP/1.1", &server.request());
    let date = head.split("date: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let last_year = (Timestamp::now() - jiff::SignedDuration::from_secs(31_536_000))
        .strftime("%Y")
        .to_string();
    assert!(date.contains(&last_year) && date.ends_with("gmt"), "{date}");
    assert_eq!(body.len(), 2_000_000);
}

#[test]
fn a_late_answer_is_late() {
    let server = Server::start();
    assert_eq!(
        server
            .json("POST /-/faults HTTP/1.1", r#"{"fault":"delay","millis":120}"#)
            .0,
        204
    );
    let begin = std::time::Instant::now();
    assert_eq!(server.ask("POST / HTTP/1.1", &server.request()).0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(120));
}

#[test]
fn policy_ledger_and_stats_are_read_and_written_over_http() {
    let server = Server::start();
    let (_, _, policy) = server.ask("GET /-/policy HTTP/1.1", b"");
    assert_eq!(
        serde_json::from_slice::<Policy>(&policy).unwrap(),
        Policy::default()
    );
    let changed = r#"{"repeat":"bad-request","polls":{"ir":3}}"#;
    assert_eq!(server.json("PUT /-/policy HTTP/1.1", changed).0, 204);
    assert_eq!(server.ca.policy().polls.len(), 1);
    let (_, _, answer) = server.ask("POST / HTTP/1.1", &server.request());
    assert!(read(&answer).is_waiting());
    assert_eq!(server.json("PUT /-/policy HTTP/1.1", "{}").0, 204);
    server.ask("POST / HTTP/1.1", &server.request());
    let entries: Vec<Entry> = serde_json::from_slice(&server.ask("GET /-/ledger HTTP/1.1", b"").2).unwrap();
    assert_eq!(
        (entries.len(), entries[0].number, entries[0].subject.as_str()),
        (1, 1, "CN=a")
    );
    let stats: Stats = serde_json::from_slice(&server.ask("GET /-/stats HTTP/1.1", b"").2).unwrap();
    assert_eq!((stats.issued, stats.requests.len()), (1, 1));
}

#[test]
fn addresses_that_others_can_reach_are_refused_unless_allowed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bind = |exposure| runtime.block_on(http::bind("0.0.0.0:0".parse().unwrap(), exposure));
    assert_eq!(
        bind(http::Exposure::Loopback).unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
    bind(http::Exposure::Anywhere).unwrap();
}

#[test]
fn the_server_ends_when_it_is_told_to_even_with_an_idle_connection() {
    let mut server = Server::start();
    let _idle = server.connect();
    server.ask("GET /-/stats HTTP/1.1", b"");
    drop(server.stop.take());
    let task = server.task.take().unwrap();
    let ended = server
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), task).await });
    ended.expect("still running").unwrap().unwrap();
}
