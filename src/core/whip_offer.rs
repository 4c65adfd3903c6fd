//! Offers of WHIP and WHEP clients (RFC 8829, RFC 9725), checked before any WebRTC code sees them: refused with a reason
//! that says what to change, or made ready.
//!
//! Reads only what decides. One codec per kind: a viewer must be able to take what the source has, a publisher must be
//! able to send something that viewers take.

use std::fmt::Write;

use crate::core::sdp_rules::{self, is_ice_text};

/// Largest offer in bytes.
pub const OFFER_LIMIT: usize = crate::core::sdp_offer::MAX_OFFER;

/// Most sections: audio, video, data, and a few that the client has stopped.
const MOST_SECTIONS: usize = 16;

/// What the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To watch (WHEP).
    View,
    /// To send (WHIP).
    Publish,
}

/// A video codec that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 6184, packetization mode 1, with this `profile_idc`: 0x42 baseline, 0x4D main, 0x64 high.
    H264 {
        /// First byte of `profile-level-id`.
        profile: u8,
    },
}

/// What the other side has: for a viewer the source's codecs, for a publisher what may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    /// Video codecs, any of them; none when there is no video.
    pub video: Vec<VideoCodec>,
    /// Whether there is audio, which is Opus.
    pub opus: bool,
}

/// An offer that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The text, with stream names where players need them for lip sync.
    pub text: String,
    /// User fragment of the client's ICE session.
    pub ufrag: String,
    /// The video codec both have; the first of the client's list.
    pub video: Option<VideoCodec>,
    /// Whether both have Opus.
    pub opus: bool,
}

/// Why an offer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferProblem {
    /// It is no session description (400).
    Malformed(&'static str),
    /// It is longer than [`OFFER_LIMIT`] (413).
    TooLarge,
    /// It is one, but of a session that cannot be had here (422).
    Unusable(&'static str),
}

impl OfferProblem {
    /// The HTTP status of the refusal.
    pub fn status(self) -> u16 {
        match self {
            OfferProblem::Malformed(_) => 400,
            OfferProblem::TooLarge => 413,
            OfferProblem::Unusable(_) => 422,
        }
    }

    /// What to change.
    pub fn detail(self) -> &'static str {
        match self {
            OfferProblem::Malformed(detail) | OfferProblem::Unusable(detail) => detail,
            OfferProblem::TooLarge => "the offer is longer than 64 KiB",
        }
    }
}

/// The header extension by which a client tells when each packet arrived.
const ARRIVALS: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

impl Offer {
    /// Whether the client tells when packets arrived: without that its network cannot be measured.
    pub fn tells_arrivals(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("a=extmap:") && line.contains(ARRIVALS))
    }
}

use OfferProblem::{Malformed, Unusable};

/// Checks an offer and makes it ready.
pub fn check(body: &[u8], purpose: Purpose, supported: &Supported) -> Result<Offer, OfferProblem> {
    if body.len() > OFFER_LIMIT {
        return Err(OfferProblem::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed("the offer is not UTF-8"))?;
    let description = Description::read(text)?;
    description.check_transport()?;
    let active = || description.sections.iter().filter(|section| section.is_active());
    let (mut video, mut opus) = (None, false);
    for section in active() {
        if !section.goes(purpose) {
            return Err(Unusable(match purpose {
                Purpose::View => "a viewer's audio and video are recvonly",
                Purpose::Publish => "a publisher's audio and video are sendonly",
            }));
        }
        match section.kind {
            Kind::Video => video = section.first_common(&supported.video),
            Kind::Audio => opus = supported.opus && section.codecs().any(|codec| codec.is_opus()),
            Kind::Other => {}
        }
    }
    let wants = |kind| active().any(|section| section.kind == kind);
    if wants(Kind::Video) && !supported.video.is_empty() && video.is_none() {
        return Err(Unusable("no video codec in common; offer VP8 and H264 with packetization-mode=1"));
    }
    if video.is_none() && !opus {
        return Err(Unusable("nothing in common with what is here: offer audio (Opus) or video (VP8, H264)"));
    }
    let ufrag = description.ufrag().ok_or(Malformed("a=ice-ufrag is missing"))?.to_owned();
    Ok(Offer { text: description.with_stream_names(), ufrag, video, opus })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    Video,
    Other,
}

/// A session description, as far as it matters.
struct Description<'a> {
    session: Vec<&'a str>,
    sections: Vec<Section<'a>>,
}

