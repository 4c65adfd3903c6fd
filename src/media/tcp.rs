//! ICE-TCP (RFC 6544): browsers without UDP open a connection to the shared port and send datagrams as frames.
//!
//! ```text
//!  accepted ── first frame is a genuine check ──▶ a peer's ── peer ends, connection ends ──▶ closed
//!      ├── of a peer of another thread: the connection moves there
//!      └── anything else, or nothing for ten seconds ──▶ closed
//! ```

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::core::limits::fair_share::{self, FairShare, Sizes, network_of};
use crate::host::uninterrupted::uninterrupted;
use crate::media::ids::PeerId;
use crate::media::transport::tcp_frames::{self, Deframer};
use crate::media::udp::Share;

/// From the connection to the first check: the browser has just been answered.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);

/// Connections of nobody per thread. One more pushes out the oldest of the network that has most of them.
const MAX_UNKNOWN: usize = 128;

/// Of one network. One more pushes out its own oldest.
const MAX_UNKNOWN_OF_NETWORK: usize = 32;

/// Connections per thread, where descriptors are no matter.
pub const MAX_CONNECTIONS: usize = 1_024;

/// Of one peer: a browser opens one for each pair of candidates. One more pushes out the one that was silent for longest.
const MAX_OF_PEER: usize = 8;

/// Bytes waiting for a slow connection: a second of a good picture. What is too much is lost whole, as on any network.
const LONGEST_QUEUE: usize = 256 * 1024;

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// How long accepting rests when descriptors are used up.
pub const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Opens the listening socket of one family.
pub fn listen(ip: IpAddr, port: u16, share: Share) -> io::Result<TcpListener> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Connections of an earlier run that are being forgotten must not keep us from the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if share == Share::WithThreads {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The browser.
    pub remote: SocketAddr,
    /// The address of ours it connected to.
    pub local: SocketAddr,
    /// Whose it is, once that is known.
    pub peer: Option<PeerId>,
    /// When something last arrived.
    heard: Instant,
    deframer: Deframer,
    out: Vec<u8>,
}

/// A connection on its way to another thread.
#[derive(Debug)]
pub struct Moved {
    stream: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    /// What arrived on it and was not looked at yet, as frames.
    pub bytes: Vec<u8>,
}

/// What a write left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    All,
    /// Something that waits until the connection takes it.
    Part,
    /// The frame was dropped: too much waits already.
    Dropped,
    /// The connection is broken.
    Broken,
}

impl Connection {
    fn new(stream: TcpStream, remote: SocketAddr, local: SocketAddr) -> Connection {
        let (deframer, heard) = (Deframer::default(), Instant::now());
        Connection { stream, remote, local, peer: None, heard, deframer, out: Vec::new() }
    }

    /// Something arrived.
    pub fn note_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once and gives each frame. False: the connection is over.
    pub fn read(&mut self, room: &mut [u8], each: impl FnMut(&[u8])) -> bool {
        match self.stream.read(room) {
            Ok(0) => false,
            Ok(count) => self.deframer.feed(room.get(..count).unwrap_or_default(), each).is_ok(),
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Takes bytes that arrived before the connection moved here.
    pub fn replay(&mut self, bytes: &[u8], each: impl FnMut(&[u8])) -> bool {
        self.deframer.feed(bytes, each).is_ok()
    }

    /// Sends a frame, or keeps it until it can be sent.
    pub fn send(&mut self, frame: &[u8]) -> Written {
        if self.out.len() + frame.len() > LONGEST_QUEUE {
            return Written::Dropped;
        }
        let waiting = !self.out.is_empty();
        tcp_frames::write(frame, &mut self.out);
        if waiting { Written::Part } else { self.write() }
    }

    /// Sends what waits.
    pub fn write(&mut self) -> Written {
        while !self.out.is_empty() {
            match uninterrupted(|| self.stream.write(&self.out)) {
                Ok(0) => return Written::Broken,
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Part,
                Err(_) => return Written::Broken,
            }
        }
        Written::All
    }

    /// Makes it ready for another thread, with these frames to be looked at there.
    pub fn into_moved(self, frames: &[Vec<u8>]) -> Moved {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| tcp_frames::write(frame, &mut bytes));
        bytes.extend(self.deframer.into_rest());
        Moved { stream: self.stream, remote: self.remote, local: self.local, bytes }
    }
}

/// The connections of one thread, by their token.
#[derive(Debug)]
pub struct Connections {
    /// Of one network.
    most_of_network: usize,
    all: HashMap<u64, Connection>,
    by_remote: HashMap<SocketAddr, u64>,
    by_peer: HashMap<PeerId, Vec<u64>>,
    /// Nobody's, oldest first.
    unknown: VecDeque<Unknown>,
    /// Networks, with the connections that count for them.
    places: FairShare<IpAddr>,
    counted: HashMap<u64, IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Unknown {
    until: Instant,
    token: u64,
    network: IpAddr,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections::new(MAX_CONNECTIONS)
    }
}

impl Connections {
    /// None yet, of at most this many; of one network half of them.
    pub fn new(most: usize) -> Connections {
        Connections {
            most_of_network: (most / 2).max(1),
            all: HashMap::new(),
            by_remote: HashMap::new(),
            by_peer: HashMap::new(),
            unknown: VecDeque::new(),
            places: FairShare::new(Sizes::of(most)),
            counted: HashMap::new(),
        }
    }

