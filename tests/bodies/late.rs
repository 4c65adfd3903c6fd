//! Pairing on a busy host and a busy body: keys that come late, PINs that others take, turns.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, Event, Outcome};

use crate::farm::Farm;
use crate::http;
use crate::lab::{NOBODY, Role, eventually};

fn patient(farm: &Farm) -> Role {
    farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["create_timeout"] = json!("40s");
        config["bodies"]["pair_timeout"] = json!("12s");
    })
}

fn create(worker: &Role, body: &Body) -> http::Reply {
    worker.post("/api/v1/sessions", &json!({"body_ip": body.ip()}))
}

fn outcomes(body: &Body) -> Vec<Outcome> {
    let ended = |event| match event {
        Event::PairingEnded { outcome, .. } => Some(outcome),
        _ => None,
    };
    body.events().into_iter().filter_map(ended).collect()
}

/// Somebody else's client: it waits for a PIN, and then proves another one.
fn living_room(body: &Body) -> std::thread::JoinHandle<()> {
    let url = format!("http://{}:{}", body.ip(), body.ports().http);
    std::thread::spawn(move || {
        let waited = http::get(&url, "/pair?uniqueid=living-room&phrase=getservercert", None);
        assert!(waited.expect("an answer").body.contains("<paired>1</paired>"));
        let proof = "/pair?uniqueid=living-room&phrase=clientchallenge&proof=none";
        let _ = http::get(&url, proof, None);
    })
}

#[test]
fn a_key_that_comes_late_is_waited_for() {
    let farm = Farm::new();
    farm.lab.faults(json!({"key_ms": 6000}));
    let worker = patient(&farm);
    let body = farm.body(2, BodyFaults::default());
    let reply = create(&worker, &body);
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
    assert_eq!(outcomes(&body), [Outcome::Paired], "in the first attempt");
}

// SPEC 5 bodies: A PIN that another waiting client takes is given again; a failed attempt or create
// leaves nothing waiting at the body
// Also: `a_leftover_of_a_failed_create_does_not_take_the_next_ones_pin`,
// `a_failed_create_leaves_neither_a_client_nor_a_waiting_pairing`
#[test]
fn a_pin_that_another_client_takes_is_given_again() {
    let farm = Farm::new();
    // The other waits while our key is made, so it takes our PIN.
    farm.lab.faults(json!({"key_ms": 700}));
    let worker = patient(&farm);
    let body = farm.body(2, BodyFaults::default());
    let other = living_room(&body);
    eventually("the other waits", || (!body.waiting_clients().is_empty()).then_some(()));
    let reply = create(&worker, &body);
    other.join().expect("the other has its answer");
    assert_eq!(reply.status, 201, "{}\n{:?}\n{}", reply.body, body.timeline(), worker.log_text());
    assert!(outcomes(&body).contains(&Outcome::WrongPin), "the other took it: {:?}", body.events());
    let next = create(&worker, &farm.body(3, BodyFaults::default()));
    assert_eq!(next.status, 201, "{}", next.body);
}

#[test]
fn a_leftover_of_a_failed_create_does_not_take_the_next_ones_pin() {
    let farm = Farm::new();
    farm.lab.faults(json!({"key_ms": 300}));
    let worker = farm.worker("one", NOBODY);
    let body =
        farm.body(2, BodyFaults { leftovers_wait: true, pin_always_false: true, ..BodyFaults::default() });
    assert_eq!(create(&worker, &body).status, 502);
    body.change_faults(|faults| faults.pin_always_false = false).expect("changes");
    let before = body.events().len();
    let reply = create(&worker, &body);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let since = &body.events()[before..];
    let taken = since.iter().filter(|event| matches!(event, Event::PinPosted { accepted: true, .. })).count();
    assert_eq!(taken, 1, "a leftover took a PIN: {since:?}");
}

#[test]
fn a_pairing_that_takes_its_time_is_not_broken_by_another_pin() {
    let farm = Farm::new();
    farm.lab.faults(json!({"proof_ms": 2000}));
    let worker = patient(&farm);
    let body = farm.body(2, BodyFaults::default());
    let reply = create(&worker, &body);
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(outcomes(&body), [Outcome::Paired], "{:?}", body.timeline());
}

// SPEC 5 bodies: Applications that are not listed right after the pairing are asked for again;
// failing is `application list failed`, not a refused pairing
#[test]
fn applications_that_are_not_listed_at_once_are_asked_for_again() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, BodyFaults { fail_app_lists: 2, ..BodyFaults::default() });
    let reply = create(&worker, &body);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let never = farm.body(3, BodyFaults { fail_app_lists: u32::MAX, ..BodyFaults::default() });
    let failed = create(&worker, &never);
    assert_eq!(failed.json()["error"], "application list failed", "{}", failed.body);
    assert!(!failed.body.contains("refused the pairing"), "{}", failed.body);
    assert_eq!(outcomes(&never), [Outcome::Paired], "it is not paired again");
}

