//! Session descriptions (RFC 8866): one reader for every offer and every trickle fragment.
//!
//! ```text
//!  offer ──▶ Description ──▶ Offer::read ──▶ Offer::agree ──▶ Agreement::plain ──▶ the WebRTC code behind us
//!            (grammar)       (transport,     (direction,                            │
//!                             rules)          codecs)                               ▼
//!  answer ◀───────────────────────────────── Agreement::whole_answer ◀── its answer to the plain text
//!  fragment ──▶ Description ──▶ SdpFragment
//! ```
//!
//! The WebRTC code has a grammar of its own, narrower than the RFCs. It never sees what a client wrote: it gets a text that we write of
//! what we have read, with the media that will be answered and nothing else.

pub mod agreement;
pub mod answer;
pub mod codecs;
pub mod fragment;
pub mod member;
pub mod offer;
mod plain;
pub mod rules;

use std::borrow::Cow;
use std::fmt;

pub use agreement::Agreement;
pub use codecs::{Agreed, Purpose, Supported, VideoCodec};
pub use fragment::SdpFragment;
pub use offer::{IceParameters, Offer};
pub use plain::PLAIN_PROFILE;

/// Bytes of an offer or a fragment. Chromium's largest offers have about 12 KiB.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most candidates of one fragment: browsers have about ten.
pub const MAX_FRAGMENT_CANDIDATES: usize = 64;

/// Media sections: audio, video, data, and what the client has stopped.
pub const MAX_SECTIONS: usize = 16;

/// Longest `mid`, in bytes: what a header extension of two bytes carries (RFC 8285, 4.3).
const MAX_MID: usize = 255;

/// Longest candidate line, in bytes.
const MAX_CANDIDATE: usize = 512;

