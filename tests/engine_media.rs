//! What engines really send: RTP as a reader of the two loopback ports sees it, from real FFmpeg and from the built-in clip,
//! and what FFmpeg makes of the clip when it is the reader.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{EngineEntry, VideoCodec};
use hydraneckwebrtc::core::command_template::Argument;
use hydraneckwebrtc::core::confinement::{Access, Confinement, Grant, basis, devices};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::engine::clip::{Clip, Playing};
use hydraneckwebrtc::engine::ffmpeg::command::{self, Legs};
use hydraneckwebrtc::engine::ffmpeg::inspect::Inspection;
use hydraneckwebrtc::engine::ffmpeg::recipe::Recipe;
use hydraneckwebrtc::engine::ingest::Pair;
use hydraneckwebrtc::host::process::{ChildProcess, Spawn};
use rustix::process::Signal;
use stand_ins::ports::{own_ports, taken};
use stand_ins::steady::steady;

const FFMPEG: &str = "/usr/bin/ffmpeg";

/// Nothing here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

fn recipe(video: VideoCodec, inputs: &[&str]) -> Recipe {
    let arguments = [FFMPEG].iter().chain(inputs).map(|text| Argument::parse(text).expect("an argument"));
    let entry = EngineEntry { command: arguments.collect(), video, ..EngineEntry::named("test") };
    Recipe::new(&entry, &BTreeMap::new()).expect("a recipe")
}

const PICTURE: [&str; 5] = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
const SOUND: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440"];

/// A media process that sends to a pair of ours; killed when dropped.
/// What a worker gives to a process without paths in its command.
fn grants(recipe: &Recipe) -> Confinement {
    let program = Grant::new(&recipe.program, Access::Run);
    let files = basis(&std::env::temp_dir()).into_iter().chain(devices([])).chain([program]).collect();
    Confinement { files, port: None }
}

struct Running {
    pair: Pair,
    child: Option<ChildProcess>,
}

impl Running {
    fn start(recipe: &Recipe, legs: Legs) -> Running {
        let pair = Pair::bind().expect("a pair");
        for socket in [&pair.video, &pair.audio] {
            socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        }
        let null = |write: bool| -> OwnedFd {
            std::fs::File::options().read(!write).write(write).open("/dev/null").expect("/dev/null").into()
        };
        let spawn = Spawn {
            program: &recipe.program,
            arguments: &command::arguments(recipe, legs, pair.port),
            directory: &std::env::temp_dir(),
            input: None,
            output: null(true),
            stdout: Some(null(true)),
            confined_to: Some(&grants(recipe)),
        };
        Running { child: Some(ChildProcess::spawn(spawn).expect("ffmpeg")), pair }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.signal_group(Signal::KILL);
            let begun = Instant::now();
            while child.exited().is_none() && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            child.reap();
        }
    }
}

fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = steady(|| socket.recv(&mut buffer)).expect("a packet in time");
    buffer[..length].to_vec()
}

fn is_report(packet: &[u8]) -> bool {
    (192..=223).contains(&packet[1])
}

fn ssrc(packet: &[u8]) -> [u8; 4] {
    let at = if is_report(packet) { 4 } else { 8 };
    packet[at..at + 4].try_into().expect("four bytes")
}

/// So many packets, reports included.
fn packets(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| next(socket)).collect()
}

fn assert_one_stream(packets: &[Vec<u8>], payload_type: u8) {
    let (reports, media): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| is_report(packet));
    assert!(!reports.is_empty(), "no sender report among {} packets", packets.len());
    assert!(
        media
            .iter()
            .all(|packet| packet[0] == 0x80 && packet[1] & 0x7f == payload_type && packet.len() <= 1200)
    );
    assert!(packets.iter().all(|packet| ssrc(packet) == ssrc(&packets[0])), "a report of the other stream");
    let numbers: Vec<u16> = media.iter().map(|packet| u16::from_be_bytes([packet[2], packet[3]])).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
}

