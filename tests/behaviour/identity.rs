//! Workers prove who they are: stolen names, copied machines, addresses that must not be called, and who hears which token.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydraneckwebrtc::core::fleet::identity::PROOF_FIELD;
use hydraneckwebrtc::host::identity_key::IdentityKey;
use serde_json::{Value, json};
use stand_ins::steady::steady;

use crate::http::{self, Reply, Stream};
use crate::lab::{Lab, NOBODY, Role, TOKEN, eventually, eventually_equal};

/// What workers send in these tests; not the admin token.
const WORKERS_TOKEN: &str = "workers-token-0123456789abcdef";

/// Somebody who speaks like a worker.
struct Fake {
    id: &'static str,
    key: IdentityKey,
    token: &'static str,
    challenge: Option<String>,
    seq: u64,
    boot_ms: u64,
}

impl Fake {
    fn new(id: &'static str, seed: u8, token: &'static str) -> Fake {
        // Later than any worker of today.
        let boot_ms = 9_000_000_000_000;
        Fake {
            id,
            key: IdentityKey::from_seed(&[seed; 32]).expect("a key"),
            token,
            challenge: None,
            seq: 0,
            boot_ms,
        }
    }

    fn beat(&mut self, more: Value) -> String {
        self.seq += 1;
        let mut beat = json!({
            "worker_id": self.id, "generation": {"boot_ms": self.boot_ms, "nonce": 1}, "seq": self.seq, "port": 1,
            "version": "1", "max": 5, "wireguard": true, "status": "ok", "interval_ms": 60_000, "sessions": [],
            "wire": 2, "challenge": self.challenge,
        });
        for (key, value) in more.as_object().expect("an object") {
            beat[key] = value.clone();
        }
        beat.to_string()
    }

    fn proof(&self, body: &str) -> String {
        self.key.prove(body.as_bytes()).expect("a signature").to_string()
    }

    fn send(&self, controller: &Role, body: &str, proof: Option<&str>) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut fields = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        fields.extend(proof.map(|proof| (PROOF_FIELD, proof)));
        http::request(&controller.url, "POST", "/api/v1/workers/heartbeat", &fields, body)
    }

    /// A signed beat; a second one when the controller asks for its challenge.
    fn hear(&mut self, controller: &Role, more: Value) -> Reply {
        let body = self.beat(more.clone());
        let reply = self.send(controller, &body, Some(&self.proof(&body)));
        let challenge = serde_json::from_str::<Value>(&reply.body).unwrap_or_default()["challenge"].clone();
        match challenge.as_str() {
            Some(challenge) if self.challenge.as_deref() != Some(challenge) => {
                self.challenge = Some(challenge.to_owned());
                self.hear(controller, more)
            }
            _ => reply,
        }
    }
}

fn worker_of(controller: &Role, id: &str) -> Option<Value> {
    let list = controller.get("/api/v1/workers").json()["workers"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|worker| worker["id"] == id)
}

fn problems(role: &Role) -> String {
    role.get("/api/v1/health").json()["extra"]["problems"].to_string()
}

fn is_settled(controller: &Role) -> Option<()> {
    (controller.get(&format!("/api/v1/sessions/{}", "ab".repeat(16))).status == 404).then_some(())
}

/// A controller and a worker that has proved itself, with one session that plays.
fn pair_with_a_session(lab: &mut Lab) -> (Role, Role, String) {
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    eventually("the controller has settled", || is_settled(&controller));
    let id = controller.create(&body);
    (controller, worker, id)
}

