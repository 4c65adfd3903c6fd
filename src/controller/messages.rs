//! What the controller's threads tell each other: creates, moves and other calls on their way, and how they ended.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::api::reply::{Answer, Responder};
use crate::api::types::CreateRequest;
use crate::config::secret::Secret;
use crate::config::settings::Settings;
use crate::controller::namespaces::NamespaceRegistry;
use crate::core::fleet::Placed;
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::disputes::Cause;
use crate::core::fleet::identity::BeatSource;
use crate::core::fleet::moves::MoveOrder;
use crate::core::fleet::parcel::Parcel;
use crate::core::fleet::turns::{Course, Suspect, TurnEnd};
use crate::core::fleet::wire::{Heartbeat, Stamp};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;
use crate::edge::router::Upstream;

/// A create on its way.
pub struct Create {
    /// The id it will have.
    pub id: SessionId,
    /// What was asked for.
    pub request: CreateRequest,
    /// The outside URL of this controller.
    pub base_url: String,
    /// How often a holder of the body was ended for it.
    pub replacements: u32,
    /// The workers that had their turn, and what that says of them.
    pub course: Course,
    /// When it must be answered: `sessions.create_timeout` after it came.
    pub deadline: Moment,
    /// What a worker said that failed it, for when no other takes it.
    pub answer: Option<Answer>,
    /// What workers said that had no room, in short.
    pub said: Vec<String>,
    /// Waits for the answer.
    pub responder: Responder,
}

/// What the thread is asked.
pub enum Ask {
    /// A worker's heartbeat, who sent it, and where it is reached if it is taken.
    Heartbeat(Box<Heartbeat>, BeatSource, Upstream, Responder),
    /// Somebody at this address was turned away under a worker's id, with these words.
    TurnedAway(WorkerId, Cause, IpAddr, String),
    /// A heartbeat from this address makes no sense, for this reason.
    BadBeat(IpAddr, String),
    /// A new session.
    Create(Box<Create>),
    /// A worker's turn at a create is over, and there is no session.
    TurnOver(Box<Create>, Placed, Box<Turn>),
    /// A session runs that these workers failed to start.
    Suspects(Vec<Suspect>),
    /// A worker has answered a call.
    Answered(WorkerId),
    /// A worker cannot be called, as was tried then; why.
    CallFailed(WorkerId, Moment, String),
    /// The worker has it, in this status, with this link that only watches; does it stand?
    Confirm(Placed, SessionStatus, Stamp, Option<SessionId>, Sender<bool>),
    /// A worker says that a session is over.
    Ended(SessionId, EndReason, Stamp),
    /// End a session by its worker's next heartbeat.
    Condemn(SessionId, EndReason),
    /// Who leads may have changed.
    LeaseChanged,
    /// The workers that are to be drained, as all controllers read it.
    Drains(BTreeSet<WorkerId>),
    /// The table of bodies, as it was when this controller began to lead with this number.
    Bodies(u64, Vec<BodyEntry>),
    /// Drain a worker, or undo it.
    Drain(WorkerId, bool, Responder),
    /// Whether the sessions of a worker move when it drains, where that was said.
    MoveOut(WorkerId, Option<bool>),
    /// How a move goes on.
    Move(MoveNews),
    /// What a session was asked for.
    Parcel(SessionId, Arc<Parcel>),
    /// The page of a session whose worker is not heard of has lost its stream.
    MoveWanted(SessionId),
    /// Forget a worker and its key.
    Forget(WorkerId, Responder),
    /// New settings.
    Reconfigure(Box<Settings>),
    /// No new sessions: we are going down.
    Close,
    /// Return.
    Stop,
}

/// How a worker's turn at a create ended without a session.
#[derive(Debug)]
pub struct Turn {
    /// How.
    pub end: TurnEnd,
    /// Where in the worker's history, for a session that began.
    pub stamp: Option<Stamp>,
    /// Why, for the log and for health.
    pub reason: String,
    /// What the caller is told when no other worker takes it; `None`: there are better words than this worker's.
    pub answer: Option<Answer>,
}

/// A call to a worker.
pub enum Job {
    /// Start a session on the worker that was chosen.
    Create(Box<Create>, Placed),
    /// End the session that holds the body, on this worker, then try the create again.
    Replace(Box<Create>, SessionId, WorkerId),
    /// Have a session go on at another worker.
    Move(Box<MoveJob>),
    /// Ask this worker what a session of it was asked for.
    Parcel(SessionId, WorkerId),
    /// End a session on this worker.
    Delete(SessionId, WorkerId, Responder),
    /// See whether this worker can be called.
    Call(WorkerId),
    /// Look at a session on this worker; the answer to give when it does not tell, and our outside URL.
    Inspect(SessionId, WorkerId, Box<(Answer, String)>, Responder),
    /// Make a room, or close it.
    Room(Box<RoomOrder>),
}

impl Job {
    /// Answers without doing it.
    pub fn refuse(self, answer: Answer) {
        match self {
            Job::Create(create, _) | Job::Replace(create, ..) => create.responder.send(answer),
            Job::Delete(.., responder) | Job::Inspect(.., responder) => responder.send(answer),
            Job::Room(order) => order.responder.send(answer),
            Job::Call(_) | Job::Move(_) | Job::Parcel(..) => {}
        }
    }
}

/// A move to carry out.
pub struct MoveJob {
    /// From where to where.
    pub order: MoveOrder,
    /// What goes along, once it is known.
    pub parcel: Option<Arc<Parcel>>,
    /// Until when the new worker may take.
    pub deadline: Moment,
}

/// How a move went on.
pub enum MoveNews {
    /// The old worker has let it go; whether the new one may begin is answered.
    LetGo(MoveOrder, Stamp, Sender<bool>),
    /// It comes to nothing: the session stays, or is between; why.
    Over(MoveOrder, String),
    /// The new worker has it.
    Arrived(MoveOrder, Arc<Parcel>, Stamp),
    /// The new worker does not have it, or nobody knows; what that says of the worker.
    Failed(Box<MoveJob>, Box<Turn>),
}

/// Something for a room's worker to do.
pub struct RoomOrder {
    pub(super) wish: RoomWish,
    pub(super) ns: NamespaceName,
    pub(super) room: RoomId,
    pub(super) worker: WorkerId,
    /// The caller's: its worker judges it once more.
    pub(super) token: Secret,
    pub(super) registry: NamespaceRegistry,
    /// Waits for the answer.
    pub responder: Responder,
}

/// What a worker is to do with a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomWish {
    /// Make it.
    Make,
    /// Close it.
    Close,
}
