//! What the simulations of moves show.

use std::ops::AddAssign;

use super::*;
use crate::seeds;

/// Schedules of each run; `HYDRANECK_SIM_SEEDS` says how many instead.
const SEEDS: u64 = 150;
/// Schedules that once showed a fault: a new leader moved a session under a number that was used; a session whose create was given up moved, and
/// its end was taken for one of a copy that never came to be; a controller that had just started did not know where a session that moved had been
/// before; a new leader moved what had ended while another one led; a worker came back and died again while its session moved, and the next leader did
/// not know that it had been there.
const NAMED: &[u64] = &[752, 1_025, 130, 147, 323, 260];
/// A schedule in which a worker is away for longer than the others remember a session that moved away from it.
const NEEDS_WORD: u64 = 2;
/// A schedule in which a new leader knows by the table of bodies alone that a session has moved.
const NEEDS_TABLE: u64 = 7;

/// That the schedules held what they are for.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub created: usize,
    pub moved: usize,
    pub died: usize,
    pub lost: usize,
    pub given_up: usize,
    pub refused: usize,
    pub strays: usize,
    pub adopted: usize,
    /// Creates that were refused because of the table alone, and what was not listed.
    pub withheld: usize,
    pub unlisted: usize,
    /// How often a controller noticed that it had stood still.
    pub stood_still: usize,
    /// Sessions whose worker was told that they had moved although nobody had them any more.
    pub long_gone: usize,
    /// Sessions that were left on their way to another worker.
    pub left_early: usize,
}

impl AddAssign<&Sum> for Sum {
    fn add_assign(&mut self, more: &Sum) {
        self.created += more.created;
        self.moved += more.moved;
        self.died += more.died;
        self.lost += more.lost;
        self.given_up += more.given_up;
        self.refused += more.refused;
        self.strays += more.strays;
        self.adopted += more.adopted;
        self.withheld += more.withheld;
        self.unlisted += more.unlisted;
        self.stood_still += more.stood_still;
        self.long_gone += more.long_gone;
        self.left_early += more.left_early;
    }
}

// SPEC 4: A session that moves is known all the time, has one slot where it is and one where it
// goes, and one record, also where a worker is away for longer than the session is remembered
// elsewhere; an old copy never takes its place, no body gets two copies but where a
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
        sum += &world.sum;
        if only.is_some() {
            println!("{}", world.trace.join("\n"));
        }
    }
    println!("moves: {sum:?}");
    let common = sum.created > 0 && sum.moved > 0 && sum.died > 0 && sum.lost > 0 && sum.refused > 0;
    assert!(sum.long_gone > 0 || only.is_some(), "nobody was away for long: {sum:?}");
    assert!(sum.left_early > 0 || only.is_some(), "nobody left on the way: {sum:?}");
    let rare = sum.strays > 0 && sum.adopted > 0 && sum.withheld > 0 && sum.unlisted > 0;
    assert!(common && rare || only.is_some(), "the simulation missed what it is for: {sum:?}");
}

#[test]
fn a_controller_that_stands_still_moves_nobody_and_gives_no_body_away() {
    let only = only_seed();
    let mut sum = Sum::default();
    for seed in seeds(SEEDS) {
        let world = run_in(World { freezes: true, ..World::new(seed) }, seed);
        sum += &world.sum;
        if only.is_some() {
            println!("{}", world.trace.join("\n"));
        }
    }
    println!("moves: {sum:?}");
    assert!(sum.stood_still > 0 && sum.moved > 0 || only.is_some(), "nobody stood still: {sum:?}");
}

#[test]
fn without_the_table_of_bodies_a_new_leader_moves_what_has_moved() {
    let plays = |reads_table| {
        let mut world = World { reads_table, ..World::new(only_seed().unwrap_or(NEEDS_TABLE)) };
        catch_unwind(AssertUnwindSafe(|| world.play())).is_ok()
    };
    assert!(plays(true) && !plays(false), "seed {NEEDS_TABLE} is of no use any more: take another one");
}

#[test]
fn without_a_controllers_word_a_worker_that_was_away_for_long_sends_a_second_record() {
    let plays = |holds| {
        let mut world = World { holds, ..World::new(only_seed().unwrap_or(NEEDS_WORD)) };
        catch_unwind(AssertUnwindSafe(|| world.play())).is_ok()
    };
    assert!(plays(true) && !plays(false), "seed {NEEDS_WORD} is of no use any more: take another one");
}

#[test]
fn the_same_seed_of_moves_gives_the_same_trace() {
    for seed in 0..3 {
        assert_eq!(run(seed).trace, run(seed).trace, "seed {seed}");
    }
}
