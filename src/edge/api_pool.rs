//! The edge's bounded number of connections to the control API: who gets one, who waits, and what bodies may hold.
//!
//! ```text
//!  loop: head judged, body whole ─► enqueue ─► granted: a Permit ─► api_talk: one connection ─► Permit dropped
//!                                      └─ too long, client left: abandoned                          │
//!                                      ▲────────────── the next one is granted, its loop rung ──────┘
//! ```
//!
//! tiny_http behind the socket starts a thread per connection, ends the process where it cannot have one, and never accepts
//! again after one accept without a descriptor. So it sees no more connections at once than are reserved for it. No lock of a
//! slot is held while the queue's is taken.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::doorbell::Doorbell;
use super::late_reply::LateReplies;
pub use super::late_reply::{LateReply, REPLY_LATER_FIELD};
use crate::config::settings;
use crate::edge::api_queue::{ApiQueue, BodyBudget, Limits, Rank};

/// How the API's socket is reached: by this path, which is good as long as this lives.
pub type Way = Arc<dyn AsRef<Path> + Send + Sync>;

/// Queue, body budget and socket of one role's API.
pub struct ApiPool {
    queue: Mutex<ApiQueue<Arc<Slot>>>,
    budget: Mutex<BodyBudget>,
    socket: Mutex<Way>,
    late: Arc<LateReplies>,
    lost: AtomicBool,
}

impl ApiPool {
    /// For an API on this socket, which answers `anyone_at_once` requests of people without a token at once.
    pub fn new(settings: &settings::Edge, anyone_at_once: usize, socket: Way) -> Arc<ApiPool> {
        let at_once = settings.api_connections;
        let limits = Limits {
            waiting: settings.api_queue,
            at_once,
            slow_at_once: (at_once / 2).max(1),
            anyone_at_once: anyone_at_once.min(at_once / 4).max(1),
        };
        Arc::new(ApiPool {
            queue: Mutex::new(ApiQueue::new(limits)),
            budget: Mutex::new(BodyBudget::new(settings.body_budget)),
            socket: Mutex::new(socket),
            late: Arc::default(),
            lost: AtomicBool::default(),
        })
    }

    /// Where the API listens now.
    pub fn socket(&self) -> Way {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The API listens here from now on.
    pub fn moved_to(&self, socket: Way) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket;
        self.lost.store(false, Ordering::Release);
    }

    /// Nobody listens on the socket any more.
    pub fn report_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether that was reported since it last moved.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Where a reply may come later than its connection lasts, for a request of this rank.
    pub(super) fn reply_later(&self, rank: Rank, bell: Doorbell) -> Option<Arc<LateReply>> {
        (rank == Rank::Slow).then(|| self.late.open(bell))
    }

    /// Where the reply of this number is waited for.
    pub fn late_reply(&self, number: u64) -> Option<Arc<LateReply>> {
        self.late.find(number)
    }

    /// Takes a place in the queue; `None` when every one is taken.
    pub(super) fn enqueue(self: &Arc<ApiPool>, rank: Rank, bell: Doorbell) -> Option<Arc<Slot>> {
        let slot = Arc::new(Slot { state: Mutex::new(SlotState::Waiting), bell });
        let queued = self.queue().push(rank, slot.clone(), |waiting| waiting.is_waiting()).is_ok();
        self.grant();
        queued.then_some(slot)
    }

    /// Gives out what is free.
    fn grant(self: &Arc<ApiPool>) {
        loop {
            let next = self.queue().take_next();
            let Some((rank, slot)) = next else { return };
            // One that nobody waits for any more comes back by being dropped, which grants it to the next.
            slot.grant(Permit { pool: self.clone(), rank });
        }
    }

    /// Requests that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.queue().waiting()
    }

    /// Bytes of request bodies in memory.
    pub fn buffered(&self) -> u64 {
        self.budget().used()
    }

    fn queue(&self) -> MutexGuard<'_, ApiQueue<Arc<Slot>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, BodyBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one connection; given back when dropped.
pub(super) struct Permit {
    pool: Arc<ApiPool>,
    rank: Rank,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.queue().finished(self.rank);
        self.pool.grant();
    }
}

/// A part of the body budget; given back when dropped.
pub(super) struct Charge {
    pool: Arc<ApiPool>,
    rank: Rank,
    bytes: u64,
}

impl Charge {
    /// Of nothing yet.
    pub fn new(pool: Arc<ApiPool>, rank: Rank) -> Charge {
        Charge { pool, rank, bytes: 0 }
    }

    /// Takes more; `false` when the budget has not that much left.
    pub fn add(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let taken = self.pool.budget().take(self.rank, bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pool.budget().give_back(self.bytes);
        }
    }
}

enum SlotState {
    Waiting,
    Granted(Permit),
    /// The permit was taken, or nobody waits for it.
    Over,
}

/// A place in the queue.
pub(super) struct Slot {
    state: Mutex<SlotState>,
    bell: Doorbell,
}

impl Slot {
    /// The permit, once it is granted.
    pub fn permit(&self) -> Option<Permit> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, SlotState::Over) {
            SlotState::Granted(permit) => Some(permit),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Nobody waits for it any more.
    pub fn abandon(&self) {
        let old = std::mem::replace(&mut *self.state(), SlotState::Over);
        // Its lock is free again: a permit in there goes to the next one.
        drop(old);
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.state(), SlotState::Waiting)
    }

    fn grant(&self, permit: Permit) {
        let mut state = self.state();
        if matches!(*state, SlotState::Waiting) {
            *state = SlotState::Granted(permit);
            drop(state);
            self.bell.ring();
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
