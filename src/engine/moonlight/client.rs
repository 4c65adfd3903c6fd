//! Talking to the child over loopback: is it there, which host, which application.
//!
//! Blocking calls with a deadline each; they run on a session's set-up thread, never on its supervisor.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::core::ids::{BodyAddr, Port, SessionId};

/// The application that is streamed when no experience was asked for.
pub const DESKTOP: &str = "Desktop";

/// One probe on loopback: a child that is there answers in milliseconds; one that hangs must not hold us.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1000);

/// Adding a host makes the child connect to the body, for which it allows itself 10 s and no limit for the answer.
const HOST_TIMEOUT: Duration = Duration::from_secs(12);

/// Listing applications asks the body once.
const APPS_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest reply that is read; an application list has a few hundred bytes.
const REPLY_LIMIT: u64 = 1 << 20;

/// A client for one session's child.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    user: String,
}

/// What went wrong, and at which step.
#[derive(Debug)]
pub enum ClientError {
    /// The child gave no answer.
    Silent(&'static str, String),
    /// The child answered with this status.
    Status(&'static str, u16),
    /// The child says the body cannot be reached.
    BodyUnreachable,
    /// The body is not paired with this child.
    NotPaired,
    /// The body has no such application; these it has.
    NoSuchApp(String, Vec<String>),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Silent(step, error) => {
                write!(f, "step {step}: no answer from the stream process: {error}")
            }
            ClientError::Status(step, status) => {
                write!(f, "step {step}: the stream process answered {status}")
            }
            ClientError::BodyUnreachable => write!(f, "step host: the stream process cannot reach the body"),
            ClientError::NotPaired => write!(f, "step pair: the body is not paired"),
            ClientError::NoSuchApp(name, apps) => {
                write!(f, "step apps: the body has no application {name:?}; it has {apps:?}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

#[derive(Deserialize)]
struct HostReply {
    host: Host,
}

#[derive(Deserialize)]
struct Host {
    host_id: u64,
    paired: String,
}

#[derive(Deserialize)]
struct AppsReply {
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct App {
    app_id: u64,
    title: String,
}

impl Client {
    /// A client for the child of `session` on `port`, acting as `user`.
    pub fn new(session: &SessionId, port: Port, user: &str) -> Client {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .max_redirects(0)
            .build()
            .new_agent();
        Client {
            agent,
            base: format!("http://127.0.0.1:{port}/session/{}", session.expose()),
            user: user.to_owned(),
        }
    }

    /// Whether the child answers below its own prefix. Another program on that port would not.
    pub fn answers(&self) -> Result<(), ClientError> {
        let reply = self.get("/", PROBE_TIMEOUT).call();
        match reply {
            Ok(reply) if reply.status() == 200 => Ok(()),
            Ok(reply) => Err(ClientError::Status("probe", reply.status().as_u16())),
            Err(error) => Err(ClientError::Silent("probe", error.to_string())),
        }
    }

    /// Registers the body and finds the application; returns the path and query of its stream page.
    pub fn stream_page(
        &self,
        body: BodyAddr,
        http_port: u16,
        experience: Option<&str>,
    ) -> Result<String, ClientError> {
        let host = self.add_host(body, http_port)?;
        if host.paired != "Paired" {
            return Err(ClientError::NotPaired);
        }
        let app = self.find_app(host.host_id, experience.unwrap_or(DESKTOP))?;
        Ok(format!("/stream.html?hostId={}&appId={app}", host.host_id))
    }

    fn add_host(&self, body: BodyAddr, http_port: u16) -> Result<Host, ClientError> {
        let step = "host";
        let request = self
            .agent
            .post(format!("{}/api/host", self.base))
            .header("X-Forwarded-User", &self.user)
            .config()
            .timeout_global(Some(HOST_TIMEOUT))
            .build();
        let reply = request.send_json(json!({"address": body.to_string(), "http_port": http_port}));
        let mut reply = reply.map_err(|error| ClientError::Silent(step, error.to_string()))?;
        match reply.status().as_u16() {
            200 => Ok(read::<HostReply>(step, &mut reply)?.host),
            404 => Err(ClientError::BodyUnreachable),
            status => Err(ClientError::Status(step, status)),
        }
    }

    fn find_app(&self, host: u64, title: &str) -> Result<u64, ClientError> {
        let step = "apps";
        let reply = self.get(&format!("/api/apps?host_id={host}"), APPS_TIMEOUT).call();
        let mut reply = reply.map_err(|error| ClientError::Silent(step, error.to_string()))?;
        if reply.status() != 200 {
            return Err(ClientError::Status(step, reply.status().as_u16()));
        }
        let apps = read::<AppsReply>(step, &mut reply)?.apps;
        match apps.iter().find(|app| app.title == title) {
            Some(app) => Ok(app.app_id),
            None => {
                Err(ClientError::NoSuchApp(title.into(), apps.into_iter().map(|app| app.title).collect()))
            }
        }
    }

    fn get(&self, path: &str, limit: Duration) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("X-Forwarded-User", &self.user);
        request.config().timeout_global(Some(limit)).build()
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    step: &'static str,
    reply: &mut ureq::http::Response<ureq::Body>,
) -> Result<T, ClientError> {
    let body = reply.body_mut().with_config().limit(REPLY_LIMIT).read_json();
    body.map_err(|error| ClientError::Silent(step, error.to_string()))
}
