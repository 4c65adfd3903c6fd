//! The control API of both roles: health, workers, drain, auth, refusals, progress, pages of ended sessions.

use serde_json::{Value, json};

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};

fn health(role: &Role, token: Option<&str>) -> Value {
    let reply = http::get(&role.url, "/api/v1/health", token).expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// A worker as the controller lists it.
fn listed(controller: &Role, id: &str) -> Option<Value> {
    let workers = controller.get("/api/v1/workers").json();
    workers["workers"].as_array()?.iter().find(|worker| worker["id"] == id).cloned()
}

fn wait_until_up(controller: &Role, id: &str) {
    eventually(&format!("{id} is up"), || listed(controller, id).filter(|worker| worker["status"] == "up"));
}

// SPEC 9: Health says `degraded` and why, always 200; sessions with process, directory,
// connections; ids whole only with the token
// Also: `in_an_empty_chroot_it_serves_health_and_says_what_is_missing`
#[test]
fn health_tells_operators_what_runs_and_strangers_only_short_ids() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| config["server"]["district"] = json!("north"));
    let worker = lab.worker("one", &controller.url, |config| config["server"]["district"] = json!("south"));
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    let id = controller.create(&body);

    let seen = health(&worker, None);
    assert_eq!((&seen["service"], &seen["district"]), (&json!("hydraneckwebrtc"), &json!("south")), "{seen}");
    assert_eq!(seen["version"], env!("CARGO_PKG_VERSION"));
    assert!(seen["uptime_seconds"].is_u64() && seen["extra"]["uptime"].is_string(), "{seen}");
    assert!(["ok", "degraded"].iter().any(|status| seen["status"] == *status), "{seen}");
    let extra = &seen["extra"];
    assert_eq!(extra["process_id"], worker.pid(), "{extra}");
    assert!(extra["wireguard"].is_boolean(), "{extra}");
    assert_eq!((&extra["active_sessions"], &extra["max_sessions"]), (&json!(1), &json!(15)), "{extra}");
    let session = &extra["sessions"][0];
    assert_eq!((&session["id"], &session["body_ip"]), (&json!(id[..8]), &json!(body)), "{session}");
    assert_eq!((&session["process_alive"], &session["data_directory_ok"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&session["status"], &session["active_connections"]),
        (&json!("ready"), &json!(0)),
        "{session}"
    );
    assert!(session["age"].is_string(), "{session}");
    assert_eq!(health(&worker, Some(TOKEN))["extra"]["sessions"][0]["id"], id, "whole with the token");
    assert_eq!(
        health(&worker, Some("wrong"))["extra"]["sessions"][0]["id"],
        id[..8],
        "short with a wrong one"
    );

    let mut stream = Stream::open(&controller.url, &id);
    assert!(stream.plays());
    let connections = || health(&worker, None)["extra"]["sessions"][0]["active_connections"].clone();
    eventually_equal("connections while it is watched", &json!(1), connections);
    drop(stream);
    eventually_equal("connections when it was left", &json!(0), connections);

    wait_until_up(&controller, "one");
    eventually_equal("the controller's sessions", &json!(1), || {
        health(&controller, None)["extra"]["sessions"]["active"].clone()
    });
    // On a busy machine it is late for a moment now and then.
    eventually_equal("the controller's status and workers", &(json!("ok"), one_worker()), || {
        let seen = health(&controller, None);
        (seen["status"].clone(), seen["extra"]["workers"].clone())
    });
    let seen = health(&controller, None);
    assert_eq!(seen["district"], "north", "{seen}");
    assert_eq!(seen["extra"]["capacity"], 15, "{seen}");
    assert!(!seen.to_string().contains(&id), "{seen}");
    for role in [&worker, &controller] {
        let ready = || http::get(&role.url, "/api/v1/health?ready", None).expect("an answer").status;
        eventually_equal(&format!("{} is ready", role.name), &200, ready);
    }
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(health(&worker, None)["extra"]["active_sessions"], 0);
}

/// Workers by their state, as a controller of one that is up counts them.
fn one_worker() -> Value {
    json!({"up": 1, "late": 0, "down": 0, "draining": 0})
}

