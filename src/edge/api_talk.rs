//! One request and its reply on a connection of its own to the control API.
//!
//! ```text
//!  open ─► request written ─► reply read until the API closes ─► whole
//! ```
//!
//! The whole reply is read, whether or not the client takes it: a slow reader holds neither the connection nor a thread of
//! the API. The permit goes back when the API has closed its side, and with that has given its descriptors back. What takes
//! long is promised then, and comes another way: see [`super::late_reply`].

use std::path::Path;

use rustix::io::Errno;

use super::api_pool::{Charge, Permit};
use super::context::Context;
use super::outbox::Outbox;
use super::slab::Key;
use super::socket::{Got, Socket, connect_unix};
use super::upstreams::UpSocket;

/// Bytes of a reply; more is a fault. A list of a thousand sessions has one MiB.
const MAX_REPLY: usize = 16 << 20;

/// The connection.
pub struct Talk {
    up: UpSocket,
    out: Outbox,
    reply: Vec<u8>,
    _permit: Permit,
    charge: Charge,
}

/// What a connection is opened for.
pub struct Load {
    /// The request as the API gets it.
    pub request: Vec<u8>,
    /// The right to the connection.
    pub permit: Permit,
    /// The body's part of the budget.
    pub charge: Charge,
}

/// Where it stands.
pub enum Heard {
    /// More is to come.
    Part,
    /// This is all.
    All(Vec<u8>),
}

impl Talk {
    /// Connects. What was to be sent comes back with an error.
    pub fn open(cx: &mut Context, client: Key, path: &Path, load: Load) -> Result<Talk, (Errno, Load)> {
        let adopted =
            connect_unix(path).and_then(|fd| cx.upstreams.adopt(&cx.epoll, Socket::new(fd), true, client));
        match adopted {
            Ok(up) => {
                let Load { request, permit, charge } = load;
                let out = Outbox::with(request);
                Ok(Talk { up, out, reply: Vec::new(), _permit: permit, charge })
            }
            Err(error) => Err((error, load)),
        }
    }

    /// The socket, for the loop's events.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.up.socket
    }

    /// Does all that can be done now.
    pub fn step(&mut self, cx: &mut Context) -> Result<Heard, &'static str> {
        if self.out.flush(&mut self.up.socket).is_err() && self.reply.is_empty() {
            // It may have replied before it took everything; reading tells.
            self.up.socket.readable = true;
        }
        while self.up.socket.readable && cx.spend() {
            let (up, reply) = (&mut self.up, &mut self.reply);
            let got = cx.with_scratch(|_, scratch| {
                let got = up.socket.read(scratch);
                if let Got::Bytes(count) = got {
                    reply.extend_from_slice(scratch.get(..count).unwrap_or_default());
                }
                got
            });
            match got {
                Got::Bytes(_) if self.reply.len() > MAX_REPLY => return Err("its reply has no end"),
                Got::Bytes(_) => {}
                Got::Blocked => return Ok(Heard::Part),
                Got::End => return Ok(Heard::All(std::mem::take(&mut self.reply))),
                Got::Failed(_) => return Err("its connection broke"),
            }
        }
        Ok(Heard::Part)
    }

    /// Closes the connection. The body's part of the budget is still its request's.
    pub fn close(self, cx: &mut Context) -> Charge {
        let Talk { up, mut out, charge, .. } = self;
        cx.recycle(out.take());
        cx.upstreams.discard(up);
        charge
    }
}
