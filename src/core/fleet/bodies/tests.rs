//! The table of bodies, one behaviour each; whole histories are in `tests/sim`.

use super::*;
use crate::core::fleet::identity::WIRE_VERSION;
use crate::core::fleet::moves::NotMoved;
use crate::core::fleet::tests::{at, beat, brief, create, hear, id, name, settled, stamp};
use crate::core::fleet::{CreateSpec, NotForgotten, Refused};
use crate::core::session::status::SessionStatus;

/// A worker's heartbeat with what it plays, by its number of a leadership.
fn beats(fleet: &mut Fleet, now: Moment, (worker, seq): (&str, u64), lease: u64, plays: &[SessionBrief]) {
    let clock_ms = Some(seq);
    let beat =
        Heartbeat { clock_ms, lease, wire: WIRE_VERSION, ..beat(worker, stamp(1, seq), plays.to_vec()) };
    hear(fleet, now, &beat);
}

fn plays(n: u8) -> SessionBrief {
    SessionBrief { movable: true, ..brief(n, n, SessionStatus::Streaming, 1_000) }
}

fn entries(texts: &[&str]) -> Vec<BodyEntry> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What is to be written and removed, in words.
fn changes(fleet: &mut Fleet) -> Vec<String> {
    let changes = fleet.take_body_changes();
    changes.iter().map(|(entry, on)| format!("{}{entry}", if *on { "+" } else { "-" })).collect()
}

/// The leader of number 5 since `at(100)`, which reads this table. It hears `a` and `b`.
fn leader_of(table: &[&str]) -> Fleet {
    let mut fleet = settled();
    for worker in ["a", "b"] {
        beats(&mut fleet, at(99), (worker, 1), 4, &[]);
    }
    fleet.take_over(at(100), 5);
    fleet.set_bodies(at(0), 5, entries(table));
    for worker in ["a", "b"] {
        beats(&mut fleet, at(100), (worker, 2), 5, &[]);
    }
    fleet
}

