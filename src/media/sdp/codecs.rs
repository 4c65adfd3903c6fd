//! Codecs of an offer's sections, and what two sides have in common.

use super::Part;

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

impl VideoCodec {
    /// What a process decodes that takes anything (FFmpeg): VP8, and H264 of the profiles of cameras and encoders.
    pub const DECODED: [VideoCodec; 7] = [
        VideoCodec::Vp8,
        VideoCodec::H264 { profile: 0x42 },
        VideoCodec::H264 { profile: 0x4D },
        VideoCodec::H264 { profile: 0x64 },
        VideoCodec::H264 { profile: 0x6E },
        VideoCodec::H264 { profile: 0x7A },
        VideoCodec::H264 { profile: 0xF4 },
    ];

    /// Its name, for a person.
    pub fn name(self) -> &'static str {
        match self {
            VideoCodec::Vp8 => "VP8",
            VideoCodec::H264 { profile: 0x42 } => "H264 baseline (profile-level-id 42…)",
            VideoCodec::H264 { profile: 0x4D } => "H264 main (profile-level-id 4d…)",
            VideoCodec::H264 { profile: 0x58 } => "H264 extended (profile-level-id 58…)",
            VideoCodec::H264 { profile: 0x64 } => "H264 high (profile-level-id 64…)",
            VideoCodec::H264 { profile: 0x6E } => "H264 high 10 (profile-level-id 6e…)",
            VideoCodec::H264 { profile: 0x7A } => "H264 high 4:2:2 (profile-level-id 7a…)",
            VideoCodec::H264 { profile: 0xF4 } => "H264 high 4:4:4 (profile-level-id f4…)",
            VideoCodec::H264 { .. } => "H264 of a rare profile",
        }
    }
}

/// What the other side has: for a viewer the source's codecs, for a publisher what may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    /// Video codecs, any of them; none when there is no video.
    pub video: Vec<VideoCodec>,
    /// Whether there is audio, which is Opus.
    pub opus: bool,
}

/// What both have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The video codec; the first of the client's list.
    pub video: Option<VideoCodec>,
    /// Whether there is sound, which is Opus.
    pub opus: bool,
}

/// One entry of the `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its payload type.
    pub payload_type: u8,
    /// `a=rtpmap`: name, clock, channels.
    pub encoding: String,
    /// `a=fmtp`, all of them.
    parameters: Vec<(String, String)>,
}

impl Format {
    /// The formats of a section in the client's order: numbers that can stand in a packet, with an encoding. Others are of no use to
    /// anybody (RFC 8866, 5.14) and are passed over.
    pub fn all(formats: &[String], part: &Part) -> Vec<Format> {
        let numbers =
            formats.iter().filter_map(|number| number.parse().ok()).filter(|number: &u8| *number <= 127);
        numbers.filter_map(|number| Format::of(number, part)).collect()
    }

    fn of(payload_type: u8, part: &Part) -> Option<Format> {
        let of = |name: &str| {
            let values: Vec<&str> =
                part.attributes(name).filter_map(|value| about(value, payload_type)).collect();
            values
        };
        let encoding = (*of("rtpmap").first()?).to_owned();
        let pairs = of("fmtp").into_iter().flat_map(|value| value.split(';'));
        let parameters = pairs.filter_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            Some((key.trim().to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Format { payload_type, encoding, parameters: parameters.collect() })
    }

    /// A parameter of `a=fmtp`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, name: &str, clock: &str) -> bool {
        let mut words = self.encoding.split('/').map(str::trim);
        words.next().is_some_and(|word| word.eq_ignore_ascii_case(name)) && words.next() == Some(clock)
    }

    /// Whether it is Opus.
    pub fn is_opus(&self) -> bool {
        self.is("opus", "48000")
    }

    /// Whether it resends what was sent under this payload type.
    pub fn repairs(&self, payload_type: u8) -> bool {
        let repaired = self.parameter("apt").and_then(|number| number.parse().ok());
        self.is("rtx", "90000") && repaired == Some(payload_type)
    }

    /// The video codec that it is, of those that we forward. H264 in packetization mode 0 is none.
    pub fn video(&self) -> Option<VideoCodec> {
        if self.is("VP8", "90000") {
            return Some(VideoCodec::Vp8);
        }
        if !self.is("H264", "90000") || self.parameter("packetization-mode") != Some("1") {
            return None;
        }
        // Without the parameter it is baseline (RFC 6184, 8.1).
        let id = self.parameter("profile-level-id").unwrap_or("42000a");
        u8::from_str_radix(id.get(..2)?, 16).ok().map(|profile| VideoCodec::H264 { profile })
    }
}

/// What is said `about` a payload type: the rest of `NUMBER rest`.
pub fn about(value: &str, payload_type: u8) -> Option<&str> {
    let (number, rest) = value.split_once(' ')?;
    (number.parse() == Ok(payload_type)).then_some(rest.trim())
}
