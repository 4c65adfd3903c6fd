//! A process that takes what is published, when it hangs, when nobody feeds it for a while, and when its ports are taken; and one that
//! gets H264.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process::signal_exactly;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Client, Wants, until};
use crate::film::Film;
use crate::ingest::{process, publisher};
use crate::playable::described;
use crate::stage::{Door, PATIENCE, Stage};

/// Without a new frame while it is fed, a process hangs.
const STALE: Duration = Duration::from_secs(1);

fn restarts(stage: &Stage) -> Value {
    stage.worker.session(&stage.id).expect("the session")["restarts"].clone()
}

/// Films until the viewer, the first of both, saw so many frames more.
fn watch(what: &str, both: &mut [Client; 2], film: &mut Film, frames: u64) {
    let from = both[0].seen.frames;
    until(what, both, PATIENCE, |clients| {
        film.play(&mut clients[1]);
        clients[0].seen.frames > from + frames
    });
}

// SPEC 8 whep: A process that takes what is published hangs when it is fed and has no new frame; a
// publisher may pause for as long as it likes. One whose ports somebody took meanwhile starts with
// others, which is no crash; VP8 and H264 go in
// Also: `only_a_process_that_was_fed_while_it_stood_still_has_no_excuse`,
// `a_process_whose_ports_somebody_took_is_started_with_others_and_that_is_no_crash`,
// `a_publisher_of_h264_goes_through_the_process_to_viewers`
#[test]
fn a_process_that_hangs_while_it_is_fed_is_restarted_and_one_whose_publisher_pauses_is_not() {
    let engines = json!({"through": {
        "command": ["/usr/bin/ffmpeg", "-vf", "scale=200:100"], "ingest": "process", "restart_backoff": "100ms",
        "stale_timeout": format!("{}s", STALE.as_secs()),
    }});
    let stage = Stage::of("through", engines, Door::Worker);
    let (viewer, _) = stage.viewer();
    let (client, _) = publisher(&stage);
    let (mut both, mut film) = ([viewer, client], Film::start());
    watch("pictures", &mut both, &mut film, 20);
    let first = process(&stage, None);

    let pause = Instant::now();
    until("a pause of the publisher", &mut both, PATIENCE, |_| pause.elapsed() > STALE * 3);
    assert_eq!(process(&stage, None).pid, first.pid, "it only waits\n{}", stage.worker.log_text());
    assert_eq!(restarts(&stage), 0);
    watch("pictures after the pause", &mut both, &mut film, 20);
    assert_eq!(process(&stage, None).pid, first.pid, "{}", stage.worker.log_text());

    let stopped = Instant::now();
    assert!(signal_exactly(&first, Signal::STOP));
    until("another process", &mut both, PATIENCE, |clients| {
        film.play(&mut clients[1]);
        restarts(&stage) == 1
    });
    println!("restarted {:?} after it stood still", stopped.elapsed());
    watch("pictures of another process", &mut both, &mut film, 20);
    assert_ne!(process(&stage, Some(&first)).pid, first.pid);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);
}

#[test]
fn a_process_whose_ports_somebody_took_is_started_with_others_and_that_is_no_crash() {
    let directory = std::env::temp_dir().join(format!("neck-taken-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let script = directory.join("ffmpeg");
    // What FFmpeg 5.1 says and does in that case, twice.
    let text = "#!/bin/sh\n\
        for time in 1 2; do\n\
        if mkdir \"$0.$time\" 2>/dev/null; then echo '[udp @ 0x1] bind failed: Address already in use' >&2; exit 1; fi\n\
        done\n\
        exec /usr/bin/ffmpeg \"$@\"\n";
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let engines = json!({"through": {
        "command": [script.to_str().expect("a path"), "-vf", "scale=200:100"], "ingest": "process",
        // It leaves its marks beside itself.
        "write": [directory.to_str().expect("a path")],
        // A crash would take this long.
        "restart_backoff": "60s",
    }});
    let stage = Stage::of("through", engines, Door::Worker);
    let (viewer, _) = stage.viewer();
    let (client, _) = publisher(&stage);
    let (mut both, mut film) = ([viewer, client], Film::start());
    watch("pictures", &mut both, &mut film, 20);
    assert!(directory.join("ffmpeg.2").exists(), "it was refused twice");
    assert_eq!(restarts(&stage), 0, "{}", stage.worker.log_text());
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn a_publisher_of_h264_goes_through_the_process_to_viewers() {
    let engines = json!({"through": {
        "command": ["/usr/bin/ffmpeg", "-vf", "scale=200:100"], "ingest": "process",
    }});
    let stage = Stage::of("through", engines, Door::Worker);
    let (viewer, _) = stage.viewer();
    let (mut client, sdp) = Client::offer(Wants::Send);
    // A publisher that has no VP8.
    let reply = stage.publish(&sdp.replace("VP8", "VPX"));
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(reply.body.contains("H264") && !reply.body.contains("VP8/90000"), "{}", reply.body);
    client.answer(&reply.body);
    let (mut both, mut film) = ([viewer, client], Film::of_h264());
    watch("pictures that came as H264", &mut both, &mut film, 30);
    assert_eq!(restarts(&stage), 0, "{}", stage.worker.log_text());
}

// SPEC 8 whep: Parameter sets of H264 that came once, or stand in the process's description or a
// publisher's offer only, are put before each key frame that lacks them, and numbers go on; for
// viewers and for an ingest process alike
// Also: `each_key_frame_without_sets_gets_those_of_the_description`,
// `what_was_overtaken_keeps_the_number_that_was_left_for_it`,
// `parameter_sets_that_only_the_description_has_are_put_before_each_key_frame`,
// `parameter_sets_of_a_publishers_offer_are_put_before_each_key_frame`,
// `parameter_sets_of_the_description_will_do`,
// `a_key_frame_without_parameter_sets_gets_them_and_numbers_go_on`,
// `a_key_frame_without_sets_lacks_them_once`,
// `what_has_its_sets_is_left_alone_and_sets_that_came_once_are_sent_again`,
// `a_flood_of_sets_is_not_kept`, `units_are_found_alone_together_and_in_parts`,
// `parameter_sets_have_numbers`
#[test]
fn a_process_decodes_what_only_the_offer_describes() {
    let more = ["-profile:v", "baseline", "-g", "15", "-flags", "+global_header"];
    let sets = described(&more);
    let engines = json!({"through": {
        "command": ["/usr/bin/ffmpeg", "-vf", "scale=200:100"], "ingest": "process",
    }});
    let stage = Stage::of("through", engines, Door::Worker);
    let (viewer, _) = stage.viewer();
    let (mut client, sdp) = Client::offer(Wants::Send);
    let sdp = sdp
        .replace("VP8", "VPX")
        .replace("packetization-mode=1", &format!("packetization-mode=1;sprop-parameter-sets={sets}"));
    let reply = stage.publish(&sdp);
    assert_eq!(reply.status, 201, "{reply:?}");
    client.answer(&reply.body);
    let (mut both, mut film) = ([viewer, client], Film::of_h264_with(&more));
    watch("pictures whose parameter sets only the offer has", &mut both, &mut film, 30);
    assert_eq!(restarts(&stage), 0, "{}", stage.worker.log_text());
}
