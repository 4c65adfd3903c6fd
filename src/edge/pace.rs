//! How fast requests of one address may come: token buckets, shared by the loops.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::core::limits::fair_share::network_of;
use crate::core::limits::rate_limit::{Rate, RateLimiter};
use crate::core::time::Moment;

/// Addresses remembered. Beyond it those that sent least are forgotten, which is lenient to them only.
const CAPACITY: usize = 8192;

/// The buckets; `None` when there is no limit.
pub struct Pace(Option<Mutex<RateLimiter<IpAddr>>>);

impl Pace {
    /// This many requests a second; 0: no limit.
    pub fn new(per_second: u32) -> Pace {
        let rate = Rate::of_requests(per_second);
        Pace(rate.map(|rate| Mutex::new(RateLimiter::new(rate, CAPACITY))))
    }

    /// Counts a request, or says how long until the next one may come.
    pub fn take(&self, now: Moment, peer: IpAddr) -> Result<(), Duration> {
        let Some(buckets) = &self.0 else { return Ok(()) };
        buckets.lock().unwrap_or_else(PoisonError::into_inner).take(now, &network_of(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_send_ten_seconds_worth_at_once_and_others_are_not_held_up() {
        let pace = Pace::new(2);
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!((0..25).filter(|_| pace.take(Moment(0), a).is_ok()).count(), 20);
        assert_eq!(pace.take(Moment(0), a), Err(Duration::from_millis(500)));
        assert_eq!(pace.take(Moment(0), b), Ok(()));
        assert_eq!(pace.take(Moment(500), a), Ok(()));
    }

    #[test]
    fn all_of_an_ipv6_network_is_one_address_and_zero_is_no_limit() {
        let pace = Pace::new(1);
        let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
        assert_eq!((0..20).filter(|host| pace.take(Moment(0), of(*host)).is_ok()).count(), 10);
        let off = Pace::new(0);
        assert!((0..20).all(|host| off.take(Moment(0), of(host)).is_ok()));
    }
}
