//! Bodies that take long keep nobody waiting but those who asked for them.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use serde_json::json;

use crate::http;
use crate::lab::{Lab, PATIENCE, Role, TOKEN, eventually_equal};

/// Creates that one worker holds: more than a controller's API has connections.
const HELD: usize = 100;

/// Creates that a worker itself holds, beyond the half of its API's connections.
const ON_ONE_WORKER: usize = 20;

/// Asks for a session and does not wait; the connection on which the answer will come.
fn ask(role: &Role, request: &str) -> TcpStream {
    let authority = role.url.trim_start_matches("http://");
    let mut caller = TcpStream::connect(authority).expect("a connection");
    let text = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{request}",
        request.len()
    );
    caller.write_all(text.as_bytes()).expect("it is taken");
    caller
}

fn answer(caller: &mut TcpStream) -> String {
    caller.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    http::read_whole(caller)
}

/// A worker with room for all of them that answers no create before it is told to; tells of each that has come.
fn slow_worker(controller: &Role) -> mpsc::Receiver<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let beat = json!({
        "worker_id": "slow", "generation": {"boot_ms": 1, "nonce": 1}, "seq": 1, "version": "1", "max": HELD,
        "port": listener.local_addr().expect("its address").port(), "wireguard": false, "status": "ok",
        "interval_ms": 60_000, "sessions": [],
    });
    let reply = controller.post("/api/v1/workers/heartbeat", &beat);
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(true)), "{reply:?}");
    let (comes, come) = mpsc::channel();
    std::thread::spawn(move || {
        for call in listener.incoming().map_while(Result::ok) {
            if comes.send(call).is_err() {
                return;
            }
        }
    });
    come
}

// SPEC 4: Creates that take long keep no connection to the API and block neither other creates nor
// deletes and looks, on both roles; threads for them come as they are needed, within a bound
// Also: `slow_bodies_of_a_worker_do_not_block_what_is_not_slow_there`,
// `threads_come_as_they_are_needed_and_no_more_than_may`, `an_idle_thread_is_used_again`,
// `jobs_that_came_before_the_threads_are_done`,
// `a_late_reply_is_found_while_somebody_waits_and_taken_once`,
// `calls_to_workers_leave_descriptors_to_connections`
#[test]
fn a_hundred_slow_bodies_do_not_block_the_next_create() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| {
        config["workers"]["heartbeat_timeout"] = json!("180s");
        config["sessions"]["create_timeout"] = json!("120s");
        config["edge"]["upstream_head_timeout"] = json!("180s");
    });
    let calls = slow_worker(&controller);
    let mut callers: Vec<TcpStream> =
        (0..HELD).map(|number| ask(&controller, &format!(r#"{{"body_ip": "10.9.0.{number}"}}"#))).collect();
    let held: Vec<TcpStream> = (0..HELD)
        .map(|number| {
            calls.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("create {number} waits for others"))
        })
        .collect();

    let worker = lab.worker("one", &controller.url, |_| ());
    let up = || controller.get("/api/v1/workers?state=up").json()["workers"].as_array().map(Vec::len);
    eventually_equal("workers up", &Some(2), up);
    let id = controller.create(&body);
    assert!(worker.session(&id).is_some(), "its session is on the worker that is not slow");
    assert_eq!(controller.get(&format!("/api/v1/sessions/{id}")).status, 200, "it can be looked at");
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204, "and ended");

    // What was held is answered on the connection that asked for it.
    for mut call in held {
        let refusal = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"error\":\"never\"}";
        call.write_all(refusal.as_bytes()).expect("the controller listens");
    }
    for (number, caller) in callers.iter_mut().enumerate() {
        let said = answer(caller);
        assert!(said.starts_with("HTTP/1.1 409 ") && said.contains("never"), "{number}: {said}");
    }
}

#[test]
fn slow_bodies_of_a_worker_do_not_block_what_is_not_slow_there() {
    let mut lab = Lab::new();
    let bodies: Vec<String> = (1..=ON_ONE_WORKER + 1).map(|number| lab.body(number)).collect();
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |config| {
        config["sessions"]["ready_timeout"] = json!("100s");
        config["sessions"]["max"] = json!(2 * ON_ONE_WORKER);
        config["sessions"]["create_timeout"] = json!("120s");
        config["edge"]["upstream_head_timeout"] = json!("180s");
    });
    lab.faults(json!({"hang": true}));
    let _callers: Vec<TcpStream> = bodies[..ON_ONE_WORKER]
        .iter()
        .map(|body| ask(&worker, &format!(r#"{{"body_ip": "{body}"}}"#)))
        .collect();
    eventually_equal("creates under way", &ON_ONE_WORKER, || worker.sessions().len());

    let mut quick = ask(&worker, &format!(r#"{{"body_ip": "{}", "engine": "demo"}}"#, bodies[ON_ONE_WORKER]));
    let said = answer(&mut quick);
    assert!(said.starts_with("HTTP/1.1 201 "), "{said}\n{}", worker.log_text());
    let slow = worker.sessions().iter().filter(|session| session["status"] != "ready").count();
    assert_eq!(slow, ON_ONE_WORKER, "the slow ones are still under way");
    let listed = worker.sessions();
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(worker.get(&format!("/api/v1/sessions/{id}")).status, 200, "one can be looked at");
}