/// Kinds of the NAL units in a packet (RFC 6184): single ones, those of a STAP-A, the one a FU-A is a part of.
fn nal_kinds(payload: &[u8]) -> Vec<u8> {
    match payload[0] & 0x1f {
        24 => {
            let (mut kinds, mut rest) = (Vec::new(), &payload[1..]);
            while rest.len() > 2 {
                let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                kinds.push(rest[2] & 0x1f);
                rest = &rest[2 + length..];
            }
            kinds
        }
        28 => vec![payload[1] & 0x1f],
        kind => vec![kind],
    }
}

#[test]
fn h264_with_sound_comes_in_two_streams_on_their_own_ports() {
    let inputs = [&PICTURE[..], &SOUND].concat();
    let running = Running::start(&recipe(VideoCodec::H264, &inputs), Legs { video: 0, audio: Some(1) });
    let (video, audio) = (packets(&running.pair.video, 100), packets(&running.pair.audio, 100));
    assert_one_stream(&video, 96);
    assert_one_stream(&audio, 111);
    let kinds: Vec<u8> = video
        .iter()
        .filter(|packet| !is_report(packet))
        .flat_map(|packet| nal_kinds(&packet[12..]))
        .collect();
    println!("{kinds:?}");
    let first = |kind: u8| kinds.iter().position(|each| *each == kind);
    assert!(
        first(7).is_some() && first(7) < first(5) && first(8) < first(5),
        "parameters before the key frame: {kinds:?}"
    );
    let steps: Vec<u32> = (audio.iter().filter(|packet| !is_report(packet)))
        .map(|packet| u32::from_be_bytes(packet[4..8].try_into().expect("four bytes")))
        .collect();
    assert!(steps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 960), "20 ms each: {steps:?}");
}

#[test]
fn vp8_without_sound_leaves_the_second_port_silent() {
    let running = Running::start(&recipe(VideoCodec::Vp8, &PICTURE), Legs { video: 0, audio: None });
    let video = packets(&running.pair.video, 60);
    assert_one_stream(&video, 96);
    let first = video.iter().find(|packet| !is_report(packet)).expect("a packet");
    // RFC 7741: X and I with a picture id of one or two bytes, S on the first packet; bit 0 of a key frame is 0.
    let descriptor = match (first[12] & 0x80, first[13] & 0x80, first[14] & 0x80) {
        (0, ..) => 1,
        (_, _, 0) => 3,
        _ => 4,
    };
    assert_eq!((first[12] & 0x10, first[12 + descriptor] & 1), (0x10, 0), "{first:?}");
    running.pair.audio.set_nonblocking(true).expect("a socket");
    assert!(running.pair.audio.recv(&mut [0; 2048]).is_err());
}

// SPEC 8: Inputs are looked at first; without sound there is no leg for it; an input that never
// opens holds nothing
// Also: `an_input_without_sound_has_no_sound_leg_and_parameters_reach_the_command`,
// `an_input_that_never_opens_neither_holds_a_delete_nor_the_create`
#[test]
fn inputs_are_looked_at_before() {
    let look = |inputs: &[&str]| {
        let inspection = Inspection {
            recipe: recipe(VideoCodec::H264, inputs),
            directory: std::env::temp_dir(),
            limit: PATIENCE,
            confined_to: Some(grants(&recipe(VideoCodec::H264, inputs))),
        };
        inspection.run(&|| false).expect("it is wanted")
    };
    let both = look(&[&PICTURE[..], &SOUND].concat()).expect("inputs");
    assert_eq!((both.video, both.audio), (Some(0), Some(1)));
    // The operator's own wish for silence does not keep us from reading.
    let quiet = [&["-loglevel", "quiet"], &PICTURE[..]].concat();
    let one = look(&quiet).expect("an input");
    assert_eq!((one.video, one.audio), (Some(0), None));
    let none = look(&["-i", "/nonexistent"]).expect_err("no input");
    assert!(none.contains("No such file or directory"), "{none}");
    let unwanted = Inspection {
        recipe: recipe(VideoCodec::H264, &PICTURE),
        directory: "/".into(),
        limit: PATIENCE,
        confined_to: None,
    };
    assert!(unwanted.run(&|| true).is_none());
}

