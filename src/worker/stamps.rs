//! The worker's place in its own history, so that the controller can order what it hears ([`Stamp`]).
//!
//! Owner: the heartbeat thread, which takes the next number before it reads the board. Everybody else marks answers
//! with the number of the last beat begun.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::reply::Answer;
use crate::core::fleet::wire::{Generation, Stamp};

/// The field that carries a stamp: `BOOT_MS.NONCE.SEQ`.
pub const FIELD: &str = "Neck-Stamp";

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

    /// Begins a beat. Read the sessions after this, not before.
    pub fn begin(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.sequence.fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// The last beat begun.
    pub fn last(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.sequence.load(Ordering::SeqCst) }
    }

    /// Marks an answer about a session.
    pub fn mark(&self, answer: Answer) -> Answer {
        let Stamp { generation, seq } = self.last();
        answer.with(FIELD, format!("{}.{}.{seq}", generation.boot_ms, generation.nonce))
    }
}

/// Reads the field's value.
pub fn parse(value: &str) -> Option<Stamp> {
    let mut numbers = value.split('.').map(|part| part.parse::<u64>().ok());
    let (boot_ms, nonce, seq) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(Stamp { generation: Generation { boot_ms, nonce }, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let stamps = Stamps::new(Generation { boot_ms: 7, nonce: 9 });
        let begun = stamps.begin();
        let answer = stamps.mark(Answer::empty());
        assert_eq!(parse(&answer.headers[0].1), Some(begun));
        assert_eq!(parse("1.2"), None);
        assert_eq!(parse("1.2.3.4"), None);
        assert_eq!(parse("1.2.x"), None);
    }
}
