//! Rooms through a controller: pinned to workers, drained, and found again.

use std::time::Instant;

use rustix::process::Signal as Posix;
use serde_json::{Value, json};

use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};
use crate::namespaces::accepted;
use crate::room_client::{RELAY, SIGNAL, Signal, with_rooms};

const ROOMS: &str = "/v1/webrtc/rooms";

/// A controller and two workers that hold rooms.
pub struct Fleet {
    lab: Lab,
    pub controller: Role,
    workers: Vec<Role>,
}

impl Fleet {
    pub fn new() -> Fleet {
        let lab = Lab::new();
        let controller = lab.controller(|_| ());
        let workers = ["one", "two"].map(|name| lab.worker(name, &controller.url, of_rooms)).into();
        let fleet = Fleet { lab, controller, workers };
        fleet.until_known();
        fleet
    }

    pub fn until_known(&self) {
        eventually("both workers are known", || {
            let listed = self.controller.get("/api/v1/workers").body;
            (listed.matches("\"up\"").count() == 2).then_some(())
        });
        // Until then it makes no rooms: a worker may have them.
        eventually("the controller knows every room", || {
            (self.controller.get("/readyz").status == 200).then_some(())
        });
    }

    /// Enables rooms for a namespace; the tokens of an owner and a member of it.
    pub fn namespace(&self, name: &str) -> [String; 2] {
        let ask = |method: &str, below: &str, body: &str| {
            self.controller.call(method, &format!("/api/v1/namespaces/{name}{below}"), body)
        };
        let enabled = ask("PUT", "/webrtc", "{}");
        assert_eq!(enabled.status, 201, "{enabled:?}");
        ["owner", "member"].map(|role| {
            let made = ask("POST", "/tokens", &json!({"role": role}).to_string());
            assert_eq!(made.status, 201, "{}", made.status);
            made.json()["token"].as_str().expect("a token").to_owned()
        })
    }

