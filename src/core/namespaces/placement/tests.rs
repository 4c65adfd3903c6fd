//! One rule each.

use super::super::state::{ENTROPY, RoomLimits, TurnSecret};
use super::super::wire::HeldNamespace;
use super::*;
use crate::core::fleet::wire::Generation;

const WANTED: Wanted = Wanted { sfu: 3, turn: 2 };

const PATIENCE: Duration = Duration::from_secs(60);

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn ns(name: &str) -> NamespaceName {
    name.parse().unwrap()
}

fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

fn state(name: &str) -> NamespaceState {
    let mut state = NamespaceState::new(ns(name), RoomLimits::default());
    state.enable(TurnSecret::from_entropy([1; ENTROPY]), 0);
    state
}

fn brief(of: &str, id: &str, peers: u32) -> RoomBrief {
    RoomBrief { ns: ns(of), id: room(id), peers, created_at: 7 }
}

/// A worker that knows namespace `a`, relays, and holds these rooms of it.
fn report(rooms: &[RoomBrief]) -> RoomsReport {
    let held = |name: &str| HeldNamespace {
        name: ns(name),
        digest: String::new(),
        sfu_up: true,
        turn_up: Some(true),
    };
    RoomsReport {
        turn_urls: vec!["turn:192.0.2.1:3478".into()],
        media_ports: Some((59_100, 59_101)),
        namespaces: vec![held("a")],
        rooms: rooms.to_vec(),
    }
}

/// The place of a beat in its worker's history.
fn begun(seq: u64) -> Stamp {
    Stamp { generation: Generation { boot_ms: 1, nonce: 7 }, seq }
}

fn fleet(names: &[&str]) -> Placement {
    let mut placement = Placement::new(PATIENCE);
    for name in names {
        placement.heard(Moment(0), (&worker(name), begun(0)), Some(report(&[])), false);
    }
    placement
}

fn place(placement: &mut Placement, now: u64, id: &str) -> Result<String, NoPlace> {
    placement.place(Moment(now), &state("a"), &room(id), WANTED).map(|worker| worker.to_string())
}

#[test]
fn a_room_stays_where_it_is_and_others_go_where_fewest_are() {
    let mut placement = fleet(&["w1", "w2", "w3"]);
    let first = place(&mut placement, 0, "r").unwrap();
    for _ in 0..50 {
        assert_eq!(
            place(&mut placement, 1, "r").unwrap(),
            first,
            "everybody of a room is sent to one worker"
        );
    }
    let second = place(&mut placement, 2, "s").unwrap();
    let third = place(&mut placement, 2, "t").unwrap();
    let mut all = [first.clone(), second.clone(), third.clone()];
    all.sort();
    assert_eq!(all, ["w1", "w2", "w3"], "joins count before a beat tells of them");
    placement.heard(Moment(3), (&worker(&second), begun(3)), Some(report(&[brief("a", "s", 9)])), false);
    placement.heard(Moment(3), (&worker(&first), begun(3)), Some(report(&[brief("a", "r", 8)])), false);
    assert_eq!(place(&mut placement, 4, "u").unwrap(), third);
}

#[test]
fn a_worker_that_leaves_loses_its_pins_and_a_drain_that_is_undone_does_not() {
    for leave in ["drained", "leaving", "silent", "forgotten"] {
        let mut placement = fleet(&["w1", "w2"]);
        let first = place(&mut placement, 0, "r").unwrap();
        let rooms = [brief("a", "r", 4)];
        placement.heard(Moment(1_000), (&worker(&first), begun(1_000)), Some(report(&rooms)), false);
        let other = if first == "w1" { "w2" } else { "w1" };
        placement.heard(Moment(1_000), (&worker(other), begun(1_000)), Some(report(&[])), false);
        match leave {
            "drained" => placement.drain(&worker(&first), true),
            "leaving" => {
                placement.heard(Moment(2_000), (&worker(&first), begun(2_000)), Some(report(&rooms)), true)
            }
            "silent" => {}
            _ => placement.forget(&worker(&first)),
        }
        placement.heard(Moment(62_000), (&worker(other), begun(62_000)), Some(report(&[])), false);
        let again = place(&mut placement, 63_000, "r");
        assert_eq!(again.as_deref(), Ok(other), "{leave}");
    }
    let mut placement = fleet(&["w1"]);
    placement.drain(&worker("w1"), true);
    assert_eq!(place(&mut placement, 1, "r"), Err(NoPlace::NoWorker));
    placement.drain(&worker("w1"), false);
    assert_eq!(place(&mut placement, 1, "r").as_deref(), Ok("w1"));
}

