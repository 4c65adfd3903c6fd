//! The ICE-TCP part of a media thread: accepts connections, reads frames, moves connections to the thread of their peer.

use std::io;
use std::net::TcpListener;
use std::time::Instant;

use rustix::event::epoll::EventFlags;

use crate::media::local_candidates::Transport;
use crate::media::outbox::Via;
use crate::media::shared::Command;
use crate::media::sockets::{Datagram, LISTEN_V4, Remote, Watched};
use crate::media::tcp::{ACCEPT_PAUSE, Connection, Moved, Written};
use crate::media::thread::{After, MediaThread};

/// Connections accepted per round.
const ACCEPTS_PER_ROUND: usize = 32;

/// Bytes read from a connection per round.
const ROOM: usize = 16 * 1024;

impl MediaThread {
    /// Takes connections that wait.
    pub(super) fn accept(&mut self, token: u64) {
        for _ in 0..ACCEPTS_PER_ROUND {
            let listener = self.io.listeners.get(usize::from(token != LISTEN_V4)).and_then(Option::as_ref);
            match listener.map(TcpListener::accept) {
                Some(Ok((stream, remote))) => {
                    self.io.shared.counters.tcp_accepted.one();
                    if let Some(connection) = self.io.tcp.accepted(stream, remote) {
                        self.add(connection);
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Some(Err(error)) if is_of_the_connection(&error) => {}
                // Out of descriptors: the kernel would report the same connection for ever.
                _ => return self.io.pause_accepting(Instant::now() + ACCEPT_PAUSE),
            }
        }
    }

    fn add(&mut self, connection: Connection) -> Option<u64> {
        let token = self.io.watch(connection.stream(), Watched::Connection).ok()?;
        if let Some(pushed_out) = self.io.tcp.add(token, connection, Instant::now()) {
            self.refuse(pushed_out);
        }
        Some(token)
    }

    /// Takes a connection that another thread accepted.
    pub(super) fn take_moved(&mut self, moved: Moved) {
        let Some((mut connection, bytes)) = self.io.tcp.moved(moved) else {
            return self.io.shared.counters.dropped.one();
        };
        let mut frames = Vec::new();
        let sound = connection.replay(&bytes, |frame| frames.push(frame.to_vec()));
        if let Some(token) = self.add(connection).filter(|_| sound) {
            self.take_frames(token, &frames);
        }
    }

    /// Something is to be read from, or can be written to, a connection.
    pub(super) fn on_connection(&mut self, token: u64, flags: EventFlags) {
        let Some(mut connection) = self.io.tcp.take(token) else { return };
        let (mut frames, mut room, mut open) = (Vec::new(), [0u8; ROOM], true);
        if flags.contains(EventFlags::OUT) {
            open = match connection.write() {
                Written::All => self.io.connection_interest(token, &connection, EventFlags::IN),
                Written::Broken => false,
                Written::Part | Written::Dropped => true,
            };
        }
        if open && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            open = connection.read(&mut room, |frame| frames.push(frame.to_vec()));
            connection.note_heard(Instant::now());
        }
        self.io.tcp.put_back(token, connection);
        self.take_frames(token, &frames);
        if !open {
            self.io.close_connection(token);
        }
    }

    fn take_frames(&mut self, token: u64, frames: &[Vec<u8>]) {
        let at = Instant::now();
        for (index, bytes) in frames.iter().enumerate() {
            let Some(connection) = self.io.tcp.get_mut(token) else { return };
            let remote = Remote { transport: Transport::Tcp, address: connection.remote };
            let (local, known) = (connection.local, connection.peer.is_some());
            let arrival = Datagram { at, remote, via: Via::Mux, local, bytes, heard_elsewhere: false };
            if let After::Moves(thread) = self.arrive(&arrival) {
                return self.hand_over(token, thread, frames.get(index..).unwrap_or_default());
            }
            if !known && !self.recognise(token, remote) {
                return self.refuse(token);
            }
        }
    }

    /// After its first frame a connection is a peer's, or of no use.
    fn recognise(&mut self, token: u64, remote: Remote) -> bool {
        let peer = self.io.paths.get(&remote).map(|path| path.peer);
        let Some(connection) = self.io.tcp.get_mut(token) else { return false };
        connection.peer = peer;
        if let Some(pushed_out) = peer.and_then(|peer| self.io.tcp.known(token, peer)) {
            self.refuse(pushed_out);
        }
        peer.is_some()
    }

    fn hand_over(&mut self, token: u64, thread: usize, frames: &[Vec<u8>]) {
        let Some(connection) = self.io.release_connection(token) else { return };
        let moved = connection.into_moved(frames);
        self.io.shared.counters.foreign.one();
        let told = self.io.shared.threads.get(thread).map(|line| line.tell(Command::Connection(moved)));
        if told.is_none_or(|told| told.is_err()) {
            self.io.shared.counters.dropped.one();
        }
    }

    fn refuse(&mut self, token: u64) {
        self.io.shared.counters.tcp_refused.one();
        self.io.close_connection(token);
    }

    /// What time takes away.
    pub(super) fn tidy_connections(&mut self, now: Instant) {
        while let Some(token) = self.io.tcp.overdue(now) {
            self.refuse(token);
        }
        self.io.resume_accepting(now);
        for token in std::mem::take(&mut self.io.broken) {
            self.io.close_connection(token);
        }
    }
}

/// Errors of `accept` that belong to the one connection (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
