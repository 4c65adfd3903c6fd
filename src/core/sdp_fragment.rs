//! Fragments of session descriptions with ICE candidates: `application/trickle-ice-sdpfrag` (RFC 8840, 9; RFC 9725, 4.3).
//!
//! ```text
//! a=ice-ufrag:EsAw            the credentials: those of now (trickle), or new ones (ICE restart)
//! a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
//! m=audio 9 UDP/TLS/RTP/SAVPF 0
//! a=mid:0
//! a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host
//! a=end-of-candidates
//! ```
//!
//! Candidates are checked for their form only; what they mean is str0m's business. Unknown lines are ignored, as SDP wants it
//! (RFC 8866, 5).

use std::fmt;

/// Largest fragment, in bytes: a full gathering of a browser has 2 KiB.
pub const MAX_BYTES: usize = 16 * 1024;

/// Most candidates of one fragment: browsers have about ten.
pub const MAX_CANDIDATES: usize = 64;

/// Most media sections: ours have at most two tracks, offers of others a few more.
pub const MAX_MEDIA: usize = 32;

/// Longest candidate line, in bytes.
const MAX_CANDIDATE_BYTES: usize = 512;

/// Longest `mid` (an RFC 4566 token), in bytes.
const MAX_MID_BYTES: usize = 64;

/// A fragment. With BUNDLE all media share one transport, so there is one pair of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdpFragment {
    /// `ice-ufrag` and `ice-pwd`; `None` when the fragment has neither.
    pub credentials: Option<IceCredentials>,
    /// Candidates before any media section.
    pub candidates: Vec<String>,
    /// `end-of-candidates` before any media section: for all of them.
    pub end_of_candidates: bool,
    /// Media sections in their order.
    pub media: Vec<FragmentMedia>,
}

/// `ice-ufrag` and `ice-pwd` (RFC 8839, 5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4 to 256 characters.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub pwd: String,
}

/// One media section of a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentMedia {
    /// First word of the `m=` line: `audio`, `video`, `application`.
    pub kind: String,
    /// `a=mid`.
    pub mid: Option<String>,
    /// `candidate:…`, as in an `RTCIceCandidate`.
    pub candidates: Vec<String>,
    /// `a=end-of-candidates`.
    pub end_of_candidates: bool,
}

/// Why a text is no fragment that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// Over [`MAX_BYTES`].
    TooLarge,
    /// This line (from 1) is not of the form `x=…`, or holds control characters.
    Line(usize),
    /// This line has an `ice-ufrag`, `ice-pwd`, `mid` or `m=` that is malformed.
    Value(usize),
    /// This line has a malformed candidate.
    Candidate(usize),
    /// This line has other credentials than one before it, or a second `mid` of one section.
    Differs(usize),
    /// `ice-ufrag` without `ice-pwd`, or the other way round.
    HalfCredentials,
    /// Over [`MAX_CANDIDATES`] or [`MAX_MEDIA`].
    TooMany,
    /// Neither credentials nor candidates nor their end.
    Empty,
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FragmentError::TooLarge => write!(f, "the fragment is larger than {MAX_BYTES} bytes"),
            FragmentError::Line(line) => write!(f, "line {line} is not of the form `a=…`"),
            FragmentError::Value(line) => {
                write!(f, "line {line} has a malformed ice-ufrag, ice-pwd, mid or media line")
            }
            FragmentError::Candidate(line) => write!(f, "line {line} has a malformed candidate"),
            FragmentError::Differs(line) => {
                write!(
                    f,
                    "line {line} contradicts an earlier one; all media of a fragment share one transport"
                )
            }
            FragmentError::HalfCredentials => f.write_str("ice-ufrag and ice-pwd belong together"),
            FragmentError::TooMany => {
                write!(f, "more than {MAX_CANDIDATES} candidates or {MAX_MEDIA} media sections")
            }
            FragmentError::Empty => f.write_str("the fragment has neither credentials nor candidates"),
        }
    }
}

impl std::error::Error for FragmentError {}

/// The password is a secret of the connection.
impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).field("pwd", &"***").finish()
    }
}

impl SdpFragment {
    /// Parses a body of type `application/trickle-ice-sdpfrag`. Lines end with CRLF or LF.
    pub fn parse(text: &str) -> Result<SdpFragment, FragmentError> {
        if text.len() > MAX_BYTES {
            return Err(FragmentError::TooLarge);
        }
        let mut parser = Parser::default();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.is_empty() {
                parser.take(index + 1, line)?;
            }
        }
        parser.finish()
    }

    /// Every candidate with the `mid` of its section.
    pub fn all_candidates(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let general = self.candidates.iter().map(|candidate| (None, candidate.as_str()));
        let of_media = self.media.iter().flat_map(|media| {
            media.candidates.iter().map(|candidate| (media.mid.as_deref(), candidate.as_str()))
        });
        general.chain(of_media)
    }
}