/// Why a text is refused. The words say what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// More than [`MAX_BYTES`].
    TooLarge,
    /// This line (from 1) is not of the form `x=…`, or holds control characters.
    Line(usize),
    /// This line has a value that is malformed.
    Value(usize),
    /// This line has a malformed candidate.
    Candidate(usize),
    /// This line contradicts an earlier one.
    Differs(usize),
    /// `ice-ufrag` without `ice-pwd`, or the other way round.
    HalfCredentials,
    /// A fragment has too many candidates or media sections.
    TooMany,
    /// A fragment with neither credentials nor candidates nor their end.
    Empty,
    /// An offer that is no description of a session: this is missing or wrong.
    Malformed(&'static str),
    /// An offer of a session that cannot be had here: this is to be changed.
    Unusable(Cow<'static, str>),
}

impl SdpError {
    /// The HTTP status of the refusal, for every role.
    pub fn status(&self) -> u16 {
        match self {
            SdpError::TooLarge => 413,
            SdpError::Unusable(_) => 422,
            _ => 400,
        }
    }

    /// An offer of a session that cannot be had here.
    pub fn unusable(words: impl Into<Cow<'static, str>>) -> SdpError {
        SdpError::Unusable(words.into())
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SdpError::TooLarge => write!(f, "a session description has at most {MAX_BYTES} bytes"),
            SdpError::Line(line) => {
                write!(f, "line {line} is not of the form `x=…`, or has control characters (RFC 8866)")
            }
            SdpError::Value(line) => write!(f, "line {line} has a malformed value (RFC 8866, RFC 8839)"),
            SdpError::Candidate(line) => write!(f, "line {line} has a malformed candidate (RFC 8839, 5.1)"),
            SdpError::Differs(line) => {
                write!(f, "line {line} contradicts an earlier one; all media share one transport")
            }
            SdpError::HalfCredentials => f.write_str("ice-ufrag and ice-pwd belong together"),
            SdpError::TooMany => {
                write!(f, "more than {} candidates or {MAX_SECTIONS} media sections", MAX_FRAGMENT_CANDIDATES)
            }
            SdpError::Empty => f.write_str("the fragment has neither credentials nor candidates"),
            SdpError::Malformed(words) => f.write_str(words),
            SdpError::Unusable(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for SdpError {}

/// One line: `letter=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place in the text, from 1.
    pub number: usize,
    /// What is before the `=`.
    pub letter: char,
    /// What is behind it, without white space at its end.
    pub value: String,
}

impl Line {
    /// The name and value of an attribute; the value of a flag is empty.
    pub fn attribute(&self) -> Option<(&str, &str)> {
        if self.letter != 'a' {
            return None;
        }
        let (name, value) = self.value.split_once(':').unwrap_or((&self.value, ""));
        Some((name, value.trim()))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}\r\n", self.letter, self.value)
    }
}

/// The lines of the session, or of one media section with its `m=` line first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(pub Vec<Line>);

impl Part {
    /// The values of an attribute, in their order; of a flag they are empty.
    pub fn attributes<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(Line::attribute)
            .filter(move |(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The first value of an attribute.
    pub fn attribute<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    /// Whether there is such an attribute.
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }
}

/// A session description, or a fragment of one: its lines in their order, by media section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The lines before the first `m=`.
    pub session: Part,
    /// The media sections.
    pub media: Vec<Part>,
}

impl Description {
    /// Reads a text. Lines end with CRLF or LF; empty ones do not count. Unknown lines and attributes stay as they are (RFC 8866, 5).
    pub fn parse(text: &str) -> Result<Description, SdpError> {
        Description::parse_within(text, MAX_BYTES)
    }

    /// The same of a text of at most so many bytes.
    pub fn parse_within(text: &str, most: usize) -> Result<Description, SdpError> {
        if text.len() > most {
            return Err(SdpError::TooLarge);
        }
        let mut description = Description::default();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_end_matches(['\r', ' ']);
            if line.is_empty() {
                continue;
            }
            let line = read_line(index + 1, line).ok_or(SdpError::Line(index + 1))?;
            match (line.letter, description.media.last_mut()) {
                ('m', _) => description.media.push(Part(vec![line])),
                (_, Some(section)) => section.0.push(line),
                (_, None) => description.session.0.push(line),
            }
        }
        Ok(description)
    }
}

/// A tab is text to RFC 8866; in media lines and attributes nothing means one.
fn read_line(number: usize, line: &str) -> Option<Line> {
    let (letter, value) = line.split_once('=')?;
    let mut letters = letter.chars();
    let letter = letters.next().filter(|letter| letter.is_ascii_lowercase() && letters.next().is_none())?;
    let is_text =
        |character: char| !character.is_control() || character == '\t' && !matches!(letter, 'a' | 'm');
    value.chars().all(is_text).then(|| Line { number, letter, value: value.to_owned() })
}

/// Characters of a token (RFC 8866, 9).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte)
}

/// Whether this can be a `mid`: a token.
fn is_mid(text: &str) -> bool {
    (1..=MAX_MID).contains(&text.len()) && text.bytes().all(is_token)
}

/// Whether this is an `ice-ufrag` (RFC 8839, 5.4) of a length that a check of ours can name.
pub fn is_user_fragment(value: &str) -> bool {
    (LEAST_UFRAG..=MOST_UFRAG).contains(&value.len()) && is_ice_text(value)
}

/// Whether this is an `ice-pwd` (RFC 8839, 5.4).
pub fn is_password(value: &str) -> bool {
    (LEAST_PWD..=256).contains(&value.len()) && is_ice_text(value)
}

/// `ice-char`s; some clients use `-`, `_` and `=` too.
fn is_ice_text(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
}

/// The least letters of a user name fragment and of a password (RFC 8839, 5.4).
const LEAST_UFRAG: usize = 4;
const LEAST_PWD: usize = 22;

/// Letters of a client's user name fragment: with a colon and the 16 letters of ours it is a check's USERNAME, for which str0m's ICE has
/// 128 bytes, and panics beyond. RFC 8839 allows 256; clients use 4 to 32.
const MOST_UFRAG: usize = 128 - 1 - 16;

