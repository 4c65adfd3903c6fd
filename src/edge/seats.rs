//! Served connections as admission sees them: what each is doing, and which gives its place to a new one.
//!
//! A connection without a request under way needs its place less than one that has something to ask. So when the cap is met, one of
//! them goes: first who waits to be closed, then who is kept alive, then who has not sent all of a head or a body. Of those alike
//! it is one of the network that holds most, and of these the one that has waited longest.
//!
//! ```text
//!  Arriving ── a head ─► Busy ◄─┬─ body is here ── Sending
//!     ▲                   │     └── a head ─────── Idle
//!     └── first bytes ── Idle ◄── reply is sent ───┘
//!                                                       any of them but Busy ── the cap is met ─► pushed out
//! ```
//!
//! A connection's loop says what it is doing, in one atomic word; whoever pushes out does so by the same word. So a connection
//! whose request has begun cannot be pushed out, and neither side waits for the other.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::doorbell::Doorbell;
use crate::core::time::Moment;

/// Seats that are looked at for one new connection. The next look begins where this one ended, so that a flood costs no more
/// than this each time, and all are looked at in turn.
const LOOK_AT: usize = 256;

/// Looks for one new connection, while all who were looked at are busy, or the one that was chosen has just become so.
const LOOKS: usize = 4;

/// What a connection is doing. Who comes first gives way first; who arrives and who sends are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has been told all, and waits for the client to close.
    Leaving,
    /// It is kept alive between two requests.
    Idle,
    /// It has not sent a whole head yet.
    Arriving,
    /// It sends a request's body, or is slow to take the last words.
    Sending,
    /// It has a request under way, a tunnel, or an event stream: it gives way to nobody.
    Busy,
}

/// Who has sent a head and no whole body has waited this much longer than who has said nothing yet: a request that is just arriving
/// is not to go for one that comes in drops.
const HANDICAP_MS: u64 = 1_000;

/// Bits of the word that say what the connection is doing; the rest is since when.
const DOING_BITS: u32 = 3;
const DOING_MASK: u64 = (1 << DOING_BITS) - 1;
const PUSHED_OUT: u64 = DOING_MASK;

fn word(doing: Doing, since: Moment) -> u64 {
    since.0 << DOING_BITS | doing as u64
}

/// In which turn it gives way, and since when it waits for that; `None`: it is busy, or gone already.
fn gives_way(word: u64) -> Option<(u8, u64)> {
    let turns = [
        (Doing::Leaving, 0, 0),
        (Doing::Idle, 1, 0),
        (Doing::Arriving, 2, 0),
        (Doing::Sending, 2, HANDICAP_MS),
    ];
    let found = turns.into_iter().find(|(doing, ..)| *doing as u64 == word & DOING_MASK);
    found.map(|(_, turn, handicap)| (turn, (word >> DOING_BITS).saturating_sub(handicap)))
}

/// A served connection's place.
#[derive(Debug)]
pub struct Seat {
    word: AtomicU64,
    index: usize,
    bell: OnceLock<Doorbell>,
}

impl Seat {
    /// A request begins. `false`: the connection was pushed out, and the request was never read.
    pub fn occupy(&self) -> bool {
        self.note(Doing::Busy, Moment(0))
    }

