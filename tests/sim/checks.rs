//! What must hold: at every step, and once all trouble is over.

use std::collections::BTreeSet;

use hydraneckwebrtc::core::fleet::Route;
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId};

use crate::worker::{Habit, INTERVAL_MS};
use crate::world::{Weather, World};

/// Longest that a beat and its reply travel once all is healed.
const TRAVEL_MS: u64 = 1_000;
/// Longest without a beat in lossy weather: two lost in a row, the third late.
const LOSSY_GAP_MS: u64 = 3 * INTERVAL_MS + 10_000;

/// Most turns that a broken worker gets in one schedule of calm weather: the burst before the first pause, and one after each
/// pause. Without pauses it attracts nearly every create, because it is never full.
const MAX_WASTED: usize = 30;

/// Holds at every step; the fleet checks its own books after each change.
pub fn check_always(world: &World) {
    for worker in &world.workers {
        assert!(worker.live().count() <= worker.max, "{} holds more than it can", worker.id);
    }
    nothing_is_denied_while_settling(world);
    if world.weather == Weather::Storm {
        return;
    }
    for (body, sessions) in world.truth() {
        assert!(sessions.len() <= 1, "{} ms: body {body} has sessions {sessions:?}", world.now);
    }
    routed_after(
        world,
        if world.weather == Weather::Calm { 2 * INTERVAL_MS + TRAVEL_MS } else { LOSSY_GAP_MS },
    );
    if world.weather == Weather::Calm {
        assert!(world.refusals.is_empty(), "a worker had to refuse: {:?}", world.refusals);
        let bad = world.workers.iter().filter(|worker| worker.habit != Habit::Sound).count();
        assert!(
            world.wasted <= bad * MAX_WASTED,
            "{} ms: {} turns of broken workers",
            world.now,
            world.wasted
        );
        truth_and_reservations_fit(world);
    }
}

/// After each beat: what the controller was told in an answer is not undone by a beat that is older than the answer.
pub fn check_told(world: &World) {
    for (id, (n, stamp)) in &world.told {
        let worker = &world.workers[*n];
        let lives = worker.alive
            && worker.generation == stamp.generation
            && worker.live().any(|(live, _)| live == id);
        let known =
            matches!(world.fleet.lookup(world.moment(), id), Route::Worker { .. } | Route::Down { .. });
        assert!(known || !lives, "{} ms: {id} was promised, lives, and is unknown", world.now);
    }
    for view in world.fleet.sessions(world.moment()) {
        let revived = world.over.contains(&view.id) && view.status.is_live();
        assert!(!revived, "{} ms: {} was over and is {}", world.now, view.id, view.status);
    }
}

/// A controller that has just started calls no living session unknown.
fn nothing_is_denied_while_settling(world: &World) {
    if world.now >= world.controller_since + 2 * INTERVAL_MS {
        return;
    }
    for id in world.truth().values().flatten() {
        let route = world.fleet.lookup(world.moment(), id);
        assert!(route != Route::Unknown, "{} ms: {id} lives and is denied", world.now);
    }
}

/// What really lives on a worker and what is on its way to it, each counted once, fits.
fn truth_and_reservations_fit(world: &World) {
    for worker in &world.workers {
        let live = worker.live().map(|(id, _)| id.clone());
        let coming = |id: &SessionId| !worker.sessions.contains_key(id);
        let flows =
            (world.flows.values()).filter(|flow| flow.worker == worker.id && coming(&flow.session_id));
        let all: BTreeSet<SessionId> = live.chain(flows.map(|flow| flow.session_id.clone())).collect();
        assert!(all.len() <= worker.max, "{} ms: {} has {all:?} of {}", world.now, worker.id, worker.max);
    }
}

/// Every live session that is older than `ms` is routed to its worker.
fn routed_after(world: &World, ms: u64) {
    for worker in world.workers.iter().filter(|worker| worker.reachable()) {
        for (id, truth) in worker.live().filter(|(_, truth)| truth.began + ms <= world.now) {
            let route = world.fleet.lookup(world.moment(), id);
            let right = matches!(&route, Route::Worker { worker: owner, .. } if *owner == worker.id);
            assert!(right, "{} ms: {id} of {}, begun {}, is {route:?}", world.now, worker.id, truth.began);
        }
    }
}

/// Heals the world and checks that it becomes whole: after two beats, and when every create is through.
pub fn check_healed(world: &mut World) {
    if world.weather == Weather::Storm {
        world.split();
        if world.rng.chance(50) {
            world.restart_controller();
        }
    }
    world.heal();
    world.rivals = world.truth().values().filter(|sessions| sessions.len() > 1).count();
    let contested = settled_bodies(world);
    let healed_at = world.now;
    world.pass(2 * INTERVAL_MS + TRAVEL_MS);
    routed_after(world, world.now - healed_at);
    if world.controller_since == healed_at {
        // Who is newer is judged once the controller has settled, and told in the next beat.
        world.pass(INTERVAL_MS + TRAVEL_MS);
    }
    let truth = world.truth();
    for body in contested {
        let left = truth.get(&body).map_or(0, BTreeSet::len);
        assert_eq!(left, 1, "{} ms: {left} sessions of {body} live two beats after healing", world.now);
    }
    // Creates under way, late answers and the safety net below them.
    world.pass(90_000);
    check_quiescent(world);
}

/// Bodies with live sessions whose fate depends on the fleet alone: none told to end yet, no create under way.
fn settled_bodies(world: &World) -> BTreeSet<BodyAddr> {
    let busy: BTreeSet<BodyAddr> = world.flows.values().map(|flow| flow.body).collect();
    // An abandoned create's session is told to end with the first beat that lists it.
    let doomed = |id: &SessionId| {
        let view = world.fleet.session(world.moment(), id);
        world.abandoned.contains(id) || view.is_some_and(|view| view.ending_as.is_some())
    };
    (world.truth().into_iter())
        .filter(|(body, sessions)| !busy.contains(body) && !sessions.iter().any(doomed))
        .filter(|(_, sessions)| sessions.iter().all(|id| !world.under_way(id)))
        .map(|(body, _)| body)
        .collect()
}

/// Nothing is lost, nothing leaked: the books and the truth are the same.
fn check_quiescent(world: &World) {
    let now = world.moment();
    let counts = world.fleet.counts(now);
    assert_eq!(counts.reserved, 0, "a reservation leaked: {counts:?}");
    assert!(world.flows.is_empty(), "a create never ended: {:?}", world.flows);
    for (body, sessions) in world.truth() {
        assert!(sessions.len() == 1, "body {body} keeps sessions {sessions:?}");
    }
    for worker in &world.workers {
        let view = world.fleet.worker(now, &worker.id).expect("a live worker is unknown");
        assert_eq!(view.active as usize, worker.live().count(), "slots of {} leaked or lost", worker.id);
        assert_eq!(view.draining, worker.draining, "{} does not know its drain", worker.id);
        let wish = world.drains.get(&worker.id).copied();
        assert_eq!(Some(view.draining), wish, "the drain of {} was forgotten", worker.id);
    }
    for view in world.fleet.sessions(now) {
        let real = (world.workers.iter())
            .any(|worker| worker.id == view.worker && worker.sessions.contains_key(&view.id));
        assert!(real, "{} is in the books only", view.id);
    }
    routed_after(world, 0);
    if world.weather == Weather::Lossy {
        let living: Vec<_> = world.truth().into_values().flatten().collect();
        let left = living.iter().find(|id| world.abandoned.contains(id));
        assert_eq!(left, None, "a session that nobody was told of lives on");
    }
}
