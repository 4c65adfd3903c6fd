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
mod item;
pub mod policy;
mod spool;

pub use crate::outbox::item::{Beat, Destination, Item, Limits, PutError, Receiver};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::webhook::Event;
use crate::host::join;
use crate::host::private_dir::PrivateDir;

use figures::Deliveries;
pub use figures::Figures;
use spool::Spool;

/// Stack of the thread in bytes: JSON and an HTTP client.
const STACK: usize = 512 * 1024;

/// What joining the thread may take beyond the attempt that it is at.
const JOIN_MARGIN: Duration = Duration::from_secs(2);

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

impl OutboxThread {
    /// Ends the thread after the attempt that it is at. What waits stays on disk.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.bell.try_send(());
        let patience = self.live.get().outbox.timeout + JOIN_MARGIN;
        join::within(self.thread, patience);
    }
}
