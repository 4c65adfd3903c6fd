//! Moves, one behaviour each; whole histories are in `tests/sim`.

use super::*;
use crate::core::fleet::identity::WIRE_VERSION;
use crate::core::fleet::tests::{at, beat, brief, create, hear, id, name, settings, settled, stamp};
use crate::core::fleet::{FleetSettings, Route};

/// A session as a worker lists it that may move.
fn movable(n: u8, copy: u32, status: SessionStatus) -> SessionBrief {
    let reason = (status == SessionStatus::Ended).then_some(EndReason::Moved);
    SessionBrief { movable: true, copy, reason, ..brief(n, n, status, 5_000) }
}

fn beats(
    fleet: &mut Fleet,
    now: Moment,
    worker: &str,
    seq: u64,
    sessions: Vec<SessionBrief>,
) -> Vec<EndOrder> {
    let drain_left_ms = Some(300_000u64.saturating_sub(now.0 - at(0).0));
    let beat = Heartbeat { wire: WIRE_VERSION, drain_left_ms, ..beat(worker, stamp(1, seq), sessions) };
    hear(fleet, now, &beat).end
}

/// A fleet in which `a` has this session and `b` has none.
fn with(session: SessionBrief) -> Fleet {
    let mut fleet = settled();
    beats(&mut fleet, at(0), "a", 1, vec![session]);
    beats(&mut fleet, at(0), "b", 1, vec![]);
    fleet
}

fn start(fleet: &mut Fleet, now: Moment) -> MoveOrder {
    fleet.start_move(now, &id(1)).unwrap()
}

#[test]
fn who_watches_moves_after_half_of_the_drain_and_who_does_not_at_once() {
    for (status, when) in
        [(SessionStatus::Streaming, 150), (SessionStatus::Idle, 0), (SessionStatus::Ready, 0)]
    {
        let mut fleet = with(movable(1, 0, status));
        assert_eq!(fleet.moves_due(at(0)), [], "nobody drains");
        fleet.drain(&name("a"), true);
        let mut due = (0..300).step_by(10).filter(|now| {
            beats(&mut fleet, at(*now), "a", 2 + now, vec![movable(1, 0, status)]);
            !fleet.moves_due(at(*now)).is_empty()
        });
        let due = due.next();
        assert_eq!(due, Some(when), "{status}");
        fleet.set_move_out(&name("a"), Some(false));
        let when = at(when + 1);
        assert_eq!(fleet.moves_due(when), [], "the operator wants them to stay");
    }
}

#[test]
fn a_move_takes_a_slot_on_both_workers_and_the_body_once() {
    let mut fleet = with(movable(1, 0, SessionStatus::Streaming));
    fleet.drain(&name("a"), true);
    let order = start(&mut fleet, at(1));
    assert_eq!((order.from.as_str(), order.to.as_str(), order.copy, order.leave), ("a", "b", 1, true));
    assert_eq!(fleet.start_move(at(1), &id(1)), Err(NotMoved::UnderWay));
    let counts = fleet.counts(at(1));
    assert_eq!((counts.active, counts.reserved), (1, 1));
    assert!(matches!(fleet.lookup(at(1), &id(1)), Route::Worker { worker, .. } if worker == name("a")));
    assert!(fleet.let_go(at(2), &order, stamp(1, 1)));
    assert_eq!(fleet.lookup(at(2), &id(1)), Route::Moving);
    assert_eq!(fleet.session(at(2), &id(1)).unwrap().status, SessionStatus::Moving);
    assert_eq!(fleet.reserve(at(2), &create(2, 1)), Err(Refused::AlreadyHasSession(id(1))));
    let (stands, news) = fleet.arrived(at(3), &order, stamp(1, 1));
    assert!(stands && matches!(&news[..], [FleetEvent::SessionMoved(..)]), "{news:?}");
    assert!(matches!(fleet.lookup(at(3), &id(1)), Route::Worker { worker, .. } if worker == name("b")));
    let counts = fleet.counts(at(3));
    assert_eq!((counts.active, counts.reserved), (1, 0));
    // The old worker is told, until it does not list it any more.
    let told = beats(&mut fleet, at(4), "a", 2, vec![movable(1, 0, SessionStatus::Ended)]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, EndReason::Moved);
    assert_eq!(beats(&mut fleet, at(5), "a", 3, vec![]), []);
}

