//! A client's socket and buffers, and what a step with them may come to.

use std::net::IpAddr;

use super::acceptor::Ticket;
use super::context::Context;
use super::counters::RouteClass;
use super::flights::Flight;
use super::local_response::{self, Manner, write_own};
use super::outbox::Outbox;
use super::router::Entrance;
use super::slab::Key;
use super::socket::Socket;
use crate::core::time::Moment;
use crate::edge::http1::head::Version;
use crate::edge::http1::head::response::ToHead;
use crate::edge::reply::Reply;

/// A client's socket and buffers.
pub struct ClientIo {
    /// The connection's name in the loop.
    pub key: Key,
    /// The socket.
    pub socket: Socket,
    /// Where it came in.
    pub entrance: Entrance,
    /// Its place in the counts.
    pub ticket: Ticket,
    /// Canonical address; of the client, when a controller forwards the request under way.
    pub peer: IpAddr,
    /// The peer is a trusted proxy, or our controller: its forwarding fields are believed.
    pub trusted: bool,
    /// The client, as far as it is known behind trusted proxies and our controller.
    pub client: IpAddr,
    /// Whose places and rates the request under way uses; `None`: nobody's.
    pub network: Option<IpAddr>,
    /// What the request under way is for.
    pub route: RouteClass,
    /// The request under way, where it counts.
    pub flight: Option<Flight>,
    /// Bytes that came and are not used yet: a head, the start of a body, further requests.
    pub input: Vec<u8>,
    /// How far `input` was searched for the end of a head.
    pub scanned: usize,
    /// Bytes for the client.
    pub out: Outbox,
    /// Requests begun.
    pub requests: u32,
    /// When the present phase began.
    pub since: Moment,
    /// When request or upstream bytes last moved.
    pub moved: Moment,
    /// When the client last took bytes, or they began to wait.
    pub sent: Moment,
}

/// Where a step leads.
pub enum Step<N> {
    /// Nothing to do until something happens.
    Wait,
    /// This is done, and the connection goes on in another state.
    Next(N),
}

/// A complete reply is on its way.
pub struct Replied {
    /// The connection is kept for the next request.
    pub keep_alive: bool,
}

/// Why a connection ends early.
pub enum End {
    /// It is closed.
    Gone,
    /// It is closed with RST.
    Abort,
    /// The request is answered by us.
    Refuse(Box<Reply>),
}

impl End {
    /// An error reply of ours.
    pub fn refuse(status: u16, detail: &str) -> End {
        End::Refuse(Box::new(local_response::error(status, detail)))
    }
}

impl ClientIo {
    /// Sends what waits; notes when bytes moved. `true`: nothing waits any more.
    pub fn flush(&mut self, now: Moment) -> Result<bool, End> {
        if self.out.is_empty() {
            return Ok(true);
        }
        self.send(&[], &[], now)?;
        Ok(self.out.is_empty())
    }

    /// Sends to the client, after what waits.
    pub fn send(&mut self, a: &[u8], b: &[u8], now: Moment) -> Result<(), End> {
        let had_waiting = !self.out.is_empty();
        let sent = self.out.send(&mut self.socket, a, b).map_err(|_| End::Gone)?;
        if sent > 0 || !had_waiting {
            self.sent = now;
        }
        Ok(())
    }

    /// Adds what moved since the last time to what all connections count.
    pub(super) fn count_traffic(&mut self, cx: &Context) {
        let (received, sent) = self.socket.take_traffic();
        cx.counters.received.add(received);
        cx.counters.sent.add(sent);
    }

    /// Removes the first `len` bytes of the input.
    pub fn consume(&mut self, len: usize) {
        if len >= self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..len);
        }
        self.scanned = 0;
    }
}

/// Queues a reply of our own.
pub fn respond(
    cx: &mut Context,
    io: &mut ClientIo,
    reply: &Reply,
    version: Version,
    to_head: ToHead,
    keep_alive: bool,
) {
    cx.counters.replied(io.route, reply.status);
    reply.limit.iter().for_each(|limit| cx.counters.limits.note(limit));
    if io.out.is_empty() {
        io.sent = cx.now;
        if io.out.buf.capacity() == 0 {
            io.out.buf = cx.buffer();
        }
    }
    // Asked for only where it is said.
    let ancestors = if local_response::is_page(reply) { cx.router.frame_ancestors() } else { String::new() };
    let hsts = cx.hsts(io.socket.is_tls());
    let hsts = hsts.as_deref();
    let manner = Manner { version, to_head, keep_alive, date: cx.date(), ancestors: &ancestors, hsts };
    write_own(&mut io.out.buf, reply, manner);
}
