//! After 101: bytes both ways between a client and an upstream, without looking at them.
//!
//! ```text
//!  Open ── one side sends FIN ─► Half (no longer counted; FIN passed on once its bytes are; tunnel_fin_timeout runs)
//!   │                              │
//!   └─ RST from either side ─┐     ├─ the other side sends FIN ─► gone
//!                            ▼     └─ time is up ──────────────► gone
//!                    gone, RST to both
//! ```

use std::sync::Arc;

use super::client::{ClientIo, End, Step};
use super::context::Context;
use super::outbox::Outbox;
use super::router::TunnelWatch;
use super::socket::{Got, Socket};
use super::upstreams::UpSocket;
use crate::core::time::Moment;

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
}

#[derive(Clone, Copy, Default)]
struct Direction {
    ended: bool,
    passed_on: bool,
}

impl Tunnel {
    /// Joins the two sides. What the client sent beyond its request goes first.
    pub fn open(io: &mut ClientIo, up: UpSocket, watch: Arc<dyn TunnelWatch>) -> Tunnel {
        io.socket.watch_for_dead_peer();
        up.socket.watch_for_dead_peer();
        let to_up = Outbox::with(std::mem::take(&mut io.input));
        Tunnel {
            up,
            half_since: None,
            to_up,
            from_client: Direction::default(),
            from_up: Direction::default(),
            open: Some(OpenTunnel::new(watch)),
        }
    }

    /// Closes the upstream's side.
    pub fn dispose(mut self, cx: &mut Context) {
        cx.recycle(self.to_up.take());
        cx.upstreams.discard(self.up);
    }
}

/// Moves what can be moved.
pub fn step(cx: &mut Context, io: &mut ClientIo, tunnel: &mut Tunnel) -> Result<Step, End> {
    let up = &mut tunnel.up.socket;
    pump(cx, &mut io.socket, up, &mut tunnel.to_up, &mut tunnel.from_client)?;
    pump(cx, up, &mut io.socket, &mut io.out, &mut tunnel.from_up)?;
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
    from: &mut Socket,
    to: &mut Socket,
    out: &mut Outbox,
    direction: &mut Direction,
) -> Result<(), End> {
    loop {
        out.flush(to).map_err(|_| End::Abort)?;
        if !out.is_empty() {
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
        let got = cx.with_scratch(|_, scratch| {
            let got = from.read(scratch);
            if let Got::Bytes(n) = got {
                out.send(to, scratch.get(..n).unwrap_or_default(), &[]).map_err(|_| End::Abort)?;
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
