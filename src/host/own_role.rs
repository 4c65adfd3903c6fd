//! A role that is asked on its own host, by its own port.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::config::local::Local;
use crate::config::secret::Secret;
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;

/// Everybody may read it.
const HEALTH: &str = "/api/v1/health";

/// Largest reply that is read: health of a controller of a thousand workers has some hundred KiB.
const REPLY_LIMIT: u64 = 4 << 20;

/// Where it is asked.
pub struct OwnRole {
    url: String,
    agent: Agent,
    /// Its administrator's.
    token: Option<Secret>,
}

impl OwnRole {
    /// Whoever does not answer within `patience` is silent.
    pub fn new(local: &Local, token: Option<Secret>, patience: Duration) -> OwnRole {
        crypto::install();
        // Its certificate is for another name, or not there yet. A token goes by it alone to where it might leave this host.
        let is_believed = local.is_own || token.is_none();
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().disable_verification(is_believed).build())
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        let agent = http_client::agent_to(config, local.host);
        OwnRole { url: local.url.clone(), agent, token }
    }

    /// Status and document; null where there is none.
    pub fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let mut reply = request.call().map_err(|error| http_client::in_words(&error, &self.url))?;
        let document = reply.body_mut().with_config().limit(REPLY_LIMIT).read_json();
        Ok((reply.status().as_u16(), document.unwrap_or_default()))
    }

    /// Health, asked for with this query. An error: what answers there is not this program.
    pub fn health(&self, query: &str) -> Result<(u16, Value), String> {
        let (status, health) = self.get(&format!("{HEALTH}{query}"))?;
        match health["service"] == "hydraneckwebrtc" {
            true => Ok((status, health)),
            false => Err(self.is_another(status)),
        }
    }

    /// In words: what answered with this status is none of this role.
    pub fn is_another(&self, status: u16) -> String {
        format!("what answers at {} is another service ({status})", self.url)
    }
}
