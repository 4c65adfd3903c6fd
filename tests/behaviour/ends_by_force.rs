//! Children that do not want to go.

use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process_table;
use serde_json::json;

use crate::http::Stream;
use crate::lab::{Lab, eventually};

#[test]
fn a_child_that_ignores_sigint_is_killed_after_the_grace() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    lab.faults(json!({"ignore_sigint": true}));
    let worker = lab.lone_worker(|config| config["sessions"]["stop_grace"] = json!("700ms"));
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    let begun = Instant::now();
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let took = begun.elapsed();
    println!("it was gone {} ms after the DELETE", took.as_millis());
    assert!(took >= Duration::from_millis(700), "it had its grace: {took:?}");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    assert_eq!(worker.reason_of_end(&id), "deleted");
}

#[test]
fn a_streamer_that_left_the_process_group_goes_as_well() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    lab.faults(json!({"escape_group": true}));
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    let (children, streamers) = (lab.stream_processes("one"), lab.streamers("one"));
    assert_eq!((children.len(), streamers.len()), (1, 1));
    assert_ne!(streamers[0].group, children[0].group, "the streamer should have left the group");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}

#[test]
fn what_a_streamer_left_behind_without_a_trace_goes_as_well() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    lab.faults(json!({"leave_stray": true}));
    let worker = lab.lone_worker(|_| ());
    let own = i32::try_from(worker.pid()).expect("a process id");
    let strays = || {
        let mut all = process_table::all();
        all.retain(|info| info.parent == own && !info.zombie && info.name == "sleep");
        all
    };
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    let left = eventually("a process whose parent is gone", || strays().pop());
    let children = lab.stream_processes("one");
    assert!(children.iter().all(|child| child.session != left.session), "{left:?} {children:?}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(strays(), []);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}