    fn rooms(&self, token: &str) -> Value {
        let reply = http::get(&self.controller.url, ROOMS, Some(token)).expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// A room as the controller lists it.
    fn room(&self, token: &str, room: &str) -> Option<Value> {
        let rooms = self.rooms(token);
        let all = rooms["rooms"].as_array().expect("a list");
        all.iter().find(|listed| listed["room_id"] == room).cloned()
    }

    /// The worker that a room is on.
    pub fn place(&self, token: &str, room: &str) -> Option<String> {
        self.room(token, room)?["worker_id"].as_str().map(str::to_owned)
    }

    fn participants(&self, token: &str, room: &str) -> Option<u64> {
        self.room(token, room)?["participants"].as_u64()
    }

    pub fn worker(&mut self, name: &str) -> &mut Role {
        self.workers.iter_mut().find(|worker| worker.name == name).expect("a worker")
    }

    /// Comes in as the documented client does, and again for as long as it is told to come back later.
    fn enter(&self, room: &str, token: &str, user: &str) -> Signal {
        let url = &self.controller.url;
        let mut refusals = Vec::new();
        let mut signal =
            eventually(&format!("{user} is let into {room}"), || match Signal::enter(url, room, token) {
                Ok(signal) => Some(signal),
                Err(status) => {
                    refusals.push(status);
                    None
                }
            });
        assert!(refusals.iter().all(|status| *status == 503), "{user}: {refusals:?}");
        signal.join(user);
        signal
    }
}

fn of_rooms(config: &mut Value) {
    with_rooms(config);
    config["turn"] = json!({"secret": "a-secret-of-the-turn-server", "urls": [RELAY]});
}

// SPEC 10: A controller leads signalling to the room's worker, by the token in each of its places;
// all who join a room meet, a new room goes where fewest members are; rooms are made, listed and
// closed there too, and are listed at once: a heartbeat that was begun before does not undo it
// Also: `rooms_are_made_and_closed_through_the_controller`,
// `a_beat_undoes_nothing_that_was_told_after_it_was_begun`
// SPEC 10 contract: `GET /v1/webrtc/signal?room=` leads to the room's worker; the token in a field,
// a subprotocol, the query; 400, 401, 403, 404; 429 and 503 with `Retry-After`
// Also: `a_room_is_signalled_through_the_workers_edge`,
// `signalling_is_refused_in_the_documented_form`, `a_token_is_good_in_its_own_namespace_only`,
// `wrong_tokens_of_rooms_are_slowed_and_right_ones_pass`, `who_may_come_later_is_told_when`,
// `a_drain_is_told_refuses_others_and_ends`
#[test]
fn a_room_is_joined_through_the_controller_and_stays_on_its_worker() {
    let fleet = Fleet::new();
    let [owner, member] = fleet.namespace("a");
    let mut ann = fleet.enter("standup", &member, "ann");
    let mut ben = fleet.enter("standup", &member, "ben");
    assert_eq!(ann.until("peer-joined")["userId"], "ben", "both are in one room");
    assert_eq!(ben.until("turn-credentials")["urls"], json!([RELAY]));
    // Until a beat tells of them, the second worker may have as many.
    eventually("both are counted", || (fleet.participants(&member, "standup") == Some(2)).then_some(()));
    let other = fleet.enter("other", &member, "cleo");
    let of_query = format!("{SIGNAL}?jwt={member}&room=standup");
    let dora = Signal::open(&fleet.controller.url, &of_query, &[]).map(|mut dora| dora.join("dora"));
    assert_eq!(dora.expect("an upgrade")["participants"].as_array().map(Vec::len), Some(3));
    let places = eventually("both rooms are listed", || {
        fleet.place(&member, "standup").zip(fleet.place(&member, "other"))
    });
    assert_ne!(places.0, places.1, "a new room goes where fewest members are");
    drop(other);
    for (target, status) in [(SIGNAL.to_owned(), 400), (format!("{SIGNAL}?room=a%20b"), 400)] {
        let bearer = format!("Bearer {owner}");
        let seen = Signal::open(&fleet.controller.url, &target, &[("Authorization", &bearer)]);
        assert_eq!(seen.err(), Some(status), "{target}");
    }
    assert_eq!(Signal::enter(&fleet.controller.url, "standup", "nobodys").err(), Some(401));
    assert_eq!(Signal::enter(&fleet.controller.url, "standup", TOKEN).err(), Some(403));
    fleet.controller.assert_log_keeps_secrets(&[&member, &owner, "jwt="]);
    fleet.workers.iter().for_each(|worker| worker.assert_log_keeps_secrets(&[&member, &owner, "jwt="]));
}

#[test]
fn rooms_are_made_and_closed_through_the_controller() {
    let fleet = Fleet::new();
    let [owner, member] = fleet.namespace("a");
    let ask = |token: &str, method: &str, query: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        http::request(&fleet.controller.url, method, &format!("{ROOMS}{query}"), &fields, body)
    };
    let body = r#"{"room_id":"a/b&c%d"}"#;
    let made = ask(&owner, "POST", "", body);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        (made.header("Cache-Control"), made.header("Access-Control-Allow-Origin")),
        (Some("no-store"), Some("*"))
    );
    let at = fleet.place(&owner, "a/b&c%d");
    assert_eq!(at.as_deref(), made.json()["worker_id"].as_str(), "it is listed at once: {made:?}");
    assert_eq!(ask(&owner, "POST", "", body).status, 200);
    assert_eq!(ask(&member, "POST", "", body).status, 403);
    assert_eq!(ask(&member, "DELETE", "?room_id=a/b%26c%25d", "").status, 403);
    let mut ann = fleet.enter("a/b%26c%25d", &member, "ann");
    assert_eq!(ask(&owner, "DELETE", "?room_id=a/b%26c%25d", "").status, 204);
    assert_eq!(ann.until("kicked")["code"], "removed");
    assert_eq!(fleet.place(&owner, "a/b&c%d"), None, "it is gone from the list at once");
    assert_eq!(ask(&owner, "DELETE", "?room_id=a/b%26c%25d", "").status, 404);
    assert_eq!(ask(&owner, "POST", "", "{}").status, 400);
    let path = "/v1/webrtc/turn/credentials";
    // Not while both workers are late, as on a busy machine they are now and then.
    eventually_equal("credentials through the controller", &(200, json!([RELAY])), || {
        let made = http::post(&fleet.controller.url, path, Some(&member), &json!({})).expect("an answer");
        (made.status, made.json()["urls"].clone())
    });
    assert_eq!(http::post(&fleet.controller.url, path, None, &json!({})).expect("an answer").status, 401);
}

