//! Who may connect: a cap for all, a share per address, a reserve for whoever has few connections, one for loopback, so that
//! health checks and local proxies get through a flood, and one for operators.
//!
//! ```text
//!  accept ──▶ Served: counts for its address ── proves that it is our controller's ──▶ Served: counts for nobody
//!     │ no place      └─ the cap is met, and it has no request under way ──▶ pushed out for a new one
//!     └─────▶ OnTrial: may send one head ──┬─ with the admin token ──▶ Operator
//!                │                         ├─ with the controller's proof ──▶ Served: counts for nobody
//!                │                         ├─ and somebody gives way by then ──▶ Served
//!                │                         └─ else, or silent ──▶ Refused: told which limit was met
//!                └─ pushed out by others ──▶ closed
//! ```
//!
//! When the cap is met, a served connection without a request under way gives its place to the new one ([`super::seats`]).
//!
//! A connection is counted before it says anything, so an operator cannot be told from a flood at accept. The trial is the way
//! out when all who are served have requests under way: few connections at once, a moment each, and the oldest of the address that
//! has most of them leaves for a new one.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::doorbell::Doorbell;
use super::seats::{Seat, Seats};
use crate::core::limits::fair_share::{FairShare, Refused, Share, Sizes, network_of};
use crate::edge::reply::Reply;

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

/// Connections that were pushed out and are not closed yet, beyond the cap: their loops are about to. Until they have, nobody else
/// is pushed out, and nobody is accepted.
const MAX_PUSHED_OUT: usize = 32;

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
    Served(Arc<Seat>, Option<IpAddr>),
    /// Served if its first head says why.
    OnTrial(Arc<Trial>),
    /// Served while an operator sends on it.
    Operator,
    /// Told to come back later, which it may take a moment to read.
    Refused(ConnectionLimit),
}

/// A connection on trial.
#[derive(Debug)]
pub struct Trial {
    limit: ConnectionLimit,
    network: IpAddr,
    /// Whom it would count for.
    key: Option<IpAddr>,
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
    seats: Seats,
    pushed_out: usize,
    operators: usize,
    on_trial: VecDeque<Arc<Trial>>,
    refused: usize,
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
            seats: Seats::default(),
            pushed_out: 0,
            operators: 0,
            on_trial: VecDeque::new(),
            refused: 0,
        };
        Admission { limit, per_address: per_address.min(limit.div_ceil(2)), counts: Mutex::new(counts) }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many were pushed out and are not closed yet that nobody else can be. A moment later somebody can: a new connection waits
    /// better in the listener's queue than on trial.
    pub fn is_clearing(&self) -> bool {
        self.counts().pushed_out >= MAX_PUSHED_OUT
    }

    /// Judges and counts a connection. `exempt`: it counts for no address (trusted proxies, loopback).
    pub fn admit(&self, peer: IpAddr, exempt: bool) -> Place {
        let network = network_of(peer);
        let key = (!exempt).then_some(network);
        let mut counts = self.counts();
        match self.find_seat(&mut counts, key, peer.is_loopback()) {
            Ok((seat, leaves)) => {
                drop(counts);
                leaves.iter().for_each(|seat| seat.ring());
                Place::Served(seat, key)
            }
            Err(limit) => {
                let (bell, pushed_out) = (OnceLock::new(), AtomicBool::new(false));
                let trial = Arc::new(Trial { limit, network, key, pushed_out, bell });
                let leaves = counts.make_room_on_trial();
                counts.on_trial.push_back(trial.clone());
                drop(counts);
                leaves.iter().for_each(|trial| trial.push_out());
                Place::OnTrial(trial)
            }
        }
    }

    /// A seat, and who was pushed out for it, whose loop is to be told.
    fn find_seat(
        &self,
        counts: &mut Counts,
        key: Option<IpAddr>,
        loopback: bool,
    ) -> Result<(Arc<Seat>, Option<Arc<Seat>>), ConnectionLimit> {
        let mut leaves = None;
        if let Err(limit) = self.ask(counts, key, loopback, 0) {
            // Nobody goes in vain: the last places are for whoever holds few.
            if limit != ConnectionLimit::All || self.ask(counts, key, loopback, 1).is_err() {
                return Err(limit);
            }
            leaves = Some(counts.push_out().ok_or(limit)?);
        }
        counts.served.enter(key.as_slice());
        Ok((counts.seats.take(key), leaves))
    }

    /// Whether there is a place, or would be if so many were given back, one at most.
    fn ask(
        &self,
        counts: &Counts,
        key: Option<IpAddr>,
        loopback: bool,
        given_back: usize,
    ) -> Result<(), ConnectionLimit> {
        if !loopback && counts.served.held().saturating_sub(given_back) >= self.limit {
            return Err(ConnectionLimit::All);
        }
        let share = key.map(|key| Share { key, most: self.per_address });
        let verdict = match given_back {
            0 => counts.served.ask(share.as_slice()),
            _ => counts.served.ask_without(&[], share.as_slice()),
        };
        verdict.map_err(|refused| match refused {
            Refused::Share(_) => ConnectionLimit::OfAddress,
            Refused::Full => ConnectionLimit::All,
        })
    }

    /// Moves a connection to the place that its request has a right to. An error: it has to go, the limit says why.
    pub fn review(&self, place: &mut Place, shown: Shown) -> Result<(), ConnectionLimit> {
        match (&*place, shown) {
            (Place::Served(_, None), _) | (Place::Operator, Shown { operator: true, .. }) => Ok(()),
            (Place::Served(_, Some(_)), Shown { controller: false, .. }) => Ok(()),
            (Place::Operator, _) => Err(ConnectionLimit::All),
            (Place::Refused(limit), _) => Err(*limit),
            (Place::Served(seat, Some(_)), Shown { controller: true, .. }) => {
                let seat = seat.clone();
                let mut counts = self.counts();
                if !counts.seats.has(&seat) {
                    return Err(ConnectionLimit::All);
                }
                counts.leave(place);
                counts.served.enter([]);
                counts.seats.count_for(&seat, None);
                *place = Place::Served(seat, None);
                Ok(())
            }
            (Place::OnTrial(trial), _) => {
                let trial = trial.clone();
                self.judge(place, &trial, shown)
            }
        }
    }

    /// A connection on trial has said who it is.
    fn judge(&self, place: &mut Place, trial: &Arc<Trial>, shown: Shown) -> Result<(), ConnectionLimit> {
        let mut counts = self.counts();
        if shown.operator && counts.operators < OPERATOR_RESERVE {
            counts.leave(place);
            counts.operators += 1;
            *place = Place::Operator;
            return Ok(());
        }
        let key = if shown.controller { None } else { trial.key };
        match self.find_seat(&mut counts, key, trial.network.is_loopback()) {
            Ok((seat, leaves)) => {
                leaves.iter().for_each(|seat| seat.ring());
                counts.leave(place);
                // Its request is what was shown.
                seat.occupy();
                *place = Place::Served(seat, key);
                Ok(())
            }
            Err(limit) => counts.refuse(place, limit),
        }
    }

    /// A connection on trial said nothing in time. An error: it has to go, the limit says why.
    pub fn give_up(&self, place: &mut Place) -> Result<(), ConnectionLimit> {
        match place {
            Place::OnTrial(trial) => {
                let limit = trial.limit;
                self.counts().refuse(place, limit)
            }
            Place::Served(..) | Place::Operator | Place::Refused(_) => Ok(()),
        }
    }

    /// A connection with this place is closed.
    pub fn release(&self, place: &Place) {
        let mut counts = self.counts();
        if let Place::Served(seat, _) = place
            && !counts.seats.give_back(seat)
        {
            counts.pushed_out = counts.pushed_out.saturating_sub(1);
            return;
        }
        counts.leave(place);
    }
}

