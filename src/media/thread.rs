//! A media thread: its sockets, its peers, their deadlines.
//!
//! ```text
//!        ┌─▶ wait for a descriptor or the earliest deadline
//!        │   read commands ─▶ read sockets ─▶ peers ─▶ pass on ─▶ due deadlines ─▶ send
//!        └───────────────────────────────────────────────────────────────────┘
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::host::pulse::Pulse;
use crate::host::wake::Wake;
use crate::isolation::{self, Contained, isolate};
use crate::media::ids::{ByPeer, PeerId};
use crate::media::local_candidates::Transport;
use crate::media::outbox::Via;
use crate::media::peer::{Peer, Verdict};
use crate::media::peer_life::CONNECT_LIMIT;
use crate::media::peer_registry::{Claim, Owner};
use crate::media::pending_peer::PendingPeer;
use crate::media::role::Gone;
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::shared::{Command, Commands, RestartRefused, Shared};
use crate::media::sockets::{
    BODIES_V4, BODIES_V6, Datagram, ForwardedDatagram, LISTEN_V4, LISTEN_V6, MUX_V4, MUX_V6, ROOMS_V4,
    ROOMS_V6, Remote, Shares, Sockets, WAKE, Watched,
};
use crate::media::stream::StreamId;
use crate::media::transport::datagram::{self, Kind, Stun};
use crate::media::udp::{Buffers, Pair, Udp};

/// Descriptors looked at per round.
const EVENTS: usize = 256;

/// Longest sleep, so that the watchdog sees progress.
const MAX_SLEEP: Duration = Duration::from_secs(5);

/// Commands taken per round, so that a flood of them does not starve the sockets.
const COMMANDS_PER_ROUND: usize = 256;

/// What a thread starts with.
pub struct Start {
    /// Its index.
    pub index: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// What it is told.
    pub commands: Commands,
    /// Rings when there is something.
    pub wake: Arc<Wake>,
    /// What it listens to.
    pub shares: Shares,
    /// Shows that it makes progress.
    pub pulse: Pulse,
}

/// The thread's state.
pub struct MediaThread {
    pub(super) io: Sockets,
    pub(super) peers: ByPeer<Box<Peer>>,
    pub(super) commands: Commands,
    /// A command that was looked at while news were told, and comes next.
    pub(super) put_aside: Option<Command>,
    wake: Arc<Wake>,
    buffers: Option<Buffers>,
    /// News of streams that were heard in this round and not told yet.
    pub(super) news: Vec<(StreamId, Vec<StreamPacket>)>,
    pulse: Pulse,
    stopping: bool,
}

/// What becomes of the connection on which a frame came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It stays here.
    Stays,
    /// It belongs to a peer of this thread.
    Moves(usize),
}

/// Where a datagram goes.
enum Route {
    Here(PeerId),
    There(usize),
    Adopt(Box<PendingPeer>),
    Nowhere,
}

impl MediaThread {
    /// A thread without peers.
    pub fn new(start: Start) -> io::Result<MediaThread> {
        let io = Sockets::new(start.index, start.shared, start.shares, &*start.wake)?;
        Ok(MediaThread {
            io,
            peers: ByPeer::default(),
            commands: start.commands,
            put_aside: None,
            wake: start.wake,
            buffers: Some(Buffers::default()),
            news: Vec::new(),
            pulse: start.pulse,
            stopping: false,
        })
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.stopping {
            self.wait(&mut events);
            self.pulse.beat();
            self.take_commands();
            for event in events.drain(..) {
                self.on_event(&event);
            }
            self.tell_room_news();
            self.settle_peers();
            self.run_deadlines();
            self.tidy_connections(Instant::now());
            self.io.flush();
        }
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|peer| self.end(peer, Gone::Ended));
        self.io.flush();
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        self.move_deadlines();
        let next = self.io.next_deadline();
        let pause = match next {
            _ if self.put_aside.is_some() || !self.commands.is_empty() => Duration::ZERO,
            Some(at) => at.saturating_duration_since(Instant::now()).min(MAX_SLEEP),
            None => MAX_SLEEP,
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or_default(),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        // EINTR and a time-out are the same to us: look at everything.
        let _ = epoll::wait(&self.io.epoll, spare_capacity(events), Some(&timeout));
    }

