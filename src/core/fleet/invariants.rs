//! What must hold after every change. Checked in debug builds only: a violation is our bug, never bad input.

use super::{Fleet, Work};

/// Entries of the books that are looked through after every change. Larger books are looked through less often, so that a change
/// costs no more in a large fleet than in a small one.
const CHECKED_EACH_TIME: u64 = 512;

impl Fleet {
    /// Panics when the books contradict themselves. Free in release builds.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) || !self.is_check_due() {
            return;
        }
        self.ledger.check();
        for (id, worker) in &self.workers {
            let (offer, taken) = (worker.offer(), self.ledger.taken(id));
            assert_eq!(self.ledger.offer(id), Some((offer, taken)), "{id} has another rank than its slots");
        }
        for id in self.failures.keys() {
            assert!(self.workers.contains_key(id), "failures of {id}, which nobody knows");
        }
        for session in self.ledger.sessions() {
            assert!(
                self.workers.contains_key(&session.worker),
                "{} is on a worker nobody knows",
                session.brief.id
            );
        }
        for (id, to) in self.moves() {
            assert!(self.workers.contains_key(to), "{id} moves to a worker nobody knows");
        }
        for (id, reservation) in self.ledger.reservations() {
            assert!(reservation.tried.contains(&reservation.worker), "{id} is held where it has no turn");
        }
    }

    fn is_check_due(&self) -> bool {
        let size = (self.workers.len() + self.ledger.len()) as u64;
        let unchecked = self.work.read().unchecked + CHECKED_EACH_TIME;
        let is_due = unchecked >= size;
        self.work.set(Work { unchecked: if is_due { 0 } else { unchecked }, ..self.work.read() });
        is_due
    }
}
