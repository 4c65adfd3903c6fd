//! Rooms by the built binary: signalling through the edge of a worker.

use std::time::Instant;

use serde_json::{Value, json};

use crate::client::Client;
use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually_equal};
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

// SPEC 10: Signalling is asked for at a worker's edge, by real WebSockets with the token in each of
// its places; no log has the token; refusals are readable for pages of other sites, wrong tokens
// are slowed; a host `ns-NAME.…` takes its namespace's tokens only; without `rooms.enabled` no path
// of rooms is there
// Also: `signalling_is_refused_in_the_documented_form`, `a_query_is_passed_on_without_the_token`,
// `wrong_tokens_of_rooms_are_slowed_and_right_ones_pass`,
// `a_host_of_one_namespace_takes_no_token_of_another`,
// `a_worker_without_rooms_has_none_of_their_paths`, `paths_of_rooms_are_told_from_others`,
// `every_refusal_can_be_read_by_pages_of_other_sites`
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
    // Who updates the worker is told of them.
    let client = Client::new(&lab, &worker.url, TOKEN);
    eventually_equal("idle sees them", &(75, String::new()), || client.fails(&["idle", "--json"]));
    let (mut last, mut first) = (people.pop().expect("dora"), people.remove(0));
    last.say("leave", &json!({}));
    assert_eq!(first.until("peer-left")["userId"], "dora");
    // The log has its finest lines.
    worker.wait_for_log("admitted");
    let log = worker.log_text();
    for secret in ["a-member", "jwt="] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "the log shows a token: {line:?}");
    }
}

