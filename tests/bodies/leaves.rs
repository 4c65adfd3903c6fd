//! What a session leaves on its body when it is over, however it ended: nothing. What is others' stays as it was.

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, Event};

use crate::farm::{Farm, play};
use crate::lab::{NOBODY, Role, eventually, eventually_equal};

/// The desktop's id in Sunshine, and some other application's.
const DESKTOP: u32 = 881_448_767;
const OTHER: u32 = 303_580_669;

/// Clients that are somebody's, two of them with names that begin like ours.
const OTHERS: [&str; 3] = ["Living room", "neck-0123456-1", "neck-lace"];

fn no() -> BodyFaults {
    BodyFaults::default()
}

fn with_others(body: Body) -> Body {
    OTHERS.iter().for_each(|name| body.add_client(&format!("id of {name}"), name));
    body
}

fn others() -> Vec<String> {
    OTHERS.iter().map(|name| (*name).to_owned()).collect()
}

fn end(worker: &Role, id: &str) {
    let ended = worker.delete(&format!("/api/v1/sessions/{id}"));
    assert_eq!(ended.status, 204, "{}\n{}", ended.body, worker.log_text());
}

fn create(worker: &Role, request: &Value) -> crate::http::Reply {
    worker.post("/api/v1/sessions", request)
}

// SPEC 5 bodies: What was paired is unpaired at the end, over restarts of the process, after
// failures, at the next start after a kill; others' clients stay
// Also: `a_restart_of_the_stream_process_keeps_the_pairing_until_the_end`,
// `a_killed_worker_takes_everything_away_at_its_next_start`,
// `without_the_management_api_gamestream_unpairs`,
// `clients_that_older_sessions_piled_up_go_with_the_next_create`,
// `only_the_names_of_sessions_are_ours_to_unpair`,
// `an_element_is_found_and_an_error_told_from_an_answer`,
// `a_body_is_after_many_sessions_what_it_was_before`,
// `a_body_is_after_two_hundred_sessions_what_it_was_before` (tests/bodies/two-hundred)
#[test]
fn a_sessions_client_is_unpaired_at_its_end_and_others_stay() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = with_others(farm.body(2, no()));
    for _ in 0..2 {
        let id = worker.create("127.0.3.2");
        assert_eq!(body.client_names().len(), OTHERS.len() + 1, "{:?}", body.client_names());
        end(&worker, &id);
        assert_eq!(body.client_names(), others(), "{:?}\n{}", body.events(), worker.log_text());
    }
}

#[test]
fn a_failed_create_leaves_neither_a_client_nor_a_waiting_pairing() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = with_others(farm.body(2, BodyFaults { fail_app_lists: u32::MAX, ..no() }));
    let unlisted = create(&worker, &json!({"body_ip": "127.0.3.2"}));
    assert_eq!(unlisted.status, 502, "{}", unlisted.body);
    assert_eq!(body.client_names(), others(), "{:?}", body.events());
    body.set_faults(BodyFaults { pin_always_false: true, leftovers_wait: true, ..no() }).expect("changes");
    let refused = create(&worker, &json!({"body_ip": "127.0.3.2"}));
    assert_eq!(refused.status, 502, "{}", refused.body);
    assert_eq!(body.waiting_clients(), Vec::<String>::new(), "{:?}", body.events());
    assert_eq!(body.client_names(), others());
    // A session that is ended while it pairs leaves as little.
    let early = create(&worker, &json!({"body_ip": "127.0.3.2", "wait": false})).json();
    eventually("it waits for its PIN", || (!body.waiting_clients().is_empty()).then_some(()));
    end(&worker, early["session_id"].as_str().expect("an id"));
    assert_eq!(body.waiting_clients(), Vec::<String>::new(), "{:?}", body.events());
    body.set_faults(BodyFaults { leftovers_wait: true, ..no() }).expect("changes");
    let id = worker.create("127.0.3.2");
    end(&worker, &id);
    assert_eq!(body.client_names(), others());
}

