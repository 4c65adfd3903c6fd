//! What an authority says, read with suspicion: sizes are bounded, URLs are HTTPS, tokens are tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::core::wall_time::WallTime;

/// Largest reply that is read, in bytes: a chain of certificates has less than 20 KiB.
pub const MAX_REPLY_BYTES: u64 = 256 * 1024;

/// Longest URL.
const MAX_URL_BYTES: usize = 2048;

/// Longest token of a challenge: 128 bits at least are demanded (RFC 8555, 8.1), 256 are usual.
const MAX_TOKEN_BYTES: usize = 256;

/// Authorizations of one order; there is one for each name.
const MAX_AUTHORIZATIONS: usize = 100;

/// Challenges of one authorization.
const MAX_CHALLENGES: usize = 20;

/// A reply to a call.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Replay-Nonce`
    pub nonce: Option<String>,
    /// `Location`
    pub location: Option<String>,
    /// `Retry-After`
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A URL that may be called.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CallUrl(String);

impl CallUrl {
    /// `None`: it is no `https://` URL of printable ASCII, or too long.
    pub fn new(text: &str) -> Option<CallUrl> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let host = text.strip_prefix("https://")?;
        let fits = text.len() <= MAX_URL_BYTES
            && printable
            && !host.starts_with(['/', '?', '#'])
            && !host.is_empty();
        fits.then(|| CallUrl(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CallUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<CallUrl, &'static str> {
        CallUrl::new(&text).ok_or("a URL that is not https:// or not printable")
    }
}

/// The directory (RFC 8555, 7.1.1; RFC 9773, 4.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Where a first nonce comes from.
    pub new_nonce: CallUrl,
    /// Where accounts are made.
    pub new_account: CallUrl,
    /// Where orders are made.
    pub new_order: CallUrl,
    /// Where renewal information is read.
    #[serde(default)]
    pub renewal_info: Option<CallUrl>,
    /// About the authority.
    #[serde(default)]
    pub meta: Meta,
}

/// About the authority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Accounts must be bound to one that was given beforehand.
    #[serde(default)]
    pub external_account_required: bool,
    /// Kinds of certificates: name and what is said of each.
    #[serde(default)]
    pub profiles: BTreeMap<String, Value>,
}

/// An account (RFC 8555, 7.1.2).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Account {
    /// `valid`, `deactivated` or `revoked`.
    #[serde(default)]
    pub status: String,
    /// Where its orders are listed, where the authority does that.
    #[serde(default)]
    pub orders: Option<CallUrl>,
}

/// A list of orders (RFC 8555, 7.1.2.1).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Orders {
    /// Their URLs.
    #[serde(default)]
    pub orders: Vec<CallUrl>,
}

/// The states of an order and of what belongs to it (RFC 8555, 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Something is expected of us.
    Pending,
    /// All is proved.
    Ready,
    /// The authority is at work.
    Processing,
    /// It is done.
    Valid,
    /// It failed.
    Invalid,
    /// It is gone, for one reason or another.
    #[serde(alias = "deactivated", alias = "expired", alias = "revoked")]
    Gone,
}

/// A name that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identifier {
    /// `dns` or `ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name.
    pub value: String,
}

/// An order (RFC 8555, 7.1.3).
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// Its state.
    pub status: Status,
    /// What it is for.
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    /// Where each name's authorization is.
    #[serde(default)]
    pub authorizations: Vec<CallUrl>,
    /// Where the request for the certificate goes.
    pub finalize: CallUrl,
    /// Where the certificate is, once there is one.
    #[serde(default)]
    pub certificate: Option<CallUrl>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Problem>,
}

/// An authorization (RFC 8555, 7.1.4).
#[derive(Clone, Debug, Deserialize)]
pub struct Authorization {
    /// Its state.
    pub status: Status,
    /// What is proved.
    pub identifier: Identifier,
    /// How it may be proved.
    #[serde(default)]
    pub challenges: Vec<Challenge>,
}

/// A challenge (RFC 8555, 7.1.5).
#[derive(Clone, Debug, Deserialize)]
pub struct Challenge {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub url: CallUrl,
    /// Its state.
    pub status: Status,
    /// What the answer begins with. Some kinds have none.
    #[serde(default)]
    pub token: String,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Problem>,
}

