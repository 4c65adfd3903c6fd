//! One behaviour each; whole histories are in `tests/sim`.

use std::net::IpAddr;
use std::time::Duration;

use super::failures::FailedAt;
use super::identity::{BeatSource, PublicKey};
use super::wire::{BeatRefusal, Generation, Heartbeat, Hindrance, SessionBrief, Stamp, Stops, WorkerStatus};
use super::*;
use crate::core::ids::BodyAddr;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn settings() -> FleetSettings {
    FleetSettings {
        moves: MovePolicy::Always,
        move_limit: 3,
        drain_timeout: Duration::from_secs(300),
        max_workers: 1_000,
        heartbeat_interval: 10 * SECOND,
        heartbeat_timeout: 60 * SECOND,
        create_timeout: 45 * SECOND,
        wireguard_networks: vec![Network { address: "10.10.0.0".parse().unwrap(), prefix: 16 }],
        back_off: BackOff { first: 2 * SECOND, longest: 50 * SECOND },
    }
}

/// A fleet that has settled: it started 20 s before `at(0)`.
pub(super) fn settled() -> Fleet {
    Fleet::new(Moment(1_000_000 - 20_000), settings())
}

pub(super) fn at(seconds: u64) -> Moment {
    Moment(1_000_000 + seconds * 1_000)
}

pub(super) fn id(n: u8) -> SessionId {
    SessionId::from_entropy([n; 16])
}

fn body(n: u8) -> BodyAddr {
    BodyAddr::from(IpAddr::from([10, 10, 0, n]))
}

pub(super) fn name(worker: &str) -> WorkerId {
    worker.parse().unwrap()
}

pub(super) fn stamp(boot_ms: u64, seq: u64) -> Stamp {
    Stamp { generation: Generation { boot_ms, nonce: 7 }, seq }
}

pub(super) fn brief(n: u8, body_n: u8, status: SessionStatus, started_ms_ago: u64) -> SessionBrief {
    SessionBrief {
        id: id(n),
        body: body(body_n),
        status,
        reason: None,
        started_ms_ago,
        connections: 0,
        experience: None,
        district: None,
        age_ms: started_ms_ago,
        view_id: None,
        fault: None,
        copy: 0,
        movable: false,
        facts: Default::default(),
    }
}

pub(super) fn beat(worker: &str, stamp: Stamp, sessions: Vec<SessionBrief>) -> Heartbeat {
    Heartbeat {
        worker_id: name(worker),
        generation: stamp.generation,
        seq: stamp.seq,
        url: None,
        port: 47990,
        version: "1.0.0".to_owned(),
        max: 2,
        tls: false,
        wireguard: true,
        draining: false,
        stopping: false,
        status: WorkerStatus::Ok,
        interval_ms: 10_000,
        clock_ms: None,
        lease: 0,
        wire: 0,
        challenge: None,
        hindrances: Vec::new(),
        allowed_bodies: None,
        unchanged_since: None,
        rooms: None,
        drain_left_ms: None,
        sessions,
    }
}

pub(super) fn hear(fleet: &mut Fleet, now: Moment, beat: &Heartbeat) -> wire::HeartbeatReply {
    let outcome = fleet.heartbeat(now, beat, SOURCE);
    let reply = outcome.reply().unwrap();
    assert!(reply.accepted, "{outcome:?}");
    reply
}

pub(super) fn create(n: u8, body_n: u8) -> CreateSpec {
    CreateSpec {
        session_id: id(n),
        body: body(body_n),
        replace: false,
        engine: "moonlight".to_owned(),
        tried: Default::default(),
    }
}

// SPEC 4: A burst spreads and never overshoots: 30 of 30, the 31st is 503
// Also: `thirty_sessions_spread_evenly_and_survive_the_death_of_others`
#[test]
fn a_burst_spreads_and_never_overshoots() {
    let mut fleet = settled();
    for worker in ["a", "b"] {
        hear(&mut fleet, at(0), &beat(worker, stamp(1, 1), vec![]));
    }
    let placed: Vec<String> =
        (1..=4).map(|n| fleet.reserve(at(1), &create(n, n)).unwrap().worker.to_string()).collect();
    assert_eq!(placed, ["a", "b", "a", "b"]);
    let fifth = fleet.reserve(at(1), &create(5, 5)).unwrap_err();
    assert!(matches!(&fifth, Refused::NoWorker { why, .. } if why.full == 2), "{fifth:?}");
    assert!(matches!(fifth, Refused::NoWorker { retry_after, .. } if !retry_after.is_zero()));
}

#[test]
fn a_session_is_counted_once_whether_the_answer_or_the_beat_comes_first() {
    for answer_first in [true, false] {
        let mut fleet = settled();
        hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
        let placed = fleet.reserve(at(1), &create(1, 1)).unwrap();
        let listing = beat("a", stamp(1, 2), vec![brief(1, 1, SessionStatus::Ready, 10)]);
        if answer_first {
            assert!(fleet.confirm(at(2), &placed, SessionStatus::Ready, stamp(1, 1)).0);
            hear(&mut fleet, at(2), &listing);
        } else {
            hear(&mut fleet, at(2), &listing);
            assert!(fleet.confirm(at(2), &placed, SessionStatus::Ready, stamp(1, 1)).0);
        }
        let view = fleet.worker(at(2), &name("a")).unwrap();
        assert_eq!((view.active, view.reserved), (1, 0), "answer first: {answer_first}");
    }
}

#[test]
fn a_beat_begun_before_the_create_does_not_lose_the_session() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    let placed = fleet.reserve(at(1), &create(1, 1)).unwrap();
    // The worker began beat 2, then took the session: its answer overtakes the beat.
    fleet.confirm(at(2), &placed, SessionStatus::Ready, stamp(1, 2));
    hear(&mut fleet, at(3), &beat("a", stamp(1, 2), vec![]));
    assert!(matches!(fleet.lookup(at(3), &id(1)), Route::Worker { .. }), "lost by an older beat");
    hear(&mut fleet, at(4), &beat("a", stamp(1, 3), vec![]));
    assert_eq!(fleet.lookup(at(4), &id(1)), Route::Unknown, "a later beat knows better");
}

#[test]
fn a_late_answer_neither_revives_a_dead_session_nor_leaks_a_slot() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    let placed = fleet.reserve(at(1), &create(1, 1)).unwrap();
    assert_eq!(fleet.tick(at(70)).len(), 2, "expired, and the worker is down");
    hear(&mut fleet, at(71), &beat("a", stamp(2, 1), vec![]));
    assert!(
        !fleet.confirm(at(72), &placed, SessionStatus::Ready, stamp(1, 1)).0,
        "its worker restarted since"
    );
    let view = fleet.worker(at(72), &name("a")).unwrap();
    assert_eq!((view.active, view.reserved), (0, 0));
}

