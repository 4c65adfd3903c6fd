//! A request to the control API: its body is collected, then it waits for one of few connections.
//!
//! ```text
//!  start ─► Collect ── whole ─► Waiting ── permit ─► Connecting ─► Talking ── whole reply ─► Head or Closing
//!              │                   │                     │              └─ promised ─► Promised ── the reply ─► the same
//!              │                   │                     └─ nobody listens: tried again, then 503
//!              │                   └─ no connection in time: 503                └─ no reply in time: 504
//!              └─ too large: 413; no room in the body budget: 503; too slow: 408
//! ```
//!
//! Who may call was judged on the head: no byte of a body is kept before that. A body is charged to the budget as its
//! bytes come, not by the length that the client announces. The API sees one normalised request with its length per
//! connection.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::api_pool::{ApiPool, Charge, LateReply, REPLY_LATER_FIELD, Slot};
use super::api_talk::{Heard, Load, Talk};
use super::client_io::{ClientIo, End, Replied, Step};
use super::context::Context;
use super::local_response;
use super::router::ApiForward;
use super::socket::{Got, Socket};
use crate::config::settings;
use crate::core::time::Moment;
use crate::edge::api_queue::Rank;
use crate::edge::facts::Facts;
use crate::edge::http1::body::{BodyDecoder, BodyError};
use crate::edge::http1::head::downstream::{Downward, write_reply};
use crate::edge::http1::head::request::RequestHead;
use crate::edge::http1::head::response::{MAX_REPLY_HEAD, parse_reply};
use crate::edge::http1::head::upstream::{Onward, write_api_request, write_length};
use crate::edge::http1::head::{BodyLength, Scan, field_table, scan};
use crate::edge::reply::Reply;

/// Between two attempts to connect: a full backlog empties, a lost listener is made anew.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// Read at once of a chunked body; bounds what of later requests is read with it.
const CHUNKED_READ: usize = 32 * 1024;

/// A body's first allocation, unless it is known to be smaller: what most requests have.
const FIRST_ALLOCATION: usize = 1024;

/// A request on its way to the API and back.
pub struct ApiExchange {
    pool: Arc<ApiPool>,
    rank: Rank,
    facts: Facts,
    /// The normalised head, without its last line.
    head: Vec<u8>,
    has_body: bool,
    body: Collector,
    /// Where a reply that takes long is put.
    late: Option<Arc<LateReply>>,
    stage: Stage,
}

enum Stage {
    Collect,
    Waiting {
        slot: Arc<Slot>,
        since: Moment,
    },
    Connecting {
        load: Option<Load>,
        since: Moment,
        again: Moment,
    },
    Talking {
        talk: Talk,
        since: Moment,
    },
    /// Without a connection.
    Promised {
        since: Moment,
        _charge: Charge,
    },
    Over,
}

impl ApiExchange {
    /// Begins: keeps what is needed of the head.
    pub fn new(
        cx: &mut Context,
        io: &ClientIo,
        head: &RequestHead<'_, '_>,
        forward: ApiForward,
        facts: Facts,
    ) -> ApiExchange {
        let onward = Onward {
            host: None,
            prefix: "",
            peer: io.peer,
            scheme: if io.socket.is_tls() { "https" } else { "http" },
            trusted: io.trusted,
            pseudonym: &cx.pseudonym,
            user: None,
            whole_page: false,
            upgrade: false,
            body: BodyLength::None,
            confined: false,
        };
        let mut text = Vec::new();
        write_api_request(&mut text, head, &onward);
        let ApiForward { pool, rank, body_limit, too_large } = forward;
        let charge = Charge::new(pool.clone(), rank);
        let body = Collector {
            decoder: BodyDecoder::new(head.body),
            limit: usize::try_from(body_limit).unwrap_or(usize::MAX),
            too_large: too_large.unwrap_or(local_response::too_large),
            bytes: Vec::new(),
            charge,
        };
        let has_body = head.body != BodyLength::None;
        ApiExchange { pool, rank, facts, head: text, has_body, body, late: None, stage: Stage::Collect }
    }