impl Counts {
    fn leave(&mut self, place: &Place) {
        match place {
            Place::Served(_, network) => self.served.give_back(network.as_slice()),
            Place::OnTrial(trial) => self.on_trial.retain(|other| !Arc::ptr_eq(other, trial)),
            Place::Operator => self.operators = self.operators.saturating_sub(1),
            Place::Refused(_) => self.refused = self.refused.saturating_sub(1),
        }
    }

    /// A connection on trial has to go. Where many take their time to read why, it stays on trial, where it can be pushed out.
    fn refuse(&mut self, place: &mut Place, limit: ConnectionLimit) -> Result<(), ConnectionLimit> {
        if self.refused < MAX_REFUSED {
            self.leave(place);
            self.refused += 1;
            *place = Place::Refused(limit);
        }
        Err(limit)
    }

    /// Somebody without a request under way gives up a place.
    fn push_out(&mut self) -> Option<Arc<Seat>> {
        if self.pushed_out >= MAX_PUSHED_OUT {
            return None;
        }
        let (seat, network) = self.seats.push_out(|network| self.served.held_by(network))?;
        self.served.give_back(network.as_slice());
        self.pushed_out += 1;
        Some(seat)
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
    use super::super::seats::Doing;
    use super::*;
    use crate::core::time::Moment;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const STRANGER: Shown = Shown { operator: false, controller: false };
    const OPERATOR: Shown = Shown { operator: true, controller: false };
    const CONTROLLER: Shown = Shown { operator: false, controller: true };

    #[test]
    fn descriptors_are_reserved_for_what_is_beyond_the_cap() {
        let beyond = 2 * (LOOPBACK_RESERVE + OPERATOR_RESERVE) + MAX_ON_TRIAL + MAX_REFUSED + MAX_PUSHED_OUT;
        assert_eq!(crate::core::limits::descriptors::BESIDE_THE_CAP, beyond as u64);
    }

    fn is_served(place: &Place) -> bool {
        matches!(place, Place::Served(..))
    }

    /// A connection whose request is under way for as long as the test lasts.
    fn busy(admission: &Admission, peer: IpAddr, exempt: bool) -> Place {
        let place = admission.admit(peer, exempt);
        note(&place, Doing::Busy, 0);
        place
    }

    fn note(place: &Place, doing: Doing, since: u64) {
        if let Place::Served(seat, _) = place {
            assert!(seat.note(doing, Moment(since)));
        }
    }

    fn is_pushed_out(place: &Place) -> bool {
        match place {
            Place::Served(seat, _) => seat.is_pushed_out(),
            Place::OnTrial(trial) => trial.is_pushed_out(),
            Place::Operator | Place::Refused(_) => false,
        }
    }

    // SPEC shares: No address takes all connections, event streams, ICE-TCP connections, a
    // session's rate or the log
    // Also: `whoever_leaves_takes_no_place_from_others`,
    // `however_high_its_cap_an_address_leaves_half_to_others`,
    // `event_streams_of_one_address_stop_nobody_elses`,
    // `an_address_leaves_half_of_a_feed_and_most_of_all_to_others`,
    // `connections_of_one_address_do_not_push_out_anothers`,
    // `connections_of_one_network_push_out_their_own`,
    // `a_peer_has_few_connections_and_the_one_silent_for_longest_goes`,
    // `one_network_leaves_half_of_a_threads_connections_to_others`,
    // `one_of_many_does_not_take_a_shared_rate_from_all`,
    // `those_that_share_a_rate_are_remembered_in_bounded_memory`,
    // `one_client_does_not_hide_what_others_do`
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
        let places: Vec<_> = (0..20).map(|_| admission.admit(A, true)).collect();
        places.iter().for_each(|place| note(place, Doing::Leaving, 0));
        let more: Vec<_> = (0..20).map(|_| busy(&admission, A, true)).collect();
        assert!(more.iter().all(is_served) && places.iter().all(is_pushed_out));
        assert!(!is_served(&admission.admit(B, false)), "all of them have requests under way");
        places.iter().chain(&more).for_each(|place| admission.release(place));
        let counts = admission.counts();
        assert_eq!((counts.pushed_out, counts.served.held(), counts.served.keys()), (0, 0, 0));
    }

