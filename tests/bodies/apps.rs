//! Applications in Sunshine's list that others made, and an installation that nobody has set up.

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, Event};

use crate::farm::Farm;
use crate::http;
use crate::lab::{NOBODY, Role};

fn entry(body: &Body, name: &str) -> Option<Value> {
    body.apps().into_iter().find(|entry| entry["name"] == name)
}

/// The application that a session's page streams, by its id.
fn streamed(worker: &Role, id: &str) -> String {
    let page = http::get_page(&worker.url, &format!("/session/{id}/"));
    let location = page.header("Location").unwrap_or_default();
    location.split("appId=").nth(1).unwrap_or_default().to_owned()
}

fn create(worker: &Role) -> String {
    let request = json!({"body_ip": "127.0.3.2", "experience": "Steam", "exe_path": "C:\\steam.exe"});
    let reply = worker.post("/api/v1/sessions", &request);
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    assert_eq!(worker.session(&id).expect("listed")["warnings"], json!([]));
    id
}

// SPEC 5 bodies: An application in Sunshine's list that we did not make is never changed
// Also: `an_application_that_starts_nothing_is_streamed_as_it_is`,
// `an_application_of_others_is_never_ours_to_change`
#[test]
fn an_application_of_others_is_never_changed() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, BodyFaults::default());
    let theirs =
        json!({"name": "Steam", "cmd": "steam.exe -bigpicture", "prep-cmd": [{"do": "a", "undo": "b"}]});
    body.add_app(theirs.clone()).expect("saved");
    let mut apps = Vec::new();
    for _ in 0..2 {
        let id = create(&worker);
        apps.push(streamed(&worker, &id));
        assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
        assert_eq!(entry(&body, "Steam"), Some(theirs.clone()), "{:?}", body.events());
    }
    let ours = entry(&body, "Steam (neck)").expect("one of our own");
    assert_eq!(ours["cmd"], "", "it would start twice");
    let saved = |event: &&Event| matches!(event, Event::AppSaved { .. });
    assert_eq!(body.events().iter().filter(saved).count(), 1, "added once: {:?}", body.events());
    assert_eq!(apps[0], apps[1]);
    let launched = Event::Launched { name: "Steam".into(), exe_path: "C:\\steam.exe".into() };
    assert!(body.events().contains(&launched), "{:?}", body.events());
}

#[test]
fn an_application_that_starts_nothing_is_streamed_as_it_is() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, BodyFaults::default());
    // As earlier versions of ours left it.
    let idle = json!({"name": "Steam", "cmd": "", "detached": [], "auto-detach": true});
    body.add_app(idle.clone()).expect("saved");
    let id = create(&worker);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(entry(&body, "Steam"), Some(idle));
    let saved = body.events().into_iter().any(|event| matches!(event, Event::AppSaved { .. }));
    assert!(!saved, "{:?}", body.events());
}

// SPEC 5 bodies: A Sunshine without a password says so
#[test]
fn a_sunshine_that_nobody_has_set_up_is_told_so() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let _body = farm.body(2, BodyFaults { fresh_install: true, ..BodyFaults::default() });
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": "127.0.3.2"}));
    assert_eq!(reply.status, 502, "{}", reply.body);
    for words in ["was just installed", "/welcome", "sunshine.password"] {
        assert!(reply.body.contains(words), "{words:?} is not in {}", reply.body);
    }
    assert!(!reply.body.contains("307"), "{}", reply.body);
}
