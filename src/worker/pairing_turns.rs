//! Whose turn it is to pair: at most so many at once, first come, first served.
//!
//! A pairing costs a processor most of a second (the stream process makes an RSA key), and the body waits for it no longer than some
//! seconds: ten at once on two cores are late together, two after two are not. What makes a pairing long instead is a body
//! that does not take its PIN, and that costs no processor: after [`COSTLY`] a pairing goes on without counting, so no
//! number of such bodies keeps others waiting.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Moment;

/// How long a pairing may need a processor: a key takes up to 770 ms of one, so 2.6 s on a third of one, and on a host that was
/// starved nine seconds were seen.
pub const COSTLY: Duration = Duration::from_secs(10);

/// Who stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The line, and who pairs.
#[derive(Debug, Default)]
pub struct PairingTurns {
    next: u64,
    line: VecDeque<Ticket>,
    pairing: Vec<(Ticket, Moment)>,
}

impl PairingTurns {
    /// Stands in line.
    pub fn enter(&mut self) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.line.push_back(ticket);
        ticket
    }

    /// Whether it may pair now; if so, it does from now on.
    pub fn take(&mut self, ticket: Ticket, at_once: usize, now: Moment) -> bool {
        if self.line.front() != Some(&ticket) || self.costly(now) >= at_once.max(1) {
            return false;
        }
        self.line.pop_front();
        self.pairing.push((ticket, now));
        true
    }

    /// It is done, or does not want to any more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.line.retain(|other| *other != ticket);
        self.pairing.retain(|(other, _)| *other != ticket);
    }

    fn costly(&self, now: Moment) -> usize {
        self.pairing.iter().filter(|(_, since)| !now.reached(*since + COSTLY)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_allowed_pair_at_once_and_in_their_order() {
        let mut turns = PairingTurns::default();
        let [first, second, third] = [turns.enter(), turns.enter(), turns.enter()];
        assert!(!turns.take(second, 2, Moment(0)), "the first is first");
        assert!(turns.take(first, 2, Moment(0)) && turns.take(second, 2, Moment(0)));
        assert!(!turns.take(third, 2, Moment(1)), "two pair");
        turns.leave(first);
        assert!(turns.take(third, 2, Moment(1)));
    }

    #[test]
    fn who_leaves_the_line_keeps_nobody_waiting() {
        let mut turns = PairingTurns::default();
        let [first, second] = [turns.enter(), turns.enter()];
        turns.leave(first);
        assert!(turns.take(second, 1, Moment(0)));
    }

    #[test]
    fn a_body_that_takes_no_pin_keeps_others_waiting_for_a_while_only() {
        let mut turns = PairingTurns::default();
        let [stuck, next] = [turns.enter(), turns.enter()];
        assert!(turns.take(stuck, 1, Moment(0)));
        assert!(!turns.take(next, 1, Moment(0) + COSTLY - Duration::from_millis(1)));
        assert!(turns.take(next, 1, Moment(0) + COSTLY));
    }

    #[test]
    fn a_limit_of_none_is_one() {
        let mut turns = PairingTurns::default();
        let only = turns.enter();
        assert!(turns.take(only, 0, Moment(0)));
    }
}
