//! Webhooks of roles that run: who tells what, once, over kills, reloads and a receiver that was away.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hook_receiver::{HookReceiver, Mood, SECRET, Taken};
use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};

const ALL: [&str; 6] =
    ["session.ready", "session.ended", "worker.down", "worker.degraded", "worker.up", "certificate.problem"];

/// The same list for both roles.
fn told(config: &mut Value, receiver: &HookReceiver) {
    config["webhooks"] = json!([{"url": receiver.url(), "secret": SECRET, "events": ALL}]);
    config["outbox"] = json!({"retry": "50ms", "retry_max": "300ms", "timeout": "2s"});
}

/// A worker that has nothing to complain of.
fn sound(config: &mut Value) {
    config["bodies"]["wireguard_networks"] = json!([]);
}

/// The events of a kind.
fn of_kind(receiver: &HookReceiver, kind: &str) -> Vec<Taken> {
    receiver.events().into_iter().filter(|taken| taken.kind == kind).collect()
}

#[track_caller]
fn wait_for(receiver: &HookReceiver, kind: &str, count: usize) -> Vec<Taken> {
    eventually(&format!("{count} times {kind}"), || {
        let found = of_kind(receiver, kind);
        (found.len() >= count).then_some(found)
    })
}

fn outbox(role: &Role) -> Value {
    let token = format!("Bearer {TOKEN}");
    let reply = http::request(&role.url, "GET", "/api/v1/health", &[("Authorization", &token)], "");
    reply.json()["extra"]["outbox"].clone()
}

