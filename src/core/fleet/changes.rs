//! What has changed in the fleet since it was last asked, so that publishing it costs what changed and not what there is.
//!
//! The books note which workers and sessions were touched. [`Fleet::take_changes`] shows those anew, keeps the sums by taking
//! the old share of a worker out and adding the new one, and counts what it looked at: the tests hold that against the size of the
//! fleet.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use super::Fleet;
use super::moves::MoveCounts;
use super::views::{Counts, SessionView, WorkerView};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::time::Moment;

/// What was looked at since the start. It grows by the same amount for a heartbeat, however many other workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Workers.
    pub workers: u64,
    /// Sessions.
    pub sessions: u64,
    /// Routes that were changed.
    pub routes: u64,
    /// Entries that a debug build still owes a look of its checks.
    pub(super) unchecked: u64,
}

/// Counts [`Work`]. It prints nothing of it: looking at a fleet does not change what it is.
#[derive(Default)]
pub(super) struct Meter(Cell<Work>);

impl Meter {
    pub(super) fn read(&self) -> Work {
        self.0.get()
    }

    pub(super) fn set(&self, work: Work) {
        self.0.set(work);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// Where the links of a session lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its worker.
    pub worker: WorkerId,
    /// Its link that only watches.
    pub view_id: Option<SessionId>,
    /// Whether the worker can serve it.
    pub whereabouts: Whereabouts,
}

/// Whether a session is at its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is.
    #[default]
    Here,
    /// It is, as long as the worker is heard of: it is about to move.
    Leaving,
    /// It is on its way to another one.
    Between,
}

/// What has changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Workers that are not as they were, each with all its sessions by id.
    pub workers: Vec<(WorkerView, Vec<SessionView>)>,
    /// Workers that are no longer in the books.
    pub gone: Vec<WorkerId>,
    /// Sessions that appeared or went; `None`: nobody has it.
    pub routes: Vec<(SessionId, Option<Way>)>,
    /// The whole fleet in numbers. A worker's health is the one that was told last.
    pub counts: Counts,
    /// What became of moves.
    pub moves: MoveCounts,
}

/// The sums, and what each worker added to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    all: Counts,
    of: BTreeMap<WorkerId, Counts>,
}

impl Tally {
    fn set(&mut self, id: &WorkerId, share: Option<Counts>) {
        if let Some(before) = self.of.get(id) {
            self.all.take(before);
        }
        match share {
            Some(share) => {
                self.all.add(&share);
                self.of.insert(id.clone(), share);
            }
            None => {
                self.of.remove(id);
            }
        }
    }
}

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
