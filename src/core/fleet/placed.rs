//! What a create asks for, where it is placed, and why it is not.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::bodies::Untold;
use crate::core::fleet::routing::NobodyFits;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::time::Moment;

/// What a create asks of the fleet.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// The id it will have, made by the caller from entropy and sent along to the worker.
    pub session_id: SessionId,
    /// Its body.
    pub body: BodyAddr,
    /// Whether a session that holds the body is to be ended first.
    pub replace: bool,
    /// The engine of the session.
    pub engine: String,
    /// Workers that had their turn under an earlier id.
    pub tried: BTreeSet<WorkerId>,
}

/// A slot on a worker, held for one create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The session to be.
    pub session_id: SessionId,
    /// Its body.
    pub body: BodyAddr,
    /// Whose turn it is.
    pub worker: WorkerId,
    /// How that worker is reached, without a slash at the end.
    pub url: String,
    /// When its turn began.
    pub begun: Moment,
}

/// Why a create gets no worker. Every variant leaves nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The controller has just started and does not know yet who holds what: 503.
    Settling {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// The body is held: 409. With `replace` it means that another create for it is under way.
    AlreadyHasSession(SessionId),
    /// An earlier leader had a session of the body at a worker that has told nothing since this controller leads: 409.
    Untold(Untold, Duration),
    /// With `replace`: end this session first, report it with [`Fleet::ended`](super::Fleet::ended), then reserve again.
    MustEnd {
        /// The holder.
        session_id: SessionId,
        /// Its worker.
        worker: WorkerId,
        /// How that worker is reached.
        url: String,
    },
    /// No worker can take it: 503.
    NoWorker {
        /// The detail of the reply.
        why: Box<NobodyFits>,
        /// For `Retry-After`.
        retry_after: Duration,
        /// From when on it is worth trying again: a worker is late, or left alone for a while. `None`: nothing will change by
        /// itself.
        hope: Option<Moment>,
    },
    /// The id is in use: entropy is broken, or `reserve` was called twice.
    IdInUse,
    /// [`Fleet::try_next`](super::Fleet::try_next) only: the reservation is spent or expired: 504.
    Gone,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Settling { .. } => {
                f.write_str("the controller has just started and waits for its workers' heartbeats: retry")
            }
            Refused::AlreadyHasSession(id) => write!(f, "the body already has session {id}"),
            Refused::Untold(Untold { worker, session, .. }, left) => write!(
                f,
                "worker {worker} has, or had, session {session} of this body, as the controller knew that led before, and has told nothing since: \
                 the body is free once it tells, in {} s if it stays silent, or after DELETE /api/v1/workers/{worker}",
                left.as_secs()
            ),
            Refused::MustEnd { session_id, .. } => write!(f, "session {session_id} has to end first"),
            Refused::NoWorker { why, .. } => why.fmt(f),
            Refused::IdInUse => f.write_str("the session id is already in use"),
            Refused::Gone => f.write_str("the create took too long"),
        }
    }
}

impl std::error::Error for Refused {}
