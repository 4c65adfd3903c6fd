//! Deadlines of one loop: a heap with lazy deletion. Moving a deadline later costs nothing; the entry finds out
//! when it fires.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slab::Key;
use crate::core::time::Moment;

/// The heap.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Moment, Key)>>,
}

impl Timers {
    /// Wakes `key` at `at`.
    pub fn push(&mut self, at: Moment, key: Key) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next wake-up.
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one wake-up that is due.
    pub fn pop_due(&mut self, now: Moment) -> Option<(Moment, Key)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if !now.reached(*at) {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}
