//! The demo's way back: a page with a button that makes a new session and leads to it. `sessions.return_url` of
//! the demo points here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tiny_http::{Header, Response, StatusCode};

use crate::api::pages;
use crate::daemon::RunError;
use crate::demo::reach;
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
}

impl Door {
    /// Binds a free port at this address: where the demo's pages are reached, this is too.
    pub fn bind(host: IpAddr) -> Result<BoundDoor, RunError> {
        let server = tiny_http::Server::http((host, 0))
            .map_err(|error| RunError(format!("cannot bind a port at {host}: {error}")))?;
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
    /// Where the way back leads, at this address of ours.
    pub fn url(&self, host: IpAddr) -> String {
        format!("{}/", reach::origin(host, self.address.port()))
    }

    /// Starts answering; sessions are of the built-in clip, and of this body.
    pub fn open(self, base: &str, token: &str, body: IpAddr) -> Result<Door, RunError> {
        let maker = Maker { agent: agent(), base: base.into(), token: token.into(), body };
        let stopping = Arc::new(AtomicBool::new(false));
        let (server, flag, work) = (self.server.clone(), stopping.clone(), maker.clone());
        let thread = crate::server::thread("demo-door", 512 * 1024, move || serve(&server, &flag, &work))?;
        Ok(Door { maker, stopping, server: self.server, thread: Some(thread) })
    }
}

/// Asks our own API.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(CREATE_TIMEOUT))
        .http_status_as_error(false)
        .proxy(None)
        .build();
    http_client::agent(config)
}

fn serve(server: &tiny_http::Server, stopping: &AtomicBool, maker: &Maker) {
    while !stopping.load(Ordering::Acquire) {
        if let Ok(Some(request)) = server.recv_timeout(PAUSE) {
            let answer = if request.url() == START { started(maker, host_of(&request)) } else { page() };
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

/// The name by which this visitor reaches us, without a port.
fn host_of(request: &tiny_http::Request) -> Option<String> {
    let field = request.headers().iter().find(|field| field.field.equiv("Host"))?;
    name_in(field.value.as_str()).map(str::to_owned)
}

/// The host of `HOST[:PORT]`, if it is one that can stand in a URL.
fn name_in(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && is_name(name),
    }
    .then_some(name)
}

fn started(maker: &Maker, host: Option<String>) -> Answer {
    match maker.stream() {
        Ok(url) => redirect(&maker.seen_by(url, host)),
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

    /// A stream's URL for who reaches us by the name `host`.
    fn seen_by(&self, url: String, host: Option<String>) -> String {
        let port = self.base.rsplit_once(':').map_or("80", |(_, port)| port);
        match (host, url.strip_prefix(&self.base)) {
            (Some(host), Some(path)) => format!("http://{host}:{port}{path}"),
            _ => url,
        }
    }

    /// Asks for a session: status and document of the answer.
    fn ask(&self) -> Result<(u16, Value), String> {
        let reply = self
            .agent
            .post(format!("{}/api/v1/sessions", self.base))
            .header("Authorization", format!("Bearer {}", self.token))
            .send_json(json!({
                "body_ip": self.body, "experience": "Demo", "engine": "demo", "replace": true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_led_on_by_the_name_they_came_by() {
        let names =
            ["192.168.7.2:81", "192.168.7.2", "[fd00::7]:81", "[fd00::7]", "demo.lan:81"].map(name_in);
        assert_eq!(
            names.map(Option::unwrap),
            ["192.168.7.2", "192.168.7.2", "[fd00::7]", "[fd00::7]", "demo.lan"]
        );
        for hostile in ["", ":81", "a/b:81", "a@b:81", "[x]:81", "a b", "a\r\nb", "fd00::7"] {
            assert_eq!(name_in(hostile), None, "{hostile:?}");
        }
    }
}
