//! One request on its way through: connecting, sending the request, relaying the reply.
//!
//! ```text
//!  start ─► Connect ◄─── stale pooled connection, once
//!              │                   │
//!              ▼                   │
//!            Relay ────────────────┘
//!              └─ reply complete ─► Head or Closing; 101 ─► Tunnel
//! ```

use std::fmt::Display;

use super::client_io::{ClientIo, End, Replied, Step};
use super::context::Context;
use super::counters::Failure;
use super::outbox::Outbox;
use super::request_body::{self, RequestSide};
use super::response::{self, Flow, ReplySide};
use super::router::{Forward, Rewrite, Upstream};
use super::socket::{Socket, connect_tcp, connect_unix};
use super::tls::session::Session;
use super::tunnel::{Frames, Tunnel};
use super::upstreams::UpSocket;
use crate::core::time::Moment;
use crate::edge::facts::Facts;
use crate::edge::forwarding_proof::FORWARDED_FIELD;
use crate::edge::http1::head::Version;
use crate::edge::http1::head::request::RequestHead;
use crate::edge::http1::head::response::ToHead;
use crate::edge::http1::head::text::{write_address, write_field};
use crate::edge::http1::head::upstream::{Onward, write_request};

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Getting a connection.
    Connect {
        /// Since when.
        since: Moment,
    },
    /// Bytes both ways.
    Relay,
}

/// How an exchange is over.
pub enum Over {
    /// Its reply is complete.
    Replied(Replied),
    /// Both sides speak another protocol from now on.
    Switched(Box<Tunnel>),
}

/// A request being forwarded.
pub struct Exchange {
    /// Where and how.
    pub forward: Forward,
    /// The connection to the upstream.
    pub up: Option<UpSocket>,
    /// How far it is.
    pub stage: Stage,
    /// Bytes for the upstream.
    pub to_up: Outbox,
    /// About the request.
    pub facts: Facts,
    /// The upgrade offer was passed on.
    pub upgrade: bool,
    /// The request's body.
    pub request: RequestSide,
    /// The reply.
    pub reply: ReplySide,
    /// May be sent again on a fresh connection when a pooled one turns out stale.
    retryable: bool,
    retried: bool,
    /// The kernel looks after silent peers.
    pub watched: bool,
}

impl Exchange {
    /// Writes the head for the upstream.
    pub fn new(
        cx: &mut Context,
        io: &ClientIo,
        head: &RequestHead<'_, '_>,
        forward: Forward,
        facts: Facts,
    ) -> Exchange {
        let upgrade = head.upgrade && forward.tunnels.is_some();
        let screened = forward.screen.as_ref().is_some_and(|screen| screen.takes_bodies());
        let request = RequestSide::new(head.body, forward.body_limit, screened);
        let mut to_up = Outbox::with(cx.buffer());
        let mut host = AuthorityText { buf: [0; 64] };
        let onward = Onward {
            host: host.of(&forward.upstream),
            prefix: &forward.prefix,
            peer: io.peer,
            scheme: if io.socket.is_tls() { "https" } else { "http" },
            trusted: io.trusted,
            pseudonym: &cx.pseudonym,
            user: forward.user.as_deref(),
            whole_page: screened || forward.inject.is_some() && head.accepts_html && facts.is_page_request,
            upgrade,
            body: request.framing(),
            confined: forward.confined.is_some(),
        };
        match &forward.rewrite {
            Some(rewrite) => write_anew(&mut to_up.buf, head, rewrite, &onward),
            None => write_request(&mut to_up.buf, head, &onward),
        }
        if let Some(proof) = &forward.proof {
            add_field(&mut to_up.buf, FORWARDED_FIELD, &proof.field(io.client));
        }
        Exchange {
            request,
            stage: Stage::Connect { since: cx.now },
            forward,
            up: None,
            to_up,
            facts,
            upgrade,
            reply: ReplySide::default(),
            retryable: false,
            retried: false,
            watched: false,
        }
    }

