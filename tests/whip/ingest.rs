//! What is published, as RTP into a real FFmpeg: through it to viewers, and into a file beside them.

use std::path::PathBuf;
use std::process::Command;

use hydraneckwebrtc::host::process::signal_exactly;
use hydraneckwebrtc::host::process_table::{self, ProcessInfo};
use rustix::process::Signal;
use serde_json::json;

use crate::client::{Client, Wants, until};
use crate::film::Film;
use crate::lab::eventually;
use crate::stage::{Door, PATIENCE, Stage, problem};

/// A publisher that was answered, and its URL.
pub fn publisher(stage: &Stage) -> (Client, String) {
    let (mut client, sdp) = Client::offer(Wants::Send);
    let reply = stage.publish(&sdp);
    assert_eq!(reply.status, 201, "{reply:?}\n{}", stage.worker.log_text());
    client.answer(&reply.body);
    (client, reply.header("Location").expect("a location").to_owned())
}

fn processes(stage: &Stage) -> Vec<ProcessInfo> {
    process_table::working_below(&stage.data_dir())
}

/// The one process of the session, when it is another than `before`.
pub fn process(stage: &Stage, before: Option<&ProcessInfo>) -> ProcessInfo {
    eventually("the media process", || {
        let found = processes(stage).into_iter().find(|info| info.pid == info.group);
        found.filter(|info| before.is_none_or(|before| before.pid != info.pid))
    })
}

/// Local addresses of a process's UDP sockets, as the kernel writes them.
fn udp_addresses(pid: i32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let inodes: Vec<String> = links
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table =
        ["udp", "udp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let rows = table.iter().flat_map(|text| text.lines().skip(1));
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.get(9).is_some_and(|inode| inodes.iter().any(|ours| ours == inode)))
        .map(|row| row[1].to_owned())
        .collect()
}

// SPEC 8 whep: `engines.NAME.ingest`: what is published goes into the process and viewers see what
// it makes, over its restart and the next publisher; or to viewers and into a file; it runs while
// somebody publishes, listens on loopback only and leaves nothing
// Also: `what_is_published_goes_to_viewers_and_into_a_file_of_the_process`, `what a browser
// publishes goes through the process, and viewers see its picture and hear its sound`,
// `what_is_published_goes_to_viewers_unless_told_otherwise`
#[test]
fn what_is_published_goes_through_the_process_to_viewers_over_its_restart_and_the_next_publisher() {
    let engines = json!({"through": {
        "command": ["/usr/bin/ffmpeg", "-vf", "scale=200:100"], "ingest": "process", "restart_backoff": "100ms",
    }});
    let stage = Stage::of("through", engines, Door::Controller);
    assert!(processes(&stage).is_empty(), "nobody publishes yet");
    let (viewer, _) = stage.viewer();
    let (client, location) = publisher(&stage);
    let (mut both, mut film) = ([viewer, client], Film::start());
    let mut watch = |what: &str, both: &mut [Client; 2], frames: u64| {
        let (from, sound) = (both[0].seen.frames, both[0].seen.audio);
        until(what, both, PATIENCE, |clients| {
            film.play(&mut clients[1]);
            clients[0].seen.frames > from + frames && clients[0].seen.audio > sound + 10
        });
    };
    watch("pictures and sound that went through the process", &mut both, 30);
    assert!(both[1].seen.wanted > 0, "the publisher is asked for a key frame once the process listens");
    let first = process(&stage, None);
    let mut addresses = udp_addresses(first.pid);
    addresses.sort();
    let opened: Vec<&str> =
        addresses.iter().filter_map(|address| address.strip_prefix("0100007F:")).collect();
    println!("{location}: ports of the process: {opened:?}");
    assert_eq!(
        (opened.len(), addresses.len()),
        (8, 8),
        "four to hear and four to send, on loopback: {addresses:?}"
    );

    assert!(signal_exactly(&first, Signal::KILL));
    let second = process(&stage, Some(&first));
    watch("pictures of the second process", &mut both, 20);
    assert_eq!(stage.worker.session(&stage.id).expect("the session")["restarts"], 1);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);

    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    eventually("the process is gone with its publisher", || processes(&stage).is_empty().then_some(()));
    let session = stage.worker.session(&stage.id).expect("the session");
    assert_eq!((&session["restarts"], &session["status"]), (&json!(1), &json!("streaming")), "{session}");
    let (next, _) = publisher(&stage);
    both[1] = next;
    watch("pictures of the next publisher", &mut both, 20);
    assert_ne!(process(&stage, None).pid, second.pid);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);
    stage.end();
    assert!(processes(&stage).is_empty(), "nothing is left of it");
    let log = stage.worker.log_text();
    assert!(!log.contains("panic"), "{log}");
}

/// A file that goes with its test.
struct Recording(PathBuf);

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_published_goes_to_viewers_and_into_a_file_of_the_process() {
    let file = Recording(std::env::temp_dir().join(format!("neck-recording-{}.mkv", std::process::id())));
    let path = file.0.to_str().expect("a path");
    let engines = json!({"recorded": {
        "command": ["/usr/bin/ffmpeg", "-map", "0", "-c", "copy", "-y", path], "ingest": "both", "video": "vp8",
    }});
    let stage = Stage::of("recorded", engines, Door::Worker);
    let (client, location) = publisher(&stage);
    let (viewer, _) = stage.viewer();
    let (mut both, mut film) = ([viewer, client], Film::start());
    until("pictures and sound", &mut both, PATIENCE, |clients| {
        film.play(&mut clients[1]);
        let recorded = || {
            stage
                .worker
                .session(&stage.id)
                .is_some_and(|session| session["source"]["frames"].as_u64() > Some(45))
        };
        clients[0].seen.frames > 45 && clients[0].seen.audio > 50 && recorded()
    });
    assert!(both[0].seen.first_picture.is_some(), "the publisher's own VP8: {:?}", both[0].seen);
    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    eventually("the process is gone with its publisher", || processes(&stage).is_empty().then_some(()));
    let count = |stream: &str| -> u64 {
        let probe = Command::new("/usr/bin/ffprobe")
            .args(["-v", "error", "-count_frames", "-select_streams", stream])
            .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path])
            .output()
            .expect("ffprobe");
        let (out, trouble) =
            [&probe.stdout, &probe.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).into();
        println!("{stream}: {out}{trouble}");
        out.trim().parse().unwrap_or_default()
    };
    // Decoded, not only counted: the file begins with a key frame.
    assert!(count("v:0") >= 45 && count("a:0") >= 100, "picture and sound in the file");
    let session = stage.worker.session(&stage.id).expect("the session");
    assert_eq!(session["restarts"], 0, "{session}");
}

#[test]
fn a_process_needs_a_picture_and_takes_either_codec() {
    let stage = Stage::of(
        "through",
        json!({"through": {"command": ["/usr/bin/ffmpeg"], "ingest": "process", "audio": "no"}}),
        Door::Worker,
    );
    let good = crate::stage::offer(Wants::Send);
    let answered = stage.publish(&good.replace("H264", "H26X"));
    assert!(answered.status == 201 && answered.body.contains("VP8"), "{answered:?}");
    let location = answered.header("Location").expect("a location").to_owned();
    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    let answered = stage.publish(&good.replace("VP8", "VPX"));
    assert!(answered.status == 201 && answered.body.contains("H264"), "{answered:?}");
    let location = answered.header("Location").expect("a location").to_owned();
    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    assert_eq!(problem(&stage.publish(&good.replace("VP8", "VPX").replace("H264", "H26X"))), 422);
}
