//! CMP over HTTP and HTTPS (RFC 9811), as a [`Transport`].
//!
//! ```text
//!   post ──► idle connection, still open? ───────────────► send ──► answer::judge ──► Response | TransportError
//!              ├─ no ─► connect: name, TCP, proxy, TLS ──────▲  │
//!              └──── a kept connection ended unanswered ◄───────┘   (once, with the same bytes)
//!
//!   failed before `send`: Reached::No; from there on: Reached::Maybe
//! ```
//!
//! It stands on `hyper`'s connections and not on `reqwest`, because three things cannot be said to the latter: a server
//! name that differs from the URL's host (in SNI, in the check of the certificate, and behind a proxy); whether a
//! failed request on a kept connection had left; and that the alert with which a TLS 1.3 server refuses our client
//! certificate after the handshake proves that it has not read the request. Redirects, cookies, decompression and
//! system proxies, which `reqwest` would add, must not happen here anyway.

use std::{
    error::Error as _,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    body::{Body, Incoming},
    header::{self, HeaderValue},
};
use jiff::Timestamp;
use pki::Secret;
use tokio::time::{Instant, timeout_at};

use crate::error::escape;
use crate::transport::{Reached, Response, Transport, TransportError, TransportErrorKind};

use connect::{Connection, Connector};

pub use endpoint::{Endpoint, EndpointError, NoProxy, Scheme};
pub use tls::{TlsAnchors, TlsCipher, TlsConfig, TlsGroup, TlsIdentity, TlsVersion, UnknownWord};

mod answer;
mod connect;
mod endpoint;
mod tls;

/// Most connections that are kept open between messages.
const MAX_IDLE: usize = 8;
/// Longest time that a connection is kept between messages: below the keep-alive of common servers, so that we rarely
/// send into a connection that the server is just closing.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// How to reach a CMP server.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The server with its full path.
    pub url: Endpoint,
    /// Default: HTTP/1.1.
    pub version: HttpVersion,
    /// Goes through this proxy.
    pub proxy: Option<HttpProxy>,
    /// But not if the server is one of these.
    pub no_proxy: NoProxy,
    /// Longest time to a usable connection: name, TCP, proxy and TLS together. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest time from the first byte sent to the last byte of the answer. Default 60 s.
    pub request_timeout: Duration,
    /// Longest time for one message and its answer altogether. For the engine `openssl`, which cannot stop in
    /// between: for the whole transaction with all its polls. Default 120 s.
    pub total_timeout: Duration,
    /// Needed for `https`: there is no TLS without anchors.
    pub tls: Option<TlsConfig>,
    /// Largest body of an answer. Default 1 MiB.
    pub max_response_bytes: usize,
}

impl HttpConfig {
    /// A server with all defaults; `https` needs [`Self::tls`] besides.
    #[must_use]
    pub fn new(url: Endpoint) -> Self {
        Self {
            url,
            version: HttpVersion::default(),
            proxy: None,
            no_proxy: NoProxy::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(120),
            tls: None,
            max_response_bytes: 1024 * 1024,
        }
    }
}

/// The version of HTTP that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// For very old servers; every message has a connection of its own.
    Http10,
    /// With kept connections.
    #[default]
    Http11,
}

/// An HTTP proxy: sees our requests for `http`, gives a tunnel for `https`.
#[derive(Clone, Debug)]
pub struct HttpProxy {
    /// Its address; its path is not used, and `https` is refused.
    pub url: Endpoint,
    /// What it wants to know about us.
    pub credentials: Option<ProxyCredentials>,
}

/// User and password (basic authentication, RFC 7617).
#[derive(Clone, Debug)]
pub struct ProxyCredentials {
    /// Must not contain a colon.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpConfigError {
    /// `https` without anchors, or with an empty set of them.
    #[error("https needs trust anchors for the server's certificate")]
    NoAnchors,
    /// The server name is neither a DNS name nor an address.
    #[error("the TLS server name is neither a DNS name nor an IP address")]
    ServerName,
    /// A proxy of scheme `https`.
    #[error("the proxy must have an http URL")]
    ProxyScheme,
    /// A colon or a control character in the proxy's user.
    #[error("the proxy's user name must not contain a colon")]
    ProxyUser,
    /// A time limit or size limit of zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// rustls does not take the settings.
    #[error("TLS settings: {0}")]
    Tls(String),
}

/// Carries messages over HTTP(S). One object per server; many messages may be under way at once.
pub struct HttpTransport {
    config: HttpConfig,
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HttpTransport")
            .field("url", &self.config.url)
            .finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// Checks the settings; does not connect.
    ///
    /// # Errors
    ///
    /// See [`HttpConfigError`]; above all `https` without anchors.
    pub fn new(config: HttpConfig) -> Result<Self, HttpConfigError> {
        for (name, value) in [
            ("the connect time-out", config.connect_timeout),
            ("the request time-out", config.request_timeout),
            ("the total time-out", config.total_timeout),
        ] {
            if value.is_zero() {
                return Err(HttpConfigError::Zero(name));
            }
        }
        if config.max_response_bytes == 0 {
            return Err(HttpConfigError::Zero("the largest answer"));
        }
        Ok(Self {
            connector: Connector::new(&config)?,
            config,
            idle: Mutex::default(),
        })
    }

    /// Where the messages go.
    #[must_use]
    pub fn url(&self) -> &Endpoint {
        &self.config.url
    }

