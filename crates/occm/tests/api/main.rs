//! The REST API of the real binary on a directory: objects, roles, sessions, bounds, and what must never be in an answer.
//!
//! Each test has a manager of its own on a free port.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "tests only")]

#[path = "../support/bad.rs"]
mod bad;
#[path = "../support/mod.rs"]
mod support;

mod audit;
mod bounds;
mod leaks;
mod objects;
mod remote;
mod rest;
mod roles;
mod sessions;
mod table;
mod tls;
