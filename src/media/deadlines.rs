//! When peers want to be looked at: a heap with lazy deletion. A peer that moves its deadline further away leaves the old
//! entry where it is; when that comes up, the peer puts itself in again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::media::ids::PeerId;

/// The heap of one thread.
#[derive(Debug, Default)]
pub struct Deadlines(BinaryHeap<Reverse<(Instant, PeerId)>>);

impl Deadlines {
    /// Adds an entry. At most one per peer is worth it; callers remember theirs.
    pub fn push(&mut self, at: Instant, peer: PeerId) {
        self.0.push(Reverse((at, peer)));
    }

    /// The earliest.
    pub fn next(&self) -> Option<Instant> {
        self.first().map(|(at, _)| at)
    }

    /// The earliest, with whose it is.
    pub fn first(&self) -> Option<(Instant, PeerId)> {
        self.0.peek().map(|Reverse(entry)| *entry)
    }

    /// Takes the earliest out if its time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, PeerId)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }
}