// SPEC 3: 503 + `Retry-After` when no worker is healthy or all are full
// Also: `thirty_sessions_spread_evenly_and_survive_the_death_of_others`,
// `the_refusal_says_what_to_do`
#[test]
fn a_controller_without_workers_is_degraded_and_refuses_creates_with_a_time_to_come_back() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    assert_eq!(health(&controller, None)["status"], "degraded");
    let refused = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (503, true), "{refused:?}");
}

// SPEC 4: A drain takes no new sessions and survives restarts
// Also: `a_drain_survives_a_controller_restart_and_a_worker_restart`,
// `a_stopping_worker_gets_nothing_new_but_its_stop_is_no_drain`
#[test]
fn a_drained_worker_gets_no_new_sessions_and_stays_drained_over_a_restart_of_the_controller() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2), lab.body(3)];
    let mut controller = lab.controller(|_| ());
    let url = controller.url.clone();
    let (one, _two) = (lab.worker("one", &url, |_| ()), lab.worker("two", &url, |_| ()));
    ["one", "two"].iter().for_each(|id| wait_until_up(&controller, id));
    assert_eq!(controller.post("/api/v1/workers/one/drain", &json!({})).status, 204);
    let worker_of = |controller: &Role, body: &String| {
        let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["worker_id"].clone()
    };
    assert_eq!(worker_of(&controller, &bodies[0]), "two", "\"one\" is emptier by name, but drained");
    assert_eq!(listed(&controller, "one").expect("it is listed")["draining"], true);
    let draining = || health(&one, None)["extra"]["draining"].clone();
    eventually_equal("whether the worker drains", &json!(true), draining);
    let direct = one.post("/api/v1/sessions", &json!({"body_ip": bodies[1]}));
    assert_eq!((direct.status, direct.header("Retry-After").is_some()), (503, true), "{direct:?}");

    controller.kill();
    controller.restart();
    ["one", "two"].iter().for_each(|id| wait_until_up(&controller, id));
    assert_eq!(listed(&controller, "one").expect("it is listed")["draining"], true, "after the restart");
    assert_eq!(worker_of(&controller, &bodies[1]), "two");
    assert_eq!(controller.delete("/api/v1/workers/one/drain").status, 204);
    eventually_equal("whether the worker drains", &json!(false), draining);
    assert_eq!(worker_of(&controller, &bodies[2]), "one", "the emptier one again");
}

// SPEC 3: `body_ip` outside `sessions.allowed_bodies` is 403; loopback, link-local, multicast and
// our own only when listed
// Also: `a_body_outside_the_allowed_networks_is_refused`,
// `special_addresses_are_refused_in_every_form_even_when_everything_is_allowed`,
// `listing_a_network_inside_the_special_range_opens_it_and_nothing_more`,
// `every_form_of_an_ipv4_address_is_judged_alike`, `nothing_is_allowed_by_an_empty_list`
#[test]
fn bodies_outside_the_private_ranges_are_refused_by_default() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |config| {
        config["sessions"].as_object_mut().expect("a map").remove("allowed_bodies");
    });
    wait_until_up(&controller, "one");
    for body in [
        "127.0.0.1",
        "127.0.2.1",
        "169.254.1.1",
        "224.0.0.1",
        "0.0.0.0",
        "8.8.8.8",
        "::1",
        "fe80::1",
        "::ffff:127.0.0.1",
    ] {
        for role in [&worker, &controller] {
            let reply = role.post("/api/v1/sessions", &json!({"body_ip": body}));
            assert_eq!(
                (reply.status, reply.json()["error"].as_str()),
                (403, Some("body not allowed")),
                "{body}: {reply:?}"
            );
        }
    }
    assert!(worker.sessions().is_empty());
    assert!(controller.sessions().is_empty(), "a refusal is no session");
}

