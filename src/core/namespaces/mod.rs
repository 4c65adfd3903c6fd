//! Namespaces: who may use rooms and relays, apart from everybody else. Names, roles, and what is known of one.
//!
//! A namespace is made by an operator on the controller. Its tokens open its own rooms and nothing else; its TURN secret signs
//! its own credentials. The controller keeps it, and copies it to the workers that serve its rooms ([`state::NamespaceState`] is
//! both forms), so that a worker knows whom to admit also when it starts without the controller.

pub mod access;
pub mod bearer;
pub mod placement;
pub mod records;
pub mod relays;
pub mod state;
pub mod stored;
pub mod turn_secrets;
pub mod wire;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::ids::InvalidId;
use crate::core::turn::credentials::NAMESPACE;

/// The name of a namespace: a part of a host name (`ns-NAME.example.com`), so 1 to [`NamespaceName::MAX_LEN`] characters out of
/// `a-z 0-9 -`, with no hyphen at either end. The name that sessions' own TURN credentials use is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamespaceName(String);

/// How the first label of a host name begins that belongs to one namespace.
const HOST_PREFIX: &str = "ns-";

impl NamespaceName {
    /// Longest name: with `ns-` before it it must fit a label of the DNS (63 bytes, RFC 1035, 2.3.4).
    pub const MAX_LEN: usize = 60;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request for this host (maybe with a port) may be for this namespace: a host whose first label is `ns-X` is for
    /// X and nobody else, every other host is for all.
    pub fn may_be_asked_at(&self, host: &str) -> bool {
        let label = host.split(['.', ':']).next().unwrap_or_default().to_ascii_lowercase();
        label.strip_prefix(HOST_PREFIX).is_none_or(|name| name == self.0)
    }

    /// The host whose addresses are the relays of this namespace, below a domain.
    pub fn relay_host(&self, base_domain: &str) -> String {
        format!("turn.{HOST_PREFIX}{}.{base_domain}", self.0)
    }

    /// The host by which pages of this namespace reach us, below a domain.
    pub fn page_host(&self, base_domain: &str) -> String {
        format!("{HOST_PREFIX}{}.{base_domain}", self.0)
    }
}

impl FromStr for NamespaceName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<NamespaceName, InvalidId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN && text.bytes().all(allowed);
        if !fits || text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidId(
                "a namespace is 1 to 60 characters out of a-z 0-9 -, with no hyphen at either end",
            ));
        }
        if text == NAMESPACE {
            return Err(InvalidId("this name is used for sessions' own TURN credentials; choose another"));
        }
        Ok(NamespaceName(text.to_owned()))
    }
}

impl TryFrom<String> for NamespaceName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<NamespaceName, InvalidId> {
        text.parse()
    }
}

impl From<NamespaceName> for String {
    fn from(name: NamespaceName) -> String {
        name.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a room within its namespace: 1 to 128 printable ASCII characters, no blanks. One rule for REST, the query of the
/// signalling address, and `join`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomId(String);

impl RoomId {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks a name.
    pub fn parse(text: &str) -> Result<RoomId, InvalidId> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(RoomId(text.to_owned()))
        } else {
            Err(InvalidId("a room id is 1 to 128 printable ASCII characters without blanks"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<RoomId, InvalidId> {
        RoomId::parse(text)
    }
}

impl TryFrom<String> for RoomId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<RoomId, InvalidId> {
        RoomId::parse(&text)
    }
}

impl From<RoomId> for String {
    fn from(id: RoomId) -> String {
        id.0
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a token's bearer may do in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomRole {
    /// Everything a member may, and make and close rooms.
    Owner,
    /// Join rooms, list them, get TURN credentials.
    Member,
}

impl RoomRole {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            RoomRole::Owner => "owner",
            RoomRole::Member => "member",
        }
    }

    /// Whether rooms are its to make and close.
    pub fn may_manage_rooms(self) -> bool {
        self == RoomRole::Owner
    }
}

impl FromStr for RoomRole {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<RoomRole, InvalidId> {
        match text {
            "owner" => Ok(RoomRole::Owner),
            "member" => Ok(RoomRole::Member),
            _ => Err(InvalidId("a role is owner or member")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 10: A namespace is a part of a host name, a room 1 to 128 printable ASCII characters:
    // one rule everywhere
    // Also: `a_room_is_named_by_printable_ascii`
    #[test]
    fn a_namespace_is_a_part_of_a_host_name() {
        for good in ["a", "myapp", "my-app-2", "0", &"x".repeat(60)] {
            assert!(good.parse::<NamespaceName>().is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "My", "a.b", "a_b", "a b", "ä", "../x", "a/b", "a\n", "neck", &"x".repeat(61)]
        {
            assert!(bad.parse::<NamespaceName>().is_err(), "{bad:?} was accepted");
        }
        assert!(serde_json::from_str::<NamespaceName>("\"../x\"").is_err());
    }

    #[test]
    fn a_host_of_one_namespace_is_for_no_other() {
        let ours: NamespaceName = "myapp".parse().unwrap();
        for host in [
            "ns-myapp.example.com",
            "NS-MyApp.example.com:8443",
            "ns-myapp",
            "example.com",
            "nsx.example.com",
            "127.0.0.1:80",
            "[::1]:80",
            "",
        ] {
            assert!(ours.may_be_asked_at(host), "{host}");
        }
        for host in
            ["ns-other.example.com", "ns-myapp2.example.com", "ns-.example.com", "ns-other:80", "NS-OTHER.x"]
        {
            assert!(!ours.may_be_asked_at(host), "{host}");
        }
        assert_eq!(ours.relay_host("example.com"), "turn.ns-myapp.example.com");
        assert_eq!(ours.page_host("example.com"), "ns-myapp.example.com");
    }

    // SPEC 10 contract: A room's name: 1 to 128 printable ASCII characters without blanks, at REST,
    // in the query and in `join`; another one in `join` than in the query is `room_mismatch` and
    // the end
    // Also: `a_room_is_asked_for_by_one_rule_in_body_and_query`,
    // `the_room_of_the_address_is_decoded_and_judged`,
    // `a_first_message_that_is_no_join_ends_the_connection_with_its_code`
    #[test]
    fn a_room_is_named_by_printable_ascii() {
        for good in ["r", "Room-1", "a/b?c=%20&d", "~!@#$%^&*()", &"x".repeat(128)] {
            assert_eq!(RoomId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\t", "a\n", "\u{7f}", "é", "\u{200b}", &"x".repeat(129)] {
            assert!(RoomId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(serde_json::from_str::<RoomId>("\"a b\"").is_err());
    }

    #[test]
    fn only_owners_manage_rooms() {
        assert!("owner".parse::<RoomRole>().unwrap().may_manage_rooms());
        assert!(!"member".parse::<RoomRole>().unwrap().may_manage_rooms());
        assert!("Owner".parse::<RoomRole>().is_err());
        assert_eq!(serde_json::to_string(&RoomRole::Owner).unwrap(), "\"owner\"");
    }
}
