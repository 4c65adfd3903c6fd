//! Rooms on this worker: the thread `rooms` with all signalling connections, and the way for others to it.
//!
//! ```text
//!  edge-N ── upgrade: private unix socket ──▶ rooms ── orders ──▶ media-N
//!  api-N, heartbeat ── Rooms ──▶ mailbox ──▶   │ ◀──── events ──────┘
//!         ◀── published: rooms, counts ────────┘
//! ```

pub mod media;
mod media_threads;
mod reply;
pub mod rest;
pub mod routes;
pub mod shared;
mod socket;
mod thread;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::core::namespaces::state::RoomLimits;
use crate::core::namespaces::wire::RoomBrief;
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::rooms::registry::Refusal;
use crate::daemon::RunError;
use crate::host::clock::Clock;
use crate::host::private_socket::{self, Reach};
use crate::host::pulse::Pulses;
use crate::host::{join, private_dir::PrivateDir};
use crate::server;
use crate::worker::namespaces::access::RoomAccess;
use media::RoomMedia;
pub use shared::RoomCounts;
use shared::{Message, Shared};
use thread::{RoomsThread, Start};

/// The socket's name while it has one.
const SOCKET: &str = "rooms.sock";

/// The thread comes round every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// JSON, and session descriptions.
const STACK: usize = 512 * 1024;

/// What a question to the thread may take: it is busy for milliseconds at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What joining it may take.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);

/// What members have at most to join elsewhere: those that follow the protocol do so at once.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);

/// What members are told when we drain; clients of the documented protocol may compare it.
const DRAIN_REASON: &str = "server shutting down";

/// Drains the rooms of a worker that waits this long for sessions to end.
pub fn drain(rooms: &Rooms, drain_timeout: Duration) {
    rooms.drain(DRAIN_REASON, drain_timeout.min(LONGEST_DRAIN));
}

/// Why a room is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomRefused {
    /// We end soon.
    Draining,
    /// There are as many rooms as a worker may have.
    Full,
    /// The thread did not answer.
    NoAnswer,
}

impl fmt::Display for RoomRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoomRefused::Draining => "this worker ends soon; ask again, another one takes the room",
            RoomRefused::Full => "this worker has as many rooms as it may have",
            RoomRefused::NoAnswer => "signalling does not answer; see the worker's log",
        })
    }
}

impl std::error::Error for RoomRefused {}

/// The way to the thread.
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
    reach: Arc<Reach>,
}

/// The running thread.
pub struct RoomsService {
    rooms: Rooms,
    thread: JoinHandle<()>,
}

impl RoomsService {
    /// Starts it, on a socket in the worker's private directory.
    pub fn start(
        state: &PrivateDir,
        access: RoomAccess,
        media: Box<dyn RoomMedia>,
        (clock, pulses): (Clock, &Pulses),
    ) -> Result<RoomsService, RunError> {
        let path = state.path().join(SOCKET);
        let cannot = |error: std::io::Error| {
            RunError(format!("server.state_dir: cannot serve rooms on {}: {error}", path.display()))
        };
        state.remove(SOCKET).map_err(|error| RunError(format!("server.state_dir: {error}")))?;
        let (listener, reach) = private_socket::bind(&path).map_err(cannot)?;
        let (mail, inbox) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared::new(mail).map_err(cannot)?);
        let rooms = Rooms { shared: shared.clone(), reach: Arc::new(reach) };
        let beat = server::beat(pulses, "rooms", SILENCE);
        let start = Start { listener, shared, mail: inbox, access, media, clock, beat: Box::new(beat) };
        let thread = RoomsThread::new(start).map_err(cannot)?;
        let thread = server::thread("rooms", STACK, move || thread.run())?;
        Ok(RoomsService { rooms, thread })
    }

    /// The way to it.
    pub fn rooms(&self) -> Rooms {
        self.rooms.clone()
    }

    /// Ends it; whoever is connected loses the connection.
    pub fn stop(self) {
        self.rooms.shared.tell(Message::Stop);
        join::within(self.thread, JOIN_DEADLINE);
    }
}

impl Rooms {
    /// Every room, as of a moment ago.
    pub fn list(&self) -> Vec<RoomBrief> {
        self.shared.rooms().to_vec()
    }

    /// Makes a room. `false`: it was there.
    pub fn create(
        &self,
        namespace: NamespaceName,
        room: RoomId,
        limits: RoomLimits,
    ) -> Result<bool, RoomRefused> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.shared.tell(Message::Create { key: (namespace, room), limits, reply });
        match answer.recv_timeout(ANSWER_WITHIN) {
            Ok(Ok(new)) => Ok(new),
            Ok(Err(Refusal::Draining)) => Err(RoomRefused::Draining),
            Ok(Err(Refusal::Full | Refusal::TooFast(_))) => Err(RoomRefused::Full),
            Err(_) => Err(RoomRefused::NoAnswer),
        }
    }

    /// Ends a room; its members are told. Whether it was there.
    pub fn close(&self, namespace: &NamespaceName, room: &RoomId) -> bool {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.shared.tell(Message::Close { key: (namespace.clone(), room.clone()), reply });
        answer.recv_timeout(ANSWER_WITHIN).unwrap_or(false)
    }

    /// Tells every member to join elsewhere, takes nobody any more, and ends what is left after `timeout`.
    pub fn drain(&self, reason: &str, timeout: Duration) {
        self.shared.tell(Message::Drain { reason: reason.to_owned(), timeout });
    }

    /// Takes people again.
    pub fn resume(&self) {
        self.shared.tell(Message::Resume);
    }

    /// Where the edge connects to. Good as long as this lives.
    pub fn socket_path(&self) -> &Path {
        (*self.reach).as_ref()
    }

    /// How much is here, as of a moment ago.
    pub fn counts(&self) -> RoomCounts {
        self.shared.counts()
    }
}