// SPEC 10: A room stays on its worker; a new one goes where fewest members are; a worker that is
// drained, by whichever controller, lost or forgotten loses its pins; beats bring them back to a
// controller that restarts
// Also: `a_room_stays_where_it_is_and_others_go_where_fewest_are`,
// `a_worker_that_leaves_loses_its_pins_and_a_drain_that_is_undone_does_not`,
// `a_restarted_controller_learns_rooms_from_beats`,
// `a_room_is_where_its_members_are_and_not_where_they_left`,
// `a_pin_without_a_room_ends_and_a_room_that_is_over_is_forgotten`,
// `a_room_goes_to_a_worker_that_knows_the_namespace`, `nothing_of_one_namespace_is_seen_in_another`
#[test]
fn drains_of_another_controller_count_and_so_do_their_ends() {
    let mut placement = fleet(&["w1"]);
    placement.drain(&worker("w1"), true);
    placement.set_drains(&[worker("w1"), worker("w2")].into());
    assert_eq!(place(&mut placement, 1, "r"), Err(NoPlace::NoWorker));
    placement.set_drains(&BTreeSet::new());
    assert_eq!(place(&mut placement, 1, "r").as_deref(), Ok("w1"), "whoever had begun it");
}

#[test]
fn an_edition_is_the_controllers_and_no_part_of_a_copy() {
    let placement = fleet(&["w1"]);
    let [first, later] = [1, 2].map(|edition| NamespaceState { edition, ..state("a") });
    let copy = |state| placement.copy_of(Moment(0), state, WANTED);
    assert_eq!(copy(&first), copy(&later));
    assert!(
        !serde_json::to_string(&copy(&first)).unwrap().contains("edition"),
        "older workers digest what they know"
    );
}

#[test]
fn a_restarted_controller_learns_rooms_from_beats() {
    let mut placement = Placement::new(PATIENCE);
    assert_eq!(place(&mut placement, 0, "r"), Err(NoPlace::NoWorker));
    placement.heard(Moment(1), (&worker("w1"), begun(1)), Some(report(&[])), false);
    placement.heard(Moment(1), (&worker("w2"), begun(1)), Some(report(&[brief("a", "r", 30)])), false);
    assert_eq!(place(&mut placement, 2, "r").as_deref(), Ok("w2"), "though it has more members");
    let listed = placement.rooms(&ns("a"));
    assert_eq!((listed.len(), listed[0].0.peers, listed[0].1.as_str()), (1, 30, "w2"));
    assert!(placement.rooms(&ns("b")).is_empty());
    // Two workers list it: it stays where it was.
    placement.heard(Moment(3), (&worker("w1"), begun(3)), Some(report(&[brief("a", "r", 1)])), false);
    assert_eq!(place(&mut placement, 4, "r").as_deref(), Ok("w2"));
}

