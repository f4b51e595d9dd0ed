//! A certification authority for development and tests that speaks CMP (RFC 9810, RFC 9483). **Not for production**:
//! it signs what it is asked to sign, keeps its keys in plain files, and can be told to misbehave by everybody who
//! reaches it.
//!
//! ```text
//!  HTTP (http::serve) ─┐                                    ┌─► Ledger: what was issued, and what became of it
//!                      ├─► DevCa::respond(der, now) ─► Reply┤
//!  InMemory transport ─┘        ▲            ▲              └─► CRL
//!                               │            │
//!                            Policy        Faults
//! ```
//!
//! It is the peer of every protocol test, of the benchmarks and of `occm dev`; `occm ca` starts it alone. The time is
//! always an argument, so that a test can let a year go by.
//!
//! ```
//! use devca::{Config, Delivery, DevCa, Fault, FaultKind};
//! use jiff::Timestamp;
//!
//! let ca = DevCa::new(Config::default().with_secret("host-1", "s3cret"), Timestamp::now())?;
//! ca.adjust(|policy| policy.validity_seconds = 60);
//! ca.faults().arm(Fault::once(FaultKind::DropAnswer));
//! assert_eq!(ca.respond(b"a PKIMessage", Timestamp::now()).delivery, Delivery::Dropped);
//! let reply = ca.respond(b"a PKIMessage", Timestamp::now());
//! assert!(matches!(reply.delivery, Delivery::Answer { status: 400, .. }));
//! assert_eq!(ca.ledger().stats(Timestamp::now()).issued, 0);
//! # Ok::<(), devca::Error>(())
//! ```

mod authority;
mod ca;
mod error;
mod issue;
mod memory;
mod own;
mod profile;
mod refusal;
mod respond;
mod transactions;

pub mod config;
pub mod faults;
pub mod http;
pub mod ledger;

pub use ca::{Delivery, DevCa, Reply};
pub use config::{Config, Policy, RequestKind};
pub use error::Error;
pub use faults::{Fault, FaultKind, Faults};
pub use ledger::{Entry, Ledger, State, Stats};
pub use memory::{Clock, InMemory};
pub use own::self_signed;

/// What a program that starts the CA must say first.
pub const NOTICE: &str =
    "this CA is for development and tests and NOT FOR PRODUCTION: it signs what it is asked to sign";

/// Content-Type of CMP messages (RFC 9811, 3.2).
pub const CMP_MEDIA_TYPE: &str = "application/pkixcmp";
