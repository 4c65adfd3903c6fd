//! The one crypto provider of the process (aws-lc-rs), for every TLS client and server.

/// Makes it the default. Calling it again changes nothing.
pub fn install() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
