//! What the edge counts. The loops add, a scrape reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::counter::{Counter, Level, Tally};
use crate::metrics::table::LIMITS;

/// What a request is for, as far as its path shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteClass {
    /// The control API.
    Api,
    /// A scrape.
    Metrics,
    /// A session's page and all below it.
    Session,
    /// Rooms: signalling, and what is asked about them.
    Rooms,
    /// A page of ours, or nothing that there is.
    Page,
    /// A head that cannot be used.
    #[default]
    Malformed,
}

impl RouteClass {
    const ALL: [RouteClass; 6] = [
        RouteClass::Api,
        RouteClass::Metrics,
        RouteClass::Session,
        RouteClass::Rooms,
        RouteClass::Page,
        RouteClass::Malformed,
    ];

    /// Of a raw path.
    pub fn of(path: &str) -> RouteClass {
        match path {
            "/metrics" => RouteClass::Metrics,
            "/healthz" | "/readyz" => RouteClass::Api,
            path if path.starts_with("/api/") => RouteClass::Api,
            path if path.starts_with("/session/") => RouteClass::Session,
            path if path.starts_with("/v1/webrtc/") => RouteClass::Rooms,
            _ => RouteClass::Page,
        }
    }

    fn word(self) -> &'static str {
        match self {
            RouteClass::Api => "api",
            RouteClass::Metrics => "metrics",
            RouteClass::Session => "session",
            RouteClass::Rooms => "rooms",
            RouteClass::Page => "page",
            RouteClass::Malformed => "malformed",
        }
    }
}

/// Classes of a status.
const STATUSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Values of `failure`.
const FAILURES: &[&str] = &["unreachable", "broken"];

/// Values of `result` of a handshake.
const HANDSHAKES: &[&str] = &["done", "failed"];

/// What is wrong with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be connected to.
    Unreachable,
    /// What it says cannot be passed on, or comes to no end.
    Broken,
}

/// What is counted, of all loops together.
#[derive(Debug)]
pub struct Counters {
    /// Open connections.
    pub connections: Level,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Bytes from clients.
    pub received: Counter,
    /// Bytes to clients.
    pub sent: Counter,
    /// Open tunnels.
    pub tunnels: Level,
    /// Open event streams.
    pub event_streams: Level,
    /// Limits that were met, by name; the control API's too.
    pub limits: Arc<Tally>,
    /// TLS handshakes that came to an end.
    pub handshakes: Tally,
    /// Trouble with upstreams.
    pub failures: Tally,
    requests: [Tally; RouteClass::ALL.len()],
    max_connections: AtomicUsize,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            connections: Level::default(),
            accepted: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            tunnels: Level::default(),
            event_streams: Level::default(),
            limits: Arc::new(Tally::new(LIMITS)),
            handshakes: Tally::new(HANDSHAKES),
            failures: Tally::new(FAILURES),
            requests: RouteClass::ALL.map(|_| Tally::new(STATUSES)),
            max_connections: AtomicUsize::new(0),
        }
    }
}

impl Counters {
    /// A reply with this status begins.
    pub fn replied(&self, route: RouteClass, status: u16) {
        let class = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        if let Some(tally) = self.requests.get(route as usize) {
            tally.note(class);
        }
    }

    /// Replies by what was asked and class of the status.
    pub fn requests(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let routes = RouteClass::ALL.into_iter().zip(&self.requests);
        routes.flat_map(|(route, tally)| {
            tally.iter().map(move |(status, count)| ([route.word(), status], count))
        })
    }

    /// Something is wrong with an upstream.
    pub fn failed(&self, failure: Failure) {
        self.failures.note(match failure {
            Failure::Unreachable => "unreachable",
            Failure::Broken => "broken",
        });
    }

    /// A handshake with a client came to an end.
    pub fn shook_hands(&self, done: bool) {
        self.handshakes.note(if done { "done" } else { "failed" });
    }

    /// How many connections there may be.
    pub fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// An edge with this many starts.
    pub fn set_max_connections(&self, limit: usize) {
        self.max_connections.store(limit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 9 metrics: Replies are counted by what was asked and class of status, limits by the name
    // that the reply has, creates by status
    // Also: `every_limit_that_replies_name_is_counted_by_its_name`,
    // `what_is_asked_and_what_is_broken_is_counted_where_it_belongs`,
    // `only_creates_count_as_creates_and_only_sessions_for_their_duration`,
    // `words_that_are_not_in_the_list_count_for_the_last`,
    // `a_histogram_counts_up_to_each_bound_included`, `a_level_falls_when_what_it_counts_is_gone`
    #[test]
    fn replies_are_counted_by_what_was_asked_and_class_of_status() {
        let counters = Counters::default();
        for (path, status) in [
            ("/api/v1/health", 200),
            ("/metrics", 401),
            ("/session/abc/", 101),
            ("/session/abc/", 304),
            ("/v1/webrtc/signal", 101),
            ("/", 503),
            ("/metricsx", 404),
        ] {
            counters.replied(RouteClass::of(path), status);
        }
        counters.replied(RouteClass::default(), 400);
        let seen: Vec<_> = counters.requests().filter(|(_, count)| *count > 0).collect();
        let expected = [
            (["api", "2xx"], 1),
            (["metrics", "4xx"], 1),
            (["session", "1xx"], 1),
            (["session", "3xx"], 1),
            (["rooms", "1xx"], 1),
            (["page", "4xx"], 1),
            (["page", "5xx"], 1),
            (["malformed", "4xx"], 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!(counters.requests().count(), 30, "zeros are there from the start");
    }
}
