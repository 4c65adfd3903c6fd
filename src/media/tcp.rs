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

use crate::core::tcp_frames::{self, Deframer};
use crate::media::ids::PeerId;
use crate::media::udp::Share;

/// From the connection to the first check: the browser has just been answered.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);

/// Connections of nobody per thread. One more pushes out the oldest.
const MAX_UNKNOWN: usize = 128;

/// Connections per thread, where descriptors are no matter.
pub const MAX_CONNECTIONS: usize = 1_024;

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
        Connection { stream, remote, local, peer: None, deframer: Deframer::default(), out: Vec::new() }
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
            match self.stream.write(&self.out) {
                Ok(0) => return Written::Broken,
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
    most: usize,
    all: HashMap<u64, Connection>,
    by_remote: HashMap<SocketAddr, u64>,
    /// Nobody's, oldest first.
    unknown: VecDeque<(Instant, u64)>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections::new(MAX_CONNECTIONS)
    }
}

impl Connections {
    /// None yet, of at most this many.
    pub fn new(most: usize) -> Connections {
        let (all, by_remote, unknown) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Connections { most, all, by_remote, unknown }
    }

    /// A connection that was accepted; `None`: no room, or gone already.
    pub fn accepted(&self, stream: TcpStream, remote: SocketAddr) -> Option<Connection> {
        if self.all.len() >= self.most {
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        stream.set_nodelay(true).ok()?;
        let local = stream.local_addr().ok()?;
        Some(Connection::new(stream, remote, local))
    }

    /// A connection that another thread accepted.
    pub fn moved(&self, moved: Moved) -> Option<(Connection, Vec<u8>)> {
        let room = self.all.len() < self.most;
        room.then(|| (Connection::new(moved.stream, moved.remote, moved.local), moved.bytes))
    }

    /// Adds a connection. One of nobody that there is no room for any more is returned.
    pub fn add(&mut self, token: u64, connection: Connection, now: Instant) -> Option<u64> {
        self.by_remote.insert(connection.remote, token);
        self.all.insert(token, connection);
        self.unknown.push_back((now + UNKNOWN_LIMIT, token));
        if self.unknown.len() > MAX_UNKNOWN { self.unknown.pop_front().map(|(_, token)| token) } else { None }
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

    /// It is a peer's from now on.
    pub fn known(&mut self, token: u64) {
        self.unknown.retain(|(_, each)| *each != token);
    }

    /// Forgets a connection.
    pub fn remove(&mut self, token: u64, remote: SocketAddr) {
        self.all.remove(&token);
        if self.by_remote.get(&remote) == Some(&token) {
            self.by_remote.remove(&remote);
        }
        self.known(token);
    }

    /// When the oldest connection of nobody has had its time.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.unknown.front().map(|(at, _)| *at)
    }

    /// The oldest connection of nobody, if it has had its time.
    pub fn overdue(&self, now: Instant) -> Option<u64> {
        self.unknown.front().filter(|(at, _)| *at <= now).map(|(_, token)| *token)
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

    #[test]
    fn connections_of_nobody_are_few_and_the_oldest_goes() {
        let (mut connections, now) = (Connections::default(), Instant::now());
        let mut clients = Vec::new();
        for token in 0..=MAX_UNKNOWN as u64 {
            let (client, connection) = pair();
            clients.push(client);
            let pushed_out = connections.add(token, connection, now);
            assert_eq!(pushed_out, (token == MAX_UNKNOWN as u64).then_some(0));
        }
        assert_eq!(connections.overdue(now), None);
        assert_eq!(connections.overdue(now + UNKNOWN_LIMIT), Some(1));
        connections.known(1);
        assert_eq!(connections.overdue(now + UNKNOWN_LIMIT), Some(2));
    }
}
