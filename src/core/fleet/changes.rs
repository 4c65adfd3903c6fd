//! What has changed in the fleet since it was last asked, so that publishing it costs what changed and not what there is.
//!
//! The books note which workers and sessions were touched. [`Fleet::take_changes`] shows those anew, keeps the sums by taking
//! the old share of a worker out and adding the new one, and counts what it looked at: the tests hold that against the size of the
//! fleet.

use super::Fleet;
use super::views::{Counts, SessionView};
use crate::core::fleet::tally::{Changes, Way, Whereabouts, Work};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::time::Moment;

impl Fleet {
    /// What has changed since this was called last.
    pub fn take_changes(&mut self, now: Moment) -> Changes {
        let touched = self.ledger.take_touched();
        let mut changes = Changes::default();
        for id in touched.workers {
            let view = self.workers.get(&id).map(|worker| self.worker_view(now, &id, worker));
            self.tally.set(&id, view.as_ref().map(Counts::of));
            match view {
                Some(view) => changes.workers.push((view, self.sessions_of(now, &id))),
                None => changes.gone.push(id),
            }
        }
        changes.routes = touched
            .sessions
            .into_iter()
            .map(|id| (self.way_to(&id), id))
            .map(|(way, id)| (id, way))
            .collect();
        self.count_work(Work { routes: changes.routes.len() as u64, ..Work::default() });
        changes.counts = self.tally.all;
        changes.moves = self.move_counts();
        changes
    }

    /// What was looked at so far.
    pub fn work(&self) -> Work {
        self.work.read()
    }

    pub(super) fn count_work(&self, more: Work) {
        let done = self.work.read();
        self.work.set(Work {
            workers: done.workers.wrapping_add(more.workers),
            sessions: done.sessions.wrapping_add(more.sessions),
            routes: done.routes.wrapping_add(more.routes),
            unchecked: done.unchecked,
        });
    }

    fn sessions_of(&self, now: Moment, worker: &WorkerId) -> Vec<SessionView> {
        let mut ids = self.ledger.sessions_of(worker);
        ids.sort();
        ids.iter().filter_map(|id| self.session(now, id)).collect()
    }

    fn way_to(&self, id: &SessionId) -> Option<Way> {
        let session = self.ledger.session(id)?;
        let whereabouts = match self.ledger.moving(id) {
            _ if session.is_between() => Whereabouts::Between,
            None => Whereabouts::Here,
            Some(_) if session.is_live() => Whereabouts::Leaving,
            Some(_) => Whereabouts::Between,
        };
        Some(Way { worker: session.worker.clone(), view_id: session.brief.view_id.clone(), whereabouts })
    }
}
