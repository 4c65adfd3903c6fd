//! Session after session on one body: good ones, crashed ones, failed ones, and a worker that is killed in the middle. The body's
//! clients and what runs there are what they were before.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use stand_ins::sunshine::{Body, BodyFaults};

use crate::farm::Farm;
use crate::http::Stream;
use crate::lab::{NOBODY, Role, eventually, eventually_equal};

const BODY: &str = "127.0.3.2";

/// What was there before any of them.
const OTHERS: [&str; 2] = ["Kitchen", "Living room"];

/// How a session goes.
const WAYS: [fn(&Farm, &Role, &Body); 7] =
    [quiet, played, quiet, crashed, without_applications, ended_while_pairing, launched];

fn end(worker: &Role, id: &str) {
    let ended = worker.delete(&format!("/api/v1/sessions/{id}"));
    assert_eq!(ended.status, 204, "{}\n{}", ended.body, worker.log_text());
}

fn quiet(_: &Farm, worker: &Role, _: &Body) {
    end(worker, &worker.create(BODY));
}

fn play(worker: &Role, body: &Body) -> (String, Stream) {
    let id = worker.create(BODY);
    let stream = Stream::open(&worker.url, &id);
    eventually("the application runs", || (body.running_app() != 0).then_some(()));
    eventually("the session streams", || worker.session(&id).filter(|seen| seen["status"] == "streaming"));
    (id, stream)
}

fn played(_: &Farm, worker: &Role, body: &Body) {
    let (id, _stream) = play(worker, body);
    end(worker, &id);
}

fn crashed(farm: &Farm, worker: &Role, body: &Body) {
    let (id, _stream) = play(worker, body);
    for process in farm.lab.stream_processes("one") {
        // It may have ended by itself since.
        let _ = Pid::from_raw(process.pid).map(|pid| kill_process_group(pid, Signal::KILL));
    }
    assert_eq!(worker.reason_of_end(&id), "crashed", "{}", worker.log_text());
}

fn without_applications(_: &Farm, worker: &Role, body: &Body) {
    body.set_faults(BodyFaults { fail_app_lists: u32::MAX, ..BodyFaults::default() }).expect("changes");
    let failed = worker.post("/api/v1/sessions", &json!({"body_ip": BODY}));
    assert_eq!(failed.status, 502, "{}", failed.body);
    body.set_faults(BodyFaults::default()).expect("changes");
}

fn ended_while_pairing(_: &Farm, worker: &Role, body: &Body) {
    let faults = BodyFaults { pin_always_false: true, leftovers_wait: true, ..BodyFaults::default() };
    body.set_faults(faults).expect("changes");
    let begun = worker.post("/api/v1/sessions", &json!({"body_ip": BODY, "wait": false})).json();
    eventually("it waits for its PIN", || (!body.waiting_clients().is_empty()).then_some(()));
    end(worker, begun["session_id"].as_str().expect("an id"));
    body.set_faults(BodyFaults::default()).expect("changes");
}

fn launched(_: &Farm, worker: &Role, _: &Body) {
    let request = json!({"body_ip": BODY, "experience": "Game", "exe_path": "C:\\game.exe"});
    let created = worker.post("/api/v1/sessions", &request);
    assert_eq!(created.status, 201, "{}", created.body);
    end(worker, created.json()["session_id"].as_str().expect("an id"));
}

fn run(count: usize) {
    let farm = Farm::new();
    let mut worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        // A crash is the end.
        config["sessions"]["restarts"] = json!(0);
        config["sessions"]["keep_logs"] = json!("0s");
    });
    let body = farm.body(2, BodyFaults::default());
    OTHERS.iter().for_each(|name| body.add_client(name, name));
    let before = (body.client_names(), body.running_app(), body.waiting_clients());
    for number in 0..count {
        if number == count / 2 {
            let (_, _stream) = play(&worker, &body);
            worker.kill();
            worker.restart();
        }
        WAYS[number % WAYS.len()](&farm, &worker, &body);
    }
    let mut clients = Vec::new();
    eventually_equal("the body is as it was", &before, || {
        clients = body.client_names();
        (clients.clone(), body.running_app(), body.waiting_clients())
    });
    println!("{count} sessions, one kill: clients {clients:?}, nothing runs");
}

#[test]
fn a_body_is_after_many_sessions_what_it_was_before() {
    run(14);
}

/// Some two minutes: `tests/bodies/two-hundred` runs it.
#[test]
#[ignore = "takes minutes"]
fn a_body_is_after_two_hundred_sessions_what_it_was_before() {
    run(200);
}
