//! The life of Certificates on a real API server: the real `occm serve` with the documented rights, the development CA over
//! HTTP. Each test has namespaces, a CA and a manager of its own, and asks the CA how much it issued.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/life.rs"]
mod life;
#[path = "support/reader.rs"]
mod reader;
#[path = "support/mod.rs"]
mod support;

#[path = "kube_life/drift.rs"]
mod drift;
#[path = "kube_life/enrol.rs"]
mod enrol;
#[path = "kube_life/foreign.rs"]
mod foreign;
#[path = "kube_life/many.rs"]
mod many;
#[path = "kube_life/outputs.rs"]
mod outputs;
#[path = "kube_life/record.rs"]
mod record;
#[path = "kube_life/refused.rs"]
mod refused;
#[path = "kube_life/repair.rs"]
mod repair;
