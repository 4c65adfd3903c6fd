//! TLS of the management API: self-signed certificates, committed beside this file (EC P-256, made by openssl, good until
//! 2046). Their keys are no secret: they identify nobody. The second is there because Sunshine's may change when it restarts.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::Wire;

const FIRST: [&[u8]; 2] = [include_bytes!("certificate.pem"), include_bytes!("key.pem")];
const OTHER: [&[u8]; 2] = [include_bytes!("other-certificate.pem"), include_bytes!("other-key.pem")];

/// A connection that speaks TLS.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl Wire for TlsStream {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// Both identities of the management API.
pub struct Identities {
    /// What every body has at first.
    pub first: Arc<ServerConfig>,
    /// What it has with the switch `other_certificate`.
    pub other: Arc<ServerConfig>,
}

impl Identities {
    /// Reads the certificates.
    pub fn load() -> io::Result<Identities> {
        Ok(Identities { first: server_config(FIRST)?, other: server_config(OTHER)? })
    }
}

/// The first certificate in DER form, for tests of pinning.
pub fn certificate() -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(FIRST[0]).map_err(io::Error::other)
}

fn server_config([certificate, key]: [&[u8]; 2]) -> io::Result<Arc<ServerConfig>> {
    let chain = vec![CertificateDer::from_pem_slice(certificate).map_err(io::Error::other)?];
    let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map(Arc::new)
        .map_err(io::Error::other)
}