struct Section<'a> {
    kind: Kind,
    rejected: bool,
    lines: Vec<&'a str>,
}

/// One entry of `a=rtpmap`, with its parameters.
struct Codec<'a> {
    encoding: &'a str,
    parameters: &'a str,
}

impl<'a> Description<'a> {
    fn read(text: &'a str) -> Result<Description<'a>, OfferProblem> {
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if lines.next() != Some("v=0") {
            return Err(Malformed("a session description begins with v=0"));
        }
        let mut description = Description { session: Vec::new(), sections: Vec::new() };
        for line in lines.filter(|line| !line.is_empty()) {
            let well_formed =
                matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]) && !line.contains(char::is_control);
            if !well_formed {
                return Err(Malformed("a line is not of the form letter=value"));
            }
            if let Some(media) = line.strip_prefix("m=") {
                description.sections.push(Section::begin(line, media)?);
            } else if let Some(section) = description.sections.last_mut() {
                section.lines.push(line);
            } else {
                description.session.push(line);
            }
        }
        match description.sections.len() {
            0 => Err(Malformed("there is no m= line")),
            1..=MOST_SECTIONS => Ok(description),
            _ => Err(Unusable("too many m= lines")),
        }
    }

    /// Everything but codecs and directions.
    fn check_transport(&self) -> Result<(), OfferProblem> {
        let active = || self.sections.iter().filter(|section| section.is_active());
        for kind in [Kind::Audio, Kind::Video] {
            if active().filter(|section| section.kind == kind).count() > 1 {
                return Err(Unusable("at most one audio and one video, each in one m= line"));
            }
        }
        let bundle = self.session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE"));
        let bundled: Vec<&str> =
            bundle.unwrap_or_default().split(' ').filter(|mid| !mid.is_empty()).collect();
        for section in active() {
            let mid = section.attribute("mid").ok_or(Malformed("a=mid is missing"))?;
            if !bundled.contains(&mid) {
                return Err(Unusable("every m= line must be in a=group:BUNDLE"));
            }
            if !section.has("a=rtcp-mux") {
                return Err(Unusable("a=rtcp-mux is missing"));
            }
            if self.attribute_of(section, "fingerprint").is_none() {
                return Err(Malformed("a=fingerprint is missing"));
            }
            if matches!(self.attribute_of(section, "setup"), Some(setup) if !matches!(setup, "actpass" | "active"))
            {
                return Err(Unusable("a=setup must be actpass or active"));
            }
            let sizes = [
                ("ice-ufrag", 4, "a=ice-ufrag is missing or too short"),
                ("ice-pwd", 22, "a=ice-pwd is missing or too short"),
            ];
            for (name, least, words) in sizes {
                let value = self.attribute_of(section, name).filter(|value| is_ice_text(value, least));
                value.ok_or(Malformed(words))?;
            }
        }
        let parts: Vec<_> = (self.sections.iter())
            .map(|section| sdp_rules::Section { live: section.is_active(), lines: section.lines.clone() })
            .collect();
        sdp_rules::check(&parts).map_err(Unusable)
    }

    /// A section's attribute, else the session's.
    fn attribute_of(&self, section: &Section<'a>, name: &str) -> Option<&'a str> {
        section.attribute(name).or_else(|| attribute(&self.session, name))
    }

    fn ufrag(&self) -> Option<&'a str> {
        self.sections
            .iter()
            .filter(|section| section.is_active())
            .find_map(|section| self.attribute_of(section, "ice-ufrag"))
    }

    /// Audio and video without a stream name would be answered as different streams, which players never synchronise:
    /// both get the same one.
    fn with_stream_names(&self) -> String {
        let mut text = String::from("v=0\r\n");
        // Writing to a String cannot fail.
        for line in &self.session {
            let _ = write!(text, "{line}\r\n");
        }
        for (index, section) in self.sections.iter().enumerate() {
            let nameless = section.is_active() && section.attribute("msid").is_none();
            for line in &section.lines {
                let _ = write!(text, "{line}\r\n");
                if nameless && *line == "a=recvonly" {
                    let _ = write!(text, "a=msid:stream0 track{index}\r\n");
                }
            }
        }
        text
    }
}

