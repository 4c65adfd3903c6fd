//! Sessions that end although nobody asked: nobody came, nobody came back, time is up, the stream process keeps dying.

use std::net::TcpListener;

use hydraneckwebrtc::host::process::signal_exactly;
use rustix::process::Signal;
use serde_json::json;

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, eventually, eventually_equal};

// SPEC 5: `connect_timeout`, `idle_timeout`, `max_duration`
// Also: `a_session_that_was_left_ends_after_the_idle_timeout_and_not_while_somebody_watches`,
// `max_duration_ends_a_session_that_plays`, `nobody_came_and_nobody_came_back_are_different_ends`,
// `who_comes_and_goes_between_two_looks_was_there`
#[test]
fn a_session_nobody_comes_to_ends_after_the_connect_timeout() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["connect_timeout"] = json!("400ms"));
    let id = worker.create(&body);
    assert_eq!(worker.reason_of_end(&id), "connect_timeout");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}

#[test]
fn a_session_that_was_left_ends_after_the_idle_timeout_and_not_while_somebody_watches() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["idle_timeout"] = json!("500ms"));
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    // Frames of more than the time-out's length.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 1200 {
        stream.next_media().expect("it plays on while somebody watches");
    }
    eventually_equal("its status", &json!("streaming"), || {
        worker.session(&id).expect("it lives")["status"].clone()
    });
    drop(stream);
    assert_eq!(worker.reason_of_end(&id), "idle_timeout");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}

#[test]
fn max_duration_ends_a_session_that_plays() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["max_duration"] = json!("2s"));
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    stream.until_it_ends();
    assert_eq!(worker.reason_of_end(&id), "max_duration");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}

/// `kill -9` of the one stream process there is.
fn crash(lab: &Lab) {
    let child = eventually("a stream process", || lab.stream_processes("one").into_iter().next());
    assert!(signal_exactly(&child, Signal::KILL), "{child:?} is gone");
}

fn wait_for_restart(worker: &Role, id: &str, number: u64) {
    eventually(&format!("restart {number}"), || {
        let session = worker.session(id)?;
        let open = session["status"] == "ready" || session["status"] == "idle";
        (open && session["restarts"] == number).then_some(())
    });
}

// SPEC 5: A crash restarts with back-off on the same port within the budget; beyond, it ends as
// `crashed` and its log is kept
// Also: `crashes_beyond_the_budget_end_the_session_and_its_log_is_kept_for_a_while`,
// `a_crash_restarts_with_back_off_until_the_budget_is_used_up`
#[test]
fn a_crash_within_the_budget_restarts_on_the_same_port_and_the_page_says_reconnecting_meanwhile() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["restart_backoff"] = json!("1500ms"));
    let id = worker.create(&body);
    let (port, page) = (worker.port_of(&id), format!("/session/{id}/"));
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    crash(&lab);
    let reply = eventually("the page says so", || {
        let reply = http::get_page(&worker.url, &page);
        (reply.status == 503).then_some(reply)
    });
    assert!(reply.body.contains("Reconnecting"), "{reply:?}");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    let reply = http::get(&worker.url, &format!("{page}api/hosts"), None).expect("an answer");
    assert_eq!((reply.status, reply.header("Content-Type")), (503, Some("application/json")), "{reply:?}");
    stream.until_it_ends();
    drop(stream);
    wait_for_restart(&worker, &id, 1);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays(), "after the restart");
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err(), "the child should be on its port again");
    worker.wait_for_log("ALERT stream process died (signal 9)");
    worker.assert_log_keeps_secrets(&[&id]);
}

#[test]
fn crashes_beyond_the_budget_end_the_session_and_its_log_is_kept_for_a_while() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| {
        config["sessions"]["restarts"] = json!(1);
        config["sessions"]["keep_logs"] = json!("3s");
    });
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    crash(&lab);
    stream.until_it_ends();
    drop(stream);
    wait_for_restart(&worker, &id, 1);
    crash(&lab);
    assert_eq!(worker.reason_of_end(&id), "crashed");
    let directory = lab.data_dir("one").join(format!("{}-{}", &id[..8], worker.port_of(&id)));
    let log = directory.join("server/web-server.log");
    assert!(log.is_file(), "{} should be kept", log.display());
    let left = lab.left_overs("one");
    assert!(left.iter().all(|each| each.starts_with("directory")), "{left:?}");
    eventually("the kept log goes", || (!directory.exists()).then_some(()));
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    // One for each crash, one for giving up.
    worker.wait_for_log_times(3, "ALERT");
    worker.assert_log_keeps_secrets(&[&id]);
}
