//! What has changed in the fleet, in what form it is told, and what looking for it cost.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use super::move_order::MoveCounts;
use super::views::{Counts, SessionView, WorkerView};
use crate::core::ids::{SessionId, WorkerId};

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
    pub(super) all: Counts,
    pub(super) of: BTreeMap<WorkerId, Counts>,
}

impl Tally {
    pub(super) fn set(&mut self, id: &WorkerId, share: Option<Counts>) {
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