// SPEC 9: A session's events are its worker's, over a kill too; a worker's are the controller's,
// over its restart too; a certificate's are told when the problem begins and each day
// Also: `an_event_of_a_session_is_the_same_whenever_it_is_made`,
// `a_worker_that_is_killed_comes_back_or_stops_is_told_by_the_controller`,
// `each_change_is_told_once`, `who_stops_as_it_said_or_is_forgotten_is_no_worry`,
// `a_restart_tells_nothing_anew_and_misses_those_that_went_with_it`,
// `what_goes_back_and_forth_is_told_calmly_and_as_it_is_at_last`,
// `a_problem_is_told_when_it_begins_and_each_day`, `other_words_are_told_within_the_hour`,
// `what_was_told_is_not_told_again_after_a_restart_or_a_clock_set_back`,
// `each_event_arises_somewhere_and_has_one_name`
#[test]
fn a_sessions_events_are_told_once_by_its_worker_and_in_order() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let receiver = HookReceiver::start();
    let controller = lab.controller(|config| told(config, &receiver));
    let mut worker = lab.worker("one", &controller.url, |config| {
        told(config, &receiver);
        sound(config);
    });
    wait_for(&receiver, "worker.up", 1);
    // While it is away everything waits.
    receiver.set(Mood::Down);
    let (over, living) = (controller.create(&first), controller.create(&second));
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{over}")).status, 204);
    eventually("three events wait", || (outbox(&worker)["waiting"] == 3).then_some(()));
    eventually_equal("what fails", &json!(["webhooks"]), || outbox(&worker)["failing"].clone());
    worker.kill();
    receiver.set(Mood::TakesAndFails);
    worker.restart();
    eventually("it was taken without being said", || (receiver.taken().len() > 2).then_some(()));
    receiver.set(Mood::Well);
    let ended = wait_for(&receiver, "session.ended", 2);
    eventually("nothing waits", || (outbox(&worker)["waiting"] == 0).then_some(()));
    let reason = |id: &str| {
        let found = ended.iter().find(|taken| taken.body["data"]["session_id"] == id);
        found.map(|taken| taken.body["data"]["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(reason(&over).as_deref(), Some("deleted"));
    assert_eq!(reason(&living).as_deref(), Some("crashed"), "it went with its worker: {ended:?}");
    for id in [&over, &living] {
        let of: Vec<String> = receiver
            .events()
            .into_iter()
            .filter(|taken| taken.body["data"]["session_id"] == id.as_str())
            .map(|taken| taken.kind)
            .collect();
        assert_eq!(of, ["session.ready", "session.ended"]);
    }
    assert_eq!(receiver.faults(), Vec::<String>::new());
    for role in [&controller, &worker] {
        role.assert_log_keeps_secrets(&[&over, &living, SECRET]);
        let log = role.log_text();
        assert!(!log.contains("of=neck"), "{} shows the URL of a webhook:\n{log}", role.name);
    }
}

#[test]
fn a_worker_that_is_killed_comes_back_or_stops_is_told_by_the_controller() {
    let lab = Lab::new();
    let receiver = HookReceiver::start();
    let mut controller = lab.controller(|config| told(config, &receiver));
    let mut worker = lab.worker("one", &controller.url, sound);
    wait_for(&receiver, "worker.up", 1);
    let kept = lab.dir.join("controller-state/controller/events.json");
    let is_kept = || std::fs::read_to_string(&kept).is_ok_and(|kept| kept.contains("\"one\""));
    eventually("it is kept that it was told", || is_kept().then_some(()));
    // A controller that restarts does not tell it anew.
    controller.restart();
    eventually("the worker is known again", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    worker.kill();
    let down = wait_for(&receiver, "worker.down", 1);
    assert_eq!(down[0].body["data"]["worker_id"], "one", "{down:?}");
    assert_eq!(down[0].body["role"], "controller");
    worker.restart_with(|config| config["bodies"]["wireguard_networks"] = json!(["10.10.0.0/16"]));
    let degraded = wait_for(&receiver, "worker.degraded", 1);
    assert!(degraded[0].body["data"]["reasons"][0].is_string(), "{degraded:?}");
    worker.restart_with(sound);
    wait_for(&receiver, "worker.up", 2);
    let kinds: Vec<String> = receiver.events().into_iter().map(|taken| taken.kind).collect();
    // Whether a restart is seen as an outage depends on how long it takes.
    let told: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(told[..2], ["worker.up", "worker.down"], "{told:?}");
    assert_eq!(told.last(), Some(&"worker.up"), "{told:?}");
    let (before, ups) = (receiver.events().len(), of_kind(&receiver, "worker.up").len());
    worker.signal(Signal::TERM);
    // One that is back before this is seen was never away.
    eventually("it is gone", || (!is_kept()).then_some(()));
    worker.restart();
    wait_for(&receiver, "worker.up", ups + 1);
    let since: Vec<String> = receiver.events().into_iter().skip(before).map(|taken| taken.kind).collect();
    assert_eq!(since, ["worker.up"], "who stops as it said is no worry");
    assert_eq!(receiver.faults(), Vec::<String>::new());
}

#[test]
fn a_reload_takes_webhooks_and_a_redirection_is_never_followed() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let receiver = HookReceiver::start();
    let worker = lab.lone_worker(sound);
    worker.rewrite_config(|config| {
        told(config, &receiver);
    });
    worker.signal(Signal::HUP);
    worker.wait_for_log("webhooks");
    receiver.set(Mood::Redirects);
    let id = worker.create(&body);
    worker.wait_for_log("leads elsewhere, which is not followed");
    eventually("it is tried again", || (receiver.requests() > 2).then_some(()));
    receiver.set(Mood::Well);
    let ready = wait_for(&receiver, "session.ready", 1);
    assert_eq!(ready[0].body["data"]["session_id"], id.as_str());
    assert_eq!(receiver.faults(), Vec::<String>::new(), "a redirection that is followed is a fault");
    let value = |result: &str| {
        let metrics = http::request(&worker.url, "GET", "/metrics", &[], "").body;
        let name =
            format!("hydraneckwebrtc_outbox_deliveries_total{{receiver=\"webhooks\",result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|value| value.parse::<u64>().ok())
    };
    // What the receiver has taken is counted when its answer has come.
    eventually_equal("deliveries", &Some(1), || value("delivered"));
    let failed = value("failed");
    assert!(failed.is_some_and(|count| count > 1), "{failed:?}");
    // Without the webhook nothing is told any more.
    worker.rewrite_config(|config| config["webhooks"] = json!([]));
    worker.signal(Signal::HUP);
    worker.wait_for_log_times(2, "reloaded: ");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(outbox(&worker)["waiting"], 0);
}