#[test]
fn a_room_is_where_its_members_are_and_not_where_they_left() {
    // A drain has moved them from w1 to w2 a moment ago, and now the controller restarts.
    let (left, full) = (report(&[brief("a", "r", 0)]), report(&[brief("a", "r", 4)]));
    for first in ["w1", "w2"] {
        let mut placement = Placement::new(PATIENCE);
        for name in [first, "w1", "w2"] {
            let told = if name == "w1" { &left } else { &full };
            placement.heard(Moment(1), (&worker(name), begun(1)), Some(told.clone()), false);
        }
        assert_eq!(place(&mut placement, 2, "r").as_deref(), Ok("w2"), "{first} is heard first");
        // Whom a worker sends away does not lead others back to it.
        placement.heard(Moment(3), (&worker("w2"), begun(3)), Some(left.clone()), false);
        placement.heard(Moment(3), (&worker("w1"), begun(3)), Some(full.clone()), true);
        assert_eq!(place(&mut placement, 4, "r").as_deref(), Ok("w2"));
    }
}

#[test]
fn a_pin_without_a_room_ends_and_a_room_that_is_over_is_forgotten() {
    let mut placement = fleet(&["w1", "w2"]);
    let first = place(&mut placement, 0, "r").unwrap();
    placement.heard(Moment(29_000), (&worker(&first), begun(29_000)), Some(report(&[])), false);
    assert_eq!(placement.pinned(Moment(29_000), &ns("a"), &room("r")), Some(&worker(&first)));
    placement.heard(Moment(30_000), (&worker(&first), begun(30_000)), Some(report(&[])), false);
    assert_eq!(placement.pinned(Moment(30_000), &ns("a"), &room("r")), None);
    placement.told(Moment(30_000), (&worker("w1"), None), brief("a", "made", 0), true);
    assert_eq!(placement.rooms(&ns("a")).len(), 1);
    placement.told(Moment(30_000), (&worker("w1"), None), brief("a", "made", 0), false);
    assert!(placement.rooms(&ns("a")).is_empty());
}

#[test]
fn a_beat_undoes_nothing_that_was_told_after_it_was_begun() {
    let (w1, made) = (worker("w1"), brief("a", "made", 0));
    let mut placement = fleet(&["w1"]);
    let listed = |placement: &Placement| placement.rooms(&ns("a")).len();
    let heard = |placement: &mut Placement, seq: u64, rooms: &[RoomBrief]| {
        placement.heard(Moment(seq), (&w1, begun(seq)), Some(report(rooms)), false);
    };
    // Beat 1 was begun before the room was made, and beat 2 after.
    placement.told(Moment(1), (&w1, Some(begun(1))), made.clone(), true);
    heard(&mut placement, 1, &[]);
    assert_eq!(listed(&placement), 1, "beat 1 could not know of it");
    heard(&mut placement, 2, &[]);
    assert_eq!(listed(&placement), 0, "beat 2 knows that it is gone again");
    // The same for one that is closed.
    heard(&mut placement, 3, std::slice::from_ref(&made));
    placement.told(Moment(4), (&w1, Some(begun(4))), made.clone(), false);
    heard(&mut placement, 4, std::slice::from_ref(&made));
    assert_eq!((listed(&placement), placement.pins.len()), (0, 0), "beat 4 still had it");
    heard(&mut placement, 5, std::slice::from_ref(&made));
    assert_eq!(listed(&placement), 1, "by beat 5 somebody has made it again");
    // Nor does an answer undo what a later beat told.
    placement.told(Moment(6), (&w1, Some(begun(4))), made.clone(), false);
    assert_eq!(listed(&placement), 1);
    // A worker that is started again begins its numbers anew.
    placement.told(Moment(7), (&w1, Some(begun(9))), made, true);
    let anew = Stamp { generation: Generation { boot_ms: 2, nonce: 1 }, seq: 1 };
    placement.heard(Moment(8), (&w1, anew), Some(report(&[])), false);
    assert_eq!((listed(&placement), placement.told.len()), (0, 0));
    // What is told by a worker that is forgotten is forgotten.
    placement.told(Moment(9), (&w1, Some(anew)), brief("a", "other", 0), true);
    placement.forget(&w1);
    assert_eq!((placement.pins.len(), placement.told.len()), (0, 0));
}

