//! The whole command line of a media process: the operator's arguments, then ours, then one RTP leg for the picture and one
//! for the sound (`reference/whip-whep.md`, run with FFmpeg 5.1).

use crate::config::settings::{Ingest, VideoCodec};
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ffmpeg::streams::Streams;
use crate::media::rtp::sender::{AUDIO_PAYLOAD_TYPE, MAX_PACKET, VIDEO_PAYLOAD_TYPE};

/// Baseline without B-frames, which browsers cannot play; a key frame each two seconds at 30 frames a second.
const H264: &[&str] = &[
    "-c:v",
    "libx264",
    "-profile:v",
    "baseline",
    "-preset",
    "veryfast",
    "-tune",
    "zerolatency",
    "-pix_fmt",
    "yuv420p",
    "-g",
    "60",
    "-bf",
    "0",
];

const VP8: &[&str] = &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-g", "60"];

const OPUS: &[&str] =
    &["-c:a", "libopus", "-ar", "48000", "-ac", "2", "-application", "lowdelay", "-frame_duration", "20"];

const PROGRESS: [&str; 3] = ["-nostats", "-progress", "pipe:1"];

/// The description of the RTP legs: their codecs and parameter sets. Without a leg FFmpeg would not start.
const DESCRIPTION: [&str; 2] = ["-sdp_file", "pipe:1"];

/// What is published, as an input described on stdin. `-localaddr`: else it would listen on every address. It waits 100 ms for
/// what is overtaken, and for packets as long as it takes. No `nobuffer`, which throws away the first key frame with what was looked at; the look is short because
/// the frame rate, which a browser changes as it likes, is not guessed.
const PUBLISHED: [&str; 22] = [
    "-protocol_whitelist",
    "pipe,udp,rtp",
    "-localaddr",
    "127.0.0.1",
    "-reorder_queue_size",
    "50",
    "-max_delay",
    "100000",
    "-buffer_size",
    "1048576",
    "-listen_timeout",
    "-1",
    "-fflags",
    "+genpts",
    "-fpsprobesize",
    "0",
    "-analyzeduration",
    "1000000",
    "-f",
    "sdp",
    "-i",
    "pipe:0",
];

/// Each frame once, when it came: at a frame rate that is not known FFmpeg would repeat each a thousand times.
const AS_THEY_COME: [&str; 4] = ["-fps_mode", "vfr", "-fpsmax", "60"];

/// Which input each leg comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legs {
    /// The picture's input.
    pub video: u32,
    /// The sound's input, when there is sound.
    pub audio: Option<u32>,
}

impl Legs {
    /// The legs of inputs that were looked at.
    pub fn of(streams: Streams) -> Legs {
        Legs { video: streams.video.unwrap_or(0), audio: streams.audio }
    }
}

/// The arguments of the process that sends to the ports `port` and `port + 1`.
pub fn arguments(recipe: &Recipe, legs: Legs, port: u16) -> Vec<String> {
    let mut all = base(recipe);
    all.extend(PROGRESS.map(str::to_owned));
    all.extend(outputs(recipe, legs, port, &[]));
    all
}

/// The arguments of the process whose first input is what somebody publishes: the operator's own outputs, or the same two legs.
pub fn published(recipe: &Recipe, legs: Legs, port: u16) -> Vec<String> {
    let ours = ["-hide_banner", "-nostdin"].into_iter().chain(PROGRESS).chain(PUBLISHED);
    let mut all: Vec<String> = ours.map(str::to_owned).chain(recipe.arguments.iter().cloned()).collect();
    if recipe.entry.ingest == Ingest::Process {
        all.extend(outputs(recipe, legs, port, &AS_THEY_COME));
    }
    all
}

/// The two legs; `pictures` are arguments of the first.
fn outputs(recipe: &Recipe, legs: Legs, port: u16, pictures: &[&str]) -> Vec<String> {
    let codec = match recipe.entry.video {
        VideoCodec::H264 => H264,
        VideoCodec::Vp8 => VP8,
    };
    let mut all: Vec<String> = DESCRIPTION.map(str::to_owned).into();
    all.extend(["-map".into(), format!("{}:v:0", legs.video), "-an".into()]);
    all.extend(pictures.iter().map(|argument| (*argument).to_owned()));
    all.extend(encoder(recipe.video_encoder.as_deref(), codec));
    all.extend(rtp(VIDEO_PAYLOAD_TYPE, port));
    if let Some(input) = legs.audio {
        all.extend(["-map".into(), format!("{input}:a:0"), "-vn".into()]);
        all.extend(encoder(recipe.audio_encoder.as_deref(), OPUS));
        all.extend(rtp(AUDIO_PAYLOAD_TYPE, port.saturating_add(1)));
    }
    all
}

