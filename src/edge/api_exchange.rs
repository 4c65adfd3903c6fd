//! A request to the control API: its body is collected here, its answer comes from another thread.
//!
//! ```text
//!  start ─► Collect ── whole ─► Waiting ── answered ─► own reply, Head or Closing
//!              │                   └─ no thread in time: 503; no answer in time: 504
//!              └─ too large: 413; no room in the body budget: 503; too slow: 408
//! ```
//!
//! Who may call was judged on the head: no byte of a body is kept before that. A body is charged to the budget as its
//! bytes come, not by the length that the client announces.

use std::sync::Arc;

use super::api_pool::{ApiPool, ApiRequest, Charge, Progress, Slot};
use super::client::{ClientIo, End, Step, after_reply, respond};
use super::context::Context;
use super::exchange::Facts;
use super::own_reply;
use super::router::{ApiForward, Reply};
use super::socket::Got;
use crate::config::settings;
use crate::core::api_queue::Rank;
use crate::core::http_body::{BodyDecoder, BodyError};
use crate::core::http_head::BodyLength;
use crate::core::http_head::request::RequestHead;
use crate::core::http_head::upstream::{Onward, write_request};
use crate::core::time::Moment;

/// Read at once of a chunked body; bounds what of later requests is read with it.
const CHUNKED_READ: usize = 32 * 1024;

/// A body's first allocation, unless it is known to be smaller: what most requests have.
const FIRST_ALLOCATION: usize = 1024;

/// A request on its way to the API and back.
pub struct ApiExchange {
    pool: Arc<ApiPool>,
    rank: Rank,
    facts: Facts,
    head: Head,
    body: Collector,
    stage: Stage,
}

/// The normalised head.
#[derive(Default)]
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

enum Stage {
    Collect,
    Waiting { slot: Arc<Slot>, since: Moment },
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
            peer: io.peer,
            scheme: if io.socket.is_tls() { "https" } else { "http" },
            trusted: io.trusted,
            pseudonym: &cx.pseudonym,
            user: None,
            whole_page: false,
            upgrade: false,
            body: BodyLength::None,
        };
        let mut text = Vec::new();
        write_request(&mut text, head, &onward);
        let ApiForward { pool, rank, body_limit, too_large } = forward;
        let charge = Charge::new(pool.clone(), rank);
        let body = Collector {
            decoder: BodyDecoder::new(head.body),
            limit: usize::try_from(body_limit).unwrap_or(usize::MAX),
            too_large: too_large.unwrap_or(own_reply::too_large),
            bytes: Vec::new(),
            charge,
        };
        let head = Head::parse(&text);
        ApiExchange { pool, rank, facts, head, body, stage: Stage::Collect }
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

    /// Whether the connection can be used for another request after a reply.
    pub fn keeps_client(&self) -> bool {
        self.facts.keep_alive && self.body.decoder.is_done()
    }

    /// The deadline that holds now; `collecting`: when the body began to come.
    pub fn deadline(&self, collecting: Moment, settings: &settings::Edge) -> Moment {
        match &self.stage {
            Stage::Collect => collecting + settings.body_idle_timeout,
            Stage::Waiting { slot, since } if slot.is_waiting() => *since + settings.api_queue_timeout,
            Stage::Waiting { since, .. } => *since + settings.upstream_head_timeout,
        }
    }

    /// The deadline passed.
    pub fn expire(&mut self, cx: &mut Context) -> End {
        match &self.stage {
            Stage::Collect => End::refuse(408, "the request body took too long"),
            Stage::Waiting { slot, .. } if slot.is_waiting() => {
                slot.abandon();
                cx.warn(&"requests to the control API wait longer than edge.api_queue_timeout");
                End::Refuse(Box::new(busy("no thread was free for it within edge.api_queue_timeout")))
            }
            Stage::Waiting { slot, .. } => {
                slot.abandon();
                cx.warn(&"the control API did not answer within edge.upstream_head_timeout");
                End::refuse(504, "the control API did not answer in time")
            }
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

    fn submit(&mut self, cx: &mut Context, io: &ClientIo) -> Result<(), End> {
        let slot = Slot::new(io.ticket.doorbell(io.key));
        let Head { method, target, headers } = std::mem::take(&mut self.head);
        let nothing = Charge::new(self.pool.clone(), self.rank);
        let request = ApiRequest {
            rank: self.rank,
            method,
            target,
            headers,
            body: std::mem::take(&mut self.body.bytes),
            _charge: std::mem::replace(&mut self.body.charge, nothing),
            slot: slot.clone(),
        };
        if !self.pool.submit(request) {
            cx.warn(&"more requests to the control API than edge.api_queue wait");
            return Err(End::Refuse(Box::new(busy("edge.api_queue requests wait for it already"))));
        }
        self.stage = Stage::Waiting { slot, since: cx.now };
        Ok(())
    }
}

impl Drop for ApiExchange {
    fn drop(&mut self) {
        if let Stage::Waiting { slot, .. } = &self.stage {
            slot.abandon();
        }
    }
}

/// Does all that can be done now.
pub fn step(cx: &mut Context, io: &mut ClientIo, ex: &mut ApiExchange) -> Result<Step, End> {
    if io.socket.hung_up {
        return Err(End::Gone);
    }
    io.flush(cx.now)?;
    if matches!(ex.stage, Stage::Collect) {
        if !ex.collect(cx, io)? {
            return Ok(Step::Wait);
        }
        ex.submit(cx, io)?;
    }
    let Stage::Waiting { slot, .. } = &ex.stage else { return Ok(Step::Wait) };
    match slot.progress() {
        Progress::Waiting | Progress::Taken => Ok(Step::Wait),
        Progress::Answered(reply) => {
            let (facts, keep) = (ex.facts, ex.keeps_client());
            respond(cx, io, &reply, facts.version, facts.to_head, keep);
            Ok(Step::Next(after_reply(keep)))
        }
    }
}

/// The answer when the API has too much to do.
fn busy(detail: &str) -> Reply {
    own_reply::error(503, &format!("the control API is busy: {detail}; ask again"))
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

impl Head {
    /// Of what `write_request` wrote. Bytes that are no UTF-8 cannot be anything the API looks for.
    fn parse(text: &[u8]) -> Head {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, target) = (word(), word());
        let fields = lines.filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Head { method, target, headers }
    }
}