// SPEC 3: A body has one session: 409 with its id, or `replace`
// Also: `a_create_that_may_replace_ends_the_session_that_holds_the_body`
#[test]
fn a_body_has_one_session_and_replace_names_the_one_to_end() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    let placed = fleet.reserve(at(1), &create(1, 1)).unwrap();
    let again = CreateSpec { replace: true, ..create(2, 1) };
    assert_eq!(fleet.reserve(at(1), &again), Err(Refused::AlreadyHasSession(id(1))), "still under way");
    fleet.confirm(at(2), &placed, SessionStatus::Ready, stamp(1, 1));
    assert_eq!(fleet.reserve(at(3), &create(2, 1)), Err(Refused::AlreadyHasSession(id(1))));
    let must_end = fleet.reserve(at(3), &again).unwrap_err();
    assert!(matches!(&must_end, Refused::MustEnd { session_id, .. } if *session_id == id(1)), "{must_end:?}");
    fleet.ended(at(4), &id(1), EndReason::Replaced, stamp(1, 1));
    assert!(fleet.reserve(at(4), &again).is_ok());
}

#[test]
fn each_worker_has_one_turn_per_create_and_the_last_refusal_frees_everything() {
    let mut fleet = settled();
    for worker in ["a", "b"] {
        hear(&mut fleet, at(0), &beat(worker, stamp(1, 1), vec![]));
    }
    assert_eq!(fleet.reserve(at(1), &create(1, 1)).unwrap().worker, name("a"));
    assert_eq!(fleet.try_next(at(1), &id(1)).unwrap().worker, name("b"));
    assert!(matches!(fleet.try_next(at(1), &id(1)), Err(Refused::NoWorker { .. })));
    assert_eq!(fleet.try_next(at(1), &id(1)), Err(Refused::Gone));
    assert_eq!(fleet.counts(at(1)).reserved, 0);
    assert!(fleet.reserve(at(1), &create(2, 1)).is_ok(), "the body is free");
}

// SPEC 4: Two sessions on one body after a partition: the newer stays, the other ends as `replaced`
// Also: `of_two_that_started_together_the_greater_id_stays`,
// `of_two_sessions_that_took_one_body_behind_the_controllers_back_the_older_is_replaced`
#[test]
fn the_newer_of_two_sessions_on_one_body_stays() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Streaming, 5_000)]));
    hear(&mut fleet, at(55), &beat("b", stamp(1, 1), vec![]));
    // a is down: its body may be used again.
    let placed = fleet.reserve(at(61), &create(2, 1)).unwrap();
    fleet.confirm(at(62), &placed, SessionStatus::Ready, stamp(1, 1));
    assert!(matches!(fleet.lookup(at(62), &id(1)), Route::Down { .. }));
    let old = vec![brief(1, 1, SessionStatus::Streaming, 70_000)];
    let reply = hear(&mut fleet, at(65), &beat("a", stamp(1, 2), old.clone()));
    assert_eq!(reply.end, [wire::EndOrder { session_id: id(1), reason: EndReason::Replaced, copy: None }]);
    let again = hear(&mut fleet, at(66), &beat("a", stamp(1, 3), old));
    assert_eq!(again.end, reply.end, "repeated until it has ended");
    let ended = hear(&mut fleet, at(67), &beat("a", stamp(1, 4), vec![brief(1, 1, SessionStatus::Ended, 0)]));
    assert_eq!(ended.end, []);
    assert_eq!(fleet.session(at(67), &id(2)).unwrap().ending_as, None);
}

#[test]
fn of_two_that_started_together_the_greater_id_stays() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Streaming, 500)]));
    let reply =
        hear(&mut fleet, at(0), &beat("b", stamp(1, 1), vec![brief(2, 1, SessionStatus::Streaming, 500)]));
    assert_eq!(reply.end, []);
    assert_eq!(fleet.session(at(0), &id(1)).unwrap().ending_as, Some(EndReason::Replaced));
}

// SPEC 4: Stale and replayed heartbeats change nothing
// Also: `a_beat_begun_before_the_create_does_not_lose_the_session`, `a_stamp_survives_its_header`
#[test]
fn a_stale_or_replayed_beat_changes_nothing() {
    let mut fleet = settled();
    let newest = beat("a", stamp(2, 5), vec![brief(1, 1, SessionStatus::Ready, 0)]);
    hear(&mut fleet, at(0), &newest);
    let before = format!("{fleet:?}");
    for old in [stamp(1, 9), stamp(2, 4), stamp(2, 5)] {
        let outcome = fleet.heartbeat(at(5), &beat("a", old, vec![]), SOURCE);
        assert_eq!(outcome, BeatOutcome::Stale, "{old:?}");
        assert!(!outcome.reply().unwrap().accepted);
    }
    assert_eq!(format!("{fleet:?}"), before);
}

// SPEC 4: A worker that was down or restarted is reconciled
// Also: `a_worker_down_for_long_is_forgotten_with_its_sessions`,
// `the_name_stays_and_the_generation_grows_even_when_the_clock_goes_back`
#[test]
fn a_restarted_worker_has_lost_what_it_does_not_list() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 9), vec![brief(1, 1, SessionStatus::Ready, 0)]));
    let outcome = fleet.heartbeat(at(5), &beat("a", stamp(2, 1), vec![]), SOURCE);
    let BeatOutcome::Accepted(_, news) = outcome else { panic!("{outcome:?}") };
    assert!(news.contains(&FleetEvent::WorkerRestarted(name("a"), 1)), "{news:?}");
    assert_eq!(fleet.lookup(at(5), &id(1)), Route::Unknown);
}

#[test]
fn a_restarted_controller_settles_for_two_beats() {
    let mut fleet = Fleet::new(at(0), settings());
    let live = vec![brief(1, 1, SessionStatus::Streaming, 9_000)];
    hear(&mut fleet, at(1), &beat("a", stamp(1, 40), live));
    assert!(matches!(fleet.lookup(at(2), &id(1)), Route::Worker { .. }), "what is known is routed at once");
    assert_eq!(fleet.lookup(at(2), &id(9)), Route::Settling { retry_after: 18 * SECOND });
    assert!(matches!(fleet.reserve(at(2), &create(2, 2)), Err(Refused::Settling { .. })));
    assert_eq!(fleet.lookup(at(20), &id(9)), Route::Unknown);
    assert!(fleet.reserve(at(20), &create(2, 2)).is_err(), "a is late by now");
}