#[test]
fn a_room_goes_to_a_worker_that_knows_the_namespace() {
    let mut placement = Placement::new(PATIENCE);
    placement.heard(Moment(0), (&worker("w1"), begun(0)), Some(RoomsReport::default()), false);
    assert_eq!(place(&mut placement, 0, "r"), Err(NoPlace::NotYet));
    let mut known = Namespaces::default();
    known.put(state("a"));
    let reply = placement.reply(Moment(0), &worker("w1"), &known, WANTED);
    assert_eq!(reply.copies.len(), 1);
    placement.gave(&worker("w1"), &ns("a"), &reply.copies[0].digest());
    assert_eq!(place(&mut placement, 0, "r").as_deref(), Ok("w1"));
    assert!(placement.reply(Moment(0), &worker("w1"), &known, WANTED).is_empty(), "it has it");
}

// SPEC 10: Copies go to the workers that serve a namespace until they have them, and are taken back
// from others; few move when a worker comes or goes
// Also: `a_worker_that_holds_rooms_keeps_its_copy_when_others_come`,
// `a_worker_that_comes_or_goes_moves_few_namespaces`,
// `a_digest_changes_with_everything_that_a_worker_has_to_know`,
// `a_report_is_bounded_whatever_a_worker_sends`,
// `a_beat_of_a_worker_with_nothing_to_say_is_small_and_unknown_fields_are_ignored`
#[test]
fn copies_go_to_the_chosen_until_they_have_them_and_are_taken_back_from_others() {
    let placement = fleet(&["w1", "w2", "w3", "w4", "w5"]);
    let mut known = Namespaces::default();
    known.put(state("a"));
    let names = ["w1", "w2", "w3", "w4", "w5"].map(worker);
    let holders = placement.holders(Moment(0), &ns("a"), WANTED);
    assert!((3..=5).contains(&holders.len()), "{holders:?}");
    for name in &names {
        let reply = placement.reply(Moment(0), name, &known, WANTED);
        let is_holder = holders.contains(name);
        assert_eq!(
            (reply.copies.len(), reply.dropped.len()),
            if is_holder { (1, 0) } else { (0, 1) },
            "{name}"
        );
        if is_holder {
            assert_eq!(reply.copies[0].turn_urls, ["turn:192.0.2.1:3478"]);
            // Lost on the way: the next beat brings it again.
            assert_eq!(placement.reply(Moment(0), name, &known, WANTED), reply);
        }
    }
    let gone = worker("w1");
    known.remove(&ns("a"));
    let lost = placement.reply(Moment(0), &gone, &known, WANTED);
    assert!(lost.is_empty(), "a controller that has lost a file takes no copy away: {lost:?}");
    assert!(placement.reply(Moment(0), &worker("stranger"), &known, WANTED).is_empty());
}

#[test]
fn a_worker_that_holds_rooms_keeps_its_copy_when_others_come() {
    let mut placement = fleet(&["only"]);
    placement.heard(Moment(0), (&worker("only"), begun(0)), Some(report(&[brief("a", "r", 2)])), false);
    for number in 0..40 {
        placement.heard(Moment(1), (&worker(&format!("new-{number}")), begun(1)), Some(report(&[])), false);
        assert!(placement.holders(Moment(1), &ns("a"), WANTED).contains(&worker("only")));
    }
    assert_eq!(place(&mut placement, 2, "r").as_deref(), Ok("only"));
}

