//! Descriptions of a room's members, who renegotiate all the time and on whose one connection both sides offer: larger than others, with
//! several sections of a kind, and answered or applied as a whole, because a section keeps its place for as long as the member is there.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::codecs::{Supported, VideoCodec};
use super::offer::{MediaType, Offer, Section, check_session};
use super::plain::extensions;
use super::rules::Most;
use super::{Description, Line, Part, SdpError};

/// Bytes of a member's description: Chromium's third offer in a room of fifty has 302 KiB.
pub const MAX_MEMBER_BYTES: usize = 512 * 1024;

/// Media sections of a member: what a hundred people send of pictures and sound, less what is not shown.
pub const MAX_MEMBER_SECTIONS: usize = 256;

/// SSRCs of a member's description. Some clients answer `sendrecv` in every section, and name there what they would send: a picture and its
/// repair. Layers that have SSRCs instead of names have the room that sections of sound leave, with one each.
pub const OF_A_MEMBER: Most = Most {
    ssrcs: MAX_MEMBER_SECTIONS * SSRCS_OF_A_SECTION,
    refusal: "a member's description has more than 512 SSRCs: two for each of 256 m= lines",
};

/// See [`OF_A_MEMBER`].
const SSRCS_OF_A_SECTION: usize = 2;

/// What a member may send and is sent.
fn codecs() -> Supported {
    Supported { video: vec![VideoCodec::Vp8], opus: true }
}

/// Names for a section of ours that carries a track to the member: stream and track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The same for all tracks that are to be played together.
    pub stream: String,
    /// Its own.
    pub track: String,
}

impl Offer {
    /// Reads and checks a member's offer or answer. `None`: it has no media section, which Chromium makes when its page sets other relays
    /// before it has a track.
    pub fn read_of_member(text: &str) -> Result<Option<Offer>, SdpError> {
        if text.len() > MAX_MEMBER_BYTES {
            return Err(SdpError::unusable(format!("a description has at most {MAX_MEMBER_BYTES} bytes")));
        }
        let description = Description::parse_within(text, MAX_MEMBER_BYTES)?;
        let sections = description.media.len();
        if sections > MAX_MEMBER_SECTIONS {
            return Err(SdpError::unusable(format!("more than {MAX_MEMBER_SECTIONS} m= lines")));
        }
        check_session(&description.session)?;
        let offer = Offer::of(description)?;
        if sections == 0 {
            return Ok(None);
        }
        for section in &offer.sections {
            if section.local_mid != section.mid || section.mid.is_empty() {
                return Err(SdpError::unusable("a=mid has 1 to 16 letters and digits"));
            }
            if section.media == MediaType::Other && section.kind() != "application" {
                return Err(SdpError::unusable("m= lines are audio, video and one application"));
            }
        }
        if offer.sections.iter().filter(|section| section.media == MediaType::Other).count() > 1 {
            return Err(SdpError::unusable("one m=application is enough"));
        }
        offer.check_transport_of_member(&OF_A_MEMBER)?;
        Ok(Some(offer))
    }

    /// Settles codecs and ways: `way` says for a section, from what it is called and whether its author sends and receives, what of that
    /// is taken.
    pub fn agree_with_member(
        &mut self,
        way: impl Fn(&str, bool, bool) -> (bool, bool),
    ) -> Result<(), SdpError> {
        let supported = codecs();
        for section in self.sections.iter_mut().filter(|section| section.is_live()) {
            (section.sends, section.receives) = way(&section.mid, section.sends, section.receives);
            section.taken = section.first_common(&supported);
            if section.taken.is_none() {
                let wanted = if section.media == MediaType::Audio { "Opus" } else { "VP8" };
                return Err(SdpError::unusable(format!(
                    "section {} has no {wanted}, which all in a room send and receive",
                    section.mid
                )));
            }
        }
        Ok(())
    }

    /// Whether it has data channels.
    pub fn has_data_channels(&self) -> bool {
        self.sections.iter().any(|section| section.media == MediaType::Other && !section.rejected)
    }

