//! Whether what a source sends can be shown by a browser, seen in its packets and its description.
//!
//! ```text
//!   NotYet ── parameter sets and a key frame (without a picture: sound) ──▶ Begun
//!      └──── another codec than was said ──▶ Never
//! ```
//!
//! What stands in the way has words that say what to set; they end with it.

use std::fmt;
use std::time::Duration;

use crate::core::time::Moment;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::codec::nal_units::{self, IDR, PICTURE_SET, SEQUENCE_SET, SLICE};
use crate::media::codec::parameter_sets::Sets;
use crate::media::rtp::forwarder::Track;
use crate::media::rtp::payload::{self, Packing};

/// Packets after which a codec that looks like another one is that.
const SURE: u32 = 20;

/// B slices after which there are B frames: one may be damage.
const FEW: u32 = 2;

/// A first key frame comes with the first packets, or a moment after a publisher was asked for one.
const FIRST: Duration = Duration::from_secs(5);

/// Without a key frame for so long nobody can begin any more, sooner or later: encoders make one each ten seconds at most unless they
/// are told otherwise.
const LONGEST: Duration = Duration::from_secs(20);

/// A codec, as people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec(String);

/// What keeps viewers from seeing or hearing a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The picture is in another codec.
    OtherVideo {
        /// What was said.
        said: &'static str,
        /// What it is.
        sends: Codec,
    },
    /// The sound is.
    OtherSound {
        /// What it is.
        sends: Codec,
    },
    /// Key frames lack their parameter sets, and these are nowhere else.
    NoParameterSets,
    /// No key frame came so far.
    NoKeyFrame,
    /// The last one is long ago.
    RareKeyFrames,
    /// There are B frames.
    BFrames,
}

impl Trouble {
    /// Its stable name, for pages.
    pub fn name(&self) -> &'static str {
        match self {
            Trouble::OtherVideo { .. } => "other_video",
            Trouble::OtherSound { .. } => "other_sound",
            Trouble::NoParameterSets => "no_parameter_sets",
            Trouble::NoKeyFrame => "no_key_frame",
            Trouble::RareKeyFrames => "rare_key_frames",
            Trouble::BFrames => "b_frames",
        }
    }

    /// Whether nothing can ever be shown of what the source was said to send.
    pub fn is_final(&self) -> bool {
        matches!(self, Trouble::OtherVideo { .. } | Trouble::OtherSound { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::OtherVideo { said, sends: Codec(sends) } => {
                write!(f, "its picture is {sends} where {said} was said, which no browser shows: encode it as {said}")
            }
            Trouble::OtherSound { sends: Codec(sends) } => {
                write!(f, "its sound is {sends} where Opus was said, which no browser plays: encode it as Opus (`-c:a libopus`)")
            }
            Trouble::NoParameterSets => f.write_str(
                "its key frames have no parameter sets (SPS and PPS), so browsers show nothing: leave out \
                 `-flags +global_header`, or add `-bsf:v dump_extra`",
            ),
            Trouble::NoKeyFrame => f.write_str(
                "its picture has no key frame (IDR) so far, so browsers show nothing: let the encoder make one every two \
                 seconds (`-g 60`), without intra-refresh",
            ),
            Trouble::RareKeyFrames => f.write_str(
                "its last key frame (IDR) is more than 20 seconds ago, so who comes now may see nothing for long: let the encoder make \
                 one every two seconds (`-g 60`), without intra-refresh",
            ),
            Trouble::BFrames => {
                f.write_str("its picture has B frames, which browsers show jerkily or not at all: set `-bf 0` in the encoder")
            }
        }
    }
}

/// What a source is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The picture, when there is one.
    pub video: Option<Packing>,
    /// Whether its sound is Opus; `false`: there is none.
    pub opus: bool,
}

/// Where a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing can be shown yet.
    #[default]
    NotYet,
    /// A picture can be begun.
    Begun,
    /// Nothing can ever be shown.
    Never,
}

