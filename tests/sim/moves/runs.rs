//! What the simulations of moves show.

use super::*;
use crate::seeds;

/// Schedules of each run; `HYDRANECK_SIM_SEEDS` says how many instead.
const SEEDS: u64 = 150;
/// Schedules that once showed a fault: a new leader moved a session under a number that was used; a session whose create was given up moved, and
/// its end was taken for one of a copy that never came to be.
const NAMED: &[u64] = &[752, 1_025];
/// A schedule in which a new leader knows by the table of bodies alone that a session has moved.
const NEEDS_TABLE: u64 = 59;

// SPEC 4: A session that moves is known all the time, has one slot where it is and one where it
// goes, and one record; an old copy never takes its place, no body gets two copies but where a
// leader has given a worker up as down, or etcd was away, and no controller with a lower lease
// number moves anything, through partitions, restarts, deaths and late, lost and replayed messages
// (seeded simulation)
// Also: `the_same_seed_of_moves_gives_the_same_trace`,
// `of_two_copies_of_one_number_the_one_that_arrived_is_the_session`
#[test]
fn a_session_that_moves_is_there_once_and_always_known_and_recorded_once() {
    let only = only_seed();
    let many = std::env::var("HYDRANECK_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let mut sum = Sum::default();
    let named = if only.is_none() { NAMED } else { &[] };
    for seed in seeds(many).chain(named.iter().copied()) {
        let world = run(seed);
        let more = &world.sum;
        sum.created += more.created;
        sum.moved += more.moved;
        sum.died += more.died;
        sum.lost += more.lost;
        sum.given_up += more.given_up;
        sum.refused += more.refused;
        sum.strays += more.strays;
        sum.adopted += more.adopted;
        sum.withheld += more.withheld;
        sum.unlisted += more.unlisted;
        if only.is_some() {
            println!("{}", world.trace.join("\n"));
        }
    }
    println!("moves: {sum:?}");
    let common = sum.created > 0 && sum.moved > 0 && sum.died > 0 && sum.lost > 0 && sum.refused > 0;
    let rare = sum.strays > 0 && sum.adopted > 0 && sum.withheld > 0 && sum.unlisted > 0;
    assert!(common && rare || only.is_some(), "the simulation missed what it is for: {sum:?}");
}

#[test]
fn without_the_table_of_bodies_a_new_leader_moves_what_has_moved() {
    let plays = |reads_table| {
        let mut world = World { reads_table, ..World::new(NEEDS_TABLE) };
        catch_unwind(AssertUnwindSafe(|| world.play())).is_ok()
    };
    assert!(plays(true) && !plays(false), "seed {NEEDS_TABLE} is of no use any more: take another one");
}

#[test]
fn the_same_seed_of_moves_gives_the_same_trace() {
    for seed in 0..3 {
        assert_eq!(run(seed).trace, run(seed).trace, "seed {seed}");
    }
}