// SPEC 3: `wait: false` answers 202; progress and failure are shown
#[test]
fn a_create_that_is_not_waited_for_shows_its_progress_and_its_failure() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    wait_until_up(&controller, "one");
    for role in [&worker, &controller] {
        // What the worker was asked for by itself the controller hears a moment later.
        eventually("the controller has no session of this body", || {
            controller.sessions().iter().all(|session| session["status"] == "ended").then_some(())
        });
        let create = |faults: Value| {
            lab.faults(faults);
            let reply = role.post("/api/v1/sessions", &json!({"body_ip": body, "wait": false}));
            let answer = reply.json();
            assert_eq!((reply.status, &answer["worker_id"]), (202, &json!("one")), "{reply:?}");
            let id = answer["session_id"].as_str().expect("an id").to_owned();
            assert_eq!(answer["stream_url"], format!("{}/session/{id}/", role.url), "{answer}");
            assert!(answer["status"].is_string(), "{answer}");
            id
        };
        let look = |id: &str| role.get(&format!("/api/v1/sessions/{id}")).json();
        let id = create(json!({}));
        eventually("it becomes ready", || (look(&id)["status"] == "ready").then_some(()));
        assert_eq!(role.delete(&format!("/api/v1/sessions/{id}")).status, 204);

        let id = create(json!({"crash_after_ms": 0}));
        let ended = eventually("it fails", || Some(look(&id)).filter(|session| session["status"] == "ended"));
        assert_eq!(ended["reason"], "create_failed", "{ended}");
        assert_eq!(
            (&ended["failure"]["status"], &ended["failure"]["error"]),
            (&json!(502), &json!("stream process failed"))
        );
        lab.assert_nothing_left("one", &[]);
    }
}

// SPEC 3: DELETE answers 204 when nothing is left, at any moment of a session's life
// Also: `a_deleted_session_leaves_nothing_behind_on_the_worker_and_through_the_controller`
#[test]
fn a_session_that_starts_can_be_deleted_at_any_moment() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    lab.faults(json!({"hang": true}));
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "wait": false}));
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    eventually("it starts", || worker.session(&id).filter(|session| session["status"] == "starting"));
    let page = http::get_page(&worker.url, &format!("/session/{id}/"));
    assert_eq!((page.status, page.header("Retry-After").is_some()), (503, true), "{page:?}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    let ended = worker.get(&format!("/api/v1/sessions/{id}")).json();
    assert_eq!((&ended["reason"], &ended["failure"]["status"]), (&json!("deleted"), &json!(409)), "{ended}");
}

// SPEC 3: Bearer tokens (RFC 6750): 401 with `WWW-Authenticate`; a worker takes its controller's as
// well
// Also: `the_scheme_is_case_insensitive`
#[test]
fn the_admin_token_is_asked_for_and_a_worker_takes_its_controllers_as_well() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |config| {
        config["server"]["admin_token"] = json!("the-workers-own-token-01234");
    });
    let ask = |role: &Role, token: Option<&str>| {
        let reply = http::get(&role.url, "/api/v1/sessions", token).expect("an answer");
        (reply.status, reply.header("WWW-Authenticate").map(str::to_owned))
    };
    for role in [&worker, &controller] {
        assert_eq!(ask(role, None), (401, Some("Bearer".into())), "{}", role.name);
        let (status, challenge) = ask(role, Some("wrong"));
        assert_eq!(
            (status, challenge.unwrap_or_default().starts_with("Bearer ")),
            (401, true),
            "{}",
            role.name
        );
        assert_eq!(ask(role, Some(TOKEN)).0, 200, "{}", role.name);
    }
    assert_eq!(ask(&worker, Some("the-workers-own-token-01234")).0, 200);
    assert_eq!(ask(&controller, Some("the-workers-own-token-01234")).0, 401, "not the other way round");
}

