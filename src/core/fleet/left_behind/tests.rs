//! What is left behind, one behaviour each; whole histories are in `tests/sim`.

use std::time::Duration;

use super::*;
use crate::core::fleet::identity::WIRE_VERSION;
use crate::core::fleet::left_copies::{FORGOTTEN_AT_ONCE, LEFT_LASTS, MOST_LEFT, TIDIED_EVERY};
use crate::core::fleet::tests::{at, beat, brief, hear, id, name, settled, stamp};
use crate::core::fleet::wire::HeartbeatReply;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

/// A copy as its worker lists it, ended for this reason or streaming.
fn copy(number: u32, reason: Option<EndReason>) -> SessionBrief {
    let status = if reason.is_some() { SessionStatus::Ended } else { SessionStatus::Streaming };
    SessionBrief { movable: true, copy: number, reason, ..brief(1, 1, status, 5_000) }
}

fn beats(
    fleet: &mut Fleet,
    now: Moment,
    worker: &str,
    (boot, seq): (u64, u64),
    list: &[SessionBrief],
) -> HeartbeatReply {
    let beat = Heartbeat { wire: WIRE_VERSION, ..beat(worker, stamp(boot, seq), list.to_vec()) };
    hear(fleet, now, &beat)
}

fn left(fleet: &Fleet) -> Vec<String> {
    fleet.left_behind().map(|entry| entry.to_string()).collect()
}

fn reasons(reply: &HeartbeatReply) -> Vec<(EndReason, Option<u32>)> {
    reply.end.iter().map(|order| (order.reason, order.copy)).collect()
}

const CRASHED: Option<EndReason> = Some(EndReason::Crashed);
const AT_A: &str = "a/10.10.0.1/01010101.0.left";

/// `a` is not heard any more, its session has gone on at `b`, and ended there so long ago that `b` does not list it.
fn moved_and_over() -> Fleet {
    let mut fleet = settled();
    fleet.set_left_behind(at(0), &[]);
    beats(&mut fleet, at(0), "a", (1, 1), &[copy(0, None)]);
    beats(&mut fleet, at(61), "b", (1, 1), &[]);
    let order = fleet.start_move(at(61), &id(1)).unwrap();
    assert!(fleet.arrived(at(63), &order, stamp(1, 1)).0);
    beats(&mut fleet, at(100), "b", (1, 2), &[copy(1, Some(EndReason::Quit))]);
    beats(&mut fleet, at(200), "b", (1, 3), &[]);
    assert!(fleet.session(at(200), &id(1)).is_none(), "nobody lists it any more");
    fleet
}

// SPEC 4: A worker that was away while its session went on elsewhere is told so however long it
// was away, by a controller that has restarted, and by one that leads since
#[test]
fn a_worker_that_comes_back_is_told_of_what_moved_away_long_ago_by_whoever_is_there() {
    let mut fleet = moved_and_over();
    assert_eq!(left(&fleet), [AT_A]);
    let written: Vec<(String, bool)> =
        fleet.take_body_changes().into_iter().map(|(entry, on)| (entry.to_string(), on)).collect();
    assert_eq!(written, [(AT_A.to_owned(), true)]);
    let mut restarted = settled();
    restarted.set_left_behind(at(0), &[AT_A.parse().unwrap()]);
    let mut leader = settled();
    leader.take_over(at(0), 5);
    leader.set_bodies(at(0), 5, vec![AT_A.parse().unwrap()]);
    for (mut fleet, who) in [(fleet, "it"), (restarted, "restarted"), (leader, "leads since")] {
        fleet.bodies_written(&[(AT_A.parse().unwrap(), true)]);
        let reply = beats(&mut fleet, at(500), "a", (2, 1), &[copy(0, CRASHED)]);
        assert_eq!(reasons(&reply), [(EndReason::Moved, Some(0))], "{who}");
        assert_eq!(left(&fleet), [AT_A], "{who}: it may not have heard it");
        beats(&mut fleet, at(510), "a", (2, 2), &[]);
        assert_eq!(left(&fleet), [""; 0], "{who}: it has");
        let removed = fleet.take_body_changes();
        assert!(removed.iter().any(|(entry, on)| entry.to_string() == AT_A && !on), "{who}: {removed:?}");
    }
}

