//! Why a session ended: one closed list, used in logs, metrics, records and the overlay.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a session ended (SPEC 5). The serialised form is the reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// An operator or the calling service deleted it.
    Deleted,
    /// The person in front of the page left by the exit button.
    Quit,
    /// The stream process died more often than its restart budget allows.
    Crashed,
    /// No browser came within `sessions.connect_timeout` after it was ready.
    ConnectTimeout,
    /// No browser was connected for `sessions.idle_timeout` after one left.
    IdleTimeout,
    /// It ran for `sessions.max_duration`.
    MaxDuration,
    /// The body stopped answering.
    BodyLost,
    /// Its worker was drained and the drain's time was up.
    Drained,
    /// Its worker was told to stop at once.
    Shutdown,
    /// A newer session took the body over.
    Replaced,
    /// It never became ready.
    CreateFailed,
    /// It goes on at another worker.
    Moved,
}

impl EndReason {
    /// Every reason, in the order of SPEC 5.
    pub const ALL: [EndReason; 12] = [
        EndReason::Deleted,
        EndReason::Quit,
        EndReason::Crashed,
        EndReason::ConnectTimeout,
        EndReason::IdleTimeout,
        EndReason::MaxDuration,
        EndReason::BodyLost,
        EndReason::Drained,
        EndReason::Shutdown,
        EndReason::Replaced,
        EndReason::CreateFailed,
        EndReason::Moved,
    ];

    /// The reason code.
    pub const fn code(self) -> &'static str {
        match self {
            EndReason::Deleted => "deleted",
            EndReason::Quit => "quit",
            EndReason::Crashed => "crashed",
            EndReason::ConnectTimeout => "connect_timeout",
            EndReason::IdleTimeout => "idle_timeout",
            EndReason::MaxDuration => "max_duration",
            EndReason::BodyLost => "body_lost",
            EndReason::Drained => "drained",
            EndReason::Shutdown => "shutdown",
            EndReason::Replaced => "replaced",
            EndReason::CreateFailed => "create_failed",
            EndReason::Moved => "moved",
        }
    }

    /// Whether somebody wanted the session to end. On its way to another worker it ends only so: all else that happens to it there
    /// means that it did not arrive, and the next worker may have it.
    pub const fn is_wanted(self) -> bool {
        matches!(self, EndReason::Deleted | EndReason::Quit | EndReason::Replaced)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 5: Reason codes are one list everywhere
    // Also: `every_end_reason_has_words_in_every_language`,
    // `the_documented_reasons_are_the_reasons`
    #[test]
    fn the_serialised_form_is_the_reason_code() {
        for reason in EndReason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
    }
}