    /// What the connection is doing, as its loop sees it. `false`: it was pushed out.
    pub fn note(&self, doing: Doing, since: Moment) -> bool {
        let (old, new) = (self.word.load(Ordering::Relaxed), word(doing, since));
        // Only its loop changes the word but for pushing it out: then it stays as it is.
        old == new
            || old & DOING_MASK != PUSHED_OUT
                && self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// It has to go.
    pub fn is_pushed_out(&self) -> bool {
        self.word.load(Ordering::Acquire) & DOING_MASK == PUSHED_OUT
    }

    /// How its loop is told.
    pub fn hang(&self, bell: Doorbell) {
        // A connection has one loop and one key: the first bell stays.
        let _ = self.bell.set(bell);
    }

    /// Tells its loop. Without a bell its loop looks when it gets the connection.
    pub fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

struct Taken {
    seat: Arc<Seat>,
    network: Option<IpAddr>,
}

/// All seats.
#[derive(Default)]
pub struct Seats {
    all: Vec<Option<Taken>>,
    free: Vec<usize>,
    hand: usize,
}

impl Seats {
    /// A new connection, which counts for this network.
    pub fn take(&mut self, network: Option<IpAddr>) -> Arc<Seat> {
        let index = self.free.pop().unwrap_or(self.all.len());
        // It is the youngest of those that arrive, until its loop says since when.
        let word = AtomicU64::new(word(Doing::Arriving, Moment(u64::MAX >> DOING_BITS)));
        let seat = Arc::new(Seat { word, index, bell: OnceLock::new() });
        let taken = Some(Taken { seat: seat.clone(), network });
        match self.all.get_mut(index) {
            Some(place) => *place = taken,
            None => self.all.push(taken),
        }
        seat
    }

    /// Whether the connection has its seat still.
    pub fn has(&self, seat: &Arc<Seat>) -> bool {
        let taken = self.all.get(seat.index).and_then(Option::as_ref);
        taken.is_some_and(|taken| Arc::ptr_eq(&taken.seat, seat))
    }

    /// From now on it counts for this network.
    pub fn count_for(&mut self, seat: &Arc<Seat>, network: Option<IpAddr>) {
        if self.has(seat)
            && let Some(Some(taken)) = self.all.get_mut(seat.index)
        {
            taken.network = network;
        }
    }

    /// Gives a seat back. `false`: it was pushed out, so that somebody else has it.
    pub fn give_back(&mut self, seat: &Arc<Seat>) -> bool {
        let has = self.has(seat);
        if has {
            self.remove(seat.index);
        }
        has
    }

    fn remove(&mut self, index: usize) -> Option<Taken> {
        let taken = self.all.get_mut(index)?.take()?;
        self.free.push(index);
        Some(taken)
    }

    /// Takes a seat from whoever needs it least, and says for whom it counted; the connection's loop is to be told. `held_by`: how many
    /// a network holds. `None`: everybody who was looked at is busy.
    pub fn push_out(&mut self, held_by: impl Fn(&IpAddr) -> usize) -> Option<(Arc<Seat>, Option<IpAddr>)> {
        (0..LOOKS).find_map(|_| self.look(&held_by))
    }

    fn look(&mut self, held_by: &impl Fn(&IpAddr) -> usize) -> Option<(Arc<Seat>, Option<IpAddr>)> {
        let count = self.all.len();
        let order = |index: usize| {
            let taken = self.all.get(index)?.as_ref()?;
            let word = taken.seat.word.load(Ordering::Acquire);
            let held = || taken.network.as_ref().map_or(0, held_by);
            gives_way(word).map(|(turn, since)| ((turn, Reverse(held()), since), index, word))
        };
        let looked_at = (0..LOOK_AT.min(count)).map(|step| (self.hand + step) % count);
        let found = looked_at.filter_map(order).min();
        self.hand = (self.hand + LOOK_AT.min(count)).checked_rem(count).unwrap_or(0);
        let (_, index, word) = found?;
        let seat = &self.all.get(index)?.as_ref()?.seat;
        // Its request may have begun since.
        seat.word.compare_exchange(word, PUSHED_OUT, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.remove(index).map(|taken| (taken.seat, taken.network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(host: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, host]))
    }

    fn take(seats: &mut Seats, host: u8, doing: Doing, since: u64) -> Arc<Seat> {
        let seat = seats.take(network(host));
        assert!(seat.note(doing, Moment(since)));
        seat
    }

    #[test]
    fn who_needs_a_seat_least_gives_it_up_first_and_who_is_busy_never() {
        let mut seats = Seats::default();
        let busy = take(&mut seats, 1, Doing::Busy, 1);
        let order = [
            take(&mut seats, 1, Doing::Leaving, 90),
            take(&mut seats, 1, Doing::Idle, 10),
            take(&mut seats, 1, Doing::Idle, 80),
            take(&mut seats, 1, Doing::Sending, 5_000),
            take(&mut seats, 1, Doing::Sending, 5_900),
            take(&mut seats, 1, Doing::Arriving, 5_000),
            seats.take(network(1)),
        ];
        for (number, expected) in order.iter().enumerate() {
            let (seat, whose) = seats.push_out(|_| 1).expect("somebody gives way");
            assert!(Arc::ptr_eq(&seat, expected), "number {number}: {seat:?}");
            assert!(whose == network(1) && seat.is_pushed_out() && !seats.give_back(&seat));
            assert!(!seat.occupy() && !seat.note(Doing::Idle, Moment(0)), "it is too late for a request");
        }
        assert!(seats.push_out(|_| 1).is_none() && seats.give_back(&busy));
    }

    #[test]
    fn of_those_alike_one_of_the_network_that_holds_most_goes() {
        let mut seats = Seats::default();
        let _honest = take(&mut seats, 1, Doing::Idle, 0);
        let greedy = take(&mut seats, 2, Doing::Idle, 50);
        let held_by = |network: &IpAddr| if *network == IpAddr::from([192, 0, 2, 2]) { 40 } else { 1 };
        assert!(seats.push_out(held_by).is_some_and(|(seat, _)| Arc::ptr_eq(&seat, &greedy)));
    }

    #[test]
    fn a_seat_is_used_again_and_the_old_holder_does_not_give_it_back() {
        let mut seats = Seats::default();
        let old = take(&mut seats, 1, Doing::Idle, 0);
        assert!(seats.push_out(|_| 0).is_some());
        let new = take(&mut seats, 2, Doing::Busy, 0);
        assert_eq!((old.index, seats.all.len()), (new.index, 1));
        assert!(!seats.give_back(&old) && seats.has(&new));
    }

    #[test]
    fn a_few_are_looked_at_each_time_and_all_in_turn() {
        let mut seats = Seats::default();
        let _busy: Vec<_> = (0..4 * LOOK_AT).map(|_| take(&mut seats, 1, Doing::Busy, 0)).collect();
        let idle = take(&mut seats, 2, Doing::Idle, 0);
        let looks = (0..6).position(|_| seats.push_out(|_| 0).is_some());
        assert!(looks.is_some_and(|looks| looks <= 4), "{looks:?}");
        assert!(idle.is_pushed_out());
    }
}