    #[test]
    fn no_more_are_pushed_out_than_have_descriptors_until_they_are_closed() {
        let admission = Admission::new(200, 200);
        let idle: Vec<_> = (0..200).map(|_| admission.admit(A, true)).collect();
        let new: Vec<_> = (0..100).map(|_| busy(&admission, B, true)).collect();
        let served = || new.iter().filter(|place| is_served(place)).count();
        assert_eq!((served(), idle.iter().filter(|place| is_pushed_out(place)).count()), (32, 32));
        assert!(admission.is_clearing(), "who comes now waits in the listener's queue");
        idle.iter().filter(|place| is_pushed_out(place)).for_each(|place| admission.release(place));
        assert!(!admission.is_clearing() && is_served(&admission.admit(B, true)));
    }

    #[test]
    fn nobody_is_pushed_out_in_vain() {
        let admission = Admission::new(16, 16);
        let few: Vec<_> = (0..8).map(|_| busy(&admission, A, false)).collect();
        let idle: Vec<_> = (0..8).map(|_| admission.admit(B, false)).collect();
        assert!(few.iter().chain(&idle).all(is_served));
        // It holds its eight, so that the last two places are not for it, whoever goes.
        assert!(!is_served(&admission.admit(A, false)) && !idle.iter().any(is_pushed_out));
    }

    #[test]
    fn a_stranger_on_trial_with_a_request_takes_the_place_of_one_without() {
        let admission = Admission::new(1, 1);
        let served = busy(&admission, A, false);
        let (mut place, mut late) = (admission.admit(B, false), admission.admit(B, false));
        assert!(!is_served(&place));
        note(&served, Doing::Idle, 0);
        assert_eq!(admission.review(&mut place, STRANGER), Ok(()));
        assert!(is_served(&place) && is_pushed_out(&served));
        assert_eq!(admission.review(&mut late, STRANGER), Err(ConnectionLimit::All), "that one is busy");
    }

    #[test]
    fn whoever_was_pushed_out_is_no_controller_any_more() {
        let admission = Admission::new(1, 1);
        let mut served = admission.admit(A, false);
        let new = busy(&admission, B, false);
        assert!(is_served(&new) && is_pushed_out(&served));
        assert_eq!(admission.review(&mut served, CONTROLLER), Err(ConnectionLimit::All));
        admission.release(&served);
        assert_eq!(admission.counts().served.held(), 1);
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
        assert!(is_served(&busy(&admission, A, false)));
        assert!(!is_served(&admission.admit(B, false)));
        assert!(is_served(&admission.admit(LOOPBACK, true)));
    }

    #[test]
    fn an_operator_gets_through_a_flood_of_his_own_address() {
        let admission = Admission::new(1, 100);
        let flood: Vec<_> = (0..300).map(|_| busy(&admission, LOOPBACK, true)).collect();
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
        assert_eq!(flood.iter().filter(|place| is_pushed_out(place)).count(), 100 + 1 - MAX_ON_TRIAL);
        assert!(!is_pushed_out(&honest));
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
