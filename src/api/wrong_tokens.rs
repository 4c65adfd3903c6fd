//! How often an address may be wrong about a token before it is told to wait, in bounded memory.
//!
//! A right token is always taken, also from an address that was wrong too often: an operator behind the same address as an
//! attacker must not be locked out. What slows guessing is that a wrong token costs a request, and that every further one is
//! seen: it is counted and logged.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::core::limits::log_limit::LogLimit;
use crate::core::limits::rate_limit::{Rate, RateLimiter};
use crate::core::time::Moment;

/// A mistaken configuration tries a few times a minute; a person mistypes a few times in a row.
const RATE: Rate = Rate { burst: 20, every: Duration::from_secs(3) };

/// Addresses remembered. Beyond it, those that were wrong least are forgotten.
const CAPACITY: usize = 4096;

/// Lines about wrong tokens: a few at once, then one each ten seconds.
const LOG_BURST: u32 = 5;
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What addresses were wrong, and how often.
#[derive(Debug)]
pub struct WrongTokens {
    buckets: RateLimiter<IpAddr>,
    lines: LogLimit,
    count: u64,
}

/// What is to be done about a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The address was wrong too often and is told to wait for so long.
    pub wait: Option<Duration>,
    /// It is to be logged, and that so many others were not.
    pub line: Option<u64>,
}

impl Default for WrongTokens {
    fn default() -> WrongTokens {
        WrongTokens {
            buckets: RateLimiter::new(RATE, CAPACITY),
            lines: LogLimit::new(LOG_BURST, LOG_INTERVAL),
            count: 0,
        }
    }
}

impl WrongTokens {
    /// Notes one from `address`.
    pub fn note(&mut self, address: IpAddr, now: Moment) -> Noted {
        self.count = self.count.saturating_add(1);
        Noted { wait: self.buckets.take(now, &network_of(address)).err(), line: self.lines.allow(now) }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: one host has all of it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_is_wrong_too_often_waits_and_others_do_not() {
        let mut wrong = WrongTokens::default();
        let mut wait = |from: &str, at: u64| wrong.note(address(from), Moment(at)).wait;
        assert!((0..20).all(|_| wait("192.0.2.1", 0).is_none()));
        assert_eq!(wait("192.0.2.1", 0), Some(Duration::from_secs(3)));
        assert_eq!(wait("::ffff:192.0.2.1", 1_000), Some(Duration::from_secs(2)));
        assert_eq!(wait("192.0.2.2", 1_000), None);
        assert_eq!(wait("192.0.2.1", 3_000), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut wrong = WrongTokens::default();
        let mut waits = 0;
        for host in 0..100 {
            let from = address(&format!("2001:db8::{host:x}"));
            waits += usize::from(wrong.note(from, Moment(0)).wait.is_some());
        }
        assert_eq!((waits, wrong.count()), (80, 100));
        assert_eq!(wrong.note(address("2001:db8:0:1::1"), Moment(0)).wait, None);
    }

    #[test]
    fn memory_and_lines_are_bounded_whoever_tries() {
        let mut wrong = WrongTokens::default();
        let mut lines = 0;
        for number in 0..20_000u32 {
            let from = IpAddr::from(number.to_be_bytes());
            lines += usize::from(wrong.note(from, Moment(u64::from(number))).line.is_some());
            assert!(wrong.buckets.len() <= CAPACITY);
        }
        assert_eq!(lines, 5 + 1, "a burst, and one each ten seconds");
    }
}
