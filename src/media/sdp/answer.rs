//! Answers (RFC 3264): as many sections as the offer has, in its order, with its names.

use std::fmt::Write;

use super::codecs::{Format, about};
use super::offer::{MediaType, Offer, Section, Taken};
use super::{Description, Line, Part};

impl Offer {
    /// The whole answer, given the one to [`Offer::plain`]. `None` when that does not have what was agreed on.
    pub fn whole_answer(&self, answer: &str) -> Option<String> {
        let Description { session, media } = Description::parse(answer).ok()?;
        let candidates: Vec<&Line> =
            media.iter().flat_map(|part| part.0.iter()).filter(|line| is_candidate(line)).collect();
        let mut text = String::with_capacity(answer.len() + 256);
        // Writing to a String cannot fail.
        for line in session.0.iter().filter(|line| line.attribute().is_none_or(|(name, _)| name != "group")) {
            let _ = write!(text, "{line}");
        }
        let mids: Vec<&str> = self.taken().map(|(section, _)| section.mid.as_str()).collect();
        let _ = write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "));
        let mut answers = media.iter();
        for section in self.sections() {
            match &section.taken {
                Some(taken) => section.accepted(&mut text, taken, answers.next()?, &candidates)?,
                None => section.refused(&mut text),
            }
        }
        answers.next().is_none().then_some(text)
    }
}

impl Section {
    /// The answer of the WebRTC code, under the client's name, protocol and profile; candidates in every section, so that a client finds
    /// them wherever it looks.
    fn accepted(&self, text: &mut String, taken: &Taken, answer: &Part, candidates: &[&Line]) -> Option<()> {
        let head: Vec<&str> = answer.0.first()?.value.split(' ').collect();
        let [_, port, _, formats @ ..] = head.as_slice() else { return None };
        if *port == "0" || !formats.iter().any(|format| format.parse() == Ok(taken.format.payload_type)) {
            return None;
        }
        let [kind, _, protocol, ..] = self.words.as_slice() else { return None };
        let _ = write!(text, "m={kind} {port} {protocol} {}\r\n", formats.join(" "));
        for line in answer.0.iter().skip(1).filter(|line| !is_candidate(line)) {
            let _ = match line.attribute() {
                Some(("mid", _)) => {
                    candidates.iter().for_each(|line| {
                        let _ = write!(text, "{line}");
                    });
                    write!(text, "a=mid:{}\r\n", self.mid)
                }
                // Both ways, as WHIP wants it of both sides (RFC 9725, 4.4.1).
                Some(("rtcp-mux", _)) => write!(text, "a=rtcp-mux\r\na=rtcp-mux-only\r\n"),
                Some(("fmtp", value)) => {
                    write!(text, "a=fmtp:{}\r\n", with_the_offered_profile(value, taken))
                }
                _ => write!(text, "{line}"),
            };
        }
        Some(())
    }

    /// The offered one with port 0 (RFC 3264, 6). Formats mean nothing then, but werift wants a codec that both have all the same: it is the
    /// offered one that we know, else one that every parser knows without a map.
    fn refused(&self, text: &mut String) {
        let is_media = self.media != MediaType::Other;
        let [kind, _, protocol, formats @ ..] = self.words.as_slice() else { return };
        let known = self.formats().into_iter().filter(|_| self.is_live()).find(|format| self.knows(format));
        let formats = match &known {
            Some(format) => format.payload_type.to_string(),
            None if is_media || formats.is_empty() => "0".to_owned(),
            None => formats.join(" "),
        };
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
    }

    fn knows(&self, format: &Format) -> bool {
        match self.media {
            MediaType::Audio => format.is_opus(),
            MediaType::Video => format.video().is_some(),
            MediaType::Other => false,
        }
    }
}

/// H264 is answered with the profile that was offered (RFC 6184, 8.2.2).
fn with_the_offered_profile(value: &str, taken: &Taken) -> String {
    let (number, parameters) = value.split_once(' ').unwrap_or((value, ""));
    if about(value, taken.format.payload_type).is_none() {
        return value.to_owned();
    }
    let kept = parameters.split(';').filter_map(|pair| match pair.trim().split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("profile-level-id") => {
            Some(format!("profile-level-id={}", taken.format.parameter("profile-level-id")?))
        }
        _ => Some(pair.trim().to_owned()),
    });
    format!("{number} {}", kept.collect::<Vec<_>>().join(";"))
}

fn is_candidate(line: &Line) -> bool {
    line.attribute().is_some_and(|(name, _)| matches!(name, "candidate" | "end-of-candidates"))
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
