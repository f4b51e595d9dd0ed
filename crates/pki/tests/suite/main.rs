//! The crate seen from outside: every door that other crates use, with a foreign judge (`openssl`, RustCrypto's
//! `x509-cert`) wherever there is one.

mod bundles;
mod certificates;
mod chains;
mod inspection;
mod keys;
mod names;
mod requests;
mod support;
mod templates;
