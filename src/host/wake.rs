//! Waking a thread that waits on descriptors: an eventfd that any thread may ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

/// A doorbell. Rings add up until somebody clears them; ringing never blocks.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// A silent doorbell.
    pub fn new() -> io::Result<Wake> {
        Ok(Wake(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes the descriptor readable.
    pub fn ring(&self) {
        // EAGAIN means the counter is full: it is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor silent again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