    /// Takes the part of the body that is here already, and asks for the rest where the client waits to be asked.
    pub fn start(&mut self, cx: &mut Context, io: &mut ClientIo) -> Result<(), End> {
        self.take_input(cx, io)?;
        if self.facts.expects_continue && !self.body.decoder.is_done() {
            io.sent = cx.now;
            io.out.buf.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Ok(())
    }

    /// How a reply is sent.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Its body is not whole yet.
    pub fn is_collecting(&self) -> bool {
        matches!(self.stage, Stage::Collect)
    }

    /// Whether the connection can be used for another request after a reply.
    pub fn keeps_client(&self) -> bool {
        self.facts.keep_alive && self.body.decoder.is_done()
    }

    /// The API's socket, for the loop's events.
    pub fn upstream(&mut self) -> Option<&mut Socket> {
        match &mut self.stage {
            Stage::Talking { talk, .. } => Some(talk.socket()),
            _ => None,
        }
    }

    /// The deadline that holds now; `collecting`: when the body began to come.
    pub fn deadline(&self, collecting: Moment, settings: &settings::Edge) -> Moment {
        match &self.stage {
            Stage::Collect | Stage::Over => collecting + settings.body_idle_timeout,
            Stage::Waiting { since, .. } => *since + settings.api_queue_timeout,
            Stage::Connecting { again, .. } => *again,
            Stage::Talking { since, .. } | Stage::Promised { since, .. } => {
                *since + settings.upstream_head_timeout
            }
        }
    }

    /// The deadline passed. `None`: goes on.
    pub fn expire(&mut self, cx: &mut Context) -> Option<End> {
        match &mut self.stage {
            Stage::Collect | Stage::Over => Some(End::refuse(408, "the request body took too long")),
            Stage::Waiting { .. } => {
                cx.warn(None, &"requests to the control API wait longer than edge.api_queue_timeout");
                Some(End::Refuse(Box::new(busy("no connection was free within edge.api_queue_timeout"))))
            }
            Stage::Connecting { since, .. }
                if cx.now.reached(*since + cx.settings.upstream_connect_timeout) =>
            {
                cx.warn(None, &"ALERT nobody listens on the socket of the control API");
                Some(End::Refuse(Box::new(busy("it does not listen"))))
            }
            Stage::Connecting { .. } => None,
            Stage::Talking { .. } | Stage::Promised { .. } => {
                cx.warn(None, &"the control API did not answer within edge.upstream_head_timeout");
                Some(End::refuse(504, "the control API did not answer in time"))
            }
        }
    }

    /// Gives everything back.
    pub fn dispose(mut self, cx: &mut Context) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Talking { talk, .. } => drop(talk.close(cx)),
            Stage::Waiting { slot, .. } => slot.abandon(),
            Stage::Collect | Stage::Connecting { .. } | Stage::Promised { .. } | Stage::Over => {}
        }
    }

    fn take_input(&mut self, cx: &mut Context, io: &mut ClientIo) -> Result<(), End> {
        if self.body.decoder.is_done() || io.input.is_empty() {
            return Ok(());
        }
        let input = std::mem::take(&mut io.input);
        let taken = self.body.absorb(cx, &input);
        io.input = input;
        io.consume(taken?);
        Ok(())
    }

    /// Reads the body. `true`: it is whole.
    fn collect(&mut self, cx: &mut Context, io: &mut ClientIo) -> Result<bool, End> {
        loop {
            self.take_input(cx, io)?;
            if self.body.decoder.is_done() {
                return Ok(true);
            }
            if !io.socket.readable || !cx.spend() {
                return Ok(false);
            }
            let body = &mut self.body;
            let got = cx.with_scratch(|cx, scratch| {
                let room = body.room().min(scratch.len());
                match io.socket.read(&mut scratch[..room]) {
                    Got::Bytes(n) => {
                        let data = scratch.get(..n).unwrap_or_default();
                        let taken = body.absorb(cx, data)?;
                        // The beginning of the next request.
                        io.input.extend_from_slice(data.get(taken..).unwrap_or_default());
                        Ok(true)
                    }
                    Got::Blocked => Ok(false),
                    Got::End | Got::Failed(_) => Err(End::Gone),
                }
            });
            if !got? {
                return Ok(false);
            }
        }
    }

    fn enqueue(&mut self, cx: &mut Context, io: &ClientIo) -> Result<(), End> {
        let Some(slot) = self.pool.enqueue(self.rank, io.ticket.doorbell(io.key)) else {
            cx.warn(None, &"more requests to the control API than edge.api_queue wait");
            return Err(End::Refuse(Box::new(busy("edge.api_queue requests wait for it already"))));
        };
        self.stage = Stage::Waiting { slot, since: cx.now };
        Ok(())
    }

    /// The request as the API gets it.
    fn request(&mut self) -> (Vec<u8>, Charge) {
        let (mut request, body) = (std::mem::take(&mut self.head), std::mem::take(&mut self.body.bytes));
        if self.has_body {
            write_length(&mut request, body.len() as u64);
        }
        if let Some(late) = &self.late {
            // Writing to a Vec cannot fail.
            let _ = write!(request, "{REPLY_LATER_FIELD}: {}\r\n", late.number());
        }
        request.extend_from_slice(b"Connection: close\r\n\r\n");
        request.extend_from_slice(&body);
        let nothing = Charge::new(self.pool.clone(), self.rank);
        (request, std::mem::replace(&mut self.body.charge, nothing))
    }

    /// Goes as far as it can; `Some`: the whole reply.
    fn advance(&mut self, cx: &mut Context, io: &ClientIo) -> Result<Option<Vec<u8>>, End> {
        if let Stage::Waiting { slot, .. } = &self.stage {
            let Some(permit) = slot.permit() else { return Ok(None) };
            self.late = self.pool.reply_later(self.rank, io.ticket.doorbell(io.key));
            let (request, charge) = self.request();
            let load = Some(Load { request, permit, charge });
            self.stage = Stage::Connecting { load, since: cx.now, again: cx.now };
        }
        if let Stage::Connecting { load, again, .. } = &mut self.stage {
            if !cx.now.reached(*again) {
                return Ok(None);
            }
            let Some(ready) = load.take() else { return Err(End::Gone) };
            let way = self.pool.socket();
            match Talk::open(cx, io.key, (*way).as_ref(), ready) {
                Ok(talk) => self.stage = Stage::Talking { talk, since: cx.now },
                Err((error, back)) => {
                    if matches!(error, Errno::CONNREFUSED | Errno::NOENT) {
                        self.pool.report_lost();
                    }
                    (*load, *again) = (Some(back), cx.now + CONNECT_AGAIN);
                    return Ok(None);
                }
            }
        }
        if let Stage::Talking { talk, .. } = &mut self.stage {
            match talk.step(cx) {
                Ok(Heard::Part) => return Ok(None),
                Ok(Heard::All(_)) if self.late.as_ref().is_some_and(|late| late.is_promised()) => {}
                Ok(Heard::All(reply)) => return Ok(Some(reply)),
                Err(what) => return Err(broken(cx, what)),
            }
        }
        self.hang_up(cx);
        Ok(self.late.as_ref().and_then(|late| late.take()))
    }

    /// Lets others have the connection while the reply is made.
    fn hang_up(&mut self, cx: &mut Context) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Talking { talk, since } => Stage::Promised { since, _charge: talk.close(cx) },
            other => other,
        };
    }
}

