//! What workers and the controller say to each other of rooms, as a part of heartbeats and their replies.
//!
//! A worker says which copies it has, by their digests; the controller's reply brings those that differ. So whatever is lost on
//! the way comes with the next beat, and a reply of a quiet fleet carries nothing.

use serde::{Deserialize, Serialize};

use super::state::NamespaceState;
use super::{NamespaceName, RoomId};

/// Rooms that one beat may list: a worker with more reports the largest.
pub const MAX_ROOMS_LISTED: usize = 2_000;

/// Namespaces that one beat may list.
pub const MAX_NAMESPACES_LISTED: usize = 2_000;

/// TURN URLs of one worker that are used.
pub const MAX_URLS: usize = 16;

/// Longest of them in bytes.
pub const MAX_URL: usize = 256;

/// Tokens in the copies of one reply, together: some 400 KiB. What does not fit comes with the next beat.
pub const MAX_TOKENS_COPIED: usize = 2_000;

/// Copies in one reply.
pub const MAX_COPIES: usize = 64;

/// What a worker that holds rooms says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomsReport {
    /// `turn.urls`: its own TURN servers; none where it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turn_urls: Vec<String>,
    /// The first and the last UDP port of its rooms' media; `None`: the kernel chooses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_ports: Option<(u16, u16)>,
    /// The namespaces that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<HeldNamespace>,
    /// Its rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<RoomBrief>,
}

/// A copy that a worker has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldNamespace {
    /// Of which namespace.
    pub name: NamespaceName,
    /// [`NamespaceState::digest`].
    pub digest: String,
    /// Its rooms are served there.
    #[serde(default)]
    pub sfu_up: bool,
    /// Its credentials were good for a relay when it was last tried; `None`: not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_up: Option<bool>,
}

/// A room as its worker lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomBrief {
    /// Whose.
    pub ns: NamespaceName,
    /// Which.
    pub id: RoomId,
    /// Members.
    pub peers: u32,
    /// Seconds since 1970.
    #[serde(default)]
    pub created_at: u64,
}

/// What the controller replies: copies to take, and namespaces to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomsReply {
    /// Copies that the worker lacks, or has in another state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<NamespaceState>,
    /// Namespaces that it does not serve any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<NamespaceName>,
}

impl RoomsReply {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.dropped.is_empty()
    }
}

impl RoomsReport {
    /// Leaves out what is more than a beat may have, and what is no TURN URL: a worker's word is not ours.
    pub fn bounded(mut self) -> RoomsReport {
        let fits = |url: &String| {
            let scheme = url.starts_with("turn:") || url.starts_with("turns:");
            scheme && url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic())
        };
        self.turn_urls.retain(fits);
        self.turn_urls.truncate(MAX_URLS);
        self.namespaces.truncate(MAX_NAMESPACES_LISTED);
        self.rooms.truncate(MAX_ROOMS_LISTED);
        self
    }

    /// Members of the rooms of a namespace.
    pub fn peers(&self, ns: &NamespaceName) -> u32 {
        self.rooms.iter().filter(|room| room.ns == *ns).map(|room| room.peers).sum()
    }

    /// The copy of a namespace.
    pub fn held(&self, ns: &NamespaceName) -> Option<&HeldNamespace> {
        self.namespaces.iter().find(|held| held.name == *ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_bounded_whatever_a_worker_sends() {
        let room = RoomBrief { ns: "a".parse().unwrap(), id: "r".parse().unwrap(), peers: 2, created_at: 0 };
        let urls = ["turn:a", "http://x", "turns:b c", "turns:b"].map(str::to_owned);
        let report = RoomsReport {
            turn_urls: urls.into_iter().chain([format!("turn:{}", "x".repeat(300))]).collect(),
            rooms: vec![room; MAX_ROOMS_LISTED + 5],
            ..RoomsReport::default()
        };
        let report = report.bounded();
        assert_eq!(report.turn_urls, ["turn:a", "turns:b"]);
        assert_eq!(report.rooms.len(), MAX_ROOMS_LISTED);
    }

    #[test]
    fn a_beat_of_a_worker_with_nothing_to_say_is_small_and_unknown_fields_are_ignored() {
        assert_eq!(serde_json::to_string(&RoomsReport::default()).unwrap(), "{}");
        let read: RoomsReport =
            serde_json::from_str(r#"{"rooms":[{"ns":"a","id":"r","peers":1,"new":true}],"later":1}"#)
                .unwrap();
        assert_eq!(read.peers(&"a".parse().unwrap()), 1);
        assert!(
            serde_json::from_str::<RoomsReport>(r#"{"rooms":[{"ns":"../a","id":"r","peers":1}]}"#).is_err()
        );
    }
}
