//! Whether a worker is up, late or down: a pure function of when it was last heard.
//!
//! Nobody stores a worker's health; it is asked for a moment. What is stored is the last beat.
//!
//! ```text
//!            interval + half an interval           heartbeat_timeout
//! up ─────────────────────────────────────> late ─────────────────────> down
//!  ^                                         │                            │
//!  └──────────── an accepted beat ───────────┴────────────────────────────┘
//! ```

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::core::time::Moment;

/// Health of a worker (SPEC 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerHealth {
    /// Its beats arrive.
    Up,
    /// One beat is missing: it gets no new sessions, its sessions are still routed.
    Late,
    /// It was silent for `workers.heartbeat_timeout`: its sessions are reported as down.
    Down,
}

impl WorkerHealth {
    /// The word used in replies and logs.
    pub fn name(self) -> &'static str {
        match self {
            WorkerHealth::Up => "up",
            WorkerHealth::Late => "late",
            WorkerHealth::Down => "down",
        }
    }
}

impl fmt::Display for WorkerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges a worker last heard at `last_beat` that promised a beat every `interval`.
///
/// A beat counts as missed half an interval after it was due, so that jitter of the network is not taken for
/// trouble. `timeout` wins over `interval` when they contradict each other.
pub fn judge(now: Moment, last_beat: Moment, interval: Duration, timeout: Duration) -> WorkerHealth {
    let silence = now.since(last_beat);
    if silence >= timeout {
        WorkerHealth::Down
    } else if silence > interval.saturating_add(interval / 2) {
        WorkerHealth::Late
    } else {
        WorkerHealth::Up
    }
}

/// How long a worker waits between two beats, given a random number: up to a tenth less than its interval, never more, so that it is
/// not late. The first wait after the controller was away is anything up to the interval: workers that start together, after a
/// power cut, spread at once.
pub fn jittered(interval: Duration, is_first: bool, random: u32) -> Duration {
    let part = f64::from(random) / f64::from(u32::MAX);
    let least = if is_first { FIRST_AT_LEAST } else { NEXT_AT_LEAST };
    interval.mul_f64(least + (1.0 - least) * part)
}

/// Least share of an interval that a worker waits for its second beat, and for later ones.
const FIRST_AT_LEAST: f64 = 0.1;
const NEXT_AT_LEAST: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(silence_ms: u64) -> WorkerHealth {
        let last = Moment(1_000_000);
        let silence = Duration::from_millis(silence_ms);
        judge(last + silence, last, Duration::from_secs(10), Duration::from_secs(60))
    }

    // SPEC 4: A worker is up, late after one missed beat, down after `heartbeat_timeout`
    #[test]
    fn a_worker_is_late_after_one_missed_beat_and_down_after_the_timeout() {
        let expected = [
            (0, WorkerHealth::Up),
            (10_000, WorkerHealth::Up),
            (15_000, WorkerHealth::Up),
            (15_001, WorkerHealth::Late),
            (59_999, WorkerHealth::Late),
            (60_000, WorkerHealth::Down),
            (u64::MAX / 2, WorkerHealth::Down),
        ];
        for (silence, health) in expected {
            assert_eq!(after(silence), health, "after {silence} ms of silence");
        }
    }

    #[test]
    fn a_timeout_shorter_than_the_interval_still_means_down() {
        let health = judge(Moment(2_000), Moment(0), Duration::from_secs(10), Duration::from_secs(2));
        assert_eq!(health, WorkerHealth::Down);
    }

    #[test]
    fn beats_spread_and_are_never_late() {
        let interval = Duration::from_secs(10);
        let waits = |is_first| [0, u32::MAX / 2, u32::MAX].map(|random| jittered(interval, is_first, random));
        for (first, later) in waits(true).into_iter().zip(waits(false)) {
            assert!(first <= later && later <= interval, "{first:?} {later:?}");
            assert!(later >= interval * 9 / 10, "beats cost something: {later:?}");
        }
        let [earliest, middle, latest] = waits(true);
        assert!(
            middle - earliest > interval / 3 && latest - middle > interval / 3,
            "{earliest:?} {middle:?} {latest:?}"
        );
    }

    #[test]
    fn a_beat_from_the_future_is_up() {
        let health = judge(Moment(0), Moment(5_000), Duration::from_secs(10), Duration::from_secs(60));
        assert_eq!(health, WorkerHealth::Up);
    }
}
