//! After 101: bytes both ways between a client and an upstream.
//!
//! Of a WebSocket the frames' heads are followed, so that a browser hears something (a Pong, RFC 6455 5.5.3) before a proxy in between
//! takes the silence for death. Between a page and its session's process the text messages are judged, too. Anything else is not
//! looked at.
//!
//! ```text
//!  Open ── one side sends FIN ─► Half (no longer counted; FIN passed on once its bytes are; tunnel_fin_timeout runs)
//!   │                              │
//!   └─ RST from either side ─┐     ├─ the other side sends FIN ─► gone
//!                            ▼     └─ time is up ──────────────► gone
//!                    gone, RST to both
//!
//!  Open ── a message that may not pass ─► Close frame to the client, both sides ended
//! ```

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::client_io::{ClientIo, End, Replied, Step};
use super::context::Context;
use super::outbox::Outbox;
use super::router::{Screening, TunnelWatch};
use super::socket::{Got, Socket};
use super::upstreams::UpSocket;
use crate::core::time::Moment;
use crate::edge::signalling::From;
use crate::edge::websocket::{Follower, PONG, Passage, Screen, Sender, Violation, close_frame};
use crate::metrics::counter::Present;

/// Tells the watch that a tunnel opened, and exactly once that it closed, whatever ends it.
pub struct OpenTunnel(Arc<dyn TunnelWatch>);

