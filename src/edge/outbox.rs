//! Bytes that wait until a socket takes them. Bounded by its users: they stop reading while it is not empty.

use std::io::IoSlice;

use rustix::io::Errno;

use super::socket::Socket;

/// Bytes on their way to one socket.
#[derive(Default)]
pub struct Outbox {
    /// Appended to by those who send.
    pub buf: Vec<u8>,
    at: usize,
    kept: bool,
}

impl Outbox {
    /// Begins with what is in `buf`.
    pub fn with(buf: Vec<u8>) -> Outbox {
        Outbox { buf, at: 0, kept: false }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.at >= self.buf.len()
    }

    /// Keeps what was sent, so that [`Outbox::rewind`] can send it again.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Sends everything again.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// Forgets everything and hands the buffer over.
    pub fn take(&mut self) -> Vec<u8> {
        self.at = 0;
        self.kept = false;
        std::mem::take(&mut self.buf)
    }

    /// Sends what waits. Returns how much the socket took.
    pub fn flush(&mut self, socket: &mut Socket) -> Result<usize, Errno> {
        self.send(socket, &[], &[])
    }

    /// Sends what waits, then `a`, then `b`, in one call; what the socket does not take waits here.
    pub fn send(&mut self, socket: &mut Socket, a: &[u8], b: &[u8]) -> Result<usize, Errno> {
        let waiting = self.buf.get(self.at..).unwrap_or_default();
        let total = waiting.len() + a.len() + b.len();
        let mut sent = 0;
        if socket.writable && total > 0 {
            sent = match (waiting.is_empty(), a.is_empty() && b.is_empty()) {
                (false, true) => socket.write(&[IoSlice::new(waiting)])?,
                (true, false) if b.is_empty() => socket.write(&[IoSlice::new(a)])?,
                _ => socket.write(&[IoSlice::new(waiting), IoSlice::new(a), IoSlice::new(b)])?,
            };
            if sent < total {
                // Whether the socket is full or not: epoll tells when there is room again.
                socket.writable = false;
            }
        }
        self.settle(sent, a, b);
        Ok(sent)
    }

    fn settle(&mut self, sent: usize, a: &[u8], b: &[u8]) {
        let waiting = self.buf.len().saturating_sub(self.at);
        let of_waiting = sent.min(waiting);
        self.at += of_waiting;
        if self.at >= self.buf.len() && !self.kept {
            self.buf.clear();
            self.at = 0;
        }
        let of_a = (sent - of_waiting).min(a.len());
        let of_b = sent - of_waiting - of_a;
        self.buf.extend_from_slice(a.get(of_a..).unwrap_or_default());
        self.buf.extend_from_slice(b.get(of_b..).unwrap_or_default());
    }
}