/// Passes what comes to one socket on to a port, until told to stop.
fn pass_on(from: UdpSocket, to: u16, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    from.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Acquire) {
            if let Ok(length) = from.recv(&mut buffer) {
                // RTCP has the port above, as FFmpeg expects it.
                let port = to + u16::from((192..=223).contains(&buffer[1]));
                let _ = from.send_to(&buffer[..length], (Ipv4Addr::LOCALHOST, port));
            }
        }
    })
}

fn description(port: u16) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=video {port} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n\
         m=audio {} RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n",
        port + 2
    )
}

#[test]
fn ffmpeg_decodes_picture_and_sound_of_the_clip_over_the_loops_end() {
    let Pair { video, audio, port } = Pair::bind().expect("a pair");
    let target = own_ports(4).expect("four ports");
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [pass_on(video, target, stop.clone()), pass_on(audio, target + 2, stop.clone())];
    let mut reader = Command::new(FFMPEG)
        .args(["-hide_banner", "-nostats", "-loglevel", "info", "-protocol_whitelist", "pipe,udp,rtp"])
        .args(["-localaddr", "127.0.0.1", "-f", "sdp", "-i", "pipe:0", "-t", "12"])
        .args(["-af", "volumedetect", "-f", "null", "-"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg");
    reader.stdin.take().expect("its input").write_all(description(target).as_bytes()).expect("an SDP");
    let begun = Instant::now();
    // Until it has both its ports, the first key frame would be lost.
    while !BTreeSet::from([target, target + 2]).is_subset(&taken().expect("the kernel's tables")) {
        assert!(begun.elapsed() < PATIENCE, "ffmpeg does not listen");
        std::thread::yield_now();
    }
    let session = SessionId::from_entropy([9; 16]);
    let playing = Clip::built_in().expect("a clip").play(&session, port, || ()).expect("a thread");
    let mut said = String::new();
    reader.stderr.take().expect("its words").read_to_string(&mut said).expect("its words");
    let status = reader.wait().expect("its end");
    stop.store(true, Ordering::Release);
    playing_ends(playing);
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    println!("{said}");
    assert!(status.success());
    let number = |marker: &str, after: usize| -> f64 {
        let rest = said[after..].split(marker).nth(1).unwrap_or_else(|| panic!("no {marker:?}"));
        let text = rest.trim_start().split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).next();
        text.and_then(|text| text.parse().ok()).expect("a number")
    };
    let frames = number("frame=", said.rfind("frame=").expect("frames"));
    assert!(frames >= 270.0, "{frames} frames in 12 s at 25 a second");
    let loudness = number("mean_volume:", 0);
    assert!((-40.0..-5.0).contains(&loudness), "{loudness} dB");
    for trouble in ["missed", "corrupt", "Invalid data", "discontinuity"] {
        assert!(!said.contains(trouble), "{trouble}");
    }
}

fn playing_ends(playing: Playing) {
    let begun = Instant::now();
    playing.join();
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn the_clip_in_the_source_tree_is_a_film_for_anybody() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/engine/clip/clip.webm");
    let probe = Command::new("/usr/bin/ffprobe")
        .args([
            "-v",
            "error",
            "-count_packets",
            "-show_entries",
            "stream=codec_name,nb_read_packets",
            "-of",
            "csv=p=0",
        ])
        .arg(path)
        .output()
        .expect("ffprobe");
    assert_eq!(String::from_utf8_lossy(&probe.stdout), "vp8,250\nopus,500\n");
}
