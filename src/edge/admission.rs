//! Who may connect: a cap for all, a cap per address, and a reserve for loopback so that health checks, local
//! proxies and the operator get through a flood.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Connections beyond the cap that only loopback peers may use.
pub const LOOPBACK_RESERVE: usize = 16;

/// Refused connections that may wait for their 503 to be read; more are closed at once.
const MAX_REFUSED: usize = 64;

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Served.
    Serve,
    /// Told to come back later.
    Refuse,
    /// Closed without a word.
    Drop,
}

#[derive(Default)]
struct Counts {
    served: usize,
    refused: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts connections. Touched at accept and close only.
pub struct Admission {
    limit: usize,
    per_address: usize,
    counts: Mutex<Counts>,
}

impl Admission {
    /// With these caps.
    pub fn new(limit: usize, per_address: usize) -> Admission {
        Admission { limit, per_address, counts: Mutex::default() }
    }

    /// Judges and counts a connection. `exempt`: the cap per address does not apply (trusted proxies, loopback).
    pub fn admit(&self, peer: IpAddr, exempt: bool) -> Verdict {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.limit + if peer.is_loopback() { LOOPBACK_RESERVE } else { 0 };
        let of_address = counts.by_address.get(&network_of(peer)).copied().unwrap_or(0);
        if counts.served < limit && (exempt || of_address < self.per_address) {
            counts.served += 1;
            if !exempt {
                *counts.by_address.entry(network_of(peer)).or_default() += 1;
            }
            Verdict::Serve
        } else if counts.refused < MAX_REFUSED {
            counts.refused += 1;
            Verdict::Refuse
        } else {
            Verdict::Drop
        }
    }

    /// A connection that was judged so is closed.
    pub fn release(&self, verdict: Verdict, peer: IpAddr, exempt: bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Verdict::Drop => {}
            Verdict::Refuse => counts.refused = counts.refused.saturating_sub(1),
            Verdict::Serve => {
                counts.served = counts.served.saturating_sub(1);
                if !exempt && let Some(count) = counts.by_address.get_mut(&network_of(peer)) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        counts.by_address.remove(&network_of(peer));
                    }
                }
            }
        }
    }
}

/// Whom caps and rates of one address are for: one IPv6 host has a whole /64.
pub fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn one_address_cannot_take_all() {
        let admission = Admission::new(10, 2);
        let got: Vec<_> = [A, A, A, B].into_iter().map(|peer| admission.admit(peer, false)).collect();
        assert_eq!(got, [Verdict::Serve, Verdict::Serve, Verdict::Refuse, Verdict::Serve]);
        admission.release(Verdict::Serve, A, false);
        assert_eq!(admission.admit(A, false), Verdict::Serve);
        assert_eq!(admission.admit(A, true), Verdict::Serve, "a trusted proxy is exempt");
    }

    #[test]
    fn loopback_gets_through_a_flood() {
        let admission = Admission::new(1, 100);
        assert_eq!(admission.admit(A, false), Verdict::Serve);
        assert_eq!(admission.admit(B, false), Verdict::Refuse);
        assert_eq!(admission.admit(LOOPBACK, true), Verdict::Serve);
    }
}
