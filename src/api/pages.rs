//! The few pages we show ourselves: getting ready, reconnecting, ended, unknown.

use std::fmt;

use crate::api::words;
use crate::core::reason::EndReason;
use crate::edge::router::Reply;

/// A session is on its way: look again after this many seconds.
const LOOK_AGAIN_SECONDS: u64 = 1;

/// How our pages look: as the overlay does.
const STYLE: &str = include_str!("../../web/pages/page.css");

/// Puts a page into the person's language; a page that waits looks again by it.
const SCRIPT: &str = include_str!("../../web/pages/page.js");

/// The session is being made; the page looks again by itself, everything else is told to.
pub fn getting_ready(html: bool) -> Reply {
    waiting(html, ["preparing", "preparing.hint"], "session not ready", "ask again", LOOK_AGAIN_SECONDS)
}

/// The stream process is being restarted.
pub fn reconnecting(html: bool) -> Reply {
    let words = ["reconnecting", "reconnecting.restarting"];
    waiting(html, words, "stream process is restarting", "ask again", LOOK_AGAIN_SECONDS)
}

/// We have just started and do not know yet which sessions exist.
pub fn settling(html: bool, seconds: u64) -> Reply {
    let detail = "the controller has just started; ask again";
    waiting(html, ["reconnecting", "reconnecting.hint"], "sessions are not known yet", detail, seconds.max(1))
}

/// The session's worker does not answer; it may come back, so this is no 404.
pub fn worker_away(html: bool) -> Reply {
    waiting(html, ["reconnecting", "reconnecting.hint"], "worker is down", "ask again", LOOK_AGAIN_SECONDS)
}

fn waiting(html: bool, [title, text]: [&str; 2], error: &str, detail: &str, seconds: u64) -> Reply {
    let reply = if html {
        let page = Page { title, text, again: Some(seconds), way_back: None, head: "" };
        Reply::html(503, page.to_string())
    } else {
        Reply::error(503, error, detail)
    };
    reply.with("Retry-After", seconds.to_string())
}

/// No such session, or one that has ended: says so, with the way back. `script` is the tag of the overlay, which shows an
/// end that is not long ago in the visitor's language, with the rating.
pub fn gone(html: bool, reason: Option<EndReason>, return_url: &str, script: Option<&str>) -> Reply {
    if html {
        return ended_page(reason, return_url, script.unwrap_or(""));
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

fn ended_page(reason: Option<EndReason>, return_url: &str, head: &str) -> Reply {
    let key = reason.map_or_else(|| String::from("reason.unknown"), words::reason_key);
    let page =
        Page { title: "ended", text: &key, again: None, way_back: Some(("startNew", return_url)), head };
    Reply::html(404, page.to_string())
}

/// A way into a new stream.
pub fn welcome_back(start_url: &str) -> String {
    let way_back = Some(("startNew", start_url));
    Page { title: "welcome", text: "", again: None, way_back, head: "" }.to_string()
}

/// The reason for people, in English.
pub fn in_words(reason: EndReason) -> &'static str {
    words::english(&words::reason_key(reason))
}

/// One of our pages. Its words are keys of [`words`]: they stand there in English, and its script says them in the
/// person's language.
struct Page<'a> {
    title: &'a str,
    /// Empty: no sentence below the title.
    text: &'a str,
    /// Looks again after this many seconds.
    again: Option<u64>,
    /// Key of the link's words, and where it leads.
    way_back: Option<(&'a str, &'a str)>,
    /// Markup that comes first in the head.
    head: &'a str,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, text, head) = (words::english(self.title), words::english(self.text), self.head);
        write!(
            out,
            "<!doctype html><html lang=en><head>{head}<meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1,viewport-fit=cover\">"
        )?;
        if let Some(seconds) = self.again {
            write!(out, "<noscript><meta http-equiv=refresh content={seconds}></noscript>")?;
        }
        write!(out, "<title>{title}</title><style>{STYLE}</style></head><body><main>")?;
        if self.again.is_some() {
            out.write_str("<div class=spinner></div>")?;
        }
        write!(out, "<h1 id=title>{title}</h1>")?;
        if !text.is_empty() {
            write!(out, "<p id=text>{text}</p>")?;
        }
        if let Some((key, url)) = self.way_back {
            write!(out, "<a id=back href=\"{}\">{}</a>", escape(url), words::english(key))?;
        }
        let again = self.again.map_or(0, |seconds| seconds.saturating_mul(1000));
        write!(
            out,
            "</main><script>{{const AGAIN_MS={again},WORDS={};{SCRIPT}}}</script></body></html>",
            self.words()
        )
    }
}

impl Page<'_> {
    /// `{"nl":{"title":…,"text":…,"back":…},…}` for the script. The tables hold no `<`, which a test checks.
    fn words(&self) -> serde_json::Value {
        let back = self.way_back.map_or("", |(key, _)| key);
        let mut all = serde_json::Map::new();
        for (id, key) in [("title", self.title), ("text", self.text), ("back", back)] {
            for (language, words) in words::in_every_language(key).filter(|(_, words)| !words.is_empty()) {
                all.entry(language).or_insert_with(|| serde_json::json!({}))[id] = words.into();
            }
        }
        all.into()
    }
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
        assert!(!page.contains("alert(1)</script>") && !page.contains("<script>alert"), "{page}");
    }

    #[test]
    fn a_page_has_its_words_in_every_language() {
        let page = String::from_utf8_lossy(&reconnecting(true).body).into_owned();
        for (language, words) in words::in_every_language("reconnecting.restarting") {
            assert!(page.contains(words), "{language}: {page}");
        }
        assert!(page.contains("<noscript><meta http-equiv=refresh content=1></noscript>"), "{page}");
    }

    #[test]
    fn the_page_of_an_ended_session_has_the_overlay_first() {
        let reply =
            gone(true, Some(EndReason::Crashed), "https://x", Some("<script src=\"/overlay.js\"></script>"));
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(page.contains("<head><script src=\"/overlay.js\"></script><meta charset"), "{page}");
        assert!(page.contains(in_words(EndReason::Crashed)), "{page}");
    }

    #[test]
    fn api_like_requests_get_the_reason_as_json() {
        let reply = gone(false, Some(EndReason::IdleTimeout), "https://x", None);
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((json["code"].as_u64(), json["reason"].as_str()), (Some(404), Some("idle_timeout")));
    }
}
