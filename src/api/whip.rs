//! HTTP of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): what the endpoints say and how they judge conditions.
//!
//! Text and decisions only; who asks, and what becomes of the media, is decided elsewhere.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::edge::http1::reason::reason;

/// Media type of offers and answers.
pub const SDP_TYPE: &str = "application/sdp";

/// Media type of what `PATCH` takes and gives (RFC 8840).
pub const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Media type of errors (RFC 9457).
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// What a browser of another origin may send and read. The endpoints know no cookies, so any origin may ask: the
/// unguessable id or the bearer token protects them.
pub const CORS: &[(&str, &str)] = &[
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "OPTIONS, GET, HEAD, POST, PATCH, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match"),
    ("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After"),
];

/// Whether a `Content-Type` names this media type; parameters do not matter (RFC 9110, 8.3.1).
pub fn is_media_type(field: Option<&str>, wanted: &str) -> bool {
    let essence = field.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}

/// The strong entity tag of an ICE session, with its quotes (RFC 9110, 8.8.3; RFC 9725, 4.3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// A tag nobody has seen, from fresh entropy.
    pub fn from_entropy(entropy: [u8; 8]) -> EntityTag {
        EntityTag(format!("\"{:016x}\"", u64::from_be_bytes(entropy)))
    }

    /// As it stands in a field.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an `If-Match` list names it. Weak tags never match (RFC 9110, 8.8.3.2).
    fn is_in(&self, list: &str) -> bool {
        list.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == self.0)
    }
}

impl fmt::Debug for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a `PATCH` wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// More candidates of the ICE session that is.
    Trickle,
    /// A new ICE session: user name and password changed.
    Restart,
}

/// Judges a `PATCH`. What it wants is told by the user fragment, not by `If-Match: *`: players send that for plain trickle
/// too. A fragment without one speaks of the session that is.
pub fn judge_patch(
    if_match: Option<&str>,
    current: &EntityTag,
    known_ufrag: &str,
    ufrag: Option<&str>,
) -> Result<Change, Problem> {
    let Some(list) = if_match else {
        return Err(Problem::new(428, "send If-Match with the ETag of the last answer"));
    };
    if !current.is_in(list) {
        return Err(Problem::new(412, "the ICE session has changed since; If-Match names an older one"));
    }
    match ufrag {
        Some(ufrag) if ufrag != known_ufrag => Ok(Change::Restart),
        _ => Ok(Change::Trickle),
    }
}

/// One `Link` field that tells of a STUN or TURN server (RFC 9725, 4.6): the URL as it is, texts with `"` and `\` escaped.
/// `None` when a part cannot stand in a field.
pub fn ice_server_link(url: &str, username: Option<&str>, credential: Option<&str>) -> Option<String> {
    let fine = |text: &str| text.chars().all(|c| !c.is_control() && c.is_ascii());
    let url_fine = fine(url) && !url.contains(['<', '>', ' ']);
    if !url_fine || !username.into_iter().chain(credential).all(fine) {
        return None;
    }
    let mut link = format!("<{url}>; rel=\"ice-server\"");
    if let (Some(username), Some(credential)) = (username, credential) {
        link.push_str(&format!(
            "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
            quoted(username),
            quoted(credential)
        ));
    }
    Some(link)
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// An error as RFC 9457 writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
    /// When to ask again.
    pub retry_after: Option<Duration>,
    /// The stable name of the limit that was met.
    pub limit: Option<&'static str>,
}

