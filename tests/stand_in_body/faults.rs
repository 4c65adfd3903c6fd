//! Each fault switch does what it says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stand_ins::sunshine::{BodyFaults, Event, Outcome, tls};

use crate::certificate::certificate_of;
use crate::client::*;
use crate::stand_in_support::{Site, until};

#[test]
fn ports_close_and_open_with_their_switches() {
    let body = body();
    let (ip, ports) = (body.ip(), body.ports());
    let seen = || (is_open(ip, ports.http), is_open(ip, ports.management), is_open(ip, ports.hydrabody));
    assert_eq!(seen(), (true, true, true));
    body.change_faults(|faults| faults.management_absent = true).expect("changes");
    assert_eq!(seen(), (true, false, true));
    body.change_faults(|faults| faults.hydrabody_absent = true).expect("changes");
    assert_eq!(seen(), (true, false, false));
    body.set_faults(BodyFaults::default()).expect("changes");
    assert_eq!(seen(), (true, true, true));
    body.die();
    assert_eq!(seen(), (false, false, false));
    body.revive().expect("revives");
    assert_eq!(seen(), (true, true, true));
    body.stop();
    assert_eq!(seen(), (false, false, false));
}

#[test]
fn a_slow_start_refuses_connections_until_its_time() {
    let begun = Instant::now();
    let body = body_with(BodyFaults { start_after_ms: 400, ..BodyFaults::default() });
    let early = is_open(body.ip(), body.ports().http);
    assert!(!early || begun.elapsed() >= Duration::from_millis(400), "open after {:?}", begun.elapsed());
    until("it opens", || is_open(body.ip(), body.ports().http));
    assert!(begun.elapsed() >= Duration::from_millis(400), "open after {:?}", begun.elapsed());
}

#[test]
fn a_body_that_dies_in_a_pairing_ends_it_with_an_error() {
    let (site, body) =
        (Site::new(), body_with(BodyFaults { dies_in_pairing: true, ..BodyFaults::default() }));
    let child = site.start();
    let id = add_host_id(&child, &body, "u");
    let mut call = begin_pair(&child, "u", id);
    let pin = json!({"pin": call.pin, "name": "n"}).to_string();
    until("the post that would be taken is cut", || {
        manage(&body, "POST", "/api/pin", &[RIGHT, JSON], &pin).is_err()
    });
    assert_eq!(call.next_line(), json!("PairError"));
    assert_eq!(outcomes(&body), [Outcome::Died]);
    assert!(!is_open(body.ip(), body.ports().http));
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    assert_eq!(as_user(&child, "u", "POST", "/api/host", &wanted).status, 404);
}

#[test]
fn pairings_can_be_told_to_fail_and_to_be_forgotten() {
    let (site, body) = (Site::new(), body_with(BodyFaults { fail_pairings: 1, ..BodyFaults::default() }));
    let child = site.start();
    let mut call = begin_pair(&child, "one", add_host_id(&child, &body, "one"));
    post_pin_until_taken(&body, &call.pin);
    assert_eq!(call.next_line(), json!("PairError"), "told to fail once");
    pair(&child, &body, "two");
    body.change_faults(|faults| faults.forgets_pairings = true).expect("changes");
    let id = pair(&child, &body, "three");
    assert_eq!(apps_status(&child, "three", id), 500, "forgotten");
    assert_eq!(outcomes(&body), [Outcome::Failed, Outcome::Paired, Outcome::Paired]);
}

#[test]
fn pins_can_be_told_to_be_late_or_never_taken() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    body.change_faults(|faults| faults.pin_accepted_after_ms = Some(500)).expect("changes");
    let begun = Instant::now();
    pair(&child, &body, "late");
    assert!(begun.elapsed() >= Duration::from_millis(500), "after {:?}", begun.elapsed());
    body.set_faults(BodyFaults {
        pin_always_false: true,
        pin_accepted_after_ms: Some(0),
        ..BodyFaults::default()
    })
    .expect("changes");
    let call = begin_pair(&child, "never", add_host_id(&child, &body, "never"));
    let waits = |event: &Event| matches!(event, Event::PairingBegan { client } if client == "never");
    until("it waits", || body.events().iter().any(waits));
    assert!(!post_pin(&body, &call.pin));
}

#[test]
fn slowness_wrong_passwords_and_garbage_come_when_they_are_switched_on() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    body.set_faults(BodyFaults {
        wrong_password: true,
        slow_management_ms: 200,
        slow_serverinfo_ms: 200,
        ..BodyFaults::default()
    })
    .expect("changes");
    let begun = Instant::now();
    assert_eq!(manage(&body, "GET", "/api/apps", &[RIGHT], "").expect("an answer").0, 401);
    add_host(&child, &body, "u");
    assert!(begun.elapsed() >= Duration::from_millis(400), "after {:?}", begun.elapsed());
    body.set_faults(BodyFaults {
        garbage_gamestream: true,
        garbage_management: true,
        garbage_hydrabody: true,
        ..BodyFaults::default()
    })
    .expect("changes");
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    assert_eq!(as_user(&child, "u", "POST", "/api/host", &wanted).status, 500);
    let texts =
        [manage(&body, "GET", "/api/apps", &[RIGHT], ""), hydrabody(&body, "/api/v1/stop", &json!({}))];
    for answer in texts {
        let (_, text) = answer.expect("an answer");
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
}

#[test]
fn the_certificate_of_the_management_api_can_change() {
    let body = body();
    let ours = tls::certificate().expect("a certificate");
    assert_eq!(certificate_of(&body), ours);
    body.change_faults(|faults| faults.other_certificate = true).expect("changes");
    assert_ne!(certificate_of(&body), ours);
    assert_eq!(get(&body, "/api/apps")["apps"][0]["name"], json!("Desktop"), "it serves with that one, too");
}
