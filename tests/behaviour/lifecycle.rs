//! A role's own life: reload, what systemd is told, starting without a controller.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::http::{self, Stream};
use crate::lab::{Lab, NOBODY, Role, TOKEN, eventually};

fn status_with(role: &Role, token: &str) -> u16 {
    http::get(&role.url, "/api/v1/sessions", Some(token)).expect("an answer").status
}

// SPEC 2: SIGHUP reloads what can change and says what cannot; a broken file changes nothing
// Also: `a_reloaded_controller_takes_the_new_token_and_refuses_the_old_one`,
// `a_broken_configuration_is_refused_on_reload_and_the_old_one_stays`,
// `a_reload_takes_what_it_can_and_names_the_rest`,
// `a_reload_that_would_contradict_what_keeps_running_waits_for_a_restart`
#[test]
fn a_reload_changes_what_it_can_without_dropping_a_stream_and_says_what_it_cannot() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    const NEW: &str = "a-new-token-0123456789";
    worker.rewrite_config(|config| {
        config["server"]["admin_token"] = json!(NEW);
        config["sessions"]["return_url"] = json!("https://elsewhere.example/");
        config["sessions"]["data_dir"] = json!(lab.dir.join("moved"));
        config["log"] = json!({"level": "warn"});
    });
    worker.signal(Signal::HUP);
    worker.wait_for_log("sessions.data_dir changed, but takes effect after a restart only");
    eventually("the new token counts", || (status_with(&worker, NEW) == 200).then_some(()));
    assert_eq!(status_with(&worker, TOKEN), 200, "its controller's token still counts");
    assert!(stream.plays(), "the stream plays on");
    let unknown = http::get_page(&worker.url, &format!("/session/{}/", "ab".repeat(16)));
    assert!(unknown.body.contains("https://elsewhere.example/"), "{unknown:?}");
    // The last line of the level before.
    worker.wait_for_log("reloaded: ");
    let before = worker.log_text().len();
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let more = worker.log_text().split_off(before);
    assert!(!more.contains("INFO"), "the level is warn now: {more}");
    assert!(!lab.dir.join("moved").exists());
}

#[test]
fn a_reloaded_controller_takes_the_new_token_and_refuses_the_old_one() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    const NEW: &str = "a-new-token-0123456789";
    controller.rewrite_config(|config| config["server"]["admin_token"] = json!(NEW));
    controller.signal(Signal::HUP);
    controller.wait_for_log("reloaded: server.admin_token");
    eventually("the new token counts", || (status_with(&controller, NEW) == 200).then_some(()));
    assert_eq!(status_with(&controller, TOKEN), 401);
}

// SPEC 2: Tokens change without a gap (`server.admin_tokens`, `workers.tokens`); the reload that
// drops one says who used it, and later who still does; comparisons take the same time whichever it
// is
// Also: `the_tokens_that_a_reload_drops_are_told_apart_from_those_that_only_move`,
// `the_last_users_of_a_token_are_told_and_their_number_is_bounded`,
// `one_of_several_is_enough_and_an_empty_one_is_none`
#[test]
fn tokens_rotate_without_a_gap_and_who_still_uses_the_old_one_is_told() {
    const NEW: &str = "a-new-token-0123456789";
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    for role in [&controller, &worker] {
        let asked = |what: &str, tokens: [u16; 2]| {
            let seen = || [TOKEN, NEW].map(|token| status_with(role, token));
            eventually(&format!("{} {what}", role.name), || (seen() == tokens).then_some(()));
        };
        asked("before", [200, 401]);
        role.rewrite_config(|config| config["server"]["admin_tokens"] = json!([NEW]));
        role.signal(Signal::HUP);
        asked("with both", [200, 200]);
        role.rewrite_config(|config| {
            config["server"]["admin_token"] = json!(NEW);
            config["server"]["admin_tokens"] = json!([TOKEN]);
        });
        role.signal(Signal::HUP);
        role.wait_for_log("reloaded: server.admin_token, server.admin_tokens");
        asked("with both, turned round", [200, 200]);
        assert!(!role.log_text().contains("a token is dropped"), "{}", role.log_text());
    }
    // The worker still reports with the old one, and is heard.
    eventually("it is up", || controller.get("/api/v1/workers").body.contains("\"up\"").then_some(()));
    worker.rewrite_config(|config| config["controller"]["token"] = json!(NEW));
    worker.signal(Signal::HUP);
    worker.wait_for_log("reloaded: controller.token");
    for role in [&worker, &controller] {
        role.rewrite_config(|config| config["server"]["admin_tokens"] = json!([]));
        role.signal(Signal::HUP);
        role.wait_for_log(
            "server.admin_tokens: a token is dropped that was used within the last day by 127.0.0.1 (",
        );
        eventually("the old one is refused", || (status_with(role, TOKEN) == 401).then_some(()));
        role.wait_for_log("[api] a token that a reload has dropped from 127.0.0.1");
        assert_eq!(status_with(role, NEW), 200);
        assert!(!role.log_text().contains(NEW) && !role.log_text().contains(TOKEN), "{}", role.log_text());
    }
    eventually("the worker is up", || {
        let reply = http::get(&controller.url, "/api/v1/workers", Some(NEW)).expect("an answer");
        reply.body.contains("\"up\"").then_some(())
    });
}

