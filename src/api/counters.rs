//! What the API counts.

use std::sync::Arc;
use std::time::Duration;

use crate::api::reply::Answer;
use crate::metrics::counter::{Histogram, Tally};
use crate::metrics::table::{CREATE_BOUNDS_MS, CREATE_STATUSES, LIMITS};

/// What is counted, of all threads together.
#[derive(Debug)]
pub struct ApiCounters {
    /// Answers to creates by status.
    pub creates: Tally,
    /// How long those took that gave a session.
    pub create_duration: Histogram,
    /// Limits that were met, by name; the edge's too.
    pub limits: Arc<Tally>,
}

impl Default for ApiCounters {
    fn default() -> ApiCounters {
        ApiCounters::beside(Arc::new(Tally::new(LIMITS)))
    }
}

impl ApiCounters {
    /// For an API behind an edge that counts limits there.
    pub fn beside(limits: Arc<Tally>) -> ApiCounters {
        let create_duration = Histogram::new(CREATE_BOUNDS_MS);
        ApiCounters { creates: Tally::new(CREATE_STATUSES), create_duration, limits }
    }

    /// An answer is sent: to a create, or to anything else, after so long.
    pub fn answered(&self, to_create: bool, answer: &Answer, after: Duration) {
        answer.limit.iter().for_each(|limit| self.limits.note(limit));
        if to_create {
            self.creates.note(&answer.status.to_string());
        }
        if to_create && answer.status == 201 {
            self.create_duration.observe(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_creates_count_as_creates_and_only_sessions_for_their_duration() {
        let counters = ApiCounters::default();
        let took = Duration::from_millis(300);
        counters.answered(true, &Answer::json(201, &()), took);
        counters.answered(true, &Answer::error(503, "worker is full", "x"), took);
        counters.answered(true, &Answer::error(418, "x", "x"), took);
        counters.answered(false, &Answer::json(201, &()), took);
        counters.answered(false, &Answer::over_limit(429, "x", "x", "webrtc.max_peers"), took);
        let seen = |tally: &Tally| tally.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(seen(&counters.creates), [("201", 1), ("503", 1), ("other", 1)]);
        assert_eq!(seen(&counters.limits), [("webrtc.max_peers", 1)]);
        assert_eq!(counters.create_duration.cumulated().last(), Some(&(None, 1)));
    }
}