/// Creates for all bodies at once; the answers.
fn all_at_once(worker: &Role, bodies: &[Body]) -> Vec<Value> {
    let replies = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for body in bodies {
            let replies = &replies;
            scope.spawn(move || {
                let reply = create(worker, body);
                assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
                replies.lock().expect("no panic").push(reply.json());
            });
        }
    });
    replies.into_inner().expect("no panic")
}

// SPEC 5 bodies: At most `sessions.pairings_at_once` at a time, first come first served, the rest
// waits; bodies that take no PIN keep nobody waiting for long
// Also: `bodies_that_take_no_pin_do_not_keep_others_waiting`,
// `no_more_than_allowed_pair_at_once_and_in_their_order`,
// `who_leaves_the_line_keeps_nobody_waiting`,
// `a_body_that_takes_no_pin_keeps_others_waiting_for_a_while_only`, `a_limit_of_none_is_one`
#[test]
fn pairings_wait_for_their_turn_and_say_how_long() {
    let farm = Farm::new();
    farm.lab.faults(json!({"key_ms": 400}));
    let worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["create_timeout"] = json!("40s");
        config["sessions"]["pairings_at_once"] = json!(1);
    });
    let bodies: Vec<Body> = (2..6).map(|number| farm.body(number, BodyFaults::default())).collect();
    let replies = all_at_once(&worker, &bodies);
    let mut queued: Vec<u64> =
        replies.iter().map(|reply| reply["timings"]["queue_ms"].as_u64().expect("a time")).collect();
    queued.sort_unstable();
    println!("queued for {queued:?} ms");
    for (place, waited) in (0_u64..).zip(&queued) {
        assert!(*waited >= place * 400, "place {place}: {queued:?} ms");
    }
    worker.wait_for_log("queue ");
}

#[test]
fn bodies_that_take_no_pin_do_not_keep_others_waiting() {
    let farm = Farm::new();
    let worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["create_timeout"] = json!("40s");
        config["sessions"]["pairings_at_once"] = json!(1);
        config["bodies"]["pair_timeout"] = json!("30s");
    });
    let stuck = farm.body(2, BodyFaults { pin_always_false: true, ..BodyFaults::default() });
    let begun = worker.post("/api/v1/sessions", &json!({"body_ip": stuck.ip(), "wait": false}));
    assert_eq!(begun.status, 202, "{}", begun.body);
    eventually("it waits for its PIN", || (!stuck.waiting_clients().is_empty()).then_some(()));
    let since = Instant::now();
    let reply = create(&worker, &farm.body(3, BodyFaults::default()));
    assert_eq!(reply.status, 201, "{}", reply.body);
    println!("another create took {:?}", since.elapsed());
    let id = begun.json()["session_id"].as_str().expect("an id").to_owned();
    let status = worker.session(&id).expect("listed")["status"].clone();
    assert_eq!(status, "pairing", "it was over before it was overtaken");
}

// SPEC 5 bodies: A create's answer, its failure and the log tell how long each phase took
// Also: `each_phase_has_its_time_and_a_restart_changes_none`,
// `a_create_that_fails_tells_where_its_time_went`
#[test]
fn a_create_tells_where_its_time_went() {
    let farm = Farm::new();
    farm.lab.faults(json!({"key_ms": 300}));
    let controller = farm.lab.controller(|_| ());
    let worker = farm.worker("one", &controller.url);
    eventually("the worker is up", || {
        let health = controller.get("/api/v1/health").json();
        (health["extra"]["workers"]["up"] == 1 && health["extra"]["settling"] == false).then_some(())
    });
    let body = farm.body(2, BodyFaults::default());
    let since = Instant::now();
    let reply = create(&controller, &body);
    let took = since.elapsed();
    assert_eq!(reply.status, 201, "{}", reply.body);
    let timings = reply.json()["timings"].clone();
    println!("{timings} of {took:?}");
    let ms = |name: &str| timings[name].as_u64().unwrap_or_else(|| panic!("{name} is not in {timings}"));
    assert!(ms("pair_ms") >= 300, "{timings}");
    let parts: u64 = ["prepare_ms", "start_ms", "queue_ms", "pair_ms", "apps_ms"].map(ms).iter().sum();
    assert!(parts <= ms("total_ms") + 5, "{timings}");
    assert!(Duration::from_millis(ms("total_ms")) <= took, "{timings} of {took:?}");
    worker.wait_for_log("ready after");
    // A create that fails tells it as well, and so does one that was not waited for.
    let mute = farm.body(3, BodyFaults { pin_always_false: true, ..BodyFaults::default() });
    let failed = create(&controller, &mute);
    assert_eq!(failed.status, 502, "{}", failed.body);
    assert!(failed.json()["timings"]["pair_ms"].as_u64().is_some_and(|ms| ms >= 3000), "{}", failed.body);
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    let seen = worker.get(&format!("/api/v1/sessions/{id}")).json();
    assert_eq!(seen["timings"], timings, "{seen}");
}
