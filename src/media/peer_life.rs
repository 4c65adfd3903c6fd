//! The life of a WebRTC peer. Trouble is not the end: the browser may restart ICE within a grace.
//!
//! ```text
//!                 connected                   silence, or ICE disconnected
//!  Connecting ─────────────────▶ Live ────────────────────────────────────▶ Trouble
//!      │                          ▲        heard again, ICE connected          │
//!      │ connect limit            └────────────────────────────────────────────┤ grace
//!      ▼                                                                       ▼
//!    Gone(NeverConnected)                                                 Gone(Lost)
//! ```
//!
//! What is told to it from outside (closed, replaced, …) ends it at once and is no matter of this machine.

use std::time::Duration;

use crate::core::time::Moment;

/// How long each part may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the offer to the first connection. Checks may come late, from addresses nobody announced.
    pub connect: Duration,
    /// Without any datagram after which a connected peer is in trouble.
    pub silence: Duration,
    /// In trouble, after which it is lost.
    pub grace: Duration,
}

/// Where a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection yet.
    Connecting,
    /// Media may flow.
    Live,
    /// Was live; nothing arrives.
    Trouble,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// ICE and DTLS are done.
    Connected,
    /// A datagram of the peer arrived.
    Heard,
    /// ICE has a path.
    IceUp,
    /// ICE has no path.
    IceDown,
    /// Time passed.
    Tick,
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Live for the first time.
    Live,
    /// In trouble from now on.
    Trouble,
    /// Live again.
    Recovered,
    /// It never connected.
    NeverConnected,
    /// It stayed in trouble.
    Lost,
}

/// One peer's life.
#[derive(Clone, Debug)]
pub struct Life {
    limits: Limits,
    state: State,
    ice_up: bool,
    heard: Moment,
    /// Of the state.
    since: Moment,
}

impl Life {
    /// A peer that was offered `now`.
    pub fn new(limits: Limits, now: Moment) -> Life {
        Life { limits, state: State::Connecting, ice_up: false, heard: now, since: now }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event. After `NeverConnected` and `Lost` the peer is to be taken away.
    pub fn input(&mut self, now: Moment, event: Event) -> Option<Change> {
        match event {
            Event::Heard | Event::Connected => self.heard = self.heard.max(now),
            Event::IceUp => self.ice_up = true,
            Event::IceDown => self.ice_up = false,
            Event::Tick => {}
        }
        let silent = now.reached(self.heard + self.limits.silence);
        let over = |limit: Duration| now.reached(self.since + limit);
        let (next, change) = match self.state {
            State::Connecting if event == Event::Connected => (State::Live, Change::Live),
            State::Connecting if over(self.limits.connect) => return Some(Change::NeverConnected),
            State::Live if silent || event == Event::IceDown => (State::Trouble, Change::Trouble),
            State::Trouble if !silent && self.ice_up => (State::Live, Change::Recovered),
            State::Trouble if over(self.limits.grace) => return Some(Change::Lost),
            _ => return None,
        };
        (self.state, self.since) = (next, now);
        Some(change)
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Moment {
        match self.state {
            State::Connecting => self.since + self.limits.connect,
            State::Live => self.heard + self.limits.silence,
            State::Trouble => self.since + self.limits.grace,
        }
    }
}

/// From the offer to the first connection: a relay may take seconds, and so may a person's network.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Without a datagram of a connected peer after which it is in trouble: browsers check every 2.5 s. str0m's own notice takes 12 s
/// and more.
pub const SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const LIMITS: Limits = Limits { connect: secs(30), silence: secs(5), grace: secs(30) };

    fn life(events: &[(u64, Event)]) -> (Life, Vec<Option<Change>>) {
        let mut life = Life::new(LIMITS, Moment(0));
        let changes = events.iter().map(|(at, event)| life.input(Moment(*at), *event)).collect();
        (life, changes)
    }

    const UP: [(u64, Event); 2] = [(100, Event::IceUp), (200, Event::Connected)];

    #[test]
    fn a_peer_that_never_connects_goes_after_the_connect_limit() {
        let (life, changes) = life(&[(100, Event::Heard), (29_999, Event::Tick), (30_000, Event::Tick)]);
        assert_eq!(changes, [None, None, Some(Change::NeverConnected)]);
        assert_eq!(life.next_deadline(), Moment(30_000));
    }

    #[test]
    fn silence_is_trouble_and_the_first_datagram_ends_it() {
        let more =
            [(5_199, Event::Tick), (5_200, Event::Tick), (20_000, Event::Heard), (24_000, Event::Tick)];
        let (life, changes) = life(&[&UP[..], &more].concat());
        assert_eq!(
            changes[1..],
            [Some(Change::Live), None, Some(Change::Trouble), Some(Change::Recovered), None]
        );
        assert_eq!(life.next_deadline(), Moment(25_000));
    }

    #[test]
    fn without_an_ice_path_datagrams_do_not_end_trouble() {
        let more = [(1_000, Event::IceDown), (2_000, Event::Heard), (3_000, Event::IceUp)];
        let (_, changes) = life(&[&UP[..], &more].concat());
        assert_eq!(changes[2..], [Some(Change::Trouble), None, Some(Change::Recovered)]);
    }

    #[test]
    fn trouble_that_lasts_is_the_end() {
        let more = [(6_000, Event::Tick), (35_999, Event::Tick), (36_000, Event::Tick)];
        let (_, changes) = life(&[&UP[..], &more].concat());
        assert_eq!(changes[2..], [Some(Change::Trouble), None, Some(Change::Lost)]);
    }
}
