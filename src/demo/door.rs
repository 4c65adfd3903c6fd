//! The demo's way back: a page on loopback with a button that makes a new session and leads to it. `sessions.return_url` of
//! the demo points here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tiny_http::{Header, Response, StatusCode};

use crate::api::pages;
use crate::daemon::RunError;
use crate::host::http_client;

/// A create, as slow as the product allows.
const CREATE_TIMEOUT: Duration = Duration::from_secs(60);

/// The button's path.
const START: &str = "/start";

/// A busy machine makes beats late, and a controller sends nobody to a worker that is late: ask again this often, this many
/// times (15 s) before giving up.
const ASK_AGAIN: Duration = Duration::from_millis(300);
const QUESTIONS: u32 = 50;

/// How often the thread looks whether it is to stop.
const PAUSE: Duration = Duration::from_millis(200);

/// A door that is bound, not open yet.
pub struct BoundDoor {
    server: Arc<tiny_http::Server>,
    address: SocketAddr,
}

/// The open door and its thread, `demo-door`.
pub struct Door {
    maker: Maker,
    stopping: Arc<AtomicBool>,
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

/// Makes sessions through the controller's public API, as any service would.
#[derive(Clone)]
struct Maker {
    agent: ureq::Agent,
    base: String,
    token: String,
    body: IpAddr,
    engine: &'static str,
}

impl Door {
    /// Binds a free port on loopback.
    pub fn bind() -> Result<BoundDoor, RunError> {
        let server = tiny_http::Server::http((std::net::Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| RunError(format!("cannot bind a port on loopback: {error}")))?;
        let address = server.server_addr().to_ip().ok_or_else(|| RunError("no address".into()))?;
        Ok(BoundDoor { server: Arc::new(server), address })
    }

    /// The first session's URL.
    pub fn first_stream(&self) -> Result<String, RunError> {
        self.maker.stream().map_err(RunError)
    }

    /// Stops the thread.
    pub fn close(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            crate::host::join::within(thread, CREATE_TIMEOUT);
        }
    }
}

impl BoundDoor {
    /// Where the way back leads.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Starts answering; sessions are of this engine.
    pub fn open(self, base: &str, token: &str, body: IpAddr, engine: &'static str) -> Result<Door, RunError> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(CREATE_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let agent = http_client::agent(config);
        let maker = Maker { agent, base: base.into(), token: token.into(), body, engine };
        let stopping = Arc::new(AtomicBool::new(false));
        let (server, flag, work) = (self.server.clone(), stopping.clone(), maker.clone());
        let thread = crate::front::thread("demo-door", 512 * 1024, move || serve(&server, &flag, &work))?;
        Ok(Door { maker, stopping, server: self.server, thread: Some(thread) })
    }
}

fn serve(server: &tiny_http::Server, stopping: &AtomicBool, maker: &Maker) {
    while !stopping.load(Ordering::Acquire) {
        if let Ok(Some(request)) = server.recv_timeout(PAUSE) {
            let answer = if request.url() == START { started(maker) } else { page() };
            // A browser that went away needs no answer.
            let _ = request.respond(answer);
        }
    }
}

type Answer = Response<std::io::Cursor<Vec<u8>>>;

fn page() -> Answer {
    let (page, fields) = pages::welcome_back(START);
    let fields = fields.into_iter().filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    fields.fold(Response::from_string(page), Response::with_header)
}

fn started(maker: &Maker) -> Answer {
    match maker.stream() {
        Ok(url) => redirect(&url),
        Err(error) => Response::from_string(error).with_status_code(StatusCode(502)),
    }
}

fn redirect(url: &str) -> Answer {
    let response = Response::from_string(String::new()).with_status_code(StatusCode(303));
    match Header::from_bytes("Location", url) {
        Ok(location) => response.with_header(location),
        Err(()) => response,
    }
}

impl Maker {
    /// A new session's URL. One that still holds the body gives way; a fleet that is not ready (503) is asked again.
    fn stream(&self) -> Result<String, String> {
        for _ in 1..QUESTIONS {
            match self.ask()? {
                (503, _) => std::thread::sleep(ASK_AGAIN),
                answer => return url_of(answer),
            }
        }
        url_of(self.ask()?)
    }

    /// Asks for a session: status and document of the answer.
    fn ask(&self) -> Result<(u16, Value), String> {
        let reply = self
            .agent
            .post(format!("{}/api/v1/sessions", self.base))
            .header("Authorization", format!("Bearer {}", self.token))
            .send_json(json!({
                "body_ip": self.body, "experience": "Demo", "engine": self.engine, "replace": true,
            }));
        let mut reply = reply.map_err(|error| format!("no session: {error}"))?;
        let status = reply.status().as_u16();
        let body: Value = reply.body_mut().read_json().map_err(|error| format!("no session: {error}"))?;
        Ok((status, body))
    }
}

fn url_of((status, body): (u16, Value)) -> Result<String, String> {
    match (status, body.get("stream_url").and_then(Value::as_str)) {
        (201, Some(url)) => Ok(url.to_owned()),
        _ => Err(format!("no session: {status} {body}")),
    }
}
