//! The few pages we show ourselves: getting ready, reconnecting, ended, unknown, and the one at `/`.

use std::fmt;
use std::sync::LazyLock;

use crate::api::sessions::Link;
use crate::api::words;
use crate::core::session::reason::EndReason;
use crate::edge::http1::csp;
use crate::edge::reply::{Nonce, Reply};

/// A session is on its way: look again after this many seconds.
const LOOK_AGAIN_SECONDS: u64 = 1;

/// How our pages look: as the overlay does.
const STYLE: &str = include_str!("../../web/pages/page.css");

/// The picture in the tabs of our pages.
const ICON: &str = include_str!("../../web/pages/icon.svg");

/// What a worker's page has besides.
const WORKER_PAGE: &str = include_str!("../../web/pages/worker.html");
const WORKER_STYLE: &str = include_str!("../../web/pages/worker.css");
const WORKER_SCRIPT: &str = include_str!("../../web/pages/worker.js");
const WORKER_WORDS: &str = include_str!("../../web/pages/worker.json");

/// A day: browsers ask for it with every page that names none.
const KEEP_ICON: &str = "public, max-age=86400";

/// Puts a page into the person's language; a page that waits looks again by it.
const SCRIPT: &str = include_str!("../../web/pages/page.js");

/// What stands beside sessions and API: a page at `/` for who came by hand, and the picture that browsers ask for. `None`: this
/// is neither.
pub fn front(method: &str, path: &str) -> Option<Reply> {
    if !matches!(method, "GET" | "HEAD") {
        return None;
    }
    match path {
        "/" => Some(
            Page { title: "front", text: "front.hint", again: None, way_back: None, overlay: None }
                .reply(200),
        ),
        "/favicon.ico" => {
            let icon = Reply { content_type: "image/svg+xml", ..Reply::html(200, ICON.into()) };
            Some(icon.with("Cache-Control", KEEP_ICON))
        }
        _ => None,
    }
}

/// The same for a worker, whose page also shows how the worker is and what runs there, as everybody may ask it.
pub fn worker_front(method: &str, path: &str) -> Option<Reply> {
    match (method, path) {
        ("GET" | "HEAD", "/") => {
            let page =
                Page { title: "front", text: "front.hint", again: None, way_back: None, overlay: None };
            let nonce = Nonce::fresh();
            let script = format!("const WORKER_WORDS={};{WORKER_SCRIPT}", WORKER_WORDS.trim());
            let text = Written(page, &nonce).to_string();
            // Behind what every page of ours has: the page's own script comes first.
            let text = text
                .replacen("</style>", &format!("{WORKER_STYLE}</style>"), 1)
                .replacen("</main>", &format!("{WORKER_PAGE}</main>"), 1)
                .replacen("}</script></body>", &format!("{script}}}</script></body>"), 1);
            Some(Reply::page(200, text, nonce))
        }
        _ => front(method, path),
    }
}

/// The tag of the picture, which a page holds itself: the root of its address may be somebody else's.
pub fn icon_link() -> &'static str {
    static LINK: LazyLock<String> = LazyLock::new(|| {
        let escaped = ICON.trim_end().replace('#', "%23").replace('<', "%3C").replace('>', "%3E");
        format!("<link rel=icon href=\"data:image/svg+xml,{escaped}\">")
    });
    &LINK
}

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

/// The session is on its way from one worker to another.
pub fn moving(html: bool) -> Reply {
    let words = ["reconnecting", "reconnecting.moving"];
    let mut reply = waiting(html, words, MOVING, "ask again", LOOK_AGAIN_SECONDS);
    if !html {
        let body =
            serde_json::json!({"error": MOVING, "code": 503, "detail": "ask again", "status": "moving"});
        reply.body = body.to_string().into_bytes().into();
    }
    reply
}

/// What is said of a session that is nowhere just now.
pub const MOVING: &str = "session is moving";

/// The session's worker does not answer; it may come back, so this is no 404.
pub fn worker_away(html: bool) -> Reply {
    waiting(html, ["reconnecting", "reconnecting.hint"], "worker is down", "ask again", LOOK_AGAIN_SECONDS)
}

fn waiting(html: bool, [title, text]: [&str; 2], error: &str, detail: &str, seconds: u64) -> Reply {
    let reply = if html {
        Page { title, text, again: Some(seconds), way_back: None, overlay: None }.reply(503)
    } else {
        Reply::error(503, error, detail)
    };
    reply.with("Retry-After", seconds.to_string())
}

/// An end that is not long ago.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// Who is told.
    pub link: Link,
    /// Where the overlay is, which shows it in the visitor's language, to the owner with the rating.
    pub overlay: String,
}

