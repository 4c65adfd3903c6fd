//! What a page and its session's stream process tell each other about WebRTC, and what of it passes between them: JSON messages on a
//! WebSocket (v2.x of moonlight-web-stream), session descriptions and candidates in HTTP bodies (v3).
//!
//! ```text
//! page ──► process   host and application ids: the session's, or the message is refused
//! page ◄── process   ICE servers: the process's own are replaced by the page's
//!      both ways     candidates that are not relays do not pass, when only relays may be used
//! ```
//!
//! Messages are judged by what stands in them, wherever it stands: names of fields differ between versions, and what is new in the
//! next one is judged as well.

use serde_json::Value;

use crate::core::dial_policy::{self, DialRefusal, EVERYTHING, Special};
use crate::edge::websocket::Verdict;

/// The host and application of a session, as its process numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIds {
    /// The host.
    pub host: u32,
    /// The application.
    pub app: u32,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The page.
    Page,
    /// The process.
    Process,
}

/// What passes.
pub struct Rules<'a> {
    /// The ids that a page may name; `None`: any.
    pub ids: Option<StreamIds>,
    /// Only relays may be used.
    pub relays_only: bool,
    /// Makes the page's ICE servers, as `RTCIceServer`s.
    pub ice_servers: &'a dyn Fn() -> Value,
}

const OTHER_STREAM: &str = "it names another host or application than the session's";
const NOT_JSON: &str = "it is not JSON, which is all that the process reads";

impl StreamIds {
    /// Those of a stream page's address: `/stream.html?hostId=1&appId=2`.
    pub fn of_page(page: &str) -> Option<StreamIds> {
        let (_, query) = page.split_once('?')?;
        let value =
            |name| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        Some(StreamIds { host: value("hostId")?, app: value("appId")? })
    }

    /// The id that a field of this name must have; `None`: the name means no id.
    pub fn meant_by(self, name: &str) -> Option<u32> {
        match plain(name).as_str() {
            "hostid" => Some(self.host),
            "appid" => Some(self.app),
            _ => None,
        }
    }
}

/// A name without case and without what joins its words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Judges a message. What a page says is passed on as it was read here, so that no other reading of it is possible.
pub fn judge(text: &str, from: From, rules: &Rules<'_>) -> Verdict {
    let Ok(mut message) = serde_json::from_str::<Value>(text) else {
        return match from {
            From::Page => Verdict::Refused(NOT_JSON),
            From::Process => lines(text, rules),
        };
    };
    let mut walk = Walk { from, rules, changed: false, foreign: false };
    let kept = walk.keeps(&mut message);
    match (walk.foreign, kept, walk.changed || from == From::Page) {
        (true, ..) => Verdict::Refused(OTHER_STREAM),
        (_, false, _) => Verdict::Dropped,
        (_, _, true) => Verdict::Becomes(message.to_string()),
        _ => Verdict::Passes,
    }
}

/// Judges a body: a session description, a fragment of one, or JSON.
pub fn judge_body(text: &str, from: From, rules: &Rules<'_>) -> Verdict {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return judge(text, from, rules);
    }
    match rules.ids {
        Some(ids) if from == From::Page && text.split(['\r', '\n']).any(|line| names_another(line, ids)) => {
            Verdict::Refused(OTHER_STREAM)
        }
        _ => lines(text, rules),
    }
}

fn lines(text: &str, rules: &Rules<'_>) -> Verdict {
    match rules.relays_only.then(|| relays_of(text)).flatten() {
        Some(filtered) => Verdict::Becomes(filtered),
        None => Verdict::Passes,
    }
}

/// Whether a line of a description names a host or an application that is not the session's. The names of these attributes are the
/// process's own; each that has "host id" or "app id" in it and a number behind counts.
fn names_another(line: &str, ids: StreamIds) -> bool {
    let line = plain(line);
    let names = [("hostid", ids.host), ("appid", ids.app)];
    names.into_iter().any(|(name, id)| {
        line.match_indices(name).any(|(at, _)| {
            let rest = line.get(at + name.len()..).unwrap_or_default();
            let value = rest.trim_start_matches([' ', ':', '=', '"', '\'']);
            let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            value.len() < rest.len() && value.get(..digits).unwrap_or_default() != id.to_string()
        })
    })
}

struct Walk<'r, 'a> {
    from: From,
    rules: &'r Rules<'a>,
    changed: bool,
    foreign: bool,
}