/// The client is gone. What the API was handed it does all the same, and has a connection and a thread for it until then: the permit is not
/// the next one's before.
fn without_client(cx: &mut Context, io: &ClientIo, ex: &mut ApiExchange) -> Result<Step<Replied>, End> {
    let is_talking = |ex: &ApiExchange| matches!(ex.stage, Stage::Talking { .. });
    match is_talking(ex) && ex.advance(cx, io)?.is_none() && is_talking(ex) {
        true => Ok(Step::Wait),
        false => Err(End::Gone),
    }
}

/// Does all that can be done now.
pub fn step(cx: &mut Context, io: &mut ClientIo, ex: &mut ApiExchange) -> Result<Step<Replied>, End> {
    if io.socket.hung_up {
        return without_client(cx, io, ex);
    }
    io.flush(cx.now)?;
    if matches!(ex.stage, Stage::Collect) {
        if !ex.collect(cx, io)? {
            return Ok(Step::Wait);
        }
        ex.enqueue(cx, io)?;
    }
    let Some(reply) = ex.advance(cx, io)? else { return Ok(Step::Wait) };
    let keep = ex.keeps_client();
    pass_on(cx, io, ex.facts, keep, &reply)?;
    Ok(Step::Next(Replied { keep_alive: keep }))
}