    /// Takes the part of the body that is here already; a complete one makes the request repeatable.
    pub fn start(&mut self, cx: &mut Context, io: &mut ClientIo) -> Result<(), End> {
        request_body::take_input(cx, io, self)?;
        if self.facts.expects_continue && !self.request.is_done() {
            io.sent = cx.now;
            io.out.buf.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.retryable = self.facts.idempotent && self.request.is_done() && !self.upgrade;
        if self.retryable {
            self.to_up.keep();
        }
        Ok(())
    }

    /// The reply's head was passed on.
    pub fn reply_begun(&self) -> bool {
        self.reply.is_begun()
    }

    /// Nothing more of the request is to be sent.
    pub fn request_done(&self) -> bool {
        self.request.is_done()
    }

    /// How a reply of our own would be sent instead of the upstream's.
    pub fn manner(&self) -> (Version, ToHead, bool) {
        (self.facts.version, self.facts.to_head, self.facts.keep_alive && self.request.is_complete())
    }

    /// The upstream cannot be connected to.
    pub fn unreachable(&mut self, cx: &mut Context, why: &dyn Display, status: u16) -> End {
        cx.complain(&self.forward.upstream, Failure::Unreachable, why);
        match self.forward.unavailable {
            Some(answer) => End::Refuse(Box::new(answer(self.facts.accepts_html))),
            None => End::refuse(status, "the upstream cannot be reached"),
        }
    }

    /// The upstream did something that cannot be passed on.
    pub fn broken(&self, cx: &mut Context, what: &dyn Display) -> End {
        cx.complain(&self.forward.upstream, Failure::Broken, what);
        End::refuse(502, "the upstream's reply cannot be used")
    }

    /// The reply is a stream that may be silent for hours: lets the kernel find out about dead peers.
    pub fn watch(&mut self, client: &Socket) {
        self.watched = true;
        client.watch_for_dead_peer();
        if let Some(up) = &self.up {
            up.socket.watch_for_dead_peer();
        }
    }

    /// Gives everything back.
    pub fn dispose(mut self, cx: &mut Context) {
        cx.recycle(self.to_up.take());
        cx.recycle(std::mem::take(&mut self.reply.input));
        if let Some(up) = self.up.take() {
            cx.upstreams.discard(up);
        }
    }

    /// Whether the connection closed without a reply just because it had been idle too long, and the request can
    /// be sent again.
    pub fn can_retry(&self) -> bool {
        self.retryable && !self.retried && self.up.as_ref().is_some_and(|up| !up.fresh)
    }

    fn retry(&mut self, cx: &mut Context) {
        if let Some(up) = self.up.take() {
            cx.upstreams.discard(up);
        }
        self.retried = true;
        self.to_up.rewind();
        self.stage = Stage::Connect { since: cx.now };
    }
}

/// Does all that can be done now.
pub fn step(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<Step<Over>, End> {
    if io.socket.hung_up {
        return Err(End::Gone);
    }
    loop {
        match ex.stage {
            Stage::Connect { .. } => {
                io.flush(cx.now)?;
                if !connect(cx, io, ex)? {
                    return Ok(Step::Wait);
                }
                ex.stage = Stage::Relay;
                io.moved = cx.now;
            }
            Stage::Relay => {
                request_body::pump(cx, io, ex)?;
                match response::pump(cx, io, ex)? {
                    Flow::Blocked => return Ok(Step::Wait),
                    Flow::Stale => ex.retry(cx),
                    Flow::Complete => return Ok(Step::Next(finish(cx, ex))),
                    Flow::Switched => return switch(cx.now, io, ex),
                }
            }
        }
    }
}

/// `true`: connected.
fn connect(cx: &mut Context, io: &ClientIo, ex: &mut Exchange) -> Result<bool, End> {
    if ex.up.is_none() && !open(cx, io, ex)? {
        return Ok(false);
    }
    let Some(up) = &mut ex.up else { return Ok(false) };
    if !up.connected {
        if !up.socket.writable && !up.socket.hung_up {
            return Ok(false);
        }
        match up.socket.connect_result() {
            Ok(()) if up.socket.writable => up.connected = true,
            Ok(()) => return Ok(false),
            Err(error) => return Err(ex.unreachable(cx, &error, 502)),
        }
    }
    up.socket.handshake().map_err(|error| ex.unreachable(cx, &error, 502))
}

fn open(cx: &mut Context, io: &ClientIo, ex: &mut Exchange) -> Result<bool, End> {
    if ex.retryable && !ex.retried {
        ex.up = cx.upstreams.checkout(&ex.forward.upstream, io.key);
        if ex.up.is_some() {
            return Ok(true);
        }
    }
    let opened = match &ex.forward.upstream {
        Upstream::Tcp(address) => connect_tcp(*address).map(|(fd, connected)| (Socket::new(fd), connected)),
        Upstream::Tls(address, name) => {
            let session = cx.tls.client.clone().map(|config| Session::client(config, (**name).clone()));
            let Some(Ok(session)) = session else {
                return Err(ex.unreachable(cx, &"there is no TLS for upstreams here", 502));
            };
            connect_tcp(*address).map(|(fd, connected)| (Socket::with_tls(fd, session), connected))
        }
        Upstream::Unix(path) => connect_unix(path).map(|fd| (Socket::new(fd), true)),
    };
    let adopted =
        opened.and_then(|(socket, connected)| cx.upstreams.adopt(&cx.epoll, socket, connected, io.key));
    match adopted {
        Ok(up) => {
            ex.up = Some(up);
            Ok(true)
        }
        Err(error) => Err(ex.unreachable(cx, &error, 502)),
    }
}

fn finish(cx: &mut Context, ex: &mut Exchange) -> Over {
    let reusable = ex.reply.leaves_connection_usable() && ex.request.is_complete() && ex.to_up.is_empty();
    if reusable && let Some(up) = ex.up.take() {
        cx.upstreams.release(&ex.forward.upstream, up, cx.now, cx.settings.upstream_idle_timeout);
    }
    Over::Replied(Replied { keep_alive: ex.reply.keeps_client() && ex.request.is_complete() })
}

fn switch(now: Moment, io: &mut ClientIo, ex: &mut Exchange) -> Result<Step<Over>, End> {
    match (ex.up.take(), ex.forward.tunnels.take()) {
        (Some(up), Some(watch)) => {
            let early = std::mem::take(&mut ex.reply.input);
            let frames = Frames::new(ex.reply.speaks_websocket(), ex.forward.screen.take(), now);
            Ok(Step::Next(Over::Switched(Box::new(Tunnel::open(io, up, watch, frames).after(early)))))
        }
        // Cannot be: only an allowed offer on a connection switches.
        _ => Err(End::Gone),
    }
}

/// Adds a field before the empty line that ends a head.
fn add_field(head: &mut Vec<u8>, name: &str, value: &str) {
    head.truncate(head.len().saturating_sub(2));
    write_field(head, name, value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Writes a head that says something else than the client's.
fn write_anew(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, rewrite: &Rewrite, onward: &Onward<'_>) {
    let ours = |name: &str| rewrite.client.is_some_and(|(field, _)| field.eq_ignore_ascii_case(name));
    let kept = |name: &str| !name.eq_ignore_ascii_case(AUTHORIZATION) && !ours(name);
    let fields: Vec<_> = head.fields.iter().filter(|field| kept(field.name)).copied().collect();
    write_request(out, &RequestHead { fields: &fields, query: rewrite.query.as_deref(), ..*head }, onward);
    if let Some(authorization) = &rewrite.authorization {
        add_field(out, AUTHORIZATION, authorization);
    }
    if let Some((name, client)) = rewrite.client {
        add_field(out, name, &client.to_string());
    }
}

const AUTHORIZATION: &str = "Authorization";

/// An upstream's authority as text, without an allocation.
struct AuthorityText {
    buf: [u8; 64],
}

impl AuthorityText {
    fn of(&mut self, upstream: &Upstream) -> Option<&str> {
        let (Upstream::Tcp(address) | Upstream::Tls(address, _)) = upstream else { return None };
        let mut rest = &mut self.buf[..];
        let room = rest.len();
        write_address(&mut rest, *address).ok()?;
        let used = room - rest.len();
        std::str::from_utf8(self.buf.get(..used)?).ok()
    }
}
