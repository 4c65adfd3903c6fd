//! Clients that are no browsers: aiortc publishes and watches.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::aiortc;
use crate::lab::eventually;
use crate::stage::{Door, PUBLISH, Stage};

/// A client at work. It ends when its input does.
struct Foreign {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Foreign {
    fn start(python: &Path, what: &str, stage: &Stage, kinds: &str) -> Foreign {
        Foreign::with_certificate(python, what, stage, kinds, "")
    }

    fn with_certificate(python: &Path, what: &str, stage: &Stage, kinds: &str, certificate: &str) -> Foreign {
        Foreign::with(python, what, stage, kinds, ("FOREIGN_CERTIFICATE", certificate))
    }

    fn with(python: &Path, what: &str, stage: &Stage, kinds: &str, (name, value): (&str, &str)) -> Foreign {
        let endpoint = if what == "watch" { "whep" } else { "whip" };
        let token = if what == "watch" { "" } else { PUBLISH };
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whip/foreign_client.py"))
            .args([what, &format!("{}/session/{}/{endpoint}", stage.url, stage.id), token, kinds])
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Foreign { child, lines }
    }

    /// What it says once media flows. It gives up by itself when none does.
    fn told(&mut self) -> Value {
        let line = self.lines.next().transpose().expect("text").expect("a line: see its words above");
        println!("{line}");
        serde_json::from_str(&line).expect("JSON")
    }

    /// It says goodbye with a DELETE.
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("its end").success());
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `None` where aiortc cannot be had; it says so past the test runner, and `./test` repeats it.
fn python() -> Option<PathBuf> {
    let note = |why| {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    };
    aiortc::python().map_err(note).ok()
}

/// What a viewer decoded: enough of each kind, and a picture that moves.
fn assert_seen(told: &Value, kinds: &[&str], codecs: &[&str]) {
    for kind in kinds {
        assert!(told["frames"][kind].as_u64() >= Some(25), "{kind}: {told}");
    }
    assert_eq!(told["frames"].as_object().map(|frames| frames.len()), Some(kinds.len()), "{told}");
    assert_eq!(told["codecs"], json!(codecs), "{told}");
}

// SPEC media: Twelve clients publish and watch, with H264 and VP8, sound or picture first, into
// sessions with and without sound, as far as each can (`tests/clients/run`, which writes the table
// of docs/clients.md)
// Also:
// `a_publisher_that_is_no_browser_is_seen_with_and_without_sound_directly_and_through_a_process`,
// `ffmpegs_own_whip_is_seen_directly_and_through_a_process`
// SPEC 8 whep: Clients that are no browsers (aiortc) publish and watch, with and without sound, VP8
// and H264, directly and through a process
// Also:
// `a_publisher_that_is_no_browser_is_seen_with_and_without_sound_directly_and_through_a_process`
#[test]
fn a_viewer_that_is_no_browser_sees_and_hears_with_and_without_sound() {
    let Some(python) = python() else { return };
    let bars = ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=15"];
    for (engine, kinds, codecs) in [
        ("demo", "audio+video", &["VP8", "opus"][..]),
        ("demo", "video", &["VP8"]),
        ("bars", "video", &["H264"]),
    ] {
        let stage = Stage::of(engine, json!({"bars": {"command": bars}}), Door::Controller);
        let mut viewer = Foreign::start(&python, "watch", &stage, kinds);
        let told = viewer.told();
        assert_seen(&told, &kinds.split('+').collect::<Vec<_>>(), codecs);
        viewer.end();
        eventually("the viewer is gone with its DELETE", || {
            stage.worker.session(&stage.id).filter(|session| session["connections"] == 0)
        });
    }
}

#[test]
fn whatever_profile_a_viewer_agrees_on_it_sees_and_hears() {
    let Some(python) = python() else { return };
    let stage = Stage::new(Door::Worker);
    for (profile, sending) in [
        ("SRTP_AEAD_AES_256_GCM", "own_aes_256_gcm"),
        ("SRTP_AEAD_AES_128_GCM", "own_aes_128_gcm"),
        ("SRTP_AES128_CM_SHA1_80", "other_profile"),
    ] {
        let mut viewer = Foreign::with(&python, "watch", &stage, "audio+video", ("FOREIGN_PROFILE", profile));
        let told = viewer.told();
        assert_seen(&told, &["audio", "video"], &["VP8", "opus"]);
        let view = stage.worker.get(&format!("/api/v1/sessions/{}", stage.id)).json();
        let watching = view["stream"]["watching"].as_array().cloned().unwrap_or_default();
        let sent: Vec<&Value> = watching.iter().map(|one| &one["sending"]).collect();
        assert_eq!(sent, [&json!(sending)], "{profile}: {view}");
        viewer.end();
        eventually("the viewer is gone", || {
            stage.worker.session(&stage.id).filter(|session| session["connections"] == 0)
        });
    }
}

#[test]
fn a_publisher_that_is_no_browser_is_seen_with_and_without_sound_directly_and_through_a_process() {
    let Some(python) = python() else { return };
    let engines = json!({
        "h264": {"command": ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"]},
        "through": {"command": ["/usr/bin/ffmpeg", "-vf", "scale=176:144"], "ingest": "process"},
    });
    for (engine, kinds, codecs) in [
        ("demo", "audio+video", &["VP8", "opus"][..]),
        ("demo", "video", &["VP8"]),
        ("h264", "video", &["H264"]),
        ("through", "audio+video", &["H264", "opus"]),
    ] {
        let stage = Stage::of(engine, engines.clone(), Door::Worker);
        let mut publisher = Foreign::start(&python, "publish", &stage, kinds);
        publisher.told();
        let mut viewer = Foreign::start(&python, "watch", &stage, kinds);
        let told = viewer.told();
        assert_seen(&told, &kinds.split('+').collect::<Vec<_>>(), codecs);
        assert_eq!(told["size"], json!([176, 144]), "the publisher's picture, not the session's own: {told}");
        assert!(told["shades"].as_u64() >= Some(5), "it moves: {told}");
        viewer.end();
        publisher.end();
    }
}

// SPEC media: A client whose certificate cannot be checked (RSA) is told in the log and the
// session's `warnings` to use ECDSA P-256; a peer that ends before it was connected has its reason
// in the log
// Also: `what_ends_a_handshake_is_told`
#[test]
fn a_client_with_an_rsa_certificate_is_told_what_to_use() {
    let Some(python) = python() else { return };
    let stage = Stage::new(Door::Worker);
    for what in ["watch", "publish"] {
        let _client = Foreign::with_certificate(&python, what, &stage, "video", "rsa");
        let role = if what == "watch" { "[whep]" } else { "[whip]" };
        eventually("the log says what is wrong", || {
            let log = stage.worker.log_text();
            let line = log
                .lines()
                .find(|line| line.contains(role) && line.contains("its handshake will not end"))?;
            println!("{line}");
            Some(line.contains("ECDSA P-256")).filter(|told| *told)
        });
    }
    let session = stage.worker.session(&stage.id).expect("the session");
    let warnings = session["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 1, "once: {session}");
    assert!(warnings[0].as_str().is_some_and(|words| words.contains("ECDSA P-256")), "{session}");
}
