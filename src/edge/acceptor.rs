//! Accepting connections and handing each to the least loaded loop. Runs on the first loop.
//!
//! ```text
//!  Listening ── out of descriptors or memory ─► Paused ── BACKOFF ─► Listening
//!      └─────────── stop accepting ─────────────────┴──► closed
//! ```

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::admission::{Admission, ConnectionLimit, Place, Shown};
use super::counters::Counters;
use super::doorbell::{Doorbell, LoopBell};
use super::flights::{Flight, Flights};
use super::pace::Pace;
use super::router::Entrance;
use super::seats::Doing;
use super::slab::Key;
use super::socket;
use crate::config::settings::Network;
use crate::core::ids::SessionId;
use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;
use crate::metrics::counter::Present;

/// Token of every listener; no key has this generation and index at once in any life of a process.
pub const LISTENER: u64 = u64::MAX;
/// Pause when descriptors ran out: others must close first, and trying costs.
const BACKOFF: Duration = Duration::from_millis(100);
/// Between two log lines about connections that are not taken; a flood makes many.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Accepts in a row before the loop looks at its connections again.
const BATCH: usize = 64;

/// Connections that the kernel holds for us until they are accepted (the kernel's own bound, `net.core.somaxconn`, is 4,096). The standard
/// library's 128 are full within a loop's turn in a flood, and a client that finds them full tries again after a second.
const QUEUE: i32 = 4_096;

/// What the loops of one edge share.
pub struct Shared {
    /// One per loop.
    pub loops: Vec<LoopHandle>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Who may connect.
    pub admission: Admission,
    /// How fast requests of one address may come.
    pub pace: Pace,
    /// Whose requests are under way.
    pub flights: Arc<Flights>,
    /// Networks whose forwarding fields are believed.
    pub trusted: Vec<Network>,
    /// New connections are wanted.
    pub accepting: AtomicBool,
    /// No further request is, of connections that stand.
    pub last_call: AtomicBool,
    /// The loops go on.
    pub running: AtomicBool,
}

impl Shared {
    /// Whether the forwarding fields of this address are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }
}

/// A loop has not counted yet.
pub const NOT_COUNTED: usize = usize::MAX;

/// How others reach a loop.
pub struct LoopHandle {
    /// New connections.
    pub arrivals: Sender<Arrival>,
    /// Wakes the loop, for itself or one of its connections.
    pub bell: Arc<LoopBell>,
    /// Its connections.
    pub load: AtomicUsize,
    /// How many of them nobody waits for at the last call, once it has heard of that.
    pub lasting: AtomicUsize,
}

/// A connection for a loop.
pub struct Arrival {
    /// The socket, not registered yet.
    pub fd: OwnedFd,
    /// Where it came in.
    pub entrance: Entrance,
    /// Its place in the counts.
    pub ticket: Ticket,
}

/// A connection's place in the counts, given back when dropped.
pub struct Ticket {
    shared: Arc<Shared>,
    index: usize,
    place: Place,
    peer: IpAddr,
    trusted: bool,
    _present: Present,
}

impl Ticket {
    /// For a connection to the loop of this index.
    fn new(shared: Arc<Shared>, index: usize, peer: IpAddr) -> Ticket {
        if let Some(handle) = shared.loops.get(index) {
            handle.load.fetch_add(1, Ordering::Relaxed);
        }
        let trusted = shared.trusts(peer);
        let place = shared.admission.admit(peer, trusted || peer.is_loopback());
        shared.counters.accepted.one();
        let _present = shared.counters.connections.enter();
        Ticket { shared, index, place, peer, trusted, _present }
    }

    /// For a connection to the first loop that no acceptor saw; it counts like any other.
    pub fn unseen(shared: Arc<Shared>, peer: IpAddr) -> Ticket {
        Ticket::new(shared, 0, peer)
    }

