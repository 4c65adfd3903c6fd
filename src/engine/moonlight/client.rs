//! Talking to the child over loopback: is it there, which host, which application.
//!
//! Blocking calls with a deadline each; they run on a session's set-up thread, never on its supervisor.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::core::ids::{BodyAddr, Port, SessionId};
use crate::host::http_client;

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
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    user: String,
}

/// What went wrong, and at which step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The child gave no answer.
    Silent(&'static str, String),
    /// The child gave no answer in this time, because the body gave it none.
    Late(&'static str, Duration),
    /// The child answered with this status.
    Status(&'static str, u16),
    /// The child says the body cannot be reached.
    BodyUnreachable,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Silent(step, error) => {
                write!(f, "step {step}: no answer from the stream process: {error}")
            }
            ClientError::Late(step, limit) => {
                let millis = limit.as_millis();
                write!(f, "step {step}: the body did not answer the stream process within {millis} ms")
            }
            ClientError::Status(step, status) => {
                write!(f, "step {step}: the stream process answered {status}")
            }
            ClientError::BodyUnreachable => write!(f, "step host: the stream process cannot reach the body"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A body as the child knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Host {
    /// The child's name for it.
    pub host_id: u64,
    paired: String,
    #[serde(default)]
    current_game: u64,
}

impl Host {
    /// A body that the child is paired with.
    pub fn known(host_id: u64) -> Host {
        Host { host_id, paired: "Paired".into(), current_game: 0 }
    }

    /// Whether the child and the body are paired.
    pub fn is_paired(&self) -> bool {
        self.paired == "Paired"
    }

    /// Whether an application runs on the body: the next stream would resume it, whatever was asked for.
    pub fn runs_something(&self) -> bool {
        self.current_game != 0
    }
}

/// A line of the child's answer to a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairLine {
    /// Give this PIN to the body.
    Pin(String),
    /// Done.
    Paired,
    /// The body or the child refused.
    Refused,
}

#[derive(Deserialize)]
struct HostReply {
    host: Host,
}

#[derive(Deserialize)]
struct AppsReply {
    apps: Vec<App>,
}

/// An application of a body.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct App {
    /// The child's and the body's name for it.
    pub app_id: u64,
    /// What people call it.
    pub title: String,
}

impl Client {
    /// A client for the child of `session` below `prefix` on `port`, acting as `user`.
    pub fn new(session: &SessionId, prefix: &str, port: Port, user: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .middleware(http_client::Traced("process"))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .max_redirects(0)
            .build();
        let agent = http_client::agent(config);
        Client {
            agent,
            base: format!("http://127.0.0.1:{port}{prefix}/session/{}", session.expose()),
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

    /// Registers the body with the child.
    pub fn add_host(&self, body: BodyAddr, http_port: u16) -> Result<Host, ClientError> {
        let step = "host";
        let request = self.post("/api/host", HOST_TIMEOUT);
        let reply = request.send_json(json!({"address": body.to_string(), "http_port": http_port}));
        let mut reply = reply.map_err(|error| no_answer(step, HOST_TIMEOUT, &error))?;
        match reply.status().as_u16() {
            200 => Ok(read::<HostReply>(step, &mut reply)?.host),
            404 => Err(ClientError::BodyUnreachable),
            status => Err(ClientError::Status(step, status)),
        }
    }

    /// Makes the child forget the body, pairing included.
    pub fn delete_host(&self, host: &Host) -> Result<(), ClientError> {
        let step = "forget";
        let request = self.agent.delete(format!("{}/api/host?host_id={}", self.base, host.host_id));
        let request = request.header("X-Forwarded-User", &self.user);
        let reply = request.config().timeout_global(Some(APPS_TIMEOUT)).build().call();
        match reply.map_err(|error| ClientError::Silent(step, error.to_string()))?.status().as_u16() {
            200..=299 | 404 => Ok(()),
            status => Err(ClientError::Status(step, status)),
        }
    }

    /// Begins a pairing and calls `line` for each line of the answer, until it says false, the answer ends or `limit` is
    /// over. Blocks: the second line comes when the PIN was accepted, or never.
    pub fn pair(
        &self,
        host: &Host,
        limit: Duration,
        mut line: impl FnMut(PairLine) -> bool,
    ) -> Result<(), ClientError> {
        let step = "pair";
        let silent = |error: String| ClientError::Silent(step, error);
        let reply = self.post("/api/pair", limit).send_json(json!({"host_id": host.host_id}));
        let mut reply = reply.map_err(|error| silent(error.to_string()))?;
        if reply.status() != 200 {
            return Err(ClientError::Status(step, reply.status().as_u16()));
        }
        let lines = BufReader::new(reply.body_mut().as_reader().take(REPLY_LIMIT)).lines();
        for text in lines {
            let text = text.map_err(|error| silent(error.to_string()))?;
            if !text.trim().is_empty()
                && !line(parse_pair_line(&text).ok_or_else(|| silent("nonsense".into()))?)
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The applications of the body, by title.
    pub fn apps(&self, host: &Host) -> Result<Vec<App>, ClientError> {
        let step = "apps";
        let reply = self.get(&format!("/api/apps?host_id={}", host.host_id), APPS_TIMEOUT).call();
        let mut reply = reply.map_err(|error| no_answer(step, APPS_TIMEOUT, &error))?;
        match reply.status().as_u16() {
            200 => Ok(read::<AppsReply>(step, &mut reply)?.apps),
            status => Err(ClientError::Status(step, status)),
        }
    }

    fn post(&self, path: &str, limit: Duration) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("X-Forwarded-User", &self.user);
        request.config().timeout_global(Some(limit)).build()
    }

    fn get(&self, path: &str, limit: Duration) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("X-Forwarded-User", &self.user);
        request.config().timeout_global(Some(limit)).build()
    }
}

/// Understands one line of the answer to a pairing; `None`: nonsense.
pub fn parse_pair_line(text: &str) -> Option<PairLine> {
    match serde_json::from_str(text).ok()? {
        Value::String(word) if word == "PairError" => Some(PairLine::Refused),
        Value::Object(object) => match (object.get("Pin"), object.get("Paired")) {
            (Some(pin), _) => pin.as_str().map(|pin| PairLine::Pin(pin.to_owned())),
            (None, Some(_)) => Some(PairLine::Paired),
            (None, None) => None,
        },
        _ => None,
    }
}

/// A child that is there answers at once, unless the body keeps it waiting: that is no broken process.
fn no_answer(step: &'static str, limit: Duration, error: &ureq::Error) -> ClientError {
    match error {
        ureq::Error::Timeout(_) => ClientError::Late(step, limit),
        other => ClientError::Silent(step, other.to_string()),
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    step: &'static str,
    reply: &mut ureq::http::Response<ureq::Body>,
) -> Result<T, ClientError> {
    let body = reply.body_mut().with_config().limit(REPLY_LIMIT).read_json();
    body.map_err(|error| ClientError::Silent(step, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_pairing_are_understood() {
        for (text, line) in [
            (r#"{"Pin":"0046"}"#, Some(PairLine::Pin("0046".into()))),
            (r#"{"Paired":{"host_id":1}}"#, Some(PairLine::Paired)),
            (r#""PairError""#, Some(PairLine::Refused)),
            (r#"{"Pin":46}"#, None),
            ("nonsense", None),
        ] {
            assert_eq!(parse_pair_line(text), line, "{text}");
        }
    }
}
