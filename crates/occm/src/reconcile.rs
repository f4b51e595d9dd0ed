//! Reconciliation: observe, decide, act, report.
//!
//! `world` and `outputs` say what is so, `decide` what follows from it (pure), `exchange` and `act` do it, `report` tells
//! people. `state`, `queue` and `pace` serve the `manager`, which drives them.

pub mod decide;
pub mod issuer;
pub mod manager;
pub mod outputs;
pub mod pace;
pub mod queue;
pub mod schedule;
pub mod snapshot;
pub mod spent;
pub mod state;
pub mod world;

mod act;
mod advice;
mod exchange;
mod health;
mod lost;
pub mod marks;
mod polled;
mod report;
mod untold;
