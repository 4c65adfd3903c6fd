//! Certificates and keys in PEM files: reading them, and finding out at once whether they will work.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::secret::Secret;
use crate::config::secret_file::{self, Readers};
use crate::config::settings::{LeaseConfig, ServerTls};

/// Largest file of certificates, in bytes: a bundle of public authorities has 250 KiB.
const MAX_BUNDLE_BYTES: u64 = 1 << 20;

/// Where systemd puts the files of `LoadCredential=`; it protects them by an ACL that shows as group bits.
const CREDENTIALS: &str = "/run/credentials";

/// What is wrong with a pair of files, and with which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairError {
    /// The setting of the file.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

impl std::fmt::Display for PairError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl std::error::Error for PairError {}

/// Reads a certificate chain and its private key, and checks that they belong together.
pub fn read_pair(files: &ServerTls) -> Result<CertifiedKey, PairError> {
    read_both(("server.tls.cert", &files.cert), ("server.tls.key", &files.key)).map(|(pair, _)| pair)
}

/// A certificate chain, and its private key as it stands in its file (PEM).
pub type ClientPair = (Vec<CertificateDer<'static>>, Secret);

/// Reads what a controller shows to etcd; `None`: nothing.
pub fn read_client_pair(lease: &LeaseConfig) -> Result<Option<ClientPair>, PairError> {
    let (Some(cert), Some(key)) = (&lease.cert, &lease.key) else { return Ok(None) };
    read_both(("lease.cert", cert), ("lease.key", key)).map(|(pair, text)| Some((pair.cert, text)))
}

/// Reads the files of these settings: both together, and the key as it stands in its file.
fn read_both(
    (cert_name, cert): (&'static str, &Path),
    (key_name, key): (&'static str, &Path),
) -> Result<(CertifiedKey, Secret), PairError> {
    let of_cert = |text| PairError { key: cert_name, text };
    let of_key = |text| PairError { key: key_name, text };
    let chain = read_certificates(cert).map_err(of_cert)?;
    let text = read_key(key).map(Secret::new).map_err(of_key)?;
    let der = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| {
        of_key(format!("{} holds no private key; it must be unencrypted PEM text", key.display()))
    })?;
    let pair = CertifiedKey::from_der(chain, der, &aws_lc_rs::default_provider());
    let pair = pair.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => of_key(format!(
            "{} does not belong to the first certificate of {cert_name}; give the key it was made for",
            key.display()
        )),
        rustls::Error::InvalidCertificate(_) => of_cert(format!(
            "{} holds a certificate first that is broken; export it anew as PEM",
            cert.display()
        )),
        _ => of_key(format!(
            "{} holds a key of a kind that cannot be used; make an ECDSA, Ed25519 or RSA key",
            key.display()
        )),
    })?;
    Ok((pair, text))
}

/// Reads the authorities that are believed instead of the public ones.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let authorities = read_certificates(path)?;
    let mut store = rustls::RootCertStore::empty();
    for authority in &authorities {
        store
            .add(authority.clone())
            .map_err(|_| format!("{} holds a broken certificate; export it anew as PEM", path.display()))?;
    }
    Ok(authorities)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let cannot =
        |error: std::io::Error| format!("cannot read {shown}: {error}; check the path and its owner");
    let mut text = Vec::new();
    File::open(path).map_err(cannot)?.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_BUNDLE_BYTES {
        return Err(format!("{shown} is larger than 1 MiB; it should hold certificates only"));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(unmarked(&text)).collect();
    match certificates {
        Ok(list) if list.is_empty() => {
            Err(format!("{shown} holds no certificate; it must be PEM text with BEGIN CERTIFICATE"))
        }
        Ok(list) => Ok(list),
        // The error's own words repeat a line of the file, which may hold a key.
        Err(_) => Err(format!(
            "{shown} is not sound PEM text; it must have BEGIN and END lines of their own, with base64 between them"
        )),
    }
}

/// The text without the byte order mark that some editors put before it.
fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

fn read_key(path: &Path) -> Result<String, String> {
    let readers = if path.starts_with(CREDENTIALS) { Readers::OwnerAndGroup } else { Readers::Owner };
    secret_file::read(path, readers)
}

#[cfg(test)]
pub(super) mod tests;
