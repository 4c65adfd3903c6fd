//! The upstream's reply on its way to the client.
//!
//! ```text
//!  AwaitHead ── 1xx ─► AwaitHead        AwaitHead ── 101, offered and allowed ─► switched
//!      │ final head
//!      ▼
//!    Body ── end of body ─► Complete    Body ── truncated, malformed ─► the client's connection is closed
//! ```

use super::client_io::{ClientIo, End};
use super::context::Context;
use super::counters::Failure;
use super::exchange::Exchange;
use super::socket::Got;
use crate::edge::http1::body::{BodyDecoder, LAST_CHUNK, write_chunk_size};
use crate::edge::http1::head::confine::names_ice_server;
use crate::edge::http1::head::downstream::{Downward, client_framing, write_reply, write_switching};
use crate::edge::http1::head::fields::is_encoded;
use crate::edge::http1::head::response::{MAX_REPLY_HEAD, ReplyHead, ToHead, parse_reply};
use crate::edge::http1::head::text::write_field;
use crate::edge::http1::head::{BodyLength, Scan, Version, field_table, scan};
use crate::edge::http1::inject::Injector;
use crate::edge::signalling::From;
use crate::edge::websocket::{MAX_TEXT, Verdict};

/// Interim replies to one request; more is a broken upstream.
const MAX_INTERIM: u8 = 16;

/// Where pumping a reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Waiting for one of the sockets.
    Blocked,
    /// The pooled connection was stale; send again on a fresh one.
    Stale,
    /// All of it is with the client.
    Complete,
    /// 101 is on its way to the client.
    Switched,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    AwaitHead,
    Body,
    Complete,
    Switched,
}

/// Where a reply stands.
#[derive(Default)]
pub struct ReplySide {
    /// The beginning of a head.
    pub input: Vec<u8>,
    scanned: usize,
    phase: Phase,
    interim: u8,
    decoder: Option<BodyDecoder>,
    client_framing: Option<BodyLength>,
    injector: Option<Injector>,
    /// What came of a body that is judged as a whole.
    held: Option<Vec<u8>>,
    /// The protocol that was switched to is WebSocket.
    websocket: bool,
    keeps_client: bool,
    keeps_upstream: bool,
}

impl ReplySide {
    /// The final head was passed on.
    pub fn is_begun(&self) -> bool {
        self.phase != Phase::AwaitHead
    }

    /// What follows the 101 are WebSocket frames.
    pub fn speaks_websocket(&self) -> bool {
        self.websocket
    }

    /// The client's connection can carry another request.
    pub fn keeps_client(&self) -> bool {
        self.keeps_client
    }

    /// The upstream's connection can carry another request.
    pub fn leaves_connection_usable(&self) -> bool {
        self.phase == Phase::Complete && self.keeps_upstream && self.input.is_empty()
    }

    fn decoder(&mut self) -> &mut BodyDecoder {
        self.decoder.get_or_insert(BodyDecoder::Done)
    }
}

