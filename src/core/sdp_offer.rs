//! What an SDP offer must have before a peer is built for it, and the few changes that we make to one.
//!
//! This is no SDP parser: str0m has one. It looks at lines, refuses what str0m would take without use (no BUNDLE, no
//! fingerprint, a section that nobody reads) or would end at ([`sdp_rules`]), and rewrites single lines: ICE parameters for a restart
//! (str0m restarts ICE only through a whole offer), directions, stream names.
//!
//! Sections that are not answered with media (data, what the offerer has stopped) are set aside: str0m never sees them, and the answer
//! gets a refused section in the place of each.

use std::collections::HashMap;
use std::fmt;

use crate::core::sdp_rules;

/// Bytes of an offer. Chromium's largest real ones have about 12 KiB.
pub const MAX_OFFER: usize = 64 * 1024;

/// Media sections of an offer: one audio, one video, data, and spare ones for rooms.
const MAX_SECTIONS: usize = 32;

/// Candidates that are kept of an offer or a restart: a browser on many networks has about ten. With full ICE we send a check to
/// each, so this also bounds what a stranger can make us send.
pub const MAX_CANDIDATES: usize = 20;

/// An offer that has what we need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Session lines first, then each media section.
    lines: Vec<String>,
}

/// What a section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Data channels, or what we do not know.
    Other,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it carries.
    pub media: MediaType,
    /// `a=mid`; empty when there is none.
    pub mid: String,
    /// Whether the offerer would send.
    pub sends: bool,
    /// Whether the offerer would receive.
    pub receives: bool,
    /// Port 0 and not bundled: the offerer does not want it.
    pub rejected: bool,
    /// Encoding names of its formats, lower case, in the offerer's order.
    pub codecs: Vec<String>,
}

/// The ICE side of an offer or of a restart (RFC 8839).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceParameters {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`
    pub pwd: String,
    /// Values of `a=candidate` lines, `candidate:` included.
    pub candidates: Vec<String>,
}

