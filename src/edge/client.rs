//! One client's connection: its state, and what each step of it may lead to.
//!
//! ```text
//!  accept ─┬─ plain ───────────┐    ┌──────── kept alive ────────┐
//!          │                   ▼    ▼                            │
//!          └► Handshake ────► Head ── forwarded ─────► Exchange ── 101 ─► Tunnel ─► gone
//!               │              │ ▲                          │
//!               └─ failed,     │ └─ own reply, kept alive   ├─ client gone, truncated reply ─► gone
//!                  too slow    └─ refused, own reply,       │
//!                  ─► gone        closing ─► Closing ◄──────┘ reply sent, not kept alive; refused
//!                                               │
//!                                               └─ reply flushed, FIN sent; client closes or the linger time ends ─► gone
//! ```
//!
//! From Head an event stream goes to Events, a request of the control API to Api, and from there like an own reply.
//!
//! From Handshake an authority's challenge (`acme-tls/1`) goes to Closing at once: it carries nothing else.
//!
//! A connection on trial (see `admission`) has one head to say why it is served; else it goes to Closing.

use std::net::IpAddr;
use std::time::Duration;

use super::acceptor::Ticket;
use super::admission::ConnectionLimit;
use super::api_exchange::{self, ApiExchange};
use super::context::Context;
use super::counters::RouteClass;
use super::event_stream::{self, EventStream};
use super::exchange::{self, Exchange};
use super::flights::Flight;
use super::local_response::{self, Manner, write_own};
use super::outbox::Outbox;
use super::router::Entrance;
use super::seats::Doing;
use super::slab::Key;
use super::socket::{Got, Socket};
use super::tunnel::{self, Tunnel};
use super::{deadlines, request_head};
use crate::core::time::Moment;
use crate::edge::http1::head::Version;
use crate::edge::http1::head::response::ToHead;
use crate::edge::reply::Reply;

/// How long a client may take to read our last words before its connection is closed: closing with unread input
/// would send RST, which can destroy the reply on its way.
pub const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read and dropped after our last words: more than the largest body of the API, so that whoever sends
/// one in vain reads why. Beyond it nothing more is read until [`LINGER`] is over.
const MAX_DISCARDED: usize = 2 << 20;

/// A connection of a client.
pub struct Client {
    /// Socket and buffers.
    pub io: ClientIo,
    /// What it is doing.
    pub state: State,
    /// The earliest wake-up in the heap that still counts.
    pub timer_at: Option<Moment>,
}

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

/// What a connection is doing.
#[allow(clippy::large_enum_variant, reason = "clients are boxed, and an exchange per request should not be")]
pub enum State {
    /// Agreeing on TLS; then the first head is read.
    Handshake,
    /// Waiting for, or reading, a request head. `began`: its first byte came.
    Head { began: bool },
    /// A request is being forwarded.
    Exchange(Exchange),
    /// A request of the control API.
    Api(Box<ApiExchange>),
    /// Raw bytes both ways.
    Tunnel(Box<Tunnel>),
    /// A reply of ours that lasts.
    Events(Box<EventStream>),
    /// Sending last words, then waiting for the client to close; `discarded`: bytes read meanwhile and dropped.
    Closing { finished: bool, discarded: usize },
}

impl State {
    /// The beginning of the end.
    const CLOSING: State = State::Closing { finished: false, discarded: 0 };
}

