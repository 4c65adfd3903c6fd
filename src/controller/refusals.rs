//! The controller's refusals in words (SPEC 3).

use std::time::Duration;

use serde_json::json;

use crate::api::reply::Answer;
use crate::api::sessions;
use crate::controller::lease::NotLeading;
use crate::controller::worker_address::AddressRefusal;
use crate::core::fleet::wire::BeatRefusal;
use crate::core::fleet::{NotForgotten, Refused};
use crate::core::ids::WorkerId;

/// The field by which a controller that does not lead says which one does.
pub const LEADER_FIELD: &str = "Neck-Leader";

/// What a caller waits that knows of no leader: about as long as the lease of a dead one lasts, in parts.
const LEADER_PAUSE: Duration = Duration::from_secs(2);

/// What a caller is told to wait when too much is under way, or its session moves.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// A create that gets no worker.
pub fn create(refused: &Refused) -> Answer {
    match refused {
        Refused::AlreadyHasSession(holder) => sessions::body_taken(holder),
        Refused::Untold(_, left) => {
            let title = "body already has a session";
            Answer::error(409, title, refused.to_string()).retry_after(*left)
        }
        // Only without the patience for another replacement.
        Refused::MustEnd { session_id, .. } => {
            let detail = "its session was ended for this one, and another took its place; try again";
            Answer::error_with(409, "body already has a session", detail, json!({"session_id": session_id}))
        }
        Refused::Settling { retry_after } => {
            Answer::error(503, "controller has just started", refused.to_string()).retry_after(*retry_after)
        }
        Refused::NoWorker { why, .. } if why.is_not_allowed() => {
            Answer::error(403, "body not allowed", why.to_string())
        }
        Refused::NoWorker { .. } => no_worker(refused, &[]),
        Refused::IdInUse => Answer::error(500, "session id in use", refused.to_string()),
        Refused::Gone => Answer::error(504, "create timed out", refused.to_string()),
    }
}

/// A create that gets no worker, after some have refused it in these words.
pub fn no_worker(refused: &Refused, said: &[String]) -> Answer {
    let Refused::NoWorker { why, retry_after, hope: _ } = refused else { return create(refused) };
    let said = said.iter().map(|words| format!(". {words}")).collect::<String>();
    Answer::error(503, "no worker available", format!("{why}{said}")).retry_after(*retry_after)
}

/// Something answered in a worker's place.
pub fn no_worker_of_ours(worker: &WorkerId, status: u16) -> Answer {
    let detail = format!(
        "what answers at the address of worker {worker} gives {status} without a reason: check its server.advertise_url, and \
         what stands before it"
    );
    Answer::error(502, "worker failed", detail)
}

/// A heartbeat that breaks a bound.
pub fn heartbeat(refusal: BeatRefusal) -> Answer {
    match refusal {
        BeatRefusal::TooManyWorkers | BeatRefusal::TooManyKeys => {
            Answer::error(503, "too many workers", refusal.to_string())
        }
        BeatRefusal::OtherKey { .. } | BeatRefusal::NoProof { .. } | BeatRefusal::Elsewhere { .. } => {
            Answer::error(409, "worker id in use", refusal.to_string())
        }
        _ => Answer::error(400, "bad heartbeat", refusal.to_string()),
    }
}

/// A signature that does not fit.
pub fn bad_proof() -> Answer {
    let detail = "the signature in Neck-Proof does not fit this heartbeat: does a proxy on the way to the controller change \
                  bodies or fields?";
    Answer::error(403, "proof refused", detail)
}

/// The controller must not call the worker where it says it is.
pub fn worker_address(refusal: &AddressRefusal) -> Answer {
    match refusal {
        AddressRefusal::Unresolved => Answer::error(400, "bad heartbeat", refusal.to_string()),
        AddressRefusal::NotAllowed(..) => {
            Answer::error(403, "worker address not allowed", refusal.to_string())
        }
    }
}

/// A worker that is not in the books.
pub fn no_such_worker() -> Answer {
    Answer::error(404, "no such worker", "GET /api/v1/workers lists them")
}

/// A worker that is not forgotten.
pub fn forget(why: NotForgotten) -> Answer {
    match why {
        NotForgotten::Unknown => no_such_worker(),
        NotForgotten::Lives(source) => {
            let detail = format!(
                "it is heard of, from {source}: stop it first, and call again once it is down; if it is none of yours, change \
                 workers.token first"
            );
            Answer::error(409, "worker is up", detail)
        }
    }
}

/// Too much is under way.
pub fn busy() -> Answer {
    Answer::error(
        503,
        "too many requests under way",
        "every dispatch thread is busy and the queue is full; try again",
    )
    .retry_after(BUSY_PAUSE)
}

/// We are going down.
pub fn closing() -> Answer {
    Answer::error(503, "controller is stopping", "try again in a moment").retry_after(Duration::from_secs(5))
}

/// Another controller leads, or none.
pub fn not_leading(who: &NotLeading) -> Answer {
    let (NotLeading(url), title) = (who, "not the leader");
    let detail = match url {
        Some(url) => format!("{url} leads: send creates, ends and drains there, and what changes namespaces or makes rooms"),
        None => "no controller is known to lead; ask again in a moment, and where that lasts see the health of the controllers".to_owned(),
    };
    let answer = Answer::error_with(503, title, detail, json!({"leader": url})).retry_after(LEADER_PAUSE);
    match url {
        Some(url) => answer.with(LEADER_FIELD, url.clone()),
        None => answer,
    }
}

/// A session that is on its way to another worker is ended there.
pub fn moving() -> Answer {
    let detail = "it goes on at another worker, and is ended as soon as it is there";
    Answer::error_with(503, "session is moving", detail, json!({"status": "moving"})).retry_after(BUSY_PAUSE)
}

/// A drain is to move sessions, and the configuration says that none moves.
pub fn never_moves() -> Answer {
    Answer::error(
        409,
        "sessions do not move",
        "sessions.move is never: set it to drain, or drain with move=false",
    )
}

/// The worker did not answer.
pub fn worker_unreachable(detail: &str) -> Answer {
    Answer::error(502, "worker unreachable", detail)
}
