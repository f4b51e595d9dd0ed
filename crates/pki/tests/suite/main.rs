//! The crate seen from outside: every door that other crates use, with a foreign judge (`openssl`, RustCrypto's
//! `x509-cert`) wherever there is one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helper functions of tests are tests, which clippy cannot see"
)]

mod bundles;
mod certificates;
mod chains;
mod inspection;
mod keys;
mod names;
mod requests;
mod support;
mod templates;
