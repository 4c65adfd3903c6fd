//! Namespaces from an operator's first command to a worker that admits by its copy: the API, the verbs, the files, the copies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, Role, TOKEN, eventually};

/// A worker that holds rooms and says that it has a TURN server.
fn holds_rooms(config: &mut Value) {
    config["rooms"] = json!({"enabled": true, "media_port": 0});
    config["turn"] = json!({"secret": "a-secret-of-sessions-0123456789", "urls": ["turn:192.0.2.1:3478"]});
}

/// A controller and a worker that holds rooms, once the controller knows that it does.
fn pair(lab: &Lab) -> (Role, Role) {
    let (controller, worker) = lab.pair(holds_rooms);
    eventually("the worker is known to hold rooms", || {
        let client = Client::new(lab, &controller.url, TOKEN);
        client.json(&["namespace", "enable", "webrtc", "--namespace", "first"])["sfu_nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 1)
            .then_some(())
    });
    (controller, worker)
}

fn copy(lab: &Lab, name: &str) -> PathBuf {
    lab.dir.join("one-state/worker/rooms").join(format!("{name}.json"))
}

fn kept(lab: &Lab, name: &str) -> PathBuf {
    lab.dir.join("controller-state/controller/namespaces").join(format!("{name}.json"))
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Heartbeats that the controller took.
pub fn accepted(worker: &Role) -> u64 {
    let text = worker.get("/metrics").body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("hydraneckwebrtc_heartbeats_total{result=\"accepted\"} "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count of beats:\n{text}"))
}

// SPEC 10: Namespaces are enabled, listed, given tokens and disabled by API and verbs with exit
// statuses; its workers have the copy when that is answered; files have mode 0600; no secret but a
// new token's text is in an answer, and none in a log
// Also: `an_enabling_needs_a_good_name_and_nothing_else`,
// `a_token_is_wished_for_with_a_role_and_bounded_words`, `a_verb_asks_for_what_its_flags_say`,
// `what_lacks_stands_below_the_tables`
#[test]
fn a_namespace_is_enabled_and_its_worker_has_the_copy_when_that_is_answered() {
    let lab = Lab::new();
    let (controller, worker) = pair(&lab);
    let client = Client::new(&lab, &controller.url, TOKEN);
    let made = controller.call("PUT", "/api/v1/namespaces/myapp/webrtc", r#"{"turn_credential_ttl":10}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let (of_controller, of_worker) =
        (read(&kept(&lab, "myapp")).unwrap(), read(&copy(&lab, "myapp")).unwrap());
    let secret = of_controller["secret"].as_str().expect("a secret").to_owned();
    assert_eq!((of_worker["secret"].as_str(), &of_worker["ttl"]), (Some(&*secret), &json!(10)));
    assert_eq!(of_worker["turn_urls"], json!(["turn:192.0.2.1:3478"]), "as its beat said");
    for path in [kept(&lab, "myapp"), copy(&lab, "myapp")] {
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let again = controller.call("PUT", "/api/v1/namespaces/myapp/webrtc", "");
    assert_eq!((again.status, again.json()["turn_credential_ttl"].as_u64()), (200, Some(10)), "{again:?}");
    assert_eq!(read(&kept(&lab, "myapp")).unwrap()["secret"], *secret, "enabling again keeps the secret");

    let token =
        client.json(&["namespace", "token", "--namespace", "myapp", "--role", "owner", "--ttl", "1h"]);
    let text = token["token"].as_str().expect("a token").to_owned();
    assert!(text.starts_with("neckroom_") && token["role"] == "owner", "{token}");
    let life = token["expires_at"].as_u64().unwrap_or(0) - token["created_at"].as_u64().unwrap_or(0);
    assert_eq!(life, 3_600);
    let tokens = client.json(&["namespace", "tokens", "--namespace", "myapp"]);
    assert_eq!(tokens["tokens"][0]["id"], token["id"]);
    let copied = read(&copy(&lab, "myapp")).unwrap();
    assert_eq!(copied["tokens"][0]["id"], token["id"], "the worker knows it already");
    let status = client.said(&["namespace", "webrtc-status", "--namespace", "myapp"]);
    assert!(status.contains("enabled") && status.contains("one"), "{status}");
    let list = client.said(&["namespace", "list"]);
    assert!(list.lines().any(|line| line.starts_with("myapp") && line.contains("enabled")), "{list}");

    // Nowhere but in the one answer and the files, where the token is a hash.
    let everything = [
        fs::read_to_string(kept(&lab, "myapp")).unwrap().replace(&secret, ""),
        fs::read_to_string(copy(&lab, "myapp")).unwrap().replace(&secret, ""),
        controller.get("/api/v1/health").body,
        worker.get("/api/v1/health").body,
        tokens.to_string() + &status + &list,
        controller.log_text() + &worker.log_text(),
    ];
    for said in &everything {
        assert!(!said.contains(&secret) && !said.contains(&text), "{said}");
    }
    let id = token["id"].as_str().expect("an id");
    client.said(&["namespace", "revoke", id, "--namespace", "myapp"]);
    assert_eq!(read(&copy(&lab, "myapp")).unwrap()["tokens"], json!([]));
    assert_eq!(client.fails(&["namespace", "revoke", id, "--namespace", "myapp"]).0, 66);
}

// SPEC 10: Disabling ends the secret for good and keeps tokens
#[test]
fn disabling_ends_the_secret_and_keeps_the_tokens() {
    let lab = Lab::new();
    let (controller, _worker) = pair(&lab);
    let client = Client::new(&lab, &controller.url, TOKEN);
    client.said(&["namespace", "token", "--namespace", "first", "--role", "member"]);
    let before = read(&copy(&lab, "first")).unwrap();
    client.said(&["namespace", "disable", "webrtc", "--namespace", "first"]);
    client.said(&["namespace", "disable", "webrtc", "--namespace", "first"]);
    for path in [kept(&lab, "first"), copy(&lab, "first")] {
        let state = read(&path).unwrap();
        assert_eq!((&state["enabled"], &state["secret"]), (&json!(false), &Value::Null), "{state}");
        assert_eq!(state["tokens"], before["tokens"]);
    }
    client.said(&["namespace", "enable", "webrtc", "--namespace", "first"]);
    let after = read(&copy(&lab, "first")).unwrap();
    assert_eq!(after["tokens"], before["tokens"]);
    assert_ne!(after["secret"], before["secret"], "old credentials do not come back");
    for verb in [&["webrtc-status"][..], &["disable", "webrtc"], &["tokens"], &["token", "--role", "owner"]] {
        let arguments = [&["namespace"], verb, &["--namespace", "nobody"]].concat();
        assert_eq!(client.fails(&arguments).0, 66, "{arguments:?}");
    }
    let (exit, said) = client.fails(&["namespace", "enable", "webrtc", "--namespace", "My_App"]);
    assert!(exit == 1 && said.contains("1 to 60 characters"), "{exit} {said}");
    assert_eq!(client.fails(&["namespace", "enable", "webrtc"]).0, 64);
    assert_eq!(client.fails(&["namespace", "enable", "turn", "--namespace", "a"]).0, 64);
}

// SPEC 10: A copy that was lost or broken comes with a heartbeat; a worker goes by its copies when
// it starts without the controller; a controller that lost a file says so and takes no copy away
// Also: `a_controller_that_lost_a_file_says_so_and_takes_no_copy_away`
#[test]
fn a_lost_copy_comes_with_the_next_heartbeat_and_a_worker_starts_without_its_controller() {
    let lab = Lab::new();
    let (controller, mut worker) = pair(&lab);
    let client = Client::new(&lab, &controller.url, TOKEN);
    client.said(&["namespace", "token", "--namespace", "first", "--role", "member"]);
    let good = read(&copy(&lab, "first")).unwrap();
    // The worker is away while something changes.
    worker.kill();
    client.said(&["namespace", "token", "--namespace", "first", "--role", "owner"]);
    assert_eq!(read(&copy(&lab, "first")).unwrap(), good);
    worker.restart();
    eventually("the copy is repaired", || {
        (read(&copy(&lab, "first"))?["tokens"].as_array()?.len() == 2).then_some(())
    });
    // A broken file is a warning, and the controller brings it anew.
    worker.kill();
    fs::write(copy(&lab, "first"), "{half").expect("written");
    worker.restart();
    eventually("the copy is brought anew", || read(&copy(&lab, "first"))?["secret"].as_str().map(|_| ()));
    worker.wait_for_log("namespace first: its configuration is not there");
    // Without the controller the worker goes by what it has.
    drop(controller);
    worker.restart();
    let health = worker.get("/api/v1/health").json();
    assert_eq!(health["extra"]["namespaces"][0]["name"], "first", "{health}");
}

#[test]
fn a_controller_that_lost_a_file_says_so_and_takes_no_copy_away() {
    let lab = Lab::new();
    let (mut controller, worker) = pair(&lab);
    controller.kill();
    fs::remove_file(kept(&lab, "first")).expect("a file");
    controller.restart();
    let said = eventually("the loss is told", || {
        let health = controller.get("/api/v1/health").body;
        health.contains("namespace first is not known here").then_some(health)
    });
    assert!(said.contains("degraded"), "{said}");
    let beats = accepted(&worker);
    eventually("more beats are answered", || (accepted(&worker) > beats + 2).then_some(()));
    assert!(copy(&lab, "first").exists(), "the copy is all that there is");
}