impl Challenge {
    /// Whether the token is one: it becomes a part of a path.
    pub fn has_sound_token(&self) -> bool {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=MAX_TOKEN_BYTES).contains(&self.token.len()) && self.token.bytes().all(fits)
    }
}

/// What went wrong (RFC 7807, RFC 8555 6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// `urn:ietf:params:acme:error:…`
    #[serde(default, rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub detail: String,
    /// For each name.
    #[serde(default)]
    pub subproblems: Vec<Subproblem>,
}

/// What went wrong with one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Subproblem {
    /// As of the whole.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub detail: String,
    /// Which name.
    #[serde(default)]
    pub identifier: Option<Identifier>,
}

impl Problem {
    /// The last part of its kind, like `rateLimited`.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default()
    }
}

/// When a certificate is to be renewed (RFC 9773, 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    /// The window's first second.
    pub start: WallTime,
    /// Its last one.
    pub end: WallTime,
    /// Where people read why.
    pub explanation: Option<String>,
}

/// The directory of a reply.
pub fn directory(body: &[u8]) -> Option<Directory> {
    serde_json::from_slice(body).ok()
}

/// The account of a reply.
pub fn account(body: &[u8]) -> Option<Account> {
    serde_json::from_slice(body).ok()
}

/// The list of orders of a reply.
pub fn orders(body: &[u8]) -> Option<Orders> {
    serde_json::from_slice(body).ok()
}

/// The order of a reply.
pub fn order(body: &[u8]) -> Option<Order> {
    serde_json::from_slice::<Order>(body)
        .ok()
        .filter(|order| order.authorizations.len() <= MAX_AUTHORIZATIONS)
}

/// The authorization of a reply.
pub fn authorization(body: &[u8]) -> Option<Authorization> {
    let found = serde_json::from_slice::<Authorization>(body).ok();
    found.filter(|found| found.challenges.len() <= MAX_CHALLENGES)
}

/// The problem of a reply; an empty one where it is none.
pub fn problem(body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The renewal information of a reply. A window that ends before it begins is none (RFC 9773, 4.2).
pub fn renewal_info(body: &[u8]) -> Option<RenewalInfo> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let at = |name: &str| WallTime::from_rfc3339(value["suggestedWindow"][name].as_str()?);
    let explanation = value["explanationURL"].as_str().and_then(CallUrl::new).map(|url| url.0);
    let (start, end) = (at("start")?, at("end")?);
    (start < end).then_some(RenewalInfo { start, end, explanation })
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 2: Only `https://` URLs are called, and a token that could lead elsewhere is none
    // Also: `a_token_that_could_lead_elsewhere_is_none`
    #[test]
    fn only_https_urls_are_called() {
        for good in ["https://ca.example/dir", "https://[::1]:14000/dir?a=b"] {
            assert!(CallUrl::new(good).is_some(), "{good}");
        }
        for bad in
            ["http://ca.example/", "https://", "https:///x", "https://a b", "file:///etc/passwd", "https://é"]
        {
            assert_eq!(CallUrl::new(bad), None, "{bad}");
        }
        let order = br#"{"status":"ready","finalize":"http://ca.example/f"}"#;
        assert!(super::order(order).is_none());
    }

    #[test]
    fn a_token_that_could_lead_elsewhere_is_none() {
        let challenge = |token: &str| {
            let text =
                format!(r#"{{"type":"http-01","url":"https://a.b/c","status":"pending","token":"{token}"}}"#);
            serde_json::from_str::<Challenge>(&text).expect("a challenge").has_sound_token()
        };
        assert!(challenge("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"));
        for bad in ["", "../../etc", "a/b", "a.b", "a b", &"a".repeat(300)] {
            assert!(!challenge(bad), "{bad}");
        }
    }

    #[test]
    fn a_window_is_read_and_an_impossible_one_is_not() {
        let info = |start: &str, end: &str| {
            renewal_info(
                format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}},"explanationURL":"https://a.b/why"}}"#)
                    .as_bytes(),
            )
        };
        let found = info("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z").expect("a window");
        assert_eq!(found.end.since(found.start), 86_400);
        assert_eq!(found.explanation.as_deref(), Some("https://a.b/why"));
        assert_eq!(info("2025-01-03T04:00:00Z", "2025-01-02T04:00:00Z"), None);
        assert_eq!(info("soon", "later"), None);
    }
}
