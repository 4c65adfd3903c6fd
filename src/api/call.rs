//! A call of the API, and who answers it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::counters::ApiCounters;
use crate::api::reply::{Answer, Responder};
use crate::api::rooms_form;
use crate::api::routes::{Operation, Route, Segments};
use crate::config::settings::Role;
use crate::core::api_fields;
use crate::core::namespaces::access::Denied;

/// A request, already authenticated where its route says so.
#[derive(Debug)]
pub struct Call {
    /// What it asks for.
    pub operation: Operation,
    /// What stood for `{id}`; empty when the route has none.
    pub id: String,
    /// What stood for `{peer}`; empty when the route has none.
    pub peer: String,
    /// The query without `?`.
    pub query: String,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether a valid admin token came along, also where none is needed.
    pub admin: bool,
    /// Whether a valid token came along that may read what operators read: `server.read_token`, or an admin token.
    pub reads: bool,
}

impl Call {
    /// The first field of this name, which is to be one of [`api_fields`]: others do not get here.
    pub fn header(&self, name: &str) -> Option<&str> {
        debug_assert!(
            api_fields::is_known(name),
            "{name} is not in core/api_fields.rs, so it is never found"
        );
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the query has this parameter, with or without a value.
    pub fn has_query(&self, name: &str) -> bool {
        self.query.split('&').any(|pair| pair.split('=').next() == Some(name))
    }
}

#[cfg(test)]
impl Call {
    /// A call with these fields and nothing else, for tests of what only looks at fields.
    pub fn with_fields(fields: &[(&str, &str)]) -> Call {
        let headers = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (id, peer, query, body) = (String::new(), String::new(), String::new(), Vec::new());
        Call { operation: Operation::Health, id, peer, query, headers, body, admin: false, reads: false }
    }
}

/// A role's side of the API.
pub trait Service: Send + Sync + 'static {
    /// Which routes exist.
    fn role(&self) -> Role;

    /// Whether a bearer token is good for administration.
    fn is_admin(&self, token: &str) -> bool;

    /// Whether a bearer token is good for reading what operators read.
    fn is_reader(&self, _token: &str) -> bool {
        false
    }

    /// Whether a bearer token is good for reading metrics.
    fn is_scraper(&self, _token: &str) -> bool {
        false
    }

    /// Who counts answers; `None`: nobody.
    fn counters(&self) -> Option<Arc<ApiCounters>> {
        None
    }

    /// Whether a bearer token is good for heartbeats.
    fn is_worker(&self, _token: &str) -> bool {
        false
    }

    /// Notes that a client presented a wrong token. A time: it is to wait for so long. Must not block.
    fn note_wrong_token(&self, _token: Option<&str>, _client: IpAddr) -> Option<Duration> {
        None
    }

    /// Notes that a client used a token that is good for something. Must not block.
    fn note_token(&self, _token: &str, _client: IpAddr) {}

    /// Judges on the head alone what its route leaves to the operation ([`crate::api::routes::Auth::Own`]). `None`: it may
    /// go on. Must not block: it runs on an edge thread.
    fn refuse(&self, route: &Route, segments: Segments<'_>, authorization: Option<&str>) -> Option<Answer> {
        let _ = (route, segments, authorization);
        None
    }

    /// Judges on the head alone the token of a request for rooms, which came for this host ([`crate::api::routes::Auth::Room`]).
    /// `None`: it may go on. Must not block: it runs on an edge thread.
    fn refuse_room(&self, token: Option<&str>, _host: &str) -> Option<Answer> {
        Some(rooms_form::denied(Denied::Unauthorized, token.is_some()))
    }

    /// Answers, now or later, by the responder.
    fn call(&self, call: Call, responder: Responder);
}