/// Relays what can be relayed. While the client takes nothing, nothing is read from the upstream.
pub fn pump(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<Flow, End> {
    loop {
        if ex.reply.phase == Phase::Switched {
            return Ok(Flow::Switched);
        }
        if !io.flush(cx.now)? {
            return Ok(Flow::Blocked);
        }
        // Nothing waits: the client's time to take bytes begins with the next ones.
        io.sent = cx.now;
        if ex.reply.phase == Phase::Complete {
            return Ok(Flow::Complete);
        }
        if !ex.up.as_ref().is_some_and(|up| up.socket.readable) || !cx.spend() {
            return Ok(Flow::Blocked);
        }
        let flow = cx.with_scratch(|cx, scratch| match read(ex, scratch) {
            Got::Bytes(n) => {
                io.moved = cx.now;
                on_bytes(cx, io, ex, scratch.get(..n).unwrap_or_default()).map(|()| None)
            }
            Got::Blocked => Ok(Some(Flow::Blocked)),
            Got::End => on_end(cx, io, ex),
            Got::Failed(error) => match ex.reply.phase {
                Phase::AwaitHead => no_reply(cx, ex, &error),
                _ => Err(truncated(cx, ex)),
            },
        })?;
        if let Some(flow) = flow {
            return Ok(flow);
        }
    }
}

fn read(ex: &mut Exchange, scratch: &mut [u8]) -> Got {
    ex.up.as_mut().map_or(Got::Blocked, |up| up.socket.read(scratch))
}

fn on_bytes(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange, data: &[u8]) -> Result<(), End> {
    if ex.reply.phase == Phase::Body {
        return relay(cx, io, ex, data);
    }
    if ex.reply.input.is_empty() {
        return on_head_bytes(cx, io, ex, data);
    }
    let mut input = std::mem::take(&mut ex.reply.input);
    input.extend_from_slice(data);
    let result = on_head_bytes(cx, io, ex, &input);
    cx.recycle(input);
    result
}

/// `data` begins with a head; interim heads may come before the final one.
fn on_head_bytes(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange, data: &[u8]) -> Result<(), End> {
    let mut rest = data;
    while ex.reply.phase == Phase::AwaitHead {
        let scanned = scan(rest, ex.reply.scanned).map_err(|error| ex.broken(cx, &error.detail()))?;
        match scanned {
            Scan::Complete(len) if len <= MAX_REPLY_HEAD => {
                let (head, after) = rest.split_at(len);
                ex.reply.scanned = 0;
                on_head(cx, io, ex, head)?;
                rest = after;
            }
            Scan::Partial(len) if len <= MAX_REPLY_HEAD => {
                ex.reply.scanned = len;
                let mut input = cx.buffer();
                input.extend_from_slice(rest);
                ex.reply.input = input;
                return Ok(());
            }
            _ => return Err(ex.broken(cx, &"its reply head is too long")),
        }
    }
    if ex.reply.phase == Phase::Switched {
        // Bytes right behind the head belong to the tunnel.
        ex.reply.input = rest.to_vec();
        return Ok(());
    }
    relay(cx, io, ex, rest)
}

fn on_head(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange, head: &[u8]) -> Result<(), End> {
    let mut table = field_table();
    let head = parse_reply(head, &mut table, ex.facts.to_head).map_err(|what| ex.broken(cx, &what))?;
    if io.out.buf.capacity() == 0 {
        io.out.buf = cx.buffer();
    }
    match head.status {
        101 if ex.upgrade && head.names_upgrade() => {
            if ex.forward.screen.is_some() && !head.is_plain_websocket() {
                return Err(ex.broken(cx, &"it switched to something other than plain WebSocket"));
            }
            ex.reply.websocket = head.is_websocket();
            cx.counters.replied(io.route, head.status);
            write_switching(&mut io.out.buf, &head, ex.forward.confined.as_ref());
            ex.reply.phase = Phase::Switched;
        }
        101 => return Err(ex.broken(cx, &"it switched protocols without being asked to")),
        100..=199 => {
            ex.reply.interim += 1;
            if ex.reply.interim > MAX_INTERIM {
                return Err(ex.broken(cx, &"it sends interim replies without end"));
            }
            // 100 was answered by us.
            if head.status != 100 && ex.facts.version == Version::Http11 {
                let downward = Downward {
                    version: Version::Http11,
                    body: BodyLength::None,
                    keep_alive: true,
                    injected: None,
                    added: 0,
                    confined: ex.forward.confined.as_ref(),
                    hsts: None,
                };
                write_reply(&mut io.out.buf, &head, &downward);
            }
        }
        _ => {
            if screens_bodies(ex) && head.fields.iter().any(is_encoded) {
                return Err(ex.broken(cx, &"its answer is encoded, nobody asked for that"));
            }
            cx.counters.replied(io.route, head.status);
            on_final_head(cx, io, ex, &head);
        }
    }
    Ok(())
}

fn screens_bodies(ex: &Exchange) -> bool {
    ex.forward.screen.as_ref().is_some_and(|screen| screen.takes_bodies())
}

fn on_final_head(cx: &Context, io: &mut ClientIo, ex: &mut Exchange, head: &ReplyHead<'_, '_>) {
    let injection = ex
        .forward
        .inject
        .as_ref()
        .filter(|_| ex.facts.is_page_request && head.takes_injection(ex.facts.to_head));
    let added = injection.map_or(0, |injection| injection.tag.len());
    let held = screens_bodies(ex) && head.body != BodyLength::None;
    let body = match (held, ex.facts.version) {
        // Judging may change its length.
        (true, Version::Http11) => BodyLength::Chunked,
        (true, Version::Http10) => BodyLength::UntilClose,
        (false, version) => client_framing(head, version, added),
    };
    let reply = &mut ex.reply;
    // A reply that comes before the whole request was read is the connection's last.
    reply.keeps_client = ex.facts.keep_alive && body != BodyLength::UntilClose && ex.request.is_complete();
    reply.keeps_upstream = head.keep_alive;
    let hsts = cx.hsts(io.socket.is_tls());
    let downward = Downward {
        version: ex.facts.version,
        body,
        keep_alive: reply.keeps_client,
        injected: injection.map(|injection| &*injection.version),
        added,
        confined: ex.forward.confined.as_ref(),
        hsts: hsts.as_deref(),
    };
    write_reply(&mut io.out.buf, head, &downward);
    if let Some(screen) = ex.forward.screen.as_ref().filter(|_| head.fields.iter().any(names_ice_server)) {
        // Before the empty line that ends the head.
        io.out.buf.truncate(io.out.buf.len().saturating_sub(2));
        let links = screen.ice_links();
        links.iter().for_each(|link| write_field(&mut io.out.buf, "Link", link.as_bytes()));
        io.out.buf.extend_from_slice(b"\r\n");
    }
    reply.held = held.then(Vec::new);
    let changed = injection.filter(|_| ex.facts.to_head == ToHead::No);
    reply.injector = changed.map(|injection| Injector::new(injection.tag.clone()));
    reply.decoder = Some(BodyDecoder::new(head.body));
    reply.client_framing = Some(body);
    reply.phase = Phase::Body;
}

fn relay(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange, data: &[u8]) -> Result<(), End> {
    let mut decoded = std::mem::take(&mut cx.decoded);
    let result = match ex.reply.decoder().decode(data, &mut decoded) {
        Ok((taken, payload)) => {
            if taken < data.len() {
                // Bytes nobody asked for: the connection cannot be trusted with another request.
                ex.reply.keeps_upstream = false;
            }
            pass_on(cx, io, ex, payload)
        }
        Err(_) => {
            cx.complain(&ex.forward.upstream, Failure::Broken, &"its chunked reply is malformed");
            Err(incomplete(ex))
        }
    };
    cx.decoded = decoded;
    result
}

/// Sends a part of the body to the client at once: lines of a stream are not held back.
fn pass_on(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange, payload: &[u8]) -> Result<(), End> {
    let done = ex.reply.decoder().is_done();
    if done {
        ex.reply.phase = Phase::Complete;
    }
    let judged = match hold(ex, payload, done) {
        Ok(judged) => judged,
        Err(what) => {
            cx.complain(&ex.forward.upstream, Failure::Broken, &what);
            return Err(incomplete(ex));
        }
    };
    let payload = judged.as_deref().unwrap_or(payload);
    let chunked = ex.reply.client_framing == Some(BodyLength::Chunked);
    let mut injected = std::mem::take(&mut cx.injected);
    let body = match &mut ex.reply.injector {
        Some(injector) if !injector.is_passing() => {
            injected.clear();
            injector.feed(payload, &mut injected);
            if done {
                injector.finish(&mut injected);
            }
            &injected[..]
        }
        _ => payload,
    };
    let tail: &[u8] = match (chunked, body.is_empty(), done) {
        (false, _, _) | (true, true, false) => b"",
        (true, true, true) => LAST_CHUNK,
        (true, false, false) => b"\r\n",
        (true, false, true) => b"\r\n0\r\n\r\n",
    };
    if chunked && !body.is_empty() {
        write_chunk_size(&mut io.out.buf, body.len());
    }
    let result = io.send(body, tail, cx.now);
    cx.injected = injected;
    result
}

/// Holds a body that is judged as a whole; `None`: this one is not.
fn hold(ex: &mut Exchange, payload: &[u8], done: bool) -> Result<Option<Vec<u8>>, &'static str> {
    let Some(held) = &mut ex.reply.held else { return Ok(None) };
    if payload.len() > MAX_TEXT - held.len().min(MAX_TEXT) {
        return Err("its answer is too long for signalling");
    }
    held.extend_from_slice(payload);
    if !done {
        return Ok(Some(Vec::new()));
    }
    let body = std::mem::take(held);
    let text = std::str::from_utf8(&body).map_err(|_| "its answer is no text")?;
    let Some(screen) = &ex.forward.screen else { return Ok(Some(body)) };
    match screen.body(text, From::Process) {
        Verdict::Passes => Ok(Some(body)),
        Verdict::Becomes(text) => Ok(Some(text.into_bytes())),
        Verdict::Dropped => Ok(Some(Vec::new())),
        Verdict::Refused(what) => Err(what),
    }
}

fn on_end(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<Option<Flow>, End> {
    ex.reply.keeps_upstream = false;
    if ex.reply.phase == Phase::AwaitHead {
        return no_reply(cx, ex, &"it closed the connection without a reply");
    }
    if ex.reply.decoder().end().is_err() {
        return Err(truncated(cx, ex));
    }
    pass_on(cx, io, ex, &[])?;
    Ok(None)
}

fn no_reply(cx: &mut Context, ex: &Exchange, what: &dyn std::fmt::Display) -> Result<Option<Flow>, End> {
    let nothing_came = ex.reply.input.is_empty() && ex.reply.interim == 0;
    if nothing_came && ex.can_retry() {
        return Ok(Some(Flow::Stale));
    }
    Err(ex.broken(cx, what))
}

fn truncated(cx: &mut Context, ex: &Exchange) -> End {
    cx.complain(&ex.forward.upstream, Failure::Broken, &"it closed the connection in the middle of a reply");
    incomplete(ex)
}

/// The client must see that the body is not complete: by the missing end, or by RST where only closing ends it.
fn incomplete(ex: &Exchange) -> End {
    if ex.reply.client_framing == Some(BodyLength::UntilClose) { End::Abort } else { End::Gone }
}
