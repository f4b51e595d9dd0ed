//! The CA as a [`Transport`]: protocol tests in milliseconds, without a port.

use std::sync::Arc;

use cmp::transport::{Reached, Response, Transport, TransportError, TransportErrorKind};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::{CMP_MEDIA_TYPE, Delivery, DevCa, Reply};

/// What HTTP clients read of an answer by default.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Tells the CA what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A CA in the same process.
#[derive(Clone)]
pub struct InMemory {
    ca: Arc<DevCa>,
    clock: Clock,
}

impl InMemory {
    /// A transport to this CA with a clock of its own, so that a test decides what time it is.
    pub fn new(ca: Arc<DevCa>, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            ca,
            clock: Arc::new(clock),
        }
    }

    /// A transport to this CA with the system's clock.
    pub fn with_system_clock(ca: Arc<DevCa>) -> Self {
        Self::new(ca, Timestamp::now)
    }

    /// Does what the HTTP front and an HTTP client would do together. A delay is not waited for.
    fn exchange(&self, body: &[u8]) -> Result<Response, TransportError> {
        let now = (self.clock)();
        let Reply {
            delivery,
            delay: _,
            date_skew,
        } = self.ca.respond(body, now);
        let date = now
            .saturating_add(SignedDuration::from_secs(date_skew))
            .unwrap_or(now);
        match delivery {
            Delivery::Answer { body, .. } if body.len() > MAX_ANSWER_BYTES => Err(TransportError::new(
                Reached::Maybe,
                TransportErrorKind::TooLarge,
                "the answer is larger than 1 MiB",
            )),
            Delivery::Answer {
                content_type: CMP_MEDIA_TYPE,
                body,
                ..
            } => Ok(Response {
                date: Some(date),
                ..Response::new(body)
            }),
            Delivery::Answer { status, .. } => Err(TransportError::new(
                Reached::Maybe,
                TransportErrorKind::Status(status),
                "the CA answered with a page instead of a message",
            )),
            Delivery::Dropped => Err(TransportError::new(
                Reached::Maybe,
                TransportErrorKind::Interrupted,
                "the connection was closed before the answer",
            )),
            Delivery::Down => Err(TransportError::new(
                Reached::No,
                TransportErrorKind::Connect,
                "connection refused",
            )),
        }
    }
}

impl Transport for InMemory {
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(std::future::ready(self.exchange(body)))
    }
}