/// Queues the API's reply for the client, with a length.
fn pass_on(cx: &mut Context, io: &mut ClientIo, facts: Facts, keep: bool, reply: &[u8]) -> Result<(), End> {
    let len = match scan(reply, 0) {
        Ok(Scan::Complete(len)) if len <= MAX_REPLY_HEAD => len,
        _ => return Err(broken(cx, "it closed without a reply")),
    };
    let (head, rest) = reply.split_at(len);
    let mut table = field_table();
    let head = parse_reply(head, &mut table, facts.to_head).map_err(|what| broken(cx, what))?;
    let (mut decoder, mut decoded) = (BodyDecoder::new(head.body), Vec::new());
    let payload = match decoder.decode(rest, &mut decoded) {
        Ok((_, payload)) => payload,
        Err(_) => return Err(broken(cx, "its chunked reply is malformed")),
    };
    if decoder.end().is_err() || head.status < 200 {
        return Err(broken(cx, "its reply is not complete"));
    }
    let body = match head.body {
        BodyLength::None => BodyLength::None,
        _ => BodyLength::Length(payload.len() as u64),
    };
    if io.out.is_empty() {
        io.sent = cx.now;
    }
    cx.counters.replied(io.route, head.status);
    let hsts = cx.hsts(io.socket.is_tls());
    let downward = Downward {
        version: facts.version,
        body,
        keep_alive: keep,
        injected: None,
        added: 0,
        confined: None,
        hsts: hsts.as_deref(),
    };
    write_reply(&mut io.out.buf, &head, &downward);
    io.out.buf.extend_from_slice(payload);
    Ok(())
}

fn broken(cx: &mut Context, what: &'static str) -> End {
    cx.warn(None, &format_args!("control API: {what}"));
    End::refuse(502, "the upstream's reply cannot be used")
}

/// The answer when the API has too much to do.
fn busy(detail: &str) -> Reply {
    local_response::error(503, &format!("the control API is busy: {detail}; ask again"))
}

/// A body that is collected.
struct Collector {
    decoder: BodyDecoder,
    limit: usize,
    too_large: fn() -> Reply,
    bytes: Vec<u8>,
    charge: Charge,
}

impl Collector {
    /// How much to read at once: not beyond a known end, and not far beyond an unknown one.
    fn room(&self) -> usize {
        match self.decoder {
            BodyDecoder::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => CHUNKED_READ,
        }
    }

    /// Decodes and keeps a part of the body. Returns how much of `data` belonged to it.
    fn absorb(&mut self, cx: &mut Context, data: &[u8]) -> Result<usize, End> {
        let mut decoded = std::mem::take(&mut cx.decoded);
        let result = match self.decoder.decode(data, &mut decoded) {
            Ok((taken, payload)) => self.keep(payload).map(|()| taken),
            Err(BodyError::Chunk) => Err(End::refuse(400, "the chunked body is malformed")),
            Err(BodyError::Truncated) => Err(End::Gone),
        };
        cx.decoded = decoded;
        if result.is_err() {
            // Nothing is known of where the next request begins.
            self.decoder = BodyDecoder::UntilClose;
        }
        result
    }

    /// Appends to the body. Its memory is charged before it is asked for.
    fn keep(&mut self, payload: &[u8]) -> Result<(), End> {
        let (limit, room) = (self.limit, self.bytes.capacity());
        let needed = self.bytes.len().saturating_add(payload.len());
        if needed > limit {
            return Err(End::Refuse(Box::new((self.too_large)())));
        }
        if needed > room {
            let wanted = room.saturating_mul(2).max(FIRST_ALLOCATION).min(limit).max(needed);
            if !self.charge.add(wanted - room) {
                return Err(End::Refuse(Box::new(busy("request bodies hold all of edge.body_budget"))));
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(payload);
        Ok(())
    }
}
