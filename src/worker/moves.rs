//! The worker's side of a move: a session is let go, with all that its next worker needs, or one of another worker is taken.
//!
//! ```text
//!  DELETE, Neck-End-Reason: moved ─▶ its process ends, the body is left as it is ─▶ 200 with the parcel
//!  PUT /api/v1/sessions/{id}/request with a parcel ─▶ a session under that id that goes on with what runs on the body
//!  GET /api/v1/sessions/{id}/request ─▶ the parcel of a session that is there, for a controller that did not create it
//! ```
//! What was let go is remembered until a controller says what became of it, in the answer to a heartbeat: it goes on elsewhere,
//! and everything of it here is forgotten; or nobody took it, and it ends here with its record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::api::reply::{Answer, Responder};
use crate::api::server::Call;
use crate::api::sessions;
use crate::api::types::CreateRequest;
use crate::core::bad_json;
use crate::core::fleet::parcel::{Carried, Parcel};
use crate::core::fleet::turns::Fault;
use crate::core::ids::{SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;
use crate::host::clock::Clock;
use crate::worker::answers;
use crate::worker::order::Order;
use crate::worker::registry::{Arrival, SessionHandle};
use crate::worker::service::{Wish, WorkerService, caller, refusal};

/// When a page asks again for a session that moves.
const MOVING_PAUSE: Duration = Duration::from_secs(1);

/// What a page is told of a session that is on its way to another worker.
pub fn moving() -> Answer {
    let detail = "it goes on at another worker; ask again";
    Answer::error_with(503, "session is moving", detail, json!({"status": "moving"}))
        .retry_after(MOVING_PAUSE)
}

impl WorkerService {
    /// Ends a session here that is to go on elsewhere. Answers with its parcel when nothing of it is left; once more, if that
    /// answer was lost.
    pub(super) fn let_go(&self, call: &Call, handle: &Arc<SessionHandle>, responder: Responder) {
        let caller = match caller(call) {
            Ok(caller) => caller,
            Err(refusal) => return responder.send(refusal),
        };
        if let Err(unheeded) = self.health.fence.guard(&caller, || ()) {
            return responder.send(unheeded.answer());
        }
        let is_ready = handle.read(|view| SessionStatus::from(view.status).is_ready());
        let may_leave = is_ready && handle.is_movable();
        if !(handle.has_moved() || may_leave) {
            let detail = "it is not ready, or its creator wants it to stay";
            return responder.send(self.stamps.mark(Answer::error(409, "session does not move", detail)));
        }
        let (stamps, told, clock) = (self.stamps.clone(), handle.clone(), self.clock);
        let from = answers::worker_id(&self.live.get());
        let when_over = Box::new(move || {
            // It may have come to its end by itself first.
            let answer = match told.has_moved() {
                true => Answer::json(200, &parcel(&told, clock, from)),
                false => sessions::unknown(),
            };
            responder.send(stamps.mark(answer));
        });
        let _ = self.sessions.send(Order::End(handle.id.clone(), EndReason::Moved, when_over));
    }

    /// Goes on with a session of another worker.
    pub(super) fn take(&self, call: &Call, responder: Responder) {
        let bad = |why: String| refusal(400, "bad request", why, Fault::Request);
        let Ok(id) = call.id.parse::<SessionId>() else {
            return responder.send(bad("what stands for the id is none".to_owned()));
        };
        let parcel: Parcel = match bad_json::object(&call.body) {
            Ok(parcel) => parcel,
            Err(error) => return responder.send(bad(bad_json::in_words(&error))),
        };
        if parcel.copy == 0 {
            return responder.send(bad("copy: is 0 where a session was created".to_owned()));
        }
        let request = CreateRequest::parse(parcel.request.to_string().as_bytes());
        // It is waited for, and takes nobody's body.
        let request = match request {
            Ok(request) => CreateRequest { wait: true, replace: false, ..request },
            Err(error) => return responder.send(bad(format!("request: {error}"))),
        };
        let Parcel { base_url, view_id, from, copy, carried, .. } = parcel;
        let arrival = Some(Box::new(Arrival { copy, from, carried }));
        self.start(call, responder, Wish { id, request, base_url, view_id, arrival });
    }

    /// The parcel of a session that is here, or was let go.
    pub(super) fn request_of(&self, call: &Call) -> Answer {
        let found = self.handle(call).filter(|handle| handle.is_live() || handle.has_moved());
        match found {
            None => sessions::unknown(),
            // Of one that an earlier run left it is not known whole.
            Some(handle) if !handle.is_movable() => Answer::error(
                409,
                "session does not move",
                "its creator, or a restart of this worker, keeps it here",
            ),
            Some(handle) => {
                Answer::json(200, &parcel(&handle, self.clock, answers::worker_id(&self.live.get())))
            }
        }
    }
}

/// What goes with the session to its next worker.
fn carried(handle: &SessionHandle, now: Moment) -> Carried {
    let told = handle.story.told();
    Carried {
        lived_ms: handle.age(now),
        moves: handle.copy(),
        connects: handle.story.connects.load(Ordering::Relaxed),
        restarts: told.restarts + handle.read(|view| view.restarts),
        mic_ms: u64::try_from(handle.mic.time().as_millis()).unwrap_or(u64::MAX),
        facts: told.facts.clone(),
        given: told.given.clone(),
        timeline: Some(handle.timeline()),
    }
}

fn parcel(handle: &SessionHandle, clock: Clock, from: WorkerId) -> Parcel {
    Parcel {
        request: handle.request.to_json(),
        base_url: handle.base_url.clone(),
        view_id: handle.view_link.as_ref().map(|view| view.id.clone()),
        from,
        copy: handle.copy().saturating_add(1),
        carried: carried(handle, clock.now()),
    }
}
