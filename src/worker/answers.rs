//! What the worker's API answers about sessions.

use std::time::Duration;

use serde_json::json;

use crate::api::reply::Answer;
use crate::api::sessions;
use crate::api::types::{Created, FailureView, ProcessesView, SessionView};
use crate::config::settings::Settings;
use crate::core::fleet::wire::FAULT_FIELD;
use crate::core::ids::WorkerId;
use crate::core::session::Failure;
use crate::core::time::Moment;
use crate::host::process;
use crate::worker::registry::{SessionHandle, SessionState, UPGRADE_LOST};
use crate::worker::source_trouble::words_of;
use crate::worker::streamers;

/// The id under which this worker is known; settled at start.
pub fn worker_id(settings: &Settings) -> WorkerId {
    settings.server.worker_id.clone().unwrap_or_else(WorkerId::unnamed)
}

/// The answer to a create that was waited for.
pub fn create_result(handle: &SessionHandle, settings: &Settings, failure: Option<&Failure>) -> Answer {
    match failure {
        Some(failure) => {
            let (status, error) = (failure.kind.status(), failure.kind.error());
            let more = json!({"session_id": handle.id, "timings": handle.read(|view| view.timings)});
            let answer = Answer::error_with(status, error, failure.detail.clone(), more);
            answer.with(FAULT_FIELD, failure.fault().to_string())
        }
        None => {
            let timings = Some(handle.read(|view| view.timings));
            Answer::json(201, &Created { timings, ..created(handle, settings, None) })
        }
    }
}

/// The body of a create's answer.
pub fn created(handle: &SessionHandle, settings: &Settings, status: Option<String>) -> Created {
    Created {
        session_id: handle.id.clone(),
        stream_url: sessions::link_url(&handle.base_url, &handle.id),
        view_url: view_url(handle, &handle.base_url),
        worker_id: worker_id(settings),
        status,
        timings: None,
    }
}

fn view_url(handle: &SessionHandle, base_url: &str) -> Option<String> {
    handle.view_link.as_ref().map(|view| sessions::link_url(base_url, &view.id))
}

/// One session for operators.
pub fn view(handle: &SessionHandle, settings: &Settings, now: Moment, base_url: &str) -> SessionView {
    let mut view = handle.view();
    if handle.is_upgrade_lost() {
        view.warnings.push(UPGRADE_LOST.to_owned());
    }
    view.warnings.extend(view.troubles.iter().map(words_of));
    SessionView {
        id: handle.id.clone(),
        worker_id: worker_id(settings),
        body_ip: handle.request.body,
        status: view.status.name().into(),
        reason: view.status.reason(),
        stream_url: sessions::link_url(base_url, &handle.id),
        view_url: view_url(handle, base_url),
        experience: handle.request.experience.clone(),
        district: handle.request.district.clone(),
        engine: Some(handle.request.engine.clone()),
        source: view.source.as_deref().cloned(),
        stream: None,
        log: None,
        age_seconds: now.since(handle.created).as_secs() + handle.lived_before_ms() / 1000,
        connections: handle.connected(now),
        restarts: Some(view.restarts),
        moves: handle.copy(),
        timings: None,
        timeline: None,
        processes: processes(&view),
        failure: view.failure.as_ref().map(FailureView::from),
        warnings: view.warnings,
    }
}

/// What runs for a session, as the kernel says.
pub fn processes(view: &SessionState) -> Option<ProcessesView> {
    let (pid, start) = view.process?;
    process::is_alive(pid, start).then(|| streamers::processes(pid))
}

/// One session for operators, with what there is of its process's log.
pub fn detailed_view(
    handle: &SessionHandle,
    settings: &Settings,
    now: Moment,
    base_url: &str,
) -> SessionView {
    let log = handle.read(|view| view.log.clone());
    // A process's own words: the whole id, were it part of them, is cut to what may be shown.
    let masked = |line: String| line.replace(handle.id.expose(), handle.id.short());
    let log = log.map(|ends| ends.lines().into_iter().map(masked).collect());
    let timings = Some(handle.read(|view| view.timings)).filter(|timings| timings.total_ms > 0);
    let timeline = Some(handle.timeline());
    SessionView { log, timings, timeline, ..view(handle, settings, now, base_url) }
}

/// 503 with a time to come back.
pub fn unavailable(error: &str, detail: &str, pause: Duration) -> Answer {
    Answer::error(503, error, detail).retry_after(pause)
}
