//! What the log tells at each level, and in which form.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::Stream;
use crate::lab::{Lab, Role, eventually};

/// The lines of a JSON log.
fn lines(role: &Role) -> Vec<Value> {
    role.log_text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// Waits for a line with this beginning, and whatever else is asked of it.
fn line(role: &Role, beginning: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{} says {beginning:?}", role.name), || {
        let of = |line: &Value| {
            line["message"].as_str().is_some_and(|text| text.starts_with(beginning)) && fits(line)
        };
        lines(role).into_iter().find(of)
    })
}

// SPEC 9: `debug` and `trace` tell of each request of the API, each call and each change of a
// session, without secrets, queries or whole ids
// Also: `a_path_is_shown_without_whole_ids_and_queries`,
// `a_path_is_shown_by_the_words_of_our_routes`
#[test]
fn debug_tells_of_each_request_call_and_change_with_fields_and_without_secrets() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let verbose = |config: &mut Value| config["log"] = json!({"level": "trace", "format": "json"});
    let controller = lab.controller(verbose);
    let worker = lab.worker("one", &controller.url, verbose);
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    let id = controller.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    assert_eq!(controller.get(&format!("/api/v1/sessions/{id}?token=hidden")).status, 200);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let short = &id[..8];
    let runs = line(&controller, &format!("session {short} runs on worker one"), |_| true);
    assert_eq!(
        (&runs["session"], &runs["worker"], &runs["body"]),
        (&json!(short), &json!("one"), &json!(body))
    );
    let ended = line(&worker, "ended: deleted", |_| true);
    assert_eq!((&ended["session"], &ended["reason"]), (&json!(short), &json!("deleted")));
    let asked = line(&worker, &format!("DELETE /api/v1/sessions/{short}…: 204"), |_| true);
    assert!(asked["status"] == 204 && asked["ms"].is_u64(), "{asked}");
    line(&controller, &format!("GET /api/v1/sessions/{short}…: 200"), |_| true);
    line(&controller, "worker GET ", |line| line["path"] == format!("/api/v1/sessions/{short}…"));
    line(&worker, "process GET ", |line| line["status"] == 200 && line["peer"].is_string());
    line(&worker, "controller POST ", |line| line["path"] == "/api/v1/workers/heartbeat");
    line(&worker, "process group ", |line| line["level"] == "debug");
    for status in ["preparing", "starting", "pairing", "ready", "streaming"] {
        line(&worker, status, |line| line["session"] == short && line["level"] == "info");
    }
    for role in [&controller, &worker] {
        assert!(!role.log_text().contains("hidden"), "a query is in the log");
        role.assert_log_keeps_secrets(&[&id]);
    }
}

// SPEC 9: A reload warns of nothing that did not change, and of what is new once
#[test]
fn a_reload_warns_of_nothing_that_did_not_change() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|config| {
        config["server"].as_object_mut().expect("a section").remove("worker_id");
        config["server"]["admin_token"] = json!("short-token");
        config["server"]["listen"] = json!("127.0.0.1:0");
    });
    worker.wait_for_log("server.admin_token is shorter than 16 characters");
    // What has nothing to do with a reload, and may come late.
    worker.wait_for_log("the controller cannot be reached");
    let reload = |what: &str| {
        let before = worker.log_text().len();
        worker.signal(Signal::HUP);
        eventually("it is reloaded", || worker.log_text()[before..].contains(what).then_some(()));
        worker.log_text().split_off(before)
    };
    // The port that the system chose is another one than the file's.
    worker.rewrite_config(|config| config["server"]["listen"] = json!("127.0.0.1:0"));
    let told = reload("reloaded: nothing changed");
    assert!(!told.contains("WARN"), "{told}");
    worker.rewrite_config(|config| {
        config["server"]["listen"] = json!("127.0.0.1:0");
        config["sessions"]["confine"] = json!(false);
    });
    let told = reload("reloaded: sessions.confine");
    assert_eq!(told.matches("WARN").count(), 1, "{told}");
    assert!(told.contains("sessions.confine is off"), "{told}");
}
