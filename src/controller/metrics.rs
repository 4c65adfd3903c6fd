//! What a controller tells Prometheus: of what the fleet thread published, as health does.

use crate::controller::lease::Leadership;
use crate::controller::snapshot::Snapshot;
use crate::core::fleet::WorkerView;
use crate::core::fleet::moves::MoveCounts;
use crate::core::time::Moment;
use crate::metrics::exposition::Exposition;
use crate::metrics::table as t;

/// Workers that have series of their own. A fleet may have more; what is summed up counts them all.
const MAX_WORKERS_NAMED: usize = 200;

/// Writes who leads, where several controllers share a lease; else these have no series, for zeros would say that nobody leads.
pub fn write_lease(page: &mut Exposition, leadership: &Leadership, now: Moment) {
    let figures = leadership.figures(now);
    let ours = figures.map(|(ours, _)| (ours.is_some(), ours.unwrap_or_default()));
    page.values(&t::LEASE_LEADS, ours.map(|(leads, _)| ([], leads)));
    page.values(&t::LEASE_NUMBER, ours.map(|(_, (number, _))| ([], number)));
    page.values(&t::LEASE_LEFT, ours.map(|(_, (_, left))| ([], left)));
    let results = figures.into_iter().flat_map(|(_, results)| results.iter());
    page.values(&t::LEASE_QUERIES, results.map(|(word, count)| ([word], count)));
}

/// Writes what became of moves.
pub fn write_moves(page: &mut Exposition, moves: &MoveCounts) {
    let MoveCounts { moved, failed, given_up, limited } = *moves;
    let results = [("moved", moved), ("failed", failed), ("given_up", given_up), ("limited", limited)];
    page.values(&t::MOVES, results.map(|(result, count)| ([result], count)));
}

/// Writes what there is of the fleet.
pub fn write(page: &mut Exposition, snapshot: &Snapshot, (now, jobs_waiting): (Moment, usize)) {
    let counts = snapshot.counts;
    page.values(&t::WORKERS, [(["up"], counts.up), (["late"], counts.late), (["down"], counts.down)]);
    page.value(&t::WORKERS_DRAINING, counts.draining);
    page.value(&t::WORKERS_TROUBLED, counts.troubled);
    page.value(&t::WORKERS_UNPROVED, counts.unproved);
    page.value(&t::FLEET_CAPACITY, counts.capacity);
    let sessions = [
        (["active"], counts.active),
        (["starting"], counts.reserved),
        (["on_down_workers"], counts.lost_sight_of),
    ];
    page.values(&t::FLEET_SESSIONS, sessions);
    page.value(&t::FLEET_SETTLING, snapshot.settling(now).is_some());
    page.value(&t::DISPATCH_WAITING, jobs_waiting);
    // Who has proved nothing may call itself something else with every beat.
    let proved = snapshot.shares().iter().map(|share| share.view()).filter(|worker| worker.key.is_some());
    let named = || proved.clone().take(MAX_WORKERS_NAMED);
    let held = |worker: &WorkerView| worker.active.saturating_add(worker.reserved);
    page.values(&t::WORKER_SESSIONS, named().map(|worker| ([worker.id.as_str()], held(worker))));
    page.values(&t::WORKER_SESSIONS_MAX, named().map(|worker| ([worker.id.as_str()], worker.max)));
    let ages = named().map(|worker| ([worker.id.as_str()], worker.last_heartbeat_age_at(snapshot.taken)));
    page.values(&t::WORKER_HEARTBEAT_AGE, ages);
}
