//! Offers (RFC 3264, RFC 9429): what one must have before a peer is built for it, and what of it is answered with media.
//!
//! An offer is refused where its media cannot share one transport ([`rules`]) or its transport is incomplete. A media section that is
//! stopped, or of a kind or codec that is not to be had here, is set aside: the answer refuses it in its place.

use std::collections::HashSet;

use super::codecs::{Agreed, Format, Purpose, Supported, VideoCodec};
use super::rules::Most;
use super::{
    Description, MAX_SECTIONS, Part, SdpError, is_mid, is_password, is_user_fragment, plain_candidate, rules,
};
use crate::media::codec::parameter_sets::Sets;

/// Candidates that are kept of an offer or a restart: a browser on many networks has about ten. With full ICE we send a check to
/// each, so this also bounds what a stranger can make us send.
pub const MAX_CANDIDATES: usize = 20;

/// Longest `mid` that the WebRTC code behind us keeps.
const KEPT_MID: usize = 16;

/// Payload types that have a meaning without `a=rtpmap` (RFC 3551, 6).
const STATIC_TYPES: u32 = 35;

/// Numbers of header extensions that an offer may use for "one that is free" (RFC 8285, 6).
const FREE_EXTENSIONS: std::ops::RangeInclusive<u32> = 4096..=4351;

/// The header extension with a packet's `mid`.
pub const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// The header extension by which a client tells when each packet arrived.
pub const ARRIVALS: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// An offer that has what we need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub(super) session: Part,
    pub(super) sections: Vec<Section>,
    /// The mids of the BUNDLE group in its order.
    bundle: Vec<String>,
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
    pub(super) part: Part,
    /// What it carries.
    pub media: MediaType,
    /// The words of its `m=` line: kind, port, protocol, formats.
    pub(super) words: Vec<String>,
    /// `a=mid`; empty when there is none.
    pub mid: String,
    /// What it is called behind us: the same where that can be kept.
    pub local_mid: String,
    /// Whether the offerer would send.
    pub sends: bool,
    /// Whether the offerer would receive.
    pub receives: bool,
    /// Port 0 and not bundled: the offerer does not want it.
    pub rejected: bool,
    /// What it is answered with; nothing: it is set aside.
    pub(super) taken: Option<Taken>,
}

/// The format in which a section's media come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) format: Format,
    /// The payload type under which it is resent.
    pub(super) repair: Option<u8>,
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

/// Which side begins DTLS (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The offerer can do both.
    ActPass,
    /// The offerer begins.
    Active,
    /// We are to begin.
    Passive,
}

impl Setup {
    fn read(text: &str) -> Option<Setup> {
        match text {
            "actpass" => Some(Setup::ActPass),
            "active" => Some(Setup::Active),
            "passive" => Some(Setup::Passive),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Setup::ActPass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        }
    }
}

/// What an offer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    View,
    Publish,
    Speak,
}

impl Offer {
    /// Reads and checks the body of a request.
    pub fn from_bytes(body: &[u8]) -> Result<Offer, SdpError> {
        if body.len() > super::MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        Offer::read(std::str::from_utf8(body).map_err(|_| SdpError::Malformed("the offer is not UTF-8"))?)
    }

    /// Reads and checks.
    pub fn read(text: &str) -> Result<Offer, SdpError> {
        let description = Description::parse(text)?;
        check_session(&description.session)?;
        match description.media.len() {
            0 => return Err(SdpError::Malformed("there is no m= line")),
            1..=MAX_SECTIONS => {}
            _ => return Err(SdpError::unusable("too many m= lines")),
        }
        let offer = Offer::of(description)?;
        offer.check_transport()?;
        offer.check_rules(&rules::OF_AN_OFFER)?;
        Ok(offer)
    }

    /// What a description says, of which neither the session's lines nor the transport are checked.
    pub(super) fn of(Description { session, media }: Description) -> Result<Offer, SdpError> {
        let direction = direction(&session)?;
        let mut sections =
            media.into_iter().map(|part| Section::read(part, direction)).collect::<Result<Vec<_>, _>>()?;
        give_local_mids(&mut sections)?;
        let bundle = bundle(&session)?;
        Ok(Offer { session, sections, bundle })
    }

    /// Settles which sections are answered, and with which codec: the first of the client's that both have. The others are set aside.
    pub fn agree(&mut self, purpose: Purpose, supported: &Supported) -> Result<Agreed, SdpError> {
        self.settle(if purpose == Purpose::View { Wish::View } else { Wish::Publish }, supported)
    }

