//! The outbox: records, ratings and events on their way to others, on disk until they are there (SPEC 9).
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
//! Items of one lane (events about one session, to one webhook) go one after the other, in the order in which they were put;
//! everything else overtakes what waits. Receivers take turns, so that one that is slow has no more than its share.
//!
//! What to try when, and what answers mean, is [`crate::outbox::policy`].

mod delivery;
pub mod figures;
pub mod policy;
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
use crate::config::settings::Settings;
use crate::core::webhook::{Event, HookId};
use crate::host::join;
use crate::host::private_dir::{DirError, PrivateDir};

use figures::Deliveries;
pub use figures::Figures;
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
    /// One of `webhooks`
    Webhook(HookId),
}

impl Receiver {
    /// The section of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Receiver::Nps => "nps",
            Receiver::Library => "experience_library",
            Receiver::Webhook(_) => "webhooks",
        }
    }

    /// Whether these settings say where it is.
    fn is_configured(self, settings: &Settings) -> bool {
        match self {
            Receiver::Nps => settings.nps.is_some(),
            Receiver::Library => settings.experience_library.is_some(),
            Receiver::Webhook(id) => settings.webhooks.iter().any(|hook| hook.id() == id),
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
    /// `webhooks[].url`, with an event.
    Webhook {
        /// Which of them.
        #[serde(with = "hook_text")]
        hook: HookId,
        /// The event's id.
        event: String,
    },
}

/// A webhook's id as text.
mod hook_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::core::webhook::HookId;

    pub fn serialize<S: Serializer>(id: &HookId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HookId, D::Error> {
        HookId::try_from(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl Destination {
    /// Whom it is for.
    pub fn receiver(&self) -> Receiver {
        match self {
            Destination::Nps => Receiver::Nps,
            Destination::Library { .. } => Receiver::Library,
            Destination::Webhook { hook, .. } => Receiver::Webhook(*hook),
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
    /// Waits for the items of this lane that were put before and have the same receiver.
    pub lane: Option<String>,
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

    /// Takes an event for every webhook that is told of its kind. Where it waits already, it stays as it is. When this returns
    /// `Ok`, it survives a crash; else it is to be told again, under the same id.
    pub fn tell(&self, event: &Event, settings: &Settings) -> Result<(), PutError> {
        for hook in settings.webhooks.iter().filter(|hook| hook.events.contains(&event.kind)) {
            let key = format!("{}-{}", event.id, hook.id());
            if self.holds(&key) {
                continue;
            }
            let destination = Destination::Webhook { hook: hook.id(), event: event.id.clone() };
            let (body, lane) = (event.body(settings.role), Some(event.subject.clone()));
            self.put(&Item { key, destination, due_ms: event.at_ms, lane, body }, Limits::of(settings))?;
        }
        Ok(())
    }

    /// What became of attempts.
    pub fn deliveries(&self) -> &Deliveries {
        self.spool.deliveries()
    }

    /// An item that waits is not to be sent. One that is just being sent may arrive.
    pub fn withdraw(&self, key: &str) {
        self.spool.withdraw(key);
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

impl Limits {
    /// `outbox.max_records`, `outbox.max_bytes`
    pub fn of(settings: &Settings) -> Limits {
        Limits { records: settings.outbox.max_records, bytes: settings.outbox.max_bytes }
    }
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
