//! What a worker counts of its sessions. Their owners add as it happens, a scrape reads.

use crate::api::types::{DEFAULT_ENGINE, DEMO_ENGINE};
use crate::metrics::counter::{Counter, Histogram, Tally};
use crate::metrics::table::{END_REASONS, PAIRING_BOUNDS_MS};

/// Values of `engine`.
const ENGINES: &[&str] = &[DEFAULT_ENGINE, DEMO_ENGINE, "ffmpeg"];

/// Values of `candidate`.
const CANDIDATES: &[&str] = &["host", "srflx", "prflx", "relay", "none", "other"];

/// Values of `stars`.
const STARS: &[&str] = &["1", "2", "3", "4", "5"];

/// Since the start.
#[derive(Debug)]
pub struct SessionCounters {
    /// Sessions that were begun, by engine.
    pub created: Tally,
    /// Sessions that ended, by reason.
    pub ended: Tally,
    /// Restarts of their processes.
    pub restarts: Counter,
    /// How long pairing took, without the wait for its turn.
    pub pairing: Histogram,
    /// Times a page lost its stream and got it back.
    pub interruptions: Counter,
    /// Ended sessions by the type of their path.
    pub paths: Tally,
    /// First ratings.
    pub ratings: Tally,
}

impl Default for SessionCounters {
    fn default() -> SessionCounters {
        SessionCounters {
            created: Tally::new(ENGINES),
            ended: Tally::new(END_REASONS),
            restarts: Counter::default(),
            pairing: Histogram::new(PAIRING_BOUNDS_MS),
            interruptions: Counter::default(),
            paths: Tally::new(CANDIDATES),
            ratings: Tally::new(STARS),
        }
    }
}