    /// The same for a microphone: one audio section that sends Opus.
    pub fn agree_on_microphone(&mut self) -> Result<(), SdpError> {
        self.settle(Wish::Speak, &Supported { video: Vec::new(), opus: true }).map(drop)
    }

    fn settle(&mut self, wish: Wish, supported: &Supported) -> Result<Agreed, SdpError> {
        let speaks = wish == Wish::Speak;
        let several = |kind| self.live().filter(|section| section.media == kind).count() > 1;
        if several(MediaType::Audio) || !speaks && several(MediaType::Video) {
            return Err(SdpError::unusable("at most one audio and one video, each in one m= line"));
        }
        let mut agreed = Agreed::default();
        for section in self.sections.iter_mut().filter(|section| section.is_live()) {
            section.taken = None;
            if section.is_inactive() || speaks && section.media != MediaType::Audio {
                continue;
            }
            section.turn(wish)?;
            section.taken = section.first_common(supported);
            match (&section.taken, section.media) {
                (Some(_), MediaType::Audio) => agreed.opus = true,
                (Some(taken), _) => agreed.video = taken.format.video(),
                (None, _) => {}
            }
        }
        match agreed {
            Agreed { opus: false, .. } if speaks => {
                Err(SdpError::unusable("a microphone's offer has exactly one audio section, with Opus"))
            }
            Agreed { video: None, .. } if !speaks && self.lacks_video(supported) => {
                Err(SdpError::unusable(self.no_video(supported)))
            }
            Agreed { video: None, opus: false } => Err(SdpError::unusable(
                "nothing in common with what is here: offer audio (Opus) or video (VP8, H264)",
            )),
            agreed => Ok(agreed),
        }
    }

    /// Whether it wants video that is here, but not in a codec that it has.
    fn lacks_video(&self, supported: &Supported) -> bool {
        let wants = |section: &Section| section.media == MediaType::Video && !section.is_inactive();
        !supported.video.is_empty() && self.live().any(wants)
    }

    fn no_video(&self, supported: &Supported) -> String {
        let names = |codecs: &mut dyn Iterator<Item = VideoCodec>| {
            let mut names: Vec<&str> = codecs.map(VideoCodec::name).collect();
            names.dedup();
            names.join(", ")
        };
        let videos = self.live().filter(|section| section.media == MediaType::Video);
        let offered = names(&mut videos.flat_map(Section::formats).filter_map(|format| format.video()));
        let wanted = names(&mut supported.video.iter().copied());
        let offered =
            if offered.is_empty() { "neither VP8 nor H264 with packetization-mode=1" } else { &offered };
        format!("no video codec in common: the offer has {offered}; here is {wanted}")
    }

    /// Parameter sets of H264 that the offer itself has, in the format that was agreed on.
    pub fn parameter_sets(&self) -> Sets {
        let mut sets = Sets::default();
        for taken in self.sections.iter().filter_map(|section| section.taken.as_ref()) {
            let list = taken.format.parameter("sprop-parameter-sets");
            list.into_iter().for_each(|list| sets.add_base64(list));
        }
        sets
    }