impl<'a> Section<'a> {
    fn begin(line: &'a str, media: &'a str) -> Result<Section<'a>, OfferProblem> {
        let mut parts = media.split(' ');
        let (kind, port) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let port: u16 = port.parse().map_err(|_| Malformed("an m= line has no port"))?;
        let protocol = parts.next().ok_or(Malformed("an m= line has no protocol"))?;
        let kind = match (kind, protocol.contains("RTP/SAVP")) {
            ("audio", true) => Kind::Audio,
            ("video", true) => Kind::Video,
            ("audio" | "video", false) => return Err(Unusable("audio and video must be UDP/TLS/RTP/SAVPF")),
            _ => Kind::Other,
        };
        Ok(Section { kind, rejected: port == 0, lines: vec![line] })
    }

    /// Audio or video that is to be had. Port 0 with `a=bundle-only` is (RFC 8843, 6).
    fn is_active(&self) -> bool {
        self.kind != Kind::Other && (!self.rejected || self.has("a=bundle-only"))
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute(&self.lines, name)
    }

    fn has(&self, line: &str) -> bool {
        self.lines.contains(&line)
    }

    fn goes(&self, purpose: Purpose) -> bool {
        let direction = ["a=recvonly", "a=sendonly", "a=inactive"].into_iter().find(|line| self.has(line));
        match direction {
            None => true,
            Some(direction) => match purpose {
                Purpose::View => direction == "a=recvonly",
                Purpose::Publish => direction == "a=sendonly",
            },
        }
    }

    /// Codecs in the order of the client's preference.
    fn codecs(&self) -> impl Iterator<Item = Codec<'a>> {
        let formats = self.lines.first().into_iter().flat_map(|line| line.split(' ').skip(3));
        formats.filter_map(|format| {
            let of = |name: &str| {
                self.lines.iter().find_map(|line| {
                    line.strip_prefix("a=")?
                        .strip_prefix(name)?
                        .strip_prefix(':')?
                        .strip_prefix(format)?
                        .strip_prefix(' ')
                })
            };
            Some(Codec { encoding: of("rtpmap")?, parameters: of("fmtp").unwrap_or_default() })
        })
    }

    fn first_common(&self, supported: &[VideoCodec]) -> Option<VideoCodec> {
        self.codecs().filter_map(|codec| codec.video()).find(|codec| supported.contains(codec))
    }
}

impl Codec<'_> {
    fn is_opus(&self) -> bool {
        self.encoding.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("opus/48000/"))
    }

    fn video(&self) -> Option<VideoCodec> {
        if self.encoding.eq_ignore_ascii_case("VP8/90000") {
            return Some(VideoCodec::Vp8);
        }
        let fits = self.encoding.eq_ignore_ascii_case("H264/90000")
            && self.parameter("packetization-mode") == Some("1");
        // Without the parameter it is baseline (RFC 6184, 8.1).
        let id = self.parameter("profile-level-id").unwrap_or("42e00a");
        let profile = u8::from_str_radix(id.get(..2)?, 16).ok()?;
        fits.then_some(VideoCodec::H264 { profile })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

fn attribute<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines
        .iter()
        .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests;
