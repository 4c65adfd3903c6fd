//! Who may connect: a cap for all, a share per address, a reserve for whoever has few connections, one for loopback, so that
//! health checks and local proxies get through a flood, and one for operators.
//!
//! ```text
//!  accept ──▶ Served: counts for its address ── proves that it is our controller's ──▶ Served: counts for nobody
//!     │ no place
//!     └─────▶ OnTrial: may send one head ──┬─ with the admin token ──▶ Operator
//!                │                         ├─ with the controller's proof ──▶ Served: counts for nobody
//!                │                         └─ else, or silent ──▶ Refused: told which limit was met
//!                └─ pushed out by others ──▶ closed
//! ```
//!
//! A connection is counted before it says anything, so an operator cannot be told from a flood at accept. The trial is the way
//! out: few connections at once, a moment each, and the oldest of the address that has most of them leaves for a new one.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::acceptor::Doorbell;
use super::router::Reply;
use crate::core::fair_share::{FairShare, Refused, Share, Sizes, network_of};

/// Connections beyond the cap that only loopback peers may use.
pub const LOOPBACK_RESERVE: usize = 16;

/// Connections beyond all others that only operators may use.
pub const OPERATOR_RESERVE: usize = 16;

/// When a client that met a limit may ask again.
const SOON: Duration = Duration::from_secs(1);

/// Connections on trial at once.
const MAX_ON_TRIAL: usize = 32;

/// How long a trial may last: a handshake over a long way, and a head.
pub const TRIAL: Duration = Duration::from_secs(2);

/// Refused connections that may take their time to read why; more stay on trial, where they can be pushed out.
const MAX_REFUSED: usize = 32;

/// Connections that have heard their last reply and wait for the client to close, beyond the cap: they take no place from whoever
/// has something to ask. More of them do not wait.
const MAX_LEAVING: usize = 32;

/// A limit of connections that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// `edge.max_connections`
    All,
    /// `edge.max_connections_per_address`
    OfAddress,
}

impl ConnectionLimit {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionLimit::All => "edge.max_connections",
            ConnectionLimit::OfAddress => "edge.max_connections_per_address",
        }
    }

    /// The answer.
    pub fn reply(self) -> Reply {
        match self {
            ConnectionLimit::All => {
                Reply::over_limit(503, "too many connections are open; ask again", self.name(), SOON)
            }
            ConnectionLimit::OfAddress => Reply::over_limit(
                429,
                "this address has as many connections open as one address may have",
                self.name(),
                SOON,
            ),
        }
    }
}

/// A connection's place.
#[derive(Debug)]
pub enum Place {
    /// Served; counts for this network, or for nobody.
    Served(Option<IpAddr>),
    /// Served if its first head says why.
    OnTrial(Arc<Trial>),
    /// Served while an operator sends on it.
    Operator,
    /// Told to come back later, which it may take a moment to read.
    Refused(ConnectionLimit),
    /// Served to the end; it may take a moment to read that.
    Leaving,
}

/// A connection on trial.
#[derive(Debug)]
pub struct Trial {
    limit: ConnectionLimit,
    network: IpAddr,
    pushed_out: AtomicBool,
    bell: OnceLock<Doorbell>,
}

impl Trial {
    /// Why it is on trial.
    pub fn limit(&self) -> ConnectionLimit {
        self.limit
    }

    /// It has to leave for another one.
    pub fn is_pushed_out(&self) -> bool {
        self.pushed_out.load(Ordering::Acquire)
    }

    /// How its loop is told.
    pub fn hang(&self, bell: Doorbell) {
        // A connection has one loop and one key: the first bell stays.
        let _ = self.bell.set(bell);
    }

