//! The control API's server: tiny_http on a private unix socket that only the edge reaches.
//!
//! ```text
//! edge ──one normalised request per connection──▶ tiny_http ──▶ api-0..3 ──▶ Service
//! ```
//!
//! The edge has read the whole body, bounded it and set its length; see `ARCHITECTURE.md` for why tiny_http must not
//! see more than that. `api-N` threads answer or hand the [`Responder`] to whoever will; they never wait for a session.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::api::auth;
use crate::api::reply::{Answer, Responder};
use crate::api::routes::{self, Auth, Match, Operation};
use crate::config::settings::Role;
use crate::host::private_socket::{self, Reach};
use crate::isolation::isolate;

/// Threads that answer. They only look things up and pass things on, so few are enough.
pub const THREADS: usize = 4;

/// Stack of an `api-N` thread in bytes: JSON of bounded size, no recursion of ours.
const STACK: usize = 512 * 1024;

/// Largest body that is read; the edge's limit is the same or smaller.
const BODY_LIMIT: u64 = 1 << 20;

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

    /// Whether a bearer token is good for heartbeats.
    fn is_worker(&self, _token: &str) -> bool {
        false
    }

    /// Notes that a call presented a wrong token. A time: the caller is to wait for so long.
    fn note_wrong_token(&self, _: &Call) -> Option<Duration> {
        None
    }

    /// Answers, now or later, by the responder.
    fn call(&self, call: Call, responder: Responder);
}

/// The running server.
pub struct ApiServer {
    server: Arc<tiny_http::Server>,
    path: PathBuf,
    /// Its path is good as long as this lives.
    _reach: Reach,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiServer({})", self.path.display())
    }
}

impl ApiServer {
    /// Binds `path` (in a directory only we can enter), takes its name away and starts the threads.
    pub fn start(
        path: &Path,
        service: Arc<dyn Service>,
        beat: impl Fn(usize) -> Beat,
    ) -> io::Result<ApiServer> {
        let (listener, reach) = private_socket::bind(path)?;
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(server);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for index in 0..THREADS {
            let (server, service, stopping, beat) =
                (server.clone(), service.clone(), stopping.clone(), beat(index));
            let builder = std::thread::Builder::new().name(format!("api-{index}")).stack_size(STACK);
            threads.push(builder.spawn(move || serve(&server, &*service, &stopping, &beat))?);
        }
        Ok(ApiServer { server, path: reach.path(), _reach: reach, stopping, threads })
    }

    /// Where our own threads, and nobody else, reach the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops the threads and waits for them.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        // One wake-up reaches one thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("[api] ALERT a thread of the control API panicked");
            }
        }
    }
}

fn serve(server: &tiny_http::Server, service: &dyn Service, stopping: &AtomicBool, beat: &Beat) {
    while !stopping.load(Ordering::Acquire) {
        beat();
        match server.recv_timeout(IDLE_BEAT) {
            // The responder answers while the panic passes it.
            Ok(Some(request)) => {
                let _ = isolate("an API request", || handle(service, request));
            }
            // A time-out, or `unblock`.
            Ok(None) => {}
            Err(error) => {
                log::warn!("[api] cannot take a request: {error}");
                return;
            }
        }
    }
}

fn handle(service: &dyn Service, mut request: tiny_http::Request) {
    let mut body = Vec::new();
    let read = request.as_reader().take(BODY_LIMIT + 1).read_to_end(&mut body);
    let headers =
        request.headers().iter().map(|h| (h.field.to_string(), h.value.to_string())).collect::<Vec<_>>();
    let (method, url) = (request.method().to_string(), request.url().to_owned());
    let responder = Responder::new(request);
    if read.is_err() || body.len() as u64 > BODY_LIMIT {
        return responder.send(Answer::error(400, "unreadable body", "send at most 1 MiB with its length"));
    }
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let (route, segments) = match routes::find(service.role(), &method, path) {
        Match::Found(route, segments) => (route, segments),
        Match::WrongMethod(allow) => {
            let answer = Answer::error(405, "method not allowed", format!("this path takes {allow}"));
            return responder.send(answer.with("Allow", allow));
        }
        Match::NotFound => return responder.send(Answer::error(404, "not found", "no such path")),
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
    let token = auth::bearer(call.header("Authorization"));
    let worker = token.is_some_and(|token| service.is_worker(token));
    call.admin = token.is_some_and(|token| service.is_admin(token));
    let presented = call.header("Authorization").is_some();
    let refused = match route.auth {
        Auth::Admin => !call.admin,
        Auth::Worker => !worker,
        _ => false,
    };
    // Health tells administrators more, so it would tell a right token from a wrong one as well.
    let is_wrong = refused || route.operation == Operation::Health && !call.admin;
    if let Some(pause) = (is_wrong && presented).then(|| service.note_wrong_token(&call)).flatten() {
        return responder.send(auth::too_many_wrong(pause));
    }
    if refused {
        return responder.send(auth::refusal(presented));
    }
    service.call(call, responder);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

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

    fn ask(path: &Path, target: &str, fields: &str) -> String {
        let mut stream = UnixStream::connect(path).expect("the socket");
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply
    }

    #[test]
    fn a_panic_answers_500_and_the_thread_goes_on() {
        let path = std::env::temp_dir().join(format!("neck-api-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let server = ApiServer::start(&path, Arc::new(Fragile), |_| Box::new(|| ())).expect("a server");
        let before = crate::isolation::contained();
        for round in 0..2 * THREADS {
            let reply = ask(&path, "/api/v1/health?panic", "");
            assert!(
                reply.starts_with("HTTP/1.1 500 ") && reply.contains("internal error"),
                "{round}: {reply}"
            );
            let reply = ask(&path, "/api/v1/health", "Authorization: Bearer x\r\n");
            assert!(reply.starts_with("HTTP/1.1 500 "), "{round}: {reply}");
            let reply = ask(&path, "/api/v1/health", "");
            assert!(reply.starts_with("HTTP/1.1 204 "), "{round}: {reply}");
        }
        assert!(crate::isolation::contained() >= before + 4 * THREADS as u64);
        server.stop();
    }
}
