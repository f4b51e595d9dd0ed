//! occm: an automated certificate manager that speaks CMP.
//!
//! In reading order: what people write ([`model`]), where it is kept ([`store`]), what must not be forgotten
//! ([`record`]), what follows from it all ([`reconcile`]), what a person may do ([`client`]), and the ways in ([`cli`]).

#[cfg(feature = "api")]
mod api;
pub mod cli;
pub mod client;
pub mod clock;
pub mod crd;
pub mod engines;
pub mod model;
pub mod observe;
pub mod reconcile;
pub mod record;
#[cfg(feature = "sim")]
pub mod sim;
pub mod store;
pub mod telemetry;
#[cfg(feature = "api")]
mod web;