#[test]
fn a_session_moves_only_so_often_in_an_hour() {
    let mut fleet = with(movable(1, 0, SessionStatus::Streaming));
    for (round, worker) in [(0, "a"), (1, "b"), (2, "a")] {
        fleet.drain(&name("a"), worker == "a");
        fleet.drain(&name("b"), worker == "b");
        let order = start(&mut fleet, at(round * 3 + 1));
        assert!(fleet.let_go(at(round * 3 + 2), &order, stamp(1, 1)));
        assert!(fleet.arrived(at(round * 3 + 3), &order, stamp(1, 1)).0);
    }
    fleet.drain(&name("a"), false);
    fleet.drain(&name("b"), true);
    assert_eq!(fleet.start_move(at(9), &id(1)), Err(NotMoved::TooOften));
    assert_eq!(fleet.move_counts().limited, 1);
}

#[test]
fn only_what_may_move_moves_and_only_to_who_can_take_it() {
    let mut fleet = with(brief(1, 1, SessionStatus::Streaming, 0));
    fleet.drain(&name("a"), true);
    assert_eq!(fleet.start_move(at(1), &id(1)), Err(NotMoved::NotMovable));
    let mut fleet = settled();
    beats(&mut fleet, at(0), "a", 1, vec![movable(1, 0, SessionStatus::Idle)]);
    hear(&mut fleet, at(0), &beat("b", stamp(1, 1), vec![]));
    assert_eq!(fleet.start_move(at(1), &id(1)), Err(NotMoved::NotNeeded));
    fleet.drain(&name("a"), true);
    assert_eq!(fleet.start_move(at(1), &id(1)), Err(NotMoved::NoWorker), "b is of an older version");
    assert!(matches!(fleet.lookup(at(1), &id(1)), Route::Worker { .. }), "it stays");
}

#[test]
fn after_a_death_a_session_moves_if_the_setting_says_so_and_the_old_copy_does_not_come_back() {
    let mut fleet = with(movable(1, 0, SessionStatus::Streaming));
    beats(&mut fleet, at(61), "b", 2, vec![]);
    assert!(matches!(fleet.lookup(at(61), &id(1)), Route::Down { .. }));
    assert_eq!(fleet.moves_due(at(61)), [], "somebody may still watch");
    fleet.reconfigure(FleetSettings { moves: MovePolicy::Drain, ..settings() });
    assert_eq!(fleet.start_move(at(61), &id(1)), Err(NotMoved::NotMovable));
    fleet.reconfigure(settings());
    let order = start(&mut fleet, at(61));
    assert!(!order.leave);
    assert_eq!(fleet.lookup(at(61), &id(1)), Route::Moving);
    assert!(fleet.arrived(at(63), &order, stamp(1, 2)).0);
    let told = beats(&mut fleet, at(64), "a", 2, vec![movable(1, 0, SessionStatus::Streaming)]);
    assert_eq!(told.iter().map(|order| order.reason).collect::<Vec<_>>(), [EndReason::Moved]);
    assert!(matches!(fleet.lookup(at(64), &id(1)), Route::Worker { worker, .. } if worker == name("b")));
}

