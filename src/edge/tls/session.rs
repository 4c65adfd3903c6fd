//! One TLS connection over a non-blocking socket.
//!
//! ```text
//!  handshaking ── Finished both ways, all of ours with the kernel ─► established ─┬─ close_notify, or FIN ─► read side ended
//!       └─ error: alert sent ─► broken                                            └─ finish(): close_notify, then FIN
//! ```
//!
//! Bytes the caller offers count as taken only when their ciphertext is with the kernel: until then the caller keeps
//! them in its outbox, so that everybody's backpressure, deadlines and "all is sent" hold as they do without TLS.
//!
//! An idle session owns no buffer: records are opened and sealed in scratch memory of the thread, and only what is left
//! over (part of a record, ciphertext the kernel did not take) is kept.

use std::cell::RefCell;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::Shutdown;
use rustls::Error;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConfig, UnbufferedServerConnection};

use super::names::{self, Refusal};
use super::records::{Connection, RECORD, SEAL, Seal, Stop, Work, piece};
use crate::edge::socket::{Got, read_fd, write_fd};

/// Ciphertext read at once.
const READ: usize = 64 * 1024;
/// Largest unfinished input: a handshake message of 64 KiB with its records' headers. More is an attack.
const MAX_INCOMING: usize = READ + 4 * 1024;
/// What sealing adds at most: five records' headers and tags, a key update, alerts.
const SEAL_OVERHEAD: usize = 1024;
/// Memory that every session of a thread uses while it is at work.
struct Scratch {
    incoming: Vec<u8>,
    sealed: Vec<u8>,
    joined: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        incoming: vec![0; MAX_INCOMING + READ],
        sealed: vec![0; SEAL + SEAL_OVERHEAD],
        joined: Vec::with_capacity(RECORD),
    });
}

