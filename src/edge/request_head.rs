//! Reading request heads and deciding what becomes of each request.

use super::api_exchange::ApiExchange;
use super::client_io::{ClientIo, End, Step, respond};
use super::context::Context;
use super::counters::RouteClass;
use super::event_channel::Follow;
use super::event_stream::EventStream;
use super::exchange::Exchange;
use super::flights::{Flight, FlightLimit};
use super::router::{ApiForward, Decision, Forward, Request};
use super::socket::Got;
use super::state::{State, after_reply};
use super::{local_response, sender};
use crate::edge::facts::Facts;
use crate::edge::http1::head::fields::is_encoded;
use crate::edge::http1::head::request::{RequestHead, parse_request};
use crate::edge::http1::head::response::ToHead;
use crate::edge::http1::head::{BodyLength, HeadError, Scan, field_table, scan_request};
use crate::edge::reply::Reply;

/// Read at once while waiting for a head; bounds what a client can make us hold beyond the head's limit.
const HEAD_READ: usize = 16 * 1024;

/// Members of `Via` after which a request is taken for a loop; controller and worker are two.
const MAX_HOPS: usize = 4;

impl From<HeadError> for End {
    fn from(error: HeadError) -> End {
        End::refuse(error.status(), error.detail())
    }
}

/// Reads until a head is complete, then acts on it.
pub fn step(cx: &mut Context, io: &mut ClientIo, began: &mut bool) -> Result<Step<State>, End> {
    // Replies to earlier pipelined requests go first; while they wait, nothing more is read.
    if !io.flush(cx.now)? {
        return Ok(Step::Wait);
    }
    // The beginning of this request may have come with the last one.
    *began |= !io.input.is_empty();
    loop {
        if let Some(len) = find_head(cx, io)? {
            return if cx.spend() { begin(cx, io, len) } else { Ok(Step::Wait) };
        }
        if !io.socket.readable || !cx.spend() {
            return Ok(rest(cx, io));
        }
        let got = cx.with_scratch(|cx, scratch| {
            let room = scratch.len().min(HEAD_READ);
            let got = io.socket.read(&mut scratch[..room]);
            if let Got::Bytes(n) = got {
                if io.input.capacity() == 0 {
                    io.input = cx.buffer();
                }
                io.input.extend_from_slice(&scratch[..n]);
            }
            got
        });
        match got {
            Got::Bytes(_) if !*began => {
                *began = true;
                // The first request's time runs from accept, so that silence and slowness are one.
                if io.requests > 0 {
                    io.since = cx.now;
                }
            }
            Got::Bytes(_) => {}
            Got::Blocked => return Ok(rest(cx, io)),
            Got::End | Got::Failed(_) => return Err(End::Gone),
        }
    }
}

/// Refuses a complete head that cannot be used, in the form that replies have on what may be its path.
fn refusal(cx: &Context, head: &[u8], error: HeadError) -> End {
    let target = head.split(|byte| *byte == b' ').nth(1).and_then(|target| std::str::from_utf8(target).ok());
    let path = target.and_then(|target| target.split('?').next()).unwrap_or_default();
    let reply = local_response::error(error.status(), error.detail());
    End::Refuse(Box::new(cx.router.form(path).map_or(reply.clone(), |form| form(reply))))
}

/// An idle connection holds no buffers.
fn rest(cx: &mut Context, io: &mut ClientIo) -> Step<State> {
    if io.input.is_empty() {
        cx.recycle(std::mem::take(&mut io.input));
        if io.out.is_empty() {
            cx.recycle(io.out.take());
        }
    }
    Step::Wait
}

fn find_head(cx: &Context, io: &mut ClientIo) -> Result<Option<usize>, End> {
    // An empty line before a request is left over from sloppy clients (RFC 9112, 2.2).
    if io.scanned == 0 {
        let empty_lines = io.input.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
        if empty_lines > 0 {
            io.consume(2 * empty_lines);
        }
    }
    if io.input == b"\r" || io.input.is_empty() {
        return Ok(None);
    }
    match scan_request(&io.input, io.scanned, &cx.limits)? {
        Scan::Complete(len) => Ok(Some(len)),
        Scan::Partial(scanned) => {
            io.scanned = scanned;
            Ok(None)
        }
    }
}

/// What is decided about a request, free of its head.
#[allow(clippy::large_enum_variant, reason = "returned once, never stored")]
enum Plan {
    Answer(Reply),
    Forward(Exchange),
    Api(Box<ApiExchange>),
    Events(Follow),
}

fn begin(cx: &mut Context, io: &mut ClientIo, len: usize) -> Result<Step<State>, End> {
    if !io.ticket.occupy() {
        return Err(End::Gone);
    }
    io.requests = io.requests.saturating_add(1);
    io.route = RouteClass::default();
    let input = std::mem::take(&mut io.input);
    let planned = plan(cx, io, input.get(..len).unwrap_or_default());
    io.input = input;
    io.consume(len);
    let (plan, facts, body) = planned?;
    match plan {
        Plan::Answer(reply) => {
            let keep = facts.keep_alive && skip_body(io, body);
            respond(cx, io, &facts.in_form(reply), facts.version, facts.to_head, keep);
            Ok(Step::Next(after_reply(keep)))
        }
        Plan::Forward(mut exchange) => {
            exchange.start(cx, io)?;
            Ok(Step::Next(State::Exchange(exchange)))
        }
        Plan::Api(mut exchange) => {
            exchange.start(cx, io)?;
            Ok(Step::Next(State::Api(exchange)))
        }
        Plan::Events(follow) => Ok(Step::Next(park(cx, io, follow, facts, body))),
    }
}

