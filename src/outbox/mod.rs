//! The outbox: records and ratings on their way to others, on disk until they are there (SPEC 9).
//!
//! ```text
//!  put ─▶ file written, synced, renamed, directory synced ─▶ the caller may answer
//!              │
//!          outbox thread ── due ─▶ POST with the item's key ── taken ────────────▶ file removed
//!                                        ├── later: back-off ─▶ again               (killed before that: sent again,
//!                                        └── refused, out of patience ─▶ dead/       with the same key)
//! ```
//!
//! One file per item, named by its key. Whatever moment the process is killed at, an item that was put is either in its file
//! or delivered; one that was delivered may be sent again, and its `Idempotency-Key` says so. Putting an item whose key
//! waits already replaces it. Nobody but the thread waits for a receiver.
//!
//! What to try when, and what answers mean, is [`crate::core::outbox_policy`].

mod delivery;
mod spool;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::live::Live;
use crate::host::join;
use crate::host::private_dir::{DirError, PrivateDir};

pub use spool::Figures;
use spool::Spool;

/// Stack of the thread in bytes: JSON and an HTTP client.
const STACK: usize = 512 * 1024;

/// What joining the thread may take beyond the attempt that it is at.
const JOIN_MARGIN: Duration = Duration::from_secs(2);

/// Whom an item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// `nps`
    Nps,
    /// `experience_library`
    Library,
}

impl Receiver {
    const ALL: [Receiver; 2] = [Receiver::Nps, Receiver::Library];

    /// The section of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Receiver::Nps => "nps",
            Receiver::Library => "experience_library",
        }
    }
}

/// Where an item goes. Addresses and tokens are those of the settings at the time of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum Destination {
    /// `nps.url`
    Nps,
    /// `experience_library.url`, for the ratings of this experience.
    Library {
        /// Its name.
        experience: String,
    },
}

impl Destination {
    /// Whom it is for.
    pub fn receiver(&self) -> Receiver {
        match self {
            Destination::Nps => Receiver::Nps,
            Destination::Library { .. } => Receiver::Library,
        }
    }
}

/// Something to deliver, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Names it for ever: letters, digits and `-`. Also the file's name.
    pub key: String,
    /// Where it goes.
    pub destination: Destination,
    /// Not before this, in milliseconds since 1970.
    pub due_ms: u64,
    /// The JSON that is sent.
    pub body: Value,
}

/// Why an item was not taken.
#[derive(Debug)]
pub enum PutError {
    /// `outbox.max_records` or `outbox.max_bytes` is reached.
    Full,
    /// The disk does not take it.
    Disk(DirError),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full => f.write_str("the outbox is full (outbox.max_records, outbox.max_bytes)"),
            PutError::Disk(error) => write!(f, "{error}"),
        }
    }
}

/// Called each round, for the watchdog.
pub type Beat = Box<dyn Fn() + Send>;

/// Puts items in. Clones share the outbox.
#[derive(Clone)]
pub struct Outbox {
    spool: Arc<Spool>,
    bell: Sender<()>,
}

/// The outbox' thread.
pub struct OutboxThread {
    thread: JoinHandle<()>,
    bell: Sender<()>,
    stopping: Arc<AtomicBool>,
    live: Arc<Live>,
}

impl Outbox {
    /// Takes over what earlier runs left in `dir`, and starts delivering.
    pub fn start(dir: PrivateDir, live: Arc<Live>, beat: Beat) -> std::io::Result<(Outbox, OutboxThread)> {
        let spool = Spool::load(dir).map_err(std::io::Error::other)?;
        let (bell, rings) = crossbeam_channel::bounded(1);
        let (spool, stopping) = (Arc::new(spool), Arc::new(AtomicBool::new(false)));
        let postman = delivery::Postman::new(spool.clone(), live.clone(), stopping.clone(), beat);
        let builder = std::thread::Builder::new().name("outbox".into()).stack_size(STACK);
        let thread = builder.spawn(move || postman.run(&rings))?;
        let outbox = Outbox { spool, bell: bell.clone() };
        Ok((outbox, OutboxThread { thread, bell, stopping, live }))
    }

    /// Takes an item. When this returns `Ok`, it survives a crash. Two threads must not put the same key at once.
    pub fn put(&self, item: &Item, limits: Limits) -> Result<(), PutError> {
        self.spool.put(item, limits)?;
        let _ = self.bell.try_send(());
        Ok(())
    }

    /// Whether an item of this key waits.
    pub fn holds(&self, key: &str) -> bool {
        self.spool.holds(key)
    }

    /// How it is.
    pub fn figures(&self, now_ms: u64) -> Figures {
        self.spool.figures(now_ms)
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items.
    pub records: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

impl OutboxThread {
    /// Ends the thread after the attempt that it is at. What waits stays on disk.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.bell.try_send(());
        let patience = self.live.get().outbox.timeout + JOIN_MARGIN;
        join::within(self.thread, patience);
    }
}
