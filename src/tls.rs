//! Encryption on the way to others.

/// Makes ring this process's cryptography, before any HTTP client is built.
pub fn install() {
    // An error only says that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