/// Four people in a room that is drained; what moves them is the argument.
fn drained_by(fleet: &mut Fleet, drain: impl FnOnce(&mut Fleet, &str)) -> (String, String) {
    let [_, member] = fleet.namespace("a");
    let names = ["ann", "ben", "cleo", "dora"];
    let mut people = names.map(|name| fleet.enter("standup", &member, name));
    let before = eventually("the room is listed", || fleet.place(&member, "standup"));
    let begun = Instant::now();
    drain(fleet, &before);
    for person in &mut people {
        let told = person.until("server-draining");
        assert_eq!(told["reason"], "server shutting down", "{told}");
        assert!(told["timeoutMs"].as_u64().is_some_and(|ms| (1..=30_000).contains(&ms)), "{told}");
    }
    let mut again = names.map(|name| fleet.enter("standup", &member, name));
    for name in &names[1..] {
        assert_eq!(again[0].until("peer-joined")["userId"], *name, "all meet again");
    }
    println!("all four are together again after {:?}", begun.elapsed());
    drop(people);
    let after = eventually("the room is listed anew", || {
        fleet.place(&member, "standup").filter(|place| *place != before)
    });
    (before, after)
}

// SPEC 10: Four people in a room hear of a drain, or of SIGTERM, with reason and time, and meet
// again on another worker; nobody is sent to a worker that drains; it ends when nobody is left
// Also: `the_rooms_of_a_worker_that_is_stopped_go_on_elsewhere`
#[test]
fn the_rooms_of_a_drained_worker_go_on_elsewhere() {
    let mut fleet = Fleet::new();
    let (before, after) = drained_by(&mut fleet, |fleet, worker| {
        let reply = fleet.controller.post(&format!("/api/v1/workers/{worker}/drain"), &json!({}));
        assert!(matches!(reply.status, 200 | 202 | 204), "{reply:?}");
    });
    println!("from {before} to {after}");
    let [owner, _] = fleet.namespace("b");
    for number in 0..4 {
        let person = fleet.enter(&format!("r{number}"), &owner, "eve");
        let at = eventually("the room is listed", || fleet.place(&owner, &format!("r{number}")));
        assert_eq!(at, after, "nobody is sent to a worker that drains");
        drop(person);
    }
}

#[test]
fn the_rooms_of_a_worker_that_is_stopped_go_on_elsewhere() {
    let mut fleet = Fleet::new();
    let (before, _) = drained_by(&mut fleet, |fleet, worker| fleet.worker(worker).signal(Posix::TERM));
    let status = fleet.worker(&before).wait();
    assert!(status.success(), "it ends when nobody is left: {status}");
}