/// The arguments of a process that only opens the inputs and says what is in them.
pub fn inspection(recipe: &Recipe) -> Vec<String> {
    let mut all = base(recipe);
    // What we read of it is on this level, whatever the operator wants to see of the stream itself.
    all.extend(["-loglevel", "info"].map(str::to_owned));
    all
}

fn base(recipe: &Recipe) -> Vec<String> {
    let ours = ["-hide_banner", "-nostdin"].map(str::to_owned);
    ours.into_iter().chain(recipe.arguments.iter().cloned()).collect()
}

fn encoder<'a>(own: Option<&'a [String]>, usual: &'a [&'a str]) -> Vec<String> {
    match own {
        Some(own) => own.to_vec(),
        None => usual.iter().map(|argument| (*argument).to_owned()).collect(),
    }
}

fn rtp(payload_type: u8, port: u16) -> [String; 5] {
    let url = format!("rtp://127.0.0.1:{port}?rtcpport={port}&localaddr=127.0.0.1&pkt_size={MAX_PACKET}");
    ["-payload_type".into(), payload_type.to_string(), "-f".into(), "rtp".into(), url]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::settings::EngineEntry;
    use crate::core::command_template::Argument;

    fn recipe(video: VideoCodec) -> Recipe {
        let command = ["/usr/bin/ffmpeg", "-re", "-i", "x"].map(|text| Argument::parse(text).unwrap()).into();
        Recipe::new(&EngineEntry { command, video, ..EngineEntry::named("x") }, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn the_legs_are_those_of_the_reference() {
        let line = arguments(&recipe(VideoCodec::H264), Legs { video: 0, audio: Some(0) }, 5000).join(" ");
        assert_eq!(
            line,
            "-hide_banner -nostdin -re -i x -nostats -progress pipe:1 -sdp_file pipe:1 \
             -map 0:v:0 -an -c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 -bf 0 \
             -payload_type 96 -f rtp rtp://127.0.0.1:5000?rtcpport=5000&localaddr=127.0.0.1&pkt_size=1200 \
             -map 0:a:0 -vn -c:a libopus -ar 48000 -ac 2 -application lowdelay -frame_duration 20 \
             -payload_type 111 -f rtp rtp://127.0.0.1:5001?rtcpport=5001&localaddr=127.0.0.1&pkt_size=1200"
        );
    }

    #[test]
    fn without_sound_there_is_one_leg_and_vp8_has_its_own_encoder() {
        let line = arguments(&recipe(VideoCodec::Vp8), Legs { video: 1, audio: None }, 5000).join(" ");
        assert!(
            line.contains("-map 1:v:0 -an -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -g 60"),
            "{line}"
        );
        assert_eq!(line.matches("rtp://").count(), 1, "{line}");
    }

    #[test]
    fn what_is_published_is_the_first_input() {
        let mut recipe = recipe(VideoCodec::Vp8);
        recipe.entry.ingest = Ingest::Process;
        let line = published(&recipe, Legs { video: 0, audio: Some(0) }, 5000).join(" ");
        assert!(line.starts_with("-hide_banner -nostdin -nostats -progress pipe:1 -protocol_whitelist pipe,udp,rtp -localaddr 127.0.0.1 "));
        assert!(
            line.contains("-f sdp -i pipe:0 -re -i x -sdp_file pipe:1 -map 0:v:0 -an -fps_mode vfr -fpsmax 60 -c:v libvpx"),
            "{line}"
        );
        assert_eq!(line.matches("rtp://").count(), 2, "{line}");
        recipe.entry.ingest = Ingest::Both;
        let line = published(&recipe, Legs { video: 0, audio: Some(0) }, 5000).join(" ");
        assert!(line.ends_with("-f sdp -i pipe:0 -re -i x"), "outputs are the operator's: {line}");
    }

    #[test]
    fn an_operators_encoder_replaces_ours() {
        let mut recipe = recipe(VideoCodec::H264);
        recipe.video_encoder = Some(vec!["-c:v".into(), "h264_nvenc".into()]);
        let line = arguments(&recipe, Legs { video: 0, audio: None }, 5000).join(" ");
        assert!(line.contains("-an -c:v h264_nvenc -payload_type 96") && !line.contains("libx264"), "{line}");
    }
}
