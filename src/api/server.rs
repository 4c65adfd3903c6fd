//! The control API's threads: they take requests from the edge's pool and have the role's service answer.
//!
//! ```text
//! edge ──head judged, body whole──▶ ApiPool ──▶ api-0..4 ──▶ Service
//! ```
//!
//! See [`crate::api::gate`] for who gets here. `api-N` threads answer or hand the [`Responder`] to whoever will; they never
//! wait for a session, and never for a client: the edge sends what they answer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::api::gate::{self, Gate};
use crate::api::reply::{Answer, Responder};
use crate::api::routes::{Operation, Route, Segments};
use crate::config::settings::{self, Role};
use crate::core::api_queue::Rank;
use crate::edge::api_pool::{ApiPool, ApiRequest};

/// Requests of people without a token that are answered at once. They only look things up and pass things on, so few are
/// enough.
pub const THREADS: usize = 4;

/// A thread more, so that an operator's call finds one when the others wait for something.
const OPERATORS_THREADS: usize = 1;

/// Stack of an `api-N` thread in bytes: JSON of bounded size, no recursion of ours.
const STACK: usize = 512 * 1024;

/// How often an idle thread shows that it is alive.
const IDLE_BEAT: std::time::Duration = std::time::Duration::from_secs(5);

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
}

impl Call {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
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
        Call { operation: Operation::Health, id, peer, query, headers, body, admin: false }
    }
}

/// Called by a thread each time it comes round, so that the watchdog sees it make progress.
pub type Beat = Box<dyn Fn() + Send>;

/// A role's side of the API.
pub trait Service: Send + Sync + 'static {
    /// Which routes exist.
    fn role(&self) -> Role;

    /// Whether a bearer token is good for administration.
    fn is_admin(&self, token: &str) -> bool;

    /// Judges on the head alone what its route leaves to the operation ([`crate::api::routes::Auth::Own`]). `None`: it may
    /// go on. Must not block: it runs on an edge thread.
    fn refuse(&self, route: &Route, segments: Segments<'_>, authorization: Option<&str>) -> Option<Answer> {
        let _ = (route, segments, authorization);
        None
    }

    /// Answers, now or later, by the responder.
    fn call(&self, call: Call, responder: Responder);
}

/// The running API.
pub struct ApiServer {
    pool: Arc<ApiPool>,
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiServer({} threads)", self.threads.len())
    }
}

impl ApiServer {
    /// Starts the threads.
    pub fn start(
        service: Arc<dyn Service>,
        settings: &settings::Edge,
        beat: impl Fn(usize) -> Beat,
    ) -> io::Result<ApiServer> {
        let pool = ApiPool::new(settings, THREADS);
        let gate = Arc::new(Gate::new(service.clone(), pool.clone()));
        let mut server = ApiServer { pool, gate, threads: Vec::new() };
        for index in 0..THREADS + OPERATORS_THREADS {
            let (pool, service, beat) = (server.pool.clone(), service.clone(), beat(index));
            let builder = std::thread::Builder::new().name(format!("api-{index}")).stack_size(STACK);
            match builder.spawn(move || serve(&pool, &*service, &beat)) {
                Ok(thread) => server.threads.push(thread),
                Err(error) => {
                    server.stop();
                    return Err(error);
                }
            }
        }
        Ok(server)
    }

    /// What the edge's router asks.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Stops the threads and waits for them.
    pub fn stop(self) {
        self.pool.close();
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("[api] ALERT a thread of the control API panicked");
            }
        }
    }
}

fn serve(pool: &ApiPool, service: &dyn Service, beat: &Beat) {
    while !pool.is_closed() {
        beat();
        if let Some(mut serving) = pool.next(IDLE_BEAT) {
            handle(service, &mut serving.request);
        }
    }
}

/// The body's part of the budget is given back when the request is dropped, after this.
fn handle(service: &dyn Service, request: &mut ApiRequest) {
    let responder = Responder::new(request.responder());
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let (route, segments) = match gate::find(service, &request.method, path) {
        Ok(found) => found,
        Err(answer) => return responder.send(answer),
    };
    let call = Call {
        operation: route.operation,
        id: segments.id.to_owned(),
        peer: segments.peer.to_owned(),
        query: query.to_owned(),
        headers: std::mem::take(&mut request.headers),
        body: std::mem::take(&mut request.body),
        admin: request.rank == Rank::Operator,
    };
    service.call(call, responder);
}
