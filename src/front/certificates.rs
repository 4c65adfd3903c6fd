//! The certificate in use, and the watch over the files it comes from. The role owns the watch; the main thread looks.
//!
//! ```text
//!  steady ── files differ ─► seen ── the same a look later ─► read ─┬─ sound: in use ─────► steady
//!    ▲                        └─ still changing: seen               └─ broken: ALERT, old ─► steady
//! ```
//!
//! Connections that exist are not touched: a new certificate is for new handshakes.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::settings::ServerTls;
use crate::config::tls_files::{self, PairError};

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(10);

/// A change must be this old before the files are read: certificate and key are not written at once.
const CALM: Duration = Duration::from_secs(1);

/// The certificate every handshake gets. Whatever obtains certificates feeds one of these.
pub struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// Begins with this one.
    pub fn new(key: CertifiedKey) -> Certificate {
        Certificate(RwLock::new(Arc::new(key)))
    }

    /// Replaces it, for handshakes from now on.
    pub fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What tells whether a file was replaced or written: device, inode, length, time of its last change.
type Mark = Option<(u64, u64, u64, i64, i64)>;

fn mark(path: &Path) -> Mark {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn marks(files: &ServerTls) -> [Mark; 2] {
    [mark(&files.cert), mark(&files.key)]
}

/// Keeps a [`Certificate`] as its files are.
#[derive(Debug)]
pub struct CertificateWatch {
    files: ServerTls,
    certificate: Arc<Certificate>,
    read: [Mark; 2],
    seen: Option<[Mark; 2]>,
    due: Instant,
}

impl CertificateWatch {
    /// Reads the files for the first time.
    pub fn start(files: &ServerTls, now: Instant) -> Result<CertificateWatch, PairError> {
        let read = marks(files);
        let certificate = Arc::new(Certificate::new(tls_files::read_pair(files)?));
        let files = files.clone();
        Ok(CertificateWatch { files, certificate, read, seen: None, due: now + INTERVAL })
    }

    /// For the TLS settings of the edge.
    pub fn certificate(&self) -> Arc<Certificate> {
        self.certificate.clone()
    }

    /// Looks whether the files changed, if it is time to.
    pub fn look(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        let found = marks(&self.files);
        self.due = now + INTERVAL;
        if found == self.read {
            self.seen = None;
        } else if self.seen == Some(found) {
            self.renew();
        } else {
            self.seen = Some(found);
            self.due = now + CALM;
        }
    }

    /// Reads the files now, which may be others than before.
    pub fn reload(&mut self, files: &ServerTls) {
        self.files = files.clone();
        self.renew();
    }

    fn renew(&mut self) {
        // First the marks, so that a change while reading is seen at the next look.
        self.read = marks(&self.files);
        self.seen = None;
        let cert = self.files.cert.display();
        match tls_files::read_pair(&self.files) {
            Ok(pair) => {
                self.certificate.set(pair);
                log::info!("[edge] new connections get the certificate in {cert}");
            }
            Err(error) => {
                log::error!("[edge] ALERT the new certificate is refused, the old one stays in use: {error}");
            }
        }
    }
}