// SPEC 3: `server.read_token` reads lists (short ids, no links) and health; elsewhere it is 403
// `insufficient_scope`, and not counted as wrong
// Also: `a_token_that_reads_does_nothing_else_and_is_not_wrong`
#[test]
fn a_read_token_sees_lists_and_health_without_links_and_does_nothing_else() {
    const READ: &str = "a-read-token-0123456789";
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| config["server"]["read_token"] = json!(READ));
    let worker = lab.worker("one", &controller.url, |config| config["server"]["read_token"] = json!(READ));
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    let id = worker.create(&body);
    for role in [&controller, &worker] {
        let get = |path: &str| http::get(&role.url, path, Some(READ)).expect("an answer");
        let listed = eventually("it is listed", || {
            let reply = get("/api/v1/sessions");
            assert_eq!(reply.status, 200, "{}", reply.body);
            (reply.json()["sessions"][0]["id"] == id[..8]).then_some(reply)
        });
        let health = get("/api/v1/health");
        for reply in [&listed, &health] {
            assert!(!reply.body.contains(&id) && !reply.body.contains("/session/"), "{}", reply.body);
        }
        assert_eq!(listed.json()["sessions"][0]["body_ip"], body);
        let path = format!("/api/v1/sessions/{id}");
        assert_eq!((get("/api/v1/sessions").status, get(&path).status), (200, 403));
        let create = http::post(&role.url, "/api/v1/sessions", Some(READ), &json!({"body_ip": body}));
        assert_eq!(create.expect("an answer").status, 403);
        assert_eq!(http::delete(&role.url, &path, Some(READ)).expect("an answer").status, 403);
    }
    assert_eq!(http::get(&controller.url, "/api/v1/workers", Some(READ)).expect("an answer").status, 200);
    let drain = http::post(&controller.url, "/api/v1/workers/one/drain", Some(READ), &json!({}));
    assert_eq!(drain.expect("an answer").status, 403);
    assert_eq!(worker.session(&id).expect("it lives")["id"], id);
}

#[test]
fn a_broken_configuration_is_refused_on_reload_and_the_old_one_stays() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    worker.rewrite_config(|config| {
        config["server"]["admin_token"] = json!("another-token-0123456789");
        config["sessions"]["max"] = json!("many");
        config["sessions"]["mux"] = json!(1);
    });
    worker.signal(Signal::HUP);
    worker.wait_for_log("the new configuration is refused, the old one stays in force");
    for problem in ["sessions.max", "sessions.mux"] {
        worker.wait_for_log(problem);
    }
    std::fs::write(&worker.config, "{{{ no YAML").expect("a file");
    worker.signal(Signal::HUP);
    eventually("a second refusal", || {
        (worker.log_text().matches("the new configuration is refused").count() == 2).then_some(())
    });
    std::fs::remove_file(&worker.config).expect("no file");
    worker.signal(Signal::HUP);
    eventually("a third refusal", || {
        (worker.log_text().matches("the new configuration is refused").count() == 3).then_some(())
    });
    assert_eq!((status_with(&worker, TOKEN), status_with(&worker, "another-token-0123456789")), (200, 401));
    assert!(stream.plays(), "the stream plays on");
}

/// Reads what systemd would hear until a message has this text.
fn hears(systemd: &UnixDatagram, text: &str) -> String {
    let mut buffer = [0u8; 4096];
    eventually(&format!("systemd hears {text}"), || {
        let length = systemd.recv(&mut buffer).ok()?;
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        message.contains(text).then_some(message)
    })
}

// SPEC 9: systemd is notified; the watchdog is fed only while every owner thread makes progress
// Also: `systemd_is_told_over_a_path`, `systemd_is_told_over_an_abstract_name`,
// `the_watchdog_is_fed_twice_per_interval_and_only_by_the_process_it_is_meant_for`,
// `a_silent_thread_is_named_until_it_beats_again`,
// `a_thread_that_returned_is_missed_at_once_unless_its_work_was_done_or_the_process_stops`,
// `a_thread_that_panicked_is_missed_whatever_it_was`
#[test]
fn systemd_hears_of_start_reload_progress_and_stop() {
    let lab = Lab::new();
    let path = lab.dir.join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let environment =
        vec![("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", "400000".to_owned())];
    let mut worker = lab.worker_with("one", NOBODY, |_| (), environment);
    assert!(hears(&systemd, "READY=1").contains("STATUS="));
    hears(&systemd, "WATCHDOG=1");
    hears(&systemd, "WATCHDOG=1");
    worker.signal(Signal::HUP);
    assert!(hears(&systemd, "RELOADING=1").contains("MONOTONIC_USEC="));
    hears(&systemd, "READY=1");
    worker.signal(Signal::TERM);
    hears(&systemd, "STOPPING=1");
    assert_eq!(worker.wait().code(), Some(0));
}

// SPEC 5: A controller that is down does not stop a worker from starting
// Also: `a_worker_whose_token_is_refused_says_so_and_goes_on`
#[test]
fn a_worker_starts_although_its_controller_is_down_and_reports_when_it_comes() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut controller = lab.controller(|_| ());
    let url = controller.url.clone();
    controller.kill();
    let worker = lab.worker("one", &url, |_| ());
    worker.wait_for_log("the controller cannot be reached");
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    controller.restart();
    eventually("the controller knows the session", || controller.session(&id));
    let mut through = Stream::open(&controller.url, &id);
    assert!(through.plays() && stream.plays());
    worker.wait_for_log("the controller answers again");
}

#[test]
fn a_worker_whose_token_is_refused_says_so_and_goes_on() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |config| {
        config["controller"]["token"] = json!("not-the-controllers-token");
    });
    worker.wait_for_log("the controller refuses our token (401); check controller.url and controller.token");
    assert_eq!(worker.get("/api/v1/health").status, 200);
    assert!(controller.get("/api/v1/workers").json()["workers"].as_array().is_some_and(Vec::is_empty));
}