// SPEC 5 bodies: `sessions.close_app`: what the session started is closed, never what runs for
// others
// Also: `what_runs_for_somebody_else_is_not_closed`,
// `an_application_stays_when_the_setting_says_so`,
// `an_application_that_nobody_watched_was_not_started`
#[test]
fn what_a_session_started_is_closed_at_its_end() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, no());
    let id = worker.create("127.0.3.2");
    let stream = play(&worker, &id, &body);
    end(&worker, &id);
    drop(stream);
    assert_eq!(body.running_app(), 0, "{:?}\n{}", body.events(), worker.log_text());
}

#[test]
fn what_runs_for_somebody_else_is_not_closed() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, no());
    // Somebody started something after a session that nobody opened, and after one that was played.
    let id = worker.create("127.0.3.2");
    body.run_app(DESKTOP);
    end(&worker, &id);
    assert_eq!(body.running_app(), DESKTOP, "nobody opened the session: {:?}", body.events());
    body.run_app(0);
    let id = worker.create("127.0.3.2");
    let stream = play(&worker, &id, &body);
    body.run_app(OTHER);
    end(&worker, &id);
    drop(stream);
    assert_eq!(body.running_app(), OTHER, "it is another application: {:?}", body.events());
    // What could not be closed at the beginning is not closed at the end.
    let faults = BodyFaults { refuses_to_close: true, running_app: Some(DESKTOP), ..no() };
    body.set_faults(faults).expect("changes");
    let id = worker.create("127.0.3.2");
    let warnings = worker.session(&id).expect("listed")["warnings"].to_string();
    assert!(warnings.contains("goes on running"), "{warnings}");
    let stream = play(&worker, &id, &body);
    body.change_faults(|faults| faults.refuses_to_close = false).expect("changes");
    end(&worker, &id);
    drop(stream);
    assert_eq!(body.running_app(), DESKTOP, "it ran before: {:?}", body.events());
}

#[test]
fn an_application_stays_when_the_setting_says_so() {
    let farm = Farm::new();
    let worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["close_app"] = json!(false);
    });
    let body = farm.body(2, no());
    let id = worker.create("127.0.3.2");
    let stream = play(&worker, &id, &body);
    end(&worker, &id);
    drop(stream);
    assert_eq!(body.running_app(), DESKTOP, "{:?}", body.events());
    assert_eq!(body.client_names(), Vec::<String>::new());
}

#[test]
fn a_killed_worker_takes_everything_away_at_its_next_start() {
    let farm = Farm::new();
    let mut worker = farm.worker("one", NOBODY);
    let body = with_others(farm.body(2, no()));
    let untouched = with_others(farm.body(3, no()));
    let id = worker.create("127.0.3.2");
    let _still = play(&worker, &id, &body);
    let _second = worker.create("127.0.3.3");
    untouched.run_app(DESKTOP);
    worker.kill();
    assert_eq!(body.client_names().len(), OTHERS.len() + 1);
    worker.restart();
    eventually_equal("both are unpaired", &[others(), others()], || {
        [body.client_names(), untouched.client_names()]
    });
    eventually_equal("the application is closed", &0, || body.running_app());
    assert_eq!(untouched.running_app(), DESKTOP, "nobody watched there: {:?}", untouched.events());
}

#[test]
fn a_body_that_was_given_to_another_session_meanwhile_keeps_what_runs() {
    let farm = Farm::new();
    let mut worker = farm.worker("one", NOBODY);
    let body = farm.body(2, no());
    let id = worker.create("127.0.3.2");
    let _still = play(&worker, &id, &body);
    worker.kill();
    // Another worker of the fleet, which got the body meanwhile.
    body.add_client("neck-fedcba98-1", "neck-fedcba98-1");
    worker.restart();
    eventually_equal("only the other's client is left", &vec!["neck-fedcba98-1".to_owned()], || {
        body.client_names()
    });
    worker.wait_for_log("is taken away");
    assert_eq!(body.running_app(), DESKTOP, "{:?}", body.events());
}

// SPEC 5 bodies: A body that is away at the end is cleared by the next create; one that another
// session has meanwhile keeps what runs
// Also: `a_body_that_was_given_to_another_session_meanwhile_keeps_what_runs`,
// `another_sessions_client_tells_that_the_body_is_not_ours_any_more`
#[test]
fn a_body_that_was_away_at_the_end_is_cleared_by_the_next_create() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, no());
    let id = worker.create("127.0.3.2");
    let old = body.client_names();
    body.die();
    end(&worker, &id);
    worker.wait_for_log("cannot be reached");
    body.revive().expect("back again");
    let id = worker.create("127.0.3.2");
    let now = body.client_names();
    assert!(now.len() == 1 && now != old, "{now:?} after {old:?}");
    end(&worker, &id);
    assert_eq!(body.client_names(), Vec::<String>::new());
}