    fn push_out(&self) {
        self.pushed_out.store(true, Ordering::Release);
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

/// What a request shows about whoever sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// A good admin token.
    pub operator: bool,
    /// A controller's good proof.
    pub controller: bool,
}

struct Counts {
    served: FairShare<IpAddr>,
    operators: usize,
    on_trial: VecDeque<Arc<Trial>>,
    refused: usize,
    leaving: usize,
}

/// Counts connections. Touched at accept, at close, and by requests that change a connection's place.
pub struct Admission {
    limit: usize,
    per_address: usize,
    counts: Mutex<Counts>,
}

impl Admission {
    /// With these caps. However high that per address is, it leaves half of all to others.
    pub fn new(limit: usize, per_address: usize) -> Admission {
        let reserve = LOOPBACK_RESERVE + Sizes::of(limit).reserve;
        let counts = Counts {
            served: FairShare::new(Sizes { capacity: limit + LOOPBACK_RESERVE, reserve }),
            operators: 0,
            on_trial: VecDeque::new(),
            refused: 0,
            leaving: 0,
        };
        Admission { limit, per_address: per_address.min(limit.div_ceil(2)), counts: Mutex::new(counts) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges and counts a connection. `exempt`: it counts for no address (trusted proxies, loopback).
    pub fn admit(&self, peer: IpAddr, exempt: bool) -> Place {
        let network = network_of(peer);
        let mut counts = self.counts();
        let key = (!exempt).then_some(network);
        let Err(limit) = self.serve(&mut counts, key, peer.is_loopback()) else {
            return Place::Served(key);
        };
        let (bell, pushed_out) = (OnceLock::new(), AtomicBool::new(false));
        let trial = Arc::new(Trial { limit, network, pushed_out, bell });
        let leaves = counts.make_room_on_trial();
        counts.on_trial.push_back(trial.clone());
        drop(counts);
        leaves.iter().for_each(|trial| trial.push_out());
        Place::OnTrial(trial)
    }

    fn serve(&self, counts: &mut Counts, key: Option<IpAddr>, loopback: bool) -> Result<(), ConnectionLimit> {
        if !loopback && counts.served.held() >= self.limit {
            return Err(ConnectionLimit::All);
        }
        let share = key.map(|key| Share { key, most: self.per_address });
        counts.served.take(share.as_slice()).map_err(|refused| match refused {
            Refused::Share(_) => ConnectionLimit::OfAddress,
            Refused::Full => ConnectionLimit::All,
        })
    }

    /// Moves a connection to the place that its request has a right to. An error: it has to go, the limit says why.
    pub fn review(&self, place: &mut Place, shown: Shown) -> Result<(), ConnectionLimit> {
        match (&*place, shown) {
            (Place::Served(None), _) | (Place::Operator, Shown { operator: true, .. }) => return Ok(()),
            (Place::Served(Some(_)), Shown { controller: false, .. }) => return Ok(()),
            (Place::Operator, _) => return Err(ConnectionLimit::All),
            (Place::Refused(limit), _) => return Err(*limit),
            (Place::Leaving, _) => return Err(ConnectionLimit::All),
            (Place::Served(Some(_)) | Place::OnTrial(_), _) => {}
        }
        let mut counts = self.counts();
        counts.leave(place);
        let room = counts.served.held() < self.limit;
        let (new, verdict) = match (&*place, shown) {
            (Place::Served(_), _) => (Place::Served(None), Ok(())),
            (_, Shown { controller: true, .. }) if room => (Place::Served(None), Ok(())),
            (_, Shown { operator: true, .. }) if counts.operators < OPERATOR_RESERVE => {
                (Place::Operator, Ok(()))
            }
            (Place::OnTrial(trial), _) if counts.refused < MAX_REFUSED => {
                (Place::Refused(trial.limit), Err(trial.limit))
            }
            (Place::OnTrial(trial), _) => (Place::OnTrial(trial.clone()), Err(trial.limit)),
            (Place::Operator | Place::Refused(_) | Place::Leaving, _) => return Ok(()),
        };
        counts.enter(&new);
        *place = new;
        verdict
    }

    /// A connection has had its last reply. `false`: so many wait for their clients to close that this one does not.
    pub fn leave(&self, place: &mut Place) -> bool {
        if !matches!(place, Place::Served(_)) {
            return true;
        }
        let mut counts = self.counts();
        if counts.leaving >= MAX_LEAVING {
            return false;
        }
        counts.leave(place);
        *place = Place::Leaving;
        counts.enter(place);
        true
    }

    /// A connection with this place is closed.
    pub fn release(&self, place: &Place) {
        self.counts().leave(place);
    }
}

impl Counts {
    fn leave(&mut self, place: &Place) {
        match place {
            Place::Served(network) => self.served.give_back(network.as_slice()),
            Place::OnTrial(trial) => self.on_trial.retain(|other| !Arc::ptr_eq(other, trial)),
            Place::Operator => self.operators = self.operators.saturating_sub(1),
            Place::Refused(_) => self.refused = self.refused.saturating_sub(1),
            Place::Leaving => self.leaving = self.leaving.saturating_sub(1),
        }
    }

    /// Counts a connection that has the right to this place.
    fn enter(&mut self, place: &Place) {
        match place {
            Place::Served(network) => self.served.enter(network.as_slice()),
            Place::OnTrial(trial) => self.on_trial.push_back(trial.clone()),
            Place::Operator => self.operators += 1,
            Place::Refused(_) => self.refused += 1,
            Place::Leaving => self.leaving += 1,
        }
    }

    /// Takes the oldest of the network that has most out of a full list.
    fn make_room_on_trial(&mut self) -> Option<Arc<Trial>> {
        if self.on_trial.len() < MAX_ON_TRIAL {
            return None;
        }
        let of = |network: IpAddr| self.on_trial.iter().filter(|trial| trial.network == network).count();
        let most = self.on_trial.iter().map(|trial| of(trial.network)).max()?;
        let oldest = self.on_trial.iter().position(|trial| of(trial.network) == most)?;
        self.on_trial.remove(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const STRANGER: Shown = Shown { operator: false, controller: false };
    const OPERATOR: Shown = Shown { operator: true, controller: false };
    const CONTROLLER: Shown = Shown { operator: false, controller: true };

    #[test]
    fn descriptors_are_reserved_for_what_is_beyond_the_cap() {
        let beyond = 2 * (LOOPBACK_RESERVE + OPERATOR_RESERVE) + MAX_ON_TRIAL + MAX_REFUSED + MAX_LEAVING;
        assert_eq!(crate::core::descriptors::BESIDE_THE_CAP, beyond as u64);
    }

    fn is_served(place: &Place) -> bool {
        matches!(place, Place::Served(_))
    }

    #[test]
    fn one_address_cannot_take_all() {
        let admission = Admission::new(10, 2);
        let got: Vec<_> = [A, A, A, B].into_iter().map(|peer| admission.admit(peer, false)).collect();
        assert_eq!(got.iter().map(is_served).collect::<Vec<_>>(), [true, true, false, true]);
        admission.release(&got[0]);
        assert!(is_served(&admission.admit(A, false)));
        assert!(is_served(&admission.admit(A, true)), "a trusted proxy is exempt");
    }

    #[test]
    fn whoever_leaves_takes_no_place_from_others() {
        let admission = Admission::new(20, 20);
        let mut places: Vec<_> = (0..20).map(|_| admission.admit(A, true)).collect();
        assert!(places.iter().all(is_served) && !is_served(&admission.admit(B, false)));
        assert!(places.iter_mut().all(|place| admission.leave(place)));
        let mut more: Vec<_> = (0..20).map(|_| admission.admit(A, true)).collect();
        assert!(more.iter().all(is_served));
        let lingering = more.iter_mut().filter_map(|place| admission.leave(place).then_some(())).count();
        assert_eq!(
            lingering,
            MAX_LEAVING - 20,
            "more do not wait, and keep their place until they are closed"
        );
        assert!(is_served(&admission.admit(B, false)));
        places.iter().chain(&more).for_each(|place| admission.release(place));
        let counts = admission.counts();
        assert_eq!((counts.leaving, counts.served.held()), (0, 1));
    }

    #[test]
    fn however_high_its_cap_an_address_leaves_half_to_others() {
        let admission = Admission::new(64, 256);
        let served = (0..300).filter(|_| is_served(&admission.admit(A, false))).count();
        assert_eq!((served, is_served(&admission.admit(B, false))), (32, true));
    }

    #[test]
    fn loopback_gets_through_a_flood() {
        let admission = Admission::new(1, 100);
        assert!(is_served(&admission.admit(A, false)));
        assert!(!is_served(&admission.admit(B, false)));
        assert!(is_served(&admission.admit(LOOPBACK, true)));
    }

    #[test]
    fn an_operator_gets_through_a_flood_of_his_own_address() {
        let admission = Admission::new(1, 100);
        let flood: Vec<_> = (0..300).map(|_| admission.admit(LOOPBACK, true)).collect();
        assert_eq!(flood.iter().filter(|place| is_served(place)).count(), 1 + LOOPBACK_RESERVE);
        let mut place = admission.admit(LOOPBACK, true);
        assert_eq!(admission.review(&mut place, OPERATOR), Ok(()));
        assert!(matches!(place, Place::Operator));
        (0..300).for_each(|_| drop(admission.admit(LOOPBACK, true)));
        assert_eq!(admission.review(&mut place, OPERATOR), Ok(()), "nobody pushes him out");
        assert_eq!(
            admission.review(&mut place, STRANGER),
            Err(ConnectionLimit::All),
            "nor does he carry others"
        );
    }

    #[test]
    fn a_stranger_on_trial_is_told_the_limit_that_was_met() {
        let admission = Admission::new(100, 1);
        let _served = admission.admit(A, false);
        let mut place = admission.admit(A, false);
        assert_eq!(admission.review(&mut place, STRANGER), Err(ConnectionLimit::OfAddress));
        assert!(matches!(place, Place::Refused(_)));
        admission.release(&place);
        let full = Admission::new(0, 1);
        assert_eq!(full.review(&mut full.admit(A, false), STRANGER), Err(ConnectionLimit::All));
    }

    #[test]
    fn a_flood_on_trial_pushes_its_own_out_first() {
        let admission = Admission::new(0, 1);
        let mut honest = admission.admit(B, false);
        let flood: Vec<_> = (0..100).map(|_| admission.admit(A, false)).collect();
        let pushed_out = |place: &Place| matches!(place, Place::OnTrial(trial) if trial.is_pushed_out());
        assert_eq!(flood.iter().filter(|place| pushed_out(place)).count(), 100 + 1 - MAX_ON_TRIAL);
        assert!(!pushed_out(&honest));
        assert_eq!(admission.review(&mut honest, OPERATOR), Ok(()));
    }

    #[test]
    fn connections_of_our_controller_count_for_no_address() {
        let admission = Admission::new(100, 4);
        let mut places: Vec<_> = (0..4).map(|_| admission.admit(A, false)).collect();
        for place in &mut places {
            assert_eq!(admission.review(place, CONTROLLER), Ok(()));
        }
        let mut more: Vec<_> = (0..6).map(|_| admission.admit(A, false)).collect();
        assert!(more.iter_mut().all(|place| admission.review(place, CONTROLLER).is_ok() && is_served(place)));
        places.iter().chain(&more).for_each(|place| admission.release(place));
        assert_eq!(admission.counts().served.held(), 0);
        assert_eq!(admission.counts().served.keys(), 0);
    }
}