/// Why an offer is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferError {
    /// More than [`MAX_OFFER`] bytes.
    TooLarge,
    /// Not SDP.
    Malformed,
    /// SDP of another kind than we speak: this is missing.
    Lacks(&'static str),
    /// Media of it cannot share one transport: this is to be changed.
    Unfit(sdp_rules::Reason),
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfferError::TooLarge => write!(f, "an offer has at most {MAX_OFFER} bytes"),
            OfferError::Malformed => f.write_str("this is not an SDP offer (RFC 8866)"),
            OfferError::Lacks(what) => write!(f, "the offer lacks {what}"),
            OfferError::Unfit(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OfferError {}

impl Offer {
    /// Reads and checks.
    pub fn read(text: &str) -> Result<Offer, OfferError> {
        if text.len() > MAX_OFFER {
            return Err(OfferError::TooLarge);
        }
        let lines: Vec<String> =
            text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
        let is_field = |line: &String| {
            let bytes = line.as_bytes();
            bytes.len() > 2
                && bytes.first().is_some_and(u8::is_ascii_lowercase)
                && bytes.get(1) == Some(&b'=')
                && !line.contains(|letter: char| letter.is_control() && letter != '\t')
        };
        let is_sdp = lines.first().is_some_and(|line| line == "v=0");
        if !is_sdp || !lines.iter().all(|line| is_field(line) || line == "s=") {
            return Err(OfferError::Malformed);
        }
        let mut offer = Offer { lines };
        offer.check()?;
        offer.drop_surplus_candidates();
        Ok(offer)
    }

    fn check(&self) -> Result<(), OfferError> {
        let need = |there: bool, what| if there { Ok(()) } else { Err(OfferError::Lacks(what)) };
        let sections = self.sections();
        need((1..=MAX_SECTIONS).contains(&sections.len()), "a media section (or has too many)")?;
        let groups: Vec<&str> = self.values("a=group:BUNDLE").collect();
        need(groups.len() <= 1, "one transport: leave one a=group:BUNDLE")?;
        let bundled = |mid: &str| groups.iter().any(|group| group.split(' ').any(|each| each == mid));
        let live = || sections.iter().filter(|section| section.is_live());
        need(live().count() > 0, "a media section that is not rejected")?;
        need(
            live().all(|section| !section.mid.is_empty() && bundled(&section.mid)),
            "a=group:BUNDLE over all media",
        )?;
        need(self.values("a=fingerprint:").next().is_some(), "a=fingerprint")?;
        need(self.ice().is_some(), "a=ice-ufrag and a=ice-pwd")?;
        for (name, least) in [("a=ice-ufrag:", 4), ("a=ice-pwd:", 22)] {
            let sound = self.values(name).all(|value| sdp_rules::is_ice_text(value, least));
            need(sound, "an a=ice-ufrag of 4 and an a=ice-pwd of 22 to 256 letters")?;
        }
        // We are the server of DTLS, so that the first flight, which is answered with many bytes, is never ours (RFC 8842, 5.2).
        let is_client = |setup: &str| matches!(setup, "actpass" | "active");
        need(self.values("a=setup:").all(is_client), "a=setup:actpass (we are the server of DTLS)")?;
        let muxed = self.lines.iter().filter(|line| *line == "a=rtcp-mux").count();
        need(muxed >= live().count(), "a=rtcp-mux")?;
        let parts: Vec<_> = (self.parts().into_iter().zip(&sections))
            .map(|(lines, section)| sdp_rules::Section {
                live: section.is_live(),
                lines: lines.iter().map(String::as_str).collect(),
            })
            .collect();
        sdp_rules::check(&parts).map_err(OfferError::Unfit)
    }

    /// Keeps the first [`MAX_CANDIDATES`].
    fn drop_surplus_candidates(&mut self) {
        let mut seen = 0;
        self.lines.retain(|line| {
            let candidate = line.starts_with("a=candidate:");
            seen += usize::from(candidate);
            !candidate || seen <= MAX_CANDIDATES
        });
    }

    fn values<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| line.strip_prefix(prefix))
    }

    /// The media sections in order.
    pub fn sections(&self) -> Vec<Section> {
        self.parts().into_iter().map(section).collect()
    }

    /// The lines of each section.
    fn parts(&self) -> Vec<&[String]> {
        let starts: Vec<usize> = (0..self.lines.len()).filter(|at| self.is_section(*at)).collect();
        let ends = starts.iter().skip(1).copied().chain([self.lines.len()]);
        starts.iter().zip(ends).filter_map(|(start, end)| self.lines.get(*start..end)).collect()
    }

    fn is_section(&self, at: usize) -> bool {
        self.lines.get(at).is_some_and(|line| line.starts_with("m="))
    }

    /// The ICE parameters: those of the first section that has some, or of the session.
    pub fn ice(&self) -> Option<IceParameters> {
        Some(IceParameters {
            ufrag: self.values("a=ice-ufrag:").next()?.to_owned(),
            pwd: self.values("a=ice-pwd:").next()?.to_owned(),
            candidates: self
                .values("a=")
                .filter(|v| v.starts_with("candidate:"))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The certificates the offerer may present.
    pub fn fingerprints(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.values("a=fingerprint:").collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same offer with other ICE parameters: what an ICE restart of this peer would have offered.
    pub fn with_ice(&self, ice: &IceParameters) -> Offer {
        let mut lines = Vec::with_capacity(self.lines.len());
        let mut candidates = Some(&ice.candidates);
        for line in &self.lines {
            match line {
                line if line.starts_with("a=candidate:") || line == "a=end-of-candidates" => {}
                line if line.starts_with("a=ice-ufrag:") => lines.push(format!("a=ice-ufrag:{}", ice.ufrag)),
                line if line.starts_with("a=ice-pwd:") => lines.push(format!("a=ice-pwd:{}", ice.pwd)),
                line if line.starts_with("a=mid:") => {
                    lines.push(line.clone());
                    // Bundled media have one transport, so one section has its candidates.
                    let once = candidates.take().into_iter().flatten().take(MAX_CANDIDATES);
                    lines.extend(once.map(|candidate| format!("a={candidate}")));
                }
                line => lines.push(line.clone()),
            }
        }
        Offer { lines }
    }

    /// Turns every `sendrecv` into `sendonly`: whoever answers this will only receive.
    pub fn only_sending(mut self) -> Offer {
        self.lines
            .iter_mut()
            .filter(|line| *line == "a=sendrecv")
            .for_each(|line| *line = "a=sendonly".into());
        self
    }

    /// The text of what is answered with media: one BUNDLE group of all live sections, and a header extension's number with one
    /// meaning in it. Some offerers count anew in each section; a later meaning is left out, so it is not agreed on.
    pub fn live_text(&self) -> String {
        let parts = self.parts();
        let (live, aside): (Vec<_>, Vec<_>) = parts.into_iter().partition(|lines| section(lines).is_live());
        let mids: Vec<String> = live.iter().map(|lines| section(lines).mid).collect();
        let session = self.lines.iter().take_while(|line| !line.starts_with("m="));
        let mut lines: Vec<String> = session.filter(|line| !line.starts_with("a=group:")).cloned().collect();
        lines.push(format!("a=group:BUNDLE {}", mids.join(" ")));
        let mut meanings = HashMap::new();
        for (index, part) in live.into_iter().enumerate() {
            let kept = part.iter().filter(|line| has_its_number(line, &mut meanings));
            lines.extend(kept.cloned());
            if index == 0 {
                lines.extend(self.transport_of(part, &aside));
            }
        }
        Offer { lines }.text()
    }

    /// What sections that are set aside say of the transport that all share, and `part` and the session do not.
    fn transport_of(&self, part: &[String], aside: &[&[String]]) -> Vec<String> {
        let session = || self.lines.iter().take_while(|line| !line.starts_with("m="));
        let is_said = |name: &&str| part.iter().chain(session()).any(|line| line.starts_with(*name));
        let missing: Vec<&str> = TRANSPORT.into_iter().filter(|name| !is_said(name)).collect();
        let said =
            |name: &&str| aside.iter().flat_map(|part| part.iter()).find(|line| line.starts_with(*name));
        let candidates =
            aside.iter().flat_map(|part| part.iter()).filter(|line| line.starts_with("a=candidate:"));
        missing.iter().filter_map(said).chain(candidates).cloned().collect()
    }

    /// The whole answer to this offer, given the one to [`Offer::live_text`]: what is not answered with media is refused, each section
    /// in its place (RFC 3264, 6).
    pub fn whole_answer(&self, answer: &str) -> String {
        let mut live = answer.split_inclusive('\n').peekable();
        let mut whole = String::with_capacity(answer.len() + 128);
        let mut take = |whole: &mut String| {
            whole.extend(live.next());
            while let Some(line) = live.next_if(|line| !line.starts_with("m=")) {
                whole.push_str(line);
            }
        };
        take(&mut whole);
        for lines in self.parts() {
            match section(lines) {
                section if section.is_live() => take(&mut whole),
                section => whole.push_str(&refusal(lines, &section)),
            }
        }
        whole
    }

    /// The text, with the line ends of RFC 8866.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
    }
}

/// What is said of the shared transport in one section, for all (RFC 9143, 7.1).
const TRANSPORT: [&str; 4] = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"];

impl Section {
    /// Whether it is answered with media.
    pub fn is_live(&self) -> bool {
        self.media != MediaType::Other && !self.rejected
    }
}

/// Whether a line is no `a=extmap`, or the first meaning of its number.
fn has_its_number<'a>(line: &'a str, meanings: &mut HashMap<u8, &'a str>) -> bool {
    let Some((id, uri)) = line.strip_prefix("a=extmap:").and_then(sdp_rules::extension) else { return true };
    *meanings.entry(id).or_insert(uri) == uri
}

/// A section that is refused: the offered one with port 0.
fn refusal(lines: &[String], section: &Section) -> String {
    let head = lines.first().map(String::as_str).unwrap_or_default();
    let mut words: Vec<&str> = head.split(' ').collect();
    words.resize(words.len().max(2), "0");
    words.iter_mut().skip(1).take(1).for_each(|port| *port = "0");
    let mid = if section.mid.is_empty() { String::new() } else { format!("a=mid:{}\r\n", section.mid) };
    let direction = if section.media == MediaType::Other { "" } else { "a=inactive\r\n" };
    format!("{}\r\nc=IN IP4 0.0.0.0\r\n{direction}{mid}", words.join(" "))
}

fn section(lines: &[String]) -> Section {
    let head = lines.first().map(String::as_str).unwrap_or_default();
    let media = match head.strip_prefix("m=").and_then(|rest| rest.split(' ').next()) {
        Some("audio") => MediaType::Audio,
        Some("video") => MediaType::Video,
        _ => MediaType::Other,
    };
    let has = |attribute: &str| lines.iter().any(|line| line == attribute);
    let direction =
        ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].into_iter().find(|name| has(name));
    let codecs = lines.iter().filter_map(|line| {
        let map = line.strip_prefix("a=rtpmap:")?.split_once(' ')?.1;
        Some(map.split('/').next()?.to_ascii_lowercase())
    });
    Section {
        media,
        mid: lines.iter().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default().to_owned(),
        sends: matches!(direction, None | Some("a=sendrecv" | "a=sendonly")),
        receives: matches!(direction, None | Some("a=sendrecv" | "a=recvonly")),
        rejected: head.split(' ').nth(1) == Some("0") && !has("a=bundle-only"),
        codecs: codecs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\n\
        a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n";

    #[test]
    fn an_offer_is_read_as_it_stands() {
        let offer = Offer::read(OFFER).unwrap();
        assert_eq!(offer.text(), OFFER);
        let sections = offer.sections();
        let [audio] = sections.as_slice() else { panic!("{sections:?}") };
        assert_eq!(
            (audio.media, audio.mid.as_str(), audio.sends, audio.receives),
            (MediaType::Audio, "0", true, true)
        );
        assert_eq!(audio.codecs, ["opus", "red"]);
        assert_eq!(offer.ice().unwrap().candidates, ["candidate:1 1 udp 1 192.0.2.1 9 typ host"]);
        assert!(!offer.only_sending().sections()[0].receives);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (without, what) in [
            ("a=group:BUNDLE 0\r\n", "BUNDLE"),
            ("a=fingerprint:sha-256 AA:BB\r\n", "fingerprint"),
            ("a=ice-pwd:0123456789012345678901\r\n", "ice-pwd"),
            ("a=rtcp-mux\r\n", "rtcp-mux"),
            ("actpass", "setup:actpass"),
        ] {
            let refused = Offer::read(&OFFER.replace(without, "")).unwrap_err();
            assert!(
                matches!(refused, OfferError::Lacks(_)) && refused.to_string().contains(what),
                "{refused}"
            );
        }
        assert!(Offer::read(&OFFER.replace("m=audio 9", "m=audio 0")).is_err());
        for text in ["", "hello", "v=1\r\n", "v=0\r\nnot a field\r\n", "{}"] {
            assert_eq!(Offer::read(text), Err(OfferError::Malformed), "{text:?}");
        }
        let long = format!("{OFFER}a=x:{}\r\n", "y".repeat(MAX_OFFER));
        assert_eq!(Offer::read(&long), Err(OfferError::TooLarge));
    }

    #[test]
    fn ice_parameters_that_fit_into_no_check_are_refused() {
        for (ufrag, pwd) in
            [("abc", "p".repeat(22)), (&"a".repeat(257), "p".repeat(22)), ("ab:d", "p".repeat(22))]
                .into_iter()
                .chain([("abcd", "p".repeat(21)), ("abcd", "p".repeat(257))])
        {
            let text = OFFER.replace("abcd", ufrag).replace("0123456789012345678901", &pwd);
            let refused = Offer::read(&text).unwrap_err();
            assert!(refused.to_string().contains("ice-ufrag"), "{refused}");
        }
    }

    /// Sound and data, of which data comes first and has what both share.
    fn with_data() -> String {
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
            a=candidate:7 1 udp 1 192.0.2.7 9 typ host\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 AA:BB\r\na=setup:active\r\na=mid:d\r\na=sctp-port:5000\r\nm=audio";
        let sound = OFFER
            .replace("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", "")
            .replace("a=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\n", "");
        sound.replace("m=audio", data).replace("BUNDLE 0", "BUNDLE d 0")
    }

    #[test]
    fn data_is_set_aside_and_leaves_what_all_share() {
        let offer = Offer::read(&with_data()).unwrap();
        let live = offer.live_text();
        assert!(live.contains("a=group:BUNDLE 0\r\n") && !live.contains("application"), "{live}");
        let alone = Offer::read(&live).unwrap();
        assert_eq!(alone.ice().unwrap().ufrag, "abcd");
        assert_eq!(alone.ice().unwrap().candidates.len(), 2, "{live}");
        assert_eq!(alone.fingerprints(), ["sha-256 AA:BB"]);
        assert!(live.contains("a=setup:active\r\n"), "{live}");
    }

    #[test]
    fn what_is_set_aside_is_refused_in_its_place() {
        let stopped = "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\n";
        let odd = "m=text 9\r\n";
        let offer = Offer::read(&format!("{}{stopped}{odd}", with_data())).unwrap();
        let answer = "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
        let refused = |head: &str, more: &str| format!("{head}\r\nc=IN IP4 0.0.0.0\r\n{more}");
        let expected = [
            "v=0\r\na=group:BUNDLE 0\r\n".to_owned(),
            refused("m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:d\r\n"),
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".to_owned(),
            refused("m=video 0 UDP/TLS/RTP/SAVPF 96", "a=inactive\r\na=mid:v\r\n"),
            refused("m=text 0", ""),
        ];
        assert_eq!(offer.whole_answer(answer), expected.concat());
    }

    #[test]
    fn a_number_of_an_extension_has_its_first_meaning() {
        let second = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\na=extmap:2 urn:b\r\n\
            a=extmap:3/recvonly urn:c x\r\na=rtpmap:96 VP8/90000\r\n";
        let first = OFFER.replace("a=mid:0", "a=extmap:2 urn:a\r\na=mid:0").replace("BUNDLE 0", "BUNDLE 0 1");
        let live = Offer::read(&format!("{first}{second}")).unwrap().live_text();
        assert!(live.contains("urn:a") && live.contains("urn:c") && !live.contains("urn:b"), "{live}");
    }

    #[test]
    fn a_restart_changes_the_ice_lines_and_nothing_else() {
        let offer = Offer::read(OFFER).unwrap();
        let candidates = vec!["candidate:2 1 udp 1 192.0.2.2 9 typ host".to_owned()];
        let ice = IceParameters { ufrag: "wxyz".into(), pwd: "p".repeat(24), candidates };
        let restarted = offer.with_ice(&ice);
        assert_eq!(restarted.ice(), Some(ice));
        assert_eq!(restarted.sections(), offer.sections());
        assert_eq!(restarted.fingerprints(), offer.fingerprints());
        assert_eq!(restarted.with_ice(&offer.ice().unwrap()).ice(), offer.ice());
    }

    #[test]
    fn surplus_candidates_are_dropped() {
        let many = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(500);
        let offer = Offer::read(&OFFER.replace("a=setup", &format!("{many}a=setup"))).unwrap();
        assert_eq!(offer.ice().unwrap().candidates.len(), MAX_CANDIDATES);
    }
}
