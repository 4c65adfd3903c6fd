//! What the API answers.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further fields.
    pub headers: Vec<(&'static str, String)>,
    /// Body; empty for 204.
    pub body: String,
    /// The name of the limit that was met, for those who count.
    pub limit: Option<&'static str>,
}

impl Answer {
    /// A JSON document.
    pub fn json(status: u16, body: &impl Serialize) -> Answer {
        let body = serde_json::to_string(body)
            .unwrap_or_else(|error| json!({"error": error.to_string()}).to_string());
        Answer { status, content_type: "application/json", headers: Vec::new(), body, limit: None }
    }

    /// The error document of SPEC 3.
    pub fn error(status: u16, error: &str, detail: impl Into<String>) -> Answer {
        Answer::json(status, &json!({"error": error, "code": status, "detail": detail.into()}))
    }

    /// The error document with further members.
    pub fn error_with(status: u16, error: &str, detail: impl Into<String>, more: Value) -> Answer {
        let mut body = json!({"error": error, "code": status, "detail": detail.into()});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        Answer::json(status, &body)
    }

    /// The error document of whoever met a limit, which is named for people and, stably, for programs.
    pub fn over_limit(status: u16, error: &str, detail: impl Into<String>, limit: &'static str) -> Answer {
        let answer = Answer::error_with(status, error, detail, json!({"limit": limit}));
        Answer { limit: Some(limit), ..answer }
    }

    /// Nothing to say (204).
    pub fn empty() -> Answer {
        Answer::text(204, "application/json", String::new())
    }

    /// Text of a given type.
    pub fn text(status: u16, content_type: &'static str, body: String) -> Answer {
        Answer { status, content_type, headers: Vec::new(), body, limit: None }
    }

    /// A script.
    pub fn script(body: String) -> Answer {
        Answer::text(200, "text/javascript; charset=utf-8", body)
    }

    /// The head of an event stream that has nothing to say.
    pub fn event_stream() -> Answer {
        Answer::text(200, "text/event-stream", String::new())
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds `Retry-After` in whole seconds, rounded up, at least one.
    pub fn retry_after(self, pause: Duration) -> Answer {
        let seconds = pause.as_millis().div_ceil(1000).max(1);
        self.with("Retry-After", seconds.to_string())
    }
}
