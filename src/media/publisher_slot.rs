//! The one place of a stream for a publisher, and how it passes on: from one that left, or from one that vanished to the same
//! client that comes back.
//!
//! ```text
//!   free ──settle──▶ held by a number ──vacate: its end, its DELETE, or another takes over──▶ free
//! ```
//!
//! Who had the place keeps its number and nothing else: what it still sends, or its end that comes late, concerns nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::secret::Secret;
use crate::core::time::Moment;
use crate::media::ids::PeerId;
use crate::media::publisher_turn::Held;
use crate::media::view::{PeerView, Standing};

/// Somebody publishes already; whoever comes may ask again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(pub Duration);

/// No publisher has this number.
const NOBODY: u64 = 0;

/// Whose the place is.
#[derive(Debug, Default)]
pub struct PublisherSlot {
    holder: AtomicU64,
    last: AtomicU64,
    /// What others need to know of the holder. Locked from the judgement of an offer to its answer, so that of two that come at
    /// once one wins.
    known: Mutex<Option<Holder>>,
}

/// Who has it.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) number: u64,
    pub(super) peer: PeerId,
    pub(super) token: Secret,
    pub(super) view: Arc<PeerView>,
    pub(super) offered: Moment,
}

impl PublisherSlot {
    /// Whether somebody has it.
    pub fn is_taken(&self) -> bool {
        self.holder.load(Ordering::Acquire) != NOBODY
    }

    /// Whether the publisher of this number has it.
    pub fn is_held_by(&self, number: u64) -> bool {
        self.holder.load(Ordering::Acquire) == number
    }

    /// A number that nobody has had.
    pub fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes it when it is free.
    pub fn take(&self) -> Option<u64> {
        let number = self.next();
        let taken = self.holder.compare_exchange(NOBODY, number, Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| number)
    }

    /// It is the place of this number.
    pub fn settle(&self, number: u64) {
        self.holder.store(number, Ordering::Release);
    }

    /// It is free, if it was the place of this number.
    pub fn vacate(&self, number: u64) {
        let _ = self.holder.compare_exchange(number, NOBODY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Who has it; locked while an offer is judged.
    pub(super) fn known(&self) -> MutexGuard<'_, Option<Holder>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a publisher with this token has to wait; `None`: it may come now.
    pub(super) fn wait(
        &self,
        known: Option<&Holder>,
        token: &Secret,
        now: Moment,
        lasts: impl Fn(Standing) -> Duration,
    ) -> Option<Duration> {
        let number = self.holder.load(Ordering::Acquire);
        if number == NOBODY {
            return None;
        }
        let Some(holder) = known.filter(|holder| holder.number == number) else {
            return Some(lasts(Standing::Live));
        };
        let standing = holder.view.standing();
        let since = match standing {
            Standing::Connecting => holder.offered,
            Standing::Live | Standing::Trouble => holder.view.last_heard(),
            // Its thread is about to let go of it.
            Standing::Gone => return None,
        };
        let held = Held { quiet: now.since(since), lasts: lasts(standing) };
        held.wait(holder.token.matches(token.expose()))
    }
}
