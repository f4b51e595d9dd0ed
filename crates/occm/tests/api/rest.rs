//! A manager with an API, and a client that knows nothing but HTTP.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses a part of it"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{BIN, Host, PATIENCE, wait_for};

/// A manager whose API is served.
pub struct Served {
    pub host: Host,
    pub address: String,
    pub token: String,
}

impl Served {
    /// Starts the manager on this host with these options.
    pub fn start(mut host: Host, more: &[&str]) -> Self {
        let mut command = Command::new("env");
        // The manager's options come after those of the harness; the API's options come from the environment.
        command.args(more);
        command.args(["NO_COLOR=1", "OCCM_LISTEN=127.0.0.1:0"]).arg(BIN);
        host.start_with(&mut command);
        let address = wait_for("the address of the API", || {
            let log = host.log_text();
            let line = log.lines().find(|line| line.contains("the REST API is served"))?;
            let rest = line.split("://").nth(1)?;
            let end = rest.find(|c: char| c != ':' && c != '.' && !c.is_ascii_alphanumeric());
            Some(rest[..end.unwrap_or(rest.len())].to_owned())
        });
        let token = std::fs::read_to_string(host.path().join(".occm/api/token")).unwrap_or_default();
        Self { host, address, token }
    }

    /// A client that is the administrator.
    pub fn admin(&self) -> Client {
        self.bearer(&self.token)
    }

    /// A client with a bearer token.
    pub fn bearer(&self, token: &str) -> Client {
        self.nobody().with("Authorization", &format!("Bearer {token}"))
    }

    /// A client that is nobody.
    pub fn nobody(&self) -> Client {
        Client {
            address: self.address.clone(),
            headers: Vec::new(),
        }
    }

    /// Waits until lists tell everything.
    pub fn synced(&self) -> &Self {
        wait_for("the API knows all objects", || {
            let health = self.nobody().get("/health");
            (health.json()["synced"] == true).then_some(())
        });
        self
    }
}

/// Sends requests.
#[derive(Clone)]
pub struct Client {
    pub address: String,
    pub headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    pub fn get(&self, path: &str) -> Told {
        self.call("GET", path, "")
    }

    pub fn post(&self, path: &str, body: &str) -> Told {
        self.call("POST", path, body)
    }

    /// With `If-Match: *`.
    pub fn any(&self) -> Self {
        self.with("If-Match", "*")
    }

    pub fn call(&self, method: &str, path: &str, body: &str) -> Told {
        self.raw(method, &format!("/api/v1{path}"), body.as_bytes())
    }

    pub fn raw(&self, method: &str, path: &str, body: &[u8]) -> Told {
        let mut stream = self.open(method, path, body);
        let mut answer = Vec::new();
        // A server that refuses a long body may close before it read all of it.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{method} {path}: no answer: {answer:?}"));
        Told {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Sends it; the answer is for whoever reads the connection.
    pub fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        self.open(method, &format!("/api/v1{path}"), body.as_bytes())
    }

    fn open(&self, method: &str, path: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        if !body.is_empty() {
            if !self.headers.iter().any(|(name, _)| name == "Content-Type") {
                head.push_str("Content-Type: application/json\r\n");
            }
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(body);
        stream
    }

    /// Lines of a stream of changes, as they come.
    pub fn stream(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let stream = self.open("GET", &format!("/api/v1{path}"), b"");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let until = Instant::now() + PATIENCE;
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        // Heartbeats come for ever.
        lines.take_while(move |_| Instant::now() < until)
    }
}

/// All that a stream tells until it has told of an object of this name.
pub fn told_until(lines: impl Iterator<Item = String>, name: &str) -> String {
    let wanted = format!("\"name\":\"{name}\"");
    let mut told = String::new();
    for line in lines {
        told.push_str(&line);
        if told.contains(&wanted) {
            return told;
        }
    }
    panic!("{name} is not told: {told}");
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// This status, or the test fails with the answer.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        if status >= 400 && !self.body.is_empty() {
            assert_eq!(
                self.header("content-type"),
                Some("application/problem+json"),
                "{self:?}"
            );
            let problem = self.json();
            assert_eq!(problem["status"], status);
            assert!(!problem["requestId"].as_str().unwrap().is_empty());
            assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"));
        }
        self
    }
}

/// An Issuer that can be written and needs no CA.
pub fn issuer(namespace: &str, name: &str) -> Value {
    let mut object = crate::bad::good("Issuer", name);
    object["metadata"]["namespace"] = namespace.into();
    object
}

/// A Certificate that can be written.
pub fn certificate(namespace: &str, name: &str) -> Value {
    let mut object = crate::bad::good("Certificate", name);
    object["metadata"]["namespace"] = namespace.into();
    object["spec"]["secretName"] = format!("{name}-tls").into();
    object["spec"]["commonName"] = format!("{name}.{namespace}.example").into();
    object
}