#[test]
fn no_log_shows_what_takes_a_place_back() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a"]);
    let open = || Signal::enter(&worker.url, "r", "a-member").expect("an upgrade");
    let mut ann = open();
    let welcome = ann.join("ann");
    let mut ben = open();
    ben.join("ben");
    ann.until("peer-joined");
    ann.cut();
    let resume = |token: &Value| {
        let mut ann = open();
        ann.say("resume", &json!({"peerId": welcome["peerId"], "resumeToken": token, "heard": 3}));
        ann
    };
    assert_eq!(resume(&json!("a-wrong-one")).until("error")["code"], "resume_failed");
    let mut again = resume(&welcome["resumeToken"]);
    let resumed = again.until("resumed");
    assert_eq!(resumed["heard"], 1, "{resumed}");
    assert_eq!(resume(&welcome["resumeToken"]).until("error")["code"], "resume_failed", "once");
    again.say("leave", &json!({}));
    ben.until("peer-left");
    // The log has its finest lines.
    worker.wait_for_log("admitted");
    let log = worker.log_text();
    for token in [&welcome["resumeToken"], &resumed["resumeToken"]] {
        let token = token.as_str().expect("a token");
        let line = log.lines().find(|line| line.contains(token));
        assert!(token.len() == 32 && line.is_none(), "the log shows what takes a place back: {line:?}");
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

fn with_token(bearer: &str) -> [(&'static str, &str); 2] {
    [("Authorization", bearer), ("Content-Type", "application/json")]
}

const ROOMS: &str = "/v1/webrtc/rooms";
const CREDENTIALS: &str = "/v1/webrtc/turn/credentials";

// SPEC 10: REST of rooms on a worker: TURN credentials with the documented six fields and no log of
// them, rooms made (201, 200 again), listed, closed (204), by owners; 400, 401, 403, 404, 405 with
// `Allow`, 503 with `Retry-After`; `no-store` and CORS
// Also: `only_owners_make_and_close_rooms`, `credentials_are_those_that_a_turn_server_takes`,
// `a_namespace_without_relays_gets_no_credentials`, `a_list_of_rooms_is_one_for_old_readers_too`,
// `a_room_is_asked_for_by_one_rule_in_body_and_query`, `a_calls_token_is_in_one_of_two_fields`
// SPEC 10 contract: `/v1/webrtc/rooms`: 201, the same again 200, 400, 403 for who is no owner;
// `DELETE` 204, 404; `GET` all, or one
// Also: `only_owners_make_and_close_rooms`, `rooms_are_made_and_closed_through_the_controller`,
// `a_list_of_rooms_is_one_for_old_readers_too`
#[test]
fn rooms_are_made_listed_and_closed_over_rest() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a", "b"]);
    let owner = with_token("Bearer a-owner");
    let call = |method: &str, query: &str, body: &str| {
        http::request(&worker.url, method, &format!("{ROOMS}{query}"), &owner, body)
    };
    let empty = call("GET", "", "");
    assert_eq!((empty.status, empty.json()), (200, json!({"rooms": [], "status": "ok", "count": 0})));
    let made = call("POST", "", r#"{"room_id":"standup"}"#);
    assert_eq!((made.status, call("POST", "", r#"{"room_id":"standup"}"#).status), (201, 200), "{made:?}");
    assert_eq!((&made.json()["room_id"], &made.json()["worker_id"]), (&json!("standup"), &json!("one")));
    assert!(made.json()["created_at"].as_u64().is_some_and(|at| at > 1_700_000_000), "{made:?}");
    for field in [("Cache-Control", "no-store"), ("Access-Control-Allow-Origin", "*")] {
        assert_eq!(made.header(field.0), Some(field.1), "{made:?}");
    }
    let mut member = Signal::enter(&worker.url, "standup", "a-member").expect("an upgrade");
    member.join("ann");
    let mut other = Signal::enter(&worker.url, "other", "a-member").expect("an upgrade");
    other.join("ben");
    // What is listed is of a moment ago.
    eventually_equal("both rooms are listed, one with a member", &(json!(2), json!(1)), || {
        let all = call("GET", "", "").json();
        (all["count"].clone(), all["rooms"][1]["participants"].clone())
    });
    assert_eq!(call("GET", "?room_id=standup", "").json()["count"], 1);
    assert_eq!(call("GET", "?room_id=nobodys", "").status, 404);
    for (method, query, body) in [
        ("POST", "", "{}"),
        ("POST", "", r#"{"room_id":"a b"}"#),
        ("POST", "", r#"{"room_id":"a","more":1}"#),
        ("DELETE", "", ""),
        ("DELETE", "?room_id=a%20b", ""),
        ("GET", "?room_id=", ""),
    ] {
        assert_eq!(call(method, query, body).status, 400, "{method} {query} {body}");
    }
    assert_eq!(call("DELETE", "?room_id=standup", "").status, 204);
    assert_eq!(member.until("kicked")["code"], "removed");
    assert!(member.next().is_none(), "its connection ends: {:?}", member.heard);
    assert_eq!(call("DELETE", "?room_id=standup", "").status, 404);
    let wrong = call("PUT", "", "{}");
    assert_eq!((wrong.status, wrong.header("Allow")), (405, Some("GET, HEAD, POST, DELETE")), "{wrong:?}");
}

#[test]
fn only_owners_make_and_close_rooms() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a"]);
    let status = |bearer: &str, method: &str, query: &str, body: &str| {
        http::request(&worker.url, method, &format!("{ROOMS}{query}"), &with_token(bearer), body).status
    };
    let body = r#"{"room_id":"r"}"#;
    let admin = format!("Bearer {TOKEN}");
    for (bearer, expected) in [("Bearer a-member", 403), (admin.as_str(), 403), ("Bearer nobodys", 401)] {
        assert_eq!(status(bearer, "POST", "", body), expected, "{expected}");
        assert_eq!(status(bearer, "DELETE", "?room_id=r", ""), expected, "{expected}");
    }
    assert_eq!(status("Bearer a-member", "GET", "", ""), 200);
    assert_eq!(status(&admin, "GET", "", ""), 403);
}

// SPEC 10 contract: `POST /v1/webrtc/turn/credentials`: 401 with `WWW-Authenticate: Bearer`, 403
// for a token of no namespace, 405 with `Allow: POST`, 503 without TURN; `no-store`, CORS `*`; the
// name begins with `EXPIRY:NAMESPACE`
// Also: `a_namespace_without_relays_gets_no_credentials`,
// `credentials_have_the_six_fields_and_the_namespaces_signature`; by a controller too:
// `a_token_of_one_namespace_does_nothing_in_another`
#[test]
fn credentials_are_those_that_a_turn_server_takes() {
    let lab = Lab::new();
    let worker = worker(&lab, &["a"]);
    let bearer = with_token("Bearer a-member");
    let ask =
        |method: &str, fields: &[(&str, &str)]| http::request(&worker.url, method, CREDENTIALS, fields, "");
    let reply = ask("POST", &bearer);
    let made = reply.json();
    assert_eq!((reply.status, reply.header("Cache-Control")), (200, Some("no-store")), "{}", reply.status);
    assert_eq!((&made["urls"], &made["uris"], &made["ttl"]), (&json!([RELAY]), &json!([RELAY]), &json!(600)));
    assert_eq!(made["credential"], made["password"]);
    let username = made["username"].as_str().expect("a name");
    assert!(username.split_once(':').is_some_and(|(_, who)| who.starts_with("a.anon-")), "{username}");
    assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"), "for pages of other sites");
    let admin = format!("Bearer {TOKEN}");
    assert_eq!(ask("POST", &with_token(&admin)).status, 403, "a token of no namespace");
    let by_key = ask("POST", &[("X-API-Key", "a-member")]);
    assert_eq!(by_key.status, 200);
    assert_eq!(ask("POST", &[]).status, 401);
    assert_eq!(ask("POST", &[]).header("WWW-Authenticate"), Some("Bearer"));
    let wrong = ask("GET", &bearer);
    assert_eq!((wrong.status, wrong.header("Allow")), (405, Some("POST")), "{wrong:?}");
    let log = worker.log_text();
    let secret = made["credential"].as_str().expect("a password");
    assert!(!log.contains(secret) && !log.contains("a-member"), "{log}");
}

#[test]
fn a_namespace_without_relays_gets_no_credentials() {
    let lab = Lab::new();
    let mut alone = namespace("a");
    alone.turn_urls.clear();
    keep_copy(&lab.dir.join("one-state"), &alone);
    let worker = lab.lone_worker(with_rooms);
    let reply = http::request(&worker.url, "POST", CREDENTIALS, &with_token("Bearer a-member"), "");
    assert_eq!((reply.status, reply.header("Retry-After").is_some()), (503, true), "{reply:?}");
}

// SPEC 10: Fresh credentials come over the socket before the old ones are over
#[test]
fn credentials_are_refreshed_over_the_socket() {
    let lab = Lab::new();
    let mut short = namespace("a");
    short.ttl = 10;
    keep_copy(&lab.dir.join("one-state"), &short);
    let worker = lab.lone_worker(with_rooms);
    let mut member = Signal::enter(&worker.url, "r", "a-member").expect("an upgrade");
    member.join("ann");
    let first = member.until("turn-credentials");
    let begun = Instant::now();
    let fresh = member.until("refresh-credentials");
    println!("fresh credentials after {:?}", begun.elapsed());
    let expiry = |made: &Value| made["username"].as_str()?.split(':').next()?.parse::<u64>().ok();
    let (old, new) = (expiry(&first), expiry(&fresh));
    assert!(
        old.zip(new).is_some_and(|(old, new)| new >= old + 7),
        "made at 80 % of their life: {old:?} {new:?}"
    );
    assert_eq!((&first["ttl"], &fresh["ttl"]), (&json!(10), &json!(10)));
    assert_ne!(first["username"], fresh["username"]);
    assert_eq!(fresh["credential"], fresh["password"]);
}
