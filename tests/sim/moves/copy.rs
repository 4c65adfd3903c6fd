//! A copy of a session at a worker of the simulations of moves.

use super::*;

/// A copy of a session, as it really is.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) body: BodyAddr,
    pub(super) number: u32,
    pub(super) began: u64,
    pub(super) state: State,
    /// It has ended, and no controller has judged that yet.
    pub(super) held: bool,
    pub(super) knew: Knew,
}

impl Copy {
    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, State::Ended(..))
    }

    pub(super) fn has_wanted_end(&self) -> bool {
        matches!(self.state, State::Ended(reason, _) if reason.is_wanted())
    }

    /// Whether somebody in front of its page can leave.
    pub(super) fn can_be_left(&self) -> bool {
        self.state == State::Ready || self.state == State::Starting && self.number > 0
    }
}