    /// The client's address in canonical form.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// What the edge counts.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The client is a trusted proxy.
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// Whether the forwarding fields of this address are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.shared.trusts(address)
    }

    /// Counts a request of this network, or says how long until it may send the next.
    pub fn pace(&self, now: Moment, network: Option<IpAddr>) -> Result<(), Duration> {
        network.map_or(Ok(()), |network| self.shared.pace.take(now, network))
    }

    /// Takes the place that a request has a right to; an error says why the connection has to go.
    pub fn review(&mut self, shown: Shown) -> Result<(), ConnectionLimit> {
        self.shared.admission.review(&mut self.place, shown)
    }

    /// Nothing was said in time while the connection was on trial; an error says why it has to go.
    pub fn give_up(&mut self) -> Result<(), ConnectionLimit> {
        self.shared.admission.give_up(&mut self.place)
    }

    /// A request begins. `false`: the connection was pushed out before that.
    pub fn occupy(&self) -> bool {
        match &self.place {
            Place::Served(seat, _) => seat.occupy(),
            Place::OnTrial(trial) => !trial.is_pushed_out(),
            Place::Operator | Place::Refused(_) => true,
        }
    }

    /// What the connection is doing, and since when.
    pub fn note(&self, doing: Doing, since: Moment) {
        if let Place::Served(seat, _) = &self.place {
            // Who was pushed out hears of it by the bell.
            seat.note(doing, since);
        }
    }

    /// A request is under way from now on. Operators' count for nobody.
    pub fn begin(
        &self,
        network: Option<IpAddr>,
        session: Option<SessionId>,
    ) -> Result<Flight, super::flights::FlightLimit> {
        self.shared.flights.begin(network, session)
    }

    /// The limit that was met, while the connection is on trial.
    pub fn on_trial(&self) -> Option<ConnectionLimit> {
        match &self.place {
            Place::OnTrial(trial) => Some(trial.limit()),
            Place::Served(..) | Place::Operator | Place::Refused(_) => None,
        }
    }

    /// It has to leave for another one.
    pub fn is_pushed_out(&self) -> bool {
        match &self.place {
            Place::Served(seat, _) => seat.is_pushed_out(),
            Place::OnTrial(trial) => trial.is_pushed_out(),
            Place::Operator | Place::Refused(_) => false,
        }
    }

    /// The connection has this name in its loop.
    pub fn settle(&self, key: Key) {
        match &self.place {
            Place::Served(seat, _) => seat.hang(self.doorbell(key)),
            Place::OnTrial(trial) => trial.hang(self.doorbell(key)),
            Place::Operator | Place::Refused(_) => {}
        }
    }

    /// What wakes the connection `key`, which has this ticket.
    pub fn doorbell(&self, key: Key) -> Doorbell {
        Doorbell::new(self.shared.loops.get(self.index).map(|handle| handle.bell.clone()), key)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.admission.release(&self.place);
        if let Some(handle) = self.shared.loops.get(self.index) {
            handle.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl LoopHandle {
    /// Wakes the loop up.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Whether the last call is over for it: it accepts no more, and all who still came were served.
    pub fn has_served(&self) -> bool {
        let lasting = self.lasting.load(Ordering::Acquire);
        lasting != NOT_COUNTED && self.load.load(Ordering::Acquire) <= lasting
    }
}

/// A listening socket, and what stands behind it.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What its connections are for.
    pub entrance: Entrance,
}

/// The listeners and their state. They are few, so whichever is announced, all are looked at.
pub struct Acceptor {
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
    paused_until: Option<Moment>,
    log: LogLimit,
}

impl Acceptor {
    /// Registers the listeners.
    pub fn new(epoll: &OwnedFd, listeners: Vec<Listener>, shared: Arc<Shared>) -> std::io::Result<Acceptor> {
        for listener in &listeners {
            listener.socket.set_nonblocking(true)?;
            // It listens already; this only makes its queue longer.
            rustix::net::listen(&listener.socket, QUEUE)?;
        }
        let acceptor =
            Acceptor { listeners, shared, paused_until: None, log: LogLimit::new(1, LOG_INTERVAL) };
        acceptor.register(epoll)?;
        Ok(acceptor)
    }

    fn register(&self, epoll: &OwnedFd) -> Result<(), Errno> {
        // Level-triggered: what one batch leaves is announced again.
        let data = epoll::EventData::new_u64(LISTENER);
        let add = |listener: &Listener| epoll::add(epoll, &listener.socket, data, epoll::EventFlags::IN);
        self.listeners.iter().try_for_each(|listener| match add(listener) {
            // From before a pause that began half-way.
            Err(Errno::EXIST) => Ok(()),
            added => added,
        })
    }

    /// When accepting goes on.
    pub fn paused_until(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Goes on after a pause.
    pub fn resume(&mut self, epoll: &OwnedFd, now: Moment) {
        if self.paused_until.is_some_and(|until| now.reached(until)) && self.register(epoll).is_ok() {
            self.paused_until = None;
        }
    }

    /// Accepts what waits, at most a batch of each listener.
    pub fn accept(&mut self, epoll: &OwnedFd, now: Moment) {
        for index in 0..self.listeners.len() {
            if self.paused_until.is_none() {
                self.accept_of(index, epoll, now);
            }
        }
    }

    fn accept_of(&mut self, index: usize, epoll: &OwnedFd, now: Moment) {
        for _ in 0..BATCH {
            // Their loops are about to close them; the listener says again that somebody waits.
            if self.shared.admission.is_clearing() {
                return;
            }
            let Some(Listener { socket, entrance }) = self.listeners.get(index) else { return };
            let entrance = *entrance;
            match rustix::net::acceptfrom_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, address)) => {
                    let peer = address.and_then(|any| SocketAddr::try_from(any).ok());
                    let peer = peer.map_or(IpAddr::from([0; 4]), |peer| peer.ip().to_canonical());
                    self.hand_over((fd, entrance), peer, now);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    return self.pause(epoll, now);
                }
                // The client is gone already, or an error of the network that the next accept does not have.
                Err(_) => {}
            }
        }
    }

    fn pause(&mut self, epoll: &OwnedFd, now: Moment) {
        if let Some(n) = self.log.allow(now) {
            log::warn!(
                "[edge] out of file descriptors or memory, accepting pauses; raise LimitNOFILE or lower \
                 edge.max_connections ({n} such lines were not shown)"
            );
        }
        for listener in &self.listeners {
            if epoll::delete(epoll, &listener.socket).is_ok() {
                self.paused_until = Some(now + BACKOFF);
            }
        }
    }

    fn hand_over(&mut self, (fd, entrance): (OwnedFd, Entrance), peer: IpAddr, now: Moment) {
        let least = self
            .shared
            .loops
            .iter()
            .enumerate()
            .min_by_key(|(_, handle)| handle.load.load(Ordering::Relaxed));
        let Some((index, handle)) = least else { return };
        let ticket = Ticket::new(self.shared.clone(), index, peer);
        if let Some(limit) = ticket.on_trial()
            && let Some(n) = self.log.allow(now)
        {
            let limit = limit.name();
            log::warn!(peer:%; "[edge] connections of {peer} met {limit} ({n} such lines were not shown)");
        }
        socket::prepare_client(&fd);
        log::trace!(peer:%; "[edge] a connection from {peer}");
        if handle.arrivals.send(Arrival { fd, entrance, ticket }).is_ok() && index != 0 {
            handle.ring();
        }
    }
}
