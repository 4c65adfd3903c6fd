//! What a media thread reads from and writes to, apart from its peers: so that a peer can be worked on while it writes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::core::limits::log_limit::LogLimit;
use crate::media::audience::Followers;
use crate::media::deadlines::Deadlines;
pub use crate::media::forwarded::ForwardedDatagram;
use crate::media::ids::PeerId;
use crate::media::local_candidates::Transport;
use crate::media::member::news::RoomNews;
use crate::media::mic_sink::MicSink;
use crate::media::outbox::{Flushed, Outbox, Via};
use crate::media::peer_registry::Owner;
use crate::media::shared::{Command, Shared};
use crate::media::tcp::{Connection, Connections, Written};
use crate::media::udp::{Pair, Udp};

/// How long an address belongs to the peer that was last heard there, whoever else claims it with a check of its own.
const ADDRESS_HELD: Duration = Duration::from_secs(5);

/// Datagrams passed on to one other thread per round.
const PASSED_PER_ROUND: usize = 512;

/// Lines about peers: a burst, then one per interval and thread.
const LOG_BURST: u32 = 50;
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Tokens of what is always there; others count on from the first free one.
pub const WAKE: u64 = 0;
/// The shared port, IPv4.
pub const MUX_V4: u64 = 1;
/// The shared port, IPv6.
pub const MUX_V6: u64 = 2;
/// Answers of the network to what went to bodies, IPv4.
pub const BODIES_V4: u64 = 3;
/// The same, IPv6.
pub const BODIES_V6: u64 = 4;
/// The shared port for ICE-TCP, IPv4.
pub const LISTEN_V4: u64 = 5;
/// The same, IPv6.
pub const LISTEN_V6: u64 = 6;
/// The thread's port for members of rooms, IPv4.
pub const ROOMS_V4: u64 = 7;
/// The same, IPv6.
pub const ROOMS_V6: u64 = 8;
const FIRST_FREE: u64 = 16;

/// Where a peer's datagrams come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remote {
    /// By which transport.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

/// An address that proved to be a peer's.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Whose it is.
    pub peer: PeerId,
    /// The socket it talks to.
    pub via: Via,
    /// The address of ours it talks to.
    pub local: IpAddr,
    /// When something of the peer last arrived there.
    pub heard: Instant,
}

/// A datagram, or a frame of ICE-TCP.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When it was read.
    pub at: Instant,
    /// From where.
    pub remote: Remote,
    /// The socket.
    pub via: Via,
    /// The address of ours it was sent to.
    pub local: SocketAddr,
    /// What it holds.
    pub bytes: &'a [u8],
    /// Another thread heard it.
    pub heard_elsewhere: bool,
}

/// What a descriptor with a token of its own is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A peer's own port.
    Own(PeerId),
    /// A connection of ICE-TCP; the token is its name.
    Connection,
}

/// What a thread is given to wait on, besides what it makes itself.
#[derive(Debug, Default)]
pub struct Shares {
    /// The thread's sockets on the shared port.
    pub mux: Option<Pair>,
    /// Its listening sockets on the shared port for ICE-TCP, IPv4 and IPv6.
    pub listeners: [Option<TcpListener>; 2],
    /// Its port for members of rooms.
    pub rooms: Option<Pair>,
}