/// `candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE …` (RFC 8839, 5.1).
pub fn is_candidate(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("candidate:") else { return false };
    let printable = rest.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let mut words = rest.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let number = |text: &str, most: u64| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits && text.parse::<u64>().is_ok_and(|number| number <= most)
    };
    text.len() <= MAX_CANDIDATE
        && printable
        && (1..=32).contains(&word().len())
        && number(word(), 256)
        && !word().is_empty()
        && number(word(), u64::from(u32::MAX))
        && !word().is_empty()
        && number(word(), u64::from(u16::MAX))
        && word() == "typ"
        && !word().is_empty()
}

/// A candidate as the WebRTC code behind us reads it: without the extensions that browsers add in any order (RFC 8839, 5.1).
pub fn plain_candidate(text: &str) -> Option<String> {
    let text = text.strip_prefix("a=").unwrap_or(text).trim();
    if !is_candidate(text) {
        return None;
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let (fixed, extensions) = words.split_at_checked(8)?;
    let value = |name| extensions.chunks(2).find(|pair| pair.first() == Some(&name))?.get(1).copied();
    let mut fixed: Vec<String> = fixed.iter().map(|word| (*word).to_owned()).collect();
    fixed.get_mut(2)?.make_ascii_lowercase();
    let mut plain = fixed.join(" ");
    if let (Some(address), Some(port)) = (value("raddr"), value("rport")) {
        plain.push_str(&format!(" raddr {address} rport {port}"));
    }
    if let Some(kind) = value("tcptype") {
        plain.push_str(&format!(" tcptype {kind}"));
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_keeps_what_says_where_it_is() {
        let plain = |text: &str| plain_candidate(text).unwrap_or_default();
        let fixed = "candidate:1 1 udp 5 192.0.2.1 7 typ host";
        assert_eq!(
            plain("a=candidate:1 1 UDP 5 192.0.2.1 7 typ host generation 0 ufrag EsAw network-id 1"),
            fixed
        );
        let relayed = "candidate:1 1 udp 5 192.0.2.1 7 typ relay raddr 0.0.0.0 rport 0";
        assert_eq!(plain(&format!("{relayed} generation 0 network-cost 50")), relayed);
        let active = "candidate:1 1 tcp 5 192.0.2.1 9 typ host tcptype active";
        assert_eq!(plain(&format!("{active} ufrag x")), active);
        assert_eq!(plain_candidate("candidate:1 1 udp"), None);
    }

    #[test]
    fn a_description_is_its_lines_by_section() {
        let text = "v=0\r\ns= \n\nt=1 2\r\na=x: y \r\nm=audio 9 x 0\r\ni=a\tb\r\na=mid:0\r\na=flag\r\n";
        let description = Description::parse(text).unwrap();
        let letters = |part: &Part| part.0.iter().map(|line| line.letter).collect::<String>();
        assert_eq!(letters(&description.session), "vsta");
        assert_eq!(letters(&description.media[0]), "miaa");
        assert_eq!(description.session.attribute("x"), Some("y"));
        assert!(description.media[0].has("flag") && !description.media[0].has("x"));
        assert_eq!(description.media[0].0[0].number, 6);
    }

    #[test]
    fn what_is_no_line_names_its_number() {
        for (text, line) in
            [("hello", 1), ("v=0\nA=x", 2), ("v=0\r\n\r\nab=c", 3), ("a=x\ty", 1), ("s=x\u{0}", 1)]
        {
            assert_eq!(Description::parse(text), Err(SdpError::Line(line)), "{text:?}");
        }
        assert_eq!(Description::parse(&"a=x\n".repeat(20_000)), Err(SdpError::TooLarge));
    }

    #[test]
    fn a_refusal_has_one_status_for_every_role() {
        assert_eq!(SdpError::TooLarge.status(), 413);
        assert_eq!(SdpError::unusable("x").status(), 422);
        assert_eq!((SdpError::Malformed("x").status(), SdpError::Line(1).status()), (400, 400));
    }
}