#[test]
fn a_stolen_name_takes_nothing_and_both_sides_tell() {
    let mut lab = Lab::new();
    let (controller, worker, id) = pair_with_a_session(&mut lab);
    let known = worker_of(&controller, "one").expect("the worker");
    assert_eq!((&known["proved"], &known["url"]), (&json!(true), &json!(worker.url)), "{known}");
    let key = worker.get("/api/v1/health").json()["extra"]["key"].clone();
    assert_eq!(known["key"], key, "the fingerprint that the worker shows itself");

    let mut thief = Fake::new("one", 7, TOKEN);
    let url = json!({"url": "http://127.0.0.1:9"});
    let refused = thief.hear(&controller, url.clone());
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (409, Some("worker id in use")),
        "{refused:?}"
    );
    let words = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
    for part in ["server.worker_id", "DELETE /api/v1/workers/", "127.0.0.1"] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
    let unsigned = thief.beat(url);
    assert_eq!(thief.send(&controller, &unsigned, None).status, 409, "without a proof");

    assert_eq!(worker_of(&controller, "one").expect("the worker")["url"], json!(worker.url));
    assert!(Stream::open(&controller.url, &id).plays(), "the session's browsers still come to its worker");
    eventually("the worker tells", || {
        thief.hear(&controller, json!({}));
        problems(&worker).contains("two workers use the id one").then_some(())
    });
    worker.wait_for_log("two workers use the id one");
    let public = eventually("the controller tells, and everybody that it is degraded", || {
        // The thief goes on, as thieves do.
        thief.hear(&controller, json!({}));
        let told = problems(&controller);
        let told = told.contains("two workers use the id one") && told.contains("another key");
        let public = http::get(&controller.url, "/api/v1/health", None).expect("an answer").body;
        (told && public.contains("degraded")).then_some(public)
    });
    assert!(!public.contains("id one"), "{public}");
    eventually("it is over when the thief is silent", || {
        (!problems(&worker).contains("two workers") && !problems(&controller).contains("two workers"))
            .then_some(())
    });
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}

/// `cp -r`, without the socket.
fn copy_state(from: &Path, to: &Path) {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().mode(0o700).recursive(true).create(to.join("worker")).expect("a directory");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("its mode");
    for name in ["worker.json", "worker-key.json"] {
        fs::copy(from.join("worker").join(name), to.join("worker").join(name)).expect("a copy");
    }
}

// SPEC 4: Two workers with one id, copies with the same key included, are told on both sides with
// what to do; neither loses a session
// Also: `a_copy_with_the_same_key_waits_while_the_first_is_heard`,
// `another_key_is_told_at_once_on_both_sides_and_over_when_it_is_silent`,
// `a_worker_that_asks_from_elsewhere_is_a_copy_once_the_first_is_heard_again`,
// `a_worker_that_moved_is_no_copy`,
// `an_earlier_run_that_goes_on_is_a_copy_and_replays_of_it_are_not`,
// `a_copy_that_was_started_before_the_first_is_found_too`, `disputes_are_bounded`,
// `trouble_is_news_once_ends_with_an_accepted_beat_and_is_told_to_operators_only`
#[test]
fn a_copied_machine_is_seen_on_both_sides_and_neither_loses_a_session() {
    let mut lab = Lab::new();
    let (body, other_body) = (lab.body(1), lab.body(2));
    // A copy takes over from a worker that misses a beat, and on a busy machine one of 300 ms is missed now and then.
    let slowly = |config: &mut Value| config["controller"]["heartbeat_interval"] = json!("2s");
    let controller = lab.controller(|config| {
        config["workers"]["heartbeat_timeout"] = json!("20s");
    });
    let worker = lab.worker("one", &controller.url, slowly);
    eventually("the worker is known", || {
        worker_of(&controller, "one").filter(|worker| worker["status"] == "up")
    });
    eventually("the controller has settled", || is_settled(&controller));
    let id = controller.create(&body);
    let mut stream = Stream::open(&controller.url, &id);
    assert!(stream.plays());
    copy_state(&lab.dir.join("one-state"), &lab.dir.join("two-state"));
    let copy = lab.worker("two", &controller.url, |config| {
        slowly(config);
        config["server"]["worker_id"] = json!("one");
    });
    for role in [&worker, &copy] {
        eventually(&format!("{} tells", role.url), || {
            let told = problems(role);
            (told.contains("copy of") && told.contains("worker-key.json")).then_some(())
        });
    }
    copy.wait_for_log("the controller refuses this worker");
    worker.wait_for_log("one is a copy of the other");
    eventually("the controller tells", || problems(&controller).contains("and the same key").then_some(()));
    // What the copy runs by itself goes on, and nothing new comes to it through the controller.
    let own = copy.create(&other_body);
    assert_eq!(worker_of(&controller, "one").expect("the worker")["url"], json!(worker.url));
    assert!(stream.plays(), "the first one's session plays on");
    assert!(Stream::open(&copy.url, &own).plays(), "the second one's session plays on");
    assert_eq!(worker.session(&id).expect("it lives")["restarts"], 0);
    assert_eq!(copy.delete(&format!("/api/v1/sessions/{own}")).status, 204);
}