    /// The SSRCs that it names for what its author sends.
    pub fn sources(&self) -> HashSet<u32> {
        let sending = self.taken().filter(|(section, _)| section.sends);
        sending.flat_map(|(section, _)| section.sources()).collect()
    }

    /// The text for the WebRTC code behind us: every section in its place. A member is found by its checks, so no candidate is in it.
    pub fn plain_of_member(&self) -> String {
        let mut text = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
        // Writing to a String cannot fail.
        for section in self.sections.iter().filter(|section| !section.rejected) {
            let _ = write!(text, " {}", section.mid);
        }
        text.push_str("\r\n");
        self.plain_transport(&mut text, &[]);
        let mut meanings = HashMap::new();
        for (index, section) in self.sections.iter().enumerate() {
            match &section.taken {
                Some(taken) => {
                    section.plain(&mut text, taken, index);
                    extensions(&mut text, &[&section.part, &self.session], &mut meanings);
                }
                None => section.plain_without_media(&mut text),
            }
        }
        text
    }
}

impl Section {
    fn kind(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// Data channels, or what is stopped.
    fn plain_without_media(&self, text: &mut String) {
        let mid = &self.mid;
        let _ = if self.media == MediaType::Other {
            write!(
                text,
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n\
                 a=sctp-port:5000\r\na=max-message-size:262144\r\n"
            )
        } else {
            let kind = self.kind();
            write!(
                text,
                "m={kind} 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n"
            )
        };
    }
}

/// The names of a description's sections in their order, of a text of ours.
pub fn section_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("a=mid:"))
}

/// What a member is told, given what the WebRTC code behind us says: an offer or an answer of ours. `carried` has the names of what sections
/// carry at present, by `mid`; `bits` is what a picture of the member may use per second.
pub fn told_to_member(text: &str, carried: &HashMap<String, Carried>, bits: u64) -> Option<String> {
    let Description { session, media } = Description::parse_within(text, usize::MAX).ok()?;
    let is_candidate = |line: &&Line| line.attribute().is_some_and(|(name, _)| name == "candidate");
    let candidates: Vec<&Line> = media.iter().flat_map(|part| &part.0).filter(is_candidate).collect();
    let mut told = String::with_capacity(text.len() + 256);
    // Writing to a String cannot fail.
    for line in &session.0 {
        let _ = write!(told, "{line}");
    }
    let mut is_placed = false;
    for part in &media {
        let is_live = part.0.first().is_some_and(|head| head.value.split(' ').nth(1) != Some("0"));
        let names = part.attribute("mid").and_then(|mid| carried.get(mid));
        section_told(&mut told, part, names, bits);
        // Once: each costs every one of hundreds of sections a line.
        if is_live && !is_placed {
            is_placed = true;
            candidates.iter().for_each(|line| {
                let _ = write!(told, "{line}");
            });
        }
    }
    Some(told)
}

fn section_told(told: &mut String, part: &Part, names: Option<&Carried>, bits: u64) {
    for line in &part.0 {
        let _ = match (line.letter, line.attribute()) {
            // A format is wanted even of what is stopped (RFC 8866, 9).
            ('m', _) if line.value.split(' ').count() < 4 => {
                write!(told, "m={} 0\r\n", line.value.trim_end())
            }
            ('c', _) if part.0.first().is_some_and(|head| head.value.starts_with("video ")) => {
                write!(told, "{line}b=TIAS:{bits}\r\n")
            }
            (_, Some(("candidate", _))) => Ok(()),
            // Said once by `a=msid`; what is not said cannot be wrong when a section carries something else.
            (_, Some(("ssrc", value)))
                if value.split_once(' ').is_some_and(|(_, rest)| rest.starts_with("msid:")) =>
            {
                Ok(())
            }
            (_, Some(("msid", _))) => match names {
                Some(Carried { stream, track }) => write!(told, "a=msid:{stream} {track}\r\n"),
                None => write!(told, "{line}"),
            },
            _ => write!(told, "{line}"),
        };
    }
}

/// The answer to an offer without a media section.
pub fn answer_to_nothing() -> String {
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=msid-semantic: WMS\r\n".to_owned()
}

#[cfg(test)]
mod tests;
