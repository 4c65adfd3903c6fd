//! Which of a stream process's helpers (`streamer`) serve a page, and which were left behind.
//!
//! Each signalling socket starts one. It ends some time after its page, but not always: one whose page left before the two
//! were connected stays until the stream process ends. Sockets and helpers do not name each other, only their times are
//! known: a helper belongs to the youngest socket that was opened before it and has none yet.
//!
//! A lost socket is no page that left: its picture may go on. So a helper is left behind when its page said that it goes, or long
//! after its socket closed, and then only while nobody watches without a socket.

use std::time::Duration;

use crate::core::time::Moment;

/// The stream process itself ends a helper 62 s after its page: what lives longer is left behind.
pub const GRACE: Duration = Duration::from_secs(70);

/// A page says that it goes while its socket closes, a little earlier or later. Its helper may go as soon as that is certain.
pub const FAREWELL: Duration = Duration::from_secs(3);

/// Start times have 10 ms, and two clocks are compared.
const SLACK: Duration = Duration::from_millis(100);

/// What is remembered of sockets and farewells; helpers of older sockets count as those of unknown ones.
const MAX_KEPT: usize = 256;

/// A signalling socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    number: u64,
    opened: Moment,
    closed: Option<Moment>,
}

/// The sockets of one session, and when its pages said that they go.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    next: u64,
    sockets: Vec<Socket>,
    farewells: Vec<Moment>,
}

impl Sockets {
    /// Whether there was never one.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// A socket opens; the number that it is closed by.
    pub fn open(&mut self, now: Moment) -> u64 {
        self.next += 1;
        if self.sockets.len() >= MAX_KEPT {
            let oldest = self.sockets.iter().position(|socket| socket.closed.is_some()).unwrap_or(0);
            self.sockets.remove(oldest);
        }
        self.sockets.push(Socket { number: self.next, opened: now, closed: None });
        self.next
    }

    /// This socket is closed.
    pub fn close(&mut self, number: u64, now: Moment) {
        let socket = self.sockets.iter_mut().find(|socket| socket.number == number);
        socket.into_iter().for_each(|socket| socket.closed = Some(now));
    }

    /// A page says that it goes.
    pub fn farewell(&mut self, now: Moment) {
        if self.farewells.len() >= MAX_KEPT {
            self.farewells.remove(0);
        }
        self.farewells.push(now);
    }

    /// Which of the helpers that started then, oldest first, were left behind. `blind`: somebody watches without a socket.
    pub fn left_behind(&self, now: Moment, started: &[Moment], blind: bool) -> Vec<bool> {
        let mut free = self.sockets.clone();
        let closed = started.iter().map(|start| match owner(&mut free, *start) {
            Some(socket) => socket.closed,
            None => Some(*start),
        });
        closed.map(|closed| closed.is_some_and(|at| self.is_over(now, at, blind))).collect()
    }

    fn is_over(&self, now: Moment, closed: Moment, blind: bool) -> bool {
        let said = self.farewells.iter().any(|at| at.since(closed).max(closed.since(*at)) <= FAREWELL);
        said && now.reached(closed + FAREWELL) || !blind && now.reached(closed + GRACE)
    }
}

/// Takes the socket of a helper that started then out of those that have none yet.
fn owner(free: &mut Vec<Socket>, start: Moment) -> Option<Socket> {
    let fits = |socket: &Socket| {
        start.reached(socket.opened - SLACK)
            && socket.closed.is_none_or(|closed| closed.reached(start - SLACK))
    };
    let at = free.iter().rposition(fits)?;
    Some(free.remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    #[test]
    fn a_helper_goes_with_its_page_and_the_next_pages_stays() {
        let mut sockets = Sockets::default();
        let first = sockets.open(Moment(0));
        sockets.farewell(Moment(10 * SECOND));
        sockets.close(first, Moment(10 * SECOND + 40));
        sockets.open(Moment(11 * SECOND));
        let started = [Moment(200), Moment(11 * SECOND + 200)];
        assert_eq!(sockets.left_behind(Moment(12 * SECOND), &started, true), [false, false]);
        assert_eq!(sockets.left_behind(Moment(14 * SECOND), &started, true), [true, false]);
    }

    #[test]
    fn a_lost_socket_alone_costs_no_picture() {
        let mut sockets = Sockets::default();
        let only = sockets.open(Moment(0));
        sockets.close(only, Moment(60 * SECOND));
        let after = Moment(60 * SECOND) + GRACE;
        assert_eq!(sockets.left_behind(after, &[Moment(100)], true), [false], "somebody watches");
        assert_eq!(sockets.left_behind(after - Duration::from_millis(1), &[Moment(100)], false), [false]);
        assert_eq!(sockets.left_behind(after, &[Moment(100)], false), [true]);
    }

    #[test]
    fn of_forty_reloads_one_helper_is_left() {
        let mut sockets = Sockets::default();
        let mut started = Vec::new();
        for load in 0..40 {
            let opened = Moment(load * SECOND);
            let number = sockets.open(opened);
            started.push(opened + Duration::from_millis(150));
            if load < 39 {
                sockets.farewell(opened + Duration::from_millis(900));
                sockets.close(number, opened + Duration::from_millis(950));
            }
        }
        let left = sockets.left_behind(Moment(50 * SECOND), &started, false);
        assert_eq!(left.iter().filter(|left| **left).count(), 39);
        assert_eq!(left.last(), Some(&false), "the last one's page is there");
    }

    #[test]
    fn no_number_of_sockets_grows_it() {
        let mut sockets = Sockets::default();
        for second in 0..2000 {
            let number = sockets.open(Moment(second));
            sockets.close(number, Moment(second));
            sockets.farewell(Moment(second));
        }
        assert_eq!((sockets.sockets.len(), sockets.farewells.len()), (MAX_KEPT, MAX_KEPT));
    }
}
