//! Sunshine's management API: PINs, clients and applications.
//!
//! Its quirks (read in its source): every POST needs `Content-Type: application/json`, also an empty one; a request with
//! `Origin` or `Referer` is refused; `pin` is a string; its certificate is self-signed, so this is the one client of ours
//! that verifies none, or exactly a pinned one (`body::pinned_tls`).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::pinned_tls::{self, Distrust};
use crate::config::secret::Secret;
use crate::core::fingerprint::Fingerprint;
use crate::core::ids::{BodyAddr, url_host};
use crate::host::http_client;

/// Largest reply that is read: an application list with its images' paths.
const REPLY_LIMIT: u64 = 4 << 20;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Sunshine's user.
    pub username: String,
    /// Sunshine's password.
    pub password: Secret,
}

/// A client for one body's Sunshine.
#[derive(Clone, Debug)]
pub struct Sunshine {
    agent: ureq::Agent,
    base: String,
    shown: String,
    authorization: Secret,
    username: String,
}

/// Why a call failed. The text names the machine and what to check, never a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SunshineError {
    /// No answer.
    Silent(String, String),
    /// The password is wrong.
    WrongPassword(String, String),
    /// Nobody has set a password yet.
    NoPassword(String),
    /// Another status.
    Status(String, u16),
    /// The answer makes no sense.
    Nonsense(String),
    /// Its certificate is another than the pinned one; nothing was sent.
    OtherCertificate(String, Fingerprint),
    /// It shows the pinned certificate without proving that it holds the key; nothing was sent.
    UnprovenKey(String, String),
}

impl fmt::Display for SunshineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SunshineError::Silent(at, error) => {
                write!(f, "Sunshine's management API at {at} does not answer: {error}")
            }
            SunshineError::WrongPassword(at, user) => write!(
                f,
                "Sunshine at {at} refuses user {user:?} (401): check sunshine.username and sunshine.password, or \
                 sunshine_user and sunshine_pass of the request"
            ),
            SunshineError::NoPassword(at) => write!(
                f,
                "Sunshine at {at} was just installed and has no password yet (it leads to its welcome page): open \
                 https://{at}/welcome, set one, and put it into sunshine.username and sunshine.password"
            ),
            SunshineError::Status(at, status) => {
                write!(f, "Sunshine's management API at {at} answers {status}")
            }
            SunshineError::Nonsense(at) => {
                write!(f, "Sunshine's management API at {at} answers with nonsense")
            }
            SunshineError::OtherCertificate(at, shown) => write!(
                f,
                "Sunshine at {at} presents another certificate than pinned (sha256 {shown}): if it was reinstalled, \
                 update sunshine.pin_certificates"
            ),
            SunshineError::UnprovenKey(at, why) => write!(
                f,
                "Sunshine at {at} presents the pinned certificate, but does not prove that it holds its key ({why}): \
                 check what answers at this address"
            ),
        }
    }
}

impl std::error::Error for SunshineError {}

#[derive(Deserialize)]
struct PinReply {
    status: Value,
}

/// A client that may stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PairedClient {
    /// The name that came with its PIN.
    #[serde(default)]
    pub name: String,
    /// Sunshine's name for it.
    pub uuid: String,
}

#[derive(Deserialize)]
struct ClientsReply {
    #[serde(default)]
    named_certs: Vec<PairedClient>,
}

#[derive(Deserialize)]
struct UnpairReply {
    status: Value,
}

#[derive(Deserialize)]
struct AppsReply {
    apps: Vec<Value>,
}

impl Sunshine {
    /// A client for the management API at this address and port. With a `pin`, credentials are only sent to who presents
    /// that certificate and holds its key.
    pub fn new(
        body: BodyAddr,
        port: u16,
        credentials: &Credentials,
        pin: Option<Fingerprint>,
        call_timeout: Duration,
    ) -> Sunshine {
        let config = ureq::Agent::config_builder()
            .middleware(http_client::Traced("sunshine"))
            .timeout_global(Some(call_timeout))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .build();
        let pair = format!("{}:{}", credentials.username, credentials.password.expose());
        Sunshine {
            agent: pinned_tls::agent(config, SocketAddr::new(body.ip(), port), pin),
            base: format!("https://{}:{port}", url_host(body.ip())),
            shown: format!("{}:{port}", url_host(body.ip())),
            authorization: Secret::new(format!("Basic {}", base64(pair.as_bytes()))),
            username: credentials.username.clone(),
        }
    }

