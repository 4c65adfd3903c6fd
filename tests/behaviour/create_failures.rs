//! Creates that fail: each says why, and leaves nothing behind.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::lab::{Lab, Role};

/// One way to fail.
struct Case {
    name: &'static str,
    faults: Value,
    request: Value,
    status: u16,
    error: &'static str,
    detail: &'static [&'static str],
}

fn case(
    name: &'static str,
    faults: Value,
    (status, error): (u16, &'static str),
    detail: &'static [&'static str],
) -> Case {
    Case { name, faults, request: json!({}), status, error, detail }
}

const PROCESS: (u16, &str) = (502, "stream process failed");

fn cases() -> Vec<Case> {
    vec![
        case(
            "exit 0 at start",
            json!({"crash_after_ms": 0, "exit_code": 0}),
            PROCESS,
            &["the stream process died (exit status 0)"],
        ),
        case(
            "exit 101 at start",
            json!({"crash_after_ms": 0}),
            PROCESS,
            &["the stream process died (exit status 101)", "its last lines:", "panicked at faults.json"],
        ),
        case("it hangs", json!({"hang": true}), PROCESS, &["did not answer within 1000 ms"]),
        case("it never listens", json!({"never_ready": true}), PROCESS, &["did not answer within 1000 ms"]),
        Case {
            request: json!({"body_ip": "127.0.2.250"}),
            ..case(
                "nobody at the body's address",
                json!({}),
                (502, "body unreachable"),
                &["tried 127.0.2.250 port"],
            )
        },
        Case {
            request: json!({"experience": "No Such Thing"}),
            ..case(
                "an experience the body does not have",
                json!({}),
                (502, "pairing failed"),
                &["step apps", "\"No Such Thing\"", "\"Desktop\""],
            )
        },
    ]
}

/// Asks for the session and checks everything that holds for every failure.
fn fails(lab: &Lab, worker: &Role, body: &str, case: &Case) {
    let Case { name, status, error, detail, .. } = case;
    lab.faults(case.faults.clone());
    let mut request = case.request.clone();
    if request.get("body_ip").is_none() {
        request["body_ip"] = json!(body);
    }
    let reply = worker.post("/api/v1/sessions", &request);
    let answer = reply.json();
    println!("{name}: {} {}", reply.status, reply.body);
    assert_eq!((reply.status, answer["error"].as_str()), (*status, Some(*error)), "{name}: {reply:?}");
    assert_eq!(answer["code"], *status, "{name}");
    let text = answer["detail"].as_str().unwrap_or_default();
    detail.iter().for_each(|part| assert!(text.contains(part), "{name}: {part:?} is not in {text:?}"));
    let id = answer["session_id"].as_str().unwrap_or_else(|| panic!("{name}: no id in {answer}"));
    // Whoever is told of the failure finds nothing of it left.
    lab.assert_nothing_left(&worker.name, &[worker.port_of(id)]);
    assert!(!text.contains(id), "{name}: the whole id is in {text:?}");
    let session = worker.get(&format!("/api/v1/sessions/{id}")).json();
    let end = (session["status"].as_str(), session["reason"].as_str());
    assert_eq!(end, (Some("ended"), Some("create_failed")), "{name}: {session}");
    assert_eq!(session["failure"]["status"], *status, "{name}: {session}");
    assert_eq!(session["failure"]["error"], *error, "{name}: {session}");
    worker.assert_log_keeps_secrets(&[id]);
}

// SPEC 3: A failed create says why and leaves nothing behind
// Also: `a_missing_web_server_is_named_with_its_setting`,
// `a_failure_reaches_the_caller_through_the_controller_and_frees_slot_and_body`
#[test]
fn each_failure_says_why_and_leaves_nothing_behind() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["ready_timeout"] = json!("1s"));
    cases().iter().for_each(|case| fails(&lab, &worker, &body, case));
    lab.faults(json!({}));
    let id = worker.create(&body);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204, "the worker goes on");
}

#[test]
fn a_missing_web_server_is_named_with_its_setting() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker =
        lab.lone_worker(|config| config["sessions"]["web_server"] = json!("/nonexistent/web-server"));
    let missing = &["cannot start /nonexistent/web-server", "No such file", "sessions.web_server"];
    fails(&lab, &worker, &body, &case("no such program", json!({}), PROCESS, missing));
}

// SPEC 3: 504 when it takes longer than `sessions.create_timeout`
// Also: `a_create_that_takes_too_long_is_a_time_out`
#[test]
fn a_create_that_takes_too_long_is_a_504() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| {
        config["sessions"]["create_timeout"] = json!("2s");
        config["sessions"]["ready_timeout"] = json!("1900ms");
    });
    // A body that takes the connection and never says a word.
    let port = lab.body_port();
    let silent = TcpListener::bind(("127.0.2.251", port)).expect("an address");
    let slow = Case {
        request: json!({"body_ip": "127.0.2.251"}),
        ..case(
            "a silent body",
            json!({}),
            (504, "create timed out"),
            &["not ready after 2", "pairing was under way"],
        )
    };
    fails(&lab, &worker, &body, &slow);
    drop(silent);
}

#[test]
fn a_failure_reaches_the_caller_through_the_controller_and_frees_slot_and_body() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|config| config["sessions"]["max"] = json!(1));
    lab.faults(json!({"crash_after_ms": 0}));
    for _ in 0..3 {
        let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (502, Some("stream process failed")),
            "{reply:?}"
        );
        lab.assert_nothing_left("one", &[]);
        let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
        assert_eq!(controller.reason_of_end(&id), "create_failed");
        controller.assert_log_keeps_secrets(&[&id]);
    }
    lab.faults(json!({}));
    let id = controller.create(&body);
    assert_eq!(worker.sessions().iter().filter(|session| session["status"] == "ready").count(), 1, "{id}");
}