fn is_withheld(fleet: &mut Fleet, now: Moment, n: u8) -> bool {
    match fleet.reserve(now, &create(n, n)) {
        Ok(placed) => {
            fleet.release(&placed.session_id);
            // Only this question's own trace.
            let own = BodyEntry::of_create(&placed);
            let table = fleet.bodies.of_leader();
            table.map(|table| table.changes.remove(&own));
            false
        }
        Err(Refused::Untold(..)) => true,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_survives_the_way_to_etcd_and_back_and_opens_no_session() {
    let placed = Placed {
        session_id: id(0xab),
        body: "10.10.0.7".parse().unwrap(),
        worker: name("w.1-x"),
        url: String::new(),
        begun: at(0),
    };
    let entry = BodyEntry::of_create(&placed);
    assert_eq!(entry.to_string(), "w.1-x/10.10.0.7/abababab.0", "the id is 32 digits long");
    for text in ["w.1-x/10.10.0.7/abababab.0", "a/fd00::7/00000001.4294967295"] {
        assert_eq!(text.parse::<BodyEntry>().map(|entry| entry.to_string()), Ok(text.to_owned()));
    }
    for bad in [
        "",
        "a",
        "a/10.10.0.7",
        "a/x/00000001.0",
        "a/10.10.0.7/00000001",
        "a/10.10.0.7/x.0",
        "a/10.10.0.7/1.x",
        "/10.10.0.7/1.0",
    ] {
        assert!(bad.parse::<BodyEntry>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_new_leader_takes_no_create_before_it_has_read_the_table() {
    let mut fleet = settled();
    beats(&mut fleet, at(99), ("a", 1), 5, &[]);
    fleet.take_over(at(100), 5);
    beats(&mut fleet, at(100), ("a", 2), 5, &[]);
    fleet.set_bodies(at(0), 4, vec![]);
    assert!(fleet.awaits_bodies(), "that was another leadership's");
    for now in [100, 119, 121, 500] {
        beats(&mut fleet, at(now), ("a", 3 + now), 5, &[]);
        let refused = fleet.reserve(at(now), &create(1, 1));
        assert!(
            matches!(refused, Err(Refused::Settling { retry_after }) if !retry_after.is_zero()),
            "{refused:?}"
        );
    }
    fleet.set_bodies(at(0), 5, vec![]);
    assert!(fleet.reserve(at(500), &create(1, 1)).is_ok());

    // The table may come before the leadership is known here.
    fleet.set_bodies(at(0), 6, entries(&["c/10.10.0.2/02020202.0"]));
    fleet.take_over(at(500), 6);
    assert!(!fleet.awaits_bodies());
    beats(&mut fleet, at(500), ("a", 999), 6, &[]);
    assert!(is_withheld(&mut fleet, at(500), 2));
    fleet.step_down();
    assert!(!is_withheld(&mut fleet, at(500), 2), "whether it leads is not the fleet's to know");
    fleet.lead_on(at(501), 6);
    assert!(is_withheld(&mut fleet, at(501), 2), "nobody has led in between");
}

#[test]
fn a_body_of_a_silent_worker_is_taken_until_that_tells_or_counts_as_down() {
    let table = ["c/10.10.0.2/02020202.0", "a/10.10.0.3/03030303.0"];
    let mut fleet = leader_of(&table);
    assert_eq!(changes(&mut fleet), ["-a/10.10.0.3/03030303.0"], "a does not have it");
    assert!(is_withheld(&mut fleet, at(100), 2) && !is_withheld(&mut fleet, at(100), 3));
    let refused = fleet.reserve(at(110), &CreateSpec { replace: true, ..create(2, 2) }).unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("worker c") && words.contains("02020202") && words.contains("in 50 s"), "{words}");
    // Not what it sent before it heard of this leadership.
    beats(&mut fleet, at(111), ("c", 1), 4, &[]);
    let refused = fleet.reserve(at(111), &create(2, 2));
    assert!(matches!(refused, Err(Refused::Settling { .. })), "one that is heard is waited for: {refused:?}");
    assert!(is_withheld(&mut fleet, at(120), 2));
    beats(&mut fleet, at(121), ("c", 2), 5, &[]);
    assert_eq!(changes(&mut fleet), ["-c/10.10.0.2/02020202.0"]);
    assert!(!is_withheld(&mut fleet, at(121), 2));

    let mut fleet = leader_of(&table);
    changes(&mut fleet);
    for (now, freed) in [(159, false), (160, true)] {
        beats(&mut fleet, at(now), ("a", now), 5, &[]);
        let news = fleet.tick(at(now));
        assert_eq!(news.contains(&FleetEvent::BodiesFreed(name("c"), 1)), freed, "{news:?}");
        assert_eq!(is_withheld(&mut fleet, at(now), 2), !freed);
    }
    assert_eq!(changes(&mut fleet), Vec::<String>::new(), "the next leader looks for it, too");
    fleet.tick(at(159 + 3_600));
    assert_eq!(changes(&mut fleet), Vec::<String>::new());
    fleet.tick(at(160 + 3_600));
    assert!(changes(&mut fleet).contains(&"-c/10.10.0.2/02020202.0".to_owned()), "forgotten as any worker");
}

#[test]
fn a_worker_may_tell_before_the_table_is_read() {
    let mut fleet = settled();
    beats(&mut fleet, at(99), ("a", 1), 4, &[]);
    beats(&mut fleet, at(99), ("b", 1), 4, &[]);
    fleet.take_over(at(100), 5);
    beats(&mut fleet, at(100), ("a", 2), 5, &[plays(1)]);
    beats(&mut fleet, at(100), ("b", 2), 5, &[plays(4)]);
    beats(&mut fleet, at(100), ("c", 1), 5, &[plays(5)]);
    let table = ["a/10.10.0.1/01010101.0", "a/10.10.0.2/02020202.0", "d/10.10.0.3/03030303.0"];
    fleet.set_bodies(at(0), 5, entries(&table));
    let expected = ["-a/10.10.0.2/02020202.0", "+b/10.10.0.4/04040404.0", "+c/10.10.0.5/05050505.0"];
    assert_eq!(changes(&mut fleet), expected);
    assert!(!is_withheld(&mut fleet, at(100), 2), "a has told that it does not have it");
    assert!(is_withheld(&mut fleet, at(100), 3), "d has told nothing");
    // What ends is free at once.
    fleet.ended(at(101), &id(1), EndReason::Deleted, stamp(1, 3));
    let again = fleet.reserve(at(101), &create(9, 1));
    assert!(again.is_ok(), "{again:?}");
}

#[test]
fn an_operator_who_deletes_a_worker_frees_its_bodies() {
    let mut fleet = leader_of(&["c/10.10.0.2/02020202.0"]);
    assert_eq!(fleet.forget(at(101), &name("d")), Err(NotForgotten::Unknown));
    assert_eq!(fleet.forget(at(101), &name("c")), Ok(()), "it is known by the table alone");
    assert!(!is_withheld(&mut fleet, at(101), 2));
    assert_eq!(changes(&mut fleet), ["-c/10.10.0.2/02020202.0"]);
    assert_eq!(fleet.forget(at(101), &name("c")), Err(NotForgotten::Unknown));
}

#[test]
fn the_table_follows_what_workers_have_and_what_is_on_its_way_to_them() {
    let mut fleet = leader_of(&[]);
    let placed = fleet.reserve(at(101), &create(1, 1)).unwrap();
    assert_eq!(placed.worker, name("a"));
    assert_eq!(changes(&mut fleet), Vec::<String>::new(), "whoever asks the worker writes it");
    beats(&mut fleet, at(102), ("a", 3), 5, &[]);
    assert_eq!(changes(&mut fleet), Vec::<String>::new(), "it is on its way");
    beats(&mut fleet, at(103), ("a", 4), 5, &[plays(1), plays(9)]);
    assert_eq!(changes(&mut fleet), ["+a/10.10.0.9/09090909.0"], "from before there was a table");
    beats(&mut fleet, at(104), ("a", 5), 5, &[plays(9)]);
    assert_eq!(changes(&mut fleet), ["-a/10.10.0.1/01010101.0"], "its end was heard");

    let placed = fleet.reserve(at(105), &create(2, 2)).unwrap();
    fleet.release(&placed.session_id);
    let entry = BodyEntry::of_create(&placed);
    assert_eq!(changes(&mut fleet), [format!("-{entry}")], "it never began");
    let placed = fleet.reserve(at(106), &create(3, 3)).unwrap();
    fleet.abandon(&placed.session_id);
    fleet.step_down();
    beats(&mut fleet, at(107), ("a", 6), 5, &[]);
    assert_eq!(changes(&mut fleet), Vec::<String>::new(), "nobody who does not lead writes");
    fleet.lead_on(at(108), 5);
    beats(&mut fleet, at(109), ("a", 7), 5, &[]);
    assert_eq!(changes(&mut fleet), ["-a/10.10.0.9/09090909.0"]);
}

#[test]
fn without_a_lease_there_is_no_table() {
    let mut fleet = settled();
    beats(&mut fleet, at(0), ("a", 1), 0, &[plays(1)]);
    fleet.reserve(at(0), &create(2, 2)).unwrap();
    assert_eq!(changes(&mut fleet), Vec::<String>::new());
    assert!(!fleet.awaits_bodies() && fleet.bodies.table.is_none());
}

#[test]
fn a_move_waits_for_a_silent_worker_and_takes_a_number_that_nobody_used() {
    for (table, waits) in [("c/10.10.0.1/01010101.4", true), ("a/10.10.0.1/01010101.4", false)] {
        let mut fleet = leader_of(&[table]);
        beats(&mut fleet, at(101), ("a", 3), 5, &[plays(1)]);
        fleet.drain(&name("a"), true);
        let moved = fleet.start_move(at(102), &id(1));
        assert_eq!(moved == Err(NotMoved::Settling), waits, "{moved:?}");
        // It may still be there: under a number that is used nobody could tell the two apart.
        for now in [150, 160] {
            for worker in ["a", "b"] {
                let played = if worker == "a" { vec![plays(1)] } else { vec![] };
                beats(&mut fleet, at(now), (worker, now), 5, &played);
            }
            fleet.tick(at(now));
        }
        let moved = moved.or_else(|_| fleet.start_move(at(160), &id(1))).unwrap();
        assert_eq!((moved.to, moved.copy), (name("b"), 5));
    }
}
