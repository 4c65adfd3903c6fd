//! Waking a loop, and telling it for which of its connections.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::slab::Key;

/// What wakes a loop, from any thread.
pub struct LoopBell {
    /// An eventfd that the loop waits on.
    pub wake: OwnedFd,
    rung: Mutex<Vec<Key>>,
}

impl LoopBell {
    /// The bell of the loop that waits on this eventfd.
    pub fn new(wake: OwnedFd) -> LoopBell {
        LoopBell { wake, rung: Mutex::default() }
    }

    /// Wakes the loop up. A full counter means that it is awake.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// The connections that were rung for since the last time.
    pub fn take_rung(&self) -> Vec<Key> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes one connection of a loop, from any thread.
pub struct Doorbell {
    bell: Option<Arc<LoopBell>>,
    key: Key,
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doorbell")
    }
}

impl Doorbell {
    /// For this connection of the loop with this bell.
    pub fn new(bell: Option<Arc<LoopBell>>, key: Key) -> Doorbell {
        Doorbell { bell, key }
    }

    /// Has the connection's loop drive it. Never blocks on anything but another ring.
    pub fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
            bell.ring();
        }
    }

    /// A doorbell of nobody.
    #[cfg(test)]
    pub fn silent() -> Doorbell {
        Doorbell::new(None, Key::from_token(0).0)
    }
}