/// The thread's surroundings.
#[derive(Debug)]
pub struct Sockets {
    /// The thread's index.
    pub index: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// What it waits on.
    pub epoll: OwnedFd,
    /// The port that all peers share.
    pub mux: Option<Pair>,
    /// The shared port for ICE-TCP, IPv4 and IPv6.
    pub listeners: [Option<TcpListener>; 2],
    /// The thread's port for members of rooms.
    pub rooms: Option<Pair>,
    /// What members sent in this round.
    pub news: RoomNews,
    /// Peers that took media in this round and are to be settled at its end.
    pub unsettled: Vec<PeerId>,
    /// Connections of ICE-TCP.
    pub tcp: Connections,
    /// Those that turned out to be broken while something was written.
    pub broken: Vec<u64>,
    /// Ports of single peers.
    pub own: HashMap<PeerId, Pair>,
    /// What goes out.
    pub outbox: Outbox,
    /// The way to bodies.
    pub bodies: MicSink,
    /// Proven addresses of peers.
    pub paths: HashMap<Remote, Path>,
    /// When peers want to be looked at.
    pub deadlines: Deadlines,
    /// Who follows which stream.
    pub followers: Followers,
    /// Limits lines that strangers can cause.
    pub log: LogLimit,
    watched: HashMap<u64, Watched>,
    next_token: u64,
    passing: HashMap<usize, Vec<ForwardedDatagram>>,
    /// The token of a socket that took nothing, until it does again.
    blocked: Option<(Via, SocketAddr)>,
    /// Until when no connection is accepted.
    accepting_from: Option<Instant>,
}