    /// Gives a PIN to a waiting pairing. False: none is waiting yet, or the PIN was refused.
    pub fn give_pin(&self, pin: &str, client: &str) -> Result<bool, SunshineError> {
        let reply: PinReply = self.post("/api/pin", &json!({"pin": pin, "name": client}))?;
        Ok(is_true(&reply.status))
    }

    /// Who may stream.
    pub fn clients(&self) -> Result<Vec<PairedClient>, SunshineError> {
        let call = self.agent.get(format!("{}/api/clients/list", self.base));
        let reply: ClientsReply =
            self.read(call.header("Authorization", self.authorization.expose()).call())?;
        Ok(reply.named_certs)
    }

    /// Unpairs a client. False: there is none of this uuid.
    pub fn unpair(&self, uuid: &str) -> Result<bool, SunshineError> {
        let reply: UnpairReply = self.post("/api/clients/unpair", &json!({"uuid": uuid}))?;
        Ok(is_true(&reply.status))
    }

    /// The applications, as Sunshine has them.
    pub fn apps(&self) -> Result<Vec<Value>, SunshineError> {
        let call = self.agent.get(format!("{}/api/apps", self.base));
        let reply: AppsReply = self.read(call.header("Authorization", self.authorization.expose()).call())?;
        Ok(reply.apps)
    }

    /// Saves an application; `index` is its place in the list read last, −1 appends.
    pub fn save_app(&self, mut app: Value, index: i64) -> Result<(), SunshineError> {
        app["index"] = json!(index);
        self.post::<Value>("/api/apps", &app).map(drop)
    }

    /// Removes the application at this place of the list read last.
    pub fn delete_app(&self, index: usize) -> Result<(), SunshineError> {
        let call = self.agent.delete(format!("{}/api/apps/{index}", self.base));
        let call = call.header("Content-Type", "application/json");
        self.read::<Value>(call.header("Authorization", self.authorization.expose()).call()).map(drop)
    }

    /// Closes the running application.
    pub fn close_app(&self) -> Result<(), SunshineError> {
        self.post::<Value>("/api/apps/close", &json!({})).map(drop)
    }

    fn post<T: for<'de> Deserialize<'de>>(&self, path: &str, body: &Value) -> Result<T, SunshineError> {
        let call = self.agent.post(format!("{}{path}", self.base));
        // Not `send_json`: it adds a charset, which some versions do not take for JSON.
        let call = call.header("Content-Type", "application/json");
        self.read(call.header("Authorization", self.authorization.expose()).send(body.to_string().as_bytes()))
    }

    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, SunshineError> {
        let at = || self.shown.clone();
        let mut reply = sent.map_err(|error| match pinned_tls::distrust(&error).cloned() {
            Some(Distrust::OtherCertificate(shown)) => SunshineError::OtherCertificate(at(), shown),
            Some(Distrust::UnprovenKey(why)) => SunshineError::UnprovenKey(at(), why),
            None => SunshineError::Silent(at(), error.to_string()),
        })?;
        match reply.status().as_u16() {
            200..=299 => {}
            401 => return Err(SunshineError::WrongPassword(at(), self.username.clone())),
            300..=399 if leads_to_welcome(&reply) => return Err(SunshineError::NoPassword(at())),
            status => return Err(SunshineError::Status(at(), status)),
        }
        let body = reply.body_mut().with_config().limit(REPLY_LIMIT).read_json();
        body.map_err(|error| match error {
            ureq::Error::Json(_) => SunshineError::Nonsense(at()),
            other => SunshineError::Silent(at(), other.to_string()),
        })
    }
}

/// Some versions answer with the word.
fn is_true(status: &Value) -> bool {
    *status == true || *status == "true"
}

/// Every call to an installation without a password does.
fn leads_to_welcome(reply: &ureq::http::Response<ureq::Body>) -> bool {
    let to = reply.headers().get("Location").and_then(|to| to.to_str().ok());
    to.is_some_and(|to| to.trim_end_matches('/').ends_with("/welcome"))
}

/// Base64 with padding (RFC 4648, section 4), for HTTP Basic.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn no_password_is_shown() {
        let credentials = Credentials { username: "u".into(), password: Secret::new("canary") };
        let body = "10.0.0.1".parse().unwrap();
        let client = Sunshine::new(body, 47990, &credentials, None, Duration::from_secs(1));
        let shown = format!("{client:?} {credentials:?}");
        assert!(!shown.contains("canary") && !shown.contains(&base64(b"u:canary")), "{shown}");
    }
}
