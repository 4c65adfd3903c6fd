//! The control API's server: tiny_http on a private unix socket that only the edge reaches.
//!
//! ```text
//! edge ──head judged, body whole, one request per connection, at most edge.api_connections──▶ tiny_http ──▶ api-0..4 ──▶ Service
//!                                       ▲── a lost listener is made anew on another socket ──┘
//! ```
//!
//! See [`crate::api::gate`] for who gets here, and `docs/design/edge.md` for why tiny_http must not see more than that. `api-N`
//! threads answer or hand the [`Responder`] to whoever will; they never wait for a session.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use crate::api::auth;
pub use crate::api::call::{Call, Service};
use crate::api::gate::{self, Gate};
use crate::api::reply::{Answer, Responder};
use crate::api::routes::{self, Auth, Operation};
use crate::config::settings;
use crate::edge::api_pool::{ApiPool, REPLY_LATER_FIELD, Way};
use crate::host::private_socket;
use crate::isolation::isolate;

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

/// Called by a thread each time it comes round, so that the watchdog sees it make progress.
pub type Beat = Box<dyn Fn() + Send>;

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
    /// Binds `path` (in a directory only we can enter), takes its name away and starts the threads.
    pub fn start(
        path: &Path,
        service: Arc<dyn Service>,
        settings: &settings::Edge,
        beat: impl Fn(usize) -> Beat,
    ) -> io::Result<ApiServer> {
        let (server, way) = listen(path)?;
        let pool = ApiPool::new(settings, THREADS, way);
        let gate = Arc::new(Gate::new(service.clone(), pool.clone()));
        let shared = Arc::new(Shared {
            first: path.to_owned(),
            pool,
            server: Mutex::new(Arc::new(server)),
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

    /// Stops the threads and waits for them.
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
                // The responder answers while the panic passes it.
                Ok(Some(request)) => {
                    let _ = isolate("an API request", || handle(service, &self.pool, request));
                }
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
        // Another name: the old server removes its own when it goes, though it is gone already.
        let path = self.first.with_extension(format!("{number}.sock"));
        let _ = std::fs::remove_file(&path);
        match listen(&path) {
            Ok((server, way)) => {
                log::error!("[api] ALERT the control API's listener was lost ({why}) and is made anew");
                *current = Arc::new(server);
                self.pool.moved_to(way);
            }
            // The next round tries again.
            Err(error) => log::error!("[api] ALERT the control API cannot listen: {error}; trying again"),
        }
    }
}

/// A server on a socket that has no name any more, and the way there.
fn listen(path: &Path) -> io::Result<(tiny_http::Server, Way)> {
    try_threads(OWN_THREADS)?;
    let (listener, reach) = private_socket::bind(path)?;
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    Ok((server, Arc::new(reach)))
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

fn handle(service: &dyn Service, pool: &ApiPool, mut request: tiny_http::Request) {
    let mut body = Vec::new();
    let read = request.as_reader().read_to_end(&mut body);
    let headers =
        request.headers().iter().map(|h| (h.field.to_string(), h.value.to_string())).collect::<Vec<_>>();
    let (method, url) = (request.method().to_string(), request.url().to_owned());
    let mut responder = Responder::new(request);
    if log::log_enabled!(log::Level::Debug) {
        responder.about(format!("{method} {}", routes::shown(&url)));
    }
    if read.is_err() {
        return responder.send(Answer::error(400, "unreadable body", "send it with its length"));
    }
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let (route, segments) = match gate::find(service, &method, path) {
        Ok(found) => found,
        Err(answer) => return responder.send(answer),
    };
    if let Some(counters) = service.counters() {
        responder.count(counters, route.operation == Operation::CreateSession);
    }
    let mut call = Call {
        operation: route.operation,
        id: segments.id.to_owned(),
        peer: segments.peer.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        admin: false,
        reads: false,
    };
    let authorization = call.header("Authorization").map(str::to_owned);
    let standing = gate::Standing::of(service, auth::bearer(authorization.as_deref()));
    (call.admin, call.reads) = (standing.admin, standing.may(Auth::Read));
    // The edge has judged this on the head, and has noted wrong tokens; settings may have been reloaded since.
    // A program on this host needs no token for metrics, and the operators' page none at all, which only the edge can see.
    if !matches!(route.auth, Auth::Scrape | Auth::Operator) && !standing.may(route.auth) {
        return responder.send(standing.refusal(authorization.is_some()));
    }
    // Only the edge reaches us, and it hands on no such field of a client's.
    let number = call.headers.iter().find(|(name, _)| name == REPLY_LATER_FIELD);
    if let Some(late) = number.and_then(|(_, number)| pool.late_reply(number.parse().ok()?)) {
        responder.later(late);
    }
    service.call(call, responder);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::config::settings::Role;

    /// Panics at one operation, with or without a responder in hand.
    struct Fragile;

    impl Service for Fragile {
        fn role(&self) -> Role {
            Role::Controller
        }

        fn is_admin(&self, _token: &str) -> bool {
            panic!("on purpose, before there is an answer")
        }

        fn call(&self, call: Call, responder: Responder) {
            if call.has_query("panic") {
                panic!("on purpose");
            }
            responder.send(Answer::empty());
        }
    }

    fn start(name: &str) -> ApiServer {
        let path = std::env::temp_dir().join(format!("neck-api-{name}-{}.sock", std::process::id()));
        let settings = settings::Edge::default();
        ApiServer::start(&path, Arc::new(Fragile), &settings, |_| Box::new(|| ())).expect("a server")
    }

    fn ask(server: &ApiServer, target: &str, fields: &str) -> String {
        let way = server.shared.pool.socket();
        let mut stream = UnixStream::connect((*way).as_ref()).expect("the socket");
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply
    }

    #[test]
    fn a_panic_answers_500_and_the_thread_goes_on() {
        let server = start("panic");
        let before = crate::isolation::contained();
        for round in 0..2 * THREADS {
            let reply = ask(&server, "/api/v1/health?panic", "");
            assert!(
                reply.starts_with("HTTP/1.1 500 ") && reply.contains("internal error"),
                "{round}: {reply}"
            );
            let reply = ask(&server, "/api/v1/health", "Authorization: Bearer x\r\n");
            assert!(reply.starts_with("HTTP/1.1 500 "), "{round}: {reply}");
            let reply = ask(&server, "/api/v1/health", "");
            assert!(reply.starts_with("HTTP/1.1 204 "), "{round}: {reply}");
        }
        // The reply is sent while the panic unwinds, and it is counted after that: once the threads are gone all of it is.
        server.stop();
        assert!(crate::isolation::contained() >= before + 4 * THREADS as u64);
    }

    #[test]
    fn a_lost_listener_is_made_anew_where_no_name_leads_and_the_edge_is_told() {
        let server = start("lost");
        let (first, pool) = (server.shared.pool.socket(), &server.shared.pool);
        pool.report_lost();
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        while pool.is_lost() {
            assert!(std::time::Instant::now() < patience, "nobody listens anew");
            std::thread::yield_now();
        }
        let second = pool.socket();
        assert_ne!((*first).as_ref(), (*second).as_ref());
        let reply = ask(&server, "/api/v1/health", "");
        assert!(reply.starts_with("HTTP/1.1 204 "), "{reply}");
        let names = [server.shared.first.clone(), server.shared.first.with_extension("1.sock")];
        assert!(names.iter().all(|name| !name.exists()), "{names:?}");
        server.stop();
    }
}
