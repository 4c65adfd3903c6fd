//! Rooms by the built binary: signalling through the edge of a worker.

use serde_json::json;

use crate::http;
use crate::lab::{Lab, Role, TOKEN};
use crate::room_client::{RELAY, SIGNAL, Signal, keep_copy, namespace, with_rooms};

/// A worker with these namespaces, which logs everything.
fn worker(lab: &Lab, namespaces: &[&str]) -> Role {
    for name in namespaces {
        keep_copy(&lab.dir.join("one-state"), &namespace(name));
    }
    lab.lone_worker(|config| {
        with_rooms(config);
        config["log"] = json!({"level": "trace"});
    })
}

#[test]
fn a_room_is_signalled_through_the_workers_edge() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a"]);
    let (plain, query) = (format!("{SIGNAL}?room=r"), format!("{SIGNAL}?jwt=a-member&room=r"));
    let field = [("Authorization", "Bearer a-member")];
    let offered = [("Sec-WebSocket-Protocol", "Bearer, a-member")];
    let mut people = Vec::new();
    for (user, target, fields, agreed) in [
        ("ann", &plain, &field[..], None),
        ("ben", &plain, &offered[..], Some("Bearer")),
        ("cleo", &query, &[][..], None),
        ("dora", &plain, &[("X-API-Key", "a-member")][..], None),
    ] {
        let mut signal = Signal::open(&worker.url, target, fields).expect("an upgrade");
        assert_eq!(signal.agreed.as_deref(), agreed, "{user}: never the token");
        let welcome = signal.join(user);
        assert_eq!(welcome["roomId"], "r", "{welcome}");
        let all = welcome["participants"].as_array().expect("a list");
        assert_eq!(all.len(), people.len() + 1, "with whoever joins: {welcome}");
        assert_eq!(signal.until("turn-credentials")["urls"], json!([RELAY]));
        people.push(signal);
    }
    let (mut last, mut first) = (people.pop().expect("dora"), people.remove(0));
    last.say("leave", &json!({}));
    assert_eq!(first.until("peer-left")["userId"], "dora");
    let log = worker.log_text();
    assert!(log.contains("admitted"), "the log has its finest lines: {log}");
    for secret in ["a-member", "jwt="] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "the log shows a token: {line:?}");
    }
}

/// An upgrade as a browser sends it.
const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn ask(worker: &Role, method: &str, target: &str, fields: &[(&str, &str)]) -> http::Reply {
    http::request(&worker.url, method, target, fields, "")
}

#[test]
fn signalling_is_refused_in_the_documented_form() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a", "b"]);
    let admin = format!("Bearer {TOKEN}");
    let good = ("Authorization", "Bearer a-member");
    let elsewhere = ("X-Test", "x");
    for (target, fields, status) in [
        ("?room=r", vec![elsewhere], 401),
        ("?room=r", vec![("Authorization", "Bearer nobodys")], 401),
        ("?room=r&jwt=nobodys", vec![elsewhere], 401),
        ("?room=r", vec![("Sec-WebSocket-Protocol", "Bearer, nobodys")], 401),
        ("?room=r", vec![("Sec-WebSocket-Protocol", "chat, a-member")], 401),
        ("?room=r", vec![("Authorization", admin.as_str())], 403),
        ("?room=", vec![good], 400),
        ("?room=a%20b", vec![good], 400),
        ("?room=%C3%A4", vec![good], 400),
    ] {
        let fields: Vec<_> = UPGRADE.into_iter().chain(fields).collect();
        let reply = ask(&worker, "GET", &format!("{SIGNAL}{target}"), &fields);
        assert_eq!(reply.status, status, "{target} {fields:?}: {reply:?}");
        assert_eq!(reply.json()["code"], status, "{reply:?}");
        assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"), "{reply:?}");
        assert_eq!(reply.header("Cache-Control"), Some("no-store"), "{reply:?}");
        let challenge = reply.header("WWW-Authenticate").is_some_and(|value| value.starts_with("Bearer"));
        assert_eq!(challenge, matches!(status, 401 | 403), "{reply:?}");
        assert!(!reply.body.contains("nobodys"), "{reply:?}");
    }
    let no_upgrade = ask(&worker, "GET", &format!("{SIGNAL}?room=r"), &[good]);
    assert_eq!((no_upgrade.status, no_upgrade.header("Upgrade")), (426, Some("websocket")), "{no_upgrade:?}");
    let posted = ask(&worker, "POST", &format!("{SIGNAL}?room=r"), &[good]);
    assert_eq!((posted.status, posted.header("Allow")), (405, Some("GET, HEAD")), "{posted:?}");
    let asked = [("Origin", "https://else.example"), ("Access-Control-Request-Method", "POST")];
    let preflight = ask(&worker, "OPTIONS", "/v1/webrtc/turn/credentials", &asked);
    assert_eq!(preflight.status, 204, "{preflight:?}");
    let allowed = preflight.header("Access-Control-Allow-Headers").unwrap_or_default();
    assert!(allowed.contains("Authorization") && allowed.contains("Content-Type"), "{preflight:?}");
}

#[test]
fn a_host_of_one_namespace_takes_no_token_of_another() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a", "b"]);
    let status = |host: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("Host", host), ("Authorization", bearer.as_str())];
        Signal::open(&worker.url, &format!("{SIGNAL}?room=r"), &fields).err().unwrap_or(101)
    };
    assert_eq!(status("ns-a.neck.example.com", "a-member"), 101);
    assert_eq!(status("NS-A.neck.example.com:8443", "a-member"), 101);
    assert_eq!(status("ns-b.neck.example.com", "a-member"), 403);
    assert_eq!(status("neck.example.com", "b-member"), 101);
}

#[test]
fn wrong_tokens_of_rooms_are_slowed_and_right_ones_pass() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a"]);
    let guess = |number: usize| Signal::enter(&worker.url, "r", &format!("guess-{number}")).err();
    let slowed = (0..100).map(guess).position(|status| status == Some(429));
    assert!(slowed.is_some_and(|position| position >= 10), "the first refusal by 429: {slowed:?}");
    assert!(Signal::enter(&worker.url, "r", "a-member").is_ok());
}

#[test]
fn a_worker_without_rooms_has_none_of_their_paths() {
    let lab = Lab::new();
    keep_copy(&lab.dir.join("one-state"), &namespace("a"));
    let worker = lab.lone_worker(|_| ());
    assert_eq!(Signal::enter(&worker.url, "r", "a-member").err(), Some(404));
    let reply = ask(&worker, "GET", SIGNAL, &[("Authorization", "Bearer a-member")]);
    assert!(reply.status == 404 && reply.body.contains("rooms.enabled"), "{reply:?}");
}
