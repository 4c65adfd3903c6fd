//! What the worker's API answers about sessions.

use std::time::Duration;

use serde_json::json;

use crate::api::reply::Answer;
use crate::api::sessions;
use crate::api::types::{Created, FailureView, SessionView};
use crate::config::settings::Settings;
use crate::core::ids::WorkerId;
use crate::core::session::Failure;
use crate::core::time::Moment;
use crate::worker::board::Card;

/// The id under which this worker is known; settled at start.
pub fn worker_id(settings: &Settings) -> WorkerId {
    settings.server.worker_id.clone().unwrap_or_else(WorkerId::unnamed)
}

/// The answer to a create that was waited for.
pub fn create_result(card: &Card, settings: &Settings, failure: Option<&Failure>) -> Answer {
    match failure {
        Some(failure) => Answer::error_with(
            failure.kind.status(),
            failure.kind.error(),
            failure.detail.clone(),
            json!({"session_id": card.id}),
        ),
        None => Answer::json(201, &created(card, settings, None)),
    }
}

/// The body of a create's answer.
pub fn created(card: &Card, settings: &Settings, status: Option<String>) -> Created {
    Created {
        session_id: card.id.clone(),
        stream_url: sessions::stream_url(&card.base_url, &card.id),
        worker_id: worker_id(settings),
        status,
    }
}

/// One session for operators.
pub fn view(card: &Card, settings: &Settings, now: Moment, base_url: &str) -> SessionView {
    let view = card.view();
    SessionView {
        id: card.id.clone(),
        worker_id: worker_id(settings),
        body_ip: card.request.body,
        status: view.status.name().into(),
        reason: view.status.reason(),
        stream_url: sessions::stream_url(base_url, &card.id),
        experience: card.request.experience.clone(),
        district: card.request.district.clone(),
        age_seconds: now.since(card.created).as_secs(),
        connections: card.tunnels(),
        restarts: Some(view.restarts),
        failure: view.failure.as_ref().map(FailureView::from),
        warnings: view.warnings,
    }
}

/// 503 with a time to come back.
pub fn unavailable(error: &str, detail: &str, pause: Duration) -> Answer {
    Answer::error(503, error, detail).retry_after(pause)
}