    /// The media sections in order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    fn live(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.is_live())
    }

    /// The sections that are answered with media, in their order.
    pub(super) fn taken(&self) -> impl Iterator<Item = (&Section, &Taken)> {
        self.sections.iter().filter_map(|section| Some((section, section.taken.as_ref()?)))
    }

    /// Whether the client tells when packets arrived: without that its network cannot be measured.
    pub fn tells_arrivals(&self) -> bool {
        let values = |part: &Part| part.attributes("extmap").any(|value| value.contains(ARRIVALS));
        values(&self.session) || self.live().any(|section| values(&section.part))
    }

    /// Whether the offerer is ICE-lite: it sends no checks.
    pub fn is_lite(&self) -> bool {
        self.session.has("ice-lite")
    }

    /// Whether we are to begin DTLS.
    pub fn makes_us_the_client(&self) -> bool {
        self.setup() == Some(Setup::Passive)
    }

    /// The ICE parameters: those of the section whose transport all share (RFC 9143, 7.3.1).
    pub fn ice(&self) -> IceParameters {
        let shared = self.transport();
        let (ufrag, pwd) = self.credentials(shared).unwrap_or_default();
        let of_the_same =
            |section: &&Section| self.credentials(section).is_some_and(|(other, _)| other == ufrag);
        let others = self.sections.iter().filter(of_the_same).map(|section| &section.part);
        let mut candidates: Vec<String> = Vec::new();
        for part in [&shared.part, &self.session].into_iter().chain(others) {
            let values = part.attributes("candidate").map(|value| format!("candidate:{value}"));
            for candidate in values.filter_map(|candidate| plain_candidate(&candidate)) {
                if candidates.len() < MAX_CANDIDATES && !candidates.contains(&candidate) {
                    candidates.push(candidate);
                }
            }
        }
        IceParameters { ufrag: ufrag.to_owned(), pwd: pwd.to_owned(), candidates }
    }

    /// The certificates the offerer may present, best hash first: `sha-256 AA:BB…`.
    pub fn fingerprints(&self) -> Vec<String> {
        let part = self.place_of(self.transport(), |part| part.has("fingerprint"));
        let mut all: Vec<String> = part
            .into_iter()
            .flat_map(|part| part.attributes("fingerprint"))
            .filter_map(fingerprint)
            .collect();
        all.sort_by_key(|fingerprint| !fingerprint.starts_with("sha-256 "));
        all.dedup();
        all
    }

    pub(super) fn setup(&self) -> Option<Setup> {
        self.setup_of(self.transport()).ok()
    }

    /// Without the attribute the offerer can do both: what browsers mean, and older ones left out.
    fn setup_of(&self, section: &Section) -> Result<Setup, SdpError> {
        let part = self.place_of(section, |part| part.has("setup"));
        let Some(value) = part.and_then(|part| part.attribute("setup")) else { return Ok(Setup::ActPass) };
        Setup::read(value).ok_or_else(|| SdpError::unusable("a=setup must be actpass, active or passive"))
    }

    /// The section whose transport all share: the first of the group that is answered, or can be.
    fn transport(&self) -> &Section {
        let is_answered = self.sections.iter().any(|section| section.taken.is_some());
        let can = |section: &&Section| if is_answered { section.taken.is_some() } else { section.is_live() };
        let in_group = self.bundle.iter().filter_map(|mid| self.live().find(|section| section.mid == *mid));
        let mut all = in_group.chain(self.live()).filter(can);
        // An offer has a live section, or it is refused before anybody asks.
        all.next().or(self.sections.first()).unwrap_or(&NOTHING)
    }

    /// Where a section's transport is described: in itself, for the whole session, or in a section that it is bundled with.
    fn place_of<'a>(&'a self, section: &'a Section, tells: impl Fn(&Part) -> bool) -> Option<&'a Part> {
        let in_group =
            self.bundle.iter().filter_map(|mid| self.sections.iter().find(|other| other.mid == *mid));
        let others = in_group.chain(&self.sections).map(|other| &other.part);
        [&section.part, &self.session].into_iter().chain(others).find(|part| tells(part))
    }

    fn credentials<'a>(&'a self, section: &'a Section) -> Option<(&'a str, &'a str)> {
        let part = self.place_of(section, |part| part.has("ice-ufrag") || part.has("ice-pwd"))?;
        Some((part.attribute("ice-ufrag")?, part.attribute("ice-pwd")?))
    }

    /// Everything but codecs and directions.
    fn check_transport(&self) -> Result<(), SdpError> {
        if self.live().next().is_none() {
            return Err(SdpError::unusable("there is no audio or video section that is not rejected"));
        }
        for section in self.live() {
            if section.mid.is_empty() {
                return Err(SdpError::Malformed("a=mid is missing"));
            }
            if !self.bundle.contains(&section.mid) {
                return Err(SdpError::unusable("every m= line must be in a=group:BUNDLE"));
            }
            // All that is bundled is multiplexed (RFC 9143, 9.3); a bundle-only section may leave that to the others.
            let is_muxed = |name| section.part.has(name);
            if !is_muxed("rtcp-mux") && !is_muxed("rtcp-mux-only") && !is_muxed("bundle-only") {
                return Err(SdpError::unusable("a=rtcp-mux is missing"));
            }
            let told = self.place_of(section, |part| part.has("fingerprint"));
            let mut all =
                told.ok_or(SdpError::Malformed("a=fingerprint is missing"))?.attributes("fingerprint");
            if !all.any(|value| fingerprint(value).is_some()) {
                return Err(SdpError::Malformed(
                    "a=fingerprint must be sha-256 (or sha-1) and bytes (RFC 8122)",
                ));
            }
            self.setup_of(section)?;
            let (ufrag, pwd) = self
                .credentials(section)
                .ok_or(SdpError::Malformed("a=ice-ufrag or a=ice-pwd is missing"))?;
            if !is_user_fragment(ufrag) || !is_password(pwd) {
                return Err(SdpError::Malformed(
                    "an a=ice-ufrag has 4 to 111 and an a=ice-pwd 22 to 256 letters",
                ));
            }
        }
        Ok(())
    }

    /// The same for a member, who may have data channels and nothing else.
    pub(super) fn check_transport_of_member(&self, most: &Most) -> Result<(), SdpError> {
        if self.live().next().is_some() {
            self.check_transport()?;
            return self.check_rules(most);
        }
        let shared = self.transport();
        let told =
            self.credentials(shared).filter(|(ufrag, pwd)| is_user_fragment(ufrag) && is_password(pwd));
        if told.is_none() || self.fingerprints().is_empty() {
            return Err(SdpError::Malformed(
                "a=ice-ufrag, a=ice-pwd or a=fingerprint is missing or malformed",
            ));
        }
        self.setup_of(shared).map(drop)
    }

    fn check_rules(&self, most: &Most) -> Result<(), SdpError> {
        let texts: Vec<Vec<String>> = self.sections.iter().map(Section::without_what_nobody_uses).collect();
        let parts: Vec<_> = (self.sections.iter().zip(&texts))
            .map(|(section, lines)| rules::Section {
                live: section.is_live(),
                lines: lines.iter().map(String::as_str).collect(),
            })
            .collect();
        rules::check(&parts, most).map_err(SdpError::unusable)
    }
}