impl OpenTunnel {
    fn new(watch: Arc<dyn TunnelWatch>) -> OpenTunnel {
        watch.opened();
        OpenTunnel(watch)
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// An upgraded connection.
pub struct Tunnel {
    /// The upstream's side.
    pub up: UpSocket,
    /// When one direction ended.
    pub half_since: Option<Moment>,
    to_up: Outbox,
    from_client: Direction,
    from_up: Direction,
    /// Until either end says that it sends no more: what is left is no stream.
    open: Option<OpenTunnel>,
    frames: Frames,
    /// What the upstream sent right behind its head.
    early: Vec<u8>,
    _present: Present,
}

/// What is known of the frames that pass.
pub struct Frames {
    kind: Kind,
    /// When the client was last sent something.
    sent: Moment,
}

enum Kind {
    /// Bytes.
    Raw,
    /// Towards the client, heads only.
    Followed(Follower),
    /// Both ways, with the text messages.
    Screened(Box<Screened>),
}

struct Screened {
    rules: Arc<dyn Screening>,
    page: Screen,
    process: Screen,
    violation: Option<Violation>,
}

impl Frames {
    /// Of a tunnel that opens now.
    pub fn new(websocket: bool, screen: Option<Arc<dyn Screening>>, now: Moment) -> Frames {
        let kind = match (screen, websocket) {
            (Some(rules), _) => Kind::Screened(Box::new(Screened {
                rules,
                page: Screen::new(Sender::Client),
                process: Screen::new(Sender::Server),
                violation: None,
            })),
            (None, true) => Kind::Followed(Follower::default()),
            (None, false) => Kind::Raw,
        };
        Frames { kind, sent: now }
    }

    fn violation(&self) -> Option<Violation> {
        match &self.kind {
            Kind::Screened(screened) => screened.violation,
            Kind::Raw | Kind::Followed(_) => None,
        }
    }

    /// Whether a frame of ours may be sent to the client now. Bytes that wait count as sent.
    fn client_is_between(&self) -> bool {
        match &self.kind {
            Kind::Raw => false,
            Kind::Followed(follower) => follower.is_between_frames(),
            Kind::Screened(screened) => screened.process.is_between_frames(),
        }
    }

    /// Sends what passes of these bytes. Media passes uncopied.
    fn send(
        &mut self,
        cx: &mut Context,
        from: From,
        (out, to): (&mut Outbox, &mut Socket),
        data: &[u8],
    ) -> Result<(), Errno> {
        if from == From::Process {
            self.sent = cx.now;
        }
        let screened = match &mut self.kind {
            Kind::Screened(screened) => screened,
            kind => {
                if let (Kind::Followed(follower), From::Process) = (kind, from) {
                    follower.pass(data);
                }
                return out.send(to, data, &[]).map(drop);
            }
        };
        let mut after = std::mem::take(&mut cx.injected);
        after.clear();
        let mut passage = Passage { before: &mut out.buf, as_it_is: 0..0, after: &mut after };
        screened.judge(from, data, &mut passage);
        let as_it_is = passage.as_it_is.clone();
        let sent = out.send(to, data.get(as_it_is).unwrap_or_default(), &after);
        cx.injected = after;
        sent.map(drop)
    }
}

impl Screened {
    fn judge(&mut self, from: From, data: &[u8], passage: &mut Passage<'_>) {
        let rules = &*self.rules;
        let screen = if from == From::Page { &mut self.page } else { &mut self.process };
        if let Err(violation) = screen.feed(data, passage, &mut |text| rules.message(text, from)) {
            rules.refused(&violation);
            self.violation = Some(violation);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Direction {
    ended: bool,
    passed_on: bool,
}

impl Tunnel {
    /// Joins the two sides.
    pub fn open(io: &mut ClientIo, up: UpSocket, watch: Arc<dyn TunnelWatch>, frames: Frames) -> Tunnel {
        io.socket.watch_for_dead_peer();
        up.socket.watch_for_dead_peer();
        let to_up = Outbox::default();
        Tunnel {
            up,
            half_since: None,
            to_up,
            from_client: Direction::default(),
            from_up: Direction::default(),
            open: Some(OpenTunnel::new(watch)),
            frames,
            early: Vec::new(),
            _present: io.ticket.counters().tunnels.enter(),
        }
    }

    /// The same, with what the upstream sent right behind its head.
    pub fn after(self, early: Vec<u8>) -> Tunnel {
        Tunnel { early, ..self }
    }

    /// When the client hears something at the latest; `None`: nothing of ours may be said, or nobody listens.
    pub fn pong_due(&self, silence: Duration) -> Option<Moment> {
        let listens =
            !self.from_up.ended && !self.from_client.ended && !matches!(self.frames.kind, Kind::Raw);
        listens.then(|| self.frames.sent + silence)
    }

    /// The time for its other half is up.
    pub fn is_over(&self, cx: &Context) -> bool {
        self.half_since.is_some_and(|since| cx.now.reached(since + cx.settings.tunnel_fin_timeout))
    }

    /// Breaks the silence. Within a frame, or while bytes wait, there is another chance later.
    pub fn pong(&mut self, io: &mut ClientIo, now: Moment) {
        if io.out.is_empty() && self.frames.client_is_between() {
            io.out.buf.extend_from_slice(&PONG);
        }
        self.frames.sent = now;
    }

    /// Closes the upstream's side.
    pub fn dispose(mut self, cx: &mut Context) {
        cx.recycle(self.to_up.take());
        cx.upstreams.discard(self.up);
    }
}

/// Moves what can be moved.
pub fn step(cx: &mut Context, io: &mut ClientIo, tunnel: &mut Tunnel) -> Result<Step<Replied>, End> {
    let Tunnel { up, to_up, from_client, from_up, frames, early, .. } = tunnel;
    for (from, early, to) in [
        (From::Page, std::mem::take(&mut io.input), (&mut *to_up, &mut up.socket)),
        (From::Process, std::mem::take(early), (&mut io.out, &mut io.socket)),
    ] {
        if !early.is_empty() {
            frames.send(cx, from, to, &early).map_err(|_| End::Abort)?;
            cx.recycle(early);
        }
    }
    pump(cx, (From::Page, from_client), &mut io.socket, (to_up, &mut up.socket), frames)?;
    if frames.violation().is_none() {
        pump(cx, (From::Process, from_up), &mut up.socket, (&mut io.out, &mut io.socket), frames)?;
    }
    if let Some(violation) = frames.violation() {
        if frames.client_is_between() {
            io.out.buf.extend_from_slice(&close_frame(violation.status));
        }
        return Ok(Step::Next(Replied { keep_alive: false }));
    }
    let (client, up) = (tunnel.from_client, tunnel.from_up);
    if client.passed_on && up.passed_on {
        return Err(End::Gone);
    }
    if client.ended || up.ended {
        tunnel.half_since.get_or_insert(cx.now);
        tunnel.open = None;
    }
    Ok(Step::Wait)
}

fn pump(
    cx: &mut Context,
    (speaker, direction): (From, &mut Direction),
    from: &mut Socket,
    (out, to): (&mut Outbox, &mut Socket),
    frames: &mut Frames,
) -> Result<(), End> {
    loop {
        out.flush(to).map_err(|_| End::Abort)?;
        if !out.is_empty() || frames.violation().is_some() {
            return Ok(());
        }
        cx.recycle(out.take());
        if direction.ended {
            if !direction.passed_on {
                direction.passed_on = true;
                to.finish();
            }
            return Ok(());
        }
        if !from.readable || !cx.spend() {
            return Ok(());
        }
        let got = cx.with_scratch(|cx, scratch| {
            let got = from.read(scratch);
            if let Got::Bytes(n) = got {
                let data = scratch.get(..n).unwrap_or_default();
                frames.send(cx, speaker, (out, to), data).map_err(|_| End::Abort)?;
            }
            Ok::<Got, End>(got)
        })?;
        match got {
            Got::Bytes(_) => {}
            Got::End => direction.ended = true,
            Got::Blocked => return Ok(()),
            Got::Failed(_) => return Err(End::Abort),
        }
    }
}