#[test]
fn without_the_management_api_gamestream_unpairs() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = with_others(farm.body(2, no()));
    let id = worker.create("127.0.3.2");
    body.change_faults(|faults| faults.management_absent = true).expect("changes");
    end(&worker, &id);
    assert_eq!(body.client_names(), others(), "{:?}", body.events());
    // Where neither can, that is a warning, and tried again.
    body.set_faults(BodyFaults { no_gamestream_unpair: true, ..no() }).expect("changes");
    let id = worker.create("127.0.3.2");
    body.change_faults(|faults| faults.wrong_password = true).expect("changes");
    end(&worker, &id);
    worker.wait_for_log("still lists this session's client");
    assert_eq!(body.client_names().len(), OTHERS.len() + 1);
    body.set_faults(no()).expect("changes");
    let id = worker.create("127.0.3.2");
    end(&worker, &id);
    assert_eq!(body.client_names(), others());
}

#[test]
fn clients_that_older_sessions_piled_up_go_with_the_next_create() {
    let farm = Farm::new();
    let worker = farm.worker("one", NOBODY);
    let body = with_others(farm.body(2, no()));
    for number in 0..50 {
        let name = format!("neck-{number:08x}-1");
        body.add_client(&name, &name);
    }
    let id = worker.create("127.0.3.2");
    assert_eq!(body.client_names().len(), OTHERS.len() + 1, "{:?}", body.client_names());
    end(&worker, &id);
    assert_eq!(body.client_names(), others());
}

#[test]
fn a_restart_of_the_stream_process_keeps_the_pairing_until_the_end() {
    let farm = Farm::new();
    farm.lab.faults(json!({"crash_after_ms": 1500, "crash_once": true}));
    let worker = farm.worker("one", NOBODY);
    let body = farm.body(2, no());
    let id = worker.create("127.0.3.2");
    eventually("it was restarted", || {
        worker.session(&id).filter(|session| session["restarts"] == 1 && session["status"] == "ready")
    });
    assert_eq!(body.client_names().len(), 1, "{:?}", body.events());
    let began = |event: &&Event| matches!(event, Event::PairingBegan { .. });
    assert_eq!(body.events().iter().filter(began).count(), 1, "{:?}", body.events());
    let stream = play(&worker, &id, &body);
    end(&worker, &id);
    drop(stream);
    assert_eq!((body.client_names().len(), body.running_app()), (0, 0), "{:?}", body.events());
}

// SPEC 5 bodies: `sessions.keep_pairing`: one pairing per body, over restarts; made anew when the
// body forgot it, unpaired when the setting goes
#[test]
fn one_pairing_per_body_is_kept_when_the_setting_says_so() {
    let farm = Farm::new();
    let mut worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["keep_pairing"] = json!(true);
    });
    let body = with_others(farm.body(2, no()));
    let pairings = || {
        let events = body.events();
        events.iter().filter(|event| matches!(event, Event::PairingBegan { .. })).count()
    };
    for _ in 0..2 {
        let id = worker.create("127.0.3.2");
        let stream = play(&worker, &id, &body);
        end(&worker, &id);
        drop(stream);
        assert_eq!((body.client_names().len(), body.running_app()), (OTHERS.len() + 1, 0));
    }
    assert_eq!(pairings(), 1, "{:?}\n{}", body.events(), worker.log_text());
    worker.restart();
    let id = worker.create("127.0.3.2");
    end(&worker, &id);
    assert_eq!(pairings(), 1, "kept over a restart: {}", worker.log_text());
    body.forget_pairings();
    let id = worker.create("127.0.3.2");
    end(&worker, &id);
    assert_eq!((pairings(), body.client_names().len()), (2, 1), "the body forgot: {}", worker.log_text());
    worker.restart_with(|config| config["sessions"]["keep_pairing"] = json!(false));
    eventually_equal("nothing is kept any more", &0, || body.client_names().len());
}
