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

use super::acceptor::Ticket;
use super::admission::ConnectionLimit;
use super::client_io::{ClientIo, End, Step, respond};
use super::context::Context;
use super::counters::RouteClass;
use super::outbox::Outbox;
use super::router::Entrance;
use super::seats::Doing;
use super::slab::Key;
use super::socket::{Got, Socket};
use super::state::{State, after_reply};
use super::{api_exchange, deadlines, event_stream, exchange, request_head, tunnel};
use crate::core::time::Moment;
use crate::edge::http1::head::Version;
use crate::edge::http1::head::response::ToHead;
use crate::edge::reply::Reply;

/// Bytes that are read and dropped after our last words: more than the largest body of the API, so that whoever sends
/// one in vain reads why. Beyond it nothing more is read until [`deadlines::LINGER`] is over.
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
                State::Exchange(exchange) => exchange::step(cx, &mut self.io, exchange).map(Step::entered),
                State::Api(exchange) => api_exchange::step(cx, &mut self.io, exchange).map(Step::entered),
                State::Tunnel(tunnel) => tunnel::step(cx, &mut self.io, tunnel).map(Step::entered),
                State::Events(stream) => event_stream::step(cx, &mut self.io, stream).map(Step::entered),
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

    /// Lets an open stream end in good order, when the loop ends.
    pub fn part(&mut self, now: Moment) {
        if let State::Events(stream) = &mut self.state {
            stream.part(&mut self.io, now);
        }
    }

    /// A deadline passed. `false`: the connection is to be closed.
    pub fn expire(&mut self, cx: &mut Context) -> bool {
        match deadlines::on_timeout(&mut self.io, &mut self.state, cx) {
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

fn dispose(cx: &mut Context, state: State) {
    match state {
        State::Exchange(exchange) => exchange.dispose(cx),
        State::Tunnel(tunnel) => tunnel.dispose(cx),
        State::Api(exchange) => exchange.dispose(cx),
        State::Handshake | State::Head { .. } | State::Closing { .. } | State::Events(_) => {}
    }
}

fn handshake_step(cx: &mut Context, io: &mut ClientIo) -> Result<Step<State>, End> {
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
) -> Result<Step<State>, End> {
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
    use super::super::tunnel::Tunnel;
    use super::*;

    #[test]
    fn an_idle_tunnel_is_small() {
        // Its buffers are given back; sockets and table entries are some hundred bytes more.
        let bytes = size_of::<Client>() + size_of::<Tunnel>();
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
