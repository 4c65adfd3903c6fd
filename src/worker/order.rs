//! What the thread of all sessions is told.

use crate::api::reply::Responder;
use crate::core::ids::SessionId;
use crate::core::session::reason::EndReason;
use crate::core::time::Moment;
use crate::worker::mailbox::WhenOver;
use crate::worker::registry::Asked;

/// What the thread is told.
pub enum Order {
    /// A session is asked for.
    Create(Box<Asked>, Responder),
    /// End a session; the closure is called when nothing of it is left, or at once when there is no such session.
    End(SessionId, EndReason, WhenOver),
    /// End all sessions.
    EndAll(EndReason),
    /// The controller's wish: no new sessions, and the end of those that are left after `drain.timeout`.
    Drain(bool),
    /// We are going down: no new sessions, for good.
    Close,
    /// A session of ours goes on at another worker, as the controllers know: this copy of it, or an earlier one, is none any more.
    MovedAway(SessionId, u32),
    /// A supervisor is done.
    Finished(SessionId),
    /// A crashed session's directory stays until then.
    KeepLog(String, Moment),
    /// Finish when no session is left.
    Stop,
}