#[test]
fn a_controller_remembers_keys_until_an_operator_lets_it_forget() {
    let lab = Lab::new();
    let (mut controller, mut worker) = lab.pair(|_| ());
    controller.restart();
    let mut successor = Fake::new("one", 9, TOKEN);
    let refused = successor.hear(&controller, json!({}));
    assert_eq!(refused.status, 409, "after a restart of the controller: {refused:?}");
    eventually("the worker is back", || {
        worker_of(&controller, "one").filter(|worker| worker["status"] == "up")
    });
    let up = controller.delete("/api/v1/workers/one");
    assert_eq!((up.status, up.json()["error"].as_str()), (409, Some("worker is up")), "{up:?}");
    assert_eq!(controller.delete("/api/v1/workers/nobody").status, 404);
    let stranger = http::delete(&controller.url, "/api/v1/workers/one", None).expect("an answer");
    assert_eq!(stranger.status, 401);
    worker.kill();
    eventually_equal("status of DELETE once it is down", &204, || {
        controller.delete("/api/v1/workers/one").status
    });
    assert_eq!(worker_of(&controller, "one"), None);
    assert_eq!(controller.delete("/api/v1/workers/one").status, 404);
    let taken = successor.hear(&controller, json!({}));
    assert_eq!((taken.status, &taken.json()["accepted"]), (200, &json!(true)), "{taken:?}");
    controller.assert_log_keeps_secrets(&[]);
    // The machine that was replaced comes back: now it is the stranger.
    worker.restart();
    worker.wait_for_log("the controller refuses this worker");
}

#[test]
fn a_recorded_beat_proves_nothing_here_or_to_another_controller() {
    let lab = Lab::new();
    let mut controller = lab.controller(|_| ());
    let mut worker = Fake::new("w", 3, TOKEN);
    assert_eq!(worker.hear(&controller, json!({})).json()["accepted"], true);
    let body = worker.beat(json!({"url": "http://127.0.0.1:9"}));
    let proof = worker.proof(&body);
    assert_eq!(worker.send(&controller, &body, Some(&proof)).json()["accepted"], true);
    let current = worker_of(&controller, "w");
    let moved = worker.hear(&controller, json!({"url": "http://127.0.0.1:10"}));
    assert_eq!(moved.json()["accepted"], true, "{moved:?}");
    let replayed = worker.send(&controller, &body, Some(&proof));
    assert_eq!((replayed.status, &replayed.json()["accepted"]), (200, &json!(false)), "{replayed:?}");
    assert_ne!(worker_of(&controller, "w").expect("it")["url"], current.expect("it")["url"]);

    controller.restart();
    let elsewhere =
        lab.controller(|config| config["server"]["state_dir"] = json!(lab.dir.join("other-controller")));
    for other in [&controller, &elsewhere] {
        let replayed = worker.send(other, &body, Some(&proof));
        assert_eq!((replayed.status, &replayed.json()["accepted"]), (200, &json!(false)), "{replayed:?}");
        assert!(replayed.json()["challenge"].is_string(), "{replayed:?}");
        assert_eq!(worker_of(other, "w"), None, "nothing was learned from it");
    }
    for (what, body, proof) in [
        ("a changed body", body.replace(":9", ":8"), proof.clone()),
        (
            "another key",
            body.clone(),
            Fake::new("w", 4, TOKEN).proof(&body).replacen("ed25519 ", "ed25519  ", 1),
        ),
        ("no proof at all", body.clone(), "ed25519".to_owned()),
    ] {
        let refused = worker.send(&controller, &body, Some(&proof));
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (403, Some("proof refused")),
            "{what}: {refused:?}"
        );
    }
    eventually("the controller tells", || problems(&controller).contains("fit its signature").then_some(()));
}

