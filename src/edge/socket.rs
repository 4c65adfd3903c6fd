//! Non-blocking sockets: what epoll last said about them, reads, gathered writes, connecting.
//!
//! A socket may hold a TLS session; then reads and writes go through it, and nothing else changes for its users.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::tls::session::{Handshake, HandshakeError, Session};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use socket2::SockRef;

/// Silence after which the kernel begins to probe a tunnel's peer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered probes after which the connection is dead.
const KEEPALIVE_PROBES: u32 = 3;
/// Bytes for a client that the kernel takes before they can be sent. Without this it takes up to 4 MiB (`tcp_wmem`) for each
/// client that reads slowly; what is under way, which is what speed needs, does not count.
const UNSENT: u32 = 128 * 1024;
/// Half of what the kernel may hold of an upstream on this host, which otherwise grows to `tcp_rmem`, 6 MiB and more: there is
/// no distance to bridge. Large enough for most replies to arrive whole without waiting for acknowledgements, which would be dealt
/// with on our time. (Measured with 1 MiB replies: this 1.4 times the rate and 0.9 times the CPU of the kernel's own
/// bound, 512 KiB the same as that, up to 256 KiB 1.6 times its CPU.)
const LOCAL_RECEIVE: usize = 1 << 20;
/// Unacknowledged data for this long means a dead peer.
const USER_TIMEOUT_MS: u32 = 30_000;

/// A socket registered edge-triggered. The flags hold until a read or write would block.
pub struct Socket {
    fd: OwnedFd,
    tls: Option<Box<Session>>,
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer closed its side, or the connection broke.
    pub hung_up: bool,
    /// Bytes read and written since somebody took the numbers.
    traffic: (u64, u64),
}

/// Result of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// This many bytes.
    Bytes(usize),
    /// The peer sends no more.
    End,
    /// Nothing now.
    Blocked,
    /// The connection is broken.
    Failed(Errno),
}

impl Socket {
    /// A connected, non-blocking socket.
    pub fn new(fd: OwnedFd) -> Socket {
        Socket { fd, tls: None, readable: false, writable: true, hung_up: false, traffic: (0, 0) }
    }

    /// The same, with TLS.
    pub fn with_tls(fd: OwnedFd, session: Session) -> Socket {
        Socket { tls: Some(Box::new(session)), ..Socket::new(fd) }
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Goes on with the TLS handshake. `true`: it is over, or there is none.
    pub fn handshake(&mut self) -> Result<bool, HandshakeError> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        match tls.handshake(&self.fd)? {
            Handshake::Done => {
                // What came with its last message is with us already; epoll does not announce it again.
                self.readable = true;
                return Ok(true);
            }
            Handshake::WaitsForInput => self.readable = false,
            Handshake::WaitsForRoom => self.writable = false,
        }
        Ok(false)
    }

