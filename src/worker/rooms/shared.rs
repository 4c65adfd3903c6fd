//! What the thread `rooms` and everybody else share: its mailbox, and what it publishes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::core::namespaces::state::RoomLimits;
use crate::core::namespaces::wire::RoomBrief;
use crate::core::rooms::ids::MemberId;
use crate::core::rooms::registry::{MediaEvent, Refusal, RoomKey};
use crate::host::wake::Wake;

/// Events of one member that may wait. Levels and data beyond are dropped: they are many, and the next ones come.
const MAX_BACKLOG: usize = 512;

/// How much is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Rooms, empty ones included.
    pub rooms: usize,
    /// Members of all of them.
    pub members: u32,
    /// Signalling connections, with those that have not joined.
    pub connections: usize,
    /// Members whose connection is broken.
    pub detached: usize,
}

/// What the thread is told.
pub enum Message {
    /// Of a member's media.
    Media(MemberId, MediaEvent),
    /// Make a room.
    Create {
        /// Which.
        key: RoomKey,
        /// Its bounds.
        limits: RoomLimits,
        /// Whether it is new.
        reply: Sender<Result<bool, Refusal>>,
    },
    /// End a room.
    Close {
        /// Which.
        key: RoomKey,
        /// Whether it was there.
        reply: Sender<bool>,
    },
    /// We end soon.
    Drain {
        /// Why.
        reason: String,
        /// How long members have.
        timeout: Duration,
    },
    /// We go on after all.
    Resume,
    /// End the thread.
    Stop,
}

/// The two ends.
pub struct Shared {
    /// Rings when there is mail.
    pub wake: Wake,
    mail: Sender<Message>,
    rung: AtomicBool,
    rooms: RwLock<Arc<Vec<RoomBrief>>>,
    connections: AtomicUsize,
    detached: AtomicUsize,
}

impl Shared {
    /// With this mailbox.
    pub fn new(mail: Sender<Message>) -> std::io::Result<Shared> {
        Ok(Shared {
            wake: Wake::new()?,
            mail,
            rung: AtomicBool::new(false),
            rooms: RwLock::default(),
            connections: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
        })
    }

    /// Puts something into the mailbox. Nothing happens once the thread has ended.
    pub fn tell(&self, message: Message) {
        let _ = self.mail.send(message);
        self.ring();
    }

    /// Wakes the thread, once for all that is put in until it looks.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake.ring();
        }
    }

    /// The thread looks.
    pub fn answer_bell(&self) {
        self.wake.clear();
        self.rung.store(false, Ordering::Release);
    }

    /// What is there now.
    pub fn publish(&self, rooms: Vec<RoomBrief>, connections: usize, detached: usize) {
        *self.rooms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rooms);
        self.connections.store(connections, Ordering::Release);
        self.detached.store(detached, Ordering::Release);
    }

    /// As it was published last.
    pub fn rooms(&self) -> Arc<Vec<RoomBrief>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As it was published last.
    pub fn counts(&self) -> RoomCounts {
        let rooms = self.rooms();
        RoomCounts {
            rooms: rooms.len(),
            members: rooms.iter().map(|room| room.peers).sum(),
            connections: self.connections.load(Ordering::Acquire),
            detached: self.detached.load(Ordering::Acquire),
        }
    }
}

/// What of one member waits in the mailbox.
#[derive(Debug, Default)]
pub struct Backlog(AtomicUsize);

impl Backlog {
    /// Whether this event may be put in; it counts then.
    pub fn admits(&self, event: &MediaEvent) -> bool {
        let may_be_lost = matches!(event, MediaEvent::Level(..) | MediaEvent::Data { .. });
        if may_be_lost && self.0.load(Ordering::Acquire) >= MAX_BACKLOG {
            return false;
        }
        self.0.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// One was taken out.
    pub fn taken(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
