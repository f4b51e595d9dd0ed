//! The REST API of the chart's manager on a real control plane: whose rights count, and that nothing goes beyond them.

#![cfg(all(feature = "kube", feature = "api"))]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "tests only")]

#[path = "../support/audit.rs"]
mod audit;
#[path = "../support/bad.rs"]
mod bad;
#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../api/rest.rs"]
mod rest;
#[path = "../support/mod.rs"]
mod support;
#[path = "../api/table.rs"]
mod table;
#[path = "../support/wishes.rs"]
mod wishes;

mod bed;
mod oidc;
mod people;
mod serving;
mod sessions;