// SPEC 4: A new leader starts nothing before every worker that is not down has heard of it and told
// its sessions, or two heartbeats have passed; drains are those that all controllers read
// Also: `drains_that_all_controllers_read_hold_for_workers_that_come_later`
#[test]
fn a_new_leader_waits_until_every_worker_has_told_its_number() {
    let told = |worker: &str, seq: u64, lease: u64, sessions: Vec<SessionBrief>| Heartbeat {
        clock_ms: Some(seq),
        lease,
        ..beat(worker, stamp(1, seq), sessions)
    };
    let mut fleet = settled();
    hear(&mut fleet, at(0), &told("a", 1, 4, vec![]));
    hear(&mut fleet, at(0), &told("b", 1, 4, vec![]));
    hear(&mut fleet, at(0), &beat("old", stamp(1, 1), vec![]));
    assert!(fleet.reserve(at(0), &create(1, 1)).is_ok(), "whether it leads is not the fleet's to know");
    fleet.take_over(at(1), 5);
    fleet.set_bodies(at(0), 5, vec![]);
    assert_eq!(fleet.unheard().count(), 3);
    let is_waiting =
        |fleet: &mut Fleet, now| matches!(fleet.reserve(now, &create(2, 2)), Err(Refused::Settling { .. }));
    assert!(is_waiting(&mut fleet, at(1)));
    // Begun before the worker heard of it: the old leader's creates may still come there.
    hear(&mut fleet, at(1), &told("a", 2, 4, vec![]));
    // What the old leader had begun is in the list.
    hear(&mut fleet, at(2), &told("a", 3, 5, vec![brief(7, 2, SessionStatus::Ready, 100)]));
    hear(&mut fleet, at(2), &beat("old", stamp(1, 2), vec![]));
    assert!(is_waiting(&mut fleet, at(2)), "b has not told it");
    assert_eq!(fleet.unheard().collect::<Vec<_>>(), [&name("b")]);
    hear(&mut fleet, at(3), &told("b", 2, 6, vec![]));
    assert!(matches!(fleet.reserve(at(3), &create(2, 2)), Err(Refused::AlreadyHasSession(_))));
    assert!(fleet.reserve(at(3), &create(3, 3)).is_ok());

    fleet.take_over(at(4), 8);
    fleet.set_bodies(at(0), 8, vec![]);
    assert!(is_waiting(&mut fleet, at(23)));
    assert!(!is_waiting(&mut fleet, at(24)), "nobody is waited for longer than after a start");
    fleet.take_over(at(90), 9);
    fleet.set_bodies(at(0), 9, vec![]);
    assert_eq!(fleet.unheard().count(), 0, "nor for those that are down");
    hear(&mut fleet, at(90), &told("a", 4, 5, vec![]));
    assert!(is_waiting(&mut fleet, at(90)), "one that is heard of again is waited for");
    hear(&mut fleet, at(91), &told("a", 5, 9, vec![]));
    assert!(!is_waiting(&mut fleet, at(91)));
    fleet.take_over(at(91), 10);
    fleet.step_down();
    assert!(!is_waiting(&mut fleet, at(91)), "who does not lead waits for nobody");
}

#[test]
fn drains_that_all_controllers_read_hold_for_workers_that_come_later() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    fleet.set_drains([name("a"), name("b")].into());
    assert!(hear(&mut fleet, at(1), &beat("a", stamp(1, 2), vec![])).draining);
    assert!(hear(&mut fleet, at(1), &beat("b", stamp(1, 1), vec![])).draining);
    let echo = Heartbeat { draining: true, ..beat("c", stamp(1, 1), vec![]) };
    assert!(!hear(&mut fleet, at(1), &echo).draining, "an echo says less than what is kept");
    fleet.drain(&name("b"), false);
    assert!(!hear(&mut fleet, at(2), &beat("b", stamp(1, 2), vec![])).draining);
    fleet.set_drains([name("b")].into());
    assert!(!hear(&mut fleet, at(3), &beat("a", stamp(1, 3), vec![])).draining);
    assert!(hear(&mut fleet, at(3), &beat("b", stamp(1, 3), vec![])).draining);
}

#[test]
fn a_drain_survives_a_controller_restart_and_a_worker_restart() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    assert!(fleet.drain(&name("a"), true));
    assert!(!fleet.drain(&name("z"), true), "an unknown worker");
    assert!(hear(&mut fleet, at(1), &beat("a", stamp(1, 2), vec![])).draining);
    let mut restarted = Fleet::new(at(2), settings());
    let echo = Heartbeat { draining: true, ..beat("a", stamp(1, 3), vec![]) };
    assert!(hear(&mut restarted, at(3), &echo).draining);
    assert!(hear(&mut restarted, at(4), &beat("a", stamp(2, 1), vec![])).draining);
    restarted.drain(&name("a"), false);
    let echo = Heartbeat { draining: true, ..beat("a", stamp(2, 2), vec![]) };
    assert!(!hear(&mut restarted, at(5), &echo).draining, "an echo on its way does not undo the undrain");
}

#[test]
fn a_stopping_worker_gets_nothing_new_but_its_stop_is_no_drain() {
    let mut fleet = settled();
    let stopping = Heartbeat { stopping: true, ..beat("a", stamp(1, 1), vec![]) };
    assert!(!hear(&mut fleet, at(0), &stopping).draining);
    assert!(
        matches!(fleet.reserve(at(1), &create(1, 1)), Err(Refused::NoWorker { why, .. }) if why.draining == 1)
    );
}

// SPEC 4: A create whose answer was lost is ended when it shows up
// Also: `a_late_answer_neither_revives_a_dead_session_nor_leaks_a_slot`
#[test]
fn an_abandoned_create_is_ended_when_its_session_shows_up() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    fleet.reserve(at(1), &create(1, 1)).unwrap();
    fleet.abandon(&id(1));
    assert!(matches!(fleet.reserve(at(2), &create(2, 1)), Err(Refused::AlreadyHasSession(_))));
    let reply = hear(&mut fleet, at(3), &beat("a", stamp(1, 2), vec![brief(1, 1, SessionStatus::Ready, 1)]));
    assert_eq!(
        reply.end,
        [wire::EndOrder { session_id: id(1), reason: EndReason::CreateFailed, copy: None }]
    );
}