    fn on_event(&mut self, event: &epoll::Event) {
        let (token, flags) = (event.data.u64(), event.flags);
        let watched = self.io.watched(token);
        if flags.contains(epoll::EventFlags::OUT) && watched != Some(Watched::Connection) {
            self.io.unblock();
        }
        match token {
            WAKE => self.wake.clear(),
            token @ (MUX_V4 | MUX_V6) => {
                let pair = self.io.mux.as_ref();
                let udp =
                    pair.and_then(|pair| if token == MUX_V4 { pair.v4.clone() } else { pair.v6.clone() });
                udp.iter().for_each(|udp| self.read(Via::Mux, udp));
            }
            token @ (ROOMS_V4 | ROOMS_V6) => {
                let pair = self.io.rooms.as_ref();
                let udp =
                    pair.and_then(|pair| if token == ROOMS_V4 { pair.v4.clone() } else { pair.v6.clone() });
                udp.iter().for_each(|udp| self.read(Via::Rooms, udp));
            }
            BODIES_V4 | BODIES_V6 => self.io.bodies.take_errors(),
            LISTEN_V4 | LISTEN_V6 => self.accept(token),
            token => match watched {
                Some(Watched::Connection) => self.on_connection(token, flags),
                Some(Watched::Own(peer)) => {
                    let pair = self.io.own.get(&peer).cloned();
                    pair.iter().flat_map(Pair::each).for_each(|udp| self.read(Via::Own(peer), udp));
                }
                None => {}
            },
        }
    }

    fn read(&mut self, via: Via, udp: &Udp) {
        let Some(mut buffers) = self.buffers.take() else { return };
        let at = Instant::now();
        let read = udp.receive(&mut buffers, |source, local, bytes| {
            let remote = Remote { transport: Transport::Udp, address: source };
            let _ = self.arrive(&Datagram { at, remote, via, local, bytes, heard_elsewhere: false });
        });
        self.buffers = Some(buffers);
        if read.is_err() {
            // The network's answer to something that was sent; the socket goes on.
            self.io.shared.counters.send_errors.one();
        }
    }

    /// Takes a datagram to whoever it is for.
    pub(super) fn arrive(&mut self, arrival: &Datagram<'_>) -> After {
        let route = self.route(arrival);
        if let (Route::There(thread), Transport::Tcp) = (&route, arrival.remote.transport) {
            return After::Moves(*thread);
        }
        self.io.shared.counters.datagrams_in.one();
        self.io.shared.counters.bytes_in.add(arrival.bytes.len() as u64);
        match route {
            Route::Here(peer) => self.give(peer, arrival),
            Route::There(thread) => self.io.pass(thread, arrival),
            Route::Adopt(seed) => {
                let peer = seed.id;
                if self.adopt(seed) {
                    self.give(peer, arrival);
                }
            }
            Route::Nowhere => {}
        }
        After::Stays
    }

    fn route(&self, arrival: &Datagram<'_>) -> Route {
        if let Via::Own(peer) = arrival.via {
            return Route::Here(peer);
        }
        let counters = &self.io.shared.counters;
        let known = self.io.paths.get(&arrival.remote).map(|path| path.peer);
        let stun = match datagram::kind(arrival.bytes) {
            None => None,
            Some(Kind::Stun) => datagram::peek_stun(arrival.bytes),
            Some(_) => return self.by_address(known, arrival),
        };
        match stun {
            None => {
                counters.bad.one();
                Route::Nowhere
            }
            Some(Stun::Request { ufrag }) => {
                let is_named = |peer: &PeerId| self.peers.get(peer).is_some_and(|peer| peer.ufrag() == ufrag);
                known.filter(is_named).map_or_else(|| self.by_name(ufrag, arrival), Route::Here)
            }
            Some(Stun::Response { transaction }) => match self.io.shared.directory.check(&transaction) {
                Some(owner) => self.to_owner(owner, arrival),
                None => self.nobody(),
            },
            Some(Stun::Other) => self.by_address(known, arrival),
        }
    }

    fn by_address(&self, known: Option<PeerId>, arrival: &Datagram<'_>) -> Route {
        if let Some(peer) = known {
            return Route::Here(peer);
        }
        if arrival.remote.transport == Transport::Tcp {
            return self.nobody();
        }
        let foreign = self.io.shared.directory.foreign(&arrival.remote.address);
        foreign.map_or_else(|| self.nobody(), |owner| self.to_owner(owner, arrival))
    }

