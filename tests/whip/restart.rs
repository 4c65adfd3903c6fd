//! FFmpeg as the source, H264 and Opus: viewers, and its death under them.

use std::time::Instant;

use hydraneckwebrtc::host::process::signal_exactly;
use hydraneckwebrtc::host::process_table;
use rustix::process::Signal;
use serde_json::json;

use crate::client::{Client, until};
use crate::lab::eventually;
use crate::stage::{Door, PATIENCE, Stage};

// SPEC 8 whep: FFmpeg killed under twenty viewers: all have moving pictures again without
// renegotiation
#[test]
fn twenty_viewers_see_moving_pictures_again_after_the_process_was_killed() {
    let command = [
        "/usr/bin/ffmpeg",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x90:rate=25",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440",
    ];
    let stage = Stage::of("bars", json!({"bars": {"command": command}}), Door::Worker);
    let mut viewers: Vec<Client> = (0..20).map(|_| stage.viewer().0).collect();
    let moved = |clients: &[Client], more: &[u64]| {
        clients
            .iter()
            .zip(more)
            .all(|(client, more)| client.seen.frames > more + 25 && client.seen.audio > 20)
    };
    until("pictures and sound", &mut viewers, PATIENCE, |clients| moved(clients, &[0; 20]));
    let process = eventually("the media process", || {
        process_table::working_below(&stage.data_dir()).into_iter().find(|info| info.pid == info.group)
    });
    assert!(signal_exactly(&process, Signal::KILL));
    let killed = Instant::now();
    let mut newest: Vec<_> = viewers.iter().map(|client| client.seen.last.expect("pictures").1).collect();
    let mut first = None;
    until("moving pictures again", &mut viewers, PATIENCE, |clients| {
        // A second of media later, which only a new process can have made.
        let later = |(client, before): (&Client, &u32)| {
            client.seen.last.is_some_and(|(_, stamp, _)| stamp.wrapping_sub(*before) as i32 > 180_000)
        };
        let restarted = stage.worker.session(&stage.id).is_some_and(|session| session["restarts"] == 1);
        if restarted && first.is_none() {
            let moving =
                clients.iter().filter(|client| client.seen.last.is_some_and(|(.., at)| at > killed)).count();
            first = (moving == clients.len()).then(|| killed.elapsed());
        }
        restarted && clients.iter().zip(&newest).all(later)
    });
    newest.clear();
    println!(
        "20 viewers had pictures of the new process {:?} after the old one was killed",
        first.expect("a time")
    );
    for client in &viewers {
        assert_eq!(
            (client.seen.gaps, client.seen.ssrcs.len(), client.seen.over),
            (0, 1, false),
            "{:?}",
            client.seen
        );
    }
}