/// The state of one source.
#[derive(Clone, Debug)]
pub struct Playable {
    expected: Expected,
    /// The first packet of the picture.
    since: Option<Moment>,
    has_sets: bool,
    /// The last key frame.
    key_frame: Option<Moment>,
    b_slices: u32,
    packets: u32,
    /// Packets among the first that look like something else.
    like_h265: u32,
    like_h264: u32,
    like_vp8: u32,
    like_nothing: u32,
    sound: u32,
    like_aac: u32,
    /// What its description says.
    described: Option<Trouble>,
}

impl Playable {
    /// A source of which nothing came yet.
    pub fn new(expected: Expected) -> Playable {
        Playable {
            expected,
            since: None,
            has_sets: false,
            key_frame: None,
            b_slices: 0,
            packets: 0,
            like_h265: 0,
            like_h264: 0,
            like_vp8: 0,
            like_nothing: 0,
            sound: 0,
            like_aac: 0,
            described: None,
        }
    }

    /// Takes parameter sets that are put before its key frames.
    pub fn has(&mut self, sets: &Sets) {
        self.has_sets |= sets.suffice();
    }

    /// Takes its description.
    pub fn describe(&mut self, description: &Description) {
        self.described = described(self.expected, description);
    }

    /// Takes a packet.
    pub fn packet(&mut self, track: Track, payload: &[u8], now: Moment) {
        match (track, self.expected.video) {
            (Track::Audio, _) => {
                self.sound = self.sound.saturating_add(1);
                self.like_aac += u32::from(self.sound <= SURE && is_aac(payload));
            }
            (Track::Video, Some(packing)) if !payload.is_empty() => self.picture(packing, payload, now),
            (Track::Video, _) => {}
        }
    }

    fn picture(&mut self, packing: Packing, payload: &[u8], now: Moment) {
        self.since.get_or_insert(now);
        self.packets = self.packets.saturating_add(1);
        if self.packets <= SURE {
            self.compare(payload);
        }
        match packing {
            Packing::Vp8 => {
                if payload::is_vp8_key_frame(payload) {
                    self.key_frame = Some(now);
                }
            }
            Packing::H264 => self.h264(payload, now),
        }
    }

    fn h264(&mut self, payload: &[u8], now: Moment) {
        let mut has = [false; 2];
        for unit in nal_units::begun(payload) {
            match unit.kind {
                SEQUENCE_SET => has[0] = true,
                PICTURE_SET => has[1] = true,
                IDR => self.key_frame = Some(now),
                SLICE if nal_units::is_b_slice(unit.body) => self.b_slices = self.b_slices.saturating_add(1),
                _ => {}
            }
        }
        self.has_sets |= has[0];
    }

    fn compare(&mut self, payload: &[u8]) {
        let kind = payload.first().map_or(0, |first| first & 0x1F);
        self.like_h265 += u32::from(is_h265(payload));
        self.like_vp8 += u32::from(payload::is_vp8_key_frame(payload));
        self.like_h264 += u32::from(is_h264_only(payload));
        // Of H264: no type, or one that RTP has no form for.
        self.like_nothing += u32::from(matches!(kind, 0 | 13 | 16..=18 | 22..=23 | 25..=27 | 29..));
    }

    /// Where it stands.
    pub fn state(&self, now: Moment) -> State {
        if self.troubles(now).iter().any(Trouble::is_final) {
            return State::Never;
        }
        let begun = match self.expected.video {
            Some(Packing::H264) => self.has_sets && self.key_frame.is_some(),
            Some(Packing::Vp8) => self.key_frame.is_some(),
            None => self.sound > 0,
        };
        if begun { State::Begun } else { State::NotYet }
    }

    /// What stands in the way of viewers by now.
    pub fn troubles(&self, now: Moment) -> Vec<Trouble> {
        let mut troubles: Vec<Trouble> = self.described.iter().cloned().collect();
        if troubles.is_empty() {
            troubles.extend(self.other_video());
            troubles.extend(self.other_sound());
        }
        if troubles.is_empty() {
            troubles.extend(self.lacks(now));
            troubles.extend((self.b_slices >= FEW).then_some(Trouble::BFrames));
        }
        troubles
    }

    /// What keeps it from beginning, as far as that can be said already; for the words of a failure.
    pub fn lacks_so_far(&self) -> Option<Trouble> {
        let is_lacking = self.since.is_some() && self.expected.video.is_some();
        match self.key_frame {
            None => is_lacking.then_some(Trouble::NoKeyFrame),
            Some(_) => (self.expected.video == Some(Packing::H264) && !self.has_sets)
                .then_some(Trouble::NoParameterSets),
        }
    }

