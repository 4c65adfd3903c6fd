//! A move to carry out, and what is remembered of moves.

use std::time::Duration;

use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::time::Moment;

/// A move to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveOrder {
    /// The session.
    pub session_id: SessionId,
    /// Its body.
    pub body: BodyAddr,
    /// The worker that has it, or had it.
    pub from: WorkerId,
    /// The worker that is to go on with it.
    pub to: WorkerId,
    /// Which copy it will be there.
    pub copy: u32,
    /// When this worker's turn began.
    pub begun: Moment,
    /// Its worker has to let it go first.
    pub leave: bool,
    /// For how long it has been there, and when it started to be.
    pub lived: Duration,
}

/// What became of moves, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveCounts {
    /// Sessions that arrived.
    pub moved: u64,
    /// Attempts at a worker that failed.
    pub failed: u64,
    /// Sessions that ended because no worker took them.
    pub given_up: u64,
    /// Moves that `sessions.move_limit` forbade.
    pub limited: u64,
}

/// What is remembered of a session's moves while it is in the books.
#[derive(Clone, Debug, Default)]
pub(super) struct MoveHistory {
    pub(super) begun: Vec<Moment>,
    /// The highest number of a copy that may have begun somewhere.
    pub(super) highest: u32,
    pub(super) retry_at: Option<Moment>,
    /// The limit was told.
    pub(super) limited: bool,
}
