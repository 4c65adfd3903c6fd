//! What the page is told while it happens: `GET /session/{id}/_neck/events`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{self, Events, Stream};
use crate::lab::{Lab, Role, eventually};

fn status(word: &str, restarts: u32) -> (String, Value) {
    ("status".into(), json!({"status": word, "restarts": restarts}))
}

fn ended(reason: &str) -> (String, Value) {
    ("ended".into(), json!({"reason": reason}))
}

fn threads(role: &Role) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", role.pid())).expect("a list").count()
}

// SPEC 6: The page hears of every change and why its session ended (`_neck/events`), through the
// controller too
// Also: `a_restart_of_the_stream_process_is_told`,
// `after_the_end_the_answer_is_404_with_the_reason_and_without_for_an_unknown_session`
#[test]
fn the_page_hears_of_every_change_and_of_the_end_through_the_controller() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    let id = controller.create(&body);
    let mut events = Events::open(&controller.url, &id);
    assert_eq!(events.next(), Some(status("ready", 0)));
    let stream = Stream::open(&controller.url, &id);
    assert_eq!(events.next(), Some(status("streaming", 0)));
    drop(stream);
    assert_eq!(events.next(), Some(status("idle", 0)));
    let mut late = Events::open(&worker.url, &id);
    assert_eq!(late.next(), Some(status("idle", 0)));
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!((events.rest(), late.rest()), (vec![ended("deleted")], vec![ended("deleted")]));
}

#[test]
fn a_restart_of_the_stream_process_is_told() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let mut events = Events::open(&worker.url, &id);
    assert_eq!(events.next(), Some(status("ready", 0)));
    let child = lab.stream_processes("one").pop().expect("a child");
    assert!(hydraneckwebrtc::host::process::signal_exactly(&child, Signal::KILL));
    assert_eq!(events.next(), Some(status("starting", 0)));
    assert_eq!(events.next(), Some(status("starting", 1)));
    assert_eq!(events.next(), Some(status("ready", 1)));
}

#[test]
fn streams_hold_no_thread_of_the_worker_and_no_api_thread() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let before = threads(&worker);
    // Twice as many as there are API threads.
    let mut streams: Vec<Events> = (0..8).map(|_| Events::open(&worker.url, &id)).collect();
    streams.iter_mut().for_each(|events| assert_eq!(events.next(), Some(status("ready", 0))));
    // One that the create needed may end meanwhile.
    eventually("no more threads than before", || (threads(&worker) <= before).then_some(()));
    assert_eq!(worker.get("/api/v1/health").status, 200);
    let path = format!("/session/{id}/_neck/events");
    let refused = http::get(&worker.url, &path, None).expect("an answer");
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("5")), "{refused:?}");
    worker.delete(&format!("/api/v1/sessions/{id}"));
    streams.iter_mut().for_each(|events| assert_eq!(events.rest(), [ended("deleted")]));
}

#[test]
fn after_the_end_the_answer_is_404_with_the_reason_and_without_for_an_unknown_session() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    let id = controller.create(&body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    for role in [&controller, &worker] {
        let path = format!("/session/{id}/_neck/events");
        let reply = http::get(&role.url, &path, None).expect("an answer");
        let reason = reply.json()["reason"].clone();
        assert_eq!((reply.status, reason), (404, json!("deleted")), "{}: {reply:?}", role.name);
        let unknown = format!("/session/{}/_neck/events", "ab".repeat(16));
        let reply = http::get(&role.url, &unknown, None).expect("an answer");
        assert_eq!((reply.status, &reply.json()["reason"]), (404, &Value::Null), "{}: {reply:?}", role.name);
        let posted = http::post(&role.url, &path, None, &json!({})).expect("an answer");
        assert_eq!(posted.status, 405, "{posted:?}");
    }
}

// SPEC 5: A drain, by an operator or by SIGTERM, is told to the pages, can be called off, and ends
// what is left in time
// Also: `a_worker_that_is_told_to_stop_says_so_and_ends_its_streams_in_good_order`
#[test]
fn an_operators_drain_is_told_can_be_called_off_and_ends_what_is_left_in_time() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|config| config["drain"] = json!({"timeout": "3s"}));
    let id = controller.create(&body);
    let mut events = Events::open(&controller.url, &id);
    assert_eq!(events.next(), Some(status("ready", 0)));
    let draining = |seconds: Value| Some(("draining".to_owned(), json!({"seconds": seconds})));
    controller.post("/api/v1/workers/one/drain", &json!({}));
    assert_eq!(events.next(), draining(json!(3)));
    controller.delete("/api/v1/workers/one/drain");
    assert_eq!(events.next(), draining(Value::Null));
    assert_eq!(worker.session(&id).expect("it lives on")["status"], "ready");
    controller.post("/api/v1/workers/one/drain", &json!({}));
    assert_eq!(events.next(), draining(json!(3)));
    let mut late = Events::open(&worker.url, &id);
    assert_eq!(late.next(), Some(status("ready", 0)));
    let (name, data) = late.next().expect("an event");
    assert_eq!((name.as_str(), data["seconds"].as_u64().is_some_and(|left| left <= 3)), ("draining", true));
    assert_eq!((events.rest(), late.rest()), (vec![ended("drained")], vec![ended("drained")]));
    assert_eq!(controller.reason_of_end(&id), "drained");
}

#[test]
fn a_worker_that_is_told_to_stop_says_so_and_ends_its_streams_in_good_order() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut worker = lab.lone_worker(|config| config["drain"] = json!({"timeout": "2s"}));
    let id = worker.create(&body);
    let mut events = Events::open(&worker.url, &id);
    assert_eq!(events.next(), Some(status("ready", 0)));
    worker.signal(Signal::TERM);
    let told = events.rest();
    let (draining, end) = (("draining".to_owned(), json!({"seconds": 2})), ended("drained"));
    assert_eq!(told, [draining, end], "{}", worker.log_text());
    assert_eq!(worker.wait().code(), Some(0));
}
