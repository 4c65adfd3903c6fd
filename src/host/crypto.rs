//! The one crypto provider of the process (aws-lc-rs), and what our HTTP clients believe.

use std::path::Path;
use std::sync::Arc;

use rustls::CertificateError::{
    self, Expired, ExpiredContext, NotValidForNameContext, NotValidYet, NotValidYetContext, UnknownIssuer,
};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts};

pub use ureq::tls::TlsConfig;

use crate::config::settings::LeaseConfig;
use crate::config::tls_files;

/// Makes it the default. Calling it again changes nothing.
pub fn install() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Settings of an HTTP client that believes the authorities of this file only, or the public ones without a file. The error
/// says what is wrong with the file.
pub fn client_roots(ca_file: Option<&Path>) -> Result<TlsConfig, String> {
    let roots = match ca_file {
        None => RootCerts::WebPki,
        Some(path) => {
            let authorities = tls_files::read_authorities(path)?;
            let owned = authorities.iter().map(|der| Certificate::from_der(der).to_owned());
            RootCerts::Specific(Arc::new(owned.collect()))
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

/// The same with the certificate that a controller shows to etcd, where it has one.
pub fn client_of(lease: &LeaseConfig) -> Result<TlsConfig, String> {
    let plain = client_roots(lease.ca_file.as_deref()).map_err(|error| format!("lease.ca_file: {error}"))?;
    let pair = tls_files::read_client_pair(lease).map_err(|error| error.to_string())?;
    let Some((chain, key)) = pair else { return Ok(plain) };
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(key.expose().as_bytes()).map_err(|error| format!("lease.key: {error}"))?;
    let own = ClientCert::new_with_certs(&chain, key);
    Ok(TlsConfig::builder().root_certs(plain.root_certs().clone()).client_cert(Some(own)).build())
}

/// Why we refused the other side's certificate, if that is what went wrong. Then nothing was sent.
pub fn refused_certificate(error: &ureq::Error) -> Option<String> {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => Some(in_words(why)),
        _ => None,
    }
}

/// As rustls names it, and what that means.
fn in_words(why: &CertificateError) -> String {
    match why {
        Expired | ExpiredContext { .. } => "Expired: it is over, by this host's clock".to_owned(),
        NotValidYet | NotValidYetContext { .. } => {
            "NotValidYet: it has not begun, by this host's clock".to_owned()
        }
        NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") };
            format!("NotValidForName: it is for {names}")
        }
        UnknownIssuer => "UnknownIssuer: it comes from nobody that is believed".to_owned(),
        why => format!("{why:?}"),
    }
}

/// Whether we refused the other side's certificate for its dates: it is old, or our clock is wrong.
pub fn is_refused_for_its_dates(error: &ureq::Error) -> bool {
    use rustls::Error::InvalidCertificate;
    matches!(
        tls_error(error),
        Some(InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }))
    )
}

/// What went wrong with TLS, if that is what went wrong.
pub fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    }
}
