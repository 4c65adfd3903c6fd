//! A controller that stood still: its machine was paused, or had no time for it.
//!
//! Silence tells something of a worker only while somebody listens. What a worker sends meanwhile waits in the sockets, or comes
//! again; but a controller that looks at its clock first finds that nobody was heard of for too long. It would take every worker for
//! down at once: give away the bodies of sessions that play, move those, and call an operator. So what it did not listen to is
//! not counted: the times at which somebody was heard, or something began that has a deadline, move on by as much as it stood still.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::Fleet;
use crate::core::time::Moment;

/// How often a fleet lets time pass ([`Fleet::tick`]), where workers beat every few seconds. It looks at every worker, so it must not come
/// with every heartbeat.
const TICK: Duration = Duration::from_secs(1);

impl Fleet {
    /// How often to call [`Fleet::tick`]: twice in an interval of heartbeats, so that no worker is late, and back, unseen.
    pub fn pace(&self) -> Duration {
        TICK.min(self.settings.heartbeat_interval / 2)
    }

    /// The longest between two looks of a controller that runs. What is longer, it stood still.
    pub fn longest_look(&self) -> Duration {
        2 * self.pace()
    }

    /// The controller runs at `now`: to be said before anything else that is done then, and each time that time is let pass. For how
    /// long it stood still since it was said last, if it did.
    pub fn runs(&mut self, now: Moment) -> Option<Duration> {
        let still = now.since(self.ran).saturating_sub(self.longest_look());
        self.ran = self.ran.max(now);
        if still.is_zero() {
            return None;
        }
        for (id, worker) in &mut self.workers {
            worker.last_beat = worker.last_beat + still;
            worker.heard = worker.heard + still;
            // Others judge it by its view.
            self.ledger.touch(id);
        }
        self.started = self.started + still;
        if let Some(takeover) = &mut self.takeover {
            takeover.until = takeover.until + still;
        }
        self.bodies.stood_still(still);
        self.ledger.stood_still(still);
        self.check_invariants();
        Some(still)
    }
}