    /// Whether an authority's challenge is all that is spoken.
    pub fn is_challenge(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_challenge())
    }

    /// Input lies in the session that nobody has read.
    pub fn holds_input(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.holds_input())
    }

    /// Notes what epoll reports.
    pub fn note(&mut self, flags: EventFlags) {
        let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        self.readable |= flags.intersects(EventFlags::IN | gone);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        self.hung_up |= flags.intersects(gone);
        if let Some(tls) = &mut self.tls {
            if flags.intersects(EventFlags::IN | gone) {
                tls.note_input();
            }
            if self.writable {
                tls.note_room(&self.fd);
            }
        }
    }

    /// Bytes that were read and written since the last time.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.traffic)
    }

    /// Reads what is there.
    pub fn read(&mut self, buf: &mut [u8]) -> Got {
        let got = self.read_some(buf);
        if let Got::Bytes(count) = got {
            self.traffic.0 += count as u64;
        }
        got
    }

    fn read_some(&mut self, buf: &mut [u8]) -> Got {
        if let Some(tls) = &mut self.tls {
            let (got, more) = tls.read(&self.fd, self.hung_up, buf);
            self.readable = more;
            return got;
        }
        let room = buf.len();
        match read_fd(&self.fd, buf) {
            Ok(0) => Got::End,
            Ok(n) => {
                // A short read emptied the socket: the next byte is a new edge. An end already announced is not.
                if n < room && !self.hung_up {
                    self.readable = false;
                }
                Got::Bytes(n)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Got::Blocked
            }
            Err(error) => Got::Failed(error),
        }
    }

    /// Writes as much as fits; 0 when nothing does. What is left must be offered again, before anything else.
    pub fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let sent = match &mut self.tls {
            Some(tls) => tls.write(&self.fd, parts)?,
            None => write_fd(&self.fd, parts)?,
        };
        self.traffic.1 += sent as u64;
        if sent == 0 {
            self.writable = false;
        }
        Ok(sent)
    }

    /// Sends FIN, with TLS after close_notify. Errors show up at the next read.
    pub fn finish(&mut self) {
        match &mut self.tls {
            Some(tls) => tls.finish(&self.fd),
            None => {
                let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
            }
        }
    }

    /// Makes closing send RST, so that the peer cannot take what it has for complete.
    pub fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Lets the kernel find out about dead peers of a connection that may be silent for hours. (Unix sockets refuse.)
    pub fn watch_for_dead_peer(&self) {
        let _ = sockopt::set_socket_keepalive(&self.fd, true);
        let _ = sockopt::set_tcp_keepidle(&self.fd, KEEPALIVE_IDLE);
        let _ = sockopt::set_tcp_keepintvl(&self.fd, KEEPALIVE_INTERVAL);
        let _ = sockopt::set_tcp_keepcnt(&self.fd, KEEPALIVE_PROBES);
        let _ = sockopt::set_tcp_user_timeout(&self.fd, USER_TIMEOUT_MS);
    }

    /// The outcome of connecting, once epoll reports something.
    pub fn connect_result(&self) -> Result<(), Errno> {
        sockopt::socket_error(&self.fd)?
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads without waiting.
pub fn read_fd(fd: &OwnedFd, buf: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *buf) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Writes without waiting; 0 when nothing fits.
pub fn write_fd(fd: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    loop {
        let result = match parts {
            [one] => rustix::io::write(fd, one),
            _ => rustix::io::writev(fd, parts),
        };
        match result {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            other => return other,
        }
    }
}

const STREAM_FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Prepares an accepted client's socket. None of it fails but for a connection that is gone.
pub fn prepare_client(fd: &OwnedFd) {
    // Small replies must not wait for an acknowledgement.
    let _ = sockopt::set_tcp_nodelay(fd, true);
    let _ = SockRef::from(fd).set_tcp_notsent_lowat(UNSENT);
}

/// Whether the kernel (`net.core.rmem_max`) grants [`LOCAL_RECEIVE`]. Less would be worse than no bound at all, and what was
/// set cannot be unset, so another socket tries.
fn grants_local_receive() -> bool {
    static GRANTS: OnceLock<bool> = OnceLock::new();
    let granted = || {
        let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, STREAM_FLAGS, None)?;
        sockopt::set_socket_recv_buffer_size(&fd, LOCAL_RECEIVE)?;
        sockopt::socket_recv_buffer_size(&fd)
    };
    *GRANTS.get_or_init(|| granted().is_ok_and(|size| size >= 2 * LOCAL_RECEIVE))
}

/// Begins to connect. The flag says whether the connection stands already.
pub fn connect_tcp(address: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = rustix::net::socket_with(family, SocketType::STREAM, STREAM_FLAGS, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if address.ip().to_canonical().is_loopback() && grants_local_receive() {
        let _ = sockopt::set_socket_recv_buffer_size(&fd, LOCAL_RECEIVE);
    }
    match rustix::net::connect(&fd, &address) {
        Ok(()) => Ok((fd, true)),
        Err(Errno::INPROGRESS) => Ok((fd, false)),
        Err(error) => Err(error),
    }
}

/// Connects to a unix socket; [`Errno::AGAIN`] when its backlog is full.
pub fn connect_unix(path: &Path) -> Result<OwnedFd, Errno> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, STREAM_FLAGS, None)?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
    Ok(fd)
}
