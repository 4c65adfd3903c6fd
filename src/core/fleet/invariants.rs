//! What must hold after every change. Checked in debug builds only: a violation is our bug, never bad input.

use super::Fleet;
use super::MAX_WORKERS;

impl Fleet {
    /// Panics when the books contradict themselves. Free in release builds.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        assert!(self.workers.len() <= MAX_WORKERS);
        self.ledger.check();
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
        for (id, reservation) in self.ledger.reservations() {
            assert!(reservation.tried.contains(&reservation.worker), "{id} is held where it has no turn");
        }
    }
}
