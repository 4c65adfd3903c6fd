//! A session's life as a pure state machine.
//!
//! ```text
//!  requested ──begin──▶ preparing ──prepared──▶ starting ──answered──▶ pairing ──paired──▶ ready
//!      │                    │                    │  ▲                     │              │  │
//!      │                    │                    │  │ crash, budget left  │   first browser  │
//!      │                    │                    │  └──────────◀──────────┼──── streaming ◀┘ │
//!      │                    │                    │                        │      │    ▲        │
//!      │                    │                    │                        │ last left  one came
//!      │                    │                    │                        │      ▼    │        │
//!      │                    │                    │                        │      idle           │
//!      └──── end, failure ──┴─── end, failure ───┴──── end, failure ──────┴──── end, time-out ──┘
//!                                       ▼
//!          ending: interrupt ──grace over──▶ kill ──exited──▶ clear the group ──▶ clean up ──▶ ended(reason)
//! ```
//!
//! A restart goes through `starting` again (clear the group → back-off → spawn) and from the first answer straight to
//! `ready` or `idle`: port, directory and pairing are kept.
//!
//! Owner: the session's supervisor thread. It feeds [`Event`]s with the time, carries out the [`Action`]s in order and
//! never changes a session otherwise. The machine never does anything itself, and ignores what does not fit its state,
//! because events race with each other by nature (an exit with a delete, say).

pub mod expiry;
mod failure;
pub mod headcount;
mod machine;
pub mod reason;
pub mod restart;
pub mod status;
#[cfg(test)]
mod tests;
pub mod timeline;

pub use failure::{Failure, FailureKind};
pub use machine::{Limits, Session};

use std::fmt;

use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

/// Where a session stands. The serialised forms are those of SPEC 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted; nothing happened yet.
    Requested,
    /// Directory, port and the child's configuration are being made.
    Preparing,
    /// The child is being started or restarted.
    Starting,
    /// The child answers; host, pairing and application are being settled.
    Pairing,
    /// A browser may come; none has yet.
    Ready,
    /// At least one browser is connected.
    Streaming,
    /// Browsers were here; none is now.
    Idle,
    /// Being taken down.
    Ending(EndReason),
    /// Nothing of it is left.
    Ended(EndReason),
}

impl Status {
    /// The name in the API and in logs.
    pub fn name(self) -> &'static str {
        SessionStatus::from(self).name()
    }

    /// Why it is ending or ended.
    pub fn reason(self) -> Option<EndReason> {
        match self {
            Status::Ending(reason) | Status::Ended(reason) => Some(reason),
            _ => None,
        }
    }
}

impl From<Status> for SessionStatus {
    fn from(status: Status) -> SessionStatus {
        match status {
            Status::Requested => SessionStatus::Requested,
            Status::Preparing => SessionStatus::Preparing,
            Status::Starting => SessionStatus::Starting,
            Status::Pairing => SessionStatus::Pairing,
            Status::Ready => SessionStatus::Ready,
            Status::Streaming => SessionStatus::Streaming,
            Status::Idle => SessionStatus::Idle,
            Status::Ending(_) => SessionStatus::Ending,
            Status::Ended(_) => SessionStatus::Ended,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The supervisor runs.
    Begin,
    /// Directory, port and configuration are there.
    Prepared,
    /// The child process exists.
    Spawned,
    /// The child answered a request on its port.
    Answered,
    /// Host, pairing and application are settled.
    Paired,
    /// A step of the start failed.
    Failed(Failure),
    /// The child exited by itself or by our signal; the text says how.
    Exited(String),
    /// The child lives and answers nothing; the text says for how long.
    Hung(String),
    /// Browsers connected now.
    Connections(u32),
    /// Somebody wants it to end.
    End(EndReason),
    /// No process of the session is left.
    GroupGone,
    /// Directory removed (or kept on purpose), port free.
    Cleaned,
    /// A deadline may have passed.
    Tick,
}

/// What the supervisor has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make directory, port and configuration; answers [`Event::Prepared`] or [`Event::Failed`].
    Prepare,
    /// Start the child; answers [`Event::Spawned`] or [`Event::Failed`].
    Spawn,
    /// Ask the child until it answers; answers [`Event::Answered`].
    Probe,
    /// Settle host, pairing and application; answers [`Event::Paired`] or [`Event::Failed`].
    Pair,
    /// Browsers may be let through to the child.
    Open,
    /// Browsers are shown "reconnecting".
    Suspend,
    /// Tell whoever asked for the session that it is ready.
    ReportReady,
    /// Tell whoever asked for the session why there will be none.
    ReportFailure(Failure),
    /// SIGINT to the process group.
    Interrupt,
    /// SIGKILL to everything of the session, group or not.
    Kill,
    /// Keep killing and reaping until nothing is left; answers [`Event::GroupGone`].
    Clear,
    /// Remove the directory, or keep it for its log; free the port; answers [`Event::Cleaned`].
    CleanUp {
        /// The child crashed: somebody will want its log.
        keep_log: bool,
    },
    /// Log a line with `ALERT`.
    Alert(String),
    /// The session is over.
    Finish(EndReason),
}
