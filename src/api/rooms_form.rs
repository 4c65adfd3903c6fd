//! How rooms speak over HTTP, whoever speaks: the edge that has no place, the controller that knows no such room, the API.
//!
//! Pages of other sites ask with a bearer token and without cookies, so every origin may; without the fields of CORS a refusal
//! would be "Failed to fetch" to them. So preflights are answered before anything is looked up, and every reply of ours on these
//! paths gets these fields last of all.

use std::borrow::Cow;
use std::sync::Arc;

use crate::api::cors;
use crate::api::reply::Answer;
use crate::core::namespaces::access::Denied;
use crate::core::namespaces::bearer::{self, Sources, Subprotocols};
use crate::edge::reply::Reply;
use crate::edge::router::{Request, Rewrite};

/// The paths of rooms begin with this.
const ROOT: &str = "/v1/webrtc/";

/// What a browser of another origin may send and read.
const CORS: cors::Fields = &[
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "OPTIONS, GET, HEAD, POST, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key"),
    ("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, Allow"),
];

/// How long a browser may remember the answer to a preflight, in seconds: longer than most calls, shorter than an update.
const PREFLIGHT_AGE: &str = "3600";

/// Whether a raw path is of rooms.
pub fn is_rooms(path: &str) -> bool {
    path.starts_with(ROOT)
}

/// The answer to a preflight; `None` for everything else.
pub fn preflight(request: &Request<'_>) -> Option<Reply> {
    (request.preflight && is_rooms(request.path))
        .then(|| of_answer(Answer::empty().with("Access-Control-Max-Age", PREFLIGHT_AGE)).into())
}

/// The form that replies on this path have beside their own. The edge puts each of its replies into it.
pub fn of_path(path: &str) -> Option<fn(Reply) -> Reply> {
    is_rooms(path).then_some(in_form as fn(Reply) -> Reply)
}

fn in_form(reply: Reply) -> Reply {
    Reply { headers: cors::added(reply.headers, CORS), ..reply }
}

/// An answer of the API's.
pub fn of_answer(answer: Answer) -> Answer {
    Answer { headers: cors::added(answer.headers, CORS), ..answer }
}

/// The token of a request. A browser's WebSocket has no place for it but the subprotocols and the query.
pub fn token<'a>(request: &Request<'a>) -> Option<Cow<'a, str>> {
    let opens = request.upgrade || request.lost_upgrade;
    let subprotocols =
        if opens { Subprotocols::of(request.values("Sec-WebSocket-Protocol")) } else { Default::default() };
    let sources = Sources {
        authorization: request.authorization,
        key: request.values(bearer::KEY_FIELD).next(),
        subprotocols,
        query: request.query.filter(|_| opens),
    };
    sources.token()
}

/// How an upgrade goes on: its token in the one field that no log shows, wherever it came, and nowhere else but in a subprotocol.
/// `client`: the field that names the client, for an upstream on this host.
pub fn rewrite(request: &Request<'_>, client: Option<&'static str>) -> Arc<Rewrite> {
    Arc::new(Rewrite {
        query: request.query.and_then(bearer::without_token),
        authorization: token(request).map(|token| format!("Bearer {token}")),
        client: client.map(|field| (field, request.client)),
    })
}

/// The answer to whoever is not admitted. `presented`: a token came along.
pub fn denied(denied: Denied, presented: bool) -> Answer {
    let error = match denied {
        Denied::Unauthorized => "unauthorized",
        Denied::NoNamespace => "this token has no namespace",
        Denied::WrongHost => "another namespace's host",
        Denied::NotEnabled => "rooms are not enabled",
    };
    let answer = Answer::error(denied.status(), error, denied.to_string());
    match (denied, presented) {
        (Denied::Unauthorized, false) => answer.with("WWW-Authenticate", "Bearer"),
        (Denied::Unauthorized, true) => answer.with("WWW-Authenticate", "Bearer error=\"invalid_token\""),
        (Denied::NoNamespace | Denied::WrongHost, _) => {
            answer.with("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
        }
        (Denied::NotEnabled, _) => answer,
    }
}

/// The answer where rooms are not served at all. `setting` says which.
pub fn not_served(setting: &str) -> Answer {
    Answer::error(404, "not found", format!("rooms are not served here: see {setting}"))
}

/// The answer to what asks for signalling and opens no WebSocket (RFC 9110, 15.5.22). `lost`: a proxy took its upgrade away.
pub fn no_upgrade(lost: bool) -> Answer {
    let detail = if lost {
        "a proxy in front of us does not pass the upgrade on: let it speak HTTP/1.1 and pass Upgrade and Connection"
    } else {
        "signalling is a WebSocket: `new WebSocket(url, ['Bearer', token])`"
    };
    let answer = Answer::error(426, "upgrade required", detail);
    answer.with("Upgrade", "websocket").with("Connection", "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_rooms_are_told_from_others() {
        for path in ["/v1/webrtc/signal", "/v1/webrtc/rooms", "/v1/webrtc/nothing"] {
            assert!(is_rooms(path) && of_path(path).is_some(), "{path}");
        }
        for path in ["/v1/webrtc", "/session/v1/webrtc/", "/api/v1/webrtc/rooms", "*"] {
            assert!(!is_rooms(path) && of_path(path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_refusal_can_be_read_by_pages_of_other_sites() {
        for why in [Denied::Unauthorized, Denied::NoNamespace, Denied::WrongHost, Denied::NotEnabled] {
            let answer = of_answer(denied(why, true));
            assert_eq!(answer.status, why.status());
            let field =
                |name: &str| answer.headers.iter().find(|(is, _)| *is == name).map(|(_, value)| &**value);
            assert_eq!(field("Access-Control-Allow-Origin"), Some("*"), "{why:?}");
            assert_eq!(field("WWW-Authenticate").is_some(), why != Denied::NotEnabled, "{why:?}");
        }
        assert_eq!(in_form(Reply::error(503, "x", "y")).headers.len(), CORS.len());
    }
}