    fn by_name(&self, ufrag: &str, arrival: &Datagram<'_>) -> Route {
        let claim = self.io.shared.directory.claim(ufrag, self.io.index, |seed| accepts(seed, arrival));
        match claim {
            Claim::Adopted(seed) => Route::Adopt(seed),
            Claim::Owned(owner) => self.to_owner(owner, arrival),
            Claim::Unknown => self.nobody(),
            Claim::Spoofed => {
                self.io.shared.counters.spoofed.one();
                Route::Nowhere
            }
        }
    }

    fn to_owner(&self, owner: Owner, arrival: &Datagram<'_>) -> Route {
        match owner.thread == self.io.index {
            true => Route::Here(owner.peer),
            // Passed on once: a directory that changes meanwhile must not send it round in circles.
            false if arrival.heard_elsewhere => self.nobody(),
            false => Route::There(owner.thread),
        }
    }

    fn nobody(&self) -> Route {
        self.io.shared.counters.unknown.one();
        Route::Nowhere
    }

    fn adopt(&mut self, seed: Box<PendingPeer>) -> bool {
        let id = seed.id;
        match Peer::adopt(seed, &mut self.io) {
            Ok(peer) => {
                self.peers.insert(id, Box::new(peer));
                true
            }
            Err(error) => {
                log::error!("[worker] ALERT a media thread cannot wait for a socket: {error}");
                self.io.shared.directory.remove(&id);
                false
            }
        }
    }