#[test]
fn a_worker_cannot_make_its_controller_call_anything() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    for url in [
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]:80",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[fd00:ec2::254]",
        "http://[fe80::1]:80",
        "http://169.254.1.1:80",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0.0.0.0:80",
        "http://192.0.2.7:80",
    ] {
        let mut fake = Fake::new("w", 3, TOKEN);
        let refused = fake.hear(&controller, json!({"url": url}));
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (403, Some("worker address not allowed")),
            "{url}: {refused:?}"
        );
    }
    assert_eq!(worker_of(&controller, "w"), None);
    eventually("the controller tells", || {
        let told = problems(&controller);
        (told.contains("workers.allowed_networks") && told.contains("worker w")).then_some(())
    });
    let worker = lab.worker("one", &controller.url, |config| {
        config["server"]["advertise_url"] = json!("http://169.254.169.254:80");
    });
    eventually("the worker tells", || problems(&worker).contains("advertise_url").then_some(()));
    worker.wait_for_log("the controller refuses this worker");
    assert_eq!(worker_of(&controller, "one"), None);
    let listed = lab.controller(|config| {
        config["server"]["state_dir"] = json!(lab.dir.join("other-controller"));
        config["workers"]["allowed_networks"] = json!(["192.0.2.0/24"]);
    });
    let taken = Fake::new("w", 3, TOKEN).hear(&listed, json!({"url": "http://192.0.2.7:80"}));
    assert_eq!(taken.json()["accepted"], true, "{taken:?}");
}

/// Takes requests, writes them down, and answers that it is full.
fn eavesdrop(listener: TcpListener) -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    let notes = heard.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.set_read_timeout(Some(Duration::from_secs(5)));
            let mut chunk = [0u8; 8192];
            while let Ok(count @ 1..) = steady(|| client.read(&mut chunk)) {
                let text = String::from_utf8_lossy(&chunk[..count]).into_owned();
                let is_over = text.ends_with('}') || text.starts_with("GET") || text.starts_with("DELETE");
                notes.lock().expect("no panic").push_str(&text);
                if is_over {
                    break;
                }
            }
            let body = r#"{"error":"full","code":503,"detail":"full"}"#;
            let length = body.len();
            let _ = write!(
                client,
                "HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    heard
}

