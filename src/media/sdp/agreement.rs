//! What is kept of an offer once it is answered: enough for the answer to an ICE restart, in a few texts. The offer itself has a hundred lines
//! and more, of which each would be a piece of memory for as long as the viewer stays.

use std::fmt::Write;

use super::codecs::about;
use super::offer::{IceParameters, MAX_CANDIDATES, Offer, Section};
use super::{Description, Line, Part, plain_candidate};

/// An offer on which something was [agreed](Offer::agree).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    plain: Box<str>,
    sections: Box<[Answered]>,
}

/// How a section is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// As the WebRTC code does, under the client's names.
    Taken(Taken),
    /// With this text.
    Refused(Box<str>),
}

/// What the answer of a section takes over from the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The first and third words of its `m=` line: kind and protocol.
    pub(super) kind: Box<str>,
    pub(super) protocol: Box<str>,
    pub(super) mid: Box<str>,
    pub(super) payload_type: u8,
    /// The profile that was offered of H264.
    pub(super) profile: Option<Box<str>>,
}

impl Agreement {
    /// What is to be kept of this offer. `None`: a section lacks words that every `m=` line has.
    pub fn of(offer: &Offer) -> Option<Agreement> {
        let sections: Option<Box<[Answered]>> = offer.sections().iter().map(Section::answered).collect();
        Some(Agreement { plain: offer.plain().into(), sections: sections? })
    }

    /// The text for the WebRTC code, as [`Offer::plain`] wrote it.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// The same with other ICE parameters: what an ICE restart of this peer would have offered.
    pub fn restarted(&self, ice: &IceParameters) -> String {
        let mut text = String::with_capacity(self.plain.len() + 64);
        // Writing to a String cannot fail.
        for line in self.plain.lines().filter(|line| !line.starts_with("a=candidate:")) {
            let _ = match line.split_once(':') {
                Some(("a=ice-ufrag", _)) => write!(text, "a=ice-ufrag:{}\r\n", ice.ufrag),
                Some(("a=ice-pwd", _)) => write!(text, "a=ice-pwd:{}\r\n", ice.pwd),
                _ => write!(text, "{line}\r\n"),
            };
            if line.starts_with("a=setup:") {
                let candidates = ice.candidates.iter().filter_map(|candidate| plain_candidate(candidate));
                candidates.take(MAX_CANDIDATES).for_each(|candidate| {
                    let _ = write!(text, "a={candidate}\r\n");
                });
            }
        }
        text
    }

    /// The whole answer, given the one to the plain text. `None` when that does not have what was agreed on.
    pub fn whole_answer(&self, answer: &str) -> Option<String> {
        let Description { session, media } = Description::parse(answer).ok()?;
        let candidates: Vec<&Line> =
            media.iter().flat_map(|part| part.0.iter()).filter(|line| is_candidate(line)).collect();
        let mut text = String::with_capacity(answer.len() + 256);
        for line in session.0.iter().filter(|line| line.attribute().is_none_or(|(name, _)| name != "group")) {
            let _ = write!(text, "{line}");
        }
        text.push_str("a=group:BUNDLE");
        for section in &self.sections {
            if let Answered::Taken(taken) = section {
                let _ = write!(text, " {}", taken.mid);
            }
        }
        text.push_str("\r\n");
        let mut answers = media.iter();
        for section in &self.sections {
            match section {
                Answered::Taken(taken) => taken.answer(&mut text, answers.next()?, &candidates)?,
                Answered::Refused(refusal) => text.push_str(refusal),
            }
        }
        answers.next().is_none().then_some(text)
    }
}

impl Taken {
    /// The answer of the WebRTC code, under the client's name, protocol and profile; candidates in every section, so that a client finds
    /// them wherever it looks.
    fn answer(&self, text: &mut String, answer: &Part, candidates: &[&Line]) -> Option<()> {
        let head: Vec<&str> = answer.0.first()?.value.split(' ').collect();
        let [_, port, _, formats @ ..] = head.as_slice() else { return None };
        if *port == "0" || !formats.iter().any(|format| format.parse() == Ok(self.payload_type)) {
            return None;
        }
        let _ = write!(text, "m={} {port} {} {}\r\n", self.kind, self.protocol, formats.join(" "));
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
                Some(("fmtp", value)) => write!(text, "a=fmtp:{}\r\n", self.with_the_offered_profile(value)),
                _ => write!(text, "{line}"),
            };
        }
        Some(())
    }

    /// H264 is answered with the profile that was offered (RFC 6184, 8.2.2).
    fn with_the_offered_profile(&self, value: &str) -> String {
        let (number, parameters) = value.split_once(' ').unwrap_or((value, ""));
        if about(value, self.payload_type).is_none() {
            return value.to_owned();
        }
        let kept = parameters.split(';').filter_map(|pair| match pair.trim().split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("profile-level-id") => {
                Some(format!("profile-level-id={}", self.profile.as_deref()?))
            }
            _ => Some(pair.trim().to_owned()),
        });
        format!("{number} {}", kept.collect::<Vec<_>>().join(";"))
    }
}

fn is_candidate(line: &Line) -> bool {
    line.attribute().is_some_and(|(name, _)| matches!(name, "candidate" | "end-of-candidates"))
}