#[test]
fn a_worker_that_comes_back_does_not_free_the_body_of_what_moves_away_meanwhile() {
    let mut fleet = with(movable(1, 0, SessionStatus::Streaming));
    beats(&mut fleet, at(61), "b", 2, vec![]);
    let order = start(&mut fleet, at(61));
    // Its new process says that the session crashed with the old one.
    let crashed = SessionBrief { reason: Some(EndReason::Crashed), ..movable(1, 0, SessionStatus::Ended) };
    let back = Heartbeat { wire: WIRE_VERSION, ..beat("a", stamp(2, 1), vec![crashed.clone()]) };
    hear(&mut fleet, at(62), &back);
    assert_eq!(fleet.reserve(at(62), &create(2, 1)), Err(Refused::AlreadyHasSession(id(1))));
    // An end that is asked for now is not forgotten.
    assert!(fleet.condemn(&id(1), EndReason::Deleted));
    assert!(fleet.arrived(at(63), &order, stamp(1, 2)).0);
    let told = beats(&mut fleet, at(64), "b", 3, vec![movable(1, 1, SessionStatus::Streaming)]);
    assert_eq!(told.iter().map(|order| order.reason).collect::<Vec<_>>(), [EndReason::Deleted]);
    let back = Heartbeat { seq: 2, ..back };
    assert_eq!(hear(&mut fleet, at(64), &back).end[0].reason, EndReason::Moved, "and leaves no record there");
}

#[test]
fn a_controller_that_has_just_started_goes_on_with_what_is_between_two_workers() {
    let mut fleet = with(movable(1, 0, SessionStatus::Ended));
    assert_eq!(fleet.lookup(at(0), &id(1)), Route::Moving);
    assert_eq!(fleet.moves_due(at(0)), [id(1)]);
    // Another controller has begun it at b already.
    beats(&mut fleet, at(1), "b", 2, vec![movable(1, 1, SessionStatus::Starting)]);
    assert_eq!((fleet.moves_due(at(1)), fleet.lookup(at(1), &id(1))), (vec![], Route::Moving));
    beats(&mut fleet, at(2), "b", 3, vec![movable(1, 1, SessionStatus::Ready)]);
    assert!(matches!(fleet.lookup(at(2), &id(1)), Route::Worker { worker, .. } if worker == name("b")));
}

#[test]
fn a_session_that_nobody_takes_ends_where_it_was_let_go() {
    let mut fleet = with(movable(1, 0, SessionStatus::Ended));
    fleet.drain(&name("b"), true);
    let patience = MOVE_PATIENCE.as_secs();
    for now in (0..patience + 10).step_by(10) {
        beats(&mut fleet, at(now), "b", 2 + now, vec![]);
        fleet.moves_due(at(now)).iter().for_each(|id| {
            assert_eq!(fleet.start_move(at(now), id), Err(NotMoved::NoWorker));
        });
        fleet.tick(at(now));
    }
    let waited = SessionBrief { started_ms_ago: 5_000 + 130_000, ..movable(1, 0, SessionStatus::Ended) };
    let told = beats(&mut fleet, at(patience + 10), "a", 2, vec![waited]);
    assert_eq!(told.iter().map(|order| order.reason).collect::<Vec<_>>(), [EndReason::Drained]);
    assert_eq!(fleet.move_counts().given_up, 1);
}

#[test]
fn a_move_that_fails_goes_to_the_next_worker_and_one_whose_answer_is_lost_waits() {
    let mut fleet = with(movable(1, 0, SessionStatus::Idle));
    beats(&mut fleet, at(0), "c", 1, vec![]);
    fleet.drain(&name("a"), true);
    let first = start(&mut fleet, at(1));
    assert!(fleet.let_go(at(2), &first, stamp(1, 1)));
    let second = fleet.next_move(at(3), &first).unwrap();
    assert!(second.to != first.to && !second.leave && second.copy == first.copy, "{second:?}");
    fleet.lose_move(&second);
    assert_eq!(fleet.moves_due(at(20)), [], "it may be there");
    let expired = fleet.tick(at(70));
    assert!(expired.iter().any(|event| matches!(event, FleetEvent::MoveExpired(..))), "{expired:?}");
    for worker in ["a", "b", "c"] {
        beats(
            &mut fleet,
            at(71),
            worker,
            2,
            if worker == "a" { vec![movable(1, 0, SessionStatus::Ended)] } else { vec![] },
        );
    }
    let third = start(&mut fleet, at(72));
    assert!(third.copy > second.copy, "what was lost may still turn up, as an older copy: {third:?}");
}