// SPEC 4: A worker is called with a token made for it; what it hears is good nowhere else, and
// `workers.token` administers nothing
// Also: `a_workers_token_administers_nothing_and_replaces_the_admin_token_for_heartbeats`,
// `the_call_token_is_the_last_one_and_none_at_first`
#[test]
fn no_worker_hears_a_token_that_is_good_anywhere_else() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| {
        config["workers"]["token"] = json!(WORKERS_TOKEN);
        // The fake one beats once, and a busy machine needs its time.
        config["workers"]["heartbeat_timeout"] = json!("50s");
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let heard = eavesdrop(listener);
    let mut fake = Fake::new("fake", 5, WORKERS_TOKEN);
    let taken = fake.hear(&controller, json!({"port": port})).json();
    assert_eq!((&taken["accepted"], &taken["heartbeats_only"]), (&json!(true), &json!(true)), "{taken}");
    let token = taken["call_token"].as_str().expect("a token for it").to_owned();
    eventually("the controller has settled", || is_settled(&controller));
    let refused = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    assert_eq!(refused.status, 503, "{refused:?}");
    let text = heard.lock().expect("no panic").clone();
    assert!(text.contains(&format!("Bearer {token}")), "{text}");
    assert!(!text.contains(TOKEN) && !text.contains(WORKERS_TOKEN), "{text}");

    // What it heard opens nothing: neither its controller nor another worker.
    let mut worker = lab.worker("one", &controller.url, |config| {
        config["controller"]["token"] = json!(WORKERS_TOKEN);
        config["server"]["admin_token"] = json!("another-token-0123456789");
    });
    eventually("the worker is known", || worker_of(&controller, "one"));
    let status = |role: &Role, token: &str| {
        http::get(&role.url, "/api/v1/sessions", Some(token)).expect("an answer").status
    };
    eventually_equal("the workers' token at a worker", &401, || status(&worker, WORKERS_TOKEN));
    for token in [token.as_str(), WORKERS_TOKEN] {
        assert_eq!((status(&controller, token), status(&worker, token)), (401, 401));
    }
    assert_eq!(controller.delete("/api/v1/workers/fake").status, 409, "the operator's own token");
    // The other worker is called with its own.
    let stopping = fake.hear(&controller, json!({"port": port, "stopping": true}));
    assert_eq!(stopping.json()["accepted"], true, "{stopping:?}");
    let id = controller.create(&body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    for role in [&controller, &worker] {
        let log = role.log_text();
        assert!(!log.contains(&token) && !log.contains(WORKERS_TOKEN), "a token in the log of {}", role.name);
    }
    // Nor is there a moment for it after a restart whose controller is away.
    worker.restart_with(|config| config["controller"]["url"] = json!(NOBODY));
    assert_eq!(status(&worker, WORKERS_TOKEN), 401);
}

#[test]
fn a_workers_token_administers_nothing_and_replaces_the_admin_token_for_heartbeats() {
    let lab = Lab::new();
    let controller = lab.controller(|config| config["workers"]["token"] = json!(WORKERS_TOKEN));
    assert_eq!(Fake::new("a", 1, TOKEN).hear(&controller, json!({})).status, 401, "the admin token");
    assert_eq!(Fake::new("a", 1, "nonsense-token").hear(&controller, json!({})).status, 401);
    assert_eq!(Fake::new("a", 1, WORKERS_TOKEN).hear(&controller, json!({})).status, 200);
    let with = |method: &str, path: &str| {
        let bearer = format!("Bearer {WORKERS_TOKEN}");
        http::request(&controller.url, method, path, &[("Authorization", &bearer)], "").status
    };
    for (method, path) in [
        ("GET", "/api/v1/workers"),
        ("GET", "/api/v1/sessions"),
        ("POST", "/api/v1/sessions"),
        ("DELETE", "/api/v1/workers/a"),
        ("POST", "/api/v1/workers/a/drain"),
    ] {
        assert_eq!(with(method, path), 401, "{method} {path}");
    }
}

#[test]
fn a_worker_of_an_older_version_is_taken_until_it_has_proved_itself() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let mut old = Fake::new("w", 3, TOKEN);
    let beat = old.beat(json!({}));
    let taken = old.send(&controller, &beat, None).json();
    assert_eq!((&taken["accepted"], taken.get("call_token")), (&json!(true), None), "{taken}");
    assert_eq!(worker_of(&controller, "w").expect("it")["proved"], false);
    eventually("the controller tells", || {
        problems(&controller).contains("do not prove who they are").then_some(())
    });
    let updated = old.hear(&controller, json!({})).json();
    assert_eq!(updated["accepted"], true, "{updated}");
    assert!(updated["call_token"].is_string(), "{updated}");
    assert_eq!(worker_of(&controller, "w").expect("it")["proved"], true);
    eventually("the controller is content", || {
        (!problems(&controller).contains("do not prove who they are")).then_some(())
    });
    let beat = old.beat(json!({}));
    assert_eq!(old.send(&controller, &beat, None).status, 409);
}

#[test]
fn a_state_directory_that_cannot_be_used_ends_the_start_with_words() {
    let lab = Lab::new();
    let (mut controller, mut worker) = lab.pair(|_| ());
    worker.kill();
    controller.kill();
    for (role, taken) in [
        (&worker, "one-state/worker/worker-key.new"),
        (&controller, "controller-state/controller/worker-keys.json"),
    ] {
        // A directory where a file belongs, with every name taken that it could be set aside under: root may write
        // everywhere, but not this.
        let place = lab.dir.join(taken);
        if let Some(file) = taken.strip_suffix(".new") {
            fs::remove_file(lab.dir.join(format!("{file}.json"))).expect("the key");
        } else {
            fs::remove_file(&place).expect("the keys");
        }
        fs::create_dir(&place).expect("a directory");
        for number in 0..100 {
            fs::write(lab.dir.join(format!("{taken}.odd-{number}")), "").expect("a file");
        }
        let (status, words) = role.start_second(|_| ());
        assert_eq!(status.code(), Some(1), "{words}");
        for part in ["it must be writable and belong to the service's user", "-state"] {
            assert!(words.contains(part), "{part:?} is not in {words:?}");
        }
    }
}

