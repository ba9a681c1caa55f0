//! Certificates and keys as NUT's files name them, and what rustls makes of them.
//!
//! | file | what it knows |
//! |---|---|
//! | [`pem`] | pure: a PEM file's text: certificates, and a private key, be it under a password |
//! | [`identity`] | pure: what a certificate says of itself: the names that `CERTIDENT` and `CERTHOST` ask for |
//! | [`material`] | what was read: our own certificate and key, the authorities we trust |
//! | [`server`] | the configuration of a server (`upsd`) |
//! | [`client`] | the configuration of a client (`upsmon`, the tools) |
//! | [`shell`] | reading the files, and the answer to a database of NSS |
//!
//! TLS is 1.2 or 1.3, always: rustls knows nothing older, as no OpenSSL of today speaks it by default.

pub mod client;
pub mod identity;
pub mod material;
pub mod pem;
pub mod server;
pub mod shell;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// Who does the arithmetic.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
