//! The resource model: what people write and what occm makes of it.
//!
//! `issuer` and `certificate` are the fields as written, `plan` checks them once and turns them into what the rest of
//! the program works with.

pub mod certificate;
pub mod condition;
pub mod duration;
pub mod field;
pub mod issuer;
pub mod object;
pub mod plan;
pub mod reason;
