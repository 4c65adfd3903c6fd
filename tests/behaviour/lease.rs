//! Two controllers, three etcd and a worker: one leads, and what happens when it is not reached any more.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::etcd::{self, Etcd, Line};
use crate::http::{self, Reply, Stream};
use crate::lab::{Lab, Role, eventually};

/// How long a lease lasts here. The shortest that there may be, 2s, ends on a busy machine while its leader waits for a core.
const TTL: &str = "4s";

/// A service of two controllers.
struct Pair {
    controllers: [Role; 2],
    worker: Role,
    /// The first controller's ways to etcd.
    lines: Vec<Line>,
    /// The first worker's way to the second controller.
    to_second: Line,
    etcd: Etcd,
    lab: Lab,
}

impl Pair {
    fn start() -> Pair {
        let lab = Lab::new();
        let etcd = Etcd::start(&lab.dir, 3);
        let lines: Vec<Line> = (0..3).map(|index| Line::to(etcd.address(index))).collect();
        let through: Vec<String> = lines.iter().map(Line::url).collect();
        // A worker that is not heard holds its bodies for as long as the tests take.
        let with = |config: &mut Value, etcd: Vec<String>| {
            config["lease"] = json!({"etcd": etcd, "ttl": TTL});
            config["workers"]["heartbeat_timeout"] = json!("5m");
        };
        let first = lab.controller_named("first", |config| with(config, through));
        eventually("the first one leads", || (first.get("/api/v1/health?ready").status == 200).then_some(()));
        let second = lab.controller_named("second", |config| with(config, etcd.urls()));
        let to_second = Line::to(second.url.trim_start_matches("http://").parse().expect("an address"));
        let worker = lab.worker("one", "", |config| report_to(config, &[first.url.clone(), to_second.url()]));
        for controller in [&first, &second] {
            eventually("it knows the worker", || {
                controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
            });
        }
        Pair { controllers: [first, second], worker, lines, to_second, etcd, lab }
    }

    fn cut(&self, on: bool) {
        self.lines.iter().for_each(|line| line.cut(on));
    }

    /// Waits until a create on this controller works; its session, and how long that took.
    fn create_on(&self, index: usize, body: &str) -> (String, Duration) {
        let since = Instant::now();
        let id = eventually("a create works", || {
            let reply = self.controllers[index].post("/api/v1/sessions", &json!({"body_ip": body}));
            (reply.status == 201).then(|| reply.json()["session_id"].as_str().expect("an id").to_owned())
        });
        (id, since.elapsed())
    }

    /// The stream processes there are: one for each session that was launched and lives.
    fn launched(&self) -> usize {
        self.lab.stream_processes("one").len()
    }
}

/// Has a worker report to these controllers.
fn report_to(config: &mut Value, urls: &[String]) {
    config["controller"]["urls"] = json!(urls);
    config["controller"].as_object_mut().expect("a section").remove("url");
}

/// What its health says of the lease.
pub fn lease_of(controller: &Role) -> Value {
    controller.get("/api/v1/health").json()["extra"]["lease"].clone()
}

/// What its health says is wrong.
pub fn problems_of(controller: &Role) -> String {
    controller.get("/api/v1/health").json()["extra"]["problems"].to_string()
}

/// What a controller that does not lead answers.
fn assert_follows(reply: &Reply, leader: &Role) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.header("Neck-Leader"), Some(leader.url.as_str()), "{reply:?}");
}