#[test]
fn what_stands_in_place_of_the_keys_is_set_aside_and_the_controller_starts() {
    let lab = Lab::new();
    let (mut controller, worker) = lab.pair(|_| ());
    controller.kill();
    let keys = lab.dir.join("controller-state/controller/worker-keys.json");
    fs::remove_file(&keys).expect("the keys");
    fs::create_dir(&keys).expect("a directory");
    controller.restart();
    controller.wait_for_log("worker-keys.json is odd");
    assert!(keys.with_file_name("worker-keys.json.odd-0").is_dir());
    eventually("the worker proves itself anew", || {
        worker_of(&controller, "one").filter(|worker| worker["proved"] == true)
    });
    drop(worker);
}

#[test]
fn a_lost_key_is_told_with_what_to_do() {
    let lab = Lab::new();
    let (controller, mut worker) = lab.pair(|_| ());
    worker.kill();
    let key = lab.dir.join("one-state/worker/worker-key.json");
    fs::write(&key, "{half").expect("a file");
    worker.restart();
    worker.wait_for_log("the key of this worker is unreadable and was set aside");
    eventually("the worker tells", || problems(&worker).contains("DELETE /api/v1/workers/").then_some(()));
    assert!(key.with_extension("unreadable").exists());
    // Its last run is long silent, so an operator may let the new key in.
    eventually_equal("status of DELETE", &204, || controller.delete("/api/v1/workers/one").status);
    eventually("the worker is back", || {
        worker_of(&controller, "one").filter(|worker| worker["proved"] == true)
    });
    eventually("its trouble is over", || (!problems(&worker).contains("DELETE")).then_some(()));
}

/// Answers everything with this status line and its fields.
fn answer_all(listener: TcpListener, head: &'static str) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.set_read_timeout(Some(Duration::from_secs(5)));
            let mut request = Vec::new();
            let mut chunk = [0u8; 8192];
            while let Ok(count @ 1..) = steady(|| client.read(&mut chunk)) {
                request.extend_from_slice(&chunk[..count]);
                if request.windows(4).any(|end| end == b"\r\n\r\n") {
                    break;
                }
            }
            let _ = write!(client, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
}

// SPEC 4: An end that its worker did not confirm, whatever was answered in its place, is remembered
// and told again with heartbeats until the session is gone; a `replace` starts nothing before
#[test]
fn an_end_that_no_worker_confirms_is_remembered_and_told_again() {
    let lab = Lab::new();
    let controller = lab.controller(|config| config["workers"]["heartbeat_timeout"] = json!("20s"));
    // The last two are of something that stands in the worker's place: only a worker's answer has a stamp.
    let heads = [
        "401 Unauthorized",
        "500 Internal Server Error",
        "503 Service Unavailable",
        "404 Not Found",
        "204 No Content",
    ];
    for (number, (name, head)) in ["a", "b", "c", "d", "e"].into_iter().zip(heads).enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        answer_all(listener, head);
        let id = format!("{:032x}", number + 1);
        let list = json!({"url": url, "sessions": [{
            "id": id, "body": format!("127.0.2.{}", number + 1), "status": "streaming", "started_ms_ago": 1_000,
        }]});
        let mut worker = Fake::new(name, u8::try_from(number + 1).expect("small"), TOKEN);
        let taken = worker.hear(&controller, list.clone()).json();
        assert_eq!((&taken["accepted"], &taken["end"]), (&json!(true), &json!([])), "{taken}");
        eventually("the controller knows the session", || controller.session(&id));
        let refused = controller.delete(&format!("/api/v1/sessions/{id}"));
        assert!(matches!(refused.status, 502 | 503), "{head}: {refused:?}");
        let expected = json!([{"session_id": id, "reason": "deleted"}]);
        eventually_equal(head, &expected, || worker.hear(&controller, list.clone()).json()["end"].clone());
        // It has not ended yet, and is told once more.
        let again = worker.hear(&controller, list).json()["end"].clone();
        assert_eq!(again[0]["session_id"], json!(id), "{head}");
    }
}