#[test]
fn a_beat_that_was_begun_before_the_move_forgets_nothing() {
    let mut fleet = moved_and_over();
    let mut order = settled();
    order.set_left_behind(at(0), &[AT_A.parse().unwrap()]);
    // Its own list was begun before it had the session.
    beats(&mut order, at(29), "a", (1, 1), &[]);
    assert_eq!(left(&order), [AT_A]);
    beats(&mut order, at(31), "a", (1, 2), &[]);
    assert_eq!(left(&order), [""; 0]);
    // A later copy of the same session may well be there.
    let reply = beats(&mut fleet, at(500), "a", (2, 1), &[copy(2, None)]);
    assert_eq!((reasons(&reply), left(&fleet)), (vec![], vec![]));
}

#[test]
fn of_a_session_that_ended_nothing_comes_back_from_where_it_may_have_gone() {
    let mut fleet = settled();
    beats(&mut fleet, at(0), "a", (1, 1), &[copy(0, None)]);
    beats(&mut fleet, at(61), "b", (1, 1), &[]);
    let order = fleet.start_move(at(61), &id(1)).unwrap();
    fleet.lose_move(&order);
    let reply = beats(&mut fleet, at(70), "a", (2, 1), &[copy(0, CRASHED)]);
    assert!(reply.unsure && left(&fleet).is_empty(), "b may have it");
    fleet.tick(at(125));
    fleet.set_left_behind(at(125), &[]);
    assert!(
        beats(&mut fleet, at(126), "a", (2, 2), &[copy(0, CRASHED)]).unsure,
        "nobody would know if we died"
    );
    let changes = fleet.take_body_changes();
    fleet.bodies_written(&changes);
    let reply = beats(&mut fleet, at(127), "a", (2, 3), &[copy(0, CRASHED)]);
    assert_eq!((reply.unsure, reasons(&reply)), (false, vec![]), "its record is the one of a");
    assert_eq!(left(&fleet), ["b/10.10.0.1/01010101.1.left"]);
    let reply = beats(&mut fleet, at(300), "b", (2, 1), &[copy(1, CRASHED)]);
    assert_eq!(reasons(&reply), [(EndReason::Moved, Some(1))]);
}

#[test]
fn a_controller_that_does_not_know_yet_what_exists_judges_no_end() {
    let mut fleet = Fleet::new(at(0), crate::core::fleet::tests::settings());
    assert!(beats(&mut fleet, at(1), "a", (1, 1), &[copy(0, CRASHED)]).unsure);
    assert!(!beats(&mut fleet, at(21), "a", (1, 2), &[copy(0, CRASHED)]).unsure);
}

#[test]
fn what_is_left_behind_is_bounded_in_time_and_in_number_and_an_operator_forgets_it_with_its_worker() {
    let mut fleet = moved_and_over();
    assert_eq!(fleet.forget(at(200), &name("a")), Ok(()));
    assert_eq!(left(&fleet), [""; 0]);
    let mut fleet = moved_and_over();
    let last = at(63) + LEFT_LASTS;
    fleet.tick(last - Duration::from_secs(1));
    assert_eq!(left(&fleet), [AT_A]);
    let news = fleet.tick(last + TIDIED_EVERY);
    assert!(news.contains(&FleetEvent::LeftForgotten(1)), "{news:?}");
    assert_eq!(left(&fleet), [""; 0]);
    let many = u32::try_from(MOST_LEFT).unwrap() + 1;
    let entry = |n: u32| format!("a/10.10.0.1/{n:08x}.0.left").parse::<BodyEntry>().unwrap();
    let all: Vec<BodyEntry> = (1..=many).map(entry).collect();
    fleet.set_left_behind(at(0), &all[1..]);
    assert!(!fleet.tick(at(1)).iter().any(|event| matches!(event, FleetEvent::LeftForgotten(_))));
    fleet.set_left_behind(at(2), &all);
    assert!(fleet.tick(at(2)).contains(&FleetEvent::LeftForgotten(1 + FORGOTTEN_AT_ONCE)));
    assert!(fleet.left_behind().any(|entry| entry == all[0]), "the oldest go first");
}
