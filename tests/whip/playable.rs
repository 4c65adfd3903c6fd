//! What no browser can show, made by real FFmpeg: a create fails or a session warns with words that say what to set; and what a
//! browser could not begin with is mended on the way.

use std::process::Command;

use serde_json::{Value, json};

use crate::client::{Client, Wants, until};
use crate::film::Film;
use crate::lab::{Lab, eventually};
use crate::stage::{Door, PATIENCE, Stage};

const FFMPEG: &str = "/usr/bin/ffmpeg";

/// A pattern in this encoding, without sound.
fn bars(encoder: &[&str]) -> Value {
    json!({
        "command": [FFMPEG, "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=15"], "audio": "no",
        "video_encoder": encoder,
    })
}

/// H264 with these arguments.
fn h264(more: &[&str]) -> Vec<String> {
    let usual = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
    [&usual[..], more].concat().into_iter().map(str::to_owned).collect()
}

fn of_h264(more: &[&str]) -> Value {
    let encoder = h264(more);
    bars(&encoder.iter().map(String::as_str).collect::<Vec<_>>())
}

fn warnings(stage: &Stage) -> Vec<String> {
    let session = stage.worker.session(&stage.id).expect("the session");
    let warnings = session["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|warning| warning.as_str().expect("words").to_owned()).collect()
}

/// What pages are told of the source.
fn told(stage: &Stage) -> Value {
    stage.call("GET", "_neck/status", &[], "").json()["source"].clone()
}

// SPEC 8 whep: `ready` of a process's session comes when a picture can be begun: parameter sets and
// a key frame were seen. Another codec than was said fails the create, and so does a picture
// without a key frame within `sessions.ready_timeout`, with words that say what to set
// Also: `a_picture_can_be_begun_with_its_parameter_sets_and_a_key_frame`,
// `another_codec_is_seen_in_the_packets`, `no_codec_is_taken_for_another`,
// `a_description_names_another_codec`, `codecs_and_parameter_sets_are_read`,
// `a_process_is_ready_once_and_what_is_in_the_way_is_told_when_it_changes`,
// `what_is_lacking_has_words_until_it_is_there`,
// `what_was_found_of_the_process_before_says_nothing_of_the_next`
#[test]
fn a_source_that_can_never_be_shown_fails_the_create_and_says_why() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let film = lab.dir.join("beside.mkv");
    let beside = film.to_str().expect("a path");
    let mut sound = bars(&["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]);
    sound["command"] = json!([
        FFMPEG,
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x90:rate=15",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "sine",
        // With an output of its own.
        "-c:v",
        "libvpx",
        "-t",
        "1",
        "-y",
        beside,
    ]);
    sound["video"] = json!("vp8");
    sound["audio"] = json!("probe");
    sound["audio_encoder"] = json!(["-c:a", "aac"]);
    let engines = json!({
        "hevc": bars(&["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]),
        "vp8": bars(&["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]),
        "aac": sound,
        "lost": of_h264(&["-bf", "0", "-g", "100000", "-bsf:v", "filter_units=remove_types=5"]),
    });
    let worker = lab.lone_worker(|config| {
        config["engines"] = engines;
        config["sessions"]["ready_timeout"] = json!("6s");
    });
    for (engine, words) in [
        ("hevc", "its picture is H265 where H264 was said"),
        ("vp8", "its picture is VP8 where H264 was said"),
        ("aac", "its sound is AAC where Opus was said"),
        ("lost", "its picture has no key frame (IDR) so far"),
    ] {
        let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": engine}));
        println!("{engine}: {} {}", reply.status, reply.body);
        let error = reply.json()["error"].as_str().map(str::to_owned);
        assert_eq!(
            (reply.status, error.as_deref()),
            (502, Some("stream process failed")),
            "{}",
            worker.log_text()
        );
        let detail = reply.json()["detail"].as_str().expect("words").to_owned();
        assert!(
            detail.starts_with("the stream cannot be played: ") && detail.contains(words),
            "{engine}: {detail}"
        );
        lab.assert_nothing_left("one", &[]);
    }
}

// SPEC 8 whep: B frames, no key frame for long and missing parameter sets, of a process or a
// publisher, are told in `warnings`, in the log and on the page, as long as they last
// Also: `a_group_without_end_is_told_to_whom_it_concerns`,
// `what_a_publisher_sends_is_told_as_long_as_it_sends_it`, `b_frames_are_told`,
// `key_frames_that_do_not_come_are_told_and_forgotten_when_they_do`, `a_slice_says_what_it_is`,
// `a_publishers_b_frames_matter_only_where_viewers_see_them`, `a picture whose parameter sets only
// its description has is seen, and its B frames are told`
#[test]
fn b_frames_are_told_with_what_to_set() {
    let stage = Stage::of("jerky", json!({"jerky": of_h264(&["-bf", "2", "-g", "30"])}), Door::Controller);
    let seen = eventually("a warning", || warnings(&stage).into_iter().next());
    assert!(
        seen.starts_with("the stream process: ") && seen.contains("B frames") && seen.contains("`-bf 0`"),
        "{seen}"
    );
    assert_eq!(told(&stage), json!(["b_frames"]));
    stage.worker.wait_for_log(&seen);
    stage.watching();
}

#[test]
fn a_group_without_end_is_told_to_whom_it_concerns() {
    let stage =
        Stage::of("endless", json!({"endless": of_h264(&["-bf", "0", "-g", "100000"])}), Door::Worker);
    assert_eq!(warnings(&stage), Vec::<String>::new(), "who is there sees it");
    let mut one = [stage.viewer().0];
    let mut seen = Vec::new();
    until("a warning", &mut one, PATIENCE * 3, |_| {
        if one_in(20) {
            seen = warnings(&stage);
        }
        !seen.is_empty()
    });
    assert!(seen[0].contains("more than 20 seconds ago") && seen[0].contains("`-g 60`"), "{seen:?}");
    assert_eq!(told(&stage), json!(["rare_key_frames"]));
}

/// Now and then: not every round asks the worker.
fn one_in(rounds: u64) -> bool {
    static ROUND: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    ROUND.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(rounds)
}

/// The beginning of each packet that a new viewer gets first: parameter sets in one packet, then the key frame.
fn begins_with_parameter_sets(client: Client, mut film: Option<(&mut Client, &mut Film)>) {
    let mut one = [client];
    one[0].seen.kept = Some(Vec::new());
    until("pictures", &mut one, PATIENCE, |clients| {
        if let Some((publisher, film)) = &mut film {
            film.play(publisher);
            publisher.pump();
        }
        clients[0].seen.frames > 20
    });
    let kept = one[0].seen.kept.take().expect("packets");
    let sets = |bytes: &[u8; 6]| bytes[0] & 0x1F == 24 && bytes[3] & 0x1F == 7;
    let key_frame =
        |bytes: &[u8; 6]| bytes[0] & 0x1F == 5 || bytes[0] & 0x1F == 28 && bytes[1] & 0x9F == 0x85;
    println!("{:02x?}", &kept[..kept.len().min(12)]);
    let key_frames: Vec<usize> = (0..kept.len()).filter(|at| key_frame(&kept[*at].2)).collect();
    assert!(!key_frames.is_empty() && key_frames[0] < 4, "no picture first: {kept:02x?}");
    for at in key_frames {
        let before = kept[..at].iter().rev().take_while(|packet| packet.1 == kept[at].1);
        assert!(before.into_iter().any(|packet| sets(&packet.2)), "packet {at} lacks its sets: {kept:02x?}");
    }
    assert_eq!((one[0].seen.gaps, one[0].seen.ssrcs.len()), (0, 1), "{:?}", one[0].seen);
}

#[test]
fn parameter_sets_that_only_the_description_has_are_put_before_each_key_frame() {
    let more = ["-bf", "0", "-g", "15", "-flags", "+global_header"];
    let stage = Stage::of("described", json!({"described": of_h264(&more)}), Door::Worker);
    begins_with_parameter_sets(stage.viewer().0, None);
    // After a restart too, in the same stream.
    assert_eq!(warnings(&stage), Vec::<String>::new());
}

/// The parameter sets of an encoder with these arguments, as FFmpeg describes them.
pub fn described(more: &[&str]) -> String {
    let output = Command::new(FFMPEG)
        .args([
            "-loglevel",
            "error",
            "-nostdin",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x90:rate=15",
            "-t",
            "1",
        ])
        .args(h264(more))
        .args(["-b:v", "200k", "-f", "rtp", "-sdp_file", "pipe:1", "rtp://127.0.0.1:9"])
        .output()
        .expect("ffmpeg");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sets =
        text.split("sprop-parameter-sets=").nth(1).and_then(|rest| rest.split([';', '\r', '\n']).next());
    sets.unwrap_or_else(|| panic!("no sets: {text}")).to_owned()
}

#[test]
fn parameter_sets_of_a_publishers_offer_are_put_before_each_key_frame() {
    let more = ["-profile:v", "baseline", "-g", "15", "-flags", "+global_header"];
    let sets = described(&more);
    let stage = Stage::of("camera", json!({"camera": of_h264(&["-profile:v", "baseline"])}), Door::Worker);
    let (mut publisher, sdp) = Client::offer(Wants::Send);
    let sdp =
        sdp.replace("packetization-mode=1", &format!("packetization-mode=1;sprop-parameter-sets={sets}"));
    let reply = stage.publish(&sdp);
    assert_eq!(reply.status, 201, "{reply:?}");
    publisher.answer(&reply.body);
    let mut one = [publisher];
    until("connected", &mut one, PATIENCE, |clients| clients[0].seen.connected.is_some());
    let mut film = Film::of_h264_with(&more);
    let frames = || {
        let session = stage.worker.session(&stage.id).expect("the session");
        session["stream"]["key_frame_age_ms"].as_u64()
    };
    until("it publishes", &mut one, PATIENCE, |clients| {
        film.play(&mut clients[0]);
        frames().is_some()
    });
    begins_with_parameter_sets(stage.viewer().0, Some((&mut one[0], &mut film)));
}

#[test]
fn what_a_publisher_sends_is_told_as_long_as_it_sends_it() {
    let stage = Stage::of("camera", json!({"camera": of_h264(&["-profile:v", "baseline"])}), Door::Worker);
    for (film, words, name) in [
        (Film::of_h264_with(&["-bf", "2"]), "`-bf 0`", "b_frames"),
        (
            Film::of_h264_with(&["-bf", "0", "-bsf:v", "filter_units=remove_types=5"]),
            "no key frame",
            "no_key_frame",
        ),
        (
            Film::of_h264_with(&["-bf", "0", "-flags", "+global_header"]),
            "no parameter sets",
            "no_parameter_sets",
        ),
    ] {
        let (mut film, publisher) = (film, crate::ingest::publisher(&stage));
        let mut one = [publisher.0];
        let mut seen = Vec::new();
        until(name, &mut one, PATIENCE, |clients| {
            film.play(&mut clients[0]);
            if one_in(20) {
                seen = warnings(&stage);
            }
            seen.first().is_some_and(|warning| warning.contains(words))
        });
        println!("{name}: {seen:?}");
        assert!(seen.len() == 1 && seen[0].starts_with("the publisher: "), "{seen:?}");
        assert_eq!(told(&stage), json!([name]));
        assert_eq!(stage.at("DELETE", &publisher.1, &[], "").status, 200);
        eventually("nothing to warn of any more", || warnings(&stage).is_empty().then_some(()));
        assert_eq!(told(&stage), Value::Null);
    }
}
