//! The worker's place in its own history, so that the controller can order what it hears ([`Stamp`]).
//!
//! Owner: the heartbeat thread, which takes the next number before it reads the registry. All others mark responses
//! with the number of the last beat begun.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::reply::Answer;
use crate::core::fleet::wire::{Generation, STAMP_FIELD, Stamp};

/// Counts heartbeats.
#[derive(Debug)]
pub struct Stamps {
    generation: Generation,
    sequence: AtomicU64,
}

impl Stamps {
    /// No beat begun yet.
    pub fn new(generation: Generation) -> Stamps {
        Stamps { generation, sequence: AtomicU64::new(0) }
    }

    /// Begins a beat. Read the sessions and rooms after this, not before.
    pub fn begin(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.sequence.fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// The last beat begun.
    pub fn last(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.sequence.load(Ordering::SeqCst) }
    }

    /// Marks an answer about a session or a room.
    pub fn mark(&self, answer: Answer) -> Answer {
        answer.with(STAMP_FIELD, self.last().to_string())
    }
}
