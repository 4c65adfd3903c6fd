//! TLS on the loops: settings of both directions, and the session that a socket may hold.
//!
//! Certificates come from a resolver ([`names`]), which whoever owns them feeds: files (`server::certificates`), or an authority.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ResolvesServerCert, ServerConfig};
use rustls::{Error, RootCertStore};

use crate::config::tls_files;

pub mod names;
mod records;
pub(super) mod session;

/// What we speak above TLS, in both directions.
const PROTOCOL: &[u8] = b"http/1.1";

/// TLS of an edge.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Clients speak TLS with these settings; `None`: plain HTTP.
    pub server: Option<Arc<ServerConfig>>,
    /// For [`super::router::Upstream::Tls`]; `None`: there are none.
    pub client: Option<Arc<ClientConfig>>,
    /// Value of `Strict-Transport-Security` for clients that came over TLS; `None`: they are not told (RFC 6797, 7).
    pub hsts: Option<Arc<str>>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// For clients of ours. The resolver is asked at every handshake, so a new certificate needs no new configuration.
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // Ours first: whoever offers both wants a page.
    config.alpn_protocols = vec![PROTOCOL.to_vec(), names::ACME_TLS.to_vec()];
    // Resumption without memory on our side; the ticket key is new every six hours.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// For upstreams: only the authorities of this file are believed, or the public ones without a file. The error says what
/// is wrong with the file.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for authority in tls_files::read_authorities(path)? {
                roots.add(authority).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}