#[test]
fn an_id_listed_by_two_workers_stays_with_the_first() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Ready, 1)]));
    let reply = hear(&mut fleet, at(1), &beat("b", stamp(1, 1), vec![brief(1, 1, SessionStatus::Ready, 1)]));
    assert_eq!(reply.end.len(), 1);
    assert!(matches!(fleet.lookup(at(1), &id(1)), Route::Worker { worker, .. } if worker == name("a")));
}

#[test]
fn a_worker_down_for_long_is_forgotten_with_its_sessions() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Ready, 1)]));
    fleet.tick(at(3_659));
    assert_eq!(fleet.session(at(3_659), &id(1)).unwrap().status, SessionStatus::Down);
    assert!(fleet.tick(at(3_660)).contains(&FleetEvent::WorkerForgotten(name("a"))));
    assert_eq!(fleet.sessions(at(3_660)), []);
}

#[test]
fn beats_beyond_the_bounds_are_refused_and_change_nothing() {
    let mut fleet = settled();
    let fine = beat("a", stamp(1, 1), vec![]);
    let twice = vec![brief(1, 1, SessionStatus::Ready, 0), brief(1, 2, SessionStatus::Ready, 0)];
    let one_link = vec![
        SessionBrief { view_id: Some(id(9)), ..brief(1, 1, SessionStatus::Ready, 0) },
        SessionBrief { view_id: Some(id(9)), ..brief(2, 2, SessionStatus::Ready, 0) },
    ];
    let with_url = |url: &str| Heartbeat { url: Some(url.to_owned()), ..fine.clone() };
    for (bad, refusal) in [
        (beat("a", stamp(1, 1), twice), BeatRefusal::SessionTwice),
        (beat("a", stamp(1, 1), one_link), BeatRefusal::SessionTwice),
        (Heartbeat { version: "v".repeat(257), ..fine.clone() }, BeatRefusal::BadText("version")),
        (Heartbeat { version: "1\n2".to_owned(), ..fine.clone() }, BeatRefusal::BadText("version")),
        (with_url("ftp://a:1"), BeatRefusal::BadUrl),
        (with_url("http://a:1/x"), BeatRefusal::BadUrl),
        (with_url("http://"), BeatRefusal::BadUrl),
    ] {
        assert_eq!(fleet.heartbeat(at(0), &bad, SOURCE), BeatOutcome::Refused(refusal), "{bad:?}");
    }
    assert_eq!(fleet.workers(at(0)), []);
    for n in 0..settings().max_workers {
        fleet.workers.insert(name(&format!("w{n}")), dummy_worker());
    }
    assert_eq!(fleet.heartbeat(at(0), &fine, SOURCE), BeatOutcome::Refused(BeatRefusal::TooManyWorkers));
}

fn dummy_worker() -> Worker {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    fleet.workers.remove(&name("a")).unwrap()
}

// SPEC 4: A worker is reached at `server.advertise_url`, else where its beats come from
// Also: `a_trusted_proxy_is_not_the_client`
#[test]
fn a_worker_is_reached_where_it_says_or_where_it_came_from() {
    let plain = beat("a", stamp(1, 1), vec![]);
    assert_eq!(plain.reach("::ffff:127.0.0.4".parse().unwrap()), "http://127.0.0.4:47990");
    assert_eq!(plain.reach("fd00::4".parse().unwrap()), "http://[fd00::4]:47990");
    let said = Heartbeat { url: Some("http://w1.example:80/".to_owned()), ..plain };
    assert_eq!(said.reach(SOURCE), "http://w1.example:80");
}

#[test]
fn a_beat_of_a_newer_worker_with_unknown_fields_is_understood() {
    let mut json = serde_json::to_value(beat("a", stamp(1, 1), vec![])).unwrap();
    json["mood"] = "sunny".into();
    json["status"] = "euphoric".into();
    let beat: Heartbeat = serde_json::from_value(json).unwrap();
    assert_eq!(beat.status, WorkerStatus::Degraded);
}

#[test]
fn a_worker_with_too_long_an_interval_is_told_a_shorter_one() {
    let mut fleet = settled();
    let slow = Heartbeat { interval_ms: 300_000, ..beat("a", stamp(1, 1), vec![]) };
    assert_eq!(hear(&mut fleet, at(0), &slow).max_interval_ms, Some(20_000));
}

#[test]
fn a_stamp_survives_its_header() {
    let stamp = Stamp { generation: Generation { boot_ms: 1_790_000_000_000, nonce: u64::MAX }, seq: 9 };
    assert_eq!(stamp.to_string().parse(), Ok(stamp));
    for bad in ["", "1", "1.2", "1.2.", "1.2.3.4", "a.2.3", "1.2.-3"] {
        assert!(bad.parse::<Stamp>().is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn a_late_beat_to_a_restarted_controller_costs_no_living_session() {
    let mut fleet = Fleet::new(at(0), settings());
    hear(&mut fleet, at(1), &beat("a", stamp(1, 40), vec![brief(1, 1, SessionStatus::Streaming, 9_000)]));
    // An old beat of b arrives first: its session was newer, and has ended since.
    hear(&mut fleet, at(2), &beat("b", stamp(1, 14), vec![brief(2, 1, SessionStatus::Ready, 500)]));
    hear(&mut fleet, at(9), &beat("b", stamp(1, 15), vec![]));
    let living = vec![brief(1, 1, SessionStatus::Streaming, 29_000)];
    assert_eq!(hear(&mut fleet, at(21), &beat("a", stamp(1, 41), living)).end, []);
}

fn key(n: u8) -> PublicKey {
    PublicKey::from([n; 32])
}

/// A beat from this address, signed by this key.
fn from(address: [u8; 4], n: u8) -> BeatSource {
    BeatSource { address: address.into(), key: Some(key(n)) }
}

const HOME: [u8; 4] = [10, 0, 0, 3];
const AWAY: [u8; 4] = [10, 0, 0, 9];

#[test]
fn another_key_takes_nothing_over_and_changes_nothing() {
    let mut fleet = settled();
    let ours = beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Ready, 0)]);
    let BeatOutcome::Accepted(_, news) = fleet.heartbeat(at(0), &ours, from(HOME, 1)) else {
        panic!("refused")
    };
    assert!(news.contains(&FleetEvent::WorkerProved(name("a"))), "{news:?}");
    let before = format!("{fleet:?}");
    let holder = Some(HOME.into());
    let theirs = Heartbeat { url: Some("http://10.0.0.9:1".into()), ..beat("a", stamp(9, 9), vec![]) };
    for (source, refusal) in [
        (from(AWAY, 2), BeatRefusal::OtherKey { holder }),
        (from(HOME, 2), BeatRefusal::OtherKey { holder }),
        (BeatSource::from(IpAddr::from(AWAY)), BeatRefusal::NoProof { holder }),
        (BeatSource::from(IpAddr::from(HOME)), BeatRefusal::NoProof { holder }),
    ] {
        // Late, down or up: the id stays with its key.
        for seconds in [1, 20, 100] {
            let outcome = fleet.heartbeat(at(seconds), &theirs, source);
            assert_eq!(outcome, BeatOutcome::Refused(refusal), "{source:?} after {seconds} s");
        }
    }
    assert_eq!(format!("{fleet:?}"), before);
    let next = beat("a", stamp(1, 2), ours.sessions.clone());
    assert!(matches!(fleet.heartbeat(at(101), &next, from(HOME, 1)), BeatOutcome::Accepted(..)));
}

