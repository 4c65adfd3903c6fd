//! What a session's page sends for the record: `POST rating`, `POST _neck/facts`. Both while the session lives and within its
//! ended window; who may is decided by the same rules as for `quit`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::api::auth;
use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::api::sessions;
use crate::core::records::rating::Rating;
use crate::core::records::record::Facts;
use crate::host::clock;
use crate::worker::registry::SessionHandle;
use crate::worker::service::WorkerService;
use crate::worker::session_store::RateError;

/// What a page is told to wait when a rating cannot be kept.
const NOT_KEPT_PAUSE: Duration = Duration::from_secs(10);

/// `POST /session/{id}/rating`
pub fn rate(service: &WorkerService, call: &Call) -> Answer {
    let handle = match admit(service, call) {
        Ok(handle) => handle,
        Err(refusal) => return refusal,
    };
    let rating = match Rating::parse(&call.body) {
        Ok(rating) => rating,
        Err(error) => return Answer::error(400, "bad request", error.to_string()),
    };
    let stars = rating.stars;
    match service.store.rate(&handle, rating) {
        Ok(given) => {
            let left = given.left(clock::unix_millis()).as_secs();
            Answer::json(200, &json!({"stars": stars, "changeable_seconds": left}))
        }
        Err(RateError::TooLate) => {
            Answer::error(409, "already rated", "a rating can be changed for a minute")
        }
        Err(error @ RateError::NotKept(_)) => {
            log::error!("[rating] session {}: ALERT not kept: {error}", handle.id);
            Answer::error(503, "rating cannot be kept", "try again later").retry_after(NOT_KEPT_PAUSE)
        }
    }
}

/// `POST /session/{id}/_neck/facts`
pub fn facts(service: &WorkerService, call: &Call) -> Answer {
    let handle = match admit(service, call) {
        Ok(handle) => handle,
        Err(refusal) => return refusal,
    };
    match Facts::parse(&call.body) {
        Ok(mut facts) => {
            if let Some(beat) = facts.beat.take() {
                handle.heard(beat, service.clock.now());
            }
            service.store.facts(&handle, facts);
            Answer::empty()
        }
        Err(error) => Answer::error(400, "bad request", error.to_string()),
    }
}

/// The session, if the call may speak for it.
fn admit(service: &WorkerService, call: &Call) -> Result<Arc<SessionHandle>, Answer> {
    let handle = service.handle(call).ok_or_else(sessions::unknown)?;
    service.admit_browser(call, &handle, auth::JSON)?;
    Ok(handle)
}
