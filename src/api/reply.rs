//! What the API answers, and the handle to answer with: any thread may hold it and answer later.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

use crate::api::counters::ApiCounters;
use crate::api::media_form;
use crate::api::rooms_form;
use crate::edge::api_pool::LateReply;
use crate::edge::reply::Reply;
use crate::edge::router::SERVER;

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

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        let Answer { status, content_type, mut headers, body, limit } = answer;
        // The edge names a type only where there is a body; the answer to a HEAD has one without.
        if body.is_empty() && status != 204 {
            headers.push(("Content-Type", content_type.to_owned()));
        }
        Reply { status, content_type, headers, body: body.into_bytes().into(), nonce: None, limit }
    }
}

/// Answers one request, once. Dropping it unanswered answers 503, or 500 when a panic drops it, so that no client waits for ever.
pub struct Responder {
    to: Option<To>,
    /// What was asked, for the log.
    asked: String,
    /// Who counts the answer, and whether it is to a create.
    counters: Option<(Arc<ApiCounters>, bool)>,
    since: Instant,
}

impl Responder {
    /// Wraps a request whose body was read.
    pub fn new(request: tiny_http::Request) -> Responder {
        Responder {
            to: Some(To::Connection(Box::new(request))),
            asked: String::new(),
            counters: None,
            since: Instant::now(),
        }
    }

    /// Gives the connection to others until there is an answer, which goes here.
    pub fn later(&mut self, late: Arc<LateReply>) {
        if let Some(To::Connection(request)) = self.to.take() {
            let form = form_of(&request);
            late.promise();
            let _ = request.respond(Response::empty(StatusCode(204)));
            self.to = Some(To::Later(late, form));
        }
    }

    /// Remembers what was asked, in words that a log may show.
    pub fn about(&mut self, asked: String) {
        self.asked = asked;
    }

    /// The answer is counted here; whether it is to a create.
    pub fn count(&mut self, counters: Arc<ApiCounters>, to_create: bool) {
        self.counters = Some((counters, to_create));
    }

    fn tell(&self, answer: &Answer) {
        if let Some((counters, to_create)) = &self.counters {
            counters.answered(*to_create, answer, self.since.elapsed());
        }
        let (asked, status, ms) = (&self.asked, answer.status, self.since.elapsed().as_millis());
        log::debug!(status, ms; "[api] {asked}: {status} in {ms} ms");
    }

    /// Sends the answer. A client that is gone is no error of ours.
    pub fn send(mut self, answer: Answer) {
        if let Some(to) = self.to.take() {
            self.tell(&answer);
            to.send(answer);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let Some(to) = self.to.take() else { return };
        let answer = if std::thread::panicking() {
            let detail = "this request met a bug of ours, which is in the log; nothing else is affected";
            Answer::error(500, "internal error", detail)
        } else {
            let detail = "the request was dropped while the service was stopping; ask again";
            Answer::error(503, "service is stopping", detail).retry_after(Duration::from_secs(1))
        };
        self.tell(&answer);
        to.send(answer);
    }
}

/// The form of answers below a path.
type Form = fn(Answer) -> Answer;

/// Where an answer goes.
enum To {
    /// To a connection of the edge's.
    Connection(Box<tiny_http::Request>),
    /// To where the edge waits without one.
    Later(Arc<LateReply>, Form),
}

impl To {
    fn send(self, answer: Answer) {
        match self {
            To::Connection(request) => {
                let response = response(form_of(&request)(answer));
                let _ = request.respond(response);
            }
            To::Later(late, form) => {
                let mut reply = Vec::new();
                // Writing to a Vec cannot fail.
                let _ = response(form(answer)).raw_print(&mut reply, HTTPVersion(1, 1), &[], false, None);
                late.put(reply);
            }
        }
    }
}

fn form_of(request: &tiny_http::Request) -> Form {
    let path = request.url().split('?').next().unwrap_or_default();
    match (media_form::is_media(path), rooms_form::is_rooms(path)) {
        (true, _) => media_form::of_answer,
        (_, true) => rooms_form::of_answer,
        _ => |answer| answer,
    }
}

fn response(answer: Answer) -> Response<Cursor<Vec<u8>>> {
    let mut response = Response::from_data(answer.body).with_status_code(StatusCode(answer.status));
    // Without content there is nothing to have a type (RFC 9110, 8.3); an answer to HEAD says what GET would.
    let typed = (answer.status != 204).then(|| ("Content-Type", answer.content_type.to_owned()));
    let fields = [
        ("Server", SERVER.to_owned()),
        ("Cache-Control", "no-store".to_owned()),
        // What is data is never shown as a page, whatever stands in it.
        ("X-Content-Type-Options", "nosniff".to_owned()),
    ];
    for (name, value) in typed.into_iter().chain(fields).chain(answer.headers) {
        // A field with control characters is refused by from_bytes' ASCII check or by the edge; leave it out.
        if let Ok(header) = Header::from_bytes(name.as_bytes(), value.as_bytes()) {
            response.add_header(header);
        }
    }
    response
}
