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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::sign::CertifiedKey;

use crate::acme::certificate;
use crate::config::settings::ServerTls;
use crate::config::tls_files::{self, PairError};
use crate::core::wall_time::WallTime;
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

/// What is known of the certificate that comes from files. Shared with health.
#[derive(Debug, Default)]
pub struct FileFacts(Mutex<FileTold>);

/// See [`FileFacts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTold {
    /// From when until when the one in use is good.
    pub validity: Option<(WallTime, WallTime)>,
    /// Newer files are not used because of this one: `server.tls.cert` or `server.tls.key`.
    pub refused: Option<&'static str>,
}

impl FileFacts {
    /// What is known.
    pub fn get(&self) -> FileTold {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self, pair: &CertifiedKey) {
        let validity = pair.cert.first().and_then(|first| certificate::validity(first));
        self.set(FileTold { validity, refused: None });
    }

    fn refuse(&self, why: &PairError) {
        self.set(FileTold { refused: Some(why.key), ..self.get() });
    }

    fn set(&self, told: FileTold) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }
}

/// Keeps [`ServedCertificates`] as these files are.
#[derive(Debug)]
pub struct CertificateWatch {
    files: ServerTls,
    served: Arc<ServedCertificates>,
    facts: Arc<FileFacts>,
    read: [Mark; 2],
    seen: Option<[Mark; 2]>,
    due: Instant,
}

impl CertificateWatch {
    /// Reads the files for the first time.
    pub fn start(files: &ServerTls, now: Instant) -> Result<CertificateWatch, PairError> {
        let read = marks(files);
        let pair = tls_files::read_pair(files)?;
        let facts = Arc::new(FileFacts::default());
        facts.read(&pair);
        let served = Arc::new(ServedCertificates::for_any_name(pair));
        let files = files.clone();
        Ok(CertificateWatch { files, served, facts, read, seen: None, due: now + INTERVAL })
    }

    /// For the TLS settings of the edge.
    pub fn served(&self) -> Arc<ServedCertificates> {
        self.served.clone()
    }

    /// For health.
    pub fn facts(&self) -> Arc<FileFacts> {
        self.facts.clone()
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
                self.facts.read(&pair);
                self.served.renew(pair);
                log::info!("[edge] new connections get the certificate in {cert}");
            }
            Err(error) => {
                self.facts.refuse(&error);
                log::error!("[edge] ALERT the new certificate is refused, the old one stays in use: {error}");
            }
        }
    }
}