/// Begins an event stream.
fn park(cx: &mut Context, io: &mut ClientIo, follow: Follow, facts: Facts, body: BodyLength) -> State {
    let keep = facts.keep_alive && skip_body(io, body);
    if let Err(limit) = lasts(io) {
        respond(cx, io, &limit.reply(), facts.version, facts.to_head, keep);
        return after_reply(keep);
    }
    match EventStream::open(cx, io, follow, facts.version, keep) {
        Ok(stream) => State::Events(Box::new(stream)),
        Err(limit) => {
            respond(cx, io, &limit.reply(), facts.version, facts.to_head, keep);
            after_reply(keep)
        }
    }
}

/// The request under way becomes a tunnel or an event stream.
fn lasts(io: &mut ClientIo) -> Result<(), FlightLimit> {
    io.flight.as_mut().map_or(Ok(()), Flight::lasts)
}

/// A body nobody reads: when all of it is here it is skipped and the connection can be kept.
fn skip_body(io: &mut ClientIo, body: BodyLength) -> bool {
    match body {
        BodyLength::None => true,
        BodyLength::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= io.input.len() => {
                io.consume(length);
                true
            }
            _ => false,
        },
        BodyLength::Chunked | BodyLength::UntilClose => false,
    }
}

fn plan(cx: &mut Context, io: &mut ClientIo, head: &[u8]) -> Result<(Plan, Facts, BodyLength), End> {
    let mut table = field_table();
    let raw = head;
    let head = parse_request(raw, &mut table, &cx.limits).map_err(|error| {
        cx.remark(io.network, &format_args!("{} refused: {}", io.peer, error.detail()));
        refusal(cx, raw, error)
    })?;
    if head.is_loop(&cx.pseudonym, MAX_HOPS) {
        return Err(HeadError::Loop.into());
    }
    io.route = RouteClass::of(head.path);
    let mut facts = facts(cx, io, &head);
    if let Err(turned) = sender::admit(cx, io, &head) {
        facts.keep_alive &= !turned.closes;
        return Ok((Plan::Answer(turned.reply), facts, head.body));
    }
    let prefix = if io.trusted { head.forwarded_prefix() } else { String::new() };
    let request = Request {
        method: head.method,
        path: head.path,
        query: head.query,
        host: head.host,
        entrance: io.entrance,
        accepts_html: head.accepts_html,
        upgrade: head.upgrade,
        lost_upgrade: head.lost_upgrade,
        preflight: head.preflight,
        prefix: &prefix,
        authorization: head.authorization(),
        fields: head.fields,
        peer: io.peer,
        from_here: io.ticket.peer().is_loopback(),
        client: io.client,
        network: io.network,
    };
    let plan = match cx.router.route(&request) {
        Decision::Reply(reply) => Plan::Answer(reply),
        Decision::Events(follow) => Plan::Events(follow),
        Decision::Forward(forward) => forward_plan(cx, io, &head, forward, facts),
        Decision::Api(forward) => api_plan(cx, io, &head, forward, facts),
    };
    Ok((plan, facts, head.body))
}

fn facts(cx: &Context, io: &ClientIo, head: &RequestHead<'_, '_>) -> Facts {
    Facts {
        version: head.version,
        to_head: if head.method == "HEAD" { ToHead::Yes } else { ToHead::No },
        is_page_request: matches!(head.method, "GET" | "HEAD"),
        accepts_html: head.accepts_html,
        idempotent: head.idempotent(),
        keep_alive: head.connection.persistent(head.version)
            && io.requests < cx.settings.requests_per_connection,
        expects_continue: head.expects_continue,
        form: cx.router.form(head.path),
    }
}

fn forward_plan(
    cx: &mut Context,
    io: &mut ClientIo,
    head: &RequestHead<'_, '_>,
    forward: Forward,
    facts: Facts,
) -> Plan {
    let screened = forward.screen.as_ref().is_some_and(|screen| screen.takes_bodies());
    if screened && head.fields.iter().any(is_encoded) {
        return Plan::Answer(local_response::error(
            415,
            "a session description is sent as it is, not encoded",
        ));
    }
    if head.upgrade
        && forward.tunnels.is_some()
        && let Err(limit) = lasts(io)
    {
        return Plan::Answer(limit.reply());
    }
    match is_too_large(head, forward.body_limit) {
        true => Plan::Answer(local_response::too_large()),
        false => Plan::Forward(Exchange::new(cx, io, head, forward, facts)),
    }
}

fn api_plan(
    cx: &mut Context,
    io: &ClientIo,
    head: &RequestHead<'_, '_>,
    forward: ApiForward,
    facts: Facts,
) -> Plan {
    match is_too_large(head, forward.body_limit) {
        true => Plan::Answer(forward.too_large.unwrap_or(local_response::too_large)()),
        false => Plan::Api(Box::new(ApiExchange::new(cx, io, head, forward, facts))),
    }
}

fn is_too_large(head: &RequestHead<'_, '_>, limit: u64) -> bool {
    matches!(head.body, BodyLength::Length(length) if length > limit)
}
