//! The control API's server: tiny_http on a private unix socket that only the edge reaches.
//!
//! ```text
//! edge ──head judged, body whole, one request per connection, at most edge.api_connections──▶ tiny_http ──▶ api-0..4 ──▶ Service
//!                                       ▲── a lost listener is made anew on another socket ──┘
//! ```
//!
//! See [`crate::api::gate`] for who gets here, and `ARCHITECTURE.md` for why tiny_http must not see more than that. `api-N`
//! threads answer or hand the [`Responder`] to whoever will; they never wait for a session.

use std::fmt;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::api::auth;
use crate::api::gate::{self, Gate};
use crate::api::reply::{Answer, Responder};
use crate::api::routes::{Auth, Operation, Route, Segments};
use crate::config::settings::{self, Role};
use crate::edge::api_pool::ApiPool;

/// Requests of people without a token that are answered at once. They only look things up and pass things on, so few are
/// enough.
pub const THREADS: usize = 4;

/// A thread more, so that an operator's call finds one when the others wait for something.
const OPERATORS_THREADS: usize = 1;

/// Stack of an `api-N` thread in bytes: JSON of bounded size, no recursion of ours.
const STACK: usize = 512 * 1024;

/// How often an idle thread shows that it is alive, and looks whether the listener is lost.
const IDLE_BEAT: Duration = Duration::from_millis(500);

/// Threads that tiny_http starts by itself: it ends the process where it cannot have them, so they are asked for first.
const OWN_THREADS: usize = 5;

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

/// The running server.
pub struct ApiServer {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    /// The first socket; those that replace it are its siblings.
    first: PathBuf,
    pool: Arc<ApiPool>,
    server: Mutex<Arc<tiny_http::Server>>,
    /// How often the listener was made anew.
    remade: AtomicU64,
    stopping: AtomicBool,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiServer({})", self.shared.first.display())
    }
}

impl ApiServer {
    /// Binds `path` (in a directory only we can enter) and starts the threads.
    pub fn start(
        path: &Path,
        service: Arc<dyn Service>,
        settings: &settings::Edge,
        beat: impl Fn(usize) -> Beat,
    ) -> io::Result<ApiServer> {
        let pool = ApiPool::new(settings, THREADS, Arc::from(path));
        let gate = Arc::new(Gate::new(service.clone(), pool.clone()));
        let shared = Arc::new(Shared {
            first: path.to_owned(),
            pool,
            server: Mutex::new(Arc::new(listen(path)?)),
            remade: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let mut server = ApiServer { shared, gate, threads: Vec::new() };
        for index in 0..THREADS + OPERATORS_THREADS {
            let (shared, service, beat) = (server.shared.clone(), service.clone(), beat(index));
            let builder = std::thread::Builder::new().name(format!("api-{index}")).stack_size(STACK);
            match builder.spawn(move || shared.serve(&*service, &beat)) {
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

    /// Stops the threads, waits for them and removes the socket.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::Release);
        // One wake-up reaches one thread.
        let server = self.shared.server();
        self.threads.iter().for_each(|_| server.unblock());
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("[api] ALERT a thread of the control API panicked");
            }
        }
        let _ = std::fs::remove_file(self.shared.pool.socket());
    }
}

impl Shared {
    fn server(&self) -> Arc<tiny_http::Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, service: &dyn Service, beat: &Beat) {
        while !self.stopping.load(Ordering::Acquire) {
            beat();
            let server = self.server();
            match server.recv_timeout(IDLE_BEAT) {
                Ok(Some(request)) => handle(service, request),
                // A time-out, or `unblock`.
                Ok(None) if !self.pool.is_lost() => {}
                Ok(None) => self.listen_anew(&server, "nobody accepts"),
                Err(error) => self.listen_anew(&server, &error.to_string()),
            }
        }
    }

    /// Replaces a server whose listener is lost, unless another thread has. It goes with its last user.
    fn listen_anew(&self, lost: &Arc<tiny_http::Server>, why: &str) {
        let mut current = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, lost) {
            return;
        }
        self.pool.report_lost();
        let number = self.remade.fetch_add(1, Ordering::Relaxed) + 1;
        // Another name: the old server removes its own when it goes.
        let path = self.first.with_extension(format!("{number}.sock"));
        let _ = std::fs::remove_file(&path);
        match listen(&path) {
            Ok(server) => {
                log::error!("[api] ALERT the control API's listener was lost ({why}) and is made anew");
                *current = Arc::new(server);
                self.pool.moved_to(Arc::from(path));
            }
            // The next round tries again.
            Err(error) => log::error!("[api] ALERT the control API cannot listen: {error}; trying again"),
        }
    }
}

fn listen(path: &Path) -> io::Result<tiny_http::Server> {
    try_threads(OWN_THREADS)?;
    let listener = UnixListener::bind(path)?;
    tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)
}

/// Whether this many threads can be had at once.
fn try_threads(count: usize) -> io::Result<()> {
    let (hold, held) = crossbeam_channel::bounded::<()>(0);
    let start = |_| {
        let held = held.clone();
        let wait = move || {
            // Ends when the sender goes.
            let _ = held.recv();
        };
        std::thread::Builder::new().name("api-probe".into()).stack_size(STACK).spawn(wait)
    };
    let threads: Vec<_> = (0..count).map(start).collect();
    drop(hold);
    for thread in threads {
        // It cannot panic.
        let _ = thread?.join();
    }
    Ok(())
}

fn handle(service: &dyn Service, mut request: tiny_http::Request) {
    let mut body = Vec::new();
    let read = request.as_reader().read_to_end(&mut body);
    let headers =
        request.headers().iter().map(|h| (h.field.to_string(), h.value.to_string())).collect::<Vec<_>>();
    let (method, url) = (request.method().to_string(), request.url().to_owned());
    let responder = Responder::new(request);
    if read.is_err() {
        return responder.send(Answer::error(400, "unreadable body", "send it with its length"));
    }
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let (route, segments) = match gate::find(service, &method, path) {
        Ok(found) => found,
        Err(answer) => return responder.send(answer),
    };
    let mut call = Call {
        operation: route.operation,
        id: segments.id.to_owned(),
        peer: segments.peer.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        admin: false,
    };
    call.admin = auth::bearer(call.header("Authorization")).is_some_and(|token| service.is_admin(token));
    // The edge has judged this on the head; settings may have been reloaded since.
    if route.auth == Auth::Admin && !call.admin {
        return responder.send(auth::refusal(call.header("Authorization").is_some()));
    }
    service.call(call, responder);
}
