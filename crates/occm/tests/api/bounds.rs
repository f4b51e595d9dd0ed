//! Bounds: bodies, rates, connections; and the headers of every answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::rest::{Served, certificate};
use crate::support::Host;

#[test]
fn a_body_that_is_too_large_is_refused() {
    let served = Served::start(Host::new(), &[]);
    let limit = served.admin().get("/limits").is(200).json()["maxBodyBytes"]
        .as_u64()
        .unwrap();
    let mut object = certificate("default", "web");
    object["metadata"]["annotations"] = serde_json::json!({"a": "x".repeat(usize::try_from(limit).unwrap())});
    let told = served.admin().post("/certificates", &object.to_string()).is(413);
    assert_eq!(told.code(), "TooLarge");
}

#[test]
fn who_comes_too_often_is_told_when_to_come_again() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1"]);
    let told: Vec<_> = (0..20).map(|_| served.admin().get("/version")).collect();
    let refused = told
        .iter()
        .find(|told| told.status == 429)
        .expect("somebody is refused");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn passwords_cannot_be_guessed_at_will() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1000"]);
    let told: Vec<u16> = (0..60)
        .map(|i| {
            served
                .nobody()
                .post("/session", &format!(r#"{{"token":"guess-{i}"}}"#))
                .status
        })
        .collect();
    assert!(told.contains(&401) && told.contains(&429), "{told:?}");
    // The right token is not let in at that moment either; everything else goes on.
    served.admin().get("/overview").is(200);
}

#[test]
fn every_answer_keeps_browsers_safe() {
    let served = Served::start(Host::new(), &[]);
    let client = served.admin();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/any/page/of/the/console"),
        ("POST", "/"),
        ("GET", "/api/v1/overview"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/api"),
        ("OPTIONS", "/api/v1/certificates"),
    ] {
        let told = client.raw(method, path, b"");
        let policy = told
            .header("content-security-policy")
            .unwrap_or_else(|| panic!("{method} {path}: {told:?}"));
        assert!(
            policy.contains("default-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("object-src 'none'"),
            "{policy}"
        );
        assert_eq!(told.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(told.header("referrer-policy"), Some("no-referrer"));
        assert!(told.header("access-control-allow-origin").is_none());
        if path.starts_with("/api/") {
            assert_eq!(told.header("cache-control"), Some("no-store"), "{path}");
        }
    }
    let id = client
        .with("X-Request-Id", "from-the-proxy-7")
        .get("/version")
        .is(200);
    assert_eq!(id.header("x-request-id"), Some("from-the-proxy-7"));
    let odd = client.with("X-Request-Id", "<script>").get("/version").is(200);
    assert_ne!(odd.header("x-request-id"), Some("<script>"));
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_others_are_served() {
    let served = Served::start(Host::new(), &[]);
    let mut silent: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(&served.address).unwrap())
        .collect();
    for stream in &mut silent {
        stream.write_all(b"GET /api/v1/version HTTP/1.1\r\nX: ").unwrap();
    }
    served.admin().get("/version").is(200);
    let first = &mut silent[0];
    first.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    first
        .read_to_end(&mut rest)
        .expect("the server closes the connection");
}

#[test]
fn nonsense_on_the_wire_is_no_trouble() {
    let served = Served::start(Host::new(), &[]);
    for text in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(5000)),
        "POST /api/v1/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || !answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    served.admin().get("/version").is(200);
}
