//! The few pages we show ourselves: getting ready, reconnecting, ended, unknown.

use crate::core::reason::EndReason;
use crate::edge::router::Reply;

/// A session is on its way: look again after this many seconds.
const LOOK_AGAIN_SECONDS: u32 = 1;

/// The session is being made; the page looks again by itself, everything else is told to.
pub fn getting_ready(html: bool) -> Reply {
    waiting(html, "Getting your stream ready…", "session not ready")
}

/// The stream process is being restarted.
pub fn reconnecting(html: bool) -> Reply {
    waiting(html, "Reconnecting…", "stream process is restarting")
}

/// We have just started and do not know yet which sessions exist.
pub fn settling(html: bool, seconds: u64) -> Reply {
    let seconds = seconds.max(1).to_string();
    if html {
        let page = page("Reconnecting…", "", &format!("<meta http-equiv=refresh content={seconds}>"));
        return Reply::html(503, page).with("Retry-After", seconds);
    }
    Reply::error(503, "sessions are not known yet", "the controller has just started; ask again")
        .with("Retry-After", seconds)
}

/// The session's worker does not answer; it may come back, so this is no 404.
pub fn worker_away(html: bool) -> Reply {
    waiting(html, "Reconnecting…", "worker is down")
}

fn waiting(html: bool, title: &str, error: &str) -> Reply {
    let seconds = LOOK_AGAIN_SECONDS.to_string();
    if html {
        let refresh = format!("<meta http-equiv=refresh content={seconds}>");
        return Reply::html(503, page(title, "", &refresh)).with("Retry-After", seconds);
    }
    Reply::error(503, error, "ask again").with("Retry-After", seconds)
}

/// No such session, or one that has ended: says so, with the way back. `script` is the tag of the overlay, which shows an
/// end that is not long ago in the visitor's language, with the rating.
pub fn gone(html: bool, reason: Option<EndReason>, return_url: &str, script: Option<&str>) -> Reply {
    if html {
        let words = reason.map_or("This stream does not exist, or ended a while ago.", in_words);
        let way_back = format!("<p><a href=\"{}\">Start new stream</a></p>", escape(return_url));
        return Reply::html(
            404,
            page("Stream ended", &format!("<p>{words}</p>{way_back}"), script.unwrap_or("")),
        );
    }
    let mut reply = Reply::error(404, "no such session", "it ended, or never existed");
    if let Some(reason) = reason {
        let body = serde_json::json!({
            "error": "session ended", "code": 404, "detail": in_words(reason), "status": "ended", "reason": reason,
        });
        reply.body = body.to_string().into_bytes().into();
    }
    reply
}

/// A way into a new stream.
pub fn welcome_back(start_url: &str) -> String {
    let button = format!("<p><a href=\"{}\">Start new stream</a></p>", escape(start_url));
    page("hydraneckwebrtc", &button, "")
}

/// The reason for people.
pub fn in_words(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Deleted => "The stream was ended by the operator.",
        EndReason::Quit => "You left the stream.",
        EndReason::Crashed => "The stream stopped working and could not be restarted.",
        EndReason::ConnectTimeout => "Nobody opened the stream in time.",
        EndReason::IdleTimeout => "Nobody was watching any more.",
        EndReason::MaxDuration => "The time for this stream is up.",
        EndReason::BodyLost => "The machine behind the stream stopped answering.",
        EndReason::Drained | EndReason::Shutdown => "The service is being maintained.",
        EndReason::Replaced => "A newer stream took over.",
        EndReason::CreateFailed => "The stream could not be started.",
    }
}

fn page(title: &str, body: &str, head: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>{head}\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>\
         :root{{color-scheme:dark}}body{{margin:0;min-height:100vh;display:grid;place-items:center;\
         background:#101216;color:#e8eaed;font:1.125rem/1.5 system-ui,sans-serif;text-align:center}}\
         a{{display:inline-block;padding:.8em 1.4em;border-radius:.6em;background:#2f6fed;color:#fff;\
         text-decoration:none}}a:focus-visible{{outline:3px solid #fff;outline-offset:3px}}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_return_url_stays_an_attribute() {
        let reply = gone(true, Some(EndReason::Quit), "https://x/\"><script>alert(1)</script>", None);
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn api_like_requests_get_the_reason_as_json() {
        let reply = gone(false, Some(EndReason::IdleTimeout), "https://x", None);
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((json["code"].as_u64(), json["reason"].as_str()), (Some(404), Some("idle_timeout")));
    }
}
