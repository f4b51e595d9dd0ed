//! Makes connections to the CMP server: name, TCP, proxy, TLS. Nothing of a message leaves here, so each failure says
//! [`Reached::No`].

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    client::conn::http1::{self, SendRequest},
    header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{Endpoint, HttpConfig, HttpConfigError, HttpProxy, Scheme, tls};
use crate::error::escape;
use crate::transport::{Reached, TransportError, TransportErrorKind};

/// Largest head of an HTTP answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Largest answer of a proxy to CONNECT.
const MAX_TUNNEL_BYTES: usize = 8 * 1024;
/// Most headers of an HTTP answer.
const MAX_HEADERS: usize = 100;

/// Which way to go, and how to wrap it.
pub(super) struct Connector {
    server: Endpoint,
    proxy: Option<Endpoint>,
    proxy_authorization: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, HttpConfigError> {
        let proxy = config
            .proxy
            .as_ref()
            .filter(|_| !config.no_proxy.matches(&config.url));
        if proxy.is_some_and(|proxy| proxy.url.scheme() == Scheme::Https) {
            return Err(HttpConfigError::ProxyScheme);
        }
        let tls = match (config.url.scheme(), &config.tls) {
            (Scheme::Http, _) => None,
            (Scheme::Https, None) => return Err(HttpConfigError::NoAnchors),
            (Scheme::Https, Some(settings)) => {
                let name = settings
                    .server_name
                    .clone()
                    .unwrap_or_else(|| config.url.host().to_owned());
                let name = ServerName::try_from(name).map_err(|_| HttpConfigError::ServerName)?;
                let client = tls::client_config(settings)?;
                Some((TlsConnector::from(std::sync::Arc::new(client)), name))
            }
        };
        Ok(Self {
            server: config.url.clone(),
            proxy: proxy.map(|proxy| proxy.url.clone()),
            proxy_authorization: proxy.and_then(authorization).transpose()?,
            tls,
        })
    }

    /// The proxy that sees our request itself (not a tunnel), with what it wants to know about us.
    pub(super) fn forwards(&self) -> Option<Option<&HeaderValue>> {
        let forwarding = self.proxy.is_some() && self.tls.is_none();
        forwarding.then_some(self.proxy_authorization.as_ref())
    }

    /// A new connection, ready for a request.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connection, TransportError> {
        match timeout_at(deadline, self.open(deadline)).await {
            Ok(result) => result,
            Err(_) => Err(unsent(
                TransportErrorKind::Timeout,
                "no connection within the time allowed".to_owned(),
            )),
        }
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, TransportError> {
        let first = self.proxy.as_ref().unwrap_or(&self.server);
        let mut tcp = dial(first, deadline)
            .await
            .map_err(|error| self.blame_proxy(error))?;
        let Some((connector, name)) = &self.tls else {
            return Connection::new(tcp).await;
        };
        if self.proxy.is_some() {
            tunnel(&mut tcp, &self.server, self.proxy_authorization.as_ref()).await?;
        }
        let stream = connector
            .connect(name.clone(), tcp)
            .await
            .map_err(|error| handshake_failure(&error))?;
        Connection::new(stream).await
    }

    fn blame_proxy(&self, error: TransportError) -> TransportError {
        if self.proxy.is_none() {
            return error;
        }
        unsent(
            TransportErrorKind::Proxy,
            format!("{}: {}", error.kind, error.message),
        )
    }
}

fn authorization(proxy: &HttpProxy) -> Option<Result<HeaderValue, HttpConfigError>> {
    let credentials = proxy.credentials.as_ref()?;
    if credentials.user.contains(':') {
        return Some(Err(HttpConfigError::ProxyUser));
    }
    let mut plain = Zeroizing::new(format!("{}:", credentials.user).into_bytes());
    plain.extend_from_slice(credentials.password.expose());
    let text = Zeroizing::new(format!("Basic {}", Base64::encode_string(&plain)));
    let value = HeaderValue::from_str(&text).map(|mut value| {
        value.set_sensitive(true);
        value
    });
    Some(value.map_err(|_| HttpConfigError::ProxyUser))
}

fn unsent(kind: TransportErrorKind, message: String) -> TransportError {
    TransportError::new(Reached::No, kind, message)
}