impl Problem {
    /// A problem that asking again does not solve.
    pub fn new(status: u16, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), retry_after: None, limit: None }
    }

    /// A problem that may be over after this time.
    pub fn again_after(status: u16, detail: impl Into<String>, pause: Duration) -> Problem {
        Problem { retry_after: Some(pause), ..Problem::new(status, detail) }
    }

    /// The same because this limit was met.
    pub fn of_limit(self, name: &'static str) -> Problem {
        Problem { limit: Some(name), ..self }
    }

    /// The document. Its type is `about:blank`, so its title is the status' phrase. `limit` is a member of ours.
    pub fn document(&self) -> String {
        Value::Object(self.members()).to_string()
    }

    /// Its members.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("type".into(), "about:blank".into());
        members.insert("title".into(), reason(self.status).into());
        members.insert("status".into(), self.status.into());
        members.insert("detail".into(), self.detail.clone().into());
        if let Some(limit) = self.limit {
            members.insert("limit".into(), limit.into());
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> EntityTag {
        EntityTag::from_entropy([0, 0, 0, 0, 0, 0, 0x12, 0xAB])
    }

    #[test]
    fn a_media_type_is_told_without_its_parameters_and_whatever_its_case() {
        for good in
            ["application/sdp", "Application/SDP", "application/sdp; charset=utf-8", " application/sdp ;"]
        {
            assert!(is_media_type(Some(good), SDP_TYPE), "{good:?}");
        }
        for bad in ["", "application/sdpx", "text/plain", "application/json; application/sdp"] {
            assert!(!is_media_type(Some(bad), SDP_TYPE), "{bad:?}");
        }
        assert!(!is_media_type(None, SDP_TYPE));
    }

    #[test]
    fn a_patch_without_a_condition_is_428_and_with_a_stale_one_412() {
        let status =
            |field| judge_patch(field, &tag(), "abcd", Some("abcd")).map_err(|problem| problem.status);
        assert_eq!(tag().as_str(), "\"00000000000012ab\"");
        assert_eq!(status(None), Err(428));
        assert_eq!(status(Some("\"0000000000000000\"")), Err(412));
        assert_eq!(status(Some("00000000000012ab")), Err(412), "a tag has quotes");
        assert_eq!(status(Some("W/\"00000000000012ab\"")), Err(412), "a weak tag never matches");
        assert_eq!(status(Some("\"x\", \"00000000000012ab\"")), Ok(Change::Trickle));
    }

    #[test]
    fn a_restart_is_told_by_its_user_fragment_and_not_by_the_star() {
        for field in ["*", "\"00000000000012ab\""] {
            let judged = |ufrag| judge_patch(Some(field), &tag(), "abcd", ufrag);
            assert_eq!(judged(Some("abcd")), Ok(Change::Trickle), "{field}");
            assert_eq!(judged(None), Ok(Change::Trickle), "{field}");
            assert_eq!(judged(Some("wxyz")), Ok(Change::Restart), "{field}");
        }
    }

    #[test]
    fn a_link_escapes_quotes_and_nothing_else() {
        let link = ice_server_link("turn:host:3478?transport=udp", Some("1700:a\"b"), Some("p\\q=="));
        let expected = "<turn:host:3478?transport=udp>; rel=\"ice-server\"; username=\"1700:a\\\"b\"; \
                        credential=\"p\\\\q==\"; credential-type=\"password\"";
        assert_eq!(link.as_deref(), Some(expected));
        let stun = ice_server_link("stun:host:3478", None, None);
        assert_eq!(stun.as_deref(), Some("<stun:host:3478>; rel=\"ice-server\""));
        assert_eq!(ice_server_link("stun:a>b", None, None), None);
        assert_eq!(ice_server_link("turn:a", Some("a\r\nSet-Cookie: b"), Some("c")), None);
    }

    #[test]
    fn a_problem_is_a_document_of_rfc_9457() {
        let problem = Problem::again_after(503, "full", Duration::from_secs(3));
        let value: serde_json::Value = serde_json::from_str(&problem.document()).unwrap();
        assert_eq!(value["type"], "about:blank");
        assert_eq!(value["title"], "Service Unavailable");
        assert_eq!((value["status"].as_u64(), value["detail"].as_str()), (Some(503), Some("full")));
        assert!(value.get("limit").is_none(), "{value}");
        let named: serde_json::Value =
            serde_json::from_str(&problem.of_limit("webrtc.max_peers").document()).unwrap();
        assert_eq!(named["limit"], "webrtc.max_peers");
    }
}
