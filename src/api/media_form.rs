//! How WHEP and WHIP speak, whoever speaks: the edge that has no room, the controller that knows no such session, the API.
//!
//! Their clients read RFC 9457 documents, and pages of other sites only what CORS lets them: a refusal without its fields is
//! "Failed to fetch" to a player, and so is a preflight that is refused, whatever became of the session. So preflights are
//! answered before anything is looked up, and every error of ours on these paths is put into this form last of all.

use std::time::Duration;

use serde_json::Value;

use crate::api::cors;
use crate::api::reply::Answer;
use crate::api::whip::{CORS, FRAGMENT_TYPE, PROBLEM_TYPE, Problem, SDP_TYPE};
use crate::edge::reply::Reply;
use crate::edge::router::Request;

/// Whether a raw path is an endpoint of WHEP or WHIP, or one of its peers: of any session, known or not.
pub fn is_media(path: &str) -> bool {
    path.strip_prefix("/session/")
        .and_then(|below| below.split('/').nth(1))
        .is_some_and(|endpoint| matches!(endpoint, "whep" | "whip"))
}

/// The answer to a preflight; `None` for everything else. It gives nothing away: every id gets the same.
pub fn preflight(request: &Request<'_>) -> Option<Reply> {
    (request.preflight && is_media(request.path)).then(|| {
        let of_peer = request.path.split('/').nth(4).is_some_and(|peer| !peer.is_empty());
        options(if of_peer { FRAGMENT_TYPE } else { SDP_TYPE }).into()
    })
}

/// What an endpoint takes (RFC 9725, 4.2).
pub fn options(takes: &'static str) -> Answer {
    let field = if takes == SDP_TYPE { "Accept-Post" } else { "Accept-Patch" };
    with_cors(Answer::empty().with(field, takes))
}

/// A refusal.
pub fn refusal(problem: &Problem) -> Answer {
    let answer = Answer {
        status: problem.status,
        content_type: PROBLEM_TYPE,
        headers: Vec::new(),
        body: problem.document(),
        limit: problem.limit,
    };
    let answer = if problem.status == 401 { answer.with("WWW-Authenticate", "Bearer") } else { answer };
    with_cors(match problem.retry_after {
        Some(pause) => answer.retry_after(pause),
        None => answer,
    })
}

/// A refusal of whoever asks later.
pub fn again_after(status: u16, detail: &str, pause: Duration) -> Answer {
    refusal(&Problem::again_after(status, detail, pause))
}

/// The form that replies on this path have beside their own. The edge puts each of its replies into it.
pub fn of_path(path: &str) -> Option<fn(Reply) -> Reply> {
    is_media(path).then_some(in_form as fn(Reply) -> Reply)
}

/// A reply of the edge's or of a router's.
fn in_form(mut reply: Reply) -> Reply {
    if let Some(document) = converted(reply.status, reply.content_type, &reply.body) {
        (reply.content_type, reply.body, reply.nonce) = (PROBLEM_TYPE, document.into_bytes().into(), None);
    }
    reply.headers = cors::added(reply.headers, CORS);
    reply
}

/// An answer of the API's.
pub fn of_answer(mut answer: Answer) -> Answer {
    if let Some(document) = converted(answer.status, answer.content_type, answer.body.as_bytes()) {
        (answer.content_type, answer.body) = (PROBLEM_TYPE, document);
    }
    with_cors(answer)
}

/// The document for an error that has none yet.
fn converted(status: u16, content_type: &str, body: &[u8]) -> Option<String> {
    if status < 400 || content_type == PROBLEM_TYPE {
        return None;
    }
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let detail = text("detail").or(text("error")).unwrap_or("this is not served");
    let mut document = Problem::new(status, detail).members();
    for name in ["limit", "reason"] {
        if let Some(value) = error.get(name) {
            document.insert(name.to_owned(), value.clone());
        }
    }
    Some(Value::Object(document).to_string())
}

/// Adds what pages of other sites may read.
pub fn with_cors(answer: Answer) -> Answer {
    Answer { headers: cors::added(answer.headers, CORS), ..answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_session_are_told_from_others() {
        for path in
            ["/session/x/whep", "/session//whip", "/session/abc/whip/peer", "/session/abc/whep/peer/more"]
        {
            assert!(is_media(path) && of_path(path).is_some(), "{path}");
        }
        for path in ["/session/x", "/session/x/whepp", "/session/x/a/whep", "/api/whep", "/whep", "*"] {
            assert!(!is_media(path) && of_path(path).is_none(), "{path}");
        }
    }

    #[test]
    fn an_error_of_the_edge_becomes_a_problem_and_keeps_its_fields() {
        let reply = in_form(Reply::too_fast(Duration::from_secs(3), "edge.rate_limit_per_session"));
        let document: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((reply.content_type, document["status"].as_u64()), (PROBLEM_TYPE, Some(429)));
        assert_eq!(document["title"], "Too Many Requests");
        assert_eq!(document["limit"], "edge.rate_limit_per_session");
        assert_eq!(document["detail"], "wait as long as Retry-After says");
        let fields: Vec<&str> = reply.headers.iter().map(|(name, _)| *name).collect();
        assert!(fields.contains(&"Retry-After") && fields.contains(&"Access-Control-Allow-Origin"));
    }

    #[test]
    fn a_page_becomes_a_problem_too_and_a_problem_stays_as_it_is() {
        let page = in_form(Reply::html(503, "<p>wait".into()));
        assert!(String::from_utf8_lossy(&page.body).contains("\"status\":503"), "{page:?}");
        let problem = refusal(&Problem::new(404, "gone"));
        assert_eq!(of_answer(problem.clone()), problem);
        let good = in_form(Reply::redirect("/x".into()));
        assert!(good.body.is_empty() && good.status == 307, "{good:?}");
    }
}
