//! Answers (RFC 3264): as many sections as the offer has, in its order, with its names.

use std::fmt::Write;

use super::agreement::{self, Answered};
use super::codecs::Format;
use super::offer::{MediaType, Section};

impl Section {
    /// How it is answered. `None`: its `m=` line lacks words.
    pub(super) fn answered(&self) -> Option<Answered> {
        let [kind, _, protocol, ..] = self.words.as_slice() else { return None };
        let Some(taken) = &self.taken else { return Some(Answered::Refused(self.refusal().into())) };
        Some(Answered::Taken(agreement::Taken {
            kind: kind.as_str().into(),
            protocol: protocol.as_str().into(),
            mid: self.mid.as_str().into(),
            payload_type: taken.format.payload_type,
            profile: taken.format.parameter("profile-level-id").map(Into::into),
        }))
    }

    /// The offered one with port 0 (RFC 3264, 6). Formats mean nothing then, but werift wants a codec that both have all the same: it is the
    /// offered one that we know, else one that every parser knows without a map.
    fn refusal(&self) -> String {
        let mut text = String::new();
        let is_media = self.media != MediaType::Other;
        let [kind, _, protocol, formats @ ..] = self.words.as_slice() else { return text };
        let known = self.formats().into_iter().filter(|_| self.is_live()).find(|format| self.knows(format));
        let formats = match &known {
            Some(format) => format.payload_type.to_string(),
            None if is_media || formats.is_empty() => "0".to_owned(),
            None => formats.join(" "),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "m={kind} 0 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\n");
        if let Some(format) = known {
            let _ = write!(text, "a=rtpmap:{} {}\r\n", format.payload_type, format.encoding);
        }
        if is_media {
            text.push_str("a=inactive\r\n");
        }
        if !self.mid.is_empty() {
            let _ = write!(text, "a=mid:{}\r\n", self.mid);
        }
        text
    }

    fn knows(&self, format: &Format) -> bool {
        match self.media {
            MediaType::Audio => format.is_opus(),
            MediaType::Video => format.video().is_some(),
            MediaType::Other => false,
        }
    }
}

/// The answer for `webrtc.icetrickle: false`: it says that every candidate is in it (RFC 8840, 4.1.2 and 4.1.3).
pub fn complete(answer: &str) -> String {
    let mut text = String::with_capacity(answer.len() + 64);
    let mut lines = answer.lines().filter(|line| *line != "a=ice-options:trickle").peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push_str("\r\n");
        let more = lines.peek().is_some_and(|next| next.starts_with("a=candidate:"));
        if line.starts_with("a=candidate:") && !more {
            text.push_str("a=end-of-candidates\r\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_answer_ends_its_candidates_and_expects_none() {
        let answer = "v=0\r\na=ice-lite\r\nm=audio 9 x 111\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
a=candidate:2 1 udp 1 192.0.2.2 5 typ host\r\na=ice-ufrag:abcd\r\na=ice-options:trickle\r\na=mid:0\r\nm=video 0 x 0\r\n";
        let expected = "v=0\r\na=ice-lite\r\nm=audio 9 x 111\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
a=candidate:2 1 udp 1 192.0.2.2 5 typ host\r\na=end-of-candidates\r\na=ice-ufrag:abcd\r\na=mid:0\r\nm=video 0 x 0\r\n";
        assert_eq!(complete(answer), expected);
    }
}