/// Why a handshake failed.
#[derive(Debug)]
pub enum HandshakeError {
    /// The client asks for what we do not serve.
    Refused(Refusal),
    /// The other side broke the protocol, or is not to be trusted.
    Tls(Error),
    /// The connection broke.
    Socket(Errno),
    /// The other side closed the connection.
    Closed,
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HandshakeError::Refused(refusal) => write!(f, "{refusal}"),
            HandshakeError::Tls(Error::InvalidCertificate(why)) => {
                write!(
                    f,
                    "its certificate is refused ({why:?}); check workers.ca_file and the worker's server.tls.cert"
                )
            }
            HandshakeError::Tls(error) => write!(f, "no TLS: {error}"),
            HandshakeError::Socket(error) => write!(f, "the TLS handshake broke off: {error}"),
            HandshakeError::Closed => f.write_str("it closed the connection within the TLS handshake"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// A session.
pub struct Session {
    connection: Connection,
    /// Ciphertext that was not opened yet.
    incoming: Vec<u8>,
    /// Opened, but the reader had no room.
    plain: Vec<u8>,
    /// Ciphertext the kernel did not take.
    outgoing: Vec<u8>,
    /// How many of the caller's bytes wait in `outgoing`.
    owed: usize,
    /// The kernel has nothing more for us until epoll says so.
    drained: bool,
    established: bool,
    /// `incoming` may hold whole records: the reader had no room for them.
    unopened: bool,
    /// The peer sends no more.
    ended: bool,
    broken: bool,
    finishing: bool,
}

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It is over.
    Done,
    /// The peer's turn.
    WaitsForInput,
    /// The kernel takes no more.
    WaitsForRoom,
}

/// What input to open.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// What was read before.
    Kept,
    /// That, and what the socket has.
    Socket { fd: &'a OwnedFd, hung_up: bool },
}

/// Why there is no progress.
enum Trouble {
    Refused(Refusal),
    Tls(Error),
    Socket(Errno),
    Closed,
}

impl Session {
    /// Waits for a client's handshake.
    pub fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Connection::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// Begins a handshake with the server of this name.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Error> {
        Ok(Session::new(Connection::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    fn new(connection: Connection) -> Session {
        Session {
            connection,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            owed: 0,
            drained: false,
            unopened: false,
            established: false,
            ended: false,
            broken: false,
            finishing: false,
        }
    }

    /// Epoll announced input.
    pub fn note_input(&mut self) {
        self.drained = false;
    }

    /// Epoll announced room: goes on with closing.
    pub fn note_room(&mut self, fd: &OwnedFd) {
        if self.finishing {
            self.finish_when_sent(fd);
        }
    }

    /// Input that nobody has read yet lies here.
    pub fn holds_input(&self) -> bool {
        !self.plain.is_empty() || !self.incoming.is_empty()
    }

    /// Whether the client came to validate a name, and for nothing else.
    pub fn is_challenge(&self) -> bool {
        match &self.connection {
            Connection::Server(server) => server.alpn_protocol() == Some(names::ACME_TLS),
            Connection::Client(_) => false,
        }
    }

    /// Goes on with the handshake.
    pub fn handshake(&mut self, fd: &OwnedFd) -> Result<Handshake, HandshakeError> {
        let mut from = Source::Kept;
        while !self.established {
            let stop = self.advance(from, &mut []).1;
            // An answer or an alert may wait, whatever the result.
            let sent = self.flush(fd);
            match stop {
                Ok(_) => {}
                Err(Trouble::Refused(refusal)) => return Err(HandshakeError::Refused(refusal)),
                Err(Trouble::Tls(error)) => return Err(HandshakeError::Tls(error)),
                Err(Trouble::Socket(Errno::AGAIN)) => return Ok(Handshake::WaitsForInput),
                Err(Trouble::Socket(error)) => return Err(HandshakeError::Socket(error)),
                Err(Trouble::Closed) => return Err(HandshakeError::Closed),
            }
            if !sent.map_err(HandshakeError::Socket)? {
                return Ok(Handshake::WaitsForRoom);
            }
            from = Source::Socket { fd, hung_up: true };
        }
        match self.flush(fd) {
            Ok(true) => Ok(Handshake::Done),
            Ok(false) => Ok(Handshake::WaitsForRoom),
            Err(error) => Err(HandshakeError::Socket(error)),
        }
    }

    /// Reads what was sent to us. The flag says whether there may be more.
    pub fn read(&mut self, fd: &OwnedFd, hung_up: bool, room: &mut [u8]) -> (Got, bool) {
        if !self.plain.is_empty() {
            return (Got::Bytes(self.take_plain(room)), true);
        }
        let mut from = if self.unopened { Source::Kept } else { Source::Socket { fd, hung_up } };
        loop {
            match (self.broken, self.ended) {
                (true, _) => return (Got::Failed(Errno::PROTO), true),
                (_, true) => return (Got::End, true),
                _ => {}
            }
            if self.drained && matches!(from, Source::Socket { .. }) {
                return (Got::Blocked, false);
            }
            let (filled, stop) = self.advance(from, room);
            if !self.outgoing.is_empty() && self.owed == 0 {
                // Answers of TLS itself; what the kernel does not take leaves with the next write.
                let _ = self.flush(fd);
            }
            if filled > 0 {
                let more =
                    self.unopened || !self.plain.is_empty() || !self.drained || stop.is_err() || self.ended;
                return (Got::Bytes(filled), more);
            }
            match stop {
                Ok(_) | Err(Trouble::Tls(_) | Trouble::Refused(_)) => {}
                Err(Trouble::Closed) => self.on_end_without_notice(),
                Err(Trouble::Socket(Errno::AGAIN)) => return (Got::Blocked, false),
                Err(Trouble::Socket(error)) => return (Got::Failed(error), true),
            }
            from = Source::Socket { fd, hung_up };
        }
    }

    /// FIN without close_notify. Browsers do that; requests and tunnels say themselves where they end. Of a reply only
    /// close_notify proves that it is complete.
    fn on_end_without_notice(&mut self) {
        match self.connection {
            Connection::Server(_) => self.ended = true,
            Connection::Client(_) => self.broken = true,
        }
    }

    fn take_plain(&mut self, room: &mut [u8]) -> usize {
        let len = self.plain.len().min(room.len());
        if let (Some(place), Some(data)) = (room.get_mut(..len), self.plain.get(..len)) {
            place.copy_from_slice(data);
        }
        if len == self.plain.len() {
            self.plain = Vec::new();
        } else {
            self.plain.drain(..len);
        }
        len
    }

    /// Opens what is kept, after reading more of the socket if that is the source. Returns how much of `room` is filled.
    fn advance(&mut self, from: Source<'_>, room: &mut [u8]) -> (usize, Result<Stop, Trouble>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut len = self.incoming.len();
            if let Source::Socket { fd, hung_up } = from {
                let space = scratch.incoming.get_mut(len..len + READ).unwrap_or_default();
                match self.fill(fd, hung_up, space) {
                    Ok(n) => len += n,
                    Err(trouble) => return (0, Err(trouble)),
                }
            }
            let Some(input) = scratch.incoming.get_mut(..len) else { return (0, Err(Trouble::Closed)) };
            if let Some(place) = input.get_mut(..self.incoming.len()) {
                place.copy_from_slice(&self.incoming);
            }
            let mut work = Work::new(room, &mut self.plain, &mut self.outgoing);
            let (used, stop) = self.connection.process(input, &mut work);
            let filled = work.filled;
            self.established |= work.established;
            self.keep(input.get(used..).unwrap_or_default());
            (filled, self.settle(stop))
        })
    }

