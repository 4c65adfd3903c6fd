//! The request's body on its way to the upstream.

use super::client_io::{ClientIo, End};
use super::context::Context;
use super::exchange::Exchange;
use super::router::Screening;
use super::socket::Got;
use crate::edge::http1::body::{BodyDecoder, BodyError, LAST_CHUNK, write_chunk_size};
use crate::edge::http1::head::BodyLength;
use crate::edge::signalling::From;
use crate::edge::websocket::{MAX_TEXT, Verdict};

/// Read at once of a chunked body; bounds what of later requests is read with it.
const CHUNKED_READ: usize = 32 * 1024;

/// Where the body stands.
pub struct RequestSide {
    framing: BodyLength,
    decoder: BodyDecoder,
    limit: u64,
    received: u64,
    abandoned: bool,
    refused: bool,
    /// What came of a body that is judged as a whole.
    held: Option<Vec<u8>>,
}

impl RequestSide {
    /// For a body of this framing.
    pub fn new(framing: BodyLength, limit: u64, screened: bool) -> RequestSide {
        let held = screened && !matches!(framing, BodyLength::None | BodyLength::Length(0));
        RequestSide {
            // Judging may change its length.
            framing: if held { BodyLength::Chunked } else { framing },
            decoder: BodyDecoder::new(framing),
            limit: if held { limit.min(MAX_TEXT as u64) } else { limit },
            received: 0,
            abandoned: false,
            refused: false,
            held: held.then(Vec::new),
        }
    }

    /// How it is sent on.
    pub fn framing(&self) -> BodyLength {
        self.framing
    }

    /// The client sent all of it, and it was taken. After one that was refused nothing is known of where the next request
    /// begins: what came with its last part is not kept.
    pub fn is_complete(&self) -> bool {
        self.decoder.is_done() && !self.refused
    }

    /// Nothing more of it will be sent on.
    pub fn is_done(&self) -> bool {
        self.is_complete() || self.abandoned
    }

    /// How much to read at once: not beyond a known end, and not far beyond an unknown one.
    fn room<'a>(&self, scratch: &'a mut [u8]) -> &'a mut [u8] {
        let room = match self.decoder {
            BodyDecoder::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => CHUNKED_READ,
        };
        let room = room.min(scratch.len());
        &mut scratch[..room]
    }
}

/// Takes body bytes that came with the head; they leave with it in one write.
pub fn take_input(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<(), End> {
    if ex.request.is_done() || io.input.is_empty() {
        return Ok(());
    }
    let input = std::mem::take(&mut io.input);
    let taken = absorb(cx, ex, &input);
    io.input = input;
    io.consume(taken?);
    Ok(())
}

/// Decodes a part of the body into what is to be sent on. Returns how much was taken.
fn absorb(cx: &mut Context, ex: &mut Exchange, data: &[u8]) -> Result<usize, End> {
    let mut decoded = std::mem::take(&mut cx.decoded);
    let result = encode(ex, data, &mut decoded);
    cx.decoded = decoded;
    result
}

fn encode(ex: &mut Exchange, data: &[u8], decoded: &mut Vec<u8>) -> Result<usize, End> {
    let request = &mut ex.request;
    let (taken, mut payload) = request.decoder.decode(data, decoded).map_err(refuse)?;
    request.received = request.received.saturating_add(payload.len() as u64);
    if request.received > request.limit {
        request.refused = true;
        return Err(End::refuse(413, "the request body is too large"));
    }
    if let Some(held) = &mut request.held {
        held.extend_from_slice(payload);
        if !request.decoder.is_done() {
            return Ok(taken);
        }
        *decoded = judged(ex.forward.screen.as_deref(), held).inspect_err(|_| request.refused = true)?;
        payload = decoded;
    }
    let out = &mut ex.to_up.buf;
    if request.framing == BodyLength::Chunked {
        if !payload.is_empty() {
            write_chunk_size(out, payload.len());
            out.extend_from_slice(payload);
            out.extend_from_slice(b"\r\n");
        }
        if request.decoder.is_done() {
            out.extend_from_slice(LAST_CHUNK);
        }
    } else {
        out.extend_from_slice(payload);
    }
    Ok(taken)
}

/// What passes of a body.
fn judged(screen: Option<&dyn Screening>, body: &[u8]) -> Result<Vec<u8>, End> {
    let text = std::str::from_utf8(body).map_err(|_| End::refuse(400, "the request body is not UTF-8"))?;
    let Some(screen) = screen else { return Ok(body.to_vec()) };
    match screen.body(text, From::Page) {
        Verdict::Passes => Ok(body.to_vec()),
        Verdict::Becomes(text) => Ok(text.into_bytes()),
        Verdict::Dropped => Ok(Vec::new()),
        Verdict::Refused(what) => {
            screen.refused(&what);
            Err(End::refuse(403, what))
        }
    }
}

fn refuse(error: BodyError) -> End {
    match error {
        BodyError::Chunk => End::refuse(400, "the chunked body is malformed"),
        BodyError::Truncated => End::Gone,
    }
}

/// Reads the next part of the body. `false`: nothing there now.
fn read(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<bool, End> {
    if !io.input.is_empty() {
        take_input(cx, io, ex)?;
        return Ok(true);
    }
    if !io.socket.readable || !cx.spend() {
        return Ok(false);
    }
    cx.with_scratch(|cx, scratch| match io.socket.read(ex.request.room(scratch)) {
        Got::Bytes(n) => {
            let data = scratch.get(..n).unwrap_or_default();
            let taken = absorb(cx, ex, data)?;
            // The beginning of the next request.
            io.input.extend_from_slice(data.get(taken..).unwrap_or_default());
            io.moved = cx.now;
            Ok(true)
        }
        Got::Blocked => Ok(false),
        Got::End | Got::Failed(_) => Err(End::Gone),
    })
}

/// Sends on what can be sent. While the upstream takes nothing, nothing is read from the client.
pub fn pump(cx: &mut Context, io: &mut ClientIo, ex: &mut Exchange) -> Result<(), End> {
    loop {
        let Some(up) = &mut ex.up else { return Ok(()) };
        if !ex.to_up.is_empty() {
            match ex.to_up.flush(&mut up.socket) {
                Ok(0) => {}
                Ok(_) => io.moved = cx.now,
                Err(_) => {
                    // The upstream takes no more; perhaps it has replied why. Reading tells.
                    ex.request.abandoned = true;
                    up.socket.readable = true;
                    if !ex.can_retry() {
                        cx.recycle(ex.to_up.take());
                    }
                    return Ok(());
                }
            }
        }
        if !ex.to_up.is_empty() || ex.request.is_done() || !read(cx, io, ex)? {
            return Ok(());
        }
    }
}
