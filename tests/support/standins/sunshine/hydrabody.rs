//! hydrabody's HTTP API: launch and stop. Errors as the sibling services word them.

use std::net::TcpStream;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::record::Event;
use super::serve::GARBAGE;
use super::shared::Shared;
use crate::http::{Reply, Request};

#[derive(Deserialize)]
struct Launch {
    name: String,
    exe_path: String,
}

/// Answers one request.
pub fn answer(shared: &Arc<Shared>, request: &Request, _: &TcpStream) -> Option<Reply> {
    let faults = shared.state().faults.clone();
    shared.dawdle(faults.slow_hydrabody_ms);
    if faults.garbage_hydrabody {
        return Some(Reply::text(200, GARBAGE));
    }
    if let Some(status) = faults.hydrabody_status {
        return Some(error(status, "told to fail"));
    }
    Some(match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/v1/launch") => launch(shared, request),
        ("POST", "/api/v1/stop") => {
            shared.state().record.note(Event::Stopped);
            Reply::json(&json!({"status": "ok"}))
        }
        ("GET", "/health" | "/api/v1/health") => Reply::json(&json!({
            "service": "hydrabody", "version": "stand-in", "district": "", "uptime_seconds": 1, "status": "ok"
        })),
        _ => error(404, "not found"),
    })
}

fn launch(shared: &Shared, request: &Request) -> Reply {
    match serde_json::from_slice::<Launch>(&request.body) {
        Ok(Launch { name, exe_path }) => {
            shared.state().record.note(Event::Launched { name, exe_path });
            Reply::json(&json!({"status": "ok"}))
        }
        Err(cause) => {
            let why = cause.to_string();
            shared.state().record.note(Event::Refused { path: request.path.clone(), status: 400, why });
            error(400, "malformed request")
        }
    }
}

fn error(status: u16, text: &str) -> Reply {
    let mut reply = Reply::json(&json!({"error": text, "code": status}));
    reply.status = status;
    reply
}
