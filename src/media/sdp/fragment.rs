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

use super::{
    Description, Line, MAX_FRAGMENT_CANDIDATES, MAX_SECTIONS, Part, SdpError, is_candidate, is_mid,
    is_password, is_user_fragment,
};

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

/// The password is a secret of the connection.
impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).field("pwd", &"***").finish()
    }
}

impl SdpFragment {
    /// Parses a body of type `application/trickle-ice-sdpfrag`. Lines end with CRLF or LF.
    pub fn parse(text: &str) -> Result<SdpFragment, SdpError> {
        let Description { session, media } = Description::parse(text)?;
        if media.len() > MAX_SECTIONS {
            return Err(SdpError::TooMany);
        }
        let mut parser = Parser::default();
        session.0.iter().try_for_each(|line| parser.attribute(line))?;
        for part in &media {
            parser.media(part)?;
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
    fn media(&mut self, part: &Part) -> Result<(), SdpError> {
        let [head, rest @ ..] = part.0.as_slice() else { return Ok(()) };
        let kind = head.value.split(' ').next().unwrap_or_default();
        if !is_mid(kind) {
            return Err(SdpError::Value(head.number));
        }
        self.fragment.media.push(FragmentMedia { kind: kind.to_owned(), ..FragmentMedia::default() });
        rest.iter().try_for_each(|line| self.attribute(line))
    }

    fn attribute(&mut self, line: &Line) -> Result<(), SdpError> {
        let Some((name, value)) = line.attribute() else { return Ok(()) };
        match name {
            "ice-ufrag" => once(&mut self.ufrag, value, is_user_fragment(value), line.number),
            "ice-pwd" => once(&mut self.pwd, value, is_password(value), line.number),
            "mid" => match self.fragment.media.last_mut() {
                Some(media) => once(&mut media.mid, value, is_mid(value), line.number),
                None => Err(SdpError::Value(line.number)),
            },
            "candidate" => self.candidate(line.number, format!("candidate:{value}")),
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

    fn candidate(&mut self, number: usize, text: String) -> Result<(), SdpError> {
        if !is_candidate(&text) {
            return Err(SdpError::Candidate(number));
        }
        self.candidates += 1;
        if self.candidates > MAX_FRAGMENT_CANDIDATES {
            return Err(SdpError::TooMany);
        }
        match self.fragment.media.last_mut() {
            Some(media) => media.candidates.push(text),
            None => self.fragment.candidates.push(text),
        }
        Ok(())
    }

    fn finish(self) -> Result<SdpFragment, SdpError> {
        let Parser { mut fragment, ufrag, pwd, candidates } = self;
        fragment.credentials = match (ufrag, pwd) {
            (Some(ufrag), Some(pwd)) => Some(IceCredentials { ufrag, pwd }),
            (None, None) => None,
            _ => return Err(SdpError::HalfCredentials),
        };
        let ends = fragment.end_of_candidates || fragment.media.iter().any(|media| media.end_of_candidates);
        if fragment.credentials.is_none() && candidates == 0 && !ends {
            return Err(SdpError::Empty);
        }
        Ok(fragment)
    }
}

/// Notes a value that may be repeated but not contradicted.
fn once(slot: &mut Option<String>, value: &str, fits: bool, number: usize) -> Result<(), SdpError> {
    match slot {
        _ if !fits => Err(SdpError::Value(number)),
        Some(known) if known == value => Ok(()),
        Some(_) => Err(SdpError::Differs(number)),
        None => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