#[test]
fn a_beat_that_was_signed_for_another_process_is_asked_again_and_changes_nothing() {
    let keys = BTreeMap::from([(name("a"), key(1))]);
    let identities = Identities::new(keys, "challenge".to_owned());
    let mut fleet = Fleet::with_identities(at(0), settings(), identities);
    let before = format!("{fleet:?}");
    let recorded = Heartbeat { challenge: Some("earlier".to_owned()), ..beat("a", stamp(1, 1), vec![]) };
    let outcome = fleet.heartbeat(at(0), &recorded, from(HOME, 1));
    assert_eq!(outcome, BeatOutcome::NotFresh("challenge".to_owned()));
    let reply = outcome.reply().unwrap();
    assert_eq!((reply.accepted, reply.challenge.as_deref()), (false, Some("challenge")));
    assert_eq!(format!("{fleet:?}"), before);
    let signed = Heartbeat { challenge: reply.challenge, ..beat("a", stamp(1, 2), vec![]) };
    assert!(matches!(fleet.heartbeat(at(0), &signed, from(HOME, 1)), BeatOutcome::Accepted(..)));
    assert_eq!(fleet.heartbeat(at(0), &signed, from(AWAY, 1)), BeatOutcome::Stale, "a replay");
}

// SPEC 4: Workers of an older version are taken without a proof, and health says so, until they
// have proved themselves
// Also: `a_worker_of_an_older_version_is_taken_until_it_has_proved_itself`
#[test]
fn an_older_worker_is_taken_without_a_proof_until_it_has_proved_itself_once() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    assert_eq!((fleet.workers(at(0))[0].key, fleet.counts(at(0)).unproved), (None, 1));
    let source = BeatSource { address: SOURCE, key: Some(key(1)) };
    let updated = beat("a", stamp(2, 1), vec![]);
    assert!(matches!(fleet.heartbeat(at(5), &updated, source), BeatOutcome::Accepted(..)));
    assert_eq!((fleet.workers(at(5))[0].key, fleet.counts(at(5)).unproved), (Some(key(1)), 0));
    let without = fleet.heartbeat(at(6), &beat("a", stamp(3, 1), vec![]), SOURCE);
    assert_eq!(without, BeatOutcome::Refused(BeatRefusal::NoProof { holder: Some(SOURCE) }));
}

#[test]
fn a_copy_with_the_same_key_waits_while_the_first_is_heard() {
    let mut fleet = settled();
    let list = vec![brief(1, 1, SessionStatus::Ready, 0)];
    let take = |fleet: &mut Fleet, seconds, beat: &Heartbeat, source| {
        let outcome = fleet.heartbeat(at(seconds), beat, source);
        assert!(matches!(outcome, BeatOutcome::Accepted(..)), "{outcome:?}");
    };
    take(&mut fleet, 0, &beat("a", stamp(1, 1), list.clone()), from(HOME, 1));
    let elsewhere = BeatOutcome::Refused(BeatRefusal::Elsewhere { holder: HOME.into() });
    for n in 1..=5 {
        assert_eq!(fleet.heartbeat(at(10 * n), &beat("a", stamp(2, n), vec![]), from(AWAY, 1)), elsewhere);
        take(&mut fleet, 10 * n, &beat("a", stamp(1, 1 + n), list.clone()), from(HOME, 1));
        assert!(
            matches!(fleet.lookup(at(10 * n), &id(1)), Route::Worker { url, .. } if url.contains("10.0.0.3"))
        );
    }
    // It restarts in its place, or says that it stops: nobody waits.
    take(&mut fleet, 52, &beat("a", stamp(3, 1), list.clone()), from(HOME, 1));
    let stopping = Heartbeat { stopping: true, ..beat("a", stamp(3, 2), vec![]) };
    take(&mut fleet, 53, &stopping, from(HOME, 1));
    take(&mut fleet, 54, &beat("a", stamp(4, 1), vec![]), from(AWAY, 1));
    // It moves without a word: it waits until its old process misses a beat.
    let moved = beat("a", stamp(5, 1), vec![]);
    let waits = BeatOutcome::Refused(BeatRefusal::Elsewhere { holder: AWAY.into() });
    assert_eq!(fleet.heartbeat(at(55), &moved, from(HOME, 1)), waits);
    take(&mut fleet, 70, &moved, from(HOME, 1));
}

#[test]
fn an_operator_forgets_a_worker_that_is_not_heard_of() {
    let mut fleet = settled();
    assert_eq!(fleet.forget(at(0), &name("a")), Err(NotForgotten::Unknown));
    let listing = beat("a", stamp(1, 1), vec![brief(1, 1, SessionStatus::Ready, 0)]);
    fleet.heartbeat(at(0), &listing, from(HOME, 1));
    for seconds in [1, 20] {
        assert_eq!(fleet.forget(at(seconds), &name("a")), Err(NotForgotten::Lives(HOME.into())));
    }
    assert_eq!(fleet.forget(at(61), &name("a")), Ok(()));
    assert_eq!((fleet.workers(at(61)), fleet.sessions(at(61))), (vec![], vec![]));
    let successor = fleet.heartbeat(at(62), &beat("a", stamp(1, 1), vec![]), from(AWAY, 2));
    assert!(matches!(successor, BeatOutcome::Accepted(..)), "{successor:?}");
    // One that is only known by its key, from before a restart of the controller.
    let identities = fleet.identities().clone();
    let mut restarted = Fleet::with_identities(at(70), settings(), identities);
    assert_eq!(restarted.forget(at(70), &name("a")), Ok(()));
    assert_eq!(restarted.identities().key(&name("a")), None);
}