// SPEC 4: Of several controllers one leads (`lease`): the others answer creates, ends and drains
// with 503, `Retry-After` and who leads, serve pages and lists, and are not ready; after the
// leader's death creates work again within 15 s, and who plays does not notice
// Also: `a_free_lease_is_taken_and_lasts_from_before_it_was_asked_for`,
// `a_lease_that_is_held_is_looked_at_until_it_is_free`,
// `who_comes_second_follows_and_gives_its_term_back`,
// `who_resigns_gives_the_lease_back_and_takes_it_no_more`,
// `a_lease_needs_etcd_and_a_controller_that_can_be_named`
#[test]
fn creates_work_again_soon_after_the_leaders_death() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start();
    let [first_body, second_body, third_body] = [1, 2, 3].map(|number| pair.lab.body(number));
    let (id, _) = pair.create_on(0, &first_body);
    let [first, second] = &pair.controllers;
    eventually("the follower hears of the session", || {
        second.get("/api/v1/sessions").body.contains(&id).then_some(())
    });
    let mut stream = Stream::open(&second.url, &id);
    assert!(stream.plays(), "a follower leads to pages");

    let refused = second.post("/api/v1/sessions", &json!({"body_ip": second_body}));
    assert_follows(&refused, first);
    assert!(refused.header("Retry-After").is_some() && refused.json()["leader"] == first.url, "{refused:?}");
    assert_follows(&second.delete(&format!("/api/v1/sessions/{id}")), first);
    assert_follows(&second.post("/api/v1/workers/one/drain", &json!({})), first);
    let ready = second.get("/api/v1/health?ready");
    assert_follows(&ready, first);
    assert_eq!(ready.json()["extra"]["lease"]["leader"], first.url);
    assert_eq!(
        (second.get("/api/v1/health").status, lease_of(second)["state"].clone()),
        (200, json!("follower"))
    );
    let number = lease_of(first)["number"].as_u64().expect("a number");
    let metrics = first.get("/metrics").body;
    assert!(metrics.contains("hydraneckwebrtc_lease_leads 1"), "{metrics}");

    // A drain is the leader's to set, and everybody's to keep.
    assert_eq!(first.post("/api/v1/workers/one/drain", &json!({})).status, 204);
    let draining = |role: &Role| role.get("/api/v1/workers").json()["workers"][0]["draining"].clone();
    eventually("the follower knows of the drain", || (draining(second) == true).then_some(()));
    assert_eq!(first.delete("/api/v1/workers/one/drain").status, 204);
    eventually("and of its end", || (draining(second) == false).then_some(()));

    pair.controllers[0].kill();
    let (_, took) = pair.create_on(1, &second_body);
    println!("a create worked again after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(lease_of(&pair.controllers[1])["number"].as_u64() > Some(number), "later numbers are higher");
    assert!(stream.plays(), "nobody who plays has noticed");
    assert_eq!(pair.launched(), 2, "{:?}", pair.worker.sessions());
    assert!(pair.worker.get("/api/v1/health").json()["extra"]["lease"].as_u64() > Some(number));

    pair.controllers[0].restart();
    let [first, second] = &pair.controllers;
    let back = eventually("the first one is back", || {
        let reply = first.post("/api/v1/sessions", &json!({"body_ip": first_body}));
        reply.header("Neck-Leader").is_some().then_some(reply)
    });
    assert_follows(&back, second);
    // One that stops gives its lease back: the other one need not wait for its end.
    second.signal(Signal::TERM);
    let (_, took) = pair.create_on(0, &third_body);
    println!("and after an orderly end after {took:?}");
}