/// The section of an offer without any.
static NOTHING: Section = Section {
    part: Part(Vec::new()),
    media: MediaType::Other,
    words: Vec::new(),
    mid: String::new(),
    local_mid: String::new(),
    sends: false,
    receives: false,
    rejected: true,
    taken: None,
};

impl Section {
    fn read(part: Part, default: Option<(bool, bool)>) -> Result<Section, SdpError> {
        let head = part.0.first().map(|line| (line.number, line.value.as_str())).unwrap_or_default();
        let words: Vec<String> =
            head.1.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let [kind, port, _protocol, ..] = words.as_slice() else { return Err(SdpError::Value(head.0)) };
        // A number of ports may follow (RFC 8866, 5.14).
        let port = port.split('/').next().unwrap_or_default();
        let port: u16 = port.parse().map_err(|_| SdpError::Value(head.0))?;
        let media = match kind.as_str() {
            "audio" => MediaType::Audio,
            "video" => MediaType::Video,
            _ => MediaType::Other,
        };
        let mid = part.attribute("mid").unwrap_or_default().to_owned();
        if part.has("mid") && !is_mid(&mid) {
            return Err(SdpError::Malformed("a=mid is a token (RFC 8866)"));
        }
        let rejected = port == 0 && !part.has("bundle-only");
        let (sends, receives) = direction(&part)?.or(default).unwrap_or((true, true));
        let local_mid = String::new();
        Ok(Section { part, media, words, mid, local_mid, sends, receives, rejected, taken: None })
    }

    /// Whether it can be answered with media.
    pub fn is_live(&self) -> bool {
        self.media != MediaType::Other && !self.rejected
    }

    /// Whether it is answered with media.
    pub fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    pub(super) fn formats(&self) -> Vec<Format> {
        Format::all(self.words.get(3..).unwrap_or_default(), &self.part)
    }

    fn is_inactive(&self) -> bool {
        !self.sends && !self.receives
    }

    /// It goes one way from now on.
    fn turn(&mut self, wish: Wish) -> Result<(), SdpError> {
        let (goes, words) = match wish {
            Wish::View => (self.receives, "a viewer's audio and video are recvonly"),
            Wish::Publish => (self.sends, "a publisher's audio and video are sendonly"),
            Wish::Speak => (self.sends, "the offer's audio section does not send"),
        };
        (self.sends, self.receives) = (wish != Wish::View, wish == Wish::View);
        if goes { Ok(()) } else { Err(SdpError::unusable(words)) }
    }

    /// The first of its formats that is supported.
    pub(super) fn first_common(&self, supported: &Supported) -> Option<Taken> {
        let fits = |format: &Format| match self.media {
            MediaType::Audio => supported.opus && format.is_opus(),
            MediaType::Video => format.video().is_some_and(|codec| supported.video.contains(&codec)),
            MediaType::Other => false,
        };
        let formats = self.formats();
        let format = formats.iter().find(|format| fits(format))?.clone();
        let repair = formats.iter().find(|other| other.repairs(format.payload_type));
        let repair = repair.map(|format| format.payload_type).filter(|_| self.media == MediaType::Video);
        Some(Taken { format, repair })
    }

