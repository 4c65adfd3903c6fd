//! Which worker gets a new session (SPEC 4). A pure choice among candidates; it changes nothing.
//!
//! Among workers that are up, not draining and not full: one with WireGuard before one without, when the body
//! needs it; then the lowest share of its slots taken, compared exactly; then the fewest taken; then the id.

use std::cmp::Ordering;
use std::fmt;

use crate::config::settings::Network;
use crate::core::ids::{BodyAddr, WorkerId};
use crate::core::worker_health::WorkerHealth;

/// What the choice sees of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name, the last tie-break.
    pub id: &'a WorkerId,
    /// Only `Up` is chosen.
    pub health: WorkerHealth,
    /// No new sessions there: an operator drains it or it is stopping.
    pub draining: bool,
    /// Slots taken: live sessions and reservations.
    pub taken: u32,
    /// Slots in all.
    pub max: u32,
    /// Whether it has a WireGuard interface.
    pub wireguard: bool,
}

/// Why no worker can take a session: how many were ruled out for what. Its text is the detail of the 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NobodyFits {
    /// Late or down.
    pub not_up: usize,
    /// Draining or stopping.
    pub draining: usize,
    /// Every slot taken.
    pub full: usize,
}

impl fmt::Display for NobodyFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.not_up, self.draining, self.full) {
            (0, 0, 0) => {
                f.write_str("no worker is known: start one, or check its controller.url and controller.token")
            }
            (n, 0, 0) => {
                write!(f, "no worker is up ({n} not heard from): check the workers and their network")
            }
            (0, n, 0) => write!(f, "every worker is draining ({n}): undrain one or add a worker"),
            (0, 0, n) => write!(f, "every worker is full ({n}): retry later or add a worker"),
            (down, draining, full) => {
                write!(f, "no worker is free: {full} full, {draining} draining, {down} not heard from")
            }
        }
    }
}

impl std::error::Error for NobodyFits {}

/// Whether `body` is reached over WireGuard.
pub fn needs_wireguard(body: BodyAddr, wireguard_networks: &[Network]) -> bool {
    wireguard_networks.iter().any(|network| network.contains(body.ip()))
}

/// Chooses the worker for a session, or says why nobody fits.
pub fn choose<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    needs_wireguard: bool,
) -> Result<&'a WorkerId, NobodyFits> {
    let mut nobody = NobodyFits::default();
    let mut best: Option<Candidate<'a>> = None;
    for candidate in candidates {
        if !fits(&candidate, &mut nobody) {
            continue;
        }
        if best.is_none_or(|best| order(&candidate, &best, needs_wireguard) == Ordering::Less) {
            best = Some(candidate);
        }
    }
    best.map(|candidate| candidate.id).ok_or(nobody)
}

/// Whether the candidate may be chosen at all; if not, why not is counted.
fn fits(candidate: &Candidate<'_>, nobody: &mut NobodyFits) -> bool {
    if candidate.health != WorkerHealth::Up {
        nobody.not_up += 1;
    } else if candidate.draining {
        nobody.draining += 1;
    } else if candidate.taken >= candidate.max {
        nobody.full += 1;
    } else {
        return true;
    }
    false
}

/// `Less` is the better one.
fn order(a: &Candidate<'_>, b: &Candidate<'_>, needs_wireguard: bool) -> Ordering {
    let lacks = |c: &Candidate<'_>| needs_wireguard && !c.wireguard;
    // a.taken / a.max < b.taken / b.max without rounding: both products fit in 64 bits.
    let share = (u64::from(a.taken) * u64::from(b.max)).cmp(&(u64::from(b.taken) * u64::from(a.max)));
    lacks(a).cmp(&lacks(b)).then(share).then(a.taken.cmp(&b.taken)).then(a.id.cmp(b.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    fn up(id: &WorkerId, taken: u32, max: u32) -> Candidate<'_> {
        Candidate { id, health: WorkerHealth::Up, draining: false, taken, max, wireguard: true }
    }

    #[test]
    fn the_lowest_share_wins_then_the_fewest_then_the_id() {
        let (a, b) = (id("a"), id("b"));
        assert_eq!(choose([up(&a, 3, 10), up(&b, 1, 4)], false), Ok(&b), "1/4 is less than 3/10");
        assert_eq!(choose([up(&b, 2, 10), up(&a, 1, 5)], false), Ok(&a), "same share, fewer sessions");
        assert_eq!(choose([up(&b, 1, 5), up(&a, 1, 5)], false), Ok(&a), "all the same: by id");
    }

    #[test]
    fn shares_are_compared_exactly_even_for_huge_workers() {
        let (a, b) = (id("a"), id("b"));
        let nearly = up(&a, u32::MAX - 1, u32::MAX);
        let less = up(&b, u32::MAX - 2, u32::MAX - 1);
        assert_eq!(choose([nearly, less], false), Ok(&b));
    }

    #[test]
    fn a_full_late_or_draining_worker_is_skipped() {
        let (a, b) = (id("a"), id("b"));
        let fine = up(&b, 4, 5);
        for bad in [
            up(&a, 5, 5),
            up(&a, 0, 0),
            Candidate { health: WorkerHealth::Late, ..up(&a, 0, 5) },
            Candidate { health: WorkerHealth::Down, ..up(&a, 0, 5) },
            Candidate { draining: true, ..up(&a, 0, 5) },
        ] {
            assert_eq!(choose([bad, fine], false), Ok(&b), "{bad:?}");
        }
    }

    #[test]
    fn a_worker_without_wireguard_comes_last_for_bodies_that_need_it() {
        let (a, b) = (id("a"), id("b"));
        let without = Candidate { wireguard: false, ..up(&a, 0, 10) };
        let busy = up(&b, 9, 10);
        assert_eq!(choose([without, busy], true), Ok(&b));
        assert_eq!(choose([without, busy], false), Ok(&a), "a body that does not need it");
        assert_eq!(choose([without, up(&b, 10, 10)], true), Ok(&a), "last is not never");
    }

    #[test]
    fn which_bodies_need_wireguard_is_by_network() {
        let networks = [Network { address: "10.10.0.0".parse().unwrap(), prefix: 16 }];
        for (body, needed) in [("10.10.4.2", true), ("::ffff:10.10.4.2", true), ("10.11.0.1", false)] {
            assert_eq!(needs_wireguard(body.parse().unwrap(), &networks), needed, "{body}");
        }
    }

    #[test]
    fn the_refusal_says_what_to_do() {
        let (a, b) = (id("a"), id("b"));
        let text = |candidates: Vec<Candidate<'_>>| choose(candidates, false).unwrap_err().to_string();
        assert!(text(vec![]).contains("no worker is known"));
        assert!(text(vec![up(&a, 1, 1), up(&b, 2, 2)]).contains("every worker is full (2)"));
        assert!(text(vec![Candidate { draining: true, ..up(&a, 0, 1) }]).contains("draining (1)"));
        assert!(
            text(vec![Candidate { health: WorkerHealth::Down, ..up(&a, 0, 1) }])
                .contains("no worker is up (1")
        );
        let mixed = text(vec![up(&a, 1, 1), Candidate { health: WorkerHealth::Late, ..up(&b, 0, 1) }]);
        assert!(mixed.contains("1 full, 0 draining, 1 not heard from"), "{mixed}");
    }
}
