//! Controllers that stand still for a while.

use super::*;

/// The longest that a controller stands still: longer than a worker may be silent.
const FREEZE_MS: u64 = 2 * TIMEOUT_MS;

impl Mail {
    /// The controller that it goes to.
    pub(super) fn to(&self) -> Option<usize> {
        match self {
            Mail::Beat(who, ..) | Mail::Created(who, ..) | Mail::Left(who, ..) | Mail::Taken(who, ..) => {
                Some(*who)
            }
            _ => None,
        }
    }
}

impl World {
    pub(super) fn stands_still(&self, who: usize) -> bool {
        self.now < self.controllers[who].frozen_until
    }

    /// What comes first whenever a controller runs.
    pub(super) fn wake(&mut self, who: usize) {
        if self.stands_still(who) {
            return;
        }
        let now = self.moment();
        let controller = &mut self.controllers[who];
        if let Some(still) = controller.fleet.runs(now) {
            self.sum.stood_still += 1;
            self.say(format!("{who} stood still for {} ms", still.as_millis()));
        }
        let controller = &mut self.controllers[who];
        let heard_nobody = (now.0 - controller.ran).min(controller.fleet.longest_look().as_millis() as u64);
        controller.ran = now.0;
        controller.silent.iter_mut().for_each(|silent| *silent += heard_nobody);
    }

    /// A controller stands still: its machine is paused, or has no time for it.
    pub(super) fn freeze(&mut self, who: usize) {
        let until = self.now + self.rng.within(1_000, FREEZE_MS);
        let frozen_until = &mut self.controllers[who].frozen_until;
        *frozen_until = until.max(*frozen_until);
        self.say(format!("{who} stands still until {until}"));
    }

    /// The leader, where it does anything.
    pub(super) fn acting_leader(&self) -> Option<usize> {
        self.leader.filter(|who| self.controllers[*who].leads.is_some() && !self.stands_still(*who))
    }

    /// A controller takes nobody for down to whom it did not listen for so long.
    pub(super) fn check_down(&self, who: usize) {
        let controller = &self.controllers[who];
        for worker in 0..WORKERS {
            let view = controller.fleet.worker(self.moment(), &name(worker));
            let is_down = view.is_some_and(|view| view.health == WorkerHealth::Down);
            let silent = controller.silent[worker];
            assert!(
                !is_down || silent + STEP_MS >= TIMEOUT_MS,
                "w{worker} is down for {who} after {silent} ms"
            );
        }
    }
}
