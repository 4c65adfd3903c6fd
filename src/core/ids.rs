//! Newtypes for what must not be mixed up: session ids, worker ids, bodies, ports.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::ip_forms;

/// Bytes of entropy in a [`SessionId`]: 128 bits, because the id is the browser's only credential.
pub const SESSION_ID_BYTES: usize = 16;

/// How many characters of a session id a log or an unauthenticated reply may show.
pub const SESSION_ID_SHOWN: usize = 8;

/// The name of a session and the browser's only credential for it: 32 lower-case hexadecimal digits.
///
/// `Display` and `Debug` print the first [`SESSION_ID_SHOWN`] characters only; [`SessionId::expose`] is the
/// deliberate way to the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// Makes an id from fresh entropy.
    pub fn from_entropy(entropy: [u8; SESSION_ID_BYTES]) -> SessionId {
        SessionId(entropy.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The whole id. Never goes into a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part that logs and unauthenticated replies show.
    pub fn short(&self) -> &str {
        &self.0[..SESSION_ID_SHOWN]
    }
}

/// A path as a log may show it: without a query, and without the end of whatever may be a session's link.
pub fn shown_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let shown = |segment: &str| match segment.len() > SESSION_ID_SHOWN && is_hex(segment) {
        true => format!("{}…", &segment[..SESSION_ID_SHOWN]),
        false => segment.to_owned(),
    };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<SessionId, InvalidId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 2 * SESSION_ID_BYTES && text.bytes().all(hex) {
            Ok(SessionId(text.to_owned()))
        } else {
            Err(InvalidId("a session id is 32 lower-case hexadecimal digits"))
        }
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<SessionId, InvalidId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.short())
    }
}

/// The name of a worker: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(String);

impl WorkerId {
    /// Longest name that is accepted, in characters.
    pub const MAX_LEN: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a worker that has not been given one yet.
    pub fn unnamed() -> WorkerId {
        WorkerId("unnamed".into())
    }

    /// A random name.
    pub fn from_entropy(entropy: [u8; 8]) -> WorkerId {
        WorkerId(format!("worker-{:016x}", u64::from_be_bytes(entropy)))
    }
}

impl FromStr for WorkerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<WorkerId, InvalidId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !text.is_empty() && text.len() <= Self::MAX_LEN && text.bytes().all(allowed) {
            Ok(WorkerId(text.to_owned()))
        } else {
            Err(InvalidId("a worker id is 1 to 64 characters out of A-Z a-z 0-9 . _ -"))
        }
    }
}

impl TryFrom<String> for WorkerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<WorkerId, InvalidId> {
        text.parse()
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> String {
        id.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a body. Every form of an IPv4 address is stored as IPv4, so that one body has one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "IpAddr", into = "IpAddr")]
pub struct BodyAddr(IpAddr);

impl BodyAddr {
    /// The address.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for BodyAddr {
    fn from(ip: IpAddr) -> BodyAddr {
        BodyAddr(ip_forms::plain(ip))
    }
}

impl From<BodyAddr> for IpAddr {
    fn from(body: BodyAddr) -> IpAddr {
        body.0
    }
}

impl FromStr for BodyAddr {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<BodyAddr, InvalidId> {
        let ip = text.parse::<IpAddr>().map_err(|_| InvalidId("a body is an IPv4 or IPv6 address"))?;
        Ok(BodyAddr::from(ip))
    }
}

impl fmt::Display for BodyAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A TCP port of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port(pub u16);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Says what a name should have looked like. It never holds the offending text, which may be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId(pub &'static str);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidId {}

/// An address in a form fit for a URL: IPv6 in brackets.
pub fn url_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => bracketed(v6),
    }
}

fn bracketed(v6: Ipv6Addr) -> String {
    format!("[{v6}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_whole_ids_and_queries() {
        let id = "0123456789abcdef0123456789abcdef";
        for (path, shown) in [
            (format!("/session/{id}/whep/{id}?token=x"), "/session/01234567…/whep/01234567…"),
            (format!("/session/{}/", id.to_uppercase()), "/session/01234567…/"),
            (format!("/session/{}#x", &id[..31]), "/session/01234567…"),
            ("/api/v1/workers/worker-1/drain".to_owned(), "/api/v1/workers/worker-1/drain"),
            (String::new(), ""),
        ] {
            assert_eq!(shown_path(&path), shown);
        }
    }

    #[test]
    fn a_session_id_shows_eight_characters_only() {
        let id = SessionId::from_entropy([0xab; SESSION_ID_BYTES]);
        assert_eq!(id.expose(), "ab".repeat(16));
        assert_eq!(id.to_string(), "abababab");
        assert_eq!(format!("{id:?}"), "SessionId(abababab…)");
    }

    // SPEC 5: A session id has 128 random bits; logs show 8 characters
    // Also: `a_session_id_shows_eight_characters_only`
    #[test]
    fn a_session_id_is_exactly_32_lower_case_hex_digits() {
        for bad in [
            "",
            "ab",
            &"AB".repeat(16),
            &"ab".repeat(17),
            &"g0".repeat(16),
            "../../../../../../../../../../etc",
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?} was accepted");
        }
        assert!("0123456789abcdef0123456789abcdef".parse::<SessionId>().is_ok());
    }

    #[test]
    fn a_mapped_body_address_is_the_same_body() {
        let plain: BodyAddr = "10.10.0.7".parse().unwrap();
        let mapped: BodyAddr = "::ffff:10.10.0.7".parse().unwrap();
        assert_eq!(plain, mapped);
        for form in ["::10.10.0.7", "64:ff9b::10.10.0.7", "2002:a0a:7::1"] {
            assert_eq!(form.parse::<BodyAddr>().unwrap(), plain, "{form}");
        }
        for spelling in ["0x0a0a0007", "168427527", "10.10.7", "010.10.0.7", "10.10.0.7:80", "fe80::1%eth0"] {
            assert!(spelling.parse::<BodyAddr>().is_err(), "{spelling}");
        }
    }

    #[test]
    fn a_worker_id_cannot_carry_a_path_or_a_control_character() {
        for bad in ["", "a/b", "a b", "a\nb", &"x".repeat(65)] {
            assert!(bad.parse::<WorkerId>().is_err(), "{bad:?} was accepted");
        }
    }
}
