//! Calls that wait, and that Linux may end for another reason than their own. A socket that has a time-out (and `epoll_wait`) says EINTR
//! once its process was stopped and goes on, or its machine was frozen, without any handler of ours (signal(7), "Interruption of system
//! calls and library functions by stop signals"). That says nothing of the peer: the call is made again, with what is left of its time.
//!
//! `read_exact`, `write_all`, `read_to_end`, `accept`, `connect_timeout` and `sleep` of the standard library do so by themselves, as do
//! ureq and rustls. `read`, `recv`, `recv_from`, `peek`, `write` and `send` do not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Makes a call until nothing cuts it short.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// The next datagram, or whatever is waited for until then; `WouldBlock`: it did not come.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
    uninterrupted(|| {
        socket.set_read_timeout(Some(left(until)))?;
        socket.recv(buffer)
    })
}

/// Until then; never nothing, which sockets take for "for ever".
pub fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// A connection whose every call ends at a time that is told before; `WouldBlock` says that it was late.
#[derive(Debug)]
pub struct TimedStream {
    stream: TcpStream,
    reads_until: Instant,
    writes_until: Instant,
}

impl TimedStream {
    /// Of a blocking connection, until then.
    pub fn new(stream: TcpStream, until: Instant) -> TimedStream {
        TimedStream { stream, reads_until: until, writes_until: until }
    }

    /// Has the next reads end then.
    pub fn read_until(&mut self, until: Instant) {
        self.reads_until = until;
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.stream.set_read_timeout(Some(left(self.reads_until)))?;
            self.stream.read(buffer)
        })
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.stream.set_write_timeout(Some(left(self.writes_until)))?;
            self.stream.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_done_again_and_every_other_end_is_told() {
        let ends = |kinds: &[ErrorKind]| {
            let mut left = kinds.iter();
            uninterrupted(|| left.next().map_or(Ok(7), |kind| Err((*kind).into())))
                .map_err(|error| error.kind())
        };
        let cut = ErrorKind::Interrupted;
        assert_eq!(ends(&[cut, cut, cut]), Ok(7));
        assert_eq!(ends(&[cut, ErrorKind::WouldBlock, cut]), Err(ErrorKind::WouldBlock));
        assert_eq!(ends(&[ErrorKind::ConnectionRefused]), Err(ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_wait_that_is_over_ends() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let late = receive(&socket, &mut [0; 8], Instant::now()).expect_err("nobody sends");
        assert_eq!(late.kind(), ErrorKind::WouldBlock);
    }
}
