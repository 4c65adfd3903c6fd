//! What becomes of sessions when their worker is told to stop.

use rustix::process::Signal;
use serde_json::json;

use crate::http::{self, Stream};
use crate::lab::{Lab, TOKEN, eventually, eventually_equal};

// SPEC 5: Drain and shutdown: first SIGTERM within a bound, second now
// Also: `a_drained_worker_without_sessions_ends_at_once`, `a_second_sigterm_ends_every_session_now`
#[test]
fn a_drain_ends_the_sessions_that_are_left_when_its_time_is_up() {
    let mut lab = Lab::new();
    let (body, other) = (lab.body(1), lab.body(2));
    let (controller, mut worker) = lab.pair(|config| config["drain"] = json!({"timeout": "4s"}));
    let id = controller.create(&body);
    let port = worker.port_of(&id);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    worker.signal(Signal::TERM);
    worker.wait_for_log("draining for at most");
    let ready = http::get(&worker.url, "/api/v1/health?ready", None).expect("an answer");
    assert_eq!((ready.status, &ready.json()["extra"]["draining"]), (503, &json!(true)), "{ready:?}");
    let health = http::get(&worker.url, "/api/v1/health", None).expect("an answer");
    assert_eq!(health.status, 200, "without ?ready");
    let refused = http::post(&worker.url, "/api/v1/sessions", Some(TOKEN), &json!({"body_ip": other}));
    let refused = refused.expect("an answer");
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (503, true), "{refused:?}");
    assert!(stream.next_media().is_ok(), "a drain lets sessions play on");
    stream.until_it_ends();
    assert_eq!(worker.wait().code(), Some(0));
    lab.assert_nothing_left("one", &[port]);
    assert!(worker.log_text().contains(&format!("[session {}] ended: drained", &id[..8])));
    eventually_equal("the controller's word", &"drained".to_owned(), || controller.reason_of_end(&id));
    worker.assert_log_keeps_secrets(&[&id]);
}

#[test]
fn a_drained_worker_without_sessions_ends_at_once() {
    let lab = Lab::new();
    let mut worker = lab.lone_worker(|_| ());
    let begun = std::time::Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().code(), Some(0));
    println!("an idle worker ended {} ms after SIGTERM", begun.elapsed().as_millis());
    assert!(worker.log_text().contains("[worker] stopped"));
    assert!(!worker.log_text().contains("ALERT"), "{}", worker.log_text());
}

#[test]
fn a_second_sigterm_ends_every_session_now() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let controller = lab.controller(|_| ());
    let mut worker = lab.worker("one", &controller.url, |_| ());
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    let ids: Vec<String> = bodies.iter().map(|body| controller.create(body)).collect();
    let ports: Vec<u16> = ids.iter().map(|id| worker.port_of(id)).collect();
    let mut stream = Stream::open(&controller.url, &ids[0]);
    assert!(stream.plays());
    worker.signal(Signal::TERM);
    worker.wait_for_log("draining for at most");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().code(), Some(0));
    lab.assert_nothing_left("one", &ports);
    for id in &ids {
        eventually_equal("the controller's word", &"shutdown".to_owned(), || controller.reason_of_end(id));
    }
    assert!(!worker.log_text().contains("ALERT"), "{}", worker.log_text());
}