// SPEC 4: A leader without etcd leads until its lease would end and says so; then it takes no
// creates, and who plays goes on; all is well again by itself when etcd is back
// Also: `a_leader_renews_in_time_and_fades_without_an_answer`,
// `a_lease_that_is_gone_or_taken_is_given_up_at_once`,
// `a_claim_whose_answer_was_lost_is_found_again_and_leads_only_once_renewed`
#[test]
fn a_leader_without_etcd_stops_in_time_and_launches_nothing() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start();
    let bodies: Vec<String> = (1..=4).map(|number| pair.lab.body(number)).collect();
    let (id, _) = pair.create_on(0, &bodies[0]);
    let mut stream = Stream::open(&pair.controllers[0].url, &id);

    pair.cut(true);
    let [first, second] = &pair.controllers;
    eventually("it says that etcd is away", || {
        problems_of(first).contains("etcd does not answer").then_some(())
    });
    pair.create_on(1, &bodies[1]);
    let refused = first.post("/api/v1/sessions", &json!({"body_ip": bodies[2]}));
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (503, Some("not the leader")),
        "{refused:?}"
    );
    assert!(problems_of(first).contains("no creates are taken here"), "{}", problems_of(first));
    assert!(stream.plays() && pair.launched() == 2, "who plays goes on");
    pair.cut(false);
    eventually("it follows", || (lease_of(first)["leader"] == second.url).then_some(()));

    // One that stood still leads no more when it goes on, whatever it believed before.
    second.signal(Signal::STOP);
    pair.create_on(0, &bodies[2]);
    second.signal(Signal::CONT);
    let late = second.post("/api/v1/sessions", &json!({"body_ip": bodies[3]}));
    assert_eq!((late.status, pair.launched()), (503, 3), "{late:?}");

    // Without a majority nobody leads, and everybody goes on who plays.
    pair.etcd.kill_member(1);
    pair.etcd.kill_member(2);
    for controller in &pair.controllers {
        eventually("nobody leads", || (controller.get("/api/v1/health?ready").status == 503).then_some(()));
        assert_eq!(controller.post("/api/v1/sessions", &json!({"body_ip": bodies[3]})).status, 503);
    }
    assert!(stream.plays() && pair.launched() == 3);
    pair.etcd.start_member(1);
    let led = eventually("somebody leads again", || {
        pair.controllers.iter().position(|one| one.get("/api/v1/health?ready").status == 200)
    });
    pair.create_on(led, &bodies[3]);
    assert!(stream.plays() && pair.launched() == 4);
}

// SPEC 4: A new leader that cannot hear a worker knows what the one before began there (a table in
// etcd, written before each create and move, read before the first): such a body is taken (409)
// until its worker tells, counts as down or is deleted, and a move takes a number that nobody used;
// without a lease there is no table
// Also: `without_the_table_of_bodies_a_new_leader_starts_a_second_session`,
// `without_the_table_of_bodies_a_new_leader_moves_what_has_moved`,
// `a_new_leader_takes_no_create_before_it_has_read_the_table`,
// `a_body_of_a_silent_worker_is_taken_until_that_tells_or_counts_as_down`,
// `an_operator_who_deletes_a_worker_frees_its_bodies`,
// `the_table_follows_what_workers_have_and_what_is_on_its_way_to_them`,
// `a_move_waits_for_a_silent_worker_and_takes_a_number_that_nobody_used`,
// `an_entry_survives_the_way_to_etcd_and_back_and_opens_no_session`,
// `an_entry_of_the_table_of_bodies_is_written_while_this_leadership_lasts_only`,
// `the_table_of_bodies_is_read_in_pages_and_what_is_no_entry_is_left_out`,
// `without_a_lease_there_is_no_table`, `a_worker_may_tell_before_the_table_is_read`
#[test]
fn a_new_leader_that_cannot_hear_a_worker_knows_what_plays_there() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start();
    let [played, free] = [1, 2].map(|number| pair.lab.body(number));
    let other = pair.lab.worker("other", "", |config| {
        report_to(config, &pair.controllers.each_ref().map(|controller| controller.url.clone()));
    });
    for controller in &pair.controllers {
        eventually("it knows the other worker", || {
            controller.get("/api/v1/workers").body.contains("\"other\"").then_some(())
        });
    }
    // The second one does not hear the first worker any more, and never hears of the session.
    pair.to_second.cut(true);
    assert_eq!(pair.controllers[0].post("/api/v1/workers/other/drain", &json!({})).status, 204);
    let (id, _) = pair.create_on(0, &played);
    assert_eq!((pair.launched(), other.sessions().len()), (1, 0), "{:?}", pair.worker.sessions());
    assert_eq!(pair.controllers[0].delete("/api/v1/workers/other/drain").status, 204);

    pair.controllers[0].kill();
    // It leads, and another body is its to give.
    pair.create_on(1, &free);
    let second = &pair.controllers[1];
    let create = |body: &str| second.post("/api/v1/sessions", &json!({"body_ip": body}));
    for replace in [false, true] {
        let refused = second.post("/api/v1/sessions", &json!({"body_ip": played, "replace": replace}));
        let words = refused.body.clone();
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (409, Some("body already has a session")),
            "{words}"
        );
        assert!(words.contains("worker one") && words.contains(&id[..8]) && !words.contains(&id), "{words}");
        assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    }
    assert!(!second.get("/api/v1/sessions").body.contains(&id), "it has not heard of it");
    assert_eq!(
        (pair.launched(), other.sessions().len()),
        (1, 1),
        "nothing was started for a body that plays"
    );

    // Once the worker is heard it is a session as any other, and when that has ended the body is free.
    pair.to_second.cut(false);
    eventually("the second one hears of the session", || {
        second.get("/api/v1/sessions").body.contains(&id).then_some(())
    });
    assert_eq!(create(&played).json()["session_id"], json!(id));
    // A beat that the cut held up tells an old time of the worker, by which the lease seems to be over there: until the next one.
    eventually("its session ends", || {
        let reply = second.delete(&format!("/api/v1/sessions/{id}"));
        println!("{reply:?}");
        assert!(matches!(reply.status, 204 | 503), "{reply:?}");
        (reply.status == 204).then_some(())
    });
    pair.create_on(1, &played);
}