impl Walk<'_, '_> {
    /// Changes what must be changed. `false`: nothing of it may pass. (Parsing has bounded the depth.)
    fn keeps(&mut self, value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => {
                let mut kept = true;
                for (name, value) in fields.iter_mut() {
                    kept &= self.keeps_field(name, value);
                }
                kept
            }
            Value::Array(items) => {
                let before = items.len();
                items.retain_mut(|item| self.keeps(item));
                self.changed |= items.len() < before;
                // A list of nothing but what may not pass says nothing.
                before == 0 || !items.is_empty()
            }
            Value::String(text) => self.keeps_text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        }
    }

    fn keeps_field(&mut self, name: &str, value: &mut Value) -> bool {
        if self.from == From::Process && plain(name) == "iceservers" {
            *value = (self.rules.ice_servers)();
            self.changed = true;
            return true;
        }
        if self.from == From::Page
            && let Some(id) = self.rules.ids.and_then(|ids| ids.meant_by(name))
        {
            self.foreign |= value.as_u64() != Some(id.into());
            return true;
        }
        self.keeps(value)
    }

    fn keeps_text(&mut self, text: &mut String) -> bool {
        let Some(filtered) = self.rules.relays_only.then(|| relays_of(text)).flatten() else { return true };
        self.changed = true;
        // Of what is no candidate, words about one say, the rest of the message passes.
        let is_candidate = begins_as_candidate(&text.trim_start().to_ascii_lowercase())
            || text.split_ascii_whitespace().nth(TYPE - 1) == Some("typ");
        *text = filtered;
        !text.is_empty() || !is_candidate
    }
}

/// The text without what tells of addresses that are no relay's: lines with other candidates go, a relay's own address and the
/// description's default ones are blanked, as RFC 8839 (5.1) writes what is not told. `None`: there is nothing of that in it.
fn relays_of(text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut changed, mut rest) = (false, text);
    while !rest.is_empty() {
        let (content, end, after) = first_line(rest);
        match judged_line(content) {
            Line::Stays => out.extend([content, end]),
            Line::Becomes(content) => {
                changed = true;
                out.extend([&content, end]);
            }
            Line::Goes => changed = true,
        }
        rest = after;
    }
    changed.then_some(out)
}

/// The first line, its end, and what follows. An end is CR LF, or either alone: whoever reads next may take any of them for one.
fn first_line(text: &str) -> (&str, &str, &str) {
    let at = text.find(['\r', '\n']).unwrap_or(text.len());
    let (content, rest) = text.split_at(at);
    let end = if rest.starts_with("\r\n") { 2 } else { rest.len().min(1) };
    let (end, after) = rest.split_at(end);
    (content, end, after)
}

/// Which word of a candidate is its address, and which its type.
const ADDRESS: usize = 4;
const TYPE: usize = 7;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Stays,
    Becomes(String),
    Goes,
}

fn judged_line(line: &str) -> Line {
    let lower = line.to_ascii_lowercase();
    let text = lower.trim();
    if begins_as_candidate(text) || text.split_ascii_whitespace().any(|word| word == "typ") {
        return judged_candidate(line, text);
    }
    let becomes = |text: &str| if line == text { Line::Stays } else { Line::Becomes(text.to_owned()) };
    match text {
        text if text.starts_with("a=remote-candidates") => Line::Goes,
        text if text.starts_with("c=in ip4 ") => becomes("c=IN IP4 0.0.0.0"),
        text if text.starts_with("c=in ip6 ") => becomes("c=IN IP6 ::"),
        text if text.starts_with("a=rtcp:") => becomes("a=rtcp:9 IN IP4 0.0.0.0"),
        _ => Line::Stays,
    }
}

/// Whether a text, in small letters, begins as a candidate does.
fn begins_as_candidate(text: &str) -> bool {
    text.strip_prefix("a=").unwrap_or(text).starts_with("candidate:")
}

/// Whether a relay can have this address. Whoever checks the candidate sends there: so no neighbour on the link, no cloud's metadata and
/// nobody's many at once, and no name, which somebody would have to look up. A relay on this host may be reached by loopback.
fn can_be_a_relays(word: &str) -> bool {
    let judged = word.parse().map(|ip| dial_policy::may_dial(ip, &EVERYTHING, &[]));
    matches!(judged, Ok(Ok(()) | Err(DialRefusal::Special(Special::Loopback))))
}

/// `candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE [raddr ADDRESS rport PORT] …` (RFC 8839, 5.1). The
/// process takes one without the first word as well. `text` is the line in small letters.
fn judged_candidate(line: &str, text: &str) -> Line {
    // The end of candidates is told by an empty one.
    if text.ends_with("candidate:") && begins_as_candidate(text) {
        return Line::Stays;
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_relay = words.get(TYPE - 1) == Some(&"typ") && words.get(TYPE) == Some(&"relay");
    let is_one =
        words.iter().filter(|word| **word == "typ").count() == 1 && text.matches("candidate:").count() <= 1;
    if !is_relay || !is_one || !words.get(ADDRESS).is_some_and(|word| can_be_a_relays(word)) {
        return Line::Goes;
    }
    let mut told: Vec<&str> = line.split_ascii_whitespace().collect();
    for at in TYPE + 1..told.len() {
        let nothing = match words.get(at - 1) {
            Some(&"raddr") => "0.0.0.0",
            Some(&"rport") => "9",
            _ => continue,
        };
        if let Some(word) = told.get_mut(at) {
            *word = nothing;
        }
    }
    let told = told.join(" ");
    if told == line { Line::Stays } else { Line::Becomes(told) }
}

#[cfg(test)]
mod tests;
