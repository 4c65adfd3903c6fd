//! Two workers and a controller: spreading, worker death, controller death.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;

use crate::http::{self, Stream};
use crate::lab::{HEARTBEAT, Lab, Role, eventually, eventually_equal};
use crate::namespaces::accepted;

/// Bodies that get a session in this test: both workers full.
const SESSIONS: usize = 30;

fn workers_up(controller: &Role) -> usize {
    let workers = controller.get("/api/v1/workers").json()["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().filter(|worker| worker["status"] == "up").count()
}

fn by_worker(controller: &Role, status: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for session in controller.sessions().iter().filter(|session| session["status"] == status) {
        *counts.entry(session["worker_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

/// Asks for one session per body, all at once; status and body of each answer.
fn create_all_at_once(controller: &Role, bodies: &[String]) -> Vec<(u16, String)> {
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for body in bodies {
            let answers = &answers;
            scope.spawn(move || {
                let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
                answers.lock().expect("no panic").push((reply.status, reply.body));
            });
        }
    });
    answers.into_inner().expect("no panic")
}

// SPEC 4: Playing WebSockets to a worker survive the controller's death; the other worker's survive
// a worker's
#[test]
fn thirty_sessions_spread_evenly_and_survive_the_death_of_others() {
    let mut lab = Lab::new();
    let bodies: Vec<String> = (1..=SESSIONS + 1).map(|number| lab.body(number)).collect();
    let mut controller = lab.controller(|_| ());
    let url = controller.url.clone();
    let mut first = lab.worker("one", &url, |_| ());
    let second = lab.worker("two", &url, |_| ());
    eventually_equal("workers up", &2, || workers_up(&controller));

    let begun = Instant::now();
    let answers = create_all_at_once(&controller, &bodies[..SESSIONS]);
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status != 201).collect();
    assert!(refused.is_empty(), "{refused:?}");
    println!("{SESSIONS} creates at once took {} ms", begun.elapsed().as_millis());
    let spread: BTreeMap<String, usize> = [("one".to_owned(), 15), ("two".to_owned(), 15)].into();
    eventually_equal("sessions per worker", &spread, || by_worker(&controller, "ready"));

    let full = controller.post("/api/v1/sessions", &json!({"body_ip": bodies[SESSIONS]}));
    assert_eq!((full.status, full.header("Retry-After").is_some()), (503, true), "{full:?}");

    the_other_workers_sessions_play_on(&controller, &mut first, &second);
    a_restarted_controller_is_whole_within_two_heartbeats(&mut controller, &second);
}

/// `kill -9` of one worker.
fn the_other_workers_sessions_play_on(controller: &Role, first: &mut Role, second: &Role) {
    let playing = second.sessions()[0]["id"].as_str().expect("an id").to_owned();
    let mut stream = Stream::open(&controller.url, &playing);
    assert!(stream.plays(), "no media through controller and worker");
    let begun = Instant::now();
    first.kill();
    let down: BTreeMap<String, usize> = [("one".to_owned(), 15)].into();
    eventually_equal("sessions reported down", &down, || by_worker(controller, "down"));
    println!("the dead worker's sessions were reported down after {} ms", begun.elapsed().as_millis());
    assert!(stream.plays(), "the other worker's stream stopped");
}

/// `kill -9` of the controller.
fn a_restarted_controller_is_whole_within_two_heartbeats(controller: &mut Role, second: &Role) {
    let ids: Vec<String> =
        second.sessions().iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect();
    let mut direct = Stream::open(&second.url, &ids[1]);
    assert!(direct.plays());
    controller.kill();
    assert!(direct.plays(), "a WebSocket to the worker died with the controller");
    let before = accepted(second);
    controller.restart();
    let back = Instant::now();
    let routed = |id: &String| http::get_page(&controller.url, &format!("/session/{id}/")).status == 307;
    // Heartbeats are counted and not timed: a loaded machine sends them late.
    eventually("every session is routed again", || {
        let beats = accepted(second) - before;
        let is_whole = ids.iter().all(routed);
        assert!(is_whole || beats < 2, "a session is not routed though {beats} heartbeats were taken");
        is_whole.then_some(())
    });
    println!(
        "every session was routed again after {} ms (two heartbeats: {} ms)",
        back.elapsed().as_millis(),
        (HEARTBEAT * 2).as_millis()
    );
    assert!(direct.plays(), "a WebSocket to the worker died with the controller's restart");
}

#[test]
fn an_unknown_session_is_not_known_yet_right_after_a_start_and_unknown_later() {
    let lab = Lab::new();
    let controller = lab.controller(|config| config["workers"]["heartbeat_interval"] = json!("400ms"));
    let path = format!("/session/{}/", "ab".repeat(16));
    let early = http::get(&controller.url, &path, None).expect("an answer");
    if early.status == 503 {
        assert!(early.header("Retry-After").is_some(), "{early:?}");
    } else {
        assert_eq!(early.status, 404, "the machine was too slow to see the 503: {early:?}");
    }
    eventually_equal("status of an unknown session", &404, || {
        http::get(&controller.url, &path, None).expect("an answer").status
    });
}
