//! Pairing of the stand-in web-server with the stand-in body, over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;
use stand_ins::sunshine::{Body, BodyFaults, Event, Outcome};

use crate::client::*;
use crate::stand_in_support::{Site, until};

#[test]
fn a_pairing_goes_from_the_host_over_the_pin_to_the_apps_and_survives_a_restart() {
    let (site, body) = (Site::new(), body());
    let mut child = site.start();
    let host = add_host(&child, &body, "fresh");
    assert_eq!((&host["paired"], &host["server_state"]), (&json!("NotPaired"), &json!("Free")), "{host}");
    let id = host["host_id"].as_u64().expect("an id");
    assert_eq!(apps_status(&child, "fresh", id), 500, "not paired");
    let begun = Instant::now();
    let mut call = begin_pair(&child, "fresh", id);
    let refused = post_pin_until_taken(&body, &call.pin);
    let line = call.next_line();
    let took = begun.elapsed();
    assert_eq!(line["Paired"]["host_id"], json!(id), "{line}");
    println!("paired after {took:?}, {refused} PIN posts were too early");
    assert!(took >= Duration::from_millis(121), "{refused} refused, {took:?}");
    assert_eq!(apps_status(&child, "fresh", id), 200);
    assert_eq!(apps_status(&child, "other", id), 500, "hosts belong to their user");
    assert_eq!(child.end("INT"), Some(0));
    let again = site.start();
    assert_eq!(apps_status(&again, "fresh", id), 200, "paired over a restart");
    assert_eq!((body.paired_clients(), outcomes(&body)), (vec!["fresh".into()], vec![Outcome::Paired]));
}

#[test]
fn a_wrong_pin_fails_this_pairing_and_the_next_one() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = add_host_id(&child, &body, "one");
    let mut call = begin_pair(&child, "one", id);
    let wrong = if call.pin == "0000" { "0001" } else { "0000" };
    post_pin_until_taken(&body, wrong);
    assert_eq!(call.next_line(), json!("PairError"));
    let id = add_host_id(&child, &body, "two");
    assert_eq!(begin_pair(&child, "two", id).next_line(), json!("PairError"), "at once, without a PIN");
    pair(&child, &body, "three");
    assert_eq!(outcomes(&body), [Outcome::WrongPin, Outcome::Refused, Outcome::Paired]);
    assert_eq!(body.max_pairings_at_once(), 1);
}

#[test]
fn a_dropped_request_does_not_cancel_its_pairing() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = add_host_id(&child, &body, "u");
    let pin = begin_pair(&child, "u", id).pin;
    post_pin_until_taken(&body, &pin);
    until("paired all the same", || apps_status(&child, "u", id) == 200);
}

#[test]
fn a_killed_child_abandons_its_pairing_and_spoils_the_next() {
    let (site, body) = (Site::new(), body());
    let mut child = site.start();
    let id = add_host_id(&child, &body, "u");
    let call = begin_pair(&child, "u", id);
    until("it waits", || body.events().iter().any(|event| matches!(event, Event::PairingBegan { .. })));
    child.end("KILL");
    drop((call, child));
    until("the body notices", || outcomes(&body) == [Outcome::Abandoned]);
    let child = site.start();
    let id = add_host_id(&child, &body, "v");
    assert_eq!(begin_pair(&child, "v", id).next_line(), json!("PairError"));
    pair(&child, &body, "w");
}

#[test]
fn a_host_that_is_paired_cannot_be_paired_until_it_is_forgotten() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = pair(&child, &body, "u");
    assert_eq!(begin_pair(&child, "u", id).next_line(), json!("PairError"), "paired already");
    body.forget_pairings();
    assert_eq!(apps_status(&child, "u", id), 500, "the body forgot us");
    assert_eq!(begin_pair(&child, "u", id).next_line(), json!("PairError"), "the child did not");
    assert_eq!(as_user(&child, "u", "DELETE", &format!("/api/host?host_id={id}"), "").status, 200);
    pair(&child, &body, "u");
}

#[test]
fn two_pairings_at_once_are_seen_and_one_takes_the_pin_of_the_other() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let began = |count| {
        move |body: &Body| {
            body.events().iter().filter(|event| matches!(event, Event::PairingBegan { .. })).count() == count
        }
    };
    let first = begin_pair(&child, "one", add_host_id(&child, &body, "one"));
    until("the first waits", || began(1)(&body));
    let mut second = begin_pair(&child, "two", add_host_id(&child, &body, "two"));
    until("the second waits", || began(2)(&body));
    post_pin_until_taken(&body, &first.pin);
    if first.pin != second.pin {
        assert_eq!(second.next_line(), json!("PairError"), "it took the other's");
    }
    assert_eq!(body.max_pairings_at_once(), 2);
}

#[test]
fn an_already_paired_body_pairs_again_once_it_is_unpaired() {
    let (site, body) = (Site::new(), body_with(BodyFaults { already_paired: true, ..BodyFaults::default() }));
    let child = site.start();
    let host = add_host(&child, &body, "u");
    assert_eq!(host["paired"], json!("Paired"), "{host}");
    let xml = stream_call(&body, "/pair?uniqueid=u&phrase=getservercert");
    assert!(xml.contains("<paired>0</paired>"), "{xml}");
    stream_call(&body, "/unpair?uniqueid=u");
    pair(&child, &body, "u");
}
