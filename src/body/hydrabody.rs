//! hydrabody's API on the body: launching and stopping an experience.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::core::ids::{BodyAddr, url_host};
use crate::host::http_client;

/// A client for one body's hydrabody.
#[derive(Clone, Debug)]
pub struct Hydrabody {
    agent: ureq::Agent,
    base: String,
    launch_path: String,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HydrabodyError {
    /// No answer.
    Silent(String, String),
    /// Another status than 2xx.
    Status(String, u16),
}

impl fmt::Display for HydrabodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HydrabodyError::Silent(at, error) => write!(f, "hydrabody at {at} does not answer: {error}"),
            HydrabodyError::Status(at, status) => write!(f, "hydrabody at {at} answers {status}"),
        }
    }
}

impl std::error::Error for HydrabodyError {}

impl Hydrabody {
    /// A client for hydrabody at this address and port.
    pub fn new(body: BodyAddr, port: u16, launch_path: &str, call_timeout: Duration) -> Hydrabody {
        let config = ureq::Agent::config_builder()
            .middleware(http_client::Traced("hydrabody"))
            .timeout_global(Some(call_timeout))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .build();
        let agent = http_client::agent(config);
        let base = format!("http://{}:{port}", url_host(body.ip()));
        Hydrabody { agent, base, launch_path: launch_path.to_owned() }
    }

    /// Launches an experience.
    pub fn launch(&self, name: &str, exe_path: &str) -> Result<(), HydrabodyError> {
        self.post(&self.launch_path, &json!({"name": name, "exe_path": exe_path}))
    }

    /// Stops the experience's processes.
    pub fn stop(&self) -> Result<(), HydrabodyError> {
        self.post("/api/v1/stop", &json!({}))
    }

    fn post(&self, path: &str, body: &Value) -> Result<(), HydrabodyError> {
        let at = || self.base.trim_start_matches("http://").to_owned();
        let sent = self.agent.post(format!("{}{path}", self.base)).send_json(body);
        match sent.map_err(|error| HydrabodyError::Silent(at(), error.to_string()))?.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(HydrabodyError::Status(at(), status)),
        }
    }
}
