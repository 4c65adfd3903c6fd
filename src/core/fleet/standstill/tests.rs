//! What a controller makes of time in which it did not run.

use super::*;
use crate::core::fleet::identity::WIRE_VERSION;
use crate::core::fleet::moves::NotMoved;
use crate::core::fleet::tests::{at, beat, brief, create, hear, id, name, settled, stamp};
use crate::core::fleet::wire::{Heartbeat, SessionBrief};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::fleet::{FORGET_AFTER, FleetEvent, Refused};
use crate::core::session::status::SessionStatus;

/// A fleet in which `a` plays a session that may move, and `b` nothing; a worker is down after 60 s.
fn playing() -> Fleet {
    let mut fleet = Fleet { ran: at(0), ..settled() };
    let plays = SessionBrief { movable: true, ..brief(1, 1, SessionStatus::Streaming, 5_000) };
    for (worker, sessions) in [("a", vec![plays]), ("b", vec![])] {
        hear(&mut fleet, at(0), &Heartbeat { wire: WIRE_VERSION, ..beat(worker, stamp(1, 1), sessions) });
    }
    fleet
}

fn health(fleet: &Fleet, now: Moment) -> [WorkerHealth; 2] {
    ["a", "b"].map(|worker| fleet.worker(now, &name(worker)).unwrap().health)
}

#[test]
fn what_a_controller_did_not_hear_while_it_stood_still_is_no_silence() {
    let mut fleet = playing();
    assert_eq!(fleet.runs(at(2)), None, "it ran all the time");
    assert_eq!(fleet.runs(at(302)), Some(Duration::from_secs(298)));
    assert_eq!(health(&fleet, at(302)), [WorkerHealth::Up; 2]);
    assert_eq!(fleet.tick(at(302)), [], "nothing has happened");
    assert_eq!(fleet.start_move(at(302), &id(1)), Err(NotMoved::NotNeeded));
    assert_eq!(fleet.reserve(at(302), &create(2, 1)), Err(Refused::AlreadyHasSession(id(1))));
    // What is not heard from now on counts.
    for now in 303..=357 {
        assert_eq!(fleet.runs(at(now)), None);
    }
    assert_eq!(health(&fleet, at(357)), [WorkerHealth::Late; 2], "56 s of silence, 2 before");
    hear(&mut fleet, at(357), &Heartbeat { wire: WIRE_VERSION, ..beat("b", stamp(1, 2), vec![]) });
    for now in 358..=358 + 3 {
        fleet.runs(at(now));
    }
    assert_eq!(health(&fleet, at(361)), [WorkerHealth::Down, WorkerHealth::Up]);
    assert!(fleet.start_move(at(361), &id(1)).is_ok());
}

#[test]
fn a_create_under_way_keeps_its_slot_while_the_controller_stands_still() {
    let mut fleet = playing();
    fleet.reserve(at(1), &create(2, 2)).unwrap();
    assert!(fleet.runs(at(200)).is_some());
    assert_eq!(fleet.tick(at(200)), []);
    assert_eq!(fleet.reserve(at(200), &create(3, 2)), Err(Refused::AlreadyHasSession(id(2))));
    for now in 201..262 {
        fleet.runs(at(now));
    }
    let expired = fleet.tick(at(261));
    let is_it =
        |event: &FleetEvent| matches!(event, FleetEvent::ReservationExpired(session, _) if *session == id(2));
    assert!(expired.iter().any(is_it), "45 s of the create and 15 s beyond: {expired:?}");
}

#[test]
fn who_has_just_started_or_begins_to_lead_waits_for_as_many_beats_as_ever() {
    let mut fleet = Fleet::new(at(0), crate::core::fleet::tests::settings());
    assert_eq!(fleet.settling_until(at(1)), Some(at(20)));
    assert!(fleet.runs(at(102)).is_some());
    assert_eq!(fleet.settling_until(at(102)), Some(at(120)));
    let mut fleet = playing();
    fleet.take_over(at(1), 1);
    fleet.set_bodies(at(1), 1, Vec::new());
    assert_eq!(fleet.settling_until(at(1)), Some(at(21)));
    assert!(fleet.runs(at(102)).is_some());
    assert_eq!(fleet.settling_until(at(102)), Some(at(121)), "a and b have not told of the lease yet");
}

#[test]
fn a_worker_is_forgotten_by_the_time_that_has_passed() {
    let mut fleet = playing();
    let much_later = at(0) + FORGET_AFTER + Duration::from_secs(60);
    fleet.runs(much_later);
    let news = fleet.tick(much_later);
    assert!(news.is_empty(), "an hour asleep is no hour of silence: {news:?}");
}