// SPEC 3: Wrong tokens are counted (health), logged and slowed per address, IPv6 by /64; the right
// one always passes; memory is bounded
// Also: `an_address_that_is_wrong_too_often_waits_and_others_do_not`,
// `a_network_of_ipv6_is_one_address`, `memory_and_lines_are_bounded_whoever_tries`
#[test]
fn wrong_tokens_are_counted_logged_and_slowed_and_the_right_one_still_passes() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    wait_until_up(&controller, "one");
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "demo"}));
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    let publish = |token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("Content-Type", "application/sdp"), ("Authorization", bearer.as_str())];
        http::request(&worker.url, "POST", &format!("/session/{id}/whip"), &fields, "v=0")
    };
    let (list, health) = ("/api/v1/sessions", "/api/v1/health");
    for role in [&controller, &worker] {
        let ask = |path: &str, token: &str| http::get(&role.url, path, Some(token)).expect("an answer");
        assert_eq!(ask(list, "a-wrong-token").status, 401, "{}", role.name);
        let refused = (0..40).map(|_| ask(list, "a-wrong-token")).find(|reply| reply.status == 429);
        let refused = refused.expect("nothing slows wrong tokens");
        assert!(refused.header("Retry-After").is_some(), "{refused:?}");
        assert_eq!(ask(health, "a-wrong-token").status, 429, "health tells tokens apart as well");
        assert_eq!(ask(list, TOKEN).status, 200, "{}", role.name);
        let known = ask(health, TOKEN).json();
        assert!(known["extra"]["wrong_tokens"].as_u64().is_some_and(|count| count > 20), "{known}");
        assert_eq!(
            http::get(&role.url, list, None).expect("an answer").status,
            401,
            "no token is no wrong one"
        );
        role.wait_for_log("a wrong token from 127.0.0.1");
        let log = role.log_text();
        let lines = log.lines().filter(|line| line.contains("a wrong token from 127.0.0.1")).count();
        assert!((1..=8).contains(&lines) && !log.contains("a-wrong-token"), "{lines} lines\n{log}");
    }
    let refused = publish("a-wrong-token");
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (429, true), "{refused:?}");
    assert_eq!(publish(TOKEN).status, 400, "the right token is taken, the offer is none");
}

// SPEC 6: An ended or unknown id: a page with the way back, JSON for API-like requests
// Also: `api_like_requests_get_the_reason_as_json`, `a_hostile_return_url_stays_an_attribute`,
// `a_session_path_has_a_whole_id`
#[test]
fn the_page_of_an_ended_session_says_why_and_leads_back() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |config| {
        config["sessions"]["return_url"] = json!("https://back.example/start?a=1&b=2");
    });
    wait_until_up(&controller, "one");
    let id = controller.create(&body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    for role in [&worker, &controller] {
        let page = http::get_page(&role.url, &format!("/session/{id}/stream.html?hostId=1"));
        assert_eq!(
            (page.status, page.header("Content-Type")),
            (404, Some("text/html; charset=utf-8")),
            "{page:?}"
        );
        for part in [
            "Stream ended",
            "closed by the service",
            "https://back.example/start?a=1&amp;b=2",
            "Start new stream",
        ] {
            assert!(page.body.contains(part), "{part:?} is not in {}", page.body);
        }
        let reply = http::get(&role.url, &format!("/session/{id}/api/hosts"), None).expect("an answer");
        let answer = reply.json();
        assert_eq!((reply.status, &answer["code"], &answer["reason"]), (404, &json!(404), &json!("deleted")));
        let status = http::get(&role.url, &format!("/session/{id}/_neck/status"), None).expect("an answer");
        assert_eq!((status.status, &status.json()["reason"]), (404, &json!("deleted")), "{status:?}");
        let unknown = http::get_page(&role.url, &format!("/session/{}/", "cd".repeat(16)));
        assert_eq!((unknown.status, unknown.body.contains("Start new stream")), (404, true), "{unknown:?}");
        assert_eq!(role.delete(&format!("/api/v1/sessions/{id}")).status, 404, "a second DELETE");
    }
}

// SPEC 4: A worker that refuses before it began is followed by the next; after its answer was lost,
// never
// Also: `each_worker_has_one_turn_per_create_and_the_last_refusal_frees_everything`,
// `in_calm_weather_nobody_is_ever_over_capacity_or_asked_twice`
#[test]
fn a_create_goes_to_the_next_worker_when_the_first_is_dead_and_launches_once() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    // Long enough that the controller still believes in the dead worker.
    let controller = lab.controller(|config| config["workers"]["heartbeat_timeout"] = json!("60s"));
    let url = controller.url.clone();
    let (mut one, two) = (lab.worker("one", &url, |_| ()), lab.worker("two", &url, |_| ()));
    ["one", "two"].iter().for_each(|id| wait_until_up(&controller, id));
    one.kill();
    let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    assert_eq!((reply.status, &reply.json()["worker_id"]), (201, &json!("two")), "{reply:?}");
    assert_eq!((lab.stream_processes("one").len(), lab.stream_processes("two").len()), (0, 1));
    assert_eq!(two.sessions().len(), 1);
    assert_eq!(controller.sessions().len(), 1);
}