/// No such session, or one that has ended: says so, with the way back.
pub fn gone(html: bool, ended: Option<&Ended>, return_url: &str) -> Reply {
    if html {
        return ended_page(ended, return_url);
    }
    let mut reply = Reply::error(404, "no such session", "it ended, or never existed");
    if let Some(Ended { reason, link, .. }) = ended {
        let detail = in_words(*reason, *link);
        let body = serde_json::json!({
            "error": "session ended", "code": 404, "detail": detail, "status": "ended", "reason": reason,
        });
        reply.body = body.to_string().into_bytes().into();
    }
    reply
}

fn ended_page(ended: Option<&Ended>, return_url: &str) -> Reply {
    let text =
        ended.map_or_else(|| String::from("reason.unknown"), |end| words::reason_key(end.reason, end.link));
    // Who was only let in to watch has no stream to begin anew.
    let way_back = match ended.map(|end| end.link) {
        Some(Link::Viewer) => "back",
        _ => "startNew",
    };
    let overlay = ended.map(|end| &*end.overlay);
    Page { title: "ended", text: &text, again: None, way_back: Some((way_back, return_url)), overlay }
        .reply(404)
}

/// A way into a new stream, with all its fields: for who serves it without the edge.
pub fn welcome_back(start_url: &str) -> (String, Vec<(&'static str, String)>) {
    let way_back = Some(("startNew", start_url));
    let page = Page { title: "welcome", text: "", again: None, way_back, overlay: None };
    let nonce = Nonce::fresh();
    let fields = vec![
        ("Content-Type", "text/html; charset=utf-8".into()),
        ("X-Content-Type-Options", "nosniff".into()),
        ("Referrer-Policy", "no-referrer".into()),
        (csp::PERMISSIONS_POLICY, csp::PERMISSIONS.into()),
        ("Content-Security-Policy", csp::of_own_page(Some(nonce.as_str()), "'none'")),
    ];
    (Written(page, &nonce).to_string(), fields)
}

/// The reason for people, in English.
pub fn in_words(reason: EndReason, link: Link) -> &'static str {
    words::english(&words::reason_key(reason, link))
}

/// One of our pages. Its words are keys of [`words`]: they stand there in English, and its script says them in the
/// person's language.
#[derive(Clone, Copy)]
struct Page<'a> {
    title: &'a str,
    /// Empty: no sentence below the title.
    text: &'a str,
    /// Looks again after this many seconds.
    again: Option<u64>,
    /// Key of the link's words, and where it leads.
    way_back: Option<(&'a str, &'a str)>,
    /// Where the overlay is, the first script of the page.
    overlay: Option<&'a str>,
}

/// A page with what its scripts and styles carry.
struct Written<'a>(Page<'a>, &'a Nonce);

impl Page<'_> {
    fn reply(self, status: u16) -> Reply {
        let nonce = Nonce::fresh();
        let page = Written(self, &nonce).to_string();
        Reply::page(status, page, nonce)
    }
}

