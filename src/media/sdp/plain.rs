//! The offer as the WebRTC code behind us reads it: written by us, in its grammar, with what will be answered and nothing else.
//!
//! One transport for all, one codec a section. What a client wrote reaches it only as a number, a token, or a text that was checked.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::codecs::VideoCodec;
use super::offer::{MID_EXTENSION, MediaType, Offer, Section, Setup, Taken};
use super::{Part, rules};

/// The profile under which all H264 goes behind us, which does not decode it. The answer says what was offered.
pub const PLAIN_PROFILE: u8 = 0x42;

/// Feedback that means something to us (RFC 4585).
const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];

impl Offer {
    /// The text; only of an offer on which something was [agreed](Offer::agree).
    pub fn plain(&self) -> String {
        let mut text = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
        // Writing to a String cannot fail.
        for (section, _) in self.taken() {
            let _ = write!(text, " {}", section.local_mid);
        }
        text.push_str("\r\n");
        self.plain_transport(&mut text, &self.ice().candidates);
        let mut meanings = HashMap::new();
        // A mid that has another name here would not be known by it on packets.
        if self.taken().any(|(section, _)| section.local_mid != section.mid) {
            meanings.insert(MID_EXTENSION, None);
        }
        for (index, (section, taken)) in self.taken().enumerate() {
            section.plain(&mut text, taken, index);
            extensions(&mut text, &[&section.part, &self.session], &mut meanings);
        }
        text
    }

    pub(super) fn plain_transport(&self, text: &mut String, candidates: &[String]) {
        let ice = self.ice();
        if self.is_lite() {
            text.push_str("a=ice-lite\r\n");
        }
        let setup = self.setup().unwrap_or(Setup::ActPass).name();
        let _ = write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.ufrag, ice.pwd);
        for fingerprint in self.fingerprints().iter().take(1) {
            let _ = write!(text, "a=fingerprint:{fingerprint}\r\n");
        }
        let _ = write!(text, "a=setup:{setup}\r\n");
        for candidate in candidates {
            let _ = write!(text, "a={candidate}\r\n");
        }
    }
}

impl Section {
    pub(super) fn plain(&self, text: &mut String, taken: &Taken, index: usize) {
        let kind = if self.media == MediaType::Audio { "audio" } else { "video" };
        let format = taken.format.payload_type;
        let _ = write!(text, "m={kind} 9 UDP/TLS/RTP/SAVPF {format}");
        if let Some(repair) = taken.repair {
            let _ = write!(text, " {repair}");
        }
        let direction = match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        let _ = write!(text, "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na={direction}\r\n", self.local_mid);
        self.plain_stream_name(text, index);
        text.push_str("a=rtcp-mux\r\n");
        let encoding = match (self.media, taken.format.video()) {
            (MediaType::Audio, _) | (_, None) => "opus/48000/2",
            (_, Some(VideoCodec::Vp8)) => "VP8/90000",
            (_, Some(VideoCodec::H264 { .. })) => "H264/90000",
        };
        let _ = write!(text, "a=rtpmap:{format} {encoding}\r\n");
        if matches!(taken.format.video(), Some(VideoCodec::H264 { .. })) {
            let _ = write!(
                text,
                "a=fmtp:{format} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={PLAIN_PROFILE:02x}e01f\r\n"
            );
        }
        self.plain_feedback(text, format);
        if let Some(repair) = taken.repair {
            let _ = write!(text, "a=rtpmap:{repair} rtx/90000\r\na=fmtp:{repair} apt={format}\r\n");
        }
        if self.sends {
            self.plain_streams(text);
        }
    }

    /// Audio and video without a stream name would be answered as different streams, which players never synchronise: both get the
    /// same one.
    fn plain_stream_name(&self, text: &mut String, index: usize) {
        let named = self.part.attribute("msid").and_then(|value| value.split_once(' '));
        let _ = match named {
            Some((stream, track)) => write!(text, "a=msid:{stream} {}\r\n", track.trim()),
            None if !self.sends => write!(text, "a=msid:stream0 track{index}\r\n"),
            None => Ok(()),
        };
    }

    fn plain_feedback(&self, text: &mut String, format: u8) {
        let values: Vec<&str> =
            self.part.attributes("rtcp-fb").filter_map(|value| feedback(value, format)).collect();
        for name in FEEDBACK.iter().filter(|name| values.contains(name)) {
            let _ = write!(text, "a=rtcp-fb:{format} {name}\r\n");
        }
    }

    /// The SSRCs that it names, some of them several times.
    pub(super) fn sources(&self) -> impl Iterator<Item = u32> {
        self.part.attributes("ssrc").filter_map(|value| value.split(' ').next()?.parse().ok())
    }

    /// Layers and sources. Their form was checked with the rules.
    fn plain_streams(&self, text: &mut String) {
        for rid in self.part.attributes("rid").filter_map(|value| value.split(' ').next()) {
            let _ = write!(text, "a=rid:{rid} send\r\n");
        }
        if let Some(layers) = self.part.attribute("simulcast") {
            let _ = write!(text, "a=simulcast:{layers}\r\n");
        }
        let mut known = HashSet::new();
        for ssrc in self.sources().filter(|ssrc| known.insert(*ssrc)) {
            let _ = write!(text, "a=ssrc:{ssrc} cname:-\r\n");
        }
        for value in self.part.attributes("ssrc-group") {
            let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
            let ["FID" | "fid", main, repair] = words.as_slice() else { continue };
            if let (Ok(main), Ok(repair)) = (main.parse::<u32>(), repair.parse::<u32>()) {
                let _ = write!(text, "a=ssrc-group:FID {main} {repair}\r\n");
            }
        }
    }
}

/// What a value says of a format, or of all (`*`).
fn feedback(value: &str, format: u8) -> Option<&str> {
    let (number, name) = value.split_once(' ')?;
    (number == "*" || number.parse() == Ok(format)).then_some(name.trim())
}

/// Header extensions: each number with one meaning in all sections, each meaning with one number. Some offerers count anew in each
/// section; a later meaning is left out, so it is not agreed on.
pub(super) fn extensions<'a>(
    text: &mut String,
    parts: &[&'a Part],
    meanings: &mut HashMap<&'a str, Option<u8>>,
) {
    let mut here: Vec<u8> = Vec::new();
    for (id, uri) in parts.iter().flat_map(|part| part.attributes("extmap")).filter_map(rules::extension) {
        let is_free = !meanings.iter().any(|(other, number)| *other != uri && *number == Some(id));
        if is_free && !here.contains(&id) && *meanings.entry(uri).or_insert(Some(id)) == Some(id) {
            here.push(id);
            let _ = write!(text, "a=extmap:{id} {uri}\r\n");
        }
    }
}