// SPEC 10: A controller that restarts leads everybody to where they were; who speaks with a worker
// directly notices nothing
#[test]
fn a_restarted_controller_leads_everybody_to_where_they_are() {
    let mut fleet = Fleet::new();
    let [_, member] = fleet.namespace("a");
    let ann = fleet.enter("standup", &member, "ann");
    let place = eventually("the room is listed", || fleet.place(&member, "standup"));
    // Somebody whose way does not lead through the controller.
    let url = fleet.worker(&place).url.clone();
    let mut near = Signal::enter(&url, "standup", &member).expect("an upgrade");
    near.join("near");
    drop(ann);
    assert_eq!(near.until("peer-left")["userId"], "ann");
    // Where only the other worker was heard when it has settled, the room would be begun there. It settles for long, and whoever comes
    // is told to come back until the room's worker is heard.
    fleet.controller.restart_with(|config| {
        config["workers"] = json!({"heartbeat_interval": "20s", "heartbeat_timeout": "80s"});
    });
    let begun = Instant::now();
    let _again = fleet.enter("standup", &member, "ann");
    assert_eq!(near.until("peer-joined")["userId"], "ann", "who stayed has not noticed: {:?}", near.heard);
    println!("back after {:?}", begun.elapsed());
    assert_eq!(fleet.place(&member, "standup"), Some(place));
}

// SPEC 10: A token of one namespace can do nothing in another: rooms, credentials, signalling,
// hosts, operators' paths, on both roles (table of attempts)
#[test]
fn a_token_of_one_namespace_does_nothing_in_another() {
    let fleet = Fleet::new();
    let ([a_owner, _], [b_owner, b_member]) = (fleet.namespace("a"), fleet.namespace("b"));
    let urls: Vec<String> =
        std::iter::once(&fleet.controller).chain(&fleet.workers).map(|role| role.url.clone()).collect();
    let ask = |url: &str, token: &str, host: &str, method: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http::raw(url, text.as_bytes());
        http::parse(&answer).unwrap_or_else(|| panic!("{method} {path}: {answer:?}"))
    };
    // A room of B, with somebody in it, on every worker that B is served by.
    let mut bea = fleet.enter("secret-b", &b_member, "bea");
    let place = eventually("the room is listed", || fleet.place(&b_member, "secret-b"));
    for url in &urls {
        let a = |method: &str, path: &str, body: &str| ask(url, &a_owner, "x", method, path, body);
        let rooms = a("GET", ROOMS, "");
        assert!(rooms.status == 200 && !rooms.body.contains("secret-b"), "{url}: {rooms:?}");
        assert_eq!(a("GET", &format!("{ROOMS}?room_id=secret-b"), "").status, 404, "{url}");
        assert_eq!(a("DELETE", &format!("{ROOMS}?room_id=secret-b"), "").status, 404, "{url}");
        let username = eventually("credentials", || {
            let credentials = a("POST", "/v1/webrtc/turn/credentials", "").json();
            credentials["username"].as_str().map(str::to_owned)
        });
        assert!(username.contains(":a."), "{url}: {username}");
        // At the host of B nothing at all.
        for (method, path, body) in [
            ("GET", ROOMS, ""),
            ("POST", ROOMS, r#"{"room_id":"x"}"#),
            ("DELETE", "/v1/webrtc/rooms?room_id=secret-b", ""),
            ("POST", "/v1/webrtc/turn/credentials", ""),
        ] {
            let reply = ask(url, &a_owner, "ns-b.neck.example.com", method, path, body);
            assert_eq!(reply.status, 403, "{url} {method} {path}: {reply:?}");
        }
        let bearer = format!("Bearer {a_owner}");
        let at_b = [("Host", "ns-b.neck.example.com"), ("Authorization", bearer.as_str())];
        assert_eq!(Signal::open(url, &format!("{SIGNAL}?room=secret-b"), &at_b).err(), Some(403), "{url}");
    }
    // A room of the same name is another room.
    let mut al = fleet.enter("secret-b", &a_owner, "al");
    let mut near = Signal::enter(
        &fleet.workers.iter().find(|worker| worker.name == place).expect("it").url,
        "secret-b",
        &a_owner,
    )
    .expect("an upgrade");
    let welcome = near.join("al-2");
    assert!(!welcome.to_string().contains("\"bea\""), "{welcome}");
    al.say("leave", &json!({}));
    near.say("leave", &json!({}));
    al.until_end();
    near.until_end();
    bea.say("audio-state", &json!({"enabled": false}));
    bea.say("leave", &json!({}));
    bea.until_end();
    let heard = Value::from(bea.heard.clone()).to_string();
    assert!(!heard.contains("\"al") && !heard.contains("peer-joined"), "B hears nothing of A: {heard}");
    // Operators' paths are nobody's of a namespace, and another namespace's tokens are not to be had.
    for token in [&a_owner, &b_owner] {
        for (method, path) in [
            ("GET", "/api/v1/namespaces"),
            ("GET", "/api/v1/namespaces/b/webrtc"),
            ("PUT", "/api/v1/namespaces/b/webrtc"),
            ("DELETE", "/api/v1/namespaces/b/webrtc"),
            ("POST", "/api/v1/namespaces/b/tokens"),
            ("GET", "/api/v1/sessions"),
            ("POST", "/api/v1/sessions"),
            ("GET", "/api/v1/workers"),
            ("POST", "/api/v1/workers/one/drain"),
        ] {
            let reply = ask(&fleet.controller.url, token, "x", method, path, "{}");
            assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        }
    }
    drop(fleet.lab);
}