    fn lacks(&self, now: Moment) -> Option<Trouble> {
        let since = self.since?;
        match self.key_frame {
            None if now.since(since) >= FIRST => Some(Trouble::NoKeyFrame),
            Some(last) if now.since(last) >= LONGEST => Some(Trouble::RareKeyFrames),
            _ if now.since(since) >= FIRST => self.lacks_so_far(),
            _ => None,
        }
    }

    fn other_video(&self) -> Option<Trouble> {
        // A key frame of what was said is proof enough.
        let is_unknown = self.key_frame.is_none() && !self.has_sets && self.packets >= SURE;
        let sends = match self.expected.video.filter(|_| is_unknown)? {
            _ if self.like_h265 == SURE => "H265",
            Packing::H264 if self.like_vp8 > 0 && self.like_nothing > SURE / 2 => "VP8",
            Packing::H264 if self.like_nothing == SURE => "something else",
            Packing::Vp8 if self.like_h264 > SURE / 2 => "H264",
            Packing::Vp8 | Packing::H264 => return None,
        };
        Some(Trouble::OtherVideo { said: said(self.expected.video?), sends: Codec(sends.into()) })
    }

    fn other_sound(&self) -> Option<Trouble> {
        let is_aac = self.expected.opus && self.sound >= SURE && self.like_aac == SURE;
        is_aac.then(|| Trouble::OtherSound { sends: Codec("AAC".into()) })
    }
}

fn said(packing: Packing) -> &'static str {
    match packing {
        Packing::Vp8 => "VP8",
        Packing::H264 => "H264",
    }
}

/// What a description says that does not fit.
fn described(expected: Expected, description: &Description) -> Option<Trouble> {
    let video = || {
        let (said, sends) = (said(expected.video?), description.video.as_ref()?);
        let other = !sends.eq_ignore_ascii_case(said);
        other.then(|| Trouble::OtherVideo { said, sends: Codec(sends.clone()) })
    };
    let sound = || {
        let sends = description.audio.as_ref().filter(|_| expected.opus)?;
        let other = !sends.eq_ignore_ascii_case("opus");
        let name = match sends.to_ascii_lowercase().as_str() {
            "mpeg4-generic" | "mp4a-latm" => "AAC",
            _ => sends,
        };
        other.then(|| Trouble::OtherSound { sends: Codec(name.to_owned()) })
    };
    video().or_else(sound)
}

/// RFC 7798: two bytes of header, with a temporal id of one layer. H264 has other second bytes in every kind of unit that begins so.
fn is_h265(payload: &[u8]) -> bool {
    match payload {
        [first, second, ..] => {
            let kind = first >> 1;
            first & 0x81 == 0
                && matches!(kind, 0..=9 | 16..=21 | 32..=40 | 48 | 49)
                && matches!(second, 1..=7)
        }
        _ => false,
    }
}

/// What VP8 keeps at zero is set (RFC 7741, 4.2), and it is a unit of H264.
fn is_h264_only(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else { return false };
    first & 0x48 != 0 && matches!(first & 0x9F, 1..=12 | 24 | 28)
}