/// The tag of a script of ours, in a page of ours. Cloudflare's Rocket Loader leaves it alone: it has to run first.
pub fn script_tag(url: &str, nonce: &Nonce) -> String {
    format!("<script data-cfasync=\"false\" nonce=\"{}\" src=\"{}\"></script>", nonce.as_str(), escape(url))
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written(page, nonce) = self;
        let (title, text) = (words::english(page.title), words::english(page.text));
        let overlay = page.overlay.map(|url| script_tag(url, nonce)).unwrap_or_default();
        let nonce = nonce.as_str();
        write!(
            out,
            "<!doctype html><html lang=en><head>{overlay}<meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1,viewport-fit=cover\">"
        )?;
        if let Some(seconds) = page.again {
            write!(out, "<noscript><meta http-equiv=refresh content={seconds}></noscript>")?;
        }
        write!(
            out,
            "{}<title>{title}</title><style nonce={nonce}>{STYLE}</style></head><body><main>",
            icon_link()
        )?;
        if page.again.is_some() {
            out.write_str("<div class=spinner></div>")?;
        }
        write!(out, "<h1 id=title>{title}</h1>")?;
        if !text.is_empty() {
            write!(out, "<p id=text>{text}</p>")?;
        }
        if let Some((key, url)) = page.way_back {
            write!(out, "<a id=back href=\"{}\">{}</a>", escape(url), words::english(key))?;
        }
        let again = page.again.map_or(0, |seconds| seconds.saturating_mul(1000));
        write!(
            out,
            "</main><script data-cfasync=false nonce={nonce}>{{const AGAIN_MS={again},WORDS={};{SCRIPT}}}</script></body></html>",
            page.words()
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

/// Text as it stands in HTML, within quotes or without.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(reason: EndReason, link: Link) -> Ended {
        Ended { reason, link, overlay: "/overlay.js".into() }
    }

    #[test]
    fn a_hostile_return_url_stays_an_attribute() {
        let reply =
            gone(true, Some(&ended(EndReason::Quit, Link::Owner)), "https://x/\"><script>alert(1)</script>");
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
        let reply = gone(true, Some(&ended(EndReason::Crashed, Link::Owner)), "https://x");
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        let nonce = reply.nonce.as_ref().expect("a nonce").as_str();
        let tag = format!(
            "<head><script data-cfasync=\"false\" nonce=\"{nonce}\" src=\"/overlay.js\"></script><meta charset"
        );
        assert!(page.contains(&tag), "{page}");
        assert!(page.contains(in_words(EndReason::Crashed, Link::Owner)), "{page}");
    }

    #[test]
    fn every_script_and_style_of_a_page_carries_the_nonce_of_its_reply() {
        let ended = ended(EndReason::Quit, Link::Viewer);
        let (one, other) = (gone(true, Some(&ended), "https://x"), gone(true, Some(&ended), "https://x"));
        let nonce = |reply: &Reply| reply.nonce.as_ref().expect("a nonce").as_str().to_owned();
        assert!(nonce(&one) != nonce(&other) && nonce(&one).len() == 32, "{} {}", nonce(&one), nonce(&other));
        for reply in [one, other, getting_ready(true)] {
            let page = String::from_utf8_lossy(&reply.body).into_owned();
            let tags = page.matches("<script").count() + page.matches("<style").count();
            assert!(tags >= 2 && page.matches(&nonce(&reply)).count() == tags, "{page}");
            assert!(!page.contains(" style=") && !page.contains(" onclick="), "nothing inline: {page}");
        }
    }

    #[test]
    fn viewers_hear_of_the_end_in_words_of_their_own() {
        let reply = |link| {
            let reply = gone(true, Some(&ended(EndReason::Quit, link)), "https://x");
            String::from_utf8_lossy(&reply.body).into_owned()
        };
        let (owners, viewers) = (reply(Link::Owner), reply(Link::Viewer));
        assert!(owners.contains("You left the stream.") && owners.contains("Start new stream"), "{owners}");
        assert!(!viewers.contains("You left") && !viewers.contains("Start new stream"), "{viewers}");
        assert!(viewers.contains("Stream ended") && viewers.contains("href=\"https://x\""), "{viewers}");
    }

    #[test]
    fn who_comes_by_hand_finds_a_page_and_a_picture_and_nothing_else_is_ours() {
        for method in ["GET", "HEAD"] {
            let page = front(method, "/").expect("a page");
            let text = String::from_utf8_lossy(&page.body).into_owned();
            assert!(page.status == 200 && text.contains(words::english("front.hint")), "{text}");
            assert!(text.contains("<link rel=icon href=\"data:image/svg+xml,%3Csvg"), "{text}");
            let icon = front(method, "/favicon.ico").expect("a picture");
            assert_eq!((icon.status, icon.content_type), (200, "image/svg+xml"));
        }
        for (method, path) in
            [("POST", "/"), ("GET", "/index.html"), ("GET", "//"), ("OPTIONS", "/"), ("GET", "")]
        {
            assert!(front(method, path).is_none(), "{method} {path}");
        }
    }

    // SPEC 9 page: A worker's own page shows how it is and asks for no token
    #[test]
    fn a_workers_page_shows_how_it_is_and_asks_for_no_token() {
        let reply = worker_front("GET", "/").expect("a page");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let nonce = reply.nonce.as_ref().expect("a nonce").as_str();
        assert_eq!((text.matches("<script").count(), text.matches("<style").count()), (1, 1), "{text}");
        assert_eq!(text.matches(nonce).count(), 2, "{text}");
        assert!(text.contains(words::english("front.hint")) && text.contains("<details id=own>"), "{text}");
        assert!(
            text.contains("WORKER_WORDS") && !text.contains("<input") && !text.contains("Bearer"),
            "{text}"
        );
        let tables: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> =
            serde_json::from_str(WORKER_WORDS).unwrap();
        assert!(
            words::TABLES.iter().all(|(code, _)| tables[*code].keys().eq(tables["en"].keys())),
            "{tables:?}"
        );
        assert!(
            WORKER_PAGE
                .split("data-say=")
                .skip(1)
                .all(|rest| { tables["en"].contains_key(rest.split('>').next().unwrap_or_default()) })
        );
        assert!(worker_front("GET", "/favicon.ico").is_some() && worker_front("POST", "/").is_none());
    }

    #[test]
    fn the_picture_of_a_page_is_one_attribute_without_a_character_that_ends_it() {
        let link = icon_link();
        assert_eq!(
            (link.matches('"').count(), link.matches('<').count(), link.matches('#').count()),
            (2, 1, 0),
            "{link}"
        );
    }

    #[test]
    fn api_like_requests_get_the_reason_as_json() {
        let reply = gone(false, Some(&ended(EndReason::IdleTimeout, Link::Owner)), "https://x");
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((json["code"].as_u64(), json["reason"].as_str()), (Some(404), Some("idle_timeout")));
    }
}