// SPEC 10: A worker that drains keeps the copy of a namespace until its last room is gone: members
// who are still there get credentials
// Also: `a_namespace_that_has_rooms_here_keeps_its_copy`
#[test]
fn a_worker_that_drains_keeps_its_copy_until_its_last_room_is_gone() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    // One that relays has a copy anyway, for as long as it is there.
    let leaves = lab.worker("leaves", &controller.url, with_rooms);
    let stays = lab.worker("stays", &controller.url, of_rooms);
    let fleet = Fleet { lab, controller, workers: vec![leaves, stays] };
    fleet.until_known();
    let drain = |worker: &str, on: bool| {
        let path = format!("/api/v1/workers/{worker}/drain");
        let reply =
            if on { fleet.controller.post(&path, &json!({})) } else { fleet.controller.delete(&path) };
        assert_eq!(reply.status, 204, "{reply:?}");
    };
    let [owner, member] = fleet.namespace("a");
    drain("stays", true);
    let mut ann = fleet.enter("standup", &member, "ann");
    eventually("the room is listed", || (fleet.place(&owner, "standup")? == "leaves").then_some(()));
    drain("stays", false);
    drain("leaves", true);
    ann.until("server-draining");
    let leaves = &fleet.workers[0];
    let credentials = || {
        http::post(&leaves.url, "/v1/webrtc/turn/credentials", Some(&member), &json!({})).expect("an answer")
    };
    let begun = accepted(leaves);
    eventually("some beats are answered", || {
        assert_eq!(credentials().status, 200, "ann is still there: {}", leaves.log_text());
        (accepted(leaves) > begun + 4).then_some(())
    });
    // A reply that was composed before the room was known takes no copy from under it.
    let told = leaves.post("/api/v1/namespaces/copies", &json!({"copies": [], "dropped": ["a"]}));
    assert_eq!((told.status, credentials().status), (204, 200), "{told:?}\n{}", leaves.log_text());
    ann.say("audio-state", &json!({"enabled": true}));
    assert!(!leaves.log_text().contains("namespace a is not served here any more"), "{}", leaves.log_text());
    let copy = fleet.lab.dir.join("leaves-state/worker/rooms/a.json");
    // While ann is in it: once it is empty, a worker that drains closes it by itself.
    let closed = http::delete(&leaves.url, &format!("{ROOMS}?room_id=standup"), Some(&owner));
    assert_eq!(closed.expect("an answer").status, 204);
    drop(ann);
    eventually("its copy is gone with its last room", || (!copy.exists()).then_some(()));
    assert_eq!(credentials().status, 401);
}