impl Sockets {
    /// Surroundings with what is always there registered.
    pub fn new(index: usize, shared: Arc<Shared>, shares: Shares, wake: &impl AsFd) -> io::Result<Sockets> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let Shares { mux, listeners, rooms } = shares;
        let bodies = MicSink::open(shared.counters.clone())?;
        let add =
            |fd: &dyn AsFd, token| epoll::add(&epoll, fd.as_fd(), EventData::new_u64(token), EventFlags::IN);
        add(wake, WAKE)?;
        let sockets = [
            (mux.as_ref().and_then(|pair| pair.v4.as_ref()), MUX_V4),
            (mux.as_ref().and_then(|pair| pair.v6.as_ref()), MUX_V6),
            (rooms.as_ref().and_then(|pair| pair.v4.as_ref()), ROOMS_V4),
            (rooms.as_ref().and_then(|pair| pair.v6.as_ref()), ROOMS_V6),
            (bodies.sockets.v4.as_ref(), BODIES_V4),
            (bodies.sockets.v6.as_ref(), BODIES_V6),
        ];
        for (socket, token) in sockets {
            socket.map(|udp| add(&**udp, token)).transpose()?;
        }
        for (listener, token) in listeners.iter().zip([LISTEN_V4, LISTEN_V6]) {
            listener.as_ref().map(|listener| add(listener, token)).transpose()?;
        }
        Ok(Sockets {
            index,
            tcp: Connections::new(shared.config.tcp_connections),
            shared,
            epoll,
            mux,
            listeners,
            rooms,
            news: RoomNews::default(),
            unsettled: Vec::new(),
            broken: Vec::new(),
            own: HashMap::new(),
            outbox: Outbox::default(),
            bodies,
            paths: HashMap::new(),
            deadlines: Deadlines::default(),
            followers: Followers::default(),
            log: LogLimit::new(LOG_BURST, LOG_INTERVAL),
            watched: HashMap::new(),
            next_token: FIRST_FREE,
            passing: HashMap::new(),
            blocked: None,
            accepting_from: None,
        })
    }

    /// What this token stands for.
    pub fn watched(&self, token: u64) -> Option<Watched> {
        self.watched.get(&token).copied()
    }

    /// Waits for a descriptor from now on.
    pub fn watch(&mut self, fd: &impl AsFd, what: Watched) -> io::Result<u64> {
        let token = self.next_token;
        epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN)?;
        self.next_token += 1;
        self.watched.insert(token, what);
        Ok(token)
    }

    /// Gives a peer its own port.
    pub fn give_port(&mut self, peer: PeerId, pair: Pair) -> io::Result<()> {
        for udp in pair.each() {
            self.watch(&**udp, Watched::Own(peer))?;
        }
        self.own.insert(peer, pair);
        Ok(())
    }

    /// Closes a peer's own port.
    pub fn take_port(&mut self, peer: &PeerId) {
        if let Some(pair) = self.own.remove(peer) {
            for udp in pair.each() {
                // Closing takes it out of the epoll as well; this is for a socket that somebody else still holds.
                let _ = epoll::delete(&self.epoll, &**udp);
            }
            self.watched.retain(|_, what| *what != Watched::Own(*peer));
        }
        // A socket that is gone would never say that it takes something again.
        if self.blocked.is_some_and(|(via, _)| via == Via::Own(*peer)) {
            self.blocked = None;
        }
    }

    /// The socket for an address.
    pub fn socket(&self, via: Via, ip: IpAddr) -> Option<&Udp> {
        let pair = match via {
            Via::Mux => self.mux.as_ref(),
            Via::Own(peer) => self.own.get(&peer),
            Via::Rooms => self.rooms.as_ref(),
        };
        pair.and_then(|pair| pair.of(ip)).map(|udp| &**udp)
    }

    /// Notes that an address is a peer's. False: it is another's, who was heard there a moment ago.
    pub fn learn(&mut self, arrival: &Datagram<'_>, peer: PeerId) -> bool {
        let held = |path: &Path| {
            path.peer != peer && arrival.at.saturating_duration_since(path.heard) < ADDRESS_HELD
        };
        if self.paths.get(&arrival.remote).is_some_and(held) {
            return false;
        }
        let path = Path { peer, via: arrival.via, local: arrival.local.ip(), heard: arrival.at };
        self.paths.insert(arrival.remote, path);
        if arrival.heard_elsewhere {
            let owner = Owner { thread: self.index, peer };
            self.shared.directory.note_foreign(arrival.remote.address, owner);
        }
        true
    }

    /// Forgets an address, unless it is another peer's by now.
    pub fn forget(&mut self, remote: &Remote, peer: PeerId) {
        if self.paths.get(remote).is_some_and(|path| path.peer == peer) {
            self.paths.remove(remote);
            self.shared.directory.forget_foreign(&remote.address, &peer);
        }
    }

    /// Puts a datagram aside for another thread.
    pub fn pass(&mut self, thread: usize, arrival: &Datagram<'_>) {
        let batch = self.passing.entry(thread).or_default();
        if batch.len() >= PASSED_PER_ROUND {
            return self.shared.counters.dropped.one();
        }
        self.shared.counters.foreign.one();
        batch.push(ForwardedDatagram {
            at: arrival.at,
            source: arrival.remote.address,
            local: arrival.local,
            bytes: arrival.bytes.to_vec(),
        });
    }

    /// Ends a round: passes on and sends what was put aside.
    pub fn flush(&mut self) {
        for (thread, batch) in self.passing.drain() {
            let count = batch.len() as u64;
            let told = self.shared.threads.get(thread).map(|line| line.tell(Command::Datagrams(batch)));
            if told.is_none_or(|told| told.is_err()) {
                self.shared.counters.dropped.add(count);
            }
        }
        self.send_out();
    }

    /// Sends what waits to be sent, unless a socket takes nothing at the moment.
    pub fn send_out(&mut self) {
        if self.blocked.is_none() {
            self.send();
        }
    }

    /// A socket that took nothing takes something again.
    pub fn unblock(&mut self) {
        if let Some((via, to)) = self.blocked.take() {
            self.interest(via, to, EventFlags::IN);
            self.send();
        }
    }

    fn send(&mut self) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let flushed = outbox.flush(|via, ip| self.socket(via, ip), &self.shared.counters);
        self.outbox = outbox;
        if let Flushed::Blocked(via, to) = flushed {
            self.blocked = Some((via, to));
            self.interest(via, to, EventFlags::IN | EventFlags::OUT);
        }
    }

    fn interest(&self, via: Via, to: SocketAddr, flags: EventFlags) {
        let token = match via {
            Via::Mux if to.is_ipv4() => Some(MUX_V4),
            Via::Mux => Some(MUX_V6),
            Via::Rooms if to.is_ipv4() => Some(ROOMS_V4),
            Via::Rooms => Some(ROOMS_V6),
            Via::Own(peer) => {
                self.watched.iter().find(|(_, what)| **what == Watched::Own(peer)).map(|(token, _)| *token)
            }
        };
        if let (Some(token), Some(udp)) = (token, self.socket(via, to.ip())) {
            // A peer's own port may have two sockets; which of them the event names does not matter.
            let _ = epoll::modify(&self.epoll, udp, EventData::new_u64(token), flags);
        }
    }

    /// Sends a frame on the connection to a browser, if there is one.
    pub fn send_frame(&mut self, to: SocketAddr, frame: &[u8]) {
        let Some(token) = self.tcp.token_of(&to) else { return };
        let Some(connection) = self.tcp.get_mut(token) else { return };
        let written = connection.send(frame);
        let counters = &self.shared.counters;
        match written {
            Written::All => counters.sent_frame(frame.len()),
            Written::Dropped => counters.dropped.one(),
            Written::Broken => self.broken.push(token),
            Written::Part => {
                counters.sent_frame(frame.len());
                let (data, flags) = (EventData::new_u64(token), EventFlags::IN | EventFlags::OUT);
                let _ = epoll::modify(&self.epoll, connection.stream(), data, flags);
            }
        }
    }

    /// Changes what a connection is waited for. False: it cannot be waited for any more.
    pub fn connection_interest(&self, token: u64, connection: &Connection, flags: EventFlags) -> bool {
        epoll::modify(&self.epoll, connection.stream(), EventData::new_u64(token), flags).is_ok()
    }

    /// Takes a connection out, for another thread.
    pub fn release_connection(&mut self, token: u64) -> Option<Connection> {
        let connection = self.tcp.take(token)?;
        let _ = epoll::delete(&self.epoll, connection.stream());
        self.watched.remove(&token);
        self.tcp.remove(token, connection.remote, connection.peer);
        Some(connection)
    }

    /// Closes a connection. Its peer will be in trouble, unless it has another way.
    pub fn close_connection(&mut self, token: u64) {
        let Some(connection) = self.release_connection(token) else { return };
        if let Some(peer) = connection.peer {
            self.forget(&Remote { transport: Transport::Tcp, address: connection.remote }, peer);
        }
    }

    /// Accepts no connection until then.
    pub fn pause_accepting(&mut self, until: Instant) {
        self.accepting_from = Some(until);
        self.listeners.iter().flatten().for_each(|listener| {
            let _ = epoll::delete(&self.epoll, listener);
        });
    }

    /// Accepts again when the pause is over.
    pub fn resume_accepting(&mut self, now: Instant) {
        if self.accepting_from.is_none_or(|from| now < from) {
            return;
        }
        self.accepting_from = None;
        for (listener, token) in self.listeners.iter().zip([LISTEN_V4, LISTEN_V6]) {
            if let Some(listener) = listener {
                let _ = epoll::add(&self.epoll, listener, EventData::new_u64(token), EventFlags::IN);
            }
        }
    }

    /// When something here wants to be looked at.
    pub fn next_deadline(&self) -> Option<Instant> {
        let news = self.news.due(self.collects());
        let all = [self.deadlines.next(), self.tcp.next_deadline(), self.accepting_from, news];
        all.into_iter().flatten().min()
    }

    /// How long what members send is gathered.
    pub fn collects(&self) -> Duration {
        self.shared.config.rooms.as_ref().map_or(Duration::ZERO, |rooms| rooms.collect)
    }

    /// Whether a line that a stranger can cause may be written now; it ends with what was left out.
    pub fn may_log(&mut self, now: Instant) -> Option<String> {
        let moment = self.shared.moment(now);
        self.log.allow(moment).map(|left_out| match left_out {
            0 => String::new(),
            more => format!(" ({more} such lines were left out)"),
        })
    }
}
