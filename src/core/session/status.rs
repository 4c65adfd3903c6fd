//! Where a session is in its life: one closed list, used on the wire, in replies and in logs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// State of a session (SPEC 5), as others see it. The serialised form is the word in replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Asked for, nothing begun.
    Requested,
    /// Its port, directory and configuration are being made.
    Preparing,
    /// Its process starts.
    Starting,
    /// The body is being paired.
    Pairing,
    /// Its page can be opened.
    Ready,
    /// A browser is connected.
    Streaming,
    /// A browser was connected and left.
    Idle,
    /// It is being taken down; its process may still live.
    Ending,
    /// It is over, nothing of it is left.
    Ended,
    /// Only a controller says this: its worker is not heard from.
    Down,
    /// Only a controller says this: it is on its way from one worker to another.
    Moving,
    /// A newer worker used a word that we do not know. It counts as living.
    #[serde(other)]
    Unknown,
}

impl SessionStatus {
    /// What a session of a worker can be while it has not ended.
    pub const OF_WORKERS: [SessionStatus; 8] = [
        SessionStatus::Requested,
        SessionStatus::Preparing,
        SessionStatus::Starting,
        SessionStatus::Pairing,
        SessionStatus::Ready,
        SessionStatus::Streaming,
        SessionStatus::Idle,
        SessionStatus::Ending,
    ];

    /// The word in replies.
    pub fn name(self) -> &'static str {
        match self {
            SessionStatus::Requested => "requested",
            SessionStatus::Preparing => "preparing",
            SessionStatus::Starting => "starting",
            SessionStatus::Pairing => "pairing",
            SessionStatus::Ready => "ready",
            SessionStatus::Streaming => "streaming",
            SessionStatus::Idle => "idle",
            SessionStatus::Ending => "ending",
            SessionStatus::Ended => "ended",
            SessionStatus::Down => "down",
            SessionStatus::Moving => "moving",
            SessionStatus::Unknown => "unknown",
        }
    }

    /// Whether its create has succeeded and it is not on its way out.
    pub fn is_ready(self) -> bool {
        matches!(self, SessionStatus::Ready | SessionStatus::Streaming | SessionStatus::Idle)
    }

    /// Whether the session holds a slot and its body: everything but `ended`.
    pub fn is_live(self) -> bool {
        self != SessionStatus::Ended
    }
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serialised_form_is_the_word() {
        for status in [SessionStatus::Requested, SessionStatus::Streaming, SessionStatus::Ended] {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
    }

    #[test]
    fn a_word_of_a_newer_worker_counts_as_living() {
        let status: SessionStatus = serde_json::from_str("\"levitating\"").unwrap();
        assert_eq!(status, SessionStatus::Unknown);
        assert!(status.is_live());
    }
}