    /// Works on a peer; takes it away if that was its end. A panic is the end of this peer only: what `io` holds of others is whole
    /// between any two of its calls.
    pub(super) fn with_peer(&mut self, id: PeerId, work: impl FnOnce(&mut Peer, &mut Sockets) -> Verdict) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return self.io.shared.counters.unknown.one();
        };
        match isolate("a WebRTC peer", || work(peer, &mut self.io)) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.end(id, why),
            Err(Contained) => self.bury(id),
        }
    }

    /// Lets a peer read a datagram. One whose datagrams take too much of the thread's time ends.
    fn give(&mut self, id: PeerId, arrival: &Datagram<'_>) {
        let is_suspect = self.peers.get(&id).is_some_and(|peer| peer.burden.is_suspect());
        let (begun, own) = (Instant::now(), is_suspect.then(own_time));
        self.with_peer(id, |peer, io| peer.receive(arrival, io));
        let (ended, took) = (Instant::now(), own.map(|own| own_time().saturating_sub(own)));
        let now = self.io.shared.moment(ended);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.burden.add(now, ended.saturating_duration_since(begun), took) {
            log::warn!("[worker] ALERT {peer:?} is ended: {}", Gone::TooCostly);
            self.end(id, Gone::TooCostly);
        }
    }

    /// Whether there is such a peer.
    pub(super) fn is_here(&self, id: PeerId) -> bool {
        self.peers.contains_key(&id)
    }

    fn end(&mut self, id: PeerId, why: Gone) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (io, now) = (&mut self.io, Instant::now());
        if isolate("a WebRTC peer that ends", || peer.say_good_bye(why, now, io)).is_err() {
            return self.bury(id);
        }
        if let Some(peer) = self.peers.remove(&id) {
            isolation::discard("what is left of a WebRTC peer", peer.leave(&mut self.io));
        }
    }

    /// Takes away a peer whose WebRTC state is not to be touched any more.
    fn bury(&mut self, id: PeerId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let (io, now) = (&mut self.io, Instant::now());
        // Whom it counted for hears of its end, unless that is what failed.
        let _ = isolate("the end of a WebRTC peer", || peer.tell_end(Gone::Failed, now, io));
        isolation::discard("what is left of a WebRTC peer", peer.leave(&mut self.io));
    }

    /// Ends the round for those who took media in it. They are not asked with each packet, because they run through all their timers when asked.
    fn settle_peers(&mut self) {
        if self.io.unsettled.is_empty() {
            return;
        }
        let now = Instant::now();
        for id in std::mem::take(&mut self.io.unsettled) {
            // One that is gone has nothing left to say.
            if self.is_here(id) {
                self.with_peer(id, |peer, io| peer.settle(now, io));
            }
        }
    }

    /// Puts entries of peers that want to be looked at later by now where they belong: nobody has to wake up for them.
    fn move_deadlines(&mut self) {
        while let Some((at, id)) = self.io.deadlines.first() {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_moved(at)) else { return };
            self.io.deadlines.pop_due(at);
            peer.is_due(at, at, &mut self.io);
        }
    }

    fn run_deadlines(&mut self) {
        let now = Instant::now();
        let mut lag = None;
        while let Some((at, id)) = self.io.deadlines.pop_due(now) {
            match self.peers.get_mut(&id) {
                Some(peer) => {
                    if peer.is_due(at, now, &mut self.io) {
                        // The first is the one that waited longest.
                        lag.get_or_insert(now.saturating_duration_since(at));
                        self.with_peer(id, |peer, io| peer.tick(now, io));
                    }
                }
                None => self.expire(id, now),
            }
        }
        lag.into_iter().for_each(|lag| self.io.shared.counters.lag.observe(lag));
    }

    /// A deadline without a peer here: of one that may still wait for its first check.
    fn expire(&mut self, id: PeerId, now: Instant) {
        let overdue = |seed: &mut PendingPeer| now.saturating_duration_since(seed.since) >= CONNECT_LIMIT;
        if self.io.shared.directory.with_pending(&id, overdue) == Some(true)
            && let Some(seed) = self.io.shared.directory.withdraw(&id)
            && self.adopt(seed)
        {
            // Its end is told like any other.
            self.end(id, Gone::NeverConnected);
        }
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Some(command) = self.next_command() else { break };
            if !matches!(command, Command::Stream(..)) {
                self.tell_news();
            }
            self.obey(command);
        }
        self.tell_news();
    }

    fn next_command(&mut self) -> Option<Command> {
        self.put_aside.take().or_else(|| self.commands.take())
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Adopt(seed, done) => {
                let id = seed.id;
                if self.adopt(seed) {
                    let _ = done.send(());
                    self.with_peer(id, |peer, io| peer.tick(now, io));
                }
            }
            Command::Watch(peer, at) => self.io.deadlines.push(at, peer),
            Command::Datagrams(batch) => batch.iter().for_each(|passed| self.take_passed(passed)),
            Command::Connection(moved) => self.take_moved(moved),
            Command::Trickle(peer, candidates) => {
                self.with_peer(peer, |peer, io| peer.trickle(candidates, now, io));
            }
            Command::Restart(peer, ice, reply) => {
                let mut outcome = Err(RestartRefused::NoPeer);
                self.with_peer(peer, |peer, io| {
                    outcome = peer.restart(&ice, now, io);
                    if outcome.is_ok() { peer.turn(now, io) } else { Ok(()) }
                });
                let _ = reply.send(outcome);
            }
            Command::Order(peer, order) => {
                // One that is over hears nothing, and nobody misses that.
                if self.is_here(peer) {
                    self.with_peer(peer, |peer, io| peer.obey(order, now, io));
                }
            }
            Command::Close(peer, why, done) => {
                self.end(peer, why);
                if let Some(done) = done {
                    // Whoever waited for it may have given up.
                    let _ = done.send(());
                }
            }
            Command::Stream(stream, news) => self.hear(stream, news),
            Command::Stop => self.stopping = true,
        }
    }

    fn take_passed(&mut self, passed: &ForwardedDatagram) {
        let remote = Remote { transport: Transport::Udp, address: passed.source };
        let (at, local, bytes) = (passed.at, passed.local, &passed.bytes);
        // Counted where it was heard.
        let arrival = Datagram { at, remote, via: Via::Mux, local, bytes, heard_elsewhere: true };
        match self.route(&arrival) {
            Route::Here(peer) => self.give(peer, &arrival),
            Route::There(_) | Route::Adopt(_) | Route::Nowhere => {}
        }
    }
}

/// Processor time of this thread so far.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Whether a check is genuine, as the waiting peer sees it.
fn accepts(seed: &PendingPeer, arrival: &Datagram<'_>) -> bool {
    // Members do not wait, and nobody else comes to their port.
    if arrival.via == Via::Rooms {
        return false;
    }
    let Some(destination) = seed.locals.offered(arrival.remote.transport, arrival.local) else {
        return false;
    };
    let proto = arrival.remote.transport.into();
    let receive = str0m::net::Receive::new(proto, arrival.remote.address, destination, arrival.bytes);
    receive.is_ok_and(|receive| seed.rtc.accepts(&str0m::Input::Receive(arrival.at, receive)))
}