    /// A connection that was accepted; `None`: no room, or gone already.
    pub fn accepted(&self, stream: TcpStream, remote: SocketAddr) -> Option<Connection> {
        if !self.has_room(remote) {
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        stream.set_nodelay(true).ok()?;
        let local = stream.local_addr().ok()?;
        Some(Connection::new(stream, remote, local))
    }

    /// A connection that another thread accepted.
    pub fn moved(&self, moved: Moved) -> Option<(Connection, Vec<u8>)> {
        let room = self.has_room(moved.remote);
        room.then(|| (Connection::new(moved.stream, moved.remote, moved.local), moved.bytes))
    }

    fn has_room(&self, remote: SocketAddr) -> bool {
        let share = fair_share::Share { key: network_of(remote.ip()), most: self.most_of_network };
        self.places.ask(&[share]).is_ok()
    }

    /// Adds a connection. One of nobody that there is no room for any more is returned.
    pub fn add(&mut self, token: u64, connection: Connection, now: Instant) -> Option<u64> {
        let network = network_of(connection.remote.ip());
        self.places.enter([&network]);
        self.counted.insert(token, network);
        self.by_remote.insert(connection.remote, token);
        self.all.insert(token, connection);
        self.unknown.push_back(Unknown { until: now + UNKNOWN_LIMIT, token, network });
        let leaves = self.too_many_of_nobody(network)?;
        self.unknown.remove(leaves).map(|unknown| unknown.token)
    }

    /// Which one of nobody has to leave after one of this network came.
    fn too_many_of_nobody(&self, network: IpAddr) -> Option<usize> {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for unknown in &self.unknown {
            *counts.entry(unknown.network).or_default() += 1;
        }
        let of = |network: &IpAddr| counts.get(network).copied().unwrap_or(0);
        let most = match of(&network) > MAX_UNKNOWN_OF_NETWORK {
            true => of(&network),
            false if self.unknown.len() > MAX_UNKNOWN => counts.values().copied().max()?,
            false => return None,
        };
        self.unknown.iter().position(|unknown| of(&unknown.network) == most)
    }

    /// The connection to take from and give back: it is worked on while others may be looked up.
    pub fn take(&mut self, token: u64) -> Option<Connection> {
        self.all.remove(&token)
    }

    /// Gives it back.
    pub fn put_back(&mut self, token: u64, connection: Connection) {
        self.all.insert(token, connection);
    }

    /// The connection.
    pub fn get_mut(&mut self, token: u64) -> Option<&mut Connection> {
        self.all.get_mut(&token)
    }

    /// The connection to this browser.
    pub fn token_of(&self, remote: &SocketAddr) -> Option<u64> {
        self.by_remote.get(remote).copied()
    }

    /// It is this peer's from now on. One of the peer's that there is no room for any more is returned.
    pub fn known(&mut self, token: u64, peer: PeerId) -> Option<u64> {
        self.unknown.retain(|unknown| unknown.token != token);
        let of_peer = self.by_peer.entry(peer).or_default();
        of_peer.push(token);
        if of_peer.len() <= MAX_OF_PEER {
            return None;
        }
        let heard = |token: &&u64| self.all.get(token).map(|connection| connection.heard);
        of_peer.iter().filter(|other| **other != token).min_by_key(heard).copied()
    }

    /// Forgets a connection, which was this peer's.
    pub fn remove(&mut self, token: u64, remote: SocketAddr, peer: Option<PeerId>) {
        self.all.remove(&token);
        if self.by_remote.get(&remote) == Some(&token) {
            self.by_remote.remove(&remote);
        }
        if let Some(network) = self.counted.remove(&token) {
            self.places.give_back([&network]);
        }
        self.unknown.retain(|unknown| unknown.token != token);
        if let Some(peer) = peer
            && let Some(of_peer) = self.by_peer.get_mut(&peer)
        {
            of_peer.retain(|other| *other != token);
            if of_peer.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// When the oldest connection of nobody has had its time.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.unknown.front().map(|unknown| unknown.until)
    }

    /// The oldest connection of nobody, if it has had its time.
    pub fn overdue(&self, now: Instant) -> Option<u64> {
        self.unknown.front().filter(|unknown| unknown.until <= now).map(|unknown| unknown.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (TcpStream, Connection) {
        let listener = listen([127, 0, 0, 1].into(), 0, Share::Alone).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (stream, remote) = listener.accept().unwrap();
        (client, Connections::default().accepted(stream, remote).unwrap())
    }

    #[test]
    fn a_connection_that_takes_nothing_loses_whole_frames() {
        let (mut client, mut connection) = pair();
        let mut sent = 0u64;
        while connection.send(&[7; 1_200]) != Written::Dropped {
            sent += 1;
        }
        let mut seen = 0;
        let (mut deframer, mut room) = (Deframer::default(), vec![0; 65_536]);
        while seen < sent {
            assert_ne!(connection.write(), Written::Broken);
            let count = client.read(&mut room).unwrap();
            deframer.feed(&room[..count], |frame| seen += u64::from(frame == [7; 1_200])).unwrap();
        }
        assert_eq!((connection.write(), deframer.into_rest().len()), (Written::All, 0));
    }

    #[test]
    fn what_arrived_moves_along_with_a_connection() {
        let (mut client, mut connection) = pair();
        client.write_all(&[0, 2, 1, 2, 0, 9, 3]).unwrap();
        let (mut frames, mut room) = (Vec::new(), [0; 64]);
        while frames.is_empty() {
            assert!(connection.read(&mut room, |frame| frames.push(frame.to_vec())));
        }
        assert_eq!(connection.into_moved(&frames).bytes, [0, 2, 1, 2, 0, 9, 3]);
    }

    /// A connection that comes from there, as far as it tells.
    fn from(remote: [u8; 4]) -> (TcpStream, Connection) {
        let (client, connection) = pair();
        let remote = SocketAddr::new(remote.into(), connection.remote.port());
        (client, Connection { remote, ..connection })
    }

    #[test]
    fn connections_of_nobody_are_few_and_the_oldest_goes() {
        let (mut connections, now) = (Connections::default(), Instant::now());
        let mut clients = Vec::new();
        for token in 0..=MAX_UNKNOWN as u64 {
            let (client, connection) = from([192, 0, 2, u8::try_from(token % 8).unwrap()]);
            clients.push(client);
            let pushed_out = connections.add(token, connection, now);
            assert_eq!(pushed_out, (token == MAX_UNKNOWN as u64).then_some(0));
        }
        assert_eq!(connections.overdue(now), None);
        assert_eq!(connections.overdue(now + UNKNOWN_LIMIT), Some(1));
        connections.known(1, PeerId::from_entropy([1; 16]));
        assert_eq!(connections.overdue(now + UNKNOWN_LIMIT), Some(2));
    }

    #[test]
    fn connections_of_one_network_push_out_their_own() {
        let (mut connections, now) = (Connections::default(), Instant::now());
        let (_honest, connection) = from([192, 0, 2, 2]);
        assert_eq!(connections.add(0, connection, now), None);
        let mut clients = Vec::new();
        for token in 1..=300 {
            let (client, connection) = from([192, 0, 2, 1]);
            clients.push(client);
            let over = token > MAX_UNKNOWN_OF_NETWORK as u64;
            assert_eq!(
                connections.add(token, connection, now),
                over.then(|| token - MAX_UNKNOWN_OF_NETWORK as u64)
            );
        }
    }

    #[test]
    fn a_peer_has_few_connections_and_the_one_silent_for_longest_goes() {
        let (mut connections, now) = (Connections::default(), Instant::now());
        let (peer, mut clients) = (PeerId::from_entropy([1; 16]), Vec::new());
        for token in 0..=MAX_OF_PEER as u64 {
            let (client, connection) = from([192, 0, 2, 1]);
            clients.push(client);
            assert_eq!(connections.add(token, connection, now), None);
            let heard = now + Duration::from_secs(if token == 3 { 1 } else { 2 + token });
            connections.get_mut(token).unwrap().note_heard(heard);
            let leaves = connections.known(token, peer);
            assert_eq!(leaves, (token == MAX_OF_PEER as u64).then_some(3), "{token}");
        }
        let remote = connections.get_mut(3).unwrap().remote;
        connections.remove(3, remote, Some(peer));
        assert_eq!(connections.by_peer[&peer].len(), MAX_OF_PEER);
    }

    #[test]
    fn one_network_leaves_half_of_a_threads_connections_to_others() {
        let mut connections = Connections::default();
        let network = IpAddr::from([192, 0, 2, 1]);
        (0..MAX_CONNECTIONS / 2).for_each(|_| connections.places.enter([&network]));
        assert!(!connections.has_room(([192, 0, 2, 1], 9).into()));
        assert!(connections.has_room(([192, 0, 2, 2], 9).into()));
    }
}
