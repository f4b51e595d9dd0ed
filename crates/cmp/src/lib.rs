//! The Certificate Management Protocol (RFC 9810, RFC 9483): messages, protection, transactions, engines.
//!
//! ```text
//!   Request ──► Engine::begin ──► Transaction ──► Engine::exchange ──► Step ──► verify::issued ──► VerifiedCertificate
//!                (native, openssl)   (serialisable)    (Transport)
//! ```
//!
//! This crate knows nothing of Kubernetes or of our configuration; it takes keys, names and certificates from `pki`,
//! and `now` from its caller. [`asn1`], [`message`] and [`protection`] serve both sides of the protocol, client and CA;
//! the rest is the client.

pub mod asn1;
pub mod engine;
pub mod error;
pub mod http;
pub mod message;
pub mod native;
pub mod openssl;
pub mod protection;
pub mod transaction;
pub mod transport;
pub mod verify;

pub use engine::{
    Answer, Capabilities, Context, Engine, Enrolment, EnrolmentKind, General, GeneralAnswer, Limits, Outcome,
    Peer, Policy, Request, RevocationReason, Step, Trust,
};
pub use error::{Class, CmpError, ErrorKind, PeerStatus, Stage};
pub use message::Message;
pub use native::Native;
pub use protection::{Credentials, MacAlgorithm};
pub use transaction::Transaction;
pub use transport::{InMemory, Reached, Response, Transport, TransportError, TransportErrorKind};
pub use verify::{Expectation, VerifiedCertificate};
