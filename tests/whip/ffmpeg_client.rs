//! FFmpeg's own WHIP (`-f whip`), out of PyPI: by default it is the server of DTLS, and what it offers is H264 as its encoder makes it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::aiortc;
use crate::client::until;
use crate::stage::{Door, PATIENCE, PUBLISH, Stage};

/// A publisher at work, until it is dropped.
struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `None` where such an FFmpeg cannot be had; it says so past the test runner, and `./test` repeats it.
fn ffmpeg() -> Option<PathBuf> {
    let note = |why| {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    };
    aiortc::ffmpeg().map_err(note).ok()
}

fn publish(ffmpeg: &PathBuf, stage: &Stage, profile: &str) -> Publisher {
    let url = format!("{}/session/{}/whip", stage.url, stage.id);
    let child = Command::new(ffmpeg)
        .args(["-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=15"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440",
            "-c:v",
            "libx264",
            "-profile:v",
            profile,
            "-bf",
            "0",
        ])
        .args(["-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15"])
        .args(["-c:a", "libopus", "-ar", "48000", "-ac", "2", "-f", "whip", "-authorization", PUBLISH, &url])
        .stdout(Stdio::null())
        .spawn();
    Publisher(child.expect("FFmpeg"))
}

// SPEC media: FFmpeg's own WHIP publishes, directly and into a process; its answers to our checks,
// without an address, prove where it is
#[test]
fn ffmpegs_own_whip_is_seen_directly_and_through_a_process() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let engines = json!({
        "camera": {"command": ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5"], "audio": "no"},
        "through": {"command": ["/usr/bin/ffmpeg", "-vf", "scale=176:144"], "ingest": "process"},
    });
    for (engine, profile) in [("camera", "baseline"), ("through", "baseline"), ("through", "main")] {
        let stage = Stage::of(engine, engines.clone(), Door::Worker);
        let _publisher = publish(&ffmpeg, &stage, profile);
        let publishes = || {
            let session = stage.worker.session(&stage.id)?;
            Some(session["stream"]["published"] == true).filter(|published| *published)
        };
        crate::lab::eventually("it publishes", publishes);
        let mut one = [stage.viewer().0];
        until(&format!("pictures of {engine}, {profile}"), &mut one, PATIENCE * 2, |clients| {
            clients[0].seen.frames > 20
        });
        println!("{engine}, {profile}: {:?}", one[0].seen);
    }
}
