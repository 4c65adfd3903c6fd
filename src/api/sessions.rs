//! What both roles say of sessions in the same words.

use serde_json::json;

use crate::api::reply::Answer;
use crate::core::ids::SessionId;

/// What to open in a browser, below the outside URL `base`.
pub fn stream_url(base: &str, id: &SessionId) -> String {
    format!("{base}/session/{}/", id.expose())
}

/// 404 for an id nobody knows.
pub fn unknown() -> Answer {
    Answer::error(404, "no such session", "it ended, or never existed")
}

/// 409 for a body that has a session.
pub fn body_taken(holder: &SessionId) -> Answer {
    let detail = "this body already has a session; delete that one first, or send \"replace\": true";
    Answer::error_with(409, "body already has a session", detail, json!({"session_id": holder}))
}
