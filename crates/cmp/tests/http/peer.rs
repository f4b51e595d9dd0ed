//! Small real servers on loopback that answer as they are told.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// The smallest thing that looks like a CMP message.
pub(crate) const MESSAGE: &[u8] = &[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02];

/// What a server does with a request.
#[derive(Clone)]
pub(crate) enum Reaction {
    /// Answers and reads the next request.
    Answer(Vec<u8>),
    /// Answers and closes the connection.
    Last(Vec<u8>),
    /// Answers, perhaps with nothing, and then stays silent.
    Hang(Vec<u8>),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Number of its connection, from 0.
    pub(crate) connection: usize,
    /// Request line and headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A server; ends with the runtime of the test.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Peer {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/cmp", self.address)
    }
}

/// Answers each request by `react`.
pub(crate) async fn serve(react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static) -> Peer {
    start(None, react).await
}

/// The same behind TLS.
pub(crate) async fn serve_tls(
    config: rustls::ServerConfig,
    react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static,
) -> Peer {
    start(Some(TlsAcceptor::from(Arc::new(config))), react).await
}

async fn start(tls: Option<TlsAcceptor>, react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, react) = (Arc::clone(&seen), Arc::new(react));
    tokio::spawn(async move {
        for connection in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (log, react, tls) = (Arc::clone(&log), Arc::clone(&react), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, connection, &log, react.as_ref()).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, connection, &log, react.as_ref()).await;
                        }
                    }
                }
            });
        }
    });
    Peer { address, seen }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    log: &Mutex<Vec<Seen>>,
    react: &(dyn Fn(&Seen) -> Reaction + Send + Sync),
) {
    while let Some(seen) = request(&mut stream, connection).await {
        log.lock().unwrap().push(seen.clone());
        match react(&seen) {
            Reaction::Answer(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reaction::Last(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reaction::Hang(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin), connection: usize) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        connection,
        head,
        body,
    })
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A complete answer with a length.
pub(crate) fn answer(status: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A good answer.
pub(crate) fn good() -> Vec<u8> {
    answer("200 OK", "application/pkixcmp", MESSAGE)
}
