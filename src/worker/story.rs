//! What a session's record will say, and what an earlier run left of one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::fleet::parcel::Carried;
use crate::core::ids::SessionId;
use crate::core::records::rating::Given;
use crate::core::records::record::{Facts, Record};
use crate::core::session::timeline::Timeline;

/// What a session's record will say that its supervisor does not know.
#[derive(Debug, Default)]
pub struct Story {
    pub(super) connects: AtomicU32,
    told: Mutex<PageFacts>,
}

#[derive(Debug, Default)]
pub(super) struct PageFacts {
    pub(super) facts: Facts,
    pub(super) given: Option<Given>,
    /// At the workers before.
    pub(super) restarts: u32,
    /// Its file was begun.
    pub(super) begun: bool,
    /// Once it ended.
    pub(super) record: Option<Record>,
    /// It ended, and no controller has judged that yet: it may have gone on elsewhere while we were not heard.
    pub(super) held: bool,
    pub(super) debt: Debt,
}

/// What the disk has not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// The record, into the outbox.
    pub(super) record: bool,
    /// The session's file.
    pub(super) file: bool,
    /// The events that it is ready and that it ended, into the outbox.
    pub(super) ready_event: bool,
    pub(super) end_event: bool,
    /// The handle stands in the list of those that owe.
    pub(super) listed: bool,
}

impl Debt {
    /// Whether there is anything that the disk has not taken.
    pub(super) fn is_any(self) -> bool {
        let Debt { record, file, ready_event, end_event, listed: _ } = self;
        record || file || ready_event || end_event
    }
}

impl Story {
    /// A browser connected.
    pub fn connected(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the owner's browser connected.
    #[cfg(test)]
    pub fn connects(&self) -> u32 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Whether it ended and its record waits for a controller's word.
    pub fn is_held(&self) -> bool {
        self.told().held
    }

    /// What its pages told, and what the disk has not taken.
    pub(super) fn told(&self) -> MutexGuard<'_, PageFacts> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The story of a session that was at other workers before.
    pub fn after(carried: Carried) -> Story {
        let Carried { connects, restarts, facts, given, .. } = carried;
        let told = PageFacts { facts, given, restarts, ..PageFacts::default() };
        Story { connects: AtomicU32::new(connects), told: Mutex::new(told) }
    }

    /// The story of a session that an earlier run saw the end of.
    pub(super) fn past(record: Record, given: Option<Given>, debt: Debt, held: bool) -> Story {
        let told = PageFacts { given, begun: true, record: Some(record), held, debt, ..PageFacts::default() };
        Story { told: Mutex::new(told), ..Story::default() }
    }
}

/// A session that an earlier run left, within its ended window.
pub struct Remembered {
    /// Its record.
    pub record: Record,
    /// The outside URL of whom the create asked.
    pub base_url: String,
    /// The id of its link that only watches.
    pub view_id: Option<SessionId>,
    /// How long ago it ended.
    pub ended_ago: Duration,
    /// For its handle.
    pub story: Story,
    /// What happened to it, as far as that was written down.
    pub timeline: Timeline,
}
