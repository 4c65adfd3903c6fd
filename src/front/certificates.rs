//! The watch over the files that the served certificate comes from. The role owns it; the main thread looks.
//!
//! ```text
//!  steady ── files differ ─► seen ── the same a look later ─► read ─┬─ sound: in use ─────► steady
//!    ▲                        └─ still changing: seen               └─ broken: ALERT, old ─► steady
//! ```
//!
//! Connections that exist are not touched: a new certificate is for new handshakes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::settings::ServerTls;
use crate::config::tls_files::{self, PairError};
use crate::edge::tls::names::ServedCertificates;

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(10);

/// A change must be this old before the files are read: certificate and key are not written at once.
const CALM: Duration = Duration::from_secs(1);

/// What tells whether a file was replaced or written: device, inode, length, time of its last change.
type Mark = Option<(u64, u64, u64, i64, i64)>;

fn mark(path: &Path) -> Mark {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn marks(files: &ServerTls) -> [Mark; 2] {
    [mark(&files.cert), mark(&files.key)]
}

/// Keeps [`ServedCertificates`] as these files are.
#[derive(Debug)]
pub struct CertificateWatch {
    files: ServerTls,
    served: Arc<ServedCertificates>,
    read: [Mark; 2],
    seen: Option<[Mark; 2]>,
    due: Instant,
}

impl CertificateWatch {
    /// Reads the files for the first time.
    pub fn start(files: &ServerTls, now: Instant) -> Result<CertificateWatch, PairError> {
        let read = marks(files);
        let served = Arc::new(ServedCertificates::for_any_name(tls_files::read_pair(files)?));
        let files = files.clone();
        Ok(CertificateWatch { files, served, read, seen: None, due: now + INTERVAL })
    }

    /// For the TLS settings of the edge.
    pub fn served(&self) -> Arc<ServedCertificates> {
        self.served.clone()
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
                self.served.renew(pair);
                log::info!("[edge] new connections get the certificate in {cert}");
            }
            Err(error) => {
                log::error!("[edge] ALERT the new certificate is refused, the old one stays in use: {error}");
            }
        }
    }
}