#[test]
fn a_worker_that_comes_or_goes_moves_few_namespaces() {
    let names: Vec<String> = (0..10).map(|number| format!("worker-{number}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let (ten, nine) = (fleet(&all), fleet(&all[..9]));
    let one = Wanted { sfu: 1, turn: 1 };
    let moved = (0..1000).filter(|number| {
        let name = ns(&format!("ns-{number}"));
        ten.holders(Moment(0), &name, one) != nine.holders(Moment(0), &name, one)
    });
    let moved = moved.count();
    assert!((50..200).contains(&moved), "{moved} of 1000 moved, a tenth was expected");
}

// SPEC 10: What lacks for a namespace is told, also where all of it lacks
#[test]
fn what_lacks_is_told_also_where_all_of_it_lacks() {
    let mut placement = Placement::new(PATIENCE);
    let findings = |placement: &Placement| placement.findings(Moment(0), &ns("a"), WANTED);
    assert_eq!(
        findings(&placement),
        [
            "no worker holds rooms: set rooms.enabled on workers",
            "no TURN server: set turn.secret and turn.urls on workers"
        ]
    );
    placement.heard(Moment(0), (&worker("w1"), begun(0)), Some(report(&[])), false);
    assert!(findings(&placement).is_empty(), "one of one: {:?}", findings(&placement));
    let down = |sfu_up, turn_up| {
        let mut report = report(&[]);
        report.namespaces[0].sfu_up = sfu_up;
        report.namespaces[0].turn_up = turn_up;
        report
    };
    placement.heard(Moment(0), (&worker("w2"), begun(0)), Some(down(true, Some(false))), false);
    placement.heard(Moment(0), (&worker("w3"), begun(0)), Some(down(false, Some(false))), false);
    let found = findings(&placement);
    assert_eq!(found[0], "only 2/3 SFU nodes active", "{found:?}");
    assert!(found[1].contains("/2 TURN nodes active"), "{found:?}");
    placement.heard(Moment(0), (&worker("w1"), begun(0)), Some(down(true, Some(false))), false);
    assert_eq!(findings(&placement)[1], "0/2 TURN nodes active (nobody is relayed)");
}

#[test]
fn nothing_of_one_namespace_is_seen_in_another() {
    let mut placement = fleet(&["w1"]);
    placement.heard(Moment(0), (&worker("w1"), begun(0)), Some(report(&[brief("b", "r", 50)])), false);
    assert!(placement.rooms(&ns("a")).is_empty());
    assert_eq!(place(&mut placement, 0, "r").as_deref(), Ok("w1"));
    let (sfu, _) = placement.nodes(Moment(0), &ns("a"), WANTED);
    assert_eq!((sfu[0].rooms, sfu[0].peers), (0, 0));
    assert_eq!(placement.rooms(&ns("b"))[0].0.peers, 50, "the room of the same name in b is another one");
}

#[test]
fn a_room_stays_where_it_is_though_the_controller_stood_still() {
    let mut placement = fleet(&["w1", "w2", "w3"]);
    let at = place(&mut placement, 0, "r").unwrap();
    placement.listens(Duration::ZERO, Moment(2_000));
    assert_eq!(place(&mut placement, 300_000, "r").as_deref(), Ok(&*at), "nobody listened");
    placement.listens(Duration::from_secs(298), Moment(302_000));
    assert_eq!(place(&mut placement, 300_000, "r").as_deref(), Ok(&*at), "nor counts it later");
    placement.listens(Duration::ZERO, Moment(u64::MAX));
    assert_eq!(place(&mut placement, 400_000, "r"), Err(NoPlace::NoWorker), "what comes after counts");
}

#[test]
fn a_pin_to_where_nobody_is_is_not_certain() {
    let mut placement = fleet(&["w1"]);
    let is_certain = |placement: &Placement, id| placement.is_certain(Moment(1), &ns("a"), &room(id));
    assert!(!is_certain(&placement, "r"), "no pin");
    place(&mut placement, 0, "r").unwrap();
    assert!(is_certain(&placement, "r"), "somebody was sent there");
    for (peers, certain) in [(2, true), (0, false)] {
        let listed = report(&[brief("a", "r", peers)]);
        placement.heard(Moment(1), (&worker("w1"), begun(1)), Some(listed), false);
        assert_eq!(is_certain(&placement, "r"), certain, "{peers} members");
    }
}
