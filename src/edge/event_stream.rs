//! A parked reply: an event stream that the edge holds open in its loop, without any upstream. See [`super::event_channel`].
//!
//! ```text
//!  greeting ─► waiting ◄─── said, or 15 s of silence: sent ───┐
//!                 └─ rung, or time ────────────────────────────┤
//!                                                              ├─ the feed is over ─► end of the reply, Head or Closing
//!                                                              └─ client gone, too slow ─► gone
//! ```

use std::time::Duration;

use super::client_io::{ClientIo, End, Replied, Step};
use super::context::Context;
use super::event_channel::{Follow, News, StreamLimit, Subscription};
use super::local_response::write_head_of_stream;
use crate::core::time::Moment;
use crate::edge::http1::body::{LAST_CHUNK, write_chunk_size};
use crate::edge::http1::head::Version;
use crate::metrics::counter::Present;

/// After this much silence a comment is sent, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A comment: readers ignore it (HTML, 9.2.6).
const COMMENT: &str = ":\n\n";

/// An open stream.
pub struct EventStream {
    subscription: Subscription,
    version: Version,
    keep_alive: bool,
    /// When something was last sent.
    spoke: Moment,
    _present: Present,
}

impl EventStream {
    /// Begins the reply, unless a limit is met: then nothing was sent.
    pub fn open(
        cx: &mut Context,
        io: &mut ClientIo,
        follow: Follow,
        version: Version,
        keep_alive: bool,
    ) -> Result<EventStream, StreamLimit> {
        let (subscription, greeting) = follow.subscribe(io.ticket.doorbell(io.key), io.network)?;
        // Without chunks only closing tells where the reply ends.
        let keep_alive = keep_alive && version == Version::Http11;
        if io.out.buf.capacity() == 0 {
            io.out.buf = cx.buffer();
        }
        let hsts = cx.hsts(io.socket.is_tls());
        write_head_of_stream(&mut io.out.buf, version, keep_alive, (cx.date(), hsts.as_deref()));
        cx.counters.replied(io.route, 200);
        let _present = cx.counters.event_streams.enter();
        let mut stream = EventStream { subscription, version, keep_alive, spoke: cx.now, _present };
        stream.write(io, &greeting, cx.now);
        io.socket.watch_for_dead_peer();
        Ok(stream)
    }

    /// When the next comment is due.
    pub fn comment_due(&self) -> Moment {
        self.spoke + KEEP_ALIVE
    }

    /// Says that we are still here.
    pub fn comment(&mut self, io: &mut ClientIo, now: Moment) {
        self.write(io, COMMENT, now);
    }

    /// We are going down: ends the reply, if all of it so far is with the client.
    pub fn part(&mut self, io: &mut ClientIo, now: Moment) {
        if io.out.is_empty() && self.version == Version::Http11 {
            io.out.buf.extend_from_slice(LAST_CHUNK);
        }
        // It is closed in any case.
        let _ = io.flush(now);
    }

    /// Queues text; the client's time to take it begins.
    fn write(&mut self, io: &mut ClientIo, text: &str, now: Moment) {
        if text.is_empty() {
            return;
        }
        self.spoke = now;
        io.sent = now;
        let out = &mut io.out.buf;
        match self.version {
            Version::Http11 => {
                write_chunk_size(out, text.len());
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Version::Http10 => out.extend_from_slice(text.as_bytes()),
        }
    }

    fn end(&self, io: &mut ClientIo) -> Step<Replied> {
        if self.version == Version::Http11 {
            io.out.buf.extend_from_slice(LAST_CHUNK);
        }
        Step::Next(Replied { keep_alive: self.keep_alive })
    }
}

/// Sends what is new, one event at a time: what waits for a slow client is bounded by one event.
pub fn step(cx: &mut Context, io: &mut ClientIo, stream: &mut EventStream) -> Result<Step<Replied>, End> {
    if io.socket.hung_up {
        return Err(End::Gone);
    }
    loop {
        if !io.flush(cx.now)? {
            return Ok(Step::Wait);
        }
        match stream.subscription.take_next() {
            News::Event(event) => stream.write(io, &event, cx.now),
            News::Over => return Ok(stream.end(io)),
            News::Missed => return Err(End::Gone),
            News::None => {
                cx.recycle(io.out.take());
                return Ok(Step::Wait);
            }
        }
    }
}