#[test]
fn a_viewers_link_is_known_by_the_answer_and_kept_by_beats() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    let placed = fleet.reserve(at(1), &create(1, 1)).unwrap();
    assert!(fleet.confirm(at(2), &placed, SessionStatus::Ready, stamp(1, 1)).0);
    fleet.note_view(&id(1), id(9));
    let known = |fleet: &Fleet| fleet.session(at(2), &id(1)).and_then(|session| session.view_id);
    assert_eq!(known(&fleet), Some(id(9)), "before a beat says so");
    let listed = SessionBrief { view_id: Some(id(9)), ..brief(1, 1, SessionStatus::Ended, 10) };
    hear(&mut fleet, at(3), &beat("a", stamp(1, 2), vec![listed]));
    assert_eq!(known(&fleet), Some(id(9)), "its page says why it ended");
    assert_eq!(fleet.lookup(at(3), &id(9)), Route::Unknown, "it is no session's name");
    fleet.note_view(&id(7), id(8));
    assert!(fleet.session(at(3), &id(7)).is_none(), "of a session that nobody knows");
}

#[test]
fn workers_of_before_and_after_viewers_links_are_understood() {
    let plain = brief(1, 1, SessionStatus::Ready, 10);
    let text = serde_json::to_string(&plain).unwrap();
    assert!(!text.contains("view_id"), "{text}");
    assert_eq!(serde_json::from_str::<SessionBrief>(&text).unwrap(), plain);
    let linked = SessionBrief { view_id: Some(id(9)), ..plain };
    let text = serde_json::to_string(&linked).unwrap();
    assert_eq!(serde_json::from_str::<SessionBrief>(&text).unwrap(), linked);
}

/// Fails a create on whatever worker gets it, for that worker's own reason.
fn fail_one(fleet: &mut Fleet, now: Moment, n: u8) -> WorkerId {
    let placed = fleet.reserve(now, &create(n, n)).expect("a worker");
    fleet.release(&id(n));
    fleet.failed(now, &placed.worker, now, (FailedAt::Create, "no web-server"));
    placed.worker
}

// SPEC 4: A worker that fails is left alone for pauses that double, then gets one create at a time
// until one succeeds; it, the controller's health and the log say why
// Also: `pauses_double_up_to_the_longest`,
// `one_failed_create_costs_nothing_and_one_failed_call_a_pause`, `a_burst_is_one_lesson`,
// `a_new_process_and_a_mended_one_are_not_what_failed`,
// `what_becomes_of_creates_that_nobody_waits_for_is_learned_from_beats`,
// `a_reason_is_cut_and_forges_no_line`,
// `a_broken_worker_costs_no_create_is_named_and_gets_sessions_again_once_mended`
#[test]
fn a_failing_worker_is_left_alone_then_gets_one_create_at_a_time_until_one_succeeds() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    hear(
        &mut fleet,
        at(0),
        &Heartbeat { max: 1, ..beat("b", stamp(1, 1), vec![brief(9, 9, SessionStatus::Ready, 5)]) },
    );
    assert_eq!(fail_one(&mut fleet, at(1), 1), name("a"));
    assert_eq!(fail_one(&mut fleet, at(1), 2), name("a"), "one failure costs nothing");
    let Err(Refused::NoWorker { why, hope, .. }) = fleet.reserve(at(2), &create(3, 3)) else {
        panic!("placed")
    };
    assert_eq!((why.full, why.failing, hope), (1, 1, Some(at(3))), "{why}");
    assert!(
        why.to_string().contains("a: 2 creates in a row failed for its own reason, the last: no web-server"),
        "{why}"
    );
    let trouble = hear(&mut fleet, at(2), &beat("a", stamp(1, 2), vec![])).trouble;
    assert!(trouble.is_some_and(|text| text.contains("no web-server")), "the worker is told");
    let probe = fleet.reserve(at(3), &create(3, 3)).expect("its pause is over");
    let second = fleet.reserve(at(3), &create(4, 4)).unwrap_err();
    assert!(
        matches!(&second, Refused::NoWorker { why, hope: Some(_), .. } if why.failing == 1),
        "{second:?}"
    );
    let (_, news) = fleet.confirm(at(4), &probe, SessionStatus::Ready, stamp(1, 2));
    assert!(news.contains(&FleetEvent::WorkerTrusted(name("a"))), "{news:?}");
    assert_eq!(fleet.reserve(at(4), &create(4, 4)).map(|placed| placed.worker), Ok(name("a")));
}

#[test]
fn a_new_process_and_a_mended_one_are_not_what_failed() {
    let broken = Hindrance::new(Stops::Everything, "the disk is full");
    for mended in [beat("a", stamp(2, 1), vec![]), beat("a", stamp(1, 3), vec![])] {
        let mut fleet = settled();
        let hindered = Heartbeat { hindrances: vec![broken.clone()], ..beat("a", stamp(1, 2), vec![]) };
        hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
        fail_one(&mut fleet, at(1), 1);
        fail_one(&mut fleet, at(1), 2);
        hear(&mut fleet, at(1), &hindered);
        let refused = fleet.reserve(at(1), &create(3, 3)).unwrap_err();
        let (why, hope) = match &refused {
            Refused::NoWorker { why, hope, .. } => (why, hope),
            other => panic!("{other:?}"),
        };
        assert_eq!((why.unfit, *hope), (1, None), "{why}");
        assert!(why.to_string().contains("a: the disk is full"), "{why}");
        hear(&mut fleet, at(2), &mended);
        assert_eq!(fleet.reserve(at(2), &create(3, 3)).map(|placed| placed.worker), Ok(name("a")));
    }
}

// SPEC 4: Workers tell what keeps them from starting sessions and which bodies they allow; creates
// go to those that can take them
// Also: `a_body_goes_to_workers_that_may_dial_it`,
// `each_part_of_the_web_server_that_is_missing_or_broken_is_named`
#[test]
fn a_hindrance_stops_what_it_hinders() {
    let mut fleet = settled();
    let hindrances =
        vec![Hindrance::new(Stops::Moonlight, "no web-server"), Hindrance::new(Stops::Nothing, "hm")];
    hear(&mut fleet, at(0), &Heartbeat { hindrances, ..beat("a", stamp(1, 1), vec![]) });
    assert!(fleet.reserve(at(1), &create(1, 1)).is_err(), "moonlight needs the web-server");
    let other = CreateSpec { engine: "demo".to_owned(), ..create(1, 1) };
    assert!(fleet.reserve(at(1), &other).is_ok(), "another engine does not");
    let troubles: Vec<String> =
        fleet.worker(at(1), &name("a")).unwrap().troubles().map(str::to_owned).collect();
    assert_eq!(troubles, ["no web-server", "hm"]);
}

