//! The handle to answer with: any thread may hold it and answer later.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{HTTPVersion, Header, Response, StatusCode};

pub use crate::api::answer::Answer;
use crate::api::counters::ApiCounters;
use crate::api::{media_form, rooms_form};
use crate::edge::api_pool::LateReply;
use crate::edge::reply::Reply;
use crate::edge::router::SERVER;

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