/// Resolves and connects; the time left is shared among the addresses that are left to try.
async fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, TransportError> {
    let found = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await;
    let addresses: Vec<_> = found
        .map_err(|error| {
            unsent(
                TransportErrorKind::Resolve,
                format!("{}: {error}", escape_host(endpoint)),
            )
        })?
        .collect();
    let mut last = unsent(
        TransportErrorKind::Resolve,
        format!("{}: no address", escape_host(endpoint)),
    );
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match tokio::time::timeout(share.max(Duration::from_millis(1)), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Header and body go out at once; without this a second small write would wait for an ACK.
                let nodelay = stream.set_nodelay(true);
                return match nodelay {
                    Ok(()) => Ok(stream),
                    Err(error) => Err(unsent(TransportErrorKind::Connect, format!("{address}: {error}"))),
                };
            }
            Ok(Err(error)) => last = unsent(TransportErrorKind::Connect, format!("{address}: {error}")),
            Err(_) => {
                last = unsent(
                    TransportErrorKind::Timeout,
                    format!("{address}: no connection in time"),
                )
            }
        }
    }
    Err(last)
}

fn escape_host(endpoint: &Endpoint) -> String {
    escape(endpoint.host().as_bytes())
}

/// Asks the proxy for a tunnel (RFC 9110, 9.3.6).
async fn tunnel(
    tcp: &mut TcpStream,
    server: &Endpoint,
    authorization: Option<&HeaderValue>,
) -> Result<(), TransportError> {
    let refused = |message: String| unsent(TransportErrorKind::Proxy, message);
    let target = server.host_and_port();
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes());
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    tcp.write_all(&request)
        .await
        .map_err(|error| refused(error.to_string()))?;

    // The server does not speak before we do, so the answer ends where the proxy's head ends.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_TUNNEL_BYTES {
            return Err(refused("its answer to CONNECT is too long".to_owned()));
        }
        match tcp.read_buf(&mut head).await {
            Ok(0) => {
                return Err(refused(
                    "it closed the connection instead of answering CONNECT".to_owned(),
                ));
            }
            Ok(_) => (),
            Err(error) => return Err(refused(error.to_string())),
        }
        if let Some(error) = refused_status(&head) {
            return Err(refused(error));
        }
    }
    Ok(())
}

/// What a proxy's status line says, if it is complete and not a success.
fn refused_status(head: &[u8]) -> Option<String> {
    let end = head.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8_lossy(head.get(..end)?).into_owned();
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().unwrap_or_default();
    if version.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        return None;
    }
    Some(format!(
        "it answered CONNECT with \"{}\"",
        escape(line.as_bytes())
    ))
}

fn handshake_failure(error: &io::Error) -> TransportError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let kind = match cause {
        // What came is no TLS: the scheme or the port is wrong.
        Some(rustls::Error::InvalidMessage(_)) => TransportErrorKind::TlsSettings,
        Some(error) => tls::kind(error),
        None => TransportErrorKind::Tls,
    };
    unsent(kind, escape(error.to_string().as_bytes()))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// An open connection: the half that takes requests, and the half that moves bytes. The second is driven only while
/// somebody waits for the first, so no task is needed, and dropping the one who waits closes the connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Driver>,
    /// When its last answer was complete.
    pub(super) idle_since: Instant,
}

impl Connection {
    async fn new(stream: impl Stream + 'static) -> Result<Self, TransportError> {
        let stream: Box<dyn Stream> = Box::new(stream);
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unsent(TransportErrorKind::Connect, error.to_string()))?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            idle_since: Instant::now(),
        })
    }

    /// Is it still open and free? Sees an end that came in the meantime.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        drive(driver, sender.ready()).await.is_ok() && self.driver.is_some()
    }

    /// Runs `work`, which uses the sender, while the bytes are moved.
    pub(super) async fn run<'a, W, T>(
        &'a mut self,
        work: impl FnOnce(&'a mut SendRequest<Full<Bytes>>) -> W,
    ) -> T
    where
        W: Future<Output = T> + 'a,
    {
        let Self { sender, driver, .. } = self;
        drive(driver, work(sender)).await
    }
}

async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // Its result is not lost: a failure also ends the request that is under way.
        if driver
            .as_mut()
            .is_some_and(|driver| driver.as_mut().poll(context).is_ready())
        {
            *driver = None;
        }
        match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