    async fn exchange(&self, body: &[u8]) -> Result<Response, TransportError> {
        let deadline = Instant::now() + self.config.total_timeout;
        let request = self.request(body)?;
        let mut reached = Reached::No;
        while reached == Reached::No
            && let Some(mut connection) = self.take_idle()
        {
            if !matches!(timeout_at(deadline, connection.is_ready()).await, Ok(true)) {
                continue;
            }
            match self.send(connection, request.clone(), deadline).await {
                Ok(response) => return Ok(response),
                // The server has given up what it had kept, at the moment in which we used it. The same bytes go out
                // once more, on a connection of their own: that is CMP's own rule for a lost answer, and the
                // transactionID lets the CA see that it is no second request.
                Err(Failed::Unanswered(error)) => reached = error.reached,
                Err(Failed::Finally(error)) => return Err(error),
            }
        }
        let limit = deadline.min(Instant::now() + self.config.connect_timeout);
        let result = match self.connector.connect(limit).await {
            Ok(connection) => self
                .send(connection, request, deadline)
                .await
                .map_err(Failed::into_error),
            Err(error) => Err(error),
        };
        result.map_err(|mut error| {
            if reached == Reached::Maybe {
                error.reached = Reached::Maybe;
            }
            error
        })
    }

    fn request(&self, body: &[u8]) -> Result<Request<Full<Bytes>>, TransportError> {
        let url = &self.config.url;
        let mut request = Request::builder()
            .method(Method::POST)
            .header(header::HOST, url.authority())
            .header(header::CONTENT_TYPE, answer::MEDIA_TYPE)
            .header(header::ACCEPT, answer::MEDIA_TYPE);
        request = match self.config.version {
            HttpVersion::Http10 => request
                .version(Version::HTTP_10)
                .header(header::CONNECTION, "close"),
            HttpVersion::Http11 => request.version(Version::HTTP_11),
        };
        request = match self.connector.forwards() {
            None => request.uri(url.path()),
            Some(authorization) => {
                let request = request.uri(url.to_string());
                let value: Option<&HeaderValue> = authorization;
                match value {
                    Some(value) => request.header(header::PROXY_AUTHORIZATION, value),
                    None => request,
                }
            }
        };
        request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| {
                TransportError::new(Reached::No, TransportErrorKind::Settings, error.to_string())
            })
    }

    /// Sends on this connection; keeps it if it can be used again.
    async fn send(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response, Failed> {
        let limit = self.config.max_response_bytes;
        let deadline = deadline.min(Instant::now() + self.config.request_timeout);
        let work = connection.run(async move |sender| match sender.try_send_request(request).await {
            Ok(response) => read(response, limit).await.map_err(Failed::Finally),
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                let error = error.into_error();
                let ended = interrupted(&error, unsent);
                if ended.kind == TransportErrorKind::Interrupted && !error.is_parse() {
                    Err(Failed::Unanswered(ended))
                } else {
                    Err(Failed::Finally(ended))
                }
            }
        });
        let (status, headers, body) = match timeout_at(deadline, work).await {
            Ok(result) => result?,
            Err(_) => {
                let message = "no complete answer within the time allowed";
                let kind = TransportErrorKind::Timeout;
                return Err(Failed::Finally(TransportError::new(
                    Reached::Maybe,
                    kind,
                    message,
                )));
            }
        };
        if self.config.version == HttpVersion::Http11 {
            self.put_idle(connection);
        }
        answer::judge(status, &headers, body, Timestamp::now()).map_err(Failed::Finally)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.idle_since.elapsed() < IDLE_TIME);
        idle.pop()
    }

    fn put_idle(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

/// Why a connection brought no response.
enum Failed {
    /// It ended before an answer began.
    Unanswered(TransportError),
    /// For any other reason.
    Finally(TransportError),
}

impl Failed {
    fn into_error(self) -> TransportError {
        match self {
            Self::Unanswered(error) | Self::Finally(error) => error,
        }
    }
}

impl Transport for HttpTransport {
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(self.exchange(body))
    }
}

/// Reads the body; stops as soon as it is larger than `limit`.
async fn read(
    response: hyper::Response<Incoming>,
    limit: usize,
) -> Result<(StatusCode, HeaderMap, Vec<u8>), TransportError> {
    let too_large = || {
        let message = format!("the answer is larger than {limit} bytes");
        TransportError::new(Reached::Maybe, TransportErrorKind::TooLarge, message)
    };
    let (head, mut incoming) = response.into_parts();
    if incoming.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| interrupted(&error, false))?;
        if let Some(data) = frame.data_ref() {
            if body.len() + data.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(data);
        }
    }
    Ok((head.status, head.headers, body))
}

/// A request that got no complete answer.
fn interrupted(error: &hyper::Error, unsent: bool) -> TransportError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            // A TLS 1.3 server judges our certificate after our side of the handshake is over. Its alert says that it
            // does not go on to what we sent behind it.
            let refused = matches!(error, rustls::Error::AlertReceived(alert) if tls::is_refusal(*alert));
            let reached = if refused || unsent {
                Reached::No
            } else {
                Reached::Maybe
            };
            return TransportError::new(reached, tls::kind(error), escape(error.to_string().as_bytes()));
        }
        text = inner.to_string();
        cause = match inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    let reached = if unsent { Reached::No } else { Reached::Maybe };
    TransportError::new(reached, TransportErrorKind::Interrupted, escape(text.as_bytes()))
}
