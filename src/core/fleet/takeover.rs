//! What a controller that begins to lead waits for before its first create.
//!
//! Until a moment ago another controller started sessions. Each worker refuses that one's creates as soon as it has heard of the new
//! lease's number, and its next heartbeat lists whatever it began before. So when every worker has sent a beat that tells the number, all sessions are known
//! and no old create can come after. Workers that are down are not waited for, as ever, and none longer than
//! a controller waits that has just started.

use super::wire::Heartbeat;
use super::{Fleet, SETTLING_BEATS, Takeover};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::WorkerId;
use crate::core::time::Moment;

impl Fleet {
    /// This controller leads from now on, with this number. It takes no create before [`Fleet::set_bodies`].
    pub fn take_over(&mut self, now: Moment, number: u64) {
        let until = now + self.settings.heartbeat_interval.saturating_mul(SETTLING_BEATS);
        let up = self.workers.iter().filter(|(_, worker)| self.health_of(now, worker) != WorkerHealth::Down);
        let waiting = up.map(|(id, _)| id.clone()).collect();
        self.takeover = Some(Takeover { number, until, waiting });
        self.bodies.lead(now, number);
    }

    /// This controller leads again with the number that it had: nobody has led in between.
    pub fn lead_on(&mut self, now: Moment, number: u64) {
        self.bodies.lead(now, number);
    }

    /// This controller leads no more.
    pub fn step_down(&mut self) {
        self.takeover = None;
        self.bodies.rest();
    }

    /// Workers that a new leader has not heard from since: a call tells them of it.
    pub fn unheard(&self) -> impl Iterator<Item = &WorkerId> {
        self.takeover.iter().flat_map(|takeover| &takeover.waiting)
    }

    /// Until when a new leader waits at most.
    pub(super) fn taking_over_until(&self, now: Moment) -> Option<Moment> {
        let takeover = self.takeover.as_ref()?;
        (!takeover.waiting.is_empty() && !now.reached(takeover.until)).then_some(takeover.until)
    }

    /// A beat was taken.
    pub(super) fn note_lease(&mut self, beat: &Heartbeat) {
        if let Some(takeover) = &mut self.takeover {
            // Workers of older versions know of no lease: whatever they tell now has to do.
            match beat.lease >= takeover.number || beat.clock_ms.is_none() {
                true => takeover.waiting.remove(&beat.worker_id),
                // One that was not heard of until now is waited for, too.
                false => takeover.waiting.insert(beat.worker_id.clone()),
            };
        }
    }

    /// Forgets a takeover that is over, and workers that went down meanwhile.
    pub(super) fn tidy_takeover(&mut self, now: Moment) {
        let Some(mut takeover) = self.takeover.take() else { return };
        takeover.waiting.retain(|id| self.health(now, id) != WorkerHealth::Down);
        if !now.reached(takeover.until) {
            self.takeover = Some(takeover);
        }
    }
}
