//! What happened to a session and when, in `GET /api/v1/sessions/{id}`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, eventually};

fn timeline(role: &Role, id: &str) -> Value {
    let reply = role.get(&format!("/api/v1/sessions/{id}"));
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["timeline"].clone()
}

/// Each entry in a word: its state, or what it is.
fn words(timeline: &Value) -> Vec<String> {
    let entries = timeline["entries"].as_array().unwrap_or_else(|| panic!("no entries: {timeline}"));
    let word =
        |entry: &Value| entry["status"].as_str().or(entry["event"].as_str()).expect("a word").to_owned();
    entries.iter().map(word).collect()
}

#[track_caller]
fn entry<'t>(timeline: &'t Value, word: &str) -> &'t Value {
    let entries = timeline["entries"].as_array().expect("entries");
    let found = entries.iter().rev().find(|entry| entry["event"] == word || entry["status"] == word);
    found.unwrap_or_else(|| panic!("no {word} in {timeline}"))
}

/// The page says how often it lost its stream, and how last.
fn tell(role: &Role, id: &str, disconnects: u32, why: &str) {
    let facts = json!({
        "candidate_type": "relay", "disconnects": disconnects, "bytes_received": 1000, "rtt_ms": 31,
        "lost": {"why": why, "pair": "relay-host"},
    });
    let fields = [("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin")];
    let path = format!("/session/{id}/_neck/facts");
    let reply = http::request(&role.url, "POST", &path, &fields, &facts.to_string());
    assert!(reply.status < 300, "{}: {}", reply.status, reply.body);
}

// SPEC 9 timeline: `GET /api/v1/sessions/ID` tells each state with its time, each restart with how
// the process ended, each interruption with what the page saw and its ICE pair, and the most
// browsers at once; through the controller too, for the ended window, also when the worker was
// killed
// Also: `the_peak_is_the_first_of_the_most`, `facts_are_bounded_words_and_numbers`
#[test]
fn a_timeline_tells_states_interruptions_restarts_and_the_peak_and_is_kept() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, mut worker) = lab.pair(|_| ());
    let id = controller.create(&body);
    let streams = [Stream::open(&worker.url, &id), Stream::open(&worker.url, &id)];
    eventually("both browsers are counted", || {
        (timeline(&worker, &id)["peak"]["connections"] == 2).then_some(())
    });
    tell(&worker, &id, 1, "silent");
    tell(&worker, &id, 1, "silent");
    drop(streams);
    for process in lab.stream_processes("one") {
        hydraneckwebrtc::host::process::signal_exactly(&process, Signal::KILL);
    }
    eventually("it is restarted", || {
        words(&timeline(&worker, &id)).ends_with(&["idle".to_owned()]).then_some(())
    });
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);

    // Of the controller the worker's, also after the end.
    let told = timeline(&controller, &id);
    let seen = words(&told);
    let begins = ["requested", "preparing", "starting", "pairing", "ready", "streaming", "interruption"];
    assert_eq!(seen[..begins.len()], begins, "{told}");
    assert_eq!(seen[seen.len() - 2..], ["ending", "ended"], "{told}");
    let interruption = entry(&told, "interruption");
    assert_eq!(
        (&interruption["number"], &interruption["why"], &interruption["pair"], &interruption["rtt_ms"]),
        (&json!(1), &json!("silent"), &json!("relay-host"), &json!(31))
    );
    assert_eq!(seen.iter().filter(|word| *word == "interruption").count(), 1, "{told}");
    let restart = entry(&told, "restart");
    assert_eq!((&restart["number"], &restart["why"]), (&json!(1), &json!("signal 9")), "{told}");
    assert_eq!(entry(&told, "ended")["reason"], "deleted");
    assert_eq!((&told["peak"]["connections"], &told["left_out"]), (&json!(2), &json!(0)));
    let times: Vec<u64> = (told["entries"].as_array().expect("entries").iter())
        .map(|entry| entry["at_unix_ms"].as_u64().expect("a time"))
        .collect();
    assert!(times.is_sorted(), "{told}");

    // A worker that is killed remembers it, and how a session ended that it did not see the end of.
    let second = worker.create(&body);
    worker.kill();
    worker.restart();
    assert_eq!(timeline(&worker, &id), told);
    let cut = timeline(&worker, &second);
    assert_eq!(words(&cut).last().map(String::as_str), Some("ended"), "{cut}");
    assert_eq!(entry(&cut, "ended")["reason"], "crashed", "{cut}");
}