#[test]
fn a_body_goes_to_workers_that_may_dial_it() {
    let mut fleet = settled();
    let network = |text: &str| Some(vec![Network { address: text.parse().unwrap(), prefix: 16 }]);
    hear(
        &mut fleet,
        at(0),
        &Heartbeat { allowed_bodies: network("10.77.0.0"), ..beat("a", stamp(1, 1), vec![]) },
    );
    let refused = fleet.reserve(at(1), &create(1, 1)).unwrap_err();
    assert!(matches!(&refused, Refused::NoWorker { why, .. } if why.is_not_allowed()), "{refused:?}");
    hear(
        &mut fleet,
        at(1),
        &Heartbeat { allowed_bodies: network("10.10.0.0"), ..beat("b", stamp(1, 1), vec![]) },
    );
    assert_eq!(fleet.reserve(at(1), &create(1, 1)).map(|placed| placed.worker), Ok(name("b")));
}

#[test]
fn a_worker_that_beats_and_cannot_be_called_is_unreachable_until_a_call_is_answered() {
    let mut fleet = settled();
    let callable = |seq| Heartbeat { wire: identity::CALLED_FIRST, ..beat("a", stamp(1, seq), vec![]) };
    hear(&mut fleet, at(0), &callable(1));
    assert_eq!(fleet.calls_due(at(0)), [name("a")], "it is called when it joins");
    assert!(fleet.calls_due(at(1)).is_empty(), "once");
    fleet.failed(at(1), &name("a"), at(0), (FailedAt::Call, "connection refused"));
    let view = fleet.worker(at(1), &name("a")).unwrap();
    assert_eq!((view.standing(), fleet.counts(at(1)).capacity), ("unreachable", 0));
    let refused = fleet.reserve(at(1), &create(1, 1)).unwrap_err();
    assert!(matches!(&refused, Refused::NoWorker { why, .. } if why.unreachable == 1), "{refused:?}");
    hear(&mut fleet, at(2), &callable(2));
    assert!(fleet.calls_due(at(2)).is_empty(), "a beat says nothing about calls");
    assert_eq!(fleet.calls_due(at(3)), [name("a")], "when the pause is over");
    fleet.answered(at(3), &name("a"));
    assert_eq!(fleet.worker(at(3), &name("a")).unwrap().standing(), "up");
    assert!(fleet.reserve(at(3), &create(1, 1)).is_ok());
    hear(&mut fleet, at(4), &beat("old", stamp(1, 1), vec![]));
    assert!(
        fleet.calls_due(at(4)).is_empty(),
        "one of an older version is not called before its first create"
    );
}

#[test]
fn a_worker_whose_call_answers_is_not_late_and_a_late_one_may_take_a_create_soon() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    let refused = fleet.reserve(at(20), &create(1, 1)).unwrap_err();
    let Refused::NoWorker { why, hope, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((why.late, *hope), (1, Some(at(20))), "{why}");
    fleet.answered(at(20), &name("a"));
    assert!(fleet.reserve(at(21), &create(1, 1)).is_ok());
    let gone = fleet.reserve(at(90), &create(2, 2)).unwrap_err();
    assert!(matches!(&gone, Refused::NoWorker { why, hope: None, .. } if why.down == 1), "{gone:?}");
}

#[test]
fn what_becomes_of_creates_that_nobody_waits_for_is_learned_from_beats() {
    let mut fleet = settled();
    hear(&mut fleet, at(0), &beat("a", stamp(1, 1), vec![]));
    for n in 1..=2 {
        let placed = fleet.reserve(at(1), &create(n, n)).expect("a worker");
        fleet.confirm(at(1), &placed, SessionStatus::Requested, stamp(1, 1));
    }
    assert_eq!(fleet.trouble_of(&name("a")), None);
    let ended = |n| SessionBrief {
        reason: Some(EndReason::CreateFailed),
        fault: Some(turns::Fault::Worker),
        ..brief(n, n, SessionStatus::Ended, 1_000)
    };
    hear(&mut fleet, at(2), &beat("a", stamp(1, 2), vec![ended(1), ended(2)]));
    assert!(fleet.trouble_of(&name("a")).is_some_and(|text| text.contains("2 creates in a row")));
}

// SPEC 4: A worker that sends heartbeats and cannot be called is `unreachable`; it is called when
// it joins, when it leaves a create without an answer, and again after each pause
// Also: `a_worker_that_beats_and_cannot_be_called_is_unreachable_until_a_call_is_answered`,
// `a_worker_that_was_never_called_comes_after_those_that_answered`,
// `a_broken_worker_costs_no_create_is_named_and_gets_sessions_again_once_mended`
#[test]
fn a_worker_that_leaves_a_create_without_an_answer_is_called() {
    let mut fleet = settled();
    let callable = |seq| Heartbeat { wire: identity::CALLED_FIRST, ..beat("a", stamp(1, seq), vec![]) };
    hear(&mut fleet, at(0), &callable(1));
    assert_eq!(fleet.calls_due(at(0)), [name("a")]);
    fleet.answered(at(0), &name("a"));
    fleet.reserve(at(1), &create(1, 1)).expect("a worker");
    hear(&mut fleet, at(9), &callable(2));
    assert!(fleet.calls_due(at(11)).is_empty(), "it may still begin");
    assert_eq!(fleet.calls_due(at(12)), [name("a")]);
    fleet.failed(at(17), &name("a"), at(12), (FailedAt::Call, "timeout"));
    assert_eq!(fleet.worker(at(17), &name("a")).unwrap().standing(), "unreachable");
}

/// A fleet of so many workers with 15 sessions each, heard once and published.
fn fleet_of(workers: u16) -> Fleet {
    let mut fleet = settled();
    for n in 0..workers {
        hear(&mut fleet, at(0), &full_beat(n, 1));
    }
    fleet.tick(at(0));
    fleet.take_changes(at(0));
    fleet
}

