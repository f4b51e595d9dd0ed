//! How messages travel: DER in, DER out.
//!
//! The protocol does not care how its bytes move (RFC 9810, 5: "no state from HTTP may influence the transaction"), so
//! the seam is one method. [`crate::http`] implements it for HTTP(S), [`InMemory`] for tests and for a CA in the same
//! process.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::error::Class;

/// Carries one message to the CA and one answer back.
pub trait Transport: Send + Sync {
    /// Sends `body`, one DER PKIMessage, and gives the answer's body, whatever it is. Dropping the future gives up the
    /// exchange: the CA may then have seen the message or not.
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>>;
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The body; limited in size by the transport, checked by nobody.
    pub body: Vec<u8>,
    /// The peer's clock, if the transport told (HTTP `Date`). Not authenticated: a hint about clock skew.
    pub date: Option<Timestamp>,
    /// Something odd that did not keep the answer from being used, for people (a wrong media type).
    pub note: Option<String>,
}

impl Response {
    /// A body without a date.
    pub fn new(body: Vec<u8>) -> Self {
        Self {
            body,
            date: None,
            note: None,
        }
    }
}

/// May the CA have seen what was sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reached {
    /// Certainly not: not one byte of the message left.
    No,
    /// It may have.
    Maybe,
}

/// What kind of failure a transport had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The settings cannot work (a bad URL, an unusable client key).
    Settings,
    /// The host name has no address.
    Resolve,
    /// No connection could be made.
    Connect,
    /// The proxy refused or could not be used.
    Proxy,
    /// TLS broke off for a reason that may pass.
    Tls,
    /// The TLS handshake cannot succeed with these settings: no common version, group or cipher suite, a client
    /// certificate that the server misses or refuses, a server that does not speak TLS.
    TlsSettings,
    /// The peer's TLS certificate is not trusted.
    TlsTrust,
    /// The time allowed was over.
    Timeout,
    /// The connection ended or broke before the answer was complete.
    Interrupted,
    /// The peer answered with this HTTP status and without a CMP message.
    Status(u16),
    /// The answer is larger than allowed.
    TooLarge,
    /// The answer is not a CMP message (an HTML page, another media type).
    NotCmp,
}

impl TransportErrorKind {
    /// What may be done about it.
    pub fn class(self) -> Class {
        match self {
            Self::Settings | Self::TlsSettings => Class::Misconfigured,
            Self::TlsTrust => Class::Untrusted,
            // 408, 425 and 429 ask to come again; other 4xx (and 3xx, which we never follow) mean a wrong path.
            Self::Status(408 | 425 | 429) => Class::Retry,
            Self::Status(300..=499) => Class::Misconfigured,
            Self::Status(_)
            | Self::Resolve
            | Self::Connect
            | Self::Proxy
            | Self::Tls
            | Self::Timeout
            | Self::Interrupted
            | Self::TooLarge
            | Self::NotCmp => Class::Retry,
        }
    }
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("transport settings"),
            Self::Resolve => f.write_str("name resolution"),
            Self::Connect => f.write_str("connection"),
            Self::Proxy => f.write_str("proxy"),
            Self::Tls => f.write_str("TLS"),
            Self::TlsSettings => f.write_str("TLS settings"),
            Self::TlsTrust => f.write_str("TLS trust"),
            Self::Timeout => f.write_str("time-out"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Status(code) => write!(f, "HTTP status {code}"),
            Self::TooLarge => f.write_str("answer too large"),
            Self::NotCmp => f.write_str("not a CMP answer"),
        }
    }
}

/// A message was not carried, or its answer was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct TransportError {
    /// May the CA have seen the message?
    pub reached: Reached,
    /// What kind of failure.
    pub kind: TransportErrorKind,
    /// For people; nothing of a body, no credentials.
    pub message: String,
    /// How long the peer has asked us to stay away (HTTP `Retry-After`), within the bounds of the transport.
    pub retry_after: Option<Duration>,
}

impl TransportError {
    /// An error.
    pub fn new(reached: Reached, kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            reached,
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// A transport that calls a function: for tests, and for a CA in the same process.
pub struct InMemory<F>(F);

impl<F> InMemory<F>
where
    F: Fn(&[u8]) -> Result<Vec<u8>, TransportError> + Send + Sync,
{
    /// Each message is answered by `respond`.
    pub fn new(respond: F) -> Self {
        Self(respond)
    }
}

impl<F> Transport for InMemory<F>
where
    F: Fn(&[u8]) -> Result<Vec<u8>, TransportError> + Send + Sync,
{
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>> {
        let answer = (self.0)(body).map(Response::new);
        Box::pin(std::future::ready(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_memory_hands_the_bytes_to_the_function() {
        let echo = InMemory::new(|body: &[u8]| Ok(body.to_vec()));
        let answer = echo.post(b"abc").await.unwrap();
        assert_eq!(answer, Response::new(b"abc".to_vec()));
    }

    #[test]
    fn statuses_that_ask_to_come_again_are_retried_and_wrong_paths_are_not() {
        let class = |code| TransportErrorKind::Status(code).class();
        assert_eq!([429, 503, 500].map(class), [Class::Retry; 3]);
        assert_eq!([404, 400, 403, 301].map(class), [Class::Misconfigured; 4]);
    }
}