/// RFC 3640, AAC-hbr: headers of 16 bits with the sizes of what follows them.
fn is_aac(payload: &[u8]) -> bool {
    let [high, low, rest @ ..] = payload else { return false };
    let bits = usize::from(u16::from_be_bytes([*high, *low]));
    let Some((headers, units)) = rest.split_at_checked(bits / 8) else { return false };
    let sizes =
        headers.chunks_exact(2).map(|header| usize::from(u16::from_be_bytes([header[0], header[1]]) >> 3));
    bits > 0 && bits % 16 == 0 && sizes.sum::<usize>() == units.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1E, 0x80];
    const IDR_SLICE: &[u8] = &[0x65, 0x88];
    const P_SLICE: &[u8] = &[0x41, 0b1110_0000, 0];
    const B_SLICE: &[u8] = &[0x01, 0b1010_0000, 0];

    fn source(video: Packing) -> Playable {
        Playable::new(Expected { video: Some(video), opus: true })
    }

    fn names(source: &Playable, ms: u64) -> Vec<&'static str> {
        source.troubles(Moment(ms)).iter().map(Trouble::name).collect()
    }

    #[test]
    fn a_picture_can_be_begun_with_its_parameter_sets_and_a_key_frame() {
        let mut h264 = source(Packing::H264);
        assert_eq!(h264.state(Moment(0)), State::NotYet);
        h264.packet(Track::Video, P_SLICE, Moment(0));
        h264.packet(Track::Audio, &[1], Moment(0));
        assert_eq!(h264.state(Moment(1)), State::NotYet, "sound alone is no picture");
        h264.packet(Track::Video, IDR_SLICE, Moment(2));
        assert_eq!(
            (h264.state(Moment(2)), h264.lacks_so_far()),
            (State::NotYet, Some(Trouble::NoParameterSets))
        );
        h264.packet(Track::Video, SPS, Moment(3));
        assert_eq!((h264.state(Moment(3)), names(&h264, 9_000)), (State::Begun, vec![]));
        let mut vp8 = source(Packing::Vp8);
        vp8.packet(Track::Video, &[0x10, 0x51, 0, 0], Moment(0));
        assert_eq!(vp8.state(Moment(1)), State::NotYet);
        vp8.packet(Track::Video, &[0x10, 0x50, 0, 0, 0x9D, 0x01, 0x2A, 0], Moment(1));
        assert_eq!(vp8.state(Moment(1)), State::Begun);
        let mut sound = Playable::new(Expected { video: None, opus: true });
        assert_eq!(sound.state(Moment(0)), State::NotYet);
        sound.packet(Track::Audio, &[1], Moment(0));
        assert_eq!(sound.state(Moment(0)), State::Begun);
    }

    #[test]
    fn parameter_sets_of_the_description_will_do() {
        let mut h264 = source(Packing::H264);
        h264.packet(Track::Video, IDR_SLICE, Moment(0));
        assert_eq!(names(&h264, 5_000), ["no_parameter_sets"]);
        let mut sets = Sets::default();
        [SPS, &[0x68, 0x80]].into_iter().for_each(|set| sets.add(set));
        h264.has(&sets);
        assert_eq!((h264.state(Moment(1)), names(&h264, 5_000)), (State::Begun, vec![]));
    }

    #[test]
    fn key_frames_that_do_not_come_are_told_and_forgotten_when_they_do() {
        let mut h264 = source(Packing::H264);
        assert_eq!(h264.lacks_so_far(), None, "nothing came at all");
        // What an encoder with intra-refresh sends: parameter sets, and no key frame.
        for ms in (0..10_000).step_by(100) {
            h264.packet(Track::Video, if ms % 1_000 == 0 { SPS } else { P_SLICE }, Moment(ms));
        }
        assert_eq!((h264.state(Moment(10_000)), names(&h264, 4_999)), (State::NotYet, vec![]));
        assert_eq!(
            (names(&h264, 10_000), h264.lacks_so_far()),
            (vec!["no_key_frame"], Some(Trouble::NoKeyFrame))
        );
        h264.packet(Track::Video, IDR_SLICE, Moment(10_001));
        assert_eq!((names(&h264, 10_002), names(&h264, 30_001)), (vec![], vec!["rare_key_frames"]));
        assert_eq!(h264.state(Moment(99_000)), State::Begun, "who saw the first one goes on");
    }

    #[test]
    fn b_frames_are_told() {
        let mut h264 = source(Packing::H264);
        for unit in [SPS, IDR_SLICE, P_SLICE, B_SLICE] {
            h264.packet(Track::Video, unit, Moment(0));
        }
        assert_eq!(names(&h264, 1), Vec::<&str>::new(), "one may be damage");
        h264.packet(Track::Video, &[0x1C, 0x81, 0b1010_0000], Moment(1));
        assert_eq!((names(&h264, 1), h264.state(Moment(1))), (vec!["b_frames"], State::Begun));
        assert!(Trouble::BFrames.to_string().contains("-bf 0"));
    }

    #[test]
    fn another_codec_is_seen_in_the_packets() {
        let cases: [(Packing, &[&[u8]], &str); 4] = [
            (
                Packing::H264,
                &[
                    &[0x40, 1, 12],
                    &[0x42, 1, 1],
                    &[0x44, 1, 0xC1],
                    &[0x62, 1, 0x93],
                    &[0x62, 1, 0x13],
                    &[0x02, 1, 9],
                ],
                "H265",
            ),
            (Packing::H264, &[&[0x10, 0x50, 0, 0, 0x9D, 0x01, 0x2A, 0], &[0x00, 9], &[0x10, 0x51, 0]], "VP8"),
            (Packing::Vp8, &[SPS, &[0x68, 0xCE], &[0x7C, 0x85, 0x88], &[0x7C, 0x05], &[0x41, 0x9A]], "H264"),
            (Packing::Vp8, &[&[0x40, 1, 12], &[0x62, 1, 0x93], &[0x02, 1, 9]], "H265"),
        ];
        for (said, packets, expected) in cases {
            let mut other = source(said);
            for (number, packet) in packets.iter().cycle().take(40).enumerate() {
                assert!(number >= 20 || other.state(Moment(0)) != State::Never, "too soon");
                other.packet(Track::Video, packet, Moment(number as u64));
            }
            let troubles = other.troubles(Moment(50));
            assert_eq!(other.state(Moment(50)), State::Never, "{expected}: {other:?}");
            assert!(troubles[0].to_string().contains(&format!("is {expected} where")), "{troubles:?}");
        }
        let mut sound = source(Packing::H264);
        for _ in 0..20 {
            sound.packet(Track::Audio, &[0, 16, 0, 5 << 3, 1, 2, 3, 4, 5], Moment(0));
        }
        assert_eq!((sound.state(Moment(1)), names(&sound, 1)), (State::Never, vec!["other_sound"]));
        assert!(sound.troubles(Moment(1))[0].to_string().contains("AAC where Opus"));
    }

    #[test]
    fn no_codec_is_taken_for_another() {
        let mut h264 = source(Packing::H264);
        for number in 0..100u8 {
            for unit in
                [SPS, &[0x68, 0xCE], &[0x06, 5, 1], IDR_SLICE, &[0x7C, 0x05, number], P_SLICE, &[0x09, 0x10]]
            {
                h264.packet(Track::Video, unit, Moment(0));
            }
            h264.packet(Track::Audio, &[0xFC, number, 1, 2, 3], Moment(0));
        }
        assert_eq!((h264.state(Moment(1)), names(&h264, 1)), (State::Begun, vec![]));
        // Its beginning was lost.
        let mut late = source(Packing::H264);
        for number in 0..100u8 {
            late.packet(Track::Video, &[0x5C, 0x01, number], Moment(0));
            late.packet(Track::Video, P_SLICE, Moment(0));
        }
        assert_eq!(names(&late, 1), Vec::<&str>::new());
        let mut vp8 = source(Packing::Vp8);
        for number in 0..100u8 {
            vp8.packet(Track::Video, &[0x90, 0x80, number & 0x7F, 0x51, 1], Moment(0));
            vp8.packet(Track::Video, &[0x80, 0x80, number & 0x7F, 0x65, 1], Moment(0));
        }
        assert_eq!(names(&vp8, 1), Vec::<&str>::new());
    }

    #[test]
    fn a_description_names_another_codec() {
        let say = |video: &str, audio: &str| {
            let mut description = Description::default();
            for line in [
                "m=video 1 RTP/AVP 96",
                &format!("a=rtpmap:96 {video}/90000"),
                "m=audio 2 RTP/AVP 111",
                &format!("a=rtpmap:111 {audio}/48000/2"),
            ] {
                description.line(line);
            }
            let mut described = source(Packing::H264);
            described.describe(&description);
            (described.state(Moment(0)), names(&described, 0))
        };
        assert_eq!(say("H264", "opus"), (State::NotYet, vec![]));
        assert_eq!(say("H265", "opus"), (State::Never, vec!["other_video"]));
        assert_eq!(say("h264", "MPEG4-GENERIC"), (State::Never, vec!["other_sound"]));
        assert_eq!(say("MP4V-ES", "PCMU"), (State::Never, vec!["other_video"]));
    }
}