/// Where a step leads.
#[allow(clippy::large_enum_variant, reason = "passed up once, never stored")]
pub enum Step {
    /// Nothing to do until something happens.
    Wait,
    /// Goes on in another state.
    Next(State),
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
    fn count_traffic(&mut self, cx: &Context) {
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

impl Client {
    /// A new connection.
    pub fn new(key: Key, socket: Socket, (entrance, ticket): (Entrance, Ticket), now: Moment) -> Client {
        let state = if socket.is_tls() { State::Handshake } else { State::Head { began: false } };
        let out = Outbox::with(Vec::new());
        ticket.settle(key);
        let (peer, trusted) = (ticket.peer(), ticket.trusted());
        let io = ClientIo {
            key,
            socket,
            entrance,
            ticket,
            peer,
            trusted,
            client: peer,
            network: None,
            route: RouteClass::default(),
            flight: None,
            input: Vec::new(),
            scanned: 0,
            out,
            requests: 0,
            since: now,
            moved: now,
            sent: now,
        };
        Client { io, state, timer_at: None }
    }

    /// Does all that can be done now. `false`: the connection is to be closed.
    pub fn drive(&mut self, cx: &mut Context) -> bool {
        if self.io.ticket.is_pushed_out() {
            self.say_why(cx);
            return false;
        }
        let goes_on = self.steps(cx);
        self.io.count_traffic(cx);
        let (doing, since) = self.doing();
        self.io.ticket.note(doing, since);
        goes_on
    }

    fn steps(&mut self, cx: &mut Context) -> bool {
        loop {
            let step = match &mut self.state {
                State::Handshake => handshake_step(cx, &mut self.io),
                State::Head { began } => request_head::step(cx, &mut self.io, began),
                State::Exchange(exchange) => exchange::step(cx, &mut self.io, exchange),
                State::Api(exchange) => api_exchange::step(cx, &mut self.io, exchange),
                State::Tunnel(tunnel) => tunnel::step(cx, &mut self.io, tunnel),
                State::Events(stream) => event_stream::step(cx, &mut self.io, stream),
                State::Closing { finished, discarded } => closing_step(cx, &mut self.io, finished, discarded),
            };
            match step {
                Ok(Step::Wait) => return true,
                Ok(Step::Next(state)) => self.enter(cx, state),
                Err(end) => {
                    if !self.end(cx, end) {
                        return false;
                    }
                }
            }
        }
    }

    /// What the connection is doing, and since when.
    fn doing(&self) -> (Doing, Moment) {
        let io = &self.io;
        match &self.state {
            State::Closing { finished: true, .. } => (Doing::Leaving, io.since),
            State::Closing { finished: false, .. } => (Doing::Sending, io.sent),
            State::Head { .. } if !io.out.is_empty() => (Doing::Sending, io.sent),
            State::Head { began: false } if io.requests > 0 => (Doing::Idle, io.since),
            State::Handshake | State::Head { .. } => (Doing::Arriving, io.since),
            State::Api(exchange) if exchange.is_collecting() => (Doing::Sending, io.since),
            State::Exchange(exchange) if !exchange.request_done() && !exchange.reply_begun() => {
                (Doing::Sending, io.since)
            }
            State::Exchange(_) | State::Api(_) | State::Tunnel(_) | State::Events(_) => {
                (Doing::Busy, Moment(0))
            }
        }
    }

    /// It waits for a further request, which may never come.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head { began: false }) && self.io.requests > 0 && self.io.out.is_empty()
    }

    /// It goes on for as long as the client likes, or all is said.
    pub fn lasts(&self) -> bool {
        matches!(self.state, State::Tunnel(_) | State::Events(_) | State::Closing { finished: true, .. })
    }

    /// Who is pushed out while sending a body is told, as far as that goes without waiting.
    fn say_why(&mut self, cx: &mut Context) {
        let facts = match &self.state {
            State::Api(exchange) => *exchange.facts(),
            State::Exchange(exchange) if !exchange.reply_begun() => exchange.facts,
            _ => return,
        };
        respond(cx, &mut self.io, &ConnectionLimit::All.reply(), facts.version, facts.to_head, false);
        // It is closed in any case.
        let _ = self.io.flush(cx.now);
    }

    /// A deadline passed. `false`: the connection is to be closed.
    pub fn expire(&mut self, cx: &mut Context) -> bool {
        match deadlines::on_timeout(self, cx) {
            Some(end) => self.end(cx, end) && self.drive(cx),
            None => self.drive(cx),
        }
    }

    /// Ends what is under way. `true`: the client gets an answer, the connection goes on.
    fn end(&mut self, cx: &mut Context, end: End) -> bool {
        match (end, &self.state) {
            (End::Gone, _) => false,
            (End::Abort, _) => {
                self.io.socket.reset_on_close();
                if let State::Tunnel(tunnel) = &self.state {
                    tunnel.up.socket.reset_on_close();
                }
                false
            }
            (End::Refuse(reply), State::Head { .. }) => {
                self.answer(cx, &reply, Version::Http11, ToHead::No, false);
                true
            }
            (End::Refuse(reply), State::Exchange(exchange)) if !exchange.reply_begun() => {
                let (version, to_head, keep) = exchange.manner();
                let reply = exchange.facts.in_form(*reply);
                self.answer(cx, &reply, version, to_head, keep);
                true
            }
            (End::Refuse(reply), State::Api(exchange)) => {
                let (facts, keep) = (*exchange.facts(), exchange.keeps_client());
                let reply = facts.in_form(*reply);
                self.answer(cx, &reply, facts.version, facts.to_head, keep);
                true
            }
            // Part of another reply is on its way: only closing tells the client that it is not complete.
            (End::Refuse(_), _) => false,
        }
    }

    fn answer(
        &mut self,
        cx: &mut Context,
        reply: &Reply,
        version: Version,
        to_head: ToHead,
        keep_alive: bool,
    ) {
        respond(cx, &mut self.io, reply, version, to_head, keep_alive);
        self.enter(cx, after_reply(keep_alive));
    }

    fn enter(&mut self, cx: &mut Context, state: State) {
        let old = std::mem::replace(&mut self.state, state);
        dispose(cx, old);
        if matches!(self.state, State::Head { .. } | State::Closing { .. }) {
            self.io.flight = None;
        }
        self.io.since = cx.now;
        self.io.moved = cx.now;
    }

    /// Gives everything back; the socket closes when the client is dropped.
    pub fn close(mut self, cx: &mut Context) {
        self.io.count_traffic(cx);
        let old = std::mem::replace(&mut self.state, State::CLOSING);
        dispose(cx, old);
        cx.recycle(self.io.out.take());
        cx.recycle(std::mem::take(&mut self.io.input));
    }

    /// The upstream's socket, if there is one.
    pub fn upstream(&mut self) -> Option<&mut Socket> {
        match &mut self.state {
            State::Exchange(exchange) => exchange.up.as_mut().map(|up| &mut up.socket),
            State::Tunnel(tunnel) => Some(&mut tunnel.up.socket),
            State::Api(exchange) => exchange.upstream(),
            State::Handshake | State::Head { .. } | State::Closing { .. } | State::Events(_) => None,
        }
    }
}

/// The state after a complete reply.
pub fn after_reply(keep_alive: bool) -> State {
    if keep_alive { State::Head { began: false } } else { State::CLOSING }
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

fn dispose(cx: &mut Context, state: State) {
    match state {
        State::Exchange(exchange) => exchange.dispose(cx),
        State::Tunnel(tunnel) => tunnel.dispose(cx),
        State::Api(exchange) => exchange.dispose(cx),
        State::Handshake | State::Head { .. } | State::Closing { .. } | State::Events(_) => {}
    }
}

fn handshake_step(cx: &mut Context, io: &mut ClientIo) -> Result<Step, End> {
    match io.socket.handshake() {
        Ok(false) => Ok(Step::Wait),
        Ok(true) => {
            cx.counters.shook_hands(true);
            // An authority has seen what it came for. Nothing is spoken above this protocol (RFC 8737, 3).
            let challenge = io.socket.is_challenge();
            Ok(Step::Next(if challenge { State::CLOSING } else { State::Head { began: false } }))
        }
        Err(error) => {
            cx.counters.shook_hands(false);
            cx.remark(io.network, &format_args!("{}: {error}", io.peer));
            Err(End::Gone)
        }
    }
}

fn closing_step(
    cx: &mut Context,
    io: &mut ClientIo,
    finished: &mut bool,
    discarded: &mut usize,
) -> Result<Step, End> {
    if !io.flush(cx.now)? {
        return Ok(Step::Wait);
    }
    if !*finished {
        *finished = true;
        io.since = cx.now;
        io.socket.finish();
        cx.recycle(io.out.take());
        cx.recycle(std::mem::take(&mut io.input));
    }
    while *discarded < MAX_DISCARDED && io.socket.readable && cx.spend() {
        match cx.with_scratch(|_, scratch| io.socket.read(scratch)) {
            Got::Bytes(count) => *discarded += count,
            Got::Blocked => break,
            Got::End | Got::Failed(_) => return Err(End::Gone),
        }
    }
    Ok(Step::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_tunnel_is_small() {
        // Its buffers are given back; sockets and table entries are some hundred bytes more.
        let bytes = size_of::<Client>() + size_of::<Tunnel>();
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
