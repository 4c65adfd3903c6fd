//! A body's GameStream server, as far as it answers without a pairing: what runs, and an end for what a client of ours began
//! there and did not finish.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::host::http_client;

/// Largest reply that is read; real ones have a kilobyte.
const REPLY_LIMIT: u64 = 64 * 1024;

/// Longest version that is one.
const LONGEST_VERSION: usize = 64;

/// Phases of a pairing that a half-finished one may be at: each question that is not its turn ends it, and one that is takes
/// it a phase on.
const PHASES: usize = 3;

/// A client for one body's GameStream server.
#[derive(Clone, Debug)]
pub struct GameStream {
    agent: ureq::Agent,
    at: SocketAddr,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GameStreamError {
    /// No answer.
    Silent(SocketAddr, String),
    /// An answer of another kind than was asked for.
    Refused(SocketAddr, &'static str),
}

impl fmt::Display for GameStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GameStreamError::Silent(at, error) => {
                write!(f, "the GameStream server at {at} does not answer: {error}")
            }
            GameStreamError::Refused(at, call) => {
                write!(f, "the GameStream server at {at} does not know {call}")
            }
        }
    }
}

impl std::error::Error for GameStreamError {}

impl GameStream {
    /// A client for the server at this address.
    pub fn new(at: SocketAddr, call_timeout: Duration) -> GameStream {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(call_timeout))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .build();
        GameStream { agent: http_client::agent(config), at }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// The application that runs; 0: none does.
    pub fn running_app(&self) -> Result<u64, GameStreamError> {
        let xml = self.ask("/serverinfo?uniqueid=neck")?;
        let id = element(&xml, "currentgame").and_then(|text| text.trim().parse().ok());
        id.ok_or(GameStreamError::Refused(self.at, "/serverinfo"))
    }

    /// What it says of itself: its version, and its port for HTTPS.
    pub fn describe(&self) -> Result<(String, u16), GameStreamError> {
        let xml = self.ask("/serverinfo?uniqueid=neck")?;
        let text = |name| element(&xml, name).map(str::trim);
        let port = text("HttpsPort").and_then(|port| port.parse().ok());
        let version =
            text("appversion").filter(|version| !version.is_empty() && version.len() <= LONGEST_VERSION);
        match (version, port) {
            (Some(version), Some(port)) => Ok((version.to_owned(), port)),
            _ => Err(GameStreamError::Refused(self.at, "/serverinfo")),
        }
    }

    /// Makes the server forget a pairing that `client` began and will not finish. Until then it would go on waiting, though
    /// the client is gone, and take the PIN of whoever pairs next. A client that does not wait is no error.
    pub fn forget_waiting(&self, client: &str) -> Result<(), GameStreamError> {
        let none = "0".repeat(32);
        for _ in 0..PHASES {
            let xml = self.ask(&format!(
                "/pair?uniqueid={client}&devicename=roth&updateState=1&clientchallenge={none}"
            ))?;
            if !is_fine(&xml) {
                break;
            }
        }
        Ok(())
    }

    /// Unpairs `client`, where the server knows such a call: Sunshine does not.
    pub fn unpair(&self, client: &str) -> Result<(), GameStreamError> {
        let xml = self.ask(&format!("/unpair?uniqueid={client}"))?;
        if is_fine(&xml) { Ok(()) } else { Err(GameStreamError::Refused(self.at, "/unpair")) }
    }

    fn ask(&self, path: &str) -> Result<String, GameStreamError> {
        let silent = |error: ureq::Error| GameStreamError::Silent(self.at, error.to_string());
        let mut reply = self.agent.get(format!("http://{}{path}", self.at)).call().map_err(silent)?;
        reply.body_mut().with_config().limit(REPLY_LIMIT).lossy_utf8(true).read_to_string().map_err(silent)
    }
}

/// Whether the root says 200: errors come as XML in a reply of status 200.
fn is_fine(xml: &str) -> bool {
    xml.contains("status_code=\"200\"")
}

/// The text of the first such element.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_and_an_error_told_from_an_answer() {
        let xml = "<root status_code=\"200\"><currentgame>77</currentgame><x/></root>";
        assert_eq!(element(xml, "currentgame"), Some("77"));
        assert_eq!(element(xml, "state"), None);
        assert!(is_fine(xml));
        assert!(!is_fine("<root status_code=\"404\" status_message=\"Not Found\"/>"));
    }
}
