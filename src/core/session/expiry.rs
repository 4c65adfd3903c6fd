//! When a session ends by itself: nobody came, nobody came back, or its time is up.

use std::time::Duration;

use crate::core::session::reason::EndReason;
use crate::core::time::Moment;

/// The time-outs of a session that is ready.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// From ready to the first browser.
    pub connect_timeout: Duration,
    /// Without a browser after one left.
    pub idle_timeout: Duration,
    /// From ready to the end, whatever happens; `None` is off.
    pub max_duration: Option<Duration>,
}

/// Who is, or was, in front of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nobody yet; waiting since.
    Awaited(Moment),
    /// At least one browser.
    Here,
    /// Nobody any more; since.
    Gone(Moment),
}

impl Expiry {
    /// The next moment at which the session ends by itself, and why; `None` when nothing is due.
    pub fn next(&self, ready_since: Moment, presence: Presence) -> Option<(Moment, EndReason)> {
        let absent = match presence {
            Presence::Awaited(since) => Some((since + self.connect_timeout, EndReason::ConnectTimeout)),
            Presence::Gone(since) => Some((since + self.idle_timeout, EndReason::IdleTimeout)),
            Presence::Here => None,
        };
        let over = self.max_duration.map(|limit| (ready_since + limit, EndReason::MaxDuration));
        match (absent, over) {
            (Some(a), Some(b)) => Some(if b.0 <= a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(max: Option<u64>) -> Expiry {
        Expiry {
            connect_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(300),
            max_duration: max.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_session_nobody_came_to_ends_after_the_connect_timeout() {
        let next = expiry(None).next(Moment(1000), Presence::Awaited(Moment(1000)));
        assert_eq!(next, Some((Moment(121_000), EndReason::ConnectTimeout)));
    }

    #[test]
    fn a_watched_session_has_no_end_without_max_duration() {
        assert_eq!(expiry(None).next(Moment(0), Presence::Here), None);
    }

    #[test]
    fn max_duration_ends_a_watched_session() {
        let next = expiry(Some(60)).next(Moment(5), Presence::Here);
        assert_eq!(next, Some((Moment(60_005), EndReason::MaxDuration)));
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let next = expiry(Some(3600)).next(Moment(0), Presence::Gone(Moment(10)));
        assert_eq!(next, Some((Moment(300_010), EndReason::IdleTimeout)));
    }
}