fn full_beat(n: u16, seq: u64) -> Heartbeat {
    let [high, low] = n.to_be_bytes();
    let sessions = (0..15).map(|slot| {
        let mut entropy = [7; 16];
        entropy[..3].copy_from_slice(&[high, low, slot]);
        let body = BodyAddr::from(IpAddr::from([10, high, low, slot]));
        SessionBrief { id: SessionId::from_entropy(entropy), body, ..brief(0, 0, SessionStatus::Ready, 1) }
    });
    Heartbeat { max: 20, wire: 4, ..beat(&format!("w{n}"), stamp(1, seq), sessions.collect()) }
}

// SPEC 4: A heartbeat costs what its own worker has, however many workers there are; whoever reads
// lists judges health by himself
// Also: `time_that_passes_publishes_only_workers_whose_health_has_changed`,
// `whoever_reads_judges_health_and_age`, `routes_follow_sessions_and_their_links`,
// `a_worker_that_is_forgotten_leaves_nothing`,
// `of_two_workers_that_say_the_same_address_one_may_move`
#[test]
fn a_heartbeat_costs_what_its_worker_has_however_large_the_fleet_is() {
    let cost = |workers: u16, beat: &dyn Fn(u64) -> Heartbeat| {
        let mut fleet = fleet_of(workers);
        let before = fleet.work();
        let reply = hear(&mut fleet, at(5), &beat(2));
        assert!(reply.keeps_lists, "{reply:?}");
        let changes = fleet.take_changes(at(5));
        let after = fleet.work();
        assert_eq!((changes.workers.len(), changes.gone.len()), (1, 0), "of {workers} workers");
        let counts = fleet.counts(at(5));
        assert_eq!(changes.counts, counts, "of {workers}");
        let looked = |of: fn(&Work) -> u64| of(&after) - of(&before);
        (looked(|work| work.workers), looked(|work| work.sessions), looked(|work| work.routes))
    };
    let same = |seq| full_beat(3, seq);
    let left_out = |seq| Heartbeat { sessions: vec![], unchanged_since: Some(1), ..full_beat(3, seq) };
    let one_less = |seq| {
        let mut beat = full_beat(3, seq);
        beat.sessions.pop();
        beat
    };
    let beats: [(&dyn Fn(u64) -> Heartbeat, u64); 3] = [(&same, 0), (&left_out, 0), (&one_less, 1)];
    for (beat, routes) in beats {
        let small = cost(10, beat);
        assert_eq!(small.2, routes, "a route changes only where a session comes or goes");
        assert!(small.0 <= 2 && small.1 <= 50, "{small:?}");
        assert_eq!((cost(100, beat), cost(1_000, beat)), (small, small));
    }
}

#[test]
fn time_that_passes_publishes_only_workers_whose_health_has_changed() {
    let mut fleet = fleet_of(100);
    for n in 1..100 {
        hear(&mut fleet, at(14), &full_beat(n, 2));
    }
    fleet.take_changes(at(14));
    fleet.tick(at(16));
    let changes = fleet.take_changes(at(16));
    let changed: Vec<_> = changes.workers.iter().map(|(view, _)| (view.id.as_str(), view.health)).collect();
    assert_eq!(changed, [("w0", WorkerHealth::Late)]);
    assert_eq!((changes.counts.up, changes.counts.late), (99, 1));
    assert!(changes.routes.is_empty());
}

// SPEC 4: A list of sessions that has not changed need not be sent again; older workers go on
// sending it; beats of many workers spread
// Also: `a_worker_that_says_nothing_of_lists_keeps_sending_them`,
// `beats_spread_and_are_never_late`,
// `after_partitions_and_controller_restarts_all_is_whole_within_two_beats`
#[test]
fn a_list_that_is_left_out_stands_for_the_one_it_names() {
    let mut fleet = settled();
    let left_out =
        |seq, since| Heartbeat { sessions: vec![], unchanged_since: Some(since), ..full_beat(1, seq) };
    let outcome = fleet.heartbeat(at(0), &left_out(1, 1), SOURCE);
    assert_eq!(outcome, BeatOutcome::ListWanted, "a controller that has just started has none");
    assert!(!fleet.knows(&name("w1")));
    assert!(outcome.reply().unwrap().list_wanted);
    hear(&mut fleet, at(0), &full_beat(1, 2));
    let id = &full_beat(1, 2).sessions[0].id;
    let before = fleet.session(at(10), id).unwrap();
    hear(&mut fleet, at(10), &left_out(3, 2));
    assert_eq!(fleet.session(at(10), id), Some(before), "it ages, and is there");
    assert_eq!(fleet.sessions(at(10)).len(), 15);
    hear(&mut fleet, at(20), &left_out(4, 2));
    assert_eq!(fleet.sessions(at(20)).len(), 15, "as often as it does not change");
    let wrong =
        [left_out(5, 3), left_out(5, 1), Heartbeat { generation: stamp(2, 1).generation, ..left_out(5, 2) }];
    for beat in wrong {
        assert_eq!(fleet.heartbeat(at(21), &beat, SOURCE), BeatOutcome::ListWanted, "{beat:?}");
        assert_eq!(fleet.sessions(at(21)).len(), 15, "nothing is dropped");
    }
    // What was learned meanwhile is not undone by a list from before.
    fleet.ended(at(22), id, EndReason::Deleted, stamp(1, 5));
    hear(&mut fleet, at(23), &left_out(5, 2));
    assert!(!fleet.session(at(23), id).unwrap().status.is_live());
}

#[test]
fn a_worker_that_says_nothing_of_lists_keeps_sending_them() {
    let mut fleet = settled();
    let reply = hear(&mut fleet, at(0), &Heartbeat { wire: 3, ..full_beat(1, 1) });
    assert!(!reply.keeps_lists);
}

// SPEC 4: `workers.max` workers are known at once; a fleet that joins at once does not write its
// keys once per worker
// Also: `a_fleet_that_joins_at_once_is_not_written_once_per_worker`
#[test]
fn more_workers_than_workers_max_are_refused_with_words() {
    let mut fleet = Fleet::new(at(0), FleetSettings { max_workers: 2, ..settings() });
    hear(&mut fleet, at(0), &full_beat(1, 1));
    hear(&mut fleet, at(0), &full_beat(2, 1));
    let refusal = BeatRefusal::TooManyWorkers;
    assert_eq!(fleet.heartbeat(at(0), &full_beat(3, 1), SOURCE), BeatOutcome::Refused(refusal));
    assert!(refusal.to_string().contains("workers.max"), "{refusal}");
    hear(&mut fleet, at(1), &full_beat(1, 2));
    fleet.reconfigure(FleetSettings { max_workers: 3, ..settings() });
    hear(&mut fleet, at(2), &full_beat(3, 2));
}