// SPEC 4: etcd is asked as a user where it wants one, a member that does not answer is left for the
// next, and what makes no sense is never a free lease
// Also: `a_member_that_does_not_answer_is_left_for_the_next`,
// `an_answer_that_makes_no_sense_is_trouble_and_never_a_free_lease`,
// `a_transaction_tells_who_leads_who_is_drained_and_what_is_new_of_namespaces`
#[test]
fn a_user_of_etcd_logs_in_again_when_its_token_is_worth_nothing_any_more() {
    if !etcd::is_there() {
        return;
    }
    let lab = Lab::new();
    let etcd = Etcd::start(&lab.dir, 1);
    let url = etcd.urls().remove(0);
    let call = |path: &str, document: Value| {
        let reply = http::request(&url, "POST", &format!("/v3/{path}"), &[], &document.to_string());
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    };
    // "/hydraneckwebrtc/" and, for the end of the range, "/hydraneckwebrtc0".
    let permission = json!({"permType": "READWRITE", "key": "L2h5ZHJhbmVja3dlYnJ0Yy8=", "range_end": "L2h5ZHJhbmVja3dlYnJ0YzA="});
    call("auth/role/add", json!({"name": "root"}));
    call("auth/role/add", json!({"name": "neck"}));
    call("auth/role/grant", json!({"name": "neck", "perm": permission}));
    for (user, role) in [("root", "root"), ("neck", "neck")] {
        call("auth/user/add", json!({"name": user, "password": "a-password-of-etcd"}));
        call("auth/user/grant", json!({"user": user, "role": role}));
    }
    call("auth/enable", json!({}));
    let mut controller = lab.controller(|config| {
        config["lease"] =
            json!({"etcd": [url], "ttl": TTL, "username": "neck", "password": "another-password"});
    });
    eventually("it says that its password is wrong", || {
        problems_of(&controller).contains("check lease.username and lease.password").then_some(())
    });
    controller.restart_with(|config| config["lease"]["password"] = json!("a-password-of-etcd"));
    eventually("it leads", || (lease_of(&controller)["state"] == "leader").then_some(()));
    let number = lease_of(&controller)["number"].clone();
    // Tokens are gone with the member.
    let mut etcd = etcd;
    etcd.kill_member(0);
    eventually("it fades", || (lease_of(&controller)["state"] != "leader").then_some(()));
    etcd.start_member(0);
    eventually("it leads again", || (lease_of(&controller)["state"] == "leader").then_some(()));
    println!("lease number {number}, then {}", lease_of(&controller)["number"]);
    controller.assert_log_keeps_secrets(&["a-password-of-etcd", "another-password"]);
}