/// Writes it with CRLF, ready to be sent.
impl fmt::Display for SdpFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(IceCredentials { ufrag, pwd }) = &self.credentials {
            write!(f, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n")?;
        }
        write_candidates(f, &self.candidates, self.end_of_candidates)?;
        for media in &self.media {
            write!(f, "m={} 9 UDP/TLS/RTP/SAVPF 0\r\n", media.kind)?;
            if let Some(mid) = &media.mid {
                write!(f, "a=mid:{mid}\r\n")?;
            }
            write_candidates(f, &media.candidates, media.end_of_candidates)?;
        }
        Ok(())
    }
}

fn write_candidates(f: &mut fmt::Formatter<'_>, candidates: &[String], end: bool) -> fmt::Result {
    for candidate in candidates {
        write!(f, "a={candidate}\r\n")?;
    }
    if end { f.write_str("a=end-of-candidates\r\n") } else { Ok(()) }
}

/// A fragment of which not every line was seen yet.
#[derive(Debug, Default)]
struct Parser {
    fragment: SdpFragment,
    ufrag: Option<String>,
    pwd: Option<String>,
    candidates: usize,
}

impl Parser {
    fn take(&mut self, number: usize, line: &str) -> Result<(), FragmentError> {
        let Some((kind, value)) = line.split_once('=') else { return Err(FragmentError::Line(number)) };
        let letter = kind.len() == 1 && kind.bytes().all(|byte| byte.is_ascii_lowercase());
        if !letter || value.chars().any(char::is_control) {
            return Err(FragmentError::Line(number));
        }
        match kind {
            "m" => self.media(number, value),
            "a" => self.attribute(number, value),
            _ => Ok(()),
        }
    }

    fn media(&mut self, number: usize, value: &str) -> Result<(), FragmentError> {
        if self.fragment.media.len() >= MAX_MEDIA {
            return Err(FragmentError::TooMany);
        }
        let kind = value.split(' ').next().unwrap_or_default();
        if kind.is_empty() || kind.len() > MAX_MID_BYTES || !kind.bytes().all(is_token) {
            return Err(FragmentError::Value(number));
        }
        self.fragment.media.push(FragmentMedia { kind: kind.to_owned(), ..FragmentMedia::default() });
        Ok(())
    }

    fn attribute(&mut self, number: usize, value: &str) -> Result<(), FragmentError> {
        let (name, rest) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "ice-ufrag" => once(&mut self.ufrag, rest, ice_text(rest, 4), number),
            "ice-pwd" => once(&mut self.pwd, rest, ice_text(rest, 22), number),
            "mid" => {
                let fits = !rest.is_empty() && rest.len() <= MAX_MID_BYTES && rest.bytes().all(is_token);
                match self.fragment.media.last_mut() {
                    Some(media) => once(&mut media.mid, rest, fits, number),
                    None => Err(FragmentError::Value(number)),
                }
            }
            "candidate" => self.candidate(number, value),
            "end-of-candidates" => {
                match self.fragment.media.last_mut() {
                    Some(media) => media.end_of_candidates = true,
                    None => self.fragment.end_of_candidates = true,
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn candidate(&mut self, number: usize, text: &str) -> Result<(), FragmentError> {
        if !is_candidate(text) {
            return Err(FragmentError::Candidate(number));
        }
        self.candidates += 1;
        if self.candidates > MAX_CANDIDATES {
            return Err(FragmentError::TooMany);
        }
        let list = match self.fragment.media.last_mut() {
            Some(media) => &mut media.candidates,
            None => &mut self.fragment.candidates,
        };
        list.push(text.to_owned());
        Ok(())
    }

    fn finish(self) -> Result<SdpFragment, FragmentError> {
        let Parser { mut fragment, ufrag, pwd, candidates } = self;
        fragment.credentials = match (ufrag, pwd) {
            (Some(ufrag), Some(pwd)) => Some(IceCredentials { ufrag, pwd }),
            (None, None) => None,
            _ => return Err(FragmentError::HalfCredentials),
        };
        let ends = fragment.end_of_candidates || fragment.media.iter().any(|media| media.end_of_candidates);
        if fragment.credentials.is_none() && candidates == 0 && !ends {
            return Err(FragmentError::Empty);
        }
        Ok(fragment)
    }
}

/// Notes a value that may be repeated but not contradicted.
fn once(slot: &mut Option<String>, value: &str, fits: bool, number: usize) -> Result<(), FragmentError> {
    match slot {
        _ if !fits => Err(FragmentError::Value(number)),
        Some(known) if known == value => Ok(()),
        Some(_) => Err(FragmentError::Differs(number)),
        None => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

/// `ice-char`s (RFC 8839, 5.4), from `least` to 256.
fn ice_text(text: &str, least: usize) -> bool {
    (least..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Characters of a token (RFC 8866, 9).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte)
}

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
    text.len() <= MAX_CANDIDATE_BYTES
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

#[cfg(test)]
mod tests;
