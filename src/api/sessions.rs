//! What both roles say of sessions in the same words.
//!
//! A session has two links of one form. The owner's (`stream_url`) plays, quits, rates and speaks; the viewers' (`view_url`,
//! media engines only) plays and does nothing else. Neither tells the other: both ids are random.

use serde_json::{Value, json};

use crate::api::reply::Answer;
use crate::api::types::SessionView;
use crate::core::ids::SessionId;

/// By which of a session's two links somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that may do everything.
    Owner,
    /// The one that only watches.
    Viewer,
}

/// What to open in a browser, below the outside URL `base`: the link of this id.
pub fn link_url(base: &str, id: &SessionId) -> String {
    format!("{base}/session/{}/", id.expose())
}

/// The id of a link that [`link_url`] made.
pub fn id_of_link(url: &str) -> Option<SessionId> {
    url.strip_suffix('/')?.rsplit_once("/session/")?.1.parse().ok()
}

/// 403 for what a link that only watches was asked. Not 404: who was given the link knows that the stream is there, and the
/// words tell what to ask for instead.
pub fn only_watches() -> Answer {
    Answer::error(403, "this link only watches", ONLY_WATCHES)
}

/// What to do about it.
pub const ONLY_WATCHES: &str =
    "it plays the stream and does nothing else; whoever made the session has the link that may do this";

/// The fields of a session that are links.
const LINKS: [&str; 2] = ["stream_url", "view_url"];

/// A list of sessions. Links, and the ids they are made of, are for those who administer: whoever has one has the session.
pub fn listed(views: &[SessionView], next: Option<String>, admin: bool) -> Answer {
    let page = |list: Value| {
        let mut page = json!({"sessions": list});
        if let Some(next) = next {
            page["next"] = next.into();
        }
        Answer::json(200, &page)
    };
    if admin {
        return page(json!(views));
    }
    let without_links = |view: &SessionView| {
        let (mut value, short) = (json!(view), view.id.short());
        if let Some(fields) = value.as_object_mut() {
            LINKS.iter().for_each(|name| drop(fields.remove(*name)));
            fields.insert("id".to_owned(), json!(short));
        }
        value
    };
    let list: Vec<Value> = views.iter().map(without_links).collect();
    page(json!(list))
}

/// What sessions are ordered by in pages, for those who may see so much of an id.
pub fn page_key(id: &SessionId, admin: bool) -> &str {
    if admin { id.expose() } else { id.short() }
}

/// 400 for what a list was asked.
pub fn bad_listing(why: String) -> Answer {
    Answer::error(400, "bad request", why)
}

/// 404 for an id nobody knows.
pub fn unknown() -> Answer {
    Answer::error(404, "no such session", "it ended, or never existed")
}

/// 409 for a body that has a session.
pub fn body_taken(holder: &SessionId) -> Answer {
    let detail = "this body already has a session; delete that one first, or send \"replace\": true";
    Answer::error_with(409, "body already has a session", detail, json!({"session_id": holder}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_id_is_read_back_from_its_url() {
        let id = SessionId::from_entropy([0x5a; 16]);
        assert_eq!(id_of_link(&link_url("https://neck.example", &id)), Some(id));
        for other in ["", "/", "https://neck.example/session/5a5a/", "https://neck.example/"] {
            assert_eq!(id_of_link(other), None, "{other}");
        }
    }
}
