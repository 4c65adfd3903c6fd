//! Calls to workers, and the one question that decides whether a create may go elsewhere: did it begin?

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::live::Live;
use crate::controller::fleet_thread::Create;
use crate::core::fleet::wire::{BASE_URL_FIELD, END_REASON_FIELD, SESSION_ID_FIELD, STAMP_FIELD, Stamp};
use crate::core::ids::SessionId;
use crate::core::reason::EndReason;
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;

/// Connecting to a worker of the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest reply that is read.
const REPLY_LIMIT: u64 = 1 << 20;

/// Speaks to workers with our own admin token. No connection is kept: one that went stale would leave open whether a
/// create had begun.
#[derive(Clone, Debug)]
pub struct WorkerClient {
    agent: ureq::Agent,
    live: Arc<Live>,
}

/// A worker's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Its place in the worker's history; only answers about a session that began have one.
    pub stamp: Option<Stamp>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// The document; null when there is none.
    pub body: Value,
}

impl Reply {
    /// The error in the worker's words.
    pub fn error_text(&self) -> String {
        let text = |key: &str| self.body.get(key).and_then(Value::as_str).unwrap_or_default();
        format!("{}: {}", text("error"), text("detail"))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Nothing was delivered.
    NotReached(String),
    /// It may have been delivered.
    Lost(String),
}

impl WorkerClient {
    /// A client that presents the admin token of these settings, and believes these authorities.
    pub fn new(live: Arc<Live>, roots: TlsConfig) -> WorkerClient {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .tls_config(roots)
            .max_redirects(0)
            .build();
        let agent = http_client::agent(config);
        WorkerClient { agent, live }
    }

    /// Starts the session that `create` asks for.
    pub fn create(&self, url: &str, create: &Create, limit: Duration) -> Result<Reply, CallError> {
        let call = self.agent.post(format!("{url}/api/v1/sessions"));
        let call = call.header(SESSION_ID_FIELD, create.id.expose()).header(BASE_URL_FIELD, &create.base_url);
        let call = call.header("Authorization", self.bearer()).config().timeout_global(Some(limit)).build();
        read(call.send_json(create.request.to_json()))
    }

    /// Ends a session.
    pub fn delete(
        &self,
        url: &str,
        id: &SessionId,
        reason: EndReason,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let call = self.agent.delete(format!("{url}/api/v1/sessions/{}", id.expose()));
        let call = call.header(END_REASON_FIELD, reason.code()).header("Authorization", self.bearer());
        read(call.config().timeout_global(Some(limit)).build().call())
    }

    /// Looks at a session.
    pub fn inspect(&self, url: &str, id: &SessionId, limit: Duration) -> Result<Reply, CallError> {
        let call = self.agent.get(format!("{url}/api/v1/sessions/{}", id.expose()));
        read(call.header("Authorization", self.bearer()).config().timeout_global(Some(limit)).build().call())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.live.get().server.admin_token.expose())
    }
}

fn read(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, CallError> {
    let mut response = sent.map_err(classify)?;
    let field =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (stamp, retry_after) = (field(STAMP_FIELD), field("Retry-After"));
    let status = response.status().as_u16();
    let body = match status {
        204 => Value::Null,
        _ => response
            .body_mut()
            .with_config()
            .limit(REPLY_LIMIT)
            .read_json()
            .map_err(|error| CallError::Lost(error.to_string()))?,
    };
    Ok(Reply { status, stamp: stamp.and_then(|text| text.parse().ok()), retry_after, body })
}

/// Only what certainly failed before the first byte went out counts as not reached.
fn classify(error: ureq::Error) -> CallError {
    if let Some(why) = crypto::refused_certificate(&error) {
        let advice = "check workers.ca_file and the worker's server.tls.cert";
        return CallError::NotReached(format!("its certificate is refused ({why}); {advice}"));
    }
    let text = error.to_string();
    let not_reached = match &error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(io) => matches!(
            io.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkDown
        ),
        _ => false,
    };
    if not_reached { CallError::NotReached(text) } else { CallError::Lost(text) }
}
