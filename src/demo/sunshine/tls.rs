//! TLS of the management API: one self-signed certificate, committed beside this file (EC P-256, made by openssl, good until
//! 2046). Its key is no secret: it identifies nobody.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::demo::http::Wire;

const CERTIFICATE: &[u8] = include_bytes!("certificate.pem");
const KEY: &[u8] = include_bytes!("key.pem");

/// A connection that speaks TLS.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl Wire for TlsStream {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// The certificate in DER form, for tests of pinning.
pub fn certificate() -> Result<CertificateDer<'static>, std::io::Error> {
    CertificateDer::from_pem_slice(CERTIFICATE).map_err(std::io::Error::other)
}

/// What every connection of the management API shares.
pub fn server_config() -> Result<Arc<ServerConfig>, std::io::Error> {
    let chain = vec![certificate()?];
    let key = PrivateKeyDer::from_pem_slice(KEY).map_err(std::io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map(Arc::new)
        .map_err(std::io::Error::other)
}