    /// Its lines as far as they can mean something: not numbers that fit into no packet, or formats without a codec.
    fn without_what_nobody_uses(&self) -> Vec<String> {
        let mapped: HashSet<u32> = self.part.attributes("rtpmap").filter_map(number).collect();
        let is_of_use = |word: &&String| match word.parse::<u32>() {
            Ok(number) => number < STATIC_TYPES || number <= 127 && mapped.contains(&number),
            Err(_) => true,
        };
        let (fixed, formats) = self.words.split_at(self.words.len().min(3));
        let head: Vec<&str> =
            fixed.iter().chain(formats.iter().filter(is_of_use)).map(String::as_str).collect();
        let mut lines = vec![format!("m={}", head.join(" "))];
        let mut named = false;
        for (name, value) in self.part.0.iter().filter_map(super::Line::attribute) {
            match name {
                "rtpmap" | "fmtp" | "rtcp-fb" if number(value).is_some_and(|number| number > 127) => {}
                "extmap" if number(value).is_some_and(|number| FREE_EXTENSIONS.contains(&number)) => {}
                "mid" if !named && self.is_live() => {
                    named = true;
                    lines.push(format!("a=mid:{}", self.local_mid));
                }
                _ => lines.push(format!("a={name}:{value}")),
            }
        }
        lines
    }
}

/// The number that a value begins with.
fn number(value: &str) -> Option<u32> {
    value.split([' ', '/']).next()?.parse().ok()
}

/// Checks the lines before the first section.
pub(super) fn check_session(session: &Part) -> Result<(), SdpError> {
    let mut lines = session.0.iter();
    if lines.next().is_none_or(|line| (line.letter, line.value.as_str()) != ('v', "0")) {
        return Err(SdpError::Malformed("a session description begins with v=0"));
    }
    let is_time = |value: &str| {
        let words: Vec<&str> = value.split(' ').collect();
        words.len() == 2 && words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match lines.find(|line| line.letter == 't' && !is_time(&line.value)) {
        Some(line) => Err(SdpError::Value(line.number)),
        None => Ok(()),
    }
}

/// Whether the offerer sends and receives, where the lines say so (RFC 8866, 6.7).
fn direction(part: &Part) -> Result<Option<(bool, bool)>, SdpError> {
    let said = part.0.iter().filter_map(|line| match line.attribute()?.0 {
        "sendrecv" => Some((true, true)),
        "sendonly" => Some((true, false)),
        "recvonly" => Some((false, true)),
        "inactive" => Some((false, false)),
        _ => None,
    });
    let mut said = said.collect::<Vec<_>>();
    said.dedup();
    match said.as_slice() {
        [] => Ok(None),
        [direction] => Ok(Some(*direction)),
        _ => Err(SdpError::unusable("a media section has one direction")),
    }
}

fn bundle(session: &Part) -> Result<Vec<String>, SdpError> {
    let groups = session.attributes("group").map(|value| value.split_whitespace());
    let mut bundles = groups.filter_map(|mut words| (words.next() == Some("BUNDLE")).then_some(words));
    let bundle = bundles.next().into_iter().flatten().map(str::to_owned).collect();
    match bundles.next() {
        Some(_) => Err(SdpError::unusable("media share one transport: leave one a=group:BUNDLE")),
        None => Ok(bundle),
    }
}

/// Each live section gets a name that the WebRTC code keeps: its own where that is one.
fn give_local_mids(sections: &mut [Section]) -> Result<(), SdpError> {
    let mut taken: HashSet<String> = HashSet::new();
    for section in sections.iter().filter(|section| !section.mid.is_empty()) {
        if !taken.insert(section.mid.clone()) {
            return Err(SdpError::unusable("each media section has one a=mid of its own"));
        }
    }
    let is_kept = |mid: &str| {
        mid.len() <= KEPT_MID && mid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for (index, section) in sections.iter_mut().enumerate() {
        if is_kept(&section.mid) {
            section.local_mid = section.mid.clone();
            continue;
        }
        let free =
            (0..=MAX_SECTIONS).map(|more| format!("{index}x{more}")).find(|name| !taken.contains(name));
        section.local_mid = free.unwrap_or_default();
        taken.insert(section.local_mid.clone());
    }
    Ok(())
}

/// `sha-256 AA:BB…`, of a hash that can be checked (RFC 8122, 5: names and bytes in either case).
fn fingerprint(value: &str) -> Option<String> {
    let (hash, bytes) = value.split_once(' ')?;
    let (hash, bytes) = (hash.to_ascii_lowercase(), bytes.trim().to_ascii_uppercase());
    let is_byte = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    (matches!(hash.as_str(), "sha-256" | "sha-1") && bytes.split(':').all(is_byte))
        .then(|| format!("{hash} {bytes}"))
}

#[cfg(test)]
mod tests;