    fn settle(&mut self, stop: Result<Stop, Error>) -> Result<Stop, Trouble> {
        self.unopened = stop == Ok(Stop::Full) && !self.incoming.is_empty();
        match stop {
            Ok(Stop::Hungry) if self.incoming.len() > MAX_INCOMING => {
                self.broken = true;
                Err(Trouble::Tls(Error::General("a TLS message without end".into())))
            }
            Ok(stop) => {
                self.ended |= stop == Stop::PeerClosed;
                Ok(stop)
            }
            Err(error) => {
                self.broken = true;
                // Asked only here, after the one call in which rustls can have looked for a certificate.
                let Some(refusal) = names::take_refusal() else { return Err(Trouble::Tls(error)) };
                name_alert(&mut self.outgoing, refusal);
                Err(Trouble::Refused(refusal))
            }
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
    }

    fn fill(&mut self, fd: &OwnedFd, hung_up: bool, space: &mut [u8]) -> Result<usize, Trouble> {
        match read_fd(fd, space) {
            Ok(0) => Err(Trouble::Closed),
            Ok(n) => {
                // A short read emptied the socket, unless an end is announced already.
                self.drained = n < space.len() && !hung_up;
                Ok(n)
            }
            Err(error) => {
                self.drained = error == Errno::AGAIN;
                Err(Trouble::Socket(error))
            }
        }
    }

    /// Sends parts, one after the other; says how many of their bytes are with the kernel. What it says is missing must be
    /// offered again, first.
    pub fn write(&mut self, fd: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        if self.broken || self.finishing {
            return Err(Errno::PIPE);
        }
        if !self.flush(fd)? {
            return Ok(0);
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut sent = std::mem::take(&mut self.owed);
        debug_assert!(sent <= total, "{sent} bytes were sealed, {total} are offered");
        while sent < total {
            let (taken, all_sent) =
                SCRATCH.with_borrow_mut(|scratch| self.send_some(fd, parts, sent, scratch))?;
            if !all_sent {
                self.owed = taken;
                break;
            }
            sent += taken;
        }
        Ok(sent)
    }

    /// Seals a piece from `at` on and sends it. Returns its length, and whether the kernel took all of it.
    fn send_some(
        &mut self,
        fd: &OwnedFd,
        parts: &[IoSlice<'_>],
        at: usize,
        scratch: &mut Scratch,
    ) -> Result<(usize, bool), Errno> {
        let piece = piece(parts, at, &mut scratch.joined);
        let taken = piece.len();
        let mut work = Work::new(&mut [], &mut self.plain, &mut self.outgoing);
        work.seal = Some(Seal::Data(piece, &mut scratch.sealed));
        let (used, stop) = self.connection.process(&mut self.incoming, &mut work);
        let sealed = work.sealed;
        self.ended |= work.peer_closed;
        self.incoming.drain(..used.min(self.incoming.len()));
        self.settle(stop).map_err(|_| Errno::PROTO)?;
        if sealed == 0 {
            return Err(Errno::PROTO);
        }
        self.send_sealed(fd, scratch.sealed.get(..sealed).unwrap_or_default()).map(|all| (taken, all))
    }

    fn send_sealed(&mut self, fd: &OwnedFd, sealed: &[u8]) -> Result<bool, Errno> {
        if !self.outgoing.is_empty() {
            self.outgoing.extend_from_slice(sealed);
            return self.flush(fd);
        }
        let sent = write_fd(fd, &[IoSlice::new(sealed)])?;
        self.outgoing.extend_from_slice(sealed.get(sent..).unwrap_or_default());
        Ok(self.outgoing.is_empty())
    }

    /// Sends what waits. `true`: nothing waits any more.
    fn flush(&mut self, fd: &OwnedFd) -> Result<bool, Errno> {
        if self.outgoing.is_empty() {
            return Ok(true);
        }
        let sent = write_fd(fd, &[IoSlice::new(&self.outgoing)])?;
        if sent < self.outgoing.len() {
            self.outgoing.drain(..sent);
            return Ok(false);
        }
        self.outgoing = Vec::new();
        Ok(true)
    }

    /// Sends close_notify, then FIN. Called when the caller's bytes are all sent.
    pub fn finish(&mut self, fd: &OwnedFd) {
        if self.finishing {
            return;
        }
        self.finishing = true;
        if self.established && !self.broken {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut work = Work::new(&mut [], &mut self.plain, &mut self.outgoing);
                work.seal = Some(Seal::CloseNotify(&mut scratch.sealed));
                let (used, _) = self.connection.process(&mut self.incoming, &mut work);
                let sealed = work.sealed;
                self.incoming.drain(..used.min(self.incoming.len()));
                self.outgoing.extend_from_slice(scratch.sealed.get(..sealed).unwrap_or_default());
            });
        }
        self.finish_when_sent(fd);
    }

    fn finish_when_sent(&mut self, fd: &OwnedFd) {
        // A broken connection shows at the next read.
        if matches!(self.flush(fd), Ok(true)) {
            let _ = rustix::net::shutdown(fd, Shutdown::Write);
        }
    }
}

/// The alert that rustls queues when there is no certificate: a record of its own, not encrypted yet (RFC 8446, 5.1 and 6).
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Says in the alert why there is no certificate, which rustls has no words for. Without that alert nothing is changed.
fn name_alert(outgoing: &mut [u8], refusal: Refusal) {
    if outgoing.ends_with(&ACCESS_DENIED)
        && let Some(description) = outgoing.last_mut()
    {
        *description = refusal.alert();
    }
}
