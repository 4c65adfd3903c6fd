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
