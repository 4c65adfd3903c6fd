//! One loop of an edge without a thread, a listener or sleep, turned by hand: fuzz targets and simulations see the same
//! outcome in every run. Serving never uses it.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::time::Timespec;

use super::acceptor::{Arrival, Shared, Ticket};
use super::context::Context;
use super::event_loop::{EventLoop, make_epoll};
use super::router::{Entrance, Router};
use super::{EdgeConfig, make_pseudonym, make_shared};

/// Turns in a row that may find something to do. Two ends that keep each other busy for longer do so for ever.
const MAX_TURNS: usize = 100_000;

/// The loop.
pub struct LoopByHand {
    event_loop: EventLoop,
    shared: Arc<Shared>,
}

impl LoopByHand {
    /// A loop without connections. `edge.threads` is not used.
    pub fn new(mut config: EdgeConfig, router: Arc<dyn Router>) -> io::Result<LoopByHand> {
        config.settings.threads = 1;
        let (shared, arrivals) = make_shared(&config)?;
        let (Some(handle), Some(arrivals)) = (shared.loops.first(), arrivals.into_iter().next()) else {
            return Err(io::Error::other("an edge without loops"));
        };
        let epoll = make_epoll(&handle.bell.wake)?;
        let mut cx =
            Context::new(config.settings, config.tls, make_pseudonym(), router, epoll, Instant::now());
        cx.counters = config.counters;
        let event_loop = EventLoop::new(cx, 0, shared.clone(), arrivals, None, None);
        Ok(LoopByHand { event_loop, shared })
    }

    /// Takes over a client's connection: a connected, non-blocking stream socket.
    pub fn adopt(&mut self, fd: OwnedFd, peer: IpAddr) {
        let ticket = Ticket::unseen(self.shared.clone(), peer);
        if let Some(handle) = self.shared.loops.first() {
            // The loop has the receiver, so this cannot fail.
            let _ = handle.arrivals.send(Arrival { fd, entrance: Entrance::Main, ticket });
        }
    }

    /// Does all there is to do now; deadlines do not pass meanwhile. `false`: it finds no end, which is a fault.
    pub fn settle(&mut self) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        for _ in 0..MAX_TURNS {
            // Who arrives now is heard of by the next events.
            let arriving = !self.event_loop.arrivals.is_empty();
            let events = self.event_loop.once(at_once)?;
            if events == 0 && !arriving && self.event_loop.cx.ready.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Open connections of clients.
    pub fn connections(&self) -> usize {
        self.shared.loops.first().map_or(0, |handle| handle.load.load(Ordering::Relaxed))
    }
}
