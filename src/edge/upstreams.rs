//! Connections to upstreams of one loop: which client uses which, and the pool of idle ones.
//!
//! An idle connection stays registered with epoll: whatever happens on it, bytes or an end, makes it useless, so
//! it is closed. That keeps stale ones out of the pool without asking.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::router::Upstream;
use super::slab::{Key, Side, Slab};
use super::socket::Socket;
use crate::core::time::Moment;

/// Idle connections kept per upstream and loop; a burst leaves no more behind.
const MAX_IDLE: usize = 256;

/// Edge-triggered, both directions: one registration for the life of a socket.
pub const INTEREST: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);

/// A connection to an upstream in the hands of one client's exchange or tunnel.
pub struct UpSocket {
    /// The socket.
    pub socket: Socket,
    /// Connecting is over.
    pub connected: bool,
    /// Never carried a request before.
    pub fresh: bool,
    slot: Key,
}

enum Slot {
    Busy(Key),
    Idle { up: UpSocket, upstream: Upstream, since: Moment },
}

/// The table.
#[derive(Default)]
pub struct Upstreams {
    slots: Slab<Slot>,
    idle: HashMap<Upstream, Vec<Key>>,
    next_sweep: Option<Moment>,
}

impl Upstreams {
    /// Registers a new connection for `client`.
    pub fn adopt(
        &mut self,
        epoll: &OwnedFd,
        mut socket: Socket,
        connected: bool,
        client: Key,
    ) -> Result<UpSocket, Errno> {
        let slot = self.slots.insert_with(|_| Slot::Busy(client));
        socket.writable = connected;
        let data = epoll::EventData::new_u64(slot.token(Side::Upstream));
        if let Err(error) = epoll::add(epoll, &socket, data, INTEREST) {
            self.slots.remove(slot);
            return Err(error);
        }
        Ok(UpSocket { socket, connected, fresh: true, slot })
    }

    /// An idle connection to `upstream`, the one used last.
    pub fn checkout(&mut self, upstream: &Upstream, client: Key) -> Option<UpSocket> {
        let slot = self.idle.get_mut(upstream)?.pop()?;
        match self.slots.take(slot)? {
            Slot::Idle { up, .. } => {
                self.slots.restore(slot, Slot::Busy(client));
                Some(up)
            }
            busy @ Slot::Busy(_) => {
                self.slots.restore(slot, busy);
                None
            }
        }
    }

    /// Puts a connection into the pool.
    pub fn release(&mut self, upstream: &Upstream, mut up: UpSocket, now: Moment, keep: Duration) {
        let idle = self.idle.entry(upstream.clone()).or_default();
        if idle.len() >= MAX_IDLE || up.socket.hung_up || up.socket.holds_input() {
            return self.discard(up);
        }
        up.fresh = false;
        let slot = up.slot;
        idle.push(slot);
        self.slots.restore(slot, Slot::Idle { up, upstream: upstream.clone(), since: now });
        self.next_sweep.get_or_insert(now + keep);
    }

    /// Closes a connection.
    pub fn discard(&mut self, up: UpSocket) {
        self.slots.remove(up.slot);
    }

    /// Forgets the connections in the hands of a client that is gone.
    pub fn forget_client(&mut self, client: Key) {
        self.slots.retain(|slot| !matches!(slot, Slot::Busy(owner) if *owner == client));
    }

    /// The client that uses the connection with this key.
    pub fn owner(&mut self, slot: Key) -> Option<Key> {
        match self.slots.get_mut(slot)? {
            Slot::Busy(client) => Some(*client),
            Slot::Idle { .. } => None,
        }
    }

    /// Something happened on this connection: if it is idle, it is closed.
    pub fn drop_if_idle(&mut self, slot: Key, flags: epoll::EventFlags) -> bool {
        let Some(Slot::Idle { upstream, .. }) = self.slots.get_mut(slot) else { return false };
        // Room to write is no news: the last request's acknowledgement makes such events.
        if !flags.intersects(epoll::EventFlags::OUT.complement()) {
            return true;
        }
        let upstream = upstream.clone();
        self.forget(&upstream, slot);
        self.slots.remove(slot);
        true
    }

    fn forget(&mut self, upstream: &Upstream, slot: Key) {
        if let Some(idle) = self.idle.get_mut(upstream) {
            idle.retain(|other| *other != slot);
            if idle.is_empty() {
                self.idle.remove(upstream);
            }
        }
    }

    /// When [`Upstreams::sweep`] has something to do.
    pub fn next_sweep(&self) -> Option<Moment> {
        self.next_sweep
    }

    /// Closes what has been idle for `keep`.
    pub fn sweep(&mut self, now: Moment, keep: Duration) {
        let mut next: Option<Moment> = None;
        let slots = &mut self.slots;
        self.idle.retain(|_, keys| {
            keys.retain(|key| {
                let Some(Slot::Idle { since, .. }) = slots.get_mut(*key) else { return false };
                let end = *since + keep;
                if now.reached(end) {
                    slots.remove(*key);
                    return false;
                }
                next = Some(next.map_or(end, |other| other.min(end)));
                true
            });
            !keys.is_empty()
        });
        self.next_sweep = next;
    }
}
